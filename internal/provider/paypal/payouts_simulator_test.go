package paypal_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	paypalgo "github.com/plutov/paypal/v4"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/internal/simulator"
)

// setupPayouts has 1,000.00 USD.
func setupPayouts(t *testing.T, settings simulator.PayPalPayoutSettings) bundle {
	t.Helper()
	b := setup(t)
	require.NoError(t, b.PayPal().SetPayPalBalance("USD", 100_000))
	require.NoError(t, b.PayPal().SetPayouts(settings))
	return b
}

// batchOf pays 10.00 USD to each receiver, whose address begins with the word.
func batchOf(words ...string) paypal.PayoutBatchRequest {
	batch := paypal.PayoutBatchRequest{SenderBatchID: batchKey, EmailSubject: "Your payout"}
	for n, word := range words {
		batch.Items = append(batch.Items, paypal.PayoutItemRequest{
			Receiver: fmt.Sprintf("%s-%d@example.com", word, n), Value: "10.00", Currency: "USD", SenderItemID: fmt.Sprintf("po_%d", n),
		})
	}
	return batch
}

func (b bundle) create(t *testing.T, batch paypal.PayoutBatchRequest) paypal.CreatedBatch {
	t.Helper()
	created, err := b.client.CreatePayoutBatch(t.Context(), batch)
	require.NoError(t, err)
	return created
}

func (b bundle) page(t *testing.T, id string, page int) paypal.PayoutBatchPage {
	t.Helper()
	got, err := b.client.GetPayoutBatch(t.Context(), id, page)
	require.NoError(t, err)
	return got
}

func TestABatchsLife(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t, simulator.PayPalPayoutSettings{Manual: true})
	id := b.create(t, batchOf("ok", "unclaimed", "failed", "onhold", "blocked", "returned", "refunded")).ID

	pending := b.page(t, id, 1)
	require.Equal(t, "PENDING", pending.Batch.Status)
	require.Equal(t, batchKey, pending.Batch.SenderBatchID)
	require.NotZero(t, pending.Batch.CreatedAt)
	require.Empty(t, pending.Items)

	for range 2 {
		_, err := b.PayPal().AdvancePayPalBatch(id)
		require.NoError(t, err)
	}
	done := b.page(t, id, 1)
	require.Equal(t, "SUCCESS", done.Batch.Status)
	require.Equal(t, 7, done.TotalItems)
	require.Equal(t, 1, done.TotalPages)
	var statuses, codes []string
	for n, item := range done.Items {
		require.Equal(t, fmt.Sprintf("po_%d", n), item.SenderItemID)
		require.Equal(t, id, item.BatchID)
		require.Equal(t, "10.00 USD", item.Value+" "+item.Currency)
		require.NotZero(t, item.ProcessedAt)
		statuses, codes = append(statuses, item.Status), append(codes, item.ErrorCode)
	}
	require.Equal(t, []string{"SUCCESS", "UNCLAIMED", "FAILED", "ONHOLD", "BLOCKED", "RETURNED", "REFUNDED"}, statuses)
	require.Equal(t, []string{"", "RECEIVER_UNREGISTERED", "RECEIVER_ACCOUNT_LOCKED", "", "REGULATORY_BLOCKED", "RECEIVER_UNREGISTERED", ""}, codes)
	require.Equal(t, "0.20 USD", done.Items[0].FeeValue+" "+done.Items[0].FeeCurrency)
	require.NotEmpty(t, done.Items[0].TransactionID)
	require.Empty(t, done.Items[2].TransactionID)

	alone, err := b.client.GetPayoutItem(t.Context(), done.Items[0].ID)
	require.NoError(t, err)
	want := done.Items[0]
	want.SenderBatchID = batchKey
	require.Equal(t, want, alone)
}

func TestAnUnclaimedItemIsCanceledOnce(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t, simulator.PayPalPayoutSettings{})
	item := b.page(t, b.create(t, batchOf("unclaimed")).ID, 1).Items[0]

	canceled, err := b.client.CancelPayoutItem(t.Context(), item.ID, "k")
	require.NoError(t, err)
	require.Equal(t, "RETURNED", canceled.Status)
	require.Equal(t, "po_0", canceled.SenderItemID)

	_, err = b.client.CancelPayoutItem(t.Context(), item.ID, "k2")
	require.Equal(t, rejected, failureOf(t, err).Class)
	require.Equal(t, "ITEM_INCORRECT_STATUS", failureOf(t, err).Code)
	require.NoError(t, b.PayPal().PayPalMoneyAudit().Err())
}

