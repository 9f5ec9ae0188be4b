package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/holdfast/holdfast/internal/provider"
)

// PayPal tells PayPal's webhooks from everybody else's, and reads whom they are about.
type PayPal struct{ verifier *PayPalVerifier }

// NewPayPal makes a reader of PayPal's webhooks.
func NewPayPal(cfg PayPalConfig) (*PayPal, error) {
	verifier, err := NewPayPalVerifier(cfg)
	if err != nil {
		return nil, err
	}
	return &PayPal{verifier}, nil
}

// Read verifies an event and reads whom it is about. There is no mode to check: a webhook's id is of
// one mode, and is part of what is signed.
func (p *PayPal) Read(ctx context.Context, header http.Header, body []byte) (Event, error) {
	if err := p.verifier.Verify(ctx, header, body, time.Now()); err != nil {
		return Event{}, err
	}
	return readPayPal(body)
}

const (
	payPalSubscriptions = "BILLING.SUBSCRIPTION."
	payPalSales         = "PAYMENT.SALE."
)

func readPayPal(body []byte) (Event, error) {
	var read struct {
		ID         string          `json:"id"`
		EventType  string          `json:"event_type"`
		CreateTime string          `json:"create_time"`
		Resource   json.RawMessage `json:"resource"`
	}
	if err := json.Unmarshal(body, &read); err != nil {
		return Event{}, fmt.Errorf("%w: it is not JSON as PayPal sends it", ErrMalformed)
	}
	if err := errors.Join(checkToken("id", read.ID), checkToken("event_type", read.EventType)); err != nil {
		return Event{}, err
	}
	e := Event{Provider: provider.PayPal, ID: read.ID, Type: read.EventType, Payload: body}
	if at, err := time.Parse(time.RFC3339, read.CreateTime); err == nil {
		e.OccurredAt = &at
	}
	switch {
	case strings.HasPrefix(read.EventType, payPalSubscriptions):
		e.About, e.Subject = Subscriptions, subjectOf(textIn(read.Resource, "id"))
	case strings.HasPrefix(read.EventType, payPalSales): // a payment that is no subscription's names none
		e.About, e.Subject = Subscriptions, subjectOf(textIn(read.Resource, "billing_agreement_id"))
	}
	return e, nil
}

// textIn is the text that an object has under that name; empty when it has none.
func textIn(object json.RawMessage, name string) string {
	var (
		fields map[string]json.RawMessage
		text   string
	)
	if json.Unmarshal(object, &fields) != nil || json.Unmarshal(fields[name], &text) != nil {
		return ""
	}
	return text
}
