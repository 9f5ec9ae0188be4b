package outbox_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast/holdfast/internal/localstack"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/postgres"
)

// The variables of a mortal: a process that runs a dispatcher and is killed, as by kill -9, when
// Temporal has answered its first delivery, or before it is sent.
const (
	mortalVariable   = "HOLDFAST_TEST_MORTAL" // afterAnswer, afterRun or beforeCall
	mortalDatabase   = "HOLDFAST_TEST_DATABASE"
	mortalTemporal   = "HOLDFAST_TEST_TEMPORAL"
	mortalWorkflowID = "HOLDFAST_TEST_WORKFLOW_ID"

	afterAnswer = "after_answer"
	afterRun    = "after_run" // when the run that took the delivery is over
	beforeCall  = "before_call"
)

func runMortal() int {
	if err := liveAndDie(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return 1 // it was to be killed
}

func liveAndDie(ctx context.Context) error {
	pool, err := postgres.Open(ctx, os.Getenv(mortalDatabase))
	if err != nil {
		return err
	}
	observer, err := client.Dial(client.Options{HostPort: os.Getenv(mortalTemporal)})
	if err != nil {
		return err
	}
	temporal, err := client.Dial(client.Options{HostPort: os.Getenv(mortalTemporal), ConnectionOptions: client.ConnectionOptions{
		DialOptions: append(outbox.DialOptions(), grpc.WithChainUnaryInterceptor(die(observer))),
	}})
	if err != nil {
		return err
	}
	return outbox.NewDispatcher(pool, temporal, outbox.Options{}).Run(ctx)
}

func die(observer client.Client) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		if !takesEffect(request) {
			return invoke(ctx, method, request, reply, conn, options...)
		}
		moment := os.Getenv(mortalVariable)
		if moment != beforeCall {
			if err := invoke(ctx, method, request, reply, conn, options...); err != nil {
				return err
			}
		}
		if moment == afterRun { // however long that takes: who failed here would not have to deliver it again
			if err := observer.GetWorkflow(ctx, os.Getenv(mortalWorkflowID), "").Get(context.WithoutCancel(ctx), nil); err != nil {
				return err
			}
		}
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
}

func takesEffect(request any) bool {
	switch request.(type) {
	case *workflowservice.StartWorkflowExecutionRequest, *workflowservice.SignalWithStartWorkflowExecutionRequest:
		return true
	}
	return false
}

// deliverAndDie has a mortal deliver the one message that is due.
func (b *bench) deliverAndDie(t *testing.T, server *localstack.Temporal, m outbox.Message, moment string) {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	mortal := exec.CommandContext(t.Context(), program)
	mortal.Env = append(os.Environ(), mortalVariable+"="+moment, mortalDatabase+"="+b.pool.Config().ConnString(),
		mortalTemporal+"="+server.Address(), mortalWorkflowID+"="+m.WorkflowID)
	output, err := mortal.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), "%s", output)
	require.Equal(t, stored{Attempts: 1}, b.row(t, m.Key), "it died holding the lease, with nothing written down")
}

// deliverAgain has another dispatcher take over.
func (b *bench) deliverAgain(t *testing.T) {
	t.Helper()
	b.expireLeases(t)
	b.dispatch(t, outbox.Options{})
	b.awaitDelivered(t)
}

func testCrashAfterAStart(t *testing.T, server *localstack.Temporal) {
	b := setup(t, server)
	b.work(t)
	m := b.start("ada")
	b.write(t, m)
	b.deliverAndDie(t, server, m, afterRun)
	run := b.runID(t, "ada")

	b.deliverAgain(t)

	require.Equal(t, run, b.runID(t, "ada"), "no second run was started")
}

func testCrashAfterASignalToAnOpenRun(t *testing.T, server *localstack.Temporal) {
	b := setup(t, server) // nothing works, so the run stays open
	m := b.poke("ada", "once")
	b.write(t, m)
	b.deliverAndDie(t, server, m, afterAnswer)

	b.deliverAgain(t)

	require.Equal(t, []string{"poke"}, b.signals(t, "ada"))
}

func testCrashAfterASignalToAClosedRun(t *testing.T, server *localstack.Temporal) {
	b := setup(t, server)
	b.work(t)
	m := b.poke("ada", "once")
	b.write(t, m)
	b.deliverAndDie(t, server, m, afterRun)
	run := b.runID(t, "ada")

	b.deliverAgain(t)

	require.Equal(t, run, b.runID(t, "ada"), "no second run was started")
}

