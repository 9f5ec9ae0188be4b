package activities_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

const (
	ada   = "ada@example.org"
	grace = "grace@example.org"
	joan  = "joan@example.org"
)

func TestABatchIsSentOnceAndReadUntilItsPayoutsArePaid(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, ada, grace, joan)
	require.Equal(t, workflows.PayPalBatchMove{State: "open", Do: workflows.ActivitySendPayPalBatch}, b.plan(t, id, false).Next)

	sent := b.send(t, id)

	require.Equal(t, workflows.ActivityReadPayPalBatch, sent.Do)
	require.Equal(t, b.batchNow(t, id).StateSince.Add(15*time.Second), *sent.At)
	require.Equal(t, payout.Sending, b.now(t, payoutOf(0)).State, "that PayPal has the batch is no acceptance of its items")
	at := b.simulator.PayPal().PayPalBatches()[0]
	require.Equal(t, b.request(t, id).Key, at.SenderBatchID)
	require.Equal(t, at.ID, b.batchNow(t, id).PayPalBatchID)
	require.Equal(t, payoutOf(0), at.Items[0].SenderItemID)
	require.Equal(t, ada, at.Items[0].Receiver)

	done := b.read(t, id)

	require.Equal(t, workflows.PayPalBatchMove{State: "ended"}, done)
	b.paid(t, payoutOf(0), payoutOf(1), payoutOf(2))
	require.Equal(t, at.Items[0].ID, b.now(t, payoutOf(0)).ProviderPayoutID)
	require.Equal(t, 300, b.count(t, `SELECT sum(amount) FROM ledger_entries WHERE account = 'provider_fee'`))
	require.Equal(t, 600, b.count(t, `SELECT -sum(amount) FROM ledger_entries WHERE account = 'fees'`))
	require.NotContains(t, string(b.request(t, id).Params), "example.org")
	require.Len(t, b.simulator.Calls().To("GET", "/v1/payments/payouts/{id}"), 1)
	require.Equal(t, 1, b.posts())
}

// Nothing that is listed of a pending batch counts, and each item goes where its own status says.
func TestABatchIsReadWhileItIsProcessed(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	b.settings(t, simulator.PayPalPayoutSettings{Manual: true})
	id := b.batch(t, ada, "onhold-grace@example.org", "unclaimed-joan@example.org", "failed-mary@example.org")
	b.send(t, id)
	at := b.batchNow(t, id).PayPalBatchID

	next := b.read(t, id)
	require.Equal(t, payout.Sending, b.now(t, payoutOf(0)).State)
	require.Equal(t, workflows.ActivityReadPayPalBatch, next.Do)
	require.Equal(t, b.batchNow(t, id).CheckedAt.Add(10*time.Second), *next.NotBefore)

	_, err := b.simulator.PayPal().AdvancePayPalBatch(at)
	require.NoError(t, err)
	b.read(t, id)
	require.Equal(t, payout.InTransit, b.now(t, payoutOf(0)).State)

	_, err = b.simulator.PayPal().AdvancePayPalBatch(at)
	require.NoError(t, err)
	b.read(t, id)
	b.paid(t, payoutOf(0))
	require.Equal(t, payout.InTransit, b.now(t, payoutOf(1)).State)
	require.Equal(t, payout.Unclaimed, b.now(t, payoutOf(2)).State)
	b.released(t, payoutOf(3), payout.Failed, "RECEIVER_ACCOUNT_LOCKED")

	_, err = b.simulator.PayPal().SettlePayPalItem(b.now(t, payoutOf(1)).ProviderPayoutID)
	require.NoError(t, err)
	require.Empty(t, b.read(t, id).Do, "what nobody has claimed is looked at by the sweep")
	b.paid(t, payoutOf(1))

	require.Empty(t, b.plan(t, id, false).Next.Do)
	require.Equal(t, workflows.ActivityReadPayPalBatch, b.plan(t, id, true).Next.Do, "something was heard of it")
	_, err = b.simulator.PayPal().ClaimPayPalItem(b.now(t, payoutOf(2)).ProviderPayoutID)
	require.NoError(t, err)
	b.read(t, id)
	b.paid(t, payoutOf(2))
	require.Equal(t, payout.BatchEnded, b.batchNow(t, id).State)
}

