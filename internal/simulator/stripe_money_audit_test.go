package simulator_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"

	"github.com/holdfast/holdfast/internal/simulator"
)

func TestMoneyAudit_FollowsEachPayout(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	account, other := b.account(t), b.account(t)
	require.NoError(t, b.Stripe().SetPlatformBalance("usd", 10_000))
	moved := func(account string, amount int64, payout string) *stripe.Payout {
		_, err := b.transfer(account, amount, payout)
		require.NoError(t, err)
		p, err := b.payOut(account, amount, payout)
		require.NoError(t, err)
		return p
	}
	_, err := b.Stripe().SettlePayout(moved(account, 1000, "po_paid").ID)
	require.NoError(t, err)
	moved(other, 200, "po_under_way")
	_, err = b.Stripe().ReturnPayout(moved(other, 30, "po_returned").ID, "no_account")
	require.NoError(t, err)
	tr, err := b.transfer(other, 4, "po_reversed")
	require.NoError(t, err)
	_, err = b.reverse(tr.ID, 0)
	require.NoError(t, err)

	a := b.Stripe().MoneyAudit()

	require.NoError(t, a.Err())
	require.Len(t, a.Payouts, 4)
	require.Equal(t, map[string]map[string]int64{"u_po_paid": {"usd": 1000}}, a.Received)
	require.Equal(t, map[string]simulator.MoneyTotals{
		"usd": {PutIn: 10_000, Platform: 8770, Accounts: 30, UnderWay: 200, PaidOut: 1000},
	}, a.Totals)
	require.Equal(t, []string{"po_returned"}, a.Unbalanced, "its funds are still on the account")
	paid := a.Payouts["po_paid"]
	require.Equal(t, []any{"u_po_paid", account, "usd", int64(1000), int64(1000), 1, 1}, []any{
		paid.PayeeID, paid.Account, paid.Currency, paid.Transferred, paid.PaidOut, paid.LiveTransfers, paid.LivePayouts,
	})
	require.Equal(t, "paid", paid.Payouts[0].Status)
	require.Equal(t, int64(200), a.Payouts["po_under_way"].UnderWay)
	require.Equal(t, 0, a.Payouts["po_returned"].LivePayouts)
	reversed := a.Payouts["po_reversed"]
	require.Equal(t, []any{int64(4), int64(4), 0, int64(4)}, []any{
		reversed.Transferred, reversed.Reversed, reversed.LiveTransfers, reversed.Transfers[0].Reversals[0].Amount,
	})
}

func TestMoneyAudit_FindsWhatMustNotBe(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	account, other := b.account(t), b.account(t)
	require.NoError(t, b.Stripe().SetPlatformBalance("usd", 10_000))
	transfer := func(account, payout, payee, key string) *stripe.Transfer {
		params := transferParams(account, 100, payout)
		params.Metadata["holdfast_payee_id"] = payee
		params.SetIdempotencyKey(key)
		tr, err := b.stripe().Transfers.New(params)
		require.NoError(t, err)
		return tr
	}
	transfer(account, "po_twice", "u_1", "k_1")
	transfer(account, "po_twice", "u_1", "k_2")
	undone := transfer(account, "po_again", "u_1", "k_3")
	_, err := b.reverse(undone.ID, 0)
	require.NoError(t, err)
	transfer(account, "po_again", "u_1", "k_4")
	transfer(account, "po_elsewhere", "u_1", "k_5")
	params := payoutParams(other, 0, "po_elsewhere")
	require.NoError(t, b.Stripe().SetAccountBalance(other, "usd", 500))
	params.Amount, params.Metadata["holdfast_payee_id"] = stripe.Int64(100), "u_1"
	_, err = b.stripe().Payouts.New(params)
	require.NoError(t, err)
	for _, key := range []string{"k_6", "k_7"} {
		params := payoutParams(account, 50, "po_again")
		params.Metadata["holdfast_payee_id"] = "u_1"
		params.SetIdempotencyKey(key)
		_, err := b.stripe().Payouts.New(params)
		require.NoError(t, err)
	}
	transfer(account, "po_whose", "u_1", "k_8")
	transferred := transfer(account, "po_whose", "u_2", "k_9")
	_, err = b.reverse(transferred.ID, 0)
	require.NoError(t, err)

	a := b.Stripe().MoneyAudit()

	require.Equal(t, []string{"po_again", "po_twice"}, a.Duplicates)
	require.Equal(t, []string{"po_elsewhere", "po_whose"}, a.Mismatched)
	require.Equal(t, []string{"po_twice", "po_whose"}, a.Unbalanced)
	require.Empty(t, a.Lost)
	require.ErrorContains(t, a.Err(), "po_twice")
	require.ErrorContains(t, a.Err(), "po_elsewhere")
}

func TestMoneyAudit_TellsOursFromThePayees(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	account := b.funded(t, 1000)
	id := "po_" + account
	_, err := b.payOut(account, 400, id)
	require.NoError(t, err)
	_, err = b.Stripe().PutPayout(simulator.Payout{Account: account, Amount: 300, Metadata: ours(id), Status: "paid"})
	require.NoError(t, err)
	unnamed := payoutParams(account, 300, "po_unnamed")
	unnamed.Metadata = nil
	_, err = b.stripe().Payouts.New(unnamed)
	require.NoError(t, err)

	a := b.Stripe().MoneyAudit()

	require.NoError(t, a.Err())
	require.Equal(t, []any{1, 1}, []any{a.Foreign, a.WithoutPayoutID})
	require.Len(t, a.Payouts[id].Payouts, 1)
	require.Empty(t, a.Received)
	require.Equal(t, simulator.MoneyTotals{PutIn: 1000, UnderWay: 700, PaidOut: 300}, a.Totals["usd"])
}

func TestMoneyAudit_ErrNamesLostMoney(t *testing.T) {
	t.Parallel()
	require.NoError(t, simulator.MoneyAudit{Unbalanced: []string{"po_1"}}.Err())
	lost := simulator.MoneyAudit{Lost: []simulator.LostMoney{{Account: "acct_1", Currency: "usd", Expected: 5, Held: 4}}}
	require.ErrorContains(t, lost.Err(), `"acct_1": 4 usd instead of 5`)
	totals := simulator.MoneyAudit{Totals: map[string]simulator.MoneyTotals{"usd": {PutIn: 9, Platform: 3, Accounts: 2, UnderWay: 1, PaidOut: 2}}}
	require.ErrorContains(t, totals.Err(), "9 usd were put in, and there are 8")
}
