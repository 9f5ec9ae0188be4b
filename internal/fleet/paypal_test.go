package fleet_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"

	"github.com/holdfast/holdfast/internal/apiclient"
	"github.com/holdfast/holdfast/internal/fleet"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

// setupPayPal is a Holdfast whose batches at PayPal are small.
func setupPayPal(t *testing.T) bundle {
	t.Helper()
	b := setupWith(t, 1, fleet.Options{StripeRate: 100, PayPalRate: 20, Env: []string{"HOLDFAST_PAYOUT_PAYPAL_BATCH_SIZE=3"}})
	require.NoError(t, b.Simulator.PayPal().SetPayouts(simulator.PayPalPayoutSettings{ProcessingMS: 100}))
	return b
}

// everyOther is paid by PayPal, and the others by Stripe.
func everyOther(i int) string {
	if i%2 == 0 {
		return ""
	}
	return atPayPal(i)
}

func atPayPal(i int) string { return fmt.Sprintf("ok-%d@example.com", i) }

// requirePaidByBoth holds Postgres, the ledger and both providers against each other and against what each
// payee was to be paid: all that they earned, with one payout.
func (b bundle) requirePaidByBoth(t *testing.T, all []payee) {
	t.Helper()
	atStripe, atPayPal := b.soundAudit(t), b.soundPayPalAudit(t)
	require.Equal(t, len(all), b.count(t, `SELECT count(*) FROM payouts`))
	for _, p := range all {
		received := atStripe.Received[p.id]["usd"]
		if p.email != "" {
			received = atPayPal.Received[p.email]["USD"]
		}
		require.Equal(t, p.receives(), received, p.id)
	}
}

// PayPal takes no call, for a day: nobody at Stripe waits for it, no page fails, and what waits is seen.
func TestPayPalIsDeadForADay(t *testing.T) {
	t.Parallel()
	b := setupPayPal(t)
	all := b.payeesAt(t, 10, hundred, everyOther)
	b.sweep(t) // so it is known what there is at PayPal
	require.NoError(t, b.Simulator.SetFaults(simulator.Fault{Provider: "paypal", Kind: simulator.Refuse}))

	b.startRun(t, today())

	await(t, "Stripe's payees to be paid", func() bool {
		return b.count(t, `SELECT count(*) FROM payouts WHERE state = 'paid' AND method <> 'paypal'`) == len(all)/2
	})
	b.awaitBatchesParked(t, 2)
	b.requirePagesAnswer(t, all)
	for _, p := range all {
		if p.email != "" {
			require.Contains(t, []string{"planned", "sending"}, b.payoutOf(t, p.id).Status)
		}
	}
	b.daysPass(t, 1)
	b.sweep(t)
	require.Empty(t, b.Simulator.PayPal().PayPalBatches())
	waiting, err := b.operator.Attention(t.Context())
	require.NoError(t, err)
	require.Empty(t, waiting, "nobody has to do anything")

	require.NoError(t, b.Simulator.ClearFaults())

	b.awaitPaid(t, len(all))
	b.awaitWorkflowsOfPayouts(t)
	b.requirePaidByBoth(t, all)
	require.Len(t, b.Simulator.PayPal().PayPalBatches(), 2)
}

// A run that never knew what there is at PayPal asks until PayPal answers, and then pays.
func TestARunWaitsForAPayPalOfWhichNothingIsKnown(t *testing.T) {
	t.Parallel()
	b := setupPayPal(t)
	all := b.payeesAt(t, 6, hundred, everyOther)
	require.NoError(t, b.Simulator.SetFaults(simulator.Fault{Provider: "paypal", Kind: simulator.Refuse}))

	b.startRun(t, today())

	b.awaitWaiting(t, "the run", `SELECT count(*) FROM steps WHERE name = '`+workflows.StepPayPalFunds+`' AND workflow_id = 'payout-run/`+today()+`'
		AND status = 'blocked' AND waits_for = 'provider'`, 1)
	b.requirePagesAnswer(t, all)
	require.Zero(t, b.count(t, `SELECT count(*) FROM payouts`))

	require.NoError(t, b.Simulator.ClearFaults())

	b.awaitPaid(t, len(all))
	b.awaitWorkflowsOfPayouts(t)
	b.requirePaidByBoth(t, all)
}

// awaitBatchesParked waits until so many batches wait for PayPal, where people see it.
func (b bundle) awaitBatchesParked(t *testing.T, n int) {
	t.Helper()
	b.awaitWaiting(t, "every batch", `SELECT count(*) FROM steps WHERE name = 'paypal_batch' AND status = 'blocked' AND waits_for = 'provider'`, n)
	var providers []apiclient.Provider
	await(t, "PayPal to be known as down", func() bool {
		var err error
		providers, err = b.operator.Providers(t.Context())
		return err == nil && slices.ContainsFunc(providers, func(p apiclient.Provider) bool { return p.Provider == "paypal" && p.State == "down" })
	})
	for _, p := range providers {
		if p.Provider == "paypal" {
			require.GreaterOrEqual(t, int(p.Waiting), n)
		} else {
			require.Equal(t, "up", p.State)
		}
	}
}

