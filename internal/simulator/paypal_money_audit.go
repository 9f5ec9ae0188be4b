package simulator

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// PayPalMoneyAudit is what PayPal's books say of the money: what was paid for each payout of the
// app's, and whether all money is where the items have put it. Amounts are in PayPal's smallest unit.
type PayPalMoneyAudit struct {
	// Payouts are the app's, by the sender_item_id of the items.
	Payouts map[string]*PayPalPayoutMovements `json:"payouts"`
	// Received is what was paid to each receiver and not taken back, by currency.
	Received map[string]map[string]int64 `json:"received"`
	// Totals are the sums by currency.
	Totals map[string]PayPalMoneyTotals `json:"totals"`

	// Duplicates are the payouts with more than one live item, in whatever batches.
	Duplicates []string `json:"duplicates"`
	// Mismatched are the payouts whose items differ in receiver, currency or amount.
	Mismatched []string `json:"mismatched"`
	// Lost are the balances that are not what the items, or the transactions, have made them.
	Lost []LostMoney `json:"lost"`

	// WithoutPayoutID counts items that name no payout of the app's.
	WithoutPayoutID int `json:"without_payout_id"`
}

// PayPalPayoutMovements are the items for one payout of the app's.
type PayPalPayoutMovements struct {
	Receiver string `json:"receiver"`
	Currency string `json:"currency"`
	Amount   int64  `json:"amount"` // of the first item

	Sent      int64        `json:"sent"`       // by all items, whatever became of them
	UnderWay  int64        `json:"under_way"`  // by items that may still be paid
	Received  int64        `json:"received"`   // less what was reversed
	Fees      int64        `json:"fees"`       // charged for them, once they were executed
	LiveItems int          `json:"live_items"` // whose funds are away, or on their way
	Items     []PayPalItem `json:"items"`      // oldest first

	mismatched bool
}

// PayPalMoneyTotals is where the money of one currency is. PutIn is the sum of all others, unless money
// was lost.
type PayPalMoneyTotals struct {
	PutIn    int64 `json:"put_in"`    // from outside, less what was taken out
	Balance  int64 `json:"balance"`   // available and withheld
	UnderWay int64 `json:"under_way"` // away from the balance, and not paid
	Received int64 `json:"received"`
	Fees     int64 `json:"fees"`
}

// Err says what must never be: payouts made twice or to the wrong receiver, and lost money. It is nil
// if all is well; payouts that are not finished are no error.
func (a PayPalMoneyAudit) Err() error {
	var problems []error
	for what, payouts := range map[string][]string{"duplicate PayPal items": a.Duplicates, "mismatched PayPal items": a.Mismatched} {
		if len(payouts) > 0 {
			problems = append(problems, fmt.Errorf("simulator: %s for payouts %v", what, payouts))
		}
	}
	for _, lost := range a.Lost {
		problems = append(problems, fmt.Errorf("simulator: PayPal balance: %d %s instead of %d", lost.Held, lost.Currency, lost.Expected))
	}
	for currency, t := range a.Totals {
		if held := t.Balance + t.UnderWay + t.Received + t.Fees; held != t.PutIn {
			problems = append(problems, fmt.Errorf("simulator: %d %s were put into PayPal, and there are %d", t.PutIn, currency, held))
		}
	}
	return errors.Join(problems...)
}

// PayPalMoneyAudit follows every item there ever was and compares with the balances.
func (p *PayPal) PayPalMoneyAudit() PayPalMoneyAudit {
	p.mu.Lock()
	defer p.mu.Unlock()
	audit := newPayPalAuditing()
	for currency, f := range p.money.funds {
		putIn := p.money.putIn[currency]
		audit.expected[currency] = PayPalFunds{Available: putIn}
		audit.Totals[currency] = PayPalMoneyTotals{PutIn: putIn, Balance: f.Available + f.Withheld}
	}
	for _, b := range p.payouts.batches {
		for _, i := range b.items {
			audit.follow(i)
		}
	}
	for currency, f := range p.money.funds {
		audit.compare(currency, f)
	}
	audit.compareReports(p.money.movements, p.money.funds)
	return audit.result()
}

// payPalAuditing is an audit that is being made.
type payPalAuditing struct {
	PayPalMoneyAudit

	expected map[string]PayPalFunds
}

