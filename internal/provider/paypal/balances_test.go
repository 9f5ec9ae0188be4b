package paypal_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
)

// day is a moment for tests that need one.
var day = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

func TestListBalances(t *testing.T) {
	t.Parallel()
	s := &script{reply: reply{body: `{"account_id":"2LYK2TZVRPHLC","as_of_time":"2026-11-20T06:07:00Z","last_refresh_time":"2026-11-19T23:00:00-07:00",
		"balances":[
			{"currency":"usd","primary":true,"total_balance":{"currency_code":"USD","value":"150.00"},
				"available_balance":{"currency_code":"usd","value":"142.38"},"withheld_balance":{"currency_code":"USD","value":"7.62"}},
			{"currency":"JPY","total_balance":{"currency_code":"JPY","value":"-5"},"available_balance":{"currency_code":"JPY","value":"-5"}},
			{"currency":"EUR","total_balance":{"currency_code":"EUR","value":".50"}}]}`}}

	got, err := answering(t, s).ListBalances(t.Context())

	require.NoError(t, err)
	require.Equal(t, paypal.Balances{
		AsOf:      time.Date(2026, 11, 20, 6, 0, 0, 0, time.UTC), // the earlier of the two
		Available: []paypal.Money{{Value: "142.38", Currency: "USD"}, {Value: "-5", Currency: "JPY"}},
	}, got)
	require.Equal(t, "GET /v1/reporting/balances", s.calls()[1])
	require.Empty(t, s.requests()[1].query)
}

// PayPal's amounts may begin with their point (money, in its own schema of transaction search), and are read all the same.
func TestAmountsWithoutAZeroBeforeThePointAreRead(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]money.Amount{
		".50": money.New(50, "usd"), "-.05": money.New(-5, "usd"), "0.50": money.New(50, "usd"), "10.00": money.New(1000, "usd"),
	} {
		body := `{"balances":[{"currency":"USD","available_balance":{"currency_code":"USD","value":"` + value + `"}}]}`
		got, err := answering(t, &script{reply: reply{body: body}}).ListBalances(t.Context())
		require.NoError(t, err)
		require.Len(t, got.Available, 1)

		read, err := money.Parse(got.Available[0].Value, "usd")

		require.NoError(t, err, value)
		require.Equal(t, want, read)
	}
}

func TestBalancesAreAsOfWhatPayPalSays(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		times string
		want  time.Time
	}{
		"both":            {`"as_of_time":"2026-11-20T00:00:00Z","last_refresh_time":"2026-11-20T01:00:00Z",`, day},
		"as of":           {`"as_of_time":"2026-11-20T00:00:00Z",`, day},
		"refreshed":       {`"last_refresh_time":"2026-11-20T00:00:00Z",`, day},
		"without a colon": {`"as_of_time":"2026-11-20T02:30:00+0230",`, day},
		"lower case":      {`"as_of_time":"2026-11-20t00:00:00z",`, day},
		"with a fraction": {`"as_of_time":"2026-11-20T00:00:00.000Z",`, day},
		"neither":         {``, time.Time{}},
		"no time":         {`"as_of_time":"now","last_refresh_time":7,`, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := answering(t, &script{reply: reply{body: `{` + test.times + `"balances":[]}`}}).ListBalances(t.Context())

			require.NoError(t, err)
			require.Equal(t, paypal.Balances{AsOf: test.want}, got)
		})
	}
}

func TestAnAnswerThatIsNoBalance(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		``, `null`, `{}`, `{"balances":null}`, `{"balances":{}}`, `{"balances":[`,
		`{"balances":[{"currency":"USD","available_balance":{"currency_code":"USD","value":"lots"}}]}`,
		`{"balances":[{"currency":"USD","available_balance":{"currency_code":"USD","value":""}}]}`,
		`{"balances":[{"currency":"USD","available_balance":{"currency_code":"USD","value":"1,000.00"}}]}`,
		`{"balances":[{"currency":"USD","available_balance":{"currency_code":"EUR","value":"1.00"}}]}`,
		`{"balances":[{"available_balance":{"currency_code":"US","value":"1.00"}}]}`,
	} {
		t.Run(body, func(t *testing.T) {
			t.Parallel()
			_, err := answering(t, &script{reply: reply{body: body}}).ListBalances(t.Context())

			require.Equal(t, transient, failureOf(t, err).Class)
			require.Equal(t, provider.CodeUnreadable, failureOf(t, err).Code)
		})
	}
}
