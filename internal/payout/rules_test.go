package payout_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
)

// obstacle is something that speaks against a payout, and the reason that is then given.
type obstacle struct {
	reason payout.Reason
	put    func(*payout.Facts)
}

func destination(change func(*payout.StripeDestination)) func(*payout.Facts) {
	return func(f *payout.Facts) { change(&f.Stripe) }
}

// Those of every payout, in the order of RULES.md §3, Who is paid, before the destination is looked at.
func ofThePayee(date date.Date) []obstacle {
	return []obstacle{
		{payout.BecauseNotCompliant, func(f *payout.Facts) { f.Compliant = false }},
		{payout.BecausePausedByOperator, func(f *payout.Facts) { f.Pauses = append(f.Pauses, payout.SourceOperator) }},
		{payout.BecausePausedByProvider, func(f *payout.Facts) { f.Pauses = append(f.Pauses, payout.SourceProvider) }},
		{payout.BecausePausedBySystem, func(f *payout.Facts) { f.Pauses = append(f.Pauses, payout.SourceSystem) }},
		{payout.BecausePausedByPayee, func(f *payout.Facts) { f.Pauses = append(f.Pauses, payout.SourcePayee) }},
		{payout.BecauseNotDue, func(f *payout.Facts) { f.LastCycle = date }},
		{payout.BecauseOpenPayout, func(f *payout.Facts) { f.OpenPayout = true }},
		{payout.BecauseCurrencyMismatch, func(f *payout.Facts) { f.Minimum = money.New(1, "eur") }},
		{payout.BecauseBelowMinimum, func(f *payout.Facts) { f.Payable = always(99) }},
	}
}

func ofInstants(asOf time.Time) []obstacle {
	return []obstacle{
		{payout.BecauseInstantNotInCountry, func(f *payout.Facts) { f.Country = "DE" }},
		{payout.BecauseInstantNotOffered, destination(func(d *payout.StripeDestination) { d.OffersInstant = false })},
		{payout.BecauseInstantNotYet, destination(func(d *payout.StripeDestination) { d.PaidBefore = false })},
		{payout.BecauseDestinationChanged, destination(func(d *payout.StripeDestination) { d.ChangedAt = asOf.Add(-72*time.Hour + time.Second) })},
		{payout.BecauseInstantRefused, destination(func(d *payout.StripeDestination) { d.InstantRefusedUntil = asOf.Add(time.Second) })},
	}
}

func ofStripesDestination() []obstacle {
	return []obstacle{
		{payout.BecauseScheduleNotManual, destination(func(d *payout.StripeDestination) { d.ManualSchedule = false })},
		{payout.BecausePayoutsDisabled, destination(func(d *payout.StripeDestination) { d.PayoutsEnabled = false })},
		{payout.BecauseNoDestination, destination(func(d *payout.StripeDestination) { d.External = false })},
		{payout.BecauseExternalErrored, destination(func(d *payout.StripeDestination) { d.ExternalErrored = true })},
		{payout.BecauseAccountNegative, destination(func(d *payout.StripeDestination) { d.BalanceNegative = true })},
		{payout.BecauseCurrencyMismatch, destination(func(d *payout.StripeDestination) { d.ExternalCurrency = "eur" })},
	}
}

// requireOrder puts ever fewer obstacles in the way of a payout, from the back of the list to its front
// always all that come later: the one that is looked for first is the reason.
func requireOrder(t *testing.T, all []obstacle, f payout.Facts, reason func(payout.Facts) payout.Reason) {
	t.Helper()
	require.Empty(t, reason(f), "nothing speaks against it")
	for i := range all {
		blocked := f
		for _, o := range all[i:] {
			o.put(&blocked)
		}
		require.Equal(t, all[i].reason, reason(blocked))
		alone := f
		all[i].put(&alone)
		require.Equal(t, all[i].reason, reason(alone), "alone")
	}
}

