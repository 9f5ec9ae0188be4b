package payout_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/payout"
)

// waiting lists the payouts that a stop may hold up.
func (b bundle) waiting(t *testing.T, on date.Date) []string {
	t.Helper()
	ids, err := payout.ListWaiting(t.Context(), b.pool, on, "", 10)
	require.NoError(t, err)
	return ids
}

// A payout waits from when its workflow is started until the bank has the money or it ends.
func TestAPayoutWaitsWhileSomethingIsToBeSent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		steps []string
		waits bool
	}{
		"handed over":   {nil, true},
		"begun":         {[]string{"start"}, true},
		"transferred":   {[]string{"start", "transfer"}, true},
		"refused after": {[]string{"start", "transfer", "fail"}, false},
		"at the bank":   {[]string{"start", "transfer", "payout"}, false},
		"paid":          {[]string{"start", "transfer", "payout", "paid"}, false},
		"canceled":      {[]string{"cancel"}, false},
		"held":          {[]string{"start", "hold"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			id := b.one(t)
			require.Empty(t, b.waiting(t, date.Date{}), "it has no workflow that could be told")
			_, err := b.store.HandOver(t.Context(), civil(t, friday), 10)
			require.NoError(t, err)
			b.live(t, id, c.steps...)

			var want []string
			if c.waits {
				want = []string{id}
			}
			require.ElementsMatch(t, want, b.waiting(t, date.Date{}))
			require.ElementsMatch(t, want, b.waiting(t, civil(t, friday)))
			require.Empty(t, b.waiting(t, civil(t, friday).AddDays(1)))
		})
	}
}

// A batch waits until PayPal has it or it ends. What is with PayPal is not kept by a stop.
func TestABatchWaitsWhileItIsToBeSent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.formed(t, ada)[0].ID
	waits := func(want ...string) {
		t.Helper()
		for on, expected := range map[date.Date][]string{{}: want, civil(t, friday): want, civil(t, friday).AddDays(1): nil} {
			found, err := payout.ListWaitingBatches(t.Context(), b.pool, on, "", 10)
			require.NoError(t, err)
			require.ElementsMatch(t, expected, found)
		}
		require.Empty(t, b.waiting(t, date.Date{}), "what is in a batch has no workflow of its own")
	}
	waits(id)
	b.freeze(t, id)
	waits(id)
	behind, err := payout.ListWaitingBatches(t.Context(), b.pool, date.Date{}, id, 10)
	require.NoError(t, err)
	require.Empty(t, behind)
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.BatchAccepted(ctx, tx, id, atPayPal) })
	waits()
}

// told counts the messages that have something go on.
func (b bundle) told(t *testing.T, key string) string {
	t.Helper()
	return b.read(t, `SELECT count(*) FROM outbox WHERE key LIKE $1`, key)
}

// Turned on, the switch has all be told, each time; turned off, nobody.
func TestTheSwitchWakesWhatWaits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, step := range []struct {
		on   bool
		told string
	}{{false, "0"}, {true, "1"}, {false, "1"}, {true, "2"}} {
		require.NoError(t, b.store.SetSwitch(t.Context(), step.on, "olga", "a look first"))
		require.Equal(t, step.told, b.told(t, "wake/"+date.Date{}.String()+"/switch/%"))
	}
}

// A run that is resumed or approved has its own payouts told, and not when that changes nothing.
func TestARunThatGoesOnWakesItsPayouts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.one(t)
	on := civil(t, friday)
	_, err := b.store.HandOver(t.Context(), on, 10)
	require.NoError(t, err)
	require.NoError(t, b.store.PauseRun(t.Context(), on, "olga", ""))
	require.Equal(t, "0", b.told(t, "wake/%"))
	for range 2 {
		require.NoError(t, b.store.ResumeRun(t.Context(), on, "olga", ""))
	}
	require.Equal(t, "1", b.told(t, "wake/"+friday+"/run/"+friday+"/%"))
	b.exec(t, `UPDATE payout_runs SET state = 'awaiting_approval', ended_at = NULL`)
	for range 2 {
		require.NoError(t, b.store.Approve(t.Context(), on, "olga", ""))
	}
	require.Equal(t, "2", b.told(t, "wake/"+friday+"/run/"+friday+"/%"))
}

// A payee who is resumed has what waits told, and nothing that is another's or over.
func TestAPayeeWhoIsResumedIsPaidAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ready(t, ada, grace)
	b.earn(t, ada, "sale", payout.Sale, 10_000, covered)
	b.earn(t, grace, "sale", payout.Sale, 10_000, covered)
	b.fund(t, plenty)
	b.plan(t, friday)
	_, err := b.store.HandOver(t.Context(), civil(t, friday), 10)
	require.NoError(t, err)
	id := b.read(t, `SELECT id FROM payouts WHERE payee_id = $1`, ada)
	b.pause(t, payout.Pause{PayeeID: ada, Source: payout.SourcePayee})
	require.NoError(t, b.store.PauseByOperator(t.Context(), ada, "olga", ""))
	require.Equal(t, "0", b.told(t, "look/%"))

	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error { return b.store.Resume(ctx, tx, ada, payout.SourcePayee) })
	require.Equal(t, "1", b.told(t, "look/"+id+"/resumed/%"))
	for range 2 {
		require.NoError(t, b.store.ResumeByOperator(t.Context(), ada, "olga", ""))
	}
	require.Equal(t, "2", b.told(t, "look/"+id+"/resumed/%"))
	require.Equal(t, "2", b.told(t, "look/%"))
}

// A payout that an operator cancels before anything was sent has its workflow told, which waits for
// something else.
func TestAnUnsentPayoutThatIsCanceledEndsItsWait(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	require.NoError(t, b.store.CancelUnsent(t.Context(), id, "olga", "not yet"))
	require.Equal(t, "1", b.told(t, "look/"+id+"/canceled"))
}
