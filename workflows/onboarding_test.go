package workflows_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

const create = workflows.ActivityCreateStripeCustomer

var stripeCustomer = workflows.StepInput{Step: customer.StepStripeCustomer}

func TestStraightOnboardingIsTwoActivities(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.noUpserts(t)

	result := w.run(t)

	require.True(t, result.BillingReady)
	require.Equal(t, []string{workflows.ActivityPlanOnboarding, create}, w.calls)
}

func TestABlipIsRiddenOutByRetries(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.noUpserts(t)
	w.script(create, times(4, failing(provider.Transient, "network"))...)

	w.run(t)

	require.Equal(t, 5, w.count(create))
	var waits []time.Duration
	for i := 2; i < len(w.at); i++ {
		waits = append(waits, (w.at[i] - w.at[i-1]).Round(time.Second))
	}
	require.Equal(t, []time.Duration{time.Second, 3 * time.Second, 9 * time.Second, 27 * time.Second}, waits)
	for i, wait := range waits {
		delay, again := workflows.BlipBackoff(i + 1)
		require.True(t, again)
		require.Equal(t, wait, delay, "what the API shows as the next attempt is true")
	}
	_, again := workflows.BlipBackoff(5)
	require.False(t, again)
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.script(create, temporal.NewApplicationErrorWithOptions("stripe: rate_limited: rate_limit", string(provider.RateLimited),
		temporal.ApplicationErrorOptions{NextRetryDelay: 7 * time.Minute}))
	w.run(t)
	require.GreaterOrEqual(t, w.at[2]-w.at[1], 7*time.Minute)
}

func TestAnOutageParksTheStepAndTheGateWakesIt(t *testing.T) {
	t.Parallel()
	w := setup(t)
	upserts := w.upserts()
	w.script(create, times(5, failing(provider.Transient, "network"))...)
	w.after(5*time.Minute, func() {
		status := w.status(t)
		require.Equal(t, step.Blocked, status.Steps[0].Status)
		require.Equal(t, step.ForProvider, status.Steps[0].WaitsFor)
		require.Equal(t, "stripe: transient: network", status.Steps[0].LastError)
		require.NotNil(t, status.Steps[0].Since)
		require.False(t, status.BillingReady)
		w.providerUp(provider.Stripe)
	})

	result := w.run(t)

	require.True(t, result.BillingReady)
	require.Len(t, w.parked, 1)
	parked := w.parked[0]
	require.Equal(t, customer.StepStripeCustomer, parked.Step)
	require.Equal(t, provider.Transient, parked.ErrorClass)
	require.Equal(t, "stripe: transient: network", parked.LastError)
	require.Equal(t, step.ForProvider, parked.WaitsFor)
	require.Equal(t, []map[string]string{
		{"HoldfastStatus": "waiting_for_provider", "HoldfastBlockedOn": "stripe", "HoldfastCustomer": id},
		{"HoldfastStatus": "running", "HoldfastCustomer": id},
	}, *upserts)
}

func TestALostWakeUpIsMadeUpForByATimer(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.script(create, times(5, failing(provider.OutcomeUnknown, "network"))...)

	w.run(t)

	next := w.parked[0].NextAttemptAt.Sub(w.began)
	require.InDelta(t, w.at[len(w.at)-1].Seconds(), next.Seconds(), 1)
	waited := w.at[len(w.at)-1] - w.at[len(w.at)-2]
	require.GreaterOrEqual(t, waited, 15*time.Minute)
	require.Less(t, waited, 20*time.Minute)
}

func TestWhatIsKnownToBeDownIsNotTried(t *testing.T) {
	t.Parallel()
	w := setup(t)
	refused := pending(customer.StepStripeCustomer)
	refused.Refused, refused.ErrorClass, refused.LastError = true, provider.Transient, "stripe: transient: provider_down"
	w.plans = []workflows.Plan{plan(refused)}
	w.after(time.Minute, func() {
		require.Zero(t, w.count(create))
		w.providerUp(provider.Stripe)
	})
	require.True(t, w.run(t).BillingReady)
	require.Equal(t, 1, w.count(create))
}

