package simulator

import (
	"cmp"
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	payPalName       = "paypal"
	payPalTokenRoute = "/v1/oauth2/token" //nolint:gosec // a path
	maxPayPalBody    = 8 << 20
)

// PayPal is a simulated PayPal business account in the sandbox: its REST app's credentials, its
// subscriptions, its money and its payouts, the certificate that its webhooks are signed with, and the pipeline that every
// request goes through (rate limit, token, route, request id, operation).
type PayPal struct {
	routes   *http.ServeMux
	baseURL  func() string // its own, for links
	limiter  *rate.Limiter
	access   *payPalAccess
	requests *payPalRequests
	signer   *payPalSigner
	// emit hands an event to whoever delivers webhooks. It does not wait for the delivery.
	emit func(payPalEvent)

	mu            sync.Mutex // guards everything below
	subscriptions map[string]*payPalSubscription
	payouts       payPalPayouts
	money         payPalBooks
	stopped       bool // nothing happens by itself any more
}

// payPalOperation is the endpoint of one route. It runs under the account's lock and returns the
// status and the object of its answer, nil for none, or says what is wrong.
type payPalOperation func(payPalRequest) (status int, object any, problem *payPalError)

type payPalRequest struct {
	id    string // the {id} of the path
	query url.Values
	body  []byte
	// whole asks a write for the whole object. PayPal answers otherwise with as little as it can.
	whole bool
}

func newPayPal(cfg Config, baseURL func() string) *PayPal {
	p := &PayPal{
		routes:        http.NewServeMux(),
		baseURL:       baseURL,
		limiter:       rate.NewLimiter(limitOf(cfg.PayPalRateLimit)),
		access:        newPayPalAccess(cfg.PayPalClientID, cfg.PayPalClientSecret),
		requests:      &payPalRequests{answers: map[string]*answer{}},
		signer:        newPayPalSigner(cfg.PayPalWebhookID),
		emit:          func(payPalEvent) {},
		subscriptions: map[string]*payPalSubscription{},
		payouts:       newPayPalPayouts(),
		money:         newPayPalBooks(),
	}
	p.routes.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	p.routes.HandleFunc("POST "+payPalTokenRoute, p.access.grant)
	p.routes.HandleFunc("GET "+payPalCertsPath+"{id}", p.serveCertificate)
	p.serveSubscriptions()
	p.servePayouts()
	p.serveReports()
	return p
}

// SetRateLimit changes how many calls a second are answered with anything but 429; zero lifts
// the limit.
func (p *PayPal) SetRateLimit(callsPerSecond int) {
	limit, burst := limitOf(callsPerSecond)
	p.limiter.SetLimit(limit)
	p.limiter.SetBurst(burst)
}

func (p *PayPal) name() string { return payPalName }

// idempotencyKey is what PayPal knows a repeated request by: the request id, or for a batch of payouts
// the sender_batch_id in its body.
func (p *PayPal) idempotencyKey(r *http.Request) string {
	if isNewPayouts(r) {
		return senderBatchID(r)
	}
	return payPalRequestID(r)
}

func payPalRequestID(r *http.Request) string {
	return strings.TrimSpace(r.Header.Get("Paypal-Request-Id"))
}

// needsKey leaves out the request for a token: a second token is no second anything.
func (p *PayPal) needsKey(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Path != payPalTokenRoute
}

// bodyLimit leaves room for the largest batch of payouts.
func (p *PayPal) bodyLimit() int64 { return maxPayPalBody }

func (p *PayPal) route(r *http.Request) string {
	_, pattern := p.routes.Handler(r)
	_, path, _ := strings.Cut(pattern, " ")
	return cmp.Or(path, pattern)
}

func (p *PayPal) failure(status int) answer {
	failures := map[int]*payPalError{
		http.StatusUnauthorized:        payPalUnauthorized(),
		http.StatusTooManyRequests:     payPalTooManyRequests(),
		http.StatusInternalServerError: payPalInternalError(),
	}
	return failures[status].answer()
}

// ServeHTTP answers as PayPal's API does.
func (p *PayPal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, payPalCertsPath) && !p.limiter.Allow() {
		payPalTooManyRequests().answer().writeTo(w)
		return
	}
	w.Header().Set("Paypal-Debug-Id", newDebugID())
	p.routes.ServeHTTP(w, r)
}

func (p *PayPal) handle(pattern string, operation payPalOperation) {
	p.routes.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if refusal := p.access.check(r); refusal != nil {
			refusal.writeTo(w)
			return
		}
		body, problem := readPayPalBody(r)
		if problem != nil {
			problem.answer().writeTo(w)
			return
		}
		request := payPalRequest{
			id: r.PathValue("id"), query: r.URL.Query(), body: body, whole: r.Header.Get("Prefer") == "return=representation",
		}
		p.perform(r, request, operation).writeTo(w)
	})
}

// perform executes the request, under its request id if it is a write. What is stored for the id is
// the result of the work, whatever becomes of the answer: the same id again shows what was done.
func (p *PayPal) perform(r *http.Request, request payPalRequest, operation payPalOperation) answer {
	work := func() answer { return p.underLock(operation, request) }
	ctx := r.Context()
	run := func(work func() answer) answer { return execute(ctx, work, payPalInternalError().answer()) }
	if key := payPalRequestID(r); key != "" && r.Method == http.MethodPost && !isNewPayouts(r) {
		return p.requests.once(r.URL.Path+" "+key, work, run)
	}
	return run(work)
}

// underLock does the work and renders its result before another request can change it.
func (p *PayPal) underLock(operation payPalOperation, request payPalRequest) answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	status, object, problem := operation(request)
	switch {
	case problem != nil:
		return problem.answer()
	case object == nil:
		return answer{status: status, header: http.Header{}}
	}
	return jsonAnswer(status, object)
}

// payPalRequests stores the result of the first request under each request id and gives it again.
// Of PayPal's 72 hours it knows nothing.
type payPalRequests struct {
	mu      sync.Mutex
	answers map[string]*answer // nil while the first request executes
}

// once runs the work of the first request under a key. A request whose work is not done leaves the
// key to the next one.
func (s *payPalRequests) once(key string, work func() answer, run func(func() answer) answer) answer {
	if known := s.claim(key); known != nil {
		return *known
	}
	defer s.release(key)
	return run(func() answer {
		a := work()
		s.store(key, a)
		return a
	})
}

// claim takes the key for a request, or returns the answer for a key that was taken before.
func (s *payPalRequests) claim(key string) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored, taken := s.answers[key]
	switch {
	case !taken:
		s.answers[key] = nil
		return nil
	case stored == nil:
		return new(payPalConflict().answer())
	}
	again := *stored
	if again.status == http.StatusCreated {
		again.status = http.StatusOK
	}
	return &again
}

func (s *payPalRequests) store(key string, a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[key] = &a
}

func (s *payPalRequests) release(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answers[key] == nil {
		delete(s.answers, key)
	}
}

// payPalNow is the time as PayPal writes it, in whole seconds.
func payPalNow() time.Time { return time.Now().UTC().Truncate(time.Second) }

func newDebugID() string { return strings.ToLower(rand.Text()[:13]) }
