package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

const batchID = "pb_000000000000000000000001"

const (
	planBatch = workflows.ActivityPlanPayPalBatch
	sendBatch = workflows.ActivitySendPayPalBatch
	readBatch = workflows.ActivityReadPayPalBatch
)

// readGap is how long reads are apart at least, as the activities say it.
const readGap = 10 * time.Second

// batchWorld is the world of one batch.
type batchWorld struct {
	moving[workflows.PayPalBatchMove, workflows.PayPalItemDecisionInput]

	looks []bool // whether a plan was to look, plan by plan
}

func setupBatch(t *testing.T) *batchWorld {
	t.Helper()
	first := workflows.PayPalBatchMove{State: "open", Do: sendBatch}
	w := &batchWorld{moving: setupMoving[workflows.PayPalBatchMove, workflows.PayPalItemDecisionInput](t, first)}
	w.register(planBatch, func(_ context.Context, in workflows.PlanPayPalBatchInput) (workflows.PayPalBatchPlan, error) {
		plan := workflows.PayPalBatchPlan{Next: w.next}
		w.looks = append(w.looks, in.Look)
		if in.Look && plan.Next.Do == "" {
			plan.Next.Do = readBatch
		}
		if plan.Next.Do != "" {
			plan.Steps = []workflows.PlannedStep{{Name: workflows.StepPayPalBatch, Provider: provider.PayPal, Status: step.Pending}}
		}
		return plan, w.called(planBatch, in)
	})
	for _, name := range []string{sendBatch, readBatch} {
		w.register(name, func(_ context.Context, in workflows.PayPalBatchStepInput) (workflows.PayPalBatchMove, error) {
			return w.made(t, name, in)
		})
	}
	for _, name := range []string{workflows.ActivityCancelPayPalItem, workflows.ActivityResolvePayPalItem, workflows.ActivityRecordPayPalDuplicate} {
		w.then[name] = func() {}
		w.register(name, func(_ context.Context, in workflows.PayPalItemDecisionInput) (workflows.PayPalBatchMove, error) {
			return w.decided(name, in)
		})
	}
	return w
}

// leads makes the next call of a move lead to another one, after a while; a read is never sooner than
// the gap after this one.
func (w *batchWorld) leads(move, state, to string, after time.Duration) {
	w.comes(move, func() workflows.PayPalBatchMove {
		next := workflows.PayPalBatchMove{State: state, Do: to, At: w.in(after)}
		if to == readBatch {
			next.NotBefore = w.in(readGap)
		}
		return next
	})
}

// straight is how a batch goes when all is well: PayPal is done after 15 seconds.
func (w *batchWorld) straight() {
	w.leads(sendBatch, "sent", readBatch, 15*time.Second)
	w.leads(readBatch, "ended", "", 0)
}

func (w *batchWorld) start() {
	w.env.ExecuteWorkflow(workflows.PayPalPayoutBatch, workflows.PayPalBatchInput{BatchID: batchID})
}

func (w *batchWorld) run(t *testing.T) workflows.PayPalBatchResult {
	t.Helper()
	w.start()
	return resultOf[workflows.PayPalBatchResult](t, w.env)
}

func (w *batchWorld) state(t *testing.T) workflows.PayPalBatchResult {
	t.Helper()
	return answerOf[workflows.PayPalBatchResult](t, w.env, workflows.QueryStatus)
}

func (w *batchWorld) decide(name string, in workflows.ItemDecisionInput) *decision[workflows.PayPalBatchResult] {
	return decide[workflows.PayPalBatchResult](w.world, name, in)
}

func TestABatchIsSentAndReadUntilNothingOfItIsUnderWay(t *testing.T) {
	t.Parallel()
	w := setupBatch(t)
	w.noUpserts(t)
	w.leads(sendBatch, "sent", readBatch, 15*time.Second)
	w.leads(readBatch, "sent", readBatch, time.Hour)
	w.leads(readBatch, "ended", "", 0)
	w.after(30*time.Minute, func() { require.Equal(t, "sent", w.state(t).State) })

	result := w.run(t)

	require.Equal(t, workflows.PayPalBatchResult{
		BatchID: batchID, State: "ended", Steps: []workflows.StepStatus{{Name: workflows.StepPayPalBatch, Status: step.Done}},
	}, result)
	require.Equal(t, []string{planBatch, sendBatch, readBatch, readBatch}, w.calls)
	require.Equal(t, []time.Duration{15 * time.Second, 15*time.Second + time.Hour}, w.ranAt(readBatch))
}

