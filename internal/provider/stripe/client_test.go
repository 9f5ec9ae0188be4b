package stripe_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/stripe"
)

const customerJSON = `{"id":"cus_1","object":"customer","created":1700000000,"email":"ada@example.com","name":"Ada",
	"address":{"country":"GB"},"metadata":{"holdfast_customer_id":"u_1","plan":"pro"},
	"discount":{"id":"di_1","object":"discount","promotion_code":"promo_1"}}`

func TestNewSaysWhatIsWrongWithoutQuotingTheKey(t *testing.T) {
	t.Parallel()
	const secret = "S3cr3tPart"
	for key, complaint := range map[string]string{
		"":                            "is empty",
		" sk_test_" + secret:          "white space",
		"sk_test_" + secret + "\n":    "white space",
		"pk_test_" + secret:           "publishable",
		"sk_test_" + secret + " x":    "letters, digits and underscores",
		"sk_test_" + secret + "\r\nX": "letters, digits and underscores",
		"whsec_" + secret:             "must begin with sk_ or rk_",
		"sk_":                         "must begin with sk_ or rk_",
	} {
		_, err := stripe.New(stripe.Config{SecretKey: key})
		require.ErrorContains(t, err, complaint, "%q", key)
		require.NotContains(t, err.Error(), secret)
	}
	for _, base := range []string{"stripe.com", "ftp://stripe.com", "https://", "https://user:pw@stripe.com", "https://x/?a=b", ":"} {
		_, err := stripe.New(stripe.Config{SecretKey: testKey, APIBase: base})
		require.ErrorContains(t, err, "API base", base)
		require.NotContains(t, err.Error(), "pw")
	}
}

func TestLivemodeIsTheKeys(t *testing.T) {
	t.Parallel()
	for key, live := range map[string]bool{
		"sk_test_1": false, "rk_test_1": false, "sk_org_test_1": false, "sk_live_1": true, "rk_live_1": true, "sk_1": true,
	} {
		require.Equal(t, live, newClient(t, stripe.Config{SecretKey: key}).Livemode(), key)
	}
}

func TestCreateCustomerSendsWhatIsFrozen(t *testing.T) {
	t.Parallel()
	s := &script{status: http.StatusOK, body: customerJSON}
	client := answering(t, s)

	created, err := client.CreateCustomer(t.Context(), "holdfast/stripe/create_customer/u_1/1", stripe.CustomerParams{
		Email: "Ada@Example.com", Name: "Ada", Country: "GB", HoldfastCustomerID: "u_1",
		Metadata: map[string]string{"plan": "pro", stripe.MetadataCustomerID: "somebody else"},
	})

	require.NoError(t, err)
	require.Equal(t, stripe.Customer{
		ID: "cus_1", Email: "ada@example.com", Name: "Ada", Country: "GB", PromotionCodeID: "promo_1",
		Metadata: map[string]string{"holdfast_customer_id": "u_1", "plan": "pro"},
		Created:  time.Unix(1700000000, 0).UTC(),
	}, created)
	require.Equal(t, "u_1", created.HoldfastCustomerID())
	require.Len(t, s.requests(), 1)
	got := s.requests()[0]
	require.Equal(t, "POST /v1/customers", got.method+" "+got.path)
	require.Equal(t, url.Values{
		"email": {"Ada@Example.com"}, "name": {"Ada"}, "address[country]": {"GB"},
		"metadata[holdfast_customer_id]": {"u_1"}, "metadata[plan]": {"pro"},
	}, got.form)
	require.Equal(t, "holdfast/stripe/create_customer/u_1/1", got.header.Get("Idempotency-Key"))
	require.Equal(t, "Bearer "+testKey, got.header.Get("Authorization"))
	require.Equal(t, "2023-10-16", got.header.Get("Stripe-Version"))
	require.Empty(t, got.header.Get("X-Stripe-Client-Telemetry"))
}

func TestCreateCustomerLeavesOutWhatIsEmpty(t *testing.T) {
	t.Parallel()
	s := &script{status: http.StatusOK, body: customerJSON}

	_, err := answering(t, s).CreateCustomer(t.Context(), "k", stripe.CustomerParams{Email: "a@example.com", HoldfastCustomerID: "u_1"})

	require.NoError(t, err)
	require.Equal(t, url.Values{"email": {"a@example.com"}, "metadata[holdfast_customer_id]": {"u_1"}}, s.requests()[0].form)
}

