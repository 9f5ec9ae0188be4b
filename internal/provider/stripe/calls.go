package stripe

import (
	"context"
	"regexp"
	"time"

	stripego "github.com/stripe/stripe-go/v76"
)

// one makes a call whose answer is an object. What check does not recognize is not Stripe's.
func one[T any](ctx context.Context, c *Client, r request, send func(context.Context) (*T, error), check func(*T) bool) (*T, error) {
	var answer *T
	err := c.run(ctx, r, func(ctx context.Context) (err error) {
		if answer, err = send(ctx); err == nil && !check(answer) {
			return errNotStripe
		}
		return err
	})
	return answer, err
}

// all reads a list to its end, since half of one would prove an absence that is none. An error that
// is no Failure means that the context ended while it waited its turn for a further page.
func all[T any](ctx context.Context, c *Client, what string, id func(T) string, page func(after *string) ([]T, bool, error)) ([]T, error) {
	var (
		items []T
		after *string
	)
	for {
		found, more, err := page(after)
		if err != nil {
			return nil, err
		}
		items = append(items, found...)
		if !more {
			return items, nil
		}
		after = new(id(items[len(items)-1]))
		if err := c.waitForPage(ctx, what); err != nil {
			return nil, err
		}
	}
}

// onePage are the parameters of one page of a list.
func onePage(ctx context.Context, account string, after *string) stripego.ListParams {
	return stripego.ListParams{
		Context: ctx, StripeAccount: unlessEmpty(account), Limit: new(int64(pageSize)), StartingAfter: after, Single: true,
	}
}

// createdFrom limits a list to what was made then or later; the zero time limits nothing.
func createdFrom(t time.Time) *stripego.RangeQueryParams {
	if t.IsZero() {
		return nil
	}
	return &stripego.RangeQueryParams{GreaterThanOrEqual: t.Unix()}
}

func isPage(meta stripego.ListMeta, items int) bool { return checkPage(meta, items) == nil }

// each makes what we keep of a page's objects.
func each[A, B any](objects []A, from func(A) B) []B {
	made := make([]B, len(objects))
	for i, object := range objects {
		made[i] = from(object)
	}
	return made
}

// An id goes into a request's path or is what money goes to: nothing else may be taken for one.
var (
	accountID         = regexp.MustCompile(`^acct_[A-Za-z0-9_]{1,250}$`)
	externalAccountID = regexp.MustCompile(`^(ba|card)_[A-Za-z0-9_]{1,250}$`)
	transferID        = regexp.MustCompile(`^tr_[A-Za-z0-9_]{1,250}$`)
	payoutID          = regexp.MustCompile(`^po_[A-Za-z0-9_]{1,250}$`)
)

// CodeIDInvalid is our refusal of an id that cannot be one; the failure's Param says of what.
const CodeIDInvalid = "id_invalid"

func checkID(id, of string, form *regexp.Regexp) error {
	if !form.MatchString(id) {
		return rejected(CodeIDInvalid, of)
	}
	return nil
}
