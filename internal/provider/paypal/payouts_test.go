package paypal_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
)

const (
	batchKey = "holdfast/paypal/payout_batch/pb_000000000000000000000001/1"
	batchID  = "5UXD2E8A7EBQJ"
	itemID   = "8AELMXH8UB2P8"

	createdJSON = `{"batch_header":{"payout_batch_id":"5UXD2E8A7EBQJ","batch_status":"PENDING",
		"sender_batch_header":{"sender_batch_id":"` + batchKey + `","email_subject":"Your payout"}},
		"links":[{"href":"https://api-m.paypal.com/v1/payments/payouts/5UXD2E8A7EBQJ","rel":"self","method":"GET"}]}`

	itemJSON = `{"payout_item_id":"8AELMXH8UB2P8","transaction_id":"0C413693MN970190K","activity_id":"0E158638XS0329106",
		"transaction_status":"SUCCESS","payout_item_fee":{"currency":"USD","value":"0.35"},"payout_batch_id":"5UXD2E8A7EBQJ",
		"payout_item":{"amount":{"value":"9.87","currency":"usd"},"receiver":"ada@example.com","recipient_type":"EMAIL",
			"recipient_wallet":"PAYPAL","sender_item_id":"po_1"},
		"time_processed":"2026-11-20T10:18:32Z"}`

	batchJSON = `{"total_items":1500,"total_pages":2,"batch_header":{"payout_batch_id":"5UXD2E8A7EBQJ","batch_status":"PROCESSING",
		"time_created":"2026-11-20T10:17:00Z","sender_batch_header":{"sender_batch_id":"` + batchKey + `"},
		"amount":{"value":"435.85","currency":"USD"},"fees":{"value":"5.84","currency":"USD"}},"items":[` + itemJSON + `]}`
)

func testBatch() paypal.PayoutBatchRequest {
	return paypal.PayoutBatchRequest{
		SenderBatchID: batchKey, EmailSubject: "Your payout",
		Items: []paypal.PayoutItemRequest{
			{Receiver: "ada@example.com", Value: "10.00", Currency: "USD", SenderItemID: "po_1"},
			{Receiver: "o'neill+<b>&@example.com", Value: "9.87", Currency: "USD", SenderItemID: "po_2"},
		},
	}
}

func testItem() paypal.PayoutItem {
	return paypal.PayoutItem{
		ID: itemID, BatchID: batchID, TransactionID: "0C413693MN970190K", Status: "SUCCESS", SenderItemID: "po_1",
		Value: "9.87", Currency: "USD", FeeValue: "0.35", FeeCurrency: "USD",
		ProcessedAt: time.Date(2026, 11, 20, 10, 18, 32, 0, time.UTC),
	}
}

func TestABatchIsSentAsItIs(t *testing.T) {
	t.Parallel()
	s := &script{reply: reply{status: 201, body: createdJSON}}

	created, err := answering(t, s).CreatePayoutBatch(t.Context(), testBatch())

	require.NoError(t, err)
	require.Equal(t, paypal.CreatedBatch{ID: batchID}, created)
	require.Equal(t, []string{"POST " + tokenPath, "POST /v1/payments/payouts"}, s.calls())
	sent := s.requests()[1]
	require.Empty(t, sent.query)
	require.Equal(t, batchKey, sent.header.Get("Paypal-Request-Id"))
	require.Equal(t, "Bearer t1", sent.header.Get("Authorization"))
	require.JSONEq(t, `{"sender_batch_header":{"sender_batch_id":"`+batchKey+`","email_subject":"Your payout"},"items":[
		{"recipient_type":"EMAIL","recipient_wallet":"PAYPAL","receiver":"ada@example.com",
			"amount":{"value":"10.00","currency":"USD"},"sender_item_id":"po_1"},
		{"recipient_type":"EMAIL","recipient_wallet":"PAYPAL","receiver":"o'neill+<b>&@example.com",
			"amount":{"value":"9.87","currency":"USD"},"sender_item_id":"po_2"}]}`, sent.body)
}

