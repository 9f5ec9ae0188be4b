package payout_test

import (
	"context"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/payout"
)

// atPayPal is what PayPal calls the only batch of a test.
const atPayPal = "PPBATCH1"

// payPalProfile is a payee who is paid by PayPal.
func payPalProfile(id string) payout.Profile {
	return payout.Profile{
		ID: id, Email: id + "@example.com", Country: "US", Currency: "usd", Rail: payout.RailPayPal,
		PayPalEmail: id + "@paypal.example.com", Schedule: payout.Weekly,
	}
}

// batchesOf sets up a store whose batches are of so many payouts.
func batchesOf(t *testing.T, size int) bundle {
	t.Helper()
	b := setup(t)
	policy := payout.DefaultPolicy()
	policy.PayPalBatchSize = size
	b.store = payout.NewStore(b.pool, policy, feed.NewWriter(nil), work())
	return b
}

// onPayPal makes payees who are paid by PayPal, and who have been with us for a while.
func (b bundle) onPayPal(t *testing.T, ids ...string) {
	t.Helper()
	b.signUp(t, ids...)
	for _, id := range ids {
		_, _, err := b.store.PutPayee(t.Context(), payPalProfile(id))
		require.NoError(t, err)
	}
	b.exec(t, `UPDATE payees SET created_at = '2026-02-28', destination_changed_at = '2026-01-01' WHERE id = ANY ($1)`, ids)
	b.exec(t, `INSERT INTO platform_funds (rail, currency, available, as_of) VALUES ('paypal', 'usd', $1, now()) ON CONFLICT DO NOTHING`, int64(1_000_000_000_000))
}

// due plans a payout of 100.00 by PayPal for each of them.
func (b bundle) due(t *testing.T, ids ...string) []payout.Payout {
	t.Helper()
	b.onPayPal(t, ids...)
	for _, id := range ids {
		b.earn(t, id, "sale", payout.Sale, 10_000, covered)
	}
	all := b.plan(t, friday)
	require.Len(t, all, len(ids))
	return all
}

// handOver hands everything of a run over.
func (b bundle) handOver(t *testing.T, on string) {
	t.Helper()
	for {
		handed, err := b.store.HandOver(t.Context(), civil(t, on), 100)
		require.NoError(t, err)
		if handed.Done {
			return
		}
	}
}

// formed plans payouts and puts them into batches.
func (b bundle) formed(t *testing.T, ids ...string) []payout.Batch {
	t.Helper()
	b.due(t, ids...)
	b.handOver(t, friday)
	return b.batches(t)
}

// batches gives all batches, oldest first and then by id.
func (b bundle) batches(t *testing.T) []payout.Batch {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `SELECT id FROM paypal_batches ORDER BY created_at, id`)
	require.NoError(t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	all := make([]payout.Batch, len(ids))
	for i, id := range ids {
		all[i] = b.batch(t, id)
	}
	return all
}

func (b bundle) batch(t *testing.T, id string) payout.Batch {
	t.Helper()
	found, err := payout.GetBatch(t.Context(), b.pool, id)
	require.NoError(t, err)
	return found
}

// frozen gives the id of a batch that is ready to be sent.
func (b bundle) frozen(t *testing.T, ids ...string) string {
	t.Helper()
	all := b.formed(t, ids...)
	require.Len(t, all, 1)
	b.freeze(t, all[0].ID)
	return all[0].ID
}

func (b bundle) freeze(t *testing.T, id string) payout.Batch {
	t.Helper()
	var frozen payout.Batch
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) (err error) {
		var hindrance payout.Hindrance
		frozen, hindrance, err = b.store.FreezeBatch(ctx, tx, id)
		require.Empty(t, hindrance)
		return err
	})
	return frozen
}

// sent gives the id of a batch that PayPal has.
func (b bundle) sent(t *testing.T, ids ...string) string {
	t.Helper()
	id := b.frozen(t, ids...)
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.BatchAccepted(ctx, tx, id, atPayPal) })
	return id
}

