package payout_test

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
)

func someNeed() *rapid.Generator[payout.Need] {
	return rapid.Custom(func(t *rapid.T) payout.Need {
		return payout.Need{
			PayeeID: rapid.SampledFrom([]string{"u_1", "u_10", "u_2", "u_3"}).Draw(t, "payee"),
			DueDate: firstDay.AddDays(rapid.IntRange(0, 3).Draw(t, "due")),
			Amount:  cents(rapid.Int64Range(1, 100).Draw(t, "amount")),
		}
	})
}

// RULES.md §3, How much: the funds go to who has been due longest, as far as they reach.
func TestFundsGoAsFarAsTheyDo(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		needs := rapid.SliceOfN(someNeed(), 0, 12).Draw(t, "needs")
		available := cents(rapid.Int64Range(-50, 600).Draw(t, "available"))
		slices.SortFunc(needs, payout.CompareNeeds)
		served, missing, err := payout.WithinFunds(needs, available)
		require.NoError(t, err)

		spent, total := int64(0), int64(0)
		for i, need := range needs {
			total += need.Amount.Minor
			if i < served {
				spent += need.Amount.Minor
			}
		}
		if served > 0 {
			require.LessOrEqual(t, spent, available.Minor)
		}
		if served < len(needs) {
			require.Greater(t, spent+needs[served].Amount.Minor, available.Minor, "one more would fit")
		}
		if len(needs) > 0 {
			require.Equal(t, max(0, total-available.Minor), missing.Minor)
		}

		all, missing, err := payout.WithinFunds(needs, cents(available.Minor+missing.Minor))
		require.NoError(t, err)
		require.Equal(t, len(needs), all, "what is said to be missing is enough")
		require.Zero(t, missing.Minor)
	})
}

func TestWhoIsServedFirst(t *testing.T) {
	t.Parallel()
	friday := civil(t, "2026-11-20")
	order := []payout.Need{{PayeeID: "u_9", DueDate: friday.AddDays(-7)}, {PayeeID: "u_1", DueDate: friday}, {PayeeID: "u_2", DueDate: friday}}
	shuffled := []payout.Need{order[2], order[0], order[1]}
	slices.SortFunc(shuffled, payout.CompareNeeds)
	require.Equal(t, order, shuffled)
}

func TestWhatPayoutsNeed(t *testing.T) {
	t.Parallel()
	policy, friday := payout.DefaultPolicy(), civil(t, "2026-11-20")
	byStripe := payout.Decide(payable(100_00), friday, policy)
	need, err := payout.NeedFor(byStripe.Payouts, "usd", policy)
	require.NoError(t, err)
	require.Equal(t, cents(100_00), need)

	need, err = payout.NeedFor(payout.Decide(byPayPal(100_00), friday, policy).Payouts, "usd", policy)
	require.NoError(t, err)
	require.Equal(t, cents(98_00+1_96), need, "what is sent and PayPal's 2 % of it")

	_, err = payout.NeedFor(byStripe.Payouts, "eur", policy)
	require.ErrorIs(t, err, money.ErrCurrency)
}

func TestFundsThatCannotBeCounted(t *testing.T) {
	t.Parallel()
	needs := []payout.Need{{PayeeID: "u_1", Amount: cents(math.MaxInt64)}, {PayeeID: "u_2", Amount: cents(1)}}
	_, _, err := payout.WithinFunds(needs, cents(1))
	require.ErrorIs(t, err, money.ErrOverflow)
	require.ErrorContains(t, err, "u_2")
	_, _, err = payout.WithinFunds(needs[:1], money.New(1, "eur"))
	require.ErrorIs(t, err, money.ErrCurrency)
}
