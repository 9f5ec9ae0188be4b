package subscription_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/subscription"
)

const payPalID = "I-BW452GLLEP1G"

// bind asks for the subscription to be the customer's.
func (b bundle) bind(t *testing.T, customerID, operator string) subscription.Binding {
	t.Helper()
	binding, err := b.tryToBind(t.Context(), customerID, operator)
	require.NoError(t, err)
	return binding
}

func (b bundle) tryToBind(ctx context.Context, customerID, operator string) (binding subscription.Binding, err error) {
	err = postgres.InTx(ctx, b.pool, func(tx pgx.Tx) error {
		binding, err = b.store.Bind(ctx, tx, customerID, payPalID, operator)
		return err
	})
	return binding, err
}

func (b bundle) binding(t *testing.T, customerID string) subscription.Binding {
	t.Helper()
	binding, err := subscription.GetBinding(t.Context(), b.pool, customerID, payPalID)
	require.NoError(t, err)
	return binding
}

func (b bundle) confirm(t *testing.T, binding subscription.Binding) (bound bool) {
	t.Helper()
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) (err error) {
		bound, err = subscription.Confirm(ctx, tx, binding)
		return err
	})
	return bound
}

func (b bundle) refuse(t *testing.T, binding subscription.Binding, reason string) {
	t.Helper()
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return subscription.Refuse(ctx, tx, binding, reason) })
}

// toRead are the ids that a read of the customer walks.
func (b bundle) toRead(t *testing.T, customerID string) []string {
	t.Helper()
	bindings, err := subscription.ToRead(t.Context(), b.pool, customerID)
	require.NoError(t, err)
	walked := make([]string, len(bindings))
	for i, binding := range bindings {
		walked[i] = binding.SubscriptionID
	}
	return walked
}

// B10: what is asked for is read, and is the customer's once a read has confirmed it.
func TestABindingIsAskedForAndDecidedByARead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)

	asked := b.bind(t, ada, "")

	require.Equal(t, subscription.Binding{SubscriptionID: payPalID, CustomerID: ada, Status: subscription.Asked, AskedAt: asked.AskedAt}, asked)
	require.Equal(t, []provider.Name{provider.PayPal}, b.dirty(t, ada))
	require.Equal(t, []string{"subscription-sync/u_ada/paypal/0"}, b.messages(t))
	require.Equal(t, []string{payPalID}, b.toRead(t, ada))
	require.Empty(t, b.get(t, ada).PayPalIDs, "nothing is theirs yet")

	require.True(t, b.confirm(t, asked))

	require.Equal(t, subscription.Bound, b.binding(t, ada).Status)
	require.Equal(t, []string{payPalID}, b.get(t, ada).PayPalIDs)
	require.Equal(t, []string{payPalID}, b.toRead(t, ada))
}

func TestARepeatedBindingStaysAsItIsAndIsReadAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	b.confirm(t, b.bind(t, ada, ""))
	b.sync(t, ada, provider.PayPal, atPayPal(payPalID, subscription.Active))
	before := b.binding(t, ada)

	require.Equal(t, before, b.bind(t, ada, ""))

	require.Equal(t, []provider.Name{provider.PayPal}, b.dirty(t, ada))
	b.refuse(t, before, subscription.RefusedNotFound)
	require.Equal(t, before, b.binding(t, ada), "what is bound is not refused")
	for range 2 {
		require.True(t, b.confirm(t, before), "every read confirms it")
	}
	require.Equal(t, before, b.binding(t, ada))
}

func TestARefusedBindingIsReadAgainOnceItIsAskedForAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	b.refuse(t, b.bind(t, ada, ""), subscription.RefusedNotFound)

	refused := b.binding(t, ada)
	require.Equal(t, subscription.Refused, refused.Status)
	require.Equal(t, subscription.RefusedNotFound, refused.Reason)
	require.Empty(t, b.toRead(t, ada))

	again := b.bind(t, ada, "")
	require.Equal(t, subscription.Asked, again.Status)
	require.Empty(t, again.Reason)
	require.True(t, again.AskedAt.After(refused.AskedAt))
	require.Equal(t, []string{payPalID}, b.toRead(t, ada))
	require.True(t, b.confirm(t, again))
	require.Empty(t, b.binding(t, ada).Reason)
}

