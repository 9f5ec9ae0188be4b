package activities_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/activities"
	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/internal/simulator"
)

// moneyBundle makes a transfer as the activities of payouts do, on a real database and a simulated
// Stripe.
type moneyBundle struct {
	pool      *pgxpool.Pool
	simulator *simulator.Simulator
	client    *stripe.Client
}

const ofPayout = "po_abc"

func setupMoney(t *testing.T) moneyBundle {
	t.Helper()
	sim, err := simulator.Start(context.WithoutCancel(t.Context()), simulator.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sim.Close()) })
	_, err = sim.Stripe().PutAccount(simulator.Account{ID: "acct_1"})
	require.NoError(t, err)
	require.NoError(t, sim.Stripe().SetPlatformBalance("usd", 1_000_000))
	client, err := stripe.New(stripe.Config{SecretKey: simulator.DefaultStripeKey, APIBase: sim.StripeURL(), Timeout: patient})
	require.NoError(t, err)
	return moneyBundle{pool: postgrestest.New(t), simulator: sim, client: client}
}

// transfer makes one attempt at the transfer.
func (b moneyBundle) transfer(ctx context.Context) error {
	params := stripe.TransferRequest{
		Amount: 9708, Currency: "usd", Destination: "acct_1", TransferGroup: ofPayout, PayoutID: ofPayout, PayeeID: "u_1",
	}
	operation := provider.Operation{Provider: provider.Stripe, Operation: "transfer", Subject: ofPayout}
	return activities.WriteMoney(ctx, b.pool, operation, params,
		func(ctx context.Context, request provider.Request) (string, error) {
			var frozen stripe.TransferRequest
			if err := request.Decode(&frozen); err != nil {
				return "", err
			}
			made, err := b.client.CreateTransfer(ctx, frozen, request.Key)
			return made.ID, err
		},
		func(ctx context.Context, request provider.Request) (string, bool, error) {
			listed, err := b.client.ListTransfers(ctx, stripe.ListTransfersParams{
				Destination: "acct_1", TransferGroup: ofPayout, CreatedFrom: request.FirstSentAt.Add(-5 * time.Minute),
			})
			if err != nil || len(listed) == 0 {
				return "", false, err
			}
			return listed[0].ID, true, nil
		})
}

func (b moneyBundle) under(t *testing.T, kind simulator.FaultKind) error {
	t.Helper()
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: kind}))
	err := b.transfer(t.Context())
	require.NoError(t, b.simulator.ClearFaults())
	return err
}

func (b moneyBundle) exec(t *testing.T, sql string) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), sql)
	require.NoError(t, err)
}

// pass makes everything that is stored so much older. (What Stripe has stays as young as it is.)
func (b moneyBundle) pass(t *testing.T, interval string) {
	t.Helper()
	b.exec(t, `UPDATE provider_requests SET first_sent_at = first_sent_at - interval '`+interval+`',
		last_sent_at = last_sent_at - interval '`+interval+`', missing_since = missing_since - interval '`+interval+`'`)
}

func (b moneyBundle) stored(t *testing.T) (outcome string, epoch int) {
	t.Helper()
	require.NoError(t, b.pool.QueryRow(t.Context(),
		`SELECT outcome, epoch FROM provider_requests ORDER BY epoch DESC LIMIT 1`).Scan(&outcome, &epoch))
	return outcome, epoch
}

func (b moneyBundle) posts() int {
	return len(b.simulator.Calls().To(http.MethodPost, "/v1/transfers"))
}

// requireOnce says that the money went once, and that it is known here.
func (b moneyBundle) requireOnce(t *testing.T) {
	t.Helper()
	outcome, _ := b.stored(t)
	require.Equal(t, "succeeded", outcome)
	require.Len(t, b.simulator.Stripe().Transfers(), 1)
	require.NoError(t, b.simulator.Stripe().MoneyAudit().Err())
	require.Zero(t, b.simulator.PostsWithoutKey())
}

func moneyFailure(t *testing.T, err error, class provider.Class, code string) provider.Failure {
	t.Helper()
	failure, ok := errors.AsType[*provider.Failure](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, class, failure.Class, "%v", err)
	require.Equal(t, code, failure.Code)
	return *failure
}

func TestALostAnswerOfATransferIsAskedForUnderTheSameKey(t *testing.T) {
	t.Parallel()
	for _, kind := range []simulator.FaultKind{simulator.ExecuteThenDrop, simulator.Truncate, simulator.Reset, simulator.BadGateway} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			b := setupMoney(t)
			require.Error(t, b.under(t, kind))
			b.pass(t, "22 hours 59 minutes")
			require.NoError(t, b.transfer(t.Context()))
			b.requireOnce(t)
			_, epoch := b.stored(t)
			require.Equal(t, 1, epoch)
		})
	}
}

