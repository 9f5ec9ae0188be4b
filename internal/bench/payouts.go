package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

// PayoutSettings are what the fleet is to be started with: runs wait for an approval, so that what is
// planned is sent when the benchmark says so.
func PayoutSettings() []string { return []string{"HOLDFAST_PAYOUT_APPROVAL_ABOVE=usd=0.00"} }

// payoutsRoute is where payouts are made on connected accounts.
const payoutsRoute = "/v1/payouts"

// planning measures how long a run takes to work out who gets what, and what memory that takes, for
// more and more payees. Everybody has two earnings and is due.
func (r *run) planning(ctx context.Context) error {
	const aimSeconds, aimMemory = 60, 300
	sizes := []int{1_000, 10_000, 100_000}
	for i, n := range sizes {
		prefix := fmt.Sprintf("planning%d", n)
		if err := r.makePayees(ctx, prefix, n, payout.RailStripe); err != nil {
			return err
		}
		on := date.Of(time.Now()).AddDays(i - len(sizes) - 1)
		r.notef("the payouts of %d payees are planned …", n)
		peak, err := r.plan(ctx, on)
		if err != nil {
			return err
		}
		planned, took, err := r.plannedIn(ctx, on)
		if err != nil {
			return err
		}
		if planned != n {
			return fmt.Errorf("bench: %d payouts were planned for %d payees", planned, n)
		}
		met, aim := peak < aimMemory, "worker below 300 MB"
		if n == sizes[len(sizes)-1] {
			met, aim = met && took.Seconds() < aimSeconds, "under 60 s, "+aim
		}
		r.add(fmt.Sprintf("planning for %d payees; each; worker's memory, MB", n), met, aim,
			"%s; %s; %d", took.Round(10*time.Millisecond), (took / time.Duration(n)).Round(time.Microsecond), peak)
	}
	return nil
}

// payeesOn are the statements that make payees of a rail for the prefix $1, numbered up to $2: as customers,
// with a destination, and with earnings.
func payeesOn(rail payout.Rail) []string {
	customers := []string{
		`INSERT INTO customers (id, email, content_hash, stripe_customer_id, stripe_bound_at)
			SELECT $1 || '_' || n, 'payee@example.com', '', 'cus_' || $1 || n, now() FROM generate_series(0, $2::int - 1) n`,
		`INSERT INTO steps (workflow_id, name, customer_id, provider, status)
			SELECT 'onboarding/' || $1 || '_' || n, 'stripe_customer', $1 || '_' || n, 'stripe', 'done' FROM generate_series(0, $2::int - 1) n`,
	}
	onStripe := []string{
		`INSERT INTO payees (id, email, country, currency, rail, stripe_account_id, schedule, destination_id, content_hash, last_cycle)
			SELECT $1 || '_' || n, 'payee@example.com', 'US', 'usd', 'stripe', 'acct_' || $1 || n, 'weekly', 'ba_' || $1 || n, '', current_date - 14
			FROM generate_series(0, $2::int - 1) n`,
		`INSERT INTO payee_accounts (stripe_account_id, payee_id, country, currency, schedule_interval, payouts_enabled,
				external_account_id, external_currency, as_of)
			SELECT 'acct_' || $1 || n, $1 || '_' || n, 'US', 'usd', 'manual', true, 'ba_' || $1 || n, 'usd', now() FROM generate_series(0, $2::int - 1) n`,
	}
	onPayPal := []string{
		`INSERT INTO payees (id, email, country, currency, rail, paypal_email, schedule, content_hash, last_cycle)
			SELECT $1 || '_' || n, 'payee@example.com', 'US', 'usd', 'paypal', 'ok-' || $1 || n || '@example.com', 'weekly', '', current_date - 14
			FROM generate_series(0, $2::int - 1) n`,
	}
	earnings := []string{
		`INSERT INTO earnings (payee_id, id, kind, amount, currency, occurred_at, content_hash)
			SELECT $1 || '_' || n, 'sale_' || s, 'sale', 1000 + n % 5000, 'usd', current_date - 30 - s, ''
			FROM generate_series(0, $2::int - 1) n, generate_series(1, 2) s`,
		`INSERT INTO ledger_transactions (event, currency, source, dated)
			SELECT 'earning', 'usd', 'earning/' || $1 || '_' || n || '/sale_' || s, current_date - 30 - s
			FROM generate_series(0, $2::int - 1) n, generate_series(1, 2) s`,
		`INSERT INTO ledger_entries (transaction_id, event, account, owner, currency, amount, dated)
			SELECT t.id, t.event, side.account, side.owner, 'usd', side.sign * e.amount, t.dated
			FROM generate_series(0, $2::int - 1) n
				JOIN earnings e ON e.payee_id = $1 || '_' || n
				JOIN ledger_transactions t ON t.source = 'earning/' || e.payee_id || '/' || e.id AND t.source <> ''
				CROSS JOIN LATERAL (VALUES ('app', '', 1), ('payee', e.payee_id, -1)) AS side (account, owner, sign)`,
	}
	if rail == payout.RailPayPal {
		return slices.Concat(customers, onPayPal, earnings)
	}
	return slices.Concat(customers, onStripe, earnings)
}

