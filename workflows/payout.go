package workflows

import (
	"errors"
	"strings"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfast/holdfast/internal/payout"
)

// Payout carries one payout out: it moves the money, waits for it to arrive, or takes it back. What is
// true of it is in Postgres; each activity makes one move there and at the provider, and says what the
// next one is. So it goes on where it stands whenever it is started again: by an event of the
// provider's, by the sweep, or by a person.
func Payout(ctx workflow.Context, in PayoutInput) (PayoutResult, error) {
	p := payingOut{in: in}
	if err := p.setup(ctx); err != nil {
		return PayoutResult{}, err
	}
	return p.run(ctx)
}

type payingOut struct {
	in     PayoutInput
	lot    parkingLot
	next   PayoutMove
	state  payout.State
	events workflow.ReceiveChannel
	// decided says that a person's decision has changed the payout since it was planned.
	decided bool
}

func (p *payingOut) setup(ctx workflow.Context) error {
	if !strings.HasPrefix(p.in.PayoutID, "po_") {
		return temporal.NewNonRetryableApplicationError("payout_id: is missing or not an id", ErrInvalidInput, nil)
	}
	p.events = workflow.GetSignalChannel(ctx, SignalProviderEvent)
	p.lot.open(ctx)
	return errors.Join(
		workflow.SetQueryHandler(ctx, QueryStatus, func() (PayoutResult, error) { return p.status(), nil }),
		handleVerdict(ctx, &p.lot, p.status, UpdateRetry, tryAgain),
		workflow.SetUpdateHandler(ctx, UpdateCancel, p.cancel),
		workflow.SetUpdateHandler(ctx, UpdateResolve, p.resolve),
		workflow.SetUpdateHandler(ctx, UpdateRecordDuplicate, p.recordDuplicate),
	)
}

// run makes moves until there is none left.
func (p *payingOut) run(ctx workflow.Context) (PayoutResult, error) {
	for {
		if err := p.plan(ctx); err != nil {
			return PayoutResult{}, err
		}
		err := workflow.Await(ctx, func() bool {
			return p.lot.failed != nil || p.lot.settled() && workflow.AllHandlersFinished(ctx) || p.shouldContinueAsNew(ctx)
		})
		switch {
		case err != nil:
			return PayoutResult{}, err
		case p.lot.failed != nil:
			return PayoutResult{}, p.lot.failed
		case !p.lot.settled():
			return PayoutResult{}, workflow.NewContinueAsNewError(ctx, Payout, p.in)
		case p.events.Len() == 0 && !p.decided:
			return p.status(), nil
		}
	}
}

// shouldContinueAsNew says that the history has grown long, as that of a payout for which a bank
// takes weeks, and that the moment is good: it waits, and was told nothing.
func (p *payingOut) shouldContinueAsNew(ctx workflow.Context) bool {
	return workflow.GetInfo(ctx).GetContinueAsNewSuggested() && workflow.AllHandlersFinished(ctx) && p.lot.idle() && !p.news()
}

// news says that there may be something to do that the last move did not know of.
func (p *payingOut) news() bool { return p.events.Len() > 0 || p.decided }

// plan asks Postgres how the payout stands, and takes it up there: at once, if there is news of it.
func (p *payingOut) plan(ctx workflow.Context) error {
	news, heard := p.news(), p.events.Len() > 0
	drain(p.events)
	p.decided = false
	steps, err := p.lot.readPlan(func() ([]PlannedStep, error) {
		plan, err := call[PayoutPlan](onPostgres(ctx, "how "+p.in.PayoutID+" stands"), ActivityPlanPayout, PayoutPlanInput{PayoutID: p.in.PayoutID, Heard: heard})
		p.lot.customerID = plan.PayeeID // who is paid is a customer
		if p.next, p.state = plan.Next, plan.Next.State; news {
			p.next.At = nil
		}
		return plan.Steps, err
	})
	if err != nil {
		return err
	}
	return p.lot.takeUp(ctx, steps, func(t *task) (assignment, error) {
		return assignment{do: func(ctx workflow.Context) error { return p.carryOut(ctx, t) }}, nil
	})
}

// carryOut makes the moves. When one fails, the task is parked, and later goes on with that one; but not
// when a person has decided meanwhile, after which it may not be needed.
func (p *payingOut) carryOut(ctx workflow.Context, t *task) error {
	for p.next.Do != "" {
		if err := p.awaitTurn(ctx, t); err != nil {
			return err
		}
		made, err := call[PayoutMove](onStripe(ctx, p.next.Do+" of "+p.in.PayoutID), p.next.Do, PayoutStepInput{PayoutID: p.in.PayoutID, Step: t.name})
		switch {
		case err == nil:
			p.next, p.state = made, made.State
		case ctx.Err() != nil || !p.decided || !tellsOfDecisions(ctx):
			return err
		}
	}
	return nil
}

// awaitTurn waits until it is time for the next move, or until there is news.
func (p *payingOut) awaitTurn(ctx workflow.Context, t *task) error {
	if p.next.At != nil && p.next.At.After(workflow.Now(ctx)) && !p.news() {
		t.atRest = true
		defer func() { t.atRest = false }()
		waiting, stop := workflow.WithCancel(ctx) // or the timer would go on when there is news
		defer stop()
		_, err := workflow.AwaitWithOptions(waiting, workflow.AwaitOptions{
			Timeout:      p.next.At.Sub(workflow.Now(ctx)),
			TimerOptions: workflow.TimerOptions{Summary: "until " + p.next.Do},
		}, p.news)
		if err != nil {
			return err
		}
	}
	drain(p.events)
	p.decided = false // the next move looks at what is true now
	p.next.At = nil   // its time has come, and stays so when it fails: what it was to find is not put off
	return nil
}

// cancel ends a payout whose money has not gone to the bank, if it still can be ended.
func (p *payingOut) cancel(ctx workflow.Context, in DecisionInput) (PayoutResult, error) {
	return p.decide(ctx, ActivityCancelPayout, in)
}

// resolve ends a payout that is held, as a person found out at the provider.
func (p *payingOut) resolve(ctx workflow.Context, in DecisionInput) (PayoutResult, error) {
	return p.decide(ctx, ActivityResolvePayout, in)
}

// recordDuplicate takes a second movement of the payout's money into the books.
func (p *payingOut) recordDuplicate(ctx workflow.Context, in DecisionInput) (PayoutResult, error) {
	return p.decide(ctx, ActivityRecordDuplicate, in)
}

// decide carries a person's decision out, or refuses it with the reason.
func (p *payingOut) decide(ctx workflow.Context, activity string, in DecisionInput) (PayoutResult, error) {
	made, err := call[PayoutMove](onceOnStripe(ctx, activity+" of "+p.in.PayoutID), activity, PayoutDecisionInput{PayoutID: p.in.PayoutID, Decision: in})
	if err != nil {
		return p.status(), err
	}
	p.state, p.decided = made.State, true
	if p.lot.waits() && tellsOfDecisions(ctx) {
		p.lot.tryAgain()
	}
	return p.status(), nil
}

// tellsOfDecisions says that a decision wakes what is parked. Runs of before waited for a retry as well,
// and their histories show that.
func tellsOfDecisions(ctx workflow.Context) bool {
	return workflow.GetVersion(ctx, "decisions-wake", workflow.DefaultVersion, 1) == 1
}

func (p *payingOut) status() PayoutResult {
	return PayoutResult{PayoutID: p.in.PayoutID, State: p.state, Steps: p.lot.statuses()}
}
