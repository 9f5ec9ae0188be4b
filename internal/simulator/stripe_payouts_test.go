package simulator_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"

	"github.com/holdfast/holdfast/internal/simulator"
)

func (b bundle) shownPayout(t *testing.T, account, id string) *stripe.Payout {
	t.Helper()
	params := &stripe.PayoutParams{}
	params.SetStripeAccount(account)
	p, err := b.stripe().Payouts.Get(id, params)
	require.NoError(t, err)
	return p
}

func (b bundle) cancel(account, id string) error {
	params := &stripe.PayoutParams{}
	params.SetStripeAccount(account)
	_, err := b.stripe().Payouts.Cancel(id, params)
	return err
}

func TestPayouts_TakeTheirMoneyAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	account := b.funded(t, 1000)
	params := payoutParams(account, 600, "po_1")
	params.Destination, params.StatementDescriptor = stripe.String(bank), stripe.String("EARNINGS")

	p, err := b.stripe().Payouts.New(params)
	require.NoError(t, err)

	require.Equal(t, stripe.PayoutStatusPending, p.Status)
	require.Equal(t, int64(600), p.Amount)
	require.Equal(t, stripe.CurrencyUSD, p.Currency)
	require.Equal(t, bank, p.Destination.ID)
	require.Equal(t, stripe.PayoutTypeBank, p.Type)
	require.Equal(t, stripe.PayoutMethodStandard, p.Method)
	require.Equal(t, "EARNINGS", p.StatementDescriptor)
	require.Equal(t, ours("po_1"), p.Metadata)
	require.False(t, p.Automatic)
	arrival := time.Unix(p.ArrivalDate, 0)
	require.True(t, arrival.After(time.Unix(p.Created, 0)) && arrival.Truncate(24*time.Hour).Equal(arrival), "%v", arrival)
	require.Equal(t, p.Metadata, b.shownPayout(t, account, p.ID).Metadata)
	b.requireFunds(t, account, 400, 0, 400)

	params.Method = stripe.String("instant")
	params.SetIdempotencyKey("another")
	_, err = b.stripe().Payouts.New(params)
	b.requireCode(t, err, http.StatusBadRequest, stripe.ErrorCodeBalanceInsufficient, "")
	params.Amount = stripe.Int64(400)
	params.SetIdempotencyKey("a third")
	instant, err := b.stripe().Payouts.New(params)
	require.NoError(t, err)
	require.Equal(t, stripe.PayoutMethodInstant, instant.Method)
	require.Less(t, instant.ArrivalDate-instant.Created, int64(3600))
	b.requireFunds(t, account, 0, 0, 0)
}

