package feed

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/postgres"
)

const columns = `seq, at, type, customer_id, data`

// List lists the changes after the one with that number, in order. Nobody who goes on from the last
// one that they got misses any: a number is visible only when all below it are.
func List(ctx context.Context, db postgres.DB, after int64, limit int) ([]Change, error) {
	rows, err := db.Query(ctx, `SELECT `+columns+` FROM changes WHERE seq > $1 ORDER BY seq LIMIT $2`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("change feed: list what comes after %d: %w", after, err)
	}
	changes, err := pgx.CollectRows(rows, pgx.RowToStructByName[Change])
	if err != nil {
		return nil, fmt.Errorf("change feed: list what comes after %d: %w", after, err)
	}
	return changes, nil
}

// OfCustomer lists the changes of one customer after the one with that number, in order: what the app
// was told of them, and when.
func OfCustomer(ctx context.Context, db postgres.DB, customerID string, after int64, limit int) ([]Change, error) {
	rows, err := db.Query(ctx, `SELECT `+columns+` FROM changes WHERE customer_id = $1 AND seq > $2 ORDER BY seq LIMIT $3`,
		customerID, after, limit)
	if err != nil {
		return nil, fmt.Errorf("change feed: list what was told of %s: %w", customerID, err)
	}
	changes, err := pgx.CollectRows(rows, pgx.RowToStructByName[Change])
	if err != nil {
		return nil, fmt.Errorf("change feed: list what was told of %s: %w", customerID, err)
	}
	return changes, nil
}

// Newest is the number of the newest change; zero when there is none.
func Newest(ctx context.Context, db postgres.DB) (seq int64, err error) {
	if err := db.QueryRow(ctx, `SELECT last FROM change_counter`).Scan(&seq); err != nil {
		return 0, fmt.Errorf("change feed: read the newest number: %w", err)
	}
	return seq, nil
}
