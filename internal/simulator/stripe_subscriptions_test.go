package simulator_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"

	"github.com/holdfast/holdfast/internal/simulator"
)

// customer is a new Stripe customer.
func (b bundle) customer(t *testing.T) string {
	t.Helper()
	c, err := b.Stripe().PutCustomer(simulator.Customer{Email: "ada@example.com"})
	require.NoError(t, err)
	return c.ID
}

// subscribed is a new subscription, of a new customer.
func (b bundle) subscribed(t *testing.T, spec simulator.SubscriptionSpec) simulator.Subscription {
	t.Helper()
	sub, err := b.Stripe().Subscribe(b.customer(t), spec)
	require.NoError(t, err)
	return sub
}

// occurred is an event with what these tests look at.
type occurred struct {
	Type     string
	Status   string         // of the object
	Previous map[string]any // nil when the event has none
}

// since are the events after the first so many, and how many there are now.
func (b bundle) since(t *testing.T, seen int) (events []occurred, now int) {
	t.Helper()
	all := b.Stripe().Events()
	for _, e := range all[seen:] {
		o := occurred{Type: e.Type, Status: decodeJSON[struct{ Status string }](t, string(e.Object)).Status}
		if e.PreviousAttributes != nil {
			require.NoError(t, json.Unmarshal(e.PreviousAttributes, &o.Previous))
		}
		events = append(events, o)
	}
	return events, len(all)
}

func TestSubscribe_IsWhatACheckoutDoes(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})

	sub := b.subscribed(t, simulator.SubscriptionSpec{PriceID: "price_pro"})

	require.Regexp(t, `^sub_\w{14,}$`, sub.ID)
	require.Equal(t, simulator.Subscription{
		ID: sub.ID, Customer: sub.Customer, Status: "active", PriceID: "price_pro", Quantity: 1,
		Card: simulator.Card{Brand: "visa", Last4: "4242"}, Created: sub.Created,
		CurrentPeriodStart: sub.Created, CurrentPeriodEnd: sub.Created.AddDate(0, 1, 0),
	}, sub)
	require.WithinDuration(t, time.Now(), sub.Created, time.Hour)
	events, _ := b.since(t, 0)
	require.Equal(t, []occurred{
		{Type: "customer.subscription.created", Status: "incomplete"},
		{Type: "customer.subscription.updated", Status: "active", Previous: map[string]any{
			"status": "incomplete", "default_payment_method": nil,
		}},
		{Type: "invoice.paid", Status: "paid"},
	}, events)
	for _, e := range b.Stripe().Events() {
		require.Equal(t, sub.Created, e.Created, "all in the same second")
	}

	got, err := b.stripe().Subscriptions.Get(sub.ID, nil)
	require.NoError(t, err)
	require.Equal(t, stripe.SubscriptionStatusActive, got.Status)
	invoice, err := b.stripe().Invoices.Get(got.LatestInvoice.ID, nil)
	require.NoError(t, err)
	require.Equal(t, stripe.InvoiceStatusPaid, invoice.Status)
	require.Equal(t, sub.ID, invoice.Subscription.ID)
}
