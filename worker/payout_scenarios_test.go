package main

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/localstack/temporaltest"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

// due makes a payout of 100.00 USD that is not started yet, and an account that is in order.
func (b bundle) due(t *testing.T) (id string, account simulator.Account) {
	t.Helper()
	require.NoError(t, b.simulator.Stripe().SetPlatformBalance("usd", 1_000_000))
	account = b.payee(t, "u_1")
	return b.planned(t, "u_1", account), account
}

// handOver hands a message over as the store and webhooks do.
func (b bundle) handOver(t *testing.T, m outbox.Message) {
	t.Helper()
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return outbox.Add(ctx, tx, m) })
}

func (b bundle) awaitPayout(t *testing.T, id string, want payout.State) payout.Payout {
	t.Helper()
	var now payout.Payout
	require.Eventually(t, func() bool {
		var err error
		now, err = payout.GetPayout(t.Context(), b.pool, id)
		return err == nil && now.State == want
	}, 2*time.Minute, 20*time.Millisecond, "the payout does not become %s", want)
	return now
}

// over waits until the payout's workflow has ended, and holds both sides of the books to agree.
func (b bundle) over(t *testing.T, id string, want payout.State) (workflowID string) {
	t.Helper()
	b.awaitPayout(t, id, want)
	workflowID = workflows.PayoutID(id)
	require.NoError(t, b.temporal.GetWorkflow(t.Context(), workflowID, "").Get(t.Context(), nil))
	require.NoError(t, b.simulator.Stripe().MoneyAudit().Err())
	report, err := ledger.Verify(t.Context(), b.pool)
	require.NoError(t, err)
	require.NoError(t, report.Err())
	return workflowID
}

// toBank starts the payout and waits until the bank has it.
func (b bundle) toBank(t *testing.T, id string) payout.Payout {
	t.Helper()
	b.handOver(t, workflows.StartPayout(id))
	return b.awaitPayout(t, id, payout.InTransit)
}

// settled has Stripe pay the payout, and tell.
func (b bundle) settled(t *testing.T, p payout.Payout) {
	t.Helper()
	_, err := b.simulator.Stripe().SettlePayout(p.ProviderPayoutID)
	require.NoError(t, err)
	b.handOver(t, workflows.LookAtPayout(p.ID, "paid"))
}

// decideOn has a person decide on a payout, whose workflow is started if none is running.
func (b bundle) decideOn(t *testing.T, id, update string, in workflows.DecisionInput) error {
	t.Helper()
	start := b.startOrUse(workflows.PayoutID(id), workflows.NamePayout, workflows.PayoutInput{PayoutID: id})
	return b.updateWithStart(t, start, update, in).Get(t.Context(), nil)
}

// playPayoutStraight is a payout that is sent and arrives.
func playPayoutStraight(t *testing.T, b bundle) string {
	t.Helper()
	id, _ := b.due(t)
	b.settled(t, b.toBank(t, id))
	workflowID := b.over(t, id, payout.Paid)
	recorded := b.history(t, workflowID)
	const (
		mostActions = 8
		mostEvents  = 60
	)
	require.LessOrEqual(t, actions(recorded), mostActions)
	require.LessOrEqual(t, len(recorded.GetEvents()), mostEvents)
	return workflowID
}

// playPayoutOutage is an outage in the middle of a payout, which begins with the transfer's lost answer.
func playPayoutOutage(t *testing.T, b bundle) string {
	t.Helper()
	id, _ := b.due(t)
	require.NoError(t, b.simulator.SetFaults(
		simulator.Fault{Kind: simulator.ExecuteThenDrop, Method: http.MethodPost, PathPrefix: "/v1/transfers"},
		simulator.Fault{Kind: simulator.BadGateway, PathPrefix: "/v1/transfers"}, // nor is it found before the outage
	))
	b.handOver(t, workflows.StartPayout(id))
	require.Eventually(t, func() bool { return len(b.simulator.Stripe().Transfers()) == 1 }, time.Minute, 20*time.Millisecond)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.BadGateway}))
	b.awaitState(t, provider.StateDown)
	require.NoError(t, b.simulator.ClearFaults())
	b.settled(t, b.awaitPayout(t, id, payout.InTransit))
	workflowID := b.over(t, id, payout.Paid)
	require.Len(t, b.simulator.Stripe().Transfers(), 1)
	return workflowID
}

