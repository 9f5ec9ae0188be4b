// Package feed is what the app learns of: every change of a customer's state, in order, kept for
// support. The app reads it with a cursor, and may have it sent to a webhook of its own.
package feed

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/outbox"
)

// Types of changes.
const (
	SubscriptionChanged = "subscription.changed"
	OnboardingChanged   = "onboarding.changed"
	PauseChanged        = "pause.changed"
	PayoutChanged       = "payout.changed"
)

// Types of notifications: changes that somebody acts on, or wants to be told. Each is written once.
const (
	PayoutPaid        = "payout.paid"
	PayoutReturned    = "payout.returned"
	PayeeCannotBePaid = "payee.cannot_be_paid"
	PayoutsPaused     = "payee.payouts_paused"
	PayoutsResumed    = "payee.payouts_resumed"
	RunNeedsApproval  = "payout_run.needs_approval" // of no customer
)

// Change is something that the app is told. Seq rises by one from change to change, in the order in
// which they became visible.
type Change struct {
	Seq        int64           `json:"seq"`
	At         time.Time       `json:"at"`
	Type       string          `json:"type"`
	CustomerID string          `json:"customer_id"` // empty when it is about none
	Data       json.RawMessage `json:"data"`
}

// Writer writes changes.
type Writer struct {
	deliver func(Change) outbox.Message
}

// NewWriter makes a writer. deliver is the message that has a change sent to the app's webhook; nil
// when the app has none.
func NewWriter(deliver func(Change) outbox.Message) *Writer { return &Writer{deliver: deliver} }

// Append writes a change in the caller's transaction. It should be the last thing that the
// transaction does: every other one that writes changes waits for its end.
func (w *Writer) Append(ctx context.Context, tx pgx.Tx, kind, customerID string, data any) error {
	encoded, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("change feed: encode %s of %s: %w", kind, customerID, err)
	}
	c := Change{Type: kind, CustomerID: customerID, Data: encoded}
	err = tx.QueryRow(ctx, `WITH next AS (UPDATE change_counter SET last = last + 1 RETURNING last)
		INSERT INTO changes (seq, type, customer_id, data) SELECT last, $1, $2, $3 FROM next RETURNING seq, at`,
		kind, customerID, encoded).Scan(&c.Seq, &c.At)
	if err != nil {
		return fmt.Errorf("change feed: write %s of %s: %w", kind, customerID, err)
	}
	if w.deliver == nil {
		return nil
	}
	return outbox.Add(ctx, tx, w.deliver(c))
}

// Told is what the app is told of a customer.
type Told struct {
	CustomerID string // empty when it is about none
	Data       any
}

// AppendAll is Append for any number of changes of one type, in their order.
func (w *Writer) AppendAll(ctx context.Context, tx pgx.Tx, kind string, all []Told) error {
	customers, data := make([]string, len(all)), make([]string, len(all))
	for i, told := range all {
		encoded, err := json.Marshal(told.Data)
		if err != nil {
			return fmt.Errorf("change feed: encode %s of %s: %w", kind, told.CustomerID, err)
		}
		customers[i], data[i] = told.CustomerID, string(encoded)
	}
	rows, err := tx.Query(ctx, `WITH next AS (UPDATE change_counter SET last = last + cardinality($2::text[]) RETURNING last)
		INSERT INTO changes (seq, type, customer_id, data)
		SELECT last - cardinality($2::text[]) + place, $1, customer, data::jsonb
		FROM next, unnest($2::text[], $3::text[]) WITH ORDINALITY AS told (customer, data, place) ORDER BY place
		RETURNING seq, at, type, customer_id, data`, kind, customers, data)
	if err != nil {
		return fmt.Errorf("change feed: write %d of %s: %w", len(all), kind, err)
	}
	changes, err := pgx.CollectRows(rows, pgx.RowToStructByName[Change])
	if err != nil {
		return fmt.Errorf("change feed: write %d of %s: %w", len(all), kind, err)
	}
	return w.deliverAll(ctx, tx, changes)
}

func (w *Writer) deliverAll(ctx context.Context, tx pgx.Tx, changes []Change) error {
	if w.deliver == nil {
		return nil
	}
	batch := &pgx.Batch{}
	for _, c := range changes {
		if err := outbox.Queue(batch, w.deliver(c)); err != nil {
			return err
		}
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("change feed: have %d changes delivered: %w", len(changes), err)
	}
	return nil
}
