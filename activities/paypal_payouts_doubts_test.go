package activities_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

// answers has PayPal answer calls otherwise than the simulated one does; what the handler leaves alone
// reaches that one.
func (b batchBundle) answers(t *testing.T, handle func(http.ResponseWriter, *http.Request) (handled bool)) {
	t.Helper()
	behind, err := url.Parse(b.simulator.PayPalURL())
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(behind)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !handle(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	*b.url = server.URL
}

// complains answers calls of a method to a path with an error in PayPal's words.
func complains(method, path string, status int, body string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != method || !strings.HasPrefix(r.URL.Path, path) {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
		return true
	}
}

// Who may not search PayPal's books has not found that a batch is not there: it may have been paid.
func TestAHeldPayoutIsNotResolvedAsFailedWhenPayPalMayNotBeSearched(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	b.heldBatch(t, true, ada)
	b.pass(t, "1 hour")
	b.answers(t, complains("GET", "/v1/reporting/transactions", http.StatusForbidden, `{"name":"NOT_AUTHORIZED","message":"No permission."}`))

	err := b.decide(t, resolveItem, payoutOf(0), workflows.DecisionInput{Outcome: "failed"})

	requireConflict(t, err, "no clear answer")
	require.Equal(t, payout.Held, b.now(t, payoutOf(0)).State)
}

// A complaint that is not about the items says nothing of an earlier sending, whatever its name is: it
// may be about the id that the earlier one has used.
func TestAComplaintAboutTheBatchProvesNothingOfAnEarlierSending(t *testing.T) {
	t.Parallel()
	for name, details := range map[string]string{
		"of its id":  `,"details":[{"field":"sender_batch_header.sender_batch_id","issue":"Sent within the last 30 days"}]`,
		"of nothing": ``,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupBatches(t)
			id := b.batch(t, ada, grace)
			require.Error(t, b.under(t, id, simulator.Fault{Kind: simulator.ExecuteThenDrop}))
			b.answers(t, complains("POST", "/v1/payments/payouts", http.StatusBadRequest, `{"name":"VALIDATION_ERROR","message":"Invalid request"`+details+`}`))

			_, err := b.take(t, id, workflows.ActivitySendPayPalBatch)

			requireFailure(t, err, provider.OutcomeUnknown, true)
			require.Equal(t, provider.OutcomeOpen, b.request(t, id).Outcome)
			require.Equal(t, workflows.ActivityReadPayPalBatch, b.send(t, id).Do, "it is looked for, and found")
			b.read(t, id)
			b.paid(t, payoutOf(0), payoutOf(1))
		})
	}
}

// PayPal's balance is up to three hours old. While it says that there are funds and PayPal denies the
// batch for want of them, it is sent every 15 minutes and no more often, and given up after three days.
func TestABatchThatIsDeniedAgainAndAgainIsSentRarelyAndGivenUp(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, ada)
	b.unfunded(t, id, false)
	b.answers(t, complains("GET", "/v1/reporting/balances", http.StatusOK,
		`{"balances":[{"currency":"USD","available_balance":{"currency_code":"USD","value":"10000.00"}}]}`))
	denied := func() workflows.PayPalBatchMove {
		require.Equal(t, workflows.ActivityReadPayPalBatch, b.send(t, id).Do)
		return b.read(t, id)
	}
	require.Equal(t, workflows.ActivitySendPayPalBatch, denied().Do)
	posts := b.posts()

	next := b.send(t, id)
	require.Equal(t, workflows.ActivitySendPayPalBatch, next.Do)
	require.WithinDuration(t, time.Now().Add(15*time.Minute), *next.At, time.Minute)
	require.Equal(t, posts, b.posts())
	b.pass(t, "16 minutes")
	require.Equal(t, workflows.ActivitySendPayPalBatch, denied().Do)
	require.Equal(t, posts+1, b.posts())

	b.pass(t, "3 days")
	require.Empty(t, denied().Do)
	b.released(t, payoutOf(0), payout.Canceled, "funding")
	require.Equal(t, payout.BatchEnded, b.batchNow(t, id).State)
}

