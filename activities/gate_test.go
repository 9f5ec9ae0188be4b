package activities_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

// park makes so many customers whose step waits for Stripe, the first the longest.
func (b bundle) park(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		p := customer.Profile{ID: fmt.Sprintf("parked_%03d", i), Email: address}
		_, _, err := customersOn(b.pool).Create(t.Context(), p)
		require.NoError(t, err)
		b.exec(t, `UPDATE steps SET status = 'blocked', waits_for = 'provider', blocked_at = now() - make_interval(secs => $2) WHERE customer_id = $1`,
			p.ID, 10_000-i)
	}
}

func (b bundle) settle(t *testing.T, workflowID, sql string) {
	t.Helper()
	b.exec(t, `UPDATE steps SET `+sql+` WHERE workflow_id = $1`, workflowID)
}

const (
	done        = `status = 'done', waits_for = NULL, blocked_at = NULL`
	parkedAgain = `blocked_at = clock_timestamp()`
)

func (b bundle) wake(t *testing.T) workflows.WakeResult {
	t.Helper()
	value, err := b.env.ExecuteActivity(workflows.ActivityWakeParked, workflows.WakeInput{Provider: provider.Stripe})
	require.NoError(t, err)
	var result workflows.WakeResult
	require.NoError(t, value.Get(&result))
	return result
}

func (b bundle) health(t *testing.T) provider.Health {
	t.Helper()
	health, err := provider.NewHealthStore(b.pool).Get(t.Context(), provider.Stripe)
	require.NoError(t, err)
	return health
}

func TestWithNobodyParkedTheProviderIsUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `UPDATE provider_health SET state = 'degraded'`)
	require.True(t, b.wake(t).Recovered)
	require.Equal(t, provider.StateUp, b.health(t).State)
}

func TestScoutsGoFirstAndThenTheRestInOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.park(t, 60)
	b.signals.then = func(workflowID string) { b.settle(t, workflowID, done) }

	result := b.wake(t)

	require.True(t, result.Recovered)
	require.Equal(t, 60, result.Woken)
	require.Equal(t, provider.StateUp, b.health(t).State)
	require.ElementsMatch(t, expected(0, 5), b.signals.woken[:5], "those who wait longest are the scouts")
	require.ElementsMatch(t, expected(0, 60), b.signals.woken)
	require.Greater(t, b.signals.at[59].Sub(b.signals.at[5]), 900*time.Millisecond, "55 at 40 a second take more than two slices of 25")
}

func expected(from, to int) (ids []string) {
	for i := from; i < to; i++ {
		ids = append(ids, fmt.Sprintf("onboarding/parked_%03d", i))
	}
	return ids
}

func TestNobodyIsSentAfterScoutsThatFail(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.park(t, 20)
	b.exec(t, `UPDATE provider_health SET state = 'degraded'`)
	b.signals.then = func(workflowID string) { b.settle(t, workflowID, parkedAgain) }

	result := b.wake(t)

	require.False(t, result.Recovered)
	require.Equal(t, 5, result.Woken)
	require.Equal(t, provider.StateDegraded, b.health(t).State)
}

func TestOneScoutThatGetsThroughIsEnough(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.park(t, 20)
	b.signals.then = func(workflowID string) {
		if workflowID == "onboarding/parked_000" {
			b.settle(t, workflowID, parkedAgain)
			return
		}
		b.settle(t, workflowID, done)
	}
	result := b.wake(t)
	require.Equal(t, 20, result.Woken)
	require.False(t, result.Recovered, "one of them waits again")
	require.NotEqual(t, provider.StateDown, b.health(t).State)
}

func TestAWorkflowThatIsGoneHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.park(t, 3)
	b.signals.gone = map[string]bool{"onboarding/parked_000": true}
	b.signals.then = func(workflowID string) { b.settle(t, workflowID, done) }
	b.exec(t, `UPDATE steps SET status = 'done', waits_for = NULL, blocked_at = NULL WHERE workflow_id = 'onboarding/parked_000'`)
	require.True(t, b.wake(t).Recovered)
}

