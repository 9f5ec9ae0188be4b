package payout_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
)

// The 20th of November 2026 is a Friday, the last one of the month the 27th.
func TestTheNextPayoutIsForetold(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		today  string
		facts  func(*payout.Facts)
		on     string
		method payout.Method
		net    int64
		skip   payout.Reason
	}{
		"on a Thursday":     {"2026-11-19", func(f *payout.Facts) { f.LastCycle = civil(t, "2026-11-13") }, "2026-11-20", payout.MethodStandard, 10_000, ""},
		"due today":         {"2026-11-20", func(f *payout.Facts) { f.LastCycle = civil(t, "2026-11-13") }, "2026-11-20", payout.MethodStandard, 10_000, ""},
		"after today's run": {"2026-11-20", func(f *payout.Facts) { f.LastCycle = civil(t, "2026-11-20") }, "2026-11-27", payout.MethodStandard, 10_000, ""},
		"a missed Friday":   {"2026-11-23", func(f *payout.Facts) { f.LastCycle = civil(t, "2026-11-13") }, "2026-11-23", payout.MethodStandard, 10_000, ""},
		"by the month":      {"2026-11-20", func(f *payout.Facts) { f.Frequency, f.LastCycle = payout.Monthly, civil(t, "2026-10-30") }, "2026-11-27", payout.MethodStandard, 10_000, ""},
		"daily, at once":    {"2026-11-18", func(f *payout.Facts) { f.Frequency, f.LastCycle = payout.Daily, civil(t, "2026-11-18") }, "2026-11-19", payout.MethodInstant, 9_708, ""},
		"daily, not instantly": {"2026-11-18", func(f *payout.Facts) {
			f.Frequency, f.LastCycle, f.Country = payout.Daily, civil(t, "2026-11-18"), "FR"
		}, "2026-11-20", payout.MethodStandard, 10_000, ""},
		"daily, nothing at all": {"2026-11-18", func(f *payout.Facts) {
			f.Frequency, f.LastCycle, f.Payable = payout.Daily, civil(t, "2026-11-18"), always(0)
		}, "2026-11-19", "", 0, payout.BecauseNothingToPay},
		"too little": {"2026-11-19", func(f *payout.Facts) { f.LastCycle, f.Payable = civil(t, "2026-11-13"), always(999) }, "2026-11-20", "", 0, payout.BecauseBelowMinimum},
		"paused": {"2026-11-19", func(f *payout.Facts) {
			f.LastCycle, f.Pauses = civil(t, "2026-11-13"), []payout.Source{payout.SourcePayee}
		}, "2026-11-20", "", 0, payout.BecausePausedByPayee},
		"one under way":        {"2026-11-19", func(f *payout.Facts) { f.LastCycle, f.OpenPayout = civil(t, "2026-11-13"), true }, "2026-11-20", payout.MethodStandard, 10_000, ""},
		"one in the way today": {"2026-11-20", func(f *payout.Facts) { f.LastCycle, f.OpenPayout = civil(t, "2026-11-13"), true }, "2026-11-20", "", 0, payout.BecauseOpenPayout},
		"only what is covered": {"2026-11-19", func(f *payout.Facts) {
			f.LastCycle = civil(t, "2026-11-13")
			f.Payable = func(through date.Date) money.Amount {
				return cents(map[bool]int64{true: 4_000, false: 7_000}[through == civil(t, "2026-11-13")])
			}
		}, "2026-11-20", payout.MethodStandard, 4_000, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := payable(10_000)
			c.facts(&f)
			next := payout.Foretell(f, civil(t, c.today), payout.DefaultPolicy())
			require.Equal(t, c.on, next.Date.String())
			require.Equal(t, c.skip, next.Decision.Skip)
			require.Equal(t, cents(c.net), next.Decision.Total("usd").Net)
			if c.method != "" {
				require.Equal(t, c.method, next.Decision.Payouts[0].Method)
			}
		})
	}
}
