package activities

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/workflows"
)

// What the reasons of holds begin with, before Stripe's code.
const (
	prefixUnreadable  = "payout_unreadable: "
	prefixNotReversed = "reversal_refused: "
)

// doubt is what a payout is held for, as far as Stripe can end it.
type doubt int

const (
	// forAPerson is everything that is not known to be one of the others: several objects, another one than
	// was sent, or a key that was used otherwise. Money may have moved twice.
	forAPerson doubt = iota
	// unseen is that nobody could see what came of it.
	unseen
	// notBack is that its money did not come back from the account.
	notBack
)

// justCode is the reason of a payout that is held since a look-up was refused: Stripe's code and no more.
var justCode = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func doubtOf(p payout.Payout) doubt {
	refusedLook := justCode.MatchString(p.Reason) && p.Reason != codeIdempotency && p.Reason != codeMismatch
	switch {
	case p.Ending != "" && (refusedLook || strings.HasPrefix(p.Reason, prefixNotReversed)):
		return notBack
	case p.Ending == "" && (refusedLook || strings.HasPrefix(p.Reason, prefixUnreadable)):
		return unseen
	}
	return forAPerson
}

// readHeld looks what Stripe has of a payout that is held, and keeps it for the person who decides. What
// ends the doubt for which it is held is taken over, and the payout goes on without them.
func (s *StripePayouts) readHeld(ctx context.Context, p payout.Payout) (instead, error) {
	seen, err := s.claimingToBe(ctx, p)
	if err != nil {
		return instead{}, err
	}
	if err := s.inTx(ctx, func(tx pgx.Tx) error { return payout.RecordFinding(ctx, tx, p.ID, seen.String()) }); err != nil {
		return instead{}, err
	}
	switch {
	case seen.unreadable != "":
		return instead{}, nil
	case doubtOf(p) == notBack && seen.isBack(p):
		return instead{}, s.takeBack(ctx, p, seen.transfers[0])
	case doubtOf(p) == unseen && seen.isOneEach(p):
		return s.adopt(ctx, p, seen)
	}
	return instead{}, nil
}

// claims are what Stripe has that claims to be of a payout, or is known to be.
type claims struct {
	transfers  []stripe.Transfer
	payouts    []stripe.Payout
	unreadable string // the code with which Stripe refused to show all of it
}

// claimingToBe reads what Stripe has of a payout.
func (s *StripePayouts) claimingToBe(ctx context.Context, p payout.Payout) (seen claims, err error) {
	for _, read := range []func() error{
		func() (err error) { seen.transfers, err = s.transfersOf(ctx, p); return err },
		func() error { return s.turns.Wait(ctx) },
		func() (err error) { seen.payouts, err = s.payoutsOf(ctx, p); return err },
	} {
		err := read()
		if failure, refused := refusalOf(err); refused {
			seen.unreadable = failure.Code
		} else if err != nil {
			return seen, err
		}
	}
	return seen, nil
}

// payoutsOf are all payouts that claim to be this one's, and the one that is known to be.
func (s *StripePayouts) payoutsOf(ctx context.Context, p payout.Payout) ([]stripe.Payout, error) {
	all, err := s.client.ListPayouts(ctx, p.StripeAccountID, since(p, provider.Request{}))
	if err != nil {
		return nil, err
	}
	ours := slices.DeleteFunc(all, func(m stripe.Payout) bool { return m.HoldfastPayoutID() != p.ID && m.ID != p.ProviderPayoutID })
	if p.ProviderPayoutID == "" || slices.ContainsFunc(ours, func(m stripe.Payout) bool { return m.ID == p.ProviderPayoutID }) {
		return ours, nil
	}
	known, err := s.client.GetPayout(ctx, p.StripeAccountID, p.ProviderPayoutID)
	return append(ours, known), err
}

// String says what there is, for people: the same as long as nothing changes.
func (c claims) String() string {
	var all []string
	for _, t := range c.transfers {
		currency := money.Currency(t.Currency)
		all = append(all, "transfer "+t.ID+" of "+money.New(t.Amount, currency).String()+", "+money.New(t.AmountReversed, currency).String()+" of it reversed")
	}
	for _, m := range c.payouts {
		all = append(all, "payout "+m.ID+" of "+money.New(m.Amount, money.Currency(m.Currency)).String()+", "+m.Status)
	}
	slices.Sort(all)
	if c.unreadable != "" {
		all = append(all, "more that it does not show ("+c.unreadable+")")
	}
	if len(all) == 0 {
		return "nothing of it"
	}
	return strings.Join(all, "; ")
}

// isBack says that all money of a payout is proved to be on the platform again: its only transfer was
// reversed as a whole, and nothing of it was paid out or is going to be.
func (c claims) isBack(p payout.Payout) bool {
	return c.isTransferredOnce(p) && p.TransferID != "" && c.transfers[0].AmountReversed == p.Net.Minor &&
		!slices.ContainsFunc(c.payouts, func(m stripe.Payout) bool { return !ended(m) })
}

// isOneEach says that what there is of a payout is one transfer, of which nothing was taken back, and at
// most one payout.
func (c claims) isOneEach(p payout.Payout) bool {
	return c.isTransferredOnce(p) && c.transfers[0].AmountReversed == 0 && len(c.payouts) <= 1
}

func (c claims) isTransferredOnce(p payout.Payout) bool {
	if len(c.transfers) != 1 {
		return false
	}
	t := c.transfers[0]
	return (p.TransferID == "" || t.ID == p.TransferID) && t.Amount == p.Net.Minor && t.Currency == string(p.Net.Currency)
}

// takeBack ends a payout whose money is back, whoever brought that about.
func (s *StripePayouts) takeBack(ctx context.Context, p payout.Payout, back stripe.Transfer) error {
	if err := s.turns.Wait(ctx); err != nil {
		return err
	}
	reversals, err := s.client.ListReversals(ctx, back.ID)
	if err != nil || len(reversals) == 0 {
		return err
	}
	last := slices.MaxFunc(reversals, func(a, b stripe.Reversal) int { return a.Created.Compare(b.Created) })
	received := money.New(back.AmountReversed, p.Net.Currency)
	return s.inTx(ctx, func(tx pgx.Tx) error { return s.payouts.ReversalConfirmed(ctx, tx, p.ID, last.ID, received) })
}

// adopt takes over what there is of a payout of which nobody could see it, and has it read on from there.
// Without a payout at Stripe it stays held: its money lies on the account, and a person says what for.
func (s *StripePayouts) adopt(ctx context.Context, p payout.Payout, seen claims) (instead, error) {
	if p.TransferID == "" {
		if found, err := s.takeOverNow(ctx, s.transfer(p)); err != nil || !found {
			return instead{}, err
		}
	}
	if len(seen.payouts) == 0 {
		return instead{}, nil
	}
	if p.ProviderPayoutID == "" {
		if found, err := s.takeOverNow(ctx, s.payOut(p)); err != nil || !found {
			return instead{}, err
		}
		return instead{do: workflows.ActivityReadPayout}, nil
	}
	at := seen.payouts[0]
	if !same(p, at) || at.Destination != p.DestinationID || at.Method != method(p) {
		return instead{}, nil
	}
	err := s.inTx(ctx, func(tx pgx.Tx) error { return s.payouts.PayoutConfirmed(ctx, tx, p.ID, at.ID, arrivalOf(at)) })
	return instead{do: workflows.ActivityReadPayout}, err
}
