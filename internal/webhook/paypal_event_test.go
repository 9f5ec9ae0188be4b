package webhook_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/webhook"
)

func TestPayPalTellsWhomAnEventIsAbout(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, subject, problem string }{
		"a subscription": {
			`{"id": "WH-1", "event_type": "BILLING.SUBSCRIPTION.ACTIVATED", "create_time": "2026-11-20T12:00:00.000Z", "resource": {"id": "I-1"}}`, "I-1", "",
		},
		"a payment of a subscription": {
			`{"id": "WH-1", "event_type": "PAYMENT.SALE.COMPLETED", "resource": {"id": "S1", "billing_agreement_id": "I-1"}}`, "I-1", "",
		},
		"a batch of payouts": {
			`{"id": "WH-1", "event_type": "PAYMENT.PAYOUTSBATCH.PROCESSING", "resource": {"batch_header": {"payout_batch_id": "B1",
				"sender_batch_header": {"sender_batch_id": "holdfast/1"}}}}`, "B1", "",
		},
		"one of a batch's payouts": {
			`{"id": "WH-1", "event_type": "PAYMENT.PAYOUTS-ITEM.UNCLAIMED", "resource": {"payout_item_id": "I1", "payout_batch_id": "B1",
				"sender_batch_id": "holdfast/1", "payout_item": {"sender_item_id": "po_1"}}}`, "B1", "",
		},
		"a payout that names no batch":  {`{"id": "WH-1", "event_type": "PAYMENT.PAYOUTS-ITEM.FAILED", "resource": {"payout_item_id": "I1"}}`, "I1", ""},
		"a batch that PayPal names not": {`{"id": "WH-1", "event_type": "PAYMENT.PAYOUTSBATCH.DENIED", "resource": {"batch_header": {"sender_batch_header": {"sender_batch_id": "holdfast/1"}}}}`, "holdfast/1", ""},
		"a batch without any name":      {`{"id": "WH-1", "event_type": "PAYMENT.PAYOUTSBATCH.DENIED", "resource": {"batch_header": []}}`, "", ""},
		"a payment of none":             {`{"id": "WH-1", "event_type": "PAYMENT.SALE.COMPLETED", "resource": {"id": "S1"}}`, "", ""},
		"a type of no interest":         {`{"id": "WH-1", "event_type": "CUSTOMER.DISPUTE.CREATED", "resource": {"id": 7}}`, "", ""},
		"a resource that is none":       {`{"id": "WH-1", "event_type": "BILLING.SUBSCRIPTION.ACTIVATED", "resource": [1]}`, "", ""},
		"an event without a name":       {`{"event_type": "PAYMENT.SALE.COMPLETED"}`, "", "id is missing"},
		"an event without a type":       {`{"id": "WH-1"}`, "", "event_type is missing"},
		"what is no event":              {`[]`, "", "not JSON as PayPal sends it"},
		"an id that is no text":         {`{"id": "WH-1", "event_type": "BILLING.SUBSCRIPTION.CREATED", "resource": {"id": {}}}`, "", ""},
		"an id that can't be kept":      {`{"id": "WH-1", "event_type": "BILLING.SUBSCRIPTION.CREATED", "resource": {"id": "I-\u0000"}}`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := webhook.ReadPayPal([]byte(c.body))

			if c.problem != "" {
				require.ErrorIs(t, err, webhook.ErrMalformed)
				require.ErrorContains(t, err, c.problem)
				return
			}
			require.NoError(t, err)
			require.Equal(t, provider.PayPal, e.Provider)
			require.Equal(t, "WH-1", e.ID)
			require.Equal(t, c.subject, e.Subject)
			require.Equal(t, c.subject != "", e.About != "" && e.Subject != "")
		})
	}
}

func TestPayPalReadsNothingThatIsNotSigned(t *testing.T) {
	t.Parallel()
	reader, err := webhook.NewPayPal(webhook.PayPalConfig{WebhookIDs: []string{webhookID}})
	require.NoError(t, err)

	_, err = reader.Read(t.Context(), http.Header{}, []byte(`{"id": "WH-1", "event_type": "PAYMENT.SALE.COMPLETED"}`))

	require.ErrorIs(t, err, webhook.ErrSignature)
}

const (
	batchID = "pb_000000000000000000000001"
	inBatch = "po_000000000000000000000001"
	ourName = "holdfast/paypal/payout_batch/" + batchID + "/1"
)