func TestPayouts_AreRefused(t *testing.T) {
	t.Parallel()
	type change struct {
		account func(*simulator.Account)
		payout  func(*stripe.PayoutParams)
	}
	instant := func(p *stripe.PayoutParams) { *p.Method = "instant" }
	first := func(change func(*simulator.ExternalAccount)) func(*simulator.Account) {
		return func(a *simulator.Account) { change(&a.ExternalAccounts[0]) }
	}
	in := func(currency string) func(*stripe.PayoutParams) {
		return func(p *stripe.PayoutParams) { *p.Currency, *p.Amount = currency, 155 }
	}
	for name, c := range map[string]struct {
		change

		code  stripe.ErrorCode
		param string
	}{
		"more than there is":        {change{payout: func(p *stripe.PayoutParams) { *p.Amount = 100_001 }}, stripe.ErrorCodeBalanceInsufficient, ""},
		"of nothing":                {change{payout: func(p *stripe.PayoutParams) { *p.Amount = 0 }}, stripe.ErrorCodeParameterInvalidInteger, "amount"},
		"without an amount":         {change{payout: func(p *stripe.PayoutParams) { p.Amount = nil }}, stripe.ErrorCodeParameterMissing, "amount"},
		"by an unknown method":      {change{payout: func(p *stripe.PayoutParams) { *p.Method = "pigeon" }}, "", "method"},
		"with a long descriptor":    {change{payout: func(p *stripe.PayoutParams) { p.StatementDescriptor = stripe.String("12345678901234567890123") }}, "", "statement_descriptor"},
		"of decimals in HUF":        {change{payout: in("huf")}, stripe.ErrorCodeParameterInvalidInteger, "amount"},
		"of decimals in TWD":        {change{payout: in("twd")}, stripe.ErrorCodeParameterInvalidInteger, "amount"},
		"of decimals in ISK":        {change{payout: in("isk")}, stripe.ErrorCodeParameterInvalidInteger, "amount"},
		"of a third decimal":        {change{payout: in("kwd")}, stripe.ErrorCodeParameterInvalidInteger, "amount"},
		"in a currency without one": {change{payout: in("eur")}, "", "currency"},
		"to what is not theirs":     {change{payout: func(p *stripe.PayoutParams) { p.Destination = stripe.String("ba_9") }}, stripe.ErrorCodeResourceMissing, "destination"},
		"to another currency":       {change{payout: func(p *stripe.PayoutParams) { *p.Currency, p.Destination = "eur", stripe.String(bank) }}, "", "destination"},
		"payouts disabled":          {change{account: func(a *simulator.Account) { a.PayoutsDisabled = true }}, stripe.ErrorCodePayoutsNotAllowed, ""},
		"an errored bank account":   {change{account: first(func(e *simulator.ExternalAccount) { e.Status = "errored" })}, stripe.ErrorCodeBankAccountUnusable, "destination"},
		"a refused destination":     {change{account: first(func(e *simulator.ExternalAccount) { e.Refusal = "account_closed" })}, stripe.ErrorCodeAccountClosed, "destination"},
		"no account of our own":     {change{payout: func(p *stripe.PayoutParams) { p.StripeAccount = nil }}, stripe.ErrorCodePayoutsNotAllowed, ""},
		"instant to the wrong bank": {change{first(func(e *simulator.ExternalAccount) { e.NoInstant = true }), instant}, stripe.ErrorCodeInstantPayoutsUnsupported, "destination"},
		"too little by instant":     {change{payout: func(p *stripe.PayoutParams) { instant(p); *p.Amount = 99 }}, stripe.ErrorCodeAmountTooSmall, "amount"},
		"too much by instant":       {change{payout: func(p *stripe.PayoutParams) { instant(p); *p.Amount = 20_001 }}, stripe.ErrorCodeAmountTooLarge, "amount"},
		"too little":                {change{payout: func(p *stripe.PayoutParams) { *p.Amount = 9 }}, stripe.ErrorCodeAmountTooSmall, "amount"},
		"beyond the account's day":  {change{func(a *simulator.Account) { a.InstantPerDay = 499 }, instant}, stripe.ErrorCodeInstantPayoutsLimitExceeded, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, simulator.Config{})
			account := b.funded(t, 100_000)
			require.NoError(t, b.Stripe().SetPayoutLimits(simulator.PayoutLimits{
				Minimum: map[string]int64{"usd": 10}, InstantMinimum: map[string]int64{"usd": 100}, InstantMaximum: map[string]int64{"usd": 20_000},
			}))
			if c.account != nil {
				_, err := b.Stripe().SetAccount(account, c.account)
				require.NoError(t, err)
			}
			params := payoutParams(account, 500, "po_1")
			if c.payout != nil {
				c.payout(params)
			}
			_, err := b.stripe().Payouts.New(params)
			b.requireCode(t, err, http.StatusBadRequest, c.code, c.param)
			require.Empty(t, b.Stripe().Payouts(""))
			b.requireFunds(t, account, 100_000, 0, 100_000)
		})
	}
}

func TestPayouts_CoarseStepsAreTaken(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	for currency, amount := range map[string]int64{"huf": 300, "twd": 100, "isk": 200, "kwd": 150, "jpy": 7, "eur": 1} {
		a, err := b.Stripe().PutAccount(simulator.Account{Currency: currency})
		require.NoError(t, err)
		require.NoError(t, b.Stripe().SetAccountBalance(a.ID, currency, amount))
		params := payoutParams(a.ID, amount, "po_"+currency)
		params.Currency = &currency
		_, err = b.stripe().Payouts.New(params)
		require.NoError(t, err, currency)
	}
}

