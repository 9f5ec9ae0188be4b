package payout

import (
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/outbox"
)

// Store keeps payees and their payouts in Postgres.
type Store struct {
	pool    *pgxpool.Pool
	policy  Policy
	changes *feed.Writer
	hand    func(payoutID string) outbox.Message
}

// NewStore makes a store over the pool. The app is told through changes; hand is the message that
// starts the work on a payout.
func NewStore(pool *pgxpool.Pool, policy Policy, changes *feed.Writer, hand func(payoutID string) outbox.Message) *Store {
	return &Store{pool: pool, policy: policy, changes: changes, hand: hand}
}

// Policy is what the platform has decided.
func (s *Store) Policy() Policy { return s.policy }
