package payout

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/postgres"
)

// HeldPayout is a payout of which nobody knows what became; a person decides.
type HeldPayout struct {
	ID      string
	PayeeID string
	Method  Method
	Reason  string
	BatchID string // of one by PayPal, with whose batch it is decided
	Finding string // what Stripe was last found to have of it; empty when nobody has looked since
	Since   time.Time
}

// ListHeld lists the payouts that are held, oldest first and then by id: from the moment on, and at
// that very moment those behind the id.
func ListHeld(ctx context.Context, db postgres.DB, since time.Time, id string, limit int) ([]HeldPayout, error) {
	rows, err := db.Query(ctx, `SELECT id, payee_id, method, reason, coalesce(batch_id, '') AS batch_id,
			coalesce(`+newestFinding+`, '') AS finding, state_since AS since FROM payouts p
		WHERE state = 'held' AND (state_since, id COLLATE "C") > ($1, $2)
		ORDER BY state_since, id COLLATE "C" LIMIT $3`, since, id, limit)
	return collect[HeldPayout](rows, err, "payouts that are held")
}

// UnapprovedRun is a run that waits until a person has approved what it is going to pay.
type UnapprovedRun struct {
	Date  date.Date
	Since time.Time
}

// ListUnapproved lists the runs that wait for approval, oldest first and then by date: from the moment
// on, and at that very moment those behind the date, in its text form.
func ListUnapproved(ctx context.Context, db postgres.DB, since time.Time, day string, limit int) ([]UnapprovedRun, error) {
	rows, err := db.Query(ctx, `SELECT date, computed_at AS since FROM payout_runs
		WHERE state = 'awaiting_approval' AND (computed_at, to_char(date, 'YYYY-MM-DD') COLLATE "C") > ($1, $2)
		ORDER BY computed_at, to_char(date, 'YYYY-MM-DD') COLLATE "C" LIMIT $3`, since, day, limit)
	return collect[UnapprovedRun](rows, err, "runs that wait for approval")
}

// Shortfall is what a run could not pay, or a batch could not be sent for, because the platform had too
// little at a provider.
type Shortfall struct {
	ID       string // unique among all
	RunDate  date.Date
	BatchID  string // of a batch that waits; else it is the run that lacked it
	Rail     Rail
	Currency money.Currency
	Missing  int64 // in minor units: what is to be added
	Payouts  int   // that wait for it
	Known    bool  // it was known what there was; else everything is missing that the payouts take
	Since    time.Time
}

// Amount is what is to be added.
func (s Shortfall) Amount() money.Amount { return money.New(s.Missing, s.Currency) }

// ListShortfalls lists what is missing, oldest first and then by id: from the moment on, and at that
// very moment what is behind the id. What a later run has worked out takes the place of what an
// earlier one missed; a batch waits until it is sent or ends.
func ListShortfalls(ctx context.Context, db postgres.DB, since time.Time, id string, limit int) ([]Shortfall, error) {
	rows, err := db.Query(ctx, `WITH missing AS (
			SELECT to_char(run_date, 'YYYY-MM-DD') || '/' || rail || '/' || currency COLLATE "C" AS id,
				run_date, '' AS batch_id, rail, currency, missing, payouts, known, started_at AS since
			FROM payout_shortfalls s JOIN payout_runs r ON r.date = s.run_date
			WHERE NOT EXISTS (SELECT FROM payout_runs later WHERE later.date > s.run_date AND later.computed_at IS NOT NULL)
			UNION ALL SELECT id COLLATE "C", run_date, id, 'paypal', currency, missing, size, true, unfunded_since
			FROM paypal_batches WHERE state = 'sending' AND unfunded_since IS NOT NULL)
		SELECT id, run_date, batch_id, rail, currency, missing, payouts, known, since FROM missing
		WHERE (since, id) > ($1, $2) ORDER BY since, id LIMIT $3`, since, id, limit)
	return collect[Shortfall](rows, err, "what payout runs lack")
}

// LatePayout is a payout that should have gone on days ago.
type LatePayout struct {
	ID      string
	PayeeID string
	Method  Method
	State   State
	BatchID string    // of one by PayPal that is in a batch
	Since   time.Time // by when it should have gone on
}