// Of a batch that PayPal denied after a part of it had moved, what it does not list is a person's.
func TestWhatIsMissingInABatchThatWasDeniedHalfWayIsHeld(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, ada, grace)
	made, err := b.clientOf(t).CreatePayoutBatch(t.Context(), paypal.PayoutBatchRequest{
		SenderBatchID: "holdfast/paypal/payout_batch/" + id + "/1",
		Items:         []paypal.PayoutItemRequest{{Receiver: ada, Value: "98.00", Currency: "USD", SenderItemID: payoutOf(0)}},
	})
	require.NoError(t, err)
	b.send(t, id)
	b.answers(t, complains("GET", "/v1/payments/payouts/", http.StatusOK, `{"total_items":1,"total_pages":1,
		"batch_header":{"payout_batch_id":"`+made.ID+`","batch_status":"DENIED"},"items":[{"payout_item_id":"ITEM1","payout_batch_id":"`+made.ID+`",
		"transaction_id":"TX1","transaction_status":"UNCLAIMED","payout_item":{"amount":{"value":"98.00","currency":"USD"},"sender_item_id":"`+payoutOf(0)+`"}}]}`))

	b.read(t, id)
	require.Equal(t, payout.Unclaimed, b.now(t, payoutOf(0)).State)
	require.Equal(t, payout.Sending, b.now(t, payoutOf(1)).State, "a list may be a moment behind")
	b.pass(t, "10 minutes")
	require.Empty(t, b.read(t, id).Do)

	require.Equal(t, payout.Held, b.now(t, payoutOf(1)).State)
}

