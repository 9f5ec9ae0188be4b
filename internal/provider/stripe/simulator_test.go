package stripe_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/internal/simulator"
)

type bundle struct {
	*simulator.Simulator

	client   *stripe.Client
	breaker  *provider.Breaker
	observer *recorder
}

func setup(t *testing.T) bundle {
	t.Helper()
	sim, err := simulator.Start(t.Context(), simulator.Config{StripeKey: testKey})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sim.Close()) })
	b := bundle{Simulator: sim, breaker: provider.NewBreaker(provider.Stripe, time.Hour), observer: &recorder{}}
	b.client = newClient(t, stripe.Config{APIBase: sim.StripeURL(), Breaker: b.breaker, Observer: b.observer})
	b.client.ReadPagesAtOnce()
	return b
}

func (b bundle) faults(t *testing.T, faults ...simulator.Fault) {
	t.Helper()
	require.NoError(t, b.SetFaults(faults...))
}

func ada() stripe.CustomerParams {
	return stripe.CustomerParams{Email: "ada@example.com", Name: "Ada", Country: "GB", HoldfastCustomerID: "u_1"}
}

func (b bundle) create(ctx context.Context) (stripe.Customer, error) {
	return b.client.CreateCustomer(ctx, "holdfast/stripe/create_customer/u_1/1", ada())
}

func TestACustomersLife(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.Stripe().SetPromotionCodes(simulator.PromotionCode{Code: "SPRING", ID: "promo_1"}))
	created, err := b.create(t.Context())
	require.NoError(t, err)

	read, err := b.client.GetCustomer(t.Context(), created.ID)
	require.NoError(t, err)
	require.Equal(t, created, read)
	require.Equal(t, "u_1", read.HoldfastCustomerID())
	require.Equal(t, "GB", read.Country)

	promo, err := b.client.FindPromotionCode(t.Context(), "spring")
	require.NoError(t, err)
	name, email := "Ada L.", "ada@lovelace.example"
	changed, err := b.client.UpdateCustomer(t.Context(), "k", created.ID, stripe.CustomerUpdate{
		Name: &name, Email: &email, PromotionCodeID: promo, Metadata: map[string]string{"plan": "pro"},
	})
	require.NoError(t, err)
	require.Equal(t, stripe.Customer{
		ID: created.ID, Email: email, Name: name, Country: "GB", PromotionCodeID: "promo_1", Created: created.Created,
		Metadata: map[string]string{stripe.MetadataCustomerID: "u_1", "plan": "pro"},
	}, changed)
}

func TestTheSameKeyAgainIsTheSameCustomer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first, err := b.create(t.Context())
	require.NoError(t, err)
	second, err := b.create(t.Context())
	require.NoError(t, err)
	require.Equal(t, first, second)
	require.Len(t, b.Stripe().Customers(), 1)
}

func TestAKeyWithOtherParametersIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.create(t.Context())
	require.NoError(t, err)
	other := ada()
	other.Name = "Eve"

	_, err = b.client.CreateCustomer(t.Context(), "holdfast/stripe/create_customer/u_1/1", other)

	require.Equal(t, provider.Rejected, failureOf(t, err).Class)
	require.Equal(t, stripe.CodeIdempotencyError, failureOf(t, err).Code)
}

func TestCustomersThatAreNotThere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.Stripe().PutCustomer(simulator.Customer{ID: "cus_gone", Email: "gone@example.com", Deleted: true})
	require.NoError(t, err)

	_, err = b.client.GetCustomer(t.Context(), "cus_never")
	require.Equal(t, provider.NotFound, failureOf(t, err).Class)
	_, err = b.client.UpdateCustomer(t.Context(), "k", "cus_never", stripe.CustomerUpdate{})
	require.Equal(t, provider.NotFound, failureOf(t, err).Class)
	_, err = b.client.GetCustomer(t.Context(), "cus_gone")
	require.Equal(t, provider.Rejected, failureOf(t, err).Class)
	require.Equal(t, stripe.CodeCustomerDeleted, failureOf(t, err).Code)
}

