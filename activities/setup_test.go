package activities_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/holdfast/holdfast/activities"
	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/workflows"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

// workflowID is what the test environment calls the workflow that an activity belongs to.
const workflowID = "default-test-workflow-id"

const (
	id      = "u_1"
	address = "ada@example.com"
)

// bundle is the activities on a real database and a simulated Stripe.
type bundle struct {
	pool      *pgxpool.Pool
	simulator *simulator.Simulator
	breaker   *provider.Breaker
	signals   *signals
	env       *testsuite.TestActivityEnvironment
}

// impatient is how long a call may take that a test makes hang; patient is for all others, however busy the
// machine is.
const (
	impatient = time.Second
	patient   = 30 * time.Second
)

// patience is how long a call may take under a fault.
func patience(under simulator.FaultKind) time.Duration {
	if under == simulator.Hang || under == simulator.Stall {
		return impatient
	}
	return patient
}

func setup(t *testing.T) bundle {
	t.Helper()
	return setupOn(t, postgrestest.New(t), patient)
}

// setupUnder is setup for a test that has such a fault.
func setupUnder(t *testing.T, kind simulator.FaultKind) bundle {
	t.Helper()
	return setupOn(t, postgrestest.New(t), patience(kind))
}

func setupOn(t *testing.T, pool *pgxpool.Pool, timeout time.Duration) bundle {
	t.Helper()
	sim, err := simulator.Start(context.WithoutCancel(t.Context()), simulator.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sim.Close()) })
	b := bundle{
		pool: pool, simulator: sim, breaker: provider.NewBreaker(provider.Stripe, 0), signals: &signals{},
	}
	calls, err := stripe.New(stripe.Config{
		SecretKey: simulator.DefaultStripeKey, APIBase: sim.StripeURL(), Timeout: timeout, Breaker: b.breaker,
	})
	require.NoError(t, err)
	var suite testsuite.WorkflowTestSuite
	b.env = suite.NewTestActivityEnvironment()
	b.env.SetTestTimeout(time.Minute)
	log := slog.New(slog.DiscardHandler)
	s := activities.NewStripe(b.pool, customersOn(b.pool), subscriptionsOn(b.pool), calls, b.breaker, log)
	b.register(workflows.ActivityCreateStripeCustomer, s.CreateStripeCustomer)
	b.register(workflows.ActivityVerifyStripeCustomer, s.VerifyStripeCustomer)
	b.register(workflows.ActivityClaimStripeCustomer, s.ClaimStripeCustomer)
	b.register(workflows.ActivityFindPromotionCode, s.FindPromotionCode)
	b.register(workflows.ActivityApplyPromotionCode, s.ApplyPromotionCode)
	b.register(workflows.ActivityUpdateStripeProfile, s.UpdateStripeProfile)
	o := activities.NewOnboarding(b.pool, customersOn(b.pool))
	b.register(workflows.ActivityPlanOnboarding, o.PlanOnboarding)
	b.register(workflows.ActivityParkStep, o.ParkStep)
	b.register(workflows.ActivitySkipStep, o.SkipStep)
	b.register(workflows.ActivityProbeProvider, activities.NewProbe(b.pool, calls.Probe).ProbeProvider)
	b.register(workflows.ActivityRepairNeglected, activities.NewRepair(b.pool).RepairNeglected)
	rates := map[provider.Name]float64{provider.Stripe: 40}
	b.register(workflows.ActivityWakeParked, activities.NewWake(b.pool, b.signals, rates, log).WakeParked)
	return b
}

func customersOn(pool *pgxpool.Pool) *customer.Store {
	return customer.NewStore(pool, feed.NewWriter(nil))
}

func subscriptionsOn(pool *pgxpool.Pool) *subscription.Store {
	return subscription.NewStore(pool, nil, feed.NewWriter(nil), workflows.SyncSubscriptions)
}

