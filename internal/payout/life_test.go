package payout_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/payout"
)

// The table of states is in the database: every edge and every non-edge of it.
func TestTheDatabaseAllowsTheEdgesOfTheTableAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ready(t, ada)
	b.exec(t, `INSERT INTO payout_requests (payee_id, id, currency, quoted_net) SELECT $1, 'm_' || n, 'usd', 97 FROM generate_series(0, 99) n`, ada)
	way := map[payout.State][]payout.State{
		payout.Planned: {}, payout.Sending: {payout.Sending}, payout.InTransit: {payout.Sending, payout.InTransit},
		payout.Unclaimed: {payout.Sending, payout.Unclaimed}, payout.Held: {payout.Sending, payout.Held},
		payout.Paid: {payout.Sending, payout.Paid}, payout.Failed: {payout.Sending, payout.Failed},
		payout.Canceled: {payout.Canceled}, payout.Returned: {payout.Sending, payout.InTransit, payout.Returned},
	}
	edges := 0
	n := 0
	for _, from := range payout.States() {
		for _, to := range payout.States() {
			id := fmt.Sprintf("po_%024d", n)
			b.exec(t, `INSERT INTO payouts (id, payee_id, kind, manual_id, method, currency, gross, fee, net, period_end, due_date, stripe_account_id, destination_id, blocks)
				VALUES ($1, $2, 'manual', 'm_' || $3::int, 'stripe_instant', 'usd', 100, 3, 97, '2026-03-05', '2026-03-06', 'acct_ada', 'ba_1', false)`, id, ada, n)
			bring := func(state payout.State) error {
				_, err := b.pool.Exec(t.Context(), `UPDATE payouts SET state = $2, released = $3,
					transfer_id = CASE $2 WHEN 'planned' THEN NULL ELSE 'tr_' || id END,
					provider_payout_id = CASE $2 WHEN 'planned' THEN NULL ELSE 'pos_' || id END WHERE id = $1`, id, string(state), state.Releases())
				return err
			}
			for _, state := range way[from] {
				require.NoError(t, bring(state), "%s on the way to %s", state, from)
			}
			err := bring(to)
			switch {
			case from == to: // nothing changes
			case payout.CanGo(from, to):
				edges++
				require.NoError(t, err, "%s to %s", from, to)
				require.Equal(t, string(to), b.read(t, `SELECT to_state FROM payout_transitions WHERE payout_id = $1 ORDER BY seq DESC LIMIT 1`, id))
			default:
				require.Error(t, err, "%s to %s", from, to)
				require.Equal(t, string(from), b.read(t, `SELECT state FROM payouts WHERE id = $1`, id))
			}
			n++
		}
	}
	require.Equal(t, 26, edges)
}

func TestTheDatabaseKeepsWhatWasPlannedAndWhatHappened(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	b.live(t, id, "start", "transfer", "payout")
	for name, statement := range map[string]string{
		"a net that grows":              `UPDATE payouts SET net = net + 1, gross = gross + 1`,
		"another destination":           `UPDATE payouts SET destination_id = 'ba_2'`,
		"another payee":                 `UPDATE payouts SET payee_id = 'u_grace'`,
		"another transfer":              `UPDATE payouts SET transfer_id = 'tr_2'`,
		"a transfer that is forgotten":  `UPDATE payouts SET transfer_id = NULL`,
		"another payout":                `UPDATE payouts SET provider_payout_id = 'pos_2'`,
		"a release without an ending":   `UPDATE payouts SET released = true`,
		"an ending without a release":   `UPDATE payouts SET state = 'failed'`,
		"a deletion":                    `DELETE FROM payouts`,
		"a transition that is deleted":  `DELETE FROM payout_transitions`,
		"a transition that is changed":  `UPDATE payout_transitions SET reason = 'none'`,
		"a second payout of the cycle":  `INSERT INTO payouts SELECT ('po_' || repeat('b', 24)) AS id, payee_id, kind, run_date, manual_id, retry_of, part, attempt, method, currency, gross, fee, net, period_end, due_date, 'planned', now(), '', '', 0, stripe_account_id, destination_id FROM payouts`,
		"a second payout that is open":  `INSERT INTO payouts SELECT ('po_' || repeat('b', 24)) AS id, payee_id, kind, run_date, manual_id, retry_of, part, attempt + 1, method, currency, gross, fee, net, period_end, due_date, 'planned', now(), '', '', 0, stripe_account_id, destination_id FROM payouts`,
		"a fee that does not add up":    `INSERT INTO payouts SELECT ('po_' || repeat('b', 24)) AS id, payee_id, kind, run_date, manual_id, retry_of, 2, attempt, method, currency, gross, fee + 1, net, period_end, due_date, 'planned', now(), '', '', 0, stripe_account_id, destination_id FROM payouts`,
		"a payout that begins half way": `INSERT INTO payouts SELECT ('po_' || repeat('b', 24)) AS id, payee_id, kind, run_date, manual_id, retry_of, 2, attempt, method, currency, gross, fee, net, period_end, due_date, 'sending', now(), '', '', 0, stripe_account_id, destination_id FROM payouts`,
	} {
		_, err := b.pool.Exec(t.Context(), statement)
		require.Error(t, err, name)
	}
	require.Equal(t, payout.InTransit, b.payout(t, id).State)
}

