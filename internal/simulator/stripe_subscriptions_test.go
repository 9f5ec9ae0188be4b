package simulator_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/webhook"

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

func TestSubscribe_WithATrialBeginsFreeOfCharge(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})

	sub := b.subscribed(t, simulator.SubscriptionSpec{
		TrialDays: 14, Quantity: 3, AddOns: []string{"price_seats"}, Card: simulator.Card{Brand: "mastercard", Last4: "4444"},
	})

	require.Equal(t, "trialing", sub.Status)
	require.Equal(t, simulator.DefaultStripePrice, sub.PriceID)
	require.Equal(t, []string{"price_seats"}, sub.AddOns)
	require.Equal(t, sub.Created.AddDate(0, 0, 14), sub.CurrentPeriodEnd)
	require.Equal(t, simulator.Card{Brand: "mastercard", Last4: "4444"}, sub.Card)
	events, seen := b.since(t, 0)
	require.Equal(t, []occurred{
		{Type: "customer.subscription.created", Status: "trialing"}, {Type: "invoice.paid", Status: "paid"},
	}, events)
	require.Equal(t, []int64{0}, amounts(t, b, sub.ID))

	renewed, err := b.Stripe().Renew(sub.ID)
	require.NoError(t, err)
	require.Equal(t, "active", renewed.Status)
	require.Equal(t, []int64{4000, 0}, amounts(t, b, sub.ID), "3 of the first price and 1 of the second")
	events, _ = b.since(t, seen)
	require.Equal(t, "trialing", events[0].Previous["status"])
}

// amounts are what the subscription's invoices came to, newest first.
func amounts(t *testing.T, b bundle, subscription string) []int64 {
	t.Helper()
	var totals []int64
	invoices := b.stripe().Invoices.List(&stripe.InvoiceListParams{Subscription: &subscription})
	for invoices.Next() {
		totals = append(totals, invoices.Invoice().Total)
	}
	require.NoError(t, invoices.Err())
	return totals
}

func TestSubscribe_NeedsACustomerAndSense(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	_, err := b.Stripe().Subscribe("cus_none", simulator.SubscriptionSpec{})
	require.ErrorContains(t, err, "cus_none")
	_, err = b.Stripe().Subscribe(b.customer(t), simulator.SubscriptionSpec{Quantity: -1})
	require.ErrorContains(t, err, "Quantity")
	_, err = b.Stripe().PutSubscription(simulator.Subscription{Customer: "cus_none"})
	require.ErrorContains(t, err, "cus_none")
	_, err = b.Stripe().PutSubscription(simulator.Subscription{ID: "x", Customer: b.customer(t)})
	require.ErrorContains(t, err, "sub_")
	_, err = b.Stripe().SetDefaultCard("cus_none", simulator.Card{})
	require.ErrorContains(t, err, "cus_none")
	require.Empty(t, b.Stripe().Subscriptions())
	require.Empty(t, b.Stripe().Events())
}

type anyChange = func(*simulator.Stripe, string) (simulator.Subscription, error)

// changeCase is a change of a subscription to price_1.
type changeCase struct {
	before []anyChange
	change anyChange
	after  simulator.Subscription // what must be so of it
	events []string
	// replaced are the previous attributes, of the first event; nil to leave them open.
	replaced []string
}

const subscriptionUpdated = "customer.subscription.updated"

func changesOfItsTerms() map[string]changeCase {
	return map[string]changeCase{
		"price": {
			change: func(s *simulator.Stripe, id string) (simulator.Subscription, error) {
				return s.ChangePrice(id, "price_2")
			},
			after: simulator.Subscription{Status: "active", PriceID: "price_2"}, events: []string{subscriptionUpdated}, replaced: []string{"items"},
		},
		"the same price": {
			change: func(s *simulator.Stripe, id string) (simulator.Subscription, error) {
				return s.ChangePrice(id, "price_1")
			},
			after: simulator.Subscription{Status: "active", PriceID: "price_1"},
		},
		"cancel": {
			change: (*simulator.Stripe).CancelNow,
			after:  simulator.Subscription{Status: "canceled"}, events: []string{"customer.subscription.deleted"},
		},
		"cancel at the end of the period": {
			change: cancelAtPeriodEnd(true),
			after:  simulator.Subscription{Status: "active", CancelAtPeriodEnd: true}, events: []string{subscriptionUpdated},
			replaced: []string{"cancel_at", "cancel_at_period_end", "canceled_at", "cancellation_details"},
		},
		"or not": {
			before: []anyChange{cancelAtPeriodEnd(true)}, change: cancelAtPeriodEnd(false),
			after: simulator.Subscription{Status: "active"}, events: []string{subscriptionUpdated},
			replaced: []string{"cancel_at", "cancel_at_period_end", "canceled_at", "cancellation_details"},
		},
		"the end of the period": {
			before: []anyChange{cancelAtPeriodEnd(true)}, change: (*simulator.Stripe).Renew,
			after:  simulator.Subscription{Status: "canceled", CancelAtPeriodEnd: true},
			events: []string{"customer.subscription.deleted"},
		},
		"renew": {
			change: (*simulator.Stripe).Renew,
			after:  simulator.Subscription{Status: "active"}, events: []string{subscriptionUpdated, "invoice.paid"},
			replaced: []string{"current_period_end", "current_period_start", "latest_invoice"},
		},
	}
}

