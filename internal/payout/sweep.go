package payout

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/postgres"
)

// Unseen is a payout of which nothing was heard for longer than it should take.
type Unseen struct {
	ID    string
	State State
}

// ListUnseen lists, in order and after the given one, the payouts at Stripe that are to be looked at
// there because nothing was heard of them for longer than it should take: of one that is being sent, or
// was to be, for an hour; of one on its way, since its day of arrival or for three days, or when its
// money is to be taken back; and daily of one that was paid less than ten days ago, since a bank may
// still return it, and of one that is held, since what Stripe has of it may be another thing. Whatever it
// waits for, none of these stays unlooked-at for longer than the policy has it.
func (s *Store) ListUnseen(ctx context.Context, after string, limit int) ([]Unseen, error) {
	rows, err := s.pool.Query(ctx, `SELECT id, state FROM payouts WHERE method <> 'paypal' AND id > $1 AND (
			state = 'planned' AND handed_at < now() - interval '1 hour'
			OR state = 'sending' AND state_since < now() - interval '1 hour'
			OR state = 'in_transit' AND greatest(checked_at, state_since) < now() - interval '6 hours'
				AND (ending IS NOT NULL OR arrival_date < (now() AT TIME ZONE 'UTC')::date OR state_since < now() - interval '3 days')
			OR state IN ('in_transit', 'held') AND greatest(checked_at, state_since) < now() - $3::interval
			OR state = 'held' AND greatest(checked_at, state_since) < now() - interval '1 day'
			OR state = 'paid' AND (ending IS NOT NULL OR state_since > now() - interval '10 days')
				AND greatest(checked_at, state_since) < now() - interval '1 day')
		ORDER BY id LIMIT $2`, after, limit, s.policy.LookWithin)
	return collect[Unseen](rows, err, "payouts that nothing was heard of")
}

// UnseenBatch is a batch of payouts of which nothing was heard for longer than it should take.
type UnseenBatch struct {
	ID   string
	Kind string // what is under way of it: the state of a payout, or heard, when PayPal told of something new that nobody looked at
}

// ListUnseenBatches lists, in order and after the given one, the batches that are to be looked at because
// nothing was heard of them for longer than it should take: of one that is to be sent, or may have been,
// for an hour; of one on its way for three days, every six hours; and daily of one of which something
// waits to be claimed, or for a person. None stays unlooked-at for longer than the policy has it.
func (s *Store) ListUnseenBatches(ctx context.Context, after string, limit int) ([]UnseenBatch, error) {
	rows, err := s.pool.Query(ctx, `SELECT id, kind FROM (
			SELECT b.id, CASE
				WHEN b.state = 'open' AND looked < now() - interval '1 hour' THEN 'planned'
				WHEN b.state = 'sending' AND b.state_since < now() - interval '1 hour' THEN 'sending'
				WHEN b.heard AND looked < now() - interval '1 hour' THEN 'heard'
				WHEN m.going AND b.state_since < now() - interval '3 days' AND looked < now() - interval '6 hours' THEN 'in_transit'
				WHEN m.unclaimed AND looked < now() - interval '1 day' THEN 'unclaimed'
				WHEN m.held AND looked < now() - interval '1 day' THEN 'held'
				WHEN m.going AND looked < now() - $3::interval THEN 'in_transit'
				WHEN m.unclaimed AND looked < now() - $3::interval THEN 'unclaimed'
				WHEN m.held AND looked < now() - $3::interval THEN 'held' END AS kind
			FROM paypal_batches b CROSS JOIN LATERAL (SELECT greatest(b.checked_at, b.state_since) AS looked, bool_or(p.state IN ('sending', 'in_transit')) AS going,
				bool_or(p.state = 'unclaimed') AS unclaimed, bool_or(p.state = 'held') AS held FROM payouts p WHERE p.batch_id = b.id) m
			WHERE b.id > $1 AND (b.state IN ('open', 'sending', 'sent', 'held') OR b.heard)) AS unseen
		WHERE kind IS NOT NULL ORDER BY id LIMIT $2`, after, limit, s.policy.LookWithin)
	return collect[UnseenBatch](rows, err, "batches that nothing was heard of")
}

// FormLeftovers puts up to limit payouts by PayPal into new batches that were handed over and are in none,
// such as those whose payee was paused when theirs was frozen and is not any more. It tells how many.
func (s *Store) FormLeftovers(ctx context.Context, limit int) (payouts int, err error) {
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		payouts, err = s.formLeftovers(ctx, tx, "", limit)
		return err
	})
	return payouts, err
}

