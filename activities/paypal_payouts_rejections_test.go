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

// addressAtPayPal is the address of one payee, which takes what the test has it take.
type addressAtPayPal struct {
	batchBundle

	receiver string
	made     int // payouts
}

func setupAddress(t *testing.T) *addressAtPayPal {
	t.Helper()
	b := &addressAtPayPal{batchBundle: setupBatches(t), receiver: "onhold-ada@example.org"}
	b.payee(t, 0, b.receiver)
	_, _, err := b.store.PutEarning(t.Context(), payeeOf(0), payout.Earning{
		ID: "e_2", Kind: payout.Sale, Amount: money.New(10_000, "usd"), OccurredAt: time.Now().AddDate(0, 0, -20),
	})
	require.NoError(t, err)
	return b
}

// form puts one more payout to the address into a batch.
func (b *addressAtPayPal) form(t *testing.T) (payoutID, batchID string) {
	t.Helper()
	payoutID = payoutOf(b.made)
	b.made++
	b.freeze(t, payoutID, payeeOf(0), b.receiver)
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.FormBatches(ctx, tx, []string{payoutID}) })
	return payoutID, b.batchOf(t, payoutID)
}

// goes sends a payout and has it fail with a code; without one the address takes it.
func (b *addressAtPayPal) goes(t *testing.T, payoutID, batchID, code string) {
	t.Helper()
	b.insist(t, batchID)
	b.read(t, batchID)
	item, ends := b.now(t, payoutID).ProviderPayoutID, payout.Failed
	var err error
	if code == "" {
		ends = payout.Paid
		_, err = b.simulator.PayPal().SettlePayPalItem(item)
	} else {
		_, err = b.simulator.PayPal().FailPayPalItem(item, code)
	}
	require.NoError(t, err)
	b.read(t, batchID)
	require.Equal(t, ends, b.now(t, payoutID).State)
	b.sound(t)
}

// pay has one more payout fail with each code, or be taken.
func (b *addressAtPayPal) pay(t *testing.T, codes ...string) {
	t.Helper()
	for _, code := range codes {
		payoutID, batchID := b.form(t)
		b.goes(t, payoutID, batchID, code)
	}
}

// rejections holds the address to have been refused so often in a row, and the payee to be paused for it
// or not.
func (b *addressAtPayPal) rejections(t *testing.T, inARow int, paused bool) {
	t.Helper()
	require.Equal(t, inARow, b.count(t, `SELECT paypal_rejections FROM payees`))
	require.Equal(t, paused, b.count(t, `SELECT count(*) FROM payee_pauses WHERE source = 'system' AND reason = 'rejections'`) == 1)
}

// RULES §3: three rejections in a row to one address pause the payee. A payout that it takes begins the
// count anew; what is not the address's own fault does not count: a PayPal that fails or does not let us
// in, and what is wrong with our own account.
func TestThreeRejectionsOfAnAddressPauseThePayee(t *testing.T) {
	t.Parallel()
	const (
		taken  = ""
		theirs = "RECEIVER_ACCOUNT_LOCKED"
		ours   = "SENDER_RESTRICTED"
	)
	b := setupAddress(t)
	b.pay(t, theirs, theirs)
	b.rejections(t, 2, false)
	b.pay(t, taken)
	b.rejections(t, 0, false)

	b.pay(t, theirs, theirs)
	payoutID, batchID := b.form(t)
	for _, kind := range []simulator.FaultKind{simulator.Unavailable, simulator.WrongKey, simulator.Reset, simulator.ExecuteThenDrop} {
		require.Error(t, b.under(t, batchID, simulator.Fault{Kind: kind}))
		b.exec(t, `UPDATE provider_health SET state = 'up'`)
		b.rejections(t, 2, false)
	}
	b.goes(t, payoutID, batchID, ours)
	b.pay(t, "SOMETHING_NEW")
	b.rejections(t, 2, false)
	b.pay(t, theirs)
	b.rejections(t, 3, true)

	// What is planned waits, and goes nowhere once they have another address.
	payoutID, batchID = b.form(t)
	b.send(t, batchID)
	require.Equal(t, payout.Planned, b.now(t, payoutID).State)
	b.moveTo(t, 0, ada)
	b.rejections(t, 0, false)
	b.send(t, b.batchOf(t, payoutID))
	require.Equal(t, string(payout.BecauseDestinationChanged), b.now(t, payoutID).Reason)
	require.Equal(t, payout.Canceled, b.now(t, payoutID).State)
	require.Equal(t, int64(10_000), b.balance(t, payeeOf(0)))
	b.sound(t)
}
