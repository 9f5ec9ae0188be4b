package telemetry_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"google.golang.org/grpc"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/internal/telemetry"
)

// The types are what their users' small interfaces ask for.
var (
	_ provider.Observer = (*telemetry.ProviderCalls)(nil)
	_ outbox.Meter      = (*telemetry.Outbox)(nil)
)

func setup(t *testing.T) (*telemetry.Telemetry, *lockedBuffer) {
	t.Helper()
	log := &lockedBuffer{}
	tel, err := telemetry.Setup(t.Context(), telemetry.Options{Service: "holdfast-test", Version: "1.2.3", LogOutput: log})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tel.Shutdown(context.WithoutCancel(t.Context()))) })
	return tel, log
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// series are the lines of a scrape, name{labels} to value.
func series(t *testing.T, tel *telemetry.Telemetry) map[string]string {
	t.Helper()
	answer := httptest.NewRecorder()
	tel.MetricsHandler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, answer.Code, answer.Body)
	found := map[string]string{}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if line := lines.Text(); line != "" && line[0] != '#' {
			i := strings.LastIndexByte(line, ' ')
			found[line[:i]] = line[i+1:]
		}
	}
	require.NoError(t, lines.Err())
	return found
}

func TestHTTPRequestsByRoute(t *testing.T) {
	t.Parallel()
	tel, _ := setup(t)

	tel.HTTP.ObserveRequest(t.Context(), "GET", "GET /v1/customers/{id}", 200, 3*time.Millisecond)
	tel.HTTP.ObserveRequest(t.Context(), "GET", "/v1/customers/{id}", 200, 40*time.Second)
	tel.HTTP.ObserveRequest(t.Context(), "BREW", "", 404, time.Second)

	got := series(t, tel)
	require.Equal(t, "2", got[`holdfast_http_request_duration_seconds_count{method="GET",route="/v1/customers/{id}",status="200"}`])
	require.Equal(t, "1", got[`holdfast_http_request_duration_seconds_bucket{method="GET",route="/v1/customers/{id}",status="200",le="0.005"}`])
	require.Equal(t, "1", got[`holdfast_http_request_duration_seconds_count{method="other",route="unmatched",status="404"}`])
}

func TestProviderCallsByOperationAndResult(t *testing.T) {
	t.Parallel()
	tel, _ := setup(t)
	for _, result := range []string{"200", "201", "401", "404", "429", "502", provider.ResultTimeout} {
		tel.ProviderCalls.ObserveCall(t.Context(), provider.Observation{
			Provider: provider.Stripe, Method: "POST", Route: "/v1/customers", Result: result, Duration: time.Second,
		})
	}

	got := series(t, tel)
	for result, n := range map[string]string{"2xx": "2", "401": "1", "4xx": "1", "429": "1", "5xx": "1", "timeout": "1"} {
		name := `holdfast_provider_call_duration_seconds_count{operation="POST /v1/customers",provider="stripe",result="` + result + `"}`
		require.Equal(t, n, got[name], name)
	}
}

func TestOutboxDeliveries(t *testing.T) {
	t.Parallel()
	tel, _ := setup(t)

	tel.Outbox.Delivered(t.Context(), 3)
	tel.Outbox.Delivered(t.Context(), 2)
	tel.Outbox.Failed(t.Context(), 1)

	got := series(t, tel)
	require.Equal(t, "5", got["holdfast_outbox_deliveries_total"])
	require.Equal(t, "1", got["holdfast_outbox_delivery_failures_total"])
}

func TestReadsOfSubscriptionsByOutcome(t *testing.T) {
	t.Parallel()
	tel, _ := setup(t)

	tel.Sync.Read(t.Context(), provider.Stripe, "stored")
	tel.Sync.Read(t.Context(), provider.Stripe, "healed")
	tel.Sync.Read(t.Context(), provider.Stripe, "stored")

	got := series(t, tel)
	require.Equal(t, "2", got[`holdfast_subscription_reads_total{outcome="stored",provider="stripe"}`])
	require.Equal(t, "1", got[`holdfast_subscription_reads_total{outcome="healed",provider="stripe"}`])
}

