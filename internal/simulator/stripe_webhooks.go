package simulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The secrets that sign Stripe's events when none are given.
const (
	DefaultStripeWebhookSecret = "whsec_simulator"
	DefaultStripeConnectSecret = "whsec_simulator_connect" //nolint:gosec // the simulator keeps no secrets
)

// StripeWebhook is where Stripe's events go, and what signs them.
type StripeWebhook struct {
	URL string `json:"url"`
	// Secrets sign the events of the account itself, and ConnectSecrets those of connected accounts,
	// for which Stripe has an endpoint of its own. While a secret is rolled there are two, and each
	// event has a signature of both. Empty means DefaultStripeWebhookSecret and
	// DefaultStripeConnectSecret.
	Secrets        []string `json:"secrets,omitempty"`
	ConnectSecrets []string `json:"connect_secrets,omitempty"`
}

func (s *Stripe) setWebhookSecrets(webhook StripeWebhook) {
	webhook.Secrets, webhook.ConnectSecrets = slices.Clone(webhook.Secrets), slices.Clone(webhook.ConnectSecrets)
	if len(webhook.Secrets) == 0 {
		webhook.Secrets = []string{DefaultStripeWebhookSecret}
	}
	if len(webhook.ConnectSecrets) == 0 {
		webhook.ConnectSecrets = []string{DefaultStripeConnectSecret}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets = webhook
}

// signWebhook signs an event of the account itself.
func (s *Stripe) signWebhook(body []byte, _ string, at time.Time) (http.Header, error) {
	s.mu.Lock()
	secrets := s.secrets.Secrets
	s.mu.Unlock()
	return stripeSignature(body, at, secrets), nil
}

// signConnectWebhook signs an event of a connected account.
func (s *Stripe) signConnectWebhook(body []byte, _ string, at time.Time) (http.Header, error) {
	s.mu.Lock()
	secrets := s.secrets.ConnectSecrets
	s.mu.Unlock()
	return stripeSignature(body, at, secrets), nil
}

// stripeSignature is Stripe's scheme v1: an HMAC of the time and the body with each secret.
func stripeSignature(body []byte, at time.Time, secrets []string) http.Header {
	seconds := strconv.FormatInt(at.Unix(), 10)
	parts := []string{"t=" + seconds}
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(seconds + "."))
		mac.Write(body)
		parts = append(parts, "v1="+hex.EncodeToString(mac.Sum(nil)))
	}
	return http.Header{
		"Stripe-Signature": {strings.Join(parts, ",")},
		"User-Agent":       {"Stripe/1.0 (+https://stripe.com/docs/webhooks)"},
	}
}
