package activities_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

// refusedAndThere is a batch that PayPal refused for one of its three payouts, and has all the same. The two
// others wait in a new one.
func (b batchBundle) refusedAndThere(t *testing.T) (refused, next string, there simulator.PayPalBatch) {
	t.Helper()
	refused = b.batch(t, ada, "invalid-grace@example.org", joan)
	b.send(t, refused)
	require.Equal(t, payout.BatchSplit, b.batchNow(t, refused).State)
	next = b.batchOf(t, payoutOf(0))
	require.NotEqual(t, refused, next)
	there = b.sendAgain(t, b.request(t, refused).Key, map[string]string{payoutOf(0): ada, payoutOf(1): grace, payoutOf(2): joan})
	return refused, next, there
}

// heardOf has a batch looked at of which an event has told.
func (b batchBundle) heardOf(t *testing.T, batchID, payPalBatchID string) {
	t.Helper()
	b.hint(t, batchID, payPalBatchID)
	require.Equal(t, workflows.ActivityReadPayPalBatch, b.plan(t, batchID, true).Next.Do)
	b.read(t, batchID)
}

// takenOver holds payouts to be in one batch, that is the one at PayPal, and reads it.
func (b batchBundle) takenOver(t *testing.T, payPalBatchID string, payouts ...string) {
	t.Helper()
	id := b.batchOf(t, payouts[0])
	require.Equal(t, payPalBatchID, b.batchNow(t, id).PayPalBatchID)
	require.Equal(t, len(payouts), b.batchNow(t, id).Size)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox WHERE key = '`+workflows.PayPalBatchID(id)+`'`))
	b.read(t, id)
	b.paid(t, payouts...)
	for _, p := range payouts {
		require.Equal(t, id, b.batchOf(t, p))
	}
}

// items are the items of a batch at PayPal by their payouts.
func itemsOf(there simulator.PayPalBatch) map[string]string {
	items := map[string]string{}
	for _, i := range there.Items {
		items[i.SenderItemID] = i.ID
	}
	return items
}

// PayPal refused a batch, and an event shows that it has it. Who waits to be sent again is paid by it; who had
// failed with it, and was released, has been paid beside that, which a person records.
func TestABatchThatWasRefusedAndIsThereIsTakenOver(t *testing.T) {
	t.Parallel()
	for name, froze := range map[string]bool{"the next one is open": false, "the next one is frozen": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupBatches(t)
			refused, next, there := b.refusedAndThere(t)
			if froze {
				b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
					_, _, err := b.store.FreezeBatch(ctx, tx, next)
					return err
				})
			}
			posts := b.posts()

			for range 2 {
				b.heardOf(t, refused, there.ID)
			}

			require.Empty(t, b.send(t, next).Do)
			require.Equal(t, payout.BatchEnded, b.batchNow(t, next).State)
			b.takenOver(t, there.ID, payoutOf(0), payoutOf(2))
			require.Equal(t, posts, b.posts(), "nothing is sent again")
			require.Equal(t, payout.BatchSplit, b.batchNow(t, refused).State)
			twice := b.paidTwice(t)
			require.Len(t, twice, 1)
			require.Equal(t, []any{payoutOf(1), itemsOf(there)[payoutOf(1)], false}, []any{twice[0].PayoutID, twice[0].ID, twice[0].Posted})
			require.NoError(t, b.recordDuplicate(t, payoutOf(1), twice[0].ID))
			require.Empty(t, b.paidTwice(t))
			require.Equal(t, int64(9_800), b.ledgerBalance(t, ledger.WriteOffAccount()))
			b.sound(t)
		})
	}
}

// Who is not of the batch that was found goes on in another one.
func TestOfAFrozenBatchWhoIsNotElsewhereGoesOn(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	refused, next, _ := b.refusedAndThere(t)
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		_, _, err := b.store.FreezeBatch(ctx, tx, next)
		return err
	})
	there := b.sendAgain(t, "another", map[string]string{payoutOf(2): joan})

	b.heardOf(t, refused, there.ID)

	require.Equal(t, payout.BatchSplit, b.batchNow(t, next).State)
	require.Equal(t, there.ID, b.batchNow(t, b.batchOf(t, payoutOf(2))).PayPalBatchID)
	require.Equal(t, next, b.batchNow(t, b.batchOf(t, payoutOf(0))).SplitFrom)
}

// Of the next batch it is not known whether PayPal has it as well: nothing is sent again, and a person says
// by which item each payout was paid.
func TestABatchIsHeldWhenAnEarlierOneIsThereAfterAll(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	refused, next, there := b.refusedAndThere(t)
	require.Error(t, b.under(t, next, simulator.Fault{Kind: simulator.BadGateway}))
	posts := b.posts()

	b.heardOf(t, refused, there.ID)

	b.held(t, next, payout.ReasonElsewhere)
	require.Empty(t, b.send(t, next).Do)
	require.Equal(t, posts, b.posts())
	for _, id := range []string{payoutOf(0), payoutOf(2)} {
		require.NoError(t, b.decide(t, resolveItem, id, workflows.DecisionInput{Outcome: "paid", ProviderID: itemsOf(there)[id]}))
	}
	b.paid(t, payoutOf(0), payoutOf(2))
	require.Len(t, b.paidTwice(t), 1, "who had failed")
}

// The next batch was paid when the one before shows: those items are a second time.
func TestABatchThatShowsAfterTheNextWasPaidIsPaidTwice(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	refused, next, there := b.refusedAndThere(t)
	b.send(t, next)
	b.read(t, next)

	b.heardOf(t, refused, there.ID)

	twice := b.paidTwice(t)
	require.Len(t, twice, 3)
	for _, p := range twice {
		require.NoError(t, b.recordDuplicate(t, p.PayoutID, p.ID))
	}
	require.Empty(t, b.paidTwice(t))
	require.Equal(t, int64(3*9_800), b.ledgerBalance(t, ledger.WriteOffAccount()))
	require.Equal(t, payout.Paid, b.now(t, payoutOf(0)).State)
	b.booked(t)
}

// A batch that was refused alone has ended; that PayPal has it shows as paid beside its release.
func TestABatchThatEndedRefusedAndIsThereIsPaidTwice(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, "invalid-ada@example.org")
	b.send(t, id)
	require.Equal(t, payout.BatchEnded, b.batchNow(t, id).State)
	there := b.sendAgain(t, b.request(t, id).Key, map[string]string{payoutOf(0): ada})

	b.heardOf(t, id, there.ID)

	require.Len(t, b.paidTwice(t), 1)
	require.NoError(t, b.recordDuplicate(t, payoutOf(0), there.Items[0].ID))
	require.Empty(t, b.paidTwice(t))
	b.sound(t)
}

// What PayPal denied has moved nothing, and what it does not have nothing either.
func TestABatchThatIsNotThereChangesNothing(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	b.settings(t, simulator.PayPalPayoutSettings{Manual: true})
	refused, next, there := b.refusedAndThere(t)
	_, err := b.simulator.PayPal().DenyPayPalBatch(there.ID, "INSUFFICIENT_FUNDS")
	require.NoError(t, err)
	b.settings(t, simulator.PayPalPayoutSettings{})

	b.heardOf(t, refused, "NOSUCHBATCH")
	b.heardOf(t, refused, there.ID)

	b.send(t, next)
	b.read(t, next)
	b.paid(t, payoutOf(0), payoutOf(2))
	require.Empty(t, b.paidTwice(t))
}

// Events can be lost: the daily search finds the batch as well.
func TestASearchFindsABatchThatWasRefused(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	b.exec(t, `UPDATE paypal_search SET searched_until = now()`)
	_, _, there := b.refusedAndThere(t)

	require.Equal(t, 1, b.search(t).Found)

	b.takenOver(t, there.ID, payoutOf(0), payoutOf(2))
	require.Len(t, b.paidTwice(t), 1)
	require.Zero(t, b.search(t).Found, "it is known")
}

// One of which it is only not known what came of it is the batch that it was sent as.
func TestASearchTellsOfABatchWhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	b.exec(t, `UPDATE paypal_search SET searched_until = now()`)
	id := b.batch(t, ada)
	require.Error(t, b.under(t, id, simulator.Fault{Kind: simulator.ExecuteThenDrop}))

	require.Equal(t, 1, b.search(t).Found)

	require.Equal(t, payout.BatchSending, b.batchNow(t, id).State)
	require.NotEmpty(t, b.batchNow(t, id).HintedID)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox WHERE message->>'workflow_id' = '`+workflows.PayPalBatchID(id)+`' AND key LIKE '%/found/%'`))
	b.insist(t, id)
	b.read(t, id)
	b.paid(t, payoutOf(0))
}

