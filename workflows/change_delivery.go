package workflows

import (
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// ChangeDelivery has a change sent to the app's webhook, for as long as it takes and at most three
// days. What was not taken until then waits for an operator, who may have any change sent again.
func ChangeDelivery(ctx workflow.Context, in DeliveryInput) (DeliveryResult, error) {
	asked := workflow.GetSignalChannel(ctx, SignalRedeliver)
	for {
		for asked.ReceiveAsync(nil) { // the delivery that follows is the one that was asked for
		}
		result, err := deliver(ctx, in)
		if err != nil || asked.Len() == 0 {
			return result, err
		}
	}
}

func deliver(ctx workflow.Context, in DeliveryInput) (DeliveryResult, error) {
	_, err := call[struct{}](delivering(ctx), ActivityDeliverChange, in)
	if err == nil {
		return DeliveryResult{Delivered: true}, nil
	}
	if temporal.IsCanceledError(err) {
		return DeliveryResult{}, err
	}
	given := GiveUpInput{Seq: in.Seq, LastError: lastErrorOf(err)}
	if _, err := call[struct{}](onPostgres(ctx, "not delivered"), ActivityGiveUpChange, given); err != nil {
		return DeliveryResult{}, err
	}
	return DeliveryResult{LastError: given.LastError}, nil
}

// lastErrorOf is the code of what the last attempt met.
func lastErrorOf(err error) string {
	if failure, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		return failure.Type()
	}
	return "timeout"
}

// DeliveryTime is how long a change is tried to be delivered: after 5 and 20 seconds, then less and
// less often up to every four hours. The time ends it, before the number of attempts does.
const (
	DeliveryTime      = 72 * time.Hour
	deliveryAttempts  = 100
	deliveryBackoff   = 4
	firstDeliveryWait = 5 * time.Second
	longDeliveryWait  = 4 * time.Hour
)

// DeliveryBackoff is the delay after a failed attempt, counted from 1.
func DeliveryBackoff(attempt int) time.Duration {
	delay := firstDeliveryWait
	for i := 1; i < attempt && delay < longDeliveryWait; i++ {
		delay *= deliveryBackoff
	}
	return min(delay, longDeliveryWait)
}

func delivering(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              TaskQueue,
		StartToCloseTimeout:    30 * time.Second, // longer than the post and the reading of the change
		ScheduleToCloseTimeout: DeliveryTime,
		Summary:                "post to the app",
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: firstDeliveryWait, BackoffCoefficient: deliveryBackoff, MaximumInterval: longDeliveryWait, MaximumAttempts: deliveryAttempts,
		},
	})
}
