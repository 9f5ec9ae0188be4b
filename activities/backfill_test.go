package activities_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/holdfast/holdfast/activities"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/workflows"
)

const passStep = "stripe_backfill"

// passes is the activities of a pass, and those that read one customer, on a real database and
// simulated providers. A pass may add 20 customers to what is to be read.
type passes struct {
	bundle

	counted *counted
}

func setupPasses(t *testing.T) passes {
	t.Helper()
	p := passes{bundle: setup(t), counted: &counted{reads: map[string]int{}}}
	log := slog.New(slog.DiscardHandler)
	store := subscriptionsOn(p.pool)
	stripeCalls, err := stripe.New(stripe.Config{
		SecretKey: simulator.DefaultStripeKey, APIBase: p.simulator.StripeURL(), Timeout: patient, Breaker: p.breaker,
	})
	require.NoError(t, err)
	payPalCalls, err := paypal.New(paypal.Config{
		ClientID: simulator.DefaultPayPalClientID, ClientSecret: simulator.DefaultPayPalClientSecret,
		APIBase: p.simulator.PayPalURL(), Timeout: patient,
	})
	require.NoError(t, err)
	rates := map[provider.Name]float64{provider.Stripe: 10, provider.PayPal: 10}
	own := activities.NewBackfill(p.pool, store, rates)
	p.register(workflows.ActivityBeginBackfill, own.BeginBackfill)
	p.register(workflows.ActivityMarkUnread, own.MarkUnread)
	p.register(workflows.ActivityCountHealed, own.CountHealed)
	lists := activities.NewStripeBackfill(p.pool, store, stripeCalls, p.breaker, rates, p.counted, log)
	p.register(workflows.ActivityCompareStripePage, lists.CompareStripePage)
	readsOne := activities.NewStripeSubscriptions(p.pool, store, stripeCalls, p.breaker, p.counted, log)
	p.register(workflows.ActivityReadStripeSubscriptions, readsOne.ReadStripeSubscriptions)
	noLimit := rate.NewLimiter(rate.Inf, 1)
	walksOne := activities.NewPayPalSubscriptions(p.pool, store, payPalCalls, provider.NewBreaker(provider.PayPal, 0), noLimit, p.counted, log)
	p.register(workflows.ActivityReadPayPalSubscriptions, walksOne.ReadPayPalSubscriptions)
	return p
}

// counted is what the meters were told.
type counted struct {
	mu                  sync.Mutex
	reads               map[string]int
	compared, differing int
}

func (c *counted) Read(_ context.Context, _ provider.Name, outcome string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads[outcome]++
}

func (c *counted) Compared(_ context.Context, _ provider.Name, customers, differing int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.compared += customers
	c.differing += differing
}

// enroll makes a customer whose Stripe customer is bound, and gives that.
func (p passes) enroll(t *testing.T, customerID string) string {
	t.Helper()
	c, err := p.simulator.Stripe().PutCustomer(simulator.Customer{Email: customerID + "@example.com"})
	require.NoError(t, err)
	p.exec(t, `INSERT INTO customers (id, email, content_hash, stripe_customer_id, stripe_bound_at) VALUES ($1, 'x@example.com', '', $2, now())`, customerID, c.ID)
	return c.ID
}

// subscribed is a customer with a subscription at Stripe of whom nobody here was told.
func (p passes) subscribed(t *testing.T, customerID string, change ...func(*simulator.Subscription)) simulator.Subscription {
	t.Helper()
	seed := simulator.Subscription{Customer: p.enroll(t, customerID)}
	for _, c := range change {
		c(&seed)
	}
	s, err := p.simulator.Stripe().PutSubscription(seed)
	require.NoError(t, err)
	return s
}

// known is a customer with a subscription at Stripe that was read.
func (p passes) known(t *testing.T, customerID string, change ...func(*simulator.Subscription)) simulator.Subscription {
	t.Helper()
	s := p.subscribed(t, customerID, change...)
	p.read(t, customerID)
	return s
}

func (p passes) read(t *testing.T, customerID string) {
	t.Helper()
	p.execute(t, workflows.ActivityReadStripeSubscriptions, workflows.CallInput{CustomerID: customerID, Step: "stripe_subscriptions"}, nil)
}

func (p passes) execute(t *testing.T, name string, in, result any) {
	t.Helper()
	value, err := p.env.ExecuteActivity(name, in)
	require.NoError(t, err)
	if result != nil {
		require.NoError(t, value.Get(result))
	}
}

