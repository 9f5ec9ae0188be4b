package simulator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// What Stripe says of a subscription.
const (
	subscriptionIncomplete        = "incomplete"
	subscriptionIncompleteExpired = "incomplete_expired"
	subscriptionTrialing          = "trialing"
	subscriptionActive            = "active"
	subscriptionPastDue           = "past_due"
	subscriptionUnpaid            = "unpaid"
	subscriptionPaused            = "paused"
	subscriptionCanceled          = "canceled"
)

// Subscription is a Stripe subscription as tests and the control endpoint see it. Times are UTC in
// whole seconds.
type Subscription struct {
	ID       string   `json:"id,omitempty"` // "sub_…"; one is made if it is empty
	Customer string   `json:"customer"`
	Status   string   `json:"status,omitempty"`   // any text; empty means active
	PriceID  string   `json:"price,omitempty"`    // empty means DefaultStripePrice
	AddOns   []string `json:"add_ons,omitempty"`  // the prices of further items
	Quantity int64    `json:"quantity,omitempty"` // of the first item; zero means 1
	// Card is its own card; the zero value means that the customer's default card pays.
	Card Card `json:"card,omitzero"`

	Created            time.Time `json:"created,omitzero"`              // zero means now
	CurrentPeriodStart time.Time `json:"current_period_start,omitzero"` // zero means when it was created
	CurrentPeriodEnd   time.Time `json:"current_period_end,omitzero"`   // zero means a month after the start
	CancelAtPeriodEnd  bool      `json:"cancel_at_period_end,omitempty"`
	CanceledAt         time.Time `json:"canceled_at,omitzero"`
	EndedAt            time.Time `json:"ended_at,omitzero"`
}

// SubscriptionSpec is what a customer subscribes to. The zero value is useful.
type SubscriptionSpec struct {
	PriceID   string   `json:"price,omitempty"`      // empty means DefaultStripePrice
	AddOns    []string `json:"add_ons,omitempty"`    // the prices of further items
	Quantity  int64    `json:"quantity,omitempty"`   // of the first item; zero means 1
	TrialDays int      `json:"trial_days,omitempty"` // zero means no trial
	Card      Card     `json:"card,omitzero"`        // the zero value means the Visa that ends in 4242
}

// stripeSubscription is a subscription as the API shows it. What is of type any is always null.
type stripeSubscription struct {
	ID                            string                    `json:"id"`
	Object                        string                    `json:"object"`
	Application                   any                       `json:"application"`
	ApplicationFeePercent         any                       `json:"application_fee_percent"`
	AutomaticTax                  stripeTax                 `json:"automatic_tax"`
	BillingCycleAnchor            int64                     `json:"billing_cycle_anchor"`
	BillingThresholds             any                       `json:"billing_thresholds"`
	CancelAt                      *int64                    `json:"cancel_at"`
	CancelAtPeriodEnd             bool                      `json:"cancel_at_period_end"`
	CanceledAt                    *int64                    `json:"canceled_at"`
	CancellationDetails           stripeCancellationDetails `json:"cancellation_details"`
	CollectionMethod              string                    `json:"collection_method"`
	Created                       int64                     `json:"created"`
	Currency                      string                    `json:"currency"`
	CurrentPeriodEnd              int64                     `json:"current_period_end"`
	CurrentPeriodStart            int64                     `json:"current_period_start"`
	Customer                      expandable                `json:"customer"`
	DaysUntilDue                  any                       `json:"days_until_due"`
	DefaultPaymentMethod          expandable                `json:"default_payment_method"`
	DefaultSource                 any                       `json:"default_source"`
	DefaultTaxRates               []string                  `json:"default_tax_rates"`
	Description                   nullable                  `json:"description"`
	Discount                      any                       `json:"discount"`
	EndedAt                       *int64                    `json:"ended_at"`
	Items                         stripeSubscriptionItems   `json:"items"`
	LatestInvoice                 expandable                `json:"latest_invoice"`
	Livemode                      bool                      `json:"livemode"`
	Metadata                      map[string]string         `json:"metadata"`
	NextPendingInvoiceItemInvoice any                       `json:"next_pending_invoice_item_invoice"`
	OnBehalfOf                    any                       `json:"on_behalf_of"`
	PauseCollection               any                       `json:"pause_collection"`
	PaymentSettings               stripePaymentSettings     `json:"payment_settings"`
	PendingInvoiceItemInterval    any                       `json:"pending_invoice_item_interval"`
	PendingSetupIntent            any                       `json:"pending_setup_intent"`
	PendingUpdate                 any                       `json:"pending_update"`
	Schedule                      any                       `json:"schedule"`
	StartDate                     int64                     `json:"start_date"`
	Status                        string                    `json:"status"`
	TestClock                     any                       `json:"test_clock"`
	TransferData                  any                       `json:"transfer_data"`
	TrialEnd                      *int64                    `json:"trial_end"`
	TrialSettings                 stripeTrialSettings       `json:"trial_settings"`
	TrialStart                    *int64                    `json:"trial_start"`
}

