package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast/holdfast/internal/attention"
	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/workflows"
)

// Attention is something that waits for a person.
type Attention struct {
	Kind       string    `json:"kind" enum:"step,unknown_subject,double_subscription,undelivered_change,held_payout,unapproved_payout_run,payout_funds,late_payout,payout_part_reversed,payout_paid_twice"`
	CustomerID string    `json:"customer_id,omitempty"`
	WorkflowID string    `json:"workflow_id,omitempty"`
	Step       string    `json:"step,omitempty"`
	Provider   string    `json:"provider,omitempty"`
	Subject    string    `json:"subject,omitempty" doc:"At the provider: cus_… or I-…."`
	ChangeSeq  int64     `json:"change_seq,omitempty" doc:"The number of a change."`
	PayoutID   string    `json:"payout_id,omitempty"`
	RunDate    string    `json:"run_date,omitempty" format:"date" doc:"Of a run of payouts."`
	Attempts   int       `json:"attempts,omitempty"`
	LastError  string    `json:"last_error,omitempty"`
	Detail     string    `json:"detail" doc:"What waits, and what to do."`
	Since      time.Time `json:"since"`
	Resolve    []Resolve `json:"resolve" doc:"The calls that end the wait."`
}

// Resolve is a call that ends a wait.
type Resolve struct {
	Method string `json:"method"`
	Path   string `json:"path"`
}

type attentionPage struct {
	Body struct {
		Items      []Attention `json:"items"`
		NextCursor string      `json:"next_cursor,omitempty" doc:"Give it as cursor for the next page; missing on the last."`
	}
}

func (a *API) routeAttention() {
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "list-attention", Method: http.MethodGet, Path: "/v1/ops/attention", Tags: []string{tagOperators},
		Summary: "Everything that waits for a person, oldest first", Errors: []int{422},
	}, config.ScopeOps), a.listAttention)
}

// attentionSources are where things that wait for a person come from.
func attentionSources() []attention.Source {
	return []attention.Source{
		waitingSteps, doubleSubscriptions, strangersInAttention, undeliveredChanges, heldPayouts, unapprovedRuns, missingFunds, latePayouts, partReversals, paidTwice,
	}
}

