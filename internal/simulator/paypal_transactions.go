package simulator

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// PayPal's event codes of transactions (developer.paypal.com/docs/transaction-search/transaction-event-codes).
const (
	payPalMassPayment = "T0001"
	payPalDeposit     = "T0300"
	payPalWithdrawal  = "T0400"
	payPalReversal    = "T1114" // of a mass payment, by PayPal
	payPalRefund      = "T1115" // of a mass payment
)

// What a search gives at most.
const (
	payPalSearchDays     = 31
	payPalSearchPageMost = 500
	payPalSearchMost     = 10_000
)

// payPalTransaction is a movement of money as PayPal reports it.
type payPalTransaction struct {
	id            string
	code          string
	amount        payPalAmount // negative when it went out
	fee           int64        // negative when it went out
	reference     string
	referenceType string
	custom        string
	status        string
	initiated     time.Time
	updated       time.Time
}

func newPayPalTransaction(code string, amount payPalAmount) *payPalTransaction {
	now := payPalNow()
	return &payPalTransaction{id: rand.Text()[:17], code: code, amount: amount, status: "S", initiated: now, updated: now}
}

// update takes on what has become of the item that it pays.
func (t *payPalTransaction) update(i *payPalItem) {
	status := "V"
	switch {
	case i.isPaid():
		status = "S"
	case i.isLive():
		status = "P"
	}
	if t.status != status {
		t.status, t.updated = status, payPalNow()
	}
}

type payPalShownTransactions struct {
	Details       []payPalTransactionDetail `json:"transaction_details"`
	AccountNumber string                    `json:"account_number"`
	StartDate     payPalReportTime          `json:"start_date"`
	EndDate       payPalReportTime          `json:"end_date"`
	LastRefreshed payPalReportTime          `json:"last_refreshed_datetime"`
	Page          int                       `json:"page"`
	TotalItems    int                       `json:"total_items"`
	TotalPages    int                       `json:"total_pages"`
	Links         []payPalLink              `json:"links"`
}

type payPalTransactionDetail struct {
	Info payPalTransactionInfo `json:"transaction_info"`
}

type payPalTransactionInfo struct {
	ID            string           `json:"transaction_id"`
	Reference     string           `json:"paypal_reference_id,omitempty"`
	ReferenceType string           `json:"paypal_reference_id_type,omitempty"`
	EventCode     string           `json:"transaction_event_code"`
	Initiated     payPalReportTime `json:"transaction_initiation_date"`
	Updated       payPalReportTime `json:"transaction_updated_date"`
	Amount        payPalMoney      `json:"transaction_amount"`
	Fee           *payPalMoney     `json:"fee_amount,omitempty"`
	Status        string           `json:"transaction_status"`
	Custom        string           `json:"custom_field,omitempty"`
}

// payPalReportTime is a time as PayPal's reports write it, with an offset that has no colon.
type payPalReportTime time.Time

// MarshalText writes it.
func (t payPalReportTime) MarshalText() ([]byte, error) {
	return time.Time(t).UTC().AppendFormat(nil, "2006-01-02T15:04:05-0700"), nil
}

func payPalReported(units int64, currency string) payPalMoney {
	return payPalMoney{CurrencyCode: currency, Value: payPalAmount{units, currency}.String()}
}

func (t *payPalTransaction) shown() payPalTransactionDetail {
	info := payPalTransactionInfo{
		ID: t.id, Reference: t.reference, ReferenceType: t.referenceType, EventCode: t.code, Status: t.status, Custom: t.custom,
		Initiated: payPalReportTime(t.initiated), Updated: payPalReportTime(t.updated), Amount: payPalReported(t.amount.units, t.amount.currency),
	}
	if t.fee != 0 {
		info.Fee = new(payPalReported(t.fee, t.amount.currency))
	}
	return payPalTransactionDetail{Info: info}
}

func (p *PayPal) serveReports() {
	p.handle("GET /v1/reporting/transactions", p.searchTransactions)
	p.handle("GET /v1/reporting/balances", p.showBalances)
}

// payPalSearch is what is asked of the transactions.
type payPalSearch struct {
	from, to                   time.Time
	page, size                 int
	id, code, status, currency string // empty takes any
}

