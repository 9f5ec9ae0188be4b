package webhook_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/webhook"
)

func TestPayPalTellsWhomAnEventIsAbout(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, subject, problem string }{
		"a subscription": {
			`{"id": "WH-1", "event_type": "BILLING.SUBSCRIPTION.ACTIVATED", "create_time": "2026-11-20T12:00:00.000Z", "resource": {"id": "I-1"}}`, "I-1", "",
		},
		"a payment of a subscription": {
			`{"id": "WH-1", "event_type": "PAYMENT.SALE.COMPLETED", "resource": {"id": "S1", "billing_agreement_id": "I-1"}}`, "I-1", "",
		},
		"a payment of none":        {`{"id": "WH-1", "event_type": "PAYMENT.SALE.COMPLETED", "resource": {"id": "S1"}}`, "", ""},
		"a type of no interest":    {`{"id": "WH-1", "event_type": "CUSTOMER.DISPUTE.CREATED", "resource": {"id": 7}}`, "", ""},
		"a resource that is none":  {`{"id": "WH-1", "event_type": "BILLING.SUBSCRIPTION.ACTIVATED", "resource": [1]}`, "", ""},
		"an event without a name":  {`{"event_type": "PAYMENT.SALE.COMPLETED"}`, "", "id is missing"},
		"an event without a type":  {`{"id": "WH-1"}`, "", "event_type is missing"},
		"what is no event":         {`[]`, "", "not JSON as PayPal sends it"},
		"an id that is no text":    {`{"id": "WH-1", "event_type": "BILLING.SUBSCRIPTION.CREATED", "resource": {"id": {}}}`, "", ""},
		"an id that can't be kept": {`{"id": "WH-1", "event_type": "BILLING.SUBSCRIPTION.CREATED", "resource": {"id": "I-\u0000"}}`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := webhook.ReadPayPal([]byte(c.body))

			if c.problem != "" {
				require.ErrorIs(t, err, webhook.ErrMalformed)
				require.ErrorContains(t, err, c.problem)
				return
			}
			require.NoError(t, err)
			require.Equal(t, provider.PayPal, e.Provider)
			require.Equal(t, "WH-1", e.ID)
			require.Equal(t, c.subject, e.Subject)
			require.Equal(t, c.subject != "", e.About != "" && e.Subject != "")
		})
	}
}

func TestPayPalReadsNothingThatIsNotSigned(t *testing.T) {
	t.Parallel()
	reader, err := webhook.NewPayPal(webhook.PayPalConfig{WebhookIDs: []string{webhookID}})
	require.NoError(t, err)

	_, err = reader.Read(t.Context(), http.Header{}, []byte(`{"id": "WH-1", "event_type": "PAYMENT.SALE.COMPLETED"}`))

	require.ErrorIs(t, err, webhook.ErrSignature)
}
