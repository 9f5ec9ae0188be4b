// Package stripe calls Stripe for Holdfast: a thin adapter over stripe-go that takes and gives
// types of its own, never repeats a call by itself, never sends a write without an idempotency
// key, and fails with a provider.Failure whose class says what is known of the outcome.
package stripe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	stripego "github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/account"
	"github.com/stripe/stripe-go/v76/balance"
	"github.com/stripe/stripe-go/v76/customer"
	"github.com/stripe/stripe-go/v76/payout"
	"github.com/stripe/stripe-go/v76/promotioncode"
	"github.com/stripe/stripe-go/v76/subscription"
	"github.com/stripe/stripe-go/v76/subscriptionitem"
	"github.com/stripe/stripe-go/v76/transfer"
	"github.com/stripe/stripe-go/v76/transferreversal"
	"golang.org/x/time/rate"

	"github.com/holdfast/holdfast/internal/provider"
)

const (
	// DefaultTimeout bounds a call, its answer's body included. Activities must allow more.
	DefaultTimeout = 20 * time.Second
	probeTimeout   = 5 * time.Second

	// pagesPerSecond is how fast this process reads further pages of a list. First pages are calls
	// of activities, and their task queue's rate counts them.
	pagesPerSecond = 5
)

// Config says how to reach Stripe.
type Config struct {
	// SecretKey begins with sk_ or rk_.
	SecretKey string
	// APIBase is the base URL; empty means Stripe's own.
	APIBase string
	// Timeout bounds a call, its answer's body included; zero means DefaultTimeout.
	Timeout time.Duration
	// Breaker is this process's breaker for Stripe; nil never refuses a call.
	Breaker *provider.Breaker
	// Observer sees every call; nil sees none.
	Observer provider.Observer
}

// Client makes calls to Stripe, each of which is one request, but for the further pages of
// lists. Its errors are *provider.Failure unless a doc comment says otherwise. It is safe for
// concurrent use.
type Client struct {
	livemode          bool
	timeout           time.Duration
	customers         customer.Client
	promotionCodes    promotioncode.Client
	balances          balance.Client
	subscriptions     subscription.Client
	subscriptionItems subscriptionitem.Client
	accounts          account.Client
	externalAccounts  externalAccounts
	transfers         transfer.Client
	reversals         transferreversal.Client
	payouts           payout.Client
	pages             *rate.Limiter
}

// New makes a client and calls nobody. Its errors name what is wrong with the configuration and
// never quote the key.
func New(cfg Config) (*Client, error) {
	if err := checkSecretKey(cfg.SecretKey); err != nil {
		return nil, err
	}
	if cfg.APIBase == "" {
		cfg.APIBase = stripego.APIURL
	}
	if err := checkBase(cfg.APIBase); err != nil {
		return nil, err
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	b := newBackend(cfg)
	return &Client{
		timeout:           cfg.Timeout,
		livemode:          Livemode(cfg.SecretKey),
		customers:         customer.Client{B: b, Key: cfg.SecretKey},
		promotionCodes:    promotioncode.Client{B: b, Key: cfg.SecretKey},
		balances:          balance.Client{B: b, Key: cfg.SecretKey},
		subscriptions:     subscription.Client{B: b, Key: cfg.SecretKey},
		subscriptionItems: subscriptionitem.Client{B: b, Key: cfg.SecretKey},
		accounts:          account.Client{B: b, Key: cfg.SecretKey},
		externalAccounts:  externalAccounts{backend: b, key: cfg.SecretKey},
		transfers:         transfer.Client{B: b, Key: cfg.SecretKey},
		reversals:         transferreversal.Client{B: b, Key: cfg.SecretKey},
		payouts:           payout.Client{B: b, Key: cfg.SecretKey},
		pages:             rate.NewLimiter(pagesPerSecond, pagesPerSecond),
	}, nil
}

// Livemode says whether a secret key moves real money.
func Livemode(secretKey string) bool { return !strings.Contains(secretKey, "_test_") }

// Livemode says that the key moves real money: objects and events of the other mode are not ours.
func (c *Client) Livemode() bool { return c.livemode }

// Probe makes the cheapest read there is, and nil says that Stripe answers and accepts the key. It
// takes at most five seconds, goes through an open breaker, and closes it when Stripe answers.
func (c *Client) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return c.run(ctx, request{route: "/v1/balance", probe: true}, func(ctx context.Context) error {
		params := &stripego.BalanceParams{}
		params.Context = ctx
		found, err := c.balances.Get(params)
		if err == nil && found.Object != "balance" {
			return errNotStripe
		}
		return err
	})
}

var (
	secretKey = regexp.MustCompile(`^[sr]k_[A-Za-z0-9_]+$`)
	edgeSpace = regexp.MustCompile(`^\s|\s$`)
)

func checkSecretKey(key string) error {
	switch {
	case key == "":
		return errors.New("stripe: the secret key is empty")
	case edgeSpace.MatchString(key):
		return errors.New("stripe: the secret key begins or ends with white space; remove it")
	case strings.HasPrefix(key, "pk_"):
		return errors.New("stripe: the secret key is a publishable one (pk_…); use the one that begins with sk_ or rk_")
	case !secretKey.MatchString(key):
		return errors.New("stripe: the secret key must begin with sk_ or rk_, followed by letters, digits and underscores only")
	}
	return nil
}

func checkBase(base string) error {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return fmt.Errorf("stripe: the API base must be a plain http or https URL such as %s", stripego.APIURL)
	}
	return nil
}

// newBackend makes stripe-go's side of the connection. A BackendConfig must not be shared between
// backends: making one writes into it.
func newBackend(cfg Config) stripego.Backend {
	return stripego.GetBackendWithConfig(stripego.APIBackend, &stripego.BackendConfig{
		URL: &cfg.APIBase,
		HTTPClient: &http.Client{
			Transport: &provider.Transport{
				Provider: provider.Stripe, Base: provider.NewHTTPTransport(), Breaker: cfg.Breaker, Observer: cfg.Observer,
			},
			// A followed redirect is a second request, and may turn a POST into a GET.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		MaxNetworkRetries: new(int64(0)), // Temporal retries, in sight of everybody
		EnableTelemetry:   new(false),
		LeveledLogger:     &stripego.LeveledLogger{Level: stripego.LevelNull}, // it would log messages that quote addresses
	})
}

// request is one call, as far as its failures depend on it.
type request struct {
	route   string // the path without ids
	write   bool
	probe   bool
	account bool // it is about a connected account, or speaks for one
	instant bool // it asks for an instant payout
}

// run makes the call within its time, under a context that records it, and classifies its failure.
// (http.Client.Timeout would end it too, with an error that does not say so.)
func (c *Client) run(ctx context.Context, r request, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	call := &provider.Call{Route: r.route, Probe: r.probe}
	if err := do(provider.WithCall(ctx, call)); err != nil {
		return classify(err, call.Record(), r)
	}
	return nil
}

// idempotencyKey is what Stripe takes unchanged. stripe-go makes a random key of a missing one,
// and trims others.
var idempotencyKey = regexp.MustCompile(`^[!-~]{1,255}$`)

func checkIdempotencyKey(key string) error {
	if !idempotencyKey.MatchString(key) {
		return errors.New("stripe: a write needs an idempotency key of 1 to 255 printable ASCII characters without spaces; nothing was sent")
	}
	return nil
}

// rejected is a refusal of ours: nothing was sent, and nothing will be until a person changes something.
func rejected(code, param string) *provider.Failure {
	return &provider.Failure{Provider: provider.Stripe, Class: provider.Rejected, Code: code, Param: param}
}
