package payout_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/payout"
)

// lives posts what became of four payouts of a payee's: paid, under way, released, and paid with a
// part of it given back.
func (b bundle) lives(t *testing.T, payeeID string) {
	t.Helper()
	made := func(id string, gross int64) ledger.Payout {
		return ledger.Payout{ID: "po_" + payeeID + id, PayeeID: payeeID, Rail: ledger.PayPal, Gross: cents(gross), Fee: cents(0)}
	}
	paid, open, released := made("1", 10_000), made("2", 8_000), made("3", 2_000)
	on, later := civil(t, "2026-03-13"), civil(t, "2026-03-20")
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return ledger.Claim(ctx, tx, on, paid, open, released) })
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		if err := ledger.ItemAccepted(ctx, tx, paid, on); err != nil {
			return err
		}
		return ledger.Paid(ctx, tx, paid, on)
	})
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		_, err := ledger.Release(ctx, tx, released, later)
		return err
	})
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		return ledger.ItemPartlyReversed(ctx, tx, paid, cents(500), later, "paypal/"+payeeID)
	})
}

func (b bundle) facts(t *testing.T, runDate string, ids ...string) map[string]payout.Facts {
	t.Helper()
	facts, err := payout.LoadFacts(t.Context(), b.pool, ids, civil(t, runDate))
	require.NoError(t, err)
	return facts
}

func TestFactsOfAPayeeOfWhomNothingIsKnown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	p := profile(ada)
	p.StripeAccountID, p.Minimum = "", 2_500
	_, _, err := b.store.PutPayee(t.Context(), p)
	require.NoError(t, err)
	b.exec(t, `UPDATE payees SET created_at = '2026-11-19T23:59:59Z', destination_changed_at = '2026-11-19T23:59:59Z'`)

	all := b.facts(t, "2026-11-20", ada, grace)

	require.Len(t, all, 1, "who is no payee is left out")
	f := all[ada]
	require.Equal(t, cents(0), f.Payable(civil(t, "2026-11-13")))
	f.Payable = nil
	require.Equal(t, payout.Facts{
		AsOf: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC), Frequency: payout.Weekly, Currency: "usd", Country: "US", Rail: payout.RailStripe,
		Minimum: cents(2_500), Compliant: true, LastCycle: civil(t, "2026-11-18"),
		Stripe: payout.StripeDestination{ChangedAt: time.Date(2026, 11, 19, 23, 59, 59, 0, time.UTC)},
	}, f)
	_, err = payout.LoadFactsOf(t.Context(), b.pool, grace, time.Now())
	require.ErrorIs(t, err, payout.ErrNoPayee)
}

func TestFactsOfAPayeeOfWhomMuchIsKnown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada, grace)
	changed := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	until := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	seen := account(time.Date(2026, 11, 20, 7, 0, 0, 0, time.UTC))
	seen.ExternalErrored, seen.Negative = true, true
	b.see(t, seen)
	b.exec(t, `UPDATE payees SET destination_changed_at = $2, instant_refused_until = $3, last_cycle = '2026-11-13' WHERE id = $1`, ada, changed, until)
	b.pause(t, payout.Pause{PayeeID: ada, Source: payout.SourcePayee})
	b.pause(t, payout.Pause{PayeeID: ada, Source: payout.SourceOperator})
	b.stored(t, ada, "paid", "ba_1")
	b.stored(t, ada, "held", "ba_1")

	f := b.facts(t, "2026-11-20", ada, grace)[ada]

	f.Payable = nil
	require.Equal(t, payout.Facts{
		AsOf: time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC), Frequency: payout.Weekly, Currency: "usd", Country: "US", Rail: payout.RailStripe,
		Minimum: cents(0), Compliant: true, LastCycle: civil(t, "2026-11-13"), OpenPayout: true,
		Pauses: []payout.Source{payout.SourceOperator, payout.SourcePayee},
		Stripe: payout.StripeDestination{
			Linked: true, Checked: true, External: true, ExternalErrored: true, ManualSchedule: true, PayoutsEnabled: true, BalanceNegative: true,
			Currency: "usd", ExternalCurrency: "usd", OffersInstant: true, PaidBefore: true, ChangedAt: changed, InstantRefusedUntil: until,
		},
	}, f)
	other := b.facts(t, "2026-11-20", ada, grace)[grace]
	require.False(t, other.OpenPayout)
	require.Empty(t, other.Pauses)
	require.True(t, other.Stripe.Linked)
	require.False(t, other.Stripe.Checked)

	b.exec(t, `UPDATE payees SET destination_id = 'ba_2'`)
	require.False(t, b.facts(t, "2026-11-20", ada)[ada].Stripe.PaidBefore, "it was paid to another bank")
	b.exec(t, `UPDATE payouts SET blocks = false`)
	require.False(t, b.facts(t, "2026-11-20", ada)[ada].OpenPayout, "it keeps the next one back no longer")
}

