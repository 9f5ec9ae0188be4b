// Package paypal calls PayPal for Holdfast: a thin adapter over plutov/paypal that gives types of
// its own, keeps the access token itself, never repeats a call that may have been carried out,
// never sends a write without a request id, and fails with a provider.Failure whose class says
// what is known of the outcome.
package paypal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	paypalgo "github.com/plutov/paypal/v4"

	"github.com/holdfast/holdfast/internal/provider"
)

// LiveAPI and SandboxAPI are PayPal's own base URLs.
const (
	LiveAPI    = "https://api-m.paypal.com"
	SandboxAPI = "https://api-m.sandbox.paypal.com"
)

const (
	// DefaultTimeout bounds a call, the token that it may need and its answer's body included.
	// Activities must allow more.
	DefaultTimeout = 20 * time.Second
	probeTimeout   = 5 * time.Second
)

// Config says how to reach PayPal.
type Config struct {
	// ClientID and ClientSecret are the REST app's.
	ClientID     string
	ClientSecret string
	// APIBase is the base URL; empty means LiveAPI, which refuses a sandbox app's credentials.
	APIBase string
	// Timeout bounds a call; zero means DefaultTimeout.
	Timeout time.Duration
	// Breaker is this process's breaker for PayPal; nil never refuses a call.
	Breaker *provider.Breaker
	// Observer sees every call, those for tokens too; nil sees none.
	Observer provider.Observer
}

// Client makes calls to PayPal, each of which is one request, but for the token that it may need.
// Its errors are *provider.Failure. It is safe for concurrent use.
type Client struct {
	base     string
	livemode bool
	timeout  time.Duration
	api      *paypalgo.Client
	grants   *grants
	tokens   *tokens
}

// New makes a client and calls nobody. Its errors name what is wrong with the configuration and
// never quote the credentials.
func New(cfg Config) (*Client, error) {
	if err := errors.Join(checkCredential("client id", cfg.ClientID), checkCredential("client secret", cfg.ClientSecret)); err != nil {
		return nil, err
	}
	base, err := readBase(cfg.APIBase)
	if err != nil {
		return nil, err
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	wire := &provider.Transport{
		Provider: provider.PayPal, Base: provider.NewHTTPTransport(), Breaker: cfg.Breaker, Observer: cfg.Observer,
	}
	api, err := newLibrary(base.String(), wire)
	if err != nil {
		return nil, err
	}
	c := &Client{
		base: base.String(), livemode: isLive(base), timeout: cfg.Timeout, api: api,
		grants: &grants{url: base.String() + tokenRoute, id: cfg.ClientID, secret: cfg.ClientSecret, http: newHTTPClient(wire)},
	}
	c.tokens = &tokens{timeout: cfg.Timeout, request: func(ctx context.Context) (token, error) { return c.grants.ask(ctx, false) }}
	return c, nil
}

// Livemode says that the client speaks to PayPal's own live API, where money is real: neither to
// the sandbox nor to a simulator.
func (c *Client) Livemode() bool { return c.livemode }

// Probe asks for a new access token, and nil says that PayPal answers and accepts our credentials.
// There is no cheaper call that shows both: any other needs a token, and one that is held may
// outlive the secret that it was given for by hours. The new token is used from then on. A probe
// takes at most five seconds, goes through an open breaker, and closes it when PayPal answers.
func (c *Client) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	granted, err := c.grants.ask(ctx, true)
	if err != nil {
		return err
	}
	c.tokens.hold(granted)
	return nil
}

var credential = regexp.MustCompile(`^[!-9;-~]+$`) // a colon would end the id in basic authentication

func checkCredential(name, value string) error {
	switch {
	case value == "":
		return fmt.Errorf("paypal: the %s is empty", name)
	case strings.TrimSpace(value) != value:
		return fmt.Errorf("paypal: the %s begins or ends with white space; remove it", name)
	case !credential.MatchString(value):
		return fmt.Errorf("paypal: the %s must be printable ASCII without spaces and colons", name)
	}
	return nil
}

// readBase takes the base as people write it, with or without a slash or the version at its end.
func readBase(base string) (*url.URL, error) {
	if base == "" {
		base = LiveAPI
	}
	u, err := url.Parse(strings.TrimSuffix(strings.TrimSuffix(base, "/"), "/v1"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil || u.Fragment != "" {
		return nil, fmt.Errorf("paypal: the API base must be a plain http or https URL such as %s or %s", LiveAPI, SandboxAPI)
	}
	return u, nil
}

func isLive(base *url.URL) bool {
	host := "." + strings.ToLower(base.Hostname())
	return strings.HasSuffix(host, ".paypal.com") && !strings.HasSuffix(host, ".sandbox.paypal.com")
}

// newLibrary makes the library's side of the connection. It gets neither the credentials nor the
// token: it would renew a token under a lock that no caller's deadline reaches, and keep one that
// PayPal has revoked.
func newLibrary(base string, wire http.RoundTripper) (*paypalgo.Client, error) {
	const unused = "set by the transport"
	api, err := paypalgo.NewClient(unused, unused, base)
	if err != nil {
		return nil, fmt.Errorf("paypal: make the client: %w", err)
	}
	api.SetHTTPClient(newHTTPClient(&authorizer{next: wire}))
	api.SetAccessToken(unused)
	return api, nil
}

func newHTTPClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: transport,
		// A followed redirect is a second request, and may carry the credentials elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// request is one call, as far as its failures depend on it.
type request struct {
	route string // the path without ids
	write bool
	// id goes into PayPal-Request-Id: the same id again is the same write. Writes need one.
	id string
}

// run makes the call within its time, under a token. A 401 says that nothing was done and that the
// token is worth nothing any more, so the call is made once again under a new one; the second 401
// is about us.
func (c *Client) run(ctx context.Context, r request, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	held, err := c.tokens.get(ctx)
	if err != nil {
		return err
	}
	failure := attempt(ctx, r, held, do)
	if failure != nil && failure.Status == http.StatusUnauthorized {
		c.tokens.discard(held)
		if held, err = c.tokens.get(ctx); err != nil {
			return err
		}
		failure = attempt(ctx, r, held, do)
	}
	if failure != nil {
		return failure
	}
	return nil
}

// attempt sends the request once, under a context that records it, and classifies its failure.
func attempt(ctx context.Context, r request, accessToken string, do func(context.Context) error) *provider.Failure {
	call := &provider.Call{Route: r.route}
	ctx = withAuthorization(provider.WithCall(ctx, call), authorization{token: accessToken, requestID: r.id})
	if err := do(ctx); err != nil {
		return classify(err, call.Record(), r)
	}
	return nil
}

// exchange sends one request to the path and reads the answer, through the library.
func (c *Client) exchange(ctx context.Context, method, path string, body, answer any) error {
	r, err := c.api.NewRequest(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	return c.api.SendWithAuth(r, answer)
}

// rejected is a refusal of ours: nothing was sent, and nothing will be until a person changes something.
func rejected(code, param string) *provider.Failure {
	return &provider.Failure{Provider: provider.PayPal, Class: provider.Rejected, Code: code, Param: param}
}
