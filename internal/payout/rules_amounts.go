package payout

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/holdfast/holdfast/internal/money"
)

// Policy is what the platform has decided about payouts.
type Policy struct {
	Currencies map[money.Currency]Limits // a currency that is not among them is not paid out

	InstantFeePercent int64    // of the net
	PayPalFeePercent  int64    // of the gross
	PayPalFeeWaived   []string // the countries whose payees are not charged PayPal's fee
	// PayPalCostPercent is what PayPal itself takes of the platform on top of each item.
	PayPalCostPercent int64
	// PayPalBatchSize is how many payouts go to PayPal together at most.
	PayPalBatchSize int

	DestinationWait time.Duration // how long after a change of destination nothing is paid instantly
	RefusalWait     time.Duration // the same after an instant payout was refused: StripeDestination.InstantRefusedUntil comes from it

	LookWithin time.Duration // for which no payout that is under way stays unlooked-at
	AccountAge time.Duration // after which the connected account of a payee with money here is looked at again

	DefaultSchedule Frequency                // of payees who chose none; empty: weekly
	ApprovalAbove   map[money.Currency]int64 // gross; a run that pays more waits for an operator, in a currency without one never
}

// Limits are those of one currency, in its minor units.
type Limits struct {
	Minimum        int64 // gross, of a payee's standard or PayPal payout
	InstantMinimum int64 // net
	InstantCap     int64 // net of one instant payout; 0: there are none in this currency
	PayPalCap      int64 // net of one item; 0: PayPal does not pay this currency
}

// DefaultPolicy is the policy of a platform that has decided nothing else.
func DefaultPolicy() Policy {
	return Policy{
		Currencies: map[money.Currency]Limits{
			"usd": {Minimum: 10_00, InstantMinimum: 1_00, InstantCap: 9_999_00, PayPalCap: 20_000_00},
		},
		InstantFeePercent: 3, PayPalFeePercent: 2, PayPalFeeWaived: []string{"BR", "IN"}, PayPalCostPercent: 2, PayPalBatchSize: 500,
		DestinationWait: 72 * time.Hour, RefusalWait: 7 * 24 * time.Hour, LookWithin: 24 * time.Hour, AccountAge: 7 * 24 * time.Hour, DefaultSchedule: Weekly,
	}
}

const (
	percent  = 100
	mostOf   = 1_000_000_000_000_000 // minor units that a limit may be, so that nothing overflows
	mostPart = 1000                  // parts of one sum; what is above them waits for the next cycle
)

// Validate tells what is wrong with a policy.
func (p Policy) Validate() error {
	var all []error
	for _, rate := range []struct {
		name  string
		value int64
	}{{"InstantFeePercent", p.InstantFeePercent}, {"PayPalFeePercent", p.PayPalFeePercent}, {"PayPalCostPercent", p.PayPalCostPercent}} {
		if rate.value < 0 || rate.value >= percent {
			all = append(all, fmt.Errorf("%s is %d: it must be from 0 to 99", rate.name, rate.value))
		}
	}
	if len(all) > 0 {
		return errors.Join(all...)
	}
	if p.DefaultSchedule != "" && !slices.Contains(Frequencies(), p.DefaultSchedule) {
		all = append(all, fmt.Errorf("DefaultSchedule is %.20q: it must be daily, weekly, monthly or quarterly", p.DefaultSchedule))
	}
	for _, c := range slices.Sorted(maps.Keys(p.Currencies)) {
		if err := p.validateLimits(c); err != nil {
			all = append(all, fmt.Errorf("the limits of %s: %w", c, err))
		}
	}
	return errors.Join(all...)
}

func (p Policy) validateLimits(c money.Currency) error {
	l := p.Currencies[c]
	for _, value := range []int64{l.Minimum, l.InstantMinimum, l.InstantCap, l.PayPalCap} {
		if value < 0 || value > mostOf {
			return fmt.Errorf("%d is not from 0 to %d", value, int64(mostOf))
		}
	}
	instant, payPal := l.InstantCap > 0, l.PayPalCap > 0
	for _, check := range []struct {
		wrong bool
		says  string
	}{
		{l.Minimum == 0, "the Minimum must be more than zero"},
		{instant && l.InstantMinimum == 0, "the InstantMinimum must be more than zero"},
		{payPal && c != payPalCurrency, "a PayPalCap is for usd alone"},
		{payPal && p.Terms(MethodPayPal, "", money.New(l.Minimum, c)).Net.Minor <= 0, "the Minimum must be more than PayPal's fee"},
		{instant && !p.canSplit(MethodInstant, c), "the InstantCap must be several times the InstantMinimum"},
		{payPal && !p.canSplit(MethodPayPal, c), "the PayPalCap must be several times the Minimum"},
	} {
		if check.wrong {
			return errors.New(check.says)
		}
	}
	return nil
}

// canSplit says whether any sum can be split into parts of which none is below the minimum.
func (p Policy) canSplit(m Method, c money.Currency) bool {
	return p.fullPart(m, "", c) >= 2*(p.leastPart(m, c)+p.unit(m, c))
}

