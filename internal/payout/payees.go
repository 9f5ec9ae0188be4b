package payout

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/postgres"
)

// ErrNoPayee says that a customer, if there is one, is not paid.
var ErrNoPayee = errors.New("there is no such payee")

// Profile is what the app says of a payee.
type Profile struct {
	ID              string // the customer's
	Email           string
	Country         string // ISO 3166-1 alpha-2
	Currency        money.Currency
	Rail            Rail
	StripeAccountID string // empty until the payee has one
	PayPalEmail     string
	Schedule        Frequency // empty: the policy's default
	Minimum         int64     // the payee's own threshold in minor units; zero for none
}

// Payee is a customer who is paid.
type Payee struct {
	Profile

	// DestinationID is the account's external account as it was seen last.
	DestinationID        string
	DestinationChangedAt time.Time
	InstantRefusedUntil  *time.Time
	Rejections           int // in a row, by this bank or card
	PayPalRejections     int `db:"paypal_rejections"` // in a row, by this PayPal account
	CreatedAt            time.Time
	UpdatedAt            time.Time
}

// BusyError says that a field cannot change while the payee has money here or on its way.
type BusyError struct{ Field string }

func (e *BusyError) Error() string {
	return e.Field + ": cannot change while the payee has a balance or an open payout"
}

const (
	// payPalCurrency is the one that is sent through PayPal.
	payPalCurrency money.Currency = "usd"
	// maxMinimum keeps sums with a threshold far from overflowing.
	maxMinimum = maxEarning
)

var stripeAccount = regexp.MustCompile(`^acct_[A-Za-z0-9]{1,64}$`)

// validate checks every field and returns a customer.FieldError for the first that is wrong.
func (p Profile) validate() error {
	checks := []func() *customer.FieldError{
		func() *customer.FieldError { return customer.CheckEmail("email", p.Email) },
		func() *customer.FieldError { return customer.CheckCountry("country", p.Country) },
		p.checkCurrency, p.checkRail, p.checkStripeAccount, p.checkPayPalEmail, p.checkSchedule, p.checkMinimum,
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (p Profile) checkCurrency() *customer.FieldError { return checkCurrency(p.Currency) }

func checkCurrency(c money.Currency) *customer.FieldError {
	if known, err := money.ParseCurrency(string(c)); err != nil || known != c {
		return &customer.FieldError{Field: "currency", Reason: "must be an ISO 4217 code in small letters, such as usd"}
	}
	return nil
}

func (p Profile) checkRail() *customer.FieldError {
	switch {
	case p.Rail != RailStripe && p.Rail != RailPayPal:
		return &customer.FieldError{Field: "rail", Reason: "must be stripe or paypal"}
	case p.Rail == RailPayPal && p.Currency != payPalCurrency:
		return &customer.FieldError{Field: "currency", Reason: "must be usd for a payee who is paid by PayPal"}
	case p.Rail == RailPayPal && p.PayPalEmail == "":
		return &customer.FieldError{Field: "paypal_email", Reason: "is missing: a payee who is paid by PayPal has one"}
	}
	return nil
}

func (p Profile) checkStripeAccount() *customer.FieldError {
	if p.StripeAccountID != "" && !stripeAccount.MatchString(p.StripeAccountID) {
		return &customer.FieldError{Field: "stripe_account_id", Reason: "must be the id of a connected account such as acct_1032D82eZvKYlo2C"}
	}
	return nil
}

func (p Profile) checkPayPalEmail() *customer.FieldError {
	if p.PayPalEmail == "" {
		return nil
	}
	if strings.ContainsFunc(p.PayPalEmail, func(r rune) bool { return r > '~' }) {
		return &customer.FieldError{Field: "paypal_email", Reason: "must be of ASCII characters alone: PayPal takes no others"}
	}
	return customer.CheckEmail("paypal_email", p.PayPalEmail)
}

func (p Profile) checkSchedule() *customer.FieldError {
	switch p.Schedule {
	case Daily, Weekly, Monthly, Quarterly:
		return nil
	}
	return &customer.FieldError{Field: "schedule", Reason: "must be daily, weekly, monthly or quarterly"}
}

func (p Profile) checkMinimum() *customer.FieldError {
	if p.Minimum < 0 || p.Minimum > maxMinimum {
		return &customer.FieldError{Field: "minimum", Reason: fmt.Sprintf("must be 1 to %d minor units; leave it away for the platform's own", int64(maxMinimum))}
	}
	return nil
}

// destination is where the payee's money goes, as far as the app decides it. Who is paid by Stripe is
// never paid by PayPal; who is paid by PayPal may have an account too.
func (p Profile) destination() [3]string {
	if p.Rail == RailStripe {
		return [3]string{string(p.Rail), p.StripeAccountID}
	}
	return [3]string{string(p.Rail), p.StripeAccountID, p.PayPalEmail}
}

// contentHash tells a repetition from a change.
func contentHash(content any) ([]byte, error) {
	encoded, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("encode it to compare it: %w", err)
	}
	sum := sha256.Sum256(encoded)
	return sum[:], nil
}

// PutPayee makes a customer a payee, or changes what the app says of one. A new destination starts its
// count of rejections anew, and ends the pause that they brought. Country and currency change only
// while the payee has no money here: else it is a BusyError. A field that is wrong is a
// customer.FieldError; without such a customer it is customer.ErrNotFound.
func (s *Store) PutPayee(ctx context.Context, p Profile) (payee Payee, created bool, err error) {
	if p.Schedule == "" {
		p.Schedule = cmp.Or(s.policy.DefaultSchedule, Weekly)
	}
	if err := p.validate(); err != nil {
		return Payee{}, false, err
	}
	hash, err := contentHash(p)
	if err != nil {
		return Payee{}, false, fmt.Errorf("payee %s: %w", p.ID, err)
	}
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if created, err = insertPayee(ctx, tx, p, hash); err != nil {
			return err
		}
		if created {
			err = s.checkAccount(ctx, tx, p)
		} else {
			err = s.changePayee(ctx, tx, p, hash)
		}
		if err != nil {
			return err
		}
		payee, err = GetPayee(ctx, tx, p.ID)
		return err
	})
	return payee, created, err
}

