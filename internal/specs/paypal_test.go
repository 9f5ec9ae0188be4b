package specs_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/simulator"
)

// TestPayPalAdapter sends every request that the adapter has.
func TestPayPalAdapter(t *testing.T) {
	t.Parallel()
	p := setupPayPal(t)
	client := p.client(t)

	require.NoError(t, client.Probe(t.Context()))
	id := p.PayPal().CreateSubscription(planID, "u_1").ID
	_, err := client.GetSubscription(t.Context(), id)
	require.NoError(t, err)
	_, err = p.PayPal().Approve(id)
	require.NoError(t, err)
	_, err = client.GetSubscription(t.Context(), id)
	require.NoError(t, err)
	_, err = client.GetSubscription(t.Context(), "I-NOBODYS")
	require.Error(t, err)

	require.Equal(t, []string{
		"GET /v1/billing/subscriptions/{id} 200",
		"GET /v1/billing/subscriptions/{id} 404",
		"POST /v1/oauth2/token 200",
	}, p.checked.seen())
}

// TestPayPalSubscriptions asks the simulator for all that it answers to what is asked rightly.
func TestPayPalSubscriptions(t *testing.T) {
	t.Parallel()
	p := setupPayPal(t)
	call := p.caller(t)
	require.Equal(t, http.StatusUnauthorized, caller{t: t, base: p.url}.get(subscriptionsPath+"/I-1").status)

	keyed := call
	keyed.requestID = "k"
	created := keyed.post(subscriptionsPath, `{"plan_id":"`+planID+`","custom_id":"u_1","quantity":"2"}`)
	require.Equal(t, http.StatusCreated, created.status)
	require.Equal(t, http.StatusOK, keyed.post(subscriptionsPath, `{"plan_id":"`+planID+`","custom_id":"u_1","quantity":"2"}`).status)
	one := subscriptionsPath + "/" + created.text("id")
	_, err := p.PayPal().Approve(created.text("id"))
	require.NoError(t, err)
	for _, step := range []struct {
		action, body string
		status       int
	}{
		{"/activate", `{"reason":"it is active"}`, http.StatusUnprocessableEntity},
		{"/suspend", `{"reason":"a pause"}`, http.StatusNoContent},
		{"/suspend", `{"reason":"again"}`, http.StatusUnprocessableEntity},
		{"/activate", `{"reason":"and on"}`, http.StatusNoContent},
		{"/cancel", `{"reason":"enough"}`, http.StatusNoContent},
		{"/cancel", `{"reason":"twice"}`, http.StatusUnprocessableEntity},
	} {
		require.Equal(t, step.status, call.post(one+step.action, step.body).status, step.action)
		require.Equal(t, http.StatusOK, call.get(one).status)
	}
	require.Equal(t, http.StatusNotFound, call.get(subscriptionsPath+"/I-1").status)
	for _, action := range []string{"/activate", "/suspend", "/cancel"} {
		require.Equal(t, http.StatusNotFound, call.post(subscriptionsPath+"/I-1"+action, `{"reason":"x"}`).status)
	}
	require.NoError(t, p.SetFaults(simulator.Fault{Kind: simulator.ServerError}))
	require.Equal(t, http.StatusInternalServerError, call.get(one).status)

	require.Equal(t, []string{
		"GET /v1/billing/subscriptions/{id} 200",
		"GET /v1/billing/subscriptions/{id} 401",
		"GET /v1/billing/subscriptions/{id} 404",
		"GET /v1/billing/subscriptions/{id} 500",
		"POST /v1/billing/subscriptions 200",
		"POST /v1/billing/subscriptions 201",
		"POST /v1/billing/subscriptions/{id}/activate 204",
		"POST /v1/billing/subscriptions/{id}/activate 404",
		"POST /v1/billing/subscriptions/{id}/activate 422",
		"POST /v1/billing/subscriptions/{id}/cancel 204",
		"POST /v1/billing/subscriptions/{id}/cancel 404",
		"POST /v1/billing/subscriptions/{id}/cancel 422",
		"POST /v1/billing/subscriptions/{id}/suspend 204",
		"POST /v1/billing/subscriptions/{id}/suspend 404",
		"POST /v1/billing/subscriptions/{id}/suspend 422",
		"POST /v1/oauth2/token 200",
	}, p.checked.seen())
}

func TestPayPalSubscriptionsInEveryStatus(t *testing.T) {
	t.Parallel()
	p := setupPayPal(t)
	call := p.caller(t)
	for _, status := range []string{"APPROVAL_PENDING", "APPROVED", "ACTIVE", "SUSPENDED", "CANCELLED", "EXPIRED"} {
		for _, seed := range []simulator.PayPalSubscription{
			{Status: status},
			{Status: status, PlanID: planID, CustomID: "u_1", Quantity: "3", NextBillingTime: time.Now(), LastPaymentTime: time.Now()},
			{Status: status, LastPaymentTime: time.Now(), LastPaymentAmount: "500", LastPaymentCurrency: "JPY"},
		} {
			put, err := p.PayPal().PutSubscription(seed)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, call.get(subscriptionsPath+"/"+put.ID).status)
		}
	}
}

// TestPayPalSubscriptionBeingMade meets the request id of a request that is still at work.
func TestPayPalSubscriptionBeingMade(t *testing.T) {
	t.Parallel()
	p := setupPayPal(t)
	call := p.caller(t)
	call.requestID = "k"
	require.NoError(t, p.SetFaults(simulator.Fault{Kind: simulator.Stall}))
	answers := make(chan answer, 2)
	for range 2 {
		go func() { answers <- call.post(subscriptionsPath, `{"plan_id":"`+planID+`"}`) }()
	}
	require.Equal(t, http.StatusConflict, (<-answers).status)

	require.NoError(t, p.ClearFaults())
	require.Equal(t, http.StatusCreated, (<-answers).status)
}

