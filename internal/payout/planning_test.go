package payout_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
)

// notes are what was said of a payee: codes, in order.
func (b bundle) notes(t *testing.T, payeeID string) string {
	t.Helper()
	return b.read(t, `SELECT coalesce(string_agg(code, ',' ORDER BY code), '') FROM payee_notes WHERE payee_id = $1`, payeeID)
}

func TestARunPlansWhatIsDue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := payees(5)
	b.ready(t, ids...)
	b.fund(t, plenty)
	b.earn(t, ids[0], "sale", payout.Sale, 10_000, covered)
	b.earn(t, ids[0], "later", payout.Sale, 5_000, "2026-02-28") // a day after the cutoff
	b.earn(t, ids[1], "sale", payout.Sale, 999, covered)         // below the minimum of 10.00
	b.earn(t, ids[2], "sale", payout.Sale, 10_000, covered)
	b.earn(t, ids[2], "refund", payout.Refund, 2_500, friday) // after the cutoff, and it counts
	b.earn(t, ids[3], "sale", payout.Sale, 10_000, covered)
	b.exec(t, `UPDATE payee_accounts SET schedule_interval = 'daily' WHERE payee_id = $1`, ids[3])

	all := b.plan(t, friday)

	require.Len(t, all, 2)
	first := all[0]
	require.Regexp(t, `^po_[a-z0-9]{24}$`, first.ID)
	require.Equal(t, payout.Payout{
		Plan: payout.Plan{
			Terms:  payout.Terms{Gross: cents(10_000), Fee: cents(0), Net: cents(10_000)},
			Method: payout.MethodStandard, Part: 1, PeriodEnd: civil(t, covered), DueDate: civil(t, friday),
		},
		ID: first.ID, PayeeID: ids[0], Kind: payout.Scheduled, RunDate: civil(t, friday), Attempt: 1, State: payout.Planned,
		StateSince: first.StateSince, StripeAccountID: "acct_0000", DestinationID: "ba_1", Epoch: 1, CreatedAt: first.CreatedAt,
	}, first)
	require.Equal(t, cents(7_500), all[1].Gross)
	require.Equal(t, []string{"", "below_minimum", "", "schedule_not_manual", "nothing_to_pay"},
		[]string{b.notes(t, ids[0]), b.notes(t, ids[1]), b.notes(t, ids[2]), b.notes(t, ids[3]), b.notes(t, ids[4])})
	require.Equal(t, int64(5_000), b.balance(t, ids[0]))
	require.Equal(t, "2", b.read(t, `SELECT count(*) FROM changes WHERE type = 'payout.changed' AND data ->> 'status' = 'planned'`))
	run, err := payout.GetRun(t.Context(), b.pool, civil(t, friday))
	require.NoError(t, err)
	require.Equal(t, payout.RunPaying, run.State)
	require.Equal(t, 5, run.Looked)
	totals, err := payout.RunTotals(t.Context(), b.pool, civil(t, friday))
	require.NoError(t, err)
	require.Equal(t, []payout.RunTotal{{State: payout.Planned, Currency: "usd", Payouts: 2, Gross: 17_500, Net: 17_500}}, totals)
	b.sound(t)

	require.Len(t, b.plan(t, friday), 2, "a run that is begun again is the same run")
	require.Empty(t, b.plan(t, "2026-03-07"), "and on the next day nothing is due")
	require.Equal(t, "not_due", b.notes(t, ids[0]))
}

// A run of which each slice is done by several at once, and several runs at once: each payee is paid
// once, and what is claimed is theirs.
func TestOverlappingRunsClaimDisjointMoney(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := payees(60)
	b.ready(t, ids...)
	b.fund(t, plenty)
	for i, id := range ids {
		b.earn(t, id, "sale", payout.Sale, 10_000+int64(i), covered)
	}
	dates := []date.Date{b.begin(t, friday), b.begin(t, "2026-03-07"), b.begin(t, nextFriday)}

	var all errgroup.Group
	for _, on := range dates {
		for range 2 {
			all.Go(func() error { return b.compute(t.Context(), on, 7) })
		}
	}
	require.NoError(t, all.Wait())

	require.Equal(t, "60", b.read(t, `SELECT count(*) FROM payouts`))
	require.Equal(t, "60", b.read(t, `SELECT count(DISTINCT payee_id) FROM payouts`))
	for i, id := range ids {
		require.Zero(t, b.balance(t, id))
		require.Equal(t, fmt.Sprint(10_000+i), b.read(t, `SELECT gross FROM payouts WHERE payee_id = $1`, id))
	}
	b.sound(t)
}

