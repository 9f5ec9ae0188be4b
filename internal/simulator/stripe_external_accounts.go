package simulator

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Kinds of external accounts.
const (
	bankAccountKind = "bank_account"
	cardKind        = "card"
)

// instantCountries are those where Stripe offers instant payouts to connected accounts
// (docs.stripe.com/connect/instant-payouts).
const instantCountries = "AE AU CA DK GB HK MY NO NZ SE SG US AT BE BG CY CZ DE EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SI SK"

// ExternalAccount is a bank account or a debit card that a connected account is paid out to.
type ExternalAccount struct {
	ID       string `json:"id,omitempty"`       // "ba_…" or "card_…"; one is made if it is empty
	Country  string `json:"country,omitempty"`  // empty means the account's
	Currency string `json:"currency,omitempty"` // empty means the account's
	Last4    string `json:"last4,omitempty"`    // empty means 6789
	// Status is "new", "validated", "verified", "verification_failed" or "errored"; empty means new.
	// A card has none.
	Status string `json:"status,omitempty"`
	// NoInstant means that it takes no instant payouts, though Stripe may offer them in its country.
	NoInstant bool `json:"no_instant,omitempty"`
	// Refusal is the code with which Stripe refuses payouts to it, such as account_closed; empty means
	// that it takes them.
	Refusal string `json:"refusal,omitempty"`
}

// stripeExternalAccount is an external account as the API shows it: of a bank account and a card
// what both have, and what payouts are about.
type stripeExternalAccount struct {
	ID                     string            `json:"id"`
	Object                 string            `json:"object"`
	Account                string            `json:"account"`
	AvailablePayoutMethods []string          `json:"available_payout_methods"`
	BankName               string            `json:"bank_name,omitempty"`
	Brand                  string            `json:"brand,omitempty"`
	Country                string            `json:"country"`
	Currency               string            `json:"currency"`
	DefaultForCurrency     bool              `json:"default_for_currency"`
	Fingerprint            string            `json:"fingerprint"`
	Funding                string            `json:"funding,omitempty"`
	Last4                  string            `json:"last4"`
	Metadata               map[string]string `json:"metadata"`
	Status                 string            `json:"status,omitempty"`
}

func (e *stripeExternalAccount) objectID() string { return e.ID }

// createdAt does not tell them apart: a list shows them in their own order, whatever their age.
func (e *stripeExternalAccount) createdAt() int64 { return 0 }

func (e ExternalAccount) kind() string {
	if strings.HasPrefix(e.ID, "card_") {
		return cardKind
	}
	return bankAccountKind
}

func (e ExternalAccount) takesInstant() bool {
	return !e.NoInstant && slices.Contains(strings.Fields(instantCountries), e.Country)
}

// withExternalAccounts is the account with the defaults of its external accounts in place.
func (a Account) withExternalAccounts() (Account, error) {
	given := a.ExternalAccounts
	if given == nil {
		given = []ExternalAccount{{}}
	}
	a.ExternalAccounts = make([]ExternalAccount, 0, len(given))
	for _, e := range given {
		e.ID = cmp.Or(e.ID, newID("ba_"))
		e.Country, e.Currency, e.Last4 = cmp.Or(e.Country, a.Country), cmp.Or(e.Currency, a.Currency), cmp.Or(e.Last4, "6789")
		if e.kind() == bankAccountKind {
			e.Status = cmp.Or(e.Status, "new")
		}
		switch {
		case !strings.HasPrefix(e.ID, "ba_") && !strings.HasPrefix(e.ID, "card_"):
			return Account{}, fmt.Errorf("simulator: Stripe account %s: external account %q: an id begins with ba_ or card_", a.ID, e.ID)
		case !isStripeCurrency(e.Currency):
			return Account{}, fmt.Errorf("simulator: Stripe account %s: external account %s: %q is no currency of Stripe's", a.ID, e.ID, e.Currency)
		case e.kind() == bankAccountKind && !slices.Contains([]string{"new", "validated", "verified", "verification_failed", "errored"}, e.Status):
			return Account{}, fmt.Errorf("simulator: Stripe account %s: external account %s: %q is no status of a bank account", a.ID, e.ID, e.Status)
		}
		a.ExternalAccounts = append(a.ExternalAccounts, e)
	}
	return a, nil
}

// destination is the external account with that id, or the default of a currency if it is empty.
func (a *stripeAccount) destination(id, currency string) (ExternalAccount, bool) {
	at := slices.IndexFunc(a.ExternalAccounts, func(e ExternalAccount) bool {
		return e.ID == id || id == "" && e.Currency == currency
	})
	if at < 0 {
		return ExternalAccount{}, false
	}
	return a.ExternalAccounts[at], true
}

// external are the account's external accounts as the API shows them, of one kind or of both.
func (a *stripeAccount) external(kind string) *collection[*stripeExternalAccount] {
	all := &collection[*stripeExternalAccount]{}
	for _, e := range a.ExternalAccounts {
		if kind == "" || kind == e.kind() {
			first, _ := a.destination("", e.Currency)
			all.add(e.shown(a.ID, first.ID == e.ID))
		}
	}
	return all
}

func (e ExternalAccount) shown(accountID string, isDefault bool) *stripeExternalAccount {
	shown := &stripeExternalAccount{
		ID: e.ID, Object: e.kind(), Account: accountID, AvailablePayoutMethods: []string{standardMethod}, Country: e.Country,
		Currency: e.Currency, DefaultForCurrency: isDefault, Fingerprint: "fp" + e.ID[max(0, len(e.ID)-14):], Last4: e.Last4,
		Metadata: map[string]string{}, Status: e.Status,
	}
	if e.takesInstant() {
		shown.AvailablePayoutMethods = append(shown.AvailablePayoutMethods, instantMethod)
	}
	if shown.Object == cardKind {
		shown.Brand, shown.Funding = "Visa", "debit"
	} else {
		shown.BankName = "STRIPE TEST BANK"
	}
	return shown
}

// shownExternalAccounts is the first page of them within the account.
func (a *stripeAccount) shownExternalAccounts() stripeList[*stripeExternalAccount] {
	const shown = 10
	// Without a page to begin from nothing can be missing.
	list, _ := a.external("").page(listQuery{limit: shown, created: always()}, a.externalURL(), "", func(*stripeExternalAccount) bool { return true })
	return list
}

func (a *stripeAccount) externalURL() string { return "/v1/accounts/" + a.ID + "/external_accounts" }

func (s *Stripe) listExternalAccounts(r stripeRequest) (stripeWork, *stripeError) {
	if problem := r.params.only(withListParams(map[string]paramKind{"object": aText})); problem != nil {
		return nil, problem
	}
	query, problem := readListQuery(r.params)
	if problem != nil {
		return nil, problem
	}
	return s.onAccount(r.id, func(a *stripeAccount) (any, *stripeError) {
		of := a.external(r.params.text("object"))
		return of.page(query, a.externalURL(), "external account", func(*stripeExternalAccount) bool { return true })
	}), nil
}

func (s *Stripe) retrieveExternalAccount(r stripeRequest) (stripeWork, *stripeError) {
	if problem := r.params.only(nil); problem != nil {
		return nil, problem
	}
	return s.onAccount(r.id, func(a *stripeAccount) (any, *stripeError) {
		e, ok := a.external("").get(r.child)
		if !ok {
			return nil, missing("external account", r.child)
		}
		return e, nil
	}), nil
}
