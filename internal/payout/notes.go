package payout

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/postgres"
)

// Note is what was to be said of a payee: why there was no payout on a day, or what they must do.
// Repeats of a code are one note.
type Note struct {
	PayeeID   string
	Code      string
	Detail    string // a sentence, as it was said last; no personal data
	FirstDate date.Date
	LastDate  date.Date
	Times     int // on how many days
}

// Said is a note for a day.
type Said struct {
	PayeeID string
	Code    string
	Detail  string
	Date    date.Date
}

// Note keeps what is said of one payee.
func (s *Store) Note(ctx context.Context, tx pgx.Tx, payeeID string, on date.Date, code, detail string) error {
	return s.Notes(ctx, tx, []Said{{PayeeID: payeeID, Code: code, Detail: detail, Date: on}})
}

// Notes keeps what is said of many payees, in one statement. The same again for the same day changes
// nothing but the detail, so that work that is done again says nothing twice.
func (s *Store) Notes(ctx context.Context, tx pgx.Tx, all []Said) error {
	if len(all) == 0 {
		return nil
	}
	payees, codes, details, dates := make([]string, len(all)), make([]string, len(all)), make([]string, len(all)), make([]date.Date, len(all))
	for i, n := range all {
		payees[i], codes[i], details[i], dates[i] = n.PayeeID, n.Code, n.Detail, n.Date
	}
	// The last of several for one payee and code counts; in order of payee, so that writers do not block each other in a circle.
	_, err := tx.Exec(ctx, `INSERT INTO payee_notes AS n (payee_id, code, detail, first_date, last_date)
		SELECT DISTINCT ON (payee_id, code) payee_id, code, detail, dated, dated
		FROM unnest($1::text[], $2::text[], $3::text[], $4::date[]) WITH ORDINALITY AS said (payee_id, code, detail, dated, place)
		ORDER BY payee_id, code, place DESC
		ON CONFLICT (payee_id, code) DO UPDATE SET
			detail = CASE WHEN excluded.last_date >= n.last_date THEN excluded.detail ELSE n.detail END,
			times = n.times + (excluded.last_date > n.last_date OR excluded.first_date < n.first_date)::int,
			first_date = least(n.first_date, excluded.first_date), last_date = greatest(n.last_date, excluded.last_date)`,
		payees, codes, details, dates)
	if err != nil {
		return fmt.Errorf("note something of %d payees: %w", len(all), err)
	}
	return nil
}

// ListNotes lists what was said of a payee, newest first.
func ListNotes(ctx context.Context, db postgres.DB, payeeID string) ([]Note, error) {
	rows, err := db.Query(ctx, `SELECT payee_id, code, detail, first_date, last_date, times FROM payee_notes
		WHERE payee_id = $1 ORDER BY last_date DESC, id DESC`, payeeID)
	if err != nil {
		return nil, fmt.Errorf("payee %s: list its notes: %w", payeeID, err)
	}
	notes, err := pgx.CollectRows(rows, pgx.RowToStructByName[Note])
	if err != nil {
		return nil, fmt.Errorf("payee %s: list its notes: %w", payeeID, err)
	}
	return notes, nil
}