func TestOpenSteps(t *testing.T) {
	t.Parallel()
	tel, _ := setup(t)
	hourAgo := time.Now().Add(-time.Hour)
	require.NoError(t, tel.WatchSteps(func(context.Context) ([]step.Waiting, error) {
		return []step.Waiting{
			{Provider: provider.Stripe, Status: step.Blocked, WaitsFor: step.ForProvider, Count: 7, Oldest: hourAgo},
			{Provider: provider.Stripe, Status: step.Pending, Count: 2, Oldest: hourAgo.Add(-time.Hour)},
		}, nil
	}))

	got := series(t, tel)
	require.Equal(t, "7", got[`holdfast_steps_open{provider="stripe",status="blocked",waits_for="provider"}`])
	require.Equal(t, "2", got[`holdfast_steps_open{provider="stripe",status="pending",waits_for=""}`])
	require.Equal(t, "0", got[`holdfast_steps_open{provider="stripe",status="blocked",waits_for="person"}`])
	require.Equal(t, "0", got[`holdfast_steps_open{provider="paypal",status="blocked",waits_for="provider"}`])
	require.Regexp(t, `^360\d`, got[`holdfast_steps_oldest_waiting_age_seconds{provider="stripe",waits_for="provider"}`])
	require.Equal(t, "0", got[`holdfast_steps_oldest_waiting_age_seconds{provider="stripe",waits_for="person"}`])
}

func TestOutboxBacklog(t *testing.T) {
	t.Parallel()
	tel, _ := setup(t)
	require.NoError(t, tel.WatchOutbox(func(context.Context) (outbox.Backlog, error) {
		return outbox.Backlog{Depth: 12, Oldest: 90 * time.Second}, nil
	}))

	got := series(t, tel)
	require.Equal(t, "12", got["holdfast_outbox_depth"])
	require.Equal(t, "90", got["holdfast_outbox_oldest_age_seconds"])
}

func TestCustomersWhoWaitToBeRead(t *testing.T) {
	t.Parallel()
	tel, _ := setup(t)
	require.NoError(t, tel.WatchSyncs(func(context.Context) ([]subscription.Backlog, error) {
		return []subscription.Backlog{{Provider: provider.Stripe, Waiting: 7, Oldest: time.Now().Add(-time.Hour)}}, nil
	}))

	got := series(t, tel)
	require.Equal(t, "7", got[`holdfast_subscription_backlog_depth{provider="stripe"}`])
	require.Regexp(t, `^360\d`, got[`holdfast_subscription_backlog_oldest_age_seconds{provider="stripe"}`])
	require.Equal(t, "0", got[`holdfast_subscription_backlog_depth{provider="paypal"}`])
	require.Equal(t, "0", got[`holdfast_subscription_backlog_oldest_age_seconds{provider="paypal"}`])
}

