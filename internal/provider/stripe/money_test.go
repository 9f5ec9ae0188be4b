package stripe_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/stripe"
)

const (
	transferJSON = `{"id":"tr_1","object":"transfer","amount":9708,"amount_reversed":8,"currency":"usd","created":1700000000,
		"destination":"acct_1","transfer_group":"po_ours","metadata":{"holdfast_payout_id":"po_ours","holdfast_payee_id":"u_1"}}`
	reversalJSON = `{"id":"trr_1","object":"transfer_reversal","amount":9708,"currency":"usd","created":1700000000,
		"transfer":"tr_1","metadata":{"holdfast_payout_id":"po_ours"}}`
	payoutJSON = `{"id":"po_1","object":"payout","amount":9708,"currency":"usd","created":1700000000,"arrival_date":1700006400,
		"method":"instant","status":"failed","failure_code":"account_closed","failure_balance_transaction":"txn_2","automatic":false,
		"destination":"ba_1","original_payout":"po_0","reversed_by":"po_2",
		"metadata":{"holdfast_payout_id":"po_ours","holdfast_payee_id":"u_1"}}`
	accountJSON = `{"id":"acct_1","object":"account","country":"US","default_currency":"usd","payouts_enabled":true,
		"capabilities":{"transfers":"active"},"tos_acceptance":{"service_agreement":"full"},
		"settings":{"payouts":{"schedule":{"interval":"manual"}}},
		"requirements":{"currently_due":["individual.id_number"],"past_due":["external_account"],"disabled_reason":"requirements.past_due"},
		"external_accounts":{"object":"list","has_more":false,"data":[
			{"id":"ba_1","object":"bank_account","country":"US","currency":"usd","status":"new","last4":"6789",
				"default_for_currency":true,"available_payout_methods":["standard","instant"]},
			{"id":"card_1","object":"card","country":"CA","currency":"cad","status":"errored","last4":"4242",
				"available_payout_methods":["standard"]},
			{"id":"ba_2","object":"bank_account","currency":"usd","available_payout_methods":["standard"]},
			{"id":"card_2","object":"card","currency":"usd","available_payout_methods":["instant"]},
			{"id":"of_next_year","object":"wallet"}]}}`
	balanceJSON = `{"object":"balance",
		"available":[{"amount":-500,"currency":"usd"},{"amount":7,"currency":"jpy"}],
		"pending":[{"amount":200,"currency":"usd"}],
		"instant_available":[{"amount":100,"currency":"usd"},{"amount":3,"currency":"eur"}]}`
)

func transferOf(amount int64) stripe.TransferRequest {
	return stripe.TransferRequest{
		Amount: amount, Currency: "usd", Destination: "acct_1", TransferGroup: "po_ours", PayoutID: "po_ours", PayeeID: "u_1",
		Description: "Payout of 2026-11-20",
	}
}

func payoutOf(amount int64) stripe.PayoutRequest {
	return stripe.PayoutRequest{
		Amount: amount, Currency: "usd", Method: stripe.MethodInstant, Destination: "ba_1", PayoutID: "po_ours", PayeeID: "u_1",
	}
}

// moneyWrites are the calls that move money, each as the only difference between two tests.
func moneyWrites() map[string]func(ctx context.Context, c *stripe.Client, key string) error {
	return map[string]func(context.Context, *stripe.Client, string) error{
		"CreateTransfer": func(ctx context.Context, c *stripe.Client, key string) error {
			_, err := c.CreateTransfer(ctx, transferOf(9708), key)
			return err
		},
		"ReverseTransfer": func(ctx context.Context, c *stripe.Client, key string) error {
			_, err := c.ReverseTransfer(ctx, "tr_1", 9708, "po_ours", key)
			return err
		},
		"CreatePayout": func(ctx context.Context, c *stripe.Client, key string) error {
			_, err := c.CreatePayout(ctx, "acct_1", payoutOf(9708), key)
			return err
		},
		"CancelPayout": func(ctx context.Context, c *stripe.Client, key string) error {
			_, err := c.CancelPayout(ctx, "acct_1", "po_1", key)
			return err
		},
	}
}

