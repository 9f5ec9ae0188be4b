package httpapi_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// waits stores a step that waits for a person.
func (b bundle) waits(t *testing.T, workflowID, name, customerID string) {
	t.Helper()
	b.exec(t, `INSERT INTO steps (workflow_id, name, customer_id, provider, status, waits_for, blocked_at, last_error)
		VALUES ($1, $2, nullif($3, ''), 'stripe', 'blocked', 'person', now(), 'stripe: held: payout_is_not_as_it_was_sent')`, workflowID, name, customerID)
}

// otherBatch is the id of a batch that there is not.
const otherBatch = "pb_000000000000000000000002"

// batch stores a batch of three payouts at PayPal.
func (b bundle) batch(t *testing.T) {
	t.Helper()
	b.exec(t, `INSERT INTO paypal_batches (id, run_date, currency, size) VALUES ($1, '2026-11-20', 'usd', 3)`, someBatch)
}

// A batch is shown with its step, to operators only.
func TestABatchAtPayPalIsShown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.plan(t)
	b.begin(t, "computing")
	b.batch(t)
	b.waits(t, "paypal-batch/"+someBatch, "paypal_batch", "")

	shown := b.call(t, "GET", "/v1/ops/paypal-batches/"+someBatch, operatorKey, "")

	require.Equal(t, http.StatusOK, shown.status, shown.text)
	require.Equal(t, "open", shown.body["status"])
	require.Equal(t, "2026-11-20", shown.body["run_date"])
	require.InDelta(t, 3, shown.body["payouts"], 0)
	require.Equal(t, "paypal-batch/"+someBatch, shown.body["workflow_id"])
	require.Equal(t, "person", shown.body["steps"].([]any)[0].(map[string]any)["waits_for"])
	requireProblem(t, b.call(t, "GET", "/v1/ops/paypal-batches/"+otherBatch, operatorKey, ""), http.StatusNotFound, "path.id")
	requireProblem(t, b.call(t, "GET", "/v1/ops/paypal-batches/"+someBatch, payoutsKey, ""), http.StatusForbidden, "")
}

// Every call that attention lists for a step does what it says: it tells the workflow that waits.
func TestEveryCallThatResolvesAStepWorks(t *testing.T) {
	t.Parallel()
	for workflowID, c := range map[string]struct {
		step, customer string
		calls          []string
		told           []string
	}{
		"onboarding/u_1": {
			"stripe_customer", "u_1",
			[]string{"/v1/ops/customers/u_1/steps/stripe_customer/retry", "/v1/ops/customers/u_1/steps/stripe_customer/skip"},
			[]string{"onboarding/u_1 retry", "onboarding/u_1 skip"},
		},
		"subscription-sync/u_1": {
			"stripe_subscriptions", "u_1",
			[]string{"/v1/ops/customers/u_1/steps/stripe_subscriptions/retry", "/v1/ops/customers/u_1/steps/stripe_subscriptions/skip"},
			[]string{"subscription-sync/u_1 retry", "subscription-sync/u_1 skip"},
		},
		"account-check/u_1": {
			"stripe_account", "u_1",
			[]string{"/v1/ops/customers/u_1/steps/stripe_account/retry", "/v1/ops/customers/u_1/steps/stripe_account/skip"},
			[]string{"account-check/u_1 retry", "account-check/u_1 skip"},
		},
		"payout/" + somePayout: {
			"stripe_payout", "u_1",
			[]string{somePayoutPath + somePayout + "/steps/stripe_payout/retry"},
			[]string{"payout/" + somePayout + " retry"},
		},
		"paypal-batch/" + someBatch: {
			"paypal_batch", "",
			[]string{"/v1/ops/paypal-batches/" + someBatch + "/steps/paypal_batch/retry"},
			[]string{"paypal-batch/" + someBatch + " retry"},
		},
		"payout-run/2026-11-20": {
			"stripe_funds", "",
			[]string{"/v1/ops/payout-runs/2026-11-20/steps/stripe_funds/retry"},
			[]string{"payout-run/2026-11-20 retry"},
		},
	} {
		t.Run(workflowID, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.plan(t)
			b.begin(t, "computing")
			b.batch(t)
			b.exec(t, `DELETE FROM steps`)
			b.waits(t, workflowID, c.step, c.customer)
			b.agreeing()

			items := b.attention(t, "step")

			require.Len(t, items, 1)
			var listed []string
			for _, r := range items[0]["resolve"].([]any) {
				call := r.(map[string]any)
				listed = append(listed, call["path"].(string))
				answer := b.call(t, call["method"].(string), call["path"].(string), operatorKey, `{"note":"mended"}`)
				require.Equal(t, http.StatusOK, answer.status, answer.text)
			}
			require.Equal(t, c.calls, listed)
			require.Equal(t, c.told, b.temporal.asked())
			require.Equal(t, len(c.calls), b.count(t, `SELECT count(*) FROM operator_actions
				WHERE actor = 'olga' AND note = 'mended' AND subject = '`+workflowID+`/`+c.step+`'`))
		})
	}
}

