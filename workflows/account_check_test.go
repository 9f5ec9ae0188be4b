package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/workflows"
)

func setupCheck(t *testing.T) *world {
	t.Helper()
	w := setup(t)
	w.register(workflows.ActivityCheckAccount, func(_ context.Context, in workflows.AccountInput) error {
		return w.called(workflows.ActivityCheckAccount, in)
	})
	return w
}

func (w *world) check(t *testing.T) {
	t.Helper()
	w.env.ExecuteWorkflow(workflows.AccountCheck, workflows.AccountCheckInput{PayeeID: id})
	require.True(t, w.env.IsWorkflowCompleted())
	require.NoError(t, w.env.GetWorkflowError())
}

func TestAccountCheckLooksOnce(t *testing.T) {
	t.Parallel()
	w := setupCheck(t)
	w.noUpserts(t)
	w.check(t)
	require.Equal(t, []string{`{"payee_id":"u_1","step":"stripe_account"}`}, w.inputs)
}

// What changes during a look may not be in it. What changed before, however often, is one look.
func TestAccountCheckLooksAgainAtWhatChangedMeanwhile(t *testing.T) {
	t.Parallel()
	w := setupCheck(t)
	w.script(workflows.ActivityCheckAccount, slow())
	for range 3 {
		w.after(5*time.Second, func() { w.env.SignalWorkflow(workflows.SignalChanged, nil) })
	}
	w.check(t)
	require.Equal(t, 3, w.count(workflows.ActivityCheckAccount), "the attempt that took long, its end, and one more look")
}

func TestAccountCheckWaitsForStripe(t *testing.T) {
	t.Parallel()
	w := setupCheck(t)
	w.script(workflows.ActivityCheckAccount, failing(provider.Misconfigured, "not_configured"))
	shown := w.upserts()
	w.after(time.Minute, func() { w.env.SignalWorkflow(workflows.SignalChanged, nil) })
	w.after(2*time.Minute, func() { w.providerUp(provider.Stripe) })
	w.check(t)
	require.Equal(t, map[string]string{
		workflows.SearchStatus: workflows.StatusWaitingOnProvider, workflows.SearchBlockedOn: "stripe", workflows.SearchCustomer: id,
	}, (*shown)[0])
	require.Equal(t, 3, w.count(workflows.ActivityCheckAccount), "once refused, once when Stripe is back, and once for what changed")
}

// A person may have it tried again, or go on without it: each payout looks again.
func TestAccountCheckIsDecidedByAPerson(t *testing.T) {
	t.Parallel()
	for verdict, looks := range map[string]int{workflows.UpdateRetry: 2, workflows.UpdateSkip: 1} {
		t.Run(verdict, func(t *testing.T) {
			t.Parallel()
			w := setupCheck(t)
			w.script(workflows.ActivityCheckAccount, failing(provider.Held, "bound_elsewhere"))
			w.after(time.Hour, func() { w.say(verdict, workflows.StepInput{Step: workflows.StepAccount}) })
			w.check(t)
			require.Equal(t, looks, w.count(workflows.ActivityCheckAccount))
		})
	}
}

func TestAccountCheckNeedsAPayee(t *testing.T) {
	t.Parallel()
	w := setupCheck(t)
	w.env.ExecuteWorkflow(workflows.AccountCheck, workflows.AccountCheckInput{PayeeID: "not an id"})
	require.ErrorContains(t, w.env.GetWorkflowError(), "payee_id")
	require.Zero(t, w.count(workflows.ActivityCheckAccount))
}

func TestAccountCheckEndsWhenItIsCanceled(t *testing.T) {
	t.Parallel()
	w := setupCheck(t)
	w.script(workflows.ActivityCheckAccount, failing(provider.Misconfigured, "not_configured"))
	w.after(time.Minute, w.env.CancelWorkflow)
	w.env.ExecuteWorkflow(workflows.AccountCheck, workflows.AccountCheckInput{PayeeID: id})
	require.True(t, temporal.IsCanceledError(w.env.GetWorkflowError()), "%v", w.env.GetWorkflowError())
}
