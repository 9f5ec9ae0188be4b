package activities_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

func TestCreateBindsTheCustomer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	require.NoError(t, b.create())
	b.requireOneCustomer(t)
	require.NoError(t, b.create(), "an attempt whose completion was lost is repeated")
	b.requireOneCustomer(t)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM provider_requests WHERE outcome = 'succeeded'`))
}

// S4: under every fault, and whatever the answer was, there is one customer at the end.
func TestEveryFaultEndsInOneCustomer(t *testing.T) {
	t.Parallel()
	cases := map[simulator.FaultKind]struct {
		class provider.Class
		retry bool
	}{
		simulator.Refuse:          {provider.Transient, true},
		simulator.Hang:            {provider.OutcomeUnknown, true},
		simulator.Reset:           {provider.OutcomeUnknown, true},
		simulator.ServerError:     {provider.OutcomeUnknown, true},
		simulator.BadGateway:      {provider.OutcomeUnknown, true},
		simulator.Unavailable:     {provider.OutcomeUnknown, true},
		simulator.TooManyRequests: {provider.RateLimited, true},
		simulator.WrongKey:        {provider.Misconfigured, false},
		simulator.ExecuteThenDrop: {provider.OutcomeUnknown, true},
		simulator.ExecuteThen500:  {provider.OutcomeUnknown, true},
		simulator.Stored500:       {provider.OutcomeUnknown, true},
		simulator.Truncate:        {provider.OutcomeUnknown, true},
		simulator.Stall:           {provider.OutcomeUnknown, true},
	}
	for kind, c := range cases {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			b := setupUnder(t, kind)
			b.signUp(t)
			require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: kind, RetryAfter: 0}))

			requireFailure(t, b.create(), c.class, c.retry)

			waiting := b.steps(t)[0]
			require.Equal(t, step.Retrying, waiting.Status)
			require.Equal(t, 1, waiting.Attempts)
			require.Equal(t, c.class, waiting.ErrorClass)
			require.Equal(t, c.retry, waiting.NextAttemptAt != nil)
			require.NoError(t, b.simulator.ClearFaults())
			b.createUntilDone(t)
			b.requireOneCustomer(t)
		})
	}
}

func TestRetryAfterIsWhatTheProviderAsked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.TooManyRequests, RetryAfter: 17}))
	failure := failureOf(t, b.create(), provider.RateLimited, true)
	require.Equal(t, 17*time.Second, failure.NextRetryDelay())
}

func TestADefiniteRefusalTakesANewKeyOnceItIsRetried(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	b.simulator.Stripe().RejectEmail(address, "email_invalid")
	requireFailure(t, b.create(), provider.Rejected, false)
	b.simulator.Stripe().AllowEmail(address)
	require.NoError(t, b.create())
	b.requireOneCustomer(t)
	require.Equal(t, 2, b.count(t, `SELECT max(epoch) FROM provider_requests`))
}

func TestAKeyThatIsTooOldIsLookedUpInstead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.ExecuteThenDrop}))
	requireFailure(t, b.create(), provider.OutcomeUnknown, true)
	require.NoError(t, b.simulator.ClearFaults())
	b.simulator.Stripe().PruneIdempotencyKeys()
	b.exec(t, `UPDATE provider_requests SET first_sent_at = now() - interval '23 hours 1 minute', last_sent_at = now() - interval '22 hours'`)
	posts := len(b.simulator.Calls().To(http.MethodPost, "/v1/customers"))

	// The customer was made just now, later than the look-up expects of a request this old; that is no
	// matter, since it looks from the first sending on.
	require.NoError(t, b.create())

	b.requireOneCustomer(t)
	require.Len(t, b.simulator.Calls().To(http.MethodPost, "/v1/customers"), posts, "nothing was sent under the old key")
}

func TestAbsenceIsNotBelievedTooSoon(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.ServerError}))
	requireFailure(t, b.create(), provider.OutcomeUnknown, true)
	require.NoError(t, b.simulator.ClearFaults())
	b.exec(t, `UPDATE provider_requests SET first_sent_at = now() - interval '24 hours', last_sent_at = now() - interval '9 minutes'`)

	requireFailure(t, b.create(), provider.OutcomeUnknown, true)
	require.Empty(t, b.simulator.Stripe().Customers())

	b.exec(t, `UPDATE provider_requests SET last_sent_at = now() - interval '11 minutes'`)
	requireFailure(t, b.create(), provider.Transient, true) // proven absent: the next attempt has a new key
	require.NoError(t, b.create())
	b.requireOneCustomer(t)
}

// S9: a backup was restored, and nothing here knows of the customer that Stripe has.
func TestACustomerOfARestoredAccountIsAdopted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	b.exec(t, `UPDATE customers SET created_at = now() - interval '3 days'`)
	_, err := b.simulator.Stripe().PutCustomer(simulator.Customer{
		Email: address, Metadata: map[string]string{"holdfast_customer_id": id}, Created: time.Now().Add(-48 * time.Hour),
	})
	require.NoError(t, err)
	b.createUntilDone(t)
	b.requireOneCustomer(t)
}

func TestAnAccountWhoseWorkIsLateIsMadeAllTheSame(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	b.exec(t, `UPDATE customers SET created_at = now() - interval '3 days'`)
	b.createUntilDone(t)
	b.requireOneCustomer(t)
}

func TestAKeyThatWasUsedWithOtherParametersIsLookedUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	require.NoError(t, b.create())
	// A restored backup forgot the request, and the app changed the name since.
	b.exec(t, `DELETE FROM provider_requests`)
	b.exec(t, `UPDATE customers SET stripe_bound_at = NULL, stripe_customer_id = NULL, name = 'Ada L.'`)
	b.exec(t, `UPDATE steps SET status = 'pending'`)
	requireFailure(t, b.create(), provider.OutcomeUnknown, true)
	require.NoError(t, b.create())
	b.requireOneCustomer(t)
}

// The answer arrived, and the recording of it did not.
func TestAnAnswerThatCouldNotBeRecordedIsAskedForAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	b.exec(t, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''disk full''; END';
		CREATE TRIGGER refuse BEFORE UPDATE OF stripe_bound_at ON customers FOR EACH ROW EXECUTE FUNCTION refuse()`)
	require.Error(t, b.create())
	require.Len(t, b.simulator.Stripe().Customers(), 1)
	b.exec(t, `DROP TRIGGER refuse ON customers`)
	require.NoError(t, b.create())
	b.requireOneCustomer(t)
}

