package workflows

import (
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
)

// Search attributes. Status and BlockedOn are written when a step parks or goes on, so work that
// meets no trouble pays nothing for them.
var (
	searchStatus    = temporal.NewSearchAttributeKeyKeyword(SearchStatus)
	searchBlockedOn = temporal.NewSearchAttributeKeyKeyword(SearchBlockedOn)
	searchCustomer  = temporal.NewSearchAttributeKeyKeyword(SearchCustomer)
)

// Names and values of the search attributes.
const (
	SearchStatus    = "HoldfastStatus"
	SearchBlockedOn = "HoldfastBlockedOn" // a provider's name, or "person"
	SearchCustomer  = "HoldfastCustomer"

	StatusRunning           = "running"
	StatusWaitingOnProvider = "waiting_for_provider"
	StatusWaitingOnPerson   = "waiting_for_person"
)

// A parked step looks again by itself after about a quarter of an hour, should a wake-up be lost.
const (
	fallbackWait   = 15 * time.Minute
	fallbackJitter = 5 * time.Minute
)

// task is a step at work in a workflow: what it does, and how far it is.
type task struct {
	name     string
	provider provider.Name
	assignment

	status   step.Status
	failure  failure
	waitsFor step.WaitsFor
	since    time.Time // when it parked
	verdict  verdict   // what a parked task was told
	atRest   bool      // it waits for a verdict or for its turn, and nothing of it is under way
}

// assignment is what a step does, and the task whose end it needs, or nil. Without that task's
// success there is nothing to do it to.
type assignment struct {
	do    func(workflow.Context) error
	needs *task
	// until is when the workflow goes on without the step, if it was not done by then; zero: it waits for ever.
	until time.Time
}

// itsTurn says that the task needs nobody's end any more.
func (t *task) itsTurn() bool { return t.needs == nil || t.needs.status.Settled() }

// verdict is what ends a wait.
type verdict int

const (
	undecided verdict = iota
	tryAgain
	goOnWithout
)

// parked says that the task waits for a provider or a person.
func (t *task) parked() bool { return t.status == step.Blocked }

// idle says that the task is at rest and was told nothing that it has yet to carry out.
func (t *task) idle() bool { return t.status.Settled() || t.atRest && t.verdict == undecided }

// rest waits for the condition, for at most the limit; zero is for ever.
func (t *task) rest(ctx workflow.Context, limit time.Duration, condition func() bool) error {
	t.atRest = true
	defer func() { t.atRest = false }()
	if limit == 0 {
		return workflow.Await(ctx, condition)
	}
	_, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
		Timeout:      limit,
		TimerOptions: workflow.TimerOptions{Summary: t.name + " looks again by itself"},
	}, condition)
	return err
}

// failure is why an attempt failed, fit for people and histories: codes and ids only.
type failure struct {
	class provider.Class
	text  string
}

// parkingLot is where the tasks of one workflow wait when they cannot go on. It is the one
// mechanism for that: a task that failed is parked visibly and waits for the first of its
// provider's recovery, a person's verdict, or a fallback timer.
type parkingLot struct {
	customerID string // empty when the work is about no single one
	tasks      []*task
	asks       string // what a person is to decide beside the tasks, for Temporal's UI; empty: nothing
	shown      shown
	planned    bool  // the plan was read once, so the lot knows its tasks
	failed     error // why a task gave up: the workflow was canceled
}

// shown is what the search attributes say at present.
type shown struct{ status, blockedOn string }

// shownAtStart is what the run before left, when it continued as new: it was waiting then.
func shownAtStart(ctx workflow.Context) shown {
	s := shown{status: StatusRunning}
	attributes := workflow.GetTypedSearchAttributes(ctx)
	if status, ok := attributes.GetKeyword(searchStatus); ok {
		s.status = status
	}
	s.blockedOn, _ = attributes.GetKeyword(searchBlockedOn)
	return s
}

// open starts listening for providers that are back. What a person decided stands all the same.
func (l *parkingLot) open(ctx workflow.Context) {
	l.shown = shownAtStart(ctx)
	recoveries := workflow.GetSignalChannel(ctx, SignalProviderUp)
	workflow.Go(ctx, func(ctx workflow.Context) {
		for {
			var recovered provider.Name
			recoveries.Receive(ctx, &recovered)
			for _, t := range l.tasks {
				if t.parked() && t.waitsFor == step.ForProvider && t.provider == recovered && t.verdict == undecided {
					t.verdict = tryAgain
				}
			}
		}
	})
}

