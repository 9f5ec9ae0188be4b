package payout

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/postgres"
)

// PayPal may have a batch that none of ours is known to be: it was refused, as we were told, and its payouts
// went on in others; or a restored backup has forgotten it. Whoever of it waits to be paid is taken over
// into a batch that is the one at PayPal, and is not sent again. Of all others it has second items.

// FoundBatch is a batch that PayPal was found to have.
type FoundBatch struct {
	PayPalBatchID string
	Items         []ItemSeen
}

// Reasons of what happens to the batches from which payouts are taken over.
const (
	reasonTakenOver = "taken_over"
	// ReasonElsewhere holds a batch of which PayPal may have been told to pay what it pays with another one.
	ReasonElsewhere = "found_elsewhere"
)

// TakeOver takes a batch over that was found at PayPal. The caller can tell of what is to be sent whether it
// may have been: a batch of which that is so is held, since PayPal may pay its payouts twice.
func (s *Store) TakeOver(ctx context.Context, tx pgx.Tx, f FoundBatch, maybeSent func(ctx context.Context, tx pgx.Tx, batchID string) (bool, error)) error {
	known, err := KnowsBatch(ctx, tx, f.PayPalBatchID)
	if err != nil || known {
		return err
	}
	var wanted []string
	for _, i := range f.Items {
		if i.ItemID != "" && i.isLive() {
			wanted = append(wanted, i.PayoutID)
		}
	}
	free, err := s.freeFrom(ctx, tx, wanted, maybeSent)
	if err != nil {
		return err
	}
	members, err := collectPayouts(ctx, tx, `id = ANY ($1) AND method = 'paypal' AND state IN ('planned', 'sending') AND provider_payout_id IS NULL
		AND (batch_id IS NULL OR batch_id = ANY ($2)) ORDER BY payee_id, part, id FOR UPDATE`, wanted, free)
	if err != nil {
		return fmt.Errorf("hold the payouts of %s at PayPal: %w", f.PayPalBatchID, err)
	}
	if len(members) > 0 {
		kind := batchKind{members[0].RunDate, members[0].Gross.Currency}
		members = slices.DeleteFunc(members, func(p Payout) bool { return (batchKind{p.RunDate, p.Gross.Currency}) != kind })
		if err := s.formFound(ctx, tx, kind, f.PayPalBatchID, members); err != nil {
			return err
		}
	}
	others := slices.DeleteFunc(slices.Clone(f.Items), func(i ItemSeen) bool {
		return slices.ContainsFunc(members, func(p Payout) bool { return p.ID == i.PayoutID })
	})
	return keepOthers(ctx, tx, f.PayPalBatchID, others)
}

