package specs_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheCheckFindsWrongAnswers breaks an answer in one place, each time another.
func TestTheCheckFindsWrongAnswers(t *testing.T) {
	t.Parallel()
	document := load(t, payPalSubscriptions)
	const (
		jsonType     = "application/json"
		subscription = `{"id":"I-BW452GLLEP1G","status":"ACTIVE","create_time":"2026-01-01T00:00:00Z","plan_id":"P-5ML4271244454362WXNWU5NQ",` +
			`"billing_info":{"outstanding_balance":{"currency_code":"USD","value":"0.00"},"failed_payments_count":0}}`
		notFound = `{"name":"RESOURCE_NOT_FOUND","message":"The specified resource does not exist.","debug_id":"b1d1f06c7246c"}`
	)
	for name, wrong := range map[string]struct {
		method, path string
		status       int
		contentType  string
		body         string
		complaint    string // empty means that nothing is wrong
	}{
		"nothing":         {"GET", "/I-1", 200, jsonType, subscription, ""},
		"nothing, absent": {"GET", "/I-1", 404, jsonType, notFound, ""},
		"nothing, done":   {"POST", "/I-1/cancel", 204, "", "", ""},
		"a type":          {"GET", "/I-1", 200, jsonType, `{"id":7}`, "value must be a string"},
		"a status":        {"GET", "/I-1", 200, jsonType, `{"status":"CANCELED"}`, "value is not one of the allowed values"},
		"a time":          {"GET", "/I-1", 200, jsonType, `{"create_time":"2026-01-01 00:00:00"}`, "doesn't match"},
		"a field's name":  {"GET", "/I-1", 200, jsonType, `{"planId":"P-1"}`, "the document has no field /planId"},
		"a field's place": {"GET", "/I-1", 200, jsonType, `{"next_billing_time":"2026-01-01T00:00:00Z"}`, "no field /next_billing_time"},
		"a field in a list": {
			"GET", "/I-1", 200, jsonType, `{"links":[{"href":"https://x","rel":"self","verb":"GET"}]}`, "no field /links/0/verb",
		},
		"a missing field": {
			"GET", "/I-1", 200, jsonType, `{"billing_info":{"last_payment":{"time":"2026-01-01T00:00:00Z"}}}`, `property "amount" is missing`,
		},
		"no JSON":            {"GET", "/I-1", 200, jsonType, `<html>`, "decode"},
		"another media type": {"GET", "/I-1", 200, "text/html", subscription, "Content-Type"},
		"an error's name":    {"GET", "/I-1", 404, jsonType, `{"name":"NOT_FOUND"}`, "value is not one of the allowed values"},
		"an error's issue": {
			"GET", "/I-1", 404, jsonType, `{"name":"RESOURCE_NOT_FOUND","details":[{"issue":"GONE"}]}`, "doesn't match any schema",
		},
		"an error that is another's": {"GET", "/I-1", 401, jsonType, notFound, "value is not one of the allowed values"},
		"a status that is not described": {
			"GET", "/I-1", 418, jsonType, `{"name":"TEAPOT"}`, "doesn't match schema #/components/schemas/error_default",
		},
		"an error without a body": {"POST", "/I-1/cancel", 422, jsonType, "", "decode"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checked, base := document.between(t, serve(t, wrong.status, wrong.contentType, wrong.body))
			body := ""
			if wrong.method == http.MethodPost {
				body = `{"reason":"enough"}`
			}

			caller{t: t, base: base}.call(wrong.method, subscriptionsPath+wrong.path, body)

			found := checked.found()
			if wrong.complaint == "" {
				require.Empty(t, found)
				return
			}
			require.Len(t, found, 1)
			require.Contains(t, found[0], "answer ")
			require.Contains(t, found[0], wrong.complaint)
		})
	}
}

func TestTheCheckFindsWrongRequests(t *testing.T) {
	t.Parallel()
	document := load(t, payPalSubscriptions)
	for name, wrong := range map[string]struct{ method, path, body, complaint string }{
		"a path":             {"GET", "/v1/billing/subscription/I-1", "", "no matching operation was found"},
		"a method":           {"PUT", "/v1/billing/subscriptions/I-1", "", "no matching operation was found"},
		"a query":            {"GET", "/v1/billing/subscriptions/I-1?expand=plan", "", "no query parameter expand"},
		"a query's length":   {"GET", "/v1/billing/subscriptions/I-1?fields=", "", "minimum string length"},
		"a body for a read":  {"GET", "/v1/billing/subscriptions/I-1", `{"id":"I-1"}`, "body"},
		"a type":             {"POST", "/v1/billing/subscriptions", `{"plan_id":7}`, "value must be a string"},
		"a missing field":    {"POST", "/v1/billing/subscriptions", `{"custom_id":"u_1"}`, `property "plan_id" is missing`},
		"a field's name":     {"POST", "/v1/billing/subscriptions", `{"plan_id":"P-1","customId":"u_1"}`, "no field /customId"},
		"a quantity":         {"POST", "/v1/billing/subscriptions", `{"plan_id":"P-1","quantity":"two"}`, "doesn't match"},
		"no reason":          {"POST", "/v1/billing/subscriptions/I-1/cancel", `{}`, `property "reason" is missing`},
		"no JSON":            {"POST", "/v1/billing/subscriptions/I-1/cancel", `{`, "decode"},
		"the token's path":   {"POST", "/v1/oauth2/tokens", "", "no matching operation was found"},
		"nothing":            {"POST", "/v1/billing/subscriptions/I-1/cancel", `{"reason":"enough"}`, ""},
		"nothing, a query":   {"GET", "/v1/billing/subscriptions/I-1?fields=plan", "", ""},
		"nothing, the token": {"POST", "/v1/oauth2/token", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checked, base := document.between(t, serve(t, http.StatusNoContent, "", ""))

			caller{t: t, base: base}.call(wrong.method, wrong.path, wrong.body)

			var requests []string
			for _, found := range checked.found() {
				if strings.HasPrefix(found, "request ") {
					requests = append(requests, found)
				}
			}
			if wrong.complaint == "" {
				require.Empty(t, requests)
				return
			}
			require.Len(t, requests, 1)
			require.Contains(t, requests[0], wrong.complaint)
		})
	}
}
