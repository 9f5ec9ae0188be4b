package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

// notedPayout is a decision on a payout, and why.
type notedPayout struct {
	InPayout
	Noted
}

func (a *API) routePayoutActs() {
	act := func(name, summary, description string, do func(context.Context, *notedPayout) (*payoutAnswer, error)) {
		huma.Register(a.huma, keyed(huma.Operation{
			OperationID: name + "-payout", Method: http.MethodPost, Path: "/v1/ops/payouts/{id}/" + name, Tags: []string{tagOperators},
			Summary: summary, Description: description, Errors: []int{400, 404, 409, 413, 415, 422, 503},
		}, config.ScopeOps), do)
	}
	act("retry", "Pay what a payout did not, by a new one",
		"For one that failed, was canceled or came back: the answer is the new payout. Recorded with your key's name.", a.retryPayout)
	act("cancel", "Have a payout not be paid",
		"As long as its money can be kept back. Recorded with your key's name.", a.cancelPayout)
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "retry-payout-step", Method: http.MethodPost, Path: "/v1/ops/payouts/{id}/steps/{step}/retry", Tags: []string{tagOperators},
		Summary: "Try a waiting step of a payout now", Description: "Recorded with your key's name.",
		Errors: []int{400, 404, 409, 413, 415, 422, 503},
	}, config.ScopeOps), a.retryPayoutStep)
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "record-duplicate-of-payout", Method: http.MethodPost, Path: "/v1/ops/payouts/{id}/record-duplicate", Tags: []string{tagOperators},
		Summary: "Take a second movement of a payout's money into the books",
		Description: "A second transfer for the payout at Stripe, or a second item at PayPal that was paid: it is read there, and what of it did " +
			"not come back is the platform's loss. What the payee gives back is an adjustment below zero. Recorded with your key's name; the same again changes nothing.",
		Errors: []int{400, 404, 409, 413, 415, 422, 503},
	}, config.ScopeOps), a.recordDuplicate)
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "resolve-payout", Method: http.MethodPost, Path: "/v1/ops/payouts/{id}/resolve", Tags: []string{tagOperators},
		Summary: "Say what became of a held payout",
		Description: "The provider is asked first. paid needs the provider's id, which is verified. failed is refused while there is something " +
			"at the provider, the money is not back, or the provider does not answer; force has it all the same, which is alerted. " +
			"Recorded with your key's name.",
		Errors: []int{400, 404, 409, 413, 415, 422, 503},
	}, config.ScopeOps), a.resolvePayout)
}

type duplicate struct {
	ProviderID string `json:"provider_id" minLength:"1" maxLength:"128" doc:"The second transfer, tr_…, or the second payout item; it is read at the provider."`
	Note       string `json:"note" maxLength:"1000" doc:"Why; recorded with your key's name."`
}

// recordDuplicate takes a second movement of a payout's money into the books. The payout's workflow reads it
// at the provider first.
func (a *API) recordDuplicate(ctx context.Context, in *struct {
	InPayout

	Body duplicate
},
) (*payoutAnswer, error) {
	switch {
	case unstorable(in.Body.ProviderID):
		return nil, a.fail(ctx, &customer.FieldError{Field: "provider_id", Reason: "must not have a NUL in it"})
	case strings.TrimSpace(in.Body.Note) == "":
		return nil, a.fail(ctx, &customer.FieldError{Field: "note", Reason: "must say why"})
	}
	found, err := a.payoutToDecide(ctx, in.ID, in.Body.Note)
	if err != nil {
		return nil, err
	}
	if found.Method.Rail() == payout.RailPayPal && found.BatchID == "" {
		return nil, wrongState("the payout was in no batch: it has no workflow that could look at PayPal")
	}
	decision := workflows.DecisionInput{Actor: actor(ctx), ProviderID: in.Body.ProviderID}
	return a.decidePayout(ctx, in.ID, workflows.UpdateRecordDuplicate, decision, "record_duplicate_of_payout", in.Body.Note)
}

