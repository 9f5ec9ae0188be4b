package simulator

import (
	"fmt"
	"strconv"
)

const (
	invoiceOpen = "open"
	invoicePaid = "paid"
)

// stripeInvoice is the bill of one period of a subscription. What is of type any is always null.
type stripeInvoice struct {
	ID                           string                        `json:"id"`
	Object                       string                        `json:"object"`
	AccountCountry               string                        `json:"account_country"`
	AccountName                  nullable                      `json:"account_name"`
	AccountTaxIDs                any                           `json:"account_tax_ids"`
	AmountDue                    int64                         `json:"amount_due"`
	AmountPaid                   int64                         `json:"amount_paid"`
	AmountRemaining              int64                         `json:"amount_remaining"`
	AmountShipping               int64                         `json:"amount_shipping"`
	Application                  any                           `json:"application"`
	ApplicationFeeAmount         any                           `json:"application_fee_amount"`
	AttemptCount                 int                           `json:"attempt_count"`
	Attempted                    bool                          `json:"attempted"`
	AutoAdvance                  bool                          `json:"auto_advance"`
	AutomaticTax                 stripeInvoiceTax              `json:"automatic_tax"`
	BillingReason                string                        `json:"billing_reason"`
	Charge                       any                           `json:"charge"`
	CollectionMethod             string                        `json:"collection_method"`
	Created                      int64                         `json:"created"`
	Currency                     string                        `json:"currency"`
	CustomFields                 any                           `json:"custom_fields"`
	Customer                     string                        `json:"customer"`
	CustomerAddress              *stripeAddress                `json:"customer_address"`
	CustomerEmail                nullable                      `json:"customer_email"`
	CustomerName                 nullable                      `json:"customer_name"`
	CustomerPhone                nullable                      `json:"customer_phone"`
	CustomerShipping             any                           `json:"customer_shipping"`
	CustomerTaxExempt            string                        `json:"customer_tax_exempt"`
	CustomerTaxIDs               []string                      `json:"customer_tax_ids"`
	DefaultPaymentMethod         any                           `json:"default_payment_method"`
	DefaultSource                any                           `json:"default_source"`
	DefaultTaxRates              []string                      `json:"default_tax_rates"`
	Description                  any                           `json:"description"`
	Discount                     any                           `json:"discount"`
	Discounts                    []string                      `json:"discounts"`
	DueDate                      any                           `json:"due_date"`
	EffectiveAt                  int64                         `json:"effective_at"`
	EndingBalance                int64                         `json:"ending_balance"`
	Footer                       any                           `json:"footer"`
	FromInvoice                  any                           `json:"from_invoice"`
	HostedInvoiceURL             any                           `json:"hosted_invoice_url"`
	InvoicePDF                   any                           `json:"invoice_pdf"`
	LastFinalizationError        any                           `json:"last_finalization_error"`
	LatestRevision               any                           `json:"latest_revision"`
	Lines                        stripeList[stripeInvoiceLine] `json:"lines"`
	Livemode                     bool                          `json:"livemode"`
	Metadata                     map[string]string             `json:"metadata"`
	NextPaymentAttempt           *int64                        `json:"next_payment_attempt"`
	Number                       string                        `json:"number"`
	OnBehalfOf                   any                           `json:"on_behalf_of"`
	Paid                         bool                          `json:"paid"`
	PaidOutOfBand                bool                          `json:"paid_out_of_band"`
	PaymentIntent                any                           `json:"payment_intent"`
	PaymentSettings              stripeInvoicePayment          `json:"payment_settings"`
	PeriodEnd                    int64                         `json:"period_end"`
	PeriodStart                  int64                         `json:"period_start"`
	PostPaymentCreditNotesAmount int64                         `json:"post_payment_credit_notes_amount"`
	PrePaymentCreditNotesAmount  int64                         `json:"pre_payment_credit_notes_amount"`
	Quote                        any                           `json:"quote"`
	ReceiptNumber                any                           `json:"receipt_number"`
	Rendering                    any                           `json:"rendering"`
	ShippingCost                 any                           `json:"shipping_cost"`
	ShippingDetails              any                           `json:"shipping_details"`
	StartingBalance              int64                         `json:"starting_balance"`
	StatementDescriptor          any                           `json:"statement_descriptor"`
	Status                       string                        `json:"status"`
	StatusTransitions            stripeInvoiceTransitions      `json:"status_transitions"`
	Subscription                 string                        `json:"subscription"`
	SubscriptionDetails          stripeInvoiceDetails          `json:"subscription_details"`
	Subtotal                     int64                         `json:"subtotal"`
	SubtotalExcludingTax         int64                         `json:"subtotal_excluding_tax"`
	Tax                          any                           `json:"tax"`
	TestClock                    any                           `json:"test_clock"`
	Total                        int64                         `json:"total"`
	TotalDiscountAmounts         []string                      `json:"total_discount_amounts"`
	TotalExcludingTax            int64                         `json:"total_excluding_tax"`
	TotalTaxAmounts              []string                      `json:"total_tax_amounts"`
	TransferData                 any                           `json:"transfer_data"`
	WebhooksDeliveredAt          int64                         `json:"webhooks_delivered_at"`
}

