package activities_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/holdfast/holdfast/activities"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/workflows"
)

const (
	stripeCustomerID = "cus_1111"
	subscriptionPath = "/v1/billing/subscriptions"
)

// reads is the activities that read subscriptions, on a real database, a simulated Stripe and a
// simulated PayPal. The customer has a Stripe customer.
type reads struct {
	bundle

	store  *subscription.Store
	meter  *meter
	turns  *turns
	paypal *provider.Breaker
}

func setupReads(t *testing.T, timeout time.Duration) reads {
	t.Helper()
	b := setup(t)
	_, err := b.simulator.Stripe().PutCustomer(simulator.Customer{ID: stripeCustomerID, Email: address})
	require.NoError(t, err)
	b.signUp(t)
	b.exec(t, `UPDATE customers SET stripe_customer_id = $1, stripe_bound_at = now()`, stripeCustomerID)
	b.exec(t, `DELETE FROM steps`)
	r := reads{bundle: b, store: subscriptionsOn(b.pool), meter: &meter{}, turns: &turns{}, paypal: provider.NewBreaker(provider.PayPal, 0)}
	r.registerReads(t, timeout)
	return r
}

func (r reads) registerReads(t *testing.T, timeout time.Duration) {
	t.Helper()
	atStripe, err := stripe.New(stripe.Config{
		SecretKey: simulator.DefaultStripeKey, APIBase: r.simulator.StripeURL(), Timeout: timeout, Breaker: r.breaker,
	})
	require.NoError(t, err)
	atPayPal, err := paypal.New(paypal.Config{
		ClientID: simulator.DefaultPayPalClientID, ClientSecret: simulator.DefaultPayPalClientSecret,
		APIBase: r.simulator.PayPalURL(), Timeout: timeout, Breaker: r.paypal,
	})
	require.NoError(t, err)
	r.register(workflows.ActivityPlanSync, activities.NewSync(r.pool, r.store).PlanSync)
	r.register(workflows.ActivityReadStripeSubscriptions,
		activities.NewStripeSubscriptions(r.pool, r.store, atStripe, r.breaker, r.meter, quiet()).ReadStripeSubscriptions)
	r.register(workflows.ActivityReadPayPalSubscriptions,
		activities.NewPayPalSubscriptions(r.pool, r.store, atPayPal, r.paypal, r.turns, r.meter, quiet()).ReadPayPalSubscriptions)
}

// beside is another worker on the same database and providers, whose calls are as patient.
func (r reads) beside(t *testing.T) reads {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	r.env = suite.NewTestActivityEnvironment()
	r.env.SetTestTimeout(time.Minute)
	r.registerReads(t, patient)
	return r
}

// meter notes how reads ended.
type meter struct {
	mu       sync.Mutex
	outcomes []string
}

func (m *meter) Read(_ context.Context, p provider.Name, outcome string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outcomes = append(m.outcomes, string(p)+" "+outcome)
}

func (m *meter) seen() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.outcomes
}

// turns counts the calls that waited for their turn, and can refuse it.
type turns struct {
	mu      sync.Mutex
	taken   int
	refusal error
}

func (w *turns) Wait(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taken++
	return w.refusal
}

func (r reads) plan(t *testing.T, in workflows.PlanSyncInput) workflows.SyncPlan {
	t.Helper()
	value, err := r.env.ExecuteActivity(workflows.ActivityPlanSync, in)
	require.NoError(t, err)
	var plan workflows.SyncPlan
	require.NoError(t, value.Get(&plan))
	return plan
}

// tryToRead runs the activity once.
func (r reads) tryToRead(p provider.Name) (result workflows.ReadResult, err error) {
	name := map[provider.Name]string{
		provider.Stripe: workflows.ActivityReadStripeSubscriptions, provider.PayPal: workflows.ActivityReadPayPalSubscriptions,
	}[p]
	value, err := r.env.ExecuteActivity(name, workflows.CallInput{CustomerID: id, Step: subscription.StepOf(p)})
	if err != nil {
		return result, err
	}
	return result, value.Get(&result)
}

func (r reads) read(t *testing.T, p provider.Name) workflows.ReadResult {
	t.Helper()
	result, err := r.tryToRead(p)
	require.NoError(t, err)
	return result
}

func (r reads) mark(t *testing.T, p provider.Name, cause subscription.Cause) {
	t.Helper()
	require.NoError(t, postgres.InTx(t.Context(), r.pool, func(tx pgx.Tx) error { return r.store.Mark(t.Context(), tx, p, cause, id) }))
}

// bind asks for a PayPal subscription to be the customer's.
func (r reads) bind(t *testing.T, subscriptionID, operator string) {
	t.Helper()
	require.NoError(t, postgres.InTx(t.Context(), r.pool, func(tx pgx.Tx) error {
		_, err := r.store.Bind(t.Context(), tx, id, subscriptionID, operator)
		return err
	}))
}

