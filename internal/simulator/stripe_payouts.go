package simulator

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What Stripe says of a payout.
const (
	payoutPending   = "pending"
	payoutInTransit = "in_transit"
	payoutPaid      = "paid"
	payoutFailed    = "failed"
	payoutCanceled  = "canceled"
)

const (
	standardMethod = "standard"
	instantMethod  = "instant"
)

// Payout is a movement from a connected account to an external account, as tests see it and as they
// make one that we did not ask for.
type Payout struct {
	ID          string            `json:"id,omitempty"` // "po_…"; one is made if it is empty
	Account     string            `json:"account"`
	Amount      int64             `json:"amount"`                // in minor units
	Currency    string            `json:"currency,omitempty"`    // empty means the account's
	Method      string            `json:"method,omitempty"`      // empty means standard
	Destination string            `json:"destination,omitempty"` // empty means the default external account
	Metadata    map[string]string `json:"metadata,omitempty"`
	Automatic   bool              `json:"automatic,omitempty"` // by the account's schedule
	Status      string            `json:"status,omitempty"`    // empty means pending
	FailureCode string            `json:"failure_code,omitempty"`
	Created     time.Time         `json:"created,omitzero"`      // whole seconds; zero means now
	ArrivalDate time.Time         `json:"arrival_date,omitzero"` // zero means as the method has it
	// Foreign says that no call made it: the payee did, or the account's schedule.
	Foreign bool `json:"foreign,omitempty"`
}

// stripePayout is a payout as the API shows it. What is of type any is always null.
type stripePayout struct {
	ID                        string            `json:"id"`
	Object                    string            `json:"object"`
	Amount                    int64             `json:"amount"`
	ArrivalDate               int64             `json:"arrival_date"`
	Automatic                 bool              `json:"automatic"`
	BalanceTransaction        string            `json:"balance_transaction"`
	Created                   int64             `json:"created"`
	Currency                  string            `json:"currency"`
	Description               nullable          `json:"description"`
	Destination               string            `json:"destination"`
	FailureBalanceTransaction nullable          `json:"failure_balance_transaction"`
	FailureCode               nullable          `json:"failure_code"`
	FailureMessage            nullable          `json:"failure_message"`
	Livemode                  bool              `json:"livemode"`
	Metadata                  map[string]string `json:"metadata"`
	Method                    string            `json:"method"`
	OriginalPayout            any               `json:"original_payout"`
	ReconciliationStatus      string            `json:"reconciliation_status"`
	ReversedBy                any               `json:"reversed_by"`
	SourceType                string            `json:"source_type"`
	StatementDescriptor       nullable          `json:"statement_descriptor"`
	Status                    string            `json:"status"`
	Type                      string            `json:"type"`

	account string
	foreign bool
}

func (p *stripePayout) objectID() string { return p.ID }
func (p *stripePayout) createdAt() int64 { return p.Created }

// isLive says whether its funds are away from the account.
func (p *stripePayout) isLive() bool { return p.Status != payoutFailed && p.Status != payoutCanceled }

func (s *Stripe) servePayouts() {
	s.handle("POST /v1/payouts", s.ofAccount(s.createPayout))
	s.handle("GET /v1/payouts", s.ofAccount(s.listPayouts))
	s.handle("GET /v1/payouts/{id}", s.ofAccount(s.retrievePayout))
	s.handle("POST /v1/payouts/{id}/cancel", s.ofAccount(s.cancelPayout))
}

func (s *Stripe) createPayout(r stripeRequest) (stripeWork, *stripeError) {
	if problem := checkPayoutParams(r.params); problem != nil {
		return nil, problem
	}
	amount, currency, problem := r.params.readAmount(payoutStep)
	switch {
	case problem != nil:
		return nil, problem
	case r.account == "":
		return nil, invalidRequest("payouts_not_allowed", "", "The simulator pays out connected accounts only: send Stripe-Account.")
	}
	return s.onAccount(r.account, func(a *stripeAccount) (any, *stripeError) {
		p := &stripePayout{
			ID: newID("po_"), Amount: amount, Created: unixNow(), Currency: currency, Description: nullable(r.params.text("description")),
			Destination: r.params.text("destination"), Metadata: r.params.metadata(),
			Method: cmp.Or(r.params.text("method"), standardMethod), StatementDescriptor: nullable(r.params.text("statement_descriptor")),
		}
		if problem := s.admitPayout(a, p); problem != nil {
			return nil, problem
		}
		s.payOut(a, p, r.cause)
		return p, nil
	}), nil
}

