package activities_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/activities"
	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestEveryClassHasItsRetryBehaviour(t *testing.T) {
	t.Parallel()
	want := map[provider.Class]bool{
		provider.Transient: true, provider.RateLimited: true, provider.OutcomeUnknown: true,
		provider.Misconfigured: false, provider.Rejected: false, provider.NotFound: false, provider.Held: false,
	}
	classes := declaredClasses(t)
	require.Len(t, classes, len(want), "a class was added: say here whether it is tried again")
	for _, class := range classes {
		retry, known := activities.Disposed(class)
		require.True(t, known, "%s would fall through the table", class)
		require.Equal(t, want[class], retry, "%s", class)
	}
}

// declaredClasses reads the classes from where they are declared, so that a new one is not missed.
func declaredClasses(t *testing.T) (classes []provider.Class) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../internal/provider/failure.go", nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Class" {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			classes = append(classes, provider.Class(value))
		}
		return true
	})
	return classes
}

// One customer whose call panics must not take everybody else's calls down with its process.
func TestAPanicIsAFailedAttemptAndNotTheEndOfTheProcess(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	broken := activities.NewStripe(b.pool, customersOn(b.pool), subscriptionsOn(b.pool), &stripe.Client{}, nil, quiet()) // a client that was never made: its calls panic
	b.register("broken", broken.CreateStripeCustomer)
	err := b.call("broken", customer.StepStripeCustomer)
	var panicked *temporal.PanicError
	require.ErrorAs(t, err, &panicked)
	require.NoError(t, b.create(), "and the process goes on")
	b.requireOneCustomer(t)
}

func TestOnlySlowCallsHeartbeat(t *testing.T) {
	t.Parallel()
	const beat = 3 * time.Second
	cases := map[string]struct {
		latency time.Duration
		beats   bool
	}{
		"at once": {0, false},
		"slow":    {beat + 500*time.Millisecond, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.signUp(t)
			if c.latency > 0 {
				require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Latency, DelayMS: int(c.latency.Milliseconds())}))
			}
			calls, err := stripe.New(stripe.Config{
				SecretKey: simulator.DefaultStripeKey, APIBase: b.simulator.StripeURL(), Timeout: patient,
			})
			require.NoError(t, err)
			b.register("patient", activities.NewStripe(b.pool, customersOn(b.pool), subscriptionsOn(b.pool), calls, nil, quiet()).CreateStripeCustomer)
			var beats atomic.Int64
			b.env.SetOnActivityHeartbeatListener(func(*activity.Info, converter.EncodedValues) { beats.Add(1) })

			require.NoError(t, b.call("patient", customer.StepStripeCustomer))

			require.Equal(t, c.beats, beats.Load() > 0)
			b.requireOneCustomer(t)
		})
	}
}

// An attempt that Temporal has given up, because its heartbeats did not arrive, may end after the
// next one has parked the step. Were its failure to overwrite that, nobody would find the step: not
// the gate, and not the list of what waits for a person.
func TestAnAttemptThatWasGivenUpDoesNotUnpark(t *testing.T) {
	t.Parallel()
	for _, waitsFor := range []step.WaitsFor{step.ForProvider, step.ForPerson} {
		t.Run(string(waitsFor), func(t *testing.T) {
			t.Parallel()
			b := setupUnder(t, simulator.Hang)
			b.signUp(t)
			require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Hang}))
			late := make(chan error, 1)
			go func() { late <- b.create() }()
			require.Eventually(t, func() bool { return len(b.simulator.Calls()) > 0 }, time.Minute, time.Millisecond)
			b.parkNow(t, waitsFor)

			requireFailure(t, <-late, provider.OutcomeUnknown, true)

			require.Equal(t, step.Blocked, b.steps(t)[0].Status)
			require.Equal(t, waitsFor, b.steps(t)[0].WaitsFor)
			require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Unavailable}))
			requireFailure(t, b.create(), provider.OutcomeUnknown, true)
			require.Equal(t, step.Retrying, b.steps(t)[0].Status, "an attempt that began later counts")
		})
	}
}

func (b bundle) parkNow(t *testing.T, waitsFor step.WaitsFor) {
	t.Helper()
	require.NoError(t, step.Park(t.Context(), b.pool, step.Step{
		WorkflowID: workflowID, Name: customer.StepStripeCustomer, ErrorClass: provider.Transient, WaitsFor: waitsFor,
	}))
}

