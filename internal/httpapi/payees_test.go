package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/workflows"
)

func payoutsOn(pool *pgxpool.Pool) *payout.Store {
	return payout.NewStore(pool, payout.DefaultPolicy(), feed.NewWriter(nil), workflows.PayoutWork())
}

const adaAsPayee = `{"email":"ada@example.com","country":"US","currency":"usd","rail":"stripe","stripe_account_id":"acct_ada","schedule":"weekly"}`

// pay makes a customer a payee.
func (b bundle) pay(t *testing.T, id string) {
	t.Helper()
	b.create(t, id)
	r := b.call(t, "PUT", "/v1/payees/"+id, payoutsKey, strings.Replace(adaAsPayee, "acct_ada", "acct_"+strings.ReplaceAll(id, "_", ""), 1))
	require.Equal(t, http.StatusCreated, r.status, r.text)
}

// earn credits a payee, or takes back.
func (b bundle) earn(t *testing.T, id, kind string, minor int, occurred time.Time) {
	t.Helper()
	body := fmt.Sprintf(`{"id":"e_%d_%s","kind":%q,"amount":%d,"currency":"usd","occurred_at":%q}`,
		occurred.UnixNano(), kind, kind, minor, occurred.Format(time.RFC3339))
	r := b.call(t, "POST", "/v1/payees/"+id+"/earnings", payoutsKey, body)
	require.Equal(t, http.StatusCreated, r.status, r.text)
}

// money is a sum as JSON has it.
func money(minor int) map[string]any {
	return map[string]any{"amount": float64(minor), "currency": "usd"}
}

// balance is the first payee's.
func (b bundle) balance(t *testing.T) map[string]any {
	t.Helper()
	r := b.call(t, "GET", "/v1/payees/u_1", payoutsKey, "")
	require.Equal(t, http.StatusOK, r.status, r.text)
	return r.body["balance"].(map[string]any)
}

func TestAPayeeIsMadeChangedAndRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")

	first := b.call(t, "PUT", "/v1/payees/u_1", payoutsKey, adaAsPayee)
	again := b.call(t, "PUT", "/v1/payees/u_1", payoutsKey, adaAsPayee)
	changed := b.call(t, "PUT", "/v1/payees/u_1", payoutsKey, strings.Replace(adaAsPayee, `"weekly"`, `"monthly","minimum":2500`, 1))

	require.Equal(t, http.StatusCreated, first.status, first.text)
	require.Equal(t, http.StatusOK, again.status, again.text)
	require.Equal(t, first.body, again.body, "the same again changes nothing")
	require.Equal(t, http.StatusOK, changed.status, changed.text)
	require.Equal(t, "monthly", changed.body["schedule"])
	require.InDelta(t, 2500, changed.body["minimum"], 0)
	read := b.call(t, "GET", "/v1/payees/u_1", operatorKey, "")
	require.Equal(t, changed.body, read.body)
	require.Equal(t, map[string]any{"pending": money(0), "available": money(0), "in_payout": money(0), "paid": money(0)}, read.body["balance"])
	require.Equal(t, []any{}, read.body["pauses"])
	require.Equal(t, []any{}, read.body["notes"])
	require.NotContains(t, read.body, "provider_account", "nobody has looked at it")
	require.NotContains(t, b.log.text(), "ada@example.com")
}

func TestAPayeeWithoutAScheduleHasTheDefault(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	r := b.call(t, "PUT", "/v1/payees/u_1", payoutsKey, strings.Replace(adaAsPayee, `,"schedule":"weekly"`, "", 1))
	require.Equal(t, http.StatusCreated, r.status, r.text)
	require.Equal(t, "weekly", r.body["schedule"])
}

