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
	param  string
	route  string
	// object limits the rule to complaints about the object in the request's path, as against one
	// that a parameter names.
	object bool
	// account limits the rule to requests about a connected account.
	account bool
	// instant limits the rule to instant payouts.
	instant bool

	class  provider.Class
	matter provider.Matter
	// name is the failure's code when Stripe gives none.
	name string
}

// rules is the one table from Stripe's 4xx answers to classes; the first line that matches counts.
// A code that is not here is told by its status, and any other 4xx is a refusal. (Codes:
// stripe.com/docs/error-codes. What keeps an idempotency key usable: docs.stripe.com/error-low-level.)
var rules = []rule{
	// A connected account that is not ours, or no longer: that account's matter, and no reason for
	// everybody's steps to wait.
	{code: stripego.ErrorCodeAccountInvalid, account: true, class: provider.Rejected, matter: provider.MatterPayee},

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

	// There is no such destination.
	{code: stripego.ErrorCodeResourceMissing, route: payoutsRoute, class: provider.Rejected, matter: provider.MatterPayee},
	{code: stripego.ErrorCodeResourceMissing, route: transfersRoute, param: "destination", class: provider.Rejected, matter: provider.MatterPayee},

	// There is no such object, or none that a parameter names.
	{code: stripego.ErrorCodeResourceMissing, status: http.StatusNotFound, object: true, class: provider.NotFound},
	{code: stripego.ErrorCodeResourceMissing, class: provider.Rejected},

	// The platform's balance does not cover a transfer. (A payout or a reversal that is refused so is
	// about the balance of the connected account.)
	{code: stripego.ErrorCodeBalanceInsufficient, route: transfersRoute, class: provider.Rejected, matter: provider.MatterOurs},
	{code: stripego.ErrorCodeInsufficientFunds, route: transfersRoute, class: provider.Rejected, matter: provider.MatterOurs},
	{code: stripego.ErrorCodeBalanceInsufficient, class: provider.Rejected},
	{code: stripego.ErrorCodeInsufficientFunds, class: provider.Rejected},

	// The instant method is refused, and a standard payout may go through.
	{code: stripego.ErrorCodeInstantPayoutsUnsupported, class: provider.Rejected, matter: provider.MatterInstant},
	{code: stripego.ErrorCodeInstantPayoutsLimitExceeded, class: provider.Rejected, matter: provider.MatterInstant},
	{code: stripego.ErrorCodeInstantPayoutsCurrencyDisabled, class: provider.Rejected, matter: provider.MatterInstant},
	{code: stripego.ErrorCodeInstantPayoutsConfigDisabled, class: provider.Rejected, matter: provider.MatterInstant},
	{code: stripego.ErrorCodePayoutsLimitExceeded, instant: true, class: provider.Rejected, matter: provider.MatterInstant},
	{code: stripego.ErrorCodeAmountTooLarge, instant: true, class: provider.Rejected, matter: provider.MatterInstant},
	{code: stripego.ErrorCodeAmountTooSmall, instant: true, class: provider.Rejected, matter: provider.MatterInstant},

	// The destination cannot receive: refusals of a transfer or a payout, and why payouts failed later
	// (docs.stripe.com/api/payouts/failures).
	{code: stripego.ErrorCodeAccountClosed, class: provider.Rejected, matter: provider.MatterPayee},
	{code: stripego.ErrorCodeAccountNumberInvalid, class: provider.Rejected, matter: provider.MatterPayee},
	{code: stripego.ErrorCodeBankAccountBadRoutingNumbers, class: provider.Rejected, matter: provider.MatterPayee},
	{code: stripego.ErrorCodeBankAccountDeclined, class: provider.Rejected, matter: provider.MatterPayee},
	{code: stripego.ErrorCodeBankAccountRestricted, class: provider.Rejected, matter: provider.MatterPayee},
	{code: stripego.ErrorCodeBankAccountUnusable, class: provider.Rejected, matter: provider.MatterPayee},
	{code: stripego.ErrorCodeBankAccountUnverified, class: provider.Rejected, matter: provider.MatterPayee},
	{code: stripego.ErrorCodeBankAccountVerificationFailed, class: provider.Rejected, matter: provider.MatterPayee},
	{code: stripego.ErrorCodeDebitNotAuthorized, class: provider.Rejected, matter: provider.MatterPayee},
	{code: stripego.ErrorCodeInvalidCardType, class: provider.Rejected, matter: provider.MatterPayee},
	{code: stripego.ErrorCodeNoAccount, class: provider.Rejected, matter: provider.MatterPayee},
	{code: stripego.ErrorCodePayoutsNotAllowed, class: provider.Rejected, matter: provider.MatterPayee},
	{code: stripego.ErrorCodeRoutingNumberInvalid, class: provider.Rejected, matter: provider.MatterPayee},
	{code: codeTransfersIncapable, class: provider.Rejected, matter: provider.MatterPayee},
	{code: failed(stripego.PayoutFailureCodeAccountFrozen), class: provider.Rejected, matter: provider.MatterPayee},
	{code: failed(stripego.PayoutFailureCodeBankOwnershipChanged), class: provider.Rejected, matter: provider.MatterPayee},
	{code: failed(stripego.PayoutFailureCodeCouldNotProcess), class: provider.Rejected, matter: provider.MatterPayee},
	{code: failed(stripego.PayoutFailureCodeDeclined), class: provider.Rejected, matter: provider.MatterPayee},
	{code: failed(stripego.PayoutFailureCodeIncorrectAccountHolderAddress), class: provider.Rejected, matter: provider.MatterPayee},
	{code: failed(stripego.PayoutFailureCodeIncorrectAccountHolderName), class: provider.Rejected, matter: provider.MatterPayee},
	{code: failed(stripego.PayoutFailureCodeIncorrectAccountHolderTaxID), class: provider.Rejected, matter: provider.MatterPayee},
	{code: failed(stripego.PayoutFailureCodeInvalidAccountNumber), class: provider.Rejected, matter: provider.MatterPayee},
	{code: failed(stripego.PayoutFailureCodeInvalidCurrency), class: provider.Rejected, matter: provider.MatterPayee},
	{code: failed(stripego.PayoutFailureCodeUnsupportedCard), class: provider.Rejected, matter: provider.MatterPayee},

	// Refusals of this one movement.
	{code: stripego.ErrorCodeAmountTooLarge, class: provider.Rejected},
	{code: stripego.ErrorCodeAmountTooSmall, class: provider.Rejected},
	{code: stripego.ErrorCodePayoutsLimitExceeded, class: provider.Rejected},
	{code: stripego.ErrorCodeTransfersNotAllowed, class: provider.Rejected},
	{code: stripego.ErrorCodeBankAccountExists, class: provider.Rejected},
}

