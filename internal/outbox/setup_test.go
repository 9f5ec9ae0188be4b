package outbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"

	"github.com/holdfast/holdfast/internal/localstack"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
)

// never is a poll that does not happen within a test: what arrives was announced.
const never = time.Hour

// patience is how long a test waits for what must happen. Nothing depends on how long it takes.
const patience = time.Minute

// bench is one test's database, and a client of a Temporal server that others may share.
type bench struct {
	pool     *pgxpool.Pool
	temporal client.Client
	requests *requestCounter
	queue    string
}

func setup(t testing.TB, server *localstack.Temporal) *bench {
	t.Helper()
	b := &bench{pool: postgrestest.New(t), requests: &requestCounter{}, queue: t.Name()}
	b.temporal = dial(t, server, grpc.WithChainUnaryInterceptor(b.requests.intercept))
	return b
}

// dial connects lazily, as a process does that starts while Temporal is down.
func dial(t testing.TB, server *localstack.Temporal, more ...grpc.DialOption) client.Client {
	t.Helper()
	options := server.ClientOptions()
	options.ConnectionOptions.DialOptions = append(outbox.DialOptions(), more...)
	c, err := client.NewLazyClient(options)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// dispatch runs a dispatcher until the test ends or stop is called, which waits for its end.
func (b *bench) dispatch(t testing.TB, options outbox.Options) (d *outbox.Dispatcher, stop func()) {
	t.Helper()
	return run(t, outbox.NewDispatcher(b.pool, b.temporal, options))
}

func run(t testing.TB, d *outbox.Dispatcher) (_ *outbox.Dispatcher, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the dispatcher ended: %v", err)
		}
	})
	t.Cleanup(stop)
	return d, stop
}

// work hosts the test's workflows.
func (b *bench) work(t testing.TB) {
	t.Helper()
	w := worker.New(b.temporal, b.queue, worker.Options{})
	w.RegisterWorkflowWithOptions(greet, workflow.RegisterOptions{Name: "Greet"})
	w.RegisterWorkflowWithOptions(pokedOnce, workflow.RegisterOptions{Name: "PokedOnce"})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
}

type greeting struct {
	CustomerID string `json:"customer_id"`
	Times      int    `json:"times"`
}

// greet returns what it was given.
func greet(_ workflow.Context, in greeting) (greeting, error) { return in, nil }

// pokedOnce ends with the first poke.
func pokedOnce(ctx workflow.Context) error {
	workflow.GetSignalChannel(ctx, "poke").Receive(ctx, nil)
	return nil
}

// start is a message that starts a workflow of its own.
func (b *bench) start(name string) outbox.Message {
	return outbox.Message{
		Key: b.queue + "/start/" + name, Workflow: "Greet", WorkflowID: b.queue + "/" + name, TaskQueue: b.queue,
		Input: json.RawMessage(`{"customer_id":"u_1","times":2}`), Summary: "greet " + name,
		SearchAttributes: map[string]string{"HoldfastCustomer": "u_1"},
	}
}

// poke is a message that signals a workflow; cause tells one poke from the next.
func (b *bench) poke(name, cause string) outbox.Message {
	return outbox.Message{
		Key: b.queue + "/poke/" + name + "/" + cause, Workflow: "PokedOnce", WorkflowID: b.queue + "/" + name,
		TaskQueue: b.queue, Signal: "poke",
	}
}

func (b *bench) write(t testing.TB, messages ...outbox.Message) {
	t.Helper()
	require.NoError(t, add(t.Context(), b.pool, messages...))
}

func add(ctx context.Context, pool *pgxpool.Pool, messages ...outbox.Message) error {
	return postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		for _, m := range messages {
			if err := outbox.Queue(batch, m); err != nil {
				return err
			}
		}
		return tx.SendBatch(ctx, batch).Close()
	})
}

// awaitDelivered waits until nothing is left to deliver.
func (b *bench) awaitDelivered(t testing.TB) { b.awaitDepth(t, 0) }