// RULES.md §3, Who is paid: the reasons come in its order.
func TestTheFirstObstacleIsTheReason(t *testing.T) {
	t.Parallel()
	friday := civil(t, "2026-11-20")
	policy := payout.DefaultPolicy()
	skip := func(f payout.Facts) payout.Reason { return payout.Decide(f, friday, policy).Skip }

	standard := append(ofThePayee(friday), ofStripesDestination()...)
	requireOrder(t, standard, payable(100_00), skip)

	daily := payable(100_00)
	daily.Frequency = payout.Daily
	instant := append(append(ofThePayee(friday), ofInstants(daily.AsOf)...), ofStripesDestination()...)
	saturday := friday.AddDays(1)
	daily.LastCycle = friday
	instant[5].put = func(f *payout.Facts) { f.LastCycle = saturday }
	requireOrder(t, instant, daily, func(f payout.Facts) payout.Reason {
		d := payout.Decide(f, saturday, policy)
		if len(d.Payouts) == 0 && d.NotInstant != "" {
			require.Equal(t, d.Skip, d.NotInstant)
		}
		return d.Skip
	})

	onRequest := append(append(ofThePayee(friday), ofInstants(daily.AsOf)...), ofStripesDestination()...)
	onRequest = append(onRequest[:5], onRequest[6:]...) // which is due when it is asked for
	requireOrder(t, onRequest, payable(100_00), func(f payout.Facts) payout.Reason {
		return payout.Quote(f, friday, nil, policy).Skip
	})

	payPal := append(ofThePayee(friday),
		obstacle{payout.BecauseEmailNotASCII, func(f *payout.Facts) { f.PayPalEmail = "zoë@example.com" }})
	requireOrder(t, payPal, byPayPal(100_00), skip)
	nowhere := byPayPal(100_00)
	nowhere.PayPalEmail = ""
	require.Equal(t, payout.BecauseNoDestination, skip(nowhere))
}

func TestOtherReasons(t *testing.T) {
	t.Parallel()
	friday := civil(t, "2026-11-20")
	policy := payout.DefaultPolicy()
	for name, c := range map[string]struct {
		change func(*payout.Facts)
		want   payout.Reason
	}{
		"a balance of other money":    {func(f *payout.Facts) { f.Payable = func(date.Date) money.Amount { return money.New(100_00, "eur") } }, payout.BecauseCurrencyMismatch},
		"a currency not configured":   {func(f *payout.Facts) { f.Currency = "eur" }, payout.BecauseCurrencyNotPaidOut},
		"nothing":                     {func(f *payout.Facts) { f.Payable = always(0) }, payout.BecauseNothingToPay},
		"a debt":                      {func(f *payout.Facts) { f.Payable = always(-1) }, payout.BecauseBalanceNegative},
		"the payee's own minimum":     {func(f *payout.Facts) { f.Minimum = cents(100_01) }, payout.BecauseBelowMinimum},
		"no Stripe account":           {func(f *payout.Facts) { f.Stripe = payout.StripeDestination{} }, payout.BecauseNoDestination},
		"an account not yet seen":     {destination(func(d *payout.StripeDestination) { d.Checked = false }), payout.BecauseDestinationUnchecked},
		"an account in another money": {destination(func(d *payout.StripeDestination) { d.Currency = "cad" }), payout.BecauseCurrencyMismatch},
	} {
		f := payable(100_00)
		c.change(&f)
		require.Equal(t, c.want, payout.Decide(f, friday, policy).Skip, name)
	}
}

// RULES.md §3, Who is paid: 72 hours and seven days, to the second.
func TestInstantPayoutsWait(t *testing.T) {
	t.Parallel()
	policy := payout.DefaultPolicy()
	f := payable(100_00)
	f.Stripe.ChangedAt = f.AsOf.Add(-policy.DestinationWait)
	f.Stripe.InstantRefusedUntil = f.AsOf
	require.Empty(t, f.NotInstant(policy))
	f.Stripe.ChangedAt = f.AsOf.Add(time.Hour) // after the time of a run that comes late
	require.Equal(t, payout.BecauseDestinationChanged, f.NotInstant(policy))
}

