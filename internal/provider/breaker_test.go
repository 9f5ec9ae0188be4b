package provider_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
)

const pause = 5 * time.Second

// line is a provider behind a breaker, whose answers the test decides.
type line struct {
	transport *provider.Transport
	breaker   *provider.Breaker
	calls     int
	answer    func(*http.Request) (*http.Response, error)
}

func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	l.calls++
	return l.answer(r)
}

func setupLine() *line {
	l := &line{breaker: provider.NewBreaker(provider.Stripe, pause)}
	l.transport = &provider.Transport{Provider: provider.Stripe, Base: l, Breaker: l.breaker}
	return l
}

func status(code int) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: code, Body: http.NoBody}, nil
	}
}

var errBroken = errors.New("connection reset by peer")

func broken(*http.Request) (*http.Response, error) { return nil, errBroken }

func (l *line) call(ctx context.Context, call *provider.Call) error {
	r, err := http.NewRequestWithContext(provider.WithCall(ctx, call), http.MethodGet, "http://provider.test", nil)
	if err != nil {
		return err
	}
	answer, err := l.transport.RoundTrip(r)
	if err == nil {
		err = answer.Body.Close()
	}
	return err
}

func (l *line) times(t *testing.T, n int, answer func(*http.Request) (*http.Response, error)) {
	t.Helper()
	l.answer = answer
	for range n {
		_ = l.call(t.Context(), &provider.Call{})
	}
}

func (l *line) requireRefused(t *testing.T, wait time.Duration) {
	t.Helper()
	before := l.calls
	var failure *provider.Failure
	require.ErrorAs(t, l.call(t.Context(), &provider.Call{}), &failure)
	require.Equal(t, provider.CodeBreakerOpen, failure.Code)
	require.Equal(t, wait, failure.RetryAfter)
	require.Equal(t, before, l.calls, "nothing is sent")
}

func TestBreakerOpensAfterFiveFailuresInARow(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"network": broken, "500": status(500), "503": status(503),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := setupLine()
				l.times(t, 4, answer)
				require.Equal(t, provider.BreakerClosed, l.breaker.State())
				l.times(t, 1, status(200))
				l.times(t, 4, answer)
				require.False(t, l.breaker.Open(), "a success in between starts the count anew")
				l.times(t, 1, answer)
				require.Equal(t, provider.BreakerOpen, l.breaker.State())
				require.True(t, l.breaker.Open())

				l.requireRefused(t, pause)
				time.Sleep(2 * time.Second)
				l.requireRefused(t, pause-2*time.Second)
			})
		})
	}
}

func TestBreakerTakesAnyAnswerBelow500ForAnAnswer(t *testing.T) {
	t.Parallel()
	for _, code := range []int{200, 302, 400, 401, 403, 404, 409, 429} {
		l := setupLine()
		l.times(t, 20, status(code))
		require.Equal(t, provider.BreakerClosed, l.breaker.State(), "HTTP %d", code)
		require.Equal(t, 20, l.calls)
	}
}

func TestBreakerDoesNotCountWhatWeCancel(t *testing.T) {
	t.Parallel()
	l := setupLine()
	l.times(t, 20, func(*http.Request) (*http.Response, error) { return nil, context.Canceled })
	require.Equal(t, provider.BreakerClosed, l.breaker.State())
	l.times(t, 5, func(*http.Request) (*http.Response, error) { return nil, context.DeadlineExceeded })
	require.Equal(t, provider.BreakerOpen, l.breaker.State(), "a timeout is the provider's")
}

func TestBreakerLetsOneCallTry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := setupLine()
		l.times(t, 5, broken)
		time.Sleep(pause + time.Nanosecond)
		require.Equal(t, provider.BreakerHalfOpen, l.breaker.State())
		require.True(t, l.breaker.Open())

		answers := make(chan func(*http.Request) (*http.Response, error))
		l.answer = func(r *http.Request) (*http.Response, error) { return (<-answers)(r) }
		trial := make(chan error, 1)
		go func() { trial <- l.call(t.Context(), &provider.Call{}) }()
		synctest.Wait() // the trial is under way
		l.requireRefused(t, 0)

		answers <- broken
		require.ErrorIs(t, <-trial, errBroken)
		require.Equal(t, provider.BreakerOpen, l.breaker.State())
		l.requireRefused(t, pause)

		time.Sleep(pause + time.Nanosecond)
		go func() { trial <- l.call(t.Context(), &provider.Call{}) }()
		answers <- status(200)
		require.NoError(t, <-trial)
		require.Equal(t, provider.BreakerClosed, l.breaker.State())
	})
}

func TestProbeGoesThroughAnOpenBreakerAndClosesIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := setupLine()
		l.times(t, 5, broken)

		require.ErrorIs(t, l.call(t.Context(), &provider.Call{Probe: true}), errBroken)
		require.Equal(t, provider.BreakerOpen, l.breaker.State())

		l.answer = status(500)
		require.NoError(t, l.call(t.Context(), &provider.Call{Probe: true}))
		require.Equal(t, provider.BreakerOpen, l.breaker.State())
		require.Equal(t, 7, l.calls)

		l.answer = status(401)
		require.NoError(t, l.call(t.Context(), &provider.Call{Probe: true}))
		require.Equal(t, provider.BreakerClosed, l.breaker.State())
		require.NoError(t, l.call(t.Context(), &provider.Call{}))
	})
}

func TestCallsFromBeforeAProbeDoNotOpenTheBreakerAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := setupLine()
		answers := make(chan func(*http.Request) (*http.Response, error))
		l.answer = func(r *http.Request) (*http.Response, error) { return (<-answers)(r) }
		const slow = 10
		ended := make(chan error, slow)
		for range slow {
			go func() { ended <- l.call(t.Context(), &provider.Call{}) }()
			synctest.Wait()
		}
		for range 5 {
			answers <- broken
			require.Error(t, <-ended)
		}
		require.True(t, l.breaker.Open())

		l.answer = status(200)
		require.NoError(t, l.call(t.Context(), &provider.Call{Probe: true}))
		for range slow - 5 {
			answers <- broken
			require.ErrorIs(t, <-ended, errBroken)
		}

		require.Equal(t, provider.BreakerClosed, l.breaker.State())
	})
}

func TestNoBreakerNeverRefuses(t *testing.T) {
	t.Parallel()
	l := setupLine()
	l.transport.Breaker = nil
	l.times(t, 20, broken)
	require.Equal(t, 20, l.calls)
	require.False(t, (*provider.Breaker)(nil).Open())
	l.answer = status(200)
	require.NoError(t, l.call(t.Context(), &provider.Call{Probe: true}))
}
