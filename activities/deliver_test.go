package activities_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/holdfast/holdfast/activities"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
	"github.com/holdfast/holdfast/workflows"
)

// delivery is the activities that send changes, with one change to send, to an app that answers as the
// test says.
type delivery struct {
	pool *pgxpool.Pool
	made *activities.Delivery
	env  *testsuite.TestActivityEnvironment
}

func setupDelivery(t *testing.T, answer http.HandlerFunc) delivery {
	t.Helper()
	var webhook *feed.Webhook
	if answer != nil {
		app := httptest.NewServer(answer)
		t.Cleanup(app.Close)
		var err error
		webhook, err = feed.NewWebhook(app.URL, []string{"whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("n", 32)))}, time.Minute)
		require.NoError(t, err)
	}
	pool := postgrestest.New(t)
	d := delivery{pool: pool, made: activities.NewDelivery(pool, webhook, quiet())}.beside()
	require.NoError(t, postgres.InTx(t.Context(), d.pool, func(tx pgx.Tx) error {
		return feed.NewWriter(nil).Append(t.Context(), tx, feed.SubscriptionChanged, id, map[string]string{"status": "active"})
	}))
	return d
}

// beside is the same worker for another call at the same time: a test environment takes one.
func (d delivery) beside() delivery {
	var suite testsuite.WorkflowTestSuite
	d.env = suite.NewTestActivityEnvironment()
	d.env.SetTestTimeout(time.Minute)
	d.env.RegisterActivityWithOptions(d.made.DeliverChange, activity.RegisterOptions{Name: workflows.ActivityDeliverChange})
	d.env.RegisterActivityWithOptions(d.made.GiveUpChange, activity.RegisterOptions{Name: workflows.ActivityGiveUpChange})
	return d
}

func (d delivery) deliver(seq int64) error {
	_, err := d.env.ExecuteActivity(workflows.ActivityDeliverChange, workflows.DeliveryInput{Seq: seq})
	return err
}

// A worker that dies after the app took a change, and before Temporal knows, sends it again: the app
// knows it by its id.
func TestAChangeThatIsSentAgainHasTheSameID(t *testing.T) {
	t.Parallel()
	ids := make(chan string, 2)
	d := setupDelivery(t, func(_ http.ResponseWriter, r *http.Request) { ids <- r.Header.Get("Webhook-Id") })
	require.NoError(t, d.deliver(1))
	require.NoError(t, d.deliver(1))
	first := <-ids
	require.NotEmpty(t, first)
	require.Equal(t, first, <-ids)
}

func TestWhatTemporalDoesWithARefusedChange(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		answer http.HandlerFunc
		seq    int64
		code   string
		retry  bool
		delay  time.Duration
	}{
		"an app that is away": {answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, seq: 1, code: "http_503", retry: true, delay: time.Minute},
		"an app that wants to be asked at once": {answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		}, seq: 1, code: "http_429", retry: true, delay: 5 * time.Second},
		"an app that knows no such page": {answer: http.NotFound, seq: 1, code: "http_404", retry: true, delay: 5 * time.Second},
		"an app that wants no more": {
			answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }, seq: 1, code: "http_410", delay: 5 * time.Second,
		},
		"a worker without the app's address": {seq: 1, code: "not_configured", retry: true, delay: 5 * time.Second},
		"a change that is not there":         {answer: http.NotFound, seq: 2, code: workflows.ErrInvalidInput},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := setupDelivery(t, c.answer).deliver(c.seq)
			var failure *temporal.ApplicationError
			require.ErrorAs(t, err, &failure)
			require.Equal(t, c.code, failure.Type())
			require.Equal(t, c.retry, !failure.NonRetryable())
			require.Equal(t, c.delay, failure.NextRetryDelay())
		})
	}
}

// An app that hangs takes no more than its share of the worker.
func TestAnAppThatHangsIsNotGivenMoreAndMore(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	var hanging atomic.Int64
	d := setupDelivery(t, func(http.ResponseWriter, *http.Request) {
		hanging.Add(1)
		<-over
	})
	ended := make(chan error, activities.MaxPosts)
	for range activities.MaxPosts {
		other := d.beside()
		go func() { ended <- other.deliver(1) }()
	}
	require.Eventually(t, func() bool { return hanging.Load() == activities.MaxPosts }, time.Minute, time.Millisecond)

	var failure *temporal.ApplicationError
	require.ErrorAs(t, d.deliver(1), &failure)
	require.Equal(t, "too_many_posts", failure.Type())
	require.False(t, failure.NonRetryable())
	require.GreaterOrEqual(t, failure.NextRetryDelay(), 5*time.Second)
	close(over)
	for range activities.MaxPosts {
		require.NoError(t, <-ended)
	}
	require.NoError(t, d.deliver(1))
}

func TestAChangeThatIsGivenUpIsShown(t *testing.T) {
	t.Parallel()
	d := setupDelivery(t, http.NotFound)
	for _, seq := range []int64{1, 1, 2} { // twice, as after a crash, and one that is not there
		_, err := d.env.ExecuteActivity(workflows.ActivityGiveUpChange, workflows.GiveUpInput{Seq: seq, LastError: "http_404"})
		require.NoError(t, err)
	}
	undelivered, err := feed.ListUndelivered(t.Context(), d.pool, time.Time{}, "", 10)
	require.NoError(t, err)
	require.Len(t, undelivered, 1)
	require.Equal(t, int64(1), undelivered[0].Seq)
	require.Equal(t, id, undelivered[0].CustomerID)
	require.Equal(t, "http_404", undelivered[0].LastError)
}
