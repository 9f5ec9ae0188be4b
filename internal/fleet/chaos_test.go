package fleet_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/holdfast/holdfast/internal/fleet"
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
	// A Stripe that fails so often is given pauses. At most so many rounds, and one more for every 25 payouts;
	// but for faults that are still to be met, as many as there is time for.
	mostRounds = 5
	mostHavoc  = 5 * time.Minute
)

// Everything fails at once, again and again, while a day's payouts are made; in the end every payee was
// paid once, or has the money back, to the cent, and nothing is left that nobody would move.
//
// At Stripe a stored 500 mostly stands for something that was done, which a look-up finds. That something
// was not done takes two look-ups to prove, ten minutes apart: for what waits for that, and for nothing
// else, the time is made to pass.
func TestPayoutsInChaos(t *testing.T) {
	t.Parallel()
	for name, isAtPayPal := range map[string]func(i int) bool{
		"Stripe": func(int) bool { return false },
		"PayPal": func(int) bool { return true },
		"both":   func(i int) bool { return i%2 == 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			payInChaos(t, *chaosPayouts, isAtPayPal)
		})
	}
}

func payInChaos(t *testing.T, payouts int, isAtPayPal func(i int) bool) {
	t.Helper()
	// Small batches and a low rate have PayPal take as many rounds as Stripe, and meet as many faults.
	b := setupWith(t, 2, fleet.Options{StripeRate: 100, PayPalRate: 10, Env: []string{"HOLDFAST_PAYOUT_PAYPAL_BATCH_SIZE=" + strconv.Itoa(max(2, payouts/40))}})
	random := rand.New(rand.NewPCG(11, 4))
	earned := make([]int64, payouts)
	for i := range earned {
		earned[i] = 1_100 + random.Int64N(100_000)
	}
	all := b.payeesAt(t, payouts, func(i int) int64 { return earned[i] }, func(i int) string {
		if !isAtPayPal(i) {
			return ""
		}
		return chaosReceiver(i)
	})
	atPayPal := len(slices.DeleteFunc(slices.Clone(all), func(p payee) bool { return p.email == "" }))
	b.refundSome(t, all)
	require.NoError(t, b.Simulator.Stripe().SetPayoutSettlement(simulator.PayoutSettlement{
		Automatic: true, DelayMS: 300, FailShare: 0.03, FailureCode: "could_not_process",
	}))
	require.NoError(t, b.Simulator.PayPal().SetPayouts(simulator.PayPalPayoutSettings{ProcessingMS: 300}))
	mess := simulator.WebhookFaults{Loss: 0.3, Duplicate: 0.3, JitterMS: 500, Reorder: 8}
	require.NoError(t, errors.Join(b.Simulator.StripeWebhooks().SetFaults(mess), b.Simulator.PayPalWebhooks().SetFaults(mess)))
	var faults []simulator.Fault
	if atPayPal < payouts {
		faults = append(faults, chaosAtStripe(payouts-atPayPal)...)
	}
	if atPayPal > 0 {
		faults = append(faults, chaosAtPayPal()...)
	}
	require.NoError(t, b.Simulator.SetFaults(faults...))

	b.startRun(t, today())
	b.wreckHavoc(t, payouts)
	require.Empty(t, b.unmet(), "no call met it")
	require.NoError(t, b.Simulator.ClearFaults())
	b.awaitAllSent(t, payouts)
	b.awaitSettledAtStripe(t)
	b.awaitSettledAtPayPal(t)
	b.returnSome(t)
	b.daysPass(t, 4)
	b.sweep(t)
	b.awaitNothingLeft(t)

	b.requirePaidOnceOrReleased(t, all)
}

// chaosReceiver is an address at PayPal: most are paid, and of the others every kind comes up.
func chaosReceiver(i int) string {
	outcome := "ok"
	switch i % 20 {
	case 5:
		outcome = "failed"
	case 9:
		outcome = "unclaimed"
	case 13:
		outcome = "onhold"
	case 17:
		outcome = "returned"
	}
	return fmt.Sprintf("%s-%d@example.com", outcome, i)
}

