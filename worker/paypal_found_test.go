package main

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

// playBatchFound is a batch of one payout that PayPal refused, so that it was released, and of which PayPal then
// tells that it paid it. The batch, whose work has long ended, is looked at; a person has what was paid recorded,
// by the batch's workflow.
func playBatchFound(t *testing.T, b bundle) string {
	t.Helper()
	id := b.batch(t, "invalid-ada@example.org")
	b.batchOver(t, id, payout.Failed)
	toPayPal, err := paypal.New(paypal.Config{
		ClientID: simulator.DefaultPayPalClientID, ClientSecret: simulator.DefaultPayPalClientSecret, APIBase: b.simulator.PayPalURL(), Timeout: time.Minute,
	})
	require.NoError(t, err)
	made, err := toPayPal.CreatePayoutBatch(t.Context(), paypal.PayoutBatchRequest{
		SenderBatchID: "holdfast/paypal/payout_batch/" + id + "/1",
		Items:         []paypal.PayoutItemRequest{{Receiver: "ada@example.org", Value: "98.00", Currency: "USD", SenderItemID: payPalPayout(0)}},
	})
	require.NoError(t, err)

	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		_, err := b.payouts.HintBatch(ctx, tx, id, made.ID)
		return err
	})
	b.heardOf(t, id, "event")

	twice := func() []payout.PaidTwice {
		all, err := payout.ListPaidTwice(t.Context(), b.pool, time.Time{}, "", 10)
		require.NoError(t, err)
		return all
	}
	b.awaitCount(t, 1, `SELECT count(*) FROM paypal_other_items`)
	require.Len(t, twice(), 1)
	item := workflows.ItemDecisionInput{PayoutID: payPalPayout(0), DecisionInput: workflows.DecisionInput{Actor: "ops", ProviderID: "NOSUCHITEM"}}
	require.ErrorContains(t, b.decideOnItem(t, id, workflows.UpdateRecordDuplicate, item), "does not bear it out")
	item.ProviderID = twice()[0].ID
	require.NoError(t, b.decideOnItem(t, id, workflows.UpdateRecordDuplicate, item))
	require.Empty(t, twice())
	return b.batchOver(t, id, payout.Failed)
}
