package activities_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/activities"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

// found holds that a sweep counts what there is.
type found struct{ t *testing.T }

func (f found) Found(_ context.Context, p provider.Name, state string, n int) {
	if n <= 0 || p != provider.Stripe && p != provider.PayPal || state == "" {
		f.t.Errorf("%s/%s was found %d times", p, state, n)
	}
}

// payPalClient is a client of the simulated PayPal.
func (b bundle) payPalClient(t *testing.T) *paypal.Client {
	t.Helper()
	client, err := paypal.New(paypal.Config{
		ClientID: simulator.DefaultPayPalClientID, ClientSecret: simulator.DefaultPayPalClientSecret, APIBase: b.simulator.PayPalURL(), Timeout: patient,
	})
	require.NoError(t, err)
	return client
}

// setupPayPalFunds is a payee who is paid by PayPal and is due, and what runs do. Without PayPal it is
// not configured.
func setupPayPalFunds(t *testing.T, configured bool) payoutBundle {
	t.Helper()
	inner := setup(t)
	b := payoutBundle{bundle: inner, store: payout.NewStore(inner.pool, payout.DefaultPolicy(), feed.NewWriter(nil), workflows.PayoutWork())}
	b.signUp(t)
	_, _, err := b.store.PutPayee(t.Context(), payout.Profile{
		ID: id, Email: address, Country: "US", Currency: "usd", Rail: payout.RailPayPal, PayPalEmail: "ok@example.com", Schedule: payout.Weekly,
	})
	require.NoError(t, err)
	b.exec(t, `UPDATE payees SET last_cycle = current_date - 30`)
	b.earn(t, "e_1", payout.Sale, 10_000)
	runs := activities.NewPayoutRuns(b.pool, b.store, found{t})
	b.register(workflows.ActivityAdvancePayoutRun, runs.AdvancePayoutRun)
	b.register(workflows.ActivitySweepPayouts, runs.SweepPayouts)
	var client *paypal.Client
	if configured {
		client = b.payPalClient(t)
	}
	b.register(workflows.ActivityReadPayPalFunds, activities.NewPayPalFunds(b.pool, b.store, client, nil, quiet()).ReadPayPalFunds)
	b.register(workflows.ActivitySearchPayPal, activities.NewPayPalSearch(b.pool, b.store, client, nil, noTurns{}, quiet()).SearchPayPalTransactions)
	return b
}

func (b payoutBundle) readPayPalFunds(stepName string) error {
	_, err := b.env.ExecuteActivity(workflows.ActivityReadPayPalFunds, workflows.FundsInput{Date: date.Of(time.Now()), Step: stepName})
	return err
}

var atPayPal = workflows.WantedFunds{Provider: provider.PayPal, Step: workflows.StepPayPalFunds}

// fundsStep is how far the reading of PayPal's funds is for the run.
func (b payoutBundle) fundsStep(t *testing.T) step.Status {
	t.Helper()
	for _, s := range b.steps(t) {
		if s.Name == workflows.StepPayPalFunds {
			return s.Status
		}
	}
	require.Fail(t, "there is no such step")
	return ""
}

func TestARunKnowsWhatThereIsAtPayPal(t *testing.T) {
	t.Parallel()
	b := setupPayPalFunds(t, true)
	require.NoError(t, b.simulator.PayPal().SetPayPalBalance("USD", 12_345))
	require.Equal(t, 1, b.advance(t).Looked)
	for range 2 {
		require.Equal(t, []workflows.WantedFunds{atPayPal}, b.advance(t).Funds, "nobody is paid by Stripe")
	}
	require.Equal(t, step.Pending, b.fundsStep(t))

	require.NoError(t, b.readPayPalFunds(workflows.StepPayPalFunds))

	require.Equal(t, step.Done, b.fundsStep(t))
	require.Equal(t, 12_345, b.count(t, `SELECT available::int FROM platform_funds WHERE rail = 'paypal' AND currency = 'usd' AND read_at - as_of = interval '3 hours'`))
	require.Equal(t, 1, b.advance(t).Planned)
}

