package activities

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/activity"

	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

// How often a batch at PayPal is read: soon after it was sent, then ever more rarely.
const (
	firstReadWait = 15 * time.Second
	longReadWait  = time.Hour
	rareReadsFrom = 2 * 24 * time.Hour // from the third day,
	rareReadWait  = 6 * time.Hour
	// readGap is between two reads, whatever is heard.
	readGap = 10 * time.Second
)

// PayPalPayouts makes the moves of batches of payouts at PayPal. Each changes one thing there at most,
// records what came of it, and says what the next move is.
type PayPalPayouts struct {
	pool     *pgxpool.Pool
	payouts  *payout.Store
	client   *paypal.Client
	attempts *attempts
	writer   *writer
	turns    waiter
}

// NewPayPalPayouts makes the activities. A nil client is a PayPal that is not configured; turns is the
// limiter of this process for all calls of moves, since one may make many.
func NewPayPalPayouts(
	pool *pgxpool.Pool, payouts *payout.Store, client *paypal.Client, breaker *provider.Breaker, turns waiter, log *slog.Logger,
) *PayPalPayouts {
	return &PayPalPayouts{
		pool: pool, payouts: payouts, client: client, turns: turns,
		attempts: newAttempts(pool, provider.PayPal, breaker, client != nil, log),
		writer:   &writer{pool: pool, requests: provider.NewRequests()},
	}
}

