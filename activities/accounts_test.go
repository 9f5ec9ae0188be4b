package activities_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/activities"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

// setupChecks is setupPayouts with looks at accounts, by a client that is turned aside once on its way:
// then happens what turns says.
func setupChecks(t *testing.T, configured bool, aside func()) payoutBundle {
	t.Helper()
	b := setupPayouts(t)
	var client *stripe.Client
	if configured {
		var err error
		client, err = stripe.New(stripe.Config{SecretKey: simulator.DefaultStripeKey, APIBase: b.simulator.StripeURL(), Timeout: patient, Breaker: b.breaker})
		require.NoError(t, err)
	}
	b.register(workflows.ActivityCheckAccount, activities.NewStripePayouts(b.pool, b.store, client, b.breaker, between(aside), quiet()).CheckAccount)
	return b
}

// between is what happens between two calls of a move.
type between func()

func (do between) Wait(context.Context) error {
	do()
	return nil
}

func nothing() {}

func (b payoutBundle) check(payeeID string) error {
	_, err := b.env.ExecuteActivity(workflows.ActivityCheckAccount, workflows.AccountInput{PayeeID: payeeID, Step: workflows.StepAccount})
	return err
}

func (b payoutBundle) account(t *testing.T) (payout.Account, bool) {
	t.Helper()
	seen, known, err := payout.GetAccount(t.Context(), b.pool, id)
	require.NoError(t, err)
	return seen, known
}

// checked is the step of the look at the account; false when there is none.
func (b payoutBundle) checked(t *testing.T) (step.Step, bool) {
	t.Helper()
	for _, s := range b.steps(t) {
		if s.Name == workflows.StepAccount {
			return s, true
		}
	}
	return step.Step{}, false
}

func (b payoutBundle) destination(t *testing.T) payout.Payee {
	t.Helper()
	payee, err := payout.GetPayee(t.Context(), b.pool, id)
	require.NoError(t, err)
	return payee
}

// told stores what a webhook told of the account before anybody was linked to it.
func (b payoutBundle) told(t *testing.T) {
	t.Helper()
	b.exec(t, `INSERT INTO webhook_events (provider, event_id, type, subject, effect, payload)
		VALUES ('stripe', 'evt_1', 'account.updated', $1, 'unknown', '')`, connected)
}

func TestALinkedAccountIsSeenAsItIs(t *testing.T) {
	t.Parallel()
	b := setupChecks(t, true, nothing)
	require.NoError(t, b.check(id))

	seen, known := b.account(t)
	require.True(t, known)
	require.WithinDuration(t, time.Now(), seen.AsOf, time.Minute)
	seen.AsOf = time.Time{}
	require.Equal(t, payout.Account{
		StripeAccountID: connected, PayeeID: id, Country: "US", Currency: "usd", ScheduleInterval: "manual", PayoutsEnabled: true,
		ExternalAccountID: bank, ExternalCurrency: "usd", InstantOffered: seen.InstantOffered,
	}, seen)
	require.Equal(t, bank, b.destination(t).DestinationID)
	s, opened := b.checked(t)
	require.True(t, opened)
	require.Equal(t, step.Done, s.Status)
	require.Equal(t, id, s.CustomerID)
}

// Whatever changed of the account is seen at the next look, and why it cannot be paid.
func TestAChangedAccountIsSeenAnew(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*simulator.Account)
		reason payout.Reason
	}{
		"pays out by itself": {func(a *simulator.Account) { a.PayoutSchedule = "daily" }, payout.BecauseScheduleNotManual},
		"payouts disabled":   {func(a *simulator.Account) { a.PayoutsDisabled = true }, payout.BecausePayoutsDisabled},
		"takes no transfers": {func(a *simulator.Account) { a.TransfersDisabled = true }, payout.BecausePayoutsDisabled},
		"has no bank":        {func(a *simulator.Account) { a.ExternalAccounts = []simulator.ExternalAccount{} }, payout.BecauseNoDestination},
		"is in good order":   {func(a *simulator.Account) { a.Email = "another@example.com" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupChecks(t, true, nothing)
			require.NoError(t, b.check(id))
			_, err := b.simulator.Stripe().SetAccount(connected, c.change)
			require.NoError(t, err)

			require.NoError(t, b.check(id))

			facts, err := payout.LoadFactsOf(t.Context(), b.pool, id, time.Now())
			require.NoError(t, err)
			require.Equal(t, c.reason, facts.Stripe.Problem("usd"))
		})
	}
}

func TestAnotherBankIsANewDestination(t *testing.T) {
	t.Parallel()
	b := setupChecks(t, true, nothing)
	require.NoError(t, b.check(id))
	b.exec(t, `UPDATE payees SET rejections = 2, destination_changed_at = now() - interval '30 days'`)
	_, err := b.simulator.Stripe().SetAccount(connected, func(a *simulator.Account) {
		a.ExternalAccounts = []simulator.ExternalAccount{{ID: "ba_2"}}
	})
	require.NoError(t, err)

	require.NoError(t, b.check(id))

	payee := b.destination(t)
	require.Equal(t, "ba_2", payee.DestinationID)
	require.Zero(t, payee.Rejections)
	require.WithinDuration(t, time.Now(), payee.DestinationChangedAt, time.Minute)
}

