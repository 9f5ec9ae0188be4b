package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/localstack/temporaltest"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/workflows"
)

const stripeSubscriptions = "/v1/subscriptions"

// signedUp gives the Stripe customer of a new customer.
func (b bundle) signedUp(t *testing.T, id string) (stripeCustomerID string) {
	t.Helper()
	b.signUp(t, id)
	return b.stripeCustomer(t, id)
}

// stripeCustomer gives the Stripe customer of somebody who signed up, once there is one.
func (b bundle) stripeCustomer(t *testing.T, id string) string {
	t.Helper()
	b.await(t, id, customer.Ready)
	c, err := b.customers.Get(t.Context(), id)
	require.NoError(t, err)
	return c.StripeCustomerID
}

// subscribe has somebody who signed up subscribe at Stripe, and nobody tell.
func (b bundle) subscribe(t *testing.T, id string) simulator.Subscription {
	t.Helper()
	s, err := b.simulator.Stripe().Subscribe(b.stripeCustomer(t, id), simulator.SubscriptionSpec{PriceID: "price_pro"})
	require.NoError(t, err)
	return s
}

func (b bundle) inTx(t *testing.T, do func(context.Context, pgx.Tx) error) {
	t.Helper()
	require.NoError(t, postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error { return do(t.Context(), tx) }))
}

// mark says that something changed, as a webhook does.
func (b bundle) mark(t *testing.T, p provider.Name, ids ...string) {
	t.Helper()
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		return b.subscriptions.Mark(ctx, tx, p, subscription.ByEvent, ids...)
	})
}

func (b bundle) bind(t *testing.T, id, payPalID string) {
	t.Helper()
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		_, err := b.subscriptions.Bind(ctx, tx, id, payPalID, "")
		return err
	})
}

// bound is a PayPal subscription that was the customer's before, and that PayPal does not know.
func (b bundle) bound(t *testing.T, id, payPalID string) {
	t.Helper()
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		asked, err := b.subscriptions.Bind(ctx, tx, id, payPalID, "")
		if err != nil {
			return err
		}
		_, err = subscription.Confirm(ctx, tx, asked)
		return err
	})
}

func (b bundle) overview(t *testing.T, id string) subscription.Overview {
	t.Helper()
	o, _, err := b.subscriptions.Get(t.Context(), id)
	require.NoError(t, err)
	return o
}

// awaitStatus waits until a read has shown the status and nothing is known to be old.
func (b bundle) awaitStatus(t *testing.T, id string, want subscription.Status) {
	t.Helper()
	require.Eventually(t, func() bool {
		o, _, err := b.subscriptions.Get(t.Context(), id)
		return err == nil && o.Status == want && !o.Stale && o.SyncedAt != nil
	}, 2*time.Minute, 50*time.Millisecond, "%s does not become %s", id, want)
}

// awaitReadWaits waits until the step that reads at the provider is parked.
func (b bundle) awaitReadWaits(t *testing.T, id string, p provider.Name, want step.WaitsFor) {
	t.Helper()
	require.Eventually(t, func() bool {
		steps, err := step.ByWorkflow(t.Context(), b.pool, workflows.SyncID(id))
		if err != nil {
			return false
		}
		for _, s := range steps {
			if s.Provider == p && s.WaitsFor == want {
				return true
			}
		}
		return false
	}, 2*time.Minute, 50*time.Millisecond, "the read of %s at %s does not come to wait for a %s", id, p, want)
}

// synced waits until the workflow has ended.
func (b bundle) synced(t *testing.T, id string) (workflowID string) {
	t.Helper()
	workflowID = workflows.SyncID(id)
	require.NoError(t, b.temporal.GetWorkflow(t.Context(), workflowID, "").Get(t.Context(), nil))
	require.False(t, b.overview(t, id).Stale, "the workflow ended and left a mark")
	return workflowID
}

func (b bundle) syncNow(t *testing.T, id string) workflows.SyncResult {
	t.Helper()
	start := b.startOrUse(workflows.SyncID(id), workflows.NameSubscriptionSync, workflows.SyncInput{CustomerID: id})
	handle := b.updateWithStart(t, start, workflows.UpdateSyncNow, workflows.SyncNowInput{WaitMS: 30_000})
	var result workflows.SyncResult
	require.NoError(t, handle.Get(t.Context(), &result))
	return result
}

func (b bundle) decide(t *testing.T, id, verdict string, p provider.Name) {
	t.Helper()
	handle, err := b.temporal.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: workflows.SyncID(id), UpdateName: verdict, WaitForStage: client.WorkflowUpdateStageCompleted,
		Args: []any{workflows.StepInput{Step: subscription.StepOf(p)}},
	})
	require.NoError(t, err)
	require.NoError(t, handle.Get(t.Context(), nil))
}

// reads are the answered reads of subscriptions at Stripe.
func (b bundle) reads() simulator.Calls {
	return b.simulator.Calls().To(http.MethodGet, stripeSubscriptions).WithStatus(http.StatusOK)
}

// actions is how many billable actions a workflow was, by Temporal's price list: its start, signals,
// updates, timers, search attributes, and each try of an activity.
func actions(h *history.History) (n int) {
	for _, event := range h.GetEvents() {
		switch event.GetEventType() {
		case enums.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, enums.EVENT_TYPE_TIMER_STARTED, enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
			enums.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED, enums.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
			enums.EVENT_TYPE_MARKER_RECORDED:
			n++
		case enums.EVENT_TYPE_ACTIVITY_TASK_STARTED:
			n += int(event.GetActivityTaskStartedEventAttributes().GetAttempt())
		default:
		}
	}
	return n
}

