package telemetry

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/opentelemetry"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/internal/provider"
)

// Instrument makes a Temporal client, and the workers that are made from it, tell about themselves.
// The workers take the interceptors from the client: do not give them the same ones again.
func (t *Telemetry) Instrument(options *client.Options) {
	options.MetricsHandler = t.TemporalMetrics()
	options.Interceptors = append(options.Interceptors, t.TemporalInterceptors()...)
	options.Logger = t.TemporalLogger()
}

// TemporalMetrics collects the metrics of Temporal's SDK, whose names begin with temporal_.
func (t *Telemetry) TemporalMetrics() client.MetricsHandler {
	return opentelemetry.NewMetricsHandler(opentelemetry.MetricsHandlerOptions{
		Meter:                t.metrics.Meter(temporalMeterName),
		UseMonotonicCounters: true,
		OnError: func(err error) { // which panics by default
			t.log.Warn("a metric of Temporal's SDK could not be made; it is left out", "error", err)
		},
	})
}

// TemporalInterceptors count the attempts at activities and, when tracing is configured, follow
// calls through workflows and activities.
func (t *Telemetry) TemporalInterceptors() []interceptor.ClientInterceptor {
	interceptors := append(make([]interceptor.ClientInterceptor, 0, 2), &attemptCounter{attempts: t.attempts})
	if !t.tracing.on {
		return interceptors
	}
	traces, err := opentelemetry.NewTracingInterceptor(opentelemetry.TracerOptions{
		Tracer:                  t.tracing.provider.Tracer(temporalMeterName),
		AllowInvalidParentSpans: true, // a header of somebody else's making must not stop a workflow
		DisableBaggage:          true, // baggage can hold anything, and would stay in histories
	})
	if err != nil {
		t.log.Warn("Temporal's part of traces is left out", "error", err)
		return interceptors
	}
	return append(interceptors, traces)
}

// TemporalLogger passes the log of Temporal's SDK on.
func (t *Telemetry) TemporalLogger() log.Logger { return log.NewStructuredLogger(t.log) }

// newAttempts counts attempts at activities by what became of them.
func newAttempts(meter metric.Meter) (metric.Int64Counter, error) {
	return meter.Int64Counter("holdfast_attempts", metric.WithDescription("Attempts at activities, by activity and the class of their failure."))
}

// attemptCounter counts the attempts of a worker.
type attemptCounter struct {
	interceptor.InterceptorBase

	attempts metric.Int64Counter
}

// InterceptActivity is called for each attempt.
func (c *attemptCounter) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &countedActivity{
		ActivityInboundInterceptorBase: interceptor.ActivityInboundInterceptorBase{Next: next},
		attempts:                       c.attempts,
	}
}

type countedActivity struct {
	interceptor.ActivityInboundInterceptorBase

	attempts metric.Int64Counter
	outbound interceptor.ActivityOutboundInterceptor
}

// Init keeps the way to the activity's name.
func (a *countedActivity) Init(outbound interceptor.ActivityOutboundInterceptor) error {
	a.outbound = outbound
	return a.Next.Init(outbound)
}

// ExecuteActivity makes the attempt and counts it.
func (a *countedActivity) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	result, err := a.Next.ExecuteActivity(ctx, in)
	a.attempts.Add(context.WithoutCancel(ctx), 1, metric.WithAttributes(
		attribute.String("activity", a.outbound.GetInfo(ctx).ActivityType.Name),
		attribute.String("class", attemptClass(err)),
	))
	return result, err
}

// attemptClass is the class of a provider's failure, or what else an attempt comes to.
func attemptClass(err error) string {
	if err == nil {
		return "ok"
	}
	if temporal.IsCanceledError(err) || errors.Is(err, context.Canceled) {
		return "canceled"
	}
	if failure, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		switch class := provider.Class(failure.Type()); class {
		case provider.Transient, provider.RateLimited, provider.Misconfigured, provider.Rejected, provider.OutcomeUnknown, provider.NotFound, provider.Held:
			return string(class)
		}
	}
	return "internal"
}
