package simulator_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/webhook"

	"github.com/holdfast/holdfast/internal/simulator"
)

const bank = "ba_1" // of the account that account makes

// account makes a connected account in the US with one bank account.
func (b bundle) account(t *testing.T) string {
	t.Helper()
	a, err := b.Stripe().PutAccount(simulator.Account{ExternalAccounts: []simulator.ExternalAccount{{ID: bank}}})
	require.NoError(t, err)
	return a.ID
}

// funded makes a connected account that has been transferred the amount in USD.
func (b bundle) funded(t *testing.T, amount int64) string {
	t.Helper()
	account := b.account(t)
	require.NoError(t, b.Stripe().SetPlatformBalance("usd", amount))
	_, err := b.transfer(account, amount, "po_"+account)
	require.NoError(t, err)
	return account
}

func transferParams(account string, amount int64, payout string) *stripe.TransferParams {
	params := &stripe.TransferParams{
		Amount: stripe.Int64(amount), Currency: stripe.String("usd"), Destination: &account, TransferGroup: &payout,
		Metadata: ours(payout),
	}
	params.SetIdempotencyKey(payout + "/transfer")
	return params
}

func (b bundle) transfer(account string, amount int64, payout string) (*stripe.Transfer, error) {
	return b.stripe().Transfers.New(transferParams(account, amount, payout))
}

func (b bundle) reverse(transfer string, amount int64) (*stripe.TransferReversal, error) {
	params := &stripe.TransferReversalParams{ID: &transfer}
	if amount != 0 {
		params.Amount = &amount
	}
	return b.stripe().TransferReversals.New(params)
}

func payoutParams(account string, amount int64, payout string) *stripe.PayoutParams {
	params := &stripe.PayoutParams{
		Amount: stripe.Int64(amount), Currency: stripe.String("usd"), Method: stripe.String("standard"), Metadata: ours(payout),
	}
	params.SetStripeAccount(account)
	params.SetIdempotencyKey(payout + "/payout")
	return params
}

func (b bundle) payOut(account string, amount int64, payout string) (*stripe.Payout, error) {
	return b.stripe().Payouts.New(payoutParams(account, amount, payout))
}

func ours(payout string) map[string]string {
	return map[string]string{"holdfast_payout_id": payout, "holdfast_payee_id": "u_" + payout}
}

// requireFunds compares what an account has in USD, or we have if the id is empty, also over the API.
func (b bundle) requireFunds(t *testing.T, account string, available, pending, instant int64) {
	t.Helper()
	funds, err := b.Stripe().Balance(account)
	require.NoError(t, err)
	require.Equal(t, simulator.Funds{Available: available, Pending: pending, InstantAvailable: instant}, funds["usd"])

	params := &stripe.BalanceParams{}
	if account != "" {
		params.SetStripeAccount(account)
	}
	shown, err := b.stripe().Balance.Get(params)
	require.NoError(t, err)
	for _, side := range []struct {
		amounts []*stripe.Amount
		amount  int64
	}{{shown.Available, available}, {shown.Pending, pending}, {shown.InstantAvailable, instant}} {
		require.Equal(t, stripe.CurrencyUSD, side.amounts[0].Currency)
		require.Equal(t, side.amount, side.amounts[0].Amount)
		require.Equal(t, side.amount, side.amounts[0].SourceTypes["card"])
	}
}

// requireCode requires a refusal with that code, and no movement.
func (b bundle) requireCode(t *testing.T, err error, status int, code stripe.ErrorCode, param string) {
	t.Helper()
	problem := stripeErr(t, err)
	require.Equal(t, status, problem.HTTPStatusCode, problem.Msg)
	require.Equal(t, stripe.ErrorTypeInvalidRequest, problem.Type)
	require.Equal(t, code, problem.Code, problem.Msg)
	require.Equal(t, param, problem.Param, problem.Msg)
}

// lastEvents are the types of the newest events, oldest first.
func (b bundle) lastEvents(n int) []string {
	events := b.Stripe().Events()
	var types []string
	for _, e := range events[len(events)-n:] {
		types = append(types, e.Type)
	}
	return types
}

func TestBalance_IsWhatWasPutIn(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	account := b.account(t)
	b.requireFunds(t, account, 0, 0, 0)

	require.NoError(t, b.Stripe().SetPlatformBalance("usd", 500))
	require.NoError(t, b.Stripe().SetPlatformBalance("eur", 7))
	require.NoError(t, b.Stripe().SetPlatformBalance("usd", 400))
	require.NoError(t, b.Stripe().SetAccountBalance(account, "usd", -30))

	funds, err := b.Stripe().Balance("")
	require.NoError(t, err)
	require.Equal(t, map[string]simulator.Funds{
		"usd": {Available: 400, InstantAvailable: 400}, "eur": {Available: 7, InstantAvailable: 7},
	}, funds)
	b.requireFunds(t, account, -30, 0, 0)
	totals := b.Stripe().MoneyAudit().Totals
	require.Equal(t, simulator.MoneyTotals{PutIn: 370, Platform: 400, Accounts: -30}, totals["usd"])
	require.Equal(t, simulator.MoneyTotals{PutIn: 7, Platform: 7}, totals["eur"])
	require.Equal(t, []string{"balance.available", "balance.available"}, b.lastEvents(2), "of what was added, not of what was taken")

	require.ErrorContains(t, b.Stripe().SetPlatformBalance("USD", 1), `"USD"`)
	require.ErrorContains(t, b.Stripe().SetPlatformBalance("usd", 1_000_000_000_000), "1000000000000")
	require.ErrorContains(t, b.Stripe().SetAccountBalance("acct_none", "usd", 1), "acct_none")
	require.ErrorContains(t, b.Stripe().SetAccountBalance("", "usd", 1), "empty")
	_, err = b.Stripe().Balance("acct_none")
	require.ErrorContains(t, err, "acct_none")
}

