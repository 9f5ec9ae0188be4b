package activities

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/activity"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/workflows"
)

// Sync is what SubscriptionSync needs of our own database.
type Sync struct {
	pool          *pgxpool.Pool
	subscriptions *subscription.Store
	health        *provider.HealthStore
}

// NewSync makes the activity.
func NewSync(pool *pgxpool.Pool, subscriptions *subscription.Store) *Sync {
	return &Sync{pool: pool, subscriptions: subscriptions, health: provider.NewHealthStore(pool)}
}

// PlanSync tells what of a customer is to be read, after marking all of it if that is asked for, and
// opens a step for each read.
func (s *Sync) PlanSync(ctx context.Context, in workflows.PlanSyncInput) (workflows.SyncPlan, error) {
	var plan workflows.SyncPlan
	if _, err := customer.Get(ctx, s.pool, in.CustomerID); err != nil {
		return plan, asInvalid(err)
	}
	var open []step.Step
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) (err error) {
		if in.Mark != "" {
			if err := s.subscriptions.Remark(ctx, tx, in.CustomerID, in.Mark); err != nil {
				return err
			}
		}
		open, err = s.openSteps(ctx, tx, in.CustomerID)
		return err
	})
	if err != nil {
		return plan, err
	}
	for _, o := range open {
		planned, err := planStep(ctx, s.health, o)
		if err != nil {
			return plan, err
		}
		plan.Steps = append(plan.Steps, planned)
	}
	plan.AwaitsApproval, err = s.subscriptions.AwaitsApproval(ctx, in.CustomerID)
	return plan, err
}

// openSteps makes sure that there is an open step for every provider at which something is to be
// read, and gives these steps. One that is parked stays parked.
func (s *Sync) openSteps(ctx context.Context, tx pgx.Tx, customerID string) ([]step.Step, error) {
	dirty, err := s.subscriptions.Dirty(ctx, tx, customerID)
	if err != nil {
		return nil, err
	}
	workflowID := activity.GetInfo(ctx).WorkflowExecution.ID
	known, err := step.ByWorkflow(ctx, tx, workflowID)
	if err != nil {
		return nil, err
	}
	byName := map[string]step.Step{}
	for _, k := range known {
		byName[k.Name] = k
	}
	open := make([]step.Step, 0, len(dirty))
	for _, p := range dirty {
		wanted := step.Step{
			WorkflowID: workflowID, Name: subscription.StepOf(p), CustomerID: customerID, Provider: p, Status: step.Pending,
		}
		if err := step.Open(ctx, tx, wanted); err != nil {
			return nil, err
		}
		if k, there := byName[wanted.Name]; there && !k.Status.Settled() {
			wanted = k
		}
		open = append(open, wanted)
	}
	return open, nil
}

// readStore keeps what a read of a customer's subscriptions found.
type readStore struct {
	pool          *pgxpool.Pool
	subscriptions *subscription.Store
	meter         SyncMeter
}

// SyncMeter counts reads of subscriptions. It must not block.
type SyncMeter interface {
	// Read counts one that ended: stored, superseded by another one, or healed when it found what no
	// event had told.
	Read(ctx context.Context, p provider.Name, outcome string)
}

// open makes sure that the step of a read is there and open: a workflow that was told where to read
// has planned none.
func (r *readStore) open(ctx context.Context, in workflows.CallInput, p provider.Name) error {
	return step.Open(ctx, r.pool, step.Step{
		WorkflowID: activity.GetInfo(ctx).WorkflowExecution.ID, Name: in.Step, CustomerID: in.CustomerID, Provider: p,
	})
}

// finish makes what a read found what is known, and ends the step. found tells what that is, and may
// write what else it means in the same transaction.
func (r *readStore) finish(
	ctx context.Context, in workflows.CallInput, read subscription.Read,
	found func(context.Context, pgx.Tx) ([]subscription.Subscription, error),
) (workflows.ReadResult, error) {
	var stored subscription.Stored
	err := postgres.InTx(ctx, r.pool, func(tx pgx.Tx) error {
		all, err := found(ctx, tx)
		if err != nil {
			return err
		}
		if err := step.Finish(ctx, tx, activity.GetInfo(ctx).WorkflowExecution.ID, in.Step, step.Done); err != nil {
			return err
		}
		stored, err = r.subscriptions.Store(ctx, tx, read, all)
		return err
	})
	if err != nil {
		return workflows.ReadResult{}, err
	}
	r.meter.Read(ctx, read.Provider, outcomeOf(stored))
	return workflows.ReadResult{Dirty: stored.Dirty}, nil
}

