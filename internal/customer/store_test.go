package customer_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
	"github.com/holdfast/holdfast/internal/step"
)

type bundle struct {
	store *customer.Store
	pool  *pgxpool.Pool
}

func setup(t *testing.T) bundle {
	t.Helper()
	pool := postgrestest.New(t)
	return bundle{store: customer.NewStore(pool, feed.NewWriter(nil)), pool: pool}
}

func (b bundle) count(t *testing.T, sql string) int {
	t.Helper()
	var n int
	require.NoError(t, b.pool.QueryRow(t.Context(), sql).Scan(&n))
	return n
}

func ada() customer.Profile {
	return customer.Profile{ID: "u_1", Email: "ada@example.com", Name: "Ada", Country: "US", Metadata: map[string]string{"plan": "pro"}}
}

func start(id string) outbox.Message {
	return outbox.Message{Key: "start/" + id, Workflow: "W", WorkflowID: customer.WorkflowID(id), TaskQueue: "q"}
}

func TestCreateStoresTheCustomerItsStepsAndTheMessage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	profile := ada()
	profile.PromoCode = "SPRING"

	c, created, err := b.store.Create(t.Context(), profile, start("u_1"))

	require.NoError(t, err)
	require.True(t, created)
	require.Equal(t, profile, c.Profile)
	require.Equal(t, customer.Onboarding, c.Status())
	require.False(t, c.BillingReady())
	require.Equal(t, []string{customer.StepStripeCustomer, customer.StepPromoCode}, names(c.Steps))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox WHERE key = 'start/u_1'`))
}

func TestCreateIsIdempotentByIDAndContent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, _, err := b.store.Create(t.Context(), ada(), start("u_1"))
	require.NoError(t, err)

	again, created, err := b.store.Create(t.Context(), ada(), start("u_1"))
	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, "ada@example.com", again.Email)

	other := ada()
	other.Email = "grace@example.com"
	_, _, err = b.store.Create(t.Context(), other, start("u_1"))
	require.ErrorIs(t, err, customer.ErrConflict)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox`))
}

func TestCreateAgainAfterAChangeIsStillARepeat(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, _, err := b.store.Create(t.Context(), ada(), start("u_1"))
	require.NoError(t, err)
	_, err = b.store.Change(t.Context(), "u_1", customer.Change{Email: new("new@example.com")}, wake("u_1"))
	require.NoError(t, err)

	c, created, err := b.store.Create(t.Context(), ada(), start("u_1"))

	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, "new@example.com", c.Email)
}

func TestCreateConcurrentlyMakesOneCustomer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		creates int
		failed  []error
	)
	for range 50 {
		wg.Go(func() {
			_, created, err := b.store.Create(t.Context(), ada(), start("u_1"))
			mu.Lock()
			defer mu.Unlock()
			if created {
				creates++
			}
			if err != nil {
				failed = append(failed, err)
			}
		})
	}
	wg.Wait()
	require.Empty(t, failed)
	require.Equal(t, 1, creates)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM customers`))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM steps`))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox`))
}

func TestCreateRefusesAStripeCustomerOfAnotherAccount(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first, second := ada(), ada()
	first.StripeCustomerID, second.StripeCustomerID = "cus_1", "cus_1"
	second.ID = "u_2"
	_, _, err := b.store.Create(t.Context(), first, start("u_1"))
	require.NoError(t, err)

	_, _, err = b.store.Create(t.Context(), second, start("u_2"))

	requireField(t, err, "stripe_customer_id")
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM customers`))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox`), "nothing of a refused creation stays")
}

func TestCreateStoresNothingWhenTheMessageIsWrong(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, _, err := b.store.Create(t.Context(), ada(), outbox.Message{Key: "k"})
	require.ErrorContains(t, err, "incomplete")
	require.Zero(t, b.count(t, `SELECT count(*) FROM customers`))
}

func TestGetOfAnUnknownCustomer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.store.Get(t.Context(), "nobody")
	require.ErrorIs(t, err, customer.ErrNotFound)
	_, err = b.store.Change(t.Context(), "nobody", customer.Change{Name: new("x")}, wake("nobody"))
	require.ErrorIs(t, err, customer.ErrNotFound)
}

func TestChangeOpensTheStepAndHandsItOver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, _, err := b.store.Create(t.Context(), ada(), start("u_1"))
	require.NoError(t, err)

	c, err := b.store.Change(t.Context(), "u_1", customer.Change{Name: new("Ada L.")}, wake("u_1"))
	require.NoError(t, err)
	require.Equal(t, "Ada L.", c.Name)
	require.Equal(t, "ada@example.com", c.Email)
	require.Equal(t, 2, c.ProfileVersion)
	require.Contains(t, names(c.Steps), customer.StepStripeProfile)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox WHERE key = 'wake/u_1/2'`))

	same, err := b.store.Change(t.Context(), "u_1", customer.Change{Name: new("Ada L.")}, wake("u_1"))
	require.NoError(t, err)
	require.Equal(t, 2, same.ProfileVersion, "changing nothing does nothing")
	require.Equal(t, 2, b.count(t, `SELECT count(*) FROM outbox`))
}

