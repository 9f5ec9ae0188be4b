// Package money is sums of money: integers in a currency's minor units, never a fraction, checked
// for overflow. Nothing here knows a clock, a database or a provider's API.
package money

import (
	"cmp"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// ErrOverflow says that a sum is too large to be counted.
var ErrOverflow = errors.New("the amount is too large")

// ErrCurrency says that two amounts are not of one currency.
var ErrCurrency = errors.New("the amounts are of different currencies")

// Amount is a sum of one currency. The zero value is no money of no currency.
type Amount struct {
	Minor    int64    `json:"amount"`   // in minor units: cents for usd
	Currency Currency `json:"currency"` // as in usd
}

// New is an amount of so many minor units.
func New(minor int64, currency Currency) Amount { return Amount{Minor: minor, Currency: currency} }

// Zero is no money of a currency.
func Zero(currency Currency) Amount { return New(0, currency) }

// Add gives a + b.
func (a Amount) Add(b Amount) (Amount, error) {
	if err := a.same(b); err != nil {
		return Amount{}, err
	}
	sum := a.Minor + b.Minor
	if (sum > a.Minor) != (b.Minor > 0) {
		return Amount{}, fmt.Errorf("%s + %s: %w", a, b, ErrOverflow)
	}
	return New(sum, a.Currency), nil
}

// Sub gives a − b.
func (a Amount) Sub(b Amount) (Amount, error) {
	if err := a.same(b); err != nil {
		return Amount{}, err
	}
	difference := a.Minor - b.Minor
	if (difference < a.Minor) != (b.Minor > 0) {
		return Amount{}, fmt.Errorf("%s - %s: %w", a, b, ErrOverflow)
	}
	return New(difference, a.Currency), nil
}

// Neg gives −a.
func (a Amount) Neg() (Amount, error) { return Zero(a.Currency).Sub(a) }

// Cmp is −1 when a is less than b, 0 when they are equal, and 1 when a is more.
func (a Amount) Cmp(b Amount) (int, error) {
	if err := a.same(b); err != nil {
		return 0, err
	}
	return cmp.Compare(a.Minor, b.Minor), nil
}

func (a Amount) same(b Amount) error {
	if a.Currency != b.Currency {
		return fmt.Errorf("%s and %s: %w", a, b, ErrCurrency)
	}
	return nil
}

// IsZero says whether it is no money, of whatever currency.
func (a Amount) IsZero() bool { return a.Minor == 0 }

// Sign is −1 for a debt, 0 for nothing and 1 for money.
func (a Amount) Sign() int { return cmp.Compare(a.Minor, 0) }

// MulDivFloor gives the largest amount that is not above a × num ÷ den. The divisor is positive.
func (a Amount) MulDivFloor(num, den int64) (Amount, error) {
	if den <= 0 {
		return Amount{}, fmt.Errorf("%s × %d ÷ %d: the divisor must be positive", a, num, den)
	}
	quotient := new(big.Int).Mul(big.NewInt(a.Minor), big.NewInt(num))
	quotient.Div(quotient, big.NewInt(den)) // which rounds down for positive divisors
	if !quotient.IsInt64() {
		return Amount{}, fmt.Errorf("%s × %d ÷ %d: %w", a, num, den, ErrOverflow)
	}
	return New(quotient.Int64(), a.Currency), nil
}

// MulDivCeil gives the smallest amount that is not below a × num ÷ den. The divisor is positive.
func (a Amount) MulDivCeil(num, den int64) (Amount, error) {
	down, err := a.MulDivFloor(num, den)
	if err != nil {
		return Amount{}, err
	}
	product := new(big.Int).Mul(big.NewInt(a.Minor), big.NewInt(num))
	if product.Cmp(new(big.Int).Mul(big.NewInt(down.Minor), big.NewInt(den))) == 0 {
		return down, nil
	}
	return down.Add(New(1, a.Currency))
}

// FloorTo leaves off what is above a multiple of step, as a provider wants whole units. A debt loses
// what is beyond the multiple too: no amount grows. The step is positive.
func (a Amount) FloorTo(step int64) Amount { return New(a.Minor-a.Minor%step, a.Currency) }

// String is the amount for people: "12.34 USD".
func (a Amount) String() string { return a.Decimal() + " " + a.Currency.String() }

// Decimal is the number alone, with all decimals of the currency: "12.34", or "500" for yen.
func (a Amount) Decimal() string {
	digits := strconv.FormatInt(a.Minor, 10)
	sign := ""
	if a.Minor < 0 {
		sign, digits = "-", digits[1:]
	}
	exponent := a.Currency.Exponent()
	if exponent == 0 {
		return sign + digits
	}
	digits = strings.Repeat("0", max(0, exponent+1-len(digits))) + digits
	point := len(digits) - exponent
	return sign + digits[:point] + "." + digits[point:]
}

var decimal = regexp.MustCompile(`^-?[0-9]{1,40}(\.[0-9]{1,40})?$`)

// Parse reads a decimal number, such as "12.34", "-5" or, of yen, "500.00". Decimals that the
// currency does not have must be zero.
func Parse(text string, currency Currency) (Amount, error) {
	if !decimal.MatchString(text) {
		return Amount{}, fmt.Errorf("%.50q is not an amount of %s, as in %s", text, currency, New(1234, currency).Decimal())
	}
	whole, fraction, _ := strings.Cut(text, ".")
	exponent := currency.Exponent()
	kept := min(len(fraction), exponent)
	if strings.Trim(fraction[kept:], "0") != "" {
		return Amount{}, fmt.Errorf("%.50q has more decimals than the %d of %s", text, exponent, currency)
	}
	minor, err := strconv.ParseInt(whole+fraction[:kept]+strings.Repeat("0", exponent-kept), 10, 64)
	if err != nil {
		return Amount{}, fmt.Errorf("%.50q %s: %w", text, currency, ErrOverflow)
	}
	return New(minor, currency), nil
}

// PayPalDecimal is the amount as PayPal takes it. The currencies are those that PayPal keeps accounts
// in, three of which it wants without decimals (developer.paypal.com, currency codes).
func PayPalDecimal(a Amount) (string, error) {
	switch a.Currency {
	case "huf", "jpy", "twd":
		whole, fraction, _ := strings.Cut(a.Decimal(), ".")
		if strings.Trim(fraction, "0") != "" {
			return "", fmt.Errorf("%s: PayPal takes %s without decimals only", a, a.Currency)
		}
		return whole, nil
	case "aud", "brl", "cad", "chf", "cny", "czk", "dkk", "eur", "gbp", "hkd", "ils", "mxn", "myr", "nok", "nzd", "php", "pln",
		"sek", "sgd", "thb", "usd":
		return a.Decimal(), nil
	default:
		return "", fmt.Errorf("%s: PayPal does not pay in this currency", a)
	}
}