func TestABurstOfThreeEventsIsOneReadAndThreeActions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, "u_1")
	bought := b.subscribe(t, "u_1")

	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		mark := func() error { return b.subscriptions.Mark(ctx, tx, provider.Stripe, subscription.ByEvent, "u_1") }
		return errors.Join(mark(), mark(), mark())
	})
	b.awaitStatus(t, "u_1", subscription.Active)
	workflowID := b.synced(t, "u_1")

	known := b.overview(t, "u_1")
	require.Equal(t, bought.ID, known.SubscriptionID)
	require.Equal(t, "price_pro", known.PriceID)
	require.Len(t, b.reads(), 1)
	require.LessOrEqual(t, actions(b.history(t, workflowID)), 3)
}

func TestACustomerWithoutSubscriptionsIsRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signedUp(t, "u_1")
	b.mark(t, provider.Stripe, "u_1")
	b.awaitStatus(t, "u_1", subscription.None)
	b.synced(t, "u_1")
}

func TestAtTheEndOfAnOutageEachMarkedCustomerIsReadOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := make([]string, 30)
	for i := range ids {
		ids[i] = fmt.Sprintf("u_%d", i)
		b.signUp(t, ids[i])
	}
	for _, id := range ids {
		b.subscribe(t, id)
	}
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.BadGateway, Provider: "stripe"}))
	for range 3 {
		b.mark(t, provider.Stripe, ids...)
	}
	b.awaitState(t, provider.StateDown)
	for _, id := range ids {
		b.awaitReadWaits(t, id, provider.Stripe, step.ForProvider)
	}
	for range 3 {
		b.mark(t, provider.Stripe, ids...)
	}
	require.Empty(t, b.reads())

	require.NoError(t, b.simulator.ClearFaults())

	for _, id := range ids {
		b.awaitStatus(t, id, subscription.Active)
		b.synced(t, id)
	}
	b.awaitState(t, provider.StateUp)
	require.Len(t, b.reads(), len(ids))
}

// mortalVariable makes a process of the test's program a worker.
const mortalVariable = "HOLDFAST_TEST_MORTAL"

// startMortal starts a worker of a queue in a process of its own, with more settings if it needs them,
// and gives what kills it.
func (b bundle) startMortal(t *testing.T, queue string, settings ...string) (kill func()) {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	mortal := exec.CommandContext(t.Context(), program, "--queues", queue)
	mortal.Env = append(append(os.Environ(), settings...), mortalVariable+"=worker",
		"DATABASE_URL="+b.pool.Config().ConnString(), "TEMPORAL_ADDRESS="+b.server.Address(), "HOLDFAST_METRICS_LISTEN=127.0.0.1:0",
		"STRIPE_SECRET_KEY="+simulator.DefaultStripeKey, "STRIPE_API_BASE="+b.simulator.StripeURL())
	require.NoError(t, mortal.Start())
	return func() {
		require.NoError(t, mortal.Process.Signal(syscall.SIGKILL))
		var exit *exec.ExitError
		require.ErrorAs(t, mortal.Wait(), &exit)
	}
}

func TestAReadWhoseWorkerIsKilledIsMadeByAnother(t *testing.T) {
	t.Parallel()
	b := setupOn(t, temporaltest.Start(t), []string{workflows.TaskQueue})
	kill := b.startMortal(t, workflows.ProviderTaskQueue(provider.Stripe))
	b.signUp(t, "u_1")
	bought := b.subscribe(t, "u_1")
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Hang, Method: http.MethodGet, PathPrefix: stripeSubscriptions}))
	b.mark(t, provider.Stripe, "u_1")
	require.Eventually(t, func() bool {
		return len(b.simulator.Calls().To(http.MethodGet, stripeSubscriptions)) > 0
	}, 2*time.Minute, 50*time.Millisecond, "nobody reads")

	kill()
	require.NoError(t, b.simulator.ClearFaults())
	b.serve(t, []string{workflows.ProviderTaskQueue(provider.Stripe)})

	b.awaitStatus(t, "u_1", subscription.Active)
	require.Equal(t, bought.ID, b.overview(t, "u_1").SubscriptionID)
	b.synced(t, "u_1")
}

func TestAPayPalSubscriptionThatIsApprovedLateIsTheCustomers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signedUp(t, "ada")
	sold := b.simulator.PayPal().CreateSubscription("P-PRO", "ada")
	b.bind(t, "ada", sold.ID)
	b.awaitStatus(t, "ada", subscription.Incomplete)
	require.Equal(t, []string{sold.ID}, b.overview(t, "ada").PayPalIDs)

	_, err := b.simulator.PayPal().Approve(sold.ID)
	require.NoError(t, err)
	b.mark(t, provider.PayPal, "ada")

	b.awaitStatus(t, "ada", subscription.Active)
	b.synced(t, "ada")
	require.Empty(t, b.reads(), "nothing was said of Stripe")
}

func TestSubscriptionsWaitForTheRightKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, "u_1")
	b.subscribe(t, "u_1")
	b.simulator.Stripe().SetKeys([]string{"sk_test_another"}, nil)
	b.mark(t, provider.Stripe, "u_1")
	b.awaitState(t, provider.StateMisconfigured)
	b.awaitReadWaits(t, "u_1", provider.Stripe, step.ForProvider)
	require.True(t, b.overview(t, "u_1").Stale)
	steps, err := step.ByWorkflow(t.Context(), b.pool, workflows.SyncID("u_1"))
	require.NoError(t, err)
	require.Equal(t, provider.Misconfigured, steps[0].ErrorClass)

	told := b.syncNow(t, "u_1")
	require.False(t, told.Synced, "whoever asks is told at once that it waits")

	b.simulator.Stripe().SetKeys([]string{simulator.DefaultStripeKey}, nil)
	b.awaitStatus(t, "u_1", subscription.Active)
	b.synced(t, "u_1")
}
