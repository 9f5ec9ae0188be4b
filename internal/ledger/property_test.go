package ledger_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/postgres"
)

// Whatever is posted in whatever order, sensible or not: the books are those of a model that knows only
// how far each payout's money is, and what does not fit is refused and changes nothing.
func TestEverySequenceOfPostingsKeepsTheBooks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	run, refusals, releases := 0, 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		m := newModel(t, b, run)
		before := m.books(rt)
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			m.step(rt)
		}
		want, books := m.want(), m.books(rt)
		for account := range books {
			require.Equal(rt, want[account], books[account]-before[account], "%v", account)
		}
		for _, payee := range m.payees {
			for _, cutoff := range []date.Date{friday.AddDays(-10), friday.AddDays(-5), friday, friday.AddDays(10)} {
				found, err := ledger.Payable(t.Context(), b.pool, payee, "usd", cutoff)
				require.NoError(rt, err)
				require.Equal(rt, m.payable(payee, cutoff), found.Minor, "what %s can be paid of what was earned up to %s", payee, cutoff)
			}
		}
		refusals, releases = refusals+m.refusals, releases+m.releases
	})
	require.Positive(t, refusals, "nothing was refused, or the property is empty")
	require.Positive(t, releases)
	require.Empty(t, b.unsound(t))
}

// unsound lists the transactions that do not sum to zero and the payouts that were released twice.
func (b bundle) unsound(t *testing.T) []string {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `SELECT transaction_id::text FROM ledger_entries GROUP BY 1 HAVING sum(amount) <> 0
		UNION ALL SELECT payout_id FROM ledger_transactions WHERE event = 'release' GROUP BY 1 HAVING count(*) > 1`)
	require.NoError(t, err)
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return found
}

// stage is how far a payout's money is.
type stage int

const (
	unclaimed stage = iota
	claimed
	transferred
	underway
	paid
	released
)

// modelPayout is a payout of the model.
type modelPayout struct {
	ledger.Payout

	stage stage
	given int64 // back to the payee by parts of it, after it was paid
	fx    int64 // lost by its reversal
}

func (p *modelPayout) net() int64 { return p.Gross.Minor - p.Fee.Minor }

// movement is something of a payee's that is no payout: a credit above zero, a debit below.
type movement struct {
	payee  string
	amount int64
	dated  date.Date
	ofApp  bool // else of the write-offs
}

type model struct {
	bundle

	test      *testing.T
	payees    []string
	payouts   []*modelPayout
	movements []movement
	last      act // what was done last with success
	sources   int
	run       int
	refusals  int
	releases  int
}

func newModel(t *testing.T, b bundle, run int) *model {
	t.Helper()
	m := &model{bundle: b, test: t, run: run}
	for i := range 2 {
		m.payees = append(m.payees, fmt.Sprintf("u_%d_%d", run, i))
	}
	return m
}

// step does one thing: moves a payee's money, makes a payout, says something of one, or repeats the last.
func (m *model) step(t *rapid.T) {
	switch rapid.SampledFrom([]string{"move", "plan", "event", "event", "event", "repeat"}).Draw(t, "step") {
	case "move":
		m.move(t)
	case "plan":
		m.plan(t)
	case "event":
		if len(m.payouts) > 0 {
			m.event(t, rapid.SampledFrom(m.payouts).Draw(t, "payout"))
		}
	case "repeat":
		if m.last != nil {
			require.NoError(t, m.try(m.last), "the same again is no error")
		}
	}
}

func (m *model) try(do act) error {
	ctx := m.test.Context()
	return postgres.InTx(ctx, m.pool, func(tx pgx.Tx) error { return do(ctx, tx) })
}

func (m *model) done(t *rapid.T, do act) {
	require.NoError(t, m.try(do))
	m.last = do
}

