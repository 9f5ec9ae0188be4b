package activities_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/activities"
	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

// An ordeal is one account's creation in a world where anything may happen between two attempts.
type ordeal struct {
	bundle

	random  *rand.Rand
	account string
	email   string
	story   []string // what happened, for the message of a test that fails
}

// happening is something that goes wrong, or the time that passes.
type happening struct {
	name string
	do   func(*ordeal, *testing.T)
}

// happenings are what is drawn from between the days that pass. Faults concern one attempt each.
func happenings() []happening {
	all := []happening{
		{"nothing goes wrong", func(o *ordeal, t *testing.T) { _ = o.attempt(t) }},
		{"the answer cannot be recorded", (*ordeal).unrecorded},
		{"Stripe refuses the address for a while", (*ordeal).refused},
	}
	for _, kind := range []simulator.FaultKind{
		simulator.Hang, simulator.Reset, simulator.ServerError, simulator.BadGateway, simulator.Unavailable, simulator.TooManyRequests,
		simulator.WrongKey, simulator.ExecuteThenDrop, simulator.ExecuteThen500, simulator.Stored500, simulator.Truncate, simulator.Stall,
	} {
		all = append(all, happening{string(kind), func(o *ordeal, t *testing.T) { o.faulty(t, simulator.Fault{Kind: kind}) }})
	}
	return append(all, happening{"refuse", func(o *ordeal, t *testing.T) { o.faulty(t, simulator.Fault{Kind: simulator.Refuse}) }})
}

func (o *ordeal) attempt(t *testing.T) error {
	t.Helper()
	_, err := o.env.ExecuteActivity("impatient", workflows.CallInput{CustomerID: o.account, Step: customer.StepStripeCustomer})
	if err != nil {
		require.NotContains(t, err.Error(), o.email)
	}
	return err
}

func (o *ordeal) faulty(t *testing.T, f simulator.Fault) {
	t.Helper()
	require.NoError(t, o.simulator.SetFaults(f))
	_ = o.attempt(t)
	require.NoError(t, o.simulator.ClearFaults())
}

func (o *ordeal) unrecorded(t *testing.T) {
	t.Helper()
	o.exec(t, `ALTER TABLE customers ADD CONSTRAINT full_disk CHECK (stripe_bound_at IS NULL) NOT VALID`)
	_ = o.attempt(t)
	o.exec(t, `ALTER TABLE customers DROP CONSTRAINT full_disk`)
}

func (o *ordeal) refused(t *testing.T) {
	t.Helper()
	o.simulator.Stripe().RejectEmail(o.email, "email_invalid")
	_ = o.attempt(t)
	o.simulator.Stripe().AllowEmail(o.email)
}

// aDayPasses makes everything older than the life of a key, after what is in execution has ended.
func (o *ordeal) aDayPasses(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		unanswered := func(c simulator.Call) bool { return c.AnsweredAt.IsZero() }
		return len(o.simulator.Calls().Where(unanswered)) == 0
	}, time.Minute, time.Millisecond)
	o.exec(t, `UPDATE provider_requests SET first_sent_at = first_sent_at - interval '24 hours 1 minute',
		last_sent_at = last_sent_at - interval '24 hours 1 minute' WHERE subject = $1`, o.account)
	o.exec(t, `UPDATE customers SET created_at = created_at - interval '24 hours 1 minute' WHERE id = $1`, o.account)
	o.simulator.Stripe().PruneIdempotencyKeys()
}

// S4, under every sequence of faults: exactly one Stripe customer, bound, and never a write
// without a key.
func TestAnySequenceOfFaultsEndsInOneCustomer(t *testing.T) {
	t.Parallel()
	const (
		worlds   = 6
		accounts = 15 // in each
	)
	for seed := range uint64(worlds) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.registerImpatient(t)
			for i := range accounts {
				o := b.ordeal(t, seed, i)
				o.suffer(t)
				require.NoError(t, o.untilDone(t), "%s: %s", o.account, strings.Join(o.story, ", "))
				o.requireOne(t)
			}
			audit := b.simulator.Stripe().Audit()
			require.Equal(t, accounts, audit.Customers)
			require.Equal(t, accounts, audit.Accounts)
			require.Zero(t, b.simulator.PostsWithoutKey())
			require.Zero(t, b.count(t, `SELECT count(*) FROM provider_requests WHERE error LIKE '%@%'`))
			require.Zero(t, b.count(t, `SELECT count(*) FROM steps WHERE last_error LIKE '%@%'`))
			require.Zero(t, b.count(t, `SELECT count(*) FROM outbox WHERE message::text LIKE '%@%'`))
		})
	}
}