// batch makes a batch of two payouts, which was sent as an epoch, of which PayPal has told no id yet.
func (o office) batch(t *testing.T) {
	t.Helper()
	o.customer(t, "u_1", "")
	o.exec(t, `INSERT INTO payees (id, email, country, currency, rail, paypal_email, schedule, content_hash)
		VALUES ('u_1', 'x@example.com', 'US', 'usd', 'paypal', 'x@example.com', 'weekly', '')`)
	o.exec(t, `INSERT INTO payout_runs (date, cause) VALUES ('2026-11-20', 'schedule')`)
	o.exec(t, `INSERT INTO paypal_batches (id, run_date, currency, size) VALUES ($1, '2026-11-20', 'usd', 2)`, batchID)
	o.exec(t, `INSERT INTO payouts (id, payee_id, kind, run_date, part, method, currency, gross, fee, net, period_end, due_date, batch_id)
		VALUES ($1, 'u_1', 'scheduled', '2026-11-20', 1, 'paypal', 'usd', 100, 2, 98, '2026-11-13', '2026-11-20', $2),
			('po_000000000000000000000002', 'u_1', 'scheduled', '2026-11-20', 2, 'paypal', 'usd', 100, 2, 98, '2026-11-13', '2026-11-20', $2)`, inBatch, batchID)
	o.exec(t, `UPDATE paypal_batches SET state = 'sending'`)
	o.exec(t, `INSERT INTO provider_requests (idempotency_key, provider, operation, subject, epoch, params) VALUES ($1, 'paypal', 'payout_batch', $2, 1, '{}')`, ourName, batchID)
}

// fromPayPal is an event as PayPal writes it.
func fromPayPal(t *testing.T, id, eventType, resource string) webhook.Event {
	t.Helper()
	e, err := webhook.ReadPayPal(fmt.Appendf(nil, `{"id": %q, "event_type": %q, "resource": %s}`, id, eventType, resource))
	require.NoError(t, err)
	return e
}

// Whatever an event names that is ours, the batch is read, once until it was read. What it is said to be
// is kept as a hint only if it is said of the batch that is waited for.
func TestPayPalsEventsHaveABatchLookedAtOnce(t *testing.T) {
	t.Parallel()
	const item = "PAYMENT.PAYOUTS-ITEM.SUCCEEDED"
	for name, c := range map[string]struct{ eventType, resource, before, hint string }{
		"the batch, by our name": {
			"PAYMENT.PAYOUTSBATCH.SUCCESS", `{"batch_header": {"payout_batch_id": "THEIRS", "sender_batch_header": {"sender_batch_id": "` + ourName + `"}}}`, ``, "THEIRS",
		},
		"the batch, by PayPal's": {
			"PAYMENT.PAYOUTSBATCH.SUCCESS", `{"batch_header": {"payout_batch_id": "THEIRS"}}`,
			`UPDATE paypal_batches SET state = 'sent', paypal_batch_id = 'THEIRS'`, "",
		},
		"an item, by our batch": {item, `{"payout_item_id": "I1", "payout_batch_id": "THEIRS", "sender_batch_id": "` + ourName + `"}`, ``, "THEIRS"},
		"an item, by our payout": {
			item, `{"payout_item_id": "I1", "payout_batch_id": "OTHER", "payout_item": {"sender_item_id": "` + inBatch + `"}}`, ``, "",
		},
		"an item, by its own id": {
			item, `{"payout_item_id": "I1", "payout_batch_id": "OTHER"}`,
			`UPDATE payouts SET state = 'sending', provider_payout_id = 'I1' WHERE part = 1`, "",
		},
		"an epoch that was denied": {
			item, `{"payout_item_id": "I1", "payout_batch_id": "DENIED", "sender_batch_id": "` + ourName + `"}`,
			`UPDATE provider_requests SET outcome = 'rejected'`, "",
		},
		"a batch that was refused, and whose payouts are in others": {
			item, `{"payout_item_id": "I1", "payout_batch_id": "THEIRS", "sender_batch_id": "` + ourName + `"}`,
			`UPDATE provider_requests SET outcome = 'rejected'; UPDATE paypal_batches SET state = 'split'`, "THEIRS",
		},
		"a batch that has ended, and was denied": {
			item, `{"payout_item_id": "I1", "payout_batch_id": "DENIED", "sender_batch_id": "` + ourName + `"}`,
			`UPDATE provider_requests SET outcome = 'rejected'; UPDATE paypal_batches SET state = 'ended', denied_ids = '{DENIED}'`, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := setupInbox(t)
			o.batch(t)
			if c.before != "" {
				o.exec(t, c.before)
			}
			looks := func() int {
				return o.count(t, `SELECT count(*) FROM outbox WHERE message ->> 'workflow_id' = 'paypal-batch/' || $1 AND message ->> 'signal' = 'provider_event'`, batchID)
			}
			state := func() string {
				var state string
				require.NoError(t, o.pool.QueryRow(t.Context(), `SELECT string_agg(state, ' ' ORDER BY id) FROM payouts`).Scan(&state))
				return state
			}
			before := state()

			for n := range 3 {
				require.Equal(t, webhook.Sync, o.put(t, fromPayPal(t, fmt.Sprint("WH-", n), c.eventType, c.resource)))
			}
			require.Equal(t, 1, looks())
			require.Equal(t, 1, o.count(t, `SELECT count(*) FROM paypal_batches WHERE heard AND coalesce(hinted_id, '') = $1`, c.hint))
			require.Equal(t, before, state(), "an event settles nothing")

			require.NoError(t, payout.BatchChecked(t.Context(), o.pool, batchID))
			require.Equal(t, webhook.Sync, o.put(t, fromPayPal(t, "WH-9", c.eventType, c.resource)))
			require.Equal(t, 2, looks())
			require.Equal(t, webhook.Duplicate, o.put(t, fromPayPal(t, "WH-9", c.eventType, c.resource)))
		})
	}
}

