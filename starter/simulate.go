package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/holdfast/holdfast/internal/simulator"
)

// simulateCommand is starter simulate.
type simulateCommand struct {
	StripeListen  string `default:"127.0.0.1:12111" help:"Where the simulated Stripe listens."`
	ControlListen string `default:"127.0.0.1:12110" help:"Where faults are switched; it asks for no credentials."`
	StripeKey     string `default:"sk_test_simulator" help:"The secret key that the simulated Stripe accepts."`
	RateLimit     int    `default:"0" help:"Calls a second that the simulated Stripe answers; the rest get 429. 0 is no limit."`
}

// Run serves the simulated providers until it is stopped.
func (c *simulateCommand) Run(ctx context.Context) error {
	sim, err := simulator.Start(ctx, simulator.Config{
		StripeAddr: c.StripeListen, ControlAddr: c.ControlListen, StripeKey: c.StripeKey, StripeRateLimit: c.RateLimit,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "Stripe:  %s\ncontrol: %s (GET / lists the calls)\n", sim.StripeURL(), sim.ControlURL())
	<-ctx.Done()
	return sim.Close()
}
