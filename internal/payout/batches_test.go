package payout_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast/holdfast/internal/payout"
)

func TestHandOverFormsBatches(t *testing.T) {
	t.Parallel()
	b := batchesOf(t, 2)
	b.ready(t, "u_bank")
	b.fund(t, plenty)
	b.earn(t, "u_bank", "sale", payout.Sale, 10_000, covered)
	b.onPayPal(t, payees(5)...)
	for _, id := range payees(5) {
		b.earn(t, id, "sale", payout.Sale, 10_000, covered)
	}
	all := b.plan(t, friday)
	require.Len(t, all, 6)
	b.handOver(t, friday)

	require.Equal(t, "1", b.read(t, `SELECT count(*) FROM outbox WHERE key LIKE 'start/%'`), "the one at Stripe has work of its own")
	require.Equal(t, "3", b.read(t, `SELECT count(*) FROM outbox WHERE key LIKE 'batch/%'`))
	formed := b.batches(t)
	require.Len(t, formed, 3)
	var sizes []int
	for _, batch := range formed {
		require.Equal(t, payout.BatchOpen, batch.State)
		require.Equal(t, friday, batch.RunDate.String())
		sizes = append(sizes, batch.Size)
	}
	slices.Sort(sizes)
	require.Equal(t, []int{1, 2, 2}, sizes)
	require.Equal(t, "0", b.read(t, `SELECT count(*) FROM payouts WHERE (batch_id IS NULL) = (method = 'paypal')`))
	require.Equal(t, "0", b.read(t, `SELECT count(*) FROM (SELECT min(id) AS least, max(id) AS most FROM payouts WHERE method = 'paypal' GROUP BY batch_id) x
		JOIN (SELECT min(id) AS least, max(id) AS most FROM payouts WHERE method = 'paypal' GROUP BY batch_id) y ON x.least < y.least AND x.most > y.least`),
		"in the order of their ids")
	for _, p := range all {
		if p.Method.Rail() == payout.RailPayPal {
			require.Equal(t, payPalProfile(p.PayeeID).PayPalEmail, p.DestinationID)
		}
	}

	// The same payouts are in no second batch, and one by PayPal starts with its batch alone.
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		ids := make([]string, len(all))
		for i, p := range all {
			ids[i] = p.ID
		}
		return b.store.FormBatches(ctx, tx, ids)
	})
	require.Len(t, b.batches(t), 3)
	for _, p := range all {
		err := b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			_, err := b.store.Start(ctx, tx, p.ID)
			return err
		})
		if p.Method.Rail() == payout.RailPayPal {
			require.ErrorIs(t, err, payout.ErrState)
		}
	}
}

func TestAFrozenBatchIsWhatIsSent(t *testing.T) {
	t.Parallel()
	b := batchesOf(t, 10)
	id := b.formed(t, payees(3)...)[0].ID
	first := b.freeze(t, id)
	require.Equal(t, first, b.freeze(t, id), "frozen twice, it is the same")
	require.Equal(t, payout.BatchSending, first.State)
	require.Equal(t, 3, first.Size)
	require.Equal(t, 3, first.Open)
	items, err := payout.ListBatchItems(t.Context(), b.pool, id)
	require.NoError(t, err)
	require.Len(t, items, 3)
	for i, item := range items {
		require.Equal(t, i, item.Position)
		require.Equal(t, payPalProfile(item.PayeeID).PayPalEmail, item.Receiver)
		require.Equal(t, cents(9_800), item.Net)
		require.Equal(t, payout.Sending, item.State)
		of, err := payout.BatchOf(t.Context(), b.pool, item.PayoutID)
		require.NoError(t, err)
		require.Equal(t, id, of)
	}
	for name, statement := range map[string]string{
		"another receiver":                    `UPDATE paypal_batch_items SET receiver = 'eve@example.com'`,
		"another amount":                      `UPDATE paypal_batch_items SET amount = amount + 1`,
		"another place":                       `UPDATE paypal_batch_items SET position = position + 10`,
		"one item more":                       `INSERT INTO paypal_batch_items (batch_id, position, payout_id, receiver, amount, currency) SELECT batch_id, 99, payout_id, receiver, amount, currency FROM paypal_batch_items`,
		"one item less":                       `DELETE FROM paypal_batch_items`,
		"no batch any more":                   `DELETE FROM paypal_batches`,
		"another size":                        `UPDATE paypal_batches SET size = 2`,
		"another run":                         `UPDATE paypal_batches SET run_date = NULL`,
		"open again":                          `UPDATE paypal_batches SET state = 'open'`,
		"a payout that leaves":                `UPDATE payouts SET batch_id = NULL`,
		"a payout that is released meanwhile": `UPDATE payouts SET state = 'failed', released = true`,
		"a payout that is held meanwhile":     `UPDATE payouts SET state = 'held'`,
		"at PayPal without an id":             `UPDATE paypal_batches SET state = 'sent'`,
	} {
		_, err := b.pool.Exec(t.Context(), statement)
		require.Error(t, err, name)
	}
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.BatchAccepted(ctx, tx, id, atPayPal) })
	for name, statement := range map[string]string{
		"another id at PayPal": `UPDATE paypal_batches SET paypal_batch_id = 'OTHER'`,
		"no id at PayPal":      `UPDATE paypal_batches SET paypal_batch_id = NULL, state = 'sending'`,
	} {
		_, err := b.pool.Exec(t.Context(), statement)
		require.Error(t, err, name)
	}
	b.consistent(t)
}

