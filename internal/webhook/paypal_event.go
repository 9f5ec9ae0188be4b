package webhook

import (
	"cmp"
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
	payPalBatches       = "PAYMENT.PAYOUTSBATCH."
	payPalItems         = "PAYMENT.PAYOUTS-ITEM."
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
	case strings.HasPrefix(read.EventType, payPalBatches):
		header := objectIn(read.Resource, "batch_header")
		e = e.ofBatch(batchNames{
			BatchID:       subjectOf(textIn(header, "payout_batch_id")),
			SenderBatchID: subjectOf(textIn(objectIn(header, "sender_batch_header"), "sender_batch_id")),
		})
	case strings.HasPrefix(read.EventType, payPalItems):
		e = e.ofBatch(batchNames{
			BatchID:       subjectOf(textIn(read.Resource, "payout_batch_id")),
			SenderBatchID: subjectOf(textIn(read.Resource, "sender_batch_id")),
			ItemID:        subjectOf(textIn(read.Resource, "payout_item_id")),
			SenderItemID:  subjectOf(textIn(objectIn(read.Resource, "payout_item"), "sender_item_id")),
		})
	}
	return e, nil
}

// ofBatch is the event as one about a batch of payouts. Its subject is the batch as PayPal names it:
// for people one that is nobody's here is one, and not as many as it has items.
func (e Event) ofBatch(n batchNames) Event {
	e.About, e.names = Batches, n
	e.Subject = cmp.Or(n.BatchID, n.SenderBatchID, n.ItemID, n.SenderItemID)
	return e
}

// objectIn is what an object has under that name; empty when it has nothing.
func objectIn(object json.RawMessage, name string) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(object, &fields) != nil {
		return nil
	}
	return fields[name]
}

// textIn is the text that an object has under that name; empty when it has none.
func textIn(object json.RawMessage, name string) string {
	var text string
	if json.Unmarshal(objectIn(object, name), &text) != nil {
		return ""
	}
	return text
}
