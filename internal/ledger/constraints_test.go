package ledger_test

import (
	"context"
	"math"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/postgres"
)

// sql is what somebody does behind the ledger's back.
func sql(statement string) act {
	return func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, statement)
		return err
	}
}

const (
	anEarning = `INSERT INTO ledger_transactions (id, event, currency, source, dated) VALUES (1001, 'earning', 'usd', 's', '2026-11-20');`
	itsDebit  = `INSERT INTO ledger_entries (transaction_id, event, account, currency, amount, dated) VALUES (1001, 'earning', 'app', 'usd', 100, '2026-11-20');`
)

func itsCredit(amount, currency, dated, event string) string {
	return `INSERT INTO ledger_entries (transaction_id, event, account, owner, currency, amount, dated)
		VALUES (1001, '` + event + `', 'payee', 'u_ada', '` + currency + `', ` + amount + `, '` + dated + `');`
}

func TestTheDatabaseRefusesWhatDoesNotSumToZero(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, statement := range map[string]string{
		"no entries":              anEarning,
		"one side":                anEarning + itsDebit,
		"a cent too little":       anEarning + itsDebit + itsCredit("-99", "usd", "2026-11-20", "earning"),
		"in two currencies":       anEarning + itsDebit + itsCredit("-100", "eur", "2026-11-20", "earning"),
		"of two dates":            anEarning + itsDebit + itsCredit("-100", "usd", "2026-11-21", "earning"),
		"of another event":        anEarning + itsDebit + itsCredit("-100", "usd", "2026-11-20", "release"),
		"an entry of nothing":     anEarning + itsDebit + itsCredit("0", "usd", "2026-11-20", "earning"),
		"an entry of no account":  anEarning + itsDebit + `INSERT INTO ledger_entries (transaction_id, event, account, currency, amount, dated) VALUES (1001, 'earning', 'gift', 'usd', -100, '2026-11-20')`,
		"a payee without a name":  anEarning + itsDebit + `INSERT INTO ledger_entries (transaction_id, event, account, currency, amount, dated) VALUES (1001, 'earning', 'payee', 'usd', -100, '2026-11-20')`,
		"a platform without rail": anEarning + itsDebit + `INSERT INTO ledger_entries (transaction_id, event, account, currency, amount, dated) VALUES (1001, 'earning', 'platform', 'usd', -100, '2026-11-20')`,
	} {
		var refused *pgconn.PgError
		require.ErrorAs(t, b.try(t, sql(statement)), &refused, name)
		require.Equal(t, "23514", refused.Code, "%s: %v", name, refused)
	}
	require.Empty(t, b.entries(t))

	b.do(t, sql(anEarning+itsDebit+itsCredit("-100", "usd", "2026-11-20", "earning")))
	require.Len(t, b.entries(t), 2)
	var refused *pgconn.PgError
	later := `INSERT INTO ledger_entries (transaction_id, event, account, currency, amount, dated) VALUES (1001, 'earning', 'fees', 'usd', -1, '2026-11-20')`
	require.ErrorAs(t, b.try(t, sql(later)), &refused, "an entry that comes later")
	require.Equal(t, "ledger_sums_to_zero", refused.ConstraintName)
}

func TestWhatIsPostedStays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.do(t, earning(ada, usd(10000), friday, "1"))
	for _, statement := range []string{
		`UPDATE ledger_entries SET amount = amount * 2`, `DELETE FROM ledger_entries`, `TRUNCATE ledger_entries`,
		`UPDATE ledger_transactions SET dated = '2026-11-21'`, `DELETE FROM ledger_transactions`, `TRUNCATE ledger_transactions, ledger_entries`,
	} {
		require.ErrorContains(t, b.try(t, sql(statement)), "kept for ever", statement)
	}
	require.Equal(t, []string{"earning: app 100.00", "earning: payee u_ada -100.00"}, b.entries(t))
}

