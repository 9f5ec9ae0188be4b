package provider_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
)

// recorder is an observer that keeps what it saw.
type recorder struct {
	mu   sync.Mutex
	seen []provider.Observation
}

func (r *recorder) ObserveCall(_ context.Context, o provider.Observation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, o)
}

func (r *recorder) results() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	results := make([]string, 0, len(r.seen))
	for _, o := range r.seen {
		results = append(results, o.Result)
	}
	return results
}

type wire struct {
	transport *provider.Transport
	observer  *recorder
}

func setupWire(t *testing.T) wire {
	t.Helper()
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	observer := &recorder{}
	return wire{
		transport: &provider.Transport{Provider: provider.Stripe, Base: base, Observer: observer},
		observer:  observer,
	}
}

// get makes a call through the transport and gives its record.
func (w wire) get(ctx context.Context, t *testing.T, url string) (provider.Record, error) {
	t.Helper()
	call := &provider.Call{Route: "/things/{id}"}
	r, err := http.NewRequestWithContext(provider.WithCall(ctx, call), http.MethodGet, url, nil)
	require.NoError(t, err)
	answer, err := w.transport.RoundTrip(r)
	if err == nil {
		require.NoError(t, answer.Body.Close())
	}
	return call.Record(), err
}

func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// hangUp breaks the connection on which the request came.
func hangUp(w http.ResponseWriter, _ *http.Request) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = connection.Close()
	}
}

func TestTransportKeepsStatusAndHeadersOfAnAnswer(t *testing.T) {
	t.Parallel()
	w := setupWire(t)
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.Header().Set("Request-Id", "req_1")
		w.WriteHeader(http.StatusBadGateway)
	})

	seen, err := w.get(t.Context(), t, url+"/things/42")

	require.NoError(t, err)
	require.True(t, seen.Sent)
	require.Equal(t, http.StatusBadGateway, seen.Status)
	require.Equal(t, "7", seen.Header.Get("Retry-After"))
	require.Equal(t, "req_1", seen.Header.Get("Request-Id"))
}

func TestTransportKnowsThatNothingWasSent(t *testing.T) {
	t.Parallel()
	w := setupWire(t)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())

	seen, err := w.get(t.Context(), t, "http://"+listener.Addr().String())

	require.Error(t, err)
	require.Equal(t, provider.Record{}, seen)
	require.Equal(t, []string{provider.ResultNotSent}, w.observer.results())
}

func TestTransportKnowsThatARequestMayHaveArrived(t *testing.T) {
	t.Parallel()
	w := setupWire(t)

	seen, err := w.get(t.Context(), t, serve(t, hangUp))

	require.Error(t, err)
	require.Equal(t, provider.Record{Sent: true}, seen)
	require.Equal(t, []string{provider.ResultNetwork}, w.observer.results())
}

// net/http would send it again by itself, and the answer to that would hide that the first one arrived.
func TestTransportSendsAWriteOnce(t *testing.T) {
	t.Parallel()
	w := setupWire(t)
	var arrived atomic.Int32
	url := serve(t, func(answer http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && arrived.Add(1) == 1 {
			hangUp(answer, r)
			return
		}
		if r.Method == http.MethodPost {
			answer.WriteHeader(http.StatusTooManyRequests)
		}
	})
	_, err := w.get(t.Context(), t, url) // the connection that is used again
	require.NoError(t, err)
	call := &provider.Call{Route: "/things"}
	write, err := http.NewRequestWithContext(provider.WithCall(t.Context(), call), http.MethodPost, url, strings.NewReader("amount=1"))
	require.NoError(t, err)
	write.Header.Set("Idempotency-Key", "key")

	answer, err := w.transport.RoundTrip(write)
	if err == nil {
		require.NoError(t, answer.Body.Close())
	}

	require.Error(t, err)
	require.Equal(t, int32(1), arrived.Load())
	require.Equal(t, provider.Record{Sent: true}, call.Record())
}

func TestTransportObservesCallsWithoutIDs(t *testing.T) {
	t.Parallel()
	w := setupWire(t)
	url := serve(t, func(http.ResponseWriter, *http.Request) {})

	_, err := w.get(t.Context(), t, url+"/things/secret@example.com?email=secret@example.com")

	require.NoError(t, err)
	require.Len(t, w.observer.seen, 1)
	observed := w.observer.seen[0]
	require.Positive(t, observed.Duration)
	observed.Duration = 0
	require.Equal(t, provider.Observation{
		Provider: provider.Stripe, Method: http.MethodGet, Route: "/things/{id}", Result: "200",
	}, observed)
}

func TestTransportTellsOurImpatienceFromTheProvidersSlowness(t *testing.T) {
	t.Parallel()
	w := setupWire(t)
	arrived := make(chan struct{})
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	})

	canceled, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	seen, err := w.get(canceled, t, url)
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, seen.Sent)

	late, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	go func() { <-arrived }()
	seen, err = w.get(late, t, url)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.True(t, seen.Sent)

	require.Equal(t, []string{provider.ResultCanceled, provider.ResultTimeout}, w.observer.results())
}

// closeNoticed is a body that remembers having been closed.
type closeNoticed struct {
	io.Reader

	closed bool
}

func (c *closeNoticed) Close() error { c.closed = true; return nil }

func TestTransportSendsNothingThroughAnOpenBreaker(t *testing.T) {
	t.Parallel()
	w := setupWire(t)
	w.transport.Breaker = provider.NewBreaker(provider.Stripe, time.Hour)
	requests := 0
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		requests++
		w.WriteHeader(http.StatusInternalServerError)
	})
	for range 5 {
		_, err := w.get(t.Context(), t, url)
		require.NoError(t, err)
	}

	call, body := &provider.Call{}, &closeNoticed{Reader: strings.NewReader("x")}
	r, err := http.NewRequestWithContext(provider.WithCall(t.Context(), call), http.MethodPost, url, body)
	require.NoError(t, err)
	_, err = w.transport.RoundTrip(r)

	var failure *provider.Failure
	require.ErrorAs(t, err, &failure)
	require.Equal(t, provider.Transient, failure.Class)
	require.Equal(t, provider.CodeBreakerOpen, failure.Code)
	require.InDelta(t, time.Hour, failure.RetryAfter, float64(time.Minute))
	require.Equal(t, provider.Record{}, call.Record())
	require.True(t, body.closed)
	require.Equal(t, 5, requests)
	require.Equal(t, provider.ResultBreakerOpen, w.observer.results()[5])
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"7":                             7 * time.Second,
		"900":                           15 * time.Minute,
		"901":                           15 * time.Minute,
		"4294967295":                    15 * time.Minute,
		"99999999999999999999":          0,
		"-3":                            0,
		"soon":                          0,
		"Fri, 20 Nov 2026 12:00:30 GMT": 30 * time.Second,
		"Fri, 20 Nov 2026 11:59:30 GMT": 0,
		"Sat, 21 Nov 2026 12:00:00 GMT": 15 * time.Minute,
	} {
		require.Equal(t, want, provider.RetryAfter(http.Header{"Retry-After": {value}}, now), "%q", value)
	}
	require.Zero(t, provider.RetryAfter(nil, now))
}
