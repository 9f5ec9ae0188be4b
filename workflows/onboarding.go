package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/step"
)

// CustomerOnboarding makes a customer ready to be billed. Each step outlives its provider: one
// that cannot go on waits, visibly, and the workflow ends when every step is done or skipped.
func CustomerOnboarding(ctx workflow.Context, in OnboardingInput) (StatusResult, error) {
	o := onboarding{in: in}
	if err := o.setup(ctx); err != nil {
		return StatusResult{}, err
	}
	return o.run(ctx)
}

type onboarding struct {
	in  OnboardingInput
	lot parkingLot
}

func (o *onboarding) setup(ctx workflow.Context) error {
	if !customer.ValidID(o.in.CustomerID) {
		return temporal.NewNonRetryableApplicationError("customer_id: is missing or not an id", ErrInvalidInput, nil)
	}
	if p := o.in.Profile; p != nil && p.ID != o.in.CustomerID {
		return temporal.NewNonRetryableApplicationError("profile.id: must be the customer_id", ErrInvalidInput, nil)
	}
	o.lot.customerID = o.in.CustomerID
	o.lot.open(ctx)
	return o.handlePeople(ctx)
}

// ErrInvalidInput is the type of the error with which a workflow refuses what it was started with.
const ErrInvalidInput = "invalid_input"

// run does what Postgres says there is to do, until it says that there is nothing more.
func (o *onboarding) run(ctx workflow.Context) (StatusResult, error) {
	changes := workflow.GetSignalChannel(ctx, SignalProfileChanged)
	for {
		drain(changes)
		if err := o.plan(ctx); err != nil {
			return StatusResult{}, err
		}
		err := workflow.Await(ctx, func() bool {
			return o.lot.failed != nil || o.lot.settled() || changes.Len() > 0 || o.shouldContinueAsNew(ctx)
		})
		switch {
		case err != nil:
			return StatusResult{}, err
		case o.lot.failed != nil:
			return StatusResult{}, o.lot.failed
		case changes.Len() > 0:
			continue
		case !o.lot.settled():
			return StatusResult{}, workflow.NewContinueAsNewError(ctx, CustomerOnboarding, OnboardingInput{CustomerID: o.in.CustomerID})
		}
		if err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) }); err != nil {
			return StatusResult{}, err
		}
		if changes.Len() == 0 {
			return o.status(), nil
		}
	}
}

// shouldContinueAsNew says that the history has grown long, as that of a customer whom an app
// asks about for weeks while a step waits, and that the moment is good: every open step is parked
// and nobody is being answered. What was decided is carried out first: the next run would not know.
func (o *onboarding) shouldContinueAsNew(ctx workflow.Context) bool {
	return workflow.GetInfo(ctx).GetContinueAsNewSuggested() && workflow.AllHandlersFinished(ctx) && o.lot.idle()
}

// plan reads what there is to do and takes up what is not at work already.
func (o *onboarding) plan(ctx workflow.Context) error {
	var plan Plan
	steps, err := o.lot.readPlan(func() (_ []PlannedStep, err error) {
		plan, err = call[Plan](onPostgres(ctx, "what is there to do for "+o.in.CustomerID), ActivityPlanOnboarding,
			PlanInput{CustomerID: o.in.CustomerID, Profile: o.in.Profile})
		return plan.Steps, err
	})
	if err != nil {
		return err
	}
	return o.lot.takeUp(ctx, steps, func(t *task) (assignment, error) { return o.assign(t, plan) })
}

// assign says what a step does. All but the first need the Stripe customer.
func (o *onboarding) assign(t *task, plan Plan) (assignment, error) {
	switch {
	case t.name == customer.StepStripeCustomer && plan.BringsStripeCustomer:
		return assignment{do: o.claimStripeCustomer}, nil
	case t.name == customer.StepStripeCustomer:
		return assignment{do: o.createStripeCustomer}, nil
	case t.name == customer.StepPromoCode:
		return assignment{do: o.applyPromoCode, needs: o.lot.find(customer.StepStripeCustomer)}, nil
	case t.name == customer.StepStripeProfile:
		return assignment{do: o.updateStripeProfile, needs: o.lot.find(customer.StepStripeCustomer)}, nil
	}
	return assignment{}, fmt.Errorf("onboarding of %s: step %q is not one that this version knows", o.in.CustomerID, t.name)
}

