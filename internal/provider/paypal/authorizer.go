package paypal

import (
	"context"
	"net/http"
	"regexp"
)

// CodeRequestIDInvalid means that a write came without a proper request id. It was not sent.
const CodeRequestIDInvalid = "request_id_invalid"

// authorization is what a request is sent under, and travels in its context.
type authorization struct {
	token     string
	requestID string
}

type authorizationKey struct{}

func withAuthorization(ctx context.Context, a authorization) context.Context {
	return context.WithValue(ctx, authorizationKey{}, a)
}

// authorizer puts the token over the one that the library thinks it has, and the request id on
// every write, which the library does for few.
type authorizer struct {
	next http.RoundTripper
}

// requestID is what PayPal takes as PayPal-Request-Id on every endpoint.
var requestID = regexp.MustCompile(`^[!-~]{1,108}$`)

// RoundTrip sends a write only under a request id: without one, a repeated write is a second write.
func (a *authorizer) RoundTrip(r *http.Request) (*http.Response, error) {
	auth, _ := r.Context().Value(authorizationKey{}).(authorization)
	write := r.Method != http.MethodGet && r.Method != http.MethodHead
	if write && !requestID.MatchString(auth.requestID) {
		if r.Body != nil {
			_ = r.Body.Close() // which a RoundTripper owes even a request that it does not send
		}
		return nil, rejected(CodeRequestIDInvalid, "PayPal-Request-Id")
	}
	out := r.Clone(r.Context())
	out.Header.Set("Authorization", "Bearer "+auth.token)
	if write {
		out.Header.Set("Paypal-Request-Id", auth.requestID)
	}
	return a.next.RoundTrip(out)
}