func changesOfItsState() map[string]changeCase {
	return map[string]changeCase{
		"fail the payment": {
			change: (*simulator.Stripe).FailPayment,
			after:  simulator.Subscription{Status: "past_due"}, events: []string{subscriptionUpdated, "invoice.payment_failed"},
			replaced: []string{"current_period_end", "current_period_start", "latest_invoice", "status"},
		},
		"fail it again": {
			before: []anyChange{(*simulator.Stripe).FailPayment}, change: (*simulator.Stripe).FailPayment,
			after: simulator.Subscription{Status: "past_due"}, events: []string{"invoice.payment_failed"},
		},
		"pay": {
			before: []anyChange{(*simulator.Stripe).FailPayment}, change: (*simulator.Stripe).PayNow,
			after:  simulator.Subscription{Status: "active"},
			events: []string{subscriptionUpdated, "invoice.paid"}, replaced: []string{"status"},
		},
		"pay what was given up": {
			before: []anyChange{setStatus("unpaid")}, change: (*simulator.Stripe).PayNow,
			after:  simulator.Subscription{Status: "active"},
			events: []string{subscriptionUpdated, "invoice.paid"}, replaced: []string{"latest_invoice", "status"},
		},
		"pause": {
			change: (*simulator.Stripe).Pause,
			after:  simulator.Subscription{Status: "paused"},
			events: []string{subscriptionUpdated, "customer.subscription.paused"}, replaced: []string{"status"},
		},
		"resume": {
			before: []anyChange{(*simulator.Stripe).Pause}, change: (*simulator.Stripe).Resume,
			after:  simulator.Subscription{Status: "active"},
			events: []string{subscriptionUpdated, "customer.subscription.resumed", "invoice.paid"},
		},
		"an unknown status": {
			change: setStatus("on_vacation"),
			after:  simulator.Subscription{Status: "on_vacation"}, events: []string{subscriptionUpdated}, replaced: []string{"status"},
		},
		"the status of an ended one": {
			change: setStatus("canceled"),
			after:  simulator.Subscription{Status: "canceled"}, events: []string{"customer.subscription.deleted"},
		},
	}
}

func TestChanges_TellOfThemselves(t *testing.T) {
	t.Parallel()
	cases := changesOfItsTerms()
	maps.Copy(cases, changesOfItsState())
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, simulator.Config{})
			id := b.subscribed(t, simulator.SubscriptionSpec{PriceID: "price_1"}).ID
			for _, before := range c.before {
				_, err := before(b.Stripe(), id)
				require.NoError(t, err)
			}
			_, seen := b.since(t, 0)

			after, err := c.change(b.Stripe(), id)

			require.NoError(t, err)
			require.Equal(t, c.after.Status, after.Status)
			require.Equal(t, c.after.CancelAtPeriodEnd, after.CancelAtPeriodEnd)
			if c.after.PriceID != "" {
				require.Equal(t, c.after.PriceID, after.PriceID)
			}
			require.Equal(t, after.Status == "canceled", !after.EndedAt.IsZero())
			stored, ok := b.Stripe().Subscription(id)
			require.True(t, ok)
			require.Equal(t, after, stored)
			events, _ := b.since(t, seen)
			var types []string
			for _, e := range events {
				types = append(types, e.Type)
			}
			require.Equal(t, c.events, types)
			if c.replaced != nil {
				require.ElementsMatch(t, c.replaced, keys(events[0].Previous))
			}
			if c.events != nil && c.events[0] == "customer.subscription.deleted" {
				require.Nil(t, events[0].Previous)
			}
		})
	}
}

func cancelAtPeriodEnd(cancel bool) anyChange {
	return func(s *simulator.Stripe, id string) (simulator.Subscription, error) {
		return s.CancelAtPeriodEnd(id, cancel)
	}
}

func setStatus(status string) anyChange {
	return func(s *simulator.Stripe, id string) (simulator.Subscription, error) { return s.SetStatus(id, status) }
}

