package simulator_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"

	"github.com/holdfast/holdfast/internal/simulator"
)

func TestTransfers_MoveMoneyAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	account := b.account(t)
	require.NoError(t, b.Stripe().SetPlatformBalance("usd", 1500))

	tr, err := b.transfer(account, 1000, "po_1")
	require.NoError(t, err)
	require.Equal(t, int64(1000), tr.Amount)
	require.Equal(t, stripe.CurrencyUSD, tr.Currency)
	require.Equal(t, account, tr.Destination.ID)
	require.Equal(t, "po_1", tr.TransferGroup)
	require.Equal(t, ours("po_1"), tr.Metadata)
	require.False(t, tr.Reversed)
	require.Empty(t, tr.Reversals.Data)
	b.requireFunds(t, "", 500, 0, 500)
	b.requireFunds(t, account, 1000, 0, 1000)
	require.Equal(t, []string{"transfer.created"}, b.lastEvents(1))

	again, err := b.transfer(account, 1000, "po_1")
	require.NoError(t, err)
	require.Equal(t, tr.ID, again.ID)
	got, err := b.stripe().Transfers.Get(tr.ID, nil)
	require.NoError(t, err)
	require.Equal(t, tr.Metadata, got.Metadata)
	require.Len(t, b.Stripe().Transfers(), 1)
	b.requireFunds(t, "", 500, 0, 500)
}

func TestTransfers_AreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*stripe.TransferParams)
		code   stripe.ErrorCode
		param  string
	}{
		"more than there is":     {func(p *stripe.TransferParams) { *p.Amount = 1001 }, stripe.ErrorCodeBalanceInsufficient, ""},
		"of another currency":    {func(p *stripe.TransferParams) { *p.Currency = "eur" }, stripe.ErrorCodeBalanceInsufficient, ""},
		"to nobody":              {func(p *stripe.TransferParams) { *p.Destination = "acct_none" }, stripe.ErrorCodeResourceMissing, "destination"},
		"without a destination":  {func(p *stripe.TransferParams) { p.Destination = nil }, stripe.ErrorCodeParameterMissing, "destination"},
		"without an amount":      {func(p *stripe.TransferParams) { p.Amount = nil }, stripe.ErrorCodeParameterMissing, "amount"},
		"without a currency":     {func(p *stripe.TransferParams) { p.Currency = nil }, stripe.ErrorCodeParameterMissing, "currency"},
		"of nothing":             {func(p *stripe.TransferParams) { *p.Amount = 0 }, stripe.ErrorCodeParameterInvalidInteger, "amount"},
		"of less than nothing":   {func(p *stripe.TransferParams) { *p.Amount = -1 }, stripe.ErrorCodeParameterInvalidInteger, "amount"},
		"in no currency":         {func(p *stripe.TransferParams) { *p.Currency = "xyz" }, "", "currency"},
		"of decimals in ISK":     {func(p *stripe.TransferParams) { *p.Currency = "isk" }, stripe.ErrorCodeParameterInvalidInteger, "amount"},
		"of a third decimal":     {func(p *stripe.TransferParams) { *p.Currency, *p.Amount = "kwd", 15 }, stripe.ErrorCodeParameterInvalidInteger, "amount"},
		"by a connected account": {func(p *stripe.TransferParams) { p.SetStripeAccount(*p.Destination) }, stripe.ErrorCodeTransfersNotAllowed, ""},
		"with what is unknown":   {func(p *stripe.TransferParams) { p.SourceTransaction = stripe.String("ch_1") }, stripe.ErrorCodeParameterUnknown, "source_transaction"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, simulator.Config{})
			account := b.account(t)
			require.NoError(t, b.Stripe().SetPlatformBalance("usd", 999))
			params := transferParams(account, 999, "po_1")
			if name == "of decimals in ISK" {
				params.Amount = stripe.Int64(150)
			}
			c.change(params)
			_, err := b.stripe().Transfers.New(params)
			b.requireCode(t, err, http.StatusBadRequest, c.code, c.param)
			require.Empty(t, b.Stripe().Transfers())
			b.requireFunds(t, "", 999, 0, 999)
		})
	}
}

func TestTransfers_AnAccountThatCannotReceive(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	account := b.account(t)
	require.NoError(t, b.Stripe().SetPlatformBalance("usd", 1000))
	set := func(change func(*simulator.Account)) {
		_, err := b.Stripe().SetAccount(account, change)
		require.NoError(t, err)
	}
	set(func(a *simulator.Account) { a.TransfersDisabled = true })
	_, err := b.transfer(account, 1000, "po_1")
	b.requireCode(t, err, http.StatusBadRequest, "insufficient_capabilities_for_transfer", "destination")
	set(func(a *simulator.Account) { a.TransfersDisabled, a.Revoked = false, true })
	_, err = b.transfer(account, 1000, "po_2")
	b.requireCode(t, err, http.StatusBadRequest, stripe.ErrorCodeResourceMissing, "destination")

	set(func(a *simulator.Account) { a.Revoked = false })
	_, err = b.transfer(account, 1000, "po_1")
	b.requireCode(t, err, http.StatusBadRequest, "insufficient_capabilities_for_transfer", "destination")
	require.Equal(t, "true", stripeErr(t, err).LastResponse.Header.Get("Idempotent-Replayed"), "it belongs to the key")
	_, err = b.transfer(account, 1000, "po_3")
	require.NoError(t, err)
}

