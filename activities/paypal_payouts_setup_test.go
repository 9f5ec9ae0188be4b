package activities_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/activities"
	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

// batchBundle is a platform with 10,000,000.00 USD at PayPal, payees who have earned 100.00 USD each, and
// the moves of batches. Each move is made by a client of its own, as in payoutBundle.
type batchBundle struct {
	bundle

	store *payout.Store
	url   *string // of what stands for PayPal
}

func setupBatches(t *testing.T) batchBundle {
	t.Helper()
	inner := setup(t)
	url := inner.simulator.PayPalURL()
	b := batchBundle{bundle: inner, store: payout.NewStore(inner.pool, payout.DefaultPolicy(), feed.NewWriter(nil), workflows.PayoutWork()), url: &url}
	b.registerMoves(t)
	return b
}

// clientOf is a client of the simulated PayPal.
func (b batchBundle) clientOf(t *testing.T) *paypal.Client {
	t.Helper()
	client, err := paypal.New(paypal.Config{
		ClientID: simulator.DefaultPayPalClientID, ClientSecret: simulator.DefaultPayPalClientSecret, APIBase: *b.url,
		Timeout: b.patience(),
	})
	require.NoError(t, err)
	return client
}

func (b batchBundle) registerMoves(t *testing.T) {
	t.Helper()
	moves := func() *activities.PayPalPayouts {
		return activities.NewPayPalPayouts(b.pool, b.store, b.clientOf(t), nil, noTurns{}, quiet())
	}
	for name, do := range map[string]func(*activities.PayPalPayouts, context.Context, workflows.PayPalBatchStepInput) (workflows.PayPalBatchMove, error){
		workflows.ActivitySendPayPalBatch: (*activities.PayPalPayouts).SendPayPalBatch,
		workflows.ActivityReadPayPalBatch: (*activities.PayPalPayouts).ReadPayPalBatch,
	} {
		b.register(name, func(ctx context.Context, in workflows.PayPalBatchStepInput) (workflows.PayPalBatchMove, error) {
			return do(moves(), ctx, in)
		})
	}
	for name, do := range map[string]func(*activities.PayPalPayouts, context.Context, workflows.PayPalItemDecisionInput) (workflows.PayPalBatchMove, error){
		workflows.ActivityCancelPayPalItem:  (*activities.PayPalPayouts).CancelPayPalItem,
		workflows.ActivityResolvePayPalItem: (*activities.PayPalPayouts).ResolvePayPalItem,
	} {
		b.register(name, func(ctx context.Context, in workflows.PayPalItemDecisionInput) (workflows.PayPalBatchMove, error) {
			return do(moves(), ctx, in)
		})
	}
	b.register(workflows.ActivityPlanPayPalBatch, activities.NewPayouts(b.pool).PlanPayPalBatch)
}

// payeeOf is the payee of the nth payout.
func payeeOf(n int) string { return fmt.Sprintf("u_%d", n) }

// payoutOf is the id of the nth payout.
func payoutOf(n int) string { return fmt.Sprintf("po_%024d", n) }

// batch forms one batch of payouts of 98.00 USD net, one to each receiver's address, and gives its id.
func (b batchBundle) batch(t *testing.T, receivers ...string) (batchID string) {
	t.Helper()
	ids := make([]string, len(receivers))
	for n, receiver := range receivers {
		b.payee(t, n, receiver)
		ids[n] = payoutOf(n)
		b.freeze(t, ids[n], payeeOf(n), receiver)
	}
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.FormBatches(ctx, tx, ids) })
	return b.batchOf(t, ids[0])
}

func (b batchBundle) payee(t *testing.T, n int, receiver string) {
	t.Helper()
	_, _, err := customersOn(b.pool).Create(t.Context(), customer.Profile{ID: payeeOf(n), Email: payeeOf(n) + "@example.com", Name: "Ada"})
	require.NoError(t, err)
	b.moveTo(t, n, receiver)
	_, _, err = b.store.PutEarning(t.Context(), payeeOf(n), payout.Earning{
		ID: "e_1", Kind: payout.Sale, Amount: money.New(10_000, "usd"), OccurredAt: time.Now().AddDate(0, 0, -20),
	})
	require.NoError(t, err)
}

