package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/localstack/temporaltest"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

// today is the date whose payouts are made in these tests.
func today() date.Date { return date.Of(time.Now()) }

// payees makes payees with 100.00 USD each, whose accounts were looked at, and who have missed a Friday.
func (b bundle) payees(t *testing.T, n int) {
	t.Helper()
	require.NoError(t, b.simulator.Stripe().SetPlatformBalance("usd", 1_000_000))
	for i := range n {
		b.payee(t, fmt.Sprintf("u_%d", i))
	}
	b.awaitCount(t, n, `SELECT count(*) FROM payee_accounts`)
	_, err := b.pool.Exec(t.Context(), `UPDATE payees SET last_cycle = current_date - 30`)
	require.NoError(t, err)
}

func (b bundle) awaitCount(t *testing.T, want int, query string) {
	t.Helper()
	var n int
	require.Eventually(t, func() bool {
		return b.pool.QueryRow(t.Context(), query).Scan(&n) == nil && n == want
	}, 2*time.Minute, 20*time.Millisecond, "%s is not %d", query, want)
}

// scheduled makes the schedule of payouts, which fires only when the test has it.
func (b bundle) scheduled(t *testing.T) client.ScheduleHandle {
	t.Helper()
	handle, err := b.temporal.ScheduleClient().Create(t.Context(), client.ScheduleOptions{
		ID:      "payouts",
		Spec:    client.ScheduleSpec{Calendars: []client.ScheduleCalendarSpec{{Hour: []client.ScheduleRange{{Start: 8}}}}},
		Action:  &client.ScheduleWorkflowAction{ID: "payout-launcher", Workflow: workflows.NamePayoutLauncher, TaskQueue: workflows.TaskQueue},
		Overlap: enums.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL, Paused: true,
	})
	require.NoError(t, err)
	return handle
}

// launched waits for the launcher that the schedule has started as its n-th, and gives its id.
func (b bundle) launched(t *testing.T, schedule client.ScheduleHandle, n int) (workflowID string) {
	t.Helper()
	require.Eventually(t, func() bool {
		described, err := schedule.Describe(t.Context())
		if err != nil || len(described.Info.RecentActions) < n {
			return false
		}
		workflowID = described.Info.RecentActions[n-1].StartWorkflowResult.WorkflowID
		return true
	}, time.Minute, 20*time.Millisecond, "the schedule does not start a launcher")
	require.NoError(t, b.temporal.GetWorkflow(t.Context(), workflowID, "").Get(t.Context(), nil))
	return workflowID
}

// runOver waits until a date's run has ended, and gives its result and id.
func (b bundle) runOver(t *testing.T, on date.Date) (result workflows.PayoutRunResult, workflowID string) {
	t.Helper()
	workflowID = workflows.PayoutRunID(on)
	require.Eventually(t, func() bool {
		_, err := b.temporal.DescribeWorkflowExecution(t.Context(), workflowID, "")
		return err == nil
	}, time.Minute, 20*time.Millisecond, "the run does not start")
	require.NoError(t, b.temporal.GetWorkflow(t.Context(), workflowID, "").Get(t.Context(), &result))
	return result, workflowID
}

// requirePaid holds that so many payouts went out, each once, and that both sides of the books agree.
func (b bundle) requirePaid(t *testing.T, n int) {
	t.Helper()
	b.awaitCount(t, n, `SELECT count(*) FROM payouts WHERE state = 'in_transit'`)
	require.Len(t, b.simulator.Stripe().Payouts(""), n)
	require.Len(t, b.simulator.Stripe().Transfers(), n)
	require.NoError(t, b.simulator.Stripe().MoneyAudit().Err())
	report, err := ledger.Verify(t.Context(), b.pool)
	require.NoError(t, err)
	require.NoError(t, report.Err())
}

// decideRun has a person decide on today's run by an update.
func (b bundle) decideRun(t *testing.T, update string) error {
	t.Helper()
	handle, err := b.temporal.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: workflows.PayoutRunID(today()), UpdateName: update, WaitForStage: client.WorkflowUpdateStageCompleted,
		Args: []any{workflows.RunDecisionInput{Actor: "ops"}},
	})
	require.NoError(t, err)
	return handle.Get(t.Context(), nil)
}

