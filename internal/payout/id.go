package payout

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// identified gives a payout that is planned its id. It follows from what may be there only once, so that
// whoever plans the same payout again, as after a restored backup, meets what was sent of the first: the
// same keys at Stripe, and the same metadata.
func (p Payout) identified() Payout {
	p.ID = "po_" + digest(p.Kind, p.RunDate, p.PayeeID, p.ManualID, p.RetryOf, p.Gross.Currency, p.Part, p.Attempt)
	return p
}

// batchID is the id of a batch, which follows from its members for the same reason. Members that left a
// batch together may make another one: that is the next one's turn.
func batchID(kind batchKind, splitFrom string, members []string, turn int) string {
	return "pb_" + digest(kind.runDate, kind.currency, splitFrom, members, turn)
}

// digest is a text of 24 characters that stands for the values.
func digest(values ...any) string {
	encoded, err := json.Marshal(values)
	if err != nil {
		panic(fmt.Sprintf("payout: encode what an id is made of: %v", err)) // they are texts, numbers and dates
	}
	sum := sha256.Sum256(encoded)
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:24]
}

var idPattern = regexp.MustCompile(`^po_[a-z0-9]{24}$`)

// ValidID says whether the text can be a payout's id.
func ValidID(id string) bool { return idPattern.MatchString(id) }

var batchIDPattern = regexp.MustCompile(`^pb_[a-z0-9]{24}$`)

// ValidBatchID says whether the text can be the id of a batch at PayPal.
func ValidBatchID(id string) bool { return batchIDPattern.MatchString(id) }
