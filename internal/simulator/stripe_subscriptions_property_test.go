package simulator_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"

	"github.com/holdfast/holdfast/internal/simulator"
)

// expected is a subscription as its changes should have left it.
type expected struct {
	id          string
	customer    string
	status      string
	price       string
	atPeriodEnd bool
	owes        bool // its newest invoice
	periodEnd   time.Time
}

func (e *expected) ended() bool { return e.is("canceled", "incomplete_expired") }

func (e *expected) is(statuses ...string) bool { return slices.Contains(statuses, e.status) }

func (e *expected) nextPeriod(status string, owes bool) {
	e.status, e.owes, e.periodEnd = status, owes, e.periodEnd.AddDate(0, 1, 0)
}

// act is a change: may says when it is allowed, and then what it does to the subscription.
type act struct {
	do   func(b bundle, id string) error
	may  func(e *expected) bool
	then func(e *expected)
}

func randomAct(random *rand.Rand) act {
	price, flag := fmt.Sprintf("price_%d", random.IntN(5)), random.IntN(2) == 0
	status := []string{"active", "trialing", "past_due", "unpaid", "canceled", "paused", "incomplete_expired", "on_vacation"}[random.IntN(8)]
	running := func(e *expected) bool { return !e.ended() }
	inGo := func(change anyChange) func(bundle, string) error {
		return func(b bundle, id string) error {
			_, err := change(b.Stripe(), id)
			return err
		}
	}
	setAtPeriodEnd := func(e *expected) { e.atPeriodEnd = flag }
	var resumed simulator.Subscription
	acts := []act{
		{
			inGo(func(s *simulator.Stripe, id string) (simulator.Subscription, error) { return s.ChangePrice(id, price) }),
			running, func(e *expected) { e.price = price },
		},
		{inGo((*simulator.Stripe).CancelNow), running, func(e *expected) { e.status = "canceled" }},
		{inGo(cancelAtPeriodEnd(flag)), running, setAtPeriodEnd},
		{
			inGo((*simulator.Stripe).Renew), func(e *expected) bool { return e.is("active", "trialing", "past_due") },
			func(e *expected) {
				if e.atPeriodEnd {
					e.status = "canceled"
				} else {
					e.nextPeriod("active", false)
				}
			},
		},
		{inGo((*simulator.Stripe).FailPayment), running, func(e *expected) {
			if !e.owes {
				e.nextPeriod("past_due", true)
			}
		}},
		{
			inGo((*simulator.Stripe).PayNow), func(e *expected) bool { return e.is("incomplete", "past_due", "unpaid") },
			func(e *expected) { e.status, e.owes = "active", false },
		},
		{
			inGo((*simulator.Stripe).Pause), func(e *expected) bool { return e.is("active", "trialing") },
			func(e *expected) { e.status = "paused" },
		},
		{
			inGo(func(s *simulator.Stripe, id string) (_ simulator.Subscription, err error) {
				resumed, err = s.Resume(id)
				return resumed, err
			}),
			func(e *expected) bool { return e.is("paused") },
			func(e *expected) { e.status, e.owes, e.periodEnd = "active", false, resumed.CurrentPeriodEnd },
		},
		{inGo(setStatus(status)), func(*expected) bool { return true }, func(e *expected) { e.status = status }},
		{func(b bundle, id string) error {
			_, err := b.stripe().Subscriptions.Cancel(id, nil)
			return err
		}, running, func(e *expected) { e.status = "canceled" }},
		{func(b bundle, id string) error {
			params := &stripe.SubscriptionParams{CancelAtPeriodEnd: &flag, Metadata: map[string]string{"last": price}}
			_, err := b.stripe().Subscriptions.Update(id, params)
			return err
		}, running, setAtPeriodEnd},
	}
	return acts[random.IntN(len(acts))]
}

