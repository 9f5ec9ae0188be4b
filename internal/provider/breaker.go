package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// BreakerState is where a breaker stands.
type BreakerState string

// A closed breaker lets calls through, an open one refuses them, and a half-open one lets a single
// call try.
const (
	BreakerClosed   BreakerState = "closed"
	BreakerHalfOpen BreakerState = "half_open"
	BreakerOpen     BreakerState = "open"
)

const (
	// breakerThreshold is how many calls in a row must fail for the breaker to open.
	breakerThreshold = 5
	// DefaultBreakerPause is how long an open breaker refuses before it lets a call try.
	DefaultBreakerPause = 5 * time.Second
)

// Breaker stops this process from calling a provider that does not answer: it opens after five
// calls in a row without an answer or with a 5xx. Answers below 500 are answers, and calls that we
// cancel ourselves say nothing. A nil Breaker never refuses. It is safe for concurrent use.
type Breaker struct {
	provider Name
	pause    time.Duration
	circuit  atomic.Pointer[circuit]
}

// NewBreaker makes a closed breaker. A pause of zero is DefaultBreakerPause.
func NewBreaker(p Name, pause time.Duration) *Breaker {
	if pause <= 0 {
		pause = DefaultBreakerPause
	}
	b := &Breaker{provider: p, pause: pause}
	b.circuit.Store(newCircuit(p, pause))
	return b
}

// State is where the breaker stands now.
func (b *Breaker) State() BreakerState {
	if b == nil {
		return BreakerClosed
	}
	switch b.circuit.Load().State() {
	case gobreaker.StateOpen:
		return BreakerOpen
	case gobreaker.StateHalfOpen:
		return BreakerHalfOpen
	case gobreaker.StateClosed:
	}
	return BreakerClosed
}

// Open says that the provider was seen not to answer, and has not answered since: the breaker
// refuses calls, but for one that tries now and then.
func (b *Breaker) Open() bool { return b.State() != BreakerClosed }

// admit lets a call through, whose outcome is to be reported (nil: the provider answered), or
// gives the failure of a call that is not made.
func (b *Breaker) admit() (report func(error), refusal *Failure) {
	if b == nil {
		return func(error) {}, nil
	}
	c := b.circuit.Load()
	report, err := c.Allow()
	if err != nil {
		return nil, &Failure{
			Provider: b.provider, Class: Transient, Code: CodeBreakerOpen, RetryAfter: c.remaining(), Cause: err,
		}
	}
	return report, nil
}

// reset closes the breaker. Calls that are under way report to the circuit that they began on,
// which nobody asks any more.
func (b *Breaker) reset() {
	if b.Open() {
		b.circuit.Store(newCircuit(b.provider, b.pause))
	}
}

// circuit is a gobreaker that remembers when it lets the next call try.
type circuit struct {
	*gobreaker.TwoStepCircuitBreaker[any]

	retryAt atomic.Int64 // Unix nanoseconds
}

func newCircuit(p Name, pause time.Duration) *circuit {
	c := &circuit{}
	c.TwoStepCircuitBreaker = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Name:        string(p),
		MaxRequests: 1,
		Timeout:     pause,
		ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= breakerThreshold },
		IsExcluded:  func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				c.retryAt.Store(time.Now().Add(pause).UnixNano())
			}
		},
	})
	return c
}

// remaining is the time until the next call may try; zero while one is trying.
func (c *circuit) remaining() time.Duration {
	return max(time.Until(time.Unix(0, c.retryAt.Load())), 0)
}

// trouble is what a call says against the provider: no answer, or a server error.
func trouble(answer *http.Response, err error) error {
	if err == nil && answer.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("HTTP %d", answer.StatusCode)
	}
	return err
}
