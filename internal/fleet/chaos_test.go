package fleet_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

var chaosPayouts = flag.Int("chaos-payouts", 120, "how many payouts the chaos run makes")

// What the chaos run does to the servers, and when: every round begins with the death of all workers.
const (
	betweenDeaths = 5 * time.Second
	postgresDies  = 2 // in this round
	temporalDies  = 4
	leastRounds   = 5
	// A Stripe that fails so often is given pauses. At most so many rounds, and one more for every 25 payouts.
	mostRounds = 5
)

// Everything fails at once, again and again, while a day's payouts are made; in the end every payee was
// paid once, or has the money back, to the cent, and nothing is left that nobody would move.
//
// A stored 500 mostly stands for something that was done, which a look-up finds. That something was not
// done takes two look-ups to prove, ten minutes apart: for what waits for that, and for nothing else,
// the time is made to pass.
func TestPayoutsInChaos(t *testing.T) {
	t.Parallel()
	b := setup(t, 2)
	random := rand.New(rand.NewPCG(11, 4))
	earned := make([]int64, *chaosPayouts)
	for i := range earned {
		earned[i] = 1_000 + random.Int64N(100_000)
	}
	all := b.payees(t, *chaosPayouts, func(i int) int64 { return earned[i] })
	b.refundSome(t, all)
	require.NoError(t, b.Simulator.Stripe().SetPayoutSettlement(simulator.PayoutSettlement{
		Automatic: true, DelayMS: 300, FailShare: 0.03, FailureCode: "could_not_process",
	}))
	require.NoError(t, b.Simulator.StripeWebhooks().SetFaults(simulator.WebhookFaults{Loss: 0.3, Duplicate: 0.3, JitterMS: 500, Reorder: 8}))
	require.NoError(t, b.Simulator.SetFaults(chaosAtStripe(len(all))...))

	b.startRun(t, today())
	b.wreckHavoc(t, len(all))
	for _, fault := range b.Simulator.Faults() {
		require.NotZero(t, fault.Hits, "no call met %s", fault.Kind)
	}
	require.NoError(t, b.Simulator.ClearFaults())
	b.awaitAllSent(t, len(all))
	b.awaitSettledAtStripe(t)
	b.returnSome(t)
	b.daysPass(t, 4)
	b.sweep(t)
	b.awaitNothingLeft(t)

	b.requirePaidOnceOrReleased(t, all)
}

// chaosAtStripe is what goes wrong with calls to Stripe. What takes 20 minutes to decide is done to so
// many of them, and the rest to a share: among a hundred calls, a share so small may be none.
func chaosAtStripe(payouts int) []simulator.Fault {
	const post = "POST"
	rare := max(2, payouts/50)
	return []simulator.Fault{
		{Kind: simulator.Latency, DelayMS: 20, JitterMS: 200},
		{Kind: simulator.ExecuteThenDrop, Probability: 0.1},
		{Kind: simulator.ExecuteThen500, Method: post, Probability: 0.05},
		{Kind: simulator.Stored500, Method: post, PathPrefix: stripeTransfers, Probability: 0.2, Times: rare},
		{Kind: simulator.Stored500, Method: post, PathPrefix: stripePayouts, Probability: 0.2, Times: rare},
		{Kind: simulator.TooManyRequests, Probability: 0.05, RetryAfter: 1},
		{Kind: simulator.Reset, Probability: 0.03},
		{Kind: simulator.Truncate, Probability: 0.02},
		{Kind: simulator.BadGateway, Probability: 0.02},
	}
}

// refundSome takes part of what some payees earned back, after the cutoff.
func (b bundle) refundSome(t *testing.T, all []payee) {
	t.Helper()
	for i := range all {
		if i%10 != 0 || all[i].earned < 2_500 {
			continue
		}
		require.NoError(t, b.earn(t.Context(), all[i].id, "refund", -1_234, time.Now()))
		all[i].earned -= 1_234
	}
}

// wreckHavoc kills workers every few seconds until nearly all payouts are sent, and each of the servers
// once meanwhile.
func (b bundle) wreckHavoc(t *testing.T, payouts int) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	for round := 1; round <= leastRounds || round <= mostRounds+payouts/25 && b.sent(t) < payouts*9/10; round++ {
		time.Sleep(betweenDeaths) // what is under way then dies, whatever it is
		require.NoError(t, b.KillWorkers())
		switch round {
		case postgresDies:
			require.NoError(t, b.Stack.Postgres.Kill())
			require.NoError(t, b.Stack.Postgres.Start(ctx))
		case temporalDies:
			require.NoError(t, b.Stack.Temporal.Stop())
			require.NoError(t, b.Stack.Temporal.Start(ctx))
		}
		for range 2 {
			require.NoError(t, b.StartWorker(ctx))
		}
		t.Logf("round %d: %s", round, b.states(t))
	}
}

// sent is how many payouts have left us.
func (b bundle) sent(t *testing.T) int {
	t.Helper()
	return b.count(t, `SELECT count(*) FROM payouts WHERE state NOT IN ('planned', 'sending')`)
}

// awaitAllSent waits until every payout has left us.
func (b bundle) awaitAllSent(t *testing.T, payouts int) {
	t.Helper()
	b.awaitLong(t, "every payout to leave us", func() bool {
		b.hasten(t)
		return b.sent(t) == payouts
	})
}

