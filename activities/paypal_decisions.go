package activities

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/workflows"
)

// opCancelItem is the cancellation of a payout that nobody has claimed.
const opCancelItem = "cancel_payout_item"

// CancelPayPalItem ends a payout whose money can still be kept back, because a person says so: one whose
// batch is not frozen yet, or that nobody has claimed.
func (p *PayPalPayouts) CancelPayPalItem(ctx context.Context, in workflows.PayPalItemDecisionInput) (workflows.PayPalBatchMove, error) {
	return p.decide(ctx, in, func(ctx context.Context, _ payout.Batch, now payout.Payout) error {
		actor := in.Decision.Actor
		err := p.inTx(ctx, func(tx pgx.Tx) error { return p.payouts.Cancel(ctx, tx, now.ID, actor, "") })
		if err != nil || now.State != payout.Unclaimed {
			return err
		}
		return p.callBack(ctx, now, actor)
	})
}

// callBack has PayPal cancel an unclaimed item. When PayPal refuses, what it says of the item now is
// taken on: it may have been claimed.
func (p *PayPalPayouts) callBack(ctx context.Context, now payout.Payout, actor string) error {
	err := p.writer.do(ctx, write{
		operation: provider.Operation{Provider: provider.PayPal, Operation: opCancelItem, Subject: now.ID},
		params:    struct{}{},
		send: func(ctx context.Context, request provider.Request) (string, error) {
			item, err := p.client.CancelPayoutItem(ctx, now.ProviderPayoutID, request.Key)
			if err == nil && item.Status != payout.ItemReturned {
				err = &provider.Failure{Provider: provider.PayPal, Class: provider.OutcomeUnknown, Code: item.Status}
			}
			return item.ID, err
		},
		find: func(ctx context.Context, _ provider.Request) (string, bool, error) {
			item, err := p.client.GetPayoutItem(ctx, now.ProviderPayoutID)
			return item.ID, item.Status == payout.ItemReturned, err
		},
		record: func(ctx context.Context, tx pgx.Tx, _ provider.Request, _ string) error {
			return p.payouts.ItemCanceled(ctx, tx, now.ID, actor)
		},
	})
	if _, refused := refusalOf(err); !refused {
		return err
	}
	item, readErr := p.client.GetPayoutItem(ctx, now.ProviderPayoutID)
	if readErr != nil {
		return readErr
	}
	if item.Status == payout.ItemReturned { // by an earlier try
		return p.inTx(ctx, func(tx pgx.Tx) error { return p.payouts.ItemCanceled(ctx, tx, now.ID, actor) })
	}
	err = p.inTx(ctx, func(tx pgx.Tx) error {
		return p.payouts.ItemsSeen(ctx, tx, now.BatchID, []payout.ItemSeen{itemSeen(item)})
	})
	if err != nil {
		return err
	}
	return conflict("PayPal says that the payout is " + item.Status)
}

// ResolvePayPalItem ends a held payout as a person found out, if PayPal bears it out. When they name the
// payout batch that PayPal made of ours, it is taken for ours with all its payouts.
func (p *PayPalPayouts) ResolvePayPalItem(ctx context.Context, in workflows.PayPalItemDecisionInput) (workflows.PayPalBatchMove, error) {
	return p.decide(ctx, in, func(ctx context.Context, b payout.Batch, now payout.Payout) error {
		if now.State != payout.Held {
			return conflict("the payout is " + string(now.State) + " and not held")
		}
		resolution := payout.Resolution{Outcome: payout.State(in.Decision.Outcome), Force: in.Decision.Force, Actor: in.Decision.Actor}
		var err error
		if resolution.Outcome == payout.Paid {
			adopted, proveErr := p.provePaid(ctx, b, now, in.Decision.ProviderID, &resolution)
			if adopted {
				return proveErr
			}
			err = proveErr
		} else {
			resolution.Received = money.Zero(now.Net.Currency)
			err = unless(resolution.Force, p.proveFailed(ctx, b, now))
		}
		if err != nil {
			return err
		}
		return p.ifStill(ctx, b, func(tx pgx.Tx) error { return p.payouts.Resolve(ctx, tx, now.ID, resolution) })
	})
}

// decide carries out a person's decision on a payout as it stands. They wait for it: what PayPal does not
// bear out, and what it cannot say now, is refused with the reason.
func (p *PayPalPayouts) decide(
	ctx context.Context, in workflows.PayPalItemDecisionInput, do func(context.Context, payout.Batch, payout.Payout) error,
) (workflows.PayPalBatchMove, error) {
	if p.client == nil {
		return workflows.PayPalBatchMove{}, conflict("PayPal is not configured")
	}
	err := whileBeating(ctx, func(ctx context.Context) error {
		now, err := payout.GetPayout(ctx, p.pool, in.Decision.PayoutID)
		switch {
		case err != nil:
			return err
		case now.BatchID != in.BatchID:
			return conflict("the payout is in another batch by now; try again")
		}
		b, err := payout.GetBatch(ctx, p.pool, in.BatchID)
		if err != nil {
			return err
		}
		return do(ctx, b, now)
	})
	if failure, refused := refusalOf(err); refused {
		err = conflict("PayPal does not bear it out: " + failure.Error())
	} else if failure != nil {
		err = conflict("PayPal gives no clear answer; try again: " + failure.Error())
	}
	if errors.Is(err, errOvertaken) {
		err = conflict(err.Error() + "; try again")
	}
	if err != nil {
		return workflows.PayPalBatchMove{}, asConflict(err)
	}
	b, err := payout.GetBatch(ctx, p.pool, in.BatchID)
	return nextBatchMove(b), err
}

