package activities_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

func TestAPayoutMovesStepByStep(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.standard(t)
	planned := b.plan(t, first)
	require.Equal(t, workflows.PayoutMove{State: payout.Planned, Do: workflows.ActivityCheckDestination}, planned)

	checked := b.must(t, first, planned.Do)
	require.Equal(t, workflows.PayoutMove{State: payout.Sending, Do: workflows.ActivitySendTransfer}, checked)
	require.Equal(t, "0 transfers, 0 payouts, 0 reversals", b.sent())

	transferred := b.must(t, first, checked.Do)
	require.Equal(t, workflows.PayoutMove{State: payout.Sending, Do: workflows.ActivitySendPayout}, transferred)
	require.Equal(t, b.simulator.Stripe().Transfers()[0].ID, b.now(t, first).TransferID)
	require.Equal(t, first, b.simulator.Stripe().Transfers()[0].TransferGroup)

	made := b.must(t, first, transferred.Do)
	require.Equal(t, payout.InTransit, made.State)
	require.Equal(t, workflows.ActivityReadPayout, made.Do)
	p := b.now(t, first)
	require.Equal(t, p.ArrivalDate.Time().Add(12*time.Hour), *made.At, "at noon of the day on which it arrives")
	require.Equal(t, bank, b.simulator.Stripe().Payouts(connected)[0].Destination)
	require.Equal(t, b.simulator.Stripe().Payouts(connected)[0].ID, p.ProviderPayoutID)
	b.sound(t)

	b.settle(t, first)

	require.Equal(t, payout.Paid, b.now(t, first).State)
	require.Equal(t, "1 transfers, 1 payouts, 0 reversals", b.sent())
	require.Zero(t, b.balance(t))
	b.sound(t)
	require.Equal(t, int64(10_000), b.simulator.Stripe().MoneyAudit().Received[id]["usd"])
	for _, s := range b.steps(t) {
		require.True(t, s.Name != workflows.StepPayout || s.Status == step.Done)
	}
	const calls = 6 // the account, its balance, the transfer, the balance again, the payout, how it is
	require.Len(t, b.simulator.Calls(), calls)
}

func TestAnInstantPayoutPaysTheNetAndKeepsTheFee(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	instant := b.instant(t)

	at := b.drive(t, instant)
	require.Equal(t, b.now(t, instant).StateSince.Add(time.Minute), *at.At, "an instant payout takes minutes")
	b.settle(t, instant)

	require.Equal(t, payout.Paid, b.now(t, instant).State)
	movements := b.simulator.Stripe().MoneyAudit().Payouts[instant]
	require.Equal(t, int64(9_708), movements.Transferred)
	require.Equal(t, int64(9_708), movements.PaidOut)
	require.Equal(t, "instant", movements.Payouts[0].Method)
	require.Equal(t, 292, b.count(t, `SELECT -sum(amount) FROM ledger_entries WHERE account = 'fees'`))
	b.sound(t)
}