// KnowsBatch says whether a batch at PayPal is one of ours, or was until PayPal denied it.
func KnowsBatch(ctx context.Context, db postgres.DB, payPalBatchID string) (known bool, err error) {
	err = db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM paypal_batches WHERE paypal_batch_id = $1 OR $1 = ANY (denied_ids))`, payPalBatchID).Scan(&known)
	if err != nil {
		return false, fmt.Errorf("see whether %s at PayPal is a batch of ours: %w", payPalBatchID, err)
	}
	return known, nil
}

// freeFrom holds the batches in which payouts wait to be sent, and gives those of which nothing was. One
// that is frozen ends, and those of it that are not wanted go on in a new one.
func (s *Store) freeFrom(
	ctx context.Context, tx pgx.Tx, wanted []string, maybeSent func(context.Context, pgx.Tx, string) (bool, error),
) (free []string, err error) {
	batches, err := lockWaiting(ctx, tx, wanted)
	if err != nil {
		return nil, err
	}
	for _, id := range batches {
		b, err := GetBatch(ctx, tx, id)
		if err != nil {
			return nil, err
		}
		if b.State == BatchOpen { // nothing else than that and sending is held
			free = append(free, id)
			continue
		}
		sent, err := maybeSent(ctx, tx, id)
		switch {
		case err != nil:
		case sent:
			err = s.HoldBatch(ctx, tx, id, ReasonElsewhere)
		default:
			free, err = append(free, id), s.dissolve(ctx, tx, b, wanted)
		}
		if err != nil {
			return nil, err
		}
	}
	return free, nil
}

// lockWaiting holds the batches in which some of the payouts wait to be sent, and everybody whom those pay.
func lockWaiting(ctx context.Context, tx pgx.Tx, wanted []string) ([]string, error) {
	rows, err := tx.Query(ctx, `SELECT id FROM paypal_batches WHERE state IN ('open', 'sending') AND id IN (SELECT batch_id FROM payouts
			WHERE id = ANY ($1) AND state IN ('planned', 'sending')) ORDER BY id FOR UPDATE`, wanted)
	if err != nil {
		return nil, fmt.Errorf("hold the batches of %d payouts: %w", len(wanted), err)
	}
	batches, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("hold the batches of %d payouts: %w", len(wanted), err)
	}
	rows, err = tx.Query(ctx, `SELECT DISTINCT payee_id FROM payouts WHERE id = ANY ($1) OR batch_id = ANY ($2)`, wanted, batches)
	if err != nil {
		return nil, fmt.Errorf("find whom %d batches pay: %w", len(batches), err)
	}
	payees, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("find whom %d batches pay: %w", len(batches), err)
	}
	return batches, lockPayees(ctx, tx, payees)
}

// dissolve ends a frozen batch of which nothing was sent. Who is not wanted elsewhere goes on in a new one.
func (s *Store) dissolve(ctx context.Context, tx pgx.Tx, b Batch, wanted []string) error {
	members, err := lockMembers(ctx, tx, b.ID, nil, Sending)
	if err != nil {
		return err
	}
	rest := slices.DeleteFunc(goodOf(members, nil), func(id string) bool { return slices.Contains(wanted, id) })
	if len(rest) == 0 {
		return b.end(ctx, tx, BatchEnded, reasonTakenOver)
	}
	if err := b.end(ctx, tx, BatchSplit, reasonTakenOver); err != nil {
		return err
	}
	return s.formBatch(ctx, tx, batchKind{b.RunDate, b.Currency}, b.ID, rest)
}

// formFound makes the batch that is the one at PayPal, of payouts that the caller holds, and hands it over
// to be read.
func (s *Store) formFound(ctx context.Context, tx pgx.Tx, kind batchKind, payPalBatchID string, members []Payout) error {
	ids := goodOf(members, nil)
	id := batchID(kind, payPalBatchID, ids, 1)
	var after aftermath
	for _, p := range members {
		if p.State == Planned {
			p.State = Sending
			after.told = append(after.told, p)
		}
	}
	// The items come before the state: afterwards the database takes no more of them.
	statements := &pgx.Batch{}
	statements.Queue(`INSERT INTO paypal_batches (id, run_date, currency, size, taken_over) VALUES ($1, $2, $3, $4, true)`,
		id, kind.runDate, string(kind.currency), len(ids))
	statements.Queue(`UPDATE payouts SET batch_id = $1, state = 'sending', reason = '', actor = '', handed_at = coalesce(handed_at, now()) WHERE id = ANY ($2)`, id, ids)
	statements.Queue(`INSERT INTO paypal_batch_items (batch_id, position, payout_id, receiver, amount, currency)
		SELECT batch_id, row_number() OVER (ORDER BY id) - 1, id, destination_id, net, currency FROM payouts WHERE batch_id = $1`, id)
	statements.Queue(`UPDATE paypal_batches SET state = 'sending' WHERE id = $1`, id)
	if err := tx.SendBatch(ctx, statements).Close(); err != nil {
		return fmt.Errorf("take %d payouts of %s at PayPal over: %w", len(ids), payPalBatchID, err)
	}
	if err := s.BatchAccepted(ctx, tx, id, payPalBatchID); err != nil {
		return err
	}
	if err := outbox.Add(ctx, tx, s.work.PayBatch(id)); err != nil {
		return fmt.Errorf("batch %s: hand over: %w", id, err)
	}
	return s.say(ctx, tx, &after)
}

// Mention is a movement at PayPal that names a payout of ours, and the batch to which it belongs there.
type Mention struct {
	PayoutID      string
	PayPalBatchID string
}

// UnknownBatches gives the batches at PayPal that none of ours is known to be, among those to which movements
// for our payouts belong. What was seen of one before is not given again.
func UnknownBatches(ctx context.Context, db postgres.DB, mentions []Mention) ([]string, error) {
	var payouts, batches []string
	for _, m := range mentions {
		payouts, batches = append(payouts, m.PayoutID), append(batches, m.PayPalBatchID)
	}
	rows, err := db.Query(ctx, `SELECT DISTINCT m.batch FROM unnest($1::text[], $2::text[]) AS m (payout, batch)
			JOIN payouts p ON p.id = m.payout AND p.method = 'paypal'
		WHERE m.batch <> '' AND NOT EXISTS (SELECT FROM paypal_batches b WHERE b.paypal_batch_id = m.batch)
			AND NOT EXISTS (SELECT FROM paypal_batches b JOIN paypal_batch_items i ON i.batch_id = b.id WHERE i.payout_id = p.id AND m.batch = ANY (b.denied_ids))
			AND NOT EXISTS (SELECT FROM paypal_other_items o WHERE o.payout_id = p.id AND o.paypal_batch_id = m.batch) ORDER BY 1`, payouts, batches)
	if err != nil {
		return nil, fmt.Errorf("find which batches %d movements belong to: %w", len(mentions), err)
	}
	unknown, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("find which batches %d movements belong to: %w", len(mentions), err)
	}
	return unknown, nil
}

// ElsewhereAs gives the batches at PayPal that have items of what an open batch of ours is to send, which have
// taken their money or still may.
func ElsewhereAs(ctx context.Context, db postgres.DB, batchID string) ([]string, error) {
	rows, err := db.Query(ctx, `SELECT DISTINCT o.paypal_batch_id FROM payouts p JOIN paypal_other_items o ON o.payout_id = p.id
		WHERE p.batch_id = $1 AND p.state IN ('planned', 'sending') AND NOT o.transaction_status = ANY ($2) ORDER BY 1`, batchID, itemsOver())
	if err != nil {
		return nil, fmt.Errorf("batch %s: see which batches at PayPal have its payouts: %w", batchID, err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("batch %s: see which batches at PayPal have its payouts: %w", batchID, err)
	}
	return ids, nil
}

// UnsentSince gives the payouts of an open batch that were never in another one, and since when the first of
// them has been due: the zero time when there are none.
func UnsentSince(ctx context.Context, db postgres.DB, batchID string) (payoutIDs []string, due time.Time, err error) {
	var since *time.Time
	err = db.QueryRow(ctx, `SELECT coalesce(array_agg(id ORDER BY id), '{}'), min(due_date)::timestamp AT TIME ZONE 'UTC' FROM payouts
		WHERE batch_id = $1 AND state = 'planned'`, batchID).Scan(&payoutIDs, &since)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("batch %s: see since when it is due: %w", batchID, err)
	}
	if since == nil {
		return nil, time.Time{}, nil
	}
	return payoutIDs, *since, nil
}

// OpenUnder gives the batch of ours that was sent under a sender_batch_id and of which it is not known what
// came of that; empty when there is none.
func OpenUnder(ctx context.Context, db postgres.DB, senderBatchID string) (batchID string, err error) {
	err = db.QueryRow(ctx, `SELECT coalesce((SELECT subject FROM provider_requests
		WHERE idempotency_key = $1 AND provider = 'paypal' AND operation = 'payout_batch' AND outcome = 'open'), '')`, senderBatchID).Scan(&batchID)
	if err != nil {
		return "", fmt.Errorf("find the batch that was sent under %s: %w", senderBatchID, err)
	}
	return batchID, nil
}