// hasten has done at once what waits for no more than for time to pass: what was parked while
// everything failed looks again within twenty minutes, and what is to be proven absent is looked for
// twice, ten minutes apart. Nothing may wait for a person.
func (b bundle) hasten(t *testing.T) {
	t.Helper()
	require.Zero(t, b.count(t, `SELECT count(*) FROM steps WHERE status = 'blocked' AND waits_for = 'person'`))
	for _, id := range b.workflowIDs(t, `SELECT workflow_id FROM steps WHERE name = $1 AND status = 'blocked'`, workflows.StepPayout) {
		b.retry(t, id)
	}
	for _, id := range b.workflowIDs(t, `UPDATE provider_requests SET first_sent_at = first_sent_at - interval '10 minutes',
			last_sent_at = last_sent_at - interval '10 minutes', missing_since = missing_since - interval '10 minutes'
		WHERE operation IN ('transfer', 'payout', 'reversal') AND outcome = 'open' AND replayed RETURNING 'payout/' || subject`) {
		b.lookNow(t, id)
	}
}

func (b bundle) workflowIDs(t *testing.T, sql string, args ...any) []string {
	t.Helper()
	rows, err := b.Pool.Query(t.Context(), sql, args...)
	require.NoError(t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return ids
}

// retry has a parked payout tried again, as a person would. It may have gone on by itself meanwhile.
func (b bundle) retry(t *testing.T, workflowID string) {
	t.Helper()
	handle, err := b.Temporal.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: workflowID, UpdateName: workflows.UpdateRetry, Args: []any{workflows.StepInput{Step: workflows.StepPayout}},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = handle.Get(t.Context(), nil)
	}
	if err != nil {
		t.Logf("retry %s: %v", workflowID, err)
	}
}

// lookNow ends the wait of an activity that is to be tried again later, if there is one.
func (b bundle) lookNow(t *testing.T, workflowID string) {
	t.Helper()
	now, err := b.Temporal.DescribeWorkflowExecution(t.Context(), workflowID, "")
	require.NoError(t, err)
	for _, pending := range now.GetPendingActivities() {
		_, err := b.Temporal.WorkflowService().ResetActivity(t.Context(), &workflowservice.ResetActivityRequest{
			Namespace: client.DefaultNamespace, Execution: &common.WorkflowExecution{WorkflowId: workflowID},
			Activity: &workflowservice.ResetActivityRequest_Id{Id: pending.GetActivityId()},
		})
		if err != nil { // it came to an end meanwhile
			t.Logf("reset %s of %s: %v", pending.GetActivityType().GetName(), workflowID, err)
		}
	}
}

// awaitSettledAtStripe waits until every payout has arrived at Stripe's end, or failed there.
func (b bundle) awaitSettledAtStripe(t *testing.T) {
	t.Helper()
	b.awaitLong(t, "Stripe to settle every payout", func() bool {
		return !slices.ContainsFunc(b.Simulator.Stripe().Payouts(""), func(p simulator.Payout) bool {
			return p.Status == "pending" || p.Status == "in_transit"
		})
	})
}

// returnSome has the bank return some of what was paid, of which nobody hears.
func (b bundle) returnSome(t *testing.T) {
	t.Helper()
	require.NoError(t, b.Simulator.StripeWebhooks().Await(t.Context()))
	require.NoError(t, b.Simulator.StripeWebhooks().SetFaults(simulator.WebhookFaults{Loss: 1}))
	for i, p := range b.Simulator.Stripe().Payouts("") {
		if i%40 == 0 && p.Status == "paid" {
			_, err := b.Simulator.Stripe().ReturnPayout(p.ID, "account_closed")
			require.NoError(t, err)
		}
	}
}

// awaitNothingLeft waits until nothing is to be done for any payout, and every one has ended.
func (b bundle) awaitNothingLeft(t *testing.T) {
	t.Helper()
	b.awaitLong(t, "every payout to end", func() bool {
		b.hasten(t)
		return b.openPayouts(t) == 0 && b.count(t, `SELECT count(*) FROM payouts WHERE state NOT IN ('paid', 'failed', 'returned')
			OR state = 'paid' AND ending IS NOT NULL`) == 0
	})
	listed := listRequest("WorkflowType = '" + workflows.NamePayout + "' AND ExecutionStatus = 'Running'")
	b.awaitLong(t, "every payout's workflow to end", func() bool {
		running, err := b.Temporal.ListWorkflow(t.Context(), listed)
		return err == nil && len(running.GetExecutions()) == 0
	})
}

// requirePaidOnceOrReleased holds what each payee earned against what Stripe paid and against what the
// app is told: one payout of everything, and either it was paid or the payee has all of it still.
func (b bundle) requirePaidOnceOrReleased(t *testing.T, all []payee) {
	t.Helper()
	audit := b.soundAudit(t)
	require.Equal(t, len(all), b.count(t, `SELECT count(*) FROM payouts`))
	outcomes := map[string]int{}
	atOnce(t, len(all), func(i int) error {
		p := all[i]
		now, err := b.app.Payee(t.Context(), p.id)
		if err != nil {
			return err
		}
		received := audit.Received[p.id]["usd"]
		if received != 0 && received != p.earned {
			return fmt.Errorf("%s received %d of %d", p.id, received, p.earned)
		}
		if now.Balance.InPayout.Minor != 0 || now.Balance.Paid.Minor != received || now.Balance.Available.Minor != p.earned-received {
			return fmt.Errorf("%s earned %d and received %d, and is told of %+v", p.id, p.earned, received, now.Balance)
		}
		return nil
	})
	for _, p := range all {
		outcomes[b.payoutOf(t, p.id).Status]++
	}
	require.NotZero(t, outcomes["paid"])
	require.NotZero(t, outcomes["failed"])
	require.NotZero(t, outcomes["returned"])
}