// readPlan gets the planned steps, again if a step ended while they were being read: they may show
// that step as it was before, and taking it up would undo the end.
func (l *parkingLot) readPlan(read func() ([]PlannedStep, error)) ([]PlannedStep, error) {
	for {
		open := l.unsettled()
		steps, err := read()
		if err != nil || !overtaken(steps, open) {
			return steps, err
		}
	}
}

// overtaken says that one of the tasks ended, and that the planned steps do not know.
func overtaken(steps []PlannedStep, tasks []*task) bool {
	return slices.ContainsFunc(steps, func(planned PlannedStep) bool {
		return !planned.Status.Settled() && slices.ContainsFunc(tasks, func(t *task) bool {
			return t.name == planned.Name && t.status.Settled()
		})
	})
}

// takeUp starts a task for every planned step that is not over and not at work already.
func (l *parkingLot) takeUp(ctx workflow.Context, steps []PlannedStep, assign func(*task) (assignment, error)) error {
	for _, planned := range steps {
		t := l.find(planned.Name)
		if t == nil {
			t = &task{name: planned.Name, provider: planned.Provider, status: step.Done}
			l.tasks = append(l.tasks, t)
		}
		if !t.status.Settled() {
			continue // at work, or waiting
		}
		if t.status = planned.Status; t.status.Settled() {
			continue
		}
		var err error
		if t.assignment, err = assign(t); err != nil {
			return err
		}
		l.begin(ctx, t, planned)
	}
	l.planned = true
	return l.show(ctx)
}

// begin takes a step up where Postgres says it stands.
func (l *parkingLot) begin(ctx workflow.Context, t *task, planned PlannedStep) {
	switch {
	case planned.Status == step.Blocked && planned.WaitsFor == step.ForPerson:
		t.park(ctx, failure{planned.ErrorClass, planned.LastError})
	case planned.Refused && t.itsTurn(): // otherwise the provider may be back when it is
		t.park(ctx, failure{planned.ErrorClass, planned.LastError})
	default:
		t.status = step.Pending
	}
	workflow.Go(ctx, func(ctx workflow.Context) {
		if err := l.settle(ctx, t); err != nil {
			l.failed = err
		}
	})
}

// settle does a task once the one that it needs is there.
func (l *parkingLot) settle(ctx workflow.Context, t *task) error {
	if !t.itsTurn() {
		if err := t.rest(ctx, 0, t.itsTurn); err != nil {
			return err
		}
	}
	if t.needs != nil && t.needs.status == step.Skipped {
		return l.skip(ctx, t)
	}
	return l.untilSettled(ctx, t)
}