func (r reads) binding(t *testing.T, subscriptionID string) subscription.Binding {
	t.Helper()
	b, err := subscription.GetBinding(t.Context(), r.pool, id, subscriptionID)
	require.NoError(t, err)
	return b
}

func (r reads) known(t *testing.T) (subscription.State, []subscription.Subscription) {
	t.Helper()
	o, _, err := r.store.Get(t.Context(), id)
	require.NoError(t, err)
	all, err := r.store.List(t.Context(), id)
	require.NoError(t, err)
	return o.State, all
}

func (r reads) dirty(t *testing.T) []provider.Name {
	t.Helper()
	dirty, err := r.store.Dirty(t.Context(), r.pool, id)
	require.NoError(t, err)
	return dirty
}

// subscribe has the customer subscribe where it is asked to, which events would tell.
func (r reads) subscribe(t *testing.T, p provider.Name) {
	t.Helper()
	if p == provider.Stripe {
		_, err := r.simulator.Stripe().Subscribe(stripeCustomerID, simulator.SubscriptionSpec{PriceID: "price_pro"})
		require.NoError(t, err)
	} else {
		made := r.simulator.PayPal().CreateSubscription("P-PRO", id)
		_, err := r.simulator.PayPal().Approve(made.ID)
		require.NoError(t, err)
		r.bind(t, made.ID, "")
	}
	r.mark(t, p, subscription.ByEvent)
}

func TestPlanSyncOpensAStepWhereSomethingIsToBeRead(t *testing.T) {
	t.Parallel()
	r := setupReads(t, patient)
	require.Empty(t, r.plan(t, workflows.PlanSyncInput{CustomerID: id}).Steps)

	r.mark(t, provider.PayPal, subscription.ByEvent)
	r.mark(t, provider.Stripe, subscription.ByEvent)
	steps := r.plan(t, workflows.PlanSyncInput{CustomerID: id}).Steps

	require.Equal(t, []workflows.PlannedStep{
		{Name: "stripe_subscriptions", Provider: provider.Stripe, Status: step.Pending},
		{Name: "paypal_subscriptions", Provider: provider.PayPal, Status: step.Pending},
	}, steps)
	require.Len(t, r.steps(t), 2)

	r.read(t, provider.PayPal)
	require.Len(t, r.plan(t, workflows.PlanSyncInput{CustomerID: id}).Steps, 1, "what was read is not read again")
	r.mark(t, provider.PayPal, subscription.ByEvent)
	require.Equal(t, steps, r.plan(t, workflows.PlanSyncInput{CustomerID: id}).Steps, "a step that was over is opened again")
}

func TestPlanSyncMarksWhatItIsAskedTo(t *testing.T) {
	t.Parallel()
	r := setupReads(t, patient)
	for range 2 {
		steps := r.plan(t, workflows.PlanSyncInput{CustomerID: id, Mark: subscription.ByRequest}).Steps
		require.Len(t, steps, 1, "there is nothing at PayPal")
		require.Equal(t, provider.Stripe, steps[0].Provider)
		require.Equal(t, []provider.Name{provider.Stripe}, r.dirty(t))
	}
	require.Zero(t, r.count(t, `SELECT count(*) FROM outbox WHERE message ->> 'workflow' = 'SubscriptionSync'`), "the workflow that plans needs no waking")
	require.Equal(t, 1, r.count(t, `SELECT count(*) FROM subscription_syncs WHERE cause = 'request' AND marks = 2`))
}

// A step that waits is not begun anew by a further mark, and one of a provider that is known to be
// down need not try.
func TestPlanSyncLeavesWhatWaits(t *testing.T) {
	t.Parallel()
	r := setupReads(t, patient)
	r.mark(t, provider.PayPal, subscription.ByEvent)
	r.mark(t, provider.Stripe, subscription.ByEvent)
	r.plan(t, workflows.PlanSyncInput{CustomerID: id})
	require.NoError(t, step.Park(t.Context(), r.pool, step.Step{
		WorkflowID: workflowID, Name: "stripe_subscriptions", ErrorClass: provider.NotFound, LastError: "gone", WaitsFor: step.ForPerson,
	}))
	_, err := provider.NewHealthStore(r.pool).Set(t.Context(), provider.PayPal, provider.StateDown, "")
	require.NoError(t, err)
	r.mark(t, provider.Stripe, subscription.ByEvent)

	steps := r.plan(t, workflows.PlanSyncInput{CustomerID: id, Mark: subscription.ByRequest}).Steps

	require.Equal(t, workflows.PlannedStep{
		Name: "stripe_subscriptions", Provider: provider.Stripe, Status: step.Blocked, WaitsFor: step.ForPerson,
		ErrorClass: provider.NotFound, LastError: "gone",
	}, steps[0])
	require.True(t, steps[1].Refused)
	require.Equal(t, provider.Transient, steps[1].ErrorClass)
}

