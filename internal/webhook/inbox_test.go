package webhook_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/internal/webhook"
)

func about(id, subject string) webhook.Event {
	return webhook.Event{
		Provider: provider.Stripe, ID: id, Type: "invoice.paid", Subject: subject, About: webhook.Subscriptions, Payload: []byte("{}"),
	}
}

func TestAnEventMarksItsCustomerOnce(t *testing.T) {
	t.Parallel()
	o := setupInbox(t)
	o.customer(t, "u_1", "cus_1")

	require.Equal(t, webhook.Sync, o.put(t, about("evt_1", "cus_1")))
	require.Equal(t, webhook.Duplicate, o.put(t, about("evt_1", "cus_1")))
	require.Equal(t, webhook.Sync, o.put(t, about("evt_2", "cus_1")))

	require.Equal(t, 2, o.count(t, `SELECT marks FROM subscription_syncs WHERE customer_id = 'u_1' AND provider = 'stripe'`))
	require.Equal(t, 1, o.count(t, `SELECT count(*) FROM outbox`), "whoever is woken once reads for both")
	require.Equal(t, 2, o.count(t, `SELECT count(*) FROM webhook_events WHERE customer_id = 'u_1' AND effect = 'sync'`))
}

func TestEventsOfTwoProvidersWithOneIDAreTwo(t *testing.T) {
	t.Parallel()
	o := setupInbox(t)
	atPayPal := about("same", "I-1")
	atPayPal.Provider = provider.PayPal

	require.Equal(t, webhook.Unknown, o.put(t, about("same", "cus_1")))
	require.Equal(t, webhook.Unknown, o.put(t, atPayPal))
}

func TestManyEventsAtOnceAreStoredTogether(t *testing.T) {
	t.Parallel()
	o := setupInbox(t)
	const customers, perCustomer = 20, 30
	for c := range customers {
		o.customer(t, fmt.Sprintf("u_%d", c), fmt.Sprintf("cus_%d", c))
	}
	effects := make(chan webhook.Effect, 2*customers*perCustomer)
	var senders sync.WaitGroup
	for n := range customers * perCustomer {
		for range 2 { // each comes twice
			senders.Go(func() {
				effect, err := o.Put(t.Context(), about(fmt.Sprintf("evt_%d", n), fmt.Sprintf("cus_%d", n%customers)))
				if err == nil {
					effects <- effect
				}
			})
		}
	}
	senders.Wait()
	close(effects)

	seen := map[webhook.Effect]int{}
	for effect := range effects {
		seen[effect]++
	}
	require.Equal(t, map[webhook.Effect]int{webhook.Sync: customers * perCustomer, webhook.Duplicate: customers * perCustomer}, seen)
	require.Equal(t, customers, o.count(t, `SELECT count(*) FROM subscription_syncs WHERE marks BETWEEN 1 AND $1`, perCustomer))
	require.Equal(t, customers, o.count(t, `SELECT count(*) FROM outbox`))
	commits := o.count(t, `SELECT count(DISTINCT xmin::text) FROM webhook_events`)
	require.Less(t, commits, customers*perCustomer, "several events share a commit")
}

func TestOneEventThatCannotBeStoredDoesNotTakeOthersWithIt(t *testing.T) {
	t.Parallel()
	o := setupInbox(t)
	o.exec(t, `ALTER TABLE webhook_events ADD CHECK (event_id <> 'evt_poison')`)
	errs := make(chan error, 50)
	var senders sync.WaitGroup
	release := o.holdUp(t) // so that they wait for each other, and are stored together
	for n := range 50 {
		senders.Go(func() {
			id := fmt.Sprintf("evt_%d", n)
			if n == 7 {
				id = "evt_poison"
			}
			_, err := o.Put(t.Context(), about(id, "cus_1"))
			errs <- err
		})
	}
	release()
	senders.Wait()
	close(errs)

	failed := 0
	for err := range errs {
		if err != nil {
			failed++
			require.ErrorContains(t, err, "webhook inbox: store 1 events of stripe")
		}
	}
	require.Equal(t, 1, failed)
	require.Equal(t, 49, o.count(t, `SELECT count(*) FROM webhook_events`))
}

// holdUp lets no event be stored until the result is called.
func (o office) holdUp(t *testing.T) (release func()) {
	t.Helper()
	tx, err := o.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `LOCK TABLE webhook_events IN SHARE MODE`)
	require.NoError(t, err)
	return func() { require.NoError(t, tx.Rollback(context.WithoutCancel(t.Context()))) }
}

