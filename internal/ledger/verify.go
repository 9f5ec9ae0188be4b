package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast/holdfast/internal/date"
)

// Report is what Verify found.
type Report struct {
	Trial  []TrialLine `json:"trial_balance"`
	Checks []Check     `json:"checks"`
}

// Check is one invariant, held against the whole ledger.
type Check struct {
	Invariant  string   `json:"invariant"`
	Violations int64    `json:"violations"`
	Examples   []string `json:"examples,omitempty"` // a few of what violates it
}

// Holds says whether nothing violates it.
func (c Check) Holds() bool { return c.Violations == 0 }

// String is the check in a sentence.
func (c Check) String() string {
	if c.Holds() {
		return c.Invariant + ": holds"
	}
	return fmt.Sprintf("%s: does not hold in %d cases, as in %s", c.Invariant, c.Violations, strings.Join(c.Examples, ", "))
}

// Err is nil when every invariant holds, and else says which do not.
func (r Report) Err() error {
	var violated error
	for _, c := range r.Checks {
		if !c.Holds() {
			violated = errors.Join(violated, errors.New(c.String()))
		}
	}
	if violated == nil {
		return nil
	}
	return fmt.Errorf("the ledger is not sound: %w", violated)
}

// Verify adds up the whole ledger and holds the invariants of RULES.md against it and against the
// payouts, all as of one moment: it can run while everything else does.
func Verify(ctx context.Context, pool *pgxpool.Pool) (Report, error) {
	var r Report
	moment := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, pool, moment, func(tx pgx.Tx) (err error) {
		if r.Trial, err = TrialBalance(ctx, tx, date.Date{}); err != nil {
			return err
		}
		for _, i := range invariants() {
			c := Check{Invariant: i.says}
			const examples = 3
			err := tx.QueryRow(ctx, `SELECT count(*), (coalesce(array_agg(what ORDER BY what), '{}'))[1:$1::int] FROM (`+i.violations+`) violations (what)`, examples).
				Scan(&c.Violations, &c.Examples)
			if err != nil {
				return fmt.Errorf("ledger: verify that %s: %w", i.says, err)
			}
			r.Checks = append(r.Checks, c)
		}
		return nil
	})
	return r, err
}

// perPayout sets what the ledger has of each payout beside the payout's own row. It is the one place
// where the ledger reads payouts.
const perPayout = `WITH posted AS (
		SELECT t.payout_id,
			coalesce(-sum(e.amount) FILTER (WHERE e.account = 'in_payout'), 0) AS in_payout,
			coalesce(-sum(e.amount) FILTER (WHERE e.account = 'fees'), 0) AS fees,
			coalesce(sum(e.amount) FILTER (WHERE e.account = 'acct'), 0) AS acct,
			coalesce(sum(e.amount) FILTER (WHERE e.account = 'transit'), 0) AS transit,
			count(*) FILTER (WHERE e.event = 'release' AND e.account = 'payee') AS releases
		FROM ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id GROUP BY t.payout_id),
	both_sides AS (
		SELECT coalesce(p.id, nullif(l.payout_id, ''), 'what is posted for no payout') AS id, p.state, p.gross, p.fee,
			coalesce(p.state IN ('planned', 'sending', 'in_transit', 'unclaimed', 'held'), false) AS open,
			coalesce(l.in_payout, 0) AS in_payout, coalesce(l.fees, 0) AS fees, coalesce(l.acct, 0) AS acct,
			coalesce(l.transit, 0) AS transit, coalesce(l.releases, 0) AS releases
		FROM payouts p FULL JOIN posted l ON l.payout_id = p.id) `

// invariant is what must hold, and the statement that lists what violates it.
type invariant struct{ says, violations string }

func invariants() []invariant {
	return []invariant{
		{
			"every transaction sums to zero, in one currency and of one date",
			`SELECT 'transaction ' || t.id FROM ledger_transactions t LEFT JOIN ledger_entries e ON e.transaction_id = t.id
			GROUP BY t.id HAVING sum(e.amount) IS DISTINCT FROM 0
				OR NOT bool_and((e.event, e.currency, e.dated) = (t.event, t.currency, t.dated))`,
		},
		{
			"what is in payouts is the gross of all that are planned, sending, in transit, unclaimed or held",
			`SELECT currency FROM (SELECT currency, -amount AS amount FROM ledger_entries WHERE account = 'in_payout'
				UNION ALL SELECT currency, -gross FROM payouts WHERE state IN ('planned', 'sending', 'in_transit', 'unclaimed', 'held')) both_sides
			GROUP BY currency HAVING sum(amount) <> 0`,
		},
		{
			"the same, payout by payout",
			perPayout + `SELECT id FROM both_sides WHERE in_payout <> CASE WHEN open THEN gross ELSE 0 END`,
		},
		{
			"of a payout that has ended nothing is on a connected account or on its way",
			perPayout + `SELECT id FROM both_sides WHERE NOT open AND (acct <> 0 OR transit <> 0)`,
		},
		{
			"fees come from paid payouts alone",
			perPayout + `SELECT id FROM both_sides WHERE fees <> CASE WHEN state = 'paid' THEN fee ELSE 0 END`,
		},
		{
			"what ended without being paid was released, once, and nothing else was",
			perPayout + `SELECT id FROM both_sides WHERE releases <> CASE WHEN state IN ('failed', 'canceled', 'returned') THEN 1 ELSE 0 END`,
		},
	}
}
