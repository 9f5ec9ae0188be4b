package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// tracing is where spans go.
type tracing struct {
	provider trace.TracerProvider
	on       bool
	shutdown func(context.Context) error
}

func newTracing(ctx context.Context, identity *resource.Resource, log *slog.Logger) (tracing, error) {
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		return tracing{provider: noop.NewTracerProvider(), shutdown: func(context.Context) error { return nil }}, nil
	}
	exporter, err := otlptracegrpc.New(ctx)
	if err != nil {
		return tracing{}, fmt.Errorf("telemetry: export traces (OTEL_EXPORTER_OTLP_…): %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(forgiving{exporter, log}), sdktrace.WithResource(identity))
	return tracing{provider: provider, on: true, shutdown: provider.Shutdown}, nil
}

// forgiving logs what cannot be exported. OpenTelemetry would report it to a global handler.
type forgiving struct {
	sdktrace.SpanExporter

	log *slog.Logger
}

func (f forgiving) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if err := f.SpanExporter.ExportSpans(ctx, spans); err != nil {
		f.log.WarnContext(ctx, "traces could not be exported; they are lost", "spans", len(spans), "error", err)
	}
	return nil
}
