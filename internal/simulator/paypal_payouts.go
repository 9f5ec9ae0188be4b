package simulator

import (
	"cmp"
	"crypto/rand"
	"net/http"
	"strings"
	"time"
)

// What PayPal says of a batch.
const (
	payPalBatchPending    = "PENDING"
	payPalBatchProcessing = "PROCESSING"
	payPalBatchSuccess    = "SUCCESS"
	payPalBatchDenied     = "DENIED"
)

// What PayPal says of an item.
const (
	payPalItemPending   = "PENDING"
	payPalItemSuccess   = "SUCCESS"
	payPalItemFailed    = "FAILED"
	payPalItemDenied    = "DENIED"
	payPalItemUnclaimed = "UNCLAIMED"
	payPalItemReturned  = "RETURNED"
	payPalItemOnHold    = "ONHOLD"
	payPalItemBlocked   = "BLOCKED"
	payPalItemRefunded  = "REFUNDED"
	payPalItemReversed  = "REVERSED"
)

const payPalNoFunds = "INSUFFICIENT_FUNDS"

// payPalBatch is a batch of payouts. Its items are in the order in which they were sent.
type payPalBatch struct {
	id        string
	status    string
	header    payPalSenderBatchHeader
	amount    payPalAmount
	fees      int64 // as estimated when it was made
	created   time.Time
	completed time.Time // zero until it is SUCCESS or DENIED
	items     []*payPalItem
}

// payPalItem is one payout of a batch.
type payPalItem struct {
	id        string
	batch     *payPalBatch
	asked     payPalAskedItem
	amount    payPalAmount
	fee       int64 // as charged: nothing when it failed or was returned
	reversed  int64 // of the amount, taken back after it was paid
	status    string
	errorCode string
	processed time.Time
	activity  string
	// transaction took the funds from us. There is none before the item is executed, nor for one that
	// failed then.
	transaction *payPalTransaction
}

// isLive says whether its funds are away, or on their way.
func (i *payPalItem) isLive() bool {
	switch i.status {
	case payPalItemPending, payPalItemSuccess, payPalItemUnclaimed, payPalItemOnHold, payPalItemBlocked:
		return true
	}
	return false
}

// isPaid says whether the receiver has the funds.
func (i *payPalItem) isPaid() bool { return i.status == payPalItemSuccess }

// payPalItemFee is 2 % of an item, rounded up, and at most 100 of the smallest unit: 1.00 USD, as for
// payouts within the US.
func payPalItemFee(amount payPalAmount) int64 { return min((amount.units*2+99)/100, 100) }

// payPalOutcome is what becomes of an item when it is executed, by its receiver's address.
type payPalOutcome struct {
	prefix   string
	statuses []string // one after the other, at once
	code     string
}

func payPalOutcomeOf(receiver string) payPalOutcome {
	for _, o := range []payPalOutcome{
		{"unclaimed-", []string{payPalItemUnclaimed}, "RECEIVER_UNREGISTERED"},
		{"returned-", []string{payPalItemUnclaimed, payPalItemReturned}, "RECEIVER_UNREGISTERED"},
		{"onhold-", []string{payPalItemOnHold}, ""},
		{"blocked-", []string{payPalItemBlocked}, "REGULATORY_BLOCKED"},
		{"failed-", []string{payPalItemFailed}, "RECEIVER_ACCOUNT_LOCKED"},
		{"refunded-", []string{payPalItemSuccess, payPalItemRefunded}, ""},
		{"reversed-", []string{payPalItemSuccess, payPalItemReversed}, ""},
	} {
		if strings.HasPrefix(receiver, o.prefix) {
			return o
		}
	}
	return payPalOutcome{statuses: []string{payPalItemSuccess}}
}

// newPayPalBatch makes a batch that nothing was done for yet.
func newPayPalBatch(asked payPalAskedBatch, amounts []payPalAmount) *payPalBatch {
	b := &payPalBatch{
		id: rand.Text()[:13], status: payPalBatchPending, header: asked.Header, created: payPalNow(),
		amount: payPalAmount{currency: amounts[0].currency}, items: make([]*payPalItem, len(amounts)),
	}
	for n, amount := range amounts {
		i := &payPalItem{
			id: rand.Text()[:13], batch: b, asked: asked.Items[n], amount: amount, fee: payPalItemFee(amount),
			status: payPalItemPending, activity: rand.Text()[:17],
		}
		i.asked.RecipientType = cmp.Or(i.asked.RecipientType, asked.Header.RecipientType)
		i.asked.RecipientWallet = cmp.Or(i.asked.RecipientWallet, "PAYPAL")
		b.items[n] = i
		b.amount.units += amount.units
		b.fees += i.fee
	}
	return b
}

