package main

import (
	"context"
	"errors"
	"os"

	"github.com/holdfast/holdfast/internal/bench"
	"github.com/holdfast/holdfast/internal/fleet"
)

// benchCommand is starter bench.
type benchCommand struct{}

// Run measures a whole Holdfast on this machine, with Postgres as it is in production.
func (*benchCommand) Run(ctx context.Context) (err error) {
	running, err := startFleet(ctx, os.Stdout, "bench", func(o *fleet.Options) { o.UI, o.StripeRate = false, bench.Rate })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, running.Close()) }()
	return bench.Run(ctx, os.Stdout, running)
}