// RULES §3: checked again under lock right before the first movement; a payee's pause stops what is
// still planned.
func TestWhoCannotGoLeavesTheBatch(t *testing.T) {
	t.Parallel()
	const (
		goes, paused, negative, moved, byBank, canceled = "u_goes", "u_paused", "u_negative", "u_moved", "u_tobank", "u_zcanceled"
	)
	b := batchesOf(t, 10)
	id := b.formed(t, goes, paused, negative, moved, byBank, canceled)[0].ID
	of := map[string]payout.Payout{}
	for _, p := range b.planned(t, friday) {
		of[p.PayeeID] = p
	}
	b.pausePayee(t, paused)
	b.earn(t, negative, "back", payout.Refund, 500, nextFriday)
	changed := payPalProfile(moved)
	changed.PayPalEmail = "else@example.com"
	_, _, err := b.store.PutPayee(t.Context(), changed)
	require.NoError(t, err)
	stripe := payPalProfile(byBank)
	stripe.Rail = payout.RailStripe
	_, _, err = b.store.PutPayee(t.Context(), stripe)
	require.NoError(t, err)
	require.NoError(t, b.store.CancelUnsent(t.Context(), of[canceled].ID, "olga", "no reason"))

	require.Equal(t, 1, b.freeze(t, id).Size)
	require.Equal(t, payout.Sending, b.payout(t, of[goes].ID).State)
	stays := b.payout(t, of[paused].ID)
	require.Equal(t, payout.Planned, stays.State)
	require.Empty(t, stays.BatchID)
	for payee, reason := range map[string]payout.Reason{
		negative: payout.BecauseBalanceNegative, moved: payout.BecauseDestinationChanged, byBank: payout.BecauseDestinationChanged,
	} {
		now := b.payout(t, of[payee].ID)
		require.Equal(t, payout.Canceled, now.State, payee)
		require.Equal(t, string(reason), now.Reason)
		require.Equal(t, string(reason), b.read(t, `SELECT string_agg(code, ',') FROM payee_notes WHERE payee_id = $1`, payee))
	}
	require.EqualValues(t, 9_500, b.balance(t, negative))
	require.EqualValues(t, 10_000, b.balance(t, moved))
	b.consistent(t)

	// Who was paused goes with another batch, once nobody pauses them any more, at once.
	require.NoError(t, b.store.PauseByOperator(t.Context(), paused, "olga", ""))
	b.resumePayee(t, paused)
	require.Empty(t, b.payout(t, stays.ID).BatchID)
	require.NoError(t, b.store.ResumeByOperator(t.Context(), paused, "olga", ""))
	next := b.payout(t, stays.ID).BatchID
	require.NotContains(t, []string{"", id}, next)
	require.Equal(t, "1", b.told(t, "batch/"+next))
	require.Equal(t, payout.BatchSending, b.freeze(t, next).State)
	b.consistent(t)
}

