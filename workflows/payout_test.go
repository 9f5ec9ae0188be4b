package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

const payoutID = "po_000000000000000000000001"

const (
	planPayout       = workflows.ActivityPlanPayout
	checkDestination = workflows.ActivityCheckDestination
	sendTransfer     = workflows.ActivitySendTransfer
	sendPayout       = workflows.ActivitySendPayout
	readPayout       = workflows.ActivityReadPayout
	reverseTransfer  = workflows.ActivityReverseTransfer
)

var payoutStep = workflows.StepInput{Step: workflows.StepPayout}

// payoutWorld is the world of one payout.
type payoutWorld struct {
	moving[workflows.PayoutMove, workflows.PayoutDecisionInput]

	looksAgain bool // the plan has one that is paid looked at
}

func setupPayout(t *testing.T) *payoutWorld {
	t.Helper()
	first := workflows.PayoutMove{State: payout.Planned, Do: checkDestination}
	w := &payoutWorld{moving: setupMoving[workflows.PayoutMove, workflows.PayoutDecisionInput](t, first)}
	w.register(planPayout, func(_ context.Context, in workflows.PayoutPlanInput) (workflows.PayoutPlan, error) {
		plan := workflows.PayoutPlan{Next: w.next}
		if w.looksAgain {
			plan.Next.Do = readPayout
		}
		if plan.Next.Do != "" {
			plan.Steps = []workflows.PlannedStep{pending(workflows.StepPayout)}
		}
		return plan, w.called(planPayout, in)
	})
	for _, name := range []string{checkDestination, sendTransfer, sendPayout, readPayout, reverseTransfer} {
		w.register(name, func(_ context.Context, in workflows.PayoutStepInput) (workflows.PayoutMove, error) {
			return w.made(t, name, in)
		})
	}
	for _, name := range []string{workflows.ActivityCancelPayout, workflows.ActivityResolvePayout} {
		w.register(name, func(_ context.Context, in workflows.PayoutDecisionInput) (workflows.PayoutMove, error) {
			return w.decided(name, in)
		})
	}
	return w
}

// leads makes the next call of a move lead to another one, after a while.
func (w *payoutWorld) leads(move string, state payout.State, to string, after time.Duration) {
	w.comes(move, func() workflows.PayoutMove {
		return workflows.PayoutMove{State: state, Do: to, At: w.in(after)}
	})
}

// straight is how a payout goes when all is well; it arrives after a day.
func (w *payoutWorld) straight() {
	w.leads(checkDestination, payout.Sending, sendTransfer, 0)
	w.leads(sendTransfer, payout.Sending, sendPayout, 0)
	w.leads(sendPayout, payout.InTransit, readPayout, 24*time.Hour)
	w.leads(readPayout, payout.Paid, "", 0)
}

func (w *payoutWorld) start() {
	w.env.ExecuteWorkflow(workflows.Payout, workflows.PayoutInput{PayoutID: payoutID})
}

func (w *payoutWorld) run(t *testing.T) workflows.PayoutResult {
	t.Helper()
	w.start()
	return resultOf[workflows.PayoutResult](t, w.env)
}

func (w *payoutWorld) state(t *testing.T) workflows.PayoutResult {
	t.Helper()
	return answerOf[workflows.PayoutResult](t, w.env, workflows.QueryStatus)
}

func (w *payoutWorld) decide(name string, in workflows.DecisionInput) *decision[workflows.PayoutResult] {
	return decide[workflows.PayoutResult](w.world, name, in)
}

func TestAPayoutMakesItsMovesInOrderAndWaitsUntilItIsTime(t *testing.T) {
	t.Parallel()
	w := setupPayout(t)
	w.noUpserts(t)
	w.straight()
	w.after(12*time.Hour, func() { require.Equal(t, payout.InTransit, w.state(t).State) })

	result := w.run(t)

	require.Equal(t, workflows.PayoutResult{
		PayoutID: payoutID, State: payout.Paid, Steps: []workflows.StepStatus{{Name: workflows.StepPayout, Status: step.Done}},
	}, result)
	require.Equal(t, []string{planPayout, checkDestination, sendTransfer, sendPayout, readPayout}, w.calls)
	require.Equal(t, []time.Duration{24 * time.Hour}, w.ranAt(readPayout))
}