func TestBadInputOfPayeesNamesTheField(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	b.pay(t, "u_2")
	put := func(old, other string) [3]string {
		require.Contains(t, adaAsPayee, old)
		return [3]string{"PUT", "/v1/payees/u_1", strings.Replace(adaAsPayee, old, other, 1)}
	}
	b.refuse(t, map[string]refusal{
		"malformed e-mail":          {put("ada@example.com", "nobody"), 422, "body.email"},
		"malformed country":         {put(`"US"`, `"usa"`), 422, "body.country"},
		"no country":                {put(`"country":"US",`, ""), 422, "body.country"},
		"unknown currency":          {put(`"usd"`, `"xxq"`), 422, "body.currency"},
		"a currency in capitals":    {put(`"usd"`, `"USD"`), 422, "body.currency"},
		"unknown rail":              {put(`"stripe"`, `"cash"`), 422, "body.rail"},
		"malformed account":         {put("acct_ada", "cus_ada"), 422, "body.stripe_account_id"},
		"another payee's account":   {put("acct_ada", "acct_u2"), 422, "body.stripe_account_id"},
		"unknown schedule":          {put("weekly", "hourly"), 422, "body.schedule"},
		"negative minimum":          {put(`"weekly"`, `"weekly","minimum":-1`), 422, "body.minimum"},
		"overflowing minimum":       {put(`"weekly"`, `"weekly","minimum":9000000000000000000`), 422, "body.minimum"},
		"PayPal without an address": {put(`"stripe"`, `"paypal"`), 422, "body.paypal_email"},
		"PayPal in euros":           {put(`"usd","rail":"stripe"`, `"eur","rail":"paypal","paypal_email":"a@example.com"`), 422, "body.currency"},
		"PayPal beyond ASCII":       {put(`"stripe"`, `"paypal","paypal_email":"ädä@example.com"`), 422, "body.paypal_email"},
		"PayPal with no e-mail":     {put(`"stripe"`, `"paypal","paypal_email":"nobody"`), 422, "body.paypal_email"},
		"unknown field":             {put(`"weekly"`, `"weekly","colour":"red"`), 422, "body.colour"},
		"no customer":               {[3]string{"PUT", "/v1/payees/nobody", adaAsPayee}, 404, "path.id"},
		"put of no UTF-8":           {[3]string{"PUT", "/v1/payees/%ff", adaAsPayee}, 404, "path.id"},
		"no payee":                  {[3]string{"GET", "/v1/payees/u_1", ""}, 404, "path.id"},
		"a payee with a NUL":        {[3]string{"GET", "/v1/payees/%00", ""}, 404, "path.id"},
		"options of no payee":       {[3]string{"GET", "/v1/payees/u_1/payout-options", ""}, 404, "path.id"},
	})
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM payees`), "nothing changed")
}

func TestBadInputOfMoneyNamesTheField(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	b.pay(t, "u_2")
	earning := func(old, other string) [3]string {
		body := `{"id":"e_1","kind":"sale","amount":100,"currency":"usd","occurred_at":"2026-03-01T12:00:00Z"}`
		require.Contains(t, body, old)
		return [3]string{"POST", "/v1/payees/u_2/earnings", strings.Replace(body, old, other, 1)}
	}
	in := func(d time.Duration) string { return time.Now().UTC().Add(d).Format(time.RFC3339) }
	const adjust, writeOff = "/v1/ops/payees/u_2/adjust", "/v1/ops/payees/u_2/write-off"
	b.refuse(t, map[string]refusal{
		"earnings of no payee":        {[3]string{"GET", "/v1/payees/u_1/earnings", ""}, 404, "path.id"},
		"an earning of no payee":      {[3]string{"POST", "/v1/payees/u_1/earnings", earning("sale", "sale")[2]}, 404, "path.id"},
		"a cursor that is not ours":   {[3]string{"GET", "/v1/payees/u_2/earnings?cursor=nonsense", ""}, 422, "query.cursor"},
		"too many at once":            {[3]string{"GET", "/v1/payees/u_2/earnings?limit=501", ""}, 422, "query.limit"},
		"earning without an id":       {earning(`"id":"e_1",`, ""), 422, "body.id"},
		"an e-mail as id":             {earning("e_1", "a@example.com"), 422, "body.id"},
		"unknown kind":                {earning("sale", "gift"), 422, "body.kind"},
		"nothing earned":              {earning("100", "0"), 422, "body.amount"},
		"below zero":                  {earning("100", "-100"), 422, "body.amount"},
		"a fraction":                  {earning("100", "100.5"), 422, "body.amount"},
		"an overflow":                 {earning("100", "9223372036854775808"), 422, "body.amount"},
		"a huge overflow":             {earning("100", "1e300"), 422, "body.amount"},
		"above what can be summed":    {earning("100", "1000000000000001"), 422, "body.amount"},
		"an amount in words":          {earning("100", `"100"`), 422, "body.amount"},
		"earning in no currency":      {earning("usd", "xxq"), 422, "body.currency"},
		"earning in another one":      {earning("usd", "eur"), 422, "body.currency"},
		"from the future":             {earning("2026-03-01T12:00:00Z", in(6*time.Minute)), 422, "body.occurred_at"},
		"from long ago":               {earning("2026-03-01T12:00:00Z", "0001-01-01T00:00:00Z"), 422, "body.occurred_at"},
		"a malformed time":            {earning("2026-03-01T12:00:00Z", "yesterday"), 422, "body.occurred_at"},
		"a date without a time":       {earning("2026-03-01T12:00:00Z", "2026-03-01"), 422, "body.occurred_at"},
		"no time":                     {earning(`,"occurred_at":"2026-03-01T12:00:00Z"`, ""), 422, "body.occurred_at"},
		"a NUL in the description":    {earning(`"kind"`, `"description":"\u0000","kind"`), 422, "body.description"},
		"too long a description":      {earning(`"kind"`, `"description":"`+strings.Repeat("x", 501)+`","kind"`), 422, "body.description"},
		"a pause with a NUL":          {[3]string{"POST", "/v1/payees/u_2/pause", `{"note":"\u0000"}`}, 422, "body.note"},
		"a pause of nobody":           {[3]string{"POST", "/v1/payees/u_1/pause", ""}, 404, "path.id"},
		"an operator's for nobody":    {[3]string{"POST", "/v1/ops/payees/u_1/pause", ""}, 404, "path.id"},
		"a resumption of nobody":      {[3]string{"POST", "/v1/payees/u_1/resume", ""}, 404, "path.id"},
		"adjustment by nothing":       {[3]string{"POST", adjust, `{"id":"a_1","amount":0,"currency":"usd","note":"x"}`}, 422, "body.amount"},
		"adjustment that overflows":   {[3]string{"POST", adjust, `{"id":"a_1","amount":-9223372036854775808,"currency":"usd","note":"x"}`}, 422, "body.amount"},
		"adjustment in another one":   {[3]string{"POST", adjust, `{"id":"a_1","amount":1,"currency":"eur","note":"x"}`}, 422, "body.currency"},
		"adjustment without a note":   {[3]string{"POST", adjust, `{"id":"a_1","amount":1,"currency":"usd","note":" "}`}, 422, "body.note"},
		"adjustment without an id":    {[3]string{"POST", adjust, `{"amount":1,"currency":"usd","note":"x"}`}, 422, "body.id"},
		"adjustment of nobody":        {[3]string{"POST", "/v1/ops/payees/u_1/adjust", `{"id":"a_1","amount":1,"currency":"usd","note":"x"}`}, 404, "path.id"},
		"write-off without a note":    {[3]string{"POST", writeOff, `{"id":"w_1"}`}, 422, "body.note"},
		"write-off of no debt":        {[3]string{"POST", writeOff, `{"id":"w_1","note":"x"}`}, 409, ""},
		"write-off of nobody's debt":  {[3]string{"POST", "/v1/ops/payees/u_1/write-off", `{"id":"w_1","note":"x"}`}, 404, "path.id"},
		"an unknown path of a payee":  {[3]string{"POST", "/v1/payees/u_2/nothing", ""}, 404, ""},
		"a payee cannot be taken out": {[3]string{"DELETE", "/v1/payees/u_2", ""}, 405, ""},
	})
	for _, table := range []string{"earnings", "ledger_transactions", "payee_pauses", "payee_corrections", "operator_actions", "changes"} {
		require.Zero(t, b.count(t, `SELECT count(*) FROM `+table), table)
	}
}

// refusal is a request and the problem that answers it.
type refusal struct {
	request  [3]string
	status   int
	location string
}

// refuse holds the API to refusing every request.
func (b bundle) refuse(t *testing.T, cases map[string]refusal) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			key := payoutsKey
			if strings.Contains(c.request[1], "/ops/") {
				key = operatorKey
			}
			requireProblem(t, b.call(t, c.request[0], c.request[1], key, c.request[2]), c.status, c.location)
		})
	}
}

func TestPayeesAreForKeysOfPayouts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.pay(t, "u_1")
	for _, c := range []struct{ method, path, right, wrong, body string }{
		{"PUT", "/v1/payees/u_1", payoutsKey, operatorKey, adaAsPayee},
		{"GET", "/v1/payees/u_1", operatorKey, "", ""},
		{"GET", "/v1/payees/u_1/payout-options", payoutsKey, "", ""},
		{"GET", "/v1/payees/u_1/earnings", operatorKey, "", ""},
		{"POST", "/v1/payees/u_1/pause", payoutsKey, operatorKey, ""},
		{"POST", "/v1/payees/u_1/resume", payoutsKey, operatorKey, ""},
		{"POST", "/v1/ops/payees/u_1/pause", operatorKey, payoutsKey, ""},
		{"POST", "/v1/ops/payees/u_1/resume", operatorKey, payoutsKey, ""},
		{"POST", "/v1/ops/payees/u_1/adjust", operatorKey, payoutsKey, `{"id":"a_1","amount":-1,"currency":"usd","note":"x"}`},
		{"POST", "/v1/ops/payees/u_1/write-off", operatorKey, payoutsKey, `{"id":"w_1","note":"x"}`},
	} {
		require.Equal(t, http.StatusOK, b.call(t, c.method, c.path, c.right, c.body).status, c.path)
		refused := b.call(t, c.method, c.path, c.wrong, c.body)
		require.Contains(t, []int{http.StatusForbidden, http.StatusUnauthorized}, refused.status, c.path)
	}
}

func TestEarningsMakeTheBalance(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.pay(t, "u_1")
	now := time.Now().UTC()
	yesterday := now.AddDate(0, 0, -1)

	b.earn(t, "u_1", "sale", 10_000, yesterday)
	b.earn(t, "u_1", "sale", 500, now)
	require.Equal(t, map[string]any{"pending": money(500), "available": money(10_000), "in_payout": money(0), "paid": money(0)}, b.balance(t))

	b.earn(t, "u_1", "refund", 2_000, now)
	b.earn(t, "u_1", "adjustment", 7, yesterday)
	require.Equal(t, money(8_007), b.balance(t)["available"], "a refund of today lowers what was earned before")

	b.earn(t, "u_1", "chargeback", 9_000, yesterday)
	require.Equal(t, money(-993), b.balance(t)["available"], "the balance may go below zero")
	b.earn(t, "u_1", "sale", 1_000, yesterday.Add(-time.Hour))
	require.Equal(t, money(7), b.balance(t)["available"], "what is earned then counts against it")
}

func TestAnEarningIsOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.pay(t, "u_1")
	const path = "/v1/payees/u_1/earnings"
	body := `{"id":"e_1","kind":"sale","amount":100,"currency":"usd","occurred_at":"2026-03-01T12:00:00+02:00","description":"A book"}`

	first := b.call(t, "POST", path, payoutsKey, body)
	again := b.call(t, "POST", path, payoutsKey, strings.Replace(body, "12:00:00+02:00", "10:00:00Z", 1))

	require.Equal(t, http.StatusCreated, first.status, first.text)
	require.Equal(t, "2026-03-01T10:00:00Z", first.body["occurred_at"])
	require.Equal(t, http.StatusOK, again.status, again.text)
	require.Equal(t, first.body, again.body, "the same moment in another zone is the same content")
	for _, other := range [][2]string{{"sale", "refund"}, {"100", "101"}, {"A book", "A film"}, {"03-01", "03-02"}} {
		requireProblem(t, b.call(t, "POST", path, payoutsKey, strings.Replace(body, other[0], other[1], 1)), http.StatusConflict, "body.id")
	}
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM earnings`))
	require.Equal(t, money(100), b.balance(t)["available"])
}

func TestManyIdenticalEarningsAreOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.pay(t, "u_1")
	const earnings = 200
	statuses := make([]int, earnings)
	var wg sync.WaitGroup
	for i := range earnings {
		wg.Go(func() {
			statuses[i] = b.call(t, "POST", "/v1/payees/u_1/earnings", payoutsKey,
				`{"id":"e_1","kind":"sale","amount":100,"currency":"usd","occurred_at":"2026-03-01T12:00:00Z"}`).status
		})
	}
	wg.Wait()

	slices.Sort(statuses)
	require.Equal(t, append(slices.Repeat([]int{http.StatusOK}, earnings-1), http.StatusCreated), statuses)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM earnings`))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM ledger_transactions`))
	require.Equal(t, money(100), b.balance(t)["available"])
}

func TestEarningsAreListedInPages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.pay(t, "u_1")
	b.pay(t, "u_2")
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, kind := range []string{"sale", "refund", "chargeback"} { // at one moment
		b.earn(t, "u_1", kind, 1, at)
	}
	b.earn(t, "u_1", "sale", 1, at.Add(time.Hour))
	b.earn(t, "u_2", "sale", 1, at)

	var kinds []string
	cursor, pages := "", 0
	for {
		r := b.call(t, "GET", "/v1/payees/u_1/earnings?limit=2&cursor="+cursor, payoutsKey, "")
		require.Equal(t, http.StatusOK, r.status, r.text)
		for _, item := range r.body["items"].([]any) {
			kinds = append(kinds, item.(map[string]any)["kind"].(string))
		}
		pages++
		next, more := r.body["next_cursor"].(string)
		if !more {
			break
		}
		cursor = next
	}
	require.Equal(t, []string{"sale", "sale", "refund", "chargeback"}, kinds)
	require.Equal(t, 3, pages)
}

