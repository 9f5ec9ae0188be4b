package webhook_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/webhook"
)

const (
	secret        = "whsec_ours"
	connectSecret = "whsec_connect"
)

func setupStripe(t testing.TB, change func(*webhook.StripeConfig)) *webhook.Stripe {
	t.Helper()
	live := false
	cfg := webhook.StripeConfig{Secrets: []string{secret}, ConnectSecrets: []string{connectSecret}, Livemode: &live}
	if change != nil {
		change(&cfg)
	}
	reader, err := webhook.NewStripe(cfg)
	require.NoError(t, err)
	return reader
}

// stripeEvent is an event whose object has those fields.
func stripeEvent(eventType, object string) []byte {
	return fmt.Appendf(nil, `{"id": "evt_1", "object": "event", "api_version": "2019-01-01", "created": 1700000000,
		"livemode": false, "type": %q, "data": {"object": {%s}}}`, eventType, object)
}

func TestStripeTellsWhomAnEventIsAbout(t *testing.T) {
	t.Parallel()
	reader := setupStripe(t, nil)
	for name, c := range map[string]struct {
		eventType, object string
		subject           string
	}{
		"a subscription":                   {"customer.subscription.updated", `"id": "sub_1", "customer": "cus_1"`, "cus_1"},
		"an expanded customer":             {"invoice.paid", `"customer": {"id": "cus_2", "email": "x@example.com"}`, "cus_2"},
		"an invoice without an id":         {"invoice.upcoming", `"customer": "cus_3"`, "cus_3"},
		"a checkout":                       {"checkout.session.completed", `"customer": "cus_4"`, "cus_4"},
		"a payment of nobody":              {"payment_intent.succeeded", `"customer": null`, ""},
		"a payment without the field":      {"payment_intent.succeeded", `"id": "pi_1"`, ""},
		"a customer that is no id":         {"invoice.paid", `"customer": ["cus_1"]`, ""},
		"a customer that cannot be stored": {"invoice.paid", `"customer": "cus_\u0000"`, ""},
		"a type of no interest":            {"customer.updated", `"customer": "cus_1"`, ""},
		"a type that is not known":         {"something.new.happened", `"customer": "cus_1"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := stripeEvent(c.eventType, c.object)

			e, err := reader.Read(t.Context(), stripeHeader(body, time.Now(), secret), body)

			require.NoError(t, err)
			require.Equal(t, provider.Stripe, e.Provider)
			require.Equal(t, "evt_1", e.ID)
			require.Equal(t, c.eventType, e.Type)
			require.Equal(t, c.subject, e.Subject)
			require.Equal(t, c.subject != "", e.About != "" && e.Subject != "")
			require.Equal(t, time.Unix(1700000000, 0).UTC(), *e.OccurredAt)
			require.Equal(t, body, e.Payload)
		})
	}
}

func TestStripeSignatures(t *testing.T) {
	t.Parallel()
	body := stripeEvent("invoice.paid", `"customer": "cus_1"`)
	other := bytes.Replace(body, []byte("cus_1"), []byte("cus_2"), 1)
	now := time.Now()
	for name, c := range map[string]struct {
		header http.Header
		body   []byte
		want   string // empty: it is believed
	}{
		"ours":                      {stripeHeader(body, now, secret), body, ""},
		"an old secret and the new": {stripeHeader(body, now, "whsec_old", secret), body, ""},
		"of connected accounts":     {stripeHeader(body, now, connectSecret), body, ""},
		"a little old":              {stripeHeader(body, now.Add(-4*time.Minute), secret), body, ""},
		"too old":                   {stripeHeader(body, now.Add(-6*time.Minute), secret), body, "older than 5m0s"},
		"too old, of connected":     {stripeHeader(body, now.Add(-6*time.Minute), connectSecret), body, "older than 5m0s"},
		"another secret":            {stripeHeader(body, now, "whsec_forged"), body, "matches no secret"},
		"another body":              {stripeHeader(body, now, secret), other, "matches no secret"},
		"one byte more":             {stripeHeader(body, now, secret), append(bytes.Clone(body), '\n'), "matches no secret"},
		"none":                      {http.Header{}, body, "missing or not a time and signatures"},
		"nonsense":                  {http.Header{"Stripe-Signature": {"nonsense"}}, body, "missing or not a time and signatures"},
		"no scheme of ours":         {http.Header{"Stripe-Signature": {"t=1,v0=00"}}, body, "matches no secret"},
		"endless":                   {http.Header{"Stripe-Signature": {"t=1" + strings.Repeat(",v1=00", 1000)}}, body, "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			_, err := setupStripe(t, nil).Read(t.Context(), c.header, c.body)

			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, webhook.ErrSignature)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestStripeSecretsAreRolledWithoutAGap(t *testing.T) {
	t.Parallel()
	body := stripeEvent("invoice.paid", `"customer": "cus_1"`)
	reader := setupStripe(t, func(cfg *webhook.StripeConfig) { cfg.Secrets = []string{"whsec_new", "whsec_old"} })

	for _, signedWith := range []string{"whsec_new", "whsec_old"} {
		_, err := reader.Read(t.Context(), stripeHeader(body, time.Now(), signedWith), body)
		require.NoError(t, err, signedWith)
	}
}

func TestStripeEventsOfTheOtherMode(t *testing.T) {
	t.Parallel()
	body := bytes.Replace(stripeEvent("invoice.paid", `"customer": "cus_1"`), []byte(`"livemode": false`), []byte(`"livemode": true`), 1)

	_, err := setupStripe(t, nil).Read(t.Context(), stripeHeader(body, time.Now(), secret), body)
	require.ErrorIs(t, err, webhook.ErrMode)

	// Stripe sends the test events of connected accounts to live endpoints too.
	e, err := setupStripe(t, nil).Read(t.Context(), stripeHeader(body, time.Now(), connectSecret), body)
	require.NoError(t, err)
	require.Empty(t, e.About)

	unknown := setupStripe(t, func(cfg *webhook.StripeConfig) { cfg.Livemode = nil })
	e, err = unknown.Read(t.Context(), stripeHeader(body, time.Now(), secret), body)
	require.NoError(t, err)
	require.Equal(t, webhook.Subscriptions, e.About, "without a key, the mode is not known to be wrong")
}

func TestStripeEventsOfConnectedAccountsAreAboutTheAccount(t *testing.T) {
	t.Parallel()
	body := bytes.Replace(stripeEvent("invoice.paid", `"customer": "cus_1"`), []byte(`{"id"`), []byte(`{"account": "acct_1", "id"`), 1)

	e, err := setupStripe(t, nil).Read(t.Context(), stripeHeader(body, time.Now(), connectSecret), body)

	require.NoError(t, err)
	require.Equal(t, "acct_1", e.Account)
	require.Equal(t, "acct_1", e.Subject)
}

func TestStripeEventsOfPayoutsAndAccounts(t *testing.T) {
	t.Parallel()
	for eventType, want := range map[string]struct {
		about   webhook.Topic
		subject string
	}{
		"payout.paid":                      {webhook.Payouts, "po_1"},
		"payout.failed":                    {webhook.Payouts, "po_1"},
		"account.updated":                  {webhook.Accounts, "acct_1"},
		"account.external_account.updated": {webhook.Accounts, "acct_1"},
		"account.application.deauthorized": {webhook.Accounts, "acct_1"}, // the object is the application
		"account.application.authorized":   {webhook.Accounts, "acct_1"},
		"transfer.created":                 {"", ""},
	} {
		body := bytes.Replace(stripeEvent(eventType, `"id": "po_1"`), []byte(`{"id"`), []byte(`{"account": "acct_1", "id"`), 1)

		e, err := setupStripe(t, nil).Read(t.Context(), stripeHeader(body, time.Now(), connectSecret), body)

		require.NoError(t, err)
		require.Equal(t, want.about, e.About, eventType)
		require.Equal(t, want.subject, e.Subject, eventType)
	}
}

// A payout that is made tells two or three times that it is under way, and once that it arrived.
func TestStripeEventsOfPayoutsUnderWayLeadToNothing(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]webhook.Topic{
		"pending": "", "in_transit": "", "paid": webhook.Payouts, "failed": webhook.Payouts, "canceled": webhook.Payouts,
	} {
		body := bytes.Replace(stripeEvent("payout.updated", `"id": "po_1", "status": "`+status+`"`),
			[]byte(`{"id"`), []byte(`{"account": "acct_1", "id"`), 1)

		e, err := setupStripe(t, nil).Read(t.Context(), stripeHeader(body, time.Now(), connectSecret), body)

		require.NoError(t, err)
		require.Equal(t, want, e.About, status)
	}
}

func TestStripeTellsOfWhatIsNoObject(t *testing.T) {
	t.Parallel()
	for _, object := range []string{`[1]`, `"cus_1"`, `null`, `7`} {
		body := []byte(`{"id": "evt_1", "type": "invoice.paid", "data": {"object": ` + object + `}}`)

		e, err := setupStripe(t, nil).Read(t.Context(), stripeHeader(body, time.Now(), secret), body)

		require.NoError(t, err, object)
		require.Empty(t, e.Subject)
	}
}

func TestStripeSignsWhatIsNoEvent(t *testing.T) {
	t.Parallel()
	reader := setupStripe(t, nil)
	for body, want := range map[string]string{
		"":                                  "not JSON",
		"id=evt_1":                          "not JSON",
		"[]":                                "not JSON",
		`{"id": 1, "type": "invoice.paid"}`: "not JSON as Stripe sends it",
		`{"type": "invoice.paid"}`:          "id is missing",
		`{"id": "evt_1"}`:                   "type is missing",
		`{"id": "evt_\u0000", "type": "x"}`: "id is missing or no id",
		`{"id": "evt_1", "type": "a\nb"}`:   "type is missing or no id",
		`{"id": "` + strings.Repeat("e", 256) + `", "type": "x"}`: "id is missing or no id",
	} {
		_, err := reader.Read(t.Context(), stripeHeader([]byte(body), time.Now(), secret), []byte(body))
		require.ErrorIs(t, err, webhook.ErrMalformed, body)
		require.ErrorContains(t, err, want)
	}
}

func TestStripeWithoutASecret(t *testing.T) {
	t.Parallel()
	_, err := webhook.NewStripe(webhook.StripeConfig{})
	require.ErrorContains(t, err, "no signing secret is given")
}

// A comma too many in the setting makes an empty secret, with which everybody could sign.
func TestStripeSecretsThatCannotBeStripes(t *testing.T) {
	t.Parallel()
	for _, wrong := range []string{"", " ", " whsec_2", "whsec_", "whsec_a b", "we_1hunter2", "sk_live_hunter2"} {
		for _, cfg := range []webhook.StripeConfig{{Secrets: []string{secret, wrong}}, {Secrets: []string{secret}, ConnectSecrets: []string{wrong}}} {
			_, err := webhook.NewStripe(cfg)
			require.ErrorContains(t, err, "whsec_", "%q", wrong)
			require.NotContains(t, err.Error(), "hunter2")
		}
	}
}

// FuzzStripe sends what it likes. Nothing is ever read that was not signed, and nothing is read that
// could not be stored.
func FuzzStripe(f *testing.F) {
	reader := setupStripe(f, nil)
	at := time.Now()
	signed := stripeEvent("invoice.paid", `"customer": "cus_1"`)
	genuine := stripeHeader(signed, at, secret).Get("Stripe-Signature")
	f.Add(genuine, signed, false)
	f.Add("t=1,v1=00", signed, false)
	f.Add("", []byte(nil), true)
	f.Add("", stripeEvent("invoice.paid", `"customer": {"id": {"id": 1}}`), true)
	f.Add("", []byte(`{"id":"evt_1","type":"invoice.paid","data":{"object":[1]},"account":"\u0000"}`), true)

	f.Fuzz(func(t *testing.T, header string, body []byte, sign bool) {
		got := http.Header{"Stripe-Signature": {header}}
		if sign {
			got = stripeHeader(body, at, secret)
		}

		e, err := reader.Read(t.Context(), got, body)
		if err != nil {
			return
		}
		require.True(t, sign || bytes.Equal(body, signed), "it was not signed")
		require.Equal(t, body, e.Payload)
		for _, text := range []string{e.ID, e.Type, e.Subject + "x", e.Account + "x"} {
			require.NotEmpty(t, text)
			require.LessOrEqual(t, len(text), 256)
			require.NotContains(t, text, "\x00")
		}
	})
}