func TestAnEventOfTheProvidersWakesAPayoutAtOnce(t *testing.T) {
	t.Parallel()
	w := setupPayout(t)
	w.straight()
	w.moves[readPayout] = nil
	w.leads(readPayout, payout.InTransit, readPayout, 6*time.Hour)
	w.leads(readPayout, payout.Paid, "", 0)
	w.after(time.Hour, w.event)

	require.Equal(t, payout.Paid, w.run(t).State)

	require.Equal(t, []time.Duration{time.Hour, 7 * time.Hour}, w.ranAt(readPayout), "at once, and then when it is time again")
}

// What is told while a move is under way is looked at after it, without waiting.
func TestAnEventDuringAMoveIsNotForgotten(t *testing.T) {
	t.Parallel()
	w := setupPayout(t)
	w.straight()
	told := false
	w.answers[sendPayout] = append(w.answers[sendPayout], func() error {
		if !told {
			told = true
			w.event()
		}
		return nil
	})

	require.Equal(t, payout.Paid, w.run(t).State)

	require.Less(t, w.ranAt(readPayout)[0], time.Minute)
}

// It came back, which an event tells while the last move is under way.
func TestAnEventDuringTheLastMoveHasThePayoutLookedAtAgain(t *testing.T) {
	t.Parallel()
	w := setupPayout(t)
	w.straight()
	w.answers[readPayout] = []func() error{func() error {
		w.event()
		w.looksAgain = true // as at one that was paid
		return nil
	}}
	w.leads(readPayout, payout.Paid, reverseTransfer, 0)
	w.leads(reverseTransfer, payout.Returned, "", 0)

	require.Equal(t, payout.Returned, w.run(t).State)

	require.Equal(t, []string{planPayout, checkDestination, sendTransfer, sendPayout, readPayout, planPayout, readPayout, reverseTransfer}, w.calls)
}

func TestAPayoutParksAndGoesOnWithTheSameMove(t *testing.T) {
	t.Parallel()
	w := setupPayout(t)
	w.straight()
	w.script(sendTransfer, times(workflows.BlipAttempts, failing(provider.Transient, "network"))...)
	w.after(2*time.Minute, func() {
		require.Equal(t, step.ForProvider, w.state(t).Steps[0].WaitsFor)
		w.event() // no reason to go on
	})
	w.after(10*time.Minute, func() { w.providerUp(provider.Stripe) })

	require.Equal(t, payout.Paid, w.run(t).State)

	require.Len(t, w.parked, 1)
	transfers := w.ranAt(sendTransfer)
	require.Len(t, transfers, workflows.BlipAttempts+1)
	require.Equal(t, 10*time.Minute, transfers[workflows.BlipAttempts])
	require.Equal(t, 1, w.count(checkDestination))
}

// An event had it look before its day. What the look was to find is looked for as soon as the provider is
// back, and not put off until that day.
func TestAParkedLookIsNotPutOff(t *testing.T) {
	t.Parallel()
	w := setupPayout(t)
	w.straight()
	w.script(readPayout, times(workflows.BlipAttempts, failing(provider.Transient, "network"))...)
	w.after(time.Hour, w.event)
	w.after(time.Hour+10*time.Minute, func() { w.providerUp(provider.Stripe) })

	require.Equal(t, payout.Paid, w.run(t).State)

	require.Equal(t, time.Hour, w.ranAt(readPayout)[0])
	require.Equal(t, time.Hour+10*time.Minute, w.ranAt(readPayout)[workflows.BlipAttempts])
}

// No wake-up comes: it looks again by itself.
func TestAParkedPayoutGoesOnByItself(t *testing.T) {
	t.Parallel()
	w := setupPayout(t)
	w.straight()
	w.script(sendPayout, failing(provider.Misconfigured, "unauthorized"))

	require.Equal(t, payout.Paid, w.run(t).State)

	require.Less(t, w.ranAt(sendPayout)[1], 21*time.Minute)
	require.Greater(t, w.ranAt(sendPayout)[1], 15*time.Minute)
}

