package payout

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
)

// A statement is what happened on a payee's account in the ledger in one month, by business dates. It
// is stored nowhere: its opening balance is everything before the month, and its closing balance that
// and its lines, so that each month goes on where the one before ended.

// Month is a month of the calendar, in UTC. The zero value is none.
type Month struct{ first date.Date }

// ParseMonth reads the form 2026-11.
func ParseMonth(text string) (Month, error) {
	first, err := date.Parse(text + "-01")
	if err != nil || len(text) != len("2026-11") {
		return Month{}, fmt.Errorf("%.20q is not a month, as in 2026-11", text)
	}
	return Month{first}, nil
}

// MonthOf is the month of a date.
func MonthOf(d date.Date) Month { return Month{date.New(d.Year(), d.Month(), 1)} }

// String is the form 2026-11.
func (m Month) String() string { return strings.TrimSuffix(m.first.String(), "-01") }

// First is the first day of the month.
func (m Month) First() date.Date { return m.first }

// Next is the month after.
func (m Month) Next() Month { return MonthOf(m.first.AddDays(31)) }

// LineKind is what a line of a statement is.
type LineKind string

// The kinds of lines, with the event of the ledger that each is and the date on which it counts.
const (
	LineEarning         LineKind = "earning"          // a sale; when it was earned
	LineRefund          LineKind = "refund"           // when it was refunded
	LineChargeback      LineKind = "chargeback"       // when it was charged back
	LineAdjustment      LineKind = "adjustment"       // of the app's, when it says; of an operator's, when it was made
	LineWriteOff        LineKind = "write_off"        // when it was made
	LinePayout          LineKind = "payout"           // when it was claimed: the date of its run, or of the request
	LinePayoutBack      LineKind = "payout_back"      // a payout that was not paid, or came back; when its money was released
	LinePartialReversal LineKind = "partial_reversal" // when we learned that a part of a payout came back
)

// lineKind is in SQL the kind of a line, from the entry e in the ledger and its earning g.
const lineKind = `CASE e.event
	WHEN 'earning' THEN CASE g.kind WHEN 'adjustment' THEN 'adjustment' ELSE 'earning' END
	WHEN 'refund' THEN CASE g.kind WHEN 'chargeback' THEN 'chargeback' ELSE 'refund' END
	WHEN 'claim' THEN 'payout' WHEN 'release' THEN 'payout_back' WHEN 'partly_reversed' THEN 'partial_reversal'
	ELSE e.event END`

// StatementHead is what stands above the lines of a statement.
type StatementHead struct {
	PayeeID  string
	Month    Month
	Currency money.Currency
	Complete bool      // the month is over
	AsOf     time.Time // the moment at which it was read
	Opening  money.Amount
	// OtherCurrencies are those in which the payee's account had something before the month's end.
	OtherCurrencies []money.Currency
}

// StatementLine is something that happened on a payee's account. Its terms are what it changes: below
// zero for what leaves the account.
type StatementLine struct {
	Terms

	Date        date.Date
	Kind        LineKind
	ID          string // of the earning, the correction or the payout
	Description string
	Balance     money.Amount // after it
}

// StatementTotals add up a statement's lines by kind. Together they are what the balance changed by:
// fees of payouts are apart from what was paid.
type StatementTotals struct {
	Earnings         money.Amount
	Refunds          money.Amount
	Chargebacks      money.Amount
	Adjustments      money.Amount
	WriteOffs        money.Amount
	Payouts          money.Amount // without their fees
	PayoutFees       money.Amount // less those that were given back
	PayoutsBack      money.Amount // without their fees
	PartialReversals money.Amount
}

// StatementEnd is what stands below the lines of a statement.
type StatementEnd struct {
	Totals  StatementTotals
	Closing money.Amount
}

// StatementWriter takes a statement from its head to its end. Lines come one by one, so that a month of
// any length takes no memory.
type StatementWriter interface {
	Head(h StatementHead) error
	Line(l StatementLine) error
	End(e StatementEnd) error
}

// StatementMonth reads a month of which there is a statement. What is no month, or one to come, is a
// customer.FieldError.
func StatementMonth(text string) (Month, error) {
	m, err := ParseMonth(text)
	switch {
	case err != nil:
		return Month{}, &customer.FieldError{Field: "month", Reason: "must be a month, as in 2026-11"}
	case m.first.After(today()):
		return Month{}, &customer.FieldError{Field: "month", Reason: "has not begun yet, in UTC"}
	}
	return m, nil
}

// WriteStatement writes the statement of a payee's month, all of it as it is at one moment. No currency
// is the payee's own.
func WriteStatement(ctx context.Context, pool *pgxpool.Pool, payee Payee, month Month, currency money.Currency, w StatementWriter) error {
	if currency == "" {
		currency = payee.Currency
	}
	s := statement{payeeID: payee.ID, month: month, currency: currency}
	err := pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		return s.write(ctx, tx, w)
	})
	if err != nil {
		return fmt.Errorf("payee %s: statement of %s: %w", payee.ID, month, err)
	}
	return nil
}