// moneyReads are the calls that tell where money is.
func moneyReads() map[string]func(ctx context.Context, c *stripe.Client) error {
	return map[string]func(context.Context, *stripe.Client) error{
		"GetAccount": func(ctx context.Context, c *stripe.Client) error {
			_, err := c.GetAccount(ctx, "acct_1")
			return err
		},
		"GetBalance": func(ctx context.Context, c *stripe.Client) error {
			_, err := c.GetBalance(ctx, "acct_1")
			return err
		},
		"GetTransfer": func(ctx context.Context, c *stripe.Client) error {
			_, err := c.GetTransfer(ctx, "tr_1")
			return err
		},
		"ListTransfers": func(ctx context.Context, c *stripe.Client) error {
			_, err := c.ListTransfers(ctx, stripe.ListTransfersParams{TransferGroup: "po_ours"})
			return err
		},
		"ListReversals": func(ctx context.Context, c *stripe.Client) error {
			_, err := c.ListReversals(ctx, "tr_1")
			return err
		},
		"GetPayout": func(ctx context.Context, c *stripe.Client) error {
			_, err := c.GetPayout(ctx, "acct_1", "po_1")
			return err
		},
		"ListPayouts": func(ctx context.Context, c *stripe.Client) error {
			_, err := c.ListPayouts(ctx, "acct_1", time.Time{})
			return err
		},
	}
}

func TestGetAccountTellsWhatDecidesAPayout(t *testing.T) {
	t.Parallel()
	s := &script{status: http.StatusOK, body: accountJSON}

	account, err := answering(t, s).GetAccount(t.Context(), "acct_1")

	require.NoError(t, err)
	require.Equal(t, stripe.Account{
		ID: "acct_1", Country: "US", DefaultCurrency: "usd", PayoutsEnabled: true, TransfersActive: true,
		ScheduleInterval: "manual", ServiceAgreement: "full",
		Requirements: stripe.Requirements{
			CurrentlyDue: []string{"individual.id_number"}, PastDue: []string{"external_account"}, DisabledReason: "requirements.past_due",
		},
		ExternalAccounts: []stripe.ExternalAccount{
			{ID: "ba_1", Country: "US", Currency: "usd", Status: "new", Last4: "6789", Default: true, InstantAvailable: true},
			{ID: "card_1", Country: "CA", Currency: "cad", Status: "errored", Last4: "4242"},
			{ID: "ba_2", Currency: "usd"},
			{ID: "card_2", Currency: "usd", InstantAvailable: true},
			{ID: "of_next_year"},
		},
	}, account)
	require.Equal(t, "GET /v1/accounts/acct_1", s.requests()[0].method+" "+s.requests()[0].path)
}

func TestAnAccountThatTellsNothingCanDoNothing(t *testing.T) {
	t.Parallel()
	account, err := answering(t, &script{status: http.StatusOK, body: `{"id":"acct_1","object":"account"}`}).GetAccount(t.Context(), "acct_1")
	require.NoError(t, err)
	require.Equal(t, stripe.Account{ID: "acct_1"}, account)
}

func TestGetBalanceIsByCurrencyAndOfTheAccountAskedFor(t *testing.T) {
	t.Parallel()
	s := &script{status: http.StatusOK, body: balanceJSON}
	client := answering(t, s)

	balance, err := client.GetBalance(t.Context(), "acct_1")
	require.NoError(t, err)
	require.Equal(t, stripe.Balance{
		"usd": {Available: -500, Pending: 200, InstantAvailable: 100}, "jpy": {Available: 7}, "eur": {InstantAvailable: 3},
	}, balance)
	require.Zero(t, balance["gbp"])
	_, err = client.GetBalance(t.Context(), "")
	require.NoError(t, err)

	require.Equal(t, "acct_1", s.requests()[0].header.Get("Stripe-Account"))
	require.Empty(t, s.requests()[1].header.Get("Stripe-Account"), "the platform's own")
}

