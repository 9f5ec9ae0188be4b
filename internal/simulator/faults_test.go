package simulator_test

import (
	"context"
	"io"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"

	"github.com/holdfast/holdfast/internal/simulator"
)

func TestFaults_Refuse(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	pooled := b
	pooled.http = &http.Client{Transport: &http.Transport{}} // keeps its connection open
	_, err := pooled.stripe().Balance.Get(nil)
	require.NoError(t, err)
	address := b.StripeURL()

	for range 3 {
		require.NoError(t, b.SetFaults(simulator.Fault{Kind: simulator.Refuse}))
		require.NoError(t, b.SetFaults(simulator.Fault{Kind: simulator.Refuse}), "twice is once")
		calls := len(b.Calls())

		_, err = b.create(t.Context(), "u_1", "k_1")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		_, err = pooled.create(t.Context(), "u_1", "k_1")
		require.Error(t, err, "an open connection is of no use")
		require.Len(t, b.Calls(), calls, "nothing arrives")

		require.NoError(t, b.ClearFaults())
		require.Equal(t, address, b.StripeURL())
		_, err = b.create(t.Context(), "u_1", "k_1")
		require.NoError(t, err)
		_, err = pooled.stripe().Balance.Get(nil)
		require.NoError(t, err)
	}
	require.Len(t, b.Stripe().Customers(), 1)
}

func TestFaults_HangUntilCleared(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	require.NoError(t, b.SetFaults(simulator.Fault{Kind: simulator.Hang}))
	done := make(chan error, 1)
	go func() {
		_, err := b.create(t.Context(), "u_1", "k_1")
		done <- err
	}()
	eventually(t, "the request hangs", func() bool { return b.Faults()[0].Hits == 1 })
	require.Empty(t, b.Stripe().Customers())
	require.Zero(t, b.Calls()[0].Status, "logged, not answered")

	// Another hang takes over without a gap.
	require.NoError(t, b.SetFaults(simulator.Fault{Kind: simulator.Hang}))
	eventually(t, "the request hangs again", func() bool { return b.Faults()[0].Hits == 1 })
	require.Empty(t, b.Stripe().Customers())

	require.NoError(t, b.ClearFaults())
	require.NoError(t, <-done)
	require.Len(t, b.Stripe().Customers(), 1)
}

func TestFaults_HangUntilTheClientGoes(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	require.NoError(t, b.SetFaults(simulator.Fault{Kind: simulator.Hang}))
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := b.create(ctx, "u_1", "k_1")
		done <- err
	}()
	eventually(t, "the request hangs", func() bool { return b.Faults()[0].Hits == 1 })

	leave()
	require.ErrorIs(t, <-done, context.Canceled)
	eventually(t, "the simulator has noticed", func() bool { return !b.Calls()[0].AnsweredAt.IsZero() })
	require.Zero(t, b.Calls()[0].Status)
	require.Equal(t, simulator.Hang, b.Calls()[0].Fault)

	require.NoError(t, b.ClearFaults())
	_, err := b.stripe().Balance.Get(nil)
	require.NoError(t, err)
	require.Empty(t, b.Stripe().Customers(), "what nobody waits for is not executed")
}

// Faults that leave the request undone, and after which the same key does it.
func TestFaults_NotExecuted(t *testing.T) {
	t.Parallel()
	tests := map[simulator.FaultKind]func(*testing.T, error){
		simulator.Reset: func(t *testing.T, err error) {
			t.Helper()
			require.ErrorIs(t, err, syscall.ECONNRESET)
		},
		simulator.ServerError: func(t *testing.T, err error) {
			t.Helper()
			require.Equal(t, http.StatusInternalServerError, stripeErr(t, err).HTTPStatusCode)
			require.Equal(t, stripe.ErrorTypeAPI, stripeErr(t, err).Type)
			require.NotEmpty(t, stripeErr(t, err).RequestID)
		},
		simulator.BadGateway: func(t *testing.T, err error) {
			t.Helper()
			notTyped(t, err)
			require.ErrorContains(t, err, "502")
		},
		simulator.Unavailable: func(t *testing.T, err error) {
			t.Helper()
			notTyped(t, err)
		},
		simulator.TooManyRequests: func(t *testing.T, err error) {
			t.Helper()
			require.Equal(t, http.StatusTooManyRequests, stripeErr(t, err).HTTPStatusCode)
			require.Equal(t, stripe.ErrorCodeRateLimit, stripeErr(t, err).Code)
			require.Equal(t, "7", stripeErr(t, err).LastResponse.Header.Get("Retry-After"))
		},
		simulator.WrongKey: func(t *testing.T, err error) {
			t.Helper()
			require.Equal(t, http.StatusUnauthorized, stripeErr(t, err).HTTPStatusCode)
			require.Equal(t, stripe.ErrorTypeInvalidRequest, stripeErr(t, err).Type)
		},
	}
	for kind, check := range tests {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			b := setup(t, simulator.Config{})
			require.NoError(t, b.SetFaults(simulator.Fault{Kind: kind, RetryAfter: 7}))

			_, err := b.create(t.Context(), "u_1", "k_1")
			check(t, err)
			require.Empty(t, b.Stripe().Customers())
			require.Equal(t, kind, b.Calls()[0].Fault)

			require.NoError(t, b.ClearFaults())
			c, err := b.create(t.Context(), "u_1", "k_1")
			require.NoError(t, err)
			require.Empty(t, c.LastResponse.Header.Get("Idempotent-Replayed"))
			require.Len(t, b.Stripe().Customers(), 1)
		})
	}
}