func checkPayoutParams(p params) *stripeError {
	const maxDescriptor = 22
	problem := p.only(map[string]paramKind{
		"amount": aText, "currency": aText, "method": aText, "destination": aText, "description": aText,
		"statement_descriptor": aText, "metadata": aHash,
	})
	switch {
	case problem != nil:
		return problem
	case p.has("method") && p.text("method") != standardMethod && p.text("method") != instantMethod:
		return invalidRequest("", "method", "Invalid method: must be one of standard or instant")
	case len(p.text("statement_descriptor")) > maxDescriptor:
		return invalidRequest("", "statement_descriptor", "The statement descriptor must be at most 22 characters.")
	}
	return p.checkMetadata()
}

// admitPayout says what is in the way of a payout, or completes it.
func (s *Stripe) admitPayout(a *stripeAccount, p *stripePayout) *stripeError {
	if a.PayoutsDisabled {
		return invalidRequest("payouts_not_allowed", "", "Cannot create payouts: this account has requirements that need to be collected.")
	}
	to, problem := a.receiving(p)
	if problem == nil {
		problem = s.money.limits.check(p)
	}
	if problem == nil && p.Method == instantMethod {
		problem = s.checkInstant(a, to, p)
	}
	if problem != nil {
		return problem
	}
	held := a.wallet.held(p.Currency)
	funds := held.available
	if p.Method == instantMethod {
		funds = held.instantAvailable()
	}
	if p.Amount > funds {
		return insufficientBalance("You have insufficient funds in your Stripe account for this transfer. Your card balance is too low. " +
			"You can use the /v1/balance endpoint to view your Stripe balance (for more details, see stripe.com/docs/api#balance).")
	}
	p.Destination, p.Type = to.ID, to.kind()
	return nil
}

// receiving is the external account that takes a payout.
func (a *stripeAccount) receiving(p *stripePayout) (ExternalAccount, *stripeError) {
	to, ok := a.destination(p.Destination, p.Currency)
	switch {
	case !ok && p.Destination != "":
		return to, missingParam("destination", "external account", p.Destination)
	case !ok:
		return to, invalidRequest("", "currency", "Sorry, you don't have any external accounts in that currency ("+p.Currency+").")
	case to.Currency != p.Currency:
		return to, invalidRequest("", "destination", "The currency of the external account ("+to.Currency+
			") is not that of the payout ("+p.Currency+").")
	case to.Refusal != "":
		return to, invalidRequest(to.Refusal, "destination", "Payouts to this external account are refused ("+to.Refusal+").")
	case to.Status == "errored" || to.Status == "verification_failed":
		return to, invalidRequest("bank_account_unusable", "destination",
			"The bank account provided cannot be used for payouts. A different bank account must be used.")
	}
	return to, nil
}

// payOut takes the funds from the account and begins the payout.
func (s *Stripe) payOut(a *stripeAccount, p *stripePayout, cause stripeCause) {
	p.Object, p.Status, p.SourceType, p.account = "payout", payoutPending, "card", a.ID
	p.BalanceTransaction, p.ReconciliationStatus = newID("txn_"), "not_applicable"
	if p.Automatic {
		p.ReconciliationStatus = "completed"
	}
	if p.ArrivalDate == 0 {
		p.ArrivalDate = arrival(p.Method, p.Created)
	}
	a.wallet.in(p.Currency).available -= p.Amount
	if p.Method == instantMethod {
		s.money.instant.count(p)
		a.instant.count(p)
	}
	s.money.payouts.add(p)
	a.payouts.add(p)
	s.tell(happening{at: unixNow(), cause: cause, account: a.ID}, "payout.created", p)
	s.settleByItself(p)
}

// arrival is when a payout is expected: two days later at midnight, or within half an hour.
func arrival(method string, created int64) int64 {
	if method == instantMethod {
		return asTime(created).Add(30 * time.Minute).Unix()
	}
	return asTime(created).AddDate(0, 0, 2).Truncate(24 * time.Hour).Unix()
}

