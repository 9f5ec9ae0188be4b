package workflows_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

const park = workflows.ActivityParkStep

// fallbackOf runs the onboarding of one customer until its step has parked and looked again by
// itself, and gives how long that took at most, as it was recorded.
func fallbackOf(t *testing.T, customerID string) time.Duration {
	t.Helper()
	w := setup(t)
	w.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: workflows.OnboardingID(customerID)})
	w.script(create, failing(provider.Misconfigured, "api_key_expired"))
	w.env.ExecuteWorkflow(workflows.CustomerOnboarding, workflows.OnboardingInput{CustomerID: customerID})
	require.NoError(t, w.env.GetWorkflowError())
	require.Len(t, w.parked, 1)
	return w.parked[0].NextAttemptAt.Sub(w.began).Round(time.Second)
}

func TestStepsThatParkedTogetherLookAgainSpreadOverFiveMinutes(t *testing.T) {
	t.Parallel()
	const (
		customers = 40
		slices    = 5 // minutes, from the fifteenth to the twentieth
	)
	var inMinute [slices]int
	for i := range customers {
		wait := fallbackOf(t, fmt.Sprintf("u_%d", i))
		require.GreaterOrEqual(t, wait, 15*time.Minute)
		require.LessOrEqual(t, wait, 20*time.Minute)
		inMinute[min(int((wait-15*time.Minute)/time.Minute), slices-1)]++
	}
	for minute, n := range inMinute {
		require.NotZero(t, n, "nobody looks again in minute %d: %v", 15+minute, inMinute)
	}
}

func TestAStepLooksAgainAtTheSameTimeInEveryReplay(t *testing.T) {
	t.Parallel()
	first, again := fallbackOf(t, "u_7"), fallbackOf(t, "u_7")
	require.Equal(t, first, again)
	require.NotEqual(t, first, fallbackOf(t, "u_8"))
}

// What an operator was told is done will be done, also when the provider comes back at that moment.
func TestARecoveryDoesNotUndoASkip(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.script(create, failing(provider.Misconfigured, "api_key_expired"))
	w.script(park, slow())
	var said *update
	w.after(5*time.Second, func() { said = w.say(workflows.UpdateSkip, stripeCustomer) })
	w.after(6*time.Second, func() { w.providerUp(provider.Stripe) })

	w.run(t)

	require.True(t, said.completed)
	require.NoError(t, said.err)
	require.Equal(t, []string{customer.StepStripeCustomer}, w.skipped)
	require.Equal(t, 1, w.count(create))
}

func TestAWorkflowThatContinuedAsNewDoesNotShowWhatTheRunBeforeWaitedFor(t *testing.T) {
	t.Parallel()
	w := setup(t)
	upserts := w.upserts()
	require.NoError(t, w.env.SetTypedSearchAttributesOnStart(temporal.NewSearchAttributes(
		temporal.NewSearchAttributeKeyKeyword(workflows.SearchStatus).ValueSet(workflows.StatusWaitingOnProvider),
		temporal.NewSearchAttributeKeyKeyword(workflows.SearchBlockedOn).ValueSet("stripe"),
		temporal.NewSearchAttributeKeyKeyword(workflows.SearchCustomer).ValueSet(id),
	)))

	require.True(t, w.run(t).BillingReady)

	require.Equal(t, []map[string]string{{"HoldfastStatus": "running", "HoldfastCustomer": id}}, *upserts)
}

func TestNothingIsShownAsWaitingWhenAllIsSkipped(t *testing.T) {
	t.Parallel()
	w := setup(t)
	upserts := w.upserts()
	w.plans = []workflows.Plan{plan(pending(customer.StepStripeCustomer), rejected(customer.StepPromoCode))}
	w.script(create, failing(provider.Rejected, "email_invalid"))
	w.after(time.Minute, func() { w.say(workflows.UpdateSkip, stripeCustomer) })

	w.run(t)

	require.NotEmpty(t, *upserts)
	require.Equal(t, map[string]string{"HoldfastStatus": "running", "HoldfastCustomer": id}, (*upserts)[len(*upserts)-1])
}

// A step that needs the Stripe customer does not wait for the provider before its turn: by then the
// provider may be long back, and nobody would wake it.
func TestAStepBeforeItsTurnIsNotParked(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.plans = []workflows.Plan{plan(refused(customer.StepStripeCustomer), refused(customer.StepPromoCode))}
	w.after(10*time.Minute, func() {
		require.Equal(t, step.Pending, w.status(t).Steps[1].Status)
		w.say(workflows.UpdateRetry, stripeCustomer)
	})

	require.True(t, w.run(t).BillingReady)

	require.Len(t, w.parked, 1, "the promo code's step never had to wait")
	require.Less(t, w.at[len(w.at)-1], 11*time.Minute)
}
