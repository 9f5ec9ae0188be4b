package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/ledger"
	amounts "github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/postgres"
)

// somePayout is the id of the payout that these tests are about.
var somePayout = "po_" + strings.Repeat("a", 24)

// hold stores a payout of u_1 of which nobody knows what became.
func (b bundle) hold(t *testing.T) {
	t.Helper()
	b.create(t, "u_1")
	b.exec(t, `INSERT INTO payees (id, email, country, currency, rail, stripe_account_id, schedule, content_hash)
		VALUES ('u_1', 'u_1@example.com', 'US', 'usd', 'stripe', 'acct_1', 'weekly', '')`)
	b.exec(t, `INSERT INTO payout_requests (payee_id, id, currency, quoted_net) VALUES ('u_1', 'm_1', 'usd', 9708)`)
	b.exec(t, `INSERT INTO payouts (id, payee_id, kind, manual_id, method, currency, gross, fee, net, period_end, due_date, stripe_account_id, destination_id)
		VALUES ($1, 'u_1', 'manual', 'm_1', 'stripe_instant', 'usd', 10000, 292, 9708, '2026-11-19', '2026-11-20', 'acct_1', 'ba_1')`, somePayout)
	b.exec(t, `UPDATE payouts SET state = 'sending', reason = 'its workflow began' WHERE id = $1`, somePayout)
	b.exec(t, `UPDATE payouts SET state = 'held', reason = 'no answer came', transfer_id = 'tr_1' WHERE id = $1`, somePayout)
}

// attention is what waits for a person, of one kind.
func (b bundle) attention(t *testing.T, kind string) []map[string]any {
	t.Helper()
	page := b.call(t, http.MethodGet, "/v1/ops/attention", operatorKey, "")
	require.Equal(t, http.StatusOK, page.status, page.text)
	var found []map[string]any
	for _, i := range page.body["items"].([]any) {
		if item := i.(map[string]any); item["kind"] == kind {
			found = append(found, item)
		}
	}
	return found
}

func TestAHeldPayoutWaitsForAPerson(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.hold(t)
	items := b.attention(t, "held_payout")
	require.Len(t, items, 1)
	require.Equal(t, somePayout, items[0]["payout_id"])
	require.Equal(t, "u_1", items[0]["customer_id"])
	require.Equal(t, "payout/"+somePayout, items[0]["workflow_id"])
	require.Equal(t, "stripe", items[0]["provider"])
	require.Equal(t, "no answer came", items[0]["last_error"])
	require.Equal(t, []any{map[string]any{"method": "POST", "path": "/v1/ops/payouts/" + somePayout + "/resolve"}}, items[0]["resolve"])
}

// What Stripe was last found to have of it is said as well, but not what it had before an earlier hold ended.
func TestAHeldPayoutSaysWhatStripeWasFoundToHave(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.hold(t)
	b.exec(t, `INSERT INTO payout_findings (payout_id, finding, at) VALUES ($1, 'nothing of it', now() - interval '1 hour')`, somePayout)
	require.NotContains(t, b.attention(t, "held_payout")[0]["detail"], "nothing of it")
	b.exec(t, `INSERT INTO payout_findings (payout_id, finding) VALUES ($1, 'transfer tr_1'), ($1, 'transfer tr_1; payout po_1')`, somePayout)
	require.Contains(t, b.attention(t, "held_payout")[0]["detail"], "was last found to have: transfer tr_1; payout po_1.")
}

// A payout by PayPal has no workflow of its own: whoever looks for it looks at its batch's.
func TestAHeldPayoutOfABatchNamesTheBatchsWorkflow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.inBatch(t, "held")
	items := b.attention(t, "held_payout")
	require.Len(t, items, 1)
	require.Equal(t, "paypal-batch/"+someBatch, items[0]["workflow_id"])
	require.Equal(t, "paypal", items[0]["provider"])
}

func TestARunThatPaysMuchWaitsForAPerson(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `INSERT INTO payout_runs (date, state, cause, computed_at) VALUES ('2026-11-20', 'awaiting_approval', 'schedule', now())`)
	items := b.attention(t, "unapproved_payout_run")
	require.Len(t, items, 1)
	require.Equal(t, "2026-11-20", items[0]["run_date"])
	require.Equal(t, "payout-run/2026-11-20", items[0]["workflow_id"])
	require.Equal(t, []any{map[string]any{"method": "POST", "path": "/v1/ops/payout-runs/2026-11-20/approve"}}, items[0]["resolve"])
}

func TestMissingFundsSayHowMuchToAdd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `INSERT INTO payout_runs (date, cause) VALUES ('2026-11-20', 'schedule')`)
	b.exec(t, `INSERT INTO payout_shortfalls (run_date, rail, currency, missing, payouts) VALUES ('2026-11-20', 'stripe', 'usd', 71234, 3)`)
	items := b.attention(t, "payout_funds")
	require.Len(t, items, 1)
	require.Contains(t, items[0]["detail"], "712.34 USD to pay 3 payouts")
	require.Equal(t, "stripe", items[0]["provider"])
	require.Empty(t, items[0]["resolve"])
}

