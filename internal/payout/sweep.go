package payout

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/postgres"
)

// ListStuck lists, in order of id and behind the given one, the payouts to which something should have
// happened: not begun or not sent after an hour, in transit past the day on which they should arrive or
// for three days, coming back for an hour, and, for ten days and once a day, what was paid, since a
// bank may still return it.
func ListStuck(ctx context.Context, db postgres.DB, after string, limit int) ([]string, error) {
	rows, err := db.Query(ctx, `SELECT id FROM payouts WHERE id > $1 AND (
			state = 'planned' AND handed_at < now() - interval '1 hour'
			OR state = 'sending' AND state_since < now() - interval '1 hour'
			OR state IN ('in_transit', 'unclaimed') AND coalesce(checked_at, state_since) < now() - interval '1 hour'
				AND (arrival_date < (now() AT TIME ZONE 'UTC')::date OR state_since < now() - interval '3 days' OR ending IS NOT NULL)
			OR state = 'paid' AND state_since > now() - interval '10 days'
				AND coalesce(checked_at, state_since) < now() - CASE WHEN ending IS NULL THEN interval '1 day' ELSE interval '1 hour' END)
		ORDER BY id LIMIT $2`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("look for payouts that are stuck: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for payouts that are stuck: %w", err)
	}
	return ids, nil
}

// LiftBlocks lets payees be paid again whose last payout has been in transit for five days, or waits
// to be claimed at a destination that is theirs no more. It tells how many there were.
func LiftBlocks(ctx context.Context, db postgres.DB) (lifted int64, err error) {
	tag, err := db.Exec(ctx, `UPDATE payouts o SET blocks = false FROM payees p
		WHERE p.id = o.payee_id AND o.blocks AND (o.state = 'in_transit' AND o.state_since < now() - interval '5 days'
			OR o.state = 'unclaimed' AND p.destination_changed_at > o.created_at)`)
	if err != nil {
		return 0, fmt.Errorf("lift the blocks of payouts that take long: %w", err)
	}
	return tag.RowsAffected(), nil
}
