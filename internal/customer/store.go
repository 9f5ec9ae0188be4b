package customer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
)

// Errors that callers tell apart.
var (
	ErrNotFound = errors.New("there is no such customer")
	ErrConflict = errors.New("a customer with this id and other content exists")
)

// Store keeps customers in Postgres.
type Store struct {
	pool    *pgxpool.Pool
	changes *feed.Writer
}

// NewStore makes a store over the pool. The app is told through changes.
func NewStore(pool *pgxpool.Pool, changes *feed.Writer) *Store {
	return &Store{pool: pool, changes: changes}
}

// Create stores a customer, the steps that it needs and the messages that start the work on them,
// in one transaction and one round trip. The same id and content again gives the customer as it is
// now, with created false; other content is ErrConflict. A field that is wrong is a FieldError.
func (s *Store) Create(ctx context.Context, p Profile, messages ...outbox.Message) (c Customer, created bool, err error) {
	if err := p.Validate(); err != nil {
		return Customer{}, false, err
	}
	hash, err := p.contentHash()
	if err != nil {
		return Customer{}, false, err
	}
	batch := &pgx.Batch{}
	queueInsert(batch, p, hash, &created)
	for _, planned := range p.plan() {
		step.Queue(batch, planned)
	}
	for _, m := range messages {
		if err := outbox.Queue(batch, m); err != nil {
			return Customer{}, false, fmt.Errorf("customer %s: %w", p.ID, err)
		}
	}
	var stored row
	queueGet(batch, p.ID, &stored, &c.Steps)
	// A batch outside a transaction is one: everything is stored or nothing is.
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return Customer{}, false, createError(p, err)
	}
	if !bytes.Equal(stored.ContentHash, hash) {
		return Customer{}, false, fmt.Errorf("customer %s: %w", p.ID, ErrConflict)
	}
	return stored.customer(c.Steps), created, nil
}

// plan names the steps that a new customer needs.
func (p Profile) plan() []step.Step {
	names := []string{StepStripeCustomer}
	if p.PromoCode != "" {
		names = append(names, StepPromoCode)
	}
	steps := make([]step.Step, len(names))
	for i, name := range names {
		steps[i] = newStep(p.ID, name)
	}
	return steps
}

func newStep(customerID, name string) step.Step {
	return step.Step{WorkflowID: WorkflowID(customerID), Name: name, CustomerID: customerID, Provider: provider.Stripe}
}

func queueInsert(batch *pgx.Batch, p Profile, hash []byte, created *bool) {
	metadata := p.Metadata
	if metadata == nil {
		metadata = map[string]string{}
	}
	batch.Queue(`INSERT INTO customers (id, email, name, country, promo_code, metadata, content_hash, stripe_customer_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7, nullif($8, '')) ON CONFLICT (id) DO NOTHING`,
		p.ID, p.Email, p.Name, p.Country, p.PromoCode, metadata, hash, p.StripeCustomerID).
		Exec(func(tag pgconn.CommandTag) error {
			*created = tag.RowsAffected() == 1
			return nil
		})
}

// createError tells a Stripe customer that belongs to somebody else from a fault of the database.
func createError(p Profile, err error) error {
	var violation *pgconn.PgError
	if errors.As(err, &violation) && violation.ConstraintName == "customers_stripe_customer_id_key" {
		return &FieldError{"stripe_customer_id", "belongs to another customer already"}
	}
	return fmt.Errorf("customer %s: create: %w", p.ID, err)
}

// Get reads a customer with its steps, or gives ErrNotFound.
func (s *Store) Get(ctx context.Context, id string) (Customer, error) { return Get(ctx, s.pool, id) }

// Get is Store.Get in a transaction of the caller's.
func Get(ctx context.Context, db postgres.DB, id string) (Customer, error) {
	var (
		batch  pgx.Batch
		stored row
		steps  []step.Step
	)
	queueGet(&batch, id, &stored, &steps)
	err := db.SendBatch(ctx, &batch).Close()
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Customer{}, fmt.Errorf("customer %s: %w", id, ErrNotFound)
	case err != nil:
		return Customer{}, fmt.Errorf("customer %s: read: %w", id, err)
	}
	return stored.customer(steps), nil
}

// Change stores a new e-mail or name, opens the step that carries it to the provider, and hands
// over the message that wakes the work. Changing nothing does nothing.
func (s *Store) Change(ctx context.Context, id string, change Change, wake func(version int) outbox.Message) (Customer, error) {
	if err := change.Validate(); err != nil {
		return Customer{}, err
	}
	var c Customer
	err := postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		var version int
		err := tx.QueryRow(ctx, `UPDATE customers SET email = coalesce($2, email), name = coalesce($3, name),
				profile_version = profile_version + 1, updated_at = now()
			WHERE id = $1 AND (email, name) IS DISTINCT FROM (coalesce($2, email), coalesce($3, name))
			RETURNING profile_version`, id, change.Email, change.Name).Scan(&version)
		switch {
		case errors.Is(err, pgx.ErrNoRows): // unknown, or as it is already
		case err != nil:
			return fmt.Errorf("customer %s: change: %w", id, err)
		default:
			err := s.ChangeSteps(ctx, tx, WorkflowID(id), func() error {
				if err := step.Reopen(ctx, tx, newStep(id, StepStripeProfile)); err != nil {
					return err
				}
				return outbox.Add(ctx, tx, wake(version))
			})
			if err != nil {
				return err
			}
		}
		c, err = Get(ctx, tx, id)
		return err
	})
	return c, err
}

