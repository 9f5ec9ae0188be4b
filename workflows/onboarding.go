package workflows

import (
	"fmt"
	"slices"
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
	in      OnboardingInput
	lot     parkingLot
	planned bool  // the plan was read once, so the lot knows its tasks
	failed  error // why a task gave up: the workflow was canceled
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
			return o.failed != nil || o.lot.settled() || changes.Len() > 0 || o.shouldContinueAsNew(ctx)
		})
		switch {
		case err != nil:
			return StatusResult{}, err
		case o.failed != nil:
			return StatusResult{}, o.failed
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
	if !workflow.GetInfo(ctx).GetContinueAsNewSuggested() || !workflow.AllHandlersFinished(ctx) {
		return false
	}
	return !slices.ContainsFunc(o.lot.tasks, func(t *task) bool { return !t.idle() })
}

// plan reads what there is to do and starts a task for every step that is not at work already.
func (o *onboarding) plan(ctx workflow.Context) error {
	plan, err := o.read(ctx)
	if err != nil {
		return err
	}
	for _, planned := range plan.Steps {
		t := o.lot.find(planned.Name)
		if t == nil {
			t = &task{name: planned.Name, provider: planned.Provider, status: step.Done}
			o.lot.tasks = append(o.lot.tasks, t)
		}
		if !t.status.Settled() {
			continue // at work, or waiting
		}
		if t.status = planned.Status; t.status.Settled() {
			continue
		}
		if t.do, err = o.action(t.name, plan); err != nil {
			return err
		}
		o.begin(ctx, t, planned)
	}
	o.planned = true
	return o.lot.show(ctx)
}

// read gets the plan, again if a step ended while it was being read: the plan may show that step
// as it was before, and taking it up would undo the end.
func (o *onboarding) read(ctx workflow.Context) (Plan, error) {
	for {
		open := o.lot.unsettled()
		plan, err := call[Plan](onPostgres(ctx, "what is there to do for "+o.in.CustomerID), ActivityPlanOnboarding,
			PlanInput{CustomerID: o.in.CustomerID, Profile: o.in.Profile})
		if err != nil || !plan.overtaken(open) {
			return plan, err
		}
	}
}

// overtaken says that one of the tasks ended, and that the plan does not know.
func (p Plan) overtaken(tasks []*task) bool {
	return slices.ContainsFunc(p.Steps, func(planned PlannedStep) bool {
		return !planned.Status.Settled() && slices.ContainsFunc(tasks, func(t *task) bool {
			return t.name == planned.Name && t.status.Settled()
		})
	})
}

// action is what a step does.
func (o *onboarding) action(name string, plan Plan) (func(workflow.Context) error, error) {
	switch {
	case name == customer.StepStripeCustomer && plan.BringsStripeCustomer:
		return o.claimStripeCustomer, nil
	case name == customer.StepStripeCustomer:
		return o.createStripeCustomer, nil
	case name == customer.StepPromoCode:
		return o.applyPromoCode, nil
	case name == customer.StepStripeProfile:
		return o.updateStripeProfile, nil
	}
	return nil, fmt.Errorf("onboarding of %s: step %q is not one that this version knows", o.in.CustomerID, name)
}

// begin takes a step up where Postgres says it stands.
func (o *onboarding) begin(ctx workflow.Context, t *task, planned PlannedStep) {
	switch {
	case planned.Status == step.Blocked && planned.WaitsFor == step.ForPerson:
		t.park(ctx, failure{planned.ErrorClass, planned.LastError})
	case planned.Refused && o.itsTurn(t): // otherwise the provider may be back when it is
		t.park(ctx, failure{planned.ErrorClass, planned.LastError})
	default:
		t.status = step.Pending
	}
	workflow.Go(ctx, func(ctx workflow.Context) {
		if err := o.settle(ctx, t); err != nil {
			o.failed = err
		}
	})
}

// settle does a step once the Stripe customer that it needs is there. Without one there is
// nothing to do it to.
func (o *onboarding) settle(ctx workflow.Context, t *task) error {
	if !o.itsTurn(t) {
		if err := t.rest(ctx, 0, func() bool { return o.itsTurn(t) }); err != nil {
			return err
		}
	}
	if base := o.base(t); base != nil && base.status == step.Skipped {
		return o.lot.skip(ctx, t)
	}
	return o.lot.untilSettled(ctx, t)
}

// base is the step that the task needs the end of, or nil.
func (o *onboarding) base(t *task) *task {
	if t.name == customer.StepStripeCustomer {
		return nil
	}
	return o.lot.find(customer.StepStripeCustomer)
}

func (o *onboarding) itsTurn(t *task) bool {
	base := o.base(t)
	return base == nil || base.status.Settled()
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
	if err := o.handleVerdict(ctx, UpdateRetry, tryAgain); err != nil {
		return err
	}
	if err := o.handleVerdict(ctx, UpdateSkip, goOnWithout); err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, UpdateEnsure, o.ensure, workflow.UpdateHandlerOptions{Validator: validateEnsure})
}

func (o *onboarding) handleVerdict(ctx workflow.Context, update string, v verdict) error {
	// A verdict may come with the start of this run; it is judged once the plan is known.
	validate := func(_ workflow.Context, in StepInput) error {
		if !o.planned {
			return nil
		}
		return o.lot.validate(in)
	}
	decide := func(ctx workflow.Context, in StepInput) (StatusResult, error) {
		if err := workflow.Await(ctx, func() bool { return o.planned }); err != nil {
			return StatusResult{}, err
		}
		if err := o.lot.validate(in); err != nil {
			return StatusResult{}, err
		}
		o.lot.find(in.Step).verdict = v
		return o.status(), nil
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, update, decide, workflow.UpdateHandlerOptions{Validator: validate})
}

// maxEnsureWait bounds how long an ensure update may hold on.
const maxEnsureWait = 30 * time.Second

func validateEnsure(_ workflow.Context, in EnsureInput) error {
	if in.WaitMS < 0 || in.WaitMS > maxEnsureWait.Milliseconds() {
		return temporal.NewApplicationError(fmt.Sprintf("wait_ms: must be from 0 to %d", maxEnsureWait.Milliseconds()), ErrInvalidInput)
	}
	return nil
}

// ensure waits until billing is ready, until nothing more will happen, or for as long as the
// caller wants to wait.
func (o *onboarding) ensure(ctx workflow.Context, in EnsureInput) (StatusResult, error) {
	over := func() bool { return o.billingReady() || o.planned && o.lot.settled() }
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