// retryPayout makes a payout that ended without being paid again. The answer is the new one.
func (a *API) retryPayout(ctx context.Context, in *notedPayout) (*payoutAnswer, error) {
	if _, err := a.payoutToDecide(ctx, in.ID, in.note()); err != nil {
		return nil, err
	}
	var again payout.Payout
	err := postgres.InTx(ctx, a.deps.Pool, func(tx pgx.Tx) (err error) {
		again, _, err = a.deps.Payouts.Retry(ctx, tx, in.ID, actor(ctx), in.note())
		return err
	})
	if err != nil {
		return nil, a.failPayout(ctx, err)
	}
	a.deps.Notify()
	return a.answerPayout(ctx, again.ID)
}

// cancelPayout has a payout not be paid. One of which nothing was sent is canceled in Postgres; of any
// other the workflow knows whether its money can be kept back.
func (a *API) cancelPayout(ctx context.Context, in *notedPayout) (*payoutAnswer, error) {
	found, err := a.payoutToDecide(ctx, in.ID, in.note())
	if err != nil {
		return nil, err
	}
	switch {
	case found.State == payout.Canceled:
		return a.answerPayout(ctx, in.ID)
	case found.State == payout.Held:
		return nil, wrongState("the payout is held: say what became of it with resolve")
	case found.State == payout.Paid || found.State.Releases():
		return nil, wrongState("the payout is " + string(found.State) + " and cannot be canceled")
	case found.State == payout.Planned:
		err = a.deps.Payouts.CancelUnsent(ctx, in.ID, actor(ctx), in.note())
		if err == nil {
			a.deps.Notify()
			return a.answerPayout(ctx, in.ID)
		}
		if !errors.Is(err, payout.ErrState) {
			return nil, a.failPayout(ctx, err)
		}
		// its workflow has begun meanwhile
	}
	return a.decidePayout(ctx, in.ID, workflows.UpdateCancel, workflows.DecisionInput{Actor: actor(ctx)}, "cancel_payout", in.note())
}

// retryPayoutStep has the step of a payout tried again that waits for a person.
func (a *API) retryPayoutStep(ctx context.Context, in *struct {
	InPayout
	Noted

	Step string `path:"step" maxLength:"64" doc:"Such as stripe_payout; paypal_batch is the step of the batch that a payout is in."`
},
) (*payoutAnswer, error) {
	found, err := a.payoutToDecide(ctx, in.ID, in.note())
	if err != nil {
		return nil, err
	}
	if err := a.retryStepOf(ctx, workOn(found), in.Step, in.note()); err != nil {
		return nil, err
	}
	return a.answerPayout(ctx, in.ID)
}

// retryStepOf has a workflow try a step again that waits.
func (a *API) retryStepOf(ctx context.Context, whom asked, name, note string) error {
	known, err := a.waitsWith(ctx, whom, name)
	switch {
	case err != nil:
		return err
	case !known:
		return noSuchStep()
	}
	return a.tellStep(ctx, whom, name, step.VerdictRetry, note)
}

func wrongState(detail string) error {
	return huma.Error409Conflict(detail, &huma.ErrorDetail{Location: "path.id", Message: "is in a state that does not allow it"})
}

// payoutToDecide reads the payout about which an operator decides.
func (a *API) payoutToDecide(ctx context.Context, id, note string) (payout.Payout, error) {
	if err := checkNote(note); err != nil {
		return payout.Payout{}, a.fail(ctx, err)
	}
	found, err := a.findPayout(ctx, id)
	if err != nil {
		return payout.Payout{}, a.failPayout(ctx, err)
	}
	return found, nil
}

type resolution struct {
	Outcome    string `json:"outcome" enum:"paid,failed"`
	ProviderID string `json:"provider_id,omitempty" maxLength:"128" doc:"With paid: the payout's id at the provider, which is verified there; at PayPal the payout item's, or the payout batch's that turns out to be its batch, which has all payouts of the batch go on."`
	Force      bool   `json:"force,omitempty" doc:"With failed: also against the provider's word, or without it."`
	Note       string `json:"note" maxLength:"1000" doc:"Why; recorded with your key's name."`
}

