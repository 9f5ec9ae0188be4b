package stripe_test

import (
	"fmt"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/stripe"
)

// Short names, so that the table reads as one.
const (
	transient     = provider.Transient
	rateLimited   = provider.RateLimited
	misconfigured = provider.Misconfigured
	rejected      = provider.Rejected
	unknown       = provider.OutcomeUnknown
	notFound      = provider.NotFound

	invalid     = "invalid_request_error"
	apiError    = "api_error"
	idempotency = "idempotency_error"
)

// reply is an error of Stripe's, and what it must come to.
type reply struct {
	status int
	kind   string
	code   string
	param  string
	header map[string]string

	onWrite provider.Class
	onRead  provider.Class
	as      string // the failure's code; empty: Stripe's
	matter  provider.Matter
}

func replies() []reply {
	all := []reply{
		{status: 401, kind: invalid, onWrite: misconfigured, onRead: misconfigured, as: "unauthorized"},
		{status: 401, kind: invalid, code: "api_key_expired", onWrite: misconfigured, onRead: misconfigured},
		{status: 400, kind: invalid, code: "api_key_expired", onWrite: misconfigured, onRead: misconfigured},
		{status: 401, kind: invalid, code: "platform_api_key_expired", onWrite: misconfigured, onRead: misconfigured},
		{status: 401, kind: invalid, code: "secret_key_required", onWrite: misconfigured, onRead: misconfigured},
		{status: 400, kind: invalid, code: "livemode_mismatch", onWrite: misconfigured, onRead: misconfigured},
		{status: 403, kind: invalid, onWrite: misconfigured, onRead: misconfigured, as: "forbidden"},
		{status: 403, kind: invalid, code: "account_invalid", onWrite: misconfigured, onRead: misconfigured},

		{status: 429, kind: invalid, code: "rate_limit", onWrite: rateLimited, onRead: rateLimited},
		{status: 429, kind: invalid, onWrite: rateLimited, onRead: rateLimited, as: "rate_limit"},
		{status: 429, kind: invalid, code: "lock_timeout", onWrite: transient, onRead: transient},
		{status: 409, kind: idempotency, code: "idempotency_key_in_use", onWrite: transient, onRead: transient},
		{status: 409, kind: invalid, onWrite: transient, onRead: transient, as: "conflict"},
		{status: 400, kind: idempotency, onWrite: rejected, onRead: rejected, as: stripe.CodeIdempotencyError},

		{status: 404, kind: invalid, code: "resource_missing", param: "id", onWrite: notFound, onRead: notFound},
		{status: 404, kind: invalid, code: "resource_missing", onWrite: notFound, onRead: notFound},
		{status: 404, kind: invalid, code: "resource_missing", param: "customer", onWrite: rejected, onRead: rejected},
		{status: 400, kind: invalid, code: "resource_missing", param: "promotion_code", onWrite: rejected, onRead: rejected},
		{status: 400, kind: invalid, code: "resource_missing", param: "id", onWrite: rejected, onRead: rejected},

		{status: 400, kind: invalid, code: "email_invalid", param: "email", onWrite: rejected, onRead: rejected},
		{status: 400, kind: invalid, code: "a_code_from_next_year", onWrite: rejected, onRead: rejected},
		{status: 400, kind: invalid, onWrite: rejected, onRead: rejected, as: invalid},
		{status: 404, kind: invalid, onWrite: rejected, onRead: rejected, as: invalid}, // "Unrecognized request URL"
		{status: 402, kind: "card_error", code: "card_declined", onWrite: rejected, onRead: rejected},
		{
			status: 400, kind: invalid, code: "a_passing_one", header: map[string]string{"Stripe-Should-Retry": "true"},
			onWrite: unknown, onRead: transient,
		},

		{status: 500, kind: apiError, onWrite: unknown, onRead: transient, as: apiError},
		{status: 500, kind: apiError, code: "balance_insufficient", onWrite: unknown, onRead: transient},
		{status: 503, kind: apiError, code: "lock_timeout", onWrite: unknown, onRead: transient},
		{status: 504, kind: apiError, onWrite: unknown, onRead: transient, as: apiError},
	}
	for matter, codes := range map[provider.Matter][]string{
		"": {
			"balance_insufficient", "insufficient_funds", "payouts_limit_exceeded", "transfers_not_allowed",
			"bank_account_exists", "amount_too_large", "amount_too_small",
		},
		provider.MatterInstant: instantCodes(),
		provider.MatterPayee:   destinationCodes(),
	} {
		for _, code := range codes {
			all = append(all, reply{status: 400, kind: invalid, code: code, onWrite: rejected, onRead: rejected, matter: matter})
		}
	}
	return all
}

