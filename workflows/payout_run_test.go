package workflows_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/workflows"
)

var friday = date.New(2026, time.November, 20)

// setupRun makes the activities of a run, which answer slice by slice as the test says, and then that it
// is over.
func setupRun(t *testing.T, slices ...workflows.PayoutRunStep) *world {
	t.Helper()
	w := setup(t)
	w.register(workflows.ActivityAdvancePayoutRun, func(_ context.Context, on date.Date) (workflows.PayoutRunStep, error) {
		if err := w.called(workflows.ActivityAdvancePayoutRun, on); err != nil {
			return workflows.PayoutRunStep{}, err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(slices) == 0 {
			return workflows.PayoutRunStep{State: "ended", Next: workflows.RunOver}, nil
		}
		next := slices[0]
		slices = slices[1:]
		return next, nil
	})
	w.register(workflows.ActivityDecidePayoutRun, func(_ context.Context, in workflows.DecideRunInput) error {
		return w.called(workflows.ActivityDecidePayoutRun, in)
	})
	w.register(workflows.ActivityReadPlatformFunds, func(_ context.Context, in workflows.FundsInput) error {
		return w.called(workflows.ActivityReadPlatformFunds, in)
	})
	w.register(workflows.ActivityReadPayPalFunds, func(_ context.Context, in workflows.FundsInput) error {
		return w.called(workflows.ActivityReadPayPalFunds, in)
	})
	return w
}

// What a slice of a run may answer.
var (
	wantsFunds = workflows.PayoutRunStep{State: "computing", Next: workflows.RunWantsFunds}
	toApprove  = workflows.PayoutRunStep{State: "awaiting_approval", Next: workflows.RunWaitsForPerson}
	paused     = workflows.PayoutRunStep{State: "paused", Next: workflows.RunWaitsForPerson}
)

func (w *world) pay(t *testing.T) workflows.PayoutRunResult {
	t.Helper()
	w.env.ExecuteWorkflow(workflows.PayoutRun, workflows.PayoutRunInput{Date: friday})
	return resultOf[workflows.PayoutRunResult](t, w.env)
}

func TestPayoutRunPaysSliceBySlice(t *testing.T) {
	t.Parallel()
	w := setupRun(t,
		workflows.PayoutRunStep{State: "computing", Looked: 500}, workflows.PayoutRunStep{State: "computing", Looked: 3},
		wantsFunds,
		workflows.PayoutRunStep{State: "computing", Planned: 400}, workflows.PayoutRunStep{State: "computing", Planned: 20},
		workflows.PayoutRunStep{State: "paying", HandedOver: 400}, workflows.PayoutRunStep{State: "paying", HandedOver: 20},
	)
	w.noUpserts(t)

	result := w.pay(t)

	require.Equal(t, workflows.PayoutRunResult{Date: friday, State: "ended", Looked: 503, Planned: 420, HandedOver: 420}, result)
	require.Equal(t, 1, w.count(workflows.ActivityReadPlatformFunds))
	require.Contains(t, w.inputs, `{"date":"2026-11-20","step":"stripe_funds"}`)
	require.Equal(t, result, answerOf[workflows.PayoutRunResult](t, w.env, workflows.QueryProgress))
}

// While Stripe is down nothing is claimed: what the platform has is not known. Everything else of the run
// is done before.
func TestPayoutRunWaitsForStripe(t *testing.T) {
	t.Parallel()
	w := setupRun(t, workflows.PayoutRunStep{State: "computing", Looked: 3}, wantsFunds, workflows.PayoutRunStep{State: "computing", Planned: 3})
	w.script(workflows.ActivityReadPlatformFunds, failing(provider.Misconfigured, "not_configured"))
	shown := w.upserts()
	w.after(time.Minute, func() { w.providerUp(provider.Stripe) })

	require.Equal(t, 3, w.pay(t).Planned)

	require.Equal(t, 2, w.count(workflows.ActivityReadPlatformFunds))
	require.Equal(t, workflows.StepPlatformFunds, w.parked[0].Step)
	require.Equal(t, []map[string]string{
		{workflows.SearchStatus: workflows.StatusWaitingOnProvider, workflows.SearchBlockedOn: "stripe"},
		{workflows.SearchStatus: workflows.StatusRunning},
	}, *shown)
}

// A refusal waits for a person, who has it tried again.
func TestPayoutRunTriesFundsAgainForAPerson(t *testing.T) {
	t.Parallel()
	w := setupRun(t, wantsFunds)
	w.script(workflows.ActivityReadPlatformFunds, failing(provider.Rejected, "parameter_invalid"))
	var retried *update
	w.after(time.Hour, func() {
		retried = w.say(workflows.UpdateRetry, workflows.StepInput{Step: workflows.StepPlatformFunds})
	})

	require.Equal(t, "ended", w.pay(t).State)

	require.NoError(t, retried.err)
	require.Equal(t, 2, w.count(workflows.ActivityReadPlatformFunds))
}

// Whoever asks for a step that there is not yet is told so at once: waiting for it, the run could not end.
func TestPayoutRunRefusesARetryOfWhatDoesNotWait(t *testing.T) {
	t.Parallel()
	w := setupRun(t, toApprove)
	var retried *update
	w.after(time.Minute, func() {
		retried = w.say(workflows.UpdateRetry, workflows.StepInput{Step: workflows.StepPlatformFunds})
		w.env.SignalWorkflow(workflows.SignalDecided, nil)
	})
	w.endsBy(t, time.Hour)

	require.Equal(t, "ended", w.pay(t).State)

	require.False(t, retried.accepted)
	require.ErrorContains(t, retried.err, "there is no step")
}

// Approvals, pauses and resumes come as updates, or are made in Postgres and told by a signal.
func TestPayoutRunWaitsForAPerson(t *testing.T) {
	t.Parallel()
	tell := map[string]func(w *world){
		workflows.UpdateApprove: func(w *world) { w.say(workflows.UpdateApprove, workflows.RunDecisionInput{Actor: "ops"}) },
		workflows.UpdateResume:  func(w *world) { w.say(workflows.UpdateResume, workflows.RunDecisionInput{Actor: "ops"}) },
		workflows.SignalDecided: func(w *world) { w.env.SignalWorkflow(workflows.SignalDecided, nil) },
	}
	for name, told := range tell {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setupRun(t, toApprove, workflows.PayoutRunStep{State: "paying", HandedOver: 2})
			shown := w.upserts()
			w.after(48*time.Hour, func() { told(w) })

			require.Equal(t, workflows.PayoutRunResult{Date: friday, State: "ended", HandedOver: 2}, w.pay(t))

			require.Equal(t, []map[string]string{
				{workflows.SearchStatus: workflows.StatusWaitingOnPerson, workflows.SearchBlockedOn: "person"},
				{workflows.SearchStatus: workflows.StatusRunning},
			}, *shown)
			if name != workflows.SignalDecided {
				require.Contains(t, w.inputs, `{"date":"2026-11-20","decision":"`+name+`","actor":"ops"}`)
			}
		})
	}
}

