package simulator

import (
	"fmt"
	"net/http"
	"sync"
)

const maxIdempotencyKey = 255

// stripeIdempotency stores the answer to the first execution under each key, whatever it was, and
// replays it (docs.stripe.com/api/idempotent_requests). Of Stripe's 24 hours it knows nothing:
// keys last until they are pruned.
type stripeIdempotency struct {
	mu      sync.Mutex
	answers map[string]*stripeStored
}

// stripeStored is what is known of a key; its answer is nil while the first request executes.
type stripeStored struct {
	first  stripeKeyed
	answer *answer
}

// stripeKeyed is a request as far as it counts for its key.
type stripeKeyed struct {
	key       string // with the connected account, which is the key's scope
	shownKey  string
	endpoint  string
	params    string
	requestID string
}

// once executes a request under a key for the first time, or gives the stored answer.
func (s *stripeIdempotency) once(request stripeKeyed, execute func() answer) answer {
	if len(request.shownKey) > maxIdempotencyKey {
		return invalidRequest("", "", fmt.Sprintf("Idempotency keys may have up to %d characters.", maxIdempotencyKey)).answer()
	}
	if known := s.claim(request); known != nil {
		return *known
	}
	a := execute()
	s.store(request, a)
	return a.under(request.shownKey, request.requestID)
}

// claim takes the key for the request, or returns the answer for a key that was taken before.
func (s *stripeIdempotency) claim(request stripeKeyed) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored, taken := s.answers[request.key]
	if !taken {
		s.answers[request.key] = &stripeStored{first: request}
		return nil
	}
	var a answer
	switch {
	case stored.first.endpoint != request.endpoint:
		a = idempotencyError(fmt.Sprintf("Keys for idempotent requests can only be used for the same endpoint they "+
			"were first used for ('%s' vs '%s'). Try using a key other than '%s' if you meant to execute a different request.",
			request.endpoint, stored.first.endpoint, request.shownKey)).answer()
	case stored.first.params != request.params:
		a = idempotencyError(fmt.Sprintf("Keys for idempotent requests can only be used with the same parameters they "+
			"were first used with. Try using a key other than '%s' if you meant to execute a different request.",
			request.shownKey)).answer()
	case stored.answer == nil:
		a = keyInUse(request.shownKey).answer()
	default:
		a = stored.answer.under(request.shownKey, stored.first.requestID)
		a.header.Set("Idempotent-Replayed", "true")
	}
	return &a
}

func (s *stripeIdempotency) store(request stripeKeyed, a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[request.key].answer = &a
}

// PruneIdempotencyKeys forgets every key whose first execution is over, as Stripe may once a key
// is 24 hours old, and returns how many there were. The same key is then a new request.
func (s *Stripe) PruneIdempotencyKeys() int {
	s.idempotency.mu.Lock()
	defer s.idempotency.mu.Unlock()
	pruned := 0
	for key, stored := range s.idempotency.answers {
		if stored.answer != nil {
			delete(s.idempotency.answers, key)
			pruned++
		}
	}
	return pruned
}

// under adds the headers that every answer to a keyed request carries, to a copy.
func (a answer) under(key, originalRequest string) answer {
	a.header = a.header.Clone()
	a.header.Set("Idempotency-Key", key)
	a.header.Set("Original-Request", originalRequest)
	return a
}

func idempotencyError(message string) *stripeError {
	return &stripeError{status: http.StatusBadRequest, Type: "idempotency_error", Message: message}
}

func keyInUse(key string) *stripeError {
	e := idempotencyError(fmt.Sprintf("There is currently another in-progress request using this Stripe account and "+
		"the Idempotency Key '%s'. Please try again later.", key))
	e.status = http.StatusConflict
	e.Code = "idempotency_key_in_use"
	return e
}
