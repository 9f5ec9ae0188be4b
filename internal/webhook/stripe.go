package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	stripewebhook "github.com/stripe/stripe-go/v76/webhook"

	"github.com/holdfast/holdfast/internal/provider"
)

// maxStripeHeader is far above what Stripe sends: a time and two signatures while a secret is rolled.
const maxStripeHeader = 4096

// StripeConfig says what a genuine webhook of Stripe's looks like.
type StripeConfig struct {
	// Secrets sign the events of our own account, and ConnectSecrets those of connected accounts: one
	// each, or several while one takes another's place.
	Secrets        []string
	ConnectSecrets []string
	// Livemode is the mode of our secret key; nil when it is not known.
	Livemode *bool
}

// Stripe tells Stripe's webhooks from everybody else's, and reads whom they are about.
type Stripe struct{ cfg StripeConfig }

// stripeSecret is what Stripe's signing secrets look like. An empty one, as a comma too many makes
// it, would be one that everybody knows.
var stripeSecret = regexp.MustCompile(`^whsec_[!-~]+$`)

// NewStripe makes a reader of Stripe's webhooks. Its error says what is wrong with the secrets, and
// quotes none.
func NewStripe(cfg StripeConfig) (*Stripe, error) {
	if len(cfg.Secrets)+len(cfg.ConnectSecrets) == 0 {
		return nil, errors.New("stripe webhooks: no signing secret is given; Stripe shows it beside the endpoint's URL")
	}
	for _, secret := range slices.Concat(cfg.Secrets, cfg.ConnectSecrets) {
		if !stripeSecret.MatchString(secret) {
			return nil, errors.New("stripe webhooks: each signing secret must be whsec_… without spaces, as Stripe shows it beside the endpoint's URL")
		}
	}
	return &Stripe{cfg}, nil
}

// Read verifies an event and reads whom it is about. An event of the other mode is ErrMode, but one
// from a connected account does not matter: Stripe sends those of test mode to live endpoints too.
func (s *Stripe) Read(_ context.Context, header http.Header, body []byte) (Event, error) {
	signature := header.Get("Stripe-Signature")
	if len(signature) > maxStripeHeader {
		return Event{}, fmt.Errorf("%w: Stripe-Signature is too long", ErrSignature)
	}
	problem := verifyStripe(signature, body, s.cfg.Secrets)
	connect := false
	if problem != nil && len(s.cfg.ConnectSecrets) > 0 {
		problem = verifyStripe(signature, body, s.cfg.ConnectSecrets)
		connect = problem == nil
	}
	if problem != nil {
		return Event{}, problem
	}
	e, livemode, err := readStripe(body)
	if err != nil {
		return Event{}, err
	}
	if s.cfg.Livemode != nil && livemode != *s.cfg.Livemode {
		if !connect {
			return Event{}, fmt.Errorf("%w: livemode is %t", ErrMode, livemode)
		}
		e.About = ""
	}
	return e, nil
}

// verifyStripe says whether one of the secrets signed the body, not longer ago than Stripe's own
// libraries tolerate.
func verifyStripe(signature string, body []byte, secrets []string) error {
	problem := fmt.Errorf("%w: it matches no secret", ErrSignature)
	for _, secret := range secrets {
		err := stripewebhook.ValidatePayload(body, signature, secret)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, stripewebhook.ErrTooOld):
			problem = fmt.Errorf("%w: it is older than %s", ErrSignature, stripewebhook.DefaultTolerance)
		case errors.Is(err, stripewebhook.ErrNotSigned), errors.Is(err, stripewebhook.ErrInvalidHeader):
			return fmt.Errorf("%w: Stripe-Signature is missing or not a time and signatures", ErrSignature)
		}
	}
	return problem
}

// changesSubscriptions says whether, after an event of that type, a customer's subscriptions may be
// others. What events say of the state is never used, so their API version does not matter.
func changesSubscriptions(eventType string) bool {
	switch eventType {
	case "checkout.session.completed",
		"customer.subscription.created",
		"customer.subscription.updated",
		"customer.subscription.deleted",
		"customer.subscription.paused",
		"customer.subscription.resumed",
		"customer.subscription.pending_update_applied",
		"customer.subscription.pending_update_expired",
		"customer.subscription.trial_will_end",
		"invoice.paid",
		"invoice.payment_failed",
		"invoice.payment_action_required",
		"invoice.upcoming",
		"invoice.marked_uncollectible",
		"invoice.payment_succeeded",
		"payment_intent.succeeded",
		"payment_intent.payment_failed",
		"payment_intent.canceled":
		return true
	}
	return false
}

// readStripe reads an event. Whom an event of another type is about is of no interest.
func readStripe(body []byte) (e Event, livemode bool, err error) {
	var read struct {
		ID       string `json:"id"`
		Type     string `json:"type"`
		Created  int64  `json:"created"`
		Livemode bool   `json:"livemode"`
		Account  string `json:"account"`
		Data     struct {
			Object stripeObject `json:"object"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &read); err != nil && !aboutObject(err) {
		return e, false, fmt.Errorf("%w: it is not JSON as Stripe sends it", ErrMalformed)
	}
	if err := errors.Join(checkToken("id", read.ID), checkToken("type", read.Type)); err != nil {
		return e, false, err
	}
	e = Event{Provider: provider.Stripe, ID: read.ID, Type: read.Type, Account: subjectOf(read.Account), Payload: body}
	if read.Created > 0 {
		at := time.Unix(read.Created, 0).UTC()
		e.OccurredAt = &at
	}
	e.About, e.Subject = topicOf(e, read.Data.Object)
	return e, read.Livemode, nil
}

// stripeObject is what we take from the object that an event is about.
type stripeObject struct {
	ID       stripeRef `json:"id"`
	Customer stripeRef `json:"customer"`
	Status   stripeRef `json:"status"`
}

// topicOf is what may have changed, and of whom.
func topicOf(e Event, object stripeObject) (Topic, string) {
	switch {
	case changesSubscriptions(e.Type) && e.Account != "":
		// The customers of a connected account are its own, and nobody's here: the account is whom a
		// person would have to look at.
		return Subscriptions, e.Account
	case changesSubscriptions(e.Type):
		return Subscriptions, subjectOf(string(object.Customer))
	case e.Account != "" && strings.HasPrefix(e.Type, "payout.") && !isUnderWay(object.Status):
		return Payouts, subjectOf(string(object.ID))
	case e.Account != "" && changesAccount(e.Type):
		return Accounts, e.Account
	}
	return "", ""
}

// changesAccount says whether, after an event of that type, a connected account may be another, or
// connected to us no more.
func changesAccount(eventType string) bool {
	return eventType == "account.updated" || strings.HasPrefix(eventType, "account.external_account.") ||
		strings.HasPrefix(eventType, "account.application.")
}

// isUnderWay says that a payout is where the answer to its making had it already: there is nothing to
// read of it before it arrives or fails.
func isUnderWay(status stripeRef) bool { return status == "pending" || status == "in_transit" }

// aboutObject says that an event is an event, though its object is not one: it is about nobody.
func aboutObject(err error) bool {
	mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err)
	return ok && mismatch.Field == "data.object"
}

// stripeRef is the id of something that may be null, an id, or an object with an id; what is none of
// these is nothing.
type stripeRef string

// UnmarshalJSON never fails.
func (r *stripeRef) UnmarshalJSON(raw []byte) error {
	var id string
	if json.Unmarshal(raw, &id) == nil {
		*r = stripeRef(id)
		return nil
	}
	var expanded struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(raw, &expanded) == nil {
		*r = stripeRef(expanded.ID)
	}
	return nil
}
