package config_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/config"
)

func TestKeysAreFoundByTheirSecret(t *testing.T) {
	t.Parallel()
	// printf %s 'a-secret-of-some-length' | sha256sum
	const sum = "0e3dd2bd2b7c9b96e2a5b5bfc2b0fdd1d2e8d2a4c8bd7a2b3be31f3ab6f1c3a2"
	keys, err := config.ParseKeys("app:sixteen-and-more, job:another-long-secret@payouts,old:sha256:"+sum, config.ScopeCustomers, config.ScopePayouts)
	require.NoError(t, err)

	app, ok := keys.Find("sixteen-and-more")
	require.True(t, ok)
	require.Equal(t, "app", app.Name)
	require.True(t, app.May(config.ScopeCustomers))
	require.False(t, app.May(config.ScopeOps))

	job, ok := keys.Find("another-long-secret")
	require.True(t, ok)
	require.False(t, job.May(config.ScopeCustomers))
	require.True(t, job.May(config.ScopeCustomers, config.ScopePayouts))

	_, ok = keys.Find("")
	require.False(t, ok)
	_, ok = keys.Find("sha256:" + sum)
	require.False(t, ok, "the digest is not the secret")
}

func TestHashedKeys(t *testing.T) {
	t.Parallel()
	const sumOfHello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	keys, err := config.ParseKeys("app:sha256:"+sumOfHello+"@customers", config.ScopeCustomers, config.ScopePayouts)
	require.NoError(t, err)
	key, ok := keys.Find("hello")
	require.True(t, ok)
	require.Equal(t, []config.Scope{config.ScopeCustomers}, key.Scopes)
}

func TestMalformedKeysNameTheirPlaceAndQuoteNothing(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"no name":            "a-secret-without-a-name",
		"empty entry":        "app:sixteen-and-more,",
		"short secret":       "app:short",
		"short digest":       "app:sha256:abcd",
		"unknown scope":      "app:sixteen-and-more@everything",
		"operators' scope":   "app:sixteen-and-more@ops",
		"the same one twice": "app:sixteen-and-more,app:sixteen-and-more",
	}
	for name, list := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := config.ParseKeys(list, config.ScopeCustomers, config.ScopePayouts)
			require.ErrorContains(t, err, "entry ")
			require.NotContains(t, err.Error(), "sixteen")
			require.NotContains(t, err.Error(), "a-secret")
		})
	}
}

func TestStripeSettings(t *testing.T) {
	t.Parallel()
	require.NoError(t, config.Stripe{RateLimit: 25}.Validate(), "without a key Stripe is not configured, which is no mistake")
	require.NoError(t, config.Stripe{RateLimit: 25, SecretKey: "sk_test_1"}.Validate())
	require.ErrorContains(t, config.Stripe{SecretKey: "sk_test_1"}.Validate(), "STRIPE_RATE_LIMIT")
	require.ErrorContains(t, config.Stripe{RateLimit: 25, SecretKey: "pk_live_1"}.Validate(), "STRIPE_SECRET_KEY")
	require.ErrorContains(t, config.Stripe{RateLimit: 25, SecretKey: "sk_test_1", APIBase: "nonsense"}.Validate(), "STRIPE_API_BASE")
}
