package feed_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

// bundle is a feed on a real database, with a watcher that runs until stop is called.
type bundle struct {
	pool    *pgxpool.Pool
	writer  *feed.Writer
	watcher *feed.Watcher
	stop    func()
	looks   *atomic.Int64 // for the newest number
}

func setup(t *testing.T) bundle {
	t.Helper()
	b := bundle{writer: feed.NewWriter(nil), looks: &atomic.Int64{}}
	config, err := pgxpool.ParseConfig(postgrestest.URL(t))
	require.NoError(t, err)
	config.ConnConfig.Tracer = lookCounter{b.looks}
	b.pool, err = pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(b.pool.Close)
	b.watcher = feed.NewWatcher(b.pool, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.watcher.Run(ctx)
	}()
	b.stop = func() {
		stop()
		<-done
	}
	t.Cleanup(b.stop)
	return b
}

// lookCounter counts the queries for the newest number.
type lookCounter struct{ looks *atomic.Int64 }

func (l lookCounter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if strings.HasPrefix(data.SQL, "SELECT last") {
		l.looks.Add(1)
	}
	return ctx
}

func (lookCounter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (b bundle) write(t *testing.T, customerID string) {
	t.Helper()
	require.NoError(t, postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
		return b.writer.Append(t.Context(), tx, feed.SubscriptionChanged, customerID, map[string]string{"status": "active"})
	}))
}
