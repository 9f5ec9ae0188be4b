package simulator

import (
	"net/http"
	"slices"
	"strings"
	"sync"
)

// stripeKeys are the account's secret keys.
type stripeKeys struct {
	mu       sync.Mutex
	accepted []string
	expired  []string
}

// SetKeys replaces the accepted secret keys and the keys that are known but expired. Any other
// key is invalid.
func (s *Stripe) SetKeys(accepted, expired []string) {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	s.keys.accepted, s.keys.expired = slices.Clone(accepted), slices.Clone(expired)
}

func (k *stripeKeys) check(r *http.Request) *stripeError {
	key := secretKey(r)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case key == "":
		return noKey()
	case slices.Contains(k.expired, key):
		return expiredKey(key)
	case !slices.Contains(k.accepted, key):
		return invalidKey(key)
	}
	return nil
}

func secretKey(r *http.Request) string {
	if user, _, ok := r.BasicAuth(); ok {
		return user
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
