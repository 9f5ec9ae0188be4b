package main

import (
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"
)

// told reads the arguments as starter does.
func told(t *testing.T, args ...string) error {
	t.Helper()
	parser, err := kong.New(&commands{})
	require.NoError(t, err)
	_, err = parser.Parse(args)
	return err
}

// A wrong setting is a sentence that names the variable, without what may be secret.
func TestWrongSettingsNameTheVariable(t *testing.T) {
	t.Parallel()
	serve := func(args ...string) []string {
		return append([]string{
			"serve", "--database-url=postgres://u:hunter2@localhost/name", "--listen=127.0.0.1:8080", "--metrics-listen=127.0.0.1:9090",
			"--log-format=json", "--log-level=info", "--api-keys=app:hunter2-hunter2-hunter2", "--operator-keys=",
		}, args...)
	}
	require.NoError(t, told(t, serve()...))
	cases := map[string]struct {
		args []string
		name string
	}{
		"no database":          {serve("--database-url="), "DATABASE_URL"},
		"malformed database":   {serve("--database-url=postgres://u:hunter2@h ost/name"), "DATABASE_URL"},
		"migrate nothing":      {[]string{"migrate", "--database-url="}, "DATABASE_URL"},
		"malformed address":    {serve("--listen=nonsense"), "HOLDFAST_LISTEN"},
		"malformed port":       {serve("--metrics-listen=127.0.0.1:x"), "HOLDFAST_METRICS_LISTEN"},
		"unknown log format":   {serve("--log-format=xml"), "HOLDFAST_LOG_FORMAT"},
		"unknown log level":    {serve("--log-level=loud"), "--log-level"},
		"a plan with a space":  {serve("--plans=price_1, P-2"), "HOLDFAST_PLANS"},
		"a secret too many":    {serve("--stripe-webhook-secret=,whsec_hunter2"), "STRIPE_WEBHOOK_SECRET"},
		"malformed keys":       {serve("--api-keys=hunter2"), "HOLDFAST_API_KEYS"},
		"malformed operators":  {serve("--operator-keys=olga:hunter2"), "HOLDFAST_OPERATOR_KEYS"},
		"no keys":              {serve("--api-keys="), "HOLDFAST_API_KEYS"},
		"one secret, two uses": {serve("--operator-keys=olga:hunter2-hunter2-hunter2"), "HOLDFAST_OPERATOR_KEYS"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := told(t, c.args...)
			require.ErrorContains(t, err, c.name)
			require.NotContains(t, err.Error(), "hunter2")
			require.NotContains(t, err.Error(), "\n")
		})
	}
}