func outcomeOf(s subscription.Stored) string {
	switch {
	case s.Superseded:
		return "superseded"
	case s.Healed:
		return "healed"
	default:
		return "stored"
	}
}

// StripeSubscriptions reads what customers are subscribed to at Stripe.
type StripeSubscriptions struct {
	readStore

	client   *stripe.Client
	attempts *attempts
}

// NewStripeSubscriptions makes the activity. A nil client is a Stripe that is not configured.
func NewStripeSubscriptions(
	pool *pgxpool.Pool, subscriptions *subscription.Store, client *stripe.Client, breaker *provider.Breaker, meter SyncMeter, log *slog.Logger,
) *StripeSubscriptions {
	return &StripeSubscriptions{
		readStore: readStore{pool: pool, subscriptions: subscriptions, meter: meter},
		client:    client,
		attempts:  newAttempts(pool, provider.Stripe, breaker, client != nil, log),
	}
}

// ReadStripeSubscriptions reads everything that the customer has at Stripe, and makes it what is
// known. A customer without a confirmed Stripe customer has nothing there.
func (s *StripeSubscriptions) ReadStripeSubscriptions(ctx context.Context, in workflows.CallInput) (result workflows.ReadResult, err error) {
	if err := s.open(ctx, in, provider.Stripe); err != nil {
		return result, err
	}
	err = s.attempts.try(ctx, in.Step, func(ctx context.Context) error {
		c, err := customer.Get(ctx, s.pool, in.CustomerID)
		if err != nil {
			return err
		}
		read, err := s.subscriptions.Begin(ctx, in.CustomerID, provider.Stripe)
		if err != nil {
			return err
		}
		var found []subscription.Subscription
		if c.StripeConfirmed {
			if found, err = s.list(ctx, c.StripeCustomerID); err != nil {
				return err
			}
		}
		result, err = s.finish(ctx, in, read, func(context.Context, pgx.Tx) ([]subscription.Subscription, error) { return found, nil })
		return err
	})
	return result, err
}

func (s *StripeSubscriptions) list(ctx context.Context, stripeCustomerID string) ([]subscription.Subscription, error) {
	listed, err := s.client.ListSubscriptions(ctx, stripeCustomerID)
	if err != nil {
		return nil, err
	}
	found := make([]subscription.Subscription, len(listed))
	for i, l := range listed {
		found[i] = fromStripe(l)
	}
	return found, nil
}

// fromStripe puts a Stripe subscription into our words.
func fromStripe(s stripe.Subscription) subscription.Subscription {
	return subscription.Subscription{
		Provider: provider.Stripe, ID: s.ID, Status: subscription.FromStripe(s.Status), ProviderStatus: s.Status,
		PriceIDs: s.PriceIDs, CreatedAt: s.Created,
		CurrentPeriodStart: unlessZero(s.CurrentPeriodStart), CurrentPeriodEnd: unlessZero(s.CurrentPeriodEnd),
		CancelAtPeriodEnd: s.CancelAtPeriodEnd, CardBrand: s.CardBrand, CardLast4: s.CardLast4,
	}
}

func unlessZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// PayPalSubscriptions reads what customers are subscribed to at PayPal.
type PayPalSubscriptions struct {
	readStore

	client   *paypal.Client
	attempts *attempts
	pages    waiter
}

// waiter lets the further calls of one activity have their turn.
type waiter interface {
	Wait(ctx context.Context) error
}

// NewPayPalSubscriptions makes the activity. A nil client is a PayPal that is not configured; pages
// is the limiter of this process for all reads of a walk but the first.
func NewPayPalSubscriptions(
	pool *pgxpool.Pool, subscriptions *subscription.Store, client *paypal.Client, breaker *provider.Breaker, pages waiter, meter SyncMeter, log *slog.Logger,
) *PayPalSubscriptions {
	return &PayPalSubscriptions{
		readStore: readStore{pool: pool, subscriptions: subscriptions, meter: meter},
		client:    client,
		attempts:  newAttempts(pool, provider.PayPal, breaker, client != nil, log),
		pages:     pages,
	}
}

