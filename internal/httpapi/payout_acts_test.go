package httpapi_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/workflows"
)

const somePayoutPath = "/v1/ops/payouts/"

// plan stores a payout of u_1 of which nothing was sent, claimed in the ledger.
func (b bundle) plan(t *testing.T) {
	t.Helper()
	b.pay(t, "u_1")
	b.exec(t, `INSERT INTO payout_requests (payee_id, id, currency, quoted_net) VALUES ('u_1', 'm_1', 'usd', 9708)`)
	b.exec(t, `INSERT INTO payouts (id, payee_id, kind, manual_id, method, currency, gross, fee, net, period_end, due_date, stripe_account_id, destination_id)
		VALUES ($1, 'u_1', 'manual', 'm_1', 'stripe_instant', 'usd', 10000, 292, 9708, '2026-11-19', '2026-11-20', 'acct_u1', 'ba_1')`, somePayout)
	planned, err := payout.GetPayout(t.Context(), b.pool, somePayout)
	require.NoError(t, err)
	require.NoError(t, postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
		return ledger.Claim(t.Context(), tx, planned.DueDate, ledger.Payout{
			ID: planned.ID, PayeeID: planned.PayeeID, Rail: "stripe", AccountID: planned.StripeAccountID, Gross: planned.Gross, Fee: planned.Fee, Epoch: 1,
		})
	}))
}

// agreeing is a Temporal whose workflows do as they are told.
func (b bundle) agreeing() { b.temporal.update = func(context.Context) error { return nil } }

// refusing is one whose workflows refuse with a sentence.
func (b bundle) refusing(sentence string) {
	b.temporal.update = func(context.Context) error {
		return temporal.NewNonRetryableApplicationError(sentence, workflows.ErrConflict, nil)
	}
}

func TestAPlannedPayoutIsCanceledInPostgresAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.plan(t)

	r := b.call(t, "POST", somePayoutPath+somePayout+"/cancel", operatorKey, `{"note":"asked for by phone"}`)
	again := b.call(t, "POST", somePayoutPath+somePayout+"/cancel", operatorKey, "")

	require.Equal(t, http.StatusOK, r.status, r.text)
	require.Equal(t, "canceled", r.body["status"])
	history := r.body["history"].([]any)
	require.Equal(t, "olga", history[len(history)-1].(map[string]any)["actor"])
	require.Equal(t, []string{"olga cancel_payout " + somePayout + ": asked for by phone"}, b.acts(t))
	require.Empty(t, b.temporal.asked())
	require.Equal(t, money(0), b.balance(t)["in_payout"])
	require.Equal(t, http.StatusOK, again.status, again.text)
	require.Equal(t, "canceled", again.body["status"])
}

func TestAPayoutAtWorkIsCanceledByItsWorkflow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.plan(t)
	b.exec(t, `UPDATE payouts SET state = 'sending'`)
	b.agreeing()

	r := b.call(t, "POST", somePayoutPath+somePayout+"/cancel", operatorKey, `{"note":"n"}`)

	require.Equal(t, http.StatusOK, r.status, r.text)
	require.Equal(t, []string{"payout/" + somePayout + " cancel"}, b.temporal.asked())
	require.Equal(t, []string{"olga ask_to_cancel_payout " + somePayout + ": n"}, b.acts(t))

	b.refusing("the money is at the bank already")
	refused := b.call(t, "POST", somePayoutPath+somePayout+"/cancel", operatorKey, "")
	requireProblem(t, refused, http.StatusConflict, "path.id")
	require.Equal(t, "the money is at the bank already", refused.body["detail"])
	b.temporal.update = nil
	requireProblem(t, b.call(t, "POST", somePayoutPath+somePayout+"/cancel", operatorKey, ""), http.StatusServiceUnavailable, "")
}

