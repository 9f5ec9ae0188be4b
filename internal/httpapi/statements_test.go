package httpapi_test

import (
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// earned is what happened to u_1 in the spring: 100.00 in February, and in March 20.00 and its refund.
func (b bundle) earned(t *testing.T, description string) {
	t.Helper()
	b.pay(t, "u_1")
	for _, e := range []string{
		`"id":"s_1","kind":"sale","amount":10000,"occurred_at":"2026-02-27T23:59:59Z"`,
		`"id":"s_2","kind":"sale","amount":2000,"occurred_at":"2026-03-01T00:00:00Z","description":` + fmt.Sprintf("%q", description),
		`"id":"r_2","kind":"refund","amount":2000,"occurred_at":"2026-03-31T12:00:00Z"`,
	} {
		r := b.call(t, "POST", "/v1/payees/u_1/earnings", payoutsKey, `{"currency":"usd",`+e+`}`)
		require.Equal(t, http.StatusCreated, r.status, r.text)
	}
}

// accepting asks for a media type.
func accepting(types string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Accept", types) }
}

func TestAStatementIsReadAsJSON(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.earned(t, "A song")

	r := b.call(t, "GET", "/v1/payees/u_1/statements/2026-03", payoutsKey, "")

	require.Equal(t, http.StatusOK, r.status, r.text)
	require.Equal(t, "application/json", r.header.Get("Content-Type"))
	asOf, err := time.Parse(time.RFC3339, r.body["as_of"].(string))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), asOf, time.Hour)
	delete(r.body, "as_of")
	require.Equal(t, map[string]any{
		"payee_id": "u_1", "month": "2026-03", "currency": "usd", "complete": true,
		"opening_balance": money(10000), "closing_balance": money(10000),
		"lines": []any{
			map[string]any{
				"date": "2026-03-01", "kind": "earning", "id": "s_2", "description": "A song",
				"gross": money(2000), "fee": money(0), "net": money(2000), "balance": money(12000),
			},
			map[string]any{
				"date": "2026-03-31", "kind": "refund", "id": "r_2",
				"gross": money(-2000), "fee": money(0), "net": money(-2000), "balance": money(10000),
			},
		},
		"totals": map[string]any{
			"earnings": money(2000), "refunds": money(-2000), "chargebacks": money(0), "adjustments": money(0), "write_offs": money(0),
			"payouts": money(0), "payout_fees": money(0), "payouts_back": money(0), "partial_reversals": money(0),
		},
	}, r.body)
}

func TestAStatementWithoutLinesIsOneToo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.earned(t, "")
	r := b.call(t, "GET", "/v1/payees/u_1/statements/2025-12", payoutsKey, "")
	require.Equal(t, http.StatusOK, r.status, r.text)
	require.Equal(t, []any{}, r.body["lines"])
	require.Equal(t, money(0), r.body["closing_balance"])

	euros := b.call(t, "GET", "/v1/payees/u_1/statements/2026-03?currency=eur", payoutsKey, "")
	require.Equal(t, []any{}, euros.body["lines"])
	require.Equal(t, []any{"usd"}, euros.body["other_currencies"])
}

func TestTheStatementOfThePresentMonthIsNotComplete(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.earned(t, "")
	r := b.call(t, "GET", "/v1/payees/u_1/statements/"+time.Now().UTC().Format("2006-01"), payoutsKey, "")
	require.Equal(t, http.StatusOK, r.status, r.text)
	require.Equal(t, false, r.body["complete"])
	require.NotEmpty(t, r.body["as_of"])
	require.Equal(t, money(10000), r.body["opening_balance"])
}