// What the run's state does not allow is refused with the reason, and the run waits on.
func TestPayoutRunRefusesADecision(t *testing.T) {
	t.Parallel()
	w := setupRun(t, paused)
	w.script(workflows.ActivityDecidePayoutRun,
		temporal.NewNonRetryableApplicationError("the run of 2026-11-20 is paused and cannot be approved", workflows.ErrConflict, nil))
	var refused, nobodys *update
	w.after(time.Minute, func() { refused = w.say(workflows.UpdateApprove, workflows.RunDecisionInput{Actor: "ops"}) })
	w.after(2*time.Minute, func() { nobodys = w.say(workflows.UpdateResume, workflows.RunDecisionInput{}) })
	w.after(time.Hour, func() {
		require.Equal(t, 1, w.count(workflows.ActivityAdvancePayoutRun), "nothing was decided")
		w.say(workflows.UpdateResume, workflows.RunDecisionInput{Actor: "ops"})
	})

	require.Equal(t, "ended", w.pay(t).State)

	require.ErrorContains(t, refused.err, "cannot be approved")
	require.True(t, refused.accepted)
	require.ErrorContains(t, nobodys.err, "actor")
	require.False(t, nobodys.accepted)
	require.Equal(t, 2, w.count(workflows.ActivityDecidePayoutRun))
}

// A decision that is carried out while the run is being read may not be in what was read.
func TestPayoutRunMissesNoDecisionMadeDuringASlice(t *testing.T) {
	t.Parallel()
	for name, tell := range map[string]func(w *world){
		"update": func(w *world) { w.say(workflows.UpdateApprove, workflows.RunDecisionInput{Actor: "ops"}) },
		"signal": func(w *world) { w.env.SignalWorkflow(workflows.SignalDecided, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setupRun(t, toApprove)
			w.script(workflows.ActivityAdvancePayoutRun, slow())
			w.after(5*time.Second, func() { tell(w) })
			w.endsBy(t, time.Hour)

			require.Equal(t, "ended", w.pay(t).State)

			require.Equal(t, 3, w.count(workflows.ActivityAdvancePayoutRun), "the attempt that took long, its end, and another look")
		})
	}
}