// However often and under whatever epoch somebody says so, a payout's money moves once.
func TestAPayoutsMoneyMovesOnce(t *testing.T) {
	t.Parallel()
	second := p
	second.Epoch = 2
	transferred, sent := paidByStripe[:2], paidByStripe[:3]
	for name, c := range map[string]struct {
		before []act
		refuse act
	}{
		"transferred again":           {transferred, on(second, ledger.TransferConfirmed)},
		"sent again":                  {sent, on(second, ledger.PayoutConfirmed)},
		"sent before its transfer":    {[]act{claim(p)}, on(p, ledger.PayoutConfirmed)},
		"transferred without a claim": {nil, on(p, ledger.TransferConfirmed)},
		"paid again":                  {paidByStripe, on(second, ledger.Paid)},
		"paid before it was sent":     {transferred, on(p, ledger.Paid)},
		"released without a claim":    {nil, ending(p, ledger.Release)},
		"released under way":          {sent, ending(p, ledger.Release)},
		"released on the account":     {transferred, ending(p, ledger.Release)},
		"released when paid":          {paidByStripe, ending(p, ledger.Release)},
		"reversed under way":          {sent, reversed(p, usd(9708))},
		"returned before it was paid": {sent, on(p, ledger.Returned)},
		"returned before paid, without a fee": {
			[]act{claim(standard), on(standard, ledger.TransferConfirmed), on(standard, ledger.PayoutConfirmed)}, on(standard, ledger.Returned),
		},
		"returned twice":            {slices.Concat(paidByStripe, []act{on(p, ledger.Returned)}), on(second, ledger.Returned)},
		"paid when released":        {[]act{claim(p), ending(p, ledger.Release)}, on(p, ledger.Paid)},
		"transferred when released": {[]act{claim(p), ending(p, ledger.Release)}, on(p, ledger.TransferConfirmed)},
		"taken back before paid":    {[]act{claim(byPayPal), on(byPayPal, ledger.ItemAccepted)}, ending(byPayPal, ledger.ItemReversed)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.do(t, c.before...)
			before := b.entries(t)

			var refused *pgconn.PgError
			require.ErrorAs(t, b.try(t, c.refuse), &refused)
			require.Equal(t, "ledger_payout_holds", refused.ConstraintName)
			require.Equal(t, before, b.entries(t))
		})
	}
}

// What came back may go out again, under a higher epoch.
func TestAPayoutIsSentAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	second := p
	second.Epoch = 2
	b.do(t, paidByStripe...)
	b.do(t, on(p, ledger.Returned), on(second, ledger.PayoutConfirmed), on(second, ledger.Paid))
	require.EqualValues(t, 292, b.balance(t, ledger.FeesAccount()))
	require.EqualValues(t, -9708, b.balance(t, ledger.PlatformAccount(ledger.Stripe)))
	require.Zero(t, b.balance(t, ledger.InPayoutAccount(ada)))
}

func TestReleaseTellsWhetherItWasTheOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.do(t, claim(p))
	higher := p
	higher.Epoch = 7
	var released []bool
	for _, p := range []ledger.Payout{p, p, higher} {
		b.do(t, func(ctx context.Context, tx pgx.Tx) error {
			now, err := ledger.Release(ctx, tx, p, friday)
			released = append(released, now)
			return err
		})
	}
	require.Equal(t, []bool{true, false, false}, released)
	require.EqualValues(t, 0, b.balance(t, ledger.PayeeAccount(ada)))
}

// Many at once post the same, and each believes to be the first.
func TestTheSamePostedByManyAtOnceIsPostedOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	second := p
	second.ID = "po_2"
	const many = 8
	atOnce := func(do func(ctx context.Context, tx pgx.Tx) error) {
		t.Helper()
		var group errgroup.Group
		for range many {
			group.Go(func() error {
				return postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error { return do(t.Context(), tx) })
			})
		}
		require.NoError(t, group.Wait())
	}
	atOnce(earning(ada, usd(20000), friday, "1"))
	atOnce(claim(p, second))
	atOnce(on(p, ledger.TransferConfirmed))
	var released atomic.Int64
	atOnce(func(ctx context.Context, tx pgx.Tx) error {
		now, err := ledger.ReversalConfirmed(ctx, tx, p, usd(9708), friday)
		if now {
			released.Add(1)
		}
		return err
	})
	require.EqualValues(t, 1, released.Load())
	require.Equal(t, []string{
		"earning: app 200.00", "earning: payee u_ada -200.00",
		"claim: payee u_ada 100.00", "claim: in_payout u_ada -100.00",
		"claim: payee u_ada 100.00", "claim: in_payout u_ada -100.00",
		"transfer: acct acct_ada 97.08", "transfer: platform stripe -97.08",
		"reversal: platform stripe 97.08", "reversal: acct acct_ada -97.08",
		"release: in_payout u_ada 100.00", "release: payee u_ada -100.00",
	}, b.entries(t))
}

func TestTheSamePostedOtherwiseIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.do(t, earning(ada, usd(10000), friday, "1"), claim(p), on(p, ledger.TransferConfirmed))
	other := p
	other.Fee = usd(0)
	for name, do := range map[string]act{
		"another amount":               earning(ada, usd(10001), friday, "1"),
		"another currency":             earning(ada, money.New(10000, "eur"), friday, "1"),
		"another event of the same":    refund(ada, usd(10000), friday, "1"),
		"another gross":                claim(ledger.Payout{ID: p.ID, PayeeID: ada, Rail: ledger.PayPal, Gross: usd(1), Fee: usd(0)}),
		"another payee's":              claim(ledger.Payout{ID: p.ID, PayeeID: grace, Rail: ledger.PayPal, Gross: p.Gross, Fee: p.Fee}),
		"another net":                  on(other, ledger.TransferConfirmed),
		"the source of something else": adjustment(grace, 5, "earning/u_ada/1"),
	} {
		require.ErrorIs(t, b.try(t, do), ledger.ErrPostedOtherwise, name)
	}
	b.do(t, earning(ada, usd(10000), friday.AddDays(1), "1")) // the same, repeated on another day
	require.Len(t, b.entries(t), 6)
}

func TestWhatIsNoSumOfMoneyIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.do(t, claim(p), on(p, ledger.TransferConfirmed))
	broken := p
	broken.Fee = usd(20000)
	changed := func(change func(*ledger.Payout)) act {
		p := p
		p.ID = "po_2"
		change(&p)
		return claim(p)
	}
	for name, c := range map[string]struct {
		do   act
		says string
	}{
		"an earning of nothing":           {earning(ada, usd(0), friday, "1"), "must be positive"},
		"an earning below zero":           {earning(ada, usd(-1), friday, "1"), "must be positive"},
		"a refund below zero":             {refund(ada, usd(-1), friday, "1"), "must be positive"},
		"an adjustment of nothing":        {adjustment(ada, 0, "c"), "no amount"},
		"an adjustment without end":       {adjustment(ada, math.MinInt64, "c"), "too large"},
		"an earning of no date":           {earning(ada, usd(1), date.Date{}, "1"), "no date"},
		"an adjustment of no source":      {adjustment(ada, 1, ""), "neither a payout nor a source"},
		"a fee below zero":                {changed(func(p *ledger.Payout) { p.Fee = usd(-1) }), "does not go with"},
		"a fee of everything":             {changed(func(p *ledger.Payout) { p.Fee = p.Gross }), "does not go with"},
		"a fee in another currency":       {changed(func(p *ledger.Payout) { p.Fee = money.New(1, "eur") }), "different currencies"},
		"a gross of nothing":              {changed(func(p *ledger.Payout) { p.Gross, p.Fee = usd(0), usd(0) }), "does not go with"},
		"a payout of nobody":              {changed(func(p *ledger.Payout) { p.PayeeID = "" }), "an id is empty"},
		"a payout without an account":     {changed(func(p *ledger.Payout) { p.AccountID = "" }), "connected account"},
		"a payout by pigeon":              {changed(func(p *ledger.Payout) { p.Rail = "pigeon" }), "not a rail"},
		"a transfer below zero":           {on(broken, ledger.TransferConfirmed), "does not go with"},
		"received in another currency":    {reversed(p, money.New(9708, "eur")), "different currencies"},
		"received less than nothing":      {reversed(p, usd(-1)), "cannot be"},
		"resolved with less than nothing": {resolvedFailed(p, usd(-1)), "cannot be"},
	} {
		require.ErrorContains(t, b.try(t, c.do), c.says, name)
	}
	require.Len(t, b.entries(t), 4)
	b.do(t, claim()) // of nothing at all
	require.Len(t, b.entries(t), 4)
}