func TestCreateTransferSendsWhatIsFrozen(t *testing.T) {
	t.Parallel()
	s := &script{status: http.StatusOK, body: transferJSON}

	made, err := answering(t, s).CreateTransfer(t.Context(), transferOf(9708), "k")

	require.NoError(t, err)
	require.Equal(t, stripe.Transfer{
		ID: "tr_1", Amount: 9708, AmountReversed: 8, Currency: "usd", Destination: "acct_1", TransferGroup: "po_ours",
		Metadata: map[string]string{"holdfast_payout_id": "po_ours", "holdfast_payee_id": "u_1"}, Created: time.Unix(1700000000, 0).UTC(),
	}, made)
	require.Equal(t, "po_ours", made.HoldfastPayoutID())
	got := s.requests()[0]
	require.Equal(t, "POST /v1/transfers", got.method+" "+got.path)
	require.Equal(t, url.Values{
		"amount": {"9708"}, "currency": {"usd"}, "destination": {"acct_1"}, "transfer_group": {"po_ours"},
		"description": {"Payout of 2026-11-20"}, "metadata[holdfast_payout_id]": {"po_ours"}, "metadata[holdfast_payee_id]": {"u_1"},
	}, got.form)
	require.Equal(t, "k", got.header.Get("Idempotency-Key"))
	require.Empty(t, got.header.Get("Stripe-Account"))
}

func TestReverseTransferTakesTheAmountBack(t *testing.T) {
	t.Parallel()
	s := &script{status: http.StatusOK, body: reversalJSON}

	made, err := answering(t, s).ReverseTransfer(t.Context(), "tr_1", 9708, "po_ours", "k")

	require.NoError(t, err)
	require.Equal(t, stripe.Reversal{
		ID: "trr_1", Transfer: "tr_1", Amount: 9708, Currency: "usd",
		Metadata: map[string]string{"holdfast_payout_id": "po_ours"}, Created: time.Unix(1700000000, 0).UTC(),
	}, made)
	require.Equal(t, "po_ours", made.HoldfastPayoutID())
	got := s.requests()[0]
	require.Equal(t, "POST /v1/transfers/tr_1/reversals", got.method+" "+got.path)
	require.Equal(t, url.Values{"amount": {"9708"}, "metadata[holdfast_payout_id]": {"po_ours"}}, got.form)
	require.Equal(t, "k", got.header.Get("Idempotency-Key"))
	require.Empty(t, got.header.Get("Stripe-Account"), "the platform reverses")
}

func TestCreatePayoutSpeaksForTheConnectedAccount(t *testing.T) {
	t.Parallel()
	s := &script{status: http.StatusOK, body: payoutJSON}

	made, err := answering(t, s).CreatePayout(t.Context(), "acct_1", payoutOf(9708), "k")

	require.NoError(t, err)
	require.Equal(t, stripe.Payout{
		ID: "po_1", Amount: 9708, Currency: "usd", Method: "instant", Status: "failed", Destination: "ba_1",
		FailureCode: "account_closed", FailureBalanceTransaction: "txn_2", OriginalPayout: "po_0", ReversedBy: "po_2",
		Metadata: map[string]string{"holdfast_payout_id": "po_ours", "holdfast_payee_id": "u_1"},
		Created:  time.Unix(1700000000, 0).UTC(), ArrivalDate: time.Unix(1700006400, 0).UTC(),
	}, made)
	require.Equal(t, "po_ours", made.HoldfastPayoutID())
	got := s.requests()[0]
	require.Equal(t, "POST /v1/payouts", got.method+" "+got.path)
	require.Equal(t, url.Values{
		"amount": {"9708"}, "currency": {"usd"}, "method": {"instant"}, "destination": {"ba_1"},
		"metadata[holdfast_payout_id]": {"po_ours"}, "metadata[holdfast_payee_id]": {"u_1"},
	}, got.form)
	require.Equal(t, "k", got.header.Get("Idempotency-Key"))
	require.Equal(t, "acct_1", got.header.Get("Stripe-Account"))
}

