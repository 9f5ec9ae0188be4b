package httpapi_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/httpapi"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/webhook"
	"github.com/holdfast/holdfast/workflows"
)

const webhookSecret = "whsec_test"

// webhookOutcomes counts what became of webhooks.
type webhookOutcomes struct {
	mu   sync.Mutex
	seen map[string]int
}

func (o *webhookOutcomes) Webhook(_ context.Context, p provider.Name, outcome string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen[string(p)+" "+outcome]++
}

func stripeEvent(id, eventType, customer string, livemode bool) []byte {
	return fmt.Appendf(nil, `{"id":%q,"object":"event","created":%d,"livemode":%t,"type":%q,"data":{"object":{"customer":%q}}}`,
		id, time.Now().Unix(), livemode, eventType, customer)
}

func signStripe(body []byte, at time.Time, secret string) func(*http.Request) {
	seconds := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(append([]byte(seconds+"."), body...))
	return func(r *http.Request) {
		r.Header.Set("Stripe-Signature", "t="+seconds+",v1="+hex.EncodeToString(mac.Sum(nil)))
	}
}

// deliver posts an event with a genuine signature.
func (b bundle) deliver(t *testing.T, body []byte) reply {
	t.Helper()
	return b.call(t, http.MethodPost, "/webhooks/stripe", "", string(body), signStripe(body, time.Now(), webhookSecret))
}

func TestAWebhookIsStoredBeforeItIsAnswered(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	b.exec(t, `UPDATE customers SET stripe_customer_id = 'cus_1', stripe_bound_at = now()`)
	before := b.notified.calls()

	for range 2 {
		r := b.deliver(t, stripeEvent("evt_1", "customer.subscription.updated", "cus_1", false))
		require.Equal(t, http.StatusOK, r.status, r.text)
		require.JSONEq(t, `{"received": true}`, r.text)
	}

	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM webhook_events WHERE customer_id = 'u_1' AND effect = 'sync'`))
	require.Equal(t, 1, b.count(t, `SELECT marks FROM subscription_syncs WHERE customer_id = 'u_1'`))
	require.Greater(t, b.notified.calls(), before, "the dispatcher is woken")
	shown := b.call(t, http.MethodGet, "/v1/customers/u_1", appKey, "")
	require.Contains(t, shown.text, `"stale":true`)
	require.Equal(t, map[string]int{"stripe sync": 1, "stripe duplicate": 1}, b.webhooks.seen)
}

func TestWebhooksThatAreNotTaken(t *testing.T) {
	t.Parallel()
	genuine := stripeEvent("evt_1", "invoice.paid", "cus_1", false)
	live := stripeEvent("evt_1", "invoice.paid", "cus_1", true)
	huge := []byte(`{"id":"evt_1","type":"invoice.paid","filling":"` + strings.Repeat("x", 1<<20) + `"}`)
	for name, c := range map[string]struct {
		body   []byte
		sign   func(*http.Request)
		status int
		detail string
	}{
		"forged":          {genuine, signStripe(genuine, time.Now(), "whsec_forged"), 400, "matches no secret"},
		"replayed late":   {genuine, signStripe(genuine, time.Now().Add(-time.Hour), webhookSecret), 400, "older than 5m0s"},
		"unsigned":        {genuine, func(*http.Request) {}, 400, "Stripe-Signature is missing"},
		"oversized":       {huge, signStripe(huge, time.Now(), webhookSecret), 413, "larger than 1048576 bytes"},
		"not JSON":        {[]byte("evt_1"), signStripe([]byte("evt_1"), time.Now(), webhookSecret), 400, "not JSON"},
		"empty":           {nil, signStripe(nil, time.Now(), webhookSecret), 400, "not JSON"},
		"of another mode": {live, signStripe(live, time.Now(), webhookSecret), 400, "livemode is true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)

			r := b.call(t, http.MethodPost, "/webhooks/stripe", "", string(c.body), c.sign)

			requireProblem(t, r, c.status, "")
			require.Contains(t, r.text, c.detail)
			require.Zero(t, b.count(t, `SELECT count(*) FROM webhook_events`))
			require.Equal(t, map[string]int{"stripe refused": 1}, b.webhooks.seen)
			require.NotContains(t, b.log.text(), "cus_1")
		})
	}
}

func TestWebhooksOfNoInterestAreStoredAndAnswered(t *testing.T) {
	t.Parallel()
	b := setup(t)

	require.Equal(t, http.StatusOK, b.deliver(t, stripeEvent("evt_1", "something.new.happened", "cus_1", false)).status)
	require.Equal(t, http.StatusOK, b.deliver(t, stripeEvent("evt_2", "invoice.paid", "cus_nobody", false)).status)

	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM webhook_events WHERE effect = 'ignored' AND type = 'something.new.happened'`))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM webhook_events WHERE effect = 'unknown' AND subject = 'cus_nobody'`))
	require.Zero(t, b.count(t, `SELECT count(*) FROM outbox`))
}

func TestWebhooksThatAreNotConfiguredComeAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)

	r := b.call(t, http.MethodPost, "/webhooks/paypal", "", `{}`)

	requireProblem(t, r, http.StatusServiceUnavailable, "")
	require.Contains(t, r.text, "PAYPAL_WEBHOOK_ID is not set")
	require.Equal(t, map[string]int{"paypal unavailable": 1}, b.webhooks.seen)
}

func TestWebhooksWhileTheDatabaseIsAwayComeAgain(t *testing.T) {
	t.Parallel()
	b := setupOn(t, unreachable(t))

	r := b.deliver(t, stripeEvent("evt_1", "invoice.paid", "cus_1", false))

	requireProblem(t, r, http.StatusServiceUnavailable, "")
	require.Contains(t, r.text, "was not stored; send it again")
	require.Equal(t, map[string]int{"stripe unavailable": 1}, b.webhooks.seen)
}

func TestManyWebhooksAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const n = 600 // more than are read at once
	statuses := make(chan int, n)
	var senders sync.WaitGroup
	for i := range n {
		senders.Go(func() {
			body := stripeEvent(fmt.Sprintf("evt_%d", i), "invoice.paid", "cus_1", false)
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+"/webhooks/stripe", bytes.NewReader(body))
			if err != nil {
				return
			}
			signStripe(body, time.Now(), webhookSecret)(request)
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				return
			}
			defer response.Body.Close()
			statuses <- response.StatusCode
		})
	}
	senders.Wait()
	close(statuses)

	answered := 0
	for status := range statuses {
		require.Equal(t, http.StatusOK, status)
		answered++
	}
	require.Equal(t, answered, b.count(t, `SELECT count(*) FROM webhook_events`))
	require.Positive(t, answered)
}

func TestStrangersWaitForAPersonAndAreDismissed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.deliver(t, stripeEvent("evt_1", "invoice.paid", "cus_nobody", false))
	require.NotContains(t, b.call(t, http.MethodGet, "/v1/ops/attention", operatorKey, "").text, "cus_nobody", "it may be somebody's in a moment")
	b.exec(t, `UPDATE webhook_events SET received_at = now() - interval '1 hour'`)

	listed := b.call(t, http.MethodGet, "/v1/ops/attention", operatorKey, "")
	require.Contains(t, listed.text, `"kind":"unknown_subject"`)
	require.Contains(t, listed.text, `"path":"/v1/ops/unknown-subjects/stripe/cus_nobody/dismiss"`)
	const path = "/v1/ops/unknown-subjects/stripe/cus_nobody/dismiss"
	require.Equal(t, http.StatusForbidden, b.call(t, http.MethodPost, path, appKey, `{}`).status)
	dismissed := b.call(t, http.MethodPost, path, operatorKey, `{"note": "of the old shop"}`)
	require.Equal(t, http.StatusNoContent, dismissed.status, dismissed.text)

	require.NotContains(t, b.call(t, http.MethodGet, "/v1/ops/attention", operatorKey, "").text, "cus_nobody")
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM operator_actions WHERE actor = 'olga' AND note = 'of the old shop'`))
	requireProblem(t, b.call(t, http.MethodPost, path, operatorKey, `{}`), http.StatusNotFound, "path.subject")
	requireProblem(t, b.call(t, http.MethodPost, "/v1/ops/unknown-subjects/adyen/x/dismiss", operatorKey, `{}`), http.StatusUnprocessableEntity, "path.provider")
	requireProblem(t, b.call(t, http.MethodPost, "/v1/ops/unknown-subjects/stripe/x%00/dismiss", operatorKey, `{}`), http.StatusNotFound, "path.subject")
}

