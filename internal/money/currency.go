package money

import (
	"fmt"
	"strings"
)

// Currency is an ISO 4217 code in lower case, such as "usd". Values come from ParseCurrency.
type Currency string

// ParseCurrency takes the code of a currency that is in use, in either case.
func ParseCurrency(text string) (Currency, error) {
	c := Currency(strings.ToLower(text))
	if _, known := exponents[c]; !known {
		return "", fmt.Errorf("%.10q is not the ISO 4217 code of a currency, as in usd", text)
	}
	return c, nil
}

// Exponent says how many decimals the minor units of a currency are.
func (c Currency) Exponent() int { return exponents[c] }

// String is the code as people write it: "USD".
func (c Currency) String() string { return strings.ToUpper(string(c)) }

// StripePayoutStep is what every amount of a transfer or payout at Stripe must be a multiple of, in
// minor units (docs.stripe.com/currencies): whole units only for currencies that banks keep without
// decimals, and a last digit of zero for those with three.
func (c Currency) StripePayoutStep() int64 {
	switch {
	case c == "huf", c == "twd", c == "isk", c == "ugx":
		return 100
	case c.Exponent() == 3:
		return 10
	default:
		return 1
	}
}

// exponents are those of ISO 4217 for every currency in circulation, but for the three that Stripe's
// API counts in another way (docs.stripe.com/currencies). An amount is thus the very number that goes
// to Stripe, and nothing between us and it multiplies by a hundred.
var exponents = func() map[Currency]int {
	table := map[Currency]int{}
	for exponent, codes := range []string{
		0: `bif clp djf gnf jpy kmf krw pyg rwf vnd vuv xaf xof xpf` +
			` mga`, // ISO 4217: 2, of fifths; Stripe: none
		2: `aed afn all amd aoa ars aud awg azn bam bbd bdt bmd bnd bob brl bsd btn bwp byn bzd cad cdf
			chf cny cop crc cup cve czk dkk dop dzd egp ern etb eur fjd fkp gbp gel ghs gip gmd gtq gyd
			hkd hnl htg huf idr ils inr irr jmd kes kgs khr kpw kyd kzt lak lbp lkr lrd lsl mad mdl mkd
			mmk mnt mop mru mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd pab pen pgk php pkr pln qar
			ron rsd rub sar sbd scr sdg sek sgd shp sle sos srd ssp stn svc syp szl thb tjs tmt top try
			ttd twd tzs uah usd uyu uzs ves wst xcd xcg yer zar zmw zwg` +
			` isk ugx`, // ISO 4217: 0; Stripe: 2, of which both must be zero
		3: `bhd iqd jod kwd lyd omr tnd`,
	} {
		for code := range strings.FieldsSeq(codes) {
			table[Currency(code)] = exponent
		}
	}
	return table
}()
