package simulator_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"

	"github.com/holdfast/holdfast/internal/simulator"
)

// listedSubscriptions are the ids that the list gives, page by page.
func listedSubscriptions(t *testing.T, b bundle, params *stripe.SubscriptionListParams) []string {
	t.Helper()
	var ids []string
	it := b.stripe().Subscriptions.List(params)
	for it.Next() {
		ids = append(ids, it.Subscription().ID)
	}
	require.NoError(t, it.Err())
	return ids
}

// seeded puts subscriptions of one customer, of which the last is the newest.
func seeded(t *testing.T, b bundle, customer string, n int) []string {
	t.Helper()
	ids := make([]string, n)
	for i := range ids {
		sub, err := b.Stripe().PutSubscription(simulator.Subscription{Customer: customer, ID: fmt.Sprintf("sub_%s%d", customer[4:8], i)})
		require.NoError(t, err)
		ids[i] = sub.ID
	}
	return ids
}

func TestSubscriptions_HaveStripesShape(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	sub := b.subscribed(t, simulator.SubscriptionSpec{PriceID: "price_pro"})
	shape := func(path string) map[string]any {
		got := b.send(t, "GET", path, nil, nil)
		require.Equal(t, http.StatusOK, got.status, got.body)
		return decodeJSON[map[string]any](t, got.body)
	}

	shown := shape("/v1/subscriptions/" + sub.ID)
	require.ElementsMatch(t, strings.Fields(`application application_fee_percent automatic_tax billing_cycle_anchor billing_thresholds
		cancel_at cancel_at_period_end canceled_at cancellation_details collection_method created currency current_period_end
		current_period_start customer days_until_due default_payment_method default_source default_tax_rates description discount
		ended_at id items latest_invoice livemode metadata next_pending_invoice_item_invoice object on_behalf_of pause_collection
		payment_settings pending_invoice_item_interval pending_setup_intent pending_update schedule start_date status test_clock
		transfer_data trial_end trial_settings trial_start`), keys(shown))
	require.Equal(t, sub.Customer, shown["customer"], "an id, unless it is expanded")
	require.Nil(t, shown["cancel_at"])

	items, _ := shown["items"].(map[string]any)
	require.Equal(t, "list", items["object"])
	data, _ := items["data"].([]any)
	item, _ := data[0].(map[string]any)
	require.ElementsMatch(t, strings.Fields("billing_thresholds created id metadata object price quantity subscription tax_rates"), keys(item))

	invoiceID, _ := shown["latest_invoice"].(string)
	invoice := shape("/v1/invoices/" + invoiceID)
	require.Equal(t, "invoice", invoice["object"])
	require.Equal(t, sub.ID, invoice["subscription"])
	require.InDelta(t, 1000, invoice["amount_paid"], 0)
	require.Equal(t, true, invoice["paid"])

	price := shape("/v1/prices/price_pro")
	require.Equal(t, item["price"], price)
	methodID, _ := shown["default_payment_method"].(string)
	method := shape("/v1/payment_methods/" + methodID)
	require.Equal(t, "card", method["type"])
	require.Equal(t, sub.Customer, method["customer"])

	for _, path := range []string{"/v1/subscriptions/sub_none", "/v1/invoices/in_none", "/v1/prices/price_none", "/v1/payment_methods/pm_none"} {
		got := b.send(t, "GET", path, nil, nil)
		require.Equal(t, http.StatusNotFound, got.status, path)
		require.Equal(t, "resource_missing", errorOf(t, got).Code)
		require.Equal(t, "id", errorOf(t, got).Param)
	}
}

