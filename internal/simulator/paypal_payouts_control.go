package simulator

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// payPalPayouts are the batches and their items. The lock of the PayPal that they belong to guards them.
type payPalPayouts struct {
	settings  PayPalPayoutSettings
	batches   []*payPalBatch          // oldest first
	batchByID map[string]*payPalBatch // of all
	bySender  map[string]*payPalBatch // by the sender_batch_ids that are used up
	items     map[string]*payPalItem
}

func newPayPalPayouts() payPalPayouts {
	return payPalPayouts{batchByID: map[string]*payPalBatch{}, bySender: map[string]*payPalBatch{}, items: map[string]*payPalItem{}}
}

// PayPalPayoutSettings is how PayPal deals with payouts. The zero value processes a batch at once: it
// has ended when its POST is answered, although the answer still says PENDING.
//
// What becomes of an item, its receiver's address decides: unclaimed-, onhold-, blocked-, failed-,
// returned-, refunded- or reversed- before the rest of it; all others are paid. invalid- has the whole
// batch refused, and the item named; invalid-unnamed- the same, and no item named.
type PayPalPayoutSettings struct {
	// ProcessingMS passes until a batch is PROCESSING, and again until its items are executed and it is
	// SUCCESS, in milliseconds.
	ProcessingMS int `json:"processing_ms,omitempty"`
	// Manual leaves batches as they are until AdvancePayPalBatch moves them.
	Manual bool `json:"manual,omitempty"`
	// DuplicateWithoutLink leaves the link to the first batch out when a sender_batch_id is used again.
	DuplicateWithoutLink bool `json:"duplicate_without_link,omitempty"`
	// RefuseUnfunded refuses a batch with too little funds at once, and nothing is made. Otherwise it is
	// DENIED when it is processed.
	RefuseUnfunded bool `json:"refuse_unfunded,omitempty"`
	// RefuseWith refuses every batch with this error, such as SENDER_RESTRICTED; nothing is made.
	RefuseWith string `json:"refuse_with,omitempty"`
	// BalanceLagMS and SearchLagMS are how old the balances and the transactions are that the API
	// shows, in milliseconds; PayPal's may be three hours old.
	BalanceLagMS int `json:"balance_lag_ms,omitempty"`
	SearchLagMS  int `json:"search_lag_ms,omitempty"`
}

// PayPalBatch is a batch of payouts as tests and the control endpoint see it. Amounts are in PayPal's
// smallest unit of the currency.
type PayPalBatch struct {
	ID            string       `json:"id"`
	SenderBatchID string       `json:"sender_batch_id"`
	Status        string       `json:"status"`
	Currency      string       `json:"currency"`
	Amount        int64        `json:"amount"`
	Fees          int64        `json:"fees"`
	CreatedAt     time.Time    `json:"created_at"`
	CompletedAt   time.Time    `json:"completed_at,omitzero"` // zero until it is SUCCESS or DENIED
	Items         []PayPalItem `json:"items"`                 // in the order in which they were sent
}

// PayPalItem is one payout of a batch.
type PayPalItem struct {
	ID            string    `json:"id"`
	BatchID       string    `json:"batch_id"`
	TransactionID string    `json:"transaction_id,omitempty"` // empty until it is executed
	SenderItemID  string    `json:"sender_item_id"`
	Receiver      string    `json:"receiver"`
	Currency      string    `json:"currency"`
	Amount        int64     `json:"amount"`
	Fee           int64     `json:"fee"`      // nothing when it failed or was returned
	Reversed      int64     `json:"reversed"` // of the amount: what came back
	Status        string    `json:"status"`
	ErrorCode     string    `json:"error_code,omitempty"`
	ProcessedAt   time.Time `json:"processed_at,omitzero"`
}

