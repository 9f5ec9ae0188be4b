package simulator_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
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

func TestPayPal_AWriteShowsLittleUnlessAskedForMore(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	call := b.payPal(t)
	made := call.post(payPalSubscriptions, `{"plan_id":"P-PRO"}`, "")
	require.ElementsMatch(t, []string{"id", "status", "links"}, slices.Collect(maps.Keys(made.Body)))

	r := call.request(http.MethodPost, payPalSubscriptions, `{"plan_id":"P-PRO"}`)
	r.Header.Set("Prefer", "return=representation")

	require.Equal(t, "P-PRO", call.send(r).Body["plan_id"])
}

// TestPayPal_RefusesWhatPayPalRefuses has the limits of PayPal's API description.
func TestPayPal_RefusesWhatPayPalRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	call := b.payPal(t)
	id := b.PayPal().CreateSubscription("P-PRO", "u_1").ID
	approved, err := b.PayPal().Approve(id)
	require.NoError(t, err)
	long := strings.Repeat("x", 129)
	for _, wrong := range []struct{ path, body, field, issue string }{
		{"", ``, "", "MISSING_REQUEST_BODY"},
		{"", `{`, "", "MALFORMED_REQUEST_JSON"},
		{"", `{}`, "/plan_id", "MISSING_REQUIRED_PARAMETER"},
		{"", `{"plan_id":7}`, "", "INVALID_PARAMETER_SYNTAX"},
		{"", `{"plan_id":"P-"}`, "/plan_id", "INVALID_PARAMETER_VALUE"},
		{"", `{"plan_id":"` + long + `"}`, "/plan_id", "INVALID_STRING_MAX_LENGTH"},
		{"", `{"plan_id":"P-PRO","custom_id":""}`, "/custom_id", "INVALID_PARAMETER_VALUE"},
		{"", `{"plan_id":"P-PRO","custom_id":"` + long + `"}`, "/custom_id", "INVALID_STRING_MAX_LENGTH"},
		{"", `{"plan_id":"P-PRO","custom_id":"\u00fc"}`, "/custom_id", "INVALID_PARAMETER_SYNTAX"},
		{"", `{"plan_id":"P-PRO","quantity":"two"}`, "/quantity", "INVALID_PARAMETER_SYNTAX"},
		{"/" + id + "/suspend", ``, "", "MISSING_REQUEST_BODY"},
		{"/" + id + "/suspend", `{}`, "/reason", "MISSING_REQUIRED_PARAMETER"},
		{"/" + id + "/cancel", `{"reason":""}`, "/reason", "INVALID_PARAMETER_VALUE"},
		{"/" + id + "/cancel", `{"reason":"` + long + `"}`, "/reason", "INVALID_STRING_MAX_LENGTH"},
		{"/" + id + "/activate", `{"reason":"` + long + `"}`, "/reason", "INVALID_STRING_MAX_LENGTH"},
	} {
		got := call.post(payPalSubscriptions+wrong.path, wrong.body, "")
		require.Equal(t, http.StatusBadRequest, got.Status, wrong)
		require.Equal(t, "INVALID_REQUEST", got.Name, wrong)
		require.Equal(t, wrong.issue, got.Details[0].Issue, wrong)
		require.Equal(t, wrong.field, got.Details[0].Field, wrong)
	}
	require.Equal(t, []simulator.PayPalSubscription{approved}, b.PayPal().Subscriptions(), "nothing was made, and nothing changed")
}

func TestPayPal_ASuspensionEndsWithoutAReason(t *testing.T) {
	t.Parallel()
	for _, body := range []string{``, `{}`, `{"reason":"paid"}`} {
		b := setup(t, simulator.Config{})
		call := b.payPal(t)
		id := b.PayPal().CreateSubscription("P-PRO", "u_1").ID
		_, err := b.PayPal().Approve(id)
		require.NoError(t, err)
		require.Equal(t, http.StatusNoContent, call.post(payPalSubscriptions+"/"+id+"/suspend", `{"reason":"a pause"}`, "").Status)

		require.Equal(t, http.StatusNoContent, call.post(payPalSubscriptions+"/"+id+"/activate", body, "").Status, body)

		active, _ := b.PayPal().Subscription(id)
		require.Equal(t, "ACTIVE", active.Status)
	}
}
