// Package postgres is Holdfast's database: the pool, transactions, and the migrations that every
// table comes from.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Defaults that the connection string may override, by pool_max_conns and connect_timeout.
const (
	maxConns       = 25
	connectTimeout = 5 * time.Second
)

// Open connects to the database that a connection string names, and checks that it answers. Its
// sessions are in UTC and scan times in UTC, since every business date is. Errors name
// DATABASE_URL, where the string comes from, and never its password.
func Open(ctx context.Context, url string) (*pgxpool.Pool, error) {
	config, err := configure(url)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open a pool for DATABASE_URL: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("reach the database that DATABASE_URL names (is it running, and is the address right?): %w", err)
	}
	return pool, nil
}

func configure(url string) (*pgxpool.Config, error) {
	if url == "" {
		return nil, errors.New("DATABASE_URL is not set: it names the database, as in postgres://user:password@host:5432/name")
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("DATABASE_URL cannot be read: it must be like postgres://user:password@host:5432/name?sslmode=require, " +
			"with special characters in the password percent-encoded") // the cause quotes the string
	}
	if !strings.Contains(url, "pool_max_conns") {
		config.MaxConns = maxConns
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	config.MaxConnLifetimeJitter = config.MaxConnLifetime / 10 // so that they are not all made anew at once
	parameters := config.ConnConfig.RuntimeParams
	if parameters["application_name"] == "" {
		parameters["application_name"] = "holdfast-" + filepath.Base(os.Args[0])
	}
	parameters["timezone"] = "UTC"
	config.AfterConnect = scanUTC
	return config, nil
}

func scanUTC(_ context.Context, conn *pgx.Conn) error {
	conn.TypeMap().RegisterType(&pgtype.Type{
		Name:  "timestamptz",
		OID:   pgtype.TimestamptzOID,
		Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC},
	})
	return nil
}

// InTx runs do in one transaction: committed when do returns nil, rolled back when it returns an
// error, which InTx returns as it is, or panics. The transaction is over when InTx returns.
func InTx(ctx context.Context, pool *pgxpool.Pool, do func(tx pgx.Tx) error) error {
	var failed error
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		failed = do(tx)
		return failed
	})
	if err != nil && failed == nil {
		return fmt.Errorf("begin or commit a transaction: %w", err)
	}
	return err
}
