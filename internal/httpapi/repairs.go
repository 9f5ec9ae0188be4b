package httpapi

import (
	"context"
	"sync"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/subscription"
)

// maxRepairs bounds what waits to be looked into. More is dropped: another read, or the sweep,
// comes along.
const maxRepairs = 1000

// repair is a customer who lacks something, and which.
type repair struct {
	customerID string
	overdue    bool // a subscription ought to have changed, and nobody said so
}

// repairLater has a customer who lacks something looked into, and never holds up the read.
func (a *API) repairLater(c customer.Customer, overdue bool) {
	if c.StripeConfirmed && c.Status() == customer.Ready && !overdue {
		return
	}
	select {
	case a.repairs <- repair{c.ID, overdue}:
	default:
	}
}

// Run makes repairs, and tells those who wait of changes, until ctx ends.
func (a *API) Run(ctx context.Context) {
	var watching sync.WaitGroup
	watching.Go(func() { a.changes.Run(ctx) })
	defer watching.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-a.repairs:
			if err := a.repair(ctx, r); err != nil && ctx.Err() == nil {
				a.deps.Log.WarnContext(ctx, "a repair was not started; the sweep will", "customer_id", r.customerID, "error", err)
			}
		}
	}
}

func (a *API) repair(ctx context.Context, r repair) error {
	if r.overdue {
		if err := a.markLater(ctx, r.customerID, subscription.ByDrift); err != nil {
			return err
		}
	}
	neglected, err := customer.Neglected(ctx, a.deps.Pool, r.customerID, customer.Quiet)
	if err != nil || !neglected {
		return err
	}
	return a.startLater(ctx, r.customerID)
}
