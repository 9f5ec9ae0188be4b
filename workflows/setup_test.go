package workflows_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

const id = "u_1"

// world is what a workflow sees of the rest of Holdfast: activities that answer as the test says.
type world struct {
	env *testsuite.TestWorkflowEnvironment

	mu      sync.Mutex
	plans   []workflows.Plan          // one for each PlanOnboarding; the last stays
	answers map[string][]func() error // what each activity does, call by call; then it succeeds
	calls   []string                  // activities, in the order in which they ran
	at      []time.Duration           // when, since the start
	parked  []workflows.ParkInput     // as recorded
	skipped []string
	inputs  []string // everything that went to an activity, as JSON
	wakes   []workflows.WakeResult
	probes  []workflows.ProbeInput
	states  []provider.State // what each probe finds; an empty one stands for "as it was", and fails
	newer   int              // how often a profile changes while it is being carried
	began   time.Time
}

func setup(t *testing.T) *world {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	w := &world{env: suite.NewTestWorkflowEnvironment(), answers: map[string][]func() error{}}
	w.env.SetTestTimeout(time.Minute)
	w.began = w.env.Now()
	w.plans = []workflows.Plan{{Steps: []workflows.PlannedStep{pending(customer.StepStripeCustomer)}}}
	w.register(workflows.ActivityPlanOnboarding, func(_ context.Context, in workflows.PlanInput) (workflows.Plan, error) {
		if err := w.called(workflows.ActivityPlanOnboarding, in); err != nil {
			return workflows.Plan{}, err
		}
		return w.nextPlan(), nil
	})
	for _, name := range []string{
		workflows.ActivityCreateStripeCustomer, workflows.ActivityVerifyStripeCustomer, workflows.ActivityClaimStripeCustomer,
		workflows.ActivityApplyPromotionCode,
	} {
		w.register(name, func(_ context.Context, in workflows.CallInput) error { return w.called(name, in) })
	}
	w.register(workflows.ActivityFindPromotionCode, func(_ context.Context, in workflows.CallInput) (workflows.FindResult, error) {
		return workflows.FindResult{ID: "promo_1"}, w.called(workflows.ActivityFindPromotionCode, in)
	})
	w.register(workflows.ActivityUpdateStripeProfile, func(_ context.Context, in workflows.CallInput) (workflows.UpdateResult, error) {
		if err := w.called(workflows.ActivityUpdateStripeProfile, in); err != nil {
			return workflows.UpdateResult{}, err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.newer--
		return workflows.UpdateResult{Newer: w.newer >= 0}, nil
	})
	w.register(workflows.ActivityParkStep, func(_ context.Context, in workflows.ParkInput) error {
		if err := w.called(workflows.ActivityParkStep, in); err != nil {
			return err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.parked = append(w.parked, in)
		return nil
	})
	w.register(workflows.ActivitySkipStep, func(_ context.Context, in workflows.StepInput) error {
		if err := w.called(workflows.ActivitySkipStep, in); err != nil {
			return err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.skipped = append(w.skipped, in.Step)
		return nil
	})
	w.registerGate()
	return w
}

func (w *world) registerGate() {
	w.register(workflows.ActivityProbeProvider, func(_ context.Context, in workflows.ProbeInput) (workflows.ProbeResult, error) {
		if err := w.called(workflows.ActivityProbeProvider, in); err != nil {
			return workflows.ProbeResult{}, err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.probes = append(w.probes, in)
		state := provider.StateDegraded
		if len(w.states) > 0 {
			state, w.states = w.states[0], w.states[1:]
		}
		if state == "" {
			return workflows.ProbeResult{}, temporal.NewApplicationError("stripe: transient: network", string(provider.Transient))
		}
		return workflows.ProbeResult{State: state, Since: w.env.Now()}, nil
	})
	w.register(workflows.ActivityWakeParked, func(_ context.Context, in workflows.WakeInput) (workflows.WakeResult, error) {
		if err := w.called(workflows.ActivityWakeParked, in); err != nil {
			return workflows.WakeResult{}, err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		result := workflows.WakeResult{Recovered: true, Since: w.env.Now()}
		if len(w.wakes) > 0 {
			result, w.wakes = w.wakes[0], w.wakes[1:]
		}
		return result, nil
	})
	w.register(workflows.ActivityRepairNeglected, func(context.Context, struct{}) (workflows.RepairResult, error) {
		return workflows.RepairResult{Repaired: 7}, w.called(workflows.ActivityRepairNeglected, nil)
	})
}

func (w *world) register(name string, do any) {
	w.env.RegisterActivityWithOptions(do, activity.RegisterOptions{Name: name})
}

// called notes a call and gives the scripted failure of it.
func (w *world) called(name string, input any) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	encoded, err := json.Marshal(input)
	if err != nil {
		return err
	}
	w.calls, w.at, w.inputs = append(w.calls, name), append(w.at, w.env.Now().Sub(w.began)), append(w.inputs, string(encoded))
	script := w.answers[name]
	if len(script) == 0 {
		return nil
	}
	w.answers[name] = script[1:]
	return script[0]()
}

func (w *world) nextPlan() workflows.Plan {
	w.mu.Lock()
	defer w.mu.Unlock()
	plan := w.plans[0]
	if len(w.plans) > 1 {
		w.plans = w.plans[1:]
	}
	return plan
}

// script makes an activity's next calls fail so; a nil one succeeds.
func (w *world) script(name string, failures ...error) {
	for _, err := range failures {
		w.answers[name] = append(w.answers[name], func() error { return err })
	}
}

// ranAt is when an activity ran, call by call, since the start.
func (w *world) ranAt(name string) (all []time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, called := range w.calls {
		if called == name {
			all = append(all, w.at[i])
		}
	}
	return all
}

// count is how often an activity ran.
func (w *world) count(name string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, called := range w.calls {
		if called == name {
			n++
		}
	}
	return n
}

func (w *world) after(d time.Duration, do func()) { w.env.RegisterDelayedCallback(do, d) }

// suggestContinueAsNew makes the history one that is long, as seen by the next workflow task.
func (w *world) suggestContinueAsNew() { w.env.SetContinueAsNewSuggested(true) }

// endsBy cancels a workflow that waits for what will not come, so that its test fails at once.
func (w *world) endsBy(t *testing.T, d time.Duration) {
	t.Helper()
	w.after(d, func() {
		t.Errorf("the workflow still waits after %s", d)
		w.env.CancelWorkflow()
	})
}

// event is a provider's, about what the workflow is there for.
func (w *world) event() { w.env.SignalWorkflow(workflows.SignalProviderEvent, nil) }

func (w *world) providerUp(p provider.Name) { w.env.SignalWorkflow(workflows.SignalProviderUp, p) }

// run runs a customer's onboarding to its end.
func (w *world) run(t *testing.T) workflows.StatusResult {
	t.Helper()
	w.env.ExecuteWorkflow(workflows.CustomerOnboarding, workflows.OnboardingInput{CustomerID: id})
	return resultOf[workflows.StatusResult](t, w.env)
}

func (w *world) status(t *testing.T) workflows.StatusResult {
	t.Helper()
	return answerOf[workflows.StatusResult](t, w.env, workflows.QueryStatus)
}

// resultOf is what a workflow gave that has come to its end, and without an error.
func resultOf[Result any](t *testing.T, env *testsuite.TestWorkflowEnvironment) (result Result) {
	t.Helper()
	require.True(t, env.IsWorkflowCompleted())
	require.NoError(t, env.GetWorkflowError())
	require.NoError(t, env.GetWorkflowResult(&result))
	return result
}

// answerOf is what a workflow answers to a query.
func answerOf[Answer any](t *testing.T, env *testsuite.TestWorkflowEnvironment, query string) (answer Answer) {
	t.Helper()
	value, err := env.QueryWorkflow(query)
	require.NoError(t, err)
	require.NoError(t, value.Get(&answer))
	return answer
}

// update is what became of an update.
type update struct {
	accepted, completed bool
	result              workflows.StatusResult
	synced              workflows.SyncResult
	err                 error
	at                  time.Duration
}

// say sends an update and tells, later, what became of it.
func (w *world) say(name string, input any) *update {
	u := &update{}
	w.env.UpdateWorkflow(name, "", &testsuite.TestUpdateCallback{
		OnAccept: func() { u.accepted = true },
		OnReject: func(err error) { u.err = err },
		OnComplete: func(result any, err error) {
			u.completed, u.err, u.at = true, err, w.env.Now().Sub(w.began)
			switch status := result.(type) {
			case workflows.StatusResult:
				u.result = status
			case workflows.SyncResult:
				u.synced = status
			}
		},
	}, input)
	return u
}

// decision is what became of a person's decision.
type decision[Result any] struct {
	result Result
	err    error
}

// decide sends a person's decision and tells, later, what became of it.
func decide[Result any](w *world, name string, in any) *decision[Result] {
	d := &decision[Result]{}
	w.env.UpdateWorkflow(name, "", &testsuite.TestUpdateCallback{
		OnAccept: func() {},
		OnReject: func(err error) { d.err = err },
		OnComplete: func(result any, err error) {
			d.err = err
			d.result, _ = result.(Result)
		},
	}, in)
	return d
}

// moving is the world of a workflow that makes moves: each activity says what Postgres would say next.
type moving[Move, Decision any] struct {
	*world

	next  Move                     // as the plan tells it
	moves map[string][]func() Move // what each move says comes next, call by call
	acts  []Decision               // what persons decided
	then  map[string]func()        // what becomes of it
}

func setupMoving[Move, Decision any](t *testing.T, first Move) moving[Move, Decision] {
	t.Helper()
	return moving[Move, Decision]{world: setup(t), next: first, moves: map[string][]func() Move{}, then: map[string]func(){}}
}

// made is the next call of a move, which must have been foreseen.
func (w *moving[Move, Decision]) made(t *testing.T, name string, in any) (Move, error) {
	t.Helper()
	if err := w.called(name, in); err != nil {
		var none Move
		return none, err
	}
	script := w.moves[name]
	require.NotEmpty(t, script, "%s was not to be made", name)
	w.moves[name] = script[1:]
	w.next = script[0]()
	return w.next, nil
}

// decided is the call by which a person's decision is carried out.
func (w *moving[Move, Decision]) decided(name string, in Decision) (Move, error) {
	if err := w.called(name, in); err != nil {
		var none Move
		return none, err
	}
	w.acts = append(w.acts, in)
	w.then[name]()
	return w.next, nil
}

// comes has the next call of a move give what is true by then.
func (w *moving[Move, Decision]) comes(move string, next func() Move) {
	w.moves[move] = append(w.moves[move], next)
}

// in is the moment after so long; nil is at once.
func (w *moving[Move, Decision]) in(after time.Duration) *time.Time {
	if after == 0 {
		return nil
	}
	at := w.env.Now().Add(after)
	return &at
}

// noUpserts makes any change of search attributes a failure.
func (w *world) noUpserts(t *testing.T) {
	t.Helper()
	w.env.OnUpsertTypedSearchAttributes(mock.Anything).Run(func(mock.Arguments) { t.Error("search attributes were changed") }).Return(nil).Maybe()
}

// upserts notes the search attributes that are set, as name to value; one that is unset is left out.
func (w *world) upserts() *[]map[string]string {
	var all []map[string]string
	w.env.OnUpsertTypedSearchAttributes(mock.Anything).Run(func(args mock.Arguments) {
		attributes, _ := args.Get(0).(temporal.SearchAttributes)
		set := map[string]string{}
		for key, value := range attributes.GetUntypedValues() {
			text, _ := value.(string)
			set[key.GetName()] = text
		}
		all = append(all, set)
	}).Return(nil).Maybe()
	return &all
}

func pending(name string) workflows.PlannedStep {
	return workflows.PlannedStep{Name: name, Provider: provider.Stripe, Status: step.Pending}
}

// refused is a step whose provider is known to be down.
func refused(name string) workflows.PlannedStep {
	s := pending(name)
	s.Refused, s.ErrorClass, s.LastError = true, provider.Transient, "stripe: transient: provider_down"
	return s
}

// rejected is a step that waited for a person when the plan was made.
func rejected(name string) workflows.PlannedStep {
	s := pending(name)
	s.Status, s.WaitsFor, s.ErrorClass, s.LastError = step.Blocked, step.ForPerson, provider.Rejected, "stripe: rejected: email_invalid"
	return s
}

// settled is a step that was over when the plan was made.
func settled(name string, status step.Status) workflows.PlannedStep {
	s := pending(name)
	s.Status = status
	return s
}

func plan(steps ...workflows.PlannedStep) workflows.Plan { return workflows.Plan{Steps: steps} }

// failing is a provider's failure as the activities give it.
func failing(class provider.Class, code string) error {
	text := "stripe: " + string(class) + ": " + code
	if class == provider.Transient || class == provider.RateLimited || class == provider.OutcomeUnknown {
		return temporal.NewApplicationError(text, string(class))
	}
	return temporal.NewNonRetryableApplicationError(text, string(class), nil)
}

// slow makes an activity take ten seconds, in skipped time: its next attempt comes that much later.
func slow() error {
	return temporal.NewApplicationErrorWithOptions("not yet", "slow", temporal.ApplicationErrorOptions{NextRetryDelay: 10 * time.Second})
}

func times(n int, err error) []error {
	all := make([]error, n)
	for i := range all {
		all[i] = err
	}
	return all
}
