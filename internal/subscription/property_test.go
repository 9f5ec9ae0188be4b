package subscription_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/subscription"
)

// Whatever happens at the providers, in whatever order, how often and how late its events come, and
// however reads overlap, crash and overtake each other: in the end what is known is what the
// providers have, and on the way the app was never told something older than before.
func TestEveryHistoryEndsInTheProvidersState(t *testing.T) {
	t.Parallel()
	const histories, atOnce = 3000, 8
	w := newWorld(t, histories)
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(atOnce)
	for seed := range uint64(histories) {
		group.Go(func() error {
			h := w.history(seed)
			if err := h.run(ctx); err != nil {
				return fmt.Errorf("the history of seed %d: %w", seed, err)
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	w.requireNoGaps(t)
	require.Positive(t, w.superseded.count(), "no read overtook another, or the property is empty")
	require.Positive(t, w.crashed.count())
	require.Positive(t, w.drifted.count())
	t.Logf("%d reads were superseded, %d crashed, %d accounts drifted", w.superseded.count(), w.crashed.count(), w.drifted.count())
}

// The same with everybody at once: the provider changes, events arrive and three workers read while
// each other's transactions are under way. What happens is not repeatable; what is asserted holds for
// every order.
func TestEverybodyAtOnceEndsInTheProvidersState(t *testing.T) {
	t.Parallel()
	const customers, atOnce = 100, 4
	w := newWorld(t, customers)
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(atOnce)
	for seed := range uint64(customers) {
		group.Go(func() error {
			h := w.history(seed)
			if err := h.runAtOnce(ctx); err != nil {
				return fmt.Errorf("customer %d: %w", seed, err)
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	w.requireNoGaps(t)
}

// tally counts what happened, so that a test can see that it did.
type tally struct {
	mu sync.Mutex
	n  int
}

func (c *tally) add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
}

func (c *tally) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// world is one database and the histories of its customers.
type world struct {
	bundle

	mu    sync.Mutex
	sent  map[string]bool // the keys of messages: a second message with the same key wakes nobody
	awake map[string]bool // the customers for whom a message was sent that nobody has followed

	superseded, crashed, drifted tally
}

func newWorld(t *testing.T, customers int) *world {
	t.Helper()
	w := &world{sent: map[string]bool{}, awake: map[string]bool{}}
	pool := postgrestest.New(t)
	w.bundle = bundle{pool: pool, store: subscription.NewStore(pool, nil, feed.NewWriter(nil), w.wake)}
	w.exec(t, `INSERT INTO customers (id, email, content_hash) SELECT 'u_' || i, 'ada@example.com', '' FROM generate_series(0, $1::int - 1) i`, customers)
	return w
}

func (w *world) wake(m subscription.Mark) outbox.Message {
	message := wake(m)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.sent[message.Key] {
		w.sent[message.Key], w.awake[m.CustomerID] = true, true
	}
	return message
}

// rouse has somebody look after the customer, as a workflow does that is told to go on.
func (w *world) rouse(customerID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.awake[customerID] = true
}

// settle tells whether somebody was to look after the customer, who then does.
func (w *world) settle(customerID string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	awake := w.awake[customerID]
	w.awake[customerID] = false
	return awake
}

// requireNoGaps holds the feed's numbers against what was committed.
func (w *world) requireNoGaps(t *testing.T) {
	t.Helper()
	n := w.count(t, `SELECT count(*) FROM changes`)
	require.Positive(t, n)
	require.Equal(t, n, w.count(t, `SELECT max(seq) FROM changes`))
	require.Equal(t, n, w.count(t, `SELECT last FROM change_counter`))
	require.Equal(t, 1, w.count(t, `SELECT min(seq) FROM changes`))
}

// account is what a customer has at a provider. Every change is a new version, which whatever is read
// carries as its price; several of them fall into one second.
type account struct {
	provider provider.Name

	mu      sync.Mutex
	version int
	all     []subscription.Subscription
	heard   bool // an event arrived, and with it a mark, since the last change
}

const changesInASecond = 4

// change makes something happen to the account.
func (a *account) change(random *rand.Rand) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version++
	a.heard = false
	now := noon.Add(time.Duration(a.version/changesInASecond) * time.Second)
	if len(a.all) == 0 || random.IntN(5) == 0 {
		a.all = append(a.all, a.made(now))
		return
	}
	i := random.IntN(len(a.all))
	s := &a.all[i]
	statuses := ordered()
	switch random.IntN(6) {
	case 0:
		s.Status = subscription.Canceled
		s.CurrentPeriodEnd = nil
	case 1:
		s.CancelAtPeriodEnd = !s.CancelAtPeriodEnd
	case 2:
		s.CardBrand, s.CardLast4 = "visa", fmt.Sprintf("%04d", a.version)
	case 3:
		a.all = slices.Delete(a.all, i, i+1)
	default:
		end := now.AddDate(0, 1, 0)
		s.Status = statuses[random.IntN(len(statuses))]
		s.CurrentPeriodStart, s.CurrentPeriodEnd = &now, &end
	}
}

// made is a new subscription, whose id nobody else has.
func (a *account) made(now time.Time) subscription.Subscription {
	return subscription.Subscription{
		Provider: a.provider, ID: fmt.Sprintf("new_%d", a.version), Status: subscription.Incomplete, CreatedAt: now, CurrentPeriodStart: &now,
	}
}

// look is what a read finds at this moment, of this customer.
func (a *account) look(customerID string) []subscription.Subscription {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := slices.Clone(a.all)
	for i := range seen {
		seen[i].ID = fmt.Sprintf("%s/%s/%s", customerID, a.provider, seen[i].ID)
		seen[i].ProviderStatus = string(seen[i].Status)
		seen[i].PriceIDs = []string{versionPrefix + strconv.Itoa(a.version)}
	}
	return seen
}

const versionPrefix = "version "

func (a *account) hear() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heard = true
}

// unheard says that no event of the last change, or of one before it, came after it.
func (a *account) unheard() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.version > 0 && !a.heard
}

// history is what happens to one customer.
type history struct {
	*world

	customerID string
	random     *rand.Rand
	accounts   []*account

	events []*account // on their way: of whom they tell
	reads  []*reading

	// What must be known, by a reference that has no database: the last read that was stored, and
	// what the app was told since the beginning.
	known map[provider.Name][]subscription.Subscription
	told  []subscription.State
}

// reading is a read that has begun.
type reading struct {
	subscription.Read

	account *account
	looked  bool
	found   []subscription.Subscription
}

func (w *world) history(seed uint64) *history {
	return &history{
		world: w, customerID: fmt.Sprint("u_", seed),
		random:   rand.New(rand.NewPCG(seed, seed)),
		accounts: []*account{{provider: provider.Stripe}, {provider: provider.PayPal}},
		known:    map[provider.Name][]subscription.Subscription{},
		told:     []subscription.State{{Status: subscription.None}},
	}
}

// run lets things happen in a random order, one after the other, and then everything settle.
func (h *history) run(ctx context.Context) error {
	const fewest, most = 6, 18
	for range fewest + h.random.IntN(most-fewest) {
		if err := h.happen(ctx); err != nil {
			return err
		}
	}
	if err := h.end(ctx); err != nil {
		return err
	}
	return h.check(ctx)
}

// happen does one thing that may happen now.
func (h *history) happen(ctx context.Context) error {
	a := h.accounts[h.random.IntN(len(h.accounts))]
	switch n := h.random.IntN(10); {
	case n < 3:
		h.change(a)
	case n < 5 && len(h.events) > 0:
		return h.deliver(ctx)
	case n < 7 && len(h.reads) < 4:
		return h.begin(ctx, a)
	case len(h.reads) > 0:
		return h.goOn(ctx, h.random.IntN(len(h.reads)))
	}
	return nil
}

// change has something happen at the provider once or several times in a row, of which it tells with
// several events, with one, or with none that arrives.
func (h *history) change(a *account) {
	for range 1 + h.random.IntN(3) {
		a.change(h.random)
		for range h.random.IntN(3) {
			h.events = append(h.events, a)
		}
	}
}

// deliver brings some event, whichever was sent first; a few come again.
func (h *history) deliver(ctx context.Context) error {
	i := h.random.IntN(len(h.events))
	a := h.events[i]
	if h.random.IntN(4) > 0 {
		h.events = slices.Delete(h.events, i, i+1)
	}
	return h.mark(ctx, a, subscription.ByEvent)
}

// lose has some event never come.
func (h *history) lose() {
	i := h.random.IntN(len(h.events))
	h.events = slices.Delete(h.events, i, i+1)
}

func (h *history) mark(ctx context.Context, a *account, cause subscription.Cause) error {
	a.hear()
	return postgres.InTx(ctx, h.pool, func(tx pgx.Tx) error { return h.store.Mark(ctx, tx, a.provider, cause, h.customerID) })
}

func (h *history) begin(ctx context.Context, a *account) error {
	r, err := h.store.Begin(ctx, h.customerID, a.provider)
	h.reads = append(h.reads, &reading{Read: r, account: a})
	return err
}

// goOn has a read look at the provider, and then end: stored, or with its worker.
func (h *history) goOn(ctx context.Context, i int) error {
	r := h.reads[i]
	if !r.looked {
		r.look()
		return nil
	}
	h.reads = slices.Delete(h.reads, i, i+1)
	if h.random.IntN(4) == 0 {
		h.crashed.add()
		h.rouse(h.customerID) // Temporal tries again what was not completed
		return nil
	}
	return h.keep(ctx, r)
}

func (r *reading) look() {
	r.looked, r.found = true, r.account.look(r.CustomerID)
}

// keep stores what a read found, here and in the reference.
func (h *history) keep(ctx context.Context, r *reading) error {
	stored, err := h.storeRead(ctx, r)
	if err != nil || stored.Superseded {
		return err
	}
	before := h.known[r.Provider]
	h.known[r.Provider] = nil
	for _, found := range r.found {
		i := slices.IndexFunc(before, func(b subscription.Subscription) bool { return b.ID == found.ID })
		if i < 0 {
			h.known[r.Provider] = append(h.known[r.Provider], subscription.KeepPaid(found, nil))
		} else {
			h.known[r.Provider] = append(h.known[r.Provider], subscription.KeepPaid(found, &before[i]))
		}
	}
	if state := h.state(); !sameState(state, h.told[len(h.told)-1]) {
		h.told = append(h.told, state)
	}
	return nil
}

func (h *history) storeRead(ctx context.Context, r *reading) (stored subscription.Stored, err error) {
	err = postgres.InTx(ctx, h.pool, func(tx pgx.Tx) (err error) {
		stored, err = h.store.Store(ctx, tx, r.Read, r.found)
		return err
	})
	if stored.Dirty {
		h.rouse(h.customerID)
	}
	if stored.Superseded {
		h.superseded.add()
	}
	return stored, err
}

// state is the one that counts of what is known.
func (h *history) state() subscription.State {
	return subscription.Plans(nil).Choose(slices.Concat(h.known[provider.Stripe], h.known[provider.PayPal]))
}

// end lets the rest of the events arrive or be lost, has the pass mark those of whom nothing was heard
// since they changed, and lets everybody finish who was woken. Nobody else is read.
func (h *history) end(ctx context.Context) error {
	for len(h.events) > 0 {
		if h.random.IntN(2) == 0 {
			h.lose()
		} else if err := h.deliver(ctx); err != nil {
			return err
		}
	}
	for _, a := range h.accounts {
		if !a.unheard() {
			continue
		}
		h.drifted.add()
		if err := h.mark(ctx, a, subscription.ByDrift); err != nil {
			return err
		}
	}
	for len(h.reads) > 0 {
		if err := h.goOn(ctx, h.random.IntN(len(h.reads))); err != nil {
			return err
		}
	}
	return h.drain(ctx)
}

// drain is the workflow: it reads where something is to be read until it is told of nothing more.
func (h *history) drain(ctx context.Context) error {
	for h.settle(h.customerID) {
		dirty, err := h.store.Dirty(ctx, h.pool, h.customerID)
		if err != nil {
			return err
		}
		for _, a := range h.accounts {
			if !slices.Contains(dirty, a.provider) {
				continue
			}
			if err := h.begin(ctx, a); err != nil {
				return err
			}
			r := h.reads[len(h.reads)-1]
			h.reads = h.reads[:len(h.reads)-1]
			r.look()
			if err := h.keep(ctx, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// check holds what is known against the providers and against the reference.
func (h *history) check(ctx context.Context) error {
	if err := h.checkEnd(ctx); err != nil {
		return err
	}
	told, err := h.toldStates(ctx)
	if err != nil {
		return err
	}
	if !slices.EqualFunc(told, h.told[1:], sameState) {
		return fmt.Errorf("the app was told %s, and not %s", encoded(told), encoded(h.told[1:]))
	}
	return neverBack(told)
}

// checkEnd holds what is known at the end against the providers.
func (h *history) checkEnd(ctx context.Context) error {
	dirty, err := h.store.Dirty(ctx, h.pool, h.customerID)
	if err != nil {
		return err
	}
	if len(dirty) > 0 {
		return fmt.Errorf("nobody reads %v, where something is to be read", dirty)
	}
	known, err := h.store.List(ctx, h.customerID)
	if err != nil {
		return err
	}
	overview, _, err := h.store.Get(ctx, h.customerID)
	if err != nil {
		return err
	}
	if overview.Stale {
		return fmt.Errorf("what is known is said to be old")
	}
	if state := subscription.Plans(nil).Choose(known); !sameState(state, overview.State) {
		return fmt.Errorf("the state is %s, and not %s", encoded(overview.State), encoded(state))
	}
	var all []subscription.Subscription
	for _, a := range h.accounts {
		all = append(all, a.look(h.customerID)...)
	}
	subscription.Plans(nil).Sort(all)
	if got, want := encoded(withoutPaid(known)), encoded(withoutPaid(all)); got != want {
		return fmt.Errorf("known are %s, and the providers have %s", got, want)
	}
	return nil
}

func (h *history) toldStates(ctx context.Context) ([]subscription.State, error) {
	rows, err := h.pool.Query(ctx, `SELECT data FROM changes WHERE customer_id = $1 ORDER BY seq`, h.customerID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (state subscription.State, err error) {
		var data json.RawMessage
		if err := row.Scan(&data); err != nil {
			return state, err
		}
		return state, json.Unmarshal(data, &state)
	})
}

// neverBack sees that no state shows an older version of its account than one before it.
func neverBack(told []subscription.State) error {
	newest := map[provider.Name]int{}
	for i, state := range told {
		if state.Status == subscription.None {
			continue
		}
		version, err := strconv.Atoi(strings.TrimPrefix(state.PriceID, versionPrefix))
		if err != nil {
			return err
		}
		if version < newest[state.Provider] {
			return fmt.Errorf("change %d goes back from version %d to %d: %s", i, newest[state.Provider], version, encoded(told))
		}
		newest[state.Provider] = version
	}
	return nil
}

// withoutPaid leaves out what no single read shows.
func withoutPaid(all []subscription.Subscription) []subscription.Subscription {
	bare := slices.Clone(all)
	for i := range bare {
		bare[i].PaidUntil = nil
	}
	if len(bare) == 0 {
		return nil
	}
	return bare
}

func sameState(a, b subscription.State) bool { return encoded(a) == encoded(b) }

func encoded(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// runAtOnce has the accounts change, their events arrive and reads go on, all at the same time.
func (h *history) runAtOnce(ctx context.Context) error {
	const changes, readers, each = 6, 3, 4
	group, together := errgroup.WithContext(ctx)
	for _, a := range h.accounts {
		random := rand.New(rand.NewPCG(h.random.Uint64(), h.random.Uint64()))
		group.Go(func() error {
			for range changes {
				a.change(random)
				if random.IntN(3) == 0 {
					continue // the event is lost
				}
				if err := h.mark(together, a, subscription.ByEvent); err != nil {
					return err
				}
			}
			return nil
		})
		for range readers {
			group.Go(func() error {
				for range each {
					if err := h.readOnce(together, a); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := h.end(ctx); err != nil {
		return err
	}
	if err := h.checkEnd(ctx); err != nil {
		return err
	}
	told, err := h.toldStates(ctx)
	if err != nil {
		return err
	}
	return neverBack(told)
}

func (h *history) readOnce(ctx context.Context, a *account) error {
	begun, err := h.store.Begin(ctx, h.customerID, a.provider)
	if err != nil {
		return err
	}
	r := &reading{Read: begun, account: a}
	r.look()
	_, err = h.storeRead(ctx, r)
	return err
}
