package payout_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
)

// written is a statement, read whole.
type written struct {
	head  payout.StatementHead
	lines []payout.StatementLine
	end   payout.StatementEnd
}

func (w *written) Head(h payout.StatementHead) error {
	w.head = h
	return nil
}

func (w *written) Line(l payout.StatementLine) error {
	w.lines = append(w.lines, l)
	return nil
}

func (w *written) End(e payout.StatementEnd) error {
	w.end = e
	return nil
}

// told are the lines, each with its date, kind, id, gross, fee and the balance after it.
func (w *written) told() []string {
	all := make([]string, len(w.lines))
	for i, l := range w.lines {
		all[i] = fmt.Sprint(l.Date, " ", l.Kind, " ", l.ID, " ", l.Gross.Minor, " ", l.Fee.Minor, " ", l.Balance.Minor)
	}
	return all
}

func month(t *testing.T, text string) payout.Month {
	t.Helper()
	m, err := payout.ParseMonth(text)
	require.NoError(t, err)
	return m
}

func (b bundle) statement(t *testing.T, payeeID string, m payout.Month, currency money.Currency) *written {
	t.Helper()
	w := &written{}
	require.NoError(t, payout.WriteStatement(t.Context(), b.pool, b.payee(t, payeeID), m, currency, w))
	return w
}

func TestMonths(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "2026", "2026-1", "2026-13", "2026-00", "26-11", "2026-11-01", "2026/11", "+026-11", "0000-01", " 2026-1"} {
		_, err := payout.ParseMonth(text)
		require.ErrorContains(t, err, "2026-11", text)
	}
	december := month(t, "2027-12")
	require.Equal(t, "2027-12", december.String())
	require.Equal(t, "2028-01", december.Next().String())
	require.Equal(t, "2028-02", december.Next().Next().String())
	require.Equal(t, "2028-03", december.Next().Next().Next().String())
	require.Equal(t, civil(t, "2028-01-01"), december.Next().First())
}

// claimed claims an instant payout of ada's 100.00 on a date, and gives its id.
func (b bundle) claimed(t *testing.T, on date.Date) string {
	t.Helper()
	const id = "po_aaaaaaaaaaaaaaaaaaaaaaaa"
	b.exec(t, `INSERT INTO payout_requests (payee_id, id, currency, quoted_net) VALUES ($1, 'm', 'usd', 9708)`, ada)
	b.exec(t, `INSERT INTO payouts (id, payee_id, kind, manual_id, method, currency, gross, fee, net, period_end, due_date, stripe_account_id, destination_id)
		VALUES ($1, $2, 'manual', 'm', 'stripe_instant', 'usd', 10000, 292, 9708, '2026-04-30', $3, $4, 'ba_1')`, id, ada, on, profile(ada).StripeAccountID)
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		return ledger.Claim(ctx, tx, on, ledger.Payout{
			ID: id, PayeeID: ada, Rail: ledger.Stripe, AccountID: profile(ada).StripeAccountID, Gross: cents(10_000), Fee: cents(292),
		})
	})
	return id
}