func TestSubscriptions_ListByStatus(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	customer := b.customer(t)
	all := []string{"active", "past_due", "unpaid", "canceled", "incomplete", "incomplete_expired", "trialing", "paused", "on_vacation"}
	for _, status := range all {
		_, err := b.Stripe().PutSubscription(simulator.Subscription{ID: "sub_" + status, Customer: customer, Status: status})
		require.NoError(t, err)
	}
	ids := func(statuses ...string) []string {
		wanted := make([]string, len(statuses))
		for i, status := range statuses {
			wanted[len(wanted)-1-i] = "sub_" + status
		}
		return wanted
	}
	list := func(status string) []string {
		params := &stripe.SubscriptionListParams{}
		if status != "" {
			params.Status = &status
		}
		return listedSubscriptions(t, b, params)
	}
	require.Equal(t, ids(all...), list("all"), "newest first")
	require.Equal(t, ids(slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == "canceled" })...), list(""))
	require.Equal(t, ids("canceled", "incomplete_expired"), list("ended"))
	for _, status := range all[:8] {
		require.Equal(t, ids(status), list(status))
	}
	got := b.send(t, "GET", "/v1/subscriptions?status=on_vacation", nil, nil)
	require.Equal(t, http.StatusBadRequest, got.status)
	require.Equal(t, "status", errorOf(t, got).Param)
}

func TestSubscriptions_ListOfOneCustomerOrPrice(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	pro := b.subscribed(t, simulator.SubscriptionSpec{PriceID: "price_pro"})
	basic := b.subscribed(t, simulator.SubscriptionSpec{PriceID: "price_basic", AddOns: []string{"price_pro"}})
	nobody := b.customer(t)

	require.Equal(t, []string{pro.ID}, listedSubscriptions(t, b, &stripe.SubscriptionListParams{Customer: &pro.Customer}))
	require.Empty(t, listedSubscriptions(t, b, &stripe.SubscriptionListParams{Customer: &nobody}))
	require.Equal(t, []string{basic.ID, pro.ID}, listedSubscriptions(t, b, &stripe.SubscriptionListParams{Price: stripe.String("price_pro")}))
	require.Equal(t, []string{basic.ID}, listedSubscriptions(t, b, &stripe.SubscriptionListParams{Price: stripe.String("price_basic")}))

	for _, path := range []string{"/v1/subscriptions", "/v1/invoices", "/v1/payment_methods"} {
		got := b.send(t, "GET", path+"?customer=cus_none", nil, nil)
		require.Equal(t, http.StatusBadRequest, got.status, path)
		require.Equal(t, "resource_missing", errorOf(t, got).Code)
		require.Equal(t, "customer", errorOf(t, got).Param)
	}
}

func TestSubscriptions_ListPages(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	customer, other := b.customer(t), b.customer(t)
	oldestFirst := append(seeded(t, b, customer, 250), seeded(t, b, other, 3)...)
	newestFirst := slices.Clone(oldestFirst)
	slices.Reverse(newestFirst)

	params := &stripe.SubscriptionListParams{}
	params.Limit = stripe.Int64(100)
	require.Equal(t, newestFirst, listedSubscriptions(t, b, params))
	require.Len(t, b.Calls(), 3)
	require.Equal(t, newestFirst[3:], listedSubscriptions(t, b, &stripe.SubscriptionListParams{Customer: &customer}))

	page := func(query string) (ids []string, more bool) {
		got := b.send(t, "GET", "/v1/subscriptions?"+query, nil, nil)
		require.Equal(t, http.StatusOK, got.status, got.body)
		list := decodeJSON[struct {
			HasMore bool `json:"has_more"`
			Data    []struct{ ID string }
		}](t, got.body)
		for _, sub := range list.Data {
			ids = append(ids, sub.ID)
		}
		return ids, list.HasMore
	}
	ids, more := page("limit=2&ending_before=" + newestFirst[5])
	require.Equal(t, newestFirst[3:5], ids)
	require.True(t, more)
	ids, more = page("limit=5&ending_before=" + newestFirst[5])
	require.Equal(t, newestFirst[:5], ids)
	require.False(t, more)
	ids, more = page("limit=3&starting_after=" + newestFirst[249])
	require.Equal(t, newestFirst[250:], ids)
	require.False(t, more)
	ids, _ = page("created[lt]=1")
	require.Empty(t, ids)

	for query, param := range map[string]string{
		"starting_after=sub_none": "starting_after", "ending_before=sub_none": "ending_before",
		"starting_after=" + newestFirst[0] + "&ending_before=" + newestFirst[0]: "ending_before",
		"limit=101": "limit", "colour=red": "colour",
	} {
		got := b.send(t, "GET", "/v1/subscriptions?"+query, nil, nil)
		require.Equal(t, http.StatusBadRequest, got.status, query)
		require.Equal(t, param, errorOf(t, got).Param, query)
	}
}

