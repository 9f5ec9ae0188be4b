package config_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/config"
)

func TestDatabaseIsCheckedAndNeverQuoted(t *testing.T) {
	t.Parallel()
	require.NoError(t, config.Database{URL: "postgres://user:hunter2@localhost:5432/name"}.Validate())
	for _, url := range []string{"", "postgres://user:hunter2@host:port/name", "postgres://user:hun ter2@h ost/name", "hunter2"} {
		err := config.Database{URL: url}.Validate()
		require.ErrorContains(t, err, "DATABASE_URL")
		require.NotContains(t, err.Error(), "ter2")
	}
}

func TestRateLimitIsANumberAboveZero(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		require.ErrorContains(t, config.Stripe{RateLimit: rate}.Validate(), "STRIPE_RATE_LIMIT", "%v", rate)
	}
}

func TestPlansAreIds(t *testing.T) {
	t.Parallel()
	for _, plans := range [][]string{nil, {"price_1"}, {"price_1", "P-2"}} {
		require.NoError(t, config.CheckPlans(plans))
	}
	for _, plans := range [][]string{{"price_1", " P-2"}, {"", "price_1"}, {"price_1 P-2"}, {"price_1\n"}} {
		require.ErrorContains(t, config.CheckPlans(plans), "HOLDFAST_PLANS", "%q", plans)
	}
}

func TestAddressesAreChecked(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1:8080", ":8080", "[::1]:0", "localhost:80"} {
		require.NoError(t, config.CheckAddress("HOLDFAST_LISTEN", address))
	}
	for _, address := range []string{"", "8080", "localhost", "localhost:http!", "localhost:70000", "::1:80"} {
		require.ErrorContains(t, config.CheckAddress("HOLDFAST_LISTEN", address), "HOLDFAST_LISTEN", address)
	}
}

func TestASecretHasOneMeaning(t *testing.T) {
	t.Parallel()
	app, err := config.ParseKeys("app:sixteen-and-more", config.ScopeCustomers)
	require.NoError(t, err)
	operators, err := config.ParseKeys("olga:another-long-secret", config.ScopeOps)
	require.NoError(t, err)
	both, err := app.And(operators)
	require.NoError(t, err)
	require.Len(t, both, 2)

	same, err := config.ParseKeys("olga:sixteen-and-more", config.ScopeOps)
	require.NoError(t, err)
	_, err = app.And(same)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "sixteen")
	_, err = config.ParseKeys("one:sixteen-and-more,two:sixteen-and-more", config.ScopeCustomers)
	require.ErrorContains(t, err, "entry 2")
}

func TestASecretIsRolledUnderOneName(t *testing.T) {
	t.Parallel()
	keys, err := config.ParseKeys("app:the-old-secret-of-it,app:the-new-secret-of-it", config.ScopeCustomers)
	require.NoError(t, err)
	for _, secret := range []string{"the-old-secret-of-it", "the-new-secret-of-it"} {
		key, ok := keys.Find(secret)
		require.True(t, ok)
		require.Equal(t, "app", key.Name)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	require.Equal(t, 0, config.Exit("test", nil))
	require.Equal(t, 0, config.Exit("test", fmt.Errorf("stop: %w", context.Canceled)))
	require.Equal(t, config.ExitFailed, config.Exit("test", errors.New("the first line\n\tand the second")))
	require.Equal(t, config.ExitUsage, config.Exit("test", fmt.Errorf("start: %w", &config.UsageError{Err: errors.New("wrong")})))
}
