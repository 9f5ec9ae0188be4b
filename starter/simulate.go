package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/holdfast/holdfast/internal/simulator"
)

// simulateCommand is starter simulate.
type simulateCommand struct {
	ControlListen string `default:"127.0.0.1:12110" help:"Where faults are switched; it asks for no credentials."`

	StripeListen         string   `default:"127.0.0.1:12111" help:"Where the simulated Stripe listens."`
	StripeKey            string   `default:"sk_test_simulator" help:"The secret key that the simulated Stripe accepts."`
	RateLimit            int      `default:"0" help:"Calls a second that the simulated Stripe answers; the rest get 429. 0 is no limit."`
	StripeWebhookURL     string   `placeholder:"URL" help:"Where Stripe's events go, such as http://127.0.0.1:8080/webhooks/stripe; nowhere without it."`
	StripeWebhookSecrets []string `default:"whsec_simulator" help:"What signs Stripe's events, comma-separated; as STRIPE_WEBHOOK_SECRET has them."`

	PayPalListen       string `name:"paypal-listen" default:"127.0.0.1:12112" help:"Where the simulated PayPal listens."`
	PayPalClientID     string `name:"paypal-client-id" default:"simulator-client-id" help:"The client id that the simulated PayPal gives tokens to."`
	PayPalClientSecret string `name:"paypal-client-secret" default:"simulator-client-secret" help:"Its secret."`
	PayPalRateLimit    int    `name:"paypal-rate-limit" default:"0" help:"Calls a second that the simulated PayPal answers; the rest get 429. 0 is no limit."`
	PayPalWebhookURL   string `name:"paypal-webhook-url" placeholder:"URL" help:"Where PayPal's events go, such as http://127.0.0.1:8080/webhooks/paypal; nowhere without it."`
	PayPalWebhookID    string `name:"paypal-webhook-id" default:"8PT597110X687430LKGECATA" help:"The webhook that PayPal's events are signed for."`
}

// Run serves the simulated providers until it is stopped.
func (c *simulateCommand) Run(ctx context.Context) error {
	sim, err := simulator.Start(ctx, c.config())
	if err != nil {
		return err
	}
	c.print(os.Stderr, sim)
	<-ctx.Done()
	return sim.Close()
}

func (c *simulateCommand) config() simulator.Config {
	return simulator.Config{
		ControlAddr: c.ControlListen,
		StripeAddr:  c.StripeListen, StripeKey: c.StripeKey, StripeRateLimit: c.RateLimit,
		StripeWebhook: simulator.StripeWebhook{URL: c.StripeWebhookURL, Secrets: c.StripeWebhookSecrets},
		PayPalAddr:    c.PayPalListen, PayPalClientID: c.PayPalClientID, PayPalClientSecret: c.PayPalClientSecret,
		PayPalRateLimit: c.PayPalRateLimit, PayPalWebhookURL: c.PayPalWebhookURL, PayPalWebhookID: c.PayPalWebhookID,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
}

func (c *simulateCommand) print(out io.Writer, sim *simulator.Simulator) {
	fmt.Fprintf(out, "Stripe:  %s\nPayPal:  %s\ncontrol: %s (GET / lists the calls)\n", sim.StripeURL(), sim.PayPalURL(), sim.ControlURL())
	for _, events := range []struct{ of, target string }{{"Stripe", c.StripeWebhookURL}, {"PayPal", c.PayPalWebhookURL}} {
		if events.target == "" {
			fmt.Fprintf(out, "%s's events go nowhere until a webhook is set.\n", events.of)
		} else {
			fmt.Fprintf(out, "%s's events go to %s.\n", events.of, events.target)
		}
	}
	fmt.Fprintf(out, "PayPal's events are verified with what GET %s/paypal/webhook shows.\n", sim.ControlURL())
}
