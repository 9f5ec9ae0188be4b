// Package postgrestest gives every test a migrated database of its own, in a private server that
// the tests of one package share (or in the server that DATABASE_URL names):
//
//	func TestMain(m *testing.M) { postgrestest.Main(m) }
//
//	func TestStore(t *testing.T) {
//		t.Parallel()
//		pool := postgrestest.New(t)
//		…
//	}
package postgrestest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast/holdfast/internal/localstack"
	"github.com/holdfast/holdfast/internal/postgres"
)

// poolSize keeps many parallel tests within the server's limit.
const poolSize = "pool_max_conns=10"

// shared is the server of this test process: starting one takes a second, and a database in it
// takes milliseconds.
//
//nolint:gochecknoglobals // TestMain and tests have no other way to share a value
var shared sharedServer

// Runner runs the tests: a *testing.M, or something around one.
type Runner interface{ Run() int }

// Main runs the tests of a package and stops the server that they made use of, also on Ctrl-C. It
// does not return.
func Main(m Runner) {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		os.Exit(max(shared.end(), 1))
	}()
	shared.begin()
	code := m.Run()
	os.Exit(max(code, shared.end()))
}

// New gives a pool on an empty, migrated database that is gone after the test.
func New(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Open(t.Context(), URL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// URL gives the connection string of an empty, migrated database that is gone after the test.
func URL(t testing.TB) string {
	t.Helper()
	s := started(t)
	return s.database(t, s.template)
}

// UnmigratedURL gives the connection string of a database without tables that is gone after the
// test.
func UnmigratedURL(t testing.TB) string {
	t.Helper()
	return started(t).database(t, "template0")
}

func started(t testing.TB) *server {
	t.Helper()
	s, err := shared.start(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sharedServer starts a server for the first test that wants one.
type sharedServer struct {
	mu      sync.Mutex
	running bool // between begin and end
	server  *server
	err     error
}

func (s *sharedServer) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = true
}

func (s *sharedServer) start(ctx context.Context) (*server, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		return nil, errors.New("postgrestest: this package needs func TestMain(m *testing.M) { postgrestest.Main(m) }")
	}
	if s.server == nil && s.err == nil {
		s.server, s.err = startServer(ctx)
	}
	return s.server, s.err
}

// end stops what was started and gives the exit code for that.
func (s *sharedServer) end() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false
	if s.server == nil {
		return 0
	}
	err := s.server.close()
	s.server = nil
	if err != nil {
		fmt.Fprintln(os.Stderr, "postgrestest:", err)
		return 1
	}
	return 0
}

// server makes databases as copies of one that was migrated.
type server struct {
	postgres *localstack.Postgres
	admin    *pgxpool.Pool
	template string
}

func startServer(ctx context.Context) (*server, error) {
	started, err := localstack.StartPostgres(ctx, localstack.PostgresOptions{Log: logLinef})
	if err != nil {
		return nil, err
	}
	s := &server{postgres: started, template: databaseName()}
	if err := s.makeTemplate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("make a template database: %w", err), s.close()) //nolint:contextcheck // it ends what ctx may have ended
	}
	return s, nil
}

func (s *server) makeTemplate(ctx context.Context) (err error) {
	if s.admin, err = postgres.Open(ctx, s.postgres.URL()); err != nil {
		return err
	}
	if err := s.create(ctx, s.template, "template0"); err != nil {
		return err
	}
	pool, err := postgres.Open(ctx, withDatabase(s.postgres.URL(), s.template))
	if err != nil {
		return err
	}
	defer pool.Close() // a template is copied only while nobody is connected to it
	return postgres.Migrate(ctx, pool, slog.New(slog.DiscardHandler))
}

// database makes a copy of the template for one test.
func (s *server) database(t testing.TB, template string) string {
	t.Helper()
	name := databaseName()
	if err := s.create(t.Context(), name, template); err != nil {
		t.Fatalf("make a database for the test: %v", err)
	}
	t.Cleanup(func() {
		if err := s.drop(context.WithoutCancel(t.Context()), name); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return withDatabase(s.postgres.URL(), name)
}

// create copies files: the other way, which is the default, writes each page of the copy into the log,
// and takes five times as long for as little as a migrated database.
func (s *server) create(ctx context.Context, name, template string) error {
	_, err := s.admin.Exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+template+" STRATEGY FILE_COPY")
	return err
}

// drop disconnects whoever is still there: a test that leaks a connection must not fail the next.
func (s *server) drop(ctx context.Context, name string) error {
	_, err := s.admin.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
	return err
}

func (s *server) close() error {
	var dropped error
	if s.admin != nil {
		if !s.postgres.Ours() {
			dropped = s.drop(context.Background(), s.template)
		}
		s.admin.Close()
	}
	return errors.Join(dropped, s.postgres.Close())
}

// databaseName is new every time, since several test processes may share the server of
// DATABASE_URL.
func databaseName() string { return "holdfast_test_" + strings.ToLower(rand.Text()) }

// withDatabase is the connection string with another database and a small pool.
func withDatabase(connection, name string) string {
	u, err := url.Parse(connection)
	if err != nil || u.Scheme == "" { // "host=… dbname=…": of two values the last counts
		return connection + " dbname=" + name + " " + poolSize
	}
	u.Path = name
	u.RawQuery = strings.TrimPrefix(u.RawQuery+"&"+poolSize, "&")
	return u.String()
}

func logLinef(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