func TestPagesOfALargeBatch(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t, simulator.PayPalPayoutSettings{})
	words := make([]string, 1001)
	for n := range words {
		words[n] = "ok"
	}
	require.NoError(t, b.PayPal().FundPayPal("USD", 10_000_000))
	id := b.create(t, batchOf(words...)).ID

	first, second := b.page(t, id, 1), b.page(t, id, 2)

	require.Len(t, first.Items, 1000)
	require.Len(t, second.Items, 1)
	require.Equal(t, "po_1000", second.Items[0].SenderItemID)
	for _, page := range []paypal.PayoutBatchPage{first, second} {
		require.Equal(t, 1001, page.TotalItems)
		require.Equal(t, 2, page.TotalPages)
	}
}

func TestALostAnswerIsFoundByTheSameBatchAgain(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t, simulator.PayPalPayoutSettings{})
	b.faults(t, simulator.Fault{Kind: simulator.ExecuteThenDrop, Method: http.MethodPost, PathPrefix: "/v1/payments", Times: 1})
	_, err := b.client.CreatePayoutBatch(t.Context(), batchOf("ok"))
	require.Equal(t, unknown, failureOf(t, err).Class)

	again := b.create(t, batchOf("ok"))

	require.True(t, again.Duplicate)
	require.Equal(t, batchKey, b.page(t, again.ID, 1).Batch.SenderBatchID)
	require.Len(t, b.PayPal().PayPalBatches(), 1)

	require.NoError(t, b.PayPal().SetPayouts(simulator.PayPalPayoutSettings{DuplicateWithoutLink: true}))
	_, err = b.client.CreatePayoutBatch(t.Context(), batchOf("ok"))
	failure := failureOf(t, err)
	require.Equal(t, unknown, failure.Class)
	require.Equal(t, paypal.CodeDuplicateBatch, failure.Code)
	require.True(t, failure.Replayed)
	require.NoError(t, b.PayPal().PayPalMoneyAudit().Err())
}

func TestEveryFaultOfABatchHasAClass(t *testing.T) {
	t.Parallel()
	for kind, want := range faultClasses {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			b := setupPayouts(t, simulator.PayPalPayoutSettings{})
			id := b.create(t, batchOf("ok")).ID
			fresh := batchOf("ok")
			fresh.SenderBatchID += "1"
			b.faults(t, simulator.Fault{Kind: kind, Provider: "paypal", PathPrefix: "/v1/payments"})

			_, err := b.client.CreatePayoutBatch(t.Context(), fresh)
			require.Equal(t, want.write, failureOf(t, err).Class)
			_, err = b.client.GetPayoutBatch(t.Context(), id, 1)
			require.Equal(t, want.read, failureOf(t, err).Class)
			require.Zero(t, b.PostsWithoutKey())
		})
	}
}

func TestABatchThatMeetsARefusedConnectionWasNotSent(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t, simulator.PayPalPayoutSettings{})
	b.faults(t, simulator.Fault{Kind: simulator.Refuse, Provider: "paypal"})

	_, err := b.client.CreatePayoutBatch(t.Context(), batchOf("ok"))

	require.Equal(t, transient, failureOf(t, err).Class)
	require.True(t, failureOf(t, err).Unsent())
	require.Empty(t, b.PayPal().PayPalBatches())
}

func TestARefusedBatchNamesItsItems(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t, simulator.PayPalPayoutSettings{})

	_, err := b.client.CreatePayoutBatch(t.Context(), batchOf("ok", "invalid", "ok", "invalid"))
	require.Equal(t, rejected, failureOf(t, err).Class)
	require.Equal(t, paypal.CodeValidation, failureOf(t, err).Code)
	require.Equal(t, payee, failureOf(t, err).Matter)
	require.Equal(t, "items", failureOf(t, err).Param)
	require.Equal(t, []int{1, 3}, paypal.BadItems(err))
	var cause *paypalgo.ErrorResponse
	require.ErrorAs(t, err, &cause, "the cause is there, for code alone")

	_, err = b.client.CreatePayoutBatch(t.Context(), batchOf("ok", "invalid-unnamed"))
	require.Equal(t, rejected, failureOf(t, err).Class)
	require.Equal(t, paypal.CodeValidation, failureOf(t, err).Code)
	require.Empty(t, paypal.BadItems(err))
	require.Empty(t, b.PayPal().PayPalBatches())
}

