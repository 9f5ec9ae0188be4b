package activities_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/activities"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

// setupDecisions is setupPayouts with what people decide, each decision by a client of its own.
func setupDecisions(t *testing.T) payoutBundle {
	t.Helper()
	b := setupPayouts(t)
	type decision = func(*activities.StripePayouts, context.Context, workflows.PayoutDecisionInput) (workflows.PayoutMove, error)
	for name, do := range map[string]decision{
		workflows.ActivityCancelPayout:    (*activities.StripePayouts).CancelPayout,
		workflows.ActivityResolvePayout:   (*activities.StripePayouts).ResolvePayout,
		workflows.ActivityRecordDuplicate: (*activities.StripePayouts).RecordDuplicate,
	} {
		b.register(name, func(ctx context.Context, in workflows.PayoutDecisionInput) (workflows.PayoutMove, error) {
			return do(activities.NewStripePayouts(b.pool, b.store, b.client(t), nil, noTurns{}, quiet()), ctx, in)
		})
	}
	return b
}

// decide has a person decide on the first payout.
func (b payoutBundle) decide(activity string, in workflows.DecisionInput) (next workflows.PayoutMove, err error) {
	in.Actor = "ops"
	value, err := b.env.ExecuteActivity(activity, workflows.PayoutDecisionInput{PayoutID: first, Decision: in})
	if err == nil {
		err = value.Get(&next)
	}
	return next, err
}

func (b payoutBundle) cancel() (workflows.PayoutMove, error) {
	return b.decide(workflows.ActivityCancelPayout, workflows.DecisionInput{})
}

func (b payoutBundle) resolvePaid(providerID string) error {
	_, err := b.decide(workflows.ActivityResolvePayout, workflows.DecisionInput{Outcome: "paid", ProviderID: providerID})
	return err
}

func (b payoutBundle) resolveFailed(force bool) error {
	_, err := b.decide(workflows.ActivityResolvePayout, workflows.DecisionInput{Outcome: "failed", Force: force})
	return err
}

// requireRefused holds a decision to be refused for good, with a sentence for whoever decided.
func requireRefused(t *testing.T, err error, why string) {
	t.Helper()
	var refusal *temporal.ApplicationError
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, workflows.ErrConflict, refusal.Type(), "%v", err)
	require.True(t, refusal.NonRetryable())
	require.Contains(t, refusal.Message(), why)
}

// hold leaves the first payout to a person.
func (b payoutBundle) hold(t *testing.T) {
	t.Helper()
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.Hold(ctx, tx, first, "a test") })
}

// heldOnItsWay is a payout that is held although Stripe has it.
func (b payoutBundle) heldOnItsWay(t *testing.T) (providerID string) {
	t.Helper()
	b.standard(t)
	b.drive(t, first)
	b.hold(t)
	return b.now(t, first).ProviderPayoutID
}

// giveBack reverses the transfer by hand.
func (b payoutBundle) giveBack(t *testing.T, amount int64) {
	t.Helper()
	_, err := b.client(t).ReverseTransfer(t.Context(), b.simulator.Stripe().Transfers()[0].ID, amount, "", "by-hand")
	require.NoError(t, err)
}

// balanced holds our books alone against what must always be true.
func (b payoutBundle) balanced(t *testing.T) {
	t.Helper()
	report, err := ledger.Verify(t.Context(), b.pool)
	require.NoError(t, err)
	require.NoError(t, report.Err())
}