func TestSubscriptions_Expand(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	sub := b.subscribed(t, simulator.SubscriptionSpec{})
	method, err := b.Stripe().SetDefaultCard(sub.Customer, simulator.Card{Brand: "mastercard", Last4: "4444"})
	require.NoError(t, err)

	params := &stripe.SubscriptionParams{}
	for _, path := range []string{"latest_invoice", "default_payment_method", "customer.invoice_settings.default_payment_method"} {
		params.AddExpand(path)
	}
	got, err := b.stripe().Subscriptions.Get(sub.ID, params)
	require.NoError(t, err)
	require.Equal(t, stripe.InvoiceStatusPaid, got.LatestInvoice.Status)
	require.Equal(t, "4242", got.DefaultPaymentMethod.Card.Last4)
	require.Equal(t, "ada@example.com", got.Customer.Email)
	require.Equal(t, "4444", got.Customer.InvoiceSettings.DefaultPaymentMethod.Card.Last4)

	listParams := &stripe.SubscriptionListParams{}
	listParams.AddExpand("data.customer")
	list := b.stripe().Subscriptions.List(listParams)
	require.True(t, list.Next())
	require.Equal(t, "ada@example.com", list.Subscription().Customer.Email)
	require.Equal(t, method, list.Subscription().Customer.InvoiceSettings.DefaultPaymentMethod.ID)
	require.Nil(t, list.Subscription().Customer.InvoiceSettings.DefaultPaymentMethod.Card, "not asked for")
	require.Nil(t, list.Subscription().DefaultPaymentMethod.Card, "not asked for")

	_, err = b.stripe().Customers.Del(sub.Customer, nil)
	require.NoError(t, err)
	got, err = b.stripe().Subscriptions.Get(sub.ID, params)
	require.NoError(t, err)
	require.True(t, got.Customer.Deleted)

	for path, value := range map[string]string{"/v1/subscriptions": "customer", "/v1/subscriptions/" + sub.ID: "data.customer", "/v1/subscriptions?": "data.items"} {
		path, _, _ = strings.Cut(path, "?")
		refused := b.send(t, "GET", path+"?expand[]="+value, nil, nil)
		require.Equal(t, http.StatusBadRequest, refused.status, path)
		require.Contains(t, errorOf(t, refused).Message, "cannot be expanded ("+value+")")
	}
}

func TestSubscriptions_WithManyItemsShowTheFirst(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	spec, want := simulator.SubscriptionSpec{PriceID: "price_0"}, []string{"price_0"}
	for i := range 14 {
		spec.AddOns = append(spec.AddOns, fmt.Sprintf("price_%d", i+1))
	}
	want = append(want, spec.AddOns...)
	sub := b.subscribed(t, spec)

	got, err := b.stripe().Subscriptions.Get(sub.ID, nil)
	require.NoError(t, err)
	require.Len(t, got.Items.Data, 10)
	require.True(t, got.Items.HasMore)

	params := &stripe.SubscriptionItemListParams{Subscription: &sub.ID}
	params.Limit = stripe.Int64(4)
	var prices []string
	items := b.stripe().SubscriptionItems.List(params)
	for items.Next() {
		prices = append(prices, items.SubscriptionItem().Price.ID)
	}
	require.NoError(t, items.Err())
	require.Equal(t, want, prices)
	for query, code := range map[string]string{"": "parameter_missing", "?subscription=sub_none": "resource_missing"} {
		refused := b.send(t, "GET", "/v1/subscription_items"+query, nil, nil)
		require.Equal(t, http.StatusBadRequest, refused.status)
		require.Equal(t, code, errorOf(t, refused).Code)
	}
}

