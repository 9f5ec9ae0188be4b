package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
)

const (
	// freshFor is how long a reading is shown again: scrapes, however many, cost the database one
	// query of each kind in this time.
	freshFor = 5 * time.Second
	// readTimeout bounds a reading. A scrape without it is better than no scrape.
	readTimeout = 2 * time.Second
)

// gauges show what is true at the moment of a scrape, as read from its source. What cannot be read
// is missing from the scrape, and counted.
type gauges struct {
	meter    metric.Meter
	log      *slog.Logger
	failures metric.Int64Counter
}

func newGauges(meter metric.Meter, log *slog.Logger) (*gauges, error) {
	failures, err := meter.Int64Counter("holdfast_scrape_failures",
		metric.WithDescription("Readings for a scrape that failed, by source; their metrics were missing from it."))
	return &gauges{meter: meter, log: log, failures: failures}, err
}

// reading is the last thing read from a source.
type reading[T any] struct {
	*gauges

	source string
	read   func(context.Context) (T, error)

	mu    sync.Mutex
	at    time.Time
	value T
	err   error
}

func newReading[T any](g *gauges, source string, read func(context.Context) (T, error)) *reading[T] {
	return &reading[T]{gauges: g, source: source, read: read}
}

// get reads from the source unless it was read a moment ago, with success or without.
func (r *reading[T]) get(ctx context.Context) (T, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.IsZero() || time.Since(r.at) > freshFor {
		ctx, cancel := context.WithTimeout(ctx, readTimeout)
		defer cancel()
		r.value, r.err = r.read(ctx)
		r.at = time.Now()
		if r.err != nil {
			r.failures.Add(ctx, 1, metric.WithAttributes(attribute.String("source", r.source)))
			r.log.WarnContext(ctx, "metrics are missing from a scrape", "source", r.source, "error", r.err)
		}
	}
	return r.value, r.err == nil
}

// WatchSteps shows the open steps, from what step.CountOpen reads. It is for one kind of process:
// all replicas show the same, so ask for the max over them.
func (t *Telemetry) WatchSteps(read func(context.Context) ([]step.Waiting, error)) error {
	open, errOpen := t.meter.Int64ObservableGauge("holdfast_steps_open",
		metric.WithDescription("Steps that are neither done nor skipped, by provider, status and what they wait for."))
	oldest, errOldest := t.meter.Float64ObservableGauge("holdfast_steps_oldest_waiting_age", metric.WithUnit("s"),
		metric.WithDescription("For how long the step has been waiting that waits longest, by provider and what it waits for; 0 when none does."))
	if err := errors.Join(errOpen, errOldest); err != nil {
		return err
	}
	steps := newReading(t.gauges, "steps", read)
	_, err := t.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		if waiting, ok := steps.get(ctx); ok {
			observeSteps(o, open, oldest, waiting, time.Now())
		}
		return nil
	}, open, oldest)
	return err
}

// stepKey is a series of holdfast_steps_open.
type stepKey struct {
	provider provider.Name
	status   step.Status
	waitsFor step.WaitsFor
}

// observeSteps shows zeros too, so that a graph falls to zero rather than ending.
func observeSteps(o metric.Observer, open metric.Int64Observable, oldest metric.Float64Observable, waiting []step.Waiting, now time.Time) {
	counts := map[stepKey]int64{}
	ages := map[stepKey]time.Duration{}
	for _, p := range providers() {
		counts[stepKey{p, step.Pending, ""}], counts[stepKey{p, step.Retrying, ""}] = 0, 0
		for _, w := range []step.WaitsFor{step.ForProvider, step.ForPerson} {
			counts[stepKey{p, step.Blocked, w}], ages[stepKey{p, step.Blocked, w}] = 0, 0
		}
	}
	for _, w := range waiting {
		key := stepKey{w.Provider, w.Status, w.WaitsFor}
		counts[key] = w.Count
		if w.Status == step.Blocked {
			ages[key] = max(now.Sub(w.Oldest), 0)
		}
	}
	for key, count := range counts {
		o.ObserveInt64(open, count, metric.WithAttributes(attribute.String("provider", string(key.provider)),
			attribute.String("status", string(key.status)), attribute.String("waits_for", string(key.waitsFor))))
	}
	for key, age := range ages {
		o.ObserveFloat64(oldest, age.Seconds(), metric.WithAttributes(attribute.String("provider", string(key.provider)),
			attribute.String("waits_for", string(key.waitsFor))))
	}
}

func providers() []provider.Name { return []provider.Name{provider.Stripe, provider.PayPal} }

