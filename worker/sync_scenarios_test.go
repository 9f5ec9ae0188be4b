package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/workflows"
)

func playSyncStraight(t *testing.T, b bundle) string {
	t.Helper()
	b.signUp(t, "u_1")
	b.subscribe(t, "u_1")
	b.mark(t, provider.Stripe, "u_1")
	b.awaitStatus(t, "u_1", subscription.Active)
	return b.synced(t, "u_1")
}

// playSyncMarkedAgain has a subscription end while it is being read.
func playSyncMarkedAgain(t *testing.T, b bundle) string {
	t.Helper()
	b.signUp(t, "u_1")
	bought := b.subscribe(t, "u_1")
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Stall, PathPrefix: stripeSubscriptions, Times: 1}))
	b.mark(t, provider.Stripe, "u_1")
	require.Eventually(t, func() bool {
		return len(b.simulator.Calls().To(http.MethodGet, stripeSubscriptions)) > 0
	}, 2*time.Minute, 10*time.Millisecond, "nobody reads")
	b.mark(t, provider.Stripe, "u_1")
	require.NoError(t, b.simulator.ClearFaults())
	_, err := b.simulator.Stripe().CancelNow(bought.ID)
	require.NoError(t, err)
	b.mark(t, provider.Stripe, "u_1")
	b.awaitStatus(t, "u_1", subscription.Canceled)
	return b.synced(t, "u_1")
}

func playSyncBoth(t *testing.T, b bundle) string {
	t.Helper()
	b.signUp(t, "u_1")
	b.subscribe(t, "u_1")
	sold, err := b.simulator.PayPal().PutSubscription(simulator.PayPalSubscription{PlanID: "P-PRO", CustomID: "u_1"})
	require.NoError(t, err)
	b.bind(t, "u_1", sold.ID)
	b.mark(t, provider.Stripe, "u_1")
	require.Eventually(t, func() bool {
		known, err := b.subscriptions.List(t.Context(), "u_1")
		return err == nil && len(known) == 2
	}, 2*time.Minute, 50*time.Millisecond, "not both providers are read")
	return b.synced(t, "u_1")
}

// playSyncOutage has the other provider tell something new while the first is away.
func playSyncOutage(t *testing.T, b bundle) string {
	t.Helper()
	b.signUp(t, "u_1")
	b.subscribe(t, "u_1")
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.BadGateway, Provider: "stripe"}))
	b.mark(t, provider.Stripe, "u_1")
	b.awaitReadWaits(t, "u_1", provider.Stripe, step.ForProvider)
	sold, err := b.simulator.PayPal().PutSubscription(simulator.PayPalSubscription{PlanID: "P-PRO", CustomID: "u_1"})
	require.NoError(t, err)
	b.bind(t, "u_1", sold.ID)
	require.Eventually(t, func() bool {
		o, _, err := b.subscriptions.Get(t.Context(), "u_1")
		return err == nil && o.Status == subscription.Active
	}, 2*time.Minute, 50*time.Millisecond, "PayPal is not read while Stripe is away")
	require.NoError(t, b.simulator.ClearFaults())
	workflowID := b.synced(t, "u_1")
	require.Len(t, b.reads(), 1)
	return workflowID
}

// refused is a customer whose PayPal subscription PayPal does not know any more.
func (b bundle) refused(t *testing.T) {
	t.Helper()
	b.signedUp(t, "u_1")
	b.bound(t, "u_1", "I-GONE")
	b.awaitReadWaits(t, "u_1", provider.PayPal, step.ForPerson)
	waiting, err := step.Attention(t.Context(), b.pool, step.Cursor{}, 10)
	require.NoError(t, err)
	require.Len(t, waiting, 1)
	require.Equal(t, "paypal_subscriptions", waiting[0].Name)
}

func playSyncRetried(t *testing.T, b bundle) string {
	t.Helper()
	b.refused(t)
	_, err := b.simulator.PayPal().PutSubscription(simulator.PayPalSubscription{ID: "I-GONE", CustomID: "u_1"})
	require.NoError(t, err)
	b.decide(t, "u_1", workflows.UpdateRetry, provider.PayPal)
	b.awaitStatus(t, "u_1", subscription.Active)
	return b.synced(t, "u_1")
}

func playSyncSkipped(t *testing.T, b bundle) string {
	t.Helper()
	b.refused(t)
	b.decide(t, "u_1", workflows.UpdateSkip, provider.PayPal)
	return b.synced(t, "u_1")
}

// playSyncNow has somebody ask of whom nobody has said anything, at both providers.
func playSyncNow(t *testing.T, b bundle) string {
	t.Helper()
	b.signUp(t, "u_1")
	b.subscribe(t, "u_1")
	sold, err := b.simulator.PayPal().PutSubscription(simulator.PayPalSubscription{PlanID: "P-PRO", CustomID: "u_1"})
	require.NoError(t, err)
	b.bind(t, "u_1", sold.ID)
	b.awaitStatus(t, "u_1", subscription.Active)
	b.synced(t, "u_1")

	require.True(t, b.syncNow(t, "u_1").Synced)

	workflowID := b.synced(t, "u_1")
	known, err := b.subscriptions.List(t.Context(), "u_1")
	require.NoError(t, err)
	require.Len(t, known, 2)
	for _, event := range b.history(t, workflowID).GetEvents() {
		if call := event.GetActivityTaskScheduledEventAttributes(); call != nil && call.GetTaskQueue().GetName() != workflows.TaskQueue {
			require.EqualValues(t, 2, call.GetPriority().GetPriorityKey(), "it goes before the backlog")
		}
	}
	return workflowID
}

// playSyncApproval has a person approve a PayPal subscription, and nobody tell.
func playSyncApproval(t *testing.T, b bundle) string {
	t.Helper()
	b.signUp(t, "u_1")
	b.subscribe(t, "u_1")
	sold := b.simulator.PayPal().CreateSubscription("P-PRO", "u_1")
	b.bind(t, "u_1", sold.ID)
	b.awaitStatus(t, "u_1", subscription.Incomplete)
	_, err := b.simulator.PayPal().Approve(sold.ID)
	require.NoError(t, err)
	b.awaitStatus(t, "u_1", subscription.Active)
	require.Empty(t, b.reads(), "nobody is awaited at Stripe")
	return b.synced(t, "u_1")
}

// playSyncContinued has somebody ask again and again while a read waits for a person, until the
// history is long.
func playSyncContinued(t *testing.T, b bundle) string {
	t.Helper()
	b.refused(t)
	workflowID := workflows.SyncID("u_1")
	for asked := 0; !b.continued(t, workflowID); asked++ {
		require.Less(t, asked, longHistory, "it does not continue as new")
		require.False(t, b.syncNow(t, "u_1").Synced)
	}
	_, err := b.simulator.PayPal().PutSubscription(simulator.PayPalSubscription{ID: "I-GONE", CustomID: "u_1"})
	require.NoError(t, err)
	b.decide(t, "u_1", workflows.UpdateRetry, provider.PayPal)
	b.awaitStatus(t, "u_1", subscription.Active)
	return b.synced(t, "u_1")
}

// continued says that a workflow has continued as new.
func (b bundle) continued(t *testing.T, workflowID string) bool {
	t.Helper()
	described, err := b.temporal.DescribeWorkflowExecution(t.Context(), workflowID, "")
	require.NoError(t, err)
	info := described.GetWorkflowExecutionInfo()
	return info.GetFirstRunId() != info.GetExecution().GetRunId()
}

// longHistory is how many events the servers of the scenarios with long histories take for many.
const longHistory = 60
