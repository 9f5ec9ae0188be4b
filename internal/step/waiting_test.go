package step_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
)

func names(steps []step.Step) (all []string) {
	for _, s := range steps {
		all = append(all, s.Name)
	}
	return all
}

func TestOnlyAStepThatIsOverIsSettled(t *testing.T) {
	t.Parallel()
	for status, settled := range map[step.Status]bool{
		step.Pending: false, step.Retrying: false, step.Blocked: false, step.Done: true, step.Skipped: true,
	} {
		require.Equal(t, settled, status.Settled(), "%s", status)
	}
}

func TestAttentionIsOldestFirstAndComesInPages(t *testing.T) {
	t.Parallel()
	pool := setup(t, "a", "b", "c", "provider", "pending", "done")
	for _, name := range []string{"c", "a", "b"} {
		require.NoError(t, step.Park(t.Context(), pool, parked(name, step.ForPerson)))
	}
	require.NoError(t, step.Park(t.Context(), pool, parked("provider", step.ForProvider)))
	require.NoError(t, step.Finish(t.Context(), pool, workflowID, "done", step.Done))

	first, err := step.Attention(t.Context(), pool, step.Cursor{}, 2)
	require.NoError(t, err)
	require.Equal(t, []string{"c", "a"}, names(first))
	second, err := step.Attention(t.Context(), pool, first[1].Cursor(), 2)
	require.NoError(t, err)
	require.Equal(t, []string{"b"}, names(second))
	third, err := step.Attention(t.Context(), pool, second[0].Cursor(), 2)
	require.NoError(t, err)
	require.Empty(t, third)
}

func TestAttentionTellsApartWhatParkedAtTheSameMoment(t *testing.T) {
	t.Parallel()
	pool := setup(t, "a", "b", "c")
	_, err := pool.Exec(t.Context(), `UPDATE steps SET status = 'blocked', waits_for = 'person', blocked_at = '2026-01-01Z'`)
	require.NoError(t, err)
	var seen []string
	var after step.Cursor
	for range 3 {
		page, err := step.Attention(t.Context(), pool, after, 1)
		require.NoError(t, err)
		require.Len(t, page, 1)
		seen, after = append(seen, page[0].Name), page[0].Cursor()
	}
	require.Equal(t, []string{"a", "b", "c"}, seen)
}

func TestAStepThatDoesNotWaitHasACursorAtTheBeginning(t *testing.T) {
	t.Parallel()
	require.Equal(t, step.Cursor{WorkflowID: workflowID, Name: "a"}, planned("a").Cursor())
}

func TestWhatWasNeverPlannedCannotBePlayed(t *testing.T) {
	t.Parallel()
	pool := setup(t, "a")
	err := step.Park(t.Context(), pool, parked("unheard of", step.ForProvider))
	require.ErrorContains(t, err, "never planned")
	require.NotErrorIs(t, err, step.ErrOver)
	require.NoError(t, step.Failed(t.Context(), pool, parked("unheard of", ""), time.Now()))
	require.NoError(t, step.Finish(t.Context(), pool, workflowID, "unheard of", step.Done))
	steps, err := step.ByWorkflow(t.Context(), pool, workflowID)
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, names(steps))
	none, err := step.ByWorkflow(t.Context(), pool, "work/2")
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestParkingWhatIsOverSaysSo(t *testing.T) {
	t.Parallel()
	for _, end := range []step.Status{step.Done, step.Skipped} {
		pool := setup(t, "a")
		require.NoError(t, step.Finish(t.Context(), pool, workflowID, "a", end))
		require.ErrorIs(t, step.Park(t.Context(), pool, parked("a", step.ForPerson)), step.ErrOver)
		require.Equal(t, end, one(t, pool).Status)
	}
}

