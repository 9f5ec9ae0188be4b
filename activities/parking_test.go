package activities_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/activities"
	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

// Many steps park while a gate declares the provider up again and again. Whatever the order,
// nobody is left behind: a step that waits while the provider is up has reported trouble in the
// epoch that holds now, so that its gate looks again.
func TestManyWhoParkAndAGateMissNobody(t *testing.T) {
	t.Parallel()
	const parkers, each, rounds = 8, 6, 3
	b := setup(t)
	b.signUp(t)
	for range rounds {
		b.planSteps(t, parkers*each)
		b.exec(t, `UPDATE provider_health SET state = 'degraded', epoch = epoch + 1`)
		var (
			parking sync.WaitGroup
			over    atomic.Bool
			gate    sync.WaitGroup
		)
		gate.Go(func() { b.declareUpUntil(t, &over) })
		for p := range parkers {
			worker := setupOn(t, b.pool, patient)
			parking.Go(func() {
				for i := range each {
					if err := worker.parkOnce(fmt.Sprintf("s_%d", p*each+i)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		parking.Wait()
		over.Store(true)
		gate.Wait()

		health := b.health(t)
		require.Contains(t, []provider.State{provider.StateUp, provider.StateDegraded}, health.State)
		waiting := b.count(t, `SELECT count(*) FROM steps WHERE waits_for = 'provider'`)
		reported := b.count(t, fmt.Sprintf(`SELECT count(*) FROM outbox WHERE key = 'provider-gate/stripe/trouble/%d'`, health.Epoch))
		require.False(t, health.State == provider.StateUp && waiting > 0 && reported == 0,
			"%d steps wait, Stripe is up in epoch %d, and its gate does not know", waiting, health.Epoch)
	}
}

// planSteps gives the test environment's workflow so many pending steps.
func (b bundle) planSteps(t *testing.T, n int) {
	t.Helper()
	b.exec(t, `DELETE FROM steps; DELETE FROM outbox`)
	b.exec(t, `INSERT INTO steps (workflow_id, name, customer_id, provider, status)
		SELECT $1, 's_' || i, $2, 'stripe', 'pending' FROM generate_series(0, $3::int - 1) i`, workflowID, id, n)
}

func (b bundle) parkOnce(name string) error {
	_, err := b.env.ExecuteActivity(workflows.ActivityParkStep, workflows.ParkInput{
		Step: name, Provider: provider.Stripe, ErrorClass: provider.Transient, WaitsFor: step.ForProvider,
	})
	return err
}

// declareUpUntil is a gate in a hurry: it declares the provider up as soon as nobody waits, under
// the lock that the real one takes. Whoever is woken is done.
func (b bundle) declareUpUntil(t *testing.T, over *atomic.Bool) {
	t.Helper()
	gate := setupOn(t, b.pool, patient)
	gate.signals.then = func(string) {
		gate.exec(t, `UPDATE steps SET status = 'done', waits_for = NULL, blocked_at = NULL WHERE status = 'blocked' AND woken_at >= blocked_at`)
	}
	for !over.Load() {
		if _, err := gate.env.ExecuteActivity(workflows.ActivityWakeParked, workflows.WakeInput{Provider: provider.Stripe}); err != nil {
			t.Error(err)
			return
		}
	}
}

// A recovery that is being declared waits for whoever parks, and whoever parks then sees it.
func TestParkingWaitsForARecoveryThatIsBeingDeclared(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	b.exec(t, `UPDATE provider_health SET state = 'down', checked_at = now()`)
	declaring, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = declaring.Rollback(t.Context()) }() // a test that fails must not hold the pool
	up, err := provider.NewHealthStore(declaring).Set(t.Context(), provider.Stripe, provider.StateUp, "")
	require.NoError(t, err)
	parked := make(chan error, 1)
	go func() { parked <- b.parkOnce(customer.StepStripeCustomer) }()
	require.Eventually(t, func() bool { return b.waitingForALock(t) }, time.Minute, time.Millisecond)
	require.NoError(t, declaring.Commit(t.Context()))
	require.NoError(t, <-parked)
	require.Equal(t, 1, b.count(t, fmt.Sprintf(`SELECT count(*) FROM outbox WHERE key = 'provider-gate/stripe/trouble/%d'`, up.Epoch)))
}

func (b bundle) waitingForALock(t *testing.T) bool {
	t.Helper()
	return b.count(t, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0
}

func TestParkingIsSilentWhileTheGateKnows(t *testing.T) {
	t.Parallel()
	for state, troubles := range map[provider.State]int{
		provider.StateUp: 1, provider.StateDegraded: 1, provider.StateDown: 0, provider.StateMisconfigured: 0,
	} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.signUp(t)
			_, err := provider.NewHealthStore(b.pool).Set(t.Context(), provider.Stripe, state, "")
			require.NoError(t, err)
			for range 3 {
				require.NoError(t, b.parkOnce(customer.StepStripeCustomer))
			}
			require.Equal(t, step.Blocked, b.steps(t)[0].Status)
			require.Equal(t, troubles, b.troubles(t))
		})
	}
}

// The row and the message are one: without the message nobody would wake what the row says.
func TestAParkThatCannotReportIsNoPark(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"the message cannot be written": `ALTER TABLE outbox ADD CONSTRAINT full_disk CHECK (false)`,
		"the row cannot be written":     `ALTER TABLE steps ADD CONSTRAINT full_disk CHECK (status <> 'blocked')`,
		"neither can be kept": `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''disk full''; END';
			CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON outbox DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`,
	}
	for name, fault := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.signUp(t)
			b.exec(t, fault)
			require.Error(t, b.parkOnce(customer.StepStripeCustomer))
			require.Equal(t, step.Pending, b.steps(t)[0].Status)
			require.Zero(t, b.troubles(t))
		})
	}
}

