package httpapi

import (
	"context"

	"github.com/holdfast/holdfast/internal/customer"
)

// maxRepairs bounds what waits to be looked into. More is dropped: another read, or the sweep,
// comes along.
const maxRepairs = 1000

// repairLater has a customer who lacks something looked into, and never holds up the read.
func (a *API) repairLater(c customer.Customer) {
	if c.StripeConfirmed && c.Status() == customer.Ready {
		return
	}
	select {
	case a.repairs <- c.ID:
	default:
	}
}

// Run makes repairs until ctx ends.
func (a *API) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-a.repairs:
			if err := a.repair(ctx, id); err != nil && ctx.Err() == nil {
				a.deps.Log.WarnContext(ctx, "a repair was not started; the sweep will", "customer_id", id, "error", err)
			}
		}
	}
}

func (a *API) repair(ctx context.Context, id string) error {
	neglected, err := customer.Neglected(ctx, a.deps.Pool, id, customer.Quiet)
	if err != nil || !neglected {
		return err
	}
	return a.startLater(ctx, id)
}