// A read that is slow has looked at what was asked before. Somebody who asks meanwhile, because
// PayPal has the subscription by now or because an operator vouches for it, is answered by the next.
func TestARefusalDoesNotAnswerWhoAsksMeanwhile(t *testing.T) {
	t.Parallel()
	for name, operator := range map[string]string{"the app asks again": "", "an operator vouches": "grace@ops"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.signUp(t, ada)
			seen := b.bind(t, ada, "")
			again := b.bind(t, ada, operator)

			b.refuse(t, seen, subscription.RefusedCustomID)

			require.Equal(t, again, b.binding(t, ada))
			require.Equal(t, subscription.Asked, again.Status)
			require.Equal(t, []string{payPalID}, b.toRead(t, ada))
			b.refuse(t, again, subscription.RefusedCustomID)
			require.Equal(t, subscription.Refused, b.binding(t, ada).Status)
		})
	}
}

func TestWhoVouchedIsKept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	b.refuse(t, b.bind(t, ada, ""), subscription.RefusedCustomID)
	require.Equal(t, "grace@ops", b.bind(t, ada, "grace@ops").Operator)
	require.Equal(t, "grace@ops", b.bind(t, ada, "").Operator, "the app, asking too, takes nothing back")
	require.NoError(t, subscription.RecordVouching(t.Context(), b.pool, "grace@ops", ada, payPalID, "ticket 12"))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM operator_actions
		WHERE actor = 'grace@ops' AND action = 'bind_paypal_subscription' AND subject = 'u_ada/I-BW452GLLEP1G' AND note = 'ticket 12'`))
}

func TestASubscriptionBelongsToOneCustomer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada, grace)
	adas, graces := b.bind(t, ada, ""), b.bind(t, grace, "")
	require.True(t, b.confirm(t, adas), "anybody may ask")

	require.False(t, b.confirm(t, graces))
	require.Equal(t, subscription.Asked, b.binding(t, grace).Status, "it is for the caller to refuse")
	b.refuse(t, graces, subscription.RefusedTaken)

	for _, operator := range []string{"", "grace@ops"} {
		_, err := b.tryToBind(t.Context(), grace, operator)
		require.ErrorIs(t, err, subscription.ErrTaken)
	}
	require.Equal(t, subscription.Refused, b.binding(t, grace).Status)
	require.Equal(t, subscription.Bound, b.bind(t, ada, "").Status)
	require.Equal(t, []string{payPalID}, b.get(t, ada).PayPalIDs)
}

// Two reads decide at the same moment. One of them fails, and finds it taken when it is repeated.
func TestTwoCustomersRaceForOneSubscription(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada, grace)
	adas, graces := b.bind(t, ada, ""), b.bind(t, grace, "grace@ops")
	first, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = first.Rollback(t.Context()) }() // a test that fails must not hold the pool
	bound, err := subscription.Confirm(t.Context(), first, adas)
	require.NoError(t, err)
	require.True(t, bound)
	second := make(chan error, 1)
	go func() {
		second <- postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
			_, err := subscription.Confirm(t.Context(), tx, graces)
			return err
		})
	}()
	require.Eventually(t, func() bool {
		return b.count(t, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, first.Commit(t.Context()))

	require.ErrorContains(t, <-second, "somebody else was bound at this moment")

	require.Equal(t, subscription.Asked, b.binding(t, grace).Status)
	require.False(t, b.confirm(t, graces))
	require.Equal(t, []string{payPalID}, b.get(t, ada).PayPalIDs)
	require.Empty(t, b.get(t, grace).PayPalIDs)
}

func TestOfManyWhoRaceOneIsBound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	all := []string{"u_1", "u_2", "u_3", "u_4", "u_5", "u_6"}
	b.signUp(t, all...)
	var racing sync.WaitGroup
	for _, id := range all {
		racing.Go(func() {
			if err := b.bindUntilDecided(t.Context(), id); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		})
	}
	racing.Wait()
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM paypal_bindings WHERE status = 'bound'`))
	require.Zero(t, b.count(t, `SELECT count(*) FROM paypal_bindings WHERE status = 'asked'`))
}

