package activities

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/workflows"
)

// opCancel is the cancellation of a payout that Stripe has not sent to the bank yet.
const opCancel = "cancel_payout"

// CancelPayout ends a payout whose money can still be kept back, because a person says so.
func (s *StripePayouts) CancelPayout(ctx context.Context, in workflows.PayoutDecisionInput) (workflows.PayoutMove, error) {
	return s.decide(ctx, in, func(ctx context.Context, p payout.Payout) error {
		if p.State == payout.InTransit {
			return s.callBack(ctx, p)
		}
		return s.inTx(ctx, func(tx pgx.Tx) error {
			if err := s.payouts.Cancel(ctx, tx, p.ID, in.Decision.Actor, ""); err != nil {
				return err
			}
			return s.nothingUnderWay(ctx, tx, p.ID)
		})
	})
}

// nothingUnderWay refuses when something was sent of which it is not known what came of it. The caller
// holds the payout, without which nothing is sent.
func (s *StripePayouts) nothingUnderWay(ctx context.Context, tx pgx.Tx, id string) error {
	what, err := s.unknownSince(ctx, tx, id, time.Time{})
	if err == nil && what != "" {
		err = conflict("a " + what + " was sent, and what came of it is not known yet; try again when it is")
	}
	return err
}

// unknownSince names what was sent for a payout at the moment or later of which it is not known what
// came of it; empty when that is nothing.
func (s *StripePayouts) unknownSince(ctx context.Context, db postgres.DB, id string, moment time.Time) (what string, err error) {
	for _, what := range []string{opTransfer, opPayout} {
		unknown, err := s.writer.requests.IsUnknown(ctx, db, operation(what, id), moment)
		if err != nil || unknown {
			return what, err
		}
	}
	return "", nil
}

// callBack has Stripe cancel a payout that is not at the bank yet.
func (s *StripePayouts) callBack(ctx context.Context, p payout.Payout) error {
	return s.writer.do(ctx, write{
		operation: operation(opCancel, p.ID),
		params:    struct{}{},
		send: func(ctx context.Context, request provider.Request) (string, error) {
			at, err := s.client.CancelPayout(ctx, p.StripeAccountID, p.ProviderPayoutID, request.Key)
			return at.ID, err
		},
		find: func(ctx context.Context, _ provider.Request) (string, bool, error) {
			at, err := s.client.GetPayout(ctx, p.StripeAccountID, p.ProviderPayoutID)
			return at.ID, at.Status == stripe.PayoutCanceled, err
		},
		record: func(ctx context.Context, tx pgx.Tx, _ provider.Request, _ string) error {
			return s.payouts.PayoutFailed(ctx, tx, p.ID, endOf(stripe.Payout{Status: stripe.PayoutCanceled}))
		},
	})
}

// ResolvePayout ends a held payout as a person found out, if Stripe bears it out.
func (s *StripePayouts) ResolvePayout(ctx context.Context, in workflows.PayoutDecisionInput) (workflows.PayoutMove, error) {
	return s.decide(ctx, in, func(ctx context.Context, p payout.Payout) error {
		if p.State != payout.Held {
			return conflict("the payout is " + string(p.State) + " and not held")
		}
		resolution := payout.Resolution{Outcome: payout.State(in.Decision.Outcome), Force: in.Decision.Force, Actor: in.Decision.Actor}
		var err error
		if resolution.Outcome == payout.Paid {
			err = s.provePaid(ctx, p, in.Decision.ProviderID, &resolution)
		} else {
			err = s.proveFailed(ctx, p, &resolution)
		}
		if err != nil {
			return err
		}
		return s.inTx(ctx, func(tx pgx.Tx) error { return s.payouts.Resolve(ctx, tx, p.ID, resolution) })
	})
}

// decide carries out a person's decision on a payout as it stands. They wait for it: what Stripe does
// not bear out, and what it cannot say now, is refused with the reason.
func (s *StripePayouts) decide(ctx context.Context, in workflows.PayoutDecisionInput, do func(context.Context, payout.Payout) error) (workflows.PayoutMove, error) {
	if s.client == nil {
		return workflows.PayoutMove{}, conflict("Stripe is not configured")
	}
	p, err := payout.GetPayout(ctx, s.pool, in.PayoutID)
	if err == nil {
		err = whileBeating(ctx, func(ctx context.Context) error { return do(ctx, p) })
	}
	if failure, refused := refusalOf(err); refused {
		err = conflict("Stripe does not bear it out: " + failure.Error())
	} else if failure != nil {
		err = conflict("Stripe gives no clear answer; try again: " + failure.Error())
	}
	if err != nil {
		return workflows.PayoutMove{}, asConflict(err)
	}
	now, err := payout.GetPayout(ctx, s.pool, in.PayoutID)
	return nextMove(now), err
}

func conflict(reason string) error {
	return temporal.NewNonRetryableApplicationError(reason, workflows.ErrConflict, nil)
}

