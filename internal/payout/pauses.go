package payout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/postgres"
)

// PauseRejections is the reason of the system's pause after rejections in a row. It ends when the
// payee has another destination.
const PauseRejections = "rejections"

// Pause is one source's stop of a payee's payouts.
type Pause struct {
	PayeeID string
	Source  Source
	Reason  string // a code
	Note    string
	Actor   string // the name of the key that asked for it; empty for our own
	Since   time.Time
}

// PausesChanged is what the app is told: what stops the payee's payouts from now on.
type PausesChanged struct {
	Paused bool         `json:"paused"`
	Pauses []PauseShown `json:"pauses"`
}

// PauseShown is what the app is told of a pause.
type PauseShown struct {
	Source Source `json:"source"`
	Reason string `json:"reason,omitempty"`
}

// Pause stops a payee's payouts, and has the app told. A source that has stopped them already changes
// nothing. It should be among the last things that the transaction does.
func (s *Store) Pause(ctx context.Context, tx pgx.Tx, p Pause) error {
	if err := lockPayee(ctx, tx, p.PayeeID); err != nil {
		return err
	}
	var id int64
	err := tx.QueryRow(ctx, `INSERT INTO payee_pauses (payee_id, source, reason, note, actor) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (payee_id, source) DO NOTHING RETURNING id`, p.PayeeID, string(p.Source), p.Reason, p.Note, p.Actor).Scan(&id)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("payee %s: pause: %w", p.PayeeID, err)
	}
	if err := s.tellPauses(ctx, tx, p.PayeeID); err != nil {
		return err
	}
	return s.notifyPaused(ctx, tx, p, id)
}

// Resume lifts a source's own pause, if there is one, wakes what waits for its end, and has the app told.
func (s *Store) Resume(ctx context.Context, tx pgx.Tx, payeeID string, source Source) error {
	if err := lockPayee(ctx, tx, payeeID); err != nil {
		return err
	}
	return s.lift(ctx, tx, `DELETE FROM payee_pauses WHERE payee_id = $1 AND source = $2`, payeeID, string(source))
}

// liftRejections ends the pause that a destination brought which is no longer the payee's.
func (s *Store) liftRejections(ctx context.Context, tx pgx.Tx, payeeID string) error {
	return s.lift(ctx, tx, `DELETE FROM payee_pauses WHERE payee_id = $1 AND source = 'system' AND reason = $2`, payeeID, PauseRejections)
}

func (s *Store) lift(ctx context.Context, tx pgx.Tx, statement, payeeID, which string) error {
	var (
		source Source
		id     int64
	)
	err := tx.QueryRow(ctx, statement+` RETURNING source, id`, payeeID, which).Scan(&source, &id)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("payee %s: resume: %w", payeeID, err)
	}
	if err := s.wakePayee(ctx, tx, payeeID); err != nil {
		return err
	}
	if err := s.tellPauses(ctx, tx, payeeID); err != nil {
		return err
	}
	return s.notifyResumed(ctx, tx, payeeID, source, id)
}

// lockPayee holds the payee's row, so that of two who change something of theirs the later one sees both.
func lockPayee(ctx context.Context, tx pgx.Tx, payeeID string) error {
	var id string
	err := tx.QueryRow(ctx, `SELECT id FROM payees WHERE id = $1 FOR UPDATE`, payeeID).Scan(&id)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("payee %s: %w", payeeID, ErrNoPayee)
	case err != nil:
		return fmt.Errorf("payee %s: lock: %w", payeeID, err)
	}
	return nil
}

func (s *Store) tellPauses(ctx context.Context, tx pgx.Tx, payeeID string) error {
	pauses, err := ListPauses(ctx, tx, payeeID)
	if err != nil {
		return err
	}
	told := PausesChanged{Paused: len(pauses) > 0, Pauses: make([]PauseShown, len(pauses))}
	for i, p := range pauses {
		told.Pauses[i] = PauseShown{Source: p.Source, Reason: p.Reason}
	}
	return s.changes.Append(ctx, tx, feed.PauseChanged, payeeID, told)
}

// ListPauses lists what stops a payee's payouts, oldest first.
func ListPauses(ctx context.Context, db postgres.DB, payeeID string) ([]Pause, error) {
	rows, err := db.Query(ctx, `SELECT payee_id, source, reason, note, actor, since FROM payee_pauses
		WHERE payee_id = $1 ORDER BY since, source`, payeeID)
	if err != nil {
		return nil, fmt.Errorf("payee %s: list its pauses: %w", payeeID, err)
	}
	pauses, err := pgx.CollectRows(rows, pgx.RowToStructByName[Pause])
	if err != nil {
		return nil, fmt.Errorf("payee %s: list its pauses: %w", payeeID, err)
	}
	return pauses, nil
}