func TestTransfers_List(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	first, second := b.account(t), b.account(t)
	require.NoError(t, b.Stripe().SetPlatformBalance("usd", 100))
	var ids []string
	for i, to := range []string{first, second, first, second} {
		params := transferParams(to, int64(i)+1, []string{"po_1", "po_1", "po_2", "po_3"}[i])
		params.SetIdempotencyKey(fmt.Sprint("key ", i))
		tr, err := b.stripe().Transfers.New(params)
		require.NoError(t, err)
		ids = append(ids, tr.ID)
	}
	created := b.Stripe().Transfers()[0].Created.Unix()
	for name, c := range map[string]struct {
		params stripe.TransferListParams
		want   []int
	}{
		"all":                     {stripe.TransferListParams{}, []int{3, 2, 1, 0}},
		"of a group":              {stripe.TransferListParams{TransferGroup: stripe.String("po_1")}, []int{1, 0}},
		"of no group":             {stripe.TransferListParams{TransferGroup: stripe.String("po_9")}, nil},
		"to an account":           {stripe.TransferListParams{Destination: &second}, []int{3, 1}},
		"to no account":           {stripe.TransferListParams{Destination: stripe.String("acct_none")}, nil},
		"of a group, to one":      {stripe.TransferListParams{Destination: &second, TransferGroup: stripe.String("po_1")}, []int{1}},
		"since a time":            {stripe.TransferListParams{CreatedRange: &stripe.RangeQueryParams{GreaterThanOrEqual: created}}, []int{3, 2, 1, 0}},
		"before a time":           {stripe.TransferListParams{CreatedRange: &stripe.RangeQueryParams{LesserThan: created}}, nil},
		"of a time that is past":  {stripe.TransferListParams{Created: stripe.Int64(created - 1)}, nil},
		"after one, of a group":   {stripe.TransferListParams{ListParams: stripe.ListParams{StartingAfter: &ids[1]}, TransferGroup: stripe.String("po_1")}, []int{0}},
		"before one, to a second": {stripe.TransferListParams{ListParams: stripe.ListParams{EndingBefore: &ids[1]}, Destination: &second}, []int{3}},
	} {
		c.params.Limit = stripe.Int64(1) // every page has one
		if c.params.EndingBefore != nil {
			c.params.Limit = nil
		}
		var got []string
		it := b.stripe().Transfers.List(&c.params)
		for it.Next() {
			got = append(got, it.Transfer().ID)
		}
		require.NoError(t, it.Err(), name)
		var want []string
		for _, i := range c.want {
			want = append(want, ids[i])
		}
		require.Equal(t, want, got, name)
	}

	wrong := b.send(t, "GET", "/v1/transfers?"+url.Values{"created": {"soon"}}.Encode(), nil, nil)
	require.Equal(t, "created", errorOf(t, wrong).Param)
	foreign := b.send(t, "GET", "/v1/transfers", nil, http.Header{"Stripe-Account": {first}})
	require.Empty(t, decodeJSON[stripe.TransferList](t, foreign.body).Data, "an account has made none")
	hidden := b.send(t, "GET", "/v1/transfers/"+ids[0], nil, http.Header{"Stripe-Account": {first}})
	require.Equal(t, http.StatusNotFound, hidden.status)
}

