package outbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/grpc"

	"github.com/holdfast/holdfast/internal/localstack"
	"github.com/holdfast/holdfast/internal/localstack/temporaltest"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/postgres"
)

// TestDispatcher shares one Temporal server among its cases; each has a database, a task queue and
// workflow ids of its own.
func TestDispatcher(t *testing.T) {
	t.Parallel()
	server := temporaltest.Start(t)
	for name, test := range map[string]func(*testing.T, *localstack.Temporal){
		"StartsAWorkflowAsWritten":            testStartsAWorkflowAsWritten,
		"LeavesARunningWorkflowAlone":         testLeavesARunningWorkflowAlone,
		"FourDeliverEachOnce":                 testFourDeliverEachOnce,
		"KeepsTheOrderOfAWorkflow":            testKeepsTheOrderOfAWorkflow,
		"PoisonHoldsUpNobody":                 testPoisonHoldsUpNobody,
		"WakesWithoutPolling":                 testWakesWithoutPolling,
		"HearsOfOtherProcesses":               testHearsOfOtherProcesses,
		"PollsForWhatNobodyAnnounced":         testPollsForWhatNobodyAnnounced,
		"StopsInOrder":                        testStopsInOrder,
		"SurvivesARestartOfPostgres":          testSurvivesARestartOfPostgres,
		"PrunesWhatWasDeliveredLongAgo":       testPrunesWhatWasDeliveredLongAgo,
		"RefusesAClientWithoutDialOptions":    testRefusesAClientWithoutDialOptions,
		"CrashAfterAStart":                    testCrashAfterAStart,
		"CrashAfterASignalToAnOpenRun":        testCrashAfterASignalToAnOpenRun,
		"CrashAfterASignalToAClosedRun":       testCrashAfterASignalToAClosedRun,
		"CrashAfterASignalToAnEarlierRun":     testCrashAfterASignalToAnEarlierRun,
		"CrashBeforeACall":                    testCrashBeforeACall,
		"ServerRecognizesARepeatedStart":      testServerRecognizesARepeatedStart,
		"ServerRecognizesARepeatedSignal":     testServerRecognizesARepeatedSignal,
		"ServerForgetsSignalsOfAClosedRun":    testServerForgetsSignalsOfAClosedRun,
		"LostAnswerIsNotDeliveredASecondTime": testLostAnswerIsNotDeliveredASecondTime,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, server)
		})
	}
}

func testStartsAWorkflowAsWritten(t *testing.T, server *localstack.Temporal) {
	b := setup(t, server)
	b.work(t)
	b.dispatch(t, outbox.Options{})

	b.write(t, b.start("ada"))
	b.awaitDelivered(t)

	var got greeting
	require.NoError(t, b.temporal.GetWorkflow(t.Context(), b.queue+"/ada", "").Get(t.Context(), &got))
	require.Equal(t, greeting{CustomerID: "u_1", Times: 2}, got)
	found, err := b.temporal.DescribeWorkflow(t.Context(), b.queue+"/ada", "")
	require.NoError(t, err)
	summary, err := found.GetStaticSummary()
	require.NoError(t, err)
	require.Equal(t, "greet ada", summary)
	customer, ok := found.TypedSearchAttributes.GetKeyword(temporal.NewSearchAttributeKeyKeyword("HoldfastCustomer"))
	require.True(t, ok)
	require.Equal(t, "u_1", customer)
}

func testLeavesARunningWorkflowAlone(t *testing.T, server *localstack.Temporal) {
	b := setup(t, server)
	b.write(t, b.poke("open", "first"))
	b.dispatch(t, outbox.Options{})
	b.awaitDelivered(t)
	run := b.runID(t, "open")

	again := b.poke("open", "again")
	again.Signal = ""
	b.write(t, again)
	b.awaitDelivered(t)

	require.Equal(t, run, b.runID(t, "open"))
	require.Equal(t, []string{"poke"}, b.signals(t, "open"))
}

