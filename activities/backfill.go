package activities

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/activity"

	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/workflows"
)

// pace keeps a pass from standing in the way of live work: the pass adds to what waits to be read at
// a provider no more than is read within moments.
type pace struct {
	pool  *pgxpool.Pool
	rates map[provider.Name]float64 // calls a second
}

const (
	// moments is how long live work may have to wait behind a pass, in seconds of the provider's rate.
	moments = 2
	// leastAhead lets a pass go on where the rate is low.
	leastAhead = 10
)

// weigh measures what is to be read at the provider, and how many more the pass may add: none before
// half of what it may add at most was read.
func (p pace) weigh(ctx context.Context, name provider.Name, since time.Time) (w subscription.Work, room int, err error) {
	most := max(leastAhead, int(p.rates[name]*moments))
	if w, err = subscription.Weigh(ctx, p.pool, name, since, most); err != nil {
		return w, 0, err
	}
	if room = most - w.Waiting; room < most/2 {
		room = 0
	}
	return w, room, nil
}

// Backfill is what SubscriptionBackfill needs of our own database.
type Backfill struct {
	pool          *pgxpool.Pool
	subscriptions *subscription.Store
	pace          pace
}

// NewBackfill makes the activities. rates are those of the providers' queues, in calls a second.
func NewBackfill(pool *pgxpool.Pool, subscriptions *subscription.Store, rates map[provider.Name]float64) *Backfill {
	return &Backfill{pool: pool, subscriptions: subscriptions, pace: pace{pool, rates}}
}

// BeginBackfill tells when a pass begins, by the database's clock, and how many customers there are
// to compare. If there are any it opens the step that shows the pass when it has to wait.
func (b *Backfill) BeginBackfill(ctx context.Context, in workflows.BeginBackfillInput) (result workflows.BeginBackfillResult, err error) {
	if result.Customers, err = subscription.CountBound(ctx, b.pool, in.Provider); err != nil {
		return result, err
	}
	work, _, err := b.pace.weigh(ctx, in.Provider, time.Time{})
	if err != nil {
		return result, err
	}
	result.StartedAt = work.Now.UTC()
	if in.Step == "" || result.Customers == 0 {
		return result, nil
	}
	return result, openPass(ctx, b.pool, in.Step, in.Provider)
}

func openPass(ctx context.Context, db postgres.DB, name string, p provider.Name) error {
	return step.Open(ctx, db, step.Step{WorkflowID: activity.GetInfo(ctx).WorkflowExecution.ID, Name: name, Provider: p})
}

// MarkUnread marks the next customers who were not read since the given moment, as many as may be
// added now to what is to be read. What it marked before it was lost, it passes over.
func (b *Backfill) MarkUnread(ctx context.Context, in workflows.MarkUnreadInput) (workflows.MarkUnreadResult, error) {
	work, room, err := b.pace.weigh(ctx, in.Provider, in.StartedAt)
	if err != nil || room == 0 {
		return workflows.MarkUnreadResult{Busy: true, Healed: work.Healed}, err
	}
	unread := subscription.Unread{Provider: in.Provider, Before: in.Before, Ended: in.Everyone}
	ids, err := unread.List(ctx, b.pool, in.After, room)
	if err != nil {
		return workflows.MarkUnreadResult{}, err
	}
	result := workflows.MarkUnreadResult{Marked: len(ids), Healed: work.Healed}
	if len(ids) == 0 {
		return result, nil
	}
	result.Next = ids[len(ids)-1]
	return result, postgres.InTx(ctx, b.pool, func(tx pgx.Tx) error {
		return b.subscriptions.Mark(ctx, tx, in.Provider, subscription.ByDrift, ids...)
	})
}

// CountHealed tells what the marks of a pass have led to.
func (b *Backfill) CountHealed(ctx context.Context, in workflows.CountHealedInput) (result workflows.CountHealedResult, err error) {
	if result.Unread, err = subscription.CountDrift(ctx, b.pool, in.Provider); err != nil {
		return result, err
	}
	work, _, err := b.pace.weigh(ctx, in.Provider, in.StartedAt)
	result.Healed = work.Healed
	return result, err
}

// DriftMeter counts what a pass finds. It must not block.
type DriftMeter interface {
	// Compared counts customers whom a provider's list told of, and those of whom something else was known.
	Compared(ctx context.Context, p provider.Name, customers, differing int)
}

// StripeBackfill reads Stripe's list of everybody's subscriptions.
type StripeBackfill struct {
	pool          *pgxpool.Pool
	subscriptions *subscription.Store
	client        *stripe.Client
	attempts      *attempts
	pace          pace
	meter         DriftMeter
}