func TestAStatementTellsEverythingOfAMonth(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ready(t, ada)
	b.earn(t, ada, "sale", payout.Sale, 10_000, covered)
	id := b.claimed(t, civil(t, friday))
	b.earn(t, ada, "march", payout.Sale, 2_000, "2026-03-07")
	b.earn(t, ada, "back", payout.Refund, 500, "2026-03-08")
	b.earn(t, ada, "fraud", payout.Chargeback, 300, "2026-03-31")
	b.earn(t, ada, "gift", payout.Adjustment, 50, "2026-03-31")
	b.earn(t, ada, "april", payout.Sale, 1, "2026-04-01")

	february := b.statement(t, ada, month(t, "2026-02"), "")
	march := b.statement(t, ada, month(t, "2026-03"), "usd")

	require.Equal(t, []string{"2026-02-27 earning sale 10000 0 10000"}, february.told())
	require.Equal(t, []string{
		"2026-03-06 payout " + id + " -10000 -292 0",
		"2026-03-07 earning march 2000 0 2000",
		"2026-03-08 refund back -500 0 1500",
		"2026-03-31 chargeback fraud -300 0 1200",
		"2026-03-31 adjustment gift 50 0 1250",
	}, march.told())
	require.Equal(t, ada, march.head.PayeeID)
	require.Equal(t, "2026-03", march.head.Month.String())
	require.True(t, march.head.Complete)
	require.Equal(t, cents(10_000), march.head.Opening)
	require.Equal(t, cents(1_250), march.end.Closing)
	require.Empty(t, march.head.OtherCurrencies)
	require.Equal(t, payout.StatementTotals{
		Earnings: cents(2_000), Refunds: cents(-500), Chargebacks: cents(-300), Adjustments: cents(50), WriteOffs: cents(0),
		Payouts: cents(-9_708), PayoutFees: cents(-292), PayoutsBack: cents(0), PartialReversals: cents(0),
	}, march.end.Totals)

	b.live(t, id, "start", "transfer", "payout", "fail", "reverse")
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		p, on := ledger.Payout{ID: "po_paypal", PayeeID: ada, Rail: ledger.PayPal, Gross: cents(1_000), Fee: cents(0)}, date.Of(time.Now())
		return errors.Join(ledger.Claim(ctx, tx, on, p), ledger.ItemAccepted(ctx, tx, p, on), ledger.Paid(ctx, tx, p, on),
			ledger.ItemPartlyReversed(ctx, tx, p, cents(7), on, "paypal-transaction/T1"))
	})
	require.NoError(t, b.store.Adjust(t.Context(), payout.Correction{PayeeID: ada, ID: "c1", Actor: "olga", Note: "n"}, cents(-20_000)))
	require.NoError(t, b.store.WriteOff(t.Context(), payout.Correction{PayeeID: ada, ID: "c2", Actor: "olga", Note: "n"}))
	require.Equal(t, march.told(), b.statement(t, ada, month(t, "2026-03"), "").told(), "what comes back later is of a later month")
	now := b.statement(t, ada, payout.MonthOf(date.Of(time.Now())), "")
	require.False(t, now.head.Complete)
	require.WithinDuration(t, time.Now(), now.head.AsOf, time.Minute)
	today := date.Of(time.Now()).String()
	require.Equal(t, []string{
		today + " payout_back " + id + " 10000 292 11251",
		today + " payout po_paypal -1000 0 10251",
		today + " partial_reversal po_paypal 7 0 10258",
		today + " adjustment c1 -20000 0 -9742",
		today + " write_off c2 9742 0 0",
	}, now.told())
	require.Equal(t, cents(292), now.end.Totals.PayoutFees, "the fee is given back")
	b.chained(t, ada)
}

func TestAStatementOfAnotherCurrency(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada)
	b.earn(t, ada, "dollars", payout.Sale, 100, "2026-02-27")
	b.earn(t, ada, "taken", payout.Refund, 100, "2026-02-28")
	b.exec(t, `UPDATE payees SET currency = 'eur' WHERE id = $1`, ada)

	own := b.statement(t, ada, month(t, "2026-02"), "")
	require.Empty(t, own.lines)
	require.Equal(t, money.Zero("eur"), own.end.Closing)
	require.Equal(t, []money.Currency{"usd"}, own.head.OtherCurrencies)
	require.Empty(t, b.statement(t, ada, month(t, "2026-01"), "").head.OtherCurrencies, "before it had anything")
	require.Equal(t, []string{"2026-02-27 earning dollars 100 0 100", "2026-02-28 refund taken -100 0 0"},
		b.statement(t, ada, month(t, "2026-02"), "usd").told())
}

