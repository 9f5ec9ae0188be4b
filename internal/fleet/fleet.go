// Package fleet runs a whole Holdfast on one machine: Postgres and Temporal, the simulated
// providers, and the real programs as processes of their own. The demo, the benchmarks and the
// end-to-end tests stand on it.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/client"

	"github.com/holdfast/holdfast/internal/localstack"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/simulator"
)

// Keys that the fleet's API accepts, and the one that its Stripe does.
const (
	AppKey      = "app-key-of-the-local-fleet"
	OperatorKey = "operator-key-of-the-local-fleet"
	StripeKey   = simulator.DefaultStripeKey
	// StripeWebhookSecret is what the fleet's Stripe signs events with.
	StripeWebhookSecret = "whsec_of_the_local_fleet" //nolint:gosec // of a simulated Stripe
	// StripeConnectSecret is the same for the events of connected accounts.
	StripeConnectSecret = "whsec_of_the_local_fleets_accounts" //nolint:gosec // of a simulated Stripe
)

// Options says which fleet to start.
type Options struct {
	// Dir holds data and logs. Empty is a temporary folder that Close removes.
	Dir string
	// Starter and Worker are the paths of the two programs.
	Starter, Worker string
	// Durable keeps what the servers are told through a restart, as in production.
	Durable bool
	// UI serves Temporal's web interface too.
	UI bool
	// StripeRate and PayPalRate are the limits that workers keep, in calls a second. Zero is the
	// worker's default.
	StripeRate, PayPalRate int
	// Env is added to the environment of the programs.
	Env []string
	// Log takes a line for what takes long, in the manner of fmt.Printf. Nil is silent.
	Log func(format string, args ...any)
}

// Fleet is a running Holdfast. Its methods are not for concurrent use.
type Fleet struct {
	Stack     *localstack.Stack
	Simulator *simulator.Simulator
	Temporal  client.Client
	Pool      *pgxpool.Pool

	options   Options
	temporary bool
	database  database
	listen    string
	metrics   string
	serve     *localstack.Process
	workers   []*localstack.Process
	workersAt []string // where each worker shows its metrics
	started   int      // of all workers there ever were, for the names of their logs
}