func instantCodes() []string {
	return []string{
		"instant_payouts_unsupported", "instant_payouts_limit_exceeded", "instant_payouts_currency_disabled",
		"instant_payouts_config_disabled",
	}
}

// destinationCodes are the destination table: what is wrong with where the money was to go.
func destinationCodes() []string {
	return append(failureCodes(),
		"account_number_invalid", "bank_account_bad_routing_numbers", "bank_account_declined", "bank_account_unusable",
		"bank_account_unverified", "bank_account_verification_failed", "invalid_card_type", "payouts_not_allowed",
		"routing_number_invalid", "insufficient_capabilities_for_transfer",
	)
}

// failureCodes are those by which payouts fail later that are the payee's matter.
func failureCodes() []string {
	return []string{
		"account_closed", "account_frozen", "bank_account_restricted", "bank_ownership_changed", "could_not_process",
		"debit_not_authorized", "declined", "incorrect_account_holder_address", "incorrect_account_holder_name",
		"incorrect_account_holder_tax_id", "invalid_account_number", "invalid_currency", "no_account", "unsupported_card",
	}
}

// The message quotes an address, as Stripe's do.
func (r reply) script() *script {
	header := map[string]string{"Request-Id": "req_9", "Content-Type": "application/json"}
	maps.Copy(header, r.header)
	return &script{status: r.status, header: header, body: fmt.Sprintf(
		`{"error":{"type":%q,"code":%q,"param":%q,"message":"ada@example.com is wrong"}}`, r.kind, r.code, r.param)}
}

