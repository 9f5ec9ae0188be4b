package stripe_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/stripe"
)

const testKey = "sk_test_simulator"

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

func newClient(t *testing.T, cfg stripe.Config) *stripe.Client {
	t.Helper()
	if cfg.SecretKey == "" {
		cfg.SecretKey = testKey
	}
	client, err := stripe.New(cfg)
	require.NoError(t, err)
	return client
}

// failureOf is the failure that an error must be.
func failureOf(t *testing.T, err error) *provider.Failure {
	t.Helper()
	var failure *provider.Failure
	require.ErrorAs(t, err, &failure)
	require.Equal(t, provider.Stripe, failure.Provider)
	return failure
}

// received is a request as a server got it.
type received struct {
	method string
	path   string
	query  url.Values
	form   url.Values
	header http.Header
	raw    string // the body to the byte
}

// script is a server that gives one answer to everything, and keeps what it was asked.
type script struct {
	status int
	header map[string]string
	body   string

	mu   sync.Mutex
	seen []received
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	form, formErr := url.ParseQuery(string(body))
	if err != nil || formErr != nil {
		http.Error(w, "unreadable request", http.StatusTeapot)
		return
	}
	s.mu.Lock()
	s.seen = append(s.seen, received{r.Method, r.URL.EscapedPath(), r.URL.Query(), form, r.Header.Clone(), string(body)})
	s.mu.Unlock()
	for name, value := range s.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(s.status)
	_, _ = io.WriteString(w, s.body)
}

func (s *script) requests() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// answering gives a client whose Stripe answers as the script says.
func answering(t *testing.T, s *script) *stripe.Client {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return newClient(t, stripe.Config{APIBase: server.URL})
}
