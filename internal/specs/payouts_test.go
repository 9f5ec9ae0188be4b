package specs_test

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/internal/simulator"
)

const senderBatchID = "holdfast/paypal/payout_batch/pb_000000000000000000000001/1"

// batchOf pays 10.00 USD to each receiver.
func batchOf(receivers ...string) paypal.PayoutBatchRequest {
	batch := paypal.PayoutBatchRequest{SenderBatchID: senderBatchID, EmailSubject: "Your payout"}
	for n, receiver := range receivers {
		batch.Items = append(batch.Items, paypal.PayoutItemRequest{
			Receiver: receiver, Value: "10.00", Currency: "USD", SenderItemID: fmt.Sprintf("po_%d", n),
		})
	}
	return batch
}

// requireClass sees that a call failed, and how.
func requireClass(t *testing.T, class provider.Class, err error) {
	t.Helper()
	failure, ok := errors.AsType[*provider.Failure](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, class, failure.Class)
}

// TestPayPalPayoutsAdapter sends every request about payouts that the adapter has.
func TestPayPalPayoutsAdapter(t *testing.T) {
	t.Parallel()
	p := setupPayPalOf(t, payPalPayouts)
	client := p.client(t)
	require.NoError(t, p.PayPal().SetPayouts(simulator.PayPalPayoutSettings{Manual: true}))

	created, err := client.CreatePayoutBatch(t.Context(), batchOf(
		"ok@x.test", "unclaimed-1@x.test", "failed-1@x.test", "onhold-1@x.test", "blocked-1@x.test", "returned-1@x.test",
		"refunded-1@x.test", "reversed-1@x.test",
	))
	require.NoError(t, err)
	_, err = client.GetPayoutBatch(t.Context(), created.ID, 1)
	require.NoError(t, err)
	for range 2 {
		_, err = p.PayPal().AdvancePayPalBatch(created.ID)
		require.NoError(t, err)
		_, err = client.GetPayoutBatch(t.Context(), created.ID, 1)
		require.NoError(t, err)
	}
	page, err := client.GetPayoutBatch(t.Context(), created.ID, 1)
	require.NoError(t, err)
	require.Len(t, page.Items, 8)
	for _, item := range page.Items {
		_, err = client.GetPayoutItem(t.Context(), item.ID)
		require.NoError(t, err)
	}
	_, err = client.CancelPayoutItem(t.Context(), page.Items[1].ID, "k")
	require.NoError(t, err)

	require.Equal(t, []string{
		"GET /v1/payments/payouts-item/{payout_item_id} 200",
		"GET /v1/payments/payouts/{id} 200",
		"POST /v1/oauth2/token 200",
		"POST /v1/payments/payouts 201",
		"POST /v1/payments/payouts-item/{payout_item_id}/cancel 200",
	}, p.checked.seen())
}

// TestPayPalPayoutsRefusals meets every refusal of a request that is sent rightly.
func TestPayPalPayoutsRefusals(t *testing.T) {
	t.Parallel()
	p := setupPayPalOf(t, payPalPayouts)
	client := p.client(t)
	created, err := client.CreatePayoutBatch(t.Context(), batchOf("ok@x.test"))
	require.NoError(t, err)
	page, err := client.GetPayoutBatch(t.Context(), created.ID, 1)
	require.NoError(t, err)

	again, err := client.CreatePayoutBatch(t.Context(), batchOf("ok@x.test"))
	require.NoError(t, err)
	require.True(t, again.Duplicate)
	_, err = client.CancelPayoutItem(t.Context(), page.Items[0].ID, "k")
	requireClass(t, provider.Rejected, err)

	invalid := batchOf("ok@x.test", "invalid-1@x.test")
	invalid.SenderBatchID += "1"
	_, err = client.CreatePayoutBatch(t.Context(), invalid)
	requireClass(t, provider.Rejected, err)
	require.Equal(t, []int{1}, paypal.BadItems(err))

	require.NoError(t, p.PayPal().SetPayouts(simulator.PayPalPayoutSettings{RefuseUnfunded: true}))
	require.NoError(t, p.PayPal().SetPayPalBalance("USD", 0))
	unfunded := batchOf("ok@x.test")
	unfunded.SenderBatchID += "2"
	_, err = client.CreatePayoutBatch(t.Context(), unfunded)
	requireClass(t, provider.Rejected, err)

	_, err = client.GetPayoutBatch(t.Context(), "NOBODYS", 1)
	requireClass(t, provider.NotFound, err)
	_, err = client.GetPayoutItem(t.Context(), "NOBODYS")
	requireClass(t, provider.NotFound, err)
	_, err = client.CancelPayoutItem(t.Context(), "NOBODYS", "k")
	requireClass(t, provider.NotFound, err)
	require.NoError(t, p.SetFaults(simulator.Fault{Kind: simulator.ServerError, PathPrefix: "/v1/payments"}))
	_, err = client.GetPayoutBatch(t.Context(), created.ID, 1)
	requireClass(t, provider.Transient, err)

	require.Equal(t, []string{
		"GET /v1/payments/payouts-item/{payout_item_id} 404",
		"GET /v1/payments/payouts/{id} 200",
		"GET /v1/payments/payouts/{id} 404",
		"GET /v1/payments/payouts/{id} 500",
		"POST /v1/oauth2/token 200",
		"POST /v1/payments/payouts 201",
		"POST /v1/payments/payouts 400",
		"POST /v1/payments/payouts 422",
		"POST /v1/payments/payouts-item/{payout_item_id}/cancel 400",
		"POST /v1/payments/payouts-item/{payout_item_id}/cancel 404",
	}, p.checked.seen())
}