func TestAFailureFromBeforeTheParkingChangesNothing(t *testing.T) {
	t.Parallel()
	pool := setup(t, "a")
	before := time.Now().Add(-time.Minute)
	require.NoError(t, step.Park(t.Context(), pool, parked("a", step.ForPerson)))
	now := one(t, pool)
	require.NoError(t, step.Failed(t.Context(), pool, parked("a", ""), before))
	require.Equal(t, now, one(t, pool))
	require.NoError(t, step.Failed(t.Context(), pool, parked("a", ""), now.BlockedAt.Add(time.Millisecond)))
	require.Equal(t, step.Retrying, one(t, pool).Status)
}

func TestAWaitForAProviderThatBecomesOneForAPersonBeginsThen(t *testing.T) {
	t.Parallel()
	pool := setup(t, "a")
	require.NoError(t, step.Park(t.Context(), pool, parked("a", step.ForProvider)))
	since := one(t, pool).BlockedAt
	require.NoError(t, step.Park(t.Context(), pool, parked("a", step.ForPerson)))
	require.True(t, one(t, pool).BlockedAt.After(*since))
}

func TestTheWokenAreJudgedByWhatBecameOfThem(t *testing.T) {
	t.Parallel()
	all := []string{"done", "skipped", "person", "advanced", "retrying", "again", "silent"}
	pool := setup(t, all...)
	for _, name := range all {
		require.NoError(t, step.Park(t.Context(), pool, parked(name, step.ForProvider)))
	}
	round, err := step.Round(t.Context(), pool)
	require.NoError(t, err)
	woken, err := step.Wake(t.Context(), pool, provider.Stripe, round, len(all))
	require.NoError(t, err)
	require.Len(t, woken, len(all))
	require.NoError(t, step.Finish(t.Context(), pool, workflowID, "done", step.Done))
	require.NoError(t, step.Finish(t.Context(), pool, workflowID, "skipped", step.Skipped))
	require.NoError(t, step.Park(t.Context(), pool, parked("person", step.ForPerson)))
	require.NoError(t, step.Advance(t.Context(), pool, workflowID, "advanced", time.Now().Add(time.Second)))
	require.NoError(t, step.Failed(t.Context(), pool, parked("retrying", ""), time.Now().Add(time.Second)))
	require.NoError(t, step.Park(t.Context(), pool, parked("again", step.ForProvider)))

	verdict, err := step.Judge(t.Context(), pool, woken)
	require.NoError(t, err)
	require.Equal(t, step.Verdict{Through: 4, Failed: 2}, verdict)
}

// A step of several calls would else be taken for one that is still under way until all are made.
func TestAStepThatAdvancesWaitsForNobody(t *testing.T) {
	t.Parallel()
	pool := setup(t, "a")
	require.NoError(t, step.Park(t.Context(), pool, parked("a", step.ForProvider)))
	waits := one(t, pool)

	require.NoError(t, step.Advance(t.Context(), pool, workflowID, "a", waits.BlockedAt.Add(-time.Millisecond)))
	require.Equal(t, waits, one(t, pool), "the attempt is from before the parking")
	require.NoError(t, step.Advance(t.Context(), pool, workflowID, "a", waits.BlockedAt.Add(time.Millisecond)))
	goesOn := one(t, pool)
	require.Equal(t, step.Pending, goesOn.Status)
	require.Empty(t, goesOn.WaitsFor)
	require.Empty(t, goesOn.LastError)

	require.NoError(t, step.Finish(t.Context(), pool, workflowID, "a", step.Done))
	require.NoError(t, step.Advance(t.Context(), pool, workflowID, "a", time.Now().Add(time.Second)))
	require.Equal(t, step.Done, one(t, pool).Status, "what is over stays so")
}

func TestOnlyTheNamedProvidersStepsAreWoken(t *testing.T) {
	t.Parallel()
	pool := setup(t, "a")
	require.NoError(t, step.Park(t.Context(), pool, parked("a", step.ForProvider)))
	round, err := step.Round(t.Context(), pool)
	require.NoError(t, err)
	woken, err := step.Wake(t.Context(), pool, provider.PayPal, round, 10)
	require.NoError(t, err)
	require.Empty(t, woken)
	left, err := step.CountRemaining(t.Context(), pool, provider.PayPal, round)
	require.NoError(t, err)
	require.Zero(t, left)
}

