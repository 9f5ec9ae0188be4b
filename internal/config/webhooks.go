package config

import (
	"errors"
	"fmt"
	"time"

	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/internal/webhook"
)

// minRetention is longer than providers send an event again.
const minRetention = 4 * 24 * time.Hour

// Webhooks says what the providers' webhooks are signed with. A provider without is not listened to.
type Webhooks struct {
	StripeSecrets   []string      `name:"stripe-webhook-secret" env:"STRIPE_WEBHOOK_SECRET" help:"Signing secret of Stripe's endpoint; two, comma-separated, while it is rolled."`
	ConnectSecrets  []string      `name:"stripe-connect-webhook-secret" env:"STRIPE_CONNECT_WEBHOOK_SECRET" help:"The same, of the endpoint for connected accounts."`
	StripeKey       string        `name:"stripe-secret-key" env:"STRIPE_SECRET_KEY" help:"Stripe's secret key, for its mode alone: events of the other mode are refused."`
	PayPalIDs       []string      `name:"paypal-webhook-id" env:"PAYPAL_WEBHOOK_ID" help:"Id of PayPal's webhook; two, comma-separated, while one takes another's place."`
	PayPalCertHosts []string      `name:"paypal-cert-hosts" env:"PAYPAL_CERT_HOSTS" help:"Hosts of PayPal's certificates, if they are not PayPal's own."`
	PayPalCertCA    string        `name:"paypal-cert-ca-file" env:"PAYPAL_CERT_CA_FILE" help:"PEM file of the authorities to believe, if they are not the system's."`
	Retention       time.Duration `name:"webhook-retention" env:"HOLDFAST_WEBHOOK_RETENTION" default:"720h" help:"How long events are kept, at least 96h."`
}

// Validate is called by the parser.
func (w Webhooks) Validate() error {
	if w.Retention < minRetention {
		return errors.New("HOLDFAST_WEBHOOK_RETENTION must be at least 96h: providers send an event again for 3 days, and it is to count once")
	}
	if _, err := w.Stripe(); err != nil {
		return err
	}
	_, err := w.PayPal()
	return err
}

// Stripe reads Stripe's webhooks; nil when no secret is set.
func (w Webhooks) Stripe() (*webhook.Stripe, error) {
	if len(w.StripeSecrets)+len(w.ConnectSecrets) == 0 {
		return nil, nil //nolint:nilnil // not configured is a state of its own, and no error
	}
	cfg := webhook.StripeConfig{Secrets: w.StripeSecrets, ConnectSecrets: w.ConnectSecrets}
	if w.StripeKey != "" {
		live := stripe.Livemode(w.StripeKey)
		cfg.Livemode = &live
	}
	reader, err := webhook.NewStripe(cfg)
	if err != nil {
		return nil, fmt.Errorf("STRIPE_WEBHOOK_SECRET or STRIPE_CONNECT_WEBHOOK_SECRET: %w", err)
	}
	return reader, nil
}

// PayPal reads PayPal's webhooks; nil when no webhook's id is set.
func (w Webhooks) PayPal() (*webhook.PayPal, error) {
	if len(w.PayPalIDs) == 0 {
		return nil, nil //nolint:nilnil // not configured is a state of its own, and no error
	}
	roots, err := webhook.ReadCertPool(w.PayPalCertCA)
	if err != nil {
		return nil, fmt.Errorf("PAYPAL_CERT_CA_FILE: %w", err)
	}
	reader, err := webhook.NewPayPal(webhook.PayPalConfig{WebhookIDs: w.PayPalIDs, CertHosts: w.PayPalCertHosts, Roots: roots})
	if err != nil {
		return nil, fmt.Errorf("PAYPAL_WEBHOOK_ID or PAYPAL_CERT_HOSTS: %w", err)
	}
	return reader, nil
}
