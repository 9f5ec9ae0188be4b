package payout_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/payout"
)

func TestConcurrentIdenticalEarningsAreOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada)
	rapid.Check(t, func(r *rapid.T) {
		kind := rapid.SampledFrom([]payout.EarningKind{payout.Sale, payout.Refund, payout.Chargeback, payout.Adjustment}).Draw(r, "kind")
		minor := rapid.Int64Range(1, 1_000_000_000).Draw(r, "amount")
		e := payout.Earning{
			ID: "e_" + rapid.StringMatching(`[a-z0-9]{20}`).Draw(r, "id"), Kind: kind, Amount: cents(minor),
			OccurredAt: civil(t, "2026-03-01").Time().Add(time.Duration(rapid.IntRange(0, 1_000_000).Draw(r, "seconds")) * time.Second),
		}
		before, err := ledger.Balance(t.Context(), b.pool, ledger.PayeeAccount(ada), "usd")
		require.NoError(t, err)

		var created, failed atomic.Int32
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				_, isNew, err := b.store.PutEarning(t.Context(), ada, e)
				if err != nil {
					failed.Add(1)
				}
				if isNew {
					created.Add(1)
				}
			})
		}
		wg.Wait()

		require.Zero(t, failed.Load())
		require.EqualValues(t, 1, created.Load())
		after, err := ledger.Balance(t.Context(), b.pool, ledger.PayeeAccount(ada), "usd")
		require.NoError(t, err)
		gained, err := after.Sub(before)
		require.NoError(t, err)
		want := map[bool]int64{true: minor, false: -minor}[kind == payout.Sale || kind == payout.Adjustment]
		require.Equal(t, cents(want), gained)
	})
}

func TestAnEarningOfThePayeesPastCountsOnItsOwnDay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada)
	zone := time.FixedZone("elsewhere", -5*60*60)
	e := payout.Earning{
		ID: "e_1", Kind: payout.Sale, Amount: cents(100), Description: "A book",
		OccurredAt: time.Date(2026, 2, 28, 23, 30, 0, 123_456_789, zone),
	}

	stored, created, err := b.store.PutEarning(t.Context(), ada, e)

	require.NoError(t, err)
	require.True(t, created)
	require.Equal(t, time.Date(2026, 3, 1, 4, 30, 0, 123_456_000, time.UTC), stored.OccurredAt)
	require.Equal(t, "2026-03-01", b.read(t, `SELECT dated::text FROM ledger_transactions`), "the day in UTC")
	again, created, err := b.store.PutEarning(t.Context(), ada, stored)
	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, stored, again)
	listed, err := payout.ListEarnings(t.Context(), b.pool, ada, payout.EarningCursor{}, 10)
	require.NoError(t, err)
	require.Equal(t, []payout.Earning{stored}, listed)
}

func TestTheClockOfAnotherMachineMayBeAhead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada)
	e := payout.Earning{ID: "e_1", Kind: payout.Sale, Amount: cents(100), OccurredAt: time.Now().Add(4 * time.Minute)}
	_, _, err := b.store.PutEarning(t.Context(), ada, e)
	require.NoError(t, err)
	e.ID, e.OccurredAt = "e_2", time.Now().Add(6*time.Minute)
	_, _, err = b.store.PutEarning(t.Context(), ada, e)
	requireField(t, err, "occurred_at")
}

func TestEarningsOfTwoPayeesMayHaveOneID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada, grace)
	b.earn(t, ada, "e_1", payout.Sale, 100, "2026-03-01")
	b.earn(t, grace, "e_1", payout.Sale, 200, "2026-03-01")
	for id, want := range map[string]int64{ada: 100, grace: 200} {
		got, err := ledger.Balance(t.Context(), b.pool, ledger.PayeeAccount(id), "usd")
		require.NoError(t, err)
		require.Equal(t, cents(want), got)
	}
}

func TestWriteOffsAtOnceAreOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada)
	b.earn(t, ada, "e_1", payout.Refund, 700, "2026-03-01")
	var done atomic.Int32
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if b.store.WriteOff(t.Context(), payout.Correction{PayeeID: ada, ID: fmt.Sprintf("w_%d", i), Actor: "olga", Note: "Gone"}) == nil {
				done.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, done.Load())
	balance, err := ledger.Balance(t.Context(), b.pool, ledger.PayeeAccount(ada), "usd")
	require.NoError(t, err)
	require.True(t, balance.IsZero(), balance)
	lost, err := ledger.Balance(t.Context(), b.pool, ledger.WriteOffAccount(), "usd")
	require.NoError(t, err)
	require.Equal(t, cents(700), lost)
}

func TestBalancesAreAllThatWasEarned(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada)
	b.earn(t, ada, "e_1", payout.Sale, 30_000, "2026-03-01")
	b.earn(t, ada, "e_2", payout.Sale, 5_000, "2026-03-20")
	b.earn(t, ada, "e_3", payout.Refund, 1_000, "2026-03-20")
	b.lives(t, ada)
	at := civil(t, "2026-03-20").Time().Add(9 * time.Hour)

	facts, balances, err := payout.LoadBalances(t.Context(), b.pool, ada, at)

	require.NoError(t, err)
	// Paid 10,000 of which 500 came back in part; under way 8,000; released 2,000; refunded 1,000.
	require.Equal(t, payout.Balances{
		Pending: cents(5_500), Available: cents(11_000), InPayout: cents(8_000), Paid: cents(9_500),
	}, balances)
	require.Equal(t, balances.Available, facts.Payable(date.Of(at).AddDays(-1)))
}
