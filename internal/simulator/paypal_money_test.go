package simulator_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/simulator"
)

const (
	payPalBalances     = "/v1/reporting/balances"
	payPalTransactions = "/v1/reporting/transactions"
)

// anHour is longer than any test, in milliseconds.
const anHour = 3_600_000

type payPalShownBalances struct {
	Balances []payPalShownBalance `json:"balances"`
	AsOf     string               `json:"as_of_time"`
}

type payPalShownBalance struct {
	Currency  string      `json:"currency"`
	Primary   bool        `json:"primary"`
	Total     payPalMoney `json:"total_balance"`
	Available payPalMoney `json:"available_balance"`
	Withheld  payPalMoney `json:"withheld_balance"`
}

type payPalMoney struct {
	Value    string `json:"value"`
	Currency string `json:"currency_code"`
}

type payPalFound struct {
	Details []struct {
		Info payPalTransaction `json:"transaction_info"`
	} `json:"transaction_details"`
	Refreshed  string `json:"last_refreshed_datetime"`
	TotalItems int    `json:"total_items"`
	TotalPages int    `json:"total_pages"`
}

type payPalTransaction struct {
	ID            string      `json:"transaction_id"`
	Reference     string      `json:"paypal_reference_id"`
	ReferenceType string      `json:"paypal_reference_id_type"`
	Code          string      `json:"transaction_event_code"`
	Initiated     string      `json:"transaction_initiation_date"`
	Amount        payPalMoney `json:"transaction_amount"`
	Fee           payPalMoney `json:"fee_amount"`
	Status        string      `json:"transaction_status"`
	Custom        string      `json:"custom_field"`
}

func (c payPalCaller) balances(query string) payPalShownBalances {
	c.t.Helper()
	got := c.send(c.request(http.MethodGet, payPalBalances+query, ""))
	require.Equal(c.t, http.StatusOK, got.Status, got.Body)
	return readBack[payPalShownBalances](c.t, got.Body)
}

// transactions searches a day around now, with further filters.
func (c payPalCaller) transactions(filters ...string) payPalFound {
	c.t.Helper()
	query := url.Values{}
	for n := 0; n < len(filters); n += 2 {
		query.Set(filters[n], filters[n+1])
	}
	for name, offset := range map[string]time.Duration{"start_date": -12 * time.Hour, "end_date": 12 * time.Hour} {
		if !query.Has(name) {
			query.Set(name, time.Now().Add(offset).Format(time.RFC3339))
		}
	}
	got := c.send(c.request(http.MethodGet, payPalTransactions+"?"+query.Encode(), ""))
	require.Equal(c.t, http.StatusOK, got.Status, got.Body)
	return readBack[payPalFound](c.t, got.Body)
}

func TestPayPalBalances_ShowWhatIsThereAndWithheld(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	call := b.payPal(t)
	require.Equal(t, "10000000.00", call.balances("").Balances[0].Available.Value, "demos have something to pay out")
	require.NoError(t, b.PayPal().SetPayPalBalance("USD", 5000))
	require.NoError(t, b.PayPal().SetPayPalBalance("JPY", 12))
	require.NoError(t, b.PayPal().SetPayouts(simulator.PayPalPayoutSettings{Manual: true}))
	id := call.payOut("b_1", usd("ada@example.com", "po_1"))
	_, err := b.PayPal().AdvancePayPalBatch(id)
	require.NoError(t, err)
	yen := payPalShownBalance{Currency: "JPY", Total: payPalMoney{"12", "JPY"}, Available: payPalMoney{"12", "JPY"}, Withheld: payPalMoney{"0", "JPY"}}
	dollars := func(total, available, withheld string) payPalShownBalance {
		return payPalShownBalance{
			Currency: "USD", Primary: true, Total: payPalMoney{total, "USD"}, Available: payPalMoney{available, "USD"}, Withheld: payPalMoney{withheld, "USD"},
		}
	}

	require.Equal(t, []payPalShownBalance{yen, dollars("50.00", "39.80", "10.20")}, call.balances("").Balances)
	_, err = b.PayPal().AdvancePayPalBatch(id)
	require.NoError(t, err)
	require.Equal(t, []payPalShownBalance{dollars("39.80", "39.80", "0.00")}, call.balances("?currency_code=USD").Balances)
	require.Empty(t, call.balances("?currency_code=EUR").Balances)
	require.NoError(t, b.PayPal().SetPayPalBalance("USD", -150))
	require.Equal(t, []payPalShownBalance{dollars("-1.50", "-1.50", "0.00")}, call.balances("?currency_code=USD").Balances)

	require.Equal(t, http.StatusBadRequest, call.send(call.request("GET", payPalBalances+"?as_of_time=today", "")).Status)
	for currency, amount := range map[string]int64{"usd": 1, "XYZ": 1, "USD": 1_000_000_000_000} {
		require.Error(t, b.PayPal().SetPayPalBalance(currency, amount))
		require.Error(t, b.PayPal().FundPayPal(currency, amount))
	}
}