// Whatever is done to subscriptions, the list is what was done, the last event of each shows it as
// the list does, and each event's previous attributes lead back to the event before.
func TestRandomChanges_AreWhatListAndEventsShow(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			const changes, customers = 300, 4
			random := rand.New(rand.NewPCG(seed, seed))
			b := setup(t, simulator.Config{})
			owners := make([]string, customers)
			for i := range owners {
				owners[i] = b.customer(t)
			}
			var model []*expected
			for range changes {
				if len(model) == 0 || random.IntN(8) == 0 {
					model = append(model, subscribeAny(t, b, owners[random.IntN(customers)]))
					continue
				}
				e, act := model[random.IntN(len(model))], randomAct(random)
				allowed := act.may(e)
				require.Equal(t, allowed, act.do(b, e.id) == nil, "%+v", e)
				if allowed {
					act.then(e)
				}
			}
			requireListed(t, b, owners, model)
			requireTold(t, b)
		})
	}
}

func subscribeAny(t *testing.T, b bundle, customer string) *expected {
	t.Helper()
	sub, err := b.Stripe().Subscribe(customer, simulator.SubscriptionSpec{PriceID: "price_0"})
	require.NoError(t, err)
	return &expected{id: sub.ID, customer: customer, status: "active", price: "price_0", periodEnd: sub.CurrentPeriodEnd}
}

func requireListed(t *testing.T, b bundle, owners []string, model []*expected) {
	t.Helper()
	of := func(customer string, keep func(*expected) bool) []expected {
		wanted := []expected{}
		for _, e := range slices.Backward(model) {
			if (customer == "" || e.customer == customer) && keep(e) {
				shown := *e
				shown.owes = false // which the list does not show
				wanted = append(wanted, shown)
			}
		}
		return wanted
	}
	all := func(*expected) bool { return true }
	require.Equal(t, of("", all), listedAs(t, b, "", "all"))
	require.Equal(t, of("", func(e *expected) bool { return e.status != "canceled" }), listedAs(t, b, "", ""))
	require.Equal(t, of("", (*expected).ended), listedAs(t, b, "", "ended"))
	for _, owner := range owners {
		require.Equal(t, of(owner, all), listedAs(t, b, owner, "all"))
	}
}

// listedAs is what the list shows, by pages of seven.
func listedAs(t *testing.T, b bundle, customer, status string) []expected {
	t.Helper()
	params := &stripe.SubscriptionListParams{}
	params.Limit = stripe.Int64(7)
	if customer != "" {
		params.Customer = &customer
	}
	if status != "" {
		params.Status = &status
	}
	listed := []expected{}
	it := b.stripe().Subscriptions.List(params)
	for it.Next() {
		sub := it.Subscription()
		listed = append(listed, expected{
			id: sub.ID, customer: sub.Customer.ID, status: string(sub.Status), price: sub.Items.Data[0].Price.ID,
			atPeriodEnd: sub.CancelAtPeriodEnd, periodEnd: time.Unix(sub.CurrentPeriodEnd, 0).UTC(),
		})
	}
	require.NoError(t, it.Err())
	return listed
}

func requireTold(t *testing.T, b bundle) {
	t.Helper()
	last := map[string]map[string]any{}
	for _, e := range b.Stripe().Events() {
		if !strings.HasPrefix(e.Type, "customer.subscription.") {
			continue
		}
		object := decodeJSON[map[string]any](t, string(e.Object))
		id, _ := object["id"].(string)
		if e.Type == "customer.subscription.updated" {
			require.NotEmpty(t, e.PreviousAttributes, "an update that changes nothing is none")
			require.Equal(t, last[id], overlaid(object, decodeJSON[map[string]any](t, string(e.PreviousAttributes))))
		}
		last[id] = object
	}
	for id, object := range last {
		shown := b.send(t, http.MethodGet, "/v1/subscriptions/"+url.PathEscape(id), nil, nil)
		require.Equal(t, decodeJSON[map[string]any](t, shown.body), object)
	}
	require.Len(t, last, len(b.Stripe().Subscriptions()))
}

// overlaid is the object with the previous attributes put back: null takes a key out of metadata.
func overlaid(object, previous map[string]any) map[string]any {
	was := maps.Clone(object)
	for name, value := range previous {
		within, isHash := value.(map[string]any)
		now, nowIsHash := was[name].(map[string]any)
		switch {
		case isHash && nowIsHash:
			was[name] = overlaid(now, within)
		case name == "last" && value == nil:
			delete(was, name)
		default:
			was[name] = value
		}
	}
	return was
}
