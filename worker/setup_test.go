package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/localstack"
	"github.com/holdfast/holdfast/internal/localstack/temporaltest"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/workflows"
)

var recordTo = flag.String("record", "", "write the scenarios' histories into this folder, for workflows' replay test")

func TestMain(m *testing.M) {
	if os.Getenv(mortalVariable) != "" {
		main() // and not the tests: this process is a worker, to be killed
	}
	postgrestest.Main(m)
}

// bundle is a worker in this process, on real servers.
type bundle struct {
	server        *localstack.Temporal
	pool          *pgxpool.Pool
	temporal      client.Client
	simulator     *simulator.Simulator
	customers     *customer.Store
	subscriptions *subscription.Store
	payouts       *payout.Store
	host          host
}

// callTimeout is how long a call to a provider may take: where calls are counted, none is to be made again
// because the machine is busy.
const callTimeout = 10 * time.Second

func setup(t *testing.T) bundle {
	t.Helper()
	return setupOn(t, temporaltest.Start(t), queueNames())
}

// setupOn serves the queues on the given server.
func setupOn(t *testing.T, server *localstack.Temporal, queues []string) bundle {
	t.Helper()
	options := server.ClientOptions()
	options.ConnectionOptions.DialOptions = outbox.DialOptions()
	options.Identity = "test" // recorded histories name no machine
	temporal, err := client.Dial(options)
	require.NoError(t, err)
	t.Cleanup(temporal.Close)
	pool := postgrestest.New(t)
	sim, err := simulator.Start(context.WithoutCancel(t.Context()), simulator.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sim.Close()) })
	breakers := map[provider.Name]*provider.Breaker{
		provider.Stripe: provider.NewBreaker(provider.Stripe, 0), provider.PayPal: provider.NewBreaker(provider.PayPal, 0),
	}
	toStripe, err := stripe.New(stripe.Config{
		SecretKey: simulator.DefaultStripeKey, APIBase: sim.StripeURL(), Timeout: callTimeout, Breaker: breakers[provider.Stripe],
	})
	require.NoError(t, err)
	toPayPal, err := paypal.New(paypal.Config{
		ClientID: simulator.DefaultPayPalClientID, ClientSecret: simulator.DefaultPayPalClientSecret, APIBase: sim.PayPalURL(),
		Timeout: callTimeout, Breaker: breakers[provider.PayPal],
	})
	require.NoError(t, err)

	b := bundle{
		server: server, pool: pool, temporal: temporal, simulator: sim, customers: customer.NewStore(pool, feed.NewWriter(nil)),
		subscriptions: subscription.NewStore(pool, nil, feed.NewWriter(nil), workflows.SyncSubscriptions),
	}
	b.payouts = payout.NewStore(pool, payout.DefaultPolicy(), feed.NewWriter(nil), workflows.PayoutWork())
	b.host = host{
		payouts: b.payouts,
		pool:    pool, temporal: temporal, stripe: toStripe, paypal: toPayPal, customers: b.customers, subscriptions: b.subscriptions, breakers: breakers,
		rates: map[provider.Name]float64{provider.Stripe: 100, provider.PayPal: 100}, meter: unmetered{}, log: slog.New(slog.DiscardHandler),
	}
	b.serve(t, queues)
	b.dispatch(t)
	return b
}

// serve hosts the queues in this process.
func (b bundle) serve(t *testing.T, queues []string) {
	t.Helper()
	for _, w := range b.host.workers(queues) {
		require.NoError(t, w.Start())
		t.Cleanup(w.Stop)
	}
}

// dispatch hands over what is in the outbox.
func (b bundle) dispatch(t *testing.T) {
	t.Helper()
	dispatcher := outbox.NewDispatcher(b.pool, b.temporal, outbox.Options{})
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- dispatcher.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
	})
}

// unmetered counts nothing.
type unmetered struct{}

func (unmetered) Read(context.Context, provider.Name, string)       {}
func (unmetered) Compared(context.Context, provider.Name, int, int) {}
func (unmetered) Found(context.Context, provider.Name, string, int) {}

func (b bundle) signUp(t *testing.T, id string) {
	t.Helper()
	_, _, err := b.customers.Create(t.Context(), customer.Profile{ID: id, Email: id + "@example.com"}, workflows.StartOnboarding(id))
	require.NoError(t, err)
}

func (b bundle) await(t *testing.T, id string, want customer.Status) {
	t.Helper()
	require.Eventually(t, func() bool {
		c, err := b.customers.Get(t.Context(), id)
		return err == nil && c.Status() == want
	}, 2*time.Minute, 50*time.Millisecond, "%s does not become %s", id, want)
}

// startOrUse starts a workflow if none with its id is running.
func (b bundle) startOrUse(id, name string, input any) client.WithStartWorkflowOperation {
	return b.temporal.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
		ID: id, TaskQueue: workflows.TaskQueue, WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
	}, name, input)
}

// updateWithStart sends an update to the workflow, and waits until it is carried out.
func (b bundle) updateWithStart(t *testing.T, start client.WithStartWorkflowOperation, update string, in any) client.WorkflowUpdateHandle {
	t.Helper()
	handle, err := b.temporal.UpdateWithStartWorkflow(t.Context(), client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: start,
		UpdateOptions:          client.UpdateWorkflowOptions{UpdateName: update, WaitForStage: client.WorkflowUpdateStageCompleted, Args: []any{in}},
	})
	require.NoError(t, err)
	return handle
}

// scenario is played on real servers, and names the workflow whose history tells of it.
type scenario func(t *testing.T, b bundle) (workflowID string)

// playAll plays each scenario on servers of its own, whose Temporal has the settings that are given under
// the scenario's name, and records it.
func playAll(t *testing.T, settings map[string][]string, scenarios map[string]scenario) {
	t.Helper()
	for name, play := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupOn(t, temporaltest.StartWith(t, settings[name]...), queueNames())
			b.record(t, play(t, b), name)
		})
	}
}

// record writes a workflow's history down under the scenario's name, if that is asked for.
func (b bundle) record(t *testing.T, workflowID, scenario string) {
	t.Helper()
	if *recordTo == "" {
		return
	}
	encoded, err := protojson.MarshalOptions{Indent: " "}.Marshal(b.history(t, workflowID))
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(*recordTo, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(*recordTo, scenario+".json"), encoded, 0o644))
}

// history is what Temporal wrote down of a workflow; of one that continued as new, its first run.
func (b bundle) history(t *testing.T, workflowID string) *history.History {
	t.Helper()
	described, err := b.temporal.DescribeWorkflowExecution(t.Context(), workflowID, "")
	require.NoError(t, err)
	var recorded history.History
	events := b.temporal.GetWorkflowHistory(t.Context(), workflowID, described.GetWorkflowExecutionInfo().GetFirstRunId(), false,
		enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		require.NoError(t, err)
		recorded.Events = append(recorded.Events, event)
	}
	return &recorded
}
