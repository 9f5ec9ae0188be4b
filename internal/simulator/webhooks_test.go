package simulator_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/simulator"
)

// received is an event as it reached the target.
type received struct {
	body   []byte
	header http.Header
}

// target takes events, once it does not answer with something else.
type target struct {
	url string

	mu     sync.Mutex
	taken  []received
	answer func(nth int) int // the status for the nth request, from 1
	asked  int
}

func newTarget(t *testing.T) *target {
	t.Helper()
	target := &target{answer: func(int) int { return http.StatusOK }}
	server := httptest.NewServer(target)
	t.Cleanup(server.Close)
	target.url = server.URL
	return target
}

func (g *target) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender has gone
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	status := g.answer(g.asked)
	if status == http.StatusOK {
		g.taken = append(g.taken, received{body: body, header: r.Header.Clone()})
	}
	w.WriteHeader(status)
}

func (g *target) answers(status func(nth int) int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answer = status
}

func (g *target) events() []received {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]received(nil), g.taken...)
}

// settle waits until nothing is under way to a target.
func settle(t *testing.T, w *simulator.Webhooks) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, w.Await(ctx))
}

// quick makes redeliveries come soon.
func quick() simulator.Config {
	return simulator.Config{WebhookRedeliverAfter: time.Millisecond, WebhookRedeliverMax: 5 * time.Millisecond}
}

func TestWebhooks_DeliverAgainUntilTaken(t *testing.T) {
	t.Parallel()
	b, g := setup(t, quick()), newTarget(t)
	require.NoError(t, b.SetPayPalWebhook(g.url))
	g.answers(func(nth int) int {
		return []int{http.StatusServiceUnavailable, http.StatusMovedPermanently, http.StatusBadRequest, http.StatusOK}[nth-1]
	})

	b.PayPal().CreateSubscription("P-1", "u_1")
	settle(t, b.PayPalWebhooks())

	require.Len(t, g.events(), 1)
	deliveries := b.PayPalWebhooks().Deliveries()
	require.Len(t, deliveries, 1)
	require.Equal(t, "BILLING.SUBSCRIPTION.CREATED", deliveries[0].EventType)
	require.Equal(t, simulator.DeliveryTaken, deliveries[0].State)
	require.Len(t, deliveries[0].Attempts, 4)
	require.Equal(t, http.StatusServiceUnavailable, deliveries[0].Attempts[0].Status)
	require.Equal(t, deliveries[0].ID, g.events()[0].header.Get("Paypal-Transmission-Id"))
}

func TestWebhooks_WithoutATargetTellNobody(t *testing.T) {
	t.Parallel()
	b := setup(t, quick())

	b.PayPal().CreateSubscription("P-1", "u_1")

	settle(t, b.PayPalWebhooks())
	require.Empty(t, b.PayPalWebhooks().Deliveries())
}
