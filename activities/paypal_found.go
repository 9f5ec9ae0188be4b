package activities

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/workflows"
)

// lateFrom is how long after the beginning of the day on which they are due payouts are looked for at PayPal
// before they are sent for the first time: 23 hours after the day's run. What was sent of them may have
// been forgotten with a restored backup. Those that go on their day, which are nearly all, cost no call.
const lateFrom = (8 + 23) * time.Hour

// codeMoved means that a movement at PayPal names a payout of which nothing was sent, and no batch that
// could tell more.
const codeMoved = "payout_moved_already"

// takeOver reads a batch at PayPal that none of ours is known to be, and takes over who waits in ours. It
// tells whether there is such a batch. One of which it is only not known what came of it is looked at.
func (p *PayPalPayouts) takeOver(ctx context.Context, payPalBatchID string) (there bool, err error) {
	known, err := payout.KnowsBatch(ctx, p.pool, payPalBatchID)
	if err != nil || known { // it is read as what it is
		return known, err
	}
	listed, err := p.list(ctx, payPalBatchID)
	if _, refused := refusalOf(err); refused {
		return false, nil
	}
	if err != nil || listed.batch.Status == batchDenied { // nothing of that one has moved
		return true, err
	}
	lost, err := payout.OpenUnder(ctx, p.pool, listed.batch.SenderBatchID)
	switch {
	case err != nil:
		return true, err
	case lost != "":
		return true, p.inTx(ctx, func(tx pgx.Tx) error { return p.tellOf(ctx, tx, lost, payPalBatchID) })
	}
	found := payout.FoundBatch{PayPalBatchID: payPalBatchID}
	for _, i := range listed.items {
		found.Items = append(found.Items, itemSeen(i))
	}
	return true, p.inTx(ctx, func(tx pgx.Tx) error {
		return p.payouts.TakeOver(ctx, tx, found, func(ctx context.Context, tx pgx.Tx, batchID string) (bool, error) {
			return p.maybeSent(ctx, tx, batchOperation(batchID))
		})
	})
}

// tellOf has a batch of ours looked at that PayPal seems to have.
func (p *PayPalPayouts) tellOf(ctx context.Context, tx pgx.Tx, batchID, payPalBatchID string) error {
	first, err := p.payouts.HintBatch(ctx, tx, batchID, payPalBatchID)
	if err != nil || !first {
		return err
	}
	return outbox.Add(ctx, tx, workflows.LookAtPayPalBatch(batchID, "found/"+payPalBatchID))
}

// lookBefore looks, before a batch is frozen, whether PayPal has some of its payouts already.
func (p *PayPalPayouts) lookBefore(ctx context.Context, b payout.Batch) error {
	elsewhere, err := payout.ElsewhereAs(ctx, p.pool, b.ID)
	if err != nil {
		return err
	}
	for _, payPalBatchID := range elsewhere {
		if _, err := p.takeOver(ctx, payPalBatchID); err != nil {
			return err
		}
	}
	ids, due, err := payout.UnsentSince(ctx, p.pool, b.ID)
	if err != nil || len(ids) == 0 || time.Since(due) < lateFrom {
		return err
	}
	return p.searchUnsent(ctx, ids, due)
}

// searchUnsent searches PayPal's movements since payouts have been due for what a restored backup has
// forgotten of them. Where we may not search, nothing is found.
func (p *PayPalPayouts) searchUnsent(ctx context.Context, payoutIDs []string, due time.Time) error {
	now := time.Now()
	from := due
	if now.Sub(from) > searchSpan {
		from = now.Add(-searchSpan)
	}
	var mentions []payout.Mention
	_, err := p.movements(ctx, from, now, func(_ context.Context, t paypal.Transaction) (bool, error) {
		if slices.Contains(payoutIDs, t.CustomField) && leftUs(t) {
			mentions = append(mentions, payout.Mention{PayoutID: t.CustomField, PayPalBatchID: t.ReferenceID})
		}
		return true, nil
	})
	failure, _ := errors.AsType[*provider.Failure](err)
	switch {
	case failure != nil && failure.Status == http.StatusForbidden:
		return nil
	case err != nil:
		return err
	}
	for _, payPalBatchID := range batchesOf(mentions) {
		there, err := p.takeOver(ctx, payPalBatchID)
		if err == nil && !there {
			err = &provider.Failure{Provider: provider.PayPal, Class: provider.Rejected, Code: codeMoved}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// leftUs says that a movement has taken money of ours, or is about to.
func leftUs(t paypal.Transaction) bool {
	return strings.HasPrefix(t.Value, "-") && (t.Status == succeeded || t.Status == pending)
}

func batchesOf(mentions []payout.Mention) []string {
	var batches []string
	for _, m := range mentions {
		if !slices.Contains(batches, m.PayPalBatchID) {
			batches = append(batches, m.PayPalBatchID)
		}
	}
	return batches
}
