package payout_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
)

// RULES.md §3, Once: an instant payout on request covers earnings through yesterday.
func TestAQuoteIsOfWhatWasEarnedThroughYesterday(t *testing.T) {
	t.Parallel()
	today := civil(t, "2026-11-18")
	balance := &earned{credits: map[date.Date]int64{today: 1, today.AddDays(-1): 60_00, today.AddDays(-30): 40_00}}
	f := payable(0)
	f.Payable = balance.through

	all := payout.Quote(f, today, nil, payout.DefaultPolicy())

	require.Equal(t, payout.Terms{Gross: cents(100_00), Fee: cents(2_92), Net: cents(97_08)}, all.Total("usd"))
	require.Equal(t, today.AddDays(-1), all.Payouts[0].PeriodEnd)
	require.Equal(t, today, all.Payouts[0].DueDate)
	require.True(t, all.CycleRun.IsZero(), "the schedule goes on")
}

func TestWhatCannotBeRequested(t *testing.T) {
	t.Parallel()
	policy := payout.DefaultPolicy()
	for name, c := range map[string]struct {
		amount money.Amount
		want   payout.Reason
	}{
		"nothing":           {cents(0), payout.BecauseAmountNotPositive},
		"less":              {cents(-1), payout.BecauseAmountNotPositive},
		"other money":       {money.New(5_00, "eur"), payout.BecauseCurrencyMismatch},
		"a net of 99 cent":  {cents(1_02), payout.BecauseBelowMinimum},
		"a cent too much":   {cents(100_01), payout.BecauseAboveAvailable},
		"a net of a dollar": {cents(1_03), ""},
		"everything":        {cents(100_00), ""},
	} {
		require.Equal(t, c.want, payout.Quote(payable(100_00), firstDay, &c.amount, policy).Skip, name)
	}
	require.Equal(t, payout.BecauseBelowMinimum, payout.Quote(payable(1_02), firstDay, nil, policy).Skip)
	huge := cents(9_999_00 * 1_031)
	require.Equal(t, payout.BecauseAboveLimit, payout.Quote(payable(huge.Minor), firstDay, &huge, policy).Skip)
	require.Len(t, payout.Quote(payable(huge.Minor), firstDay, nil, policy).Payouts, 1000, "the rest can be asked for later")

	policy.Currencies["huf"] = payout.Limits{Minimum: 100, InstantMinimum: 100, InstantCap: 100_000_000}
	f := payable(0)
	f.Currency = "huf"
	f.Payable = func(date.Date) money.Amount { return money.New(1_000_000, "huf") }
	part := money.New(20_601, "huf")
	require.Equal(t, payout.BecauseNotAStep, payout.Quote(f, firstDay, &part, policy).Skip)
}

// RULES.md §3, How much: a quote, an option's example and a run say the same of the same balance.
func TestWhatIsShownIsWhatIsCharged(t *testing.T) {
	t.Parallel()
	policy := payout.DefaultPolicy()
	rapid.Check(t, func(t *rapid.T) {
		f, today := somePayee().Draw(t, "payee"), someDay().Draw(t, "today")
		f.LastCycle, f.OpenPayout, f.Pauses = today.AddDays(-100), false, nil
		balance := f.Payable(today.AddDays(-1)).Minor
		f.Payable = always(balance)
		for _, option := range payout.Options(f, today, policy) {
			f.Frequency = option.Frequency
			run := payout.Decide(f, option.Next.Date, policy)
			if len(run.Payouts) == 0 || run.Payouts[0].Method != option.Method {
				continue
			}
			require.True(t, option.Eligible(), "%s", option.Reason)
			require.Equal(t, run.Total("usd"), *option.Example)
			if quote := payout.Quote(f, today, nil, policy); option.Method == payout.MethodInstant && len(quote.Payouts) == 1 {
				require.Equal(t, *option.Example, quote.Total("usd"))
			}
		}
	})
}