func TestPayouts_InstantLimitsAreForADay(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	limited := func(payoutsPerDay int) string {
		account := b.funded(t, 10_000)
		_, err := b.Stripe().SetAccount(account, func(a *simulator.Account) { a.InstantPayoutsPerDay = payoutsPerDay })
		require.NoError(t, err)
		return account
	}
	tries := 0
	instant := func(account string, amount int64) error {
		tries++
		params := payoutParams(account, amount, fmt.Sprint("po_", tries))
		params.Method = stripe.String("instant")
		_, err := b.stripe().Payouts.New(params)
		return err
	}
	refused := func(err error) {
		t.Helper()
		b.requireCode(t, err, http.StatusBadRequest, stripe.ErrorCodeInstantPayoutsLimitExceeded, "")
	}
	first, second := limited(2), limited(0)
	require.NoError(t, b.Stripe().SetPayoutLimits(simulator.PayoutLimits{InstantPerDay: map[string]int64{"usd": 1000}}))
	_, err := b.Stripe().PutPayout(simulator.Payout{Account: first, Amount: 500, Method: "instant", Created: time.Now().AddDate(0, 0, -2)})
	require.NoError(t, err, "another day has its own limit")

	require.NoError(t, instant(first, 100))
	require.NoError(t, instant(first, 100))
	refused(instant(first, 100))
	_, err = b.payOut(first, 100, "po_standard")
	require.NoError(t, err)

	refused(instant(second, 801))
	require.NoError(t, instant(second, 800))
	refused(instant(second, 1))
}

func TestPayouts_RunTheirCourse(t *testing.T) {
	t.Parallel()
	type step func(*simulator.Stripe, string) (simulator.Payout, error)
	fail := func(s *simulator.Stripe, id string) (simulator.Payout, error) {
		return s.FailPayout(id, "account_closed")
	}
	back := func(s *simulator.Stripe, id string) (simulator.Payout, error) {
		return s.ReturnPayout(id, "no_account")
	}
	send, pay := (*simulator.Stripe).SendPayout, (*simulator.Stripe).SettlePayout
	for name, c := range map[string]struct {
		steps  []step
		status stripe.PayoutStatus
		code   stripe.PayoutFailureCode
		events []string
		next   []bool // whether it can be sent, settled, failed, returned after that
	}{
		"pending":    {nil, stripe.PayoutStatusPending, "", nil, []bool{true, true, true, true}},
		"in transit": {[]step{send}, stripe.PayoutStatusInTransit, "", []string{"payout.updated"}, []bool{false, true, true, true}},
		"paid":       {[]step{pay}, stripe.PayoutStatusPaid, "", []string{"payout.updated", "payout.paid"}, []bool{false, false, false, true}},
		"sent, paid": {[]step{send, pay}, stripe.PayoutStatusPaid, "", []string{"payout.updated", "payout.paid"}, []bool{false, false, false, true}},
		"failed": {
			[]step{fail},
			stripe.PayoutStatusFailed, stripe.PayoutFailureCodeAccountClosed,
			[]string{"payout.failed"},
			[]bool{false, false, false, false},
		},
		"returned": {
			[]step{pay, back},
			stripe.PayoutStatusFailed, stripe.PayoutFailureCodeNoAccount,
			[]string{"payout.updated", "payout.paid", "payout.failed"},
			[]bool{false, false, false, false},
		},
		"paid and returned": {
			[]step{back},
			stripe.PayoutStatusFailed, stripe.PayoutFailureCodeNoAccount,
			[]string{"payout.updated", "payout.paid", "payout.failed"},
			[]bool{false, false, false, false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i, next := range []step{send, pay, fail, back} {
				b := setup(t, simulator.Config{})
				account := b.funded(t, 1000)
				p, err := b.payOut(account, 600, "po_1")
				require.NoError(t, err)
				for _, step := range c.steps {
					_, err := step(b.Stripe(), p.ID)
					require.NoError(t, err)
				}
				shown := b.shownPayout(t, account, p.ID)
				require.Equal(t, c.status, shown.Status)
				require.Equal(t, c.code, shown.FailureCode)
				require.Equal(t, c.code != "", shown.FailureBalanceTransaction != nil)
				if c.code == "" {
					b.requireFunds(t, account, 400, 0, 400)
				} else {
					b.requireFunds(t, account, 1000, 0, 1000)
				}
				require.Equal(t, append([]string{"payout.created"}, c.events...), b.lastEvents(len(c.events)+1))

				_, err = next(b.Stripe(), p.ID)
				require.Equal(t, c.next[i], err == nil, "step %d: %v", i, err)
				if !c.next[i] {
					require.Equal(t, c.status, b.shownPayout(t, account, p.ID).Status)
				}
				require.NoError(t, b.Stripe().MoneyAudit().Err())
			}
		})
	}
}