// registerImpatient makes the creation by clients that wait for an eighth of a second where a call hangs,
// each with a connection of its own: on one that was used before, net/http would send a keyed request again
// by itself, and a dropped answer would not show.
func (b bundle) registerImpatient(t *testing.T) {
	t.Helper()
	b.register("impatient", func(ctx context.Context, in workflows.CallInput) error {
		timeout := b.patience()
		if timeout == impatient {
			timeout = 125 * time.Millisecond // there are many
		}
		calls, err := stripe.New(stripe.Config{SecretKey: simulator.DefaultStripeKey, APIBase: b.simulator.StripeURL(), Timeout: timeout})
		if err != nil {
			return err
		}
		return activities.NewStripe(b.pool, customersOn(b.pool), subscriptionsOn(b.pool), calls, nil, quiet()).CreateStripeCustomer(ctx, in)
	})
}

func (b bundle) ordeal(t *testing.T, seed uint64, i int) *ordeal {
	t.Helper()
	o := &ordeal{
		bundle: b, random: rand.New(rand.NewPCG(seed, uint64(i))),
		account: fmt.Sprintf("u_%d_%d", seed, i), email: fmt.Sprintf("ada+%d_%d@example.com", seed, i),
	}
	_, _, err := customersOn(b.pool).Create(t.Context(), customer.Profile{ID: o.account, Email: o.email})
	require.NoError(t, err)
	b.exec(t, `UPDATE steps SET workflow_id = customer_id WHERE workflow_id = $1`, workflowID)
	b.exec(t, `UPDATE steps SET workflow_id = $1 WHERE customer_id = $2`, workflowID, o.account)
	return o
}

func (o *ordeal) suffer(t *testing.T) {
	t.Helper()
	const most = 7
	all := happenings()
	for range 1 + o.random.IntN(most) {
		what := all[o.random.IntN(len(all))]
		if o.random.IntN(4) == 0 {
			what = happening{"a day passes", (*ordeal).aDayPasses}
		}
		o.story = append(o.story, what.name)
		what.do(o, t)
	}
}

// untilDone tries again as Temporal, the gate and people would; when an absence is not believed
// yet, time passes.
func (o *ordeal) untilDone(t *testing.T) (err error) {
	t.Helper()
	const most = 12
	for range most {
		if err = o.attempt(t); err == nil {
			return nil
		}
		if strings.Contains(err.Error(), "not_found_yet") {
			o.exec(t, `UPDATE provider_requests SET last_sent_at = last_sent_at - interval '10 minutes' WHERE subject = $1`, o.account)
		}
	}
	return err
}

func (o *ordeal) requireOne(t *testing.T) {
	t.Helper()
	story := strings.Join(o.story, ", ")
	c, err := customersOn(o.pool).Get(t.Context(), o.account)
	require.NoError(t, err)
	require.True(t, c.StripeConfirmed, story)
	var ours []string
	for _, made := range o.simulator.Stripe().Customers() {
		if made.Metadata["holdfast_customer_id"] == o.account {
			ours = append(ours, made.ID)
		}
	}
	require.Equal(t, []string{c.StripeCustomerID}, ours, story)
	require.Equal(t, step.Done, o.steps(t)[0].Status, story)
}

// While the first request is still in execution its key is in use: that is no refusal, and the
// same key tells the outcome later.
func TestAKeyInUseIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := setupUnder(t, simulator.Stall)
	b.signUp(t)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Stall, Times: 1}))
	requireFailure(t, b.create(), provider.OutcomeUnknown, true)
	inUse := failureOf(t, b.create(), provider.Transient, true)
	require.Contains(t, inUse.Message(), "idempotency_key_in_use")
	require.Empty(t, b.simulator.Stripe().Customers())
	require.NoError(t, b.simulator.ClearFaults())
	require.Eventually(t, func() bool { return b.create() == nil }, time.Minute, time.Millisecond)
	b.requireOneCustomer(t)
	require.Equal(t, 1, b.count(t, `SELECT max(epoch) FROM provider_requests`))
}

// Two attempts at once, as when Temporal gave one up that goes on: they share the key.
func TestTwoAttemptsAtOnceMakeOneCustomer(t *testing.T) {
	t.Parallel()
	const rounds = 5
	b := setup(t)
	other := setupBeside(t, b)
	b.signUp(t)
	for range rounds {
		done := make(chan error, 1)
		go func() { done <- other.call("beside", customer.StepStripeCustomer) }()
		_ = b.create()
		t.Log("the one beside ended with", <-done)
		require.NoError(t, b.create())
		b.requireOneCustomer(t)
		b.exec(t, `UPDATE customers SET stripe_bound_at = NULL, stripe_customer_id = NULL; UPDATE steps SET status = 'pending';
			UPDATE provider_requests SET outcome = 'open', object_id = ''`)
	}
}

// setupBeside is another worker on the same database and the same Stripe.
func setupBeside(t *testing.T, b bundle) bundle {
	t.Helper()
	other := setupOn(t, b.pool, patient)
	calls, err := stripe.New(stripe.Config{SecretKey: simulator.DefaultStripeKey, APIBase: b.simulator.StripeURL(), Timeout: patient})
	require.NoError(t, err)
	other.register("beside", activities.NewStripe(b.pool, customersOn(b.pool), subscriptionsOn(b.pool), calls, nil, quiet()).CreateStripeCustomer)
	return other
}