func TestLivesOfPayouts(t *testing.T) {
	t.Parallel()
	for name, life := range map[string]struct {
		steps []string
		end   payout.State
	}{
		"paid":                                  {[]string{"start", "transfer", "payout", "paid"}, payout.Paid},
		"the transfer is refused":               {[]string{"start", "refuse"}, payout.Failed},
		"the payout is refused":                 {[]string{"start", "transfer", "fail", "reverse"}, payout.Failed},
		"the payout fails":                      {[]string{"start", "transfer", "payout", "fail", "reverse"}, payout.Failed},
		"the payout is canceled":                {[]string{"start", "transfer", "payout", "cancel at Stripe", "reverse"}, payout.Canceled},
		"it comes back":                         {[]string{"start", "transfer", "payout", "return", "reverse"}, payout.Returned},
		"it comes back after it was paid":       {[]string{"start", "transfer", "payout", "paid", "return", "reverse"}, payout.Returned},
		"it fails after it was paid":            {[]string{"start", "transfer", "payout", "paid", "fail", "reverse"}, payout.Returned},
		"held before the transfer is known":     {[]string{"start", "hold", "resolve failed"}, payout.Failed},
		"held, and then refused":                {[]string{"start", "hold", "refuse"}, payout.Failed},
		"held, and found":                       {[]string{"start", "hold", "transfer", "payout", "paid"}, payout.Paid},
		"held in transit, and found":            {[]string{"start", "transfer", "payout", "hold", "payout", "paid"}, payout.Paid},
		"held in transit, and paid":             {[]string{"start", "transfer", "payout", "hold", "paid"}, payout.Paid},
		"held before, and resolved as paid":     {[]string{"start", "hold", "resolve paid"}, payout.Paid},
		"held after the transfer, and paid":     {[]string{"start", "transfer", "hold", "resolve paid"}, payout.Paid},
		"a reversal fails":                      {[]string{"start", "transfer", "payout", "fail", "hold", "reverse"}, payout.Failed},
		"a reversal fails for good":             {[]string{"start", "transfer", "payout", "fail", "hold", "resolve failed"}, payout.Failed},
		"failed, and paid after all":            {[]string{"start", "transfer", "payout", "fail", "hold", "resolve paid"}, payout.Paid},
		"paid after all, and it comes back":     {[]string{"start", "transfer", "payout", "fail", "hold", "resolve paid", "return", "reverse"}, payout.Returned},
		"returned, the reversal fails":          {[]string{"start", "transfer", "payout", "paid", "return", "hold", "reverse"}, payout.Returned},
		"returned, and failed by hand":          {[]string{"start", "transfer", "payout", "paid", "return", "hold", "resolve failed"}, payout.Failed},
		"returned, paid after all, and again":   {[]string{"start", "transfer", "payout", "paid", "return", "hold", "resolve paid", "return", "hold", "reverse"}, payout.Returned},
		"canceled while it is planned":          {[]string{"cancel"}, payout.Canceled},
		"the destination cannot be paid":        {[]string{"cancel planned"}, payout.Canceled},
		"canceled when it was begun":            {[]string{"start", "cancel"}, payout.Canceled},
		"canceled when it was transferred":      {[]string{"start", "transfer", "cancel", "reverse"}, payout.Canceled},
		"canceled, and the money does not come": {[]string{"start", "transfer", "cancel", "hold", "reverse"}, payout.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			id := b.one(t)

			p := b.live(t, id, life.steps...)

			require.Equal(t, life.end, p.State)
			b.sound(t)
			want := int64(10_000)
			if life.end == payout.Paid {
				want = 0
			}
			require.Equal(t, want, b.balance(t, ada))
			for _, s := range []string{"transfer", "payout", "paid", "fail", "return", "reverse", "hold", "refuse", "cancel"} {
				if err := b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error { return b.steps()[s].do(ctx, tx, id) }); err != nil {
					require.ErrorIs(t, err, payout.ErrState, s)
				}
			}
			b.sound(t)
			require.Equal(t, b.read(t, `SELECT count(*) FROM payout_transitions`), b.read(t, `SELECT count(*) FROM changes WHERE type = 'payout.changed'`),
				"the app is told of each change of state")
		})
	}
}

