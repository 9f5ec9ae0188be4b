package payout_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
)

// fundsBack is BLOCKED once more, when the platform has its money again.
const fundsBack = "funds_back"

// itemLife is what PayPal says of an item, one after the other, and what persons do meanwhile.
type itemLife struct {
	says string
	end  payout.State
	way  string // the states after sending
}

func itemLives() []itemLife {
	return []itemLife{
		{"SUCCESS", payout.Paid, "paid"},
		{"PENDING", payout.InTransit, "in_transit"},
		{"PENDING SUCCESS", payout.Paid, "in_transit,paid"},
		{"ONHOLD SUCCESS", payout.Paid, "in_transit,paid"},
		{"ONHOLD PENDING", payout.InTransit, "in_transit"},
		{"SOMETHING_NEW SUCCESS", payout.Paid, "in_transit,paid"},
		{"UNCLAIMED", payout.Unclaimed, "unclaimed"},
		{"UNCLAIMED SUCCESS", payout.Paid, "unclaimed,paid"},
		{"UNCLAIMED RETURNED", payout.Returned, "unclaimed,returned"},
		{"UNCLAIMED FAILED", payout.Failed, "unclaimed,failed"},
		{"RETURNED", payout.Returned, "in_transit,returned"},
		{"PENDING RETURNED", payout.Returned, "in_transit,returned"},
		{"FAILED", payout.Failed, "failed"},
		{"PENDING FAILED", payout.Failed, "in_transit,failed"},
		{"DENIED", payout.Failed, "failed"},
		{"BLOCKED", payout.InTransit, "in_transit"},
		{"BLOCKED " + fundsBack, payout.Failed, "in_transit,failed"},
		{"UNCLAIMED BLOCKED", payout.Unclaimed, "unclaimed"},
		{"UNCLAIMED BLOCKED " + fundsBack, payout.Failed, "unclaimed,failed"},
		{"UNCLAIMED BLOCKED SUCCESS", payout.Paid, "unclaimed,paid"},
		{"BLOCKED UNCLAIMED", payout.Unclaimed, "in_transit,unclaimed"},
		{"REVERSED", payout.Failed, "failed"},
		{"PENDING REFUNDED", payout.Failed, "in_transit,failed"},
		{"SUCCESS REVERSED", payout.Returned, "paid,returned"},
		{"SUCCESS REFUNDED", payout.Returned, "paid,returned"},
		{"SUCCESS FAILED", payout.Returned, "paid,returned"},
		{"CANCELED", payout.Canceled, "canceled"},

		// An answer that is older than the one that is known changes nothing.
		{"SUCCESS PENDING", payout.Paid, "paid"},
		{"SUCCESS UNCLAIMED", payout.Paid, "paid"},
		{"UNCLAIMED PENDING", payout.Unclaimed, "unclaimed"},
		{"UNCLAIMED ONHOLD", payout.Unclaimed, "unclaimed"},
		{"FAILED PENDING", payout.Failed, "failed"},
		{"FAILED SUCCESS", payout.Failed, "failed"},
		{"SUCCESS REVERSED SUCCESS", payout.Returned, "paid,returned"},
		{"UNCLAIMED RETURNED UNCLAIMED", payout.Returned, "unclaimed,returned"},

		// What a person cancels, nobody has claimed.
		{"UNCLAIMED cancel canceled", payout.Canceled, "unclaimed,canceled"},
		{"UNCLAIMED cancel RETURNED", payout.Canceled, "unclaimed,canceled"},
		{"UNCLAIMED cancel SUCCESS", payout.Paid, "unclaimed,paid"},
		{"UNCLAIMED cancel canceled UNCLAIMED", payout.Canceled, "unclaimed,canceled"},
		{"PENDING canceled RETURNED", payout.Canceled, "in_transit,canceled"},
	}
}

