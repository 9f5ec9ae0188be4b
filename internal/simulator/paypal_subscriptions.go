package simulator

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"time"
)

// What PayPal says of a subscription.
const (
	payPalApprovalPending = "APPROVAL_PENDING"
	payPalApproved        = "APPROVED"
	payPalActive          = "ACTIVE"
	payPalSuspended       = "SUSPENDED"
	payPalCancelled       = "CANCELLED"
	payPalExpired         = "EXPIRED"
)

// What a subscription costs a month when nothing else was said.
const (
	payPalPrice    = "10.00"
	payPalCurrency = "USD"
)

// PayPalSubscription is a subscription as tests and the control endpoint see it. Times are UTC in
// whole seconds.
type PayPalSubscription struct {
	ID       string `json:"id,omitempty"`     // "I-…"; one is made if it is empty
	Status   string `json:"status,omitempty"` // any text; empty means ACTIVE
	PlanID   string `json:"plan_id,omitempty"`
	CustomID string `json:"custom_id,omitempty"`
	Quantity string `json:"quantity,omitempty"` // empty means "1"

	CreateTime       time.Time `json:"create_time,omitzero"` // zero means now
	StatusUpdateTime time.Time `json:"status_update_time,omitzero"`
	UpdateTime       time.Time `json:"update_time,omitzero"`

	NextBillingTime     time.Time `json:"next_billing_time,omitzero"`      // zero when nothing is due
	LastPaymentTime     time.Time `json:"last_payment_time,omitzero"`      // zero when nothing was paid
	LastPaymentAmount   string    `json:"last_payment_amount,omitempty"`   // empty means "10.00"
	LastPaymentCurrency string    `json:"last_payment_currency,omitempty"` // empty means "USD"
}

// payPalSubscription is a subscription as the API shows it.
type payPalSubscription struct {
	Status           string             `json:"status"`
	StatusChangeNote string             `json:"status_change_note,omitempty"`
	StatusUpdateTime time.Time          `json:"status_update_time"`
	ID               string             `json:"id"`
	PlanID           string             `json:"plan_id"`
	StartTime        time.Time          `json:"start_time"`
	Quantity         string             `json:"quantity"`
	BillingInfo      *payPalBillingInfo `json:"billing_info,omitempty"` // only of one that was active once
	CreateTime       time.Time          `json:"create_time"`
	UpdateTime       time.Time          `json:"update_time"`
	CustomID         string             `json:"custom_id,omitempty"`
	PlanOverridden   bool               `json:"plan_overridden"`
	Links            []payPalLink       `json:"links"`
}

// payPalMadeSubscription is what the API shows of a subscription to whoever has just made it.
type payPalMadeSubscription struct {
	ID     string       `json:"id"`
	Status string       `json:"status"`
	Links  []payPalLink `json:"links"`
}

type payPalBillingInfo struct {
	OutstandingBalance  payPalMoney            `json:"outstanding_balance"`
	CycleExecutions     []payPalCycleExecution `json:"cycle_executions"`
	LastPayment         *payPalPayment         `json:"last_payment,omitempty"`
	NextBillingTime     time.Time              `json:"next_billing_time,omitzero"`
	FailedPaymentsCount int                    `json:"failed_payments_count"`
}

type payPalMoney struct {
	CurrencyCode string `json:"currency_code"`
	Value        string `json:"value"`
}

type payPalPayment struct {
	Amount payPalMoney `json:"amount"`
	Time   time.Time   `json:"time"`
}

type payPalCycleExecution struct {
	TenureType      string `json:"tenure_type"`
	Sequence        int    `json:"sequence"`
	CyclesCompleted int    `json:"cycles_completed"`
	CyclesRemaining int    `json:"cycles_remaining"`
	TotalCycles     int    `json:"total_cycles"`
}

func (p *PayPal) serveSubscriptions() {
	const path = "/v1/billing/subscriptions"
	p.handle("POST "+path, p.createSubscription)
	p.handle("GET "+path+"/{id}", p.showSubscription)
	p.handle("POST "+path+"/{id}/activate", p.changeOnRequest("activate", "suspended", false, (*payPalSubscription).reactivate))
	p.handle("POST "+path+"/{id}/suspend", p.changeOnRequest("suspend", "active", true, (*payPalSubscription).suspend))
	p.handle("POST "+path+"/{id}/cancel", p.changeOnRequest("cancel", "active or suspended", true, (*payPalSubscription).cancel))
}

