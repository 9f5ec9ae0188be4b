package activities_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/activities"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

const (
	connected = "acct_1"
	bank      = "ba_1"
	first     = "po_000000000000000000000001"
)

// payoutBundle is a payee with 100.00 USD and a connected account, a platform with 10,000.00 USD, and
// the moves of payouts. Each move is made by a client of its own: on a connection that was used before,
// net/http would send a keyed request again by itself, and a dropped answer would not show.
type payoutBundle struct {
	bundle

	store *payout.Store
}

// noTurns never makes anybody wait.
type noTurns struct{}

func (noTurns) Wait(context.Context) error { return nil }

func setupPayouts(t *testing.T) payoutBundle {
	t.Helper()
	inner := setup(t)
	b := payoutBundle{bundle: inner, store: payout.NewStore(inner.pool, payout.DefaultPolicy(), feed.NewWriter(nil), workflows.PayoutWork())}
	b.registerMoves(t)
	b.signUp(t)
	_, err := b.simulator.Stripe().PutAccount(simulator.Account{ID: connected, ExternalAccounts: []simulator.ExternalAccount{{ID: bank}}})
	require.NoError(t, err)
	require.NoError(t, b.simulator.Stripe().SetPlatformBalance("usd", 1_000_000))
	b.putPayee(t, connected)
	b.earn(t, "e_1", payout.Sale, 10_000)
	return b
}

func (b payoutBundle) registerMoves(t *testing.T) {
	t.Helper()
	moves := func() (*activities.StripePayouts, error) {
		client, err := stripe.New(stripe.Config{SecretKey: simulator.DefaultStripeKey, APIBase: b.simulator.StripeURL(), Timeout: b.patience()})
		return activities.NewStripePayouts(b.pool, b.store, client, nil, noTurns{}, quiet()), err
	}
	type move = func(*activities.StripePayouts, context.Context, workflows.PayoutStepInput) (workflows.PayoutMove, error)
	for name, do := range map[string]move{
		workflows.ActivityCheckDestination: (*activities.StripePayouts).CheckDestination,
		workflows.ActivitySendTransfer:     (*activities.StripePayouts).SendTransfer,
		workflows.ActivitySendPayout:       (*activities.StripePayouts).SendPayout,
		workflows.ActivityReadPayout:       (*activities.StripePayouts).ReadPayout,
		workflows.ActivityReverseTransfer:  (*activities.StripePayouts).ReverseTransfer,
	} {
		b.register(name, func(ctx context.Context, in workflows.PayoutStepInput) (workflows.PayoutMove, error) {
			s, err := moves()
			if err != nil {
				return workflows.PayoutMove{}, err
			}
			return do(s, ctx, in)
		})
	}
	b.register(workflows.ActivityPlanPayout, activities.NewPayouts(b.pool).PlanPayout)
}

func (b payoutBundle) putPayee(t *testing.T, account string) {
	t.Helper()
	_, _, err := b.store.PutPayee(t.Context(), payout.Profile{
		ID: id, Email: address, Country: "US", Currency: "usd", Rail: payout.RailStripe, StripeAccountID: account, Schedule: payout.Daily,
	})
	require.NoError(t, err)
}

func (b payoutBundle) earn(t *testing.T, earningID string, kind payout.EarningKind, minor int64) {
	t.Helper()
	_, _, err := b.store.PutEarning(t.Context(), id, payout.Earning{
		ID: earningID, Kind: kind, Amount: money.New(minor, "usd"), OccurredAt: time.Now().AddDate(0, 0, -20),
	})
	require.NoError(t, err)
}

