// Package bench measures what Holdfast promises, on a running fleet: the time that a signup takes
// whatever the provider does, what an onboarding costs, and how fast a backlog drains.
package bench

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/holdfast/holdfast/internal/apiclient"
	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/fleet"
	"github.com/holdfast/holdfast/internal/simulator"
)

// Rate is the provider limit that the fleet is to be started with, in calls a second.
const Rate = 40

// figure is one line of the result: what was measured, and what we aim at.
type figure struct {
	what string
	got  string
	aim  string
	met  bool
}

type run struct {
	fleet    *fleet.Fleet
	app      *apiclient.Client
	operator *apiclient.Client
	out      io.Writer
	figures  []figure
}

// Measures are the names of what is measured, in order.
func Measures() []string {
	var names []string
	for _, m := range (&run{}).measures() {
		names = append(names, m.name)
	}
	return names
}

// Run measures everything in one go, or only what is named, and prints the figures beside their aims.
func Run(ctx context.Context, out io.Writer, f *fleet.Fleet, only []string) error {
	r := &run{fleet: f, out: out, app: apiclient.New(f.URL(), fleet.AppKey), operator: apiclient.New(f.URL(), fleet.OperatorKey)}
	for _, m := range r.measures() {
		if len(only) > 0 && !slices.Contains(only, m.name) {
			continue
		}
		if err := m.take(ctx); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return r.print()
}

// measure is one part of the benchmark.
type measure struct {
	name string
	take func(context.Context) error
}

func (r *run) measures() []measure {
	return []measure{
		{"cost", r.cost},
		{"latency", r.latency},
		{"outage", r.outage},
		{"throughput", r.throughput},
		{"acks", r.acks},
		{"reads", r.reads},
		{"backlog", r.backlog},
		{"syncrate", r.syncRate},
		{"memory", r.memory},
		{"payouts", r.payouts},
		{"paypal", r.payPal},
		{"planning", r.planning},
	}
}

func (r *run) notef(format string, args ...any) { fmt.Fprintf(r.out, "  "+format+"\n", args...) }

func (r *run) add(what string, met bool, aim, got string, args ...any) {
	r.figures = append(r.figures, figure{what, fmt.Sprintf(got, args...), aim, met})
}

func (r *run) print() error {
	table := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nMEASURED\tFIGURE\tAIM\t")
	for _, f := range r.figures {
		verdict := ""
		if !f.met {
			verdict = "missed"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", f.what, f.got, f.aim, verdict)
	}
	return table.Flush()
}

// latency compares signups while Stripe answers with signups while it hangs: at a steady pace, in
// turns, so that what else the machine does meets both alike.
func (r *run) latency(ctx context.Context) error {
	const turns, signups, perSecond = 4, 500, 50
	var up, hanging durations
	for turn := range turns {
		r.notef("signups at %d a second, turn %d of %d: while Stripe answers, and while it hangs …", perSecond, turn+1, turns)
		took, err := r.signUpSteadily(ctx, fmt.Sprintf("up_%d", turn), signups, perSecond)
		if err != nil {
			return err
		}
		up = append(up, took...)
		if err := r.awaitQuiet(ctx); err != nil {
			return err
		}
		if err := r.fleet.Simulator.SetFaults(simulator.Fault{Kind: simulator.Hang}); err != nil {
			return err
		}
		if took, err = r.signUpSteadily(ctx, fmt.Sprintf("hanging_%d", turn), signups, perSecond); err != nil {
			return err
		}
		hanging = append(hanging, took...)
		if err := r.fleet.Simulator.ClearFaults(); err != nil {
			return err
		}
		if err := r.awaitQuiet(ctx); err != nil {
			return err
		}
	}
	const aim = 1.1
	p50, p99 := ratio(hanging.percentile(50), up.percentile(50)), ratio(hanging.percentile(99), up.percentile(99))
	r.add("signup latency, Stripe up: p50, p99", true, "", "%s, %s", up.percentile(50), up.percentile(99))
	r.add("signup latency, Stripe hanging: p50, p99", true, "", "%s, %s", hanging.percentile(50), hanging.percentile(99))
	r.add("hanging ÷ up: p50, p99", p50 <= aim && p99 <= aim, "at most 1.1", "%.2f, %.2f", p50, p99)
	return nil
}

// throughput finds out how many signups a second are taken.
func (r *run) throughput(ctx context.Context) error {
	const signups, concurrency, aim = 20_000, 64, 2000
	r.notef("%d signups, %d at a time …", signups, concurrency)
	began := time.Now()
	if _, err := r.signUp(ctx, "throughput", signups, concurrency); err != nil {
		return err
	}
	perSecond := signups / time.Since(began).Seconds()
	r.add("signups a second at concurrency 64", perSecond >= aim, "at least 2,000", "%.0f", perSecond)
	return nil
}

// outage lets customers wait for a provider that is down, and watches what happens when it is back.
func (r *run) outage(ctx context.Context) error {
	const waiting = 1000
	r.notef("%d customers wait for a Stripe that is down …", waiting)
	if err := r.fleet.Simulator.SetFaults(simulator.Fault{Kind: simulator.Unavailable}); err != nil {
		return err
	}
	if err := r.makeOutageKnown(ctx); err != nil {
		return err
	}
	known := time.Now()
	if _, err := r.signUp(ctx, "outage", waiting, 8); err != nil {
		return err
	}
	if err := r.awaitWaiting(ctx, waiting+1); err != nil {
		return err
	}
	calls := r.fleet.Simulator.Calls().Since(known)
	probes := calls.To("GET", "/v1/balance")
	lasted := time.Since(known)

	r.notef("Stripe is back …")
	if err := r.fleet.Simulator.ClearFaults(); err != nil {
		return err
	}
	back := time.Now()
	if err := r.awaitQuiet(ctx); err != nil {
		return err
	}
	made := r.fleet.Simulator.Calls().Since(back).To("POST", "/v1/customers").WithStatus(200)
	if len(made) < waiting {
		return fmt.Errorf("bench: %d customers were made at Stripe after the outage, and %d waited", len(made), waiting)
	}
	first := made[0].AnsweredAt.Sub(back)
	drained := made[len(made)-1].AnsweredAt.Sub(made[0].AnsweredAt)
	share := float64(len(made)) / drained.Seconds() / Rate
	const aimShare, aimFirst = 0.9, 10 * time.Second
	r.add("provider calls in an outage with 1,000 waiting", len(calls) == len(probes), "the gate's probes alone",
		"%d in %s, of which probes %d", len(calls), lasted.Round(time.Second), len(probes))
	r.add("from recovery to the first completion", first < aimFirst, "under 10 s", "%s", first.Round(10*time.Millisecond))
	r.add("completed after the outage, share of the provider's rate", share >= aimShare, "at least 0.9 of 40/s",
		"%.2f (%d in %s)", share, len(made), drained.Round(100*time.Millisecond))
	return nil
}

// makeOutageKnown sends one customer ahead, whose trouble tells the gate.
func (r *run) makeOutageKnown(ctx context.Context) error {
	if _, err := r.signUp(ctx, "scout", 1, 1); err != nil {
		return err
	}
	return await(ctx, "the gate to know that Stripe is down", func() (bool, error) {
		state, _, err := r.stripe(ctx)
		return state == "down", err
	})
}

func (r *run) stripe(ctx context.Context) (state string, waiting int64, err error) {
	providers, err := r.operator.Providers(ctx)
	for _, p := range providers {
		if p.Provider == "stripe" {
			return p.State, p.Waiting, err
		}
	}
	return "", 0, err
}

func (r *run) awaitWaiting(ctx context.Context, n int64) error {
	return await(ctx, fmt.Sprintf("%d steps to wait", n), func() (bool, error) {
		_, waiting, err := r.stripe(ctx)
		return waiting >= n, err
	})
}

// awaitQuiet waits until no step is open and the provider is up.
func (r *run) awaitQuiet(ctx context.Context) error {
	return await(ctx, "every step to be done and Stripe to be up", func() (bool, error) {
		var open int
		err := r.fleet.Pool.QueryRow(ctx, `SELECT count(*) FROM steps WHERE status NOT IN ('done', 'skipped')`).Scan(&open)
		if err != nil || open > 0 {
			return false, err
		}
		state, _, err := r.stripe(ctx)
		return state == "up", err
	})
}

func profile(id string) customer.Profile {
	return customer.Profile{ID: id, Email: id + "@example.com", Name: "Customer " + id, Country: "US"}
}
