package fleet_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/holdfast/holdfast/internal/apiclient"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

// Where payouts are made.
const (
	stripeTransfers = "/v1/transfers"
	stripePayouts   = "/v1/payouts"
	payPalPayouts   = "/v1/payments/payouts"
)

// payee is one of those who are paid, and what they have earned after refunds, in cents: on an account at
// Stripe, or to an address at PayPal.
type payee struct {
	id, account, email string
	earned             int64
}

// receives is what arrives of all that a payee earned.
func (p payee) receives() int64 {
	method := payout.MethodStandard
	if p.email != "" {
		method = payout.MethodPayPal
	}
	return payout.DefaultPolicy().Terms(method, "US", money.New(p.earned, "usd")).Net.Minor
}

// payees makes payees of whom each has earned so much, long enough ago to be due, and who have been
// with us for so long that cycles were missed. They are paid by Stripe.
func (b bundle) payees(t *testing.T, n int, earned func(i int) int64) []payee {
	t.Helper()
	return b.payeesAt(t, n, earned, func(int) string { return "" })
}

// payeesAt is payees of whom those are paid by PayPal who have an address there.
func (b bundle) payeesAt(t *testing.T, n int, earned func(i int) int64, email func(i int) string) []payee {
	t.Helper()
	require.NoError(t, b.Simulator.Stripe().SetPlatformBalance("usd", 1_000_000_000))
	require.NoError(t, b.Simulator.Stripe().SetPayoutSettlement(simulator.PayoutSettlement{Automatic: true, DelayMS: 100}))
	all := make([]payee, n)
	atOnce(t, n, func(i int) error {
		all[i] = payee{id: fmt.Sprintf("u_%d", i), earned: earned(i), email: email(i)}
		return b.enroll(t.Context(), &all[i])
	})
	b.awaitLong(t, "every account to be looked at", func() bool {
		return b.count(t, `SELECT count(*) FROM payee_accounts`) == b.count(t, `SELECT count(*) FROM payees WHERE rail = 'stripe'`)
	})
	b.comeLongAgo(t)
	return all
}

// atOnce does the same for all, several at a time.
func atOnce(t *testing.T, n int, do func(i int) error) {
	t.Helper()
	problems := make([]error, n)
	slots := make(chan struct{}, 8)
	var wg sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			problems[i] = do(i)
		})
	}
	wg.Wait()
	for _, problem := range problems {
		require.NoError(t, problem)
	}
}

// enroll signs a payee up, as an app does, with an account at Stripe.
func (b bundle) enroll(ctx context.Context, p *payee) error {
	if _, _, err := b.app.CreateCustomer(ctx, profile(p.id)); err != nil {
		return err
	}
	is := apiclient.PayeeProfile{
		Email: p.id + "@example.com", Country: "US", Currency: "usd", Rail: "paypal", PayPalEmail: p.email, Schedule: "weekly",
	}
	if p.email == "" {
		account, err := b.Simulator.Stripe().PutAccount(simulator.Account{})
		if err != nil {
			return err
		}
		p.account = account.ID
		is.Rail, is.StripeAccountID = "stripe", p.account
	}
	if _, _, err := b.app.PutPayee(ctx, p.id, is); err != nil {
		return err
	}
	return b.earn(ctx, p.id, "sale", p.earned, time.Now().AddDate(0, 0, -20))
}

func (b bundle) earn(ctx context.Context, payeeID, id string, amount int64, at time.Time) error {
	kind := "sale"
	if amount < 0 {
		kind, amount = "refund", -amount
	}
	_, _, err := b.app.Earn(ctx, payeeID, apiclient.Earning{ID: id, Kind: kind, Amount: amount, Currency: "usd", OccurredAt: at})
	return err
}

// comeLongAgo has every payee be one for a month, so that a Friday was missed whatever today is.
func (b bundle) comeLongAgo(t *testing.T) {
	t.Helper()
	_, err := b.Pool.Exec(t.Context(), `UPDATE payees SET last_cycle = current_date - 30`)
	require.NoError(t, err)
}

func hundred(int) int64 { return 10_000 }

func today() string { return date.Of(time.Now()).String() }

func (b bundle) startRun(t *testing.T, on string) {
	t.Helper()
	_, _, err := b.operator.StartPayoutRun(t.Context(), on)
	require.NoError(t, err)
}

