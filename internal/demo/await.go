package demo

import (
	"context"
	"fmt"
	"time"
)

// patience bounds every wait of the demo.
const patience = 2 * time.Minute

// await looks again and again until something is so. Its error names what did not come.
func await(ctx context.Context, what string, look func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("waited %s in vain for %s", patience, what))
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		so, err := look()
		if err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		if so {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

func (s *story) awaitReady(ctx context.Context, id string) error {
	began := time.Now()
	err := await(ctx, id+" to be ready", func() (bool, error) {
		c, err := s.app.Customer(ctx, id)
		return c.Status == "ready", err
	})
	if err == nil {
		s.sayf("%s is ready after %s", id, time.Since(began).Round(10*time.Millisecond))
	}
	return err
}

// awaitAllReady waits until everybody who ever signed up is ready.
func (s *story) awaitAllReady(ctx context.Context, since time.Time) error {
	for _, id := range s.customers {
		err := await(ctx, id+" to be ready", func() (bool, error) {
			c, err := s.app.Customer(ctx, id)
			return c.Status == "ready", err
		})
		if err != nil {
			return err
		}
	}
	s.sayf("All %d customers are ready, %s after the recovery.", len(s.customers), time.Since(since).Round(10*time.Millisecond))
	return nil
}

func (s *story) awaitProvider(ctx context.Context, state string) error {
	return await(ctx, "Stripe to be known as "+state, func() (bool, error) {
		providers, err := s.operator.Providers(ctx)
		for _, p := range providers {
			if p.Provider == "stripe" && p.State == state {
				return true, err
			}
		}
		return false, err
	})
}

func (s *story) awaitWaiting(ctx context.Context, n int64) error {
	return await(ctx, fmt.Sprintf("%d steps to wait for Stripe", n), func() (bool, error) {
		providers, err := s.operator.Providers(ctx)
		for _, p := range providers {
			if p.Provider == "stripe" && p.Waiting >= n {
				return true, err
			}
		}
		return false, err
	})
}