func TestPayouts(t *testing.T) {
	t.Parallel()
	tel, _ := setup(t)
	at := time.Date(2026, time.November, 20, 9, 30, 0, 0, time.UTC)
	require.NoError(t, tel.WatchPayouts(func(context.Context) (payout.Measured, error) {
		return payout.Measured{
			At: at,
			Open: []payout.Open{
				{State: payout.InTransit, Currency: "usd", Payouts: 7, Oldest: at.Add(-time.Hour), Late: 2},
				{State: payout.Held, Currency: "usd", Oldest: at},
			},
			Missing: []payout.Lack{{Rail: payout.RailStripe, Currency: "usd", Missing: 123_45}, {Rail: payout.RailStripe, Currency: "jpy", Missing: 700}},
			LastRun: date.Of(at), Runs: map[payout.RunState]int{payout.RunPaused: 1}, Forced: 3, PartReversed: 4, PaidTwice: 5, Unlooked: 2 * time.Hour,
		}, nil
	}))

	got := series(t, tel)
	require.Equal(t, "7", got[`holdfast_payouts_open{currency="usd",state="in_transit"}`])
	require.Equal(t, "3600", got[`holdfast_payouts_oldest_age_seconds{currency="usd",state="in_transit"}`])
	require.Equal(t, "0", got[`holdfast_payouts_oldest_age_seconds{currency="usd",state="held"}`])
	require.Equal(t, "2", got[`holdfast_payouts_late{currency="usd"}`])
	require.Equal(t, "123.45", got[`holdfast_payout_funds_missing{currency="usd",provider="stripe"}`])
	require.Equal(t, "700", got[`holdfast_payout_funds_missing{currency="jpy",provider="stripe"}`])
	require.Equal(t, "0", got["holdfast_payouts_enabled"])
	require.Equal(t, "3", got["holdfast_payouts_forced"])
	require.Equal(t, "4", got["holdfast_payouts_part_reversed"])
	require.Equal(t, "5", got["holdfast_payouts_paid_twice"])
	require.Equal(t, "7200", got["holdfast_payouts_unlooked_age_seconds"])
	require.Equal(t, "1", got[`holdfast_payout_runs_open{state="paused"}`])
	require.Equal(t, "34200", got["holdfast_payout_last_run_age_seconds"])
}

// Before the first run there is no age to be alerted on.
func TestWithoutARunNoAgeIsShown(t *testing.T) {
	t.Parallel()
	tel, _ := setup(t)
	require.NoError(t, tel.WatchPayouts(func(context.Context) (payout.Measured, error) {
		return payout.Measured{Enabled: true}, nil
	}))

	got := series(t, tel)
	require.Equal(t, "1", got["holdfast_payouts_enabled"])
	require.NotContains(t, got, "holdfast_payout_last_run_age_seconds")
}

func TestWebhooksByOutcome(t *testing.T) {
	t.Parallel()
	tel, _ := setup(t)
	require.Equal(t, "0", series(t, tel)[`holdfast_webhooks_total{outcome="unavailable",provider="stripe"}`], "or the first one would raise no rate")

	tel.Webhooks.Webhook(t.Context(), provider.Stripe, "sync")
	tel.Webhooks.Webhook(t.Context(), provider.PayPal, "refused")
	tel.Webhooks.Webhook(t.Context(), provider.Stripe, "sync")

	got := series(t, tel)
	require.Equal(t, "2", got[`holdfast_webhooks_total{outcome="sync",provider="stripe"}`])
	require.Equal(t, "1", got[`holdfast_webhooks_total{outcome="refused",provider="paypal"}`])
	require.Equal(t, "0", got[`holdfast_webhooks_total{outcome="refused",provider="stripe"}`])
}

func TestProviderStates(t *testing.T) {
	t.Parallel()
	tel, _ := setup(t)
	require.NoError(t, tel.WatchHealth(func(context.Context) ([]provider.Health, error) {
		return []provider.Health{{Provider: provider.Stripe, State: provider.StateDown}}, nil
	}))
	breaker := provider.NewBreaker(provider.Stripe, 0)
	require.NoError(t, tel.WatchBreakers(map[provider.Name]func() provider.BreakerState{provider.Stripe: breaker.State}))

	got := series(t, tel)
	require.Equal(t, "1", got[`holdfast_provider_state{provider="stripe",state="down"}`])
	require.Equal(t, "0", got[`holdfast_provider_state{provider="stripe",state="up"}`])
	require.Equal(t, "1", got[`holdfast_provider_breaker_state{provider="stripe",state="closed"}`])
	require.Equal(t, "0", got[`holdfast_provider_breaker_state{provider="stripe",state="open"}`])
}

