package stripe_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/internal/simulator"
)

// payee is a connected account with a bank account and a card, and a platform that can pay it.
func (b bundle) payee(t *testing.T) stripe.Account {
	t.Helper()
	_, err := b.Stripe().PutAccount(simulator.Account{ID: "acct_1", ExternalAccounts: []simulator.ExternalAccount{
		{ID: "ba_1"}, {ID: "card_1", NoInstant: true, Last4: "4242"},
	}})
	require.NoError(t, err)
	require.NoError(t, b.Stripe().SetPlatformBalance("usd", 50_000))
	account, err := b.client.GetAccount(t.Context(), "acct_1")
	require.NoError(t, err)
	return account
}

func (b bundle) balance(t *testing.T, account string) stripe.Funds {
	t.Helper()
	balance, err := b.client.GetBalance(t.Context(), account)
	require.NoError(t, err)
	return balance["usd"]
}

func TestAnAccountAsStripeShowsIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	account := b.payee(t)
	require.Equal(t, "US", account.Country)
	require.Equal(t, "usd", account.DefaultCurrency)
	require.Equal(t, "manual", account.ScheduleInterval)
	require.True(t, account.PayoutsEnabled)
	require.True(t, account.TransfersActive)
	require.Empty(t, account.Requirements.DisabledReason)
	require.ElementsMatch(t, []stripe.ExternalAccount{
		{ID: "ba_1", Country: "US", Currency: "usd", Status: "new", Last4: "6789", Default: true, InstantAvailable: true},
		{ID: "card_1", Country: "US", Currency: "usd", Last4: "4242"},
	}, account.ExternalAccounts)
}

func TestAnInstantPayoutsLife(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.payee(t)
	require.NoError(t, b.Stripe().SetTransferDelay(simulator.TransferDelay{AvailableMS: 3_600_000}))

	transfer, err := b.client.CreateTransfer(t.Context(), transferOf(9708), "t1")
	require.NoError(t, err)
	read, err := b.client.GetTransfer(t.Context(), transfer.ID)
	require.NoError(t, err)
	require.Equal(t, transfer, read)
	require.Equal(t, stripe.Funds{Available: 50_000 - 9708, InstantAvailable: 50_000 - 9708}, b.balance(t, ""))
	require.Equal(t, stripe.Funds{Pending: 9708}, b.balance(t, "acct_1"))
	require.NoError(t, b.Stripe().ReleaseFunds("acct_1"))
	require.Equal(t, stripe.Funds{Available: 9708, InstantAvailable: 9708}, b.balance(t, "acct_1"))

	payout, err := b.client.CreatePayout(t.Context(), "acct_1", payoutOf(9708), "p1")
	require.NoError(t, err)
	require.Equal(t, stripe.PayoutPending, payout.Status)
	require.Equal(t, stripe.MethodInstant, payout.Method)
	require.Equal(t, "ba_1", payout.Destination)
	require.False(t, payout.Automatic)
	require.Equal(t, "po_ours", payout.HoldfastPayoutID())
	require.Zero(t, b.balance(t, "acct_1"))
	again, err := b.client.CreatePayout(t.Context(), "acct_1", payoutOf(9708), "p1")
	require.NoError(t, err)
	require.Equal(t, payout, again, "the same key is the same payout")

	_, err = b.Stripe().ReturnPayout(payout.ID, "account_closed")
	require.NoError(t, err)
	returned, err := b.client.GetPayout(t.Context(), "acct_1", payout.ID)
	require.NoError(t, err)
	require.Equal(t, stripe.PayoutFailed, returned.Status)
	require.Equal(t, provider.MatterPayee, returned.FailureMatter())
	require.NotEmpty(t, returned.FailureBalanceTransaction)

	reversal, err := b.client.ReverseTransfer(t.Context(), transfer.ID, 9708, "po_ours", "r1")
	require.NoError(t, err)
	require.Equal(t, transfer.ID, reversal.Transfer)
	reversals, err := b.client.ListReversals(t.Context(), transfer.ID)
	require.NoError(t, err)
	require.Equal(t, []stripe.Reversal{reversal}, reversals)
	require.Equal(t, int64(50_000), b.balance(t, "").Available)
	require.NoError(t, b.Stripe().MoneyAudit().Err())
	require.Zero(t, b.PostsWithoutKey())
}

