package feed

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// How often the newest number is looked up while somebody waits, and how rarely while Postgres does
// not answer.
const (
	lookEvery   = 100 * time.Millisecond
	lookSeldom  = 5 * time.Second
	lookTimeout = 5 * time.Second
)

// Watcher lets any number of readers wait for the feed to grow, at the cost of one: while somebody
// waits, one query at a time looks for the newest number, and nobody else asks Postgres. Polling it
// costs the writers nothing; a NOTIFY in their transactions would make every commit of the database
// that notifies wait for the others.
type Watcher struct {
	pool    *pgxpool.Pool
	log     *slog.Logger
	arrived chan struct{} // somebody has begun to wait
	ended   chan struct{} // Run is over

	mu      sync.Mutex
	newest  int64
	waiting int
	grown   chan struct{} // closed when newest rises
}

// NewWatcher makes a watcher. Run must run for anybody to be woken before their time.
func NewWatcher(pool *pgxpool.Pool, log *slog.Logger) *Watcher {
	return &Watcher{pool: pool, log: log, arrived: make(chan struct{}, 1), ended: make(chan struct{}), grown: make(chan struct{})}
}

// Run looks out until ctx ends, and then lets everybody go who waits.
func (w *Watcher) Run(ctx context.Context) {
	defer close(w.ended)
	pause := lookEvery
	for w.awaitReaders(ctx) {
		newest, err := w.look(ctx)
		switch {
		case err == nil:
			w.announce(newest)
			pause = lookEvery
		case ctx.Err() == nil && pause == lookEvery:
			w.log.WarnContext(ctx, "readers of the change feed cannot be told of changes at present; they wait for their time", "error", err)
			pause = lookSeldom
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// awaitReaders returns once somebody waits, or with false when ctx ends.
func (w *Watcher) awaitReaders(ctx context.Context) bool {
	for ctx.Err() == nil {
		if w.Waiting() > 0 {
			return true
		}
		select {
		case <-ctx.Done():
		case <-w.arrived:
		}
	}
	return false
}

// Waiting is how many wait.
func (w *Watcher) Waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.waiting
}

func (w *Watcher) look(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	return Newest(ctx, w.pool)
}

// announce wakes everybody if the feed has grown. It takes a lower number too, as after a restored
// backup.
func (w *Watcher) announce(newest int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if newest > w.newest {
		close(w.grown)
		w.grown = make(chan struct{})
	}
	w.newest = newest
}

// Wait returns with true once the feed has changes after that number, and with false when ctx or Run
// ends before.
func (w *Watcher) Wait(ctx context.Context, after int64) bool {
	w.arrive()
	defer w.leave()
	for {
		there, grown := w.compare(after)
		if there {
			return true
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return false
		case <-w.ended:
			return false
		}
	}
}

func (w *Watcher) arrive() {
	w.mu.Lock()
	w.waiting++
	w.mu.Unlock()
	select {
	case w.arrived <- struct{}{}:
	default: // it is known that somebody waits
	}
}

func (w *Watcher) leave() {
	w.mu.Lock()
	w.waiting--
	w.mu.Unlock()
}

func (w *Watcher) compare(after int64) (there bool, grown <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.newest > after, w.grown
}