// Whatever PayPal says of an item, in whatever order and how often (RULES §3, states and postings 13–18).
func TestWhatPayPalSaysOfAnItemDecides(t *testing.T) {
	t.Parallel()
	cancel := func(ctx context.Context, b bundle, tx pgx.Tx, p payout.Payout) error {
		return b.store.Cancel(ctx, tx, p.ID, "olga", "as the payee asked")
	}
	canceled := func(ctx context.Context, b bundle, tx pgx.Tx, p payout.Payout) error {
		return b.store.ItemCanceled(ctx, tx, p.ID, "olga")
	}
	persons := map[string]func(context.Context, bundle, pgx.Tx, payout.Payout) error{"cancel": cancel, "canceled": canceled}
	lives := itemLives()
	b := batchesOf(t, 1000)
	ids := payees(len(lives))
	batch := b.sent(t, ids...)
	for i, p := range b.members(t, batch) {
		life := lives[i]
		for step := range strings.SplitSeq(life.says, " ") {
			for range 2 { // each of them repeated
				if act, byPerson := persons[step]; byPerson {
					b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return act(ctx, b, tx, p) })
					continue
				}
				seen := says(p, step)
				if step == fundsBack {
					seen = says(p, payout.ItemBlocked)
					b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.ItemFundsBack(ctx, tx, batch, p.ID) })
				}
				seen.Fee = cents(25)
				b.itemsSeen(t, batch, seen)
			}
		}
		now := b.payout(t, p.ID)
		require.Equal(t, life.end, now.State, life.says)
		require.Equal(t, "planned,sending,"+life.way, b.way(t, p.ID), life.says)
		require.Equal(t, "ITEM"+p.ID, now.ProviderPayoutID, life.says)
		require.NotNil(t, now.MovedAt, life.says)
		want := int64(0)
		if life.end.Releases() {
			want = 10_000
		}
		require.Equal(t, want, b.balance(t, p.PayeeID), life.says)
		if !life.end.Releases() {
			require.Zero(t, now.Ending, life.says)
		}
	}
	b.consistent(t)
	require.Equal(t, fmt.Sprint(25*len(lives)), b.ledgerOf(t, "provider_fee"), "PayPal's fee of each item, once")
	require.Equal(t, "0", b.read(t, `SELECT count(*) FROM ledger_transactions WHERE event = 'duplicate'`), "an older answer is no second payment")
}

func TestAnItemThatIsNotAsItWasSentIsHeld(t *testing.T) {
	t.Parallel()
	wrong := map[string]func(payout.ItemSeen) []payout.ItemSeen{
		"another amount":   func(i payout.ItemSeen) []payout.ItemSeen { i.Net.Minor++; return []payout.ItemSeen{i} },
		"another currency": func(i payout.ItemSeen) []payout.ItemSeen { i.Net.Currency = "eur"; return []payout.ItemSeen{i} },
		"no id":            func(i payout.ItemSeen) []payout.ItemSeen { i.ItemID = ""; return []payout.ItemSeen{i} },
		"two items": func(i payout.ItemSeen) []payout.ItemSeen {
			other := i
			other.ItemID += "2"
			return []payout.ItemSeen{i, other}
		},
		"not listed": func(i payout.ItemSeen) []payout.ItemSeen { i.PayoutID = "not-ours"; return []payout.ItemSeen{i} },
	}
	names := make([]string, 0, len(wrong))
	for name := range wrong {
		names = append(names, name)
	}
	b := batchesOf(t, 100)
	batch := b.sent(t, append(payees(len(wrong)), "u_right")...)
	all := b.members(t, batch)
	for range 2 {
		var items []payout.ItemSeen
		for i, name := range names {
			items = append(items, wrong[name](says(all[i], payout.ItemSuccess))...)
		}
		b.itemsSeen(t, batch, append(items, says(all[len(names)], payout.ItemSuccess))...)
		b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.ItemsComplete(ctx, tx, batch) })
	}
	for i, name := range names {
		require.Equal(t, payout.Held, b.payout(t, all[i].ID).State, name)
		require.Zero(t, b.balance(t, all[i].PayeeID), "%s: nothing is released", name)
	}
	require.Equal(t, payout.Paid, b.payout(t, all[len(names)].ID).State, "the others are paid")
	require.Equal(t, payout.BatchSent, b.batch(t, batch).State)
	b.consistent(t)

	// A person ends each, and the batch with the last.
	for i, name := range names {
		r := payout.Resolution{Outcome: payout.Failed, Actor: "olga", Note: "refunded by PayPal"}
		if i%2 == 0 {
			r = payout.Resolution{Outcome: payout.Paid, ProviderPayoutID: "ITEM" + all[i].ID, Actor: "olga", Note: "the payee has it"}
		}
		b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.Resolve(ctx, tx, all[i].ID, r) })
		require.Equal(t, r.Outcome, b.payout(t, all[i].ID).State, name)
	}
	require.Equal(t, payout.BatchEnded, b.batch(t, batch).State)
	b.consistent(t)
}

