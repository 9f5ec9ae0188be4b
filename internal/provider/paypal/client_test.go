package paypal_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
)

func TestNewSaysWhatIsWrongWithoutQuotingTheCredentials(t *testing.T) {
	t.Parallel()
	const secret = "S3cr3tPart"
	for value, complaint := range map[string]string{
		"":                     "is empty",
		" " + secret:           "white space",
		secret + "\n":          "white space",
		secret + " x":          "printable ASCII",
		secret + ":x":          "printable ASCII",
		secret + "\r\nX: y":    "printable ASCII",
		secret + "\u00fcmlaut": "printable ASCII",
	} {
		_, err := paypal.New(paypal.Config{ClientID: "id", ClientSecret: value})
		require.ErrorContains(t, err, "client secret", "%q", value)
		require.ErrorContains(t, err, complaint, "%q", value)
		require.NotContains(t, err.Error(), secret)

		_, err = paypal.New(paypal.Config{ClientID: value, ClientSecret: "secret"})
		require.ErrorContains(t, err, "client id", "%q", value)
		require.NotContains(t, err.Error(), secret)
	}
	for _, base := range []string{
		"paypal.com", "ftp://paypal.com", "https://", "https://user:pw@paypal.com", "https://x/?a=b", "https://x/#a", ":",
	} {
		_, err := paypal.New(paypal.Config{ClientID: "id", ClientSecret: "secret", APIBase: base})
		require.ErrorContains(t, err, "API base", base)
		require.NotContains(t, err.Error(), "pw")
	}
}

func TestLivemodeIsPayPalsOwnLiveAPI(t *testing.T) {
	t.Parallel()
	for base, live := range map[string]bool{
		"":                               true,
		paypal.LiveAPI:                   true,
		"https://API.PayPal.com/":        true,
		paypal.SandboxAPI:                false,
		"https://api.sandbox.paypal.com": false,
		"http://127.0.0.1:4711":          false,
		"https://notpaypal.com":          false,
		"https://paypal.com.evil.test":   false,
	} {
		require.Equal(t, live, newClient(t, paypal.Config{APIBase: base}).Livemode(), base)
	}
}

func TestTheBaseMayEndAsPeopleWriteIt(t *testing.T) {
	t.Parallel()
	s := &script{reply: reply{body: subscriptionJSON}}
	base := serve(t, s)
	for _, end := range []string{"", "/", "/v1", "/v1/"} {
		_, err := newClient(t, paypal.Config{APIBase: base + end}).GetSubscription(t.Context(), subID)
		require.NoError(t, err, end)
	}
	for i, got := range s.calls() {
		require.Equal(t, []string{"POST " + tokenPath, "GET " + subPath}[i%2], got)
	}
}

func TestGetSubscriptionReadsWhatThereIs(t *testing.T) {
	t.Parallel()
	s := &script{reply: reply{body: subscriptionJSON}}

	got, err := answering(t, s).GetSubscription(t.Context(), subID)

	require.NoError(t, err)
	require.Equal(t, paypal.Subscription{
		ID: subID, Status: "ACTIVE", PlanID: "P-5ML4271244454362WXNWU5NQ", CustomID: "u_1", Quantity: "20",
		StartTime:           time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		CreateTime:          time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		UpdateTime:          time.Date(2026, 2, 2, 0, 0, 2, 0, time.UTC),
		StatusUpdateTime:    time.Date(2026, 1, 1, 0, 0, 1, 0, time.UTC),
		NextBillingTime:     time.Date(2026, 3, 1, 0, 20, 49, 0, time.UTC),
		LastPaymentTime:     time.Date(2026, 2, 1, 1, 20, 49, 0, time.UTC),
		LastPaymentAmount:   "500.00",
		LastPaymentCurrency: "EUR",
	}, got)
	require.Len(t, s.requests(), 2)
	asked := s.requests()[0]
	require.Equal(t, "POST "+tokenPath, asked.call)
	require.Equal(t, "grant_type=client_credentials", asked.body)
	require.Equal(t, "application/x-www-form-urlencoded", asked.header.Get("Content-Type"))
	require.Equal(t, "Basic dGVzdC1jbGllbnQtaWQ6dGVzdC1jbGllbnQtc2VjcmV0", asked.header.Get("Authorization"))
	read := s.requests()[1]
	require.Equal(t, "GET "+subPath, read.call)
	require.Empty(t, read.query)
	require.Empty(t, read.body)
	require.Equal(t, "Bearer t1", read.header.Get("Authorization"))
	require.Empty(t, read.header.Get("Paypal-Request-Id"), "a read has none")
}

func TestGetSubscriptionTakesASubscriptionThatWasNeverPaid(t *testing.T) {
	t.Parallel()
	s := &script{reply: reply{body: `{"id":"I-BW452GLLEP1G","status":"A_STATUS_OF_NEXT_YEAR","plan_id":"P-1","custom_id":null}`}}

	got, err := answering(t, s).GetSubscription(t.Context(), subID)

	require.NoError(t, err)
	require.Equal(t, paypal.Subscription{ID: subID, Status: "A_STATUS_OF_NEXT_YEAR", PlanID: "P-1"}, got)
}

