package main

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/holdfast/holdfast/internal/localstack/temporaltest"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/workflows"
)

// lost makes customers with a subscription at Stripe of whom every webhook was lost.
func (b bundle) lost(t *testing.T, group string, n int) (subscriptionIDs []string) {
	t.Helper()
	for i := range n {
		id := fmt.Sprintf("%s_%03d", group, i)
		c, err := b.simulator.Stripe().PutCustomer(simulator.Customer{Email: id + "@example.com"})
		require.NoError(t, err)
		s, err := b.simulator.Stripe().PutSubscription(simulator.Subscription{Customer: c.ID, PriceID: "price_pro"})
		require.NoError(t, err)
		_, err = b.pool.Exec(t.Context(), `INSERT INTO customers (id, email, content_hash, stripe_customer_id, stripe_bound_at)
			VALUES ($1, $1 || '@example.com', '', $2, now())`, id, c.ID)
		require.NoError(t, err)
		subscriptionIDs = append(subscriptionIDs, s.ID)
	}
	return subscriptionIDs
}

func (b bundle) startPass(t *testing.T, p provider.Name, everyone bool) client.WorkflowRun {
	t.Helper()
	run, err := b.temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: workflows.BackfillID(p), TaskQueue: workflows.TaskQueue},
		workflows.NameSubscriptionBackfill, workflows.BackfillInput{Provider: p, Everyone: everyone})
	require.NoError(t, err)
	return run
}

func endOf(t *testing.T, pass client.WorkflowRun) (end workflows.BackfillProgress) {
	t.Helper()
	require.NoError(t, pass.Get(t.Context(), &end))
	require.Equal(t, workflows.BackfillDone, end.Stage)
	return end
}

// awaitPass waits until the pass at Stripe says that it is so far.
func (b bundle) awaitPass(t *testing.T, what string, is func(workflows.BackfillProgress) bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		now, err := b.progress(t.Context())
		return err == nil && is(now)
	}, 2*time.Minute, 20*time.Millisecond, what)
}

// progress is how far the pass at Stripe is.
func (b bundle) progress(ctx context.Context) (now workflows.BackfillProgress, err error) {
	value, err := b.temporal.QueryWorkflow(ctx, workflows.BackfillID(provider.Stripe), "", workflows.QueryProgress)
	if err != nil {
		return now, err
	}
	return now, value.Get(&now)
}

// agreed makes customers of whom is known what Stripe has.
func (b bundle) agreed(t *testing.T, group string, n int) {
	t.Helper()
	for i, id := range b.lost(t, group, n) {
		s, there := b.simulator.Stripe().Subscription(id)
		require.True(t, there)
		customerID := fmt.Sprintf("%s_%03d", group, i)
		read, err := b.subscriptions.Begin(t.Context(), customerID, provider.Stripe)
		require.NoError(t, err)
		b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
			_, err := b.subscriptions.Store(ctx, tx, read, []subscription.Subscription{{
				Provider: provider.Stripe, ID: s.ID, Status: subscription.Active, ProviderStatus: s.Status, PriceIDs: []string{s.PriceID},
				CreatedAt: s.Created, CurrentPeriodStart: &s.CurrentPeriodStart, CurrentPeriodEnd: &s.CurrentPeriodEnd,
			}})
			return err
		})
	}
}

