package httpapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

// Attention is something that waits for a person.
type Attention struct {
	CustomerID string    `json:"customer_id"`
	WorkflowID string    `json:"workflow_id"`
	Step       string    `json:"step"`
	Provider   string    `json:"provider"`
	Attempts   int       `json:"attempts"`
	LastError  string    `json:"last_error"`
	Since      time.Time `json:"since"`
	Resolve    []Resolve `json:"resolve" doc:"The calls that end the wait."`
}

// Resolve is a call that ends a wait.
type Resolve struct {
	Method string `json:"method"`
	Path   string `json:"path"`
}

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

type attentionPage struct {
	Body struct {
		Items      []Attention `json:"items"`
		NextCursor string      `json:"next_cursor,omitempty" doc:"Give it as cursor for the next page; missing on the last."`
	}
}

type providersAnswer struct {
	Body struct {
		Items []ProviderHealth `json:"items"`
	}
}

// stepInPath names a step of a customer.
type stepInPath struct {
	InCustomer

	Step string `path:"step" maxLength:"64" doc:"Such as stripe_customer."`
	Body *struct {
		Note string `json:"note,omitempty" maxLength:"1000" doc:"Why; recorded with your key's name."`
	}
}

func (a *API) routeOperators() {
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "list-attention", Method: http.MethodGet, Path: "/v1/ops/attention", Tags: []string{tagOperators},
		Summary: "Everything that waits for a person, oldest first", Errors: []int{422},
	}, config.ScopeOps), a.listAttention)
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

func (a *API) listAttention(ctx context.Context, in *struct {
	Cursor string `query:"cursor" maxLength:"1024" doc:"next_cursor of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
},
) (*attentionPage, error) {
	after, err := decodeCursor(in.Cursor)
	if err != nil {
		return nil, huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{Location: "query.cursor", Message: "is not one of ours"})
	}
	steps, err := step.Attention(ctx, a.deps.Pool, after, in.Limit)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	page := &attentionPage{}
	page.Body.Items = make([]Attention, len(steps))
	for i, s := range steps {
		page.Body.Items[i] = showAttention(s)
	}
	if len(steps) == in.Limit {
		page.Body.NextCursor = encodeCursor(steps[len(steps)-1].Cursor())
	}
	return page, nil
}

func showAttention(s step.Step) Attention {
	shown := Attention{
		CustomerID: s.CustomerID, WorkflowID: s.WorkflowID, Step: s.Name, Provider: string(s.Provider),
		Attempts: s.Attempts, LastError: s.LastError, Since: s.Cursor().BlockedAt,
	}
	for _, verdict := range []string{step.VerdictRetry, step.VerdictSkip} {
		shown.Resolve = append(shown.Resolve, Resolve{http.MethodPost, "/v1/ops/customers/" + s.CustomerID + "/steps/" + s.Name + "/" + verdict})
	}
	return shown
}

func encodeCursor(c step.Cursor) string {
	encoded, err := json.Marshal(c)
	if err != nil {
		panic(err) // a time and two texts
	}
	return base64.RawURLEncoding.EncodeToString(encoded)
}

func decodeCursor(text string) (c step.Cursor, err error) {
	if text == "" {
		return c, nil
	}
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(decoded, &c); err != nil {
		return c, err
	}
	if unstorable(c.WorkflowID) || unstorable(c.Name) {
		return c, errors.New("a NUL in a cursor")
	}
	return c, nil
}

// unstorable says that Postgres takes no such text.
func unstorable(text string) bool {
	return strings.ContainsRune(text, 0)
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
	note := ""
	if in.Body != nil {
		note = in.Body.Note
	}
	if unstorable(note) {
		return nil, a.fail(ctx, &customer.FieldError{Field: "note", Reason: "must not have a NUL in it"})
	}
	c, err := a.find(ctx, in.ID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	if err := mayDecide(c, in.Step); err != nil {
		return nil, err
	}
	if err := a.tell(ctx, in, verdict); err != nil {
		return nil, a.notDecided(ctx, in, err)
	}
	if err := a.record(ctx, in, verdict, note); err != nil {
		return nil, a.fail(ctx, err)
	}
	if c, err = a.customers.Get(ctx, in.ID); err != nil {
		return nil, a.fail(ctx, err)
	}
	return answer(http.StatusOK, c), nil
}

// Bounds of the wait for the workflow to take a verdict, and of the recording of it.
const (
	decideTimeout = 10 * time.Second
	recordTimeout = 5 * time.Second
)

func (a *API) tell(ctx context.Context, in *stepInPath, verdict string) error {
	ctx, cancel := context.WithTimeout(ctx, decideTimeout)
	defer cancel()
	return a.update(ctx, in.ID, verdict, workflows.StepInput{Step: in.Step})
}

// record keeps who decided, also when they no longer wait for the answer: it is decided.
func (a *API) record(ctx context.Context, in *stepInPath, verdict, note string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	return step.RecordVerdict(ctx, a.deps.Pool, actor(ctx), verdict, workflows.OnboardingID(in.ID), in.Step, note)
}

// mayDecide refuses a verdict on a step that does not wait.
func mayDecide(c customer.Customer, name string) error {
	i := slices.IndexFunc(c.Steps, func(s step.Step) bool { return s.Name == name })
	if i < 0 {
		return huma.Error404NotFound("the customer has no such step", &huma.ErrorDetail{Location: "path.step", Message: "is not a step of this customer"})
	}
	if c.Steps[i].Status != step.Blocked {
		return notWaiting("the step is " + string(c.Steps[i].Status) + " and does not wait")
	}
	return nil
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