// An account whose owner has disconnected it cannot be paid. Its bank is what it was: connected again it
// is no new destination, and what the bank refused still counts.
func TestADisconnectedAccountCannotBePaidAndStaysTheSameDestination(t *testing.T) {
	t.Parallel()
	b := setupChecks(t, true, nothing)
	require.NoError(t, b.check(id))
	b.exec(t, `UPDATE payees SET rejections = 2, destination_changed_at = now() - interval '30 days'`)
	before := b.destination(t)
	revoke := func(revoked bool) {
		t.Helper()
		_, err := b.simulator.Stripe().SetAccount(connected, func(a *simulator.Account) { a.Revoked = revoked })
		require.NoError(t, err)
		require.NoError(t, b.check(id))
	}

	revoke(true)
	facts, err := payout.LoadFactsOf(t.Context(), b.pool, id, time.Now())
	require.NoError(t, err)
	require.Equal(t, payout.BecausePayoutsDisabled, facts.Stripe.Problem("usd"))
	revoke(false)

	facts, err = payout.LoadFactsOf(t.Context(), b.pool, id, time.Now())
	require.NoError(t, err)
	require.Empty(t, facts.Stripe.Problem("usd"))
	require.Equal(t, before, b.destination(t))
}

// One that was never seen connected is seen as one that cannot be paid.
func TestAnAccountThatIsNotOursCannotBePaid(t *testing.T) {
	t.Parallel()
	b := setupChecks(t, true, nothing)
	b.putPayee(t, "acct_strange")

	require.NoError(t, b.check(id))

	seen, known := b.account(t)
	require.True(t, known)
	require.Equal(t, payout.Account{StripeAccountID: "acct_strange", PayeeID: id, AsOf: seen.AsOf}, seen)
}

// A look that is overtaken by another link says nothing of the payee: the account may be another's by
// now, and so is what webhooks told of it.
func TestALookThatIsOvertakenByALinkKeepsNothing(t *testing.T) {
	t.Parallel()
	var b payoutBundle
	b = setupChecks(t, true, func() { b.putPayee(t, "acct_2") })
	b.told(t)

	require.NoError(t, b.check(id))

	require.Zero(t, b.count(t, `SELECT count(*) FROM payee_accounts`))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM webhook_events WHERE effect = 'unknown'`))
	s, _ := b.checked(t)
	require.Equal(t, step.Done, s.Status)
}

// What came before the link is the payee's with the look.
func TestALookTakesOverWhatWebhooksToldBefore(t *testing.T) {
	t.Parallel()
	b := setupChecks(t, true, nothing)
	b.told(t)

	require.NoError(t, b.check(id))

	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM webhook_events WHERE effect = 'sync' AND customer_id = 'u_1'`))
}

// A payee without an account needs no Stripe for it to be seen, and a step that waited is over.
func TestALookAtAnUnlinkedPayeeWaitsForNobody(t *testing.T) {
	t.Parallel()
	b := setupChecks(t, false, nothing)
	requireFailure(t, b.check(id), provider.Misconfigured, false)
	s, opened := b.checked(t)
	require.True(t, opened)
	require.Equal(t, step.Retrying, s.Status)

	b.putPayee(t, "")
	require.NoError(t, b.check(id))

	s, _ = b.checked(t)
	require.Equal(t, step.Done, s.Status)
	require.NoError(t, b.check("u_nobody"))
}

// While Stripe is down nothing is known anew, and what was known stays.
func TestALookFailsWithStripe(t *testing.T) {
	t.Parallel()
	b := setupChecks(t, true, nothing)
	require.NoError(t, b.check(id))
	before, _ := b.account(t)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.BadGateway}))

	requireFailure(t, b.check(id), provider.Transient, true)

	after, known := b.account(t)
	require.True(t, known)
	require.Equal(t, before, after)
}

// A look that took long does not undo what a later one has seen.
func TestAnOlderLookIsLeftAside(t *testing.T) {
	t.Parallel()
	b := setupChecks(t, true, nothing)
	require.NoError(t, b.check(id))
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		return b.store.PutAccountSnapshot(ctx, tx, payout.Account{StripeAccountID: connected, PayeeID: id, AsOf: time.Now().Add(-time.Hour)})
	})
	seen, _ := b.account(t)
	require.True(t, seen.PayoutsEnabled)
	require.Equal(t, bank, b.destination(t).DestinationID)
}

// A payout finds out that its account is connected to us no more: that is kept, so that the payee is told
// why they are not paid and no run plans anything for them, until it is connected again.
func TestADisconnectedAccountIsPlannedNothing(t *testing.T) {
	t.Parallel()
	b := setupRuns(t)
	b.standard(t)
	b.change(t, func(a *simulator.Account) { a.Revoked = true })
	require.Equal(t, payout.Canceled, b.must(t, first, workflows.ActivityCheckDestination).State)
	account, known := b.account(t)
	require.True(t, known)
	require.False(t, account.PayoutsEnabled)
	require.Equal(t, bank, account.ExternalAccountID)
	reasons := func() (all []payout.Reason) {
		t.Helper()
		facts, err := payout.LoadFactsOf(t.Context(), b.pool, id, time.Now())
		require.NoError(t, err)
		for _, option := range payout.Options(facts, date.Of(time.Now()), payout.DefaultPolicy()) {
			all = append(all, option.Reason)
		}
		return all
	}
	for _, reason := range reasons() {
		require.NotEmpty(t, reason)
	}
	require.Contains(t, reasons(), payout.BecausePayoutsDisabled)
	b.exec(t, `UPDATE payout_runs SET state = 'computing', computed_at = NULL, ended_at = NULL`)

	require.Equal(t, 1, b.advance(t).Looked)
	require.Zero(t, b.count(t, `SELECT count(*) FROM payout_candidates`))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM payee_notes WHERE code = '`+string(payout.BecausePayoutsDisabled)+`'`))

	b.change(t, func(a *simulator.Account) { a.Revoked = false })
	require.NoError(t, b.check(id))
	require.NotContains(t, reasons(), payout.BecausePayoutsDisabled)
}
