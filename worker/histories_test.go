package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

// Each scenario is played on real servers; make histories records what Temporal wrote down of it.
// The replay test of package workflows holds later code against these records.
func TestScenarios(t *testing.T) {
	t.Parallel()
	short := []string{fmt.Sprintf("limit.historyCount.suggestContinueAsNew=%d", longHistory)}
	settings := map[string][]string{"sync-continued": short, "payout-continued": short, "paypal-continued": short}
	playAll(t, settings, map[string]scenario{
		"straight":              playStraight,
		"outage":                playOutage,
		"wrong-key":             playWrongKey,
		"rejected-then-retried": playRejectedThenRetried,
		"skipped":               playSkipped,
		"changed-profile":       playChangedProfile,
		"brought-with-promo":    playBroughtWithPromo,
		"gate-day":              playGateDay,

		"sync-straight":     playSyncStraight,
		"sync-marked-again": playSyncMarkedAgain,
		"sync-both":         playSyncBoth,
		"sync-outage":       playSyncOutage,
		"sync-retried":      playSyncRetried,
		"sync-skipped":      playSyncSkipped,
		"sync-now":          playSyncNow,
		"sync-approval":     playSyncApproval,
		"sync-continued":    playSyncContinued,

		"payout-straight":  playPayoutStraight,
		"payout-outage":    playPayoutOutage,
		"payout-failed":    playPayoutFailed,
		"payout-returned":  playPayoutReturned,
		"payout-canceled":  playPayoutCanceled,
		"payout-held":      playPayoutHeld,
		"payout-held-seen": playPayoutHeldSeen,
		"payout-continued": playPayoutContinued,

		"paypal-straight":  playBatchStraight,
		"paypal-outage":    playBatchOutage,
		"paypal-unfunded":  playBatchUnfunded,
		"paypal-split":     playBatchSplit,
		"paypal-stopped":   playBatchStopped,
		"paypal-held":      playBatchHeld,
		"paypal-found":     playBatchFound,
		"paypal-canceled":  playBatchCanceled,
		"paypal-continued": playBatchContinued,

		"payout-parked-canceled": playPayoutParkedCanceled,
	})
}

func playStraight(t *testing.T, b bundle) string {
	t.Helper()
	b.signUp(t, "u_1")
	return b.finish(t, "u_1")
}

func playOutage(t *testing.T, b bundle) string {
	t.Helper()
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.BadGateway}))
	b.signUp(t, "u_1")
	b.awaitState(t, provider.StateDown)
	b.awaitParked(t, "u_1")
	require.NoError(t, b.simulator.ClearFaults())
	return b.finish(t, "u_1")
}

func playWrongKey(t *testing.T, b bundle) string {
	t.Helper()
	b.simulator.Stripe().SetKeys([]string{"sk_test_another"}, nil)
	b.signUp(t, "u_1")
	b.awaitState(t, provider.StateMisconfigured)
	b.simulator.Stripe().SetKeys([]string{simulator.DefaultStripeKey}, nil)
	return b.finish(t, "u_1")
}

func playRejectedThenRetried(t *testing.T, b bundle) string {
	t.Helper()
	b.simulator.Stripe().RejectEmail("u_1@example.com", "email_invalid")
	b.signUp(t, "u_1")
	b.await(t, "u_1", customer.Attention)
	b.simulator.Stripe().AllowEmail("u_1@example.com")
	b.say(t, "u_1", workflows.UpdateRetry)
	return b.finish(t, "u_1")
}

func playSkipped(t *testing.T, b bundle) string {
	t.Helper()
	b.simulator.Stripe().RejectEmail("u_1@example.com", "email_invalid")
	b.signUp(t, "u_1")
	b.await(t, "u_1", customer.Attention)
	b.say(t, "u_1", workflows.UpdateSkip)
	return b.finish(t, "u_1")
}