// sentBatch sets up a store whose only batch PayPal has, and gives its payouts in the order of their payees.
func sentBatch(t *testing.T, payeeIDs ...string) (b bundle, batchID string, all []payout.Payout) {
	t.Helper()
	b = batchesOf(t, 10)
	batchID = b.sent(t, payeeIDs...)
	return b, batchID, b.members(t, batchID)
}

// members gives a batch's payouts in the order of their payees.
func (b bundle) members(t *testing.T, batchID string) []payout.Payout {
	t.Helper()
	items, err := payout.ListBatchItems(t.Context(), b.pool, batchID)
	require.NoError(t, err)
	all := make([]payout.Payout, len(items))
	for i, item := range items {
		require.Equal(t, i, item.Position)
		all[i] = b.payout(t, item.PayoutID)
	}
	slices.SortFunc(all, func(x, y payout.Payout) int {
		if x.PayeeID < y.PayeeID {
			return -1
		}
		return 1
	})
	return all
}

// says is what PayPal says of a payout's item, as it should be.
func says(p payout.Payout, status string) payout.ItemSeen {
	seen := payout.ItemSeen{PayoutID: p.ID, ItemID: "ITEM" + p.ID, TransactionID: "TX" + p.ID, Status: status, Net: p.Net}
	switch status {
	case payout.ItemSuccess, payout.ItemPending, payout.ItemOnHold, payout.ItemUnclaimed:
	default:
		seen.Failure = payout.Failure{Class: "rejected", Code: status, Message: "PayPal says of it: " + status + "."}
	}
	return seen
}

func (b bundle) itemsSeen(t *testing.T, batchID string, items ...payout.ItemSeen) {
	t.Helper()
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.ItemsSeen(ctx, tx, batchID, items) })
}

// pausePayee and resumePayee are what a payee does.
func (b bundle) pausePayee(t *testing.T, id string) {
	t.Helper()
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		return b.store.Pause(ctx, tx, payout.Pause{PayeeID: id, Source: payout.SourcePayee})
	})
}

func (b bundle) resumePayee(t *testing.T, id string) {
	t.Helper()
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.Resume(ctx, tx, id, payout.SourcePayee) })
}

// consistent proves the ledger, and that batches hold what they say.
func (b bundle) consistent(t *testing.T) {
	t.Helper()
	b.sound(t)
	require.Equal(t, "0", b.read(t, `SELECT count(*) FROM (
		SELECT payout_id FROM paypal_batch_items i JOIN paypal_batches b ON b.id = i.batch_id AND b.state IN ('sending', 'sent', 'held')
		GROUP BY payout_id HAVING count(*) > 1) twice`), "a payout in two batches that PayPal may carry out")
	require.Equal(t, "0", b.read(t, `SELECT count(*) FROM paypal_batch_items i JOIN paypal_batches b ON b.id = i.batch_id AND b.state = 'sending'
		JOIN payouts p ON p.id = i.payout_id WHERE p.state <> 'sending' OR p.batch_id <> b.id OR i.receiver <> p.destination_id OR i.amount <> p.net`),
		"an item of a batch that is sent, and its payout is not")
	require.Equal(t, "0", b.read(t, `SELECT count(*) FROM paypal_batches b WHERE state <> 'open'
		AND size <> (SELECT count(*) FROM paypal_batch_items WHERE batch_id = b.id)`))
	require.Equal(t, "0", b.read(t, `SELECT count(*) FROM paypal_batches b WHERE state IN ('ended', 'split')
		AND EXISTS (SELECT FROM payouts WHERE batch_id = b.id AND state IN ('planned', 'sending', 'in_transit', 'unclaimed'))`), "a batch ended too early")
}

// way gives the states through which a payout went.
func (b bundle) way(t *testing.T, id string) string {
	t.Helper()
	return b.read(t, `SELECT string_agg(to_state, ',' ORDER BY seq) FROM payout_transitions WHERE payout_id = $1`, id)
}

// ledgerOf is what is in an account of the platform's at PayPal, in minor units.
func (b bundle) ledgerOf(t *testing.T, account string) string {
	t.Helper()
	return b.read(t, `SELECT coalesce(sum(amount), 0)::bigint FROM ledger_entries WHERE account = $1 AND rail IN ('', 'paypal')`, account)
}
