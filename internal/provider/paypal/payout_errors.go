package paypal

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast/holdfast/internal/provider"
)

// fieldStart is what PayPal's pointers to fields begin with, or not.
const fieldStart = "#/$."

// itemField is how PayPal points at an item of a batch, and what it names of it: items[3].receiver,
// /items/3/amount/value, $.items[3].
var itemField = regexp.MustCompile(`(?i)^[` + fieldStart + `]*items(?:\[(\d{1,6})\]|[/.](\d{1,6})(?:[/.]|$))[/.]?(.*)$`)

// item is the index of the item that the detail is about, and what it is about there.
func (d detail) item() (index int, field string, ok bool) {
	found := itemField.FindStringSubmatch(d.field)
	if found == nil {
		return 0, "", false
	}
	index, err := strconv.Atoi(found[1] + found[2])
	return index, found[3], err == nil
}

// headerField is how PayPal names the batch's header, or what is in it.
var headerField = regexp.MustCompile(`(?i)^(sender_batch_header|sender_batch_id|email_subject)$`)

var (
	usedBefore = regexp.MustCompile(`(?i)duplicate|already`)
	batchsID   = regexp.MustCompile(`(?i)batch|request_id`)
)

// duplicate says that the complaint is, or may be, that the sender_batch_id was used before. The
// name that PayPal gives to it means other things too: unless it says which, in a word that we know,
// the batch must not be taken for refused.
func (c complaint) duplicate() bool {
	for _, d := range append([]detail{{issue: c.name}}, c.details...) {
		text := d.field + " " + d.issue
		if _, _, aboutItem := d.item(); !aboutItem && usedBefore.MatchString(text) && batchsID.MatchString(text) {
			return true
		}
	}
	return c.name == "USER_BUSINESS_ERROR" && !slices.ContainsFunc(c.details, detail.isKnown)
}

func (d detail) isKnown() bool { return itemMatters[d.issue] != "" }

// aboutHeader says that the complaint is about the batch's header and about no item.
func (c complaint) aboutHeader() bool {
	return c.every(func(d detail) bool { return headerField.MatchString(param(d.field)) })
}

// aboutReceivers says that the complaint is about receivers and nothing else.
func (c complaint) aboutReceivers() bool {
	return c.every(func(d detail) bool {
		_, field, ok := d.item()
		return ok && strings.EqualFold(field, "receiver")
	})
}

// every says that there are details, all of which the condition holds for.
func (c complaint) every(holds func(detail) bool) bool {
	return len(c.details) > 0 && !slices.ContainsFunc(c.details, func(d detail) bool { return !holds(d) })
}

// badItemsError is a refusal for what is in some of the items.
type badItemsError struct {
	error

	items []int
}

func (e *badItemsError) Unwrap() error { return e.error }

// BadItems gives the indexes of the items for which PayPal has refused the batch, each once and in
// order; none when it names none, or one that the batch does not have.
func BadItems(err error) []int {
	if bad, ok := errors.AsType[*badItemsError](err); ok {
		return bad.items
	}
	return nil
}

// refused is what came of the batch when PayPal answered with an error. One that links to a batch says
// that there is one, in whatever words.
func (r PayoutBatchRequest) refused(err error, kept *errorBody) (CreatedBatch, error) {
	failure, ok := errors.AsType[*provider.Failure](err)
	if !ok {
		return CreatedBatch{}, err
	}
	if id := kept.linkedBatch(); id != "" && saysOfTheBatch(failure) {
		return CreatedBatch{ID: id, Duplicate: true}, nil
	}
	if failure.Code == CodeValidation && failure.Class == provider.Rejected {
		failure.Cause = &badItemsError{error: failure.Cause, items: r.badItems(failure.Cause)}
	}
	return CreatedBatch{}, failure
}

// saysOfTheBatch says that the failure is PayPal's answer to what was sent, as against one at the door.
func saysOfTheBatch(f *provider.Failure) bool {
	return f.Status >= http.StatusBadRequest && f.Status < http.StatusInternalServerError && !f.Unsent()
}

func (r PayoutBatchRequest) badItems(cause error) []int {
	answer, _ := complaintOf(cause)
	var bad []int
	for _, d := range answer.details {
		index, _, ok := d.item()
		switch {
		case !ok:
		case index >= len(r.Items):
			return nil // PayPal counts otherwise than we think
		default:
			bad = append(bad, index)
		}
	}
	slices.Sort(bad)
	return slices.Compact(bad)
}

// linkedBatch is the batch that an error links to; empty when it links to none, or to several.
func (e *errorBody) linkedBatch() string {
	var answer any
	if e == nil || json.Unmarshal(e.text, &answer) != nil {
		return ""
	}
	ids := linkedBatches(answer)
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) != 1 {
		return ""
	}
	return ids[0]
}

// linkedBatches looks for links wherever PayPal may put them: it has had them beside the details and
// inside, as "links" and as "link".
func linkedBatches(part any) []string {
	var ids []string
	switch part := part.(type) {
	case map[string]any:
		if href, ok := part["href"].(string); ok {
			ids = append(ids, batchIn(href)...)
		}
		for _, field := range part {
			ids = append(ids, linkedBatches(field)...)
		}
	case []any:
		for _, entry := range part {
			ids = append(ids, linkedBatches(entry)...)
		}
	}
	return ids
}

// batchIn gives the id of the batch that a link leads to. Of the link nothing else is used: the host
// is PayPal's to change.
func batchIn(href string) []string {
	link, err := url.Parse(href)
	if err != nil {
		return nil
	}
	id, ok := strings.CutPrefix("/"+strings.TrimPrefix(link.EscapedPath(), "/"), payoutsPath+"/")
	if !ok || !payoutID.MatchString(id) {
		return nil
	}
	return []string{id}
}