// check says what is wrong with a resolution, whatever the payout.
func (r resolution) check() error {
	switch {
	case r.Outcome == outcomePaid && r.ProviderID == "":
		return &customer.FieldError{Field: "provider_id", Reason: "is missing: paid needs the payout's id at the provider"}
	case r.Outcome == outcomePaid && r.Force:
		return &customer.FieldError{Field: "force", Reason: "goes with failed: paid is verified at the provider"}
	case r.Outcome != outcomePaid && r.ProviderID != "":
		return &customer.FieldError{Field: "provider_id", Reason: "goes with paid"}
	case unstorable(r.ProviderID):
		return &customer.FieldError{Field: "provider_id", Reason: "must not have a NUL in it"}
	case strings.TrimSpace(r.Note) == "":
		return &customer.FieldError{Field: "note", Reason: "must say why"}
	}
	return nil
}

const outcomePaid = "paid"

// action is how a resolution is recorded.
func (r resolution) action() string {
	action := "resolve_payout_" + r.Outcome
	if r.Force {
		action += "_by_force"
	}
	return action
}

// resolvePayout says what became of a payout that is held. Its workflow looks at the provider first.
func (a *API) resolvePayout(ctx context.Context, in *struct {
	InPayout

	Body resolution
},
) (*payoutAnswer, error) {
	if err := in.Body.check(); err != nil {
		return nil, a.fail(ctx, err)
	}
	found, err := a.payoutToDecide(ctx, in.ID, in.Body.Note)
	if err != nil {
		return nil, err
	}
	if found.State != payout.Held {
		return nil, wrongState("the payout is " + string(found.State) + ": only one that is held can be resolved")
	}
	decision := workflows.DecisionInput{
		Actor: actor(ctx), Outcome: in.Body.Outcome, ProviderID: in.Body.ProviderID, Force: in.Body.Force,
	}
	return a.decidePayout(ctx, in.ID, workflows.UpdateResolve, decision, in.Body.action(), in.Body.Note)
}

// decidePayout carries a decision to the payout's workflow, which asks the provider. Who asked for it,
// and why, is recorded before, and that it is done by the workflow.
func (a *API) decidePayout(ctx context.Context, id, update string, decision workflows.DecisionInput, action, note string) (*payoutAnswer, error) {
	if err := a.deps.Payouts.RecordAsked(ctx, actor(ctx), action, id, note); err != nil {
		return nil, a.fail(ctx, err)
	}
	found, err := a.findPayout(ctx, id) // it may be in a batch by now
	if err != nil {
		return nil, a.failPayout(ctx, err)
	}
	var input any = decision
	if found.BatchID != "" {
		input = workflows.ItemDecisionInput{PayoutID: id, DecisionInput: decision}
	}
	if err := a.ask(ctx, workOn(found), update, input, decidePayoutTimeout, nil); err != nil {
		return nil, a.payoutNotDecided(ctx, id, err)
	}
	return a.answerPayout(ctx, id)
}

// decidePayoutTimeout bounds the wait for a decision on a payout: a provider is asked on the way.
const decidePayoutTimeout = 25 * time.Second

// payoutNotDecided tells a refusal of the workflow from a Temporal that cannot be asked.
func (a *API) payoutNotDecided(ctx context.Context, id string, err error) error {
	if refused, ok := errors.AsType[*temporal.ApplicationError](err); ok && refused.Type() == workflows.ErrConflict {
		return huma.Error409Conflict(refused.Message(), &huma.ErrorDetail{Location: "path.id", Message: "cannot be decided so"})
	}
	a.log(ctx).WarnContext(ctx, "a payout's workflow did not answer to an operator's decision", "payout_id", id, "error", err)
	return huma.Error503ServiceUnavailable("the workflow did not answer, so it may or may not have heard; see how the payout stands, and try again")
}