func TestPlanSyncOfNobodyEndsTheWorkflow(t *testing.T) {
	t.Parallel()
	r := setupReads(t, patient)
	_, err := r.env.ExecuteActivity(workflows.ActivityPlanSync, workflows.PlanSyncInput{CustomerID: "u_nobody"})
	var failure *temporal.ApplicationError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, workflows.ErrInvalidInput, failure.Type())
	require.True(t, failure.NonRetryable())
}

func TestWhatStripeHasIsKnown(t *testing.T) {
	t.Parallel()
	r := setupReads(t, patient)
	made, err := r.simulator.Stripe().Subscribe(stripeCustomerID, simulator.SubscriptionSpec{
		PriceID: "price_pro", AddOns: []string{"price_storage"}, Card: simulator.Card{Brand: "mastercard", Last4: "4444"},
	})
	require.NoError(t, err)
	r.mark(t, provider.Stripe, subscription.ByEvent)

	require.Equal(t, workflows.ReadResult{}, r.read(t, provider.Stripe))

	state, all := r.known(t)
	require.Equal(t, subscription.State{
		Status: subscription.Active, Provider: provider.Stripe, SubscriptionID: made.ID, ProviderStatus: "active", PriceID: "price_pro",
		CurrentPeriodStart: &made.CurrentPeriodStart, CurrentPeriodEnd: &made.CurrentPeriodEnd, PaidUntil: &made.CurrentPeriodEnd,
		PaymentMethod: &subscription.Card{Brand: "mastercard", Last4: "4444"},
	}, state)
	require.Len(t, all, 1)
	require.Equal(t, []string{"price_pro", "price_storage"}, all[0].PriceIDs)
	require.Equal(t, made.Created, all[0].CreatedAt)
	require.Equal(t, step.Done, r.steps(t)[0].Status, "of a step that nobody had planned")
	require.Empty(t, r.dirty(t))
	require.Equal(t, []string{"stripe stored"}, r.meter.seen())

	r.read(t, provider.Stripe)
	require.Equal(t, 1, r.count(t, `SELECT count(*) FROM changes`), "what was read again is no news")

	_, err = r.simulator.Stripe().CancelNow(made.ID)
	require.NoError(t, err)
	r.mark(t, provider.Stripe, subscription.ByDrift)
	r.read(t, provider.Stripe)
	state, _ = r.known(t)
	require.Equal(t, subscription.Canceled, state.Status)
	require.Equal(t, made.CurrentPeriodEnd, *state.PaidUntil)
	require.Equal(t, []string{"stripe stored", "stripe stored", "stripe healed"}, r.meter.seen())
}

// B9: all of them are read, whatever their status and however many pages they are.
func TestAllPagesAreRead(t *testing.T) {
	t.Parallel()
	const canceled = 120
	r := setupReads(t, patient)
	oldest := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	_, err := r.simulator.Stripe().PutSubscription(simulator.Subscription{ID: "sub_oldest", Customer: stripeCustomerID, Created: oldest})
	require.NoError(t, err)
	for i := range canceled {
		_, err := r.simulator.Stripe().PutSubscription(simulator.Subscription{
			Customer: stripeCustomerID, Status: "canceled", Created: oldest.Add(time.Duration(i+1) * time.Hour),
		})
		require.NoError(t, err)
	}
	r.read(t, provider.Stripe)
	state, all := r.known(t)
	require.Len(t, all, canceled+1)
	require.Equal(t, "sub_oldest", state.SubscriptionID)
	require.Len(t, r.simulator.Calls().To(http.MethodGet, "/v1/subscriptions"), 2)
}

// Without a Stripe customer that was confirmed there is nobody to ask for.
func TestWhoHasNoStripeCustomerHasNothingThere(t *testing.T) {
	t.Parallel()
	r := setupReads(t, patient)
	r.exec(t, `UPDATE customers SET stripe_bound_at = NULL`)
	r.mark(t, provider.Stripe, subscription.ByRequest)
	require.Equal(t, workflows.ReadResult{}, r.read(t, provider.Stripe))
	require.Empty(t, r.simulator.Calls())
	require.Empty(t, r.dirty(t))
	state, _ := r.known(t)
	require.Equal(t, subscription.State{Status: subscription.None}, state)
}

func TestReadingOfNobodyIsAnError(t *testing.T) {
	t.Parallel()
	r := setupReads(t, patient)
	_, err := r.env.ExecuteActivity(workflows.ActivityReadStripeSubscriptions, workflows.CallInput{CustomerID: "u_nobody", Step: "stripe_subscriptions"})
	require.Error(t, err)
	require.Empty(t, r.simulator.Calls())
}