// A payout on a payee's account that is not ours waits for a person, who ends that; why is kept.
func TestAPayoutThatIsNotOursIsShownUntilItIsDismissed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.hold(t) // acct_1 is the account of u_1
	event := func(id, kind string) []byte {
		return fmt.Appendf(nil, `{"id": %q, "object": "event", "type": %q, "created": 1700000000, "livemode": false, "account": "acct_1",
			"data": {"object": {"id": "po_theirs", "object": "payout", "automatic": true, "status": "paid", "metadata": {"holdfast_payout_id": %q}}}}`, id, kind, somePayout)
	}
	b.deliver(t, event("evt_1", "payout.paid"))
	b.exec(t, `UPDATE webhook_events SET received_at = now() - interval '15 days'`)

	items := b.attention(t, "unknown_subject")

	require.Len(t, items, 1, "however long ago it was")
	require.Equal(t, "po_theirs", items[0]["subject"])
	require.Equal(t, "u_1", items[0]["customer_id"])
	require.Contains(t, items[0]["detail"], "schedule is manual")
	const dismiss = "/v1/ops/unknown-subjects/stripe/po_theirs/dismiss"
	require.Equal(t, []any{map[string]any{"method": "POST", "path": dismiss}}, items[0]["resolve"])
	r := b.call(t, http.MethodPost, dismiss, operatorKey, `{"note": "the payee's own, the schedule is manual again"}`)
	require.Equal(t, http.StatusNoContent, r.status, r.text)
	require.Empty(t, b.attention(t, "unknown_subject"))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM operator_actions WHERE actor = 'olga' AND action = 'dismiss_unknown_subject'
		AND subject = 'stripe/po_theirs' AND note LIKE 'the payee%' AND at > now() - interval '1 minute'`))
	b.deliver(t, event("evt_2", "payout.failed"))
	b.exec(t, `UPDATE webhook_events SET received_at = now() - interval '1 hour'`)
	require.Empty(t, b.attention(t, "unknown_subject"), "and whatever is heard of it later")
	require.Zero(t, b.count(t, `SELECT count(*) FROM outbox WHERE key LIKE '%po_theirs%' OR key LIKE '%evt_%'`), "it moves nothing of ours")
}

// takeWebhooks takes in Stripe's webhooks, and has none of PayPal's configured.
func (b bundle) takeWebhooks(t *testing.T) httpapi.Webhooks {
	t.Helper()
	live := false
	reader, err := webhook.NewStripe(webhook.StripeConfig{Secrets: []string{webhookSecret}, Livemode: &live})
	require.NoError(t, err)
	return httpapi.Webhooks{Stripe: reader, Inbox: webhook.NewInbox(b.pool, subscriptionsOn(b.pool), webhook.Work{LookAtPayout: workflows.LookAtPayout, LookAtBatch: workflows.LookAtPayPalBatch, CheckAccount: workflows.CheckAccount}, b.notified.add), Meter: b.webhooks}
}