// Nothing of a batch that PayPal refused has moved: what is true right before it goes with another one
// counts, as it did the first time.
func TestWhoCannotGoAnyMoreDoesNotGoWithTheNextBatch(t *testing.T) {
	t.Parallel()
	const bad, goes, negative, moved = "u_bad", "u_goes", "u_negative", "u_moved"
	b := batchesOf(t, 10)
	id := b.frozen(t, bad, goes, negative, moved)
	of := map[string]payout.Payout{}
	for _, p := range b.members(t, id) {
		of[p.PayeeID] = p
	}
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		return b.store.BatchRefused(ctx, tx, id, map[string]payout.Failure{of[bad].ID: {Class: "rejected", Code: "x"}})
	})
	b.earn(t, negative, "back", payout.Refund, 500, nextFriday)
	changed := payPalProfile(moved)
	changed.PayPalEmail = "else@example.com"
	_, _, err := b.store.PutPayee(t.Context(), changed)
	require.NoError(t, err)

	next := b.payout(t, of[goes].ID).BatchID
	require.Equal(t, 1, b.freeze(t, next).Size)

	require.Equal(t, "planned,sending", b.way(t, of[goes].ID))
	for payee, reason := range map[string]payout.Reason{negative: payout.BecauseBalanceNegative, moved: payout.BecauseDestinationChanged} {
		now := b.payout(t, of[payee].ID)
		require.Equal(t, payout.Canceled, now.State, payee)
		require.Equal(t, string(reason), now.Reason)
	}
	require.EqualValues(t, 9_500, b.balance(t, negative))
	require.EqualValues(t, 10_000, b.balance(t, moved))
	b.consistent(t)
}

func TestOfAPayeesPartsAsManyGoAsAreCovered(t *testing.T) {
	t.Parallel()
	b := batchesOf(t, 10)
	b.onPayPal(t, ada)
	b.earn(t, ada, "sale", payout.Sale, 5_000_000, covered) // above the cap of one: three parts
	b.plan(t, friday)
	b.handOver(t, friday)
	b.earn(t, ada, "back", payout.Refund, 100, covered)
	frozen := b.freeze(t, b.batches(t)[0].ID)
	require.Equal(t, 2, frozen.Size, "one part is enough to be canceled")
	require.Equal(t, "1", b.read(t, `SELECT count(*) FROM payouts WHERE state = 'canceled'`))
	b.consistent(t)
}

func TestABatchThatBecomesEmptyEnds(t *testing.T) {
	t.Parallel()
	b := batchesOf(t, 10)
	id := b.formed(t, ada)[0].ID
	b.pausePayee(t, ada)
	empty := b.freeze(t, id)
	require.Equal(t, payout.BatchEnded, empty.State)
	require.Zero(t, empty.Size)
	require.Equal(t, empty, b.freeze(t, id))
	b.consistent(t)
}

// RULES §3: the kill switch and a run's pause stop new batches.
func TestWhatStopsABatchLeavesItOpen(t *testing.T) {
	t.Parallel()
	b := batchesOf(t, 10)
	id := b.formed(t, ada)[0].ID
	on := civil(t, friday)
	for hindrance, stop := range map[payout.Hindrance][2]func() error{
		payout.WaitsForSwitch: {
			func() error { return b.store.SetSwitch(t.Context(), false, "olga", "") },
			func() error { return b.store.SetSwitch(t.Context(), true, "olga", "") },
		},
		payout.WaitsForRun: {
			func() error { return b.store.PauseRun(t.Context(), on, "olga", "") },
			func() error { return b.store.ResumeRun(t.Context(), on, "olga", "") },
		},
	} {
		require.NoError(t, stop[0]())
		var (
			stopped payout.Batch
			by      payout.Hindrance
		)
		b.inTx(t, func(ctx context.Context, tx pgx.Tx) (err error) {
			stopped, by, err = b.store.FreezeBatch(ctx, tx, id)
			return err
		})
		require.Equal(t, hindrance, by)
		require.Equal(t, payout.BatchOpen, stopped.State)
		by, err := payout.BatchMaySend(t.Context(), b.pool, id)
		require.NoError(t, err)
		require.Equal(t, hindrance, by)
		require.NoError(t, stop[1]())
	}
	require.Equal(t, payout.BatchSending, b.freeze(t, id).State)
	_, err := payout.GetBatch(t.Context(), b.pool, "pb_none")
	require.ErrorIs(t, err, payout.ErrNoBatch)
	_, err = payout.BatchMaySend(t.Context(), b.pool, "pb_none")
	require.ErrorIs(t, err, payout.ErrNoBatch)
}

