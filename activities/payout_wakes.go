package activities

import (
	"context"

	"go.temporal.io/sdk/activity"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/workflows"
)

// WakePayouts tells the payouts that wait for a stop, and the batches at PayPal, that it was lifted, slice
// by slice. After a crash it goes on from the slice it had reached; who is told twice hears it once.
func (r *PayoutRuns) WakePayouts(ctx context.Context, in workflows.PayoutWakeInput) (workflows.PayoutWakeResult, error) {
	var at waking
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &at); err != nil {
			return at.Result, err
		}
	}
	for _, kind := range []waitingKind{
		{payout.ListWaiting, workflows.LookAtPayout, &at.After},
		{payout.ListWaitingBatches, workflows.LookAtPayPalBatch, &at.AfterBatch},
	} {
		for {
			told, err := r.tellSlice(ctx, in, kind)
			if err != nil {
				return at.Result, err
			}
			if told == 0 {
				break
			}
			at.Result.Woken += told
			activity.RecordHeartbeat(ctx, at)
		}
	}
	return at.Result, nil
}

// waitingKind is how those of one kind that wait are found and told, and who was told last.
type waitingKind struct {
	list func(ctx context.Context, db postgres.DB, on date.Date, after string, limit int) ([]string, error)
	tell func(id, cause string) outbox.Message
	last *string
}

func (r *PayoutRuns) tellSlice(ctx context.Context, in workflows.PayoutWakeInput, kind waitingKind) (told int, err error) {
	ids, err := kind.list(ctx, r.pool, in.RunDate, *kind.last, payoutSlice)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	messages := make([]outbox.Message, len(ids))
	for i, id := range ids {
		messages[i] = kind.tell(id, "woken/"+in.Cause)
	}
	*kind.last = ids[len(ids)-1]
	return len(ids), r.handOver(ctx, messages)
}

// waking is how far the telling is.
type waking struct {
	After      string                     `json:"after"`
	AfterBatch string                     `json:"after_batch,omitempty"`
	Result     workflows.PayoutWakeResult `json:"result"`
}