// A batch that takes long is read ever more rarely.
func TestReadsGrowRarer(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, "onhold-ada@example.org")
	b.send(t, id)
	b.read(t, id)
	for age, wait := range map[string]time.Duration{
		"20 seconds": 20 * time.Second, "10 minutes": 10 * time.Minute, "5 hours": time.Hour, "47 hours": time.Hour, "3 days": 6 * time.Hour,
	} {
		b.exec(t, `UPDATE paypal_batches SET checked_at = state_since + $1::interval`, age)
		require.Equal(t, b.batchNow(t, id).CheckedAt.Add(wait), *b.plan(t, id, false).Next.At, age)
	}
	b.exec(t, `UPDATE paypal_batches SET checked_at = NULL`)
	require.Equal(t, b.batchNow(t, id).StateSince.Add(15*time.Second), *b.plan(t, id, false).Next.At)
}

// Every fault meets the sending once; what was lost is found, and nobody is paid twice.
func TestABatchWhoseSendingFailsIsPaidOnce(t *testing.T) {
	t.Parallel()
	for kind, class := range map[simulator.FaultKind]provider.Class{
		simulator.ExecuteThenDrop: provider.OutcomeUnknown,
		simulator.Truncate:        provider.OutcomeUnknown,
		simulator.ExecuteThen500:  provider.OutcomeUnknown,
		simulator.ServerError:     provider.OutcomeUnknown,
		simulator.BadGateway:      provider.OutcomeUnknown,
		simulator.Reset:           provider.OutcomeUnknown,
		simulator.Hang:            provider.OutcomeUnknown,
		simulator.Unavailable:     provider.OutcomeUnknown,
		simulator.TooManyRequests: provider.RateLimited,
	} {
		for _, withoutLink := range []bool{false, true} {
			name := string(kind)
			if withoutLink {
				name += "/no link to the first"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := setupBatches(t)
				b.settings(t, simulator.PayPalPayoutSettings{DuplicateWithoutLink: withoutLink})
				id := b.batch(t, ada, grace)

				requireFailure(t, b.under(t, id, simulator.Fault{Kind: kind}), class, true)
				require.Equal(t, payout.BatchSending, b.batchNow(t, id).State)
				next := b.insist(t, id)

				require.Equal(t, workflows.ActivityReadPayPalBatch, next.Do)
				b.read(t, id)
				b.paid(t, payoutOf(0), payoutOf(1))
				require.Len(t, b.simulator.PayPal().PayPalBatches(), 1)
				require.Equal(t, 1, b.request(t, id).Epoch)
				require.Equal(t, provider.OutcomeSucceeded, b.request(t, id).Outcome)
			})
		}
	}
}

// Who is not let in has sent nothing.
func TestABatchWaitsUntilPayPalAcceptsUs(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, ada)

	requireFailure(t, b.under(t, id, simulator.Fault{Kind: simulator.WrongKey}), provider.Misconfigured, false)
	require.Nil(t, b.request(t, id).FirstSentAt)

	b.exec(t, `UPDATE provider_health SET state = 'up'`)
	b.send(t, id)
	b.read(t, id)
	b.paid(t, payoutOf(0))
}

// The process ended right after it had recorded the sending: whether it was sent, nobody knows.
func TestABatchThatMayHaveBeenSentIsSentAgain(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, ada)
	require.Error(t, b.under(t, id, simulator.Fault{Kind: simulator.BadGateway}))
	b.exec(t, `UPDATE provider_requests SET first_sent_at = now() - interval '28 days', last_sent_at = now() - interval '28 days'`)

	b.send(t, id)

	b.read(t, id)
	b.paid(t, payoutOf(0))
}

// After 29 days PayPal may take the same id for a new one: then nothing is sent, and a person is asked.
func TestABatchIsNotSentAgainWhenItsIDMayBeForgotten(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	b.settings(t, simulator.PayPalPayoutSettings{SearchLagMS: int(time.Hour / time.Millisecond)})
	id := b.batch(t, ada)
	require.Error(t, b.under(t, id, simulator.Fault{Kind: simulator.ExecuteThenDrop}))
	b.exec(t, `UPDATE provider_requests SET first_sent_at = now() - interval '29 days', last_sent_at = now() - interval '29 days'`)
	b.simulator.PayPal().ForgetPayPalSenderBatchIDs()

	b.send(t, id)
	b.pass(t, "4 hours")
	b.send(t, id)

	b.held(t, id, "not_found")
	require.Equal(t, 1, b.posts())
}