func TestABatchIsFrozenOnceByManyAtOnce(t *testing.T) {
	t.Parallel()
	b := batchesOf(t, 20)
	id := b.formed(t, payees(20)...)[0].ID
	var g errgroup.Group
	for range 4 {
		g.Go(func() error {
			return b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
				_, _, err := b.store.FreezeBatch(ctx, tx, id)
				return err
			})
		})
	}
	for i, payee := range payees(20) {
		g.Go(func() error {
			switch i % 3 {
			case 0:
				return b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
					return b.store.Pause(ctx, tx, payout.Pause{PayeeID: payee, Source: payout.SourcePayee})
				})
			case 1:
				changed := payPalProfile(payee)
				changed.PayPalEmail = "else@example.com"
				_, _, err := b.store.PutPayee(t.Context(), changed)
				return err
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	batch := b.batch(t, id)
	require.Equal(t, payout.BatchSending, batch.State)
	require.Equal(t, fmt.Sprint(batch.Size), b.read(t, `SELECT count(*) FROM payouts WHERE state = 'sending'`))
	require.GreaterOrEqual(t, batch.Size, 6, "whom nobody touched")
	require.Equal(t, "20", b.read(t, `SELECT count(*) FROM payouts WHERE state = 'sending' AND batch_id = $1
		OR state = 'planned' AND batch_id IS NULL OR state = 'canceled' AND reason = 'destination_changed'`, id))
	b.consistent(t)
}

func TestPayPalHasABatchOnce(t *testing.T) {
	t.Parallel()
	b := batchesOf(t, 1)
	formed := b.formed(t, ada, grace)
	id, other := formed[0].ID, formed[1].ID
	accept := func(id, at string) error {
		return b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error { return b.store.BatchAccepted(ctx, tx, id, at) })
	}
	require.ErrorIs(t, accept(id, atPayPal), payout.ErrState, "it was never sent")
	b.freeze(t, id)
	b.freeze(t, other)
	require.ErrorIs(t, accept(id, ""), payout.ErrState)
	require.NoError(t, accept(id, atPayPal))
	now := b.batch(t, id)
	require.Equal(t, payout.BatchSent, now.State)
	require.NotNil(t, now.SentAt)
	require.NoError(t, accept(id, atPayPal))
	require.Equal(t, now, b.batch(t, id))
	require.Equal(t, payout.Sending, b.members(t, id)[0].State, "that the batch is there moves nothing")
	require.Equal(t, atPayPal, b.members(t, id)[0].PayPalBatchID)
	require.ErrorIs(t, accept(id, "PPBATCH2"), payout.ErrOtherObject)
	require.ErrorIs(t, accept(other, atPayPal), payout.ErrOtherObject)
	b.consistent(t)
}

