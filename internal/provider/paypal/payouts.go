package paypal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"
)

const (
	payoutsPath     = "/v1/payments/payouts"
	payoutItemsPath = "/v1/payments/payouts-item/"

	payoutBatchRoute  = payoutsPath + "/{id}"
	payoutItemRoute   = payoutItemsPath + "{id}"
	cancelItemRoute   = payoutItemRoute + "/cancel"
	payoutItemsAtOnce = 1000 // the most that PayPal lists on a page

	// CodePayoutIDInvalid means that what was given is no id of a payout batch or of a payout item.
	// Nothing was sent.
	CodePayoutIDInvalid = "payout_id_invalid"
)

// PayoutBatchRequest is a batch of payouts as it is sent: the same one makes the same bytes.
type PayoutBatchRequest struct {
	// SenderBatchID is the key under which PayPal takes the batch once in 30 days.
	SenderBatchID string
	EmailSubject  string // of what PayPal writes to the receivers; empty leaves it to PayPal
	Items         []PayoutItemRequest
}

// PayoutItemRequest is a payout to one receiver.
type PayoutItemRequest struct {
	Receiver     string // an e-mail address
	Value        string // a decimal: "10.00"
	Currency     string // "USD"
	SenderItemID string // ours, at most 63 characters
}

// CreatedBatch is a batch that PayPal has.
type CreatedBatch struct {
	ID string
	// Duplicate says that PayPal had taken a batch under this sender_batch_id before, and that this is
	// the one which it links to. Whether that is ours is seen by reading it.
	Duplicate bool
}

// PayoutBatch is a batch as PayPal has it now.
type PayoutBatch struct {
	ID            string
	SenderBatchID string
	// Status is PayPal's word: PENDING, PROCESSING, SUCCESS, DENIED, CANCELED, or one that PayPal has
	// added since. It says how far PayPal is, and nothing of any item.
	Status    string
	CreatedAt time.Time // UTC; zero where PayPal gives none
}

// PayoutBatchPage is a page of a batch's items.
type PayoutBatchPage struct {
	Batch      PayoutBatch
	Items      []PayoutItem
	TotalPages int // at least 1
	TotalItems int // as PayPal counts them; zero when it does not
}

// PayoutItem is a payout to one receiver as PayPal has it now, without the receiver. Amounts are
// decimals as PayPal writes them, and empty where it gives none.
type PayoutItem struct {
	ID            string
	BatchID       string
	SenderBatchID string // given for an item that is read by itself, not for those of a batch
	TransactionID string // empty as long as no money moved
	// Status is PayPal's word: SUCCESS, FAILED, PENDING, UNCLAIMED, RETURNED, ONHOLD, BLOCKED,
	// REFUNDED, REVERSED, DENIED, or one that PayPal has added since; empty before there is one.
	Status       string
	SenderItemID string
	Value        string
	Currency     string
	FeeValue     string
	FeeCurrency  string
	ErrorCode    string    // PayPal's, such as RECEIVER_ACCOUNT_LOCKED; see ItemMatter
	ProcessedAt  time.Time // UTC; zero where PayPal gives none
}

// ItemsDigest is the SHA-256, in hex, of the items' JSON exactly as it is sent.
func (r PayoutBatchRequest) ItemsDigest() string {
	items, err := r.itemsJSON()
	if err != nil {
		return "" // strings alone always make JSON
	}
	sum := sha256.Sum256(items)
	return hex.EncodeToString(sum[:])
}

type payoutBody struct {
	Header struct {
		SenderBatchID string `json:"sender_batch_id"`
		EmailSubject  string `json:"email_subject,omitempty"`
	} `json:"sender_batch_header"`
	Items json.RawMessage `json:"items"`
}

type itemBody struct {
	RecipientType   string     `json:"recipient_type"`
	RecipientWallet string     `json:"recipient_wallet"`
	Receiver        string     `json:"receiver"`
	Amount          itemAmount `json:"amount"`
	SenderItemID    string     `json:"sender_item_id"`
}

// itemAmount is money as payouts write it; elsewhere PayPal calls the currency currency_code.
type itemAmount struct {
	Value    string `json:"value"`
	Currency string `json:"currency"`
}

