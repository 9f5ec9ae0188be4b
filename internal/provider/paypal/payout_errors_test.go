package paypal_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
)

const (
	payee = provider.MatterPayee
	ours  = provider.MatterOurs
)

// batchRefusal is an error of PayPal's to a batch of two, and what it must come to.
type batchRefusal struct {
	status int
	name   string
	rest   string // of the error's JSON

	class  provider.Class
	code   string
	matter provider.Matter
	bad    []int
}

func details(of ...string) string { return `,"details":[` + strings.Join(of, ",") + `]` }

func at(field, issue string) string {
	return fmt.Sprintf(`{"field":%q,"location":"body","issue":%q,"value":"ada@example.com"}`, field, issue)
}

func batchRefusals() []batchRefusal {
	const (
		validation = paypal.CodeValidation
		duplicate  = paypal.CodeDuplicateBatch
		receiver   = "Receiver is invalid or does not match with type"
	)
	return []batchRefusal{
		// Money.
		{status: 422, name: "INSUFFICIENT_FUNDS", class: rejected, code: paypal.CodeInsufficientFunds, matter: ours},
		{status: 403, name: "INSUFFICIENT_FUNDS", class: rejected, code: paypal.CodeInsufficientFunds, matter: ours},
		{status: 400, name: "SENDER_INSUFFICIENT_FUNDS", class: rejected, code: paypal.CodeInsufficientFunds, matter: ours},
		{
			status: 422, name: "UNPROCESSABLE_ENTITY", rest: details(at("", "INSUFFICIENT_FUNDS")),
			class: rejected, code: paypal.CodeInsufficientFunds, matter: ours,
		},
		{
			status: 400, name: "USER_BUSINESS_ERROR", rest: details(at("", "SENDER_INSUFFICIENT_FUNDS")),
			class: rejected, code: paypal.CodeInsufficientFunds, matter: ours,
		},

		// The sender_batch_id, in PayPal's words of then and now, and in none.
		{status: 400, name: "USER_BUSINESS_ERROR", rest: details(at("SENDER_BATCH_ID", "Batch with given sender_batch_id already exists")), class: unknown, code: duplicate},
		{status: 400, name: "USER_BUSINESS_ERROR", rest: details(at("SENDER_BATCH_ID", "Duplicate batch request")), class: unknown, code: duplicate},
		{status: 400, name: "VALIDATION_ERROR", rest: details(at("sender_batch_header.sender_batch_id", "is a duplicate")), class: unknown, code: duplicate},
		{status: 400, name: "USER_BUSINESS_ERROR", class: unknown, code: duplicate},
		{status: 400, name: "USER_BUSINESS_ERROR", rest: `,"details":[]`, class: unknown, code: duplicate},
		{status: 422, name: "USER_BUSINESS_ERROR", rest: details(at("", "SOMETHING_OF_NEXT_YEAR")), class: unknown, code: duplicate},
		{status: 400, name: "DUPLICATE_REQUEST_ID", class: unknown, code: duplicate},
		{status: 409, name: "DUPLICATE_BATCH", class: unknown, code: duplicate},

		// What is in the batch.
		{status: 400, name: "VALIDATION_ERROR", class: rejected, code: validation},
		{status: 400, name: "VALIDATION_ERROR", rest: details(at("items", "SIZE_EXCEEDED")), class: rejected, code: validation},
		{status: 400, name: "VALIDATION_ERROR", rest: details(at("items[1].receiver", receiver)), class: rejected, code: validation, matter: payee, bad: []int{1}},
		{status: 400, name: "VALIDATION_ERROR", rest: details(at("items[1].receiver", receiver), at("items[0].receiver", receiver)), class: rejected, code: validation, matter: payee, bad: []int{0, 1}},
		{status: 400, name: "VALIDATION_ERROR", rest: details(at("/items/1/amount/value", "x"), at("/items/1/receiver", receiver)), class: rejected, code: validation, bad: []int{1}},
		{status: 400, name: "VALIDATION_ERROR", rest: details(at("items[2].receiver", receiver)), class: rejected, code: validation, matter: payee},
		{status: 400, name: "VALIDATION_ERROR", rest: details(at("items[0].receiver", receiver), at("items[2].receiver", receiver)), class: rejected, code: validation, matter: payee},
		{status: 400, name: "VALIDATION_ERROR", rest: details(at("items[1].sender_item_id", "Duplicate item in batch")), class: rejected, code: validation, bad: []int{1}},
		{status: 400, name: "VALIDATION_ERROR", rest: details(at("sender_batch_header.email_subject", "too long")), class: rejected, code: validation, matter: ours},
		{status: 400, name: "VALIDATION_ERROR", rest: details(at("SENDER_BATCH_ID", "too long")), class: rejected, code: validation, matter: ours},
		{
			status: 400, name: "VALIDATION_ERROR", rest: details(at("/sender_batch_header/email_subject", "too long"), at("items[1].receiver", receiver)),
			class: rejected, code: validation, bad: []int{1},
		},

		// What PayPal says of an account, as it says it of items.
		{status: 422, name: "RECEIVER_UNREGISTERED", class: rejected, code: "RECEIVER_UNREGISTERED", matter: payee},
		{status: 422, name: "SENDER_EMAIL_UNCONFIRMED", class: rejected, code: "SENDER_EMAIL_UNCONFIRMED", matter: ours},
		{status: 400, name: "USER_BUSINESS_ERROR", rest: details(at("", "RECEIVER_UNREGISTERED")), class: rejected, code: "RECEIVER_UNREGISTERED", matter: payee},
		{status: 422, name: "A_NAME_OF_NEXT_YEAR", class: rejected, code: "A_NAME_OF_NEXT_YEAR"},

		// At the door, and nobody's answer.
		{status: 401, name: "AUTHENTICATION_FAILURE", class: misconfigured, code: "AUTHENTICATION_FAILURE"},
		{status: 403, name: "SENDER_RESTRICTED", class: misconfigured, code: "SENDER_RESTRICTED"},
		{status: 403, name: "AUTHORIZATION_ERROR", class: misconfigured, code: "AUTHORIZATION_ERROR"},
		{status: 403, name: "REQUIRED_SCOPE_MISSING", class: misconfigured, code: "REQUIRED_SCOPE_MISSING"},
		{status: 429, name: "RATE_LIMIT_REACHED", class: rateLimited, code: "RATE_LIMIT_REACHED"},
		{status: 409, name: "RESOURCE_CONFLICT", class: transient, code: "RESOURCE_CONFLICT"},
		{status: 500, name: "INTERNAL_ERROR", class: unknown, code: "INTERNAL_ERROR"},
		{status: 500, name: "VALIDATION_ERROR", rest: details(at("items[1].receiver", receiver)), class: unknown, code: receiverCode},
		{status: 503, name: "INSUFFICIENT_FUNDS", class: unknown, code: "INSUFFICIENT_FUNDS"},
	}
}