// makePayees makes payees who have earned and are due, behind everybody's back and without accounts at
// Stripe: what is measured with them does not get that far. Who is there already is due no more.
func (r *run) makePayees(ctx context.Context, prefix string, n int, rail payout.Rail) error {
	r.notef("%d payees are made …", n)
	const plenty = 900_000_000_000
	if err := errors.Join(r.fleet.Simulator.Stripe().SetPlatformBalance("usd", plenty), r.fleet.Simulator.PayPal().SetPayPalBalance("USD", plenty)); err != nil {
		return err
	}
	err := postgres.InTx(ctx, r.fleet.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE payees SET last_cycle = 'tomorrow'`); err != nil {
			return err
		}
		for _, statement := range payeesOn(rail) {
			if _, err := tx.Exec(ctx, statement, prefix, n); err != nil {
				return fmt.Errorf("make payees: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = r.fleet.Pool.Exec(ctx, `ANALYZE`)
	return err
}

// plan starts a date's run and waits until everything is planned. It gives the most memory, in MB, that
// the worker was seen to hold meanwhile.
func (r *run) plan(ctx context.Context, on date.Date) (peak int64, err error) {
	if _, _, err := r.operator.StartPayoutRun(ctx, on.String()); err != nil {
		return 0, err
	}
	err = await(ctx, "the run to be planned", func() (bool, error) {
		used, err := r.fleet.Memory(ctx)
		if err != nil {
			return false, err
		}
		peak = max(peak, used.Worker/(1<<20))
		var state string
		err = r.fleet.Pool.QueryRow(ctx, `SELECT state FROM payout_runs WHERE date = $1`, on).Scan(&state)
		return state == "awaiting_approval", err
	})
	return peak, err
}

// plannedIn is how many payouts a run has planned, and how long that took.
func (r *run) plannedIn(ctx context.Context, on date.Date) (planned int, took time.Duration, err error) {
	var seconds float64
	err = r.fleet.Pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM payouts WHERE run_date = date), extract(epoch FROM computed_at - started_at)::float8
		FROM payout_runs WHERE date = $1`, on).Scan(&planned, &seconds)
	return planned, time.Duration(seconds * float64(time.Second)), err
}

// payouts measures how much of the provider's limit a run uses when it pays, what each payout costs at
// Temporal, and how soon a backlog is sent after an outage.
func (r *run) payouts(ctx context.Context) error {
	const payouts = 500
	today := date.Of(time.Now())
	stripe := r.fleet.Simulator.Stripe()
	stripe.SetRateLimit(readRate)
	defer stripe.SetRateLimit(0)
	if err := r.fleet.StopWorkers(); err != nil {
		return err
	}
	if err := r.fleet.StartWorkerAt(ctx, workerRate); err != nil {
		return err
	}
	if err := r.payAll(ctx, "paid", today, payouts); err != nil {
		return err
	}
	if err := r.payoutCost(ctx, today); err != nil {
		return err
	}
	return r.payAfterOutage(ctx, "late", today.AddDays(-1), payouts)
}

// payAll has a run pay, and measures the share of the provider's limit that it used.
func (r *run) payAll(ctx context.Context, prefix string, on date.Date, payouts int) error {
	if err := r.planFor(ctx, prefix, on, payouts); err != nil {
		return err
	}
	r.notef("%d payouts are sent to a Stripe that takes %d calls a second …", payouts, readRate)
	began := time.Now()
	if _, err := r.operator.ApprovePayoutRun(ctx, on.String(), "benchmark"); err != nil {
		return err
	}
	if err := r.awaitSent(ctx, on, payouts); err != nil {
		return err
	}
	calls := r.fleet.Simulator.Calls().Since(began)
	sent := calls.To(http.MethodPost, payoutsRoute).WithStatus(http.StatusOK)
	if len(sent) < payouts {
		return fmt.Errorf("bench: %d payouts were made at Stripe, of %d", len(sent), payouts)
	}
	answered := calls.WithStatus(http.StatusOK)
	took := answered[len(answered)-1].AnsweredAt.Sub(answered[0].AnsweredAt)
	share := float64(len(answered)) / took.Seconds() / readRate
	limited := len(calls.WithStatus(http.StatusTooManyRequests))
	const aim = 0.9
	r.add("payouts a second at 50 calls a second; calls each; share of the limit", share >= aim, "at least 0.9",
		"%.1f; %.1f; %.2f (%d in %s)", float64(payouts)/took.Seconds(), float64(len(answered))/float64(payouts), share, payouts, took.Round(100*time.Millisecond))
	r.add("429s seen meanwhile", limited == 0, "0", "%d", limited)
	return nil
}

