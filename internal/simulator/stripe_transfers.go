package simulator

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

// Transfer is a movement from us to a connected account, as tests see it.
type Transfer struct {
	ID             string            `json:"id"` // "tr_…"
	Account        string            `json:"account"`
	Amount         int64             `json:"amount"` // in minor units
	AmountReversed int64             `json:"amount_reversed,omitempty"`
	Currency       string            `json:"currency"`
	TransferGroup  string            `json:"transfer_group,omitempty"`
	Metadata       map[string]string `json:"metadata,omitempty"`
	Created        time.Time         `json:"created"`
	Reversals      []Reversal        `json:"reversals,omitempty"` // oldest first
}

// Reversal is the way back of a transfer, or of a part of it.
type Reversal struct {
	ID       string            `json:"id"`     // "trr_…"
	Amount   int64             `json:"amount"` // in minor units
	Metadata map[string]string `json:"metadata,omitempty"`
	Created  time.Time         `json:"created"`
}

// stripeTransfer is a transfer as the API shows it. What is of type any is always null.
type stripeTransfer struct {
	ID                 string                              `json:"id"`
	Object             string                              `json:"object"`
	Amount             int64                               `json:"amount"`
	AmountReversed     int64                               `json:"amount_reversed"`
	BalanceTransaction string                              `json:"balance_transaction"`
	Created            int64                               `json:"created"`
	Currency           string                              `json:"currency"`
	Description        nullable                            `json:"description"`
	Destination        string                              `json:"destination"`
	DestinationPayment string                              `json:"destination_payment"`
	Livemode           bool                                `json:"livemode"`
	Metadata           map[string]string                   `json:"metadata"`
	Reversals          stripeList[*stripeTransferReversal] `json:"reversals"`
	Reversed           bool                                `json:"reversed"`
	SourceTransaction  any                                 `json:"source_transaction"`
	SourceType         string                              `json:"source_type"`
	TransferGroup      nullable                            `json:"transfer_group"`

	reversals  collection[*stripeTransferReversal]
	pending    int64 // of its funds, what the account still waits for
	notInstant int64 // and what cannot be paid out instantly yet
}

type stripeTransferReversal struct {
	ID                       string            `json:"id"`
	Object                   string            `json:"object"`
	Amount                   int64             `json:"amount"`
	BalanceTransaction       string            `json:"balance_transaction"`
	Created                  int64             `json:"created"`
	Currency                 string            `json:"currency"`
	DestinationPaymentRefund string            `json:"destination_payment_refund"`
	Metadata                 map[string]string `json:"metadata"`
	SourceRefund             any               `json:"source_refund"`
	Transfer                 string            `json:"transfer"`
}

func (t *stripeTransfer) objectID() string         { return t.ID }
func (t *stripeTransfer) createdAt() int64         { return t.Created }
func (r *stripeTransferReversal) objectID() string { return r.ID }
func (r *stripeTransferReversal) createdAt() int64 { return r.Created }

func (s *Stripe) serveTransfers() {
	s.handle("POST /v1/transfers", s.createTransfer)
	s.handle("GET /v1/transfers", s.listTransfers)
	s.handle("GET /v1/transfers/{id}", s.retrieveTransfer)
	s.handle("POST /v1/transfers/{id}/reversals", s.reverseTransfer)
	s.handle("GET /v1/transfers/{id}/reversals", s.listReversals)
	s.handle("GET /v1/transfers/{id}/reversals/{child}", s.retrieveReversal)
}

func (s *Stripe) createTransfer(r stripeRequest) (stripeWork, *stripeError) {
	problem := r.params.only(map[string]paramKind{
		"amount": aText, "currency": aText, "destination": aText, "transfer_group": aText, "description": aText, "metadata": aHash,
	})
	if problem == nil {
		problem = r.params.checkMetadata()
	}
	if problem != nil {
		return nil, problem
	}
	amount, currency, problem := r.params.readAmount(transferStep)
	switch {
	case problem != nil:
		return nil, problem
	case r.params.text("destination") == "":
		return nil, missingParameter("destination")
	case r.account != "":
		return nil, invalidRequest("transfers_not_allowed", "", "A connected account cannot make transfers: send none of Stripe-Account.")
	}
	return func() (any, *stripeError) {
		a, problem := s.receiver(r.params.text("destination"))
		if problem != nil {
			return nil, problem
		}
		if amount > s.money.platform.held(currency).available {
			return nil, insufficientBalance("You have insufficient available funds in your Stripe account. Try adding funds directly to " +
				"your available balance by creating Charges using the 4000000000000077 test card.")
		}
		return s.transfer(a, amount, currency, r), nil
	}, nil
}

// receiver is the account that a transfer goes to.
func (s *Stripe) receiver(id string) (*stripeAccount, *stripeError) {
	a, ok := s.money.accounts.get(id)
	switch {
	case !ok || a.Revoked:
		return nil, missingParam("destination", "destination", id)
	case a.TransfersDisabled:
		return nil, invalidRequest("insufficient_capabilities_for_transfer", "destination", "Your destination account needs to have at "+
			"least one of the following capabilities enabled: transfers, crypto_transfers, legacy_payments")
	}
	return a, nil
}