// A step that there is not, or that does not wait, is not told anything.
func TestStepsOfPayoutsThatDoNotWait(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.plan(t)
	b.begin(t, "computing")
	b.agreeing()
	b.waits(t, "payout/"+somePayout, "stripe_payout", "u_1")
	b.waits(t, "payout-run/2026-11-20", "stripe_funds", "")
	b.batch(t)
	b.waits(t, "paypal-batch/"+someBatch, "paypal_batch", "")
	const batches = "/v1/ops/paypal-batches/"
	const runs = "/v1/ops/payout-runs/"
	retry := func(path string) reply { return b.call(t, "POST", path+"/retry", operatorKey, "") }

	requireProblem(t, retry(somePayoutPath+somePayout+"/steps/nonsense"), http.StatusNotFound, "path.step")
	requireProblem(t, retry(somePayoutPath+"po_1/steps/stripe_payout"), http.StatusNotFound, "path.id")
	requireProblem(t, retry(runs+"2026-11-20/steps/nonsense"), http.StatusNotFound, "path.step")
	requireProblem(t, retry(runs+"2026-11-19/steps/stripe_funds"), http.StatusNotFound, "path.date")
	requireProblem(t, retry(runs+"yesterday/steps/stripe_funds"), 422, "path.date")
	requireProblem(t, retry(batches+someBatch+"/steps/nonsense"), http.StatusNotFound, "path.step")
	requireProblem(t, retry(batches+otherBatch+"/steps/paypal_batch"), http.StatusNotFound, "path.id")
	requireProblem(t, retry(batches+"pb_1/steps/paypal_batch"), http.StatusNotFound, "path.id")
	requireProblem(t, b.call(t, "POST", batches+someBatch+"/steps/paypal_batch/retry", operatorKey, `{"note":"\u0000"}`), 422, "body.note")
	requireProblem(t, b.call(t, "POST", batches+someBatch+"/steps/paypal_batch/retry", payoutsKey, ""), http.StatusForbidden, "")
	requireProblem(t, b.call(t, "POST", runs+"2026-11-20/steps/stripe_funds/retry", operatorKey, `{"note":"\u0000"}`), 422, "body.note")
	requireProblem(t, b.call(t, "POST", runs+"2026-11-20/steps/stripe_funds/retry", payoutsKey, ""), http.StatusForbidden, "")
	b.exec(t, `UPDATE steps SET status = 'retrying', waits_for = NULL, blocked_at = NULL`)
	requireProblem(t, retry(somePayoutPath+somePayout+"/steps/stripe_payout"), http.StatusConflict, "path.step")
	requireProblem(t, retry(runs+"2026-11-20/steps/stripe_funds"), http.StatusConflict, "path.step")
	requireProblem(t, retry(batches+someBatch+"/steps/paypal_batch"), http.StatusConflict, "path.step")
	require.Empty(t, b.temporal.asked())
	require.Empty(t, b.acts(t))
}
