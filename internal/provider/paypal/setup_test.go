package paypal_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/internal/simulator"
)

const (
	testID     = "test-client-id"
	testSecret = "test-client-secret"

	tokenPath = "/v1/oauth2/token"
	subPath   = "/v1/billing/subscriptions/I-BW452GLLEP1G"
	subID     = "I-BW452GLLEP1G"

	subscriptionJSON = `{"id":"I-BW452GLLEP1G","plan_id":"P-5ML4271244454362WXNWU5NQ","status":"ACTIVE","custom_id":"u_1",
		"quantity":"20","start_time":"2026-01-01T00:00:00Z","create_time":"2025-12-31T23:00:00-01:00",
		"update_time":"2026-02-02T00:00:02Z","status_update_time":"2026-01-01T00:00:01Z","plan_overridden":false,
		"subscriber":{"email_address":"ada@example.com"},
		"billing_info":{"outstanding_balance":{"currency_code":"USD","value":"1.50"},"failed_payments_count":0,
			"last_payment":{"amount":{"currency_code":"EUR","value":"500.00"},"time":"2026-02-01T01:20:49Z"},
			"next_billing_time":"2026-03-01T00:20:49Z","cycle_executions":[]}}`
)

// faultClasses are the classes of a write and of a read that meet a fault, whatever they are about.
var faultClasses = map[simulator.FaultKind]struct{ write, read provider.Class }{
	simulator.Reset:           {unknown, transient},
	simulator.ServerError:     {unknown, transient},
	simulator.BadGateway:      {unknown, transient},
	simulator.Unavailable:     {unknown, transient},
	simulator.TooManyRequests: {rateLimited, rateLimited},
	simulator.WrongKey:        {misconfigured, misconfigured},
	simulator.ExecuteThenDrop: {unknown, transient},
	simulator.ExecuteThen500:  {unknown, transient},
	simulator.Stored500:       {unknown, transient},
	simulator.Truncate:        {unknown, transient},
}

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

// calls are the routes and results that were seen, in order.
func (r *recorder) calls() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := make([]string, 0, len(r.seen))
	for _, o := range r.seen {
		calls = append(calls, fmt.Sprintf("%s %s %s", o.Method, o.Route, o.Result))
	}
	return calls
}

func newClient(t *testing.T, cfg paypal.Config) *paypal.Client {
	t.Helper()
	if cfg.ClientID == "" {
		cfg.ClientID, cfg.ClientSecret = testID, testSecret
	}
	client, err := paypal.New(cfg)
	require.NoError(t, err)
	return client
}

// failureOf is the failure that an error must be.
func failureOf(t *testing.T, err error) *provider.Failure {
	t.Helper()
	var failure *provider.Failure
	require.ErrorAs(t, err, &failure)
	require.Equal(t, provider.PayPal, failure.Provider)
	return failure
}

// received is a request as a server got it.
type received struct {
	call   string // method and path
	query  string
	body   string
	header http.Header
}

// reply is an answer that a test decides on.
type reply struct {
	status int
	header map[string]string
	body   string
}

// script is a PayPal that grants the tokens t1, t2, … unless it has another answer for that, and
// gives one answer to everything else. It keeps what it was asked.
type script struct {
	reply

	grant *reply // the token endpoint's answer; nil grants

	mu     sync.Mutex
	seen   []received
	tokens int
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "unreadable request", http.StatusTeapot)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, received{r.Method + " " + r.URL.EscapedPath(), r.URL.RawQuery, string(body), r.Header.Clone()})
	if r.URL.Path == tokenPath {
		s.answerToken(w)
	} else {
		s.write(w)
	}
}

func (s *script) answerToken(w http.ResponseWriter) {
	if s.grant != nil {
		s.grant.write(w)
		return
	}
	s.tokens++
	reply{body: fmt.Sprintf(`{"access_token":"t%d","token_type":"Bearer","expires_in":32400}`, s.tokens)}.write(w)
}

func (a reply) write(w http.ResponseWriter) {
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	_, _ = io.WriteString(w, a.body)
}

func (s *script) requests() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// calls are the methods and paths that were asked, in order.
func (s *script) calls() []string {
	var calls []string
	for _, r := range s.requests() {
		calls = append(calls, r.call)
	}
	return calls
}

func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// answering gives a client whose PayPal answers as the script says.
func answering(t *testing.T, s *script) *paypal.Client {
	t.Helper()
	return newClient(t, paypal.Config{APIBase: serve(t, s)})
}
