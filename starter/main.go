// Starter is the program through which Holdfast is reached: it serves the API and hands work over
// to Temporal, prepares the database and the schedules, and has commands for people. It ends with
// 2 when it is told something wrong, and with 1 when it cannot do its work.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/holdfast/holdfast/internal/config"
)

// commands are what starter can do.
type commands struct {
	Serve     serveCommand     `cmd:"" help:"Serve the API and hand work over to Temporal."`
	Migrate   migrateCommand   `cmd:"" help:"Bring the database up to date."`
	Schedules schedulesCommand `cmd:"" help:"Make or update the schedules in Temporal."`
	Onboard   onboardCommand   `cmd:"" help:"Create a customer and wait until billing is ready."`
	Status    statusCommand    `cmd:"" help:"Show how far a customer is."`
	Sync      syncCommand      `cmd:"" help:"Read what a customer, or everybody, is subscribed to."`
	Payouts   payoutsCommand   `cmd:"" help:"Run, show and decide about payouts."`
	Ops       opsCommand       `cmd:"" help:"What operators do."`
	Simulate  simulateCommand  `cmd:"" help:"Serve simulated providers, with faults that are switched while they run."`
	Demo      demoCommand      `cmd:"" help:"Bring up a whole Holdfast on this machine and show the main job."`
	Bench     benchCommand     `cmd:"" help:"Measure a whole Holdfast on this machine."`
	OpenAPI   openAPICommand   `cmd:"" name:"openapi" help:"Print the API's description."`
}

func main() {
	var told commands
	parsed := config.Parse(&told, "starter", "Durable billing work between an app and its payment providers.")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	parsed.BindTo(ctx, (*context.Context)(nil))
	code := config.Exit("starter", runCommand(parsed))
	stop()
	os.Exit(code)
}

func runCommand(parsed *kong.Context) error { return parsed.Run() }