// A step that parks and the gate that declares the provider up never miss each other: either the
// gate sees the step, or the step reports trouble to the epoch that the gate began.
func TestParkingAndRecoveryDoNotMissEachOther(t *testing.T) {
	t.Parallel()
	const rounds = 20
	b := setup(t)
	b.signUp(t)
	health := provider.NewHealthStore(b.pool)
	for range rounds {
		b.exec(t, `UPDATE steps SET status = 'pending', waits_for = NULL, blocked_at = NULL, woken_at = NULL; DELETE FROM outbox`)
		_, err := health.Set(t.Context(), provider.Stripe, provider.StateDown, "")
		require.NoError(t, err)
		var (
			wg        sync.WaitGroup
			recovered bool
		)
		wg.Go(func() {
			_, err := b.env.ExecuteActivity(workflows.ActivityParkStep, workflows.ParkInput{
				Step: customer.StepStripeCustomer, Provider: provider.Stripe, ErrorClass: provider.Transient, WaitsFor: step.ForProvider,
			})
			if err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() { recovered = b.other(t).wakeOnce(t) })
		wg.Wait()

		reported := b.count(t, fmt.Sprintf(`SELECT count(*) FROM outbox WHERE key = 'provider-gate/stripe/trouble/%d'`, b.health(t).Epoch))
		woken := b.count(t, `SELECT count(*) FROM steps WHERE status = 'done'`)
		require.True(t, !recovered || reported == 1 || woken == 1, "the step waits, the provider is up, and nobody knows")
	}
}

// other is the same database with an environment of its own: one runs one activity at a time.
func (b bundle) other(t *testing.T) bundle {
	t.Helper()
	o := setupOn(t, b.pool, patient)
	o.signals.then = func(workflowID string) { o.settle(t, workflowID, done+`, updated_at = now()`) }
	return o
}

func (b bundle) wakeOnce(t *testing.T) bool {
	t.Helper()
	return b.wake(t).Recovered
}

func TestProbeTellsTheStatesApart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	probe := func(known provider.State) (provider.State, error) {
		value, err := b.env.ExecuteActivity(workflows.ActivityProbeProvider, workflows.ProbeInput{Provider: provider.Stripe, Known: known})
		if err != nil {
			return "", err
		}
		var result workflows.ProbeResult
		require.NoError(t, value.Get(&result))
		require.Equal(t, result.State, b.health(t).State, "what it found is stored")
		return result.State, nil
	}
	state, err := probe(provider.StateUp)
	require.NoError(t, err)
	require.Equal(t, provider.StateDegraded, state, "it answers; whether all is well the gate finds out")

	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Unavailable}))
	state, err = probe(provider.StateUp)
	require.NoError(t, err)
	require.Equal(t, provider.StateDown, state)
	_, err = probe(provider.StateDown)
	requireFailure(t, err, provider.Transient, true)
	require.NotEmpty(t, b.health(t).LastError)

	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.WrongKey}))
	state, err = probe(provider.StateDown)
	require.NoError(t, err)
	require.Equal(t, provider.StateMisconfigured, state)
	_, err = probe(provider.StateMisconfigured)
	requireFailure(t, err, provider.Misconfigured, true)

	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.TooManyRequests}))
	state, err = probe(provider.StateMisconfigured)
	require.NoError(t, err)
	require.Equal(t, provider.StateDegraded, state, "being asked to call less is an answer")
	require.Empty(t, b.health(t).LastError)
}

func TestWhoParksLateIsWokenInTheSameRound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.park(t, 40)
	late := expected(20, 40) // their parking was not yet written when the round began
	b.exec(t, `UPDATE steps SET status = 'pending', waits_for = NULL, blocked_at = NULL WHERE workflow_id = ANY($1)`, late)
	var once sync.Once
	b.signals.then = func(workflowID string) {
		once.Do(func() {
			b.exec(t, `UPDATE steps SET status = 'blocked', waits_for = 'provider', blocked_at = clock_timestamp(),
				last_error = 'stripe: transient: provider_down' WHERE workflow_id = ANY($1)`, late)
		})
		b.settle(t, workflowID, done)
	}

	result := b.wake(t)

	require.True(t, result.Recovered)
	require.Equal(t, 40, result.Woken)
}
