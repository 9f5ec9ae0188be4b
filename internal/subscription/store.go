package subscription

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
)

// Read is a read of a customer's whole state at a provider that has begun.
type Read struct {
	CustomerID string
	Provider   provider.Name
	Number     int64     // in the order in which reads of the customer began
	After      int64     // the read that was the newest stored when this one began
	Covers     int64     // the marks that it answers
	BeganAt    time.Time // what it finds is no older
}

// Begin numbers a read that is about to be made.
func (s *Store) Begin(ctx context.Context, customerID string, p provider.Name) (Read, error) {
	r := Read{CustomerID: customerID, Provider: p}
	err := s.pool.QueryRow(ctx, `INSERT INTO subscription_syncs AS s (customer_id, provider, begun) VALUES ($1, $2, 1)
		ON CONFLICT (customer_id, provider) DO UPDATE SET begun = s.begun + 1, fresh = 0
		RETURNING begun, stored, marks, clock_timestamp()`, customerID, p).Scan(&r.Number, &r.After, &r.Covers, &r.BeganAt)
	if err != nil {
		return r, fmt.Errorf("subscriptions of %s at %s: begin to read: %w", customerID, p, err)
	}
	return r, nil
}

// Stored is what became of a read.
type Stored struct {
	// Superseded says that another read was stored since this one began, so this one was dropped.
	Superseded bool
	// Healed says that the read was made by a pass that compares, and found a difference.
	Healed bool
	// Dirty says that the customer was marked again meanwhile, at some provider.
	Dirty bool
}

// Store makes what a read found the truth: every subscription that the customer has at the
// provider. It does so in the caller's transaction, whose last act it must be, and writes a change
// if the app is to be told something new.
func (s *Store) Store(ctx context.Context, tx pgx.Tx, r Read, found []Subscription) (Stored, error) {
	var result Stored
	// Whoever changes what the app is told of a customer holds this row.
	told, err := lockState(ctx, tx, r.CustomerID)
	if err != nil {
		return result, err
	}
	cause, current, err := cover(ctx, tx, r)
	if err != nil {
		return result, err
	}
	if current {
		differs, err := s.replace(ctx, tx, r, found)
		if err != nil {
			return result, err
		}
		if result.Healed = differs && cause == ByDrift; result.Healed {
			if err := recordHealed(ctx, tx, r); err != nil {
				return result, err
			}
		}
	}
	result.Superseded = !current
	if result.Dirty, err = isDirty(ctx, tx, r.CustomerID); err != nil || !current {
		return result, err
	}
	return result, s.tell(ctx, tx, r.CustomerID, told)
}

// cover records that the read answers its marks, unless another was stored since it began: of two
// that overlap, nobody knows which saw the provider later, so that storing both could go back. Marks
// that a person dropped meanwhile stay answered.
func cover(ctx context.Context, tx pgx.Tx, r Read) (cause Cause, current bool, err error) {
	err = tx.QueryRow(ctx, `UPDATE subscription_syncs s SET stored = $3, covered = greatest(s.covered, $4), synced_at = $5,
			marked_at = CASE WHEN s.marks > greatest(s.covered, $4) THEN s.marked_at END,
			cause = CASE WHEN s.marks > greatest(s.covered, $4) THEN 'event' ELSE s.cause END
		FROM (SELECT cause FROM subscription_syncs WHERE customer_id = $1 AND provider = $2) before
		WHERE customer_id = $1 AND provider = $2 AND stored = $6 RETURNING before.cause`,
		r.CustomerID, r.Provider, r.Number, r.Covers, r.BeganAt, r.After).Scan(&cause)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", false, nil
	case err != nil:
		return "", false, fmt.Errorf("subscriptions of %s at %s: record the read: %w", r.CustomerID, r.Provider, err)
	}
	return cause, true, nil
}

// replace puts what was found in the place of what was known, and tells whether it differs.
func (s *Store) replace(ctx context.Context, tx pgx.Tx, r Read, found []Subscription) (differs bool, err error) {
	known, err := list(ctx, tx, r.CustomerID)
	if err != nil {
		return false, err
	}
	before := map[string]Subscription{}
	for _, k := range known {
		if k.Provider == r.Provider {
			before[k.ID] = k
		}
	}
	var batch pgx.Batch
	ids := make([]string, len(found))
	for i, f := range found {
		ids[i] = f.ID
		old, there := before[f.ID]
		if there {
			f = keepPaid(f, &old)
		} else {
			f = keepPaid(f, nil)
		}
		if there && same(old, f) {
			continue
		}
		differs = true
		queueUpsert(&batch, r.CustomerID, f)
	}
	if len(before) > 0 {
		batch.Queue(`DELETE FROM subscriptions WHERE customer_id = $1 AND provider = $2 AND id <> ALL($3)`, r.CustomerID, r.Provider, ids)
	}
	for _, id := range ids {
		delete(before, id)
	}
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return false, fmt.Errorf("subscriptions of %s at %s: store what was read: %w", r.CustomerID, r.Provider, err)
	}
	return differs || len(before) > 0, nil
}

