package customer_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/step"
)

// change changes steps of a workflow in a transaction of its own.
func (b bundle) change(t *testing.T, workflowID string, do func(tx pgx.Tx) error) error {
	t.Helper()
	return postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
		return b.store.ChangeSteps(t.Context(), tx, workflowID, func() error { return do(tx) })
	})
}

// finish ends a step of u_1's onboarding.
func (b bundle) finish(t *testing.T, name string, end step.Status) {
	t.Helper()
	require.NoError(t, b.change(t, customer.WorkflowID("u_1"), func(tx pgx.Tx) error {
		return step.Finish(t.Context(), tx, customer.WorkflowID("u_1"), name, end)
	}))
}

// park has a step of u_1's onboarding wait.
func (b bundle) park(t *testing.T, name string, waitsFor step.WaitsFor) {
	t.Helper()
	require.NoError(t, b.change(t, customer.WorkflowID("u_1"), func(tx pgx.Tx) error {
		return step.Park(t.Context(), tx, step.Step{WorkflowID: customer.WorkflowID("u_1"), Name: name, WaitsFor: waitsFor})
	}))
}

// told is what the app was told, in order.
func (b bundle) told(t *testing.T) (all []string) {
	t.Helper()
	changes, err := feed.List(t.Context(), b.pool, 0, 1000)
	require.NoError(t, err)
	for _, c := range changes {
		require.Equal(t, feed.OnboardingChanged, c.Type)
		all = append(all, c.CustomerID+" "+string(c.Data))
	}
	return all
}

func TestTheAppIsToldOfEveryChangeOfTheStatusOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	profile := ada()
	profile.PromoCode = "SPRING"
	_, _, err := b.store.Create(t.Context(), profile)
	require.NoError(t, err)

	b.park(t, customer.StepStripeCustomer, step.ForProvider)
	b.park(t, customer.StepStripeCustomer, step.ForProvider)
	require.Empty(t, b.told(t), "it is still being onboarded")
	_, err = b.pool.Exec(t.Context(), `UPDATE customers SET stripe_customer_id = 'cus_1', stripe_bound_at = now()`)
	require.NoError(t, err)
	b.finish(t, customer.StepStripeCustomer, step.Done)
	b.park(t, customer.StepPromoCode, step.ForPerson)
	b.park(t, customer.StepPromoCode, step.ForPerson)
	b.finish(t, customer.StepPromoCode, step.Skipped)
	b.finish(t, customer.StepPromoCode, step.Done)
	name := "Ada Lovelace"
	_, err = b.store.Change(t.Context(), "u_1", customer.Change{Name: &name}, wake("u_1"))
	require.NoError(t, err)
	b.finish(t, customer.StepStripeProfile, step.Done)

	require.Equal(t, []string{
		`u_1 {"status": "attention", "billing_ready": true}`,
		`u_1 {"status": "ready", "billing_ready": true}`,
		`u_1 {"status": "onboarding", "billing_ready": true}`,
		`u_1 {"status": "ready", "billing_ready": true}`,
	}, b.told(t))
}

func TestTheAppIsToldNothingOfWhatWasRolledBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, _, err := b.store.Create(t.Context(), ada())
	require.NoError(t, err)
	failed := errors.New("failed")
	err = b.change(t, customer.WorkflowID("u_1"), func(tx pgx.Tx) error {
		require.NoError(t, step.Finish(t.Context(), tx, customer.WorkflowID("u_1"), customer.StepStripeCustomer, step.Done))
		return failed
	})
	require.ErrorIs(t, err, failed)
	require.Empty(t, b.told(t))
}

func TestStepsOfOtherWorkflowsSayNothingOfTheStatus(t *testing.T) {
	t.Parallel()
	b := setup(t)
	changed := false
	require.NoError(t, b.change(t, "subscription-sync/u_1", func(pgx.Tx) error {
		changed = true
		return nil
	}))
	require.True(t, changed)
	require.ErrorIs(t, b.change(t, customer.WorkflowID("nobody"), func(pgx.Tx) error { return nil }), customer.ErrNotFound)
}

// Two steps that end at the same moment make the customer ready, though neither transaction sees the
// other's step unless it waits for it.
func TestTheLastOfTwoStepsThatEndTogetherIsSeen(t *testing.T) {
	t.Parallel()
	const customers = 20
	b := setup(t)
	var both sync.WaitGroup
	for i := range customers {
		profile := ada()
		profile.ID, profile.PromoCode = fmt.Sprintf("u_%d", i), "SPRING"
		_, _, err := b.store.Create(t.Context(), profile)
		require.NoError(t, err)
		for _, name := range []string{customer.StepStripeCustomer, customer.StepPromoCode} {
			both.Go(func() {
				assert.NoError(t, b.change(t, customer.WorkflowID(profile.ID), func(tx pgx.Tx) error {
					return step.Finish(t.Context(), tx, customer.WorkflowID(profile.ID), name, step.Done)
				}))
			})
		}
	}
	both.Wait()
	require.Len(t, b.told(t), customers)
	require.Equal(t, customers, b.count(t, `SELECT count(*) FROM customers WHERE told_status = 'ready'`))
}