// Until the money is at the bank a payout can be canceled, whatever was done for it, and everything is
// where it was.
func TestAPayoutIsCanceledAsLongAsItsMoneyCanBeKeptBack(t *testing.T) {
	t.Parallel()
	for name, until := range map[string]string{
		"planned":     workflows.ActivityCheckDestination,
		"sending":     workflows.ActivitySendTransfer,
		"transferred": workflows.ActivitySendPayout,
		"on its way":  "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupDecisions(t)
			b.standard(t)
			if until == "" {
				b.drive(t, first)
			} else {
				b.until(t, first, until)
			}

			for range 2 {
				_, err := b.cancel()
				require.NoError(t, err)
			}
			require.Empty(t, b.drive(t, first).Do)

			p := b.now(t, first)
			require.Equal(t, payout.Canceled, p.State)
			require.Equal(t, int64(10_000), b.balance(t))
			has, err := b.simulator.Stripe().Balance("")
			require.NoError(t, err)
			require.Equal(t, int64(1_000_000), has["usd"].Available)
			b.sound(t)
			_, err = b.cancel()
			require.NoError(t, err, "it stays canceled")
		})
	}
}

// What has arrived, or ended otherwise, is not canceled; nor is what Stripe has sent to the bank, of
// which we had not heard.
func TestAPayoutThatIsPaidIsNotCanceled(t *testing.T) {
	t.Parallel()
	b := setupDecisions(t)
	b.standard(t)
	b.drive(t, first)
	_, err := b.simulator.Stripe().SettlePayout(b.now(t, first).ProviderPayoutID)
	require.NoError(t, err)

	_, err = b.cancel()
	requireRefused(t, err, "Stripe does not bear it out")
	require.Equal(t, payout.InTransit, b.now(t, first).State)

	b.must(t, first, workflows.ActivityReadPayout)
	_, err = b.cancel()
	requireRefused(t, err, "cannot be canceled")
	require.Equal(t, payout.Paid, b.now(t, first).State)
	b.sound(t)
}

// While something was sent of which nobody knows what came of it, nothing is released.
func TestAPayoutIsNotCanceledWhileItIsNotKnownWhatWasSent(t *testing.T) {
	t.Parallel()
	for activity, what := range map[string]string{workflows.ActivitySendTransfer: "transfer", workflows.ActivitySendPayout: "payout"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := setupDecisions(t)
			b.standard(t)
			b.until(t, first, activity)
			require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Truncate, Method: "POST", Times: 1}))
			_, err := b.take(t, first, activity)
			require.Error(t, err)
			before := b.now(t, first)

			_, err = b.cancel()
			requireRefused(t, err, "a "+what+" was sent")
			require.Equal(t, before, b.now(t, first), "nothing of the cancellation stays")

			b.insist(t, activity)
			_, err = b.cancel()
			require.NoError(t, err)
			require.Empty(t, b.drive(t, first).Do)
			b.released(t, first, payout.Canceled, b.now(t, first).Reason)
		})
	}
}

// The answer to a cancellation may be lost: it is canceled all the same, and once.
func TestACancellationWhoseAnswerIsLostIsSeen(t *testing.T) {
	t.Parallel()
	b := setupDecisions(t)
	b.standard(t)
	b.drive(t, first)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.ExecuteThenDrop, Method: "POST", Times: 1}))

	_, err := b.cancel()
	requireRefused(t, err, "no clear answer")
	require.Equal(t, payout.InTransit, b.now(t, first).State)

	_, err = b.cancel()
	require.NoError(t, err)
	require.Empty(t, b.drive(t, first).Do)
	b.released(t, first, payout.Canceled, "canceled")
}

// Who decides waits for the answer: a Stripe that cannot say is told at once, and nothing changes.
func TestADecisionIsRefusedWhileStripeIsDown(t *testing.T) {
	t.Parallel()
	for _, kind := range []simulator.FaultKind{simulator.Refuse, simulator.BadGateway, simulator.Hang, simulator.WrongKey, simulator.TooManyRequests} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			b := setupDecisions(t)
			providerID := b.heldOnItsWay(t)
			before := b.now(t, first)
			require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: kind}))

			requireRefused(t, b.resolvePaid(providerID), "no clear answer")
			requireRefused(t, b.resolveFailed(false), "no clear answer")

			require.Equal(t, before, b.now(t, first))
		})
	}
}

