package httpapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

// ProviderHealth is what is known of a provider, and what waits for it.
type ProviderHealth struct {
	Provider      string     `json:"provider"`
	State         string     `json:"state" enum:"up,degraded,down,misconfigured"`
	Since         time.Time  `json:"since"`
	LastError     string     `json:"last_error,omitempty"`
	CheckedAt     *time.Time `json:"checked_at,omitempty"`
	Waiting       int64      `json:"waiting" doc:"Steps that go on by themselves when the provider is back."`
	OldestWaiting *time.Time `json:"oldest_waiting,omitempty"`
}

type providersAnswer struct {
	Body struct {
		Items []ProviderHealth `json:"items"`
	}
}

// stepInPath names a step of a customer, and says why an operator decides about it.
type stepInPath struct {
	InCustomer
	Noted

	Step string `path:"step" maxLength:"64" doc:"Such as stripe_customer."`
}

func (a *API) routeOperators() {
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "list-providers", Method: http.MethodGet, Path: "/v1/ops/providers", Tags: []string{tagOperators},
		Summary: "The health of the providers, and what waits for them",
	}, config.ScopeOps), a.listProviders)
	verdict := func(id, summary, verdict string) {
		huma.Register(a.huma, keyed(huma.Operation{
			OperationID: id, Method: http.MethodPost, Path: "/v1/ops/customers/{id}/steps/{step}/" + verdict, Tags: []string{tagOperators},
			Summary: summary, Errors: []int{404, 409, 422, 503},
		}, config.ScopeOps), func(ctx context.Context, in *stepInPath) (*customerAnswer, error) { return a.decide(ctx, in, verdict) })
	}
	verdict("retry-step", "Try a waiting step now", step.VerdictRetry)
	verdict("skip-step", "Go on without a waiting step", step.VerdictSkip)
}

func (a *API) listProviders(ctx context.Context, _ *struct{}) (*providersAnswer, error) {
	all, err := provider.NewHealthStore(a.deps.Pool).List(ctx)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	waiting, err := step.CountOpen(ctx, a.deps.Pool)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	answer := &providersAnswer{}
	answer.Body.Items = make([]ProviderHealth, len(all))
	for i, h := range all {
		answer.Body.Items[i] = showHealth(h, waiting)
	}
	return answer, nil
}

func showHealth(h provider.Health, waiting []step.Waiting) ProviderHealth {
	shown := ProviderHealth{
		Provider: string(h.Provider), State: string(h.State), Since: h.Since, LastError: h.LastError, CheckedAt: h.CheckedAt,
	}
	for _, w := range waiting {
		if w.Provider == h.Provider && w.WaitsFor == step.ForProvider {
			shown.Waiting, shown.OldestWaiting = w.Count, &w.Oldest
		}
	}
	return shown
}

// decide carries an operator's verdict to the workflow that waits for it, and records who gave it.
// A workflow that is gone is started again and told at once.
func (a *API) decide(ctx context.Context, in *stepInPath, verdict string) (*customerAnswer, error) {
	if err := checkNote(in.note()); err != nil {
		return nil, a.fail(ctx, err)
	}
	c, err := a.find(ctx, in.ID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	whom, err := a.mayDecide(ctx, c, in.Step)
	if err != nil {
		return nil, err
	}
	if err := a.tellStep(ctx, whom, in.Step, verdict, in.note()); err != nil {
		return nil, err
	}
	if c, err = a.deps.Customers.Get(ctx, in.ID); err != nil {
		return nil, a.fail(ctx, err)
	}
	return a.answer(ctx, http.StatusOK, c)
}

// Bounds of the wait for the workflow to take a verdict, and of the recording of it.
const (
	decideTimeout = 8 * time.Second
	recordTimeout = 5 * time.Second
)

// tellStep carries a verdict to the workflow that waits with a step, and records who gave it.
func (a *API) tellStep(ctx context.Context, whom asked, name, verdict, note string) error {
	if err := a.ask(ctx, whom, verdict, workflows.StepInput{Step: name}, decideTimeout, nil); err != nil {
		return a.notDecided(ctx, whom.workflowID, name, err)
	}
	// It is decided, also when they no longer wait for the answer.
	recording, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if err := step.RecordVerdict(recording, a.deps.Pool, actor(ctx), verdict, whom.workflowID, name, note); err != nil {
		return a.fail(ctx, err)
	}
	return nil
}

// mayDecide tells which workflow waits with a step of the customer, and refuses a verdict on a step
// that does not wait.
func (a *API) mayDecide(ctx context.Context, c customer.Customer, name string) (asked, error) {
	for _, whom := range []asked{onboardingOf(c.ID), syncOf(c.ID), accountCheckOf(c.ID)} {
		known, err := a.waitsWith(ctx, whom, name)
		if err != nil || known {
			return whom, err
		}
	}
	return asked{}, noSuchStep()
}

// waitsWith says whether a workflow has a step, and refuses a verdict on one that does not wait.
func (a *API) waitsWith(ctx context.Context, whom asked, name string) (known bool, err error) {
	steps, err := step.ByWorkflow(ctx, a.deps.Pool, whom.workflowID)
	if err != nil {
		return false, a.fail(ctx, err)
	}
	i := slices.IndexFunc(steps, func(s step.Step) bool { return s.Name == name })
	switch {
	case i < 0:
		return false, nil
	case steps[i].Status != step.Blocked:
		return true, notWaiting("the step is " + string(steps[i].Status) + " and does not wait")
	}
	return true, nil
}

func noSuchStep() error {
	return huma.Error404NotFound("there is no such step here", &huma.ErrorDetail{Location: "path.step", Message: "is not a step of what the path names"})
}

func notWaiting(detail string) error {
	return huma.Error409Conflict(detail, &huma.ErrorDetail{Location: "path.step", Message: "does not wait for anything"})
}

// notDecided tells a refusal of the workflow from a Temporal that cannot be asked.
func (a *API) notDecided(ctx context.Context, workflowID, name string, err error) error {
	if refused, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		switch refused.Type() {
		case workflows.ErrStepNotWaiting, workflows.ErrUnknownStep:
			return notWaiting(refused.Message())
		}
	}
	a.log(ctx).WarnContext(ctx, "a workflow did not answer to an operator's verdict", "workflow_id", workflowID, "step", name, "error", err)
	return huma.Error503ServiceUnavailable("the workflow did not answer, so it may or may not have heard; see how the step stands, and try again")
}
