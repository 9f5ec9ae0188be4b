package simulator

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// callsKept is the least number of calls that the log keeps once it has seen so many.
const callsKept = 250_000

// Call is one request that reached a provider.
type Call struct {
	At             time.Time // of arrival
	AnsweredAt     time.Time // zero while the answer is being worked on or held up
	Provider       string
	Method         string
	Route          string // the matched pattern's path, such as /v1/customers/{id}
	Status         int    // zero when no answer was given (yet)
	Fault          FaultKind
	IdempotencyKey string
}

// Succeeded says that the provider answered 2xx. With Truncate the client cannot read it.
func (c Call) Succeeded() bool { return c.Status >= 200 && c.Status < 300 }

// Calls is a part of the call log, oldest first.
type Calls []Call

// Where keeps the calls for which keep returns true.
func (c Calls) Where(keep func(Call) bool) Calls {
	var kept Calls
	for _, call := range c {
		if keep(call) {
			kept = append(kept, call)
		}
	}
	return kept
}

// Since keeps the calls that arrived at the moment or later.
func (c Calls) Since(moment time.Time) Calls {
	return c.Where(func(call Call) bool { return !call.At.Before(moment) })
}

// Before keeps the calls that arrived before the moment.
func (c Calls) Before(moment time.Time) Calls {
	return c.Where(func(call Call) bool { return call.At.Before(moment) })
}

// To keeps the calls of one method and route, such as "POST", "/v1/customers".
func (c Calls) To(method, route string) Calls {
	return c.Where(func(call Call) bool { return call.Method == method && call.Route == route })
}

// WithStatus keeps the calls that were answered so.
func (c Calls) WithStatus(status int) Calls {
	return c.Where(func(call Call) bool { return call.Status == status })
}

// FirstSuccess is when the first 2xx answer was given, in order of the answers; false if none was.
func (c Calls) FirstSuccess() (time.Time, bool) {
	successes := c.Where(Call.Succeeded)
	if len(successes) == 0 {
		return time.Time{}, false
	}
	first := slices.MinFunc(successes, func(a, b Call) int { return a.AnsweredAt.Compare(b.AnsweredAt) })
	return first.AnsweredAt, true
}

// CallCount is how often something was asked and answered in the same way.
type CallCount struct {
	Provider string    `json:"provider"`
	Method   string    `json:"method"`
	Route    string    `json:"route"`
	Status   int       `json:"status"`
	Fault    FaultKind `json:"fault,omitempty"`
	Count    int       `json:"count"`
}

// Counts adds the calls up by provider, method, route, status and fault, in that order.
func (c Calls) Counts() []CallCount {
	sums := map[CallCount]int{}
	for _, call := range c {
		sums[CallCount{
			Provider: call.Provider, Method: call.Method, Route: call.Route,
			Status: call.Status, Fault: call.Fault,
		}]++
	}
	counts := make([]CallCount, 0, len(sums))
	for count, n := range sums {
		count.Count = n
		counts = append(counts, count)
	}
	slices.SortFunc(counts, func(a, b CallCount) int {
		return cmp.Or(
			cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Route, b.Route), cmp.Compare(a.Method, b.Method),
			cmp.Compare(a.Status, b.Status), cmp.Compare(a.Fault, b.Fault),
		)
	})
	return counts
}

// callLog keeps the newest calls, and exact counts of what must never happen.
type callLog struct {
	mu      sync.Mutex
	calls   []*Call
	dropped int
	keyless int // POSTs without the idempotency key that they need
}

// arrived logs a call that has no answer yet; the result is for answered.
func (l *callLog) arrived(c Call, needsKey bool) *Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.calls) >= 2*callsKept {
		l.dropped += callsKept
		l.calls = slices.Clone(l.calls[callsKept:])
	}
	if needsKey && c.IdempotencyKey == "" {
		l.keyless++
	}
	l.calls = append(l.calls, &c)
	return &c
}

func (l *callLog) answered(c *Call, at time.Time, status int, fault FaultKind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.AnsweredAt, c.Status, c.Fault = at, status, fault
}

func (l *callLog) snapshot() Calls {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(Calls, 0, len(l.calls))
	for _, c := range l.calls {
		out = append(out, *c)
	}
	return out
}

func (l *callLog) postsWithoutKey() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.keyless
}

func (l *callLog) droppedCalls() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}
