package payout_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/payout"
)

// Whatever PayPal does with batches, whatever answers are lost, late or read twice, and whoever decides
// meanwhile: the ledger holds after every act, a payout is in one batch that PayPal may carry out, no
// payout is released twice, and none is released of which PayPal has moved the money.
func TestWhateverHappensToBatchesNoCentIsLost(t *testing.T) {
	t.Parallel()
	const worlds, acts = 8, 90
	seen := make(chan map[string]int, worlds)
	t.Run("worlds", func(t *testing.T) {
		t.Parallel()
		for seed := range uint64(worlds) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				w := newBatchWorld(t, seed)
				for n := range acts {
					w.where = fmt.Sprintf("act %d", n)
					w.act()
					w.check()
				}
				ways := map[string]int{}
				for _, p := range w.payouts() {
					ways[w.way(t, p.ID)]++
				}
				seen <- ways
			})
		}
	})
	t.Cleanup(func() {
		close(seen)
		all := map[string]int{}
		for ways := range seen {
			maps.Copy(all, ways)
		}
		require.Greater(t, len(all), 12, "or the property is empty: %v", all)
	})
}

// batchWorld is a few payees, and what PayPal does.
type batchWorld struct {
	bundle

	t      *testing.T
	random *rand.Rand
	where  string // for people who look for what went wrong
	ids    []string
	friday date.Date // of the next run
	earned map[string]int64
	sales  int

	paypal map[string]*theirBatch // by our batch's id: what they took of it last
	stale  map[string][]payout.ItemSeen
	taken  int
}

// theirBatch is a batch as PayPal has it.
type theirBatch struct {
	id     string
	denied bool
	begun  bool              // it has begun to carry it out
	items  map[string]string // the status of each item, by payout
	nets   map[string]payout.BatchItem
}

func newBatchWorld(t *testing.T, seed uint64) *batchWorld {
	t.Helper()
	w := &batchWorld{
		bundle: batchesOf(t, 3), t: t, random: rand.New(rand.NewPCG(seed, 7)), ids: payees(4), friday: civil(t, friday),
		earned: map[string]int64{}, paypal: map[string]*theirBatch{}, stale: map[string][]payout.ItemSeen{},
	}
	w.onPayPal(t, w.ids...)
	w.earnSomething()
	w.run()
	return w
}

func (w *batchWorld) act() {
	acts := []func(){
		w.earnSomething, w.run, w.freezeOne, w.freezeOne, w.freezeOne, w.post, w.post, w.post, w.post, w.goOn, w.goOn, w.goOn, w.goOn,
		w.readOne, w.readOne, w.readOne, w.readOne, w.readLate, w.holdOne, w.endUnfunded, w.cancel, w.resolve, w.resolve, w.again, w.pause, w.move,
	}
	acts[w.random.IntN(len(acts))]()
}

// do carries an act out, once or twice, or breaks off within it. What the state does not allow changes nothing.
func (w *batchWorld) do(name string, act func(ctx context.Context, tx pgx.Tx) error) {
	breaksOff := w.random.IntN(6) == 0
	for range 1 + w.random.IntN(2) {
		err := w.try(w.t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			if err := act(ctx, tx); err != nil || !breaksOff {
				return err
			}
			return errBrokenOff
		})
		skipped := new(payout.SkipError)
		if err != nil && !errors.Is(err, payout.ErrState) && !errors.Is(err, errBrokenOff) && !errors.As(err, &skipped) {
			require.NoError(w.t, err, "%s, %s", name, w.where)
		}
	}
}

func (w *batchWorld) earnSomething() {
	for _, id := range w.ids {
		kind, sign := payout.Sale, int64(1)
		if w.random.IntN(5) == 0 {
			kind, sign = payout.Refund, -1
		}
		amount := 1_000 + w.random.Int64N(20_000)
		w.sales++
		w.earn(w.t, id, fmt.Sprint("e", w.sales), kind, amount, w.friday.AddDays(-7).String())
		w.earned[id] += sign * amount
	}
}

func (w *batchWorld) run() {
	if !w.friday.Before(civil(w.t, "2026-10-01")) {
		return
	}
	w.plan(w.t, w.friday.String())
	w.handOver(w.t, w.friday.String())
	w.friday = w.friday.AddDays(7)
}

