package payout_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
)

// Planning a run is to grow with the number of payees and no faster, in time, and not at all in memory.
func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				plan := newPlanning(b, n)
				b.StartTimer()
				plan.run(b)
			}
		})
	}
}

// planningBench is a platform with many payees, all of them due.
type planningBench struct {
	bundle

	payees int
}

func newPlanning(b *testing.B, n int) planningBench {
	b.Helper()
	pool := postgrestest.New(b)
	for _, statement := range []string{
		`INSERT INTO customers (id, email, content_hash) SELECT 'u_' || n, 'u_' || n || '@example.com', '' FROM generate_series(1, $1::int) n`,
		`INSERT INTO payees (id, email, country, currency, rail, stripe_account_id, schedule, destination_id, destination_changed_at, content_hash, created_at)
			SELECT 'u_' || n, 'u_' || n || '@example.com', 'US', 'usd', 'stripe', 'acct_' || n, 'weekly', 'ba_1', '2026-01-01', '', '2026-02-28'
			FROM generate_series(1, $1::int) n`,
		`INSERT INTO payee_accounts (stripe_account_id, payee_id, country, currency, schedule_interval, payouts_enabled, external_account_id, external_currency, as_of)
			SELECT 'acct_' || n, 'u_' || n, 'US', 'usd', 'manual', true, 'ba_1', 'usd', now() FROM generate_series(1, $1::int) n`,
		`WITH t AS (
				INSERT INTO ledger_transactions (event, currency, source, dated)
				SELECT 'earning', 'usd', 'earning/u_' || n || '/' || e, date '2026-02-27' - e FROM generate_series(1, $1::int) n, generate_series(1, 5) e
				RETURNING id, dated, split_part(source, '/', 2) AS payee)
			INSERT INTO ledger_entries (transaction_id, event, account, owner, currency, amount, dated)
			SELECT id, 'earning', account, owner, 'usd', amount, dated FROM t, LATERAL (VALUES ('app', '', 2000), ('payee', payee, -2000)) AS e (account, owner, amount)`,
	} {
		_, err := pool.Exec(b.Context(), statement, n)
		require.NoError(b, err)
	}
	_, err := pool.Exec(b.Context(), `ANALYZE`)
	require.NoError(b, err)
	work := work()
	return planningBench{bundle{pool: pool, store: payout.NewStore(pool, payout.DefaultPolicy(), feed.NewWriter(nil), work)}, n}
}

func (p planningBench) run(b *testing.B) {
	b.Helper()
	ctx := b.Context()
	now, err := postgres.Now(ctx, p.pool)
	require.NoError(b, err)
	require.NoError(b, p.store.RecordFunds(ctx, payout.RailStripe, []money.Amount{cents(int64(p.payees) * 20_000)}, now))
	run, _, err := p.store.BeginRun(ctx, fridayOf(b), "schedule", "")
	require.NoError(b, err)
	began, looked := time.Now(), time.Duration(0)
	var most uint64
	planned := 0
	for {
		slice, err := p.store.PlanSlice(ctx, run.Date, 500)
		require.NoError(b, err)
		planned += slice.Planned
		if slice.Looked > 0 {
			looked = time.Since(began)
		}
		if slice.Done {
			break
		}
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		most = max(most, memory.HeapAlloc)
	}
	_, err = p.store.ConfirmComputed(ctx, run.Date)
	require.NoError(b, err)
	b.ReportMetric(time.Since(began).Seconds(), "s/plan")
	b.ReportMetric(looked.Seconds(), "s/look")
	b.ReportMetric(float64(most)/(1<<20), "MB/heap")
	began = time.Now()
	for {
		handed, err := p.store.HandOver(ctx, run.Date, 500)
		require.NoError(b, err)
		if handed.Done {
			break
		}
	}
	b.ReportMetric(time.Since(began).Seconds(), "s/handover")
	require.Equal(b, p.payees, planned)
}

func fridayOf(b *testing.B) date.Date {
	b.Helper()
	on, err := date.Parse(friday)
	require.NoError(b, err)
	return on
}
