package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

// readsRoute is where a customer's subscriptions are read.
const readsRoute = "/v1/subscriptions"

// readRate is the provider's limit for the measurements of reads, in calls a second, and workerRate
// is what the worker is set to for it: a little below, since the provider counts by its own clock.
const (
	readRate   = 50
	workerRate = 48
)

// subscribers makes n customers, each with a Stripe customer and an active subscription there, and
// gives the ids of the Stripe customers. It does so behind everybody's back: signups are measured
// elsewhere, and no event is sent.
func (r *run) subscribers(ctx context.Context, prefix string, n int) ([]string, error) {
	r.notef("%d subscribers are made …", n)
	ids := make([]string, n)
	rows := make([][]any, n)
	for i := range n {
		name := fmt.Sprintf("%s_%d", prefix, i)
		made, err := r.fleet.Simulator.Stripe().PutCustomer(simulator.Customer{Email: name + "@example.com"})
		if err != nil {
			return nil, err
		}
		if _, err := r.fleet.Simulator.Stripe().PutSubscription(simulator.Subscription{Customer: made.ID}); err != nil {
			return nil, err
		}
		ids[i] = made.ID
		rows[i] = []any{name, name + "@example.com", []byte{}, made.ID, time.Now()}
	}
	_, err := r.fleet.Pool.CopyFrom(ctx, pgx.Identifier{"customers"},
		[]string{"id", "email", "content_hash", "stripe_customer_id", "stripe_bound_at"}, pgx.CopyFromRows(rows))
	if err != nil {
		return nil, err
	}
	_, err = r.fleet.Pool.Exec(ctx, `INSERT INTO steps (workflow_id, name, customer_id, provider, status)
		SELECT 'onboarding/' || id, 'stripe_customer', id, 'stripe', 'done' FROM customers WHERE id LIKE $1`, prefix+`\_%`)
	return ids, err
}

// reads measures what events cost at the provider: bursts of three, as a checkout makes them, and
// twenty about each customer.
func (r *run) reads(ctx context.Context) error {
	const customers = 500
	for _, c := range []struct {
		perCustomer int
		aim         float64
	}{{3, 0.5}, {20, 0.15}} {
		prefix := fmt.Sprintf("reads%d", c.perCustomer)
		ids, err := r.subscribers(ctx, prefix, customers)
		if err != nil {
			return err
		}
		events := customers * c.perCustomer
		r.notef("%d events about %d customers …", events, customers)
		began := time.Now()
		if err := r.sendAbout(ctx, prefix, ids, c.perCustomer); err != nil {
			return err
		}
		if err := r.awaitSynced(ctx); err != nil {
			return err
		}
		reads := len(r.fleet.Simulator.Calls().Since(began).To(http.MethodGet, readsRoute))
		perEvent := float64(reads) / float64(events)
		r.add(fmt.Sprintf("provider reads per event, %d events about each of %d customers", c.perCustomer, customers),
			perEvent <= c.aim, fmt.Sprintf("at most %.2f", c.aim), "%.2f (%d reads)", perEvent, reads)
	}
	return r.syncCost(ctx, "reads3", customers)
}

// sendAbout sends so many events about each customer: all those of a customer at once if there are
// few, as a checkout does, else in any order.
func (r *run) sendAbout(ctx context.Context, prefix string, ids []string, perCustomer int) error {
	const burst, concurrency = 3, 30
	about := make([]string, 0, len(ids)*perCustomer)
	for _, id := range ids {
		for range perCustomer {
			about = append(about, id)
		}
	}
	if perCustomer > burst {
		//nolint:gosec // an order, and no secret
		rand.New(rand.NewPCG(1, 1)).Shuffle(len(about), func(i, j int) { about[i], about[j] = about[j], about[i] })
	}
	s := sender{client: newWebhookClient(concurrency), url: r.fleet.URL() + "/webhooks/stripe", customers: about, size: 2048}
	_, err := s.send(ctx, prefix, len(about), concurrency)
	return err
}

// syncCost counts the actions of customers that were read once.
func (r *run) syncCost(ctx context.Context, prefix string, customers int) error {
	actions := 0
	const sample = 50
	for i := range sample {
		t, err := r.tally(ctx, workflows.SyncID(fmt.Sprintf("%s_%d", prefix, i*customers/sample)))
		if err != nil {
			return err
		}
		actions += t.actions
	}
	const aim = 3
	mean := float64(actions) / sample
	r.add("Temporal actions per synced customer, burst of 3", mean <= aim, "at most 3", "%.2f", mean)
	return nil
}