func TestATransferThatAReplayedErrorHidesIsFound(t *testing.T) {
	t.Parallel()
	b := setupMoney(t)
	moneyFailure(t, b.under(t, simulator.ExecuteThen500), provider.OutcomeUnknown, "api_error")
	moneyFailure(t, b.transfer(t.Context()), provider.OutcomeUnknown, "api_error") // which replays it
	posts := b.posts()
	require.NoError(t, b.transfer(t.Context()), "what was done is found at once")
	require.Equal(t, posts, b.posts())
	b.requireOnce(t)
}

// RULES 3: absent twice, at least 10 minutes apart, and the first at least 10 minutes after the last
// sending.
func TestATransferIsAbsentOnceItWasNotFoundTwice(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(moneyBundle, *testing.T){
		"after a replayed error": func(b moneyBundle, t *testing.T) {
			moneyFailure(t, b.under(t, simulator.Stored500), provider.OutcomeUnknown, "api_error")
			moneyFailure(t, b.transfer(t.Context()), provider.OutcomeUnknown, "api_error")
		},
		"when the key has expired": func(b moneyBundle, t *testing.T) {
			require.Error(t, b.under(t, simulator.Reset))
			b.exec(t, `UPDATE provider_requests SET first_sent_at = first_sent_at - interval '23 hours'`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupMoney(t)
			begin(b, t)
			posts := b.posts()
			tooSoon := func() time.Duration {
				return moneyFailure(t, b.transfer(t.Context()), provider.OutcomeUnknown, "not_found_yet").RetryAfter
			}

			require.Greater(t, tooSoon(), 9*time.Minute, "the last sending is too young")
			b.pass(t, "9 minutes")
			require.LessOrEqual(t, tooSoon(), time.Minute)
			b.pass(t, "1 minute")
			require.Equal(t, 10*time.Minute, tooSoon(), "the first time that counts")
			require.Greater(t, tooSoon(), 9*time.Minute)
			b.pass(t, "9 minutes")
			require.LessOrEqual(t, tooSoon(), time.Minute, "the second is too soon after the first")
			b.pass(t, "1 minute")
			moneyFailure(t, b.transfer(t.Context()), provider.Transient, "proven_absent")
			outcome, _ := b.stored(t)
			require.Equal(t, "absent", outcome)
			require.Equal(t, posts, b.posts(), "nothing was sent meanwhile")

			require.NoError(t, b.transfer(t.Context()))
			b.requireOnce(t)
			_, epoch := b.stored(t)
			require.Equal(t, 2, epoch)
		})
	}
}

