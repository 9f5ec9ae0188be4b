package payout_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/payout"
)

func (b bundle) retry(ctx context.Context, id string) (again payout.Payout, created bool, err error) {
	err = b.try(ctx, func(ctx context.Context, tx pgx.Tx) error {
		again, created, err = b.store.Retry(ctx, tx, id, "olga", "the bank is right now")
		return err
	})
	return again, created, err
}

func (b bundle) acts(t *testing.T, action string) string {
	t.Helper()
	return b.read(t, `SELECT count(*) FROM operator_actions WHERE action = $1 AND actor = 'olga' AND note <> ''`, action)
}

func TestAPayoutThatFailedIsMadeAgainOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	failed := b.live(t, id, "start", "transfer", "fail", "reverse")

	var all errgroup.Group
	for range 6 {
		all.Go(func() error {
			_, _, err := b.retry(t.Context(), id)
			return err
		})
	}
	require.NoError(t, all.Wait())

	again, created, err := b.retry(t.Context(), id)
	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, failed.Plan, again.Plan)
	require.Equal(t, []any{payout.Retried, id, 2, payout.Planned, failed.RunDate}, []any{again.Kind, again.RetryOf, again.Attempt, again.State, again.RunDate})
	require.Equal(t, "1", b.read(t, `SELECT count(*) FROM payouts WHERE retry_of = $1`, id))
	require.Equal(t, "1", b.read(t, `SELECT count(*) FROM outbox WHERE key = $1`, "start/"+again.ID))
	require.Equal(t, "1", b.acts(t, "retry_payout"))
	b.live(t, again.ID, "start", "refuse")
	third, created, err := b.retry(t.Context(), again.ID)
	require.NoError(t, err)
	require.True(t, created)
	require.Equal(t, 3, third.Attempt)
	b.live(t, third.ID, "start", "transfer", "payout", "paid")
	b.sound(t)
}

func TestARetryPaysNoMoreThanThereIs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	b.live(t, id, "start", "refuse")
	b.earn(t, ada, "refund", payout.Refund, 9_500, friday)
	again, _, err := b.retry(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, cents(500), again.Gross, "less than the minimum, which does not matter here")
	b.live(t, again.ID, "cancel")
	b.earn(t, ada, "more", payout.Refund, 500, friday)
	_, _, err = b.retry(t.Context(), again.ID)
	var skipped *payout.SkipError
	require.ErrorAs(t, err, &skipped)
	require.Equal(t, payout.BecauseNothingToPay, skipped.Reason)
	require.Equal(t, "1", b.acts(t, "retry_payout"), "what is refused is no act")
	b.sound(t)
}

func TestWhatCannotBeMadeAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	for _, names := range [][]string{{}, {"start"}, {"transfer", "payout"}, {"paid"}} {
		b.live(t, id, names...)
		_, _, err := b.retry(t.Context(), id)
		require.ErrorIs(t, err, payout.ErrState)
	}
	b.live(t, id, "return", "reverse")
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		return b.store.Pause(ctx, tx, payout.Pause{PayeeID: ada, Source: payout.SourceOperator, Actor: "olga"})
	})
	_, _, err := b.retry(t.Context(), id)
	var skipped *payout.SkipError
	require.ErrorAs(t, err, &skipped)
	require.Equal(t, payout.BecausePausedByOperator, skipped.Reason)
}

func TestOperatorsActsAreKept(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	p := b.live(t, id, "cancel")
	require.Equal(t, []string{"canceled_by_operator", "olga"}, []string{p.Reason, p.Actor})
	require.Equal(t, "1", b.acts(t, "cancel_payout"))

	again, _, err := b.retry(t.Context(), id)
	require.NoError(t, err)
	p = b.live(t, again.ID, "start", "transfer", "hold", "resolve failed")
	require.Equal(t, []string{"resolved", "olga"}, []string{p.Reason, p.Actor})
	require.Equal(t, "1", b.acts(t, "resolve_payout"))
	require.Equal(t, "failed: reversed by hand", b.read(t, `SELECT note FROM operator_actions WHERE action = 'resolve_payout' AND subject = $1`, p.ID))
	b.sound(t)
}

func TestAResolutionThatIsNotOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	b.live(t, id, "start", "transfer", "hold")
	resolve := func(r payout.Resolution) error {
		r.Actor, r.Note = "olga", "so it seems"
		return b.try(t.Context(), func(ctx context.Context, tx pgx.Tx) error { return b.store.Resolve(ctx, tx, id, r) })
	}
	var wrong *customer.FieldError
	require.ErrorAs(t, resolve(payout.Resolution{Outcome: payout.Canceled}), &wrong)
	require.Equal(t, "outcome", wrong.Field)
	require.ErrorAs(t, resolve(payout.Resolution{Outcome: payout.Paid}), &wrong)
	require.Equal(t, "provider_id", wrong.Field)
	require.ErrorIs(t, resolve(payout.Resolution{Outcome: payout.Paid, TransferID: "tr_other", ProviderPayoutID: "pos_1"}), payout.ErrOtherObject)
	require.Equal(t, payout.Held, b.payout(t, id).State)
	require.Equal(t, "0", b.acts(t, "resolve_payout"))

	// By force, although nothing of the transfer came back: the loss is the platform's.
	require.NoError(t, resolve(payout.Resolution{Outcome: payout.Failed, Force: true}))
	require.Equal(t, "1", b.acts(t, "resolve_payout_by_force"))
	require.Equal(t, int64(10_000), b.balance(t, ada))
	b.sound(t)
}
