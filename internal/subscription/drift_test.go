package subscription_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/subscription"
)

// compare holds a page of Stripe's list, asked for now, against what is known.
func (b bundle) compare(t *testing.T, readAt time.Time, listed ...subscription.Listed) []string {
	t.Helper()
	found, err := subscription.Compare(t.Context(), b.pool, subscription.Page{Provider: provider.Stripe, ReadAt: readAt, Listed: listed})
	require.NoError(t, err)
	return found.Differing
}

func (b bundle) now(t *testing.T) (now time.Time) {
	t.Helper()
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT clock_timestamp()`).Scan(&now))
	return now
}

// enroll makes customers, with Stripe customers of their names.
func (b bundle) enroll(t *testing.T, customerIDs ...string) {
	t.Helper()
	b.signUp(t, customerIDs...)
	b.exec(t, `UPDATE customers SET stripe_customer_id = 'cus_' || id, stripe_bound_at = now() WHERE id = ANY($1)`, customerIDs)
}

func listedOf(customerID string, s subscription.Subscription) subscription.Listed {
	return subscription.Listed{Subscription: s, Owner: "cus_" + customerID}
}

func TestCompareFindsEveryDifference(t *testing.T) {
	t.Parallel()
	known := atStripe("sub_1", subscription.Active, paying)
	day := known.CurrentPeriodEnd.AddDate(0, 0, 1)
	cases := map[string]struct {
		page    []subscription.Listed
		differs []string
	}{
		"the same":             {[]subscription.Listed{listedOf(ada, known)}, nil},
		"another status":       {[]subscription.Listed{listedOf(ada, atStripe("sub_1", subscription.PastDue, paying))}, []string{ada}},
		"another period":       {[]subscription.Listed{listedOf(ada, atStripe("sub_1", subscription.Active, paying, until(day)))}, []string{ada}},
		"another price":        {[]subscription.Listed{listedOf(ada, atStripe("sub_1", subscription.Active, paying, priced("price_max")))}, []string{ada}},
		"another card":         {[]subscription.Listed{listedOf(ada, atStripe("sub_1", subscription.Active))}, []string{ada}},
		"one more":             {[]subscription.Listed{listedOf(ada, known), listedOf(ada, atStripe("sub_2", subscription.Canceled))}, []string{ada}},
		"one gone":             {nil, []string{ada}},
		"somebody else's":      {[]subscription.Listed{listedOf(grace, known)}, []string{ada, grace}},
		"a stranger's as well": {[]subscription.Listed{listedOf(ada, known), listedOf("nobody", atStripe("sub_2", subscription.Active))}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.enroll(t, ada, grace)
			b.sync(t, ada, provider.Stripe, known)
			require.Equal(t, c.differs, b.compare(t, b.now(t), c.page...))
		})
	}
}

// What the last active read had paid for is ours to know, and no difference.
func TestCompareDoesNotAskTheListWhatWasPaid(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada)
	b.sync(t, ada, provider.Stripe, atStripe("sub_1", subscription.Active))
	b.sync(t, ada, provider.Stripe, atStripe("sub_1", subscription.Canceled))
	require.NotNil(t, b.list(t, ada)[0].PaidUntil)
	require.Empty(t, b.compare(t, b.now(t), listedOf(ada, atStripe("sub_1", subscription.Canceled))))
}

func TestComparePassesOverWhomAReadTellsBetter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada)
	b.sync(t, ada, provider.Stripe)
	asked := b.now(t)
	page := listedOf(ada, atStripe("sub_1", subscription.Active))
	require.Equal(t, []string{ada}, b.compare(t, asked, page))

	// Whoever is marked will be read; a read that began already may have missed it.
	b.mark(t, provider.Stripe, subscription.ByEvent, ada)
	require.Empty(t, b.compare(t, asked, page))
	underWay := b.begin(t, ada, provider.Stripe)
	require.Equal(t, []string{ada}, b.compare(t, asked, page))

	// That read began after the page was asked for, so what it found is newer than the page.
	b.keep(t, underWay)
	require.Empty(t, b.compare(t, asked, page))
	require.Equal(t, []string{ada}, b.compare(t, b.now(t), page))
}

func TestAListThatLeavesPricesOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada)
	b.sync(t, ada, provider.Stripe, atStripe("sub_1", subscription.Active, priced("a", "b", "c")))
	short := listedOf(ada, atStripe("sub_1", subscription.Active, priced("a", "b")))
	require.Equal(t, []string{ada}, b.compare(t, b.now(t), short), "a price is gone")
	short.MorePrices = true
	require.Empty(t, b.compare(t, b.now(t), short))
	short.PriceIDs = []string{"a", "x"}
	require.Equal(t, []string{ada}, b.compare(t, b.now(t), short))
}

func TestOnlyAPassHeals(t *testing.T) {
	t.Parallel()
	for cause, heals := range map[subscription.Cause]bool{subscription.ByDrift: true, subscription.ByEvent: false, subscription.ByRequest: false} {
		t.Run(string(cause), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.enroll(t, ada)
			began := b.now(t)
			b.mark(t, provider.Stripe, cause, ada)
			require.Equal(t, heals, b.sync(t, ada, provider.Stripe, atStripe("sub_1", subscription.Active)).Healed)
			work, err := subscription.Weigh(t.Context(), b.pool, provider.Stripe, began, 10)
			require.NoError(t, err)
			require.Equal(t, heals, work.Healed == 1)
		})
	}
}