func TestARefusedBatchGoesOnWithoutTheBadOnes(t *testing.T) {
	t.Parallel()
	b := batchesOf(t, 10)
	id := b.frozen(t, payees(5)...)
	all := b.members(t, id)
	bad := map[string]payout.Failure{
		all[1].ID: {Class: "rejected", Code: "RECEIVER_INVALID", Message: "The address is invalid.", Destination: true},
		"po_none": {Code: "x"},
	}
	for range 2 {
		b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.BatchRefused(ctx, tx, id, bad) })
	}
	require.Equal(t, payout.BatchSplit, b.batch(t, id).State)
	refused := b.payout(t, all[1].ID)
	require.Equal(t, payout.Failed, refused.State)
	require.Equal(t, "RECEIVER_INVALID", refused.Failure.Code)
	require.EqualValues(t, 10_000, b.balance(t, refused.PayeeID))
	require.Equal(t, 1, b.payee(t, refused.PayeeID).PayPalRejections)
	next := b.batches(t)[1]
	require.Len(t, b.batches(t), 2)
	require.Equal(t, id, next.SplitFrom)
	require.Equal(t, payout.BatchOpen, next.State)
	require.Equal(t, 4, next.Open)
	b.consistent(t)

	// Who was taken up stays so, paused or not; what nothing was sent of may still be canceled.
	b.pausePayee(t, all[0].PayeeID)
	require.NoError(t, b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error { return b.store.Cancel(ctx, tx, all[2].ID, "olga", "") }))
	require.Equal(t, 3, b.freeze(t, next.ID).Size)
	require.ErrorIs(t, b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error { return b.store.Cancel(ctx, tx, all[3].ID, "olga", "") }), payout.ErrState)

	// No one is named: halves, until one is left who must be it.
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.BatchRefused(ctx, tx, next.ID, nil) })
	var sizes []int
	for _, half := range b.batches(t) {
		if half.SplitFrom != next.ID {
			continue
		}
		sizes = append(sizes, half.Size)
		b.freeze(t, half.ID)
		if half.Size == 1 {
			for range 2 {
				b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.BatchRefused(ctx, tx, half.ID, nil) })
			}
			require.Equal(t, payout.BatchEnded, b.batch(t, half.ID).State)
			require.Equal(t, payout.Failed, b.members(t, half.ID)[0].State)
			require.Zero(t, b.payee(t, b.members(t, half.ID)[0].PayeeID).PayPalRejections, "it is not known that the address is to blame")
		}
	}
	slices.Sort(sizes)
	require.Equal(t, []int{1, 2}, sizes)
	require.ErrorIs(t, b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error { return b.store.BatchAccepted(ctx, tx, id, atPayPal) }), payout.ErrOtherObject)
	b.consistent(t)
}

func TestAPayoutThatWasSentIsNotRefusedWithItsBatch(t *testing.T) {
	t.Parallel()
	b := batchesOf(t, 10)
	id := b.sent(t, ada)
	for name, do := range map[string]func(context.Context, pgx.Tx) error{
		"refused":        func(ctx context.Context, tx pgx.Tx) error { return b.store.BatchRefused(ctx, tx, id, nil) },
		"ended unfunded": func(ctx context.Context, tx pgx.Tx) error { return b.store.BatchEndsUnfunded(ctx, tx, id) },
		"canceled": func(ctx context.Context, tx pgx.Tx) error {
			return b.store.Cancel(ctx, tx, b.members(t, id)[0].ID, "olga", "")
		},
		"item canceled": func(ctx context.Context, tx pgx.Tx) error {
			return b.store.ItemCanceled(ctx, tx, b.members(t, id)[0].ID, "olga")
		},
		"partly reversed": func(ctx context.Context, tx pgx.Tx) error {
			return b.store.PartlyReversed(ctx, tx, b.members(t, id)[0].ID, cents(1), "R")
		},
	} {
		require.ErrorIs(t, b.try(t.Context(), do), payout.ErrState, name)
	}
	other := batchesOf(t, 10)
	open := other.formed(t, ada)[0].ID
	for name, do := range map[string]func(context.Context, pgx.Tx) error{
		"refused":  func(ctx context.Context, tx pgx.Tx) error { return other.store.BatchRefused(ctx, tx, open, nil) },
		"unfunded": func(ctx context.Context, tx pgx.Tx) error { return other.store.BatchUnfunded(ctx, tx, open, "funding") },
		"denied": func(ctx context.Context, tx pgx.Tx) error {
			return other.store.BatchDenied(ctx, tx, open, payout.Failure{})
		},
		"held":   func(ctx context.Context, tx pgx.Tx) error { return other.store.HoldBatch(ctx, tx, open, "why") },
		"seen":   func(ctx context.Context, tx pgx.Tx) error { return other.store.ItemsSeen(ctx, tx, open, nil) },
		"listed": func(ctx context.Context, tx pgx.Tx) error { return other.store.ItemsComplete(ctx, tx, open) },
	} {
		require.ErrorIs(t, other.try(t.Context(), do), payout.ErrState, name)
	}
}

