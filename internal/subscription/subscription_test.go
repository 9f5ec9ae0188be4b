package subscription_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/subscription"
)

// ordered are the statuses in the order in which B9 has them win.
func ordered() []subscription.Status {
	return []subscription.Status{
		subscription.Active, subscription.Trialing, subscription.PastDue, subscription.Unpaid,
		subscription.Paused, subscription.Incomplete, subscription.Canceled,
	}
}

func TestABetterStatusWinsWhateverElseIsSaid(t *testing.T) {
	t.Parallel()
	statuses := ordered()
	for i, better := range statuses {
		for _, worse := range statuses[i+1:] {
			winner := atStripe("sub_z", better, later(-time.Hour))
			loser := atStripe("sub_a", worse, later(time.Hour))
			for _, all := range [][]subscription.Subscription{{winner, loser}, {loser, winner}} {
				require.Equal(t, "sub_z", subscription.Plans(nil).Choose(all).SubscriptionID, "%s before %s", better, worse)
			}
		}
	}
}

// B9, case by case.
func TestTheSubscriptionThatCounts(t *testing.T) {
	t.Parallel()
	plans := subscription.Plans{"price_pro", "P-PRO"}
	addOn := priced("price_storage")
	cases := map[string]struct {
		plans subscription.Plans
		all   []subscription.Subscription
		want  string // the id, and with it the price; empty: none
		price string
	}{
		"nobody has none": {nil, nil, "", ""},
		"the newest of equals": {
			nil,
			[]subscription.Subscription{atStripe("sub_a", subscription.Active), atStripe("sub_b", subscription.Active, later(time.Second))},
			"sub_b", "price_pro",
		},
		"the first id of those made in one second": {
			nil,
			[]subscription.Subscription{atStripe("sub_c", subscription.Active), atStripe("sub_a", subscription.Active), atStripe("sub_b", subscription.Active)},
			"sub_a", "price_pro",
		},
		"whichever provider it is at": {
			nil,
			[]subscription.Subscription{atStripe("sub_a", subscription.PastDue), atPayPal("I-A", subscription.Active)},
			"I-A", "P-PRO",
		},
		"an add-on hides no plan": {
			plans,
			[]subscription.Subscription{atStripe("sub_add", subscription.Active, later(time.Hour), addOn), atStripe("sub_plan", subscription.Canceled)},
			"sub_plan", "price_pro",
		},
		"add-ons alone are no plan": {
			plans,
			[]subscription.Subscription{atStripe("sub_add", subscription.Active, addOn)},
			"", "",
		},
		"every subscription is a plan where none is named": {
			nil,
			[]subscription.Subscription{atStripe("sub_add", subscription.Active, addOn)},
			"sub_add", "price_storage",
		},
		"the plan's price is shown, though an add-on is in the same subscription": {
			plans,
			[]subscription.Subscription{atStripe("sub_a", subscription.Active, priced("price_storage", "price_pro"))},
			"sub_a", "price_pro",
		},
		"the first price where no plan is named": {
			nil,
			[]subscription.Subscription{atStripe("sub_a", subscription.Active, priced("price_storage", "price_pro"))},
			"sub_a", "price_storage",
		},
		"one without a price is none of the plans": {
			plans,
			[]subscription.Subscription{atStripe("sub_a", subscription.Active, priced())},
			"", "",
		},
		"one without a price counts where no plan is named": {
			nil,
			[]subscription.Subscription{atStripe("sub_a", subscription.Active, priced())},
			"sub_a", "",
		},
		"a canceled one is better than none": {
			nil,
			[]subscription.Subscription{atPayPal("I-A", subscription.Canceled)},
			"I-A", "P-PRO",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := c.plans.Choose(c.all)
			require.Equal(t, c.want, state.SubscriptionID)
			require.Equal(t, c.price, state.PriceID)
			if c.want == "" {
				require.Equal(t, subscription.State{Status: subscription.None}, state)
			}
		})
	}
}

func TestChoosingShowsTheSubscriptionAndLeavesTheListAlone(t *testing.T) {
	t.Parallel()
	chosen := atStripe("sub_b", subscription.Active, paying)
	chosen.CancelAtPeriodEnd = true
	chosen.PaidUntil = chosen.CurrentPeriodEnd
	all := []subscription.Subscription{atStripe("sub_a", subscription.Canceled), chosen}

	state := subscription.Plans(nil).Choose(all)

	require.Equal(t, subscription.State{
		Status: subscription.Active, Provider: provider.Stripe, SubscriptionID: "sub_b", ProviderStatus: "active", PriceID: "price_pro",
		CurrentPeriodStart: chosen.CurrentPeriodStart, CurrentPeriodEnd: chosen.CurrentPeriodEnd, PaidUntil: chosen.PaidUntil,
		CancelAtPeriodEnd: true, PaymentMethod: &subscription.Card{Brand: "visa", Last4: "4242"},
	}, state)
	require.Equal(t, []string{"sub_a", "sub_b"}, ids(all))
	require.Nil(t, subscription.Plans(nil).Choose(all[:1]).PaymentMethod, "nothing is shown where there is no card")
}

