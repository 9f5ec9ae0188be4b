package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	payPalPayoutsPath     = "/v1/payments/payouts"
	payPalPayoutItemsPath = "/v1/payments/payouts-item"
)

const (
	payPalItemsMost    = 15_000
	payPalItemCapUSD   = 2_000_000 // of one item: 20,000.00
	payPalPageMost     = 1000
	payPalReceiverMost = 127
)

func (p *PayPal) servePayouts() {
	p.handle("POST "+payPalPayoutsPath, p.createPayouts)
	p.handle("GET "+payPalPayoutsPath+"/{id}", p.showPayouts)
	p.handle("GET "+payPalPayoutItemsPath+"/{id}", p.onItem(func(*payPalItem) *payPalError { return nil }))
	p.handle("POST "+payPalPayoutItemsPath+"/{id}/cancel", p.onItem(p.cancelItem))
}

// payPalAskedBatch is a batch as it is asked for.
type payPalAskedBatch struct {
	Header payPalSenderBatchHeader `json:"sender_batch_header"`
	Items  []payPalAskedItem       `json:"items"`
}

type payPalSenderBatchHeader struct {
	SenderBatchID string `json:"sender_batch_id,omitempty"`
	RecipientType string `json:"recipient_type,omitempty"`
	EmailSubject  string `json:"email_subject,omitempty"`
	EmailMessage  string `json:"email_message,omitempty"`
}

type payPalAskedItem struct {
	RecipientType   string            `json:"recipient_type,omitempty"`
	Amount          payPalShownAmount `json:"amount"`
	Note            string            `json:"note,omitempty"`
	Receiver        string            `json:"receiver"`
	SenderItemID    string            `json:"sender_item_id,omitempty"`
	RecipientWallet string            `json:"recipient_wallet,omitempty"`
	Purpose         string            `json:"purpose,omitempty"`
}

// payPalShownAmount is how payouts write amounts; elsewhere the field is called currency_code.
type payPalShownAmount struct {
	Currency string `json:"currency"`
	Value    string `json:"value"`
}

func shownPayPalAmount(units int64, currency string) payPalShownAmount {
	return payPalShownAmount{Currency: currency, Value: payPalAmount{units, currency}.String()}
}

// payPalShownBatch is a batch as the API shows it.
type payPalShownBatch struct {
	TotalItems *int              `json:"total_items,omitempty"`
	TotalPages *int              `json:"total_pages,omitempty"`
	Header     payPalShownHeader `json:"batch_header,omitzero"`
	Items      []payPalShownItem `json:"items,omitempty"`
	Links      []payPalLink      `json:"links,omitempty"`
}

type payPalShownHeader struct {
	PayoutBatchID     string                  `json:"payout_batch_id"`
	BatchStatus       string                  `json:"batch_status"`
	TimeCreated       time.Time               `json:"time_created,omitzero"`
	TimeCompleted     time.Time               `json:"time_completed,omitzero"`
	TimeClosed        time.Time               `json:"time_closed,omitzero"`
	SenderBatchHeader payPalSenderBatchHeader `json:"sender_batch_header"`
	FundingSource     string                  `json:"funding_source,omitempty"`
	Amount            payPalShownAmount       `json:"amount,omitzero"`
	Fees              payPalShownAmount       `json:"fees,omitzero"`
	Payments          int                     `json:"payments,omitempty"` // in events only
}

type payPalShownItem struct {
	PayoutItemID      string             `json:"payout_item_id"`
	TransactionID     string             `json:"transaction_id,omitempty"`
	ActivityID        string             `json:"activity_id"`
	TransactionStatus string             `json:"transaction_status"`
	PayoutItemFee     payPalShownAmount  `json:"payout_item_fee"`
	PayoutBatchID     string             `json:"payout_batch_id"`
	SenderBatchID     string             `json:"sender_batch_id,omitempty"`
	PayoutItem        payPalAskedItem    `json:"payout_item"`
	TimeProcessed     time.Time          `json:"time_processed,omitzero"`
	Errors            *payPalItemProblem `json:"errors,omitempty"`
	Links             []payPalLink       `json:"links"`
}

// payPalItemProblem is why an item is not paid.
type payPalItemProblem struct {
	Name            string `json:"name"`
	Message         string `json:"message"`
	DebugID         string `json:"debug_id"`
	InformationLink string `json:"information_link"`
}

