package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
)

// SubscriptionSync brings what is known of a customer's subscriptions up to date. It reads the whole
// state at every provider where Postgres says that something may have changed, and ends when there
// is no such provider. Whoever knows of a change marks the customer in Postgres and sends the signal
// changed; a hundred marks before a read begins cost one read.
func SubscriptionSync(ctx workflow.Context, in SyncInput) (SyncResult, error) {
	s := subscriptionSync{in: in}
	if err := s.setup(ctx); err != nil {
		return SyncResult{}, err
	}
	return s.run(ctx)
}

type subscriptionSync struct {
	in      SyncInput
	lot     parkingLot
	changes workflow.ReceiveChannel

	asked, marked int                // how often sync_now asked, and how many of those were marked
	dirty         bool               // a read found that the customer had been marked again meanwhile
	read          bool               // this run has read before
	approval      *time.Time         // since when a person has had a PayPal subscription to approve
	poll          subscription.Cause // why the next plan marks the customer by itself, or empty
}

func (s *subscriptionSync) setup(ctx workflow.Context) error {
	if !customer.ValidID(s.in.CustomerID) {
		return temporal.NewNonRetryableApplicationError("customer_id: is missing or not an id", ErrInvalidInput, nil)
	}
	if _, known := readActivity(s.in.Provider); !known && s.in.Provider != "" {
		return temporal.NewNonRetryableApplicationError(fmt.Sprintf("provider: there is no provider %q", s.in.Provider), ErrInvalidInput, nil)
	}
	s.changes = workflow.GetSignalChannel(ctx, SignalChanged)
	s.lot.customerID = s.in.CustomerID
	s.lot.open(ctx)
	workflow.Go(ctx, s.lookForApproval)
	return s.handlePeople(ctx)
}

// run reads until Postgres says that nothing is to be read.
func (s *subscriptionSync) run(ctx workflow.Context) (SyncResult, error) {
	begin := s.plan
	if s.in.Provider != "" {
		begin = s.readMarked
	}
	for {
		if err := begin(ctx); err != nil {
			return SyncResult{}, err
		}
		over, err := s.untilOver(ctx)
		if err != nil {
			return SyncResult{}, err
		}
		if over {
			return s.status(), nil
		}
		begin = s.plan
	}
}

// readMarked reads where the mark was that started this run, which is what most runs are for. The
// read itself tells whether there is more to do.
func (s *subscriptionSync) readMarked(ctx workflow.Context) error {
	s.changes.ReceiveAsync(nil) // the signal of that mark; others may be of another provider's
	marked := PlannedStep{Name: subscription.StepOf(s.in.Provider), Provider: s.in.Provider, Status: step.Pending}
	return s.lot.takeUp(ctx, []PlannedStep{marked}, func(t *task) (assignment, error) { return s.assign(t, false) })
}

// untilOver waits until nothing is left to do, or gives false when there is something to plan anew.
func (s *subscriptionSync) untilOver(ctx workflow.Context) (bool, error) {
	err := workflow.Await(ctx, func() bool {
		return s.lot.failed != nil || s.lot.idle() && (s.over(ctx) || s.news() || s.shouldContinueAsNew(ctx))
	})
	switch {
	case err != nil:
		return false, err
	case s.lot.failed != nil:
		return false, s.lot.failed
	case s.news():
		return false, s.gather(ctx)
	case s.shouldContinueAsNew(ctx):
		return false, workflow.NewContinueAsNewError(ctx, SubscriptionSync, SyncInput{CustomerID: s.in.CustomerID})
	}
	err = workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
	return !s.news(), err
}

// over says that everything is read or skipped, and that nothing is awaited.
func (s *subscriptionSync) over(ctx workflow.Context) bool {
	return s.lot.settled() && !s.awaitsApproval(ctx)
}

// news says that there may be something to read that the last plan did not know of.
func (s *subscriptionSync) news() bool {
	return s.changes.Len() > 0 || s.dirty || s.asked > s.marked || s.poll != ""
}

func (s *subscriptionSync) shouldContinueAsNew(ctx workflow.Context) bool {
	return workflow.GetInfo(ctx).GetContinueAsNewSuggested() && workflow.AllHandlersFinished(ctx)
}

// gather lets the rest of a burst arrive before the customer is read once more. It does not keep
// those waiting who asked.
func (s *subscriptionSync) gather(ctx workflow.Context) error {
	const burst = time.Second
	if !s.read || s.asked > s.marked || s.poll != "" {
		return nil
	}
	_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
		Timeout:      burst,
		TimerOptions: workflow.TimerOptions{Summary: "the rest of a burst arrives"},
	}, func() bool { return s.asked > s.marked })
	return err
}

