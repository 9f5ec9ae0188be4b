package money_test

import (
	"encoding/json"
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast/holdfast/internal/money"
)

// Generators are made anew by whoever draws from them: they are not safe for tests that run at the same time.

func minors() *rapid.Generator[int64] {
	return rapid.OneOf(rapid.Int64(), rapid.Int64Range(-1000, 1000), rapid.SampledFrom([]int64{math.MinInt64, math.MaxInt64}))
}

func currencies() *rapid.Generator[money.Currency] {
	return rapid.SampledFrom([]money.Currency{"usd", "jpy", "kwd", "isk", "huf"})
}

// amounts are of all sizes, and of currencies with and without decimals.
func amounts() *rapid.Generator[money.Amount] {
	return rapid.Custom(func(t *rapid.T) money.Amount {
		return money.New(minors().Draw(t, "minor"), currencies().Draw(t, "currency"))
	})
}

// requireExact holds a checked operation against the one on numbers without bounds.
func requireExact(t *rapid.T, want *big.Int, got money.Amount, err error) {
	if !want.IsInt64() {
		require.ErrorIs(t, err, money.ErrOverflow, "%s", want)
		return
	}
	require.NoError(t, err)
	require.Equal(t, want.Int64(), got.Minor)
}

func TestSumsAreExactOrRefused(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := amounts().Draw(t, "a")
		b := money.New(minors().Draw(t, "b"), a.Currency)
		x, y := big.NewInt(a.Minor), big.NewInt(b.Minor)

		sum, err := a.Add(b)
		requireExact(t, new(big.Int).Add(x, y), sum, err)
		difference, err := a.Sub(b)
		requireExact(t, new(big.Int).Sub(x, y), difference, err)
		negative, err := a.Neg()
		requireExact(t, new(big.Int).Neg(x), negative, err)
		order, err := a.Cmp(b)
		require.NoError(t, err)
		require.Equal(t, x.Cmp(y), order)
		require.Equal(t, x.Sign(), a.Sign())
		require.Equal(t, x.Sign() == 0, a.IsZero())
	})
}

func TestSharesAreExactOrRefused(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := amounts().Draw(t, "a")
		num, den := minors().Draw(t, "num"), rapid.OneOf(rapid.Int64Range(1, 1000), rapid.Int64Range(1, math.MaxInt64)).Draw(t, "den")
		product := new(big.Int).Mul(big.NewInt(a.Minor), big.NewInt(num))
		floor, rest := new(big.Int).DivMod(product, big.NewInt(den), new(big.Int))
		ceil := floor
		if rest.Sign() != 0 {
			ceil = new(big.Int).Add(floor, big.NewInt(1))
		}

		down, err := a.MulDivFloor(num, den)
		requireExact(t, floor, down, err)
		if floor.IsInt64() {
			up, err := a.MulDivCeil(num, den)
			requireExact(t, ceil, up, err)
		}
	})
}

func TestSharesByExample(t *testing.T) {
	t.Parallel()
	cases := []struct{ minor, num, den, floor, ceil int64 }{
		{10000, 100, 103, 9708, 9709}, // 100.00 instant: net 97.08, fee 2.92
		{10300, 100, 103, 10000, 10000},
		{1, 2, 100, 0, 1}, // PayPal's 2 % of a cent
		{-1, 2, 100, -1, 0},
		{-200, 1, 2, -100, -100},
		{math.MaxInt64, 100, 100, math.MaxInt64, math.MaxInt64},
		{math.MinInt64, 1, 1, math.MinInt64, math.MinInt64},
	}
	for _, c := range cases {
		floor, err := money.New(c.minor, "usd").MulDivFloor(c.num, c.den)
		require.NoError(t, err)
		ceil, err := money.New(c.minor, "usd").MulDivCeil(c.num, c.den)
		require.NoError(t, err)
		require.Equal(t, []int64{c.floor, c.ceil}, []int64{floor.Minor, ceil.Minor}, "%d × %d ÷ %d", c.minor, c.num, c.den)
	}
	for _, den := range []int64{0, -1} {
		_, err := money.New(1, "usd").MulDivFloor(1, den)
		require.ErrorContains(t, err, "divisor")
		_, err = money.New(1, "usd").MulDivCeil(1, den)
		require.ErrorContains(t, err, "divisor")
	}
	_, err := money.New(math.MaxInt64, "usd").MulDivCeil(2, 1)
	require.ErrorIs(t, err, money.ErrOverflow)
}

func TestCurrenciesDoNotMix(t *testing.T) {
	t.Parallel()
	usd, eur := money.New(1, "usd"), money.New(1, "eur")
	_, err := usd.Add(eur)
	require.ErrorIs(t, err, money.ErrCurrency)
	_, err = usd.Sub(eur)
	require.ErrorIs(t, err, money.ErrCurrency)
	_, err = usd.Cmp(eur)
	require.ErrorIs(t, err, money.ErrCurrency)
	require.ErrorContains(t, err, "0.01 USD and 0.01 EUR")
}

