package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

// The scenarios of runs and sweeps on both rails, recorded and replayed like the others.
func TestScenariosOfBothRails(t *testing.T) {
	t.Parallel()
	playAll(t, nil, map[string]scenario{
		"run-both-rails":          playRunBothRails,
		"run-without-stripe":      playRunWithoutStripe,
		"run-without-paypal":      playRunWithoutPayPal,
		"run-never-known":         playRunNeverKnown,
		"payout-sweep-both-rails": playSweepBothRails,
	})
}

// bothRails makes a payee who is paid by Stripe, and one who is paid by PayPal, who have missed a Friday.
func (b bundle) bothRails(t *testing.T) {
	t.Helper()
	require.NoError(t, b.simulator.PayPal().SetPayPalBalance("USD", 1_000_000))
	b.payees(t, 1)
	b.signUp(t, "u_paypal")
	_, _, err := b.payouts.PutPayee(t.Context(), payout.Profile{
		ID: "u_paypal", Email: "u_paypal@example.com", Country: "US", Currency: "usd", Rail: payout.RailPayPal, PayPalEmail: "ada@example.org", Schedule: payout.Weekly,
	})
	require.NoError(t, err)
	_, _, err = b.payouts.PutEarning(t.Context(), "u_paypal", payout.Earning{
		ID: "e_1", Kind: payout.Sale, Amount: money.New(10_000, "usd"), OccurredAt: time.Now().AddDate(0, 0, -20),
	})
	require.NoError(t, err)
	_, err = b.pool.Exec(t.Context(), `UPDATE payees SET last_cycle = current_date - 30`)
	require.NoError(t, err)
}

// knew records that the platform had plenty on both rails an hour ago.
func (b bundle) knew(t *testing.T) {
	t.Helper()
	now, err := postgres.Now(t.Context(), b.pool)
	require.NoError(t, err)
	for _, rail := range []payout.Rail{payout.RailStripe, payout.RailPayPal} {
		require.NoError(t, b.payouts.RecordFunds(t.Context(), rail, []money.Amount{money.New(1_000_000, "usd")}, now.Add(-time.Hour)))
	}
}

// requireSent holds that each rail has sent its payout, once, and that the books agree.
func (b bundle) requireSent(t *testing.T) {
	t.Helper()
	b.awaitCount(t, 1, `SELECT count(*) FROM payouts WHERE method <> 'paypal' AND state = 'in_transit'`)
	b.awaitCount(t, 1, `SELECT count(*) FROM payouts WHERE method = 'paypal' AND state = 'paid'`)
	require.NoError(t, b.simulator.Stripe().MoneyAudit().Err())
	require.NoError(t, b.simulator.PayPal().PayPalMoneyAudit().Err())
	report, err := ledger.Verify(t.Context(), b.pool)
	require.NoError(t, err)
	require.NoError(t, report.Err())
}

// playRunBothRails is a run that pays on both rails and knows what there is on each.
func playRunBothRails(t *testing.T, b bundle) string {
	t.Helper()
	b.bothRails(t)
	b.handOver(t, workflows.TellPayoutRun(today(), "test"))
	result, workflowID := b.runOver(t, today())
	require.Equal(t, workflows.PayoutRunResult{Date: today(), State: "ended", Looked: 2, Planned: 2, HandedOver: 2}, result)
	b.requireSent(t)
	b.awaitCount(t, 2, `SELECT count(*) FROM platform_funds f JOIN payout_runs r ON f.read_at >= r.looked_at`)
	return workflowID
}

// withoutOne is a run during which one provider is down of which something was known: everybody is planned
// at once, the other rail pays, and this one when it is back.
func (b bundle) withoutOne(t *testing.T, fault simulator.Fault, others string) (workflowID string) {
	t.Helper()
	b.bothRails(t)
	b.knew(t)
	require.NoError(t, b.simulator.SetFaults(fault))
	b.handOver(t, workflows.TellPayoutRun(today(), "test"))
	result, workflowID := b.runOver(t, today())
	require.Equal(t, 2, result.HandedOver)
	b.awaitCount(t, 1, `SELECT count(*) FROM steps WHERE workflow_id LIKE 'payout-run/%' AND status = 'skipped'`)
	b.awaitCount(t, 1, others)
	require.NoError(t, b.simulator.ClearFaults())
	b.requireSent(t)
	return workflowID
}

func playRunWithoutStripe(t *testing.T, b bundle) string {
	t.Helper()
	return b.withoutOne(t, simulator.Fault{Kind: simulator.BadGateway, Provider: "stripe"}, `SELECT count(*) FROM payouts WHERE method = 'paypal' AND state = 'paid'`)
}

func playRunWithoutPayPal(t *testing.T, b bundle) string {
	t.Helper()
	return b.withoutOne(t, simulator.Fault{Kind: simulator.BadGateway, Provider: "paypal"}, `SELECT count(*) FROM payouts WHERE method <> 'paypal' AND state = 'in_transit'`)
}

// playRunNeverKnown is a run during which PayPal is down, of which nothing was ever known: it waits, and
// goes on when PayPal is back.
func playRunNeverKnown(t *testing.T, b bundle) string {
	t.Helper()
	b.bothRails(t)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.BadGateway, Provider: "paypal"}))
	b.handOver(t, workflows.TellPayoutRun(today(), "test"))
	b.awaitShown(t, workflows.PayoutRunID(today()), workflows.StatusWaitingOnProvider)
	b.awaitCount(t, 1, `SELECT count(*) FROM platform_funds WHERE rail = 'stripe'`)
	require.NoError(t, b.simulator.ClearFaults())
	result, workflowID := b.runOver(t, today())
	require.Equal(t, 2, result.HandedOver)
	b.requireSent(t)
	return workflowID
}

// playSweepBothRails is a sweep that reads what there is on both rails, has an unclaimed payout of PayPal's
// read that was claimed unheard, and finds what PayPal took back.
func playSweepBothRails(t *testing.T, b bundle) string {
	t.Helper()
	id := b.batch(t, "unclaimed-ada@example.org", "grace@example.org")
	b.batchOver(t, id, payout.Unclaimed, payout.Paid)
	_, err := b.simulator.PayPal().ReversePayPalItem(b.awaitPayout(t, payPalPayout(1), payout.Paid).ProviderPayoutID, 2_500)
	require.NoError(t, err)
	_, err = b.pool.Exec(t.Context(), `UPDATE paypal_batches SET checked_at = checked_at - interval '25 hours', state_since = state_since - interval '25 hours', heard = false`)
	require.NoError(t, err)

	run, err := b.temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "payout-sweep", TaskQueue: workflows.TaskQueue}, workflows.NamePayoutSweep)
	require.NoError(t, err)
	var swept workflows.SweepResult
	require.NoError(t, run.Get(t.Context(), &swept))

	require.Equal(t, map[string]int{"paypal/unclaimed": 1}, swept.Found)
	require.NotNil(t, swept.Reversed)
	require.Equal(t, 1, swept.Reversed.Parts)
	b.awaitCount(t, 2, `SELECT count(DISTINCT rail) FROM platform_funds WHERE currency = 'usd'`)
	b.awaitCount(t, 1, `SELECT count(*) FROM paypal_batches WHERE checked_at > now() - interval '1 hour'`)
	return "payout-sweep"
}
