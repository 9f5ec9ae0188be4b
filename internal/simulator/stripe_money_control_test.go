package simulator_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/simulator"
)

func TestControl_StripeMoney(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	ok := func(method, path, body string) string {
		t.Helper()
		got := b.control(t, method, path, body)
		require.Equal(t, http.StatusOK, got.status, "%s %s: %s", method, path, got.body)
		return got.body
	}
	ok("PUT", "/stripe/accounts", `{"id": "acct_1", "metadata": {"a": "b"}, "external_accounts": [{"id": "ba_1"}]}`)
	require.Equal(t, b.Stripe().Accounts(), decodeJSON[[]simulator.Account](t, ok("GET", "/stripe/accounts", "")))
	ok("PUT", "/stripe/balance", `{"currency": "usd", "amount": 1000}`)
	ok("PUT", "/stripe/transfer-delay", `{"available_ms": 3600000}`)
	_, err := b.transfer("acct_1", 600, "po_1")
	require.NoError(t, err)
	require.Equal(t, map[string]simulator.Funds{"usd": {Available: 400, InstantAvailable: 400}},
		decodeJSON[map[string]simulator.Funds](t, ok("GET", "/stripe/balance", "")))
	require.Equal(t, map[string]simulator.Funds{"usd": {Pending: 600}},
		decodeJSON[map[string]simulator.Funds](t, ok("GET", "/stripe/accounts/acct_1/balance", "")))
	require.Equal(t, map[string]simulator.Funds{"usd": {Available: 600, InstantAvailable: 600}},
		decodeJSON[map[string]simulator.Funds](t, ok("POST", "/stripe/accounts/acct_1/release-funds", "")))
	require.Equal(t, b.Stripe().Transfers(), decodeJSON[[]simulator.Transfer](t, ok("GET", "/stripe/transfers", "")))

	ok("PUT", "/stripe/payout-limits", `{"minimum": {"usd": 500}}`)
	_, err = b.payOut("acct_1", 100, "po_1")
	require.Error(t, err)
	ok("PUT", "/stripe/payout-limits", `{}`)
	made := func(amount string) string {
		p := decodeJSON[simulator.Payout](t, ok("POST", "/stripe/payouts", `{"account": "acct_1", "metadata": {"a": "b"}, "amount": `+amount+`}`))
		return "/stripe/payouts/" + p.ID
	}
	paid, failed, returned := made("100"), made("200"), made("300")
	ok("POST", paid+"/send", "")
	ok("POST", paid+"/settle", "")
	ok("POST", failed+"/fail", `{"code": "account_closed"}`)
	ok("POST", returned+"/return", `{"code": "no_account"}`)
	shown := decodeJSON[[]simulator.Payout](t, ok("GET", "/stripe/payouts?account=acct_1", ""))
	require.Equal(t, b.Stripe().Payouts("acct_1"), shown)
	require.Equal(t, []string{"paid", "failed", "failed"}, []string{shown[0].Status, shown[1].Status, shown[2].Status})
	require.Equal(t, b.Stripe().MoneyAudit(), decodeJSON[simulator.MoneyAudit](t, ok("GET", "/stripe/audit/money", "")))
	ok("PUT", "/stripe/accounts/acct_1/balance", `{"currency": "usd", "amount": -5}`)
	b.requireFunds(t, "acct_1", -5, 0, 0)
	ok("PUT", "/stripe/payout-settlement", `{"automatic": true, "delay_ms": 1, "fail_share": 1}`)

	for path, body := range map[string]string{
		"/stripe/accounts": `{"id": "x"}`, "/stripe/balance": `{"currency": "xyz"}`, "/stripe/transfer-delay": `{"instant_ms": -1}`,
		"/stripe/payout-limits": `{"minimum": {"usd": -1}}`, "/stripe/payout-settlement": `{"fail_share": 2}`,
		"/stripe/accounts/acct_none/balance": `{"currency": "usd"}`,
	} {
		require.Equal(t, http.StatusBadRequest, b.control(t, "PUT", path, body).status, path)
		require.Equal(t, http.StatusBadRequest, b.control(t, "PUT", path, `{"unknown": 1}`).status, path)
	}
	for _, path := range []string{paid + "/settle", paid + "/send", "/stripe/accounts/acct_none/release-funds", "/stripe/payouts"} {
		require.Equal(t, http.StatusBadRequest, b.control(t, "POST", path, `{}`).status, path)
	}
	require.Equal(t, http.StatusBadRequest, b.control(t, "GET", "/stripe/accounts/acct_none", "").status)
}

func TestControl_ChangesAnAccountInPart(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	put, err := b.Stripe().PutAccount(simulator.Account{
		ID: "acct_1", Metadata: map[string]string{"a": "1"}, ExternalAccounts: []simulator.ExternalAccount{{ID: "ba_1", Refusal: "no_account"}},
	})
	require.NoError(t, err)
	patch := func(body string) int { return b.control(t, "PATCH", "/stripe/accounts/acct_1", body).status }

	require.Equal(t, http.StatusOK, patch(`{"payout_schedule": "daily"}`))
	put.PayoutSchedule = "daily"
	shown := decodeJSON[simulator.Account](t, b.control(t, "GET", "/stripe/accounts/acct_1", "").body)
	require.Equal(t, put, shown)

	require.Equal(t, http.StatusOK, patch(`{"external_accounts": [{"id": "ba_2"}]}`))
	changed, _ := b.Stripe().Account("acct_1")
	require.Len(t, changed.ExternalAccounts, 1)
	require.Equal(t, "ba_2", changed.ExternalAccounts[0].ID)
	require.Empty(t, changed.ExternalAccounts[0].Refusal, "a list is replaced as a whole")

	for _, wrong := range []string{`{"payout_schedule": "hourly"}`, `{"metadata": {"a": "2"}, "unknown": 1}`, `{"metadata": {"a": "2"}, "revoked": 1}`, `no`} {
		require.Equal(t, http.StatusBadRequest, patch(wrong), wrong)
	}
	unchanged, _ := b.Stripe().Account("acct_1")
	require.Equal(t, changed, unchanged)
	require.Len(t, b.Stripe().Events(), 2)
	require.Equal(t, http.StatusBadRequest, b.control(t, "PATCH", "/stripe/accounts/acct_none", `{}`).status)
}