func TestAPayoutIsCanceledBeforeItLeaves(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.payee(t)
	require.NoError(t, b.Stripe().SetAccountBalance("acct_1", "usd", 9708))
	request := payoutOf(9708)
	request.Method = stripe.MethodStandard
	payout, err := b.client.CreatePayout(t.Context(), "acct_1", request, "p1")
	require.NoError(t, err)

	canceled, err := b.client.CancelPayout(t.Context(), "acct_1", payout.ID, "c1")

	require.NoError(t, err)
	require.Equal(t, stripe.PayoutCanceled, canceled.Status)
	require.Equal(t, int64(9708), b.balance(t, "acct_1").Available)
	_, err = b.client.CancelPayout(t.Context(), "acct_1", payout.ID, "c2")
	require.Equal(t, provider.Rejected, failureOf(t, err).Class)
}

func TestLostAnswersOfMoneyAreFoundByTheirMetadata(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.payee(t)
	require.NoError(t, b.Stripe().SetAccountBalance("acct_1", "usd", 9708))
	began := time.Now().Add(-5 * time.Minute)
	b.faults(t, simulator.Fault{Kind: simulator.ExecuteThenDrop})
	_, err := b.client.CreatePayout(t.Context(), "acct_1", payoutOf(9708), "p1")
	require.Equal(t, provider.OutcomeUnknown, failureOf(t, err).Class)
	_, err = b.client.CreateTransfer(t.Context(), transferOf(100), "t1")
	require.Equal(t, provider.OutcomeUnknown, failureOf(t, err).Class)
	require.NoError(t, b.ClearFaults())

	payouts, err := b.client.ListPayouts(t.Context(), "acct_1", began)
	require.NoError(t, err)
	require.Len(t, payouts, 1)
	require.Equal(t, "po_ours", payouts[0].HoldfastPayoutID())
	transfers, err := b.client.ListTransfers(t.Context(), stripe.ListTransfersParams{
		Destination: "acct_1", TransferGroup: "po_ours", CreatedFrom: began,
	})
	require.NoError(t, err)
	require.Len(t, transfers, 1)
	require.Equal(t, "po_ours", transfers[0].HoldfastPayoutID())

	for _, p := range []stripe.ListTransfersParams{
		{TransferGroup: "po_other"}, {Destination: "acct_2"}, {CreatedFrom: time.Now().Add(time.Hour)},
	} {
		none, err := b.client.ListTransfers(t.Context(), p)
		require.NoError(t, err)
		require.Empty(t, none)
	}
	later, err := b.client.ListPayouts(t.Context(), "acct_1", time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Empty(t, later)
}

func TestWhatStripeRefusesToMove(t *testing.T) {
	t.Parallel()
	standard := func(p *stripe.PayoutRequest) { p.Method = stripe.MethodStandard }
	for name, test := range map[string]struct {
		account func(*simulator.Account)
		request func(*stripe.PayoutRequest)
		code    string
		matter  provider.Matter
	}{
		"destination refused": {
			func(a *simulator.Account) { a.ExternalAccounts[0].Refusal = "account_closed" }, standard, "account_closed", provider.MatterPayee,
		},
		"destination errored": {
			func(a *simulator.Account) { a.ExternalAccounts[0].Status = "errored" }, standard, "bank_account_unusable", provider.MatterPayee,
		},
		"destination gone": {nil, func(p *stripe.PayoutRequest) { p.Destination = "ba_gone" }, "resource_missing", provider.MatterPayee},
		"payouts disabled": {func(a *simulator.Account) { a.PayoutsDisabled = true }, standard, "payouts_not_allowed", provider.MatterPayee},
		"access revoked":   {func(a *simulator.Account) { a.Revoked = true }, standard, "account_invalid", provider.MatterPayee},
		"no instant": {
			nil, func(p *stripe.PayoutRequest) { p.Destination = "card_1" }, "instant_payouts_unsupported", provider.MatterInstant,
		},
		"instant limit": {
			func(a *simulator.Account) { a.InstantPerDay = 100 }, func(*stripe.PayoutRequest) {}, "instant_payouts_limit_exceeded", provider.MatterInstant,
		},
		"too large for instant":     {nil, func(p *stripe.PayoutRequest) { p.Amount = 1_000_000 }, "amount_too_large", provider.MatterInstant},
		"more than there is to pay": {nil, func(p *stripe.PayoutRequest) { p.Amount = 20_001 }, "balance_insufficient", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.payee(t)
			require.NoError(t, b.Stripe().SetAccountBalance("acct_1", "usd", 20_000))
			if test.account != nil {
				_, err := b.Stripe().SetAccount("acct_1", test.account)
				require.NoError(t, err)
			}
			request := payoutOf(9708)
			test.request(&request)

			_, err := b.client.CreatePayout(t.Context(), "acct_1", request, "p1")

			refused := failureOf(t, err)
			require.Equal(t, provider.Rejected, refused.Class)
			require.Equal(t, test.code, refused.Code)
			require.Equal(t, test.matter, refused.Matter)
			require.Empty(t, b.Stripe().Payouts("acct_1"))
		})
	}
}

func TestTransfersThatStripeRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.payee(t)
	_, err := b.client.CreateTransfer(t.Context(), transferOf(50_001), "t1")
	require.Equal(t, "balance_insufficient", failureOf(t, err).Code)
	require.Equal(t, provider.MatterOurs, failureOf(t, err).Matter)

	transfer, err := b.client.CreateTransfer(t.Context(), transferOf(1000), "t2")
	require.NoError(t, err)
	require.NoError(t, b.Stripe().SetAccountBalance("acct_1", "usd", -500))
	_, err = b.client.ReverseTransfer(t.Context(), transfer.ID, 1000, "po_ours", "r1")
	require.Equal(t, "balance_insufficient", failureOf(t, err).Code)
	require.Empty(t, failureOf(t, err).Matter, "it is the account that lacks it")

	_, err = b.Stripe().SetAccount("acct_1", func(a *simulator.Account) { a.TransfersDisabled = true })
	require.NoError(t, err)
	_, err = b.client.CreateTransfer(t.Context(), transferOf(1000), "t3")
	require.Equal(t, provider.MatterPayee, failureOf(t, err).Matter)
	unknown := transferOf(1000)
	unknown.Destination = "acct_none"
	_, err = b.client.CreateTransfer(t.Context(), unknown, "t4")
	require.Equal(t, provider.MatterPayee, failureOf(t, err).Matter)
	require.Len(t, b.Stripe().Transfers(), 1)
}

func TestAnAccountThatIsNotOursStopsNobodyElse(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.payee(t)
	for _, call := range []func(id string) error{
		func(id string) error { _, err := b.client.GetAccount(t.Context(), id); return err },
		func(id string) error { _, err := b.client.GetBalance(t.Context(), id); return err },
		func(id string) error { _, err := b.client.ListPayouts(t.Context(), id, time.Time{}); return err },
	} {
		require.NoError(t, call("acct_1"))
		refused := failureOf(t, call("acct_none"))
		require.Equal(t, provider.Rejected, refused.Class)
		require.Equal(t, provider.MatterPayee, refused.Matter)
	}
	_, err := b.client.GetPayout(t.Context(), "acct_1", "po_none")
	require.Equal(t, provider.NotFound, failureOf(t, err).Class)
	_, err = b.client.GetTransfer(t.Context(), "tr_none")
	require.Equal(t, provider.NotFound, failureOf(t, err).Class)
}

func TestAllExternalAccountsOfAnAccountAreRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var seeds []simulator.ExternalAccount
	want := map[string]bool{}
	for i := range 130 {
		id := fmt.Sprintf("ba_%d", i)
		seeds, want[id] = append(seeds, simulator.ExternalAccount{ID: id}), true
	}
	_, err := b.Stripe().PutAccount(simulator.Account{ID: "acct_1", ExternalAccounts: seeds})
	require.NoError(t, err)

	account, err := b.client.GetAccount(t.Context(), "acct_1")

	require.NoError(t, err)
	require.Len(t, account.ExternalAccounts, len(want))
	for _, external := range account.ExternalAccounts {
		require.True(t, want[external.ID])
		delete(want, external.ID)
	}
	require.Empty(t, want)
	require.Len(t, b.Calls(), 3, "the account and two pages")

	b.faults(t, simulator.Fault{Kind: simulator.BadGateway, PathPrefix: "/v1/accounts/acct_1/external_accounts"})
	_, err = b.client.GetAccount(t.Context(), "acct_1")
	require.Equal(t, provider.Transient, failureOf(t, err).Class, "half a list proves no absence")
}
