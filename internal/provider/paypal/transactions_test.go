package paypal_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
)

const transactionsJSON = `{"account_number":"XZXSPECPDZHZU","last_refreshed_datetime":"2026-11-20T06:59:59+0000","page":1,"total_items":2,"total_pages":1,
	"transaction_details":[
		{"transaction_info":{"paypal_account_id":"6STWC2LSUYYYE","transaction_id":"5TY05013RG002845M","paypal_reference_id":"5UXD2E8A7EBQJ",
			"paypal_reference_id_type":"TXN","transaction_event_code":"T0001","transaction_initiation_date":"2026-11-20T04:03:52+0000",
			"transaction_updated_date":"2026-11-20T04:03:53Z","transaction_amount":{"currency_code":"usd","value":"-9.87"},
			"fee_amount":{"currency_code":"USD","value":"-0.20"},"transaction_status":"S","custom_field":"po_1","invoice_id":"inv_1"},
			"payer_info":{"email_address":"ada@example.com"}},
		{"transaction_info":{"transaction_id":"9TY05013RG002845M"}}]}`

func TestSearchTransactions(t *testing.T) {
	t.Parallel()
	s := &script{reply: reply{body: transactionsJSON}}
	from := time.Date(2026, 11, 20, 1, 2, 3, 999, time.FixedZone("", 3600))

	got, err := answering(t, s).SearchTransactions(t.Context(), from, from.AddDate(0, 0, 31), 3)

	require.NoError(t, err)
	require.Equal(t, paypal.TransactionPage{
		Transactions: []paypal.Transaction{
			{
				ID: "5TY05013RG002845M", ReferenceID: "5UXD2E8A7EBQJ", ReferenceType: "TXN", EventCode: "T0001", Status: "S",
				Value: "-9.87", Currency: "USD", CustomField: "po_1", InvoiceID: "inv_1",
				InitiatedAt: time.Date(2026, 11, 20, 4, 3, 52, 0, time.UTC), UpdatedAt: time.Date(2026, 11, 20, 4, 3, 53, 0, time.UTC),
			},
			{ID: "9TY05013RG002845M"},
		},
		TotalPages: 1, RefreshedAt: time.Date(2026, 11, 20, 6, 59, 59, 0, time.UTC),
	}, got)
	require.Equal(t, "GET /v1/reporting/transactions", s.calls()[1])
	require.Equal(t, "end_date=2026-12-21T00%3A02%3A03Z&fields=transaction_info&page=3&page_size=500&start_date=2026-11-20T00%3A02%3A03Z",
		s.requests()[1].query)
}

func TestASearchThatFindsNothing(t *testing.T) {
	t.Parallel()
	s := &script{reply: reply{body: `{"total_items":0,"total_pages":0,"last_refreshed_datetime":"2026-11-20T00:00:00Z"}`}}

	got, err := answering(t, s).SearchTransactions(t.Context(), day, day.Add(time.Hour), 1)

	require.NoError(t, err)
	require.Equal(t, paypal.TransactionPage{Transactions: []paypal.Transaction{}, TotalPages: 1, RefreshedAt: day}, got)
}

func TestAFullPageOfTransactionsWithoutACountHasANextOne(t *testing.T) {
	t.Parallel()
	one := `{"transaction_info":{"transaction_id":"A"}}`
	s := &script{reply: reply{body: `{"total_items":500,"transaction_details":[` + strings.Repeat(one+",", 499) + one + `]}`}}

	got, err := answering(t, s).SearchTransactions(t.Context(), day, day.Add(time.Hour), 1)

	require.NoError(t, err)
	require.Equal(t, 2, got.TotalPages)
}

func TestASearchThatFindsTooMuch(t *testing.T) {
	t.Parallel()
	s := &script{reply: reply{status: 400, body: `{"name":"RESULTSET_TOO_LARGE","message":"Result set size is greater than the maximum limit.",
		"debug_id":"f1d2e3","maximum_items":"10000","details":[{"issue":"TOO_LARGE"}]}`}}

	_, err := answering(t, s).SearchTransactions(t.Context(), day, day.Add(time.Hour), 1)

	require.Equal(t, rejected, failureOf(t, err).Class)
	require.Equal(t, paypal.CodeSearchTooLarge, failureOf(t, err).Code)
}

func TestASearchThatCannotBeIsNotSent(t *testing.T) {
	t.Parallel()
	s := &script{reply: reply{body: transactionsJSON}}
	client := answering(t, s)
	for name, test := range map[string]struct {
		to   time.Time
		page int
	}{
		"no time":   {day, 1},
		"backwards": {day.Add(-time.Second), 1},
		"too long":  {day.Add(31*24*time.Hour + 1), 1},
		"no page":   {day.Add(time.Hour), 0},
	} {
		_, err := client.SearchTransactions(t.Context(), day, test.to, test.page)
		require.Equal(t, rejected, failureOf(t, err).Class, name)
		require.Equal(t, paypal.CodeSearchInvalid, failureOf(t, err).Code, name)
	}
	require.Empty(t, s.requests())
}

func TestAnAnswerThatIsNoSearch(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		``, `null`, `{}`, `{"transaction_details":[]}`, `{"total_items":"many"}`, transactionsJSON[:200],
		`{"total_items":1,"transaction_details":[{}]}`,
	} {
		t.Run(body, func(t *testing.T) {
			t.Parallel()
			_, err := answering(t, &script{reply: reply{body: body}}).SearchTransactions(t.Context(), day, day.Add(time.Hour), 1)

			require.Equal(t, transient, failureOf(t, err).Class)
			require.Equal(t, provider.CodeUnreadable, failureOf(t, err).Code)
		})
	}
}