func TestCancelPayoutSpeaksForTheConnectedAccount(t *testing.T) {
	t.Parallel()
	s := &script{status: http.StatusOK, body: payoutJSON}

	_, err := answering(t, s).CancelPayout(t.Context(), "acct_1", "po_1", "k")

	require.NoError(t, err)
	got := s.requests()[0]
	require.Equal(t, "POST /v1/payouts/po_1/cancel", got.method+" "+got.path)
	require.Equal(t, "acct_1", got.header.Get("Stripe-Account"))
	require.Equal(t, "k", got.header.Get("Idempotency-Key"))
}

func TestReadsOfMoneyAskWhatTheySay(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body    string
		call    func(context.Context, *stripe.Client) error
		path    string
		account string
		query   url.Values
	}{
		"GetTransfer": {transferJSON, moneyReads()["GetTransfer"], "/v1/transfers/tr_1", "", url.Values{}},
		"GetPayout":   {payoutJSON, moneyReads()["GetPayout"], "/v1/payouts/po_1", "acct_1", url.Values{}},
		"ListTransfers": {listOf(transferJSON), func(ctx context.Context, c *stripe.Client) error {
			_, err := c.ListTransfers(ctx, stripe.ListTransfersParams{
				Destination: "acct_1", TransferGroup: "po_ours", CreatedFrom: time.Unix(1700000000, 999),
			})
			return err
		}, "/v1/transfers", "", url.Values{
			"destination": {"acct_1"}, "transfer_group": {"po_ours"}, "created[gte]": {"1700000000"}, "limit": {"100"},
		}},
		"ListReversals": {listOf(reversalJSON), moneyReads()["ListReversals"], "/v1/transfers/tr_1/reversals", "", url.Values{"limit": {"100"}}},
		"ListPayouts": {listOf(payoutJSON), func(ctx context.Context, c *stripe.Client) error {
			_, err := c.ListPayouts(ctx, "acct_1", time.Unix(1700000000, 0))
			return err
		}, "/v1/payouts", "acct_1", url.Values{"created[gte]": {"1700000000"}, "limit": {"100"}}},
		"ListPayouts from the first on": {listOf(payoutJSON), moneyReads()["ListPayouts"], "/v1/payouts", "acct_1", url.Values{"limit": {"100"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &script{status: http.StatusOK, body: test.body}
			require.NoError(t, test.call(t.Context(), answering(t, s)))
			require.Len(t, s.requests(), 1)
			got := s.requests()[0]
			require.Equal(t, "GET "+test.path, got.method+" "+got.path)
			require.Equal(t, test.account, got.header.Get("Stripe-Account"))
			require.Equal(t, test.query, got.query)
			require.Empty(t, got.header.Get("Idempotency-Key"))
		})
	}
}

func listOf(objects ...string) string {
	return `{"object":"list","url":"/v1/them","has_more":false,"data":[` + strings.Join(objects, ",") + `]}`
}

// pager is a server whose lists have so many objects, one after the other, and which fails at one
// of its pages when told so.
type pager struct {
	object string // its JSON, with a verb for the number in the id
	prefix string // of the ids
	total  int
	failAt int32 // the number of the page; zero never

	pages atomic.Int32
}

