package telemetry

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/holdfast/holdfast/internal/provider"
)

// HTTP observes the requests that the process answers.
type HTTP struct{ duration metric.Float64Histogram }

func newHTTP(meter metric.Meter) (*HTTP, error) {
	duration, err := meter.Float64Histogram("holdfast_http_request_duration", metric.WithUnit("s"), requestSeconds(),
		metric.WithDescription("Time to answer a request, by method, route and status."))
	return &HTTP{duration}, err
}

// ObserveRequest records an answered request. route is the pattern of the ServeMux that matched,
// such as "GET /v1/customers/{id}", and empty if none did; it is never a path with an id in it.
func (h *HTTP) ObserveRequest(ctx context.Context, method, route string, status int, took time.Duration) {
	if _, path, ok := strings.Cut(route, " "); ok {
		route = path // the method has a label of its own
	}
	h.duration.Record(ctx, took.Seconds(), metric.WithAttributes(
		attribute.String("method", knownMethod(method)),
		attribute.String("route", cmp.Or(route, "unmatched")),
		attribute.Int("status", status),
	))
}

// knownMethod keeps a caller from making series with methods of its own invention.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// ProviderCalls observes the calls to providers: it is a provider.Observer.
type ProviderCalls struct{ duration metric.Float64Histogram }

func newProviderCalls(meter metric.Meter) (*ProviderCalls, error) {
	duration, err := meter.Float64Histogram("holdfast_provider_call_duration", metric.WithUnit("s"), requestSeconds(),
		metric.WithDescription("Time until a provider's answer, or until it was clear that none comes, by operation and result."))
	return &ProviderCalls{duration}, err
}

// ObserveCall records a call that is over.
func (p *ProviderCalls) ObserveCall(ctx context.Context, o provider.Observation) {
	p.duration.Record(ctx, o.Duration.Seconds(), metric.WithAttributes(
		attribute.String("provider", string(o.Provider)),
		attribute.String("operation", o.Method+" "+o.Route),
		attribute.String("result", callResult(o.Result)),
	))
}

// callResult makes a class of a status, such as "2xx", but for the statuses that mean something of
// their own to us; reasons for having no answer stay as they are.
func callResult(result string) string {
	status, err := strconv.Atoi(result)
	if err != nil {
		return result
	}
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusConflict, http.StatusTooManyRequests:
		return result
	}
	return strconv.Itoa(status/100) + "xx"
}

// Outbox counts what dispatchers do: it is an outbox.Meter.
type Outbox struct{ delivered, failed metric.Int64Counter }

func newOutbox(meter metric.Meter) (*Outbox, error) {
	delivered, delivering := meter.Int64Counter("holdfast_outbox_deliveries",
		metric.WithDescription("Messages that this process handed over to Temporal."))
	failed, failing := meter.Int64Counter("holdfast_outbox_delivery_failures",
		metric.WithDescription("Attempts of this process to hand over a message that failed; each is made again."))
	return &Outbox{delivered, failed}, errors.Join(delivering, failing)
}

// Delivered counts messages that were handed over.
func (o *Outbox) Delivered(ctx context.Context, messages int) { o.delivered.Add(ctx, int64(messages)) }

// Failed counts attempts that failed.
func (o *Outbox) Failed(ctx context.Context, attempts int) { o.failed.Add(ctx, int64(attempts)) }

// Webhooks counts what became of webhooks: it is an httpapi.WebhookMeter.
type Webhooks struct{ taken metric.Int64Counter }

func newWebhooks(ctx context.Context, meter metric.Meter) (*Webhooks, error) {
	taken, err := meter.Int64Counter("holdfast_webhooks",
		metric.WithDescription("Webhooks that came in, by outcome: sync when a customer was marked to be read, unknown or dismissed when it "+
			"is about nobody here, ignored, duplicate; refused when it will never be taken; unavailable when it has to be sent again."))
	if err != nil {
		return nil, err
	}
	for _, p := range providers() {
		for _, outcome := range []string{"sync", "unknown", "dismissed", "ignored", "duplicate", "refused", "unavailable"} {
			taken.Add(ctx, 0, ofProvider(p, outcome)) // or the first ones would raise no rate
		}
	}
	return &Webhooks{taken}, nil
}

// Webhook counts a webhook that was answered.
func (w *Webhooks) Webhook(ctx context.Context, p provider.Name, outcome string) {
	w.taken.Add(ctx, 1, ofProvider(p, outcome))
}

// Sync counts reads of customers' subscriptions, and what passes and sweeps find: it is an
// activities.SyncMeter, an activities.DriftMeter and an activities.SweepMeter.
type Sync struct{ reads, drift, found metric.Int64Counter }

func newSync(ctx context.Context, meter metric.Meter) (*Sync, error) {
	reads, reading := meter.Int64Counter("holdfast_subscription_reads",
		metric.WithDescription("Reads of a customer's whole state at a provider, by outcome: stored, superseded by another read, or healed, "+
			"when a pass that compares found what no event had told."))
	drift, drifting := meter.Int64Counter("holdfast_subscription_drift",
		metric.WithDescription("Customers whom a pass held against a provider's list (compared), of whom it told something else (differing), "+
			"and whose read, made because of a pass, found a difference (healed)."))
	found, finding := meter.Int64Counter("holdfast_payouts_swept",
		metric.WithDescription("Payouts at Stripe, and batches of them at PayPal, that a sweep had looked at because nothing was heard of them for too long, by how far they were."))
	if err := errors.Join(reading, drifting, finding); err != nil {
		return nil, err
	}
	for _, p := range providers() {
		for _, outcome := range []string{"compared", "differing", outcomeHealed} {
			drift.Add(ctx, 0, ofProvider(p, outcome)) // or the first ones would raise no rate
		}
	}
	return &Sync{reads: reads, drift: drift, found: found}, nil
}

const outcomeHealed = "healed"

func ofProvider(p provider.Name, outcome string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("provider", string(p)), attribute.String("outcome", outcome))
}

// Read counts a read that ended.
func (s *Sync) Read(ctx context.Context, p provider.Name, outcome string) {
	s.reads.Add(ctx, 1, ofProvider(p, outcome))
	if outcome == outcomeHealed {
		s.drift.Add(ctx, 1, ofProvider(p, outcome))
	}
}

// Found counts what a sweep found at a provider, by how far it was.
func (s *Sync) Found(ctx context.Context, p provider.Name, state string, n int) {
	s.found.Add(ctx, int64(n), metric.WithAttributes(attribute.String("provider", string(p)), attribute.String("state", state)))
}

// Compared counts the customers on a page, and those among them who differed.
func (s *Sync) Compared(ctx context.Context, p provider.Name, customers, differing int) {
	s.drift.Add(ctx, int64(customers), ofProvider(p, "compared"))
	s.drift.Add(ctx, int64(differing), ofProvider(p, "differing"))
}