func TestASecondMovementIsRecordedByThePayoutsWorkflow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.hold(t)
	b.agreeing()
	path := somePayoutPath + somePayout + "/record-duplicate"

	r := b.call(t, "POST", path, operatorKey, `{"provider_id":"tr_2","note":"seen there"}`)

	require.Equal(t, http.StatusOK, r.status, r.text)
	require.Equal(t, []string{"payout/" + somePayout + " record_duplicate"}, b.temporal.asked())
	require.Equal(t, []string{"olga ask_to_record_duplicate_of_payout " + somePayout + ": seen there"}, b.acts(t))
	requireProblem(t, b.call(t, "POST", path, operatorKey, `{"provider_id":"tr_2","note":" "}`), 422, "body.note")
	requireProblem(t, b.call(t, "POST", path, operatorKey, `{"provider_id":"","note":"n"}`), 422, "body.provider_id")
	requireProblem(t, b.call(t, "POST", path, operatorKey, `{"provider_id":"\u0000","note":"n"}`), 422, "body.provider_id")
	requireProblem(t, b.call(t, "POST", path, payoutsKey, `{"provider_id":"tr_2","note":"n"}`), http.StatusForbidden, "")
	b.refusing("tr_1 is this payout's own transfer")
	requireProblem(t, b.call(t, "POST", path, operatorKey, `{"provider_id":"tr_1","note":"n"}`), http.StatusConflict, "path.id")
}

// inBatch makes the payout one by PayPal that is in a batch.
func (b bundle) inBatch(t *testing.T, state string) {
	t.Helper()
	b.exec(t, `INSERT INTO paypal_batches (id, currency, size) VALUES ($1, 'usd', 1)`, someBatch)
	b.pay(t, "u_1")
	b.exec(t, `INSERT INTO payout_runs (date, cause, state, computed_at, ended_at) VALUES ('2026-11-20', 'test', 'ended', now(), now())`)
	b.exec(t, `INSERT INTO payouts (id, payee_id, kind, run_date, method, currency, gross, fee, net, period_end, due_date, destination_id, batch_id)
		VALUES ($1, 'u_1', 'scheduled', '2026-11-20', 'paypal', 'usd', 10000, 200, 9800, '2026-11-13', '2026-11-20', 'ada@example.com', $2)`, somePayout, someBatch)
	b.exec(t, `UPDATE payouts SET state = 'sending'`)
	if state != "sending" {
		b.exec(t, `UPDATE payouts SET state = $1, provider_payout_id = 'ITEM1'`, state)
	}
}

const someBatch = "pb_000000000000000000000001"

// A payout by PayPal has no workflow of its own: that of its batch decides.
func TestAPayoutInABatchIsDecidedByTheBatchsWorkflow(t *testing.T) {
	t.Parallel()
	t.Run("canceled", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.inBatch(t, "unclaimed")
		b.agreeing()
		r := b.call(t, "POST", somePayoutPath+somePayout+"/cancel", operatorKey, `{"note":"n"}`)
		require.Equal(t, http.StatusOK, r.status, r.text)
		require.Equal(t, []string{"paypal-batch/" + someBatch + " cancel"}, b.temporal.asked())
		require.Equal(t, []any{workflows.ItemDecisionInput{PayoutID: somePayout, DecisionInput: workflows.DecisionInput{Actor: "olga"}}}, b.temporal.told())
		b.refusing("PayPal says that the payout is SUCCESS")
		requireProblem(t, b.call(t, "POST", somePayoutPath+somePayout+"/cancel", operatorKey, ""), http.StatusConflict, "path.id")
	})
	t.Run("resolved", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.inBatch(t, "held")
		b.agreeing()
		r := b.call(t, "POST", somePayoutPath+somePayout+"/resolve", operatorKey, `{"outcome":"paid","provider_id":"BATCH1","note":"n"}`)
		require.Equal(t, http.StatusOK, r.status, r.text)
		require.Equal(t, []string{"paypal-batch/" + someBatch + " resolve"}, b.temporal.asked())
		require.Equal(t, []any{workflows.ItemDecisionInput{
			PayoutID: somePayout, DecisionInput: workflows.DecisionInput{Actor: "olga", Outcome: "paid", ProviderID: "BATCH1"},
		}}, b.temporal.told())
	})
	t.Run("paid twice", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.inBatch(t, "paid")
		b.agreeing()
		path := somePayoutPath + somePayout + "/record-duplicate"
		r := b.call(t, "POST", path, operatorKey, `{"provider_id":"ITEM2","note":"n"}`)
		require.Equal(t, http.StatusOK, r.status, r.text)
		require.Equal(t, []string{"paypal-batch/" + someBatch + " record_duplicate"}, b.temporal.asked())
		require.Equal(t, []any{workflows.ItemDecisionInput{
			PayoutID: somePayout, DecisionInput: workflows.DecisionInput{Actor: "olga", ProviderID: "ITEM2"},
		}}, b.temporal.told())
	})
	t.Run("its step is retried", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.inBatch(t, "sending")
		b.waits(t, "paypal-batch/"+someBatch, "paypal_batch", "")
		b.agreeing()
		r := b.call(t, "POST", somePayoutPath+somePayout+"/steps/paypal_batch/retry", operatorKey, `{"note":"n"}`)
		require.Equal(t, http.StatusOK, r.status, r.text)
		require.Equal(t, []string{"paypal-batch/" + someBatch + " retry"}, b.temporal.asked())
	})
}

