package stripe_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/internal/simulator"
)

// customer is a new Stripe customer.
func (b bundle) customer(t *testing.T) string {
	t.Helper()
	c, err := b.Stripe().PutCustomer(simulator.Customer{Email: "ada@example.com"})
	require.NoError(t, err)
	return c.ID
}

func (b bundle) put(t *testing.T, seed simulator.Subscription) simulator.Subscription {
	t.Helper()
	sub, err := b.Stripe().PutSubscription(seed)
	require.NoError(t, err)
	return sub
}

func (b bundle) subscribe(t *testing.T, customer string, spec simulator.SubscriptionSpec) simulator.Subscription {
	t.Helper()
	sub, err := b.Stripe().Subscribe(customer, spec)
	require.NoError(t, err)
	return sub
}

// many puts so many subscriptions and gives their ids, the newest first.
func (b bundle) many(t *testing.T, customer string, n int) []string {
	t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[n-1-i] = b.put(t, simulator.Subscription{ID: fmt.Sprintf("sub_%d", i), Customer: customer}).ID
	}
	return ids
}

func idsOf(subscriptions []stripe.Subscription) []string {
	ids := make([]string, len(subscriptions))
	for i, s := range subscriptions {
		ids[i] = s.ID
	}
	return ids
}

// pages reads all pages of all customers' subscriptions.
func (b bundle) pages(ctx context.Context, t *testing.T) (all []stripe.Subscription) {
	t.Helper()
	after := ""
	for {
		page, more, err := b.client.PageSubscriptions(ctx, after)
		require.NoError(t, err)
		all = append(all, page...)
		if !more {
			return all
		}
		after = page[len(page)-1].ID
	}
}

func TestListSubscriptionsShowsWhatACustomerSubscribedTo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	customer := b.customer(t)
	sub := b.subscribe(t, customer, simulator.SubscriptionSpec{PriceID: "price_pro", AddOns: []string{"price_seats"}})
	b.subscribe(t, b.customer(t), simulator.SubscriptionSpec{})
	_, err := b.Stripe().CancelAtPeriodEnd(sub.ID, true)
	require.NoError(t, err)

	listed, err := b.client.ListSubscriptions(t.Context(), customer)

	require.NoError(t, err)
	require.Equal(t, []stripe.Subscription{{
		ID: sub.ID, CustomerID: customer, Status: "active", PriceIDs: []string{"price_pro", "price_seats"}, Created: sub.Created,
		CurrentPeriodStart: sub.CurrentPeriodStart, CurrentPeriodEnd: sub.CurrentPeriodEnd, CancelAtPeriodEnd: true,
		CardBrand: "visa", CardLast4: "4242",
	}}, listed)
	require.Equal(t, []string{"200"}, b.observer.results())
}

func TestListSubscriptionsShowsEveryStatus(t *testing.T) {
	t.Parallel()
	b := setup(t)
	customer := b.customer(t)
	statuses := []string{
		"active", "past_due", "unpaid", "canceled", "incomplete", "incomplete_expired", "trialing", "paused", "on_vacation",
	}
	for _, status := range statuses {
		b.put(t, simulator.Subscription{Customer: customer, Status: status})
	}
	slices.Reverse(statuses)

	listed, err := b.client.ListSubscriptions(t.Context(), customer)
	require.NoError(t, err)
	require.Len(t, listed, len(statuses))
	paged := b.pages(t.Context(), t)
	for i, status := range statuses {
		require.Equal(t, status, listed[i].Status, "newest first")
		require.Equal(t, listed[i], paged[i])
	}
}

func TestListSubscriptionsShowsTheCardThatPays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		own, customers simulator.Card
		brand, last4   string
	}{
		"none":           {},
		"its own":        {own: simulator.Card{Brand: "amex", Last4: "0005"}, brand: "amex", last4: "0005"},
		"the customer's": {customers: simulator.Card{Brand: "mastercard", Last4: "4444"}, brand: "mastercard", last4: "4444"},
		"its own before the customer's": {
			own: simulator.Card{Brand: "amex", Last4: "0005"}, customers: simulator.Card{Last4: "1881"}, brand: "amex", last4: "0005",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			customer := b.customer(t)
			b.put(t, simulator.Subscription{Customer: customer, Card: c.own})
			if c.customers != (simulator.Card{}) {
				_, err := b.Stripe().SetDefaultCard(customer, c.customers)
				require.NoError(t, err)
			}

			listed, err := b.client.ListSubscriptions(t.Context(), customer)
			require.NoError(t, err)
			require.Len(t, listed, 1)
			require.Equal(t, c.brand, listed[0].CardBrand)
			require.Equal(t, c.last4, listed[0].CardLast4)
			require.Equal(t, listed, b.pages(t.Context(), t))
		})
	}
}

func TestListSubscriptionsReadsEveryPage(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 100, 101, 120} {
		b := setup(t)
		customer := b.customer(t)
		ids := b.many(t, customer, n)
		b.put(t, simulator.Subscription{Customer: b.customer(t)})

		listed, err := b.client.ListSubscriptions(t.Context(), customer)

		require.NoError(t, err)
		require.Equal(t, ids, idsOf(listed))
		require.Len(t, b.Calls(), max(1, (n+99)/100))
	}
}