// codeTransfersIncapable is Stripe's refusal of a transfer to an account that lacks the capability to
// take one. stripe-go does not name it.
const codeTransfersIncapable stripego.ErrorCode = "insufficient_capabilities_for_transfer"

// failed is the code of a payout that failed, which has the meaning of the same code in a refusal.
func failed(code stripego.PayoutFailureCode) stripego.ErrorCode { return stripego.ErrorCode(code) }

// CodeIdempotencyError means that the key was used before with other parameters.
const CodeIdempotencyError = "idempotency_error"

func (r rule) matches(e *stripego.Error, to request) bool {
	return r.concerns(to) &&
		anyOr(r.code, e.Code) && anyOr(r.status, e.HTTPStatusCode) && anyOr(r.kind, e.Type) && anyOr(r.param, e.Param) &&
		(!r.object || e.Param == "" || e.Param == "id")
}

// concerns says that the rule is about such a request.
func (r rule) concerns(to request) bool {
	return anyOr(r.route, to.route) && anyOr(r.account, to.account) && anyOr(r.instant, to.instant)
}

// anyOr says that a rule wants what there is; zero wants any.
func anyOr[T comparable](wanted, is T) bool {
	var whatever T
	return wanted == whatever || wanted == is
}

// matterOf is whose matter it is that a payout failed with this code after it was accepted.
func matterOf(failure stripego.PayoutFailureCode) provider.Matter {
	for _, r := range rules {
		if r.code == failed(failure) && r.route == "" && !r.instant {
			return r.matter
		}
	}
	return ""
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
func classify(err error, seen provider.Record, to request) *provider.Failure {
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
		f.Class, f.Code = unsettled(to.write && seen.Sent), provider.CodeNetwork
	case !understood:
		f.Class, f.Code = unread(seen.Status, to.write), provider.CodeUnreadable
	case seen.Status >= http.StatusInternalServerError:
		f.Class, f.Code = unsettled(to.write), code(answer, "")
	default:
		refused := refusal(answer, seen, to)
		f.Class, f.Matter, f.Code = refused.class, refused.matter, code(answer, refused.name)
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

// refusal is the line of the table for a 4xx in Stripe's own words.
func refusal(answer *stripego.Error, seen provider.Record, to request) rule {
	for _, r := range rules {
		if r.matches(answer, to) {
			return r
		}
	}
	if seen.Header.Get("Stripe-Should-Retry") == "true" { // then it is no refusal, whatever the status
		return rule{class: unsettled(to.write)}
	}
	return rule{class: provider.Rejected}
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
