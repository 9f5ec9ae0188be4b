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
	err := step.Open(ctx, s.pool, step.Step{WorkflowID: workflowID, Name: in.Step, CustomerID: in.PayeeID, Provider: provider.Stripe})
	if err != nil {
		return err
	}
	return s.attempts.try(ctx, in.Step, func(ctx context.Context) error {
		payee, err := payout.GetPayee(ctx, s.pool, in.PayeeID)
		if errors.Is(err, payout.ErrNoPayee) {
			return asInvalid(err)
		}
		if err != nil {
			return err
		}
		seen, err := s.seen(ctx, payee)
		if err != nil {
			return err
		}
		return s.inTx(ctx, func(tx pgx.Tx) error {
			if payee.StripeAccountID != "" {
				if _, err := subscription.Adopt(ctx, tx, payee.ID, provider.Stripe, payee.StripeAccountID); err != nil {
					return err
				}
				if err := s.payouts.PutAccountSnapshot(ctx, tx, seen); err != nil {
					return err
				}
			}
			return step.Finish(ctx, tx, workflowID, in.Step, step.Done)
		})
	})
}

// seen looks at a payee's account. One that is connected to us no more is seen as one that cannot be
// paid.
func (s *StripePayouts) seen(ctx context.Context, payee payout.Payee) (payout.Account, error) {
	if payee.StripeAccountID == "" {
		return payout.Account{}, nil
	}
	asOf := time.Now()
	seen, err := s.look(ctx, payee.ID, payee.StripeAccountID)
	if _, refused := refusalOf(err); refused {
		return payout.Account{StripeAccountID: payee.StripeAccountID, PayeeID: payee.ID, AsOf: asOf}, nil
	}
	return seen, err
}
