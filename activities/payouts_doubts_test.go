package activities_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

// A payout that was begun and whose transfer has not gone yet, whatever it waits for, is canceled when a
// refund leaves too little for it: what counts is what there is right before the first movement.
func TestARefundWhileATransferWaitsKeepsTheMoney(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]func(payoutBundle, *testing.T){
		"for its turn": func(b payoutBundle, t *testing.T) { b.until(t, first, workflows.ActivitySendTransfer) },
		"for the platform's funds": func(b payoutBundle, t *testing.T) {
			require.NoError(t, b.simulator.Stripe().SetPlatformBalance("usd", 9_999))
			b.drive(t, first)
			require.NoError(t, b.simulator.Stripe().SetPlatformBalance("usd", 10_000))
		},
		"for the kill switch": func(b payoutBundle, t *testing.T) {
			b.until(t, first, workflows.ActivitySendTransfer)
			require.NoError(t, b.store.SetSwitch(t.Context(), false, "ops", "a test"))
			b.drive(t, first)
			require.NoError(t, b.store.SetSwitch(t.Context(), true, "ops", "a test"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupPayouts(t)
			b.standard(t)
			wait(b, t)
			require.Equal(t, payout.Sending, b.now(t, first).State)
			b.earn(t, "r_1", payout.Refund, 1)

			b.drive(t, first)

			require.Equal(t, payout.Canceled, b.now(t, first).State)
			require.Equal(t, string(payout.BecauseBalanceNegative), b.now(t, first).Reason)
			require.Equal(t, int64(9_999), b.balance(t))
			require.Equal(t, 1, b.count(t, `SELECT count(*) FROM payee_notes WHERE code = 'balance_negative'`))
			require.Equal(t, "0 transfers, 0 payouts, 0 reversals", b.sent())
			b.sound(t)
		})
	}
}

// What may have been sent before a refund is sent again under its key: only so it is known whether it was done.
func TestARefundAfterATransferWasSentChangesNothing(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.standard(t)
	b.until(t, first, workflows.ActivitySendTransfer)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.ExecuteThenDrop, Method: "POST"}))
	_, err := b.take(t, first, workflows.ActivitySendTransfer)
	require.Error(t, err)
	require.NoError(t, b.simulator.ClearFaults())
	b.earn(t, "r_1", payout.Refund, 1)

	b.drive(t, first)

	require.Equal(t, payout.InTransit, b.now(t, first).State)
	require.Equal(t, "1 transfers, 1 payouts, 0 reversals", b.sent())
	b.sound(t)
}

// What a restored backup knows nothing of, and what Stripe shows otherwise than it was sent, is left to a
// person, also for a payout that nobody here has begun.
func TestAnOldPlannedPayoutThatStripeHasTwiceIsHeld(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.standard(t)
	b.twoDaysPass(t)
	for _, key := range []string{"one", "two"} {
		_, err := b.client(t).CreateTransfer(t.Context(), transferOf(first), key)
		require.NoError(t, err)
	}

	b.must(t, first, workflows.ActivityCheckDestination)

	p := b.now(t, first)
	require.Equal(t, payout.Held, p.State)
	require.Equal(t, "payout_is_not_as_it_was_sent", p.Reason)
	require.Zero(t, b.balance(t))
	require.Empty(t, b.plan(t, first).Do, "a person decides")
}

// A transfer that is known is looked at itself: what lists show depends on what others can change, and on
// when the payout was planned, which a restored backup makes later than its transfer.
func TestAHeldPayoutIsNotResolvedAsFailedWhileItsOwnTransferStands(t *testing.T) {
	t.Parallel()
	b := setupDecisions(t)
	b.standard(t)
	b.until(t, first, workflows.ActivitySendPayout)
	b.hold(t)
	b.untriggered(t, func(do func(string)) { do(`UPDATE payouts SET created_at = created_at + interval '1 hour'`) })

	requireRefused(t, b.resolveFailed(false), "is not reversed")

	b.held(t, "a test")
}