// RULES §3: funding waits, and after three days it is canceled and released.
func TestABatchWithoutFundsWaitsAndEnds(t *testing.T) {
	t.Parallel()
	b := batchesOf(t, 10)
	id := b.frozen(t, ada, grace)
	unfunded := func(ctx context.Context, tx pgx.Tx) error {
		return b.store.BatchUnfunded(ctx, tx, id, "INSUFFICIENT_FUNDS")
	}
	b.inTx(t, unfunded)
	waiting := b.batch(t, id)
	require.Equal(t, payout.BatchSending, waiting.State)
	require.NotNil(t, waiting.UnfundedSince)
	b.inTx(t, unfunded)
	require.Equal(t, waiting, b.batch(t, id))
	require.Equal(t, "funding", b.read(t, `SELECT string_agg(DISTINCT code, ',') FROM payee_notes`))
	missing, err := payout.ListShortfalls(t.Context(), b.pool, time.Time{}, "", 10)
	require.NoError(t, err)
	require.Equal(t, []payout.Shortfall{{
		ID: id, RunDate: civil(t, friday), BatchID: id, Rail: payout.RailPayPal, Currency: "usd", Missing: 19_992, Payouts: 2, Known: true, Since: *waiting.UnfundedSince,
	}}, missing, "two nets, and PayPal's two percent")
	measured, err := b.store.Measure(t.Context())
	require.NoError(t, err)
	require.Contains(t, measured.Missing, payout.Lack{Rail: payout.RailPayPal, Currency: "usd", Missing: 19_992})

	// PayPal takes it, and denies it: it waits on, since the beginning, and the denied id is no other's.
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.BatchAccepted(ctx, tx, id, atPayPal) })
	b.inTx(t, unfunded)
	again := b.batch(t, id)
	require.Equal(t, payout.BatchSending, again.State)
	require.Empty(t, again.PayPalBatchID)
	require.Equal(t, waiting.UnfundedSince, again.UnfundedSince)
	require.ErrorIs(t, b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error { return b.store.BatchAccepted(ctx, tx, id, atPayPal) }), payout.ErrState)
	b.consistent(t)

	for range 2 {
		b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.BatchEndsUnfunded(ctx, tx, id) })
	}
	b.inTx(t, unfunded)
	require.Equal(t, payout.BatchEnded, b.batch(t, id).State)
	missing, err = payout.ListShortfalls(t.Context(), b.pool, time.Time{}, "", 10)
	require.NoError(t, err)
	require.Empty(t, missing)
	for _, p := range b.members(t, id) {
		require.Equal(t, payout.Canceled, p.State)
		require.Equal(t, "funding", p.Reason)
		require.EqualValues(t, 10_000, b.balance(t, p.PayeeID))
	}
	b.consistent(t)
}

func TestABatchWithFundsWaitsNoMore(t *testing.T) {
	t.Parallel()
	b := batchesOf(t, 10)
	id := b.frozen(t, ada)
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		return b.store.BatchUnfunded(ctx, tx, id, "INSUFFICIENT_FUNDS")
	})
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.BatchAccepted(ctx, tx, id, atPayPal) })
	b.itemsSeen(t, id, says(b.members(t, id)[0], payout.ItemPending))
	require.Nil(t, b.batch(t, id).UnfundedSince)
	require.Equal(t, payout.InTransit, b.members(t, id)[0].State)
	b.consistent(t)
}

// A batch of which something else is known already is not sent a second time.
func TestABatchThatIsDeniedHalfWayEnds(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]string{"one failed": payout.ItemFailed, "one is on its way": payout.ItemPending, "one waits to be claimed": payout.ItemUnclaimed} {
		b := batchesOf(t, 10)
		id := b.sent(t, ada, grace)
		b.itemsSeen(t, id, says(b.members(t, id)[0], first))
		for range 2 {
			b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.BatchUnfunded(ctx, tx, id, "funding") })
		}
		require.Equal(t, payout.BatchEnded, b.batch(t, id).State, name)
		for _, p := range b.members(t, id) {
			require.True(t, p.State.Releases(), name)
			require.EqualValues(t, 10_000, b.balance(t, p.PayeeID), name)
		}
		b.consistent(t)
	}
}

