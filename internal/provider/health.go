package provider

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/postgres"
)

// State is what the fleet knows of a provider.
type State string

// A provider is up, or degraded while it is being tried again, or it refuses: it is down, or does
// not accept our credentials.
const (
	StateUp            State = "up"
	StateDegraded      State = "degraded"
	StateDown          State = "down"
	StateMisconfigured State = "misconfigured"
)

// Refuses says that no step should call the provider until its gate says otherwise.
func (s State) Refuses() bool { return s == StateDown || s == StateMisconfigured }

// Health is a provider's state, since when, and why.
type Health struct {
	Provider  Name
	State     State
	Epoch     int64 // raised by every change of state
	Since     time.Time
	LastError string // codes and ids of the last failed probe, while there is trouble
	CheckedAt *time.Time
}

// HealthStore keeps the health of the providers in Postgres. Only their gates write it.
type HealthStore struct {
	db postgres.DB
}

// NewHealthStore makes a store over a pool or a transaction.
func NewHealthStore(db postgres.DB) *HealthStore { return &HealthStore{db: db} }

const healthColumns = `provider, state, epoch, since, last_error, checked_at`

// Get reads a provider's health.
func (s *HealthStore) Get(ctx context.Context, p Name) (Health, error) {
	return s.one(ctx, p, "read", `SELECT `+healthColumns+` FROM provider_health WHERE provider = $1`)
}

// List reads the health of every provider.
func (s *HealthStore) List(ctx context.Context) ([]Health, error) {
	rows, err := s.db.Query(ctx, `SELECT `+healthColumns+` FROM provider_health ORDER BY provider`)
	if err != nil {
		return nil, fmt.Errorf("health of the providers: read: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[Health])
	if err != nil {
		return nil, fmt.Errorf("health of the providers: read: %w", err)
	}
	return all, nil
}

// Set stores what a probe found. A new state begins a new epoch, now; the same state again only
// renews the check.
func (s *HealthStore) Set(ctx context.Context, p Name, state State, lastError string) (Health, error) {
	return s.one(ctx, p, "write", `UPDATE provider_health SET state = $2, last_error = $3, checked_at = clock_timestamp(),
			epoch = CASE WHEN state = $2 THEN epoch ELSE epoch + 1 END,
			since = CASE WHEN state = $2 THEN since ELSE clock_timestamp() END
		WHERE provider = $1 RETURNING `+healthColumns, state, lastError)
}

// LockShared reads a provider's health and keeps the gate from changing it until the transaction
// that the store works in is over. What is parked in that transaction is there when the gate looks.
func (s *HealthStore) LockShared(ctx context.Context, p Name) (Health, error) {
	return s.one(ctx, p, "lock", `SELECT `+healthColumns+` FROM provider_health WHERE provider = $1 FOR SHARE`)
}

// one runs a statement on the provider's row, whose name is $1.
func (s *HealthStore) one(ctx context.Context, p Name, doing, sql string, args ...any) (Health, error) {
	rows, err := s.db.Query(ctx, sql, append([]any{p}, args...)...)
	if err != nil {
		return Health{}, fmt.Errorf("health of %s: %s: %w", p, doing, err)
	}
	health, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Health])
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Health{}, fmt.Errorf("health of %s: %s: no such provider (are the migrations up to date?): %w", p, doing, err)
	case err != nil:
		return Health{}, fmt.Errorf("health of %s: %s: %w", p, doing, err)
	}
	return health, nil
}