func TestAWrongKeyParksAtOnceAndResumesByItself(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.script(create, failing(provider.Misconfigured, "api_key_expired"))
	w.after(time.Minute, func() {
		require.Equal(t, 1, w.count(create))
		w.providerUp(provider.Stripe)
	})
	require.True(t, w.run(t).BillingReady)
	require.Equal(t, provider.Misconfigured, w.parked[0].ErrorClass)
	require.Equal(t, step.ForProvider, w.parked[0].WaitsFor)
}

func TestAWakeUpDuringParkingCounts(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.script(create, failing(provider.Misconfigured, "api_key_expired"))
	w.answers[workflows.ActivityParkStep] = append(w.answers[workflows.ActivityParkStep], func() error {
		w.env.SignalWorkflow(workflows.SignalProviderUp, provider.Stripe)
		return nil
	})
	w.run(t)
	require.Less(t, w.at[len(w.at)-1], time.Minute)
}

func TestAnotherProvidersRecoveryIsNotOurs(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.script(create, failing(provider.Misconfigured, "api_key_expired"))
	w.after(time.Minute, func() { w.providerUp(provider.PayPal) })
	w.after(2*time.Minute, func() {
		require.Equal(t, 1, w.count(create))
		w.providerUp(provider.Stripe)
	})
	w.run(t)
}

func TestARejectedStepWaitsForAPerson(t *testing.T) {
	t.Parallel()
	w := setup(t)
	upserts := w.upserts()
	w.script(create, failing(provider.Rejected, "email_invalid"), failing(provider.NotFound, "resource_missing"))
	w.after(time.Hour, func() { w.providerUp(provider.Stripe) })
	var first, second *update
	w.after(60*24*time.Hour, func() {
		require.Equal(t, 1, w.count(create), "neither the gate nor time wakes it")
		require.Equal(t, step.ForPerson, w.status(t).Steps[0].WaitsFor)
		first = w.say(workflows.UpdateRetry, stripeCustomer)
	})
	w.after(61*24*time.Hour, func() { second = w.say(workflows.UpdateRetry, stripeCustomer) })

	require.True(t, w.run(t).BillingReady)
	require.True(t, first.completed && second.completed)
	require.NoError(t, first.err)
	require.Equal(t, 3, w.count(create))
	require.Len(t, w.parked, 2)
	require.Nil(t, w.parked[0].NextAttemptAt)
	require.Equal(t, "waiting_for_person", (*upserts)[0]["HoldfastStatus"])
	require.Equal(t, "person", (*upserts)[0]["HoldfastBlockedOn"])
}

func TestSkippingGoesOnWithoutTheStepAndWhatNeedsIt(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.plans = []workflows.Plan{plan(pending(customer.StepStripeCustomer), pending(customer.StepPromoCode), pending(customer.StepStripeProfile))}
	w.script(create, failing(provider.Rejected, "email_invalid"))
	w.after(time.Minute, func() { w.say(workflows.UpdateSkip, stripeCustomer) })

	result := w.run(t)

	require.False(t, result.BillingReady)
	require.ElementsMatch(t, []string{customer.StepStripeCustomer, customer.StepPromoCode, customer.StepStripeProfile}, w.skipped)
	require.Zero(t, w.count(workflows.ActivityFindPromotionCode))
	require.Zero(t, w.count(workflows.ActivityUpdateStripeProfile))
	for _, s := range result.Steps {
		require.Equal(t, step.Skipped, s.Status)
	}
}

func TestUpdatesThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.plans = []workflows.Plan{plan(pending(customer.StepStripeCustomer), pending(customer.StepPromoCode))}
	w.script(create, failing(provider.Rejected, "email_invalid"))
	refused := map[string]*update{}
	w.after(time.Minute, func() {
		refused[workflows.ErrUnknownStep] = w.say(workflows.UpdateRetry, workflows.StepInput{Step: "nonsense"})
		refused[workflows.ErrStepNotWaiting] = w.say(workflows.UpdateSkip, workflows.StepInput{Step: customer.StepPromoCode})
		refused[workflows.ErrInvalidInput] = w.say(workflows.UpdateEnsure, workflows.EnsureInput{WaitMS: 30_001})
		refused[workflows.ErrInvalidInput+" too"] = w.say(workflows.UpdateEnsure, workflows.EnsureInput{WaitMS: -1})
		w.say(workflows.UpdateRetry, stripeCustomer)
	})
	w.run(t)
	for kind, u := range refused {
		require.False(t, u.accepted, kind)
		var application *temporal.ApplicationError
		require.ErrorAs(t, u.err, &application, kind)
		require.True(t, strings.HasPrefix(kind, application.Type()), "%s is %s", kind, application.Type())
	}
}

func TestAVerdictThatComesWithTheStartIsJudgedOnceThePlanIsKnown(t *testing.T) {
	t.Parallel()
	w := setup(t)
	blocked := pending(customer.StepStripeCustomer)
	blocked.Status, blocked.WaitsFor, blocked.ErrorClass, blocked.LastError = step.Blocked, step.ForPerson, provider.Rejected, "stripe: rejected: email_invalid"
	w.plans = []workflows.Plan{plan(blocked)}
	var right, wrong *update
	w.after(0, func() {
		right = w.say(workflows.UpdateRetry, stripeCustomer)
		wrong = w.say(workflows.UpdateRetry, workflows.StepInput{Step: "nonsense"})
	})

	require.True(t, w.run(t).BillingReady)
	require.NoError(t, right.err)
	require.ErrorContains(t, wrong.err, "nonsense")
	require.Equal(t, 1, w.count(create))
}

func TestAStepThatWaitedForAPersonStillDoes(t *testing.T) {
	t.Parallel()
	w := setup(t)
	blocked := pending(customer.StepStripeCustomer)
	blocked.Status, blocked.WaitsFor, blocked.ErrorClass, blocked.LastError = step.Blocked, step.ForPerson, provider.Rejected, "stripe: rejected: email_invalid"
	w.plans = []workflows.Plan{plan(blocked)}
	w.after(24*time.Hour, func() {
		require.Zero(t, w.count(create))
		require.Equal(t, "stripe: rejected: email_invalid", w.status(t).Steps[0].LastError)
		w.say(workflows.UpdateRetry, stripeCustomer)
	})
	w.run(t)
}

func TestEnsureReturnsWhenBillingIsReadyOrTheWaitEnds(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.script(create, failing(provider.Misconfigured, "api_key_expired"))
	var impatient, patient, at0 *update
	w.after(10*time.Second, func() {
		impatient = w.say(workflows.UpdateEnsure, workflows.EnsureInput{WaitMS: 5000})
		patient = w.say(workflows.UpdateEnsure, workflows.EnsureInput{WaitMS: 30_000})
		at0 = w.say(workflows.UpdateEnsure, workflows.EnsureInput{})
	})
	w.after(20*time.Second, func() { w.providerUp(provider.Stripe) })

	w.run(t)

	require.False(t, at0.result.BillingReady)
	require.InDelta(t, 10, at0.at.Seconds(), 1)
	require.False(t, impatient.result.BillingReady)
	require.InDelta(t, 15, impatient.at.Seconds(), 1)
	require.True(t, patient.result.BillingReady)
	require.InDelta(t, 20, patient.at.Seconds(), 1)
}

func TestEnsureDoesNotWaitForWhatWillNotCome(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.script(create, failing(provider.Rejected, "email_invalid"))
	var asked *update
	w.after(10*time.Second, func() { asked = w.say(workflows.UpdateEnsure, workflows.EnsureInput{WaitMS: 30_000}) })
	w.after(12*time.Second, func() { w.say(workflows.UpdateSkip, stripeCustomer) })
	w.run(t)
	require.True(t, asked.completed)
	require.False(t, asked.result.BillingReady)
	require.Less(t, asked.at, 20*time.Second)
}