type stripeInvoiceTax struct {
	Enabled bool     `json:"enabled"`
	Status  nullable `json:"status"`
}

type stripeInvoicePayment struct {
	DefaultMandate       any `json:"default_mandate"`
	PaymentMethodOptions any `json:"payment_method_options"`
	PaymentMethodTypes   any `json:"payment_method_types"`
}

type stripeInvoiceTransitions struct {
	FinalizedAt           int64  `json:"finalized_at"`
	MarkedUncollectibleAt any    `json:"marked_uncollectible_at"`
	PaidAt                *int64 `json:"paid_at"`
	VoidedAt              any    `json:"voided_at"`
}

type stripeInvoiceDetails struct {
	Metadata map[string]string `json:"metadata"`
}

// stripeInvoiceLine is what an item of the subscription costs in the period.
type stripeInvoiceLine struct {
	ID                     string            `json:"id"`
	Object                 string            `json:"object"`
	Amount                 int64             `json:"amount"`
	AmountExcludingTax     int64             `json:"amount_excluding_tax"`
	Currency               string            `json:"currency"`
	Description            string            `json:"description"`
	DiscountAmounts        []string          `json:"discount_amounts"`
	Discountable           bool              `json:"discountable"`
	Discounts              []string          `json:"discounts"`
	Livemode               bool              `json:"livemode"`
	Metadata               map[string]string `json:"metadata"`
	Period                 stripePeriod      `json:"period"`
	Price                  *stripePrice      `json:"price"`
	Proration              bool              `json:"proration"`
	ProrationDetails       stripeProration   `json:"proration_details"`
	Quantity               int64             `json:"quantity"`
	Subscription           string            `json:"subscription"`
	SubscriptionItem       string            `json:"subscription_item"`
	TaxAmounts             []string          `json:"tax_amounts"`
	TaxRates               []string          `json:"tax_rates"`
	Type                   string            `json:"type"`
	UnitAmountExcludingTax string            `json:"unit_amount_excluding_tax"`
}

type stripePeriod struct {
	Start int64 `json:"start"`
	End   int64 `json:"end"`
}

type stripeProration struct {
	CreditedItems any `json:"credited_items"`
}

func (i *stripeInvoice) objectID() string { return i.ID }
func (i *stripeInvoice) createdAt() int64 { return i.Created }

func (s *Stripe) serveInvoices() {
	s.handle("GET /v1/invoices", s.listInvoices)
	s.handle("GET /v1/invoices/{id}", retrieve("invoice", &s.invoices))
}

func (s *Stripe) listInvoices(r stripeRequest) (stripeWork, *stripeError) {
	allowed := withListParams(map[string]paramKind{"customer": aText, "subscription": aText, "status": aText})
	if problem := r.params.only(allowed); problem != nil {
		return nil, problem
	}
	query, problem := readListQuery(r.params)
	if problem != nil {
		return nil, problem
	}
	customer, subscription, status := r.params.text("customer"), r.params.text("subscription"), r.params.text("status")
	return func() (any, *stripeError) {
		if problem := s.checkCustomerFilter(r.params); problem != nil {
			return nil, problem
		}
		return s.invoices.page(query, "/v1/invoices", "invoice", func(i *stripeInvoice) bool {
			return (customer == "" || i.Customer == customer) &&
				(subscription == "" || i.Subscription == subscription) &&
				(status == "" || i.Status == status)
		})
	}, nil
}

