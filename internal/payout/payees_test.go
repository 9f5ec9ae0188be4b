package payout_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
)

// requireField holds an error to naming a field and quoting nothing.
func requireField(t *testing.T, err error, field string) {
	t.Helper()
	var wrong *customer.FieldError
	require.ErrorAs(t, err, &wrong)
	require.Equal(t, field, wrong.Field)
	require.NotContains(t, err.Error(), "@")
}

func TestAPayeeIsACustomer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, _, err := b.store.PutPayee(t.Context(), profile(ada))
	require.ErrorIs(t, err, customer.ErrNotFound)
	b.signUp(t, ada)

	made, created, err := b.store.PutPayee(t.Context(), profile(ada))

	require.NoError(t, err)
	require.True(t, created)
	require.Equal(t, profile(ada), made.Profile)
	require.Equal(t, made, b.payee(t, ada))
	_, err = payout.GetPayee(t.Context(), b.pool, grace)
	require.ErrorIs(t, err, payout.ErrNoPayee)
}

func TestAConnectedAccountIsOnePayeesAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada)
	b.signUp(t, grace)
	taken := profile(grace)
	taken.StripeAccountID = profile(ada).StripeAccountID

	_, _, err := b.store.PutPayee(t.Context(), taken)
	requireField(t, err, "stripe_account_id")
	_, _, err = b.store.PutPayee(t.Context(), profile(grace))
	require.NoError(t, err)
	_, _, err = b.store.PutPayee(t.Context(), taken)
	requireField(t, err, "stripe_account_id")
	require.Equal(t, profile(grace), b.payee(t, grace).Profile)
}

func TestANewDestinationBeginsAnew(t *testing.T) {
	t.Parallel()
	changes := map[string]func(*payout.Profile){
		"another account": func(p *payout.Profile) { p.StripeAccountID = "acct_new" },
		"no account":      func(p *payout.Profile) { p.StripeAccountID = "" },
		"another rail":    func(p *payout.Profile) { p.Rail, p.PayPalEmail = payout.RailPayPal, "ada@example.com" },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.enroll(t, ada)
			long := b.refused(t)
			changed := profile(ada)
			change(&changed)

			after, created, err := b.store.PutPayee(t.Context(), changed)

			require.NoError(t, err)
			require.False(t, created)
			require.Equal(t, changed, after.Profile)
			require.True(t, after.DestinationChangedAt.After(long))
			require.Zero(t, after.Rejections)
			require.Empty(t, after.DestinationID)
			require.Equal(t, []payout.Source{payout.SourceOperator}, b.pausedBy(t), "the pause that the old one brought is over, and no other")
		})
	}
}

// refused makes ada a payee whose destination was refused so often that they are paused, and operators paused
// them too. It gives the time at which the destination was changed.
func (b bundle) refused(t *testing.T) time.Time {
	t.Helper()
	long := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b.exec(t, `UPDATE payees SET rejections = 3, destination_id = 'ba_1', destination_changed_at = $2 WHERE id = $1`, ada, long)
	b.pause(t, payout.Pause{PayeeID: ada, Source: payout.SourceSystem, Reason: payout.PauseRejections})
	b.pause(t, payout.Pause{PayeeID: ada, Source: payout.SourceOperator, Actor: "olga"})
	return long
}

func TestWhatIsNoDestinationChangesWithoutAWait(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada)
	long := b.refused(t)
	changed := profile(ada)
	changed.Email, changed.PayPalEmail, changed.Schedule, changed.Minimum = "new@example.com", "new@example.com", payout.Quarterly, 5_000

	after, _, err := b.store.PutPayee(t.Context(), changed)

	require.NoError(t, err)
	require.Equal(t, changed, after.Profile)
	require.Equal(t, long, after.DestinationChangedAt)
	require.Equal(t, 3, after.Rejections)
	require.Len(t, b.pausedBy(t), 2)
}

