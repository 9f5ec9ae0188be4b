package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/holdfast/holdfast/internal/apiclient"
	"github.com/holdfast/holdfast/internal/simulator"
)

// subscriptionsRoute is where a customer's subscriptions are read.
const subscriptionsRoute = "/v1/subscriptions"

// checkout is a customer who subscribes, and comes back before the webhooks do.
func (s *story) checkout(ctx context.Context) error {
	s.chapter("A checkout: the customer comes back before the webhooks, and those come all at once and out of order")
	stripeID, err := s.subscriber(ctx, "buyer_1")
	if err != nil {
		return err
	}
	webhooks := s.fleet.Simulator.StripeWebhooks()
	if err := webhooks.SetFaults(simulator.WebhookFaults{Hold: true, Duplicate: 1}); err != nil {
		return err
	}
	began := time.Now()
	if _, err := s.fleet.Simulator.Stripe().Subscribe(stripeID, simulator.SubscriptionSpec{PriceID: "price_pro"}); err != nil {
		return err
	}
	held := s.heldEvents()
	s.sayf("Stripe has %d events to tell, all of one second, each twice. None has arrived.", len(held)/2)
	if err := s.returnPage(ctx, "buyer_1", "active"); err != nil {
		return err
	}
	slices.Reverse(held)
	if err := webhooks.Release(held...); err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	s.sayf("Then the webhooks come, the last one first, and again:")
	delivered := slices.DeleteFunc(webhooks.Deliveries(), func(d simulator.Delivery) bool { return d.At.Before(began) })
	slices.SortFunc(delivered, func(a, b simulator.Delivery) int { return a.Attempts[0].At.Compare(b.Attempts[0].At) })
	for _, d := range delivered {
		s.sayf("  %-30s → %d", d.EventType, d.Attempts[0].Status)
	}
	reads := s.fleet.Simulator.Calls().Since(began).To(http.MethodGet, subscriptionsRoute)
	s.sayf("%d deliveries and the return page cost %d reads at Stripe.", len(held), len(reads))
	return webhooks.SetFaults(simulator.WebhookFaults{})
}

// changesDuringAnOutage are changes at Stripe of which Stripe tells, and which cannot be looked at.
func (s *story) changesDuringAnOutage(ctx context.Context) error {
	s.chapter("Stripe's API goes down while subscriptions change; its webhooks still come")
	const buyers, renewals = 8, 4
	ids, err := s.buyers(ctx, "outage", buyers)
	if err != nil {
		return err
	}
	s.sayf("%d customers have subscribed.", buyers)
	if err := s.fleet.Simulator.SetFaults(simulator.Fault{Kind: simulator.Refuse, Provider: "stripe"}); err != nil {
		return err
	}
	if err := s.renew(ctx, ids, renewals); err != nil {
		return err
	}
	if err := s.awaitProvider(ctx, "down"); err != nil {
		return err
	}
	began := time.Now()
	shown, err := s.app.Customer(ctx, "outage_1")
	if err != nil {
		return err
	}
	s.sayf("GET /v1/customers/outage_1 answers in %s: %s, stale: %t", time.Since(began).Round(100*time.Microsecond), shown.Subscription.Status, shown.Subscription.Stale)
	if err := s.awaitWaiting(ctx, buyers); err != nil {
		return err
	}
	if err := s.showProviders(ctx); err != nil {
		return err
	}
	back := time.Now()
	if err := s.fleet.Simulator.ClearFaults(); err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	reads := len(s.fleet.Simulator.Calls().Since(back).To(http.MethodGet, subscriptionsRoute))
	s.sayf("Stripe is back. The renewals of %d customers, %d events, were read with %d calls.", buyers, 2*buyers*renewals, reads)
	if reads != buyers {
		return fmt.Errorf("demo: %d customers were read with %d calls after the outage, and not with one each", buyers, reads)
	}
	return nil
}

// buyers signs customers up and lets them subscribe. It gives the ids of their subscriptions.
func (s *story) buyers(ctx context.Context, prefix string, n int) ([]string, error) {
	ids := make([]string, n)
	for i := range n {
		stripeID, err := s.subscriber(ctx, fmt.Sprintf("%s_%d", prefix, i+1))
		if err != nil {
			return nil, err
		}
		made, err := s.fleet.Simulator.Stripe().Subscribe(stripeID, simulator.SubscriptionSpec{PriceID: "price_pro"})
		if err != nil {
			return nil, err
		}
		ids[i] = made.ID
	}
	return ids, s.settle(ctx)
}

