package payout

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/postgres"
)

// What is stopped looks again by itself after a while. When a person lifts a stop, those that wait are
// told, so that they go on at once: a payee's in the transaction that lifts it, and those of a run, or
// all, by work of its own, since they may be a hundred thousand.

// waiting are in SQL the payouts at Stripe that a stop may hold up: they have a workflow, and something
// of them is still to be sent.
const waiting = `method <> 'paypal' AND (state = 'planned' AND handed_at IS NOT NULL
	OR state = 'sending' AND provider_payout_id IS NULL AND ending IS NULL)`

// ListWaiting lists, in order and after the given one, the payouts at Stripe that a stop may hold up:
// those of a run's date, or all when it is zero.
func ListWaiting(ctx context.Context, db postgres.DB, on date.Date, after string, limit int) ([]string, error) {
	rows, err := db.Query(ctx, `SELECT id FROM payouts WHERE `+waiting+` AND ($1::date IS NULL OR run_date = $1) AND id > $2
		ORDER BY id LIMIT $3`, on, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list payouts that wait: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list payouts that wait: %w", err)
	}
	return ids, nil
}

// ListWaitingBatches is ListWaiting for the batches at PayPal: those that are to be sent, or may have been.
func ListWaitingBatches(ctx context.Context, db postgres.DB, on date.Date, after string, limit int) ([]string, error) {
	rows, err := db.Query(ctx, `SELECT id FROM paypal_batches WHERE state IN ('open', 'sending') AND ($1::date IS NULL OR run_date = $1) AND id > $2
		ORDER BY id LIMIT $3`, on, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list batches that wait: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list batches that wait: %w", err)
	}
	return ids, nil
}

// wake has the payouts of a date, or all when it is zero, told that a stop was lifted.
func (s *Store) wake(ctx context.Context, tx pgx.Tx, on date.Date, cause string) error {
	if err := outbox.Add(ctx, tx, s.work.Wake(on, cause+"/"+moment())); err != nil {
		return fmt.Errorf("have the payouts go on that wait: %w", err)
	}
	return nil
}

// wakePayee has the payouts of one payee told that a stop was lifted, and puts those into batches that
// left theirs for it. These are few.
func (s *Store) wakePayee(ctx context.Context, tx pgx.Tx, payeeID string) error {
	rows, err := tx.Query(ctx, `SELECT id FROM payouts WHERE payee_id = $1 AND `+waiting, payeeID)
	if err != nil {
		return fmt.Errorf("payee %s: list its payouts that wait: %w", payeeID, err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("payee %s: list its payouts that wait: %w", payeeID, err)
	}
	for _, id := range ids {
		if err := s.lookAt(ctx, tx, id, "resumed/"+moment()); err != nil {
			return err
		}
	}
	_, err = s.formLeftovers(ctx, tx, payeeID, leftoversOfPayee)
	return err
}

// leftoversOfPayee bounds what of one payee goes into batches at once; the sweep finds the rest.
const leftoversOfPayee = 500

// lookAt has a payout's workflow look how it stands now.
func (s *Store) lookAt(ctx context.Context, tx pgx.Tx, id, cause string) error {
	if err := outbox.Add(ctx, tx, s.work.LookAt(id, cause)); err != nil {
		return fmt.Errorf("payout %s: have it looked at: %w", id, err)
	}
	return nil
}

// moment names one lifting among those of the same stop, which follow each other under a lock.
func moment() string { return time.Now().UTC().Format(time.RFC3339Nano) }
