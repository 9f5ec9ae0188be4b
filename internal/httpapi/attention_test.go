package httpapi_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// A pass over everybody is no customer's, and its step is resolved in Temporal.
func TestAStepOfNoCustomerSaysWhereToResolveIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `INSERT INTO steps (workflow_id, name, provider, status, waits_for, blocked_at)
		VALUES ('subscription-backfill/stripe', 'stripe_backfill', 'stripe', 'blocked', 'person', now())`)
	page := b.call(t, http.MethodGet, "/v1/ops/attention", operatorKey, "")
	require.Equal(t, http.StatusOK, page.status, page.text)
	item := page.body["items"].([]any)[0].(map[string]any)
	require.Equal(t, "subscription-backfill/stripe", item["workflow_id"])
	require.Empty(t, item["resolve"])
	require.Contains(t, item["detail"], "the update retry or skip")
}
