package ledger_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

const (
	ada     = "u_ada"
	grace   = "u_grace"
	account = "acct_ada"
)

// friday is the date of most of what happens here.
var friday = date.New(2026, time.November, 20)

func usd(minor int64) money.Amount { return money.New(minor, "usd") }

// instant is Ada's payout of RULES.md's example, by Stripe.
func instant() ledger.Payout {
	return ledger.Payout{ID: "po_1", PayeeID: ada, Rail: ledger.Stripe, AccountID: account, Gross: usd(10000), Fee: usd(292), Epoch: 1}
}

// itemOf is the same by PayPal.
func itemOf(p ledger.Payout) ledger.Payout {
	p.Rail, p.AccountID = ledger.PayPal, ""
	return p
}

func withoutFee(p ledger.Payout) ledger.Payout {
	p.Fee = usd(0)
	return p
}

type bundle struct{ pool *pgxpool.Pool }

func setup(t *testing.T) bundle {
	t.Helper()
	return bundle{postgrestest.New(t)}
}

// act posts something in a transaction of its own.
type act func(ctx context.Context, tx pgx.Tx) error

func (b bundle) try(t *testing.T, do act) error {
	t.Helper()
	return postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error { return do(t.Context(), tx) })
}

func (b bundle) do(t *testing.T, acts ...act) {
	t.Helper()
	for _, do := range acts {
		require.NoError(t, b.try(t, do))
	}
}

// entries are the ledger's, in the order in which they were posted: "earning app 100.00".
func (b bundle) entries(t *testing.T) []string {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `SELECT event, account, owner || rail, amount, currency FROM ledger_entries
		ORDER BY transaction_id, amount < 0, account`)
	require.NoError(t, err)
	entries, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var (
			event, kind, of string
			amount          money.Amount
		)
		err := row.Scan(&event, &kind, &of, &amount.Minor, &amount.Currency)
		if of != "" {
			kind += " " + of
		}
		return fmt.Sprintf("%s: %s %s", event, kind, amount.Decimal()), err
	})
	require.NoError(t, err)
	return entries
}

func (b bundle) balance(t *testing.T, a ledger.Account) int64 {
	t.Helper()
	found, err := ledger.Balance(t.Context(), b.pool, a, "usd")
	require.NoError(t, err)
	return found.Minor
}

func (b bundle) payable(t *testing.T, payeeID string, cutoff date.Date) int64 {
	t.Helper()
	found, err := ledger.Payable(t.Context(), b.pool, payeeID, "usd", cutoff)
	require.NoError(t, err)
	return found.Minor
}

func earning(payeeID string, a money.Amount, dated date.Date, id string) act {
	return func(ctx context.Context, tx pgx.Tx) error {
		return ledger.Earning(ctx, tx, payeeID, a, dated, "earning/"+payeeID+"/"+id)
	}
}

func refund(payeeID string, a money.Amount, dated date.Date, id string) act {
	return func(ctx context.Context, tx pgx.Tx) error {
		return ledger.Refund(ctx, tx, payeeID, a, dated, "earning/"+payeeID+"/"+id)
	}
}

func claim(payouts ...ledger.Payout) act {
	return func(ctx context.Context, tx pgx.Tx) error { return ledger.Claim(ctx, tx, friday, payouts...) }
}

// on is what happens to a payout on Friday.
func on(p ledger.Payout, post func(context.Context, pgx.Tx, ledger.Payout, date.Date) error) act {
	return func(ctx context.Context, tx pgx.Tx) error { return post(ctx, tx, p, friday) }
}

// ending is the same of what releases.
func ending(p ledger.Payout, post func(context.Context, pgx.Tx, ledger.Payout, date.Date) (bool, error)) act {
	return func(ctx context.Context, tx pgx.Tx) error {
		_, err := post(ctx, tx, p, friday)
		return err
	}
}

func reversed(p ledger.Payout, received money.Amount) act {
	return func(ctx context.Context, tx pgx.Tx) error {
		_, err := ledger.ReversalConfirmed(ctx, tx, p, received, friday)
		return err
	}
}

func resolvedFailed(p ledger.Payout, received money.Amount) act {
	return func(ctx context.Context, tx pgx.Tx) error {
		_, err := ledger.ResolvedFailed(ctx, tx, p, received, friday)
		return err
	}
}