func TestFindCustomerLooksThroughAllPagesForTheOldestOfOurs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	put := func(id, owner string, age int) {
		t.Helper()
		_, err := b.Stripe().PutCustomer(simulator.Customer{
			ID: id, Email: "ada@example.com", Metadata: map[string]string{stripe.MetadataCustomerID: owner},
			Created: began.Add(time.Duration(-age) * time.Second),
		})
		require.NoError(t, err)
	}
	for i := range 250 {
		put(fmt.Sprintf("cus_other%08d", i), "u_2", i)
	}
	put("cus_ours00000newer", "u_1", 240)
	put("cus_ours00000older", "u_1", 245)
	put("cus_ours00000older2", "u_1", 245)
	put("cus_ours0tooold", "u_1", 10_000)

	found, ok, err := b.client.FindCustomer(t.Context(), stripe.FindCustomerParams{
		Email: "ada@example.com", CreatedFrom: began.Add(-300 * time.Second), HoldfastCustomerID: "u_1",
	})

	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "cus_ours00000older", found.ID)
	require.Equal(t, []string{"200", "200", "200"}, b.observer.results(), "three pages")
}

func TestFindCustomerFindsNobodyElses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.create(t.Context())
	require.NoError(t, err)
	for name, p := range map[string]stripe.FindCustomerParams{
		"another account":  {Email: "ada@example.com", HoldfastCustomerID: "u_2"},
		"another address":  {Email: "eve@example.com", HoldfastCustomerID: "u_1"},
		"another case":     {Email: "Ada@example.com", HoldfastCustomerID: "u_1"},
		"made before then": {Email: "ada@example.com", HoldfastCustomerID: "u_1", CreatedFrom: time.Now().Add(time.Hour)},
	} {
		_, ok, err := b.client.FindCustomer(t.Context(), p)
		require.NoError(t, err, name)
		require.False(t, ok, name)
	}
	_, ok, err := b.client.FindCustomer(t.Context(), stripe.FindCustomerParams{Email: "ada@example.com", HoldfastCustomerID: "u_1"})
	require.NoError(t, err)
	require.True(t, ok)
}

// observerFunc is an observer that does something.
type observerFunc func(provider.Observation)

func (f observerFunc) ObserveCall(_ context.Context, o provider.Observation) { f(o) }

func TestHalfAListIsAnError(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.create(t.Context()) // the oldest, and so on the last page
	require.NoError(t, err)
	for i := range 150 {
		_, err := b.Stripe().PutCustomer(simulator.Customer{ID: fmt.Sprintf("cus_other%08d", i), Email: "ada@example.com"})
		require.NoError(t, err)
	}
	pages := 0
	client := newClient(t, stripe.Config{APIBase: b.StripeURL(), Observer: observerFunc(func(provider.Observation) {
		pages++
		b.faults(t, simulator.Fault{Kind: simulator.ServerError})
	})})

	_, found, err := client.FindCustomer(t.Context(), stripe.FindCustomerParams{Email: "ada@example.com", HoldfastCustomerID: "u_1"})

	require.Equal(t, provider.Transient, failureOf(t, err).Class)
	require.False(t, found)
	require.Equal(t, 2, pages)
}

func TestPromotionCodesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.Stripe().SetPromotionCodes(simulator.PromotionCode{Code: "OLD", Inactive: true}))
	for _, code := range []string{"OLD", "NEVER", ""} {
		_, err := b.client.FindPromotionCode(t.Context(), code)
		require.Equal(t, provider.Rejected, failureOf(t, err).Class, code)
		require.Equal(t, stripe.CodePromotionCodeNotFound, failureOf(t, err).Code, code)
	}
}