// statement is one that is being written.
type statement struct {
	payeeID  string
	month    Month
	currency money.Currency
	balance  money.Amount
	totals   StatementTotals
}

func (s *statement) write(ctx context.Context, tx pgx.Tx, w StatementWriter) error {
	head, err := s.head(ctx, tx)
	if err != nil {
		return err
	}
	if err := w.Head(head); err != nil {
		return err
	}
	s.balance, s.totals = head.Opening, noTotals(s.currency)
	if err := s.lines(ctx, tx, w); err != nil {
		return err
	}
	return w.End(StatementEnd{Totals: s.totals, Closing: s.balance})
}

func (s *statement) head(ctx context.Context, tx pgx.Tx) (StatementHead, error) {
	h := StatementHead{PayeeID: s.payeeID, Month: s.month, Currency: s.currency, Opening: money.Zero(s.currency)}
	if err := tx.QueryRow(ctx, `SELECT now()`).Scan(&h.AsOf); err != nil {
		return StatementHead{}, fmt.Errorf("read the time: %w", err)
	}
	h.Complete = !date.Of(h.AsOf).Before(s.month.Next().first)
	rows, err := tx.Query(ctx, `SELECT currency, coalesce(sum(-amount) FILTER (WHERE dated < $2), 0)::bigint FROM ledger_entries
		WHERE account = 'payee' AND owner = $1 AND dated < $3 GROUP BY currency ORDER BY currency`, s.payeeID, s.month.first, s.month.Next().first)
	if err != nil {
		return StatementHead{}, fmt.Errorf("read the opening balance: %w", err)
	}
	opening := money.Amount{}
	_, err = pgx.ForEachRow(rows, []any{&opening.Currency, &opening.Minor}, func() error {
		if opening.Currency == s.currency {
			h.Opening = opening
		} else {
			h.OtherCurrencies = append(h.OtherCurrencies, opening.Currency)
		}
		return nil
	})
	if err != nil {
		return StatementHead{}, fmt.Errorf("read the opening balance: %w", err)
	}
	return h, nil
}

// lines writes the lines in the order of their dates, and of one date in that in which they were posted.
func (s *statement) lines(ctx context.Context, tx pgx.Tx, w StatementWriter) error {
	rows, err := tx.Query(ctx, `SELECT e.dated, `+lineKind+`, CASE t.payout_id WHEN '' THEN split_part(t.source, '/', 3) ELSE t.payout_id END,
			coalesce(g.description, ''), -e.amount, coalesce(p.fee, 0) * sign(-e.amount)::int
		FROM ledger_entries e JOIN ledger_transactions t ON t.id = e.transaction_id
			LEFT JOIN earnings g ON e.event IN ('earning', 'refund') AND g.payee_id = e.owner AND g.id = split_part(t.source, '/', 3)
			LEFT JOIN payouts p ON e.event IN ('claim', 'release') AND p.id = t.payout_id
		WHERE e.account = 'payee' AND e.owner = $1 AND e.currency = $2 AND e.dated >= $3 AND e.dated < $4
		ORDER BY e.dated, e.transaction_id`, s.payeeID, string(s.currency), s.month.first, s.month.Next().first)
	if err != nil {
		return fmt.Errorf("read the lines: %w", err)
	}
	var (
		l          StatementLine
		gross, fee int64
	)
	_, err = pgx.ForEachRow(rows, []any{&l.Date, &l.Kind, &l.ID, &l.Description, &gross, &fee}, func() error {
		l.Gross, l.Fee = money.New(gross, s.currency), money.New(fee, s.currency)
		if err := s.count(&l); err != nil {
			return fmt.Errorf("%s %s: %w", l.Kind, l.ID, err)
		}
		return w.Line(l)
	})
	if err != nil {
		return fmt.Errorf("write the lines: %w", err)
	}
	return nil
}

// count takes a line into the balance and the totals.
func (s *statement) count(l *StatementLine) (err error) {
	if l.Net, err = l.Gross.Sub(l.Fee); err != nil {
		return err
	}
	if s.balance, err = s.balance.Add(l.Gross); err != nil {
		return err
	}
	l.Balance = s.balance
	total := s.totals.of(l.Kind)
	if total == nil {
		return fmt.Errorf("%q is no kind of line that a statement knows", l.Kind)
	}
	if *total, err = total.Add(l.Net); err != nil {
		return err
	}
	s.totals.PayoutFees, err = s.totals.PayoutFees.Add(l.Fee)
	return err
}

func noTotals(c money.Currency) StatementTotals {
	none := money.Zero(c)
	return StatementTotals{none, none, none, none, none, none, none, none, none}
}

// of is the total that lines of a kind are added to.
func (t *StatementTotals) of(kind LineKind) *money.Amount {
	switch kind {
	case LineEarning:
		return &t.Earnings
	case LineRefund:
		return &t.Refunds
	case LineChargeback:
		return &t.Chargebacks
	case LineAdjustment:
		return &t.Adjustments
	case LineWriteOff:
		return &t.WriteOffs
	case LinePayout:
		return &t.Payouts
	case LinePayoutBack:
		return &t.PayoutsBack
	case LinePartialReversal:
		return &t.PartialReversals
	}
	return nil
}