// A PayPal that does not answer is asked again by Temporal; the run that has gone on without does not ask
// again, and pays by what was known before.
func TestARunThatWentOnWithoutAsksNoMore(t *testing.T) {
	t.Parallel()
	b := setupPayPalFunds(t, true)
	require.NoError(t, b.store.RecordFunds(t.Context(), payout.RailPayPal, []money.Amount{money.New(1_000_000, "usd")}, time.Now().Add(-time.Hour)))
	b.advance(t)
	wanted := atPayPal
	wanted.Known = true
	require.Equal(t, []workflows.WantedFunds{wanted}, b.advance(t).Funds)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.BadGateway}))
	requireFailure(t, b.readPayPalFunds(workflows.StepPayPalFunds), provider.Transient, true)
	require.Equal(t, step.Retrying, b.fundsStep(t))
	b.exec(t, `UPDATE steps SET status = 'skipped', next_attempt_at = NULL`)

	require.Equal(t, 1, b.advance(t).Planned)

	// A late attempt brings nothing back.
	require.Error(t, b.readPayPalFunds(workflows.StepPayPalFunds))
	require.Equal(t, step.Skipped, b.fundsStep(t))
}

// A PayPal that is not configured is one of which nothing is known, and nobody waits for it.
func TestAPayPalThatIsNotConfiguredIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	b := setupPayPalFunds(t, false)
	require.NoError(t, b.store.RecordFunds(t.Context(), payout.RailPayPal, []money.Amount{money.New(1_000_000, "usd")}, time.Now().Add(-time.Hour)))
	b.advance(t)
	require.Len(t, b.advance(t).Funds, 1)

	require.NoError(t, b.readPayPalFunds(workflows.StepPayPalFunds))

	require.Equal(t, step.Skipped, b.fundsStep(t))
	require.Empty(t, b.advance(t).Funds)
	require.Zero(t, b.count(t, `SELECT count(*) FROM payouts`))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM payout_shortfalls WHERE NOT known AND rail = 'paypal'`))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM payee_notes WHERE code = 'funding'`))
}

// Without a step, as for a sweep, nothing is left behind but what is known.
func TestFundsAreReadForNoStep(t *testing.T) {
	t.Parallel()
	b := setupPayPalFunds(t, true)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.BadGateway}))
	require.Error(t, b.readPayPalFunds(""))
	require.NoError(t, b.simulator.ClearFaults())
	require.NoError(t, b.readPayPalFunds(""))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM platform_funds`))
	require.Zero(t, b.count(t, `SELECT count(*) FROM steps WHERE provider = 'paypal'`))
}

func (b batchBundle) search(t *testing.T) (result workflows.SearchResult) {
	t.Helper()
	b.register(workflows.ActivitySearchPayPal, activities.NewPayPalSearch(b.pool, b.store, b.clientOf(t), nil, noTurns{}, quiet()).SearchPayPalTransactions)
	value, err := b.env.ExecuteActivity(workflows.ActivitySearchPayPal)
	require.NoError(t, err)
	require.NoError(t, value.Get(&result))
	return result
}

// What PayPal took back after it was paid is found by a search: the whole has the batch read, and a part
// is the payee's again, once, however often it is found.
func TestASearchFindsWhatPayPalTookBack(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	require.Zero(t, b.search(t), "nothing was paid yet")
	require.Empty(t, b.simulator.Calls().To("GET", "/v1/reporting/transactions"))
	due := func() bool {
		t.Helper()
		due, err := payout.SearchDue(t.Context(), b.pool)
		require.NoError(t, err)
		return due
	}
	require.False(t, due())
	batchID := b.batch(t, "ok-0@example.com", "ok-1@example.com", "ok-2@example.com")
	b.send(t, batchID)
	b.read(t, batchID)
	b.paid(t, payoutOf(0), payoutOf(1), payoutOf(2))
	require.True(t, due())
	for n, part := range []int64{0, 2_500} {
		_, err := b.simulator.PayPal().ReversePayPalItem(b.now(t, payoutOf(n)).ProviderPayoutID, part)
		require.NoError(t, err)
	}
	before := b.balance(t, payeeOf(1))

	found := b.search(t)

	require.Equal(t, 1, found.Whole)
	require.Equal(t, 1, found.Parts)
	require.False(t, due())
	require.Equal(t, before+2_500, b.balance(t, payeeOf(1)))
	require.Equal(t, payout.Paid, b.now(t, payoutOf(1)).State)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox WHERE message->>'workflow_id' = '`+workflows.PayPalBatchID(batchID)+`' AND key LIKE '%/reversed/%'`))
	parts, err := payout.ListPartReversals(t.Context(), b.pool, time.Time{}, "", 10)
	require.NoError(t, err)
	require.Len(t, parts, 1)
	require.Equal(t, money.New(2_500, "usd"), parts[0].Part())
	b.sound(t)

	// The days before are searched again: what was found is found once.
	require.Equal(t, 0, b.search(t).Parts)
	require.Equal(t, before+2_500, b.balance(t, payeeOf(1)))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox WHERE key LIKE '%/reversed/%'`))
	b.read(t, batchID)
	require.Equal(t, payout.Returned, b.now(t, payoutOf(0)).State)
	require.Equal(t, 0, b.search(t).Whole)
	b.sound(t)
}

// After a long time a search goes through it month by month, and one that broke off goes on.
func TestASearchGoesThroughALongTime(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	batchID := b.batch(t, "ok-0@example.com")
	b.send(t, batchID)
	b.read(t, batchID)
	b.exec(t, `UPDATE paypal_search SET searched_until = now() - interval '70 days', searched_at = now() - interval '70 days'`)
	b.search(t)
	require.Len(t, b.simulator.Calls().To("GET", "/v1/reporting/transactions"), 3, "73 days, at most 31 at once")
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM paypal_search WHERE searched_until > now() - interval '1 day' AND searched_at > now() - interval '1 hour'`))
	b.search(t)
	require.Len(t, b.simulator.Calls().To("GET", "/v1/reporting/transactions"), 4)
}