// Whatever order a provider lists them in, the order here is the same: the one that counts first, the
// plans before the add-ons.
func TestSortIsOneOrderForEveryList(t *testing.T) {
	t.Parallel()
	plans := subscription.Plans{"price_pro"}
	want := []string{"sub_active_new", "sub_active_a", "sub_active_b"}
	all := []subscription.Subscription{
		atStripe("sub_active_new", subscription.Active, later(time.Second)),
		atStripe("sub_active_a", subscription.Active), atStripe("sub_active_b", subscription.Active),
	}
	for _, status := range ordered()[1:] {
		all = append(all, atStripe("sub_"+string(status), status))
		want = append(want, "sub_"+string(status))
	}
	for _, status := range ordered() {
		all = append(all, atStripe("sub_add_"+string(status), status, priced("price_storage"), later(time.Hour)))
		want = append(want, "sub_add_"+string(status))
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		plans.Sort(all)
		require.Equal(t, want, ids(all))
		require.Equal(t, all[0].ID, plans.Choose(all).SubscriptionID)
	}
}

func TestWhoIsChargedAtTwoProviders(t *testing.T) {
	t.Parallel()
	charging := map[subscription.Status]bool{subscription.Active: true, subscription.Trialing: true, subscription.PastDue: true}
	for _, stripes := range ordered() {
		for _, paypals := range ordered() {
			all := []subscription.Subscription{atStripe("sub_a", stripes), atPayPal("I-A", paypals)}
			require.Equal(t, charging[stripes] && charging[paypals], subscription.Plans(nil).Doubled(all), "%s and %s", stripes, paypals)
		}
	}
	plans := subscription.Plans{"price_pro", "P-PRO"}
	stripes, paypals := atStripe("sub_a", subscription.Active), atPayPal("I-A", subscription.Active)
	addOn := atStripe("sub_a", subscription.Active, priced("price_storage"))
	require.True(t, plans.Doubled([]subscription.Subscription{stripes, paypals}))
	require.False(t, plans.Doubled([]subscription.Subscription{addOn, paypals}), "an add-on beside a plan is meant")
	require.False(t, plans.Doubled([]subscription.Subscription{stripes, atStripe("sub_b", subscription.Active)}), "two at one provider may be meant")
	require.False(t, plans.Doubled(nil))
}

// B9: a plan that was canceled still runs to the end of what was paid for.
func TestWhatWasPaidForIsKept(t *testing.T) {
	t.Parallel()
	earlier, end := noon.Add(-24*time.Hour), noon.Add(24*time.Hour)
	for _, status := range ordered() {
		for name, c := range map[string]struct {
			periodEnd, before, want *time.Time
			known                   bool
		}{
			"a period, and nothing known":           {&end, nil, paidIf(status, &end, nil), false},
			"a period, and nothing paid before":     {&end, nil, paidIf(status, &end, nil), true},
			"a period, and one that was paid":       {&end, &earlier, paidIf(status, &end, &earlier), true},
			"a shorter period than the one before":  {&earlier, &end, paidIf(status, &earlier, &end), true},
			"no period, and one that was paid":      {nil, &earlier, &earlier, true},
			"no period, and nothing known":          {nil, nil, nil, false},
			"no period, and nothing paid before it": {nil, nil, nil, true},
		} {
			read := subscription.Subscription{Status: status, CurrentPeriodEnd: c.periodEnd}
			var before *subscription.Subscription
			if c.known {
				before = &subscription.Subscription{PaidUntil: c.before}
			}
			kept := subscription.KeepPaid(read, before)
			require.Equal(t, c.want, kept.PaidUntil, "%s: %s", status, name)
			kept.PaidUntil = nil
			require.Equal(t, read, kept, "nothing else changes")
		}
	}
}

// paidIf is what is paid for when the status says that the present period is.
func paidIf(status subscription.Status, present, before *time.Time) *time.Time {
	if status == subscription.Active || status == subscription.Trialing {
		return present
	}
	return before
}

func TestAnIDOfPayPal(t *testing.T) {
	t.Parallel()
	for id, valid := range map[string]bool{
		"I-BW452GLLEP1G": true, "I-A": true, "I-0": true,
		"": false, "I-": false, "i-BW452GLLEP1G": false, "I-bw452gllep1g": false, "sub_1": false, " I-A": false, "I-A ": false,
		"I-A\n": false, "I-A/../../x": false, "I-Ä": false, "I-A?x=1": false, "BW452GLLEP1G": false, "I-" + long(48): true, "I-" + long(49): false,
	} {
		require.Equal(t, valid, subscription.ValidPayPalID(id), "%q", id)
	}
}

func TestTheNamesThatOthersGoBy(t *testing.T) {
	t.Parallel()
	require.Equal(t, "subscription-sync/u_1", subscription.WorkflowID("u_1"))
	require.Equal(t, "stripe_subscriptions", subscription.StepOf(provider.Stripe))
	require.Equal(t, "paypal_subscriptions", subscription.StepOf(provider.PayPal))
}
