package stripe

import (
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	stripego "github.com/stripe/stripe-go/v76"

	"github.com/holdfast/holdfast/internal/provider"
)

// rule is a line of the table: which answers it is about, where zero matches any, and what they
// mean.
type rule struct {
	code   stripego.ErrorCode
	status int
	kind   stripego.ErrorType
	// object limits the rule to complaints about the object in the request's path, as against one
	// that a parameter names.
	object bool

	class provider.Class
	// name is the failure's code when Stripe gives none.
	name string
}

// rules is the one table from Stripe's 4xx answers to classes; the first line that matches counts.
// A code that is not here is told by its status, and any other 4xx is a refusal. (Codes:
// stripe.com/docs/error-codes. What keeps an idempotency key usable: docs.stripe.com/error-low-level.)
var rules = []rule{
	// Ours to put right: nothing was done, and everybody's steps wait.
	{code: stripego.ErrorCodeAPIKeyExpired, class: provider.Misconfigured},
	{code: stripego.ErrorCodePlatformAPIKeyExpired, class: provider.Misconfigured},
	{code: stripego.ErrorCodeSecretKeyRequired, class: provider.Misconfigured},
	{code: stripego.ErrorCodeLivemodeMismatch, class: provider.Misconfigured},
	{status: http.StatusUnauthorized, class: provider.Misconfigured, name: "unauthorized"},
	{status: http.StatusForbidden, class: provider.Misconfigured, name: "forbidden"},

	// Passing: nothing was done, and the key stays good.
	{code: stripego.ErrorCodeLockTimeout, class: provider.Transient},
	{code: stripego.ErrorCodeIdempotencyKeyInUse, class: provider.Transient},
	{code: stripego.ErrorCodeRateLimit, class: provider.RateLimited},
	{status: http.StatusTooManyRequests, class: provider.RateLimited, name: "rate_limit"},
	{status: http.StatusConflict, class: provider.Transient, name: "conflict"},

	// The key was used with other parameters: a person looks before anything is sent again.
	{kind: stripego.ErrorTypeIdempotency, class: provider.Rejected, name: CodeIdempotencyError},

	// There is no such object, or none that a parameter names.
	{code: stripego.ErrorCodeResourceMissing, status: http.StatusNotFound, object: true, class: provider.NotFound},
	{code: stripego.ErrorCodeResourceMissing, class: provider.Rejected},

	// Refusals of a payout or a transfer. Which of them concern the payee, our funds or the instant
	// method is for the payout's own rules to say.
	{code: stripego.ErrorCodeBalanceInsufficient, class: provider.Rejected},
	{code: stripego.ErrorCodeInsufficientFunds, class: provider.Rejected},
	{code: stripego.ErrorCodeInstantPayoutsUnsupported, class: provider.Rejected},
	{code: stripego.ErrorCodeInstantPayoutsLimitExceeded, class: provider.Rejected},
	{code: stripego.ErrorCodeInstantPayoutsCurrencyDisabled, class: provider.Rejected},
	{code: stripego.ErrorCodeInstantPayoutsConfigDisabled, class: provider.Rejected},
	{code: stripego.ErrorCodePayoutsNotAllowed, class: provider.Rejected},
	{code: stripego.ErrorCodePayoutsLimitExceeded, class: provider.Rejected},
	{code: stripego.ErrorCodeBankAccountBadRoutingNumbers, class: provider.Rejected},
	{code: stripego.ErrorCodeBankAccountDeclined, class: provider.Rejected},
	{code: stripego.ErrorCodeBankAccountExists, class: provider.Rejected},
	{code: stripego.ErrorCodeBankAccountRestricted, class: provider.Rejected},
	{code: stripego.ErrorCodeBankAccountUnusable, class: provider.Rejected},
	{code: stripego.ErrorCodeBankAccountUnverified, class: provider.Rejected},
	{code: stripego.ErrorCodeBankAccountVerificationFailed, class: provider.Rejected},
	{code: stripego.ErrorCodeAccountClosed, class: provider.Rejected},
	{code: stripego.ErrorCodeNoAccount, class: provider.Rejected},
	{code: stripego.ErrorCodeDebitNotAuthorized, class: provider.Rejected},
	{code: stripego.ErrorCodeAmountTooLarge, class: provider.Rejected},
	{code: stripego.ErrorCodeAmountTooSmall, class: provider.Rejected},
}

