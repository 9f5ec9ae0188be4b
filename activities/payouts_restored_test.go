package activities_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

// backUp keeps everything that is in the database, and gives the way back to it.
func (b payoutBundle) backUp(t *testing.T) (restore func()) {
	t.Helper()
	columns := map[string]string{}
	rows, err := b.pool.Query(t.Context(), `SELECT table_name::text, string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position)
		FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
		WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' AND is_generated = 'NEVER' GROUP BY 1`)
	require.NoError(t, err)
	var table, names string
	_, err = pgx.ForEachRow(rows, []any{&table, &names}, func() error { columns[table] = names; return nil })
	require.NoError(t, err)
	for table, names := range columns {
		b.exec(t, fmt.Sprintf(`CREATE TABLE backup_of_%s AS SELECT %s FROM %s`, table, names, table))
	}
	return func() {
		t.Helper()
		b.untriggered(t, func(do func(string)) {
			for table, names := range columns {
				do(fmt.Sprintf(`DELETE FROM %s`, table))
				do(fmt.Sprintf(`INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM backup_of_%s`, table, names, names, table))
			}
		})
	}
}

// untriggered changes what triggers forbid, as who restores a database does.
func (b payoutBundle) untriggered(t *testing.T, change func(do func(string))) {
	t.Helper()
	b.inTx(t, func(ctx context.Context, tx pgx.Tx) error {
		do := func(sql string) {
			_, err := tx.Exec(ctx, sql)
			require.NoError(t, err, sql)
		}
		do(`SET LOCAL session_replication_role = replica`)
		change(do)
		return nil
	})
}

// A backup from before each movement is restored after the money has arrived. Nothing moves twice: within
// 23 hours the same keys are answered as they were, and later what was done is looked for first.
func TestARestoredBackupPaysNothingAgain(t *testing.T) {
	t.Parallel()
	for name, forgotten := range map[string]bool{"within the life of the keys": false, "two days later": true} {
		for _, lost := range []string{workflows.ActivityCheckDestination, workflows.ActivitySendTransfer, workflows.ActivitySendPayout} {
			t.Run(name+"/"+lost, func(t *testing.T) {
				t.Parallel()
				b := setupPayouts(t)
				b.standard(t)
				b.until(t, first, lost)
				restore := b.backUp(t)
				b.drive(t, first)
				b.settle(t, first)
				paid := b.now(t, first)
				restore()
				require.NotEqual(t, payout.Paid, b.now(t, first).State)
				if forgotten {
					b.twoDaysPass(t)
				}

				for range 2 {
					b.drive(t, first) // the account may lack what it has paid out; then it is waited for
					b.exec(t, `UPDATE payouts SET moved_at = moved_at - interval '10 minutes'`)
				}
				b.must(t, first, workflows.ActivityReadPayout)

				require.Equal(t, "1 transfers, 1 payouts, 0 reversals", b.sent())
				now := b.now(t, first)
				require.Equal(t, []string{string(payout.Paid), paid.TransferID, paid.ProviderPayoutID}, []string{string(now.State), now.TransferID, now.ProviderPayoutID})
				require.Zero(t, b.balance(t))
				require.LessOrEqual(t, b.epoch(t, "transfer"), 1)
				require.Equal(t, 1, b.epoch(t, "payout"))
				b.sound(t)
			})
		}
	}
}

// twoDaysPass makes the payout older than what Stripe remembers of its keys.
func (b payoutBundle) twoDaysPass(t *testing.T) {
	t.Helper()
	b.untriggered(t, func(do func(string)) { do(`UPDATE payouts SET created_at = created_at - interval '2 days'`) })
	b.simulator.Stripe().PruneIdempotencyKeys()
}

// The same for what was taken back: the account keeps what else it has.
func TestARestoredBackupTakesNothingBackAgain(t *testing.T) {
	t.Parallel()
	for name, forgotten := range map[string]bool{"within the life of the keys": false, "two days later": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setupPayouts(t)
			b.standard(t)
			b.until(t, first, workflows.ActivitySendPayout)
			b.refuseAtTheBank(t)
			b.must(t, first, workflows.ActivitySendPayout)
			restore := b.backUp(t)
			b.drive(t, first)
			restore()
			if forgotten {
				b.twoDaysPass(t)
			}

			b.drive(t, first)

			require.Equal(t, payout.Failed, b.now(t, first).State)
			require.Equal(t, "1 transfers, 0 payouts, 1 reversals", b.sent())
			require.Equal(t, int64(10_000), b.balance(t))
			b.sound(t)
		})
	}
}

// A payout that waited for days and of which nothing was sent is sent after one look, under its first key.
func TestAnOldPayoutThatWasNotSentIsSent(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.standard(t)
	b.twoDaysPass(t)

	b.drive(t, first)

	require.Equal(t, payout.InTransit, b.now(t, first).State)
	require.Equal(t, "1 transfers, 1 payouts, 0 reversals", b.sent())
	require.Equal(t, []int{1, 1}, []int{b.epoch(t, "transfer"), b.epoch(t, "payout")})
	b.sound(t)
}

// What cannot be looked for is not sent: a person looks, or Stripe answers later.
func TestAnOldPayoutIsNotSentUnlessItWasLookedFor(t *testing.T) {
	t.Parallel()
	b := setupPayouts(t)
	b.standard(t)
	b.twoDaysPass(t)
	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.BadGateway, Method: "GET", PathPrefix: "/v1/transfers"}))

	_, err := b.take(t, first, workflows.ActivityCheckDestination)

	requireFailure(t, err, provider.Transient, true)
	require.Equal(t, payout.Planned, b.now(t, first).State)
	require.NoError(t, b.simulator.ClearFaults())
	b.until(t, first, workflows.ActivitySendPayout)
	b.change(t, func(a *simulator.Account) { a.Revoked = true })
	b.must(t, first, workflows.ActivitySendPayout)
	require.Equal(t, payout.Held, b.now(t, first).State, "whether it was paid out nobody can see")
	require.True(t, strings.HasPrefix(b.sent(), "1 transfers, 0 payouts"))
}
