package payout

import (
	"time"
	"unicode"

	"github.com/holdfast/holdfast/internal/money"
)

// instantCountry is where instant payouts are made.
const instantCountry = "US"

// StripeDestination is a payee's connected account with its bank or card, as a look at it showed, and
// what we know of payouts to it. The zero value is a payee without one.
type StripeDestination struct {
	Linked  bool // there is a connected account
	Checked bool // it has been looked at; without that the rest means nothing

	External         bool // it has a bank or card
	ExternalErrored  bool // to which a payout failed, so that Stripe sends none until it is replaced
	ManualSchedule   bool // it pays out nothing by itself
	PayoutsEnabled   bool
	BalanceNegative  bool
	Currency         money.Currency // the account's
	ExternalCurrency money.Currency
	OffersInstant    bool // the bank or card takes instant payouts

	PaidBefore          bool      // at least one payout to this very bank or card was paid
	ChangedAt           time.Time // when anything about the destination last changed
	InstantRefusedUntil time.Time // when what an instant payout's refusal forbids is over; zero: none was refused
}

// Problem is why nothing can be paid to the destination in a currency; empty when it can. It is asked
// when an account is linked, at each look at it, and right before a transfer.
func (d StripeDestination) Problem(c money.Currency) Reason {
	switch {
	case !d.Linked:
		return BecauseNoDestination
	case !d.Checked:
		return BecauseDestinationUnchecked
	case !d.ManualSchedule:
		return BecauseScheduleNotManual
	case !d.PayoutsEnabled:
		return BecausePayoutsDisabled
	case !d.External:
		return BecauseNoDestination
	case d.ExternalErrored:
		return BecauseExternalErrored
	case d.BalanceNegative:
		return BecauseAccountNegative
	case d.Currency != c || d.ExternalCurrency != c:
		return BecauseCurrencyMismatch
	default:
		return ""
	}
}

// payPalProblem is why nothing can be paid to an e-mail address at PayPal in a currency.
func payPalProblem(email string, c money.Currency, p Policy) Reason {
	switch {
	case email == "":
		return BecauseNoDestination
	case !isASCII(email):
		return BecauseEmailNotASCII
	case p.Currencies[c].PayPalCap == 0:
		return BecausePayPalNotInCurrency
	default:
		return ""
	}
}

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] > unicode.MaxASCII {
			return false
		}
	}
	return true
}

// PaidBy is the rail on which a payee is paid. PayPal is for payees without a usable Stripe account:
// who chose PayPal and has one is paid by Stripe. Who chose Stripe is never paid by PayPal, at its fee.
func (f Facts) PaidBy() Rail {
	if f.Rail == RailPayPal && f.Stripe.Problem(f.Currency) != "" {
		return RailPayPal
	}
	return RailStripe
}

// unreachable is why a payee cannot be paid by a method; empty when it can.
func (f Facts) unreachable(m Method, p Policy) Reason {
	if m == MethodPayPal {
		return payPalProblem(f.PayPalEmail, f.Currency, p)
	}
	if m == MethodInstant {
		if reason := f.NotInstant(p); reason != "" {
			return reason
		}
	}
	return f.Stripe.Problem(f.Currency)
}

// NotInstant is why a payee cannot be paid instantly, leaving aside the checks that a standard payout
// has too; empty when nothing speaks against it.
func (f Facts) NotInstant(p Policy) Reason {
	d := f.Stripe
	switch {
	case f.PaidBy() != RailStripe:
		return BecauseInstantNotOnRail
	case p.Currencies[f.Currency].InstantCap == 0:
		return BecauseInstantNotInCurrency
	case f.Country != instantCountry:
		return BecauseInstantNotInCountry
	case !d.Linked:
		return BecauseNoDestination
	case !d.Checked:
		return BecauseDestinationUnchecked
	case !d.OffersInstant:
		return BecauseInstantNotOffered
	case !d.PaidBefore:
		return BecauseInstantNotYet
	case f.AsOf.Before(d.ChangedAt.Add(p.DestinationWait)):
		return BecauseDestinationChanged
	case f.AsOf.Before(d.InstantRefusedUntil):
		return BecauseInstantRefused
	default:
		return ""
	}
}