func readPayPalSearch(query url.Values) (payPalSearch, *payPalError) {
	s := payPalSearch{
		page: 1, size: 100, id: query.Get("transaction_id"), code: query.Get("transaction_type"),
		status: query.Get("transaction_status"), currency: query.Get("transaction_currency"),
	}
	for _, unknown := range []string{"transaction_amount", "payment_instrument_type", "store_id", "terminal_id"} {
		if query.Has(unknown) {
			return s, payPalInvalidQuery(unknown, "The simulator does not filter by this field.")
		}
	}
	for name, moment := range map[string]*time.Time{"start_date": &s.from, "end_date": &s.to} {
		var problem *payPalError
		if *moment, problem = readPayPalTime(query, name); problem != nil {
			return s, problem
		}
	}
	switch {
	case s.to.Before(s.from):
		return s, payPalInvalidQuery("end_date", "The end date must not be before the start date.")
	case s.to.Sub(s.from) > payPalSearchDays*24*time.Hour:
		return s, payPalInvalidQuery("end_date", "Date range is greater than 31 days.")
	}
	var problem *payPalError
	if query.Has("page") {
		if s.page, problem = readPayPalNumber(query, "page", 1<<31-1); problem != nil {
			return s, problem
		}
	}
	if query.Has("page_size") {
		s.size, problem = readPayPalNumber(query, "page_size", payPalSearchPageMost)
	}
	return s, problem
}

func readPayPalTime(query url.Values, name string) (time.Time, *payPalError) {
	moment, err := time.Parse(time.RFC3339, strings.ToUpper(query.Get(name)))
	if err != nil {
		return moment, payPalInvalidQuery(name, "The date must be an Internet date and time with seconds and an offset.")
	}
	return moment, nil
}

func readPayPalNumber(query url.Values, name string, most int) (int, *payPalError) {
	n, err := strconv.Atoi(query.Get(name))
	if err != nil || n < 1 || n > most {
		return 0, payPalInvalidQuery(name, "The value must be between 1 and "+strconv.Itoa(most)+".")
	}
	return n, nil
}

func payPalInvalidQuery(field, description string) *payPalError {
	e := payPalInvalid(field, "INVALID_PARAMETER_VALUE", description)
	e.Details[0].Location = "query"
	return e
}

func (p *PayPal) searchTransactions(r payPalRequest) (int, any, *payPalError) {
	search, problem := readPayPalSearch(r.query)
	if problem != nil {
		return 0, nil, problem
	}
	refreshed := time.Now().Add(-time.Duration(p.payouts.settings.SearchLagMS) * time.Millisecond)
	found := p.money.search(search, refreshed)
	if len(found) > payPalSearchMost {
		return 0, nil, newPayPalError(http.StatusBadRequest, "RESULTSET_TOO_LARGE",
			"Result set size is greater than the maximum limit. Change the filter criteria and try again.")
	}
	shown := payPalShownTransactions{
		Details: []payPalTransactionDetail{}, AccountNumber: payPalAccountID, StartDate: payPalReportTime(search.from),
		EndDate: payPalReportTime(search.to), LastRefreshed: payPalReportTime(refreshed), Page: search.page, TotalItems: len(found),
		TotalPages: (len(found) + search.size - 1) / search.size,
		Links:      []payPalLink{{Href: p.baseURL() + "/v1/reporting/transactions?" + r.query.Encode(), Rel: "self", Method: http.MethodGet}},
	}
	from := min((search.page-1)*search.size, len(found))
	for _, t := range found[from:min(from+search.size, len(found))] {
		shown.Details = append(shown.Details, t.shown())
	}
	return http.StatusOK, shown, nil
}

// search gives the transactions that fit, oldest first, as far as they are known to the reports.
func (b *payPalBooks) search(s payPalSearch, refreshed time.Time) []*payPalTransaction {
	var found []*payPalTransaction
	for _, m := range b.movements {
		if m.at.After(refreshed) {
			break
		}
		if m.transaction != nil && s.takes(m.transaction) {
			found = append(found, m.transaction)
		}
	}
	return found
}

func (s payPalSearch) takes(t *payPalTransaction) bool {
	fits := func(wanted, is string) bool { return wanted == "" || wanted == is }
	return !t.initiated.Before(s.from) && !t.initiated.After(s.to) && fits(s.id, t.id) && fits(s.code, t.code) &&
		fits(s.status, t.status) && fits(s.currency, t.amount.currency)
}
