package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
)

func (s *Simulator) stripeMoneyControlCalls() []controlCall {
	return []controlCall{
		{"GET /stripe/accounts", "Stripe's connected accounts", s.getAccounts},
		{"GET /stripe/accounts/{id}", "one of them", s.getAccount},
		{"PUT /stripe/accounts", `add or replace one, without an event: {"id": "acct_…", "country": "US", "currency": "usd", ` +
			`"external_accounts": [{"id": "ba_…", "no_instant": true, "status": "new"}], …}, as GET shows them, all optional`, s.putAccount},
		{"PATCH /stripe/accounts/{id}", `change some of it: {"payouts_disabled": true, "payout_schedule": "daily", "revoked": true, ` +
			`"external_accounts": [{"id": "ba_…", "status": "errored", "refusal": "account_closed"}]}`, s.patchAccount},
		{"GET /stripe/accounts/{id}/balance", "what it has, by currency", s.getAccountBalance},
		{"PUT /stripe/accounts/{id}/balance", `what it has available: {"currency": "usd", "amount": -500}`, s.putAccountBalance},
		{"POST /stripe/accounts/{id}/release-funds", "make available what it waits for", s.postReleaseFunds},
		{"GET /stripe/balance", "what we have, by currency", s.getPlatformBalance},
		{"PUT /stripe/balance", `what we have available: {"currency": "usd", "amount": 100000}`, s.putPlatformBalance},
		{
			"PUT /stripe/transfer-delay", `when funds are available, and how much later instantly: {"available_ms": 0, "instant_ms": 0}`,
			s.putTransferDelay,
		},
		{"PUT /stripe/payout-limits", `{"minimum": {"usd": 100}, "instant_minimum": {"usd": 50}, "instant_maximum": {"usd": 999900}, ` +
			`"instant_per_day": {}}`, s.putPayoutLimits},
		{"PUT /stripe/payout-settlement", `what becomes of payouts by themselves: {"automatic": true, "delay_ms": 100, ` +
			`"fail_share": 0.01, "return_share": 0.01, "failure_code": "account_closed"}, all but automatic optional`, s.putPayoutSettlement},
		{"GET /stripe/transfers", "the transfers, with their reversals", s.getTransfers},
		{"GET /stripe/payouts", "the payouts; ?account=acct_… for one account's", s.getPayouts},
		{"POST /stripe/payouts", `one that the payee or a schedule makes: {"account": "acct_…", "amount": 1000, "automatic": true, ` +
			`"metadata": {}, …}`, s.postPayout},
		{"POST /stripe/payouts/{id}/send", "put it in transit", s.changeStripePayout((*Stripe).SendPayout)},
		{"POST /stripe/payouts/{id}/settle", "pay it", s.changeStripePayout((*Stripe).SettlePayout)},
		{"POST /stripe/payouts/{id}/fail", `fail it: {"code": "account_closed"}`, s.failStripePayout((*Stripe).FailPayout)},
		{"POST /stripe/payouts/{id}/return", `return it late: {"code": "account_closed"}`, s.failStripePayout((*Stripe).ReturnPayout)},
		{"GET /stripe/audit/money", "the movements for each payout, and whether any is double or lost", s.getMoneyAudit},
	}
}

func (s *Simulator) getAccounts(*http.Request) (any, error) { return s.stripe.Accounts(), nil }

func (s *Simulator) getAccount(r *http.Request) (any, error) {
	a, ok := s.stripe.Account(r.PathValue("id"))
	if !ok {
		return nil, badRequestError{fmt.Errorf("there is no Stripe account %q (GET /stripe/accounts lists them)", r.PathValue("id"))}
	}
	return a, nil
}

func (s *Simulator) putAccount(r *http.Request) (any, error) {
	seed, err := decode[Account](r)
	if err != nil {
		return nil, err
	}
	return orBadRequest(s.stripe.PutAccount(seed))
}

