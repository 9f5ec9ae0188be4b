package activities

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/workflows"
)

// Delivery sends changes to the app's webhook.
type Delivery struct {
	pool    *pgxpool.Pool
	webhook *feed.Webhook
	turns   chan struct{}
	log     *slog.Logger
}

// maxPosts is how many posts a process makes at a time: an app that hangs must not take the slots of
// the other activities of the queue.
const maxPosts = 100

// NewDelivery makes the activities. A nil webhook is one that is not configured: its deliveries wait.
func NewDelivery(pool *pgxpool.Pool, webhook *feed.Webhook, log *slog.Logger) *Delivery {
	return &Delivery{pool: pool, webhook: webhook, turns: make(chan struct{}, maxPosts), log: log}
}

// Codes of deliveries that were not attempted.
const (
	codeNoWebhook = "not_configured" // this worker has no HOLDFAST_WEBHOOK_URL
	codeNoTurn    = "too_many_posts" // the app hangs, and others wait for its answer already
)

// DeliverChange posts a change to the app. After a crash it is posted again, under the same webhook-id.
func (d *Delivery) DeliverChange(ctx context.Context, in workflows.DeliveryInput) error {
	if d.webhook == nil {
		d.log.WarnContext(ctx, "a change is to be delivered, and HOLDFAST_WEBHOOK_URL is not set in this worker", "seq", in.Seq)
		return undelivered(ctx, &feed.PostError{Code: codeNoWebhook})
	}
	change, err := feed.Get(ctx, d.pool, in.Seq)
	if errors.Is(err, feed.ErrNotFound) { // as after a restored backup
		return temporal.NewNonRetryableApplicationError(err.Error(), workflows.ErrInvalidInput, nil)
	}
	if err != nil {
		return err
	}
	if !d.takeTurn(ctx) {
		spread := rand.N(10 * time.Second) //nolint:gosec // spreading load needs no secrecy
		return undelivered(ctx, &feed.PostError{Code: codeNoTurn, RetryAfter: workflows.DeliveryBackoff(1) + spread})
	}
	defer func() { <-d.turns }()
	return undelivered(ctx, d.webhook.Post(ctx, change))
}

// takeTurn waits a moment for its turn.
func (d *Delivery) takeTurn(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	select {
	case d.turns <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// undelivered turns a failed post into the error that Temporal acts on: everything is tried again but
// what the app wants no more of. The app may ask for a longer pause than is due, not for a shorter one.
func undelivered(ctx context.Context, err error) error {
	failed, ok := errors.AsType[*feed.PostError](err)
	if !ok {
		return err
	}
	due := workflows.DeliveryBackoff(int(activity.GetInfo(ctx).Attempt))
	return temporal.NewApplicationErrorWithOptions(failed.Error(), failed.Code, temporal.ApplicationErrorOptions{
		NonRetryable: failed.Final, NextRetryDelay: max(due, failed.RetryAfter),
	})
}

// GiveUpChange shows to people that a change was not delivered.
func (d *Delivery) GiveUpChange(ctx context.Context, in workflows.GiveUpInput) error {
	d.log.WarnContext(ctx, "a change was not delivered to the app", "seq", in.Seq, "last_error", in.LastError)
	return feed.GiveUp(ctx, d.pool, in.Seq, in.LastError)
}