func TestAMonthToComeHasNoStatement(t *testing.T) {
	t.Parallel()
	present := payout.MonthOf(date.Of(time.Now()))
	for _, text := range []string{"March", present.Next().Next().String()} {
		_, err := payout.StatementMonth(text)
		var field *customer.FieldError
		require.ErrorAs(t, err, &field)
		require.Equal(t, "month", field.Field)
	}
	m, err := payout.StatementMonth(present.String())
	require.NoError(t, err)
	require.Equal(t, present, m)
}

// brokenWriter takes so many lines and no more.
type brokenWriter struct {
	written
	takes int
}

var errNotTaken = errors.New("the client is gone")

func (w *brokenWriter) Line(payout.StatementLine) error {
	if w.takes--; w.takes < 0 {
		return errNotTaken
	}
	return nil
}

func TestAStatementThatNobodyTakesEnds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada)
	b.earn(t, ada, "e1", payout.Sale, 100, "2026-02-27")
	b.earn(t, ada, "e2", payout.Sale, 100, "2026-02-27")
	err := payout.WriteStatement(t.Context(), b.pool, b.payee(t, ada), month(t, "2026-02"), "", &brokenWriter{takes: 1})
	require.ErrorIs(t, err, errNotTaken)
	require.Zero(t, b.pool.Stat().AcquiredConns(), "its connection is free again")
}

// chained proves a payee's statements from first to last: each has the lines that make its closing
// balance of its opening one, begins where the one before ended, and ends where the ledger does on that
// day; and nothing of the account is in none of them. It gives the kinds of their lines.
func (b bundle) chained(t *testing.T, payeeID string) []payout.LineKind {
	t.Helper()
	first := civil(t, b.read(t, `SELECT to_char(min(dated), 'YYYY-MM-DD') FROM ledger_entries WHERE account = 'payee' AND owner = $1`, payeeID))
	balance, lines := cents(0), 0
	var kinds []payout.LineKind
	for m := payout.MonthOf(first); !m.First().After(date.Of(time.Now())); m = m.Next() {
		w := b.statement(t, payeeID, m, "usd")
		require.Equal(t, balance, w.head.Opening, "%s begins where the month before ended", m)
		var totals int64
		for _, l := range w.lines {
			require.Equal(t, m, payout.MonthOf(l.Date))
			require.Equal(t, l.Gross.Minor, l.Fee.Minor+l.Net.Minor)
			balance.Minor += l.Gross.Minor
			require.Equal(t, balance, l.Balance)
			kinds = append(kinds, l.Kind)
		}
		for _, total := range []money.Amount{
			w.end.Totals.Earnings, w.end.Totals.Refunds, w.end.Totals.Chargebacks, w.end.Totals.Adjustments, w.end.Totals.WriteOffs,
			w.end.Totals.Payouts, w.end.Totals.PayoutFees, w.end.Totals.PayoutsBack, w.end.Totals.PartialReversals,
		} {
			totals += total.Minor
		}
		require.Equal(t, balance, w.end.Closing, m)
		require.Equal(t, w.end.Closing.Minor-w.head.Opening.Minor, totals, "the totals of %s", m)
		atEnd, err := ledger.BalanceAt(t.Context(), b.pool, ledger.PayeeAccount(payeeID), "usd", m.Next().First().AddDays(-1))
		require.NoError(t, err)
		require.Equal(t, atEnd, w.end.Closing, "the ledger at the end of %s", m)
		lines += len(w.lines)
	}
	require.Equal(t, b.read(t, `SELECT count(*) FROM ledger_entries WHERE account = 'payee' AND owner = $1`, payeeID), fmt.Sprint(lines))
	return kinds
}

