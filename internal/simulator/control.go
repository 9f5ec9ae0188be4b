package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// controlCall is a call of the control endpoint; GET / lists them.
type controlCall struct {
	pattern string
	help    string
	answer  func(*http.Request) (any, error)
}

func (s *Simulator) controlCalls() []controlCall {
	return slices.Concat([]controlCall{
		{"GET /faults", "the active faults and how many requests each has met", s.getFaults},
		{"PUT /faults", `replace the faults: [{"kind": "500", "method": "POST", "path_prefix": "/v1/customers", ` +
			`"times": 3, "probability": 0.5, "retry_after": 2, "delay_ms": 100, "jitter_ms": 50}], all but kind optional`, s.putFaults},
		{"DELETE /faults", "clear the faults", s.deleteFaults},
		{"GET /calls", "what was asked and answered, counted; ?since=RFC3339 for a part", s.getCalls},
		{"GET /customers", "Stripe's customers, deleted ones too", s.getCustomers},
		{"GET /audit", "accounts with more than one live Stripe customer", s.getAudit},
		{"PUT /stripe/keys", `the secret keys: {"accepted": ["sk_test_…"], "expired": []}`, s.putKeys},
		{"PUT /stripe/promotion-codes", `replace the promotion codes: [{"code": "SPRING", "id": "promo_…", "coupon": "c", ` +
			`"percent_off": 10, "inactive": false}], all but code optional`, s.putPromotionCodes},
		{"PUT /stripe/customers", `add or replace a customer: {"id": "cus_…", "email": "…", "name": "…", "country": "US", ` +
			`"metadata": {}, "promotion_code": "promo_…", "created": "RFC3339", "deleted": false}, all optional`, s.putCustomer},
		{
			"PUT /stripe/rejected-emails", `addresses that Stripe refuses, and the error code: {"ada@example.com": "email_invalid"}`,
			s.putRejectedEmails,
		},
		{"PUT /stripe/rate-limit", `calls a second before 429: {"calls_per_second": 25}, 0 for no limit`, s.putRateLimit},
		{"DELETE /stripe/idempotency-keys", "forget the stored answers, as Stripe does after 24 hours", s.deleteIdempotencyKeys},
		{"GET /healthz", "whether the simulator runs", s.getHealth},
		{"PUT /stripe/webhook", `where events go, and what signs them: {"url": "http://…", "secrets": ["whsec_…"], "connect_secrets": []}, ` +
			`"url" empty for nowhere`, s.putStripeWebhook},
		{"PUT /paypal/webhook", `where events go: {"url": "http://…"}`, s.putPayPalWebhook},
	}, webhookControlCalls(s.stripeWebhooks), webhookControlCalls(s.paypalWebhooks), s.stripeControlCalls(),
		s.stripeMoneyControlCalls(), s.payPalControlCalls(), s.payPalMoneyControlCalls())
}

func (s *Simulator) controlHandler() http.Handler {
	mux := http.NewServeMux()
	calls := s.controlCalls()
	for _, call := range calls {
		mux.HandleFunc(call.pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			writeControl(w, call, r)
		})
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		for _, call := range calls {
			_, _ = fmt.Fprintf(w, "%-51s %s\n", call.pattern, call.help)
		}
	})
	return mux
}

