package subscription_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
)

// B8: a burst costs one message, and each read that begins makes room for one more.
func TestMarksBeforeAReadBeginsAreOneMessage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	for range 3 {
		b.mark(t, provider.Stripe, subscription.ByEvent, ada)
	}
	require.Equal(t, []string{"subscription-sync/u_ada/stripe/0"}, b.messages(t))

	read := b.begin(t, ada, provider.Stripe)
	require.EqualValues(t, 3, read.Covers)
	for range 3 {
		b.mark(t, provider.Stripe, subscription.ByRequest, ada)
	}
	b.keep(t, read)
	b.mark(t, provider.Stripe, subscription.ByDrift, ada)
	require.Equal(t, []string{"subscription-sync/u_ada/stripe/0", "subscription-sync/u_ada/stripe/1"}, b.messages(t))

	b.mark(t, provider.PayPal, subscription.ByEvent, ada)
	require.Contains(t, b.messages(t), "subscription-sync/u_ada/paypal/0", "each provider is read by itself")
	require.Len(t, b.messages(t), 3)
}

func TestManyAreMarkedAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada, grace)
	b.mark(t, provider.Stripe, subscription.ByEvent)
	b.mark(t, provider.Stripe, subscription.ByEvent, "u_nobody")
	require.Empty(t, b.messages(t))

	b.mark(t, provider.Stripe, subscription.ByEvent, grace, "u_nobody", ada, grace)

	require.ElementsMatch(t, []string{"subscription-sync/u_ada/stripe/0", "subscription-sync/u_grace/stripe/0"}, b.messages(t))
	require.Equal(t, 2, b.count(t, `SELECT count(*) FROM subscription_syncs WHERE marks = 1 AND fresh = 1`))
}

// The mark and its message are one: whoever could not finish has marked nobody, and the next does.
func TestAMarkThatIsRolledBackWakesNobody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	crash := errors.New("the process dies")
	require.ErrorIs(t, postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
		require.NoError(t, b.store.Mark(t.Context(), tx, provider.Stripe, subscription.ByEvent, ada))
		return crash
	}), crash)
	require.Empty(t, b.messages(t))
	require.Empty(t, b.dirty(t, ada))
	b.mark(t, provider.Stripe, subscription.ByEvent, ada)
	require.Len(t, b.messages(t), 1)
}

// Whoever marks many locks their rows in one order, whatever order they were named in.
func TestThoseWhoMarkTheSameAtOnceDoNotLockEachOtherOut(t *testing.T) {
	t.Parallel()
	const callers, rounds = 8, 10
	b := setup(t)
	all := []string{"u_b", "u_B", "u_a", "u_10", "u_9", "u_ä"}
	b.signUp(t, all...)
	backwards := slices.Clone(all)
	slices.Reverse(backwards)
	var marking sync.WaitGroup
	for caller := range callers {
		named := [][]string{all, backwards}[caller%2]
		marking.Go(func() {
			for range rounds {
				err := postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
					return b.store.Mark(t.Context(), tx, provider.Stripe, subscription.ByEvent, named...)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	marking.Wait()
	require.Len(t, b.messages(t), len(all), "the first of all who came was the one")
	require.Equal(t, len(all), b.count(t, `SELECT count(*) FROM subscription_syncs WHERE marks = $1 AND fresh = $1`, callers*rounds))
}

func TestAReadWaitsForAMarkThatIsBeingMade(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	b.sync(t, ada, provider.Stripe)
	marking, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = marking.Rollback(t.Context()) }() // a test that fails must not hold the pool
	require.NoError(t, b.store.Mark(t.Context(), marking, provider.Stripe, subscription.ByEvent, ada))
	begun := make(chan subscription.Read, 1)
	go func() {
		r, err := b.store.Begin(t.Context(), ada, provider.Stripe)
		if err != nil {
			t.Error(err)
		}
		begun <- r
	}()
	require.Eventually(t, func() bool {
		return b.count(t, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, marking.Commit(t.Context()))
	require.EqualValues(t, 1, (<-begun).Covers, "what it finds answers the mark")
}

func TestACustomerIsMarkedWhereItMayHaveSubscriptions(t *testing.T) {
	t.Parallel()
	stripes := `UPDATE customers SET stripe_customer_id = 'cus_1', stripe_bound_at = now()`
	binding := func(status string) string {
		return `INSERT INTO paypal_bindings (subscription_id, customer_id, status) VALUES ('I-A', '` + ada + `', '` + status + `')`
	}
	cases := map[string]struct {
		given []string
		want  []provider.Name
	}{
		"nowhere yet":                       {nil, []provider.Name{}},
		"a Stripe customer":                 {[]string{stripes}, []provider.Name{provider.Stripe}},
		"a Stripe customer to be confirmed": {[]string{`UPDATE customers SET stripe_customer_id = 'cus_1'`}, []provider.Name{}},
		"a PayPal subscription":             {[]string{binding("bound")}, []provider.Name{provider.PayPal}},
		"one that was asked for":            {[]string{binding("asked")}, []provider.Name{provider.PayPal}},
		"one that was refused":              {[]string{binding("refused")}, []provider.Name{}},
		"both":                              {[]string{stripes, binding("bound")}, []provider.Name{provider.Stripe, provider.PayPal}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.signUp(t, ada, grace)
			for _, sql := range c.given {
				b.exec(t, sql+map[bool]string{true: ` WHERE id = '` + ada + `'`}[sql[:6] == "UPDATE"])
			}
			b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
				return b.store.Remark(ctx, tx, ada, subscription.ByRequest)
			})
			require.Equal(t, c.want, b.dirty(t, ada))
			require.Empty(t, b.messages(t), "whoever marks again is about to read")

			for _, p := range c.want {
				b.sync(t, ada, p)
			}
			b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
				return b.store.MarkAll(ctx, tx, ada, subscription.ByRequest)
			})
			require.Equal(t, c.want, b.dirty(t, ada))
			require.Len(t, b.messages(t), len(c.want))
			require.Empty(t, b.dirty(t, grace))
		})
	}
}

