package payout_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/payout"
)

// paysOn tells in the plainest way whether a frequency pays on a day.
func paysOn(f payout.Frequency, day date.Date) bool {
	t := day.Time()
	switch f {
	case payout.Daily:
		return true
	case payout.Weekly:
		return t.Weekday() == time.Friday
	case payout.Monthly:
		return t.Weekday() == time.Friday && t.AddDate(0, 0, 7).Month() != t.Month()
	default:
		quarterEnds := []time.Month{time.March, time.June, time.September, time.December}
		return paysOn(payout.Monthly, day) && slices.Contains(quarterEnds, t.Month())
	}
}

// calendar is every cycle after one date and through another.
func calendar(f payout.Frequency, after, through date.Date) []payout.Cycle {
	cutoff := 7
	if f == payout.Daily {
		cutoff = 1
	}
	var all []payout.Cycle
	for day := after.AddDays(1); !day.After(through); day = day.AddDays(1) {
		if paysOn(f, day) {
			all = append(all, payout.Cycle{Date: day, CoversThrough: day.AddDays(-cutoff)})
		}
	}
	return all
}

// RULES.md §3, Dates and cycles: no Friday of twenty-five years is missed or invented.
func TestCyclesAgreeWithTheCalendar(t *testing.T) {
	t.Parallel()
	first, last := date.New(2020, time.January, 1), date.New(2045, time.January, 1)
	for _, f := range payout.Frequencies() {
		require.Equal(t, calendar(f, first, last), payout.DueCycles(f, first, last), "%s", f)
	}
}

// RULES.md §3, Dates and cycles: whatever the dates of runs are, late, twice or in the wrong order,
// every cycle is due once, and until the run that finds it.
func TestEveryCycleComesOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.SampledFrom(payout.Frequencies()).Draw(t, "frequency")
		start := someDay().Draw(t, "since")
		lastRun, furthest := start, start
		var found []payout.Cycle
		for _, runDate := range rapid.SliceOfN(someDay(), 1, 12).Draw(t, "runs") {
			due := payout.DueCycles(f, lastRun, runDate)
			found = append(found, due...)
			if len(due) > 0 {
				lastRun = due[len(due)-1].Date
			}
			if runDate.After(furthest) {
				furthest = runDate
			}
			require.Equal(t, calendar(f, start, furthest), found)
		}
	})
}

func TestAPayeeWhoNeverWasBeginsWithTheNewestCycle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.SampledFrom(payout.Frequencies()).Draw(t, "frequency")
		runDate := someDay().Draw(t, "run")
		all := calendar(f, runDate.AddDays(-120), runDate)
		require.Equal(t, all[len(all)-1:], payout.DueCycles(f, date.Date{}, runDate))
	})
}

func TestTheNextCycleIsTheFirstThatComesDue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.SampledFrom(payout.Frequencies()).Draw(t, "frequency")
		after := someDay().Draw(t, "after")
		next := payout.NextCycle(f, after)
		require.Equal(t, []payout.Cycle{next}, payout.DueCycles(f, after, next.Date))
		require.Empty(t, payout.DueCycles(f, after, next.Date.AddDays(-1)))
	})
}