// receiverCode is what is left of an issue that is no plain word.
const receiverCode = paypal.CodeValidation

func (r batchRefusal) reply() reply {
	return reply{
		status: r.status, header: map[string]string{"Paypal-Debug-Id": "f1d2e3", "Retry-After": "7"},
		body: fmt.Sprintf(`{"name":%q,"message":"ada@example.com is wrong","debug_id":"other"%s,"links":[]}`, r.name, r.rest),
	}
}

func TestEveryRefusalOfABatchHasAClass(t *testing.T) {
	t.Parallel()
	for _, r := range batchRefusals() {
		t.Run(fmt.Sprintf("%d %s %s", r.status, r.name, r.rest), func(t *testing.T) {
			t.Parallel()
			created, err := answering(t, &script{reply: r.reply()}).CreatePayoutBatch(t.Context(), testBatch())

			require.Zero(t, created)
			failure := failureOf(t, err)
			require.Equal(t, r.class, failure.Class)
			require.Equal(t, r.code, failure.Code)
			require.Equal(t, r.matter, failure.Matter)
			require.Equal(t, r.code == paypal.CodeDuplicateBatch, failure.Replayed)
			require.Equal(t, r.status, failure.Status)
			require.Equal(t, "f1d2e3", failure.RequestID)
			require.Equal(t, 7*time.Second, failure.RetryAfter)
			require.NotContains(t, err.Error(), "example.com")
			require.Equal(t, r.bad, paypal.BadItems(err))
			require.Equal(t, r.bad, paypal.BadItems(fmt.Errorf("send the batch: %w", err)))
		})
	}
}

