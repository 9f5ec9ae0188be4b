package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/httpserver"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/internal/telemetry"
	"github.com/holdfast/holdfast/workflows"
)

// run hosts until ctx ends, and then lets the calls under way end.
func run(ctx context.Context, told settings) (err error) {
	t, err := telemetry.Setup(ctx, telemetry.Options{Service: "holdfast-worker", LogLevel: told.Log.Level, LogFormat: told.Log.Format})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Shutdown(context.WithoutCancel(ctx))) }()
	pool, err := postgres.Open(ctx, told.Database.URL)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := postgres.RequireMigrated(ctx, pool); err != nil {
		return err
	}
	temporal, err := dial(ctx, t)
	if err != nil {
		return err
	}
	defer temporal.Close()
	h, err := newHost(told, t, pool, temporal)
	if err != nil {
		return err
	}
	return h.serve(ctx, told, t.MetricsHandler())
}

// dial connects to Temporal, which must be there: a worker without it cannot do anything.
func dial(ctx context.Context, t *telemetry.Telemetry) (client.Client, error) {
	options, err := config.TemporalOptions()
	if err != nil {
		return nil, err
	}
	t.Instrument(&options)
	temporal, err := client.DialContext(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("reach Temporal at %s (TEMPORAL_ADDRESS): %w", options.HostPort, err)
	}
	if err := requireSearchAttributes(ctx, temporal, options.Namespace); err != nil {
		temporal.Close()
		return nil, err
	}
	return temporal, nil
}

// requireSearchAttributes makes sure that what parked steps show of themselves is registered.
// Without it the first step that parks would hang. Where we may not register it, the error says
// who can.
func requireSearchAttributes(ctx context.Context, temporal client.Client, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	operator := temporal.OperatorService()
	known, err := operator.ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if forbidden(err) {
		return nil // managed servers tell them to nobody, and their owner registers them: see the runbook
	}
	if err != nil {
		return fmt.Errorf("look whether the search attributes of parked steps are registered: %w", err)
	}
	missing := map[string]enums.IndexedValueType{}
	for _, name := range []string{workflows.SearchStatus, workflows.SearchBlockedOn, workflows.SearchCustomer} {
		if _, ok := known.GetCustomAttributes()[name]; !ok {
			missing[name] = enums.INDEXED_VALUE_TYPE_KEYWORD
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, err = operator.AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: namespace, SearchAttributes: missing})
	if err != nil {
		return fmt.Errorf("register search attributes in namespace %q (make them by hand, type Keyword: %s): %w",
			namespace, strings.Join(names(missing), ", "), err)
	}
	return nil
}

// forbidden says that the server does not let us ask, now or ever.
func forbidden(err error) bool {
	_, denied := errors.AsType[*serviceerror.PermissionDenied](err)
	_, unknown := errors.AsType[*serviceerror.Unimplemented](err)
	return denied || unknown
}

func names(attributes map[string]enums.IndexedValueType) []string {
	all := make([]string, 0, len(attributes))
	for name := range attributes {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// newHost puts together what the workflows and activities need.
func newHost(told settings, t *telemetry.Telemetry, pool *pgxpool.Pool, temporal client.Client) (host, error) {
	breakers := map[provider.Name]*provider.Breaker{}
	watched := map[provider.Name]func() provider.BreakerState{}
	for _, p := range []provider.Name{provider.Stripe, provider.PayPal} {
		breakers[p] = provider.NewBreaker(p, 0)
		watched[p] = breakers[p].State
	}
	stripeCalls, err := told.Stripe.Client(breakers[provider.Stripe], t.ProviderCalls)
	if err != nil {
		return host{}, &config.UsageError{Err: fmt.Errorf("STRIPE_SECRET_KEY: %w", err)}
	}
	payPalCalls, err := told.PayPal.Client(breakers[provider.PayPal], t.ProviderCalls)
	if err != nil {
		return host{}, &config.UsageError{Err: err}
	}
	webhook, err := told.Delivery.Webhook()
	if err != nil {
		return host{}, &config.UsageError{Err: err}
	}
	policy, err := told.Payouts.Policy()
	if err != nil {
		return host{}, &config.UsageError{Err: err}
	}
	changes := told.Delivery.Feed.Writer()
	return host{
		pool: pool, temporal: temporal, stripe: stripeCalls, paypal: payPalCalls, breakers: breakers, log: t.Logger(), meter: t.Sync,
		customers:     customer.NewStore(pool, changes),
		webhook:       webhook,
		payouts:       payout.NewStore(pool, policy, changes, workflows.PayoutWork()),
		subscriptions: subscription.NewStore(pool, told.Plans, changes, workflows.SyncSubscriptions),
		rates:         map[provider.Name]float64{provider.Stripe: told.Stripe.RateLimit, provider.PayPal: told.PayPal.RateLimit},
	}, t.WatchBreakers(watched)
}

// serve runs the workers until ctx ends or one of them cannot go on.
func (h host) serve(ctx context.Context, told settings, metrics http.Handler) error {
	group, ctx := errgroup.WithContext(ctx)
	h.onFatal = func(err error) {
		group.Go(func() error { return fmt.Errorf("go on serving: %w", err) })
	}
	hosted := h.workers(told.Queues)
	for i, w := range hosted {
		if err := w.Start(); err != nil {
			stopAll(hosted[:i])
			return fmt.Errorf("serve the queue %s: %w", told.Queues[i], err)
		}
	}
	h.log.InfoContext(ctx, "serving", "queues", told.Queues,
		"stripe_configured", h.stripe != nil, "stripe_rate", h.rates[provider.Stripe],
		"paypal_configured", h.paypal != nil, "paypal_rate", h.rates[provider.PayPal])
	group.Go(func() error { return httpserver.Run(ctx, "HOLDFAST_METRICS_LISTEN", told.Metrics, observed(metrics)) })
	group.Go(func() error {
		<-ctx.Done()
		h.log.Info("stopping: no more work is taken, and what is under way may end", "within", stopTimeout.String())
		stopAll(hosted)
		return nil
	})
	return group.Wait()
}

// observed is what others see of a worker: its metrics, and that it runs.
func observed(metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	running := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }
	mux.HandleFunc("GET /healthz", running)
	mux.HandleFunc("GET /readyz", running) // it listens only once every queue is polled
	return mux
}

// stopAll stops every worker at the same time, since each may wait for a call to end.
func stopAll(hosted []worker.Worker) {
	done := make(chan struct{})
	for _, w := range hosted {
		go func() {
			w.Stop()
			done <- struct{}{}
		}()
	}
	for range hosted {
		<-done
	}
}