// Workflows that are gone never come back to be first in line, so they must not be the only scouts.
func TestTheGoneDoNotKeepTheLivingFromBeingWoken(t *testing.T) {
	t.Parallel()
	const gone, all = 6, 15
	b := setup(t)
	b.park(t, all)
	b.signals.gone = map[string]bool{}
	for _, workflowID := range expected(0, gone) {
		b.signals.gone[workflowID] = true
	}
	b.signals.then = func(workflowID string) {
		b.settle(t, workflowID, done)
		if workflowID == expected(all-1, all)[0] { // the sweep has found them by now
			b.exec(t, `UPDATE steps SET status = 'done', waits_for = NULL, blocked_at = NULL WHERE workflow_id = ANY($1)`, expected(0, gone))
		}
	}
	result := b.wake(t)
	require.True(t, result.Recovered)
	require.Equal(t, all, result.Woken)
	require.ElementsMatch(t, expected(0, all), b.signals.woken)
}

// A step that is refused for its own sake has had an answer: the provider is well.
func TestAScoutThatIsRefusedGotThrough(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.park(t, 12)
	b.signals.then = func(workflowID string) {
		b.settle(t, workflowID, `waits_for = 'person', blocked_at = clock_timestamp()`)
	}
	result := b.wake(t)
	require.True(t, result.Recovered)
	require.Equal(t, 12, result.Woken)
}

func TestAWakeUpThatTemporalDoesNotTakeIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.park(t, 3)
	b.register("wake without Temporal", newWake(b, failingSignals{}))
	_, err := b.env.ExecuteActivity("wake without Temporal", workflows.WakeInput{Provider: provider.Stripe})
	require.ErrorContains(t, err, "away: Temporal")
	b.signals.then = func(workflowID string) { b.settle(t, workflowID, done) }
	require.Equal(t, 3, b.wake(t).Woken, "the next attempt begins a new round")
}

var errTemporalAway = errors.New("away: Temporal")

func newWake(b bundle, signal activities.Signaler) func(context.Context, workflows.WakeInput) (workflows.WakeResult, error) {
	return activities.NewWake(b.pool, signal, map[provider.Name]float64{provider.Stripe: 40}, quiet()).WakeParked
}

type failingSignals struct{}

func (failingSignals) SignalWorkflow(context.Context, string, string, string, any) error {
	return errTemporalAway
}

func TestABroughtStripeCustomerIsPlannedAsSuch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	plan, err := b.plan(t, workflows.PlanInput{CustomerID: id, Profile: &customer.Profile{ID: id, Email: address, StripeCustomerID: "cus_theirs"}})
	require.NoError(t, err)
	require.True(t, plan.BringsStripeCustomer)
	require.NoError(t, customer.BindStripe(t.Context(), b.pool, id, "cus_theirs", 1))
	plan, err = b.plan(t, workflows.PlanInput{CustomerID: id})
	require.NoError(t, err)
	require.False(t, plan.BringsStripeCustomer, "it is claimed")
}

func TestAnIDThatAnotherAccountBroughtEndsTheWorkflow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, func(p *customer.Profile) { p.StripeCustomerID = "cus_theirs" })
	_, err := b.plan(t, workflows.PlanInput{CustomerID: "u_2", Profile: &customer.Profile{ID: "u_2", Email: address, StripeCustomerID: "cus_theirs"}})
	require.ErrorContains(t, err, "profile.stripe_customer_id")
	require.Zero(t, b.count(t, `SELECT count(*) FROM customers WHERE id = 'u_2'`))
}

func TestASkippedStripeCustomerIsNotReopened(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.plan(t, workflows.PlanInput{CustomerID: id, Profile: &customer.Profile{ID: id, Email: address}})
	require.NoError(t, err)
	b.exec(t, `UPDATE steps SET status = 'skipped'`)
	plan, err := b.plan(t, workflows.PlanInput{CustomerID: id})
	require.NoError(t, err)
	require.Equal(t, step.Skipped, plan.Steps[0].Status)
}

func TestRepairGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.park(t, 5)
	b.exec(t, `UPDATE customers SET updated_at = now() - interval '1 day'; UPDATE steps SET updated_at = now() - interval '1 day'`)
	b.env.SetHeartbeatDetails(map[string]any{"Kind": 0, "After": "parked_002", "Result": workflows.RepairResult{Repaired: 3}})
	value, err := b.env.ExecuteActivity(workflows.ActivityRepairNeglected, struct{}{})
	require.NoError(t, err)
	var result workflows.RepairResult
	require.NoError(t, value.Get(&result))
	require.Equal(t, 3+2, result.Repaired)
	require.Equal(t, 2, b.count(t, `SELECT count(*) FROM outbox`))
	require.Zero(t, b.count(t, `SELECT count(*) FROM outbox WHERE message ->> 'workflow_id' <= 'onboarding/parked_002'`))
}