func TestOptionsSayWhyNot(t *testing.T) {
	t.Parallel()
	policy, today := payout.DefaultPolicy(), civil(t, "2026-11-18")
	f := payable(100_00)
	f.Stripe.PaidBefore = false

	options := payout.Options(f, today, policy)

	require.Equal(t, payout.Option{
		Frequency: payout.Daily, Method: payout.MethodInstant, FeeRule: "3 % of what is paid", Reason: payout.BecauseInstantNotYet,
		Next:    payout.Cycle{Date: civil(t, "2026-11-19"), CoversThrough: civil(t, "2026-11-18")},
		Example: &payout.Terms{Gross: cents(100_00), Fee: cents(2_92), Net: cents(97_08)},
	}, options[0])
	require.Equal(t, payout.Option{
		Frequency: payout.Quarterly, Method: payout.MethodStandard, FeeRule: "none",
		Next:    payout.Cycle{Date: civil(t, "2026-12-25"), CoversThrough: civil(t, "2026-12-18")},
		Example: &payout.Terms{Gross: cents(100_00), Fee: cents(0), Net: cents(100_00)},
	}, options[3])

	f.Compliant = false
	require.Equal(t, payout.BecauseNotCompliant, payout.Options(f, today, policy)[1].Reason)
	f = byPayPal(-5)
	require.Equal(t, payout.BecauseInstantNotOnRail, payout.Options(f, today, policy)[0].Reason)
	require.Nil(t, payout.Options(f, today, policy)[1].Example, "a debt is no example")
	f.Currency = "eur"
	require.Equal(t, payout.BecauseCurrencyNotPaidOut, payout.Options(f, today, policy)[1].Reason)
	require.Nil(t, payout.Options(byPayPal(1), today, policy)[0].Example, "a cent is all fee")

	f = payable(0)
	f.Payable = (&earned{credits: map[date.Date]int64{today: 5_00, today.AddDays(-1): 7_00}}).through
	require.Equal(t, cents(7_00), payout.Options(f, today, policy)[1].Example.Gross, "what is earned today is not yet payable")
	f.Stripe.Checked = false
	require.Equal(t, payout.BecauseDestinationUnchecked, payout.Options(f, today, policy)[0].Reason)
	f.Stripe = payout.StripeDestination{}
	require.Equal(t, payout.BecauseNoDestination, payout.Options(f, today, policy)[0].Reason)
}

// RULES.md §3, How much: a retry has no minimum, and pays no more than is still there.
func TestARetry(t *testing.T) {
	t.Parallel()
	policy := payout.DefaultPolicy()
	failed := payout.Decide(payable(50_00), civil(t, "2026-11-20"), policy).Payouts[0]
	again := payout.Retry(payable(5_00), failed, policy)
	require.Equal(t, payout.Terms{Gross: cents(5_00), Fee: cents(0), Net: cents(5_00)}, again.Total("usd"))
	require.Equal(t, failed.PeriodEnd, again.Payouts[0].PeriodEnd)
	require.Equal(t, failed.Terms, payout.Retry(payable(900_00), failed, policy).Payouts[0].Terms)

	since := payable(0)
	since.Payable = (&earned{credits: map[date.Date]int64{failed.PeriodEnd: 20_00, failed.DueDate: 30_00}}).through
	require.Equal(t, cents(20_00), payout.Retry(since, failed, policy).Payouts[0].Gross, "what was earned since is for the next cycle")

	large := payout.Plan{Terms: policy.Terms(payout.MethodStandard, "US", cents(50_000_00)), Method: payout.MethodStandard, Part: 3}
	byOther := payout.Retry(byPayPal(50_000_00), large, policy).Payouts
	require.Len(t, byOther, 1)
	require.Equal(t, cents(20_408_00), byOther[0].Gross, "as much as one item may be")
	require.Equal(t, 3, byOther[0].Part)

	daily := payable(50_00)
	daily.Frequency = payout.Daily
	instant := payout.Decide(daily, civil(t, "2026-11-18"), policy).Payouts[0]
	require.Equal(t, instant, payout.Retry(daily, instant, policy).Payouts[0])
	daily.Stripe.OffersInstant = false
	standard := payout.Retry(daily, instant, policy)
	require.Equal(t, payout.MethodStandard, standard.Payouts[0].Method)
	require.Equal(t, cents(0), standard.Payouts[0].Fee)
	require.Equal(t, payout.BecauseInstantNotOffered, standard.NotInstant)

	for reason, f := range map[payout.Reason]payout.Facts{
		payout.BecauseNothingToPay:     payable(0),
		payout.BecauseBalanceNegative:  payable(-1),
		payout.BecauseNotCompliant:     {},
		payout.BecauseOpenPayout:       {Compliant: true, OpenPayout: true},
		payout.BecauseCurrencyMismatch: {Compliant: true, Payable: always(1), Currency: "eur"},
		payout.BecauseNoDestination:    {Compliant: true, Payable: always(1), Currency: "usd"},
	} {
		require.Equal(t, reason, payout.Retry(f, failed, policy).Skip)
	}
}