func TestNobodyIsCalledWhileTheProviderIsKnownToBeDown(t *testing.T) {
	t.Parallel()
	for state, class := range map[provider.State]provider.Class{
		provider.StateDown: provider.Transient, provider.StateMisconfigured: provider.Misconfigured,
	} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.signUp(t)
			_, err := provider.NewHealthStore(b.pool).Set(t.Context(), provider.Stripe, state, "")
			require.NoError(t, err)
			requireFailure(t, b.create(), class, false)
			require.Empty(t, b.simulator.Calls())
			require.Zero(t, b.count(t, `SELECT count(*) FROM outbox`), "the gate knows")
		})
	}
}

func TestTroubleIsReportedOnceInEachEpoch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	b.simulator.Stripe().SetKeys([]string{"sk_test_another"}, nil)
	for range 5 {
		requireFailure(t, b.create(), provider.Misconfigured, false)
	}
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox WHERE message ->> 'workflow' = 'ProviderGate'`))
	health := provider.NewHealthStore(b.pool)
	for _, state := range []provider.State{provider.StateMisconfigured, provider.StateUp} {
		_, err := health.Set(t.Context(), provider.Stripe, state, "")
		require.NoError(t, err)
	}
	requireFailure(t, b.create(), provider.Misconfigured, false)
	require.Equal(t, 2, b.count(t, `SELECT count(*) FROM outbox WHERE message ->> 'workflow' = 'ProviderGate'`))
}

func TestAnOpenBreakerReportsTrouble(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Refuse}))
	for range 5 {
		requireFailure(t, b.create(), provider.Transient, true)
	}
	require.True(t, b.breaker.Open())
	failure := failureOf(t, b.create(), provider.Transient, true)
	require.Contains(t, failure.Message(), provider.CodeBreakerOpen)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox`))
}

