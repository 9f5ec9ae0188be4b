package stripe

import (
	"context"
	"fmt"
	"regexp"
	"time"

	stripego "github.com/stripe/stripe-go/v76"
)

const (
	subscriptionsRoute     = "/v1/subscriptions"
	subscriptionItemsRoute = "/v1/subscription_items"
)

// Subscription is a Stripe subscription.
type Subscription struct {
	ID                 string // "sub_…"
	CustomerID         string // "cus_…"
	Status             string // Stripe's own word
	PriceIDs           []string
	MorePrices         bool // it has more items than PriceIDs tells of
	Created            time.Time
	CurrentPeriodStart time.Time
	CurrentPeriodEnd   time.Time
	CancelAtPeriodEnd  bool
	CardBrand          string // of the card that pays for it; empty without one
	CardLast4          string
}

// ListSubscriptions reads all subscriptions of a customer, whatever their status, newest first, with
// all of their prices. An error that is no Failure means that the context ended while it waited its
// turn for a further page.
func (c *Client) ListSubscriptions(ctx context.Context, customerID string) ([]Subscription, error) {
	if err := checkCustomerID(customerID); err != nil {
		return nil, err
	}
	var (
		all   []Subscription
		after string
	)
	for {
		page, more, err := c.subscriptionPage(ctx, customerID, after)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if !more {
			return all, nil
		}
		after = page[len(page)-1].ID
		if err := c.waitForPage(ctx, "subscriptions"); err != nil {
			return nil, err
		}
	}
}

var subscriptionID = regexp.MustCompile(`^sub_[A-Za-z0-9_]{1,250}$`)

// PageSubscriptions reads one page of the subscriptions of all customers, whatever their status,
// newest first, from behind the given one; empty begins with the newest. It tells whether there are
// more. Those with more items than Stripe shows in a list have only those prices, and say so.
func (c *Client) PageSubscriptions(ctx context.Context, after string) (page []Subscription, more bool, err error) {
	if after != "" && !subscriptionID.MatchString(after) {
		return nil, false, rejected("subscription_id_invalid", "starting_after")
	}
	listed, err := c.listSubscriptions(ctx, "", after)
	if err != nil {
		return nil, false, err
	}
	page = make([]Subscription, len(listed.Data))
	for i, s := range listed.Data {
		page[i] = subscriptionFrom(s)
	}
	return page, listed.HasMore, nil
}

func (c *Client) subscriptionPage(ctx context.Context, customerID, after string) (page []Subscription, more bool, err error) {
	listed, err := c.listSubscriptions(ctx, customerID, after)
	if err != nil {
		return nil, false, err
	}
	for _, s := range listed.Data {
		full := subscriptionFrom(s)
		if s.Items != nil && s.Items.HasMore {
			if full.PriceIDs, err = c.allPrices(ctx, s.ID); err != nil {
				return nil, false, err
			}
			full.MorePrices = false
		}
		page = append(page, full)
	}
	return page, listed.HasMore, nil
}

// listSubscriptions reads a page, with what shows the card: the subscription's own payment method,
// or else the customer's.
func (c *Client) listSubscriptions(ctx context.Context, customerID, after string) (page *stripego.SubscriptionList, err error) {
	params := &stripego.SubscriptionListParams{Customer: unlessEmpty(customerID), Status: new("all")}
	params.Limit, params.Single = new(int64(pageSize)), true
	params.StartingAfter = unlessEmpty(after)
	params.AddExpand("data.default_payment_method")
	params.AddExpand("data.customer.invoice_settings.default_payment_method")
	err = c.run(ctx, request{route: subscriptionsRoute}, func(ctx context.Context) error {
		params.Context = ctx
		list := c.subscriptions.List(params)
		if err := list.Err(); err != nil {
			return err
		}
		page = list.SubscriptionList()
		return checkPage(page.ListMeta, len(page.Data))
	})
	return page, err
}

// allPrices reads the prices of a subscription that has more items than its list shows.
func (c *Client) allPrices(ctx context.Context, id string) ([]string, error) {
	var (
		prices []string
		params = &stripego.SubscriptionItemListParams{Subscription: new(id)}
	)
	params.Limit, params.Single = new(int64(pageSize)), true
	for {
		if err := c.waitForPage(ctx, "subscription items"); err != nil {
			return nil, err
		}
		page, err := c.itemPage(ctx, params)
		if err != nil {
			return nil, err
		}
		prices = append(prices, pricesOf(page.Data)...)
		if !page.HasMore {
			return prices, nil
		}
		params.StartingAfter = new(page.Data[len(page.Data)-1].ID)
	}
}

func (c *Client) itemPage(ctx context.Context, params *stripego.SubscriptionItemListParams) (page *stripego.SubscriptionItemList, err error) {
	err = c.run(ctx, request{route: subscriptionItemsRoute}, func(ctx context.Context) error {
		params.Context = ctx
		list := c.subscriptionItems.List(params)
		if err := list.Err(); err != nil {
			return err
		}
		page = list.SubscriptionItemList()
		return checkPage(page.ListMeta, len(page.Data))
	})
	return page, err
}

// waitForPage waits for the turn of a further page.
func (c *Client) waitForPage(ctx context.Context, what string) error {
	if err := c.pages.Wait(ctx); err != nil {
		return fmt.Errorf("stripe: list %s: wait for the turn of a further page: %w", what, err)
	}
	return nil
}

func subscriptionFrom(s *stripego.Subscription) Subscription {
	subscription := Subscription{
		ID: s.ID, Status: string(s.Status), Created: moment(s.Created), CancelAtPeriodEnd: s.CancelAtPeriodEnd,
		CurrentPeriodStart: moment(s.CurrentPeriodStart), CurrentPeriodEnd: moment(s.CurrentPeriodEnd),
	}
	if s.Items != nil {
		subscription.PriceIDs, subscription.MorePrices = pricesOf(s.Items.Data), s.Items.HasMore
	}
	if s.Customer != nil {
		subscription.CustomerID = s.Customer.ID
	}
	if card := cardOf(s); card != nil {
		subscription.CardBrand, subscription.CardLast4 = string(card.Brand), card.Last4
	}
	return subscription
}

func pricesOf(items []*stripego.SubscriptionItem) []string {
	prices := make([]string, 0, len(items))
	for _, item := range items {
		if item.Price != nil {
			prices = append(prices, item.Price.ID)
		}
	}
	return prices
}

// cardOf is the card that pays: the subscription's own, or else the customer's default.
func cardOf(s *stripego.Subscription) *stripego.PaymentMethodCard {
	if s.DefaultPaymentMethod != nil {
		return s.DefaultPaymentMethod.Card
	}
	if s.Customer == nil || s.Customer.InvoiceSettings == nil || s.Customer.InvoiceSettings.DefaultPaymentMethod == nil {
		return nil
	}
	return s.Customer.InvoiceSettings.DefaultPaymentMethod.Card
}

// moment is a time that Stripe gives in Unix seconds; zero when it gives none.
func moment(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}