func TestCurrencyAndCountryStayWhileThereIsMoney(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.pay(t, "u_1")
	b.earn(t, "u_1", "sale", 100, time.Now())
	inEuro := strings.Replace(adaAsPayee, "usd", "eur", 1)
	inFrance := strings.Replace(adaAsPayee, `"US"`, `"FR"`, 1)

	requireProblem(t, b.call(t, "PUT", "/v1/payees/u_1", payoutsKey, inEuro), http.StatusConflict, "body.currency")
	requireProblem(t, b.call(t, "PUT", "/v1/payees/u_1", payoutsKey, inFrance), http.StatusConflict, "body.country")
	require.Equal(t, "acct_u1", b.call(t, "GET", "/v1/payees/u_1", payoutsKey, "").body["stripe_account_id"], "nothing of it was changed")

	b.earn(t, "u_1", "refund", 100, time.Now())
	require.Equal(t, http.StatusOK, b.call(t, "PUT", "/v1/payees/u_1", payoutsKey, inEuro).status)
}

func TestAPayeePausesAndResumesTheirOwnPauseAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.pay(t, "u_1")
	sources := func(r reply) (all []string) {
		require.Equal(t, http.StatusOK, r.status, r.text)
		for _, p := range r.body["pauses"].([]any) {
			all = append(all, p.(map[string]any)["source"].(string))
		}
		return all
	}

	require.Equal(t, []string{"payee"}, sources(b.call(t, "POST", "/v1/payees/u_1/pause", payoutsKey, `{"note":"On holiday"}`)))
	require.Equal(t, []string{"payee"}, sources(b.call(t, "POST", "/v1/payees/u_1/pause", payoutsKey, "")))
	require.Equal(t, []string{"payee", "operator"}, sources(b.call(t, "POST", "/v1/ops/payees/u_1/pause", operatorKey, `{"note":"Looks odd"}`)))
	shown := b.call(t, "GET", "/v1/payees/u_1", payoutsKey, "")
	require.Equal(t, "paused_by_operator", shown.body["next_payout"].(map[string]any)["reason"])
	require.NotEmpty(t, shown.body["next_payout"].(map[string]any)["detail"])
	require.Equal(t, []string{"operator"}, sources(b.call(t, "POST", "/v1/payees/u_1/resume", payoutsKey, "")))
	require.Equal(t, []string{"operator"}, sources(b.call(t, "POST", "/v1/payees/u_1/resume", payoutsKey, "")))
	require.Empty(t, sources(b.call(t, "POST", "/v1/ops/payees/u_1/resume", operatorKey, `{"note":"All is well"}`)))

	require.Equal(t, 2, b.count(t, `SELECT count(*) FROM operator_actions WHERE actor = 'olga' AND subject = 'u_1' AND note <> ''`))
	changes := b.call(t, "GET", "/v1/customers/u_1/changes", operatorKey, "").body["data"].([]any)
	var told []any
	for _, c := range changes {
		if change := c.(map[string]any); change["type"] == "pause.changed" {
			told = append(told, change["data"].(map[string]any)["paused"])
		}
	}
	require.Equal(t, []any{true, true, true, false}, told, "the app is told of every change, and of nothing else")
	require.NotContains(t, fmt.Sprint(changes), "Looks odd", "what operators write is not for the app")
}