func TestPromoCodeIsFoundAndApplied(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.plans = []workflows.Plan{plan(pending(customer.StepStripeCustomer), pending(customer.StepPromoCode))}
	require.True(t, w.run(t).BillingReady)
	require.Equal(t, []string{workflows.ActivityPlanOnboarding, create, workflows.ActivityFindPromotionCode, workflows.ActivityApplyPromotionCode}, w.calls)
	require.Contains(t, w.inputs[3], `"promotion_code_id":"promo_1"`)
}

func TestARefusedPromoCodeHoldsUpNoBilling(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.plans = []workflows.Plan{plan(pending(customer.StepStripeCustomer), pending(customer.StepPromoCode))}
	w.script(workflows.ActivityFindPromotionCode, failing(provider.Rejected, "promotion_code_not_found"))
	var asked *update
	w.after(time.Minute, func() { asked = w.say(workflows.UpdateEnsure, workflows.EnsureInput{WaitMS: 30_000}) })
	w.after(2*time.Minute, func() { w.say(workflows.UpdateSkip, workflows.StepInput{Step: customer.StepPromoCode}) })
	w.run(t)
	require.True(t, asked.result.BillingReady)
	require.InDelta(t, 60, asked.at.Seconds(), 1)
}

func TestAPromoCodeOnItsWayHoldsUpBilling(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.plans = []workflows.Plan{plan(pending(customer.StepStripeCustomer), pending(customer.StepPromoCode))}
	w.script(workflows.ActivityFindPromotionCode, failing(provider.Misconfigured, "api_key_expired"))
	w.after(time.Minute, func() {
		require.False(t, w.status(t).BillingReady)
		w.providerUp(provider.Stripe)
	})
	require.True(t, w.run(t).BillingReady)
}

func TestABroughtStripeCustomerIsVerifiedAndClaimedAndNeverMade(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.plans = []workflows.Plan{{Steps: []workflows.PlannedStep{pending(customer.StepStripeCustomer)}, BringsStripeCustomer: true}}
	require.True(t, w.run(t).BillingReady)
	require.Equal(t, []string{workflows.ActivityPlanOnboarding, workflows.ActivityVerifyStripeCustomer, workflows.ActivityClaimStripeCustomer}, w.calls)
}

func TestABroughtStripeCustomerThatIsNotThereWaitsForAPerson(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.plans = []workflows.Plan{{Steps: []workflows.PlannedStep{pending(customer.StepStripeCustomer)}, BringsStripeCustomer: true}}
	w.script(workflows.ActivityVerifyStripeCustomer, failing(provider.NotFound, "resource_missing"))
	w.after(time.Hour, func() {
		require.Equal(t, step.ForPerson, w.status(t).Steps[0].WaitsFor)
		w.say(workflows.UpdateRetry, stripeCustomer)
	})
	require.True(t, w.run(t).BillingReady)
	require.Zero(t, w.count(create))
}

func TestAChangeWhileAStepWaitsIsPlannedAndWaitsItsTurn(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.plans = append(w.plans, plan(pending(customer.StepStripeCustomer), pending(customer.StepStripeProfile)))
	w.script(create, failing(provider.Misconfigured, "api_key_expired"))
	w.after(time.Minute, func() { w.env.SignalWorkflow(workflows.SignalProfileChanged, nil) })
	w.after(2*time.Minute, func() {
		require.Zero(t, w.count(workflows.ActivityUpdateStripeProfile))
		w.providerUp(provider.Stripe)
	})
	w.run(t)
	require.Equal(t, 2, w.count(workflows.ActivityPlanOnboarding))
	require.Equal(t, 1, w.count(workflows.ActivityUpdateStripeProfile))
	require.Equal(t, 2, w.count(create), "the step that waited went on where it was")
}

