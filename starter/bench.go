package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/holdfast/holdfast/internal/bench"
	"github.com/holdfast/holdfast/internal/fleet"
)

// benchCommand is starter bench.
type benchCommand struct {
	Only []string `help:"Measure these alone, comma-separated: cost, latency, outage, throughput, acks, reads, backlog, syncrate, memory, payouts, paypal, planning."`
}

// Validate is called by the parser.
func (c *benchCommand) Validate() error {
	for _, name := range c.Only {
		if !slices.Contains(bench.Measures(), name) {
			return fmt.Errorf("--only %s: choose from %s", name, strings.Join(bench.Measures(), ", "))
		}
	}
	return nil
}

// Run measures a whole Holdfast on this machine, with Postgres as it is in production.
func (c *benchCommand) Run(ctx context.Context) (err error) {
	running, err := startFleet(ctx, os.Stdout, "bench", func(o *fleet.Options) {
		o.UI, o.StripeRate, o.Env = false, bench.Rate, bench.PayoutSettings()
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, running.Close()) }()
	return bench.Run(ctx, os.Stdout, running, c.Only)
}
