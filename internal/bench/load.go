package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// durations are the times that requests took, in order once they are all there.
type durations []time.Duration

// percentile is the smallest duration that p percent of the requests did not exceed.
func (d durations) percentile(p int) time.Duration {
	return d[min(len(d)*p/100, len(d)-1)].Round(10 * time.Microsecond)
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }

// signUp creates n customers, so many at a time, and gives the time that each creation took.
func (r *run) signUp(ctx context.Context, prefix string, n, concurrency int) (durations, error) {
	var (
		mu   sync.Mutex
		took durations
	)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for i := range n {
		group.Go(func() error {
			began := time.Now()
			created, _, err := r.app.CreateCustomer(ctx, profile(fmt.Sprintf("%s_%d", prefix, i)))
			elapsed := time.Since(began)
			if err == nil && !created {
				err = fmt.Errorf("bench: %s_%d was there already", prefix, i)
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, elapsed)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	slices.Sort(took)
	return took, nil
}

// patience bounds every wait: a backlog takes its time at the provider's rate.
const patience = 10 * time.Minute

func await(ctx context.Context, what string, look func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("bench: waited %s in vain for %s", patience, what))
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		if so, err := look(); so || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}
