package workflows_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/workflows"
)

const (
	planSync   = workflows.ActivityPlanSync
	readStripe = workflows.ActivityReadStripeSubscriptions
	readPayPal = workflows.ActivityReadPayPalSubscriptions
)

var (
	stripeSubscriptions = workflows.StepInput{Step: subscription.StepOf(provider.Stripe)}
	payPalSubscriptions = workflows.StepInput{Step: subscription.StepOf(provider.PayPal)}
)

// syncWorld is the world of one customer whose subscriptions are read. Its marks are kept as
// Postgres keeps them: reads answer what was marked before they began, and the first mark since a
// read began is the one that signals.
type syncWorld struct {
	*world

	mu       sync.Mutex
	known    []provider.Name // where the customer may have subscriptions
	marks    map[provider.Name]*marks
	ended    map[string]int         // how often each step had parked when it was last over
	refused  map[provider.Name]bool // providers that are known to be down
	approval *time.Time
	causes   []subscription.Cause // what the plans were asked to mark
	late     func()               // what happens once, after a plan or a read has looked for marks
}

// marks are a customer's at one provider.
type marks struct{ all, fresh, covered int }

func setupSync(t *testing.T, known ...provider.Name) *syncWorld {
	t.Helper()
	w := &syncWorld{
		world: setup(t), known: known,
		marks:   map[provider.Name]*marks{provider.Stripe: {}, provider.PayPal: {}},
		ended:   map[string]int{},
		refused: map[provider.Name]bool{},
	}
	w.register(planSync, w.plan)
	w.register(readStripe, w.reader(provider.Stripe))
	w.register(readPayPal, w.reader(provider.PayPal))
	return w
}

func (w *syncWorld) plan(_ context.Context, in workflows.PlanSyncInput) (workflows.SyncPlan, error) {
	if err := w.called(planSync, in); err != nil {
		return workflows.SyncPlan{}, err
	}
	parked := w.parkings()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.causes = append(w.causes, in.Mark)
	plan := workflows.SyncPlan{AwaitsApproval: w.approval}
	for _, p := range w.known {
		m := w.marks[p]
		if in.Mark == subscription.ByRequest || in.Mark == subscription.ByPoll && p == provider.PayPal {
			m.all, m.fresh = m.all+1, m.fresh+1
		}
		if m.all > m.covered {
			plan.Steps = append(plan.Steps, w.planned(p, parked))
		}
	}
	w.happen()
	return plan, nil
}

// planned is the step that reads at the provider, parked if it parked since it was last over.
func (w *syncWorld) planned(p provider.Name, parked []workflows.ParkInput) workflows.PlannedStep {
	s := workflows.PlannedStep{Name: subscription.StepOf(p), Provider: p, Status: step.Pending}
	for _, in := range parked[w.ended[s.Name]:] {
		if in.Step == s.Name {
			s.Status, s.WaitsFor, s.ErrorClass, s.LastError = step.Blocked, in.WaitsFor, in.ErrorClass, in.LastError
		}
	}
	if w.refused[p] && s.WaitsFor != step.ForPerson {
		s.Refused, s.ErrorClass, s.LastError = true, provider.Transient, string(p)+": transient: provider_down"
	}
	return s
}

func (w *syncWorld) reader(p provider.Name) func(context.Context, workflows.CallInput) (workflows.ReadResult, error) {
	name := map[provider.Name]string{provider.Stripe: readStripe, provider.PayPal: readPayPal}[p]
	return func(_ context.Context, in workflows.CallInput) (workflows.ReadResult, error) {
		w.mu.Lock()
		m := w.marks[p]
		covers := m.all
		m.fresh = 0
		w.mu.Unlock()
		if err := w.called(name, in); err != nil {
			return workflows.ReadResult{}, err
		}
		parked := w.parkings()
		w.mu.Lock()
		defer w.mu.Unlock()
		m.covered = max(m.covered, covers)
		w.ended[in.Step] = len(parked)
		result := workflows.ReadResult{}
		for _, m := range w.marks {
			result.Dirty = result.Dirty || m.all > m.covered
		}
		if p == provider.PayPal {
			result.AwaitsApproval = w.approval
		}
		w.happen()
		return result, nil
	}
}