func TestEveryNameOfARouteIsTested(t *testing.T) {
	t.Parallel()
	tested := map[string]bool{paypal.CodeSearchTooLarge: true} // TestASearchThatFindsTooMuch
	for _, r := range batchRefusals() {
		tested[r.name] = true
	}
	for _, name := range paypal.RouteNames() {
		require.True(t, tested[name], "%s is in the table; add an answer with it to batchRefusals", name)
	}
}

// TestWhatIsSaidOfBatchesIsOfNothingElse sends the same words about another thing.
func TestWhatIsSaidOfBatchesIsOfNothingElse(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"USER_BUSINESS_ERROR", "INSUFFICIENT_FUNDS", "DUPLICATE_REQUEST_ID"} {
		client := answering(t, &script{reply: reply{status: 400, body: `{"name":"` + name + `"}`}})

		_, err := client.CancelPayoutItem(t.Context(), itemID, "k")

		require.Equal(t, rejected, failureOf(t, err).Class, name)
		require.Equal(t, name, failureOf(t, err).Code)
		require.False(t, failureOf(t, err).Replayed)
	}
}

func TestItemsAreFoundHoweverPayPalPointsAtThem(t *testing.T) {
	t.Parallel()
	batch := testBatch()
	for len(batch.Items) < 13 {
		batch.Items = append(batch.Items, batch.Items[0])
	}
	for field, want := range map[string][]int{
		"items[12].receiver":         {12},
		"items[3]":                   {3},
		"items[0].amount.value":      {0},
		"/items/3/amount/value":      {3},
		"/items/12":                  {12},
		"items/3/receiver":           {3},
		"items.3.receiver":           {3},
		"$.items[3].amount.currency": {3},
		"#/items/3/receiver":         {3},
		"/items[3]/receiver":         {3},
		"ITEMS[3].RECEIVER":          {3},

		"items":                             nil,
		"items[]":                           nil,
		"items[x].receiver":                 nil,
		"items[-1].receiver":                nil,
		"items[3":                           nil,
		"items3":                            nil,
		"items/3x":                          nil,
		"myitems[3]":                        nil,
		"item[3]":                           nil,
		"items[13].receiver":                nil,
		"items[99999999999999999999]":       nil,
		"sender_batch_header.items[3]":      nil,
		"sender_batch_header.email_subject": nil,
		"":                                  nil,
	} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			refusal := batchRefusal{status: 400, name: "VALIDATION_ERROR", rest: details(at(field, "x"), at(field, "y"))}

			_, err := answering(t, &script{reply: refusal.reply()}).CreatePayoutBatch(t.Context(), batch)

			require.Equal(t, want, paypal.BadItems(err))
			require.Equal(t, paypal.CodeValidation, failureOf(t, err).Code)
		})
	}
	require.Nil(t, paypal.BadItems(nil))
	require.Nil(t, paypal.BadItems(http.ErrBodyNotAllowed))
}

// used is PayPal's refusal of a sender_batch_id that was used, with links where they are put.
func used(inDetail, atTop string) reply {
	return reply{status: 400, body: `{"name":"USER_BUSINESS_ERROR","message":"User business error.","debug_id":"f701090abdcb2",
		"information_link":"https://developer.paypal.com/docs/api/payments.payouts-batch/#errors",
		"details":[{"field":"SENDER_BATCH_ID","location":"body","issue":"Batch with given sender_batch_id already exists"` + inDetail + `}]` + atTop + `}`}
}