// Every fault meets every write once; what was lost is found, and nothing happens twice.
func TestAWriteThatFailsHappensOnce(t *testing.T) {
	t.Parallel()
	faults := []struct {
		kind  simulator.FaultKind
		class provider.Class // of what the first attempt meets
		epoch int            // under which it succeeds
	}{
		{simulator.ExecuteThenDrop, provider.OutcomeUnknown, 1},
		{simulator.Truncate, provider.OutcomeUnknown, 1},
		{simulator.ExecuteThen500, provider.OutcomeUnknown, 1},
		{simulator.Stored500, provider.OutcomeUnknown, 2},
		{simulator.ServerError, provider.OutcomeUnknown, 1},
		{simulator.BadGateway, provider.OutcomeUnknown, 1},
		{simulator.Reset, provider.OutcomeUnknown, 1},
		{simulator.Hang, provider.OutcomeUnknown, 1},
		{simulator.TooManyRequests, provider.RateLimited, 1},
		{simulator.WrongKey, provider.Misconfigured, 1},
	}
	writes := map[string]struct {
		operation, path string
		before          func(b payoutBundle, t *testing.T)
		end             payout.State
		sent            string
	}{
		workflows.ActivitySendTransfer: {"transfer", "/v1/transfers", func(payoutBundle, *testing.T) {}, payout.InTransit, "1 transfers, 1 payouts, 0 reversals"},
		workflows.ActivitySendPayout:   {"payout", "/v1/payouts", func(payoutBundle, *testing.T) {}, payout.InTransit, "1 transfers, 1 payouts, 0 reversals"},
		workflows.ActivityReverseTransfer: {"reversal", "/v1/transfers/", func(b payoutBundle, t *testing.T) {
			b.until(t, first, workflows.ActivitySendPayout)
			b.refuseAtTheBank(t)
		}, payout.Failed, "1 transfers, 0 payouts, 1 reversals"},
	}
	for activity, w := range writes {
		for _, f := range faults {
			t.Run(activity+"/"+string(f.kind), func(t *testing.T) {
				t.Parallel()
				b := setupPayouts(t)
				b.standard(t)
				w.before(b, t)
				b.until(t, first, activity)
				times := 1
				if f.kind == simulator.ExecuteThenDrop || f.kind == simulator.Reset {
					times = 2 // net/http sends a keyed request again when a connection that it used before breaks
				}
				require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: f.kind, Method: "POST", PathPrefix: w.path, Times: times}))

				_, err := b.take(t, first, activity)
				requireFailure(t, err, f.class, f.class != provider.Misconfigured)
				require.NoError(t, b.simulator.ClearFaults())
				b.sound(t)
				b.insist(t, activity)
				b.drive(t, first)

				require.Equal(t, w.end, b.now(t, first).State)
				require.Equal(t, w.sent, b.sent())
				require.Equal(t, f.epoch, b.epoch(t, w.operation))
				b.sound(t)
			})
		}
	}
}

// refuseAtTheBank has Stripe refuse payouts to the bank account from now on.
func (b payoutBundle) refuseAtTheBank(t *testing.T) {
	t.Helper()
	b.change(t, func(a *simulator.Account) { a.ExternalAccounts[0].Refusal = "account_closed" })
}

func (b payoutBundle) change(t *testing.T, change func(*simulator.Account)) {
	t.Helper()
	_, err := b.simulator.Stripe().SetAccount(connected, change)
	require.NoError(t, err)
}

func TestAReadThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	for _, f := range []struct {
		fault simulator.Fault
		class provider.Class
	}{
		{simulator.Fault{Kind: simulator.Reset}, provider.Transient},
		{simulator.Fault{Kind: simulator.ServerError}, provider.Transient},
		{simulator.Fault{Kind: simulator.TooManyRequests, RetryAfter: 7}, provider.RateLimited},
		{simulator.Fault{Kind: simulator.WrongKey}, provider.Misconfigured},
	} {
		t.Run(string(f.fault.Kind), func(t *testing.T) {
			t.Parallel()
			b := setupPayouts(t)
			b.standard(t)
			for _, activity := range []string{workflows.ActivityCheckDestination, workflows.ActivityReadPayout} {
				if activity == workflows.ActivityReadPayout {
					b.drive(t, first)
				}
				before := b.now(t, first)
				require.NoError(t, b.simulator.SetFaults(f.fault))
				_, err := b.take(t, first, activity)
				failure := failureOf(t, err, f.class, f.class != provider.Misconfigured)
				require.Equal(t, f.fault.RetryAfter != 0, failure.NextRetryDelay() == 7*time.Second)
				require.NoError(t, b.simulator.ClearFaults())
				require.Equal(t, before, b.now(t, first))
			}
			b.settle(t, first)
			b.sound(t)
		})
	}
}

// While the first request is in execution its key is in use, which is no refusal.
func TestAPayoutInExecutionIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.standard(t)
	b.until(t, first, workflows.ActivitySendPayout)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Stall, Method: "POST", Times: 1}))
	_, err := b.take(t, first, workflows.ActivitySendPayout)
	requireFailure(t, err, provider.OutcomeUnknown, true)
	_, err = b.take(t, first, workflows.ActivitySendPayout)
	requireFailure(t, err, provider.Transient, true)
	require.NoError(t, b.simulator.ClearFaults())
	require.Eventually(t, func() bool { return len(b.simulator.Stripe().Payouts(connected)) == 1 }, time.Minute, time.Millisecond)

	require.Equal(t, payout.InTransit, b.insist(t, workflows.ActivitySendPayout).State)
	require.Equal(t, "1 transfers, 1 payouts, 0 reversals", b.sent())
	b.sound(t)
}