// Whoever polls waits for a person at PayPal, which costs Stripe no read.
func TestAPollMarksPayPalAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	b.exec(t, `UPDATE customers SET stripe_customer_id = 'cus_1', stripe_bound_at = now()`)
	b.exec(t, `INSERT INTO paypal_bindings (subscription_id, customer_id) VALUES ('I-A', $1)`, ada)
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.Remark(ctx, tx, ada, subscription.ByPoll) })
	require.Equal(t, []provider.Name{provider.PayPal}, b.dirty(t, ada))
}

func TestASkippedReadIsNotWantedAnyMore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada, grace)
	b.mark(t, provider.Stripe, subscription.ByEvent, ada, grace)
	b.mark(t, provider.PayPal, subscription.ByEvent, ada)

	for _, other := range []struct{ workflowID, stepName string }{
		{"onboarding/" + ada, "stripe_subscriptions"},
		{ada, "stripe_subscriptions"},
		{subscription.WorkflowID(ada), "stripe_customer"},
		{subscription.WorkflowID("u_nobody"), "stripe_subscriptions"},
	} {
		require.NoError(t, subscription.DropMarks(t.Context(), b.pool, other.workflowID, other.stepName))
		require.Len(t, b.dirty(t, ada), 2)
	}
	require.NoError(t, subscription.DropMarks(t.Context(), b.pool, subscription.WorkflowID(ada), "stripe_subscriptions"))

	require.Equal(t, []provider.Name{provider.PayPal}, b.dirty(t, ada))
	require.Equal(t, []provider.Name{provider.Stripe}, b.dirty(t, grace))
	require.Nil(t, b.get(t, ada).SyncedAt, "nothing was read")
}

// Whoever is marked after a skip has somebody woken again, though no read has begun since the last
// message: a provider that is known to be down is not read.
func TestTheNextMarkAfterASkipWakesAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	for n := range 3 {
		b.mark(t, provider.Stripe, subscription.ByEvent, ada)
		b.mark(t, provider.Stripe, subscription.ByEvent, ada)
		require.Len(t, b.messages(t), n+1)
		require.NoError(t, subscription.DropMarks(t.Context(), b.pool, subscription.WorkflowID(ada), "stripe_subscriptions"))
	}
}