func link(href string) string {
	return fmt.Sprintf(`{"href":%q,"rel":"self","method":"GET","encType":"application/json"}`, href)
}

func TestABatchThatPayPalHasIsAdoptedByItsLink(t *testing.T) {
	t.Parallel()
	const absolute = "https://api.sandbox.paypal.com/v1/payments/payouts/5UXD2E8A7EBQJ"
	for name, answer := range map[string]reply{
		"as it is today":       used(`,"link":[`+link(absolute)+`]`, `,"links":[]`),
		"as it is documented":  used("", `,"links":[`+link(absolute)+`]`),
		"links in the detail":  used(`,"links":[`+link(absolute)+`]`, ""),
		"a link, no list":      used(`,"link":`+link(absolute), ""),
		"relative":             used("", `,"links":[`+link("/v1/payments/payouts/5UXD2E8A7EBQJ")+`]`),
		"relative, no slash":   used("", `,"links":[`+link("v1/payments/payouts/5UXD2E8A7EBQJ")+`]`),
		"with a query":         used("", `,"links":[`+link(absolute+"?page=1&page_size=1000")+`]`),
		"twice the same":       used(`,"link":[`+link(absolute)+`]`, `,"links":[`+link(absolute)+`]`),
		"beside another":       used("", `,"links":[`+link("https://developer.paypal.com/docs/api/#errors")+`,`+link(absolute)+`]`),
		"details as an object": {status: 400, body: `{"name":"USER_BUSINESS_ERROR","details":{"link":[` + link(absolute) + `]}}`},
		"in other words":       {status: 422, body: `{"name":"A_NAME_OF_NEXT_YEAR","links":[` + link(absolute) + `]}`},
		"a conflict":           {status: 409, body: `{"name":"RESOURCE_CONFLICT","links":[` + link(absolute) + `]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			created, err := answering(t, &script{reply: answer}).CreatePayoutBatch(t.Context(), testBatch())

			require.NoError(t, err)
			require.Equal(t, paypal.CreatedBatch{ID: batchID, Duplicate: true}, created)
		})
	}
}

func TestALinkThatLeadsToNoBatchIsNotUsed(t *testing.T) {
	t.Parallel()
	for _, href := range []string{
		"", "/", "https://api.paypal.com/v1/payments/payouts", "https://api.paypal.com/v1/payments/payouts/",
		"https://api.paypal.com/v1/payments/payouts/A/cancel", "https://api.paypal.com/v1/payments/payouts-item/A",
		"https://api.paypal.com/v2/payments/payouts/A", "https://api.paypal.com/v1/payments/payouts/..",
		"https://api.paypal.com/v1/payments/payouts/%2e%2e%2fx", "https://api.paypal.com/x/v1/payments/payouts/A",
		"https://api.paypal.com/v1/payments/payouts/ada@example.com", "https://api.paypal.com?x=/v1/payments/payouts/A",
		"https://api.paypal.com/v1/payments/payouts/" + strings.Repeat("A", 33), ":", "http://[::1/v1/payments/payouts/A",
		"https://developer.paypal.com/docs/api/payments.payouts-batch/#errors", "A",
	} {
		t.Run(href, func(t *testing.T) {
			t.Parallel()
			requireDuplicateWithoutLink(t, used(`,"link":[`+link(href)+`]`, `,"links":[`+link(href)+`]`))
		})
	}
	requireDuplicateWithoutLink(t, used("", `,"links":[`+link("/v1/payments/payouts/A")+`,`+link("/v1/payments/payouts/B")+`]`))
	requireDuplicateWithoutLink(t, used("", `,"links":[{"href":7},7,null,"/v1/payments/payouts/A"]`))
	requireDuplicateWithoutLink(t, used("", fmt.Sprintf(`,"x":%q,"links":[%s]`, strings.Repeat("x", 1<<20), link("/v1/payments/payouts/A"))))
}

func requireDuplicateWithoutLink(t *testing.T, answer reply) {
	t.Helper()
	created, err := answering(t, &script{reply: answer}).CreatePayoutBatch(t.Context(), testBatch())

	require.Zero(t, created)
	failure := failureOf(t, err)
	require.Equal(t, unknown, failure.Class)
	require.Equal(t, paypal.CodeDuplicateBatch, failure.Code)
	require.True(t, failure.Replayed)
	require.NotContains(t, err.Error(), "example.com")
}

func TestALinkCountsOnlyInARefusal(t *testing.T) {
	t.Parallel()
	links := `"links":[` + link("/v1/payments/payouts/5UXD2E8A7EBQJ") + `]`
	for status, class := range map[int]provider.Class{
		200: unknown, 302: unknown, 401: misconfigured, 403: misconfigured, 429: rateLimited, 500: unknown, 503: unknown,
	} {
		answer := reply{status: status, body: `{"name":"USER_ERROR",` + links + `}`}

		created, err := answering(t, &script{reply: answer}).CreatePayoutBatch(t.Context(), testBatch())

		require.Zero(t, created, status)
		require.Equal(t, class, failureOf(t, err).Class, status)
	}
}

func TestAnAnswerToABatchThatIsNotPayPals(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "<html>ada@example.com</html>", `{"name":"USER_BUSINESS`, `{"message":"ada@example.com"}`} {
		for status, class := range map[int]provider.Class{
			201: unknown, 400: unknown, 401: misconfigured, 403: misconfigured, 404: unknown, 422: unknown, 429: rateLimited, 500: unknown, 502: unknown,
		} {
			_, err := answering(t, &script{reply: reply{status: status, body: body}}).CreatePayoutBatch(t.Context(), testBatch())

			failure := failureOf(t, err)
			require.Equal(t, class, failure.Class, "%d %s", status, body)
			require.Equal(t, provider.CodeUnreadable, failure.Code)
			require.False(t, failure.Replayed)
			require.Nil(t, paypal.BadItems(err))
			require.NotContains(t, err.Error(), "example.com")
		}
	}
}

// TestTheLinkOfARefusedTokenIsNotTheBatchs answers 401 first, and a duplicate without a link under the
// next token.
func TestTheLinkOfARefusedTokenIsNotTheBatchs(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	client := newClient(t, paypal.Config{APIBase: serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == tokenPath:
			reply{body: `{"access_token":"t","expires_in":32400}`}.write(w)
		case asked.Add(1) == 1:
			reply{status: 401, body: `{"name":"AUTHENTICATION_FAILURE","links":[` + link("/v1/payments/payouts/A") + `]}`}.write(w)
		default:
			used("", "").write(w)
		}
	}))})

	created, err := client.CreatePayoutBatch(t.Context(), testBatch())

	require.Zero(t, created)
	require.Equal(t, paypal.CodeDuplicateBatch, failureOf(t, err).Code)
	require.EqualValues(t, 2, asked.Load())
}

func TestReadsOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	client := answering(t, &script{reply: reply{status: 404, body: `{"name":"RESOURCE_NOT_FOUND","details":[{"issue":"INVALID_RESOURCE_ID","field":"payout_batch_id"}]}`}})

	_, inBatch := client.GetPayoutBatch(t.Context(), batchID, 1)
	_, inItem := client.GetPayoutItem(t.Context(), itemID)
	_, inCancel := client.CancelPayoutItem(t.Context(), itemID, "k")

	for _, err := range []error{inBatch, inItem, inCancel} {
		require.Equal(t, notFound, failureOf(t, err).Class)
		require.Equal(t, "INVALID_RESOURCE_ID", failureOf(t, err).Code)
	}
}

func TestEveryErrorOfAReadHasAClass(t *testing.T) {
	t.Parallel()
	for status, class := range map[int]provider.Class{
		401: misconfigured, 403: misconfigured, 429: rateLimited, 409: transient, 422: rejected, 500: transient, 503: transient,
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			client := answering(t, &script{reply: reply{
				status: status, body: `{"name":"ADA","message":"ada@example.com"}`, header: map[string]string{"Retry-After": "7"},
			}})

			_, inBatch := client.GetPayoutBatch(t.Context(), batchID, 1)
			_, inItem := client.GetPayoutItem(t.Context(), itemID)
			_, inBalances := client.ListBalances(t.Context())
			_, inSearch := client.SearchTransactions(t.Context(), day, day.Add(time.Hour), 1)

			for _, err := range []error{inBatch, inItem, inBalances, inSearch} {
				require.Equal(t, class, failureOf(t, err).Class)
				require.Equal(t, "ADA", failureOf(t, err).Code)
				require.Equal(t, 7*time.Second, failureOf(t, err).RetryAfter)
				require.NotContains(t, err.Error(), "example.com")
			}
		})
	}
}

