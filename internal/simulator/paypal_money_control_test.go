package simulator_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/simulator"
)

func TestControl_PayPalMoney(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	call := b.payPal(t)
	ok := func(method, path, body string) string {
		t.Helper()
		got := b.control(t, method, path, body)
		require.Equal(t, http.StatusOK, got.status, "%s %s: %s", method, path, got.body)
		return got.body
	}
	funds := func(available int64) map[string]simulator.PayPalFunds {
		return map[string]simulator.PayPalFunds{"USD": {Available: available}}
	}
	require.Equal(t, funds(20_000), decodeJSON[map[string]simulator.PayPalFunds](t, ok("PUT", "/paypal/balance", `{"currency": "USD", "amount": 20000}`)))
	require.Equal(t, funds(20_500), decodeJSON[map[string]simulator.PayPalFunds](t, ok("POST", "/paypal/balance", `{"currency": "USD", "amount": 500}`)))
	require.Equal(t, funds(20_500), decodeJSON[map[string]simulator.PayPalFunds](t, ok("GET", "/paypal/balance", "")))

	ok("PUT", "/paypal/payouts", `{"manual": true, "duplicate_without_link": true, "refuse_unfunded": true, "balance_lag_ms": 1, "search_lag_ms": 1}`)
	batch := "/paypal/payouts/" + call.payOut("b_1",
		usd("onhold-a@example.com", "po_1"), usd("unclaimed-a@example.com", "po_2"), usd("onhold-b@example.com", "po_3"), usd("blocked-a@example.com", "po_4"),
		usd("unclaimed-b@example.com", "po_5"), usd("a@example.com", "po_6"), usd("b@example.com", "po_7"), usd("onhold-c@example.com", "po_8"),
		usd("onhold-d@example.com", "po_9"))
	ok("POST", batch+"/advance", "")
	made := decodeJSON[simulator.PayPalBatch](t, ok("POST", batch+"/advance", ""))
	for n, act := range []struct{ path, body, status string }{
		{"settle", "", "SUCCESS"},
		{"claim", "", "SUCCESS"},
		{"block", "", "BLOCKED"},
		{"unblock", "", "SUCCESS"},
		{"return", "", "RETURNED"},
		{"refund", "", "REFUNDED"},
		{"reverse", `{"amount": 400}`, "SUCCESS"},
		{"fail", `{"code": "RISK_DECLINE"}`, "FAILED"},
		{"deny", `{"code": "RISK_DECLINE"}`, "DENIED"},
	} {
		path := "/paypal/payout-items/" + made.Items[n].ID + "/" + act.path
		changed := decodeJSON[simulator.PayPalItem](t, ok("POST", path, act.body))
		require.Equal(t, act.status, changed.Status, act.path)
		shown, known := b.PayPal().PayPalItem(changed.ID)
		require.True(t, known)
		require.Equal(t, shown, changed)
		if act.path != "reverse" {
			require.Equal(t, http.StatusBadRequest, b.control(t, "POST", path, act.body).status, "%s again", act.path)
		}
	}
	_, known := b.PayPal().PayPalItem("NONE")
	require.False(t, known)
	denied := "/paypal/payouts/" + call.payOut("b_2", usd("ada@example.com", "po_10")) + "/deny"
	require.Equal(t, http.StatusBadRequest, b.control(t, "POST", denied, `{}`).status)
	require.Equal(t, "DENIED", decodeJSON[simulator.PayPalBatch](t, ok("POST", denied, `{"code": "INSUFFICIENT_FUNDS"}`)).Status)
	require.Equal(t, http.StatusBadRequest, b.control(t, "POST", denied, `{"code": "INSUFFICIENT_FUNDS"}`).status)
	require.Equal(t, b.PayPal().PayPalBatches(), decodeJSON[[]simulator.PayPalBatch](t, ok("GET", "/paypal/payouts", "")))
	require.Equal(t, b.PayPal().PayPalMoneyAudit(), decodeJSON[simulator.PayPalMoneyAudit](t, ok("GET", "/paypal/money", "")))
	require.Equal(t, map[string]int{"forgotten": 2}, decodeJSON[map[string]int](t, ok("DELETE", "/paypal/sender-batch-ids", "")))

	for path, method := range map[string]string{
		"/paypal/balance": "PUT", "/paypal/payouts": "PUT", denied: "POST", "/paypal/payout-items/" + made.Items[0].ID + "/fail": "POST",
		"/paypal/payout-items/" + made.Items[0].ID + "/reverse": "POST",
	} {
		require.Equal(t, http.StatusBadRequest, b.control(t, method, path, `{"unknown": 1}`).status, path)
	}
	require.Equal(t, http.StatusBadRequest, b.control(t, "POST", "/paypal/balance", `{"currency": "XYZ"}`).status)
	require.Equal(t, http.StatusBadRequest, b.control(t, "PUT", "/paypal/payouts", `{"processing_ms": -1}`).status)
	require.Equal(t, http.StatusBadRequest, b.control(t, "POST", "/paypal/payouts/NONE/advance", "").status)
}
