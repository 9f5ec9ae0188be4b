package payout

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/postgres"
)

// Balances are what became of everything that a payee earned: together they are all of it.
type Balances struct {
	Pending   money.Amount // of today; it is available tomorrow
	Available money.Amount // payable through yesterday; below zero for a debt
	InPayout  money.Amount // claimed for payouts that are under way
	Paid      money.Amount // what was paid, with the fees, less what came back
}

// LoadBalances reads what is known of a payee and their balances, all of one moment.
func LoadBalances(ctx context.Context, pool *pgxpool.Pool, id string, at time.Time) (f Facts, b Balances, err error) {
	err = pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if f, err = LoadFactsOf(ctx, tx, id, at); err != nil {
			return err
		}
		held, err := loadHoldings(ctx, tx, id, f.Currency)
		if err != nil {
			return err
		}
		b.InPayout, b.Paid = held.InPayout, held.Paid
		b.Available = f.Payable(date.Of(at).AddDays(-1))
		if b.Pending, err = held.Balance.Sub(b.Available); err != nil {
			return fmt.Errorf("payee %s: what is pending: %w", id, err)
		}
		return nil
	})
	return f, b, err
}

// holdings are the sums of a payee's accounts in the ledger.
type holdings struct{ Balance, InPayout, Paid money.Amount }

// loadHoldings adds up a payee's accounts. What was paid is what left in_payout for good, less what the
// provider gave back of it.
func loadHoldings(ctx context.Context, db postgres.DB, id string, currency money.Currency) (holdings, error) {
	h := holdings{money.Zero(currency), money.Zero(currency), money.Zero(currency)}
	err := db.QueryRow(ctx, `SELECT coalesce(sum(-amount) FILTER (WHERE account = 'payee'), 0)::bigint,
			coalesce(sum(-amount) FILTER (WHERE account = 'in_payout'), 0)::bigint,
			coalesce(sum(amount) FILTER (WHERE account = 'in_payout' AND event IN ('paid', 'returned', 'item_reversed')
				OR account = 'payee' AND event = 'partly_reversed'), 0)::bigint
		FROM ledger_entries WHERE account IN ('payee', 'in_payout') AND owner = $1 AND currency = $2`, id, string(currency)).
		Scan(&h.Balance.Minor, &h.InPayout.Minor, &h.Paid.Minor)
	if err != nil {
		return holdings{}, fmt.Errorf("payee %s: add up its accounts: %w", id, err)
	}
	return h, nil
}