// TestPayPalReportsAdapter reads the balances, and searches the transactions of payouts.
func TestPayPalReportsAdapter(t *testing.T) {
	t.Parallel()
	p := setupPayPalOf(t, payPalReports)
	client, began := p.client(t), time.Now()
	_, err := newClient(t, p.PayPalURL()).CreatePayoutBatch(t.Context(), batchOf("ok@x.test", "unclaimed-1@x.test", "reversed-1@x.test"))
	require.NoError(t, err)

	balances, err := client.ListBalances(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, balances.Available)
	requireOldTimes(t, p.checked, "as_of_time", "last_refresh_time")
	found, err := client.SearchTransactions(t.Context(), began.Add(-time.Hour), began.Add(time.Hour), 1)
	require.NoError(t, err)
	require.NotEmpty(t, found.Transactions)
	requireOldTimes(t, p.checked, "start_date", "end_date", "last_refreshed_datetime", "transaction_initiation_date", "transaction_updated_date")
	require.NoError(t, p.SetFaults(simulator.Fault{Kind: simulator.ServerError, PathPrefix: "/v1/reporting"}))
	_, err = client.ListBalances(t.Context())
	requireClass(t, provider.Transient, err)

	require.Equal(t, []string{
		"GET /v1/reporting/balances 200",
		"GET /v1/reporting/balances 500",
		"GET /v1/reporting/transactions 200",
		"POST /v1/oauth2/token 200",
	}, p.checked.seen())
}

// requireOldTimes takes what was found to be wrong with one answer: these fields, and no others, are
// times with an offset without a colon. PayPal's reports still write them so, unless they are asked
// for what the document describes by a header that it does not have.
func requireOldTimes(t *testing.T, checked *checker, fields ...string) {
	t.Helper()
	found := checked.found()
	require.Len(t, found, 1)
	require.NotContains(t, found[0], "the document has no field")
	wrong := map[string]bool{}
	for _, complaint := range regexp.MustCompile(`Error at "([^"]*)": ([^|]*)`).FindAllStringSubmatch(found[0], -1) {
		require.Contains(t, complaint[2], `string doesn't match the regular expression "^[0-9]{4}-(0[1-9]`, complaint[1])
		wrong[path.Base(complaint[1])] = true
	}
	require.ElementsMatch(t, fields, slices.Collect(maps.Keys(wrong)))
}

// TestPayPalPayoutsEvents holds what is delivered against the document's request to verify a webhook,
// and the item or the batch in it against those of the document of payouts.
func TestPayPalPayoutsEvents(t *testing.T) {
	t.Parallel()
	events, payouts := load(t, payPalWebhooks), load(t, payPalPayouts)
	arrived, target := receiveEvents(t)
	sim := startSimulator(t, simulator.Config{PayPalWebhookURL: target})
	_, err := newClient(t, sim.PayPalURL()).CreatePayoutBatch(t.Context(), batchOf(
		"ok@x.test", "unclaimed-1@x.test", "failed-1@x.test", "onhold-1@x.test", "blocked-1@x.test", "refunded-1@x.test",
	))
	require.NoError(t, err)
	require.NoError(t, sim.PayPalWebhooks().Await(t.Context()))
	close(arrived)

	var types []string
	for a := range arrived {
		require.NoError(t, events.check("verify_webhook_signature", a.verification(sim.PayPal().WebhookID())))
		switch a.event["resource_type"] {
		case "payouts":
			resource := a.event["resource"].(map[string]any)
			delete(resource["batch_header"].(map[string]any), "payments") // which PayPal's events have, and no document
			require.NoError(t, payouts.check("payout_batch", resource))
		case "payouts_item":
			require.NoError(t, payouts.check("payout_item-2", a.event["resource"]))
		default:
			require.Fail(t, "an event of something else", "%v", a.event["resource_type"])
		}
		types = append(types, a.event["event_type"].(string))
	}
	require.ElementsMatch(t, []string{
		"PAYMENT.PAYOUTSBATCH.PROCESSING", "PAYMENT.PAYOUTSBATCH.SUCCESS",
		"PAYMENT.PAYOUTS-ITEM.SUCCEEDED", "PAYMENT.PAYOUTS-ITEM.UNCLAIMED", "PAYMENT.PAYOUTS-ITEM.FAILED", "PAYMENT.PAYOUTS-ITEM.HELD",
		"PAYMENT.PAYOUTS-ITEM.BLOCKED", "PAYMENT.PAYOUTS-ITEM.SUCCEEDED", "PAYMENT.PAYOUTS-ITEM.REFUNDED",
	}, types)
}