// A pause while the funds are waited for holds once they are known.
func TestPayoutRunIsPausedWhileItWaitsForStripe(t *testing.T) {
	t.Parallel()
	w := setupRun(t, wantsFunds, paused)
	w.script(workflows.ActivityReadPlatformFunds, failing(provider.Misconfigured, "not_configured"))
	w.after(time.Minute, func() { w.say(workflows.UpdatePause, workflows.RunDecisionInput{Actor: "ops"}) })
	w.after(2*time.Minute, func() { w.providerUp(provider.Stripe) })
	w.after(time.Hour, func() {
		require.Equal(t, 2, w.count(workflows.ActivityAdvancePayoutRun))
		w.say(workflows.UpdateResume, workflows.RunDecisionInput{Actor: "ops"})
	})

	require.Equal(t, "ended", w.pay(t).State)
	require.Equal(t, 3, w.count(workflows.ActivityAdvancePayoutRun))
}

// A run of many slices continues as new, and what it has counted goes along.
func TestPayoutRunContinuesAsNewWithItsCounts(t *testing.T) {
	t.Parallel()
	slices := make([]workflows.PayoutRunStep, 260)
	for i := range slices {
		slices[i] = workflows.PayoutRunStep{State: "computing", Looked: 2, Planned: 1}
	}
	w := setupRun(t, slices...)

	w.env.ExecuteWorkflow(workflows.PayoutRun, workflows.PayoutRunInput{Date: friday, Progress: &workflows.PayoutRunResult{Date: friday, Looked: 1000, Planned: 10, HandedOver: 5}})

	var again *workflow.ContinueAsNewError
	require.ErrorAs(t, w.env.GetWorkflowError(), &again)
	var next workflows.PayoutRunInput
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(again.Input, &next))
	require.Equal(t, workflows.PayoutRunInput{
		Date: friday, Progress: &workflows.PayoutRunResult{Date: friday, State: "computing", Looked: 1500, Planned: 260, HandedOver: 5},
	}, next)
}

func TestPayoutRunNeedsADate(t *testing.T) {
	t.Parallel()
	w := setupRun(t)
	w.env.ExecuteWorkflow(workflows.PayoutRun, workflows.PayoutRunInput{})
	require.ErrorContains(t, w.env.GetWorkflowError(), "date: is missing")
	require.Zero(t, w.count(workflows.ActivityAdvancePayoutRun))
}

func TestPayoutRunEndsWhenItIsCanceled(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]workflows.PayoutRunStep{"by a person": toApprove, "by Stripe": wantsFunds} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setupRun(t, at)
			w.script(workflows.ActivityReadPlatformFunds, failing(provider.Misconfigured, "not_configured"))
			w.after(time.Minute, w.env.CancelWorkflow)
			w.env.ExecuteWorkflow(workflows.PayoutRun, workflows.PayoutRunInput{Date: friday})
			require.True(t, temporal.IsCanceledError(w.env.GetWorkflowError()), "%v", w.env.GetWorkflowError())
		})
	}
}

// The launcher starts the run of the day for which it was scheduled, whatever day it is by now.
func TestPayoutLauncherStartsTheRunOfItsDay(t *testing.T) {
	t.Parallel()
	w := setup(t)
	scheduled := temporal.NewSearchAttributeKeyTime("TemporalScheduledStartTime")
	require.NoError(t, w.env.SetTypedSearchAttributesOnStart(temporal.NewSearchAttributes(scheduled.ValueSet(friday.Time().Add(8*time.Hour)))))
	w.env.RegisterWorkflowWithOptions(workflows.PayoutRun, workflow.RegisterOptions{Name: workflows.NamePayoutRun})
	var started []string
	w.env.OnWorkflow(workflows.NamePayoutRun, mock.Anything, mock.Anything).Return(func(ctx workflow.Context, in workflows.PayoutRunInput) (workflows.PayoutRunResult, error) {
		started = append(started, workflow.GetInfo(ctx).WorkflowExecution.ID+" for "+in.Date.String())
		return workflows.PayoutRunResult{}, nil
	})

	w.env.ExecuteWorkflow(workflows.PayoutLauncher)

	require.NoError(t, w.env.GetWorkflowError())
	require.Equal(t, []string{"payout-run/2026-11-20 for 2026-11-20"}, started)
}

func TestPayoutLauncherIsForSchedules(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.env.ExecuteWorkflow(workflows.PayoutLauncher)
	require.ErrorContains(t, w.env.GetWorkflowError(), "starter payouts run")
}

// wants is a slice that needs to know what the platform has, with what is known from before.
func wants(funds ...workflows.WantedFunds) workflows.PayoutRunStep {
	return workflows.PayoutRunStep{State: "computing", Next: workflows.RunWantsFunds, Funds: funds}
}

var (
	stripeFunds = workflows.WantedFunds{Provider: provider.Stripe, Step: workflows.StepPlatformFunds}
	payPalFunds = workflows.WantedFunds{Provider: provider.PayPal, Step: workflows.StepPayPalFunds}
)

