package subscription_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/subscription"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

const (
	ada   = "u_ada"
	grace = "u_grace"
)

// noon is a moment in no test's way.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// bundle is the store on a database of the test's own.
type bundle struct {
	pool  *pgxpool.Pool
	store *subscription.Store
}

func setup(t *testing.T, plans ...string) bundle {
	t.Helper()
	pool := postgrestest.New(t)
	return bundle{pool: pool, store: subscription.NewStore(pool, plans, feed.NewWriter(nil), wake)}
}

// wake is a message that says for which customer, provider and next read it is.
func wake(m subscription.Mark) outbox.Message {
	id := subscription.WorkflowID(m.CustomerID)
	return outbox.Message{Key: fmt.Sprintf("%s/%s/%d", id, m.Provider, m.Begun), Workflow: "Read", WorkflowID: id, TaskQueue: "q"}
}

func (b bundle) signUp(t *testing.T, customerIDs ...string) {
	t.Helper()
	b.exec(t, `INSERT INTO customers (id, email, content_hash) SELECT id, 'ada@example.com', '' FROM unnest($1::text[]) AS id`, customerIDs)
}

func (b bundle) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func (b bundle) count(t *testing.T, sql string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, b.pool.QueryRow(t.Context(), sql, args...).Scan(&n))
	return n
}

func (b bundle) inTx(t *testing.T, do func(ctx context.Context, tx pgx.Tx) error) {
	t.Helper()
	require.NoError(t, postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error { return do(t.Context(), tx) }))
}

func (b bundle) mark(t *testing.T, p provider.Name, cause subscription.Cause, customerIDs ...string) {
	t.Helper()
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.Mark(ctx, tx, p, cause, customerIDs...) })
}

func (b bundle) begin(t *testing.T, customerID string, p provider.Name) subscription.Read {
	t.Helper()
	r, err := b.store.Begin(t.Context(), customerID, p)
	require.NoError(t, err)
	return r
}

func (b bundle) keep(t *testing.T, r subscription.Read, found ...subscription.Subscription) (stored subscription.Stored) {
	t.Helper()
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) (err error) {
		stored, err = b.store.Store(ctx, tx, r, found)
		return err
	})
	return stored
}

// sync reads a customer's whole state at the provider, and this is what is found.
func (b bundle) sync(t *testing.T, customerID string, p provider.Name, found ...subscription.Subscription) subscription.Stored {
	t.Helper()
	return b.keep(t, b.begin(t, customerID, p), found...)
}

func (b bundle) get(t *testing.T, customerID string) subscription.Overview {
	t.Helper()
	o, _, err := b.store.Get(t.Context(), customerID)
	require.NoError(t, err)
	return o
}

// state is what the app is told of Ada.
func (b bundle) state(t *testing.T) subscription.State {
	t.Helper()
	return b.get(t, ada).State
}

func (b bundle) list(t *testing.T, customerID string) []subscription.Subscription {
	t.Helper()
	all, err := b.store.List(t.Context(), customerID)
	require.NoError(t, err)
	return all
}

func (b bundle) dirty(t *testing.T, customerID string) []provider.Name {
	t.Helper()
	dirty, err := b.store.Dirty(t.Context(), b.pool, customerID)
	require.NoError(t, err)
	return dirty
}

// told is what the app was told of Ada, in order.
func (b bundle) told(t *testing.T) (states []subscription.State) {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `SELECT data FROM changes WHERE customer_id = $1 AND type = 'subscription.changed' ORDER BY seq`, ada)
	require.NoError(t, err)
	all, err := pgx.CollectRows(rows, pgx.RowTo[json.RawMessage])
	require.NoError(t, err)
	for _, data := range all {
		var state subscription.State
		require.NoError(t, json.Unmarshal(data, &state))
		states = append(states, state)
	}
	return states
}

// messages are the keys of what is to wake somebody, in order.
func (b bundle) messages(t *testing.T) []string {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `SELECT key FROM outbox ORDER BY id`)
	require.NoError(t, err)
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return keys
}

func atStripe(id string, status subscription.Status, change ...func(*subscription.Subscription)) subscription.Subscription {
	return at(provider.Stripe, id, status, string(status), "price_pro", change)
}

func atPayPal(id string, status subscription.Status, change ...func(*subscription.Subscription)) subscription.Subscription {
	return at(provider.PayPal, id, status, strings.ToUpper(string(status)), "P-PRO", change)
}

func at(
	p provider.Name, id string, status subscription.Status, word, price string, change []func(*subscription.Subscription),
) subscription.Subscription {
	start, end := noon, noon.AddDate(0, 1, 0)
	s := subscription.Subscription{
		Provider: p, ID: id, Status: status, ProviderStatus: word, PriceIDs: []string{price}, CreatedAt: noon,
		CurrentPeriodStart: &start, CurrentPeriodEnd: &end,
	}
	for _, c := range change {
		c(&s)
	}
	return s
}

// later was made so much later than others.
func later(by time.Duration) func(*subscription.Subscription) {
	return func(s *subscription.Subscription) { s.CreatedAt = s.CreatedAt.Add(by) }
}

func priced(prices ...string) func(*subscription.Subscription) {
	return func(s *subscription.Subscription) { s.PriceIDs = append([]string{}, prices...) }
}

// until has its period end then.
func until(end time.Time) func(*subscription.Subscription) {
	return func(s *subscription.Subscription) { s.CurrentPeriodEnd = &end }
}

func paying(s *subscription.Subscription) { s.CardBrand, s.CardLast4 = "visa", "4242" }

func ids(all []subscription.Subscription) []string {
	found := make([]string, len(all))
	for i, s := range all {
		found[i] = s.ID
	}
	return found
}

func long(n int) string { return strings.Repeat("A", n) }
