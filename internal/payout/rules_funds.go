package payout

import (
	"cmp"
	"fmt"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
)

// Need is what one payee's payouts in a run take of the platform's funds on a rail.
type Need struct {
	PayeeID string
	DueDate date.Date
	Amount  money.Amount
}

// NeedFor is what payouts take of the platform's funds: what is sent, and at PayPal its own fee, which
// comes from the same balance. Our fee stays where it is.
func NeedFor(payouts []Plan, c money.Currency, p Policy) (money.Amount, error) {
	need := money.Zero(c)
	for _, plan := range payouts {
		cost := int64(0)
		if plan.Method == MethodPayPal {
			cost = plan.Net.Minor - share(plan.Net.Minor, percent-p.PayPalCostPercent, percent)
		}
		for _, amount := range []money.Amount{plan.Net, money.New(cost, c)} {
			var err error
			if need, err = need.Add(amount); err != nil {
				return money.Amount{}, fmt.Errorf("add up what payouts need: %w", err)
			}
		}
	}
	return need, nil
}

// CompareNeeds orders them as they are served: who has been due longest first, then by the payee's id.
func CompareNeeds(a, b Need) int {
	return cmp.Or(a.DueDate.Compare(b.DueDate), cmp.Compare(a.PayeeID, b.PayeeID))
}

// WithinFunds says how many of the needs, which are in their order, positive and of one currency, the
// funds serve, and what is missing for all of them. It goes as far as the funds do and no further: nobody is
// passed over because somebody later needs less. A payee's parts are paid together or not at all.
func WithinFunds(needs []Need, available money.Amount) (served int, missing money.Amount, err error) {
	total := money.Zero(available.Currency)
	for i, need := range needs {
		if total, err = total.Add(need.Amount); err != nil {
			return 0, money.Amount{}, fmt.Errorf("add up what payouts need, up to that of %s: %w", need.PayeeID, err)
		}
		if total.Minor <= available.Minor {
			served = i + 1
		}
	}
	if served == len(needs) {
		return served, money.Zero(available.Currency), nil
	}
	missing, err = total.Sub(available)
	return served, missing, err
}