type stripeTax struct {
	Enabled bool `json:"enabled"`
}

type stripeCancellationDetails struct {
	Comment  nullable `json:"comment"`
	Feedback nullable `json:"feedback"`
	Reason   nullable `json:"reason"`
}

type stripePaymentSettings struct {
	PaymentMethodOptions     any      `json:"payment_method_options"`
	PaymentMethodTypes       any      `json:"payment_method_types"`
	SaveDefaultPaymentMethod nullable `json:"save_default_payment_method"`
}

type stripeTrialSettings struct {
	EndBehavior struct {
		MissingPaymentMethod string `json:"missing_payment_method"`
	} `json:"end_behavior"`
}

// stripeSubscriptionItem is one price of a subscription.
type stripeSubscriptionItem struct {
	ID                string            `json:"id"`
	Object            string            `json:"object"`
	BillingThresholds any               `json:"billing_thresholds"`
	Created           int64             `json:"created"`
	Metadata          map[string]string `json:"metadata"`
	Price             *stripePrice      `json:"price"`
	Quantity          int64             `json:"quantity"`
	Subscription      string            `json:"subscription"`
	TaxRates          []string          `json:"tax_rates"`
}

// stripeSubscriptionItems are the items within a subscription, which shows only the first of many.
type stripeSubscriptionItems struct {
	subscription string
	all          []*stripeSubscriptionItem
}

// MarshalJSON writes the first page of a list.
func (i stripeSubscriptionItems) MarshalJSON() ([]byte, error) {
	const shown = 10
	return json.Marshal(stripeList[*stripeSubscriptionItem]{
		Object: "list", URL: "/v1/subscription_items?subscription=" + i.subscription,
		HasMore: len(i.all) > shown, Data: i.all[:min(shown, len(i.all))],
	})
}

func (sub *stripeSubscription) objectID() string   { return sub.ID }
func (sub *stripeSubscription) createdAt() int64   { return sub.Created }
func (i *stripeSubscriptionItem) objectID() string { return i.ID }

// createdAt does not tell them apart: a list shows them in their own order, whatever their age.
func (i *stripeSubscriptionItem) createdAt() int64 { return 0 }

// hasEnded says whether it is over for good.
func (sub *stripeSubscription) hasEnded() bool {
	return sub.Status == subscriptionCanceled || sub.Status == subscriptionIncompleteExpired
}

func newStripeSubscription(id, customer string, created int64) *stripeSubscription {
	sub := &stripeSubscription{
		ID: id, Object: "subscription", BillingCycleAnchor: created, CollectionMethod: "charge_automatically", Created: created,
		Currency: stripeCurrency, CurrentPeriodStart: created, CurrentPeriodEnd: monthAfter(created),
		Customer: expandable{id: customer}, DefaultTaxRates: []string{}, Items: stripeSubscriptionItems{subscription: id},
		Metadata: map[string]string{}, PaymentSettings: stripePaymentSettings{SaveDefaultPaymentMethod: "off"},
		StartDate: created, Status: subscriptionIncomplete,
	}
	sub.TrialSettings.EndBehavior.MissingPaymentMethod = "create_invoice"
	return sub
}