var (
	payPalCustomID = regexp.MustCompile(`^[\x20-\x7E]+$`)
	payPalQuantity = regexp.MustCompile(`^([0-9]+|([0-9]+)?[.][0-9]+)$`)
)

func (p *PayPal) createSubscription(r payPalRequest) (int, any, *payPalError) {
	asked, problem := readPayPalObject[struct {
		PlanID   *string `json:"plan_id"`
		CustomID *string `json:"custom_id"`
		Quantity *string `json:"quantity"`
	}](r.body)
	if problem != nil {
		return 0, nil, problem
	}
	if problem := checkPayPalTexts(
		payPalText{field: "/plan_id", value: asked.PlanID, required: true, least: 3, most: 50},
		payPalText{field: "/custom_id", value: asked.CustomID, least: 1, most: 127, form: payPalCustomID},
		payPalText{field: "/quantity", value: asked.Quantity, least: 1, most: 32, form: payPalQuantity},
	); problem != nil {
		return 0, nil, problem
	}
	s := p.newSubscription(*asked.PlanID, textOf(asked.CustomID), textOf(asked.Quantity))
	p.announce(s, payPalCreated)
	if r.whole {
		return http.StatusCreated, s, nil
	}
	return http.StatusCreated, payPalMadeSubscription{ID: s.ID, Status: s.Status, Links: s.Links}, nil
}

func (p *PayPal) showSubscription(r payPalRequest) (int, any, *payPalError) {
	s, ok := p.subscriptions[r.id]
	if !ok {
		return 0, nil, payPalNotFound()
	}
	return http.StatusOK, s, nil
}

// payPalChange changes a subscription and gives the events that tell of it: none when the
// subscription is in no state for the change.
type payPalChange func(s *payPalSubscription, note string) (events []string)

func (p *PayPal) changeOnRequest(action, wants string, needsReason bool, change payPalChange) payPalOperation {
	return func(r payPalRequest) (int, any, *payPalError) {
		reason, problem := readPayPalReason(r.body, needsReason)
		if problem != nil {
			return 0, nil, problem
		}
		s, ok := p.subscriptions[r.id]
		if !ok {
			return 0, nil, payPalNotFound()
		}
		events := change(s, reason)
		if len(events) == 0 {
			return 0, nil, payPalUnprocessable("SUBSCRIPTION_STATUS_INVALID",
				fmt.Sprintf("Invalid subscription status for %s action; subscription status should be %s.", action, wants))
		}
		p.announce(s, events...)
		return http.StatusNoContent, nil, nil
	}
}

// readPayPalReason is why a change is asked for. Where it may be left out, so may the whole body.
func readPayPalReason(body []byte, required bool) (string, *payPalError) {
	if len(body) == 0 && !required {
		return "", nil
	}
	asked, problem := readPayPalObject[struct {
		Reason *string `json:"reason"`
	}](body)
	if problem == nil {
		problem = checkPayPalTexts(payPalText{field: "/reason", value: asked.Reason, required: required, least: 1, most: 128})
	}
	return textOf(asked.Reason), problem
}

func textOf(given *string) string {
	if given == nil {
		return ""
	}
	return *given
}

// newSubscription makes one that waits for its buyer's approval.
func (p *PayPal) newSubscription(planID, customID, quantity string) *payPalSubscription {
	now := payPalNow()
	s := &payPalSubscription{
		ID: "I-" + rand.Text()[:12], Status: payPalApprovalPending, PlanID: planID, CustomID: customID,
		Quantity: cmp.Or(quantity, "1"), StartTime: now, CreateTime: now, UpdateTime: now, StatusUpdateTime: now,
	}
	p.add(s)
	return s
}

func (p *PayPal) add(s *payPalSubscription) {
	self := p.baseURL() + "/v1/billing/subscriptions/" + s.ID
	s.Links = []payPalLink{
		{Href: p.baseURL() + "/webapps/billing/subscriptions?ba_token=BA-" + s.ID[2:], Rel: "approve", Method: http.MethodGet},
		{Href: self, Rel: "edit", Method: http.MethodPatch},
		{Href: self, Rel: "self", Method: http.MethodGet},
	}
	p.subscriptions[s.ID] = s
}

// becomes moves the subscription on if it is in one of the states.
func (s *payPalSubscription) becomes(status, note string, from ...string) bool {
	if !slices.Contains(from, s.Status) {
		return false
	}
	s.Status, s.StatusChangeNote = status, note
	s.StatusUpdateTime = payPalNow()
	s.UpdateTime = s.StatusUpdateTime
	return true
}

