package payout

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// isPlanned says whether everybody was looked at and every candidate was decided upon.
func (r Run) isPlanned(ctx context.Context, tx pgx.Tx) (done bool, err error) {
	if r.LookedAt == nil {
		return false, nil
	}
	err = tx.QueryRow(ctx, `SELECT NOT EXISTS (SELECT FROM payout_candidates WHERE run_date = $1)`, r.Date).Scan(&done)
	return done, err
}
