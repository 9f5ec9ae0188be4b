package simulator

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// FaultKind says what goes wrong.
type FaultKind string

// What can go wrong. "Executed" means that the request has had its effect at the provider, so
// that a client that sees a failure has met an unknown outcome.
const (
	// Refuse closes the listener and all connections: nothing arrives, nothing is logged. It
	// concerns the whole provider and cannot be limited.
	Refuse FaultKind = "refuse"
	// Hang gives no answer until the fault is cleared or the client goes. Then, and only if the
	// client is still there, the request is carried out as usual.
	Hang FaultKind = "hang"
	// Reset breaks the connection with a TCP reset. Not executed.
	Reset FaultKind = "reset"
	// ServerError answers 500 with the provider's own JSON. Not executed, not stored for the key.
	ServerError FaultKind = "500"
	// BadGateway answers 502 with an edge's HTML page. Not executed.
	BadGateway FaultKind = "502"
	// Unavailable answers 503 with an empty body. Not executed.
	Unavailable FaultKind = "503"
	// TooManyRequests answers 429, with Retry-After if RetryAfter is set. Not executed.
	TooManyRequests FaultKind = "429"
	// WrongKey answers 401 to every key. Not executed.
	WrongKey FaultKind = "wrong_key"
	// ExecuteThenDrop closes the connection instead of answering. Executed.
	ExecuteThenDrop FaultKind = "execute_then_drop"
	// ExecuteThen500 answers 500, and that is what is stored for the idempotency key. Executed.
	ExecuteThen500 FaultKind = "execute_then_500"
	// Stored500 answers 500 and stores it for the idempotency key. Not executed.
	Stored500 FaultKind = "stored_500"
	// Truncate cuts the answer's body in the middle. Executed.
	Truncate FaultKind = "truncate"
	// Stall keeps the request in execution, its idempotency key in use, until the fault is
	// cleared or DelayMS has passed; then it is executed, whether or not the client still waits.
	Stall FaultKind = "stall"
	// Latency makes every answer wait DelayMS and a random part of JitterMS. Other faults apply
	// as well.
	Latency FaultKind = "latency"
)

var faultKinds = []FaultKind{
	Refuse, Hang, Reset, ServerError, BadGateway, Unavailable, TooManyRequests, WrongKey,
	ExecuteThenDrop, ExecuteThen500, Stored500, Truncate, Stall, Latency,
}

// Fault is something that goes wrong, and for which requests. Several may be active at once:
// latencies add up, and of the others the first that matches decides.
type Fault struct {
	Kind FaultKind `json:"kind"`
	// Provider limits the fault to one provider ("stripe", "paypal"); empty means all.
	Provider string `json:"provider,omitempty"`
	// Method and PathPrefix limit the fault to some requests ("POST", "/v1/customers").
	Method     string `json:"method,omitempty"`
	PathPrefix string `json:"path_prefix,omitempty"`
	// Times limits the fault to the next so many matching requests; zero means all.
	Times int `json:"times,omitempty"`
	// Probability is the share of matching requests that meet the fault; zero means all.
	Probability float64 `json:"probability,omitempty"`

	// RetryAfter goes into the header of a 429, in seconds; zero means no header.
	RetryAfter int `json:"retry_after,omitempty"`
	// DelayMS and JitterMS are milliseconds: of latency, or (DelayMS) the end of a stall.
	DelayMS  int `json:"delay_ms,omitempty"`
	JitterMS int `json:"jitter_ms,omitempty"`
}

// ActiveFault is a fault and the number of requests that it has met so far.
type ActiveFault struct {
	Fault

	Hits int `json:"hits"`
}

func validateFaults(faults []Fault) error {
	for i, f := range faults {
		if err := f.validate(); err != nil {
			return fmt.Errorf("fault %d (%s): %w", i, f.Kind, err)
		}
	}
	return nil
}

func (f Fault) validate() error {
	switch {
	case !slices.Contains(faultKinds, f.Kind):
		return fmt.Errorf("kind must be one of %v", faultKinds)
	case !slices.Contains([]string{"", stripeName, payPalName}, f.Provider):
		return fmt.Errorf("provider must be empty, %q or %q", stripeName, payPalName)
	case min(f.Times, f.RetryAfter, f.DelayMS, f.JitterMS) < 0:
		return errors.New("times, retry_after, delay_ms and jitter_ms must not be negative")
	case f.Probability < 0 || f.Probability > 1:
		return errors.New("probability must be between 0 and 1")
	case f.Kind == Refuse && f.limited():
		return errors.New("refusing concerns every connection: it takes no method, path_prefix, times or probability")
	case f.Kind == Latency && f.DelayMS == 0 && f.JitterMS == 0:
		return errors.New("latency needs delay_ms or jitter_ms")
	}
	return nil
}