func playChangedProfile(t *testing.T, b bundle) string {
	t.Helper()
	b.simulator.Stripe().RejectEmail("u_1@example.com", "email_invalid")
	b.signUp(t, "u_1")
	b.await(t, "u_1", customer.Attention)
	email := "right@example.com"
	_, err := b.customers.Change(t.Context(), "u_1", customer.Change{Email: &email}, func(version int) outbox.Message { return workflows.ChangeProfile("u_1", version) })
	require.NoError(t, err)
	b.awaitHandedOver(t)
	b.say(t, "u_1", workflows.UpdateRetry)
	workflowID := b.finish(t, "u_1")
	require.Equal(t, email, b.simulator.Stripe().Customers()[0].Email)
	return workflowID
}

func playBroughtWithPromo(t *testing.T, b bundle) string {
	t.Helper()
	brought, err := b.simulator.Stripe().PutCustomer(simulator.Customer{Email: "u_1@example.com"})
	require.NoError(t, err)
	require.NoError(t, b.simulator.Stripe().SetPromotionCodes(simulator.PromotionCode{Code: "SPRING"}))
	_, _, err = b.customers.Create(t.Context(), customer.Profile{
		ID: "u_1", Email: "u_1@example.com", StripeCustomerID: brought.ID, PromoCode: "SPRING",
	}, workflows.StartOnboarding("u_1"))
	require.NoError(t, err)
	workflowID := b.finish(t, "u_1")
	require.NotEmpty(t, b.simulator.Stripe().Customers()[0].PromotionCode)
	return workflowID
}

// playGateDay is an outage, then a wrong key, then trouble that the probe does not see.
func playGateDay(t *testing.T, b bundle) string {
	t.Helper()
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Refuse}))
	b.signUp(t, "u_1")
	b.awaitState(t, provider.StateDown)
	b.awaitParked(t, "u_1")
	b.simulator.Stripe().SetKeys([]string{"sk_test_another"}, nil)
	require.NoError(t, b.simulator.ClearFaults())
	b.awaitState(t, provider.StateMisconfigured)
	b.simulator.Stripe().SetKeys([]string{simulator.DefaultStripeKey}, nil)
	b.finish(t, "u_1")
	b.awaitState(t, provider.StateUp)
	return workflows.GateID(provider.Stripe)
}

// awaitHandedOver waits until Temporal has every message.
func (b bundle) awaitHandedOver(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		backlog, err := outbox.Measure(t.Context(), b.pool)
		return err == nil && backlog.Depth == 0
	}, 2*time.Minute, 20*time.Millisecond, "what is in the outbox is not handed over")
}

func (b bundle) awaitState(t *testing.T, want provider.State) {
	t.Helper()
	health := provider.NewHealthStore(b.pool)
	require.Eventually(t, func() bool {
		h, err := health.Get(t.Context(), provider.Stripe)
		return err == nil && h.State == want
	}, 2*time.Minute, 50*time.Millisecond, "Stripe does not become %s", want)
}

func (b bundle) awaitParked(t *testing.T, id string) {
	t.Helper()
	require.Eventually(t, func() bool {
		c, err := b.customers.Get(t.Context(), id)
		return err == nil && c.Steps[0].WaitsFor != ""
	}, 2*time.Minute, 50*time.Millisecond, "%s does not park", id)
}

// finish waits until the customer is ready and the workflow has ended.
func (b bundle) finish(t *testing.T, id string) (workflowID string) { //nolint:unparam // every scenario has one customer, so far
	t.Helper()
	b.await(t, id, customer.Ready)
	workflowID = workflows.OnboardingID(id)
	require.NoError(t, b.temporal.GetWorkflow(t.Context(), workflowID, "").Get(t.Context(), nil))
	return workflowID
}

func (b bundle) say(t *testing.T, id, update string) {
	t.Helper()
	handle, err := b.temporal.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: workflows.OnboardingID(id), UpdateName: update, WaitForStage: client.WorkflowUpdateStageCompleted,
		Args: []any{workflows.StepInput{Step: customer.StepStripeCustomer}},
	})
	require.NoError(t, err)
	require.NoError(t, handle.Get(t.Context(), nil))
}
