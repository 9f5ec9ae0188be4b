package activities_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

const (
	cancelItem  = workflows.ActivityCancelPayPalItem
	resolveItem = workflows.ActivityResolvePayPalItem
)

// requireConflict holds a decision to have been refused with a reason for the person who made it.
func requireConflict(t *testing.T, err error, reason string) {
	t.Helper()
	var refused *temporal.ApplicationError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, workflows.ErrConflict, refused.Type(), "%v", err)
	require.True(t, refused.NonRetryable())
	require.ErrorContains(t, err, reason)
}

// unclaimed sends a batch to two who have no account yet.
func (b batchBundle) unclaimed(t *testing.T) (batchID string) {
	t.Helper()
	batchID = b.batch(t, "unclaimed-ada@example.org", "unclaimed-grace@example.org")
	b.send(t, batchID)
	b.read(t, batchID)
	require.Equal(t, payout.Unclaimed, b.now(t, payoutOf(0)).State)
	return batchID
}

// What nobody claimed at the old address is canceled, and goes to the new one, once.
func TestAnUnclaimedPayoutIsCanceledAndPaidToTheNewAddress(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	b.unclaimed(t)

	require.NoError(t, b.decide(t, cancelItem, payoutOf(0), workflows.DecisionInput{}))

	b.released(t, payoutOf(0), payout.Canceled, "canceled_by_operator")
	require.Equal(t, "ops", b.now(t, payoutOf(0)).Actor)
	b.moveTo(t, 0, ada)
	var again payout.Payout
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) (err error) {
		again, _, err = b.store.Retry(ctx, tx, payoutOf(0), "ops", "it has another address")
		return err
	})
	id := b.batchOf(t, again.ID)
	b.send(t, id)
	b.read(t, id)
	b.paid(t, again.ID)
	require.Equal(t, int64(9_800), b.audit(t).Received[ada]["USD"])
	require.Zero(t, b.audit(t).Received["unclaimed-ada@example.org"]["USD"])
	require.Equal(t, payout.Unclaimed, b.now(t, payoutOf(1)).State)
}

func TestACancellationWhoseAnswerWasLostIsMadeOnce(t *testing.T) {
	t.Parallel()
	for _, kind := range []simulator.FaultKind{simulator.ExecuteThenDrop, simulator.ExecuteThen500, simulator.Truncate, simulator.BadGateway} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			b := setupBatches(t)
			b.unclaimed(t)
			require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: kind, Provider: "paypal", Method: "POST", PathPrefix: "/v1/payments/payouts-item"}))
			requireConflict(t, b.decide(t, cancelItem, payoutOf(0), workflows.DecisionInput{}), "try again")
			require.NoError(t, b.simulator.ClearFaults())
			require.Equal(t, payout.Unclaimed, b.now(t, payoutOf(0)).State)

			require.NoError(t, b.decide(t, cancelItem, payoutOf(0), workflows.DecisionInput{}))

			b.released(t, payoutOf(0), payout.Canceled, "canceled_by_operator")
		})
	}
}

// The lost answer's cancellation shows when the batch is read.
func TestACancellationShowsWhenTheBatchIsRead(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.unclaimed(t)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{
		Kind: simulator.ExecuteThenDrop, Provider: "paypal", Method: "POST", PathPrefix: "/v1/payments/payouts-item",
	}))
	require.Error(t, b.decide(t, cancelItem, payoutOf(0), workflows.DecisionInput{}))
	require.NoError(t, b.simulator.ClearFaults())

	b.read(t, id)

	require.Equal(t, payout.Canceled, b.now(t, payoutOf(0)).State)
	require.Equal(t, int64(10_000), b.balance(t, payeeOf(0)))
	b.sound(t)
}

// Somebody has claimed it meanwhile.
func TestAClaimedPayoutIsNotCanceled(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	b.unclaimed(t)
	_, err := b.simulator.PayPal().ClaimPayPalItem(b.now(t, payoutOf(0)).ProviderPayoutID)
	require.NoError(t, err)

	requireConflict(t, b.decide(t, cancelItem, payoutOf(0), workflows.DecisionInput{}), "SUCCESS")

	b.paid(t, payoutOf(0))
}

func TestAPayoutThatIsBeingSentIsNotCanceled(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, "onhold-ada@example.org")
	require.Error(t, b.under(t, id, simulator.Fault{Kind: simulator.BadGateway}))
	requireConflict(t, b.decide(t, cancelItem, payoutOf(0), workflows.DecisionInput{}), "cannot be canceled")
	b.send(t, id)
	b.read(t, id)
	requireConflict(t, b.decide(t, cancelItem, payoutOf(0), workflows.DecisionInput{}), "cannot be canceled")
	b.sound(t)
}

// heldBatch is a batch of which PayPal has lost every trace for us, or has never had one.
func (b batchBundle) heldBatch(t *testing.T, carriedOut bool, receivers ...string) (batchID, payPalBatchID string) {
	t.Helper()
	if carriedOut {
		batchID, payPalBatchID = b.lost(t, receivers...)
	} else {
		batchID = b.batch(t, receivers...)
		require.Error(t, b.under(t, batchID, simulator.Fault{Kind: simulator.BadGateway}))
		b.exec(t, `UPDATE provider_requests SET replayed = true`)
	}
	b.send(t, batchID)
	b.pass(t, "4 hours")
	require.Empty(t, b.send(t, batchID).Do)
	require.Equal(t, payout.BatchHeld, b.batchNow(t, batchID).State)
	return batchID, payPalBatchID
}