// renew renews subscriptions so many times, and waits until every webhook about it was taken.
func (s *story) renew(ctx context.Context, ids []string, times int) error {
	for range times {
		for _, id := range ids {
			if _, err := s.fleet.Simulator.Stripe().Renew(id); err != nil {
				return err
			}
		}
	}
	return s.fleet.Simulator.StripeWebhooks().Await(ctx)
}

// canceledInTheSameSecond is a change and a cancellation that no time stamp tells apart.
func (s *story) canceledInTheSameSecond(ctx context.Context) error {
	s.chapter("A change of plan and a cancellation in the same second; the cancellation's webhook comes first")
	stripeID, err := s.subscriber(ctx, "leaver_1")
	if err != nil {
		return err
	}
	stripe, webhooks := s.fleet.Simulator.Stripe(), s.fleet.Simulator.StripeWebhooks()
	made, err := stripe.Subscribe(stripeID, simulator.SubscriptionSpec{PriceID: "price_pro"})
	if err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	if err := webhooks.SetFaults(simulator.WebhookFaults{Hold: true}); err != nil {
		return err
	}
	if _, err := stripe.ChangePrice(made.ID, "price_team"); err != nil {
		return err
	}
	if _, err := stripe.CancelNow(made.ID); err != nil {
		return err
	}
	held := s.heldEvents()
	slices.Reverse(held)
	if err := webhooks.Release(held...); err != nil {
		return err
	}
	if err := errors.Join(webhooks.SetFaults(simulator.WebhookFaults{}), s.settle(ctx)); err != nil {
		return err
	}
	s.sayf("Both webhooks are of one second, and the older one came last. What the app was told")
	s.sayf("(GET /v1/customers/leaver_1/changes):")
	told, err := s.app.CustomerChanges(ctx, "leaver_1")
	if err != nil {
		return err
	}
	for _, c := range told {
		if c.Type == "subscription.changed" {
			s.sayf("  %-4d %s  %s", c.Seq, c.At.UTC().Format(time.TimeOnly), c.Status())
		}
	}
	return nil
}

// approvedLate is a PayPal subscription that is approved after it was bound, and one that is
// somebody else's.
func (s *story) approvedLate(ctx context.Context) error {
	s.chapter("A PayPal subscription is approved late; another one is somebody else's")
	for _, id := range []string{"paypal_1", "paypal_2"} {
		if _, err := s.subscriber(ctx, id); err != nil {
			return err
		}
	}
	paypal := s.fleet.Simulator.PayPal()
	made := paypal.CreateSubscription("P-PRO", "paypal_1")
	_, shown, err := s.app.BindPayPal(ctx, "paypal_1", made.ID, 10*time.Second)
	if err != nil {
		return err
	}
	s.sayf("POST /v1/customers/paypal_1/paypal-subscriptions: %s (PayPal says %s)", shown.Subscription.Status, shown.Subscription.ProviderStatus)
	if _, err := paypal.Approve(made.ID); err != nil {
		return err
	}
	s.sayf("The customer approves it at PayPal.")
	if err := s.awaitSubscription(ctx, "paypal_1", "active"); err != nil {
		return err
	}
	others := paypal.CreateSubscription("P-PRO", "somebody_else")
	_, _, err = s.app.BindPayPal(ctx, "paypal_2", others.ID, 10*time.Second)
	if apiclient.StatusOf(err) != http.StatusUnprocessableEntity {
		return fmt.Errorf("demo: somebody else's PayPal subscription was bound: %w", err)
	}
	s.sayf("paypal_2 asks for a subscription that was made for somebody else: %v", err)
	return nil
}

// subscriber signs a customer up who is about to subscribe, and gives the id of their Stripe customer.
func (s *story) subscriber(ctx context.Context, id string) (stripeID string, err error) {
	if _, err := s.create(ctx, profile(id)); err != nil {
		return "", err
	}
	s.subscribers = append(s.subscribers, id)
	return stripeID, await(ctx, id+" to be ready", func() (bool, error) {
		c, err := s.app.Customer(ctx, id)
		stripeID = c.Providers.Stripe.CustomerID
		return c.Status == "ready", err
	})
}