// provePaid looks whether what the person named is an item of this payout that was paid. When it is no
// item but the batch, and ours, the batch is adopted: reading it tells the rest.
func (p *PayPalPayouts) provePaid(ctx context.Context, b payout.Batch, now payout.Payout, providerID string, r *payout.Resolution) (adopted bool, err error) {
	item, err := p.client.GetPayoutItem(ctx, providerID)
	if failure, refused := refusalOf(err); refused && failure.Class == provider.NotFound {
		return true, p.adoptByHand(ctx, b, providerID)
	}
	switch {
	case err != nil:
		return false, err
	case item.SenderItemID != now.ID || amountOf(item.Value, item.Currency) != now.Net:
		return false, conflict(providerID + " is not this payout: it is of another amount or currency, or made for another one")
	case item.Status != payout.ItemSuccess:
		return false, conflict("PayPal says that " + providerID + " is " + item.Status)
	}
	r.ProviderPayoutID = item.ID
	if b.PayPalBatchID != "" {
		return false, nil
	}
	// Its batch may be ours, which the next look tells.
	return false, p.inTx(ctx, func(tx pgx.Tx) error {
		_, err := p.payouts.HintBatch(ctx, tx, b.ID, item.BatchID)
		return err
	})
}

// adoptByHand takes a batch at PayPal for ours that a person has found, if it was sent under our key and
// has our items.
func (p *PayPalPayouts) adoptByHand(ctx context.Context, b payout.Batch, payPalBatchID string) error {
	items, err := payout.ListBatchItems(ctx, p.pool, b.ID)
	if err != nil {
		return err
	}
	what := p.sending(b, items)
	stored, err := p.writer.requests.Latest(ctx, p.pool, what.operation)
	if err != nil {
		return err
	}
	ours, err := p.isOurs(ctx, payPalBatchID, stored, items)
	failure, _ := errors.AsType[*provider.Failure](err)
	switch {
	case failure != nil && failure.Class == provider.Held:
		return conflict("the batch " + payPalBatchID + " has our sender_batch_id, and items that are not ours")
	case err != nil:
		return err
	case !ours:
		return conflict(payPalBatchID + " is neither a payout item nor a payout batch that was sent under " + stored.Key)
	}
	return p.writer.settle(ctx, what, stored, payPalBatchID)
}

// proveFailed looks whether nothing of the payout is at PayPal any more.
func (p *PayPalPayouts) proveFailed(ctx context.Context, b payout.Batch, now payout.Payout) error {
	if now.ProviderPayoutID != "" {
		item, err := p.client.GetPayoutItem(ctx, now.ProviderPayoutID)
		if err == nil {
			err = isBack(item)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case b.PayPalBatchID != "":
		return p.proveListed(ctx, b, now)
	case now.ProviderPayoutID == "":
		return p.proveUnsent(ctx, b, now)
	}
	return nil
}

// isBack refuses unless the platform has the money of an item.
func isBack(item paypal.PayoutItem) error {
	switch item.Status {
	case payout.ItemFailed, payout.ItemDenied, payout.ItemReturned, payout.ItemCanceled, payout.ItemReversed, payout.ItemRefunded:
		return nil
	}
	return conflict("the payout item " + item.ID + " at PayPal is " + item.Status)
}

// proveListed looks whether a batch has nothing of the payout that is not back. That it has nothing of it at
// all counts when PayPal has finished it.
func (p *PayPalPayouts) proveListed(ctx context.Context, b payout.Batch, now payout.Payout) error {
	listed, err := p.list(ctx, b.PayPalBatchID)
	switch {
	case err != nil:
		return err
	case now.ProviderPayoutID != "":
	case !listed.whole || listed.batch.Status != batchSuccess && listed.batch.Status != batchDenied:
		return conflict("PayPal has not finished the batch " + b.PayPalBatchID + ", or did not list all of it")
	}
	ours := slices.DeleteFunc(listed.items, func(i paypal.PayoutItem) bool { return i.SenderItemID != now.ID })
	for _, item := range ours {
		if err := isBack(item); err != nil {
			return err
		}
	}
	return nil
}

// proveUnsent looks whether PayPal has not got a batch of which it was not known what became of it. It
// has to have been sent long enough ago to be found.
func (p *PayPalPayouts) proveUnsent(ctx context.Context, b payout.Batch, now payout.Payout) error {
	items, err := payout.ListBatchItems(ctx, p.pool, b.ID)
	if err != nil {
		return err
	}
	what := p.sending(b, items)
	stored, err := p.writer.requests.Latest(ctx, p.pool, what.operation)
	switch {
	case err != nil:
		return err
	case stored.FirstSentAt == nil || stored.Outcome == provider.OutcomeRejected:
		return nil
	case stored.SentSince(time.Now().Add(-searchPatience)):
		return conflict("the batch was sent less than four hours ago, and what came of it is not known; try again later")
	}
	s, err := p.searchFor(ctx, b, stored, items)
	switch {
	case err != nil:
		return err
	case s.found != "":
		return conflict("PayPal has the batch as " + s.found + ": resolve the payout as paid with that id, and it goes on")
	case s.moved[now.ID] != "":
		return conflict("the transaction " + s.moved[now.ID] + " at PayPal names the payout: look there what became of it")
	}
	return nil
}
