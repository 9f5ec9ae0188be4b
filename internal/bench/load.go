package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// durations are the times that requests took.
type durations []time.Duration

// percentile is the smallest duration that p percent of the requests did not exceed.
func (d durations) percentile(p int) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[min(len(sorted)*p/100, len(sorted)-1)].Round(10 * time.Microsecond)
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }

// signUp creates n customers, so many at a time, and gives the time that each creation took.
func (r *run) signUp(ctx context.Context, prefix string, n, concurrency int) (durations, error) {
	return r.signUpAs(ctx, prefix, n, concurrency, func() {})
}

// signUpSteadily begins so many creations a second, whether or not earlier ones have ended.
func (r *run) signUpSteadily(ctx context.Context, prefix string, n, perSecond int) (durations, error) {
	ticker := time.NewTicker(time.Second / time.Duration(perSecond))
	defer ticker.Stop()
	return r.signUpAs(ctx, prefix, n, n, func() { <-ticker.C })
}

// signUpAs creates n customers, at most so many at a time, and waits before each.
func (r *run) signUpAs(ctx context.Context, prefix string, n, concurrency int, wait func()) (durations, error) {
	took := make(durations, n)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for i := range n {
		wait()
		group.Go(func() error {
			began := time.Now()
			created, _, err := r.app.CreateCustomer(ctx, profile(fmt.Sprintf("%s_%d", prefix, i)))
			took[i] = time.Since(began)
			if err == nil && !created {
				err = fmt.Errorf("bench: %s_%d was there already", prefix, i)
			}
			return err
		})
	}
	return took, group.Wait()
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