func testFourDeliverEachOnce(t *testing.T, server *localstack.Temporal) {
	b := setup(t, server)
	const starts, poked, pokes = 1000, 100, 10
	var messages []outbox.Message
	for i := range starts {
		messages = append(messages, b.start(fmt.Sprintf("s%d", i)))
	}
	for i := range poked * pokes {
		messages = append(messages, b.poke(fmt.Sprintf("p%d", i%poked), fmt.Sprint(i/poked)))
	}
	b.write(t, messages...)

	meter := &tally{}
	var stops []func()
	for range 4 {
		_, stop := b.dispatch(t, outbox.Options{Meter: meter})
		stops = append(stops, stop)
	}
	b.awaitDelivered(t)
	for _, stop := range stops {
		stop()
	}

	require.EqualValues(t, len(messages), meter.delivered.Load())
	require.Len(t, b.requests.counts(), len(messages))
	for id, n := range b.requests.counts() {
		require.Equal(t, 1, n, "request %s", id)
	}
	for i := range poked {
		require.Len(t, b.signals(t, fmt.Sprintf("p%d", i)), pokes)
	}
}

func testKeepsTheOrderOfAWorkflow(t *testing.T, server *localstack.Temporal) {
	b := setup(t, server)
	var messages []outbox.Message
	var want []string
	for i := range 40 {
		m := b.poke("one", fmt.Sprint(i))
		m.Signal = fmt.Sprintf("poke-%02d", i)
		messages = append(messages, m, b.start(fmt.Sprintf("between%d", i)))
		want = append(want, m.Signal)
	}
	b.write(t, messages...)

	b.dispatch(t, outbox.Options{Concurrency: 8})
	b.awaitDelivered(t)

	require.Equal(t, want, b.signals(t, "one"))
}

func testPoisonHoldsUpNobody(t *testing.T, server *localstack.Temporal) {
	b := setup(t, server)
	tooLarge := b.start("too-large")
	tooLarge.Input = json.RawMessage(`"` + strings.Repeat("sesame", 1<<19) + `"`) // 3 MiB: Temporal takes 2
	meter := &tally{}
	b.write(t, tooLarge)
	b.dispatch(t, outbox.Options{Concurrency: 1, Meter: meter})
	await(t, "the large one fails", func() bool { return b.row(t, tooLarge.Key).LastError != "" })

	var messages []outbox.Message
	for i := range 20 {
		messages = append(messages, b.start(fmt.Sprint(i)))
	}
	sameWorkflow := b.start("too-large")
	sameWorkflow.Key += "/small"
	b.write(t, append(messages, sameWorkflow)...)
	b.awaitDepth(t, 1)

	poison := b.row(t, tooLarge.Key)
	require.False(t, poison.Delivered)
	require.NotContains(t, poison.LastError, "sesame")
	await(t, "it is tried again, and again later", func() bool { return b.row(t, tooLarge.Key).Attempts > 1 })
	require.GreaterOrEqual(t, meter.failed.Load(), int64(1))
	backlog, err := outbox.Measure(t.Context(), b.pool)
	require.NoError(t, err)
	require.Positive(t, backlog.Oldest)
}

func testWakesWithoutPolling(t *testing.T, server *localstack.Temporal) {
	b := setup(t, server)
	d, _ := b.dispatch(t, outbox.Options{Poll: never})

	for i := range 5 {
		b.write(t, b.start(fmt.Sprint(i)))
		d.Wake()
		b.awaitDelivered(t)
	}
}