// provePaid looks whether what the person named is a payout of this one's money that arrived.
func (s *StripePayouts) provePaid(ctx context.Context, p payout.Payout, providerID string, r *payout.Resolution) error {
	at, err := s.client.GetPayout(ctx, p.StripeAccountID, providerID)
	if err != nil {
		return err
	}
	switch {
	case !same(p, at) || at.HoldfastPayoutID() != p.ID:
		return conflict(providerID + " is not this payout: it is automatic, of another amount or currency, or made for another one")
	case at.Status != stripe.PayoutPaid:
		return conflict("Stripe says that " + providerID + " is " + at.Status)
	}
	r.ProviderPayoutID, r.TransferID = at.ID, p.TransferID
	if r.TransferID != "" {
		return nil
	}
	transfers, err := s.firstTransfersOf(ctx, p)
	if err != nil {
		return err
	}
	if len(transfers) != 1 {
		return conflict("there is not one transfer for the payout at Stripe; it cannot be told which money was paid")
	}
	if at := transfers[0]; at.Amount != p.Net.Minor || at.Currency != string(p.Net.Currency) || at.AmountReversed != 0 {
		return conflict("the transfer " + at.ID + " is not of the payout's " + p.Net.String() + ": its books would not be Stripe's")
	}
	r.TransferID = transfers[0].ID
	return nil
}

// firstTransfersOf are the transfers that may have brought a payout's money to its account: those that were
// not reversed, nor recorded as second ones.
func (s *StripePayouts) firstTransfersOf(ctx context.Context, p payout.Payout) ([]stripe.Transfer, error) {
	made, err := s.transfersOf(ctx, p)
	if err != nil {
		return nil, err
	}
	seconds, err := payout.ListDuplicates(ctx, s.pool, p.ID)
	return slices.DeleteFunc(made, func(t stripe.Transfer) bool { return seconds[t.ID] || t.AmountReversed >= t.Amount }), err
}

// proveFailed looks whether nothing of the payout is at Stripe any more. By force it is taken as failed
// all the same; what came back is counted.
func (s *StripePayouts) proveFailed(ctx context.Context, p payout.Payout, r *payout.Resolution) error {
	r.Received = money.Zero(p.Net.Currency)
	now, err := postgres.Now(ctx, s.pool)
	if err != nil {
		return err
	}
	what, err := s.unknownSince(ctx, s.pool, p.ID, now.Add(-settling))
	switch {
	case err != nil:
		return err
	case what != "" && !r.Force: // it may not show at Stripe yet
		return conflict("a " + what + " was sent less than ten minutes ago, and what came of it is not known; try again later")
	}
	transfers, err := s.transfersOf(ctx, p)
	if err != nil {
		return unless(r.Force, err)
	}
	for _, t := range transfers {
		if t.ID == p.TransferID { // of what else was transferred the ledger knows nothing
			r.Received.Minor = t.AmountReversed
		}
		if t.AmountReversed < t.Amount && !r.Force {
			return conflict("the transfer " + t.ID + " is not reversed: its money is on the connected account, or was paid")
		}
	}
	return unless(r.Force, s.proveUnpaid(ctx, p))
}

// proveUnpaid looks whether no payout of ours is on its way at Stripe, or has arrived.
func (s *StripePayouts) proveUnpaid(ctx context.Context, p payout.Payout) error {
	made, err := s.client.ListPayouts(ctx, p.StripeAccountID, madeSince(p).Add(-lookBack))
	if err != nil {
		return err
	}
	made = slices.DeleteFunc(made, func(at stripe.Payout) bool { return at.HoldfastPayoutID() != p.ID || at.Automatic })
	if p.ProviderPayoutID != "" { // what is known of it is looked at whatever lists show
		known, err := s.client.GetPayout(ctx, p.StripeAccountID, p.ProviderPayoutID)
		if err != nil {
			return err
		}
		made = append(made, known)
	}
	for _, at := range made {
		if !ended(at) {
			return conflict("the payout " + at.ID + " at Stripe is " + at.Status)
		}
	}
	return nil
}

// unless gives the error, but not to who wants to go on without an answer.
func unless(force bool, err error) error {
	if force {
		return nil
	}
	return err
}

// transfersOf are all transfers that were made for a payout. The one that is known is among them whatever
// has become of its metadata, and whenever it was made: after a restored backup that may have been before
// the payout was.
func (s *StripePayouts) transfersOf(ctx context.Context, p payout.Payout) ([]stripe.Transfer, error) {
	all, err := s.client.ListTransfers(ctx, stripe.ListTransfersParams{Destination: p.StripeAccountID, TransferGroup: p.ID})
	if err != nil {
		return nil, err
	}
	ours := slices.DeleteFunc(all, func(t stripe.Transfer) bool { return t.HoldfastPayoutID() != p.ID && t.ID != p.TransferID })
	if p.TransferID == "" || slices.ContainsFunc(ours, func(t stripe.Transfer) bool { return t.ID == p.TransferID }) {
		return ours, nil
	}
	known, err := s.client.GetTransfer(ctx, p.TransferID)
	return append(ours, known), err
}
