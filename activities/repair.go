package activities

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/activity"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/workflows"
)

// Repair starts work again that nothing works on.
type Repair struct {
	pool *pgxpool.Pool
}

// NewRepair makes the activity over the pool.
func NewRepair(pool *pgxpool.Pool) *Repair { return &Repair{pool: pool} }

const repairSlice = 500

// RepairNeglected hands the onboarding of every neglected customer to Temporal again, and the reading
// of every neglected subscription, slice by slice; after a crash it goes on from the slice it had
// reached.
func (r *Repair) RepairNeglected(ctx context.Context) (workflows.RepairResult, error) {
	var at progress
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &at); err != nil {
			return at.Result, err
		}
	}
	kinds := []struct {
		list  func(ctx context.Context, db postgres.DB, quiet time.Duration, after string, limit int) ([]string, error)
		start func(customerID string, now time.Time) outbox.Message
	}{
		{customer.ListNeglected, workflows.RepairOnboarding},
		{subscription.ListNeglected, workflows.RepairSync},
	}
	for at.Kind < len(kinds) {
		kind := kinds[at.Kind]
		ids, err := kind.list(ctx, r.pool, customer.Quiet, at.After, repairSlice)
		if err != nil {
			return at.Result, err
		}
		if len(ids) == 0 {
			at = progress{Kind: at.Kind + 1, Result: at.Result}
			continue
		}
		if err := r.start(ctx, ids, kind.start); err != nil {
			return at.Result, err
		}
		at.After = ids[len(ids)-1]
		at.Result.Repaired += len(ids)
		activity.RecordHeartbeat(ctx, at)
	}
	return at.Result, nil
}

// progress is how far a repair has come: which kind of work, after which customer.
type progress struct {
	Kind   int
	After  string
	Result workflows.RepairResult
}

func (r *Repair) start(ctx context.Context, ids []string, message func(string, time.Time) outbox.Message) error {
	now := time.Now()
	return postgres.InTx(ctx, r.pool, func(tx pgx.Tx) error {
		var batch pgx.Batch
		for _, id := range ids {
			if err := outbox.Queue(&batch, message(id, now)); err != nil {
				return err
			}
		}
		return tx.SendBatch(ctx, &batch).Close()
	})
}
