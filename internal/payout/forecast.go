package payout

import "github.com/holdfast/holdfast/internal/date"

// Forecast is a payee's next payout as far as it can be told today.
type Forecast struct {
	Date     date.Date
	Decision Decision
}

// Foretell says when a payee is paid next, and what, if nothing more is earned or taken back. What is
// due already comes with today's run. A payout that is under way is taken to be over by a later day.
func Foretell(f Facts, today date.Date, p Policy) Forecast {
	next := f.foretell(f.Frequency, today, p)
	if f.Frequency == Daily && next.Decision.Skip != "" {
		// What cannot go instantly is paid by the cycle of a Friday.
		if friday := f.foretell(Weekly, today, p); friday.Decision.Skip == "" {
			return friday
		}
	}
	return next
}

// foretell decides on the next date that has a cycle of a frequency.
func (f Facts) foretell(cycle Frequency, today date.Date, p Policy) Forecast {
	on := today
	if len(DueCycles(cycle, f.LastCycle, today)) == 0 {
		since := today
		if f.LastCycle.After(today) {
			since = f.LastCycle
		}
		on = NextCycle(cycle, since).Date
		f.OpenPayout = false
	}
	return Forecast{Date: on, Decision: Decide(f, on, p)}
}
