package subscription_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/subscription"
)

// The three ways in which a well-known sync engine ends in an old state (B7). Nothing that a provider
// says tells these versions apart in time: they were all made in the second of noon.

// Two updates in one second, whose events come in either order, twice, or alone.
func TestLossUpdatesInOneSecond(t *testing.T) {
	t.Parallel()
	before, after := atStripe("sub_a", subscription.Active, priced("price_basic")), atStripe("sub_a", subscription.Active, priced("price_pro"))
	require.Equal(t, before.CreatedAt, after.CreatedAt)
	require.Equal(t, before.CurrentPeriodEnd, after.CurrentPeriodEnd)

	t.Run("the second comes while the first is being read", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.signUp(t, ada)
		b.mark(t, provider.Stripe, subscription.ByEvent, ada)
		read := b.begin(t, ada, provider.Stripe)
		b.mark(t, provider.Stripe, subscription.ByEvent, ada)
		require.True(t, b.keep(t, read, before).Dirty, "what was read may be what was before the second")
		require.Equal(t, "price_basic", b.state(t).PriceID)
		require.False(t, b.sync(t, ada, provider.Stripe, after).Dirty)
		b.requireTold(t, "price_basic", "price_pro")
	})
	t.Run("the first comes after the second, and again", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.signUp(t, ada)
		for range 3 {
			b.mark(t, provider.Stripe, subscription.ByEvent, ada)
			b.sync(t, ada, provider.Stripe, after)
		}
		b.requireTold(t, "price_pro")
	})
	t.Run("both come before anybody reads", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.signUp(t, ada)
		b.mark(t, provider.Stripe, subscription.ByEvent, ada)
		b.mark(t, provider.Stripe, subscription.ByEvent, ada)
		require.False(t, b.sync(t, ada, provider.Stripe, after).Dirty)
		b.requireTold(t, "price_pro")
	})
}

// A slow read was answered before the update, and comes to be stored after the fast one that saw it.
func TestLossSlowOldReadAgainstAFastNewOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	b.mark(t, provider.Stripe, subscription.ByEvent, ada)
	slow := b.begin(t, ada, provider.Stripe)
	answered := atStripe("sub_a", subscription.Incomplete)

	b.mark(t, provider.Stripe, subscription.ByEvent, ada)
	require.Equal(t, subscription.Stored{}, b.sync(t, ada, provider.Stripe, atStripe("sub_a", subscription.Active)))

	require.Equal(t, subscription.Stored{Superseded: true}, b.keep(t, slow, answered))
	require.Equal(t, subscription.Active, b.state(t).Status)
	require.Empty(t, b.dirty(t, ada))
	b.requireTold(t, "price_pro")
}

// The other way round: what began first saw the update, and what began later did not.
func TestLossReadThatBeganLaterAndSawLess(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	b.mark(t, provider.Stripe, subscription.ByEvent, ada)
	first, second := b.begin(t, ada, provider.Stripe), b.begin(t, ada, provider.Stripe)
	b.mark(t, provider.Stripe, subscription.ByEvent, ada)

	b.keep(t, first, atStripe("sub_a", subscription.Canceled))
	require.Equal(t, subscription.Stored{Superseded: true, Dirty: true}, b.keep(t, second, atStripe("sub_a", subscription.Active)))

	require.Equal(t, subscription.Canceled, b.state(t).Status)
	require.Len(t, b.told(t), 1)
}

// A cancellation in the second of an update: no order of events and reads leaves the plan running.
func TestLossCancellationInTheSecondOfAnUpdate(t *testing.T) {
	t.Parallel()
	renewed := noon.AddDate(0, 2, 0)
	updated := atStripe("sub_a", subscription.Active, until(renewed))
	canceled := atStripe("sub_a", subscription.Canceled, until(renewed))

	t.Run("the cancellation's event comes first", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.signUp(t, ada)
		b.mark(t, provider.Stripe, subscription.ByEvent, ada)
		b.sync(t, ada, provider.Stripe, canceled)
		b.mark(t, provider.Stripe, subscription.ByEvent, ada)
		b.sync(t, ada, provider.Stripe, canceled)
		require.Equal(t, subscription.Canceled, b.state(t).Status)
		require.Len(t, b.told(t), 1, "the update's event, coming late, is no news")
	})
	t.Run("a read saw the update alone", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.signUp(t, ada)
		b.mark(t, provider.Stripe, subscription.ByEvent, ada)
		slow := b.begin(t, ada, provider.Stripe)
		b.mark(t, provider.Stripe, subscription.ByEvent, ada)
		require.True(t, b.keep(t, slow, updated).Dirty)
		b.sync(t, ada, provider.Stripe, canceled)
		require.Equal(t, subscription.Canceled, b.state(t).Status)
		require.Equal(t, renewed, *b.state(t).PaidUntil, "what was paid for is kept")
	})
	t.Run("that read is stored last", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.signUp(t, ada)
		b.mark(t, provider.Stripe, subscription.ByEvent, ada)
		slow := b.begin(t, ada, provider.Stripe)
		b.mark(t, provider.Stripe, subscription.ByEvent, ada)
		b.sync(t, ada, provider.Stripe, canceled)
		require.True(t, b.keep(t, slow, updated).Superseded)
		require.Equal(t, subscription.Canceled, b.state(t).Status)
		require.Len(t, b.told(t), 1)
	})
	t.Run("its event is lost, and a pass finds it", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.signUp(t, ada)
		b.mark(t, provider.Stripe, subscription.ByEvent, ada)
		b.sync(t, ada, provider.Stripe, updated)
		b.exec(t, `UPDATE subscription_syncs SET synced_at = now() - $1::interval`, time.Hour)
		b.mark(t, provider.Stripe, subscription.ByDrift, ada)
		require.True(t, b.sync(t, ada, provider.Stripe, canceled).Healed)
		require.Equal(t, subscription.Canceled, b.state(t).Status)
	})
}

// requireTold holds the prices that the app was told of against those that it should have been.
func (b bundle) requireTold(t *testing.T, prices ...string) {
	t.Helper()
	var told []string
	for _, state := range b.told(t) {
		told = append(told, state.PriceID)
	}
	require.Equal(t, prices, told)
}
