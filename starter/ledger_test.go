package main

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

func TestLedgerVerifyIsToldTheDatabase(t *testing.T) {
	t.Setenv("DATABASE_URL", "")
	require.ErrorContains(t, told(t, "ops", "ledger", "verify"), "DATABASE_URL")
	require.NoError(t, told(t, "ops", "ledger", "verify", "--database-url=postgres://u@localhost/name"))
}

func TestLedgerVerifyPrintsTheTrialBalanceAndEveryInvariant(t *testing.T) {
	t.Parallel()
	report := ledger.Report{
		Trial: []ledger.TrialLine{
			{Currency: "jpy", Account: ledger.KindApp, Debits: 500, Balance: 500},
			{Currency: "usd", Account: ledger.KindPlatform, Rail: ledger.Stripe, Debits: 9600, Credits: 9708, Balance: -108},
		},
		Checks: []ledger.Check{
			{Invariant: "every transaction sums to zero"},
			{Invariant: "fees come from paid payouts alone", Violations: 2, Examples: []string{"po_1", "po_2"}},
		},
	}
	var words bytes.Buffer
	require.NoError(t, (&verifyLedgerCommand{}).print(&words, report))
	require.Equal(t, `CURRENCY  ACCOUNT   RAIL    DEBITS  CREDITS  BALANCE
JPY       app       -       500     0        500
USD       platform  stripe  96.00   97.08    -1.08

every transaction sums to zero: holds
fees come from paid payouts alone: does not hold in 2 cases, as in po_1, po_2
`, words.String())
	require.ErrorContains(t, report.Err(), "the ledger is not sound: fees come from paid payouts alone")

	var asJSON bytes.Buffer
	require.NoError(t, (&verifyLedgerCommand{JSON: true}).print(&asJSON, report))
	var back ledger.Report
	require.NoError(t, json.Unmarshal(asJSON.Bytes(), &back))
	require.Equal(t, report, back)
}

func TestLedgerVerifyFailsWhenAnInvariantDoesNotHold(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	command := &verifyLedgerCommand{Database: config.Database{URL: postgrestest.URL(t)}}
	require.NoError(t, command.verify(t.Context(), &out))

	pool, err := postgres.Open(t.Context(), command.Database.URL)
	require.NoError(t, err)
	defer pool.Close()
	require.NoError(t, postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error { // a claim of a payout that there is not
		p := ledger.Payout{ID: "po_1", PayeeID: "u_ada", Rail: ledger.PayPal, Gross: money.New(10000, "usd"), Fee: money.Zero("usd")}
		return ledger.Claim(t.Context(), tx, date.New(2026, time.November, 20), p)
	}))
	out.Reset()
	err = command.verify(t.Context(), &out)
	require.ErrorContains(t, err, "the ledger is not sound")
	require.Equal(t, config.ExitFailed, config.Exit("starter", err))
	require.Regexp(t, `USD +in_payout +- +0.00 +100.00 +-100.00`, out.String())
	require.Contains(t, out.String(), "payout by payout: does not hold in 1 cases, as in po_1")

	command.Database.URL = postgrestest.UnmigratedURL(t)
	require.ErrorIs(t, command.verify(t.Context(), &out), postgres.ErrNotMigrated)
}
