package payout_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
)

// byPayPal makes payees who are paid by PayPal, and who have been with us for a while.
func (b bundle) byPayPal(t *testing.T, ids ...string) {
	t.Helper()
	b.signUp(t, ids...)
	for _, id := range ids {
		_, _, err := b.store.PutPayee(t.Context(), payout.Profile{
			ID: id, Email: id + "@example.com", Country: "US", Currency: "usd", Rail: payout.RailPayPal, PayPalEmail: id + "@example.com", Schedule: payout.Weekly,
		})
		require.NoError(t, err)
	}
	b.exec(t, `UPDATE payees SET created_at = '2026-02-28' WHERE id = ANY ($1)`, ids)
}

// fundPayPal records what the platform has at PayPal, by an answer of some time ago.
func (b bundle) fundPayPal(t *testing.T, minor int64, ago time.Duration) {
	t.Helper()
	now, err := postgres.Now(t.Context(), b.pool)
	require.NoError(t, err)
	require.NoError(t, b.store.RecordFunds(t.Context(), payout.RailPayPal, []money.Amount{cents(minor)}, now.Add(-ago)))
}

// look has a run look at everybody, and gives the rails of which it has to know what there is.
func (b bundle) look(t *testing.T, on string) []payout.Lacking {
	t.Helper()
	_, err := b.store.PlanSlice(t.Context(), b.begin(t, on), 10)
	require.NoError(t, err)
	return b.lacking(t, on)
}

func (b bundle) lacking(t *testing.T, on string) []payout.Lacking {
	t.Helper()
	run, err := payout.GetRun(t.Context(), b.pool, civil(t, on))
	require.NoError(t, err)
	require.NotNil(t, run.LookedAt)
	lacking, err := payout.LackingFunds(t.Context(), b.pool, run)
	require.NoError(t, err)
	return lacking
}

// A run has to know what there is only on the rails on which it pays somebody, and since it looked at them.
func TestARunLacksFundsOnlyToPaySomebody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ready(t, ada)
	b.byPayPal(t, grace)
	b.earn(t, ada, "sale", payout.Sale, 10_000, covered)
	b.fund(t, plenty) // too early: it may have been spent since
	require.Empty(t, b.look(t, "2026-03-05"), "nobody is due on a Thursday")
	require.Equal(t, []payout.Lacking{{Rail: payout.RailStripe, Known: true}}, b.look(t, friday), "nobody is paid by PayPal")
	b.fund(t, plenty)
	require.Empty(t, b.lacking(t, friday))
	require.Len(t, b.plan(t, friday), 1)

	b.earn(t, grace, "sale", payout.Sale, 10_000, friday)
	require.Equal(t, []payout.Lacking{{Rail: payout.RailPayPal}}, b.look(t, nextFriday), "of which nothing is known")
	b.fundPayPal(t, plenty, 0)
	require.Empty(t, b.lacking(t, nextFriday), "the answer is of now, whatever it tells of")
	require.NoError(t, b.store.ForgetFunds(t.Context(), payout.RailPayPal))
	require.Equal(t, []payout.Lacking{{Rail: payout.RailPayPal}}, b.lacking(t, nextFriday))
}

// What PayPal says is three hours old: what went since then still counts as taken from it.
func TestPayPalsBalanceIsOfThreeHoursAgo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.byPayPal(t, ada)
	b.earn(t, ada, "sale", payout.Sale, 10_000, covered)
	b.fundPayPal(t, plenty, 0)
	planned := b.plan(t, friday)
	require.Len(t, planned, 1)
	const needs = "9996" // 98.00, and PayPal's 2 % of it
	claimed := func() string { return b.read(t, `SELECT claimed FROM platform_funds WHERE rail = 'paypal'`) }
	require.Equal(t, needs, claimed())
	require.Equal(t, "true", b.read(t, `SELECT read_at - as_of = interval '3 hours' FROM platform_funds WHERE rail = 'paypal'`))

	b.exec(t, `ALTER TABLE payouts DISABLE TRIGGER USER`)
	b.exec(t, `INSERT INTO paypal_batches (id, currency, size) VALUES ('pb_000000000000000000000001', 'usd', 1)`)
	move := func(ago time.Duration) {
		t.Helper()
		b.exec(t, `UPDATE payouts SET state = 'in_transit', batch_id = 'pb_000000000000000000000001', provider_payout_id = 'ITEM', moved_at = now() - $1::interval`, ago)
		b.fundPayPal(t, plenty, 0)
	}
	move(2*time.Hour + 55*time.Minute)
	require.Equal(t, needs, claimed(), "the balance may not show it yet")
	move(3*time.Hour + 5*time.Minute)
	require.Equal(t, "0", claimed())
}