func TestPayouts_FailForAReason(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	p, err := b.payOut(b.funded(t, 100), 100, "po_1")
	require.NoError(t, err)
	_, err = b.Stripe().FailPayout(p.ID, "")
	require.ErrorContains(t, err, "code is empty")
	_, err = b.Stripe().ReturnPayout(p.ID, "")
	require.ErrorContains(t, err, "code is empty")
	_, err = b.Stripe().SettlePayout("po_none")
	require.ErrorContains(t, err, "po_none")
	require.Equal(t, "pending", b.Stripe().Payouts("")[0].Status)
}

func TestPayouts_AreCanceledWhilePending(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	account, other := b.funded(t, 1000), b.account(t)
	pending, err := b.payOut(account, 600, "po_1")
	require.NoError(t, err)
	sent, err := b.payOut(account, 400, "po_2")
	require.NoError(t, err)
	_, err = b.Stripe().SendPayout(sent.ID)
	require.NoError(t, err)

	b.requireCode(t, b.cancel(other, pending.ID), http.StatusNotFound, stripe.ErrorCodeResourceMissing, "id")
	b.requireCode(t, b.cancel(account, sent.ID), http.StatusBadRequest, "", "")
	require.NoError(t, b.cancel(account, pending.ID))
	b.requireCode(t, b.cancel(account, pending.ID), http.StatusBadRequest, "", "")

	require.Equal(t, stripe.PayoutStatusCanceled, b.shownPayout(t, account, pending.ID).Status)
	b.requireFunds(t, account, 600, 0, 600)
	require.Equal(t, []string{"payout.canceled"}, b.lastEvents(1))
}

func TestPayouts_List(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	account, other := b.account(t), b.funded(t, 100)
	_, err := b.Stripe().SetAccount(account, func(a *simulator.Account) {
		a.ExternalAccounts = append(a.ExternalAccounts, simulator.ExternalAccount{ID: "ba_2"})
	})
	require.NoError(t, err)
	require.NoError(t, b.Stripe().SetAccountBalance(account, "usd", 1000))
	_, err = b.payOut(other, 100, "po_other")
	require.NoError(t, err)
	const day = 86400
	var ids []string
	for i, seed := range []simulator.Payout{
		{Status: "paid"}, {Status: "in_transit", Destination: "ba_2"}, {Automatic: true}, {Status: "paid", Destination: "ba_2"},
	} {
		seed.Account, seed.Amount = account, 10
		seed.Created, seed.ArrivalDate = time.Unix(int64(i+1)*day, 0), time.Unix(int64(i+3)*day, 0)
		p, err := b.Stripe().PutPayout(seed)
		require.NoError(t, err)
		ids = append(ids, p.ID)
	}
	for name, c := range map[string]struct {
		params stripe.PayoutListParams
		want   []int
	}{
		"all":              {stripe.PayoutListParams{}, []int{3, 2, 1, 0}},
		"paid":             {stripe.PayoutListParams{Status: stripe.String("paid")}, []int{3, 0}},
		"pending":          {stripe.PayoutListParams{Status: stripe.String("pending")}, []int{2}},
		"in transit":       {stripe.PayoutListParams{Status: stripe.String("in_transit")}, []int{1}},
		"to one":           {stripe.PayoutListParams{Destination: stripe.String("ba_2")}, []int{3, 1}},
		"to one, and paid": {stripe.PayoutListParams{Destination: stripe.String("ba_2"), Status: stripe.String("paid")}, []int{3}},
		"since a time":     {stripe.PayoutListParams{CreatedRange: &stripe.RangeQueryParams{GreaterThanOrEqual: 3 * day}}, []int{3, 2}},
		"of a time":        {stripe.PayoutListParams{Created: stripe.Int64(2 * day)}, []int{1}},
		"arriving at":      {stripe.PayoutListParams{ArrivalDate: stripe.Int64(3 * day)}, []int{0}},
		"arriving after":   {stripe.PayoutListParams{ArrivalDateRange: &stripe.RangeQueryParams{GreaterThan: 4 * day}}, []int{3, 2}},
	} {
		c.params.Limit = stripe.Int64(1) // every page has one
		c.params.SetStripeAccount(account)
		var got, want []string
		it := b.stripe().Payouts.List(&c.params)
		for it.Next() {
			got = append(got, it.Payout().ID)
		}
		require.NoError(t, it.Err(), name)
		for _, i := range c.want {
			want = append(want, ids[i])
		}
		require.Equal(t, want, got, name)
	}

	of := http.Header{"Stripe-Account": {account}}
	require.Equal(t, "status", errorOf(t, b.send(t, "GET", "/v1/payouts?status=lost", nil, of)).Param)
	require.Equal(t, "arrival_date[gt]", errorOf(t, b.send(t, "GET", "/v1/payouts?arrival_date[gt]=x", nil, of)).Param)
	require.Equal(t, "metadata", errorOf(t, b.send(t, "GET", "/v1/payouts?metadata[a]=b", nil, of)).Param, "there is no such filter")
	require.Empty(t, decodeJSON[stripe.PayoutList](t, b.send(t, "GET", "/v1/payouts", nil, nil).body).Data)
	require.Equal(t, http.StatusNotFound, b.send(t, "GET", "/v1/payouts/"+ids[0], nil, nil).status)
}

