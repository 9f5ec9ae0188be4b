package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/holdfast/holdfast/internal/demo"
	"github.com/holdfast/holdfast/internal/fleet"
	"github.com/holdfast/holdfast/internal/localstack"
)

// demoCommand is starter demo.
type demoCommand struct {
	Once bool `help:"End when everything was shown; exit 0 only if every expectation held."`
}

// Run brings up a whole Holdfast, shows the main job on it, and stays until Ctrl-C.
func (c *demoCommand) Run(ctx context.Context) (err error) {
	out := os.Stdout
	running, err := startFleet(ctx, out, "demo", func(o *fleet.Options) { o.StripeRate = demo.Rate })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, running.Close()) }()
	if err := demo.Run(ctx, out, running); err != nil || c.Once {
		return err
	}
	fmt.Fprintf(out, "\nEverything stays up for you to explore. Ctrl-C ends it.\n  API        %s/docs (key %s, operators %s)\n  Temporal   %s\n  simulator  %s\n  logs       %s\n",
		running.URL(), fleet.AppKey, fleet.OperatorKey, running.Stack.Temporal.UIURL(), running.Simulator.ControlURL(), running.LogDir())
	<-ctx.Done()
	fmt.Fprintln(out, "\nStopping what was started.")
	return nil
}

// startFleet runs this program's own build and the worker beside it, with fresh data.
func startFleet(ctx context.Context, out io.Writer, name string, change ...func(*fleet.Options)) (*fleet.Fleet, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	local, err := localstack.Dir()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(local, name)
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("clear the data of the run before: %w", err)
	}
	options := fleet.Options{
		Dir: dir, Starter: self, Worker: filepath.Join(filepath.Dir(self), "worker"), Durable: true, UI: true,
		Log: func(format string, args ...any) { fmt.Fprintf(out, "  "+format+"\n", args...) },
	}
	for _, c := range change {
		c(&options)
	}
	fmt.Fprintln(out, "Starting Postgres, Temporal, a simulated Stripe and PayPal, starter serve and a worker …")
	return fleet.Start(ctx, 1, options)
}
