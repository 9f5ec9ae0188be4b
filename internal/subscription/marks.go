package subscription

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
)

// Cause is why a customer's state is to be read again.
type Cause string

// The causes. What a read that was caused by drift changes was missed by every other way, and is
// counted as healed.
const (
	ByEvent   Cause = "event"   // a webhook
	ByRequest Cause = "request" // the app, a back end or an operator asked
	ByBinding Cause = "binding" // a provider's object was bound to the customer
	ByPoll    Cause = "poll"    // somebody at the provider is awaited
	ByDrift   Cause = "drift"   // a pass compares what is known with the provider
)

// Mark is a customer's state at a provider that is to be read again.
type Mark struct {
	CustomerID string
	Provider   provider.Name
	// Begun is how many reads have begun so far. The mark is for the next.
	Begun int64
}

// Store keeps what is known of subscriptions in Postgres.
type Store struct {
	pool  *pgxpool.Pool
	plans Plans
	feed  *feed.Writer
	wake  func(Mark) outbox.Message
}

// NewStore makes a store. wake is the message that has a marked customer read.
func NewStore(pool *pgxpool.Pool, plans Plans, changes *feed.Writer, wake func(Mark) outbox.Message) *Store {
	return &Store{pool: pool, plans: plans, feed: changes, wake: wake}
}

// Mark says that what is known of the customers' state at the provider may be old, and has it read
// again. All marks that come before the next read begins are one: they cost one message and one
// read. Customers that do not exist are passed over. The ids may be in any order and repeat
// themselves.
func (s *Store) Mark(ctx context.Context, tx pgx.Tx, p provider.Name, cause Cause, customerIDs ...string) error {
	all, err := mark(ctx, tx, p, cause, customerIDs)
	if err != nil {
		return err
	}
	var batch pgx.Batch
	for _, m := range all {
		if m.Fresh > 1 {
			continue // whoever was woken by the first has not begun to read
		}
		if err := outbox.Queue(&batch, s.wake(m.Mark)); err != nil {
			return err
		}
	}
	if batch.Len() == 0 {
		return nil
	}
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return fmt.Errorf("subscriptions: wake %d customers at %s: %w", batch.Len(), p, err)
	}
	return nil
}

// marked is a mark, and how many there are that no read has begun to answer.
type marked struct {
	Mark
	Fresh int64
}