// meeting is a fault, and what a write and a read under it come to.
type meeting struct {
	kind    simulator.FaultKind
	onWrite provider.Class
	onRead  provider.Class
	code    string
	status  int
	wait    time.Duration
	done    bool // the write has had its effect
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, m := range []meeting{
		{kind: simulator.Refuse, onWrite: transient, onRead: transient, code: provider.CodeNetwork},
		{kind: simulator.Reset, onWrite: unknown, onRead: transient, code: provider.CodeNetwork},
		{kind: simulator.ServerError, onWrite: unknown, onRead: transient, code: "api_error", status: 500},
		{kind: simulator.BadGateway, onWrite: unknown, onRead: transient, code: provider.CodeUnreadable, status: 502},
		{kind: simulator.Unavailable, onWrite: unknown, onRead: transient, code: provider.CodeUnreadable, status: 503},
		{kind: simulator.TooManyRequests, onWrite: rateLimited, onRead: rateLimited, code: "rate_limit", status: 429, wait: 7 * time.Second},
		{kind: simulator.WrongKey, onWrite: misconfigured, onRead: misconfigured, code: "unauthorized", status: 401},
		{kind: simulator.ExecuteThenDrop, onWrite: unknown, onRead: transient, code: provider.CodeNetwork, done: true},
		{kind: simulator.ExecuteThen500, onWrite: unknown, onRead: transient, code: "api_error", status: 500, done: true},
		{kind: simulator.Truncate, onWrite: unknown, onRead: transient, code: provider.CodeUnreadable, status: 200, done: true},
	} {
		t.Run(string(m.kind), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			_, err := b.Stripe().PutCustomer(simulator.Customer{ID: "cus_eve00000", Email: "eve@example.com"})
			require.NoError(t, err)
			fault := simulator.Fault{Kind: m.kind}
			if m.kind == simulator.TooManyRequests {
				fault.RetryAfter = 7
			}
			b.faults(t, fault)

			_, err = b.client.GetCustomer(t.Context(), "cus_eve00000")
			read := failureOf(t, err)
			_, err = b.create(t.Context())
			write := failureOf(t, err)

			require.Equal(t, m.onRead, read.Class)
			require.Equal(t, m.onWrite, write.Class)
			for _, failure := range []*provider.Failure{read, write} {
				require.Equal(t, m.code, failure.Code)
				require.Equal(t, m.status, failure.Status)
				require.Equal(t, m.wait, failure.RetryAfter)
				require.False(t, failure.Replayed)
			}
			require.NoError(t, b.ClearFaults())
			_, found, err := b.client.FindCustomer(t.Context(), stripe.FindCustomerParams{Email: "ada@example.com", HoldfastCustomerID: "u_1"})
			require.NoError(t, err)
			require.Equal(t, m.done, found)
			require.Zero(t, b.PostsWithoutKey())
		})
	}
}

func TestTheSameKeyTellsWhatBecameOfALostAnswer(t *testing.T) {
	t.Parallel()
	for _, kind := range []simulator.FaultKind{simulator.ExecuteThenDrop, simulator.Truncate} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.faults(t, simulator.Fault{Kind: kind, Method: "POST"})
			_, err := b.create(t.Context())
			require.Equal(t, provider.OutcomeUnknown, failureOf(t, err).Class)
			require.NoError(t, b.ClearFaults())

			created, err := b.create(t.Context())

			require.NoError(t, err)
			require.Len(t, b.Stripe().Customers(), 1)
			require.Equal(t, b.Stripe().Customers()[0].ID, created.ID)
		})
	}
}

func TestAStoredServerErrorIsKnownAsReplayed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.faults(t, simulator.Fault{Kind: simulator.Stored500, Times: 1})
	_, err := b.create(t.Context())
	require.False(t, failureOf(t, err).Replayed)

	_, err = b.create(t.Context())

	failure := failureOf(t, err)
	require.Equal(t, provider.OutcomeUnknown, failure.Class)
	require.True(t, failure.Replayed)
}

func TestARefusalQuotesNoAddress(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Stripe().RejectEmail("ada@example.com", "email_invalid")

	_, err := b.create(t.Context())

	failure := failureOf(t, err)
	require.Equal(t, provider.Rejected, failure.Class)
	require.Equal(t, "email_invalid", failure.Code)
	require.Equal(t, "email", failure.Param)
	require.Regexp(t, `^req_`, failure.RequestID)
	require.NotContains(t, err.Error(), "example.com")
}

