package activities

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/workflows"
)

// What PayPal says of a batch, in batch_status.
const (
	batchPending    = "PENDING"
	batchProcessing = "PROCESSING"
	batchSuccess    = "SUCCESS"
	batchDenied     = "DENIED"
)

// Codes of what becomes of a batch, beside PayPal's own.
const (
	codeBatchDenied     = "batch_denied"
	codeBatchUnreadable = "batch_unreadable"
	codeBatchStatus     = "batch_status_unknown"
)

// itemsAtOnce is how many items one transaction takes on: the payees are held meanwhile.
const itemsAtOnce = 100

// ReadPayPalBatch looks what has become of the payouts of a batch. Webhooks are hints to do so. Of a
// batch that is held because nothing is known of it, or was ended so by a person, it looks whether PayPal
// has it after all.
func (p *PayPalPayouts) ReadPayPalBatch(ctx context.Context, in workflows.PayPalBatchStepInput) (workflows.PayPalBatchMove, error) {
	return p.move(ctx, in, func(ctx context.Context, b payout.Batch) (instead, error) {
		if err := payout.BatchChecked(ctx, p.pool, b.ID); err != nil {
			return instead{}, err
		}
		if b.PayPalBatchID == "" {
			return instead{}, p.lookFor(ctx, b)
		}
		listed, err := p.list(ctx, b.PayPalBatchID)
		if failure, refused := refusalOf(err); refused {
			return instead{}, &provider.Failure{Provider: provider.PayPal, Class: provider.Held, Code: codeBatchUnreadable, Cause: failure}
		}
		if err != nil {
			return instead{}, err
		}
		return instead{}, p.takeOn(ctx, b, listed)
	})
}

// lookFor looks whether PayPal has a batch that is held, or has ended, although that was not known. When it
// was refused, its payouts may wait in others by now, or have ended.
func (p *PayPalPayouts) lookFor(ctx context.Context, b payout.Batch) error {
	if b.State != payout.BatchHeld && b.State != payout.BatchEnded && b.State != payout.BatchSplit {
		return nil
	}
	items, err := payout.ListBatchItems(ctx, p.pool, b.ID)
	if err != nil {
		return err
	}
	found, err := p.writer.seek(ctx, p.sending(b, items))
	if err != nil || found || b.State == payout.BatchHeld || b.HintedID == "" {
		return err
	}
	_, err = p.takeOver(ctx, b.HintedID)
	return err
}

// listing is what PayPal lists of a batch.
type listing struct {
	batch paypal.PayoutBatch // as it was when the first page was read
	items []paypal.PayoutItem
	whole bool // as many items as PayPal says that there are
}

// list reads a batch, page by page.
func (p *PayPalPayouts) list(ctx context.Context, payPalBatchID string) (listing, error) {
	var all listing
	listed := map[string]bool{}
	for page := 1; ; page++ {
		if err := p.turns.Wait(ctx); err != nil {
			return listing{}, err
		}
		got, err := p.client.GetPayoutBatch(ctx, payPalBatchID, page)
		if err != nil {
			return listing{}, err
		}
		if page == 1 {
			all.batch = got.Batch
		}
		for _, item := range got.Items {
			listed[item.ID] = true
			all.items = append(all.items, item)
		}
		if page >= got.TotalPages {
			all.whole = len(listed) >= got.TotalItems
			return all, nil
		}
	}
}

// isOurs says that nothing listed is another payout, or another amount, than was sent. What is not listed
// yet may follow.
func (l listing) isOurs(items []payout.BatchItem) bool {
	sent := make(map[string]payout.BatchItem, len(items))
	for _, i := range items {
		sent[i.PayoutID] = i
	}
	return !slices.ContainsFunc(l.items, func(i paypal.PayoutItem) bool {
		ours, known := sent[i.SenderItemID]
		return !known || amountOf(i.Value, i.Currency) != ours.Net
	})
}

// takeOn takes on what PayPal says of a batch. As long as it is pending, nothing that it lists counts;
// then its items decide, and never the batch.
func (p *PayPalPayouts) takeOn(ctx context.Context, b payout.Batch, l listing) error {
	switch l.batch.Status {
	case batchPending:
		return nil
	case batchDenied:
		return p.denied(ctx, b, l)
	case batchProcessing, batchSuccess:
		return p.itemsDecide(ctx, b, l)
	}
	return &provider.Failure{Provider: provider.PayPal, Class: provider.Held, Code: codeBatchStatus}
}

