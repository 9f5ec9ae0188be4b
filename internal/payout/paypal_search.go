package payout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/postgres"
)

// What PayPal takes back of a payout that was paid, or gives back of one that it blocked, is found by a daily search of its movements, each of
// which may name the one that it takes back. A search looks again at the days before: PayPal tells late.

const (
	searchEvery   = 24 * time.Hour
	searchOverlap = 3 * 24 * time.Hour
)

// SearchDue says that PayPal's movements are to be searched: something was paid there, and the last
// search is a day ago.
func SearchDue(ctx context.Context, db postgres.DB) (due bool, err error) {
	err = db.QueryRow(ctx, `SELECT coalesce(searched_at < now() - $1::interval, true)
			AND EXISTS (SELECT FROM paypal_batch_items WHERE transaction_id IS NOT NULL) FROM paypal_search`, searchEvery).Scan(&due)
	if err != nil {
		return false, fmt.Errorf("see whether PayPal's movements are to be searched: %w", err)
	}
	return due, nil
}

// SearchFrom is from when on PayPal's movements are to be searched: some days before the last search's
// end, and at first since the first payout was sent there. It is zero when none was. Of a batch that was
// found late, as one that was held, what came back before is not known yet: the search goes back to it.
func SearchFrom(ctx context.Context, db postgres.DB) (from time.Time, err error) {
	var at *time.Time
	err = db.QueryRow(ctx, `SELECT least(searched_until, (SELECT min(created_at) FROM paypal_batches
			WHERE sent_at > coalesce(searched_at, '-infinity') - $1::interval)) - $1::interval FROM paypal_search`, searchOverlap).Scan(&at)
	if err != nil {
		return time.Time{}, fmt.Errorf("see from when on PayPal's movements are to be searched: %w", err)
	}
	if at == nil {
		return time.Time{}, nil
	}
	return *at, nil
}

// Searched records up to when PayPal's movements were searched, and whether that was the end.
func Searched(ctx context.Context, db postgres.DB, until time.Time, ended bool) error {
	_, err := db.Exec(ctx, `UPDATE paypal_search SET searched_until = greatest(searched_until, $1),
		searched_at = CASE WHEN $2 THEN now() ELSE searched_at END`, until, ended)
	if err != nil {
		return fmt.Errorf("record how far PayPal's movements were searched: %w", err)
	}
	return nil
}

// TakenBack is a movement at PayPal that takes back another one, or a part of it.
type TakenBack struct {
	TransactionID string
	Of            string // the movement that it takes back
	Amount        money.Amount
}

// Reversal is a payout that was paid, or blocked, and of which something was taken back.
type Reversal struct {
	TakenBack

	PayoutID string
	BatchID  string
	Blocked  bool // it was never paid
	Whole    bool // as much as was sent: its item is to be read
}

// FindReversals gives those of the movements that take back payouts which are paid here, or blocked.
func FindReversals(ctx context.Context, db postgres.DB, all []TakenBack) ([]Reversal, error) {
	byOriginal := map[string][]TakenBack{}
	var of []string
	for _, t := range all {
		if _, known := byOriginal[t.Of]; !known {
			of = append(of, t.Of)
		}
		byOriginal[t.Of] = append(byOriginal[t.Of], t)
	}
	rows, err := db.Query(ctx, `SELECT i.transaction_id, i.payout_id, i.batch_id, p.state <> 'paid', i.amount, i.currency FROM paypal_batch_items i
			JOIN payouts p ON p.id = i.payout_id AND p.batch_id = i.batch_id
				AND (p.state = 'paid' OR p.state IN ('in_transit', 'unclaimed') AND i.transaction_status = $2)
		WHERE i.transaction_id = ANY ($1) ORDER BY i.batch_id, i.payout_id`, of, ItemBlocked)
	if err != nil {
		return nil, fmt.Errorf("find the payouts that %d movements take back: %w", len(all), err)
	}
	var (
		original string
		found    []Reversal
		r        Reversal
		paid     money.Amount
	)
	_, err = pgx.ForEachRow(rows, []any{&original, &r.PayoutID, &r.BatchID, &r.Blocked, &paid.Minor, &paid.Currency}, func() error {
		for _, taken := range byOriginal[original] {
			r.TakenBack = taken
			r.Whole = taken.Amount.Currency == paid.Currency && taken.Amount.Minor >= paid.Minor ||
				taken.Amount.Currency != paid.Currency && !r.Blocked
			if r.Whole || !r.Blocked { // of one that is blocked a part says nothing yet
				found = append(found, r)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find the payouts that %d movements take back: %w", len(all), err)
	}
	return found, nil
}

// KeepWhole keeps that the whole of a paid payout came back, for people to see should its item not say so.
func (s *Store) KeepWhole(ctx context.Context, tx pgx.Tx, r Reversal) error {
	_, err := r.keep(ctx, tx)
	return err
}

// keep stores a reversal, once for each movement, and tells whether it is new. What is stored refers to the
// payout, which nobody may hold before its batch.
func (r Reversal) keep(ctx context.Context, tx pgx.Tx) (isNew bool, err error) {
	if _, err := lockMember(ctx, tx, r.PayoutID); err != nil {
		return false, err
	}
	tag, err := tx.Exec(ctx, `INSERT INTO paypal_reversals (transaction_id, payout_id, amount, currency) VALUES ($1, $2, $3, $4)
		ON CONFLICT (transaction_id) DO NOTHING`, r.TransactionID, r.PayoutID, r.Amount.Minor, string(r.Amount.Currency))
	if err != nil {
		return false, fmt.Errorf("payout %s: keep that %s was taken back: %w", r.PayoutID, r.Amount, err)
	}
	return tag.RowsAffected() == 1, nil
}

// TakePartBack records that PayPal took a part of a paid payout back, once for each movement, and has
// people see it. It tells whether this is new.
func (s *Store) TakePartBack(ctx context.Context, r Reversal) (isNew bool, err error) {
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if isNew, err = r.keep(ctx, tx); err != nil || !isNew {
			return err
		}
		return s.PartlyReversed(ctx, tx, r.PayoutID, r.Amount, r.TransactionID)
	})
	if errors.Is(err, ErrState) { // it is paid no more, which says all
		return false, nil
	}
	return isNew, err
}