func (r PayoutBatchRequest) itemsJSON() (json.RawMessage, error) {
	items := make([]itemBody, len(r.Items))
	for i, item := range r.Items {
		items[i] = itemBody{
			RecipientType: "EMAIL", RecipientWallet: "PAYPAL", Receiver: item.Receiver,
			Amount: itemAmount{Value: item.Value, Currency: item.Currency}, SenderItemID: item.SenderItemID,
		}
	}
	return json.Marshal(items)
}

func (r PayoutBatchRequest) body() (payoutBody, error) {
	items, err := r.itemsJSON()
	if err != nil {
		return payoutBody{}, fmt.Errorf("write the items of the payout batch: %w", err)
	}
	body := payoutBody{Items: items}
	body.Header.SenderBatchID, body.Header.EmailSubject = r.SenderBatchID, r.EmailSubject
	return body, nil
}

// CreatePayoutBatch sends a batch, under its sender_batch_id, which is what keeps PayPal from paying
// it twice: the identical batch may be sent again for 29 days. When PayPal says that it has taken the
// id before, the batch that it links to is given; without a usable link the failure is
// OutcomeUnknown, code CodeDuplicateBatch, Replayed. Too little money is Rejected and MatterOurs;
// what BadItems can name is Rejected, code CodeValidation.
func (c *Client) CreatePayoutBatch(ctx context.Context, batch PayoutBatchRequest) (CreatedBatch, error) {
	body, err := batch.body()
	if err != nil {
		return CreatedBatch{}, err
	}
	var answer batchAnswer
	var refusal *errorBody
	err = c.run(ctx, request{route: payoutsPath, write: true, id: batch.SenderBatchID}, func(ctx context.Context) error {
		answer, refusal = batchAnswer{}, &errorBody{}
		if err := c.exchange(keepingError(ctx, refusal), http.MethodPost, payoutsPath, body, &answer); err != nil {
			return err
		}
		if !payoutID.MatchString(answer.Header.ID) || answer.Header.Sender.BatchID != batch.SenderBatchID {
			return errNotPayPal
		}
		return nil
	})
	if err != nil {
		return batch.refused(err, refusal)
	}
	return CreatedBatch{ID: answer.Header.ID}, nil
}

// GetPayoutBatch reads a batch and a page, from 1, of at most 1,000 of its items. One that does not
// exist, or is another merchant's, is NotFound.
func (c *Client) GetPayoutBatch(ctx context.Context, batchID string, page int) (PayoutBatchPage, error) {
	if !payoutID.MatchString(batchID) {
		return PayoutBatchPage{}, rejected(CodePayoutIDInvalid, "payout_batch_id")
	}
	query := url.Values{
		"page": {strconv.Itoa(page)}, "page_size": {strconv.Itoa(payoutItemsAtOnce)}, "total_required": {"true"},
	}
	var answer batchAnswer
	err := c.run(ctx, request{route: payoutBatchRoute}, func(ctx context.Context) error {
		answer = batchAnswer{}
		if err := c.exchange(ctx, http.MethodGet, payoutsPath+"/"+batchID+"?"+query.Encode(), nil, &answer); err != nil {
			return err
		}
		return answer.check(batchID)
	})
	if err != nil {
		return PayoutBatchPage{}, err
	}
	return answer.page(page), nil
}

// GetPayoutItem reads an item. One that does not exist, or is another merchant's, is NotFound.
func (c *Client) GetPayoutItem(ctx context.Context, itemID string) (PayoutItem, error) {
	return c.item(ctx, request{route: payoutItemRoute}, http.MethodGet, itemID, "")
}

// CancelPayoutItem takes an unclaimed item back, under a request id, and gives what became of it.
// An item that is in no state for that is Rejected, code ITEM_INCORRECT_STATUS or
// ITEM_ALREADY_CANCELLED: reading it tells.
func (c *Client) CancelPayoutItem(ctx context.Context, itemID, requestID string) (PayoutItem, error) {
	return c.item(ctx, request{route: cancelItemRoute, write: true, id: requestID}, http.MethodPost, itemID, "/cancel")
}

