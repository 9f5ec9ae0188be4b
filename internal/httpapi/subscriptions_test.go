package httpapi_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/workflows"
)

func customersOn(pool *pgxpool.Pool) *customer.Store {
	return customer.NewStore(pool, feed.NewWriter(nil))
}

func subscriptionsOn(pool *pgxpool.Pool) *subscription.Store {
	return subscription.NewStore(pool, nil, feed.NewWriter(nil), workflows.SyncSubscriptions)
}

const payPalID = "I-BW452GLLEP1G"

// read stores what a read of the first customer's whole state at Stripe found.
func (b bundle) read(t *testing.T, found ...subscription.Subscription) {
	t.Helper()
	store := subscriptionsOn(b.pool)
	read, err := store.Begin(t.Context(), "u_1", provider.Stripe)
	require.NoError(t, err)
	require.NoError(t, postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
		_, err := store.Store(t.Context(), tx, read, found)
		return err
	}))
}

// decide is what the workflow does with a binding.
func (b bundle) decide(t *testing.T, refusal string) {
	t.Helper()
	binding, err := subscription.GetBinding(t.Context(), b.pool, "u_1", payPalID)
	require.NoError(t, err)
	require.NoError(t, postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
		if refusal != "" {
			return subscription.Refuse(t.Context(), tx, binding, refusal)
		}
		_, err := subscription.Confirm(t.Context(), tx, binding)
		return err
	}))
}

func atStripe(id string, status subscription.Status) subscription.Subscription {
	end := time.Now().UTC().Add(30 * 24 * time.Hour).Truncate(time.Second)
	return subscription.Subscription{
		Provider: provider.Stripe, ID: id, Status: status, ProviderStatus: string(status), PriceIDs: []string{"price_pro"},
		CreatedAt: end.Add(-time.Hour), CurrentPeriodEnd: &end, CardBrand: "visa", CardLast4: "4242",
	}
}

func TestACustomerShowsTheSubscriptionThatCounts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	require.Equal(t, map[string]any{"status": "none", "cancel_at_period_end": false, "stale": false},
		b.call(t, "GET", "/v1/customers/u_1", appKey, "").body["subscription"])

	b.read(t, atStripe("sub_old", subscription.Canceled), atStripe("sub_1", subscription.Active))

	shown := b.call(t, "GET", "/v1/customers/u_1", appKey, "").body["subscription"].(map[string]any)
	require.Equal(t, "active", shown["status"])
	require.Equal(t, "sub_1", shown["subscription_id"])
	require.Equal(t, "price_pro", shown["price_id"])
	require.Equal(t, map[string]any{"brand": "visa", "last4": "4242"}, shown["payment_method"])
	require.Equal(t, shown["current_period_end"], shown["paid_until"])
	require.NotEmpty(t, shown["synced_at"])
	require.Equal(t, false, shown["stale"])

	list := b.call(t, "GET", "/v1/customers/u_1/subscriptions", appKey, "")
	require.Equal(t, http.StatusOK, list.status)
	require.Len(t, list.body["items"], 2)
	require.Equal(t, "sub_1", list.body["items"].([]any)[0].(map[string]any)["id"], "the one that counts is first")
	requireProblem(t, b.call(t, "GET", "/v1/customers/nobody/subscriptions", appKey, ""), 404, "path.id")
}

func TestWhatIsMarkedIsStale(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	b.read(t, atStripe("sub_1", subscription.Active))
	b.exec(t, `UPDATE subscription_syncs SET marks = marks + 1, marked_at = now()`)
	shown := b.call(t, "GET", "/v1/customers/u_1", appKey, "").body["subscription"].(map[string]any)
	require.Equal(t, true, shown["stale"])
	require.Equal(t, "active", shown["status"], "the last known state is shown all the same")
}

// A renewal whose webhook was lost: nobody said anything, and yet what is known cannot be the truth.
func TestAPeriodThatEndedWithoutNewsIsReadAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	b.exec(t, `UPDATE customers SET stripe_customer_id = 'cus_1', stripe_bound_at = now()`)
	ended := atStripe("sub_1", subscription.Active)
	*ended.CurrentPeriodEnd = time.Now().UTC().Add(-2 * time.Hour).Truncate(time.Second)
	b.read(t, ended)
	b.exec(t, `UPDATE subscription_syncs SET synced_at = now() - interval '1 day'`)

	shown := b.call(t, "GET", "/v1/customers/u_1", appKey, "").body["subscription"].(map[string]any)

	require.Equal(t, true, shown["stale"])
	require.Eventually(t, func() bool {
		return b.count(t, `SELECT count(*) FROM outbox WHERE message ->> 'workflow_id' = 'subscription-sync/u_1'`) == 1
	}, time.Minute, 5*time.Millisecond)
}

func TestSyncAnswersWithWhatWasRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	b.temporal.result = workflows.SyncResult{CustomerID: "u_1", Synced: true}
	b.temporal.update = func(context.Context) error {
		b.read(t, atStripe("sub_1", subscription.Active))
		return nil
	}
	r := b.call(t, "POST", "/v1/customers/u_1/sync?wait_ms=1000", appKey, "")
	require.Equal(t, http.StatusOK, r.status)
	require.Equal(t, "active", r.body["subscription"].(map[string]any)["status"])
	require.Equal(t, []string{"subscription-sync/u_1 sync_now"}, b.temporal.asked())
}

func TestSyncAnswersWithWhatWasKnownWhenTheProviderIsSlow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	b.read(t, atStripe("sub_1", subscription.Active))
	b.temporal.result = workflows.SyncResult{CustomerID: "u_1"}
	b.temporal.update = func(context.Context) error {
		b.exec(t, `UPDATE subscription_syncs SET marks = marks + 1, marked_at = now()`)
		return nil
	}
	r := b.call(t, "POST", "/v1/customers/u_1/sync?wait_ms=10", appKey, "")
	require.Equal(t, http.StatusAccepted, r.status)
	require.Equal(t, "active", r.body["subscription"].(map[string]any)["status"])
	require.Equal(t, true, r.body["subscription"].(map[string]any)["stale"])
}

func TestSyncWhileTemporalIsAwayGoesByTheOutbox(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	b.exec(t, `UPDATE customers SET stripe_customer_id = 'cus_1', stripe_bound_at = now()`)
	b.temporal.update = func(context.Context) error { return errors.New("away") }
	r := b.call(t, "POST", "/v1/customers/u_1/sync?wait_ms=10", appKey, "")
	require.Equal(t, http.StatusAccepted, r.status)
	require.Equal(t, true, r.body["subscription"].(map[string]any)["stale"])
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox WHERE message ->> 'workflow_id' = 'subscription-sync/u_1'`))
	requireProblem(t, b.call(t, "POST", "/v1/customers/u_1/sync?wait_ms=30001", appKey, ""), 422, "query.wait_ms")
	requireProblem(t, b.call(t, "POST", "/v1/customers/nobody/sync", appKey, ""), 404, "path.id")
}

func TestBindingAPayPalSubscription(t *testing.T) {
	t.Parallel()
	body := `{"subscription_id":"` + payPalID + `"}`
	cases := map[string]struct {
		told   func(t *testing.T, b bundle)
		status int
		field  string
	}{
		"it is theirs":                   {func(t *testing.T, b bundle) { t.Helper(); b.decide(t, "") }, 201, ""},
		"PayPal is slow":                 {func(*testing.T, bundle) {}, 202, ""},
		"it was made for somebody else":  {func(t *testing.T, b bundle) { t.Helper(); b.decide(t, subscription.RefusedCustomID) }, 422, "body.subscription_id"},
		"PayPal does not know it":        {func(t *testing.T, b bundle) { t.Helper(); b.decide(t, subscription.RefusedNotFound) }, 422, "body.subscription_id"},
		"somebody else had it meanwhile": {func(t *testing.T, b bundle) { t.Helper(); b.decide(t, subscription.RefusedTaken) }, 422, "body.subscription_id"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.create(t, "u_1")
			b.temporal.update = func(context.Context) error { c.told(t, b); return nil }
			r := b.call(t, "POST", "/v1/customers/u_1/paypal-subscriptions?wait_ms=100", appKey, body)
			if c.field != "" {
				requireProblem(t, r, c.status, c.field)
				return
			}
			require.Equal(t, c.status, r.status, r.text)
			require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox WHERE message ->> 'workflow_id' = 'subscription-sync/u_1'`), "whatever happens to this call, it is read")
			if c.status == http.StatusCreated {
				require.Equal(t, map[string]any{"subscription_ids": []any{payPalID}}, r.body["providers"].(map[string]any)["paypal"])
				require.Equal(t, 200, b.call(t, "POST", "/v1/customers/u_1/paypal-subscriptions", appKey, body).status, "again")
			}
		})
	}
}