// A key that Stripe may have forgotten is not sent again: the movement is looked for.
func TestWhatWasSentADayAgoIsLookedFor(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.standard(t)
	for _, activity := range []string{workflows.ActivitySendTransfer, workflows.ActivitySendPayout} {
		b.until(t, first, activity)
		require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Truncate, Method: "POST", Times: 1}))
		_, err := b.take(t, first, activity)
		requireFailure(t, err, provider.OutcomeUnknown, true)
		b.exec(t, `UPDATE provider_requests SET first_sent_at = first_sent_at - interval '24 hours', last_sent_at = last_sent_at - interval '24 hours'`)
		b.simulator.Stripe().PruneIdempotencyKeys()
		b.must(t, first, activity)
	}
	require.Equal(t, payout.InTransit, b.now(t, first).State)
	require.False(t, b.now(t, first).ArrivalDate.IsZero())
	require.Equal(t, "1 transfers, 1 payouts, 0 reversals", b.sent())
	b.sound(t)
}

// Nothing is sent to where something speaks against it, and the money is the payee's again.
func TestADestinationThatCannotBePaidGetsNothing(t *testing.T) {
	t.Parallel()
	account := func(change func(*simulator.Account)) func(payoutBundle, *testing.T) {
		return func(b payoutBundle, t *testing.T) { b.change(t, change) }
	}
	for name, c := range map[string]struct {
		change func(payoutBundle, *testing.T)
		why    payout.Reason
	}{
		"on an automatic schedule": {account(func(a *simulator.Account) { a.PayoutSchedule = "daily" }), payout.BecauseScheduleNotManual},
		"payouts disabled":         {account(func(a *simulator.Account) { a.PayoutsDisabled = true }), payout.BecausePayoutsDisabled},
		"transfers disabled":       {account(func(a *simulator.Account) { a.TransfersDisabled = true }), payout.BecausePayoutsDisabled},
		"no bank":                  {account(func(a *simulator.Account) { a.ExternalAccounts = []simulator.ExternalAccount{} }), payout.BecauseNoDestination},
		"a bank that failed":       {account(func(a *simulator.Account) { a.ExternalAccounts[0].Status = "errored" }), payout.BecauseExternalErrored},
		"another bank":             {account(func(a *simulator.Account) { a.ExternalAccounts[0].ID = "ba_2" }), payout.BecauseDestinationChanged},
		"not ours any more":        {account(func(a *simulator.Account) { a.Revoked = true }), payout.BecauseNoDestination},
		"a negative balance": {func(b payoutBundle, t *testing.T) {
			require.NoError(t, b.simulator.Stripe().SetAccountBalance(connected, "usd", -500))
		}, payout.BecauseAccountNegative},
		"in another currency": {account(func(a *simulator.Account) {
			a.Currency, a.ExternalAccounts = "eur", []simulator.ExternalAccount{{ID: bank, Currency: "eur"}}
		}), payout.BecauseCurrencyMismatch},
		"another account of the payee's": {func(b payoutBundle, t *testing.T) {
			_, err := b.simulator.Stripe().PutAccount(simulator.Account{ID: "acct_2"})
			require.NoError(t, err)
			b.putPayee(t, "acct_2")
		}, payout.BecauseDestinationChanged},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupPayouts(t)
			b.standard(t)
			c.change(b, t)

			require.Equal(t, payout.Canceled, b.must(t, first, workflows.ActivityCheckDestination).State)

			b.released(t, first, payout.Canceled, string(c.why))
			require.Equal(t, "0 transfers, 0 payouts, 0 reversals", b.sent())
			require.Equal(t, 1, b.count(t, `SELECT count(*) FROM payee_notes WHERE code = '`+string(c.why)+`'`))
		})
	}
}

// The bank was changed the day before: an instant payout waits 72 hours, though it was planned.
func TestABankChangedTheDayBeforeGetsNothingInstantly(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	instant := b.instant(t)
	b.exec(t, `UPDATE payees SET destination_changed_at = now() - interval '1 day'`)

	b.drive(t, instant)

	b.released(t, instant, payout.Canceled, string(payout.BecauseDestinationChanged))
	require.Equal(t, "1 transfers, 1 payouts, 0 reversals", b.sent(), "those of the first payout")
}

