package paypal

import (
	"cmp"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	paypalgo "github.com/plutov/paypal/v4"

	"github.com/holdfast/holdfast/internal/provider"
)

const (
	// CodeDuplicateBatch means that PayPal has taken a batch under this sender_batch_id before, and
	// does not say which in a way that we can use.
	CodeDuplicateBatch = "duplicate_batch"
	// CodeValidation is PayPal's refusal of a batch for what is in it; see BadItems.
	CodeValidation = "VALIDATION_ERROR"
	// CodeInsufficientFunds is PayPal's refusal of a batch that the account's balance does not cover.
	CodeInsufficientFunds = "INSUFFICIENT_FUNDS"
)

// rule is a line of the table: which answers it is about, where zero matches any, and what they
// mean.
type rule struct {
	name   string // PayPal's, or OAuth's
	says   string // the name, or an issue
	when   func(complaint) bool
	status int
	route  string

	class provider.Class
	// code is the failure's code when PayPal gives none.
	code string
	// as is the failure's code whatever PayPal gives.
	as       string
	matter   provider.Matter
	replayed bool
}

// rules is the one table from PayPal's 4xx answers to classes; the first line that matches counts.
// What is not here is a refusal. (Names: developer.paypal.com/api/rest/responses, RFC 6749 for
// OAuth's.)
var rules = []rule{
	// The sender_batch_id was used: whatever was sent under it first may have been carried out.
	{when: complaint.duplicate, route: payoutsPath, class: provider.OutcomeUnknown, as: CodeDuplicateBatch, replayed: true},

	// The platform's balance does not cover a batch, and PayPal refuses it as a whole.
	{says: CodeInsufficientFunds, route: payoutsPath, class: provider.Rejected, as: CodeInsufficientFunds, matter: provider.MatterOurs},
	{says: "SENDER_INSUFFICIENT_FUNDS", route: payoutsPath, class: provider.Rejected, as: CodeInsufficientFunds, matter: provider.MatterOurs},

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

	// What is in a batch: of its header, which is ours, of a receiver, or of anything else.
	{name: CodeValidation, when: complaint.aboutHeader, route: payoutsPath, class: provider.Rejected, as: CodeValidation, matter: provider.MatterOurs},
	{name: CodeValidation, when: complaint.aboutReceivers, route: payoutsPath, class: provider.Rejected, as: CodeValidation, matter: provider.MatterPayee},
	{name: CodeValidation, route: payoutsPath, class: provider.Rejected, as: CodeValidation},

	// A search that finds too much.
	{name: CodeSearchTooLarge, route: transactionsPath, class: provider.Rejected, as: CodeSearchTooLarge},
}

// itemMatters is the one table of whose it is to put right what PayPal says of an item, or of a batch
// that it refuses for the same. What is not here is nobody's: PayPal's own trouble (INTERNAL_ERROR,
// UNDEFINED), a decision that may fall otherwise next time (RISK_DECLINE, REGULATORY_BLOCKED,
// TRANSACTION_LIMIT_EXCEEDED), a mistake in what was sent (DUPLICATE_ITEM, ZERO_AMOUNT). (Codes:
// docs.paypal.ai/growth/payouts/manage-payouts/reports-transaction-logs, and the names of
// developer.paypal.com/api/payments.payouts-batch/v1/errors.)
var itemMatters = map[string]provider.Matter{
	// The receiver, the account behind the address, and what it may receive.
	"CLOSED_MARKET":                       provider.MatterPayee, // takes nothing from other countries
	"CURRENCY_COMPLIANCE":                 provider.MatterPayee,
	"CURRENCY_NOT_SUPPORTED_FOR_RECEIVER": provider.MatterPayee,
	"INVALID_EMAIL":                       provider.MatterPayee,
	"PENDING_RECIPIENT_NON_HOLDING_CURRENCY_PAYMENT_PREFERENCE": provider.MatterPayee, // has to accept the currency
	"RECEIVER_ACCOUNT_LIMITATION":                               provider.MatterPayee,
	"RECEIVER_ACCOUNT_LOCKED":                                   provider.MatterPayee,
	"RECEIVER_COUNTRY_NOT_ALLOWED":                              provider.MatterPayee,
	"RECEIVER_REFUSED":                                          provider.MatterPayee,
	"RECEIVER_STATE_RESTRICTED":                                 provider.MatterPayee,
	"RECEIVER_UNCONFIRMED":                                      provider.MatterPayee,
	"RECEIVER_UNREGISTERED":                                     provider.MatterPayee,
	"RECEIVER_YOUTH_ACCOUNT":                                    provider.MatterPayee,
	"RECEIVING_LIMIT_EXCEEDED":                                  provider.MatterPayee,
	"SELF_PAY_NOT_ALLOWED":                                      provider.MatterPayee, // the address is our own account's
	"UNVERIFIED_RECIPIENT_NOT_SUPPORTED":                        provider.MatterPayee,

	// Our account, its money and its limits.
	"ACCOUNT_RESTRICTED":                  provider.MatterOurs,
	"ACCOUNT_UNCONFIRMED_EMAIL":           provider.MatterOurs,
	"APPROVER_DENIED":                     provider.MatterOurs,
	"AUTHORIZATION_ERROR":                 provider.MatterOurs,
	"GAMER_FAILED_FUNDING_SOURCE_CHECK":   provider.MatterOurs,
	"GAMING_INVALID_PAYMENT_FLOW":         provider.MatterOurs,
	CodeInsufficientFunds:                 provider.MatterOurs,
	"NEGATIVE_BALANCE":                    provider.MatterOurs,
	"NON_HOLDING_CURRENCY":                provider.MatterOurs, // we have no balance in it
	"POS_LIMIT_EXCEEDED":                  provider.MatterOurs,
	"REFUSED_ACCESS_DENIED":               provider.MatterOurs,
	"REQUIRED_SCOPE_MISSING":              provider.MatterOurs,
	"SENDER_ACCOUNT_LOCKED":               provider.MatterOurs,
	"SENDER_ACCOUNT_UNVERIFIED":           provider.MatterOurs,
	"SENDER_EMAIL_UNCONFIRMED":            provider.MatterOurs,
	"SENDER_INSUFFICIENT_FUNDS":           provider.MatterOurs,
	"SENDER_LOCKED":                       provider.MatterOurs,
	"SENDER_RESTRICTED":                   provider.MatterOurs,
	"SENDER_STATE_RESTRICTED":             provider.MatterOurs,
	"SPENDING_LIMIT_EXCEEDED":             provider.MatterOurs,
	"TRANSACTION_DECLINED_BY_TRAVEL_RULE": provider.MatterOurs, // our account has to be verified for it
	"USER_COUNTRY_NOT_ALLOWED":            provider.MatterOurs,
	"USER_FUNDING_SOURCE_INELIGIBLE":      provider.MatterOurs,
}

