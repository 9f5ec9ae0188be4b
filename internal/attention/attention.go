// Package attention is what waits for a person, from wherever it comes, in one list: the oldest
// first.
package attention

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast/holdfast/internal/postgres"
)

// Kind says what waits.
type Kind string

// The kinds of things that wait for a person.
const (
	// Step is a step of a workflow that its provider refused.
	Step Kind = "step"
	// UnknownSubject is somebody at a provider of whom we get webhooks and who is no customer here.
	UnknownSubject Kind = "unknown_subject"
	// DoubleSubscription is a customer who is charged at two providers at once.
	DoubleSubscription Kind = "double_subscription"
	// UndeliveredChange is a change that the app's webhook did not take.
	UndeliveredChange Kind = "undelivered_change"
	// HeldPayout is a payout of which nobody knows what became.
	HeldPayout Kind = "held_payout"
	// UnapprovedRun is a run of payouts that pays more than it may without an approval.
	UnapprovedRun Kind = "unapproved_payout_run"
	// PayoutFunds is money that the platform lacks to pay everybody.
	PayoutFunds Kind = "payout_funds"
	// LatePayout is a payout that should have gone on days ago.
	LatePayout Kind = "late_payout"
	// PartReversal is a part of a paid payout that PayPal took back.
	PartReversal Kind = "payout_part_reversed"
	// PaidTwice is a payout that PayPal paid twice, or after its money had been released.
	PaidTwice Kind = "payout_paid_twice"
)

// Item is one thing that waits. Fields that a kind does not have are empty.
type Item struct {
	Kind       Kind
	ID         string // unique among those of the kind
	Since      time.Time
	CustomerID string
	WorkflowID string
	Step       string
	Provider   string
	Subject    string // at the provider: cus_… or I-…
	ChangeSeq  int64
	PayoutID   string
	RunDate    string // of a run of payouts
	Attempts   int
	LastError  string
	Detail     string // a sentence for people; no personal data
}

// Cursor is a place in the list; the zero value is its beginning.
type Cursor struct {
	Since time.Time `json:"since"`
	Kind  Kind      `json:"kind"`
	ID    string    `json:"id"`
}

// Cursor is the place right after the item.
func (i Item) Cursor() Cursor { return Cursor{Since: i.Since, Kind: i.Kind, ID: i.ID} }

// After says how the source of one kind goes on behind the cursor: with what waits since later than
// that moment, or since that very moment and has an id behind the given one, byte by byte.
func (c Cursor) After(kind Kind) (since time.Time, id string) {
	const last = "\U0010FFFF" // behind every id
	switch strings.Compare(string(kind), string(c.Kind)) {
	case 0:
		return c.Since, c.ID
	case 1:
		return c.Since, ""
	default:
		return c.Since, last
	}
}

// Source lists what waits of one kind, oldest first and then by id, behind the cursor.
type Source func(ctx context.Context, db postgres.DB, after Cursor, limit int) ([]Item, error)

// List lists what waits, of all sources together.
func List(ctx context.Context, db postgres.DB, sources []Source, after Cursor, limit int) ([]Item, error) {
	var all []Item
	for _, source := range sources {
		items, err := source(ctx, db, after, limit)
		if err != nil {
			return nil, fmt.Errorf("list what waits for a person: %w", err)
		}
		all = append(all, items...)
	}
	slices.SortFunc(all, func(a, b Item) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	return all[:min(len(all), limit)], nil
}
