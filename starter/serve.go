package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/httpapi"
	"github.com/holdfast/holdfast/internal/httpserver"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/internal/telemetry"
	"github.com/holdfast/holdfast/internal/webhook"
	"github.com/holdfast/holdfast/workflows"
)

// serveCommand is starter serve.
type serveCommand struct {
	Database     config.Database `embed:""`
	Log          config.Log      `embed:""`
	Listen       string          `env:"HOLDFAST_LISTEN" default:"127.0.0.1:8080" help:"Where the API is served."`
	Metrics      string          `name:"metrics-listen" env:"HOLDFAST_METRICS_LISTEN" default:"127.0.0.1:9090" help:"Where /metrics is served."`
	APIKeys      string          `name:"api-keys" env:"HOLDFAST_API_KEYS" help:"name:secret or name:sha256:HEX, comma-separated, each with @customers+payouts-style scopes if it has not both."`
	OperatorKeys string          `env:"HOLDFAST_OPERATOR_KEYS" help:"The same, for operators."`
	Webhooks     config.Webhooks `embed:""`
	Feed         config.Feed     `embed:""`
	Payouts      config.Payouts  `embed:""`
	Plans        []string        `env:"HOLDFAST_PLANS" help:"Prices and plans that count, as the worker has them; empty: all do."`

	keys config.Keys
}

// Validate is called by the parser.
func (c *serveCommand) Validate() error {
	if err := config.CheckAddress("HOLDFAST_LISTEN", c.Listen); err != nil {
		return err
	}
	if err := config.CheckAddress("HOLDFAST_METRICS_LISTEN", c.Metrics); err != nil {
		return err
	}
	if err := config.CheckPlans(c.Plans); err != nil {
		return err
	}
	app, err := config.ParseKeys(c.APIKeys, config.ScopeCustomers, config.ScopePayouts)
	if err != nil {
		return fmt.Errorf("HOLDFAST_API_KEYS: %w", err)
	}
	operators, err := config.ParseKeys(c.OperatorKeys, config.ScopeOps)
	if err != nil {
		return fmt.Errorf("HOLDFAST_OPERATOR_KEYS: %w", err)
	}
	if c.keys, err = app.And(operators); err != nil {
		return fmt.Errorf("HOLDFAST_API_KEYS and HOLDFAST_OPERATOR_KEYS: %w", err)
	}
	if len(c.keys) == 0 {
		return errors.New("HOLDFAST_API_KEYS and HOLDFAST_OPERATOR_KEYS are not set: nobody could call the API")
	}
	return nil
}

// Run serves until it is told to stop, and then lets the requests under way end.
func (c *serveCommand) Run(ctx context.Context) (err error) {
	t, err := telemetry.Setup(ctx, telemetry.Options{Service: "holdfast-starter", LogLevel: c.Log.Level, LogFormat: c.Log.Format})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Shutdown(context.WithoutCancel(ctx))) }()
	pool, err := postgres.Open(ctx, c.Database.URL)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := postgres.RequireMigrated(ctx, pool); err != nil {
		return err
	}
	options, err := config.TemporalOptions(outbox.DialOptions()...)
	if err != nil {
		return err
	}
	t.Instrument(&options)
	temporal, err := client.NewLazyClient(options) // Temporal may be down: signups are taken all the same
	if err != nil {
		return &config.UsageError{Err: fmt.Errorf("TEMPORAL_*: %w", err)}
	}
	defer temporal.Close()
	if err := watch(t, pool); err != nil {
		return err
	}
	return c.serve(ctx, t, pool, temporal, options.Namespace)
}

// watch has the state of the database in the metrics.
func watch(t *telemetry.Telemetry, pool *pgxpool.Pool) error {
	return errors.Join(
		t.WatchSteps(func(ctx context.Context) ([]step.Waiting, error) { return step.CountOpen(ctx, pool) }),
		t.WatchHealth(func(ctx context.Context) ([]provider.Health, error) { return provider.NewHealthStore(pool).List(ctx) }),
		t.WatchOutbox(func(ctx context.Context) (outbox.Backlog, error) { return outbox.Measure(ctx, pool) }),
		t.WatchSyncs(func(ctx context.Context) ([]subscription.Backlog, error) { return subscription.Backlogs(ctx, pool) }),
	)
}

func (c *serveCommand) serve(ctx context.Context, t *telemetry.Telemetry, pool *pgxpool.Pool, temporal client.Client, namespace string) error {
	dispatcher := outbox.NewDispatcher(pool, temporal, outbox.Options{Namespace: namespace, Meter: t.Outbox, Logger: t.Logger()})
	notifier := outbox.NewNotifier(pool, dispatcher.Wake, t.Logger())
	changes := c.Feed.Writer()
	policy, err := c.Payouts.Policy()
	if err != nil {
		return &config.UsageError{Err: err}
	}
	payouts := payout.NewStore(pool, policy, changes, workflows.PayoutWork())
	if err := t.WatchPayouts(payouts.Measure); err != nil {
		return err
	}
	subscriptions := subscription.NewStore(pool, c.Plans, changes, workflows.SyncSubscriptions)
	inbox := webhook.NewInbox(pool, subscriptions, webhook.Work{
		HearOfBatch: payouts.HintBatch, LookAtPayout: workflows.LookAtPayout, LookAtBatch: workflows.LookAtPayPalBatch, CheckAccount: workflows.CheckAccount,
	}, notifier.Notify)
	webhooks, err := c.webhooks(inbox, t.Webhooks)
	if err != nil {
		return err
	}
	api := httpapi.New(httpapi.Deps{
		Pool: pool, Temporal: temporal, Keys: c.keys, Notify: notifier.Notify, Requests: t.HTTP, Log: t.Logger(),
		Customers: customer.NewStore(pool, changes), Subscriptions: subscriptions, Webhooks: webhooks,
		Payouts: payouts, DeliversChanges: c.Feed.Delivers(),
	})
	metrics := http.NewServeMux()
	metrics.Handle("GET /metrics", t.MetricsHandler())

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return dispatcher.Run(ctx) })
	group.Go(func() error { notifier.Run(ctx); return nil })
	group.Go(func() error { api.Run(ctx); return nil })
	group.Go(func() error { inbox.Prune(ctx, c.Webhooks.Retention, t.Logger()); return nil })
	group.Go(func() error { return httpserver.Run(ctx, "HOLDFAST_METRICS_LISTEN", c.Metrics, metrics) })
	group.Go(func() error { return httpserver.Run(ctx, "HOLDFAST_LISTEN", c.Listen, api.Handler()) })
	t.Logger().InfoContext(ctx, "starting to serve", "listen", c.Listen, "metrics", c.Metrics)
	return group.Wait()
}

// webhooks takes in the events of the providers whose webhooks are configured.
func (c *serveCommand) webhooks(inbox *webhook.Inbox, meter httpapi.WebhookMeter) (httpapi.Webhooks, error) {
	webhooks := httpapi.Webhooks{Inbox: inbox, Meter: meter}
	stripe, err := c.Webhooks.Stripe()
	if err != nil {
		return webhooks, err
	}
	paypal, err := c.Webhooks.PayPal()
	if err != nil {
		return webhooks, err
	}
	if stripe != nil { // a nil reader in an interface would not be nil
		webhooks.Stripe = stripe
	}
	if paypal != nil {
		webhooks.PayPal = paypal
	}
	return webhooks, nil
}
