// Package simulator is payment providers made for breaking: a stateful Stripe and PayPal over HTTP,
// with faults that are switched while they run. Tests and benchmarks start it in their own process;
// `starter simulate` runs it as a process of its own and steers it over the control endpoint,
// whose calls are listed by GET / on the control address.
//
// How it is put together: an endpoint owns the listening socket; a front stands before each
// provider, logs every call and applies the faults, knowing nothing of the provider; the provider
// (Stripe, in the files named stripe_*, or PayPal, in those named paypal_*) answers. A further
// provider is one more front, a further resource one more file that registers its routes.
package simulator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// DefaultStripeKey is the secret key that is accepted when the configuration names none.
const DefaultStripeKey = "sk_test_simulator"

const anyLoopbackPort = "127.0.0.1:0"

// Config says where the simulator listens and what it accepts at first. The zero value is useful.
type Config struct {
	// StripeAddr, PayPalAddr and ControlAddr are host:port; empty means a free port on loopback. The
	// control endpoint asks for no credentials, so it belongs on loopback or in a private network.
	StripeAddr  string
	PayPalAddr  string
	ControlAddr string

	// StripeKey is the secret key that Stripe's API accepts; empty means DefaultStripeKey.
	StripeKey string
	// StripeRateLimit is the number of calls a second that are answered; the rest get 429.
	// Zero means no limit.
	StripeRateLimit int

	// PayPalClientID and PayPalClientSecret are what PayPal gives a token for; empty means
	// DefaultPayPalClientID and DefaultPayPalClientSecret.
	PayPalClientID     string
	PayPalClientSecret string
	// PayPalWebhookID is the webhook that PayPal signs its events for; empty means
	// DefaultPayPalWebhookID.
	PayPalWebhookID string
	// PayPalRateLimit is to PayPal what StripeRateLimit is to Stripe.
	PayPalRateLimit int

	// StripeWebhook is where Stripe's events go at first, and what signs them; SetStripeWebhook
	// changes it.
	StripeWebhook StripeWebhook
	// PayPalWebhookURL is where PayPal's events go at first; SetPayPalWebhook changes it.
	PayPalWebhookURL string
	// WebhookTimeout is how long an answer to an event is awaited; zero means 10 s. An event that
	// was not taken is delivered again after WebhookRedeliverAfter, which is doubled from time to
	// time up to WebhookRedeliverMax; zero means 100 ms and 5 s.
	WebhookTimeout        time.Duration
	WebhookRedeliverAfter time.Duration
	WebhookRedeliverMax   time.Duration

	// Seed makes faults with a probability, and the jitter of latency, repeatable.
	Seed uint64
	// Logger takes complaints of the HTTP servers; nil discards them.
	Logger *slog.Logger
}

// Simulator is a running set of simulated providers. All methods may be called from any goroutine.
type Simulator struct {
	stripe         *Stripe
	stripeEndpoint *endpoint
	paypal         *PayPal
	paypalEndpoint *endpoint
	stripeWebhooks *Webhooks
	paypalWebhooks *Webhooks
	control        *endpoint
	calls          *callLog
	faults         *faults

	changing sync.Mutex // one change of the faults at a time, with its effect on the listeners
	stopped  chan struct{}
	close    func() error
}

// Start listens and returns once calls are accepted. The simulator runs until Close is called or
// ctx is done. The error names the address that could not be listened on.
func Start(ctx context.Context, cfg Config) (*Simulator, error) {
	cfg = cfg.withDefaults()
	s := &Simulator{
		stripeWebhooks: newWebhooks(ctx, stripeName, cfg),
		paypalWebhooks: newWebhooks(ctx, payPalName, cfg),
		calls:          &callLog{},
		faults:         newFaults(cfg.Seed),
		stopped:        make(chan struct{}),
	}
	s.stripe = newStripe(cfg, s.stripeWebhooks)
	s.close = sync.OnceValue(s.shutDown)
	s.stripeEndpoint = newEndpoint(s.front(s.stripe), cfg.Logger)
	s.paypal = newPayPal(cfg, s.PayPalURL)
	s.paypal.emit = func(e payPalEvent) {
		s.paypalWebhooks.emit(webhookEvent{id: e.id, eventType: e.eventType, body: e.body, sign: s.paypal.SignWebhook})
	}
	s.paypalEndpoint = newEndpoint(s.front(s.paypal), cfg.Logger)
	s.control = newEndpoint(s.controlHandler(), cfg.Logger)

	if err := errors.Join(s.SetStripeWebhook(cfg.StripeWebhook), s.SetPayPalWebhook(cfg.PayPalWebhookURL)); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.stripeEndpoint.open(ctx, cfg.StripeAddr); err != nil {
		return nil, errors.Join(fmt.Errorf("simulator: start Stripe: %w", err), s.Close())
	}
	if err := s.paypalEndpoint.open(ctx, cfg.PayPalAddr); err != nil {
		return nil, errors.Join(fmt.Errorf("simulator: start PayPal: %w", err), s.Close())
	}
	if err := s.control.open(ctx, cfg.ControlAddr); err != nil {
		return nil, errors.Join(fmt.Errorf("simulator: start the control endpoint: %w", err), s.Close())
	}
	go s.closeWhenDone(ctx)
	return s, nil
}