func TestAStatementIsReadAsCSV(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.earned(t, "A \"song\", in two\nlines")
	want := strings.ReplaceAll(`row,date,kind,id,description,currency,gross,fee,net,balance
opening,2026-03-01,,,,USD,,,,100.00
line,2026-03-01,earning,s_2,"A ""song"", in two
lines",USD,20.00,0.00,20.00,120.00
line,2026-03-31,refund,r_2,,USD,-20.00,0.00,-20.00,100.00
total,,earnings,,,USD,20.00,,,
total,,refunds,,,USD,-20.00,,,
total,,chargebacks,,,USD,0.00,,,
total,,adjustments,,,USD,0.00,,,
total,,write_offs,,,USD,0.00,,,
total,,payouts,,,USD,0.00,,,
total,,payout_fees,,,USD,0.00,,,
total,,payouts_back,,,USD,0.00,,,
total,,partial_reversals,,,USD,0.00,,,
closing,2026-03-31,,,,USD,,,,100.00
`, "\n", "\r\n")
	const path = "/v1/payees/u_1/statements/2026-03"
	for name, r := range map[string]reply{
		"by its header":        b.call(t, "GET", path, payoutsKey, "", accepting("text/csv")),
		"as it is preferred":   b.call(t, "GET", path, payoutsKey, "", accepting("application/json;q=0.5, text/csv")),
		"by the query":         b.call(t, "GET", path+"?format=csv", payoutsKey, ""),
		"the query goes first": b.call(t, "GET", path+"?format=csv", payoutsKey, "", accepting("application/json")),
	} {
		require.Equal(t, http.StatusOK, r.status, name)
		require.Equal(t, "text/csv; charset=utf-8; header=present", r.header.Get("Content-Type"), name)
		require.Equal(t, `attachment; filename="statement-u_1-2026-03-USD.csv"`, r.header.Get("Content-Disposition"), name)
		require.Equal(t, "Accept", r.header.Get("Vary"), name)
		require.Equal(t, want, r.text, name)
	}
	for name, r := range map[string]reply{
		"anything":           b.call(t, "GET", path, payoutsKey, "", accepting("*/*")),
		"JSON":               b.call(t, "GET", path, payoutsKey, "", accepting("text/csv;q=0.9, application/json")),
		"JSON, by the query": b.call(t, "GET", path+"?format=json", payoutsKey, "", accepting("text/csv")),
	} {
		require.Equal(t, "application/json", r.header.Get("Content-Type"), name)
		require.Equal(t, "u_1", r.body["payee_id"], name)
	}
}

func TestNoSpreadsheetComputesADescription(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.pay(t, "u_1")
	cases := []struct{ description, written string }{
		{`=HYPERLINK("http://example.com","A song")`, `'=HYPERLINK("http://example.com","A song")`},
		{"+1", "'+1"},
		{"-1+2", "'-1+2"},
		{"@SUM(A1)", "'@SUM(A1)"},
		{"\t=1", "'\t=1"},
		{"  =1", "'  =1"},
		{"\n=1", "'\n=1"},
		{"＝1", "'＝1"},
		{"A song = 1", "A song = 1"},
		{"'=1", "'=1"},
		{"été", "été"},
		{" ", " "},
		{"", ""},
	}
	for i, c := range cases {
		body := fmt.Sprintf(`{"id":"s_%02d","kind":"sale","amount":1,"currency":"usd","occurred_at":"2026-03-01T12:00:00Z","description":%q}`, i, c.description)
		r := b.call(t, "POST", "/v1/payees/u_1/earnings", payoutsKey, body)
		require.Equal(t, http.StatusCreated, r.status, r.text)
	}
	r := b.call(t, "GET", "/v1/payees/u_1/statements/2026-03?format=csv", payoutsKey, "")
	rows, err := csv.NewReader(strings.NewReader(r.text)).ReadAll()
	require.NoError(t, err)
	for i, c := range cases {
		require.Equal(t, c.written, rows[2+i][4], "%q", c.description)
	}
}

