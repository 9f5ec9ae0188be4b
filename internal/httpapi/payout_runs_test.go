package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/apiclient"
)

const someRun = "/v1/ops/payout-runs/2026-11-20"

// begin starts a run that is over, and brings it to a state.
func (b bundle) begin(t *testing.T, state string) {
	t.Helper()
	b.exec(t, `INSERT INTO payout_runs (date, state, cause, computed_at, ended_at)
		VALUES ('2026-11-20', $1, 'schedule', CASE WHEN $1 <> 'computing' THEN now() END, CASE WHEN $1 = 'ended' THEN now() END)`, state)
}

// messages are the keys of what was handed to the outbox, without what tells one decision from another.
func (b bundle) messages(t *testing.T) (keys []string) {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `SELECT key FROM outbox WHERE key LIKE 'payout%' ORDER BY id`)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var key string
		require.NoError(t, rows.Scan(&key))
		parts := strings.Split(key, "/")
		keys = append(keys, strings.Join(parts[:min(3, len(parts))], "/"))
	}
	require.NoError(t, rows.Err())
	return keys
}

// acts are what operators did, as it is recorded.
func (b bundle) acts(t *testing.T) (acts []string) {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), `SELECT actor || ' ' || action || ' ' || subject || ': ' || note FROM operator_actions ORDER BY id`)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var act string
		require.NoError(t, rows.Scan(&act))
		acts = append(acts, act)
	}
	require.NoError(t, rows.Err())
	return acts
}

func TestARunIsStartedOncePerDate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	today := time.Now().UTC().Format(time.DateOnly)
	body := `{"date":"` + today + `"}`

	first := b.call(t, "POST", "/v1/ops/payout-runs", operatorKey, body)
	again := b.call(t, "POST", "/v1/ops/payout-runs", operatorKey, body)

	require.Equal(t, http.StatusCreated, first.status, first.text)
	require.Equal(t, today, first.body["date"])
	require.Equal(t, "computing", first.body["state"])
	require.Equal(t, "operator", first.body["cause"])
	require.Equal(t, "olga", first.body["actor"])
	require.Equal(t, "payout-run/"+today, first.body["workflow_id"])
	require.Empty(t, first.body["totals"])
	require.Equal(t, http.StatusOK, again.status, again.text)
	started := "payout-run/" + today + "/start"
	require.Equal(t, []string{started, started}, b.messages(t), "should the workflow be gone, the second one starts it")
	require.Equal(t, []string{"olga begin_payout_run " + today + ": "}, b.acts(t))
	require.Positive(t, b.notified.calls())
	require.Empty(t, b.temporal.updates, "Temporal may be away")
}

// The one who began the run may have gone before the message was written.
func TestARunWhoseMessageWasLostIsStartedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.begin(t, "computing")
	r := b.call(t, "POST", "/v1/ops/payout-runs", operatorKey, `{"date":"2026-11-20"}`)
	require.Equal(t, http.StatusOK, r.status, r.text)
	require.Equal(t, []string{"payout-run/2026-11-20/start"}, b.messages(t))
}

func TestARunThatEndedIsNotStartedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.begin(t, "ended")
	r := b.call(t, "POST", "/v1/ops/payout-runs", operatorKey, `{"date":"2026-11-20"}`)
	require.Equal(t, http.StatusOK, r.status, r.text)
	require.Equal(t, "ended", r.body["state"])
	require.Empty(t, b.messages(t))
}

func TestRunsOfNoGoodDateAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tomorrow := time.Now().UTC().Add(24 * time.Hour).Format(time.DateOnly)
	for name, body := range map[string]string{
		"to come": `{"date":"` + tomorrow + `"}`, "malformed": `{"date":"20.11.2026"}`, "no day": `{"date":"2026-02-30"}`, "empty": `{"date":""}`,
		"a moment": `{"date":"2026-11-20T08:00:00Z"}`, "a number": `{"date":20261120}`, "missing": `{}`,
	} {
		t.Run(name, func(t *testing.T) {
			requireProblem(t, b.call(t, "POST", "/v1/ops/payout-runs", operatorKey, body), 422, "body.date")
		})
	}
	require.Zero(t, b.count(t, `SELECT count(*) FROM payout_runs`))
	require.Empty(t, b.messages(t))
	for _, path := range []string{"/v1/ops/payout-runs/today", "/v1/ops/payout-runs/2026-02-30", "/v1/ops/payout-runs/%00"} {
		requireProblem(t, b.call(t, "GET", path, operatorKey, ""), 422, "path.date")
	}
	requireProblem(t, b.call(t, "POST", "/v1/ops/payout-runs/today/approve", operatorKey, ""), 422, "path.date")
	for _, call := range [][2]string{{"GET", ""}, {"POST", "/approve"}, {"POST", "/pause"}, {"POST", "/resume"}} {
		requireProblem(t, b.call(t, call[0], someRun+call[1], operatorKey, ""), 404, "path.date")
	}
}

func TestOnlyOperatorsDecideAboutPayouts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.begin(t, "awaiting_approval")
	for path, body := range map[string]string{
		"/v1/ops/payout-runs": `{"date":"2026-11-20"}`, someRun + "/approve": "", someRun + "/pause": "", someRun + "/resume": "",
		"/v1/ops/payouts-switch": `{"enabled":false,"reason":"r"}`,
	} {
		requireProblem(t, b.call(t, "POST", path, payoutsKey, body), 403, "")
	}
	requireProblem(t, b.call(t, "GET", someRun, payoutsKey, ""), 403, "")
	require.Empty(t, b.acts(t))
}

func TestARunShowsWhatItsPayoutsComeTo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.begin(t, "paying")
	b.pay(t, "u_1")
	b.pay(t, "u_2")
	b.pay(t, "u_3")
	b.exec(t, `INSERT INTO payouts (id, payee_id, kind, run_date, method, currency, gross, fee, net, period_end, due_date, stripe_account_id, destination_id)
		SELECT 'po_' || lpad(n::text, 24, '0'), 'u_' || n, 'scheduled', '2026-11-20', 'stripe_instant', 'usd', 10000, 292, 9708, '2026-11-19', '2026-11-20', 'acct_1', 'ba_1'
		FROM generate_series(1, 3) AS n`)
	b.exec(t, `UPDATE payouts SET state = 'sending' WHERE payee_id = 'u_3'`)
	b.exec(t, `INSERT INTO payout_shortfalls (run_date, rail, currency, missing, payouts) VALUES ('2026-11-20', 'stripe', 'usd', 500, 1)`)

	r := b.call(t, "GET", someRun, operatorKey, "")

	require.Equal(t, http.StatusOK, r.status, r.text)
	require.Equal(t, []any{
		map[string]any{"status": "planned", "count": 2.0, "gross": money(20000), "fee": money(584), "net": money(19416)},
		map[string]any{"status": "sending", "count": 1.0, "gross": money(10000), "fee": money(292), "net": money(9708)},
	}, r.body["totals"])
	require.Equal(t, []any{map[string]any{"provider": "stripe", "amount": money(500), "payouts": 1.0}}, r.body["missing"])
}

func TestARunIsApprovedByName(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.begin(t, "awaiting_approval")

	r := b.call(t, "POST", someRun+"/approve", operatorKey, `{"note":"sums are right"}`)
	again := b.call(t, "POST", someRun+"/approve", operatorKey, "")

	require.Equal(t, http.StatusOK, r.status, r.text)
	require.Equal(t, "paying", r.body["state"])
	require.Equal(t, "olga", r.body["approved_by"])
	require.Equal(t, "sums are right", r.body["note"])
	require.Equal(t, http.StatusOK, again.status, again.text)
	require.Equal(t, []string{"olga approve_payout_run 2026-11-20: sums are right"}, b.acts(t))
	require.Contains(t, b.messages(t), "payout-run/2026-11-20/approve", "its workflow is told")
}

func TestARunThatComputesCannotBeApproved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.begin(t, "computing")
	r := b.call(t, "POST", someRun+"/approve", operatorKey, "")
	requireProblem(t, r, http.StatusConflict, "path.date")
	require.Equal(t, "the run of 2026-11-20 is computing and cannot be approved", r.body["detail"])
	require.Empty(t, b.acts(t))
	require.Empty(t, b.messages(t))
}

func TestARunIsPausedAndGoesOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.begin(t, "paying")
	paused := b.call(t, "POST", someRun+"/pause", operatorKey, `{"note":"odd sums"}`)
	require.Equal(t, http.StatusOK, paused.status, paused.text)
	require.Equal(t, "paused", paused.body["state"])
	require.Equal(t, "paying", paused.body["resumes_to"])
	requireProblem(t, b.call(t, "POST", someRun+"/approve", operatorKey, ""), http.StatusConflict, "path.date")
	requireProblem(t, b.call(t, "POST", someRun+"/pause", operatorKey, `{"note":"\u0000"}`), 422, "body.note")

	resumed := b.call(t, "POST", someRun+"/resume", operatorKey, "")
	require.Equal(t, http.StatusOK, resumed.status, resumed.text)
	require.Equal(t, "paying", resumed.body["state"])
	require.NotContains(t, resumed.body, "resumes_to")
	require.Equal(t, []string{"olga pause_payout_run 2026-11-20: odd sums", "olga resume_payout_run 2026-11-20: "}, b.acts(t))
	require.Equal(t, []string{"payout-run/2026-11-20/pause", "payout-wake/run/2026-11-20", "payout-run/2026-11-20/resume"}, b.messages(t))
}

func TestTheSwitchStopsPayoutsByName(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stands := b.call(t, "GET", "/v1/ops/payouts-switch", operatorKey, "")
	require.Equal(t, true, stands.body["enabled"], stands.text)

	off := b.call(t, "POST", "/v1/ops/payouts-switch", operatorKey, `{"enabled":false,"reason":"odd sums"}`)

	require.Equal(t, http.StatusOK, off.status, off.text)
	for _, r := range []reply{off, b.call(t, "GET", "/v1/ops/payouts-switch", operatorKey, "")} {
		require.Equal(t, false, r.body["enabled"])
		require.Equal(t, "odd sums", r.body["reason"])
		require.Equal(t, "olga", r.body["actor"])
	}
	for _, body := range []string{`{"enabled":true}`, `{"enabled":true,"reason":" "}`, `{"enabled":true,"reason":"\u0000"}`} {
		requireProblem(t, b.call(t, "POST", "/v1/ops/payouts-switch", operatorKey, body), 422, "body.reason")
	}
	requireProblem(t, b.call(t, "POST", "/v1/ops/payouts-switch", operatorKey, `{"reason":"r"}`), 422, "body.enabled")
	require.Equal(t, []string{"olga switch_payouts_off payouts: odd sums"}, b.acts(t))
	on := b.call(t, "POST", "/v1/ops/payouts-switch", operatorKey, `{"enabled":true,"reason":"sums are right"}`)
	require.Equal(t, true, on.body["enabled"])
}

func TestTheClientReadsRunsAsTheyAre(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	operator := apiclient.New(b.url, operatorKey)

	started, run, err := operator.StartPayoutRun(ctx, "2025-11-20")
	require.NoError(t, err)
	require.True(t, started)
	read, err := operator.PayoutRun(ctx, "2025-11-20")
	require.NoError(t, err)
	require.Equal(t, run, read)
	paused, err := operator.PausePayoutRun(ctx, "2025-11-20", "n")
	require.NoError(t, err)
	require.Equal(t, "paused", paused.State)
	resumed, err := operator.ResumePayoutRun(ctx, "2025-11-20", "n")
	require.NoError(t, err)
	require.Equal(t, "computing", resumed.State)
	_, err = operator.ApprovePayoutRun(ctx, "2025-11-20", "n")
	require.Equal(t, http.StatusConflict, apiclient.StatusOf(err))

	off, err := operator.SwitchPayouts(ctx, false, "r")
	require.NoError(t, err)
	stands, err := operator.PayoutsSwitch(ctx)
	require.NoError(t, err)
	require.Equal(t, off, stands)
	require.False(t, stands.Enabled)
}
