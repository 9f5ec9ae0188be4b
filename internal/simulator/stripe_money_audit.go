package simulator

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
)

// MoneyAudit is what Stripe's books say of the money: what was moved for each payout of the app's,
// and whether all money is where the movements have put it. Amounts are in minor units.
type MoneyAudit struct {
	// Payouts are the app's, by their ids in the metadata of transfers and payouts.
	Payouts map[string]*PayoutMovements `json:"payouts"`
	// Received is what was paid to each of the app's payees, by currency.
	Received map[string]map[string]int64 `json:"received"`
	// Totals are the sums by currency.
	Totals map[string]MoneyTotals `json:"totals"`

	// Duplicates are the payouts with more than one live transfer or more than one live payout.
	Duplicates []string `json:"duplicates"`
	// Mismatched are the payouts whose movements differ in payee, account or currency.
	Mismatched []string `json:"mismatched"`
	// Unbalanced are the payouts for which more was transferred, and not reversed, than was paid out,
	// or less. While a payout is on its way between the two it is among them.
	Unbalanced []string `json:"unbalanced"`
	// Lost are the balances that are not what the movements have made them.
	Lost []LostMoney `json:"lost"`

	// WithoutPayoutID counts transfers and payouts of ours that name no payout of the app's.
	WithoutPayoutID int `json:"without_payout_id"`
	// Foreign counts payouts that were not ours, whatever their metadata says. They count for Totals
	// only.
	Foreign int `json:"foreign"`
}

// PayoutMovements are the movements for one payout of the app's.
type PayoutMovements struct {
	PayeeID  string `json:"payee_id"`
	Account  string `json:"account"`
	Currency string `json:"currency"`

	Transferred int64 `json:"transferred"`
	Reversed    int64 `json:"reversed"`
	UnderWay    int64 `json:"under_way"` // by payouts that are pending or in transit
	PaidOut     int64 `json:"paid_out"`

	LiveTransfers int        `json:"live_transfers"` // that are not reversed in full
	LivePayouts   int        `json:"live_payouts"`   // that neither failed nor were canceled
	Transfers     []Transfer `json:"transfers"`      // with their reversals, oldest first
	Payouts       []Payout   `json:"payouts"`        // oldest first

	mismatched bool
}

// MoneyTotals is where the money of one currency is. PutIn is the sum of all others, unless money was
// lost.
type MoneyTotals struct {
	PutIn    int64 `json:"put_in"` // from outside, less what was taken out
	Platform int64 `json:"platform"`
	Accounts int64 `json:"accounts"`
	UnderWay int64 `json:"under_way"`
	PaidOut  int64 `json:"paid_out"`
}

// LostMoney is a balance that is not what the movements have made it.
type LostMoney struct {
	Account  string `json:"account"` // empty for our own
	Currency string `json:"currency"`
	Expected int64  `json:"expected"`
	Held     int64  `json:"held"`
}

// Err says what must never be: movements made twice or for the wrong payee, and lost money. It is nil
// if all is well; payouts that are not finished are no error.
func (a MoneyAudit) Err() error {
	var problems []error
	for what, payouts := range map[string][]string{"duplicate movements": a.Duplicates, "mismatched movements": a.Mismatched} {
		if len(payouts) > 0 {
			problems = append(problems, fmt.Errorf("simulator: %s for payouts %v", what, payouts))
		}
	}
	for _, lost := range a.Lost {
		problems = append(problems, fmt.Errorf("simulator: balance of %q: %d %s instead of %d", lost.Account, lost.Held, lost.Currency, lost.Expected))
	}
	for currency, t := range a.Totals {
		if held := t.Platform + t.Accounts + t.UnderWay + t.PaidOut; held != t.PutIn {
			problems = append(problems, fmt.Errorf("simulator: %d %s were put in, and there are %d", t.PutIn, currency, held))
		}
	}
	return errors.Join(problems...)
}

// MoneyAudit follows every movement there ever was and compares with the balances.
func (s *Stripe) MoneyAudit() MoneyAudit {
	s.mu.Lock()
	defer s.mu.Unlock()
	audit := newMoneyAuditing()
	for accountID, w := range s.wallets() {
		for currency, f := range w {
			audit.put(accountID, currency, f)
		}
	}
	for _, t := range s.money.transfers.oldestFirst {
		audit.followTransfer(t)
	}
	for _, p := range s.money.payouts.oldestFirst {
		audit.followPayout(p)
	}
	for accountID, w := range s.wallets() {
		for currency, f := range w {
			audit.compare(holding{accountID, currency}, f.available+f.pending)
		}
	}
	return audit.result()
}

