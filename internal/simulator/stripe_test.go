package simulator_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"

	"github.com/holdfast/holdfast/internal/simulator"
)

func TestStripe_Keys(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{StripeKey: "sk_test_first"})
	balance := func(key string) error {
		_, err := b.client(key).Balance.Get(nil)
		return err
	}
	require.NoError(t, balance("sk_test_first"))

	problem := stripeErr(t, balance("sk_test_wrong"))
	require.Equal(t, http.StatusUnauthorized, problem.HTTPStatusCode)
	require.Equal(t, stripe.ErrorTypeInvalidRequest, problem.Type)
	require.NotContains(t, problem.Msg, "sk_test_wrong")

	b.Stripe().SetKeys([]string{"sk_test_second", "sk_test_third"}, []string{"sk_test_first"})
	require.NoError(t, balance("sk_test_second"))
	require.NoError(t, balance("sk_test_third"))
	problem = stripeErr(t, balance("sk_test_first"))
	require.Equal(t, http.StatusUnauthorized, problem.HTTPStatusCode)
	require.Equal(t, stripe.ErrorCodeAPIKeyExpired, problem.Code)
}

func TestStripe_Authorization(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{StripeKey: "sk_test_first"})
	for header, status := range map[string]int{
		"Bearer sk_test_first":          200,
		"Basic c2tfdGVzdF9maXJzdDo=":    200, // sk_test_first:
		"Basic c2tfdGVzdF9zZWNvbmQ6":    401, // sk_test_second:
		"Bearer sk_test_first_and_more": 401,
		"Token sk_test_first":           401,
		"Bearer":                        401,
		"":                              401,
	} {
		got := b.send(t, "GET", "/v1/balance", nil, http.Header{"Authorization": {header}})
		require.Equal(t, status, got.status, "%q: %s", header, got.body)
		if status == 401 {
			require.Equal(t, "invalid_request_error", errorOf(t, got).Type)
		}
	}
}

// apiError is Stripe's error JSON.
type apiError struct{ Type, Code, Param, Message string }

func errorOf(t *testing.T, r reply) apiError {
	t.Helper()
	return decodeJSON[struct{ Error apiError }](t, r.body).Error
}

func TestStripe_EveryAnswerHasARequestID(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	seen := map[string]bool{}
	check := func(r reply, status int) {
		require.Equal(t, status, r.status, r.body)
		id := r.header.Get("Request-Id")
		require.True(t, strings.HasPrefix(id, "req_"), "status %d has request id %q", status, id)
		require.False(t, seen[id], "%s twice", id)
		seen[id] = true
	}
	check(b.send(t, "GET", "/v1/balance", nil, nil), 200)
	check(b.send(t, "GET", "/v1/balance", nil, http.Header{"Authorization": {"Bearer no"}}), 401)
	check(b.send(t, "GET", "/v1/nothing", nil, nil), 404)
	check(b.send(t, "POST", "/v1/customers", url.Values{"email": {"no"}}, nil), 400)
	for kind, status := range map[simulator.FaultKind]int{
		simulator.ServerError: 500, simulator.Stored500: 500, simulator.TooManyRequests: 429, simulator.WrongKey: 401,
	} {
		require.NoError(t, b.SetFaults(simulator.Fault{Kind: kind}))
		check(b.send(t, "POST", "/v1/customers", nil, nil), status)
	}
}

func TestStripe_RefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})

	unknown := b.send(t, "PATCH", "/v1/customers", nil, nil)
	require.Equal(t, http.StatusNotFound, unknown.status)
	require.Contains(t, errorOf(t, unknown).Message, "Unrecognized request URL (PATCH: /v1/customers)")

	version := b.send(t, "GET", "/v1/balance", nil, http.Header{"Stripe-Version": {"2011-01-01"}})
	require.Equal(t, http.StatusBadRequest, version.status)

	for body, want := range map[string]apiError{
		"surname=x":                 {Code: "parameter_unknown", Param: "surname"},
		"address[planet]=x":         {Code: "parameter_unknown", Param: "address[planet]"},
		"address=x":                 {Param: "address"},
		"email[a]=x":                {Param: "email"},
		"metadata[a][b]=x":          {Param: "metadata"},
		"email=a&email[b]=x":        {Param: "email"},
		"metadata[a=x":              {Code: "parameter_unknown", Param: "metadata[a"},
		"[a]=x":                     {Code: "parameter_unknown", Param: "[a]"},
		"coupon=a&promotion_code=b": {Code: "parameters_exclusive", Param: "promotion_code"},
		"metadata[" + strings.Repeat("k", 41) + "]=x": {Param: "metadata"},
		"metadata[k]=" + strings.Repeat("v", 501):     {Param: "metadata"},
	} {
		form, err := url.ParseQuery(body)
		require.NoError(t, err)
		got := b.send(t, "POST", "/v1/customers", form, nil)
		require.Equal(t, http.StatusBadRequest, got.status, body)
		problem := errorOf(t, got)
		require.Equal(t, "invalid_request_error", problem.Type, body)
		require.Equal(t, want.Code, problem.Code, body)
		require.Equal(t, want.Param, problem.Param, body)
	}
	require.Empty(t, b.Stripe().Customers())

	tooLarge := b.send(t, "POST", "/v1/customers", url.Values{"name": {strings.Repeat("x", 1<<20)}}, nil)
	require.Equal(t, http.StatusRequestEntityTooLarge, tooLarge.status)
}

