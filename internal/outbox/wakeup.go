package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// channel is where dispatchers of other processes hear of new messages.
const channel = "holdfast_outbox"

// notifyPause is the time between two notifications of one process.
const notifyPause = 20 * time.Millisecond

// Notifier tells dispatchers that messages were committed: the one in this process at once, those
// of other processes by NOTIFY. It notifies outside of the writers' transactions, and for many of
// them together: NOTIFY takes a lock on the whole database until its transaction is committed, and
// would make all of them commit one after the other.
type Notifier struct {
	pool    *pgxpool.Pool
	local   func()
	log     *slog.Logger
	pending chan struct{}
}

// NewNotifier makes a notifier. local is a Dispatcher's Wake, or nil in a process without one; log
// may be nil.
func NewNotifier(pool *pgxpool.Pool, local func(), log *slog.Logger) *Notifier {
	if local == nil {
		local = func() {}
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Notifier{pool: pool, local: local, log: log, pending: make(chan struct{}, 1)}
}

// Notify is for writers to call after their commit. It never blocks. A notification that is lost
// costs time only: dispatchers also poll.
func (n *Notifier) Notify() {
	n.local()
	n.put()
}

func (n *Notifier) put() {
	select {
	case n.pending <- struct{}{}:
	default: // one is on its way
	}
}

// Run sends the notifications until ctx ends.
func (n *Notifier) Run(ctx context.Context) {
	retry := backoff{first: 100 * time.Millisecond, most: 5 * time.Second}
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.pending:
		}
		err := n.send(ctx)
		if err == nil {
			retry.reset()
		} else {
			if !retry.failing() && ctx.Err() == nil {
				n.log.WarnContext(ctx, "other processes cannot be told of new outbox messages; they find them by polling", "error", err)
			}
			retry.grow()
			n.put()
		}
		if !sleep(ctx, max(notifyPause, retry.pause)) {
			return
		}
	}
}

// send notifies without waiting for the disk: nothing depends on it after a crash.
func (n *Notifier) send(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, maxStoreTime)
	defer cancel()
	_, err := n.pool.Exec(ctx, `SELECT set_config('synchronous_commit', 'off', true), pg_notify('`+channel+`', '')`)
	return err
}

// listen wakes the dispatcher for notifications of other processes until ctx ends.
func (d *Dispatcher) listen(ctx context.Context) {
	retry := backoff{first: 100 * time.Millisecond, most: 5 * time.Second}
	for ctx.Err() == nil {
		err := d.listenOnce(ctx, retry.reset)
		if ctx.Err() != nil {
			return
		}
		if !retry.failing() {
			d.options.Logger.WarnContext(ctx, "the outbox does not hear of other processes' messages; polling, and connecting again", "error", err)
		}
		retry.grow()
		sleep(ctx, jittered(retry.pause))
	}
}

// listenOnce listens on a connection of its own, not one of the pool's, until it breaks.
func (d *Dispatcher) listenOnce(ctx context.Context, listening func()) error {
	conn, err := pgx.ConnectConfig(ctx, d.pool.Config().ConnConfig)
	if err != nil {
		return fmt.Errorf("connect to listen: %w", err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing) // there is nothing to save
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	listening()
	for {
		d.Wake() // also the first time: what was notified before is not repeated
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return fmt.Errorf("wait for a notification: %w", err)
		}
	}
}