func TestATransferThatShowsUpLateIsAdopted(t *testing.T) {
	t.Parallel()
	b := setupMoney(t)
	require.Error(t, b.under(t, simulator.Reset))
	b.exec(t, `UPDATE provider_requests SET first_sent_at = now() - interval '24 hours', last_sent_at = now() - interval '11 minutes'`)
	moneyFailure(t, b.transfer(t.Context()), provider.OutcomeUnknown, "not_found_yet")
	made, err := b.client.CreateTransfer(t.Context(), stripe.TransferRequest{
		Amount: 9708, Currency: "usd", Destination: "acct_1", TransferGroup: ofPayout, PayoutID: ofPayout, PayeeID: "u_1",
	}, "the-request-that-stripe-had-in-hand")
	require.NoError(t, err)
	b.pass(t, "10 minutes")

	require.NoError(t, b.transfer(t.Context()))

	b.requireOnce(t)
	var id string
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT object_id FROM provider_requests`).Scan(&id))
	require.Equal(t, made.ID, id)
}

func TestALookUpThatFailsProvesNothing(t *testing.T) {
	t.Parallel()
	b := setupMoney(t)
	require.Error(t, b.under(t, simulator.Reset))
	b.pass(t, "24 hours")
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.BadGateway, Method: http.MethodGet}))
	for range 3 {
		moneyFailure(t, b.transfer(t.Context()), provider.Transient, provider.CodeUnreadable)
		b.pass(t, "1 hour")
	}
	require.NoError(t, b.simulator.ClearFaults())
	moneyFailure(t, b.transfer(t.Context()), provider.OutcomeUnknown, "not_found_yet")
}

func TestAKeyOfMoneyThatWasUsedOtherwiseIsHeld(t *testing.T) {
	t.Parallel()
	b := setupMoney(t)
	require.NoError(t, b.transfer(t.Context()))
	b.exec(t, `UPDATE provider_requests SET outcome = 'open', object_id = '', params = params || '{"amount": 1}'`)
	for range 2 {
		moneyFailure(t, b.transfer(t.Context()), provider.Held, stripe.CodeIdempotencyError)
	}
	outcome, epoch := b.stored(t)
	require.Equal(t, "open", outcome)
	require.Equal(t, 1, epoch)
	require.Len(t, b.simulator.Stripe().Transfers(), 1)
}

func TestADefiniteRefusalOfATransferTakesANewKey(t *testing.T) {
	t.Parallel()
	b := setupMoney(t)
	require.NoError(t, b.simulator.Stripe().SetPlatformBalance("usd", 100))
	failure := moneyFailure(t, b.transfer(t.Context()), provider.Rejected, "balance_insufficient")
	require.Equal(t, provider.MatterOurs, failure.Matter)
	require.NoError(t, b.simulator.Stripe().SetPlatformBalance("usd", 1_000_000))
	require.NoError(t, b.transfer(t.Context()))
	b.requireOnce(t)
	_, epoch := b.stored(t)
	require.Equal(t, 2, epoch)
}

func TestWhatComesBeforeTheKeyKeepsIt(t *testing.T) {
	t.Parallel()
	for _, kind := range []simulator.FaultKind{simulator.WrongKey, simulator.TooManyRequests, simulator.Refuse} {
		b := setupMoney(t)
		require.Error(t, b.under(t, simulator.ExecuteThenDrop))
		require.Error(t, b.under(t, kind))
		require.NoError(t, b.transfer(t.Context()))
		b.requireOnce(t)
		_, epoch := b.stored(t)
		require.Equal(t, 1, epoch, kind)
	}
}

// A refusal at the door says nothing of what was let in before.
func TestAnAccountThatIsTakenAwayInTheMiddleIsHeld(t *testing.T) {
	t.Parallel()
	b := setupMoney(t)
	require.NoError(t, b.simulator.Stripe().SetAccountBalance("acct_1", "usd", 20_000))
	account, _ := b.simulator.Stripe().Account("acct_1")
	request := stripe.PayoutRequest{
		Amount: 9708, Currency: "usd", Method: stripe.MethodStandard, Destination: account.ExternalAccounts[0].ID, PayoutID: ofPayout,
	}
	revoke := func(revoked bool) {
		_, err := b.simulator.Stripe().SetAccount("acct_1", func(a *simulator.Account) { a.Revoked = revoked })
		require.NoError(t, err)
	}
	pay := func(subject string) error {
		operation := provider.Operation{Provider: provider.Stripe, Operation: "payout", Subject: subject}
		return activities.WriteMoney(t.Context(), b.pool, operation, request,
			func(ctx context.Context, stored provider.Request) (string, error) {
				made, err := b.client.CreatePayout(ctx, "acct_1", request, stored.Key)
				return made.ID, err
			},
			func(context.Context, provider.Request) (string, bool, error) {
				return "", false, errors.New("not asked for")
			})
	}

	revoke(true)
	first := moneyFailure(t, pay("po_1"), provider.Rejected, "account_invalid")
	require.Equal(t, provider.MatterPayee, first.Matter)
	outcome, _ := b.stored(t)
	require.Equal(t, "rejected", outcome, "nothing was sent before")

	revoke(false)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.ExecuteThenDrop}))
	require.Error(t, pay("po_2"))
	require.NoError(t, b.simulator.ClearFaults())
	revoke(true)
	moneyFailure(t, pay("po_2"), provider.Held, "account_invalid")
	revoke(false)
	require.NoError(t, pay("po_2"))
	require.Len(t, b.simulator.Stripe().Payouts("acct_1"), 1)
}

// Under every sequence of faults the money goes once, however much time passes in between.
func TestAnySequenceOfFaultsEndsInOneTransfer(t *testing.T) {
	t.Parallel()
	kinds := []simulator.FaultKind{
		simulator.Reset, simulator.ServerError, simulator.BadGateway, simulator.TooManyRequests, simulator.WrongKey, simulator.Refuse,
		simulator.ExecuteThenDrop, simulator.ExecuteThen500, simulator.Stored500, simulator.Truncate,
	}
	for seed := range uint64(12) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			b := setupMoney(t)
			random := rand.New(rand.NewPCG(seed, 0))
			for range 8 {
				kind := kinds[random.IntN(len(kinds))]
				err := b.under(t, kind)
				t.Logf("%s: %v", kind, err)
				switch random.IntN(3) {
				case 0:
					b.pass(t, "10 minutes")
				case 1:
					b.pass(t, "24 hours 1 minute")
					b.simulator.Stripe().PruneIdempotencyKeys()
				}
			}
			require.Eventually(t, func() bool {
				b.pass(t, "10 minutes")
				return b.transfer(t.Context()) == nil
			}, time.Minute, time.Millisecond)
			b.requireOnce(t)
		})
	}
}
