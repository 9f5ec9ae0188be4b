package simulator_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/simulator"
)

const payPalPayouts = "/v1/payments/payouts"

// payPalItems is the part of a batch's answer that the tests read, and of an item's.
type payPalItems struct {
	payPalItem

	TotalItems *int `json:"total_items"`
	TotalPages *int `json:"total_pages"`
	Header     struct {
		ID     string `json:"payout_batch_id"`
		Status string `json:"batch_status"`
		Sender struct {
			ID string `json:"sender_batch_id"`
		} `json:"sender_batch_header"`
		Amount payPalAmount `json:"amount"`
		Fees   payPalAmount `json:"fees"`
	} `json:"batch_header"`
	Items []payPalItem `json:"items"`
	Links []payPalLink `json:"links"`
}

type payPalItem struct {
	ID            string       `json:"payout_item_id"`
	BatchID       string       `json:"payout_batch_id"`
	SenderBatchID string       `json:"sender_batch_id"`
	TransactionID string       `json:"transaction_id"`
	Status        string       `json:"transaction_status"`
	Fee           payPalAmount `json:"payout_item_fee"`
	Asked         struct {
		Receiver string       `json:"receiver"`
		ID       string       `json:"sender_item_id"`
		Amount   payPalAmount `json:"amount"`
	} `json:"payout_item"`
	Errors struct {
		Name string `json:"name"`
	} `json:"errors"`
}

type payPalAmount struct {
	Value    string `json:"value"`
	Currency string `json:"currency"`
}

type payPalLink struct {
	Href string `json:"href"`
}

// usd is an item of a request: 10.00 USD unless another value is given.
func usd(receiver, id string, value ...string) string {
	return fmt.Sprintf(`{"recipient_type": "EMAIL", "receiver": %q, "sender_item_id": %q, "amount": {"value": %q, "currency": "USD"}}`,
		receiver, id, append(value, "10.00")[0])
}

func batchOf(senderBatchID string, items ...string) string {
	return fmt.Sprintf(`{"sender_batch_header": {"sender_batch_id": %q, "email_subject": "Your payout"}, "items": [%s]}`,
		senderBatchID, strings.Join(items, ", "))
}

// payOut makes a batch, which must be accepted, and returns its id.
func (c payPalCaller) payOut(senderBatchID string, items ...string) string {
	c.t.Helper()
	made := c.post(payPalPayouts, batchOf(senderBatchID, items...), "")
	require.Equal(c.t, http.StatusCreated, made.Status, made.Body)
	return readBack[payPalItems](c.t, made.Body).Header.ID
}

// get asks for a batch or an item, which there must be.
func (c payPalCaller) get(path string) payPalItems {
	c.t.Helper()
	got := c.send(c.request(http.MethodGet, path, ""))
	require.Equal(c.t, http.StatusOK, got.Status, got.Body)
	return readBack[payPalItems](c.t, got.Body)
}

func readBack[T any](t *testing.T, body map[string]any) T {
	t.Helper()
	text, err := json.Marshal(body)
	require.NoError(t, err)
	return decodeJSON[T](t, string(text))
}

func (b bundle) requirePayPal(t *testing.T, available, withheld int64) {
	t.Helper()
	require.Equal(t, simulator.PayPalFunds{Available: available, Withheld: withheld}, b.PayPal().PayPalBalances()["USD"])
	require.NoError(t, b.PayPal().PayPalMoneyAudit().Err())
}

