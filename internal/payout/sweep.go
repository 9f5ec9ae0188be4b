package payout

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/postgres"
)

// ListUnseen lists, in order and after the given one, the payouts at Stripe that are to be looked at
// there because nothing was heard of them for longer than it should take: of one that is being sent, or
// was to be, for an hour; of one on its way, since its day of arrival or for three days, or when its
// money is to be taken back; and daily of one that was paid less than ten days ago, since a bank may
// still return it.
func ListUnseen(ctx context.Context, db postgres.DB, after string, limit int) ([]string, error) {
	rows, err := db.Query(ctx, `SELECT id FROM payouts WHERE method <> 'paypal' AND id > $1 AND (
			state = 'planned' AND handed_at < now() - interval '1 hour'
			OR state = 'sending' AND state_since < now() - interval '1 hour'
			OR state = 'in_transit' AND coalesce(checked_at, state_since) < now() - interval '6 hours'
				AND (ending IS NOT NULL OR arrival_date < (now() AT TIME ZONE 'UTC')::date OR state_since < now() - interval '3 days')
			OR state = 'paid' AND (ending IS NOT NULL OR state_since > now() - interval '10 days')
				AND coalesce(checked_at, state_since) < now() - interval '1 day')
		ORDER BY id LIMIT $2`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list payouts that nothing was heard of: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list payouts that nothing was heard of: %w", err)
	}
	return ids, nil
}

// LiftBlocks lets payees be paid again whose payout has been on its way for five days: it may still
// arrive, and the next one does not wait for it. It tells how many these are.
func LiftBlocks(ctx context.Context, db postgres.DB) (int64, error) {
	tag, err := db.Exec(ctx, `UPDATE payouts SET blocks = false WHERE blocks AND state = 'in_transit' AND state_since < now() - interval '5 days'`)
	if err != nil {
		return 0, fmt.Errorf("let payees be paid whose payout takes long: %w", err)
	}
	return tag.RowsAffected(), nil
}

// LacksStripeFunds says that a run which has looked at everybody is to pay through Stripe and does not
// know what the platform has had there since then. A run that pays nobody there does not need Stripe.
func LacksStripeFunds(ctx context.Context, db postgres.DB, run Run) (lacks bool, err error) {
	err = db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM payout_candidates c JOIN payees p ON p.id = c.payee_id
				WHERE c.run_date = $1 AND p.stripe_account_id IS NOT NULL)
			AND NOT EXISTS (SELECT FROM platform_funds WHERE rail = 'stripe' AND as_of >= $2)`, run.Date, run.LookedAt).Scan(&lacks)
	if err != nil {
		return false, fmt.Errorf("run of %s: see whether it is known what there is at Stripe: %w", run.Date, err)
	}
	return lacks, nil
}

// ListUnfinishedRuns lists the dates of runs that began more than an hour ago, wait for no person and
// have not ended: their workflows may be gone.
func ListUnfinishedRuns(ctx context.Context, db postgres.DB) ([]date.Date, error) {
	rows, err := db.Query(ctx, `SELECT date FROM payout_runs WHERE state IN ('computing', 'paying') AND started_at < now() - interval '1 hour' ORDER BY date`)
	if err != nil {
		return nil, fmt.Errorf("list the runs that have not ended: %w", err)
	}
	dates, err := pgx.CollectRows(rows, pgx.RowTo[date.Date])
	if err != nil {
		return nil, fmt.Errorf("list the runs that have not ended: %w", err)
	}
	return dates, nil
}
