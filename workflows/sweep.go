package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfast/holdfast/internal/provider"
)

// RepairSweep finds accounts that lack something on which nothing works, such as those that
// nobody reads, and starts their onboarding again. It runs by schedule.
func RepairSweep(ctx workflow.Context) (RepairResult, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           TaskQueue,
		StartToCloseTimeout: 30 * time.Minute,
		HeartbeatTimeout:    time.Minute,
		Summary:             "accounts that nothing works on",
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: time.Minute},
	})
	return call[RepairResult](ctx, ActivityRepairNeglected, struct{}{})
}

// PayoutSweep has every payout looked at of which nothing was heard for too long: webhooks are hints,
// and looking is the guarantee. It keeps known what the platform has at each provider, so that a run goes
// by that when one does not answer, and once a day has PayPal's movements searched. It runs by schedule,
// every hour, and what a provider does not answer is asked for again then.
func PayoutSweep(ctx workflow.Context) (SweepResult, error) {
	result, err := call[SweepResult](sweeping(ctx), ActivitySweepPayouts, struct{}{})
	if err != nil || workflow.GetVersion(ctx, versionFunds, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return result, err
	}
	asked := map[provider.Name]workflow.Future{}
	for _, p := range []provider.Name{provider.Stripe, provider.PayPal} {
		asked[p] = workflow.ExecuteActivity(inBackground(readingFunds(ctx, p)), fundsActivity(p), FundsInput{})
	}
	if result.SearchDue {
		var found SearchResult
		if workflow.ExecuteActivity(searching(ctx), ActivitySearchPayPal).Get(ctx, &found) == nil {
			result.Reversed = &found
		}
	}
	for _, p := range []provider.Name{provider.Stripe, provider.PayPal} {
		_ = asked[p].Get(ctx, nil) // the provider's gate and its metrics tell of the trouble
	}
	return result, ctx.Err()
}

// versionFunds marks sweeps that read what the platform has.
const versionFunds = "funds-and-search"

// searching reads as many pages as there are, and says all the while that it is alive.
func searching(ctx workflow.Context) workflow.Context {
	options := workflow.GetActivityOptions(inBackground(onProvider(ctx, provider.PayPal, "what PayPal took back")))
	options.StartToCloseTimeout, options.ScheduleToCloseTimeout = 20*time.Minute, 30*time.Minute
	return workflow.WithActivityOptions(ctx, options)
}

func sweeping(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           TaskQueue,
		StartToCloseTimeout: 30 * time.Minute,
		HeartbeatTimeout:    time.Minute,
		Summary:             "payouts that nothing was heard of",
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: time.Minute},
	})
}
