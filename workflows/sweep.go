package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
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
// and looking is the guarantee. It runs by schedule, every hour.
func PayoutSweep(ctx workflow.Context) (SweepResult, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           TaskQueue,
		StartToCloseTimeout: 30 * time.Minute,
		HeartbeatTimeout:    time.Minute,
		Summary:             "payouts that nothing was heard of",
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: time.Minute},
	})
	return call[SweepResult](ctx, ActivitySweepPayouts, struct{}{})
}