// The funds reach as far as they do, in order of due date and then of payee: nobody is passed over.
func TestFundsBoundARun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := payees(5)
	b.ready(t, ids...)
	for i, amount := range []int64{10_000, 10_000, 20_000, 1_000, 10_000} {
		b.earn(t, ids[i], "sale", payout.Sale, amount, "2026-02-20")
	}
	// The last one's cycle of the Friday before was missed, so it has been due longest.
	b.exec(t, `UPDATE payees SET last_cycle = CASE id WHEN $1 THEN date '2026-02-20' ELSE '2026-02-27' END`, ids[4])
	b.fund(t, 35_000)

	all := b.plan(t, friday)

	require.Len(t, all, 3)
	require.Equal(t, []string{ids[0], ids[1], ids[4]}, []string{all[0].PayeeID, all[1].PayeeID, all[2].PayeeID})
	require.Equal(t, civil(t, "2026-02-27"), all[2].DueDate)
	require.Equal(t, []string{"funding", "funding"}, []string{b.notes(t, ids[2]), b.notes(t, ids[3])})
	missing, err := payout.RunShortfalls(t.Context(), b.pool, civil(t, friday))
	require.NoError(t, err)
	require.Len(t, missing, 1)
	require.Equal(t, cents(16_000), missing[0].Amount(), "30,000 of 35,000 are claimed, and 21,000 wanted")
	require.Equal(t, 2, missing[0].Payouts)
	b.sound(t)

	// What was claimed and not sent is bound, also when the balance is read again.
	b.fund(t, 35_000)
	require.Empty(t, b.plan(t, "2026-03-07"))
	b.fund(t, 51_000)
	require.Len(t, b.plan(t, "2026-03-08"), 2, "what waited is still due")
	b.sound(t)
}

func TestWhatWasSentIsClaimedNoMore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	claimed := func() string { return b.read(t, `SELECT claimed FROM platform_funds`) }
	require.Equal(t, "10000", claimed())
	before, err := postgres.Now(t.Context(), b.pool)
	require.NoError(t, err)
	b.live(t, id, "start", "transfer")
	require.NoError(t, b.store.RecordFunds(t.Context(), payout.RailStripe, []money.Amount{cents(plenty)}, before))
	require.Equal(t, "10000", claimed(), "the balance was read before the transfer, perhaps")
	b.fund(t, plenty-10_000)
	require.Equal(t, "0", claimed())
	require.NoError(t, b.store.RecordFunds(t.Context(), payout.RailStripe, []money.Amount{cents(1)}, before))
	require.Equal(t, "999990000", b.read(t, `SELECT available FROM platform_funds`), "an older answer changes nothing")
	now, err := postgres.Now(t.Context(), b.pool)
	require.NoError(t, err)
	require.NoError(t, b.store.RecordFunds(t.Context(), payout.RailStripe, nil, now))
	require.Equal(t, "0", b.read(t, `SELECT available FROM platform_funds`), "a currency of which nothing is said")
}

func TestWithoutFundsNobodyIsPaid(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ready(t, ada)
	b.earn(t, ada, "sale", payout.Sale, 10_000, covered)
	require.Empty(t, b.plan(t, friday))
	require.Equal(t, "funding", b.notes(t, ada))
}

// The run of the last Friday of a month comes five days late: it pays that Friday, with its cutoff.
func TestALateRunPaysTheMissedCycle(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ready(t, ada)
	b.exec(t, `UPDATE payees SET schedule = 'monthly'`)
	b.fund(t, plenty)
	b.earn(t, ada, "sale", payout.Sale, 10_000, "2026-03-20")
	b.earn(t, ada, "later", payout.Sale, 4_000, "2026-03-21")

	all := b.plan(t, "2026-04-01")

	require.Len(t, all, 1)
	require.Equal(t, cents(10_000), all[0].Gross)
	require.Equal(t, civil(t, "2026-03-27"), all[0].DueDate)
	require.Equal(t, civil(t, "2026-03-20"), all[0].PeriodEnd)
}

func TestAPayeeOfTheDailyScheduleIsPaidInstantlyOnceABankIsProven(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	b.live(t, id, "start", "transfer", "payout", "paid")
	b.exec(t, `UPDATE payees SET schedule = 'daily'`)
	b.earn(t, ada, "more", payout.Sale, 10_000, "2026-03-09")

	all := b.plan(t, "2026-03-10")

	require.Len(t, all, 1)
	require.Equal(t, payout.MethodInstant, all[0].Method)
	require.Equal(t, payout.Terms{Gross: cents(10_000), Fee: cents(292), Net: cents(9_708)}, all[0].Terms)
	b.live(t, all[0].ID, "start", "transfer", "payout", "paid")
	b.sound(t)
}

func TestAPausedRunPlansNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ready(t, ada)
	on := b.begin(t, friday)
	require.NoError(t, b.store.PauseRun(t.Context(), on, "olga", ""))
	slice, err := b.store.PlanSlice(t.Context(), on, 10)
	require.NoError(t, err)
	require.Equal(t, payout.Slice{Paused: true}, slice)
	_, err = b.store.PlanSlice(t.Context(), civil(t, nextFriday), 10)
	require.ErrorIs(t, err, payout.ErrNoRun)
}

func TestARunIsBegunOnceAndNotForADateToCome(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var all errgroup.Group
	for range 5 {
		all.Go(func() error {
			_, _, err := b.store.BeginRun(t.Context(), civil(t, friday), "operator", "olga")
			return err
		})
	}
	require.NoError(t, all.Wait())
	require.Equal(t, "1", b.read(t, `SELECT count(*) FROM operator_actions WHERE action = 'begin_payout_run'`))
	for _, on := range []date.Date{{}, civil(t, "9999-01-01")} {
		_, _, err := b.store.BeginRun(t.Context(), on, "operator", "olga")
		var field *customer.FieldError
		require.ErrorAs(t, err, &field)
		require.Equal(t, "date", field.Field)
	}
	_, err := payout.GetRun(t.Context(), b.pool, civil(t, "2026-01-01"))
	require.ErrorIs(t, err, payout.ErrNoRun)
}

func TestARunThatPaysMuchWaitsForApproval(t *testing.T) {
	t.Parallel()
	b := setup(t)
	policy := payout.DefaultPolicy()
	policy.ApprovalAbove = map[money.Currency]int64{"usd": 15_000}
	b.store = payout.NewStore(b.pool, policy, feed.NewWriter(nil), work())
	b.ready(t, ada, grace)
	b.fund(t, plenty)
	b.earn(t, ada, "sale", payout.Sale, 10_000, covered)
	on, ctx := civil(t, friday), t.Context()
	b.begin(t, friday)
	_, err := b.store.ConfirmComputed(ctx, on)
	require.ErrorIs(t, err, payout.ErrState, "nobody was looked at yet")
	b.earn(t, grace, "sale", payout.Sale, 5_001, covered)
	all := b.plan(t, friday)
	require.Len(t, all, 2)
	needs, err := b.store.ConfirmComputed(ctx, on)
	require.NoError(t, err)
	require.True(t, needs)

	handed, err := b.store.HandOver(ctx, on, 10)
	require.NoError(t, err)
	require.Equal(t, payout.Handed{Waits: true}, handed)
	b.live(t, all[0].ID, "start")
	require.Equal(t, payout.Planned, b.payout(t, all[0].ID).State, "whoever starts it")
	require.NoError(t, b.store.PauseRun(ctx, on, "olga", "a look first"))
	require.ErrorIs(t, b.store.Approve(ctx, on, "olga", ""), payout.ErrState)
	require.NoError(t, b.store.ResumeRun(ctx, on, "olga", ""))
	require.NoError(t, b.store.Approve(ctx, on, "olga", "as expected"))
	require.NoError(t, b.store.Approve(ctx, on, "olga", "again"))
	run, err := payout.GetRun(ctx, b.pool, on)
	require.NoError(t, err)
	require.Equal(t, []any{payout.RunPaying, "olga", "as expected"}, []any{run.State, run.ApprovedBy, run.Note})
	require.Equal(t, "1", b.read(t, `SELECT count(*) FROM operator_actions WHERE action = 'approve_payout_run' AND note = 'as expected' AND subject = $1`, friday))
}

