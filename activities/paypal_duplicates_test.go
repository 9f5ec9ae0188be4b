package activities_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/activities"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

// sendAgain makes another batch at PayPal for payouts, as who has our credentials may, and gives it as it
// is there.
func (b batchBundle) sendAgain(t *testing.T, senderBatchID string, receivers map[string]string) simulator.PayPalBatch {
	t.Helper()
	request := paypal.PayoutBatchRequest{SenderBatchID: senderBatchID}
	for payoutID, receiver := range receivers {
		request.Items = append(request.Items, paypal.PayoutItemRequest{Receiver: receiver, Value: "98.00", Currency: "USD", SenderItemID: payoutID})
	}
	made, err := b.clientOf(t).CreatePayoutBatch(t.Context(), request)
	require.NoError(t, err)
	return b.atPayPal(t, made.ID)
}

func (b batchBundle) atPayPal(t *testing.T, payPalBatchID string) simulator.PayPalBatch {
	t.Helper()
	for _, there := range b.simulator.PayPal().PayPalBatches() {
		if there.ID == payPalBatchID {
			return there
		}
	}
	require.Fail(t, "there is no batch "+payPalBatchID)
	return simulator.PayPalBatch{}
}

func (b batchBundle) recordDuplicate(t *testing.T, payoutID, itemID string) error {
	t.Helper()
	b.register(workflows.ActivityRecordPayPalDuplicate, func(ctx context.Context, in workflows.PayPalItemDecisionInput) (workflows.PayPalBatchMove, error) {
		return activities.NewPayPalPayouts(b.pool, b.store, b.clientOf(t), nil, noTurns{}, quiet()).RecordPayPalDuplicate(ctx, in)
	})
	return b.decide(t, workflows.ActivityRecordPayPalDuplicate, payoutID, workflows.DecisionInput{ProviderID: itemID})
}

// paidTwice lists what people are shown as paid twice.
func (b batchBundle) paidTwice(t *testing.T) []payout.PaidTwice {
	t.Helper()
	twice, err := payout.ListPaidTwice(t.Context(), b.pool, time.Time{}, "", 10)
	require.NoError(t, err)
	return twice
}

func (b batchBundle) ledgerBalance(t *testing.T, account ledger.Account) int64 {
	t.Helper()
	has, err := ledger.Balance(t.Context(), b.pool, account, "usd")
	require.NoError(t, err)
	return has.Minor
}

// booked holds the books to be in order when PayPal has paid something twice, which its side of them shows.
func (b batchBundle) booked(t *testing.T) {
	t.Helper()
	report, err := ledger.Verify(t.Context(), b.pool)
	require.NoError(t, err)
	require.NoError(t, report.Err())
}

// RULES §3, posting 21: what PayPal has paid a second time is the platform's loss, once for each item.
func TestASecondItemIsTheLossOfThePlatform(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, ada)
	b.send(t, id)
	b.read(t, id)
	b.paid(t, payoutOf(0))
	platform := b.ledgerBalance(t, ledger.PlatformAccount(ledger.PayPal))
	second := b.sendAgain(t, "by-hand", map[string]string{payoutOf(0): ada}).Items[0]

	for range 2 {
		require.NoError(t, b.recordDuplicate(t, payoutOf(0), second.ID))
	}

	require.Equal(t, int64(9_800), b.ledgerBalance(t, ledger.WriteOffAccount()))
	require.Equal(t, platform-9_800, b.ledgerBalance(t, ledger.PlatformAccount(ledger.PayPal)))
	require.Equal(t, payout.Paid, b.now(t, payoutOf(0)).State)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM operator_actions WHERE action = 'record_duplicate_of_payout' AND subject = '`+payoutOf(0)+`/`+second.ID+`'`))
	require.Empty(t, b.paidTwice(t), "a person has seen to it")
	b.booked(t)
}

func TestWhatIsNoSecondItemIsNotRecorded(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, ada, grace)
	early := b.sendAgain(t, "before", map[string]string{payoutOf(0): ada}).Items[0]
	requireConflict(t, b.recordDuplicate(t, payoutOf(0), early.ID), "has no item of its own yet")
	b.send(t, id)
	b.read(t, id)
	own := b.now(t, payoutOf(0)).ProviderPayoutID
	unclaimed := b.sendAgain(t, "by-hand", map[string]string{payoutOf(0): "unclaimed-ada@example.org"}).Items[0]

	requireConflict(t, b.recordDuplicate(t, payoutOf(0), own), "own item")
	requireConflict(t, b.recordDuplicate(t, payoutOf(1), early.ID), "is no item that was made for this payout")
	requireConflict(t, b.recordDuplicate(t, payoutOf(0), unclaimed.ID), "UNCLAIMED")
	requireConflict(t, b.recordDuplicate(t, payoutOf(0), "NOSUCHITEM"), "does not bear it out")
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.BadGateway, Provider: "paypal"}))
	requireConflict(t, b.recordDuplicate(t, payoutOf(0), early.ID), "no clear answer")
	require.NoError(t, b.simulator.ClearFaults())

	require.Zero(t, b.ledgerBalance(t, ledger.WriteOffAccount()))
	require.Zero(t, b.count(t, `SELECT count(*) FROM operator_actions`))
	b.booked(t)
}

// What PayPal paid beside its release is in the books at once; that a person records it changes nothing there,
// and it is shown no more.
func TestWhatWasPaidBesideItsReleaseIsRecordedOnce(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id, at := b.heldBatch(t, true, ada)
	require.NoError(t, b.decide(t, resolveItem, payoutOf(0), workflows.DecisionInput{Outcome: "failed", Force: true}))
	b.hint(t, id, at)
	b.read(t, id)
	b.read(t, id)
	twice := b.paidTwice(t)
	require.Len(t, twice, 1)
	require.True(t, twice[0].Posted)

	require.NoError(t, b.recordDuplicate(t, payoutOf(0), twice[0].ID))

	require.Empty(t, b.paidTwice(t))
	require.Equal(t, int64(9_800), b.ledgerBalance(t, ledger.WriteOffAccount()))
	b.booked(t)
}
