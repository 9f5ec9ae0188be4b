package step_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

const workflowID = "work/1"

func setup(t *testing.T, names ...string) *pgxpool.Pool {
	t.Helper()
	pool := postgrestest.New(t)
	var batch pgx.Batch
	for _, name := range names {
		step.Queue(&batch, planned(name))
		step.Queue(&batch, planned(name)) // planning twice plans once
	}
	require.NoError(t, pool.SendBatch(t.Context(), &batch).Close())
	return pool
}

func planned(name string) step.Step {
	return step.Step{WorkflowID: workflowID, Name: name, Provider: provider.Stripe}
}

func parked(name string, waitsFor step.WaitsFor) step.Step {
	s := planned(name)
	s.WaitsFor, s.ErrorClass, s.LastError = waitsFor, provider.Transient, "stripe: transient: network"
	return s
}

func one(t *testing.T, pool *pgxpool.Pool) step.Step {
	t.Helper()
	steps, err := step.ByWorkflow(t.Context(), pool, workflowID)
	require.NoError(t, err)
	return steps[0]
}

func TestStepsComeInTheOrderInWhichTheyWerePlanned(t *testing.T) {
	t.Parallel()
	pool := setup(t, "b", "c", "a")
	steps, err := step.ByWorkflow(t.Context(), pool, workflowID)
	require.NoError(t, err)
	require.Len(t, steps, 3)
	require.Equal(t, []string{"b", "c", "a"}, []string{steps[0].Name, steps[1].Name, steps[2].Name})
	require.Equal(t, step.Pending, steps[0].Status)
}

func TestTheLifeOfAStep(t *testing.T) {
	t.Parallel()
	pool := setup(t, "a")
	next := time.Now().Add(time.Minute).UTC().Truncate(time.Millisecond)
	failed := parked("a", "")
	failed.NextAttemptAt = &next
	require.NoError(t, step.Failed(t.Context(), pool, failed, time.Now()))
	now := one(t, pool)
	require.Equal(t, step.Retrying, now.Status)
	require.Equal(t, 1, now.Attempts)
	require.Equal(t, next, now.NextAttemptAt.UTC())

	require.NoError(t, step.Park(t.Context(), pool, parked("a", step.ForProvider)))
	now = one(t, pool)
	require.Equal(t, step.Blocked, now.Status)
	require.Equal(t, step.ForProvider, now.WaitsFor)
	require.Equal(t, 1, now.Attempts, "waiting is no attempt")

	require.NoError(t, step.Finish(t.Context(), pool, workflowID, "a", step.Done))
	now = one(t, pool)
	require.Equal(t, step.Done, now.Status)
	require.Equal(t, 2, now.Attempts)
	require.Empty(t, now.WaitsFor)
	require.Nil(t, now.BlockedAt)
}

func TestAStepThatIsOverStaysOver(t *testing.T) {
	t.Parallel()
	pool := setup(t, "a")
	require.NoError(t, step.Finish(t.Context(), pool, workflowID, "a", step.Skipped))
	require.NoError(t, step.Failed(t.Context(), pool, parked("a", ""), time.Now()))
	require.Error(t, step.Park(t.Context(), pool, parked("a", step.ForProvider)))
	require.NoError(t, step.Finish(t.Context(), pool, workflowID, "a", step.Done))
	require.Equal(t, step.Skipped, one(t, pool).Status)

	require.NoError(t, step.Reopen(t.Context(), pool, planned("a")), "unless there is something new to do")
	require.Equal(t, step.Pending, one(t, pool).Status)
	require.Zero(t, one(t, pool).Attempts)
}

func TestWaitingForAPersonKeepsItsSince(t *testing.T) {
	t.Parallel()
	pool := setup(t, "a")
	require.NoError(t, step.Park(t.Context(), pool, parked("a", step.ForPerson)))
	since := one(t, pool).BlockedAt
	require.NoError(t, step.Park(t.Context(), pool, parked("a", step.ForPerson)), "as a workflow does that continued as new")
	require.Equal(t, since, one(t, pool).BlockedAt)
	require.NoError(t, step.Failed(t.Context(), pool, parked("a", ""), time.Now()))
	require.NoError(t, step.Park(t.Context(), pool, parked("a", step.ForPerson)))
	require.True(t, one(t, pool).BlockedAt.After(*since), "a retry that failed is a new wait")
}

func TestTheDatabaseRefusesAStepThatMakesNoSense(t *testing.T) {
	t.Parallel()
	pool := setup(t, "a")
	for _, nonsense := range []string{
		`status = 'blocked'`, `waits_for = 'person'`, `status = 'blocked', waits_for = 'provider'`,
		`status = 'done', blocked_at = now()`, `status = 'unheard of'`, `status = 'blocked', waits_for = 'luck', blocked_at = now()`,
	} {
		_, err := pool.Exec(t.Context(), `UPDATE steps SET `+nonsense)
		require.Error(t, err, nonsense)
	}
}

func TestWakingIsOncePerRoundAndOldestFirst(t *testing.T) {
	t.Parallel()
	pool := setup(t, "a", "b", "c", "person", "pending")
	for _, name := range []string{"a", "b", "c"} {
		require.NoError(t, step.Park(t.Context(), pool, parked(name, step.ForProvider)))
	}
	require.NoError(t, step.Park(t.Context(), pool, parked("person", step.ForPerson)))
	round, err := step.Round(t.Context(), pool)
	require.NoError(t, err)

	first, err := step.Wake(t.Context(), pool, provider.Stripe, round, 2)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"a", "b"}, []string{first[0].Name, first[1].Name})
	left, err := step.CountRemaining(t.Context(), pool, provider.Stripe, round)
	require.NoError(t, err)
	require.Equal(t, step.Remaining{Ahead: 1, Underway: 2}, left)

	require.NoError(t, step.Finish(t.Context(), pool, workflowID, "a", step.Done))
	require.NoError(t, step.Park(t.Context(), pool, parked("b", step.ForProvider)), "it met the trouble again")
	verdict, err := step.Judge(t.Context(), pool, first)
	require.NoError(t, err)
	require.Equal(t, step.Verdict{Through: 1, Failed: 1}, verdict)
	second, err := step.Wake(t.Context(), pool, provider.Stripe, round, 10)
	require.NoError(t, err)
	require.Len(t, second, 1, "b waits for the next round")
	require.Equal(t, "c", second[0].Name)
	left, err = step.CountRemaining(t.Context(), pool, provider.Stripe, round)
	require.NoError(t, err)
	require.Equal(t, step.Remaining{Underway: 1, Again: 1}, left)

	next, err := step.Round(t.Context(), pool)
	require.NoError(t, err)
	third, err := step.Wake(t.Context(), pool, provider.Stripe, next, 10)
	require.NoError(t, err)
	require.Len(t, third, 2, "b, and c whose wake-up may have been lost")
}

func TestOpenStepsAreCounted(t *testing.T) {
	t.Parallel()
	pool := setup(t, "a", "b", "c")
	require.NoError(t, step.Park(t.Context(), pool, parked("a", step.ForPerson)))
	require.NoError(t, step.Finish(t.Context(), pool, workflowID, "b", step.Done))
	counts, err := step.CountOpen(t.Context(), pool)
	require.NoError(t, err)
	require.Len(t, counts, 2)
	require.Equal(t, step.Blocked, counts[0].Status)
	require.Equal(t, step.ForPerson, counts[0].WaitsFor)
	require.EqualValues(t, 1, counts[0].Count)
	require.Equal(t, step.Pending, counts[1].Status)
}
