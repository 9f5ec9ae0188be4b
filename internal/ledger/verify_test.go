package ledger_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/ledger"
)

// planned makes the payouts' own rows.
func (b bundle) planned(t *testing.T, payouts ...ledger.Payout) {
	t.Helper()
	b.do(t, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `WITH c AS (
				INSERT INTO customers (id, email, content_hash) VALUES ($1, 'ada@example.com', '') ON CONFLICT DO NOTHING)
			INSERT INTO payees (id, email, country, currency, rail, schedule, content_hash, paypal_email)
			VALUES ($1, 'ada@example.com', 'US', 'usd', 'stripe', 'daily', '', 'ada@example.com') ON CONFLICT DO NOTHING`, ada)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO payout_runs (date, cause) VALUES ($1, 'test') ON CONFLICT DO NOTHING`, friday); err != nil {
			return err
		}
		for i, p := range payouts {
			method := map[ledger.Rail]string{ledger.Stripe: "stripe_instant", ledger.PayPal: "paypal"}[p.Rail]
			_, err := tx.Exec(ctx, `INSERT INTO payouts (id, payee_id, kind, run_date, part, method, currency, gross, fee, net, period_end, due_date,
					stripe_account_id, destination_id)
				VALUES ($1, $2, 'scheduled', $3, $4, $5, $6, $7, $8, $9, $3, $3, nullif($10, ''), 'ba_1')`,
				p.ID, p.PayeeID, friday, i+1, method, p.Gross.Currency, p.Gross.Minor, p.Fee.Minor, p.Gross.Minor-p.Fee.Minor, p.AccountID)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// becomes brings a payout's row to a state and posts what goes with it.
func becomes(p ledger.Payout, state string, posts ...act) act {
	return func(ctx context.Context, tx pgx.Tx) error {
		for _, post := range posts {
			if err := post(ctx, tx); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `UPDATE payouts SET state = $2, released = $2 IN ('failed', 'canceled', 'returned'),
			transfer_id = 'tr_' || id, provider_payout_id = 'po_' || id WHERE id = $1`, p.ID, state)
		return err
	}
}

func numbered(p ledger.Payout, n int) ledger.Payout {
	p.ID = fmt.Sprintf("po_%024d", n)
	return p
}

func (b bundle) verify(t *testing.T) ledger.Report {
	t.Helper()
	report, err := ledger.Verify(t.Context(), b.pool)
	require.NoError(t, err)
	return report
}

func TestVerifyHoldsInEveryState(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.verify(t).Err(), "of nothing")
	all := make([]ledger.Payout, 7)
	for i := range all {
		all[i] = numbered(p, i+1)
	}
	waiting, sending, transit, paid, failed, held, returned := all[0], all[1], all[2], all[3], all[4], all[5], all[6]
	b.planned(t, all...)
	b.do(t, earning(ada, usd(100000), cutoff, "1"), claim(all...))
	require.NoError(t, b.verify(t).Err(), "planned")
	transfer := func(p ledger.Payout) act { return becomes(p, "sending", on(p, ledger.TransferConfirmed)) }
	send := func(p ledger.Payout) act { return becomes(p, "in_transit", on(p, ledger.PayoutConfirmed)) }
	b.do(
		t, transfer(sending),
		transfer(transit), send(transit),
		transfer(paid), send(paid), becomes(paid, "paid", on(paid, ledger.Paid)),
		transfer(failed), becomes(failed, "failed", reversed(failed, usd(9600))),
		transfer(held), send(held), becomes(held, "held", on(held, ledger.PayoutFailed)),
		transfer(returned), send(returned), becomes(returned, "paid", on(returned, ledger.Paid)),
		becomes(returned, "returned", on(returned, ledger.Returned), reversed(returned, usd(9708))),
	)

	report := b.verify(t)
	require.NoError(t, report.Err())
	require.Len(t, report.Checks, 6)
	for _, c := range report.Checks {
		require.True(t, c.Holds())
		require.Contains(t, c.String(), "holds")
	}
	require.Contains(t, report.Trial, ledger.TrialLine{
		Currency: "usd", Account: ledger.KindInPayout, Debits: 40000, Credits: 80000, Balance: -40000,
	}, "four are under way, of which nothing has moved of %s", waiting.ID)
}

func TestVerifyFindsWhatDoesNotHold(t *testing.T) {
	t.Parallel()
	first := numbered(p, 1)
	for name, c := range map[string]struct {
		acts []act
		says []string
	}{
		"a payout without a claim": {nil, []string{"what is in payouts is the gross", "the same, payout by payout", first.ID}},
		"a claim without a payout": {
			[]act{claim(first, numbered(p, 2))}, []string{"what is in payouts is the gross", "the same, payout by payout", numbered(p, 2).ID},
		},
		"a payout that is paid in the ledger alone": {
			[]act{claim(first), on(first, ledger.TransferConfirmed), on(first, ledger.PayoutConfirmed), on(first, ledger.Paid)},
			[]string{"fees come from paid payouts alone"},
		},
		"a payout that is paid in its row alone": {
			[]act{claim(first), becomes(first, "sending"), becomes(first, "paid")},
			[]string{"what is in payouts is the gross", "fees come from paid payouts alone"},
		},
		"an ending that released nothing": {
			[]act{claim(first), becomes(first, "sending"), becomes(first, "failed")},
			[]string{"what is in payouts is the gross", "was released, once"},
		},
		"a release of what goes on": {
			[]act{claim(first), ending(first, ledger.Release)}, []string{"what is in payouts is the gross", "nothing else was"},
		},
		"an ending that left money on the account": {
			[]act{claim(first), becomes(first, "sending", on(first, ledger.TransferConfirmed)), becomes(first, "canceled")},
			[]string{"nothing is on a connected account"},
		},
		"a transaction that the triggers did not see": {
			[]act{claim(first), sql(`SET LOCAL session_replication_role = replica; ` + anEarning + itsDebit)},
			[]string{"every transaction sums to zero", "transaction 1001"},
		},
		"a transaction without entries": {
			[]act{claim(first), sql(`SET LOCAL session_replication_role = replica; ` + anEarning)},
			[]string{"every transaction sums to zero"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.planned(t, first)
			b.do(t, c.acts...)

			err := b.verify(t).Err()
			require.ErrorContains(t, err, "the ledger is not sound")
			for _, says := range c.says {
				require.ErrorContains(t, err, says)
			}
		})
	}
}