func (p *PayPal) createPayouts(r payPalRequest) (int, any, *payPalError) {
	asked, problem := readPayPalObject[payPalAskedBatch](r.body)
	if problem != nil {
		return 0, nil, problem
	}
	amounts, problem := asked.check()
	if problem != nil {
		return 0, nil, problem
	}
	if first, used := p.payouts.bySender[asked.Header.SenderBatchID]; used {
		return 0, nil, p.duplicateBatch(first)
	}
	if code := p.payouts.settings.RefuseWith; code != "" {
		return 0, nil, payPalPayoutsProblem(http.StatusUnprocessableEntity, code, "The request cannot be processed.")
	}
	b := newPayPalBatch(asked, amounts)
	if p.payouts.settings.RefuseUnfunded && b.amount.units+b.fees > p.money.funds[b.amount.currency].Available {
		return 0, nil, payPalPayoutsProblem(http.StatusUnprocessableEntity, payPalNoFunds,
			"Sender does not have sufficient funds. Please add funds and retry.")
	}
	p.addBatch(b)
	made := payPalShownBatch{
		Header: payPalShownHeader{PayoutBatchID: b.id, BatchStatus: b.status, SenderBatchHeader: b.header}, Links: p.batchLinks(b),
	}
	p.runByItself(b)
	return http.StatusCreated, made, nil
}

// duplicateBatch refuses a sender_batch_id that was used before, whatever became of the first batch.
func (p *PayPal) duplicateBatch(first *payPalBatch) *payPalError {
	e := payPalPayoutsProblem(http.StatusBadRequest, "USER_BUSINESS_ERROR", "User business error.", payPalErrorDetail{
		Field: "SENDER_BATCH_ID", Location: "body", Issue: "Duplicate batch request",
	})
	if !p.payouts.settings.DuplicateWithoutLink {
		e.Links = p.batchLinks(first)
	}
	return e
}

func payPalPayoutsProblem(status int, name, message string, details ...payPalErrorDetail) *payPalError {
	e := newPayPalError(status, name, message, details...)
	e.Links = []payPalLink{}
	return e
}

func payPalInvalidPayouts(details ...payPalErrorDetail) *payPalError {
	return payPalPayoutsProblem(http.StatusBadRequest, "VALIDATION_ERROR", "Invalid request - see details", details...)
}

// check reads the amounts of a batch, or refuses all of it. Every item that is wrong is named, but for
// those whose receiver has the refusal name none.
func (b payPalAskedBatch) check() ([]payPalAmount, *payPalError) {
	if details := b.checkHeader(); len(details) > 0 {
		return nil, payPalInvalidPayouts(details...)
	}
	amounts, details, unnamed := make([]payPalAmount, len(b.Items)), []payPalErrorDetail(nil), false
	for n, i := range b.Items {
		if wrong := i.check(b.Header.RecipientType, b.Items[0].Amount.Currency); wrong != nil {
			wrong.Field, wrong.Location = fmt.Sprintf("items[%d].%s", n, wrong.Field), "body"
			details = append(details, *wrong)
		}
		unnamed = unnamed || strings.HasPrefix(i.Receiver, payPalInvalidUnnamed)
		amounts[n], _ = readPayPalAmount(i.Amount.Value, i.Amount.Currency)
	}
	if len(details) > 0 || unnamed {
		return nil, payPalInvalidPayouts(details...)
	}
	return amounts, nil
}

func (b payPalAskedBatch) checkHeader() []payPalErrorDetail {
	var details []payPalErrorDetail
	wrong := func(field, issue string) {
		details = append(details, payPalErrorDetail{Field: field, Location: "body", Issue: issue})
	}
	if len(b.Header.SenderBatchID) > 256 {
		wrong("sender_batch_header.sender_batch_id", "The value must be at most 256 characters long")
	}
	if len(b.Header.EmailSubject) > 255 {
		wrong("sender_batch_header.email_subject", "The value must be at most 255 characters long")
	}
	if len(b.Items) == 0 || len(b.Items) > payPalItemsMost {
		wrong("items", "There must be between 1 and 15000 items")
	}
	return details
}

const (
	payPalInvalidNamed   = "invalid-"
	payPalInvalidUnnamed = "invalid-unnamed-"
)

