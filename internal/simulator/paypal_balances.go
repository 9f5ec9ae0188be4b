package simulator

import (
	"maps"
	"net/http"
	"slices"
	"time"
)

// payPalAccountID is our account at PayPal.
const payPalAccountID = "S2MULATR7ACCT"

type payPalShownBalances struct {
	Balances      []payPalBalance  `json:"balances"`
	AccountID     string           `json:"account_id"`
	AsOf          payPalReportTime `json:"as_of_time"`
	LastRefreshed payPalReportTime `json:"last_refresh_time"`
}

type payPalBalance struct {
	Currency  string      `json:"currency"`
	Primary   bool        `json:"primary,omitempty"`
	Total     payPalMoney `json:"total_balance"`
	Available payPalMoney `json:"available_balance"`
	Withheld  payPalMoney `json:"withheld_balance"`
}

// showBalances answers GET /v1/reporting/balances: what there was at the moment asked for, or at the
// last one that the reports know of.
func (p *PayPal) showBalances(r payPalRequest) (int, any, *payPalError) {
	refreshed := time.Now().Add(-time.Duration(p.payouts.settings.BalanceLagMS) * time.Millisecond)
	asOf := refreshed
	if r.query.Has("as_of_time") {
		asked, problem := readPayPalTime(r.query, "as_of_time")
		if problem != nil {
			return 0, nil, problem
		}
		if asked.Before(asOf) {
			asOf = asked
		}
	}
	shown := payPalShownBalances{
		Balances: []payPalBalance{}, AccountID: payPalAccountID, AsOf: payPalReportTime(asOf), LastRefreshed: payPalReportTime(refreshed),
	}
	funds, wanted := p.money.at(asOf), r.query.Get("currency_code")
	for _, currency := range slices.Sorted(maps.Keys(funds)) {
		if wanted != "" && wanted != currency {
			continue
		}
		f := funds[currency]
		shown.Balances = append(shown.Balances, payPalBalance{
			Currency: currency, Primary: currency == payPalCurrency, Total: payPalReported(f.Available+f.Withheld, currency),
			Available: payPalReported(f.Available, currency), Withheld: payPalReported(f.Withheld, currency),
		})
	}
	return http.StatusOK, shown, nil
}