func TestWhatAnItemsErrorCodeIsAbout(t *testing.T) {
	t.Parallel()
	want := map[provider.Matter][]string{
		payee: {
			"CLOSED_MARKET", "CURRENCY_COMPLIANCE", "CURRENCY_NOT_SUPPORTED_FOR_RECEIVER", "INVALID_EMAIL",
			"PENDING_RECIPIENT_NON_HOLDING_CURRENCY_PAYMENT_PREFERENCE", "RECEIVER_ACCOUNT_LIMITATION", "RECEIVER_ACCOUNT_LOCKED",
			"RECEIVER_COUNTRY_NOT_ALLOWED", "RECEIVER_REFUSED", "RECEIVER_STATE_RESTRICTED", "RECEIVER_UNCONFIRMED",
			"RECEIVER_UNREGISTERED", "RECEIVER_YOUTH_ACCOUNT", "RECEIVING_LIMIT_EXCEEDED", "SELF_PAY_NOT_ALLOWED",
			"UNVERIFIED_RECIPIENT_NOT_SUPPORTED",
		},
		ours: {
			"ACCOUNT_RESTRICTED", "ACCOUNT_UNCONFIRMED_EMAIL", "APPROVER_DENIED", "AUTHORIZATION_ERROR",
			"GAMER_FAILED_FUNDING_SOURCE_CHECK", "GAMING_INVALID_PAYMENT_FLOW", "INSUFFICIENT_FUNDS", "NEGATIVE_BALANCE",
			"NON_HOLDING_CURRENCY", "POS_LIMIT_EXCEEDED", "REFUSED_ACCESS_DENIED", "REQUIRED_SCOPE_MISSING",
			"SENDER_ACCOUNT_LOCKED", "SENDER_ACCOUNT_UNVERIFIED", "SENDER_EMAIL_UNCONFIRMED", "SENDER_INSUFFICIENT_FUNDS",
			"SENDER_LOCKED", "SENDER_RESTRICTED", "SENDER_STATE_RESTRICTED", "SPENDING_LIMIT_EXCEEDED",
			"TRANSACTION_DECLINED_BY_TRAVEL_RULE", "USER_COUNTRY_NOT_ALLOWED", "USER_FUNDING_SOURCE_INELIGIBLE",
		},
		"": {
			"", "A_CODE_OF_NEXT_YEAR", "DUPLICATE_ITEM", "INTERNAL_ERROR", "REGULATORY_BLOCKED", "REGULATORY_PENDING",
			"RISK_DECLINE", "TRANSACTION_LIMIT_EXCEEDED", "UNDEFINED", "USER_BUSINESS_ERROR", "ZERO_AMOUNT",
		},
	}
	var known []string
	for matter, codes := range want {
		for _, code := range codes {
			require.Equal(t, matter, paypal.ItemMatter(code), code)
		}
		if matter != "" {
			known = append(known, codes...)
		}
	}
	require.ElementsMatch(t, known, paypal.ItemCodes(), "every code of the table is here")
}