func (s *payPalSubscription) approve(note string) []string {
	if !s.becomes(payPalActive, note, payPalApprovalPending, payPalApproved) {
		return nil
	}
	s.pay(s.StatusUpdateTime)
	return []string{payPalActivated, payPalSaleCompleted}
}

func (s *payPalSubscription) reactivate(note string) []string {
	if !s.becomes(payPalActive, note, payPalSuspended) {
		return nil
	}
	return []string{payPalActivated}
}

func (s *payPalSubscription) suspend(note string) []string {
	if !s.becomes(payPalSuspended, note, payPalActive) {
		return nil
	}
	return []string{"BILLING.SUBSCRIPTION.SUSPENDED"}
}

func (s *payPalSubscription) cancel(note string) []string {
	if !s.becomes(payPalCancelled, note, payPalActive, payPalSuspended) {
		return nil
	}
	s.nothingDue()
	return []string{"BILLING.SUBSCRIPTION.CANCELLED"}
}

func (s *payPalSubscription) expire(note string) []string {
	if !s.becomes(payPalExpired, note, payPalActive, payPalSuspended) {
		return nil
	}
	s.nothingDue()
	return []string{"BILLING.SUBSCRIPTION.EXPIRED"}
}

func (s *payPalSubscription) renew(string) []string {
	if s.Status != payPalActive {
		return nil
	}
	s.UpdateTime = payPalNow()
	due := s.UpdateTime
	if s.BillingInfo != nil {
		due = orElse(s.BillingInfo.NextBillingTime, due)
	}
	s.pay(due)
	return []string{payPalSaleCompleted}
}

func (s *payPalSubscription) nothingDue() {
	if s.BillingInfo != nil {
		s.BillingInfo.NextBillingTime = time.Time{}
	}
}

// pay records a payment, made now, for the month that begins at from.
func (s *payPalSubscription) pay(from time.Time) {
	amount := payPalMoney{CurrencyCode: payPalCurrency, Value: payPalPrice}
	if s.BillingInfo == nil {
		s.BillingInfo = newBillingInfo(amount.CurrencyCode)
	} else if last := s.BillingInfo.LastPayment; last != nil {
		amount = last.Amount
	}
	s.BillingInfo.LastPayment = &payPalPayment{Amount: amount, Time: payPalNow()}
	s.BillingInfo.NextBillingTime = from.AddDate(0, 1, 0)
	s.BillingInfo.CycleExecutions[0].CyclesCompleted++
}

func newBillingInfo(currency string) *payPalBillingInfo {
	return &payPalBillingInfo{
		OutstandingBalance: payPalMoney{CurrencyCode: currency, Value: "0.00"},
		CycleExecutions:    []payPalCycleExecution{{TenureType: "REGULAR", Sequence: 1}},
	}
}

// CreateSubscription makes a subscription that waits for its buyer's approval, as the API does.
func (p *PayPal) CreateSubscription(planID, customID string) PayPalSubscription {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.newSubscription(planID, customID, "")
	p.announce(s, payPalCreated)
	return s.shown()
}

// Approve is what the buyer does: the subscription becomes active, and its first month is paid.
func (p *PayPal) Approve(id string) (PayPalSubscription, error) {
	return p.change(id, "approve", (*payPalSubscription).approve)
}

// Suspend stops an active subscription until Reactivate.
func (p *PayPal) Suspend(id string) (PayPalSubscription, error) {
	return p.change(id, "suspend", (*payPalSubscription).suspend)
}

// Reactivate makes a suspended subscription active again; nothing is paid.
func (p *PayPal) Reactivate(id string) (PayPalSubscription, error) {
	return p.change(id, "reactivate", (*payPalSubscription).reactivate)
}

// Cancel ends an active or suspended subscription.
func (p *PayPal) Cancel(id string) (PayPalSubscription, error) {
	return p.change(id, "cancel", (*payPalSubscription).cancel)
}

// Expire ends an active or suspended subscription that has run its term.
func (p *PayPal) Expire(id string) (PayPalSubscription, error) {
	return p.change(id, "expire", (*payPalSubscription).expire)
}

// RenewPayment pays the next month of an active subscription, now.
func (p *PayPal) RenewPayment(id string) (PayPalSubscription, error) {
	return p.change(id, "renew", (*payPalSubscription).renew)
}

