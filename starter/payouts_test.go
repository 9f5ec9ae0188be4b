package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/apiclient"
	"github.com/holdfast/holdfast/internal/money"
)

func TestPayoutsAreToldWhatTheyNeed(t *testing.T) {
	t.Parallel()
	keyed := func(args ...string) []string { return append(args, "--key=k") }
	cases := map[string]struct {
		args []string
		says string
	}{
		"a run of no date":               {keyed("payouts", "run"), "DATE"},
		"a run of a malformed date":      {keyed("payouts", "run", "20.11.2026"), "20.11.2026"},
		"a run of a day that is not":     {keyed("payouts", "run", "2026-02-30"), "2026-02-30"},
		"approval of a malformed date":   {keyed("payouts", "approve", "today"), "today"},
		"no payout":                      {keyed("payouts", "show"), "<id>"},
		"resolved to what it cannot be":  {keyed("payouts", "resolve", "po_1", "lost", "--note=n"), "paid"},
		"resolved without a reason":      {keyed("payouts", "resolve", "po_1", "failed"), "--note"},
		"paid without an id":             {keyed("payouts", "resolve", "po_1", "paid", "--note=n"), "--provider-id"},
		"paid by force":                  {keyed("payouts", "resolve", "po_1", "paid", "--provider-id=po_2", "--force", "--note=n"), "--force"},
		"failed with an id":              {keyed("payouts", "resolve", "po_1", "failed", "--provider-id=po_2", "--note=n"), "--provider-id"},
		"a switch without a reason":      {keyed("ops", "payouts-switch", "off"), "--reason"},
		"a switch with an empty reason":  {keyed("ops", "payouts-switch", "on", "--reason= "), "--reason"},
		"a reason that switches nothing": {keyed("ops", "payouts-switch", "--reason=r"), "--reason"},
		"a switch to the middle":         {keyed("ops", "payouts-switch", "half", "--reason=r"), "half"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.ErrorContains(t, told(t, c.args...), c.says)
		})
	}
	for _, fine := range [][]string{
		keyed("payouts", "run", "2026-11-20"),
		keyed("payouts", "show", "po_1"),
		keyed("payouts", "list", "u_1"),
		keyed("payouts", "retry", "po_1", "--note=bank is right now"),
		keyed("payouts", "cancel", "po_1"),
		keyed("payouts", "resolve", "po_1", "paid", "--provider-id=po_2", "--note=n"),
		keyed("payouts", "resolve", "po_1", "failed", "--force", "--note=n"),
		keyed("ops", "payouts-switch", "off", "--reason=r"),
		keyed("ops", "payouts-switch"),
	} {
		require.NoError(t, told(t, fine...), "%q", fine)
	}
}

// recorder is an API that answers everything with the same, and remembers what it was asked.
type recorder struct {
	server *httptest.Server
	asked  []string
}

func record(t *testing.T, answer string) *recorder {
	t.Helper()
	r := &recorder{}
	r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		var body bytes.Buffer
		if _, err := body.ReadFrom(request.Body); err != nil {
			t.Error(err)
		}
		r.asked = append(r.asked, request.Method+" "+request.URL.RequestURI()+" "+body.String())
		_, err := w.Write([]byte(answer))
		if err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(r.server.Close)
	return r
}

// run does what starter does with the arguments.
func (r *recorder) run(t *testing.T, args ...string) {
	t.Helper()
	parser, err := kong.New(&commands{})
	require.NoError(t, err)
	parsed, err := parser.Parse(append(args, "--key=k", "--url="+r.server.URL, "--json"))
	require.NoError(t, err)
	parsed.BindTo(t.Context(), (*context.Context)(nil))
	require.NoError(t, runCommand(parsed))
}