// awaitPaid waits until so many payouts are paid.
func (b bundle) awaitPaid(t *testing.T, n int) {
	t.Helper()
	await(t, "the payouts to be paid", func() bool { return b.count(t, `SELECT count(*) FROM payouts WHERE state = 'paid'`) == n })
}

// awaitLong is await for what takes minutes when there are many.
func (b bundle) awaitLong(t *testing.T, what string, so func() bool) {
	t.Helper()
	if !assert.Eventually(t, so, 10*time.Minute, 500*time.Millisecond) {
		t.Fatalf("waited in vain for %s; of %d payees %d have a known account, the payouts are: %s; and what is not done: %q", what,
			b.count(t, `SELECT count(*) FROM payees`), b.count(t, `SELECT count(*) FROM payee_accounts`), b.states(t),
			b.workflowIDs(t, `SELECT workflow_id || ' ' || status || ' ' || last_error FROM steps WHERE status NOT IN ('done', 'skipped') LIMIT 20`))
	}
}

// states tells how many payouts are in which state.
func (b bundle) states(t *testing.T) (text string) {
	t.Helper()
	require.NoError(t, b.Pool.QueryRow(t.Context(), `SELECT coalesce(string_agg(n || ' ' || state, ', '), 'none') FROM (
		SELECT state, count(*) AS n FROM payouts GROUP BY state ORDER BY state) AS counted`).Scan(&text))
	return text
}

// requirePaidOnce holds Postgres, the ledger and Stripe against each other and against what each payee
// was to be paid: all that they earned, with one payout.
func (b bundle) requirePaidOnce(t *testing.T, all []payee) {
	t.Helper()
	audit := b.soundAudit(t)
	require.Equal(t, len(all), b.count(t, `SELECT count(*) FROM payouts`))
	for _, p := range all {
		require.Equal(t, map[string]int64{"usd": p.earned}, audit.Received[p.id], p.id)
	}
}

// soundAudit proves that nothing was lost or moved twice, at Stripe and in the ledger, and that both
// have the same numbers.
func (b bundle) soundAudit(t *testing.T) simulator.MoneyAudit {
	t.Helper()
	b.run(t, "ops", "ledger", "verify")
	audit := b.Simulator.Stripe().MoneyAudit()
	require.NoError(t, audit.Err())
	require.Empty(t, audit.Unbalanced)
	require.Zero(t, audit.WithoutPayoutID)
	require.Zero(t, audit.Foreign)
	require.Zero(t, b.Simulator.PostsWithoutKey())
	totals := audit.Totals["usd"]
	require.Equal(t, int64(b.count(t, `SELECT coalesce(sum(amount), 0) FROM ledger_entries WHERE account = 'platform' AND rail = 'stripe'`)), totals.Platform-totals.PutIn,
		"the ledger and Stripe agree on what left the platform")
	require.Equal(t, totals.PaidOut, int64(b.count(t, `SELECT coalesce(sum(net), 0) FROM payouts WHERE state = 'paid' AND method <> 'paypal'`)))
	return audit
}

// soundPayPalAudit is soundAudit for PayPal.
func (b bundle) soundPayPalAudit(t *testing.T) simulator.PayPalMoneyAudit {
	t.Helper()
	b.run(t, "ops", "ledger", "verify")
	audit := b.Simulator.PayPal().PayPalMoneyAudit()
	require.NoError(t, audit.Err())
	require.Zero(t, audit.WithoutPayoutID)
	require.Zero(t, b.Simulator.PostsWithoutKey())
	totals := audit.Totals["USD"]
	require.Equal(t, int64(b.count(t, `SELECT coalesce(sum(amount), 0) FROM ledger_entries WHERE account = 'platform' AND rail = 'paypal'`)), totals.Balance-totals.PutIn,
		"the ledger and PayPal agree on what left the platform")
	require.Equal(t, totals.Received, int64(b.count(t, `SELECT coalesce(sum(net), 0) FROM payouts WHERE state = 'paid' AND method = 'paypal'`)))
	return audit
}