// awaitShown waits until Temporal shows what a workflow waits for.
func (b bundle) awaitShown(t *testing.T, workflowID, want string) {
	t.Helper()
	status := temporal.NewSearchAttributeKeyKeyword(workflows.SearchStatus)
	require.Eventually(t, func() bool {
		described, err := b.temporal.DescribeWorkflow(t.Context(), workflowID, "")
		if err != nil {
			return false
		}
		shown, _ := described.TypedSearchAttributes.GetKeyword(status)
		return shown == want
	}, 2*time.Minute, 20*time.Millisecond, "%s is not shown as %s", workflowID, want)
}

// The scenarios of runs, launchers, looks at accounts and sweeps, recorded and replayed like the others.
func TestScenariosOfRuns(t *testing.T) {
	t.Parallel()
	playAll(t, nil, map[string]scenario{
		"run-straight":         playRunStraight,
		"run-outage":           playRunOutage,
		"run-approved":         playRunApproved,
		"run-paused":           playRunPaused,
		"launcher":             playLauncher,
		"launcher-again":       playLauncherAgain,
		"account-check":        playAccountCheck,
		"account-check-outage": playAccountCheckOutage,
		"account-check-again":  playAccountCheckAgain,
		"account-check-old":    playAccountCheckOld,
		"payout-sweep":         playPayoutSweep,
		"payout-wake":          playPayoutWake,
	})
}

// playRunStraight is a run that a schedule starts and that pays everybody.
func playRunStraight(t *testing.T, b bundle) string {
	t.Helper()
	b.payees(t, 2)
	require.NoError(t, b.scheduled(t).Trigger(t.Context(), client.ScheduleTriggerOptions{}))
	result, workflowID := b.runOver(t, today())
	require.Equal(t, workflows.PayoutRunResult{Date: today(), State: "ended", Looked: 2, Planned: 2, HandedOver: 2}, result)
	b.requirePaid(t, 2)
	return workflowID
}

// playRunOutage is a run at whose beginning Stripe is down.
func playRunOutage(t *testing.T, b bundle) string {
	t.Helper()
	b.payees(t, 2)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.BadGateway}))
	b.handOver(t, workflows.TellPayoutRun(today(), "test"))
	b.awaitShown(t, workflows.PayoutRunID(today()), workflows.StatusWaitingOnProvider)
	require.Empty(t, b.simulator.Stripe().Transfers())
	require.NoError(t, b.simulator.ClearFaults())
	result, workflowID := b.runOver(t, today())
	require.Equal(t, 2, result.HandedOver)
	b.requirePaid(t, 2)
	return workflowID
}

// toApprove works today's run out as one that pays more than it may by itself.
func (b bundle) toApprove(t *testing.T) (workflowID string) {
	t.Helper()
	b.payees(t, 2)
	policy := payout.DefaultPolicy()
	policy.ApprovalAbove = map[money.Currency]int64{"usd": 15_000}
	store := payout.NewStore(b.pool, policy, feed.NewWriter(nil), workflows.PayoutWork())
	_, _, err := store.BeginRun(t.Context(), today(), "test", "")
	require.NoError(t, err)
	for {
		slice, err := store.PlanSlice(t.Context(), today(), 10)
		require.NoError(t, err)
		if slice.Done {
			break
		}
		if slice.Looked > 0 {
			now, err := postgres.Now(t.Context(), b.pool)
			require.NoError(t, err)
			require.NoError(t, store.RecordFunds(t.Context(), payout.RailStripe, []money.Amount{money.New(1_000_000, "usd")}, now))
		}
	}
	needsApproval, err := store.ConfirmComputed(t.Context(), today())
	require.NoError(t, err)
	require.True(t, needsApproval)
	b.handOver(t, workflows.TellPayoutRun(today(), "test"))
	workflowID = workflows.PayoutRunID(today())
	b.awaitShown(t, workflowID, workflows.StatusWaitingOnPerson)
	require.Empty(t, b.simulator.Stripe().Transfers())
	return workflowID
}

