package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/workflows"
)

const (
	probe = workflows.ActivityProbeProvider
	wake  = workflows.ActivityWakeParked
)

// runGate runs a gate until the given time, when it is asked to continue as new.
func (w *world) runGate(t *testing.T, until time.Duration) {
	t.Helper()
	w.after(until, func() {
		w.env.SetContinueAsNewSuggested(true)
		w.trouble()
	})
	w.env.ExecuteWorkflow(workflows.ProviderGate, workflows.GateInput{Provider: provider.Stripe})
	require.True(t, w.env.IsWorkflowCompleted())
	var next *workflow.ContinueAsNewError
	require.ErrorAs(t, w.env.GetWorkflowError(), &next)
}

func (w *world) trouble() { w.env.SignalWorkflow(workflows.SignalTrouble, nil) }

func (w *world) gateState(t *testing.T) workflows.GateState {
	t.Helper()
	value, err := w.env.QueryWorkflow(workflows.QueryState)
	require.NoError(t, err)
	var state workflows.GateState
	require.NoError(t, value.Get(&state))
	return state
}

func TestAGateDoesNothingWhileAllIsWell(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.after(24*time.Hour, func() {
		require.Empty(t, w.calls)
		require.Equal(t, provider.StateUp, w.gateState(t).State)
	})
	w.runGate(t, 25*time.Hour)
}

func TestTroubleThatTheProbeDoesNotSeeWakesWhatIsParked(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.after(time.Minute, w.trouble)
	w.after(2*time.Minute, func() {
		require.Equal(t, []string{probe, wake}, w.calls)
		require.Equal(t, provider.StateUp, w.gateState(t).State)
	})
	w.runGate(t, time.Hour)
}

func TestAnOutageIsProbedAndThenEverybodyIsWokenAtOnce(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.states = []provider.State{provider.StateDown, "", "", "", provider.StateDegraded}
	w.after(time.Minute, w.trouble)
	w.after(time.Minute+5*time.Second, func() { require.Equal(t, provider.StateDown, w.gateState(t).State) })
	w.after(2*time.Minute, func() {
		require.Equal(t, []string{probe, probe, probe, probe, probe, wake}, w.calls)
		require.Equal(t, provider.StateUp, w.gateState(t).State)
		for i := 2; i < 5; i++ {
			require.Equal(t, workflows.ProbeInterval, (w.at[i] - w.at[i-1]).Round(time.Second), "it probes every few seconds")
		}
		require.Less(t, w.at[5]-w.at[4], time.Second, "and wakes without a pause")
		require.Equal(t, provider.StateUp, w.probes[0].Known)
		require.Equal(t, provider.StateDown, w.probes[1].Known)
	})
	w.runGate(t, time.Hour)
}

func TestAWrongKeyIsAStateOfItsOwn(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.states = []provider.State{provider.StateDown, provider.StateMisconfigured, "", provider.StateDegraded}
	w.after(time.Minute, w.trouble)
	w.after(time.Minute+time.Second, func() { require.Equal(t, provider.StateMisconfigured, w.gateState(t).State) })
	w.after(2*time.Minute, func() { require.Equal(t, provider.StateUp, w.gateState(t).State) })
	w.runGate(t, time.Hour)
}

func TestTroubleThatDoesNotEndIsTriedInGrowingPauses(t *testing.T) {
	t.Parallel()
	w := setup(t)
	const rounds = 8
	for range rounds {
		w.wakes = append(w.wakes, workflows.WakeResult{Woken: 5})
	}
	w.after(time.Minute, w.trouble)
	w.after(3*time.Hour, func() {
		var woken []time.Duration
		for i, name := range w.calls {
			if name == wake {
				woken = append(woken, w.at[i])
			}
		}
		require.Len(t, woken, rounds+1)
		want := []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 15 * time.Minute, 15 * time.Minute, 15 * time.Minute}
		for i, pause := range want {
			require.Equal(t, pause, (woken[i+1] - woken[i]).Round(time.Second))
		}
		require.Equal(t, provider.StateUp, w.gateState(t).State)
	})
	w.runGate(t, 4*time.Hour)
}

func TestTroubleThatComesRightBackIsHeldBack(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.after(time.Minute, w.trouble)
	w.after(2*time.Minute, w.trouble)
	w.after(2*time.Minute+5*time.Second, func() { require.Equal(t, 1, w.count(wake), "it pauses first") })
	w.after(3*time.Minute, func() { require.Equal(t, 2, w.count(wake)) })
	w.after(30*time.Minute, w.trouble)
	w.after(30*time.Minute+time.Second, func() { require.Equal(t, 3, w.count(wake), "after a calm time it is a new story") })
	w.runGate(t, time.Hour)
}

func TestAThousandSignalsAreTwoRoundsAtMost(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.after(time.Minute, func() {
		for range 1000 {
			w.trouble()
		}
	})
	w.after(2*time.Minute, func() { require.LessOrEqual(t, w.count(wake), 2) })
	w.runGate(t, time.Hour)
}

func TestAGateNeedsAProvider(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.env.ExecuteWorkflow(workflows.ProviderGate, workflows.GateInput{})
	var application *temporal.ApplicationError
	require.ErrorAs(t, w.env.GetWorkflowError(), &application)
	require.Equal(t, workflows.ErrInvalidInput, application.Type())
}

func TestAGateTakesUpWhatItKnew(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.states = []provider.State{"", provider.StateDegraded}
	w.after(time.Minute, func() {
		require.Equal(t, provider.StateDown, w.probes[0].Known)
		require.Equal(t, 1, w.count(wake), "what it was about goes on without a new signal")
		w.env.SetContinueAsNewSuggested(true)
		w.trouble()
	})
	w.env.ExecuteWorkflow(workflows.ProviderGate, workflows.GateInput{
		Provider: provider.Stripe, State: &workflows.GateState{State: provider.StateDown},
	})
	var next *workflow.ContinueAsNewError
	require.ErrorAs(t, w.env.GetWorkflowError(), &next)
	require.Contains(t, next.Input.String(), `\"state\":\"up\"`)
}

func TestTheSweepTellsHowManyItRepaired(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.env.ExecuteWorkflow(workflows.RepairSweep)
	require.Equal(t, 7, resultOf[workflows.RepairResult](t, w.env).Repaired)
}

// Trouble is reported once in each epoch of the provider's health. Were the one signal of it left
// behind, nobody would probe until the next epoch, which only a probe can begin.
func TestTroubleThatComesWhileTheGateWakesIsNotLeftBehind(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.script(wake, slow())
	w.after(time.Minute, w.trouble)
	w.after(time.Minute+5*time.Second, func() {
		w.env.SetContinueAsNewSuggested(true)
		w.trouble()
	})
	w.env.ExecuteWorkflow(workflows.ProviderGate, workflows.GateInput{Provider: provider.Stripe})
	var next *workflow.ContinueAsNewError
	require.ErrorAs(t, w.env.GetWorkflowError(), &next)
	require.Equal(t, []string{probe, wake, wake, probe, wake}, w.calls)
}

func TestAGateThatIsCanceledEnds(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.after(time.Minute, w.env.CancelWorkflow)
	w.after(time.Hour, func() {
		t.Error("it is still there")
		w.trouble()
	})
	w.env.ExecuteWorkflow(workflows.ProviderGate, workflows.GateInput{Provider: provider.Stripe})
	var canceled *temporal.CanceledError
	require.ErrorAs(t, w.env.GetWorkflowError(), &canceled)
}