var payPalEmail = regexp.MustCompile(`^[\x21-\x3F\x41-\x7E]+@[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)+$`)

// check says what is wrong with an item, with the field's name within it.
func (i payPalAskedItem) check(recipientType, currency string) *payPalErrorDetail {
	if i.RecipientType != "" {
		recipientType = i.RecipientType
	}
	switch {
	case recipientType != "EMAIL":
		return &payPalErrorDetail{Field: "recipient_type", Issue: "The simulator pays recipients of the type EMAIL only"}
	case len(i.Receiver) > payPalReceiverMost || !payPalEmail.MatchString(i.Receiver),
		strings.HasPrefix(i.Receiver, payPalInvalidNamed) && !strings.HasPrefix(i.Receiver, payPalInvalidUnnamed):
		return &payPalErrorDetail{Field: "receiver", Issue: "Receiver is invalid or does not match with type"}
	case len(i.SenderItemID) > 63:
		return &payPalErrorDetail{Field: "sender_item_id", Issue: "The value must be at most 63 characters long"}
	case len(i.Note) > 4000:
		return &payPalErrorDetail{Field: "note", Issue: "The value must be at most 4000 characters long"}
	}
	return i.Amount.check(currency)
}

// check says what is wrong with the amount of an item, in a batch of one currency.
func (a payPalShownAmount) check(currency string) *payPalErrorDetail {
	amount, err := readPayPalAmount(a.Value, a.Currency)
	switch {
	case !isPayPalCurrency(a.Currency):
		return &payPalErrorDetail{Field: "amount.currency", Issue: "Currency code is invalid"}
	case a.Currency != currency:
		return &payPalErrorDetail{Field: "amount.currency", Issue: "All items must have the same currency"}
	case err != nil:
		return &payPalErrorDetail{Field: "amount.value", Issue: "Amount is invalid, or has decimals that the currency has not"}
	case amount.units == 0:
		return &payPalErrorDetail{Field: "amount.value", Issue: "Amount should be greater than zero"}
	case currency == payPalCurrency && amount.units > payPalItemCapUSD:
		return &payPalErrorDetail{Field: "amount.value", Issue: "Amount should not exceed 20000.00 USD"}
	}
	return nil
}

// payPalPage is the part of a batch's items that is asked for.
type payPalPage struct {
	number, size int
	totals       bool
	fields       []string // none means all
}

func readPayPalPage(query url.Values) (payPalPage, *payPalError) {
	page := payPalPage{number: 1, size: payPalPageMost, totals: query.Get("total_required") == "true"}
	for name, value := range map[string]*int{"page": &page.number, "page_size": &page.size} {
		if !query.Has(name) {
			continue
		}
		n, err := strconv.Atoi(query.Get(name))
		if err != nil || n < 1 || n > payPalPageMost {
			return page, payPalInvalidPayouts(payPalErrorDetail{Field: name, Location: "query", Issue: "The value must be between 1 and 1000"})
		}
		*value = n
	}
	if fields := query.Get("fields"); fields != "" {
		page.fields = strings.Split(fields, ",")
	}
	return page, nil
}

func (page payPalPage) shows(field string) bool {
	return page.fields == nil || slices.Contains(page.fields, field)
}

// of is the page's part of the items; a page behind the last is empty.
func (page payPalPage) of(items []*payPalItem) []*payPalItem {
	from := min((page.number-1)*page.size, len(items))
	return items[from:min(from+page.size, len(items))]
}

func (p *PayPal) showPayouts(r payPalRequest) (int, any, *payPalError) {
	page, problem := readPayPalPage(r.query)
	if problem != nil {
		return 0, nil, problem
	}
	b, ok := p.payouts.batchByID[r.id]
	if !ok {
		return 0, nil, payPalNoSuchResource()
	}
	shown := payPalShownBatch{}
	if page.shows("batch_header") {
		shown.Header = b.shownHeader()
	}
	if page.shows("items") {
		for _, i := range page.of(b.listed()) {
			shown.Items = append(shown.Items, p.shownItem(i))
		}
	}
	if page.shows("links") {
		shown.Links = p.batchLinks(b)
	}
	if page.totals {
		items := len(b.listed())
		shown.TotalItems, shown.TotalPages = new(items), new((items+page.size-1)/page.size)
	}
	return http.StatusOK, shown, nil
}