func TestAHeldPayoutIsResolvedAsPaidWithItsItemAlone(t *testing.T) {
	t.Parallel()
	b := batchesOf(t, 10)
	batch := b.frozen(t, ada)
	p := b.members(t, batch)[0]
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		return b.store.HoldBatch(ctx, tx, batch, "outcome_unknown")
	})
	err := b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		return b.store.Resolve(ctx, tx, p.ID, payout.Resolution{Outcome: payout.Paid, Force: true, Actor: "olga"})
	})
	require.ErrorContains(t, err, "provider_id")
	for range 2 {
		b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
			return b.store.Resolve(ctx, tx, p.ID, payout.Resolution{Outcome: payout.Paid, ProviderPayoutID: "ITEM1", Actor: "olga"})
		})
	}
	now := b.payout(t, p.ID)
	require.Equal(t, payout.Paid, now.State)
	require.NotNil(t, now.MovedAt)
	require.Equal(t, payout.BatchEnded, b.batch(t, batch).State)
	require.Equal(t, "-9800", b.ledgerOf(t, "platform"))
	b.consistent(t)

	// PayPal has it after all, and takes it back later.
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.BatchAccepted(ctx, tx, batch, atPayPal) })
	seen := says(p, payout.ItemSuccess)
	seen.ItemID = "ITEM1"
	b.itemsSeen(t, batch, seen)
	seen.Status = payout.ItemReversed
	b.itemsSeen(t, batch, seen)
	require.Equal(t, payout.Returned, b.payout(t, p.ID).State)
	require.Equal(t, "0", b.ledgerOf(t, "platform"))
	b.consistent(t)
}

// Who says by force that nothing was paid may be wrong: then the ledger has it (RULES §3, posting 21).
func TestWhatPayPalPaidAlthoughItWasReleasedIsADuplicate(t *testing.T) {
	t.Parallel()
	b := batchesOf(t, 10)
	batch := b.frozen(t, ada)
	p := b.members(t, batch)[0]
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		return b.store.HoldBatch(ctx, tx, batch, "outcome_unknown")
	})
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		return b.store.Resolve(ctx, tx, p.ID, payout.Resolution{Outcome: payout.Failed, Force: true, Actor: "olga"})
	})
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.BatchAccepted(ctx, tx, batch, atPayPal) })
	for range 2 {
		b.itemsSeen(t, batch, says(p, payout.ItemSuccess))
	}
	require.Equal(t, payout.Failed, b.payout(t, p.ID).State)
	require.Equal(t, "-9800", b.ledgerOf(t, "platform"))
	require.Equal(t, "9800", b.ledgerOf(t, "writeoff"))
	require.EqualValues(t, 10_000, b.balance(t, ada))
	b.consistent(t)
}

// RULES §3, posting 14: what PayPal gives back of its fee is reversed, and what it does not say is no zero.
func TestAFeeThatPayPalGivesBackIsReversed(t *testing.T) {
	t.Parallel()
	b, batch, all := sentBatch(t, payees(1)...)
	p := all[0]
	charged := func(status string, fee money.Amount) string {
		seen := says(p, status)
		seen.Fee = fee
		for range 2 {
			b.itemsSeen(t, batch, seen)
		}
		return b.ledgerOf(t, "provider_fee")
	}
	require.Equal(t, "0", charged(payout.ItemPending, money.Amount{}))
	require.Equal(t, "100", charged(payout.ItemUnclaimed, cents(100)))
	require.Equal(t, "100", charged(payout.ItemUnclaimed, money.Amount{}))
	require.Equal(t, "100", charged(payout.ItemPending, cents(0)), "an older answer")
	require.Equal(t, "40", charged(payout.ItemReturned, cents(40)))
	require.Equal(t, "0", charged(payout.ItemReturned, cents(0)))
	require.Equal(t, "3", b.read(t, `SELECT count(*) FROM ledger_transactions WHERE event = 'provider_fee'`))
	b.consistent(t)
}