func TestSubscriptions_CreateChangeAndCancel(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	customer := b.customer(t)
	params := &stripe.SubscriptionParams{
		Params: keyed("k_1"), Customer: &customer, Metadata: map[string]string{"team": "red"},
		Items: []*stripe.SubscriptionItemsParams{{Price: stripe.String("price_1"), Quantity: stripe.Int64(2)}},
	}
	_, err := b.stripe().Subscriptions.New(params)
	require.Equal(t, stripe.ErrorCodeResourceMissing, stripeErr(t, err).Code, "nothing pays for it")
	_, err = b.Stripe().SetDefaultCard(customer, simulator.Card{})
	require.NoError(t, err)

	params.Params = keyed("k_2")
	created, err := b.stripe().Subscriptions.New(params)
	require.NoError(t, err)
	require.Equal(t, stripe.SubscriptionStatusActive, created.Status)
	require.Equal(t, int64(2), created.Items.Data[0].Quantity)
	require.Nil(t, created.DefaultPaymentMethod)
	again, err := b.stripe().Subscriptions.New(params)
	require.NoError(t, err)
	require.Equal(t, created.ID, again.ID, "the same key")
	require.Len(t, b.Stripe().Subscriptions(), 1)

	_, seen := b.since(t, 0)
	changed, err := b.stripe().Subscriptions.Update(created.ID, &stripe.SubscriptionParams{
		Params: keyed("k_3"), CancelAtPeriodEnd: stripe.Bool(true), Metadata: map[string]string{"team": "blue", "seat": "1"},
		Items: []*stripe.SubscriptionItemsParams{
			{ID: &created.Items.Data[0].ID, Price: stripe.String("price_2")}, {Price: stripe.String("price_seats")},
		},
	})
	require.NoError(t, err)
	require.Equal(t, "price_2", changed.Items.Data[0].Price.ID)
	require.Equal(t, int64(2), changed.Items.Data[0].Quantity)
	require.Equal(t, "price_seats", changed.Items.Data[1].Price.ID)
	require.Equal(t, changed.CurrentPeriodEnd, changed.CancelAt)
	events, seen := b.since(t, seen)
	require.Len(t, events, 1)
	require.Equal(t, map[string]any{"team": "red", "seat": nil}, events[0].Previous["metadata"])
	require.Equal(t, false, events[0].Previous["cancel_at_period_end"])
	require.Contains(t, events[0].Previous, "items")
	event, err := b.stripe().Events.Get(b.Stripe().Events()[seen-1].ID, nil)
	require.NoError(t, err)
	require.Equal(t, "k_3", event.Request.IdempotencyKey)
	require.Equal(t, changed.LastResponse.RequestID, event.Request.ID)
}