func keys(hash map[string]any) []string { return slices.Collect(maps.Keys(hash)) }

func TestChanges_OfWhatIsInNoStateForThemAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	active := b.subscribed(t, simulator.SubscriptionSpec{}).ID
	ended := b.subscribed(t, simulator.SubscriptionSpec{}).ID
	_, err := b.Stripe().CancelNow(ended)
	require.NoError(t, err)
	before, seen := b.Stripe().Subscriptions(), len(b.Stripe().Events())
	changePrice := func(s *simulator.Stripe, id string) (simulator.Subscription, error) {
		return s.ChangePrice(id, "price_2")
	}
	for id, changes := range map[string][]anyChange{
		active: {(*simulator.Stripe).Resume, (*simulator.Stripe).PayNow, setStatus("")},
		ended: {
			(*simulator.Stripe).CancelNow, cancelAtPeriodEnd(true), (*simulator.Stripe).Renew, (*simulator.Stripe).FailPayment,
			(*simulator.Stripe).PayNow, (*simulator.Stripe).Pause, (*simulator.Stripe).Resume, changePrice,
		},
		"sub_none": {(*simulator.Stripe).CancelNow, setStatus("active")},
	} {
		for _, change := range changes {
			_, err := change(b.Stripe(), id)
			require.ErrorContains(t, err, id)
		}
	}
	_, err = b.Stripe().ChangePrice(active, "")
	require.Error(t, err)
	require.Equal(t, before, b.Stripe().Subscriptions())
	require.Len(t, b.Stripe().Events(), seen)
}

func TestPutSubscription_TellsNobody(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	first, second := b.customer(t), b.customer(t)
	day := time.Date(2024, 1, 31, 0, 0, 0, 0, time.UTC)
	seed := simulator.Subscription{
		ID: "sub_seed", Customer: first, Status: "past_due", PriceID: "price_old", AddOns: []string{"price_seats"}, Quantity: 2,
		Card: simulator.Card{Brand: "amex", Last4: "0005"}, Created: day, CurrentPeriodStart: day, CurrentPeriodEnd: day.AddDate(1, 0, 0),
		CancelAtPeriodEnd: true, CanceledAt: day.AddDate(0, 0, 1),
	}
	put, err := b.Stripe().PutSubscription(seed)
	require.NoError(t, err)
	require.Equal(t, seed, put)
	require.Equal(t, []simulator.Subscription{seed}, b.Stripe().SubscriptionsOf(first))
	plain, err := b.Stripe().PutSubscription(simulator.Subscription{Customer: first})
	require.NoError(t, err)
	require.Equal(t, "active", plain.Status)
	require.Zero(t, plain.Card)

	seed.Customer = second
	_, err = b.Stripe().PutSubscription(seed)
	require.NoError(t, err)
	require.Equal(t, []simulator.Subscription{plain}, b.Stripe().SubscriptionsOf(first))
	require.Equal(t, []simulator.Subscription{seed}, b.Stripe().SubscriptionsOf(second))
	require.Len(t, b.Stripe().Subscriptions(), 2)
	require.Empty(t, b.Stripe().Events())
}

func TestDeletingACustomerCancelsWhatItSubscribedTo(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	sub := b.subscribed(t, simulator.SubscriptionSpec{})
	other := b.subscribed(t, simulator.SubscriptionSpec{})
	_, seen := b.since(t, 0)

	_, err := b.stripe().Customers.Del(sub.Customer, nil)
	require.NoError(t, err)

	events, _ := b.since(t, seen)
	require.Equal(t, []occurred{{Type: "customer.subscription.deleted", Status: "canceled"}}, events)
	require.Equal(t, "canceled", b.Stripe().SubscriptionsOf(sub.Customer)[0].Status)
	require.Equal(t, "active", b.Stripe().SubscriptionsOf(other.Customer)[0].Status)
}

func TestSubscriptionEventsAreDelivered(t *testing.T) {
	t.Parallel()
	b, g := setup(t, quick()), newTarget(t)
	require.NoError(t, b.SetStripeWebhook(simulator.StripeWebhook{URL: g.url}))

	sub := b.subscribed(t, simulator.SubscriptionSpec{})
	settle(t, b.StripeWebhooks())

	var types []string
	for _, e := range g.events() {
		event, err := webhook.ConstructEvent(e.body, e.header.Get("Stripe-Signature"), simulator.DefaultStripeWebhookSecret)
		require.NoError(t, err)
		require.Equal(t, sub.Created.Unix(), event.Created)
		types = append(types, string(event.Type))
	}
	require.ElementsMatch(t, []string{"customer.subscription.created", "customer.subscription.updated", "invoice.paid"}, types)
}
