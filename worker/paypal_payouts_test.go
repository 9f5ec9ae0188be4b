package main

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/localstack/temporaltest"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

const payPalPayouts = "/v1/payments/payouts"

// payPalPayout is the id of the nth payout of a batch.
func payPalPayout(n int) string { return fmt.Sprintf("po_%024d", n) }

// batch makes payees who have earned 100.00 USD and are paid by PayPal at the given addresses, and a batch
// of their payouts of 98.00 USD, as a run does. It is handed over with that.
func (b bundle) batch(t *testing.T, receivers ...string) (batchID string) {
	t.Helper()
	for n, receiver := range receivers {
		id := fmt.Sprintf("u_%d", n)
		_, _, err := b.customers.Create(t.Context(), customer.Profile{ID: id, Email: id + "@example.com"})
		require.NoError(t, err)
		_, _, err = b.payouts.PutPayee(t.Context(), payout.Profile{
			ID: id, Email: id + "@example.com", Country: "US", Currency: "usd", Rail: payout.RailPayPal, PayPalEmail: receiver, Schedule: payout.Weekly,
		})
		require.NoError(t, err)
		_, _, err = b.payouts.PutEarning(t.Context(), id, payout.Earning{
			ID: "e_1", Kind: payout.Sale, Amount: money.New(10_000, "usd"), OccurredAt: time.Now().AddDate(0, 0, -20),
		})
		require.NoError(t, err)
	}
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO payout_runs (date, cause, state, computed_at, ended_at) VALUES (current_date, 'test', 'ended', now(), now())`)
		if err != nil {
			return err
		}
		ids := make([]string, len(receivers))
		for n, receiver := range receivers {
			ids[n] = payPalPayout(n)
			_, err := tx.Exec(ctx, `INSERT INTO payouts (id, payee_id, kind, run_date, method, currency, gross, fee, net, period_end, due_date, destination_id, handed_at)
				VALUES ($1, $2, 'scheduled', current_date, 'paypal', 'usd', 10000, 200, 9800, $4::date, current_date, $3, now())`,
				ids[n], fmt.Sprintf("u_%d", n), receiver, today())
			if err != nil {
				return err
			}
			err = ledger.Claim(ctx, tx, date.Of(time.Now()), ledger.Payout{
				ID: ids[n], PayeeID: fmt.Sprintf("u_%d", n), Rail: ledger.PayPal, Gross: money.New(10_000, "usd"), Fee: money.New(200, "usd"), Epoch: 1,
			})
			if err != nil {
				return err
			}
		}
		return b.payouts.FormBatches(ctx, tx, ids)
	})
	batchID, err := payout.BatchOf(t.Context(), b.pool, payPalPayout(0))
	require.NoError(t, err)
	return batchID
}

func (b bundle) awaitBatch(t *testing.T, batchID string, what string, is func(payout.Batch) bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		now, err := payout.GetBatch(t.Context(), b.pool, batchID)
		return err == nil && is(now)
	}, 2*time.Minute, 20*time.Millisecond, "the batch %s", what)
}

// heardOf has a batch looked at, as events of PayPal's do.
func (b bundle) heardOf(t *testing.T, batchID, cause string) {
	t.Helper()
	b.handOver(t, workflows.LookAtPayPalBatch(batchID, cause))
}

// batchOver waits until the batch's workflow has ended with its payouts in the given states, and holds
// both sides of the books to agree.
func (b bundle) batchOver(t *testing.T, batchID string, states ...payout.State) (workflowID string) {
	t.Helper()
	for n, state := range states {
		b.awaitPayout(t, payPalPayout(n), state)
	}
	workflowID = workflows.PayPalBatchID(batchID)
	require.NoError(t, b.temporal.GetWorkflow(t.Context(), workflowID, "").Get(t.Context(), nil))
	audit := b.simulator.PayPal().PayPalMoneyAudit()
	require.NoError(t, audit.Err())
	for n, state := range states {
		if state == payout.Paid {
			require.Equal(t, int64(9_800), audit.Payouts[payPalPayout(n)].Received)
		}
	}
	report, err := ledger.Verify(t.Context(), b.pool)
	require.NoError(t, err)
	require.NoError(t, report.Err())
	return workflowID
}

// decideOnItem has a person decide on a payout of a batch, whose workflow is started if none is running.
func (b bundle) decideOnItem(t *testing.T, batchID, update string, in workflows.ItemDecisionInput) error {
	t.Helper()
	start := b.startOrUse(workflows.PayPalBatchID(batchID), workflows.NamePayPalPayoutBatch, workflows.PayPalBatchInput{BatchID: batchID})
	return b.updateWithStart(t, start, update, in).Get(t.Context(), nil)
}

// playBatchStraight is a batch that is sent and read; PayPal tells of every payout.
func playBatchStraight(t *testing.T, b bundle) string {
	t.Helper()
	id := b.batch(t, "ada@example.org", "grace@example.org")
	b.awaitBatch(t, id, "is not sent", func(now payout.Batch) bool { return now.State == payout.BatchSent })
	b.heardOf(t, id, "event")
	return b.batchOver(t, id, payout.Paid, payout.Paid)
}

// playBatchOutage is an outage that begins with the batch's lost answer.
func playBatchOutage(t *testing.T, b bundle) string {
	t.Helper()
	require.NoError(t, b.simulator.SetFaults(
		simulator.Fault{Kind: simulator.ExecuteThenDrop, Method: http.MethodPost, PathPrefix: payPalPayouts, Times: 1},
		simulator.Fault{Kind: simulator.BadGateway, Provider: "paypal", Method: http.MethodPost, PathPrefix: payPalPayouts},
	))
	id := b.batch(t, "ada@example.org")
	b.awaitCount(t, 1, `SELECT count(*) FROM steps WHERE name = 'paypal_batch' AND status = 'blocked'`)
	require.NoError(t, b.simulator.ClearFaults())
	workflowID := b.batchOver(t, id, payout.Paid)
	require.Len(t, b.simulator.PayPal().PayPalBatches(), 1)
	return workflowID
}

// playBatchUnfunded is a batch that PayPal denies for want of funds, and that is sent again when there are
// some.
func playBatchUnfunded(t *testing.T, b bundle) string {
	t.Helper()
	require.NoError(t, b.simulator.PayPal().SetPayPalBalance("USD", 100))
	id := b.batch(t, "ada@example.org")
	b.awaitBatch(t, id, "does not wait for funds", func(now payout.Batch) bool { return now.UnfundedSince != nil })
	require.NoError(t, b.simulator.PayPal().SetPayPalBalance("USD", 1_000_000))
	b.heardOf(t, id, "denied")
	workflowID := b.batchOver(t, id, payout.Paid)
	require.Len(t, b.simulator.PayPal().PayPalBatches(), 2)
	return workflowID
}

// playBatchSplit is a batch that PayPal refuses for one of its payouts: its work ends with that, and
// another batch pays the other one.
func playBatchSplit(t *testing.T, b bundle) string {
	t.Helper()
	id := b.batch(t, "ada@example.org", "invalid-grace@example.org")
	workflowID := b.batchOver(t, id, payout.Paid, payout.Failed)
	require.Len(t, b.simulator.PayPal().PayPalBatches(), 1)
	return workflowID
}

// playBatchStopped is a batch that meets the kill switch, and goes on when it is on again.
func playBatchStopped(t *testing.T, b bundle) string {
	t.Helper()
	require.NoError(t, b.payouts.SetSwitch(t.Context(), false, "ops", "test"))
	id := b.batch(t, "ada@example.org")
	workflowID := workflows.PayPalBatchID(id)
	b.awaitMade(t, workflowID, workflows.ActivitySendPayPalBatch)
	require.NoError(t, b.payouts.SetSwitch(t.Context(), true, "ops", "test"))
	b.heardOf(t, id, "switch")
	return b.batchOver(t, id, payout.Paid)
}

// awaitMade waits until a workflow has made a move.
func (b bundle) awaitMade(t *testing.T, workflowID, move string) {
	t.Helper()
	require.Eventually(t, func() bool { return b.made(t.Context(), workflowID, move) > 0 }, time.Minute, 50*time.Millisecond, "%s is not made", move)
}

// made is how often the newest run of a workflow has made a move.
func (b bundle) made(ctx context.Context, workflowID, move string) (n int) {
	scheduled := map[int64]string{}
	events := b.temporal.GetWorkflowHistory(ctx, workflowID, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil { // it has not begun
			return n
		}
		if asked := event.GetActivityTaskScheduledEventAttributes(); asked != nil {
			scheduled[event.GetEventId()] = asked.GetActivityType().GetName()
		}
		if scheduled[event.GetActivityTaskCompletedEventAttributes().GetScheduledEventId()] == move {
			n++
		}
	}
	return n
}

// playBatchHeld is a batch whose answer was lost and that PayPal does not find. A person has it adopted.
func playBatchHeld(t *testing.T, b bundle) string {
	t.Helper()
	require.NoError(t, b.simulator.PayPal().SetPayouts(simulator.PayPalPayoutSettings{DuplicateWithoutLink: true, SearchLagMS: int(time.Hour / time.Millisecond)}))
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.ExecuteThenDrop, Method: http.MethodPost, PathPrefix: payPalPayouts, Times: 1}))
	id := b.batch(t, "ada@example.org")
	b.awaitCount(t, 1, `SELECT count(*) FROM provider_requests WHERE missing_since IS NOT NULL`)
	_, err := b.pool.Exec(t.Context(), `UPDATE provider_requests SET missing_since = missing_since - interval '4 hours'`)
	require.NoError(t, err)
	b.heardOf(t, id, "nothing")
	b.batchOver(t, id, payout.Held)
	adopt := workflows.ItemDecisionInput{PayoutID: payPalPayout(0), DecisionInput: workflows.DecisionInput{
		Actor: "ops", Outcome: string(payout.Paid), ProviderID: "NOSUCHBATCH",
	}}
	require.ErrorContains(t, b.decideOnItem(t, id, workflows.UpdateResolve, adopt), "neither a payout item nor a payout batch")
	adopt.ProviderID = b.simulator.PayPal().PayPalBatches()[0].ID
	require.NoError(t, b.decideOnItem(t, id, workflows.UpdateResolve, adopt))
	return b.batchOver(t, id, payout.Paid)
}

// playBatchCanceled is a batch of which one payout is unclaimed, and canceled by a person.
func playBatchCanceled(t *testing.T, b bundle) string {
	t.Helper()
	id := b.batch(t, "unclaimed-ada@example.org", "grace@example.org")
	b.batchOver(t, id, payout.Unclaimed, payout.Paid)
	cancel := workflows.ItemDecisionInput{PayoutID: payPalPayout(0), DecisionInput: workflows.DecisionInput{Actor: "ops"}}
	require.NoError(t, b.decideOnItem(t, id, workflows.UpdateCancel, cancel))
	return b.batchOver(t, id, payout.Canceled, payout.Paid)
}

// playBatchContinued is a batch with a long history, which it leaves behind while it waits.
func playBatchContinued(t *testing.T, b bundle) string {
	t.Helper()
	require.NoError(t, b.payouts.SetSwitch(t.Context(), false, "ops", "test"))
	id := b.batch(t, "ada@example.org")
	workflowID := workflows.PayPalBatchID(id)
	b.awaitMade(t, workflowID, workflows.ActivitySendPayPalBatch)
	for asked := 0; !b.continued(t, workflowID); asked++ {
		require.Less(t, asked, longHistory, "it does not continue as new")
		run, before := b.runID(t, workflowID), b.made(t.Context(), workflowID, workflows.ActivitySendPayPalBatch)
		b.heardOf(t, id, fmt.Sprintf("look-%d", asked))
		require.Eventually(t, func() bool {
			return b.made(t.Context(), workflowID, workflows.ActivitySendPayPalBatch) > before || b.runID(t, workflowID) != run
		}, time.Minute, 20*time.Millisecond, "nobody looks")
	}
	require.NoError(t, b.payouts.SetSwitch(t.Context(), true, "ops", "test"))
	b.heardOf(t, id, "switch")
	return b.batchOver(t, id, payout.Paid)
}

// A worker is killed while the answer to a batch is on its way; another one finds the batch made.
func TestABatchWhoseWorkerIsKilledIsPaidOnce(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]simulator.Fault{
		"while it is sent": {Kind: simulator.Stall, Method: http.MethodPost, PathPrefix: payPalPayouts},
		"while it is read": {Kind: simulator.Hang, Method: http.MethodGet, PathPrefix: payPalPayouts},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupOn(t, temporaltest.Start(t), []string{workflows.TaskQueue})
			kill := b.startMortal(t, workflows.ProviderTaskQueue(provider.PayPal), "PAYPAL_CLIENT_ID="+simulator.DefaultPayPalClientID,
				"PAYPAL_CLIENT_SECRET="+simulator.DefaultPayPalClientSecret, "PAYPAL_API_BASE="+b.simulator.PayPalURL())
			require.NoError(t, b.simulator.SetFaults(fault))
			id := b.batch(t, "ada@example.org", "grace@example.org")
			require.Eventually(t, func() bool {
				return len(b.simulator.Calls().To(fault.Method, payPalPayouts))+len(b.simulator.Calls().To(fault.Method, payPalPayouts+"/{id}")) > 0
			}, 2*time.Minute, 20*time.Millisecond)

			kill()
			require.NoError(t, b.simulator.ClearFaults())
			b.serve(t, []string{workflows.ProviderTaskQueue(provider.PayPal)})

			b.batchOver(t, id, payout.Paid, payout.Paid)
			require.Len(t, b.simulator.PayPal().PayPalBatches(), 1)
		})
	}
}

// A batch of 500 costs next to nothing a payout, however many events PayPal makes of it.
func TestABatchOf500CostsFewCallsAndActions(t *testing.T) {
	t.Parallel()
	const (
		size        = 500
		mostCalls   = 25
		mostActions = 50
	)
	b := setup(t)
	receivers := make([]string, size)
	states := make([]payout.State, size)
	for n := range receivers {
		receivers[n], states[n] = fmt.Sprintf("payee-%d@example.org", n), payout.Paid
	}
	id := b.batch(t, receivers...)
	b.awaitBatch(t, id, "is not sent", func(now payout.Batch) bool { return now.State == payout.BatchSent })
	for range size { // as the webhooks do: one message until it is read
		b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
			_, err := b.payouts.HintBatch(ctx, tx, id, "")
			return err
		})
	}
	b.heardOf(t, id, "events")

	workflowID := b.batchOver(t, id, states...)

	require.LessOrEqual(t, len(b.simulator.Calls()), mostCalls)
	require.LessOrEqual(t, actions(b.history(t, workflowID)), mostActions)
}