func TestADecisionNeedsStripeToBeConfigured(t *testing.T) {
	t.Parallel()
	b := setupDecisions(t)
	b.register("CancelWithoutStripe", activities.NewStripePayouts(b.pool, b.store, nil, nil, noTurns{}, quiet()).CancelPayout)
	b.standard(t)
	_, err := b.decide("CancelWithoutStripe", workflows.DecisionInput{})
	requireRefused(t, err, "Stripe is not configured")
	require.Equal(t, payout.Planned, b.now(t, first).State)
}

func TestADecisionOnAPayoutThatThereIsNot(t *testing.T) {
	t.Parallel()
	b := setupDecisions(t)
	_, err := b.cancel()
	requireRefused(t, err, first)
}

// What a person says is paid is so when Stripe says the same of the very payout.
func TestAHeldPayoutIsResolvedAsPaid(t *testing.T) {
	t.Parallel()
	b := setupDecisions(t)
	providerID := b.heldOnItsWay(t)
	requireRefused(t, b.resolvePaid(providerID), "is pending")
	_, err := b.simulator.Stripe().SettlePayout(providerID)
	require.NoError(t, err)

	require.NoError(t, b.resolvePaid(providerID))

	p := b.now(t, first)
	require.Equal(t, payout.Paid, p.State)
	require.Equal(t, "ops", p.Actor)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM operator_actions WHERE actor = 'ops' AND action = 'resolve_payout'`))
	b.sound(t)
	requireRefused(t, b.resolvePaid(providerID), "not held")
	requireRefused(t, b.resolveFailed(true), "not held")
}

// The answers to both movements may have been lost: with the payout's id the transfer is found.
func TestAPayoutOfWhichNothingIsKnownIsResolvedAsPaid(t *testing.T) {
	t.Parallel()
	b := setupDecisions(t)
	b.standard(t)
	b.until(t, first, workflows.ActivitySendTransfer)
	b.hold(t)
	client := b.client(t)
	_, err := client.CreateTransfer(t.Context(), transferOf(first), "lost-transfer")
	require.NoError(t, err)
	made, err := client.CreatePayout(t.Context(), connected, stripe.PayoutRequest{
		Amount: 10_000, Currency: "usd", Method: "standard", Destination: bank, PayoutID: first, PayeeID: id,
	}, "lost-payout")
	require.NoError(t, err)
	_, err = b.simulator.Stripe().SettlePayout(made.ID)
	require.NoError(t, err)

	require.NoError(t, b.resolvePaid(made.ID))

	p := b.now(t, first)
	require.Equal(t, payout.Paid, p.State)
	require.Equal(t, b.simulator.Stripe().Transfers()[0].ID, p.TransferID)
	require.Equal(t, made.ID, p.ProviderPayoutID)
	b.balanced(t)
}

// A transfer that did not bring what was paid is not the payout's.
func TestAPayoutIsNotResolvedAsPaidByATransferOfAnotherSum(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sent, back int64 }{"less": {9_999, 0}, "more": {10_001, 0}, "in part given back": {10_000, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupDecisions(t)
			b.standard(t)
			b.until(t, first, workflows.ActivitySendTransfer)
			b.hold(t)
			require.NoError(t, b.simulator.Stripe().SetAccountBalance(connected, "usd", 50_000))
			client, request := b.client(t), transferOf(first)
			request.Amount = c.sent
			transfer, err := client.CreateTransfer(t.Context(), request, "by-hand/transfer")
			require.NoError(t, err)
			if c.back != 0 {
				_, err = client.ReverseTransfer(t.Context(), transfer.ID, c.back, "", "by-hand/back")
				require.NoError(t, err)
			}
			made, err := client.CreatePayout(t.Context(), connected, stripe.PayoutRequest{
				Amount: 10_000, Currency: "usd", Method: stripe.MethodStandard, Destination: bank, PayoutID: first, PayeeID: id,
			}, "by-hand/payout")
			require.NoError(t, err)
			_, err = b.simulator.Stripe().SettlePayout(made.ID)
			require.NoError(t, err)

			requireRefused(t, b.resolvePaid(made.ID), "is not of the payout's 100.00 USD")

			require.Equal(t, payout.Held, b.now(t, first).State)
		})
	}
}

// A payout that is not the one that was held proves nothing, however much it looks like it.
func TestAHeldPayoutIsNotResolvedByAnotherOne(t *testing.T) {
	t.Parallel()
	ours := map[string]string{stripe.MetadataPayoutID: first}
	for name, c := range map[string]struct {
		other simulator.Payout
		why   string
	}{
		"automatic":         {simulator.Payout{Amount: 10_000, Automatic: true, Metadata: ours, Status: "paid"}, "is not this payout"},
		"of another amount": {simulator.Payout{Amount: 9_999, Metadata: ours, Status: "paid"}, "is not this payout"},
		"of nobody":         {simulator.Payout{Amount: 10_000, Status: "paid"}, "is not this payout"},
		"of another payout": {simulator.Payout{Amount: 10_000, Metadata: map[string]string{stripe.MetadataPayoutID: "po_000000000000000000000009"}, Status: "paid"}, "is not this payout"},
		"a copy of it":      {simulator.Payout{Amount: 10_000, Metadata: ours, Status: "paid"}, "beside"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupDecisions(t)
			b.heldOnItsWay(t)
			before := b.now(t, first)
			require.NoError(t, b.simulator.Stripe().SetAccountBalance(connected, "usd", 50_000))
			c.other.Account, c.other.ID = connected, "po_other"
			_, err := b.simulator.Stripe().PutPayout(c.other)
			require.NoError(t, err)

			requireRefused(t, b.resolvePaid("po_other"), c.why)

			require.Equal(t, before, b.now(t, first))
		})
	}
}

func TestAHeldPayoutIsNotResolvedByWhatIsNoPayout(t *testing.T) {
	t.Parallel()
	b := setupDecisions(t)
	b.heldOnItsWay(t)
	for _, providerID := range []string{"", "po_nobodys", "tr_1", "../balance", "po_1/cancel"} {
		requireRefused(t, b.resolvePaid(providerID), "Stripe does not bear it out")
	}
	_, err := b.decide(workflows.ActivityResolvePayout, workflows.DecisionInput{Outcome: "canceled", Force: true})
	var refusal *temporal.ApplicationError
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, workflows.ErrInvalidInput, refusal.Type())
	require.Equal(t, payout.Held, b.now(t, first).State)
}

// With nothing at Stripe a payout failed; before anything was sent, too.
func TestAHeldPayoutOfWhichNothingWasMadeIsResolvedAsFailed(t *testing.T) {
	t.Parallel()
	b := setupDecisions(t)
	b.standard(t)
	b.until(t, first, workflows.ActivitySendTransfer)
	b.hold(t)

	require.NoError(t, b.resolveFailed(false))

	b.released(t, first, payout.Failed, "resolved")
}

// What was sent a moment ago may not show at Stripe yet. Ten minutes later it would.
func TestAHeldPayoutIsNotResolvedAsFailedRightAfterItWasSent(t *testing.T) {
	t.Parallel()
	b := setupDecisions(t)
	b.standard(t)
	b.until(t, first, workflows.ActivitySendTransfer)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Stored500, Method: "POST", Times: 1}))
	_, err := b.take(t, first, workflows.ActivitySendTransfer)
	require.Error(t, err)
	b.hold(t)

	requireRefused(t, b.resolveFailed(false), "a transfer was sent less than ten minutes ago")
	require.Equal(t, payout.Held, b.now(t, first).State)

	b.tenMinutesPass(t)
	require.NoError(t, b.resolveFailed(false))
	b.released(t, first, payout.Failed, "resolved")
}

// While its money is out a payout did not fail; once it is back it did.
func TestAHeldPayoutIsResolvedAsFailedWhenItsMoneyIsBack(t *testing.T) {
	t.Parallel()
	b := setupDecisions(t)
	providerID := b.heldOnItsWay(t)
	requireRefused(t, b.resolveFailed(false), "is not reversed")

	_, err := b.simulator.Stripe().FailPayout(providerID, "account_closed")
	require.NoError(t, err)
	requireRefused(t, b.resolveFailed(false), "is not reversed")
	b.giveBack(t, 4_000)
	requireRefused(t, b.resolveFailed(false), "is not reversed")
	require.Equal(t, payout.Held, b.now(t, first).State)
	_, err = b.client(t).ReverseTransfer(t.Context(), b.now(t, first).TransferID, 6_000, "", "the-rest-by-hand")
	require.NoError(t, err)

	require.NoError(t, b.resolveFailed(false))

	b.released(t, first, payout.Failed, "resolved")
	lost, err := ledger.Balance(t.Context(), b.pool, ledger.Account{Kind: ledger.KindFX}, "usd")
	require.NoError(t, err)
	require.Zero(t, lost.Minor)
}

// The transfer may be back, as by hand, with the payout still paying from what the account has.
func TestAHeldPayoutIsNotResolvedAsFailedWhileItIsAtStripe(t *testing.T) {
	t.Parallel()
	b := setupDecisions(t)
	b.heldOnItsWay(t)
	require.NoError(t, b.simulator.Stripe().SetAccountBalance(connected, "usd", 50_000))
	b.giveBack(t, 10_000)
	requireRefused(t, b.resolveFailed(false), "at Stripe is")
}

// By force it failed whatever Stripe says, or does not say: what is not back is lost to the platform, and
// the payee has the money again.
func TestAHeldPayoutIsResolvedAsFailedByForce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		back int64
		down bool
	}{"nothing is back": {}, "a part is back": {back: 4_000}, "Stripe is down": {down: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupDecisions(t)
			b.heldOnItsWay(t)
			if c.back > 0 {
				require.NoError(t, b.simulator.Stripe().SetAccountBalance(connected, "usd", 50_000))
				b.giveBack(t, c.back)
			}
			if c.down {
				require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Refuse}))
			}

			require.NoError(t, b.resolveFailed(true))

			require.Equal(t, payout.Failed, b.now(t, first).State)
			require.Equal(t, int64(10_000), b.balance(t))
			lost, err := ledger.Balance(t.Context(), b.pool, ledger.Account{Kind: ledger.KindFX}, "usd")
			require.NoError(t, err)
			require.Equal(t, 10_000-c.back, lost.Minor)
			require.Equal(t, 1, b.count(t, `SELECT count(*) FROM operator_actions WHERE actor = 'ops' AND action = 'resolve_payout_by_force'`))
			b.balanced(t)
		})
	}
}

// Of a second transfer, made by mistake and taken back, the ledger never knew: it is not counted as
// received.
func TestWhatCameBackOfAnotherTransferIsNotCounted(t *testing.T) {
	t.Parallel()
	b := setupDecisions(t)
	b.standard(t)
	b.until(t, first, workflows.ActivitySendPayout)
	b.hold(t)
	twice, err := b.client(t).CreateTransfer(t.Context(), transferOf(first), "by-mistake")
	require.NoError(t, err)
	for _, transferID := range []string{twice.ID, b.now(t, first).TransferID} {
		_, err := b.client(t).ReverseTransfer(t.Context(), transferID, 10_000, "", "back/"+transferID)
		require.NoError(t, err)
	}

	require.NoError(t, b.resolveFailed(false))

	b.released(t, first, payout.Failed, "resolved")
	gained, err := ledger.Balance(t.Context(), b.pool, ledger.Account{Kind: ledger.KindFX}, "usd")
	require.NoError(t, err)
	require.Zero(t, gained.Minor)
}
