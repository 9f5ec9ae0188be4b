package webhook

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/holdfast/holdfast/internal/provider"
)

// ErrMalformed means that the provider signed something that is no event as we know them: answer
// 400. The text names the field.
var ErrMalformed = errors.New("the body is not an event")

// Event is what we take from an event: that it came, and whom to look at.
type Event struct {
	Provider provider.Name
	ID       string
	Type     string
	// Account is Stripe's connected account; empty for the platform's own events.
	Account string
	// Subject is whom it is about at the provider, such as cus_… or I-…; empty when it names nobody.
	Subject string
	// About is what of its subject may have changed; empty when it is of no interest.
	About Topic
	// names are what an event about a batch of payouts calls it, and its item.
	names batchNames
	// OccurredAt is the provider's time; nil when it tells none.
	OccurredAt *time.Time
	// Payload is the body as it arrived.
	Payload []byte
}

// Topic is what an event may have changed.
type Topic string

// The topics.
const (
	Subscriptions Topic = "subscriptions" // of a customer
	Payouts       Topic = "payouts"       // one payout
	Batches       Topic = "batches"       // a batch of payouts, or one of them
	Accounts      Topic = "accounts"      // a connected account
)

// batchNames are the names under which a batch of payouts may be ours; each may be empty.
type batchNames struct {
	SenderBatchID string // as we named it, once for each epoch
	BatchID       string // as PayPal did
	SenderItemID  string // our payout
	ItemID        string
}

// matters says that somebody is to look at what the event is about.
func (e Event) matters() bool { return e.About != "" && e.Subject != "" }

// token is what ids and types are made of. What is longer or has something else in it is not the
// provider's, and could not be stored as text or shown to people.
var token = regexp.MustCompile(`^[!-~]{1,255}$`)

func checkToken(field, value string) error {
	if !token.MatchString(value) {
		return fmt.Errorf("%w: %s is missing or no id", ErrMalformed, field)
	}
	return nil
}

// subjectOf is the subject that a field names, or nobody.
func subjectOf(value string) string {
	if !token.MatchString(value) {
		return ""
	}
	return value
}