func TestPutPayout_IsThePayeesOwn(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	account := b.funded(t, 1000)
	copied := ours("po_" + account)

	p, err := b.Stripe().PutPayout(simulator.Payout{Account: account, Amount: 700, Metadata: copied, Automatic: true})
	require.NoError(t, err)

	shown := b.shownPayout(t, account, p.ID)
	require.True(t, shown.Automatic)
	require.Equal(t, copied, shown.Metadata)
	require.Equal(t, bank, shown.Destination.ID)
	require.Equal(t, []string{"payout.created"}, b.lastEvents(1))
	b.requireFunds(t, account, 300, 0, 300)
	_, err = b.payOut(account, 1000, "po_1")
	b.requireCode(t, err, http.StatusBadRequest, stripe.ErrorCodeBalanceInsufficient, "")

	for says, seed := range map[string]simulator.Payout{
		"insufficient funds": {Account: account, Amount: 301}, "acct_none": {Account: "acct_none", Amount: 1},
		"with that id": {Account: account, Amount: 1, ID: p.ID}, "begins with po_": {Account: account, Amount: 1, ID: "x"},
		"between 1 and": {Account: account}, "method": {Account: account, Amount: 1, Method: "pigeon"},
		"status": {Account: account, Amount: 1, Status: "failed"},
	} {
		_, err := b.Stripe().PutPayout(seed)
		require.ErrorContains(t, err, says)
	}
	require.Equal(t, []simulator.Payout{p}, b.Stripe().Payouts(account))
}

func TestPayoutSettlement_RunsByItself(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{Seed: 1})
	const payouts, each = 60, 100
	account := b.funded(t, payouts*each)
	require.NoError(t, b.Stripe().SetPayoutSettlement(simulator.PayoutSettlement{}))
	_, err := b.payOut(account, each, "po_0") // which waits for someone to settle it
	require.NoError(t, err)
	require.NoError(t, b.Stripe().SetPayoutSettlement(simulator.PayoutSettlement{
		Automatic: true, DelayMS: 1, FailShare: 0.3, ReturnShare: 0.3, FailureCode: "account_closed",
	}))
	for i := range payouts - 1 {
		_, err := b.payOut(account, each, fmt.Sprint("po_", i+1))
		require.NoError(t, err)
	}

	told := func() map[string]int {
		types := map[string]int{}
		for _, e := range b.Stripe().Events() {
			types[e.Type]++
		}
		return types
	}
	eventually(t, "every payout is paid or failed, and some are returned", func() bool {
		for _, p := range b.Stripe().Payouts(account) {
			if p.Status == "pending" || p.Status == "in_transit" {
				return false
			}
		}
		return told()["payout.paid"]+told()["payout.failed"] > payouts
	})
	types := told()
	require.Positive(t, types["payout.failed"])
	require.Positive(t, types["payout.paid"])
	require.Equal(t, payouts, types["payout.updated"])
	for _, p := range b.Stripe().Payouts(account) {
		require.Equal(t, p.Status == "failed", p.FailureCode == "account_closed")
	}
	require.NoError(t, b.Stripe().MoneyAudit().Err())

	require.ErrorContains(t, b.Stripe().SetPayoutSettlement(simulator.PayoutSettlement{DelayMS: -1}), "delay_ms")
	require.ErrorContains(t, b.Stripe().SetPayoutSettlement(simulator.PayoutSettlement{FailShare: 0.6, ReturnShare: 0.6}), "fail_share")
	require.ErrorContains(t, b.Stripe().SetPayoutLimits(simulator.PayoutLimits{Minimum: map[string]int64{"usd": -1}}), "usd")
}
