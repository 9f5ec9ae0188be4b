package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/internal/webhook"
	"github.com/holdfast/holdfast/workflows"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

// office is an inbox on a real database.
type office struct {
	*webhook.Inbox

	pool          *pgxpool.Pool
	subscriptions *subscription.Store
}

func setupInbox(t *testing.T) office {
	t.Helper()
	pool := postgrestest.New(t)
	subscriptions := subscription.NewStore(pool, nil, feed.NewWriter(nil), workflows.SyncSubscriptions)
	payouts := payout.NewStore(pool, payout.DefaultPolicy(), feed.NewWriter(nil), workflows.PayoutWork())
	return office{webhook.NewInbox(pool, subscriptions, webhook.Work{
		HearOfBatch: payouts.HintBatch, LookAtPayout: workflows.LookAtPayout, LookAtBatch: workflows.LookAtPayPalBatch, CheckAccount: workflows.CheckAccount,
	}, func() {}), pool, subscriptions}
}

func (o office) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := o.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func (o office) count(t *testing.T, sql string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, o.pool.QueryRow(t.Context(), sql, args...).Scan(&n))
	return n
}

// customer makes a customer with that Stripe customer; none, if it is empty.
func (o office) customer(t *testing.T, id, stripeID string) {
	t.Helper()
	o.exec(t, `INSERT INTO customers (id, email, content_hash, stripe_customer_id, stripe_bound_at)
		VALUES ($1, 'x@example.com', '', nullif($2, ''), CASE WHEN $2 <> '' THEN now() END)`, id, stripeID)
}

func (o office) put(t *testing.T, e webhook.Event) webhook.Effect {
	t.Helper()
	effect, err := o.Put(t.Context(), e)
	require.NoError(t, err)
	return effect
}

// stripeHeader signs a body as Stripe does, with each of the secrets.
func stripeHeader(body []byte, at time.Time, secrets ...string) http.Header {
	seconds := strconv.FormatInt(at.Unix(), 10)
	value := "t=" + seconds
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(seconds + "."))
		mac.Write(body)
		value += ",v1=" + hex.EncodeToString(mac.Sum(nil))
	}
	return http.Header{"Stripe-Signature": {value}}
}
