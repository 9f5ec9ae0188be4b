package activities

import (
	"context"

	"go.temporal.io/sdk/activity"

	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/workflows"
)

// WakePayouts tells the payouts that wait for a stop that it was lifted, slice by slice. After a crash it
// goes on from the slice it had reached; who is told twice hears it once.
func (r *PayoutRuns) WakePayouts(ctx context.Context, in workflows.PayoutWakeInput) (workflows.PayoutWakeResult, error) {
	var at waking
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &at); err != nil {
			return at.Result, err
		}
	}
	for {
		ids, err := payout.ListWaiting(ctx, r.pool, in.RunDate, at.After, payoutSlice)
		if err != nil || len(ids) == 0 {
			return at.Result, err
		}
		messages := make([]outbox.Message, len(ids))
		for i, id := range ids {
			messages[i] = workflows.LookAtPayout(id, "woken/"+in.Cause)
		}
		if err := r.handOver(ctx, messages); err != nil {
			return at.Result, err
		}
		at.After = ids[len(ids)-1]
		at.Result.Woken += len(ids)
		activity.RecordHeartbeat(ctx, at)
	}
}

// waking is how far the telling is.
type waking struct {
	After  string                     `json:"after"`
	Result workflows.PayoutWakeResult `json:"result"`
}