func newPayPalAuditing() *payPalAuditing {
	return &payPalAuditing{expected: map[string]PayPalFunds{}, PayPalMoneyAudit: PayPalMoneyAudit{
		Payouts: map[string]*PayPalPayoutMovements{}, Received: map[string]map[string]int64{}, Totals: map[string]PayPalMoneyTotals{},
		Duplicates: []string{}, Mismatched: []string{}, Lost: []LostMoney{},
	}}
}

func (a *payPalAuditing) follow(i *payPalItem) {
	var withheld, underWay, received, fees int64
	switch {
	case i.transaction != nil && i.isPaid():
		received, fees = i.amount.units-i.reversed, i.fee
	case i.transaction != nil && i.isLive():
		underWay, fees = i.amount.units, i.fee
	case i.transaction != nil:
		fees = i.fee
	case i.isLive() && i.batch.status == payPalBatchProcessing:
		withheld = i.amount.units + i.fee
	}
	currency := i.amount.currency
	expected, total := a.expected[currency], a.Totals[currency]
	expected.Available -= withheld + underWay + received + fees
	expected.Withheld += withheld
	total.UnderWay, total.Received, total.Fees = total.UnderWay+underWay, total.Received+received, total.Fees+fees
	a.expected[currency], a.Totals[currency] = expected, total
	if received > 0 {
		if a.Received[i.asked.Receiver] == nil {
			a.Received[i.asked.Receiver] = map[string]int64{}
		}
		a.Received[i.asked.Receiver][currency] += received
	}
	a.followPayout(i, received, fees)
}

func (a *payPalAuditing) followPayout(i *payPalItem, received, fees int64) {
	id := i.asked.SenderItemID
	if id == "" {
		a.WithoutPayoutID++
		return
	}
	m, known := a.Payouts[id]
	if !known {
		m = &PayPalPayoutMovements{Receiver: i.asked.Receiver, Currency: i.amount.currency, Amount: i.amount.units, Items: []PayPalItem{}}
		a.Payouts[id] = m
	}
	m.mismatched = m.mismatched || m.Receiver != i.asked.Receiver || m.Currency != i.amount.currency || m.Amount != i.amount.units
	m.Sent += i.amount.units
	m.Received += received
	m.Fees += fees
	if i.isLive() {
		m.LiveItems++
		if !i.isPaid() {
			m.UnderWay += i.amount.units
		}
	}
	m.Items = append(m.Items, i.snapshot())
}

// compare finds funds that the items have not made as they are.
func (a *payPalAuditing) compare(currency string, held PayPalFunds) {
	expected := a.expected[currency]
	if expected.Available != held.Available {
		a.lost(currency, expected.Available, held.Available)
	}
	if expected.Withheld != held.Withheld {
		a.lost(currency, expected.Withheld, held.Withheld)
	}
}

// compareReports finds balances that the transactions do not add up to.
func (a *payPalAuditing) compareReports(movements []payPalMovement, funds map[string]PayPalFunds) {
	reported := map[string]int64{}
	for _, m := range movements {
		if m.transaction != nil {
			reported[m.currency] += m.transaction.amount.units + m.transaction.fee
		}
	}
	for currency, f := range funds {
		if have := f.Available + f.Withheld; reported[currency] != have {
			a.lost(currency, reported[currency], have)
		}
	}
}

func (a *payPalAuditing) lost(currency string, expected, held int64) {
	a.Lost = append(a.Lost, LostMoney{Currency: currency, Expected: expected, Held: held})
}

func (a *payPalAuditing) result() PayPalMoneyAudit {
	for _, id := range slices.Sorted(maps.Keys(a.Payouts)) {
		m := a.Payouts[id]
		if m.LiveItems > 1 {
			a.Duplicates = append(a.Duplicates, id)
		}
		if m.mismatched {
			a.Mismatched = append(a.Mismatched, id)
		}
	}
	slices.SortFunc(a.Lost, func(x, y LostMoney) int {
		return cmp.Or(cmp.Compare(x.Currency, y.Currency), cmp.Compare(x.Expected, y.Expected), cmp.Compare(x.Held, y.Held))
	})
	return a.PayPalMoneyAudit
}
