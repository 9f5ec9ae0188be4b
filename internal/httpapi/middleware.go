package httpapi

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast/holdfast/internal/config"
)

const securityScheme = "key"

// scopesMetadata is where an operation says its scopes. One without is open to everybody.
const scopesMetadata = "scopes"

// keyed says in an operation which keys may call it: those with one of the scopes.
func keyed(o huma.Operation, scopes ...config.Scope) huma.Operation {
	o.Metadata = map[string]any{scopesMetadata: scopes}
	o.Security = []map[string][]string{{securityScheme: {}}}
	o.Errors = append(o.Errors, http.StatusUnauthorized, http.StatusForbidden)
	return o
}

// authorize lets a call through whose key has one of the operation's scopes.
func (a *API) authorize(ctx huma.Context, next func(huma.Context)) {
	scopes, ok := ctx.Operation().Metadata[scopesMetadata].([]config.Scope)
	if !ok {
		next(ctx)
		return
	}
	scheme, secret, _ := strings.Cut(ctx.Header("Authorization"), " ")
	key, known := a.deps.Keys.Find(secret)
	switch {
	case !strings.EqualFold(scheme, "Bearer"):
		ctx.SetHeader("WWW-Authenticate", "Bearer")
		_ = huma.WriteErr(a.huma, ctx, http.StatusUnauthorized, "give your key as Authorization: Bearer KEY")
	case !known:
		ctx.SetHeader("WWW-Authenticate", "Bearer")
		_ = huma.WriteErr(a.huma, ctx, http.StatusUnauthorized, "this key is not known here")
	case !key.May(scopes...):
		_ = huma.WriteErr(a.huma, ctx, http.StatusForbidden, "this key is not for such calls")
	default:
		requestOf(ctx.Context()).key = key.Name
		next(ctx)
	}
}

// request is what is known of a request while it is answered.
type request struct {
	id  string // as the answer says it, to be quoted when something went wrong
	key string // the name of the caller's key, once it was looked at
}

type requestKey struct{}

func requestOf(ctx context.Context) *request {
	about, ok := ctx.Value(requestKey{}).(*request)
	if !ok {
		return &request{}
	}
	return about
}

// actor is the name of the key that makes the call.
func actor(ctx context.Context) string { return requestOf(ctx).key }

// log is for what goes wrong while a request is answered: its lines are found by the request's id.
func (a *API) log(ctx context.Context) *slog.Logger {
	about := requestOf(ctx)
	return a.deps.Log.With("request_id", about.id, "key", about.key)
}

// requestTimeout bounds the answering of a request, a little below the time after which the server
// would cut the connection without a word.
const requestTimeout = 40 * time.Second

// identified gives a request its id and its bound.
func identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		about := &request{id: rand.Text()}
		w.Header().Set("Request-Id", about.id)
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), requestKey{}, about), requestTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// logged writes a line for every request, without bodies, ids or personal data, and counts it.
func (a *API) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(recorder, r)
		took := time.Since(began)
		if a.deps.Requests != nil {
			a.deps.Requests.ObserveRequest(r.Context(), r.Method, r.Pattern, recorder.status, took)
		}
		about := requestOf(r.Context())
		a.deps.Log.LogAttrs(r.Context(), logLevel(r.Pattern, recorder.status), "request",
			slog.String("route", r.Pattern), slog.Int("status", recorder.status), slog.Int64("duration_ms", took.Milliseconds()),
			slog.String("request_id", about.id), slog.String("key", about.key))
	})
}

// logLevel keeps the probes of load balancers, which come every few seconds, and webhooks, which come
// in bursts, out of a usual log.
func logLevel(route string, status int) slog.Level {
	switch {
	case status >= http.StatusInternalServerError:
		return slog.LevelError
	case route == routeHealthz || route == routeReadyz, strings.HasPrefix(route, routeWebhooks) && status == http.StatusOK:
		return slog.LevelDebug
	default:
		return slog.LevelInfo
	}
}

// statusRecorder remembers the status of an answer.
type statusRecorder struct {
	http.ResponseWriter

	status int
}

func (s *statusRecorder) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController through.
func (s *statusRecorder) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// recovering answers 500 for a panic, and keeps the process. An answer that broke off halfway is for
// the server to cut.
func (a *API) recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { //nolint:contextcheck // the problem that is written needs none
			caught := recover()
			switch {
			case caught == nil:
			case caught == http.ErrAbortHandler: //nolint:errorlint // a panic's value, which is that very one
				panic(caught)
			case errors.Is(r.Context().Err(), context.Canceled): // huma panics when the client is gone
			default:
				a.log(r.Context()).ErrorContext(r.Context(), "a request panicked", "panic", caught, "stack", string(debug.Stack()))
				writeProblem(w, http.StatusInternalServerError, "this is our fault, and it was logged")
			}
		}()
		next.ServeHTTP(w, r)
	})
}