// parkings are the steps that were parked, as often as they were.
func (w *syncWorld) parkings() []workflows.ParkInput {
	w.world.mu.Lock()
	defer w.world.mu.Unlock()
	return slices.Clone(w.parked)
}

// happen has happen what comes late, without the lock.
func (w *syncWorld) happen() {
	late := w.late
	if late == nil {
		return
	}
	w.late = nil
	w.mu.Unlock()
	defer w.mu.Lock()
	late()
}

// mark says that something changed, as a webhook does.
func (w *syncWorld) mark(p provider.Name) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.marks[p]
	m.all, m.fresh = m.all+1, m.fresh+1
	if m.fresh == 1 {
		w.changed()
	}
}

// wasMarked is a mark whose signal went to an earlier run.
func (w *syncWorld) wasMarked(p provider.Name) { w.marks[p].all++ }

func (w *syncWorld) changed() { w.env.SignalWorkflow(workflows.SignalChanged, nil) }

// startedBy is the input of the workflow that the provider's first mark starts.
func (w *syncWorld) startedBy(p provider.Name) workflows.SyncInput {
	w.after(0, func() { w.mark(p) })
	return workflows.SyncInput{CustomerID: id, Provider: p}
}

// sync runs the workflow to its end.
func (w *syncWorld) sync(t *testing.T, in workflows.SyncInput) workflows.SyncResult {
	t.Helper()
	w.endsBy(t, 300*24*time.Hour)
	w.env.ExecuteWorkflow(workflows.SubscriptionSync, in)
	result := resultOf[workflows.SyncResult](t, w.env)
	w.mu.Lock()
	defer w.mu.Unlock()
	for p, m := range w.marks {
		require.Equal(t, m.all, m.covered, "the workflow ended and left a mark at %s", p)
	}
	return result
}

func (w *syncWorld) status(t *testing.T) workflows.SyncResult {
	t.Helper()
	return answerOf[workflows.SyncResult](t, w.env, workflows.QueryStatus)
}

func (w *syncWorld) syncNow(waitMS int64) *update {
	return w.say(workflows.UpdateSyncNow, workflows.SyncNowInput{WaitMS: waitMS})
}

// during has the next read do something once it has begun.
func (w *syncWorld) during(activity string, do func()) {
	w.answers[activity] = append(w.answers[activity], func() error {
		do()
		return nil
	})
}

func TestAMarkIsReadWhereItWasMadeWithoutPlanning(t *testing.T) {
	t.Parallel()
	for p, read := range map[provider.Name]string{provider.Stripe: readStripe, provider.PayPal: readPayPal} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			w := setupSync(t, p)
			w.noUpserts(t)

			result := w.sync(t, w.startedBy(p))

			require.Equal(t, []string{read}, w.calls)
			require.Equal(t, workflows.SyncResult{
				CustomerID: id, Synced: true, Steps: []workflows.StepStatus{{Name: subscription.StepOf(p), Status: step.Done}},
			}, result)
		})
	}
}

func TestABurstIsOneRead(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.Stripe)
	in := w.startedBy(provider.Stripe)
	w.after(0, func() {
		w.mark(provider.Stripe)
		w.mark(provider.Stripe)
	})
	w.sync(t, in)
	require.Equal(t, []string{readStripe}, w.calls)
}

func TestAHundredSignalsAreOneRead(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.Stripe)
	in := w.startedBy(provider.Stripe)
	w.after(0, func() {
		for range 100 {
			w.changed()
		}
	})
	w.sync(t, in)
	require.Equal(t, []string{readStripe, planSync}, w.calls)
}