// The same for a payout that Stripe has, and whose transfer is back all the same.
func TestAHeldPayoutIsNotResolvedAsFailedWhileItsOwnPayoutStands(t *testing.T) {
	t.Parallel()
	b := setupDecisions(t)
	b.heldOnItsWay(t)
	b.untriggered(t, func(do func(string)) { do(`UPDATE payouts SET created_at = created_at + interval '1 hour'`) })
	require.NoError(t, b.simulator.Stripe().SetAccountBalance(connected, "usd", 10_000))
	p := b.now(t, first)
	_, err := b.client(t).ReverseTransfer(t.Context(), p.TransferID, p.Net.Minor, "", "by_hand")
	require.NoError(t, err)

	requireRefused(t, b.resolveFailed(false), p.ProviderPayoutID)

	require.Equal(t, payout.Held, b.now(t, first).State)
	require.Zero(t, b.balance(t))
}

// A run that is done again days after it was, because a restored backup knows nothing of it, finds what it
// paid: Stripe has forgotten the keys.
func TestARunThatIsPlannedAgainDaysLaterPaysNothingAgain(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.standard(t)
	planned := b.backUp(t)
	b.drive(t, first)
	b.settle(t, first)
	paid := b.now(t, first)
	planned()
	b.simulator.Stripe().PruneIdempotencyKeys()
	b.untriggered(t, func(do func(string)) {
		do(`UPDATE payout_runs SET date = current_date - 2`)
		do(`UPDATE payouts SET run_date = current_date - 2, created_at = now() + interval '1 hour'`) // it was paid an hour before it was planned again
	})

	b.drive(t, first)
	b.exec(t, `UPDATE payouts SET moved_at = moved_at - interval '10 minutes'`)
	b.drive(t, first)
	b.must(t, first, workflows.ActivityReadPayout)

	require.Equal(t, "1 transfers, 1 payouts, 0 reversals", b.sent())
	now := b.now(t, first)
	require.Equal(t, []string{string(payout.Paid), paid.TransferID, paid.ProviderPayoutID}, []string{string(now.State), now.TransferID, now.ProviderPayoutID})
	b.sound(t)
}

// What a restored backup has as planned may have been paid since: it is looked for before it is ended, for
// whatever reason.
func TestWhatIsPlannedAfterARestoreIsNotReleasedWhenItWasPaid(t *testing.T) {
	t.Parallel()
	for name, obstacle := range map[string]func(payoutBundle, *testing.T){
		"a refund": func(b payoutBundle, t *testing.T) { b.earn(t, "r_1", payout.Refund, 1) },
		"another bank": func(b payoutBundle, t *testing.T) {
			b.change(t, func(a *simulator.Account) { a.ExternalAccounts[0].ID = "ba_2" })
		},
		"an account disabled": func(b payoutBundle, t *testing.T) {
			b.change(t, func(a *simulator.Account) { a.TransfersDisabled = true })
		},
	} {
		for _, lost := range []string{workflows.ActivityCheckDestination, workflows.ActivitySendTransfer} {
			t.Run(name+"/"+lost, func(t *testing.T) {
				t.Parallel()
				b := setupPayouts(t)
				b.standard(t)
				b.until(t, first, lost)
				restore := b.backUp(t)
				b.drive(t, first)
				b.settle(t, first)
				restore()
				obstacle(b, t)

				b.drive(t, first)
				b.exec(t, `UPDATE payouts SET moved_at = moved_at - interval '10 minutes'`)
				b.drive(t, first)
				b.must(t, first, workflows.ActivityReadPayout)

				require.Equal(t, payout.Paid, b.now(t, first).State)
				require.Equal(t, "1 transfers, 1 payouts, 0 reversals", b.sent())
				b.sound(t)
			})
		}
	}
}

