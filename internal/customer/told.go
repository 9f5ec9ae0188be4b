package customer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/feed"
)

// Told is what the app is told when a customer's status changes.
type Told struct {
	Status       Status `json:"status"`
	BillingReady bool   `json:"billing_ready"`
}

// ChangeSteps runs do, which changes steps of a workflow in the caller's transaction, and has the app
// told in that transaction if the customer's status is another one then. It must be the last thing
// that the transaction does. Steps of other workflows than onboarding say nothing of the status, and
// are changed without looking at it.
func (s *Store) ChangeSteps(ctx context.Context, tx pgx.Tx, workflowID string, do func() error) error {
	id, ok := strings.CutPrefix(workflowID, workflowPrefix)
	if !ok {
		return do()
	}
	// Whoever changes steps of a customer holds this row: of two who change one step each, the later
	// one sees both.
	var told Status
	err := tx.QueryRow(ctx, `SELECT told_status FROM customers WHERE id = $1 FOR NO KEY UPDATE`, id).Scan(&told)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("customer %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("customer %s: lock: %w", id, err)
	}
	if err := do(); err != nil {
		return err
	}
	return s.tell(ctx, tx, id, told)
}

// tell has the app told of the customer's status, unless it is what it was told last.
func (s *Store) tell(ctx context.Context, tx pgx.Tx, id string, told Status) error {
	c, err := Get(ctx, tx, id)
	if err != nil || c.Status() == told {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE customers SET told_status = $2 WHERE id = $1`, id, c.Status()); err != nil {
		return fmt.Errorf("customer %s: record what the app is told: %w", id, err)
	}
	return s.changes.Append(ctx, tx, feed.OnboardingChanged, id, Told{Status: c.Status(), BillingReady: c.BillingReady()})
}
