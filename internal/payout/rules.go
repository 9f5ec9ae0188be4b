// Package payout is what payees are paid, when and how. Its rules (rules*.go) are pure functions of
// what is known of a payee: they have no clock, no database and no provider, and what they plan is
// stored before anything is sent.
package payout

import (
	"slices"
	"time"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
)

// Rail is the provider that brings the money.
type Rail string

// The rails.
const (
	RailStripe Rail = "stripe"
	RailPayPal Rail = "paypal"
)

// Method is how a payout is made.
type Method string

// The methods.
const (
	MethodStandard Method = "stripe_standard" // by bank transfer, in days
	MethodInstant  Method = "stripe_instant"  // in minutes, for a fee
	MethodPayPal   Method = "paypal"
)

// Rail is the provider of a method.
func (m Method) Rail() Rail {
	if m == MethodPayPal {
		return RailPayPal
	}
	return RailStripe
}

// method is how a rail pays what a Friday's cycle covers.
func (r Rail) method() Method {
	if r == RailPayPal {
		return MethodPayPal
	}
	return MethodStandard
}

// Source is who has paused a payee's payouts. One source cannot lift another's pause.
type Source string

// The sources of pauses.
const (
	SourceOperator Source = "operator"
	SourceProvider Source = "provider"
	SourceSystem   Source = "system" // the same destination refused several payouts in a row
	SourcePayee    Source = "payee"
)

// Facts are what is known of one payee at one moment; every decision follows from them.
type Facts struct {
	AsOf      time.Time // a run's own time, or that of a request: how long ago something was is counted from here
	Frequency Frequency
	Currency  money.Currency // of the payee's balance and so of every payout
	Country   string         // ISO 3166, as in US
	Rail      Rail           // as the payee chose it; PaidBy may know better
	Minimum   money.Amount   // the payee's own; zero for none

	Compliant  bool // the account is in good standing with the app and with the provider
	Pauses     []Source
	LastCycle  date.Date // up to which the payee's cycles were run, as Decision.CycleRun said; at first the day before the payee came
	OpenPayout bool      // a payout is under way that keeps the next one back

	// Payable is what may be paid of the earnings through a date: credits through it, less all debits
	// and all claims that were not released.
	Payable func(through date.Date) money.Amount

	Stripe      StripeDestination
	PayPalEmail string // empty: none
}

// Terms are what a payout takes from the balance, what of it is the fee, and what is paid.
type Terms struct {
	Gross money.Amount `json:"gross"`
	Fee   money.Amount `json:"fee"`
	Net   money.Amount `json:"net"`
}

// Plan is one payout that is to be made.
type Plan struct {
	Terms

	Method    Method
	Part      int       // 1, or more for the further parts of a sum that is above the cap of one payout
	PeriodEnd date.Date // earnings through this date are covered
	DueDate   date.Date // since when it has been due: of missed cycles, the oldest
}

// Decision is what a payee is paid, or why nothing.
type Decision struct {
	Payouts []Plan
	Skip    Reason // why nothing is paid; empty when something is
	// NotInstant is why a daily payee is not paid instantly, whether or not the Friday's cycle pays.
	NotInstant Reason
	// CycleRun is the new Facts.LastCycle. No date: the cycle stays due, and the next run looks again.
	// Cycles with nothing to pay, or too little, are over; one that met an obstacle is not.
	CycleRun date.Date
}

// Total is all payouts of a decision together, in the payee's currency.
func (d Decision) Total(currency money.Currency) Terms {
	parts := make([]Terms, 0, len(d.Payouts))
	for _, p := range d.Payouts {
		parts = append(parts, p.Terms)
	}
	return sum(parts, currency)
}

// Decide says what the run of a date pays to a payee. The checks come in the order in which RULES.md
// §3 has them ("Who is paid"), and the first that fails is the reason. With the date of a cycle to
// come it foretells that cycle's payout, as far as today's earnings go.
func Decide(f Facts, runDate date.Date, p Policy) Decision {
	if reason := f.barred(); reason != "" {
		return Decision{Skip: reason}
	}
	cycles := DueCycles(f.Frequency, f.LastCycle, runDate)
	if len(cycles) == 0 {
		return Decision{Skip: BecauseNotDue}
	}
	if f.OpenPayout {
		return Decision{Skip: BecauseOpenPayout}
	}
	if f.Frequency == Daily {
		return f.daily(cycles, runDate, p)
	}
	return f.payCycles(f.PaidBy().method(), cycles, p)
}

// barred says why a payee is paid nothing, whatever the date and the balance.
func (f Facts) barred() Reason {
	if !f.Compliant {
		return BecauseNotCompliant
	}
	for _, source := range []Source{SourceOperator, SourceProvider, SourceSystem, SourcePayee} {
		if slices.Contains(f.Pauses, source) {
			return pausedBy(source)
		}
	}
	return ""
}

// daily pays instantly what was earned through yesterday. Where that cannot be, a Friday's cycle that
// has come due meanwhile is paid like a weekly payee's.
func (f Facts) daily(days []Cycle, runDate date.Date, p Policy) Decision {
	instant := f.payCycles(MethodInstant, days, p)
	if instant.Skip == "" {
		return instant
	}
	instant.NotInstant = instant.Skip
	fridays := DueCycles(Weekly, f.LastCycle, runDate)
	if len(fridays) == 0 {
		return instant
	}
	decision := f.payCycles(f.PaidBy().method(), fridays, p)
	decision.NotInstant = instant.Skip
	return decision
}

// payCycles pays cycles that are due, all with one payout: the latest covers what the others do.
func (f Facts) payCycles(m Method, due []Cycle, p Policy) Decision {
	latest := due[len(due)-1]
	payable := f.Payable(latest.CoversThrough)
	if reason := f.tooLittle(m, payable, p); reason != "" {
		decision := Decision{Skip: reason}
		if reason.closesCycle() {
			decision.CycleRun = latest.Date
		}
		return decision
	}
	if reason := f.unreachable(m, p); reason != "" {
		return Decision{Skip: reason}
	}
	return Decision{Payouts: plans(m, f.inCycle(m, payable, p), latest.CoversThrough, due[0].Date), CycleRun: latest.Date}
}

// inCycle is what one cycle pays of an amount. Of what is above the cap of an instant payout the rest
// stays for tomorrow.
func (f Facts) inCycle(m Method, payable money.Amount, p Policy) []Terms {
	gross := p.sendable(m, payable)
	if m == MethodInstant {
		gross = money.New(min(gross.Minor, p.fullPart(m, f.Country, f.Currency)), f.Currency)
	}
	return p.split(m, f.Country, gross)
}

func plans(m Method, parts []Terms, periodEnd, due date.Date) []Plan {
	all := make([]Plan, 0, len(parts))
	for i, terms := range parts {
		all = append(all, Plan{Terms: terms, Method: m, Part: i + 1, PeriodEnd: periodEnd, DueDate: due})
	}
	return all
}
