package specs_test

import (
	"fmt"
	"net/http"
	"strings"
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

	require.Equal(t, http.StatusBadRequest, call.post(subscriptionsPath, "").status)
	whole, keyed := call, call
	whole.prefer, keyed.requestID = "return=representation", "k"
	require.Equal(t, http.StatusCreated, whole.post(subscriptionsPath, `{"plan_id":"`+planID+`"}`).status)
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
		"POST /v1/billing/subscriptions 400",
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

// TestPayPalRefusals sends what the document forbids, and checks that the simulator refuses it in
// the document's words.
func TestPayPalRefusals(t *testing.T) {
	t.Parallel()
	p := setupPayPal(t)
	call := p.caller(t)
	long := strings.Repeat("x", 200)
	for _, wrong := range []struct{ path, body string }{
		{"", `{}`},
		{"", `{"plan_id":7}`},
		{"", `{"plan_id":"P-"}`},
		{"", `{"plan_id":"` + long + `"}`},
		{"", `{"plan_id":"P-PRO","custom_id":""}`},
		{"", `{"plan_id":"P-PRO","custom_id":"` + long + `"}`},
		{"", `{"plan_id":"P-PRO","quantity":"two"}`},
		{"/I-1/activate", `{"reason":"` + long + `"}`},
		{"/I-1/suspend", `{"reason":"` + long + `"}`},
		{"/I-1/cancel", `{"reason":"` + long + `"}`},
	} {
		refused := call.post(subscriptionsPath+wrong.path, wrong.body)

		require.Equal(t, http.StatusBadRequest, refused.status, wrong)
		found := p.checked.found()
		require.Len(t, found, 1, wrong)
		require.Contains(t, found[0], "request POST ", wrong)
	}
}

// TestPayPalSaysMoreThanItsDocument has the answers that the document does not know, each with what
// is found: those of PayPal's gateway and edge, which clients meet all the same, and refusals of
// what it requires without saying how it refuses.
func TestPayPalSaysMoreThanItsDocument(t *testing.T) {
	t.Parallel()
	p := setupPayPal(t)
	call := p.caller(t)
	const one = subscriptionsPath + "/I-1"
	require.Equal(t, http.StatusUnauthorized, caller{t: t, base: p.url, token: "expired"}.get(one).status)
	requireFound(t, p.checked, "answer 401")

	require.Equal(t, http.StatusBadRequest, call.post(one+"/cancel", "").status)
	requireFound(t, p.checked, "answer 400")
	for _, body := range []string{`{}`, `{"reason":7}`, `{"reason":`} {
		require.Equal(t, http.StatusBadRequest, call.post(one+"/cancel", body).status, body)
		requireFound(t, p.checked, "request", "answer 400")
	}

	for kind, status := range map[simulator.FaultKind]int{
		simulator.TooManyRequests: http.StatusTooManyRequests,
		simulator.BadGateway:      http.StatusBadGateway,
		simulator.Unavailable:     http.StatusServiceUnavailable,
	} {
		require.NoError(t, p.SetFaults(simulator.Fault{Kind: kind}))
		require.Equal(t, status, call.get(one).status)
		requireFound(t, p.checked, fmt.Sprintf("answer %d", status))
	}
}

// requireFound takes what was found, which is about these.
func requireFound(t *testing.T, checked *checker, about ...string) {
	t.Helper()
	found := checked.found()
	require.Len(t, found, len(about), "%q", found)
	for i := range about {
		require.True(t, strings.HasPrefix(found[i], about[i]), found[i])
	}
}

// TestPayPalEvents holds what is delivered against the document's request to verify a webhook,
// which has its headers and the event, and the subscription in it against the subscription.
func TestPayPalEvents(t *testing.T) {
	t.Parallel()
	events, subscriptions := load(t, payPalWebhooks), load(t, payPalSubscriptions)
	arrived, target := receiveEvents(t)
	sim := startSimulator(t, simulator.Config{PayPalWebhookURL: target})
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
		require.NoError(t, events.check("verify_webhook_signature", a.verification(p.WebhookID())))
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