func TestPayPalPayouts_ABatchRunsItsCourse(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	call := b.payPal(t)
	require.NoError(t, b.PayPal().SetPayouts(simulator.PayPalPayoutSettings{Manual: true}))
	require.NoError(t, b.PayPal().SetPayPalBalance("USD", 10_000))
	made := call.post(payPalPayouts, batchOf("b_1", usd("ada@example.com", "po_1", "20"), usd("ben@example.com", "po_2", "7.5")), "")
	require.Equal(t, http.StatusCreated, made.Status)
	batch := readBack[payPalItems](t, made.Body)
	require.Equal(t, []string{"PENDING", "b_1"}, []string{batch.Header.Status, batch.Header.Sender.ID})
	require.Equal(t, b.PayPalURL()+payPalPayouts+"/"+batch.Header.ID, batch.Links[0].Href)

	shown := call.get(payPalPayouts + "/" + batch.Header.ID)
	require.Equal(t, "PENDING", shown.Header.Status)
	require.Empty(t, shown.Items, "before it is processed it lists none")
	b.requirePayPal(t, 10_000, 0)

	_, err := b.PayPal().AdvancePayPalBatch(batch.Header.ID)
	require.NoError(t, err)
	shown = call.get(payPalPayouts + "/" + batch.Header.ID)
	require.Equal(t, "PROCESSING", shown.Header.Status)
	require.Equal(t, payPalAmount{"27.50", "USD"}, shown.Header.Amount)
	require.Equal(t, payPalAmount{"0.55", "USD"}, shown.Header.Fees)
	require.Equal(t, []string{"PENDING", "PENDING"}, []string{shown.Items[0].Status, shown.Items[1].Status})
	b.requirePayPal(t, 10_000-2750-55, 2805)

	_, err = b.PayPal().AdvancePayPalBatch(batch.Header.ID)
	require.NoError(t, err)
	shown = call.get(payPalPayouts + "/" + batch.Header.ID)
	require.Equal(t, "SUCCESS", shown.Header.Status)
	b.requirePayPal(t, 10_000-2805, 0)
	second := shown.Items[1]
	require.Equal(t, []any{"SUCCESS", "po_2", "ben@example.com", payPalAmount{"7.50", "USD"}, payPalAmount{"0.15", "USD"}, batch.Header.ID},
		[]any{second.Status, second.Asked.ID, second.Asked.Receiver, payPalAmount{"7.50", second.Asked.Amount.Currency}, second.Fee, second.BatchID})
	require.Equal(t, "7.5", second.Asked.Amount.Value, "as it was sent")
	alone := call.get("/v1/payments/payouts-item/" + second.ID)
	require.Equal(t, "b_1", alone.SenderBatchID)
	require.Equal(t, second.TransactionID, alone.TransactionID)

	_, err = b.PayPal().AdvancePayPalBatch(batch.Header.ID)
	require.ErrorContains(t, err, "it is SUCCESS")
}

func TestPayPalPayouts_ABatchRunsByItself(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	call := b.payPal(t)
	require.Equal(t, "SUCCESS", call.get(payPalPayouts+"/"+call.payOut("b_1", usd("ada@example.com", "po_1"))).Header.Status)
	require.NoError(t, b.PayPal().SetPayouts(simulator.PayPalPayoutSettings{ProcessingMS: 1}))

	id := call.payOut("b_2", usd("ada@example.com", "po_2"))

	require.Eventually(t, func() bool { return call.get(payPalPayouts+"/"+id).Header.Status == "SUCCESS" }, patience, pollEach)
	require.Error(t, b.PayPal().SetPayouts(simulator.PayPalPayoutSettings{ProcessingMS: -1}))
}

func TestPayPalPayouts_WhoeverAdvancesABatchFirstGoesFirst(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	call := b.payPal(t)
	require.NoError(t, b.PayPal().SetPayouts(simulator.PayPalPayoutSettings{ProcessingMS: 50}))
	byHand := call.payOut("b_1", usd("ada@example.com", "po_1"))
	byItself := call.payOut("b_2", usd("ada@example.com", "po_2"))

	for call.get(payPalPayouts+"/"+byHand).Header.Status != "SUCCESS" {
		_, _ = b.PayPal().AdvancePayPalBatch(byHand) // it fails when the batch has ended by itself meanwhile
	}

	// The later batch ends after what the earlier one would have done by itself.
	require.Eventually(t, func() bool { return call.get(payPalPayouts+"/"+byItself).Header.Status == "SUCCESS" }, patience, pollEach)
	require.Equal(t, "SUCCESS", call.get(payPalPayouts+"/"+byHand).Header.Status)
	b.requirePayPal(t, 1_000_000_000-2*1020, 0)
}

