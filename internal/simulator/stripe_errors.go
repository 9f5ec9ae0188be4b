package simulator

import (
	"fmt"
	"net/http"
	"strings"
)

// stripeError is an error as Stripe words it: {"error": {...}}.
type stripeError struct {
	status int
	reason string // of a 429, for the header

	Type    string `json:"type"`
	Code    string `json:"code,omitempty"`
	Param   string `json:"param,omitempty"`
	Message string `json:"message"`
}

func (e *stripeError) answer() answer {
	a := jsonAnswer(e.status, map[string]*stripeError{"error": e})
	if e.reason != "" {
		a.header.Set("Stripe-Rate-Limited-Reason", e.reason)
	}
	return a
}

func invalidRequest(code, param, message string) *stripeError {
	return &stripeError{
		status: http.StatusBadRequest, Type: "invalid_request_error", Code: code, Param: param, Message: message,
	}
}

// missing is the answer for an id in the path: 404.
func missing(object, id string) *stripeError {
	e := missingParam("id", object, id)
	e.status = http.StatusNotFound
	return e
}

// missingParam is the answer for an id in a parameter: 400.
func missingParam(param, object, id string) *stripeError {
	return invalidRequest("resource_missing", param, fmt.Sprintf("No such %s: '%s'", object, id))
}

func noKey() *stripeError {
	e := invalidRequest("", "", "You did not provide an API key. You need to provide your API key in the "+
		"Authorization header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').")
	e.status = http.StatusUnauthorized
	return e
}

func invalidKey(key string) *stripeError {
	e := invalidRequest("", "", "Invalid API Key provided: "+redacted(key))
	e.status = http.StatusUnauthorized
	return e
}

func expiredKey(key string) *stripeError {
	e := invalidRequest("api_key_expired", "", "Expired API Key provided: "+redacted(key))
	e.status = http.StatusUnauthorized
	return e
}

// redacted shows the end of a key only, as Stripe does.
func redacted(key string) string {
	const shown = 4
	if len(key) <= shown {
		return strings.Repeat("*", len(key))
	}
	return strings.Repeat("*", len(key)-shown) + key[len(key)-shown:]
}

func tooManyRequests() *stripeError {
	e := invalidRequest("rate_limit", "", "Request rate limit exceeded. Learn more about rate limits here "+
		"https://stripe.com/docs/rate-limits.")
	e.status = http.StatusTooManyRequests
	e.reason = "global-rate"
	return e
}

func internalError() *stripeError {
	return &stripeError{
		status: http.StatusInternalServerError, Type: "api_error",
		Message: "An unknown error occurred; this is the simulator's doing.",
	}
}

func unknownRoute(w http.ResponseWriter, r *http.Request) {
	e := invalidRequest("", "", fmt.Sprintf("Unrecognized request URL (%s: %s). "+
		"Please see https://stripe.com/docs or we can help at https://support.stripe.com/.", r.Method, r.URL.Path))
	e.status = http.StatusNotFound
	e.answer().writeTo(w)
}
