package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/holdfast/holdfast/internal/customer"
)

// withoutValues keeps the offending value out of a problem: it may be personal data, and an answer
// finds its way into logs.
func withoutValues(_ huma.Context, _ string, answer any) (any, error) {
	if problem, ok := answer.(*huma.ErrorModel); ok {
		for _, e := range problem.Errors {
			e.Value = nil
		}
	}
	return answer, nil
}

// fail turns an error of the domain into a problem. What is our own fault is logged and not shown.
func (a *API) fail(ctx context.Context, err error) error {
	var field *customer.FieldError
	switch {
	case errors.As(err, &field):
		return huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{Location: "body." + field.Field, Message: field.Reason})
	case errors.Is(err, customer.ErrNotFound):
		return huma.Error404NotFound("there is no such customer", &huma.ErrorDetail{Location: "path.id", Message: "no customer has this id"})
	case errors.Is(err, customer.ErrConflict):
		return huma.Error409Conflict("a customer with this id and other content exists",
			&huma.ErrorDetail{Location: "body.id", Message: "is taken; to change a customer, use PATCH"})
	case ctx.Err() != nil:
		return huma.NewError(statusClientGone, "the request was given up")
	}
	a.deps.Log.ErrorContext(ctx, "a request failed", "error", err)
	if unreachable(err) {
		return huma.Error503ServiceUnavailable("the database cannot be reached; nothing was stored, try again")
	}
	return huma.Error500InternalServerError("this is our fault, and it was logged")
}

// statusClientGone is for the log: the client does not see it.
const statusClientGone = 499

// unreachable says that Postgres was away, not that it refused.
func unreachable(err error) bool {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgconn.Timeout(err) || refused.Code[:2] == "57" || refused.Code[:2] == "53"
	}
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// writeProblem answers where huma does not.
func writeProblem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	problem := huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail}
	if err := json.NewEncoder(w).Encode(&problem); err != nil {
		return // the client is gone
	}
}

// unknownRoute answers for a path that is not ours, or that is not for this method.
func (a *API) unknownRoute(w http.ResponseWriter, r *http.Request) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := a.mux.Handler(other); pattern != "/" {
			w.Header().Set("Allow", method)
			writeProblem(w, http.StatusMethodNotAllowed, "this path takes "+method)
			return
		}
	}
	writeProblem(w, http.StatusNotFound, "there is nothing here; see /docs")
}