// planFor makes payees with accounts at Stripe and plans their payouts.
func (r *run) planFor(ctx context.Context, prefix string, on date.Date, n int) error {
	if err := r.makePayees(ctx, prefix, n, payout.RailStripe); err != nil {
		return err
	}
	for i := range n {
		account := simulator.Account{
			ID:               fmt.Sprintf("acct_%s%d", prefix, i),
			ExternalAccounts: []simulator.ExternalAccount{{ID: fmt.Sprintf("ba_%s%d", prefix, i)}},
		}
		if _, err := r.fleet.Simulator.Stripe().PutAccount(account); err != nil {
			return err
		}
	}
	_, err := r.plan(ctx, on)
	return err
}

// awaitSent waits until a run's payouts are on their way or there.
func (r *run) awaitSent(ctx context.Context, on date.Date, n int) error {
	return await(ctx, "every payout to be sent", func() (bool, error) {
		var sent int
		err := r.fleet.Pool.QueryRow(ctx, `SELECT count(*) FROM payouts WHERE run_date = $1 AND state IN ('in_transit', 'paid')`, on).Scan(&sent)
		return sent >= n, err
	})
}

// payoutCost has the banks book what was sent, and counts what payouts that met no trouble cost, from
// real histories.
func (r *run) payoutCost(ctx context.Context, on date.Date) error {
	stripe := r.fleet.Simulator.Stripe()
	if err := stripe.SetPayoutSettlement(simulator.PayoutSettlement{Automatic: true}); err != nil {
		return err
	}
	err := await(ctx, "every payout to be paid", func() (bool, error) {
		var open int
		err := r.fleet.Pool.QueryRow(ctx, `SELECT count(*) FROM payouts WHERE run_date = $1 AND state <> 'paid'`, on).Scan(&open)
		return open == 0, err
	})
	if err := errors.Join(err, stripe.SetPayoutSettlement(simulator.PayoutSettlement{})); err != nil {
		return err
	}
	const sample = 50
	rows, err := r.fleet.Pool.Query(ctx, `SELECT id FROM payouts WHERE run_date = $1 ORDER BY id LIMIT $2`, on, sample)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	worst, all := tally{}, tally{}
	for _, id := range ids {
		t, err := r.tally(ctx, workflows.PayoutID(id))
		if err != nil {
			return err
		}
		worst.actions, worst.events = max(worst.actions, t.actions), max(worst.events, t.events)
		all.actions, all.events = all.actions+t.actions, all.events+t.events
	}
	const aimActions, aimEvents = 8, 60
	mean := func(sum int) float64 { return float64(sum) / float64(len(ids)) }
	r.add("Temporal actions of a payout, mean; at most", mean(all.actions) <= aimActions, "8", "%.1f; %d", mean(all.actions), worst.actions)
	r.add("history events of a payout, mean; at most", mean(all.events) <= aimEvents, "60", "%.1f; %d", mean(all.events), worst.events)
	return nil
}

// payAfterOutage has a run pay while Stripe is down, and measures how long after its end the last payout
// was sent.
func (r *run) payAfterOutage(ctx context.Context, prefix string, on date.Date, payouts int) error {
	if err := r.planFor(ctx, prefix, on, payouts); err != nil {
		return err
	}
	r.notef("%d payouts wait for a Stripe that is down …", payouts)
	if err := r.fleet.Simulator.SetFaults(simulator.Fault{Kind: simulator.Unavailable}); err != nil {
		return err
	}
	if _, err := r.operator.ApprovePayoutRun(ctx, on.String(), "benchmark"); err != nil {
		return err
	}
	if err := r.awaitWaiting(ctx, int64(payouts)); err != nil {
		return err
	}
	if err := r.fleet.Simulator.ClearFaults(); err != nil {
		return err
	}
	r.notef("Stripe is back …")
	back := time.Now()
	if err := r.awaitSent(ctx, on, payouts); err != nil {
		return err
	}
	calls := r.fleet.Simulator.Calls().Since(back)
	sent := calls.To(http.MethodPost, payoutsRoute).WithStatus(http.StatusOK)
	last := sent[len(sent)-1].AnsweredAt
	needed := len(calls.WithStatus(http.StatusOK))
	least := time.Duration(float64(needed) / readRate * float64(time.Second))
	const aim = 1.2
	r.add("from the end of an outage to the last payout sent, as a multiple of backlog ÷ limit", ratio(last.Sub(back), least) <= aim, "at most 1.2",
		"%.2f (%d in %s)", ratio(last.Sub(back), least), payouts, last.Sub(back).Round(100*time.Millisecond))
	return nil
}