// A refund of 0.01 after the payout was planned: the balance is below zero, and nothing is sent.
func TestARefundAfterThePlanKeepsTheMoney(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.standard(t)
	b.earn(t, "r_1", payout.Refund, 1)

	b.drive(t, first)

	require.Equal(t, payout.Canceled, b.now(t, first).State)
	require.Equal(t, string(payout.BecauseBalanceNegative), b.now(t, first).Reason)
	require.Equal(t, int64(9_999), b.balance(t))
	require.Equal(t, "0 transfers, 0 payouts, 0 reversals", b.sent())
	b.sound(t)
}

// The kill switch stops each new movement, whatever was sent before.
func TestTheKillSwitchStopsEachMovement(t *testing.T) {
	t.Parallel()
	const wait = 15 * time.Minute
	for _, activity := range []string{workflows.ActivityCheckDestination, workflows.ActivitySendTransfer, workflows.ActivitySendPayout} {
		t.Run(activity, func(t *testing.T) {
			t.Parallel()
			b := setupPayouts(t)
			b.standard(t)
			b.until(t, first, activity)
			before := b.sent()
			require.NoError(t, b.store.SetSwitch(t.Context(), false, "ops", "look first"))

			began := time.Now()
			next := b.must(t, first, activity)
			require.Equal(t, activity, next.Do)
			require.WithinRange(t, *next.At, began.Add(wait), time.Now().Add(wait))
			require.Equal(t, before, b.sent())

			require.NoError(t, b.store.SetSwitch(t.Context(), true, "ops", "go on"))
			b.drive(t, first)
			require.Equal(t, payout.InTransit, b.now(t, first).State)
			b.sound(t)
		})
	}
}

// What never reached Stripe is not under way, and the kill switch stops it. What may have is found out.
func TestTheKillSwitchAfterAnOutage(t *testing.T) {
	t.Parallel()
	for kind, sent := range map[simulator.FaultKind]string{
		simulator.Refuse: "0 transfers, 0 payouts, 0 reversals", simulator.ExecuteThenDrop: "1 transfers, 0 payouts, 0 reversals",
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			b := setupPayouts(t)
			b.standard(t)
			b.until(t, first, workflows.ActivitySendTransfer)
			require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: kind}))
			_, err := b.take(t, first, workflows.ActivitySendTransfer)
			require.Error(t, err)
			require.NoError(t, b.store.SetSwitch(t.Context(), false, "ops", "an outage"))
			require.NoError(t, b.simulator.ClearFaults())

			b.drive(t, first)

			require.Equal(t, sent, b.sent())
			require.Equal(t, payout.Sending, b.now(t, first).State)
			b.sound(t)
		})
	}
}

func TestATransferForWhichThePlatformLacksFunds(t *testing.T) {
	t.Parallel()
	const wait = 15 * time.Minute
	for name, c := range map[string]struct {
		then  func(payoutBundle, *testing.T)
		check func(payoutBundle, *testing.T)
	}{
		"goes when they are there": {func(b payoutBundle, t *testing.T) {
			require.NoError(t, b.simulator.Stripe().SetPlatformBalance("usd", 10_000))
		}, func(b payoutBundle, t *testing.T) {
			require.Equal(t, payout.InTransit, b.now(t, first).State)
			require.Equal(t, 2, b.epoch(t, "transfer"))
		}},
		"is canceled after three days": {func(b payoutBundle, t *testing.T) {
			b.exec(t, `UPDATE payouts SET state_since = state_since - interval '3 days'`)
		}, func(b payoutBundle, t *testing.T) {
			b.released(t, first, payout.Canceled, string(payout.BecauseFunding))
		}},
		"goes nowhere else meanwhile": {func(b payoutBundle, t *testing.T) {
			b.exec(t, `UPDATE payouts SET checked_at = checked_at - interval '11 minutes'`)
			b.change(t, func(a *simulator.Account) { a.ExternalAccounts[0].ID = "ba_2" })
		}, func(b payoutBundle, t *testing.T) {
			b.released(t, first, payout.Canceled, string(payout.BecauseDestinationChanged))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupPayouts(t)
			require.NoError(t, b.simulator.Stripe().SetPlatformBalance("usd", 9_999))
			b.standard(t)
			began := time.Now()
			waits := b.drive(t, first)
			require.Equal(t, workflows.ActivitySendTransfer, waits.Do)
			require.WithinRange(t, *waits.At, began.Add(wait), time.Now().Add(wait))
			require.Equal(t, 1, b.count(t, `SELECT count(*) FROM payee_notes WHERE code = 'funding'`))
			require.Zero(t, b.balance(t))

			c.then(b, t)
			b.drive(t, first)

			c.check(b, t)
			b.sound(t)
		})
	}
}

