package simulator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	// deliveriesKept is the least number of deliveries that are kept once there were so many.
	deliveriesKept = 100_000
	// requestsAtOnce bounds what is posted to a target at the same time.
	requestsAtOnce = 64

	defaultWebhookTimeout = 10 * time.Second
	defaultRedeliverAfter = 100 * time.Millisecond
	defaultRedeliverMax   = 5 * time.Second
	defaultWindow         = 100 * time.Millisecond
)

// webhookSigner gives the headers that a provider puts on a body which it transmits under that id at
// that time. A redelivery has the id of the first transmission, and a time of its own.
type webhookSigner func(body []byte, id string, at time.Time) (http.Header, error)

// webhookEvent is an event as it is delivered: its body does not change any more.
type webhookEvent struct {
	id        string
	eventType string
	body      []byte
	sign      webhookSigner
}

// Webhooks delivers the events of one provider to at most one target. An event is posted until it is
// answered with 2xx, after pauses that grow; several are under way at the same time, so that
// nothing is promised of their order, which is what the providers say of theirs.
type Webhooks struct {
	provider string
	client   *http.Client
	pacing   webhookPacing
	slots    chan struct{} // one for each request under way

	start   func(func(context.Context)) // runs work until it ends or the simulator closes
	stop    context.CancelFunc
	running sync.WaitGroup

	mu         sync.Mutex // guards everything below
	target     string     // URL; empty when nobody is to be told
	faults     WebhookFaults
	random     *rand.Rand
	deliveries []*transmission // oldest first
	held       []*transmission
	window     []*transmission // what is gathered to be reordered, or for a burst
	closing    *time.Timer     // of the window
	underWay   int
	idle       chan struct{} // closed when nothing is under way any more
	closed     bool
}

// webhookPacing is how long the sender waits for what.
type webhookPacing struct {
	timeout        time.Duration // for an answer
	redeliverAfter time.Duration // doubled after each failure
	redeliverMax   time.Duration
}

// WebhookFaults is what goes wrong on the way. What happens to an event is decided when the event
// occurs; redeliveries meet no further faults. The zero value is a faultless delivery.
type WebhookFaults struct {
	// Loss is the share of events that are never delivered.
	Loss float64 `json:"loss,omitempty"`
	// Duplicate is the share of events that are delivered twice.
	Duplicate float64 `json:"duplicate,omitempty"`
	// DelayMS, and a random part of JitterMS, pass before the first attempt, in milliseconds.
	DelayMS  int `json:"delay_ms,omitempty"`
	JitterMS int `json:"jitter_ms,omitempty"`

	// Reorder gathers so many events and delivers them in a random order, one after another.
	Reorder int `json:"reorder,omitempty"`
	// Burst gathers so many events and delivers them all at once.
	Burst int `json:"burst,omitempty"`
	// WindowMS is how long Reorder and Burst wait for as many events as they want, from the first
	// on, in milliseconds; zero means 100. Then they make do with what there is.
	WindowMS int `json:"window_ms,omitempty"`

	// Hold keeps events back until Release, or until it is switched off.
	Hold bool `json:"hold,omitempty"`
}

// DeliveryState is how far a delivery has come.
type DeliveryState string

// The states of a delivery.
const (
	DeliveryLost      DeliveryState = "lost"      // by a fault, for good
	DeliveryHeld      DeliveryState = "held"      // by a fault, until it is released
	DeliveryPending   DeliveryState = "pending"   // under way: waiting, being sent, or to be sent again
	DeliveryTaken     DeliveryState = "taken"     // answered with 2xx
	DeliveryAbandoned DeliveryState = "abandoned" // the target was taken away, or the simulator closed
)

// Delivery is an event on its way to the target. An event that is duplicated has two.
type Delivery struct {
	ID        string            `json:"id"` // of the transmission
	EventID   string            `json:"event_id"`
	EventType string            `json:"event_type"`
	At        time.Time         `json:"at"` // when the event occurred
	State     DeliveryState     `json:"state"`
	Attempts  []DeliveryAttempt `json:"attempts"`
}

