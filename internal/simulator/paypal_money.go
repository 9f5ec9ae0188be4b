package simulator

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxPayPalAmount is the largest amount of one movement, and the largest balance.
const maxPayPalAmount = 999_999_999_999

// payPalFundsAtFirst is what there is of PayPal's own currency when nothing was said, in minor units.
const payPalFundsAtFirst = 1_000_000_000

// PayPalFunds is what there is of one currency, in PayPal's smallest unit of it: hundredths, but whole
// ones of HUF, JPY and TWD, which have no decimals at PayPal.
type PayPalFunds struct {
	Available int64 `json:"available"`
	Withheld  int64 `json:"withheld"` // for items of batches that are being processed
}

// payPalBooks are what there is, and every movement that led there. The lock of the PayPal that they
// belong to guards them.
type payPalBooks struct {
	putIn     map[string]int64 // from outside since the start, less what was taken out, by currency
	funds     map[string]PayPalFunds
	movements []payPalMovement // oldest first
}

// payPalMovement is a change of the funds.
type payPalMovement struct {
	at          time.Time
	currency    string
	change      PayPalFunds
	transaction *payPalTransaction // nil when funds were only put aside, or are free again
}

func newPayPalBooks() payPalBooks {
	b := payPalBooks{putIn: map[string]int64{}, funds: map[string]PayPalFunds{}}
	b.putOutside(payPalCurrency, payPalFundsAtFirst)
	return b
}

// move changes the funds.
func (b *payPalBooks) move(currency string, change PayPalFunds, transaction *payPalTransaction) {
	f := b.funds[currency]
	b.funds[currency] = PayPalFunds{Available: f.Available + change.Available, Withheld: f.Withheld + change.Withheld}
	b.movements = append(b.movements, payPalMovement{at: time.Now(), currency: currency, change: change, transaction: transaction})
}

// putOutside puts funds in from outside, or takes them out if the amount is negative.
func (b *payPalBooks) putOutside(currency string, amount int64) {
	b.putIn[currency] += amount
	code := payPalDeposit
	if amount < 0 {
		code = payPalWithdrawal
	}
	t := newPayPalTransaction(code, payPalAmount{amount, currency})
	b.move(currency, PayPalFunds{Available: amount}, t)
}

// at is what there was at a moment.
func (b *payPalBooks) at(moment time.Time) map[string]PayPalFunds {
	then := maps.Clone(b.funds)
	for _, m := range slices.Backward(b.movements) {
		if !m.at.After(moment) {
			break
		}
		f := then[m.currency]
		then[m.currency] = PayPalFunds{Available: f.Available - m.change.Available, Withheld: f.Withheld - m.change.Withheld}
	}
	return then
}

// SetPayPalBalance makes the amount available, in PayPal's smallest unit of the currency. The
// difference comes from outside, or goes there. At first there are 10,000,000.00 USD.
func (p *PayPal) SetPayPalBalance(currency string, amount int64) error {
	return p.changeBalance(currency, amount, func(int64) int64 { return amount })
}

// FundPayPal puts the amount in from outside, or takes it out if it is negative, in PayPal's smallest
// unit of the currency.
func (p *PayPal) FundPayPal(currency string, amount int64) error {
	return p.changeBalance(currency, amount, func(available int64) int64 { return available + amount })
}

func (p *PayPal) changeBalance(currency string, amount int64, change func(available int64) int64) error {
	switch {
	case !isPayPalCurrency(currency):
		return fmt.Errorf("simulator: change a PayPal balance: %q is no currency of PayPal's (three capital letters)", currency)
	case max(amount, -amount) > maxPayPalAmount:
		return fmt.Errorf("simulator: change a PayPal balance: %d is more than %d either way", amount, int64(maxPayPalAmount))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	available := p.money.funds[currency].Available
	if more := change(available) - available; more != 0 {
		p.money.putOutside(currency, more)
	}
	return nil
}

// PayPalBalances is what there is now, by currency, whatever the lag of the API's answers.
func (p *PayPal) PayPalBalances() map[string]PayPalFunds {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.money.funds)
}

// payPalAmount is an amount in PayPal's smallest unit.
type payPalAmount struct {
	units    int64
	currency string
}

// String is the amount as PayPal writes it.
func (a payPalAmount) String() string {
	if payPalDecimals(a.currency) == 0 {
		return strconv.FormatInt(a.units, 10)
	}
	sign, units := "", a.units
	if units < 0 {
		sign, units = "-", -units
	}
	return fmt.Sprintf("%s%d.%02d", sign, units/100, units%100)
}

var payPalDecimal = regexp.MustCompile(`^[0-9]{1,10}(\.[0-9]{1,2})?$`)

var errPayPalAmount = errors.New("the amount is no decimal number, has decimals that the currency has not, or is too large")

// readPayPalAmount reads an amount as PayPal takes it: digits, and no more decimals than the currency has.
func readPayPalAmount(value, currency string) (payPalAmount, error) {
	if !payPalDecimal.MatchString(value) {
		return payPalAmount{}, errPayPalAmount
	}
	whole, decimals, _ := strings.Cut(value, ".")
	places := payPalDecimals(currency)
	if len(decimals) > places {
		return payPalAmount{}, errPayPalAmount
	}
	units, err := strconv.ParseInt(whole+decimals+strings.Repeat("0", places-len(decimals)), 10, 64)
	if err != nil {
		return payPalAmount{}, fmt.Errorf("read the amount: %w", err)
	}
	return payPalAmount{units, currency}, nil
}

func payPalDecimals(currency string) int {
	switch currency {
	case "HUF", "JPY", "TWD":
		return 0
	}
	return 2
}

func isPayPalCurrency(currency string) bool {
	// developer.paypal.com/reference/currency-codes
	const all = " AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD HUF ILS JPY MXN MYR NOK NZD PHP PLN SEK SGD THB TWD USD "
	return len(currency) == 3 && strings.Contains(all, " "+currency+" ")
}
