package simulator

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	stripeName = "stripe"
	// stripeVersion is the API version whose object shapes are simulated: stripe-go v76 pins it.
	stripeVersion = "2023-10-16"
)

// Stripe is a simulated Stripe account in test mode: its keys, its objects, and the pipeline that
// every request goes through (keys, rate limit, route, form, idempotency, operation).
type Stripe struct {
	routes      *http.ServeMux
	keys        *stripeKeys
	limiter     *rate.Limiter
	idempotency *stripeIdempotency
	webhooks    *Webhooks

	mu             sync.Mutex // guards everything below
	customers      collection[*stripeCustomer]
	promotionCodes collection[*stripePromotionCode]
	events         collection[*stripeEvent]
	prices         collection[*stripePrice]
	paymentMethods collection[*stripePaymentMethod]
	invoices       collection[*stripeInvoice]
	subscriptions  collection[*stripeSubscription]
	// subscriptionsOf are the same by their customer, so that one customer's are listed cheaply.
	subscriptionsOf map[string]*collection[*stripeSubscription]
	rejectedEmails  map[string]string // address to error code
	secrets         StripeWebhook     // that sign events
	money           stripeMoney
}

// stripeOperation is the endpoint of one route. It checks the parameters and returns the work to
// do, or says what is wrong with them. What fails there has not begun to execute: nothing is
// stored for the idempotency key. The work runs under the account's lock; its result and its
// errors are stored.
type stripeOperation func(stripeRequest) (stripeWork, *stripeError)

// stripeWork returns an object to be sent as JSON.
type stripeWork func() (any, *stripeError)

type stripeRequest struct {
	id      string // the {id} of the path
	child   string // its {child}, if the path goes on to an object within that one
	account string // the connected account that the request is about; empty for our own
	params  params
	cause   stripeCause // of the events that it leads to
}

func newStripe(cfg Config, webhooks *Webhooks) *Stripe {
	s := &Stripe{
		routes:         http.NewServeMux(),
		keys:           &stripeKeys{accepted: []string{cfg.StripeKey}},
		limiter:        rate.NewLimiter(limitOf(cfg.StripeRateLimit)),
		idempotency:    &stripeIdempotency{answers: map[string]*stripeStored{}},
		webhooks:       webhooks,
		rejectedEmails: map[string]string{},

		subscriptionsOf: map[string]*collection[*stripeSubscription]{},
		money:           newStripeMoney(cfg.Seed),
	}
	s.routes.HandleFunc("/", unknownRoute)
	s.serveBalance()
	s.serveCustomers()
	s.servePromotionCodes()
	s.servePrices()
	s.servePaymentMethods()
	s.serveSubscriptions()
	s.serveInvoices()
	s.serveAccounts()
	s.serveTransfers()
	s.servePayouts()
	s.serveEvents()
	return s
}

// SetRateLimit changes how many calls a second are answered with anything but 429; zero lifts
// the limit.
func (s *Stripe) SetRateLimit(callsPerSecond int) {
	limit, burst := limitOf(callsPerSecond)
	s.limiter.SetLimit(limit)
	s.limiter.SetBurst(burst)
}

func (s *Stripe) name() string { return stripeName }

func (s *Stripe) idempotencyKey(r *http.Request) string {
	return strings.TrimSpace(r.Header.Get("Idempotency-Key"))
}

func (s *Stripe) needsKey(r *http.Request) bool { return r.Method == http.MethodPost }

func (s *Stripe) bodyLimit() int64 { return maxBody }

func (s *Stripe) route(r *http.Request) string {
	_, pattern := s.routes.Handler(r)
	_, path, _ := strings.Cut(pattern, " ")
	return cmp.Or(path, pattern)
}

func (s *Stripe) failure(status int) answer {
	failures := map[int]*stripeError{
		http.StatusUnauthorized:        invalidKey(""),
		http.StatusTooManyRequests:     tooManyRequests(),
		http.StatusInternalServerError: internalError(),
	}
	a := failures[status].answer()
	a.header.Set("Request-Id", newID("req_"))
	return a
}

func (s *Stripe) handle(pattern string, operation stripeOperation) {
	s.routes.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		params, problem := readParams(r)
		if problem != nil {
			problem.answer().writeTo(w)
			return
		}
		work, problem := operation(stripeRequest{
			id: r.PathValue("id"), child: r.PathValue("child"), account: r.Header.Get("Stripe-Account"), params: params,
			cause: stripeCause{ID: nullable(w.Header().Get("Request-Id")), IdempotencyKey: nullable(s.idempotencyKey(r))},
		})
		if problem != nil {
			problem.answer().writeTo(w)
			return
		}
		s.perform(r, w.Header().Get("Request-Id"), params, work).writeTo(w)
	})
}

// ServeHTTP answers as Stripe's API does.
func (s *Stripe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Request-Id", newID("req_"))
	w.Header().Set("Stripe-Version", stripeVersion)
	if problem := s.admit(r); problem != nil {
		problem.answer().writeTo(w)
		return
	}
	s.routes.ServeHTTP(w, r)
}

// admit is what stands before the idempotency layer: its refusals are never stored.
func (s *Stripe) admit(r *http.Request) *stripeError {
	if problem := s.keys.check(r); problem != nil {
		return problem
	}
	if !s.limiter.Allow() {
		return tooManyRequests()
	}
	if v := r.Header.Get("Stripe-Version"); v != "" && v != stripeVersion {
		return invalidRequest("", "", "Invalid Stripe API version: "+v+" (the simulator speaks "+stripeVersion+").")
	}
	return nil
}

func (s *Stripe) perform(r *http.Request, requestID string, p params, work stripeWork) answer {
	ctx := r.Context()
	executeWork := func() answer {
		return execute(ctx, func() answer { return s.underLock(work) }, internalError().answer())
	}
	key := s.idempotencyKey(r)
	if r.Method != http.MethodPost || key == "" {
		return executeWork()
	}
	return s.idempotency.once(stripeKeyed{
		key:       r.Header.Get("Stripe-Account") + " " + key,
		shownKey:  key,
		endpoint:  r.URL.Path,
		params:    p.canonical(),
		requestID: requestID,
	}, executeWork)
}

// underLock does the work and renders its result before another request can change it.
func (s *Stripe) underLock(work stripeWork) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	object, problem := work()
	if problem != nil {
		return problem.answer()
	}
	return jsonAnswer(http.StatusOK, object)
}

func jsonAnswer(status int, object any) answer {
	body, err := json.Marshal(object)
	if err != nil {
		return internalError().answer()
	}
	return answer{status: status, header: http.Header{"Content-Type": {"application/json"}}, body: body}
}

func (a answer) writeTo(w http.ResponseWriter) { a.write(w, len(a.body)) }

// newID makes an id that no other run of the simulator has made, because accounts may outlive it.
func newID(prefix string) string { return prefix + rand.Text()[:20] }

func unixNow() int64 { return time.Now().Unix() }
