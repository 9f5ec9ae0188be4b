package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/apiclient"
	amounts "github.com/holdfast/holdfast/internal/money"
)

const requestPath = "/v1/payees/u_1/payouts"

func yesterday() time.Time { return time.Now().UTC().Add(-24 * time.Hour) }

// mayBePaidInstantly makes u_1 a payee with a bank that was paid before and takes instant payouts.
func (b bundle) mayBePaidInstantly(t *testing.T) {
	t.Helper()
	b.pay(t, "u_1")
	b.exec(t, `UPDATE payees SET destination_id = 'ba_1', destination_changed_at = now() - interval '30 days'`)
	b.exec(t, `INSERT INTO payee_accounts (stripe_account_id, payee_id, country, currency, schedule_interval, payouts_enabled,
			external_account_id, external_currency, instant_offered, as_of)
		SELECT stripe_account_id, id, 'US', 'usd', 'manual', true, 'ba_1', 'usd', true, now() FROM payees`)
	b.exec(t, `INSERT INTO payout_requests (payee_id, id, currency, quoted_net) VALUES ('u_1', 'before', 'usd', 9708)`)
	b.exec(t, `INSERT INTO payouts (id, payee_id, kind, manual_id, method, currency, gross, fee, net, period_end, due_date, stripe_account_id, destination_id)
		SELECT $1, 'u_1', 'manual', 'before', 'stripe_instant', 'usd', 10000, 292, 9708, '2025-11-19', '2025-11-20', stripe_account_id, 'ba_1' FROM payees`, somePayout)
	b.exec(t, `UPDATE payouts SET state = 'sending'`)
	b.exec(t, `UPDATE payouts SET state = 'paid', transfer_id = 'tr_1', provider_payout_id = 'po_1'`)
}

// request asks for a payout of u_1, of an amount or of everything.
func (b bundle) request(t *testing.T, amount string, quotedNet int) reply {
	t.Helper()
	body := fmt.Sprintf(`{"id":"m_1",%s"quoted_net":{"amount":%d,"currency":"usd"}}`, amount, quotedNet)
	return b.call(t, "POST", requestPath, payoutsKey, body)
}