func TestSubscriptions_LoseAnItemAndEnd(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	sub := b.subscribed(t, simulator.SubscriptionSpec{PriceID: "price_1", AddOns: []string{"price_seats"}})
	created, err := b.stripe().Subscriptions.Get(sub.ID, nil)
	require.NoError(t, err)

	fewer, err := b.stripe().Subscriptions.Update(created.ID, &stripe.SubscriptionParams{
		Params: keyed("k_1"),
		Items:  []*stripe.SubscriptionItemsParams{{ID: &created.Items.Data[0].ID, Deleted: stripe.Bool(true)}},
	})
	require.NoError(t, err)
	require.Len(t, fewer.Items.Data, 1)
	require.Equal(t, "price_seats", b.Stripe().Subscriptions()[0].PriceID)

	canceled, err := b.stripe().Subscriptions.Cancel(created.ID, nil)
	require.NoError(t, err)
	require.Equal(t, stripe.SubscriptionStatusCanceled, canceled.Status)
	require.WithinDuration(t, time.Now(), time.Unix(canceled.EndedAt, 0), time.Hour)
	_, err = b.stripe().Subscriptions.Cancel(created.ID, nil)
	require.Equal(t, http.StatusNotFound, stripeErr(t, err).HTTPStatusCode)
	_, err = b.stripe().Subscriptions.Update(created.ID, &stripe.SubscriptionParams{Params: keyed("k_2")})
	require.Equal(t, http.StatusBadRequest, stripeErr(t, err).HTTPStatusCode)
}

func TestSubscriptions_CreateWithoutAPayment(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	customer := b.customer(t)
	create := func(key string, set func(*stripe.SubscriptionParams)) *stripe.Subscription {
		params := &stripe.SubscriptionParams{
			Params: keyed(key), Customer: &customer, Items: []*stripe.SubscriptionItemsParams{{Price: stripe.String("price_1")}},
		}
		params.AddExpand("latest_invoice")
		set(params)
		sub, err := b.stripe().Subscriptions.New(params)
		require.NoError(t, err)
		return sub
	}

	incomplete := create("k_1", func(p *stripe.SubscriptionParams) { p.PaymentBehavior = stripe.String("default_incomplete") })
	require.Equal(t, stripe.SubscriptionStatusIncomplete, incomplete.Status)
	require.Equal(t, stripe.InvoiceStatusOpen, incomplete.LatestInvoice.Status)
	paid, err := b.Stripe().PayNow(incomplete.ID)
	require.NoError(t, err)
	require.Equal(t, "active", paid.Status)

	trialing := create("k_2", func(p *stripe.SubscriptionParams) { p.TrialPeriodDays = stripe.Int64(7) })
	require.Equal(t, stripe.SubscriptionStatusTrialing, trialing.Status)
	require.Equal(t, int64(7*24*60*60), trialing.TrialEnd-trialing.TrialStart)

	_, err = b.Stripe().Pause(trialing.ID)
	require.NoError(t, err)
	resumed, err := b.stripe().Subscriptions.Resume(trialing.ID, &stripe.SubscriptionResumeParams{Params: keyed("k_3")})
	require.NoError(t, err)
	require.Equal(t, stripe.SubscriptionStatusActive, resumed.Status)
	_, err = b.stripe().Subscriptions.Resume(trialing.ID, &stripe.SubscriptionResumeParams{Params: keyed("k_4")})
	require.Equal(t, http.StatusBadRequest, stripeErr(t, err).HTTPStatusCode)
}