func TestStripe_IdempotencyReplaysTheFirstAnswer(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})

	first, err := b.create(t.Context(), "u_1", "k_1")
	require.NoError(t, err)
	require.Empty(t, first.LastResponse.Header.Get("Idempotent-Replayed"))

	again, err := b.create(t.Context(), "u_1", "k_1")
	require.NoError(t, err)
	require.Equal(t, first.ID, again.ID)
	require.JSONEq(t, string(first.LastResponse.RawJSON), string(again.LastResponse.RawJSON))
	require.Equal(t, "true", again.LastResponse.Header.Get("Idempotent-Replayed"))
	require.Equal(t, first.LastResponse.RequestID, again.LastResponse.Header.Get("Original-Request"))

	other, err := b.create(t.Context(), "u_1", "k_2")
	require.NoError(t, err)
	require.NotEqual(t, first.ID, other.ID)
}

func TestStripe_IdempotencyMismatch(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	_, err := b.create(t.Context(), "u_1", "k_1")
	require.NoError(t, err)

	_, err = b.create(t.Context(), "u_2", "k_1")
	require.Equal(t, stripe.ErrorTypeIdempotency, stripeErr(t, err).Type)
	require.Equal(t, http.StatusBadRequest, stripeErr(t, err).HTTPStatusCode)

	update := &stripe.CustomerParams{Email: stripe.String("u_1@example.com")}
	update.AddMetadata("holdfast_customer_id", "u_1")
	update.SetIdempotencyKey("k_1")
	_, err = b.stripe().Customers.Update(b.Stripe().Customers()[0].ID, update)
	require.Equal(t, stripe.ErrorTypeIdempotency, stripeErr(t, err).Type)
	require.Len(t, b.Stripe().Customers(), 1)
}

func TestStripe_IdempotencyIgnoresTheOrderOfParameters(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	post := func(body string) reply {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.StripeURL()+"/v1/customers", strings.NewReader(body))
		require.NoError(t, err)
		r.SetBasicAuth(simulator.DefaultStripeKey, "")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Idempotency-Key", "k_1")
		return b.do(t, r)
	}
	require.Equal(t, 200, post("name=Ada&metadata[a]=1&metadata[b]=2").status)
	replay := post("metadata[b]=2&metadata[a]=1&name=Ada")
	require.Equal(t, 200, replay.status)
	require.Equal(t, "true", replay.header.Get("Idempotent-Replayed"))
}

func TestStripe_IdempotencyStoresRefusalsOfExecutionOnly(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{StripeKey: simulator.DefaultStripeKey})
	create := func(email, promotionCode string) (*stripe.Customer, error) {
		params := &stripe.CustomerParams{Email: stripe.String(email)}
		if promotionCode != "" {
			params.PromotionCode = stripe.String(promotionCode)
		}
		params.SetIdempotencyKey("k_1")
		return b.stripe().Customers.New(params)
	}

	// Before execution: a malformed parameter, a wrong key and the rate limit leave the key free.
	_, err := create("no-address", "")
	require.Equal(t, stripe.ErrorCodeEmailInvalid, stripeErr(t, err).Code)
	b.Stripe().SetKeys(nil, nil)
	_, err = create("ada@example.com", "")
	require.Equal(t, http.StatusUnauthorized, stripeErr(t, err).HTTPStatusCode)
	b.Stripe().SetKeys([]string{simulator.DefaultStripeKey}, nil)

	// In execution: the refusal belongs to the key, also after its reason has gone.
	_, err = create("ada@example.com", "promo_late")
	require.Equal(t, stripe.ErrorCodeResourceMissing, stripeErr(t, err).Code)
	require.NoError(t, b.Stripe().SetPromotionCodes(simulator.PromotionCode{Code: "LATE", ID: "promo_late"}))
	_, err = create("ada@example.com", "promo_late")
	require.Equal(t, stripe.ErrorCodeResourceMissing, stripeErr(t, err).Code)
	require.Equal(t, "true", stripeErr(t, err).LastResponse.Header.Get("Idempotent-Replayed"))

	// A pruned key is a new request.
	require.Equal(t, 1, b.Stripe().PruneIdempotencyKeys())
	_, err = create("ada@example.com", "promo_late")
	require.NoError(t, err)
}