func insufficientBalance(message string) *stripeError {
	return invalidRequest("balance_insufficient", "", message)
}

func (s *Stripe) transfer(a *stripeAccount, amount int64, currency string, r stripeRequest) *stripeTransfer {
	id := newID("tr_")
	t := &stripeTransfer{
		ID: id, Object: "transfer", Amount: amount, BalanceTransaction: newID("txn_"), Created: unixNow(), Currency: currency,
		Description: nullable(r.params.text("description")), Destination: a.ID, DestinationPayment: newID("py_"),
		Metadata: r.params.metadata(), SourceType: "card", TransferGroup: nullable(r.params.text("transfer_group")),
		pending: amount, notInstant: amount,
	}
	t.Reversals = t.shownReversals()
	s.money.platform.in(currency).available -= amount
	f := a.wallet.in(currency)
	f.pending, f.notInstant = f.pending+amount, f.notInstant+amount
	s.addTransfer(a, t)
	s.tell(happening{at: t.Created, cause: r.cause}, "transfer.created", t)
	s.letFundsArrive(a, t)
	return t
}

func (s *Stripe) addTransfer(a *stripeAccount, t *stripeTransfer) {
	s.money.transfers.add(t)
	a.transfers.add(t)
	if t.TransferGroup == "" {
		return
	}
	group, ok := s.money.transfersOfGroup[string(t.TransferGroup)]
	if !ok {
		group = &collection[*stripeTransfer]{}
		s.money.transfersOfGroup[string(t.TransferGroup)] = group
	}
	group.add(t)
}

// letFundsArrive makes the transfer's funds available, now or after the delay.
func (s *Stripe) letFundsArrive(a *stripeAccount, t *stripeTransfer) {
	delay := s.money.delay
	if delay.AvailableMS == 0 {
		a.wallet.makeAvailable(t)
	} else {
		s.later(delay.AvailableMS, func() { s.makeAvailable(a, t) })
	}
	if delay == (TransferDelay{}) {
		a.wallet.makeInstant(t)
	} else {
		s.later(delay.AvailableMS+delay.InstantMS, func() { a.wallet.makeInstant(t) })
	}
}

// makeAvailable ends the wait for a transfer's funds and tells of it.
func (s *Stripe) makeAvailable(a *stripeAccount, t *stripeTransfer) {
	if t.pending == 0 {
		return
	}
	a.wallet.makeAvailable(t)
	s.tell(happening{at: unixNow(), account: a.ID}, "balance.available", balanceOf(a.wallet, t.Currency))
}

func (w stripeWallet) makeAvailable(t *stripeTransfer) {
	f := w.in(t.Currency)
	f.pending, f.available = f.pending-t.pending, f.available+t.pending
	t.pending = 0
}

func (w stripeWallet) makeInstant(t *stripeTransfer) {
	w.in(t.Currency).notInstant -= t.notInstant
	t.notInstant = 0
}

// takeBack takes a reversed amount from the account: first what it still waits for.
func (w stripeWallet) takeBack(t *stripeTransfer, amount int64) {
	f := w.in(t.Currency)
	waiting, notInstant := min(amount, t.pending), min(amount, t.notInstant)
	t.pending, t.notInstant = t.pending-waiting, t.notInstant-notInstant
	f.pending, f.notInstant = f.pending-waiting, f.notInstant-notInstant
	f.available -= amount - waiting
}

func (s *Stripe) listTransfers(r stripeRequest) (stripeWork, *stripeError) {
	problem := r.params.only(withListParams(map[string]paramKind{"destination": aText, "transfer_group": aText}))
	if problem != nil {
		return nil, problem
	}
	query, problem := readListQuery(r.params)
	if problem != nil {
		return nil, problem
	}
	return func() (any, *stripeError) {
		if r.account != "" {
			return (&collection[*stripeTransfer]{}).page(query, "/v1/transfers", "transfer", nil) // it has made none
		}
		return s.transfersAsked(r.params).page(query, "/v1/transfers", "transfer", func(t *stripeTransfer) bool {
			return !r.params.has("destination") || t.Destination == r.params.text("destination")
		})
	}, nil
}

// transfersAsked is the smallest collection that holds all that a list call asks for.
func (s *Stripe) transfersAsked(p params) *collection[*stripeTransfer] {
	if p.has("transfer_group") {
		if group, ok := s.money.transfersOfGroup[p.text("transfer_group")]; ok {
			return group
		}
		return &collection[*stripeTransfer]{}
	}
	if !p.has("destination") {
		return &s.money.transfers
	}
	if a, ok := s.money.accounts.get(p.text("destination")); ok {
		return &a.transfers
	}
	return &collection[*stripeTransfer]{}
}

func (s *Stripe) retrieveTransfer(r stripeRequest) (stripeWork, *stripeError) {
	if r.account != "" {
		return nil, missing("transfer", r.id)
	}
	return retrieve("transfer", &s.money.transfers)(r)
}

