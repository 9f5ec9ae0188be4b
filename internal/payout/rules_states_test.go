package payout_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/payout"
)

// RULES.md §3, States: every edge of its table, and no other.
func TestPayoutsGoAlongTheTableAlone(t *testing.T) {
	t.Parallel()
	table := map[payout.State][]payout.State{
		"planned":    {"sending", "canceled"},
		"sending":    {"in_transit", "paid", "unclaimed", "failed", "canceled", "held"},
		"in_transit": {"paid", "unclaimed", "failed", "canceled", "returned", "held"},
		"unclaimed":  {"paid", "returned", "canceled", "failed"},
		"held":       {"in_transit", "paid", "unclaimed", "failed", "canceled", "returned"},
		"paid":       {"returned", "held"},
	}
	all := payout.States()
	require.Len(t, all, 9)
	for _, from := range append(all, "", "PAID") {
		for _, to := range append(all, "", "PAID") {
			require.Equal(t, slices.Contains(table[from], to), payout.CanGo(from, to), "%s to %s", from, to)
		}
	}
}

// RULES.md §3, Once and States: what is under way blocks, every ending but paid releases, and what
// releases is for good, so that it does so once.
func TestAStateBlocksOrReleasesOrIsPaid(t *testing.T) {
	t.Parallel()
	for _, s := range payout.States() {
		outcomes := []bool{s.Blocks(), s.Releases(), s == payout.Paid}
		require.Len(t, slices.DeleteFunc(outcomes, func(is bool) bool { return !is }), 1, "%s", s)
		for _, to := range payout.States() {
			require.False(t, s.Releases() && payout.CanGo(s, to), "%s has released and goes to %s", s, to)
		}
	}
	require.True(t, payout.Held.Blocks(), "what became of it is not known")
}
