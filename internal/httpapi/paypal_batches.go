package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

// PayPalBatch is payouts that go to PayPal together. It names no one who is paid.
type PayPalBatch struct {
	ID            string     `json:"id"`
	Status        string     `json:"status" enum:"open,sending,sent,split,held,ended" doc:"sent: PayPal has it. split: PayPal refused it, and its payouts are in other batches."`
	StatusSince   time.Time  `json:"status_since"`
	Reason        string     `json:"reason,omitempty" doc:"Why it has this status: a code."`
	RunDate       string     `json:"run_date,omitempty" format:"date"`
	Payouts       int        `json:"payouts"`
	UnderWay      int        `json:"under_way" doc:"Of its payouts, those that are sending or in_transit."`
	PayPalBatchID string     `json:"paypal_batch_id,omitempty" doc:"PayPal's payout_batch_id."`
	SentAt        *time.Time `json:"sent_at,omitempty"`
	CheckedAt     *time.Time `json:"checked_at,omitempty" doc:"When PayPal was asked about it last."`
	WorkflowID    string     `json:"workflow_id" doc:"In Temporal."`
	Steps         []Step     `json:"steps"`
}

type payPalBatchAnswer struct {
	Body PayPalBatch
}

// InPayPalBatch names a batch in the path.
type InPayPalBatch struct {
	ID string `path:"id" maxLength:"64" doc:"As in pb_…."`
}

func (a *API) routePayPalBatches() {
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "get-paypal-batch", Method: http.MethodGet, Path: "/v1/ops/paypal-batches/{id}", Tags: []string{tagOperators},
		Summary: "A batch of payouts at PayPal, and how far it is", Errors: []int{404, 422, 503},
	}, config.ScopeOps), a.getPayPalBatch)
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "retry-paypal-batch-step", Method: http.MethodPost, Path: "/v1/ops/paypal-batches/{id}/steps/{step}/retry", Tags: []string{tagOperators},
		Summary: "Try a waiting step of a batch at PayPal now", Description: "Recorded with your key's name.",
		Errors: []int{400, 404, 409, 413, 415, 422, 503},
	}, config.ScopeOps), a.retryPayPalBatchStep)
}

func (a *API) getPayPalBatch(ctx context.Context, in *InPayPalBatch) (*payPalBatchAnswer, error) {
	b, err := a.findPayPalBatch(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	steps, err := step.ByWorkflow(ctx, a.deps.Pool, workflows.PayPalBatchID(b.ID))
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &payPalBatchAnswer{Body: showPayPalBatch(b, steps)}, nil
}

// retryPayPalBatchStep has the step of a batch tried again that waits for a person.
func (a *API) retryPayPalBatchStep(ctx context.Context, in *struct {
	InPayPalBatch
	Noted

	Step string `path:"step" maxLength:"64" doc:"Such as paypal_batch."`
},
) (*payPalBatchAnswer, error) {
	if err := checkNote(in.note()); err != nil {
		return nil, a.fail(ctx, err)
	}
	b, err := a.findPayPalBatch(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if err := a.retryStepOf(ctx, payPalBatchOf(b.ID), in.Step, in.note()); err != nil {
		return nil, err
	}
	return a.getPayPalBatch(ctx, &in.InPayPalBatch)
}

// findPayPalBatch reads a batch. What cannot be an id is no batch's.
func (a *API) findPayPalBatch(ctx context.Context, id string) (payout.Batch, error) {
	err := payout.ErrNoBatch
	var b payout.Batch
	if payout.ValidBatchID(id) {
		b, err = payout.GetBatch(ctx, a.deps.Pool, id)
	}
	switch {
	case errors.Is(err, payout.ErrNoBatch):
		return b, huma.Error404NotFound("there is no such batch", &huma.ErrorDetail{Location: "path.id", Message: "is no batch's"})
	case err != nil:
		return b, a.fail(ctx, err)
	}
	return b, nil
}

func showPayPalBatch(b payout.Batch, steps []step.Step) PayPalBatch {
	shown := PayPalBatch{
		ID: b.ID, Status: string(b.State), StatusSince: b.StateSince, Reason: b.Reason, Payouts: b.Size, UnderWay: b.Open,
		PayPalBatchID: b.PayPalBatchID, SentAt: b.SentAt, CheckedAt: b.CheckedAt, WorkflowID: workflows.PayPalBatchID(b.ID),
		Steps: make([]Step, len(steps)),
	}
	if !b.RunDate.IsZero() {
		shown.RunDate = b.RunDate.String()
	}
	for i, s := range steps {
		shown.Steps[i] = showStep(s)
	}
	return shown
}
