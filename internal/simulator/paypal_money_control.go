package simulator

import "net/http"

func (s *Simulator) payPalMoneyControlCalls() []controlCall {
	return []controlCall{
		{"GET /paypal/balance", "what we have, by currency", s.getPayPalBalance},
		{"POST /paypal/balance", `put in more: {"currency": "USD", "amount": 100000}`, s.payPalBalance((*PayPal).FundPayPal)},
		{"PUT /paypal/balance", `what we have available: {"currency": "USD", "amount": 100000}`, s.payPalBalance((*PayPal).SetPayPalBalance)},
		{
			"PUT /paypal/payouts", `how payouts are dealt with: {"processing_ms": 100, "manual": false, "duplicate_without_link": true, ` +
				`"refuse_unfunded": true, "balance_lag_ms": 1000, "search_lag_ms": 1000}, all optional`,
			s.putPayPalPayouts,
		},
		{"GET /paypal/payouts", "the batches of payouts, with their items; unclaimed-ada@example.com is not claimed, and so on for onhold-, " +
			"blocked-, failed-, returned-, refunded-, reversed-, invalid-, invalid-unnamed-", s.getPayPalPayouts},
		{"POST /paypal/payouts/{id}/advance", "take a batch to PROCESSING, or from there to its end", s.changePayPalBatch((*PayPal).AdvancePayPalBatch)},
		{"POST /paypal/payouts/{id}/deny", `deny a batch: {"code": "INSUFFICIENT_FUNDS"}`, s.denyPayPalBatch},
		{"DELETE /paypal/sender-batch-ids", "forget the sender_batch_ids, as PayPal does after 30 days", s.deletePayPalSenderBatchIDs},
		{"POST /paypal/payout-items/{id}/settle", "pay one that is ONHOLD", s.changePayPalItem((*PayPal).SettlePayPalItem)},
		{"POST /paypal/payout-items/{id}/claim", "the receiver claims it", s.changePayPalItem((*PayPal).ClaimPayPalItem)},
		{"POST /paypal/payout-items/{id}/block", "block one that is ONHOLD or UNCLAIMED", s.changePayPalItem((*PayPal).BlockPayPalItem)},
		{"POST /paypal/payout-items/{id}/unblock", "pay one that is BLOCKED", s.changePayPalItem((*PayPal).UnblockPayPalItem)},
		{"POST /paypal/payout-items/{id}/return", "return it, as PayPal does after 30 days", s.changePayPalItem((*PayPal).ReturnPayPalItem)},
		{"POST /paypal/payout-items/{id}/refund", "the receiver sends it back", s.changePayPalItem((*PayPal).RefundPayPalItem)},
		{"POST /paypal/payout-items/{id}/reverse", `take it back: {"amount": 500}, 0 for all of it`, s.reversePayPalItem},
		{"POST /paypal/payout-items/{id}/fail", `fail it: {"code": "RECEIVER_ACCOUNT_LOCKED"}`, s.failPayPalItem((*PayPal).FailPayPalItem)},
		{"POST /paypal/payout-items/{id}/deny", `deny it: {"code": "RISK_DECLINE"}`, s.failPayPalItem((*PayPal).DenyPayPalItem)},
		{"GET /paypal/money", "the items for each payout, and whether any is double or money is lost", s.getPayPalMoney},
	}
}

func (s *Simulator) getPayPalBalance(*http.Request) (any, error) {
	return s.paypal.PayPalBalances(), nil
}

func (s *Simulator) payPalBalance(change func(*PayPal, string, int64) error) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		asked, err := decode[balanceBody](r)
		if err != nil {
			return nil, err
		}
		if err := change(s.paypal, asked.Currency, asked.Amount); err != nil {
			return nil, badRequestError{err}
		}
		return s.getPayPalBalance(r)
	}
}

func (s *Simulator) putPayPalPayouts(r *http.Request) (any, error) {
	settings, err := decode[PayPalPayoutSettings](r)
	if err != nil {
		return nil, err
	}
	return orBadRequest(settings, s.paypal.SetPayouts(settings))
}

func (s *Simulator) getPayPalPayouts(*http.Request) (any, error) {
	return s.paypal.PayPalBatches(), nil
}

func (s *Simulator) changePayPalBatch(change func(*PayPal, string) (PayPalBatch, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) { return orBadRequest(change(s.paypal, r.PathValue("id"))) }
}

type payPalCodeBody struct {
	Code string `json:"code"`
}

func (s *Simulator) denyPayPalBatch(r *http.Request) (any, error) {
	asked, err := decode[payPalCodeBody](r)
	if err != nil {
		return nil, err
	}
	return orBadRequest(s.paypal.DenyPayPalBatch(r.PathValue("id"), asked.Code))
}

func (s *Simulator) deletePayPalSenderBatchIDs(*http.Request) (any, error) {
	return map[string]int{"forgotten": s.paypal.ForgetPayPalSenderBatchIDs()}, nil
}

func (s *Simulator) changePayPalItem(change func(*PayPal, string) (PayPalItem, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) { return orBadRequest(change(s.paypal, r.PathValue("id"))) }
}

func (s *Simulator) failPayPalItem(fail func(*PayPal, string, string) (PayPalItem, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		asked, err := decode[payPalCodeBody](r)
		if err != nil {
			return nil, err
		}
		return orBadRequest(fail(s.paypal, r.PathValue("id"), asked.Code))
	}
}

func (s *Simulator) reversePayPalItem(r *http.Request) (any, error) {
	asked, err := decode[struct {
		Amount int64 `json:"amount"`
	}](r)
	if err != nil {
		return nil, err
	}
	return orBadRequest(s.paypal.ReversePayPalItem(r.PathValue("id"), asked.Amount))
}

func (s *Simulator) getPayPalMoney(*http.Request) (any, error) {
	return s.paypal.PayPalMoneyAudit(), nil
}