func TestOperatorsPutBalancesRight(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.pay(t, "u_1")
	const adjust, writeOff = "/v1/ops/payees/u_1/adjust", "/v1/ops/payees/u_1/write-off"
	body := `{"id":"a_1","amount":-500,"currency":"usd","note":"Paid twice"}`

	first := b.call(t, "POST", adjust, operatorKey, body)
	again := b.call(t, "POST", adjust, operatorKey, body)

	require.Equal(t, http.StatusOK, first.status, first.text)
	require.Equal(t, money(-500), first.body["balance"].(map[string]any)["available"])
	require.Equal(t, first.body, again.body)
	requireProblem(t, b.call(t, "POST", adjust, operatorKey, strings.Replace(body, "-500", "500", 1)), http.StatusConflict, "body.id")
	requireProblem(t, b.call(t, "POST", writeOff, operatorKey, `{"id":"a_1","note":"x"}`), http.StatusConflict, "body.id")

	for range 2 {
		r := b.call(t, "POST", writeOff, operatorKey, `{"id":"w_1","note":"Gone"}`)
		require.Equal(t, http.StatusOK, r.status, r.text)
		require.Equal(t, money(-500), r.body["balance"].(map[string]any)["available"])
		require.Equal(t, money(500), r.body["balance"].(map[string]any)["pending"], "it is dated today")
	}
	requireProblem(t, b.call(t, "POST", writeOff, operatorKey, `{"id":"w_2","note":"Gone"}`), http.StatusConflict, "")
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM operator_actions WHERE actor = 'olga' AND action = 'adjust_payee' AND subject = 'u_1/a_1' AND note = 'Paid twice'`))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM operator_actions WHERE actor = 'olga' AND action = 'write_off_payee' AND subject = 'u_1/w_1' AND note = 'Gone'`))
	require.Equal(t, 2, b.count(t, `SELECT count(*) FROM ledger_transactions`))
}