func TestBadInputOfStatementsNamesTheField(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.earned(t, "")
	next := time.Now().UTC().AddDate(0, 0, 32).Format("2006-01")
	get := func(rest string) [3]string { return [3]string{"GET", "/v1/payees/" + rest, ""} }
	b.refuse(t, map[string]refusal{
		"no month":                {get("u_1/statements/March"), 422, "path.month"},
		"a date":                  {get("u_1/statements/2026-03-01"), 422, "path.month"},
		"a month that is not":     {get("u_1/statements/2026-13"), 422, "path.month"},
		"a month to come":         {get("u_1/statements/" + next), 422, "path.month"},
		"a month to come, as CSV": {get("u_1/statements/" + next + "?format=csv"), 422, "path.month"},
		"an unknown format":       {get("u_1/statements/2026-03?format=pdf"), 422, "query.format"},
		"an unknown currency":     {get("u_1/statements/2026-03?currency=xxq"), 422, "query.currency"},
		"a currency in capitals":  {get("u_1/statements/2026-03?currency=USD"), 422, "query.currency"},
		"no payee":                {get("u_2/statements/2026-03"), 404, "path.id"},
		"a payee with a NUL":      {get("%00/statements/2026-03"), 404, "path.id"},
	})
	r := b.call(t, "GET", "/v1/payees/u_1/statements/2026-13", payoutsKey, "", accepting("text/csv"))
	requireProblem(t, r, 422, "path.month")
	require.Equal(t, http.StatusForbidden, b.call(t, "GET", "/v1/payees/u_1/statements/2026-03", operatorKey, "").status, "it is for keys of payouts")
	require.Equal(t, http.StatusUnauthorized, b.call(t, "GET", "/v1/payees/u_1/statements/2026-03", "", "").status)
}

func TestAStatementWithoutADatabaseIsAProblem(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.earned(t, "")
	b.exec(t, `ALTER TABLE ledger_entries RENAME TO ledger_lost`)
	for _, format := range []string{"json", "csv"} {
		r := b.call(t, "GET", "/v1/payees/u_1/statements/2026-03?format="+format, payoutsKey, "")
		requireProblem(t, r, 500, "")
		require.Empty(t, r.header.Get("Content-Disposition"), "it is no file")
	}
}

// A statement of which a part is gone when Postgres fails is cut, and never looks like the whole.
func TestAStatementThatBreaksOffIsNotTakenForTheWhole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.pay(t, "u_1")
	b.manySales(t, 20_000)
	b.exec(t, `WITH it AS (INSERT INTO ledger_transactions (event, currency, source, dated) VALUES ('unheard_of', 'usd', 'x', '2026-03-31') RETURNING id)
		INSERT INTO ledger_entries (transaction_id, event, account, owner, currency, amount, dated)
		SELECT id, 'unheard_of', account, owner, 'usd', amount, '2026-03-31' FROM it, (VALUES ('payee', 'u_1', -1), ('app', '', 1)) AS e (account, owner, amount)`)
	for _, format := range []string{"json", "csv"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+"/v1/payees/u_1/statements/2026-03?format="+format, nil)
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+payoutsKey)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode)
		_, err = io.ReadAll(response.Body)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, format)
		require.NoError(t, response.Body.Close())
	}
	require.Contains(t, b.log.text(), "a statement broke off")
}

// manySales are sales of 0.01 in March, all of them told at once.
func (b bundle) manySales(t *testing.T, n int) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), `WITH sale AS (SELECT n, '2026-03-01'::date + n % 30 AS dated FROM generate_series(1, $1::int) AS n),
		earned AS (
			INSERT INTO earnings (payee_id, id, kind, amount, currency, occurred_at, description, content_hash)
			SELECT 'u_1', 's_' || n, 'sale', 1, 'usd', dated + interval '12 hours', 'Song ' || n, '' FROM sale),
		posted AS (
			INSERT INTO ledger_transactions (id, event, currency, source, dated)
			SELECT n, 'earning', 'usd', 'earning/u_1/s_' || n, dated FROM sale)
		INSERT INTO ledger_entries (transaction_id, event, account, owner, currency, amount, dated)
		SELECT n, 'earning', account, owner, 'usd', amount, dated FROM sale, (VALUES ('payee', 'u_1', -1), ('app', '', 1)) AS e (account, owner, amount)`, n)
	require.NoError(t, err)
	_, err = b.pool.Exec(t.Context(), `SELECT setval(pg_get_serial_sequence('ledger_transactions', 'id'), $1)`, n)
	require.NoError(t, err)
}