func TestCommandsOfPayoutsAskTheAPI(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		args  []string
		asked string
	}{
		"run":     {[]string{"payouts", "run", "2026-11-20"}, `POST /v1/ops/payout-runs {"date":"2026-11-20"}`},
		"approve": {[]string{"payouts", "approve", "2026-11-20", "--note=n"}, `POST /v1/ops/payout-runs/2026-11-20/approve {"note":"n"}`},
		"pause":   {[]string{"payouts", "pause", "2026-11-20"}, `POST /v1/ops/payout-runs/2026-11-20/pause {"note":""}`},
		"resume":  {[]string{"payouts", "resume", "2026-11-20"}, `POST /v1/ops/payout-runs/2026-11-20/resume {"note":""}`},
		"a run":   {[]string{"payouts", "show", "2026-11-20"}, `GET /v1/ops/payout-runs/2026-11-20 `},
		"show":    {[]string{"payouts", "show", "po_1"}, `GET /v1/payouts/po_1 `},
		"list":    {[]string{"payouts", "list", "u_1"}, `GET /v1/payees/u_1/payouts?cursor= `},
		"retry":   {[]string{"payouts", "retry", "po_1", "--note=n"}, `POST /v1/ops/payouts/po_1/retry {"note":"n"}`},
		"cancel":  {[]string{"payouts", "cancel", "po_1"}, `POST /v1/ops/payouts/po_1/cancel {"note":""}`},
		"resolve": {
			[]string{"payouts", "resolve", "po_1", "paid", "--provider-id=po_2", "--note=n"},
			`POST /v1/ops/payouts/po_1/resolve {"outcome":"paid","provider_id":"po_2","note":"n"}`,
		},
		"duplicate": {
			[]string{"payouts", "duplicate", "po_1", "tr_2", "--note=n"},
			`POST /v1/ops/payouts/po_1/record-duplicate {"note":"n","provider_id":"tr_2"}`,
		},
		"force": {
			[]string{"payouts", "resolve", "po_1", "failed", "--force", "--note=n"},
			`POST /v1/ops/payouts/po_1/resolve {"outcome":"failed","force":true,"note":"n"}`,
		},
		"switch":         {[]string{"ops", "payouts-switch"}, `GET /v1/ops/payouts-switch `},
		"switch it off":  {[]string{"ops", "payouts-switch", "off", "--reason=r"}, `POST /v1/ops/payouts-switch {"enabled":false,"reason":"r"}`},
		"switch it back": {[]string{"ops", "payouts-switch", "on", "--reason=r"}, `POST /v1/ops/payouts-switch {"enabled":true,"reason":"r"}`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := record(t, `{}`)
			r.run(t, c.args...)
			require.Equal(t, []string{c.asked}, r.asked)
		})
	}
}

func TestARunIsShownWithWhatItComesTo(t *testing.T) {
	t.Parallel()
	usd := func(minor int64) money.Amount { return money.New(minor, "usd") }
	run := apiclient.PayoutRun{
		Date: "2026-11-20", State: "awaiting_approval", Cause: "schedule",
		Missing: []apiclient.MissingFunds{{Provider: "stripe", Amount: usd(71234), Payouts: 2}},
		Totals:  []apiclient.PayoutTotal{{Status: "planned", Count: 3, Gross: usd(30000), Fee: usd(292), Net: usd(29708)}},
	}
	var out bytes.Buffer
	describeRun(&out, run)
	require.Contains(t, out.String(), "planned\t3\t300.00 USD\t2.92 USD\t297.08 USD\n")
	require.Contains(t, out.String(), "by schedule\n")
	require.Contains(t, out.String(), "lacks 712.34 USD at stripe: 2 payouts wait")
	require.Contains(t, out.String(), "starter payouts approve 2026-11-20")

	out.Reset()
	describeRun(&out, apiclient.PayoutRun{Date: "2026-11-20", State: "paused", ResumesTo: "paying", Cause: "operator", Actor: "olga"})
	require.Contains(t, out.String(), "paused while paying\n")
	require.Contains(t, out.String(), "by olga\n")
	require.Contains(t, out.String(), "no payouts")
	require.NotContains(t, out.String(), "approve 2026")
}