// seen stores how the first payee's account was seen.
func (b bundle) seen(t *testing.T, asOf time.Time) {
	t.Helper()
	require.NoError(t, postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
		return payoutsOn(b.pool).PutAccountSnapshot(t.Context(), tx, payout.Account{
			StripeAccountID: "acct_u1", PayeeID: "u_1", Country: "US", Currency: "usd", ScheduleInterval: "manual", PayoutsEnabled: true,
			ExternalAccountID: "ba_1", ExternalCurrency: "usd", InstantOffered: true, AsOf: asOf,
		})
	}))
}

func TestTheNextPayoutAndTheAccountAreShownFromWhatIsKnown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.pay(t, "u_1")
	b.earn(t, "u_1", "sale", 10_000, time.Now().AddDate(0, 0, -20))
	require.Equal(t, "destination_unchecked", b.call(t, "GET", "/v1/payees/u_1", payoutsKey, "").body["next_payout"].(map[string]any)["reason"])

	b.seen(t, time.Now().Add(-time.Hour))
	shown := b.call(t, "GET", "/v1/payees/u_1", payoutsKey, "").body
	next := shown["next_payout"].(map[string]any)
	require.NotContains(t, next, "reason")
	require.Equal(t, "stripe_standard", next["method"])
	require.Equal(t, []any{money(10_000), money(0), money(10_000)}, []any{next["gross"], next["fee"], next["net"]})
	on, err := date.Parse(next["date"].(string))
	require.NoError(t, err)
	require.Equal(t, time.Friday, on.Weekday())
	account := shown["provider_account"].(map[string]any)
	require.Equal(t, "ba_1", account["external_account_id"])
	require.Equal(t, true, account["stale"])

	b.seen(t, time.Now())
	require.Equal(t, false, b.call(t, "GET", "/v1/payees/u_1", payoutsKey, "").body["provider_account"].(map[string]any)["stale"])
}

