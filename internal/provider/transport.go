package provider

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
	"time"
)

// Call is one call to a provider: what its adapter says of it beforehand, and what the transport
// saw of it. The libraries lose the status and the headers of many answers (an edge's HTML, a cut
// body); the call keeps them. A Call is good for one request and travels in its context.
type Call struct {
	// Route is the path without ids, such as "/v1/customers/{id}": metrics are kept by it.
	Route string
	// Probe calls go through an open breaker, and close it when the provider answers.
	Probe bool

	mu     sync.Mutex
	record Record
}

// Record is what the transport saw of a call.
type Record struct {
	// Sent says that the request may have reached the provider: there was a connection to it. When
	// it is false nothing was sent, for certain.
	Sent bool
	// Status is the answer's HTTP status; zero when there was no answer.
	Status int
	// Header is the answer's; nil when there was no answer.
	Header http.Header
}

type callKey struct{}

// WithCall gives the context under which the call's request is to be made.
func WithCall(ctx context.Context, c *Call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// Record is what the transport has seen of the call so far.
func (c *Call) Record() Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.record
}

func (c *Call) sent() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.record.Sent = true
}

func (c *Call) answered(answer *http.Response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.record.Sent, c.record.Status, c.record.Header = true, answer.StatusCode, answer.Header.Clone()
}

func callOf(ctx context.Context) *Call {
	if c, ok := ctx.Value(callKey{}).(*Call); ok {
		return c
	}
	return &Call{Route: "unknown"}
}

// Observer sees every call to a provider, for metrics. It is called from many goroutines.
type Observer interface {
	ObserveCall(ctx context.Context, o Observation)
}

// Observation is a call that is over. Its fields have few values and carry no ids.
type Observation struct {
	Provider Name
	Method   string
	Route    string
	// Result is the answer's HTTP status ("200"), or why there was none: one of the Result constants.
	Result string
	// Duration is the time until the answer's headers, or until it was clear that none come.
	Duration time.Duration
}

// Why a call had no answer.
const (
	ResultBreakerOpen = CodeBreakerOpen // not tried
	ResultNotSent     = "not_sent"      // no connection: refused, unknown host, bad certificate
	ResultTimeout     = "timeout"
	ResultCanceled    = "canceled" // by us
	ResultNetwork     = "network"  // broke after it was sent
)

// Transport makes the HTTP calls to one provider: through the breaker, into the call's record, and
// past the observer. Nothing is sent twice: see onlyOnce.
type Transport struct {
	Provider Name
	Base     http.RoundTripper // nil is http.DefaultTransport
	Breaker  *Breaker          // nil never refuses
	Observer Observer          // nil sees nothing
}

// RoundTrip makes the call that the request's context carries, or fails with the breaker's Failure.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	call, began := callOf(r.Context()), time.Now()
	answer, err := t.guarded(call, r)
	if t.Observer != nil {
		t.Observer.ObserveCall(r.Context(), Observation{
			Provider: t.Provider, Method: r.Method, Route: call.Route,
			Result: result(call.Record(), err), Duration: time.Since(began),
		})
	}
	return answer, err
}

func (t *Transport) guarded(call *Call, r *http.Request) (*http.Response, error) {
	if call.Probe {
		answer, err := t.send(call, r)
		if trouble(answer, err) == nil {
			t.Breaker.reset()
		}
		return answer, err
	}
	report, refusal := t.Breaker.admit()
	if refusal != nil {
		if r.Body != nil {
			_ = r.Body.Close() // which a RoundTripper owes even a request that it does not send
		}
		return nil, refusal
	}
	answer, err := t.send(call, r)
	report(trouble(answer, err))
	return answer, err
}

func (t *Transport) send(call *Call, r *http.Request) (*http.Response, error) {
	// Having a connection counts as sent: what was written to it by then cannot be told.
	traced := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { call.sent() },
	})
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	answer, err := base.RoundTrip(onlyOnce(r.WithContext(traced)))
	if err != nil {
		return nil, err
	}
	call.answered(answer)
	return answer, nil
}

// onlyOnce keeps net/http from sending a write again by itself, which it does when a reused connection
// breaks before the answer's first byte and the request carries an Idempotency-Key. The first may have
// been carried out, and the second be turned away: by a 429 nobody would know that anything was sent.
func onlyOnce(copied *http.Request) *http.Request {
	if copied.Method != http.MethodGet && copied.Method != http.MethodHead {
		copied.GetBody = nil
	}
	return copied
}

func result(seen Record, err error) string {
	var refusal *Failure
	switch {
	case seen.Status != 0:
		return strconv.Itoa(seen.Status)
	case errors.As(err, &refusal):
		return ResultBreakerOpen
	case errors.Is(err, context.Canceled):
		return ResultCanceled
	case !seen.Sent:
		return ResultNotSent
	case errors.Is(err, context.DeadlineExceeded):
		return ResultTimeout
	}
	return ResultNetwork
}

// maxRetryAfter bounds what a provider may ask for: beyond it the fallback timer of a parked step
// is the better judge.
const maxRetryAfter = 15 * time.Minute

// RetryAfter reads the header of that name, in seconds or as an HTTP date: how long to wait from
// now, at most 15 minutes, and zero when there is none, or none that makes sense.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
