package workflows

import (
	"fmt"
	"slices"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
)

// SubscriptionBackfill holds what is known of everybody's subscriptions at a provider against the
// provider's own list, and has those customers read who differ. Where there is no list, it has those
// read who were not for long. It marks only while little is to be read as it is, so that live work
// goes first, and ends when those whom it marked were read. There is one at a time for each provider.
func SubscriptionBackfill(ctx workflow.Context, in BackfillInput) (BackfillProgress, error) {
	b := subscriptionBackfill{in: in}
	if err := b.setup(ctx); err != nil {
		return BackfillProgress{}, err
	}
	return b.run(ctx)
}

// SubscriptionDrift starts a pass at every provider. It runs by schedule: a schedule gives its runs
// ids of their own, and of passes there is only one at a time.
func SubscriptionDrift(ctx workflow.Context) error {
	for _, p := range backfilled() {
		if err := startBackfill(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// backfilled are the providers that have passes.
func backfilled() []provider.Name { return []provider.Name{provider.Stripe, provider.PayPal} }

func startBackfill(ctx workflow.Context, p provider.Name) error {
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:        BackfillID(p),
		TaskQueue:         TaskQueue,
		ParentClosePolicy: enums.PARENT_CLOSE_POLICY_ABANDON,
		StaticSummary:     BackfillSummary(p),
	})
	err := workflow.ExecuteChildWorkflow(ctx, NameSubscriptionBackfill, BackfillInput{Provider: p}).GetChildWorkflowExecution().Get(ctx, nil)
	if temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		return nil // the pass of yesterday, or of a person, is under way
	}
	return err
}

// BackfillSummary is what people see of a pass in a list.
func BackfillSummary(p provider.Name) string { return "subscriptions at " + string(p) + ", compared" }

type subscriptionBackfill struct {
	in    BackfillInput
	at    BackfillProgress
	lot   parkingLot
	calls int // activities of this run
}

func (b *subscriptionBackfill) setup(ctx workflow.Context) error {
	if !slices.Contains(backfilled(), b.in.Provider) {
		return temporal.NewNonRetryableApplicationError("provider: must be stripe or paypal", ErrInvalidInput, nil)
	}
	b.at = BackfillProgress{Provider: b.in.Provider, Everyone: b.in.Everyone}
	b.enter(ctx, BackfillStarting)
	if b.in.Progress != nil {
		b.at = *b.in.Progress
	}
	b.lot.open(ctx)
	if err := workflow.SetQueryHandler(ctx, QueryProgress, func() (BackfillProgress, error) { return b.progress(), nil }); err != nil {
		return err
	}
	return handleVerdicts(ctx, &b.lot, b.progress)
}

// run makes the pass, which is one step: what cannot go on is parked like any other.
func (b *subscriptionBackfill) run(ctx workflow.Context) (BackfillProgress, error) {
	pass := PlannedStep{Name: b.step(), Provider: b.in.Provider, Status: step.Pending}
	err := b.lot.takeUp(ctx, []PlannedStep{pass}, func(*task) (assignment, error) { return assignment{do: b.pass}, nil })
	if err != nil {
		return BackfillProgress{}, err
	}
	err = workflow.Await(ctx, func() bool {
		return b.lot.failed != nil || b.lot.settled() && workflow.AllHandlersFinished(ctx)
	})
	switch {
	case err != nil:
		return BackfillProgress{}, err
	case b.lot.failed != nil:
		return BackfillProgress{}, b.lot.failed
	case b.at.Stage != BackfillDone && b.lot.find(b.step()).status == step.Done:
		b.in.Progress = &b.at
		return BackfillProgress{}, workflow.NewContinueAsNewError(ctx, SubscriptionBackfill, b.in)
	}
	return b.progress(), nil
}

// step is what people see of a pass that waits.
func (b *subscriptionBackfill) step() string { return string(b.in.Provider) + "_backfill" }

// A pass that finds too much to be read as it is looks again after a moment, then less and less
// often. Its history is kept short.
const (
	minBackfillWait   = time.Second
	maxBackfillWait   = time.Minute
	maxBackfillCalls  = 250
	backfillPatience  = time.Hour
	driftAge          = 20 * time.Hour // read later than this, a customer is not read again by the daily pass
	waitsForLiveReads = "less is to be read at the provider"
)

// pass goes on where the cursor is, until it is over or this run's history is long.
func (b *subscriptionBackfill) pass(ctx workflow.Context) error {
	stages := map[BackfillStage]func(workflow.Context) (busy bool, err error){
		BackfillStarting: b.begin, BackfillComparing: b.compare, BackfillMarking: b.mark, BackfillReading: b.read,
	}
	wait := minBackfillWait
	for b.at.Stage != BackfillDone && b.calls < maxBackfillCalls && !workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
		busy, err := stages[b.at.Stage](ctx)
		if err != nil {
			return err
		}
		b.calls++
		b.show(ctx, busy)
		if !busy {
			wait = minBackfillWait
			continue
		}
		if err := workflow.NewTimerWithOptions(ctx, wait, workflow.TimerOptions{Summary: waitsForLiveReads}).Get(ctx, nil); err != nil {
			return err
		}
		wait = min(2*wait, maxBackfillWait)
	}
	return nil
}