func TestOnlyIDsGoIntoPaths(t *testing.T) {
	t.Parallel()
	s := &script{reply: reply{body: subscriptionJSON}}
	client := answering(t, s)
	for _, id := range []string{
		"", "I-", "I-abc", "I-1/cancel", "I-1?fields=plan", "I-../../x", "P-1", "i-1", "I-1\n", " I-1", "I-Ü", "I-" + strings.Repeat("A", 49),
	} {
		_, err := client.GetSubscription(t.Context(), id)
		require.Equal(t, provider.Rejected, failureOf(t, err).Class, "%q", id)
		require.Equal(t, paypal.CodeSubscriptionIDInvalid, failureOf(t, err).Code, "%q", id)
	}
	require.Empty(t, s.requests())
}

func TestAWriteCarriesItsRequestID(t *testing.T) {
	t.Parallel()
	s := &script{reply: reply{status: 201, body: subscriptionJSON}}

	require.NoError(t, answering(t, s).Write(t.Context(), "holdfast/paypal/x/1", map[string]string{"plan_id": "P-1"}))

	got := s.requests()[1]
	require.Equal(t, "holdfast/paypal/x/1", got.header.Get("Paypal-Request-Id"))
	require.Equal(t, "Bearer t1", got.header.Get("Authorization"))
	require.JSONEq(t, `{"plan_id":"P-1"}`, got.body)
}

func TestAWriteWithoutAProperRequestIDIsNotSent(t *testing.T) {
	t.Parallel()
	s := &script{reply: reply{status: 201, body: subscriptionJSON}}
	client := answering(t, s)
	for _, id := range []string{"", " ", "a b", "k\n", "ü", strings.Repeat("k", 109)} {
		failure := failureOf(t, client.Write(t.Context(), id, map[string]string{}))
		require.Equal(t, provider.Rejected, failure.Class, "%q", id)
		require.Equal(t, paypal.CodeRequestIDInvalid, failure.Code, "%q", id)
	}
	require.Equal(t, []string{"POST " + tokenPath}, s.calls())
}

func TestARedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	s := &script{reply: reply{status: 302, header: map[string]string{"Location": "/elsewhere"}}}
	client := answering(t, s)

	require.Equal(t, provider.OutcomeUnknown, failureOf(t, client.Write(t.Context(), "k", nil)).Class)
	require.Len(t, s.requests(), 2)

	grants := &script{grant: &reply{status: 307, header: map[string]string{"Location": "/elsewhere"}}}
	require.Equal(t, provider.Transient, failureOf(t, answering(t, grants).Probe(t.Context())).Class)
	require.Len(t, grants.requests(), 1)
}

func TestProbeSaysWhetherPayPalAcceptsUs(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		grant *reply
		class provider.Class
	}{
		"yes":                {nil, ""},
		"wrong secret":       {&reply{status: 401, body: `{"error":"invalid_client","error_description":"Client Authentication failed"}`}, misconfigured},
		"old style":          {&reply{status: 400, body: `{"error":"unauthorized_client"}`}, misconfigured},
		"closed account":     {&reply{status: 403, body: `{"name":"NOT_AUTHORIZED"}`}, misconfigured},
		"a refusal of ours":  {&reply{status: 400, body: `{"error":"unsupported_grant_type"}`}, misconfigured},
		"too many":           {&reply{status: 429, header: map[string]string{"Retry-After": "3"}, body: "slow down"}, rateLimited},
		"down":               {&reply{status: 503}, transient},
		"an edge":            {&reply{status: 502, body: "<html>"}, transient},
		"somebody else":      {&reply{body: "{}"}, transient},
		"without life":       {&reply{body: `{"access_token":"t"}`}, transient},
		"cut":                {&reply{body: `{"access_token":"t","expires_in":3`}, transient},
		"nobody's not found": {&reply{status: 404, body: "no such route"}, transient},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := answering(t, &script{grant: test.grant}).Probe(t.Context())
			if test.class == "" {
				require.NoError(t, err)
				return
			}
			failure := failureOf(t, err)
			require.Equal(t, test.class, failure.Class)
			require.NotContains(t, err.Error(), "Authentication failed", "texts of PayPal's are not passed on")
			require.NotContains(t, failure.Cause.Error(), testSecret)
		})
	}
}

func TestAProbesTokenIsUsed(t *testing.T) {
	t.Parallel()
	s := &script{reply: reply{body: subscriptionJSON}}
	client := answering(t, s)
	_, err := client.GetSubscription(t.Context(), subID)
	require.NoError(t, err)

	require.NoError(t, client.Probe(t.Context()), "it asks although a token is held")
	_, err = client.GetSubscription(t.Context(), subID)
	require.NoError(t, err)

	require.Equal(t, []string{"POST " + tokenPath, "GET " + subPath, "POST " + tokenPath, "GET " + subPath}, s.calls())
	require.Equal(t, "Bearer t2", s.requests()[3].header.Get("Authorization"))
}