func TestPayoutOptionsShowTheFeeOnThePresentBalance(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.pay(t, "u_1")
	b.earn(t, "u_1", "sale", 10_000, time.Now().AddDate(0, 0, -2))
	b.seen(t, time.Now())

	r := b.call(t, "GET", "/v1/payees/u_1/payout-options", payoutsKey, "")

	require.Equal(t, http.StatusOK, r.status, r.text)
	require.Equal(t, "weekly", r.body["schedule"])
	items := r.body["items"].([]any)
	require.Len(t, items, 4)
	daily, weekly := items[0].(map[string]any), items[1].(map[string]any)
	require.Equal(t, []any{"daily", "stripe_instant", false, "instant_not_yet"}, []any{daily["schedule"], daily["method"], daily["eligible"], daily["reason"]})
	require.Equal(t, map[string]any{"gross": money(10_000), "fee": money(292), "net": money(9_708)}, daily["example"])
	require.Equal(t, []any{"weekly", "stripe_standard", true}, []any{weekly["schedule"], weekly["method"], weekly["eligible"]})
	require.Equal(t, map[string]any{"gross": money(10_000), "fee": money(0), "net": money(10_000)}, weekly["example"])
}

func TestNotesAreShown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.pay(t, "u_1")
	require.NoError(t, postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
		return noteTwice(t.Context(), payoutsOn(b.pool), tx)
	}))
	require.Equal(t, []any{map[string]any{
		"code": "below_minimum", "detail": "Later.", "first_date": "2026-11-13", "last_date": "2026-11-20", "times": float64(2),
	}}, b.call(t, "GET", "/v1/payees/u_1", payoutsKey, "").body["notes"])
}

func noteTwice(ctx context.Context, store *payout.Store, tx pgx.Tx) error {
	if err := store.Note(ctx, tx, "u_1", date.New(2026, 11, 13), "below_minimum", "First."); err != nil {
		return err
	}
	return store.Note(ctx, tx, "u_1", date.New(2026, 11, 20), "below_minimum", "Later.")
}
