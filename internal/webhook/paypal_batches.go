package webhook

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/outbox"
)

// addBatches finds which of our batches of payouts events are about, by whatever they name that is
// ours: the batch as we call it or as PayPal does, or else one of its payouts.
func (all owners) addBatches(ctx context.Context, tx pgx.Tx, events []Event) error {
	var subjects, batches, theirs, payouts, items []string
	for _, e := range events {
		n := e.names
		subjects, batches, theirs = append(subjects, e.Subject), append(batches, n.SenderBatchID), append(theirs, n.BatchID)
		payouts, items = append(payouts, n.SenderItemID), append(items, n.ItemID)
	}
	rows, err := tx.Query(ctx, `WITH named AS (
			SELECT DISTINCT n.subject, n.sender_batch_id, n.batch_id, n.sender_item_id, n.item_id FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
				AS n (subject, sender_batch_id, batch_id, sender_item_id, item_id)),
		batch AS (
			SELECT n.subject, r.subject AS id, CASE WHEN r.outcome = 'open' OR o.state IN ('split', 'ended') AND NOT n.batch_id = ANY (o.denied_ids)
				THEN n.batch_id ELSE '' END AS hint
			FROM named n JOIN provider_requests r ON r.idempotency_key = n.sender_batch_id AND r.provider = 'paypal' AND r.operation = 'payout_batch'
				JOIN paypal_batches o ON o.id = r.subject
			UNION SELECT n.subject, b.id, '' FROM named n JOIN paypal_batches b ON b.paypal_batch_id = n.batch_id),
		found AS (
			SELECT subject, id, hint FROM batch
			UNION SELECT n.subject, p.batch_id, '' FROM named n
				JOIN payouts p ON p.method = 'paypal' AND (p.id = n.sender_item_id OR p.provider_payout_id = n.item_id)
				WHERE NOT EXISTS (SELECT FROM batch b WHERE b.subject = n.subject))
		SELECT f.subject, b.id, max(f.hint) FROM found f JOIN paypal_batches b ON b.id = f.id GROUP BY 1, 2 ORDER BY 1, 2`,
		subjects, batches, theirs, payouts, items)
	if err != nil {
		return fmt.Errorf("find which batches they are about: %w", err)
	}
	of, o := topical{about: Batches}, owner{}
	_, err = pgx.ForEachRow(rows, []any{&of.subject, &o.batchID, &o.hint}, func() error {
		all[of] = append(all[of], o)
		return nil
	})
	if err != nil {
		return fmt.Errorf("find which batches they are about: %w", err)
	}
	return nil
}

// heard is what new events tell of a batch.
type heard struct {
	hint    string // what PayPal calls it, perhaps
	eventID string
}

// hear has batches looked at of which nothing was heard since they were looked at last. One of 500 items
// makes 500 events, and one look. What an event says of a batch is never believed: it is to be read.
func (i *Inbox) hear(ctx context.Context, tx pgx.Tx, news map[string]heard, batch *pgx.Batch) error {
	for _, id := range slices.Sorted(maps.Keys(news)) { // in one order, or two who hear could wait for each other
		first, err := i.work.HearOfBatch(ctx, tx, id, news[id].hint)
		if err != nil {
			return err
		}
		if !first {
			continue
		}
		if err := outbox.Queue(batch, i.work.LookAtBatch(id, "event/"+news[id].eventID)); err != nil {
			return err
		}
	}
	return nil
}
