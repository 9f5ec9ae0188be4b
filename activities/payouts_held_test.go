package activities_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/activities"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

// lookedAt has the first payout looked at as the sweep does, and gives what is known of it then.
func (b payoutBundle) lookedAt(t *testing.T) payout.Payout {
	t.Helper()
	value, err := b.env.ExecuteActivity(workflows.ActivityPlanPayout, workflows.PayoutPlanInput{PayoutID: first, Heard: true})
	require.NoError(t, err)
	var plan workflows.PayoutPlan
	require.NoError(t, value.Get(&plan))
	const most = 6
	next := plan.Next
	for range most {
		if next.Do == "" || next.At != nil {
			return b.now(t, first)
		}
		next = b.must(t, first, next.Do)
	}
	t.Fatalf("%s is not at rest, but at %s", first, next.Do)
	return payout.Payout{}
}

// findings are what Stripe was found to have of the first payout, oldest first.
func (b payoutBundle) findings(t *testing.T) []string {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `SELECT finding FROM payout_findings WHERE payout_id = $1 ORDER BY id`, first)
	require.NoError(t, err)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return all
}

// heldUnread is a payout at the bank that is held since its account was connected to us no more. It is again.
func heldUnread(t *testing.T) payoutBundle {
	t.Helper()
	b := setupPayouts(t)
	b.standard(t)
	b.drive(t, first)
	b.change(t, func(a *simulator.Account) { a.Revoked = true })
	b.must(t, first, workflows.ActivityReadPayout)
	b.held(t, "payout_unreadable: account_invalid")
	require.Equal(t, payout.Held, b.lookedAt(t).State, "there is nothing more to see")
	require.Len(t, b.findings(t), 1)
	require.Contains(t, b.findings(t)[0], "more that it does not show (account_invalid)")
	b.change(t, func(a *simulator.Account) { a.Revoked = false })
	return b
}

// What nobody could see goes on by itself when it can be seen again, whatever became of it meanwhile.
func TestAHeldPayoutThatCanBeSeenAgainGoesOn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		meanwhile func(b payoutBundle, providerID string) error
		end       payout.State
	}{
		"paid": {func(b payoutBundle, id string) error {
			_, err := b.simulator.Stripe().SettlePayout(id)
			return err
		}, payout.Paid},
		"failed": {func(b payoutBundle, id string) error {
			_, err := b.simulator.Stripe().FailPayout(id, "account_closed")
			return err
		}, payout.Failed},
		"on its way": {func(payoutBundle, string) error { return nil }, payout.InTransit},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := heldUnread(t)
			require.NoError(t, c.meanwhile(b, b.now(t, first).ProviderPayoutID))

			require.Equal(t, c.end, b.lookedAt(t).State)

			require.Len(t, b.findings(t), 2)
			b.sound(t)
			require.NoError(t, b.simulator.Stripe().MoneyAudit().Err())
		})
	}
}

// The answer to a payout was lost, and nobody was let in to look for it. Then it is found.
func TestAHeldPayoutWhoseAnswerWasLostIsAdopted(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.standard(t)
	b.until(t, first, workflows.ActivitySendPayout)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.ExecuteThen500, Method: "POST", Times: 1}))
	_, err := b.take(t, first, workflows.ActivitySendPayout)
	require.Error(t, err)
	b.change(t, func(a *simulator.Account) { a.Revoked = true })
	require.Empty(t, b.must(t, first, workflows.ActivitySendPayout).Do)
	b.held(t, "account_invalid")
	b.change(t, func(a *simulator.Account) { a.Revoked = false })

	now := b.lookedAt(t)

	require.Equal(t, payout.InTransit, now.State)
	require.NotEmpty(t, now.ProviderPayoutID)
	require.Equal(t, "1 transfers, 1 payouts, 0 reversals", b.sent())
	b.settle(t, first)
	require.Equal(t, payout.Paid, b.now(t, first).State)
	b.sound(t)
	require.NoError(t, b.simulator.Stripe().MoneyAudit().Err())
}

// heldForMoney is a payout whose transfer could not be taken back.
func heldForMoney(t *testing.T) payoutBundle {
	t.Helper()
	b := setupDecisions(t)
	b.standard(t)
	b.until(t, first, workflows.ActivitySendPayout)
	b.refuseAtTheBank(t)
	b.until(t, first, workflows.ActivityReverseTransfer)
	require.NoError(t, b.simulator.Stripe().SetAccountBalance(connected, "usd", 9_999))
	require.Empty(t, b.must(t, first, workflows.ActivityReverseTransfer).Do)
	b.held(t, "reversal_refused: balance_insufficient")
	require.NoError(t, b.simulator.Stripe().SetAccountBalance(connected, "usd", 10_000))
	return b
}

// Whoever had the money come back: when all of it has, the payout ends as it was to. A part of it is shown
// to the person who decides, once.
func TestAHeldPayoutEndsWhenItsMoneyIsBack(t *testing.T) {
	t.Parallel()
	b := heldForMoney(t)
	b.giveBack(t, 4_000)
	for range 2 {
		require.Equal(t, payout.Held, b.lookedAt(t).State)
	}
	require.Equal(t, []string{"transfer " + b.now(t, first).TransferID + " of 100.00 USD, 40.00 USD of it reversed"}, b.findings(t), "once, as it stays the same")
	require.Zero(t, b.balance(t))

	_, err := b.client(t).ReverseTransfer(t.Context(), b.now(t, first).TransferID, 6_000, "", "the-rest")
	require.NoError(t, err)
	now := b.lookedAt(t)

	require.Equal(t, payout.Failed, now.State)
	require.NotEmpty(t, now.ReversalID)
	require.Equal(t, int64(10_000), b.balance(t))
	require.Len(t, b.findings(t), 2)
	b.sound(t)
	require.Equal(t, payout.Failed, b.lookedAt(t).State, "and is left alone")
}