func (m *model) move(t *rapid.T) {
	payee := rapid.SampledFrom(m.payees).Draw(t, "payee")
	amount := rapid.Int64Range(1, 50000).Draw(t, "amount")
	dated := friday.AddDays(rapid.IntRange(-14, 7).Draw(t, "day"))
	m.sources++
	source := fmt.Sprintf("%d/%d", m.run, m.sources)
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0, 1:
		m.done(t, func(ctx context.Context, tx pgx.Tx) error {
			return ledger.Earning(ctx, tx, payee, usd(amount), dated, source)
		})
		m.movements = append(m.movements, movement{payee, amount, dated, true})
	case 2:
		m.done(t, func(ctx context.Context, tx pgx.Tx) error {
			return ledger.Refund(ctx, tx, payee, usd(amount), dated, source)
		})
		m.movements = append(m.movements, movement{payee, -amount, dated, true})
	default:
		amount *= rapid.SampledFrom([]int64{1, -1}).Draw(t, "sign")
		m.done(t, func(ctx context.Context, tx pgx.Tx) error {
			return ledger.Adjustment(ctx, tx, payee, usd(amount), dated, source)
		})
		m.movements = append(m.movements, movement{payee, amount, dated, false})
	}
}

func (m *model) plan(t *rapid.T) {
	p := &modelPayout{Payout: ledger.Payout{
		ID:      fmt.Sprintf("po_%d_%d", m.run, len(m.payouts)),
		PayeeID: rapid.SampledFrom(m.payees).Draw(t, "payee"),
		Rail:    rapid.SampledFrom([]ledger.Rail{ledger.Stripe, ledger.PayPal}).Draw(t, "rail"),
		Gross:   usd(rapid.Int64Range(1000, 50000).Draw(t, "gross")),
		Fee:     usd(0),
	}}
	if p.Rail == ledger.Stripe {
		p.AccountID = "acct_" + p.PayeeID
	}
	if rapid.Bool().Draw(t, "instant") {
		net, err := p.Gross.MulDivFloor(100, 103)
		require.NoError(t, err)
		p.Fee, err = p.Gross.Sub(net)
		require.NoError(t, err)
	}
	m.payouts = append(m.payouts, p)
}

// edge is what somebody says of a payout, from which stage it fits, and to which it leads.
type edge struct {
	from, to stage
	do       func(p *modelPayout) act
}

func posted(post func(context.Context, pgx.Tx, ledger.Payout, date.Date) error) func(*modelPayout) act {
	return func(p *modelPayout) act { return on(p.Payout, post) }
}

func ended(post func(context.Context, pgx.Tx, ledger.Payout, date.Date) (bool, error)) func(*modelPayout) act {
	return func(p *modelPayout) act { return ending(p.Payout, post) }
}

var edges = map[ledger.Rail]map[string]edge{
	ledger.Stripe: {
		"claim":          {unclaimed, claimed, func(p *modelPayout) act { return claim(p.Payout) }},
		"release":        {claimed, released, ended(ledger.Release)},
		"transfer":       {claimed, transferred, posted(ledger.TransferConfirmed)},
		"payout":         {transferred, underway, posted(ledger.PayoutConfirmed)},
		"paid":           {underway, paid, posted(ledger.Paid)},
		"payout failed":  {underway, transferred, posted(ledger.PayoutFailed)},
		"returned":       {paid, transferred, posted(ledger.Returned)},
		"reversal":       {transferred, released, func(p *modelPayout) act { return reversed(p.Payout, usd(p.net())) }},
		"lossy reversal": {transferred, released, func(p *modelPayout) act { return reversed(p.Payout, usd(p.net()-7)) }},
	},
	ledger.PayPal: {
		"claim":           {unclaimed, claimed, func(p *modelPayout) act { return claim(p.Payout) }},
		"release":         {claimed, released, ended(ledger.Release)},
		"accepted":        {claimed, underway, posted(ledger.ItemAccepted)},
		"paid":            {underway, paid, posted(ledger.Paid)},
		"item failed":     {underway, released, ended(ledger.ItemFailed)},
		"item reversed":   {paid, released, ended(ledger.ItemReversed)},
		"partly reversed": {paid, paid, func(p *modelPayout) act { return partlyReversed(p, 100) }},
	},
}

func partlyReversed(p *modelPayout, part int64) act {
	return func(ctx context.Context, tx pgx.Tx) error {
		return ledger.ItemPartlyReversed(ctx, tx, p.Payout, usd(part), friday, fmt.Sprintf("part/%s/%d", p.ID, p.Epoch))
	}
}

