package payout_test

import (
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
)

func someMethod() *rapid.Generator[payout.Method] {
	return rapid.SampledFrom([]payout.Method{payout.MethodStandard, payout.MethodInstant, payout.MethodPayPal})
}

// RULES.md §3, How much: the formulas as they are written, in numbers of any size.
func TestFeesAreThoseOfTheRules(t *testing.T) {
	t.Parallel()
	policy := payout.DefaultPolicy()
	rapid.Check(t, func(t *rapid.T) {
		gross := rapid.OneOf(rapid.Int64Min(0), someSum()).Draw(t, "gross")
		exact := big.NewInt(gross)

		instant := policy.Terms(payout.MethodInstant, "US", cents(gross))
		net := new(big.Int).Div(new(big.Int).Mul(exact, big.NewInt(100)), big.NewInt(103))
		require.Equal(t, net.Int64(), instant.Net.Minor)

		fee := new(big.Int).Div(new(big.Int).Add(new(big.Int).Mul(exact, big.NewInt(2)), big.NewInt(99)), big.NewInt(100))
		require.Equal(t, fee.Int64(), policy.Terms(payout.MethodPayPal, "DE", cents(gross)).Fee.Minor)
		require.Zero(t, policy.Terms(payout.MethodPayPal, "BR", cents(gross)).Fee.Minor)
		require.Zero(t, policy.Terms(payout.MethodPayPal, "IN", cents(gross)).Fee.Minor)
		require.Zero(t, policy.Terms(payout.MethodStandard, "US", cents(gross)).Fee.Minor)
	})
}

func TestNetAndFeeAreTheGross(t *testing.T) {
	t.Parallel()
	policy := payout.DefaultPolicy()
	rapid.Check(t, func(t *rapid.T) {
		gross := rapid.OneOf(rapid.Int64Min(0), someSum()).Draw(t, "gross")
		terms := policy.Terms(someMethod().Draw(t, "method"), rapid.SampledFrom([]string{"US", "BR"}).Draw(t, "country"), cents(gross))
		require.Equal(t, gross, terms.Gross.Minor)
		require.Equal(t, gross, terms.Fee.Minor+terms.Net.Minor)
		require.GreaterOrEqual(t, terms.Fee.Minor, int64(0))
		require.GreaterOrEqual(t, terms.Net.Minor, int64(0))
	})
}

func TestAPolicyIsSaidToBeWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*payout.Policy)
		says   string
	}{
		"a fee of everything":   {func(p *payout.Policy) { p.InstantFeePercent = 100 }, "InstantFeePercent is 100: it must be from 0 to 99"},
		"a negative fee":        {func(p *payout.Policy) { p.PayPalFeePercent = -1 }, "PayPalFeePercent is -1"},
		"a negative cost":       {func(p *payout.Policy) { p.PayPalCostPercent = -1 }, "PayPalCostPercent is -1"},
		"no such schedule":      {func(p *payout.Policy) { p.DefaultSchedule = "hourly" }, `DefaultSchedule is "hourly": it must be daily`},
		"no minimum":            {limits(func(l *payout.Limits) { l.Minimum = 0 }), "the limits of USD: the Minimum must be more than zero"},
		"a negative cap":        {limits(func(l *payout.Limits) { l.PayPalCap = -1 }), "-1 is not from 0"},
		"too large a cap":       {limits(func(l *payout.Limits) { l.InstantCap = 1 << 60 }), "is not from 0"},
		"no instant minimum":    {limits(func(l *payout.Limits) { l.InstantMinimum = 0 }), "the InstantMinimum must be more than zero"},
		"a minimum of the fee":  {limits(func(l *payout.Limits) { l.Minimum = 1 }), "the Minimum must be more than PayPal's fee"},
		"a cap of the minimum":  {limits(func(l *payout.Limits) { l.InstantCap = l.InstantMinimum }), "the InstantCap must be several times the InstantMinimum"},
		"an item of little":     {limits(func(l *payout.Limits) { l.PayPalCap = 15_00 }), "the PayPalCap must be several times the Minimum"},
		"PayPal in other money": {func(p *payout.Policy) { p.Currencies["eur"] = p.Currencies["usd"] }, "the limits of EUR: a PayPalCap is for usd alone"},
	} {
		policy := payout.DefaultPolicy()
		c.change(&policy)
		require.ErrorContains(t, policy.Validate(), c.says, name)
	}
	require.NoError(t, payout.DefaultPolicy().Validate())
}

func limits(change func(*payout.Limits)) func(*payout.Policy) {
	return func(p *payout.Policy) {
		l := p.Currencies["usd"]
		change(&l)
		p.Currencies["usd"] = l
	}
}

