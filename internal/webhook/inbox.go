package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/subscription"
)

// Effect is what an event did here.
type Effect string

// The effects of events.
const (
	Sync      Effect = "sync"      // whom or what it is about is to be looked at
	Unknown   Effect = "unknown"   // its subject is nobody's here
	Dismissed Effect = "dismissed" // its subject is nobody's here, and a person said that it shall be
	Ignored   Effect = "ignored"   // it is of no interest
	Duplicate Effect = "duplicate" // it was stored before
)

const (
	// commits is how many transactions write events at once: one fills up while another is made
	// durable.
	commits = 2
	// storeTimeout bounds the storing of an event. Whoever sent it hears 503 then, and sends it again.
	storeTimeout = 5 * time.Second
)

// Inbox stores events, and marks whom they are about, before the provider hears that they were taken.
// Those that come at the same time are stored together: one commit makes them all durable.
type Inbox struct {
	pool          *pgxpool.Pool
	subscriptions *subscription.Store
	work          Work
	notify        func()
	turns         chan struct{}

	mu      sync.Mutex
	waiting []*letter
}

// letter is an event that waits to be stored.
type letter struct {
	event  Event
	stored chan struct{} // closed when the fields below are set
	effect Effect
	err    error
}

// Work is what is handed over to be looked at, once for each cause.
type Work struct {
	// HearOfBatch keeps that something was heard of a batch, and what PayPal may call it. It tells whether
	// that is the first since it was looked at last.
	HearOfBatch  func(ctx context.Context, tx pgx.Tx, batchID, payPalBatchID string) (first bool, err error)
	LookAtPayout func(payoutID, cause string) outbox.Message
	LookAtBatch  func(batchID, cause string) outbox.Message
	CheckAccount func(payeeID, cause string) outbox.Message
}

// NewInbox makes an inbox. notify is called after messages were committed to the outbox.
func NewInbox(pool *pgxpool.Pool, subscriptions *subscription.Store, work Work, notify func()) *Inbox {
	return &Inbox{pool: pool, subscriptions: subscriptions, work: work, notify: notify, turns: make(chan struct{}, commits)}
}

// Put stores an event, durably. With an error it may be stored or not; when it comes again, it counts
// once.
func (i *Inbox) Put(ctx context.Context, e Event) (Effect, error) {
	l := &letter{event: e, stored: make(chan struct{})}
	i.mu.Lock()
	i.waiting = append(i.waiting, l)
	i.mu.Unlock()
	select {
	case <-l.stored:
	case i.turns <- struct{}{}: // whoever has a turn stores what waits, their own and others'
		i.storeWaiting(ctx)
		<-i.turns
		<-l.stored
	case <-ctx.Done():
		return "", fmt.Errorf("webhook inbox: wait to be stored: %w", ctx.Err())
	}
	return l.effect, l.err
}