// The request id does not tell batches apart; the sender_batch_id does, whatever became of the first.
func TestPayPalPayouts_ASenderBatchIDIsTakenOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	call := b.payPal(t)
	first := call.payOut("b_1", usd("ada@example.com", "po_1"))
	second := call.post(payPalPayouts, batchOf("b_2", usd("ada@example.com", "po_2")), "k_1")
	require.Equal(t, http.StatusCreated, second.Status)
	third := call.post(payPalPayouts, batchOf("b_3", usd("ada@example.com", "po_3")), "k_1")
	require.Equal(t, http.StatusCreated, third.Status, "the same request id, and another batch")
	require.NoError(t, b.PayPal().SetPayPalBalance("USD", 0))
	denied := call.payOut("b_4", usd("ada@example.com", "po_4"))
	require.Equal(t, "DENIED", call.get(payPalPayouts+"/"+denied).Header.Status)

	for senderBatchID, id := range map[string]string{"b_1": first, "b_4": denied} {
		again := call.post(payPalPayouts, batchOf(senderBatchID, usd("ben@example.com", "po_9")), "k_9")
		require.Equal(t, http.StatusBadRequest, again.Status)
		require.Equal(t, "USER_BUSINESS_ERROR", again.Name)
		require.Equal(t, []string{"SENDER_BATCH_ID", "Duplicate batch request"}, []string{again.Details[0].Field, again.Details[0].Issue})
		require.Equal(t, b.PayPalURL()+payPalPayouts+"/"+id, readBack[payPalItems](t, again.Body).Links[0].Href)
	}
	require.NoError(t, b.PayPal().SetPayouts(simulator.PayPalPayoutSettings{DuplicateWithoutLink: true}))
	again := call.post(payPalPayouts, batchOf("b_1", usd("ada@example.com", "po_1")), "")
	require.Equal(t, http.StatusBadRequest, again.Status)
	require.Empty(t, again.Body["links"])
	require.Len(t, b.PayPal().PayPalBatches(), 4)

	require.Equal(t, 4, b.PayPal().ForgetPayPalSenderBatchIDs())
	call.payOut("b_1", usd("ada@example.com", "po_1"))
}