// There is one run for a date, whoever starts it and however often, and one payout for each payee.
func TestRunsOfOneDateStartedTogetherPayOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, 2)
	all := b.payees(t, 20, hundred)
	b.run(t, "schedules", "apply")

	atOnce(t, 6, func(i int) error {
		if i%2 == 0 {
			return b.Temporal.ScheduleClient().GetHandle(t.Context(), "payouts").Trigger(t.Context(), client.ScheduleTriggerOptions{})
		}
		_, _, err := b.operator.StartPayoutRun(t.Context(), today())
		return err
	})

	b.awaitPaid(t, len(all))
	b.requirePaidOnce(t, all)
	require.Len(t, b.runs(t, "payout-run/"+today()), 1)
	require.Len(t, b.Simulator.Calls().To(http.MethodPost, stripeTransfers), len(all))
	require.Len(t, b.Simulator.Calls().To(http.MethodPost, stripePayouts), len(all))
}

// A deploy replaces the worker while a run works out who gets what, and again while it pays.
func TestARunGoesOnWithAnotherWorker(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	all := b.payees(t, 20, hundred)
	began := time.Now()
	require.NoError(t, b.Simulator.SetFaults(simulator.Fault{Kind: simulator.Latency, DelayMS: 500}))
	replace := func() {
		require.NoError(t, b.StopWorkers())
		require.NoError(t, b.StartWorker(context.WithoutCancel(t.Context())))
	}
	called := func(method, route string) func() bool {
		return func() bool { return len(b.Simulator.Calls().Since(began).To(method, route)) > 0 }
	}

	b.startRun(t, today())
	await(t, "the platform's funds to be read", called(http.MethodGet, "/v1/balance"))
	replace()
	await(t, "the first transfer", called(http.MethodPost, stripeTransfers))
	require.Less(t, b.count(t, `SELECT count(*) FROM payouts WHERE state = 'paid'`), len(all))
	replace()

	b.awaitPaid(t, len(all))
	b.requirePaidOnce(t, all)
}

// A run that comes late pays the Friday that was missed, with that Friday's cutoff, and once.
func TestARunForAMissedDay(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	all := b.payees(t, 3, hundred)
	friday := date.Of(time.Now()).AddDays(-1)
	for friday.Weekday() != time.Friday {
		friday = friday.AddDays(-1)
	}
	noon := func(d date.Date) time.Time { return d.Time().Add(12 * time.Hour) }
	require.NoError(t, b.earn(t.Context(), "u_0", "last_of_the_cycle", 2_000, noon(friday.AddDays(-7))))
	require.NoError(t, b.earn(t.Context(), "u_1", "first_of_the_next", 2_000, noon(friday.AddDays(-6))))
	require.NoError(t, b.earn(t.Context(), "u_2", "refund_after_the_cutoff", -2_000, noon(friday.AddDays(-1))))
	all[0].earned, all[2].earned = 12_000, 8_000

	b.startRun(t, friday.String())
	b.awaitPaid(t, len(all))
	b.startRun(t, friday.String())
	b.startRun(t, friday.AddDays(-7).String())
	await(t, "the run of the Friday before to end", func() bool {
		run, err := b.operator.PayoutRun(t.Context(), friday.AddDays(-7).String())
		return err == nil && run.State == "ended"
	})

	b.requirePaidOnce(t, all)
	require.Equal(t, len(all), b.count(t, `SELECT count(*) FROM payouts WHERE run_date = '`+friday.String()+`' AND period_end = '`+friday.AddDays(-7).String()+`'`))
	_, _, err := b.operator.StartPayoutRun(t.Context(), date.Of(time.Now()).AddDays(1).String())
	require.Equal(t, http.StatusUnprocessableEntity, apiclient.StatusOf(err), "%v", err)
	require.ErrorContains(t, err, "date")
}

// Switched off, nothing is sent of what a run hands over; switched on, all of it is.
func TestTheKillSwitchStopsARun(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	all := b.payees(t, 10, hundred)
	began := time.Now()
	require.NoError(t, b.Simulator.SetFaults(simulator.Fault{Kind: simulator.Stall, PathPrefix: "/v1/balance", DelayMS: 20_000}))
	b.startRun(t, today())
	await(t, "the run to be under way", func() bool { return len(b.Simulator.Calls().Since(began).To(http.MethodGet, "/v1/balance")) > 0 })

	_, err := b.operator.SwitchPayouts(t.Context(), false, "a test of the switch")
	require.NoError(t, err)
	require.NoError(t, b.Simulator.ClearFaults())
	await(t, "every payout to find the switch off", func() bool {
		return b.count(t, `SELECT count(*) FROM payouts WHERE state = 'planned' AND checked_at IS NOT NULL`) == len(all)
	})
	require.Empty(t, b.Simulator.Calls().To(http.MethodPost, stripeTransfers))
	require.Empty(t, b.Simulator.Calls().To(http.MethodPost, stripePayouts))

	_, err = b.operator.SwitchPayouts(t.Context(), true, "the test is over")
	require.NoError(t, err)

	b.awaitPaid(t, len(all))
	b.requirePaidOnce(t, all)
}

