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

// civil is a date that a test names.
func civil(t *testing.T, text string) date.Date {
	t.Helper()
	d, err := date.Parse(text)
	require.NoError(t, err)
	return d
}

func cents(minor int64) money.Amount { return money.New(minor, "usd") }

// always is a balance that does not depend on the cutoff.
func always(minor int64) func(date.Date) money.Amount {
	return func(date.Date) money.Amount { return cents(minor) }
}

// payable is a payee against whom nothing speaks, who is paid weekly by Stripe and never was before.
func payable(minor int64) payout.Facts {
	return payout.Facts{
		AsOf: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC), Frequency: payout.Weekly, Currency: "usd", Country: "US",
		Rail: payout.RailStripe, Compliant: true, Payable: always(minor), PayPalEmail: "ada@example.com",
		Stripe: payout.StripeDestination{
			Linked: true, Checked: true, External: true, ManualSchedule: true, PayoutsEnabled: true,
			Currency: "usd", ExternalCurrency: "usd", OffersInstant: true, PaidBefore: true,
		},
	}
}

// byPayPal is the same payee without a Stripe account, who chose PayPal.
func byPayPal(minor int64) payout.Facts {
	f := payable(minor)
	f.Rail, f.Stripe = payout.RailPayPal, payout.StripeDestination{}
	return f
}

// earned is a history of a payee's balance: what came in on which day, and what went out of it.
type earned struct {
	credits map[date.Date]int64
	debits  int64
}

// through is what is payable of the earnings through a date.
func (e *earned) through(cutoff date.Date) money.Amount {
	sum := -e.debits
	for day, credit := range e.credits {
		if !day.After(cutoff) {
			sum += credit
		}
	}
	return cents(sum)
}

// The days on which tests let things happen: two years, so that every month and quarter ends in them.
var firstDay = date.New(2026, time.January, 1)

const manyDays = 730

// someDay is one of them. Generators are made anew by whoever draws from them: they are not safe for tests
// that run at the same time.
func someDay() *rapid.Generator[date.Date] {
	return rapid.Custom(func(t *rapid.T) date.Date { return firstDay.AddDays(rapid.IntRange(0, manyDays).Draw(t, "day")) })
}

// someSum is an amount as it may be anywhere, often near a limit.
func someSum() *rapid.Generator[int64] {
	return rapid.OneOf(
		rapid.Int64Range(1, 5_000),
		rapid.Int64Range(1_029_000, 1_031_000),
		rapid.Int64Range(2_040_000, 2_042_000),
		rapid.Int64Range(1, 100_000_000),
		rapid.SampledFrom([]int64{1, 100, 102, 103, 999, 1_000, 999_900, 1_029_897, 1_029_898, 1_029_899, 2_000_000, 2_040_800, 2_040_801}),
	)
}

// someHistory has earnings on some days and refunds.
func someHistory() *rapid.Generator[*earned] {
	return rapid.Custom(func(t *rapid.T) *earned {
		e := &earned{credits: map[date.Date]int64{}}
		for range rapid.IntRange(0, 8).Draw(t, "earnings") {
			e.credits[someDay().Draw(t, "earned on")] += someSum().Draw(t, "earned")
		}
		if rapid.IntRange(0, 3).Draw(t, "refunds") == 0 {
			e.debits = someSum().Draw(t, "refunded")
		}
		return e
	})
}

// somePayee is a payee of whom anything may be true; most are payable.
func somePayee() *rapid.Generator[payout.Facts] {
	return rapid.Custom(func(t *rapid.T) payout.Facts {
		rarely := func(what string) bool { return rapid.IntRange(0, 11).Draw(t, what) == 0 }
		f := payable(0)
		f.Frequency = rapid.SampledFrom(payout.Frequencies()).Draw(t, "frequency")
		f.Country = rapid.SampledFrom([]string{"US", "US", "DE", "BR", "IN"}).Draw(t, "country")
		f.Rail = rapid.SampledFrom([]payout.Rail{payout.RailStripe, payout.RailPayPal}).Draw(t, "rail")
		f.Minimum = cents(rapid.SampledFrom([]int64{0, 0, 500, 5_000}).Draw(t, "own minimum"))
		f.Compliant = !rarely("not compliant")
		if rarely("paused") {
			f.Pauses = []payout.Source{rapid.SampledFrom([]payout.Source{payout.SourcePayee, payout.SourceSystem}).Draw(t, "source")}
		}
		f.OpenPayout = rarely("open payout")
		if rapid.Bool().Draw(t, "ran before") {
			f.LastCycle = someDay().Draw(t, "last cycle")
		}
		f.Stripe.Linked = !rarely("not linked")
		f.Stripe.ManualSchedule = !rarely("automatic")
		f.Stripe.ExternalErrored = rarely("errored")
		f.Stripe.OffersInstant = !rarely("not offered")
		f.Stripe.PaidBefore = !rarely("never paid")
		f.Payable = someHistory().Draw(t, "history").through
		return f
	})
}