func insertPayee(ctx context.Context, tx pgx.Tx, p Profile, hash []byte) (created bool, err error) {
	tag, err := tx.Exec(ctx, `INSERT INTO payees (id, email, country, currency, rail, stripe_account_id, paypal_email, schedule, minimum, content_hash)
		VALUES ($1, $2, $3, $4, $5, nullif($6, ''), nullif($7, ''), $8, nullif($9, 0), $10) ON CONFLICT (id) DO NOTHING`, p.columns(hash)...)
	if err != nil {
		return false, putError(p, err)
	}
	return tag.RowsAffected() == 1, nil
}

func (p Profile) columns(hash []byte) []any {
	return []any{
		p.ID, p.Email, p.Country, string(p.Currency), string(p.Rail), p.StripeAccountID, p.PayPalEmail, string(p.Schedule), p.Minimum, hash,
	}
}

// putError tells what is the app's matter from a fault of the database.
func putError(p Profile, err error) error {
	if violation, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch violation.ConstraintName {
		case "payees_stripe_account_id_key":
			return &customer.FieldError{Field: "stripe_account_id", Reason: "belongs to another payee already"}
		case "payees_id_fkey":
			return fmt.Errorf("payee %s: %w", p.ID, customer.ErrNotFound)
		}
	}
	return fmt.Errorf("payee %s: store: %w", p.ID, err)
}

// changePayee carries over what the app says of a payee whom we have. Everything that depends on the
// payee's currency or destination holds the row meanwhile.
func (s *Store) changePayee(ctx context.Context, tx pgx.Tx, p Profile, hash []byte) error {
	var stored []byte
	err := tx.QueryRow(ctx, `SELECT content_hash FROM payees WHERE id = $1 FOR UPDATE`, p.ID).Scan(&stored)
	if err != nil {
		return fmt.Errorf("payee %s: lock: %w", p.ID, err)
	}
	if bytes.Equal(stored, hash) {
		return nil
	}
	before, err := GetPayee(ctx, tx, p.ID)
	if err != nil {
		return err
	}
	if err := mayMove(ctx, tx, before.Profile, p); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE payees SET email = $2, country = $3, currency = $4, rail = $5, stripe_account_id = nullif($6, ''),
			paypal_email = nullif($7, ''), schedule = $8, minimum = nullif($9, 0), content_hash = $10, updated_at = now()
		WHERE id = $1`, p.columns(hash)...)
	if err != nil {
		return putError(p, err)
	}
	if before.destination() == p.destination() {
		return nil
	}
	if err := s.moveDestination(ctx, tx, p.ID, ""); err != nil {
		return err
	}
	return s.checkAccount(ctx, tx, p)
}

// checkAccount has the account looked at to which the payee was linked.
func (s *Store) checkAccount(ctx context.Context, tx pgx.Tx, p Profile) error {
	if p.StripeAccountID == "" {
		return nil
	}
	return outbox.Add(ctx, tx, s.work.CheckAccount(p.ID, fmt.Sprintf("linked/%s/%d", p.StripeAccountID, time.Now().UnixMicro())))
}

// mayMove refuses another country or currency while there is money that knows the old one.
func mayMove(ctx context.Context, tx pgx.Tx, before, after Profile) error {
	var field string
	switch {
	case before.Currency != after.Currency:
		field = "currency"
	case before.Country != after.Country:
		field = "country"
	default:
		return nil
	}
	held, err := ledger.PayeeHolds(ctx, tx, before.ID)
	if err == nil && held {
		err = &BusyError{Field: field}
	}
	return err
}

// moveDestination records that the payee's money goes elsewhere from now on: nothing that happened
// with the old destination, at whatever provider, counts against the new one.
func (s *Store) moveDestination(ctx context.Context, tx pgx.Tx, payeeID, destinationID string) error {
	_, err := tx.Exec(ctx, `UPDATE payees SET destination_id = $2, destination_changed_at = now(), rejections = 0, paypal_rejections = 0,
			updated_at = now()
		WHERE id = $1`, payeeID, destinationID)
	if err != nil {
		return fmt.Errorf("payee %s: record the new destination: %w", payeeID, err)
	}
	if err := forgetUnpaidOf(ctx, tx, payeeID); err != nil {
		return err
	}
	return s.liftRejections(ctx, tx, payeeID)
}

const payeeColumns = `id, email, country, currency, rail, coalesce(stripe_account_id, '') AS stripe_account_id,
	coalesce(paypal_email, '') AS paypal_email, schedule, coalesce(minimum, 0) AS minimum, destination_id, destination_changed_at,
	instant_refused_until, rejections, paypal_rejections, created_at, updated_at`

// GetPayee reads a payee, or gives ErrNoPayee.
func GetPayee(ctx context.Context, db postgres.DB, id string) (Payee, error) {
	rows, err := db.Query(ctx, `SELECT `+payeeColumns+` FROM payees WHERE id = $1`, id)
	if err != nil {
		return Payee{}, fmt.Errorf("payee %s: read: %w", id, err)
	}
	payee, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Payee])
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Payee{}, fmt.Errorf("payee %s: %w", id, ErrNoPayee)
	case err != nil:
		return Payee{}, fmt.Errorf("payee %s: read: %w", id, err)
	}
	return payee, nil
}