// A bank may return what was paid, and nobody may hear of it: the sweep finds out, and the money is the
// payee's again.
func TestAReturnOfWhichNobodyHeardIsFound(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	all := b.payees(t, 2, hundred)
	b.startRun(t, today())
	b.awaitPaid(t, len(all))
	b.awaitWorkflowsOfPayouts(t)
	require.NoError(t, b.Simulator.StripeWebhooks().SetFaults(simulator.WebhookFaults{Loss: 1}))
	returned := b.Simulator.Stripe().Payouts(all[0].account)[0]
	_, err := b.Simulator.Stripe().ReturnPayout(returned.ID, "account_closed")
	require.NoError(t, err)

	b.daysPass(t, 4)
	require.Equal(t, len(all), b.sweep(t))

	await(t, "the return to be found", func() bool { return b.payoutOf(t, all[0].id).Status == "returned" })
	b.awaitWorkflowsOfPayouts(t)
	require.Equal(t, "account_closed", b.payoutOf(t, all[0].id).Failure.Code)
	require.Equal(t, "paid", b.payoutOf(t, all[1].id).Status)
	audit := b.soundAudit(t)
	require.Zero(t, audit.Received[all[0].id]["usd"])
	now, err := b.app.Payee(t.Context(), all[0].id)
	require.NoError(t, err)
	require.Equal(t, int64(10_000), now.Balance.Available.Minor)
	require.Zero(t, now.Balance.Paid.Minor)
}

// payoutOf is the only payout of a payee.
func (b bundle) payoutOf(t *testing.T, payeeID string) apiclient.Payout {
	t.Helper()
	all, err := b.app.Payouts(t.Context(), payeeID)
	require.NoError(t, err)
	require.Len(t, all, 1)
	return all[0]
}

// daysPass makes what is known of payouts so much older.
func (b bundle) daysPass(t *testing.T, days int) {
	t.Helper()
	_, err := b.Pool.Exec(t.Context(), `UPDATE payouts SET state_since = state_since - make_interval(days => $1), checked_at = checked_at - make_interval(days => $1)
		WHERE state IN ('in_transit', 'unclaimed', 'paid')`, days)
	require.NoError(t, err)
	_, err = b.Pool.Exec(t.Context(), `UPDATE paypal_batches SET state_since = state_since - make_interval(days => $1), checked_at = checked_at - make_interval(days => $1)`, days)
	require.NoError(t, err)
}

// sweep looks for payouts that nothing was heard of, as the schedule does every hour, and tells how many there were.
func (b bundle) sweep(t *testing.T) (looked int) {
	t.Helper()
	run, err := b.Temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "payout-sweep-by-hand", TaskQueue: workflows.TaskQueue}, workflows.NamePayoutSweep)
	require.NoError(t, err)
	var result workflows.SweepResult
	require.NoError(t, run.Get(t.Context(), &result))
	return result.Looked
}

// awaitWorkflowsOfPayouts waits until nothing is to be done for any payout.
func (b bundle) awaitWorkflowsOfPayouts(t *testing.T) {
	t.Helper()
	await(t, "the payouts' workflows to end", func() bool { return b.openPayouts(t) == 0 })
}

// payoutSteps are those of payouts: one for each at Stripe, one for each batch at PayPal.
var payoutSteps = []string{workflows.StepPayout, workflows.StepPayPalBatch}

// openPayouts is how many payouts, or batches of them, something is still to be done for.
func (b bundle) openPayouts(t *testing.T) int {
	t.Helper()
	return b.count(t, `SELECT count(*) FROM steps WHERE name = ANY ($1) AND status NOT IN ('done', 'skipped')`, payoutSteps)
}
