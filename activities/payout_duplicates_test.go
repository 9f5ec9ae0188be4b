package activities_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/workflows"
)

// transferAgain makes another transfer for a payout, as who has our key may.
func (b payoutBundle) transferAgain(t *testing.T, payoutID string) stripe.Transfer {
	t.Helper()
	made, err := b.client(t).CreateTransfer(t.Context(), transferOf(payoutID), fmt.Sprintf("by-hand/%d", len(b.simulator.Stripe().Transfers())))
	require.NoError(t, err)
	return made
}

func (b payoutBundle) recordDuplicate(providerID string) error {
	_, err := b.decide(workflows.ActivityRecordDuplicate, workflows.DecisionInput{ProviderID: providerID})
	return err
}

// account is what an account of the ledger comes to.
func (b payoutBundle) ledgerBalance(t *testing.T, account ledger.Account) int64 {
	t.Helper()
	has, err := ledger.Balance(t.Context(), b.pool, account, "usd")
	require.NoError(t, err)
	return has.Minor
}

// 100.00 was sent twice, and 30.00 of the second came back: 70.00 are the platform's loss, once.
func TestASecondTransferIsTheLossOfThePlatform(t *testing.T) {
	t.Parallel()
	b := setupDecisions(t)
	b.standard(t)
	b.drive(t, first)
	second := b.transferAgain(t, first)
	_, err := b.client(t).ReverseTransfer(t.Context(), second.ID, 3_000, "", "by-hand/back")
	require.NoError(t, err)

	for range 2 {
		require.NoError(t, b.recordDuplicate(second.ID))
	}

	require.Equal(t, int64(7_000), b.ledgerBalance(t, ledger.WriteOffAccount()))
	require.Equal(t, int64(-17_000), b.ledgerBalance(t, ledger.PlatformAccount(ledger.Stripe)), "the first and what is lost")
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM operator_actions
		WHERE actor = 'ops' AND action = 'record_duplicate_of_payout' AND subject = '`+first+`/`+second.ID+`'`))
	require.Equal(t, payout.InTransit, b.now(t, first).State)
	b.balanced(t)
}

func TestWhatIsNoSecondMovementIsNotRecorded(t *testing.T) {
	t.Parallel()
	b := setupDecisions(t)
	b.standard(t)
	b.drive(t, first)
	own := b.now(t, first)
	another := b.transferAgain(t, "po_another")
	back := b.transferAgain(t, first)
	_, err := b.client(t).ReverseTransfer(t.Context(), back.ID, 10_000, "", "by-hand/back")
	require.NoError(t, err)

	requireRefused(t, b.recordDuplicate(own.TransferID), "own transfer")
	requireRefused(t, b.recordDuplicate(own.ProviderPayoutID), "is no transfer")
	requireRefused(t, b.recordDuplicate(another.ID), "is no transfer")
	requireRefused(t, b.recordDuplicate("tr_nonsense"), "is no transfer")
	requireRefused(t, b.recordDuplicate(back.ID), "was reversed")
	require.Zero(t, b.ledgerBalance(t, ledger.WriteOffAccount()))
	require.Zero(t, b.count(t, `SELECT count(*) FROM operator_actions`))
	b.balanced(t)
}

// Two transfers were found where one was looked for. Once the second is recorded, the payout that the first
// paid is resolved.
func TestAHeldPayoutWithASecondTransferIsResolved(t *testing.T) {
	t.Parallel()
	b := setupDecisions(t)
	b.standard(t)
	b.until(t, first, workflows.ActivitySendTransfer)
	b.transferAgain(t, first)
	second := b.transferAgain(t, first)
	b.hold(t)
	at, err := b.client(t).CreatePayout(t.Context(), connected, stripe.PayoutRequest{
		Amount: 10_000, Currency: "usd", Method: stripe.MethodStandard, Destination: bank, PayoutID: first, PayeeID: id,
	}, "by-hand/payout")
	require.NoError(t, err)
	_, err = b.simulator.Stripe().SettlePayout(at.ID)
	require.NoError(t, err)
	requireRefused(t, b.resolvePaid(at.ID), "not one transfer")

	require.NoError(t, b.recordDuplicate(second.ID))
	require.NoError(t, b.resolvePaid(at.ID))

	require.Equal(t, payout.Paid, b.now(t, first).State)
	require.Equal(t, int64(10_000), b.ledgerBalance(t, ledger.WriteOffAccount()))
	b.balanced(t)
}
