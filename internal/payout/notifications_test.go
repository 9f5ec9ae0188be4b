package payout_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
)

// notices are the notifications that the feed has, in order: each its type, whom it is about and its code.
func (b bundle) notices(t *testing.T) (all []string) {
	t.Helper()
	changes, err := feed.List(t.Context(), b.pool, 0, 1000)
	require.NoError(t, err)
	for _, c := range changes {
		if c.Type == feed.PayoutChanged || c.Type == feed.PauseChanged {
			continue
		}
		var data struct {
			Code     string `json:"code"`
			Sentence string `json:"sentence"`
		}
		require.NoError(t, json.Unmarshal(c.Data, &data))
		require.NotEmpty(t, data.Sentence, c.Type)
		require.NotContains(t, string(c.Data), "@", "no personal data")
		all = append(all, fmt.Sprint(c.Type, " ", c.CustomerID, " ", data.Code))
	}
	return all
}

func TestAPayoutIsToldToBePaidOnceAndToHaveComeBackOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	b.live(t, id, "start", "transfer", "payout") // each twice
	require.Empty(t, b.notices(t))
	b.live(t, id, "paid")
	require.Equal(t, []string{"payout.paid u_ada "}, b.notices(t))
	require.JSONEq(t, `{"payout_id": "`+id+`", "method": "stripe_standard", "gross": {"amount": 10000, "currency": "usd"},
		"fee": {"amount": 0, "currency": "usd"}, "net": {"amount": 10000, "currency": "usd"}, "sentence": "100.00 USD was paid."}`,
		b.read(t, `SELECT data::text FROM changes WHERE type = 'payout.paid'`))

	b.live(t, id, "return")
	require.Len(t, b.notices(t), 1, "it is not back before its transfer is reversed")
	b.live(t, id, "hold", "resolve paid")
	require.Len(t, b.notices(t), 1, "that it is paid was told")
	b.live(t, id, "return", "reverse")

	require.Equal(t, []string{"payout.paid u_ada ", "payout.returned u_ada no_account"}, b.notices(t))
	require.JSONEq(t, `{"payout_id": "`+id+`", "method": "stripe_standard", "gross": {"amount": 10000, "currency": "usd"},
		"fee": {"amount": 0, "currency": "usd"}, "net": {"amount": 10000, "currency": "usd"}, "code": "no_account",
		"sentence": "100.00 USD came back; 100.00 USD is in the balance again."}`,
		b.read(t, `SELECT data::text FROM changes WHERE type = 'payout.returned'`))
	require.Equal(t, payout.Returned, b.payout(t, id).State)
}

// Many who learn at once that a payout is paid tell it once, and who breaks off tells nothing.
func TestWhoeverLearnsItAPayoutIsToldToBePaidOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	b.live(t, id, "start", "transfer", "payout")
	err := b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		if err := b.store.Paid(ctx, tx, id); err != nil {
			return err
		}
		return errBrokenOff
	})
	require.ErrorIs(t, err, errBrokenOff)
	require.Empty(t, b.notices(t))

	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			err := b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error { return b.store.Paid(ctx, tx, id) })
			if err != nil {
				t.Errorf("paid: %v", err)
			}
		})
	}
	all.Wait()
	require.Equal(t, []string{"payout.paid u_ada "}, b.notices(t))
}

func TestEveryPauseIsToldAndThatPayoutsGoOnWhenThereIsNoneLeft(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada)
	resume := func(source payout.Source) {
		b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.Resume(ctx, tx, ada, source) })
	}
	for range 2 { // a second time it is another pause
		for range 2 {
			b.pause(t, payout.Pause{PayeeID: ada, Source: payout.SourcePayee, Note: "on holiday with ada@example.com"})
		}
		b.pause(t, payout.Pause{PayeeID: ada, Source: payout.SourceSystem, Reason: payout.PauseRejections})
		for range 2 {
			resume(payout.SourcePayee)
		}
		for range 2 {
			resume(payout.SourceSystem)
		}
	}
	once := []string{
		"payee.payouts_paused u_ada paused_by_payee", "payee.payouts_paused u_ada paused_by_system", "payee.payouts_resumed u_ada ",
	}
	require.Equal(t, append(once, once...), b.notices(t))
	require.JSONEq(t, `{"source": "system", "code": "paused_by_system", "sentence": "`+payout.BecausePausedBySystem.Sentence()+`"}`,
		b.read(t, `SELECT data::text FROM changes WHERE type = 'payee.payouts_paused' ORDER BY seq OFFSET 1 LIMIT 1`))
	require.Equal(t, "8", b.read(t, `SELECT count(*) FROM changes WHERE type = 'pause.changed'`), "what the app was told before stays")
}

// seen records how ada's account is seen.
func (b bundle) seen(t *testing.T, change func(*payout.Account)) {
	t.Helper()
	a := account(time.Now())
	change(&a)
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.PutAccountSnapshot(ctx, tx, a) })
}