func (b *bench) awaitDepth(t testing.TB, depth int64) {
	t.Helper()
	await(t, fmt.Sprintf("%d messages are left", depth), func() bool {
		backlog, err := outbox.Measure(t.Context(), b.pool)
		return err == nil && backlog.Depth == depth
	})
}

func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	require.Eventually(t, done, patience, 5*time.Millisecond, what)
}

// stored is a row as the test looks at it.
type stored struct {
	Attempts  int
	LastError string
	Delivered bool
	Due       bool
}

func (b *bench) row(t testing.TB, key string) stored {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `SELECT attempts, last_error, delivered_at IS NOT NULL AS delivered,
		delivered_at IS NULL AND next_attempt_at <= clock_timestamp() AS due FROM outbox WHERE key = $1`, key)
	require.NoError(t, err)
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[stored])
	require.NoError(t, err)
	return r
}

// expireLeases makes what a dead dispatcher had taken due at once.
func (b *bench) expireLeases(t testing.TB) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), `UPDATE outbox SET next_attempt_at = now() WHERE delivered_at IS NULL`)
	require.NoError(t, err)
}

// runID is the latest run of the workflow.
func (b *bench) runID(t testing.TB, name string) string {
	t.Helper()
	found, err := b.temporal.DescribeWorkflowExecution(t.Context(), b.queue+"/"+name, "")
	require.NoError(t, err)
	return found.GetWorkflowExecutionInfo().GetExecution().GetRunId()
}

func (b *bench) finished(t testing.TB, name string) {
	t.Helper()
	require.NoError(t, b.temporal.GetWorkflow(t.Context(), b.queue+"/"+name, "").Get(t.Context(), nil))
}

// signals are the names of the signals in the latest run's history, in order.
func (b *bench) signals(t testing.TB, name string) []string {
	t.Helper()
	var names []string
	for _, e := range b.history(t, name) {
		if s := e.GetWorkflowExecutionSignaledEventAttributes(); s != nil {
			names = append(names, s.GetSignalName())
		}
	}
	return names
}

func (b *bench) history(t testing.TB, name string) []*history.HistoryEvent {
	t.Helper()
	var all []*history.HistoryEvent
	events := b.temporal.GetWorkflowHistory(t.Context(), b.queue+"/"+name, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		require.NoError(t, err)
		all = append(all, e)
	}
	return all
}

// requestCounter counts the requests that take effect, by their id.
type requestCounter struct {
	mu sync.Mutex
	by map[string]int
}

func (c *requestCounter) intercept(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	err := invoke(ctx, method, request, reply, conn, options...)
	if err != nil {
		return err // a busy server has the client send it again
	}
	switch r := request.(type) {
	case *workflowservice.StartWorkflowExecutionRequest:
		c.count(r.GetRequestId())
	case *workflowservice.SignalWithStartWorkflowExecutionRequest:
		c.count(r.GetRequestId())
	}
	return nil
}

func (c *requestCounter) count(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = map[string]int{}
	}
	c.by[id]++
}

func (c *requestCounter) counts() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by
}

// tally is a Meter.
type tally struct{ delivered, failed atomic.Int64 }

func (m *tally) Delivered(_ context.Context, n int) { m.delivered.Add(int64(n)) }
func (m *tally) Failed(_ context.Context, n int)    { m.failed.Add(int64(n)) }

// messagesOf is a logger that passes on what it is told.
func messagesOf(t testing.TB) (*slog.Logger, <-chan string) {
	t.Helper()
	lines := make(chan string, 1000)
	return slog.New(logged{slog.DiscardHandler, lines}), lines
}

type logged struct {
	slog.Handler

	lines chan<- string
}

func (logged) Enabled(context.Context, slog.Level) bool { return true }

func (l logged) Handle(_ context.Context, r slog.Record) error {
	l.lines <- r.Message
	return nil
}

// awaitLine waits until that was logged.
func awaitLine(t testing.TB, lines <-chan string, want string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case line := <-lines:
			if line == want {
				return
			}
		case <-deadline:
			require.Fail(t, "not logged: "+want)
		}
	}
}