// somePolicy is any that is valid.
func somePolicy() *rapid.Generator[payout.Policy] {
	return rapid.Custom(func(t *rapid.T) payout.Policy {
		return payout.Policy{
			Currencies: map[money.Currency]payout.Limits{"usd": {
				Minimum:        rapid.Int64Range(1, 3_000).Draw(t, "minimum"),
				InstantMinimum: rapid.Int64Range(1, 3_000).Draw(t, "instant minimum"),
				InstantCap:     rapid.Int64Range(500, 50_000).Draw(t, "instant cap"),
				PayPalCap:      rapid.Int64Range(500, 50_000).Draw(t, "PayPal cap"),
			}},
			InstantFeePercent: rapid.Int64Range(0, 20).Draw(t, "instant fee"),
			PayPalFeePercent:  rapid.Int64Range(0, 20).Draw(t, "PayPal fee"),
		}
	}).Filter(func(p payout.Policy) bool { return p.Validate() == nil })
}

// RULES.md §3, How much: parts take, cost and pay together exactly what the whole would, and each of
// them is a payout that the provider and the platform allow, whatever the policy.
func TestSplittingIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policy := somePolicy().Draw(t, "policy")
		limits := policy.Currencies["usd"]
		gross := rapid.Int64Range(1, 300_000).Draw(t, "gross")
		amount := cents(gross)

		requested := payout.Quote(payable(gross), firstDay, &amount, policy)
		whole := policy.Terms(payout.MethodInstant, "US", amount)
		if whole.Net.Minor >= limits.InstantMinimum {
			requireParts(t, whole, requested)
		} else {
			require.Equal(t, payout.BecauseBelowMinimum, requested.Skip)
		}
		for _, part := range requested.Payouts {
			require.LessOrEqual(t, part.Net.Minor, limits.InstantCap)
			require.GreaterOrEqual(t, part.Net.Minor, limits.InstantMinimum)
		}

		run := payout.Decide(byPayPal(gross), firstDay, policy)
		if gross >= limits.Minimum {
			requireParts(t, policy.Terms(payout.MethodPayPal, "US", amount), run)
		} else {
			require.Equal(t, payout.BecauseBelowMinimum, run.Skip)
		}
		for _, part := range run.Payouts {
			require.LessOrEqual(t, part.Net.Minor, limits.PayPalCap)
			require.GreaterOrEqual(t, part.Gross.Minor, limits.Minimum)
			require.Equal(t, part.Terms, policy.Terms(part.Method, "US", part.Gross), "a part is charged what its gross says")
		}
	})
}

func requireParts(t *rapid.T, whole payout.Terms, d payout.Decision) {
	require.NotEmpty(t, d.Payouts, "skipped: %s", d.Skip)
	require.Equal(t, whole, d.Total("usd"))
	for i, part := range d.Payouts {
		require.Equal(t, i+1, part.Part)
	}
}

// RULES.md §3 and docs.stripe.com/currencies: what Stripe wants in whole units is paid so, and the
// rest stays in the balance.
func TestStripeIsSentWholeUnits(t *testing.T) {
	t.Parallel()
	for currency, step := range map[money.Currency]int64{"huf": 100, "isk": 100, "kwd": 10, "jpy": 1, "eur": 1} {
		policy := payout.DefaultPolicy()
		policy.Currencies[currency] = payout.Limits{Minimum: 1_005}
		rapid.Check(t, func(t *rapid.T) {
			balance := rapid.Int64Range(1, 1_000_000_000).Draw(t, "balance")
			f := payable(0)
			f.Currency, f.Stripe.Currency, f.Stripe.ExternalCurrency = currency, currency, currency
			f.Payable = func(date.Date) money.Amount { return money.New(balance, currency) }

			d := payout.Decide(f, firstDay, policy)

			if sent := balance - balance%step; sent >= 1_005 {
				require.Len(t, d.Payouts, 1)
				require.Equal(t, money.New(sent, currency), d.Payouts[0].Net)
				require.Equal(t, d.Payouts[0].Net, d.Payouts[0].Gross)
			} else {
				require.Equal(t, payout.BecauseBelowMinimum, d.Skip)
			}
		})
	}
}

func TestFeesAreSaidInWords(t *testing.T) {
	t.Parallel()
	policy := payout.DefaultPolicy()
	require.Equal(t, "3 % of what is paid", policy.FeeRule(payout.MethodInstant, "US"))
	require.Equal(t, "2 % of the amount", policy.FeeRule(payout.MethodPayPal, "US"))
	require.Equal(t, "none", policy.FeeRule(payout.MethodPayPal, "IN"))
	require.Equal(t, "none", policy.FeeRule(payout.MethodStandard, "US"))
	require.Equal(t, 72*time.Hour, policy.DestinationWait)
}