// returnPage does what the page after a checkout does.
func (s *story) returnPage(ctx context.Context, id, want string) error {
	began := time.Now()
	_, shown, err := s.app.Sync(ctx, id, 10*time.Second)
	if err != nil {
		return err
	}
	s.sayf("POST /v1/customers/%s/sync answers in %s: %s, %s", id, time.Since(began).Round(time.Millisecond), shown.Subscription.Status, shown.Subscription.PriceID)
	if shown.Subscription.Status != want {
		return fmt.Errorf("demo: the return page of %s shows %q and not %q", id, shown.Subscription.Status, want)
	}
	return nil
}

// heldEvents are the events that are held back, in the order in which they occurred.
func (s *story) heldEvents() []string {
	var held []string
	for _, d := range s.fleet.Simulator.StripeWebhooks().Deliveries() {
		if d.State == simulator.DeliveryHeld {
			held = append(held, d.EventID)
		}
	}
	return held
}

// settle waits until every event was taken and everybody whom they were about was read.
func (s *story) settle(ctx context.Context) error {
	for _, w := range []*simulator.Webhooks{s.fleet.Simulator.StripeWebhooks(), s.fleet.Simulator.PayPalWebhooks()} {
		if err := w.Await(ctx); err != nil {
			return err
		}
	}
	return await(ctx, "everybody to be read", func() (bool, error) {
		waiting, err := s.count(`SELECT count(*) FROM subscription_syncs WHERE marks > covered`)(ctx)
		return waiting == 0, err
	})
}

func (s *story) awaitSubscription(ctx context.Context, id, status string) error {
	began := time.Now()
	err := await(ctx, id+" to be "+status, func() (bool, error) {
		c, err := s.app.Customer(ctx, id)
		return c.Subscription.Status == status, err
	})
	if err == nil {
		s.sayf("%s is %s after %s", id, status, time.Since(began).Round(10*time.Millisecond))
	}
	return err
}

// showSubscriptions is the table of what the app is told, beside what the providers have.
func (s *story) showSubscriptions(ctx context.Context) error {
	s.sayf("What the app is told, and what the provider has:")
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "   CUSTOMER\tHOLDFAST\tPROVIDER\t")
	for _, id := range s.subscribers {
		c, err := s.app.Customer(ctx, id)
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "   %s\t%s\t%s\t\n", id, told(c.Subscription), s.atProvider(c))
	}
	fmt.Fprintln(table)
	return table.Flush()
}

// agreeingSubscriptions counts the subscribers of whom the app is told what the provider has.
func (s *story) agreeingSubscriptions(ctx context.Context) (n int, err error) {
	for _, id := range s.subscribers {
		c, err := s.app.Customer(ctx, id)
		if err != nil {
			return n, err
		}
		if told(c.Subscription) == s.atProvider(c) {
			n++
		}
	}
	return n, nil
}

func told(o apiclient.Subscription) string {
	if o.SubscriptionID == "" {
		return "none"
	}
	return fmt.Sprintf("%s %s %s", o.SubscriptionID, o.ProviderStatus, o.PriceID)
}

// atProvider is the subscription of a customer who has at most one.
func (s *story) atProvider(c apiclient.Customer) string {
	for _, is := range s.fleet.Simulator.Stripe().SubscriptionsOf(c.Providers.Stripe.CustomerID) {
		return fmt.Sprintf("%s %s %s", is.ID, is.Status, is.PriceID)
	}
	for _, is := range s.fleet.Simulator.PayPal().Subscriptions() {
		if is.CustomID == c.ID {
			return fmt.Sprintf("%s %s %s", is.ID, is.Status, is.PlanID)
		}
	}
	return "none"
}

// events counts the events that Stripe and PayPal have delivered, each once.
func (s *story) events() int {
	seen := map[string]bool{}
	for _, w := range []*simulator.Webhooks{s.fleet.Simulator.StripeWebhooks(), s.fleet.Simulator.PayPalWebhooks()} {
		for _, d := range w.Deliveries() {
			seen[d.EventID] = true
		}
	}
	return len(seen)
}
