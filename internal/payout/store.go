package payout

import (
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/outbox"
)

// Store keeps payees and their payouts in Postgres.
type Store struct {
	pool    *pgxpool.Pool
	policy  Policy
	changes *feed.Writer
	work    Work
}

// Work is what is handed over to be done.
type Work struct {
	// Pay starts the work on a payout.
	Pay func(payoutID string) outbox.Message
	// PayBatch starts the work on a batch of payouts by PayPal.
	PayBatch func(batchID string) outbox.Message
	// LookAt has the work on a payout see how it stands, once for each cause.
	LookAt func(payoutID, cause string) outbox.Message
	// Wake has that done for all payouts that wait, or those of a run's date, once for each cause.
	Wake func(on date.Date, cause string) outbox.Message
	// CheckAccount has a payee's connected account looked at, once for each cause.
	CheckAccount func(payeeID, cause string) outbox.Message
	// RefreshAccount is CheckAccount for nobody who waits: what is paid goes first.
	RefreshAccount func(payeeID, cause string) outbox.Message
}

// NewStore makes a store over the pool. The app is told through changes, and work is handed over
// through the outbox.
func NewStore(pool *pgxpool.Pool, policy Policy, changes *feed.Writer, work Work) *Store {
	return &Store{pool: pool, policy: policy, changes: changes, work: work}
}

// Policy is what the platform has decided.
func (s *Store) Policy() Policy { return s.policy }
