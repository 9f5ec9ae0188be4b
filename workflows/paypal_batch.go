package workflows

import (
	"errors"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfast/holdfast/internal/provider"
)

// PayPalPayoutBatch carries a batch of payouts out at PayPal: it has the batch sent, and reads it until
// each of its payouts is paid, has failed, or is unclaimed. What is true of them is in Postgres; each
// activity makes one move there and at PayPal, and says what the next one is. So it goes on where the
// batch stands whenever it is started again: by an event of PayPal's, by the sweep, or by a person.
func PayPalPayoutBatch(ctx workflow.Context, in PayPalBatchInput) (PayPalBatchResult, error) {
	b := payingBatch{in: in}
	if err := b.setup(ctx); err != nil {
		return PayPalBatchResult{}, err
	}
	return b.run(ctx)
}

// StepPayPalBatch is the step of a batch that carries it out.
const StepPayPalBatch = "paypal_batch"

// PlanPayPalBatchInput asks how a batch stands.
type PlanPayPalBatchInput struct {
	BatchID string `json:"batch_id"`
	// Look has PayPal asked also when nothing of the batch is under way: something was heard of it.
	Look bool `json:"look,omitempty"`
}

// PayPalBatchPlan is how a batch stands in Postgres, and what is to be done.
type PayPalBatchPlan struct {
	Steps []PlannedStep   `json:"steps,omitempty"`
	Next  PayPalBatchMove `json:"next"`
}

// PayPalBatchMove is what is to be done next with a batch, and when.
type PayPalBatchMove struct {
	State string `json:"state"`
	// Do is the activity that does it; empty: there is nothing to do.
	Do string `json:"do,omitempty"`
	// At is the time to do it, unless there is news before; nil: now.
	At *time.Time `json:"at,omitempty"`
	// NotBefore is how soon at most, whatever the news: a batch has as many events as payouts.
	NotBefore *time.Time `json:"not_before,omitempty"`
}

// PayPalBatchStepInput is the input of every move.
type PayPalBatchStepInput struct {
	BatchID string `json:"batch_id"`
	Step    string `json:"step"`
}

// PayPalItemDecisionInput is a person's decision on a payout of a batch.
type PayPalItemDecisionInput struct {
	BatchID  string            `json:"batch_id"`
	Decision ItemDecisionInput `json:"decision"`
}

// batchMoveTimeout bounds a move that reads a batch of many pages, or searches for one.
const batchMoveTimeout = 10 * time.Minute

type payingBatch struct {
	in     PayPalBatchInput
	lot    parkingLot
	next   PayPalBatchMove
	state  string
	events workflow.ReceiveChannel
	// decided says that a person's decision has changed something since it was planned.
	decided bool
}

func (b *payingBatch) setup(ctx workflow.Context) error {
	if !strings.HasPrefix(b.in.BatchID, "pb_") {
		return temporal.NewNonRetryableApplicationError("batch_id: is missing or not an id", ErrInvalidInput, nil)
	}
	b.events = workflow.GetSignalChannel(ctx, SignalProviderEvent)
	b.lot.open(ctx)
	return errors.Join(
		workflow.SetQueryHandler(ctx, QueryStatus, func() (PayPalBatchResult, error) { return b.status(), nil }),
		handleVerdict(ctx, &b.lot, b.status, UpdateRetry, tryAgain),
		workflow.SetUpdateHandler(ctx, UpdateCancel, b.cancel),
		workflow.SetUpdateHandler(ctx, UpdateResolve, b.resolve),
		workflow.SetUpdateHandler(ctx, UpdateRecordDuplicate, b.recordDuplicate),
	)
}

// run makes moves until there is none left.
func (b *payingBatch) run(ctx workflow.Context) (PayPalBatchResult, error) {
	for {
		if err := b.plan(ctx); err != nil {
			return PayPalBatchResult{}, err
		}
		err := workflow.Await(ctx, func() bool {
			return b.lot.failed != nil || b.lot.settled() && workflow.AllHandlersFinished(ctx) || b.shouldContinueAsNew(ctx)
		})
		switch {
		case err != nil:
			return PayPalBatchResult{}, err
		case b.lot.failed != nil:
			return PayPalBatchResult{}, b.lot.failed
		case !b.lot.settled():
			return PayPalBatchResult{}, workflow.NewContinueAsNewError(ctx, PayPalPayoutBatch, b.in)
		case !b.news():
			return b.status(), nil
		}
	}
}

// shouldContinueAsNew says that the history has grown long, as that of a batch of which a payout takes
// weeks, and that the moment is good: it waits, and was told nothing.
func (b *payingBatch) shouldContinueAsNew(ctx workflow.Context) bool {
	return workflow.GetInfo(ctx).GetContinueAsNewSuggested() && workflow.AllHandlersFinished(ctx) && b.lot.idle() && !b.news()
}

// news says that there may be something to do that the last move did not know of.
func (b *payingBatch) news() bool { return b.events.Len() > 0 || b.decided }

