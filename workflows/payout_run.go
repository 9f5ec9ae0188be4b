package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/step"
)

// PayoutLauncher starts the run of the day for which its schedule fired. Temporal adds the time to
// the id of what a schedule starts, so the run itself is a workflow of its own: one for each date,
// whoever starts it.
func PayoutLauncher(ctx workflow.Context) error {
	scheduled, ok := workflow.GetTypedSearchAttributes(ctx).GetTime(temporal.NewSearchAttributeKeyTime(searchScheduledStart))
	if !ok {
		return temporal.NewNonRetryableApplicationError("is to be started by a schedule, which gives the date; to start a run by hand, use starter payouts run", ErrInvalidInput, nil)
	}
	return startRun(ctx, PayoutRunInput{Date: date.Of(scheduled)})
}

// searchScheduledStart is when a schedule meant to start a workflow, however late it did.
const searchScheduledStart = "TemporalScheduledStartTime"

// startRun starts a date's run, or leaves the one alone that there is.
func startRun(ctx workflow.Context, in PayoutRunInput) error {
	run := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            PayoutRunID(in.Date),
		TaskQueue:             TaskQueue,
		ParentClosePolicy:     enums.PARENT_CLOSE_POLICY_ABANDON,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY,
		StaticSummary:         "payouts of " + in.Date.String(),
	}), NamePayoutRun, in)
	err := run.GetChildWorkflowExecution().Get(ctx, nil)
	if _, there := errors.AsType[*temporal.ChildWorkflowExecutionAlreadyStartedError](err); there {
		return nil
	}
	return err
}

// PayoutRun pays everybody who is due on a date: it works out who gets what and freezes it, waits for
// an approval if one is needed, and hands each payout to a workflow of its own, so that one that is
// stuck holds up no other, nor tomorrow's run. How far it is stands in Postgres.
func PayoutRun(ctx workflow.Context, in PayoutRunInput) (PayoutRunResult, error) {
	r := payoutRun{in: in}
	if err := r.setup(ctx); err != nil {
		return PayoutRunResult{}, err
	}
	return r.run(ctx)
}

type payoutRun struct {
	in     PayoutRunInput
	lot    parkingLot
	result PayoutRunResult
	told   bool // a person has decided something
	news   workflow.ReceiveChannel
}

func (r *payoutRun) setup(ctx workflow.Context) error {
	if r.in.Date.IsZero() {
		return temporal.NewNonRetryableApplicationError("date: is missing", ErrInvalidInput, nil)
	}
	if r.in.Progress != nil {
		r.result = *r.in.Progress
	}
	r.result.Date = r.in.Date
	r.lot.open(ctx)
	r.lot.planned = true // it has a step only when one is needed: a verdict on another is refused, and does not wait for it
	r.news = workflow.GetSignalChannel(ctx, SignalDecided)
	return errors.Join(
		workflow.SetQueryHandler(ctx, QueryProgress, func() (PayoutRunResult, error) { return r.result, nil }),
		handleVerdict(ctx, &r.lot, func() PayoutRunResult { return r.result }, UpdateRetry, tryAgain),
		r.handleDecision(ctx, UpdateApprove),
		r.handleDecision(ctx, UpdatePause),
		r.handleDecision(ctx, UpdateResume),
	)
}

// sliceLimit is how many slices one run of the workflow works through before it continues as new.
const sliceLimit = 250

func (r *payoutRun) run(ctx workflow.Context) (PayoutRunResult, error) {
	for range sliceLimit {
		r.told = false
		drain(r.news)
		next, err := call[PayoutRunStep](onPostgres(ctx, "payouts of "+r.in.Date.String()), ActivityAdvancePayoutRun, r.in.Date)
		if err != nil {
			return r.result, err
		}
		r.result.State = next.State
		r.result.Looked += next.Looked
		r.result.Planned += next.Planned
		r.result.HandedOver += next.HandedOver
		switch next.Next {
		case RunOver:
			return r.result, workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
		case RunWantsFunds:
			err = r.readFunds(ctx, next.wantedFunds())
		case RunWaitsForPerson:
			err = r.awaitPerson(ctx)
		}
		if err != nil {
			return r.result, err
		}
	}
	if err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) }); err != nil {
		return r.result, err
	}
	return r.result, workflow.NewContinueAsNewError(ctx, PayoutRun, PayoutRunInput{Date: r.in.Date, Progress: &r.result})
}

// fundsPatience is how long a run waits for a provider of which nothing was ever known: with the last
// try, a quarter of an hour.
const fundsPatience = 14 * time.Minute

// readFunds reads what the platform has at the providers through which the run pays, side by side. That
// bounds what is claimed. Neither keeps the other's payees waiting: for a provider that does not
// answer the run goes by what was known before, and where nothing was it waits a while, and then leaves
// its payees to the next run.
func (r *payoutRun) readFunds(ctx workflow.Context, wanted []WantedFunds) error {
	now := workflow.Now(ctx)
	steps, reads := make([]PlannedStep, 0, len(wanted)), make(map[string]assignment, len(wanted))
	for _, w := range wanted {
		read := assignment{do: func(ctx workflow.Context) error {
			_, err := call[struct{}](readingFunds(ctx, w.Provider), fundsActivity(w.Provider), FundsInput{Date: r.in.Date, Step: w.Step})
			return err
		}}
		switch {
		case w.Forever:
		case w.Known:
			read.until = now
		default:
			read.until = now.Add(fundsPatience)
		}
		steps, reads[w.Step] = append(steps, PlannedStep{Name: w.Step, Provider: w.Provider, Status: step.Pending}), read
	}
	if err := r.lot.takeUp(ctx, steps, func(t *task) (assignment, error) { return reads[t.name], nil }); err != nil {
		return err
	}
	if err := workflow.Await(ctx, func() bool { return r.lot.failed != nil || r.lot.settled() }); err != nil {
		return err
	}
	return r.lot.failed
}

// awaitPerson waits for an approval, or for the end of a pause.
func (r *payoutRun) awaitPerson(ctx workflow.Context) error {
	asks := fmt.Sprintf("The payouts of %s are `%s` since %s. Send the update `%s` or `%s`, whichever they wait for, with `{\"actor\": \"your name\"}`.",
		r.in.Date, r.result.State, workflow.Now(ctx).UTC().Format(time.RFC3339), UpdateApprove, UpdateResume)
	return r.lot.awaitPerson(ctx, asks, func() bool { return r.told || r.news.Len() > 0 })
}

// handleDecision carries a person's decision to Postgres, where the run looks next.
func (r *payoutRun) handleDecision(ctx workflow.Context, update string) error {
	decide := func(ctx workflow.Context, in RunDecisionInput) (PayoutRunResult, error) {
		decision := DecideRunInput{Date: r.in.Date, Decision: update, Actor: in.Actor}
		_, err := call[struct{}](onPostgres(ctx, update+" the payouts of "+r.in.Date.String()), ActivityDecidePayoutRun, decision)
		if err == nil {
			r.told = true
		}
		return r.result, err
	}
	validate := func(in RunDecisionInput) error {
		if in.Actor == "" {
			return temporal.NewNonRetryableApplicationError("actor: is missing; say who decides", ErrInvalidInput, nil)
		}
		return nil
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, update, decide, workflow.UpdateHandlerOptions{Validator: validate})
}