// backlog lets customers be marked while nobody reads, and measures how much of the provider's limit
// the reads then use.
func (r *run) backlog(ctx context.Context) error {
	const customers, aim = 5_000, 0.9
	ids, err := r.subscribers(ctx, "backlog", customers)
	if err != nil {
		return err
	}
	if err := r.fleet.StopWorkers(); err != nil {
		return err
	}
	if err := r.sendAbout(ctx, "backlog", ids, 1); err != nil {
		return err
	}
	if err := r.awaitHandedOver(ctx); err != nil {
		return err
	}
	r.fleet.Simulator.Stripe().SetRateLimit(readRate)
	defer r.fleet.Simulator.Stripe().SetRateLimit(0)
	r.notef("%d customers wait to be read from a Stripe that takes %d calls a second …", customers, readRate)
	began := time.Now()
	if err := r.fleet.StartWorkerAt(ctx, workerRate); err != nil {
		return err
	}
	if err := r.awaitSynced(ctx); err != nil {
		return err
	}
	calls := r.fleet.Simulator.Calls().Since(began)
	reads := calls.To(http.MethodGet, readsRoute).WithStatus(http.StatusOK)
	if len(reads) < customers {
		return fmt.Errorf("bench: %d reads were made for %d customers", len(reads), customers)
	}
	took := reads[len(reads)-1].AnsweredAt.Sub(reads[0].AnsweredAt)
	share := float64(len(reads)) / took.Seconds() / readRate
	limited := len(calls.WithStatus(http.StatusTooManyRequests))
	r.add("backlog of 5,000 customers: share of the provider's 50 reads a second", share >= aim, "at least 0.9",
		"%.2f (%d reads in %s)", share, len(reads), took.Round(100*time.Millisecond))
	r.add("429s seen meanwhile", limited == 0, "0", "%d", limited)
	return nil
}

// syncRate measures how many customers a second are brought up to date when the provider sets no
// limit: what Temporal, Postgres and a worker on this machine can do.
func (r *run) syncRate(ctx context.Context) error {
	const customers, noLimit = 2_000, 10_000
	ids, err := r.subscribers(ctx, "rate", customers)
	if err != nil {
		return err
	}
	if err := r.fleet.StopWorkers(); err != nil {
		return err
	}
	if err := r.sendAbout(ctx, "rate", ids, 1); err != nil {
		return err
	}
	if err := r.awaitHandedOver(ctx); err != nil {
		return err
	}
	if err := r.fleet.StartWorkerAt(ctx, noLimit); err != nil {
		return err
	}
	began := time.Now()
	if err := r.awaitSynced(ctx); err != nil {
		return err
	}
	r.add("customers synced a second, without a provider's limit", true, "", "%.0f", customers/time.Since(began).Seconds())
	return nil
}

// awaitSynced waits until nothing is to be read.
func (r *run) awaitSynced(ctx context.Context) error {
	return await(ctx, "every marked customer to be read", func() (bool, error) {
		var waiting int
		err := r.fleet.Pool.QueryRow(ctx, `SELECT count(*) FROM subscription_syncs WHERE marks > covered`).Scan(&waiting)
		return waiting == 0, err
	})
}

// awaitHandedOver waits until Temporal has every message.
func (r *run) awaitHandedOver(ctx context.Context) error {
	return await(ctx, "every message to be handed over", func() (bool, error) {
		var waiting int
		err := r.fleet.Pool.QueryRow(ctx, `SELECT count(*) FROM outbox WHERE delivered_at IS NULL`).Scan(&waiting)
		return waiting == 0, err
	})
}

// memory is what the programs hold at the end.
func (r *run) memory(ctx context.Context) error {
	const aim = 150
	used, err := r.fleet.Memory(ctx)
	if err != nil {
		return err
	}
	serve, worker := used.Serve/(1<<20), used.Worker/(1<<20)
	r.add("memory of starter serve and worker at the end, MB", serve < aim && worker < aim, "below 150 each", "%d, %d", serve, worker)
	return nil
}
