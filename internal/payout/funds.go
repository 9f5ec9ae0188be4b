package payout

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/postgres"
)

// The platform's funds bound what runs claim: what a provider said that there is, less what was claimed
// since, and less what was claimed before and may not have been sent when it said so.

// payPalLag is how long PayPal takes until a movement is seen in its balance.
const payPalLag = 3 * time.Hour

// asOf is the moment from which on a movement may be missing in what a rail's provider says.
func (r Rail) asOf(readAt time.Time) time.Time {
	if r == RailPayPal {
		return readAt.Add(-payPalLag)
	}
	return readAt
}

// RecordFunds keeps what the platform has available on a rail; a currency that is not among the amounts
// has nothing. readAt is the database's time at which the provider was asked, or a moment before. An answer
// that is older than the one that is known changes nothing.
func (s *Store) RecordFunds(ctx context.Context, rail Rail, available []money.Amount, readAt time.Time) error {
	currencies, amounts := make([]string, len(available)), make([]int64, len(available))
	for i, a := range available {
		currencies[i], amounts[i] = string(a.Currency), a.Minor
	}
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		// Whoever claims holds these rows, so that every claim is in the sum or comes after it.
		_, err := tx.Exec(ctx, `INSERT INTO platform_funds (rail, currency, available, as_of)
			SELECT $1, currency, 0, '-infinity' FROM unnest($2::text[]) AS currency ORDER BY currency ON CONFLICT DO NOTHING`, string(rail), currencies)
		if err != nil {
			return fmt.Errorf("funds at %s: record: %w", rail, err)
		}
		if _, err := lockFunds(ctx, tx); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE platform_funds f SET available = coalesce(seen.available, 0), as_of = $4, read_at = $6, claimed = (
				-- As NeedFor: the net, and what PayPal takes on top.
				SELECT coalesce(sum(p.net + CASE p.method WHEN 'paypal' THEN p.net - p.net / 100 * $5 - p.net % 100 * $5 / 100 ELSE 0 END), 0)
				FROM payouts p WHERE p.currency = f.currency AND (p.method = 'paypal') = (f.rail = 'paypal')
					AND (p.state IN ('planned', 'sending', 'held') AND p.moved_at IS NULL OR p.moved_at >= $4))
			FROM platform_funds g LEFT JOIN unnest($2::text[], $3::bigint[]) AS seen (currency, available) ON seen.currency = g.currency
			WHERE f.rail = $1 AND g.rail = f.rail AND g.currency = f.currency AND f.as_of < $4`,
			string(rail), currencies, amounts, rail.asOf(readAt), percent-s.policy.PayPalCostPercent, readAt)
		if err != nil {
			return fmt.Errorf("funds at %s: record: %w", rail, err)
		}
		return nil
	})
}

// ForgetFunds makes what the platform has on a rail unknown: nobody can be paid there.
func (s *Store) ForgetFunds(ctx context.Context, rail Rail) error {
	if _, err := s.pool.Exec(ctx, `DELETE FROM platform_funds WHERE rail = $1`, string(rail)); err != nil {
		return fmt.Errorf("funds at %s: forget: %w", rail, err)
	}
	return nil
}

// Lacking is a rail of which a run has to know what the platform has there.
type Lacking struct {
	Rail  Rail
	Known bool // something is known from before
}

// LackingFunds gives the rails on which a run that has looked at everybody is to pay somebody, and of
// which it is not known what the platform has had there since then.
func LackingFunds(ctx context.Context, db postgres.DB, run Run) ([]Lacking, error) {
	rows, err := db.Query(ctx, `SELECT rail, EXISTS (SELECT FROM platform_funds f WHERE f.rail = r.rail) AS known
		FROM unnest(ARRAY['paypal', 'stripe']) AS r (rail)
		WHERE NOT EXISTS (SELECT FROM platform_funds f WHERE f.rail = r.rail AND f.read_at >= $2)
			AND EXISTS (SELECT FROM payout_candidates c WHERE c.run_date = $1 AND c.rail = r.rail) ORDER BY rail`, run.Date, run.LookedAt)
	return collect[Lacking](rows, err, "of which funds the run of "+run.Date.String()+" has to know")
}

// purse is the money of one currency at one provider.
type purse struct {
	rail     Rail
	currency money.Currency
}

// lockFunds gives what may still be claimed of each purse, and holds it until the transaction ends.
func lockFunds(ctx context.Context, tx pgx.Tx) (map[purse]int64, error) {
	rows, err := tx.Query(ctx, `SELECT rail, currency, available - claimed FROM platform_funds ORDER BY rail, currency FOR UPDATE`)
	if err != nil {
		return nil, fmt.Errorf("hold the platform's funds: %w", err)
	}
	var (
		p     purse
		left  int64
		found = map[purse]int64{}
	)
	_, err = pgx.ForEachRow(rows, []any{&p.rail, &p.currency, &left}, func() error {
		found[p] = left
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("hold the platform's funds: %w", err)
	}
	return found, nil
}

// claimFunds counts what payouts take of the platform's funds.
func claimFunds(ctx context.Context, tx pgx.Tx, of purse, amount money.Amount) error {
	_, err := tx.Exec(ctx, `UPDATE platform_funds SET claimed = claimed + $3 WHERE rail = $1 AND currency = $2`, string(of.rail), string(of.currency), amount.Minor)
	if err != nil {
		return fmt.Errorf("claim %s of the platform's funds: %w", amount, err)
	}
	return nil
}