// awaitProgress waits until today's run says that it is in a state.
func (b bundle) awaitProgress(t *testing.T, state string) {
	t.Helper()
	require.Eventually(t, func() bool {
		var progress workflows.PayoutRunResult
		answer, err := b.temporal.QueryWorkflow(t.Context(), workflows.PayoutRunID(today()), "", workflows.QueryProgress)
		return err == nil && answer.Get(&progress) == nil && progress.State == state
	}, time.Minute, 20*time.Millisecond, "the run is not %s", state)
}

// playRunApproved is a run that waits until a person lets it pay.
func playRunApproved(t *testing.T, b bundle) string {
	t.Helper()
	workflowID := b.toApprove(t)
	require.NoError(t, b.decideRun(t, workflows.UpdateApprove))
	result, _ := b.runOver(t, today())
	require.Equal(t, 2, result.HandedOver)
	b.requirePaid(t, 2)
	return workflowID
}

// playRunPaused is a run that is paused, which nobody may approve then, and that goes on by what was
// decided in Postgres.
func playRunPaused(t *testing.T, b bundle) string {
	t.Helper()
	workflowID := b.toApprove(t)
	require.NoError(t, b.decideRun(t, workflows.UpdatePause))
	b.awaitProgress(t, "paused")
	require.ErrorContains(t, b.decideRun(t, workflows.UpdateApprove), "cannot be approved")
	require.NoError(t, b.decideRun(t, workflows.UpdateResume))
	b.awaitProgress(t, "awaiting_approval")
	require.NoError(t, b.payouts.Approve(t.Context(), today(), "ops", "they are as they should be"))
	b.handOver(t, workflows.TellPayoutRun(today(), "approved"))
	result, _ := b.runOver(t, today())
	require.Equal(t, 2, result.HandedOver)
	b.requirePaid(t, 2)
	return workflowID
}

// playLauncher is a launcher that comes days late: it starts the run of its own day.
func playLauncher(t *testing.T, b bundle) string {
	t.Helper()
	b.payees(t, 2)
	schedule := b.scheduled(t)
	missed := today().AddDays(-2)
	require.NoError(t, schedule.Backfill(t.Context(), client.ScheduleBackfillOptions{Backfill: []client.ScheduleBackfill{{
		Start: missed.Time().Add(7 * time.Hour), End: missed.Time().Add(9 * time.Hour), Overlap: enums.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL,
	}}}))
	workflowID := b.launched(t, schedule, 1)
	require.True(t, strings.HasPrefix(workflowID, "payout-launcher-"+missed.String()), workflowID)
	result, _ := b.runOver(t, missed)
	require.Equal(t, workflows.PayoutRunResult{Date: missed, State: "ended", Looked: 2, Planned: 2, HandedOver: 2}, result)
	b.requirePaid(t, 2)
	return workflowID
}

// playLauncherAgain is a launcher that finds the run of its day under way, and then over: started by
// hand, and by two schedules' firings.
func playLauncherAgain(t *testing.T, b bundle) string {
	t.Helper()
	b.toApprove(t)
	schedule := b.scheduled(t)
	require.NoError(t, schedule.Trigger(t.Context(), client.ScheduleTriggerOptions{}))
	workflowID := b.launched(t, schedule, 1)
	require.NoError(t, b.decideRun(t, workflows.UpdateApprove))
	b.runOver(t, today())
	run := b.runID(t, workflows.PayoutRunID(today()))
	require.NoError(t, schedule.Trigger(t.Context(), client.ScheduleTriggerOptions{}))
	b.launched(t, schedule, 2)
	require.Equal(t, run, b.runID(t, workflows.PayoutRunID(today())), "there is one run")
	b.requirePaid(t, 2)
	return workflowID
}

// runID is that of a workflow's newest run.
func (b bundle) runID(t *testing.T, workflowID string) string {
	t.Helper()
	described, err := b.temporal.DescribeWorkflowExecution(t.Context(), workflowID, "")
	require.NoError(t, err)
	return described.GetWorkflowExecutionInfo().GetExecution().GetRunId()
}