func TestFloorTo(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := amounts().Draw(t, "a")
		step := rapid.SampledFrom([]int64{1, 10, 100}).Draw(t, "step")

		floored := a.FloorTo(step)

		require.Zero(t, floored.Minor%step)
		require.Equal(t, a.Currency, floored.Currency)
		lost := a.Minor - floored.Minor
		require.Less(t, max(lost, -lost), step)
		require.GreaterOrEqual(t, lost*int64(a.Sign()), int64(0), "no amount grows")
	})
	require.Equal(t, money.New(1200, "huf"), money.New(1299, "huf").FloorTo(100))
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := amounts().Draw(t, "a")

		back, err := money.Parse(a.Decimal(), a.Currency)
		require.NoError(t, err)
		require.Equal(t, a, back)

		text, err := json.Marshal(a)
		require.NoError(t, err)
		var decoded money.Amount
		require.NoError(t, json.Unmarshal(text, &decoded))
		require.Equal(t, a, decoded)
	})
}

func TestStringAndJSONByExample(t *testing.T) {
	t.Parallel()
	for want, a := range map[string]money.Amount{
		"12.34 USD":                 money.New(1234, "usd"),
		"0.00 USD":                  money.Zero("usd"),
		"-0.05 USD":                 money.New(-5, "usd"),
		"500 JPY":                   money.New(500, "jpy"),
		"-500 JPY":                  money.New(-500, "jpy"),
		"1.250 KWD":                 money.New(1250, "kwd"),
		"-0.001 BHD":                money.New(-1, "bhd"),
		"-92233720368547758.08 EUR": money.New(math.MinInt64, "eur"),
		"9223372036854775.807 TND":  money.New(math.MaxInt64, "tnd"),
		"9223372036854775807 XOF":   money.New(math.MaxInt64, "xof"),
		"5.00 ISK":                  money.New(500, "isk"),
	} {
		require.Equal(t, want, a.String())
	}
	text, err := json.Marshal(money.New(1234, "usd"))
	require.NoError(t, err)
	require.JSONEq(t, `{"amount":1234,"currency":"usd"}`, string(text))
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text     string
		currency money.Currency
		want     int64
	}{
		{"12.34", "usd", 1234},
		{"12.3", "usd", 1230},
		{"12", "usd", 1200},
		{"-0.05", "usd", -5},
		{"-0", "usd", 0},
		{"007.50", "usd", 750},
		{"12.3400", "usd", 1234},
		{"500", "jpy", 500},
		{"500.00", "jpy", 500},
		{"1.25", "kwd", 1250},
		{"92233720368547758.07", "usd", math.MaxInt64},
		{"-92233720368547758.08", "usd", math.MinInt64},
	} {
		got, err := money.Parse(c.text, c.currency)
		require.NoError(t, err, c.text)
		require.Equal(t, money.New(c.want, c.currency), got, c.text)
	}
	for text, says := range map[string]string{
		"": "12.34", ".": "12.34", "12.": "12.34", ".5": "12.34", "+5": "12.34", "--5": "12.34", "1,000.00": "12.34", "1e3": "12.34",
		" 5": "12.34", "5\n": "12.34", "5.00 USD": "12.34", "0x10": "12.34", "NaN": "12.34", "١": "12.34", "5_0": "12.34",
		"12.345":                "decimals",
		"92233720368547758.08":  "too large",
		"-92233720368547758.09": "too large",
	} {
		_, err := money.Parse(text, "usd")
		require.ErrorContains(t, err, says, "%q", text)
	}
	_, err := money.Parse("500.50", "jpy")
	require.ErrorContains(t, err, "decimals")
}

func TestParseCurrency(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"usd", "USD", "Usd"} {
		got, err := money.ParseCurrency(text)
		require.NoError(t, err)
		require.Equal(t, money.Currency("usd"), got)
	}
	for _, text := range []string{"", "us", "usdd", "uſd", "xxx", "xau", "btc", "us d", " usd"} {
		_, err := money.ParseCurrency(text)
		require.ErrorContains(t, err, "ISO 4217", "%q", text)
	}
}

func TestDecimalsAndStripesStepsPerCurrency(t *testing.T) {
	t.Parallel()
	for currency, want := range map[money.Currency]struct {
		exponent int
		step     int64
	}{
		"usd": {2, 1}, "eur": {2, 1}, "jpy": {0, 1}, "krw": {0, 1}, "clp": {0, 1}, "mga": {0, 1},
		"huf": {2, 100}, "twd": {2, 100}, "isk": {2, 100}, "ugx": {2, 100},
		"bhd": {3, 10}, "jod": {3, 10}, "kwd": {3, 10}, "omr": {3, 10}, "tnd": {3, 10},
	} {
		require.Equal(t, want.exponent, currency.Exponent(), currency)
		require.Equal(t, want.step, currency.StripePayoutStep(), currency)
	}
}

func TestPayPalDecimal(t *testing.T) {
	t.Parallel()
	for want, a := range map[string]money.Amount{
		"97.08": money.New(9708, "usd"), "0.05": money.New(5, "eur"), "500": money.New(500, "jpy"), "12": money.New(1200, "huf"), "7": money.New(700, "twd"),
	} {
		got, err := money.PayPalDecimal(a)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := money.PayPalDecimal(money.New(1250, "huf"))
	require.ErrorContains(t, err, "without decimals")
	_, err = money.PayPalDecimal(money.New(1250, "kwd"))
	require.ErrorContains(t, err, "does not pay in this currency")
}