func TestPayPalPayouts_RefusesWhatPayPalRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	call := b.payPal(t)
	ok := usd("ada@example.com", "po_1")
	item := func(receiver, value, currency string) string {
		return fmt.Sprintf(`{"recipient_type": "EMAIL", "receiver": %q, "amount": {"value": %q, "currency": %q}}`, receiver, value, currency)
	}
	long := strings.Repeat("x", 300)
	for _, wrong := range []struct {
		body   string
		fields []string
	}{
		{batchOf("b_1"), []string{"items"}},
		{batchOf("b_1", slices.Repeat([]string{ok}, 15_001)...), []string{"items"}},
		{batchOf(long, ok), []string{"sender_batch_header.sender_batch_id"}},
		{batchOf("b_1", ok, ok, ok, item("ada", "1.00", "USD")), []string{"items[3].receiver"}},
		{batchOf("b_1", item("", "1.00", "USD"), ok, usd("Ada@bücher.example", "po_1")), []string{"items[0].receiver", "items[2].receiver"}},
		{batchOf("b_1", item(long+"@example.com", "1.00", "USD")), []string{"items[0].receiver"}},
		{batchOf("b_1", ok, usd("invalid-ada@example.com", "po_1"), usd("invalid-unnamed-ada@example.com", "po_1")), []string{"items[1].receiver"}},
		{batchOf("b_1", ok, usd("invalid-unnamed-ada@example.com", "po_1")), nil},
		{batchOf("b_1", `{"receiver": "ada@example.com", "amount": {"value": "1", "currency": "USD"}}`), []string{"items[0].recipient_type"}},
		{batchOf("b_1", item("ada@example.com", "1.00", "XYZ")), []string{"items[0].amount.currency"}},
		{batchOf("b_1", ok, item("ada@example.com", "1.00", "EUR")), []string{"items[1].amount.currency"}},
		{batchOf("b_1", item("ada@example.com", "1.50", "JPY")), []string{"items[0].amount.value"}},
		{batchOf("b_1", usd("ada@example.com", "po_1", "1.005")), []string{"items[0].amount.value"}},
		{batchOf("b_1", usd("ada@example.com", "po_1", "-1.00")), []string{"items[0].amount.value"}},
		{batchOf("b_1", usd("ada@example.com", "po_1", "0.00")), []string{"items[0].amount.value"}},
		{batchOf("b_1", usd("ada@example.com", "po_1", "1e3")), []string{"items[0].amount.value"}},
		{batchOf("b_1", usd("ada@example.com", "po_1", "20000.01")), []string{"items[0].amount.value"}},
		{batchOf("b_1", usd("ada@example.com", long)), []string{"items[0].sender_item_id"}},
	} {
		got := call.post(payPalPayouts, wrong.body, "")
		require.Equal(t, http.StatusBadRequest, got.Status, wrong.fields)
		require.Equal(t, "VALIDATION_ERROR", got.Name, wrong.fields)
		var fields []string
		for _, d := range got.Details {
			fields = append(fields, d.Field)
		}
		require.Equal(t, wrong.fields, fields)
	}
	for _, malformed := range []string{``, `{`, `{"items": 7}`, batchOf("b_1", `{"amount": {"value": 1, "currency": "USD"}}`)} {
		require.Equal(t, http.StatusBadRequest, call.post(payPalPayouts, malformed, "").Status, malformed)
	}
	require.Empty(t, b.PayPal().PayPalBatches())

	call.payOut("b_1", usd("ada@example.com", "po_1", "20000.00"), usd("ada@example.com", "po_2", "1"))
	require.NoError(t, b.PayPal().SetPayPalBalance("JPY", 200))
	call.payOut("b_2", item("ada@example.com", "150", "JPY"))
	require.Equal(t, simulator.PayPalFunds{Available: 200 - 150 - 3}, b.PayPal().PayPalBalances()["JPY"])
}

func TestPayPalPayouts_TakesTheLargestBatch(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	call := b.payPal(t)
	items := make([]string, 15_000)
	for n := range items {
		items[n] = usd(fmt.Sprintf("%s%d@example.com", strings.Repeat("x", 100), n), fmt.Sprint("po_", n), "1.00")
	}
	path := payPalPayouts + "/" + call.payOut("b_1", items...)

	last := call.get(path + "?page=15&total_required=true")

	require.Equal(t, []int{15_000, 15}, []int{*last.TotalItems, *last.TotalPages})
	require.Len(t, last.Items, 1000)
	require.Equal(t, "po_14999", last.Items[999].Asked.ID)
	b.requirePayPal(t, 1_000_000_000-15_000*102, 0)
}