// The last attempt got through, and Temporal never heard of it: the workflow parks a step that is
// done. Failing would have it try to park for ever.
func TestParkingAStepThatIsOverLeavesItOver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	require.NoError(t, b.create())
	_, err := b.env.ExecuteActivity(workflows.ActivityParkStep, workflows.ParkInput{
		Step: customer.StepStripeCustomer, Provider: provider.Stripe, ErrorClass: provider.Transient, WaitsFor: step.ForProvider,
	})
	require.NoError(t, err)
	b.requireOneCustomer(t)
	require.Zero(t, b.count(t, `SELECT count(*) FROM outbox`), "nobody waits")
}

func TestAProviderThatIsNotConfiguredIsNotCalledAndIsReported(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	b.register("unconfigured", activities.NewStripe(b.pool, customersOn(b.pool), subscriptionsOn(b.pool), nil, b.breaker, quiet()).CreateStripeCustomer)
	for range 3 {
		failure := failureOf(t, b.call("unconfigured", customer.StepStripeCustomer), provider.Misconfigured, false)
		require.Contains(t, failure.Message(), provider.CodeNotConfigured)
	}
	require.Empty(t, b.simulator.Calls())
	require.Equal(t, 3, b.steps(t)[0].Attempts)
	require.Nil(t, b.steps(t)[0].NextAttemptAt)
	require.Equal(t, 1, b.troubles(t))

	b.register("unconfigured probe", activities.NewProbe(b.pool, nil).ProbeProvider)
	_, err := b.env.ExecuteActivity("unconfigured probe", workflows.ProbeInput{Provider: provider.Stripe, Known: provider.StateUp})
	require.NoError(t, err)
	require.Equal(t, provider.StateMisconfigured, b.health(t).State)
}

// troubles counts the messages to Stripe's gate.
func (b bundle) troubles(t *testing.T) int {
	t.Helper()
	return b.count(t, `SELECT count(*) FROM outbox WHERE message ->> 'workflow' = 'ProviderGate'`)
}

// "Down" forbids every call, so that only a gate that probes can end it. A state that nobody has
// renewed for minutes has no gate behind it (a restored backup, a terminated workflow).
func TestADownProviderThatNobodyProbesIsReported(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		checked  string
		troubles int
	}{
		"probed just now":    {"now()", 0},
		"probed a day ago":   {"now() - interval '1 day'", 1},
		"never, as restored": {"NULL", 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.signUp(t)
			b.exec(t, `UPDATE provider_health SET state = 'down', checked_at = `+c.checked)
			for range 2 {
				requireFailure(t, b.create(), provider.Transient, false)
				_, err := b.env.ExecuteActivity(workflows.ActivityParkStep, workflows.ParkInput{
					Step: customer.StepStripeCustomer, Provider: provider.Stripe, ErrorClass: provider.Transient, WaitsFor: step.ForProvider,
				})
				require.NoError(t, err)
			}
			require.Empty(t, b.simulator.Calls())
			require.Equal(t, c.troubles, b.troubles(t))
		})
	}
}

func TestTheRowTellsWhenTemporalTriesAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	const asked = 17 * time.Second
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.TooManyRequests, RetryAfter: int(asked.Seconds())}))
	before := time.Now()
	failure := failureOf(t, b.create(), provider.RateLimited, true)
	require.Equal(t, asked, failure.NextRetryDelay())
	next := b.steps(t)[0].NextAttemptAt
	require.NotNil(t, next)
	require.WithinRange(t, *next, before.Add(asked).Add(-time.Millisecond), time.Now().Add(asked))
}

// What goes wrong on our side is no reason to hold an attempt's error back, and quotes nobody.
func TestAFaultOfOurOwnIsTriedAgainAndBlamesNoProvider(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	b.exec(t, `ALTER TABLE provider_requests RENAME TO away`)
	err := b.create()
	require.Error(t, err)
	var failure *temporal.ApplicationError
	require.ErrorAs(t, err, &failure)
	require.False(t, failure.NonRetryable())
	require.NotContains(t, err.Error(), address)
	waiting := b.steps(t)[0]
	require.Equal(t, step.Retrying, waiting.Status)
	require.Contains(t, waiting.LastError, "the worker's log")
	require.Zero(t, b.troubles(t))
	require.Empty(t, b.simulator.Calls())
	b.exec(t, `ALTER TABLE away RENAME TO provider_requests`)
	require.NoError(t, b.create())
	b.requireOneCustomer(t)
}