func (s *Stripe) listPayouts(r stripeRequest) (stripeWork, *stripeError) {
	problem := r.params.only(withListParams(map[string]paramKind{"status": aText, "destination": aText, "arrival_date": aRange}))
	if problem != nil {
		return nil, problem
	}
	query, problem := readListQuery(r.params)
	if problem != nil {
		return nil, problem
	}
	arrives, problem := r.params.readRange("arrival_date")
	if problem != nil {
		return nil, problem
	}
	status, all := r.params.text("status"), []string{payoutPending, payoutInTransit, payoutPaid, payoutFailed, payoutCanceled}
	if r.params.has("status") && !slices.Contains(all, status) {
		return nil, invalidRequest("", "status", "Invalid status: must be one of "+strings.Join(all, ", "))
	}
	return func() (any, *stripeError) {
		return s.payoutsOf(r.account).page(query, "/v1/payouts", "payout", func(p *stripePayout) bool {
			return (!r.params.has("status") || p.Status == status) && arrives.includes(p.ArrivalDate) &&
				(!r.params.has("destination") || p.Destination == r.params.text("destination"))
		})
	}, nil
}

// payoutsOf are the payouts of a connected account; our own account has none.
func (s *Stripe) payoutsOf(accountID string) *collection[*stripePayout] {
	if a, ok := s.money.accounts.get(accountID); ok {
		return &a.payouts
	}
	return &collection[*stripePayout]{}
}

func (s *Stripe) retrievePayout(r stripeRequest) (stripeWork, *stripeError) {
	if problem := r.params.only(nil); problem != nil {
		return nil, problem
	}
	return s.onPayout(r, func(p *stripePayout) (any, *stripeError) { return p, nil }), nil
}

func (s *Stripe) cancelPayout(r stripeRequest) (stripeWork, *stripeError) {
	if problem := r.params.only(nil); problem != nil {
		return nil, problem
	}
	return s.onPayout(r, func(p *stripePayout) (any, *stripeError) {
		if p.Status != payoutPending {
			return nil, invalidRequest("", "", "Payouts can only be canceled while they are pending. This payout has a status of "+p.Status+".")
		}
		s.giveBack(p, payoutCanceled, "", r.cause)
		return p, nil
	}), nil
}

// onPayout works on the payout in the path, which is the named account's.
func (s *Stripe) onPayout(r stripeRequest, work func(*stripePayout) (any, *stripeError)) stripeWork {
	return func() (any, *stripeError) {
		p, ok := s.payoutsOf(r.account).get(r.id)
		if !ok {
			return nil, missing("payout", r.id)
		}
		return work(p)
	}
}

// giveBack ends a payout and puts its funds back on the account.
func (s *Stripe) giveBack(p *stripePayout, status, failureCode string, cause stripeCause) {
	a, _ := s.money.accounts.get(p.account)
	a.wallet.in(p.Currency).available += p.Amount
	s.advance(p, status, cause, func() {
		p.FailureBalanceTransaction = nullable(newID("txn_"))
		if failureCode != "" {
			p.FailureCode = nullable(failureCode)
			p.FailureMessage = nullable("The payout failed: " + strings.ReplaceAll(failureCode, "_", " ") + ".")
		}
	})
}

// advance changes a payout's status, and whatever else goes with it, and tells of it.
func (s *Stripe) advance(p *stripePayout, status string, cause stripeCause, change func()) {
	eventType := "payout." + status
	if status == payoutInTransit {
		eventType = "payout.updated"
	}
	before := rendered(p)
	p.Status = status
	change()
	now := happening{at: unixNow(), cause: cause, account: p.account}
	s.tellChange(now, eventType, p, previousAttributes(before, rendered(p)))
}

// SendPayout puts a pending payout in transit: it can no longer be canceled.
func (s *Stripe) SendPayout(id string) (Payout, error) {
	return s.changePayout(id, "send", func(p *stripePayout) error {
		if p.Status != payoutPending {
			return inPayoutState(p)
		}
		s.inTransit(p)
		return nil
	})
}

// SettlePayout pays a payout that is under way.
func (s *Stripe) SettlePayout(id string) (Payout, error) {
	return s.changePayout(id, "settle", s.settle)
}

// FailPayout fails a payout that is under way, for a reason such as account_closed. Its funds are back
// on the account at once.
func (s *Stripe) FailPayout(id, code string) (Payout, error) {
	return s.changePayout(id, "fail", func(p *stripePayout) error {
		if code == "" {
			return errors.New("the failure code is empty")
		}
		return s.failUnderWay(p, code)
	})
}

// ReturnPayout is the late return of a payout: it was paid, or is now, and then fails for a reason
// such as account_closed. Its funds are back on the account at once.
func (s *Stripe) ReturnPayout(id, code string) (Payout, error) {
	return s.changePayout(id, "return", func(p *stripePayout) error {
		if code == "" {
			return errors.New("the failure code is empty")
		}
		if p.Status != payoutPaid {
			if err := s.settle(p); err != nil {
				return err
			}
		}
		s.giveBack(p, payoutFailed, code, stripeCause{})
		return nil
	})
}

