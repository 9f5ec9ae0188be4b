package paypal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
)

// issuer grants the tokens t1, t2, …, good for nine hours less a minute.
type issuer struct {
	asked   atomic.Int64
	goodFor time.Duration
	before  func(context.Context) error // what happens before a grant; nil is nothing
}

func (i *issuer) grant(ctx context.Context) (token, error) {
	n := i.asked.Add(1)
	if i.before != nil {
		if err := i.before(ctx); err != nil {
			return token{}, err
		}
	}
	return token{value: fmt.Sprintf("t%d", n), goodUntil: time.Now().Add(i.goodFor)}, nil
}

func setupTokens(i *issuer) *tokens {
	if i.goodFor == 0 {
		i.goodFor = 9*time.Hour - time.Minute
	}
	return &tokens{timeout: 20 * time.Second, request: i.grant}
}

func TestATokenIsUsedUntilItsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{goodFor: time.Hour}
		held := setupTokens(i)
		for _, test := range []struct {
			after time.Duration
			want  string
		}{{0, "t1"}, {time.Hour - time.Second, "t1"}, {time.Second, "t2"}, {0, "t2"}} {
			time.Sleep(test.after)
			got, err := held.get(t.Context())
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		}
	})
}

func TestWhoeverWaitsForATokenWaitsForTheSame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{before: func(context.Context) error { time.Sleep(time.Second); return nil }}
		held := setupTokens(i)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				got, err := held.get(t.Context())
				require.NoError(t, err)
				require.Equal(t, "t1", got)
			})
		}
		all.Wait()
		require.EqualValues(t, 1, i.asked.Load())
	})
}

func TestACallerLeavesAtItsOwnDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{before: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		held := setupTokens(i)
		first, leave := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() { _, err := held.get(first); gone <- err }()
		synctest.Wait() // the first caller's request for a token hangs

		began := time.Now()
		hasty, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := held.get(hasty)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 100*time.Millisecond, time.Since(began))
		var failure *provider.Failure
		require.ErrorAs(t, err, &failure)
		require.Equal(t, provider.Transient, failure.Class)

		leave()
		require.ErrorIs(t, <-gone, context.Canceled)
		require.EqualValues(t, 1, i.asked.Load())
		time.Sleep(held.timeout) // the renewal that nobody waits for ends by itself
	})
}

func TestARenewalOutlivesTheCallerThatBeganIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{before: func(ctx context.Context) error {
			time.Sleep(time.Second)
			return ctx.Err()
		}}
		held := setupTokens(i)
		first, leave := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() { _, err := held.get(first); gone <- err }()
		synctest.Wait()
		second := make(chan string)
		go func() { got, _ := held.get(t.Context()); second <- got }()
		synctest.Wait()

		leave()
		require.ErrorIs(t, <-gone, context.Canceled)
		require.Equal(t, "t1", <-second)
		require.EqualValues(t, 1, i.asked.Load())
	})
}

func TestAStaleTokenIsRenewedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{before: func(context.Context) error { time.Sleep(time.Second); return nil }}
		held := setupTokens(i)
		stale, err := held.get(t.Context())
		require.NoError(t, err)

		var all sync.WaitGroup
		for n := range 50 { // each is refused under the stale token at a time of its own
			all.Go(func() {
				time.Sleep(time.Duration(n) * 100 * time.Millisecond)
				held.discard(stale)
				got, err := held.get(t.Context())
				require.NoError(t, err)
				require.Equal(t, "t2", got)
			})
		}
		all.Wait()
		require.EqualValues(t, 2, i.asked.Load())
	})
}

func TestAFailedRenewalIsNotHeld(t *testing.T) {
	t.Parallel()
	refusals := []error{errors.New("refused"), nil}
	i := &issuer{}
	i.before = func(context.Context) error { return refusals[i.asked.Load()-1] }
	held := setupTokens(i)

	_, err := held.get(t.Context())
	require.EqualError(t, err, "refused")
	got, err := held.get(t.Context())
	require.NoError(t, err)
	require.Equal(t, "t2", got)
}

func TestATokenEndsBeforePayPalSaysSo(t *testing.T) {
	t.Parallel()
	asked := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for seconds, want := range map[int64]time.Duration{
		32400: 32400*time.Second - time.Minute, 120: time.Minute, 60: 30 * time.Second, 1: 500 * time.Millisecond,
	} {
		require.Equal(t, asked.Add(want), grant{AccessToken: "t", ExpiresIn: seconds}.token(asked).goodUntil, "%d", seconds)
	}
}
