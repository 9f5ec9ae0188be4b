package paypal_test

import (
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/internal/simulator"
)

type bundle struct {
	*simulator.Simulator

	client   *paypal.Client
	breaker  *provider.Breaker
	observer *recorder
	id       string // of a subscription that waits for approval
}

func setup(t *testing.T) bundle {
	t.Helper()
	sim, err := simulator.Start(t.Context(), simulator.Config{PayPalClientID: testID, PayPalClientSecret: testSecret})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sim.Close()) })
	b := bundle{Simulator: sim, breaker: provider.NewBreaker(provider.PayPal, time.Hour), observer: &recorder{}}
	b.client = newClient(t, paypal.Config{APIBase: sim.PayPalURL(), Breaker: b.breaker, Observer: b.observer})
	b.id = sim.PayPal().CreateSubscription("P-PRO", "u_1").ID
	return b
}

func (b bundle) faults(t *testing.T, faults ...simulator.Fault) {
	t.Helper()
	require.NoError(t, b.SetFaults(faults...))
}

func (b bundle) read(ctx context.Context) error {
	_, err := b.client.GetSubscription(ctx, b.id)
	return err
}

func TestASubscriptionsLife(t *testing.T) {
	t.Parallel()
	b := setup(t)
	read := func() paypal.Subscription {
		got, err := b.client.GetSubscription(t.Context(), b.id)
		require.NoError(t, err)
		return got
	}

	pending := read()
	require.Equal(t, "APPROVAL_PENDING", pending.Status)
	require.Equal(t, "P-PRO", pending.PlanID)
	require.Equal(t, "u_1", pending.CustomID)
	require.Equal(t, "1", pending.Quantity)
	require.Zero(t, pending.NextBillingTime)
	require.Zero(t, pending.LastPaymentTime)

	approved, err := b.PayPal().Approve(b.id)
	require.NoError(t, err)
	active := read()
	require.Equal(t, "ACTIVE", active.Status)
	require.Equal(t, approved.LastPaymentTime, active.LastPaymentTime)
	require.Equal(t, approved.NextBillingTime, active.NextBillingTime)
	require.Equal(t, active.StatusUpdateTime.AddDate(0, 1, 0), active.NextBillingTime)
	require.Equal(t, "10.00 USD", active.LastPaymentAmount+" "+active.LastPaymentCurrency)

	_, err = b.PayPal().RenewPayment(b.id)
	require.NoError(t, err)
	require.Equal(t, active.NextBillingTime.AddDate(0, 1, 0), read().NextBillingTime)

	_, err = b.PayPal().Cancel(b.id)
	require.NoError(t, err)
	canceled := read()
	require.Equal(t, "CANCELLED", canceled.Status)
	require.Zero(t, canceled.NextBillingTime)
	require.NotZero(t, canceled.LastPaymentTime)
}

func TestASubscriptionThatPayPalDoesNotHave(t *testing.T) {
	t.Parallel()
	b := setup(t)

	_, err := b.client.GetSubscription(t.Context(), "I-NOBODYS")

	failure := failureOf(t, err)
	require.Equal(t, notFound, failure.Class)
	require.Equal(t, "INVALID_RESOURCE_ID", failure.Code)
	require.NotEmpty(t, failure.RequestID)
}

func TestEveryFaultHasAClass(t *testing.T) {
	t.Parallel()
	const subscriptions = "/v1/billing"
	for kind, want := range faultClasses {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.faults(t, simulator.Fault{Kind: kind, Provider: "paypal", PathPrefix: subscriptions})

			require.Equal(t, want.read, failureOf(t, b.read(t.Context())).Class)
			require.Equal(t, want.write, failureOf(t, b.client.Write(t.Context(), "k", map[string]string{"plan_id": "P-1"})).Class)
			require.Zero(t, b.PostsWithoutKey())
		})
	}
}

func TestAFaultOfTheTokenLeavesNoWriteInDoubt(t *testing.T) {
	t.Parallel()
	for kind, want := range map[simulator.FaultKind]provider.Class{
		simulator.Reset:           transient,
		simulator.ServerError:     transient,
		simulator.BadGateway:      transient,
		simulator.TooManyRequests: rateLimited,
		simulator.WrongKey:        misconfigured,
		simulator.ExecuteThenDrop: transient,
		simulator.Truncate:        transient,
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.faults(t, simulator.Fault{Kind: kind, Provider: "paypal", PathPrefix: tokenPath})

			failure := failureOf(t, b.client.Write(t.Context(), "k", map[string]string{"plan_id": "P-1"}))

			require.Equal(t, want, failure.Class)
			require.Len(t, b.PayPal().Subscriptions(), 1, "nothing was made")
		})
	}
}

func TestARefusedConnectionLeavesNoWriteInDoubt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.faults(t, simulator.Fault{Kind: simulator.Refuse, Provider: "paypal"})

	failure := failureOf(t, b.client.Write(t.Context(), "k", nil))

	require.Equal(t, transient, failure.Class)
	require.Equal(t, provider.CodeNetwork, failure.Code)
}