func (p *pager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.pages.Add(1) == p.failAt {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	first := 0
	if after := r.URL.Query().Get("starting_after"); after != "" {
		_, _ = fmt.Sscanf(after, p.prefix+"%d", &first)
		first++
	}
	var objects []string
	for i := first; i < min(first+100, p.total); i++ {
		objects = append(objects, fmt.Sprintf(p.object, i))
	}
	_, _ = fmt.Fprintf(w, `{"object":"list","url":"/v1/them","has_more":%t,"data":[%s]}`, first+100 < p.total, strings.Join(objects, ","))
}

func TestListsOfMoneyAreReadToTheirEnd(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		prefix, object string
		ids            func(context.Context, *stripe.Client) ([]string, error)
	}{
		"ListTransfers": {"tr_", `{"id":"tr_%d","object":"transfer"}`, func(ctx context.Context, c *stripe.Client) (ids []string, err error) {
			listed, err := c.ListTransfers(ctx, stripe.ListTransfersParams{})
			for _, l := range listed {
				ids = append(ids, l.ID)
			}
			return ids, err
		}},
		"ListReversals": {"trr_", `{"id":"trr_%d","object":"transfer_reversal"}`, func(ctx context.Context, c *stripe.Client) (ids []string, err error) {
			listed, err := c.ListReversals(ctx, "tr_1")
			for _, l := range listed {
				ids = append(ids, l.ID)
			}
			return ids, err
		}},
		"ListPayouts": {"po_", `{"id":"po_%d","object":"payout"}`, func(ctx context.Context, c *stripe.Client) (ids []string, err error) {
			listed, err := c.ListPayouts(ctx, "acct_1", time.Time{})
			for _, l := range listed {
				ids = append(ids, l.ID)
			}
			return ids, err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := func(p *pager) ([]string, error) {
				p.prefix, p.object = test.prefix, test.object
				server := httptest.NewServer(p)
				t.Cleanup(server.Close)
				client := newClient(t, stripe.Config{APIBase: server.URL})
				client.ReadPagesAtOnce()
				return test.ids(t.Context(), client)
			}

			for _, total := range []int{0, 1, 100, 101, 250} {
				ids, err := list(&pager{total: total})
				require.NoError(t, err)
				require.Len(t, ids, total)
				require.Len(t, slices.Compact(slices.Sorted(slices.Values(ids))), total, "each once")
			}
			ids, err := list(&pager{total: 250, failAt: 3})
			require.Equal(t, provider.Transient, failureOf(t, err).Class)
			require.Empty(t, ids, "half a list proves no absence")
		})
	}
}

func TestAWriteOfMoneyWithoutAProperKeyIsNotSent(t *testing.T) {
	t.Parallel()
	s := &script{status: http.StatusOK, body: `{}`}
	client := answering(t, s)
	for name, send := range moneyWrites() {
		for _, key := range []string{"", " ", " k", "k\n", strings.Repeat("k", 256)} {
			require.ErrorContains(t, send(t.Context(), client, key), "idempotency key", "%s %q", name, key)
		}
	}
	require.Empty(t, s.requests())
}

func TestMoneyGoesByIDsAlone(t *testing.T) {
	t.Parallel()
	s := &script{status: http.StatusOK, body: `{}`}
	client := answering(t, s)
	ctx := t.Context()
	for _, id := range []string{"", "acct_", "acct_1/x", "acct_1?a=b", "acct_1\n", "cus_1", "tr_../balance", "po_ü", "ba_1 "} {
		to := transferOf(1)
		to.Destination = id
		from := payoutOf(1)
		from.Destination = id
		for call, try := range map[string]func() error{
			"GetAccount":      func() error { _, err := client.GetAccount(ctx, id); return err },
			"CreateTransfer":  func() error { _, err := client.CreateTransfer(ctx, to, "k"); return err },
			"GetTransfer":     func() error { _, err := client.GetTransfer(ctx, id); return err },
			"ReverseTransfer": func() error { _, err := client.ReverseTransfer(ctx, id, 1, "po_ours", "k"); return err },
			"ListReversals":   func() error { _, err := client.ListReversals(ctx, id); return err },
			"CreatePayout":    func() error { _, err := client.CreatePayout(ctx, id, payoutOf(1), "k"); return err },
			"its destination": func() error { _, err := client.CreatePayout(ctx, "acct_1", from, "k"); return err },
			"GetPayout of":    func() error { _, err := client.GetPayout(ctx, id, "po_1"); return err },
			"GetPayout":       func() error { _, err := client.GetPayout(ctx, "acct_1", id); return err },
			"CancelPayout of": func() error { _, err := client.CancelPayout(ctx, id, "po_1", "k"); return err },
			"CancelPayout":    func() error { _, err := client.CancelPayout(ctx, "acct_1", id, "k"); return err },
			"ListPayouts":     func() error { _, err := client.ListPayouts(ctx, id, time.Time{}); return err },
		} {
			refused := failureOf(t, try())
			require.Equal(t, provider.Rejected, refused.Class, "%s %q", call, id)
			require.Equal(t, stripe.CodeIDInvalid, refused.Code, "%s %q", call, id)
			require.NotEmpty(t, refused.Param)
		}
	}
	_, err := client.GetBalance(ctx, "acct_")
	require.Equal(t, stripe.CodeIDInvalid, failureOf(t, err).Code)
	require.Empty(t, s.requests())
}

