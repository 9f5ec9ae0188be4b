package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/localstack/temporaltest"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/workflows"
)

// inbox is an app that takes every post, and keeps what was posted.
type inbox struct {
	mu    sync.Mutex
	posts []posted
}

// posted is a post, once its signature is verified.
type posted struct {
	Type string `json:"type"`
	Data struct {
		CustomerID *string `json:"customer_id"`
		Sentence   string  `json:"sentence"`
	} `json:"data"`
}

func (i *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	verifier, err := standardwebhooks.NewWebhook(webhookSecret)
	body, readErr := io.ReadAll(r.Body)
	var post posted
	if err != nil || readErr != nil || verifier.Verify(body, r.Header) != nil || json.Unmarshal(body, &post) != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.posts = append(i.posts, post)
}

// notified are the notifications that were posted, by type, each with whom it is about.
func (i *inbox) notified(t *testing.T) map[string][]string {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	all := map[string][]string{}
	for _, post := range i.posts {
		if post.Type == feed.PayoutChanged || post.Type == feed.PauseChanged {
			continue
		}
		require.NotNil(t, post.Data.CustomerID, post.Type)
		require.NotEmpty(t, post.Data.Sentence, post.Type)
		all[post.Type] = append(all[post.Type], *post.Data.CustomerID)
	}
	return all
}

// nobodysWork is handed over to a queue that nobody serves.
func nobodysWork() payout.Work {
	message := func(key string) outbox.Message {
		return outbox.Message{Key: key, Workflow: "Nobodys", WorkflowID: key, TaskQueue: "nobodys", Input: []byte(`{}`)}
	}
	two := func(id, cause string) outbox.Message { return message(id + "/" + cause) }
	return payout.Work{
		Pay: message, PayBatch: message, LookAt: two, CheckAccount: two, RefreshAccount: two,
		Wake: func(_ date.Date, cause string) outbox.Message { return message("wake/" + cause) },
	}
}

// notifier is a store that has what it tells delivered.
type notifier struct {
	bundle

	store *payout.Store
}

// friday is the date of the run of these tests.
func friday() date.Date { return date.New(2026, time.March, 6) }

func (n notifier) twice(t *testing.T, do func(ctx context.Context, tx pgx.Tx) error) {
	t.Helper()
	for range 2 {
		require.NoError(t, postgres.InTx(t.Context(), n.pool, func(tx pgx.Tx) error { return do(t.Context(), tx) }))
	}
}

// run works the run out for u_paid, who is paid, and u_stuck, whose payouts Stripe has disabled.
func (n notifier) run(t *testing.T) {
	t.Helper()
	for id, enabled := range map[string]bool{"u_paid": true, "u_stuck": false} {
		n.signUp(t, id)
		accountID := "acct_" + id[len("u_"):]
		_, _, err := n.store.PutPayee(t.Context(), payout.Profile{
			ID: id, Email: id + "@example.com", Country: "US", Currency: "usd", Rail: payout.RailStripe, StripeAccountID: accountID, Schedule: payout.Weekly,
		})
		require.NoError(t, err)
		n.twice(t, func(ctx context.Context, tx pgx.Tx) error {
			return n.store.PutAccountSnapshot(ctx, tx, payout.Account{
				StripeAccountID: accountID, PayeeID: id, Country: "US", Currency: "usd", ScheduleInterval: "manual",
				PayoutsEnabled: enabled, ExternalAccountID: "ba_1", ExternalCurrency: "usd", AsOf: time.Now(),
			})
		})
		_, _, err = n.store.PutEarning(t.Context(), id, payout.Earning{
			ID: "sale", Kind: payout.Sale, Amount: money.New(10_000, "usd"), OccurredAt: friday().AddDays(-7).Time(),
		})
		require.NoError(t, err)
	}
	_, err := n.pool.Exec(t.Context(), `UPDATE payees SET created_at = '2026-02-28'`)
	require.NoError(t, err)
	now, err := postgres.Now(t.Context(), n.pool)
	require.NoError(t, err)
	require.NoError(t, n.store.RecordFunds(t.Context(), payout.RailStripe, []money.Amount{money.New(1_000_000, "usd")}, now))
	_, _, err = n.store.BeginRun(t.Context(), friday(), "test", "")
	require.NoError(t, err)
	for done := false; !done; {
		slice, err := n.store.PlanSlice(t.Context(), friday(), 10)
		require.NoError(t, err)
		done = slice.Done
	}
	for range 2 {
		needsApproval, err := n.store.ConfirmComputed(t.Context(), friday())
		require.NoError(t, err)
		require.True(t, needsApproval)
	}
	require.NoError(t, n.store.Approve(t.Context(), friday(), "olga", ""))
}