// bill makes the open invoice of the subscription's current period. A trial costs nothing.
func (s *Stripe) bill(sub *stripeSubscription, reason string, at int64) *stripeInvoice {
	i := &stripeInvoice{
		ID: newID("in_"), Object: "invoice", AccountCountry: "US", BillingReason: reason, CollectionMethod: sub.CollectionMethod,
		Created: at, Currency: sub.Currency, Customer: sub.Customer.id, CustomerTaxExempt: "none", CustomerTaxIDs: []string{},
		DefaultTaxRates: []string{}, Discounts: []string{}, EffectiveAt: at, Metadata: map[string]string{},
		PeriodStart: sub.CurrentPeriodStart, PeriodEnd: sub.CurrentPeriodEnd, Status: invoiceOpen, Subscription: sub.ID,
		StatusTransitions:   stripeInvoiceTransitions{FinalizedAt: at},
		SubscriptionDetails: stripeInvoiceDetails{Metadata: map[string]string{}},
		// Never delivered before it occurs; Stripe gives the time of the finalization.
		WebhooksDeliveredAt:  at,
		TotalDiscountAmounts: []string{}, TotalTaxAmounts: []string{},
	}
	i.Lines = stripeList[stripeInvoiceLine]{Object: "list", URL: "/v1/invoices/" + i.ID + "/lines", Data: []stripeInvoiceLine{}}
	for _, item := range sub.Items.all {
		line := sub.line(item)
		i.Lines.Data = append(i.Lines.Data, line)
		i.Total += line.Amount
	}
	i.AmountDue, i.AmountRemaining = i.Total, i.Total
	i.Subtotal, i.SubtotalExcludingTax, i.TotalExcludingTax = i.Total, i.Total, i.Total
	if c, ok := s.customers.get(sub.Customer.id); ok {
		i.CustomerAddress, i.CustomerEmail, i.CustomerName, i.CustomerPhone = c.Address, c.Email, c.Name, c.Phone
		i.Number = fmt.Sprintf("%s-%04d", c.InvoicePrefix, c.NextInvoiceSequence)
		c.NextInvoiceSequence++
	}
	s.invoices.add(i)
	sub.LatestInvoice = expandable{id: i.ID}
	return i
}

func (sub *stripeSubscription) line(item *stripeSubscriptionItem) stripeInvoiceLine {
	unit := item.Price.UnitAmount
	if sub.Status == subscriptionTrialing {
		unit = 0
	}
	amount := unit * item.Quantity
	return stripeInvoiceLine{
		ID: newID("il_"), Object: "line_item", Amount: amount, AmountExcludingTax: amount, Currency: sub.Currency,
		Description: strconv.FormatInt(item.Quantity, 10) + " × " + item.Price.ID, DiscountAmounts: []string{}, Discountable: true,
		Discounts: []string{}, Metadata: map[string]string{},
		Period: stripePeriod{Start: sub.CurrentPeriodStart, End: sub.CurrentPeriodEnd}, Price: item.Price, Quantity: item.Quantity,
		Subscription: sub.ID, SubscriptionItem: item.ID, TaxAmounts: []string{}, TaxRates: []string{}, Type: "subscription",
		UnitAmountExcludingTax: strconv.FormatInt(unit, 10),
	}
}

// due is the subscription's newest invoice if nobody has paid it yet.
func (s *Stripe) due(sub *stripeSubscription) (*stripeInvoice, bool) {
	i, ok := s.invoices.get(sub.LatestInvoice.id)
	return i, ok && i.Status == invoiceOpen
}

func (i *stripeInvoice) settle(at int64) {
	i.Status, i.Paid, i.Attempted = invoicePaid, true, true
	i.AttemptCount++
	i.AmountPaid, i.AmountRemaining = i.Total, 0
	i.NextPaymentAttempt = nil
	i.StatusTransitions.PaidAt = &at
}

// fail is an attempt to pay it that the card refuses; the next is three days later.
func (i *stripeInvoice) fail(at int64) {
	const again = 3 * 24 * 60 * 60
	next := at + again
	i.Attempted, i.AutoAdvance = true, true
	i.AttemptCount++
	i.NextPaymentAttempt = &next
}
