package payout_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/payout"
)

func (b bundle) measure(t *testing.T) payout.Measured {
	t.Helper()
	m, err := b.store.Measure(t.Context())
	require.NoError(t, err)
	return m
}

// open are the measured payouts of a state, in dollars.
func open(t *testing.T, m payout.Measured, state payout.State) payout.Open {
	t.Helper()
	for _, o := range m.Open {
		if o.State == state && o.Currency == "usd" {
			return o
		}
	}
	require.Fail(t, "not measured", state)
	return payout.Open{}
}

func TestMeasureSaysWhatIsOpenAndSinceWhen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, o := range b.measure(t).Open {
		require.Zero(t, o.Payouts, o)
	}
	id := b.one(t)
	require.Equal(t, 1, open(t, b.measure(t), payout.Planned).Payouts)

	b.live(t, id, "start", "transfer", "payout")
	since := b.payout(t, id).StateSince
	inTransit := open(t, b.measure(t), payout.InTransit)
	require.Equal(t, 1, inTransit.Payouts)
	require.Equal(t, 1, inTransit.Late, "it was to arrive on a day that is over")
	require.True(t, since.Equal(inTransit.Oldest))
	require.Zero(t, open(t, b.measure(t), payout.Planned).Payouts)

	b.exec(t, `UPDATE payouts SET arrival_date = (now() AT TIME ZONE 'UTC')::date`)
	require.Zero(t, open(t, b.measure(t), payout.InTransit).Late)
	b.exec(t, `UPDATE payouts SET arrival_date = NULL`)
	require.Zero(t, open(t, b.measure(t), payout.InTransit).Late)
	b.exec(t, `UPDATE payouts SET state_since = now() - interval '73 hours'`)
	require.Equal(t, 1, open(t, b.measure(t), payout.InTransit).Late)

	b.live(t, id, "paid")
	require.Zero(t, open(t, b.measure(t), payout.InTransit).Payouts)
}

func TestMeasureSaysWhatTheLastRunLacked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ready(t, "u_1", "u_2")
	b.earn(t, "u_1", "sale", payout.Sale, 10_000, covered)
	b.earn(t, "u_2", "sale", payout.Sale, 30_000, covered)
	b.fund(t, 15_000)
	require.Contains(t, b.measure(t).Missing, payout.Lack{Rail: payout.RailStripe, Currency: "usd"})
	require.True(t, b.measure(t).LastRun.IsZero())

	b.plan(t, friday)
	m := b.measure(t)
	require.Contains(t, m.Missing, payout.Lack{Rail: payout.RailStripe, Currency: "usd", Missing: 25_000})
	require.Equal(t, civil(t, friday), m.LastRun)

	b.fund(t, plenty)
	b.plan(t, nextFriday)
	require.Contains(t, b.measure(t).Missing, payout.Lack{Rail: payout.RailStripe, Currency: "usd"})
}

func TestMeasureSaysHowRunsAndTheSwitchStand(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.begin(t, friday)
	m := b.measure(t)
	require.True(t, m.Enabled)
	require.Equal(t, 1, m.Runs[payout.RunComputing])
	require.Contains(t, m.Runs, payout.RunPaying)

	require.NoError(t, b.store.PauseRun(t.Context(), civil(t, friday), "olga", ""))
	require.NoError(t, b.store.SetSwitch(t.Context(), false, "olga", "an odd sum"))
	m = b.measure(t)
	require.False(t, m.Enabled)
	require.Equal(t, 1, m.Runs[payout.RunPaused])
	require.Zero(t, m.Runs[payout.RunComputing])
	require.WithinDuration(t, time.Now(), m.At, time.Hour)
}

func TestMeasureCountsWhatWasForcedWithinADay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	b.live(t, id, "start", "hold")
	require.NoError(t, b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		return b.store.Resolve(ctx, tx, id, payout.Resolution{Outcome: payout.Failed, Force: true, Actor: "olga", Note: "Stripe says nothing"})
	}))
	require.Equal(t, 1, b.measure(t).Forced)

	b.exec(t, `UPDATE operator_actions SET at = now() - interval '25 hours'`)
	require.Zero(t, b.measure(t).Forced)
}

// What PayPal took back in part, and what it paid beside its release, is counted for a day, as it was found.
func TestMeasureCountsWhatPayPalDidOfItsOwnWithinADay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, _ := b.batched(t)
	require.Zero(t, b.measure(t).PartReversed)
	require.Zero(t, b.measure(t).PaidTwice)

	b.exec(t, `INSERT INTO paypal_reversals (transaction_id, payout_id, amount, currency) VALUES ('TX1', $1, 2500, 'usd'), ('TX2', $1, 100, 'usd')`, id)
	require.NoError(t, b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		p := ledger.Payout{ID: id, PayeeID: ada, Rail: ledger.PayPal}
		return ledger.Duplicate(ctx, tx, p, cents(9_800), civil(t, friday), "duplicate/ITEM1")
	}))
	m := b.measure(t)
	require.Equal(t, 2, m.PartReversed)
	require.Equal(t, 1, m.PaidTwice)

	b.exec(t, `UPDATE paypal_reversals SET found_at = now() - interval '25 hours' WHERE transaction_id = 'TX1'`)
	b.exec(t, `ALTER TABLE ledger_transactions DISABLE TRIGGER USER`)
	b.exec(t, `UPDATE ledger_transactions SET posted_at = now() - interval '25 hours'`)
	m = b.measure(t)
	require.Equal(t, 1, m.PartReversed)
	require.Zero(t, m.PaidTwice)
}

// At Stripe a person has recorded the second movement, and needs no telling.
func TestMeasureDoesNotCountWhatAPersonRecorded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	b.live(t, id, "start", "transfer")
	require.NoError(t, b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		return b.store.RecordDuplicate(ctx, tx, id, payout.Duplicate{ProviderID: "tr_second", Moved: cents(10_000), Actor: "olga"})
	}))
	require.Equal(t, "1", b.read(t, `SELECT count(*) FROM ledger_transactions WHERE event = 'duplicate'`))
	require.Zero(t, b.measure(t).PaidTwice)
}