// awaitEvent waits until the history of a workflow's newest run has an event.
func (b bundle) awaitEvent(t *testing.T, workflowID string, want enums.EventType) {
	t.Helper()
	require.Eventually(t, func() bool {
		events := b.temporal.GetWorkflowHistory(t.Context(), workflowID, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			event, err := events.Next()
			if err != nil { // it has not begun
				return false
			}
			if event.GetEventType() == want {
				return true
			}
		}
		return false
	}, 2*time.Minute, 50*time.Millisecond, "there is no %s in %s", want, workflowID)
}

// checkOver waits until the look at a payee's account has ended.
func (b bundle) checkOver(t *testing.T) (workflowID string) {
	t.Helper()
	workflowID = workflows.AccountCheckID("u_1")
	require.NoError(t, b.temporal.GetWorkflow(t.Context(), workflowID, "").Get(t.Context(), nil))
	return workflowID
}

// playAccountCheck is the look at an account that was linked.
func playAccountCheck(t *testing.T, b bundle) string {
	t.Helper()
	account := b.payee(t, "u_1")
	b.awaitCount(t, 1, `SELECT count(*) FROM payee_accounts WHERE payouts_enabled`)
	seen, known, err := payout.GetAccount(t.Context(), b.pool, "u_1")
	require.NoError(t, err)
	require.True(t, known)
	require.Equal(t, account.ExternalAccounts[0].ID, seen.ExternalAccountID)
	return b.checkOver(t)
}

// playAccountCheckOutage is one while Stripe is down.
func playAccountCheckOutage(t *testing.T, b bundle) string {
	t.Helper()
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.BadGateway, PathPrefix: "/v1/accounts"}, simulator.Fault{Kind: simulator.BadGateway, PathPrefix: "/v1/balance"}))
	b.payee(t, "u_1")
	b.awaitShown(t, workflows.AccountCheckID("u_1"), workflows.StatusWaitingOnProvider)
	require.NoError(t, b.simulator.ClearFaults())
	b.awaitCount(t, 1, `SELECT count(*) FROM payee_accounts`)
	return b.checkOver(t)
}

// playAccountCheckAgain is one during which Stripe tells that the account has changed.
func playAccountCheckAgain(t *testing.T, b bundle) string {
	t.Helper()
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Hang, PathPrefix: "/v1/balance"}))
	account := b.payee(t, "u_1")
	require.Eventually(t, func() bool { return len(b.simulator.Calls().To(http.MethodGet, "/v1/balance")) > 0 }, time.Minute, 10*time.Millisecond)
	_, err := b.simulator.Stripe().SetAccount(account.ID, func(a *simulator.Account) { a.PayoutsDisabled = true })
	require.NoError(t, err)
	b.handOver(t, workflows.CheckAccount("u_1", "event/evt_1"))
	b.awaitHandedOver(t)
	require.NoError(t, b.simulator.ClearFaults())
	b.awaitCount(t, 1, `SELECT count(*) FROM payee_accounts WHERE NOT payouts_enabled`)
	return b.checkOver(t)
}

// sweep plays a sweep, as its schedule does.
func (b bundle) sweep(t *testing.T) (swept workflows.SweepResult) {
	t.Helper()
	run, err := b.temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "payout-sweep", TaskQueue: workflows.TaskQueue}, workflows.NamePayoutSweep)
	require.NoError(t, err)
	require.NoError(t, run.Get(t.Context(), &swept))
	return swept
}

// playAccountCheckOld is the look at an account that was not seen for long, for which a sweep asks: it finds
// what no webhook told of, and lets live work go first.
func playAccountCheckOld(t *testing.T, b bundle) string {
	t.Helper()
	_, account := b.due(t)
	b.awaitCount(t, 1, `SELECT count(*) FROM payee_accounts WHERE payouts_enabled`)
	b.checkOver(t)
	_, err := b.simulator.Stripe().SetAccount(account.ID, func(a *simulator.Account) { a.PayoutsDisabled = true })
	require.NoError(t, err)
	_, err = b.pool.Exec(t.Context(), `UPDATE payee_accounts SET as_of = as_of - interval '8 days'`)
	require.NoError(t, err)
	_, err = b.pool.Exec(t.Context(), `UPDATE payees SET created_at = created_at - interval '8 days'`)
	require.NoError(t, err)

	require.Equal(t, 1, b.sweep(t).Accounts)

	b.awaitCount(t, 1, `SELECT count(*) FROM payee_accounts WHERE NOT payouts_enabled`)
	workflowID := b.checkOver(t)
	for _, event := range b.history(t, workflowID).GetEvents() {
		if call := event.GetActivityTaskScheduledEventAttributes(); call != nil {
			require.EqualValues(t, 5, call.GetPriority().GetPriorityKey(), "nobody waits for it")
		}
	}
	return workflowID
}

