package simulator

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"time"
)

const (
	payPalCreated       = "BILLING.SUBSCRIPTION.CREATED"
	payPalActivated     = "BILLING.SUBSCRIPTION.ACTIVATED"
	payPalSaleCompleted = "PAYMENT.SALE.COMPLETED"
)

// payPalEvent is a webhook event, whole: what is delivered is its body.
type payPalEvent struct {
	id        string // "WH-…"
	eventType string
	body      []byte
}

type payPalEventBody struct {
	ID              string       `json:"id"`
	CreateTime      time.Time    `json:"create_time"`
	ResourceType    string       `json:"resource_type"`
	EventVersion    string       `json:"event_version"`
	EventType       string       `json:"event_type"`
	Summary         string       `json:"summary"`
	ResourceVersion string       `json:"resource_version"`
	Resource        any          `json:"resource"`
	Links           []payPalLink `json:"links"`
}

// payPalSale is the payment of a subscription; billing_agreement_id is the subscription's id.
type payPalSale struct {
	ID                 string           `json:"id"`
	State              string           `json:"state"`
	Amount             payPalSaleAmount `json:"amount"`
	PaymentMode        string           `json:"payment_mode"`
	BillingAgreementID string           `json:"billing_agreement_id"`
	Custom             string           `json:"custom,omitempty"`
	CreateTime         time.Time        `json:"create_time"`
	UpdateTime         time.Time        `json:"update_time"`
}

type payPalSaleAmount struct {
	Total    string `json:"total"`
	Currency string `json:"currency"`
}

// announce emits the events that tell of a change, with the subscription, or its payment, as it is
// now.
func (p *PayPal) announce(s *payPalSubscription, events ...string) {
	for _, eventType := range events {
		if eventType == payPalSaleCompleted {
			p.emitEvent(eventType, "sale", "1.0", "Payment completed", s.sale())
		} else {
			p.emitEvent(eventType, "subscription", "2.0", "Subscription "+s.Status, s)
		}
	}
}

// sale is the last payment.
func (s *payPalSubscription) sale() payPalSale {
	paid := s.BillingInfo.LastPayment
	return payPalSale{
		ID: rand.Text()[:17], State: "completed",
		Amount:      payPalSaleAmount{Total: paid.Amount.Value, Currency: paid.Amount.CurrencyCode},
		PaymentMode: "INSTANT_TRANSFER", BillingAgreementID: s.ID, Custom: s.CustomID,
		CreateTime: paid.Time, UpdateTime: paid.Time,
	}
}

func (p *PayPal) emitEvent(eventType, resourceType, resourceVersion, summary string, resource any) {
	id := "WH-" + rand.Text()[:17] + "-" + rand.Text()[:17]
	body, err := json.Marshal(payPalEventBody{
		ID: id, CreateTime: time.Now().UTC().Truncate(time.Millisecond), ResourceType: resourceType,
		EventVersion: "1.0", EventType: eventType, Summary: summary, ResourceVersion: resourceVersion, Resource: resource,
		Links: []payPalLink{{Href: p.baseURL() + "/v1/notifications/webhooks-events/" + id, Rel: "self", Method: http.MethodGet}},
	})
	if err != nil {
		panic(err) // structs of texts and times
	}
	p.emit(payPalEvent{id: id, eventType: eventType, body: body})
}
