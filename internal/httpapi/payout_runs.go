package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/workflows"
)

// PayoutRun is the payouts of a date.
type PayoutRun struct {
	Date       string         `json:"date" format:"date"`
	State      string         `json:"state" enum:"computing,awaiting_approval,paying,paused,ended" doc:"ended: every payout goes its own way."`
	ResumesTo  string         `json:"resumes_to,omitempty" doc:"While it is paused: where it goes on."`
	Cause      string         `json:"cause" doc:"What began it: schedule, or operator."`
	Actor      string         `json:"actor,omitempty" doc:"The name of the key that began it."`
	ApprovedBy string         `json:"approved_by,omitempty" doc:"The name of the key."`
	Note       string         `json:"note,omitempty"`
	WorkflowID string         `json:"workflow_id" doc:"In Temporal."`
	StartedAt  time.Time      `json:"started_at"`
	ComputedAt *time.Time     `json:"computed_at,omitempty" doc:"Since when it is known who gets what."`
	EndedAt    *time.Time     `json:"ended_at,omitempty"`
	Looked     int            `json:"looked" doc:"Payees who were looked at."`
	Totals     []PayoutTotal  `json:"totals" doc:"Of each status and currency that its payouts have."`
	Missing    []MissingFunds `json:"missing" doc:"What the platform lacked, so that somebody waits for the next run."`
}

// MissingFunds is what the platform had too little of.
type MissingFunds struct {
	Provider string       `json:"provider" enum:"stripe,paypal"`
	Amount   money.Amount `json:"amount" doc:"What is to be added there."`
	Payouts  int          `json:"payouts" doc:"How many wait for it."`
}

// PayoutTotal is what payouts of one status and currency come to.
type PayoutTotal struct {
	Status string       `json:"status" enum:"planned,sending,in_transit,unclaimed,held,paid,failed,canceled,returned"`
	Count  int          `json:"count"`
	Gross  money.Amount `json:"gross"`
	Fee    money.Amount `json:"fee"`
	Net    money.Amount `json:"net"`
}

// PayoutsSwitch is the kill switch of payouts.
type PayoutsSwitch struct {
	Enabled bool      `json:"enabled" doc:"Off: no transfer, payout or batch is begun. Look-ups and reversals go on."`
	Reason  string    `json:"reason,omitempty"`
	Actor   string    `json:"actor,omitempty" doc:"The name of the key that turned it."`
	At      time.Time `json:"at"`
}

type runAnswer struct {
	Status int
	Body   PayoutRun
}

type switchAnswer struct {
	Body PayoutsSwitch
}

// InPayoutRun names a run in the path.
type InPayoutRun struct {
	Date string `path:"date" maxLength:"10" doc:"As in 2026-11-20."`
}

// notedRun is a decision on a run, and why.
type notedRun struct {
	InPayoutRun
	Noted
}

func (a *API) routePayoutRuns() {
	huma.Register(a.huma, alsoAnswers[PayoutRun](a, keyed(huma.Operation{
		OperationID: "start-payout-run", Method: http.MethodPost, Path: "/v1/ops/payout-runs", Tags: []string{tagOperators},
		Summary: "Start the payouts of a date",
		Description: "A schedule does so every day. There is one run for each date, whoever starts it, so that nobody is paid twice; " +
			"one for a date that was missed pays the cycles that were due on it.",
		DefaultStatus: http.StatusCreated, Errors: []int{400, 413, 415, 422, 503},
	}, config.ScopeOps), http.StatusOK, "There is one already."), a.startPayoutRun)
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "get-payout-run", Method: http.MethodGet, Path: "/v1/ops/payout-runs/{date}", Tags: []string{tagOperators},
		Summary: "The payouts of a date: how far they are, and what they come to", Errors: []int{404, 422, 503},
	}, config.ScopeOps), a.getPayoutRun)
	decision := func(name, summary, description string) {
		huma.Register(a.huma, keyed(huma.Operation{
			OperationID: name + "-payout-run", Method: http.MethodPost, Path: "/v1/ops/payout-runs/{date}/" + name, Tags: []string{tagOperators},
			Summary: summary, Description: description, Errors: []int{400, 404, 409, 413, 415, 422, 503},
		}, config.ScopeOps), func(ctx context.Context, in *notedRun) (*runAnswer, error) { return a.decideRun(ctx, in, name) })
	}
	decision(approveRun, "Let a run pay what it has worked out", "Recorded with your key's name. 409 when it does not wait for approval.")
	decision(pauseRun, "Stop a run from paying", "Nothing new is sent; what was sent is followed to its end. Recorded with your key's name.")
	decision(resumeRun, "Have a paused run go on", "Recorded with your key's name.")

	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "retry-payout-run-step", Method: http.MethodPost, Path: "/v1/ops/payout-runs/{date}/steps/{step}/retry", Tags: []string{tagOperators},
		Summary: "Try a waiting step of a run now", Description: "Recorded with your key's name.",
		Errors: []int{400, 404, 409, 413, 415, 422, 503},
	}, config.ScopeOps), a.retryRunStep)
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "get-payouts-switch", Method: http.MethodGet, Path: "/v1/ops/payouts-switch", Tags: []string{tagOperators},
		Summary: "Whether payouts are made", Errors: []int{503},
	}, config.ScopeOps), a.getPayoutsSwitch)
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "turn-payouts-switch", Method: http.MethodPost, Path: "/v1/ops/payouts-switch", Tags: []string{tagOperators},
		Summary:     "Stop all payouts, or have them go on",
		Description: "Off: no transfer, payout or batch is begun; look-ups and reversals go on. Recorded with your key's name.",
		Errors:      []int{400, 413, 415, 422, 503},
	}, config.ScopeOps), a.turnPayoutsSwitch)
}