func TestABatchWithoutFunds(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t, simulator.PayPalPayoutSettings{RefuseUnfunded: true})
	require.NoError(t, b.PayPal().SetPayPalBalance("USD", 999))

	_, err := b.client.CreatePayoutBatch(t.Context(), batchOf("ok"))
	require.Equal(t, rejected, failureOf(t, err).Class)
	require.Equal(t, paypal.CodeInsufficientFunds, failureOf(t, err).Code)
	require.Equal(t, ours, failureOf(t, err).Matter)

	require.NoError(t, b.PayPal().SetPayouts(simulator.PayPalPayoutSettings{}))
	denied := b.page(t, b.create(t, batchOf("ok")).ID, 1)
	require.Equal(t, "DENIED", denied.Batch.Status)
	require.Equal(t, "FAILED", denied.Items[0].Status)
	require.Equal(t, ours, paypal.ItemMatter(denied.Items[0].ErrorCode))
}

func TestWhatIsNotThere(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t, simulator.PayPalPayoutSettings{})

	_, inBatch := b.client.GetPayoutBatch(t.Context(), "NOBODYS", 1)
	_, inItem := b.client.GetPayoutItem(t.Context(), "NOBODYS")
	_, inCancel := b.client.CancelPayoutItem(t.Context(), "NOBODYS", "k")

	for _, err := range []error{inBatch, inItem, inCancel} {
		require.Equal(t, notFound, failureOf(t, err).Class)
	}
}

func TestBalancesAndTransactionsOfABatch(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t, simulator.PayPalPayoutSettings{})
	began := time.Now()
	id := b.create(t, batchOf("ok")).ID
	item := b.page(t, id, 1).Items[0]

	balances, err := b.client.ListBalances(t.Context())
	require.NoError(t, err)
	require.Equal(t, []paypal.Money{{Value: "989.80", Currency: "USD"}}, balances.Available)
	require.NotZero(t, balances.AsOf)

	_, err = b.PayPal().ReversePayPalItem(item.ID, 250)
	require.NoError(t, err)
	found, err := b.client.SearchTransactions(t.Context(), began.Add(-time.Minute), began.Add(time.Hour), 1)
	require.NoError(t, err)
	require.Equal(t, 1, found.TotalPages)
	require.NotZero(t, found.RefreshedAt)
	byCode := map[string]paypal.Transaction{}
	for _, transaction := range found.Transactions {
		require.NotZero(t, transaction.InitiatedAt)
		require.NotZero(t, transaction.UpdatedAt)
		byCode[transaction.EventCode] = transaction
	}
	paid, back := byCode["T0001"], byCode["T1114"]
	require.Equal(t, item.TransactionID, paid.ID)
	require.Equal(t, id, paid.ReferenceID)
	require.Equal(t, "po_0", paid.CustomField)
	require.Equal(t, "-10.00 USD", paid.Value+" "+paid.Currency)
	require.Equal(t, "S", paid.Status)
	require.Equal(t, item.TransactionID, back.ReferenceID)
	require.Equal(t, "TXN", back.ReferenceType)
	require.Equal(t, "2.50 USD", back.Value+" "+back.Currency)
}

func TestPayoutCallsAreObservedWithoutIDs(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t, simulator.PayPalPayoutSettings{})
	item := b.page(t, b.create(t, batchOf("unclaimed")).ID, 1).Items[0]
	_, err := b.client.GetPayoutItem(t.Context(), item.ID)
	require.NoError(t, err)
	_, err = b.client.CancelPayoutItem(t.Context(), item.ID, "k")
	require.NoError(t, err)
	_, err = b.client.ListBalances(t.Context())
	require.NoError(t, err)
	_, err = b.client.SearchTransactions(t.Context(), day, day.Add(time.Hour), 1)
	require.NoError(t, err)

	require.Equal(t, []string{
		"POST /v1/oauth2/token 200",
		"POST /v1/payments/payouts 201",
		"GET /v1/payments/payouts/{id} 200",
		"GET /v1/payments/payouts-item/{id} 200",
		"POST /v1/payments/payouts-item/{id}/cancel 200",
		"GET /v1/reporting/balances 200",
		"GET /v1/reporting/transactions 200",
	}, b.observer.calls())
}
