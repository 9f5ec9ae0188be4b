package httpapi

import (
	"context"
	"crypto/rand"
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
	secret, bearer := strings.CutPrefix(ctx.Header("Authorization"), "Bearer ")
	key, known := a.deps.Keys.Find(secret)
	switch {
	case !bearer:
		ctx.SetHeader("WWW-Authenticate", "Bearer")
		_ = huma.WriteErr(a.huma, ctx, http.StatusUnauthorized, "give your key as Authorization: Bearer KEY")
	case !known:
		ctx.SetHeader("WWW-Authenticate", "Bearer")
		_ = huma.WriteErr(a.huma, ctx, http.StatusUnauthorized, "this key is not known here")
	case !key.May(scopes...):
		_ = huma.WriteErr(a.huma, ctx, http.StatusForbidden, "this key is not for such calls")
	default:
		next(huma.WithValue(ctx, actorKey{}, key.Name))
	}
}

type actorKey struct{}

// actor is the name of the key that makes the call.
func actor(ctx context.Context) string {
	name, _ := ctx.Value(actorKey{}).(string)
	return name
}

// logged writes a line for every request, without bodies, ids or personal data, and counts it.
func (a *API) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		requestID := rand.Text()
		w.Header().Set("Request-Id", requestID)
		recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(recorder, r)
		took := time.Since(began)
		_, route := a.mux.Handler(r)
		if a.deps.Requests != nil {
			a.deps.Requests.ObserveRequest(r.Context(), r.Method, route, recorder.status, took)
		}
		level := slog.LevelDebug
		if recorder.status >= http.StatusInternalServerError {
			level = slog.LevelError
		}
		if a.deps.Log.Enabled(r.Context(), level) {
			a.deps.Log.Log(r.Context(), level, "request", "route", route, "status", recorder.status,
				"duration_ms", took.Milliseconds(), "request_id", requestID)
		}
	})
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

// recovering answers 500 for a panic, and keeps the process.
func (a *API) recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { //nolint:contextcheck // the problem that is written needs none
			if caught := recover(); caught != nil {
				a.deps.Log.ErrorContext(r.Context(), "a request panicked", "panic", caught, "stack", string(debug.Stack()))
				writeProblem(w, http.StatusInternalServerError, "this is our fault, and it was logged")
			}
		}()
		next.ServeHTTP(w, r)
	})
}
