package payout_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

const (
	ada   = "u_ada"
	grace = "u_grace"
)

// bundle is the store on a database of the test's own.
type bundle struct {
	pool  *pgxpool.Pool
	store *payout.Store
}

func setup(t *testing.T) bundle {
	t.Helper()
	pool := postgrestest.New(t)
	return bundle{pool: pool, store: payout.NewStore(pool, payout.DefaultPolicy(), feed.NewWriter(nil), work())}
}

// work is handed over by messages that say what they are for.
func work() payout.Work {
	return payout.Work{Pay: start, PayBatch: startBatch, LookAt: look, Wake: wake, CheckAccount: check, RefreshAccount: refresh}
}

// startBatch is a message that says which batch it is for.
func startBatch(batchID string) outbox.Message {
	return outbox.Message{Key: "batch/" + batchID, Workflow: "PayPalPayoutBatch", WorkflowID: "paypal-batch/" + batchID, TaskQueue: "q"}
}

// look is a message that says which payout is to be looked at, and why.
func look(payoutID, cause string) outbox.Message {
	return outbox.Message{Key: "look/" + payoutID + "/" + cause, Workflow: "Payout", WorkflowID: "payout/" + payoutID, TaskQueue: "q"}
}

// wake is a message that says whose payouts are to be looked at, and why.
func wake(on date.Date, cause string) outbox.Message {
	return outbox.Message{Key: "wake/" + on.String() + "/" + cause, Workflow: "PayoutWake", WorkflowID: "wake/" + cause, TaskQueue: "q"}
}

// check is a message that says whose account is to be looked at.
func check(payeeID, cause string) outbox.Message {
	return outbox.Message{Key: "check/" + payeeID + "/" + cause, Workflow: "AccountCheck", WorkflowID: "check/" + payeeID, TaskQueue: "test"}
}

// refresh is check for nobody who waits.
func refresh(payeeID, cause string) outbox.Message {
	m := check(payeeID, cause)
	m.Key = "refresh/" + payeeID + "/" + cause
	return m
}

// start is a message that says which payout it is for.
func start(payoutID string) outbox.Message {
	return outbox.Message{Key: "start/" + payoutID, Workflow: "Payout", WorkflowID: "payout/" + payoutID, TaskQueue: "q"}
}

func (b bundle) signUp(t *testing.T, customerIDs ...string) {
	t.Helper()
	b.exec(t, `INSERT INTO customers (id, email, content_hash) SELECT id, 'ada@example.com', '' FROM unnest($1::text[]) AS id`, customerIDs)
}

// profile is a payee in the United States with a connected account.
func profile(id string) payout.Profile {
	return payout.Profile{
		ID: id, Email: id + "@example.com", Country: "US", Currency: "usd", Rail: payout.RailStripe,
		StripeAccountID: "acct_" + id[len("u_"):], Schedule: payout.Weekly,
	}
}

// enroll makes customers who are paid.
func (b bundle) enroll(t *testing.T, ids ...string) {
	t.Helper()
	b.signUp(t, ids...)
	for _, id := range ids {
		_, created, err := b.store.PutPayee(t.Context(), profile(id))
		require.NoError(t, err)
		require.True(t, created)
	}
}

// account is how ada's connected account is seen when all is well.
func account(asOf time.Time) payout.Account {
	return payout.Account{
		StripeAccountID: profile(ada).StripeAccountID, PayeeID: ada, Country: "US", Currency: "usd", ScheduleInterval: "manual",
		PayoutsEnabled: true, ExternalAccountID: "ba_1", ExternalCurrency: "usd", InstantOffered: true, AsOf: asOf,
	}
}

// earn stores an earning of a payee's.
func (b bundle) earn(t *testing.T, payeeID, id string, kind payout.EarningKind, minor int64, on string) {
	t.Helper()
	at := civil(t, on).Time().Add(12 * time.Hour)
	_, created, err := b.store.PutEarning(t.Context(), payeeID, payout.Earning{ID: id, Kind: kind, Amount: cents(minor), OccurredAt: at})
	require.NoError(t, err)
	require.True(t, created)
}

func (b bundle) payee(t *testing.T, id string) payout.Payee {
	t.Helper()
	p, err := payout.GetPayee(t.Context(), b.pool, id)
	require.NoError(t, err)
	return p
}

func (b bundle) inTx(t *testing.T, do func(ctx context.Context, tx pgx.Tx) error) {
	t.Helper()
	require.NoError(t, postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error { return do(t.Context(), tx) }))
}

func (b bundle) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

// read gives a query's only value as text.
func (b bundle) read(t *testing.T, sql string, args ...any) string {
	t.Helper()
	var value any
	require.NoError(t, b.pool.QueryRow(t.Context(), sql, args...).Scan(&value))
	return fmt.Sprint(value)
}
