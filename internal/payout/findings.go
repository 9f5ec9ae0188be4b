package payout

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// newestFinding is in SQL what the provider was last found to have of a payout since it is held.
const newestFinding = `(SELECT f.finding FROM payout_findings f WHERE f.payout_id = p.id AND f.at >= p.state_since ORDER BY f.id DESC LIMIT 1)`

// RecordFinding keeps what the provider was found to have of a payout that is held, for the person who
// decides, when that is something else than before; and in any case that somebody looked.
func RecordFinding(ctx context.Context, tx pgx.Tx, id, finding string) error {
	p, err := LockPayout(ctx, tx, id)
	if err != nil || p.State != Held {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO payout_findings (payout_id, finding)
		SELECT p.id, $2 FROM payouts p WHERE p.id = $1 AND $2 IS DISTINCT FROM `+newestFinding, id, finding)
	if err != nil {
		return fmt.Errorf("payout %s: keep what was found of it: %w", id, err)
	}
	return MarkChecked(ctx, tx, id)
}