// before is funds of which something is known from before.
func before(f workflows.WantedFunds) workflows.WantedFunds {
	f.Known = true
	return f
}

// plannedAfter is how long after its start a run went on to claim.
func (w *world) plannedAfter(t *testing.T) time.Duration {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, call := range slices.Backward(w.calls) {
		if call == workflows.ActivityAdvancePayoutRun {
			return w.at[i]
		}
	}
	require.Fail(t, "the run never went on")
	return 0
}

// The two providers are asked side by side: a slow one does not make the other's answer older.
func TestPayoutRunReadsBothProvidersSideBySide(t *testing.T) {
	t.Parallel()
	w := setupRun(t, wants(stripeFunds, before(payPalFunds)))
	w.noUpserts(t)

	require.Equal(t, "ended", w.pay(t).State)

	require.Equal(t, 1, w.count(workflows.ActivityReadPlatformFunds))
	require.Equal(t, 1, w.count(workflows.ActivityReadPayPalFunds))
	require.Contains(t, w.inputs, `{"date":"2026-11-20","step":"stripe_funds"}`)
	require.Contains(t, w.inputs, `{"date":"2026-11-20","step":"platform_funds_paypal"}`)
	require.Empty(t, w.skipped)
}

// A provider that is known to be down keeps nobody waiting where something is known from before.
func TestPayoutRunGoesByWhatWasKnown(t *testing.T) {
	t.Parallel()
	for down, reads := range map[provider.Name]string{provider.Stripe: workflows.ActivityReadPlatformFunds, provider.PayPal: workflows.ActivityReadPayPalFunds} {
		for name, c := range map[string]struct {
			class    provider.Class
			code     string
			attempts int
		}{
			"it is known to be down":   {provider.Misconfigured, provider.CodeProviderDown, 1},
			"it refuses":               {provider.Rejected, "not_allowed", 1},
			"it did not come back yet": {provider.Transient, "http_502", workflows.BlipAttempts},
		} {
			t.Run(string(down)+": "+name, func(t *testing.T) {
				t.Parallel()
				w := setupRun(t, wants(before(stripeFunds), before(payPalFunds)))
				w.script(reads, slices.Repeat([]error{failing(c.class, c.code)}, workflows.BlipAttempts)...)
				w.noUpserts(t)

				require.Equal(t, "ended", w.pay(t).State)

				require.Equal(t, c.attempts, w.count(reads))
				require.Len(t, w.skipped, 1)
				require.Empty(t, w.parked)
				require.LessOrEqual(t, w.plannedAfter(t), time.Minute)
			})
		}
	}
}

// Where nothing was ever known the run waits a quarter of an hour, so that all see what for, and goes on
// without.
func TestPayoutRunWaitsAQuarterOfAnHourForWhatWasNeverKnown(t *testing.T) {
	t.Parallel()
	for name, class := range map[string]provider.Class{"down": provider.Misconfigured, "refusing": provider.Rejected} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setupRun(t, wants(before(stripeFunds), payPalFunds))
			w.script(workflows.ActivityReadPayPalFunds, failing(class, "401"), failing(class, "401"))
			shown := w.upserts()

			require.Equal(t, "ended", w.pay(t).State)

			require.Equal(t, 2, w.count(workflows.ActivityReadPayPalFunds), "a last try")
			require.Equal(t, []string{workflows.StepPayPalFunds}, w.skipped)
			require.Equal(t, workflows.StepPayPalFunds, w.parked[0].Step)
			require.NotNil(t, w.parked[0].NextAttemptAt)
			require.Len(t, *shown, 2)
			require.GreaterOrEqual(t, w.plannedAfter(t), 14*time.Minute)
			require.LessOrEqual(t, w.plannedAfter(t), 15*time.Minute)
		})
	}
}

// What was never known is read as soon as its provider is back, and waiting for it twice takes no longer
// than once.
func TestPayoutRunReadsWhatWasNeverKnownWhenItsProviderIsBack(t *testing.T) {
	t.Parallel()
	w := setupRun(t, wants(payPalFunds))
	w.script(workflows.ActivityReadPayPalFunds, failing(provider.Misconfigured, "401"), failing(provider.Misconfigured, "401"))
	w.after(5*time.Minute, func() { w.providerUp(provider.PayPal) })
	w.after(9*time.Minute, func() { w.providerUp(provider.PayPal) })

	require.Equal(t, "ended", w.pay(t).State)

	require.Equal(t, 3, w.count(workflows.ActivityReadPayPalFunds))
	require.Empty(t, w.skipped)
	require.Len(t, w.parked, 2)
	require.Equal(t, *w.parked[0].NextAttemptAt, *w.parked[1].NextAttemptAt)
}