// A reversal that is still to come is waited for, however much later the search has found all the rest.
func TestASearchWaitsForWhatIsToComeBack(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	batchID := b.batch(t, "ok-0@example.com")
	b.send(t, batchID)
	b.read(t, batchID)
	before := b.balance(t, payeeOf(0))
	var paidBy string
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT transaction_id FROM paypal_batch_items`).Scan(&paidBy))
	reversal := movement{id: "BACK", of: paidBy, status: "P", value: "25.00", at: time.Now().Add(-40 * 24 * time.Hour)}
	*b.url = reporting(t, &reversal)
	b.exec(t, `UPDATE paypal_search SET searched_until = now() - interval '50 days'`)
	require.Zero(t, b.search(t).Parts)

	reversal.status = "S"

	require.Equal(t, 1, b.search(t).Parts)
	require.Equal(t, before+2_500, b.balance(t, payeeOf(0)))
	require.Zero(t, b.search(t).Parts)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM paypal_search WHERE searched_until > now() - interval '1 day'`))
}

// Of a batch that was held for days and then found, a part may have come back before anything was known of it.
func TestASearchGoesBackToABatchThatWasFoundLate(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	batchID := b.batch(t, "ok-0@example.com")
	b.send(t, batchID)
	b.exec(t, `UPDATE paypal_batches SET created_at = now() - interval '10 days'`)
	b.exec(t, `UPDATE paypal_search SET searched_until = now() - interval '1 hour', searched_at = now() - interval '1 hour'`)
	b.read(t, batchID)
	before := b.balance(t, payeeOf(0))
	var paidBy string
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT transaction_id FROM paypal_batch_items`).Scan(&paidBy))
	*b.url = reporting(t, &movement{id: "BACK", of: paidBy, status: "S", value: "25.00", at: time.Now().Add(-8 * 24 * time.Hour)})

	require.Equal(t, 1, b.search(t).Parts)

	require.Equal(t, before+2_500, b.balance(t, payeeOf(0)))
	require.Zero(t, b.search(t).Parts)
	require.Equal(t, before+2_500, b.balance(t, payeeOf(0)))
}

// That a payout came back whole is its item's to tell. When that does not, nothing is posted, and people see it.
func TestAWholePayoutIsNotBackUntilItsItemSaysSo(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	batchID := b.batch(t, "ok-0@example.com")
	b.send(t, batchID)
	b.read(t, batchID)
	var paidBy string
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT transaction_id FROM paypal_batch_items`).Scan(&paidBy))
	payPal := *b.url
	*b.url = reporting(t, &movement{id: "BACK", of: paidBy, status: "S", value: "98.00", at: time.Now()})
	require.Equal(t, 1, b.search(t).Whole)
	require.Equal(t, 1, b.search(t).Whole, "it is looked for until it is known")
	*b.url = payPal

	b.read(t, batchID)

	b.paid(t, payoutOf(0))
	shown := func() []payout.PartReversal {
		t.Helper()
		found, err := payout.ListPartReversals(t.Context(), b.pool, time.Time{}, "", 10)
		require.NoError(t, err)
		return found
	}
	require.Empty(t, shown(), "its item may yet tell")
	b.exec(t, `UPDATE paypal_reversals SET found_at = found_at - interval '25 hours'`)
	require.Len(t, shown(), 1)
	require.True(t, shown()[0].Whole)
	_, err := b.simulator.PayPal().ReversePayPalItem(b.now(t, payoutOf(0)).ProviderPayoutID, 0)
	require.NoError(t, err)
	b.read(t, batchID)
	require.Equal(t, payout.Returned, b.now(t, payoutOf(0)).State)
	require.Empty(t, shown())
}

// movement takes an amount of another one back.
type movement struct {
	id, of, status, value string
	at                    time.Time
}