// wallets are our own, under an empty id, and those of all accounts.
func (s *Stripe) wallets() iter.Seq2[string, stripeWallet] {
	return func(yield func(string, stripeWallet) bool) {
		if !yield("", s.money.platform) {
			return
		}
		for _, a := range s.money.accounts.oldestFirst {
			if !yield(a.ID, a.wallet) {
				return
			}
		}
	}
}

type holding struct{ account, currency string }

// moneyAuditing is an audit that is being made.
type moneyAuditing struct {
	MoneyAudit

	expected map[holding]int64
}

func newMoneyAuditing() *moneyAuditing {
	return &moneyAuditing{expected: map[holding]int64{}, MoneyAudit: MoneyAudit{
		Payouts: map[string]*PayoutMovements{}, Received: map[string]map[string]int64{}, Totals: map[string]MoneyTotals{},
		Duplicates: []string{}, Mismatched: []string{}, Unbalanced: []string{}, Lost: []LostMoney{},
	}}
}

func (a *moneyAuditing) total(currency string, change func(*MoneyTotals)) {
	t := a.Totals[currency]
	change(&t)
	a.Totals[currency] = t
}

func (a *moneyAuditing) put(accountID, currency string, f *stripeFunds) {
	a.expected[holding{accountID, currency}] += f.putIn
	a.total(currency, func(t *MoneyTotals) {
		t.PutIn += f.putIn
		if accountID == "" {
			t.Platform += f.available + f.pending
		} else {
			t.Accounts += f.available + f.pending
		}
	})
}

func (a *moneyAuditing) followTransfer(t *stripeTransfer) {
	reversed := int64(0)
	for _, r := range t.reversals.oldestFirst {
		reversed += r.Amount
	}
	a.expected[holding{"", t.Currency}] -= t.Amount - reversed
	a.expected[holding{t.Destination, t.Currency}] += t.Amount - reversed
	m := a.movements(t.Metadata, t.Destination, t.Currency)
	if m == nil {
		return
	}
	m.Transferred += t.Amount
	m.Reversed += reversed
	if reversed < t.Amount {
		m.LiveTransfers++
	}
	m.Transfers = append(m.Transfers, t.snapshot())
}

func (a *moneyAuditing) followPayout(p *stripePayout) {
	underWay, paid := int64(0), int64(0)
	switch {
	case p.Status == payoutPaid:
		paid = p.Amount
	case p.isLive():
		underWay = p.Amount
	}
	a.expected[holding{p.account, p.Currency}] -= underWay + paid
	a.total(p.Currency, func(t *MoneyTotals) {
		t.UnderWay += underWay
		t.PaidOut += paid
	})
	if p.foreign {
		a.Foreign++
		return
	}
	if payee := p.Metadata[payeeIDKey]; paid > 0 && payee != "" {
		if a.Received[payee] == nil {
			a.Received[payee] = map[string]int64{}
		}
		a.Received[payee][p.Currency] += paid
	}
	m := a.movements(p.Metadata, p.account, p.Currency)
	if m == nil {
		return
	}
	m.UnderWay += underWay
	m.PaidOut += paid
	if p.isLive() {
		m.LivePayouts++
	}
	m.Payouts = append(m.Payouts, p.snapshot())
}

// movements are those for the payout that the metadata names, or nil if it names none.
func (a *moneyAuditing) movements(metadata map[string]string, accountID, currency string) *PayoutMovements {
	id := metadata[payoutIDKey]
	if id == "" {
		a.WithoutPayoutID++
		return nil
	}
	m, known := a.Payouts[id]
	if !known {
		m = &PayoutMovements{
			PayeeID: metadata[payeeIDKey], Account: accountID, Currency: currency, Transfers: []Transfer{}, Payouts: []Payout{},
		}
		a.Payouts[id] = m
	}
	m.mismatched = m.mismatched || m.PayeeID != metadata[payeeIDKey] || m.Account != accountID || m.Currency != currency
	return m
}

func (a *moneyAuditing) compare(h holding, held int64) {
	if a.expected[h] != held {
		a.Lost = append(a.Lost, LostMoney{Account: h.account, Currency: h.currency, Expected: a.expected[h], Held: held})
	}
}

func (a *moneyAuditing) result() MoneyAudit {
	for _, id := range slices.Sorted(maps.Keys(a.Payouts)) {
		m := a.Payouts[id]
		if m.LiveTransfers > 1 || m.LivePayouts > 1 {
			a.Duplicates = append(a.Duplicates, id)
		}
		if m.mismatched {
			a.Mismatched = append(a.Mismatched, id)
		}
		if m.Transferred-m.Reversed != m.UnderWay+m.PaidOut {
			a.Unbalanced = append(a.Unbalanced, id)
		}
	}
	slices.SortFunc(a.Lost, func(x, y LostMoney) int {
		return cmp.Or(cmp.Compare(x.Account, y.Account), cmp.Compare(x.Currency, y.Currency))
	})
	return a.MoneyAudit
}
