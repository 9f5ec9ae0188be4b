package payout

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/postgres"
)

// isLive says that an item has taken the platform's money, or may still do so.
func (i ItemSeen) isLive() bool { return i.age() < 4 }

// itemsOver is what PayPal says of items that are not live any more.
func itemsOver() []string {
	return []string{ItemFailed, ItemDenied, ItemReturned, ItemCanceled, ItemReversed, ItemRefunded}
}

// keepOthers keeps, as PayPal says them to be now, the items of a batch there that are not the ones by
// which their payouts were sent. What names no payout of ours is nobody's.
func keepOthers(ctx context.Context, tx pgx.Tx, payPalBatchID string, others []ItemSeen) error {
	if len(others) == 0 {
		return nil
	}
	var (
		items, payouts, currencies, statuses []string
		amounts                              []int64
	)
	for _, i := range others {
		items, payouts, statuses = append(items, i.ItemID), append(payouts, i.PayoutID), append(statuses, i.Status)
		amounts, currencies = append(amounts, i.Net.Minor), append(currencies, string(i.Net.Currency))
	}
	_, err := tx.Exec(ctx, `INSERT INTO paypal_other_items (item_id, payout_id, paypal_batch_id, amount, currency, transaction_status)
		SELECT DISTINCT ON (s.item) s.item, p.id, $1, s.amount, s.currency, s.status
		FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[]) AS s (item, payout, amount, currency, status)
			JOIN payouts p ON p.id = s.payout AND p.method = 'paypal' AND p.provider_payout_id IS DISTINCT FROM s.item
		WHERE s.item <> '' ORDER BY s.item
		ON CONFLICT (item_id) DO UPDATE SET transaction_status = excluded.transaction_status`,
		payPalBatchID, items, payouts, amounts, currencies, statuses)
	if err != nil {
		return fmt.Errorf("keep %d items of %s at PayPal: %w", len(others), payPalBatchID, err)
	}
	return nil
}

// paidTwice is in SQL what PayPal has paid of payouts beside what it should have: what was released, which
// is in the books at once, and other items, until a person has had them recorded.
const paidTwice = `SELECT split_part(t.source, '/', 2) COLLATE "C" AS id, t.payout_id, p.payee_id, e.amount, e.currency, t.posted_at AS since, true AS posted
	FROM ledger_entries e JOIN ledger_transactions t ON t.id = e.transaction_id JOIN payouts p ON p.id = t.payout_id
	WHERE e.account = 'writeoff' AND e.event = 'duplicate' AND p.method = 'paypal'
		AND NOT EXISTS (SELECT FROM operator_actions a WHERE a.action = '` + recordDuplicate + `' AND a.subject = t.payout_id || '/' || split_part(t.source, '/', 2))
	UNION ALL SELECT o.item_id COLLATE "C", o.payout_id, p.payee_id, o.amount, o.currency, o.found_at, false
	FROM paypal_other_items o JOIN payouts p ON p.id = o.payout_id
	WHERE o.transaction_status = '` + ItemSuccess + `' AND p.state <> 'held' AND o.item_id IS DISTINCT FROM p.provider_payout_id
		AND NOT EXISTS (SELECT FROM ledger_transactions t WHERE t.source = 'duplicate/' || o.item_id)`

// IsElsewhere says whether PayPal has other items of what a batch is to send, which have taken their money
// or still may: it would pay twice.
func IsElsewhere(ctx context.Context, db postgres.DB, batchID string) (elsewhere bool, err error) {
	err = db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM payouts p JOIN paypal_other_items o ON o.payout_id = p.id
		WHERE p.batch_id = $1 AND p.state = 'sending' AND o.item_id IS DISTINCT FROM p.provider_payout_id AND NOT o.transaction_status = ANY ($2))`,
		batchID, itemsOver()).Scan(&elsewhere)
	if err != nil {
		return false, fmt.Errorf("batch %s: see whether PayPal has other items of it: %w", batchID, err)
	}
	return elsewhere, nil
}