func TestPayPalPayouts_Pages(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	call := b.payPal(t)
	path := payPalPayouts + "/" + call.payOut("b_1", usd("ada@example.com", "po_1"), usd("ben@example.com", "po_2"), usd("cy@example.com", "po_3"))
	for query, want := range map[string][]string{
		"":                         {"po_1", "po_2", "po_3"},
		"?page=1&page_size=2":      {"po_1", "po_2"},
		"?page=2&page_size=2":      {"po_3"},
		"?page=3&page_size=2":      nil,
		"?fields=batch_header":     nil,
		"?fields=items,links":      {"po_1", "po_2", "po_3"},
		"?page_size=1000":          {"po_1", "po_2", "po_3"},
		"?page=1000&page_size=500": nil,
	} {
		shown := call.get(path + query)
		var ids []string
		for _, i := range shown.Items {
			ids = append(ids, i.Asked.ID)
		}
		require.Equal(t, want, ids, query)
		require.Nil(t, shown.TotalItems, query)
		require.Equal(t, query == "?fields=items,links", shown.Header.ID == "", query)
	}
	shown := call.get(path + "?page_size=2&total_required=true")
	require.Equal(t, []int{3, 2}, []int{*shown.TotalItems, *shown.TotalPages})
	for _, wrong := range []string{"?page=0", "?page=1001", "?page_size=1001", "?page_size=0", "?page=x"} {
		require.Equal(t, http.StatusBadRequest, call.send(call.request("GET", path+wrong, "")).Status, wrong)
	}
	for _, path := range []string{payPalPayouts + "/NONE", "/v1/payments/payouts-item/NONE"} {
		missing := call.send(call.request("GET", path, ""))
		require.Equal(t, http.StatusNotFound, missing.Status)
		require.Equal(t, "INVALID_RESOURCE_ID", missing.Name)
	}
}

// TestPayPalPayouts_ReceiversDecide has what becomes of each receiver's item, and whether it costs us
// the amount and the fee.
func TestPayPalPayouts_ReceiversDecide(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]struct {
		status, code string
		away         int64
		fee          string
		events       []string
	}{
		"":           {"SUCCESS", "", 1020, "0.20", []string{"SUCCEEDED"}},
		"unclaimed-": {"UNCLAIMED", "RECEIVER_UNREGISTERED", 1020, "0.20", []string{"UNCLAIMED"}},
		"onhold-":    {"ONHOLD", "", 1020, "0.20", []string{"HELD"}},
		"blocked-":   {"BLOCKED", "REGULATORY_BLOCKED", 1020, "0.20", []string{"BLOCKED"}},
		"failed-":    {"FAILED", "RECEIVER_ACCOUNT_LOCKED", 0, "0.00", []string{"FAILED"}},
		"returned-":  {"RETURNED", "RECEIVER_UNREGISTERED", 0, "0.00", []string{"UNCLAIMED", "RETURNED"}},
		"refunded-":  {"REFUNDED", "", 20, "0.20", []string{"SUCCEEDED", "REFUNDED"}},
		"reversed-":  {"REVERSED", "", 20, "0.20", []string{"SUCCEEDED", "REVERSED"}},
	} {
		b, g := setup(t, quick()), newTarget(t)
		require.NoError(t, b.SetPayPalWebhook(g.url))
		call := b.payPal(t)
		batch := call.payOut("b_1", usd(prefix+"ada@example.com", "po_1"))

		i := call.get(payPalPayouts + "/" + batch).Items[0]

		require.Equal(t, []string{want.status, want.code, want.fee}, []string{i.Status, i.Errors.Name, i.Fee.Value}, prefix)
		require.Equal(t, prefix == "failed-", i.TransactionID == "", prefix)
		b.requirePayPal(t, 1_000_000_000-want.away, 0)
		settle(t, b.PayPalWebhooks())
		var types []string
		for _, event := range g.events() {
			types = append(types, strings.TrimPrefix(decodeJSON[payPalEvent](t, string(event.body)).Type, "PAYMENT.PAYOUTS-ITEM."))
		}
		require.ElementsMatch(t, append(want.events, "PAYMENT.PAYOUTSBATCH.PROCESSING", "PAYMENT.PAYOUTSBATCH.SUCCESS"), types, prefix)
	}
}

// payPalEvent is the part of an event that the tests read.
type payPalEvent struct {
	Type         string      `json:"event_type"`
	ResourceType string      `json:"resource_type"`
	Resource     payPalItems `json:"resource"`
}