// storeWaiting stores all events that wait. Other senders wait for it, so it does not end with the
// one whose turn it is.
func (i *Inbox) storeWaiting(ctx context.Context) {
	i.mu.Lock()
	letters := i.waiting
	i.waiting = nil
	i.mu.Unlock()
	if len(letters) == 0 {
		return // who had a turn before has stored them
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	err := i.store(ctx, letters)
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok && len(letters) > 1 && !pgconn.Timeout(refused) {
		// One of them may be at fault, and must not take the others with it.
		for _, l := range letters {
			l.err = i.store(ctx, []*letter{l})
		}
	} else {
		for _, l := range letters {
			l.err = err
		}
	}
	for _, l := range letters {
		close(l.stored)
	}
	i.notify()
}

// store stores events in one transaction.
func (i *Inbox) store(ctx context.Context, letters []*letter) error {
	// In one order, or two transactions with the same events could lock each other out.
	slices.SortFunc(letters, func(a, b *letter) int {
		return cmp.Or(cmp.Compare(a.event.Provider, b.event.Provider), cmp.Compare(a.event.ID, b.event.ID))
	})
	return postgres.InTx(ctx, i.pool, func(tx pgx.Tx) error {
		for p, ofProvider := range byProvider(letters) {
			if err := i.storeOf(ctx, tx, p, ofProvider); err != nil {
				return fmt.Errorf("webhook inbox: store %d events of %s: %w", len(ofProvider), p, err)
			}
		}
		return nil
	})
}

// byProvider goes through sorted letters, one provider's at a time.
func byProvider(letters []*letter) func(yield func(provider.Name, []*letter) bool) {
	return func(yield func(provider.Name, []*letter) bool) {
		for len(letters) > 0 {
			p := letters[0].event.Provider
			end := slices.IndexFunc(letters, func(l *letter) bool { return l.event.Provider != p })
			if end < 0 {
				end = len(letters)
			}
			if !yield(p, letters[:end]) {
				return
			}
			letters = letters[end:]
		}
	}
}

func (i *Inbox) storeOf(ctx context.Context, tx pgx.Tx, p provider.Name, letters []*letter) error {
	owners, err := findOwners(ctx, tx, p, letters)
	if err != nil {
		return err
	}
	dismissed, err := i.meetStrangers(ctx, tx, p, letters, owners)
	if err != nil {
		return err
	}
	for _, l := range letters {
		l.effect = effectOf(l.event, owners, dismissed)
	}
	added, err := insert(ctx, tx, p, letters, owners)
	if err != nil {
		return err
	}
	var news []Event
	for _, l := range letters {
		switch {
		case !added[l.event.ID]:
			l.effect = Duplicate
		case l.effect == Sync:
			news = append(news, l.event)
		}
		delete(added, l.event.ID) // the same event may be there twice
	}
	return i.tell(ctx, tx, p, news, owners)
}

// tell has somebody look at what new events are about.
func (i *Inbox) tell(ctx context.Context, tx pgx.Tx, p provider.Name, news []Event, owners owners) error {
	var (
		marked []string
		told   = map[string]heard{}
		batch  pgx.Batch
	)
	for _, e := range news {
		for _, o := range owners[e.topical()] {
			var message outbox.Message
			switch e.About {
			case Subscriptions:
				marked = append(marked, o.customerID)
				continue
			case Batches:
				told[o.batchID] = heard{hint: cmp.Or(o.hint, told[o.batchID].hint), eventID: e.ID}
				continue
			case Payouts:
				message = i.work.LookAtPayout(o.payoutID, "event/"+e.ID)
			case Accounts:
				message = i.work.CheckAccount(o.customerID, "event/"+e.ID)
			}
			if err := outbox.Queue(&batch, message); err != nil {
				return err
			}
		}
	}
	if err := i.hear(ctx, tx, told, &batch); err != nil {
		return err
	}
	if batch.Len() > 0 {
		if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
			return fmt.Errorf("hand over what is to be looked at: %w", err)
		}
	}
	if len(marked) == 0 {
		return nil
	}
	return i.subscriptions.Mark(ctx, tx, p, subscription.ByEvent, marked...)
}

func effectOf(e Event, owners owners, dismissed map[string]bool) Effect {
	switch {
	case !e.matters():
		return Ignored
	case len(owners[e.topical()]) > 0:
		return Sync
	case dismissed[e.Subject]:
		return Dismissed
	default:
		return Unknown
	}
}

// topical is a subject, and what of it an event is about.
type topical struct {
	about   Topic
	subject string
}

func (e Event) topical() topical { return topical{e.About, e.Subject} }

// owners are whose subjects are, or what of ours they are.
type owners map[topical][]owner

// owner is a customer, and the payout of theirs, if the subject is one; or a batch of payouts, with what
// PayPal may call it.
type owner struct{ customerID, payoutID, batchID, hint string }

// ownersOf finds the owners of subjects. A PayPal subscription whose owner is still to be confirmed is
// everybody's who asked for it, behind who has it: they are read, and see.
func ownersOf(p provider.Name, about Topic) string {
	switch {
	case about == Payouts:
		return `SELECT provider_payout_id, payee_id, id FROM payouts WHERE provider_payout_id = ANY($1)`
	case about == Accounts:
		return `SELECT stripe_account_id, id, '' FROM payees WHERE stripe_account_id = ANY($1)`
	case p == provider.PayPal:
		return `SELECT subscription_id, customer_id, '' FROM paypal_bindings WHERE subscription_id = ANY($1) AND status <> 'refused'
			ORDER BY status DESC, asked_at`
	default:
		return `SELECT stripe_customer_id, id, '' FROM customers WHERE stripe_customer_id = ANY($1)`
	}
}

// findOwners finds the owners of those subjects that have some.
func findOwners(ctx context.Context, tx pgx.Tx, p provider.Name, letters []*letter) (owners, error) {
	found, topics := owners{}, map[Topic][]Event{}
	for _, l := range letters {
		if l.event.matters() {
			topics[l.event.About] = append(topics[l.event.About], l.event)
		}
	}
	return found, found.addAll(ctx, tx, p, topics)
}

func (all owners) addAll(ctx context.Context, tx pgx.Tx, p provider.Name, topics map[Topic][]Event) error {
	for about, events := range topics {
		if about == Batches {
			if err := all.addBatches(ctx, tx, events); err != nil {
				return err
			}
			continue
		}
		subjects := make([]string, len(events))
		for k, e := range events {
			subjects[k] = e.Subject
		}
		slices.Sort(subjects)
		if err := all.add(ctx, tx, p, about, slices.Compact(subjects)); err != nil {
			return err
		}
	}
	return nil
}