// reporting stands for a PayPal whose books hold the movement, and gives its address.
func reporting(t *testing.T, m *movement) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/oauth2/token", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"access_token":"A21AA","expires_in":32400}`))
	})
	mux.HandleFunc("GET /v1/reporting/transactions", func(w http.ResponseWriter, r *http.Request) {
		found, at := "", m.at.UTC().Format(time.RFC3339)
		if query := r.URL.Query(); query.Get("start_date") <= at && at <= query.Get("end_date") {
			found = fmt.Sprintf(`{"transaction_info":{"transaction_id":%q,"paypal_reference_id":%q,"paypal_reference_id_type":"TXN",
				"transaction_event_code":"T1114","transaction_status":%q,"transaction_initiation_date":%q,
				"transaction_amount":{"currency_code":"USD","value":%q}}}`, m.id, m.of, m.status, at, m.value)
		}
		_, _ = fmt.Fprintf(w, `{"total_items":1,"total_pages":1,"transaction_details":[%s]}`, found)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// A sweep has batches read of which nothing was heard, and puts into new ones what was left over.
func TestASweepLooksAtBatchesAndFormsThem(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	runs := activities.NewPayoutRuns(b.pool, b.store, found{t})
	b.register(workflows.ActivitySweepPayouts, runs.SweepPayouts)
	batchID := b.batch(t, "unclaimed-0@example.com")
	b.send(t, batchID)
	b.read(t, batchID)
	require.Equal(t, payout.Unclaimed, b.now(t, payoutOf(0)).State)
	b.payee(t, 1, "ok-1@example.com")
	b.freeze(t, payoutOf(1), payeeOf(1), "ok-1@example.com")
	b.exec(t, `UPDATE payouts SET handed_at = now()`)
	sweep := func() (swept workflows.SweepResult) {
		t.Helper()
		value, err := b.env.ExecuteActivity(workflows.ActivitySweepPayouts)
		require.NoError(t, err)
		require.NoError(t, value.Get(&swept))
		return swept
	}
	require.Equal(t, workflows.SweepResult{Formed: 1, SearchDue: true}, sweep())
	require.NotEmpty(t, b.batchOf(t, payoutOf(1)))
	b.exec(t, `UPDATE paypal_batches SET checked_at = now() - interval '25 hours', state_since = now() - interval '25 hours'`)

	swept := sweep()

	require.Equal(t, 2, swept.Batches)
	require.Equal(t, map[string]int{"paypal/unclaimed": 1, "paypal/planned": 1}, swept.Found)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox WHERE message->>'workflow_id' = '`+workflows.PayPalBatchID(batchID)+`'
		AND key LIKE '%/sweep/%' AND message->>'signal' = 'provider_event'`))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM payouts WHERE state = 'planned' AND checked_at IS NOT NULL`))
}

// A sweep has the accounts looked at that were not seen for long, unless Stripe is away, and what changed
// there without a webhook is known then.
func TestASweepLooksAtOldAccounts(t *testing.T) {
	t.Parallel()
	b := setupChecks(t, true, nothing)
	b.register(workflows.ActivitySweepPayouts, activities.NewPayoutRuns(b.pool, b.store, found{t}).SweepPayouts)
	require.NoError(t, b.check(id))
	b.exec(t, `UPDATE payee_accounts SET as_of = now() - interval '8 days'; UPDATE payees SET created_at = now() - interval '9 days'`)
	_, err := b.simulator.Stripe().SetAccount(connected, func(a *simulator.Account) { a.PayoutsDisabled = true })
	require.NoError(t, err)
	asked := func() int {
		return b.count(t, `SELECT count(*) FROM outbox WHERE key LIKE 'account-check/u_1/sweep/%'`)
	}
	b.exec(t, `UPDATE provider_health SET state = 'down' WHERE provider = 'stripe'`)
	require.Zero(t, b.sweep(t).Accounts)
	require.Zero(t, asked(), "it would only wait")
	b.exec(t, `UPDATE provider_health SET state = 'up' WHERE provider = 'stripe'`)

	require.Equal(t, 1, b.sweep(t).Accounts)
	require.Zero(t, b.sweep(t).Accounts, "once")
	require.Equal(t, 1, asked())

	require.NoError(t, b.check(id))
	seen, known := b.account(t)
	require.True(t, known)
	require.False(t, seen.PayoutsEnabled)
}

func (b payoutBundle) sweep(t *testing.T) (swept workflows.SweepResult) {
	t.Helper()
	value, err := b.env.ExecuteActivity(workflows.ActivitySweepPayouts)
	require.NoError(t, err)
	require.NoError(t, value.Get(&swept))
	return swept
}