// A failed read is tried again or parked by the table of classes, and has changed nothing: neither
// what is known nor what is to be read.
func TestEveryFaultOfAReadLeavesWhatIsKnown(t *testing.T) {
	t.Parallel()
	cases := map[simulator.FaultKind]struct {
		class provider.Class
		retry bool
	}{
		simulator.Refuse:          {provider.Transient, true},
		simulator.Hang:            {provider.Transient, true},
		simulator.Reset:           {provider.Transient, true},
		simulator.ServerError:     {provider.Transient, true},
		simulator.BadGateway:      {provider.Transient, true},
		simulator.Unavailable:     {provider.Transient, true},
		simulator.ExecuteThenDrop: {provider.Transient, true},
		simulator.Truncate:        {provider.Transient, true},
		simulator.TooManyRequests: {provider.RateLimited, true},
		simulator.WrongKey:        {provider.Misconfigured, false},
	}
	for _, p := range []provider.Name{provider.Stripe, provider.PayPal} {
		for kind, c := range cases {
			t.Run(string(p)+" "+string(kind), func(t *testing.T) {
				t.Parallel()
				r := setupReads(t, patience(kind))
				r.subscribe(t, p)
				r.read(t, p)
				before, _ := r.known(t)
				r.mark(t, p, subscription.ByEvent)
				require.NoError(t, r.simulator.SetFaults(simulator.Fault{Kind: kind, Provider: string(p)}))

				_, err := r.tryToRead(p)

				requireFailure(t, err, c.class, c.retry)
				waiting := r.steps(t)[0]
				require.Equal(t, step.Retrying, waiting.Status)
				require.Equal(t, c.class, waiting.ErrorClass)
				require.Equal(t, c.retry, waiting.NextAttemptAt != nil)
				state, _ := r.known(t)
				require.Equal(t, before, state)
				require.Equal(t, []provider.Name{p}, r.dirty(t))

				require.NoError(t, r.simulator.ClearFaults())
				r.read(t, p)
				require.Empty(t, r.dirty(t))
				require.Equal(t, step.Done, r.steps(t)[0].Status)
				require.Len(t, r.meter.seen(), 2, "a read that failed is none")
			})
		}
	}
}

// What the provider asks for is what Temporal waits, and what people see.
func TestAReadThatIsToComeLaterComesLater(t *testing.T) {
	t.Parallel()
	const asked = 17 * time.Second
	for _, p := range []provider.Name{provider.Stripe, provider.PayPal} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			r := setupReads(t, patient)
			r.subscribe(t, p)
			require.NoError(t, r.simulator.SetFaults(simulator.Fault{Kind: simulator.TooManyRequests, RetryAfter: int(asked.Seconds())}))
			before := time.Now()
			_, err := r.tryToRead(p)
			require.Equal(t, asked, failureOf(t, err, provider.RateLimited, true).NextRetryDelay())
			next := r.steps(t)[0].NextAttemptAt
			require.NotNil(t, next)
			require.WithinRange(t, *next, before.Add(asked).Add(-time.Millisecond), time.Now().Add(asked))
			require.Zero(t, r.count(t, `SELECT count(*) FROM outbox WHERE message ->> 'workflow' = 'ProviderGate'`), "a provider that asks for less is well")
		})
	}
}

// A parked read keeps its mark, costs no call while its provider is down, and goes on afterwards.
func TestAParkedReadGoesOnWhenItsProviderIsBack(t *testing.T) {
	t.Parallel()
	for _, p := range []provider.Name{provider.Stripe, provider.PayPal} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			r := setupReads(t, patient)
			r.subscribe(t, p)
			require.NoError(t, r.simulator.SetFaults(simulator.Fault{Kind: simulator.Unavailable}))
			_, err := r.tryToRead(p)
			requireFailure(t, err, provider.Transient, true)
			r.park(t, p, provider.Transient, step.ForProvider)
			_, err = provider.NewHealthStore(r.pool).Set(t.Context(), p, provider.StateDown, "")
			require.NoError(t, err)
			calls, begun := len(r.simulator.Calls()), r.begun(t)

			_, err = r.tryToRead(p)

			requireFailure(t, err, provider.Transient, false)
			require.Len(t, r.simulator.Calls(), calls)
			require.Equal(t, begun, r.begun(t), "a read that may not be made does not begin")
			require.Equal(t, []provider.Name{p}, r.dirty(t))

			require.NoError(t, r.simulator.ClearFaults())
			_, err = provider.NewHealthStore(r.pool).Set(t.Context(), p, provider.StateUp, "")
			require.NoError(t, err)
			r.read(t, p)
			require.Equal(t, step.Done, r.steps(t)[0].Status)
			state, _ := r.known(t)
			require.Equal(t, subscription.Active, state.Status)
		})
	}
}