// Faults that lose the answer of a request that was done: the same key tells what it was.
func TestFaults_ExecutedAndLost(t *testing.T) {
	t.Parallel()
	for kind, cause := range map[simulator.FaultKind]error{
		simulator.ExecuteThenDrop: io.EOF,
		simulator.Truncate:        io.ErrUnexpectedEOF,
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			b := setup(t, simulator.Config{})
			require.NoError(t, b.SetFaults(simulator.Fault{Kind: kind}))

			_, err := b.create(t.Context(), "u_1", "k_1")
			notTyped(t, err)
			require.ErrorIs(t, err, cause)
			require.Len(t, b.Stripe().Customers(), 1)

			require.NoError(t, b.ClearFaults())
			c, err := b.create(t.Context(), "u_1", "k_1")
			require.NoError(t, err)
			require.Equal(t, "true", c.LastResponse.Header.Get("Idempotent-Replayed"))
			require.Equal(t, b.Stripe().Customers()[0].ID, c.ID)
			require.Len(t, b.Stripe().Customers(), 1)
		})
	}
}

// Faults whose 500 is what the key replays for good; only a look-up tells what was done.
func TestFaults_StoredFailure(t *testing.T) {
	t.Parallel()
	for kind, executed := range map[simulator.FaultKind]int{
		simulator.ExecuteThen500: 1,
		simulator.Stored500:      0,
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			b := setup(t, simulator.Config{})
			require.NoError(t, b.SetFaults(simulator.Fault{Kind: kind}))

			_, err := b.create(t.Context(), "u_1", "k_1")
			first := stripeErr(t, err)
			require.Equal(t, http.StatusInternalServerError, first.HTTPStatusCode)
			require.NoError(t, b.ClearFaults())

			_, err = b.create(t.Context(), "u_1", "k_1")
			replay := stripeErr(t, err)
			require.Equal(t, http.StatusInternalServerError, replay.HTTPStatusCode)
			require.Equal(t, "true", replay.LastResponse.Header.Get("Idempotent-Replayed"))
			require.Equal(t, first.RequestID, replay.LastResponse.Header.Get("Original-Request"))
			require.NotEqual(t, first.RequestID, replay.RequestID)
			require.Len(t, b.Stripe().Customers(), executed)
		})
	}
}

func TestFaults_StallKeepsTheKeyInUse(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	require.NoError(t, b.SetFaults(simulator.Fault{Kind: simulator.Stall}))
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := b.create(ctx, "u_1", "k_1")
			done <- err
		}()
	}
	// Whichever comes second is told at once.
	problem := stripeErr(t, <-done)
	require.Equal(t, http.StatusConflict, problem.HTTPStatusCode)
	require.Equal(t, stripe.ErrorCodeIdempotencyKeyInUse, problem.Code)
	require.Empty(t, b.Stripe().Customers())

	// The client gives up; what has begun goes on all the same, and then the key replays it.
	leave()
	require.ErrorIs(t, <-done, context.Canceled)
	require.NoError(t, b.ClearFaults())
	eventually(t, "the request is executed", func() bool { return len(b.Stripe().Customers()) == 1 })
	eventually(t, "the key replays", func() bool {
		c, err := b.create(t.Context(), "u_1", "k_1")
		return err == nil && c.LastResponse.Header.Get("Idempotent-Replayed") == "true"
	})
	require.Len(t, b.Stripe().Customers(), 1)
}