// playPayoutFailed is a payout that fails at the bank: the money comes back and is the payee's again.
func playPayoutFailed(t *testing.T, b bundle) string {
	t.Helper()
	id, _ := b.due(t)
	now := b.toBank(t, id)
	_, err := b.simulator.Stripe().FailPayout(now.ProviderPayoutID, "account_closed")
	require.NoError(t, err)
	b.handOver(t, workflows.LookAtPayout(id, "failed"))
	workflowID := b.over(t, id, payout.Failed)
	require.Len(t, b.simulator.Stripe().Transfers()[0].Reversals, 1)
	return workflowID
}

// playPayoutReturned is a payout that comes back after it was paid, with the webhook lost: it is found
// when it is looked at again.
func playPayoutReturned(t *testing.T, b bundle) string {
	t.Helper()
	id, _ := b.due(t)
	now := b.toBank(t, id)
	b.settled(t, now)
	b.over(t, id, payout.Paid)
	_, err := b.simulator.Stripe().ReturnPayout(now.ProviderPayoutID, "no_account")
	require.NoError(t, err)
	b.handOver(t, workflows.LookAtPayout(id, "sweep"))
	return b.over(t, id, payout.Returned)
}

// playPayoutCanceled is a payout that a person cancels while it waits for what was transferred.
func playPayoutCanceled(t *testing.T, b bundle) string {
	t.Helper()
	id, account := b.due(t)
	require.NoError(t, b.simulator.Stripe().SetTransferDelay(simulator.TransferDelay{AvailableMS: int(time.Hour / time.Millisecond)}))
	b.handOver(t, workflows.StartPayout(id))
	require.Eventually(t, func() bool {
		transferred, was := b.simulator.Calls().To(http.MethodPost, "/v1/transfers").FirstSuccess()
		return was && len(b.simulator.Calls().To(http.MethodGet, "/v1/balance").Since(transferred)) > 0 // it waits for its funds
	}, time.Minute, 20*time.Millisecond)
	require.NoError(t, b.decideOn(t, id, workflows.UpdateCancel, workflows.DecisionInput{Actor: "ops"}))
	workflowID := b.over(t, id, payout.Canceled)
	require.Empty(t, b.simulator.Stripe().Payouts(account.ID))
	return workflowID
}

// playPayoutHeld is a payout whose reversal is refused; once the money is back a person resolves it.
func playPayoutHeld(t *testing.T, b bundle) string {
	t.Helper()
	id, account := b.due(t)
	now := b.toBank(t, id)
	_, err := b.simulator.Stripe().FailPayout(now.ProviderPayoutID, "account_closed")
	require.NoError(t, err)
	require.NoError(t, b.simulator.Stripe().SetAccountBalance(account.ID, "usd", 0))
	b.handOver(t, workflows.LookAtPayout(id, "failed"))
	b.over(t, id, payout.Held)
	failed := workflows.DecisionInput{Actor: "ops", Outcome: string(payout.Failed)}
	require.ErrorContains(t, b.decideOn(t, id, workflows.UpdateResolve, failed), "is not reversed")

	require.NoError(t, b.simulator.Stripe().SetAccountBalance(account.ID, "usd", 10_000))
	byHand, err := stripe.New(stripe.Config{SecretKey: simulator.DefaultStripeKey, APIBase: b.simulator.StripeURL(), Timeout: callTimeout})
	require.NoError(t, err)
	_, err = byHand.ReverseTransfer(t.Context(), now.TransferID, 10_000, "", "by-hand")
	require.NoError(t, err)
	require.NoError(t, b.decideOn(t, id, workflows.UpdateResolve, failed))
	return b.over(t, id, payout.Failed)
}