// patience is how long a call may take under the faults that there are now.
func (b bundle) patience() time.Duration {
	shortest := patient
	for _, fault := range b.simulator.Faults() {
		shortest = min(shortest, patience(fault.Kind))
	}
	return shortest
}

func (b bundle) register(name string, do any) {
	b.env.RegisterActivityWithOptions(do, activity.RegisterOptions{Name: name})
}

// signUp stores a customer whose steps belong to the test environment's workflow.
func (b bundle) signUp(t *testing.T, change ...func(*customer.Profile)) {
	t.Helper()
	p := customer.Profile{ID: id, Email: address, Name: "Ada"}
	for _, c := range change {
		c(&p)
	}
	_, _, err := customersOn(b.pool).Create(t.Context(), p)
	require.NoError(t, err)
	b.exec(t, `UPDATE steps SET workflow_id = $1 WHERE customer_id = $2`, workflowID, p.ID)
}

func (b bundle) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func (b bundle) count(t *testing.T, sql string) (n int) {
	t.Helper()
	require.NoError(t, b.pool.QueryRow(t.Context(), sql).Scan(&n))
	return n
}

// call runs an activity for a step of the customer, once.
func (b bundle) call(name, stepName string) error {
	_, err := b.env.ExecuteActivity(name, workflows.CallInput{CustomerID: id, Step: stepName, PromotionCodeID: "promo_1"})
	return err
}

func (b bundle) create() error {
	return b.call(workflows.ActivityCreateStripeCustomer, customer.StepStripeCustomer)
}

// createUntilDone tries again as Temporal would.
func (b bundle) createUntilDone(t *testing.T) {
	t.Helper()
	const most = 10
	for range most {
		if b.create() == nil {
			return
		}
	}
	t.Fatalf("not done after %d attempts", most)
}

func (b bundle) steps(t *testing.T) []step.Step {
	t.Helper()
	steps, err := step.ByWorkflow(t.Context(), b.pool, workflowID)
	require.NoError(t, err)
	return steps
}

// requireOneCustomer holds Postgres and Stripe against each other.
func (b bundle) requireOneCustomer(t *testing.T) {
	t.Helper()
	all := b.simulator.Stripe().Customers()
	require.Len(t, all, 1)
	c, err := customersOn(b.pool).Get(t.Context(), id)
	require.NoError(t, err)
	require.True(t, c.StripeConfirmed)
	require.Equal(t, all[0].ID, c.StripeCustomerID)
	require.Equal(t, id, all[0].Metadata["holdfast_customer_id"])
	require.Equal(t, step.Done, b.steps(t)[0].Status)
	require.Zero(t, b.simulator.PostsWithoutKey())
}

// requireFailure holds an error to what Temporal acts on, and to quoting nobody.
func requireFailure(t *testing.T, err error, class provider.Class, retry bool) {
	t.Helper()
	_ = failureOf(t, err, class, retry)
}

// failureOf is requireFailure for tests that look at more of it.
func failureOf(t *testing.T, err error, class provider.Class, retry bool) *temporal.ApplicationError {
	t.Helper()
	require.Error(t, err)
	var failure *temporal.ApplicationError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, string(class), failure.Type(), "%v", err)
	require.Equal(t, retry, !failure.NonRetryable(), "%v", err)
	require.NotContains(t, err.Error(), address)
	return failure
}

// signals notes who was woken, and can play a part in it.
type signals struct {
	mu    sync.Mutex
	woken []string
	at    []time.Time
	gone  map[string]bool
	then  func(workflowID string)
}

func (s *signals) SignalWorkflow(_ context.Context, workflowID, _, _ string, _ any) error {
	s.mu.Lock()
	s.woken, s.at = append(s.woken, workflowID), append(s.at, time.Now())
	gone, then := s.gone[workflowID], s.then
	s.mu.Unlock()
	if gone {
		return serviceerror.NewNotFound("no such workflow")
	}
	if then != nil {
		then(workflowID)
	}
	return nil
}