// freeze stores a payout as a run does: with its money claimed.
func (b payoutBundle) freeze(t *testing.T, payoutID string, method payout.Method, gross, fee int64) {
	t.Helper()
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO payout_runs (date, cause, state, computed_at, ended_at) VALUES (current_date, 'test', 'ended', now(), now())
			ON CONFLICT DO NOTHING`)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO payouts (id, payee_id, kind, run_date, attempt, due_date, method, currency, gross, fee, net, period_end,
				stripe_account_id, destination_id)
			VALUES ($1, $2, 'scheduled', current_date, (SELECT 1 + count(*) FROM payouts), current_date, $3, 'usd', $4::bigint, $5::bigint,
				$4::bigint - $5::bigint, current_date, $6, $7)`, payoutID, id, method, gross, fee, connected, bank)
		if err != nil {
			return err
		}
		return ledger.Claim(ctx, tx, date.Of(time.Now()), ledger.Payout{
			ID: payoutID, PayeeID: id, Rail: ledger.Stripe, AccountID: connected, Gross: money.New(gross, "usd"), Fee: money.New(fee, "usd"), Epoch: 1,
		})
	})
}

// standard freezes a standard payout of all that the payee has.
func (b payoutBundle) standard(t *testing.T) {
	t.Helper()
	b.freeze(t, first, payout.MethodStandard, 10_000, 0)
}

// instant freezes an instant payout of 100.00 USD for a payee who was paid at this bank before, four
// days ago.
func (b payoutBundle) instant(t *testing.T) (payoutID string) {
	t.Helper()
	b.standard(t)
	b.drive(t, first)
	b.settle(t, first)
	b.exec(t, `UPDATE payees SET destination_changed_at = now() - interval '4 days'`)
	b.earn(t, "e_2", payout.Sale, 10_000)
	payoutID = "po_000000000000000000000002"
	b.freeze(t, payoutID, payout.MethodInstant, 10_000, 292)
	return payoutID
}

func (b payoutBundle) inTx(t *testing.T, do func(context.Context, pgx.Tx) error) {
	t.Helper()
	require.NoError(t, postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error { return do(t.Context(), tx) }))
}

func (b payoutBundle) now(t *testing.T, payoutID string) payout.Payout {
	t.Helper()
	p, err := payout.GetPayout(t.Context(), b.pool, payoutID)
	require.NoError(t, err)
	return p
}

// take makes one attempt at a move.
func (b payoutBundle) take(t *testing.T, payoutID, activity string) (next workflows.PayoutMove, err error) {
	t.Helper()
	value, err := b.env.ExecuteActivity(activity, workflows.PayoutStepInput{PayoutID: payoutID, Step: workflows.StepPayout})
	if err == nil {
		require.NoError(t, value.Get(&next))
	}
	return next, err
}

// must makes one attempt at a move that succeeds.
func (b payoutBundle) must(t *testing.T, payoutID, activity string) workflows.PayoutMove {
	t.Helper()
	next, err := b.take(t, payoutID, activity)
	require.NoError(t, err, activity)
	return next
}

func (b payoutBundle) plan(t *testing.T, payoutID string) workflows.PayoutMove {
	t.Helper()
	value, err := b.env.ExecuteActivity(workflows.ActivityPlanPayout, workflows.PayoutPlanInput{PayoutID: payoutID})
	require.NoError(t, err)
	var plan workflows.PayoutPlan
	require.NoError(t, value.Get(&plan))
	return plan.Next
}

// drive makes moves as the workflow does, until there is none left or the next one has to wait.
func (b payoutBundle) drive(t *testing.T, payoutID string) workflows.PayoutMove {
	t.Helper()
	const most = 12
	next := b.plan(t, payoutID)
	for range most {
		if next.Do == "" || next.At != nil {
			return next
		}
		next = b.must(t, payoutID, next.Do)
	}
	t.Fatalf("%s is not at rest after %d moves, but at %s", payoutID, most, next.Do)
	return next
}

// until makes moves as the workflow does, and stops before the one named.
func (b payoutBundle) until(t *testing.T, payoutID, activity string) {
	t.Helper()
	next := b.plan(t, payoutID)
	for next.Do != activity {
		require.NotEmpty(t, next.Do)
		require.Nil(t, next.At, next.Do)
		next = b.must(t, payoutID, next.Do)
	}
}

// insist repeats a move of the first payout as Temporal does, and lets the time pass that its failures ask for.
func (b payoutBundle) insist(t *testing.T, activity string) (next workflows.PayoutMove) {
	t.Helper()
	const most = 12
	var err error
	for range most {
		if next, err = b.take(t, first, activity); err == nil {
			return next
		}
		b.tenMinutesPass(t)
	}
	require.NoError(t, err)
	return next
}