func TestMarksDuringAReadAreOneMoreRead(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.Stripe)
	w.during(readStripe, func() {
		w.mark(provider.Stripe)
		w.mark(provider.Stripe)
		w.after(500*time.Millisecond, func() { w.mark(provider.Stripe) }) // the rest of the burst
	})
	w.sync(t, w.startedBy(provider.Stripe))
	require.Equal(t, []string{readStripe, planSync, readStripe}, w.calls)
	require.GreaterOrEqual(t, w.at[1]-w.at[0], time.Second, "the rest of the burst may arrive")
}

// What a read found out of date is read again, also when the signal of it is still on its way.
func TestWhatWasMarkedDuringAReadDoesNotNeedTheSignal(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.Stripe)
	w.during(readStripe, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.marks[provider.Stripe].all++
	})
	w.sync(t, w.startedBy(provider.Stripe))
	require.Equal(t, []string{readStripe, planSync, readStripe}, w.calls)
}

func TestASignalThatArrivesAtTheVeryEndIsNotLost(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.Stripe)
	w.late = func() { w.mark(provider.Stripe) }
	w.sync(t, w.startedBy(provider.Stripe))
	require.Equal(t, []string{readStripe, planSync, readStripe}, w.calls)
}

func TestBothProvidersAreRead(t *testing.T) {
	t.Parallel()
	cases := map[string]workflows.SyncInput{
		"without a hint": {CustomerID: id},
		"with a hint":    {CustomerID: id, Provider: provider.PayPal},
	}
	for name, in := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setupSync(t, provider.Stripe, provider.PayPal)
			w.after(0, func() {
				w.mark(provider.PayPal)
				w.mark(provider.Stripe)
			})
			result := w.sync(t, in)
			require.True(t, result.Synced)
			require.Len(t, result.Steps, 2)
			require.Equal(t, 1, w.count(readStripe))
			require.Equal(t, 1, w.count(readPayPal))
		})
	}
}

func TestNothingIsReadWhenNothingIsMarked(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.Stripe)
	w.noUpserts(t)
	require.Equal(t, workflows.SyncResult{CustomerID: id, Synced: true, Steps: []workflows.StepStatus{}}, w.sync(t, workflows.SyncInput{CustomerID: id}))
	require.Equal(t, []string{planSync}, w.calls)
}

func TestAnOutageParksTheReadAndTheGateWakesIt(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.Stripe, provider.PayPal)
	upserts := w.upserts()
	w.script(readStripe, times(5, failing(provider.Transient, "network"))...)
	w.after(5*time.Minute, func() {
		require.Equal(t, step.ForProvider, w.status(t).Steps[0].WaitsFor)
		require.False(t, w.status(t).Synced)
		for range 100 {
			w.mark(provider.Stripe)
		}
		w.mark(provider.PayPal)
	})
	w.after(6*time.Minute, func() {
		require.Equal(t, 5, w.count(readStripe), "what is parked is not tried")
		require.Equal(t, 1, w.count(readPayPal), "the other provider is read all the same")
		w.providerUp(provider.Stripe)
	})

	require.True(t, w.sync(t, w.startedBy(provider.Stripe)).Synced)

	require.Equal(t, 6, w.count(readStripe), "the marks of the outage are one read")
	require.Len(t, w.parked, 1)
	require.Equal(t, stripeSubscriptions.Step, w.parked[0].Step)
	require.Equal(t, []map[string]string{
		{"HoldfastStatus": "waiting_for_provider", "HoldfastBlockedOn": "stripe", "HoldfastCustomer": id},
		{"HoldfastStatus": "running", "HoldfastCustomer": id},
	}, *upserts)
}

func TestAProviderThatIsKnownToBeDownIsNotRead(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.Stripe)
	w.refused[provider.Stripe] = true
	w.wasMarked(provider.Stripe)
	w.after(time.Minute, func() {
		require.Zero(t, w.count(readStripe))
		w.providerUp(provider.Stripe)
	})
	require.True(t, w.sync(t, workflows.SyncInput{CustomerID: id}).Synced)
	require.Equal(t, 1, w.count(readStripe))
}