// A batch whose payouts a person ended although nothing was known of it is taken on when PayPal tells of
// it after all: what it paid was paid beside what was released.
func TestABatchThatWasGivenUpByHandIsTakenOnWhenPayPalTellsOfIt(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id, at := b.heldBatch(t, true, ada)
	require.NoError(t, b.decide(t, resolveItem, payoutOf(0), workflows.DecisionInput{Outcome: "failed", Force: true}))
	require.Equal(t, payout.BatchEnded, b.batchNow(t, id).State)
	require.Empty(t, b.plan(t, id, true).Next.Do, "nothing tells where to look")

	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		_, err := b.store.HintBatch(ctx, tx, id, at)
		return err
	})
	require.Equal(t, workflows.ActivityReadPayPalBatch, b.plan(t, id, true).Next.Do)
	require.Equal(t, workflows.ActivityReadPayPalBatch, b.read(t, id).Do, "it was found, and is to be read")
	require.Empty(t, b.read(t, id).Do)

	require.Equal(t, at, b.batchNow(t, id).PayPalBatchID)
	require.Equal(t, payout.Failed, b.now(t, payoutOf(0)).State)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM ledger_transactions WHERE event = 'duplicate' AND payout_id = '`+payoutOf(0)+`'`))
}

// While a person's decision was looked into, the batch was found: its items decide.
func TestADecisionIsOvertakenByTheBatchThatIsFound(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id, at := b.heldBatch(t, true, ada)
	b.pass(t, "1 hour")
	found := false
	b.answers(t, func(_ http.ResponseWriter, r *http.Request) bool {
		if !found && strings.HasPrefix(r.URL.Path, "/v1/reporting/transactions") {
			found = true
			assert.NoError(t, postgres.InTx(r.Context(), b.pool, func(tx pgx.Tx) error { return b.store.BatchAccepted(r.Context(), tx, id, at) }))
		}
		return false
	})

	err := b.decide(t, resolveItem, payoutOf(0), workflows.DecisionInput{Outcome: "failed"})

	requireConflict(t, err, "meanwhile")
	require.True(t, found)
	b.read(t, id)
	b.paid(t, payoutOf(0))
}

// PayPal has two items of a payout. That one is back says nothing of the other.
func TestAPayoutOfTwoItemsDidNotFailBecauseOneIsBack(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, "onhold-ada@example.org")
	b.send(t, id)
	b.read(t, id)
	at, first := b.batchNow(t, id).PayPalBatchID, b.now(t, payoutOf(0)).ProviderPayoutID
	item := func(id, status string) string {
		return `{"payout_item_id":"` + id + `","payout_batch_id":"` + at + `","transaction_id":"TX` + id + `","transaction_status":"` + status + `",
			"payout_item":{"amount":{"value":"98.00","currency":"USD"},"sender_item_id":"` + payoutOf(0) + `"}}`
	}
	second := "SUCCESS"
	b.answers(t, func(w http.ResponseWriter, r *http.Request) bool {
		return complains("GET", "/v1/payments/payouts/", http.StatusOK, `{"total_items":2,"total_pages":1,
				"batch_header":{"payout_batch_id":"`+at+`","batch_status":"PROCESSING"},"items":[`+item(first, "RETURNED")+`,`+item("ITEM2", second)+`]}`)(w, r) ||
			complains("GET", "/v1/payments/payouts-item/", http.StatusOK, item(first, "RETURNED"))(w, r)
	})
	require.Empty(t, b.read(t, id).Do)
	require.Equal(t, payout.Held, b.now(t, payoutOf(0)).State)
	failed := workflows.DecisionInput{Outcome: "failed"}

	requireConflict(t, b.decide(t, resolveItem, payoutOf(0), failed), "ITEM2 at PayPal is SUCCESS")

	second = "RETURNED"
	require.NoError(t, b.decide(t, resolveItem, payoutOf(0), failed))
	require.Equal(t, int64(10_000), b.balance(t, payeeOf(0)))
}

// One payout of a batch of which nothing was known is paid by its item: then PayPal has the batch, and the
// others are not resolved as failed for want of a trace of it.
func TestAnItemThatPaidTellsOfItsBatch(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id, at := b.heldBatch(t, true, ada, grace)
	b.pass(t, "1 hour")
	item := b.simulator.PayPal().PayPalBatches()[0].Items[0].ID
	require.NoError(t, b.decide(t, resolveItem, payoutOf(0), workflows.DecisionInput{Outcome: "paid", ProviderID: item}))

	requireConflict(t, b.decide(t, resolveItem, payoutOf(1), workflows.DecisionInput{Outcome: "failed"}), "PayPal has the batch as "+at)

	require.Equal(t, workflows.ActivityReadPayPalBatch, b.plan(t, id, true).Next.Do)
	b.read(t, id)
	b.read(t, id)
	b.paid(t, payoutOf(0), payoutOf(1))
}

// A movement that names a payout tells that money of it has moved, whatever batch it names.
func TestAHeldPayoutIsNotResolvedAsFailedWhenAMovementNamesIt(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	b.heldBatch(t, true, ada, grace)
	b.pass(t, "1 hour")
	b.answers(t, complains("GET", "/v1/reporting/transactions", http.StatusOK, `{"total_items":1,"total_pages":1,"transaction_details":[
		{"transaction_info":{"transaction_id":"TX1","custom_field":"`+payoutOf(1)+`","transaction_status":"S"}}]}`))
	failed := workflows.DecisionInput{Outcome: "failed"}

	requireConflict(t, b.decide(t, resolveItem, payoutOf(1), failed), "TX1")
	require.NoError(t, b.decide(t, resolveItem, payoutOf(0), failed))
}

// What PayPal tells of a batch that it does not have, as one that it refused, is no news for ever.
func TestNewsOfABatchThatPayPalDoesNotHaveAreSettled(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, "invalid-ada@example.org")
	require.Empty(t, b.send(t, id).Do)
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		first, err := b.store.HintBatch(ctx, tx, id, "")
		require.True(t, first)
		return err
	})
	require.True(t, b.batchNow(t, id).Heard)

	require.Empty(t, b.plan(t, id, true).Next.Do)

	require.False(t, b.batchNow(t, id).Heard)
}

// RULES §3: what is checked right before the first movement is checked again when a frozen batch, of which
// nothing has moved, has waited: a payee who has moved is not paid at the old address.
func TestABatchThatWaitedIsNotSentToWhoHasMoved(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]func(*testing.T, batchBundle, string){
		"refused for funds": func(t *testing.T, b batchBundle, id string) { b.unfunded(t, id, true); b.rich(t) },
		"denied for funds":  func(t *testing.T, b batchBundle, id string) { b.unfunded(t, id, false); b.rich(t) },
		"not let in": func(t *testing.T, b batchBundle, id string) {
			requireFailure(t, b.under(t, id, simulator.Fault{Kind: simulator.WrongKey}), provider.Misconfigured, false)
			b.exec(t, `UPDATE provider_health SET state = 'up'`)
			b.pass(t, "1 hour")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupBatches(t)
			id := b.batch(t, ada, grace)
			wait(t, b, id)
			b.moveTo(t, 0, "ada-elsewhere@example.org")
			posts := b.posts()

			require.Empty(t, b.send(t, id).Do)

			require.Equal(t, posts, b.posts())
			require.Equal(t, payout.BatchSplit, b.batchNow(t, id).State)
			next := b.batchOf(t, payoutOf(1))
			b.send(t, next)
			b.read(t, next)
			b.paid(t, payoutOf(1))
			b.released(t, payoutOf(0), payout.Canceled, string(payout.BecauseDestinationChanged))
		})
	}
}

// When an earlier sending may have been carried out, the identical batch goes again, whoever has moved.
func TestABatchThatMayHaveBeenSentIsNotChanged(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, ada, grace)
	require.Error(t, b.under(t, id, simulator.Fault{Kind: simulator.ExecuteThenDrop}))
	b.pass(t, "1 hour")
	b.moveTo(t, 0, "ada-elsewhere@example.org")

	b.send(t, id)
	b.read(t, id)

	b.paid(t, payoutOf(0), payoutOf(1))
	require.Len(t, b.simulator.PayPal().PayPalBatches(), 1)
}