func TestABroughtCustomerIsVerifiedAndClaimed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	brought, err := b.simulator.Stripe().PutCustomer(simulator.Customer{Email: address})
	require.NoError(t, err)
	b.signUp(t, func(p *customer.Profile) { p.StripeCustomerID = brought.ID })
	require.NoError(t, b.call(workflows.ActivityVerifyStripeCustomer, customer.StepStripeCustomer))
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.ExecuteThen500, Method: http.MethodPost}))
	requireFailure(t, b.call(workflows.ActivityClaimStripeCustomer, customer.StepStripeCustomer), provider.OutcomeUnknown, true)
	requireFailure(t, b.call(workflows.ActivityClaimStripeCustomer, customer.StepStripeCustomer), provider.OutcomeUnknown, true)
	require.NoError(t, b.call(workflows.ActivityClaimStripeCustomer, customer.StepStripeCustomer), "the third attempt looks, and finds it done")
	b.requireOneCustomer(t)
}

func TestABroughtCustomerThatCannotBeOurs(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		seed  simulator.Customer
		class provider.Class
	}{
		"belongs to another account": {simulator.Customer{ID: "cus_1111", Metadata: map[string]string{"holdfast_customer_id": "u_2"}}, provider.Rejected},
		"was deleted":                {simulator.Customer{ID: "cus_1111", Deleted: true}, provider.Rejected},
		"is not there":               {simulator.Customer{ID: "cus_2222"}, provider.NotFound},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			_, err := b.simulator.Stripe().PutCustomer(c.seed)
			require.NoError(t, err)
			b.signUp(t, func(p *customer.Profile) { p.StripeCustomerID = "cus_1111" })
			requireFailure(t, b.call(workflows.ActivityVerifyStripeCustomer, customer.StepStripeCustomer), c.class, false)
		})
	}
}

func TestAPromoCodeIsAppliedOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.simulator.Stripe().SetPromotionCodes(simulator.PromotionCode{Code: "SPRING", ID: "promo_1"}))
	b.signUp(t, func(p *customer.Profile) { p.PromoCode = "SPRING" })
	require.NoError(t, b.create())
	found, err := b.env.ExecuteActivity(workflows.ActivityFindPromotionCode, workflows.CallInput{CustomerID: id, Step: customer.StepPromoCode})
	require.NoError(t, err)
	var result workflows.FindResult
	require.NoError(t, found.Get(&result))
	require.Equal(t, "promo_1", result.ID)

	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.ExecuteThen500, Method: http.MethodPost}))
	for range 2 {
		requireFailure(t, b.call(workflows.ActivityApplyPromotionCode, customer.StepPromoCode), provider.OutcomeUnknown, true)
	}
	require.NoError(t, b.call(workflows.ActivityApplyPromotionCode, customer.StepPromoCode))
	require.Equal(t, "promo_1", b.simulator.Stripe().Customers()[0].PromotionCode)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM provider_requests WHERE operation = 'apply_promotion_code'`), "it was seen, not sent again")
}

func TestAnUnknownPromoCodeIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, func(p *customer.Profile) { p.PromoCode = "NOPE" })
	failure := failureOf(t, b.call(workflows.ActivityFindPromotionCode, customer.StepPromoCode), provider.Rejected, false)
	require.Contains(t, failure.Message(), "promotion_code_not_found")
}

func TestAProfileIsCarriedOnceForEachVersion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	require.NoError(t, b.create())
	b.exec(t, `UPDATE customers SET email = 'new@example.com', profile_version = 2`)
	b.exec(t, `INSERT INTO steps (workflow_id, name, customer_id, provider, status) VALUES ($1, 'stripe_profile', $2, 'stripe', 'pending')`, workflowID, id)
	require.NoError(t, b.call(workflows.ActivityUpdateStripeProfile, customer.StepStripeProfile))
	require.NoError(t, b.call(workflows.ActivityUpdateStripeProfile, customer.StepStripeProfile))
	require.Equal(t, "new@example.com", b.simulator.Stripe().Customers()[0].Email)
	require.Len(t, b.simulator.Calls().To(http.MethodPost, "/v1/customers/{id}"), 1)
}