// pay brings the run's payout to the bank, which sends it back. Each step is done again, as after a
// lost answer.
func (n notifier) pay(t *testing.T) {
	t.Helper()
	var id string
	require.NoError(t, n.pool.QueryRow(t.Context(), `SELECT id FROM payouts`).Scan(&id))
	n.twice(t, func(ctx context.Context, tx pgx.Tx) error {
		_, err := n.store.Start(ctx, tx, id)
		return err
	})
	n.twice(t, func(ctx context.Context, tx pgx.Tx) error { return n.store.TransferConfirmed(ctx, tx, id, "tr_1") })
	n.twice(t, func(ctx context.Context, tx pgx.Tx) error {
		return n.store.PayoutConfirmed(ctx, tx, id, "po_1", friday())
	})
	n.twice(t, func(ctx context.Context, tx pgx.Tx) error { return n.store.Paid(ctx, tx, id) })
	n.twice(t, func(ctx context.Context, tx pgx.Tx) error {
		return n.store.Returned(ctx, tx, id, payout.Failure{Class: "rejected", Code: "no_account", Message: "There is no such account."})
	})
	n.twice(t, func(ctx context.Context, tx pgx.Tx) error {
		return n.store.ReversalConfirmed(ctx, tx, id, "trr_1", money.New(10_000, "usd"))
	})
}

func TestEachNotificationIsDeliveredOnce(t *testing.T) {
	t.Parallel()
	b := setupOn(t, temporaltest.Start(t), nil)
	var app inbox
	server := httptest.NewServer(&app)
	t.Cleanup(server.Close)
	var err error
	b.host.webhook, err = feed.NewWebhook(server.URL, []string{webhookSecret}, 0)
	require.NoError(t, err)
	b.serve(t, []string{workflows.TaskQueue})
	policy := payout.DefaultPolicy()
	policy.ApprovalAbove = map[money.Currency]int64{"usd": 1}
	n := notifier{b, payout.NewStore(b.pool, policy, feed.NewWriter(workflows.DeliverChange), nobodysWork())}

	n.run(t)
	n.pay(t)
	n.twice(t, func(ctx context.Context, tx pgx.Tx) error {
		return n.store.Pause(ctx, tx, payout.Pause{PayeeID: "u_paid", Source: payout.SourcePayee})
	})
	n.twice(t, func(ctx context.Context, tx pgx.Tx) error {
		return n.store.Resume(ctx, tx, "u_paid", payout.SourcePayee)
	})

	newest, err := feed.Newest(t.Context(), b.pool)
	require.NoError(t, err)
	changes, err := feed.List(t.Context(), b.pool, 0, int(newest))
	require.NoError(t, err)
	for _, c := range changes {
		if c.Type == feed.OnboardingChanged { // of the customers, whose store has nothing delivered
			continue
		}
		b.awaitCount(t, 1, `SELECT count(*) FROM outbox WHERE delivered_at IS NOT NULL AND key = '`+workflows.DeliveryID(c.Seq)+`'`)
		var result workflows.DeliveryResult
		require.NoError(t, b.temporal.GetWorkflow(t.Context(), workflows.DeliveryID(c.Seq), "").Get(t.Context(), &result))
		require.True(t, result.Delivered, c.Type)
	}
	require.Equal(t, map[string][]string{
		feed.PayoutPaid: {"u_paid"}, feed.PayoutReturned: {"u_paid"}, feed.PayeeCannotBePaid: {"u_stuck"},
		feed.PayoutsPaused: {"u_paid"}, feed.PayoutsResumed: {"u_paid"}, feed.RunNeedsApproval: {""},
	}, app.notified(t))
}
