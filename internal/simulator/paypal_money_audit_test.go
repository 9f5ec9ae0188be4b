package simulator_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/simulator"
)

func TestPayPalMoneyAudit_FollowsEachPayout(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	call := b.payPal(t)
	require.NoError(t, b.PayPal().SetPayPalBalance("USD", 10_000))
	first := call.get(payPalPayouts + "/" + call.payOut("b_1",
		usd("ada@example.com", "po_paid"), usd("unclaimed-ben@example.com", "po_under_way", "5.00"), usd("failed-cy@example.com", "po_again", "3.00"),
		usd("refunded-dan@example.com", "po_refunded", "2.00")))
	_, err := b.PayPal().ReversePayPalItem(first.Items[0].ID, 100)
	require.NoError(t, err)
	call.payOut("b_2", usd("failed-cy@example.com", "po_again", "3.00"))
	require.NoError(t, b.PayPal().SetPayouts(simulator.PayPalPayoutSettings{Manual: true}))
	call.payOut("b_3", usd("eve@example.com", "po_waits"))

	a := b.PayPal().PayPalMoneyAudit()

	require.NoError(t, a.Err())
	require.Len(t, a.Payouts, 5)
	require.Equal(t, map[string]map[string]int64{"ada@example.com": {"USD": 900}}, a.Received)
	require.Equal(t, map[string]simulator.PayPalMoneyTotals{
		"USD": {PutIn: 10_000, Balance: 10_000 - 920 - 510 - 4, UnderWay: 500, Received: 900, Fees: 20 + 10 + 4},
	}, a.Totals)
	movements := func(id string) []any {
		m := a.Payouts[id]
		return []any{m.Receiver, m.Amount, m.Sent, m.UnderWay, m.Received, m.Fees, m.LiveItems, len(m.Items)}
	}
	n := func(n int64) int64 { return n }
	require.Equal(t, []any{"ada@example.com", n(1000), n(1000), n(0), n(900), n(20), 1, 1}, movements("po_paid"))
	require.Equal(t, []any{"unclaimed-ben@example.com", n(500), n(500), n(500), n(0), n(10), 1, 1}, movements("po_under_way"))
	require.Equal(t, []any{"failed-cy@example.com", n(300), n(600), n(0), n(0), n(0), 0, 2}, movements("po_again"))
	require.Equal(t, []any{"refunded-dan@example.com", n(200), n(200), n(0), n(0), n(4), 0, 1}, movements("po_refunded"))
	require.Equal(t, []any{"eve@example.com", n(1000), n(1000), n(1000), n(0), n(0), 1, 1}, movements("po_waits"))
}

func TestPayPalMoneyAudit_FindsWhatMustNotBe(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	call := b.payPal(t)
	call.payOut("b_1", usd("ada@example.com", "po_twice"), usd("ada@example.com", "po_once"), usd("ada@example.com", "po_same"), usd("ada@example.com", "po_same"))
	call.payOut("b_2", usd("unclaimed-ada@example.com", "po_twice"), usd("failed-ada@example.com", "po_other"), usd("ada@example.com", ""))
	require.NoError(t, b.PayPal().SetPayPalBalance("USD", 0))
	call.payOut("b_3", usd("ada@example.com", "po_once"))
	require.NoError(t, b.PayPal().SetPayPalBalance("USD", 5000))
	call.payOut("b_4", usd("failed-ada@example.com", "po_other", "10.01"))

	a := b.PayPal().PayPalMoneyAudit()

	require.Equal(t, []string{"po_same", "po_twice"}, a.Duplicates)
	require.Equal(t, []string{"po_other", "po_twice"}, a.Mismatched)
	require.Equal(t, 1, a.WithoutPayoutID)
	require.Empty(t, a.Lost)
	require.ErrorContains(t, a.Err(), "duplicate PayPal items for payouts [po_same po_twice]")
	require.ErrorContains(t, a.Err(), "mismatched PayPal items for payouts [po_other po_twice]")

	require.ErrorContains(t, simulator.PayPalMoneyAudit{Lost: []simulator.LostMoney{{Currency: "USD", Expected: 2, Held: 1}}}.Err(), "1 USD instead of 2")
	require.ErrorContains(t, simulator.PayPalMoneyAudit{Totals: map[string]simulator.PayPalMoneyTotals{"USD": {PutIn: 3, Fees: 2}}}.Err(), "3 USD were put into PayPal")
}