func TestAHangingStripe(t *testing.T) {
	t.Parallel()
	b := setup(t)
	impatient := newClient(t, stripe.Config{APIBase: b.StripeURL(), Timeout: time.Second, Observer: b.observer})
	b.faults(t, simulator.Fault{Kind: simulator.Hang})

	_, err := impatient.CreateCustomer(t.Context(), "k", ada())
	write := failureOf(t, err)
	require.Equal(t, provider.OutcomeUnknown, write.Class)
	require.Equal(t, provider.CodeNetwork, write.Code)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	_, err = impatient.GetCustomer(t.Context(), "cus_1")
	require.Equal(t, provider.Transient, failureOf(t, err).Class)
	require.Equal(t, []string{provider.ResultTimeout, provider.ResultTimeout}, b.observer.results())
}

func TestACallThatWeCancel(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.faults(t, simulator.Fault{Kind: simulator.Hang})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := b.create(ctx)
		ended <- err
	}()
	require.Eventually(t, func() bool { return len(b.Calls()) == 1 }, time.Minute, time.Millisecond)
	cancel()

	err := <-ended
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, provider.OutcomeUnknown, failureOf(t, err).Class)

	_, err = b.create(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, provider.Transient, failureOf(t, err).Class, "nothing was sent")
	require.Equal(t, provider.BreakerClosed, b.breaker.State())
}

func TestAKeyThatIsInUseIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.faults(t, simulator.Fault{Kind: simulator.Stall})
	ended := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := b.create(t.Context())
			ended <- err
		}()
	}

	refused := failureOf(t, <-ended) // the other one holds the key until the fault is over
	require.Equal(t, provider.Transient, refused.Class)
	require.Equal(t, "idempotency_key_in_use", refused.Code)

	require.NoError(t, b.ClearFaults())
	require.NoError(t, <-ended)
	require.Len(t, b.Stripe().Customers(), 1)
}

func TestTheBreakerSparesAStripeThatIsDown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.faults(t, simulator.Fault{Kind: simulator.BadGateway})
	for range 5 {
		_, err := b.create(t.Context())
		require.Equal(t, provider.OutcomeUnknown, failureOf(t, err).Class)
	}
	require.True(t, b.breaker.Open())

	_, err := b.create(t.Context())
	refused := failureOf(t, err)
	require.Equal(t, provider.Transient, refused.Class)
	require.Equal(t, provider.CodeBreakerOpen, refused.Code)
	require.Positive(t, refused.RetryAfter)
	require.Len(t, b.Calls(), 5)

	require.Equal(t, provider.Transient, failureOf(t, b.client.Probe(t.Context())).Class)
	require.True(t, b.breaker.Open())
	require.Len(t, b.Calls(), 6)

	require.NoError(t, b.ClearFaults())
	require.NoError(t, b.client.Probe(t.Context()))
	require.False(t, b.breaker.Open())
	_, err = b.create(t.Context())
	require.NoError(t, err)
}

func TestRefusedConnectionsOpenTheBreaker(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.faults(t, simulator.Fault{Kind: simulator.Refuse})
	for range 5 {
		_, err := b.create(t.Context())
		require.Equal(t, provider.CodeNetwork, failureOf(t, err).Code)
	}
	_, err := b.create(t.Context())
	require.Equal(t, provider.CodeBreakerOpen, failureOf(t, err).Code)
	require.Equal(t, provider.ResultBreakerOpen, b.observer.results()[5])
	require.Equal(t, provider.ResultNotSent, b.observer.results()[0])
}

func TestProbeSaysWhetherStripeAcceptsTheKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.client.Probe(t.Context()))
	b.Stripe().SetKeys(nil, []string{testKey})

	failure := failureOf(t, b.client.Probe(t.Context()))

	require.Equal(t, provider.Misconfigured, failure.Class)
	require.Equal(t, "api_key_expired", failure.Code)
}
