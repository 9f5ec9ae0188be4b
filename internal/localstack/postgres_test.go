package localstack_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/localstack"
)

func startPostgres(t *testing.T, options localstack.PostgresOptions) *localstack.Postgres {
	t.Helper()
	options.Log = t.Logf
	server, err := localstack.StartPostgres(context.WithoutCancel(t.Context()), options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	return server
}

func exec(t *testing.T, url, sql string) {
	t.Helper()
	conn := connect(t, url)
	_, err := conn.Exec(t.Context(), sql)
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
}

func query[T any](t *testing.T, url, sql string) T {
	t.Helper()
	conn := connect(t, url)
	var value T
	require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&value))
	require.NoError(t, conn.Close(t.Context()))
	return value
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	return conn
}

func TestPostgresKeepsItsDataAndAddressOverAStopAndACrash(t *testing.T) {
	t.Parallel()
	server := startPostgres(t, localstack.PostgresOptions{Private: true, Durable: true})
	address := server.URL()
	exec(t, address, "CREATE TABLE kept (n int)")
	open := connect(t, address)                                              // a crash with somebody connected leaves an orphan behind
	t.Cleanup(func() { _ = open.Close(context.WithoutCancel(t.Context())) }) // it is broken by then

	require.NoError(t, server.Kill())
	_, err := pgx.Connect(t.Context(), address)
	require.Error(t, err)
	require.NoError(t, server.Start(context.WithoutCancel(t.Context())))
	exec(t, address, "INSERT INTO kept VALUES (1)")

	require.NoError(t, server.Stop())
	require.NoError(t, server.Start(context.WithoutCancel(t.Context())))
	require.Equal(t, address, server.URL())
	require.Equal(t, 1, query[int](t, address, "SELECT n FROM kept"))
}

func TestPostgresFlushesWhenDurableAlone(t *testing.T) {
	t.Parallel()
	durable := startPostgres(t, localstack.PostgresOptions{Private: true, Durable: true})
	quick := startPostgres(t, localstack.PostgresOptions{Private: true})

	require.Equal(t, "on", query[string](t, durable.URL(), "SHOW fsync"))
	require.Equal(t, "off", query[string](t, quick.URL(), "SHOW fsync"))
}

func TestPostgresUsesItsFolderAgain(t *testing.T) {
	t.Parallel()
	// Not t.TempDir: the parent of that is closed to the user that Postgres runs as for root.
	dir, err := os.MkdirTemp("/tmp", "holdfast-postgres-again-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	first := startPostgres(t, localstack.PostgresOptions{Private: true, Dir: dir})
	exec(t, first.URL(), "CREATE TABLE kept (n int)")
	require.NoError(t, first.Close())

	second := startPostgres(t, localstack.PostgresOptions{Private: true, Dir: dir})

	require.Equal(t, 1, query[int](t, second.URL(), "SELECT count(*) FROM pg_tables WHERE tablename = 'kept'"))
	require.FileExists(t, filepath.Join(dir, "postgres.log"))
}

func TestPostgresStartsForAFolderThatItsUserCannotReach(t *testing.T) {
	t.Parallel()
	// The parent of t.TempDir is closed to everybody else. For root, Postgres runs as somebody else.
	server := startPostgres(t, localstack.PostgresOptions{Private: true, Dir: t.TempDir()})

	data := query[string](t, server.URL(), "SHOW data_directory")
	require.NoError(t, server.Close())

	if os.Geteuid() == 0 {
		require.NoDirExists(t, filepath.Dir(data), "the replacement was temporary")
	}
}

func TestPostgresWantsAPassword(t *testing.T) {
	t.Parallel()
	server := startPostgres(t, localstack.PostgresOptions{Private: true})
	address, err := url.Parse(server.URL())
	require.NoError(t, err)
	address.User = url.UserPassword(address.User.Username(), "guess")

	_, err = pgx.Connect(t.Context(), address.String())

	require.ErrorContains(t, err, "password authentication failed")
}

func TestPostgresOfTheEnvironmentIsUsedAndLeftAlone(t *testing.T) {
	owned := startPostgres(t, localstack.PostgresOptions{Private: true})
	t.Setenv(localstack.DatabaseVariable, owned.URL())

	named := startPostgres(t, localstack.PostgresOptions{})

	require.Equal(t, owned.URL(), named.URL())
	require.ErrorIs(t, named.Stop(), localstack.ErrNotOurs)
	require.ErrorIs(t, named.Kill(), localstack.ErrNotOurs)
	require.NoError(t, named.Close())
	require.Equal(t, 1, query[int](t, owned.URL(), "SELECT 1"))
}

func TestPostgresOfTheEnvironmentThatIsDown(t *testing.T) {
	t.Setenv(localstack.DatabaseVariable, "postgres://ada:hunter2@127.0.0.1:1/billing")

	_, err := localstack.StartPostgres(t.Context(), localstack.PostgresOptions{})

	require.ErrorContains(t, err, "unset it to have one started")
	require.NotContains(t, err.Error(), "hunter2")
}
