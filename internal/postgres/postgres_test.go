package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

func unmigrated(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Open(t.Context(), postgrestest.UnmigratedURL(t))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func TestMigrateByManyReplicasAtOnce(t *testing.T) {
	t.Parallel()
	url := postgrestest.UnmigratedURL(t)
	var log bytes.Buffer
	handler := slog.NewTextHandler(&log, nil) // locks its writer

	var replicas errgroup.Group
	for range 4 {
		replicas.Go(func() error {
			pool, err := postgres.Open(t.Context(), url)
			if err != nil {
				return err
			}
			defer pool.Close()
			return postgres.Migrate(t.Context(), pool, slog.New(handler))
		})
	}
	require.NoError(t, replicas.Wait())

	require.Equal(t, 1, strings.Count(log.String(), "00001_customers.sql"), "applied once: %s", log.String())
}

func TestRequireMigrated(t *testing.T) {
	t.Parallel()
	pool := unmigrated(t)

	err := postgres.RequireMigrated(t.Context(), pool)
	require.ErrorIs(t, err, postgres.ErrNotMigrated)
	require.ErrorContains(t, err, "run starter migrate")
	require.ErrorContains(t, err, "00001_customers.sql")

	require.NoError(t, postgres.Migrate(t.Context(), pool, slog.New(slog.DiscardHandler)))
	require.NoError(t, postgres.RequireMigrated(t.Context(), pool))
}

func TestRequireMigratedOnlyReads(t *testing.T) {
	t.Parallel()
	pool := unmigrated(t)

	require.ErrorIs(t, postgres.RequireMigrated(t.Context(), pool), postgres.ErrNotMigrated)

	require.Empty(t, tables(t, pool))
}

func TestMigrationsCanBeUndoneAndDoneAgain(t *testing.T) {
	t.Parallel()
	pool := postgrestest.New(t)
	before := tables(t, pool)
	require.Contains(t, before, "customers")

	require.NoError(t, postgres.MigrateDown(t.Context(), pool))
	require.Equal(t, []string{"goose_db_version"}, tables(t, pool))
	require.ErrorIs(t, postgres.RequireMigrated(t.Context(), pool), postgres.ErrNotMigrated)

	require.NoError(t, postgres.Migrate(t.Context(), pool, slog.New(slog.DiscardHandler)))
	require.Equal(t, before, tables(t, pool))
}

func tables(t *testing.T, pool *pgxpool.Pool) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
	require.NoError(t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return names
}

func TestInTx(t *testing.T) {
	t.Parallel()
	pool := postgrestest.New(t)
	_, err := pool.Exec(t.Context(), "CREATE TABLE kept (name text PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)")
	require.NoError(t, err)
	insert := func(tx pgx.Tx, name string) error {
		_, err := tx.Exec(t.Context(), "INSERT INTO kept VALUES ($1)", name)
		return err
	}

	t.Run("commits", func(t *testing.T) {
		require.NoError(t, postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error { return insert(tx, "a") }))
		require.True(t, kept(t, pool, "a"))
	})
	t.Run("rolls back on an error and returns it", func(t *testing.T) {
		refused := errors.New("refused")
		err := postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			return errors.Join(insert(tx, "b"), refused)
		})
		require.ErrorIs(t, err, refused)
		require.False(t, kept(t, pool, "b"))
	})
	t.Run("rolls back on a panic", func(t *testing.T) {
		require.PanicsWithValue(t, "boom", func() {
			_ = postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
				require.NoError(t, insert(tx, "c"))
				panic("boom")
			})
		})
		require.False(t, kept(t, pool, "c"))
		require.Zero(t, pool.Stat().AcquiredConns(), "the connection is back in the pool")
	})
	t.Run("says when the commit failed", func(t *testing.T) {
		err := postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			return errors.Join(insert(tx, "d"), insert(tx, "d")) // the deferred constraint fails at commit
		})
		require.ErrorContains(t, err, "begin or commit a transaction")
		require.False(t, kept(t, pool, "d"))
	})
}

func kept(t *testing.T, pool *pgxpool.Pool, name string) bool {
	t.Helper()
	var found bool
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM kept WHERE name = $1)", name).Scan(&found))
	return found
}

func TestOpenWorksInUTCAndTellsWhoItIs(t *testing.T) {
	t.Parallel()
	pool := postgrestest.New(t)

	var zone, name string
	var at time.Time
	err := pool.QueryRow(t.Context(), "SELECT current_setting('timezone'), current_setting('application_name'), now()").
		Scan(&zone, &name, &at)

	require.NoError(t, err)
	require.Equal(t, "UTC", zone)
	require.True(t, strings.HasPrefix(name, "holdfast-"), name)
	require.Equal(t, time.UTC, at.Location())
}

func TestOpenExplainsItselfWithoutThePassword(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{
		"nothing listens":   "postgres://ada:hunter2@127.0.0.1:1/billing",
		"bad port":          "postgres://ada:hunter2@127.0.0.1:port/billing",
		"unescaped":         "postgres://ada:hunter2%zz@127.0.0.1/billing",
		"slash in password": "postgres://ada:hunter2/x@127.0.0.1/billing",
		"unknown ssl mode":  "postgres://ada:hunter2@127.0.0.1:1/billing?sslmode=perhaps",
		"keyword form":      "host=127.0.0.1 port=1 user=ada password=hunter2 connect_timeout=soon",
		"not one at all":    "hunter2",
		"not set":           "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()

			_, err := postgres.Open(ctx, url)

			require.ErrorContains(t, err, "DATABASE_URL")
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}