// What is stored and read again is sent again to the byte.
func TestAStoredRequestIsSentAgainAsItWas(t *testing.T) {
	t.Parallel()
	s := &script{status: http.StatusOK, body: transferJSON}
	client := answering(t, s)
	request := transferOf(9708)
	for range 20 {
		_, err := client.CreateTransfer(t.Context(), request, "k")
		require.NoError(t, err)
		stored, err := json.Marshal(request)
		require.NoError(t, err)
		request = stripe.TransferRequest{}
		require.NoError(t, json.Unmarshal(stored, &request))
	}
	for _, again := range s.requests()[1:] {
		require.Equal(t, s.requests()[0].raw, again.raw)
	}
}

// moneyReplies are answers whose meaning depends on what was asked.
func moneyReplies() []reply {
	return []reply{
		{status: 400, kind: invalid, code: "balance_insufficient"},
		{status: 400, kind: invalid, code: "insufficient_funds"},
		{status: 403, kind: invalid, code: "account_invalid"},
		{status: 400, kind: invalid, code: "resource_missing", param: "destination"},
		{status: 400, kind: invalid, code: "resource_missing", param: "external_account"},
		{status: 404, kind: invalid, code: "resource_missing"},
		{status: 400, kind: invalid, code: "amount_too_large"},
		{status: 400, kind: invalid, code: "amount_too_small"},
		{status: 400, kind: invalid, code: "payouts_limit_exceeded"},
	}
}

func TestWhoseMatterARefusalOfMoneyIs(t *testing.T) {
	t.Parallel()
	type meaning struct {
		class  provider.Class
		matter provider.Matter
	}
	var (
		payees  = meaning{rejected, provider.MatterPayee}
		instant = meaning{rejected, provider.MatterInstant}
		ours    = meaning{rejected, provider.MatterOurs}
		nobody  = meaning{rejected, ""}
		wrong   = meaning{misconfigured, ""}
		none    = meaning{notFound, ""}
	)
	want := map[string][]meaning{ // in the order of moneyReplies
		"CreateTransfer":  {ours, ours, wrong, payees, nobody, none, nobody, nobody, nobody},
		"ReverseTransfer": {nobody, nobody, wrong, nobody, nobody, none, nobody, nobody, nobody},
		"CreatePayout":    {nobody, nobody, payees, payees, payees, payees, instant, instant, instant},
		"standard":        {nobody, nobody, payees, payees, payees, payees, nobody, nobody, nobody},
		"CancelPayout":    {nobody, nobody, payees, nobody, nobody, none, nobody, nobody, nobody},
		"GetAccount":      {nobody, nobody, payees, nobody, nobody, none, nobody, nobody, nobody},
		"GetPayout":       {nobody, nobody, payees, nobody, nobody, none, nobody, nobody, nobody},
		"GetTransfer":     {nobody, nobody, wrong, nobody, nobody, none, nobody, nobody, nobody},
	}
	calls := moneyReads()
	for name, write := range moneyWrites() {
		calls[name] = func(ctx context.Context, c *stripe.Client) error { return write(ctx, c, "k") }
	}
	calls["standard"] = func(ctx context.Context, c *stripe.Client) error {
		request := payoutOf(9708)
		request.Method = stripe.MethodStandard
		_, err := c.CreatePayout(ctx, "acct_1", request, "k")
		return err
	}
	for name, meanings := range want {
		for i, r := range moneyReplies() {
			refused := failureOf(t, calls[name](t.Context(), answering(t, r.script())))
			got := meaning{refused.Class, refused.Matter}
			require.Equal(t, meanings[i], got, "%s: %s of %s", name, r.code, r.param)
			require.Equal(t, r.code, refused.Code)
			require.NotContains(t, refused.Error(), "example.com")
		}
	}
}