// SetPayouts changes how batches are dealt with that are made from now on, and how old the answers of
// the API are.
func (p *PayPal) SetPayouts(settings PayPalPayoutSettings) error {
	if min(settings.ProcessingMS, settings.BalanceLagMS, settings.SearchLagMS) < 0 {
		return errors.New("simulator: settings of PayPal payouts: processing_ms, balance_lag_ms and search_lag_ms must not be negative")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.payouts.settings = settings
	return nil
}

// PayPalBatches returns every batch that was ever made, oldest first.
func (p *PayPal) PayPalBatches() []PayPalBatch {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]PayPalBatch, 0, len(p.payouts.batches))
	for _, b := range p.payouts.batches {
		out = append(out, b.snapshot())
	}
	return out
}

// PayPalItem returns one item, and whether there is one with that id.
func (p *PayPal) PayPalItem(id string) (PayPalItem, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, ok := p.payouts.items[id]
	if !ok {
		return PayPalItem{}, false
	}
	return i.snapshot(), true
}

// ForgetPayPalSenderBatchIDs makes every sender_batch_id usable again, as PayPal does after 30 days,
// and returns how many there were.
func (p *PayPal) ForgetPayPalSenderBatchIDs() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	used := len(p.payouts.bySender)
	clear(p.payouts.bySender)
	return used
}

// AdvancePayPalBatch takes a batch one step further: one that is PENDING becomes PROCESSING, or DENIED
// for too little funds; one that is PROCESSING has its items executed and becomes SUCCESS.
func (p *PayPal) AdvancePayPalBatch(id string) (PayPalBatch, error) {
	return p.changeBatch(id, "advance", func(b *payPalBatch) error {
		switch b.status {
		case payPalBatchPending:
			p.process(b)
		case payPalBatchProcessing:
			p.finish(b)
		default:
			return fmt.Errorf("it is %s", b.status)
		}
		return nil
	})
}

// DenyPayPalBatch denies a batch that is PENDING: its items fail for a reason such as
// INSUFFICIENT_FUNDS, and nothing is moved.
func (p *PayPal) DenyPayPalBatch(id, code string) (PayPalBatch, error) {
	return p.changeBatch(id, "deny", func(b *payPalBatch) error {
		switch {
		case code == "":
			return errors.New("the error code is empty")
		case b.status != payPalBatchPending:
			return fmt.Errorf("it is %s", b.status)
		}
		p.deny(b, code)
		return nil
	})
}

// SettlePayPalItem pays an item that is ONHOLD.
func (p *PayPal) SettlePayPalItem(id string) (PayPalItem, error) {
	return p.turnItem(id, "settle", payPalItemSuccess, "", payPalItemOnHold)
}

// ClaimPayPalItem pays an item that is UNCLAIMED: its receiver has opened an account.
func (p *PayPal) ClaimPayPalItem(id string) (PayPalItem, error) {
	return p.turnItem(id, "claim", payPalItemSuccess, "", payPalItemUnclaimed)
}

// BlockPayPalItem blocks an item that is ONHOLD or UNCLAIMED. Its funds stay away.
func (p *PayPal) BlockPayPalItem(id string) (PayPalItem, error) {
	return p.turnItem(id, "block", payPalItemBlocked, "REGULATORY_BLOCKED", payPalItemOnHold, payPalItemUnclaimed)
}

// UnblockPayPalItem pays an item that is BLOCKED.
func (p *PayPal) UnblockPayPalItem(id string) (PayPalItem, error) {
	return p.turnItem(id, "unblock", payPalItemSuccess, "", payPalItemBlocked)
}

// ReturnPayPalItem returns an item that is UNCLAIMED, as PayPal does after 30 days, ONHOLD or BLOCKED.
// Its funds and its fee are back at once.
func (p *PayPal) ReturnPayPalItem(id string) (PayPalItem, error) {
	return p.turnItem(id, "return", payPalItemReturned, "", payPalItemUnclaimed, payPalItemOnHold, payPalItemBlocked)
}

// FailPayPalItem fails an item that is not paid yet, for a reason such as RECEIVER_ACCOUNT_LOCKED. Its
// funds and its fee are back at once.
func (p *PayPal) FailPayPalItem(id, code string) (PayPalItem, error) {
	return p.turnItemFor(id, "fail", payPalItemFailed, code)
}

