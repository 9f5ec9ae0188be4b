package config

import (
	"errors"
	"fmt"
	"math"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
)

// PayPal says how to reach PayPal, and how fast.
type PayPal struct {
	ClientID     string  `name:"paypal-client-id" env:"PAYPAL_CLIENT_ID" help:"PayPal's client id. Without one PayPal's steps wait, and everything else works."`
	ClientSecret string  `name:"paypal-client-secret" env:"PAYPAL_CLIENT_SECRET" help:"PayPal's client secret."`
	APIBase      string  `name:"paypal-api-base" env:"PAYPAL_API_BASE" help:"Base URL of PayPal's API, if it is not the live one: https://api-m.sandbox.paypal.com for the sandbox."`
	RateLimit    float64 `name:"paypal-rate-limit" env:"PAYPAL_RATE_LIMIT" default:"10" help:"Calls a second to PayPal, of all workers together."`
}

// Validate is called by the parser.
func (p PayPal) Validate() error {
	if !(p.RateLimit > 0) || math.IsInf(p.RateLimit, 1) { // which also refuses what is not a number
		return errors.New("PAYPAL_RATE_LIMIT must be a number above 0, in calls a second")
	}
	if (p.ClientID == "") != (p.ClientSecret == "") {
		return errors.New("PAYPAL_CLIENT_ID and PAYPAL_CLIENT_SECRET go together: one of them is not set")
	}
	_, err := p.Client(nil, nil)
	return err
}

// Client makes the calls to PayPal; nil when no credentials are set.
func (p PayPal) Client(breaker *provider.Breaker, observer provider.Observer) (*paypal.Client, error) {
	if p.ClientID == "" {
		return nil, nil //nolint:nilnil // not configured is a state of its own, and no error
	}
	client, err := paypal.New(paypal.Config{
		ClientID: p.ClientID, ClientSecret: p.ClientSecret, APIBase: p.APIBase, Breaker: breaker, Observer: observer,
	})
	if err != nil {
		return nil, fmt.Errorf("PAYPAL_CLIENT_ID, PAYPAL_CLIENT_SECRET or PAYPAL_API_BASE: %w", err)
	}
	return client, nil
}