func TestPayPalBalances_Lag(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	call := b.payPal(t)
	require.NoError(t, b.PayPal().SetPayouts(simulator.PayPalPayoutSettings{BalanceLagMS: anHour}))
	call.payOut("b_1", usd("ada@example.com", "po_1"))

	shown := call.balances("")

	require.Equal(t, "0.00", shown.Balances[0].Total.Value, "an hour ago there was no account yet")
	asOf, err := time.Parse("2006-01-02T15:04:05-0700", shown.AsOf)
	require.NoError(t, err)
	require.Less(t, asOf, time.Now().Add(-time.Hour+patience))
	require.NoError(t, b.PayPal().SetPayouts(simulator.PayPalPayoutSettings{}))
	require.Equal(t, "9999989.80", call.balances("").Balances[0].Total.Value)
	ago := url.QueryEscape(time.Now().Add(-time.Hour).Format(time.RFC3339))
	require.Equal(t, "0.00", call.balances("?as_of_time=" + ago).Balances[0].Total.Value)
}

func TestPayPalTransactions_FollowEachItem(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	call := b.payPal(t)
	batch := call.payOut("b_1",
		usd("ada@example.com", "po_1"), usd("unclaimed-ben@example.com", "po_2"), usd("failed-cy@example.com", "po_3"), usd("dan@example.com", "po_4"))
	items := call.get(payPalPayouts + "/" + batch).Items
	found := func(filters ...string) []payPalTransaction {
		var out []payPalTransaction
		for _, d := range call.transactions(filters...).Details {
			d.Info.Initiated = ""
			out = append(out, d.Info)
		}
		return out
	}
	payment := func(n int, status string) payPalTransaction {
		return payPalTransaction{
			ID: items[n].TransactionID, Reference: batch, Code: "T0001", Status: status, Custom: fmt.Sprint("po_", n+1),
			Amount: payPalMoney{"-10.00", "USD"}, Fee: payPalMoney{"-0.20", "USD"},
		}
	}
	require.Equal(t, []payPalTransaction{payment(0, "S"), payment(1, "P"), payment(3, "S")}, found("transaction_type", "T0001"),
		"one that failed at once has none")

	_, err := b.PayPal().ReversePayPalItem(items[0].ID, 250)
	require.NoError(t, err)
	_, err = b.PayPal().ReturnPayPalItem(items[1].ID)
	require.NoError(t, err)
	_, err = b.PayPal().RefundPayPalItem(items[3].ID)
	require.NoError(t, err)

	back := func(n int, code, value, fee string) payPalTransaction {
		back := payPalTransaction{Reference: items[n].TransactionID, ReferenceType: "TXN", Code: code, Status: "S", Amount: payPalMoney{value, "USD"}}
		if fee != "" {
			back.Fee = payPalMoney{fee, "USD"}
		}
		return back
	}
	all := found()
	require.Equal(t, "T0300", all[0].Code, "what there was at first")
	for n := 4; n < 7; n++ {
		require.Len(t, all[n].ID, 17)
		all[n].ID = ""
	}
	require.Equal(t, []payPalTransaction{
		payment(0, "S"), payment(1, "V"), payment(3, "V"),
		back(0, "T1114", "2.50", ""), back(1, "T1115", "10.00", "0.20"), back(3, "T1115", "10.00", ""),
	}, all[1:])
	require.Equal(t, []payPalTransaction{payment(1, "V")}, found("transaction_id", items[1].TransactionID))
	require.Len(t, found("transaction_status", "V"), 2)
	require.Empty(t, found("transaction_currency", "EUR"))
	require.NoError(t, b.PayPal().SetPayPalBalance("EUR", 5))
	require.NoError(t, b.PayPal().SetPayPalBalance("EUR", 3))
	euros := found("transaction_currency", "EUR")
	require.Equal(t, []string{"T0300", "0.05", "T0400", "-0.02"}, []string{euros[0].Code, euros[0].Amount.Value, euros[1].Code, euros[1].Amount.Value})
}

