package simulator_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"

	"github.com/holdfast/holdfast/internal/simulator"
)

func (b bundle) shownAccount(t *testing.T, id string) *stripe.Account {
	t.Helper()
	a, err := b.stripe().Accounts.GetByID(id, nil)
	require.NoError(t, err)
	return a
}

func TestAccounts_AreInGoodOrderAtFirst(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	seed := simulator.Account{
		ID: "acct_1", Email: "ada@example.com", Metadata: map[string]string{"a": "b"}, Created: time.Unix(1_600_000_000, 0),
	}
	put, err := b.Stripe().PutAccount(seed)
	require.NoError(t, err)

	a := b.shownAccount(t, "acct_1")
	require.Equal(t, "US", a.Country)
	require.Equal(t, stripe.CurrencyUSD, a.DefaultCurrency)
	require.Equal(t, "ada@example.com", a.Email)
	require.Equal(t, seed.Metadata, a.Metadata)
	require.Equal(t, seed.Created.Unix(), a.Created)
	require.True(t, a.PayoutsEnabled)
	require.True(t, a.DetailsSubmitted)
	require.Equal(t, stripe.AccountCapabilityStatusActive, a.Capabilities.Transfers)
	require.Equal(t, stripe.AccountSettingsPayoutsScheduleIntervalManual, a.Settings.Payouts.Schedule.Interval)
	require.Empty(t, a.Requirements.CurrentlyDue)
	require.Empty(t, a.Requirements.DisabledReason)
	require.False(t, a.ExternalAccounts.HasMore)
	require.Len(t, a.ExternalAccounts.Data, 1)
	external := a.ExternalAccounts.Data[0].BankAccount
	require.Equal(t, put.ExternalAccounts[0].ID, external.ID)
	require.Equal(t, "acct_1", external.Account.ID)
	require.Equal(t, stripe.CurrencyUSD, external.Currency)
	require.Equal(t, "US", external.Country)
	require.True(t, external.DefaultForCurrency)
	require.Equal(t, stripe.BankAccountStatusNew, external.Status)
	require.Equal(t, []stripe.BankAccountAvailablePayoutMethod{"standard", "instant"}, external.AvailablePayoutMethods)

	known, ok := b.Stripe().Account("acct_1")
	require.True(t, ok)
	require.Equal(t, put, known)
	require.Equal(t, []simulator.Account{put}, b.Stripe().Accounts())
	_, ok = b.Stripe().Account("acct_none")
	require.False(t, ok)
	require.Empty(t, b.Stripe().Events())
}

func TestAccounts_ShowWhatIsWrongWithThem(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*simulator.Account)
		shown  func(*stripe.Account) any
		want   any
	}{
		"payouts disabled": {
			func(a *simulator.Account) { a.PayoutsDisabled, a.DisabledReason = true, "rejected.fraud" },
			func(a *stripe.Account) any {
				return []any{a.PayoutsEnabled, string(a.Requirements.DisabledReason), len(a.Requirements.PastDue)}
			},
			[]any{false, "rejected.fraud", 1},
		},
		"an automatic schedule": {
			func(a *simulator.Account) { a.PayoutSchedule = "weekly" },
			func(a *stripe.Account) any {
				return []string{string(a.Settings.Payouts.Schedule.Interval), a.Settings.Payouts.Schedule.WeeklyAnchor}
			},
			[]string{"weekly", "friday"},
		},
		"no transfers": {
			func(a *simulator.Account) { a.TransfersDisabled = true },
			func(a *stripe.Account) any { return string(a.Capabilities.Transfers) }, "inactive",
		},
		"an errored bank account": {
			func(a *simulator.Account) { a.ExternalAccounts[0].Status = "errored" },
			func(a *stripe.Account) any { return string(a.ExternalAccounts.Data[0].BankAccount.Status) }, "errored",
		},
		"no instant payouts": {
			func(a *simulator.Account) { a.ExternalAccounts[0].NoInstant = true },
			func(a *stripe.Account) any { return len(a.ExternalAccounts.Data[0].BankAccount.AvailablePayoutMethods) }, 1,
		},
		"a country without instant payouts": {
			func(a *simulator.Account) { a.ExternalAccounts[0].Country = "BR" },
			func(a *stripe.Account) any { return len(a.ExternalAccounts.Data[0].BankAccount.AvailablePayoutMethods) }, 1,
		},
		"another currency": {
			func(a *simulator.Account) { a.Currency = "eur" },
			func(a *stripe.Account) any { return string(a.DefaultCurrency) }, "eur",
		},
		"a debit card": {
			func(a *simulator.Account) { a.ExternalAccounts = []simulator.ExternalAccount{{ID: "card_1"}} },
			func(a *stripe.Account) any {
				card := a.ExternalAccounts.Data[0].Card
				if card == nil {
					return nil
				}
				return []any{card.ID, card.DefaultForCurrency, string(card.Funding), len(card.AvailablePayoutMethods)}
			},
			[]any{"card_1", true, "debit", 2},
		},
		"no external account": {
			func(a *simulator.Account) { a.ExternalAccounts = []simulator.ExternalAccount{} },
			func(a *stripe.Account) any { return len(a.ExternalAccounts.Data) }, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, simulator.Config{})
			account := b.account(t)
			require.NotEqual(t, c.want, c.shown(b.shownAccount(t, account)))

			changed, err := b.Stripe().SetAccount(account, c.change)
			require.NoError(t, err)

			require.Equal(t, c.want, c.shown(b.shownAccount(t, account)))
			require.Equal(t, []simulator.Account{changed}, b.Stripe().Accounts())
			events := b.Stripe().Events()
			require.Len(t, events, 1)
			require.Equal(t, "account.updated", events[0].Type)
			require.Equal(t, account, events[0].Account)
			require.NotEmpty(t, events[0].PreviousAttributes)
		})
	}
}

