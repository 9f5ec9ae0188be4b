package ledger_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
)

// cutoff is the Friday before.
var cutoff = friday.AddDays(-7)

func TestPayable(t *testing.T) {
	t.Parallel()
	before, after := cutoff, cutoff.AddDays(1)
	small := p
	small.Gross = usd(3000)
	cases := map[string]struct {
		acts []act
		want int64
	}{
		"nothing":                          {nil, 0},
		"earned on the cutoff":             {[]act{earning(ada, usd(10000), before, "1")}, 10000},
		"earned a day later":               {[]act{earning(ada, usd(10000), after, "1")}, 0},
		"refunded before":                  {[]act{earning(ada, usd(10000), before, "1"), refund(ada, usd(4000), before, "2")}, 6000},
		"refunded after the cutoff":        {[]act{earning(ada, usd(10000), before, "1"), refund(ada, usd(4000), after, "2")}, 6000},
		"refunded more than was earned":    {[]act{earning(ada, usd(10000), before, "1"), refund(ada, usd(14000), after, "2")}, -4000},
		"what came later does not make up": {[]act{earning(ada, usd(9000), after, "1"), refund(ada, usd(1000), before, "2")}, -1000},
		"claimed":                          {[]act{earning(ada, usd(10000), before, "1"), claim(p)}, 0},
		"claimed, and earned since":        {[]act{earning(ada, usd(10000), before, "1"), claim(p), earning(ada, usd(500), after, "2")}, 0},
		"a part of it claimed":             {[]act{earning(ada, usd(10000), before, "1"), claim(small)}, 7000},
		"claimed by an instant payout of what was earned later too": {
			[]act{earning(ada, usd(6000), before, "1"), earning(ada, usd(4000), after, "2"), claim(p)}, -4000,
		},
		"released after the cutoff": {[]act{earning(ada, usd(10000), before, "1"), claim(p), ending(p, ledger.Release)}, 10000},
		"released, of what was earned later": {
			[]act{earning(ada, usd(6000), before, "1"), earning(ada, usd(4000), after, "2"), claim(p), ending(p, ledger.Release)}, 6000,
		},
		"written off":     {[]act{refund(ada, usd(500), before, "1"), adjustment(ada, 500, "correction/u_ada/1")}, -500}, // until the next cutoff
		"taken back":      {[]act{earning(ada, usd(10000), before, "1"), adjustment(ada, -500, "correction/u_ada/1")}, 9500},
		"somebody else's": {[]act{earning(grace, usd(10000), before, "1")}, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.do(t, c.acts...)
			require.Equal(t, c.want, b.payable(t, ada, cutoff))
			require.Equal(t, b.balance(t, ledger.PayeeAccount(ada)), b.payable(t, ada, friday.AddDays(1)), "a cutoff behind everything leaves nothing out")
		})
	}
}

func TestPayablesOfManyInTheirOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.do(
		t, earning(ada, usd(10000), cutoff, "1"), earning(ada, usd(2000), friday, "2"),
		earning(grace, money.New(500, "eur"), cutoff, "1"), earning(grace, usd(700), cutoff, "2"),
	)

	found, err := ledger.Payables(t.Context(), b.pool, []ledger.Cutoff{
		{PayeeID: grace, Currency: "eur", Date: cutoff},
		{PayeeID: ada, Currency: "usd", Date: cutoff},
		{PayeeID: "u_nobody", Currency: "usd", Date: cutoff},
		{PayeeID: ada, Currency: "usd", Date: friday},
		{PayeeID: grace, Currency: "usd", Date: cutoff},
		{PayeeID: ada, Currency: "eur", Date: cutoff},
	})
	require.NoError(t, err)
	require.Equal(t, []money.Amount{money.New(500, "eur"), usd(10000), usd(0), usd(12000), usd(700), money.Zero("eur")}, found)

	none, err := ledger.Payables(t.Context(), b.pool, nil)
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestPayablePageByPage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	want := []ledger.PayeePayable{
		{PayeeID: "u_1", Amount: money.New(1, "eur")}, {PayeeID: "u_1", Amount: usd(2)}, {PayeeID: "u_2", Amount: usd(-3)}, {PayeeID: "u_3", Amount: usd(0)},
	}
	b.do(
		t, earning("u_1", usd(2), cutoff, "1"), earning("u_1", money.New(1, "eur"), cutoff, "2"),
		refund("u_2", usd(3), friday, "1"), earning("u_3", usd(4), friday, "1"),
	)
	for limit := 1; limit <= len(want)+1; limit++ {
		var (
			found []ledger.PayeePayable
			after ledger.PayeePayable
		)
		for {
			page, err := ledger.PayablePage(t.Context(), b.pool, cutoff, after, limit)
			require.NoError(t, err)
			require.LessOrEqual(t, len(page), limit)
			if len(page) == 0 {
				break
			}
			found, after = append(found, page...), page[len(page)-1]
		}
		require.Equal(t, want, found, "%d at a time", limit)
	}
}

