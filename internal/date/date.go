// Package date is civil dates: a day of the calendar, without a time or a zone. Every business date
// is one, and days begin and end in UTC.
package date

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// Date is a day. The zero value is no day, as the zero time.Time is none. Dates can be compared with
// == and be keys of maps.
type Date struct { //nolint:recvcheck // a value, which decoders fill
	days int // since 0001-01-01, the day of the zero time.Time
}

const (
	daySeconds = 24 * 60 * 60
	layout     = "2006-01-02"
)

// New is the given day; days that a month does not have are counted on, as time.Date does.
func New(year int, month time.Month, day int) Date {
	return Of(time.Date(year, month, day, 0, 0, 0, 0, time.UTC))
}

// Of is the day in UTC on which a moment falls.
func Of(t time.Time) Date {
	seconds := t.Unix() - time.Time{}.Unix()
	days := seconds / daySeconds
	if seconds%daySeconds < 0 {
		days--
	}
	return Date{days: int(days)}
}

// Parse reads the form 2026-11-20.
func Parse(text string) (Date, error) {
	t, err := time.Parse(layout, text)
	if err != nil || t.Year() < 1 || t.IsZero() {
		return Date{}, fmt.Errorf("%.20q is not a date, as in 2026-11-20", text)
	}
	return Of(t), nil
}

// String is the form 2026-11-20; nothing for no day.
func (d Date) String() string {
	if d.IsZero() {
		return ""
	}
	return d.Time().Format(layout)
}

// Time is the moment at which the day begins in UTC.
func (d Date) Time() time.Time { return time.Time{}.AddDate(0, 0, d.days) }

// IsZero says whether it is no day.
func (d Date) IsZero() bool { return d.days == 0 }

// Year is the year of the date.
func (d Date) Year() int { return d.Time().Year() }

// Month is the month of the date.
func (d Date) Month() time.Month { return d.Time().Month() }

// Day is the day of the month.
func (d Date) Day() int { return d.Time().Day() }

// Weekday is the day of the week.
func (d Date) Weekday() time.Weekday { return d.Time().Weekday() }

// AddDays is the date so many days later, or earlier for a negative number.
func (d Date) AddDays(n int) Date { return Date{days: d.days + n} }

// DaysSince is how many days later the date is than another; negative when it is earlier.
func (d Date) DaysSince(earlier Date) int { return d.days - earlier.days }

// Before says whether the date is earlier than another.
func (d Date) Before(other Date) bool { return d.days < other.days }

// After says whether the date is later than another.
func (d Date) After(other Date) bool { return d.days > other.days }

// Compare is −1 when the date is earlier than another, 0 when it is the same and 1 when it is later.
func (d Date) Compare(other Date) int { return cmp.Compare(d.days, other.days) }

// MarshalText gives the form 2026-11-20, for JSON too.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the form 2026-11-20; nothing is no day.
func (d *Date) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = Date{}
		return nil
	}
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// DateValue gives the date to Postgres; no day is NULL.
func (d Date) DateValue() (pgtype.Date, error) {
	return pgtype.Date{Time: d.Time(), Valid: !d.IsZero()}, nil
}

// ScanDate takes the date from Postgres; NULL is no day.
func (d *Date) ScanDate(v pgtype.Date) error {
	switch {
	case !v.Valid:
		*d = Date{}
	case v.InfinityModifier != pgtype.Finite:
		return errors.New("an infinite date is not a day")
	default:
		*d = Of(v.Time)
	}
	return nil
}
