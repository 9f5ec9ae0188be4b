package activities_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/activities"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

// setupRuns is a payee who can be paid and is due, with what runs and sweeps do.
func setupRuns(t *testing.T) payoutBundle {
	t.Helper()
	b := setupChecks(t, true, nothing)
	runs := activities.NewPayoutRuns(b.pool, b.store, found{t})
	b.register(workflows.ActivityAdvancePayoutRun, runs.AdvancePayoutRun)
	b.register(workflows.ActivityDecidePayoutRun, runs.DecidePayoutRun)
	b.register(workflows.ActivitySweepPayouts, runs.SweepPayouts)
	b.register(workflows.ActivityWakePayouts, runs.WakePayouts)
	b.register(workflows.ActivityReadPlatformFunds, activities.NewStripeFunds(b.pool, b.store, b.client(t), b.breaker, quiet()).ReadPlatformFunds)
	require.NoError(t, b.check(id))
	b.exec(t, `UPDATE payees SET last_cycle = current_date - 30`)
	return b
}

func (b payoutBundle) advance(t *testing.T) (next workflows.PayoutRunStep) {
	t.Helper()
	value, err := b.env.ExecuteActivity(workflows.ActivityAdvancePayoutRun, date.Of(time.Now()))
	require.NoError(t, err)
	require.NoError(t, value.Get(&next))
	return next
}

func (b payoutBundle) readFunds() error {
	_, err := b.env.ExecuteActivity(workflows.ActivityReadPlatformFunds, workflows.FundsInput{Date: date.Of(time.Now()), Step: workflows.StepPlatformFunds})
	return err
}

func (b payoutBundle) decideRun(decision string) error {
	_, err := b.env.ExecuteActivity(workflows.ActivityDecidePayoutRun, workflows.DecideRunInput{Date: date.Of(time.Now()), Decision: decision, Actor: "ops"})
	return err
}

// depth is how many messages wait for Temporal.
func (b payoutBundle) depth(t *testing.T) int64 {
	t.Helper()
	backlog, err := outbox.Measure(t.Context(), b.pool)
	require.NoError(t, err)
	return backlog.Depth
}

func TestARunGoesOnSliceBySlice(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	require.Equal(t, workflows.PayoutRunStep{State: "computing", Looked: 1}, b.advance(t))
	for range 2 {
		require.Equal(t, workflows.PayoutRunStep{
			State: "computing", Next: workflows.RunWantsFunds, Funds: []workflows.WantedFunds{{Provider: provider.Stripe, Step: workflows.StepPlatformFunds}},
		}, b.advance(t))
	}
	require.NoError(t, b.readFunds())
	require.Equal(t, workflows.PayoutRunStep{State: "computing", Planned: 1}, b.advance(t))
	require.Equal(t, workflows.PayoutRunStep{State: "computing"}, b.advance(t))
	require.Equal(t, workflows.PayoutRunStep{State: "paying", HandedOver: 1}, b.advance(t))
	for range 2 {
		require.Equal(t, workflows.PayoutRunStep{State: "ended", Next: workflows.RunOver}, b.advance(t))
	}
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM payouts`))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox WHERE message->>'workflow' = 'Payout'`))
	require.Equal(t, "schedule", b.run(t).Cause)
}

func (b payoutBundle) run(t *testing.T) payout.Run {
	t.Helper()
	run, err := payout.GetRun(t.Context(), b.pool, date.Of(time.Now()))
	require.NoError(t, err)
	return run
}

// A run that pays nobody asks nobody: Stripe may be down, or not be there at all.
func TestARunThatPaysNobodyNeedsNoStripe(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	b.exec(t, `UPDATE payees SET last_cycle = current_date`)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Refuse}))
	require.Equal(t, 1, b.advance(t).Looked)
	require.Empty(t, b.advance(t).Next)
	require.Equal(t, "paying", b.advance(t).State)
	require.Equal(t, workflows.RunOver, b.advance(t).Next)
}

func TestThePlatformsFundsAreReadWhenStripeAnswers(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	b.advance(t)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.BadGateway}))
	requireFailure(t, b.readFunds(), provider.Transient, true)
	require.Equal(t, workflows.RunWantsFunds, b.advance(t).Next)
	require.Zero(t, b.count(t, `SELECT count(*) FROM payouts`))

	require.NoError(t, b.simulator.ClearFaults())
	require.NoError(t, b.readFunds())

	require.Equal(t, 1, b.advance(t).Planned)
	require.Equal(t, 1_000_000, b.count(t, `SELECT available::int FROM platform_funds WHERE currency = 'usd'`))
	for _, s := range b.steps(t) {
		if s.Name == workflows.StepPlatformFunds {
			require.Equal(t, step.Done, s.Status)
			require.Empty(t, s.CustomerID)
		}
	}
}

