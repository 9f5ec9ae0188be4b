package stripe

import (
	"context"
	"net/http"
	"slices"

	stripego "github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/form"
)

const (
	accountRoute          = "/v1/accounts/{id}"
	externalAccountsRoute = "/v1/accounts/{id}/external_accounts"
	balanceRoute          = "/v1/balance"
)

// Account is a connected account, as far as it decides whether and how it can be paid out.
type Account struct {
	ID               string // "acct_…"
	Country          string // two letters
	DefaultCurrency  string // lower case
	PayoutsEnabled   bool
	TransfersActive  bool   // it can take transfers
	ScheduleInterval string // "manual", or how often Stripe pays out by itself
	ServiceAgreement string // "full" or "recipient"
	Requirements     Requirements
	ExternalAccounts []ExternalAccount
}

// Requirements is what Stripe still wants to know of an account.
type Requirements struct {
	CurrentlyDue   []string // names of fields
	PastDue        []string
	DisabledReason string // empty while nothing is disabled
}

// ExternalAccount is a bank account or a card that an account is paid out to.
type ExternalAccount struct {
	ID               string // "ba_…" or "card_…"
	Country          string
	Currency         string // lower case
	Status           string // Stripe's own word; "errored" after a payout failed
	Last4            string
	Default          bool // of its currency
	InstantAvailable bool // it takes instant payouts
}

// Funds is what an account has in one currency, in minor units. Available may be negative.
type Funds struct {
	Available        int64
	Pending          int64
	InstantAvailable int64
}

// Balance is the funds of an account by currency in lower case.
type Balance map[string]Funds

// GetAccount reads a connected account, with all of its external accounts. One that is not connected
// to us, or no longer, is Rejected, and its payee's matter. An error that is no Failure means that the
// context ended while it waited its turn for a page of external accounts.
func (c *Client) GetAccount(ctx context.Context, id string) (Account, error) {
	if err := checkID(id, "account", accountID); err != nil {
		return Account{}, err
	}
	params := &stripego.AccountParams{}
	found, err := one(ctx, c, request{route: accountRoute, account: true}, func(ctx context.Context) (*stripego.Account, error) {
		params.Context = ctx
		return c.accounts.GetByID(id, params)
	}, func(a *stripego.Account) bool { return a.Object == "account" && a.ID == id })
	if err != nil {
		return Account{}, err
	}
	account := accountFrom(found)
	if shown := found.ExternalAccounts; shown != nil && shown.HasMore {
		if account.ExternalAccounts, err = c.allExternalAccounts(ctx, id); err != nil {
			return Account{}, err
		}
	}
	return account, nil
}

// allExternalAccounts reads those of an account that has more than it shows itself.
func (c *Client) allExternalAccounts(ctx context.Context, id string) ([]ExternalAccount, error) {
	if err := c.waitForPage(ctx, "external accounts"); err != nil {
		return nil, err
	}
	idOf := func(e ExternalAccount) string { return e.ID }
	return all(ctx, c, "external accounts", idOf, func(after *string) ([]ExternalAccount, bool, error) {
		page, err := one(ctx, c, request{route: externalAccountsRoute, account: true}, func(ctx context.Context) (*stripego.AccountExternalAccountList, error) {
			return c.externalAccounts.list(id, onePage(ctx, "", after))
		}, func(l *stripego.AccountExternalAccountList) bool { return isPage(l.ListMeta, len(l.Data)) })
		if err != nil {
			return nil, false, err
		}
		return each(page.Data, externalAccountFrom), page.HasMore, nil
	})
}

// externalAccounts lists bank accounts and cards together, which stripe-go has no client for.
type externalAccounts struct {
	backend stripego.Backend
	key     string
}

func (e externalAccounts) list(account string, page stripego.ListParams) (*stripego.AccountExternalAccountList, error) {
	var (
		listed stripego.AccountExternalAccountList
		query  form.Values
	)
	form.AppendTo(&query, &page)
	path := stripego.FormatURLPath("/v1/accounts/%s/external_accounts", account)
	err := e.backend.CallRaw(http.MethodGet, path, e.key, &query, page.GetParams(), &listed)
	return &listed, err
}

// GetBalance reads the balance of a connected account, or of the platform for an empty id.
func (c *Client) GetBalance(ctx context.Context, id string) (Balance, error) {
	if id != "" {
		if err := checkID(id, "account", accountID); err != nil {
			return nil, err
		}
	}
	params := &stripego.BalanceParams{Params: stripego.Params{StripeAccount: unlessEmpty(id)}}
	found, err := one(ctx, c, request{route: balanceRoute, account: id != ""}, func(ctx context.Context) (*stripego.Balance, error) {
		params.Context = ctx
		return c.balances.Get(params)
	}, func(b *stripego.Balance) bool { return b.Object == "balance" })
	if err != nil {
		return nil, err
	}
	return balanceFrom(found), nil
}

func accountFrom(a *stripego.Account) Account {
	account := Account{ID: a.ID, Country: a.Country, DefaultCurrency: string(a.DefaultCurrency), PayoutsEnabled: a.PayoutsEnabled}
	if a.Capabilities != nil {
		account.TransfersActive = a.Capabilities.Transfers == stripego.AccountCapabilityStatusActive
	}
	if a.Settings != nil && a.Settings.Payouts != nil && a.Settings.Payouts.Schedule != nil {
		account.ScheduleInterval = string(a.Settings.Payouts.Schedule.Interval)
	}
	if a.TOSAcceptance != nil {
		account.ServiceAgreement = string(a.TOSAcceptance.ServiceAgreement)
	}
	if r := a.Requirements; r != nil {
		account.Requirements = Requirements{CurrentlyDue: r.CurrentlyDue, PastDue: r.PastDue, DisabledReason: string(r.DisabledReason)}
	}
	if a.ExternalAccounts != nil {
		for _, external := range a.ExternalAccounts.Data {
			account.ExternalAccounts = append(account.ExternalAccounts, externalAccountFrom(external))
		}
	}
	return account
}

func externalAccountFrom(e *stripego.AccountExternalAccount) ExternalAccount {
	switch {
	case e.BankAccount != nil:
		bank := e.BankAccount
		return ExternalAccount{
			ID: bank.ID, Country: bank.Country, Currency: string(bank.Currency), Status: string(bank.Status), Last4: bank.Last4,
			Default:          bank.DefaultForCurrency,
			InstantAvailable: slices.Contains(bank.AvailablePayoutMethods, stripego.BankAccountAvailablePayoutMethodInstant),
		}
	case e.Card != nil:
		card := e.Card
		return ExternalAccount{
			ID: card.ID, Country: card.Country, Currency: string(card.Currency), Status: card.Status, Last4: card.Last4,
			Default:          card.DefaultForCurrency,
			InstantAvailable: slices.Contains(card.AvailablePayoutMethods, stripego.CardAvailablePayoutMethodInstant),
		}
	}
	return ExternalAccount{ID: e.ID}
}

func balanceFrom(b *stripego.Balance) Balance {
	balance := Balance{}
	add := func(amounts []*stripego.Amount, to func(*Funds) *int64) {
		for _, amount := range amounts {
			funds := balance[string(amount.Currency)]
			*to(&funds) += amount.Amount
			balance[string(amount.Currency)] = funds
		}
	}
	add(b.Available, func(f *Funds) *int64 { return &f.Available })
	add(b.Pending, func(f *Funds) *int64 { return &f.Pending })
	add(b.InstantAvailable, func(f *Funds) *int64 { return &f.InstantAvailable })
	return balance
}
