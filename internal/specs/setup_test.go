package specs_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/internal/simulator"
)

const (
	payPalSubscriptions = "paypal_billing_subscriptions_v1.json"
	payPalWebhooks      = "paypal_notifications_webhooks_v1.json"
	payPalPayouts       = "paypal_payments_payouts_batch_v1.json"
	payPalReports       = "paypal_reporting_transactions_v1.json"

	subscriptionsPath = "/v1/billing/subscriptions"
	planID            = "P-5ML4271244454362WXNWU5NQ"
)

// payPal is one of PayPal's documents, and the simulator behind the checks against it.
type payPal struct {
	*simulator.Simulator

	checked *checker
	url     string
}

func setupPayPal(t *testing.T) payPal {
	t.Helper()
	return setupPayPalOf(t, payPalSubscriptions)
}

func setupPayPalOf(t *testing.T, file string) payPal {
	t.Helper()
	document := load(t, file)
	p := payPal{Simulator: startSimulator(t, simulator.Config{})}
	p.checked, p.url = document.between(t, p.PayPalURL())
	return p
}

func startSimulator(t *testing.T, cfg simulator.Config) *simulator.Simulator {
	t.Helper()
	sim, err := simulator.Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sim.Close()) })
	return sim
}

func (p payPal) client(t *testing.T) *paypal.Client {
	t.Helper()
	return newClient(t, p.url)
}

func newClient(t *testing.T, base string) *paypal.Client {
	t.Helper()
	client, err := paypal.New(paypal.Config{
		ClientID: simulator.DefaultPayPalClientID, ClientSecret: simulator.DefaultPayPalClientSecret, APIBase: base,
	})
	require.NoError(t, err)
	return client
}

// caller is a client without an adapter, none of which sends all that the simulator answers.
func (p payPal) caller(t *testing.T) caller {
	t.Helper()
	r := newRequest(t, http.MethodPost, p.url+"/v1/oauth2/token", "grant_type=client_credentials")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(simulator.DefaultPayPalClientID, simulator.DefaultPayPalClientSecret)
	granted := send(t, r)
	require.Equal(t, http.StatusOK, granted.status)
	return caller{t: t, base: p.url, token: granted.text("access_token")}
}

type caller struct {
	t                              *testing.T
	base, token, requestID, prefer string // the headers only if they are not empty
}

func (c caller) get(path string) answer { return c.call(http.MethodGet, path, "") }

func (c caller) post(path, body string) answer { return c.call(http.MethodPost, path, body) }

func (c caller) call(method, path, body string) answer {
	c.t.Helper()
	r := newRequest(c.t, method, c.base+path, body)
	r.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.requestID != "" {
		r.Header.Set("Paypal-Request-Id", c.requestID)
	}
	if c.prefer != "" {
		r.Header.Set("Prefer", c.prefer)
	}
	return send(c.t, r)
}

type answer struct {
	status int
	body   []byte
}

// text is a field of the answer.
func (a answer) text(field string) string {
	var object map[string]any
	if json.Unmarshal(a.body, &object) != nil {
		return ""
	}
	text, _ := object[field].(string)
	return text
}

func newRequest(t *testing.T, method, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	return r
}

func send(t *testing.T, r *http.Request) answer {
	t.Helper()
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return answer{response.StatusCode, body}
}

// serve answers every request in the same way.
func serve(t *testing.T, status int, contentType, body string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// arrival is a webhook as it was delivered.
type arrival struct {
	header http.Header
	event  map[string]any
}

// receiveEvents gives what is delivered to a URL.
func receiveEvents(t *testing.T) (arrived chan arrival, target string) {
	t.Helper()
	arrived = make(chan arrival, 100)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		a := arrival{header: r.Header}
		if body, err := io.ReadAll(r.Body); err != nil || json.Unmarshal(body, &a.event) != nil {
			t.Errorf("read an event: %v, %s", err, body)
		}
		arrived <- a
	}))
	t.Cleanup(server.Close)
	return arrived, server.URL
}

// verification is what one would ask PayPal to verify the webhook with.
func (a arrival) verification(webhookID string) map[string]any {
	return map[string]any{
		"auth_algo":         a.header.Get("Paypal-Auth-Algo"),
		"cert_url":          a.header.Get("Paypal-Cert-Url"),
		"transmission_id":   a.header.Get("Paypal-Transmission-Id"),
		"transmission_sig":  a.header.Get("Paypal-Transmission-Sig"),
		"transmission_time": a.header.Get("Paypal-Transmission-Time"),
		"webhook_id":        webhookID,
		"webhook_event":     a.event,
	}
}