func (all owners) add(ctx context.Context, tx pgx.Tx, p provider.Name, about Topic, subjects []string) error {
	rows, err := tx.Query(ctx, ownersOf(p, about), subjects)
	if err != nil {
		return fmt.Errorf("find whom they are about: %w", err)
	}
	of, o := topical{about: about}, owner{}
	_, err = pgx.ForEachRow(rows, []any{&of.subject, &o.customerID, &o.payoutID}, func() error {
		all[of] = append(all[of], o)
		return nil
	})
	if err != nil {
		return fmt.Errorf("find whom they are about: %w", err)
	}
	return nil
}

// meetStrangers looks again for those subjects that seem to be nobody's, now that none of them can
// become somebody's unseen, and tells which of them were dismissed.
func (i *Inbox) meetStrangers(ctx context.Context, tx pgx.Tx, p provider.Name, letters []*letter, owners owners) (map[string]bool, error) {
	var strangers []string
	topics := map[Topic][]Event{}
	for _, l := range letters {
		if e := l.event; e.matters() && owners[e.topical()] == nil {
			strangers = append(strangers, e.Subject)
			topics[e.About] = append(topics[e.About], e)
		}
	}
	dismissed := map[string]bool{}
	if len(strangers) == 0 {
		return dismissed, nil
	}
	slices.Sort(strangers)
	strangers = slices.Compact(strangers)
	if err := subscription.LockSubjects(ctx, tx, p, strangers...); err != nil {
		return nil, err
	}
	if err := owners.addAll(ctx, tx, p, topics); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `SELECT DISTINCT subject FROM webhook_events
		WHERE provider = $1 AND subject = ANY($2) AND effect = 'dismissed'`, p, strangers)
	if err != nil {
		return nil, fmt.Errorf("see who was dismissed: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("see who was dismissed: %w", err)
	}
	for _, subject := range found {
		dismissed[subject] = true
	}
	return dismissed, nil
}

// insert stores events, and gives the ids of those that were not there before.
func insert(ctx context.Context, tx pgx.Tx, p provider.Name, letters []*letter, owners owners) (map[string]bool, error) {
	var (
		n                                = len(letters)
		ids, types, accounts             = make([]string, n), make([]string, n), make([]string, n)
		subjects, effects                = make([]string, n), make([]string, n)
		customerIDs, occurred, theirBody = make([]*string, n), make([]*time.Time, n), make([][]byte, n)
	)
	for k, l := range letters {
		e := l.event
		ids[k], types[k], accounts[k], subjects[k], effects[k] = e.ID, e.Type, e.Account, e.Subject, string(l.effect)
		occurred[k], theirBody[k] = e.OccurredAt, e.Payload
		if l.effect == Sync && e.About != Batches {
			customerIDs[k] = &owners[e.topical()][0].customerID
		}
	}
	rows, err := tx.Query(ctx, `INSERT INTO webhook_events (provider, event_id, type, account, subject, effect, customer_id, occurred_at, payload)
		SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[], $9::bytea[])
		ON CONFLICT (provider, event_id) DO NOTHING RETURNING event_id`,
		p, ids, types, accounts, subjects, effects, customerIDs, occurred, theirBody)
	if err != nil {
		return nil, err
	}
	added := make(map[string]bool, n)
	var id string
	_, err = pgx.ForEachRow(rows, []any{&id}, func() error { added[id] = true; return nil })
	return added, err
}

// The time between two rounds of deleting old events, and how many are deleted at once.
const (
	pruneEvery = 10 * time.Minute
	pruneBatch = 1000
)

// Prune deletes the events that are older than the retention, now and then, until ctx ends.
func (i *Inbox) Prune(ctx context.Context, retention time.Duration, log *slog.Logger) {
	for {
		deleted, err := DeleteOlder(ctx, i.pool, retention, pruneBatch)
		if err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "old webhook events were not deleted; trying again later", "error", err)
		}
		pause := pruneEvery
		if deleted == pruneBatch {
			pause = 100 * time.Millisecond // there are more
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// DeleteOlder deletes events that came longer ago than the retention, so many at most, and tells how
// many it were.
func DeleteOlder(ctx context.Context, db postgres.DB, retention time.Duration, limit int) (int64, error) {
	tag, err := db.Exec(ctx, `DELETE FROM webhook_events WHERE (provider, event_id) IN (
		SELECT provider, event_id FROM webhook_events WHERE received_at < now() - $1::interval LIMIT $2 FOR UPDATE SKIP LOCKED)`, retention, limit)
	if err != nil {
		return 0, fmt.Errorf("webhook inbox: delete old events: %w", err)
	}
	return tag.RowsAffected(), nil
}
