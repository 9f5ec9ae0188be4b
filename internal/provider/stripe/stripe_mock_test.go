package stripe_test

import (
	"context"
	"encoding/json"
	"net"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/localstack"
	"github.com/holdfast/holdfast/internal/provider/stripe"
)

// exercise makes requests that a method of the client can send.
type exercise struct {
	method string // of Client
	call   func(context.Context, *stripe.Client) error
	// dropped says that later versions of Stripe's API, whose description stripe-mock carries, no
	// longer take the request. We send the version that stripe-go v76 pins, which does.
	dropped bool
}

func exercises() []exercise { return append(exercisesOfBilling(), exercisesOfMoney()...) }

func exercisesOfBilling() []exercise {
	text := func(s string) *string { return &s }
	create := func(p stripe.CustomerParams) func(context.Context, *stripe.Client) error {
		return func(ctx context.Context, c *stripe.Client) error {
			_, err := c.CreateCustomer(ctx, "holdfast/stripe/create_customer/u_1/1", p)
			return err
		}
	}
	update := func(u stripe.CustomerUpdate) func(context.Context, *stripe.Client) error {
		return func(ctx context.Context, c *stripe.Client) error {
			_, err := c.UpdateCustomer(ctx, "holdfast/stripe/update_profile/u_1/2/1", "cus_1", u)
			return err
		}
	}
	find := func(p stripe.FindCustomerParams) func(context.Context, *stripe.Client) error {
		return func(ctx context.Context, c *stripe.Client) error {
			_, _, err := c.FindCustomer(ctx, p)
			return err
		}
	}
	return []exercise{
		{method: "CreateCustomer", call: create(stripe.CustomerParams{Email: "a@example.com", HoldfastCustomerID: "u_1"})},
		{method: "CreateCustomer", call: create(stripe.CustomerParams{
			Email: "a@example.com", Name: "Ada", Country: "GB", HoldfastCustomerID: "u_1", Metadata: map[string]string{"plan": "pro"},
		})},
		{method: "UpdateCustomer", call: update(stripe.CustomerUpdate{Email: text("b@example.com"), Name: text("B")})},
		{method: "UpdateCustomer", call: update(stripe.CustomerUpdate{Name: text("")})},
		{method: "UpdateCustomer", call: update(stripe.CustomerUpdate{HoldfastCustomerID: "u_1", Metadata: map[string]string{"plan": ""}})},
		{method: "UpdateCustomer", call: update(stripe.CustomerUpdate{PromotionCodeID: "promo_1"}), dropped: true},
		{method: "GetCustomer", call: func(ctx context.Context, c *stripe.Client) error {
			_, err := c.GetCustomer(ctx, "cus_1")
			return err
		}},
		{method: "FindCustomer", call: find(stripe.FindCustomerParams{Email: "a@example.com", HoldfastCustomerID: "u_1"})},
		{method: "FindCustomer", call: find(stripe.FindCustomerParams{
			Email: "a@example.com", HoldfastCustomerID: "u_1", CreatedFrom: time.Unix(1700000000, 0),
		})},
		{method: "FindPromotionCode", call: func(ctx context.Context, c *stripe.Client) error {
			_, err := c.FindPromotionCode(ctx, "SPRING")
			return err
		}},
		{method: "ListSubscriptions", call: func(ctx context.Context, c *stripe.Client) error {
			_, err := c.ListSubscriptions(ctx, "cus_1")
			return err
		}},
		{method: "PageSubscriptions", call: func(ctx context.Context, c *stripe.Client) error {
			_, _, err := c.PageSubscriptions(ctx, "")
			return err
		}},
		{method: "PageSubscriptions", call: func(ctx context.Context, c *stripe.Client) error {
			_, _, err := c.PageSubscriptions(ctx, "sub_1")
			return err
		}},
		{method: "Probe", call: func(ctx context.Context, c *stripe.Client) error { return c.Probe(ctx) }},
	}
}