func TestTheSameRequestIDAgainIsTheSameWrite(t *testing.T) {
	t.Parallel()
	b := setup(t)
	body := map[string]string{"plan_id": "P-1"}
	b.faults(t, simulator.Fault{Kind: simulator.ExecuteThenDrop, Method: http.MethodPost, PathPrefix: "/v1/billing", Times: 1})
	require.Equal(t, unknown, failureOf(t, b.client.Write(t.Context(), "k", body)).Class)

	require.NoError(t, b.client.Write(t.Context(), "k", body))

	require.Len(t, b.PayPal().Subscriptions(), 2, "the first, and one")
}

func TestARevokedTokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.read(t.Context()))
	b.PayPal().ExpireTokens()

	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if err := b.read(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()

	require.Len(t, b.Calls().To(http.MethodPost, tokenPath), 2)
	for _, call := range b.Calls().To(http.MethodPost, tokenPath) {
		require.Equal(t, http.StatusOK, call.Status)
	}
}

func TestARevokedTokenDelaysAWriteAndNothingElse(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.read(t.Context()))
	b.PayPal().ExpireTokens()

	require.NoError(t, b.client.Write(t.Context(), "k", map[string]string{"plan_id": "P-1"}))

	require.Len(t, b.PayPal().Subscriptions(), 2)
}

func TestWhatBreaksAfterARefusedTokenIsNotAboutTheToken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.read(t.Context()))
	b.faults(t,
		simulator.Fault{Kind: simulator.WrongKey, PathPrefix: "/v1/billing", Times: 1},
		simulator.Fault{Kind: simulator.ExecuteThenDrop, PathPrefix: "/v1/billing", Times: 1})

	failure := failureOf(t, b.client.Write(t.Context(), "k", map[string]string{"plan_id": "P-1"}))

	require.Equal(t, unknown, failure.Class)
	require.Zero(t, failure.Status)
}

func TestARotatedSecret(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.read(t.Context()))

	b.PayPal().SetCredentials(testID, "next-secret")
	require.NoError(t, b.read(t.Context()), "a token outlives its secret")
	require.Equal(t, misconfigured, failureOf(t, b.client.Probe(t.Context())).Class, "a probe does not")

	b.PayPal().ExpireTokens()
	failure := failureOf(t, b.read(t.Context()))
	require.Equal(t, misconfigured, failure.Class)
	require.Equal(t, "invalid_client", failure.Code)

	renewed := newClient(t, paypal.Config{ClientID: testID, ClientSecret: "next-secret", APIBase: b.PayPalURL()})
	_, err := renewed.GetSubscription(t.Context(), b.id)
	require.NoError(t, err)

	b.PayPal().SetCredentials(testID, testSecret)
	require.NoError(t, b.read(t.Context()), "the old secret is good again, and so is the old client")
}

func TestAShortDeadlineWhileATokenHangs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.faults(t, simulator.Fault{Kind: simulator.Hang, PathPrefix: tokenPath})
	patient := make(chan error, 1)
	go func() { patient <- b.read(t.Context()) }()
	require.Eventually(t, func() bool { return b.Faults()[0].Hits == 1 }, time.Minute, 5*time.Millisecond)

	hasty, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := b.read(hasty)

	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, transient, failureOf(t, err).Class)
	select {
	case err := <-patient:
		require.Fail(t, "the other caller still waits", "%v", err)
	default:
	}
	require.NoError(t, b.ClearFaults())
	require.NoError(t, <-patient)
	require.Len(t, b.Calls().To(http.MethodPost, tokenPath), 1)
}

func TestProbeGoesThroughAnOpenBreakerAndClosesIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.read(t.Context()))
	b.faults(t, simulator.Fault{Kind: simulator.Unavailable, Provider: "paypal"})
	for range 5 {
		require.Error(t, b.read(t.Context()))
	}
	require.True(t, b.breaker.Open())
	require.Equal(t, provider.CodeBreakerOpen, failureOf(t, b.read(t.Context())).Code)
	require.Equal(t, transient, failureOf(t, b.client.Probe(t.Context())).Class)
	require.True(t, b.breaker.Open())

	require.NoError(t, b.ClearFaults())
	require.NoError(t, b.client.Probe(t.Context()))

	require.False(t, b.breaker.Open())
	require.NoError(t, b.read(t.Context()))
}

func TestCallsAreObservedWithoutIDs(t *testing.T) {
	t.Parallel()
	b := setup(t)

	require.NoError(t, b.read(t.Context()))

	require.Equal(t, []string{"POST /v1/oauth2/token 200", "GET /v1/billing/subscriptions/{id} 200"}, b.observer.calls())
}

func TestACallEndsWithItsTime(t *testing.T) {
	t.Parallel()
	base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"access_`)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	client := newClient(t, paypal.Config{APIBase: base, Timeout: 100 * time.Millisecond})

	_, err := client.GetSubscription(t.Context(), subID)

	require.Equal(t, transient, failureOf(t, err).Class)
}