// chaosAtStripe is what goes wrong with calls to Stripe. What takes 20 minutes to decide is done to so
// many of them, and the rest to a share: among a hundred calls, a share so small may be none.
func chaosAtStripe(payouts int) []simulator.Fault {
	const post = "POST"
	rare := max(2, payouts/50)
	return atProvider("stripe",
		simulator.Fault{Kind: simulator.Latency, DelayMS: 20, JitterMS: 200},
		simulator.Fault{Kind: simulator.ExecuteThenDrop, Probability: 0.1},
		simulator.Fault{Kind: simulator.ExecuteThen500, Method: post, Probability: 0.05},
		simulator.Fault{Kind: simulator.Stored500, Method: post, PathPrefix: stripeTransfers, Probability: 0.2, Times: rare},
		simulator.Fault{Kind: simulator.Stored500, Method: post, PathPrefix: stripePayouts, Probability: 0.2, Times: rare},
		simulator.Fault{Kind: simulator.TooManyRequests, Probability: 0.05, RetryAfter: 1},
		simulator.Fault{Kind: simulator.Reset, Probability: 0.03},
		simulator.Fault{Kind: simulator.Truncate, Probability: 0.02},
		simulator.Fault{Kind: simulator.BadGateway, Probability: 0.02},
	)
}

// chaosAtPayPal is what goes wrong with calls to PayPal. There are few, each for many payouts, so that
// every fault is met by so many of them, one after the other: those that send, and all.
func chaosAtPayPal() []simulator.Fault {
	const post = "POST"
	faults := []simulator.Fault{
		{Kind: simulator.ExecuteThenDrop, Method: post, PathPrefix: payPalPayouts, Probability: 0.3, Times: 4},
		{Kind: simulator.ExecuteThen500, Method: post, PathPrefix: payPalPayouts, Probability: 0.3, Times: 4},
		{Kind: simulator.Truncate, Method: post, PathPrefix: payPalPayouts, Probability: 0.3, Times: 4},
		{Kind: simulator.Reset, Method: post, PathPrefix: payPalPayouts, Probability: 0.3, Times: 4},
		{Kind: simulator.Latency, DelayMS: 20, JitterMS: 200},
	}
	for _, kind := range []simulator.FaultKind{
		simulator.ExecuteThenDrop, simulator.TooManyRequests, simulator.Reset, simulator.Truncate, simulator.BadGateway,
	} {
		faults = append(faults, simulator.Fault{Kind: kind, Probability: 0.1, Times: 8})
	}
	return atProvider("paypal", faults...)
}