// plan asks Postgres what is to be read, and takes up what is not at work already.
func (s *subscriptionSync) plan(ctx workflow.Context) error {
	drain(s.changes)
	asked, eager := s.asked, s.asked > s.marked
	in := PlanSyncInput{CustomerID: s.in.CustomerID, Mark: s.poll}
	if eager {
		in.Mark = subscription.ByRequest
	}
	s.dirty = false
	steps, err := s.lot.readPlan(func() ([]PlannedStep, error) {
		plan, err := call[SyncPlan](onPostgres(ctx, "what of "+s.in.CustomerID+" is to be read"), ActivityPlanSync, in)
		s.approval = plan.AwaitsApproval
		return plan.Steps, err
	})
	if err != nil {
		return err
	}
	s.marked = asked
	if in.Mark != "" {
		s.poll = "" // what it wanted is among the steps
	}
	return s.lot.takeUp(ctx, steps, func(t *task) (assignment, error) { return s.assign(t, eager) })
}

// readActivity reads what a customer has at the provider, if this version knows the provider.
func readActivity(p provider.Name) (activity string, known bool) {
	activity, known = map[provider.Name]string{
		provider.Stripe: ActivityReadStripeSubscriptions,
		provider.PayPal: ActivityReadPayPalSubscriptions,
	}[p]
	return activity, known
}

// assign says what a step does: it reads everything that the customer has at the provider.
func (s *subscriptionSync) assign(t *task, eager bool) (assignment, error) {
	activity, known := readActivity(t.provider)
	if !known {
		return assignment{}, fmt.Errorf("subscriptions of %s: provider %q is not one that this version knows", s.in.CustomerID, t.provider)
	}
	return assignment{do: func(ctx workflow.Context) error {
		ctx = onProvider(ctx, t.provider, "subscriptions of "+s.in.CustomerID)
		if eager {
			ctx = urgent(ctx)
		}
		result, err := call[ReadResult](ctx, activity, CallInput{CustomerID: s.in.CustomerID, Step: t.name})
		if err != nil {
			return err
		}
		s.read = true
		// Marks that another step's read is to answer are that read's matter: it tells what is left.
		s.dirty = result.Dirty && !s.lot.busyBeside(t)
		if t.provider == provider.PayPal {
			s.approval = result.AwaitsApproval
		}
		return nil
	}}, nil
}

// How long a person may take to approve a PayPal subscription before nobody looks for it any more,
// and how often somebody looks, should PayPal's webhook be lost: the longer it takes, the less often.
const (
	approvalPatience = 72 * time.Hour
	minApprovalPoll  = 30 * time.Second
	maxApprovalPoll  = 6 * time.Hour
)

// awaitsApproval says that a person has a PayPal subscription to approve, and may yet do so.
func (s *subscriptionSync) awaitsApproval(ctx workflow.Context) bool {
	return s.approval != nil && workflow.Now(ctx).Sub(*s.approval) < approvalPatience
}

// lookForApproval has PayPal read from time to time while a person has yet to approve a
// subscription, also while another provider's read waits. It ends with the workflow.
func (s *subscriptionSync) lookForApproval(ctx workflow.Context) {
	reading := func() bool { return s.lot.busyAt(provider.PayPal) || s.poll != "" }
	for {
		if err := workflow.Await(ctx, func() bool { return s.awaitsApproval(ctx) && !reading() }); err != nil {
			return
		}
		waited := workflow.Now(ctx).Sub(*s.approval)
		wait := min(max(waited/2, minApprovalPoll), maxApprovalPoll, approvalPatience-waited)
		waiting, stop := workflow.WithCancel(ctx) // or the timer would go on when something is heard
		heard, err := workflow.AwaitWithOptions(waiting, workflow.AwaitOptions{
			Timeout:      wait,
			TimerOptions: workflow.TimerOptions{Summary: "until the approval is looked for again"},
		}, func() bool { return s.approval == nil || reading() })
		stop()
		if err != nil {
			return
		}
		if !heard {
			s.poll = subscription.ByPoll
		}
	}
}

// handlePeople answers the query and the updates: what operators and back ends can ask and say.
func (s *subscriptionSync) handlePeople(ctx workflow.Context) error {
	if err := workflow.SetQueryHandler(ctx, QueryStatus, func() (SyncResult, error) { return s.status(), nil }); err != nil {
		return err
	}
	if err := handleVerdicts(ctx, &s.lot, s.status); err != nil {
		return err
	}
	validate := func(_ workflow.Context, in SyncNowInput) error { return validateWait(in.WaitMS) }
	return workflow.SetUpdateHandlerWithOptions(ctx, UpdateSyncNow, s.syncNow, workflow.UpdateHandlerOptions{Validator: validate})
}

// syncNow has everything read by a read that begins from now on, and waits until that is over,
// cannot go on, or takes longer than the caller wants to wait.
func (s *subscriptionSync) syncNow(ctx workflow.Context, in SyncNowInput) (SyncResult, error) {
	s.asked++
	mine := s.asked
	over := func() bool { return s.marked >= mine && s.lot.idle() && !s.dirty }
	if wait := time.Duration(in.WaitMS) * time.Millisecond; wait > 0 {
		if _, err := workflow.AwaitWithTimeout(ctx, wait, over); err != nil {
			return SyncResult{}, err
		}
	}
	return s.status(), nil
}

func (s *subscriptionSync) status() SyncResult {
	return SyncResult{CustomerID: s.in.CustomerID, Synced: s.lot.planned && s.lot.settled() && !s.news(), Steps: s.lot.statuses()}
}