func TestWhatAStateDoesNotAllow(t *testing.T) {
	t.Parallel()
	for name, no := range map[string]struct {
		steps   []string
		refused []string
	}{
		"planned":     {nil, []string{"transfer", "payout", "paid", "fail", "reverse", "refuse", "hold", "resolve paid", "resolve failed"}},
		"sending":     {[]string{"start"}, []string{"payout", "paid", "fail", "reverse", "cancel planned", "resolve paid", "resolve failed"}},
		"transferred": {[]string{"start", "transfer"}, []string{"paid", "reverse", "refuse", "cancel planned"}},
		"in transit":  {[]string{"start", "transfer", "payout"}, []string{"reverse", "refuse", "cancel", "cancel planned", "resolve paid"}},
		"failing":     {[]string{"start", "transfer", "payout", "fail"}, []string{"paid", "refuse", "cancel", "resolve failed"}},
		"paid":        {[]string{"start", "transfer", "payout", "paid"}, []string{"reverse", "refuse", "hold", "cancel", "cancel planned", "resolve paid", "resolve failed"}},
		"failed":      {[]string{"start", "refuse"}, []string{"transfer", "payout", "paid", "reverse", "hold", "cancel", "cancel planned", "resolve paid"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			id := b.one(t)
			b.live(t, id, no.steps...)
			for _, s := range no.refused {
				b.notAllowed(t, id, s)
			}
		})
	}
}

func TestAnotherObjectForAPayoutIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	b.live(t, id, "start", "transfer")
	other := func(do func(ctx context.Context, tx pgx.Tx) error) {
		require.ErrorIs(t, b.try(t.Context(), do), payout.ErrOtherObject)
	}
	other(func(ctx context.Context, tx pgx.Tx) error { return b.store.TransferConfirmed(ctx, tx, id, "tr_other") })
	b.live(t, id, "payout")
	other(func(ctx context.Context, tx pgx.Tx) error {
		return b.store.PayoutConfirmed(ctx, tx, id, "pos_other", date.Date{})
	})
	b.live(t, id, "fail", "reverse")
	other(func(ctx context.Context, tx pgx.Tx) error {
		return b.store.ReversalConfirmed(ctx, tx, id, "trr_other", cents(1))
	})
	err := b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		return b.store.Paid(ctx, tx, "po_"+strings.Repeat("z", 24))
	})
	require.ErrorIs(t, err, payout.ErrNoPayout)
}

// Each step by many at once is one step: one posting, one transition, one release.
func TestEachStepIsTakenOnceHoweverManyTakeIt(t *testing.T) {
	t.Parallel()
	for _, life := range [][]string{
		{"start", "transfer", "payout", "paid", "return", "reverse"},
		{"start", "refuse"},
		{"cancel"},
		{"start", "hold", "resolve failed"},
	} {
		b := setup(t)
		id := b.one(t)
		for _, name := range life {
			var all errgroup.Group
			for range 6 {
				all.Go(func() error {
					return b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error { return b.steps()[name].do(ctx, tx, id) })
				})
			}
			require.NoError(t, all.Wait(), name)
		}
		b.sound(t)
		require.True(t, b.payout(t, id).State.Releases())
		require.Equal(t, int64(10_000), b.balance(t, ada))
	}
}

// Several endings at once: one of them wins, and the money is released once.
func TestOfSeveralEndingsOneWins(t *testing.T) {
	t.Parallel()
	for range 5 {
		b := setup(t)
		id := b.one(t)
		b.live(t, id, "start")
		var all errgroup.Group
		for _, name := range []string{"refuse", "cancel", "hold", "transfer", "refuse", "cancel"} {
			all.Go(func() error {
				err := b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error { return b.steps()[name].do(ctx, tx, id) })
				if err != nil && !strings.Contains(err.Error(), payout.ErrState.Error()) {
					return err
				}
				return nil
			})
		}
		require.NoError(t, all.Wait())
		b.sound(t)
	}
}

func TestStartWaitsForWhatHindersIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	start := func() payout.Started {
		var started payout.Started
		b.inTx(t, func(ctx context.Context, tx pgx.Tx) (err error) {
			started, err = b.store.Start(ctx, tx, id)
			return err
		})
		return started
	}
	waits := func(want payout.Hindrance) {
		t.Helper()
		started := start()
		require.Equal(t, want, started.Waits)
		require.Equal(t, payout.Planned, started.Payout.State)
		require.False(t, started.Sends())
	}
	ctx, on := t.Context(), civil(t, friday)

	require.NoError(t, b.store.SetSwitch(ctx, false, "olga", "looks wrong"))
	waits(payout.WaitsForSwitch)
	require.NoError(t, b.store.SetSwitch(ctx, true, "olga", "all is well"))
	require.NoError(t, b.store.PauseRun(ctx, on, "olga", ""))
	waits(payout.WaitsForRun)
	require.NoError(t, b.store.ResumeRun(ctx, on, "olga", ""))
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		return b.store.Pause(ctx, tx, payout.Pause{PayeeID: ada, Source: payout.SourcePayee})
	})
	waits(payout.WaitsForPayee)
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.Resume(ctx, tx, ada, payout.SourcePayee) })

	require.True(t, start().Sends())
	require.True(t, start().Sends(), "a repetition says the same")

	sw, err := payout.ReadSwitch(ctx, b.pool)
	require.NoError(t, err)
	require.True(t, sw.Enabled)
	require.Equal(t, "all is well", sw.Reason)
	require.Equal(t, "switch_payouts_off,switch_payouts_on,pause_payout_run,resume_payout_run",
		b.read(t, `SELECT string_agg(action, ',' ORDER BY id) FROM operator_actions WHERE actor = 'olga'`))
	require.NoError(t, b.store.SetSwitch(ctx, false, "olga", ""))
	hindrance, err := payout.MaySend(ctx, b.pool, id)
	require.NoError(t, err)
	require.Equal(t, payout.WaitsForSwitch, hindrance, "what is begun sends nothing more either")
}

// 100.00 was planned; a refund of 30.00 after the cutoff comes before anything is sent.
func TestStartCancelsWhatThereIsNoMoneyForAnyMore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	b.earn(t, ada, "refund", payout.Refund, 3_000, friday)

	p := b.live(t, id, "start")

	require.Equal(t, payout.Canceled, p.State)
	require.Equal(t, string(payout.BecauseBalanceNegative), p.Reason)
	require.Equal(t, int64(7_000), b.balance(t, ada))
	require.Equal(t, "1", b.read(t, `SELECT count(*) FROM payee_notes WHERE payee_id = $1 AND code = 'balance_negative'`, ada))
	b.sound(t)
}

func TestAnExchangeLossIsThePlatforms(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	b.live(t, id, "start", "transfer", "payout", "fail")
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		return b.store.ReversalConfirmed(ctx, tx, id, "trr_1", cents(9_950))
	})
	lost, err := ledger.Balance(t.Context(), b.pool, ledger.FXAccount(), "usd")
	require.NoError(t, err)
	require.Equal(t, cents(50), lost)
	require.Equal(t, int64(10_000), b.balance(t, ada))
	b.sound(t)
}

func TestThreeRejectionsInARowPauseThePayee(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ready(t, ada)
	b.fund(t, plenty)
	refused := payout.Failure{Class: "rejected", Code: "account_closed", Message: "The bank account is closed.", Destination: true}
	pay := func(n int, destination bool) {
		on := civil(t, friday).AddDays(7 * n)
		b.earn(t, ada, fmt.Sprint("sale", n), payout.Sale, 10_000, on.AddDays(-7).String())
		all := b.plan(t, on.String())
		require.Len(t, all, 1)
		b.live(t, all[0].ID, "start", "transfer")
		failure := refused
		failure.Destination = destination
		for range 2 {
			b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.PayoutFailed(ctx, tx, all[0].ID, failure) })
		}
		b.live(t, all[0].ID, "reverse")
	}
	pauses := func() string {
		return b.read(t, `SELECT coalesce(string_agg(source || ' ' || reason, ','), '') FROM payee_pauses`)
	}

	pay(0, true)
	pay(1, true)
	pay(2, false)
	require.Equal(t, 2, b.payee(t, ada).Rejections, "codes of other tables do not count")
	require.Empty(t, pauses())
	pay(3, true)
	require.Equal(t, "system rejections", pauses())
	require.Equal(t, "destination_refused", b.read(t, `SELECT code FROM payee_notes WHERE payee_id = $1 AND times = 1 AND code LIKE 'dest%'`, ada))
	b.sound(t)
}

func TestAPaidPayoutEndsTheCountOfRejections(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	b.exec(t, `UPDATE payees SET rejections = 2`)
	b.live(t, id, "start", "transfer", "payout", "paid")
	require.Zero(t, b.payee(t, ada).Rejections)
}

func TestARefusedInstantPayoutIsNotedForAWeek(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	b.live(t, id, "start")
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		return b.store.TransferRefused(ctx, tx, id, payout.Failure{Class: "rejected", Code: "instant_payouts_unsupported", InstantRefused: true})
	})
	until := b.payee(t, ada).InstantRefusedUntil
	require.NotNil(t, until)
	require.WithinDuration(t, time.Now().Add(7*24*time.Hour), *until, time.Hour)
	require.Zero(t, b.payee(t, ada).Rejections)
}