// RULES §3: what is blocked has failed once its funds are back, which a movement shows and the status need
// not.
func TestABlockedPayoutFailsWhenAMovementBringsItsFundsBack(t *testing.T) {
	t.Parallel()
	b, batch, all := sentBatch(t, payees(3)...)
	blocked, onHold, unclaimed := all[0], all[1], all[2]
	see := func() {
		b.itemsSeen(t, batch, says(blocked, payout.ItemBlocked))
		b.itemsSeen(t, batch, says(onHold, payout.ItemOnHold))
		b.itemsSeen(t, batch, says(unclaimed, payout.ItemBlocked))
	}
	b.itemsSeen(t, batch, says(unclaimed, payout.ItemUnclaimed))
	search := func(minor int64) []payout.Reversal {
		t.Helper()
		var all []payout.TakenBack
		for _, p := range []payout.Payout{blocked, onHold, unclaimed} {
			all = append(all, payout.TakenBack{TransactionID: "BACK" + p.ID, Of: says(p, payout.ItemBlocked).TransactionID, Amount: cents(minor)})
		}
		found, err := payout.FindReversals(t.Context(), b.pool, all)
		require.NoError(t, err)
		return found
	}
	see()
	require.Empty(t, search(blocked.Net.Minor-1), "a part says nothing yet")
	found := search(blocked.Net.Minor)
	require.Len(t, found, 2, "what is on hold is not blocked")
	for _, r := range found {
		require.NotEqual(t, onHold.ID, r.PayoutID)
		require.True(t, r.Blocked && r.Whole)
	}
	see()
	require.Equal(t, payout.InTransit, b.payout(t, blocked.ID).State)

	for _, r := range found {
		b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
			return b.store.ItemFundsBack(ctx, tx, r.BatchID, r.PayoutID)
		})
	}
	see()

	for _, p := range []payout.Payout{blocked, unclaimed} {
		require.Equal(t, payout.Failed, b.payout(t, p.ID).State)
		require.EqualValues(t, 10_000, b.balance(t, p.PayeeID))
	}
	require.Equal(t, payout.InTransit, b.payout(t, onHold.ID).State)
	require.Empty(t, search(blocked.Net.Minor))
	b.consistent(t)
}

func TestAPartThatPayPalTakesBackIsThePayeesAgain(t *testing.T) {
	t.Parallel()
	b, batch, all := sentBatch(t, payees(4)...)
	reverse := func(p payout.Payout, minor int64, transaction string) error {
		return b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			return b.store.PartlyReversed(ctx, tx, p.ID, cents(minor), transaction+p.ID)
		})
	}
	require.ErrorIs(t, reverse(all[0], 100, "R1"), payout.ErrState, "it was not paid yet")
	for _, p := range all {
		b.itemsSeen(t, batch, says(p, payout.ItemSuccess))
	}
	parts, whole, twice, wholeAfter := all[0], all[1], all[2], all[3]
	for range 2 {
		require.NoError(t, reverse(parts, 3_000, "R1"))
		require.NoError(t, reverse(parts, 2_000, "R2"))
		require.NoError(t, reverse(whole, 9_800, "R1"))
		require.NoError(t, reverse(twice, 5_000, "R1"))
		require.NoError(t, reverse(twice, 4_800, "R2"))
		require.NoError(t, reverse(wholeAfter, 1_000, "R1"))
		b.itemsSeen(t, batch, says(wholeAfter, payout.ItemReversed))
	}
	require.Equal(t, payout.Paid, b.payout(t, parts.ID).State)
	require.EqualValues(t, 5_000, b.balance(t, parts.PayeeID))
	require.Equal(t, payout.Returned, b.payout(t, whole.ID).State)
	require.EqualValues(t, 10_000, b.balance(t, whole.PayeeID))
	for _, p := range []payout.Payout{twice, wholeAfter} {
		require.Equal(t, payout.Held, b.payout(t, p.ID).State)
		require.Zero(t, b.balance(t, p.PayeeID), "what came back is held, as a whole")
		b.itemsSeen(t, batch, says(p, payout.ItemSuccess))
		require.Equal(t, payout.Held, b.payout(t, p.ID).State, "a person decides")
	}
	b.consistent(t)
	require.Error(t, reverse(parts, 0, "R3"))
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		return b.store.Resolve(ctx, tx, twice.ID, payout.Resolution{Outcome: payout.Failed, Actor: "olga"})
	})
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		return b.store.Resolve(ctx, tx, wholeAfter.ID, payout.Resolution{Outcome: payout.Paid, Actor: "olga"})
	})
	require.EqualValues(t, 10_000, b.balance(t, twice.PayeeID))
	require.Zero(t, b.balance(t, wholeAfter.PayeeID))
	b.consistent(t)
	require.NoError(t, reverse(wholeAfter, 500, "R9"), "and it may come back in part again")
	b.itemsSeen(t, batch, says(wholeAfter, payout.ItemReversed))
	require.Equal(t, payout.Held, b.payout(t, wholeAfter.ID).State)
	b.consistent(t)
}