func TestEveryAnswerHasAClass(t *testing.T) {
	t.Parallel()
	for _, r := range replies() {
		t.Run(fmt.Sprintf("%d %s %s %s", r.status, r.kind, r.code, r.param), func(t *testing.T) {
			t.Parallel()
			client := answering(t, r.script())
			if r.as == "" {
				r.as = r.code
			}
			want := provider.Failure{
				Provider: provider.Stripe, Code: r.as, Matter: r.matter, Param: r.param, Status: r.status, RequestID: "req_9",
			}
			if r.status >= 500 {
				want.Param = ""
			}

			_, err := client.CreateCustomer(t.Context(), "k", stripe.CustomerParams{Email: "ada@example.com"})
			want.Class = r.onWrite
			requireFailure(t, want, err)

			_, err = client.GetCustomer(t.Context(), "cus_1")
			want.Class = r.onRead
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

func TestEveryCodeOfTheTableIsTested(t *testing.T) {
	t.Parallel()
	tested := map[string]bool{}
	for _, r := range append(replies(), moneyReplies()...) {
		tested[r.code] = true
	}
	for _, code := range stripe.Codes() {
		require.True(t, tested[code], "%s is in the table; add an answer with it to replies", code)
	}
}

func TestAnAnswerThatIsNotStripes(t *testing.T) {
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
		{200, customerJSON[:40], unknown, transient},
		{301, html, unknown, transient},
		{400, html, unknown, transient},
		{400, `{"error":"ada@example.com"}`, unknown, transient},
		{400, `{"error":{"message":"ada@example.com"}}`, unknown, transient},
		{404, html, unknown, transient},
		{404, `{"message":"no such route"}`, unknown, transient},
		{401, html, misconfigured, misconfigured},
		{403, html, misconfigured, misconfigured},
		{409, html, transient, transient},
		{429, html, rateLimited, rateLimited},
		{500, `{"oops":"ada@example.com"}`, unknown, transient},
		{502, html, unknown, transient},
		{503, "", unknown, transient},
	} {
		t.Run(fmt.Sprintf("%d %s", test.status, test.body), func(t *testing.T) {
			t.Parallel()
			client := answering(t, &script{status: test.status, body: test.body})

			_, err := client.CreateCustomer(t.Context(), "k", stripe.CustomerParams{})
			write := failureOf(t, err)
			_, err = client.GetCustomer(t.Context(), "cus_1")
			read := failureOf(t, err)
			_, _, err = client.FindCustomer(t.Context(), stripe.FindCustomerParams{Email: "ada@example.com"})
			list := failureOf(t, err)

			require.Equal(t, test.onWrite, write.Class)
			for _, failure := range []*provider.Failure{write, read, list} {
				require.Equal(t, provider.CodeUnreadable, failure.Code)
				require.Equal(t, test.status, failure.Status)
				require.NotContains(t, failure.Error(), "example.com")
			}
			require.Equal(t, test.onRead, read.Class)
			require.Equal(t, test.onRead, list.Class)
		})
	}
}

func TestAListThatIsNotStripesProvesNoAbsence(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{}`, `{"data":[]}`, `{"object":"list","url":"/v1/customers","has_more":true,"data":[]}`} {
		client := answering(t, &script{status: http.StatusOK, body: body})
		_, _, err := client.FindCustomer(t.Context(), stripe.FindCustomerParams{Email: "ada@example.com"})
		require.Equal(t, provider.CodeUnreadable, failureOf(t, err).Code, body)
	}
	client := answering(t, &script{status: http.StatusOK, body: `{}`})
	_, err := client.FindPromotionCode(t.Context(), "SPRING")
	require.Equal(t, provider.CodeUnreadable, failureOf(t, err).Code)
	require.Equal(t, provider.CodeUnreadable, failureOf(t, client.Probe(t.Context())).Code)
}

func TestWhatAFailureTellsBesideItsClass(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		header   map[string]string
		replayed bool
		wait     time.Duration
	}{
		"nothing":            {map[string]string{}, false, 0},
		"seconds":            {map[string]string{"Retry-After": "7"}, false, 7 * time.Second},
		"too long":           {map[string]string{"Retry-After": "86400"}, false, 15 * time.Minute},
		"a date of long ago": {map[string]string{"Retry-After": "Fri, 20 Nov 2020 12:00:00 GMT"}, false, 0},
		"replayed":           {map[string]string{"Idempotent-Replayed": "true"}, true, 0},
		"its own original":   {map[string]string{"Original-Request": "req_9"}, false, 0},
		"another original":   {map[string]string{"Original-Request": "req_1"}, true, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := answering(t, reply{status: 500, kind: apiError, header: test.header}.script())

			_, err := client.CreateCustomer(t.Context(), "k", stripe.CustomerParams{})

			failure := failureOf(t, err)
			require.Equal(t, test.replayed, failure.Replayed)
			require.Equal(t, test.wait, failure.RetryAfter)
		})
	}
}

func TestAFailuresTextQuotesNothing(t *testing.T) {
	t.Parallel()
	client := answering(t, reply{
		status: 400, kind: invalid, code: "ada@example.com", param: "metadata[ada@example.com]",
		header: map[string]string{"Request-Id": "ada@example.com"},
	}.script())

	_, err := client.CreateCustomer(t.Context(), "k", stripe.CustomerParams{})

	failure := failureOf(t, err)
	require.Equal(t, "stripe: rejected: invalid_request_error (metadata), HTTP 400", failure.Error())
}