// Each rail is bounded by what there is on it: where it does not reach, those wait who are paid there, in
// their order, and one lack says how much to add.
func TestFundsAreShortPerRail(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ready(t, "u_1", "u_2")
	b.byPayPal(t, "u_3", "u_4", "u_5")
	for _, id := range []string{"u_1", "u_2", "u_3", "u_4", "u_5"} {
		b.earn(t, id, "sale", payout.Sale, 10_000, covered)
	}
	b.fund(t, plenty)
	b.fundPayPal(t, 15_000, 0)

	planned := b.plan(t, friday)

	require.Len(t, planned, 3, "both at Stripe, and the first at PayPal")
	require.Equal(t, "u_3", planned[2].PayeeID)
	missing, err := payout.RunShortfalls(t.Context(), b.pool, civil(t, friday))
	require.NoError(t, err)
	require.Len(t, missing, 1)
	require.Equal(t, payout.RailPayPal, missing[0].Rail)
	require.Equal(t, cents(3*9_996-15_000), missing[0].Amount())
	require.Equal(t, 2, missing[0].Payouts)
	require.True(t, missing[0].Known)
	require.Contains(t, b.measure(t).Missing, payout.Lack{Rail: payout.RailPayPal, Currency: "usd", Missing: 3*9_996 - 15_000})
	require.Contains(t, b.measure(t).Missing, payout.Lack{Rail: payout.RailStripe, Currency: "usd"})
	require.Equal(t, "funding", b.notes(t, "u_4"))
	b.sound(t)

	b.fundPayPal(t, 30_000, 0)
	require.Len(t, b.plan(t, "2026-03-07"), 2, "their cycle is still due")
	require.Contains(t, b.measure(t).Missing, payout.Lack{Rail: payout.RailPayPal, Currency: "usd"})
}

// Where nothing was ever known nobody is paid, and the lack says that this is why. The others are paid.
func TestWhatWasNeverKnownPaysNobody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ready(t, ada)
	b.byPayPal(t, grace)
	for _, id := range []string{ada, grace} {
		b.earn(t, id, "sale", payout.Sale, 10_000, covered)
	}
	b.fund(t, plenty)

	planned := b.plan(t, friday)

	require.Len(t, planned, 1)
	require.Equal(t, ada, planned[0].PayeeID)
	missing, err := payout.ListShortfalls(t.Context(), b.pool, time.Time{}, "", 10)
	require.NoError(t, err)
	require.Len(t, missing, 1)
	require.Equal(t, fmt.Sprintf("%s/paypal/usd", friday), missing[0].ID)
	require.False(t, missing[0].Known)
	require.Equal(t, "funding", b.notes(t, grace))

	b.fundPayPal(t, plenty, 0)
	require.Len(t, b.plan(t, "2026-03-07"), 1, "the cycle is still due")
}

// By what was known before, less what was claimed since, no more is claimed than there was.
func TestWhatWasKnownBeforeIsClaimedOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.byPayPal(t, "u_1", "u_2")
	for _, id := range []string{"u_1", "u_2"} {
		b.earn(t, id, "sale", payout.Sale, 10_000, covered)
	}
	b.fundPayPal(t, 15_000, 24*time.Hour)
	require.Len(t, b.plan(t, friday), 1)
	require.Empty(t, b.plan(t, "2026-03-07"), "nothing new is known, and 50.04 are left")
	b.sound(t)
}
