package workflows

import (
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
)

// AccountCheck looks at the connected account of a payee when it was linked or Stripe says that it
// changed, so that people see why it cannot be paid before a run does. Each payout looks again.
func AccountCheck(ctx workflow.Context, in AccountCheckInput) error {
	if !customer.ValidID(in.PayeeID) {
		return temporal.NewNonRetryableApplicationError("payee_id: is missing or not an id", ErrInvalidInput, nil)
	}
	lot := parkingLot{customerID: in.PayeeID}
	lot.open(ctx)
	if err := handleVerdicts(ctx, &lot, lot.statuses); err != nil {
		return err
	}
	changes := workflow.GetSignalChannel(ctx, SignalChanged)
	look := PlannedStep{Name: StepAccount, Provider: provider.Stripe, Status: step.Pending}
	for {
		drain(changes)
		err := lot.takeUp(ctx, []PlannedStep{look}, func(t *task) (assignment, error) {
			return assignment{do: func(ctx workflow.Context) error {
				ctx = onStripe(ctx, "connected account of "+in.PayeeID)
				if in.Background {
					ctx = inBackground(ctx)
				}
				_, err := call[struct{}](ctx, ActivityCheckAccount, AccountInput{PayeeID: in.PayeeID, Step: t.name})
				return err
			}}, nil
		})
		if err != nil {
			return err
		}
		err = workflow.Await(ctx, func() bool { return lot.failed != nil || lot.settled() && workflow.AllHandlersFinished(ctx) })
		switch {
		case err != nil:
			return err
		case lot.failed != nil:
			return lot.failed
		case changes.Len() == 0:
			return nil
		}
	}
}