func exercisesOfMoney() []exercise {
	return []exercise{
		{method: "GetAccount", call: func(ctx context.Context, c *stripe.Client) error {
			_, err := c.GetAccount(ctx, "acct_1")
			return err
		}},
		{method: "ListExternalAccounts", call: func(ctx context.Context, c *stripe.Client) error {
			_, err := c.ListExternalAccounts(ctx, "acct_1")
			return err
		}},
		{method: "GetBalance", call: func(ctx context.Context, c *stripe.Client) error {
			_, err := c.GetBalance(ctx, "")
			return err
		}},
		{method: "GetBalance", call: func(ctx context.Context, c *stripe.Client) error {
			_, err := c.GetBalance(ctx, "acct_1")
			return err
		}},
		{method: "CreateTransfer", call: func(ctx context.Context, c *stripe.Client) error {
			_, err := c.CreateTransfer(ctx, transferOf(9708), "k")
			return err
		}},
		{method: "GetTransfer", call: func(ctx context.Context, c *stripe.Client) error {
			_, err := c.GetTransfer(ctx, "tr_1")
			return err
		}},
		{method: "ListTransfers", call: func(ctx context.Context, c *stripe.Client) error {
			_, err := c.ListTransfers(ctx, stripe.ListTransfersParams{})
			return err
		}},
		{method: "ListTransfers", call: func(ctx context.Context, c *stripe.Client) error {
			_, err := c.ListTransfers(ctx, stripe.ListTransfersParams{
				Destination: "acct_1", TransferGroup: "po_ours", CreatedFrom: time.Unix(1700000000, 0),
			})
			return err
		}},
		{method: "ReverseTransfer", call: func(ctx context.Context, c *stripe.Client) error {
			_, err := c.ReverseTransfer(ctx, "tr_1", 9708, "po_ours", "k")
			return err
		}},
		{method: "ListReversals", call: func(ctx context.Context, c *stripe.Client) error {
			_, err := c.ListReversals(ctx, "tr_1")
			return err
		}},
		{method: "CreatePayout", call: func(ctx context.Context, c *stripe.Client) error {
			_, err := c.CreatePayout(ctx, "acct_1", payoutOf(9708), "k")
			return err
		}},
		{method: "GetPayout", call: func(ctx context.Context, c *stripe.Client) error {
			_, err := c.GetPayout(ctx, "acct_1", "po_1")
			return err
		}},
		{method: "CancelPayout", call: func(ctx context.Context, c *stripe.Client) error {
			_, err := c.CancelPayout(ctx, "acct_1", "po_1", "k")
			return err
		}},
		{method: "ListPayouts", call: func(ctx context.Context, c *stripe.Client) error {
			_, err := c.ListPayouts(ctx, "acct_1", time.Time{})
			return err
		}},
		{method: "ListPayouts", call: func(ctx context.Context, c *stripe.Client) error {
			_, err := c.ListPayouts(ctx, "acct_1", time.Unix(1700000000, 0))
			return err
		}},
	}
}

func TestEveryMethodIsExercised(t *testing.T) {
	t.Parallel()
	exercised := map[string]bool{"Livemode": true, "ReadPagesAtOnce": true} // which send nothing
	for _, e := range exercises() {
		exercised[e.method] = true
	}
	for method := range reflect.TypeFor[*stripe.Client]().Methods() {
		require.True(t, exercised[method.Name], "%s sends requests that no exercise shows to Stripe's validator", method.Name)
	}
}

// Stripe's validator knows the API of its own day. It is asked twice: about the version that we
// send, in the description that it carried then, and about today's, so that what a move to a newer
// stripe-go breaks is known before.

func TestStripesValidatorAcceptsEveryRequest(t *testing.T) {
	t.Parallel()
	base := startStripeMock(t, pinnedAPI(t)...)
	for _, e := range exercises() {
		require.Equal(t, "200", sent(t, base, e), e.method)
	}
}

func TestStripesNewestValidatorAcceptsWhatItStillKnows(t *testing.T) {
	t.Parallel()
	base := startStripeMock(t)
	for _, e := range exercises() {
		want := "200"
		if e.dropped {
			want = "400"
		}
		require.Equal(t, want, sent(t, base, e), e.method)
	}
}

// sent makes the requests of an exercise and gives the status that the transport saw. What the
// canned answers mean to the adapter does not matter here.
func sent(t *testing.T, base string, e exercise) string {
	t.Helper()
	observer := &recorder{}
	err := e.call(t.Context(), newClient(t, stripe.Config{APIBase: base, SecretKey: "sk_test_123", Observer: observer}))
	results := observer.results()
	require.Len(t, results, 1, "%s: %v", e.method, err)
	return results[0]
}

// startStripeMock gives the base URL of a validator on loopback.
func startStripeMock(t *testing.T, args ...string) string {
	t.Helper()
	path, err := localstack.StripeMock().Install(t.Context(), t.Logf)
	require.NoError(t, err)
	log := filepath.Join(t.TempDir(), "stripe-mock.log")
	var (
		process *localstack.Process
		address string
	)
	err = localstack.OnFreeAddresses(2, func(addresses []string) error {
		address = addresses[0]
		process, err = localstack.StartProcess(t.Context(), localstack.ProcessOptions{
			Name: "stripe-mock", Path: path, LogFile: log,
			// Without an address for HTTPS too it would listen beyond loopback.
			Args: append([]string{"-http-addr", addresses[0], "-https-addr", addresses[1]}, args...),
			Ready: func(ctx context.Context) error {
				connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
				if err != nil {
					return err
				}
				return connection.Close()
			},
		})
		return err
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, process.Stop()) })
	return "http://" + address
}

// ofPinnedAPI is the release of stripe-mock that carries the description of the API version that
// stripe-go v76 pins. (stripe-mock checks that it is that version, with every request.)
const ofPinnedAPI = "github.com/stripe/stripe-mock@v0.180.0"

// pinnedAPI gives the arguments by which stripe-mock takes the description of that version.
func pinnedAPI(t *testing.T) []string {
	t.Helper()
	download := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", ofPinnedAPI)
	download.Dir = t.TempDir() // away from our own module
	download.Env = append(download.Environ(), "GOFLAGS=", "GOWORK=off")
	output, err := download.Output()
	var module struct {
		Dir   string `json:"Dir"`
		Error string `json:"Error"`
	}
	require.NoError(t, json.Unmarshal(output, &module), "%s", output)
	require.NoError(t, err, module.Error)
	description := func(name string) string { return filepath.Join(module.Dir, "embedded", "openapi", name) }
	return []string{"-spec", description("spec3.json"), "-fixtures", description("fixtures3.json"), "-strict-version-check"}
}