// Whatever happens to a payee's payouts, their statements tell all of it.
func TestStatementsOfWhateverLives(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fund(t, 1_000_000_000_000)
	const worlds, steps = 12, 40
	var kinds []payout.LineKind
	for seed := range uint64(worlds) {
		w := lifeWorld{
			bundle: b, t: t, payee: fmt.Sprintf("u_told%03d", seed), friday: civil(t, friday),
			random: rand.New(rand.NewPCG(seed, 1)),
		}
		b.ready(t, w.payee)
		w.earnSomething(payout.Sale, 1)
		w.run()
		for n := range steps {
			w.where = fmt.Sprintf("seed %d, step %d", seed, n)
			w.step()
		}
		kinds = append(kinds, b.chained(t, w.payee)...)
	}
	slices.Sort(kinds)
	require.Equal(t, []payout.LineKind{payout.LineEarning, payout.LinePayout, payout.LinePayoutBack, payout.LineRefund}, slices.Compact(kinds),
		"or the property is empty")
}

// Whatever PayPal does, statements tell all of it, and of each payout that was paid or came back the app
// is told once.
func TestStatementsOfWhateverPayPalDoes(t *testing.T) {
	t.Parallel()
	const worlds, acts = 4, 90
	var kinds []payout.LineKind
	for seed := range uint64(worlds) {
		w := newBatchWorld(t, 100+seed)
		for range acts {
			w.act()
		}
		for _, p := range w.payouts() {
			if p.State == payout.Paid {
				w.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
					return w.store.PartlyReversed(ctx, tx, p.ID, cents(1), "PART"+p.ID)
				})
			}
		}
		for _, id := range w.ids {
			kinds = append(kinds, w.chained(t, id)...)
		}
		for kind, state := range map[string]payout.State{feed.PayoutPaid: payout.Paid, feed.PayoutReturned: payout.Returned} {
			came := w.read(t, `SELECT count(DISTINCT payout_id) FROM payout_transitions WHERE to_state = $1`, string(state))
			require.Equal(t, came, w.read(t, `SELECT count(*) FROM changes WHERE type = $1`, kind), "%s, seed %d", kind, seed)
			require.Equal(t, came, w.read(t, `SELECT count(DISTINCT data ->> 'payout_id') FROM changes WHERE type = $1`, kind), "%s, seed %d", kind, seed)
		}
	}
	slices.Sort(kinds)
	require.Subset(t, slices.Compact(kinds), []payout.LineKind{payout.LinePayout, payout.LinePayoutBack, payout.LinePartialReversal}, "or the property is empty")
}

// ledgerWorld posts whatever may be posted to a payee's account, on whatever dates.
type ledgerWorld struct {
	bundle

	t      *testing.T
	random *rand.Rand
	payee  string
	posted int
	open   []ledger.Payout // claimed and neither paid nor released
	paid   []ledger.Payout // by PayPal
}

// Statements go by the dates of what was posted, in whatever order it was.
func TestStatementsOfWhateverIsPosted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const worlds, steps = 8, 80
	var kinds []payout.LineKind
	for seed := range uint64(worlds) {
		w := &ledgerWorld{bundle: b, t: t, random: rand.New(rand.NewPCG(seed, 2)), payee: fmt.Sprintf("u_post%03d", seed)}
		b.enroll(t, w.payee)
		for range steps {
			w.step()
		}
		kinds = append(kinds, b.chained(t, w.payee)...)
	}
	slices.Sort(kinds)
	require.Len(t, slices.Compact(kinds), 8, "every kind, or the property is empty")
}

// day is one of the months from the December before to April, the ends of months more often than others.
func (w *ledgerWorld) day() date.Date {
	m := time.Month(w.random.IntN(5))
	return date.New(2026, m, []int{1, 1 + w.random.IntN(31), 0}[w.random.IntN(3)])
}

func (w *ledgerWorld) amount() money.Amount { return cents(1 + w.random.Int64N(50_000)) }

