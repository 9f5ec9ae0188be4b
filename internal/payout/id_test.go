package payout_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/payout"
)

// What is planned again where nothing is known of the first time, as after a restored backup, has the same
// ids, and so the same keys at the providers: nothing is paid twice.
func TestWhatIsPlannedAgainAfterARestoreIsTheSame(t *testing.T) {
	t.Parallel()
	plan := func() (payouts, batches []string) {
		b := batchesOf(t, 2)
		for _, made := range b.formed(t, payees(3)...) {
			batches = append(batches, made.ID)
		}
		rows, err := b.pool.Query(t.Context(), `SELECT id FROM payouts ORDER BY id`)
		require.NoError(t, err)
		defer rows.Close()
		for rows.Next() {
			var id string
			require.NoError(t, rows.Scan(&id))
			require.True(t, payout.ValidID(id))
			payouts = append(payouts, id)
		}
		require.NoError(t, rows.Err())
		return payouts, batches
	}

	payouts, batches := plan()
	again, batchesAgain := plan()

	require.Len(t, payouts, 3)
	require.Len(t, batches, 2)
	require.Equal(t, payouts, again)
	require.ElementsMatch(t, batches, batchesAgain)
	require.True(t, payout.ValidBatchID(batches[0]))
}

// Who left a batch that was not sent may make another one of the same members.
func TestTheSameMembersMakeAnotherBatch(t *testing.T) {
	t.Parallel()
	b := batchesOf(t, 2)
	first := b.formed(t, payees(1)...)[0].ID
	b.exec(t, `INSERT INTO payee_pauses (payee_id, source, reason) SELECT id, 'operator', 'operator' FROM payees`)
	require.Equal(t, payout.BatchEnded, b.freeze(t, first).State)
	b.exec(t, `DELETE FROM payee_pauses`)

	formed, err := b.store.FormLeftovers(t.Context(), 10)

	require.NoError(t, err)
	require.Equal(t, 1, formed)
	all := b.batches(t)
	require.Len(t, all, 2)
	require.NotEqual(t, all[0].ID, all[1].ID)
	b.consistent(t)
}
