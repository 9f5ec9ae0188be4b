package paypal

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"time"
)

const balancesPath = "/v1/reporting/balances"

// Money is an amount as PayPal writes it: a decimal, which may be negative, and an upper-case
// currency.
type Money struct {
	Value    string
	Currency string
}

// Balances is what the account has at its disposal. PayPal takes up to three hours until a movement
// is seen in it.
type Balances struct {
	AsOf      time.Time // UTC; zero where PayPal gives none
	Available []Money
}

type balancesAnswer struct {
	AsOf      moment           `json:"as_of_time"`
	Refreshed moment           `json:"last_refresh_time"`
	Balances  *[]balanceAnswer `json:"balances"` // which tells the answer from any other
}

type balanceAnswer struct {
	Currency  string       `json:"currency"`
	Available *moneyAnswer `json:"available_balance"`
}

// moneyAnswer is money as reports write it.
type moneyAnswer struct {
	Value    string `json:"value"`
	Currency string `json:"currency_code"`
}

// ListBalances reads what the account has at its disposal, in every currency that PayPal lists it in.
func (c *Client) ListBalances(ctx context.Context) (Balances, error) {
	var balances Balances
	err := c.run(ctx, request{route: balancesPath}, func(ctx context.Context) error {
		var answer balancesAnswer
		if err := c.exchange(ctx, http.MethodGet, balancesPath, nil, &answer); err != nil {
			return err
		}
		var err error
		balances, err = answer.balances()
		return err
	})
	if err != nil {
		return Balances{}, err
	}
	return balances, nil
}

func (a balancesAnswer) balances() (Balances, error) {
	if a.Balances == nil {
		return Balances{}, errNotPayPal
	}
	balances := Balances{AsOf: earlier(a.AsOf.utc(), a.Refreshed.utc())}
	for _, b := range *a.Balances {
		if b.Available == nil {
			continue
		}
		value, currency := plainMoney(b.Available.Value, b.Available.Currency)
		if value == "" || currency != strings.ToUpper(b.Currency) {
			return Balances{}, errNotPayPal
		}
		balances.Available = append(balances.Available, Money{Value: value, Currency: currency})
	}
	return balances, nil
}

// earlier is the earlier of two moments of which either may be unknown.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

var (
	decimal  = regexp.MustCompile(`^-?([0-9]+|[0-9]*\.[0-9]+)$`)
	noZero   = regexp.MustCompile(`^(-?)\.`)
	currency = regexp.MustCompile(`^[A-Z]{3}$`)
)

// plainMoney gives an amount and its currency, or nothing when they are not plainly both: a caller that
// compares them with its own then sees that they are others. PayPal may leave out the zero before a point,
// which nobody else can read.
func plainMoney(value, code string) (string, string) {
	code = strings.ToUpper(code)
	if !decimal.MatchString(value) || !currency.MatchString(code) {
		return "", ""
	}
	return noZero.ReplaceAllString(value, "${1}0."), code
}

// moment is a time as PayPal writes it: most in RFC 3339, some with an offset without a colon. What is
// neither is no time, and costs nothing but itself.
type moment struct{ at time.Time }

// UnmarshalJSON never fails.
func (m *moment) UnmarshalJSON(data []byte) error {
	text := strings.ToUpper(strings.Trim(string(data), `"`))
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700"} {
		if at, err := time.Parse(layout, text); err == nil {
			*m = moment{at}
			break
		}
	}
	return nil
}

func (m moment) utc() time.Time { return m.at.UTC() }
