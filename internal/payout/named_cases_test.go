package payout_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/payout"
)

// Ten payees with 100.00 each, and 500.00 on the platform: the first five are paid, 500.00 are missing for
// the others, who are paid by the next run with the cutoff that they had.
func TestFundsForHalfTheRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := payees(10)
	b.ready(t, ids...)
	for _, id := range ids {
		b.earn(t, id, "sale", payout.Sale, 10_000, covered)
		b.earn(t, id, "later", payout.Sale, 3_000, friday)
	}
	b.fund(t, 50_000)

	paid := b.plan(t, friday)

	require.Len(t, paid, 5)
	for i, p := range paid {
		require.Equal(t, ids[i], p.PayeeID)
		require.Equal(t, cents(10_000), p.Gross)
	}
	missing, err := payout.RunShortfalls(t.Context(), b.pool, civil(t, friday))
	require.NoError(t, err)
	require.Len(t, missing, 1)
	require.Equal(t, cents(50_000), missing[0].Amount())
	require.Equal(t, 5, missing[0].Payouts)
	for _, id := range ids[5:] {
		require.Equal(t, "funding", b.notes(t, id))
		require.Equal(t, int64(13_000), b.balance(t, id), "nothing of it is claimed")
	}
	b.fund(t, 100_000)
	rest := b.plan(t, "2026-03-07")
	require.Len(t, rest, 5)
	for i, p := range rest {
		require.Equal(t, ids[5+i], p.PayeeID)
		require.Equal(t, cents(10_000), p.Gross)
		require.Equal(t, civil(t, friday), p.DueDate)
	}
	b.sound(t)
}