// Start brings up the stack, the simulator, one starter serve and the given number of workers, or
// nothing. ctx is their life.
func Start(ctx context.Context, workers int, options Options) (*Fleet, error) {
	f := &Fleet{options: options}
	if err := f.start(ctx, workers); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *Fleet) start(ctx context.Context, workers int) (err error) {
	if err := f.makeDir(); err != nil {
		return err
	}
	f.Stack, err = localstack.Start(ctx, localstack.Options{
		Dir: filepath.Join(f.options.Dir, "stack"), Durable: f.options.Durable, UI: f.options.UI, Log: f.options.Log,
	})
	if err != nil {
		return err
	}
	if f.Simulator, err = simulator.Start(ctx, simulator.Config{}); err != nil {
		return err
	}
	if err := f.connect(ctx); err != nil {
		return err
	}
	if err := f.writePayPalCA(); err != nil {
		return err
	}
	err = localstack.OnFreeAddresses(2, func(addresses []string) error {
		f.listen, f.metrics = addresses[0], addresses[1]
		if err := f.deliverWebhooks(); err != nil {
			return err
		}
		return f.StartServe(ctx)
	})
	if err != nil {
		return err
	}
	for range workers {
		if err := f.StartWorker(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fleet) makeDir() (err error) {
	if f.options.Dir == "" {
		f.temporary = true
		f.options.Dir, err = os.MkdirTemp("", "holdfast-fleet-")
		return err
	}
	return os.MkdirAll(f.options.Dir, 0o755)
}

// connect opens what tests and the demo look through, and brings the database up to date.
func (f *Fleet) connect(ctx context.Context) (err error) {
	if f.database, err = createDatabase(ctx, f.Stack.Postgres.URL()); err != nil {
		return err
	}
	if f.Pool, err = postgres.Open(ctx, f.database.url); err != nil {
		return err
	}
	if err := postgres.Migrate(ctx, f.Pool, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	f.Temporal, err = client.NewLazyClient(f.Stack.Temporal.ClientOptions())
	return err
}

// URL is the base URL of the HTTP API.
func (f *Fleet) URL() string { return "http://" + f.listen }

// MetricsURL is where starter serve shows its metrics.
func (f *Fleet) MetricsURL() string { return "http://" + f.metrics + "/metrics" }

// StartServe starts starter serve, on the same address each time.
func (f *Fleet) StartServe(ctx context.Context) (err error) {
	f.serve, err = localstack.StartProcess(ctx, localstack.ProcessOptions{
		Name: "starter serve", Path: f.options.Starter, Args: []string{"serve"},
		LogFile: f.logFile("serve.log"),
		Env: f.env(
			"HOLDFAST_LISTEN="+f.listen,
			"HOLDFAST_METRICS_LISTEN="+f.metrics,
			"HOLDFAST_API_KEYS=app:"+AppKey,
			"HOLDFAST_OPERATOR_KEYS=operator:"+OperatorKey,
			"STRIPE_SECRET_KEY="+StripeKey, // for its mode: serve calls nobody
			"STRIPE_WEBHOOK_SECRET="+StripeWebhookSecret,
			"STRIPE_CONNECT_WEBHOOK_SECRET="+StripeConnectSecret,
			"PAYPAL_WEBHOOK_ID="+f.Simulator.PayPal().WebhookID(),
			"PAYPAL_CERT_HOSTS="+f.Simulator.PayPal().CertificateHost(),
			"PAYPAL_CERT_CA_FILE="+f.payPalCA(),
		),
		Ready: func(ctx context.Context) error { return answers(ctx, f.URL()+"/readyz") },
	})
	return err
}

// StopServe ends starter serve in order.
func (f *Fleet) StopServe() error { return stop(&f.serve) }

// payPalCA is the file with the authority of the simulated PayPal's certificates.
func (f *Fleet) payPalCA() string { return filepath.Join(f.options.Dir, "paypal-ca.pem") }

func (f *Fleet) writePayPalCA() error {
	ca, err := f.Simulator.PayPal().CertificateAuthority()
	if err != nil {
		return err
	}
	return os.WriteFile(f.payPalCA(), ca, 0o600)
}

// deliverWebhooks has the simulated providers tell starter serve what happens there.
func (f *Fleet) deliverWebhooks() error {
	return errors.Join(
		f.Simulator.SetStripeWebhook(simulator.StripeWebhook{URL: f.URL() + "/webhooks/stripe", Secrets: []string{StripeWebhookSecret}, ConnectSecrets: []string{StripeConnectSecret}}),
		f.Simulator.SetPayPalWebhook(f.URL()+"/webhooks/paypal"),
	)
}

// StartWorkerAt starts one more worker, with another limit for calls to Stripe, from now on.
func (f *Fleet) StartWorkerAt(ctx context.Context, stripeRate int) error {
	f.options.StripeRate = stripeRate
	return f.StartWorker(ctx)
}

// StartWorker starts one more worker.
func (f *Fleet) StartWorker(ctx context.Context) error {
	return localstack.OnFreeAddresses(1, func(addresses []string) error { return f.startWorkerOn(ctx, addresses[0]) })
}

// startWorkerOn starts a worker that shows its metrics at the address.
func (f *Fleet) startWorkerOn(ctx context.Context, metrics string) error {
	f.started++
	env := f.env(
		"STRIPE_SECRET_KEY="+StripeKey,
		"STRIPE_API_BASE="+f.Simulator.StripeURL(),
		"PAYPAL_CLIENT_ID="+simulator.DefaultPayPalClientID,
		"PAYPAL_CLIENT_SECRET="+simulator.DefaultPayPalClientSecret,
		"PAYPAL_API_BASE="+f.Simulator.PayPalURL(),
		"HOLDFAST_METRICS_LISTEN="+metrics,
	)
	if f.options.StripeRate > 0 {
		env = append(env, "STRIPE_RATE_LIMIT="+strconv.Itoa(f.options.StripeRate))
	}
	if f.options.PayPalRate > 0 {
		env = append(env, "PAYPAL_RATE_LIMIT="+strconv.Itoa(f.options.PayPalRate))
	}
	w, err := localstack.StartProcess(ctx, localstack.ProcessOptions{
		Name: "worker", Path: f.options.Worker, Env: env,
		LogFile: f.logFile(fmt.Sprintf("worker-%d.log", f.started)),
		Ready:   func(ctx context.Context) error { return answers(ctx, "http://"+metrics+"/readyz") },
	})
	if err != nil {
		return err
	}
	f.workers, f.workersAt = append(f.workers, w), append(f.workersAt, metrics)
	return nil
}

// Workers is how many workers run.
func (f *Fleet) Workers() int { return len(f.workers) }

// KillWorkers ends every worker as a crash would.
func (f *Fleet) KillWorkers() error {
	var errs []error
	for _, w := range f.workers {
		errs = append(errs, w.Kill())
	}
	f.workers, f.workersAt = nil, nil
	return errors.Join(errs...)
}

// StopWorkers ends every worker in order.
func (f *Fleet) StopWorkers() error {
	var errs []error
	for _, w := range f.workers {
		errs = append(errs, w.Stop())
	}
	f.workers, f.workersAt = nil, nil
	return errors.Join(errs...)
}

// Close ends everything that Start started, last first, and removes what was temporary.
func (f *Fleet) Close() error {
	errs := []error{f.StopWorkers(), f.StopServe()}
	if f.Pool != nil {
		f.Pool.Close()
	}
	if f.Temporal != nil {
		f.Temporal.Close()
	}
	if f.Simulator != nil {
		errs = append(errs, f.Simulator.Close())
	}
	if f.Stack != nil {
		if f.database.drop != nil && !f.Stack.Postgres.Ours() { // in ours it goes with its server
			errs = append(errs, f.database.drop())
		}
		errs = append(errs, f.Stack.Stop())
	}
	if f.temporary {
		errs = append(errs, os.RemoveAll(f.options.Dir))
	}
	return errors.Join(errs...)
}

// LogDir is where the programs' logs are.
func (f *Fleet) LogDir() string { return f.options.Dir }

func (f *Fleet) logFile(name string) string { return filepath.Join(f.options.Dir, name) }

func (f *Fleet) env(more ...string) []string {
	return slices.Concat(os.Environ(), f.Stack.Env(), []string{localstack.DatabaseVariable + "=" + f.database.url}, f.options.Env, more)
}

func stop(p **localstack.Process) error {
	if *p == nil {
		return nil
	}
	err := (*p).Stop()
	*p = nil
	return err
}

// answers says whether a URL answers 200.
func answers(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}