func TestWhatCannotBeCanceledAsksNobody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.hold(t)
	b.agreeing()
	held := b.call(t, "POST", somePayoutPath+somePayout+"/cancel", operatorKey, "")
	requireProblem(t, held, http.StatusConflict, "path.id")
	require.Contains(t, held.body["detail"], "resolve")
	b.exec(t, `UPDATE payouts SET state = 'failed', released = true`)
	failed := b.call(t, "POST", somePayoutPath+somePayout+"/cancel", operatorKey, "")
	requireProblem(t, failed, http.StatusConflict, "path.id")
	require.Contains(t, failed.body["detail"], "is failed")
	requireProblem(t, b.call(t, "POST", somePayoutPath+"po_1/cancel", operatorKey, ""), http.StatusNotFound, "path.id")
	requireProblem(t, b.call(t, "POST", somePayoutPath+somePayout+"/cancel", operatorKey, `{"note":"\u0000"}`), 422, "body.note")
	requireProblem(t, b.call(t, "POST", somePayoutPath+somePayout+"/cancel", payoutsKey, ""), http.StatusForbidden, "")
	require.Empty(t, b.temporal.asked())
	require.Empty(t, b.acts(t))
}

func TestAHeldPayoutIsResolvedByItsWorkflow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.hold(t)
	b.agreeing()
	resolve := somePayoutPath + somePayout + "/resolve"

	for _, body := range []string{
		`{"outcome":"paid","provider_id":"po_at_stripe","note":"seen there"}`, `{"outcome":"failed","note":"not there"}`,
		`{"outcome":"failed","force":true,"note":"Stripe says so by phone"}`,
	} {
		r := b.call(t, "POST", resolve, operatorKey, body)
		require.Equal(t, http.StatusOK, r.status, r.text)
		require.Equal(t, somePayout, r.body["id"])
	}

	require.Equal(t, []string{"payout/" + somePayout + " resolve"}, b.temporal.asked()[:1])
	require.Equal(t, []any{
		workflows.DecisionInput{Actor: "olga", Outcome: "paid", ProviderID: "po_at_stripe"},
		workflows.DecisionInput{Actor: "olga", Outcome: "failed"},
		workflows.DecisionInput{Actor: "olga", Outcome: "failed", Force: true},
	}, b.temporal.told())
	require.Equal(t, []string{
		"olga ask_to_resolve_payout_paid " + somePayout + ": seen there",
		"olga ask_to_resolve_payout_failed " + somePayout + ": not there",
		"olga ask_to_resolve_payout_failed_by_force " + somePayout + ": Stripe says so by phone",
	}, b.acts(t))
}

func TestAResolutionThatTheProviderContradictsIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.hold(t)
	b.refusing("Stripe says that the payout is in transit")
	r := b.call(t, "POST", somePayoutPath+somePayout+"/resolve", operatorKey, `{"outcome":"failed","note":"n"}`)
	requireProblem(t, r, http.StatusConflict, "path.id")
	require.Equal(t, "Stripe says that the payout is in transit", r.body["detail"])
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM payouts WHERE state = 'held'`))
}

func TestOnlyHeldPayoutsAreResolved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.plan(t)
	b.agreeing()
	r := b.call(t, "POST", somePayoutPath+somePayout+"/resolve", operatorKey, `{"outcome":"failed","note":"n"}`)
	requireProblem(t, r, http.StatusConflict, "path.id")
	require.Contains(t, r.body["detail"], "is planned")
	require.Empty(t, b.temporal.asked())
}

func TestBadResolutionsNameTheField(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.hold(t)
	b.agreeing()
	cases := map[string]struct{ body, location string }{
		"no outcome":               {`{"note":"n"}`, "body.outcome"},
		"another outcome":          {`{"outcome":"lost","note":"n"}`, "body.outcome"},
		"no reason":                {`{"outcome":"failed"}`, "body.note"},
		"an empty reason":          {`{"outcome":"failed","note":" "}`, "body.note"},
		"a reason with a NUL":      {`{"outcome":"failed","note":"\u0000"}`, "body.note"},
		"paid without an id":       {`{"outcome":"paid","note":"n"}`, "body.provider_id"},
		"failed with an id":        {`{"outcome":"failed","provider_id":"po_2","note":"n"}`, "body.provider_id"},
		"an id with a NUL":         {`{"outcome":"paid","provider_id":"\u0000","note":"n"}`, "body.provider_id"},
		"a long id":                {`{"outcome":"paid","provider_id":"` + strings.Repeat("x", 129) + `","note":"n"}`, "body.provider_id"},
		"paid by force":            {`{"outcome":"paid","provider_id":"po_2","force":true,"note":"n"}`, "body.force"},
		"a field that there isn't": {`{"outcome":"failed","note":"n","sure":true}`, "body.sure"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			requireProblem(t, b.call(t, "POST", somePayoutPath+somePayout+"/resolve", operatorKey, c.body), 422, c.location)
		})
	}
	requireProblem(t, b.call(t, "POST", somePayoutPath+"po_1/resolve", operatorKey, `{"outcome":"failed","note":"n"}`), http.StatusNotFound, "path.id")
	require.Empty(t, b.temporal.asked())
	require.Empty(t, b.acts(t))
}

func TestARetryIsANewPayout(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.mayBePaidInstantly(t)
	b.earn(t, "u_1", "sale", 10000, yesterday())
	first := b.call(t, "POST", "/v1/payees/u_1/payouts", payoutsKey, `{"id":"m_1","quoted_net":{"amount":9708,"currency":"usd"}}`)
	require.Equal(t, http.StatusCreated, first.status, first.text)
	id := first.body["payouts"].([]any)[0].(map[string]any)["id"].(string)
	requireProblem(t, b.call(t, "POST", somePayoutPath+id+"/retry", operatorKey, ""), http.StatusConflict, "path.id")
	require.Equal(t, http.StatusOK, b.call(t, "POST", somePayoutPath+id+"/cancel", operatorKey, "").status)

	again := b.call(t, "POST", somePayoutPath+id+"/retry", operatorKey, `{"note":"the bank is right now"}`)
	repeated := b.call(t, "POST", somePayoutPath+id+"/retry", operatorKey, "")

	require.Equal(t, http.StatusOK, again.status, again.text)
	require.Equal(t, id, again.body["retry_of"])
	require.Equal(t, "retry", again.body["kind"])
	require.Equal(t, "planned", again.body["status"])
	require.Equal(t, money(9708), again.body["net"])
	require.Equal(t, again.body["id"], repeated.body["id"])
	require.Contains(t, b.acts(t), "olga retry_payout "+id+": the bank is right now")
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM operator_actions WHERE action = 'retry_payout'`))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox WHERE key = 'payout/`+again.body["id"].(string)+`'`))
}

func TestARetryForAPayeeWhoIsPausedSaysWhy(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.plan(t)
	require.Equal(t, http.StatusOK, b.call(t, "POST", somePayoutPath+somePayout+"/cancel", operatorKey, "").status)
	require.Equal(t, http.StatusOK, b.call(t, "POST", "/v1/payees/u_1/pause", payoutsKey, "").status)
	r := b.call(t, "POST", somePayoutPath+somePayout+"/retry", operatorKey, "")
	requireProblem(t, r, 422, "")
	require.Equal(t, "paused_by_payee", r.body["reason"])
	requireProblem(t, b.call(t, "POST", somePayoutPath+"po_1/retry", operatorKey, ""), http.StatusNotFound, "path.id")
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM payouts`))
}