func TestAPayPalSubscriptionBelongsToOneCustomer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	b.create(t, "u_2")
	body := `{"subscription_id":"` + payPalID + `"}`
	b.temporal.update = func(context.Context) error { b.decide(t, ""); return nil }
	require.Equal(t, 201, b.call(t, "POST", "/v1/customers/u_1/paypal-subscriptions", appKey, body).status)
	requireProblem(t, b.call(t, "POST", "/v1/customers/u_2/paypal-subscriptions", appKey, body), 409, "body.subscription_id")
	requireProblem(t, b.call(t, "POST", "/v1/ops/customers/u_2/paypal-subscriptions", operatorKey, body), 409, "body.subscription_id")
	require.Zero(t, b.count(t, `SELECT count(*) FROM operator_actions`))
}

func TestBindingsThatCannotBe(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	for _, id := range []string{"", "sub_1", "I-", "I-abc", "I-../x", `I-A\u0000`, "I-" + strings.Repeat("A", 49)} {
		r := b.call(t, "POST", "/v1/customers/u_1/paypal-subscriptions", appKey, `{"subscription_id":"`+id+`"}`)
		requireProblem(t, r, 422, "body.subscription_id")
	}
	requireProblem(t, b.call(t, "POST", "/v1/customers/nobody/paypal-subscriptions", appKey, `{"subscription_id":"I-A"}`), 404, "path.id")
	require.Zero(t, b.count(t, `SELECT count(*) FROM paypal_bindings`))
}

func TestAnOperatorVouchesForASubscription(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	path, body := "/v1/ops/customers/u_1/paypal-subscriptions?wait_ms=0", `{"subscription_id":"`+payPalID+`","note":"seen at PayPal"}`
	require.Equal(t, 403, b.call(t, "POST", path, appKey, body).status)
	require.Equal(t, 202, b.call(t, "POST", path, operatorKey, body).status)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM paypal_bindings WHERE operator <> ''`))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM operator_actions
		WHERE action = 'bind_paypal_subscription' AND subject = 'u_1/`+payPalID+`' AND note = 'seen at PayPal'`))
}

func TestAVerdictOnAReadGoesToItsWorkflow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	b.exec(t, `INSERT INTO steps (workflow_id, name, customer_id, provider, status, waits_for, blocked_at)
		VALUES ('subscription-sync/u_1', 'stripe_subscriptions', 'u_1', 'stripe', 'blocked', 'person', now())`)
	shown := b.call(t, "GET", "/v1/customers/u_1", appKey, "").body["subscription"].(map[string]any)
	require.Equal(t, "subscription-sync/u_1", shown["sync"].(map[string]any)["workflow_id"])
	b.temporal.update = func(context.Context) error { return nil }
	require.Equal(t, 200, b.call(t, "POST", "/v1/ops/customers/u_1/steps/stripe_subscriptions/retry", operatorKey, "").status)
	require.Equal(t, []string{"subscription-sync/u_1 retry"}, b.temporal.asked())
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM operator_actions WHERE subject = 'subscription-sync/u_1/stripe_subscriptions'`))
}

func TestAttentionHasEverythingInOneOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, id := range []string{"u_1", "u_2", "u_3"} {
		b.create(t, id)
	}
	b.exec(t, blockOnPerson+` WHERE customer_id = 'u_1'`)
	b.exec(t, `UPDATE steps SET blocked_at = '2026-01-02' WHERE customer_id = 'u_1'`)
	b.exec(t, `INSERT INTO subscription_states (customer_id, state, doubled_at) VALUES
		('u_2', '{"status":"active"}', '2026-01-01'), ('u_3', '{"status":"active"}', '2026-01-02')`)
	var seen []string
	for cursor := ""; ; {
		page := b.call(t, "GET", "/v1/ops/attention?limit=1&cursor="+cursor, operatorKey, "")
		require.Equal(t, http.StatusOK, page.status, page.text)
		for _, item := range page.body["items"].([]any) {
			seen = append(seen, item.(map[string]any)["kind"].(string)+" "+item.(map[string]any)["customer_id"].(string))
			require.NotEmpty(t, item.(map[string]any)["resolve"])
			require.NotEmpty(t, item.(map[string]any)["detail"])
		}
		next, more := page.body["next_cursor"].(string)
		if !more {
			break
		}
		cursor = next
	}
	require.Equal(t, []string{"double_subscription u_2", "double_subscription u_3", "step u_1"}, seen)
}
