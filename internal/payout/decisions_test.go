package payout_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/payout"
)

func TestOnlyWhatWasNotSentIsCanceledAsUnsent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.enroll(t, ada)
	b.hold(t, payoutID("a"), b.payee(t, ada).CreatedAt)

	require.ErrorIs(t, b.store.CancelUnsent(t.Context(), payoutID("a"), "olga", "n"), payout.ErrState)
	require.ErrorIs(t, b.store.CancelUnsent(t.Context(), payoutID("b"), "olga", "n"), payout.ErrNoPayout)

	require.Equal(t, "held", b.read(t, `SELECT state FROM payouts`))
	require.Equal(t, "0", b.read(t, `SELECT count(*) FROM operator_actions`))
}

func TestWhatAnOperatorAsksForIsKeptWithTheReason(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.store.RecordAsked(t.Context(), "olga", "resolve_payout_paid", payoutID("a"), "seen at Stripe"))
	require.Equal(t, "olga ask_to_resolve_payout_paid "+payoutID("a")+": seen at Stripe",
		b.read(t, `SELECT actor || ' ' || action || ' ' || subject || ': ' || note FROM operator_actions`))
}