// one gives some batch in one of the states.
func (w *batchWorld) one(states ...payout.BatchState) (payout.Batch, bool) {
	found := slices.DeleteFunc(w.batches(w.t), func(b payout.Batch) bool { return !slices.Contains(states, b.State) })
	if len(found) == 0 {
		return payout.Batch{}, false
	}
	return found[w.random.IntN(len(found))], true
}

func (w *batchWorld) freezeOne() {
	var leftover []string
	for _, p := range w.payouts() {
		if p.State == payout.Planned && p.BatchID == "" {
			leftover = append(leftover, p.ID)
		}
	}
	w.do("form", func(ctx context.Context, tx pgx.Tx) error { return w.store.FormBatches(ctx, tx, leftover) })
	if b, found := w.one(payout.BatchOpen, payout.BatchSending, payout.BatchSplit); found {
		w.do("freeze", func(ctx context.Context, tx pgx.Tx) error {
			_, _, err := w.store.FreezeBatch(ctx, tx, b.ID)
			return err
		})
	}
}

// post sends a batch, perhaps again. PayPal takes it, or did before, or refuses it; its answer may be lost.
func (w *batchWorld) post() {
	b, found := w.one(payout.BatchSending)
	if !found {
		return
	}
	items, err := payout.ListBatchItems(w.t.Context(), w.pool, b.ID)
	require.NoError(w.t, err)
	if theirs := w.paypal[b.ID]; theirs != nil && !theirs.denied {
		w.do("duplicate", func(ctx context.Context, tx pgx.Tx) error { return w.store.BatchAccepted(ctx, tx, b.ID, theirs.id) })
		return
	}
	switch w.random.IntN(6) {
	case 0:
		bad := map[string]payout.Failure{}
		for _, i := range items {
			if w.random.IntN(3) == 0 {
				bad[i.PayoutID] = payout.Failure{Class: "rejected", Code: "RECEIVER_INVALID", Destination: true}
			}
		}
		w.do("refuse", func(ctx context.Context, tx pgx.Tx) error { return w.store.BatchRefused(ctx, tx, b.ID, bad) })
	case 1:
		w.do("lack funds", func(ctx context.Context, tx pgx.Tx) error {
			return w.store.BatchUnfunded(ctx, tx, b.ID, "INSUFFICIENT_FUNDS")
		})
	default:
		w.taken++
		theirs := &theirBatch{id: fmt.Sprintf("PP%d", w.taken), items: map[string]string{}, nets: map[string]payout.BatchItem{}}
		for _, i := range items {
			theirs.items[i.PayoutID], theirs.nets[i.PayoutID] = payout.ItemPending, i
		}
		w.paypal[b.ID] = theirs
		if w.random.IntN(3) > 0 { // else the answer is lost
			w.do("accept", func(ctx context.Context, tx pgx.Tx) error { return w.store.BatchAccepted(ctx, tx, b.ID, theirs.id) })
		}
	}
}

// goOn is what PayPal does by itself.
func (w *batchWorld) goOn() {
	if len(w.paypal) == 0 {
		return
	}
	ids := slices.Sorted(maps.Keys(w.paypal))
	theirs := w.paypal[ids[w.random.IntN(len(ids))]]
	switch {
	case theirs.denied:
		return
	case !theirs.begun && w.random.IntN(4) == 0:
		theirs.denied = true
		return
	}
	theirs.begun = true
	next := map[string][]string{
		payout.ItemPending: {payout.ItemSuccess, payout.ItemSuccess, payout.ItemSuccess, payout.ItemUnclaimed, payout.ItemFailed, payout.ItemOnHold, payout.ItemReturned},
		payout.ItemOnHold:  {payout.ItemSuccess, payout.ItemFailed}, payout.ItemUnclaimed: {payout.ItemSuccess, payout.ItemReturned},
		payout.ItemSuccess: {payout.ItemSuccess, payout.ItemSuccess, payout.ItemReversed},
	}
	for _, id := range slices.Sorted(maps.Keys(theirs.items)) {
		if to := next[theirs.items[id]]; len(to) > 0 && w.random.IntN(3) > 0 {
			theirs.items[id] = to[w.random.IntN(len(to))]
		}
	}
}