func TestAPayoutIsShownWithHowItCameThere(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	payout := apiclient.Payout{
		ID: "po_1", PayeeID: "u_1", Kind: "scheduled", RunDate: "2026-11-20", Status: "held", StatusSince: at, Method: "stripe_instant",
		Gross: money.New(10000, "usd"), Fee: money.New(292, "usd"), Net: money.New(9708, "usd"),
		History: []apiclient.Transition{{To: "planned", At: at}, {From: "planned", To: "held", Reason: "no answer", Actor: "olga", At: at}},
	}
	var out bytes.Buffer
	describePayout(&out, payout)
	require.Contains(t, out.String(), "amount\t100.00 USD, fee 2.92 USD, paid out 97.08 USD\n")
	require.Contains(t, out.String(), "scheduled, run of 2026-11-20\n")
	require.Contains(t, out.String(), "2026-11-20T08:00:00Z\tplanned\theld\tolga\tno answer\n")
	require.NotContains(t, out.String(), "failure")
	require.NotContains(t, out.String(), "ends as")

	out.Reset()
	payout.Kind, payout.RunDate, payout.RequestID, payout.Ending = "manual", "", "m_1", "failed"
	describePayout(&out, payout)
	require.Contains(t, out.String(), "manual, request m_1\n")
	require.Contains(t, out.String(), "ends as\tfailed, once the money is back\n")

	out.Reset()
	payout.Kind, payout.RequestID, payout.RetryOf = "retry", "", "po_0"
	listPayouts(&out, []apiclient.Payout{payout})
	require.Contains(t, out.String(), "po_1\theld\t2026-11-20T08:00:00Z\tretry of po_0\tstripe_instant\t100.00 USD\t2.92 USD\t97.08 USD\n")
	out.Reset()
	listPayouts(&out, nil)
	require.Equal(t, "There are no payouts.\n", out.String())
}

func TestASwitchThatIsOffSaysWhatStops(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	describeSwitch(&out, apiclient.PayoutsSwitch{Reason: "odd sums", Actor: "olga"})
	require.Contains(t, out.String(), "off: no new payment is made")
	require.Contains(t, out.String(), "odd sums")
	out.Reset()
	describeSwitch(&out, apiclient.PayoutsSwitch{Enabled: true})
	require.Contains(t, out.String(), "payouts\ton\n")
}

func TestWhatWaitsSaysWhichCommandEndsIt(t *testing.T) {
	t.Parallel()
	require.Equal(t, "starter payouts resolve po_1 paid|failed", toResolve(apiclient.Attention{Kind: "held_payout", PayoutID: "po_1", CustomerID: "u_1"}))
	require.Equal(t, "starter payouts approve 2026-11-20", toResolve(apiclient.Attention{Kind: "unapproved_payout_run", RunDate: "2026-11-20"}))
	require.Equal(t, "add money", toResolve(apiclient.Attention{Kind: "payout_funds", RunDate: "2026-11-20", Detail: "add money"}))
	require.Equal(t, "starter ops retry|skip u_1 promo_code", toResolve(apiclient.Attention{Kind: "step", CustomerID: "u_1", Step: "promo_code"}))
	require.Equal(t, "starter ops redeliver 7", toResolve(apiclient.Attention{Kind: "undelivered_change", CustomerID: "u_1", ChangeSeq: 7}))
}

// A step is retried where it waits: for a customer, a payout, a run or a batch, as attention names them.
func TestRetryGoesToWhomItNames(t *testing.T) {
	t.Parallel()
	for whose, want := range map[string]string{
		"payout/po_1":           "/v1/ops/payouts/po_1/steps/s/retry",
		"payout-run/2026-11-20": "/v1/ops/payout-runs/2026-11-20/steps/s/retry",
		"paypal-batch/pb_1":     "/v1/ops/paypal-batches/pb_1/steps/s/retry",
		"u_1":                   "/v1/ops/customers/u_1/steps/s/retry",
	} {
		r := record(t, `{}`)
		r.run(t, "ops", "retry", whose, "s", "--note=mended")
		require.Equal(t, "POST "+want+` {"note":"mended"}`, r.asked[0])
	}
	for workflowID, want := range map[string]string{
		"payout/po_1":           "starter ops retry payout/po_1 stripe_payout",
		"payout-run/2026-11-20": "starter ops retry payout-run/2026-11-20 stripe_payout",
		"paypal-batch/pb_1":     "starter ops retry paypal-batch/pb_1 stripe_payout",
		"account-check/u_1":     "starter ops retry|skip u_1 stripe_payout",
	} {
		require.Equal(t, want, toResolve(apiclient.Attention{WorkflowID: workflowID, CustomerID: "u_1", Step: "stripe_payout"}))
	}
}
