package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

// payee makes a payee who has earned 100.00 USD and has a connected account at Stripe.
func (b bundle) payee(t *testing.T, id string) simulator.Account {
	t.Helper()
	b.signUp(t, id)
	account, err := b.simulator.Stripe().PutAccount(simulator.Account{})
	require.NoError(t, err)
	_, _, err = b.payouts.PutPayee(t.Context(), payout.Profile{
		ID: id, Email: id + "@example.com", Country: "US", Currency: "usd", Rail: payout.RailStripe, StripeAccountID: account.ID, Schedule: payout.Weekly,
	})
	require.NoError(t, err)
	_, _, err = b.payouts.PutEarning(t.Context(), id, payout.Earning{
		ID: "e_1", Kind: payout.Sale, Amount: money.New(10_000, "usd"), OccurredAt: time.Now().AddDate(0, 0, -20),
	})
	require.NoError(t, err)
	return account
}

// planned freezes a standard payout of all that the payee has, as a run does, and starts it.
func (b bundle) planned(t *testing.T, payeeID string, account simulator.Account) (id string) {
	t.Helper()
	id = fmt.Sprintf("po_%024d", len(payeeID))
	require.NoError(t, postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO payout_runs (date, cause, state, computed_at, ended_at) VALUES (current_date, 'test', 'ended', now(), now())
			ON CONFLICT DO NOTHING`)
		if err != nil {
			return err
		}
		_, err = tx.Exec(t.Context(), `INSERT INTO payouts (id, payee_id, kind, run_date, method, currency, gross, fee, net, period_end, due_date, stripe_account_id, destination_id)
			VALUES ($1, $2, 'scheduled', current_date, 'stripe_standard', 'usd', 10000, 0, 10000, now()::date, current_date, $3, $4)`,
			id, payeeID, account.ID, account.ExternalAccounts[0].ID)
		if err != nil {
			return err
		}
		return ledger.Claim(t.Context(), tx, date.Of(time.Now()), ledger.Payout{
			ID: id, PayeeID: payeeID, Rail: ledger.Stripe, AccountID: account.ID, Gross: money.New(10_000, "usd"), Fee: money.Zero("usd"), Epoch: 1,
		})
	}))
	return id
}

func TestAPayoutIsSentAndArrives(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.simulator.Stripe().SetPlatformBalance("usd", 1_000_000))
	account := b.payee(t, "u_1")
	id := b.planned(t, "u_1", account)

	run, err := b.temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: workflows.PayoutID(id), TaskQueue: workflows.TaskQueue}, workflows.NamePayout, workflows.PayoutInput{PayoutID: id})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		now, err := payout.GetPayout(t.Context(), b.pool, id)
		return err == nil && now.State == payout.InTransit
	}, time.Minute, 50*time.Millisecond)
	now, err := payout.GetPayout(t.Context(), b.pool, id)
	require.NoError(t, err)
	_, err = b.simulator.Stripe().SettlePayout(now.ProviderPayoutID)
	require.NoError(t, err)
	require.NoError(t, b.temporal.SignalWorkflow(t.Context(), workflows.PayoutID(id), "", workflows.SignalProviderEvent, nil))
	var result workflows.PayoutResult
	require.NoError(t, run.Get(t.Context(), &result))

	require.Equal(t, payout.Paid, result.State)
	require.NoError(t, b.simulator.Stripe().MoneyAudit().Err())
}

// A run pays everybody who is due, once, whoever starts it and however often.
func TestARunPaysWhoIsDue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.simulator.Stripe().SetPlatformBalance("usd", 1_000_000))
	on := date.Of(time.Now())
	for i := range 3 {
		id := fmt.Sprintf("u_%d", i)
		account := b.payee(t, id)
		require.NoError(t, postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
			return b.payouts.PutAccountSnapshot(t.Context(), tx, payout.Account{
				StripeAccountID: account.ID, PayeeID: id, Country: "US", Currency: "usd", ScheduleInterval: "manual", PayoutsEnabled: true,
				ExternalAccountID: account.ExternalAccounts[0].ID, ExternalCurrency: "usd", AsOf: time.Now(),
			})
		}))
	}
	_, err := b.pool.Exec(t.Context(), `UPDATE payees SET last_cycle = current_date - 30`)
	require.NoError(t, err)

	run, err := b.temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: workflows.PayoutRunID(on), TaskQueue: workflows.TaskQueue},
		workflows.NamePayoutRun, workflows.PayoutRunInput{Date: on})
	require.NoError(t, err)
	var result workflows.PayoutRunResult
	require.NoError(t, run.Get(t.Context(), &result))

	require.Equal(t, workflows.PayoutRunResult{Date: on, State: "ended", Looked: 3, Planned: 3, HandedOver: 3}, result)
	require.Eventually(t, func() bool { return len(b.simulator.Stripe().Payouts("")) == 3 }, time.Minute, 50*time.Millisecond)
	require.NoError(t, b.simulator.Stripe().MoneyAudit().Err())
}