func (sub *stripeSubscription) addItem(price *stripePrice, quantity, at int64) {
	sub.Items.all = append(sub.Items.all, &stripeSubscriptionItem{
		ID: newID("si_"), Object: "subscription_item", Created: at, Metadata: map[string]string{}, Price: price,
		Quantity: quantity, Subscription: sub.ID, TaxRates: []string{},
	})
}

func (sub *stripeSubscription) startTrial(days int, at int64) {
	end := asTime(at).AddDate(0, 0, days).Unix()
	sub.Status, sub.TrialStart, sub.TrialEnd = subscriptionTrialing, &at, &end
	sub.CurrentPeriodEnd, sub.BillingCycleAnchor = end, end
}

// addSubscription adds it, or replaces the one with the same id.
func (s *Stripe) addSubscription(sub *stripeSubscription) {
	if replaced, ok := s.subscriptions.get(sub.ID); ok {
		s.subscriptionsOf[replaced.Customer.id].remove(sub.ID)
	}
	s.subscriptions.add(sub)
	of, ok := s.subscriptionsOf[sub.Customer.id]
	if !ok {
		of = &collection[*stripeSubscription]{}
		s.subscriptionsOf[sub.Customer.id] = of
	}
	of.add(sub)
}

// Subscribe is what a customer does in a Checkout: a card is attached, the subscription is made, and
// its first invoice is paid. Like Stripe's, its events have the same second: the subscription is
// created, incomplete, then active, and the invoice is paid; one with a trial begins with the trial.
// It fails for a customer that there is not.
func (s *Stripe) Subscribe(customerID string, spec SubscriptionSpec) (Subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, problem := s.liveCustomer(customerID)
	switch {
	case problem != nil:
		return Subscription{}, fmt.Errorf("simulator: subscribe Stripe customer %s: %s", customerID, problem.Message)
	case spec.Quantity < 0 || spec.TrialDays < 0:
		return Subscription{}, fmt.Errorf("simulator: subscribe Stripe customer %s: Quantity and TrialDays must not be negative", customerID)
	}
	now := happening{at: unixNow()}
	sub := newStripeSubscription(newID("sub_"), customerID, now.at)
	sub.addItem(s.price(cmp.Or(spec.PriceID, DefaultStripePrice)), cmp.Or(spec.Quantity, 1), now.at)
	for _, price := range spec.AddOns {
		sub.addItem(s.price(price), 1, now.at)
	}
	if spec.TrialDays > 0 {
		sub.startTrial(spec.TrialDays, now.at)
	}
	s.begin(sub, s.attachCard(c, spec.Card), now)
	return s.snapshotOf(sub), nil
}

// begin adds the new subscription and has its first invoice paid, if there is something to pay it
// with.
func (s *Stripe) begin(sub *stripeSubscription, paymentMethod string, now happening) {
	s.addSubscription(sub)
	first := s.bill(sub, "subscription_create", now.at)
	if sub.Status == subscriptionTrialing {
		sub.DefaultPaymentMethod.id = paymentMethod
		first.settle(now.at)
		s.tell(now, "customer.subscription.created", sub)
		s.tell(now, "invoice.paid", first)
		return
	}
	s.tell(now, "customer.subscription.created", sub)
	if paymentMethod == "" && s.payer(sub) == "" {
		return
	}
	s.change(sub, now, func() []news {
		sub.DefaultPaymentMethod.id = paymentMethod
		sub.Status = subscriptionActive
		first.settle(now.at)
		return []news{{"invoice.paid", first}}
	})
}

// payer is the payment method that pays for a subscription without one of its own.
func (s *Stripe) payer(sub *stripeSubscription) string {
	c, ok := s.customers.get(sub.Customer.id)
	if !ok {
		return ""
	}
	return c.InvoiceSettings.DefaultPaymentMethod.id
}