func TestScrapesCannotHurtTheDatabase(t *testing.T) {
	t.Parallel()
	tel, _ := setup(t)
	var reads atomic.Int64
	require.NoError(t, tel.WatchOutbox(func(ctx context.Context) (outbox.Backlog, error) {
		reads.Add(1)
		_, bounded := ctx.Deadline()
		require.True(t, bounded)
		return outbox.Backlog{Depth: 1}, nil
	}))

	var scrapes sync.WaitGroup
	for range 4 {
		scrapes.Go(func() { require.Equal(t, "1", series(t, tel)["holdfast_outbox_depth"]) })
	}
	scrapes.Wait()

	require.EqualValues(t, 1, reads.Load())
}

func TestWhatCannotBeReadIsMissingAndCounted(t *testing.T) {
	t.Parallel()
	tel, log := setup(t)
	require.NoError(t, tel.WatchOutbox(func(context.Context) (outbox.Backlog, error) {
		return outbox.Backlog{}, errors.New("no route to host")
	}))
	tel.Outbox.Delivered(t.Context(), 1)

	series(t, tel)
	got := series(t, tel) // the failure is counted during a scrape, and seen by the next

	require.NotContains(t, got, "holdfast_outbox_depth")
	require.Equal(t, "1", got[`holdfast_scrape_failures_total{source="outbox"}`])
	require.Equal(t, "1", got["holdfast_outbox_deliveries_total"], "the rest is served")
	require.Contains(t, log.String(), "no route to host")
}

func TestProcessAndRuntimeMetricsAndIdentity(t *testing.T) {
	t.Parallel()
	tel, _ := setup(t)

	got := series(t, tel)
	require.Contains(t, got, "go_goroutines")
	require.Contains(t, got, "process_open_fds")
	require.Equal(t, "1", got[`target_info{service_name="holdfast-test",service_version="1.2.3"}`])
}

func TestTemporalMetrics(t *testing.T) {
	t.Parallel()
	tel, log := setup(t)
	metrics := tel.TemporalMetrics().WithTags(map[string]string{"operation": "StartWorkflowExecution"})

	metrics.Counter("temporal_request").Inc(2)
	metrics.Timer("temporal_request_latency").Record(20 * time.Millisecond)
	require.NotPanics(t, func() { metrics.Counter("not a name").Inc(1) })

	got := series(t, tel)
	require.Equal(t, "2", got[`temporal_request_total{operation="StartWorkflowExecution"}`])
	require.Equal(t, "1", got[`temporal_request_latency_seconds_bucket{operation="StartWorkflowExecution",le="0.025"}`])
	require.Equal(t, "0", got[`temporal_request_latency_seconds_bucket{operation="StartWorkflowExecution",le="0.01"}`])
	require.Contains(t, log.String(), "a metric of Temporal's SDK could not be made")
}

func TestAttemptsByClass(t *testing.T) {
	t.Parallel()
	tel, _ := setup(t)
	outcomes := map[string]error{
		"ok":           nil,
		"rate_limited": temporal.NewApplicationError("slow down", string(provider.RateLimited)),
		"internal":     errors.New("a bug of ours"),
		"canceled":     temporal.NewCanceledError(),
	}
	var options client.Options
	tel.Instrument(&options)

	for _, err := range outcomes {
		var suite testsuite.WorkflowTestSuite
		env := suite.NewTestActivityEnvironment()
		env.SetWorkerOptions(worker.Options{Interceptors: workerInterceptors(options)})
		attempt := func(context.Context) error { return err }
		env.RegisterActivityWithOptions(attempt, activityNamed("Attempt"))
		_, _ = env.ExecuteActivity(attempt)
	}

	got := series(t, tel)
	for class := range outcomes {
		require.Equal(t, "1", got[`holdfast_attempts_total{activity="Attempt",class="`+class+`"}`], "%s in %v", class, got)
	}
}

