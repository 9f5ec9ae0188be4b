package paypal

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	transactionsPath    = "/v1/reporting/transactions"
	transactionsAtOnce  = 500 // the most that PayPal lists on a page
	maxTransactionsSpan = 31 * 24 * time.Hour

	// CodeSearchInvalid means that a search's page is below 1, or its time is empty or longer than 31
	// days. Nothing was sent.
	CodeSearchInvalid = "transaction_search_invalid"
	// CodeSearchTooLarge is PayPal's refusal of a search that finds more than it lists: a shorter time
	// finds less.
	CodeSearchTooLarge = "RESULTSET_TOO_LARGE"
)

// Transaction is a movement in the account's books, without the counterparty. Times are UTC, and zero
// where PayPal gives none.
type Transaction struct {
	ID string // which two movements may share
	// ReferenceID is the id of what the movement belongs to, and ReferenceType what that is: ODR, TXN,
	// SUB, PAP, or empty.
	ReferenceID   string
	ReferenceType string
	EventCode     string // "T0001" is a payout, "T1114" its reversal, "T1115" its refund
	Status        string // D denied, P pending, S successful, V reversed
	Value         string // a decimal, negative when the money left
	Currency      string
	CustomField   string
	InvoiceID     string
	InitiatedAt   time.Time
	UpdatedAt     time.Time
}

// TransactionPage is a page of what a search found.
type TransactionPage struct {
	Transactions []Transaction
	TotalPages   int // at least 1
	// RefreshedAt is up to when the books were searched: what happened later is not found yet.
	RefreshedAt time.Time
}

type transactionsAnswer struct {
	TotalItems *int   `json:"total_items"` // which tells the answer from any other
	TotalPages int    `json:"total_pages"`
	Refreshed  moment `json:"last_refreshed_datetime"`
	Details    []struct {
		Info transactionAnswer `json:"transaction_info"`
	} `json:"transaction_details"`
}

type transactionAnswer struct {
	ID            string      `json:"transaction_id"`
	ReferenceID   string      `json:"paypal_reference_id"`
	ReferenceType string      `json:"paypal_reference_id_type"`
	EventCode     string      `json:"transaction_event_code"`
	Status        string      `json:"transaction_status"`
	Amount        moneyAnswer `json:"transaction_amount"`
	CustomField   string      `json:"custom_field"`
	InvoiceID     string      `json:"invoice_id"`
	Initiated     moment      `json:"transaction_initiation_date"`
	Updated       moment      `json:"transaction_updated_date"`
}

// SearchTransactions gives a page, from 1, of at most 500 movements that began in a time of at most 31
// days, which is cut to whole seconds. PayPal takes up to three hours until it finds one.
func (c *Client) SearchTransactions(ctx context.Context, from, to time.Time, page int) (TransactionPage, error) {
	if page < 1 || !from.Before(to) || to.Sub(from) > maxTransactionsSpan {
		return TransactionPage{}, rejected(CodeSearchInvalid, "start_date")
	}
	query := url.Values{
		"start_date": {from.UTC().Format(time.RFC3339)}, "end_date": {to.UTC().Format(time.RFC3339)},
		"fields": {"transaction_info"}, "page": {strconv.Itoa(page)}, "page_size": {strconv.Itoa(transactionsAtOnce)},
	}
	var answer transactionsAnswer
	err := c.run(ctx, request{route: transactionsPath}, func(ctx context.Context) error {
		answer = transactionsAnswer{}
		if err := c.exchange(ctx, http.MethodGet, transactionsPath+"?"+query.Encode(), nil, &answer); err != nil {
			return err
		}
		return answer.check()
	})
	if err != nil {
		return TransactionPage{}, err
	}
	return answer.page(page), nil
}

func (a transactionsAnswer) check() error {
	if a.TotalItems == nil {
		return errNotPayPal
	}
	for _, found := range a.Details {
		if found.Info.ID == "" {
			return errNotPayPal
		}
	}
	return nil
}

func (a transactionsAnswer) page(page int) TransactionPage {
	found := make([]Transaction, len(a.Details))
	for i, detail := range a.Details {
		found[i] = detail.Info.transaction()
	}
	return TransactionPage{
		Transactions: found, TotalPages: pages(a.TotalPages, page, len(found), transactionsAtOnce), RefreshedAt: a.Refreshed.utc(),
	}
}

func (a transactionAnswer) transaction() Transaction {
	t := Transaction{
		ID: a.ID, ReferenceID: a.ReferenceID, ReferenceType: a.ReferenceType, EventCode: a.EventCode, Status: a.Status,
		CustomField: a.CustomField, InvoiceID: a.InvoiceID, InitiatedAt: a.Initiated.utc(), UpdatedAt: a.Updated.utc(),
	}
	t.Value, t.Currency = plainMoney(a.Amount.Value, a.Amount.Currency)
	return t
}
