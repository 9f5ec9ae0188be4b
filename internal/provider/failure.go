// Package provider is the edge between Holdfast and the payment providers: one vocabulary for
// what went wrong, a breaker that stops hammering a provider that is down, the health that the
// whole fleet shares, and the keys under which writes are sent.
package provider

import (
	"fmt"
	"strings"
	"time"
)

// Name identifies a provider in rows, task queues, metrics and search attributes.
type Name string

// The providers that Holdfast speaks to.
const (
	Stripe Name = "stripe"
	PayPal Name = "paypal"
)

// Class says what a failure means for the work that met it. Each provider's adapter maps its
// errors to a class in one table; activities/errors.go maps a class to a retry behaviour.
type Class string

const (
	// Transient failures pass by themselves and nothing was done: refused connections, an open
	// breaker, a key in use, a failed read.
	Transient Class = "transient"
	// RateLimited means that the provider asked for fewer calls. Nothing was done.
	RateLimited Class = "rate_limited"
	// Misconfigured means that the provider does not accept us: a wrong or revoked key, a
	// missing permission. It is never the customer's fault, and it stops every step alike.
	Misconfigured Class = "misconfigured"
	// Rejected is a definite refusal of this request: a person has to change something.
	Rejected Class = "rejected"
	// OutcomeUnknown means that a write may or may not have happened. It is not a failure: the
	// same request under the same key tells, or a look-up does.
	OutcomeUnknown Class = "outcome_unknown"
	// NotFound is a definite "there is no such object".
	NotFound Class = "not_found"
	// Held means that money may have moved and nothing tells whether it did: nothing is sent again
	// and nothing is given back until a person has looked.
	Held Class = "held"
)

// Matter says who has to do something about a rejection that concerns a payout, as far as its code
// tells. The empty one is nobody's: the payout ends, and the next one may go through.
type Matter string

const (
	// MatterPayee is about where the money was to go: the payee has to put it right. Several in a row
	// to the same destination pause the payee.
	MatterPayee Matter = "payee"
	// MatterOurs is about the platform's own funds: the payout waits for them.
	MatterOurs Matter = "ours"
	// MatterInstant is about the instant method alone: a standard payout may go through.
	MatterInstant Matter = "instant"
)

// Codes of our own, beside the providers'.
const (
	CodeBreakerOpen   = "breaker_open"   // this process has stopped calling for a few seconds
	CodeProviderDown  = "provider_down"  // the gate knows that the provider is down
	CodeNotConfigured = "not_configured" // no credentials were given to this process
	CodeNetwork       = "network"        // no answer: refused, reset, timed out
	CodeUnreadable    = "unreadable"     // an answer that is not the provider's: an edge's HTML, a cut body
)

// Failure is a provider's answer, or the lack of one, put in one vocabulary. Its text carries
// codes and ids only: a provider's own message may quote an e-mail address.
type Failure struct {
	Provider   Name
	Class      Class
	Code       string        // the provider's own code, such as "balance_insufficient", or one of ours
	Matter     Matter        // whose it is to put right, if it rejects a payout
	Param      string        // the request field that the provider complained about, if it named one
	Status     int           // the HTTP status; zero when there was no answer
	RequestID  string        // what to quote to the provider's support
	RetryAfter time.Duration // as the provider asked; zero when it did not
	Replayed   bool          // the answer is the stored one of an earlier request with the same key
	Cause      error
}

// Error names the provider, the class and the codes, and never quotes the provider's message.
func (f *Failure) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s: %s", f.Provider, f.Class, f.Code)
	if f.Param != "" {
		fmt.Fprintf(&b, " (%s)", f.Param)
	}
	if f.Status != 0 {
		fmt.Fprintf(&b, ", HTTP %d", f.Status)
	}
	if f.RequestID != "" {
		fmt.Fprintf(&b, ", request %s", f.RequestID)
	}
	return b.String()
}

// Unwrap gives the library's error to errors.As; it may quote personal data and is for code only.
func (f *Failure) Unwrap() error { return f.Cause }

// Unsent says that what was to be sent never reached the provider's books: nobody answered before
// anything was sent, or we were turned away at the door. Nothing can have come of it.
func (f *Failure) Unsent() bool {
	return f.Class == RateLimited || f.Class == Misconfigured || f.Class == Transient && f.Status == 0
}

// KnownDown says that the call was not made because the provider is known to be down or not to
// accept us: trying again before the gate says otherwise is pointless.
func (f *Failure) KnownDown() bool {
	return f.Code == CodeProviderDown || f.Code == CodeNotConfigured
}