// formLeftovers is FormLeftovers for one payee, or for all when none is named.
func (s *Store) formLeftovers(ctx context.Context, tx pgx.Tx, payeeID string, limit int) (payouts int, err error) {
	rows, err := tx.Query(ctx, `SELECT id FROM payouts p WHERE method = 'paypal' AND state = 'planned' AND batch_id IS NULL AND handed_at IS NOT NULL
			AND ($1 = '' OR payee_id = $1) AND NOT EXISTS (SELECT FROM payee_pauses s WHERE s.payee_id = p.payee_id)
		ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED`, payeeID, limit)
	if err != nil {
		return 0, fmt.Errorf("find payouts that are in no batch: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return 0, fmt.Errorf("find payouts that are in no batch: %w", err)
	}
	return len(ids), s.FormBatches(ctx, tx, ids)
}

// MarkPlanned records that payouts that are still planned were had looked at, on their own or with their
// batches: there is nothing of them at a provider yet that could be looked up.
func MarkPlanned(ctx context.Context, db postgres.DB, payoutIDs, batchIDs []string) error {
	_, err := db.Exec(ctx, `UPDATE payouts SET checked_at = now() WHERE state = 'planned' AND (id = ANY ($1) OR batch_id = ANY ($2))`, payoutIDs, batchIDs)
	if err != nil {
		return fmt.Errorf("record that planned payouts were looked at: %w", err)
	}
	return nil
}

// LiftBlocks lets payees be paid again whose payout has been on its way for five days, or waits to be
// claimed at an address that is not theirs any more: it may still arrive, and the next one does not
// wait for it. It tells how many these are.
func LiftBlocks(ctx context.Context, db postgres.DB) (int64, error) {
	// Whoever holds several payouts holds them in an order of their own; what is held waits for the next time.
	tag, err := db.Exec(ctx, `UPDATE payouts SET blocks = false WHERE id IN (
		SELECT p.id FROM payouts p JOIN payees e ON e.id = p.payee_id WHERE p.blocks
			AND (p.state = 'in_transit' AND p.state_since < now() - interval '5 days'
				OR p.state = 'unclaimed' AND (e.rail <> 'paypal' OR e.paypal_email IS DISTINCT FROM p.destination_id))
		FOR UPDATE OF p SKIP LOCKED)`)
	if err != nil {
		return 0, fmt.Errorf("let payees be paid whose payout takes long: %w", err)
	}
	return tag.RowsAffected(), nil
}

// What a payee is told whose payout takes longer than usual.
const (
	noteDelayed   = "payout_delayed"
	detailDelayed = "A payout takes longer than usual. It is looked after; nothing needs to be done."
)

// expected is in SQL when a payout should have gone on by: it goes out within a day, and arrives on its
// day or after three. Null is for those that wait for nothing, or for the payee.
const expected = `CASE p.state
	WHEN 'planned' THEN CASE WHEN EXISTS (SELECT FROM payee_pauses s WHERE s.payee_id = p.payee_id) THEN NULL ELSE p.handed_at + interval '1 day' END
	WHEN 'sending' THEN p.state_since + interval '1 day'
	WHEN 'held' THEN p.state_since + interval '1 day'
	WHEN 'in_transit' THEN coalesce((p.arrival_date + 1)::timestamp AT TIME ZONE 'UTC', p.state_since + interval '3 days') END`

// NoteDelays tells payees by a note, once a day, that a payout of theirs takes longer than usual. It does
// so for a slice of them, and gives how many these were.
func (s *Store) NoteDelays(ctx context.Context, limit int) (payees int, err error) {
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT DISTINCT p.payee_id FROM payouts p
			WHERE p.state IN ('planned', 'sending', 'in_transit', 'held') AND `+expected+` < now()
				AND NOT EXISTS (SELECT FROM payee_notes n WHERE n.payee_id = p.payee_id AND n.code = $1 AND n.last_date >= $2)
			ORDER BY p.payee_id LIMIT $3`, noteDelayed, today(), limit)
		if err != nil {
			return fmt.Errorf("find whose payouts take long: %w", err)
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("find whose payouts take long: %w", err)
		}
		said := make([]Said, len(ids))
		for i, id := range ids {
			said[i] = Said{PayeeID: id, Code: noteDelayed, Detail: detailDelayed, Date: today()}
		}
		payees = len(ids)
		return s.Notes(ctx, tx, said)
	})
	return payees, err
}

// ListUnfinishedRuns lists the dates of runs that began more than an hour ago, wait for no person and
// have not ended: their workflows may be gone. One that waits for a person is among them when it has
// done so for as long as the policy leaves nothing unlooked-at.
func (s *Store) ListUnfinishedRuns(ctx context.Context) ([]date.Date, error) {
	rows, err := s.pool.Query(ctx, `SELECT date FROM payout_runs WHERE state IN ('computing', 'paying') AND started_at < now() - interval '1 hour'
		OR state IN ('awaiting_approval', 'paused') AND started_at < now() - $1::interval ORDER BY date`, s.policy.LookWithin)
	if err != nil {
		return nil, fmt.Errorf("list the runs that have not ended: %w", err)
	}
	dates, err := pgx.CollectRows(rows, pgx.RowTo[date.Date])
	if err != nil {
		return nil, fmt.Errorf("list the runs that have not ended: %w", err)
	}
	return dates, nil
}