func TestTheDigestIsOfTheItemsAsTheyAreSent(t *testing.T) {
	t.Parallel()
	s := &script{reply: reply{status: 201, body: createdJSON}}
	client, batch := answering(t, s), testBatch()
	_, err := client.CreatePayoutBatch(t.Context(), batch)
	require.NoError(t, err)
	_, err = client.CreatePayoutBatch(t.Context(), batch)
	require.NoError(t, err)

	var sent struct {
		Items json.RawMessage `json:"items"`
	}
	require.NoError(t, json.Unmarshal([]byte(s.requests()[1].body), &sent))
	sum := sha256.Sum256(sent.Items)
	require.Equal(t, hex.EncodeToString(sum[:]), batch.ItemsDigest())
	require.Equal(t, s.requests()[1].body, s.requests()[2].body, "the same batch makes the same bytes")

	again := testBatch()
	again.SenderBatchID, again.EmailSubject = "another", ""
	require.Equal(t, batch.ItemsDigest(), again.ItemsDigest(), "it is of the items alone")
	for name, change := range map[string]func([]paypal.PayoutItemRequest){
		"receiver":  func(items []paypal.PayoutItemRequest) { items[1].Receiver = "eve@example.com" },
		"value":     func(items []paypal.PayoutItemRequest) { items[1].Value = "9.88" },
		"currency":  func(items []paypal.PayoutItemRequest) { items[1].Currency = "EUR" },
		"our id":    func(items []paypal.PayoutItemRequest) { items[1].SenderItemID = "po_3" },
		"the order": func(items []paypal.PayoutItemRequest) { items[0], items[1] = items[1], items[0] },
	} {
		changed := testBatch()
		change(changed.Items)
		require.NotEqual(t, batch.ItemsDigest(), changed.ItemsDigest(), name)
	}
}

func TestABatchWithoutASubjectSendsNone(t *testing.T) {
	t.Parallel()
	s := &script{reply: reply{status: 201, body: createdJSON}}
	batch := testBatch()
	batch.EmailSubject = ""

	_, err := answering(t, s).CreatePayoutBatch(t.Context(), batch)

	require.NoError(t, err)
	require.NotContains(t, s.requests()[1].body, "email_subject")
}

func TestABatchWithoutAProperKeyIsNotSent(t *testing.T) {
	t.Parallel()
	s := &script{reply: reply{status: 201, body: createdJSON}}
	batch := testBatch()
	for _, key := range []string{"", "a b", strings.Repeat("k", 109)} {
		batch.SenderBatchID = key
		_, err := answering(t, s).CreatePayoutBatch(t.Context(), batch)
		require.Equal(t, paypal.CodeRequestIDInvalid, failureOf(t, err).Code, "%q", key)
	}
	require.NotContains(t, s.calls(), "POST /v1/payments/payouts")
}

func TestAnAnswerThatIsNotTheBatchLeavesTheOutcomeUnknown(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"nothing":       ``,
		"null":          `null`,
		"empty":         `{}`,
		"cut":           createdJSON[:len(createdJSON)/2],
		"an edge":       `<html>ada@example.com</html>`,
		"another's":     strings.Replace(createdJSON, batchKey, "ada@example.com", 1),
		"without an id": strings.Replace(createdJSON, `"payout_batch_id":"5UXD2E8A7EBQJ",`, "", 1),
		"no id":         strings.Replace(createdJSON, `"payout_batch_id":"5UXD2E8A7EBQJ"`, `"payout_batch_id":"../x"`, 1),
		"without a key": strings.Replace(createdJSON, `"sender_batch_id":"`+batchKey+`",`, "", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := answering(t, &script{reply: reply{status: 201, body: body}}).CreatePayoutBatch(t.Context(), testBatch())

			failure := failureOf(t, err)
			require.Equal(t, unknown, failure.Class)
			require.Equal(t, provider.CodeUnreadable, failure.Code)
			require.NotContains(t, err.Error(), "example.com")
		})
	}
}

