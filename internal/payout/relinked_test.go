package payout_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/payout"
)

// relink takes the account from ada and gives it back.
func (b bundle) relink(t *testing.T) {
	t.Helper()
	for _, accountID := range []string{"", profile(ada).StripeAccountID} {
		p := profile(ada)
		p.StripeAccountID = accountID
		_, _, err := b.store.PutPayee(t.Context(), p)
		require.NoError(t, err)
	}
}

// What was known of an account before it was linked again says nothing of where its money goes now: it
// waits for a look, and holds up nobody else of the run.
func TestAnAccountThatIsLinkedAgainWaitsForALook(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ready(t, ada, grace)
	b.earn(t, ada, "sale", payout.Sale, 10_000, covered)
	b.earn(t, grace, "sale", payout.Sale, 10_000, covered)
	b.fund(t, plenty)
	b.relink(t)

	planned := b.plan(t, friday)

	require.Len(t, planned, 1)
	require.Equal(t, grace, planned[0].PayeeID)
	require.Equal(t, payout.BecauseDestinationUnchecked, b.facts(t, friday, ada)[ada].Stripe.Problem("usd"))
	require.Equal(t, string(payout.BecauseDestinationUnchecked), b.read(t, `SELECT string_agg(code, ',') FROM payee_notes WHERE payee_id = $1`, ada))

	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		return b.store.PutAccountSnapshot(ctx, tx, account(time.Now()))
	})

	planned = b.plan(t, nextFriday)
	require.Len(t, planned, 1)
	require.Equal(t, ada, planned[0].PayeeID)
	require.Equal(t, "ba_1", planned[0].DestinationID)
	require.Equal(t, civil(t, friday), planned[0].DueDate, "the cycle that was missed")
}