func TestARefusedReadWaitsForAPerson(t *testing.T) {
	t.Parallel()
	for verdict, want := range map[string]step.Status{workflows.UpdateRetry: step.Done, workflows.UpdateSkip: step.Skipped} {
		t.Run(verdict, func(t *testing.T) {
			t.Parallel()
			w := setupSync(t, provider.PayPal)
			w.script(readPayPal, failing(provider.NotFound, "RESOURCE_NOT_FOUND"))
			w.answers[workflows.ActivitySkipStep] = append(w.answers[workflows.ActivitySkipStep], func() error {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.marks[provider.PayPal].covered = w.marks[provider.PayPal].all
				return nil
			})
			var said *update
			w.after(time.Hour, func() { w.providerUp(provider.PayPal) })
			w.after(60*24*time.Hour, func() {
				require.Equal(t, 1, w.count(readPayPal), "neither the gate nor time wakes it")
				said = w.say(verdict, payPalSubscriptions)
			})

			result := w.sync(t, w.startedBy(provider.PayPal))

			require.NoError(t, said.err)
			require.True(t, said.completed)
			require.True(t, result.Synced)
			require.Equal(t, want, result.Steps[0].Status)
			require.Equal(t, want == step.Skipped, slices.Contains(w.skipped, payPalSubscriptions.Step))
		})
	}
}

// A plan takes a moment to be made. What a person decides in that moment is not undone by it.
func TestASyncPlanThatIsOutOfDateIsMadeAgain(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.Stripe)
	w.script(readStripe, failing(provider.Rejected, "customer_tax_location_invalid"))
	read := make(chan struct{})
	w.env.SetOnActivityCompletedListener(func(info *activity.Info, _ converter.EncodedValue, err error) {
		if info.ActivityType.Name == readStripe && err == nil {
			close(read)
		}
	})
	w.after(time.Hour, func() {
		w.late = func() {
			w.say(workflows.UpdateRetry, stripeSubscriptions)
			<-read
		}
		w.changed()
	})
	require.True(t, w.sync(t, w.startedBy(provider.Stripe)).Synced)
	require.Equal(t, 2, w.count(readStripe))
	require.Equal(t, 2, w.count(planSync))
}

func TestSyncNowReadsEverything(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.Stripe, provider.PayPal)
	var asked *update
	w.after(0, func() { asked = w.syncNow(30_000) })

	w.sync(t, workflows.SyncInput{CustomerID: id})

	require.True(t, asked.synced.Synced)
	require.Len(t, asked.synced.Steps, 2)
	require.Equal(t, subscription.ByRequest, w.causes[0])
}

func TestSyncNowIsAnsweredWithoutDelayWhenBothProvidersAreRead(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.Stripe, provider.PayPal)
	var asked *update
	w.after(0, func() { asked = w.syncNow(30_000) })
	w.sync(t, workflows.SyncInput{CustomerID: id})
	require.Less(t, asked.at, time.Second)
	require.Equal(t, 1, w.count(planSync))
}

// The read that is under way may have begun before what the person knows of.
func TestSyncNowDuringAReadIsAnsweredByALaterOne(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.Stripe)
	var asked *update
	w.script(readStripe, slow())
	w.after(5*time.Second, func() { asked = w.syncNow(30_000) })
	w.during(readStripe, func() { require.False(t, asked.completed) })
	w.during(readStripe, func() { require.False(t, asked.completed) })

	w.sync(t, w.startedBy(provider.Stripe))

	require.True(t, asked.synced.Synced)
	require.Equal(t, []string{readStripe, readStripe, planSync, readStripe}, w.calls)
	require.Less(t, asked.at-10*time.Second, time.Second, "somebody who waits is not kept for the rest of a burst")
}