// addBatch takes a batch in. Its sender_batch_id is used up from now on, whatever becomes of it.
func (p *PayPal) addBatch(b *payPalBatch) {
	p.payouts.batches = append(p.payouts.batches, b)
	p.payouts.batchByID[b.id] = b
	if b.header.SenderBatchID != "" {
		p.payouts.bySender[b.header.SenderBatchID] = b
	}
	for _, i := range b.items {
		p.payouts.items[i.id] = i
	}
}

// runByItself takes a batch from PENDING to its end, unless somebody does it by hand.
func (p *PayPal) runByItself(b *payPalBatch) {
	settings := p.payouts.settings
	switch {
	case settings.Manual:
	case settings.ProcessingMS == 0:
		p.process(b)
		p.finish(b)
	default:
		p.later(settings.ProcessingMS, func() {
			p.process(b)
			p.later(settings.ProcessingMS, func() { p.finish(b) })
		})
	}
}

// later does something under the lock after a while, unless the simulator has closed by then.
func (p *PayPal) later(delayMS int, do func()) {
	time.AfterFunc(time.Duration(delayMS)*time.Millisecond, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.stopped {
			do()
		}
	})
}

// stop ends what happens by itself.
func (p *PayPal) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
}

// process puts the funds of a pending batch aside, or denies it if there are too few.
func (p *PayPal) process(b *payPalBatch) {
	if b.status != payPalBatchPending {
		return
	}
	total := b.amount.units + b.fees
	if total > p.money.funds[b.amount.currency].Available {
		p.deny(b, payPalNoFunds)
		return
	}
	p.money.move(b.amount.currency, PayPalFunds{Available: -total, Withheld: total}, nil)
	b.status = payPalBatchProcessing
	p.announceBatch(b)
}

// finish executes the items of a batch that is being processed.
func (p *PayPal) finish(b *payPalBatch) {
	if b.status != payPalBatchProcessing {
		return
	}
	for _, i := range b.items {
		if i.status == payPalItemPending {
			outcome := payPalOutcomeOf(i.asked.Receiver)
			for _, status := range outcome.statuses {
				p.turn(i, status, outcome.code)
			}
		}
	}
	b.status, b.completed = payPalBatchSuccess, payPalNow()
	p.announceBatch(b)
}

// deny ends a pending batch for which nothing was moved. Its items are FAILED, for the same reason.
func (p *PayPal) deny(b *payPalBatch, code string) {
	b.status, b.completed, b.fees = payPalBatchDenied, payPalNow(), 0
	for _, i := range b.items {
		i.status, i.errorCode, i.fee, i.processed = payPalItemFailed, code, 0, b.completed
	}
	p.announceBatch(b)
}

// turn changes an item's status, moves its funds accordingly, and tells of it.
func (p *PayPal) turn(i *payPalItem, status, code string) {
	p.turnAs(i, status, code, payPalItemEvent(status))
}

func (p *PayPal) turnAs(i *payPalItem, status, code, eventType string) {
	i.status, i.errorCode, i.processed = status, code, payPalNow()
	switch {
	case i.isLive() && i.transaction == nil:
		p.payItem(i)
	case i.isLive():
		i.transaction.update(i)
	case i.transaction == nil:
		whole := i.amount.units + i.fee
		i.fee = 0
		p.money.move(i.amount.currency, PayPalFunds{Available: whole, Withheld: -whole}, nil)
	default:
		p.takeBack(i, i.amount.units-i.reversed)
	}
	p.announceItem(i, eventType)
}

// payItem takes an item's funds from us.
func (p *PayPal) payItem(i *payPalItem) {
	t := newPayPalTransaction(payPalMassPayment, payPalAmount{-i.amount.units, i.amount.currency})
	t.reference, t.custom, t.fee = i.batch.id, i.asked.SenderItemID, -i.fee
	t.update(i)
	i.transaction = t
	p.money.move(i.amount.currency, PayPalFunds{Withheld: -i.amount.units - i.fee}, t)
}

// takeBack gives us a part of an item's amount back, or the rest of it. The fee comes with it unless
// the item had been paid.
func (p *PayPal) takeBack(i *payPalItem, amount int64) {
	code, fee := payPalRefund, i.fee
	switch i.status {
	case payPalItemSuccess, payPalItemReversed:
		code, fee = payPalReversal, 0
	case payPalItemRefunded:
		fee = 0
	}
	t := newPayPalTransaction(code, payPalAmount{amount, i.amount.currency})
	t.reference, t.referenceType, t.fee = i.transaction.id, "TXN", fee
	i.reversed += amount
	i.fee -= fee
	i.transaction.update(i)
	p.money.move(i.amount.currency, PayPalFunds{Available: amount + fee}, t)
}

func payPalNoSuchResource() *payPalError {
	return newPayPalError(http.StatusNotFound, "INVALID_RESOURCE_ID", "The requested resource ID was not found")
}