// Terms are those of a payout by a method of a gross amount, which is not negative, to a payee in a
// country. Nothing else defines a fee: what is shown, quoted and charged comes from here.
func (p Policy) Terms(m Method, country string, gross money.Amount) Terms {
	fee := int64(0)
	switch {
	case m == MethodInstant: // gross × 100 ÷ 103, rounded down, is paid
		fee = gross.Minor - share(gross.Minor, percent, percent+p.InstantFeePercent)
	case m == MethodPayPal && !slices.Contains(p.PayPalFeeWaived, country):
		fee = gross.Minor - share(gross.Minor, percent-p.PayPalFeePercent, percent)
	}
	return Terms{Gross: gross, Fee: money.New(fee, gross.Currency), Net: money.New(gross.Minor-fee, gross.Currency)}
}

// FeeRule is a method's fee in words, for payees in a country.
func (p Policy) FeeRule(m Method, country string) string {
	switch {
	case m == MethodInstant:
		return fmt.Sprintf("%d %% of what is paid", p.InstantFeePercent)
	case m == MethodPayPal && !slices.Contains(p.PayPalFeeWaived, country):
		return fmt.Sprintf("%d %% of the amount", p.PayPalFeePercent)
	default:
		return "none"
	}
}

// share is minor × num ÷ den, rounded down, for num ≤ den: neither the product nor the sum overflows.
func share(minor, num, den int64) int64 { return minor/den*num + minor%den*num/den }

// unit is such that the fee of each of its multiples is exact. A sum of which all parts but one are
// multiples thus costs the same whole and in parts.
func (p Policy) unit(m Method, c money.Currency) int64 {
	switch m {
	case MethodInstant:
		return (percent + p.InstantFeePercent) * c.StripePayoutStep()
	case MethodPayPal:
		return percent
	default:
		return c.StripePayoutStep()
	}
}

// sendable is what of an amount the provider can pay: Stripe wants some currencies in whole units,
// and PayPal is for one that it wants in any.
func (p Policy) sendable(m Method, gross money.Amount) money.Amount {
	if gross.Currency.StripePayoutStep() == 1 {
		return gross
	}
	return gross.FloorTo(p.unit(m, gross.Currency))
}

// fullPart is the gross amount of the largest part that a sum may have, a multiple of the unit.
func (p Policy) fullPart(m Method, country string, c money.Currency) int64 {
	limit := p.Currencies[c].PayPalCap
	if m == MethodInstant {
		limit = p.Currencies[c].InstantCap
	}
	if m == MethodStandard {
		return math.MaxInt64
	}
	unit := money.New(p.unit(m, c), c)
	return limit / p.Terms(m, country, unit).Net.Minor * unit.Minor
}

// leastPart is the gross amount of the smallest payout of the platform.
func (p Policy) leastPart(m Method, c money.Currency) int64 {
	limits := p.Currencies[c]
	if m != MethodInstant {
		return limits.Minimum
	}
	net := limits.InstantMinimum
	return net + ceilDiv(net*p.InstantFeePercent, percent)
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

// split divides a gross amount of at least the minimum into parts of which none is above the method's
// cap or below the minimum. Together they cost and pay what the whole would. What is above the
// largest number of parts is left.
func (p Policy) split(m Method, country string, gross money.Amount) []Terms {
	c := gross.Currency
	full, least, unit := p.fullPart(m, country, c), p.leastPart(m, c), p.unit(m, c)
	left := gross.Minor
	var parts []Terms
	for left > full && len(parts) < mostPart-1 {
		part := full
		if rest := left - full; rest < least {
			part -= ceilDiv(least-rest, unit) * unit
		}
		parts = append(parts, p.Terms(m, country, money.New(part, c)))
		left -= part
	}
	return append(parts, p.Terms(m, country, money.New(min(left, full), c)))
}

// sum is several parts together.
func sum(parts []Terms, c money.Currency) Terms {
	var gross, fee int64
	for _, part := range parts {
		gross += part.Gross.Minor
		fee += part.Fee.Minor
	}
	return Terms{Gross: money.New(gross, c), Fee: money.New(fee, c), Net: money.New(gross-fee, c)}
}

// tooLittle says why an amount is not paid, whatever the destination.
func (f Facts) tooLittle(m Method, payable money.Amount, p Policy) Reason {
	if _, configured := p.Currencies[f.Currency]; !configured {
		return BecauseCurrencyNotPaidOut
	}
	if payable.Currency != f.Currency || !f.Minimum.IsZero() && f.Minimum.Currency != f.Currency {
		return BecauseCurrencyMismatch
	}
	gross := p.sendable(m, payable)
	switch {
	case payable.Sign() < 0:
		return BecauseBalanceNegative
	case payable.Sign() == 0:
		return BecauseNothingToPay
	case gross.Minor < max(f.Minimum.Minor, p.leastPart(m, f.Currency)):
		return BecauseBelowMinimum
	default:
		return ""
	}
}
