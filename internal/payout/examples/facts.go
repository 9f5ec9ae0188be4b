package main

import (
	"fmt"
	"strings"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
)

// payee is one against whom nothing speaks but what the words of a cell say.
func payee(words string) (payout.Facts, error) {
	f := payout.Facts{
		Currency: usd, Country: "US", Rail: payout.RailStripe, Compliant: true, PayPalEmail: "ada@example.com",
		Stripe: payout.StripeDestination{
			Linked: true, Checked: true, External: true, ManualSchedule: true, PayoutsEnabled: true,
			Currency: usd, ExternalCurrency: usd, OffersInstant: true, PaidBefore: true,
		},
	}
	for _, word := range list(words) {
		if err := learn(&f, word); err != nil {
			return payout.Facts{}, err
		}
	}
	return f, nil
}

// learn makes true what one of the words says that are always the same, or that name something.
func learn(f *payout.Facts, word string) error {
	switch word {
	case "open payout":
		f.OpenPayout = true
	case "paypal chosen":
		f.Rail = payout.RailPayPal
	case "paypal":
		f.Rail, f.Stripe = payout.RailPayPal, payout.StripeDestination{}
	case "automatic schedule":
		f.Stripe.ManualSchedule = false
	case "account negative":
		f.Stripe.BalanceNegative = true
	case "bank errored":
		f.Stripe.ExternalErrored = true
	case "instant not offered":
		f.Stripe.OffersInstant = false
	case "never paid there":
		f.Stripe.PaidBefore = false
	default:
		return learnNamed(f, word)
	}
	return nil
}

// learnNamed makes true what is said with a name, a date or an amount at the end.
func learnNamed(f *payout.Facts, word string) error {
	space := strings.LastIndex(word, " ")
	if space < 0 {
		return fmt.Errorf("nobody knows the fact %q", word)
	}
	what, named := word[:space], word[space+1:]
	var err error
	switch what {
	case "country":
		f.Country = named
	case "paused by":
		f.Pauses = append(f.Pauses, payout.Source(named))
	case "bank in":
		f.Stripe.ExternalCurrency = money.Currency(named)
	case "minimum":
		f.Minimum, err = money.Parse(named, usd)
	case "changed on": // at the hour of the run, so that days are whole
		var on date.Date
		on, err = date.Parse(named)
		f.Stripe.ChangedAt = on.Time().Add(runHour)
	case "refused until":
		var on date.Date
		on, err = date.Parse(named)
		f.Stripe.InstantRefusedUntil = on.Time()
	default:
		return fmt.Errorf("nobody knows the fact %q", word)
	}
	return err
}