func TestGetPayoutBatchReadsAPage(t *testing.T) {
	t.Parallel()
	s := &script{reply: reply{body: batchJSON}}

	got, err := answering(t, s).GetPayoutBatch(t.Context(), batchID, 2)

	require.NoError(t, err)
	require.Equal(t, paypal.PayoutBatchPage{
		Batch: paypal.PayoutBatch{
			ID: batchID, SenderBatchID: batchKey, Status: "PROCESSING", CreatedAt: time.Date(2026, 11, 20, 10, 17, 0, 0, time.UTC),
		},
		Items: []paypal.PayoutItem{testItem()}, TotalPages: 2, TotalItems: 1500,
	}, got)
	require.Equal(t, "GET /v1/payments/payouts/"+batchID, s.calls()[1])
	require.Equal(t, "page=2&page_size=1000&total_required=true", s.requests()[1].query)
	require.Empty(t, s.requests()[1].header.Get("Paypal-Request-Id"))
}

func TestABatchThatHasNoItemsYet(t *testing.T) {
	t.Parallel()
	body := `{"batch_header":{"payout_batch_id":"5UXD2E8A7EBQJ","batch_status":"A_STATUS_OF_NEXT_YEAR",
		"time_created":"soon","sender_batch_header":{"sender_batch_id":"` + batchKey + `"}}}`

	got, err := answering(t, &script{reply: reply{body: body}}).GetPayoutBatch(t.Context(), batchID, 1)

	require.NoError(t, err)
	require.Equal(t, paypal.PayoutBatchPage{
		Batch: paypal.PayoutBatch{ID: batchID, SenderBatchID: batchKey, Status: "A_STATUS_OF_NEXT_YEAR"},
		Items: []paypal.PayoutItem{}, TotalPages: 1,
	}, got)
}

func TestAFullPageWithoutACountHasANextOne(t *testing.T) {
	t.Parallel()
	items := strings.Repeat(itemJSON+",", 999) + itemJSON
	body := `{"batch_header":{"payout_batch_id":"5UXD2E8A7EBQJ","batch_status":"SUCCESS","sender_batch_header":{}},"items":[` + items + `]}`

	got, err := answering(t, &script{reply: reply{body: body}}).GetPayoutBatch(t.Context(), batchID, 3)

	require.NoError(t, err)
	require.Len(t, got.Items, 1000)
	require.Equal(t, 4, got.TotalPages)
}