func TestASenderWhoLeavesIsNotToldThatItWasStored(t *testing.T) {
	t.Parallel()
	o := setupInbox(t)
	release := o.holdUp(t)
	var others sync.WaitGroup
	for n := range 2 { // every turn is taken
		others.Go(func() { _, _ = o.Put(t.Context(), about(fmt.Sprintf("evt_%d", n), "cus_1")) })
	}
	require.Eventually(t, func() bool {
		return o.count(t, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == 2
	}, 20*time.Second, 5*time.Millisecond)
	ctx, leave := context.WithCancel(t.Context())
	leave()

	_, err := o.Put(ctx, about("evt_3", "cus_1"))

	require.ErrorIs(t, err, context.Canceled)
	release()
	others.Wait()
	require.Equal(t, webhook.Unknown, o.put(t, about("evt_4", "cus_1")))
	require.Equal(t, 4, o.count(t, `SELECT count(*) FROM webhook_events`), "the next turn stores what was left")
}

func TestStrangersAreKeptAndAdopted(t *testing.T) {
	t.Parallel()
	o := setupInbox(t)
	o.customer(t, "u_1", "")
	require.Equal(t, webhook.Unknown, o.put(t, about("evt_1", "cus_new")))
	require.Equal(t, webhook.Unknown, o.put(t, about("evt_2", "cus_new")))

	var missed int64
	require.NoError(t, postgres.InTx(t.Context(), o.pool, func(tx pgx.Tx) (err error) {
		if _, err := tx.Exec(t.Context(), `UPDATE customers SET stripe_customer_id = 'cus_new', stripe_bound_at = now() WHERE id = 'u_1'`); err != nil {
			return err
		}
		missed, err = subscription.Adopt(t.Context(), tx, "u_1", provider.Stripe, "cus_new")
		return err
	}))

	require.EqualValues(t, 2, missed)
	require.Equal(t, webhook.Sync, o.put(t, about("evt_3", "cus_new")))
	require.Equal(t, 3, o.count(t, `SELECT count(*) FROM webhook_events WHERE customer_id = 'u_1' AND effect = 'sync'`))
}

func TestAnEventThatComesWhileItsSubjectIsBoundIsNotLost(t *testing.T) {
	t.Parallel()
	o := setupInbox(t)
	o.customer(t, "u_1", "")
	effect := make(chan webhook.Effect, 1)

	require.NoError(t, postgres.InTx(t.Context(), o.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `UPDATE customers SET stripe_customer_id = 'cus_1', stripe_bound_at = now() WHERE id = 'u_1'`); err != nil {
			return err
		}
		missed, err := subscription.Adopt(t.Context(), tx, "u_1", provider.Stripe, "cus_1")
		require.Zero(t, missed)
		go func() {
			stored, _ := o.Put(context.WithoutCancel(t.Context()), about("evt_1", "cus_1"))
			effect <- stored
		}()
		require.Eventually(t, func() bool {
			return o.count(t, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
				AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`) == 1
		}, 4*time.Second, time.Millisecond, "the inbox waits for the binding's end")
		return err
	}))

	require.Equal(t, webhook.Sync, <-effect)
	require.Equal(t, 1, o.count(t, `SELECT marks FROM subscription_syncs WHERE customer_id = 'u_1'`))
}

func TestPayPalSubscriptionsAreReadForWhoHasThemAndWhoAsks(t *testing.T) {
	t.Parallel()
	o := setupInbox(t)
	for _, id := range []string{"u_1", "u_2", "u_3"} {
		o.customer(t, id, "")
	}
	o.exec(t, `INSERT INTO paypal_bindings (subscription_id, customer_id, status)
		VALUES ('I-1', 'u_1', 'asked'), ('I-1', 'u_2', 'bound'), ('I-1', 'u_3', 'refused')`)
	e := about("WH-1", "I-1")
	e.Provider = provider.PayPal

	require.Equal(t, webhook.Sync, o.put(t, e))

	require.Equal(t, 1, o.count(t, `SELECT count(*) FROM webhook_events WHERE customer_id = 'u_2'`))
	require.Equal(t, 2, o.count(t, `SELECT count(*) FROM subscription_syncs WHERE provider = 'paypal' AND customer_id IN ('u_1', 'u_2')`))
	require.Equal(t, 2, o.count(t, `SELECT count(*) FROM subscription_syncs`))
}

func TestStrangersAreShownWhenTheyPersist(t *testing.T) {
	t.Parallel()
	o := setupInbox(t)
	for i, subject := range []string{"cus_a", "cus_a", "cus_b", "cus_new"} {
		o.put(t, about(fmt.Sprintf("evt_%d", i), subject))
	}
	o.put(t, about("evt_none", ""))
	o.exec(t, `UPDATE webhook_events SET received_at = now() - interval '1 hour' WHERE subject IN ('cus_a', 'cus_b')`)

	all, err := webhook.ListStrangers(t.Context(), o.pool, time.Time{}, "", 10)
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, []string{"stripe/cus_a", "stripe/cus_b"}, []string{all[0].ID(), all[1].ID()})
	require.Equal(t, 2, all[0].Events)
	rest, err := webhook.ListStrangers(t.Context(), o.pool, all[0].Since, all[0].ID(), 10)
	require.NoError(t, err)
	require.Equal(t, all[1:], rest)
}

func TestAStrangerWhoIsDismissedStaysDismissed(t *testing.T) {
	t.Parallel()
	o := setupInbox(t)
	o.put(t, about("evt_1", "cus_1"))
	dismiss := func() (done bool) {
		require.NoError(t, postgres.InTx(t.Context(), o.pool, func(tx pgx.Tx) (err error) {
			done, err = webhook.Dismiss(t.Context(), tx, provider.Stripe, "cus_1", "olga", "the old shop's")
			return err
		}))
		return done
	}

	require.True(t, dismiss())
	require.Equal(t, webhook.Dismissed, o.put(t, about("evt_2", "cus_1")))
	require.False(t, dismiss(), "there is nothing more to dismiss")

	require.Equal(t, 1, o.count(t, `SELECT count(*) FROM operator_actions
		WHERE actor = 'olga' AND action = 'dismiss_unknown_subject' AND subject = 'stripe/cus_1' AND note = 'the old shop''s'`))
	// Were it somebody's after all, its events would be.
	require.NoError(t, postgres.InTx(t.Context(), o.pool, func(tx pgx.Tx) error {
		missed, err := subscription.Adopt(t.Context(), tx, "u_1", provider.Stripe, "cus_1")
		require.EqualValues(t, 2, missed)
		return err
	}))
}

func TestOldEventsAreDeleted(t *testing.T) {
	t.Parallel()
	o := setupInbox(t)
	for i := range 5 {
		o.put(t, about(fmt.Sprintf("evt_%d", i), "cus_1"))
	}
	o.exec(t, `UPDATE webhook_events SET received_at = now() - interval '30 days 1 minute' WHERE event_id IN ('evt_0', 'evt_1', 'evt_2')`)
	const retention = 30 * 24 * time.Hour

	for _, want := range []int64{2, 1, 0} {
		deleted, err := webhook.DeleteOlder(t.Context(), o.pool, retention, 2)
		require.NoError(t, err)
		require.Equal(t, want, deleted)
	}
	require.Equal(t, 2, o.count(t, `SELECT count(*) FROM webhook_events`))
}

// payee makes a payee with a connected account, and a payout that Stripe knows.
func (o office) payee(t *testing.T, id, account, payoutID, atStripe string) {
	t.Helper()
	o.customer(t, id, "")
	o.exec(t, `INSERT INTO payees (id, email, country, currency, rail, stripe_account_id, schedule, content_hash)
		VALUES ($1, 'x@example.com', 'US', 'usd', 'stripe', $2, 'weekly', '')`, id, account)
	o.exec(t, `INSERT INTO payout_runs (date, cause) VALUES ('2026-11-20', 'schedule')`)
	o.exec(t, `INSERT INTO payouts (id, payee_id, kind, run_date, method, currency, gross, fee, net, period_end, due_date, stripe_account_id, destination_id)
		VALUES ($1, $2, 'scheduled', '2026-11-20', 'stripe_standard', 'usd', 100, 0, 100, '2026-11-13', '2026-11-20', $3, 'ba_1')`, payoutID, id, account)
	o.exec(t, `UPDATE payouts SET state = 'sending', transfer_id = 'tr_1', provider_payout_id = $2 WHERE id = $1`, payoutID, atStripe)
}

func TestEventsOfPayoutsAndAccountsHaveThemLookedAt(t *testing.T) {
	t.Parallel()
	o := setupInbox(t)
	const payoutID = "po_000000000000000000000001"
	o.payee(t, "u_1", "acct_1", payoutID, "po_1")
	ofPayout, ofStranger := about("evt_1", "po_1"), about("evt_2", "po_of_the_seller")
	ofPayout.About, ofStranger.About = webhook.Payouts, webhook.Payouts
	ofAccount := about("evt_3", "acct_1")
	ofAccount.About = webhook.Accounts

	require.Equal(t, webhook.Sync, o.put(t, ofPayout))
	require.Equal(t, webhook.Duplicate, o.put(t, ofPayout))
	require.Equal(t, webhook.Unknown, o.put(t, ofStranger), "a payout on the account that is not ours is for a person")
	require.Equal(t, webhook.Sync, o.put(t, ofAccount))

	require.Equal(t, 1, o.count(t, `SELECT count(*) FROM outbox WHERE message ->> 'workflow_id' = 'payout/' || $1 AND message ->> 'signal' = 'provider_event'`, payoutID))
	require.Equal(t, 1, o.count(t, `SELECT count(*) FROM outbox WHERE message ->> 'workflow_id' = 'account-check/u_1'`))
	require.Equal(t, 2, o.count(t, `SELECT count(*) FROM webhook_events WHERE customer_id = 'u_1'`))
	require.Equal(t, 0, o.count(t, `SELECT count(*) FROM subscription_syncs`))
}