// plan asks Postgres how the batch stands, and takes it up there: at once, if there is news of it.
func (b *payingBatch) plan(ctx workflow.Context) error {
	news := b.news()
	in := PlanPayPalBatchInput{BatchID: b.in.BatchID, Look: b.events.Len() > 0}
	drain(b.events)
	b.decided = false
	steps, err := b.lot.readPlan(func() ([]PlannedStep, error) {
		plan, err := call[PayPalBatchPlan](onPostgres(ctx, "how "+b.in.BatchID+" stands"), ActivityPlanPayPalBatch, in)
		if b.next, b.state = plan.Next, plan.Next.State; news {
			b.next.At = nil
		}
		return plan.Steps, err
	})
	if err != nil {
		return err
	}
	return b.lot.takeUp(ctx, steps, func(t *task) (assignment, error) {
		return assignment{do: func(ctx workflow.Context) error { return b.carryOut(ctx, t) }}, nil
	})
}

// carryOut makes the moves. When one fails, the task is parked, and later goes on with that one; but not
// when a person has decided meanwhile, after which it may not be needed.
func (b *payingBatch) carryOut(ctx workflow.Context, t *task) error {
	for b.next.Do != "" {
		if err := b.awaitTurn(ctx, t); err != nil {
			return err
		}
		made, err := call[PayPalBatchMove](onPayPalBatch(ctx, b.next.Do+" of "+b.in.BatchID), b.next.Do,
			PayPalBatchStepInput{BatchID: b.in.BatchID, Step: t.name})
		switch {
		case err == nil:
			b.next, b.state = made, made.State
		case ctx.Err() != nil || !b.decided:
			return err
		}
	}
	return nil
}

// onPayPalBatch is onProvider for moves that may take many calls.
func onPayPalBatch(ctx workflow.Context, summary string) workflow.Context {
	options := workflow.GetActivityOptions(onProvider(ctx, provider.PayPal, summary))
	options.StartToCloseTimeout = batchMoveTimeout
	return workflow.WithActivityOptions(ctx, options)
}

// awaitTurn waits until it is time for the next move, or until there is news, which comes in so many
// pieces that even then some time has to pass between two reads.
func (b *payingBatch) awaitTurn(ctx workflow.Context, t *task) error {
	t.atRest = true
	err := b.awaitTime(ctx, b.next.At, b.news)
	if t.atRest = false; err != nil {
		return err
	}
	if err := b.awaitTime(ctx, b.next.NotBefore, func() bool { return false }); err != nil {
		return err
	}
	drain(b.events)
	b.decided = false                      // the next move looks at what is true now
	b.next.At, b.next.NotBefore = nil, nil // its time has come, and stays so when it fails
	return nil
}

// awaitTime waits until a moment, or until the condition holds before.
func (b *payingBatch) awaitTime(ctx workflow.Context, until *time.Time, orSooner func() bool) error {
	if until == nil || !until.After(workflow.Now(ctx)) || orSooner() {
		return nil
	}
	waiting, stop := workflow.WithCancel(ctx) // or the timer would go on when there is news
	defer stop()
	_, err := workflow.AwaitWithOptions(waiting, workflow.AwaitOptions{
		Timeout:      until.Sub(workflow.Now(ctx)),
		TimerOptions: workflow.TimerOptions{Summary: "until " + b.next.Do},
	}, orSooner)
	return err
}

// cancel ends a payout of the batch whose money can still be kept back.
func (b *payingBatch) cancel(ctx workflow.Context, in ItemDecisionInput) (PayPalBatchResult, error) {
	return b.decide(ctx, ActivityCancelPayPalItem, in)
}

// resolve ends a payout of the batch that is held, as a person found out at PayPal.
func (b *payingBatch) resolve(ctx workflow.Context, in ItemDecisionInput) (PayPalBatchResult, error) {
	return b.decide(ctx, ActivityResolvePayPalItem, in)
}

// recordDuplicate takes a second movement of the money of one of the payouts into the books.
func (b *payingBatch) recordDuplicate(ctx workflow.Context, in ItemDecisionInput) (PayPalBatchResult, error) {
	return b.decide(ctx, ActivityRecordPayPalDuplicate, in)
}

// decide carries a person's decision out, or refuses it with the reason.
func (b *payingBatch) decide(ctx workflow.Context, activity string, in ItemDecisionInput) (PayPalBatchResult, error) {
	made, err := call[PayPalBatchMove](onceOnPayPal(ctx, activity+" of "+in.PayoutID), activity,
		PayPalItemDecisionInput{BatchID: b.in.BatchID, Decision: in})
	if err != nil {
		return b.status(), err
	}
	b.state, b.decided = made.State, true
	b.lot.tryAgain()
	return b.status(), nil
}

// onceOnPayPal is for what a person waits for: they try again themselves.
func onceOnPayPal(ctx workflow.Context, summary string) workflow.Context {
	options := workflow.GetActivityOptions(urgent(onProvider(ctx, provider.PayPal, summary)))
	options.RetryPolicy = &temporal.RetryPolicy{MaximumAttempts: 1}
	return workflow.WithActivityOptions(ctx, options)
}

func (b *payingBatch) status() PayPalBatchResult {
	return PayPalBatchResult{BatchID: b.in.BatchID, State: b.state, Steps: b.lot.statuses()}
}