// workerInterceptors are those that a worker takes over from its client.
func workerInterceptors(options client.Options) []interceptor.WorkerInterceptor {
	var taken []interceptor.WorkerInterceptor
	for _, i := range options.Interceptors {
		if w, ok := i.(interceptor.WorkerInterceptor); ok {
			taken = append(taken, w)
		}
	}
	return taken
}

func TestLabelsAreNotPersonal(t *testing.T) {
	t.Parallel()
	tel, _ := setup(t)
	everything(t, tel)
	allowed := []string{
		"provider", "status", "waits_for", "state", "activity", "class", "operation", "result", "outcome", "method", "route", "source", "le", "currency",
	}

	for name := range series(t, tel) {
		if !strings.HasPrefix(name, "holdfast_") {
			continue
		}
		for _, label := range labelsOf(name) {
			require.Contains(t, allowed, label, name)
		}
	}
}

func TestSeriesAreBounded(t *testing.T) {
	t.Parallel()
	tel, _ := setup(t)
	for i := range 5000 { // a route that was not a pattern after all
		tel.HTTP.ObserveRequest(t.Context(), "GET", fmt.Sprintf("/v1/customers/u_%d", i), 200, time.Millisecond)
	}

	n := 0
	got := series(t, tel)
	for name := range got {
		if strings.HasPrefix(name, "holdfast_http_request_duration_seconds_count") {
			n++
		}
	}
	require.LessOrEqual(t, n, 2000)
	require.Contains(t, got, `holdfast_http_request_duration_seconds_count{otel_metric_overflow="true"}`)
}

// everything makes each of our metrics have a series.
func everything(t *testing.T, tel *telemetry.Telemetry) {
	t.Helper()
	tel.HTTP.ObserveRequest(t.Context(), "GET", "/", 200, 0)
	tel.ProviderCalls.ObserveCall(t.Context(), provider.Observation{Provider: provider.Stripe, Method: "GET", Route: "/v1/balance", Result: "200"})
	tel.Outbox.Delivered(t.Context(), 1)
	tel.Outbox.Failed(t.Context(), 1)
	tel.Sync.Read(t.Context(), provider.Stripe, "stored")
	tel.Sync.Found(t.Context(), provider.Stripe, "sending", 1)
	require.NoError(t, tel.WatchSteps(func(context.Context) ([]step.Waiting, error) { return nil, nil }))
	require.NoError(t, tel.WatchOutbox(func(context.Context) (outbox.Backlog, error) { return outbox.Backlog{}, nil }))
	require.NoError(t, tel.WatchSyncs(func(context.Context) ([]subscription.Backlog, error) { return nil, nil }))
	require.NoError(t, tel.WatchHealth(func(context.Context) ([]provider.Health, error) {
		return []provider.Health{{Provider: provider.Stripe, State: provider.StateUp}}, nil
	}))
	require.NoError(t, tel.WatchPayouts(func(context.Context) (payout.Measured, error) {
		return payout.Measured{
			Open: []payout.Open{{State: payout.Held, Currency: "usd"}}, Missing: []payout.Lack{{Rail: payout.RailStripe, Currency: "usd"}},
			LastRun: date.New(2026, time.November, 20), Runs: map[payout.RunState]int{payout.RunPaying: 1},
		}, nil
	}))
	require.NoError(t, tel.WatchHealth(func(context.Context) ([]provider.Health, error) {
		return nil, errors.New("which is counted")
	}))
	require.NoError(t, tel.WatchBreakers(map[provider.Name]func() provider.BreakerState{
		provider.Stripe: func() provider.BreakerState { return provider.BreakerOpen },
	}))
	var options client.Options
	tel.Instrument(&options)
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(worker.Options{Interceptors: workerInterceptors(options)})
	attempt := func(context.Context) error { return nil }
	env.RegisterActivityWithOptions(attempt, activityNamed("Attempt"))
	_, err := env.ExecuteActivity(attempt)
	require.NoError(t, err)
	series(t, tel) // some are counted during a scrape
}

