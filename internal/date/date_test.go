package date_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

var friday = date.New(2026, time.November, 20)

func TestDate(t *testing.T) {
	t.Parallel()
	require.Equal(t, "2026-11-20", friday.String())
	require.Equal(t, time.Friday, friday.Weekday())
	require.Equal(t, []int{2026, 11, 20}, []int{friday.Year(), int(friday.Month()), friday.Day()})
	require.Equal(t, "2026-12-04", friday.AddDays(14).String())
	require.Equal(t, "2024-02-29", date.New(2024, time.March, 1).AddDays(-1).String())
	require.Equal(t, 14, friday.AddDays(14).DaysSince(friday))
	require.Equal(t, -14, friday.DaysSince(friday.AddDays(14)))
	require.True(t, friday.Before(friday.AddDays(1)))
	require.False(t, friday.Before(date.New(2026, 11, 20)))
	require.True(t, friday.After(friday.AddDays(-1)))
	require.False(t, friday.After(date.New(2026, 11, 20)))
	require.Equal(t, []int{-1, 0, 1}, []int{friday.Compare(friday.AddDays(1)), friday.Compare(date.New(2026, 11, 20)), friday.Compare(friday.AddDays(-1))})
}

func TestADayBeginsAndEndsInUTC(t *testing.T) {
	t.Parallel()
	begins := time.Date(2026, time.November, 20, 0, 0, 0, 0, time.UTC)
	require.Equal(t, begins, friday.Time())
	require.Equal(t, friday, date.Of(begins))
	require.Equal(t, friday, date.Of(begins.AddDate(0, 0, 1).Add(-time.Nanosecond)))
	require.Equal(t, friday.AddDays(-1), date.Of(begins.Add(-time.Nanosecond)))
	// In Auckland it is Saturday already.
	require.Equal(t, friday, date.Of(time.Date(2026, time.November, 21, 9, 0, 0, 0, time.FixedZone("NZDT", 13*60*60))))
}

func TestTheZeroValueIsNoDay(t *testing.T) {
	t.Parallel()
	var none date.Date
	require.True(t, none.IsZero())
	require.False(t, friday.IsZero())
	require.Empty(t, none.String())
	require.Equal(t, none, date.Of(time.Time{}))
	require.Equal(t, -1, date.Of(time.Time{}.Add(-time.Second)).DaysSince(none), "days before it are counted backwards")
}

func TestParseRefusesWhatIsNoDate(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "2026-11-31", "2026-02-29", "2026-13-01", "26-11-20", "2026-11-2", "20.11.2026", "2026-11-20T00:00:00Z", " 2026-11-20",
		"0001-01-01", "0000-12-31", "-001-01-01", "10000-01-01", "tomorrow",
	} {
		_, err := date.Parse(text)
		require.ErrorContains(t, err, "2026-11-20", "%q", text)
	}
}

func TestDaysAreCountedAsTheCalendarDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		begins := time.Date(rapid.IntRange(2, 9998).Draw(t, "year"), 1, 1, 0, 0, 0, 0, time.UTC)
		at := begins.Add(time.Duration(rapid.Int64Range(0, int64(366*24*time.Hour)).Draw(t, "at")))
		n := rapid.IntRange(-300, 300).Draw(t, "days")
		d := date.Of(at)

		if at.AddDate(0, 0, n).Format("2006-01-02") != d.AddDays(n).String() {
			t.Fatalf("%s and %d days is %s", at, n, d.AddDays(n))
		}
		if d.AddDays(n).DaysSince(d) != n || d.AddDays(n).AddDays(-n) != d {
			t.Fatalf("%d days from %s and back", n, d)
		}
		if d.Weekday() != at.Weekday() || date.New(d.Year(), d.Month(), d.Day()) != d {
			t.Fatalf("%s has other parts than %s", d, at)
		}
		if parsed, err := date.Parse(d.String()); err != nil || parsed != d {
			t.Fatalf("%s is parsed as %s: %v", d, parsed, err)
		}
	})
}

func TestJSON(t *testing.T) {
	t.Parallel()
	type run struct {
		Date date.Date         `json:"date"`
		None date.Date         `json:"none"`
		By   map[date.Date]int `json:"by"`
	}
	text, err := json.Marshal(run{Date: friday, By: map[date.Date]int{friday: 1}})
	require.NoError(t, err)
	require.JSONEq(t, `{"date":"2026-11-20","none":"","by":{"2026-11-20":1}}`, string(text))

	var back run
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, run{Date: friday, By: map[date.Date]int{friday: 1}}, back)
	require.ErrorContains(t, json.Unmarshal([]byte(`{"date":"soon"}`), &back), "2026-11-20")
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	pool := postgrestest.New(t)
	var (
		back, none, later date.Date
		text              string
		some              []date.Date
	)
	err := pool.QueryRow(t.Context(), `SELECT $1::date, $2::date, $1::date + 1, $1::date::text, $3::date[]`, friday, date.Date{}, []date.Date{friday}).
		Scan(&back, &none, &later, &text, &some)
	require.NoError(t, err)
	require.Equal(t, friday, back)
	require.True(t, none.IsZero())
	require.Equal(t, friday.AddDays(1), later)
	require.Equal(t, "2026-11-20", text)
	require.Equal(t, []date.Date{friday}, some)

	require.ErrorContains(t, pool.QueryRow(t.Context(), `SELECT 'infinity'::date`).Scan(&back), "infinite")
}