func (p passes) begin(t *testing.T, at provider.Name) workflows.BeginBackfillResult {
	t.Helper()
	var begun workflows.BeginBackfillResult
	p.execute(t, workflows.ActivityBeginBackfill, workflows.BeginBackfillInput{Provider: at, Step: passStep}, &begun)
	return begun
}

// page compares one page.
func (p passes) page(t *testing.T, at workflows.BackfillCursor) (page workflows.ComparePageResult) {
	t.Helper()
	p.execute(t, workflows.ActivityCompareStripePage, workflows.ComparePageInput{Step: passStep, Cursor: at}, &page)
	return page
}

// pages compares all pages, and counts them.
func (p passes) pages(t *testing.T) (n int) {
	t.Helper()
	var at workflows.BackfillCursor
	for {
		page := p.page(t, at)
		require.False(t, page.Busy)
		n++
		if page.Next == nil {
			return n
		}
		at = *page.Next
	}
}

// drifted are the customers whom a pass has marked and whom nobody has read.
func (p passes) drifted(t *testing.T) []string {
	t.Helper()
	rows, err := p.pool.Query(t.Context(), `SELECT customer_id FROM subscription_syncs WHERE marks > covered AND cause = 'drift' ORDER BY 1`)
	require.NoError(t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return ids
}

// neverMade is what is known here of a subscription that Stripe does not know.
func (p passes) neverMade(t *testing.T, customerID string, created time.Time) {
	t.Helper()
	p.exec(t, `INSERT INTO subscriptions (provider, id, customer_id, status, provider_status, price_ids, created_at)
		VALUES ('stripe', 'sub_of_' || $1, $1, 'active', 'active', '{price_pro}', $2)`, customerID, created)
}

func TestAPassHasThoseReadWhoDiffer(t *testing.T) {
	t.Parallel()
	p := setupPasses(t)
	p.known(t, "u_agrees")
	p.known(t, "u_many_prices", func(s *simulator.Subscription) {
		for i := range 15 {
			s.AddOns = append(s.AddOns, fmt.Sprintf("price_add_on_%d", i))
		}
	})
	canceled := p.known(t, "u_canceled")
	_, err := p.simulator.Stripe().CancelNow(canceled.ID)
	require.NoError(t, err)
	p.subscribed(t, "u_never_told")
	p.known(t, "u_gone")
	p.neverMade(t, "u_gone", canceled.Created)
	p.enroll(t, "u_without_any")
	stranger, err := p.simulator.Stripe().PutCustomer(simulator.Customer{Email: "stranger@example.com"})
	require.NoError(t, err)
	_, err = p.simulator.Stripe().PutSubscription(simulator.Subscription{Customer: stranger.ID})
	require.NoError(t, err)
	begun := p.begin(t, provider.Stripe)
	require.Equal(t, 6, begun.Customers)
	before := len(p.simulator.Calls())

	require.Equal(t, 1, p.pages(t))

	require.Equal(t, []string{"u_canceled", "u_gone", "u_never_told"}, p.drifted(t))
	require.Len(t, p.simulator.Calls(), before+1, "all of them are one call")
	require.Equal(t, 3, p.count(t, `SELECT count(*) FROM outbox`), "those who differ are woken, and nobody else")
	require.Equal(t, 5, p.counted.compared)
	require.Equal(t, 3, p.counted.differing)

	// When they are read, they are healed, and another pass finds nothing.
	for _, customerID := range p.drifted(t) {
		p.read(t, customerID)
	}
	require.Equal(t, 3, p.counted.reads["healed"])
	p.pages(t)
	require.Empty(t, p.drifted(t))
	var end workflows.CountHealedResult
	p.execute(t, workflows.ActivityCountHealed, workflows.CountHealedInput{Provider: provider.Stripe, StartedAt: begun.StartedAt}, &end)
	require.Equal(t, workflows.CountHealedResult{Healed: 3}, end)
}

func TestPagesMayPartInTheMiddleOfASecond(t *testing.T) {
	t.Parallel()
	p := setupPasses(t)
	moment := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range 250 {
		p.known(t, fmt.Sprintf("u_%03d", i), func(s *simulator.Subscription) { s.Created = moment })
	}
	require.Equal(t, 3, p.pages(t))
	require.Empty(t, p.drifted(t))

	p.neverMade(t, "u_007", moment)
	p.neverMade(t, "u_008", moment.Add(time.Second))
	p.neverMade(t, "u_009", moment.Add(-time.Second))
	p.pages(t)
	require.Equal(t, []string{"u_007", "u_008", "u_009"}, p.drifted(t))
}

// Whatever is changed, made or forgotten, a pass marks exactly those customers.
func TestAPassOverManyPages(t *testing.T) {
	t.Parallel()
	p := setupPasses(t)
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	all := make([]simulator.Subscription, 230)
	for i := range all {
		all[i] = p.known(t, fmt.Sprintf("u_%03d", i), func(s *simulator.Subscription) { s.Created = noon.Add(time.Duration(i/7) * time.Second) })
	}
	var want []string
	for i := 0; i < len(all); i += 23 {
		_, err := p.simulator.Stripe().CancelNow(all[i].ID)
		require.NoError(t, err)
		want = append(want, fmt.Sprintf("u_%03d", i))
	}

	require.Equal(t, 3, p.pages(t))
	require.Equal(t, want, p.drifted(t))
}

func TestAPageBehindASubscriptionThatIsGoneIsLost(t *testing.T) {
	t.Parallel()
	p := setupPasses(t)
	p.known(t, "u_1")
	require.True(t, p.page(t, workflows.BackfillCursor{After: "sub_that_was_deleted"}).Lost)
	require.Equal(t, step.Done, p.shown(t).Status)
}

func TestLiveWorkGoesFirst(t *testing.T) {
	t.Parallel()
	p := setupPasses(t)
	for i := range 30 {
		p.subscribed(t, fmt.Sprintf("u_%02d", i))
	}
	p.markLive(t, 11)
	before := len(p.simulator.Calls())

	require.True(t, p.page(t, workflows.BackfillCursor{}).Busy)
	require.Len(t, p.simulator.Calls(), before, "Stripe is not even asked")
	require.True(t, p.markUnread(t, workflows.MarkUnreadInput{Provider: provider.Stripe}).Busy)

	// What a person has to see to first may take for ever, and is not waited for.
	for i := range 5 {
		p.exec(t, `INSERT INTO steps (workflow_id, name, customer_id, provider, status, waits_for, blocked_at)
			VALUES ('subscription-sync/' || $1, 'stripe_subscriptions', $1, 'stripe', 'blocked', 'person', now())`, fmt.Sprintf("u_%02d", i))
	}
	marked := p.markUnread(t, workflows.MarkUnreadInput{Provider: provider.Stripe})
	require.Equal(t, workflows.MarkUnreadResult{Marked: 14, Next: "u_24"}, marked, "as many as may wait, and no more")
	require.True(t, p.markUnread(t, workflows.MarkUnreadInput{Provider: provider.Stripe, After: marked.Next}).Busy)
}

func (p passes) markLive(t *testing.T, n int) {
	t.Helper()
	require.NoError(t, postgres.InTx(t.Context(), p.pool, func(tx pgx.Tx) error {
		for i := range n {
			if err := subscriptionsOn(p.pool).Mark(t.Context(), tx, provider.Stripe, subscription.ByEvent, fmt.Sprintf("u_%02d", i)); err != nil {
				return err
			}
		}
		return nil
	}))
}

func (p passes) markUnread(t *testing.T, in workflows.MarkUnreadInput) (marked workflows.MarkUnreadResult) {
	t.Helper()
	p.execute(t, workflows.ActivityMarkUnread, in, &marked)
	return marked
}

func TestAPassShowsThatItsProviderIsDown(t *testing.T) {
	t.Parallel()
	p := setupPasses(t)
	p.known(t, "u_1")
	p.exec(t, `UPDATE provider_health SET state = 'down', checked_at = now() WHERE provider = 'stripe'`)
	_, err := p.env.ExecuteActivity(workflows.ActivityCompareStripePage, workflows.ComparePageInput{Step: passStep})
	requireFailure(t, err, provider.Transient, false)
	require.Equal(t, step.Retrying, p.shown(t).Status)
	require.Contains(t, p.shown(t).LastError, provider.CodeProviderDown)
}

// shown is the step by which people see the pass.
func (p passes) shown(t *testing.T) step.Step {
	t.Helper()
	all := p.steps(t)
	i := slices.IndexFunc(all, func(s step.Step) bool { return s.Name == passStep })
	require.GreaterOrEqual(t, i, 0)
	return all[i]
}

func TestWhoeverHasNothingAtAProviderHasNothingToCompare(t *testing.T) {
	t.Parallel()
	p := setupPasses(t)
	p.signUp(t) // whose Stripe customer is still to be made
	require.Zero(t, p.begin(t, provider.Stripe).Customers)
	require.Zero(t, p.begin(t, provider.PayPal).Customers)
	require.Zero(t, p.count(t, `SELECT count(*) FROM steps WHERE name = 'stripe_backfill'`))
}

func TestPayPalsAreReadWhenTheyWereNotForLong(t *testing.T) {
	t.Parallel()
	p := setupPasses(t)
	recent, old := "1 hour", "21 hours"
	bind := func(customerID, status, known, age string) {
		p.exec(t, `INSERT INTO customers (id, email, content_hash) VALUES ($1, 'x@example.com', '')`, customerID)
		id := "I-" + fmt.Sprintf("%X", customerID)
		p.exec(t, `INSERT INTO paypal_bindings (subscription_id, customer_id, status) VALUES ($1, $2, $3)`, id, customerID, status)
		if known != "" {
			p.exec(t, `INSERT INTO subscriptions (provider, id, customer_id, status, provider_status, price_ids, created_at)
				VALUES ('paypal', $1, $2, $3, 'X', '{P-1}', now())`, id, customerID, known)
		}
		if age != "" {
			p.exec(t, `INSERT INTO subscription_syncs (customer_id, provider, begun, stored, synced_at) VALUES ($1, 'paypal', 1, 1, now() - $2::interval)`, customerID, age)
		}
	}
	bind("a_recent", "bound", "active", recent)
	bind("b_old", "bound", "active", old)
	bind("c_ended", "bound", "canceled", old)
	bind("d_never", "asked", "", "")
	bind("e_refused", "refused", "", "")
	begun := p.begin(t, provider.PayPal)
	require.Equal(t, 4, begun.Customers)

	daily := workflows.MarkUnreadInput{Provider: provider.PayPal, Before: begun.StartedAt.Add(-20 * time.Hour), StartedAt: begun.StartedAt}
	require.Equal(t, workflows.MarkUnreadResult{Marked: 2, Next: "d_never"}, p.markUnread(t, daily))
	require.Equal(t, []string{"b_old", "d_never"}, p.drifted(t))
	daily.After = "d_never"
	require.Equal(t, workflows.MarkUnreadResult{}, p.markUnread(t, daily))
	// An attempt whose answer was lost marks nobody twice.
	daily.After = ""
	require.Equal(t, workflows.MarkUnreadResult{}, p.markUnread(t, daily))

	everyone := workflows.MarkUnreadInput{Provider: provider.PayPal, Before: begun.StartedAt, Everyone: true, StartedAt: begun.StartedAt}
	require.Equal(t, workflows.MarkUnreadResult{Marked: 2, Next: "c_ended"}, p.markUnread(t, everyone))
	require.Equal(t, []string{"a_recent", "b_old", "c_ended", "d_never"}, p.drifted(t))
}

func TestAPayPalReadOfAPassHeals(t *testing.T) {
	t.Parallel()
	p := setupPasses(t)
	p.exec(t, `INSERT INTO customers (id, email, content_hash) VALUES ('u_1', 'x@example.com', '')`)
	made := p.simulator.PayPal().CreateSubscription("P-1", "u_1")
	p.exec(t, `INSERT INTO paypal_bindings (subscription_id, customer_id) VALUES ($1, 'u_1')`, made.ID)
	walk := workflows.CallInput{CustomerID: "u_1", Step: "paypal_subscriptions"}
	p.execute(t, workflows.ActivityReadPayPalSubscriptions, walk, nil)
	_, err := p.simulator.PayPal().Approve(made.ID) // whose webhook is lost
	require.NoError(t, err)
	begun := p.begin(t, provider.PayPal)

	marked := p.markUnread(t, workflows.MarkUnreadInput{Provider: provider.PayPal, Before: begun.StartedAt, Everyone: true, StartedAt: begun.StartedAt})
	require.Equal(t, 1, marked.Marked)
	var end workflows.CountHealedResult
	count := workflows.CountHealedInput{Provider: provider.PayPal, StartedAt: begun.StartedAt}
	p.execute(t, workflows.ActivityCountHealed, count, &end)
	require.Equal(t, workflows.CountHealedResult{Unread: 1}, end)

	p.execute(t, workflows.ActivityReadPayPalSubscriptions, walk, nil)
	p.execute(t, workflows.ActivityCountHealed, count, &end)
	require.Equal(t, workflows.CountHealedResult{Healed: 1}, end)
	require.Equal(t, 1, p.counted.reads["healed"])
}