// moveTo gives a payee an address at PayPal.
func (b batchBundle) moveTo(t *testing.T, n int, receiver string) {
	t.Helper()
	_, _, err := b.store.PutPayee(t.Context(), payout.Profile{
		ID: payeeOf(n), Email: payeeOf(n) + "@example.com", Country: "US", Currency: "usd", Rail: payout.RailPayPal, PayPalEmail: receiver,
		Schedule: payout.Weekly,
	})
	require.NoError(t, err)
}

// freeze stores a payout as a run does: with its money claimed.
func (b batchBundle) freeze(t *testing.T, payoutID, payeeID, receiver string) {
	t.Helper()
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO payout_runs (date, cause, state, computed_at, ended_at) VALUES (current_date, 'test', 'ended', now(), now())
			ON CONFLICT DO NOTHING`)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO payouts (id, payee_id, kind, run_date, attempt, due_date, method, currency, gross, fee, net, period_end,
				destination_id, handed_at)
			VALUES ($1, $2, 'scheduled', current_date, (SELECT 1 + count(*) FROM payouts), current_date, 'paypal', 'usd', 10000, 200, 9800,
				current_date, $3, now())`, payoutID, payeeID, receiver)
		if err != nil {
			return err
		}
		return ledger.Claim(ctx, tx, date.Of(time.Now()), ledger.Payout{
			ID: payoutID, PayeeID: payeeID, Rail: ledger.PayPal, Gross: money.New(10_000, "usd"), Fee: money.New(200, "usd"), Epoch: 1,
		})
	})
}

func (b batchBundle) inTx(t *testing.T, do func(context.Context, pgx.Tx) error) {
	t.Helper()
	require.NoError(t, postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error { return do(t.Context(), tx) }))
}

func (b batchBundle) now(t *testing.T, payoutID string) payout.Payout {
	t.Helper()
	p, err := payout.GetPayout(t.Context(), b.pool, payoutID)
	require.NoError(t, err)
	return p
}

func (b batchBundle) batchNow(t *testing.T, batchID string) payout.Batch {
	t.Helper()
	now, err := payout.GetBatch(t.Context(), b.pool, batchID)
	require.NoError(t, err)
	return now
}

func (b batchBundle) batchOf(t *testing.T, payoutID string) string {
	t.Helper()
	batchID, err := payout.BatchOf(t.Context(), b.pool, payoutID)
	require.NoError(t, err)
	return batchID
}

// take makes one attempt at a move.
func (b batchBundle) take(t *testing.T, batchID, activity string) (next workflows.PayPalBatchMove, err error) {
	t.Helper()
	value, err := b.env.ExecuteActivity(activity, workflows.PayPalBatchStepInput{BatchID: batchID, Step: workflows.StepPayPalBatch})
	if err == nil {
		require.NoError(t, value.Get(&next))
	}
	return next, err
}

// must makes one attempt at a move that succeeds.
func (b batchBundle) must(t *testing.T, batchID, activity string) workflows.PayPalBatchMove {
	t.Helper()
	next, err := b.take(t, batchID, activity)
	require.NoError(t, err, activity)
	return next
}

func (b batchBundle) send(t *testing.T, batchID string) workflows.PayPalBatchMove {
	t.Helper()
	return b.must(t, batchID, workflows.ActivitySendPayPalBatch)
}

func (b batchBundle) read(t *testing.T, batchID string) workflows.PayPalBatchMove {
	t.Helper()
	return b.must(t, batchID, workflows.ActivityReadPayPalBatch)
}

func (b batchBundle) plan(t *testing.T, batchID string, look bool) workflows.PayPalBatchPlan {
	t.Helper()
	value, err := b.env.ExecuteActivity(workflows.ActivityPlanPayPalBatch, workflows.PlanPayPalBatchInput{BatchID: batchID, Look: look})
	require.NoError(t, err)
	var plan workflows.PayPalBatchPlan
	require.NoError(t, value.Get(&plan))
	return plan
}

// decide carries a person's decision on a payout out.
func (b batchBundle) decide(t *testing.T, activity, payoutID string, decision workflows.DecisionInput) error {
	t.Helper()
	decision.Actor = "ops"
	_, err := b.env.ExecuteActivity(activity, workflows.PayPalItemDecisionInput{
		BatchID: b.batchOf(t, payoutID), Decision: workflows.ItemDecisionInput{PayoutID: payoutID, DecisionInput: decision},
	})
	return err
}