// What PayPal has another item of is not sent, whenever that is found out.
func TestWhatIsElsewhereIsNotSent(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, ada)
	require.Error(t, b.under(t, id, simulator.Fault{Kind: simulator.BadGateway}))
	b.exec(t, `INSERT INTO paypal_other_items (item_id, payout_id, paypal_batch_id, amount, currency, transaction_status)
		VALUES ('ITEM9', $1, 'BATCH9', 9800, 'usd', 'PENDING')`, payoutOf(0))
	posts := b.posts()

	require.Empty(t, b.send(t, id).Do)

	b.held(t, id, payout.ReasonElsewhere)
	require.Equal(t, posts, b.posts())
}

// planned are payouts that are planned and in no batch, due since some days.
func (b batchBundle) planned(t *testing.T, days int, numbers ...int) []string {
	t.Helper()
	var ids []string
	for _, n := range numbers {
		b.payee(t, n, "ok-"+payeeOf(n)+"@example.org")
		b.freeze(t, payoutOf(n), payeeOf(n), "ok-"+payeeOf(n)+"@example.org")
		ids = append(ids, payoutOf(n))
	}
	payoutBundle{bundle: b.bundle}.untriggered(t, func(do func(string)) {
		do(fmt.Sprintf(`UPDATE payouts SET due_date = (now() AT TIME ZONE 'UTC')::date - %d WHERE state = 'planned'`, days))
	})
	return ids
}