func TestPayPalIsForThoseWithoutAUsableStripeAccount(t *testing.T) {
	t.Parallel()
	f := payable(100_00)
	f.Rail = payout.RailPayPal
	require.Equal(t, payout.RailStripe, f.PaidBy())
	f.Stripe.PayoutsEnabled = false
	require.Equal(t, payout.RailPayPal, f.PaidBy())
	f.Rail = payout.RailStripe
	require.Equal(t, payout.RailStripe, f.PaidBy(), "who did not choose PayPal does not pay its fee")
	require.Equal(t, payout.BecauseInstantNotOnRail, byPayPal(100_00).NotInstant(payout.DefaultPolicy()))
}

// RULES.md §3: whatever is true of a payee, what is paid is within what there is, the policy and the
// rail; and when nothing is paid, it is said why.
func TestADecisionKeepsToTheRules(t *testing.T) {
	t.Parallel()
	policy := payout.DefaultPolicy()
	limits := policy.Currencies["usd"]
	rapid.Check(t, func(t *rapid.T) {
		f, runDate := somePayee().Draw(t, "payee"), someDay().Draw(t, "run")
		d := payout.Decide(f, runDate, policy)

		if len(d.Payouts) == 0 {
			require.NotEmpty(t, d.Skip.Sentence(), "%q", d.Skip)
			return
		}
		require.Empty(t, d.Skip)
		require.True(t, f.Compliant && len(f.Pauses) == 0 && !f.OpenPayout)
		method, periodEnd := d.Payouts[0].Method, d.Payouts[0].PeriodEnd
		require.Equal(t, f.PaidBy(), method.Rail(), "one rail for each run")
		require.True(t, periodEnd.Before(runDate))
		require.LessOrEqual(t, d.Total("usd").Gross.Minor, f.Payable(periodEnd).Minor)
		require.GreaterOrEqual(t, f.Payable(periodEnd).Minor, f.Minimum.Minor)
		for _, plan := range d.Payouts {
			require.Equal(t, method, plan.Method)
			require.Equal(t, periodEnd, plan.PeriodEnd)
			require.Equal(t, plan.Terms, policy.Terms(method, f.Country, plan.Gross))
			require.Positive(t, plan.Net.Minor)
			require.False(t, plan.DueDate.After(runDate))
			switch method {
			case payout.MethodInstant:
				require.Len(t, d.Payouts, 1)
				require.Empty(t, f.NotInstant(policy))
				require.Equal(t, runDate.AddDays(-1), periodEnd)
				require.LessOrEqual(t, plan.Net.Minor, limits.InstantCap)
				require.GreaterOrEqual(t, plan.Net.Minor, limits.InstantMinimum)
			case payout.MethodPayPal:
				require.LessOrEqual(t, plan.Net.Minor, limits.PayPalCap)
				require.GreaterOrEqual(t, plan.Gross.Minor, limits.Minimum)
			default:
				require.Len(t, d.Payouts, 1)
				require.Equal(t, f.Payable(periodEnd), plan.Gross)
				require.GreaterOrEqual(t, plan.Gross.Minor, limits.Minimum)
			}
		}
	})
}

// RULES.md §3, Dates and cycles: what cannot go instantly is paid by the Friday's cycle, as a weekly
// payee is paid, and on other days is tried again.
func TestDailyPayeesFallBackOnFridays(t *testing.T) {
	t.Parallel()
	policy := payout.DefaultPolicy()
	rapid.Check(t, func(t *rapid.T) {
		f, runDate := somePayee().Draw(t, "payee"), someDay().Draw(t, "run")
		f.Frequency = payout.Daily
		f.LastCycle = runDate.AddDays(-rapid.IntRange(1, 20).Draw(t, "days since the last cycle"))
		f.Stripe.OffersInstant = false
		d := payout.Decide(f, runDate, policy)

		weekly := f
		weekly.Frequency = payout.Weekly
		want := payout.Decide(weekly, runDate, policy)
		require.Equal(t, want.Payouts, d.Payouts)
		if want.Skip != payout.BecauseNotDue {
			require.Equal(t, want.Skip, d.Skip)
		}
		if len(d.Payouts) > 0 {
			require.NotEmpty(t, d.NotInstant)
			require.Equal(t, want.CycleRun, d.CycleRun)
		}
	})
}