// RULES §3: three rejections in a row to the same destination pause the payee; at each provider by itself.
func TestRejectionsAreCountedForThePayPalAccount(t *testing.T) {
	t.Parallel()
	b, batch, all := sentBatch(t, ada, grace)
	adas := all[0]
	b.exec(t, `UPDATE payees SET rejections = 2, paypal_rejections = 2 WHERE id = $1`, ada)
	refused := says(adas, payout.ItemFailed)
	refused.Failure.Destination = true
	b.itemsSeen(t, batch, refused)
	b.itemsSeen(t, batch, refused)
	require.Equal(t, 3, b.payee(t, ada).PayPalRejections)
	require.Equal(t, 2, b.payee(t, ada).Rejections, "the bank's is another count")
	require.Equal(t, "rejections", b.read(t, `SELECT string_agg(reason, ',') FROM payee_pauses WHERE payee_id = $1 AND source = 'system'`, ada))
	require.Equal(t, "destination_refused", b.read(t, `SELECT string_agg(code, ',') FROM payee_notes WHERE payee_id = $1`, ada))

	// Another address starts anew.
	moved := payPalProfile(ada)
	moved.PayPalEmail = "ada@new.example.com"
	_, _, err := b.store.PutPayee(t.Context(), moved)
	require.NoError(t, err)
	require.Zero(t, b.payee(t, ada).PayPalRejections)
	require.Equal(t, "0", b.read(t, `SELECT count(*) FROM payee_pauses WHERE payee_id = $1`, ada))

	// A paid payout ends the count of the address that took it, and of no other.
	graces := b.members(t, batch)[1]
	b.exec(t, `UPDATE payees SET rejections = 2, paypal_rejections = 2 WHERE id = $1`, grace)
	b.itemsSeen(t, batch, says(graces, payout.ItemSuccess))
	require.Zero(t, b.payee(t, grace).PayPalRejections)
	require.Equal(t, 2, b.payee(t, grace).Rejections)
	require.Equal(t, payPalProfile(grace).PayPalEmail, b.payout(t, graces.ID).DestinationID)
}

// Readers and people act at the same time; the money moves once.
func TestReadersAndPersonsAtOnce(t *testing.T) {
	t.Parallel()
	b := batchesOf(t, 100)
	batch := b.frozen(t, payees(12)...)
	all := b.members(t, batch)
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		return b.store.HoldBatch(ctx, tx, batch, "outcome_unknown")
	})
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.BatchAccepted(ctx, tx, batch, atPayPal) })
	var g errgroup.Group
	for range 4 {
		g.Go(func() error {
			items := make([]payout.ItemSeen, len(all))
			for i, p := range all {
				items[i] = says(p, payout.ItemSuccess)
			}
			return b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error { return b.store.ItemsSeen(ctx, tx, batch, items) })
		})
	}
	for _, p := range all {
		for _, outcome := range []payout.State{payout.Paid, payout.Failed} {
			g.Go(func() error {
				err := b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
					return b.store.Resolve(ctx, tx, p.ID, payout.Resolution{Outcome: outcome, ProviderPayoutID: "ITEM" + p.ID, Actor: "olga"})
				})
				if errors.Is(err, payout.ErrState) { // the others were first
					return nil
				}
				return err
			})
		}
	}
	require.NoError(t, g.Wait())
	for _, p := range all {
		now := b.payout(t, p.ID)
		require.Contains(t, []payout.State{payout.Paid, payout.Failed}, now.State)
		require.Equal(t, "2", b.read(t, `SELECT count(*) FROM ledger_transactions WHERE payout_id = $1 AND event IN ('accepted', 'paid', 'release', 'duplicate')`, p.ID),
			"taken and paid, or released and then paid all the same: %s", now.State)
	}
	require.Equal(t, fmt.Sprint(-9_800*len(all)), b.ledgerOf(t, "platform"))
	require.Equal(t, payout.BatchEnded, b.batch(t, batch).State)
	b.consistent(t)
}
