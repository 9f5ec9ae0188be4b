package payout_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
)

// instant makes ada a payee who can be paid instantly, with so much available.
func (b bundle) instant(t *testing.T, minor int64) {
	t.Helper()
	id := b.one(t)
	b.live(t, id, "start", "transfer", "payout", "paid")
	if minor > 0 {
		b.earn(t, ada, "available", payout.Sale, minor, "2026-03-09")
	}
}

func (b bundle) request(t *testing.T, id string, amount *money.Amount, quoted int64) ([]payout.Payout, bool, error) {
	t.Helper()
	return b.store.RequestInstant(t.Context(), ada, id, amount, cents(quoted))
}

func (b bundle) requested(t *testing.T) string {
	t.Helper()
	return b.read(t, `SELECT count(*) FROM payouts WHERE kind = 'manual'`)
}

// 100.00 gross pays 97.08 for a fee of 2.92.
func TestAnInstantPayoutOnRequest(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.instant(t, 10_000)

	made, created, err := b.request(t, "m_1", nil, 9_708)

	require.NoError(t, err)
	require.True(t, created)
	require.Len(t, made, 1)
	require.Equal(t, payout.Terms{Gross: cents(10_000), Fee: cents(292), Net: cents(9_708)}, made[0].Terms)
	require.Equal(t, []any{payout.Manual, "m_1", payout.MethodInstant, "ba_1"}, []any{made[0].Kind, made[0].ManualID, made[0].Method, made[0].DestinationID})
	require.Equal(t, "1", b.read(t, `SELECT count(*) FROM outbox WHERE key = $1`, "start/"+made[0].ID))
	again, created, err := b.request(t, "m_1", nil, 9_708)
	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, made, again)
	b.live(t, made[0].ID, "start", "transfer", "payout", "paid")
	b.sound(t)
}

func TestARequestIsCarriedOutOnceHoweverManySendIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.instant(t, 10_000)
	var all errgroup.Group
	for range 6 {
		all.Go(func() error {
			_, _, err := b.store.RequestInstant(t.Context(), ada, "m_1", nil, cents(9_708))
			return err
		})
	}
	require.NoError(t, all.Wait())
	require.Equal(t, "1", b.requested(t))
	b.sound(t)
}

// A run and a request for the same money at the same time: one of them gets it.
func TestARunAndARequestClaimDisjointMoney(t *testing.T) {
	t.Parallel()
	for range 5 {
		b := setup(t)
		b.instant(t, 0)
		b.earn(t, ada, "sale2", payout.Sale, 10_000, "2026-03-06")
		on := b.begin(t, nextFriday)
		var all errgroup.Group
		all.Go(func() error { return b.compute(t.Context(), on, 1) })
		all.Go(func() error {
			_, _, err := b.store.RequestInstant(t.Context(), ada, "m_1", nil, cents(9_708))
			if skipped := new(payout.SkipError); errors.As(err, &skipped) {
				return nil
			}
			return err
		})
		require.NoError(t, all.Wait())
		require.Equal(t, "1", b.read(t, `SELECT count(*) FROM payouts WHERE state = 'planned'`))
		require.Zero(t, b.balance(t, ada))
		b.sound(t)
	}
}

// 25,000.00 are more than one instant payout may be: three parts, which cost and pay what the whole would.
func TestARequestAboveTheCapIsSplit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.instant(t, 2_500_000)
	whole := payout.DefaultPolicy().Terms(payout.MethodInstant, "US", cents(2_500_000))

	made, _, err := b.request(t, "m_1", nil, whole.Net.Minor)

	require.NoError(t, err)
	require.Len(t, made, 3)
	var gross, fee, net int64
	for i, p := range made {
		require.Equal(t, i+1, p.Part)
		require.LessOrEqual(t, p.Net.Minor, int64(999_900))
		gross, fee, net = gross+p.Gross.Minor, fee+p.Fee.Minor, net+p.Net.Minor
	}
	together := payout.Terms{Gross: cents(gross), Fee: cents(fee), Net: cents(net)}
	require.Equal(t, whole, together)
	require.Zero(t, b.balance(t, ada))
	b.live(t, made[0].ID, "start", "transfer", "payout", "paid")
	b.live(t, made[1].ID, "start", "refuse")
	b.live(t, made[2].ID, "start", "transfer", "payout")
	require.Equal(t, made[1].Gross.Minor, b.balance(t, ada))
	b.sound(t)
}

func TestAPartOfWhatIsAvailable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.instant(t, 10_000)
	amount := cents(5_150)
	made, _, err := b.request(t, "m_1", &amount, 5_000)
	require.NoError(t, err)
	require.Equal(t, cents(5_150), made[0].Gross)
	require.Equal(t, int64(4_850), b.balance(t, ada))

	_, _, err = b.request(t, "m_1", &amount, 5_001)
	require.ErrorIs(t, err, payout.ErrRequestConflict)
	_, _, err = b.request(t, "m_1", nil, 5_000)
	require.ErrorIs(t, err, payout.ErrRequestConflict)
	other := cents(5_149)
	_, _, err = b.request(t, "m_1", &other, 5_000)
	require.ErrorIs(t, err, payout.ErrRequestConflict)
}

func TestAStaleQuoteIsAnsweredWithTheNewOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.instant(t, 10_000)
	b.earn(t, ada, "refund", payout.Refund, 1_000, "2026-03-10")

	_, _, err := b.request(t, "m_1", nil, 9_708)

	var stale *payout.QuoteError
	require.ErrorAs(t, err, &stale)
	require.Equal(t, payout.Terms{Gross: cents(9_000), Fee: cents(263), Net: cents(8_737)}, stale.Quote)
	require.Equal(t, "0", b.requested(t))
	_, _, err = b.request(t, "m_1", nil, stale.Quote.Net.Minor)
	require.NoError(t, err, "the id was not used up")
}

func TestRequestsThatAreNotPaid(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.instant(t, 10_000)
	for _, no := range []struct {
		amount int64
		reason payout.Reason
	}{
		{10_001, payout.BecauseAboveAvailable}, {102, payout.BecauseBelowMinimum}, {0, payout.BecauseAmountNotPositive}, {-1, payout.BecauseAmountNotPositive},
	} {
		amount := cents(no.amount)
		_, _, err := b.request(t, "m_1", &amount, 1)
		var skipped *payout.SkipError
		require.ErrorAs(t, err, &skipped)
		require.Equal(t, no.reason, skipped.Reason)
	}
	for field, send := range map[string]func() error{
		"id": func() error {
			_, _, err := b.request(t, "not an id", nil, 9_708)
			return err
		},
		"quoted_net": func() error {
			_, _, err := b.store.RequestInstant(t.Context(), ada, "m_1", nil, money.New(9_708, "eur"))
			return err
		},
	} {
		var wrong *customer.FieldError
		require.ErrorAs(t, send(), &wrong)
		require.Equal(t, field, wrong.Field)
	}
	_, _, err := b.store.RequestInstant(t.Context(), grace, "m_1", nil, cents(9_708))
	require.ErrorIs(t, err, payout.ErrNoPayee)
	b.exec(t, `UPDATE payees SET destination_changed_at = now() - interval '71 hours'`)
	_, _, err = b.request(t, "m_1", nil, 9_708)
	var skipped *payout.SkipError
	require.ErrorAs(t, err, &skipped)
	require.Equal(t, payout.BecauseDestinationChanged, skipped.Reason)
	require.Equal(t, "0", b.requested(t))
	require.Equal(t, int64(10_000), b.balance(t, ada))
	b.sound(t)
}
