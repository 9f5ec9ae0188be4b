package activities

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/workflows"
)

// RecordDuplicate takes a second transfer for a payout into the books, as it is at Stripe, because a
// person found it there.
func (s *StripePayouts) RecordDuplicate(ctx context.Context, in workflows.PayoutDecisionInput) (workflows.PayoutMove, error) {
	return s.decide(ctx, in, func(ctx context.Context, p payout.Payout) error {
		second, err := s.secondTransfer(ctx, p, in.Decision.ProviderID)
		if err != nil {
			return err
		}
		lost := money.New(second.Amount-second.AmountReversed, money.Currency(second.Currency))
		return s.inTx(ctx, func(tx pgx.Tx) error {
			return s.payouts.RecordDuplicate(ctx, tx, p.ID, payout.Duplicate{ProviderID: second.ID, Moved: lost, Actor: in.Decision.Actor})
		})
	})
}

// RecordPayPalDuplicate takes a second item of a payout into the books, as it is at PayPal.
func (p *PayPalPayouts) RecordPayPalDuplicate(ctx context.Context, in workflows.PayPalItemDecisionInput) (workflows.PayPalBatchMove, error) {
	return p.decide(ctx, in, func(ctx context.Context, _ payout.Batch, now payout.Payout) error {
		second, err := p.secondItem(ctx, now, in.Decision.ProviderID)
		if err != nil {
			return err
		}
		lost := amountOf(second.Value, second.Currency)
		return p.inTx(ctx, func(tx pgx.Tx) error {
			return p.payouts.RecordDuplicate(ctx, tx, now.ID, payout.Duplicate{ProviderID: second.ID, Moved: lost, Actor: in.Decision.Actor})
		})
	})
}

// secondItem reads the item that a person names, and refuses one that is no second movement of the payout's
// money. What was released has no movement of its own: any that was paid is one too many.
func (p *PayPalPayouts) secondItem(ctx context.Context, now payout.Payout, id string) (paypal.PayoutItem, error) {
	second, err := p.client.GetPayoutItem(ctx, id)
	switch {
	case err != nil:
		return second, err
	case second.SenderItemID != now.ID || amountOf(second.Value, second.Currency).Currency != now.Net.Currency:
		return second, conflict(id + " is no item that was made for this payout")
	case now.State.Releases():
	case now.ProviderPayoutID == "":
		return second, conflict("the payout has no item of its own yet, so " + id + " may be that one; resolve it, or wait until it is read")
	case now.ProviderPayoutID == id:
		return second, conflict(id + " is this payout's own item, and not a second one")
	}
	if second.Status != payout.ItemSuccess {
		return second, conflict("PayPal says that " + id + " is " + second.Status + ": nothing of it is lost")
	}
	return second, nil
}

// secondTransfer reads the transfer that a person names, and refuses one that is no second movement of the
// payout's money.
func (s *StripePayouts) secondTransfer(ctx context.Context, p payout.Payout, id string) (second stripe.Transfer, err error) {
	made, err := s.transfersOf(ctx, p)
	if err != nil {
		return second, err
	}
	i := slices.IndexFunc(made, func(t stripe.Transfer) bool { return t.ID == id })
	switch {
	case i < 0:
		return second, conflict(id + " is no transfer that was made for this payout to its account")
	case id == p.TransferID || len(made) == 1:
		return second, conflict(id + " is this payout's own transfer, and not a second one")
	case made[i].AmountReversed >= made[i].Amount:
		return second, conflict(id + " was reversed: nothing of it is lost")
	}
	return made[i], nil
}