// The account lost its ability to take transfers after it was looked at: the payee's matter.
func TestATransferThatIsRefusedReleases(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.standard(t)
	b.until(t, first, workflows.ActivitySendTransfer)
	b.change(t, func(a *simulator.Account) { a.TransfersDisabled = true })

	b.drive(t, first)

	b.released(t, first, payout.Failed, "insufficient_capabilities_for_transfer")
	require.Equal(t, 1, b.count(t, `SELECT rejections FROM payees`))
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM payee_notes WHERE code = 'destination_refused'`))
}

// Funds that do not become available are awaited for ten minutes, and then taken back.
func TestFundsThatDoNotComeAreTakenBack(t *testing.T) {
	t.Parallel()
	const wait = 30 * time.Second
	const forever = int(24 * time.Hour / time.Millisecond)
	for name, c := range map[string]struct {
		delay   simulator.TransferDelay
		instant bool
	}{
		"standard":                   {simulator.TransferDelay{AvailableMS: forever}, false},
		"available, but not at once": {simulator.TransferDelay{InstantMS: forever}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupPayouts(t)
			payoutID := first
			if c.instant {
				payoutID = b.instant(t)
			} else {
				b.standard(t)
			}
			require.NoError(t, b.simulator.Stripe().SetTransferDelay(c.delay))

			began := time.Now()
			waits := b.drive(t, payoutID)
			require.Equal(t, workflows.ActivitySendPayout, waits.Do)
			require.WithinRange(t, *waits.At, began.Add(wait), time.Now().Add(wait))
			b.exec(t, `UPDATE payouts SET moved_at = moved_at - interval '9 minutes 30 seconds' WHERE id = $1`, payoutID)
			require.Equal(t, workflows.ActivitySendPayout, b.drive(t, payoutID).Do, "ten minutes are not over")

			b.exec(t, `UPDATE payouts SET moved_at = moved_at - interval '30 seconds' WHERE id = $1`, payoutID)
			b.drive(t, payoutID)

			b.released(t, payoutID, payout.Canceled, "funds_not_available")
			require.Empty(t, b.simulator.Stripe().MoneyAudit().Payouts[payoutID].Payouts, "none was sent")
		})
	}
}

// Stripe refuses the instant method: the money is back, and nothing is paid instantly for seven days.
func TestAnInstantPayoutThatIsRefusedIsNotTriedForAWeek(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*simulator.Account)
		code   string
	}{
		"unsupported":    {func(a *simulator.Account) { a.ExternalAccounts[0].NoInstant = true }, "instant_payouts_unsupported"},
		"over the limit": {func(a *simulator.Account) { a.InstantPerDay = 9_707 }, "instant_payouts_limit_exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupPayouts(t)
			instant := b.instant(t)
			b.until(t, instant, workflows.ActivitySendPayout)
			b.change(t, c.change)

			b.drive(t, instant)

			b.released(t, instant, payout.Failed, c.code)
			require.Zero(t, b.count(t, `SELECT rejections FROM payees`), "the destination is good")
			require.Equal(t, 1, b.count(t, `SELECT count(*) FROM payees WHERE instant_refused_until BETWEEN now() + interval '6 days 23 hours' AND now() + interval '7 days'`))
			b.freeze(t, "po_000000000000000000000003", payout.MethodInstant, 10_000, 292)
			b.change(t, func(a *simulator.Account) { a.ExternalAccounts[0].NoInstant, a.InstantPerDay = false, 0 })
			b.drive(t, "po_000000000000000000000003")
			b.released(t, "po_000000000000000000000003", payout.Canceled, string(payout.BecauseInstantRefused))
		})
	}
}

func TestAPayoutThatFailsOnItsWayIsTakenBack(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.standard(t)
	b.drive(t, first)
	_, err := b.simulator.Stripe().FailPayout(b.now(t, first).ProviderPayoutID, "account_closed")
	require.NoError(t, err)

	next := b.must(t, first, workflows.ActivityReadPayout)
	require.Equal(t, workflows.PayoutMove{State: payout.InTransit, Do: workflows.ActivityReverseTransfer}, next)
	require.Zero(t, b.balance(t), "the money is not back yet")
	b.sound(t)
	b.must(t, first, next.Do)

	b.released(t, first, payout.Failed, "account_closed")
	require.Equal(t, "1 transfers, 1 payouts, 1 reversals", b.sent())
	require.Equal(t, 1, b.count(t, `SELECT rejections FROM payees`))
}

func TestThreeRejectionsInARowPauseThePayee(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.exec(t, `UPDATE payees SET rejections = 2`)
	b.standard(t)
	b.until(t, first, workflows.ActivitySendPayout)
	b.exec(t, `UPDATE payees SET rejections = 2`) // the first look at the bank began the count anew
	b.refuseAtTheBank(t)

	b.drive(t, first)

	b.released(t, first, payout.Failed, "account_closed")
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM payee_pauses WHERE source = 'system'`))
}