func (c *Client) item(ctx context.Context, r request, method, itemID, action string) (PayoutItem, error) {
	if !payoutID.MatchString(itemID) {
		return PayoutItem{}, rejected(CodePayoutIDInvalid, "payout_item_id")
	}
	var answer itemAnswer
	err := c.run(ctx, r, func(ctx context.Context) error {
		answer = itemAnswer{}
		if err := c.exchange(ctx, method, payoutItemsPath+itemID+action, nil, &answer); err != nil {
			return err
		}
		if answer.ID != itemID || !payoutID.MatchString(answer.BatchID) {
			return errNotPayPal
		}
		return nil
	})
	if err != nil {
		return PayoutItem{}, err
	}
	return answer.item(), nil
}

// payoutID is what a batch's or an item's id may look like; nothing else goes into a path.
var payoutID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// batchAnswer is the part of PayPal's answers about a batch that we read. The library's own types lose
// the pages, and cannot read every error of an item.
type batchAnswer struct {
	TotalItems int `json:"total_items"`
	TotalPages int `json:"total_pages"`
	Header     struct {
		ID      string `json:"payout_batch_id"`
		Status  string `json:"batch_status"`
		Created moment `json:"time_created"`
		Sender  struct {
			BatchID string `json:"sender_batch_id"`
		} `json:"sender_batch_header"`
	} `json:"batch_header"`
	Items []itemAnswer `json:"items"`
}

// check sees that the answer is the batch that was asked for, with items of its own.
func (a batchAnswer) check(batchID string) error {
	if a.Header.ID != batchID || word(a.Header.Status) == "" {
		return errNotPayPal
	}
	for _, item := range a.Items {
		if !payoutID.MatchString(item.ID) || item.BatchID != batchID {
			return errNotPayPal
		}
	}
	return nil
}

func (a batchAnswer) page(page int) PayoutBatchPage {
	items := make([]PayoutItem, len(a.Items))
	for i, item := range a.Items {
		items[i] = item.item()
	}
	return PayoutBatchPage{
		Batch: PayoutBatch{
			ID: a.Header.ID, SenderBatchID: a.Header.Sender.BatchID, Status: a.Header.Status, CreatedAt: a.Header.Created.utc(),
		},
		Items: items, TotalPages: pages(a.TotalPages, page, len(items), payoutItemsAtOnce), TotalItems: a.TotalItems,
	}
}

// pages is how many there are as PayPal says, or else as far as is known: after a full page there may
// be another.
func pages(said, page, entries, atOnce int) int {
	switch {
	case said > 0:
		return said
	case entries >= atOnce:
		return page + 1
	}
	return max(page, 1)
}

type itemAnswer struct {
	ID            string     `json:"payout_item_id"`
	BatchID       string     `json:"payout_batch_id"`
	SenderBatchID string     `json:"sender_batch_id"`
	TransactionID string     `json:"transaction_id"`
	Status        string     `json:"transaction_status"`
	Fee           itemAmount `json:"payout_item_fee"`
	Item          struct {
		Amount       itemAmount `json:"amount"`
		SenderItemID string     `json:"sender_item_id"`
	} `json:"payout_item"`
	Processed moment        `json:"time_processed"`
	Errors    itemComplaint `json:"errors"`
}

func (a itemAnswer) item() PayoutItem {
	i := PayoutItem{
		ID: a.ID, BatchID: a.BatchID, SenderBatchID: a.SenderBatchID, TransactionID: word(a.TransactionID), Status: word(a.Status),
		SenderItemID: a.Item.SenderItemID, ErrorCode: string(a.Errors), ProcessedAt: a.Processed.utc(),
	}
	i.Value, i.Currency = plainMoney(a.Item.Amount.Value, a.Item.Amount.Currency)
	i.FeeValue, i.FeeCurrency = plainMoney(a.Fee.Value, a.Fee.Currency)
	return i
}

// itemComplaint is the name of what is wrong with an item, of the first thing if there are several.
// The rest of it has come in more than one shape, and must not cost the page.
type itemComplaint string

// UnmarshalJSON takes whatever there is, and never fails.
func (c *itemComplaint) UnmarshalJSON(data []byte) error {
	type complaint struct {
		Name string `json:"name"`
	}
	var one complaint
	several := []complaint{{}}
	if json.Unmarshal(data, &several) == nil && len(several) > 0 {
		one = several[0]
	} else {
		_ = json.Unmarshal(data, &one) // the name is read whatever else is not
	}
	*c = itemComplaint(word(one.Name))
	return nil
}
