package simulator

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// manualSchedule is the payout schedule of an account that is paid out only when asked.
const manualSchedule = "manual"

// Account is a connected account as tests and the control endpoint see it. The zero value of every
// field is that of an account in the US in good order, which can be paid out.
type Account struct {
	ID       string            `json:"id,omitempty"`       // "acct_…"; one is made if it is empty
	Country  string            `json:"country,omitempty"`  // empty means US
	Currency string            `json:"currency,omitempty"` // its default currency; empty means usd
	Email    string            `json:"email,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Created  time.Time         `json:"created,omitzero"` // whole seconds; zero means now

	// PayoutSchedule is when it is paid out by itself: "daily", "weekly", "monthly"; empty means
	// "manual", which is never. The simulator makes no payouts by itself: PutPayout does.
	PayoutSchedule string `json:"payout_schedule,omitempty"`
	// PayoutsDisabled is payouts_enabled turned to false, for DisabledReason.
	PayoutsDisabled bool   `json:"payouts_disabled,omitempty"`
	DisabledReason  string `json:"disabled_reason,omitempty"` // empty means requirements.past_due
	// TransfersDisabled means that it cannot receive transfers.
	TransfersDisabled bool `json:"transfers_disabled,omitempty"`
	// Revoked means that our key has no access to it any more.
	Revoked bool `json:"revoked,omitempty"`

	// ExternalAccounts is where it is paid out to; nil means one bank account, which takes instant
	// payouts where Stripe offers them. The first of each currency is the default.
	ExternalAccounts []ExternalAccount `json:"external_accounts"`

	// InstantPerDay is how much of each currency may be paid out instantly on one UTC day, in minor
	// units, and InstantPayoutsPerDay how often; zero means no limit.
	InstantPerDay        int64 `json:"instant_per_day,omitempty"`
	InstantPayoutsPerDay int   `json:"instant_payouts_per_day,omitempty"`
}

// stripeAccount is an account with what it holds and what it was paid.
type stripeAccount struct {
	Account

	wallet    stripeWallet
	transfers collection[*stripeTransfer]
	payouts   collection[*stripePayout]
	instant   instantUse
}

func (a *stripeAccount) objectID() string { return a.ID }
func (a *stripeAccount) createdAt() int64 { return a.Created.Unix() }

func (s *Stripe) serveAccounts() {
	s.handle("GET /v1/accounts/{id}", s.retrieveAccount)
	s.handle("GET /v1/accounts/{id}/external_accounts", s.listExternalAccounts)
	s.handle("GET /v1/accounts/{id}/external_accounts/{child}", s.retrieveExternalAccount)
}

func (s *Stripe) retrieveAccount(r stripeRequest) (stripeWork, *stripeError) {
	if problem := r.params.only(nil); problem != nil {
		return nil, problem
	}
	return s.onAccount(r.id, func(a *stripeAccount) (any, *stripeError) { return a.shown(), nil }), nil
}

// onAccount works on the account if the key has access to it.
func (s *Stripe) onAccount(id string, work func(*stripeAccount) (any, *stripeError)) stripeWork {
	return func() (any, *stripeError) {
		a, ok := s.money.accounts.get(id)
		if !ok || a.Revoked {
			return nil, noAccess(id)
		}
		return work(a)
	}
}

// stripeAccountObject is an account as the API shows it. What is of type any is always null.
type stripeAccountObject struct {
	ID                 string                             `json:"id"`
	Object             string                             `json:"object"`
	BusinessProfile    any                                `json:"business_profile"`
	BusinessType       any                                `json:"business_type"`
	Capabilities       map[string]string                  `json:"capabilities"`
	ChargesEnabled     bool                               `json:"charges_enabled"`
	Controller         map[string]any                     `json:"controller"`
	Country            string                             `json:"country"`
	Created            int64                              `json:"created"`
	DefaultCurrency    string                             `json:"default_currency"`
	DetailsSubmitted   bool                               `json:"details_submitted"`
	Email              nullable                           `json:"email"`
	ExternalAccounts   stripeList[*stripeExternalAccount] `json:"external_accounts"`
	FutureRequirements stripeRequirements                 `json:"future_requirements"`
	Metadata           map[string]string                  `json:"metadata"`
	PayoutsEnabled     bool                               `json:"payouts_enabled"`
	Requirements       stripeRequirements                 `json:"requirements"`
	Settings           stripeAccountSettings              `json:"settings"`
	TOSAcceptance      map[string]any                     `json:"tos_acceptance"`
	Type               string                             `json:"type"`
}

type stripeRequirements struct {
	Alternatives        []string `json:"alternatives"`
	CurrentDeadline     any      `json:"current_deadline"`
	CurrentlyDue        []string `json:"currently_due"`
	DisabledReason      nullable `json:"disabled_reason"`
	Errors              []string `json:"errors"`
	EventuallyDue       []string `json:"eventually_due"`
	PastDue             []string `json:"past_due"`
	PendingVerification []string `json:"pending_verification"`
}

type stripeAccountSettings struct {
	Payouts struct {
		DebitNegativeBalances bool                 `json:"debit_negative_balances"`
		Schedule              stripePayoutSchedule `json:"schedule"`
		StatementDescriptor   nullable             `json:"statement_descriptor"`
	} `json:"payouts"`
}

type stripePayoutSchedule struct {
	DelayDays     int    `json:"delay_days"`
	Interval      string `json:"interval"`
	MonthlyAnchor int    `json:"monthly_anchor,omitempty"`
	WeeklyAnchor  string `json:"weekly_anchor,omitempty"`
}

func (a *stripeAccount) shown() stripeAccountObject {
	transfers := "active"
	if a.TransfersDisabled {
		transfers = "inactive"
	}
	shown := stripeAccountObject{
		ID: a.ID, Object: "account", Capabilities: map[string]string{"transfers": transfers}, ChargesEnabled: true,
		Controller: map[string]any{"type": "application", "is_controller": true}, Country: a.Country, Created: a.createdAt(),
		DefaultCurrency: a.Currency, DetailsSubmitted: true, Email: nullable(a.Email), ExternalAccounts: a.shownExternalAccounts(),
		FutureRequirements: noRequirements(), Metadata: a.Metadata, PayoutsEnabled: !a.PayoutsDisabled, Requirements: noRequirements(),
		TOSAcceptance: map[string]any{"date": a.createdAt()}, Type: "express",
	}
	if a.PayoutsDisabled {
		shown.Requirements.DisabledReason = nullable(cmp.Or(a.DisabledReason, "requirements.past_due"))
		shown.Requirements.CurrentlyDue = []string{"individual.verification.document"}
		shown.Requirements.PastDue = shown.Requirements.CurrentlyDue
	}
	shown.Settings.Payouts.Schedule = scheduleOf(a.PayoutSchedule)
	return shown
}

func scheduleOf(interval string) stripePayoutSchedule {
	schedule := stripePayoutSchedule{DelayDays: 2, Interval: interval}
	switch interval {
	case "weekly":
		schedule.WeeklyAnchor = "friday"
	case "monthly":
		schedule.MonthlyAnchor = 1
	}
	return schedule
}

func noRequirements() stripeRequirements {
	none := []string{}
	return stripeRequirements{
		Alternatives: none, CurrentlyDue: none, Errors: none, EventuallyDue: none, PastDue: none, PendingVerification: none,
	}
}

// PutAccount adds a connected account, or replaces the one with that id, which keeps its balance, its
// transfers and its payouts. It tells nobody. It fails on an account that cannot be.
func (s *Stripe) PutAccount(account Account) (Account, error) {
	account, err := account.completed()
	if err != nil {
		return Account{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a, known := s.money.accounts.get(account.ID)
	if known {
		a.Account = account
	} else {
		a = &stripeAccount{Account: account, wallet: stripeWallet{}}
		s.money.accounts.add(a)
	}
	return a.snapshot(), nil
}

// SetAccount changes a connected account, and tells of what the API shows of it by an account.updated
// event. It fails for one that there is not, and on a change that cannot be.
func (s *Stripe) SetAccount(id string, change func(*Account)) (Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.money.accounts.get(id)
	if !ok {
		return Account{}, fmt.Errorf("simulator: change Stripe account %q: there is none", id)
	}
	changed := a.snapshot()
	change(&changed)
	changed.ID, changed.Created = a.ID, a.Created
	changed, err := changed.completed()
	if err != nil {
		return Account{}, err
	}
	before, revoked := rendered(a.shown()), a.Revoked
	a.Account = changed
	s.tellOfAccess(a, revoked)
	if previous := previousAttributes(before, rendered(a.shown())); previous != nil {
		s.tellChange(happening{at: unixNow(), account: a.ID}, "account.updated", a.shown(), previous)
	}
	return a.snapshot(), nil
}

// tellOfAccess tells of an account that has been disconnected from us or connected again.
func (s *Stripe) tellOfAccess(a *stripeAccount, before bool) {
	if a.Revoked == before {
		return
	}
	eventType := "account.application.authorized"
	if a.Revoked {
		eventType = "account.application.deauthorized"
	}
	application := map[string]string{"id": "ca_simulated", "object": "application", "name": "Simulated platform"}
	s.tell(happening{at: unixNow(), account: a.ID}, eventType, application)
}

// completed is the account with its defaults in place.
func (a Account) completed() (Account, error) {
	a.ID = cmp.Or(a.ID, newID("acct_"))
	a.Country, a.Currency = cmp.Or(a.Country, "US"), cmp.Or(a.Currency, stripeCurrency)
	a.PayoutSchedule = cmp.Or(a.PayoutSchedule, manualSchedule)
	if a.Created.IsZero() {
		a.Created = asTime(unixNow())
	}
	a.Created = a.Created.UTC().Truncate(time.Second)
	a.Metadata = maps.Clone(a.Metadata)
	if a.Metadata == nil {
		a.Metadata = map[string]string{}
	}
	switch bare, ok := strings.CutPrefix(a.ID, "acct_"); {
	case !ok || bare == "":
		return Account{}, fmt.Errorf("simulator: Stripe account %q: an id begins with acct_", a.ID)
	case !isStripeCurrency(a.Currency):
		return Account{}, fmt.Errorf("simulator: Stripe account %s: %q is no currency of Stripe's (three lower-case letters)", a.ID, a.Currency)
	case !slices.Contains([]string{manualSchedule, "daily", "weekly", "monthly"}, a.PayoutSchedule):
		return Account{}, fmt.Errorf("simulator: Stripe account %s: payout_schedule must be manual, daily, weekly or monthly", a.ID)
	case a.InstantPerDay < 0 || a.InstantPayoutsPerDay < 0:
		return Account{}, fmt.Errorf("simulator: Stripe account %s: instant_per_day and instant_payouts_per_day must not be negative", a.ID)
	}
	return a.withExternalAccounts()
}

// Accounts returns every connected account there is, oldest first.
func (s *Stripe) Accounts() []Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Account, 0, len(s.money.accounts.oldestFirst))
	for _, a := range s.money.accounts.oldestFirst {
		out = append(out, a.snapshot())
	}
	return out
}

// Account is one connected account; false if there is none.
func (s *Stripe) Account(id string) (Account, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.money.accounts.get(id)
	if !ok {
		return Account{}, false
	}
	return a.snapshot(), true
}

func (a *stripeAccount) snapshot() Account {
	out := a.Account
	out.Metadata = maps.Clone(a.Metadata)
	out.ExternalAccounts = slices.Clone(a.ExternalAccounts)
	return out
}