func (b batchBundle) form(t *testing.T, ids []string) (batchID string) {
	t.Helper()
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.FormBatches(ctx, tx, ids) })
	return b.batchOf(t, ids[0])
}

func (b batchBundle) searches() int {
	return len(b.simulator.Calls().To("GET", "/v1/reporting/transactions"))
}

// A backup from before payouts were put into batches is restored after they were paid, and others have come
// to them since, so that the batch is another one. PayPal is searched once, and nothing is paid again.
func TestARestoredBackupPaysNothingAgainAtPayPal(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	paid := b.planned(t, 2, 0, 1)
	restore := payoutBundle{bundle: b.bundle}.backUp(t)
	lost := b.form(t, paid)
	b.send(t, lost)
	b.read(t, lost)
	b.paid(t, paid...)
	there := b.batchNow(t, lost).PayPalBatchID
	restore()
	searches := b.searches()
	id := b.form(t, append(paid, b.planned(t, 2, 2)...))
	require.NotEqual(t, lost, id)

	b.send(t, id)

	require.Equal(t, searches+1, b.searches())
	require.Equal(t, 1, b.batchNow(t, id).Size)
	b.read(t, id)
	b.takenOver(t, there, paid...)
	b.paid(t, payoutOf(2))
	require.Empty(t, b.paidTwice(t))
}

// What goes on the day on which it is due costs no search.
func TestABatchThatIsNotLateIsNotSearchedFor(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.form(t, b.planned(t, 0, 0))

	b.send(t, id)

	require.Zero(t, b.searches())
	b.read(t, id)
	b.paid(t, payoutOf(0))
}

// While PayPal cannot be searched what is late waits.
func TestALateBatchIsNotSentUnlessItWasLookedFor(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.form(t, b.planned(t, 2, 0))
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.BadGateway, Method: "GET", PathPrefix: "/v1/reporting"}))

	_, err := b.take(t, id, workflows.ActivitySendPayPalBatch)

	requireFailure(t, err, provider.Transient, true)
	require.Zero(t, b.posts())
	require.NoError(t, b.simulator.ClearFaults())
	b.turn(t, false)
	searches := b.searches()
	b.send(t, id)
	require.Equal(t, searches, b.searches(), "what is stopped anyway is not looked for")
	b.turn(t, true)
	b.send(t, id)
	b.read(t, id)
	b.paid(t, payoutOf(0))
}

// Where we may not search nothing is found, and what PayPal cannot show is not ours to pay again.
func TestALateBatchThatPayPalTellsLittleOf(t *testing.T) {
	t.Parallel()
	t.Run("no permission to search", func(t *testing.T) {
		t.Parallel()
		b := setupBatches(t)
		id := b.form(t, b.planned(t, 2, 0))
		b.answers(t, complains("GET", "/v1/reporting/transactions", http.StatusForbidden, `{"name":"NOT_AUTHORIZED","message":"No permission."}`))
		b.send(t, id)
		b.read(t, id)
		b.paid(t, payoutOf(0))
	})
	t.Run("a movement, and no batch", func(t *testing.T) {
		t.Parallel()
		b := setupBatches(t)
		id := b.form(t, b.planned(t, 2, 0))
		there := b.sendAgain(t, "before", map[string]string{payoutOf(0): "ok-0@example.org"})
		b.answers(t, complains("GET", "/v1/payments/payouts/"+there.ID, http.StatusNotFound, `{"name":"INVALID_RESOURCE_ID","message":"No such batch."}`))
		posts := b.posts()
		_, err := b.take(t, id, workflows.ActivitySendPayPalBatch)
		requireFailure(t, err, provider.Rejected, false)
		require.Equal(t, payout.BatchOpen, b.batchNow(t, id).State)
		require.Equal(t, posts, b.posts())
	})
}