// ItemMatter says whose it is to put right what an item's error code says; empty is nobody's.
func ItemMatter(errorCode string) provider.Matter { return itemMatters[errorCode] }

func (r rule) matches(c complaint, status int, route string) bool {
	return (r.name == "" || r.name == c.name) && (r.says == "" || c.says(r.says)) && (r.when == nil || r.when(c)) &&
		(r.status == 0 || r.status == status) && (r.route == "" || r.route == route)
}

// errNotPayPal is an answer that was read, and is not what PayPal answers.
var errNotPayPal = errors.New("the answer is not the object that was asked for")

// complaint is an error in PayPal's own words, without its message, which may quote anything.
type complaint struct {
	name, debugID string
	details       []detail
}

// detail is one of the things that PayPal complains about at once.
type detail struct{ issue, field string }

// first is what a failure tells of the details.
func (c complaint) first() detail {
	if len(c.details) == 0 {
		return detail{}
	}
	return c.details[0]
}

// says that the word is the complaint's name, or one of its issues.
func (c complaint) says(word string) bool {
	return c.name == word || slices.ContainsFunc(c.details, func(d detail) bool { return d.issue == word })
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
	for _, d := range answer.Details {
		c.details = append(c.details, detail{issue: d.Issue, field: d.Field})
	}
	return c, true
}

// classify says what a failed call means: from what the transport saw, since the library loses the
// status of what it cannot read. Whatever is not understood leaves the outcome of a write unknown.
func classify(err error, seen provider.Record, made request) *provider.Failure {
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
		f.Class, f.Code = unsettled(made.write && seen.Sent), provider.CodeNetwork
	case !understood || seen.Status < http.StatusBadRequest:
		f.Class, f.Code = unread(seen.Status, made.write), provider.CodeUnreadable
	case seen.Status >= http.StatusInternalServerError:
		f.Class, f.Code = unsettled(made.write), answer.code("")
	default:
		r := ruleFor(answer, seen.Status, made.route)
		f.Class, f.Code, f.Matter, f.Replayed = r.class, cmp.Or(r.as, answer.code(r.code)), r.matter, r.replayed
		f.Param = param(answer.first().field)
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

// ruleFor is the line of the table for a 4xx in PayPal's own words.
func ruleFor(answer complaint, status int, route string) rule {
	for _, r := range rules {
		if r.matches(answer, status, route) {
			return r
		}
	}
	return rule{class: provider.Rejected, matter: ItemMatter(answer.code(""))}
}

// code is the fine-grained issue, else the error's name, else our name for the answer.
func (c complaint) code(ours string) string {
	return cmp.Or(word(c.first().issue), word(c.name), ours, "unknown")
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
// "/plan/billing_cycles/0", "items" of "items[3].receiver".
func param(pointer string) string {
	pointer = strings.TrimLeft(pointer, fieldStart)
	if end := strings.IndexAny(pointer, "/.["); end >= 0 {
		pointer = pointer[:end]
	}
	return word(pointer)
}