// bindUntilDecided asks, and decides as a read does, again if somebody else was decided on at the
// same moment.
func (b bundle) bindUntilDecided(ctx context.Context, customerID string) error {
	binding, err := b.tryToBind(ctx, customerID, "")
	if errors.Is(err, subscription.ErrTaken) {
		return nil
	}
	if err != nil {
		return err
	}
	const attempts = 3 // the first may lose the race, and then it is over
	for range attempts {
		err = postgres.InTx(ctx, b.pool, func(tx pgx.Tx) error {
			bound, err := subscription.Confirm(ctx, tx, binding)
			if err != nil || bound {
				return err
			}
			return subscription.Refuse(ctx, tx, binding, subscription.RefusedTaken)
		})
		if err == nil {
			return nil
		}
	}
	return err
}

func TestWhatAReadWalksIsInTheOrderOfAsking(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada, grace)
	b.exec(t, `INSERT INTO paypal_bindings (subscription_id, customer_id, status, asked_at) VALUES
		('I-C', $1, 'asked', '2026-01-01Z'), ('I-B', $1, 'bound', '2026-01-02Z'), ('I-A', $1, 'asked', '2026-01-02Z'),
		('I-D', $1, 'refused', '2026-01-01Z'), ('I-E', $2, 'asked', '2026-01-01Z')`, ada, grace)
	require.Equal(t, []string{"I-C", "I-A", "I-B"}, b.toRead(t, ada))
	require.Empty(t, b.toRead(t, "u_nobody"))
}

func TestABindingThatNobodyAskedForIsAnError(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	_, err := subscription.GetBinding(t.Context(), b.pool, ada, payPalID)
	require.ErrorIs(t, err, pgx.ErrNoRows)
	require.False(t, b.confirm(t, subscription.Binding{CustomerID: ada, SubscriptionID: payPalID}))
}

// Events that came before anybody knew whom they were about are the customer's once that is known.
func TestEventsOfNobodyAreAdopted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada, grace)
	b.exec(t, `INSERT INTO webhook_events (provider, event_id, type, subject, effect, customer_id, payload) VALUES
		('paypal', 'WH-1', 'x', $1, 'unknown', NULL, ''), ('paypal', 'WH-2', 'x', $1, 'unknown', NULL, ''),
		('paypal', 'WH-3', 'x', 'I-OTHER', 'unknown', NULL, ''), ('paypal', 'WH-4', 'x', $1, 'ignored', NULL, ''),
		('paypal', 'WH-5', 'x', $1, 'sync', $2, ''), ('stripe', 'WH-1', 'x', $1, 'unknown', NULL, '')`, payPalID, grace)
	require.True(t, b.confirm(t, b.bind(t, ada, "")))
	require.Equal(t, 2, b.count(t, `SELECT count(*) FROM webhook_events WHERE customer_id = $1 AND effect = 'sync' AND event_id IN ('WH-1', 'WH-2')`, ada))
	require.Equal(t, 2, b.count(t, `SELECT count(*) FROM webhook_events WHERE effect = 'unknown' AND customer_id IS NULL`))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM webhook_events WHERE customer_id = $1`, grace))

	for _, want := range []int64{1, 0} {
		b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
			adopted, err := subscription.Adopt(ctx, tx, ada, provider.PayPal, "I-OTHER")
			require.Equal(t, want, adopted, "each is adopted once")
			return err
		})
	}
}