// Somebody with access to the account cancels the payout there.
func TestAPayoutThatIsCanceledAtStripeIsTakenBack(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.standard(t)
	b.drive(t, first)
	_, err := b.client(t).CancelPayout(t.Context(), connected, b.now(t, first).ProviderPayoutID, "theirs")
	require.NoError(t, err)

	b.must(t, first, workflows.ActivityReadPayout)
	b.drive(t, first)

	b.released(t, first, payout.Canceled, "canceled")
	require.Zero(t, b.count(t, `SELECT rejections FROM payees`))
}

// The bank sends back what was paid, and no webhook tells of it: the next look finds out.
func TestALateReturnIsFoundWhenItIsLookedFor(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	instant := b.instant(t)
	b.drive(t, instant)
	b.settle(t, instant)
	_, err := b.simulator.Stripe().ReturnPayout(b.now(t, instant).ProviderPayoutID, "no_account")
	require.NoError(t, err)

	b.drive(t, instant)

	b.released(t, instant, payout.Returned, "no_account")
	require.Zero(t, b.count(t, `SELECT coalesce(sum(amount), 0) FROM ledger_entries WHERE account = 'fees'`), "292 were taken and given back")
}

// The account has spent what came back: the reversal is refused, and a person decides.
func TestAReversalThatIsRefusedIsHeld(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.standard(t)
	b.until(t, first, workflows.ActivitySendPayout)
	b.refuseAtTheBank(t)
	b.until(t, first, workflows.ActivityReverseTransfer)
	require.NoError(t, b.simulator.Stripe().SetAccountBalance(connected, "usd", 9_999))

	require.Empty(t, b.must(t, first, workflows.ActivityReverseTransfer).Do)

	b.held(t, "reversal_refused: balance_insufficient")
}

// What came back after it was paid, and cannot be taken back, is held as well.
func TestAReturnThatCannotBeTakenBackIsHeld(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.standard(t)
	b.drive(t, first)
	b.settle(t, first)
	_, err := b.simulator.Stripe().ReturnPayout(b.now(t, first).ProviderPayoutID, "no_account")
	require.NoError(t, err)
	require.NoError(t, b.simulator.Stripe().SetAccountBalance(connected, "usd", 0))

	b.drive(t, first)

	b.held(t, "reversal_refused: balance_insufficient")
}

// Somebody reversed 30.00 of the transfer: that is not our reversal, whose answer was lost.
func TestAReversalThatIsNotOursIsNotAdopted(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.standard(t)
	b.until(t, first, workflows.ActivitySendPayout)
	b.refuseAtTheBank(t)
	b.until(t, first, workflows.ActivityReverseTransfer)
	_, err := b.client(t).ReverseTransfer(t.Context(), b.now(t, first).TransferID, 3_000, "", "theirs")
	require.NoError(t, err)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Stored500, Method: "POST", Times: 1}))

	b.insist(t, workflows.ActivityReverseTransfer)

	b.held(t, "reversal_refused: amount_too_large")
	require.Equal(t, 2, b.epoch(t, "reversal"))
}

