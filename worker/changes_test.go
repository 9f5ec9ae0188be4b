package main

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"

	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/localstack/temporaltest"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/workflows"
)

// The app is told what a customer's status is whenever it has become another one.
func TestTheAppIsToldHowOnboardingGoes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	playRejectedThenRetried(t, b)

	changes, err := feed.OfCustomer(t.Context(), b.pool, "u_1", 0, 100)
	require.NoError(t, err)
	told := make([]string, len(changes))
	for i, c := range changes {
		require.Equal(t, feed.OnboardingChanged, c.Type)
		told[i] = string(c.Data)
	}
	require.Equal(t, []string{`{"status": "attention", "billing_ready": false}`, `{"status": "ready", "billing_ready": true}`}, told)
}

var webhookSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("n", 32)))

// app is a receiver of webhooks. Each post waits for the answer that the test gives.
type app struct {
	url     string
	posts   chan string // the webhook-id of each, once its signature is verified
	answers chan int    // the status
}

func startApp(t *testing.T) app {
	t.Helper()
	verifier, err := standardwebhooks.NewWebhook(webhookSecret)
	require.NoError(t, err)
	a := app{posts: make(chan string), answers: make(chan int)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || verifier.Verify(body, r.Header) != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		select {
		case a.posts <- r.Header.Get("Webhook-Id"):
		case <-r.Context().Done():
			return
		}
		select {
		case status := <-a.answers:
			w.WriteHeader(status)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

// take waits for a post and answers it.
func (a app) take(t *testing.T, status int) (webhookID string) {
	t.Helper()
	webhookID = a.await(t)
	a.answers <- status
	return webhookID
}

func (a app) await(t *testing.T) (webhookID string) {
	t.Helper()
	select {
	case webhookID = <-a.posts:
	case <-time.After(2 * time.Minute):
		require.Fail(t, "nothing is posted")
	}
	return webhookID
}

// tell writes a change that is to be delivered.
func (b bundle) tell(t *testing.T) {
	t.Helper()
	require.NoError(t, postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
		return feed.NewWriter(workflows.DeliverChange).Append(t.Context(), tx, feed.SubscriptionChanged, "u_1", map[string]string{"status": "active"})
	}))
}

// deliverTo hosts the delivery of changes to the app.
func (b bundle) deliverTo(t *testing.T, a app) {
	t.Helper()
	var err error
	b.host.webhook, err = feed.NewWebhook(a.url, []string{webhookSecret}, 0)
	require.NoError(t, err)
	b.serve(t, []string{workflows.TaskQueue})
}

func (b bundle) delivered(t *testing.T) (result workflows.DeliveryResult) {
	t.Helper()
	require.NoError(t, b.temporal.GetWorkflow(t.Context(), workflows.DeliveryID(1), "").Get(t.Context(), &result))
	return result
}

func TestAChangeIsDelivered(t *testing.T) {
	t.Parallel()
	b := setupOn(t, temporaltest.Start(t), nil)
	a := startApp(t)
	b.deliverTo(t, a)
	b.tell(t)

	first := a.take(t, http.StatusServiceUnavailable)
	require.Equal(t, first, a.take(t, http.StatusNoContent), "it is the same change")
	require.Equal(t, workflows.DeliveryResult{Delivered: true}, b.delivered(t))
	b.record(t, workflows.DeliveryID(1), "delivery")
	activities := 0
	events := b.temporal.GetWorkflowHistory(t.Context(), workflows.DeliveryID(1), "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		require.NoError(t, err)
		if event.GetActivityTaskScheduledEventAttributes() != nil {
			activities++
		}
	}
	require.Equal(t, 1, activities)
}

func TestAChangeThatWasGivenUpIsDeliveredWhenAnOperatorAsks(t *testing.T) {
	t.Parallel()
	b := setupOn(t, temporaltest.Start(t), nil)
	a := startApp(t)
	b.deliverTo(t, a)
	b.tell(t)
	first := a.take(t, http.StatusGone)
	require.Equal(t, workflows.DeliveryResult{LastError: "http_410"}, b.delivered(t))
	b.record(t, workflows.DeliveryID(1), "delivery-given-up")
	undelivered, err := feed.ListUndelivered(t.Context(), b.pool, time.Time{}, "", 10)
	require.NoError(t, err)
	require.Len(t, undelivered, 1)

	require.NoError(t, postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
		return feed.Redeliver(t.Context(), tx, 1, "olga", "mended", workflows.RedeliverChange)
	}))
	require.Equal(t, first, a.take(t, http.StatusOK))
	require.Equal(t, workflows.DeliveryResult{Delivered: true}, b.delivered(t))
	b.record(t, workflows.DeliveryID(1), "delivery-asked-for")
	undelivered, err = feed.ListUndelivered(t.Context(), b.pool, time.Time{}, "", 10)
	require.NoError(t, err)
	require.Empty(t, undelivered)
}

// A worker is killed after the app took the change and before Temporal knows: the app gets it again,
// under the id by which it knows it.
func TestADeliveryWhoseWorkerIsKilledIsMadeAgainUnderItsID(t *testing.T) {
	t.Parallel()
	b := setupOn(t, temporaltest.Start(t), nil)
	a := startApp(t)
	kill := b.startMortal(t, workflows.TaskQueue, "HOLDFAST_WEBHOOK_URL="+a.url, "HOLDFAST_WEBHOOK_SECRET="+webhookSecret)
	b.tell(t)
	first := a.await(t)

	kill()
	b.deliverTo(t, a)

	require.Equal(t, first, a.take(t, http.StatusOK))
	require.Equal(t, workflows.DeliveryResult{Delivered: true}, b.delivered(t))
}
