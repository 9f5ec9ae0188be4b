package paypal

import (
	"cmp"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	paypalgo "github.com/plutov/paypal/v4"

	"github.com/holdfast/holdfast/internal/provider"
)

// rule is a line of the table: which answers it is about, where zero matches any, and what they
// mean.
type rule struct {
	name   string // PayPal's, or OAuth's
	status int

	class provider.Class
	// code is the failure's code when PayPal gives none.
	code string
}

// rules is the one table from PayPal's 4xx answers to classes; the first line that matches counts.
// What is not here is a refusal. (Names: developer.paypal.com/api/rest/responses, RFC 6749 for
// OAuth's.)
var rules = []rule{
	// Ours to put right: nothing was done, and everybody's steps wait.
	{name: "invalid_client", class: provider.Misconfigured},
	{name: "unauthorized_client", class: provider.Misconfigured},
	{name: "invalid_token", class: provider.Misconfigured},
	{status: http.StatusUnauthorized, class: provider.Misconfigured, code: "unauthorized"},
	{status: http.StatusForbidden, class: provider.Misconfigured, code: "forbidden"},

	// Passing: nothing was done, and the request id stays good.
	{status: http.StatusTooManyRequests, class: provider.RateLimited, code: "rate_limit"},
	{status: http.StatusConflict, class: provider.Transient, code: "conflict"},

	// There is no such object.
	{name: "RESOURCE_NOT_FOUND", status: http.StatusNotFound, class: provider.NotFound},
	{name: "INVALID_RESOURCE_ID", status: http.StatusNotFound, class: provider.NotFound},
}

func (r rule) matches(c complaint, status int) bool {
	return (r.name == "" || r.name == c.name) && (r.status == 0 || r.status == status)
}

// errNotPayPal is an answer that was read, and is not what PayPal answers.
var errNotPayPal = errors.New("the answer is not the object that was asked for")

// complaint is an error in PayPal's own words, without its message, which may quote anything.
type complaint struct {
	name, issue, field, debugID string
}

// complaintOf gives PayPal's complaint, if the error is one: what the library makes of an edge's
// page or an empty body has no name.
func complaintOf(err error) (c complaint, ok bool) {
	if refused, is := errors.AsType[*refusedGrantError](err); is {
		return complaint{name: refused.code}, refused.code != ""
	}
	answer, is := errors.AsType[*paypalgo.ErrorResponse](err)
	if !is || answer.Name == "" {
		return complaint{}, false
	}
	c = complaint{name: answer.Name, debugID: answer.DebugID}
	if len(answer.Details) > 0 {
		c.issue, c.field = answer.Details[0].Issue, answer.Details[0].Field
	}
	return c, true
}

// classify says what a failed call means: from what the transport saw, since the library loses the
// status of what it cannot read. Whatever is not understood leaves the outcome of a write unknown.
func classify(err error, seen provider.Record, write bool) *provider.Failure {
	if refusal, ok := errors.AsType[*provider.Failure](err); ok { // the breaker's, or ours
		return refusal
	}
	answer, understood := complaintOf(err)
	f := &provider.Failure{
		Provider:   provider.PayPal,
		Status:     seen.Status,
		RequestID:  cmp.Or(word(seen.Header.Get("Paypal-Debug-Id")), word(answer.debugID)),
		RetryAfter: provider.RetryAfter(seen.Header, time.Now()),
		Cause:      err,
	}
	switch {
	case seen.Status == 0:
		f.Class, f.Code = unsettled(write && seen.Sent), provider.CodeNetwork
	case !understood:
		f.Class, f.Code = unread(seen.Status, write), provider.CodeUnreadable
	case seen.Status >= http.StatusInternalServerError:
		f.Class, f.Code = unsettled(write), answer.code("")
	default:
		f.Class, f.Code = refused(answer, seen.Status)
		f.Param = param(answer.field)
	}
	return f
}

// unsettled is the class of a call without a definite answer.
func unsettled(mayBeDone bool) provider.Class {
	if mayBeDone {
		return provider.OutcomeUnknown
	}
	return provider.Transient
}

// unread is the class of an answer that is not PayPal's own JSON, or is cut. What its status says
// is believed only where that ends nothing: a firewall's 403 stops us as surely as PayPal's.
func unread(status int, write bool) provider.Class {
	for _, r := range rules {
		if r.name == "" && r.status == status {
			return r.class
		}
	}
	return unsettled(write)
}

// refused is the class and the code of a 4xx in PayPal's own words.
func refused(answer complaint, status int) (provider.Class, string) {
	for _, r := range rules {
		if r.matches(answer, status) {
			return r.class, answer.code(r.code)
		}
	}
	return provider.Rejected, answer.code("")
}

// code is the fine-grained issue, else the error's name, else our name for the answer.
func (c complaint) code(ours string) string {
	return cmp.Or(word(c.issue), word(c.name), ours, "unknown")
}

// A failure's text reaches logs, histories and people. PayPal's names, issues, fields and ids are
// plain words; anything else could quote what was sent.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

func word(s string) string {
	if !plainWord.MatchString(s) {
		return ""
	}
	return s
}

// param is the field that PayPal complains about, without what is inside it: "plan" of
// "/plan/billing_cycles/0".
func param(pointer string) string {
	field, _, _ := strings.Cut(strings.TrimLeft(pointer, "/$."), "/")
	return word(field)
}