// listed are the items that a batch lists: none before it is processed.
func (b *payPalBatch) listed() []*payPalItem {
	if b.status == payPalBatchPending {
		return nil
	}
	return b.items
}

func (b *payPalBatch) shownHeader() payPalShownHeader {
	h := payPalShownHeader{
		PayoutBatchID: b.id, BatchStatus: b.status, TimeCreated: b.created, TimeCompleted: b.completed, SenderBatchHeader: b.header,
		FundingSource: "BALANCE", Amount: shownPayPalAmount(b.amount.units, b.amount.currency), Fees: shownPayPalAmount(0, b.amount.currency),
	}
	if b.status != payPalBatchPending {
		h.Fees = shownPayPalAmount(b.fees, b.amount.currency)
	}
	return h
}

func (p *PayPal) shownItem(i *payPalItem) payPalShownItem {
	shown := payPalShownItem{
		PayoutItemID: i.id, ActivityID: i.activity, TransactionStatus: i.status, PayoutBatchID: i.batch.id,
		PayoutItemFee: shownPayPalAmount(i.fee, i.amount.currency), PayoutItem: i.asked, TimeProcessed: i.processed,
		Links: []payPalLink{
			{Href: p.baseURL() + payPalPayoutItemsPath + "/" + i.id, Rel: "item", Method: http.MethodGet},
			{Href: p.baseURL() + payPalPayoutsPath + "/" + i.batch.id, Rel: "batch", Method: http.MethodGet},
		},
	}
	if i.transaction != nil {
		shown.TransactionID = i.transaction.id
	}
	if i.errorCode != "" {
		shown.Errors = &payPalItemProblem{
			Name: i.errorCode, Message: "The payout is " + i.status + ": " + strings.ReplaceAll(strings.ToLower(i.errorCode), "_", " "),
			DebugID:         strings.ToLower(i.activity[:13]),
			InformationLink: "https://developer.paypal.com/docs/api/payments.payouts-batch/v1/#errors",
		}
	}
	return shown
}

// shownAlone is an item as it is shown outside a batch.
func (p *PayPal) shownAlone(i *payPalItem) payPalShownItem {
	shown := p.shownItem(i)
	shown.SenderBatchID = i.batch.header.SenderBatchID
	return shown
}

func (p *PayPal) batchLinks(b *payPalBatch) []payPalLink {
	return []payPalLink{{Href: p.baseURL() + payPalPayoutsPath + "/" + b.id, Rel: "self", Method: http.MethodGet}}
}

func (p *PayPal) onItem(do func(*payPalItem) *payPalError) payPalOperation {
	return func(r payPalRequest) (int, any, *payPalError) {
		i, ok := p.payouts.items[r.id]
		if !ok {
			return 0, nil, payPalNoSuchResource()
		}
		if problem := do(i); problem != nil {
			return 0, nil, problem
		}
		return http.StatusOK, p.shownAlone(i), nil
	}
}

func (p *PayPal) cancelItem(i *payPalItem) *payPalError {
	if i.status != payPalItemUnclaimed {
		return payPalPayoutsProblem(http.StatusBadRequest, "ITEM_INCORRECT_STATUS",
			"Only an item that is UNCLAIMED can be canceled. This one is "+i.status+".")
	}
	p.turnAs(i, payPalItemReturned, "", "PAYMENT.PAYOUTS-ITEM.CANCELED")
	return nil
}

// isNewPayouts says whether a request makes a batch. PayPal tells such requests apart by the
// sender_batch_id in the body only: the same request id again is a new request.
func isNewPayouts(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Path == payPalPayoutsPath
}

// senderBatchID reads it from a request's body, which can be read again afterwards.
func senderBatchID(r *http.Request) string {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxPayPalBody+1))
	unread := io.Reader(r.Body)
	if err != nil {
		unread = failedReader{err}
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), unread), r.Body}
	var asked struct {
		Header payPalSenderBatchHeader `json:"sender_batch_header"`
	}
	if err := json.Unmarshal(body, &asked); err != nil {
		return ""
	}
	return asked.Header.SenderBatchID
}

// failedReader fails as the reader failed that it stands for.
type failedReader struct{ err error }

func (r failedReader) Read([]byte) (int, error) { return 0, r.err }