// A batch has as many events as payouts. They have it read sooner, and not more often than every ten seconds.
func TestEventsHaveABatchReadAtOnceAndNotEachTime(t *testing.T) {
	t.Parallel()
	w := setupBatch(t)
	w.leads(sendBatch, "sent", readBatch, time.Hour)
	for range 3 {
		w.leads(readBatch, "sent", readBatch, time.Hour)
	}
	w.leads(readBatch, "ended", "", 0)
	w.after(time.Second, w.event) // sooner than anything is to be seen
	for i := range 20 {
		w.after(30*time.Second+time.Duration(i)*time.Second, w.event)
	}

	require.Equal(t, "ended", w.run(t).State)

	reads := w.ranAt(readBatch)
	require.Equal(t, readGap, reads[0])
	require.Equal(t, 30*time.Second, reads[1])
	require.Equal(t, 40*time.Second, reads[2])
	require.Equal(t, 50*time.Second, reads[3])
}

// What is told while a move is under way is looked at after it.
func TestAnEventDuringTheLastReadHasTheBatchReadAgain(t *testing.T) {
	t.Parallel()
	w := setupBatch(t)
	w.straight()
	w.leads(readBatch, "ended", "", 0)
	w.answers[readBatch] = []func() error{func() error {
		w.event()
		return nil
	}}

	require.Equal(t, "ended", w.run(t).State)

	require.Equal(t, []string{planBatch, sendBatch, readBatch, planBatch, readBatch}, w.calls)
	require.Equal(t, []bool{false, true}, w.looks)
}

// A batch of which nothing is under way is read once for what was heard of it.
func TestABatchThatHasEndedIsReadWhenItIsHeardOf(t *testing.T) {
	t.Parallel()
	w := setupBatch(t)
	w.next = workflows.PayPalBatchMove{State: "ended"}
	w.leads(readBatch, "ended", "", 0)
	w.after(0, w.event)

	require.Equal(t, "ended", w.run(t).State)

	require.Equal(t, 1, w.count(readBatch))
}

func TestABatchParksAndGoesOnWithTheSameMove(t *testing.T) {
	t.Parallel()
	w := setupBatch(t)
	w.straight()
	w.script(sendBatch, times(workflows.BlipAttempts, failing(provider.OutcomeUnknown, "network"))...)
	w.after(2*time.Minute, func() {
		require.Equal(t, step.ForProvider, w.state(t).Steps[0].WaitsFor)
		w.event()                     // no reason to go on,
		w.providerUp(provider.Stripe) // nor is this
	})
	w.after(10*time.Minute, func() { w.providerUp(provider.PayPal) })

	require.Equal(t, "ended", w.run(t).State)

	require.Len(t, w.parked, 1)
	require.Equal(t, provider.PayPal, w.parked[0].Provider)
	sent := w.ranAt(sendBatch)
	require.Len(t, sent, workflows.BlipAttempts+1)
	require.Equal(t, 10*time.Minute, sent[workflows.BlipAttempts])
}

// No wake-up comes: it looks again by itself.
func TestAParkedBatchGoesOnByItself(t *testing.T) {
	t.Parallel()
	w := setupBatch(t)
	w.straight()
	w.script(readBatch, failing(provider.Misconfigured, "unauthorized"))

	require.Equal(t, "ended", w.run(t).State)

	require.Greater(t, w.ranAt(readBatch)[1], 15*time.Minute)
	require.Less(t, w.ranAt(readBatch)[1], 21*time.Minute)
}

func TestAPersonHasAParkedBatchTriedAgain(t *testing.T) {
	t.Parallel()
	w := setupBatch(t)
	w.straight()
	w.script(sendBatch, failing(provider.Rejected, "VALIDATION_ERROR"))
	w.after(time.Hour, func() {
		require.Equal(t, step.ForPerson, w.state(t).Steps[0].WaitsFor)
		w.say(workflows.UpdateRetry, workflows.StepInput{Step: workflows.StepPayPalBatch})
	})

	require.Equal(t, "ended", w.run(t).State)

	require.Equal(t, time.Hour, w.ranAt(sendBatch)[1])
}

// A held batch is left to a person: the workflow ends, and is started again by the update that resolves
// one of its payouts. Nothing is read because of that.
func TestAPayoutOfAHeldBatchIsResolved(t *testing.T) {
	t.Parallel()
	w := setupBatch(t)
	w.next = workflows.PayPalBatchMove{State: "held"}
	in := workflows.ItemDecisionInput{PayoutID: payoutID, DecisionInput: workflows.DecisionInput{Actor: "ops", Outcome: "failed"}}
	var said *decision[workflows.PayPalBatchResult]
	w.after(0, func() { said = w.decide(workflows.UpdateResolve, in) })

	require.Equal(t, "held", w.run(t).State)

	require.NoError(t, said.err)
	require.Equal(t, "held", said.result.State)
	require.Equal(t, []workflows.PayPalItemDecisionInput{{BatchID: batchID, Decision: in}}, w.acts)
	require.Zero(t, w.count(readBatch))
}