func TestSubscriptions_RefuseWhatCannotBe(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	sub := b.subscribed(t, simulator.SubscriptionSpec{})
	foreign := b.subscribed(t, simulator.SubscriptionSpec{})
	got, err := b.stripe().Subscriptions.Get(sub.ID, nil)
	require.NoError(t, err)
	theirs, err := b.stripe().Subscriptions.Get(foreign.ID, nil)
	require.NoError(t, err)
	before, seen := b.Stripe().Subscriptions(), len(b.Stripe().Events())
	create, update := "/v1/subscriptions", "/v1/subscriptions/"+sub.ID
	item := "items[0][id]=" + got.Items.Data[0].ID

	for _, c := range []struct{ path, body, param string }{
		{create, "items[0][price]=price_1", "customer"},
		{create, "customer=" + sub.Customer, "items"},
		{create, "customer=cus_none&items[0][price]=price_1", "customer"},
		{create, "customer=" + sub.Customer + "&items[0][quantity]=2", "items[0][price]"},
		{create, "customer=" + sub.Customer + "&items[0][price]=price_1&trial_period_days=0", "trial_period_days"},
		{create, "customer=" + sub.Customer + "&items[0][price]=price_1&colour=red", "colour"},
		{update, "items[0][id]=si_none", "items"},
		{update, item + "&items[0][deleted]=true", "items"},
		{update, item + "&items[0][quantity]=0", "items[0][quantity]"},
		{update, item + "&items[0][deleted]=perhaps", "items[0][deleted]"},
		{update, item + "&items[0][price]=price_2&default_payment_method=pm_none", "default_payment_method"},
		{update, "default_payment_method=" + theirs.DefaultPaymentMethod.ID, "default_payment_method"},
		{update, "cancel_at_period_end=perhaps", "cancel_at_period_end"},
		{update, "customer=cus_2", "customer"},
	} {
		form, err := url.ParseQuery(c.body)
		require.NoError(t, err)
		refused := b.send(t, "POST", c.path, form, nil)
		require.Equal(t, http.StatusBadRequest, refused.status, c.body)
		require.Equal(t, c.param, errorOf(t, refused).Param, c.body)
	}
	require.Equal(t, http.StatusNotFound, b.send(t, "POST", "/v1/subscriptions/sub_none", nil, nil).status)
	require.Equal(t, http.StatusNotFound, b.send(t, "DELETE", "/v1/subscriptions/sub_none", nil, nil).status)
	require.Equal(t, before, b.Stripe().Subscriptions())
	require.Len(t, b.Stripe().Events(), seen)
}

func TestInvoicesPricesAndPaymentMethods_List(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	sub := b.subscribed(t, simulator.SubscriptionSpec{PriceID: "price_1"})
	other := b.subscribed(t, simulator.SubscriptionSpec{PriceID: "price_2"})
	_, err := b.Stripe().FailPayment(sub.ID)
	require.NoError(t, err)
	ids := func(path string) []string {
		got := b.send(t, "GET", path, nil, nil)
		require.Equal(t, http.StatusOK, got.status, got.body)
		var ids []string
		for _, object := range decodeJSON[struct{ Data []struct{ ID string } }](t, got.body).Data {
			ids = append(ids, object.ID)
		}
		return ids
	}
	require.Len(t, ids("/v1/invoices"), 3)
	require.Len(t, ids("/v1/invoices?customer="+sub.Customer), 2)
	require.Len(t, ids("/v1/invoices?subscription="+other.ID), 1)
	open := ids("/v1/invoices?status=open")
	require.Len(t, open, 1)
	invoice, err := b.stripe().Invoices.Get(open[0], nil)
	require.NoError(t, err)
	require.Equal(t, int64(1000), invoice.AmountRemaining)
	require.Equal(t, int64(1), invoice.AttemptCount)
	require.Positive(t, invoice.NextPaymentAttempt)

	require.Equal(t, []string{"price_2", "price_1"}, ids("/v1/prices"))
	require.Equal(t, []string{"price_1"}, ids("/v1/prices?product=prod_1"))
	require.Len(t, ids("/v1/payment_methods"), 2)
	require.Len(t, ids("/v1/payment_methods?type=card&customer="+sub.Customer), 1)
	require.Empty(t, ids("/v1/payment_methods?type=sepa_debit"))
	for _, path := range []string{"/v1/prices", "/v1/payment_methods", "/v1/invoices", "/v1/subscription_items"} {
		require.Equal(t, http.StatusBadRequest, b.send(t, "GET", path+"?colour=red", nil, nil).status, path)
		require.Equal(t, http.StatusBadRequest, b.send(t, "GET", path+"?subscription=sub_1&limit=0", nil, nil).status, path)
	}
}