func TestWhoCannotBePaidIsToldWhenTheReasonIsNew(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ready(t, ada)
	b.fund(t, plenty)
	b.earn(t, ada, "sale", payout.Sale, 10_000, covered)
	disabled := func(a *payout.Account) { a.PayoutsEnabled = false }
	fine := func(*payout.Account) {}
	const told = "payee.cannot_be_paid u_ada payouts_disabled"

	b.seen(t, disabled)
	b.plan(t, friday)
	b.plan(t, "2026-03-07") // a Saturday: the missed Friday stays due
	b.plan(t, "2026-03-09")
	require.Equal(t, []string{told}, b.notices(t), "once, not at every run")
	require.JSONEq(t, `{"run_date": "2026-03-06", "code": "payouts_disabled", "sentence": "`+payout.BecausePayoutsDisabled.Sentence()+`"}`,
		b.read(t, `SELECT data::text FROM changes WHERE type = 'payee.cannot_be_paid'`))

	b.seen(t, func(a *payout.Account) { a.ScheduleInterval = "daily" })
	b.plan(t, "2026-03-10")
	b.plan(t, "2026-03-11")
	b.seen(t, disabled)
	b.plan(t, "2026-03-12")
	require.Equal(t, []string{told, "payee.cannot_be_paid u_ada schedule_not_manual"}, b.notices(t)[:2], "another reason is another notification")
	before := len(b.notices(t))

	b.seen(t, fine)
	require.Len(t, b.plan(t, nextFriday), 1)
	require.Len(t, b.notices(t), before)
	b.exec(t, `UPDATE payouts SET blocks = false`)
	b.seen(t, disabled)
	b.earn(t, ada, "another", payout.Sale, 10_000, nextFriday)
	b.plan(t, "2026-03-20")
	require.Equal(t, told, b.notices(t)[before], "who was paid is told anew")
	require.Len(t, b.notices(t), before+1)
}

func TestWhoeverHasNothingToDoIsNotTold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ready(t, ada, grace, "u_small", "u_debt", "u_open")
	b.fund(t, plenty)
	b.exec(t, `UPDATE payees SET schedule = 'monthly' WHERE id = $1`, ada) // not due
	for id, minor := range map[string]int64{ada: 10_000, grace: 10_000, "u_small": 1, "u_debt": 1, "u_open": 10_000} {
		b.earn(t, id, "sale", payout.Sale, minor, covered)
	}
	b.earn(t, "u_debt", "back", payout.Refund, 500, covered)
	b.pause(t, payout.Pause{PayeeID: grace, Source: payout.SourcePayee})
	require.Len(t, b.plan(t, friday), 1)
	b.plan(t, nextFriday)
	require.Equal(t, []string{"payee.payouts_paused u_grace paused_by_payee"}, b.notices(t))
	require.Equal(t, "balance_negative,below_minimum,not_due,open_payout,paused_by_payee",
		b.read(t, `SELECT string_agg(DISTINCT code, ',' ORDER BY code) FROM payee_notes`), "or it proves nothing")
}

func TestAPayeeWithAnotherDestinationIsToldAnew(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ready(t, ada)
	b.fund(t, plenty)
	b.earn(t, ada, "sale", payout.Sale, 10_000, covered)
	errored := func(destination string) func(*payout.Account) {
		return func(a *payout.Account) { a.ExternalAccountID, a.ExternalErrored = destination, true }
	}
	b.seen(t, errored("ba_1"))
	b.plan(t, friday)
	b.seen(t, errored("ba_2"))
	b.plan(t, "2026-03-07")
	b.plan(t, "2026-03-08")
	const told = "payee.cannot_be_paid u_ada external_account_errored"
	require.Equal(t, []string{told, told}, b.notices(t))
}

// Two runs that plan at once, as one that is late and today's, tell a reason once, and so does one that
// is done again.
func TestRunsAtOnceTellAReasonOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ids := payees(20)
	b.ready(t, ids...)
	for _, id := range ids {
		b.earn(t, id, "sale", payout.Sale, 10_000, covered)
	}
	first, second := b.begin(t, friday), b.begin(t, nextFriday) // and the platform has nothing
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() { b.computeAtOnce(t, first) })
		all.Go(func() { b.computeAtOnce(t, second) })
	}
	all.Wait()
	told := b.notices(t)
	require.Len(t, told, len(ids))
	for _, n := range told {
		require.Contains(t, n, "payee.cannot_be_paid u_0")
		require.Contains(t, n, " funding")
	}
}

func TestARunThatNeedsApprovalIsToldOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	policy := payout.DefaultPolicy()
	policy.ApprovalAbove = map[money.Currency]int64{"usd": 9_999}
	b.store = payout.NewStore(b.pool, policy, feed.NewWriter(nil), work())
	b.one(t)
	on := civil(t, friday)
	for range 2 {
		needs, err := b.store.ConfirmComputed(t.Context(), on)
		require.NoError(t, err)
		require.True(t, needs)
	}
	require.NoError(t, b.store.PauseRun(t.Context(), on, "olga", ""))
	require.NoError(t, b.store.ResumeRun(t.Context(), on, "olga", ""))
	require.Equal(t, []string{"payout_run.needs_approval  "}, b.notices(t))
	require.JSONEq(t, `{"run_date": "2026-03-06", "totals": [{"payouts": 1, "gross": {"amount": 10000, "currency": "usd"},
		"fee": {"amount": 0, "currency": "usd"}, "net": {"amount": 10000, "currency": "usd"}}],
		"sentence": "The run of 2026-03-06 is to pay 100.00 USD, and waits for an approval."}`,
		b.read(t, `SELECT data::text FROM changes WHERE type = 'payout_run.needs_approval'`))
}

func (b bundle) computeAtOnce(t *testing.T, on date.Date) {
	if err := b.compute(t.Context(), on, 7); err != nil {
		t.Errorf("run of %s: %v", on, err)
	}
}