// What an operator may decide about a run.
const (
	approveRun = "approve"
	pauseRun   = "pause"
	resumeRun  = "resume"
)

// dateIn reads the date that a part of the request gives.
func dateIn(location, text string) (date.Date, error) {
	d, err := date.Parse(text)
	if err != nil {
		return date.Date{}, huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{Location: location, Message: "must be a date, as in 2026-11-20"})
	}
	return d, nil
}

func (a *API) startPayoutRun(ctx context.Context, in *struct {
	Body struct {
		Date string `json:"date" maxLength:"10" doc:"Today's or an earlier one, in UTC, as in 2026-11-20."`
	}
},
) (*runAnswer, error) {
	on, err := dateIn("body.date", in.Body.Date)
	if err != nil {
		return nil, err
	}
	run, created, err := a.deps.Payouts.BeginRun(ctx, on, causeOperator, actor(ctx))
	if err != nil {
		return nil, a.failRun(ctx, err)
	}
	if run.State != payout.RunEnded { // also when there was one: its workflow may be gone
		if err := a.handOver(ctx, workflows.TellPayoutRun(on, "start/"+requestOf(ctx).id)); err != nil {
			return nil, a.fail(ctx, err)
		}
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return a.answerRun(ctx, status, on)
}

// causeOperator is the cause of a run that a person began.
const causeOperator = "operator"

// handOver gives Temporal something to do, through the outbox.
func (a *API) handOver(ctx context.Context, message outbox.Message) error {
	err := postgres.InTx(ctx, a.deps.Pool, func(tx pgx.Tx) error { return outbox.Add(ctx, tx, message) })
	if err == nil {
		a.deps.Notify()
	}
	return err
}

func (a *API) getPayoutRun(ctx context.Context, in *InPayoutRun) (*runAnswer, error) {
	on, err := dateIn("path.date", in.Date)
	if err != nil {
		return nil, err
	}
	return a.answerRun(ctx, http.StatusOK, on)
}

// decideRun carries out what an operator decides about a run. It is true in Postgres at once; the
// workflow is told so that it does not wait any longer.
func (a *API) decideRun(ctx context.Context, in *notedRun, decision string) (*runAnswer, error) {
	on, err := dateIn("path.date", in.Date)
	if err != nil {
		return nil, err
	}
	if err := checkNote(in.note()); err != nil {
		return nil, a.fail(ctx, err)
	}
	decide := map[string]func(context.Context, date.Date, string, string) error{
		approveRun: a.deps.Payouts.Approve, pauseRun: a.deps.Payouts.PauseRun, resumeRun: a.deps.Payouts.ResumeRun,
	}[decision]
	if err := decide(ctx, on, actor(ctx), in.note()); err != nil {
		return nil, a.failRun(ctx, err)
	}
	if err := a.handOver(ctx, workflows.TellPayoutRun(on, decision+"/"+requestOf(ctx).id)); err != nil {
		return nil, a.fail(ctx, err)
	}
	return a.answerRun(ctx, http.StatusOK, on)
}

// retryRunStep has the step of a run tried again that waits for a person.
func (a *API) retryRunStep(ctx context.Context, in *struct {
	InPayoutRun
	Noted

	Step string `path:"step" maxLength:"64" doc:"Such as stripe_funds."`
},
) (*runAnswer, error) {
	on, err := dateIn("path.date", in.Date)
	if err != nil {
		return nil, err
	}
	if err := checkNote(in.note()); err != nil {
		return nil, a.fail(ctx, err)
	}
	if _, err := payout.GetRun(ctx, a.deps.Pool, on); err != nil {
		return nil, a.failRun(ctx, err)
	}
	if err := a.retryStepOf(ctx, payoutRunOf(on), in.Step, in.note()); err != nil {
		return nil, err
	}
	return a.answerRun(ctx, http.StatusOK, on)
}

// answerRun shows a run with what its payouts come to.
func (a *API) answerRun(ctx context.Context, status int, on date.Date) (*runAnswer, error) {
	run, err := payout.GetRun(ctx, a.deps.Pool, on)
	if err != nil {
		return nil, a.failRun(ctx, err)
	}
	totals, err := payout.RunTotals(ctx, a.deps.Pool, on)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	missing, err := payout.RunShortfalls(ctx, a.deps.Pool, on)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &runAnswer{Status: status, Body: showRun(run, totals, missing)}, nil
}

func showRun(run payout.Run, totals []payout.RunTotal, missing []payout.Shortfall) PayoutRun {
	shown := PayoutRun{
		Date: run.Date.String(), State: string(run.State), ResumesTo: string(run.ResumesTo), Cause: run.Cause, Actor: run.Actor,
		ApprovedBy: run.ApprovedBy, Note: run.Note, WorkflowID: workflows.PayoutRunID(run.Date), Looked: run.Looked,
		StartedAt: run.StartedAt, ComputedAt: run.ComputedAt, EndedAt: run.EndedAt,
		Totals: make([]PayoutTotal, len(totals)), Missing: make([]MissingFunds, len(missing)),
	}
	for i, t := range totals {
		shown.Totals[i] = PayoutTotal{
			Status: string(t.State), Count: t.Payouts,
			Gross: money.New(t.Gross, t.Currency), Fee: money.New(t.Fee, t.Currency), Net: money.New(t.Net, t.Currency),
		}
	}
	for i, m := range missing {
		shown.Missing[i] = MissingFunds{Provider: string(m.Rail), Amount: m.Amount(), Payouts: m.Payouts}
	}
	return shown
}

// failRun turns an error about a run into a problem.
func (a *API) failRun(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, payout.ErrNoRun):
		return huma.Error404NotFound("there is no run of this date", &huma.ErrorDetail{Location: "path.date", Message: "nobody has started the run of this date"})
	case errors.Is(err, payout.ErrState):
		return huma.Error409Conflict(sentence(err), &huma.ErrorDetail{Location: "path.date", Message: "is in a state that does not allow it"})
	}
	return a.fail(ctx, err)
}

