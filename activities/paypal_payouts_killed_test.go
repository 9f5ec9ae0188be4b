package activities_test

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/activities"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

// death is when a worker is killed that makes a move: at its call of a method, before PayPal gets it or
// once PayPal has answered.
type death struct {
	activity string
	method   string
	reached  bool // the call reached PayPal
}

// killed has a worker make a move that is killed meanwhile: from that moment on nothing that it does
// reaches PayPal or Postgres.
func (b batchBundle) killed(t *testing.T, batchID string, at death) {
	t.Helper()
	pool, err := pgxpool.NewWithConfig(t.Context(), b.pool.Config())
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	client, err := paypal.New(paypal.Config{
		ClientID: simulator.DefaultPayPalClientID, ClientSecret: simulator.DefaultPayPalClientSecret, APIBase: b.mortal(t, at, pool.Close), Timeout: patient,
	})
	require.NoError(t, err)
	store := payout.NewStore(pool, payout.DefaultPolicy(), feed.NewWriter(nil), workflows.PayoutWork())
	moves := activities.NewPayPalPayouts(pool, store, client, nil, noTurns{}, quiet())
	b.register("killed", map[string]func(context.Context, workflows.PayPalBatchStepInput) (workflows.PayPalBatchMove, error){
		workflows.ActivitySendPayPalBatch: moves.SendPayPalBatch,
		workflows.ActivityReadPayPalBatch: moves.ReadPayPalBatch,
	}[at.activity])

	_, err = b.take(t, batchID, "killed")

	require.Error(t, err)
	require.ErrorContains(t, pool.Ping(t.Context()), "closed pool", "it was killed")
}

// mortal stands for PayPal, and kills at the given call.
func (b batchBundle) mortal(t *testing.T, at death, kill func()) (address string) {
	t.Helper()
	behind, err := url.Parse(b.simulator.PayPalURL())
	require.NoError(t, err)
	payPal := httputil.NewSingleHostReverseProxy(behind)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != at.method || r.URL.Path == "/v1/oauth2/token" {
			payPal.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		if at.reached {
			payPal.ServeHTTP(answer, r)
		}
		kill()
		if !at.reached {
			panic(http.ErrAbortHandler) // the connection breaks off
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// A worker is killed wherever a batch is on its way: another goes on, and everybody is paid once.
func TestABatchWhoseWorkerIsKilledAnywhereIsPaidOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at    death
		posts int // that reach PayPal
	}{
		"between the record that it is sent and its sending": {death{workflows.ActivitySendPayPalBatch, "POST", false}, 1},
		"between PayPal's answer and its record":             {death{workflows.ActivitySendPayPalBatch, "POST", true}, 2},
		"before it is read":                                  {death{workflows.ActivityReadPayPalBatch, "GET", false}, 1},
		"between what is read and its record":                {death{workflows.ActivityReadPayPalBatch, "GET", true}, 1},
	} {
		for _, withoutLink := range []bool{false, true} {
			t.Run(name+map[bool]string{true: "/no link to the first"}[withoutLink], func(t *testing.T) {
				t.Parallel()
				b := setupBatches(t)
				b.settings(t, simulator.PayPalPayoutSettings{DuplicateWithoutLink: withoutLink})
				id := b.batch(t, ada, grace)
				if c.at.activity == workflows.ActivityReadPayPalBatch {
					b.send(t, id)
				}

				b.killed(t, id, c.at)

				require.NotNil(t, b.request(t, id).FirstSentAt, "it was recorded before it was sent")
				require.Equal(t, payout.Sending, b.now(t, payoutOf(0)).State)
				b.insist(t, id)
				b.read(t, id)
				b.paid(t, payoutOf(0), payoutOf(1))
				require.Equal(t, c.posts, b.posts())
				require.Len(t, b.simulator.PayPal().PayPalBatches(), 1)
				require.Equal(t, 1, b.request(t, id).Epoch)
			})
		}
	}
}

// A worker is killed before the sending is recorded, or after everything is: nothing else is sent.
func TestABatchWhoseWorkerIsKilledBetweenItsMovesIsPaidOnce(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, ada, grace)
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		_, _, err := b.store.FreezeBatch(ctx, tx, id)
		return err
	})
	for range 2 { // of which nobody heard that it was carried out
		b.send(t, id)
	}
	for range 2 {
		b.read(t, id)
	}
	b.paid(t, payoutOf(0), payoutOf(1))
	require.Equal(t, 1, b.posts())
	require.Len(t, b.simulator.PayPal().PayPalBatches(), 1)
}

// A worker is killed before it has recorded that PayPal refused an item: sent again the batch is refused
// again, and everybody else is paid, once.
func TestARefusalOfWhichAKilledWorkerKnew(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, ada, "invalid-grace@example.org")

	b.killed(t, id, death{workflows.ActivitySendPayPalBatch, "POST", true})

	require.Equal(t, payout.BatchSending, b.batchNow(t, id).State)
	require.Equal(t, provider.OutcomeOpen, b.request(t, id).Outcome)
	b.drain(t, id)
	b.paid(t, payoutOf(0))
	b.released(t, payoutOf(1), payout.Failed, paypal.CodeValidation)
}