// WatchOutbox shows what is not handed over yet, from what outbox.Measure reads. All replicas show
// the same.
func (t *Telemetry) WatchOutbox(read func(context.Context) (outbox.Backlog, error)) error {
	depth, errDepth := t.meter.Int64ObservableGauge("holdfast_outbox_depth",
		metric.WithDescription("Messages in the outbox that are not handed over to Temporal yet."))
	oldest, errOldest := t.meter.Float64ObservableGauge("holdfast_outbox_oldest_age", metric.WithUnit("s"),
		metric.WithDescription("Age of the oldest message that is not handed over yet; 0 when there is none."))
	if err := errors.Join(errDepth, errOldest); err != nil {
		return err
	}
	backlog := newReading(t.gauges, "outbox", read)
	_, err := t.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		if b, ok := backlog.get(ctx); ok {
			o.ObserveInt64(depth, b.Depth)
			o.ObserveFloat64(oldest, b.Oldest.Seconds())
		}
		return nil
	}, depth, oldest)
	return err
}

// WatchSyncs shows how many customers are to be read, from what subscription.Backlogs reads. All
// replicas show the same.
func (t *Telemetry) WatchSyncs(read func(context.Context) ([]subscription.Backlog, error)) error {
	depth, errDepth := t.meter.Int64ObservableGauge("holdfast_subscription_backlog_depth",
		metric.WithDescription("Customers whose subscriptions are to be read again, by provider."))
	oldest, errOldest := t.meter.Float64ObservableGauge("holdfast_subscription_backlog_oldest_age", metric.WithUnit("s"),
		metric.WithDescription("For how long the customer has been waiting to be read who waits longest, by provider; 0 when none does."))
	if err := errors.Join(errDepth, errOldest); err != nil {
		return err
	}
	syncs := newReading(t.gauges, "subscription_syncs", read)
	_, err := t.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		if backlogs, ok := syncs.get(ctx); ok {
			observeSyncs(o, depth, oldest, backlogs, time.Now())
		}
		return nil
	}, depth, oldest)
	return err
}

// observeSyncs shows zeros too: a provider without a backlog is not in the list.
func observeSyncs(o metric.Observer, depth metric.Int64Observable, oldest metric.Float64Observable, backlogs []subscription.Backlog, now time.Time) {
	for _, p := range providers() {
		var waiting int64
		var age time.Duration
		for _, b := range backlogs {
			if b.Provider == p {
				waiting, age = b.Waiting, max(now.Sub(b.Oldest), 0)
			}
		}
		of := metric.WithAttributes(attribute.String("provider", string(p)))
		o.ObserveInt64(depth, waiting, of)
		o.ObserveFloat64(oldest, age.Seconds(), of)
	}
}

// WatchHealth shows what the fleet knows of each provider, from what provider.HealthStore.List
// reads. All replicas show the same.
func (t *Telemetry) WatchHealth(read func(context.Context) ([]provider.Health, error)) error {
	state, err := t.meter.Int64ObservableGauge("holdfast_provider_state",
		metric.WithDescription("1 for the state that a provider is in, as its gate knows it, and 0 for the others."))
	if err != nil {
		return err
	}
	health := newReading(t.gauges, "provider_health", read)
	_, err = t.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		if all, ok := health.get(ctx); ok {
			for _, h := range all {
				observeState(o, state, h.Provider, h.State,
					provider.StateUp, provider.StateDegraded, provider.StateDown, provider.StateMisconfigured)
			}
		}
		return nil
	}, state)
	return err
}

// WatchBreakers shows where this process's breakers stand: provider.Breaker's State is what each
// function gives.
func (t *Telemetry) WatchBreakers(states map[provider.Name]func() provider.BreakerState) error {
	state, err := t.meter.Int64ObservableGauge("holdfast_provider_breaker_state",
		metric.WithDescription("1 for the state that this process's breaker for a provider is in, and 0 for the others."))
	if err != nil {
		return err
	}
	_, err = t.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for name, now := range states {
			observeState(o, state, name, now(), provider.BreakerClosed, provider.BreakerHalfOpen, provider.BreakerOpen)
		}
		return nil
	}, state)
	return err
}

// observeState shows 1 for the present state and 0 for the others, so that alerts need no numbers.
func observeState[S ~string](o metric.Observer, gauge metric.Int64Observable, name provider.Name, now S, all ...S) {
	for _, s := range all {
		var is int64
		if s == now {
			is = 1
		}
		o.ObserveInt64(gauge, is, metric.WithAttributes(
			attribute.String("provider", string(name)), attribute.String("state", string(s))))
	}
}