func testHearsOfOtherProcesses(t *testing.T, server *localstack.Temporal) {
	b := setup(t, server)
	b.dispatch(t, outbox.Options{Poll: never})
	elsewhere := outbox.NewNotifier(b.pool, nil, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go elsewhere.Run(ctx)

	for i := range 5 { // the first may be found when listening begins
		b.write(t, b.start(fmt.Sprint(i)))
		elsewhere.Notify()
		b.awaitDelivered(t)
	}
}

func testPollsForWhatNobodyAnnounced(t *testing.T, server *localstack.Temporal) {
	b := setup(t, server)
	b.dispatch(t, outbox.Options{Poll: 10 * time.Millisecond})

	for i := range 3 {
		b.write(t, b.start(fmt.Sprint(i)))
		b.awaitDelivered(t)
	}
}

// gate holds the first call that takes effect until it is opened.
type gate struct {
	reached chan struct{}
	opened  chan struct{}
}

func (g *gate) intercept(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	if _, ok := request.(*workflowservice.StartWorkflowExecutionRequest); ok {
		close(g.reached)
		select {
		case <-g.opened:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return invoke(ctx, method, request, reply, conn, options...)
}

func testStopsInOrder(t *testing.T, server *localstack.Temporal) {
	b := setup(t, server)
	g := &gate{reached: make(chan struct{}), opened: make(chan struct{})}
	c := dial(t, server, grpc.WithChainUnaryInterceptor(g.intercept))
	b.write(t, b.start("begun"), b.start("taken"))
	d := outbox.NewDispatcher(b.pool, c, outbox.Options{Concurrency: 1})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	<-g.reached
	require.Equal(t, 1, b.row(t, b.start("taken").Key).Attempts, "it is taken and waits for its turn")

	cancel() // while a call is under way, which is allowed to end
	close(g.opened)

	require.NoError(t, <-ended)
	require.True(t, b.row(t, b.start("begun").Key).Delivered)
	require.Equal(t, stored{Attempts: 0, Due: true}, b.row(t, b.start("taken").Key))
}

func testSurvivesARestartOfPostgres(t *testing.T, server *localstack.Temporal) {
	pg, err := localstack.StartPostgres(context.WithoutCancel(t.Context()), localstack.PostgresOptions{Private: true, Log: t.Logf})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pg.Close()) })
	b := &bench{pool: migrated(t, pg.URL()), temporal: dial(t, server), queue: t.Name()}
	log, lines := messagesOf(t)
	d, _ := b.dispatch(t, outbox.Options{Poll: never, Logger: log})
	notifier := outbox.NewNotifier(b.pool, nil, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go notifier.Run(ctx)
	b.write(t, b.start("before"))
	d.Wake()
	b.awaitDelivered(t)

	require.NoError(t, pg.Stop())
	d.Wake()
	awaitLine(t, lines, "Postgres does not answer the outbox; trying until it does")
	require.NoError(t, pg.Start(context.WithoutCancel(t.Context())))

	for i := range 5 { // the first may be found when listening begins again
		await(t, "it is written", func() bool { return add(t.Context(), b.pool, b.start(fmt.Sprint(i))) == nil })
		notifier.Notify()
		b.awaitDelivered(t)
	}
}

func migrated(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Open(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, postgres.Migrate(t.Context(), pool, slog.New(slog.DiscardHandler)))
	return pool
}

func testPrunesWhatWasDeliveredLongAgo(t *testing.T, server *localstack.Temporal) {
	b := setup(t, server)
	_, err := b.pool.Exec(t.Context(), `INSERT INTO outbox (key, message, created_at, delivered_at, next_attempt_at)
		SELECT 'old/' || n, '{}'::jsonb, now() - interval '8 days', now() - interval '7 days 1 minute', now() FROM generate_series(1, 2500) n
		UNION ALL SELECT 'recent', '{}', now() - interval '8 days', now() - interval '6 days', now()
		UNION ALL SELECT 'waiting', '{}', now() - interval '30 days', NULL, now() + interval '1 hour'`)
	require.NoError(t, err)

	b.dispatch(t, outbox.Options{})
	await(t, "the old ones are gone", func() bool {
		var left []string
		err := b.pool.QueryRow(t.Context(), `SELECT array_agg(key ORDER BY key) FROM outbox`).Scan(&left)
		return err == nil && len(left) == 2 && left[0] == "recent" && left[1] == "waiting"
	})
}

func testRefusesAClientWithoutDialOptions(t *testing.T, server *localstack.Temporal) {
	b := setup(t, server)
	plain, err := client.NewLazyClient(server.ClientOptions())
	require.NoError(t, err)
	t.Cleanup(plain.Close)

	err = outbox.NewDispatcher(b.pool, plain, outbox.Options{}).Run(t.Context())

	require.ErrorContains(t, err, "outbox.DialOptions")
}

func TestDispatcherWaitsForTemporal(t *testing.T) {
	t.Parallel()
	server := temporaltest.StartDurable(t)
	b := setup(t, server)
	log, lines := messagesOf(t)
	const concurrency = 4
	b.dispatch(t, outbox.Options{Concurrency: concurrency, Poll: never, Logger: log})
	notifier := outbox.NewNotifier(b.pool, nil, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go notifier.Run(ctx)
	b.write(t, b.start("before"))
	notifier.Notify()
	b.awaitDelivered(t)

	require.NoError(t, server.Stop())
	var messages []outbox.Message
	for i := range 200 {
		messages = append(messages, b.start(fmt.Sprint(i)))
	}
	b.write(t, messages...)
	notifier.Notify()
	awaitLine(t, lines, "Temporal does not take work; messages wait in the outbox until it does")

	await(t, "what was taken is given back", func() bool {
		var waiting int
		err := b.pool.QueryRow(t.Context(), `SELECT count(*) FROM outbox WHERE delivered_at IS NULL
			AND next_attempt_at <= clock_timestamp()`).Scan(&waiting)
		return err == nil && waiting == len(messages)
	})
	var tried int
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT count(*) FROM outbox WHERE delivered_at IS NULL AND attempts > 0`).Scan(&tried))
	require.LessOrEqual(t, tried, concurrency, "no message is tried while Temporal is known to be away")

	require.NoError(t, server.Start(context.WithoutCancel(t.Context())))
	awaitLine(t, lines, "Temporal takes work again")
	b.awaitDelivered(t)
	for _, m := range messages {
		_, err := b.temporal.DescribeWorkflowExecution(t.Context(), m.WorkflowID, "")
		require.NoError(t, err, m.WorkflowID)
	}
}

func TestDispatcherStartsWhileTemporalIsDown(t *testing.T) {
	t.Parallel()
	server := temporaltest.StartDurable(t)
	b := setup(t, server)
	require.NoError(t, server.Stop())
	b.write(t, b.start("patient"))
	log, lines := messagesOf(t)

	b.dispatch(t, outbox.Options{Logger: log})
	awaitLine(t, lines, "Temporal does not take work; messages wait in the outbox until it does")
	require.Equal(t, stored{Due: true}, b.row(t, b.start("patient").Key))

	require.NoError(t, server.Start(context.WithoutCancel(t.Context())))
	b.awaitDelivered(t)
}

func TestRowDelayGrowsToFiveMinutes(t *testing.T) {
	t.Parallel()
	for attempts, base := range map[int]time.Duration{
		1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 10: 5 * time.Minute, 1000: 5 * time.Minute,
	} {
		for range 100 {
			delay := outbox.RowDelay(attempts)
			require.GreaterOrEqual(t, delay, base*3/4)
			require.LessOrEqual(t, delay, base*5/4)
		}
	}
}

func TestErrorTextFitsPostgres(t *testing.T) {
	t.Parallel()
	require.Equal(t, "refused", outbox.ErrorText(errors.New("re\x00fused")))
	long := outbox.ErrorText(errors.New(strings.Repeat("ä", 1000)))
	require.Less(t, len(long), 310)
	require.True(t, strings.HasSuffix(long, "…"))
	require.NotContains(t, long, "\ufffd")
}

func TestQuoteLetsNothingOutOfTheString(t *testing.T) {
	t.Parallel()
	require.Equal(t, `'o\'neill\\'`, outbox.Quote(`o'neill\`))
}