// What came back after it was paid, was held, and is on the platform at last, was returned.
func TestAHeldReturnEndsWhenItsMoneyIsBack(t *testing.T) {
	t.Parallel()
	b := setupDecisions(t)
	b.standard(t)
	b.drive(t, first)
	b.settle(t, first)
	_, err := b.simulator.Stripe().ReturnPayout(b.now(t, first).ProviderPayoutID, "no_account")
	require.NoError(t, err)
	require.NoError(t, b.simulator.Stripe().SetAccountBalance(connected, "usd", 0))
	b.drive(t, first)
	b.held(t, "reversal_refused: balance_insufficient")
	require.NoError(t, b.simulator.Stripe().SetAccountBalance(connected, "usd", 10_000))
	require.Equal(t, payout.Held, b.lookedAt(t).State)
	b.giveBack(t, 10_000)

	require.Equal(t, payout.Returned, b.lookedAt(t).State)

	require.Equal(t, int64(10_000), b.balance(t))
	b.sound(t)
}

// Money that is back is no end while something of the payout may still be paid.
func TestAHeldPayoutDoesNotEndWhileSomethingOfItIsOnItsWay(t *testing.T) {
	t.Parallel()
	b := heldForMoney(t)
	require.NoError(t, b.simulator.Stripe().SetAccountBalance(connected, "usd", 20_000))
	b.change(t, func(a *simulator.Account) { a.ExternalAccounts[0].Refusal = "" })
	_, err := b.simulator.Stripe().PutPayout(simulator.Payout{Account: connected, Amount: 1, Metadata: map[string]string{stripe.MetadataPayoutID: first}})
	require.NoError(t, err)
	b.giveBack(t, 10_000)

	require.Equal(t, payout.Held, b.lookedAt(t).State)

	require.Contains(t, b.findings(t)[0], "of 0.01 USD, pending")
	require.Zero(t, b.balance(t))
}

// What is held since money may have moved twice, or under a key that was used otherwise, or for a reason that
// is no code of Stripe's, is a person's: they are told what there is, and nothing is moved.
func TestAHeldPayoutThatIsAPersonsStaysHeld(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{
		"idempotency_error", "payout_is_not_as_it_was_sent", "payout po_1: payout po_2, beside po_3: another object is known for it already", "a test",
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			b := setupPayouts(t)
			b.standard(t)
			b.drive(t, first)
			b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.Hold(ctx, tx, first, reason) })
			_, err := b.simulator.Stripe().SettlePayout(b.now(t, first).ProviderPayoutID)
			require.NoError(t, err)

			for range 2 {
				require.Equal(t, payout.Held, b.lookedAt(t).State)
			}

			require.Len(t, b.findings(t), 1)
			require.Contains(t, b.findings(t)[0], b.now(t, first).ProviderPayoutID+" of 100.00 USD, paid")
			require.NotNil(t, b.now(t, first).CheckedAt)
			b.held(t, reason)
		})
	}
}

// What claims to be the payout and is not as it was sent is not adopted.
func TestAHeldPayoutIsNotEndedByAnotherOne(t *testing.T) {
	t.Parallel()
	ours := map[string]string{stripe.MetadataPayoutID: first}
	for name, other := range map[string]simulator.Payout{
		"automatic":         {Amount: 10_000, Automatic: true, Metadata: ours, Status: "paid"},
		"of another amount": {Amount: 9_999, Metadata: ours, Status: "paid"},
		"made twice":        {Amount: 10_000, Metadata: ours, Status: "paid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := heldUnread(t)
			require.NoError(t, b.simulator.Stripe().SetAccountBalance(connected, "usd", 10_000))
			other.Account = connected
			_, err := b.simulator.Stripe().PutPayout(other)
			require.NoError(t, err)

			require.Equal(t, payout.Held, b.lookedAt(t).State)

			b.sound(t)
		})
	}
}

// Nobody has the payout looked at who wants to decide on it: what they are told is what there is then.
func TestAHeldPayoutIsNotLookedAtForADecision(t *testing.T) {
	t.Parallel()
	b := heldUnread(t)
	calls := len(b.simulator.Calls())
	require.Empty(t, b.plan(t, first).Do)
	require.Len(t, b.simulator.Calls(), calls)
}

// A sweep has what is held looked at, once a day.
func TestASweepLooksAtWhatIsHeld(t *testing.T) {
	t.Parallel()
	b := heldUnread(t)
	b.register(workflows.ActivitySweepPayouts, activities.NewPayoutRuns(b.pool, b.store, found{t}).SweepPayouts)
	require.Zero(t, b.sweep(t).Looked, "it was looked at today")
	b.exec(t, `UPDATE payouts SET checked_at = now() - interval '25 hours', state_since = now() - interval '25 hours'`)
	require.Equal(t, map[string]int{"stripe/held": 1}, b.sweep(t).Found)
	b.lookedAt(t)
	require.Zero(t, b.sweep(t).Looked)
}