// same compares as JSON, in which equal moments are equal.
func same[T Subscription | State](a, b T) bool {
	first, err := json.Marshal(a)
	if err != nil {
		return false
	}
	second, err := json.Marshal(b)
	return err == nil && string(first) == string(second)
}

func queueUpsert(batch *pgx.Batch, customerID string, s Subscription) {
	batch.Queue(`INSERT INTO subscriptions (provider, id, customer_id, status, provider_status, price_ids, created_at,
			current_period_start, current_period_end, paid_until, cancel_at_period_end, card_brand, card_last4)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		ON CONFLICT (provider, id) DO UPDATE SET customer_id = excluded.customer_id, status = excluded.status,
			provider_status = excluded.provider_status, price_ids = excluded.price_ids, created_at = excluded.created_at,
			current_period_start = excluded.current_period_start, current_period_end = excluded.current_period_end,
			paid_until = excluded.paid_until, cancel_at_period_end = excluded.cancel_at_period_end,
			card_brand = excluded.card_brand, card_last4 = excluded.card_last4`,
		s.Provider, s.ID, customerID, s.Status, s.ProviderStatus, s.PriceIDs, s.CreatedAt,
		s.CurrentPeriodStart, s.CurrentPeriodEnd, s.PaidUntil, s.CancelAtPeriodEnd, s.CardBrand, s.CardLast4)
}

// tell computes what the app is to be told, and writes a change if that is new.
func (s *Store) tell(ctx context.Context, tx pgx.Tx, customerID string, told json.RawMessage) error {
	all, err := list(ctx, tx, customerID)
	if err != nil {
		return err
	}
	state := s.plans.Choose(all)
	encoded, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("subscriptions of %s: encode the state: %w", customerID, err)
	}
	_, err = tx.Exec(ctx, `UPDATE subscription_states SET state = $2,
			doubled_at = CASE WHEN $3 THEN coalesce(doubled_at, now()) END WHERE customer_id = $1`,
		customerID, encoded, s.plans.Doubled(all))
	if err != nil {
		return fmt.Errorf("subscriptions of %s: store the state: %w", customerID, err)
	}
	before, err := decodeState(customerID, told)
	if err != nil || same(before, state) {
		return err
	}
	return s.feed.Append(ctx, tx, feed.SubscriptionChanged, customerID, state)
}

func decodeState(customerID string, stored json.RawMessage) (State, error) {
	var state State
	if err := json.Unmarshal(stored, &state); err != nil {
		return state, fmt.Errorf("subscriptions of %s: read the stored state: %w", customerID, err)
	}
	return state, nil
}

// lockState locks the row of what the app was told, and gives what that was.
func lockState(ctx context.Context, tx pgx.Tx, customerID string) (json.RawMessage, error) {
	none, err := json.Marshal(State{Status: None})
	if err != nil {
		return nil, err
	}
	var told json.RawMessage
	err = tx.QueryRow(ctx, `INSERT INTO subscription_states AS s (customer_id, state) VALUES ($1, $2)
		ON CONFLICT (customer_id) DO UPDATE SET state = s.state RETURNING state`, customerID, none).Scan(&told)
	if err != nil {
		return nil, fmt.Errorf("subscriptions of %s: lock the state: %w", customerID, err)
	}
	return told, nil
}

