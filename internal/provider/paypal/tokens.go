package paypal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/holdfast/holdfast/internal/provider"
)

const (
	tokenRoute = "/v1/oauth2/token" //nolint:gosec // a path
	// renewBefore is how long before its end a token is not used any more: a request under it must
	// still arrive in time, and clocks differ.
	renewBefore = time.Minute
	maxGrant    = 64 << 10
)

// token is an access token. It is a credential: it goes into a header and nowhere else.
type token struct {
	value     string
	goodUntil time.Time
}

// tokens holds the access token and renews it: one request at a time, whoever waits for it, and
// each caller waits no longer than its own context.
type tokens struct {
	timeout time.Duration // of a renewal, which outlives the caller that began it
	request func(context.Context) (token, error)
	renewal singleflight.Group

	mu      sync.Mutex
	current token
}

// get is the token to use now. Its error is a *provider.Failure: PayPal's, or that the context has
// ended while the token was waited for.
func (t *tokens) get(ctx context.Context) (string, error) {
	if value, ok := t.held(); ok {
		return value, nil
	}
	renewed := t.renewal.DoChan("", func() (any, error) { return t.renew(ctx) })
	select {
	case result := <-renewed:
		value, _ := result.Val.(string)
		return value, result.Err
	case <-ctx.Done():
		return "", &provider.Failure{
			Provider: provider.PayPal, Class: provider.Transient, Code: provider.CodeNetwork,
			Cause: fmt.Errorf("wait for an access token: %w", ctx.Err()),
		}
	}
}

// renew asks for a token on behalf of everybody who waits: the caller that came first may leave.
func (t *tokens) renew(ctx context.Context) (string, error) {
	if value, ok := t.held(); ok { // of a renewal that ended just before this one began
		return value, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.timeout)
	defer cancel()
	granted, err := t.request(ctx)
	if err != nil {
		return "", err
	}
	t.hold(granted)
	return granted.value, nil
}

func (t *tokens) held() (value string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current.value, t.current.value != "" && time.Now().Before(t.current.goodUntil)
}

func (t *tokens) hold(granted token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.current = granted
}

// discard forgets a token that PayPal has refused, unless another has taken its place by now.
func (t *tokens) discard(refused string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current.value == refused {
		t.current = token{}
	}
}

// grants asks PayPal for access tokens (RFC 6749, client credentials).
type grants struct {
	url        string
	id, secret string
	http       *http.Client
}

// grant is PayPal's answer to a request for a token, good or bad.
type grant struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"` // seconds
	Error       string `json:"error"`
}

// refusedGrantError is an OAuth error, such as "invalid_client".
type refusedGrantError struct{ code string }

func (e *refusedGrantError) Error() string { return "no access token: " + word(e.code) }

// ask makes one request for a token. Its error is a *provider.Failure. A refusal is never about
// the work that needs the token: it is ours to put right.
func (g *grants) ask(ctx context.Context, probe bool) (token, error) {
	call := &provider.Call{Route: tokenRoute, Probe: probe}
	asked := time.Now()
	granted, err := g.send(provider.WithCall(ctx, call))
	if err != nil {
		failure := classify(err, call.Record(), request{route: tokenRoute})
		if failure.Class == provider.Rejected || failure.Class == provider.NotFound {
			failure.Class = provider.Misconfigured
		}
		return token{}, failure
	}
	return granted.token(asked), nil
}

// token counts from when it was asked for: how long the answer took is unknown.
func (g grant) token(asked time.Time) token {
	life := time.Duration(g.ExpiresIn) * time.Second
	return token{value: g.AccessToken, goodUntil: asked.Add(life - min(renewBefore, life/2))}
}

func (g *grants) send(ctx context.Context) (grant, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url, strings.NewReader("grant_type=client_credentials"))
	if err != nil {
		return grant{}, fmt.Errorf("make the request for an access token: %w", err)
	}
	r.SetBasicAuth(g.id, g.secret)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	response, err := g.http.Do(r)
	if err != nil {
		return grant{}, err
	}
	defer response.Body.Close()
	var answer grant
	if err := json.NewDecoder(io.LimitReader(response.Body, maxGrant)).Decode(&answer); err != nil {
		// The decoder's own error may quote the token.
		return grant{}, errors.New("read the answer to the request for an access token: it is not whole JSON")
	}
	switch {
	case response.StatusCode != http.StatusOK:
		return grant{}, &refusedGrantError{code: answer.Error}
	case answer.AccessToken == "" || answer.ExpiresIn <= 0:
		return grant{}, errNotPayPal
	}
	return answer, nil
}