// DeliveryAttempt is one request to the target and what came of it.
type DeliveryAttempt struct {
	At     time.Time `json:"at"`
	Status int       `json:"status,omitempty"` // zero when there was no answer
	Error  string    `json:"error,omitempty"`  // why there was none
}

type transmission struct {
	Delivery

	event webhookEvent
	delay time.Duration // before the first attempt
}

func newWebhooks(ctx context.Context, provider string, cfg Config) *Webhooks {
	transport := &http.Transport{MaxIdleConnsPerHost: requestsAtOnce}
	w := &Webhooks{
		provider: provider,
		client: &http.Client{
			Transport: transport,
			// A redirect is an answer like any other that is not 2xx.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		pacing: webhookPacing{
			timeout: cfg.WebhookTimeout, redeliverAfter: cfg.WebhookRedeliverAfter, redeliverMax: cfg.WebhookRedeliverMax,
		},
		slots: make(chan struct{}, requestsAtOnce),
		//nolint:gosec // which event is lost must be repeatable, not unpredictable
		random: rand.New(rand.NewPCG(cfg.Seed, uint64(len(provider)))),
	}
	ctx, w.stop = context.WithCancel(ctx)
	w.start = func(work func(context.Context)) { w.running.Go(func() { work(ctx) }) }
	return w
}