// TestPayPalRefusals sends what the document forbids, and checks that the simulator refuses it as
// the document says.
func TestPayPalRefusals(t *testing.T) {
	t.Parallel()
	p := setupPayPal(t)
	call := p.caller(t)
	id := p.PayPal().CreateSubscription(planID, "u_1").ID
	_, err := p.PayPal().Approve(id)
	require.NoError(t, err)
	for _, wrong := range []struct{ path, body string }{
		{"", `{"plan_id":7}`},
		{"", `{}`},
	} {
		require.Equal(t, http.StatusBadRequest, call.post(subscriptionsPath+wrong.path, wrong.body).status, "%s %s", wrong.path, wrong.body)
		found := p.checked.found()
		require.Len(t, found, 1, "%s %s", wrong.path, wrong.body)
		require.Contains(t, found[0], "request POST ")
	}
}

// TestPayPalSaysMoreThanItsDocument has the answers that PayPal gives although its document does
// not know them. The simulator gives them all the same, because clients meet them.
func TestPayPalSaysMoreThanItsDocument(t *testing.T) {
	t.Parallel()
	p := setupPayPal(t)
	call := p.caller(t)
	requireOne := func(status int, got answer) {
		t.Helper()
		require.Equal(t, status, got.status)
		found := p.checked.found()
		require.Len(t, found, 1)
		require.Contains(t, found[0], "answer ")
	}

	requireOne(http.StatusUnauthorized, caller{t: t, base: p.url, token: "expired"}.get(subscriptionsPath+"/I-1"))
	for _, kind := range []simulator.FaultKind{simulator.TooManyRequests, simulator.BadGateway, simulator.Unavailable} {
		require.NoError(t, p.SetFaults(simulator.Fault{Kind: kind}))
		requireOne(map[simulator.FaultKind]int{
			simulator.TooManyRequests: http.StatusTooManyRequests,
			simulator.BadGateway:      http.StatusBadGateway,
			simulator.Unavailable:     http.StatusServiceUnavailable,
		}[kind], call.get(subscriptionsPath+"/I-1"))
	}
}

// TestPayPalEvents holds what is delivered against the document's request to verify a webhook,
// which has its headers and the event, and the subscription in it against the subscription.
func TestPayPalEvents(t *testing.T) {
	t.Parallel()
	events, subscriptions := load(t, payPalWebhooks), load(t, payPalSubscriptions)
	type arrival struct {
		header http.Header
		event  map[string]any
	}
	arrived := make(chan arrival, 100)
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		a := arrival{header: r.Header}
		if body, err := io.ReadAll(r.Body); err != nil || json.Unmarshal(body, &a.event) != nil {
			t.Errorf("read an event: %v, %s", err, body)
		}
		arrived <- a
	}))
	t.Cleanup(target.Close)
	sim := startSimulator(t, simulator.Config{PayPalWebhookURL: target.URL})
	p := sim.PayPal()
	id := p.CreateSubscription(planID, "u_1").ID
	for _, change := range []func(string) (simulator.PayPalSubscription, error){
		p.Approve, p.RenewPayment, p.Suspend, p.Reactivate, p.Cancel,
	} {
		_, err := change(id)
		require.NoError(t, err)
	}
	expiring := p.CreateSubscription(planID, "u_2").ID
	for _, change := range []func(string) (simulator.PayPalSubscription, error){
		p.Approve, p.Expire, func(id string) (simulator.PayPalSubscription, error) { return p.SetStatus(id, "APPROVED") },
	} {
		_, err := change(expiring)
		require.NoError(t, err)
	}
	require.NoError(t, sim.PayPalWebhooks().Await(t.Context()))
	close(arrived)

	var types []string
	for a := range arrived {
		require.NoError(t, events.check("verify_webhook_signature", map[string]any{
			"auth_algo":         a.header.Get("Paypal-Auth-Algo"),
			"cert_url":          a.header.Get("Paypal-Cert-Url"),
			"transmission_id":   a.header.Get("Paypal-Transmission-Id"),
			"transmission_sig":  a.header.Get("Paypal-Transmission-Sig"),
			"transmission_time": a.header.Get("Paypal-Transmission-Time"),
			"webhook_id":        p.WebhookID(),
			"webhook_event":     a.event,
		}))
		if a.event["resource_type"] == "subscription" {
			require.NoError(t, subscriptions.check("subscription", a.event["resource"]))
		}
		types = append(types, a.event["event_type"].(string))
	}
	require.ElementsMatch(t, []string{
		"BILLING.SUBSCRIPTION.CREATED", "BILLING.SUBSCRIPTION.ACTIVATED", "PAYMENT.SALE.COMPLETED", "PAYMENT.SALE.COMPLETED",
		"BILLING.SUBSCRIPTION.SUSPENDED", "BILLING.SUBSCRIPTION.ACTIVATED", "BILLING.SUBSCRIPTION.CANCELLED",
		"BILLING.SUBSCRIPTION.CREATED", "BILLING.SUBSCRIPTION.ACTIVATED", "PAYMENT.SALE.COMPLETED",
		"BILLING.SUBSCRIPTION.EXPIRED", "BILLING.SUBSCRIPTION.UPDATED",
	}, types)
}
