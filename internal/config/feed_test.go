package config_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/config"
)

func TestDeliverySettings(t *testing.T) {
	t.Parallel()
	const address = "https://app.example.com/hook"
	good := "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("n", 32)))
	require.NoError(t, config.Delivery{}.Validate(), "the app need not have a webhook")
	require.NoError(t, config.Delivery{Feed: config.Feed{WebhookURL: address}, Secrets: []string{good, good}}.Validate())

	for variable, wrong := range map[string]config.Delivery{
		"HOLDFAST_WEBHOOK_URL must":                                     {Feed: config.Feed{WebhookURL: "http://app.example.com/hunter2"}, Secrets: []string{good}},
		"HOLDFAST_WEBHOOK_SECRET: secret 2":                             {Feed: config.Feed{WebhookURL: address}, Secrets: []string{good, "hunter2"}},
		"HOLDFAST_WEBHOOK_URL and HOLDFAST_WEBHOOK_SECRET go together:": {Feed: config.Feed{WebhookURL: address}},
		"HOLDFAST_WEBHOOK_URL and HOLDFAST_WEBHOOK_SECRET go":           {Secrets: []string{good}},
	} {
		err := wrong.Validate()
		require.ErrorContains(t, err, variable)
		require.NotContains(t, err.Error(), "hunter2")
	}
}