// BindStripe records the confirmed Stripe customer of an account: once, for ever. An account
// that has another one already, or a Stripe customer of another account, is refused.
func BindStripe(ctx context.Context, db postgres.DB, id, stripeCustomerID string, profileVersion int) error {
	tag, err := db.Exec(ctx, `UPDATE customers SET stripe_customer_id = $2, stripe_bound_at = coalesce(stripe_bound_at, now()),
			stripe_profile_version = greatest(stripe_profile_version, $3), updated_at = now()
		WHERE id = $1 AND (stripe_customer_id IS NULL OR stripe_customer_id = $2)`, id, stripeCustomerID, profileVersion)
	var violation *pgconn.PgError
	switch {
	case errors.As(err, &violation) && violation.ConstraintName == "customers_stripe_customer_id_key":
		return fmt.Errorf("customer %s: bind %s: %w", id, stripeCustomerID, ErrBoundElsewhere)
	case err != nil:
		return fmt.Errorf("customer %s: bind %s: %w", id, stripeCustomerID, err)
	case tag.RowsAffected() == 0:
		return fmt.Errorf("customer %s: bind %s: %w", id, stripeCustomerID, ErrBoundElsewhere)
	}
	return nil
}

// ErrBoundElsewhere says that an account and a Stripe customer are not each other's.
var ErrBoundElsewhere = errors.New("the account or the Stripe customer is bound to another one already")

// ProfileCarried records that the provider has the given version of e-mail and name. It tells
// whether a newer one came meanwhile.
func ProfileCarried(ctx context.Context, db postgres.DB, id string, version int) (newer bool, err error) {
	err = db.QueryRow(ctx, `UPDATE customers SET stripe_profile_version = greatest(stripe_profile_version, $2)
		WHERE id = $1 RETURNING profile_version > $2`, id, version).Scan(&newer)
	if err != nil {
		return false, fmt.Errorf("customer %s: record profile version %d: %w", id, version, err)
	}
	return newer, nil
}

// Quiet is how long nothing must have happened to a customer who lacks something, before it is
// taken to be neglected: longer than the first tries of a step take.
const Quiet = 2 * time.Minute

// neglected is what repair looks for: an account without a confirmed Stripe customer, or with a
// step that is not over, on which nothing has worked for a while and nothing waits for its time or
// for a person.
const neglected = `c.updated_at < now() - $1::interval
	AND NOT EXISTS (SELECT FROM steps s WHERE s.workflow_id = 'onboarding/' || c.id AND s.status NOT IN ('done', 'skipped')
		AND (s.waits_for = 'person' OR greatest(s.updated_at, s.next_attempt_at) > now() - $1::interval))
	AND (EXISTS (SELECT FROM steps s WHERE s.workflow_id = 'onboarding/' || c.id AND s.status NOT IN ('done', 'skipped'))
		OR c.stripe_bound_at IS NULL AND NOT EXISTS (
			SELECT FROM steps s WHERE s.workflow_id = 'onboarding/' || c.id AND s.name = 'stripe_customer' AND s.status = 'skipped'))`

// Neglected says whether this customer lacks something that nothing works on.
func Neglected(ctx context.Context, db postgres.DB, id string, quiet time.Duration) (bool, error) {
	var needed bool
	err := db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM customers c WHERE c.id = $2 AND `+neglected+`)`, quiet, id).Scan(&needed)
	if err != nil {
		return false, fmt.Errorf("customer %s: see whether it needs repair: %w", id, err)
	}
	return needed, nil
}

// ListNeglected lists, in order of id and after the given one, the customers that Neglected names.
// It looks at open steps and unbound accounts only, whatever the number of customers.
func ListNeglected(ctx context.Context, db postgres.DB, quiet time.Duration, after string, limit int) ([]string, error) {
	rows, err := db.Query(ctx, `SELECT c.id FROM customers c
		WHERE c.id > $2 AND c.id IN (
			SELECT customer_id FROM steps WHERE status NOT IN ('done', 'skipped')
			UNION SELECT id FROM customers WHERE stripe_bound_at IS NULL)
		AND `+neglected+` ORDER BY c.id LIMIT $3`, quiet, after, limit)
	if err != nil {
		return nil, fmt.Errorf("customers: look for those that need repair: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("customers: look for those that need repair: %w", err)
	}
	return ids, nil
}

// row is a customer as Postgres has it.
type row struct {
	ID                   string
	Email                string
	Name                 string
	Country              string
	PromoCode            string
	Metadata             map[string]string
	ContentHash          []byte
	StripeCustomerID     string
	StripeBoundAt        *time.Time
	ProfileVersion       int
	StripeProfileVersion int
	CreatedAt            time.Time
	UpdatedAt            time.Time
}

func queueGet(batch *pgx.Batch, id string, into *row, steps *[]step.Step) {
	batch.Queue(`SELECT id, email, name, country, promo_code, metadata, content_hash,
			coalesce(stripe_customer_id, '') AS stripe_customer_id, stripe_bound_at, profile_version, stripe_profile_version,
			created_at, updated_at
		FROM customers WHERE id = $1`, id).
		Query(func(rows pgx.Rows) (err error) {
			*into, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[row])
			return err
		})
	step.QueueByWorkflow(batch, WorkflowID(id), steps)
}

func (r row) customer(steps []step.Step) Customer {
	return Customer{
		Profile: Profile{
			ID: r.ID, Email: r.Email, Name: r.Name, Country: r.Country, PromoCode: r.PromoCode,
			StripeCustomerID: r.StripeCustomerID, Metadata: r.Metadata,
		},
		StripeConfirmed:      r.StripeBoundAt != nil,
		ProfileVersion:       r.ProfileVersion,
		StripeProfileVersion: r.StripeProfileVersion,
		Steps:                steps,
		CreatedAt:            r.CreatedAt,
		UpdatedAt:            r.UpdatedAt,
	}
}