// Who earns more is not paid less.
func TestPayIsMonotone(t *testing.T) {
	t.Parallel()
	policy := payout.DefaultPolicy()
	rapid.Check(t, func(t *rapid.T) {
		f, runDate := somePayee().Draw(t, "payee"), someDay().Draw(t, "run")
		poorer := payout.Decide(f, runDate, policy)
		before, day, more := f.Payable, someDay().Draw(t, "earned on"), someSum().Draw(t, "earned")
		f.Payable = func(through date.Date) money.Amount {
			if day.After(through) {
				return before(through)
			}
			return cents(before(through).Minor + more)
		}
		richer := payout.Decide(f, runDate, policy)
		require.GreaterOrEqual(t, richer.Total("usd").Gross.Minor, poorer.Total("usd").Gross.Minor)
		require.GreaterOrEqual(t, richer.Total("usd").Net.Minor, poorer.Total("usd").Net.Minor)
		require.GreaterOrEqual(t, len(richer.Payouts), len(poorer.Payouts))
	})
}

// RULES.md §3, Dates and cycles: whatever the dates of runs are, and whatever stood in the way of some
// of them, every earning that a cycle covers is paid once; nothing that it does not cover is.
func TestEveryEarningIsPaidOnce(t *testing.T) {
	t.Parallel()
	policy := payout.DefaultPolicy()
	rapid.Check(t, func(t *rapid.T) {
		f, balance := payable(0), &earned{credits: map[date.Date]int64{}}
		f.Frequency = rapid.SampledFrom(payout.Frequencies()).Draw(t, "frequency")
		f.Stripe.OffersInstant = rapid.Bool().Draw(t, "instant")
		f.LastCycle, f.Payable = firstDay.AddDays(-1), balance.through
		for range rapid.IntRange(1, 20).Draw(t, "earnings") {
			balance.credits[someDay().Draw(t, "earned on")] += rapid.Int64Range(10_00, 2_000_00).Draw(t, "earned")
		}
		end := firstDay
		for _, runDate := range rapid.SliceOfN(someDay(), 0, 20).Draw(t, "runs") {
			obstructed := f
			obstructed.OpenPayout = rapid.IntRange(0, 3).Draw(t, "an open payout") == 0
			run(t, &obstructed, balance, runDate, policy)
			f.LastCycle = obstructed.LastCycle
			if runDate.After(end) {
				end = runDate
			}
		}
		for range 20 { // an instant payout pays so much a day; in the end nothing is left
			run(t, &f, balance, end, policy)
			end = end.AddDays(1)
		}

		last := payout.DueCycles(f.Frequency, payoutsNeverRan, end.AddDays(-1))
		if f.Frequency == payout.Daily && !f.Stripe.OffersInstant {
			last = payout.DueCycles(payout.Weekly, payoutsNeverRan, end.AddDays(-1))
		}
		require.Zero(t, balance.through(last[0].CoversThrough).Minor)
	})
}

var payoutsNeverRan date.Date

// run pays what is decided, and keeps what the next run must know.
func run(t *rapid.T, f *payout.Facts, balance *earned, runDate date.Date, policy payout.Policy) {
	d := payout.Decide(*f, runDate, policy)
	for _, plan := range d.Payouts {
		require.GreaterOrEqual(t, balance.through(plan.PeriodEnd).Minor, plan.Gross.Minor)
		require.False(t, plan.DueDate.After(runDate))
		require.True(t, plan.DueDate.After(f.LastCycle), "a cycle that was run is paid again")
		balance.debits += plan.Gross.Minor
	}
	if !d.CycleRun.IsZero() {
		require.True(t, d.CycleRun.After(f.LastCycle))
		f.LastCycle = d.CycleRun
	}
}

