package payout_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
)

// friday is a date on which weekly payees are paid what they earned through the Friday before.
const (
	friday     = "2026-03-06"
	covered    = "2026-02-27"
	nextFriday = "2026-03-13"
	plenty     = 1_000_000_000
)

// ready makes payees who can be paid, and who have been with us for a while.
func (b bundle) ready(t *testing.T, ids ...string) {
	t.Helper()
	b.enroll(t, ids...)
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		for _, id := range ids {
			seen := account(time.Now())
			seen.PayeeID, seen.StripeAccountID = id, profile(id).StripeAccountID
			if err := b.store.PutAccountSnapshot(ctx, tx, seen); err != nil {
				return err
			}
		}
		return nil
	})
	b.exec(t, `UPDATE payees SET created_at = '2026-02-28', destination_changed_at = '2026-01-01' WHERE id = ANY ($1)`, ids)
}

// fund records what the platform has at Stripe.
func (b bundle) fund(t *testing.T, minor int64) {
	t.Helper()
	now, err := postgres.Now(t.Context(), b.pool)
	require.NoError(t, err)
	require.NoError(t, b.store.RecordFunds(t.Context(), payout.RailStripe, []money.Amount{cents(minor)}, now))
}

// begin begins a run, if nobody has.
func (b bundle) begin(t *testing.T, on string) date.Date {
	t.Helper()
	_, _, err := b.store.BeginRun(t.Context(), civil(t, on), "schedule", "")
	require.NoError(t, err)
	return civil(t, on)
}

// compute plans all slices of a run.
func (b bundle) compute(ctx context.Context, on date.Date, limit int) error {
	for {
		slice, err := b.store.PlanSlice(ctx, on, limit)
		if err != nil {
			return err
		}
		if slice.Done {
			break
		}
	}
	_, err := b.store.ConfirmComputed(ctx, on)
	return err
}

// plan begins and computes a run, and gives its payouts in the order of their payees and parts.
func (b bundle) plan(t *testing.T, on string) []payout.Payout {
	t.Helper()
	require.NoError(t, b.compute(t.Context(), b.begin(t, on), 2))
	return b.planned(t, on)
}

func (b bundle) planned(t *testing.T, on string) []payout.Payout {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `SELECT id FROM payouts WHERE run_date = $1 ORDER BY payee_id, part, attempt`, on)
	require.NoError(t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	all := make([]payout.Payout, len(ids))
	for i, id := range ids {
		all[i] = b.payout(t, id)
	}
	return all
}

// one gives the id of ada's planned payout of 100.00.
func (b bundle) one(t *testing.T) string {
	t.Helper()
	b.ready(t, ada)
	b.earn(t, ada, "sale", payout.Sale, 10_000, covered)
	b.fund(t, plenty)
	all := b.plan(t, friday)
	require.Len(t, all, 1)
	return all[0].ID
}

func (b bundle) payout(t *testing.T, id string) payout.Payout {
	t.Helper()
	p, err := payout.GetPayout(t.Context(), b.pool, id)
	require.NoError(t, err)
	return p
}

// try runs one step of a payout's life in a transaction of its own.
func (b bundle) try(ctx context.Context, step func(ctx context.Context, tx pgx.Tx) error) error {
	return postgres.InTx(ctx, b.pool, func(tx pgx.Tx) error { return step(ctx, tx) })
}

// step is a step of a payout's life.
type step struct {
	name string
	do   func(ctx context.Context, tx pgx.Tx, id string) error
}