// DenyPayPalItem is FailPayPalItem with the status DENIED.
func (p *PayPal) DenyPayPalItem(id, code string) (PayPalItem, error) {
	return p.turnItemFor(id, "deny", payPalItemDenied, code)
}

// RefundPayPalItem lets the receiver send back what was paid. The fee is not given back.
func (p *PayPal) RefundPayPalItem(id string) (PayPalItem, error) {
	return p.turnItem(id, "refund", payPalItemRefunded, "", payPalItemSuccess)
}

// ReversePayPalItem takes back a part of what was paid, in PayPal's smallest unit of the currency, or
// all that is left of it if the amount is zero. An item of which nothing is left is REVERSED; one that
// was reversed in part stays SUCCESS, no event tells of it, and only the transactions show it. The fee
// is not given back.
func (p *PayPal) ReversePayPalItem(id string, amount int64) (PayPalItem, error) {
	return p.changeItem(id, "reverse", func(i *payPalItem) error {
		left := i.amount.units - i.reversed
		switch {
		case !i.isPaid():
			return inPayPalState(i)
		case amount < 0 || amount > left:
			return fmt.Errorf("the amount must be between 0 and %d, which is what is left of it", left)
		case amount == 0 || amount == left:
			p.turn(i, payPalItemReversed, "")
		default:
			p.takeBack(i, amount)
		}
		return nil
	})
}

func (p *PayPal) turnItemFor(id, doing, status, code string) (PayPalItem, error) {
	if code == "" {
		return PayPalItem{}, fmt.Errorf("simulator: %s PayPal item %s: the error code is empty", doing, id)
	}
	return p.turnItem(id, doing, status, code, payPalItemUnclaimed, payPalItemOnHold, payPalItemBlocked)
}

func (p *PayPal) turnItem(id, doing, status, code string, from ...string) (PayPalItem, error) {
	return p.changeItem(id, doing, func(i *payPalItem) error {
		if !slices.Contains(from, i.status) {
			return inPayPalState(i)
		}
		p.turn(i, status, code)
		return nil
	})
}

func inPayPalState(i *payPalItem) error { return fmt.Errorf("it is %s", i.status) }

func (p *PayPal) changeBatch(id, doing string, change func(*payPalBatch) error) (PayPalBatch, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, ok := p.payouts.batchByID[id]
	if !ok {
		return PayPalBatch{}, fmt.Errorf("simulator: %s PayPal batch %s: there is none", doing, id)
	}
	if err := change(b); err != nil {
		return PayPalBatch{}, fmt.Errorf("simulator: %s PayPal batch %s: %w", doing, id, err)
	}
	return b.snapshot(), nil
}

func (p *PayPal) changeItem(id, doing string, change func(*payPalItem) error) (PayPalItem, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, ok := p.payouts.items[id]
	if !ok {
		return PayPalItem{}, fmt.Errorf("simulator: %s PayPal item %s: there is none", doing, id)
	}
	if err := change(i); err != nil {
		return PayPalItem{}, fmt.Errorf("simulator: %s PayPal item %s: %w", doing, id, err)
	}
	return i.snapshot(), nil
}

func (b *payPalBatch) snapshot() PayPalBatch {
	shown := PayPalBatch{
		ID: b.id, SenderBatchID: b.header.SenderBatchID, Status: b.status, Currency: b.amount.currency, Amount: b.amount.units,
		Fees: b.fees, CreatedAt: b.created, CompletedAt: b.completed, Items: make([]PayPalItem, 0, len(b.items)),
	}
	for _, i := range b.items {
		shown.Items = append(shown.Items, i.snapshot())
	}
	return shown
}

func (i *payPalItem) snapshot() PayPalItem {
	shown := PayPalItem{
		ID: i.id, BatchID: i.batch.id, SenderItemID: i.asked.SenderItemID, Receiver: i.asked.Receiver, Currency: i.amount.currency,
		Amount: i.amount.units, Fee: i.fee, Reversed: i.reversed, Status: i.status, ErrorCode: i.errorCode, ProcessedAt: i.processed,
	}
	if i.transaction != nil {
		shown.TransactionID = i.transaction.id
	}
	return shown
}