func (s *Simulator) patchAccount(r *http.Request) (any, error) {
	patch, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, badRequestError{fmt.Errorf("read the body: %w", err)}
	}
	var problem error
	changed, err := s.stripe.SetAccount(r.PathValue("id"), func(a *Account) { problem = patchAccount(a, patch) })
	return orBadRequest(changed, errors.Join(err, problem))
}

// patchAccount changes the fields that the JSON has. A list is replaced as a whole.
func patchAccount(a *Account, fields []byte) error {
	patched := *a
	patched.Metadata = maps.Clone(a.Metadata)
	patched.ExternalAccounts = nil // which would be decoded into one by one
	decoder := json.NewDecoder(bytes.NewReader(fields))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&patched); err != nil {
		return fmt.Errorf("read the body (GET / shows its form): %w", err)
	}
	if patched.ExternalAccounts == nil {
		patched.ExternalAccounts = a.ExternalAccounts
	}
	*a = patched
	return nil
}

func (s *Simulator) getAccountBalance(r *http.Request) (any, error) {
	return orBadRequest(s.stripe.Balance(r.PathValue("id")))
}

func (s *Simulator) getPlatformBalance(*http.Request) (any, error) {
	return orBadRequest(s.stripe.Balance(""))
}

type balanceBody struct {
	Currency string `json:"currency"`
	Amount   int64  `json:"amount"`
}

func (s *Simulator) putAccountBalance(r *http.Request) (any, error) {
	asked, err := decode[balanceBody](r)
	if err != nil {
		return nil, err
	}
	return orBadRequest(asked, s.stripe.SetAccountBalance(r.PathValue("id"), asked.Currency, asked.Amount))
}

func (s *Simulator) putPlatformBalance(r *http.Request) (any, error) {
	asked, err := decode[balanceBody](r)
	if err != nil {
		return nil, err
	}
	return orBadRequest(asked, s.stripe.SetPlatformBalance(asked.Currency, asked.Amount))
}

func (s *Simulator) postReleaseFunds(r *http.Request) (any, error) {
	if err := s.stripe.ReleaseFunds(r.PathValue("id")); err != nil {
		return nil, badRequestError{err}
	}
	return s.getAccountBalance(r)
}

func (s *Simulator) putTransferDelay(r *http.Request) (any, error) {
	delay, err := decode[TransferDelay](r)
	if err != nil {
		return nil, err
	}
	return orBadRequest(delay, s.stripe.SetTransferDelay(delay))
}

func (s *Simulator) putPayoutLimits(r *http.Request) (any, error) {
	limits, err := decode[PayoutLimits](r)
	if err != nil {
		return nil, err
	}
	return orBadRequest(limits, s.stripe.SetPayoutLimits(limits))
}

func (s *Simulator) putPayoutSettlement(r *http.Request) (any, error) {
	settlement, err := decode[PayoutSettlement](r)
	if err != nil {
		return nil, err
	}
	return orBadRequest(settlement, s.stripe.SetPayoutSettlement(settlement))
}

func (s *Simulator) getTransfers(*http.Request) (any, error) { return s.stripe.Transfers(), nil }

func (s *Simulator) getPayouts(r *http.Request) (any, error) {
	return s.stripe.Payouts(r.URL.Query().Get("account")), nil
}

func (s *Simulator) postPayout(r *http.Request) (any, error) {
	seed, err := decode[Payout](r)
	if err != nil {
		return nil, err
	}
	return orBadRequest(s.stripe.PutPayout(seed))
}

func (s *Simulator) changeStripePayout(change func(*Stripe, string) (Payout, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) { return orBadRequest(change(s.stripe, r.PathValue("id"))) }
}

func (s *Simulator) failStripePayout(fail func(*Stripe, string, string) (Payout, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		asked, err := decode[struct {
			Code string `json:"code"`
		}](r)
		if err != nil {
			return nil, err
		}
		return orBadRequest(fail(s.stripe, r.PathValue("id"), asked.Code))
	}
}

func (s *Simulator) getMoneyAudit(*http.Request) (any, error) { return s.stripe.MoneyAudit(), nil }