func TestPayPalPayouts_EventsTellOfBatchesAndItems(t *testing.T) {
	t.Parallel()
	b, g := setup(t, quick()), newTarget(t)
	require.NoError(t, b.SetPayPalWebhook(g.url))
	call := b.payPal(t)
	require.NoError(t, b.PayPal().SetPayouts(simulator.PayPalPayoutSettings{Manual: true}))
	id := call.payOut("b_1", usd("ada@example.com", "po_1"))
	event := func() payPalEvent {
		settle(t, b.PayPalWebhooks())
		taken := g.events()
		return decodeJSON[payPalEvent](t, string(taken[len(taken)-1].body))
	}

	_, err := b.PayPal().AdvancePayPalBatch(id)
	require.NoError(t, err)
	processing := event()
	require.Equal(t, []string{"PAYMENT.PAYOUTSBATCH.PROCESSING", "payouts"}, []string{processing.Type, processing.ResourceType})
	require.Equal(t, []string{id, "PROCESSING", "b_1"},
		[]string{processing.Resource.Header.ID, processing.Resource.Header.Status, processing.Resource.Header.Sender.ID})
	require.Empty(t, processing.Resource.Items)

	done, err := b.PayPal().AdvancePayPalBatch(id)
	require.NoError(t, err)
	settle(t, b.PayPalWebhooks())
	_, err = b.PayPal().ReversePayPalItem(done.Items[0].ID, 0)
	require.NoError(t, err)
	reversed := event()
	require.Equal(t, []string{"PAYMENT.PAYOUTS-ITEM.REVERSED", "payouts_item"}, []string{reversed.Type, reversed.ResourceType})
	i := reversed.Resource
	require.Equal(t, []string{done.Items[0].ID, id, "b_1", "REVERSED", "po_1", done.Items[0].TransactionID},
		[]string{i.ID, i.BatchID, i.SenderBatchID, i.Status, i.Asked.ID, i.TransactionID})

	second := call.payOut("b_2", usd("ada@example.com", "po_2"))
	_, err = b.PayPal().DenyPayPalBatch(second, "INSUFFICIENT_FUNDS")
	require.NoError(t, err)
	require.Equal(t, []string{"PAYMENT.PAYOUTSBATCH.DENIED", "DENIED"}, []string{event().Type, event().Resource.Header.Status})
}

func TestPayPalPayouts_TooLittleFunds(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	call := b.payPal(t)
	require.NoError(t, b.PayPal().SetPayPalBalance("USD", 1019)) // the fee is missing
	require.NoError(t, b.PayPal().SetPayouts(simulator.PayPalPayoutSettings{RefuseUnfunded: true}))
	refused := call.post(payPalPayouts, batchOf("b_1", usd("ada@example.com", "po_1")), "")
	require.Equal(t, http.StatusUnprocessableEntity, refused.Status)
	require.Equal(t, "INSUFFICIENT_FUNDS", refused.Name)
	require.Empty(t, b.PayPal().PayPalBatches())

	require.NoError(t, b.PayPal().SetPayouts(simulator.PayPalPayoutSettings{}))
	denied := call.get(payPalPayouts + "/" + call.payOut("b_1", usd("ada@example.com", "po_1")))
	require.Equal(t, "DENIED", denied.Header.Status)
	require.Equal(t, []string{"FAILED", "INSUFFICIENT_FUNDS", ""},
		[]string{denied.Items[0].Status, denied.Items[0].Errors.Name, denied.Items[0].TransactionID})
	b.requirePayPal(t, 1019, 0)

	require.NoError(t, b.PayPal().FundPayPal("USD", 1))
	call.payOut("b_2", usd("ada@example.com", "po_1"))
	b.requirePayPal(t, 0, 0)
}