// The plan that is being made may not know of what the person knows of.
func TestSyncNowDuringAPlanIsAnsweredByALaterOne(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.Stripe)
	w.script(planSync, slow())
	var asked *update
	w.after(5*time.Second, func() { asked = w.syncNow(30_000) })
	w.sync(t, workflows.SyncInput{CustomerID: id})
	require.True(t, asked.synced.Synced)
	require.Equal(t, []string{planSync, planSync, planSync, readStripe}, w.calls)
	require.Equal(t, []subscription.Cause{"", subscription.ByRequest}, w.causes)
}

func TestSyncNowIsAnsweredWhenNothingIsKnownToBeOld(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.Stripe)
	w.during(readStripe, func() { w.mark(provider.Stripe) })
	var asked *update
	w.after(0, func() { asked = w.syncNow(30_000) })
	w.sync(t, workflows.SyncInput{CustomerID: id})
	require.True(t, asked.synced.Synced)
	require.Equal(t, 2, w.count(readStripe))
}

func TestSyncNowIsAnsweredAtTheEndOfItsWait(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.Stripe)
	w.script(readStripe, slow(), slow())
	var at0, impatient, patient *update
	w.after(time.Second, func() {
		at0, impatient, patient = w.syncNow(0), w.syncNow(2000), w.syncNow(30_000)
	})

	w.sync(t, w.startedBy(provider.Stripe))

	require.False(t, at0.synced.Synced)
	require.InDelta(t, 1, at0.at.Seconds(), 0.5)
	require.False(t, impatient.synced.Synced)
	require.InDelta(t, 3, impatient.at.Seconds(), 0.5)
	require.True(t, patient.synced.Synced)
	require.Equal(t, 1, w.count(planSync), "all who ask are answered by one read")
}

func TestSyncNowTellsAtOnceThatAReadWaits(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.Stripe)
	w.script(readStripe, failing(provider.Misconfigured, "api_key_expired"))
	var asked *update
	w.after(time.Minute, func() { asked = w.syncNow(30_000) })
	w.after(2*time.Minute, func() { w.providerUp(provider.Stripe) })

	require.True(t, w.sync(t, w.startedBy(provider.Stripe)).Synced)

	require.InDelta(t, 60, asked.at.Seconds(), 1)
	require.False(t, asked.synced.Synced)
	require.Equal(t, "stripe: misconfigured: api_key_expired", asked.synced.Steps[0].LastError)
	require.Equal(t, 2, w.count(readStripe))
}

func TestAnApprovalIsLookedForLessAndLessOften(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.PayPal)
	began := w.env.Now()
	w.approval = &began
	timers := 0
	w.env.SetOnTimerScheduledListener(func(string, time.Duration) { timers++ })

	require.True(t, w.sync(t, w.startedBy(provider.PayPal)).Synced)

	reads := w.ranAt(readPayPal)
	require.Equal(t, len(reads), timers, "one wait after each read")
	require.Less(t, len(reads), 40)
	var longest time.Duration
	for i := 1; i < len(reads); i++ {
		wait := (reads[i] - reads[i-1]).Round(time.Second)
		require.GreaterOrEqual(t, wait, 30*time.Second)
		require.LessOrEqual(t, wait, 6*time.Hour)
		require.GreaterOrEqual(t, wait, longest, "it is looked for less and less often")
		longest = wait
	}
	require.InDelta(t, 30, (reads[1] - reads[0]).Seconds(), 1)
	require.Equal(t, 6*time.Hour, longest)
	require.Less(t, reads[len(reads)-1], 72*time.Hour)
	require.InDelta(t, 72, w.env.Now().Sub(began).Hours(), 0.1, "then nobody looks for it any more")
	for _, cause := range w.causes {
		require.Equal(t, subscription.ByPoll, cause)
	}
}