func (c Config) withDefaults() Config {
	if c.StripeAddr == "" {
		c.StripeAddr = anyLoopbackPort
	}
	if c.PayPalAddr == "" {
		c.PayPalAddr = anyLoopbackPort
	}
	if c.ControlAddr == "" {
		c.ControlAddr = anyLoopbackPort
	}
	if c.StripeKey == "" {
		c.StripeKey = DefaultStripeKey
	}
	c.PayPalClientID = cmp.Or(c.PayPalClientID, DefaultPayPalClientID)
	c.PayPalClientSecret = cmp.Or(c.PayPalClientSecret, DefaultPayPalClientSecret)
	c.PayPalWebhookID = cmp.Or(c.PayPalWebhookID, DefaultPayPalWebhookID)
	c.WebhookTimeout = cmp.Or(c.WebhookTimeout, defaultWebhookTimeout)
	c.WebhookRedeliverAfter = cmp.Or(c.WebhookRedeliverAfter, defaultRedeliverAfter)
	c.WebhookRedeliverMax = cmp.Or(c.WebhookRedeliverMax, defaultRedeliverMax)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// StripeURL is the base URL for Stripe clients. It stays the same while connections are refused.
func (s *Simulator) StripeURL() string { return s.stripeEndpoint.url() }

// PayPalURL is the base URL for PayPal clients. It stays the same while connections are refused.
func (s *Simulator) PayPalURL() string { return s.paypalEndpoint.url() }

// ControlURL is the base URL of the control endpoint.
func (s *Simulator) ControlURL() string { return s.control.url() }

// Stripe gives access to what the simulated Stripe knows and accepts.
func (s *Simulator) Stripe() *Stripe { return s.stripe }

// PayPal gives access to what the simulated PayPal knows and accepts.
func (s *Simulator) PayPal() *PayPal { return s.paypal }

// SetStripeWebhook changes where Stripe's events go, those under way too, and what signs them. With
// no URL they go nowhere. It fails on an address that is no URL.
func (s *Simulator) SetStripeWebhook(webhook StripeWebhook) error {
	if err := s.stripeWebhooks.setTarget(webhook.URL); err != nil {
		return err
	}
	s.stripe.setWebhookSecrets(webhook)
	return nil
}

// SetPayPalWebhook is to PayPal what SetStripeWebhook is to Stripe; its certificate signs.
func (s *Simulator) SetPayPalWebhook(url string) error { return s.paypalWebhooks.setTarget(url) }

// StripeWebhooks delivers Stripe's events: what goes wrong with them, and what became of them.
func (s *Simulator) StripeWebhooks() *Webhooks { return s.stripeWebhooks }

// PayPalWebhooks delivers PayPal's events: what goes wrong with them, and what became of them.
func (s *Simulator) PayPalWebhooks() *Webhooks { return s.paypalWebhooks }

// Calls returns what the providers were asked, oldest first, answered or not. Refused connections
// are not seen. At least the newest 250,000 calls are kept.
func (s *Simulator) Calls() Calls { return s.calls.snapshot() }

// PostsWithoutKey counts the POST requests that came without an idempotency key, which PayPal calls
// a request id, since the start; requests for a token need none.
// Ours must send none: without a key of its own, a repeated write is a second write.
func (s *Simulator) PostsWithoutKey() int { return s.calls.postsWithoutKey() }

// SetFaults replaces all active faults. Requests that a replaced fault held up go on and meet the
// new ones. It fails, changing nothing, if a fault does not make sense, and it fails if the
// listening port cannot be taken back after connections were refused.
func (s *Simulator) SetFaults(active ...Fault) error {
	if err := validateFaults(active); err != nil {
		return fmt.Errorf("simulator: %w", err)
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	s.faults.replace(active)
	if err := s.stripeEndpoint.refuse(s.faults.refusing(s.stripe.name())); err != nil {
		return fmt.Errorf("simulator: switch the listener of Stripe: %w", err)
	}
	if err := s.paypalEndpoint.refuse(s.faults.refusing(s.paypal.name())); err != nil {
		return fmt.Errorf("simulator: switch the listener of PayPal: %w", err)
	}
	return nil
}

// ClearFaults puts everything right again: SetFaults with none.
func (s *Simulator) ClearFaults() error { return s.SetFaults() }

// Faults returns the active faults and how many requests each has met.
func (s *Simulator) Faults() []ActiveFault { return s.faults.snapshot() }

// Close stops listening, breaks the open connections and frees the ports. A second call does
// nothing and returns the first one's error.
func (s *Simulator) Close() error { return s.close() }

func (s *Simulator) shutDown() error {
	close(s.stopped)
	s.stripe.stop()
	s.paypal.stop()
	s.stripeWebhooks.close()
	s.paypalWebhooks.close()
	s.changing.Lock()
	defer s.changing.Unlock()
	err := errors.Join(s.stripeEndpoint.close(), s.paypalEndpoint.close(), s.control.close())
	s.faults.replace(nil) // lets go of what a fault still holds up, now that nobody gets an answer
	return err
}

func (s *Simulator) closeWhenDone(ctx context.Context) {
	select {
	case <-s.stopped:
	case <-ctx.Done():
		_ = s.Close() // whoever calls Close gets the error
	}
}

func (s *Simulator) front(p provider) http.Handler {
	return &front{provider: p, faults: s.faults, calls: s.calls}
}

func limitOf(callsPerSecond int) (limit rate.Limit, burst int) {
	if callsPerSecond <= 0 {
		return rate.Inf, 0
	}
	return rate.Limit(callsPerSecond), callsPerSecond
}
