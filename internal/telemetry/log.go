package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

func newLogger(options Options) (*slog.Logger, error) {
	handlerOptions := &slog.HandlerOptions{Level: options.LogLevel, ReplaceAttr: cleaned}
	var handler slog.Handler
	switch options.LogFormat {
	case "", "json":
		handler = slog.NewJSONHandler(output(options.LogOutput), handlerOptions)
	case "text":
		handler = slog.NewTextHandler(output(options.LogOutput), handlerOptions)
	default:
		return nil, fmt.Errorf("telemetry: the log format %q is unknown; there are json and text", options.LogFormat)
	}
	return slog.New(traced{handler}).With("service", options.Service, "version", options.Version), nil
}

// cleaned puts times in UTC, and keeps out what must not be logged should somebody try.
func cleaned(groups []string, a slog.Attr) slog.Attr {
	switch {
	case len(groups) == 0 && a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime:
		return slog.Time(a.Key, a.Value.Time().UTC())
	case forbidden(a.Key):
		return slog.String(a.Key, "[removed]")
	}
	return a
}

// forbidden names what is a secret or a person's.
func forbidden(key string) bool {
	switch strings.ToLower(key) {
	case "authorization", "password", "secret", "secret_key", "api_key", "token", "cookie", "signature",
		"database_url", "email", "profile", "payload", "input":
		return true
	}
	return false
}

// traced adds the ids of the span under which something was logged.
type traced struct{ slog.Handler }

func (h traced) Handle(ctx context.Context, r slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(attrs)} }

func (h traced) WithGroup(name string) slog.Handler { return traced{h.Handler.WithGroup(name)} }
