package payout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/postgres"
)

// EarningKind says what an earning is; it gives the sign.
type EarningKind string

// The kinds of earnings. Sales and adjustments are the payee's gain, the others their loss.
const (
	Sale       EarningKind = "sale"
	Refund     EarningKind = "refund"
	Chargeback EarningKind = "chargeback"
	Adjustment EarningKind = "adjustment"
)

// ErrEarningConflict means that the payee has an earning with this id and other content.
var ErrEarningConflict = errors.New("an earning with this id and other content exists")

const (
	// maxEarning keeps sums of thousands of the largest earnings from overflowing.
	maxEarning = 1_000_000_000_000_000
	// aheadOfNow is how far another machine's clock may be before ours.
	aheadOfNow     = 5 * time.Minute
	maxDescription = 500
	maxID          = 128
)

// firstYear is before anything was ever earned here.
const firstYear = 2000

// Earning is something that a payee earned, or that was taken back.
type Earning struct {
	ID          string // the app's own, unique among the payee's
	Kind        EarningKind
	Amount      money.Amount // above zero
	OccurredAt  time.Time
	Description string
	CreatedAt   time.Time // zero in what is to be stored
}

// Date is the business date on which it counts.
func (e Earning) Date() date.Date { return date.Of(e.OccurredAt) }

func (e Earning) isGain() bool { return e.Kind == Sale || e.Kind == Adjustment }

// validate checks every field and returns a customer.FieldError for the first that is wrong.
func (e Earning) validate(now time.Time) error {
	checks := []func() *customer.FieldError{
		func() *customer.FieldError { return checkID(e.ID) },
		e.checkKind,
		func() *customer.FieldError { return checkCurrency(e.Amount.Currency) },
		e.checkAmount,
		func() *customer.FieldError { return e.checkOccurrence(now) },
		e.checkDescription,
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func checkID(id string) *customer.FieldError {
	if !customer.ValidID(id) {
		return &customer.FieldError{Field: "id", Reason: fmt.Sprintf("must be 1 to %d letters, digits or _ . : - and begin with a letter or digit", maxID)}
	}
	return nil
}

func (e Earning) checkKind() *customer.FieldError {
	switch e.Kind {
	case Sale, Refund, Chargeback, Adjustment:
		return nil
	}
	return &customer.FieldError{Field: "kind", Reason: "must be sale, refund, chargeback or adjustment"}
}

func (e Earning) checkAmount() *customer.FieldError {
	if e.Amount.Minor < 1 || e.Amount.Minor > maxEarning {
		return &customer.FieldError{Field: "amount", Reason: fmt.Sprintf("must be 1 to %d minor units; the kind gives the sign", int64(maxEarning))}
	}
	return nil
}

func (e Earning) checkOccurrence(now time.Time) *customer.FieldError {
	switch {
	case e.OccurredAt.After(now.Add(aheadOfNow)):
		return &customer.FieldError{Field: "occurred_at", Reason: "must not be more than 5 minutes in the future"}
	case e.OccurredAt.UTC().Year() < firstYear:
		return &customer.FieldError{Field: "occurred_at", Reason: fmt.Sprintf("must be the time at which it was earned, not one before the year %d", firstYear)}
	}
	return nil
}

func (e Earning) checkDescription() *customer.FieldError {
	if len(e.Description) > maxDescription || strings.ContainsRune(e.Description, 0) {
		return &customer.FieldError{Field: "description", Reason: fmt.Sprintf("must be at most %d bytes, none of them NUL", maxDescription)}
	}
	return nil
}

// PutEarning stores an earning and posts it, in one transaction. The same id and content again gives
// the earning as it is, with created false; other content is ErrEarningConflict. A field that is wrong
// is a customer.FieldError.
func (s *Store) PutEarning(ctx context.Context, payeeID string, e Earning) (stored Earning, created bool, err error) {
	e.OccurredAt = e.OccurredAt.UTC().Truncate(time.Microsecond) // as Postgres keeps it
	e.CreatedAt = time.Time{}
	if err := e.validate(time.Now()); err != nil {
		return Earning{}, false, err
	}
	hash, err := contentHash(e)
	if err != nil {
		return Earning{}, false, fmt.Errorf("payee %s: earning %s: %w", payeeID, e.ID, err)
	}
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		stored, created, err = putEarning(ctx, tx, payeeID, e, hash)
		return err
	})
	return stored, created, err
}