func TestBalances(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.do(t, earning(ada, usd(12000), cutoff, "1"), earning(ada, money.New(700, "eur"), cutoff, "2"))
	b.do(t, claim(p), on(p, ledger.TransferConfirmed), on(p, ledger.PayoutConfirmed), on(p, ledger.Paid))
	for account, want := range map[ledger.Account]int64{
		ledger.PayeeAccount(ada):              2000,
		ledger.InPayoutAccount(ada):           0,
		ledger.FeesAccount():                  292,
		ledger.AppAccount():                   12000,
		ledger.PlatformAccount(ledger.Stripe): -9708,
		ledger.PlatformAccount(ledger.PayPal): 0,
		ledger.AcctAccount(account):           0,
		ledger.TransitAccount(ledger.Stripe):  0,
		ledger.ProviderFeeAccount():           0,
		ledger.FXAccount():                    0,
		ledger.WriteOffAccount():              0,
	} {
		require.Equal(t, want, b.balance(t, account), account)
	}

	for day, want := range map[date.Date]int64{cutoff.AddDays(-1): 0, cutoff: 12000, friday.AddDays(-1): 12000, friday: 2000} {
		found, err := ledger.BalanceAt(t.Context(), b.pool, ledger.PayeeAccount(ada), "usd", day)
		require.NoError(t, err)
		require.Equal(t, usd(want), found, day)
	}
	at, err := ledger.TrialBalance(t.Context(), b.pool, cutoff)
	require.NoError(t, err)
	require.Equal(t, []ledger.TrialLine{
		{Currency: "eur", Account: ledger.KindApp, Debits: 700, Balance: 700},
		{Currency: "eur", Account: ledger.KindPayee, Credits: 700, Balance: -700},
		{Currency: "usd", Account: ledger.KindApp, Debits: 12000, Balance: 12000},
		{Currency: "usd", Account: ledger.KindPayee, Credits: 12000, Balance: -12000},
	}, at)
	now, err := ledger.TrialBalance(t.Context(), b.pool, date.Date{})
	require.NoError(t, err)
	require.Contains(t, now, ledger.TrialLine{Currency: "usd", Account: ledger.KindTransit, Rail: ledger.Stripe, Debits: 9708, Credits: 9708})
	require.Contains(t, now, ledger.TrialLine{Currency: "usd", Account: ledger.KindPayee, Debits: 10000, Credits: 12000, Balance: -2000})
}

func TestPayeeHolds(t *testing.T) {
	t.Parallel()
	paid := []act{on(p, ledger.TransferConfirmed), on(p, ledger.PayoutConfirmed), on(p, ledger.Paid)}
	b := setup(t)
	requireHolds := func(want bool, after string) {
		t.Helper()
		held, err := ledger.PayeeHolds(t.Context(), b.pool, ada)
		require.NoError(t, err)
		require.Equal(t, want, held, after)
	}
	requireHolds(false, "nothing")
	b.do(t, earning(grace, usd(1), friday, "1"))
	requireHolds(false, "an earning of somebody else")
	b.do(t, earning(ada, usd(10000), friday, "1"))
	requireHolds(true, "an earning")
	b.do(t, claim(p))
	requireHolds(true, "a claim of all of it")
	b.do(t, paid...)
	requireHolds(false, "its payout")
	b.do(t, refund(ada, usd(1), friday, "2"))
	requireHolds(true, "a refund of what was paid")
	b.do(t, adjustment(ada, 1, "correction/u_ada/1"))
	requireHolds(false, "writing that off")
	b.do(t, earning(ada, usd(1), friday, "3"), refund(ada, money.New(1, "eur"), friday, "4"))
	requireHolds(true, "what is below zero in one currency does not make up for another")
}
