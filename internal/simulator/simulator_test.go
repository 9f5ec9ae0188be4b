package simulator_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"github.com/holdfast/holdfast/internal/simulator"
)

const (
	patience = 10 * time.Second // how long a condition may take that is about to hold
	pollEach = 5 * time.Millisecond
)

// bundle is a simulator and the means to call it.
type bundle struct {
	*simulator.Simulator

	http *http.Client
}

func setup(t *testing.T, cfg simulator.Config) bundle {
	t.Helper()
	sim, err := simulator.Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sim.Close()) })
	// A connection of its own for each request: on a reused one, Go repeats a request with an
	// idempotency key by itself when the connection breaks, and the fault is not seen.
	transport := &http.Transport{DisableKeepAlives: true}
	return bundle{Simulator: sim, http: &http.Client{Transport: transport}}
}

// client is a Stripe client as Holdfast builds it: no retries, no telemetry, quiet.
func (b bundle) client(key string) *client.API {
	backend := func() stripe.Backend {
		return stripe.GetBackendWithConfig(stripe.APIBackend, &stripe.BackendConfig{
			URL:               stripe.String(b.StripeURL()),
			HTTPClient:        b.http,
			MaxNetworkRetries: stripe.Int64(0),
			EnableTelemetry:   stripe.Bool(false),
			LeveledLogger:     &stripe.LeveledLogger{Level: stripe.LevelNull},
		})
	}
	return client.New(key, &stripe.Backends{API: backend(), Connect: backend(), Uploads: backend()})
}

func (b bundle) stripe() *client.API { return b.client(simulator.DefaultStripeKey) }

// create makes a customer for an account, under a key.
func (b bundle) create(ctx context.Context, account, key string) (*stripe.Customer, error) {
	params := &stripe.CustomerParams{Email: stripe.String(account + "@example.com")}
	params.Context = ctx
	params.AddMetadata("holdfast_customer_id", account)
	params.SetIdempotencyKey(key)
	return b.stripe().Customers.New(params)
}

// reply is an HTTP answer as it came over the wire.
type reply struct {
	status int
	header http.Header
	body   string
}

// send makes a request with the right key and without the library's help.
func (b bundle) send(t *testing.T, method, path string, form url.Values, header http.Header) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, b.StripeURL()+path, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+simulator.DefaultStripeKey)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for name := range header {
		r.Header.Set(name, header.Get(name))
	}
	return b.do(t, r)
}

func (b bundle) do(t *testing.T, r *http.Request) reply {
	t.Helper()
	response, err := b.http.Do(r)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return reply{status: response.StatusCode, header: response.Header, body: string(body)}
}

func (b bundle) control(t *testing.T, method, path, body string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, b.ControlURL()+path, strings.NewReader(body))
	require.NoError(t, err)
	return b.do(t, r)
}

// stripeErr is the library's typed error, or a failed test.
func stripeErr(t *testing.T, err error) *stripe.Error {
	t.Helper()
	var typed *stripe.Error
	require.ErrorAs(t, err, &typed)
	return typed
}

// notTyped requires an error without Stripe's error JSON: the outcome is unknown to the caller.
func notTyped(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	var typed *stripe.Error
	require.NotErrorAs(t, err, &typed)
}

func decodeJSON[T any](t *testing.T, text string) T {
	t.Helper()
	var value T
	require.NoError(t, json.Unmarshal([]byte(text), &value), text)
	return value
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	require.Eventually(t, holds, patience, pollEach, what)
}

func TestStart_ListensOnFreeLoopbackPorts(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})

	for _, address := range []string{b.StripeURL(), b.ControlURL()} {
		parsed, err := url.Parse(address)
		require.NoError(t, err)
		require.Equal(t, "127.0.0.1", parsed.Hostname())
		require.NotEqual(t, "0", parsed.Port())
	}
	require.NotEqual(t, b.StripeURL(), b.ControlURL())
}

func TestStart_NamesTheAddressThatIsTaken(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	taken := strings.TrimPrefix(b.StripeURL(), "http://")

	_, err := simulator.Start(t.Context(), simulator.Config{StripeAddr: taken})
	require.ErrorContains(t, err, taken)

	_, err = simulator.Start(t.Context(), simulator.Config{ControlAddr: taken})
	require.ErrorContains(t, err, taken)
}

func TestClose_FreesThePortsAndMayBeRepeated(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string][]simulator.Fault{
		"while up":       nil,
		"while refusing": {{Kind: simulator.Refuse}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, simulator.Config{})
			require.NoError(t, b.SetFaults(faults...))

			require.NoError(t, b.Close())
			require.NoError(t, b.Close())

			again := setup(t, simulator.Config{
				StripeAddr:  strings.TrimPrefix(b.StripeURL(), "http://"),
				ControlAddr: strings.TrimPrefix(b.ControlURL(), "http://"),
			})
			require.Equal(t, b.StripeURL(), again.StripeURL())
		})
	}
}

func TestClose_LetsGoOfHeldUpRequests(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	require.NoError(t, b.SetFaults(simulator.Fault{Kind: simulator.Hang}))
	failed := make(chan error, 1)
	go func() {
		_, err := b.create(context.WithoutCancel(t.Context()), "u_1", "k_1")
		failed <- err
	}()
	eventually(t, "the request hangs", func() bool { return b.Faults()[0].Hits == 1 })

	require.NoError(t, b.Close())
	require.Error(t, <-failed)
}

func TestStart_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	sim, err := simulator.Start(ctx, simulator.Config{})
	require.NoError(t, err)

	cancel()
	eventually(t, "connections are refused", func() bool {
		response, err := http.Get(sim.ControlURL() + "/healthz")
		if err == nil {
			_ = response.Body.Close()
		}
		return err != nil
	})
}
