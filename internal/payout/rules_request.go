package payout

import (
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
)

// Quote says what an instant payout on request pays today of what was earned through yesterday: of a
// gross amount, or of everything for nil. A sum above the cap comes in parts. The request is made with
// the quoted net, Total().Net, and holds while the same facts give the same. No cycle is run by it.
func Quote(f Facts, today date.Date, amount *money.Amount, p Policy) Decision {
	if reason := f.barred(); reason != "" {
		return Decision{Skip: reason}
	}
	if f.OpenPayout {
		return Decision{Skip: BecauseOpenPayout}
	}
	yesterday := today.AddDays(-1)
	payable := f.Payable(yesterday)
	if reason := f.tooLittle(MethodInstant, payable, p); reason != "" {
		return Decision{Skip: reason}
	}
	gross := p.sendable(MethodInstant, payable)
	if amount != nil {
		if reason := f.notRequestable(*amount, payable, p); reason != "" {
			return Decision{Skip: reason}
		}
		gross = *amount
	}
	if reason := f.unreachable(MethodInstant, p); reason != "" {
		return Decision{Skip: reason}
	}
	parts := p.split(MethodInstant, f.Country, gross)
	if amount != nil && sum(parts, f.Currency).Gross != gross {
		return Decision{Skip: BecauseAboveLimit}
	}
	return Decision{Payouts: plans(MethodInstant, parts, yesterday, today)}
}

// notRequestable is why an amount cannot be asked for while so much is payable.
func (f Facts) notRequestable(amount, payable money.Amount, p Policy) Reason {
	switch {
	case amount.Currency != f.Currency:
		return BecauseCurrencyMismatch
	case amount.Sign() <= 0:
		return BecauseAmountNotPositive
	case amount.Minor > payable.Minor:
		return BecauseAboveAvailable
	case amount.Minor < p.leastPart(MethodInstant, f.Currency):
		return BecauseBelowMinimum
	case p.sendable(MethodInstant, amount) != amount:
		return BecauseNotAStep
	default:
		return ""
	}
}

// Retry says how a payout that failed or came back is made again, as one payout: by the same method
// where that is still possible, else as a Friday's cycle would be; with no minimum; and with no more
// than is still payable of what it covered.
func Retry(f Facts, failed Plan, p Policy) Decision {
	if reason := f.barred(); reason != "" {
		return Decision{Skip: reason}
	}
	if f.OpenPayout {
		return Decision{Skip: BecauseOpenPayout}
	}
	method := f.PaidBy().method()
	var notInstant Reason
	if failed.Method == MethodInstant {
		if notInstant = f.unreachable(MethodInstant, p); notInstant == "" {
			method = MethodInstant
		}
	}
	payable := f.Payable(failed.PeriodEnd)
	if payable.Currency != f.Currency || failed.Gross.Currency != f.Currency {
		return Decision{Skip: BecauseCurrencyMismatch}
	}
	if payable.Sign() < 0 {
		return Decision{Skip: BecauseBalanceNegative}
	}
	if reason := f.unreachable(method, p); reason != "" {
		return Decision{Skip: reason, NotInstant: notInstant}
	}
	gross := min(payable.Minor, failed.Gross.Minor, p.fullPart(method, f.Country, f.Currency))
	terms := p.Terms(method, f.Country, p.sendable(method, money.New(gross, f.Currency)))
	if terms.Net.Sign() <= 0 {
		return Decision{Skip: BecauseNothingToPay, NotInstant: notInstant}
	}
	plan := Plan{Terms: terms, Method: method, Part: failed.Part, PeriodEnd: failed.PeriodEnd, DueDate: failed.DueDate}
	return Decision{Payouts: []Plan{plan}, NotInstant: notInstant}
}

// Option is a schedule that a payee may choose, and what it would mean.
type Option struct {
	Frequency Frequency
	Method    Method
	Next      Cycle  // the first that would come
	Reason    Reason // why the payee cannot have it now; empty when it can
	FeeRule   string // in words
	// Example is what would be paid of the present balance, all of it; nil when that is nothing.
	Example *Terms
}

// Eligible says whether the payee can be paid so now.
func (o Option) Eligible() bool { return o.Reason == "" }

// Options are the schedules, each with what is paid of what was earned through yesterday. Whether that
// is enough for a payout does not matter here: a schedule is chosen for the earnings to come.
func Options(f Facts, today date.Date, p Policy) []Option {
	payable := f.Payable(today.AddDays(-1))
	options := make([]Option, 0, len(Frequencies()))
	for _, frequency := range Frequencies() {
		method := f.PaidBy().method()
		if frequency == Daily {
			method = MethodInstant
		}
		options = append(options, Option{
			Frequency: frequency, Method: method, Next: NextCycle(frequency, today), FeeRule: p.FeeRule(method, f.Country),
			Reason: f.notEligible(method, p), Example: f.example(method, payable, p),
		})
	}
	return options
}

// notEligible is why a payee cannot be paid by a method, whatever the balance.
func (f Facts) notEligible(m Method, p Policy) Reason {
	if !f.Compliant {
		return BecauseNotCompliant
	}
	if _, configured := p.Currencies[f.Currency]; !configured {
		return BecauseCurrencyNotPaidOut
	}
	return f.unreachable(m, p)
}

// example is what a method would pay of an amount, as a run of a cycle would.
func (f Facts) example(m Method, payable money.Amount, p Policy) *Terms {
	if payable.Currency != f.Currency || payable.Sign() <= 0 || p.fullPart(m, f.Country, f.Currency) == 0 {
		return nil
	}
	parts := f.inCycle(m, payable, p)
	terms := sum(parts, f.Currency)
	if terms.Net.Sign() <= 0 {
		return nil
	}
	return &terms
}