// playPayoutHeldSeen is a payout that is held since nobody was let look at it. Once its account is connected
// again a sweep has it looked at, and it goes on by itself.
func playPayoutHeldSeen(t *testing.T, b bundle) string {
	t.Helper()
	id, account := b.due(t)
	now := b.toBank(t, id)
	connect := func(connected bool) {
		t.Helper()
		_, err := b.simulator.Stripe().SetAccount(account.ID, func(a *simulator.Account) { a.Revoked = !connected })
		require.NoError(t, err)
	}
	connect(false)
	b.handOver(t, workflows.LookAtPayout(id, "paid"))
	b.over(t, id, payout.Held)
	connect(true)
	_, err := b.simulator.Stripe().SettlePayout(now.ProviderPayoutID)
	require.NoError(t, err)
	_, err = b.pool.Exec(t.Context(), `UPDATE payouts SET state_since = state_since - interval '2 days', checked_at = checked_at - interval '2 days'`)
	require.NoError(t, err)

	require.Equal(t, map[string]int{"stripe/held": 1}, b.sweep(t).Found)

	return b.over(t, id, payout.Paid)
}

// playPayoutParkedCanceled is a payout that a person cancels while it is parked, since our key is refused: it
// ends with that, and does not wait for Stripe.
func playPayoutParkedCanceled(t *testing.T, b bundle) string {
	t.Helper()
	id, _ := b.due(t)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.WrongKey, Method: http.MethodPost, PathPrefix: "/v1/transfers"}))
	b.handOver(t, workflows.StartPayout(id))
	b.awaitPayout(t, id, payout.Sending)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.WrongKey}))
	b.awaitState(t, provider.StateMisconfigured)
	workflowID := workflows.PayoutID(id)
	b.awaitShown(t, workflowID, workflows.StatusWaitingOnProvider)

	require.NoError(t, b.decideOn(t, id, workflows.UpdateCancel, workflows.DecisionInput{Actor: "ops"}))

	b.over(t, id, payout.Canceled)
	b.awaitCount(t, 1, `SELECT count(*) FROM steps WHERE name = 'stripe_payout' AND status = 'done'`)
	b.awaitState(t, provider.StateMisconfigured)
	return workflowID
}

// playPayoutContinued is a payout with a long history, which it leaves behind while it waits.
func playPayoutContinued(t *testing.T, b bundle) string {
	t.Helper()
	id, _ := b.due(t)
	now := b.toBank(t, id)
	workflowID := workflows.PayoutID(id)
	for asked := 0; !b.continued(t, workflowID); asked++ {
		require.Less(t, asked, longHistory, "it does not continue as new")
		looks := len(b.simulator.Calls().To(http.MethodGet, "/v1/payouts/{id}"))
		b.handOver(t, workflows.LookAtPayout(id, fmt.Sprintf("look-%d", asked)))
		require.Eventually(t, func() bool {
			return len(b.simulator.Calls().To(http.MethodGet, "/v1/payouts/{id}")) > looks
		}, time.Minute, 20*time.Millisecond)
	}
	b.settled(t, now)
	return b.over(t, id, payout.Paid)
}

// A worker is killed while the answer to a transfer is on its way; another one finds the transfer made.
func TestAPayoutWhoseWorkerIsKilledBetweenItsMoves(t *testing.T) {
	t.Parallel()
	for path, method := range map[string]string{"/v1/transfers": http.MethodPost, "/v1/balance": http.MethodGet, "/v1/payouts": http.MethodPost} {
		t.Run(method+" "+path, func(t *testing.T) {
			t.Parallel()
			b := setupOn(t, temporaltest.Start(t), []string{workflows.TaskQueue})
			kill := b.startMortal(t, workflows.ProviderTaskQueue(provider.Stripe))
			id, account := b.due(t)
			b.awaitCount(t, 1, `SELECT count(*) FROM payee_accounts`) // whose look at the account calls Stripe too
			fault := simulator.Fault{Kind: simulator.Stall, Method: method, PathPrefix: path}
			if method == http.MethodGet {
				fault.Kind = simulator.Hang
			}
			require.NoError(t, b.simulator.SetFaults(fault))
			b.handOver(t, workflows.StartPayout(id))
			require.Eventually(t, func() bool { return b.simulator.Faults()[0].Hits > 0 }, 2*time.Minute, 20*time.Millisecond)

			kill()
			require.NoError(t, b.simulator.ClearFaults())
			b.serve(t, []string{workflows.ProviderTaskQueue(provider.Stripe)})

			b.settled(t, b.awaitPayout(t, id, payout.InTransit))
			b.over(t, id, payout.Paid)
			require.Len(t, b.simulator.Stripe().Transfers(), 1)
			require.Len(t, b.simulator.Stripe().Payouts(account.ID), 1)
		})
	}
}
