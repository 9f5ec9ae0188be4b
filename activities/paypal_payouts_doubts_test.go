package activities_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
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