func TestAChangeThatComesAtTheVeryEndIsNotLost(t *testing.T) {
	t.Parallel()
	w := setup(t)
	done := pending(customer.StepStripeCustomer)
	done.Status = step.Done
	w.plans = append(w.plans, plan(done, pending(customer.StepStripeProfile)))
	w.answers[create] = append(w.answers[create], func() error {
		w.env.SignalWorkflow(workflows.SignalProfileChanged, nil)
		return nil
	})
	w.run(t)
	require.Equal(t, 1, w.count(workflows.ActivityUpdateStripeProfile))
}

func TestANewerProfileIsCarriedToo(t *testing.T) {
	t.Parallel()
	w := setup(t)
	done := pending(customer.StepStripeCustomer)
	done.Status = step.Done
	w.plans = []workflows.Plan{plan(done, pending(customer.StepStripeProfile))}
	w.newer = 2
	w.run(t)
	require.Equal(t, 3, w.count(workflows.ActivityUpdateStripeProfile))
}

func TestALongHistoryIsContinuedAsNewWhileEverythingIsParked(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.script(create, failing(provider.Rejected, "email_invalid"))
	w.after(time.Hour, func() {
		w.env.SetContinueAsNewSuggested(true)
		w.say(workflows.UpdateEnsure, workflows.EnsureInput{WaitMS: 10_000}) // being answered for ten seconds
	})
	w.after(time.Hour+5*time.Second, func() { require.False(t, w.env.IsWorkflowCompleted(), "somebody is being answered") })
	w.env.ExecuteWorkflow(workflows.CustomerOnboarding, workflows.OnboardingInput{
		CustomerID: id, Profile: &customer.Profile{ID: id, Email: "ada@example.com"},
	})
	require.True(t, w.env.IsWorkflowCompleted())
	var next *workflow.ContinueAsNewError
	require.ErrorAs(t, w.env.GetWorkflowError(), &next)
	require.NotContains(t, next.Input.String(), "ada@example.com")
}

func TestInputThatCannotBeRightEndsTheWorkflow(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		in    workflows.OnboardingInput
		names string
	}{
		"no id":               {workflows.OnboardingInput{}, "customer_id"},
		"an e-mail as the id": {workflows.OnboardingInput{CustomerID: "ada@example.com"}, "customer_id"},
		"somebody else's":     {workflows.OnboardingInput{CustomerID: id, Profile: &customer.Profile{ID: "u_2"}}, "profile.id"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			w.env.ExecuteWorkflow(workflows.CustomerOnboarding, c.in)
			var application *temporal.ApplicationError
			require.ErrorAs(t, w.env.GetWorkflowError(), &application)
			require.Equal(t, workflows.ErrInvalidInput, application.Type())
			require.Contains(t, application.Message(), c.names)
			require.Empty(t, w.calls)
		})
	}
}

func TestAProfileThatIsRefusedEndsTheWorkflow(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.script(workflows.ActivityPlanOnboarding, temporal.NewNonRetryableApplicationError("profile.email: must be one", workflows.ErrInvalidInput, nil))
	w.env.ExecuteWorkflow(workflows.CustomerOnboarding, workflows.OnboardingInput{CustomerID: id})
	require.ErrorContains(t, w.env.GetWorkflowError(), "profile.email")
}

func TestAStepOfALaterVersionIsNotGuessedAt(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.plans = []workflows.Plan{plan(pending("from_the_future"))}
	w.env.ExecuteWorkflow(workflows.CustomerOnboarding, workflows.OnboardingInput{CustomerID: id})
	require.ErrorContains(t, w.env.GetWorkflowError(), "from_the_future")
}

func TestFailuresThatAreNoProvidersAnswerAreTransient(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.script(create, times(5, temporal.NewApplicationError("connection to a@example.com lost", "wrapError"))...)
	w.after(5*time.Minute, func() { w.providerUp(provider.Stripe) })
	w.run(t)
	require.Equal(t, provider.Transient, w.parked[0].ErrorClass)
	require.NotContains(t, w.parked[0].LastError, "example.com", "what is not a failure of ours may quote anything")
}