// One payout of a held batch names the batch at PayPal, and all of them go on.
func TestAHeldBatchIsAdoptedByItsID(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id, at := b.heldBatch(t, true, ada, grace)
	paid := func(providerID string) workflows.DecisionInput {
		return workflows.DecisionInput{Outcome: "paid", ProviderID: providerID}
	}
	requireConflict(t, b.decide(t, resolveItem, payoutOf(0), paid("NOSUCHBATCH")), "neither a payout item nor a payout batch")
	requireConflict(t, b.decide(t, resolveItem, payoutOf(0), paid("not an id")), "does not bear it out")

	require.NoError(t, b.decide(t, resolveItem, payoutOf(0), paid(at)))

	require.Equal(t, workflows.ActivityReadPayPalBatch, b.plan(t, id, false).Next.Do)
	require.Empty(t, b.read(t, id).Do)
	b.paid(t, payoutOf(0), payoutOf(1))
}

func TestAHeldPayoutIsResolvedAsPaidByItsItem(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	b.heldBatch(t, true, ada, grace, "unclaimed-joan@example.org")
	items := b.simulator.PayPal().PayPalBatches()[0].Items
	paid := func(n int) workflows.DecisionInput {
		return workflows.DecisionInput{Outcome: "paid", ProviderID: items[n].ID}
	}
	requireConflict(t, b.decide(t, resolveItem, payoutOf(0), paid(1)), "is not this payout")
	requireConflict(t, b.decide(t, resolveItem, payoutOf(2), paid(2)), "UNCLAIMED")

	require.NoError(t, b.decide(t, resolveItem, payoutOf(0), paid(0)))

	b.paid(t, payoutOf(0))
	require.Equal(t, items[0].ID, b.now(t, payoutOf(0)).ProviderPayoutID)
	require.Equal(t, payout.Held, b.now(t, payoutOf(1)).State)
	requireConflict(t, b.decide(t, resolveItem, payoutOf(0), paid(0)), "not held")
}

// It failed only when PayPal has nothing of it, and could have told by now.
func TestAHeldPayoutIsResolvedAsFailedWhenPayPalHasNothingOfIt(t *testing.T) {
	t.Parallel()
	failed := workflows.DecisionInput{Outcome: "failed"}
	t.Run("it has nothing", func(t *testing.T) {
		t.Parallel()
		b := setupBatches(t)
		id, _ := b.heldBatch(t, false, ada, grace)
		b.exec(t, `UPDATE provider_requests SET last_sent_at = now() - interval '3 hours 50 minutes'`)
		requireConflict(t, b.decide(t, resolveItem, payoutOf(0), failed), "less than four hours ago")
		b.pass(t, "15 minutes")

		require.NoError(t, b.decide(t, resolveItem, payoutOf(0), failed))

		b.released(t, payoutOf(0), payout.Failed, "resolved")
		require.Equal(t, payout.Held, b.now(t, payoutOf(1)).State)
		require.NoError(t, b.decide(t, resolveItem, payoutOf(1), failed))
		require.Equal(t, payout.BatchEnded, b.batchNow(t, id).State)
	})
	t.Run("it has the batch", func(t *testing.T) {
		t.Parallel()
		b := setupBatches(t)
		_, at := b.heldBatch(t, true, ada)
		b.settings(t, simulator.PayPalPayoutSettings{})
		requireConflict(t, b.decide(t, resolveItem, payoutOf(0), failed), "PayPal has the batch as "+at)
	})
	t.Run("it cannot answer", func(t *testing.T) {
		t.Parallel()
		b := setupBatches(t)
		b.heldBatch(t, false, ada)
		require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.BadGateway, Provider: "paypal"}))
		requireConflict(t, b.decide(t, resolveItem, payoutOf(0), failed), "no clear answer")
		require.NoError(t, b.decide(t, resolveItem, payoutOf(0), workflows.DecisionInput{Outcome: "failed", Force: true}))
		require.NoError(t, b.simulator.ClearFaults())
		b.released(t, payoutOf(0), payout.Failed, "resolved")
		require.Equal(t, 1, b.count(t, `SELECT count(*) FROM operator_actions WHERE action = 'resolve_payout_by_force'`))
	})
	t.Run("its item is under way", func(t *testing.T) {
		t.Parallel()
		b := setupBatches(t)
		id := b.batch(t, "onhold-ada@example.org")
		b.send(t, id)
		b.read(t, id)
		b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.Hold(ctx, tx, payoutOf(0), "by_hand") })
		requireConflict(t, b.decide(t, resolveItem, payoutOf(0), failed), "ONHOLD")
		_, err := b.simulator.PayPal().ReturnPayPalItem(b.now(t, payoutOf(0)).ProviderPayoutID)
		require.NoError(t, err)
		require.NoError(t, b.decide(t, resolveItem, payoutOf(0), failed))
		b.released(t, payoutOf(0), payout.Failed, "resolved")
	})
	t.Run("its batch has another item of it", func(t *testing.T) {
		t.Parallel()
		b := setupBatches(t)
		id, at := b.heldBatch(t, true, ada, grace)
		require.NoError(t, b.decide(t, resolveItem, payoutOf(0), workflows.DecisionInput{Outcome: "paid", ProviderID: at}))
		requireConflict(t, b.decide(t, resolveItem, payoutOf(1), failed), "SUCCESS")
		b.read(t, id)
		b.paid(t, payoutOf(0), payoutOf(1))
	})
}