func TestAnItemThatIsUnreadableInPartCostsThatPartAlone(t *testing.T) {
	t.Parallel()
	const batch = `{"batch_header":{"payout_batch_id":"5UXD2E8A7EBQJ","batch_status":"SUCCESS","sender_batch_header":{}},"items":[%s]}`
	for name, test := range map[string]struct {
		field  string // in place of the item's transaction_status
		change func(*paypal.PayoutItem)
	}{
		"its error": {
			`"transaction_status":"FAILED","errors":{"name":"RECEIVER_ACCOUNT_LOCKED","message":"ada@example.com","details":[{"issue":"x"}]}`,
			func(i *paypal.PayoutItem) { i.Status, i.ErrorCode = "FAILED", "RECEIVER_ACCOUNT_LOCKED" },
		},
		"details as an object": {
			`"transaction_status":"FAILED","errors":{"name":"RECEIVER_UNREGISTERED","details":{"issue":"ada@example.com"}}`,
			func(i *paypal.PayoutItem) { i.Status, i.ErrorCode = "FAILED", "RECEIVER_UNREGISTERED" },
		},
		"details before the name": {
			`"transaction_status":"FAILED","errors":{"details":"none","message":7,"name":"RISK_DECLINE"}`,
			func(i *paypal.PayoutItem) { i.Status, i.ErrorCode = "FAILED", "RISK_DECLINE" },
		},
		"an error that is a list": {
			`"transaction_status":"FAILED","errors":[{"name":"RISK_DECLINE"}]`,
			func(i *paypal.PayoutItem) { i.Status, i.ErrorCode = "FAILED", "RISK_DECLINE" },
		},
		"an error that is a word": {
			`"transaction_status":"FAILED","errors":"RISK_DECLINE"`,
			func(i *paypal.PayoutItem) { i.Status = "FAILED" },
		},
		"an error that quotes": {
			`"transaction_status":"FAILED","errors":{"name":"ada@example.com"}`,
			func(i *paypal.PayoutItem) { i.Status = "FAILED" },
		},
		"no error":       {`"transaction_status":"PENDING","errors":null`, func(i *paypal.PayoutItem) { i.Status = "PENDING" }},
		"no status":      {`"activity_id":"x"`, func(i *paypal.PayoutItem) { i.Status = "" }},
		"a status's lie": {`"transaction_status":"ada@example.com"`, func(i *paypal.PayoutItem) { i.Status = "" }},
		"its fee": {
			`"transaction_status":"SUCCESS","payout_item_fee":{"currency":"USD","value":"free"}`,
			func(i *paypal.PayoutItem) { i.FeeValue, i.FeeCurrency = "", "" },
		},
		"its amount": {
			`"transaction_status":"SUCCESS","payout_item":{"amount":{"value":"1e3","currency":"USD"},"sender_item_id":"po_1"}`,
			func(i *paypal.PayoutItem) { i.Value, i.Currency = "", "" },
		},
		"its currency": {
			`"transaction_status":"SUCCESS","payout_item":{"amount":{"value":"9.87","currency":"dollars"},"sender_item_id":"po_1"}`,
			func(i *paypal.PayoutItem) { i.Value, i.Currency = "", "" },
		},
		"its time": {
			`"transaction_status":"SUCCESS","time_processed":"yesterday"`,
			func(i *paypal.PayoutItem) { i.ProcessedAt = time.Time{} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := testItem()
			test.change(&want)
			client := answering(t, &script{reply: reply{body: fmt.Sprintf(batch, patched(t, test.field)+","+itemJSON)}})

			got, err := client.GetPayoutBatch(t.Context(), batchID, 1)

			require.NoError(t, err)
			require.Equal(t, []paypal.PayoutItem{want, testItem()}, got.Items)
		})
	}
}

// patched is the item without its status and with the fields that are given.
func patched(t *testing.T, fields string) string {
	t.Helper()
	item := map[string]json.RawMessage{}
	require.NoError(t, json.Unmarshal([]byte(itemJSON), &item))
	delete(item, "transaction_status")
	require.NoError(t, json.Unmarshal([]byte("{"+fields+"}"), &item))
	// In the order of what is given, since readers may stop at what they cannot read.
	text := "{" + fields
	given := map[string]json.RawMessage{}
	require.NoError(t, json.Unmarshal([]byte("{"+fields+"}"), &given))
	for name, value := range item {
		if _, ok := given[name]; !ok {
			text += fmt.Sprintf(",%q:%s", name, value)
		}
	}
	return text + "}"
}

func TestAnotherBatchIsNotTheOneAskedFor(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"empty":         `{}`,
		"null":          `null`,
		"another batch": strings.ReplaceAll(batchJSON, batchID, "ANOTHER"),
		"another's item": strings.Replace(batchJSON, `"payout_batch_id":"5UXD2E8A7EBQJ",
		"payout_item"`, `"payout_batch_id":"ANOTHER","payout_item"`, 1),
		"an item without":  strings.Replace(batchJSON, `"payout_item_id":"8AELMXH8UB2P8",`, "", 1),
		"a status's lack":  strings.Replace(batchJSON, `"batch_status":"PROCESSING",`, "", 1),
		"an item of words": strings.Replace(batchJSON, itemID, "ada@example.com", 1),
		"items of none":    strings.Replace(batchJSON, itemJSON, "{}", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.NotEqual(t, batchJSON, body)
			_, err := answering(t, &script{reply: reply{body: body}}).GetPayoutBatch(t.Context(), batchID, 1)

			failure := failureOf(t, err)
			require.Equal(t, transient, failure.Class)
			require.Equal(t, provider.CodeUnreadable, failure.Code)
			require.NotContains(t, err.Error(), "example.com")
		})
	}
}