// An attempt that was given up may be stored after the step was skipped. What it found counts, and
// what the person dropped stays dropped.
func TestAReadThatEndsAfterASkipAsksForNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	b.mark(t, provider.Stripe, subscription.ByEvent, ada)
	read := b.begin(t, ada, provider.Stripe)
	b.mark(t, provider.Stripe, subscription.ByEvent, ada)
	require.NoError(t, subscription.DropMarks(t.Context(), b.pool, subscription.WorkflowID(ada), "stripe_subscriptions"))

	require.Equal(t, subscription.Stored{}, b.keep(t, read, atStripe("sub_a", subscription.Active)))
	require.Equal(t, subscription.Active, b.state(t).Status)
	require.Empty(t, b.dirty(t, ada))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM subscription_syncs WHERE marked_at IS NULL`))
}

func TestTheBacklogIsWhatIsToBeRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada, grace)
	backlogs := func() []subscription.Backlog {
		all, err := subscription.Backlogs(t.Context(), b.pool)
		require.NoError(t, err)
		return all
	}
	require.Empty(t, backlogs())
	b.mark(t, provider.Stripe, subscription.ByEvent, ada, grace)
	b.mark(t, provider.PayPal, subscription.ByEvent, grace)
	b.exec(t, `UPDATE subscription_syncs SET marked_at = CASE customer_id WHEN $1 THEN timestamptz '2026-01-01Z' ELSE '2026-01-02Z' END`, ada)
	b.mark(t, provider.Stripe, subscription.ByEvent, ada) // which is not when it began to wait

	first, second := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	require.Equal(t, []subscription.Backlog{{provider.PayPal, 1, second}, {provider.Stripe, 2, first}}, backlogs())
	b.sync(t, ada, provider.Stripe)
	b.sync(t, grace, provider.PayPal)
	require.Equal(t, []subscription.Backlog{{provider.Stripe, 1, second}}, backlogs())
}

// The sweep finds whom nobody reads, and leaves those alone who wait for their time or for a person.
func TestWhoIsNeglected(t *testing.T) {
	t.Parallel()
	const quiet, old, recent = time.Hour, "2 hours", "30 minutes"
	open := func(status, more string) string {
		return `INSERT INTO steps (workflow_id, name, customer_id, provider, status, updated_at) VALUES
			('subscription-sync/` + ada + `', 'stripe_subscriptions', '` + ada + `', 'stripe', 'pending', now() - interval '2 hours');
			UPDATE steps SET status = '` + status + `'` + more
	}
	cases := map[string]struct {
		marked    string
		given     string
		neglected bool
	}{
		"marked long ago, and no step":       {old, ``, true},
		"marked just now":                    {recent, ``, false},
		"its step has not been touched":      {old, open("pending", ``), true},
		"its step was touched just now":      {old, open("pending", `, updated_at = now()`), false},
		"its step will be tried by itself":   {old, open("retrying", `, next_attempt_at = now() + interval '1 hour'`), false},
		"its step was to be tried long ago":  {old, open("retrying", `, next_attempt_at = now() - interval '90 minutes'`), true},
		"it waits for a person":              {old, open("blocked", `, waits_for = 'person', blocked_at = now() - interval '1 day'`), false},
		"it waits for a provider long since": {old, open("blocked", `, waits_for = 'provider', blocked_at = now() - interval '1 day'`), true},
		"its step is over":                   {old, open("done", `, updated_at = now()`), true},
		"its step was skipped":               {old, open("skipped", `, updated_at = now()`), true},
		"another provider's waits":           {old, open("blocked", `, provider = 'paypal', waits_for = 'person', blocked_at = now()`), true},
		"another workflow's waits":           {old, open("blocked", `, workflow_id = 'onboarding/x', waits_for = 'person', blocked_at = now()`), true},
		"nothing is marked":                  {old, `UPDATE subscription_syncs SET covered = marks`, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.signUp(t, ada)
			b.mark(t, provider.Stripe, subscription.ByEvent, ada)
			b.exec(t, `UPDATE subscription_syncs SET marked_at = now() - $1::text::interval`, c.marked)
			if c.given != "" {
				b.exec(t, c.given)
			}
			found, err := subscription.ListNeglected(t.Context(), b.pool, quiet, "", 10)
			require.NoError(t, err)
			require.Equal(t, c.neglected, slices.Equal(found, []string{ada}))
			require.Equal(t, !c.neglected, len(found) == 0)
		})
	}
}

func TestTheNeglectedComeInPagesAndOnceEach(t *testing.T) {
	t.Parallel()
	b := setup(t)
	all := []string{"u_1", "u_2", "u_3"}
	b.signUp(t, all...)
	for _, p := range []provider.Name{provider.Stripe, provider.PayPal} {
		b.mark(t, p, subscription.ByEvent, all...)
	}
	b.exec(t, `UPDATE subscription_syncs SET marked_at = now() - interval '2 hours'`)
	var seen []string
	for after := ""; ; after = seen[len(seen)-1] {
		page, err := subscription.ListNeglected(t.Context(), b.pool, time.Hour, after, 2)
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		seen = append(seen, page...)
	}
	require.Equal(t, all, seen)
}

// A step that opens while its customer waits is what a read looks like from outside.
func TestAReadThatBeginsIsNotNeglected(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	b.mark(t, provider.Stripe, subscription.ByEvent, ada)
	b.exec(t, `UPDATE subscription_syncs SET marked_at = now() - interval '2 hours'`)
	require.NoError(t, step.Open(t.Context(), b.pool, step.Step{
		WorkflowID: subscription.WorkflowID(ada), Name: subscription.StepOf(provider.Stripe), CustomerID: ada, Provider: provider.Stripe,
	}))
	found, err := subscription.ListNeglected(t.Context(), b.pool, time.Hour, "", 10)
	require.NoError(t, err)
	require.Empty(t, found)
}
