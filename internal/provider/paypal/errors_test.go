package paypal_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
)

// Short names, so that the table reads as one.
const (
	transient     = provider.Transient
	rateLimited   = provider.RateLimited
	misconfigured = provider.Misconfigured
	rejected      = provider.Rejected
	unknown       = provider.OutcomeUnknown
	notFound      = provider.NotFound
)

// complaint is an error of PayPal's, and what it must come to.
type complaint struct {
	status int
	name   string
	issue  string
	field  string
	header map[string]string

	onWrite provider.Class
	onRead  provider.Class
	as      string // the failure's code; empty: the issue, or else the name
	param   string
}

func complaints() []complaint {
	return []complaint{
		{status: 401, name: "AUTHENTICATION_FAILURE", onWrite: misconfigured, onRead: misconfigured},
		{status: 401, name: "invalid_token", onWrite: misconfigured, onRead: misconfigured},
		{status: 400, name: "invalid_client", onWrite: misconfigured, onRead: misconfigured},
		{status: 400, name: "unauthorized_client", onWrite: misconfigured, onRead: misconfigured},
		{status: 403, name: "NOT_AUTHORIZED", issue: "PERMISSION_DENIED", onWrite: misconfigured, onRead: misconfigured},

		{status: 429, name: "RATE_LIMIT_REACHED", onWrite: rateLimited, onRead: rateLimited},
		{status: 409, name: "RESOURCE_CONFLICT", issue: "PREVIOUS_REQUEST_IN_PROGRESS", onWrite: transient, onRead: transient},

		{status: 404, name: "RESOURCE_NOT_FOUND", issue: "INVALID_RESOURCE_ID", onWrite: notFound, onRead: notFound},
		{status: 404, name: "INVALID_RESOURCE_ID", onWrite: notFound, onRead: notFound},
		{status: 404, name: "SOMETHING_ELSE", onWrite: rejected, onRead: rejected},
		{status: 400, name: "INVALID_RESOURCE_ID", onWrite: rejected, onRead: rejected},

		{
			status: 400, name: "INVALID_REQUEST", issue: "MISSING_REQUIRED_PARAMETER", field: "/plan/billing_cycles/0", param: "plan",
			onWrite: rejected, onRead: rejected,
		},
		{status: 422, name: "UNPROCESSABLE_ENTITY", issue: "SUBSCRIPTION_STATUS_INVALID", onWrite: rejected, onRead: rejected},
		{status: 422, name: "A_NAME_OF_NEXT_YEAR", onWrite: rejected, onRead: rejected},
		{status: 415, name: "UNSUPPORTED_MEDIA_TYPE", onWrite: rejected, onRead: rejected},
		{status: 400, name: "ada@example.com", issue: "is ada@example.com", field: "/email/ada@example.com", as: "unknown", param: "email", onWrite: rejected, onRead: rejected},

		{status: 500, name: "INTERNAL_SERVER_ERROR", onWrite: unknown, onRead: transient},
		{status: 503, name: "SERVICE_UNAVAILABLE", onWrite: unknown, onRead: transient},
		{status: 500, name: "RESOURCE_NOT_FOUND", onWrite: unknown, onRead: transient},
	}
}

// The message quotes an address, as PayPal's do.
func (c complaint) reply() reply {
	header := map[string]string{"Paypal-Debug-Id": "f1d2e3", "Content-Type": "application/json"}
	maps.Copy(header, c.header)
	details := ""
	if c.issue != "" {
		details = fmt.Sprintf(`,"details":[{"issue":%q,"field":%q,"value":"ada@example.com","description":"ada@example.com is wrong"}]`, c.issue, c.field)
	}
	return reply{status: c.status, header: header, body: fmt.Sprintf(
		`{"name":%q,"message":"ada@example.com is wrong","debug_id":"other"%s}`, c.name, details)}
}

func (c complaint) code() string {
	switch {
	case c.as != "":
		return c.as
	case c.issue != "":
		return c.issue
	}
	return c.name
}

func TestEveryAnswerHasAClass(t *testing.T) {
	t.Parallel()
	for _, c := range complaints() {
		t.Run(fmt.Sprintf("%d %s %s", c.status, c.name, c.issue), func(t *testing.T) {
			t.Parallel()
			client := answering(t, &script{reply: c.reply()})
			want := provider.Failure{
				Provider: provider.PayPal, Code: c.code(), Param: c.param, Status: c.status, RequestID: "f1d2e3",
			}

			want.Class = c.onWrite
			requireFailure(t, want, client.Write(t.Context(), "k", map[string]string{}))

			_, err := client.GetSubscription(t.Context(), subID)
			want.Class = c.onRead
			requireFailure(t, want, err)
		})
	}
}

