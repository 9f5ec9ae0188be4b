package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"

	"go.temporal.io/api/enums/v1"

	"github.com/holdfast/holdfast/workflows"
)

// expectation is a line of the final table: what was promised, and what is true.
type expectation struct {
	where    string
	what     string
	expected int
	found    func(context.Context) (int, error)
}

// errExpectations is the end of a demo in which something was not as it was told.
var errExpectations = errors.New("demo: an expectation did not hold")

// conclude holds what was told against Postgres, Temporal and the provider.
func (s *story) conclude(ctx context.Context) error {
	s.chapter("What was expected, and what is true")
	if err := s.awaitProvider(ctx, "up"); err != nil {
		return err
	}
	if err := s.showSubscriptions(ctx); err != nil {
		return err
	}
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "   WHERE\tWHAT\tEXPECTED\tFOUND\t")
	held := true
	for _, e := range slices.Concat(s.expectations(), s.payoutExpectations()) {
		found, err := e.found(ctx)
		if err != nil {
			return fmt.Errorf("look for %s: %w", e.what, err)
		}
		verdict := "ok"
		if found != e.expected {
			verdict, held = "NOT SO", false
		}
		fmt.Fprintf(table, "   %s\t%s\t%d\t%d\t%s\n", e.where, e.what, e.expected, found, verdict)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if !held {
		return errExpectations
	}
	s.sayf("Every expectation held.")
	return nil
}

func (s *story) expectations() []expectation {
	all := len(s.customers)
	return []expectation{
		{"Postgres", "customers who signed up", all, s.count(`SELECT count(*) FROM customers`)},
		{"Postgres", "customers with a confirmed Stripe customer", all, s.count(`SELECT count(*) FROM customers WHERE stripe_bound_at IS NOT NULL`)},
		{"Postgres", "steps that are not over", 0, s.count(`SELECT count(*) FROM steps WHERE status NOT IN ('done', 'skipped')`)},
		{"Postgres", "messages not yet handed to Temporal", 0, s.count(`SELECT count(*) FROM outbox WHERE delivered_at IS NULL`)},
		{"API", "customers that are ready", all, s.ready},
		{"Temporal", "onboardings that completed", all, s.completed},
		{"Stripe", "customers", all, s.stripeCustomers},
		{"Stripe", "accounts with more than one customer", 0, func(context.Context) (int, error) {
			return len(s.fleet.Simulator.Stripe().Audit().Duplicates), nil
		}},
		{"Stripe", "writes without an idempotency key", 0, func(context.Context) (int, error) {
			return s.fleet.Simulator.PostsWithoutKey(), nil
		}},
		{"Postgres = Stripe", "ids that agree", all, s.agreeing},
		{"Stripe", "promised discounts applied", 1, s.discounts},
		{"API = providers", "subscriptions that agree", len(s.subscribers), s.agreeingSubscriptions},
		{"Postgres", "webhooks stored, of all that were sent", s.events(), s.count(`SELECT count(*) FROM webhook_events`)},
		{"Postgres", "customers still to be read", 0, s.count(`SELECT count(*) FROM subscription_syncs WHERE marks > covered`)},
		{"Postgres", "gaps in the feed of changes", 0, s.count(`SELECT coalesce(max(seq), 0) - count(*) FROM changes`)},
	}
}

func (s *story) count(sql string) func(context.Context) (int, error) {
	return func(ctx context.Context) (n int, err error) {
		err = s.fleet.Pool.QueryRow(ctx, sql).Scan(&n)
		return n, err
	}
}

func (s *story) ready(ctx context.Context) (n int, err error) {
	for _, id := range s.customers {
		c, err := s.app.Customer(ctx, id)
		if err != nil {
			return n, err
		}
		if c.Status == "ready" {
			n++
		}
	}
	return n, nil
}

// completed counts the onboardings that Temporal has as completed. The last ones may be a moment
// behind what Postgres shows, since a workflow ends after its last step.
func (s *story) completed(ctx context.Context) (n int, err error) {
	for _, id := range s.customers {
		if err := s.fleet.Temporal.GetWorkflow(ctx, workflows.OnboardingID(id), "").Get(ctx, nil); err != nil {
			return n, err
		}
		described, err := s.fleet.Temporal.DescribeWorkflowExecution(ctx, workflows.OnboardingID(id), "")
		if err != nil {
			return n, err
		}
		if described.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED {
			n++
		}
	}
	return n, nil
}

func (s *story) stripeCustomers(context.Context) (n int, err error) {
	for _, c := range s.fleet.Simulator.Stripe().Customers() {
		if !c.Deleted {
			n++
		}
	}
	return n, nil
}

// agreeing counts the Stripe customers whose account, by their metadata, has their id in Postgres.
func (s *story) agreeing(ctx context.Context) (n int, err error) {
	for _, c := range s.fleet.Simulator.Stripe().Customers() {
		var bound string
		err := s.fleet.Pool.QueryRow(ctx, `SELECT coalesce(stripe_customer_id, '') FROM customers WHERE id = $1`,
			c.Metadata["holdfast_customer_id"]).Scan(&bound)
		if err != nil {
			return n, err
		}
		if bound == c.ID {
			n++
		}
	}
	return n, nil
}

func (s *story) discounts(context.Context) (n int, err error) {
	for _, c := range s.fleet.Simulator.Stripe().Customers() {
		if c.PromotionCode != "" {
			n++
		}
	}
	return n, nil
}
