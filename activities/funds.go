package activities

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/activity"

	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

// funds reads what the platform has at one provider, which bounds what runs claim.
type funds struct {
	pool     *pgxpool.Pool
	payouts  *payout.Store
	rail     payout.Rail
	attempts *attempts
	// read asks the provider, which is configured.
	read func(ctx context.Context) ([]money.Amount, error)
}

// refresh reads once, for a step of a run or, without one, to keep what is known fresh. Of a provider
// that is not configured nothing is known, and nobody waits for it.
func (f funds) refresh(ctx context.Context, in workflows.FundsInput) error {
	workflowID := activity.GetInfo(ctx).WorkflowExecution.ID
	if err := f.open(ctx, workflowID, in.Step); err != nil {
		return err
	}
	if !f.attempts.configured {
		if err := f.payouts.ForgetFunds(ctx, f.rail); err != nil {
			return err
		}
		return step.Finish(ctx, f.pool, workflowID, in.Step, step.Skipped)
	}
	return f.attempts.try(ctx, in.Step, func(ctx context.Context) error {
		readAt, err := postgres.Now(ctx, f.pool)
		if err != nil {
			return err
		}
		available, err := f.read(ctx)
		if err != nil {
			return err
		}
		if err := f.payouts.RecordFunds(ctx, f.rail, available, readAt); err != nil {
			return err
		}
		return step.Finish(ctx, f.pool, workflowID, in.Step, step.Done)
	})
}

// open makes sure that a run's step is there. One that its workflow has gone on without stays over: this
// may be a late attempt.
func (f funds) open(ctx context.Context, workflowID, name string) error {
	if name == "" {
		return nil
	}
	return postgres.InTx(ctx, f.pool, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		step.Queue(batch, step.Step{WorkflowID: workflowID, Name: name, Provider: f.attempts.provider})
		return tx.SendBatch(ctx, batch).Close()
	})
}
