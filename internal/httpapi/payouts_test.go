package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAPayoutShowsHowItCameWhereItIs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.hold(t)

	shown := b.call(t, "GET", "/v1/payouts/"+somePayout, payoutsKey, "")

	require.Equal(t, http.StatusOK, shown.status, shown.text)
	require.Equal(t, "u_1", shown.body["payee_id"])
	require.Equal(t, "manual", shown.body["kind"])
	require.Equal(t, "m_1", shown.body["request_id"])
	require.Equal(t, "stripe_instant", shown.body["method"])
	require.Equal(t, []any{money(10000), money(292), money(9708)}, []any{shown.body["gross"], shown.body["fee"], shown.body["net"]})
	require.Equal(t, "2026-11-19", shown.body["period_end"])
	require.Equal(t, "held", shown.body["status"])
	require.Equal(t, map[string]any{"account_id": "acct_1", "transfer_id": "tr_1"}, shown.body["provider"])
	require.NotContains(t, shown.body, "failure")
	require.NotContains(t, shown.body, "run_date")
	var history []string
	for _, h := range shown.body["history"].([]any) {
		step := h.(map[string]any)
		history = append(history, fmt.Sprint(step["from"], " ", step["to"], " ", step["reason"]))
		require.NotEmpty(t, step["at"])
	}
	require.Equal(t, []string{"<nil> planned <nil>", "planned sending its workflow began", "sending held no answer came"}, history)
}

func TestAPayoutByPayPalShowsItsBatchAndItem(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.hold(t)
	const byPayPal = "po_paypalpaypalpaypalpaypal"
	b.exec(t, `INSERT INTO paypal_batches (id, currency, size) VALUES ('pb_aaaaaaaaaaaaaaaaaaaaaaaa', 'usd', 1)`)
	b.exec(t, `INSERT INTO payout_requests (payee_id, id, currency, quoted_net) VALUES ('u_1', 'p_1', 'usd', 9800)`)
	b.exec(t, `INSERT INTO payouts (id, payee_id, kind, manual_id, part, method, currency, gross, fee, net, period_end, due_date, destination_id, batch_id, blocks)
		VALUES ($1, 'u_1', 'manual', 'p_1', 1, 'paypal', 'usd', 10000, 200, 9800, '2026-11-19', '2026-11-20', 'secret@example.com', 'pb_aaaaaaaaaaaaaaaaaaaaaaaa', false)`, byPayPal)
	b.exec(t, `UPDATE payouts SET state = 'sending' WHERE id = $1`, byPayPal)
	b.exec(t, `UPDATE paypal_batches SET state = 'sending'`)
	b.exec(t, `UPDATE paypal_batches SET state = 'sent', paypal_batch_id = 'PPBATCH1'`)
	b.exec(t, `UPDATE payouts SET state = 'in_transit', provider_payout_id = 'ITEM1' WHERE id = $1`, byPayPal)

	shown := b.call(t, "GET", "/v1/payouts/"+byPayPal, payoutsKey, "")

	require.Equal(t, http.StatusOK, shown.status, shown.text)
	require.Equal(t, map[string]any{"batch_id": "PPBATCH1", "item_id": "ITEM1"}, shown.body["provider"])
	require.NotContains(t, shown.text, "secret@example.com")
}

func TestAPayoutsFailureIsShown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.hold(t)
	b.exec(t, `UPDATE payouts SET ending = 'failed', failure_class = 'rejected', failure_code = 'account_closed', failure_message = 'The bank account was closed.'`)
	shown := b.call(t, "GET", "/v1/payouts/"+somePayout, operatorKey, "")
	require.Equal(t, map[string]any{"class": "rejected", "code": "account_closed", "message": "The bank account was closed."}, shown.body["failure"])
	require.Equal(t, "failed", shown.body["ending"])
}

// requested stores that many payouts of u_1 that were canceled, the later ones the newer.
func (b bundle) requested(t *testing.T, n int) {
	t.Helper()
	b.exec(t, `INSERT INTO payout_requests (payee_id, id, currency, quoted_net) VALUES ('u_1', 'm', 'usd', 9708)`)
	b.exec(t, `INSERT INTO payouts (id, payee_id, kind, manual_id, part, method, currency, gross, fee, net, period_end, due_date, stripe_account_id, destination_id, created_at)
		SELECT 'po_' || lpad(n::text, 24, '0'), 'u_1', 'manual', 'm', n, 'stripe_instant', 'usd', 10000, 292, 9708, '2026-11-19', '2026-11-20', 'acct_1', 'ba_1',
			'2026-11-20T10:00:00Z'::timestamptz + n / 2 * interval '1 minute'
		FROM generate_series(1, $1) AS n`, n)
}

func TestPayoutsAreListedNewestFirstPageByPage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.pay(t, "u_1")
	b.requested(t, 5)

	var (
		parts []float64
		path  = "/v1/payees/u_1/payouts?limit=2"
		pages int
	)
	for next := path; next != ""; pages++ {
		page := b.call(t, "GET", next, payoutsKey, "")
		require.Equal(t, http.StatusOK, page.status, page.text)
		for _, i := range page.body["items"].([]any) {
			parts = append(parts, i.(map[string]any)["part"].(float64))
			require.Len(t, i.(map[string]any)["history"], 1)
		}
		next = ""
		if cursor, more := page.body["next_cursor"].(string); more {
			next = path + "&cursor=" + cursor
		}
	}
	require.Equal(t, []float64{5, 4, 3, 2, 1}, parts)
	require.Equal(t, 3, pages)

	none := b.call(t, "GET", "/v1/payees/u_1/payouts?limit=5", operatorKey, "")
	require.Len(t, none.body["items"], 5)
}

func TestPayoutsOfNobodyAreNotFound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.pay(t, "u_1")
	unknown := "po_" + strings.Repeat("0", 24)
	for path, location := range map[string]string{
		"/v1/payouts/" + unknown: "path.id", "/v1/payouts/po_1": "path.id", "/v1/payouts/%00": "path.id", "/v1/payouts/%ff": "path.id",
		"/v1/payees/nobody/payouts": "path.id", "/v1/payees/%ff/payouts": "path.id",
	} {
		requireProblem(t, b.call(t, "GET", path, payoutsKey, ""), http.StatusNotFound, location)
	}
	for _, cursor := range []string{"x", "eyJpZCI6IngifQ", strings.Repeat("A", 300)} {
		requireProblem(t, b.call(t, "GET", "/v1/payees/u_1/payouts?cursor="+cursor, payoutsKey, ""), 422, "query.cursor")
	}
	requireProblem(t, b.call(t, "GET", "/v1/payouts/"+unknown, "", ""), 401, "")
}
