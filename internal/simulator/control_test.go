package simulator_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"

	"github.com/holdfast/holdfast/internal/simulator"
)

func TestControl_Faults(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	put := b.control(t, "PUT", "/faults", `[
		{"kind": "429", "method": "POST", "path_prefix": "/v1/customers", "times": 1, "probability": 1, "retry_after": 3},
		{"kind": "latency", "delay_ms": 1, "jitter_ms": 1}]`)
	require.Equal(t, http.StatusOK, put.status, put.body)

	_, err := b.create(t.Context(), "u_1", "k_1")
	require.Equal(t, "3", stripeErr(t, err).LastResponse.Header.Get("Retry-After"))
	_, err = b.create(t.Context(), "u_1", "k_1")
	require.NoError(t, err)

	active := decodeJSON[[]simulator.ActiveFault](t, b.control(t, "GET", "/faults", "").body)
	require.Equal(t, b.Faults(), active)
	require.Equal(t, 1, active[0].Hits)
	require.Equal(t, 2, active[1].Hits)

	require.Equal(t, http.StatusOK, b.control(t, "DELETE", "/faults", "").status)
	require.Empty(t, b.Faults())
}

func TestControl_RefuseAndRestore(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	require.Equal(t, http.StatusOK, b.control(t, "PUT", "/faults", `[{"kind": "refuse"}]`).status)
	_, err := b.stripe().Balance.Get(nil)
	require.Error(t, err)

	require.Equal(t, http.StatusOK, b.control(t, "DELETE", "/faults", "").status, "the control endpoint stays up")
	_, err = b.stripe().Balance.Get(nil)
	require.NoError(t, err)
}

func TestControl_Stripe(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	ok := func(method, path, body string) reply {
		got := b.control(t, method, path, body)
		require.Equal(t, http.StatusOK, got.status, "%s %s: %s", method, path, got.body)
		return got
	}
	ok("PUT", "/stripe/keys", `{"accepted": ["sk_test_new"], "expired": ["`+simulator.DefaultStripeKey+`"]}`)
	_, err := b.stripe().Balance.Get(nil)
	require.Equal(t, stripe.ErrorCodeAPIKeyExpired, stripeErr(t, err).Code)
	ok("PUT", "/stripe/keys", `{"accepted": ["`+simulator.DefaultStripeKey+`"]}`)

	ok("PUT", "/stripe/promotion-codes", `[{"code": "SPRING", "id": "promo_spring", "percent_off": 30}]`)
	seeded := decodeJSON[simulator.Customer](t, ok("PUT", "/stripe/customers",
		`{"id": "cus_theirs", "email": "theirs@example.com", "promotion_code": "promo_spring", "metadata": {"crm": "7"}, "created": "2020-01-02T03:04:05Z"}`).body)
	require.Equal(t, []simulator.Customer{seeded}, b.Stripe().Customers())
	require.Equal(t, "promo_spring", seeded.PromotionCode)
	require.Equal(t, b.Stripe().Customers(), decodeJSON[[]simulator.Customer](t, ok("GET", "/customers", "").body))

	ok("PUT", "/stripe/rejected-emails", `{"u_1@example.com": "email_invalid"}`)
	_, err = b.create(t.Context(), "u_1", "k_1")
	require.Equal(t, stripe.ErrorCodeEmailInvalid, stripeErr(t, err).Code)
	ok("PUT", "/stripe/rejected-emails", `{}`)
	require.Equal(t, map[string]int{"pruned": 1}, decodeJSON[map[string]int](t, ok("DELETE", "/stripe/idempotency-keys", "").body))
	for _, key := range []string{"k_1", "k_2"} {
		_, err = b.create(t.Context(), "u_1", key)
		require.NoError(t, err)
	}
	require.Equal(t, b.Stripe().Audit(), decodeJSON[simulator.Audit](t, ok("GET", "/audit", "").body))
	require.Len(t, b.Stripe().Audit().Duplicates["u_1"], 2)

	ok("PUT", "/stripe/rate-limit", `{"calls_per_second": 1}`)
	eventually(t, "the limit is reached", func() bool { _, err := b.stripe().Balance.Get(nil); return err != nil })
	ok("GET", "/healthz", "")
	require.Contains(t, ok("GET", "/", "").body, "PUT /stripe/rate-limit")
}

func TestControl_Calls(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	_, err := b.create(t.Context(), "u_1", "k_1")
	require.NoError(t, err)
	b.send(t, "POST", "/v1/customers", nil, nil)

	type report struct {
		Total           int                   `json:"total"`
		PostsWithoutKey int                   `json:"posts_without_key"`
		FirstSuccess    time.Time             `json:"first_success"`
		Counts          []simulator.CallCount `json:"counts"`
	}
	all := decodeJSON[report](t, b.control(t, "GET", "/calls", "").body)
	require.Equal(t, 2, all.Total)
	require.Equal(t, 1, all.PostsWithoutKey)
	require.True(t, all.FirstSuccess.Equal(b.Calls()[0].AnsweredAt))
	require.Equal(t, b.Calls().Counts(), all.Counts)

	later := b.control(t, "GET", "/calls?since="+time.Now().Add(time.Hour).UTC().Format(time.RFC3339), "")
	require.Zero(t, decodeJSON[report](t, later.body).Total)
}

func TestControl_RefusesNonsense(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	for _, call := range []struct{ method, path, body string }{
		{"PUT", "/faults", `[{"kind": "explode"}]`},
		{"PUT", "/faults", `[{"kind": "hang", "colour": "red"}]`},
		{"PUT", "/faults", `{`},
		{"GET", "/calls?since=yesterday", ""},
		{"PUT", "/stripe/keys", `[]`},
		{"PUT", "/stripe/promotion-codes", `[{}]`},
		{"PUT", "/stripe/customers", `{"email": "no"}`},
		{"PUT", "/stripe/rejected-emails", `null`},
		{"PUT", "/stripe/rate-limit", `{"calls_per_second": "many"}`},
	} {
		got := b.control(t, call.method, call.path, call.body)
		require.Equal(t, http.StatusBadRequest, got.status, "%+v", call)
		require.NotEmpty(t, decodeJSON[map[string]string](t, got.body)["error"], "%+v", call)
	}
	require.Equal(t, http.StatusNotFound, b.control(t, "GET", "/nothing", "").status)
	require.Empty(t, b.Faults())
}
