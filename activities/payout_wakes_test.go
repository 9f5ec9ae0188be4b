package activities_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/activities"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/workflows"
)

// wakePayouts has payouts told of a cause, and gives how many were.
func (b bundle) wakePayouts(t *testing.T, in workflows.PayoutWakeInput) int {
	t.Helper()
	value, err := b.env.ExecuteActivity(workflows.ActivityWakePayouts, in)
	require.NoError(t, err)
	var woken workflows.PayoutWakeResult
	require.NoError(t, value.Get(&woken))
	return woken.Woken
}

// More payouts than are in a slice are told, each once of a cause, however often they are.
func TestAllThatWaitAreWokenOnce(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	b.standard(t)
	b.exec(t, `UPDATE payouts SET handed_at = now()`)
	const more = 501
	b.exec(t, `INSERT INTO payouts (id, payee_id, kind, run_date, attempt, part, due_date, method, currency, gross, fee, net, period_end,
			stripe_account_id, destination_id, handed_at)
		SELECT 'po_' || lpad((1 + n)::text, 24, '0'), payee_id, kind, run_date, attempt, 1 + n, due_date, method, currency, gross, fee, net, period_end,
			stripe_account_id, destination_id, handed_at FROM payouts, generate_series(1, 501) AS n`)
	told := func() int {
		return b.count(t, `SELECT count(*) FROM outbox WHERE message->>'signal' = 'provider_event' AND key LIKE 'payout/%/woken/switch/1'`)
	}

	for range 2 {
		require.Equal(t, 1+more, b.wakePayouts(t, workflows.PayoutWakeInput{Cause: "switch/1"}))
		require.Equal(t, 1+more, told())
	}
	require.Equal(t, 1+more, b.wakePayouts(t, workflows.PayoutWakeInput{RunDate: date.Of(time.Now()), Cause: "run/1"}))
	require.Zero(t, b.wakePayouts(t, workflows.PayoutWakeInput{RunDate: date.Of(time.Now()).AddDays(-1), Cause: "run/2"}), "of another day")
}

// Telling that broke off goes on behind the last slice that was told.
func TestWakingGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	b.standard(t)
	b.exec(t, `UPDATE payouts SET handed_at = now()`)
	b.env.SetHeartbeatDetails(struct {
		After  string                     `json:"after"`
		Result workflows.PayoutWakeResult `json:"result"`
	}{first, workflows.PayoutWakeResult{Woken: 500}})

	require.Equal(t, 500, b.wakePayouts(t, workflows.PayoutWakeInput{Cause: "switch/1"}))
	require.Zero(t, b.count(t, `SELECT count(*) FROM outbox WHERE key LIKE '%woken%'`))
}

// Batches at PayPal are told as payouts at Stripe are, once of a cause, and after a crash the rest of them.
func TestBatchesThatWaitAreWokenOnce(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	b.register(workflows.ActivityWakePayouts, activities.NewPayoutRuns(b.pool, b.store, found{t}).WakePayouts)
	batchID := b.batch(t, ada)
	told := func() int {
		return b.count(t, `SELECT count(*) FROM outbox WHERE message->>'signal' = 'provider_event' AND key = 'paypal-batch/`+batchID+`/woken/switch/1'`)
	}

	b.env.SetHeartbeatDetails(struct {
		AfterBatch string `json:"after_batch"`
	}{batchID})
	require.Zero(t, b.wakePayouts(t, workflows.PayoutWakeInput{Cause: "switch/1"}), "it was told before the crash")
	require.Zero(t, told())
	b.env.SetHeartbeatDetails(nil)
	for range 2 {
		require.Equal(t, 1, b.wakePayouts(t, workflows.PayoutWakeInput{Cause: "switch/1"}))
		require.Equal(t, 1, told())
	}
	require.Equal(t, 1, b.wakePayouts(t, workflows.PayoutWakeInput{RunDate: date.Of(time.Now()), Cause: "run/1"}))
	require.Zero(t, b.wakePayouts(t, workflows.PayoutWakeInput{RunDate: date.Of(time.Now()).AddDays(-1), Cause: "run/2"}), "of another day")
	b.send(t, batchID)
	require.Zero(t, b.wakePayouts(t, workflows.PayoutWakeInput{Cause: "switch/2"}), "PayPal has it")
}
