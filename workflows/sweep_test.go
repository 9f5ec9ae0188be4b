package workflows_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/workflows"
)

// setupSweep makes the activities of a sweep, which tells what is given.
func setupSweep(t *testing.T, result workflows.SweepResult) *world {
	t.Helper()
	w := setup(t)
	w.register(workflows.ActivitySweepPayouts, func(context.Context, struct{}) (workflows.SweepResult, error) {
		return result, w.called(workflows.ActivitySweepPayouts, nil)
	})
	for _, name := range []string{workflows.ActivityReadPlatformFunds, workflows.ActivityReadPayPalFunds} {
		w.register(name, func(_ context.Context, in workflows.FundsInput) error { return w.called(name, in) })
	}
	w.register(workflows.ActivitySearchPayPal, func(context.Context) (workflows.SearchResult, error) {
		return workflows.SearchResult{Searched: 9, Whole: 1}, w.called(workflows.ActivitySearchPayPal, nil)
	})
	return w
}

func (w *world) sweep(t *testing.T) workflows.SweepResult {
	t.Helper()
	w.env.ExecuteWorkflow(workflows.PayoutSweep)
	return resultOf[workflows.SweepResult](t, w.env)
}

// A sweep is tried until it is through, and tells what it did.
func TestPayoutSweepIsTriedUntilItIsThrough(t *testing.T) {
	t.Parallel()
	w := setupSweep(t, workflows.SweepResult{Looked: 7, Lifted: 2, Runs: 1})
	w.script(workflows.ActivitySweepPayouts, times(8, slow())...)

	require.Equal(t, workflows.SweepResult{Looked: 7, Lifted: 2, Runs: 1}, w.sweep(t))

	require.Equal(t, 9, w.count(workflows.ActivitySweepPayouts))
	require.Equal(t, 1, w.count(workflows.ActivityReadPlatformFunds))
	require.Equal(t, 1, w.count(workflows.ActivityReadPayPalFunds))
	require.Zero(t, w.count(workflows.ActivitySearchPayPal), "it is not due")
}

// What a provider does not answer is asked for by the next sweep: this one did what it could.
func TestPayoutSweepMindsNoProvider(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		down     []string
		reversed *workflows.SearchResult
	}{
		"all are up":     {nil, &workflows.SearchResult{Searched: 9, Whole: 1}},
		"Stripe is down": {[]string{workflows.ActivityReadPlatformFunds}, &workflows.SearchResult{Searched: 9, Whole: 1}},
		"PayPal is down": {[]string{workflows.ActivityReadPayPalFunds, workflows.ActivitySearchPayPal}, nil},
		"both are down":  {[]string{workflows.ActivityReadPlatformFunds, workflows.ActivityReadPayPalFunds, workflows.ActivitySearchPayPal}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setupSweep(t, workflows.SweepResult{Looked: 7, SearchDue: true})
			for _, activity := range c.down {
				w.script(activity, slices.Repeat([]error{failing(provider.Transient, "http_502")}, workflows.BlipAttempts)...)
			}

			require.Equal(t, workflows.SweepResult{Looked: 7, SearchDue: true, Reversed: c.reversed}, w.sweep(t))

			for _, activity := range []string{workflows.ActivityReadPlatformFunds, workflows.ActivityReadPayPalFunds, workflows.ActivitySearchPayPal} {
				want := 1
				if slices.Contains(c.down, activity) {
					want = workflows.BlipAttempts
				}
				require.Equal(t, want, w.count(activity), activity)
			}
		})
	}
}

func TestPayoutSweepEndsWhenItIsCanceled(t *testing.T) {
	t.Parallel()
	w := setupSweep(t, workflows.SweepResult{})
	w.script(workflows.ActivityReadPlatformFunds, slices.Repeat([]error{failing(provider.Transient, "http_502")}, workflows.BlipAttempts)...)
	w.after(0, w.env.CancelWorkflow)
	w.env.ExecuteWorkflow(workflows.PayoutSweep)
	require.True(t, temporal.IsCanceledError(w.env.GetWorkflowError()), "%v", w.env.GetWorkflowError())
}