func TestCurrencyStaysWhileMoneyIsOnItsWay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada)
	b.earn(t, ada, "e_1", payout.Sale, 1_000, "2026-03-01")
	claimed := ledger.Payout{ID: "po_1", PayeeID: ada, Rail: ledger.Stripe, AccountID: "acct_ada", Gross: cents(1_000), Fee: cents(0)}
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		return ledger.Claim(ctx, tx, civil(t, "2026-03-13"), claimed)
	})
	other := profile(ada)
	other.Currency = "eur"

	_, _, err := b.store.PutPayee(t.Context(), other)

	var busy *payout.BusyError
	require.ErrorAs(t, err, &busy, "the balance is zero, and yet it is open")
	require.Equal(t, "currency", busy.Field)
	require.Equal(t, profile(ada), b.payee(t, ada).Profile)
}

// An earning and a change of the currency at once: whichever is first, the other is refused.
func TestAnEarningAndANewCurrencyDoNotPassEachOther(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada)
	other := profile(ada)
	other.Currency = "eur"
	for range 20 {
		changed := make(chan error, 1)
		go func() {
			_, _, err := b.store.PutPayee(t.Context(), other)
			changed <- err
		}()
		_, _, err := b.store.PutEarning(t.Context(), ada, payout.Earning{ID: "e_1", Kind: payout.Sale, Amount: cents(1), OccurredAt: civil(t, "2026-03-01").Time()})
		if err != nil {
			requireField(t, err, "currency")
			require.NoError(t, <-changed)
			require.Equal(t, "0", b.read(t, `SELECT count(*) FROM earnings`))
		} else {
			require.Error(t, <-changed)
			require.Equal(t, "0", b.read(t, `SELECT count(*) FROM earnings e JOIN payees p ON p.id = e.payee_id WHERE p.currency <> e.currency`))
			return
		}
		_, _, err = b.store.PutPayee(t.Context(), profile(ada))
		require.NoError(t, err)
	}
}

func (b bundle) pause(t *testing.T, p payout.Pause) {
	t.Helper()
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.Pause(ctx, tx, p) })
}

// pausedBy are the sources of ada's pauses.
func (b bundle) pausedBy(t *testing.T) (sources []payout.Source) {
	t.Helper()
	pauses, err := payout.ListPauses(t.Context(), b.pool, ada)
	require.NoError(t, err)
	for _, p := range pauses {
		sources = append(sources, p.Source)
	}
	return sources
}

func TestOneSourceCannotLiftAnothersPause(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada)
	all := []payout.Source{payout.SourcePayee, payout.SourceOperator, payout.SourceProvider, payout.SourceSystem}
	for _, source := range all {
		b.pause(t, payout.Pause{PayeeID: ada, Source: source})
	}
	for i, source := range all {
		b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.Resume(ctx, tx, ada, source) })
		require.ElementsMatch(t, all[i+1:], b.pausedBy(t))
	}
	require.Equal(t, "8", b.read(t, `SELECT count(*) FROM changes WHERE type = 'pause.changed' AND customer_id = $1`, ada))
}

func TestAPauseTwiceIsOneAndKeepsItsBeginning(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada)
	b.pause(t, payout.Pause{PayeeID: ada, Source: payout.SourceOperator, Actor: "olga", Note: "first"})
	before, err := payout.ListPauses(t.Context(), b.pool, ada)
	require.NoError(t, err)
	b.pause(t, payout.Pause{PayeeID: ada, Source: payout.SourceOperator, Actor: "otto", Note: "second"})
	after, err := payout.ListPauses(t.Context(), b.pool, ada)
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.Equal(t, "pause.changed,payee.payouts_paused", b.read(t, `SELECT string_agg(type, ',' ORDER BY seq) FROM changes`))

	err = postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
		return b.store.Pause(t.Context(), tx, payout.Pause{PayeeID: grace, Source: payout.SourcePayee})
	})
	require.ErrorIs(t, err, payout.ErrNoPayee)
	require.ErrorIs(t, b.store.ResumeByOperator(t.Context(), grace, "olga", ""), payout.ErrNoPayee)
	require.Equal(t, "0", b.read(t, `SELECT count(*) FROM operator_actions`), "what was not done is not recorded")
}

func TestRepeatedNotesAreOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada, grace)
	say := func(payee, on, code, detail string) payout.Said {
		return payout.Said{PayeeID: payee, Code: code, Detail: detail, Date: civil(t, on)}
	}
	for _, said := range [][]payout.Said{
		{say(grace, "2026-11-13", "funding", "g1"), say(ada, "2026-11-13", "below_minimum", "a1")},
		{say(ada, "2026-11-13", "below_minimum", "a1 again")}, // the same work done twice
		{say(ada, "2026-11-20", "below_minimum", "a2"), say(ada, "2026-11-20", "funding", "f1"), say(ada, "2026-11-20", "funding", "f2")},
		{say(ada, "2026-11-06", "below_minimum", "late")}, // a missed day
		nil,
	} {
		b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.Notes(ctx, tx, said) })
	}

	notes, err := payout.ListNotes(t.Context(), b.pool, ada)

	require.NoError(t, err)
	require.ElementsMatch(t, []payout.Note{
		{PayeeID: ada, Code: "below_minimum", Detail: "a2", FirstDate: civil(t, "2026-11-06"), LastDate: civil(t, "2026-11-20"), Times: 3},
		{PayeeID: ada, Code: "funding", Detail: "f2", FirstDate: civil(t, "2026-11-20"), LastDate: civil(t, "2026-11-20"), Times: 1},
	}, notes)
	require.Equal(t, "1", b.read(t, `SELECT count(*) FROM payee_notes WHERE payee_id = $1`, grace))
}

func (b bundle) see(t *testing.T, a payout.Account) {
	t.Helper()
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.PutAccountSnapshot(ctx, tx, a) })
}

func TestAnotherBankIsANewDestination(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada)
	asOf := time.Date(2026, 11, 20, 7, 0, 0, 0, time.UTC)
	first := account(asOf)
	b.see(t, first)
	require.Equal(t, "ba_1", b.payee(t, ada).DestinationID)
	long := b.refused(t)

	same := account(asOf.Add(time.Hour))
	same.Negative = true
	b.see(t, same)
	require.Equal(t, long, b.payee(t, ada).DestinationChangedAt)
	known, ok, err := payout.GetAccount(t.Context(), b.pool, ada)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, same, known)

	other := account(asOf.Add(2 * time.Hour))
	other.ExternalAccountID = "ba_2"
	b.see(t, other)
	after := b.payee(t, ada)
	require.Equal(t, "ba_2", after.DestinationID)
	require.True(t, after.DestinationChangedAt.After(long))
	require.Zero(t, after.Rejections)
	require.Equal(t, []payout.Source{payout.SourceOperator}, b.pausedBy(t))

	b.see(t, first)
	known, _, err = payout.GetAccount(t.Context(), b.pool, ada)
	require.NoError(t, err)
	require.Equal(t, other, known, "an older look tells nothing new")
	require.Equal(t, "ba_2", b.payee(t, ada).DestinationID)
}

func TestALookAtAnAccountThatIsNoLongerThePayeesIsLeftAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada)
	asOf := time.Date(2026, 11, 20, 7, 0, 0, 0, time.UTC)
	stray := account(asOf)
	stray.StripeAccountID = "acct_old"
	b.see(t, stray)
	_, known, err := payout.GetAccount(t.Context(), b.pool, ada)
	require.NoError(t, err)
	require.False(t, known)
	require.Empty(t, b.payee(t, ada).DestinationID)

	// The account goes from one payee to another: what the first had seen of it is not the second's.
	b.see(t, account(asOf))
	left := profile(ada)
	left.StripeAccountID = ""
	_, _, err = b.store.PutPayee(t.Context(), left)
	require.NoError(t, err)
	b.signUp(t, grace)
	taker := profile(grace)
	taker.StripeAccountID = profile(ada).StripeAccountID
	_, _, err = b.store.PutPayee(t.Context(), taker)
	require.NoError(t, err)
	_, known, err = payout.GetAccount(t.Context(), b.pool, grace)
	require.NoError(t, err)
	require.False(t, known)
	seen := account(asOf.Add(-time.Hour))
	seen.PayeeID = grace
	b.see(t, seen)
	_, known, err = payout.GetAccount(t.Context(), b.pool, grace)
	require.NoError(t, err)
	require.True(t, known)

	err = postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
		return b.store.PutAccountSnapshot(t.Context(), tx, payout.Account{PayeeID: "u_nobody"})
	})
	require.ErrorIs(t, err, payout.ErrNoPayee)
}