// limited says that the fault is meant for some of a provider's requests only.
func (f Fault) limited() bool {
	return f.Method != "" || f.PathPrefix != "" || f.Times != 0 || f.Probability != 0
}

func (f Fault) concerns(provider string) bool { return f.Provider == "" || f.Provider == provider }

func (f Fault) matches(provider string, r *http.Request) bool {
	return f.concerns(provider) &&
		(f.Method == "" || strings.EqualFold(f.Method, r.Method)) &&
		strings.HasPrefix(r.URL.Path, f.PathPrefix)
}

// activeFault is a fault that has been switched on.
type activeFault struct {
	Fault

	hits    int
	cleared chan struct{} // closed when the fault is switched off
}

func (f *activeFault) usedUp() bool { return f.Times > 0 && f.hits >= f.Times }

// faults is the set of active faults. It knows requests, not providers.
type faults struct {
	mu     sync.Mutex
	active []*activeFault
	random *rand.Rand
}

func newFaults(seed uint64) *faults {
	//nolint:gosec // which request fails must be repeatable, not unpredictable
	return &faults{random: rand.New(rand.NewPCG(seed, seed))}
}

func (s *faults) replace(with []Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.active {
		close(f.cleared)
	}
	s.active = make([]*activeFault, 0, len(with))
	for _, f := range with {
		s.active = append(s.active, &activeFault{Fault: f, cleared: make(chan struct{})})
	}
}

func (s *faults) snapshot() []ActiveFault {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]ActiveFault, 0, len(s.active))
	for _, f := range s.active {
		out = append(out, ActiveFault{Fault: f.Fault, Hits: f.hits})
	}
	return out
}

func (s *faults) refusing(provider string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.active, func(f *activeFault) bool {
		return f.Kind == Refuse && f.concerns(provider)
	})
}

// meet holds the request up for as long as the active faults want, and returns the fault that
// decides its answer, or nil. The error means that the client has gone.
func (s *faults) meet(provider string, r *http.Request) (*activeFault, error) {
	for {
		delay, decisive := s.pick(provider, r)
		if err := wait(r.Context(), delay, nil); err != nil {
			return nil, err
		}
		if decisive == nil || decisive.Kind != Hang {
			return decisive, nil
		}
		if err := wait(r.Context(), 0, decisive.cleared); err != nil {
			return decisive, err
		}
	}
}

func (s *faults) pick(provider string, r *http.Request) (delay time.Duration, decisive *activeFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.active {
		if f.Kind == Refuse || (decisive != nil && f.Kind != Latency) {
			continue
		}
		if !f.matches(provider, r) || f.usedUp() || !s.strikes(f) {
			continue
		}
		f.hits++
		if f.Kind == Latency {
			delay += s.latency(f)
		} else {
			decisive = f
		}
	}
	return delay, decisive
}

func (s *faults) strikes(f *activeFault) bool {
	return f.Probability == 0 || s.random.Float64() < f.Probability
}

func (s *faults) latency(f *activeFault) time.Duration {
	delay := time.Duration(f.DelayMS) * time.Millisecond
	if f.JitterMS > 0 {
		delay += time.Duration(s.random.Int64N(int64(f.JitterMS) * int64(time.Millisecond)))
	}
	return delay
}

// wait returns after the delay, when over is closed, or when the context is done, whichever comes
// first, and with the context's error if it is done by then. With neither set it does not wait.
func wait(ctx context.Context, delay time.Duration, over <-chan struct{}) error {
	var timeUp <-chan time.Time
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		timeUp = timer.C
	}
	if timeUp == nil && over == nil {
		return nil
	}
	select {
	case <-timeUp:
	case <-over:
	case <-ctx.Done():
	}
	return ctx.Err()
}

type executionFaultKey struct{}

// withExecutionFault carries a fault to the place where the provider executes the request.
func withExecutionFault(r *http.Request, f *activeFault) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), executionFaultKey{}, f))
}

// execute does the work of a request as the request's fault will have it. Providers call it
// inside their idempotency layer, so that what it returns is what is stored for the key.
func execute(ctx context.Context, work func() answer, failure answer) answer {
	f, ok := ctx.Value(executionFaultKey{}).(*activeFault)
	if !ok {
		return work()
	}
	switch f.Kind {
	case Stored500:
		return failure
	case ExecuteThen500:
		work()
		return failure
	case Stall:
		// A provider that has begun goes on after its client has gone.
		_ = wait(context.WithoutCancel(ctx), time.Duration(f.DelayMS)*time.Millisecond, f.cleared)
		return work()
	default:
		return work()
	}
}
