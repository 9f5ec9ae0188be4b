package config

import (
	"errors"
	"fmt"

	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/workflows"
)

// Feed says where the app is told of changes, beside the feed that it may read.
type Feed struct {
	WebhookURL string `name:"webhook-url" env:"HOLDFAST_WEBHOOK_URL" help:"The app's own webhook, to which changes are sent; the same for starter serve and worker."`
}

// Validate is called by the parser.
func (f Feed) Validate() error {
	if f.WebhookURL == "" {
		return nil
	}
	if err := feed.CheckWebhookURL(f.WebhookURL); err != nil {
		return fmt.Errorf("HOLDFAST_WEBHOOK_URL %w", err)
	}
	return nil
}

// Delivers says that changes are sent to a webhook of the app's.
func (f Feed) Delivers() bool { return f.WebhookURL != "" }

// Writer writes changes, and has them sent to the app's webhook if there is one.
func (f Feed) Writer() *feed.Writer {
	if !f.Delivers() {
		return feed.NewWriter(nil)
	}
	return feed.NewWriter(workflows.DeliverChange)
}

// Delivery is how changes are sent to the app's webhook.
type Delivery struct {
	Feed    Feed     `embed:""`
	Secrets []string `name:"webhook-secret" env:"HOLDFAST_WEBHOOK_SECRET" sep:" " help:"What changes are signed with, whsec_…; several, separated by spaces, while it is rolled."`
}

// Validate is called by the parser.
func (d Delivery) Validate() error {
	if err := d.Feed.Validate(); err != nil {
		return err
	}
	_, err := d.Webhook()
	return err
}

// Webhook posts changes to the app; nil when it has no webhook.
func (d Delivery) Webhook() (*feed.Webhook, error) {
	if d.Feed.Delivers() != (len(d.Secrets) > 0) {
		return nil, errors.New("HOLDFAST_WEBHOOK_URL and HOLDFAST_WEBHOOK_SECRET go together: one of them is not set")
	}
	if !d.Feed.Delivers() {
		return nil, nil //nolint:nilnil // not configured is a state of its own, and no error
	}
	webhook, err := feed.NewWebhook(d.Feed.WebhookURL, d.Secrets, 0)
	if err != nil {
		return nil, fmt.Errorf("HOLDFAST_WEBHOOK_SECRET: %w", err)
	}
	return webhook, nil
}