// Who disconnects an account, or connects it again, has the platform told by an event about its application.
func TestAccounts_TellOfAccess(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	account := b.account(t)
	for _, revoked := range []bool{true, true, false} {
		_, err := b.Stripe().SetAccount(account, func(a *simulator.Account) { a.Revoked = revoked })
		require.NoError(t, err)
	}
	events := b.Stripe().Events()
	require.Len(t, events, 2)
	for i, want := range []string{"account.application.deauthorized", "account.application.authorized"} {
		require.Equal(t, want, events[i].Type)
		require.Equal(t, account, events[i].Account)
		require.Contains(t, string(events[i].Object), `"object":"application"`)
	}
}

func TestAccounts_KeepTheirMoneyWhenTheyAreReplaced(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	account := b.funded(t, 1000)
	_, err := b.payOut(account, 400, "po_1")
	require.NoError(t, err)

	_, err = b.Stripe().PutAccount(simulator.Account{ID: account, PayoutsDisabled: true})
	require.NoError(t, err)

	b.requireFunds(t, account, 600, 0, 600)
	require.Len(t, b.Stripe().Payouts(account), 1)
	require.False(t, b.shownAccount(t, account).PayoutsEnabled)
}

func TestAccounts_ThatCannotBe(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	for names, seed := range map[string]simulator.Account{
		`"cus_1"`: {ID: "cus_1"}, `"acct_"`: {ID: "acct_"}, `"USD"`: {Currency: "USD"}, "payout_schedule": {PayoutSchedule: "hourly"},
		"instant_per_day": {InstantPerDay: -1}, `"x_1"`: {ExternalAccounts: []simulator.ExternalAccount{{ID: "x_1"}}},
		`"xyz"`:    {ExternalAccounts: []simulator.ExternalAccount{{Currency: "xyz"}}},
		`"broken"`: {ExternalAccounts: []simulator.ExternalAccount{{Status: "broken"}}},
	} {
		_, err := b.Stripe().PutAccount(seed)
		require.ErrorContains(t, err, names)
	}
	require.Empty(t, b.Stripe().Accounts())

	account := b.account(t)
	_, err := b.Stripe().SetAccount(account, func(a *simulator.Account) { a.PayoutSchedule, a.PayoutsDisabled = "hourly", true })
	require.ErrorContains(t, err, "payout_schedule")
	require.True(t, b.shownAccount(t, account).PayoutsEnabled)
	_, err = b.Stripe().SetAccount("acct_none", func(*simulator.Account) {})
	require.ErrorContains(t, err, "acct_none")
}

func TestAccounts_ListTheirExternalAccounts(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	put, err := b.Stripe().PutAccount(simulator.Account{ExternalAccounts: []simulator.ExternalAccount{
		{ID: "ba_1"}, {ID: "card_1"}, {ID: "ba_2", Currency: "eur"}, {ID: "ba_3"},
	}})
	require.NoError(t, err)

	var banks, defaults []string
	params := &stripe.BankAccountListParams{Account: &put.ID}
	params.Limit = stripe.Int64(2)
	it := b.stripe().BankAccounts.List(params)
	for it.Next() {
		banks = append(banks, it.BankAccount().ID)
		if it.BankAccount().DefaultForCurrency {
			defaults = append(defaults, it.BankAccount().ID)
		}
	}
	require.NoError(t, it.Err())
	require.Equal(t, []string{"ba_3", "ba_2", "ba_1"}, banks)
	require.Equal(t, []string{"ba_2", "ba_1"}, defaults)

	one, err := b.stripe().BankAccounts.Get("ba_2", &stripe.BankAccountParams{Account: &put.ID})
	require.NoError(t, err)
	require.Equal(t, stripe.CurrencyEUR, one.Currency)
	_, err = b.stripe().BankAccounts.Get("ba_9", &stripe.BankAccountParams{Account: &put.ID})
	b.requireCode(t, err, http.StatusNotFound, stripe.ErrorCodeResourceMissing, "id")
}
