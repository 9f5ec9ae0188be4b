package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

// payPal measures what payouts by PayPal cost in batches: calls, Temporal actions, time and memory.
// PayPal takes two seconds for a batch, and tells of each item by webhook.
func (r *run) payPal(ctx context.Context) error {
	if err := r.fleet.Simulator.PayPal().SetPayouts(simulator.PayPalPayoutSettings{ProcessingMS: 1000}); err != nil {
		return err
	}
	today := date.Of(time.Now())
	small, err := r.payByPayPal(ctx, "few", today.AddDays(-6), 1_000)
	if err != nil {
		return err
	}
	large, err := r.payByPayPal(ctx, "many", today.AddDays(-5), 10_000)
	if err != nil {
		return err
	}
	const aimCalls, aimActions, flat = 0.05, 0.1, 1.25
	r.add("10,000 payouts by PayPal, from the approval until all are paid", true, "", "%s (%.0f a second)", large.took.Round(100*time.Millisecond), float64(large.payouts)/large.took.Seconds())
	r.add("calls to PayPal per payout", large.each(large.calls) <= aimCalls, "at most 0.05", "%.3f", large.each(large.calls))
	r.add("Temporal actions per payout, its run's and its batch's", large.each(large.actions) <= aimActions, "at most 0.1", "%.3f", large.each(large.actions))
	r.add("worker's memory with 1,000 and with 10,000 payouts, MB", float64(large.memory) <= flat*float64(small.memory), "flat", "%d, %d", small.memory, large.memory)
	return nil
}

// paidByPayPal is what it took to pay so many payouts.
type paidByPayPal struct {
	payouts, calls, actions int
	took                    time.Duration
	memory                  int64 // the most that the worker was seen to hold, in MB
}

func (p paidByPayPal) each(n int) float64 { return float64(n) / float64(p.payouts) }

// payByPayPal has a run pay so many payees by PayPal.
func (r *run) payByPayPal(ctx context.Context, prefix string, on date.Date, payees int) (paidByPayPal, error) {
	paid := paidByPayPal{payouts: payees}
	if err := r.makePayees(ctx, "paypal_"+prefix, payees, payout.RailPayPal); err != nil {
		return paid, err
	}
	began := time.Now()
	planning, err := r.plan(ctx, on)
	if err != nil {
		return paid, err
	}
	r.notef("%d payouts are sent to PayPal …", payees)
	approved := time.Now()
	if _, err := r.operator.ApprovePayoutRun(ctx, on.String(), "benchmark"); err != nil {
		return paid, err
	}
	paying, err := r.awaitPaid(ctx, on, payees)
	if err != nil {
		return paid, err
	}
	paid.took, paid.memory = time.Since(approved), max(planning, paying)
	if paid.actions, err = r.actionsOf(ctx, on); err != nil {
		return paid, err
	}
	paid.calls = len(r.fleet.Simulator.Calls().Since(began).Where(func(c simulator.Call) bool { return c.Provider == "paypal" }))
	return paid, nil
}

// awaitPaid waits until all of a run's payouts are paid. It gives the most memory, in MB, that the worker
// was seen to hold meanwhile.
func (r *run) awaitPaid(ctx context.Context, on date.Date, payouts int) (peak int64, err error) {
	err = await(ctx, "every payout to be paid", func() (bool, error) {
		used, err := r.fleet.Memory(ctx)
		if err != nil {
			return false, err
		}
		peak = max(peak, used.Worker/(1<<20))
		var paid int
		err = r.fleet.Pool.QueryRow(ctx, `SELECT count(*) FROM payouts WHERE run_date = $1 AND state = 'paid'`, on).Scan(&paid)
		return paid == payouts, err
	})
	return peak, err
}

// actionsOf counts the actions of a run's workflow and of all its batches', once they have ended.
func (r *run) actionsOf(ctx context.Context, on date.Date) (actions int, err error) {
	rows, err := r.fleet.Pool.Query(ctx, `SELECT id FROM paypal_batches WHERE run_date = $1`, on)
	if err != nil {
		return 0, err
	}
	batches, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return 0, err
	}
	all := []string{workflows.PayoutRunID(on)}
	for _, id := range batches {
		all = append(all, workflows.PayPalBatchID(id))
	}
	for _, id := range all {
		t, err := r.tally(ctx, id)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", id, err)
		}
		actions += t.actions
	}
	return actions, nil
}
