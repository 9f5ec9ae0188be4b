package payout_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
)

// A payout that is returned after its payee has left its currency brings money back that no run pays. A person
// moves it by an adjustment; no other currency than that one and the payee's own takes any.
func TestMoneyOfACurrencyThatThePayeeHasLeftIsMovedByAPerson(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	b.live(t, id, "start", "transfer", "payout", "paid")
	moved := profile(ada)
	moved.Currency = "eur"
	_, _, err := b.store.PutPayee(t.Context(), moved)
	require.NoError(t, err, "nothing is here or on its way")
	b.live(t, id, "return", "reverse")
	adjust := func(correction string, amount money.Amount) error {
		return b.store.Adjust(t.Context(), payout.Correction{PayeeID: ada, ID: correction, Actor: "olga", Note: "Paid by hand"}, amount)
	}
	foreign := func(err error) {
		t.Helper()
		var field *customer.FieldError
		require.ErrorAs(t, err, &field)
		require.Equal(t, "currency", field.Field)
	}

	foreign(adjust("c_1", money.New(-10_000, "gbp")))
	require.NoError(t, adjust("c_1", cents(-10_000)))
	require.NoError(t, adjust("c_1", cents(-10_000)), "the same again changes nothing")

	left, err := ledger.Balance(t.Context(), b.pool, ledger.PayeeAccount(ada), "usd")
	require.NoError(t, err)
	require.True(t, left.IsZero(), left)
	foreign(adjust("c_2", cents(1)))
	require.NoError(t, adjust("c_2", money.New(100, "eur")))
	b.sound(t)
}