// RULES.md §3 has the sums of the example: 100.00 is 2.92 for us and 97.08 for the payee.
func TestAPayeeIsPaidNowForTheFee(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.mayBePaidInstantly(t)
	b.earn(t, "u_1", "sale", 10000, yesterday())
	before := b.notified.calls()

	first := b.request(t, "", 9708)
	again := b.request(t, "", 9708)
	other := b.request(t, "", 9709)

	require.Equal(t, http.StatusCreated, first.status, first.text)
	require.Equal(t, "m_1", first.body["id"])
	require.Equal(t, []any{money(10000), money(292), money(9708)}, []any{first.body["gross"], first.body["fee"], first.body["net"]})
	payouts := first.body["payouts"].([]any)
	require.Len(t, payouts, 1)
	paid := payouts[0].(map[string]any)
	require.Equal(t, "stripe_instant", paid["method"])
	require.Equal(t, "planned", paid["status"])
	require.Equal(t, "m_1", paid["request_id"])
	require.Len(t, paid["history"], 1)
	require.Greater(t, b.notified.calls(), before)
	require.Equal(t, http.StatusOK, again.status, again.text)
	require.Equal(t, paid["id"], again.body["payouts"].([]any)[0].(map[string]any)["id"])
	requireProblem(t, other, http.StatusConflict, "body.id")
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM payouts WHERE manual_id = 'm_1'`))
	require.Equal(t, money(10000), b.balance(t)["in_payout"])
}

func TestAQuoteThatNoLongerHoldsIsAnsweredWithTheNewOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.mayBePaidInstantly(t)
	b.earn(t, "u_1", "sale", 10000, yesterday())
	b.earn(t, "u_1", "refund", 5000, time.Now().UTC())

	r := b.request(t, "", 9708)

	requireProblem(t, r, http.StatusConflict, "body.quoted_net")
	require.Equal(t, map[string]any{"gross": money(5000), "fee": money(146), "net": money(4854)}, r.body["quote"])
	require.Zero(t, b.count(t, `SELECT count(*) FROM payouts WHERE manual_id = 'm_1'`))
	require.Equal(t, http.StatusCreated, b.request(t, "", 4854).status, "the id is still free")
}

func TestASumAboveTheCapComesInParts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.mayBePaidInstantly(t)
	b.earn(t, "u_1", "sale", 2060000, yesterday())
	r := b.request(t, "", 2000000)
	require.Equal(t, http.StatusCreated, r.status, r.text)
	require.Equal(t, money(2060000), r.body["gross"])
	require.Greater(t, len(r.body["payouts"].([]any)), 1)
	for i, p := range r.body["payouts"].([]any) {
		part := p.(map[string]any)
		require.InDelta(t, i+1, part["part"], 0)
		require.LessOrEqual(t, part["net"].(map[string]any)["amount"], 999900.0)
	}
}

func TestRequestsThatCannotBePaidSayWhy(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.mayBePaidInstantly(t)
	b.earn(t, "u_1", "sale", 10000, yesterday())
	b.earn(t, "u_1", "sale", 70000, time.Now().UTC())
	sum := func(minor int) string { return fmt.Sprintf(`"amount":{"amount":%d,"currency":"usd"},`, minor) }
	cases := map[string]struct {
		amount   string
		location string
		reason   string
	}{
		"more than was available yesterday": {sum(10001), "body.amount", "above_available"},
		"below the minimum":                 {sum(102), "body.amount", "below_minimum"},
		"another currency":                  {`"amount":{"amount":500,"currency":"eur"},`, "body.amount", "currency_mismatch"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := b.request(t, c.amount, 100)
			requireProblem(t, r, 422, c.location)
			require.Equal(t, c.reason, r.body["reason"])
			require.NotContains(t, r.body, "quote")
		})
	}
	t.Run("paused", func(t *testing.T) {
		require.Equal(t, http.StatusOK, b.call(t, "POST", "/v1/payees/u_1/pause", payoutsKey, "").status)
		r := b.request(t, "", 9708)
		requireProblem(t, r, 422, "")
		require.Equal(t, "paused_by_payee", r.body["reason"])
		require.Equal(t, "Payouts were paused by the payee.", r.body["detail"])
	})
	require.Zero(t, b.count(t, `SELECT count(*) FROM payouts WHERE manual_id = 'm_1'`))
	require.Zero(t, b.count(t, `SELECT count(*) FROM payout_requests WHERE id = 'm_1'`))
}

func TestMalformedRequestsNameTheField(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.mayBePaidInstantly(t)
	b.earn(t, "u_1", "sale", 10000, yesterday())
	const quoted = `"quoted_net":{"amount":9708,"currency":"usd"}`
	cases := map[string]struct {
		body     string
		location string
	}{
		"no id":                    {`{` + quoted + `}`, "body.id"},
		"an e-mail as id":          {`{"id":"a@example.com",` + quoted + `}`, "body.id"},
		"no quote":                 {`{"id":"m_1"}`, "body.quoted_net"},
		"a quote of nothing":       {`{"id":"m_1","quoted_net":{"amount":0,"currency":"usd"}}`, "body.quoted_net.amount"},
		"a quote below zero":       {`{"id":"m_1","quoted_net":{"amount":-1,"currency":"usd"}}`, "body.quoted_net.amount"},
		"a quote of no currency":   {`{"id":"m_1","quoted_net":{"amount":9708}}`, "body.quoted_net.currency"},
		"a quote in another":       {`{"id":"m_1","quoted_net":{"amount":9708,"currency":"eur"}}`, "body.quoted_net"},
		"a currency of no country": {`{"id":"m_1","amount":{"amount":500,"currency":"xxx"},` + quoted + `}`, "body.amount.currency"},
		"a currency in capitals":   {`{"id":"m_1","amount":{"amount":500,"currency":"USD"},` + quoted + `}`, "body.amount.currency"},
		"an amount of zero":        {`{"id":"m_1","amount":{"amount":0,"currency":"usd"},` + quoted + `}`, "body.amount.amount"},
		"an amount with decimals":  {`{"id":"m_1","amount":{"amount":5.5,"currency":"usd"},` + quoted + `}`, "body.amount.amount"},
		"an amount that overflows": {`{"id":"m_1","amount":{"amount":9223372036854775808,"currency":"usd"},` + quoted + `}`, "body.amount.amount"},
		"an amount as a number":    {`{"id":"m_1","amount":500,` + quoted + `}`, "body.amount"},
		"an amount as text":        {`{"id":"m_1","amount":{"amount":"5","currency":"usd"},` + quoted + `}`, "body.amount.amount"},
		"an unknown field":         {`{"id":"m_1","speed":"fast",` + quoted + `}`, "body.speed"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			requireProblem(t, b.call(t, "POST", requestPath, payoutsKey, c.body), 422, c.location)
		})
	}
	require.Zero(t, b.count(t, `SELECT count(*) FROM payout_requests WHERE id = 'm_1'`))
	for _, nobody := range []string{"nobody", "%00", "%ff", strings.Repeat("x", 128)} {
		requireProblem(t, b.call(t, "POST", "/v1/payees/"+nobody+"/payouts", payoutsKey, `{"id":"m_1",`+quoted+`}`), 404, "path.id")
	}
	requireProblem(t, b.call(t, "POST", requestPath, operatorKey, `{"id":"m_1",`+quoted+`}`), http.StatusForbidden, "")
	requireProblem(t, b.call(t, "POST", requestPath, payoutsKey, `{"id":`), http.StatusBadRequest, "")
}

// What the client reads is what the API writes.
func TestTheClientReadsPayoutsAsTheyAre(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.mayBePaidInstantly(t)
	b.earn(t, "u_1", "sale", 10000, yesterday())
	ctx := t.Context()
	app, operator := apiclient.New(b.url, payoutsKey), apiclient.New(b.url, operatorKey)
	usd := func(minor int64) amounts.Amount { return amounts.New(minor, "usd") }
	half := usd(5000)

	created, made, err := app.RequestPayout(ctx, "u_1", apiclient.PayoutRequest{ID: "m_1", Amount: &half, QuotedNet: usd(4854)})
	require.NoError(t, err)
	require.True(t, created)
	require.Equal(t, []amounts.Amount{half, usd(146), usd(4854)}, []amounts.Amount{made.Gross, made.Fee, made.Net})
	all, err := app.Payouts(ctx, "u_1")
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, made.Payouts[0], all[0])
	paid, err := app.Payout(ctx, somePayout)
	require.NoError(t, err)
	require.Equal(t, "tr_1", paid.Provider.TransferID)
	require.Len(t, paid.History, 3)

	canceled, err := operator.CancelPayout(ctx, all[0].ID, "n")
	require.NoError(t, err)
	require.Equal(t, "canceled", canceled.Status)
	again, err := operator.RetryPayout(ctx, all[0].ID, "n")
	require.NoError(t, err)
	require.Equal(t, all[0].ID, again.RetryOf)
	_, err = operator.ResolvePayout(ctx, again.ID, apiclient.Resolution{Outcome: "failed", Note: "n"})
	require.Equal(t, http.StatusConflict, apiclient.StatusOf(err))
}