func (w *ledgerWorld) step() {
	w.posted++
	id := fmt.Sprintf("%s:%d", w.payee, w.posted)
	switch w.random.IntN(8) {
	case 0, 1:
		kinds := []payout.EarningKind{payout.Sale, payout.Refund, payout.Chargeback, payout.Adjustment}
		w.earn(w.t, w.payee, id, kinds[w.random.IntN(len(kinds))], w.amount().Minor, w.day().String())
	case 2, 3:
		w.claim(ledger.Payout{ID: "po_" + id, PayeeID: w.payee, Gross: w.amount(), Fee: cents(0), Epoch: 1})
	case 4, 5:
		w.end()
	case 6:
		w.post(func(ctx context.Context, tx pgx.Tx) error {
			if w.random.IntN(2) == 0 {
				return ledger.WriteOff(ctx, tx, w.payee, w.amount(), w.day(), "correction/"+w.payee+"/"+id)
			}
			sign := 1 - 2*w.random.Int64N(2)
			return ledger.Adjustment(ctx, tx, w.payee, cents(sign*w.amount().Minor), w.day(), "correction/"+w.payee+"/"+id)
		})
	default:
		w.takeBack(id)
	}
}

func (w *ledgerWorld) claim(p ledger.Payout) {
	p.Rail, p.AccountID = ledger.Stripe, "acct_1"
	if w.random.IntN(2) == 0 {
		p.Rail, p.AccountID = ledger.PayPal, ""
	}
	w.post(func(ctx context.Context, tx pgx.Tx) error { return ledger.Claim(ctx, tx, w.day(), p) })
	w.open = append(w.open, p)
}

// end ends a payout in one of the ways that its rail has.
func (w *ledgerWorld) end() {
	if len(w.open) == 0 {
		return
	}
	p := w.open[0]
	w.open = w.open[1:]
	on := w.day()
	ways := []func(context.Context, pgx.Tx) error{
		func(ctx context.Context, tx pgx.Tx) error {
			_, err := ledger.Release(ctx, tx, p, on)
			return err
		},
		func(ctx context.Context, tx pgx.Tx) error { return w.pay(ctx, tx, p, on) },
		func(ctx context.Context, tx pgx.Tx) error {
			if err := w.pay(ctx, tx, p, on); err != nil {
				return err
			}
			return w.comeBack(ctx, tx, p, on.AddDays(w.random.IntN(40)))
		},
	}
	way := w.random.IntN(len(ways))
	w.post(ways[way])
	if way == 1 && p.Rail == ledger.PayPal {
		w.paid = append(w.paid, p)
	}
}

func (w *ledgerWorld) pay(ctx context.Context, tx pgx.Tx, p ledger.Payout, on date.Date) error {
	steps := []func(context.Context, pgx.Tx, ledger.Payout, date.Date) error{ledger.TransferConfirmed, ledger.PayoutConfirmed, ledger.Paid}
	if p.Rail == ledger.PayPal {
		steps = []func(context.Context, pgx.Tx, ledger.Payout, date.Date) error{ledger.ItemAccepted, ledger.Paid}
	}
	for _, step := range steps {
		if err := step(ctx, tx, p, on); err != nil {
			return err
		}
	}
	return nil
}

func (w *ledgerWorld) comeBack(ctx context.Context, tx pgx.Tx, p ledger.Payout, on date.Date) error {
	if p.Rail == ledger.PayPal {
		_, err := ledger.ItemReversed(ctx, tx, p, on)
		return err
	}
	if err := ledger.Returned(ctx, tx, p, on); err != nil {
		return err
	}
	_, err := ledger.ReversalConfirmed(ctx, tx, p, p.Gross, on)
	return err
}

// takeBack has a part of a paid payout come back.
func (w *ledgerWorld) takeBack(id string) {
	if len(w.paid) == 0 {
		return
	}
	p := w.paid[w.random.IntN(len(w.paid))]
	w.post(func(ctx context.Context, tx pgx.Tx) error {
		return ledger.ItemPartlyReversed(ctx, tx, p, cents(1), w.day(), "paypal-transaction/"+strings.ReplaceAll(id, ":", ""))
	})
}

func (w *ledgerWorld) post(do func(context.Context, pgx.Tx) error) {
	w.t.Helper()
	w.inTx(w.t, do)
}