func TestUpdateCustomerSendsOnlyTheChange(t *testing.T) {
	t.Parallel()
	text := func(s string) *string { return &s }
	for name, test := range map[string]struct {
		change stripe.CustomerUpdate
		form   url.Values
	}{
		"profile":        {stripe.CustomerUpdate{Email: text("b@example.com"), Name: text("B")}, url.Values{"email": {"b@example.com"}, "name": {"B"}}},
		"name cleared":   {stripe.CustomerUpdate{Name: text("")}, url.Values{"name": {""}}},
		"claim":          {stripe.CustomerUpdate{HoldfastCustomerID: "u_1"}, url.Values{"metadata[holdfast_customer_id]": {"u_1"}}},
		"promotion code": {stripe.CustomerUpdate{PromotionCodeID: "promo_1"}, url.Values{"promotion_code": {"promo_1"}}},
		"metadata":       {stripe.CustomerUpdate{Metadata: map[string]string{"a": "b"}}, url.Values{"metadata[a]": {"b"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &script{status: http.StatusOK, body: customerJSON}

			updated, err := answering(t, s).UpdateCustomer(t.Context(), "k", "cus_1", test.change)

			require.NoError(t, err)
			require.Equal(t, "cus_1", updated.ID)
			require.Equal(t, "/v1/customers/cus_1", s.requests()[0].path)
			require.Equal(t, test.form, s.requests()[0].form)
			require.Equal(t, "k", s.requests()[0].header.Get("Idempotency-Key"))
		})
	}
}

func TestAWriteWithoutAProperKeyIsNotSent(t *testing.T) {
	t.Parallel()
	s := &script{status: http.StatusOK, body: customerJSON}
	client := answering(t, s)
	for _, key := range []string{"", " ", " k", "k\n", "ü", strings.Repeat("k", 256)} {
		_, err := client.CreateCustomer(t.Context(), key, stripe.CustomerParams{})
		require.ErrorContains(t, err, "idempotency key", "%q", key)
		_, err = client.UpdateCustomer(t.Context(), key, "cus_1", stripe.CustomerUpdate{})
		require.ErrorContains(t, err, "idempotency key", "%q", key)
	}
	require.Empty(t, s.requests())
	_, err := client.CreateCustomer(t.Context(), strings.Repeat("k", 255), stripe.CustomerParams{})
	require.NoError(t, err)
}

func TestOnlyIDsGoIntoPaths(t *testing.T) {
	t.Parallel()
	s := &script{status: http.StatusOK, body: customerJSON}
	client := answering(t, s)
	for _, id := range []string{"", "cus_", "cus_1/sources", "cus_1?expand[]=x", "cus_../../charges", "sub_1", "cus_1\n", "cus_ü"} {
		_, err := client.GetCustomer(t.Context(), id)
		require.Equal(t, provider.Rejected, failureOf(t, err).Class, "%q", id)
		require.Equal(t, stripe.CodeCustomerIDInvalid, failureOf(t, err).Code)
		_, err = client.UpdateCustomer(t.Context(), "k", id, stripe.CustomerUpdate{})
		require.Equal(t, stripe.CodeCustomerIDInvalid, failureOf(t, err).Code, "%q", id)
	}
	require.Empty(t, s.requests())
}

func TestARedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	s := &script{status: http.StatusFound, header: map[string]string{"Location": "/elsewhere"}}
	client := answering(t, s)

	_, err := client.CreateCustomer(t.Context(), "k", stripe.CustomerParams{})

	require.Equal(t, provider.OutcomeUnknown, failureOf(t, err).Class)
	require.Len(t, s.requests(), 1)
}

func TestTheBaseMayEndAsPeopleWriteIt(t *testing.T) {
	t.Parallel()
	s := &script{status: http.StatusOK, body: `{"object":"balance"}`}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	for _, end := range []string{"", "/", "/v1"} {
		require.NoError(t, newClient(t, stripe.Config{APIBase: server.URL + end}).Probe(t.Context()))
	}
	for _, got := range s.requests() {
		require.Equal(t, "/v1/balance", got.path)
	}
}

func TestAPromotionCodeOfOneCustomerIsNotEverybodys(t *testing.T) {
	t.Parallel()
	const reserved, open = `{"id":"promo_reserved","customer":"cus_2"}`, `{"id":"promo_open","customer":null}`
	for data, want := range map[string]string{reserved + "," + open: "promo_open", reserved: ""} {
		s := &script{status: http.StatusOK, body: `{"object":"list","url":"/v1/promotion_codes","data":[` + data + `]}`}

		id, err := answering(t, s).FindPromotionCode(t.Context(), "SPRING")

		require.Equal(t, want, id)
		if want == "" {
			require.Equal(t, stripe.CodePromotionCodeNotFound, failureOf(t, err).Code)
		} else {
			require.NoError(t, err)
		}
		require.Equal(t, url.Values{"code": {"SPRING"}, "active": {"true"}, "limit": {"100"}}, s.requests()[0].query)
	}
}