func (r reads) begun(t *testing.T) int {
	t.Helper()
	return r.count(t, `SELECT coalesce(sum(begun), 0) FROM subscription_syncs`)
}

// park is what the workflow does with a step when Temporal has given up trying.
func (r reads) park(t *testing.T, p provider.Name, class provider.Class, waitsFor step.WaitsFor) {
	t.Helper()
	_, err := r.env.ExecuteActivity(workflows.ActivityParkStep, workflows.ParkInput{
		Step: subscription.StepOf(p), Provider: p, ErrorClass: class, WaitsFor: waitsFor,
	})
	require.NoError(t, err)
	require.Equal(t, step.Blocked, r.steps(t)[0].Status)
	require.Equal(t, waitsFor, r.steps(t)[0].WaitsFor)
}

// Trouble at one provider is reported to its own gate, and the other's reads go on.
func TestTroubleAtOneProviderLeavesTheOtherAlone(t *testing.T) {
	t.Parallel()
	r := setupReads(t, patient)
	r.subscribe(t, provider.PayPal)
	r.subscribe(t, provider.Stripe)
	r.simulator.PayPal().SetCredentials("another", "secret")
	for range 2 {
		_, err := r.tryToRead(provider.PayPal)
		requireFailure(t, err, provider.Misconfigured, false)
	}
	require.Equal(t, 1, r.count(t, `SELECT count(*) FROM outbox WHERE key LIKE 'provider-gate/paypal/trouble/%'`))
	require.Zero(t, r.troublesAtStripe(t))

	require.True(t, r.read(t, provider.Stripe).Dirty, "PayPal is still to be read")
	state, _ := r.known(t)
	require.Equal(t, provider.Stripe, state.Provider)

	r.simulator.PayPal().SetCredentials(simulator.DefaultPayPalClientID, simulator.DefaultPayPalClientSecret)
	require.False(t, r.read(t, provider.PayPal).Dirty)
	require.Equal(t, 1, r.count(t, `SELECT count(*) FROM subscription_states WHERE doubled_at IS NOT NULL`))
}

func (r reads) troublesAtStripe(t *testing.T) int {
	t.Helper()
	return r.count(t, `SELECT count(*) FROM outbox WHERE key LIKE 'provider-gate/stripe/trouble/%'`)
}

func TestAProviderThatIsNotConfiguredIsNotRead(t *testing.T) {
	t.Parallel()
	r := setupReads(t, patient)
	r.register(workflows.ActivityReadStripeSubscriptions,
		activities.NewStripeSubscriptions(r.pool, r.store, nil, nil, r.meter, quiet()).ReadStripeSubscriptions)
	r.register(workflows.ActivityReadPayPalSubscriptions,
		activities.NewPayPalSubscriptions(r.pool, r.store, nil, nil, r.turns, r.meter, quiet()).ReadPayPalSubscriptions)
	for _, p := range []provider.Name{provider.Stripe, provider.PayPal} {
		_, err := r.tryToRead(p)
		require.Contains(t, failureOf(t, err, provider.Misconfigured, false).Message(), provider.CodeNotConfigured)
	}
	require.Empty(t, r.simulator.Calls())
	require.Zero(t, r.begun(t))
}