func TestHandOverStartsEachPayoutsWorkflowOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := payees(5)
	b.ready(t, ids...)
	b.fund(t, plenty)
	for _, id := range ids {
		b.earn(t, id, "sale", payout.Sale, 10_000, covered)
	}
	all := b.plan(t, friday)
	b.live(t, all[4].ID, "cancel")
	on, ctx := civil(t, friday), t.Context()

	handed, err := b.store.HandOver(ctx, on, 2)
	require.NoError(t, err)
	require.Equal(t, payout.Handed{Payouts: 2}, handed)
	require.NoError(t, b.store.PauseRun(ctx, on, "olga", ""))
	handed, err = b.store.HandOver(ctx, on, 2)
	require.NoError(t, err)
	require.Equal(t, payout.Handed{Waits: true}, handed)
	require.NoError(t, b.store.ResumeRun(ctx, on, "olga", ""))
	var workers errgroup.Group
	for range 3 {
		workers.Go(func() error {
			for {
				handed, err := b.store.HandOver(ctx, on, 2)
				if err != nil || handed.Done {
					return err
				}
			}
		})
	}
	require.NoError(t, workers.Wait())

	require.Equal(t, "4", b.read(t, `SELECT count(*) FROM outbox WHERE key LIKE 'start/po_%'`))
	run, err := payout.GetRun(ctx, b.pool, on)
	require.NoError(t, err)
	require.Equal(t, payout.RunEnded, run.State)
	require.NotNil(t, run.EndedAt)
	require.NoError(t, b.store.PauseRun(ctx, on, "olga", ""), "what was not sent yet can still be stopped")
	hindrance, err := payout.MaySend(ctx, b.pool, all[0].ID)
	require.NoError(t, err)
	require.Equal(t, payout.WaitsForRun, hindrance)
}

func TestListsOfAPayeesPayouts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ready(t, ada, grace)
	b.fund(t, plenty)
	for n := range 3 {
		on := civil(t, friday).AddDays(7 * n)
		b.earn(t, ada, fmt.Sprint("sale", n), payout.Sale, 10_000, on.AddDays(-7).String())
		b.live(t, b.plan(t, on.String())[0].ID, "start", "transfer", "payout", "paid")
	}
	first, err := payout.ListPayouts(t.Context(), b.pool, ada, payout.Cursor{}, 2)
	require.NoError(t, err)
	rest, err := payout.ListPayouts(t.Context(), b.pool, ada, first[1].Cursor(), 2)
	require.NoError(t, err)
	require.Len(t, rest, 1)
	require.Equal(t, []date.Date{civil(t, "2026-03-20"), civil(t, nextFriday), civil(t, friday)}, []date.Date{first[0].RunDate, first[1].RunDate, rest[0].RunDate})
	none, err := payout.ListPayouts(t.Context(), b.pool, grace, payout.Cursor{}, 2)
	require.NoError(t, err)
	require.Empty(t, none)
	history, err := payout.ListTransitions(t.Context(), b.pool, first[0].ID)
	require.NoError(t, err)
	var states []payout.State
	for _, transition := range history[first[0].ID] {
		states = append(states, transition.To)
	}
	require.Equal(t, []payout.State{payout.Planned, payout.Sending, payout.InTransit, payout.Paid}, states)
}

func TestTheSweepFindsWhatNobodyMoves(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	stuck := func() bool {
		t.Helper()
		found, err := b.store.ListUnseen(t.Context(), "", 10)
		require.NoError(t, err)
		return len(found) == 1
	}
	age := func(sql string) { b.exec(t, `UPDATE payouts SET `+sql) }
	require.False(t, stuck(), "its workflow is not to begin yet")
	age(`handed_at = now() - interval '2 hours'`)
	require.True(t, stuck())
	b.live(t, id, "start")
	require.False(t, stuck())
	age(`state_since = now() - interval '2 hours'`)
	require.True(t, stuck())
	b.live(t, id, "transfer", "payout")
	age(`state_since = now() - interval '7 hours'`)
	require.True(t, stuck(), "it should have arrived in March")
	age(`arrival_date = current_date + 9`)
	require.False(t, stuck())
	age(`state_since = now() - interval '4 days'`)
	require.True(t, stuck())
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return payout.MarkChecked(ctx, tx, id) })
	require.False(t, stuck())
	lifted, err := payout.LiftBlocks(t.Context(), b.pool)
	require.NoError(t, err)
	require.Zero(t, lifted)
	age(`state_since = now() - interval '6 days'`)
	lifted, err = payout.LiftBlocks(t.Context(), b.pool)
	require.NoError(t, err)
	require.Equal(t, int64(1), lifted)
	require.False(t, b.facts(t, nextFriday, ada)[ada].OpenPayout, "the payee's next payout is not kept back")
	b.live(t, id, "paid")
	require.False(t, stuck())
	age(`state_since = now() - interval '2 days', checked_at = now() - interval '25 hours'`)
	require.True(t, stuck(), "a bank may still return it")
	age(`state_since = now() - interval '11 days'`)
	require.False(t, stuck())
}
