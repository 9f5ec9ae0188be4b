package payout_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/payout"
)

// payoutID is an id of a payout's form that ends in a letter.
func payoutID(letter string) string { return "po_" + strings.Repeat("0", 23) + letter }

// hold stores a payout that is held since a moment.
func (b bundle) hold(t *testing.T, id string, since time.Time) {
	t.Helper()
	b.exec(t, `INSERT INTO payee_accounts (stripe_account_id, payee_id, payouts_enabled, as_of) VALUES ('acct_ada', $1, true, now())
		ON CONFLICT DO NOTHING`, ada)
	b.exec(t, `INSERT INTO payout_requests (payee_id, id, currency, quoted_net) VALUES ($1, $2, 'usd', 100)`, ada, id)
	b.exec(t, `INSERT INTO payouts (id, payee_id, kind, manual_id, method, currency, gross, fee, net, period_end, due_date, blocks, stripe_account_id, destination_id)
		VALUES ($1, $2, 'manual', $1, 'stripe_instant', 'usd', 103, 3, 100, '2026-11-19', '2026-11-20', false, 'acct_ada', 'ba_1')`, id, ada)
	b.exec(t, `UPDATE payouts SET state = 'sending' WHERE id = $1`, id)
	b.exec(t, `UPDATE payouts SET state = 'held', reason = 'no answer' WHERE id = $1`, id)
	b.exec(t, `UPDATE payouts SET state_since = $2 WHERE id = $1`, id, since)
}

func TestHeldPayoutsAreListedOldestFirst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada)
	at := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	b.hold(t, payoutID("a"), at.Add(time.Hour))
	b.hold(t, payoutID("c"), at)
	b.hold(t, payoutID("b"), at)
	b.hold(t, payoutID("d"), at)
	b.exec(t, `UPDATE payouts SET state = 'canceled', released = true WHERE id = $1`, payoutID("d"))

	first, err := payout.ListHeld(t.Context(), b.pool, time.Time{}, "", 2)
	require.NoError(t, err)
	require.Equal(t, payout.HeldPayout{
		ID: payoutID("b"), PayeeID: ada, Method: payout.MethodInstant, Reason: "no answer", Since: at,
	}, first[0])
	require.Equal(t, payoutID("c"), first[1].ID)
	rest, err := payout.ListHeld(t.Context(), b.pool, first[1].Since, first[1].ID, 2)
	require.NoError(t, err)
	require.Len(t, rest, 1)
	require.Equal(t, payoutID("a"), rest[0].ID)
}

func TestRunsThatWaitForApprovalAreListed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := time.Date(2026, 11, 20, 8, 5, 0, 0, time.UTC)
	b.exec(t, `INSERT INTO payout_runs (date, state, cause, computed_at) VALUES
		('2026-11-20', 'awaiting_approval', 'schedule', $1), ('2026-11-19', 'awaiting_approval', 'schedule', $1), ('2026-11-18', 'paying', 'schedule', $1)`, at)

	runs, err := payout.ListUnapproved(t.Context(), b.pool, time.Time{}, "", 10)
	require.NoError(t, err)
	require.Equal(t, []payout.UnapprovedRun{{civil(t, "2026-11-19"), at}, {civil(t, "2026-11-20"), at}}, runs)
	rest, err := payout.ListUnapproved(t.Context(), b.pool, at, "2026-11-19", 10)
	require.NoError(t, err)
	require.Equal(t, runs[1:], rest)
}

func TestWhatIsMissingIsThatOfTheLastRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := time.Date(2026, 11, 19, 8, 0, 0, 0, time.UTC)
	b.exec(t, `INSERT INTO payout_runs (date, cause, started_at) VALUES ('2026-11-19', 'schedule', $1), ('2026-11-20', 'schedule', $2)`, at, at.Add(24*time.Hour))
	b.exec(t, `INSERT INTO payout_shortfalls (run_date, rail, currency, missing, payouts) VALUES
		('2026-11-19', 'stripe', 'usd', 70000, 3), ('2026-11-19', 'paypal', 'usd', 500, 1)`)

	missing, err := payout.ListShortfalls(t.Context(), b.pool, time.Time{}, "", 10)
	require.NoError(t, err)
	require.Len(t, missing, 2)
	require.Equal(t, payout.Shortfall{
		ID: "2026-11-19/stripe/usd", RunDate: civil(t, "2026-11-19"), Rail: payout.RailStripe, Currency: "usd", Missing: 70000, Payouts: 3, Known: true, Since: at,
	}, missing[1])
	require.Equal(t, "700.00 USD", missing[1].Amount().String())
	rest, err := payout.ListShortfalls(t.Context(), b.pool, at, missing[0].ID, 10)
	require.NoError(t, err)
	require.Equal(t, missing[1:], rest)

	b.exec(t, `UPDATE payout_runs SET state = 'paying', computed_at = now() WHERE date = '2026-11-20'`)
	none, err := payout.ListShortfalls(t.Context(), b.pool, time.Time{}, "", 10)
	require.NoError(t, err)
	require.Empty(t, none)
}