func TestFaults_StallEndsByItselfWhetherOrNotTheClientWaits(t *testing.T) {
	t.Parallel()
	const delay = 200 * time.Millisecond
	b := setup(t, simulator.Config{})
	require.NoError(t, b.SetFaults(simulator.Fault{Kind: simulator.Stall, DelayMS: int(delay.Milliseconds()), Times: 1}))
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := b.create(ctx, "u_1", "k_1")
		done <- err
	}()
	eventually(t, "the request stalls", func() bool { return b.Faults()[0].Hits == 1 })

	leave()
	require.ErrorIs(t, <-done, context.Canceled)
	eventually(t, "the request is over", func() bool { return !b.Calls()[0].AnsweredAt.IsZero() })
	require.GreaterOrEqual(t, b.Calls()[0].AnsweredAt.Sub(b.Calls()[0].At), delay, "leaving cuts nothing short")
	require.Len(t, b.Stripe().Customers(), 1)
}

func TestFaults_LatencyAddsToTheOthers(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	require.NoError(t, b.SetFaults(
		simulator.Fault{Kind: simulator.Latency, DelayMS: 20, JitterMS: 10},
		simulator.Fault{Kind: simulator.Unavailable},
		simulator.Fault{Kind: simulator.BadGateway},
		simulator.Fault{Kind: simulator.Latency, DelayMS: 10},
	))

	_, err := b.create(t.Context(), "u_1", "k_1")
	require.Error(t, err)
	call := b.Calls()[0]
	require.Equal(t, http.StatusServiceUnavailable, call.Status, "the first that matches decides")
	require.GreaterOrEqual(t, call.AnsweredAt.Sub(call.At).Milliseconds(), int64(30), "no less than was asked for")
	require.Equal(t, []int{1, 1, 0, 1}, hits(b))
}

func hits(b bundle) []int {
	active := b.Faults()
	out := make([]int, 0, len(active))
	for _, f := range active {
		out = append(out, f.Hits)
	}
	return out
}

func TestFaults_LimitedToSomeRequests(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	require.NoError(t, b.SetFaults(simulator.Fault{
		Kind: simulator.ServerError, Provider: "stripe", Method: "POST", PathPrefix: "/v1/customers", Times: 2,
	}))

	statuses := []int{
		b.send(t, "GET", "/v1/customers", nil, nil).status,
		b.send(t, "POST", "/v1/other", nil, nil).status,
		b.send(t, "POST", "/v1/customers", nil, nil).status,
		b.send(t, "POST", "/v1/customers/cus_none", nil, nil).status,
		b.send(t, "POST", "/v1/customers", nil, nil).status,
	}
	require.Equal(t, []int{200, 404, 500, 500, 200}, statuses)
	require.Equal(t, []int{2}, hits(b))
}

func TestFaults_ProbabilityIsRepeatable(t *testing.T) {
	t.Parallel()
	const requests = 200
	statuses := func(seed uint64) []int {
		b := setup(t, simulator.Config{Seed: seed})
		require.NoError(t, b.SetFaults(simulator.Fault{Kind: simulator.Unavailable, Probability: 0.3}))
		got := make([]int, 0, requests)
		for range requests {
			got = append(got, b.send(t, "GET", "/v1/balance", nil, nil).status)
		}
		struck := hits(b)[0]
		require.Greater(t, struck, requests/10)
		require.Less(t, struck, requests/2)
		return got
	}
	first, again, other := statuses(1), statuses(1), statuses(2)
	require.Equal(t, first, again)
	require.NotEqual(t, first, other)
}

func TestSetFaults_RefusesNonsenseAndChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	good := simulator.Fault{Kind: simulator.Unavailable}
	require.NoError(t, b.SetFaults(good))

	for _, bad := range []simulator.Fault{
		{},
		{Kind: "explode"},
		{Kind: simulator.Hang, Provider: "acme"},
		{Kind: simulator.Hang, Times: -1},
		{Kind: simulator.Hang, Probability: 1.5},
		{Kind: simulator.Refuse, Method: "POST"},
		{Kind: simulator.Refuse, Times: 1},
		{Kind: simulator.Latency},
	} {
		require.Error(t, b.SetFaults(good, bad), "%+v", bad)
	}
	require.Equal(t, []simulator.ActiveFault{{Fault: good}}, b.Faults())
}