func TestPayPalTransactions_PagesAndDates(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	call := b.payPal(t)
	var items []string
	for n := range 5 {
		items = append(items, usd("ada@example.com", fmt.Sprint("po_", n)))
	}
	call.payOut("b_1", items...)
	customs := func(filters ...string) []string {
		var out []string
		for _, d := range call.transactions(append(filters, "transaction_type", "T0001")...).Details {
			out = append(out, d.Info.Custom)
		}
		return out
	}
	require.Equal(t, []string{"po_0", "po_1"}, customs("page_size", "2"))
	require.Equal(t, []string{"po_4"}, customs("page_size", "2", "page", "3"))
	require.Empty(t, customs("page_size", "2", "page", "4"))
	found := call.transactions("transaction_type", "T0001", "page_size", "2")
	require.Equal(t, []int{5, 3}, []int{found.TotalItems, found.TotalPages})
	in := func(d time.Duration) string { return time.Now().Add(d).Format(time.RFC3339) }
	require.Empty(t, customs("start_date", in(time.Hour)))
	require.Empty(t, customs("end_date", in(-time.Hour)))
	require.Len(t, customs("start_date", in(-30*24*time.Hour)), 5)

	require.NoError(t, b.PayPal().SetPayouts(simulator.PayPalPayoutSettings{SearchLagMS: anHour}))
	require.Empty(t, customs(), "an hour ago they had not occurred yet")
	require.NoError(t, b.PayPal().SetPayouts(simulator.PayPalPayoutSettings{}))

	start, end := url.QueryEscape(in(-time.Hour)), url.QueryEscape(in(time.Hour))
	for query, field := range map[string]string{
		"?end_date=" + end:                          "start_date",
		"?start_date=" + start:                      "end_date",
		"?start_date=2026-01-02&end_date=" + end:    "start_date",
		"?start_date=" + end + "&end_date=" + start: "end_date",
		"?end_date=" + end + "&start_date=" + url.QueryEscape(in(-31*24*time.Hour)): "end_date",
		"?page=0&start_date=" + start + "&end_date=" + end:                          "page",
		"?page_size=501&start_date=" + start + "&end_date=" + end:                   "page_size",
		"?store_id=1&start_date=" + start + "&end_date=" + end:                      "store_id",
	} {
		wrong := call.send(call.request("GET", payPalTransactions+query, ""))
		require.Equal(t, http.StatusBadRequest, wrong.Status, query)
		require.Equal(t, []string{"INVALID_REQUEST", field}, []string{wrong.Name, wrong.Details[0].Field}, query)
	}
}

func TestPayPalTransactions_TooMany(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	call := b.payPal(t)
	items := make([]string, 10_000)
	for n := range items {
		items[n] = usd("ada@example.com", fmt.Sprint("po_", n), "1.00")
	}
	call.payOut("b_1", items...)
	day := url.Values{"start_date": {time.Now().Add(-time.Hour).Format(time.RFC3339)}, "end_date": {time.Now().Add(time.Hour).Format(time.RFC3339)}}
	path := payPalTransactions + "?" + day.Encode()

	tooMany := call.send(call.request(http.MethodGet, path, ""))

	require.Equal(t, http.StatusBadRequest, tooMany.Status, "there is also what was put in at first")
	require.Equal(t, "RESULTSET_TOO_LARGE", tooMany.Name)
	require.Equal(t, http.StatusOK, call.send(call.request(http.MethodGet, path+"&transaction_type=T0001", "")).Status)
}