func (b bundle) awaitWaiting(t *testing.T, whose, sql string, n int) {
	t.Helper()
	await(t, whose+" to wait for PayPal", func() bool { return b.count(t, sql) == n })
}

// requirePagesAnswer signs somebody up, and looks at what every payee sees.
func (b bundle) requirePagesAnswer(t *testing.T, all []payee) {
	t.Helper()
	b.signUp(t, "newcomer")
	b.awaitReady(t, "newcomer")
	for _, p := range all {
		now, err := b.app.Payee(t.Context(), p.id)
		require.NoError(t, err)
		require.Equal(t, p.earned, now.Balance.Available.Minor+now.Balance.InPayout.Minor+now.Balance.Paid.Minor, p.id)
		_, err = b.app.Payouts(t.Context(), p.id)
		require.NoError(t, err)
	}
}

// Who has no account at the address that they gave is not paid. A person has the money back, they give
// another address, and are paid there.
func TestWhatNobodyClaimsIsCanceledAndPaidElsewhere(t *testing.T) {
	t.Parallel()
	b := setupPayPal(t)
	const nobodys = "unclaimed-1@example.com"
	all := b.payeesAt(t, 4, hundred, func(i int) string {
		if i == 1 {
			return nobodys
		}
		return everyOther(i)
	})
	b.startRun(t, today())
	b.awaitPaid(t, len(all)-1)
	id := all[1].id
	await(t, "the item to be unclaimed", func() bool { return b.payoutOf(t, id).Status == "unclaimed" })
	first := b.payoutOf(t, id).ID

	canceled, err := b.operator.CancelPayout(t.Context(), first, "they never had an account there")
	require.NoError(t, err)
	require.Equal(t, "canceled", canceled.Status)
	now, err := b.app.Payee(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, all[1].earned, now.Balance.Available.Minor)

	all[1].email = "ok-1@example.com"
	_, _, err = b.app.PutPayee(t.Context(), id, apiclient.PayeeProfile{
		Email: id + "@example.com", Country: "US", Currency: "usd", Rail: "paypal", PayPalEmail: all[1].email, Schedule: "weekly",
	})
	require.NoError(t, err)
	again, err := b.operator.RetryPayout(t.Context(), first, "to the address that they gave now")
	require.NoError(t, err)
	require.Equal(t, first, again.RetryOf)

	b.awaitPaid(t, len(all))
	b.awaitWorkflowsOfPayouts(t)
	atStripe, atPayPal := b.soundAudit(t), b.soundPayPalAudit(t)
	require.Equal(t, len(all)+1, b.count(t, `SELECT count(*) FROM payouts`))
	require.Zero(t, atPayPal.Received[nobodys]["USD"])
	for _, p := range all {
		require.Equal(t, p.receives(), atStripe.Received[p.id]["usd"]+atPayPal.Received[p.email]["USD"], p.id)
	}
}

// Switched off, no batch is sent of what a run hands over; switched on, all are, at once.
func TestTheKillSwitchStopsBatches(t *testing.T) {
	t.Parallel()
	b := setupPayPal(t)
	const balances = "/v1/reporting/balances"
	all := b.payeesAt(t, 7, hundred, atPayPal)
	began := time.Now()
	require.NoError(t, b.Simulator.SetFaults(simulator.Fault{Kind: simulator.Stall, PathPrefix: balances, DelayMS: 20_000}))
	b.startRun(t, today())
	await(t, "the run to be under way", func() bool { return len(b.Simulator.Calls().Since(began).To(http.MethodGet, balances)) > 0 })

	_, err := b.operator.SwitchPayouts(t.Context(), false, "a test of the switch")
	require.NoError(t, err)
	require.NoError(t, b.Simulator.ClearFaults())
	await(t, "every batch to find the switch off", func() bool {
		batches := b.workflowIDs(t, `SELECT 'paypal-batch/' || id FROM paypal_batches ORDER BY id`)
		for _, id := range batches {
			if !b.waitsForTime(t, id) {
				return false
			}
		}
		return len(batches) == 3
	})
	require.Empty(t, b.Simulator.Calls().To(http.MethodPost, payPalPayouts))
	require.Equal(t, len(all), b.count(t, `SELECT count(*) FROM payouts WHERE state = 'planned'`))

	_, err = b.operator.SwitchPayouts(t.Context(), true, "the test is over")
	require.NoError(t, err)

	b.awaitPaid(t, len(all))
	b.awaitWorkflowsOfPayouts(t)
	b.requirePaidByBoth(t, all)
	require.Len(t, b.Simulator.Calls().To(http.MethodPost, payPalPayouts), 3)
}

// waitsForTime says that a workflow has made a move, and waits until it is time for the next.
func (b bundle) waitsForTime(t *testing.T, workflowID string) bool {
	t.Helper()
	events := b.Temporal.GetWorkflowHistory(t.Context(), workflowID, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil { // it has not begun
			return false
		}
		if event.GetEventType() == enums.EVENT_TYPE_TIMER_STARTED {
			return true
		}
	}
	return false
}