func requireFailure(t *testing.T, want provider.Failure, err error) {
	t.Helper()
	got := *failureOf(t, err)
	require.NotContains(t, got.Error(), "example.com")
	require.NotContains(t, got.Error(), "wrong")
	require.ErrorContains(t, got.Cause, "ada@example.com", "the cause is there, for code alone")
	got.Cause = nil
	require.Equal(t, want, got)
}

func TestEveryNameOfTheTableIsTested(t *testing.T) {
	t.Parallel()
	tested := map[string]bool{}
	for _, c := range complaints() {
		tested[c.name] = true
	}
	for _, name := range paypal.Names() {
		require.True(t, tested[name], "%s is in the table; add an answer with it to complaints", name)
	}
}

func TestAnAnswerThatIsNotPayPals(t *testing.T) {
	t.Parallel()
	const html = "<html>ada@example.com</html>"
	for _, test := range []struct {
		status  int
		body    string
		onWrite provider.Class
		onRead  provider.Class
	}{
		{200, html, unknown, transient},
		{200, "", unknown, transient},
		{200, `{}`, unknown, transient},
		{200, `null`, unknown, transient},
		{200, subscriptionJSON[:60], unknown, transient},
		{204, "", unknown, transient},
		{301, html, unknown, transient},
		{400, html, unknown, transient},
		{400, `{"message":"ada@example.com"}`, unknown, transient},
		{400, `{"name":"X","details":{"not":"a list"}}`, unknown, transient},
		{404, html, unknown, transient},
		{404, "", unknown, transient},
		{401, html, misconfigured, misconfigured},
		{401, `{"error":"invalid_token","error_description":"ada@example.com"}`, misconfigured, misconfigured},
		{403, html, misconfigured, misconfigured},
		{409, html, transient, transient},
		{429, html, rateLimited, rateLimited},
		{500, `{"oops":"ada@example.com"}`, unknown, transient},
		{502, html, unknown, transient},
		{503, "", unknown, transient},
	} {
		t.Run(fmt.Sprintf("%d %s", test.status, test.body), func(t *testing.T) {
			t.Parallel()
			client := answering(t, &script{reply: reply{status: test.status, body: test.body}})

			write := failureOf(t, client.Write(t.Context(), "k", nil))
			_, err := client.GetSubscription(t.Context(), subID)
			read := failureOf(t, err)

			require.Equal(t, test.onWrite, write.Class)
			require.Equal(t, test.onRead, read.Class)
			for _, failure := range []*provider.Failure{write, read} {
				require.Equal(t, provider.CodeUnreadable, failure.Code)
				require.Equal(t, test.status, failure.Status)
				require.NotContains(t, failure.Error(), "example.com")
			}
		})
	}
}

func TestAnotherSubscriptionIsNotTheOneAskedFor(t *testing.T) {
	t.Parallel()
	client := answering(t, &script{reply: reply{body: subscriptionJSON}})

	_, err := client.GetSubscription(t.Context(), "I-OTHER")

	require.Equal(t, provider.CodeUnreadable, failureOf(t, err).Code)
}

func TestWhatAFailureTellsBesideItsClass(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		header    map[string]string
		wait      time.Duration
		requestID string
	}{
		"nothing":      {map[string]string{}, 0, "f1d2e3"},
		"seconds":      {map[string]string{"Retry-After": "7"}, 7 * time.Second, "f1d2e3"},
		"too long":     {map[string]string{"Retry-After": "86400"}, 15 * time.Minute, "f1d2e3"},
		"the body's":   {map[string]string{"Paypal-Debug-Id": ""}, 0, "other"},
		"not an id":    {map[string]string{"Paypal-Debug-Id": "ada@example.com"}, 0, "other"},
		"of long ago":  {map[string]string{"Retry-After": "Fri, 20 Nov 2020 12:00:00 GMT"}, 0, "f1d2e3"},
		"not a moment": {map[string]string{"Retry-After": "soon"}, 0, "f1d2e3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := complaint{status: 429, name: "RATE_LIMIT_REACHED", header: test.header}

			_, err := answering(t, &script{reply: c.reply()}).GetSubscription(t.Context(), subID)

			require.Equal(t, test.wait, failureOf(t, err).RetryAfter)
			require.Equal(t, test.requestID, failureOf(t, err).RequestID)
		})
	}
}