// With the switch off nothing is sent again either, since that may be what moves the money. What was done
// is found, and the rest goes when the switch is on.
func TestTheKillSwitchStopsWhatMayHaveBeenSent(t *testing.T) {
	t.Parallel()
	for activity, sent := range map[string]string{
		workflows.ActivitySendTransfer: "0 transfers, 0 payouts, 0 reversals",
		workflows.ActivitySendPayout:   "1 transfers, 0 payouts, 0 reversals",
	} {
		t.Run(activity, func(t *testing.T) {
			t.Parallel()
			b := setupPayouts(t)
			b.standard(t)
			b.until(t, first, activity)
			require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.ServerError, Method: "POST"}))
			_, err := b.take(t, first, activity)
			require.Error(t, err)
			require.NoError(t, b.store.SetSwitch(t.Context(), false, "ops", "an outage"))
			require.NoError(t, b.simulator.ClearFaults())

			waits := b.drive(t, first)

			require.Equal(t, activity, waits.Do)
			require.NotNil(t, waits.At)
			require.Equal(t, sent, b.sent())
			require.NoError(t, b.store.SetSwitch(t.Context(), true, "ops", "it is over"))
			b.drive(t, first)
			require.Equal(t, payout.InTransit, b.now(t, first).State)
			require.Equal(t, "1 transfers, 1 payouts, 0 reversals", b.sent())
			b.sound(t)
		})
	}
}

// databaseClock sets the clock of the test's Postgres, as one that is wrong.
func (b payoutBundle) databaseClock(t *testing.T, off string) {
	t.Helper()
	for _, name := range []string{"now", "statement_timestamp", "clock_timestamp"} {
		b.exec(t, `CREATE FUNCTION public.`+name+`() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT pg_catalog.`+name+`() + interval '`+off+`' $$`)
	}
	b.exec(t, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database()); END $$`)
	b.pool.Reset()
}

// Waits are counted by one clock: a worker whose own is before Postgres's does not take what was just sent
// for absent, nor what was just looked at for old.
func TestAWorkersClockProvesNothing(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.databaseClock(t, "-11 minutes")
	b.standard(t)
	b.until(t, first, workflows.ActivitySendTransfer)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Stored500, Method: "POST", Times: 1}))
	for range 5 {
		_, err := b.take(t, first, workflows.ActivitySendTransfer)
		requireFailure(t, err, provider.OutcomeUnknown, true)
	}
	require.Equal(t, 1, b.epoch(t, "transfer"))

	b.insist(t, workflows.ActivitySendTransfer)
	b.drive(t, first)

	require.Equal(t, "1 transfers, 1 payouts, 0 reversals", b.sent())
	b.sound(t)
}

// A person's word is held to the same clock.
func TestAHeldPayoutIsNotResolvedAsFailedByAWorkersClock(t *testing.T) {
	t.Parallel()
	b := setupDecisions(t)
	b.databaseClock(t, "-11 minutes")
	b.standard(t)
	b.until(t, first, workflows.ActivitySendTransfer)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.ServerError, Method: "POST"}))
	_, err := b.take(t, first, workflows.ActivitySendTransfer)
	require.Error(t, err)
	require.NoError(t, b.simulator.ClearFaults())
	b.hold(t)

	requireRefused(t, b.resolveFailed(false), "less than ten minutes ago")
}

// What was transferred is waited for as long as it is to be, whatever the worker's clock says.
func TestFundsAreNotTakenBackEarlyByAWorkersClock(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.databaseClock(t, "-11 minutes")
	b.standard(t)
	b.until(t, first, workflows.ActivitySendPayout)
	require.NoError(t, b.simulator.Stripe().SetAccountBalance(connected, "usd", 9_999))

	waits := b.must(t, first, workflows.ActivitySendPayout)

	require.Equal(t, workflows.ActivitySendPayout, waits.Do)
	require.NotNil(t, waits.At)
}