func TestEveryRefusalOfAPayoutHasItsMatter(t *testing.T) {
	t.Parallel()
	for name, write := range moneyWrites() {
		for _, code := range destinationCodes() {
			refused := failureOf(t, write(t.Context(), answering(t, reply{status: 400, kind: invalid, code: code}.script()), "k"))
			require.Equal(t, rejected, refused.Class, "%s: %s", name, code)
			require.Equal(t, provider.MatterPayee, refused.Matter, "%s: %s", name, code)
		}
		for _, code := range instantCodes() {
			refused := failureOf(t, write(t.Context(), answering(t, reply{status: 400, kind: invalid, code: code}.script()), "k"))
			require.Equal(t, provider.MatterInstant, refused.Matter, "%s: %s", name, code)
		}
	}
}

func TestAPayoutThatFailedIsTheMatterOfTheSameTable(t *testing.T) {
	t.Parallel()
	for _, code := range failureCodes() {
		require.Equal(t, provider.MatterPayee, stripe.Payout{FailureCode: code}.FailureMatter(), code)
	}
	for _, code := range []string{"insufficient_funds", "a_code_from_next_year", ""} {
		require.Empty(t, stripe.Payout{FailureCode: code}.FailureMatter(), code)
	}
}

func TestWhatIsNotKnownOfMoneyStaysUnknown(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]struct {
		script *script
		write  provider.Class
		read   provider.Class
	}{
		"no object":          {&script{status: 200, body: `{}`}, unknown, transient},
		"another object":     {&script{status: 200, body: customerJSON}, unknown, transient},
		"cut":                {&script{status: 200, body: transferJSON[:50]}, unknown, transient},
		"an edge's page":     {&script{status: 502, body: "<html>"}, unknown, transient},
		"a server error":     {reply{status: 500, kind: apiError}.script(), unknown, transient},
		"in use":             {reply{status: 409, kind: idempotency, code: "idempotency_key_in_use"}.script(), transient, transient},
		"asked to wait":      {reply{status: 429, kind: invalid, header: map[string]string{"Retry-After": "7"}}.script(), rateLimited, rateLimited},
		"a wrong key":        {reply{status: 401, kind: invalid}.script(), misconfigured, misconfigured},
		"a lacking right":    {reply{status: 403, kind: invalid}.script(), misconfigured, misconfigured},
		"another's key":      {reply{status: 400, kind: idempotency}.script(), rejected, rejected},
		"a stored 500 again": {reply{status: 500, kind: apiError, header: map[string]string{"Idempotent-Replayed": "true"}}.script(), unknown, transient},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := answering(t, answer.script)
			for call, write := range moneyWrites() {
				failure := failureOf(t, write(t.Context(), client, "k"))
				require.Equal(t, answer.write, failure.Class, call)
				require.Equal(t, name == "a stored 500 again", failure.Replayed, call)
				require.Empty(t, failure.Matter, call)
			}
			for call, read := range moneyReads() {
				failure := failureOf(t, read(t.Context(), client))
				require.Equal(t, answer.read, failure.Class, call)
				require.Equal(t, name == "asked to wait", failure.RetryAfter == 7*time.Second, call)
			}
		})
	}
}