// The answer to a payout was lost and nothing was made. What the seller makes does not pass for it,
// whatever it says.
func TestAPayoutOfTheSellersDoesNotPassForOurs(t *testing.T) {
	t.Parallel()
	ours := map[string]string{"holdfast_payout_id": first, "holdfast_payee_id": id}
	for name, c := range map[string]struct {
		seller []simulator.Payout
		end    payout.State
	}{
		"automatic":          {[]simulator.Payout{{Amount: 10_000, Automatic: true, Metadata: ours}}, payout.Held},
		"another amount":     {[]simulator.Payout{{Amount: 4_000, Metadata: ours}}, payout.Held},
		"another method":     {[]simulator.Payout{{Amount: 10_000, Method: "instant", Metadata: ours}}, payout.Held},
		"twice":              {[]simulator.Payout{{Amount: 10_000, Metadata: ours}, {Amount: 10_000, Metadata: ours}}, payout.Held},
		"beside the one":     {[]simulator.Payout{{Amount: 10_000, Metadata: ours}, {Amount: 1, Metadata: ours}}, payout.Held},
		"without a claim":    {[]simulator.Payout{{Amount: 10_000}}, payout.InTransit},
		"of another payout":  {[]simulator.Payout{{Amount: 10_000, Metadata: map[string]string{"holdfast_payout_id": "po_x"}}}, payout.InTransit},
		"made as ours would": {[]simulator.Payout{{Amount: 10_000, Metadata: ours}}, payout.InTransit},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupPayouts(t)
			require.NoError(t, b.simulator.Stripe().SetAccountBalance(connected, "usd", 20_000)) // the seller's own
			b.standard(t)
			b.until(t, first, workflows.ActivitySendPayout)
			require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Stored500, Method: "POST", Times: 1}))
			_, err := b.take(t, first, workflows.ActivitySendPayout)
			requireFailure(t, err, provider.OutcomeUnknown, true)
			for _, p := range c.seller {
				p.Account, p.Destination = connected, bank
				_, err := b.simulator.Stripe().PutPayout(p)
				require.NoError(t, err)
			}

			b.insist(t, workflows.ActivitySendPayout)

			if c.end == payout.Held {
				b.held(t, "payout_is_not_as_it_was_sent")
				return
			}
			require.Equal(t, c.end, b.now(t, first).State)
			b.sound(t)
		})
	}
}

// Two transfers for one payout: nothing tells which one moved its money.
func TestTwoTransfersForOnePayoutAreHeld(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.standard(t)
	b.until(t, first, workflows.ActivitySendTransfer)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.ExecuteThen500, Method: "POST", Times: 1}))
	_, err := b.take(t, first, workflows.ActivitySendTransfer)
	requireFailure(t, err, provider.OutcomeUnknown, true)
	_, err = b.client(t).CreateTransfer(t.Context(), transferOf(first), "somebody's")
	require.NoError(t, err)

	b.insist(t, workflows.ActivitySendTransfer)

	require.Equal(t, payout.Held, b.now(t, first).State)
	require.Equal(t, "payout_is_not_as_it_was_sent", b.now(t, first).Reason)
	require.Empty(t, b.now(t, first).TransferID)
	require.Equal(t, []string{first}, b.simulator.Stripe().MoneyAudit().Duplicates)
}

// A payout was sent, and the account is ours no more before it is known what came of it: that nobody
// lets us look is no proof that nothing was made.
func TestALookUpThatIsRefusedProvesNothing(t *testing.T) {
	t.Parallel()
	for name, attempts := range map[string]int{"before it is sent again": 1, "before it is looked for": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupPayouts(t)
			b.standard(t)
			b.until(t, first, workflows.ActivitySendPayout)
			require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.ExecuteThen500, Method: "POST", Times: 1}))
			for range attempts {
				_, err := b.take(t, first, workflows.ActivitySendPayout)
				requireFailure(t, err, provider.OutcomeUnknown, true)
			}
			b.change(t, func(a *simulator.Account) { a.Revoked = true })

			require.Empty(t, b.must(t, first, workflows.ActivitySendPayout).Do)

			b.held(t, "account_invalid")
			require.Equal(t, "1 transfers, 1 payouts, 0 reversals", b.sent())
		})
	}
}

// The account is ours no more after the transfer, and nothing was sent from it: the money comes back.
func TestAnAccountThatIsOursNoMoreGivesTheTransferBack(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.standard(t)
	b.until(t, first, workflows.ActivitySendPayout)
	b.change(t, func(a *simulator.Account) { a.Revoked = true })

	b.drive(t, first)

	b.released(t, first, payout.Failed, "account_invalid")
	require.Equal(t, "1 transfers, 0 payouts, 1 reversals", b.sent())
}

