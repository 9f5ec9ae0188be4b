package fleet_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/apiclient"
	"github.com/holdfast/holdfast/internal/simulator"
)

// stripeReads is where a customer's subscriptions are read.
const stripeReads = "/v1/subscriptions"

// subscribers signs customers up, and gives the id of each one's Stripe customer.
func (b bundle) subscribers(t *testing.T, all ...string) map[string]string {
	t.Helper()
	b.signUp(t, all...)
	b.awaitReady(t, all...)
	stripe := map[string]string{}
	for _, id := range all {
		stripe[id] = mustCustomer(t, b, id).Providers.Stripe.CustomerID
	}
	return stripe
}

func (b bundle) subscribe(t *testing.T, stripeCustomerID string) simulator.Subscription {
	t.Helper()
	made, err := b.Simulator.Stripe().Subscribe(stripeCustomerID, simulator.SubscriptionSpec{PriceID: "price_pro"})
	require.NoError(t, err)
	return made
}

// agrees says whether what the app is told is what Stripe has: the only subscription of a customer.
func (b bundle) agrees(t *testing.T, id, stripeCustomerID string) bool {
	t.Helper()
	shown := mustCustomer(t, b, id).Subscription
	there := b.Simulator.Stripe().SubscriptionsOf(stripeCustomerID)
	if len(there) == 0 {
		return shown.Status == "none"
	}
	is := there[0]
	return shown.SubscriptionID == is.ID && shown.Status == is.Status && shown.PriceID == is.PriceID &&
		shown.CancelAtPeriodEnd == is.CancelAtPeriodEnd && shown.CurrentPeriodEnd != nil && shown.CurrentPeriodEnd.Equal(is.CurrentPeriodEnd)
}

func (b bundle) awaitAgreement(t *testing.T, stripe map[string]string) {
	t.Helper()
	for id, customerID := range stripe {
		await(t, id+" to be told what Stripe has", func() bool { return b.agrees(t, id, customerID) })
	}
}

// awaitSynced waits until nothing is to be read.
func (b bundle) awaitSynced(t *testing.T) {
	t.Helper()
	await(t, "everybody to be read", func() bool {
		return b.count(t, `SELECT count(*) FROM subscription_syncs WHERE marks > covered`) == 0
	})
}

// change does something to a subscription that its owner, or time, might do.
func change(t *testing.T, stripe *simulator.Stripe, id string, random *rand.Rand) {
	t.Helper()
	changes := []func(string) (simulator.Subscription, error){
		func(id string) (simulator.Subscription, error) { return stripe.ChangePrice(id, "price_team") },
		func(id string) (simulator.Subscription, error) { return stripe.ChangePrice(id, "price_pro") },
		func(id string) (simulator.Subscription, error) { return stripe.CancelAtPeriodEnd(id, true) },
		func(id string) (simulator.Subscription, error) { return stripe.CancelAtPeriodEnd(id, false) },
		stripe.Renew, stripe.FailPayment, stripe.CancelNow,
	}
	_, err := changes[random.IntN(len(changes))](id)
	if now, _ := stripe.Subscription(id); now.Status != "canceled" { // which refuses every change
		require.NoError(t, err)
	}
}

// B1, B7, B11: whatever happens to events on the way, what the app is told becomes what Stripe has. For
// those of whom no event arrived, a pass finds out.
func TestSubscriptionsFollowStripeWhateverHappensToEvents(t *testing.T) {
	t.Parallel()
	b := setup(t, 2)
	all := ids("u", 25)
	stripe := b.subscribers(t, all...)
	require.NoError(t, b.Simulator.StripeWebhooks().SetFaults(simulator.WebhookFaults{
		Loss: 0.3, Duplicate: 0.3, JitterMS: 300, Reorder: 8,
	}))
	random := rand.New(rand.NewPCG(7, 7))
	for _, id := range all {
		b.subscribe(t, stripe[id])
	}
	for range 6 {
		for _, id := range all {
			change(t, b.Simulator.Stripe(), b.Simulator.Stripe().SubscriptionsOf(stripe[id])[0].ID, random)
		}
	}
	require.NoError(t, b.Simulator.StripeWebhooks().Await(t.Context()))
	require.NoError(t, b.Simulator.StripeWebhooks().SetFaults(simulator.WebhookFaults{Loss: 1}))
	b.awaitSynced(t)
	for _, id := range all { // nobody hears of the last change
		change(t, b.Simulator.Stripe(), b.Simulator.Stripe().SubscriptionsOf(stripe[id])[0].ID, random)
	}

	b.run(t, "sync", "--all", "--provider", "stripe")

	b.awaitAgreement(t, stripe)
	require.Zero(t, b.count(t, `SELECT max(seq) - count(*) FROM changes`), "the feed has no gaps")
}

// B4, B8: a provider's outage costs nothing but time, and one read for each customer at its end.
func TestAnOutageEndsInOneReadForEach(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	all := ids("u", 20)
	stripe := b.subscribers(t, all...)
	for _, id := range all {
		b.subscribe(t, stripe[id])
	}
	require.NoError(t, b.Simulator.StripeWebhooks().Await(t.Context()))
	b.awaitSynced(t)
	require.NoError(t, b.Simulator.SetFaults(simulator.Fault{Kind: simulator.Refuse, Provider: "stripe"}))
	for range 5 {
		for _, id := range all {
			_, err := b.Simulator.Stripe().Renew(b.Simulator.Stripe().SubscriptionsOf(stripe[id])[0].ID)
			require.NoError(t, err)
		}
	}
	require.NoError(t, b.Simulator.StripeWebhooks().Await(t.Context()))
	await(t, "every read to wait for Stripe", func() bool {
		return b.count(t, `SELECT count(*) FROM steps WHERE name = 'stripe_subscriptions' AND status = 'blocked' AND waits_for = 'provider'`) == len(all)
	})
	require.True(t, mustCustomer(t, b, "u_0").Subscription.Stale)
	ended := time.Now()
	require.NoError(t, b.Simulator.ClearFaults())

	b.awaitSynced(t)

	require.Len(t, b.Simulator.Calls().Since(ended).To(http.MethodGet, stripeReads), len(all), "one read each, not one for each event")
	b.awaitAgreement(t, stripe)
}