// readOne takes on what PayPal says of a batch.
func (w *batchWorld) readOne() {
	b, found := w.one(payout.BatchSent, payout.BatchSent, payout.BatchHeld, payout.BatchEnded)
	if !found || b.PayPalBatchID == "" {
		return
	}
	theirs := w.paypal[b.ID]
	switch {
	case theirs.denied && w.random.IntN(2) == 0:
		w.do("deny", func(ctx context.Context, tx pgx.Tx) error {
			return w.store.BatchDenied(ctx, tx, b.ID, payout.Failure{Class: "rejected", Code: "batch_denied"})
		})
		return
	case theirs.denied:
		w.do("deny for funds", func(ctx context.Context, tx pgx.Tx) error { return w.store.BatchUnfunded(ctx, tx, b.ID, "funding") })
		return
	case !theirs.begun: // what a pending batch lists does not count
		return
	}
	var items []payout.ItemSeen
	for _, id := range slices.Sorted(maps.Keys(theirs.items)) {
		item := says(payout.Payout{ID: id, Plan: payout.Plan{Terms: payout.Terms{Net: theirs.nets[id].Net}}}, theirs.items[id])
		item.Fee = cents(25)
		items = append(items, item)
	}
	if w.random.IntN(4) > 0 { // a slow reader comes later
		w.do("read", func(ctx context.Context, tx pgx.Tx) error { return w.store.ItemsSeen(ctx, tx, b.ID, items) })
		w.do("list", func(ctx context.Context, tx pgx.Tx) error { return w.store.ItemsComplete(ctx, tx, b.ID) })
	}
	if w.stale[b.ID] == nil || w.random.IntN(2) == 0 {
		w.stale[b.ID] = items
	}
}

// readLate takes on an answer from before.
func (w *batchWorld) readLate() {
	for _, id := range slices.Sorted(maps.Keys(w.stale)) {
		w.do("read late", func(ctx context.Context, tx pgx.Tx) error { return w.store.ItemsSeen(ctx, tx, id, w.stale[id]) })
	}
}

func (w *batchWorld) holdOne() {
	if b, found := w.one(payout.BatchSending, payout.BatchSent); found {
		w.do("hold", func(ctx context.Context, tx pgx.Tx) error { return w.store.HoldBatch(ctx, tx, b.ID, "outcome_unknown") })
	}
}

func (w *batchWorld) endUnfunded() {
	b, found := w.one(payout.BatchSending)
	if theirs := w.paypal[b.ID]; found && b.UnfundedSince != nil && (theirs == nil || theirs.denied) {
		w.do("end unfunded", func(ctx context.Context, tx pgx.Tx) error { return w.store.BatchEndsUnfunded(ctx, tx, b.ID) })
	}
}

// some gives a payout in a state.
func (w *batchWorld) some(states ...payout.State) (payout.Payout, bool) {
	found := slices.DeleteFunc(w.payouts(), func(p payout.Payout) bool { return !slices.Contains(states, p.State) })
	if len(found) == 0 {
		return payout.Payout{}, false
	}
	return found[w.random.IntN(len(found))], true
}

// cancel ends what was not sent, and has PayPal cancel what nobody has claimed.
func (w *batchWorld) cancel() {
	p, found := w.some(payout.Planned, payout.Sending, payout.Unclaimed, payout.Unclaimed)
	if !found {
		return
	}
	w.do("cancel", func(ctx context.Context, tx pgx.Tx) error { return w.store.Cancel(ctx, tx, p.ID, "olga", "") })
	if theirs := w.paypal[p.BatchID]; p.State == payout.Unclaimed && theirs.items[p.ID] == payout.ItemUnclaimed {
		theirs.items[p.ID] = payout.ItemReturned
		w.do("item canceled", func(ctx context.Context, tx pgx.Tx) error { return w.store.ItemCanceled(ctx, tx, p.ID, "olga") })
	}
}

