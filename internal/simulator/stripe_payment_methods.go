package simulator

import (
	"cmp"
	"fmt"
)

// Card is a card that pays. The zero value means the Visa that ends in 4242, except where it is said
// to mean none.
type Card struct {
	Brand string `json:"brand,omitempty"` // empty means visa
	Last4 string `json:"last4,omitempty"` // empty means 4242
}

type stripePaymentMethod struct {
	ID             string              `json:"id"`
	Object         string              `json:"object"`
	BillingDetails stripeBillingDetail `json:"billing_details"`
	Card           stripeCard          `json:"card"`
	Created        int64               `json:"created"`
	Customer       string              `json:"customer"`
	Livemode       bool                `json:"livemode"`
	Metadata       map[string]string   `json:"metadata"`
	Type           string              `json:"type"`
}

type stripeBillingDetail struct {
	Address stripeAddress `json:"address"`
	Email   nullable      `json:"email"`
	Name    nullable      `json:"name"`
	Phone   nullable      `json:"phone"`
}

type stripeCard struct {
	Brand             string             `json:"brand"`
	Checks            stripeCardChecks   `json:"checks"`
	Country           string             `json:"country"`
	ExpMonth          int                `json:"exp_month"`
	ExpYear           int                `json:"exp_year"`
	Fingerprint       string             `json:"fingerprint"`
	Funding           string             `json:"funding"`
	GeneratedFrom     any                `json:"generated_from"`
	Last4             string             `json:"last4"`
	Networks          stripeCardNetworks `json:"networks"`
	ThreeDSecureUsage struct {
		Supported bool `json:"supported"`
	} `json:"three_d_secure_usage"`
	Wallet any `json:"wallet"`
}

type stripeCardChecks struct {
	AddressLine1Check      nullable `json:"address_line1_check"`
	AddressPostalCodeCheck nullable `json:"address_postal_code_check"`
	CVCCheck               nullable `json:"cvc_check"`
}

type stripeCardNetworks struct {
	Available []string `json:"available"`
	Preferred nullable `json:"preferred"`
}

func (m *stripePaymentMethod) objectID() string { return m.ID }
func (m *stripePaymentMethod) createdAt() int64 { return m.Created }

func (s *Stripe) servePaymentMethods() {
	s.handle("GET /v1/payment_methods", s.listPaymentMethods)
	s.handle("GET /v1/payment_methods/{id}", retrieve("PaymentMethod", &s.paymentMethods))
}

func (s *Stripe) listPaymentMethods(r stripeRequest) (stripeWork, *stripeError) {
	if problem := r.params.only(withListParams(map[string]paramKind{"customer": aText, "type": aText})); problem != nil {
		return nil, problem
	}
	query, problem := readListQuery(r.params)
	if problem != nil {
		return nil, problem
	}
	customer, kind := r.params.text("customer"), r.params.text("type")
	return func() (any, *stripeError) {
		if problem := s.checkCustomerFilter(r.params); problem != nil {
			return nil, problem
		}
		return s.paymentMethods.page(query, "/v1/payment_methods", "PaymentMethod", func(m *stripePaymentMethod) bool {
			return (customer == "" || m.Customer == customer) && (kind == "" || m.Type == kind)
		})
	}, nil
}

// SetDefaultCard gives a customer the card that pays for subscriptions without a card of their own,
// and returns the id of its payment method. It fails for a customer that there is not.
func (s *Stripe) SetDefaultCard(customerID string, card Card) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, problem := s.liveCustomer(customerID)
	if problem != nil {
		return "", fmt.Errorf("simulator: set the default card of Stripe customer %s: %s", customerID, problem.Message)
	}
	method := s.attachCard(c, card)
	c.InvoiceSettings.DefaultPaymentMethod = expandable{id: method}
	return method, nil
}

// attachCard makes a payment method of the customer's and gives its id.
func (s *Stripe) attachCard(c *stripeCustomer, card Card) string {
	const validYears = 3
	now := unixNow()
	method := &stripePaymentMethod{
		ID: newID("pm_"), Object: "payment_method", Created: now, Customer: c.ID, Metadata: map[string]string{}, Type: "card",
		BillingDetails: stripeBillingDetail{Email: c.Email, Name: c.Name},
		Card: stripeCard{
			Brand: cmp.Or(card.Brand, "visa"), Last4: cmp.Or(card.Last4, "4242"), Country: "US", Funding: "credit",
			Checks:   stripeCardChecks{CVCCheck: "pass"},
			ExpMonth: 12, ExpYear: asTime(now).Year() + validYears, Fingerprint: newID("")[:16],
			Networks: stripeCardNetworks{Available: []string{cmp.Or(card.Brand, "visa")}},
		},
	}
	method.Card.ThreeDSecureUsage.Supported = true
	s.paymentMethods.add(method)
	return method.ID
}

// card is the card of a payment method; the zero value if there is none.
func (s *Stripe) card(paymentMethod string) Card {
	method, ok := s.paymentMethods.get(paymentMethod)
	if !ok {
		return Card{}
	}
	return Card{Brand: method.Card.Brand, Last4: method.Card.Last4}
}