// itemsDecide takes on what PayPal says of the items, and, when it has finished with the batch, that the
// others are missing.
func (p *PayPalPayouts) itemsDecide(ctx context.Context, b payout.Batch, l listing) error {
	if err := p.seen(ctx, b, l.items); err != nil {
		return err
	}
	// A list may be a moment behind its batch.
	if l.batch.Status == batchProcessing || !l.whole || time.Since(b.StateSince) < settling {
		return nil
	}
	return p.ifStill(ctx, b, func(tx pgx.Tx) error { return p.payouts.ItemsComplete(ctx, tx, b.ID) })
}

// seen takes on what PayPal says of items, some at a time.
func (p *PayPalPayouts) seen(ctx context.Context, b payout.Batch, items []paypal.PayoutItem) error {
	for some := range slices.Chunk(items, itemsAtOnce) {
		seen := make([]payout.ItemSeen, len(some))
		for i, item := range some {
			seen[i] = itemSeen(item)
		}
		if err := p.ifStill(ctx, b, func(tx pgx.Tx) error { return p.payouts.ItemsSeen(ctx, tx, b.ID, seen) }); err != nil {
			return err
		}
	}
	return nil
}

// ifStill does something to a batch as long as it is the one at PayPal that was read.
func (p *PayPalPayouts) ifStill(ctx context.Context, b payout.Batch, do func(pgx.Tx) error) error {
	return p.inTx(ctx, func(tx pgx.Tx) error {
		now, err := payout.LockBatch(ctx, tx, b.ID)
		switch {
		case err != nil:
			return err
		case now.PayPalBatchID != b.PayPalBatchID:
			return errOvertaken
		}
		return do(tx)
	})
}

func itemSeen(i paypal.PayoutItem) payout.ItemSeen {
	seen := payout.ItemSeen{
		PayoutID: i.SenderItemID, ItemID: i.ID, TransactionID: i.TransactionID, Status: i.Status,
		Net: amountOf(i.Value, i.Currency), Fee: amountOf(i.FeeValue, i.FeeCurrency),
	}
	if i.Status != payout.ItemSuccess && i.Status != payout.ItemPending {
		seen.Failure = failureOfItem(i)
	}
	return seen
}

// failureOfItem is why an item did not reach its receiver. For want of our own funds it is no matter of
// the payee's.
func failureOfItem(i paypal.PayoutItem) payout.Failure {
	code, matter := i.ErrorCode, paypal.ItemMatter(i.ErrorCode)
	switch {
	case code == "":
		return payout.Failure{Class: string(provider.Rejected), Code: i.Status, Message: "PayPal says of it: " + i.Status + "."}
	case matter == provider.MatterOurs:
		return payout.Failure{Class: string(provider.Rejected), Code: string(payout.BecauseFunding), Message: payout.BecauseFunding.Sentence()}
	}
	return refusedByPayPal(code, matter)
}

// denied takes on that PayPal denied a batch. That is for want of funds unless an item says otherwise:
// then it waits to be sent again. Should an item be said to have gone somewhere, the items decide.
func (p *PayPalPayouts) denied(ctx context.Context, b payout.Batch, l listing) error {
	var blamed []paypal.PayoutItem
	for _, i := range l.items {
		switch i.Status {
		case "", payout.ItemPending, payout.ItemDenied, payout.ItemFailed:
		default:
			return p.itemsDecide(ctx, b, l)
		}
		if i.ErrorCode != "" && paypal.ItemMatter(i.ErrorCode) != provider.MatterOurs {
			blamed = append(blamed, i)
		}
	}
	if len(blamed) == 0 {
		return p.deniedForFunds(ctx, b)
	}
	ended := slices.DeleteFunc(blamed, func(i paypal.PayoutItem) bool { return i.Status != payout.ItemDenied && i.Status != payout.ItemFailed })
	if err := p.seen(ctx, b, ended); err != nil {
		return err
	}
	return p.ifStill(ctx, b, func(tx pgx.Tx) error {
		return p.payouts.BatchDenied(ctx, tx, b.ID, refusedByPayPal(codeBatchDenied, ""))
	})
}

// deniedForFunds has a batch wait for funds, after which it goes out under a new key. When it has waited
// for as long as it may, it is given up, whatever PayPal says of its balance.
func (p *PayPalPayouts) deniedForFunds(ctx context.Context, b payout.Batch) error {
	return p.ifStill(ctx, b, func(tx pgx.Tx) error {
		if _, err := p.writer.requests.Revoke(ctx, tx, batchOperation(b.ID), b.PayPalBatchID, codeBatchDenied); err != nil {
			return err
		}
		err := p.payouts.BatchUnfunded(ctx, tx, b.ID, string(payout.BecauseFunding))
		if err != nil || b.UnfundedSince == nil || time.Since(*b.UnfundedSince) < fundingPatience {
			return err
		}
		return p.payouts.BatchEndsUnfunded(ctx, tx, b.ID)
	})
}