// event says something of a payout that was not said before, whether it fits or not.
func (m *model) event(t *rapid.T, p *modelPayout) {
	name := rapid.SampledFrom(slices.Sorted(maps.Keys(edges[p.Rail]))).Draw(t, "event")
	e := edges[p.Rail][name]
	p.Epoch++
	if name == "claim" && p.stage > unclaimed || name == "release" && p.stage == released {
		require.NoError(t, m.try(e.do(p)), "a payout is claimed and released once, and again is no error")
		return
	}
	fits := p.stage == e.from && (name != "item reversed" || p.given == 0)
	if !fits {
		m.refusals++
		var refused *pgconn.PgError
		require.ErrorAs(t, m.try(e.do(p)), &refused, "%s of %+v", name, *p)
		require.Equal(t, "ledger_payout_holds", refused.ConstraintName)
		return
	}
	m.done(t, e.do(p))
	p.stage = e.to
	switch name {
	case "partly reversed":
		p.given += 100
	case "lossy reversal":
		p.fx = 7
	}
	if e.to == released {
		m.releases++
	}
}

// want is what the books must show of everything that was done.
func (m *model) want() map[ledger.Account]int64 {
	want := map[ledger.Account]int64{}
	for _, v := range m.movements {
		want[ledger.PayeeAccount(v.payee)] += v.amount
		if v.ofApp {
			want[ledger.AppAccount()] += v.amount
		} else {
			want[ledger.WriteOffAccount()] += v.amount
		}
	}
	for _, p := range m.payouts {
		for account, amount := range places(p) {
			want[account] += amount
		}
		want[ledger.PayeeAccount(p.PayeeID)] += p.given
		want[ledger.PlatformAccount(p.Rail)] += p.given - p.fx
		want[ledger.FXAccount()] += p.fx
	}
	return want
}

// places says where a payout's money is.
func places(p *modelPayout) map[ledger.Account]int64 {
	gross, net := p.Gross.Minor, p.net()
	payee, inPayout, platform := ledger.PayeeAccount(p.PayeeID), ledger.InPayoutAccount(p.PayeeID), ledger.PlatformAccount(p.Rail)
	switch p.stage {
	case claimed:
		return map[ledger.Account]int64{payee: -gross, inPayout: gross}
	case transferred:
		return map[ledger.Account]int64{payee: -gross, inPayout: gross, platform: -net, ledger.AcctAccount(p.AccountID): net}
	case underway:
		return map[ledger.Account]int64{payee: -gross, inPayout: gross, platform: -net, ledger.TransitAccount(p.Rail): net}
	case paid:
		return map[ledger.Account]int64{payee: -gross, platform: -net, ledger.FeesAccount(): p.Fee.Minor}
	case unclaimed, released:
	}
	return nil
}

// payable is RULES.md's sentence: credits dated up to the cutoff − all debits of any date − claims not
// released.
func (m *model) payable(payee string, cutoff date.Date) (sum int64) {
	for _, v := range m.movements {
		if v.payee == payee && (v.amount < 0 || !v.dated.After(cutoff)) {
			sum += v.amount
		}
	}
	for _, p := range m.payouts {
		if p.PayeeID != payee {
			continue
		}
		if p.stage != unclaimed && p.stage != released {
			sum -= p.Gross.Minor
		}
		if !friday.After(cutoff) { // what PayPal took back is a credit of its day
			sum += p.given
		}
	}
	return sum
}

// books are the balances of every account that the model touches.
func (m *model) books(t *rapid.T) map[ledger.Account]int64 {
	found := map[ledger.Account]int64{}
	accounts := []ledger.Account{
		ledger.FeesAccount(), ledger.AppAccount(), ledger.FXAccount(), ledger.WriteOffAccount(),
		ledger.PlatformAccount(ledger.Stripe), ledger.PlatformAccount(ledger.PayPal),
		ledger.TransitAccount(ledger.Stripe), ledger.TransitAccount(ledger.PayPal),
	}
	for _, payee := range m.payees {
		accounts = append(accounts, ledger.PayeeAccount(payee), ledger.InPayoutAccount(payee), ledger.AcctAccount("acct_"+payee))
	}
	for _, a := range accounts {
		amount, err := ledger.Balance(m.test.Context(), m.pool, a, "usd")
		require.NoError(t, err)
		found[a] = amount.Minor
	}
	return found
}