func TestADeniedBatchIsReleased(t *testing.T) {
	t.Parallel()
	b, id, all := sentBatch(t, payees(3)...)
	wrong := says(all[0], payout.ItemSuccess)
	wrong.Net.Minor++
	b.itemsSeen(t, id, wrong, says(all[1], payout.ItemPending))
	for range 2 {
		b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
			return b.store.BatchDenied(ctx, tx, id, payout.Failure{Class: "rejected", Code: "batch_denied", Message: "PayPal denied it."})
		})
	}
	require.Equal(t, payout.Held, b.payout(t, all[0].ID).State, "a person looks into it")
	require.Equal(t, payout.Failed, b.payout(t, all[1].ID).State)
	require.Equal(t, payout.Failed, b.payout(t, all[2].ID).State)
	b.itemsSeen(t, id, says(all[1], payout.ItemPending))
	require.Equal(t, payout.Failed, b.payout(t, all[1].ID).State, "an older answer")
	b.consistent(t)
}

func TestAHeldBatchIsFoundAndGoesOn(t *testing.T) {
	t.Parallel()
	b := batchesOf(t, 10)
	id := b.frozen(t, ada, grace)
	for range 2 {
		b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.HoldBatch(ctx, tx, id, "outcome_unknown") })
	}
	held := b.batch(t, id)
	require.Equal(t, payout.BatchHeld, held.State)
	require.Equal(t, "outcome_unknown", held.Reason)
	all := b.members(t, id)
	for _, p := range all {
		require.Equal(t, payout.Held, p.State)
		require.Zero(t, b.balance(t, p.PayeeID))
	}
	b.consistent(t)
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.BatchAccepted(ctx, tx, id, atPayPal) })
	b.itemsSeen(t, id, says(all[0], payout.ItemSuccess), says(all[1], payout.ItemUnclaimed))
	require.Equal(t, payout.BatchSent, b.batch(t, id).State)
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.HoldBatch(ctx, tx, id, "batch_unreadable") })
	require.Equal(t, payout.Unclaimed, b.payout(t, all[1].ID).State, "what waits to be claimed is known")
	b.itemsSeen(t, id, says(all[1], payout.ItemSuccess))
	require.Equal(t, payout.BatchEnded, b.batch(t, id).State)
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.HoldBatch(ctx, tx, id, "too late") })
	b.consistent(t)
}

func TestARetryGoesWithABatchOfItsOwn(t *testing.T) {
	t.Parallel()
	b, id, all := sentBatch(t, ada)
	first := all[0]
	b.itemsSeen(t, id, says(first, payout.ItemFailed))
	var again payout.Payout
	for range 2 {
		b.inTx(t, func(ctx context.Context, tx pgx.Tx) (err error) {
			again, _, err = b.store.Retry(ctx, tx, first.ID, "olga", "once more")
			return err
		})
	}
	require.NotEmpty(t, again.BatchID)
	require.NotEqual(t, id, again.BatchID)
	require.Equal(t, payPalProfile(ada).PayPalEmail, again.DestinationID)
	require.Len(t, b.batches(t), 2)
	require.Equal(t, "0", b.read(t, `SELECT count(*) FROM outbox WHERE key LIKE 'start/%'`))
	require.Equal(t, 1, b.freeze(t, again.BatchID).Size)
	b.consistent(t)
}

// A batch of 500 makes 500 events, and is looked at once.
func TestWhatIsHeardOfABatchAsksForOneLook(t *testing.T) {
	t.Parallel()
	b := batchesOf(t, 10)
	id := b.frozen(t, ada)
	hint := func(at string) (first bool) {
		b.inTx(t, func(ctx context.Context, tx pgx.Tx) (err error) {
			first, err = b.store.HintBatch(ctx, tx, id, at)
			return err
		})
		return first
	}
	require.True(t, hint(atPayPal))
	require.False(t, hint(""))
	require.Equal(t, atPayPal, b.batch(t, id).HintedID)
	require.Empty(t, b.batch(t, id).PayPalBatchID, "what is heard is not believed")
	require.NoError(t, payout.BatchChecked(t.Context(), b.pool, id))
	require.False(t, b.batch(t, id).Heard)
	require.NotNil(t, b.batch(t, id).CheckedAt)
	require.True(t, hint(""))
	require.ErrorIs(t, b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		_, err := b.store.HintBatch(ctx, tx, "pb_none", "")
		return err
	}), payout.ErrNoBatch)
}
