package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/postgres"
)

// row is a message that a dispatcher has taken: it is that dispatcher's until the lease is over.
type row struct {
	ID         int64
	Key        string
	WorkflowID string
	Message    []byte
	Attempts   int // this one included
	CreatedAt  time.Time
}

// take leases due rows, the longest due first, and returns them in the order in which they were
// written. No transaction stays open: if the process dies, the rows are due again after the lease.
func take(ctx context.Context, db postgres.DB, limit int, lease time.Duration) ([]row, error) {
	rows, err := db.Query(ctx, `WITH due AS (
			SELECT id FROM outbox WHERE delivered_at IS NULL AND next_attempt_at <= clock_timestamp()
			ORDER BY next_attempt_at, id LIMIT $1 FOR UPDATE SKIP LOCKED),
		taken AS (
			UPDATE outbox o SET attempts = attempts + 1, next_attempt_at = clock_timestamp() + $2::interval
			FROM due WHERE o.id = due.id
			RETURNING o.id, o.key, o.message ->> 'workflow_id' AS workflow_id, o.message, o.attempts, o.created_at)
		SELECT id, key, workflow_id, message, attempts, created_at FROM taken ORDER BY id`, limit, lease)
	if err != nil {
		return nil, fmt.Errorf("outbox: take messages: %w", err)
	}
	taken, err := pgx.CollectRows(rows, pgx.RowToStructByName[row])
	if err != nil {
		return nil, fmt.Errorf("outbox: take messages: %w", err)
	}
	return taken, nil
}

// outcome is how a taken row fared.
type outcome struct {
	row    row
	tried  bool          // false: it is given back without a call
	err    error         // why the delivery failed; nil: it is delivered, if it was tried
	delay  time.Duration // until the next attempt of a delivery that failed
	judged bool          // the failure was looked into
}

func (o outcome) delivered() bool { return o.tried && o.err == nil }

// record writes outcomes down. A row that has meanwhile been taken by another dispatcher, since
// its lease was over, is left to that one, unless it is delivered.
func record(ctx context.Context, db postgres.DB, outcomes []outcome) error {
	batch := &pgx.Batch{}
	queueDelivered(batch, outcomes)
	queueFailed(batch, outcomes)
	queueGivenBack(batch, outcomes)
	if err := db.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("outbox: record what was delivered: %w", err)
	}
	return nil
}

func queueDelivered(batch *pgx.Batch, outcomes []outcome) {
	var ids []int64
	for _, o := range outcomes {
		if o.delivered() {
			ids = append(ids, o.row.ID)
		}
	}
	if len(ids) > 0 {
		batch.Queue(`UPDATE outbox SET delivered_at = clock_timestamp(), last_error = ''
			WHERE id = ANY($1) AND delivered_at IS NULL`, ids)
	}
}

func queueFailed(batch *pgx.Batch, outcomes []outcome) {
	var (
		ids, attempts []int64
		errors        []string
		delays        []time.Duration
	)
	for _, o := range outcomes {
		if o.err != nil {
			ids, attempts = append(ids, o.row.ID), append(attempts, int64(o.row.Attempts))
			errors, delays = append(errors, errorText(o.err)), append(delays, o.delay)
		}
	}
	if len(ids) > 0 {
		batch.Queue(`UPDATE outbox o SET last_error = f.error, next_attempt_at = clock_timestamp() + f.delay
			FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::interval[]) AS f (id, attempts, error, delay)
			WHERE o.id = f.id AND o.attempts = f.attempts AND o.delivered_at IS NULL`, ids, attempts, errors, delays)
	}
}

// queueGivenBack makes rows that were taken and not tried due again, as if they had not been taken.
func queueGivenBack(batch *pgx.Batch, outcomes []outcome) {
	var ids, attempts []int64
	for _, o := range outcomes {
		if !o.tried {
			ids, attempts = append(ids, o.row.ID), append(attempts, int64(o.row.Attempts))
		}
	}
	if len(ids) > 0 {
		batch.Queue(`UPDATE outbox o SET attempts = o.attempts - 1, next_attempt_at = clock_timestamp()
			FROM unnest($1::bigint[], $2::bigint[]) AS f (id, attempts)
			WHERE o.id = f.id AND o.attempts = f.attempts AND o.delivered_at IS NULL`, ids, attempts)
	}
}

// prune deletes up to limit rows that were delivered longer ago than retention.
func prune(ctx context.Context, db postgres.DB, retention time.Duration, limit int) (int64, error) {
	tag, err := db.Exec(ctx, `DELETE FROM outbox WHERE id IN (
			SELECT id FROM outbox WHERE delivered_at < clock_timestamp() - $1::interval
			ORDER BY delivered_at LIMIT $2 FOR UPDATE SKIP LOCKED)`, retention, limit)
	if err != nil {
		return 0, fmt.Errorf("outbox: delete messages that were delivered long ago: %w", err)
	}
	return tag.RowsAffected(), nil
}

// Backlog is what is not delivered yet.
type Backlog struct {
	Depth  int64
	Oldest time.Duration // the age of the oldest message; zero when there is none
}

// Measure counts what is not delivered yet, whatever the reason.
func Measure(ctx context.Context, db postgres.DB) (Backlog, error) {
	var (
		depth  int64
		oldest float64
	)
	err := db.QueryRow(ctx, `SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8
		FROM outbox WHERE delivered_at IS NULL`).Scan(&depth, &oldest)
	if err != nil {
		return Backlog{}, fmt.Errorf("outbox: measure the backlog: %w", err)
	}
	return Backlog{Depth: depth, Oldest: max(time.Duration(oldest*float64(time.Second)), 0)}, nil
}
