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
	"github.com/holdfast/holdfast/workflows"
)

// Repair starts the onboarding of customers on whom nothing works.
type Repair struct {
	pool *pgxpool.Pool
}

// NewRepair makes the activity over the pool.
func NewRepair(pool *pgxpool.Pool) *Repair { return &Repair{pool: pool} }

const repairSlice = 500

// RepairNeglected hands every neglected customer's onboarding to Temporal again, slice by slice;
// after a crash it goes on from the slice it had reached.
func (r *Repair) RepairNeglected(ctx context.Context) (workflows.RepairResult, error) {
	var (
		result workflows.RepairResult
		after  string
	)
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &after, &result); err != nil {
			return result, err
		}
	}
	for {
		ids, err := customer.ListNeglected(ctx, r.pool, customer.Quiet, after, repairSlice)
		if err != nil || len(ids) == 0 {
			return result, err
		}
		if err := r.start(ctx, ids); err != nil {
			return result, err
		}
		after = ids[len(ids)-1]
		result.Repaired += len(ids)
		activity.RecordHeartbeat(ctx, after, result)
	}
}

func (r *Repair) start(ctx context.Context, ids []string) error {
	now := time.Now()
	return postgres.InTx(ctx, r.pool, func(tx pgx.Tx) error {
		var batch pgx.Batch
		for _, id := range ids {
			if err := outbox.Queue(&batch, workflows.RepairOnboarding(id, now)); err != nil {
				return err
			}
		}
		return tx.SendBatch(ctx, &batch).Close()
	})
}