// CodeIdempotencyError means that the key was used before with other parameters.
const CodeIdempotencyError = "idempotency_error"

func (r rule) matches(e *stripego.Error) bool {
	return (r.code == "" || r.code == e.Code) &&
		(r.status == 0 || r.status == e.HTTPStatusCode) &&
		(r.kind == "" || r.kind == e.Type) &&
		(!r.object || e.Param == "" || e.Param == "id")
}

// errNotStripe is an answer that was read, and is not what Stripe answers.
var errNotStripe = errors.New("the answer is not the object that was asked for")

// checkPage tells Stripe's list from JSON of somebody else's: half a list, or none, must not be
// taken for an absence.
func checkPage(page stripego.ListMeta, items int) error {
	if page.URL == "" || page.HasMore && items == 0 {
		return errNotStripe
	}
	return nil
}

// classify says what a failed call means: from what the transport saw, since stripe-go gives an
// error of its own only for answers that it could read. Whatever is not understood leaves the
// outcome of a write unknown.
func classify(err error, seen provider.Record, write bool) *provider.Failure {
	if refusal, ok := errors.AsType[*provider.Failure](err); ok { // the breaker's
		return refusal
	}
	f := &provider.Failure{
		Provider:   provider.Stripe,
		Status:     seen.Status,
		RequestID:  token(seen.Header.Get("Request-Id")),
		RetryAfter: provider.RetryAfter(seen.Header, time.Now()),
		Replayed:   replayed(seen.Header),
		Cause:      err,
	}
	var answer *stripego.Error
	understood := errors.As(err, &answer) && answer.Type != ""
	switch {
	case seen.Status == 0:
		f.Class, f.Code = unsettled(write && seen.Sent), provider.CodeNetwork
	case !understood:
		f.Class, f.Code = unread(seen.Status, write), provider.CodeUnreadable
	case seen.Status >= http.StatusInternalServerError:
		f.Class, f.Code = unsettled(write), code(answer, "")
	default:
		f.Class, f.Code = refused(answer, seen, write)
		f.Param = param(answer.Param)
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

// unread is the class of an answer that is not Stripe's own JSON, or is cut. What its status says
// is believed only where that ends nothing: a firewall's 403 stops us as surely as Stripe's.
func unread(status int, write bool) provider.Class {
	for _, r := range rules {
		if r.code == "" && r.status == status {
			return r.class
		}
	}
	return unsettled(write)
}

// refused is the class and the code of a 4xx in Stripe's own words.
func refused(answer *stripego.Error, seen provider.Record, write bool) (provider.Class, string) {
	for _, r := range rules {
		if r.matches(answer) {
			return r.class, code(answer, r.name)
		}
	}
	if seen.Header.Get("Stripe-Should-Retry") == "true" { // then it is no refusal, whatever the status
		return unsettled(write), code(answer, "")
	}
	return provider.Rejected, code(answer, "")
}

// replayed says that the answer is the stored one of an earlier request under the same key.
func replayed(h http.Header) bool {
	original := h.Get("Original-Request")
	return h.Get("Idempotent-Replayed") == "true" || original != "" && original != h.Get("Request-Id")
}

// A failure's text reaches logs, histories and people. Stripe's codes, fields and ids are plain
// words; anything else could quote what was sent.
var word = regexp.MustCompile(`^[A-Za-z0-9_]{1,100}$`)

func token(s string) string {
	if !word.MatchString(s) {
		return ""
	}
	return s
}

// code is Stripe's code, else our name for the answer, else the kind of error.
func code(answer *stripego.Error, name string) string {
	for _, candidate := range []string{string(answer.Code), name, string(answer.Type)} {
		if c := token(candidate); c != "" {
			return c
		}
	}
	return "unknown"
}

// param is the field that Stripe complains about, without the key inside it: "metadata" of
// "metadata[…]".
func param(p string) string {
	field, _, _ := strings.Cut(p, "[")
	return token(field)
}
