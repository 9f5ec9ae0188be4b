package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/postgres"
)

// ErrPostedOtherwise says that the same event of the same payout, or the same source, was posted with
// other accounts or amounts. Nothing is posted over it.
var ErrPostedOtherwise = errors.New("it is in the ledger already with other accounts or amounts")

// line is one entry: a debit when its amount is positive, a credit when it is negative.
type line struct {
	account Account
	amount  money.Amount
}

// posting is one transaction to be.
type posting struct {
	event    Event
	payoutID string
	epoch    int
	source   string
	dated    date.Date
	lines    []line
	err      error // what is wrong with the amounts, found while it was made
}

// of is a posting that the payout, the event and the epoch name.
func (p Payout) of(event Event, dated date.Date) *posting {
	return &posting{event: event, payoutID: p.ID, epoch: p.Epoch, dated: dated}
}

// from is a posting that its source names.
func from(source string, event Event, dated date.Date) *posting {
	return &posting{event: event, source: source, dated: dated}
}

func (p *posting) debit(a Account, amount money.Amount) *posting {
	if !amount.IsZero() {
		p.lines = append(p.lines, line{a, amount})
	}
	return p
}

func (p *posting) credit(a Account, amount money.Amount) *posting {
	negative, err := amount.Neg()
	p.err = errors.Join(p.err, err)
	return p.debit(a, negative)
}

// positive refuses what is no sum of money.
func (p *posting) positive(amount money.Amount) *posting {
	if amount.Sign() <= 0 {
		p.err = errors.Join(p.err, fmt.Errorf("the amount must be positive, and is %s", amount))
	}
	return p
}

// check finds what the database would refuse, for a clearer error.
func (p *posting) check() error {
	switch {
	case p.err != nil:
		return p.err
	case p.dated.IsZero():
		return errors.New("it has no date")
	case p.payoutID == "" && p.source == "":
		return errors.New("it has neither a payout nor a source")
	case len(p.lines) == 0:
		return errors.New("there is no amount")
	}
	sum := money.Zero(p.currency())
	for _, l := range p.lines {
		var err error
		if sum, err = sum.Add(l.amount); err != nil {
			return err
		}
	}
	if !sum.IsZero() {
		return fmt.Errorf("debits and credits differ by %s", sum)
	}
	return nil
}

func (p *posting) currency() money.Currency { return p.lines[0].amount.Currency }

// name says for people which posting it is.
func (p *posting) name() string {
	if p.source != "" {
		return fmt.Sprintf("%s %s", p.event, p.source)
	}
	return fmt.Sprintf("%s of payout %s, epoch %d", p.event, p.payoutID, p.epoch)
}

// post writes the postings in one statement, and tells how many were not there before. One that is
// there already is left as it is; if it is there with other content, that is ErrPostedOtherwise.
func post(ctx context.Context, tx pgx.Tx, postings ...*posting) (posted int, err error) {
	for _, p := range postings {
		if err := p.check(); err != nil {
			return 0, fmt.Errorf("ledger: %s: %w", p.name(), err)
		}
	}
	fresh, err := insert(ctx, tx, postings)
	if err != nil {
		return 0, fmt.Errorf("ledger: %s: post: %w", postings[0].name(), err)
	}
	for n, p := range postings {
		if slices.Contains(fresh, n) {
			continue
		}
		if err := p.isThere(ctx, tx); err != nil {
			return 0, fmt.Errorf("ledger: %s: %w", p.name(), err)
		}
	}
	return len(fresh), nil
}

// insert gives the places of the postings that were not there before. Ids are taken first, so that
// entries find their transactions; the ids of those that are there already are not used.
func insert(ctx context.Context, tx pgx.Tx, postings []*posting) (fresh []int, err error) {
	var t, e columns
	for n, p := range postings {
		t.add(n, p)
		for _, l := range p.lines {
			e.addLine(n, l)
		}
	}
	rows, err := tx.Query(ctx, `WITH wanted AS (
			SELECT nextval(pg_get_serial_sequence('ledger_transactions', 'id')) AS id, w.*
			FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::int[], $6::text[], $7::date[])
				AS w (n, event, currency, payout_id, epoch, source, dated)),
		posted AS (
			INSERT INTO ledger_transactions (id, event, currency, payout_id, epoch, source, dated)
			SELECT id, event, currency, payout_id, epoch, source, dated FROM wanted ORDER BY n
			ON CONFLICT DO NOTHING RETURNING id),
		entered AS (
			INSERT INTO ledger_entries (transaction_id, event, account, owner, rail, currency, amount, dated)
			SELECT w.id, w.event, l.account, l.owner, l.rail, w.currency, l.amount, w.dated
			FROM posted JOIN wanted w USING (id)
				JOIN unnest($8::int[], $9::text[], $10::text[], $11::text[], $12::bigint[]) AS l (n, account, owner, rail, amount) ON l.n = w.n)
		SELECT n FROM posted JOIN wanted USING (id)`,
		t.n, t.event, t.currency, t.payoutID, t.epoch, t.source, t.dated, e.n, e.account, e.owner, e.rail, e.amount)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int])
}

// columns are rows on their way to Postgres, column by column: of transactions, or of entries.
type columns struct {
	n, epoch                          []int
	event, currency, payoutID, source []string
	dated                             []date.Date
	account, owner, rail              []string
	amount                            []int64
}

func (c *columns) add(n int, p *posting) {
	c.n, c.epoch = append(c.n, n), append(c.epoch, p.epoch)
	c.event, c.currency = append(c.event, string(p.event)), append(c.currency, string(p.currency()))
	c.payoutID, c.source, c.dated = append(c.payoutID, p.payoutID), append(c.source, p.source), append(c.dated, p.dated)
}

func (c *columns) addLine(n int, l line) {
	c.n, c.amount = append(c.n, n), append(c.amount, l.amount.Minor)
	c.account, c.owner = append(c.account, string(l.account.Kind)), append(c.owner, l.account.Owner)
	c.rail = append(c.rail, string(l.account.Rail))
}

// isThere holds what was posted before against the posting. The date may differ: who repeats an event
// may do so on another day.
func (p *posting) isThere(ctx context.Context, db postgres.DB) error {
	rows, err := db.Query(ctx, `SELECT e.event, e.account, e.owner, e.rail, e.amount, e.currency
		FROM ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id
		WHERE CASE WHEN $4 <> '' THEN t.source = $4 ELSE t.payout_id = $1 AND t.event = $2 AND t.epoch = $3 AND t.source = '' END`,
		p.payoutID, p.event, p.epoch, p.source)
	if err != nil {
		return err
	}
	var (
		found []line
		event Event
		l     line
	)
	_, err = pgx.ForEachRow(rows, []any{&event, &l.account.Kind, &l.account.Owner, &l.account.Rail, &l.amount.Minor, &l.amount.Currency}, func() error {
		found = append(found, l)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read what was posted: %w", err)
	}
	if event != p.event || !slices.Equal(sorted(found), sorted(p.lines)) {
		return ErrPostedOtherwise
	}
	return nil
}

func sorted(lines []line) []line {
	return slices.SortedFunc(slices.Values(lines), func(a, b line) int {
		return cmp.Or(cmp.Compare(a.account.Kind, b.account.Kind), cmp.Compare(a.account.Owner, b.account.Owner), cmp.Compare(a.account.Rail, b.account.Rail))
	})
}
