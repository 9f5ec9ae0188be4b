package activities_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/simulator"
)

// RULES §3: three rejections in a row to one address pause the payee. A payout that it takes begins the
// count anew; what is not the address's own fault does not count: a PayPal that fails or does not let us
// in, and what is wrong with our own account.
func TestThreeRejectionsOfAnAddressPauseThePayee(t *testing.T) {
	t.Parallel()
	const (
		receiver = "onhold-ada@example.org" // which takes what the test settles, and nothing else
		theirs   = "RECEIVER_ACCOUNT_LOCKED"
		ours     = "SENDER_RESTRICTED"
	)
	b := setupBatches(t)
	b.payee(t, 0, receiver)
	_, _, err := b.store.PutEarning(t.Context(), payeeOf(0), payout.Earning{
		ID: "e_2", Kind: payout.Sale, Amount: money.New(10_000, "usd"), OccurredAt: time.Now().AddDate(0, 0, -20),
	})
	require.NoError(t, err)
	made := 0
	form := func() (payoutID, batchID string) {
		t.Helper()
		payoutID = payoutOf(made)
		made++
		b.freeze(t, payoutID, payeeOf(0), receiver)
		b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.FormBatches(ctx, tx, []string{payoutID}) })
		return payoutID, b.batchOf(t, payoutID)
	}
	// goes sends a payout and has PayPal decide on it; without a code the address takes it.
	goes := func(payoutID, batchID, code string, ends payout.State) {
		t.Helper()
		b.insist(t, batchID)
		b.read(t, batchID)
		item := b.now(t, payoutID).ProviderPayoutID
		if code == "" {
			_, err = b.simulator.PayPal().SettlePayPalItem(item)
		} else {
			_, err = b.simulator.PayPal().FailPayPalItem(item, code)
		}
		require.NoError(t, err)
		b.read(t, batchID)
		require.Equal(t, ends, b.now(t, payoutID).State)
		b.sound(t)
	}
	pay := func(code string, ends payout.State) {
		t.Helper()
		payoutID, batchID := form()
		goes(payoutID, batchID, code, ends)
	}
	rejections := func(want, pauses int) {
		t.Helper()
		require.Equal(t, want, b.count(t, `SELECT paypal_rejections FROM payees`))
		require.Equal(t, pauses, b.count(t, `SELECT count(*) FROM payee_pauses WHERE source = 'system' AND reason = 'rejections'`))
	}

	pay(theirs, payout.Failed)
	pay(theirs, payout.Failed)
	rejections(2, 0)
	pay("", payout.Paid)
	rejections(0, 0)

	pay(theirs, payout.Failed)
	pay(theirs, payout.Failed)
	payoutID, batchID := form()
	for _, kind := range []simulator.FaultKind{simulator.Unavailable, simulator.WrongKey, simulator.Reset, simulator.ExecuteThenDrop} {
		require.Error(t, b.under(t, batchID, simulator.Fault{Kind: kind}))
		b.exec(t, `UPDATE provider_health SET state = 'up'`)
		rejections(2, 0)
	}
	goes(payoutID, batchID, ours, payout.Failed)
	pay("SOMETHING_NEW", payout.Failed)
	rejections(2, 0)
	pay(theirs, payout.Failed)
	rejections(3, 1)

	// What is planned waits, and goes nowhere once they have another address.
	payoutID, batchID = form()
	b.send(t, batchID)
	require.Equal(t, payout.Planned, b.now(t, payoutID).State)
	b.moveTo(t, 0, ada)
	rejections(0, 0)
	b.send(t, b.batchOf(t, payoutID))
	require.Equal(t, payout.Canceled, b.now(t, payoutID).State)
	require.Equal(t, string(payout.BecauseDestinationChanged), b.now(t, payoutID).Reason)
	require.Equal(t, int64(10_000), b.balance(t, payeeOf(0)))
	b.sound(t)
}
