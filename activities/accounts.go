package activities

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/sdk/activity"

	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/workflows"
)

// CheckAccount looks at the account that a payee is linked to at present, and keeps how it was seen.
func (s *StripePayouts) CheckAccount(ctx context.Context, in workflows.AccountInput) error {
	workflowID := activity.GetInfo(ctx).WorkflowExecution.ID
	payee, err := payout.GetPayee(ctx, s.pool, in.PayeeID)
	switch {
	case errors.Is(err, payout.ErrNoPayee):
		return nil
	case err != nil:
		return err
	case payee.StripeAccountID == "": // no longer: there is nothing to wait for Stripe for
		return step.Finish(ctx, s.pool, workflowID, in.Step, step.Done)
	}
	err = step.Open(ctx, s.pool, step.Step{WorkflowID: workflowID, Name: in.Step, CustomerID: in.PayeeID, Provider: provider.Stripe})
	if err != nil {
		return err
	}
	return s.attempts.try(ctx, in.Step, func(ctx context.Context) error {
		seen, err := s.seen(ctx, payee)
		if err != nil {
			return err
		}
		return s.inTx(ctx, func(tx pgx.Tx) error {
			if err := s.keep(ctx, tx, seen); err != nil {
				return err
			}
			return step.Finish(ctx, tx, workflowID, in.Step, step.Done)
		})
	})
}

// keep keeps how an account was seen, and takes over what webhooks told of it before it was known to be
// the payee's. When it is the payee's no longer, both are left to who has it now.
func (s *StripePayouts) keep(ctx context.Context, tx pgx.Tx, seen payout.Account) error {
	if err := s.payouts.PutAccountSnapshot(ctx, tx, seen); err != nil { // it holds the payee
		return err
	}
	payee, err := payout.GetPayee(ctx, tx, seen.PayeeID)
	if err != nil || payee.StripeAccountID != seen.StripeAccountID {
		return err
	}
	_, err = subscription.Adopt(ctx, tx, payee.ID, provider.Stripe, seen.StripeAccountID)
	return err
}

// seen looks at a payee's account.
func (s *StripePayouts) seen(ctx context.Context, payee payout.Payee) (payout.Account, error) {
	asOf := time.Now()
	seen, err := s.look(ctx, payee.ID, payee.StripeAccountID)
	if _, refused := refusalOf(err); refused {
		return s.disconnected(ctx, payee.ID, payee.StripeAccountID, asOf)
	}
	return seen, err
}

// disconnected is how an account is seen that is connected to us no more. It cannot be paid; the rest of it
// is as it was, or a connection that comes back would count as another destination.
func (s *StripePayouts) disconnected(ctx context.Context, payeeID, accountID string, asOf time.Time) (payout.Account, error) {
	seen, _, err := payout.GetAccount(ctx, s.pool, payeeID)
	if seen.StripeAccountID != accountID {
		seen = payout.Account{}
	}
	seen.StripeAccountID, seen.PayeeID = accountID, payeeID
	seen.PayoutsEnabled, seen.AsOf = false, asOf
	return seen, err
}