// RULES.md §3, Dates and cycles: missed cycles are paid together, by the last one's cutoff, and have
// been due since the first.
func TestMissedCyclesArePaidTogether(t *testing.T) {
	t.Parallel()
	f := payable(100_00)
	f.LastCycle = civil(t, "2026-11-06")
	d := payout.Decide(f, civil(t, "2026-11-23"), payout.DefaultPolicy())
	require.Len(t, d.Payouts, 1)
	require.Equal(t, civil(t, "2026-11-13"), d.Payouts[0].DueDate)
	require.Equal(t, civil(t, "2026-11-13"), d.Payouts[0].PeriodEnd)
	require.Equal(t, civil(t, "2026-11-20"), d.CycleRun)
}

// What the policy has no cap for is not paid by that method at all.
func TestACurrencyIsNotPaidByEveryMethod(t *testing.T) {
	t.Parallel()
	policy := payout.Policy{Currencies: map[money.Currency]payout.Limits{"usd": {Minimum: 10_00}}}
	require.NoError(t, policy.Validate())
	require.Equal(t, payout.BecausePayPalNotInCurrency, payout.Decide(byPayPal(100_00), firstDay, policy).Skip)
	require.Equal(t, payout.BecauseInstantNotInCurrency, payout.Quote(payable(100_00), firstDay, nil, policy).Skip)
	require.Len(t, payout.Decide(payable(100_00), firstDay, policy).Payouts, 1)
	options := payout.Options(payable(100_00), firstDay, policy)
	require.Equal(t, payout.BecauseInstantNotInCurrency, options[0].Reason)
	require.Nil(t, options[0].Example)
	require.NotNil(t, options[1].Example)
}

// A cycle that met an obstacle stays due; one with nothing to pay is over.
func TestWhatEndsACycle(t *testing.T) {
	t.Parallel()
	friday := civil(t, "2026-11-20")
	policy := payout.DefaultPolicy()
	for reason, put := range map[payout.Reason]func(*payout.Facts){
		payout.BecauseNothingToPay:     func(f *payout.Facts) { f.Payable = always(0) },
		payout.BecauseBelowMinimum:     func(f *payout.Facts) { f.Payable = always(9_99) },
		payout.BecauseBalanceNegative:  func(f *payout.Facts) { f.Payable = always(-9_99) },
		payout.BecauseOpenPayout:       func(f *payout.Facts) { f.OpenPayout = true },
		payout.BecausePausedByPayee:    func(f *payout.Facts) { f.Pauses = []payout.Source{payout.SourcePayee} },
		payout.BecauseExternalErrored:  destination(func(d *payout.StripeDestination) { d.ExternalErrored = true }),
		payout.BecauseNotCompliant:     func(f *payout.Facts) { f.Compliant = false },
		payout.BecauseCurrencyMismatch: func(f *payout.Facts) { f.Minimum = money.New(1, "eur") },
	} {
		f := payable(100_00)
		put(&f)
		d := payout.Decide(f, friday, policy)
		require.Equal(t, reason, d.Skip)
		over := reason == payout.BecauseNothingToPay || reason == payout.BecauseBelowMinimum || reason == payout.BecauseBalanceNegative
		require.Equal(t, over, d.CycleRun == friday, "%s", reason)
		require.Equal(t, !over, d.CycleRun.IsZero(), "%s", reason)
	}
}

func TestEveryReasonHasACodeAndASentence(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range payout.Reasons() {
		require.Regexp(t, `^[a-z]+(_[a-z]+)*$`, string(r))
		require.Regexp(t, `^[A-Z].*\.$`, r.Sentence())
		require.False(t, seen[string(r)] || seen[r.Sentence()], "%s is said twice", r)
		seen[string(r)], seen[r.Sentence()] = true, true
	}
	require.Empty(t, payout.Reason("moon_phase").Sentence())
}
