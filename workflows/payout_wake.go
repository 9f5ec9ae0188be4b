package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// PayoutWake tells payouts that wait for the kill switch, or for their run, that they may go on. It is
// started by whoever lifts the stop, who does not wait until all of them are told.
func PayoutWake(ctx workflow.Context, in PayoutWakeInput) (PayoutWakeResult, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           TaskQueue,
		StartToCloseTimeout: 30 * time.Minute,
		HeartbeatTimeout:    time.Minute,
		Summary:             "payouts that wait",
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: time.Minute},
	})
	return call[PayoutWakeResult](ctx, ActivityWakePayouts, in)
}
