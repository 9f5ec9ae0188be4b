package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"github.com/pressly/goose/v3/lock"
)

const undefinedTable = "42P01" // the SQLSTATE of "relation does not exist"

//go:embed migrations/*.sql
var migrations embed.FS

// ErrNotMigrated means that the database lacks migrations of this build.
var ErrNotMigrated = errors.New("the database is not migrated: run starter migrate")

// Migrate brings the database to the version of this build. Any number of replicas may do so at
// once: one works, under a lock in the database, and the others wait for it.
func Migrate(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	provider, err := newProvider(pool)
	if err != nil {
		return err
	}
	results, err := provider.Up(ctx)
	for _, r := range results {
		log.InfoContext(ctx, "migration applied", "file", path.Base(r.Source.Path), "duration", r.Duration)
	}
	if err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	return nil
}

// newProvider runs our migrations through the pool. Closing the provider is not needed: it holds a
// connection only while it works.
func newProvider(pool *pgxpool.Pool) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("read the embedded migrations: %w", err)
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 600)) // seconds between tries, tries
	if err != nil {
		return nil, fmt.Errorf("prepare the migration lock: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, stdlib.OpenDBFromPool(pool), files,
		goose.WithSessionLocker(locker),
		goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fmt.Errorf("read the embedded migrations: %w", err)
	}
	return provider, nil
}

// RequireMigrated gives ErrNotMigrated, with the versions that are missing, unless the database has
// every migration of this build. It may have later ones: a release is rolled back without its
// tables. It only reads, so that it works without the right to make tables.
func RequireMigrated(ctx context.Context, pool *pgxpool.Pool) error {
	missing, err := pending(ctx, pool)
	if err != nil {
		return fmt.Errorf("read the version of the database: %w", err)
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w (missing: %s)", ErrNotMigrated, strings.Join(missing, ", "))
	}
	return nil
}

// pending are the files of the migrations that the database lacks, oldest first.
func pending(ctx context.Context, pool *pgxpool.Pool) ([]string, error) {
	provider, err := newProvider(pool)
	if err != nil {
		return nil, err
	}
	applied, err := appliedVersions(ctx, pool)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, source := range provider.ListSources() {
		if !slices.Contains(applied, source.Version) {
			missing = append(missing, path.Base(source.Path))
		}
	}
	return missing, nil
}

func appliedVersions(ctx context.Context, pool *pgxpool.Pool) ([]int64, error) {
	store, err := database.NewStore(goose.DialectPostgres, goose.DefaultTablename)
	if err != nil {
		return nil, err
	}
	rows, err := store.ListMigrations(ctx, stdlib.OpenDBFromPool(pool))
	if failure := (*pgconn.PgError)(nil); errors.As(err, &failure) && failure.Code == undefinedTable {
		return nil, nil // never migrated
	}
	if err != nil {
		return nil, err
	}
	var versions []int64
	for _, row := range rows {
		if row.IsApplied {
			versions = append(versions, row.Version)
		}
	}
	return versions, nil
}