func TestPayPalPayouts_AnUnclaimedItemCanBeCanceled(t *testing.T) {
	t.Parallel()
	b, g := setup(t, quick()), newTarget(t)
	call := b.payPal(t)
	batch := call.get(payPalPayouts + "/" + call.payOut("b_1", usd("unclaimed-ada@example.com", "po_1"), usd("ben@example.com", "po_2")))
	cancel := func(i payPalItem) payPalAnswer {
		return call.post("/v1/payments/payouts-item/"+i.ID+"/cancel", "", "")
	}
	require.NoError(t, b.SetPayPalWebhook(g.url))

	canceled := cancel(batch.Items[0])

	require.Equal(t, http.StatusOK, canceled.Status)
	require.Equal(t, "RETURNED", canceled.Body["transaction_status"])
	b.requirePayPal(t, 1_000_000_000-1020, 0)
	settle(t, b.PayPalWebhooks())
	require.Equal(t, "PAYMENT.PAYOUTS-ITEM.CANCELED", b.PayPalWebhooks().Deliveries()[0].EventType)
	for _, i := range batch.Items {
		again := cancel(i)
		require.Equal(t, http.StatusBadRequest, again.Status)
		require.Equal(t, "ITEM_INCORRECT_STATUS", again.Name)
	}
	b.requirePayPal(t, 1_000_000_000-1020, 0)
}

// TestPayPalPayouts_WhatBecomesOfItems has every act on an item, from where it is possible, and what
// of the amount and the fee is away afterwards.
func TestPayPalPayouts_WhatBecomesOfItems(t *testing.T) {
	t.Parallel()
	acts := map[string]struct {
		do     func(*simulator.PayPal, string) (simulator.PayPalItem, error)
		from   []string
		status string
		away   int64
	}{
		"settle":  {(*simulator.PayPal).SettlePayPalItem, []string{"onhold-"}, "SUCCESS", 1020},
		"claim":   {(*simulator.PayPal).ClaimPayPalItem, []string{"unclaimed-"}, "SUCCESS", 1020},
		"block":   {(*simulator.PayPal).BlockPayPalItem, []string{"onhold-", "unclaimed-"}, "BLOCKED", 1020},
		"unblock": {(*simulator.PayPal).UnblockPayPalItem, []string{"blocked-"}, "SUCCESS", 1020},
		"return":  {(*simulator.PayPal).ReturnPayPalItem, []string{"unclaimed-", "onhold-", "blocked-"}, "RETURNED", 0},
		"refund":  {(*simulator.PayPal).RefundPayPalItem, []string{""}, "REFUNDED", 20},
		"fail": {func(p *simulator.PayPal, id string) (simulator.PayPalItem, error) {
			return p.FailPayPalItem(id, "RISK_DECLINE")
		}, []string{"unclaimed-", "onhold-", "blocked-"}, "FAILED", 0},
		"deny": {func(p *simulator.PayPal, id string) (simulator.PayPalItem, error) {
			return p.DenyPayPalItem(id, "RISK_DECLINE")
		}, []string{"unclaimed-", "onhold-", "blocked-"}, "DENIED", 0},
		"reverse": {func(p *simulator.PayPal, id string) (simulator.PayPalItem, error) {
			return p.ReversePayPalItem(id, 0)
		}, []string{""}, "REVERSED", 20},
	}
	b := setup(t, simulator.Config{})
	call := b.payPal(t)
	for name, act := range acts {
		for _, prefix := range []string{"", "unclaimed-", "onhold-", "blocked-", "failed-", "returned-", "refunded-", "reversed-"} {
			batch := call.payOut("b_"+name+prefix, usd(prefix+"ada@example.com", "po_"+name+prefix))
			before := call.get(payPalPayouts + "/" + batch).Items[0]
			require.NoError(t, b.PayPal().SetPayPalBalance("USD", 100_000))

			changed, err := act.do(b.PayPal(), before.ID)

			require.Equal(t, slices.Contains(act.from, prefix), err == nil, "%s %s: %v", name, prefix, err)
			if err != nil {
				b.requirePayPal(t, 100_000, 0)
				continue
			}
			require.Equal(t, act.status, changed.Status, name)
			require.Equal(t, act.status, call.get("/v1/payments/payouts-item/"+before.ID).Status, name)
			b.requirePayPal(t, 100_000+1020-act.away, 0)
		}
		_, err := act.do(b.PayPal(), "NONE")
		require.ErrorContains(t, err, "there is none", name)
	}
	for _, act := range []func(string, string) (simulator.PayPalItem, error){b.PayPal().FailPayPalItem, b.PayPal().DenyPayPalItem} {
		_, err := act("NONE", "")
		require.ErrorContains(t, err, "the error code is empty")
	}
}