func TestAPayoutThatCannotBeReadAnyMoreIsHeldUnlessItWasPaid(t *testing.T) {
	t.Parallel()
	for end, settle := range map[payout.State]bool{payout.Held: false, payout.Paid: true} {
		t.Run(string(end), func(t *testing.T) {
			t.Parallel()
			b := setupPayouts(t)
			b.standard(t)
			b.drive(t, first)
			if settle {
				b.settle(t, first)
			}
			b.change(t, func(a *simulator.Account) { a.Revoked = true })
			require.Empty(t, b.must(t, first, workflows.ActivityReadPayout).Do)
			require.Equal(t, end, b.now(t, first).State)
			require.Zero(t, b.balance(t))
			b.sound(t)
		})
	}
}

// A person ended the payout, or another attempt brought it further, while a move of it was to be made:
// no call is made.
func TestAMoveThatIsNotNeededAnyMoreIsNotMade(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.standard(t)
	b.until(t, first, workflows.ActivitySendTransfer)
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.Cancel(ctx, tx, first, "ops", "") })
	calls := len(b.simulator.Calls())

	for _, activity := range []string{
		workflows.ActivityCheckDestination, workflows.ActivitySendTransfer, workflows.ActivitySendPayout,
		workflows.ActivityReadPayout, workflows.ActivityReverseTransfer,
	} {
		require.Equal(t, workflows.PayoutMove{State: payout.Canceled}, b.must(t, first, activity))
	}

	require.Len(t, b.simulator.Calls(), calls)
	b.released(t, first, payout.Canceled, "canceled_by_operator")
}

// The same, decided at the last moment: between the look at the payout and the sending.
func TestWhatIsDecidedAtTheLastMomentStopsTheTransfer(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.standard(t)
	b.until(t, first, workflows.ActivitySendTransfer)
	b.exec(t, `CREATE FUNCTION meanwhile() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN UPDATE payouts SET state = ''held'', reason = ''meanwhile''; RETURN NEW; END';
		CREATE TRIGGER meanwhile AFTER INSERT ON provider_requests FOR EACH ROW EXECUTE FUNCTION meanwhile()`)

	require.Empty(t, b.must(t, first, workflows.ActivitySendTransfer).Do)

	require.Equal(t, "0 transfers, 0 payouts, 0 reversals", b.sent())
	b.held(t, "meanwhile")
}

// One attempt was refused, and before it can say so another one, that was taken for lost, sends again:
// nothing is released while that may be done.
func TestARefusalIsNoEndWhileAnotherAttemptIsUnderWay(t *testing.T) {
	t.Parallel()
	for activity, refuse := range map[string]func(*simulator.Account){
		workflows.ActivitySendTransfer: func(a *simulator.Account) { a.TransfersDisabled = true },
		workflows.ActivitySendPayout:   func(a *simulator.Account) { a.ExternalAccounts[0].Refusal = "account_closed" },
	} {
		t.Run(activity, func(t *testing.T) {
			t.Parallel()
			b := setupPayouts(t)
			b.standard(t)
			b.until(t, first, activity)
			b.change(t, refuse)
			b.exec(t, `CREATE FUNCTION meanwhile() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
				INSERT INTO provider_requests (idempotency_key, provider, operation, subject, epoch, params, first_sent_at, last_sent_at)
					VALUES (NEW.idempotency_key || ''/again'', NEW.provider, NEW.operation, NEW.subject, 2, NEW.params, now(), now());
				RETURN NEW; END';
				CREATE TRIGGER meanwhile AFTER UPDATE ON provider_requests FOR EACH ROW WHEN (NEW.outcome = 'rejected' AND NEW.epoch = 1)
					EXECUTE FUNCTION meanwhile()`)

			next := b.must(t, first, activity)

			require.Equal(t, workflows.PayoutMove{State: payout.Sending, Do: activity}, next)
			require.Zero(t, b.balance(t))
			require.Empty(t, b.now(t, first).Ending)
			b.drive(t, first)
			b.released(t, first, payout.Failed, b.now(t, first).Reason)
		})
	}
}

// A worker that dies after each of its commits, and whose attempt is made again: nothing is done twice.
func TestEveryMoveCanBeRepeated(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.standard(t)
	next := b.plan(t, first)
	for next.Do != "" && next.At == nil {
		next2 := b.must(t, first, next.Do)
		again := b.must(t, first, next.Do)
		require.Equal(t, next2.Do, again.Do)
		next = next2
	}
	b.settle(t, first)
	b.must(t, first, workflows.ActivityReadPayout)
	require.Equal(t, payout.Paid, b.now(t, first).State)
	require.Equal(t, "1 transfers, 1 payouts, 0 reversals", b.sent())
	b.sound(t)
}
