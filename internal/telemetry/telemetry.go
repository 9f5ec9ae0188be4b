// Package telemetry is what a Holdfast process tells about itself: logs in JSON, metrics for
// Prometheus, traces over OTLP when they are configured, and the same three for Temporal's SDK.
// docs/metrics.md lists the metrics. Labels and attributes carry names and states, never a
// customer's id, an e-mail address or anything else that belongs to one person.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	prometheusexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"
)

// Options say who the process is and how much it tells.
type Options struct {
	// Service is the process's name, such as "holdfast-worker".
	Service string
	// Version is the build's. Empty is what the Go toolchain recorded of it.
	Version string
	// LogLevel is the least that is logged; zero is info.
	LogLevel slog.Level
	// LogFormat is "json" (also when empty) or "text".
	LogFormat string
	// LogOutput is where logs go; nil is standard error.
	LogOutput io.Writer
}

// Telemetry is a process's telemetry. It is safe for concurrent use.
type Telemetry struct {
	// HTTP observes the requests that the process answers.
	HTTP *HTTP
	// ProviderCalls observes the calls that the process makes to providers.
	ProviderCalls *ProviderCalls
	// Outbox counts deliveries.
	Outbox *Outbox
	// Webhooks counts the providers' webhooks.
	Webhooks *Webhooks
	// Sync counts reads of subscriptions.
	Sync *Sync

	log      *slog.Logger
	registry *prometheus.Registry
	metrics  *sdkmetric.MeterProvider
	meter    metric.Meter
	tracing  tracing
	gauges   *gauges
	attempts metric.Int64Counter
}

// meterName is the scope of Holdfast's own metrics, and temporalMeterName that of Temporal's SDK.
const (
	meterName         = "holdfast"
	temporalMeterName = "temporal-sdk-go"
)

// maxSeries bounds what one metric may grow to, should a label get out of hand.
const maxSeries = 2000

// Setup makes a process's telemetry. Traces are exported if OTEL_EXPORTER_OTLP_ENDPOINT or
// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set; OpenTelemetry's other variables count too. It sets
// nothing global. Shutdown must be called at the end.
func Setup(ctx context.Context, options Options) (*Telemetry, error) {
	if options.Version == "" {
		options.Version = buildVersion()
	}
	log, err := newLogger(options)
	if err != nil {
		return nil, err
	}
	identity, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", options.Service), attribute.String("service.version", options.Version)),
		resource.WithFromEnv(), // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES
	)
	if err != nil {
		return nil, fmt.Errorf("telemetry: read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	t := &Telemetry{log: log, registry: prometheus.NewRegistry()}
	if t.metrics, err = newMeterProvider(t.registry, identity); err != nil {
		return nil, err
	}
	t.meter = t.metrics.Meter(meterName)
	if err := t.makeInstruments(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("telemetry: make the metrics: %w", err), t.metrics.Shutdown(ctx))
	}
	if t.tracing, err = newTracing(ctx, identity, log); err != nil {
		return nil, errors.Join(err, t.metrics.Shutdown(ctx))
	}
	return t, nil
}

func buildVersion() string {
	if build, ok := debug.ReadBuildInfo(); ok && build.Main.Version != "" {
		return build.Main.Version
	}
	return "unknown"
}

// newMeterProvider registers everything with a registry of its own.
func newMeterProvider(registry *prometheus.Registry, identity *resource.Resource) (*sdkmetric.MeterProvider, error) {
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := prometheusexporter.New(prometheusexporter.WithRegisterer(registry), prometheusexporter.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("telemetry: make the Prometheus exporter: %w", err)
	}
	return sdkmetric.NewMeterProvider(
		sdkmetric.WithReader(exporter),
		sdkmetric.WithResource(identity),
		sdkmetric.WithCardinalityLimit(maxSeries),
		sdkmetric.WithView(temporalInSeconds()),
	), nil
}

// temporalInSeconds gives the SDK's timers buckets from a fast request to a workflow of a day;
// OpenTelemetry's own are made for milliseconds.
func temporalInSeconds() sdkmetric.View {
	return sdkmetric.NewView(
		sdkmetric.Instrument{Kind: sdkmetric.InstrumentKindHistogram, Scope: instrumentation.Scope{Name: temporalMeterName}},
		sdkmetric.Stream{Aggregation: sdkmetric.AggregationExplicitBucketHistogram{
			Boundaries: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 21600, 86400},
		}},
	)
}

// requestSeconds are the buckets of calls, ours and to us. The longest an API call may wait is 30.
func requestSeconds() metric.HistogramOption {
	return metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60)
}

func (t *Telemetry) makeInstruments(ctx context.Context) error {
	var errs [7]error
	t.HTTP, errs[0] = newHTTP(t.meter)
	t.ProviderCalls, errs[1] = newProviderCalls(t.meter)
	t.Outbox, errs[2] = newOutbox(t.meter)
	t.gauges, errs[3] = newGauges(t.meter, t.log)
	t.attempts, errs[4] = newAttempts(t.meter)
	t.Sync, errs[5] = newSync(ctx, t.meter)
	t.Webhooks, errs[6] = newWebhooks(ctx, t.meter)
	return errors.Join(errs[:]...)
}

// Logger is the process's logger.
func (t *Telemetry) Logger() *slog.Logger { return t.log }

// TracerProvider makes spans; they go nowhere unless tracing is configured.
func (t *Telemetry) TracerProvider() trace.TracerProvider { return t.tracing.provider }

// MetricsHandler serves the metrics to Prometheus. A metric that cannot be collected is logged and
// left out; the others are served.
func (t *Telemetry) MetricsHandler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{
		Registry:            t.registry,
		ErrorLog:            slog.NewLogLogger(t.log.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 4,
		EnableOpenMetrics:   true,
	})
}

// Shutdown sends what is left to send, for as long as ctx allows.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	if err := errors.Join(t.tracing.shutdown(ctx), t.metrics.Shutdown(ctx)); err != nil {
		return fmt.Errorf("telemetry: shut down: %w", err)
	}
	return nil
}

func output(w io.Writer) io.Writer {
	if w == nil {
		return os.Stderr
	}
	return w
}