func mark(ctx context.Context, tx pgx.Tx, p provider.Name, cause Cause, customerIDs []string) ([]marked, error) {
	ids := slices.Compact(slices.Sorted(slices.Values(customerIDs))) // in one order, or two callers could lock each other out
	rows, err := tx.Query(ctx, `INSERT INTO subscription_syncs AS s (customer_id, provider, marks, fresh, cause, marked_at)
		SELECT c.id, $1, 1, 1, $2, clock_timestamp() FROM customers c WHERE c.id = ANY($3) ORDER BY c.id
		ON CONFLICT (customer_id, provider) DO UPDATE SET marks = s.marks + 1, fresh = s.fresh + 1,
			cause = CASE WHEN s.marks = s.covered THEN excluded.cause ELSE s.cause END,
			marked_at = CASE WHEN s.marks = s.covered THEN excluded.marked_at ELSE s.marked_at END
		RETURNING customer_id, provider, begun, fresh`, p, cause, ids)
	if err != nil {
		return nil, fmt.Errorf("subscriptions: mark %d customers at %s: %w", len(ids), p, err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[marked])
	if err != nil {
		return nil, fmt.Errorf("subscriptions: mark %d customers at %s: %w", len(ids), p, err)
	}
	return all, nil
}

// MarkAll marks a customer at every provider where it may have subscriptions, and has it read.
func (s *Store) MarkAll(ctx context.Context, tx pgx.Tx, customerID string, cause Cause) error {
	providers, err := providersOf(ctx, tx, customerID)
	if err != nil {
		return err
	}
	for _, p := range providers {
		if err := s.Mark(ctx, tx, p, cause, customerID); err != nil {
			return err
		}
	}
	return nil
}

// Remark is MarkAll for the workflow that is about to read: nobody else has to be woken. A poll is
// for PayPal alone, where a person is awaited.
func (s *Store) Remark(ctx context.Context, tx pgx.Tx, customerID string, cause Cause) error {
	providers, err := providersOf(ctx, tx, customerID)
	if err != nil {
		return err
	}
	for _, p := range providers {
		if cause == ByPoll && p != provider.PayPal {
			continue
		}
		if _, err := mark(ctx, tx, p, cause, []string{customerID}); err != nil {
			return err
		}
	}
	return nil
}

// providersOf are the providers where the customer may have subscriptions.
func providersOf(ctx context.Context, db postgres.DB, customerID string) ([]provider.Name, error) {
	rows, err := db.Query(ctx, `SELECT 'stripe' FROM customers WHERE id = $1 AND stripe_bound_at IS NOT NULL
		UNION ALL SELECT 'paypal' WHERE EXISTS (SELECT FROM paypal_bindings WHERE customer_id = $1 AND status <> 'refused')`, customerID)
	if err != nil {
		return nil, fmt.Errorf("subscriptions of %s: look for its providers: %w", customerID, err)
	}
	providers, err := pgx.CollectRows(rows, pgx.RowTo[provider.Name])
	if err != nil {
		return nil, fmt.Errorf("subscriptions of %s: look for its providers: %w", customerID, err)
	}
	return providers, nil
}

// Dirty are the providers at which the customer's state is to be read.
func (s *Store) Dirty(ctx context.Context, db postgres.DB, customerID string) ([]provider.Name, error) {
	rows, err := db.Query(ctx, `SELECT provider FROM subscription_syncs WHERE customer_id = $1 AND marks > covered ORDER BY provider DESC`, customerID)
	if err != nil {
		return nil, fmt.Errorf("subscriptions of %s: see what is to be read: %w", customerID, err)
	}
	providers, err := pgx.CollectRows(rows, pgx.RowTo[provider.Name])
	if err != nil {
		return nil, fmt.Errorf("subscriptions of %s: see what is to be read: %w", customerID, err)
	}
	return providers, nil
}

// DropMarks forgets that a read was wanted, when a person skips the step that was to make it. Other
// steps have none. The skip counts as a read that began, so that the next mark's message is a new one.
func DropMarks(ctx context.Context, db postgres.DB, workflowID, stepName string) error {
	customerID, ours := strings.CutPrefix(workflowID, workflowPrefix)
	if !ours {
		return nil
	}
	_, err := db.Exec(ctx, `UPDATE subscription_syncs SET covered = marks, begun = begun + 1, fresh = 0, marked_at = NULL
		WHERE customer_id = $1 AND provider || $2 = $3`, customerID, stepSuffix, stepName)
	if err != nil {
		return fmt.Errorf("subscriptions of %s: drop the marks that %s was to answer: %w", customerID, stepName, err)
	}
	return nil
}

// Backlog is how many customers wait to be read at a provider, and since when the oldest.
type Backlog struct {
	Provider provider.Name
	Waiting  int64
	Oldest   time.Time
}

// Backlogs counts what is to be read, by provider.
func Backlogs(ctx context.Context, db postgres.DB) ([]Backlog, error) {
	rows, err := db.Query(ctx, `SELECT provider, count(*) AS waiting, min(marked_at) AS oldest
		FROM subscription_syncs WHERE marks > covered GROUP BY provider ORDER BY provider`)
	if err != nil {
		return nil, fmt.Errorf("subscriptions: count what is to be read: %w", err)
	}
	backlogs, err := pgx.CollectRows(rows, pgx.RowToStructByName[Backlog])
	if err != nil {
		return nil, fmt.Errorf("subscriptions: count what is to be read: %w", err)
	}
	return backlogs, nil
}

// ListNeglected lists, in order and after the given one, the customers whose state has been waiting
// to be read for longer than quiet, while no step of theirs waits for its time or for somebody: as
// after a workflow that was terminated.
func ListNeglected(ctx context.Context, db postgres.DB, quiet time.Duration, after string, limit int) ([]string, error) {
	rows, err := db.Query(ctx, `SELECT DISTINCT y.customer_id FROM subscription_syncs y
		WHERE y.marks > y.covered AND y.marked_at < now() - $1::interval AND y.customer_id > $2
			AND NOT EXISTS (SELECT FROM steps s WHERE s.customer_id = y.customer_id AND s.provider = y.provider
				AND s.workflow_id = $4 || y.customer_id AND s.status NOT IN ('done', 'skipped')
				AND (s.waits_for = 'person' OR greatest(s.updated_at, s.next_attempt_at) > now() - $1::interval))
		ORDER BY y.customer_id LIMIT $3`, quiet, after, limit, workflowPrefix)
	if err != nil {
		return nil, fmt.Errorf("subscriptions: look for neglected ones: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("subscriptions: look for neglected ones: %w", err)
	}
	return ids, nil
}

const workflowPrefix = "subscription-sync/"

// WorkflowID is the id of the workflow that reads a customer's state.
func WorkflowID(customerID string) string { return workflowPrefix + customerID }

// StepOf is the name of the step that reads a customer's state at a provider.
func StepOf(p provider.Name) string { return string(p) + stepSuffix }

const stepSuffix = "_subscriptions"