func TestStripe_IdempotencyKeysBelongToOneConnectedAccount(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	header := http.Header{"Idempotency-Key": {"k_1"}}
	require.Empty(t, b.send(t, "POST", "/v1/customers", nil, header).header.Get("Idempotent-Replayed"))
	header.Set("Stripe-Account", "acct_1")
	require.Empty(t, b.send(t, "POST", "/v1/customers", nil, header).header.Get("Idempotent-Replayed"))
	require.Equal(t, "true", b.send(t, "POST", "/v1/customers", nil, header).header.Get("Idempotent-Replayed"))

	tooLong := http.Header{"Idempotency-Key": {strings.Repeat("k", 256)}}
	require.Equal(t, 400, b.send(t, "POST", "/v1/customers", nil, tooLong).status)
}

func TestStripe_ConcurrentRequestsUnderOneKeyAreOne(t *testing.T) {
	t.Parallel()
	const senders = 100
	b := setup(t, simulator.Config{})
	ids := make([]string, senders)
	var all sync.WaitGroup
	for i := range senders {
		all.Go(func() {
			for ids[i] == "" {
				c, err := b.create(t.Context(), "u_1", "k_1")
				if err == nil {
					ids[i] = c.ID
				}
			}
		})
	}
	all.Wait()
	require.Len(t, b.Stripe().Customers(), 1)
	for _, id := range ids {
		require.Equal(t, b.Stripe().Customers()[0].ID, id)
	}
}

func TestStripe_RateLimit(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{StripeRateLimit: 5})
	var refused *stripe.Error
	eventually(t, "the limit is reached", func() bool {
		_, err := b.create(t.Context(), "u_1", "k_1")
		if err != nil {
			refused = stripeErr(t, err)
		}
		return refused != nil
	})
	require.Equal(t, http.StatusTooManyRequests, refused.HTTPStatusCode)
	require.Equal(t, stripe.ErrorCodeRateLimit, refused.Code)
	require.GreaterOrEqual(t, len(b.Calls()), 6, "a second's worth is answered at once")
	require.Len(t, b.Calls().WithStatus(http.StatusTooManyRequests), 1)

	b.Stripe().SetRateLimit(0)
	for range 20 {
		_, err := b.create(t.Context(), "u_1", "k_1")
		require.NoError(t, err)
	}
}

func TestStripe_Balance(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	balance, err := b.stripe().Balance.Get(nil)
	require.NoError(t, err)
	require.Equal(t, "balance", balance.Object)
	require.Equal(t, stripe.CurrencyUSD, balance.Available[0].Currency)
	require.False(t, balance.Livemode)
}

func TestCalls(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	_, err := b.create(t.Context(), "u_1", "k_1")
	require.NoError(t, err)
	require.Zero(t, b.PostsWithoutKey())

	require.NoError(t, b.SetFaults(simulator.Fault{Kind: simulator.Unavailable, Times: 2}))
	outage := b.Calls()[0].AnsweredAt
	for range 2 {
		b.send(t, "GET", "/v1/customers/"+b.Stripe().Customers()[0].ID, nil, nil)
	}
	_, answered := b.Calls().Since(outage).FirstSuccess()
	require.False(t, answered)
	b.send(t, "POST", "/v1/customers", nil, nil)
	b.send(t, "GET", "/v1/nothing", nil, nil)

	calls := b.Calls()
	require.Equal(t, 1, b.PostsWithoutKey())
	require.Equal(t, "k_1", calls[0].IdempotencyKey)
	require.Len(t, calls.Before(outage), 1)
	require.Len(t, calls.Since(outage), 4)
	require.Len(t, calls.To("GET", "/v1/customers/{id}").WithStatus(503), 2)
	first, answered := calls.Since(outage).FirstSuccess()
	require.True(t, answered)
	require.Equal(t, calls[3].AnsweredAt, first)
	require.Equal(t, []simulator.CallCount{
		{Provider: "stripe", Method: "GET", Route: "/", Status: 404, Count: 1},
		{Provider: "stripe", Method: "POST", Route: "/v1/customers", Status: 200, Count: 2},
		{Provider: "stripe", Method: "GET", Route: "/v1/customers/{id}", Status: 503, Fault: simulator.Unavailable, Count: 2},
	}, calls.Counts())
}