// PutSubscription adds or replaces a subscription as it is given, and tells nobody: no event, no
// invoice. It fails for a customer that there never was.
func (s *Stripe) PutSubscription(seed Subscription) (Subscription, error) {
	id := cmp.Or(seed.ID, newID("sub_"))
	if bare, ok := strings.CutPrefix(id, "sub_"); !ok || bare == "" {
		return Subscription{}, fmt.Errorf("simulator: put Stripe subscription %q: an id begins with sub_", id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.customers.get(seed.Customer)
	if !ok {
		return Subscription{}, fmt.Errorf("simulator: put Stripe subscription %s: there is no customer %q", id, seed.Customer)
	}
	sub := newStripeSubscription(id, seed.Customer, cmp.Or(seconds(seed.Created), unixNow()))
	sub.Status = cmp.Or(seed.Status, subscriptionActive)
	sub.CurrentPeriodStart = cmp.Or(seconds(seed.CurrentPeriodStart), sub.Created)
	sub.CurrentPeriodEnd = cmp.Or(seconds(seed.CurrentPeriodEnd), monthAfter(sub.CurrentPeriodStart))
	sub.addItem(s.price(cmp.Or(seed.PriceID, DefaultStripePrice)), cmp.Or(seed.Quantity, 1), sub.Created)
	for _, price := range seed.AddOns {
		sub.addItem(s.price(price), 1, sub.Created)
	}
	if seed.Card != (Card{}) {
		sub.DefaultPaymentMethod.id = s.attachCard(c, seed.Card)
	}
	if seed.CancelAtPeriodEnd {
		sub.cancelAtPeriodEnd(true, cmp.Or(seconds(seed.CanceledAt), unixNow()))
	}
	sub.CanceledAt = cmp.Or(optional(seed.CanceledAt), sub.CanceledAt)
	sub.EndedAt = optional(seed.EndedAt)
	s.addSubscription(sub)
	return s.snapshotOf(sub), nil
}

// Subscriptions returns every subscription there ever was, oldest first.
func (s *Stripe) Subscriptions() []Subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshotsOf(&s.subscriptions)
}

// SubscriptionsOf returns every subscription that the customer ever had, oldest first.
func (s *Stripe) SubscriptionsOf(customerID string) []Subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshotsOf(s.allOf(customerID))
}

// Subscription is one subscription; false if there is none.
func (s *Stripe) Subscription(id string) (Subscription, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, ok := s.subscriptions.get(id)
	if !ok {
		return Subscription{}, false
	}
	return s.snapshotOf(sub), true
}

// allOf are the subscriptions of a customer.
func (s *Stripe) allOf(customerID string) *collection[*stripeSubscription] {
	if of, ok := s.subscriptionsOf[customerID]; ok {
		return of
	}
	return &collection[*stripeSubscription]{}
}

func (s *Stripe) snapshotsOf(all *collection[*stripeSubscription]) []Subscription {
	out := make([]Subscription, 0, len(all.oldestFirst))
	for _, sub := range all.oldestFirst {
		out = append(out, s.snapshotOf(sub))
	}
	return out
}

func (s *Stripe) snapshotOf(sub *stripeSubscription) Subscription {
	out := Subscription{
		ID: sub.ID, Customer: sub.Customer.id, Status: sub.Status, Card: s.card(sub.DefaultPaymentMethod.id),
		Created: asTime(sub.Created), CurrentPeriodStart: asTime(sub.CurrentPeriodStart), CurrentPeriodEnd: asTime(sub.CurrentPeriodEnd),
		CancelAtPeriodEnd: sub.CancelAtPeriodEnd, CanceledAt: timeOf(sub.CanceledAt), EndedAt: timeOf(sub.EndedAt),
	}
	for i, item := range sub.Items.all {
		if i == 0 {
			out.PriceID, out.Quantity = item.Price.ID, item.Quantity
		} else {
			out.AddOns = append(out.AddOns, item.Price.ID)
		}
	}
	return out
}

func monthAfter(start int64) int64 { return asTime(start).AddDate(0, 1, 0).Unix() }

func asTime(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }

// timeOf is the zero time for none.
func timeOf(seconds *int64) time.Time {
	if seconds == nil {
		return time.Time{}
	}
	return asTime(*seconds)
}

// seconds is a time as Stripe has it; zero for the zero time.
func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// optional is a time as Stripe has it; nil for the zero time.
func optional(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	unix := t.Unix()
	return &unix
}