// ListLate lists the payouts that should have gone on more than three days ago, those that have waited
// longest first and then by id: from the moment on, and at that very moment those behind the id. Those
// that are held are listed by ListHeld, and what waits to be claimed waits for the payee.
func ListLate(ctx context.Context, db postgres.DB, since time.Time, id string, limit int) ([]LatePayout, error) {
	rows, err := db.Query(ctx, `WITH late AS (
			SELECT id COLLATE "C" AS id, payee_id, method, state, coalesce(batch_id, '') AS batch_id, `+expected+` AS since
			FROM payouts p WHERE state IN ('planned', 'sending', 'in_transit'))
		SELECT id, payee_id, method, state, batch_id, since FROM late
		WHERE since < now() - interval '3 days' AND (since, id) > ($1, $2) ORDER BY since, id LIMIT $3`, since, id, limit)
	return collect[LatePayout](rows, err, "payouts that are late")
}

// PartReversal is a part of a paid payout that PayPal took back, or the whole of one whose item does not
// say so.
type PartReversal struct {
	ID       string // of PayPal's transaction
	PayoutID string
	PayeeID  string
	Amount   int64
	Currency money.Currency
	Since    time.Time
	Whole    bool // of which nothing is posted
}

// Part is what was taken back.
func (r PartReversal) Part() money.Amount { return money.New(r.Amount, r.Currency) }

// reversals are in SQL what PayPal took back and people are to see: parts, and the whole of what is still
// paid here a day after its item was read again.
const reversals = `SELECT transaction_id COLLATE "C" AS id, payout_id, payee_id, amount, currency, whole, since
	FROM paypal_reversals r JOIN LATERAL (SELECT p.payee_id, p.state, r.currency <> p.currency OR r.amount >= p.net AS whole FROM payouts p
			WHERE p.id = r.payout_id) p ON true
		CROSS JOIN LATERAL (SELECT found_at + CASE WHEN whole THEN interval '1 day' ELSE '0' END AS since) s
	WHERE NOT whole OR state = 'paid' AND since < now()`

// ListPartReversals lists the parts, and the whole payouts whose items do not say so, that were found to be
// taken back in the last two weeks, oldest first and then by id: from the moment on, and at that very moment
// those behind the id.
func ListPartReversals(ctx context.Context, db postgres.DB, since time.Time, id string, limit int) ([]PartReversal, error) {
	rows, err := db.Query(ctx, `SELECT id, payout_id, payee_id, amount, currency, since, whole FROM (`+reversals+`) AS back
		WHERE since > now() - interval '14 days' AND (since, id) > ($1, $2) ORDER BY since, id LIMIT $3`, since, id, limit)
	return collect[PartReversal](rows, err, "parts of payouts that were taken back")
}

// PaidTwice is what PayPal paid of a payout whose money had been released to the payee, or a second time.
type PaidTwice struct {
	ID       string // of PayPal's item
	PayoutID string
	PayeeID  string
	Amount   int64
	Currency money.Currency
	Since    time.Time
	Posted   bool // it is in the books; else a person is to have it recorded
}

// Paid is what the payee has received.
func (p PaidTwice) Paid() money.Amount { return money.New(p.Amount, p.Currency) }

// ListPaidTwice lists what PayPal paid twice, or beside its release, oldest first and then by id: from the
// moment on, and at that very moment what is behind the id. What is in the books at once is listed for two
// weeks, and anything until a person has had it recorded.
func ListPaidTwice(ctx context.Context, db postgres.DB, since time.Time, id string, limit int) ([]PaidTwice, error) {
	rows, err := db.Query(ctx, `SELECT id, payout_id, payee_id, amount, currency, since, posted FROM (`+paidTwice+`) AS twice
		WHERE (since > now() - interval '14 days' OR NOT posted) AND (since, id) > ($1, $2) ORDER BY since, id LIMIT $3`, since, id, limit)
	return collect[PaidTwice](rows, err, "payouts that PayPal paid twice")
}

func collect[T any](rows pgx.Rows, err error, what string) ([]T, error) {
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", what, err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[T])
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", what, err)
	}
	return all, nil
}