// ReadPayPalSubscriptions walks the PayPal subscriptions that are bound to the customer, or were
// asked to be, decides whose the latter are, and makes what it found what is known.
func (p *PayPalSubscriptions) ReadPayPalSubscriptions(ctx context.Context, in workflows.CallInput) (result workflows.ReadResult, err error) {
	if err := p.open(ctx, in, provider.PayPal); err != nil {
		return result, err
	}
	err = p.attempts.try(ctx, in.Step, func(ctx context.Context) error {
		read, err := p.subscriptions.Begin(ctx, in.CustomerID, provider.PayPal)
		if err != nil {
			return err
		}
		walked, err := p.walk(ctx, in.CustomerID)
		if err != nil {
			return err
		}
		result, err = p.finish(ctx, in, read, walked.decide)
		return err
	})
	if err == nil {
		result.AwaitsApproval, err = p.subscriptions.AwaitsApproval(ctx, in.CustomerID)
	}
	return result, err
}

// walk is what PayPal says of the subscriptions that are, or are said to be, a customer's.
type walk []walked

type walked struct {
	binding subscription.Binding
	found   subscription.Subscription
	refusal string // why it is not the customer's; empty when it is
}

// walk reads one after the other. The first is a call of the activity, which its queue's rate
// counts; the others wait for their turn in this process.
func (p *PayPalSubscriptions) walk(ctx context.Context, customerID string) (walk, error) {
	bindings, err := subscription.ToRead(ctx, p.pool, customerID)
	if err != nil {
		return nil, err
	}
	all := make(walk, len(bindings))
	for i, b := range bindings {
		if i > 0 {
			if err := p.pages.Wait(ctx); err != nil {
				return nil, err
			}
		}
		if all[i], err = p.look(ctx, b); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// look reads one subscription and judges whose it is. One that is bound stays so: that PayPal knows
// it no more is for a person.
func (p *PayPalSubscriptions) look(ctx context.Context, b subscription.Binding) (walked, error) {
	found, err := p.client.GetSubscription(ctx, b.SubscriptionID)
	asked := b.Status == subscription.Asked
	failure, _ := errors.AsType[*provider.Failure](err)
	switch {
	case asked && failure != nil && failure.Class == provider.NotFound:
		return walked{binding: b, refusal: subscription.RefusedNotFound}, nil
	case err != nil:
		return walked{}, err
	case asked && b.Operator == "" && found.CustomID != b.CustomerID:
		return walked{binding: b, refusal: subscription.RefusedCustomID}, nil
	}
	return walked{binding: b, found: fromPayPal(found)}, nil
}

// decide binds what is the customer's, refuses what is not, and gives what the customer has.
func (all walk) decide(ctx context.Context, tx pgx.Tx) ([]subscription.Subscription, error) {
	found := make([]subscription.Subscription, 0, len(all))
	for _, w := range all {
		if w.refusal == "" {
			theirs, err := subscription.Confirm(ctx, tx, w.binding)
			if err != nil {
				return nil, err
			}
			if theirs {
				found = append(found, w.found)
				continue
			}
			w.refusal = subscription.RefusedTaken
		}
		if err := subscription.Refuse(ctx, tx, w.binding, w.refusal); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// fromPayPal puts a PayPal subscription into our words. A period begins with the payment for it.
func fromPayPal(s paypal.Subscription) subscription.Subscription {
	began := s.LastPaymentTime
	if began.IsZero() {
		began = s.StartTime
	}
	return subscription.Subscription{
		Provider: provider.PayPal, ID: s.ID, Status: subscription.FromPayPal(s.Status), ProviderStatus: s.Status,
		PriceIDs: []string{s.PlanID}, CreatedAt: s.CreateTime.Truncate(time.Second),
		CurrentPeriodStart: unlessZero(began.Truncate(time.Second)), CurrentPeriodEnd: unlessZero(s.NextBillingTime.Truncate(time.Second)),
	}
}
