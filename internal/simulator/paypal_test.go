package simulator_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/simulator"
)

const payPalSubscriptions = "/v1/billing/subscriptions"

// payPalCaller calls PayPal's API as clients do, under a token.
type payPalCaller struct {
	bundle

	t     *testing.T
	token string
}

// payPalAnswer is the part of PayPal's answers that the tests read.
type payPalAnswer struct {
	Status  int            `json:"-"`
	Body    map[string]any `json:"-"`
	ID      string         `json:"id"`
	Token   string         `json:"access_token"`
	Name    string         `json:"name"`
	Details []struct {
		Field string `json:"field"`
		Issue string `json:"issue"`
	} `json:"details"`
}

func (b bundle) payPal(t *testing.T) payPalCaller {
	t.Helper()
	c := payPalCaller{bundle: b, t: t}
	r := c.request(http.MethodPost, "/v1/oauth2/token", "grant_type=client_credentials")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(simulator.DefaultPayPalClientID, simulator.DefaultPayPalClientSecret)
	c.token = c.send(r).Token
	return c
}

func (c payPalCaller) request(method, path, body string) *http.Request {
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.PayPalURL()+path, strings.NewReader(body))
	require.NoError(c.t, err)
	r.Header.Set("Authorization", "Bearer "+c.token)
	return r
}

// post sends a write, under a request id unless that is empty.
func (c payPalCaller) post(path, body, requestID string) payPalAnswer {
	r := c.request(http.MethodPost, path, body)
	if requestID != "" {
		r.Header.Set("Paypal-Request-Id", requestID)
	}
	return c.send(r)
}

func (c payPalCaller) send(r *http.Request) payPalAnswer {
	response, err := c.http.Do(r)
	require.NoError(c.t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(c.t, err)
	require.NoError(c.t, response.Body.Close())
	a := payPalAnswer{Status: response.StatusCode}
	if len(body) > 0 {
		require.NoError(c.t, json.Unmarshal(body, &a))
		require.NoError(c.t, json.Unmarshal(body, &a.Body))
	}
	return a
}

func TestPayPal_StallKeepsTheRequestIDInUse(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	call := b.payPal(t)
	require.NoError(t, b.SetFaults(simulator.Fault{Kind: simulator.Stall}))
	done := make(chan payPalAnswer, 2)
	for range 2 {
		go func() { done <- call.post(payPalSubscriptions, `{"plan_id":"P-PRO"}`, "k_1") }()
	}
	// Whichever comes second is told at once.
	require.Equal(t, http.StatusConflict, (<-done).Status)
	require.Empty(t, b.PayPal().Subscriptions())

	require.NoError(t, b.ClearFaults())
	made := <-done

	require.Equal(t, http.StatusCreated, made.Status)
	again := call.post(payPalSubscriptions, `{"plan_id":"P-PRO"}`, "k_1")
	require.Equal(t, http.StatusOK, again.Status)
	require.Equal(t, made.ID, again.ID)
	require.Len(t, b.PayPal().Subscriptions(), 1)
}

func TestPayPal_ARequestIDShowsWhatWasDone(t *testing.T) {
	t.Parallel()
	for kind, want := range map[simulator.FaultKind]int{
		simulator.ExecuteThen500: http.StatusOK,      // done, and shown
		simulator.Stored500:      http.StatusCreated, // not done, so it is done now
	} {
		b := setup(t, simulator.Config{})
		call := b.payPal(t)
		require.NoError(t, b.SetFaults(simulator.Fault{Kind: kind, Times: 1}))
		require.Equal(t, http.StatusInternalServerError, call.post(payPalSubscriptions, `{"plan_id":"P-PRO"}`, "k_1").Status)

		require.Equal(t, want, call.post(payPalSubscriptions, `{"plan_id":"P-PRO"}`, "k_1").Status, kind)
		require.Len(t, b.PayPal().Subscriptions(), 1, kind)
	}
}