// createStripeCustomer makes the account's one Stripe customer, or finds the one that an earlier
// attempt made.
func (o *onboarding) createStripeCustomer(ctx workflow.Context) error {
	ctx = onStripe(ctx, "Stripe customer of "+o.in.CustomerID)
	_, err := call[struct{}](ctx, ActivityCreateStripeCustomer, o.input(customer.StepStripeCustomer))
	return err
}

// claimStripeCustomer takes over the Stripe customer that the app brought: it must exist and be
// nobody else's, and gets our metadata. A second one is never made.
func (o *onboarding) claimStripeCustomer(ctx workflow.Context) error {
	in := o.input(customer.StepStripeCustomer)
	ctx = onStripe(ctx, "the app's own Stripe customer of "+o.in.CustomerID)
	if _, err := call[struct{}](ctx, ActivityVerifyStripeCustomer, in); err != nil {
		return err
	}
	_, err := call[struct{}](ctx, ActivityClaimStripeCustomer, in)
	return err
}

// applyPromoCode gives the customer what signup promised, however late it is.
func (o *onboarding) applyPromoCode(ctx workflow.Context) error {
	in := o.input(customer.StepPromoCode)
	ctx = onStripe(ctx, "promo code of "+o.in.CustomerID)
	found, err := call[FindResult](ctx, ActivityFindPromotionCode, in)
	if err != nil {
		return err
	}
	in.PromotionCodeID = found.ID
	_, err = call[struct{}](ctx, ActivityApplyPromotionCode, in)
	return err
}

// updateStripeProfile carries the newest e-mail and name to Stripe.
func (o *onboarding) updateStripeProfile(ctx workflow.Context) error {
	in := o.input(customer.StepStripeProfile)
	ctx = onStripe(ctx, "new e-mail or name of "+o.in.CustomerID)
	for {
		updated, err := call[UpdateResult](ctx, ActivityUpdateStripeProfile, in)
		if err != nil || !updated.Newer {
			return err
		}
	}
}

func (o *onboarding) input(stepName string) CallInput {
	return CallInput{CustomerID: o.in.CustomerID, Step: stepName}
}

func (o *onboarding) status() StatusResult {
	return StatusResult{CustomerID: o.in.CustomerID, BillingReady: o.billingReady(), Steps: o.lot.statuses()}
}

// billingReady is customer.Customer's rule of the same name, as the workflow sees it.
func (o *onboarding) billingReady() bool {
	base := o.lot.find(customer.StepStripeCustomer)
	if base == nil || base.status != step.Done {
		return false
	}
	promo := o.lot.find(customer.StepPromoCode)
	return promo == nil || promo.status.Settled() || promo.waitsFor == step.ForPerson
}

// handlePeople answers the query and the updates: what operators and back ends can ask and say.
func (o *onboarding) handlePeople(ctx workflow.Context) error {
	if err := workflow.SetQueryHandler(ctx, QueryStatus, func() (StatusResult, error) { return o.status(), nil }); err != nil {
		return err
	}
	if err := handleVerdicts(ctx, &o.lot, o.status); err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, UpdateEnsure, o.ensure, workflow.UpdateHandlerOptions{Validator: validateEnsure})
}

func validateEnsure(_ workflow.Context, in EnsureInput) error { return validateWait(in.WaitMS) }

// maxWait bounds how long an update may hold on.
const maxWait = 30 * time.Second

func validateWait(ms int64) error {
	if ms < 0 || ms > maxWait.Milliseconds() {
		return temporal.NewApplicationError(fmt.Sprintf("wait_ms: must be from 0 to %d", maxWait.Milliseconds()), ErrInvalidInput)
	}
	return nil
}

// ensure waits until billing is ready, until nothing more will happen, or for as long as the
// caller wants to wait.
func (o *onboarding) ensure(ctx workflow.Context, in EnsureInput) (StatusResult, error) {
	over := func() bool { return o.billingReady() || o.lot.planned && o.lot.settled() }
	if !over() && in.WaitMS > 0 {
		wait := time.Duration(in.WaitMS) * time.Millisecond
		if _, err := workflow.AwaitWithTimeout(ctx, wait, over); err != nil {
			return StatusResult{}, err
		}
	}
	return o.status(), nil
}

// drain empties a signal channel: what the signals announced is about to be read from Postgres.
func drain(signals workflow.ReceiveChannel) {
	for signals.ReceiveAsync(nil) {
	}
}