func TestAnItemIsReadAndCanceled(t *testing.T) {
	t.Parallel()
	body := strings.Replace(itemJSON, `"payout_batch_id"`, `"sender_batch_id":"`+batchKey+`","payout_batch_id"`, 1)
	s := &script{reply: reply{body: body}}
	client, want := answering(t, s), testItem()
	want.SenderBatchID = batchKey

	got, err := client.GetPayoutItem(t.Context(), itemID)
	require.NoError(t, err)
	require.Equal(t, want, got)
	got, err = client.CancelPayoutItem(t.Context(), itemID, "k")
	require.NoError(t, err)
	require.Equal(t, want, got)

	require.Equal(t, []string{
		"POST " + tokenPath, "GET /v1/payments/payouts-item/" + itemID, "POST /v1/payments/payouts-item/" + itemID + "/cancel",
	}, s.calls())
	require.Empty(t, s.requests()[1].header.Get("Paypal-Request-Id"))
	require.Equal(t, "k", s.requests()[2].header.Get("Paypal-Request-Id"))
	require.Empty(t, s.requests()[2].body)
}

func TestAnotherItemIsNotTheOneAskedFor(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"empty":           `{}`,
		"another":         strings.Replace(itemJSON, itemID, "ANOTHER", 1),
		"without a batch": strings.Replace(itemJSON, `"payout_batch_id":"5UXD2E8A7EBQJ",`, "", 1),
		"cut":             itemJSON[:100],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := answering(t, &script{reply: reply{body: body}})

			_, err := client.GetPayoutItem(t.Context(), itemID)
			require.Equal(t, transient, failureOf(t, err).Class)
			require.Equal(t, provider.CodeUnreadable, failureOf(t, err).Code)

			_, err = client.CancelPayoutItem(t.Context(), itemID, "k")
			require.Equal(t, unknown, failureOf(t, err).Class)
			require.Equal(t, provider.CodeUnreadable, failureOf(t, err).Code)
		})
	}
}

func TestOnlyIDsOfPayoutsGoIntoPaths(t *testing.T) {
	t.Parallel()
	s := &script{reply: reply{body: batchJSON}}
	client := answering(t, s)
	for _, id := range []string{
		"", "a b", "x/cancel", "x?page=2", "..", "../x", "x\n", "Ü", "ada@example.com", "%2e", strings.Repeat("A", 33),
	} {
		_, inBatch := client.GetPayoutBatch(t.Context(), id, 1)
		_, inItem := client.GetPayoutItem(t.Context(), id)
		_, inCancel := client.CancelPayoutItem(t.Context(), id, "k")
		for _, err := range []error{inBatch, inItem, inCancel} {
			require.Equal(t, rejected, failureOf(t, err).Class, "%q", id)
			require.Equal(t, paypal.CodePayoutIDInvalid, failureOf(t, err).Code, "%q", id)
			require.NotContains(t, err.Error(), "example.com")
		}
	}
	require.Empty(t, s.requests())
}

func TestACancellationWithoutAProperRequestIDIsNotSent(t *testing.T) {
	t.Parallel()
	s := &script{reply: reply{body: itemJSON}}

	_, err := answering(t, s).CancelPayoutItem(t.Context(), itemID, "")

	require.Equal(t, paypal.CodeRequestIDInvalid, failureOf(t, err).Code)
	require.Equal(t, []string{"POST " + tokenPath}, s.calls())
}