func TestPageSubscriptionsGoesThroughEverybodys(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var ids []string
	for i := range 120 {
		customer := b.customer(t)
		ids = append(ids, b.put(t, simulator.Subscription{ID: fmt.Sprintf("sub_%d", i), Customer: customer}).ID)
	}
	slices.Reverse(ids)

	first, more, err := b.client.PageSubscriptions(t.Context(), "")
	require.NoError(t, err)
	require.True(t, more)
	require.Equal(t, ids[:100], idsOf(first))

	// What is subscribed in between does not shift the next page.
	b.subscribe(t, b.customer(t), simulator.SubscriptionSpec{})
	rest, more, err := b.client.PageSubscriptions(t.Context(), first[99].ID)
	require.NoError(t, err)
	require.False(t, more)
	require.Equal(t, ids[100:], idsOf(rest))
}

func TestListSubscriptionsReadsThePricesThatTheListHides(t *testing.T) {
	t.Parallel()
	b := setup(t)
	customer := b.customer(t)
	want := []string{"price_0"}
	for i := range 120 {
		want = append(want, fmt.Sprintf("price_%d", i+1))
	}
	b.put(t, simulator.Subscription{Customer: customer, PriceID: want[0], AddOns: want[1:]})

	listed, err := b.client.ListSubscriptions(t.Context(), customer)
	require.NoError(t, err)
	require.Equal(t, want, listed[0].PriceIDs)
	require.Len(t, b.Calls().To(http.MethodGet, "/v1/subscription_items"), 2)

	paged := b.pages(t.Context(), t)
	require.Equal(t, want[:10], paged[0].PriceIDs, "a page shows those of the list")
}

func TestSubscriptionsOfADeletedCustomerAreStillListed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	customer := b.customer(t)
	sub := b.subscribe(t, customer, simulator.SubscriptionSpec{})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, b.StripeURL()+"/v1/customers/"+customer, nil)
	require.NoError(t, err)
	request.SetBasicAuth(testKey, "")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)

	listed, err := b.client.ListSubscriptions(t.Context(), customer)
	require.NoError(t, err)
	require.Equal(t, []string{sub.ID}, idsOf(listed))
	require.Equal(t, "canceled", listed[0].Status)
	require.Equal(t, customer, listed[0].CustomerID)
	require.Equal(t, listed, b.pages(t.Context(), t))
}

func TestListSubscriptionsOfNobodyIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.client.ListSubscriptions(t.Context(), "cus_none")
	refused := failureOf(t, err)
	require.Equal(t, provider.Rejected, refused.Class)
	require.Equal(t, "resource_missing", refused.Code)

	_, _, err = b.client.PageSubscriptions(t.Context(), "sub_none")
	refused = failureOf(t, err)
	require.Equal(t, provider.Rejected, refused.Class)
	require.Equal(t, "resource_missing", refused.Code)

	for _, id := range []string{"", "cus_1&status=all", "sub_1"} {
		_, err := b.client.ListSubscriptions(t.Context(), id)
		require.Equal(t, provider.Rejected, failureOf(t, err).Class, id)
	}
	for _, id := range []string{"cus_1", "sub_", "sub_1&limit=1"} {
		_, _, err := b.client.PageSubscriptions(t.Context(), id)
		require.Equal(t, provider.Rejected, failureOf(t, err).Class, id)
	}
	require.Len(t, b.Calls(), 2, "an id that cannot be is not sent")
}

// The customer of a list is a parameter: that there is none is a refusal, whatever the status.
func TestAListOfNobodyIsRefusedUnderAnyStatus(t *testing.T) {
	t.Parallel()
	s := &script{status: http.StatusNotFound, body: `{"error":{"type":"invalid_request_error","code":"resource_missing",
		"param":"customer","message":"No such customer: 'cus_1'"}}`}
	client := answering(t, s)
	_, err := client.ListSubscriptions(t.Context(), "cus_1")
	require.Equal(t, provider.Rejected, failureOf(t, err).Class)
	require.Len(t, s.requests(), 1)
	require.Equal(t, "all", s.requests()[0].query.Get("status"))
	require.Equal(t, "100", s.requests()[0].query.Get("limit"))
}

func TestAReadOfSubscriptionsThatFailsCanBeTriedAgain(t *testing.T) {
	t.Parallel()
	for kind, class := range map[simulator.FaultKind]provider.Class{
		simulator.ServerError: provider.Transient, simulator.BadGateway: provider.Transient, simulator.Truncate: provider.Transient,
		simulator.TooManyRequests: provider.RateLimited, simulator.WrongKey: provider.Misconfigured, simulator.Reset: provider.Transient,
	} {
		b := setup(t)
		customer := b.customer(t)
		ids := b.many(t, customer, 120)
		b.faults(t, simulator.Fault{Kind: kind, PathPrefix: "/v1/subscriptions", Times: 1})

		_, err := b.client.ListSubscriptions(t.Context(), customer)
		require.Equal(t, class, failureOf(t, err).Class, kind)

		listed, err := b.client.ListSubscriptions(t.Context(), customer)
		require.NoError(t, err)
		require.Equal(t, ids, idsOf(listed))
	}
}

func TestASubscriptionWithoutMomentsHasNone(t *testing.T) {
	t.Parallel()
	s := &script{status: http.StatusOK, body: `{"object":"list","url":"/v1/subscriptions","has_more":false,"data":[{"id":"sub_1","object":"subscription","status":"active"}]}`}
	listed, err := answering(t, s).ListSubscriptions(t.Context(), "cus_1")
	require.NoError(t, err)
	require.Equal(t, []stripe.Subscription{{ID: "sub_1", Status: "active"}}, listed)
	require.Equal(t, time.Time{}, listed[0].Created)
}
