package payout

import (
	"time"

	"github.com/holdfast/holdfast/internal/date"
)

// Frequency is how often a payee is paid.
type Frequency string

// The frequencies. Weekly is what a payee has who chose none.
const (
	Daily     Frequency = "daily"
	Weekly    Frequency = "weekly"    // on Fridays
	Monthly   Frequency = "monthly"   // on the last Friday of the month
	Quarterly Frequency = "quarterly" // on the last Friday of the quarter
)

// Frequencies are all of them, the most frequent first.
func Frequencies() []Frequency { return []Frequency{Daily, Weekly, Monthly, Quarterly} }

const (
	week             = 7
	monthsInAQuarter = 3
)

// Cycle is a date on which a payee is to be paid, and through which date earnings are then paid.
type Cycle struct {
	Date          date.Date
	CoversThrough date.Date
}

// NextCycle is a frequency's first cycle after a date. A Friday's cycle covers earnings through the
// Friday before, a day's cycle those through the day before. There is no calendar of holidays.
func NextCycle(f Frequency, after date.Date) Cycle {
	if f == Daily {
		return Cycle{Date: after.AddDays(1), CoversThrough: after}
	}
	day := fridayAfter(after)
	for !f.hasFriday(day) {
		day = day.AddDays(week)
	}
	return Cycle{Date: day, CoversThrough: day.AddDays(-week)}
}

// DueCycles are the cycles that have come since those up to lastRun were run, the oldest first: a run
// that comes late finds those that were missed, each with its own cutoff. Nobody's cycles before the
// newest count while none was ever run.
func DueCycles(f Frequency, lastRun, runDate date.Date) []Cycle {
	if lastRun.IsZero() {
		return newest(f, runDate)
	}
	var due []Cycle
	for c := NextCycle(f, lastRun); !c.Date.After(runDate); c = NextCycle(f, c.Date) {
		due = append(due, c)
	}
	return due
}

// newest is a frequency's last cycle until a date.
func newest(f Frequency, until date.Date) []Cycle {
	if f == Daily {
		return []Cycle{NextCycle(Daily, until.AddDays(-1))}
	}
	day := fridayAfter(until.AddDays(-week))
	for !f.hasFriday(day) {
		day = day.AddDays(-week)
	}
	return []Cycle{{Date: day, CoversThrough: day.AddDays(-week)}}
}

// fridayAfter is the first Friday that is later than a date.
func fridayAfter(d date.Date) date.Date {
	days := int(time.Friday-d.Weekday()+week) % week
	if days == 0 {
		days = week
	}
	return d.AddDays(days)
}

// hasFriday says whether a Friday is one on which the frequency pays.
func (f Frequency) hasFriday(friday date.Date) bool {
	month := friday.Month()
	last := friday.AddDays(week).Month() != month
	switch f {
	case Monthly:
		return last
	case Quarterly:
		return last && month%monthsInAQuarter == 0
	default:
		return true
	}
}