// stored is a payout that has come to a state by whatever path.
func (b bundle) stored(t *testing.T, payeeID, state, destination string) {
	t.Helper()
	id := "po_" + strings.Repeat("x", 24-len(state)) + state
	b.exec(t, `INSERT INTO payout_requests (payee_id, id, currency, quoted_net) VALUES ($1, $2, 'usd', 1)`, payeeID, id)
	b.exec(t, `INSERT INTO payouts (id, payee_id, kind, manual_id, method, currency, gross, fee, net, period_end, due_date, stripe_account_id, destination_id)
		VALUES ($1, $2, 'manual', $1, 'stripe_instant', 'usd', 1, 0, 1, '2026-11-01', '2026-11-01', $3, $4)`,
		id, payeeID, profile(payeeID).StripeAccountID, destination)
	b.exec(t, `UPDATE payouts SET state = 'sending' WHERE id = $1`, id)
	b.exec(t, `UPDATE payouts SET state = $2, transfer_id = 'tr_' || $1::text, provider_payout_id = 'po_at_' || $1::text WHERE id = $1`, id, state)
}

// What facts say of any cutoff that a run asks for is what the ledger says of it alone.
func TestFactsKnowWhatIsPayableAsTheLedgerDoes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		id := fmt.Sprintf("u_%d", n)
		b.signUp(t, id)
		p := profile(id)
		p.Schedule = rapid.SampledFrom(payout.Frequencies()).Draw(r, "schedule")
		_, _, err := b.store.PutPayee(t.Context(), p)
		require.NoError(t, err)
		first := civil(t, "2026-03-01")
		for i := range rapid.IntRange(0, 12).Draw(r, "earnings") {
			on := first.AddDays(rapid.IntRange(0, 200).Draw(r, "day"))
			kind := rapid.SampledFrom([]payout.EarningKind{payout.Sale, payout.Sale, payout.Refund}).Draw(r, "kind")
			b.earn(t, id, fmt.Sprint("e_", i), kind, rapid.Int64Range(1, 100_000).Draw(r, "amount"), on.String())
		}
		if rapid.Bool().Draw(r, "payouts") {
			b.lives(t, id)
		}
		runDate := first.AddDays(rapid.IntRange(0, 250).Draw(r, "run"))
		run := b.facts(t, runDate.String(), id)[id]
		exact, err := payout.LoadFactsOf(t.Context(), b.pool, id, runDate.Time())
		require.NoError(t, err)

		asked := []date.Date{runDate, runDate.AddDays(-1), runDate.AddDays(7)}
		for _, frequency := range []payout.Frequency{p.Schedule, payout.Weekly} {
			cycles := payout.DueCycles(frequency, first, runDate)
			if len(cycles) > 0 {
				asked = append(asked, cycles[len(cycles)-1].CoversThrough)
			}
		}
		for _, through := range asked {
			want, err := ledger.Payable(t.Context(), b.pool, id, "usd", through)
			require.NoError(t, err)
			require.Equal(t, want, run.Payable(through), "through %s", through)
		}
		for range 5 {
			through := first.AddDays(rapid.IntRange(-10, 260).Draw(r, "through"))
			want, err := ledger.Payable(t.Context(), b.pool, id, "usd", through)
			require.NoError(t, err)
			require.Equal(t, want, exact.Payable(through), "through %s", through)
			require.LessOrEqual(t, run.Payable(through).Minor, want.Minor, "what a run does not know it does not pay")
		}
	})
}