// tenMinutesPass makes everything older that look-ups count from.
func (b payoutBundle) tenMinutesPass(t *testing.T) {
	t.Helper()
	b.exec(t, `UPDATE provider_requests SET last_sent_at = last_sent_at - interval '10 minutes', missing_since = missing_since - interval '10 minutes',
		first_sent_at = first_sent_at - interval '10 minutes' WHERE outcome = 'open'`)
}

// settle has Stripe pay a payout that is on its way.
func (b payoutBundle) settle(t *testing.T, payoutID string) {
	t.Helper()
	_, err := b.simulator.Stripe().SettlePayout(b.now(t, payoutID).ProviderPayoutID)
	require.NoError(t, err)
	require.Empty(t, b.must(t, payoutID, workflows.ActivityReadPayout).Do)
}

// balance is what the payee has and is not claimed.
func (b payoutBundle) balance(t *testing.T) int64 {
	t.Helper()
	has, err := ledger.Balance(t.Context(), b.pool, ledger.PayeeAccount(id), "usd")
	require.NoError(t, err)
	return has.Minor
}

// sound holds Stripe's books and ours against what must always be true.
func (b payoutBundle) sound(t *testing.T) {
	t.Helper()
	require.NoError(t, b.simulator.Stripe().MoneyAudit().Err())
	report, err := ledger.Verify(t.Context(), b.pool)
	require.NoError(t, err)
	require.NoError(t, report.Err())
	require.Zero(t, b.simulator.PostsWithoutKey())
}

// released holds a payout to have ended without being paid: everything is back where it was.
func (b payoutBundle) released(t *testing.T, payoutID string, state payout.State, code string) {
	t.Helper()
	p := b.now(t, payoutID)
	require.Equal(t, state, p.State)
	require.Equal(t, code, p.Reason)
	require.Equal(t, int64(10_000), b.balance(t))
	b.sound(t)
	if movements := b.simulator.Stripe().MoneyAudit().Payouts[payoutID]; movements != nil {
		require.Zero(t, movements.LiveTransfers)
		require.Zero(t, movements.LivePayouts)
	}
	require.Empty(t, b.plan(t, payoutID).Do, "it has ended")
}

// held holds the first payout to be left to a person, with nothing released.
func (b payoutBundle) held(t *testing.T, why string) {
	t.Helper()
	p := b.now(t, first)
	require.Equal(t, payout.Held, p.State)
	require.Contains(t, p.Reason, why)
	require.Zero(t, b.balance(t))
	b.sound(t)
	require.Empty(t, b.plan(t, first).Do, "a person decides")
}

// sent counts what was made at Stripe, whatever became of it.
func (b payoutBundle) sent() string {
	reversals := 0
	for _, transfer := range b.simulator.Stripe().Transfers() {
		reversals += len(transfer.Reversals)
	}
	return fmt.Sprintf("%d transfers, %d payouts, %d reversals", len(b.simulator.Stripe().Transfers()), len(b.simulator.Stripe().Payouts(connected)), reversals)
}

// epoch is under how many keys an operation was sent, or is to be.
func (b payoutBundle) epoch(t *testing.T, operation string) int {
	t.Helper()
	return b.count(t, `SELECT coalesce(max(epoch), 0) FROM provider_requests WHERE operation = '`+operation+`'`)
}

// client is somebody else's who has our key.
func (b payoutBundle) client(t *testing.T) *stripe.Client {
	t.Helper()
	client, err := stripe.New(stripe.Config{SecretKey: simulator.DefaultStripeKey, APIBase: b.simulator.StripeURL(), Timeout: b.patience()})
	require.NoError(t, err)
	return client
}

// transferOf is the transfer of a standard payout, as we send it.
func transferOf(payoutID string) stripe.TransferRequest {
	return stripe.TransferRequest{Amount: 10_000, Currency: "usd", Destination: connected, TransferGroup: payoutID, PayoutID: payoutID, PayeeID: id}
}