func (s *Stripe) reverseTransfer(r stripeRequest) (stripeWork, *stripeError) {
	problem := r.params.only(map[string]paramKind{"amount": aText, "description": aText, "metadata": aHash})
	if problem == nil {
		problem = r.params.checkMetadata()
	}
	if problem != nil {
		return nil, problem
	}
	asked, problem := r.params.integer("amount", 1, maxStripeAmount, 0)
	if problem != nil {
		return nil, problem
	}
	return s.onTransfer(r, func(t *stripeTransfer) (any, *stripeError) {
		a, _ := s.money.accounts.get(t.Destination)
		left := t.Amount - t.AmountReversed
		amount := asked
		if amount == 0 {
			amount = left
		}
		switch {
		case left == 0:
			return nil, invalidRequest("", "", "Transfer "+t.ID+" is already fully reversed.")
		case amount > left:
			return nil, invalidRequest("amount_too_large", "amount", "Reversal amount ("+strconv.FormatInt(amount, 10)+
				") is greater than what is left of the transfer ("+strconv.FormatInt(left, 10)+").")
		case amount-min(amount, t.pending) > max(0, a.wallet.held(t.Currency).available):
			return nil, insufficientBalance("The recipient does not have enough available funds to reverse this transfer.")
		}
		return s.reverse(a, t, amount, r), nil
	}), nil
}

// onTransfer works on the transfer in the path.
func (s *Stripe) onTransfer(r stripeRequest, work func(*stripeTransfer) (any, *stripeError)) stripeWork {
	return func() (any, *stripeError) {
		t, ok := s.money.transfers.get(r.id)
		if !ok || r.account != "" {
			return nil, missing("transfer", r.id)
		}
		return work(t)
	}
}

func (s *Stripe) reverse(a *stripeAccount, t *stripeTransfer, amount int64, r stripeRequest) *stripeTransferReversal {
	reversal := &stripeTransferReversal{
		ID: newID("trr_"), Object: "transfer_reversal", Amount: amount, BalanceTransaction: newID("txn_"), Created: unixNow(),
		Currency: t.Currency, DestinationPaymentRefund: newID("pyr_"), Metadata: r.params.metadata(), Transfer: t.ID,
	}
	a.wallet.takeBack(t, amount)
	s.money.platform.in(t.Currency).available += amount
	before := rendered(t)
	t.AmountReversed += amount
	t.Reversed = t.AmountReversed == t.Amount
	t.reversals.add(reversal)
	t.Reversals = t.shownReversals()
	now := happening{at: reversal.Created, cause: r.cause}
	s.tellChange(now, "transfer.reversed", t, previousAttributes(before, rendered(t)))
	return reversal
}

func (t *stripeTransfer) reversalsURL() string { return "/v1/transfers/" + t.ID + "/reversals" }

// shownReversals is the first page of them within the transfer.
func (t *stripeTransfer) shownReversals() stripeList[*stripeTransferReversal] {
	const shown = 10
	// Without a page to begin from nothing can be missing.
	list, _ := t.reversals.page(listQuery{limit: shown, created: always()}, t.reversalsURL(), "", func(*stripeTransferReversal) bool { return true })
	return list
}

func (s *Stripe) listReversals(r stripeRequest) (stripeWork, *stripeError) {
	if problem := r.params.only(withListParams(nil)); problem != nil {
		return nil, problem
	}
	query, problem := readListQuery(r.params)
	if problem != nil {
		return nil, problem
	}
	return s.onTransfer(r, func(t *stripeTransfer) (any, *stripeError) {
		return t.reversals.page(query, t.reversalsURL(), "transfer reversal", func(*stripeTransferReversal) bool { return true })
	}), nil
}

func (s *Stripe) retrieveReversal(r stripeRequest) (stripeWork, *stripeError) {
	if problem := r.params.only(nil); problem != nil {
		return nil, problem
	}
	return s.onTransfer(r, func(t *stripeTransfer) (any, *stripeError) {
		reversal, ok := t.reversals.get(r.child)
		if !ok {
			return nil, missing("transfer reversal", r.child)
		}
		return reversal, nil
	}), nil
}

// Transfers returns every transfer there ever was, oldest first.
func (s *Stripe) Transfers() []Transfer {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Transfer, 0, len(s.money.transfers.oldestFirst))
	for _, t := range s.money.transfers.oldestFirst {
		out = append(out, t.snapshot())
	}
	return out
}

func (t *stripeTransfer) snapshot() Transfer {
	out := Transfer{
		ID: t.ID, Account: t.Destination, Amount: t.Amount, AmountReversed: t.AmountReversed, Currency: t.Currency,
		TransferGroup: string(t.TransferGroup), Metadata: maps.Clone(t.Metadata), Created: asTime(t.Created),
	}
	for r := range slices.Values(t.reversals.oldestFirst) {
		out.Reversals = append(out.Reversals, Reversal{
			ID: r.ID, Amount: r.Amount, Metadata: maps.Clone(r.Metadata), Created: asTime(r.Created),
		})
	}
	return out
}