// SetStatus gives the subscription any status, such as one that PayPal might think of next year.
func (p *PayPal) SetStatus(id, status string) (PayPalSubscription, error) {
	return p.change(id, "set the status of", func(s *payPalSubscription, note string) []string {
		s.becomes(status, note, s.Status)
		return []string{"BILLING.SUBSCRIPTION.UPDATED"}
	})
}

// change makes a change that nobody asked the API for. It fails for a subscription that there is
// not, or that is in no state for the change.
func (p *PayPal) change(id, doing string, change payPalChange) (PayPalSubscription, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.subscriptions[id]
	if !ok {
		return PayPalSubscription{}, fmt.Errorf("simulator: %s PayPal subscription %s: there is none", doing, id)
	}
	events := change(s, "")
	if len(events) == 0 {
		return PayPalSubscription{}, fmt.Errorf("simulator: %s PayPal subscription %s: its status is %s", doing, id, s.Status)
	}
	p.announce(s, events...)
	return s.shown(), nil
}

// PutSubscription adds or replaces a subscription as it is given, and tells nobody: no event.
func (p *PayPal) PutSubscription(seed PayPalSubscription) (PayPalSubscription, error) {
	if seed.ID == "" {
		seed.ID = "I-" + rand.Text()[:12]
	}
	if len(seed.ID) < 3 || seed.ID[:2] != "I-" {
		return PayPalSubscription{}, fmt.Errorf("simulator: put PayPal subscription %q: an id begins with I-", seed.ID)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := seed.stored()
	p.add(s)
	return s.shown(), nil
}

// Subscriptions returns every subscription, oldest first.
func (p *PayPal) Subscriptions() []PayPalSubscription {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]PayPalSubscription, 0, len(p.subscriptions))
	for _, s := range p.subscriptions {
		all = append(all, s.shown())
	}
	slices.SortFunc(all, func(a, b PayPalSubscription) int {
		return cmp.Or(a.CreateTime.Compare(b.CreateTime), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// Subscription is one subscription; false if there is none.
func (p *PayPal) Subscription(id string) (PayPalSubscription, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.subscriptions[id]
	if !ok {
		return PayPalSubscription{}, false
	}
	return s.shown(), true
}

func (s *payPalSubscription) shown() PayPalSubscription {
	shown := PayPalSubscription{
		ID: s.ID, Status: s.Status, PlanID: s.PlanID, CustomID: s.CustomID, Quantity: s.Quantity,
		CreateTime: s.CreateTime, StatusUpdateTime: s.StatusUpdateTime, UpdateTime: s.UpdateTime,
	}
	if s.BillingInfo == nil {
		return shown
	}
	shown.NextBillingTime = s.BillingInfo.NextBillingTime
	if paid := s.BillingInfo.LastPayment; paid != nil {
		shown.LastPaymentTime = paid.Time
		shown.LastPaymentAmount, shown.LastPaymentCurrency = paid.Amount.Value, paid.Amount.CurrencyCode
	}
	return shown
}

func (s PayPalSubscription) stored() *payPalSubscription {
	created := orElse(s.CreateTime, payPalNow())
	statusUpdated := orElse(s.StatusUpdateTime, created)
	stored := &payPalSubscription{
		ID: s.ID, Status: cmp.Or(s.Status, payPalActive), PlanID: cmp.Or(s.PlanID, "P-SIMULATOR"), CustomID: s.CustomID,
		Quantity: cmp.Or(s.Quantity, "1"), StartTime: created, CreateTime: created,
		StatusUpdateTime: statusUpdated, UpdateTime: orElse(s.UpdateTime, statusUpdated),
	}
	if s.NextBillingTime.IsZero() && s.LastPaymentTime.IsZero() {
		return stored
	}
	currency := cmp.Or(s.LastPaymentCurrency, payPalCurrency)
	stored.BillingInfo = newBillingInfo(currency)
	stored.BillingInfo.NextBillingTime = orElse(s.NextBillingTime, time.Time{})
	if !s.LastPaymentTime.IsZero() {
		stored.BillingInfo.LastPayment = &payPalPayment{
			Amount: payPalMoney{CurrencyCode: currency, Value: cmp.Or(s.LastPaymentAmount, payPalPrice)},
			Time:   orElse(s.LastPaymentTime, time.Time{}),
		}
	}
	return stored
}

// orElse is the time as PayPal keeps it, or another one if it is zero.
func orElse(t, otherwise time.Time) time.Time {
	if t.IsZero() {
		return otherwise
	}
	return t.UTC().Truncate(time.Second)
}