// setTarget changes where events go, those that are under way too. Empty: nowhere.
func (w *Webhooks) setTarget(target string) error {
	if target != "" {
		parsed, err := url.Parse(target)
		if err != nil || parsed.Host == "" {
			return fmt.Errorf("simulator: webhook target %q of %s: it must be a URL such as http://127.0.0.1:8080/webhooks/%s", target, w.provider, w.provider)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.target = target
	return nil
}

// Target is the URL that events are posted to; empty when there is none.
func (w *Webhooks) Target() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.target
}

// SetFaults replaces the faults for events that occur from now on. What a replaced fault had
// gathered is delivered, and when Hold is switched off what was held is, in the order of the events.
// It fails, changing nothing, if the faults do not make sense.
func (w *Webhooks) SetFaults(faults WebhookFaults) error {
	if err := faults.validate(); err != nil {
		return fmt.Errorf("simulator: webhook faults of %s: %w", w.provider, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closeWindow()
	w.faults = faults
	if !faults.Hold {
		w.inTurn(w.held)
		w.held = nil
	}
	return nil
}

// Faults returns what goes wrong at present.
func (w *Webhooks) Faults() WebhookFaults {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.faults
}

func (f WebhookFaults) validate() error {
	switch {
	case min(f.Loss, f.Duplicate) < 0 || max(f.Loss, f.Duplicate) > 1:
		return errors.New("loss and duplicate must be between 0 and 1")
	case min(f.DelayMS, f.JitterMS, f.Reorder, f.Burst, f.WindowMS) < 0:
		return errors.New("delay_ms, jitter_ms, reorder, burst and window_ms must not be negative")
	case f.Reorder > 0 && f.Burst > 0:
		return errors.New("reorder delivers one after another and burst all at once: choose one of them")
	case f.WindowMS > 0 && f.Reorder+f.Burst == 0:
		return errors.New("window_ms needs reorder or burst")
	}
	return nil
}

// Release delivers held events in the order given, each after the first answer to the one before;
// with none given, all, in the order in which they occurred. An event that is held twice may be
// given twice. It fails, releasing nothing, if one of them is not held.
func (w *Webhooks) Release(eventIDs ...string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(eventIDs) == 0 {
		w.inTurn(w.held)
		w.held = nil
		return nil
	}
	held, released := slices.Clone(w.held), []*transmission(nil)
	for _, id := range eventIDs {
		at := slices.IndexFunc(held, func(d *transmission) bool { return d.EventID == id })
		if at < 0 {
			return fmt.Errorf("simulator: release webhook event %s of %s: it is not held", id, w.provider)
		}
		released = append(released, held[at])
		held = slices.Delete(held, at, at+1)
	}
	w.held = held
	w.inTurn(released)
	return nil
}

// Deliveries returns what became of the events, oldest first: at least of the newest 100,000.
func (w *Webhooks) Deliveries() []Delivery {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]Delivery, 0, len(w.deliveries))
	for _, d := range w.deliveries {
		copied := d.Delivery
		copied.Attempts = slices.Clone(d.Attempts)
		out = append(out, copied)
	}
	return out
}

// Await returns when nothing is under way: every event is taken, lost or held. The error, when ctx
// is done before, says how many are still under way.
func (w *Webhooks) Await(ctx context.Context) error {
	for {
		w.mu.Lock()
		underWay, idle := w.underWay, w.idle
		w.mu.Unlock()
		if underWay == 0 {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return fmt.Errorf("simulator: await the webhooks of %s: %d are under way (Deliveries tells their attempts): %w", w.provider, underWay, ctx.Err())
		}
	}
}

// close gives up what is under way, and returns when nothing runs any more.
func (w *Webhooks) close() {
	w.mu.Lock()
	w.closed = true
	w.closeWindow()
	w.mu.Unlock()
	w.stop()
	w.running.Wait()
	w.client.CloseIdleConnections()
}

// emit takes an event for delivery and returns at once. Without a target it is forgotten.
func (w *Webhooks) emit(event webhookEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.target == "" || w.closed {
		return
	}
	d := w.record(event)
	if w.strikes(w.faults.Loss) {
		d.State = DeliveryLost
		return
	}
	w.route(d)
	if w.strikes(w.faults.Duplicate) {
		w.route(w.record(event))
	}
}

func (w *Webhooks) record(event webhookEvent) *transmission {
	if len(w.deliveries) >= 2*deliveriesKept {
		w.deliveries = slices.Clone(w.deliveries[deliveriesKept:])
	}
	d := &transmission{event: event, delay: w.delay(), Delivery: Delivery{
		ID: uuid.NewString(), EventID: event.id, EventType: event.eventType, At: time.Now(), State: DeliveryPending,
		Attempts: []DeliveryAttempt{},
	}}
	w.deliveries = append(w.deliveries, d)
	return d
}

func (w *Webhooks) strikes(probability float64) bool {
	return probability > 0 && w.random.Float64() < probability
}

func (w *Webhooks) delay() time.Duration {
	delay := time.Duration(w.faults.DelayMS) * time.Millisecond
	if jitter := time.Duration(w.faults.JitterMS) * time.Millisecond; jitter > 0 {
		delay += time.Duration(w.random.Int64N(int64(jitter)))
	}
	return delay
}

// route sends a delivery on the way that the faults leave it.
func (w *Webhooks) route(d *transmission) {
	switch {
	case w.faults.Hold:
		d.State = DeliveryHeld
		w.held = append(w.held, d)
	case w.faults.Reorder+w.faults.Burst > 0:
		w.gather(d)
	default:
		w.atOnce([]*transmission{d})
	}
}

func (w *Webhooks) gather(d *transmission) {
	if len(w.window) == 0 {
		open := defaultWindow
		if w.faults.WindowMS > 0 {
			open = time.Duration(w.faults.WindowMS) * time.Millisecond
		}
		w.openWindow(open)
	}
	w.window = append(w.window, d)
	if len(w.window) >= w.faults.Reorder+w.faults.Burst {
		w.closeWindow()
	}
}

// openWindow begins a window. It is under way as long as it is open, whatever is in it.
func (w *Webhooks) openWindow(open time.Duration) {
	w.begin()
	var timer *time.Timer
	timer = time.AfterFunc(open, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.closing == timer {
			w.closeWindow()
		}
	})
	w.closing = timer
}

// closeWindow delivers what the window has gathered.
func (w *Webhooks) closeWindow() {
	if w.closing == nil {
		return
	}
	w.closing.Stop()
	gathered := w.window
	w.closing, w.window = nil, nil
	if w.faults.Reorder > 0 {
		w.random.Shuffle(len(gathered), func(i, j int) { gathered[i], gathered[j] = gathered[j], gathered[i] })
		w.inTurn(gathered)
	} else {
		w.atOnce(gathered)
	}
	w.end()
}