func (a *API) listAttention(ctx context.Context, in *struct {
	Cursor string `query:"cursor" maxLength:"1024" doc:"next_cursor of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
},
) (*attentionPage, error) {
	after, err := decodeCursor[attention.Cursor](in.Cursor)
	if err != nil {
		return nil, err
	}
	items, err := attention.List(ctx, a.deps.Pool, attentionSources(), after, in.Limit)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	page := &attentionPage{}
	page.Body.Items = make([]Attention, len(items))
	for i, item := range items {
		page.Body.Items[i] = showAttention(item)
	}
	if len(items) == in.Limit {
		page.Body.NextCursor = encodeCursor(items[len(items)-1].Cursor())
	}
	return page, nil
}

func showAttention(i attention.Item) Attention {
	return Attention{
		Kind: string(i.Kind), CustomerID: i.CustomerID, WorkflowID: i.WorkflowID, Step: i.Step, Provider: i.Provider, Subject: i.Subject,
		ChangeSeq: i.ChangeSeq, PayoutID: i.PayoutID, RunDate: i.RunDate, Attempts: i.Attempts, LastError: i.LastError, Detail: i.Detail, Since: i.Since, Resolve: resolutions(i),
	}
}

// resolutions are the calls that end a wait.
func resolutions(i attention.Item) []Resolve {
	switch i.Kind {
	case attention.Step:
		return stepResolutions(i)
	case attention.UndeliveredChange:
		return []Resolve{{http.MethodPost, "/v1/ops/changes/" + i.ID + "/redeliver"}}
	case attention.UnknownSubject:
		return []Resolve{{http.MethodPost, "/v1/ops/unknown-subjects/" + i.Provider + "/" + url.PathEscape(i.Subject) + "/dismiss"}}
	case attention.HeldPayout:
		return []Resolve{{http.MethodPost, "/v1/ops/payouts/" + i.PayoutID + "/resolve"}}
	case attention.UnapprovedRun:
		return []Resolve{{http.MethodPost, "/v1/ops/payout-runs/" + i.RunDate + "/approve"}}
	case attention.PayoutFunds, attention.LatePayout, attention.PartReversal, attention.PaidTwice:
		return []Resolve{} // what there is to do is done at the provider
	default:
		return []Resolve{{http.MethodPost, "/v1/customers/" + i.CustomerID + "/sync"}}
	}
}

// stepResolutions are the calls that have a step tried again, or gone on without. What pays somebody is not
// skipped.
func stepResolutions(i attention.Item) []Resolve {
	path := "/steps/" + i.Step + "/"
	if id, ok := strings.CutPrefix(i.WorkflowID, workflows.PayoutID("")); ok {
		return []Resolve{{http.MethodPost, "/v1/ops/payouts/" + id + path + step.VerdictRetry}}
	}
	if id, ok := strings.CutPrefix(i.WorkflowID, workflows.PayPalBatchID("")); ok {
		return []Resolve{{http.MethodPost, "/v1/ops/paypal-batches/" + id + path + step.VerdictRetry}}
	}
	if on, ok := runOf(i.WorkflowID); ok {
		return []Resolve{{http.MethodPost, "/v1/ops/payout-runs/" + on + path + step.VerdictRetry}}
	}
	if i.CustomerID == "" {
		return []Resolve{} // it is told in Temporal: see the detail
	}
	path = "/v1/ops/customers/" + i.CustomerID + path
	return []Resolve{{http.MethodPost, path + step.VerdictRetry}, {http.MethodPost, path + step.VerdictSkip}}
}

// runOf is the date of the run that a workflow works on, if it works on one.
func runOf(workflowID string) (on string, ok bool) {
	someDay := date.New(2000, time.January, 1)
	return strings.CutPrefix(workflowID, strings.TrimSuffix(workflows.PayoutRunID(someDay), someDay.String()))
}

// waitingSteps are the steps that wait for a person.
func waitingSteps(ctx context.Context, db postgres.DB, after attention.Cursor, limit int) ([]attention.Item, error) {
	since, id := after.After(attention.Step)
	workflowID, name, _ := strings.Cut(id, stepSeparator)
	steps, err := step.Attention(ctx, db, step.Cursor{BlockedAt: since, WorkflowID: workflowID, Name: name}, limit)
	if err != nil {
		return nil, err
	}
	items := make([]attention.Item, len(steps))
	for i, s := range steps {
		items[i] = attention.Item{
			Kind: attention.Step, ID: s.WorkflowID + stepSeparator + s.Name, Since: s.Cursor().BlockedAt,
			CustomerID: s.CustomerID, WorkflowID: s.WorkflowID, Step: s.Name, Provider: string(s.Provider),
			Attempts: s.Attempts, LastError: s.LastError,
		}
		items[i].Detail = stepDetail(items[i])
	}
	return items, nil
}

// stepDetail says what is to be done of a step, as its resolutions allow.
func stepDetail(i attention.Item) string {
	switch len(stepResolutions(i)) {
	case 0:
		return "The provider refuses this step. Mend the cause and send its workflow the update retry or skip, with the step's name."
	case 1:
		return "The provider refuses this step. Mend the cause and retry it."
	default:
		return "The provider refuses this step. Mend the cause and retry it, or skip it."
	}
}

// stepSeparator sorts before everything that an id or a name may have in it, so that the ids of items
// sort like workflows and then steps.
const stepSeparator = " "

// doubleSubscriptions are the customers who are charged at two providers.
func doubleSubscriptions(ctx context.Context, db postgres.DB, after attention.Cursor, limit int) ([]attention.Item, error) {
	since, id := after.After(attention.DoubleSubscription)
	doubled, err := subscription.ListDoubled(ctx, db, since, id, limit)
	if err != nil {
		return nil, err
	}
	items := make([]attention.Item, len(doubled))
	for i, d := range doubled {
		items[i] = attention.Item{
			Kind: attention.DoubleSubscription, ID: d.CustomerID, Since: d.Since, CustomerID: d.CustomerID,
			Detail: "The customer is charged at two providers. Cancel one of the subscriptions there, and sync.",
		}
	}
	return items, nil
}
