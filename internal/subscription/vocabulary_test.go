package subscription_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/subscription"
)

// B9: Stripe's words in ours. The last few are none of Stripe's today.
func TestWhatStripesStatusesMean(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]subscription.Status{
		"incomplete":         subscription.Incomplete,
		"incomplete_expired": subscription.Canceled,
		"trialing":           subscription.Trialing,
		"active":             subscription.Active,
		"past_due":           subscription.PastDue,
		"canceled":           subscription.Canceled,
		"unpaid":             subscription.Unpaid,
		"paused":             subscription.Paused,

		"":          subscription.Incomplete,
		"ACTIVE":    subscription.Incomplete,
		"cancelled": subscription.Incomplete,
		"none":      subscription.Incomplete,
		"quiescent": subscription.Incomplete,
	} {
		require.Equal(t, want, subscription.FromStripe(status), "Stripe's %q", status)
	}
}

// B9: PayPal's words in ours. The last few are none of PayPal's today.
func TestWhatPayPalsStatusesMean(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]subscription.Status{
		"APPROVAL_PENDING": subscription.Incomplete,
		"APPROVED":         subscription.Incomplete,
		"ACTIVE":           subscription.Active,
		"SUSPENDED":        subscription.Paused,
		"CANCELLED":        subscription.Canceled,
		"EXPIRED":          subscription.Canceled,

		"":         subscription.Incomplete,
		"active":   subscription.Incomplete,
		"CANCELED": subscription.Incomplete,
		"DORMANT":  subscription.Incomplete,
	} {
		require.Equal(t, want, subscription.FromPayPal(status), "PayPal's %q", status)
	}
}

// A word that a provider thinks of next year is shown as it is. It gives nobody a plan, hides no
// subscription that does, and nobody is said to have canceled, or to be charged twice, by it.
func TestAWordThatNobodyKnowsIsShownAndGivesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	unknown := atStripe("sub_new", subscription.FromStripe("quiescent"), later(time.Hour))
	unknown.ProviderStatus = "quiescent"
	active := atPayPal("I-OLD", subscription.Active)

	b.sync(t, ada, provider.Stripe, unknown)

	state := b.state(t)
	require.Equal(t, subscription.Incomplete, state.Status)
	require.Equal(t, "quiescent", state.ProviderStatus)
	require.Nil(t, state.PaidUntil)

	b.sync(t, ada, provider.PayPal, active)

	require.Equal(t, "I-OLD", b.state(t).SubscriptionID)
	require.Zero(t, b.count(t, `SELECT count(*) FROM subscription_states WHERE doubled_at IS NOT NULL`))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM subscriptions WHERE provider_status = 'quiescent'`))
}
