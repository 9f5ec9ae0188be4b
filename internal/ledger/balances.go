package ledger

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/postgres"
)

// Balance is what is on an account, whatever its entries' dates: credits minus debits of a liability or
// an income, debits minus credits of an asset or a cost.
func Balance(ctx context.Context, db postgres.DB, a Account, currency money.Currency) (money.Amount, error) {
	return balance(ctx, db, a, currency, "")
}

// BalanceAt is Balance at the end of a day.
func BalanceAt(ctx context.Context, db postgres.DB, a Account, currency money.Currency, day date.Date) (money.Amount, error) {
	return balance(ctx, db, a, currency, " AND dated <= $6", day)
}

func balance(ctx context.Context, db postgres.DB, a Account, currency money.Currency, and string, args ...any) (money.Amount, error) {
	sign := 1
	if a.Kind.raisedByCredits() {
		sign = -1
	}
	found := money.Zero(currency)
	err := db.QueryRow(ctx, `SELECT coalesce(sum(amount) * $5::int, 0)::bigint FROM ledger_entries
		WHERE account = $1 AND owner = $2 AND rail = $3 AND currency = $4`+and,
		append([]any{a.Kind, a.Owner, a.Rail, currency, sign}, args...)...).Scan(&found.Minor)
	if err != nil {
		return money.Amount{}, fmt.Errorf("ledger: balance of %s %s: %w", a.Kind, a.Owner, err)
	}
	return found, nil
}

// PayeeHolds says whether there is anything, above or below zero, on a payee's accounts in any
// currency, or in a payout of the payee's.
func PayeeHolds(ctx context.Context, db postgres.DB, payeeID string) (bool, error) {
	var held bool
	err := db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM ledger_entries WHERE account IN ('payee', 'in_payout') AND owner = $1
		GROUP BY account, currency HAVING sum(amount) <> 0)`, payeeID).Scan(&held)
	if err != nil {
		return false, fmt.Errorf("ledger: payee %s: see whether anything is held: %w", payeeID, err)
	}
	return held, nil
}

// payable is RULES.md's credits dated up to the cutoff − all debits of any date − claims not released:
// everything on a payee's account but the credits after the cutoff. A release is no such credit,
// whatever its date: it gives back what a claim took.
const payable = `coalesce(-sum(amount) FILTER (WHERE amount > 0 OR dated <= cutoff OR event = 'release'), 0)::bigint`

// Payable is what a payee can be paid of what was earned up to the cutoff; it may be below zero.
func Payable(ctx context.Context, db postgres.DB, payeeID string, currency money.Currency, cutoff date.Date) (money.Amount, error) {
	found, err := Payables(ctx, db, []Cutoff{{PayeeID: payeeID, Currency: currency, Date: cutoff}})
	if err != nil {
		return money.Amount{}, err
	}
	return found[0], nil
}

// Cutoff asks what a payee can be paid of what was earned up to a date.
type Cutoff struct {
	PayeeID  string
	Currency money.Currency
	Date     date.Date
}

// Payables answers any number of questions in one round trip, in their order.
func Payables(ctx context.Context, db postgres.DB, asked []Cutoff) ([]money.Amount, error) {
	var (
		payees, currencies []string
		dates              []date.Date
	)
	for _, c := range asked {
		payees, currencies, dates = append(payees, c.PayeeID), append(currencies, string(c.Currency)), append(dates, c.Date)
	}
	rows, err := db.Query(ctx, `SELECT (SELECT `+payable+` FROM ledger_entries e
			WHERE e.account = 'payee' AND e.owner = c.payee AND e.currency = c.currency), c.currency
		FROM unnest($1::text[], $2::text[], $3::date[]) WITH ORDINALITY AS c (payee, currency, cutoff, n) ORDER BY n`, payees, currencies, dates)
	if err != nil {
		return nil, fmt.Errorf("ledger: what payees can be paid: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[money.Amount])
	if err != nil {
		return nil, fmt.Errorf("ledger: what payees can be paid: %w", err)
	}
	return found, nil
}

// PayeePayable is what one payee can be paid.
type PayeePayable struct {
	PayeeID string
	Amount  money.Amount
}

// PayablePage lists what everybody in the ledger can be paid of what was earned up to one cutoff, by
// payee id and then by currency, behind the given place; the zero value is the beginning.
func PayablePage(ctx context.Context, db postgres.DB, cutoff date.Date, after PayeePayable, limit int) ([]PayeePayable, error) {
	rows, err := db.Query(ctx, `SELECT owner, `+payable+`, currency
		FROM (SELECT account, owner, currency, amount, dated, event, $1::date AS cutoff FROM ledger_entries) e
		WHERE account = 'payee' AND (owner, currency) > ($2::text, $3::text)
		GROUP BY owner, currency ORDER BY owner, currency LIMIT $4`, cutoff, after.PayeeID, after.Amount.Currency, limit)
	if err != nil {
		return nil, fmt.Errorf("ledger: what everybody can be paid: %w", err)
	}
	var (
		page []PayeePayable
		p    PayeePayable
	)
	_, err = pgx.ForEachRow(rows, []any{&p.PayeeID, &p.Amount.Minor, &p.Amount.Currency}, func() error {
		page = append(page, p)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ledger: what everybody can be paid: %w", err)
	}
	return page, nil
}

// TrialLine is one line of a trial balance: all accounts of a kind, of one rail where it has any.
type TrialLine struct {
	Currency money.Currency `json:"currency"`
	Account  Kind           `json:"account"`
	Rail     Rail           `json:"rail,omitempty"`
	Debits   int64          `json:"debits"`
	Credits  int64          `json:"credits"`
	Balance  int64          `json:"balance"` // debits − credits
}

// TrialBalance adds up every account at the end of a day; at no day, everything there is.
func TrialBalance(ctx context.Context, db postgres.DB, day date.Date) ([]TrialLine, error) {
	rows, err := db.Query(ctx, `SELECT currency, account, rail, coalesce(sum(amount) FILTER (WHERE amount > 0), 0)::bigint,
			coalesce(-sum(amount) FILTER (WHERE amount < 0), 0)::bigint, sum(amount)::bigint
		FROM ledger_entries WHERE $1::date IS NULL OR dated <= $1 GROUP BY currency, account, rail ORDER BY currency, account, rail`, day)
	if err != nil {
		return nil, fmt.Errorf("ledger: trial balance: %w", err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowToStructByPos[TrialLine])
	if err != nil {
		return nil, fmt.Errorf("ledger: trial balance: %w", err)
	}
	return lines, nil
}
