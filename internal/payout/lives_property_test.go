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

// Whatever steps are taken, in whatever order, how often, and wherever they break off: a payout goes
// along the table of states alone, an ending releases its money once, and what a payee earned is always
// exactly what they have, what is under way and what was paid.
func TestWhateverHappensToPayoutsNoCentIsLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fund(t, 1_000_000_000_000)
	const worlds, steps = 60, 40
	for seed := range uint64(worlds) {
		w := lifeWorld{
			bundle: b, t: t, payee: fmt.Sprintf("u_life%03d", seed), friday: civil(t, friday),
			random: rand.New(rand.NewPCG(seed, 0)),
		}
		b.ready(t, w.payee)
		w.earnSomething(payout.Sale, 1)
		w.run()
		for n := range steps {
			w.where = fmt.Sprintf("seed %d, step %d", seed, n)
			w.step()
			w.check()
		}
	}
	b.sound(t)
	require.Equal(t, "canceled,failed,held,in_transit,paid,planned,returned,sending",
		b.read(t, `SELECT string_agg(DISTINCT to_state, ',' ORDER BY to_state) FROM payout_transitions`), "or the property is empty")
}

// lifeWorld is one payee, and what the app knows of them.
type lifeWorld struct {
	bundle

	t      *testing.T
	random *rand.Rand
	where  string // for people who look for what went wrong
	payee  string
	friday date.Date // of the next run
	earned int64
	sales  int
}

var errBrokenOff = errors.New("the worker was killed before it committed")

func (w *lifeWorld) step() {
	switch w.random.IntN(10) {
	case 0:
		w.earnSomething(payout.Sale, 1)
	case 1:
		w.earnSomething(payout.Refund, -1)
	case 2, 3:
		w.run()
	default:
		w.live()
	}
}

func (w *lifeWorld) earnSomething(kind payout.EarningKind, sign int64) {
	amount := 500 + w.random.Int64N(50_000)
	w.sales++
	w.earn(w.t, w.payee, fmt.Sprint("e", w.sales), kind, amount, w.friday.AddDays(-7).String())
	w.earned += sign * amount
}

// run plans the run of the next Friday for this payee; others have nothing.
func (w *lifeWorld) run() {
	_, _, err := w.store.BeginRun(w.t.Context(), w.friday, "schedule", "")
	require.NoError(w.t, err)
	w.exec(w.t, `UPDATE payout_runs SET state = 'computing', looked_at = NULL, computed_at = NULL, cursor = $2 WHERE date = $1`, w.friday, w.before())
	require.NoError(w.t, w.compute(w.t.Context(), w.friday, 1000))
	w.friday = w.friday.AddDays(7)
}

// before is a text right before the payee's id, so that a run looks at this payee and nobody who came earlier.
func (w *lifeWorld) before() string {
	return w.payee[:len(w.payee)-1] + string(w.payee[len(w.payee)-1]-1) + "~"
}

// live takes a step of some payout's life, or breaks off within it.
func (w *lifeWorld) live() {
	all := w.payouts()
	if len(all) == 0 {
		return
	}
	p := all[w.random.IntN(len(all))]
	steps := w.steps()
	names := append(slices.Sorted(maps.Keys(steps)), "retry")
	names = append(names, likely(p)...)
	name := names[w.random.IntN(len(names))]
	breaksOff := w.random.IntN(5) == 0
	for range 1 + w.random.IntN(2) {
		err := w.try(w.t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			var err error
			if name == "retry" {
				_, _, err = w.store.Retry(ctx, tx, p.ID, "olga", "once more")
			} else {
				err = steps[name].do(ctx, tx, p.ID)
			}
			if err == nil && breaksOff {
				return errBrokenOff
			}
			return err
		})
		skipped := new(payout.SkipError)
		if err != nil && !errors.Is(err, payout.ErrState) && !errors.Is(err, errBrokenOff) && !errors.As(err, &skipped) {
			require.NoError(w.t, err, "%s of a payout that is %s, %s", name, p.State, w.where)
		}
		if errors.Is(err, errBrokenOff) {
			after := w.payout(w.t, p.ID)
			require.Equal(w.t, p, after, "what broke off did not happen: %s, %s", name, w.where)
		}
	}
}

// likely are the steps that a payout would take next when nothing goes wrong, many times, so that some
// lives are long.
func likely(p payout.Payout) []string {
	next := map[payout.State]string{
		payout.Planned: "start", payout.Sending: "transfer", payout.InTransit: "paid", payout.Paid: "return", payout.Held: "payout",
	}[p.State]
	switch {
	case p.Ending != "" && !p.State.Releases():
		next = "reverse"
	case p.State == payout.Sending && p.TransferID != "":
		next = "payout"
	case next == "":
		next = "retry"
	}
	return slices.Repeat([]string{next}, 16)
}

func (w *lifeWorld) payouts() []payout.Payout {
	all, err := payout.ListPayouts(w.t.Context(), w.pool, w.payee, payout.Cursor{}, 1000)
	require.NoError(w.t, err)
	return all
}

func (w *lifeWorld) check() {
	var underWay, paid int64
	for _, p := range w.payouts() {
		switch {
		case p.State.Blocks():
			underWay += p.Gross.Minor
		case p.State == payout.Paid:
			paid += p.Gross.Minor
		}
	}
	require.Equal(w.t, w.earned-underWay-paid, w.balance(w.t, w.payee), "what is left of what was earned, %s", w.where)
	held, err := ledger.Balance(w.t.Context(), w.pool, ledger.InPayoutAccount(w.payee), "usd")
	require.NoError(w.t, err)
	require.Equal(w.t, underWay, held.Minor, "what is claimed, %s", w.where)
	if underWay == 0 {
		acct, err := ledger.Balance(w.t.Context(), w.pool, ledger.AcctAccount(profile(w.payee).StripeAccountID), "usd")
		require.NoError(w.t, err)
		require.Zero(w.t, acct.Minor, "what is on the connected account, %s", w.where)
	}
}
