package simulator_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast/holdfast/internal/simulator"
)

// Whatever goes wrong, a client that keeps its key until the outcome is known, and looks up what
// a stored 500 hides, ends with exactly one customer for each account.
func TestRandomFaults_OneCustomerForEachAccount(t *testing.T) {
	t.Parallel()
	const accounts, atOnce = 60, 8
	kinds := []simulator.FaultKind{
		simulator.Reset, simulator.ServerError, simulator.BadGateway, simulator.Unavailable, simulator.TooManyRequests,
		simulator.WrongKey, simulator.ExecuteThenDrop, simulator.ExecuteThen500, simulator.Stored500, simulator.Truncate,
	}
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, seed))
			b := setup(t, simulator.Config{Seed: seed})
			kinds := slices.Clone(kinds)
			random.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
			active := []simulator.Fault{{Kind: simulator.Latency, JitterMS: 2}}
			for _, kind := range kinds {
				active = append(active, simulator.Fault{Kind: kind, Probability: random.Float64() / 4})
			}
			require.NoError(t, b.SetFaults(active...))

			group, ctx := errgroup.WithContext(t.Context())
			group.SetLimit(atOnce)
			for i := range accounts {
				account := fmt.Sprintf("u_%d", i)
				group.Go(func() error { return b.createUntilKnown(ctx, account) })
			}
			require.NoError(t, group.Wait())
			require.Equal(t, simulator.Audit{
				Customers: accounts, Accounts: accounts, Duplicates: map[string][]string{},
			}, b.Stripe().Audit())
			require.Zero(t, b.PostsWithoutKey())
			require.Greater(t, len(b.Calls()), accounts, "some calls failed, or the property is empty")
		})
	}
}

func (b bundle) createUntilKnown(ctx context.Context, account string) error {
	for epoch := 0; ; {
		_, err := b.create(ctx, account, fmt.Sprintf("%s/%d", account, epoch))
		var problem *stripe.Error
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &problem) && problem.LastResponse.Header.Get("Idempotent-Replayed") == "true":
			if problem.HTTPStatusCode != http.StatusInternalServerError {
				return fmt.Errorf("replayed for %s: %w", account, err)
			}
			if b.exists(ctx, account) {
				return nil
			}
			epoch++
		}
	}
}

// exists asks until it gets an answer.
func (b bundle) exists(ctx context.Context, account string) bool {
	for ctx.Err() == nil {
		params := &stripe.CustomerListParams{Email: stripe.String(account + "@example.com")}
		params.Context = ctx //nolint:fatcontext // a field of the library's parameters, not a context kept
		it := b.stripe().Customers.List(params)
		found := it.Next()
		if it.Err() == nil {
			return found
		}
	}
	return false
}

func BenchmarkCreateCustomer(b *testing.B) {
	sim, err := simulator.Start(b.Context(), simulator.Config{})
	require.NoError(b, err)
	bundle := bundle{Simulator: sim, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			key := fmt.Sprint(rand.Uint64())
			if _, err := bundle.create(b.Context(), key, key); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
}