func TestAPersonHasAParkedPayoutTriedAgain(t *testing.T) {
	t.Parallel()
	w := setupPayout(t)
	w.straight()
	w.script(sendPayout, failing(provider.Rejected, "payouts_not_allowed"))
	w.after(time.Hour, func() {
		require.Equal(t, step.ForPerson, w.state(t).Steps[0].WaitsFor)
		w.say(workflows.UpdateRetry, payoutStep)
	})

	require.Equal(t, payout.Paid, w.run(t).State)

	require.Equal(t, time.Hour, w.ranAt(sendPayout)[1])
}

// A payout that is held is left to a person: the workflow ends.
func TestAHeldPayoutEndsItsWorkflow(t *testing.T) {
	t.Parallel()
	w := setupPayout(t)
	w.straight()
	w.moves[sendPayout] = nil
	w.leads(sendPayout, payout.Held, "", 0)

	require.Equal(t, payout.Held, w.run(t).State)

	require.Empty(t, w.parked)
	require.Zero(t, w.count(readPayout))
}

// A held one is taken up by the update that resolves it.
func TestAHeldPayoutIsResolved(t *testing.T) {
	t.Parallel()
	w := setupPayout(t)
	w.next = workflows.PayoutMove{State: payout.Held}
	w.then[workflows.ActivityResolvePayout] = func() { w.next = workflows.PayoutMove{State: payout.Failed} }
	var said *decision[workflows.PayoutResult]
	w.after(0, func() {
		said = w.decide(workflows.UpdateResolve, workflows.DecisionInput{Actor: "ops", Outcome: "failed"})
	})

	require.Equal(t, payout.Failed, w.run(t).State)

	require.NoError(t, said.err)
	require.Equal(t, payout.Failed, said.result.State)
	require.Equal(t, []workflows.PayoutDecisionInput{{PayoutID: payoutID, Decision: workflows.DecisionInput{Actor: "ops", Outcome: "failed"}}}, w.acts)
}

// Canceled while it waits: the wait ends, and what is to be done now is done.
func TestACancellationEndsTheWait(t *testing.T) {
	t.Parallel()
	w := setupPayout(t)
	w.leads(checkDestination, payout.Sending, sendTransfer, 0)
	w.leads(sendTransfer, payout.Sending, sendPayout, 15*time.Minute)
	w.leads(sendPayout, payout.Sending, reverseTransfer, 0) // the move looks at what is true, and leaves it
	w.leads(reverseTransfer, payout.Canceled, "", 0)
	w.then[workflows.ActivityCancelPayout] = func() {
		w.next = workflows.PayoutMove{State: payout.Sending, Do: reverseTransfer}
	}
	var said *decision[workflows.PayoutResult]
	w.after(time.Minute, func() { said = w.decide(workflows.UpdateCancel, workflows.DecisionInput{Actor: "ops"}) })

	require.Equal(t, payout.Canceled, w.run(t).State)

	require.NoError(t, said.err)
	require.Equal(t, []time.Duration{time.Minute}, w.ranAt(reverseTransfer))
}

// Parked for a person, who decides on the payout itself: it goes on at once, to what is to be done now, and
// needs no retry as well.
func TestADecisionWakesAParkedPayout(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		class   provider.Class
		update  string
		act     string
		decided workflows.PayoutMove
		after   []string
		ends    payout.State
	}{
		"resolved": {
			provider.Held, workflows.UpdateResolve, workflows.ActivityResolvePayout,
			workflows.PayoutMove{State: payout.Failed},
			nil, payout.Failed,
		},
		"canceled": {
			provider.Rejected, workflows.UpdateCancel, workflows.ActivityCancelPayout,
			workflows.PayoutMove{State: payout.Sending, Do: reverseTransfer},
			[]string{reverseTransfer},
			payout.Canceled,
		},
		"canceled while Stripe was away": {
			provider.Misconfigured, workflows.UpdateCancel, workflows.ActivityCancelPayout,
			workflows.PayoutMove{State: payout.Sending, Do: reverseTransfer},
			[]string{reverseTransfer},
			payout.Canceled,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setupPayout(t)
			w.leads(checkDestination, payout.Sending, sendTransfer, 0)
			w.leads(sendTransfer, payout.Sending, sendPayout, 0)
			w.script(sendPayout, failing(c.class, "some_code"))
			w.leads(sendPayout, c.decided.State, c.decided.Do, 0) // the move looks at what is true, and leaves it
			w.leads(reverseTransfer, payout.Canceled, "", 0)
			w.then[c.act] = func() { w.next = c.decided }
			w.after(time.Minute, func() { w.decide(c.update, workflows.DecisionInput{Actor: "ops", Outcome: "failed"}) })
			w.endsBy(t, 10*time.Minute)

			require.Equal(t, c.ends, w.run(t).State)

			require.Equal(t, append([]string{
				planPayout, checkDestination, sendTransfer, sendPayout, workflows.ActivityParkStep, c.act, sendPayout,
			}, c.after...), w.calls)
			require.Equal(t, time.Minute, w.ranAt(sendPayout)[1])
		})
	}
}