// The provider answered, and the process died before what it said was stored. The next attempt reads
// again: nothing is told twice, and nothing half.
func TestACrashAfterTheAnswerIsReadAgain(t *testing.T) {
	t.Parallel()
	for _, p := range []provider.Name{provider.Stripe, provider.PayPal} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			r := setupReads(t, patient)
			r.subscribe(t, p)
			r.exec(t, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''disk full''; END';
				CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON changes DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`)
			_, err := r.tryToRead(p)
			require.Error(t, err)
			require.NotContains(t, err.Error(), address)
			state, all := r.known(t)
			require.Equal(t, subscription.None, state.Status)
			require.Empty(t, all)
			require.Equal(t, []provider.Name{p}, r.dirty(t))
			require.Equal(t, step.Retrying, r.steps(t)[0].Status)
			require.Zero(t, r.count(t, `SELECT count(*) FROM paypal_bindings WHERE status = 'bound'`))

			r.exec(t, `DROP TRIGGER refuse ON changes`)
			require.False(t, r.read(t, p).Dirty)
			state, _ = r.known(t)
			require.Equal(t, subscription.Active, state.Status)
			require.Equal(t, 1, r.count(t, `SELECT max(seq) FROM changes`))
			require.Equal(t, []string{string(p) + " stored"}, r.meter.seen())
		})
	}
}

// The read was stored, and Temporal never heard of it: the attempt is repeated.
func TestAReadWhoseEndWasLostIsRepeated(t *testing.T) {
	t.Parallel()
	r := setupReads(t, patient)
	r.subscribe(t, provider.Stripe)
	for range 3 {
		require.Equal(t, workflows.ReadResult{}, r.read(t, provider.Stripe))
	}
	require.Equal(t, 1, r.count(t, `SELECT count(*) FROM changes`))
	require.Equal(t, step.Done, r.steps(t)[0].Status)
}

// B7: an attempt that was given up is answered at last, after the next one has stored what is newer.
func TestASlowReadIsDroppedForAFastOne(t *testing.T) {
	t.Parallel()
	for _, p := range []provider.Name{provider.Stripe, provider.PayPal} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			r := setupReads(t, patient)
			r.subscribe(t, p)
			slow := r.readSlowly(t, p)

			require.Equal(t, workflows.ReadResult{}, r.beside(t).read(t, p))
			require.NoError(t, r.simulator.ClearFaults())

			require.NoError(t, (<-slow).err)
			require.Equal(t, []string{string(p) + " stored", string(p) + " superseded"}, r.meter.seen())
			require.Equal(t, 1, r.count(t, `SELECT count(*) FROM changes`))
			require.Empty(t, r.dirty(t))
		})
	}
}

// An event that comes while a read is under way is not answered by it.
func TestAnEventDuringAReadAsksForAnother(t *testing.T) {
	t.Parallel()
	for _, p := range []provider.Name{provider.Stripe, provider.PayPal} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			r := setupReads(t, patient)
			r.subscribe(t, p)
			slow := r.readSlowly(t, p)
			r.mark(t, p, subscription.ByEvent)
			require.NoError(t, r.simulator.ClearFaults())

			ended := <-slow
			require.NoError(t, ended.err)
			require.True(t, ended.result.Dirty)
			require.Equal(t, []provider.Name{p}, r.dirty(t))
			require.False(t, r.read(t, p).Dirty)
		})
	}
}

// ended is how a read ended that another goroutine made.
type ended struct {
	result workflows.ReadResult
	err    error
}

// readSlowly begins a read whose first call hangs until the faults are cleared, and returns when the
// provider has got that call.
func (r reads) readSlowly(t *testing.T, p provider.Name) <-chan ended {
	t.Helper()
	prefix := map[provider.Name]string{provider.Stripe: "/v1/subscriptions", provider.PayPal: subscriptionPath}[p]
	require.NoError(t, r.simulator.SetFaults(simulator.Fault{Kind: simulator.Hang, PathPrefix: prefix, Times: 1}))
	slow, done := r.beside(t), make(chan ended, 1)
	go func() {
		result, err := slow.tryToRead(p)
		done <- ended{result, err}
	}()
	require.Eventually(t, func() bool {
		return r.simulator.Faults()[0].Hits > 0
	}, patient, time.Millisecond)
	return done
}

// B10: PayPal's custom_id says whose a subscription is. While nobody has approved it somebody is
// awaited.
func TestABindingIsAcceptedByItsCustomID(t *testing.T) {
	t.Parallel()
	r := setupReads(t, patient)
	made := r.simulator.PayPal().CreateSubscription("P-PRO", id)
	r.bind(t, made.ID, "")
	require.Equal(t, subscription.Asked, r.binding(t, made.ID).Status)

	result := r.read(t, provider.PayPal)

	require.False(t, result.Dirty)
	require.Equal(t, made.CreateTime, *result.AwaitsApproval)
	require.Equal(t, made.CreateTime, *r.plan(t, workflows.PlanSyncInput{CustomerID: id}).AwaitsApproval)
	require.Equal(t, subscription.Bound, r.binding(t, made.ID).Status)
	state, _ := r.known(t)
	require.Equal(t, subscription.Incomplete, state.Status)
	require.Equal(t, "APPROVAL_PENDING", state.ProviderStatus)

	approved, err := r.simulator.PayPal().Approve(made.ID)
	require.NoError(t, err)
	result = r.read(t, provider.PayPal)
	require.Nil(t, result.AwaitsApproval)
	state, all := r.known(t)
	require.Equal(t, subscription.State{
		Status: subscription.Active, Provider: provider.PayPal, SubscriptionID: made.ID, ProviderStatus: "ACTIVE", PriceID: "P-PRO",
		CurrentPeriodStart: &approved.LastPaymentTime, CurrentPeriodEnd: &approved.NextBillingTime, PaidUntil: &approved.NextBillingTime,
	}, state)
	require.Equal(t, made.CreateTime, all[0].CreatedAt)

	_, err = r.simulator.PayPal().Cancel(made.ID)
	require.NoError(t, err)
	r.read(t, provider.PayPal)
	state, _ = r.known(t)
	require.Equal(t, subscription.Canceled, state.Status)
	require.Nil(t, state.CurrentPeriodEnd)
	require.Equal(t, approved.NextBillingTime, *state.PaidUntil, "it runs to the end of what was paid for")
}

func TestABindingIsRefused(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		seed   simulator.PayPalSubscription
		reason string
	}{
		"somebody else's":          {simulator.PayPalSubscription{ID: "I-ASKED", CustomID: "u_2"}, subscription.RefusedCustomID},
		"made without our id":      {simulator.PayPalSubscription{ID: "I-ASKED"}, subscription.RefusedCustomID},
		"an id in another case":    {simulator.PayPalSubscription{ID: "I-ASKED", CustomID: "U_1"}, subscription.RefusedCustomID},
		"one that is not there":    {simulator.PayPalSubscription{ID: "I-OTHER", CustomID: id}, subscription.RefusedNotFound},
		"somebody else's, and off": {simulator.PayPalSubscription{ID: "I-ASKED", CustomID: "u_2", Status: "CANCELLED"}, subscription.RefusedCustomID},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setupReads(t, patient)
			_, err := r.simulator.PayPal().PutSubscription(c.seed)
			require.NoError(t, err)
			r.bind(t, "I-ASKED", "")

			require.Equal(t, workflows.ReadResult{}, r.read(t, provider.PayPal))

			refused := r.binding(t, "I-ASKED")
			require.Equal(t, subscription.Refused, refused.Status)
			require.Equal(t, c.reason, refused.Reason)
			state, all := r.known(t)
			require.Equal(t, subscription.State{Status: subscription.None}, state)
			require.Empty(t, all)
			require.Empty(t, r.dirty(t))
			require.Equal(t, step.Done, r.steps(t)[0].Status, "a refusal is an answer")

			calls := len(r.simulator.Calls())
			r.read(t, provider.PayPal)
			require.Len(t, r.simulator.Calls(), calls, "what was refused is not asked for again")
		})
	}
}

// An operator may vouch for a subscription whatever its custom_id says, and then it is nobody else's.
func TestAnOperatorVouchesAndItIsTaken(t *testing.T) {
	t.Parallel()
	for name, customID := range map[string]string{"another id": "u_2", "no id": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setupReads(t, patient)
			_, err := r.simulator.PayPal().PutSubscription(simulator.PayPalSubscription{ID: "I-VOUCHED", CustomID: customID})
			require.NoError(t, err)
			r.bind(t, "I-VOUCHED", "grace@ops")
			r.read(t, provider.PayPal)
			bound := r.binding(t, "I-VOUCHED")
			require.Equal(t, subscription.Bound, bound.Status)
			require.Equal(t, "grace@ops", bound.Operator)
			state, _ := r.known(t)
			require.Equal(t, "I-VOUCHED", state.SubscriptionID)
		})
	}
}

// Its custom_id is the customer's, and yet an operator gave it to somebody else before.
func TestASubscriptionThatIsTakenIsRefused(t *testing.T) {
	t.Parallel()
	r := setupReads(t, patient)
	r.exec(t, `INSERT INTO customers (id, email, content_hash) VALUES ('u_2', 'grace@example.com', '')`)
	made := r.simulator.PayPal().CreateSubscription("P-PRO", id)
	r.bind(t, made.ID, "")
	r.exec(t, `INSERT INTO paypal_bindings (subscription_id, customer_id, status, operator) VALUES ($1, 'u_2', 'bound', 'grace@ops')`, made.ID)

	r.read(t, provider.PayPal)

	refused := r.binding(t, made.ID)
	require.Equal(t, subscription.Refused, refused.Status)
	require.Equal(t, subscription.RefusedTaken, refused.Reason)
	_, all := r.known(t)
	require.Empty(t, all)
	require.Equal(t, 1, r.count(t, `SELECT count(*) FROM paypal_bindings WHERE status = 'bound'`))
}

// What is bound stays bound: that PayPal knows it no more is for a person, and takes nothing away.
func TestABoundSubscriptionThatPayPalLostIsForAPerson(t *testing.T) {
	t.Parallel()
	r := setupReads(t, patient)
	r.exec(t, `INSERT INTO paypal_bindings (subscription_id, customer_id, status) VALUES ('I-LOST', $1, 'bound')`, id)
	r.exec(t, `INSERT INTO subscriptions (provider, id, customer_id, status, provider_status, price_ids, created_at)
		VALUES ('paypal', 'I-LOST', $1, 'active', 'ACTIVE', '{P-PRO}', now())`, id)
	r.mark(t, provider.PayPal, subscription.ByEvent)

	_, err := r.tryToRead(provider.PayPal)

	requireFailure(t, err, provider.NotFound, false)
	_, all := r.known(t)
	require.Len(t, all, 1)
	require.Equal(t, subscription.Bound, r.binding(t, "I-LOST").Status)
	require.Equal(t, []provider.Name{provider.PayPal}, r.dirty(t))
	r.park(t, provider.PayPal, provider.NotFound, step.ForPerson)
}

// A custom_id is looked at once: PayPal lets a merchant change it later.
func TestWhatIsBoundStaysBoundWhateverItsCustomIDBecomes(t *testing.T) {
	t.Parallel()
	r := setupReads(t, patient)
	seed := simulator.PayPalSubscription{ID: "I-MINE", CustomID: id}
	_, err := r.simulator.PayPal().PutSubscription(seed)
	require.NoError(t, err)
	r.bind(t, seed.ID, "")
	r.read(t, provider.PayPal)
	seed.CustomID = "u_2"
	_, err = r.simulator.PayPal().PutSubscription(seed)
	require.NoError(t, err)
	r.read(t, provider.PayPal)
	state, _ := r.known(t)
	require.Equal(t, seed.ID, state.SubscriptionID)
}

// Every id that is bound or asked for is read, and one that is refused takes none of the others along.
// The first goes at once, as its queue's rate allows; only further ones wait for their turn.
func TestAWalkReadsEveryIDAndOnlyFurtherOnesWait(t *testing.T) {
	t.Parallel()
	r := setupReads(t, patient)
	for i, seed := range []simulator.PayPalSubscription{
		{ID: "I-OLD", CustomID: id, Status: "CANCELLED"}, {ID: "I-OTHERS", CustomID: "u_2"}, {ID: "I-NEW", CustomID: id},
	} {
		_, err := r.simulator.PayPal().PutSubscription(seed)
		require.NoError(t, err)
		r.bind(t, seed.ID, "")
		r.read(t, provider.PayPal)
		require.Len(t, r.simulator.Calls().To(http.MethodGet, subscriptionPath+"/{id}"), []int{1, 3, 5}[i], "the refused one is not read again")
		require.Equal(t, []int{0, 1, 2}[i], r.turns.taken)
	}
	state, all := r.known(t)
	require.Len(t, all, 2)
	require.Equal(t, "I-NEW", state.SubscriptionID)
}

// A walk that ends in the middle has read nothing: what was not looked at is not gone.
func TestAWalkThatIsCutShortChangesNothing(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(t *testing.T, r reads){
		"its turn does not come": func(_ *testing.T, r reads) { r.turns.refusal = errors.New("the activity's time is over") },
		"its second call fails": func(t *testing.T, r reads) {
			require.NoError(t, r.simulator.SetFaults(simulator.Fault{Kind: simulator.Unavailable, PathPrefix: subscriptionPath + "/I-B"}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setupReads(t, patient)
			for _, subscriptionID := range []string{"I-A", "I-B"} {
				_, err := r.simulator.PayPal().PutSubscription(simulator.PayPalSubscription{ID: subscriptionID, CustomID: id})
				require.NoError(t, err)
				r.bind(t, subscriptionID, "")
			}
			r.read(t, provider.PayPal)
			_, err := r.simulator.PayPal().Cancel("I-A")
			require.NoError(t, err)
			_, before := r.known(t)
			r.mark(t, provider.PayPal, subscription.ByEvent)
			cut(t, r)

			_, err = r.tryToRead(provider.PayPal)

			require.Error(t, err)
			_, after := r.known(t)
			require.Equal(t, before, after)
			require.Equal(t, []provider.Name{provider.PayPal}, r.dirty(t))
		})
	}
}

// A word of next year is shown as it is, and gives nobody a plan.
func TestAStatusThatNobodyKnowsIsShownRaw(t *testing.T) {
	t.Parallel()
	r := setupReads(t, patient)
	r.subscribe(t, provider.PayPal)
	r.subscribe(t, provider.Stripe)
	_, err := r.simulator.PayPal().SetStatus(r.simulator.PayPal().Subscriptions()[0].ID, "DORMANT")
	require.NoError(t, err)
	_, err = r.simulator.Stripe().SetStatus(r.simulator.Stripe().Subscriptions()[0].ID, "quiescent")
	require.NoError(t, err)
	r.read(t, provider.PayPal)
	r.read(t, provider.Stripe)
	_, all := r.known(t)
	require.Len(t, all, 2)
	shown := map[provider.Name]string{}
	for _, s := range all {
		require.Equal(t, subscription.Incomplete, s.Status)
		require.Nil(t, s.PaidUntil)
		shown[s.Provider] = s.ProviderStatus
	}
	require.Equal(t, map[provider.Name]string{provider.PayPal: "DORMANT", provider.Stripe: "quiescent"}, shown)
}