// steps are those of a payout at Stripe. Objects there are named after the payout.
func (b bundle) steps() map[string]step {
	all := map[string]step{}
	add := func(name string, do func(context.Context, pgx.Tx, string) error) { all[name] = step{name, do} }
	arrival := date.New(2026, time.March, 10)
	add("start", func(ctx context.Context, tx pgx.Tx, id string) error {
		_, err := b.store.Start(ctx, tx, id)
		return err
	})
	add("transfer", func(ctx context.Context, tx pgx.Tx, id string) error {
		return b.store.TransferConfirmed(ctx, tx, id, "tr_"+id)
	})
	add("payout", func(ctx context.Context, tx pgx.Tx, id string) error {
		return b.store.PayoutConfirmed(ctx, tx, id, "pos_"+id, arrival)
	})
	add("paid", b.store.Paid)
	add("fail", func(ctx context.Context, tx pgx.Tx, id string) error {
		return b.store.PayoutFailed(ctx, tx, id, payout.Failure{Class: "rejected", Code: "account_closed", Message: "The bank account is closed."})
	})
	add("cancel at Stripe", func(ctx context.Context, tx pgx.Tx, id string) error {
		return b.store.PayoutFailed(ctx, tx, id, payout.Failure{Class: "rejected", Code: "canceled", Ending: payout.Canceled})
	})
	add("return", func(ctx context.Context, tx pgx.Tx, id string) error {
		return b.store.Returned(ctx, tx, id, payout.Failure{Class: "rejected", Code: "no_account"})
	})
	add("reverse", func(ctx context.Context, tx pgx.Tx, id string) error {
		p, err := payout.GetPayout(ctx, tx, id)
		if err != nil {
			return err
		}
		return b.store.ReversalConfirmed(ctx, tx, id, "trr_"+id, p.Net)
	})
	add("refuse", func(ctx context.Context, tx pgx.Tx, id string) error {
		return b.store.TransferRefused(ctx, tx, id, payout.Failure{Class: "rejected", Code: "account_invalid"})
	})
	add("hold", func(ctx context.Context, tx pgx.Tx, id string) error {
		return b.store.Hold(ctx, tx, id, "outcome_unknown")
	})
	add("cancel", func(ctx context.Context, tx pgx.Tx, id string) error {
		return b.store.Cancel(ctx, tx, id, "olga", "as the payee asked")
	})
	add("cancel planned", func(ctx context.Context, tx pgx.Tx, id string) error {
		return b.store.CancelPlanned(ctx, tx, id, payout.BecausePayoutsDisabled)
	})
	add("resolve paid", func(ctx context.Context, tx pgx.Tx, id string) error {
		return b.store.Resolve(ctx, tx, id, payout.Resolution{
			Outcome: payout.Paid, TransferID: "tr_" + id, ProviderPayoutID: "pos_" + id, Actor: "olga", Note: "the bank has it",
		})
	})
	add("resolve failed", func(ctx context.Context, tx pgx.Tx, id string) error {
		p, err := payout.GetPayout(ctx, tx, id)
		if err != nil {
			return err
		}
		r := payout.Resolution{Outcome: payout.Failed, Actor: "olga", Note: "reversed by hand"}
		if p.TransferID != "" {
			r.Received = p.Net
		}
		return b.store.Resolve(ctx, tx, id, r)
	})
	return all
}

// live takes steps, each of which has to succeed, also when it is repeated.
func (b bundle) live(t *testing.T, id string, names ...string) payout.Payout {
	t.Helper()
	all := b.steps()
	for _, name := range names {
		for range 2 {
			require.NoError(t, b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error { return all[name].do(ctx, tx, id) }), name)
		}
	}
	return b.payout(t, id)
}

// notAllowed takes a step that the payout's state does not allow, and sees that it changes nothing.
func (b bundle) notAllowed(t *testing.T, id, name string) {
	t.Helper()
	before, ledgerBefore := b.payout(t, id), b.read(t, `SELECT count(*) FROM ledger_transactions`)
	err := b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error { return b.steps()[name].do(ctx, tx, id) })
	require.ErrorIs(t, err, payout.ErrState, name)
	require.Equal(t, before, b.payout(t, id))
	require.Equal(t, ledgerBefore, b.read(t, `SELECT count(*) FROM ledger_transactions`))
}

// sound proves the ledger, and that every ending but paid released its money exactly once.
func (b bundle) sound(t *testing.T) {
	t.Helper()
	report, err := ledger.Verify(t.Context(), b.pool)
	require.NoError(t, err)
	require.NoError(t, report.Err())
	require.Equal(t, "0", b.read(t, `SELECT count(*) FROM payouts p WHERE
		(SELECT count(*) FROM ledger_transactions l WHERE l.payout_id = p.id AND l.event = 'release') <> p.released::int
		OR released <> (state IN ('failed', 'canceled', 'returned'))`))
	require.Equal(t, "0", b.read(t, `SELECT count(*) FROM payouts p WHERE transitions <>
		(SELECT count(*) FROM payout_transitions t WHERE t.payout_id = p.id)
		OR state <> (SELECT to_state FROM payout_transitions t WHERE t.payout_id = p.id AND t.seq = p.transitions)`))
}

// balance is what a payee can be paid of everything earned until now, in minor units.
func (b bundle) balance(t *testing.T, payeeID string) int64 {
	t.Helper()
	amount, err := ledger.Balance(t.Context(), b.pool, ledger.PayeeAccount(payeeID), "usd")
	require.NoError(t, err)
	return amount.Minor
}

// payees gives so many ids, in order.
func payees(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("u_%04d", i)
	}
	return ids
}
