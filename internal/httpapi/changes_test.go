package httpapi_test

import (
	"context"
	"encoding/json"
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
	answered := b.poll(t, 1)
	b.tell(t, "u_2")

	changes, next := listed(t, <-answered)
	require.Equal(t, []string{"2 u_2"}, changes)
	require.Equal(t, 2, next)
}

// poll asks for changes, and returns once that waits.
func (b bundle) poll(t *testing.T, after int) <-chan reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s/v1/changes?after=%d&wait_ms=30000", b.url, after), nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+appKey)
	answered := make(chan reply, 1)
	go func() {
		defer close(answered)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Error(err)
			return
		}
		defer response.Body.Close()
		r := reply{status: response.StatusCode, header: response.Header}
		if err := json.NewDecoder(response.Body).Decode(&r.body); err != nil {
			t.Error(err)
		}
		answered <- r
	}()
	b.awaitPoll(t)
	return answered
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
	answered := b.poll(t, 0)

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

func TestAChangeThatWasNotDeliveredWaitsForAPerson(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 10 {
		b.tell(t, "u_1")
	}
	b.exec(t, `INSERT INTO undelivered_changes (seq, given_up_at, last_error) VALUES (9, '2026-01-01', 'http_410'), (10, '2026-01-01', 'http_410')`)

	var waiting []string
	for cursor := ""; ; {
		page := b.call(t, "GET", "/v1/ops/attention?limit=1&cursor="+cursor, operatorKey, "")
		for _, i := range page.body["items"].([]any) {
			item := i.(map[string]any)
			require.Equal(t, "undelivered_change", item["kind"])
			require.Equal(t, "http_410", item["last_error"])
			require.Equal(t, "u_1", item["customer_id"])
			resolve := item["resolve"].([]any)[0].(map[string]any)["path"]
			waiting = append(waiting, fmt.Sprintf("%.0f by %s", item["change_seq"], resolve))
		}
		if cursor, _ = page.body["next_cursor"].(string); cursor == "" {
			break
		}
	}
	require.Equal(t, []string{"10 by /v1/ops/changes/10/redeliver", "9 by /v1/ops/changes/9/redeliver"}, waiting)

	r := b.call(t, "POST", "/v1/ops/changes/9/redeliver", operatorKey, `{"note":"mended"}`)
	require.Equal(t, http.StatusNoContent, r.status, r.text)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM operator_actions
		WHERE actor = 'olga' AND action = 'redeliver_change' AND subject = 'change/9' AND note = 'mended'`))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox WHERE message ->> 'workflow_id' = 'change-delivery/9' AND message ->> 'signal' = 'redeliver'`))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM undelivered_changes`))
	require.Equal(t, http.StatusNoContent, b.call(t, "POST", "/v1/ops/changes/9/redeliver", operatorKey, "").status)
	require.Equal(t, 2, b.count(t, `SELECT count(*) FROM outbox WHERE message ->> 'workflow_id' = 'change-delivery/9'`), "each request is a delivery")
	require.Equal(t, 2, b.notified.n)
}

func TestRedeliveriesThatDoNotFit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tell(t, "u_1")
	path := func(seq string) string { return "/v1/ops/changes/" + seq + "/redeliver" }
	requireProblem(t, b.call(t, "POST", path("2"), operatorKey, ""), http.StatusNotFound, "path.seq")
	requireProblem(t, b.call(t, "POST", path("0"), operatorKey, ""), 422, "path.seq")
	requireProblem(t, b.call(t, "POST", path("one"), operatorKey, ""), 422, "path.seq")
	requireProblem(t, b.call(t, "POST", path("1"), operatorKey, `{"note":"\u0000"}`), 422, "body.note")
	requireProblem(t, b.call(t, "POST", path("1"), appKey, ""), http.StatusForbidden, "")
	require.Zero(t, b.count(t, `SELECT count(*) FROM operator_actions`))
}