// A decision during a move that fails: what the move met is old by then, and nothing is parked for it.
func TestADecisionDuringAMoveThatFailsIsCarriedOut(t *testing.T) {
	t.Parallel()
	w := setupPayout(t)
	w.leads(checkDestination, payout.Sending, sendTransfer, 0)
	w.script(sendTransfer, slow(), failing(provider.Held, "idempotency_error"))
	w.leads(sendTransfer, payout.Failed, "", 0)
	w.then[workflows.ActivityResolvePayout] = func() { w.next = workflows.PayoutMove{State: payout.Failed} }
	w.after(5*time.Second, func() { w.decide(workflows.UpdateResolve, workflows.DecisionInput{Actor: "ops", Outcome: "failed"}) })
	w.endsBy(t, 10*time.Minute)

	require.Equal(t, payout.Failed, w.run(t).State)

	require.Empty(t, w.parked)
	require.Equal(t, 3, w.count(sendTransfer))
}

// A decision that is refused is the person's to make again, and changes nothing.
func TestADecisionThatIsRefusedIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	w := setupPayout(t)
	w.straight()
	w.script(workflows.ActivityCancelPayout, failing(provider.Transient, "network"))
	var said *decision[workflows.PayoutResult]
	w.after(time.Hour, func() { said = w.decide(workflows.UpdateCancel, workflows.DecisionInput{Actor: "ops"}) })

	require.Equal(t, payout.Paid, w.run(t).State)

	require.ErrorContains(t, said.err, "network")
	require.Equal(t, 1, w.count(workflows.ActivityCancelPayout))
	require.Equal(t, []time.Duration{24 * time.Hour}, w.ranAt(readPayout))
}

func TestAPayoutWithALongHistoryContinuesAsNewWhileItWaits(t *testing.T) {
	t.Parallel()
	w := setupPayout(t)
	w.straight()
	w.after(time.Hour, w.suggestContinueAsNew)

	w.start()

	var again *workflow.ContinueAsNewError
	require.ErrorAs(t, w.env.GetWorkflowError(), &again)
	require.Equal(t, 1, w.count(sendPayout))
	require.Zero(t, w.count(readPayout))
}

// News that comes while the history has grown long is not left behind in the run that ends.
func TestAPayoutWithNewsLooksBeforeItContinuesAsNew(t *testing.T) {
	t.Parallel()
	w := setupPayout(t)
	w.straight()
	w.moves[readPayout] = nil
	w.leads(readPayout, payout.InTransit, readPayout, time.Hour)
	w.leads(readPayout, payout.InTransit, readPayout, time.Hour)
	w.answers[readPayout] = []func() error{func() error {
		w.suggestContinueAsNew()
		w.event()
		return nil
	}}

	w.start()

	var again *workflow.ContinueAsNewError
	require.ErrorAs(t, w.env.GetWorkflowError(), &again)
	require.Equal(t, []time.Duration{24 * time.Hour, 24 * time.Hour}, w.ranAt(readPayout), "again at once")
}

func TestAPayoutWithoutAnIDIsRefused(t *testing.T) {
	t.Parallel()
	w := setupPayout(t)
	w.env.ExecuteWorkflow(workflows.Payout, workflows.PayoutInput{PayoutID: "u_1"})
	require.ErrorContains(t, w.env.GetWorkflowError(), "payout_id")
	require.Empty(t, w.calls)
}