func TestPayPalPayouts_AnItemIsReversedInPart(t *testing.T) {
	t.Parallel()
	b, g := setup(t, quick()), newTarget(t)
	call := b.payPal(t)
	id := call.get(payPalPayouts + "/" + call.payOut("b_1", usd("ada@example.com", "po_1"))).Items[0].ID
	require.NoError(t, b.SetPayPalWebhook(g.url))
	for _, wrong := range []int64{-1, 1001} {
		_, err := b.PayPal().ReversePayPalItem(id, wrong)
		require.ErrorContains(t, err, "between 0 and 1000")
	}

	part, err := b.PayPal().ReversePayPalItem(id, 400)
	require.NoError(t, err)
	require.Equal(t, []any{"SUCCESS", int64(400)}, []any{part.Status, part.Reversed})
	require.Equal(t, "SUCCESS", call.get("/v1/payments/payouts-item/"+id).Status)
	b.requirePayPal(t, 1_000_000_000-620, 0)
	settle(t, b.PayPalWebhooks())
	require.Empty(t, g.events(), "nobody is told")
	require.Equal(t, map[string]map[string]int64{"ada@example.com": {"USD": 600}}, b.PayPal().PayPalMoneyAudit().Received)

	rest, err := b.PayPal().ReversePayPalItem(id, 600)
	require.NoError(t, err)
	require.Equal(t, []any{"REVERSED", int64(1000)}, []any{rest.Status, rest.Reversed})
	b.requirePayPal(t, 1_000_000_000-20, 0)
	settle(t, b.PayPalWebhooks())
	require.Len(t, g.events(), 1)
}

// The faults work on batches: what was executed shows when the same batch is posted again.
func TestPayPalPayouts_FaultsHideWhatWasDone(t *testing.T) {
	t.Parallel()
	for kind, executed := range map[simulator.FaultKind]bool{
		simulator.ExecuteThenDrop: true, simulator.ExecuteThen500: true, simulator.Truncate: true,
		simulator.Stored500: false, simulator.ServerError: false, simulator.Reset: false, simulator.BadGateway: false,
	} {
		b := setup(t, simulator.Config{})
		call := b.payPal(t)
		require.NoError(t, b.SetFaults(simulator.Fault{Kind: kind, Times: 1, PathPrefix: payPalPayouts}))
		require.NotEqual(t, http.StatusCreated, call.tryPost(payPalPayouts, batchOf("b_1", usd("ada@example.com", "po_1"))), kind)
		require.Len(t, b.PayPal().PayPalBatches(), map[bool]int{true: 1, false: 0}[executed], kind)

		again := call.post(payPalPayouts, batchOf("b_1", usd("ada@example.com", "po_1")), "")

		require.Equal(t, map[bool]int{true: http.StatusBadRequest, false: http.StatusCreated}[executed], again.Status, kind)
		b.requirePayPal(t, 1_000_000_000-1020, 0)
		require.Zero(t, b.PostsWithoutKey(), "the sender_batch_id is the key")
		for _, made := range b.Calls().To(http.MethodPost, payPalPayouts) {
			require.Equal(t, "b_1", made.IdempotencyKey)
		}
	}
	b := setup(t, simulator.Config{})
	b.payPal(t).payOut("", usd("ada@example.com", "po_1"))
	require.Equal(t, 1, b.PostsWithoutKey())
}

// tryPost is the status of an answer that could be read, or 0.
func (c payPalCaller) tryPost(path, body string) int {
	response, err := c.http.Do(c.request(http.MethodPost, path, body))
	if err != nil {
		return 0
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(response.Body).Decode(&struct{}{}); err != nil {
		return 0
	}
	return response.StatusCode
}