// A paused run does nothing, wherever it is, and goes on there.
func TestAPausedRunStandsStill(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	stands := func() {
		t.Helper()
		require.NoError(t, b.decideRun(workflows.UpdatePause))
		require.NoError(t, b.decideRun(workflows.UpdatePause), "it may be said twice")
		for range 2 {
			require.Equal(t, workflows.PayoutRunStep{State: "paused", Next: workflows.RunWaitsForPerson}, b.advance(t))
		}
		requireRefused(t, b.decideRun(workflows.UpdateApprove), "cannot be approved")
		require.NoError(t, b.decideRun(workflows.UpdateResume))
	}
	requireRefused(t, b.decideRun(workflows.UpdatePause), "there is no run")
	b.advance(t)
	stands()
	require.NoError(t, b.readFunds())
	require.Equal(t, 1, b.advance(t).Planned)
	stands()
	b.advance(t)
	stands()
	require.Equal(t, 1, b.advance(t).HandedOver)
	stands()
	require.Equal(t, workflows.RunOver, b.advance(t).Next)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM payouts`))
}

func TestARunIsNotApprovedBeforeItIsWorkedOut(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	requireRefused(t, b.decideRun(workflows.UpdateApprove), "there is no run")
	b.advance(t)
	requireRefused(t, b.decideRun(workflows.UpdateApprove), "cannot be approved")
	require.Empty(t, b.run(t).ApprovedBy)
}

func TestNobodyRunsADateToCome(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	_, err := b.env.ExecuteActivity(workflows.ActivityAdvancePayoutRun, date.Of(time.Now()).AddDays(2))
	var refusal *temporal.ApplicationError
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, workflows.ErrInvalidInput, refusal.Type())
	require.True(t, refusal.NonRetryable())
	require.Zero(t, b.count(t, `SELECT count(*) FROM payout_runs`))
}

// Sweeps of one hour, however many, have each payout and each run looked at once.
func TestASweepHasEachLookedAtOnceAnHour(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	b.standard(t)
	b.must(t, first, workflows.ActivityCheckDestination)
	b.exec(t, `UPDATE payouts SET state_since = now() - interval '2 hours'`)
	b.exec(t, `INSERT INTO payout_runs (date, cause, started_at) VALUES (current_date - 1, 'test', now() - interval '2 hours')`)
	before := b.depth(t)
	sweep := func() (swept workflows.SweepResult) {
		t.Helper()
		value, err := b.env.ExecuteActivity(workflows.ActivitySweepPayouts)
		require.NoError(t, err)
		require.NoError(t, value.Get(&swept))
		return swept
	}
	began := time.Now().UTC().Truncate(time.Hour)

	for range 2 {
		require.Equal(t, workflows.SweepResult{Looked: 1, Runs: 1, Found: map[string]int{"stripe/sending": 1}}, sweep())
	}

	if time.Now().UTC().Truncate(time.Hour).Equal(began) {
		require.Equal(t, before+2, b.depth(t))
	}
	require.NotZero(t, b.count(t, `SELECT count(*) FROM outbox WHERE message->>'workflow_id' = 'payout/`+first+`' AND message->>'signal' = 'provider_event'`))
	require.NotZero(t, b.count(t, `SELECT count(*) FROM outbox WHERE message->>'workflow' = 'PayoutRun' AND message->>'signal' = 'decided'`))
}

// A sweep that broke off goes on behind the last slice that it told of.
func TestASweepGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	b.standard(t)
	b.must(t, first, workflows.ActivityCheckDestination)
	b.exec(t, `UPDATE payouts SET state_since = now() - interval '2 hours'`)
	b.env.SetHeartbeatDetails(struct {
		After  string                `json:"after"`
		Result workflows.SweepResult `json:"result"`
	}{first, workflows.SweepResult{Looked: 500, Lifted: 3}})

	value, err := b.env.ExecuteActivity(workflows.ActivitySweepPayouts)

	require.NoError(t, err)
	var swept workflows.SweepResult
	require.NoError(t, value.Get(&swept))
	require.Equal(t, workflows.SweepResult{Looked: 500, Lifted: 3}, swept)
}