func atProvider(name string, faults ...simulator.Fault) []simulator.Fault {
	for i := range faults {
		faults[i].Provider = name
	}
	return faults
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

// wreckHavoc kills workers every few seconds until nearly all payouts are sent and every fault was met, and
// each of the servers once meanwhile.
func (b bundle) wreckHavoc(t *testing.T, payouts int) {
	t.Helper()
	ctx, began := context.WithoutCancel(t.Context()), time.Now()
	goOn := func(round int) bool {
		switch {
		case round <= leastRounds:
			return true
		case round <= mostRounds+payouts/25:
			return b.sent(t) < payouts*9/10 || b.unmet() != ""
		default:
			return b.unmet() != "" && b.sent(t) < payouts && time.Since(began) < mostHavoc
		}
	}
	for round := 1; goOn(round); round++ {
		b.letBegin()
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

// letBegin gives the workers, which take their time on a busy machine, until their first call. There may be none:
// what is left to send may wait for time to pass.
func (b bundle) letBegin() {
	began := time.Now()
	for time.Since(began) < 4*betweenDeaths && len(b.Simulator.Calls().Since(began)) == 0 {
		time.Sleep(100 * time.Millisecond)
	}
}

// unmet is a fault that no call has met; empty when there is none.
func (b bundle) unmet() string {
	for _, fault := range b.Simulator.Faults() {
		if fault.Hits == 0 {
			return fault.Provider + " " + string(fault.Kind)
		}
	}
	return ""
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
	for _, step := range payoutSteps {
		for _, id := range b.workflowIDs(t, `SELECT workflow_id FROM steps WHERE name = $1 AND status = 'blocked'`, step) {
			b.retry(t, id, step)
		}
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
func (b bundle) retry(t *testing.T, workflowID, step string) {
	t.Helper()
	handle, err := b.Temporal.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: workflowID, UpdateName: workflows.UpdateRetry, Args: []any{workflows.StepInput{Step: step}},
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

// awaitSettledAtPayPal has PayPal decide on what it put on hold, and waits until nothing is under way there
// but what nobody has claimed.
func (b bundle) awaitSettledAtPayPal(t *testing.T) {
	t.Helper()
	b.awaitLong(t, "PayPal to settle every payout", func() bool {
		open := false
		for i := range b.payPalItems() {
			if i.Status == "ONHOLD" {
				_, err := b.Simulator.PayPal().SettlePayPalItem(i.ID)
				require.NoError(t, err)
			}
			open = open || i.Status == "PENDING" || i.Status == "ONHOLD"
		}
		return !open
	})
}

// payPalItems are all that were ever sent, oldest first.
func (b bundle) payPalItems() iter.Seq[simulator.PayPalItem] {
	return func(yield func(simulator.PayPalItem) bool) {
		for _, batch := range b.Simulator.PayPal().PayPalBatches() {
			for _, item := range batch.Items {
				if !yield(item) {
					return
				}
			}
		}
	}
}

// returnSome has the bank return some of what was paid, and PayPal what nobody claimed in 30 days; nobody
// hears of it.
func (b bundle) returnSome(t *testing.T) {
	t.Helper()
	for _, w := range []*simulator.Webhooks{b.Simulator.StripeWebhooks(), b.Simulator.PayPalWebhooks()} {
		require.NoError(t, w.Await(t.Context()))
		require.NoError(t, w.SetFaults(simulator.WebhookFaults{Loss: 1}))
	}
	for item := range b.payPalItems() {
		if item.Status == "UNCLAIMED" {
			_, err := b.Simulator.PayPal().ReturnPayPalItem(item.ID)
			require.NoError(t, err)
		}
	}
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
	listed := listRequest("WorkflowType IN ('" + workflows.NamePayout + "', '" + workflows.NamePayPalPayoutBatch + "') AND ExecutionStatus = 'Running'")
	b.awaitLong(t, "every payout's workflow to end", func() bool {
		running, err := b.Temporal.ListWorkflow(t.Context(), listed)
		return err == nil && len(running.GetExecutions()) == 0
	})
}

// requirePaidOnceOrReleased holds what each payee earned against what the providers paid and against what
// the app is told: one payout of everything, and either it was paid or the payee has all of it still.
func (b bundle) requirePaidOnceOrReleased(t *testing.T, all []payee) {
	t.Helper()
	atStripe, atPayPal := b.soundAudit(t), b.soundPayPalAudit(t)
	require.Equal(t, len(all), b.count(t, `SELECT count(*) FROM payouts`))
	outcomes := map[string]int{}
	atOnce(t, len(all), func(i int) error {
		p := all[i]
		now, err := b.app.Payee(t.Context(), p.id)
		if err != nil {
			return err
		}
		received, paid := atStripe.Received[p.id]["usd"], int64(0)
		if p.email != "" {
			received = atPayPal.Received[p.email]["USD"]
		}
		if received != 0 {
			paid = p.earned
		}
		if received != 0 && received != p.receives() {
			return fmt.Errorf("%s received %d of %d", p.id, received, p.receives())
		}
		if now.Balance.InPayout.Minor != 0 || now.Balance.Paid.Minor != paid || now.Balance.Available.Minor != p.earned-paid {
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