// NewStripeBackfill makes the activity. A nil client is a Stripe that is not configured.
func NewStripeBackfill(
	pool *pgxpool.Pool, subscriptions *subscription.Store, client *stripe.Client, breaker *provider.Breaker,
	rates map[provider.Name]float64, meter DriftMeter, log *slog.Logger,
) *StripeBackfill {
	return &StripeBackfill{
		pool: pool, subscriptions: subscriptions, client: client, meter: meter, pace: pace{pool, rates},
		attempts: newAttempts(pool, provider.Stripe, breaker, client != nil, log),
	}
}

// CompareStripePage reads one page of Stripe's list, the newest subscriptions first, holds it against
// what is known, and has those customers read who differ.
//
// Made during the pass, a subscription is before the first page and not looked at. The pages are no
// snapshot, and a customer may be marked who does not differ any more: that costs one read. One who
// is missed is found by the next pass.
func (s *StripeBackfill) CompareStripePage(ctx context.Context, in workflows.ComparePageInput) (result workflows.ComparePageResult, err error) {
	if err := openPass(ctx, s.pool, in.Step, provider.Stripe); err != nil {
		return result, err
	}
	err = s.attempts.try(ctx, in.Step, func(ctx context.Context) error {
		result, err = s.compare(ctx, in)
		return err
	})
	return result, err
}

func (s *StripeBackfill) compare(ctx context.Context, in workflows.ComparePageInput) (workflows.ComparePageResult, error) {
	work, room, err := s.pace.weigh(ctx, provider.Stripe, in.StartedAt)
	if err != nil {
		return workflows.ComparePageResult{}, err
	}
	if room == 0 {
		return workflows.ComparePageResult{Busy: true, Healed: work.Healed}, s.finish(ctx, s.pool, in)
	}
	listed, more, err := s.client.PageSubscriptions(ctx, in.Cursor.After)
	if lost(err) {
		return workflows.ComparePageResult{Lost: true}, s.finish(ctx, s.pool, in)
	}
	if err != nil {
		return workflows.ComparePageResult{}, err
	}
	next := behind(in.Cursor, listed, more)
	page := subscription.Page{Provider: provider.Stripe, ReadAt: work.Now, Newest: in.Cursor.Edge, Before: in.Cursor.Seen}
	if next != nil {
		page.Oldest = next.Edge
	}
	for _, l := range listed {
		page.Listed = append(page.Listed, subscription.Listed{Subscription: fromStripe(l), Owner: l.CustomerID, MorePrices: l.MorePrices})
	}
	found, err := s.mark(ctx, in, page)
	if err != nil {
		return workflows.ComparePageResult{}, err
	}
	s.meter.Compared(ctx, provider.Stripe, found.Compared, len(found.Differing))
	return workflows.ComparePageResult{Next: next, Compared: found.Compared, Differing: len(found.Differing), Healed: work.Healed}, nil
}

// mark has those read of whom the page tells something else than is known.
func (s *StripeBackfill) mark(ctx context.Context, in workflows.ComparePageInput, page subscription.Page) (found subscription.Comparison, err error) {
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if found, err = subscription.Compare(ctx, tx, page); err != nil {
			return err
		}
		if err := s.finish(ctx, tx, in); err != nil || len(found.Differing) == 0 {
			return err
		}
		return s.subscriptions.Mark(ctx, tx, provider.Stripe, subscription.ByDrift, found.Differing...)
	})
	return found, err
}

// finish ends the step of a page. The next page opens it again.
func (s *StripeBackfill) finish(ctx context.Context, db postgres.DB, in workflows.ComparePageInput) error {
	return step.Finish(ctx, db, activity.GetInfo(ctx).WorkflowExecution.ID, in.Step, step.Done)
}

// lost says that the subscription behind which a page was to begin is gone.
func lost(err error) bool {
	failure, ok := errors.AsType[*provider.Failure](err)
	return ok && failure.Param == "starting_after"
}

// behind is the cursor of the next page; nil when there is none. Several subscriptions may be made in
// the second at which pages part, so it tells which of them this page and those before had.
func behind(at workflows.BackfillCursor, listed []stripe.Subscription, more bool) *workflows.BackfillCursor {
	if !more {
		return nil
	}
	last := listed[len(listed)-1]
	next := workflows.BackfillCursor{After: last.ID, Edge: &last.Created}
	if at.Edge != nil && at.Edge.Equal(last.Created) {
		next.Seen = at.Seen
	}
	for _, l := range listed {
		if l.Created.Equal(last.Created) {
			next.Seen = append(next.Seen, l.ID)
		}
	}
	return &next
}