func putEarning(ctx context.Context, tx pgx.Tx, payeeID string, e Earning, hash []byte) (stored Earning, created bool, err error) {
	// The payee's currency cannot change before this is posted, and one who claims what is payable
	// sees it or comes before it.
	if err := holdCurrency(ctx, tx, payeeID, e.Amount.Currency); err != nil {
		return Earning{}, false, err
	}
	tag, err := tx.Exec(ctx, `INSERT INTO earnings (payee_id, id, kind, amount, currency, occurred_at, description, content_hash)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (payee_id, id) DO NOTHING`,
		payeeID, e.ID, string(e.Kind), e.Amount.Minor, string(e.Amount.Currency), e.OccurredAt, e.Description, hash)
	if err != nil {
		return Earning{}, false, fmt.Errorf("payee %s: store earning %s: %w", payeeID, e.ID, err)
	}
	if created = tag.RowsAffected() == 1; created {
		if err := postEarning(ctx, tx, payeeID, e); err != nil {
			return Earning{}, false, err
		}
	}
	var storedHash []byte
	stored = e
	err = tx.QueryRow(ctx, `SELECT content_hash, created_at FROM earnings WHERE payee_id = $1 AND id = $2`, payeeID, e.ID).
		Scan(&storedHash, &stored.CreatedAt)
	switch {
	case err != nil:
		return Earning{}, false, fmt.Errorf("payee %s: read earning %s: %w", payeeID, e.ID, err)
	case !bytes.Equal(storedHash, hash):
		return Earning{}, false, fmt.Errorf("payee %s: earning %s: %w", payeeID, e.ID, ErrEarningConflict)
	}
	return stored, created, nil
}

// holdCurrency keeps the payee's currency as it is until the transaction ends, and refuses another.
func holdCurrency(ctx context.Context, tx pgx.Tx, payeeID string, currency money.Currency) error {
	var own money.Currency
	err := tx.QueryRow(ctx, `SELECT currency FROM payees WHERE id = $1 FOR SHARE`, payeeID).Scan(&own)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("payee %s: %w", payeeID, ErrNoPayee)
	case err != nil:
		return fmt.Errorf("payee %s: lock: %w", payeeID, err)
	case own != currency:
		return &customer.FieldError{Field: "currency", Reason: "must be the payee's own, " + string(own)}
	}
	return nil
}

func postEarning(ctx context.Context, tx pgx.Tx, payeeID string, e Earning) error {
	source := "earning/" + payeeID + "/" + e.ID
	if e.isGain() {
		return ledger.Earning(ctx, tx, payeeID, e.Amount, e.Date(), source)
	}
	return ledger.Refund(ctx, tx, payeeID, e.Amount, e.Date(), source)
}

// EarningCursor is a place in the list of a payee's earnings; the zero value is its beginning.
type EarningCursor struct {
	OccurredAt time.Time `json:"at"`
	ID         string    `json:"id"`
}

// Cursor is the place right after the earning.
func (e Earning) Cursor() EarningCursor { return EarningCursor{OccurredAt: e.OccurredAt, ID: e.ID} }

// ListEarnings lists a payee's earnings behind the cursor, those that happened last first.
func ListEarnings(ctx context.Context, db postgres.DB, payeeID string, after EarningCursor, limit int) ([]Earning, error) {
	rows, err := db.Query(ctx, `SELECT id, kind, amount, currency, occurred_at, description, created_at FROM earnings
		WHERE payee_id = $1 AND ($2 = '' OR (occurred_at, id) < ($3, $2))
		ORDER BY occurred_at DESC, id DESC LIMIT $4`, payeeID, after.ID, after.OccurredAt, limit)
	if err != nil {
		return nil, fmt.Errorf("payee %s: list its earnings: %w", payeeID, err)
	}
	earnings, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e Earning, err error) {
		err = row.Scan(&e.ID, &e.Kind, &e.Amount.Minor, &e.Amount.Currency, &e.OccurredAt, &e.Description, &e.CreatedAt)
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("payee %s: list its earnings: %w", payeeID, err)
	}
	return earnings, nil
}