// resolve ends a held payout as PayPal bears it out, or has its batch found.
func (w *batchWorld) resolve() {
	p, found := w.some(payout.Held)
	if !found {
		return
	}
	theirs := w.paypal[p.BatchID]
	r := payout.Resolution{Outcome: payout.Failed, Actor: "olga", Note: "it is not there"}
	if theirs != nil && !theirs.denied {
		switch theirs.items[p.ID] {
		case payout.ItemSuccess:
			r.Outcome, r.ProviderPayoutID = payout.Paid, "ITEM"+p.ID
		case payout.ItemFailed, payout.ItemReturned, payout.ItemReversed:
		default:
			w.do("found", func(ctx context.Context, tx pgx.Tx) error {
				return w.store.BatchAccepted(ctx, tx, p.BatchID, theirs.id)
			})
			return
		}
	}
	w.do("resolve", func(ctx context.Context, tx pgx.Tx) error { return w.store.Resolve(ctx, tx, p.ID, r) })
}

func (w *batchWorld) again() {
	if p, found := w.some(payout.Failed, payout.Canceled, payout.Returned); found {
		w.do("retry", func(ctx context.Context, tx pgx.Tx) error {
			_, _, err := w.store.Retry(ctx, tx, p.ID, "olga", "once more")
			return err
		})
	}
}

func (w *batchWorld) pause() {
	id := w.ids[w.random.IntN(len(w.ids))]
	w.do("pause", func(ctx context.Context, tx pgx.Tx) error {
		return w.store.Pause(ctx, tx, payout.Pause{PayeeID: id, Source: payout.SourcePayee})
	})
	if w.random.IntN(3) == 0 {
		return
	}
	for _, source := range []payout.Source{payout.SourcePayee, payout.SourceSystem} {
		for _, id := range w.ids {
			w.do("resume", func(ctx context.Context, tx pgx.Tx) error { return w.store.Resume(ctx, tx, id, source) })
		}
	}
}

// move gives a payee another address.
func (w *batchWorld) move() {
	moved := payPalProfile(w.ids[w.random.IntN(len(w.ids))])
	moved.PayPalEmail = fmt.Sprintf("new%d@paypal.example.com", w.random.IntN(1000))
	_, _, err := w.store.PutPayee(w.t.Context(), moved)
	require.NoError(w.t, err)
}

func (w *batchWorld) payouts() []payout.Payout {
	var all []payout.Payout
	for _, id := range w.ids {
		of, err := payout.ListPayouts(w.t.Context(), w.pool, id, payout.Cursor{}, 1000)
		require.NoError(w.t, err)
		all = append(all, of...)
	}
	return all
}

func (w *batchWorld) check() {
	w.consistent(w.t)
	underWay, paid := map[string]int64{}, map[string]int64{}
	for _, p := range w.payouts() {
		switch {
		case p.State.Blocks():
			underWay[p.PayeeID] += p.Gross.Minor
		case p.State == payout.Paid:
			paid[p.PayeeID] += p.Gross.Minor
		}
		w.checkTheirs(p)
	}
	for _, id := range w.ids {
		require.Equal(w.t, w.earned[id]-underWay[id]-paid[id], w.balance(w.t, id), "what is left of what %s earned, %s", id, w.where)
		held, err := ledger.Balance(w.t.Context(), w.pool, ledger.InPayoutAccount(id), "usd")
		require.NoError(w.t, err)
		require.Equal(w.t, underWay[id], held.Minor, "what is claimed, %s", w.where)
	}
	require.Equal(w.t, "0", w.read(w.t, `SELECT count(*) FROM ledger_transactions WHERE event = 'duplicate'`), w.where)
}

// checkTheirs holds a payout against what PayPal has of it: one item that has, or may get, its money, and
// none of what was released.
func (w *batchWorld) checkTheirs(p payout.Payout) {
	with := 0
	for _, theirs := range w.paypal {
		status, has := theirs.items[p.ID]
		if !has || theirs.denied {
			continue
		}
		if !slices.Contains([]string{payout.ItemFailed, payout.ItemReturned, payout.ItemReversed}, status) {
			with++
		}
	}
	require.LessOrEqual(w.t, with, 1, "payout %s, %s", p.ID, w.where)
	if p.State.Releases() {
		require.Zero(w.t, with, "payout %s is %s and PayPal has its money, %s", p.ID, p.State, w.where)
	}
}
