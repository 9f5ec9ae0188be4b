// Package activities holds the side effects of the workflows: what reads and writes Postgres, and
// the calls to providers, one call in each.
package activities

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/workflows"
)

// Onboarding is what CustomerOnboarding needs of our own database.
type Onboarding struct {
	pool      *pgxpool.Pool
	customers *customer.Store
	health    *provider.HealthStore
}

// NewOnboarding makes the activities over the pool.
func NewOnboarding(pool *pgxpool.Pool, customers *customer.Store) *Onboarding {
	return &Onboarding{pool: pool, customers: customers, health: provider.NewHealthStore(pool)}
}

// PlanOnboarding stores the profile, if the workflow was started with one, and tells what there is
// to do for the customer and which providers cannot be called at present.
func (o *Onboarding) PlanOnboarding(ctx context.Context, in workflows.PlanInput) (workflows.Plan, error) {
	c, err := o.load(ctx, in)
	if err != nil {
		return workflows.Plan{}, asInvalid(err)
	}
	if lacksStripeCustomer(c) {
		if c, err = o.reopenStripeCustomer(ctx, c); err != nil {
			return workflows.Plan{}, err
		}
	}
	plan := workflows.Plan{BringsStripeCustomer: c.StripeCustomerID != "" && !c.StripeConfirmed}
	for _, s := range c.Steps {
		planned, err := planStep(ctx, o.health, s)
		if err != nil {
			return workflows.Plan{}, err
		}
		plan.Steps = append(plan.Steps, planned)
	}
	return plan, nil
}

func (o *Onboarding) load(ctx context.Context, in workflows.PlanInput) (customer.Customer, error) {
	if in.Profile == nil {
		return o.customers.Get(ctx, in.CustomerID)
	}
	c, _, err := o.customers.Create(ctx, *in.Profile)
	return c, err
}

// lacksStripeCustomer sees an account whose step is over and whose Stripe customer is not there
// all the same, as after a restored backup.
func lacksStripeCustomer(c customer.Customer) bool {
	if c.StripeConfirmed {
		return false
	}
	for _, s := range c.Steps {
		if s.Name == customer.StepStripeCustomer {
			return s.Status == step.Done
		}
	}
	return true
}

func (o *Onboarding) reopenStripeCustomer(ctx context.Context, c customer.Customer) (customer.Customer, error) {
	reopened := step.Step{
		WorkflowID: customer.WorkflowID(c.ID), Name: customer.StepStripeCustomer, CustomerID: c.ID, Provider: provider.Stripe,
	}
	err := postgres.InTx(ctx, o.pool, func(tx pgx.Tx) error {
		return o.customers.ChangeSteps(ctx, tx, reopened.WorkflowID, func() error { return step.Reopen(ctx, tx, reopened) })
	})
	if err != nil {
		return customer.Customer{}, err
	}
	return o.customers.Get(ctx, c.ID)
}

// planStep tells where a step stands and, for one that would call a provider that is known to be
// down, that it need not try.
func planStep(ctx context.Context, healths *provider.HealthStore, s step.Step) (workflows.PlannedStep, error) {
	planned := workflows.PlannedStep{
		Name: s.Name, Provider: s.Provider, Status: s.Status, WaitsFor: s.WaitsFor, ErrorClass: s.ErrorClass, LastError: s.LastError,
	}
	if s.Status.Settled() || s.WaitsFor == step.ForPerson {
		return planned, nil
	}
	health, err := healths.Get(ctx, s.Provider)
	if err != nil {
		return planned, err
	}
	if failure, ok := errors.AsType[*provider.Failure](refusal(health)); ok {
		planned.Refused, planned.ErrorClass, planned.LastError = true, failure.Class, failure.Error()
	}
	return planned, nil
}

// asInvalid ends a workflow whose input can never be right; everything else is tried again.
func asInvalid(err error) error {
	var field *customer.FieldError
	switch {
	case errors.As(err, &field):
		return temporal.NewNonRetryableApplicationError("profile."+field.Error(), workflows.ErrInvalidInput, nil)
	case errors.Is(err, customer.ErrNotFound), errors.Is(err, customer.ErrConflict):
		return temporal.NewNonRetryableApplicationError(err.Error(), workflows.ErrInvalidInput, nil)
	}
	return err
}

// ParkStep shows to people what a step waits for, and makes sure that the provider's gate looks
// after it: whoever parks while the provider is taken to be well reports the trouble. A step that
// is over in Postgres, because an attempt got through whose answer Temporal never had, stays so:
// the workflow sees it when it looks again by itself.
func (o *Onboarding) ParkStep(ctx context.Context, in workflows.ParkInput) error {
	parked := step.Step{
		WorkflowID: activity.GetInfo(ctx).WorkflowExecution.ID, Name: in.Step,
		ErrorClass: in.ErrorClass, LastError: in.LastError, WaitsFor: in.WaitsFor, NextAttemptAt: in.NextAttemptAt,
	}
	err := postgres.InTx(ctx, o.pool, func(tx pgx.Tx) error {
		return o.customers.ChangeSteps(ctx, tx, parked.WorkflowID, func() error {
			if in.WaitsFor == step.ForProvider {
				if err := reportTrouble(ctx, tx, in.Provider); err != nil {
					return err
				}
			}
			return step.Park(ctx, tx, parked)
		})
	})
	if errors.Is(err, step.ErrOver) {
		return nil
	}
	return err
}

// SkipStep records that a person decided to go on without a step. What a skipped read was to answer
// is answered by that.
func (o *Onboarding) SkipStep(ctx context.Context, in workflows.StepInput) error {
	workflowID := activity.GetInfo(ctx).WorkflowExecution.ID
	return postgres.InTx(ctx, o.pool, func(tx pgx.Tx) error {
		return o.customers.ChangeSteps(ctx, tx, workflowID, func() error {
			if err := step.Finish(ctx, tx, workflowID, in.Step, step.Skipped); err != nil {
				return err
			}
			return subscription.DropMarks(ctx, tx, workflowID, in.Step)
		})
	})
}