// Where it was never known what there is, money need not be missing: what to look at is said instead.
func TestFundsThatWereNeverKnownSayWhatToLookAt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `INSERT INTO payout_runs (date, cause) VALUES ('2026-11-20', 'schedule')`)
	b.exec(t, `INSERT INTO payout_shortfalls (run_date, rail, currency, missing, payouts, known) VALUES ('2026-11-20', 'paypal', 'usd', 71234, 3, false)`)
	items := b.attention(t, "payout_funds")
	require.Len(t, items, 1)
	require.Contains(t, items[0]["detail"], "never known")
	require.Equal(t, "paypal", items[0]["provider"])
}

func TestAPayoutThatIsDaysLateWaitsForAPerson(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.hold(t)
	b.exec(t, `ALTER TABLE payouts DISABLE TRIGGER USER`)
	b.exec(t, `UPDATE payouts SET state = 'sending', state_since = now() - interval '3 days'`)
	require.Empty(t, b.attention(t, "late_payout"))
	b.exec(t, `UPDATE payouts SET state_since = now() - interval '5 days'`)

	items := b.attention(t, "late_payout")

	require.Len(t, items, 1)
	require.Equal(t, somePayout, items[0]["payout_id"])
	require.Equal(t, "payout/"+somePayout, items[0]["workflow_id"])
	require.Contains(t, items[0]["detail"], "sending")
	require.Empty(t, items[0]["resolve"])
}

func TestAPartThatPayPalTookBackIsShownForAWhile(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.hold(t)
	b.exec(t, `INSERT INTO paypal_reversals (transaction_id, payout_id, amount, currency) VALUES ('TX1', $1, 2500, 'usd')`, somePayout)

	items := b.attention(t, "payout_part_reversed")

	require.Len(t, items, 1)
	require.Equal(t, somePayout, items[0]["payout_id"])
	require.Contains(t, items[0]["detail"], "25.00 USD")
	b.exec(t, `UPDATE paypal_reversals SET found_at = now() - interval '15 days'`)
	require.Empty(t, b.attention(t, "payout_part_reversed"))
}

// The whole is its item's to tell. When that does not, people are told a day later.
func TestAWholePayoutThatPayPalTookBackIsShownWhenItsItemDoesNotSaySo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.hold(t)
	b.exec(t, `INSERT INTO paypal_reversals (transaction_id, payout_id, amount, currency) SELECT 'TX1', id, net, currency FROM payouts WHERE id = $1`, somePayout)
	b.exec(t, `ALTER TABLE payouts DISABLE TRIGGER USER`)
	b.exec(t, `UPDATE payouts SET state = 'paid', transfer_id = 'tr_1', provider_payout_id = 'ITEM1'`)
	require.Empty(t, b.attention(t, "payout_part_reversed"))
	b.exec(t, `UPDATE paypal_reversals SET found_at = now() - interval '25 hours'`)

	items := b.attention(t, "payout_part_reversed")

	require.Len(t, items, 1)
	require.Contains(t, items[0]["detail"], "as a whole")
	b.exec(t, `UPDATE payouts SET state = 'returned', released = true`)
	require.Empty(t, b.attention(t, "payout_part_reversed"))
}

func TestWhatPayPalPaidBesideItsReleaseIsShownForAWhile(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.hold(t)
	b.exec(t, `ALTER TABLE payouts DISABLE TRIGGER USER`)
	b.exec(t, `UPDATE payouts SET method = 'paypal', stripe_account_id = NULL, transfer_id = NULL, destination_id = 'ok@example.com'`)
	require.NoError(t, postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
		p := ledger.Payout{ID: somePayout, PayeeID: "u_1", Rail: ledger.PayPal}
		return ledger.Duplicate(t.Context(), tx, p, amounts.New(9708, "usd"), date.Of(time.Now()), "duplicate/ITEM1")
	}))

	items := b.attention(t, "payout_paid_twice")

	require.Len(t, items, 1)
	require.Equal(t, somePayout, items[0]["payout_id"])
	require.Equal(t, "u_1", items[0]["customer_id"])
	require.Equal(t, "ITEM1", items[0]["subject"])
	require.Contains(t, items[0]["detail"], "97.08 USD")
	require.NotContains(t, items[0]["detail"], "@")
	require.Empty(t, items[0]["resolve"])
	b.exec(t, `ALTER TABLE ledger_transactions DISABLE TRIGGER USER`)
	b.exec(t, `UPDATE ledger_transactions SET posted_at = now() - interval '15 days'`)
	require.Empty(t, b.attention(t, "payout_paid_twice"))
	b.exec(t, `UPDATE ledger_transactions SET posted_at = now()`)
	b.exec(t, `UPDATE payouts SET method = 'stripe_instant', stripe_account_id = 'acct_1'`)
	require.Empty(t, b.attention(t, "payout_paid_twice"), "at Stripe a person recorded it")
}