func TestControl_StripeSubscriptions(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	customer := b.customer(t)
	change := func(method, path, body string) simulator.Subscription {
		t.Helper()
		got := b.control(t, method, "/stripe/subscriptions"+path, body)
		require.Equal(t, http.StatusOK, got.status, "%s %s: %s", method, path, got.body)
		return decodeJSON[simulator.Subscription](t, got.body)
	}

	sub := change("POST", "", `{"customer": "`+customer+`", "price": "price_1", "quantity": 2, "card": {"last4": "1881"}}`)
	require.Equal(t, "active", sub.Status)
	require.Equal(t, int64(2), sub.Quantity)
	require.Equal(t, simulator.Card{Brand: "visa", Last4: "1881"}, sub.Card)
	at := "/" + sub.ID
	require.Equal(t, sub.CurrentPeriodEnd, change("POST", at+"/renew", "").CurrentPeriodStart)
	require.Equal(t, "past_due", change("POST", at+"/fail-payment", "").Status)
	require.Equal(t, "active", change("POST", at+"/pay", "").Status)
	require.Equal(t, "paused", change("POST", at+"/pause", "").Status)
	require.Equal(t, "active", change("POST", at+"/resume", "").Status)
	require.Equal(t, "price_2", change("PUT", at+"/price", `{"price": "price_2"}`).PriceID)
	require.True(t, change("PUT", at+"/cancel-at-period-end", `{"cancel": true}`).CancelAtPeriodEnd)
	require.False(t, change("PUT", at+"/cancel-at-period-end", `{"cancel": false}`).CancelAtPeriodEnd)
	require.Equal(t, "on_vacation", change("PUT", at+"/status", `{"status": "on_vacation"}`).Status)
	require.Equal(t, "canceled", change("POST", at+"/cancel", "").Status)
	seed := change("PUT", "", `{"customer": "`+b.customer(t)+`", "id": "sub_seed", "status": "unpaid"}`)
	require.Equal(t, "unpaid", seed.Status)

	stored := decodeJSON[[]simulator.Subscription](t, b.control(t, "GET", "/stripe/subscriptions", "").body)
	require.Equal(t, b.Stripe().Subscriptions(), stored)
	require.Len(t, stored, 2)
	stored = decodeJSON[[]simulator.Subscription](t, b.control(t, "GET", "/stripe/subscriptions?customer="+customer, "").body)
	require.Equal(t, b.Stripe().SubscriptionsOf(customer), stored)
	card := b.control(t, "PUT", "/stripe/customers/"+customer+"/card", `{"brand": "amex", "last4": "0005"}`)
	require.Equal(t, http.StatusOK, card.status)
	method, err := b.stripe().PaymentMethods.Get(decodeJSON[map[string]string](t, card.body)["payment_method"], nil)
	require.NoError(t, err)
	require.Equal(t, "0005", method.Card.Last4)

	for path, body := range map[string]string{
		"POST ":                               `{"price": "price_1"}`,
		"PUT ":                                `{"customer": "cus_none"}`,
		"POST " + at + "/renew":               "",
		"POST /sub_none/renew":                "",
		"PUT /sub_none/price":                 `{"price": "price_1"}`,
		"PUT " + at + "/status":               `{}`,
		"PUT " + at + "/cancel-at-period-end": `{}`,
	} {
		verb, rest, _ := strings.Cut(path, " ")
		require.Equal(t, http.StatusBadRequest, b.control(t, verb, "/stripe/subscriptions"+rest, body).status, path)
	}
	for _, path := range []string{"/x/price", "/x/status", "/x/cancel-at-period-end", ""} {
		require.Equal(t, http.StatusBadRequest, b.control(t, "PUT", "/stripe/subscriptions"+path, "{").status, path)
	}
	require.Equal(t, http.StatusBadRequest, b.control(t, "POST", "/stripe/subscriptions", "{").status)
	require.Equal(t, http.StatusBadRequest, b.control(t, "PUT", "/stripe/customers/x/card", "{").status)
	require.Equal(t, http.StatusBadRequest, b.control(t, "PUT", "/stripe/customers/cus_none/card", "{}").status)
}
