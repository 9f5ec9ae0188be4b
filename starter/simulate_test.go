package main

import (
	"bytes"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/simulator"
)

// simulated is the command as the arguments make it.
func simulated(t *testing.T, args ...string) *simulateCommand {
	t.Helper()
	var told commands
	parser, err := kong.New(&told)
	require.NoError(t, err)
	_, err = parser.Parse(append([]string{"simulate"}, args...))
	require.NoError(t, err)
	return &told.Simulate
}

func TestSimulateAcceptsWhatItSaysItAccepts(t *testing.T) {
	t.Parallel()
	cfg := simulated(t).config()
	require.Equal(t, simulator.DefaultStripeKey, cfg.StripeKey)
	require.Equal(t, []string{simulator.DefaultStripeWebhookSecret}, cfg.StripeWebhook.Secrets)
	require.Equal(t, simulator.DefaultPayPalClientID, cfg.PayPalClientID)
	require.Equal(t, simulator.DefaultPayPalClientSecret, cfg.PayPalClientSecret)
	require.Equal(t, simulator.DefaultPayPalWebhookID, cfg.PayPalWebhookID)
	require.Empty(t, cfg.StripeWebhook.URL+cfg.PayPalWebhookURL)
}

func TestSimulateServesBothProvidersAsTold(t *testing.T) {
	t.Parallel()
	c := simulated(t,
		"--control-listen=127.0.0.1:0", "--stripe-listen=127.0.0.1:0", "--paypal-listen=127.0.0.1:0", "--rate-limit=25",
		"--stripe-key=sk_test_1", "--stripe-webhook-url=http://127.0.0.1:1/s", "--stripe-webhook-secrets=whsec_1,whsec_2",
		"--paypal-client-id=id", "--paypal-client-secret=secret", "--paypal-rate-limit=30", "--paypal-webhook-url=http://127.0.0.1:1/p",
		"--paypal-webhook-id=W1",
	)
	cfg := c.config()
	require.Equal(t, 25, cfg.StripeRateLimit)
	require.Equal(t, "sk_test_1", cfg.StripeKey)
	require.Equal(t, []string{"whsec_1", "whsec_2"}, cfg.StripeWebhook.Secrets)
	require.Equal(t, "id", cfg.PayPalClientID)
	require.Equal(t, "secret", cfg.PayPalClientSecret)
	require.Equal(t, 30, cfg.PayPalRateLimit)
	sim, err := simulator.Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sim.Close()) })
	require.Equal(t, "http://127.0.0.1:1/s", sim.StripeWebhooks().Target())
	require.Equal(t, "http://127.0.0.1:1/p", sim.PayPalWebhooks().Target())
	require.Equal(t, "W1", sim.PayPal().WebhookID())

	var out bytes.Buffer
	c.print(&out, sim)
	for _, told := range []string{sim.StripeURL(), sim.PayPalURL(), sim.ControlURL(), "http://127.0.0.1:1/s", "http://127.0.0.1:1/p"} {
		require.Contains(t, out.String(), told)
	}
}