func TestCancellationEndsTheWorkflow(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.script(create, failing(provider.Rejected, "email_invalid"))
	w.after(time.Hour, w.env.CancelWorkflow)
	w.env.ExecuteWorkflow(workflows.CustomerOnboarding, workflows.OnboardingInput{CustomerID: id})
	require.True(t, w.env.IsWorkflowCompleted())
	var canceled *temporal.CanceledError
	require.ErrorAs(t, w.env.GetWorkflowError(), &canceled)
}

// continuesAsNew runs a customer's onboarding, which is to end that way.
func (w *world) continuesAsNew(t *testing.T) {
	t.Helper()
	w.env.ExecuteWorkflow(workflows.CustomerOnboarding, workflows.OnboardingInput{CustomerID: id})
	require.True(t, w.env.IsWorkflowCompleted())
	var next *workflow.ContinueAsNewError
	require.ErrorAs(t, w.env.GetWorkflowError(), &next)
}

// A customer with a promo code is asked about as often as any other while the Stripe customer waits.
func TestALongHistoryIsContinuedAsNewWhileAStepWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.plans = []workflows.Plan{plan(pending(customer.StepStripeCustomer), pending(customer.StepPromoCode))}
	w.script(create, failing(provider.Rejected, "email_invalid"))
	w.after(time.Hour, func() {
		w.suggestContinueAsNew()
		w.say(workflows.UpdateEnsure, workflows.EnsureInput{})
	})
	w.endsBy(t, 2*time.Hour)

	w.continuesAsNew(t)
}

func TestASkipIsRecordedBeforeALongHistoryIsContinued(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.script(create, failing(provider.Rejected, "email_invalid"))
	w.script(workflows.ActivitySkipStep, slow())
	w.after(time.Hour, func() { w.say(workflows.UpdateSkip, stripeCustomer) })
	w.after(time.Hour+5*time.Second, func() {
		w.suggestContinueAsNew()
		w.providerUp(provider.Stripe)
	})

	w.run(t)

	require.Equal(t, []string{customer.StepStripeCustomer}, w.skipped)
}

func TestAParkedStepIsRecordedBeforeALongHistoryIsContinued(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.script(create, failing(provider.Rejected, "email_invalid"))
	w.script(park, slow())
	w.after(5*time.Second, func() {
		w.suggestContinueAsNew()
		w.providerUp(provider.Stripe)
	})

	w.continuesAsNew(t)

	require.Len(t, w.parked, 1, "the next run finds in Postgres that it waits for a person")
}

// A plan takes a moment to be read. What a person decides in that moment must not be undone by it:
// the step, over in Postgres and on nobody's list, would wait for ever.
func TestAPlanThatIsOutOfDateIsReadAgain(t *testing.T) {
	t.Parallel()
	for _, verdict := range []string{workflows.UpdateRetry, workflows.UpdateSkip} {
		t.Run(verdict, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			end := map[string]step.Status{workflows.UpdateRetry: step.Done, workflows.UpdateSkip: step.Skipped}[verdict]
			w.plans = append(w.plans, plan(rejected(customer.StepStripeCustomer)), plan(settled(customer.StepStripeCustomer, end)))
			w.script(workflows.ActivityPlanOnboarding, nil, slow())
			w.script(create, failing(provider.Rejected, "email_invalid"))
			w.after(time.Hour, func() { w.env.SignalWorkflow(workflows.SignalProfileChanged, nil) })
			w.after(time.Hour+5*time.Second, func() { w.say(verdict, stripeCustomer) })
			w.endsBy(t, 2*time.Hour)

			require.Equal(t, end, w.run(t).Steps[0].Status)
		})
	}
}

func TestAStepOfALaterVersionThatIsOverIsInNobodysWay(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.plans = []workflows.Plan{plan(pending(customer.StepStripeCustomer), settled("from_the_future", step.Done))}
	require.True(t, w.run(t).BillingReady)
}
