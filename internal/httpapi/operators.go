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
	if err := a.ask(ctx, whom, verdict, workflows.StepInput{Step: in.Step}, decideTimeout, nil); err != nil {
		return nil, a.notDecided(ctx, in, err)
	}
	if err := a.record(ctx, in, verdict, whom.workflowID); err != nil {
		return nil, a.fail(ctx, err)
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

// record keeps who decided, also when they no longer wait for the answer: it is decided.
func (a *API) record(ctx context.Context, in *stepInPath, verdict, workflowID string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	return step.RecordVerdict(ctx, a.deps.Pool, actor(ctx), verdict, workflowID, in.Step, in.note())
}

// mayDecide tells which workflow waits with a step of the customer, and refuses a verdict on a step
// that does not wait.
func (a *API) mayDecide(ctx context.Context, c customer.Customer, name string) (asked, error) {
	reads, err := step.ByWorkflow(ctx, a.deps.Pool, workflows.SyncID(c.ID))
	if err != nil {
		return asked{}, a.fail(ctx, err)
	}
	steps := slices.Concat(c.Steps, reads)
	i := slices.IndexFunc(steps, func(s step.Step) bool { return s.Name == name })
	if i < 0 {
		return asked{}, huma.Error404NotFound("the customer has no such step", &huma.ErrorDetail{Location: "path.step", Message: "is not a step of this customer"})
	}
	if steps[i].Status != step.Blocked {
		return asked{}, notWaiting("the step is " + string(steps[i].Status) + " and does not wait")
	}
	if i < len(c.Steps) {
		return onboardingOf(c.ID), nil
	}
	return syncOf(c.ID), nil
}

func notWaiting(detail string) error {
	return huma.Error409Conflict(detail, &huma.ErrorDetail{Location: "path.step", Message: "does not wait for anything"})
}

// notDecided tells a refusal of the workflow from a Temporal that cannot be asked.
func (a *API) notDecided(ctx context.Context, in *stepInPath, err error) error {
	if refused, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		switch refused.Type() {
		case workflows.ErrStepNotWaiting, workflows.ErrUnknownStep:
			return notWaiting(refused.Message())
		}
	}
	a.log(ctx).WarnContext(ctx, "a workflow did not answer to an operator's verdict", "customer_id", in.ID, "step", in.Step, "error", err)
	return huma.Error503ServiceUnavailable("the workflow did not answer, so it may or may not have heard; see how the step stands, and try again")
}
