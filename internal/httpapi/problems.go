package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/holdfast/holdfast/internal/customer"
)

// tidyProblem keeps the offending value out of a problem: it may be personal data, and an answer
// finds its way into logs. And it locates a field that is missing like one that is wrong.
func tidyProblem(_ huma.Context, _ string, answer any) (any, error) {
	problem, ok := answer.(*huma.ErrorModel)
	if !ok {
		return answer, nil
	}
	for _, e := range problem.Errors {
		e.Value = nil
		var missing string
		if _, err := fmt.Sscanf(e.Message, validation.MsgExpectedRequiredProperty, &missing); err == nil {
			e.Location, e.Message = e.Location+"."+missing, "is missing"
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
	case errors.Is(ctx.Err(), context.Canceled):
		return huma.NewError(statusClientGone, "the request was given up")
	}
	a.log(ctx).ErrorContext(ctx, "a request failed", "error", err)
	if unreachable(err) {
		return huma.Error503ServiceUnavailable("the database does not answer; the same request may be sent again, and is done once")
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
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := a.mux.Handler(other); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		writeProblem(w, http.StatusNotFound, "there is nothing here; see /docs")
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	writeProblem(w, http.StatusMethodNotAllowed, "this path takes "+strings.Join(allowed, " and "))
}