func TestAnApprovalThatIsHeardOfEndsTheWait(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.PayPal)
	began := w.env.Now()
	w.approval = &began
	canceled := 0
	w.env.SetOnTimerCanceledListener(func(string) { canceled++ })
	w.after(time.Hour, func() {
		require.True(t, w.status(t).Synced, "a person who takes their time makes nothing old")
		require.Zero(t, canceled)
		w.mu.Lock()
		w.approval = nil
		w.mu.Unlock()
		w.mark(provider.PayPal)
	})
	w.sync(t, w.startedBy(provider.PayPal))
	reads := w.ranAt(readPayPal)
	require.InDelta(t, time.Hour.Seconds(), reads[len(reads)-1].Seconds(), 2)
	require.Equal(t, 1, canceled, "no timer is left that wakes the workflow for nothing")
}

func TestAnApprovalWhoseWebhookIsLostIsFound(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.PayPal)
	began := w.env.Now()
	w.approval = &began
	w.after(time.Hour, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.approval = nil
	})
	w.sync(t, w.startedBy(provider.PayPal))
	reads := w.ranAt(readPayPal)
	require.Less(t, reads[len(reads)-1], 90*time.Minute)
}

func TestAnApprovalIsLookedForWhileAnotherProvidersReadWaits(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.Stripe, provider.PayPal)
	began := w.env.Now()
	w.approval = &began
	w.script(readStripe, failing(provider.Rejected, "customer_tax_location_invalid"))
	w.after(time.Second, func() { w.mark(provider.PayPal) })
	w.after(time.Hour, func() {
		require.Greater(t, w.count(readPayPal), 5)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.approval = nil
	})
	w.after(10*time.Hour, func() {
		require.Nil(t, w.approval)
		w.say(workflows.UpdateRetry, stripeSubscriptions)
	})
	require.True(t, w.sync(t, w.startedBy(provider.Stripe)).Synced)
	require.Equal(t, 2, w.count(readStripe), "that a person takes their time is no reason to read at Stripe")
}

func TestAnApprovalThatWasForgottenLongAgoIsNotAwaited(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.PayPal)
	long := w.env.Now().Add(-73 * time.Hour)
	w.approval = &long
	w.sync(t, w.startedBy(provider.PayPal))
	require.Equal(t, []string{readPayPal}, w.calls)
}

// continuesSync runs the workflow, which is to continue as new, and gives the next run's input.
func (w *syncWorld) continuesSync(t *testing.T, in workflows.SyncInput) string {
	t.Helper()
	w.endsBy(t, 300*24*time.Hour)
	w.env.ExecuteWorkflow(workflows.SubscriptionSync, in)
	require.True(t, w.env.IsWorkflowCompleted())
	var next *workflow.ContinueAsNewError
	require.ErrorAs(t, w.env.GetWorkflowError(), &next)
	return next.Input.String()
}

func TestALongHistoryOfAReadThatWaitsIsContinuedAsNew(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.Stripe, provider.PayPal)
	w.script(readStripe, failing(provider.Rejected, "customer_tax_location_invalid"))
	w.script(readPayPal, slow())
	var asked *update
	w.after(time.Hour, func() { asked = w.syncNow(30_000) })
	w.after(time.Hour+time.Second, w.suggestContinueAsNew)
	w.during(readPayPal, func() { require.False(t, asked.completed, "somebody is being answered") })

	next := w.continuesSync(t, w.startedBy(provider.Stripe))

	require.True(t, asked.completed)
	require.NoError(t, asked.err)
	require.Equal(t, 2, w.count(readPayPal), "one failed attempt, and the read that was asked for")
	require.NotContains(t, next, "stripe", "the next run asks Postgres what is to be read")
	require.Zero(t, w.marks[provider.PayPal].all-w.marks[provider.PayPal].covered)
}