func (b *subscriptionBackfill) enter(ctx workflow.Context, stage BackfillStage) {
	b.at.Stage, b.at.StageAt, b.at.Cursor = stage, workflow.Now(ctx), BackfillCursor{}
}

// begin ends the pass at once where nobody can have subscriptions.
func (b *subscriptionBackfill) begin(ctx workflow.Context) (busy bool, err error) {
	in, next := BeginBackfillInput{Provider: b.in.Provider}, BackfillMarking
	if b.in.Provider == provider.Stripe {
		in.Step, next = b.step(), BackfillComparing
	}
	begun, err := call[BeginBackfillResult](inBackground(onPostgres(ctx, "how many there are to compare")), ActivityBeginBackfill, in)
	if err != nil {
		return false, err
	}
	b.at.StartedAt, b.at.Customers = begun.StartedAt, begun.Customers
	if begun.Customers == 0 {
		next = BackfillDone
	}
	b.enter(ctx, next)
	return false, nil
}

// compare holds a page of Stripe's list against what is known.
func (b *subscriptionBackfill) compare(ctx workflow.Context) (busy bool, err error) {
	ctx = inBackground(onStripe(ctx, fmt.Sprintf("page %d of everybody's subscriptions", b.at.Pages+1)))
	page, err := call[ComparePageResult](ctx, ActivityCompareStripePage, ComparePageInput{Step: b.step(), Cursor: b.at.Cursor, StartedAt: b.at.StartedAt})
	switch {
	case err != nil:
		return false, err
	case page.Busy:
		b.at.Healed = page.Healed
		return true, nil
	case page.Lost:
		b.at.Cursor = BackfillCursor{} // it was deleted meanwhile; the list is gone through anew
		return false, nil
	}
	b.at.Pages++
	b.at.Compared += page.Compared
	b.at.Differing += page.Differing
	b.at.Marked += page.Differing
	b.at.Healed = page.Healed
	switch {
	case page.Next != nil:
		b.at.Cursor = *page.Next
	case b.in.Everyone:
		b.enter(ctx, BackfillMarking)
	default:
		b.enter(ctx, BackfillReading)
	}
	return false, nil
}

// mark has the next customers read who were not since the moment that counts.
func (b *subscriptionBackfill) mark(ctx workflow.Context) (busy bool, err error) {
	in := MarkUnreadInput{Provider: b.in.Provider, After: b.at.Cursor.After, Everyone: b.in.Everyone, StartedAt: b.at.StartedAt}
	switch {
	case b.in.Provider == provider.Stripe: // whoever was read before is on a page, or has nothing
	case b.in.Everyone:
		in.Before = b.at.StartedAt
	default:
		in.Before = b.at.StartedAt.Add(-driftAge)
	}
	marked, err := call[MarkUnreadResult](inBackground(onPostgres(ctx, "mark who was not read")), ActivityMarkUnread, in)
	if err != nil {
		return false, err
	}
	b.at.Marked += marked.Marked
	b.at.Healed = marked.Healed
	switch {
	case marked.Busy:
	case marked.Next == "":
		b.enter(ctx, BackfillReading)
	default:
		b.at.Cursor.After = marked.Next
	}
	return marked.Busy, nil
}

// read waits until those who were marked were read, but not for ever: they are read in any case.
func (b *subscriptionBackfill) read(ctx workflow.Context) (busy bool, err error) {
	in := CountHealedInput{Provider: b.in.Provider, StartedAt: b.at.StartedAt}
	counted, err := call[CountHealedResult](inBackground(onPostgres(ctx, "whether all who were marked were read")), ActivityCountHealed, in)
	if err != nil {
		return false, err
	}
	b.at.Healed, b.at.Unread = counted.Healed, counted.Unread
	if counted.Unread > 0 && workflow.Now(ctx).Sub(b.at.StageAt) < backfillPatience {
		return true, nil
	}
	b.enter(ctx, BackfillDone)
	return false, nil
}

// show tells people who look at the workflow how far it is.
func (b *subscriptionBackfill) show(ctx workflow.Context, busy bool) {
	b.at.Busy = busy
	workflow.SetCurrentDetails(ctx, b.at.String())
}

// String is the pass in a sentence.
func (p BackfillProgress) String() string {
	text := fmt.Sprintf("%s: %d pages, %d customers compared, %d differ, %d marked, %d healed", p.Stage, p.Pages, p.Compared, p.Differing, p.Marked, p.Healed)
	if p.Busy {
		text += "; waits until " + waitsForLiveReads
	}
	return text
}

func (b *subscriptionBackfill) progress() BackfillProgress {
	now := b.at
	now.Steps = b.lot.statuses()
	return now
}