func TestAStripeCustomerOfAnotherAccountIsNeverBound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	_, _, err := customersOn(b.pool).Create(t.Context(), customer.Profile{ID: "u_2", Email: "bob@example.com"})
	require.NoError(t, err)
	require.NoError(t, customer.BindStripe(t.Context(), b.pool, "u_2", "cus_theirs", 1))
	b.exec(t, `INSERT INTO provider_requests (idempotency_key, provider, operation, subject, epoch, params, outcome, object_id)
		VALUES ('k', 'stripe', 'create_customer', $1, 1, '{}', 'succeeded', 'cus_theirs')`, id)

	failure := failureOf(t, b.create(), provider.Rejected, false)

	require.Contains(t, failure.Message(), "bound_elsewhere")
	c, err := customersOn(b.pool).Get(t.Context(), id)
	require.NoError(t, err)
	require.False(t, c.StripeConfirmed)
	require.Empty(t, c.StripeCustomerID)
	require.NotEqual(t, step.Done, b.steps(t)[0].Status)
	require.Empty(t, b.simulator.Calls())
}

// An e-mail that changed before the app's own Stripe customer was claimed is still carried: the
// claim takes the customer over as it is.
func TestAChangeBeforeTheClaimIsCarriedAfterIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	brought, err := b.simulator.Stripe().PutCustomer(simulator.Customer{Email: address})
	require.NoError(t, err)
	b.signUp(t, func(p *customer.Profile) { p.StripeCustomerID = brought.ID })
	b.changeEmail(t, "new@example.com", 2)
	require.NoError(t, b.call(workflows.ActivityVerifyStripeCustomer, customer.StepStripeCustomer))
	require.NoError(t, b.call(workflows.ActivityClaimStripeCustomer, customer.StepStripeCustomer))
	require.Equal(t, address, b.simulator.Stripe().Customers()[0].Email, "a claim changes metadata alone")

	require.NoError(t, b.call(workflows.ActivityUpdateStripeProfile, customer.StepStripeProfile))

	require.Equal(t, "new@example.com", b.simulator.Stripe().Customers()[0].Email)
	b.requireOneCustomer(t)
}

// changeEmail stores what PATCH would, for the workflow of the test environment.
func (b bundle) changeEmail(t *testing.T, email string, version int) {
	t.Helper()
	b.exec(t, `UPDATE customers SET email = $1, profile_version = $2`, email, version)
	require.NoError(t, step.Reopen(t.Context(), b.pool, step.Step{
		WorkflowID: workflowID, Name: customer.StepStripeProfile, CustomerID: id, Provider: provider.Stripe,
	}))
}

func TestAProfileThatChangesWhileItIsCarriedIsReportedAsNewer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	require.NoError(t, b.create())
	b.changeEmail(t, "second@example.com", 2)
	b.exec(t, `CREATE FUNCTION meanwhile() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN UPDATE customers SET email = ''third@example.com'', profile_version = 3; RETURN NEW; END';
		CREATE TRIGGER meanwhile BEFORE UPDATE OF first_sent_at ON provider_requests FOR EACH ROW
			WHEN (NEW.operation = 'update_profile' AND NEW.subject LIKE '%/2') EXECUTE FUNCTION meanwhile()`)
	carry := func() (result workflows.UpdateResult) {
		value, err := b.env.ExecuteActivity(workflows.ActivityUpdateStripeProfile, workflows.CallInput{CustomerID: id, Step: customer.StepStripeProfile})
		require.NoError(t, err)
		require.NoError(t, value.Get(&result))
		return result
	}
	require.True(t, carry().Newer)
	require.Equal(t, "second@example.com", b.simulator.Stripe().Customers()[0].Email)
	require.False(t, b.steps(t)[1].Status.Settled(), "there is more to carry")
	require.False(t, carry().Newer)
	require.Equal(t, "third@example.com", b.simulator.Stripe().Customers()[0].Email)
	require.Equal(t, step.Done, b.steps(t)[1].Status)
	require.Len(t, b.simulator.Calls().To(http.MethodPost, "/v1/customers/{id}"), 2)
}

// What is frozen is what is sent, whatever has changed since: another request under the same key
// would be refused, and leave the first one's outcome unknown.
func TestARepeatedCreationIsTheIdenticalRequest(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.ExecuteThenDrop}))
	requireFailure(t, b.create(), provider.OutcomeUnknown, true)
	require.NoError(t, b.simulator.ClearFaults())
	b.changeEmail(t, "new@example.com", 2)
	require.NoError(t, b.create())
	b.requireOneCustomer(t)
	require.Equal(t, address, b.simulator.Stripe().Customers()[0].Email)
	require.NoError(t, b.call(workflows.ActivityUpdateStripeProfile, customer.StepStripeProfile))
	require.Equal(t, "new@example.com", b.simulator.Stripe().Customers()[0].Email, "and the change follows")
}