// PlanPayPalBatch tells how a batch stands, and opens its step if there is something to do.
func (p *Payouts) PlanPayPalBatch(ctx context.Context, in workflows.PlanPayPalBatchInput) (workflows.PayPalBatchPlan, error) {
	b, err := payout.GetBatch(ctx, p.pool, in.BatchID)
	if err != nil {
		return workflows.PayPalBatchPlan{}, asInvalid(err)
	}
	plan := workflows.PayPalBatchPlan{Next: nextBatchMove(b)}
	if in.Look && plan.Next.Do == "" && isAtPayPal(b) {
		plan.Next.Do, plan.Next.NotBefore = workflows.ActivityReadPayPalBatch, soonestRead(b)
	}
	if in.Look && plan.Next.Do == "" { // there is nothing to look at, which settles what was heard
		if err := payout.BatchChecked(ctx, p.pool, b.ID); err != nil {
			return plan, err
		}
	}
	workflowID := activity.GetInfo(ctx).WorkflowExecution.ID
	if plan.Next.Do == "" { // a step that waited for what a person has decided since waits no more
		return plan, step.Finish(ctx, p.pool, workflowID, workflows.StepPayPalBatch, step.Done)
	}
	opened, err := p.openStep(ctx, step.Step{
		WorkflowID: workflowID, Name: workflows.StepPayPalBatch, Provider: provider.PayPal, Status: step.Pending,
	})
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

// isAtPayPal says that there is, or may be, something at PayPal to look at: also of a batch that a person
// has ended, or that PayPal has refused, when PayPal tells of it after all.
func isAtPayPal(b payout.Batch) bool {
	over := b.State == payout.BatchEnded || b.State == payout.BatchSplit
	return b.PayPalBatchID != "" || b.State == payout.BatchHeld || over && b.HintedID != ""
}

// nextBatchMove is what is to be done with a batch as it stands. One that PayPal was found to have is
// read at least once: its payouts may be held until then, or have ended otherwise.
func nextBatchMove(b payout.Batch) workflows.PayPalBatchMove {
	move := workflows.PayPalBatchMove{State: string(b.State)}
	switch {
	case b.State == payout.BatchOpen || b.State == payout.BatchSending:
		move.Do = workflows.ActivitySendPayPalBatch
	case b.State == payout.BatchSent && b.Open > 0:
		at := nextRead(b)
		move.Do, move.At, move.NotBefore = workflows.ActivityReadPayPalBatch, &at, soonestRead(b)
	case b.State == payout.BatchSent && !readSince(b, b.StateSince), b.State == payout.BatchEnded && b.SentAt != nil && !readSince(b, *b.SentAt):
		move.Do, move.NotBefore = workflows.ActivityReadPayPalBatch, soonestRead(b)
	}
	return move
}

func readSince(b payout.Batch, moment time.Time) bool {
	return b.CheckedAt != nil && !b.CheckedAt.Before(moment)
}

// nextRead is when to read a batch, should no webhook tell before: after as long as it is there already.
func nextRead(b payout.Batch) time.Time {
	last := b.StateSince
	if b.CheckedAt != nil && b.CheckedAt.After(last) {
		last = *b.CheckedAt
	}
	age := last.Sub(b.StateSince)
	if age >= rareReadsFrom {
		return last.Add(rareReadWait)
	}
	return last.Add(min(max(age, firstReadWait), longReadWait))
}

func soonestRead(b payout.Batch) *time.Time {
	if b.CheckedAt == nil {
		return nil
	}
	at := b.CheckedAt.Add(readGap)
	return &at
}

// move makes one attempt at a move of a batch as it stands, and says what the next one is. What nobody
// can tell is held for a person.
func (p *PayPalPayouts) move(
	ctx context.Context, in workflows.PayPalBatchStepInput, do func(context.Context, payout.Batch) (instead, error),
) (next workflows.PayPalBatchMove, err error) {
	began := time.Now()
	err = p.attempts.try(ctx, in.Step, func(ctx context.Context) error {
		b, err := payout.GetBatch(ctx, p.pool, in.BatchID)
		if err != nil {
			return err
		}
		other, err := do(ctx, b)
		if err = p.hold(ctx, b, err); err != nil && !errors.Is(err, errOvertaken) {
			return err
		}
		next, err = p.next(ctx, in, began, other)
		return err
	})
	return next, err
}

// hold leaves a batch to a person when money may have moved and nothing tells whether it did, and gives
// every other failure on.
func (p *PayPalPayouts) hold(ctx context.Context, b payout.Batch, err error) error {
	failure, _ := errors.AsType[*provider.Failure](err)
	switch {
	case failure != nil && failure.Class == provider.Held:
		return p.inTx(ctx, func(tx pgx.Tx) error { return p.payouts.HoldBatch(ctx, tx, b.ID, failure.Code) })
	case errors.Is(err, payout.ErrOtherObject):
		return p.inTx(ctx, func(tx pgx.Tx) error { return p.payouts.HoldBatch(ctx, tx, b.ID, err.Error()) })
	}
	return err
}

// next says what is to be done next, and ends the step when that is nothing. Otherwise the provider's
// gate learns that the step got through, for more may wait behind it.
func (p *PayPalPayouts) next(
	ctx context.Context, in workflows.PayPalBatchStepInput, began time.Time, other instead,
) (workflows.PayPalBatchMove, error) {
	b, err := payout.GetBatch(ctx, p.pool, in.BatchID)
	if err != nil {
		return workflows.PayPalBatchMove{}, err
	}
	workflowID := activity.GetInfo(ctx).WorkflowExecution.ID
	move := nextBatchMove(b)
	if move.Do == "" {
		return move, step.Finish(ctx, p.pool, workflowID, in.Step, step.Done)
	}
	if err := step.Advance(ctx, p.pool, workflowID, in.Step, began); err != nil {
		return move, err
	}
	if other.after > 0 {
		at := time.Now().Add(other.after)
		move.At = &at
	}
	return move, nil
}

func (p *PayPalPayouts) inTx(ctx context.Context, do func(pgx.Tx) error) error {
	return postgres.InTx(ctx, p.pool, do)
}

// amountOf reads an amount as PayPal writes it. What is none is the zero value, which is never ours.
func amountOf(value, currency string) money.Amount {
	amount, err := money.Parse(value, money.Currency(strings.ToLower(currency)))
	if err != nil {
		return money.Amount{}
	}
	return amount
}

// refusedByPayPal is a refusal as a payout keeps it.
func refusedByPayPal(code string, matter provider.Matter) payout.Failure {
	return payout.Failure{
		Class: string(provider.Rejected), Code: code, Message: "PayPal refused it: " + code + ".", Destination: matter == provider.MatterPayee,
	}
}