// B4: Temporal being away delays the read and loses nothing.
func TestWebhooksOutliveTemporal(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	stripe := b.subscribers(t, "u_1")
	require.NoError(t, b.Stack.Temporal.Stop())
	b.subscribe(t, stripe["u_1"])
	require.NoError(t, b.Simulator.StripeWebhooks().Await(t.Context()))
	for _, d := range b.Simulator.StripeWebhooks().Deliveries() {
		require.Len(t, d.Attempts, 1)
		require.Equal(t, http.StatusOK, d.Attempts[0].Status)
	}
	require.Equal(t, "none", mustCustomer(t, b, "u_1").Subscription.Status)

	require.NoError(t, b.Stack.Temporal.Start(context.WithoutCancel(t.Context())))

	b.awaitAgreement(t, stripe)
}

// B4: what cannot be stored is answered with 503, comes again, and counts once.
func TestWebhooksOutlivePostgres(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	stripe := b.subscribers(t, "u_1")
	require.NoError(t, b.Stack.Postgres.Kill())
	b.subscribe(t, stripe["u_1"])
	unavailable := func() (n int) {
		for _, d := range b.Simulator.StripeWebhooks().Deliveries() {
			if len(d.Attempts) > 0 && d.Attempts[0].Status == http.StatusServiceUnavailable {
				n++
			}
		}
		return n
	}
	await(t, "the events to be answered with 503", func() bool { return unavailable() >= 3 })

	require.NoError(t, b.Stack.Postgres.Start(context.WithoutCancel(t.Context())))

	require.NoError(t, b.Simulator.StripeWebhooks().Await(t.Context()))
	b.awaitAgreement(t, stripe)
	require.Equal(t, 3, b.count(t, `SELECT count(*) FROM webhook_events WHERE effect = 'sync'`))
}

// B3: whoever comes back from the checkout is ahead of the webhook.
func TestTheReturnPageDoesNotWaitForTheWebhook(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	stripe := b.subscribers(t, "u_1")
	require.NoError(t, b.Simulator.StripeWebhooks().SetFaults(simulator.WebhookFaults{Hold: true}))
	made := b.subscribe(t, stripe["u_1"])

	synced, shown, err := b.app.Sync(t.Context(), "u_1", longestWait)

	require.NoError(t, err)
	require.True(t, synced)
	require.Equal(t, made.ID, shown.Subscription.SubscriptionID)
	require.Equal(t, "active", shown.Subscription.Status)
	require.NoError(t, b.Simulator.StripeWebhooks().Release())
	require.NoError(t, b.Simulator.StripeWebhooks().Await(t.Context()))
	b.awaitSynced(t)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM changes WHERE type = 'subscription.changed'`), "the app is told once")
}

// B10: a subscription is bound before it is approved, and only by whom it was made for.
func TestPayPalSubscriptionIsApprovedLate(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	b.subscribers(t, "u_1", "u_2")
	made := b.Simulator.PayPal().CreateSubscription("P-PRO", "u_1")

	bound, shown, err := b.app.BindPayPal(t.Context(), "u_1", made.ID, longestWait)
	require.NoError(t, err)
	require.True(t, bound)
	require.Equal(t, []string{made.ID}, shown.Providers.PayPal.SubscriptionIDs)
	require.Equal(t, "incomplete", shown.Subscription.Status)
	require.Equal(t, "APPROVAL_PENDING", shown.Subscription.ProviderStatus)
	_, _, err = b.app.BindPayPal(t.Context(), "u_2", made.ID, longestWait)
	require.Equal(t, http.StatusConflict, apiclient.StatusOf(err), "%v", err)
	others := b.Simulator.PayPal().CreateSubscription("P-PRO", "u_1")
	_, _, err = b.app.BindPayPal(t.Context(), "u_2", others.ID, longestWait)
	require.Equal(t, http.StatusUnprocessableEntity, apiclient.StatusOf(err), "%v", err)

	_, err = b.Simulator.PayPal().Approve(made.ID)
	require.NoError(t, err)

	await(t, "the approval to be seen", func() bool { return mustCustomer(t, b, "u_1").Subscription.Status == "active" })
	require.Equal(t, "none", mustCustomer(t, b, "u_2").Subscription.Status)
	_, err = b.Simulator.PayPal().Cancel(made.ID)
	require.NoError(t, err)
	await(t, "the cancellation to be seen", func() bool { return mustCustomer(t, b, "u_1").Subscription.Status == "canceled" })
	require.NotNil(t, mustCustomer(t, b, "u_1").Subscription.PaidUntil, "what was paid for stays paid for")
}

// run runs the starter as a person does.
func (b bundle) run(t *testing.T, args ...string) {
	t.Helper()
	program := exec.CommandContext(t.Context(), programs.starter, args...)
	program.Env = slices.Concat(os.Environ(), b.Stack.Env(), []string{"DATABASE_URL=" + b.Pool.Config().ConnString()})
	out, err := program.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
