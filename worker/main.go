// Worker hosts Holdfast's workflows and activities. Any number of them may run; --queues picks
// what one of them serves. It ends with 2 when it is told something wrong, and with 1 when it
// cannot do its work.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/holdfast/holdfast/internal/config"
)

// settings are what a worker is told.
type settings struct {
	Database config.Database `embed:""`
	Stripe   config.Stripe   `embed:""`
	PayPal   config.PayPal   `embed:""`
	Delivery config.Delivery `embed:""`
	Payouts  config.Payouts  `embed:""`
	Plans    []string        `name:"plans" env:"HOLDFAST_PLANS" help:"Prices and plans that count; empty: all do. An add-on that is not among them never hides the plan."`
	Log      config.Log      `embed:""`
	Metrics  string          `name:"metrics-listen" env:"HOLDFAST_METRICS_LISTEN" default:"127.0.0.1:9091" help:"Where /metrics, /healthz and /readyz are served."`
	Queues   []string        `name:"queues" default:"holdfast,holdfast-stripe,holdfast-paypal" help:"The task queues to serve."`
}

// Validate is called by the parser, which also asks the embedded parts.
func (s settings) Validate() error {
	if err := config.CheckAddress("HOLDFAST_METRICS_LISTEN", s.Metrics); err != nil {
		return err
	}
	if err := config.CheckPlans(s.Plans); err != nil {
		return err
	}
	return validateQueues(s.Queues)
}

func main() {
	var told settings
	config.Parse(&told, "worker", "Hosts Holdfast's workflows and activities.")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := config.Exit("worker", run(ctx, told))
	stop()
	os.Exit(code)
}