// held holds a batch to be left to a person, with its payouts.
func (b batchBundle) held(t *testing.T, batchID, why string) {
	t.Helper()
	now := b.batchNow(t, batchID)
	require.Equal(t, payout.BatchHeld, now.State)
	require.Contains(t, now.Reason, why)
	require.Equal(t, payout.Held, b.now(t, payoutOf(0)).State)
	require.Zero(t, b.balance(t, payeeOf(0)))
	require.Empty(t, b.plan(t, batchID, false).Next.Do, "a person decides")
	b.sound(t)
}

// lost has the answer to a sending lost that was carried out, and PayPal tell neither which batch it was
// nor find it.
func (b batchBundle) lost(t *testing.T, receivers ...string) (batchID, payPalBatchID string) {
	t.Helper()
	b.settings(t, simulator.PayPalPayoutSettings{DuplicateWithoutLink: true, SearchLagMS: int(time.Hour / time.Millisecond)})
	batchID = b.batch(t, receivers...)
	require.Error(t, b.under(t, batchID, simulator.Fault{Kind: simulator.ExecuteThenDrop}))
	_, err := b.take(t, batchID, workflows.ActivitySendPayPalBatch)
	requireFailure(t, err, provider.OutcomeUnknown, true)
	require.True(t, b.request(t, batchID).Replayed)
	return batchID, b.simulator.PayPal().PayPalBatches()[0].ID
}

// PayPal finds a movement after three hours at most. After four it is a person's, and it is still found
// when it shows later.
func TestALostBatchIsSearchedForFourHoursAndThenHeld(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id, _ := b.lost(t, ada, grace)

	next := b.send(t, id)
	require.Equal(t, workflows.ActivitySendPayPalBatch, next.Do)
	require.WithinDuration(t, time.Now().Add(15*time.Minute), *next.At, time.Minute)
	b.pass(t, "3 hours 50 minutes")
	require.Equal(t, workflows.ActivitySendPayPalBatch, b.send(t, id).Do)
	b.pass(t, "11 minutes")
	require.Empty(t, b.send(t, id).Do)
	b.held(t, id, "not_found")
	require.Equal(t, 2, b.posts(), "nothing is sent while it is searched for")

	b.read(t, id)
	b.held(t, id, "not_found")
	b.settings(t, simulator.PayPalPayoutSettings{})
	require.Equal(t, workflows.ActivityReadPayPalBatch, b.plan(t, id, true).Next.Do)
	require.Equal(t, workflows.ActivityReadPayPalBatch, b.read(t, id).Do, "it was found, and is to be read")
	require.Empty(t, b.read(t, id).Do)
	b.paid(t, payoutOf(0), payoutOf(1))
	require.Equal(t, 2, b.posts())
}

// What a webhook said is read before it is believed.
func TestALostBatchIsFoundByWhatAWebhookSaid(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id, at := b.lost(t, ada)
	made, err := b.clientOf(t).CreatePayoutBatch(t.Context(), paypal.PayoutBatchRequest{
		SenderBatchID: "another", Items: []paypal.PayoutItemRequest{{Receiver: grace, Value: "98.00", Currency: "USD", SenderItemID: "another"}},
	})
	require.NoError(t, err)

	for _, hint := range []string{made.ID, "NOSUCHBATCH"} {
		b.hint(t, id, hint)
		b.send(t, id)
		require.Equal(t, payout.BatchSending, b.batchNow(t, id).State)
	}
	b.hint(t, id, at)
	b.send(t, id)

	require.Equal(t, at, b.batchNow(t, id).PayPalBatchID)
	b.read(t, id)
	b.paid(t, payoutOf(0))
}

func (b batchBundle) hint(t *testing.T, batchID, payPalBatchID string) {
	t.Helper()
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		_, err := b.store.HintBatch(ctx, tx, batchID, payPalBatchID)
		return err
	})
}

// A batch under our id that has other items than ours is nobody's to adopt.
func TestABatchWithOurIDAndOtherItemsIsHeld(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, ada)
	_, err := b.clientOf(t).CreatePayoutBatch(t.Context(), paypal.PayoutBatchRequest{
		SenderBatchID: "holdfast/paypal/payout_batch/" + id + "/1",
		Items:         []paypal.PayoutItemRequest{{Receiver: ada, Value: "98.01", Currency: "USD", SenderItemID: payoutOf(0)}},
	})
	require.NoError(t, err)

	require.Empty(t, b.send(t, id).Do)

	require.Equal(t, payout.BatchHeld, b.batchNow(t, id).State)
	require.Equal(t, payout.Held, b.now(t, payoutOf(0)).State)
	require.Empty(t, b.batchNow(t, id).PayPalBatchID)
}