func testCrashAfterASignalToAnEarlierRun(t *testing.T, server *localstack.Temporal) {
	b := setup(t, server)
	b.work(t)
	m := b.poke("ada", "once")
	b.write(t, m)
	b.deliverAndDie(t, server, m, afterRun)
	_, err := b.temporal.SignalWithStartWorkflow(t.Context(), m.WorkflowID, m.Signal, nil,
		client.StartWorkflowOptions{TaskQueue: b.queue}, m.Workflow)
	require.NoError(t, err)
	b.finished(t, "ada")
	later := b.runID(t, "ada")
	await(t, "visibility has caught up, as it has within a lease", func() bool {
		runs, err := b.temporal.CountWorkflow(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{
			Query: "WorkflowId = " + outbox.Quote(m.WorkflowID) + " AND ExecutionStatus = 'Completed'",
		})
		return err == nil && runs.GetCount() == 2
	})

	b.deliverAgain(t)

	require.Equal(t, later, b.runID(t, "ada"), "no third run was started")
}

func testCrashBeforeACall(t *testing.T, server *localstack.Temporal) {
	b := setup(t, server)
	m := b.poke("ada", "once")
	b.write(t, m)
	b.deliverAndDie(t, server, m, beforeCall)
	_, err := b.temporal.DescribeWorkflowExecution(t.Context(), m.WorkflowID, "")
	var notFound *serviceerror.NotFound
	require.ErrorAs(t, err, &notFound)

	b.deliverAgain(t)

	require.Equal(t, []string{"poke"}, b.signals(t, "ada"))
}

// testLostAnswerIsNotDeliveredASecondTime is the same trouble in a process that lives on.
func testLostAnswerIsNotDeliveredASecondTime(t *testing.T, server *localstack.Temporal) {
	b := setup(t, server)
	b.work(t)
	m := b.poke("ada", "once")
	answers := make(chan struct{}, 10)
	lose := func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		err := invoke(ctx, method, request, reply, conn, options...)
		if err != nil || !takesEffect(request) {
			return err
		}
		b.finished(t, "ada")
		answers <- struct{}{}
		return status.Error(codes.DeadlineExceeded, "the answer was lost")
	}
	b.write(t, m)

	run(t, outbox.NewDispatcher(b.pool, dial(t, server, grpc.WithChainUnaryInterceptor(lose)), outbox.Options{}))
	b.awaitDelivered(t)

	require.Len(t, answers, 1)
	require.Equal(t, 2, b.row(t, m.Key).Attempts)
	require.Equal(t, []string{"poke"}, b.signals(t, "ada"))
}

// What the server itself does with a request that it has had before. The dispatcher's own look
// into the histories is for the cases that these tests show not to be covered.

func testServerRecognizesARepeatedStart(t *testing.T, server *localstack.Temporal) {
	b := setup(t, server)
	b.work(t)
	start := func(key string) string {
		run, err := b.temporal.ExecuteWorkflow(outbox.Stamped(t.Context(), key),
			client.StartWorkflowOptions{ID: b.queue + "/ada", TaskQueue: b.queue}, "Greet", greeting{})
		require.NoError(t, err)
		require.NoError(t, run.Get(t.Context(), nil))
		return run.GetRunID()
	}
	first := start("a")

	require.Equal(t, first, start("a"), "the same request after the run has completed")
	second := start("b")
	require.NotEqual(t, first, second, "another request starts another run")
	require.NotEqual(t, second, start("a"), "a request of an earlier run is not recognized")
}

func testServerRecognizesARepeatedSignal(t *testing.T, server *localstack.Temporal) {
	b := setup(t, server) // nothing works, so the run stays open
	signal := func(key string) {
		_, err := b.temporal.SignalWithStartWorkflow(outbox.Stamped(t.Context(), key), b.queue+"/ada", "poke", nil,
			client.StartWorkflowOptions{TaskQueue: b.queue}, "PokedOnce")
		require.NoError(t, err)
	}
	for _, key := range []string{"a", "a", "b", "b", "a"} { // a starts the run, b finds it
		signal(key)
	}

	require.Equal(t, []string{"poke", "poke"}, b.signals(t, "ada"))
}

func testServerForgetsSignalsOfAClosedRun(t *testing.T, server *localstack.Temporal) {
	b := setup(t, server)
	b.work(t)
	signal := func() string {
		run, err := b.temporal.SignalWithStartWorkflow(outbox.Stamped(t.Context(), "a"), b.queue+"/ada", "poke", nil,
			client.StartWorkflowOptions{TaskQueue: b.queue}, "PokedOnce")
		require.NoError(t, err)
		require.NoError(t, run.Get(t.Context(), nil))
		return run.GetRunID()
	}

	first := signal()
	require.NotEqual(t, first, signal())
}