// playPayoutSweep is a sweep that finds a return of which no webhook told, and a run that lost its
// workflow.
func playPayoutSweep(t *testing.T, b bundle) string {
	t.Helper()
	id, _ := b.due(t)
	b.settled(t, b.toBank(t, id))
	b.over(t, id, payout.Paid)
	_, err := b.simulator.Stripe().ReturnPayout(b.awaitPayout(t, id, payout.Paid).ProviderPayoutID, "account_closed")
	require.NoError(t, err)
	_, err = b.pool.Exec(t.Context(), `UPDATE payouts SET state_since = state_since - interval '4 days', checked_at = checked_at - interval '4 days'`)
	require.NoError(t, err)
	_, err = b.pool.Exec(t.Context(), `INSERT INTO payout_runs (date, cause, started_at) VALUES (current_date - 1, 'test', now() - interval '2 hours')`)
	require.NoError(t, err)

	swept := b.sweep(t)

	require.Equal(t, workflows.SweepResult{Looked: 1, Runs: 1, Found: map[string]int{"stripe/paid": 1}}, swept)
	b.over(t, id, payout.Returned)
	result, _ := b.runOver(t, today().AddDays(-1))
	require.Equal(t, "ended", result.State)
	return "payout-sweep"
}

// playPayoutWake turns payouts off and on again, of which one waits meanwhile: it goes on at once.
func playPayoutWake(t *testing.T, b bundle) string {
	t.Helper()
	id, _ := b.due(t)
	require.NoError(t, b.payouts.SetSwitch(t.Context(), false, "ops", "a look first"))
	_, err := b.pool.Exec(t.Context(), `UPDATE payouts SET handed_at = now()`)
	require.NoError(t, err)
	b.handOver(t, workflows.StartPayout(id))
	b.awaitEvent(t, workflows.PayoutID(id), enums.EVENT_TYPE_TIMER_STARTED) // it has found the switch off, and waits
	require.Empty(t, b.simulator.Stripe().Transfers())

	require.NoError(t, b.payouts.SetSwitch(t.Context(), true, "ops", "all is well"))

	b.settled(t, b.awaitPayout(t, id, payout.InTransit))
	b.over(t, id, payout.Paid)
	var workflowID string
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT message->>'workflow_id' FROM outbox WHERE message->>'workflow' = 'PayoutWake'`).Scan(&workflowID))
	var woken workflows.PayoutWakeResult
	require.NoError(t, b.temporal.GetWorkflow(t.Context(), workflowID, "").Get(t.Context(), &woken))
	require.Equal(t, 1, woken.Woken)
	return workflowID
}

// A worker is killed while a run asks what the platform has, and another one goes on: everybody is paid,
// once.
func TestARunWhoseWorkerIsKilled(t *testing.T) {
	t.Parallel()
	b := setupOn(t, temporaltest.Start(t), []string{workflows.ProviderTaskQueue(provider.Stripe)})
	kill := b.startMortal(t, workflows.TaskQueue)
	b.payees(t, 3)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Stall, PathPrefix: "/v1/balance", DelayMS: 1000}))
	b.handOver(t, workflows.TellPayoutRun(today(), "test"))
	require.Eventually(t, func() bool {
		run, err := payout.GetRun(t.Context(), b.pool, today())
		return err == nil && run.LookedAt != nil
	}, 2*time.Minute, 10*time.Millisecond)

	kill()
	require.NoError(t, b.simulator.ClearFaults())
	b.serve(t, []string{workflows.TaskQueue})

	result, _ := b.runOver(t, today())
	require.Equal(t, "ended", result.State)
	b.requirePaid(t, 3)
}
