package paypal

import (
	"context"
	"io"
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

// maxErrorBody bounds what is kept of an error's body; a longer one is not read for its links.
const maxErrorBody = 1 << 20

// errorBody keeps the body of an error answer while the library reads it, which drops the links.
type errorBody struct{ text []byte }

// Write takes what there is room for, and never fails.
func (e *errorBody) Write(p []byte) (int, error) {
	e.text = append(e.text, p[:min(len(p), maxErrorBody-len(e.text))]...)
	return len(p), nil
}

func (e *errorBody) of(body io.ReadCloser) io.ReadCloser {
	return struct {
		io.Reader
		io.Closer
	}{io.TeeReader(body, e), body}
}

type errorBodyKey struct{}

// keepingError gives the context under which the body of an error answer is kept.
func keepingError(ctx context.Context, body *errorBody) context.Context {
	return context.WithValue(ctx, errorBodyKey{}, body)
}

// authorizer puts the token over the one that the library thinks it has, and the request id on
// every write, which the library does for few; and it keeps the error that the call asks to keep.
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
	answer, err := a.next.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	if kept, ok := r.Context().Value(errorBodyKey{}).(*errorBody); ok && answer.StatusCode >= http.StatusBadRequest {
		answer.Body = kept.of(answer.Body)
	}
	return answer, nil
}