func (s *Stripe) changePayout(id, doing string, change func(*stripePayout) error) (Payout, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.money.payouts.get(id)
	if !ok {
		return Payout{}, fmt.Errorf("simulator: %s Stripe payout %s: there is none", doing, id)
	}
	if err := change(p); err != nil {
		return Payout{}, fmt.Errorf("simulator: %s Stripe payout %s: %w", doing, id, err)
	}
	return p.snapshot(), nil
}

func (s *Stripe) inTransit(p *stripePayout) { s.advance(p, payoutInTransit, stripeCause{}, func() {}) }

func (s *Stripe) settle(p *stripePayout) error {
	if p.Status == payoutPending {
		s.inTransit(p)
	}
	if p.Status != payoutInTransit {
		return inPayoutState(p)
	}
	s.advance(p, payoutPaid, stripeCause{}, func() {})
	return nil
}

func (s *Stripe) failUnderWay(p *stripePayout, code string) error {
	if p.Status != payoutPending && p.Status != payoutInTransit {
		return inPayoutState(p)
	}
	s.giveBack(p, payoutFailed, code, stripeCause{})
	return nil
}

func inPayoutState(p *stripePayout) error { return fmt.Errorf("its status is %s", p.Status) }

// PutPayout makes a payout that no call of ours made: the payee did, or the account's schedule, with
// whatever metadata. It takes its amount from what the account has available, and is told of like any
// other. It fails where Stripe would refuse it, and for an id that there is already.
func (s *Stripe) PutPayout(seed Payout) (Payout, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.money.accounts.get(seed.Account)
	if !ok {
		return Payout{}, fmt.Errorf("simulator: put Stripe payout: there is no account %q", seed.Account)
	}
	p := &stripePayout{
		ID: cmp.Or(seed.ID, newID("po_")), Amount: seed.Amount, Automatic: seed.Automatic, Created: cmp.Or(seconds(seed.Created), unixNow()),
		ArrivalDate: seconds(seed.ArrivalDate), Currency: cmp.Or(seed.Currency, a.Currency), Destination: seed.Destination,
		Metadata: maps.Clone(seed.Metadata), Method: cmp.Or(seed.Method, standardMethod), foreign: true,
	}
	if err := s.checkSeed(a, p, seed.Status); err != nil {
		return Payout{}, fmt.Errorf("simulator: put Stripe payout %s of %s: %w", p.ID, a.ID, err)
	}
	s.payOut(a, p, stripeCause{})
	switch seed.Status {
	case payoutInTransit:
		s.inTransit(p)
	case payoutPaid:
		_ = s.settle(p) // it was just made
	}
	return p.snapshot(), nil
}

func (s *Stripe) checkSeed(a *stripeAccount, p *stripePayout, status string) error {
	_, known := s.money.payouts.get(p.ID)
	switch {
	case known:
		return errors.New("there is one with that id")
	case !strings.HasPrefix(p.ID, "po_"):
		return errors.New("an id begins with po_")
	case p.Amount < 1 || p.Amount > maxStripeAmount:
		return errors.New("amount must be between 1 and " + strconv.FormatInt(maxStripeAmount, 10))
	case p.Method != standardMethod && p.Method != instantMethod:
		return errors.New("method must be standard or instant")
	case !slices.Contains([]string{"", payoutPending, payoutInTransit, payoutPaid}, status):
		return errors.New("status must be pending, in_transit or paid")
	}
	if p.Metadata == nil {
		p.Metadata = map[string]string{}
	}
	if problem := s.admitPayout(a, p); problem != nil {
		return errors.New(problem.Message)
	}
	return nil
}

// Payouts returns every payout that a connected account ever made, oldest first; of all accounts if
// the id is empty.
func (s *Stripe) Payouts(accountID string) []Payout {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := &s.money.payouts
	if accountID != "" {
		of = s.payoutsOf(accountID)
	}
	out := make([]Payout, 0, len(of.oldestFirst))
	for _, p := range of.oldestFirst {
		out = append(out, p.snapshot())
	}
	return out
}

func (p *stripePayout) snapshot() Payout {
	return Payout{
		ID: p.ID, Account: p.account, Amount: p.Amount, Currency: p.Currency, Method: p.Method, Destination: p.Destination,
		Metadata: maps.Clone(p.Metadata), Automatic: p.Automatic, Status: p.Status, FailureCode: string(p.FailureCode),
		Created: asTime(p.Created), ArrivalDate: asTime(p.ArrivalDate), Foreign: p.foreign,
	}
}
