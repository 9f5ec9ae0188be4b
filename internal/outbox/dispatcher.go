package outbox

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/client"
)

// Defaults of Options.
const (
	DefaultConcurrency = 32
	DefaultPoll        = time.Second
	DefaultLease       = 30 * time.Second
	DefaultRetention   = 7 * 24 * time.Hour
)

// Options tune a dispatcher. The zero value is fit for production.
type Options struct {
	// Namespace is the Temporal client's. Empty is "default".
	Namespace string
	// Concurrency is how many calls to Temporal are under way at once.
	Concurrency int
	// Poll is how often to look for messages that nobody announced, such as those whose next
	// attempt is due.
	Poll time.Duration
	// Lease is how long a message belongs to the dispatcher that took it. If that dispatcher dies,
	// the message is delivered by another one after as long. A call may take a third of it.
	Lease time.Duration
	// Retention is how long a delivered message is kept. Its key can be written again afterwards,
	// and would take effect again, so it must outlive every repetition of a cause: a customer is
	// created once, profile versions and health epochs only rise, repairs are named by the minute,
	// and providers send a webhook again for three days. The default of 7 days is twice that.
	Retention time.Duration
	// Meter counts. Nil counts nothing.
	Meter Meter
	// Logger takes what an operator should know. Nil is silent.
	Logger *slog.Logger
}

// Meter counts what a dispatcher does. It must not block.
type Meter interface {
	Delivered(ctx context.Context, messages int)
	Failed(ctx context.Context, attempts int)
}

func (o Options) withDefaults() Options {
	o.Namespace = cmp.Or(o.Namespace, client.DefaultNamespace)
	o.Concurrency = cmp.Or(o.Concurrency, DefaultConcurrency)
	o.Poll = cmp.Or(o.Poll, DefaultPoll)
	o.Lease = cmp.Or(o.Lease, DefaultLease)
	o.Retention = cmp.Or(o.Retention, DefaultRetention)
	if o.Meter == nil {
		o.Meter = noMeter{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

type noMeter struct{}

func (noMeter) Delivered(context.Context, int) {}
func (noMeter) Failed(context.Context, int)    {}

// Dispatcher delivers messages to Temporal. Any number of them may run on one database.
//
// Each message takes effect once, also if a dispatcher dies between Temporal's answer and the
// writing down of it. A message that cannot be delivered is tried again after a second, and less
// and less often, at last every five minutes; it is never given up, stays visible in Backlog and
// in its row, and holds up no other. While Temporal as a whole cannot be reached nothing is taken:
// messages stay due, and go out within about a second of its return.
//
// Messages of one workflow are delivered one at a time, in the order in which they were written,
// as long as one dispatcher has them and none fails. Several dispatchers may reorder them, so a
// signal must mean "look again" rather than carry news.
type Dispatcher struct {
	pool     *pgxpool.Pool
	handover handover
	options  Options
	wake     chan struct{}
}

// NewDispatcher makes a dispatcher. The Temporal client must be dialled with DialOptions; it may
// be a lazy one, so that a process can start while Temporal is down.
func NewDispatcher(pool *pgxpool.Pool, temporal client.Client, options Options) *Dispatcher {
	options = options.withDefaults()
	return &Dispatcher{
		pool:     pool,
		handover: handover{temporal: temporal, namespace: options.Namespace},
		options:  options,
		wake:     make(chan struct{}, 1),
	}
}

// Wake makes the dispatcher look for messages now. It never blocks. Call it after the commit, or
// have a Notifier do so.
func (d *Dispatcher) Wake() {
	select {
	case d.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

// Run delivers messages until ctx ends. It then finishes the calls that are under way, for a third
// of a lease at most, and gives back what it has not begun. It rides out failures of Postgres and
// of Temporal; the one error that ends it earlier is a client without DialOptions.
func (d *Dispatcher) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer stop()
	helpers.Go(func() { d.listen(ctx) })
	helpers.Go(func() { d.pruneNowAndThen(ctx) })
	return d.newShift().work(ctx)
}

const (
	pruneEvery = 10 * time.Minute
	pruneBatch = 1000
)

// pruneNowAndThen deletes in small batches, so that no statement takes long or locks much.
func (d *Dispatcher) pruneNowAndThen(ctx context.Context) {
	for {
		deleted, err := prune(ctx, d.pool, d.options.Retention, pruneBatch)
		if err != nil && ctx.Err() == nil {
			d.options.Logger.WarnContext(ctx, "old outbox messages were not deleted; trying again later", "error", err)
		}
		pause := jittered(pruneEvery)
		if deleted == pruneBatch {
			pause = 100 * time.Millisecond // there are more
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}
