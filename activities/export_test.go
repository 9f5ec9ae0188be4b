package activities

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast/holdfast/internal/provider"
)

// Disposed says whether the table knows the class, and whether it is tried again.
func Disposed(class provider.Class) (retry, known bool) {
	d, known := dispositions[class]
	return d.retry, known
}

// MaxPosts is how many posts to the app's webhook a process makes at a time.
const MaxPosts = maxPosts

// WriteMoney makes one attempt at a write that moves money, as the activities of payouts do.
func WriteMoney(
	ctx context.Context, pool *pgxpool.Pool, operation provider.Operation, params any,
	send func(context.Context, provider.Request) (string, error),
	find func(context.Context, provider.Request) (string, bool, error),
) error {
	w := &writer{pool: pool, requests: provider.NewRequests()}
	return w.do(ctx, write{
		operation: operation, params: params, money: true, send: send, find: find,
		record: func(context.Context, pgx.Tx, provider.Request, string) error { return nil },
	})
}