// untilSettled does a task until it is done or skipped. It fails only when the workflow is
// canceled; every other failure is waited out.
func (l *parkingLot) untilSettled(ctx workflow.Context, t *task) error {
	for !t.status.Settled() {
		if !t.parked() {
			err := t.do(ctx)
			if err == nil {
				t.status = step.Done
				continue
			}
			if temporal.IsCanceledError(err) || ctx.Err() != nil {
				return err
			}
			t.park(ctx, failureOf(err))
		}
		waitOut := l.wait
		if t.isLate(ctx) {
			waitOut = l.skip
		}
		if err := waitOut(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// isLate says that the task was given its time and is gone on without.
func (t *task) isLate(ctx workflow.Context) bool {
	return !t.until.IsZero() && !workflow.Now(ctx).Before(t.until)
}

// park marks the task as waiting, from this moment on: a wake-up that comes while the row is
// still being written counts.
func (t *task) park(ctx workflow.Context, f failure) {
	t.status = step.Blocked
	t.failure = f
	t.waitsFor = waitsFor(f.class)
	t.since = workflow.Now(ctx)
	t.verdict = undecided
}

// waitsFor tells whether the provider's recovery can help or only a person.
func waitsFor(class provider.Class) step.WaitsFor {
	switch class {
	case provider.Rejected, provider.NotFound, provider.Held:
		return step.ForPerson
	default:
		return step.ForProvider
	}
}

// wait shows the parked task to people and holds it until somebody or something decides.
func (l *parkingLot) wait(ctx workflow.Context, t *task) error {
	limit := l.fallback(ctx, t)
	if err := l.record(ctx, t, limit); err != nil {
		return err
	}
	if err := l.show(ctx); err != nil {
		return err
	}
	if err := t.await(ctx, limit); err != nil {
		return err
	}
	if t.verdict == goOnWithout {
		return l.skip(ctx, t)
	}
	t.status = step.Retrying
	return l.show(ctx)
}

// fallback is how long the task waits at most; zero is for ever, until a person decides.
func (l *parkingLot) fallback(ctx workflow.Context, t *task) time.Duration {
	switch {
	case !t.until.IsZero():
		return t.until.Sub(t.since)
	case t.waitsFor == step.ForPerson:
		return 0
	}
	return fallbackWait + jitter(workflow.GetInfo(ctx).WorkflowExecution.ID, t.name)
}

// jitter spreads tasks that parked together, and is the same at every replay.
func jitter(parts ...string) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(strings.Join(parts, "/"))) // a hash never fails to write
	return time.Duration(h.Sum64() % uint64(fallbackJitter))
}

func (l *parkingLot) record(ctx workflow.Context, t *task, limit time.Duration) error {
	in := ParkInput{
		Step: t.name, Provider: t.provider, ErrorClass: t.failure.class, LastError: t.failure.text, WaitsFor: t.waitsFor,
	}
	if limit > 0 {
		next := t.since.Add(limit)
		in.NextAttemptAt = &next
	}
	_, err := call[struct{}](onPostgres(ctx, "park "+t.name), ActivityParkStep, in)
	return err
}

func (t *task) await(ctx workflow.Context, limit time.Duration) error {
	return t.rest(ctx, limit, func() bool { return t.verdict != undecided })
}

// awaitPerson waits for a decision that is about no task, and shows meanwhile what is asked for.
func (l *parkingLot) awaitPerson(ctx workflow.Context, asks string, decided func() bool) error {
	l.asks = asks
	if err := l.show(ctx); err != nil {
		return err
	}
	if err := workflow.Await(ctx, decided); err != nil {
		return err
	}
	l.asks = ""
	return l.show(ctx)
}

func (l *parkingLot) skip(ctx workflow.Context, t *task) error {
	if _, err := call[struct{}](onPostgres(ctx, "skip "+t.name), ActivitySkipStep, StepInput{Step: t.name}); err != nil {
		return err
	}
	t.status = step.Skipped
	return l.show(ctx)
}

// show puts into search attributes and current details what waits on what, and since when.
func (l *parkingLot) show(ctx workflow.Context) error {
	workflow.SetCurrentDetails(ctx, l.details())
	now := l.summary()
	if now == l.shown {
		return nil
	}
	l.shown = now
	blockedOn := searchBlockedOn.ValueUnset()
	if now.blockedOn != "" {
		blockedOn = searchBlockedOn.ValueSet(now.blockedOn)
	}
	updates := []temporal.SearchAttributeUpdate{searchStatus.ValueSet(now.status), blockedOn}
	if l.customerID != "" {
		updates = append(updates, searchCustomer.ValueSet(l.customerID))
	}
	return workflow.UpsertTypedSearchAttributes(ctx, updates...)
}

// summary is the whole workflow in one status: a person is asked for before a provider.
func (l *parkingLot) summary() shown {
	if l.asks != "" {
		return shown{StatusWaitingOnPerson, "person"}
	}
	s := shown{status: StatusRunning}
	for _, t := range l.tasks {
		switch {
		case t.parked() && t.waitsFor == step.ForPerson:
			return shown{StatusWaitingOnPerson, "person"}
		case t.parked():
			s = shown{StatusWaitingOnProvider, string(t.provider)}
		}
	}
	return s
}

// details is Markdown for Temporal's UI.
func (l *parkingLot) details() string {
	var lines []string
	if l.asks != "" {
		lines = append(lines, "- "+l.asks)
	}
	for _, t := range l.tasks {
		if t.parked() {
			lines = append(lines, t.detail())
		}
	}
	return strings.Join(lines, "\n")
}

func (t *task) detail() string {
	since := t.since.UTC().Format(time.RFC3339)
	if t.waitsFor == step.ForPerson {
		return fmt.Sprintf("- **%s** waits for a person since %s: `%s`. Send the update `retry` or `skip` with `{\"step\": %q}`.",
			t.name, since, t.failure.text, t.name)
	}
	return fmt.Sprintf("- **%s** waits for **%s** since %s: `%s`. It goes on by itself when %s is back.",
		t.name, t.provider, since, t.failure.text, t.provider)
}

// find returns the task of that name, or nil.
func (l *parkingLot) find(name string) *task {
	i := slices.IndexFunc(l.tasks, func(t *task) bool { return t.name == name })
	if i < 0 {
		return nil
	}
	return l.tasks[i]
}

// validate refuses an operator's verdict on a step that does not wait.
func (l *parkingLot) validate(in StepInput) error {
	t := l.find(in.Step)
	switch {
	case t == nil:
		return temporal.NewApplicationError(fmt.Sprintf("step: there is no step %q here; the steps are %s", in.Step, l.names()), ErrUnknownStep)
	case !t.parked() || t.verdict != undecided:
		return temporal.NewApplicationError(fmt.Sprintf("step: %s is %s and does not wait", t.name, t.status), ErrStepNotWaiting)
	}
	return nil
}

// handleVerdicts answers the updates by which a person decides on a step that waits.
func handleVerdicts[Status any](ctx workflow.Context, l *parkingLot, status func() Status) error {
	if err := handleVerdict(ctx, l, status, UpdateRetry, tryAgain); err != nil {
		return err
	}
	return handleVerdict(ctx, l, status, UpdateSkip, goOnWithout)
}

func handleVerdict[Status any](ctx workflow.Context, l *parkingLot, status func() Status, update string, v verdict) error {
	// A verdict may come with the start of this run; it is judged once the plan is known.
	validate := func(_ workflow.Context, in StepInput) error {
		if !l.planned {
			return nil
		}
		return l.validate(in)
	}
	decide := func(ctx workflow.Context, in StepInput) (Status, error) {
		if err := workflow.Await(ctx, func() bool { return l.planned }); err != nil {
			return status(), err
		}
		if err := l.validate(in); err != nil {
			return status(), err
		}
		l.find(in.Step).verdict = v
		return status(), nil
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, update, decide, workflow.UpdateHandlerOptions{Validator: validate})
}

// Error types of refused updates.
const (
	ErrUnknownStep    = "unknown_step"
	ErrStepNotWaiting = "step_not_waiting"
)

func (l *parkingLot) names() string {
	names := make([]string, len(l.tasks))
	for i, t := range l.tasks {
		names[i] = t.name
	}
	return strings.Join(names, ", ")
}

// statuses is what queries and updates answer.
func (l *parkingLot) statuses() []StepStatus {
	statuses := make([]StepStatus, len(l.tasks))
	for i, t := range l.tasks {
		statuses[i] = StepStatus{Name: t.name, Status: t.status}
		if t.parked() {
			since := t.since
			statuses[i].WaitsFor, statuses[i].LastError, statuses[i].Since = t.waitsFor, t.failure.text, &since
		}
	}
	return statuses
}

// settled says that every task is done or skipped.
func (l *parkingLot) settled() bool {
	return !slices.ContainsFunc(l.tasks, func(t *task) bool { return !t.status.Settled() })
}

// waits says that a task is parked.
func (l *parkingLot) waits() bool { return slices.ContainsFunc(l.tasks, (*task).parked) }

// tryAgain has every parked task tried again that was told nothing yet.
func (l *parkingLot) tryAgain() {
	for _, t := range l.tasks {
		if t.parked() && t.verdict == undecided {
			t.verdict = tryAgain
		}
	}
}

// busyAt says that a task of the provider is at work or waiting.
func (l *parkingLot) busyAt(p provider.Name) bool {
	return slices.ContainsFunc(l.tasks, func(t *task) bool { return t.provider == p && !t.status.Settled() })
}

// busyBeside says that another task than this one is at work or waiting.
func (l *parkingLot) busyBeside(t *task) bool {
	return slices.ContainsFunc(l.tasks, func(other *task) bool { return other != t && !other.status.Settled() })
}

// idle says that nothing is under way: every task is over, or waits and was told nothing.
func (l *parkingLot) idle() bool {
	return !slices.ContainsFunc(l.tasks, func(t *task) bool { return !t.idle() })
}

// unsettled gives the tasks that are at work or waiting.
func (l *parkingLot) unsettled() []*task {
	return slices.DeleteFunc(slices.Clone(l.tasks), func(t *task) bool { return t.status.Settled() })
}

// failureOf reads an activity's failure. Whatever is not a provider's own answer (a lost worker, a
// database that was away) is transient.
func failureOf(err error) failure {
	var application *temporal.ApplicationError
	if errors.As(err, &application) && slices.Contains(knownClasses, provider.Class(application.Type())) {
		return failure{provider.Class(application.Type()), application.Message()}
	}
	if _, ok := errors.AsType[*temporal.TimeoutError](err); ok {
		return failure{provider.Transient, "the call was not finished in time"}
	}
	return failure{provider.Transient, "the call could not be made or recorded; the worker's log says why"}
}

var knownClasses = []provider.Class{
	provider.Transient, provider.RateLimited, provider.Misconfigured, provider.Rejected, provider.OutcomeUnknown, provider.NotFound, provider.Held,
}