func isDirty(ctx context.Context, db postgres.DB, customerID string) (dirty bool, err error) {
	err = db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM subscription_syncs WHERE customer_id = $1 AND marks > covered)`, customerID).Scan(&dirty)
	if err != nil {
		return false, fmt.Errorf("subscriptions of %s: see whether it was marked again: %w", customerID, err)
	}
	return dirty, nil
}

// Overview is what is known of a customer's subscription, and how well.
type Overview struct {
	State

	// SyncedAt is when the oldest of the reads that this rests on began; nil: nothing was read yet.
	SyncedAt *time.Time
	// Stale says that something is known to have happened since, or ought to have.
	Stale bool
	// Overdue says that a period has ended since, and nobody has told us what followed.
	Overdue bool
	// PayPalIDs are the PayPal subscriptions that are the customer's.
	PayPalIDs []string
}

// Unknown is what is known of a new customer.
func Unknown() Overview { return Overview{State: State{Status: None}} }

// Get reads what is known of a customer's subscription, and the steps that read it.
func (s *Store) Get(ctx context.Context, customerID string) (Overview, []step.Step, error) {
	var (
		batch  pgx.Batch
		reads  []step.Step
		stored json.RawMessage
		o      = Unknown()
	)
	batch.Queue(`SELECT
			coalesce((SELECT state FROM subscription_states WHERE customer_id = $1), 'null'),
			(SELECT CASE WHEN bool_and(synced_at IS NOT NULL) THEN min(synced_at) END FROM subscription_syncs WHERE customer_id = $1),
			EXISTS (SELECT FROM subscription_syncs WHERE customer_id = $1 AND marks > covered),
			ARRAY (SELECT subscription_id FROM paypal_bindings WHERE customer_id = $1 AND status = 'bound' ORDER BY decided_at, subscription_id)`,
		customerID).QueryRow(func(row pgx.Row) error { return row.Scan(&stored, &o.SyncedAt, &o.Stale, &o.PayPalIDs) })
	step.QueueByWorkflow(&batch, WorkflowID(customerID), &reads)
	if err := s.pool.SendBatch(ctx, &batch).Close(); err != nil {
		return o, nil, fmt.Errorf("subscriptions of %s: read: %w", customerID, err)
	}
	if string(stored) != "null" {
		var err error
		if o.State, err = decodeState(customerID, stored); err != nil {
			return o, nil, err
		}
	}
	o.Overdue = o.overdue(time.Now())
	o.Stale = o.Stale || o.Overdue
	return o, reads, nil
}

func (o Overview) overdue(now time.Time) bool {
	const grace = time.Hour // providers renew a while after the period's end
	return (o.Status.live() || o.CancelAtPeriodEnd && o.Status != Canceled) && o.CurrentPeriodEnd != nil && o.SyncedAt != nil &&
		o.SyncedAt.Before(*o.CurrentPeriodEnd) && now.After(o.CurrentPeriodEnd.Add(grace))
}

// AwaitsApproval is since when the customer has had a PayPal subscription to approve: the newest that
// they did not; nil when there is none.
func (s *Store) AwaitsApproval(ctx context.Context, customerID string) (since *time.Time, err error) {
	err = s.pool.QueryRow(ctx, `SELECT max(created_at) FROM subscriptions
		WHERE customer_id = $1 AND provider_status IN ('APPROVAL_PENDING', 'APPROVED')`, customerID).Scan(&since)
	if err != nil {
		return nil, fmt.Errorf("subscriptions of %s: see whether one awaits approval: %w", customerID, err)
	}
	return since, nil
}

// Doubled is a customer who is charged at two providers at once.
type Doubled struct {
	CustomerID string
	Since      time.Time
}

// ListDoubled lists who is charged twice, longest first and then by id: those since the moment or
// later, and at that very moment those behind the id.
func ListDoubled(ctx context.Context, db postgres.DB, since time.Time, id string, limit int) ([]Doubled, error) {
	rows, err := db.Query(ctx, `SELECT customer_id, doubled_at AS since FROM subscription_states
		WHERE doubled_at IS NOT NULL AND (doubled_at, customer_id COLLATE "C") > ($1, $2)
		ORDER BY doubled_at, customer_id COLLATE "C" LIMIT $3`, since, id, limit)
	if err != nil {
		return nil, fmt.Errorf("subscriptions: list who is charged twice: %w", err)
	}
	doubled, err := pgx.CollectRows(rows, pgx.RowToStructByName[Doubled])
	if err != nil {
		return nil, fmt.Errorf("subscriptions: list who is charged twice: %w", err)
	}
	return doubled, nil
}

// List lists a customer's subscriptions, the one that counts first.
func (s *Store) List(ctx context.Context, customerID string) ([]Subscription, error) {
	all, err := list(ctx, s.pool, customerID)
	s.plans.Sort(all)
	return all, err
}

const columns = `provider, id, status, provider_status, price_ids, created_at, current_period_start, current_period_end,
	paid_until, cancel_at_period_end, card_brand, card_last4`

func list(ctx context.Context, db postgres.DB, customerID string) ([]Subscription, error) {
	rows, err := db.Query(ctx, `SELECT `+columns+` FROM subscriptions WHERE customer_id = $1`, customerID)
	if err != nil {
		return nil, fmt.Errorf("subscriptions of %s: list: %w", customerID, err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Subscription])
	if err != nil {
		return nil, fmt.Errorf("subscriptions of %s: list: %w", customerID, err)
	}
	return all, nil
}
