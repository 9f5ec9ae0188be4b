package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/postgres"
)

// tell writes a change of a customer.
func (b bundle) tell(t *testing.T, customerID string) {
	t.Helper()
	require.NoError(t, postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
		return feed.NewWriter(nil).Append(t.Context(), tx, feed.SubscriptionChanged, customerID, map[string]string{"status": "active"})
	}))
}

// listed are the changes of an answer, each as its number and whom it is about.
func listed(t *testing.T, r reply) (changes []string, nextAfter int) {
	t.Helper()
	require.Equal(t, http.StatusOK, r.status, r.text)
	for _, c := range r.body["data"].([]any) {
		change := c.(map[string]any)
		changes = append(changes, fmt.Sprintf("%.0f %s", change["seq"], change["customer_id"]))
	}
	return changes, int(r.body["next_after"].(float64))
}

func TestChangesAreReadPageByPage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, customerID := range []string{"u_1", "u_2", "u_1"} {
		b.tell(t, customerID)
	}

	first := b.call(t, "GET", "/v1/changes?limit=2", appKey, "")
	changes, next := listed(t, first)
	require.Equal(t, []string{"1 u_1", "2 u_2"}, changes)
	change := first.body["data"].([]any)[0].(map[string]any)
	require.Equal(t, "subscription.changed", change["type"])
	require.Equal(t, map[string]any{"status": "active"}, change["data"])
	require.NotEmpty(t, change["at"])

	changes, next = listed(t, b.call(t, "GET", fmt.Sprintf("/v1/changes?after=%d", next), appKey, ""))
	require.Equal(t, []string{"3 u_1"}, changes)
	changes, next = listed(t, b.call(t, "GET", fmt.Sprintf("/v1/changes?after=%d&wait_ms=1", next), appKey, ""))
	require.Empty(t, changes)
	require.Equal(t, 3, next)
}

func TestALongPollIsAnsweredByTheNextChange(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tell(t, "u_1")
	answered := make(chan reply)
	go func() { answered <- b.call(t, "GET", "/v1/changes?after=1&wait_ms=30000", appKey, "") }()
	b.awaitPoll(t)
	b.tell(t, "u_2")

	changes, next := listed(t, <-answered)
	require.Equal(t, []string{"2 u_2"}, changes)
	require.Equal(t, 2, next)
}

// awaitPoll waits until somebody waits for a change.
func (b bundle) awaitPoll(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return b.api.Polls() > 0 }, time.Minute, time.Millisecond)
}

func TestAPollEndsWithItsClient(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, leave := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+"/v1/changes?wait_ms=30000", nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+appKey)
	left := make(chan error)
	go func() {
		_, err := http.DefaultClient.Do(request)
		left <- err
	}()
	b.awaitPoll(t)

	leave()
	require.ErrorIs(t, <-left, context.Canceled)
	require.Eventually(t, func() bool { return b.api.Polls() == 0 }, time.Minute, time.Millisecond)
	require.Eventually(t, func() bool { return len(b.observed.all()) == 1 }, time.Minute, time.Millisecond)
	require.Equal(t, []string{"GET [GET /v1/changes] 499"}, b.observed.all())
}

// A process that is told to stop answers those who wait at once.
func TestPollsEndWithTheProcess(t *testing.T) {
	t.Parallel()
	b := setup(t)
	answered := make(chan reply)
	go func() { answered <- b.call(t, "GET", "/v1/changes?wait_ms=30000", appKey, "") }()
	b.awaitPoll(t)

	b.stop()
	changes, next := listed(t, <-answered)
	require.Empty(t, changes)
	require.Zero(t, next)
}

func TestReadersWhoAreAheadOfTheFeedAreTold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tell(t, "u_1")
	r := b.call(t, "GET", "/v1/changes?after=2&wait_ms=30000", appKey, "")
	requireProblem(t, r, 422, "query.after")
	require.Contains(t, r.text, "at most 1")
}

func TestHistoryOfACustomerIsReadPageByPage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "u_1")
	for _, customerID := range []string{"u_1", "u_2", "u_1"} {
		b.tell(t, customerID)
	}
	changes, next := listed(t, b.call(t, "GET", "/v1/customers/u_1/changes?limit=1", appKey, ""))
	require.Equal(t, []string{"1 u_1"}, changes)
	changes, _ = listed(t, b.call(t, "GET", fmt.Sprintf("/v1/customers/u_1/changes?after=%d", next), operatorKey, ""))
	require.Equal(t, []string{"3 u_1"}, changes)
	requireProblem(t, b.call(t, "GET", "/v1/customers/nobody/changes", appKey, ""), http.StatusNotFound, "path.id")
}

func TestBadReadsOfChangesNameTheField(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cases := map[string]struct {
		query, key string
		status     int
		location   string
	}{
		"a number that is below zero": {"after=-1", appKey, 422, "query.after"},
		"no number":                   {"after=now", appKey, 422, "query.after"},
		"a number that is too large":  {"after=9223372036854775808", appKey, 422, "query.after"},
		"too long a wait":             {"wait_ms=30001", appKey, 422, "query.wait_ms"},
		"a wait that is below zero":   {"wait_ms=-1", appKey, 422, "query.wait_ms"},
		"nothing":                     {"limit=0", appKey, 422, "query.limit"},
		"too much":                    {"limit=501", appKey, 422, "query.limit"},
		"an unknown parameter":        {"cursor=1", appKey, 422, "query.cursor"},
		"an operator's key":           {"", operatorKey, 403, ""},
		"a key for payouts":           {"", payoutsKey, 403, ""},
		"no key":                      {"", "", 401, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireProblem(t, b.call(t, "GET", "/v1/changes?"+c.query, c.key, ""), c.status, c.location)
		})
	}
}