// A person found the batch at PayPal: it is read from then on.
func TestAHeldBatchIsAdopted(t *testing.T) {
	t.Parallel()
	w := setupBatch(t)
	w.next = workflows.PayPalBatchMove{State: "held"}
	w.then[workflows.ActivityResolvePayPalItem] = func() { w.next = workflows.PayPalBatchMove{State: "sent", Do: readBatch} }
	w.leads(readBatch, "ended", "", 0)
	w.after(0, func() {
		w.decide(workflows.UpdateResolve, workflows.ItemDecisionInput{PayoutID: payoutID, DecisionInput: workflows.DecisionInput{Actor: "ops", Outcome: "paid", ProviderID: "BATCH1"}})
	})

	require.Equal(t, "ended", w.run(t).State)

	require.Equal(t, 1, w.count(readBatch))
}

// What a person decided may be all that a parked batch waited for: it goes on at once.
func TestADecisionHasAParkedBatchGoOn(t *testing.T) {
	t.Parallel()
	w := setupBatch(t)
	w.straight()
	w.script(sendBatch, failing(provider.Rejected, "VALIDATION_ERROR"))
	w.after(time.Hour, func() { w.decide(workflows.UpdateCancel, workflows.ItemDecisionInput{PayoutID: payoutID}) })

	require.Equal(t, "ended", w.run(t).State)

	require.Equal(t, time.Hour, w.ranAt(sendBatch)[1])
}

// A decision that is refused is the person's to make again, and changes nothing.
func TestADecisionOnABatchThatIsRefusedIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	w := setupBatch(t)
	w.leads(sendBatch, "sent", readBatch, time.Hour)
	w.leads(readBatch, "ended", "", 0)
	w.script(workflows.ActivityCancelPayPalItem, failing(provider.Transient, "network"))
	var said *decision[workflows.PayPalBatchResult]
	w.after(time.Minute, func() { said = w.decide(workflows.UpdateCancel, workflows.ItemDecisionInput{PayoutID: payoutID}) })

	require.Equal(t, "ended", w.run(t).State)

	require.ErrorContains(t, said.err, "network")
	require.Equal(t, 1, w.count(workflows.ActivityCancelPayPalItem))
	require.Equal(t, []time.Duration{time.Hour}, w.ranAt(readBatch))
}

func TestABatchWithALongHistoryContinuesAsNewWhileItWaits(t *testing.T) {
	t.Parallel()
	w := setupBatch(t)
	w.leads(sendBatch, "sent", readBatch, 6*time.Hour)
	w.after(time.Hour, w.suggestContinueAsNew)

	w.start()

	var again *workflow.ContinueAsNewError
	require.ErrorAs(t, w.env.GetWorkflowError(), &again)
	require.Zero(t, w.count(readBatch))
}

// News for which it is too early is not left behind in the run that ends.
func TestABatchWithNewsIsReadBeforeItContinuesAsNew(t *testing.T) {
	t.Parallel()
	w := setupBatch(t)
	w.leads(sendBatch, "sent", readBatch, time.Hour)
	w.leads(readBatch, "sent", readBatch, time.Hour)
	w.after(time.Second, w.event)
	w.after(2*time.Second, w.suggestContinueAsNew)

	w.start()

	var again *workflow.ContinueAsNewError
	require.ErrorAs(t, w.env.GetWorkflowError(), &again)
	require.Equal(t, []time.Duration{readGap}, w.ranAt(readBatch))
}

func TestABatchWithoutAnIDIsRefused(t *testing.T) {
	t.Parallel()
	w := setupBatch(t)
	w.env.ExecuteWorkflow(workflows.PayPalPayoutBatch, workflows.PayPalBatchInput{BatchID: "po_1"})
	require.ErrorContains(t, w.env.GetWorkflowError(), "batch_id")
	require.Empty(t, w.calls)
}

// A second movement of a payout's money is taken into the books also after its batch has ended.
func TestASecondItemOfAPayoutIsRecordedByItsBatch(t *testing.T) {
	t.Parallel()
	w := setupBatch(t)
	w.next = workflows.PayPalBatchMove{State: "ended"}
	in := workflows.ItemDecisionInput{PayoutID: payoutID, DecisionInput: workflows.DecisionInput{Actor: "ops", ProviderID: "ITEM2"}}
	var said *decision[workflows.PayPalBatchResult]
	w.after(0, func() { said = w.decide(workflows.UpdateRecordDuplicate, in) })

	require.Equal(t, "ended", w.run(t).State)

	require.NoError(t, said.err)
	require.Equal(t, []workflows.PayPalItemDecisionInput{{BatchID: batchID, Decision: in}}, w.acts)
	require.Equal(t, 1, w.count(workflows.ActivityRecordPayPalDuplicate))
}