// atOnce delivers, none waiting for another.
func (w *Webhooks) atOnce(batch []*transmission) {
	for _, d := range batch {
		w.launch(d, func(ctx context.Context) {
			if w.first(ctx, d) {
				return
			}
			w.again(ctx, d)
		})
	}
}

// inTurn delivers, each after the first answer to the one before.
func (w *Webhooks) inTurn(batch []*transmission) {
	state := DeliveryPending
	if w.closed {
		state = DeliveryAbandoned
	}
	for _, d := range batch {
		d.State = state
	}
	if len(batch) == 0 || w.closed {
		return
	}
	w.begin()
	w.start(func(ctx context.Context) {
		defer w.ended()
		for _, d := range batch {
			if !w.first(ctx, d) {
				w.redeliver(d)
			}
		}
	})
}

func (w *Webhooks) redeliver(d *transmission) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.launch(d, func(ctx context.Context) { w.again(ctx, d) })
}

func (w *Webhooks) launch(d *transmission, work func(context.Context)) {
	if w.closed {
		d.State = DeliveryAbandoned
		return
	}
	w.begin()
	w.start(func(ctx context.Context) {
		defer w.ended()
		work(ctx)
	})
}

// begin counts something that is under way, until end.
func (w *Webhooks) begin() {
	if w.underWay == 0 {
		w.idle = make(chan struct{})
	}
	w.underWay++
}

func (w *Webhooks) end() {
	w.underWay--
	if w.underWay == 0 {
		close(w.idle)
	}
}

func (w *Webhooks) ended() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end()
}

// first makes the first attempt, after the delay, and says whether the delivery is over.
func (w *Webhooks) first(ctx context.Context, d *transmission) (over bool) {
	if wait(ctx, d.delay, nil) != nil {
		return w.abandoned(d)
	}
	return w.attempt(ctx, d)
}

// again attempts until the delivery is over.
func (w *Webhooks) again(ctx context.Context, d *transmission) {
	for pause := w.pacing.redeliverAfter; ; pause = min(2*pause, w.pacing.redeliverMax) {
		if wait(ctx, pause, nil) != nil {
			w.abandoned(d)
			return
		}
		if w.attempt(ctx, d) {
			return
		}
	}
}

// attempt posts the event once and says whether the delivery is over.
func (w *Webhooks) attempt(ctx context.Context, d *transmission) (over bool) {
	target := w.Target()
	if target == "" || ctx.Err() != nil {
		return w.abandoned(d)
	}
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	case <-ctx.Done():
		return w.abandoned(d)
	}
	tried := DeliveryAttempt{At: time.Now()}
	status, err := w.post(ctx, target, d, tried.At)
	tried.Status = status
	if err != nil {
		tried.Error = err.Error()
	}
	return w.attempted(d, tried)
}

func (w *Webhooks) attempted(d *transmission, tried DeliveryAttempt) (over bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d.Attempts = append(d.Attempts, tried)
	if tried.Status >= 200 && tried.Status < 300 {
		d.State = DeliveryTaken
	}
	return d.State == DeliveryTaken
}

func (w *Webhooks) abandoned(d *transmission) (over bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d.State = DeliveryAbandoned
	return true
}

func (w *Webhooks) post(ctx context.Context, target string, d *transmission, at time.Time) (status int, err error) {
	headers, err := d.event.sign(d.event.body, d.ID, at)
	if err != nil {
		return 0, fmt.Errorf("sign the event: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, w.pacing.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(d.event.body))
	if err != nil {
		return 0, fmt.Errorf("make the request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	maps.Copy(request.Header, headers)
	response, err := w.client.Do(request)
	if err != nil {
		return 0, fmt.Errorf("post the event: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	// Read, so that the connection can be used again. What the target says beside its status, and
	// whether it ends well, is of no interest to a provider.
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxBody))
	return response.StatusCode, nil
}