// insist repeats the sending as Temporal does, until it is known what came of it.
func (b batchBundle) insist(t *testing.T, batchID string) workflows.PayPalBatchMove {
	t.Helper()
	const most = 6
	var err error
	for range most {
		var next workflows.PayPalBatchMove
		if next, err = b.take(t, batchID, workflows.ActivitySendPayPalBatch); err == nil {
			return next
		}
	}
	require.NoError(t, err)
	return workflows.PayPalBatchMove{}
}

// under makes one attempt at sending that meets a fault.
func (b batchBundle) under(t *testing.T, batchID string, fault simulator.Fault) error {
	t.Helper()
	fault.Provider, fault.Method, fault.PathPrefix = "paypal", "POST", "/v1/payments/payouts"
	require.NoError(t, b.simulator.SetFaults(fault))
	_, err := b.take(t, batchID, workflows.ActivitySendPayPalBatch)
	require.NoError(t, b.simulator.ClearFaults())
	return err
}

// pass makes everything that is stored of requests and batches so much older.
func (b batchBundle) pass(t *testing.T, interval string) {
	t.Helper()
	b.exec(t, `UPDATE provider_requests SET last_sent_at = last_sent_at - $1::interval, missing_since = missing_since - $1::interval,
		first_sent_at = first_sent_at - $1::interval`, interval)
	b.exec(t, `UPDATE paypal_batches SET state_since = state_since - $1::interval, unfunded_since = unfunded_since - $1::interval,
		sent_at = sent_at - $1::interval, checked_at = checked_at - $1::interval`, interval)
}

// paid holds the payouts to have been paid, each once, and both sides of the books to agree.
func (b batchBundle) paid(t *testing.T, payouts ...string) {
	t.Helper()
	for _, id := range payouts {
		require.Equal(t, payout.Paid, b.now(t, id).State, id)
		require.Equal(t, int64(9_800), b.audit(t).Payouts[id].Received)
	}
	b.sound(t)
}

func (b batchBundle) audit(t *testing.T) simulator.PayPalMoneyAudit {
	t.Helper()
	audit := b.simulator.PayPal().PayPalMoneyAudit()
	require.NoError(t, audit.Err())
	require.Empty(t, audit.Duplicates)
	return audit
}

// released holds a payout to have ended without being paid: the money is the payee's.
func (b batchBundle) released(t *testing.T, payoutID string, state payout.State, code string) {
	t.Helper()
	p := b.now(t, payoutID)
	require.Equal(t, state, p.State)
	require.Equal(t, code, p.Reason)
	require.Equal(t, int64(10_000), b.balance(t, p.PayeeID))
	if moved := b.audit(t).Payouts[payoutID]; moved != nil {
		require.Zero(t, moved.LiveItems)
	}
	b.sound(t)
}

func (b batchBundle) balance(t *testing.T, payeeID string) int64 {
	t.Helper()
	has, err := ledger.Balance(t.Context(), b.pool, ledger.PayeeAccount(payeeID), "usd")
	require.NoError(t, err)
	return has.Minor
}

// sound holds PayPal's books and ours against what must always be true.
func (b batchBundle) sound(t *testing.T) {
	t.Helper()
	_ = b.audit(t)
	report, err := ledger.Verify(t.Context(), b.pool)
	require.NoError(t, err)
	require.NoError(t, report.Err())
}

// posts counts how often batches were sent.
func (b batchBundle) posts() int { return len(b.simulator.Calls().To("POST", "/v1/payments/payouts")) }

// request is the last one of a batch's sending.
func (b batchBundle) request(t *testing.T, batchID string) provider.Request {
	t.Helper()
	last, err := provider.NewRequests().Latest(t.Context(), b.pool, provider.Operation{Provider: provider.PayPal, Operation: "payout_batch", Subject: batchID})
	require.NoError(t, err)
	return last
}

func (b batchBundle) settings(t *testing.T, settings simulator.PayPalPayoutSettings) {
	t.Helper()
	require.NoError(t, b.simulator.PayPal().SetPayouts(settings))
}

func (b batchBundle) turn(t *testing.T, enabled bool) {
	t.Helper()
	require.NoError(t, b.store.SetSwitch(t.Context(), enabled, "ops", "test"))
}