// Two workers that wake at once share the steps out and wake none twice.
func TestTwoWhoWakeAtOnceShareTheStepsOut(t *testing.T) {
	t.Parallel()
	pool := setup(t, "a", "b", "c", "d")
	for _, name := range []string{"a", "b", "c", "d"} {
		require.NoError(t, step.Park(t.Context(), pool, parked(name, step.ForProvider)))
	}
	round, err := step.Round(t.Context(), pool)
	require.NoError(t, err)
	holding, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = holding.Rollback(t.Context()) }()
	first, err := step.Wake(t.Context(), holding, provider.Stripe, round, 2)
	require.NoError(t, err)
	second, err := step.Wake(t.Context(), pool, provider.Stripe, round, 10)
	require.NoError(t, err, "it does not wait for the first")
	require.NoError(t, holding.Commit(t.Context()))
	require.ElementsMatch(t, []string{"a", "b"}, names(first))
	require.ElementsMatch(t, []string{"c", "d"}, names(second))
}

func TestAVerdictIsRecordedWithWhoAndWhy(t *testing.T) {
	t.Parallel()
	pool := setup(t, "a")
	require.NoError(t, step.RecordVerdict(t.Context(), pool, "grace", step.VerdictSkip, workflowID, "a", "told by phone"))
	rows, err := pool.Query(t.Context(), `SELECT actor || ' ' || action || ' ' || subject || ': ' || note FROM operator_actions`)
	require.NoError(t, err)
	recorded, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Equal(t, []string{"grace skip work/1/a: told by phone"}, recorded)
}

func TestErrorsNameTheStep(t *testing.T) {
	t.Parallel()
	pool := setup(t, "a")
	_, err := pool.Exec(t.Context(), `ALTER TABLE steps RENAME TO away`)
	require.NoError(t, err)
	for name, err := range map[string]error{
		"park":   step.Park(t.Context(), pool, parked("a", step.ForPerson)),
		"failed": step.Failed(t.Context(), pool, parked("a", ""), time.Now()),
		"finish": step.Finish(t.Context(), pool, workflowID, "a", step.Done),
		"go on":  step.Advance(t.Context(), pool, workflowID, "a", time.Now()),
		"reopen": step.Reopen(t.Context(), pool, planned("a")),
	} {
		require.ErrorContains(t, err, "step a of "+workflowID, name)
	}
}

// After an outage in which a worker was killed, steps that we refused meanwhile park when the waking has
// begun: they have not asked the provider, and are woken with the others.
func TestWhomWeRefusedOurselvesIsNoNewTrouble(t *testing.T) {
	t.Parallel()
	pool := setup(t, "before", "refused", "asked")
	require.NoError(t, step.Park(t.Context(), pool, parked("before", step.ForProvider)))
	round, err := step.Round(t.Context(), pool)
	require.NoError(t, err)
	refused := parked("refused", step.ForProvider)
	refused.LastError = (&provider.Failure{Provider: provider.Stripe, Class: provider.Transient, Code: provider.CodeProviderDown}).Error()
	require.NoError(t, step.Park(t.Context(), pool, refused))
	require.NoError(t, step.Park(t.Context(), pool, parked("asked", step.ForProvider)))
	remaining := func() step.Remaining {
		left, err := step.CountRemaining(t.Context(), pool, provider.Stripe, round)
		require.NoError(t, err)
		return left
	}
	require.Equal(t, step.Remaining{Ahead: 2, Again: 1}, remaining())

	woken, err := step.Wake(t.Context(), pool, provider.Stripe, round, 10)

	require.NoError(t, err)
	require.ElementsMatch(t, []string{"before", "refused"}, names(woken))
	require.Equal(t, step.Remaining{Underway: 2, Again: 1}, remaining())
	require.NoError(t, step.Park(t.Context(), pool, refused))
	require.Equal(t, step.Remaining{Underway: 1, Again: 2}, remaining(), "refused once more, it is trouble: each is woken once")
}