func TestAPassHealsEverybodyWhoseWebhooksWereLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.agreed(t, "agree", 99)
	b.lost(t, "lost", 300)
	live, err := b.simulator.Stripe().Subscribe(b.signedUp(t, "u_live"), simulator.SubscriptionSpec{PriceID: "price_pro"})
	require.NoError(t, err)
	b.mark(t, provider.Stripe, "u_live")
	b.awaitStatus(t, "u_live", subscription.Active)
	b.synced(t, "u_live")
	before := len(b.reads())

	// When there is a pass, and a webhook comes while it is under way.
	pass := b.startPass(t, provider.Stripe, false)
	require.Eventually(t, func() bool { return len(b.reads()) > before }, 2*time.Minute, 10*time.Millisecond, "no page is read")
	_, err = b.simulator.Stripe().CancelNow(live.ID)
	require.NoError(t, err)
	b.mark(t, provider.Stripe, "u_live")
	end := endOf(t, pass)

	require.Equal(t, []int{400, 4, 300, 300, 300, 0}, []int{end.Customers, end.Pages, end.Differing, end.Marked, end.Healed, end.Unread})
	for i := range 300 {
		o := b.overview(t, fmt.Sprintf("lost_%03d", i))
		require.Equal(t, subscription.Active, o.Status)
		require.False(t, o.Stale)
	}
	require.Equal(t, subscription.Canceled, b.overview(t, "u_live").Status)
	require.Len(t, b.reads(), before+4+300+1, "those who agree cost a hundredth of a call each")
	var last time.Time
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT max(synced_at) FROM subscription_syncs WHERE customer_id LIKE 'lost%'`).Scan(&last))
	require.True(t, b.overview(t, "u_live").SyncedAt.Before(last), "the webhook did not wait for the end of the pass")
}

func TestAPassWhoseWorkerIsKilledGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	b := setupOn(t, temporaltest.Start(t), []string{workflows.TaskQueue})
	b.agreed(t, "u", 250)
	kill := b.startMortal(t, workflows.ProviderTaskQueue(provider.Stripe))
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Latency, PathPrefix: stripeSubscriptions, DelayMS: 4000}))
	pass := b.startPass(t, provider.Stripe, false)
	require.Eventually(t, func() bool {
		return len(b.simulator.Calls().To(http.MethodGet, stripeSubscriptions)) > 0
	}, 2*time.Minute, 20*time.Millisecond, "no page is read")
	// The call that is being answered is not held up by this, and each after it is.
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Hang, PathPrefix: stripeSubscriptions}))
	b.awaitPass(t, "no page is compared", func(now workflows.BackfillProgress) bool { return now.Pages >= 1 })

	kill()
	require.NoError(t, b.simulator.ClearFaults())
	left, err := b.progress(t.Context())
	require.NoError(t, err)
	require.Less(t, left.Pages, 3)
	b.serve(t, []string{workflows.ProviderTaskQueue(provider.Stripe)})

	end := endOf(t, pass)
	require.Equal(t, []int{3, 250, 0}, []int{end.Pages, end.Compared, end.Marked})
	calls := len(b.simulator.Calls().To(http.MethodGet, stripeSubscriptions))
	require.LessOrEqual(t, calls, 4, "what was compared before is not read again")
}

func TestTheDailyPassLeavesOneThatIsUnderWay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.lost(t, "u", 1)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Hang, PathPrefix: stripeSubscriptions}))
	pass := b.startPass(t, provider.Stripe, true)
	require.Eventually(t, func() bool {
		return len(b.simulator.Calls().To(http.MethodGet, stripeSubscriptions)) > 0
	}, 2*time.Minute, 20*time.Millisecond, "no page is read")

	daily, err := b.temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "subscription-drift", TaskQueue: workflows.TaskQueue}, workflows.NameSubscriptionDrift)
	require.NoError(t, err)
	require.NoError(t, daily.Get(t.Context(), nil))

	require.NoError(t, b.simulator.ClearFaults())
	require.True(t, endOf(t, pass).Everyone)
	require.Zero(t, endOf(t, b.temporal.GetWorkflow(t.Context(), workflows.BackfillID(provider.PayPal), "")).Customers)
}

// The scenarios of passes, recorded and replayed like the others.
func TestScenariosOfPasses(t *testing.T) {
	t.Parallel()
	playAll(t, nil, map[string]scenario{
		"backfill":        playBackfill,
		"backfill-outage": playBackfillOutage,
		"backfill-paypal": playBackfillPayPal,
		"drift":           playDrift,
	})
}

// playBackfill is a pass over two pages, and then over whom no page tells of.
func playBackfill(t *testing.T, b bundle) string {
	t.Helper()
	b.lost(t, "u", 101)
	b.signedUp(t, "u_without_any")
	end := endOf(t, b.startPass(t, provider.Stripe, true))
	require.Equal(t, []int{2, 102, 101}, []int{end.Pages, end.Marked, end.Healed})
	return workflows.BackfillID(provider.Stripe)
}

// playBackfillOutage is a pass that its provider stops.
func playBackfillOutage(t *testing.T, b bundle) string {
	t.Helper()
	b.lost(t, "u", 1)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Refuse}))
	pass := b.startPass(t, provider.Stripe, false)
	b.awaitState(t, provider.StateDown)
	b.awaitPass(t, "the pass does not park", func(now workflows.BackfillProgress) bool { return now.Steps[0].WaitsFor != "" })
	require.NoError(t, b.simulator.ClearFaults())
	require.Equal(t, 1, endOf(t, pass).Healed)
	return workflows.BackfillID(provider.Stripe)
}

// playBackfillPayPal is a pass at a provider that lists nothing.
func playBackfillPayPal(t *testing.T, b bundle) string {
	t.Helper()
	b.signedUp(t, "u_1")
	sold, err := b.simulator.PayPal().PutSubscription(simulator.PayPalSubscription{PlanID: "P-PRO", CustomID: "u_1"})
	require.NoError(t, err)
	b.bind(t, "u_1", sold.ID)
	b.awaitStatus(t, "u_1", subscription.Active)
	_, err = b.simulator.PayPal().Cancel(sold.ID)
	require.NoError(t, err)
	end := endOf(t, b.startPass(t, provider.PayPal, true))
	require.Equal(t, []int{1, 1}, []int{end.Marked, end.Healed})
	return workflows.BackfillID(provider.PayPal)
}

// playDrift is the daily start of a pass at every provider.
func playDrift(t *testing.T, b bundle) string {
	t.Helper()
	const id = "subscription-drift"
	daily, err := b.temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: workflows.TaskQueue}, workflows.NameSubscriptionDrift)
	require.NoError(t, err)
	require.NoError(t, daily.Get(t.Context(), nil))
	return id
}
