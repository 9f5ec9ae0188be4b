package activities

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/activity"

	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

// Payouts says how payouts stand in our own database.
type Payouts struct {
	pool   *pgxpool.Pool
	health *provider.HealthStore
}

// NewPayouts makes the activity.
func NewPayouts(pool *pgxpool.Pool) *Payouts {
	return &Payouts{pool: pool, health: provider.NewHealthStore(pool)}
}

// PlanPayout tells how a payout stands, and opens its step if there is something to do.
func (p *Payouts) PlanPayout(ctx context.Context, in workflows.PayoutPlanInput) (workflows.PayoutPlan, error) {
	now, err := payout.GetPayout(ctx, p.pool, in.PayoutID)
	if err != nil {
		return workflows.PayoutPlan{}, asInvalid(err)
	}
	plan := workflows.PayoutPlan{PayeeID: now.PayeeID, Next: nextMove(now)}
	if now.State == payout.Paid && now.Ending == "" || now.State == payout.Held && in.Heard { // it may have gone on there since
		plan.Next.Do = workflows.ActivityReadPayout
	}
	if plan.Next.Do == "" { // a step that waited for what a person has decided since waits no more
		return plan, step.Finish(ctx, p.pool, activity.GetInfo(ctx).WorkflowExecution.ID, workflows.StepPayout, step.Done)
	}
	opened, err := p.open(ctx, now)
	if err != nil {
		return plan, err
	}
	planned, err := planStep(ctx, p.health, opened)
	plan.Steps = []workflows.PlannedStep{planned}
	if planned.Status != step.Pending { // it was its time, and something failed
		plan.Next.At = nil
	}
	return plan, err
}

// open makes sure that the payout's step is there and open.
func (p *Payouts) open(ctx context.Context, now payout.Payout) (step.Step, error) {
	return p.openStep(ctx, step.Step{
		WorkflowID: activity.GetInfo(ctx).WorkflowExecution.ID, Name: workflows.StepPayout, CustomerID: now.PayeeID,
		Provider: provider.Stripe, Status: step.Pending,
	})
}

// openStep makes sure that a step is there and open. One that is parked stays parked.
func (p *Payouts) openStep(ctx context.Context, wanted step.Step) (step.Step, error) {
	known, err := step.ByWorkflow(ctx, p.pool, wanted.WorkflowID)
	if err != nil {
		return wanted, err
	}
	for _, k := range known {
		if k.Name == wanted.Name && !k.Status.Settled() {
			return k, nil
		}
	}
	return wanted, step.Reopen(ctx, p.pool, wanted)
}

// nextMove is what is to be done with a payout as it stands.
func nextMove(p payout.Payout) workflows.PayoutMove {
	move := workflows.PayoutMove{State: p.State}
	switch {
	case p.Method.Rail() != payout.RailStripe, p.State.Releases(), p.State == payout.Held:
	case p.Ending != "":
		move.Do = workflows.ActivityReverseTransfer
	case p.State == payout.Planned:
		move.Do = workflows.ActivityCheckDestination
	case p.State == payout.Sending && p.TransferID == "":
		move.Do = workflows.ActivitySendTransfer
	case p.State == payout.Sending:
		move.Do = workflows.ActivitySendPayout
	case p.State == payout.InTransit:
		at := nextLook(p)
		move.Do, move.At = workflows.ActivityReadPayout, &at
	}
	return move
}

// nextLook is when to look how a payout on its way is, should no webhook tell before. Instant payouts
// take minutes; others come on their day of arrival, or in the days after.
func nextLook(p payout.Payout) time.Time {
	last := p.StateSince
	if p.CheckedAt != nil && p.CheckedAt.After(last) {
		last = *p.CheckedAt
	}
	if p.Method == payout.MethodInstant {
		return last.Add(min(max(last.Sub(p.StateSince), time.Minute), time.Hour))
	}
	const noon, again = 12 * time.Hour, 3 * time.Hour
	if arrives := p.ArrivalDate.Time().Add(noon); !p.ArrivalDate.IsZero() && arrives.After(last) {
		return arrives
	}
	return last.Add(again)
}