// sentence is a refusal of the domain's, without the words by which programs tell it apart.
func sentence(err error) string {
	return strings.TrimSuffix(err.Error(), ": "+payout.ErrState.Error())
}

func (a *API) getPayoutsSwitch(ctx context.Context, _ *struct{}) (*switchAnswer, error) {
	stands, err := payout.ReadSwitch(ctx, a.deps.Pool)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &switchAnswer{Body: PayoutsSwitch(stands)}, nil
}

func (a *API) turnPayoutsSwitch(ctx context.Context, in *struct {
	Body struct {
		Enabled bool   `json:"enabled"`
		Reason  string `json:"reason" maxLength:"1000" doc:"Why; recorded with your key's name."`
	}
},
) (*switchAnswer, error) {
	if strings.TrimSpace(in.Body.Reason) == "" || unstorable(in.Body.Reason) {
		return nil, a.fail(ctx, &customer.FieldError{Field: "reason", Reason: "must say why, without a NUL"})
	}
	if err := a.deps.Payouts.SetSwitch(ctx, in.Body.Enabled, actor(ctx), in.Body.Reason); err != nil {
		return nil, a.fail(ctx, err)
	}
	a.deps.Notify() // turned on, it wakes what waits
	return a.getPayoutsSwitch(ctx, nil)
}