func TestTransfers_FundsMayArriveLater(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	account := b.account(t)
	require.NoError(t, b.Stripe().SetPlatformBalance("usd", 1000))

	require.NoError(t, b.Stripe().SetTransferDelay(simulator.TransferDelay{AvailableMS: 3_600_000}))
	_, err := b.transfer(account, 300, "po_1")
	require.NoError(t, err)
	require.NoError(t, b.Stripe().SetTransferDelay(simulator.TransferDelay{InstantMS: 3_600_000}))
	_, err = b.transfer(account, 200, "po_2")
	require.NoError(t, err)
	require.NoError(t, b.Stripe().SetTransferDelay(simulator.TransferDelay{}))
	_, err = b.transfer(account, 100, "po_3")
	require.NoError(t, err)
	b.requireFunds(t, account, 300, 300, 100)

	require.NoError(t, b.Stripe().ReleaseFunds(account))
	b.requireFunds(t, account, 600, 0, 600)
	require.Equal(t, []string{"balance.available"}, b.lastEvents(1))
	told := len(b.Stripe().Events())
	require.NoError(t, b.Stripe().ReleaseFunds(account))
	require.Len(t, b.Stripe().Events(), told)

	require.NoError(t, b.Stripe().SetTransferDelay(simulator.TransferDelay{AvailableMS: 1, InstantMS: 1}))
	_, err = b.transfer(account, 400, "po_4")
	require.NoError(t, err)
	eventually(t, "the funds are there", func() bool {
		funds, err := b.Stripe().Balance(account)
		return err == nil && funds["usd"] == simulator.Funds{Available: 1000, InstantAvailable: 1000}
	})
	require.ErrorContains(t, b.Stripe().ReleaseFunds("acct_none"), "acct_none")
	require.ErrorContains(t, b.Stripe().SetTransferDelay(simulator.TransferDelay{InstantMS: -1}), "instant_ms")
}

func TestReversals_TakeTheMoneyBack(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	account := b.funded(t, 1000)
	id := b.Stripe().Transfers()[0].ID

	params := &stripe.TransferReversalParams{ID: &id, Amount: stripe.Int64(300), Metadata: ours("po_1")}
	params.SetIdempotencyKey("po_1/reversal")
	part, err := b.stripe().TransferReversals.New(params)
	require.NoError(t, err)
	require.Equal(t, int64(300), part.Amount)
	require.Equal(t, id, part.Transfer.ID)
	require.Equal(t, ours("po_1"), part.Metadata)
	again, err := b.stripe().TransferReversals.New(params)
	require.NoError(t, err)
	require.Equal(t, part.ID, again.ID)
	b.requireFunds(t, "", 300, 0, 300)
	b.requireFunds(t, account, 700, 0, 700)

	_, err = b.reverse(id, 701)
	b.requireCode(t, err, http.StatusBadRequest, stripe.ErrorCodeAmountTooLarge, "amount")
	rest, err := b.reverse(id, 0)
	require.NoError(t, err)
	require.Equal(t, int64(700), rest.Amount)
	_, err = b.reverse(id, 0)
	b.requireCode(t, err, http.StatusBadRequest, "", "")
	_, err = b.reverse("tr_none", 0)
	b.requireCode(t, err, http.StatusNotFound, stripe.ErrorCodeResourceMissing, "id")

	shown, err := b.stripe().Transfers.Get(id, nil)
	require.NoError(t, err)
	require.True(t, shown.Reversed)
	require.Equal(t, int64(1000), shown.AmountReversed)
	require.Len(t, shown.Reversals.Data, 2)
	require.Equal(t, []string{"transfer.reversed", "transfer.reversed"}, b.lastEvents(2))
	b.requireFunds(t, "", 1000, 0, 1000)
	b.requireFunds(t, account, 0, 0, 0)

	var listed []string
	it := b.stripe().TransferReversals.List(&stripe.TransferReversalListParams{ID: &id, ListParams: stripe.ListParams{Limit: stripe.Int64(1)}})
	for it.Next() {
		listed = append(listed, it.TransferReversal().ID)
	}
	require.NoError(t, it.Err())
	require.Equal(t, []string{rest.ID, part.ID}, listed)
	one, err := b.stripe().TransferReversals.Get(part.ID, &stripe.TransferReversalParams{ID: &id})
	require.NoError(t, err)
	require.Equal(t, int64(300), one.Amount)
}

func TestReversals_NeedTheMoney(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	account := b.funded(t, 1000)
	p, err := b.payOut(account, 600, "po_1")
	require.NoError(t, err)

	id := b.Stripe().Transfers()[0].ID
	_, err = b.reverse(id, 401)
	b.requireCode(t, err, http.StatusBadRequest, stripe.ErrorCodeBalanceInsufficient, "")
	_, err = b.reverse(id, 400)
	require.NoError(t, err)
	_, err = b.Stripe().FailPayout(p.ID, "account_closed")
	require.NoError(t, err)
	_, err = b.reverse(id, 0)
	require.NoError(t, err)
	b.requireFunds(t, "", 1000, 0, 1000)
	b.requireFunds(t, account, 0, 0, 0)
}

func TestReversals_TakeWhatHasNotArrivedYet(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	require.NoError(t, b.Stripe().SetTransferDelay(simulator.TransferDelay{AvailableMS: 3_600_000}))
	account := b.funded(t, 1000)
	id := b.Stripe().Transfers()[0].ID
	_, err := b.reverse(id, 400)
	require.NoError(t, err)
	b.requireFunds(t, account, 0, 600, 0)
	require.NoError(t, b.Stripe().ReleaseFunds(account))
	b.requireFunds(t, account, 600, 0, 600)
	b.requireFunds(t, "", 400, 0, 400)
}