// A batch of many payouts tells of each of them, all at once.
func TestABatchsManyEventsAreOneLook(t *testing.T) {
	t.Parallel()
	o := setupInbox(t)
	o.batch(t)
	errs := make(chan error, 100)
	var senders sync.WaitGroup
	for n := range cap(errs) {
		e := fromPayPal(t, fmt.Sprint("WH-", n), "PAYMENT.PAYOUTS-ITEM.SUCCEEDED", `{"payout_item_id": "I1", "payout_batch_id": "THEIRS", "sender_batch_id": "`+ourName+`"}`)
		senders.Go(func() {
			_, err := o.Put(t.Context(), e)
			errs <- err
		})
	}
	senders.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	require.Equal(t, 100, o.count(t, `SELECT count(*) FROM webhook_events WHERE effect = 'sync' AND subject = 'THEIRS'`))
	require.Equal(t, 1, o.count(t, `SELECT count(*) FROM outbox`))
}

// A batch that was sent by somebody else, from the same account, is nobody's here: people see it once.
func TestABatchThatIsNotOursIsAStranger(t *testing.T) {
	t.Parallel()
	o := setupInbox(t)
	o.batch(t)
	for n := range 3 {
		require.Equal(t, webhook.Unknown, o.put(t, fromPayPal(t, fmt.Sprint("WH-", n), "PAYMENT.PAYOUTS-ITEM.SUCCEEDED",
			fmt.Sprintf(`{"payout_item_id": "I%d", "payout_batch_id": "OTHERS", "sender_batch_id": "salaries", "payout_item": {"sender_item_id": "x"}}`, n))))
	}
	o.exec(t, `UPDATE webhook_events SET received_at = now() - interval '1 hour'`)
	strangers, err := webhook.ListStrangers(t.Context(), o.pool, time.Time{}, "", 10)
	require.NoError(t, err)
	require.Len(t, strangers, 1)
	require.Equal(t, "paypal/OTHERS", strangers[0].ID())
	require.Equal(t, 3, strangers[0].Events)
	require.Zero(t, o.count(t, `SELECT count(*) FROM outbox`))

	require.NoError(t, postgres.InTx(t.Context(), o.pool, func(tx pgx.Tx) error {
		dismissed, err := webhook.Dismiss(t.Context(), tx, provider.PayPal, "OTHERS", "olga", "the salaries")
		require.True(t, dismissed)
		return err
	}))
	require.Equal(t, webhook.Dismissed, o.put(t, fromPayPal(t, "WH-9", "PAYMENT.PAYOUTSBATCH.SUCCESS", `{"batch_header": {"payout_batch_id": "OTHERS"}}`)))
}