func TestConnect_AnAccountWithoutAccessIsForbidden(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	account := b.funded(t, 1000)
	revoke := func(revoked bool) {
		_, err := b.Stripe().SetAccount(account, func(a *simulator.Account) { a.Revoked = revoked })
		require.NoError(t, err)
	}
	balance := func(account string) error {
		params := &stripe.BalanceParams{}
		params.SetStripeAccount(account)
		_, err := b.stripe().Balance.Get(params)
		return err
	}
	b.requireCode(t, balance("acct_none"), http.StatusForbidden, stripe.ErrorCodeAccountInvalid, "")

	revoke(true)
	b.requireCode(t, balance(account), http.StatusForbidden, stripe.ErrorCodeAccountInvalid, "")
	_, err := b.stripe().Accounts.GetByID(account, nil)
	b.requireCode(t, err, http.StatusForbidden, stripe.ErrorCodeAccountInvalid, "")
	_, err = b.payOut(account, 1000, "po_1")
	b.requireCode(t, err, http.StatusForbidden, stripe.ErrorCodeAccountInvalid, "")

	revoke(false)
	_, err = b.payOut(account, 1000, "po_1")
	require.NoError(t, err, "the refusal is not stored for the key")
}

func TestConnect_KeysBelongToTheirAccount(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	first, second := b.funded(t, 1000), b.funded(t, 1000)

	one, err := b.payOut(first, 600, "po_1")
	require.NoError(t, err)
	other, err := b.payOut(second, 600, "po_1")
	require.NoError(t, err)
	again, err := b.payOut(first, 600, "po_1")
	require.NoError(t, err)

	require.NotEqual(t, one.ID, other.ID)
	require.Equal(t, one.ID, again.ID)
	b.requireFunds(t, first, 400, 0, 400)
	b.requireFunds(t, second, 400, 0, 400)
}

func TestConnect_ALostAnswerIsFoundAndReplayed(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	account := b.account(t)
	require.NoError(t, b.Stripe().SetPlatformBalance("usd", 1000))
	require.NoError(t, b.SetFaults(simulator.Fault{Kind: simulator.ExecuteThenDrop, Method: "POST", Times: 1}))
	_, err := b.transfer(account, 1000, "po_1")
	notTyped(t, err)

	params := &stripe.TransferListParams{TransferGroup: stripe.String("po_1")}
	listed := b.stripe().Transfers.List(params)
	require.True(t, listed.Next(), "%v", listed.Err())
	again, err := b.transfer(account, 1000, "po_1")
	require.NoError(t, err)
	require.Equal(t, listed.Transfer().ID, again.ID)

	require.NoError(t, b.SetFaults(simulator.Fault{Kind: simulator.ExecuteThen500, Method: "POST", Times: 1}))
	for range 2 {
		_, err = b.payOut(account, 1000, "po_1")
		require.Equal(t, http.StatusInternalServerError, stripeErr(t, err).HTTPStatusCode)
	}
	require.Len(t, b.Stripe().Payouts(account), 1)
	b.requireFunds(t, account, 0, 0, 0)
	require.NoError(t, b.Stripe().MoneyAudit().Err())
}

func TestConnect_EventsAreSignedForTheirEndpoint(t *testing.T) {
	t.Parallel()
	b, g := setup(t, quick()), newTarget(t)
	require.NoError(t, b.SetStripeWebhook(simulator.StripeWebhook{URL: g.url, Secrets: []string{"whsec_own"}, ConnectSecrets: []string{"whsec_connect"}}))
	account := b.funded(t, 1000)
	p, err := b.payOut(account, 1000, "po_1")
	require.NoError(t, err)
	_, err = b.Stripe().SettlePayout(p.ID)
	require.NoError(t, err)
	_, err = b.Stripe().SetAccount(account, func(a *simulator.Account) { a.PayoutsDisabled = true })
	require.NoError(t, err)
	settle(t, b.StripeWebhooks())

	accounts := map[string]string{}
	for _, r := range g.events() {
		signature := r.header.Get("Stripe-Signature")
		e, err := webhook.ConstructEvent(r.body, signature, "whsec_own")
		if err != nil {
			e, err = webhook.ConstructEvent(r.body, signature, "whsec_connect")
			require.NoError(t, err)
			require.Equal(t, account, e.Account)
		}
		accounts[string(e.Type)] = e.Account
	}
	require.Equal(t, map[string]string{
		"balance.available": "", "transfer.created": "", "payout.created": account, "payout.updated": account,
		"payout.paid": account, "account.updated": account,
	}, accounts)
}