func TestBindStripeOnceAndForEver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, id := range []string{"u_1", "u_2"} {
		p := ada()
		p.ID = id
		_, _, err := b.store.Create(t.Context(), p, start(id))
		require.NoError(t, err)
	}
	require.NoError(t, customer.BindStripe(t.Context(), b.pool, "u_1", "cus_1", 1))
	require.NoError(t, customer.BindStripe(t.Context(), b.pool, "u_1", "cus_1", 1), "the same again is no error")
	require.ErrorIs(t, customer.BindStripe(t.Context(), b.pool, "u_1", "cus_2", 1), customer.ErrBoundElsewhere)
	require.ErrorIs(t, customer.BindStripe(t.Context(), b.pool, "u_2", "cus_1", 1), customer.ErrBoundElsewhere)
	c, err := b.store.Get(t.Context(), "u_1")
	require.NoError(t, err)
	require.True(t, c.StripeConfirmed)
	require.Equal(t, "cus_1", c.StripeCustomerID)
}

func TestProfileCarriedTellsOfANewerVersion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, _, err := b.store.Create(t.Context(), ada(), start("u_1"))
	require.NoError(t, err)
	newer, err := customer.ProfileCarried(t.Context(), b.pool, "u_1", 1)
	require.NoError(t, err)
	require.False(t, newer)
	_, err = b.store.Change(t.Context(), "u_1", customer.Change{Name: new("x")}, wake("u_1"))
	require.NoError(t, err)
	newer, err = customer.ProfileCarried(t.Context(), b.pool, "u_1", 1)
	require.NoError(t, err)
	require.True(t, newer)
}

func TestNeglectedIsWhoLacksSomethingThatNothingWorksOn(t *testing.T) {
	t.Parallel()
	long := time.Hour
	cases := map[string]struct {
		arrange   string // what is done to a customer whose rows are two hours old
		neglected bool
	}{
		"nothing happened since":                {``, true},
		"changed a moment ago":                  {`UPDATE customers SET updated_at = now()`, false},
		"an attempt was made a moment ago":      {`UPDATE steps SET status = 'retrying', updated_at = now()`, false},
		"parked, and its time has not come":     {`UPDATE steps SET status = 'blocked', waits_for = 'provider', blocked_at = now() - interval '2 hours', next_attempt_at = now() + interval '5 minutes'`, false},
		"parked, and its time is long over":     {`UPDATE steps SET status = 'blocked', waits_for = 'provider', blocked_at = now() - interval '3 hours', next_attempt_at = now() - interval '2 hours'`, true},
		"waits for a person":                    {`UPDATE steps SET status = 'blocked', waits_for = 'person', blocked_at = now() - interval '2 hours'`, false},
		"done and bound":                        {`UPDATE steps SET status = 'done'; UPDATE customers SET stripe_bound_at = now(), stripe_customer_id = 'cus_1'`, false},
		"done, and the Stripe customer is lost": {`UPDATE steps SET status = 'done'`, true},
		"skipped by a person":                   {`UPDATE steps SET status = 'skipped'`, false},
		"the steps are lost":                    {`DELETE FROM steps`, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			_, _, err := b.store.Create(t.Context(), ada(), start("u_1"))
			require.NoError(t, err)
			_, err = b.pool.Exec(t.Context(), `UPDATE customers SET updated_at = now() - interval '2 hours';
				UPDATE steps SET updated_at = now() - interval '2 hours'; `+c.arrange)
			require.NoError(t, err)

			one, err := customer.Neglected(t.Context(), b.pool, "u_1", long)
			require.NoError(t, err)
			all, err := customer.ListNeglected(t.Context(), b.pool, long, "", 10)
			require.NoError(t, err)

			require.Equal(t, c.neglected, one)
			require.Equal(t, c.neglected, len(all) == 1)
		})
	}
}

func TestListNeglectedGoesOnAfterACursor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 5 {
		p := ada()
		p.ID = fmt.Sprintf("u_%d", i)
		_, _, err := b.store.Create(t.Context(), p, start(p.ID))
		require.NoError(t, err)
	}
	_, err := b.pool.Exec(t.Context(), `UPDATE customers SET updated_at = now() - interval '2 hours';
		UPDATE steps SET updated_at = now() - interval '2 hours'`)
	require.NoError(t, err)
	var seen []string
	for after := ""; ; after = seen[len(seen)-1] {
		ids, err := customer.ListNeglected(t.Context(), b.pool, time.Hour, after, 2)
		require.NoError(t, err)
		if len(ids) == 0 {
			break
		}
		seen = append(seen, ids...)
	}
	require.Equal(t, []string{"u_0", "u_1", "u_2", "u_3", "u_4"}, seen)
}

func names(steps []step.Step) []string {
	all := make([]string, len(steps))
	for i, s := range steps {
		all[i] = s.Name
	}
	return all
}

func wake(id string) func(int) outbox.Message {
	return func(version int) outbox.Message {
		m := start(id)
		m.Key = fmt.Sprintf("wake/%s/%d", id, version)
		return m
	}
}

func requireField(t *testing.T, err error, field string) {
	t.Helper()
	var wrong *customer.FieldError
	require.ErrorAs(t, err, &wrong)
	require.Equal(t, field, wrong.Field)
}
