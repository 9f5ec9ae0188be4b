package activities_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

func (b bundle) plan(t *testing.T, in workflows.PlanInput) (workflows.Plan, error) {
	t.Helper()
	value, err := b.env.ExecuteActivity(workflows.ActivityPlanOnboarding, in)
	if err != nil {
		return workflows.Plan{}, err
	}
	var plan workflows.Plan
	require.NoError(t, value.Get(&plan))
	return plan, nil
}

func TestAPlanStoresTheProfileThatCameWithTheStart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	profile := &customer.Profile{ID: id, Email: address, PromoCode: "SPRING"}
	for range 2 { // an attempt may be repeated
		plan, err := b.plan(t, workflows.PlanInput{CustomerID: id, Profile: profile})
		require.NoError(t, err)
		require.Len(t, plan.Steps, 2)
		require.Equal(t, customer.StepStripeCustomer, plan.Steps[0].Name)
		require.False(t, plan.BringsStripeCustomer)
	}
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM customers`))
	require.Zero(t, b.count(t, `SELECT count(*) FROM outbox`), "the workflow runs already")
}

func TestAPlanThatCannotBeMadeEndsTheWorkflow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	cases := map[string]struct {
		in    workflows.PlanInput
		names string
	}{
		"nobody":        {workflows.PlanInput{CustomerID: "nobody"}, "no such customer"},
		"no e-mail":     {workflows.PlanInput{CustomerID: "u_2", Profile: &customer.Profile{ID: "u_2"}}, "profile.email"},
		"other content": {workflows.PlanInput{CustomerID: id, Profile: &customer.Profile{ID: id, Email: "other@example.com"}}, "other content"},
	}
	for name, c := range cases {
		_, err := b.plan(t, c.in)
		var failure *temporal.ApplicationError
		require.ErrorAs(t, err, &failure, name)
		require.True(t, failure.NonRetryable(), name)
		require.Equal(t, workflows.ErrInvalidInput, failure.Type(), name)
		require.Contains(t, failure.Message(), c.names, name)
		require.NotContains(t, failure.Message(), "example.com", name)
	}
}

func TestAPlanKnowsWhichProviderNeedNotBeTried(t *testing.T) {
	t.Parallel()
	b := setup(t)
	profile := &customer.Profile{ID: id, Email: address}
	_, err := provider.NewHealthStore(b.pool).Set(t.Context(), provider.Stripe, provider.StateDown, "")
	require.NoError(t, err)
	plan, err := b.plan(t, workflows.PlanInput{CustomerID: id, Profile: profile})
	require.NoError(t, err)
	require.True(t, plan.Steps[0].Refused)
	require.Equal(t, provider.Transient, plan.Steps[0].ErrorClass)

	b.exec(t, `UPDATE steps SET status = 'blocked', waits_for = 'person', blocked_at = now(), error_class = 'rejected', last_error = 'stripe: rejected: email_invalid'`)
	plan, err = b.plan(t, workflows.PlanInput{CustomerID: id})
	require.NoError(t, err)
	require.False(t, plan.Steps[0].Refused, "it waits for a person, whatever the provider does")
	require.Equal(t, step.ForPerson, plan.Steps[0].WaitsFor)
	require.Equal(t, "stripe: rejected: email_invalid", plan.Steps[0].LastError)
}

func TestAPlanSeesALostStripeCustomer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.plan(t, workflows.PlanInput{CustomerID: id, Profile: &customer.Profile{ID: id, Email: address}})
	require.NoError(t, err)
	for name, lost := range map[string]string{"the step was over": `UPDATE steps SET status = 'done'`, "the step is gone": `DELETE FROM steps`} {
		b.exec(t, lost)
		plan, err := b.plan(t, workflows.PlanInput{CustomerID: id})
		require.NoError(t, err, name)
		require.Equal(t, step.Pending, plan.Steps[0].Status, name)
	}
}

func TestParkingTellsPeopleAndTheGateInOneTransaction(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	in := workflows.ParkInput{
		Step: customer.StepStripeCustomer, Provider: provider.Stripe, ErrorClass: provider.Transient,
		LastError: "stripe: transient: network", WaitsFor: step.ForProvider,
	}
	_, err := b.env.ExecuteActivity(workflows.ActivityParkStep, in)
	require.NoError(t, err)
	parked := b.steps(t)[0]
	require.Equal(t, step.Blocked, parked.Status)
	require.Equal(t, "stripe: transient: network", parked.LastError)
	require.NotNil(t, parked.BlockedAt)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox`))

	in.Step = "no_such_step"
	_, err = b.env.ExecuteActivity(workflows.ActivityParkStep, in)
	require.Error(t, err)
	in.Step, in.WaitsFor = customer.StepStripeCustomer, step.ForPerson
	b.exec(t, `DELETE FROM outbox`)
	_, err = b.env.ExecuteActivity(workflows.ActivityParkStep, in)
	require.NoError(t, err)
	require.Zero(t, b.count(t, `SELECT count(*) FROM outbox`), "a person is no matter for the gate")
}

func TestASkippedStepStaysSkipped(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t)
	_, err := b.env.ExecuteActivity(workflows.ActivitySkipStep, workflows.StepInput{Step: customer.StepStripeCustomer})
	require.NoError(t, err)
	require.NoError(t, step.Finish(t.Context(), b.pool, workflowID, customer.StepStripeCustomer, step.Done))
	require.Equal(t, step.Skipped, b.steps(t)[0].Status)
}

func TestRepairStartsWhatNothingWorksOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.park(t, 3)
	b.exec(t, `UPDATE customers SET updated_at = now() - interval '1 day'; UPDATE steps SET updated_at = now() - interval '1 day'`)
	b.exec(t, `UPDATE steps SET status = 'done', waits_for = NULL, blocked_at = NULL WHERE customer_id = 'parked_001'`)
	b.exec(t, `UPDATE customers SET stripe_customer_id = 'cus_1', stripe_bound_at = now() WHERE id = 'parked_001'`)
	value, err := b.env.ExecuteActivity(workflows.ActivityRepairNeglected, struct{}{})
	require.NoError(t, err)
	var result workflows.RepairResult
	require.NoError(t, value.Get(&result))
	require.Equal(t, 2, result.Repaired)
	require.Equal(t, 2, b.count(t, `SELECT count(*) FROM outbox WHERE message ->> 'workflow' = 'CustomerOnboarding'`))
}
