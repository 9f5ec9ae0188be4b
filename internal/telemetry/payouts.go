package telemetry

import (
	"context"
	"errors"
	"math"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
)

// payoutGauges are what is shown of payouts.
type payoutGauges struct {
	open, late, enabled, runs, forced, partReversed, paidTwice metric.Int64ObservableGauge
	oldest, missing, lastRun, unlooked                         metric.Float64ObservableGauge
}

// WatchPayouts shows how payouts, runs and the platform's funds stand, from what payout.Store.Measure
// reads. All replicas show the same.
func (t *Telemetry) WatchPayouts(read func(context.Context) (payout.Measured, error)) error {
	g, err := newPayoutGauges(t.meter)
	if err != nil {
		return err
	}
	payouts := newReading(t.gauges, "payouts", read)
	_, err = t.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		if m, ok := payouts.get(ctx); ok {
			g.observe(o, m)
		}
		return nil
	}, g.open, g.late, g.enabled, g.runs, g.forced, g.partReversed, g.paidTwice, g.oldest, g.missing, g.lastRun, g.unlooked)
	return err
}

func newPayoutGauges(meter metric.Meter) (payoutGauges, error) {
	var (
		g    payoutGauges
		errs [11]error
	)
	g.open, errs[0] = meter.Int64ObservableGauge("holdfast_payouts_open",
		metric.WithDescription("Payouts that have not ended, by state and currency."))
	g.oldest, errs[1] = meter.Float64ObservableGauge("holdfast_payouts_oldest_age", metric.WithUnit("s"),
		metric.WithDescription("For how long the payout has been in its state that has been longest, by state and currency; 0 when there is none."))
	g.late, errs[2] = meter.Int64ObservableGauge("holdfast_payouts_late",
		metric.WithDescription("Payouts in transit that should have arrived by now, by currency."))
	g.missing, errs[3] = meter.Float64ObservableGauge("holdfast_payout_funds_missing",
		metric.WithDescription("What the platform lacked to pay everybody in the last run, by provider and currency, in units of the currency."))
	g.enabled, errs[4] = meter.Int64ObservableGauge("holdfast_payouts_enabled",
		metric.WithDescription("1 while the kill switch lets payouts be sent, else 0."))
	g.lastRun, errs[5] = meter.Float64ObservableGauge("holdfast_payout_last_run_age", metric.WithUnit("s"),
		metric.WithDescription("Time since the beginning, in UTC, of the day of the newest run; missing before the first."))
	g.runs, errs[6] = meter.Int64ObservableGauge("holdfast_payout_runs_open",
		metric.WithDescription("Runs that have not ended, by state."))
	g.forced, errs[7] = meter.Int64ObservableGauge("holdfast_payouts_forced",
		metric.WithDescription("Payouts that an operator has resolved by force within a day."))
	g.unlooked, errs[8] = meter.Float64ObservableGauge("holdfast_payouts_unlooked_age", metric.WithUnit("s"),
		metric.WithDescription("For how long the payout under way has not been looked at that has not been for longest; 0 when there is none."))
	g.partReversed, errs[9] = meter.Int64ObservableGauge("holdfast_payouts_part_reversed",
		metric.WithDescription("Parts of paid payouts that PayPal was found, within a day, to have taken back."))
	g.paidTwice, errs[10] = meter.Int64ObservableGauge("holdfast_payouts_paid_twice",
		metric.WithDescription("Payouts that were found, within a day, to have been paid by PayPal although their money had been released."))
	return g, errors.Join(errs[:]...)
}

func (g payoutGauges) observe(o metric.Observer, m payout.Measured) {
	late := map[money.Currency]int{}
	for _, open := range m.Open {
		of := metric.WithAttributes(attribute.String("state", string(open.State)), attribute.String("currency", string(open.Currency)))
		o.ObserveInt64(g.open, int64(open.Payouts), of)
		o.ObserveFloat64(g.oldest, max(m.At.Sub(open.Oldest).Seconds(), 0), of)
		late[open.Currency] += open.Late
	}
	for currency, payouts := range late {
		o.ObserveInt64(g.late, int64(payouts), metric.WithAttributes(attribute.String("currency", string(currency))))
	}
	for _, lack := range m.Missing {
		o.ObserveFloat64(g.missing, float64(lack.Missing)/math.Pow10(lack.Currency.Exponent()),
			metric.WithAttributes(attribute.String("provider", string(lack.Rail)), attribute.String("currency", string(lack.Currency))))
	}
	for state, runs := range m.Runs {
		o.ObserveInt64(g.runs, int64(runs), metric.WithAttributes(attribute.String("state", string(state))))
	}
	var enabled int64
	if m.Enabled {
		enabled = 1
	}
	o.ObserveInt64(g.enabled, enabled)
	o.ObserveInt64(g.forced, int64(m.Forced))
	o.ObserveInt64(g.partReversed, int64(m.PartReversed))
	o.ObserveInt64(g.paidTwice, int64(m.PaidTwice))
	o.ObserveFloat64(g.unlooked, m.Unlooked.Seconds())
	if !m.LastRun.IsZero() {
		o.ObserveFloat64(g.lastRun, m.At.Sub(m.LastRun.Time()).Seconds())
	}
}