// What would be sent is not what was stored: nothing is sent.
func TestABatchThatIsNotWhatWasStoredIsHeld(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, ada)
	require.Error(t, b.under(t, id, simulator.Fault{Kind: simulator.ServerError}))
	b.exec(t, `UPDATE provider_requests SET params = params || '{"items_sha256": "another"}' WHERE operation = 'payout_batch'`)

	require.Empty(t, b.send(t, id).Do)

	b.held(t, id, "items_changed")
	require.Empty(t, b.simulator.PayPal().PayPalBatches())
}

// PayPal names the items for which it refuses a batch: they failed, and the others are paid.
func TestItemsThatPayPalRefusesFailAndTheOthersArePaid(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, ada, "invalid-grace@example.org", joan)

	require.Empty(t, b.send(t, id).Do)

	require.Equal(t, payout.BatchSplit, b.batchNow(t, id).State)
	b.released(t, payoutOf(1), payout.Failed, paypal.CodeValidation)
	require.Equal(t, 1, b.count(t, `SELECT paypal_rejections FROM payees WHERE id = 'u_1'`))
	again := b.batchOf(t, payoutOf(0))
	require.NotEqual(t, id, again)
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM outbox WHERE message->>'workflow_id' = 'paypal-batch/`+again+`'`))
	b.send(t, again)
	b.read(t, again)
	b.paid(t, payoutOf(0), payoutOf(2))
}

// Without a name the halves tell which it is.
func TestABatchIsHalvedUntilTheRefusedItemIsFound(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, ada, grace, joan, "invalid-unnamed-mary@example.org")

	b.drain(t, id)

	b.paid(t, payoutOf(0), payoutOf(1), payoutOf(2))
	b.released(t, payoutOf(3), payout.Failed, paypal.CodeValidation)
	require.Len(t, b.simulator.PayPal().PayPalBatches(), 2)
}

// drain sends a batch, and those that it is split into, and reads them.
func (b batchBundle) drain(t *testing.T, batchID string) {
	t.Helper()
	b.send(t, batchID)
	if b.batchNow(t, batchID).State == payout.BatchSent {
		b.read(t, batchID)
	}
	rows, err := b.pool.Query(t.Context(), `SELECT id FROM paypal_batches WHERE split_from = $1 ORDER BY id`, batchID)
	require.NoError(t, err)
	parts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	for _, part := range parts {
		b.drain(t, part)
	}
}

// The refusal's answer was lost. Sent again it is refused for the same, and that counts.
func TestARefusalWhoseAnswerWasLostIsARefusal(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, ada, "invalid-grace@example.org")
	require.Error(t, b.under(t, id, simulator.Fault{Kind: simulator.ExecuteThenDrop}))

	b.drain(t, id)

	b.paid(t, payoutOf(0))
	b.released(t, payoutOf(1), payout.Failed, paypal.CodeValidation)
}

// poor leaves too little at PayPal for any batch, which PayPal says at once or by denying the batch.
func (b batchBundle) poor(t *testing.T, atOnce bool) {
	t.Helper()
	b.settings(t, simulator.PayPalPayoutSettings{RefuseUnfunded: atOnce})
	require.NoError(t, b.simulator.PayPal().SetPayPalBalance("USD", 100))
}

func (b batchBundle) rich(t *testing.T) {
	t.Helper()
	require.NoError(t, b.simulator.PayPal().SetPayPalBalance("USD", 1_000_000))
}

// unfunded brings a batch to where it waits for funds.
func (b batchBundle) unfunded(t *testing.T, batchID string, atOnce bool) {
	t.Helper()
	b.poor(t, atOnce)
	next := b.send(t, batchID)
	if !atOnce {
		next = b.read(t, batchID)
	}
	require.Equal(t, workflows.ActivitySendPayPalBatch, next.Do)
	require.NotNil(t, b.batchNow(t, batchID).UnfundedSince)
	require.Equal(t, payout.Sending, b.now(t, payoutOf(0)).State)
}

func TestABatchWithoutFundsIsSentUnderANewIDWhenThereAreSome(t *testing.T) {
	t.Parallel()
	for name, atOnce := range map[string]bool{"refused": true, "denied": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupBatches(t)
			id := b.batch(t, ada, grace)
			b.unfunded(t, id, atOnce)
			posts := b.posts()

			next := b.send(t, id)
			require.WithinDuration(t, time.Now().Add(15*time.Minute), *next.At, time.Minute)
			require.Equal(t, posts, b.posts(), "it looks at the balance, and sends nothing")
			b.rich(t)
			b.send(t, id)
			b.read(t, id)

			b.paid(t, payoutOf(0), payoutOf(1))
			require.Equal(t, 2, b.request(t, id).Epoch)
			require.Nil(t, b.batchNow(t, id).UnfundedSince)
		})
	}
}

// What PayPal refuses a whole batch for, without naming an item, is a payee's only if the code says so;
// otherwise a person puts it right, and nobody hears that their payout failed.
func TestABatchRefusedAsAWholeFailsNobody(t *testing.T) {
	t.Parallel()
	for code, wantsPerson := range map[string]bool{"SENDER_RESTRICTED": true, "SOMETHING_NEW": true, "RECEIVER_COUNTRY_NOT_ALLOWED": false} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			b := setupBatches(t)
			id := b.batch(t, ada, grace)
			b.settings(t, simulator.PayPalPayoutSettings{RefuseWith: code})

			_, err := b.take(t, id, workflows.ActivitySendPayPalBatch)

			for _, p := range []string{payoutOf(0), payoutOf(1)} {
				require.Equal(t, payout.Sending, b.now(t, p).State)
			}
			b.settings(t, simulator.PayPalPayoutSettings{})
			if wantsPerson {
				requireFailure(t, err, provider.Rejected, false)
				b.send(t, id)
				b.read(t, id)
				require.Equal(t, 2, b.request(t, id).Epoch)
			} else {
				require.NoError(t, err)
				require.Equal(t, payout.BatchSplit, b.batchNow(t, id).State)
				for _, p := range []string{payoutOf(0), payoutOf(1)} {
					half := b.batchOf(t, p)
					b.send(t, half)
					b.read(t, half)
				}
			}
			b.paid(t, payoutOf(0), payoutOf(1))
		})
	}
}

func TestABatchIsCanceledAfterThreeDaysWithoutFunds(t *testing.T) {
	t.Parallel()
	for name, atOnce := range map[string]bool{"refused": true, "denied": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupBatches(t)
			id := b.batch(t, ada)
			b.unfunded(t, id, atOnce)
			b.pass(t, "71 hours")
			require.Equal(t, workflows.ActivitySendPayPalBatch, b.send(t, id).Do)
			b.pass(t, "1 hour")

			require.Empty(t, b.send(t, id).Do)

			b.released(t, payoutOf(0), payout.Canceled, "funding")
			require.Equal(t, payout.BatchEnded, b.batchNow(t, id).State)
		})
	}
}

// The first sending's answer was lost, and the second was refused for want of funds, which the first may
// have taken. It goes on under the same id, and is not given up without a person.
func TestARefusalForFundsProvesNothingOfAnEarlierSending(t *testing.T) {
	t.Parallel()
	doubtful := func(t *testing.T) (batchBundle, string) {
		t.Helper()
		b := setupBatches(t)
		id := b.batch(t, ada)
		require.Error(t, b.under(t, id, simulator.Fault{Kind: simulator.BadGateway}))
		b.poor(t, true)
		require.Equal(t, workflows.ActivitySendPayPalBatch, b.send(t, id).Do)
		require.NotNil(t, b.batchNow(t, id).UnfundedSince)
		require.Equal(t, provider.OutcomeOpen, b.request(t, id).Outcome)
		return b, id
	}
	t.Run("it is paid", func(t *testing.T) {
		t.Parallel()
		b, id := doubtful(t)
		b.rich(t)
		b.send(t, id)
		b.read(t, id)
		b.paid(t, payoutOf(0))
		require.Equal(t, 1, b.request(t, id).Epoch)
	})
	t.Run("it is held", func(t *testing.T) {
		t.Parallel()
		b, id := doubtful(t)
		b.pass(t, "3 days")
		require.Empty(t, b.send(t, id).Do)
		b.held(t, id, paypal.CodeInsufficientFunds)
	})
}

// A batch that PayPal denies for another reason than our funds does not go out again.
func TestABatchThatIsDeniedForAReasonFails(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	b.settings(t, simulator.PayPalPayoutSettings{Manual: true})
	id := b.batch(t, ada, grace)
	b.send(t, id)
	_, err := b.simulator.PayPal().DenyPayPalBatch(b.batchNow(t, id).PayPalBatchID, "RISK_DECLINE")
	require.NoError(t, err)

	require.Empty(t, b.read(t, id).Do)

	b.released(t, payoutOf(0), payout.Failed, "RISK_DECLINE")
	b.released(t, payoutOf(1), payout.Failed, "RISK_DECLINE")
}

// The switch is turned off before anything was sent: nothing is, and it goes on when it is on.
func TestTheKillSwitchStopsABatch(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, ada)
	b.turn(t, false)

	next := b.send(t, id)
	require.Equal(t, workflows.ActivitySendPayPalBatch, next.Do)
	require.WithinDuration(t, time.Now().Add(15*time.Minute), *next.At, time.Minute)
	require.Equal(t, payout.Planned, b.now(t, payoutOf(0)).State)
	require.Empty(t, b.simulator.Calls())

	b.turn(t, true)
	b.send(t, id)
	b.read(t, id)
	b.paid(t, payoutOf(0))
}

// The switch stops sendings and no look-ups: what may have been sent is looked for, and not sent again.
func TestWithTheKillSwitchOffALostBatchIsLookedForOnly(t *testing.T) {
	t.Parallel()
	t.Run("it was carried out", func(t *testing.T) {
		t.Parallel()
		b := setupBatches(t)
		id := b.batch(t, ada)
		require.Error(t, b.under(t, id, simulator.Fault{Kind: simulator.ExecuteThenDrop}))
		b.turn(t, false)
		require.Equal(t, workflows.ActivityReadPayPalBatch, b.send(t, id).Do)
		b.read(t, id)
		b.paid(t, payoutOf(0))
		require.Equal(t, 1, b.posts())
	})
	t.Run("it was not", func(t *testing.T) {
		t.Parallel()
		b := setupBatches(t)
		id := b.batch(t, ada)
		require.Error(t, b.under(t, id, simulator.Fault{Kind: simulator.BadGateway}))
		b.turn(t, false)
		b.send(t, id)
		b.pass(t, "5 hours")
		require.Equal(t, workflows.ActivitySendPayPalBatch, b.send(t, id).Do, "it waits, and is not given up")
		require.Equal(t, 1, b.posts())
		b.turn(t, true)
		b.send(t, id)
		b.read(t, id)
		b.paid(t, payoutOf(0))
	})
}

// What is wrong with a payout that PayPal has finished with, and does not list, a person finds out.
func TestAPayoutThatPayPalDoesNotListIsHeld(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, ada, grace)
	made, err := b.clientOf(t).CreatePayoutBatch(t.Context(), paypal.PayoutBatchRequest{
		SenderBatchID: "holdfast/paypal/payout_batch/" + id + "/1",
		Items:         []paypal.PayoutItemRequest{{Receiver: ada, Value: "98.00", Currency: "USD", SenderItemID: payoutOf(0)}},
	})
	require.NoError(t, err)
	b.send(t, id)
	require.Equal(t, made.ID, b.batchNow(t, id).PayPalBatchID)

	b.read(t, id)
	require.Equal(t, payout.Sending, b.now(t, payoutOf(1)).State, "a list may be a moment behind")
	b.pass(t, "10 minutes")
	require.Empty(t, b.read(t, id).Do)

	require.Equal(t, payout.Held, b.now(t, payoutOf(1)).State)
	b.paid(t, payoutOf(0))
}

// The step of a batch shows what it meets, and is over with it.
func TestTheStepOfABatchShowsWhatItMeets(t *testing.T) {
	t.Parallel()
	b := setupBatches(t)
	id := b.batch(t, ada)
	require.Equal(t, []workflows.PlannedStep{{Name: workflows.StepPayPalBatch, Provider: provider.PayPal, Status: step.Pending}}, b.plan(t, id, false).Steps)
	require.Error(t, b.under(t, id, simulator.Fault{Kind: simulator.BadGateway}))
	require.Equal(t, step.Retrying, b.steps(t)[0].Status)
	require.Equal(t, provider.OutcomeUnknown, b.steps(t)[0].ErrorClass)
	b.send(t, id)
	require.Equal(t, step.Pending, b.steps(t)[0].Status)
	b.read(t, id)
	require.Equal(t, step.Done, b.steps(t)[0].Status)
}