func TestLogsAreJSONInUTCWithoutSecrets(t *testing.T) {
	t.Parallel()
	tel, log := setup(t)
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	ctx := trace.ContextWithSpanContext(t.Context(), span)

	tel.Logger().With("key", "onboarding/u_1").WarnContext(ctx, "it failed", "Authorization", "Bearer hunter2",
		slog.Group("customer", "id", "u_1", "email", "ada@example.com"))
	tel.Logger().Debug("not at this level")
	tel.TemporalLogger().Info("from the SDK", "WorkflowID", "w")

	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	require.Len(t, lines, 2)
	var line map[string]any
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &line))
	at, err := time.Parse(time.RFC3339Nano, line["time"].(string))
	require.NoError(t, err)
	require.Equal(t, time.UTC, at.Location())
	delete(line, "time")
	require.Equal(t, map[string]any{
		"level": "WARN", "msg": "it failed", "service": "holdfast-test", "version": "1.2.3", "key": "onboarding/u_1",
		"Authorization": "[removed]", "customer": map[string]any{"id": "u_1", "email": "[removed]"},
		"trace_id": span.TraceID().String(), "span_id": span.SpanID().String(),
	}, line)
	require.Contains(t, lines[1], `"WorkflowID":"w"`)
}

func TestLogLevelAndFormat(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	tel, err := telemetry.Setup(t.Context(), telemetry.Options{LogLevel: slog.LevelDebug, LogFormat: "text", LogOutput: &log})
	require.NoError(t, err)
	tel.Logger().Debug("details")
	require.Contains(t, log.String(), "level=DEBUG msg=details")

	_, err = telemetry.Setup(t.Context(), telemetry.Options{LogFormat: "xml"})
	require.ErrorContains(t, err, `"xml"`)
}

// traceServer is an OTLP collector.
type traceServer struct {
	collector.UnimplementedTraceServiceServer

	spans chan string
}

func (s *traceServer) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	for _, resource := range r.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				s.spans <- span.GetName()
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func TestTracesAreExportedWhenConfigured(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server, received := grpc.NewServer(), &traceServer{spans: make(chan string, 10)}
	collector.RegisterTraceServiceServer(server, received)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://"+listener.Addr().String())
	tel, err := telemetry.Setup(t.Context(), telemetry.Options{Service: "holdfast-test", LogOutput: &bytes.Buffer{}})
	require.NoError(t, err)

	_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "sign up")
	span.End()
	require.NoError(t, tel.Shutdown(t.Context()))

	require.Equal(t, "sign up", <-received.spans)
	require.Len(t, tel.TemporalInterceptors(), 2)
}

func TestTracesThatCannotBeExportedAreLogged(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer() // it knows no traces
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+listener.Addr().String())
	log := &lockedBuffer{}
	tel, err := telemetry.Setup(t.Context(), telemetry.Options{Service: "holdfast-test", LogOutput: log})
	require.NoError(t, err)

	_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "sign up")
	span.End()

	require.NoError(t, tel.Shutdown(t.Context()))
	require.Contains(t, log.String(), "traces could not be exported")
}

func TestNoTracesUnlessConfigured(t *testing.T) {
	t.Parallel()
	tel, _ := setup(t)
	_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "sign up")
	defer span.End()
	require.False(t, span.IsRecording())
	require.Len(t, tel.TemporalInterceptors(), 1)
}

// labelsOf are the names of the labels of a series.
func labelsOf(name string) []string {
	_, inside, ok := strings.Cut(strings.TrimSuffix(name, "}"), "{")
	if !ok {
		return nil
	}
	var names []string
	for label := range strings.SplitSeq(inside, `",`) {
		key, _, _ := strings.Cut(label, "=")
		names = append(names, key)
	}
	slices.Sort(names)
	return names
}