func writeControl(w http.ResponseWriter, call controlCall, r *http.Request) {
	status := http.StatusOK
	body, err := call.answer(r)
	var bad badRequestError
	switch {
	case errors.As(err, &bad):
		status = http.StatusBadRequest
	case err != nil:
		status = http.StatusInternalServerError
	}
	if err != nil {
		body = map[string]string{"error": err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(body); err != nil {
		return // the client has gone
	}
}

// badRequestError is the caller's mistake.
type badRequestError struct{ cause error }

func (e badRequestError) Error() string { return e.cause.Error() }
func (e badRequestError) Unwrap() error { return e.cause }

func decode[T any](r *http.Request) (T, error) {
	var value T
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&value); err != nil {
		return value, badRequestError{fmt.Errorf("read the body (GET / shows its form): %w", err)}
	}
	return value, nil
}

func (s *Simulator) getFaults(*http.Request) (any, error) { return s.Faults(), nil }

func (s *Simulator) putFaults(r *http.Request) (any, error) {
	active, err := decode[[]Fault](r)
	if err != nil {
		return nil, err
	}
	if err := validateFaults(active); err != nil {
		return nil, badRequestError{err}
	}
	return active, s.SetFaults(active...)
}

func (s *Simulator) deleteFaults(*http.Request) (any, error) { return []Fault{}, s.ClearFaults() }

// callReport is the answer of GET /calls.
type callReport struct {
	Total           int         `json:"total"`
	RateLimited     int         `json:"rate_limited"`
	PostsWithoutKey int         `json:"posts_without_key"` // since the start, whatever the part asked for
	FirstSuccess    *time.Time  `json:"first_success,omitempty"`
	Counts          []CallCount `json:"counts"`
	Dropped         int         `json:"dropped"` // older calls that are not kept and not counted here
}

func (s *Simulator) getCalls(r *http.Request) (any, error) {
	calls := s.Calls()
	if since := r.URL.Query().Get("since"); since != "" {
		moment, err := time.Parse(time.RFC3339, since)
		if err != nil {
			return nil, badRequestError{fmt.Errorf("read since: %w", err)}
		}
		calls = calls.Since(moment)
	}
	report := callReport{
		Total:           len(calls),
		RateLimited:     len(calls.WithStatus(http.StatusTooManyRequests)),
		PostsWithoutKey: s.PostsWithoutKey(),
		Counts:          calls.Counts(),
		Dropped:         s.calls.droppedCalls(),
	}
	if first, ok := calls.FirstSuccess(); ok {
		report.FirstSuccess = &first
	}
	return report, nil
}

func (s *Simulator) getCustomers(*http.Request) (any, error) { return s.stripe.Customers(), nil }

func (s *Simulator) getAudit(*http.Request) (any, error) { return s.stripe.Audit(), nil }

type stripeKeysBody struct {
	Accepted []string `json:"accepted"`
	Expired  []string `json:"expired"`
}

func (s *Simulator) putKeys(r *http.Request) (any, error) {
	keys, err := decode[stripeKeysBody](r)
	if err != nil {
		return nil, err
	}
	s.stripe.SetKeys(keys.Accepted, keys.Expired)
	return keys, nil
}

func (s *Simulator) putPromotionCodes(r *http.Request) (any, error) {
	codes, err := decode[[]PromotionCode](r)
	if err != nil {
		return nil, err
	}
	if err := s.stripe.SetPromotionCodes(codes...); err != nil {
		return nil, badRequestError{err}
	}
	return codes, nil
}

func (s *Simulator) putCustomer(r *http.Request) (any, error) {
	seed, err := decode[Customer](r)
	if err != nil {
		return nil, err
	}
	c, err := s.stripe.PutCustomer(seed)
	if err != nil {
		return nil, badRequestError{err}
	}
	return c, nil
}

func (s *Simulator) putRejectedEmails(r *http.Request) (any, error) {
	codes, err := decode[map[string]string](r)
	if err != nil {
		return nil, err
	}
	if codes == nil {
		return nil, badRequestError{errors.New("the body must be an object; {} rejects nothing")}
	}
	s.stripe.setRejectedEmails(codes)
	return codes, nil
}

type rateLimitBody struct {
	CallsPerSecond int `json:"calls_per_second"`
}

func (s *Simulator) putRateLimit(r *http.Request) (any, error) {
	limit, err := decode[rateLimitBody](r)
	if err != nil {
		return nil, err
	}
	s.stripe.SetRateLimit(limit.CallsPerSecond)
	return limit, nil
}

func (s *Simulator) deleteIdempotencyKeys(*http.Request) (any, error) {
	return map[string]int{"pruned": s.stripe.PruneIdempotencyKeys()}, nil
}

func (s *Simulator) getHealth(*http.Request) (any, error) {
	return map[string]string{"status": "ok"}, nil
}
