package feed

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/postgres"
)

// ErrNotFound says that there is no change with a number.
var ErrNotFound = errors.New("there is no such change")

// Get reads one change, or gives ErrNotFound.
func Get(ctx context.Context, db postgres.DB, seq int64) (Change, error) {
	rows, err := db.Query(ctx, `SELECT `+columns+` FROM changes WHERE seq = $1`, seq)
	if err != nil {
		return Change{}, fmt.Errorf("change %d: read: %w", seq, err)
	}
	c, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Change])
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Change{}, fmt.Errorf("change %d: %w", seq, ErrNotFound)
	case err != nil:
		return Change{}, fmt.Errorf("change %d: read: %w", seq, err)
	}
	return c, nil
}

// GiveUp records that a change was not delivered, and will not be unless somebody asks for it. code
// says what the last attempt met. A number that no change has is nothing to be delivered.
func GiveUp(ctx context.Context, db postgres.DB, seq int64, code string) error {
	_, err := db.Exec(ctx, `INSERT INTO undelivered_changes (seq, last_error) SELECT seq, $2 FROM changes WHERE seq = $1
		ON CONFLICT (seq) DO UPDATE SET last_error = excluded.last_error`, seq, code)
	if err != nil {
		return fmt.Errorf("change %d: record that it was not delivered: %w", seq, err)
	}
	return nil
}

// Redeliver has a change delivered again, and records who asked for it. message is the one that does
// so for the request with a number.
func Redeliver(ctx context.Context, tx pgx.Tx, seq int64, actor, note string, message func(c Change, request int64) outbox.Message) error {
	c, err := Get(ctx, tx, seq)
	if err != nil {
		return err
	}
	var request int64
	err = tx.QueryRow(ctx, `WITH asked AS (DELETE FROM undelivered_changes WHERE seq = $4)
		INSERT INTO operator_actions (actor, action, subject, note) VALUES ($1, 'redeliver_change', $2, $3) RETURNING id`,
		actor, "change/"+strconv.FormatInt(seq, 10), note, seq).Scan(&request)
	if err != nil {
		return fmt.Errorf("change %d: record the redelivery asked for by %s: %w", seq, actor, err)
	}
	return outbox.Add(ctx, tx, message(c, request))
}

// Undelivered is a change that the app's webhook did not take.
type Undelivered struct {
	Seq        int64
	CustomerID string
	GivenUpAt  time.Time
	LastError  string
}

// ListUndelivered lists what was given up, oldest first and then by number, as text: from the moment
// on, and at that very moment those behind the number.
func ListUndelivered(ctx context.Context, db postgres.DB, since time.Time, seq string, limit int) ([]Undelivered, error) {
	rows, err := db.Query(ctx, `SELECT seq, customer_id, given_up_at, last_error FROM undelivered_changes JOIN changes USING (seq)
		WHERE (given_up_at, seq::text COLLATE "C") > ($1, $2) ORDER BY given_up_at, seq::text COLLATE "C" LIMIT $3`, since, seq, limit)
	if err != nil {
		return nil, fmt.Errorf("change feed: list what was not delivered: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Undelivered])
	if err != nil {
		return nil, fmt.Errorf("change feed: list what was not delivered: %w", err)
	}
	return all, nil
}