func TestALongHistoryIsNotContinuedBeforeAMarkIsRead(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.PayPal)
	began := w.env.Now()
	w.approval = &began
	w.after(time.Hour, func() { w.mark(provider.PayPal) })
	w.after(time.Hour+500*time.Millisecond, w.suggestContinueAsNew) // while the rest of the burst arrives
	w.continuesSync(t, w.startedBy(provider.PayPal))
	require.Equal(t, w.marks[provider.PayPal].all, w.marks[provider.PayPal].covered, "a signal is not left behind in the run that ends")
}

func TestSyncUpdatesThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	w := setupSync(t, provider.Stripe)
	w.script(readStripe, failing(provider.Rejected, "customer_tax_location_invalid"))
	refused := map[string]*update{}
	w.after(time.Minute, func() {
		refused[workflows.ErrInvalidInput] = w.syncNow(30_001)
		refused[workflows.ErrInvalidInput+" too"] = w.syncNow(-1)
		refused[workflows.ErrUnknownStep] = w.say(workflows.UpdateSkip, payPalSubscriptions)
		w.say(workflows.UpdateRetry, stripeSubscriptions)
		refused[workflows.ErrStepNotWaiting] = w.say(workflows.UpdateRetry, stripeSubscriptions)
	})
	w.sync(t, w.startedBy(provider.Stripe))
	for kind, u := range refused {
		require.False(t, u.accepted && u.err == nil, kind)
		var application *temporal.ApplicationError
		require.ErrorAs(t, u.err, &application, kind)
		require.True(t, strings.HasPrefix(kind, application.Type()), "%s is %s", kind, application.Type())
	}
	require.Equal(t, 2, w.count(readStripe))
}

func TestSyncInputThatCannotBeRightEndsTheWorkflow(t *testing.T) {
	t.Parallel()
	cases := map[string]workflows.SyncInput{
		"customer_id": {CustomerID: "ada@example.com", Provider: provider.Stripe},
		"provider":    {CustomerID: id, Provider: "nonsense"},
	}
	for field, in := range cases {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			w := setupSync(t)
			w.env.ExecuteWorkflow(workflows.SubscriptionSync, in)
			var application *temporal.ApplicationError
			require.ErrorAs(t, w.env.GetWorkflowError(), &application)
			require.Equal(t, workflows.ErrInvalidInput, application.Type())
			require.Contains(t, application.Message(), field)
			require.NotContains(t, application.Message(), "example.com")
			require.Empty(t, w.calls)
		})
	}
}

func TestACustomerWhoIsNotThereEndsTheWorkflow(t *testing.T) {
	t.Parallel()
	w := setupSync(t)
	w.script(planSync, temporal.NewNonRetryableApplicationError("customer u_1: not found", workflows.ErrInvalidInput, nil))
	w.env.ExecuteWorkflow(workflows.SubscriptionSync, workflows.SyncInput{CustomerID: id})
	require.ErrorContains(t, w.env.GetWorkflowError(), "not found")
}

func TestASyncIsCanceled(t *testing.T) {
	t.Parallel()
	waits := map[string]func(*syncWorld){
		"while parked":          func(w *syncWorld) { w.script(readStripe, failing(provider.Rejected, "x")) },
		"while it awaits a yes": func(w *syncWorld) { began := w.env.Now(); w.approval = &began },
		"while a read goes on":  func(w *syncWorld) { w.script(readStripe, times(4, slow())...) },
		"while a burst arrives": func(w *syncWorld) { w.script(planSync, times(4, slow())...) },
	}
	for name, arrange := range waits {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setupSync(t, provider.Stripe, provider.PayPal)
			arrange(w)
			w.wasMarked(provider.PayPal)
			w.after(35*time.Second, w.env.CancelWorkflow)
			w.env.ExecuteWorkflow(workflows.SubscriptionSync, w.startedBy(provider.Stripe))
			require.True(t, w.env.IsWorkflowCompleted())
			var canceled *temporal.CanceledError
			require.ErrorAs(t, w.env.GetWorkflowError(), &canceled)
		})
	}
}
