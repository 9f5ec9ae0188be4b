package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
)

// Payout is money on its way to a payee, or that was.
type Payout struct {
	ID          string         `json:"id"`
	PayeeID     string         `json:"payee_id" doc:"The customer's id."`
	Kind        string         `json:"kind" enum:"scheduled,manual,retry"`
	RunDate     string         `json:"run_date,omitempty" format:"date" doc:"Of the run that planned it."`
	RequestID   string         `json:"request_id,omitempty" doc:"The app's id of the request, when the payee asked for it."`
	RetryOf     string         `json:"retry_of,omitempty" doc:"The payout that it makes again."`
	Part        int            `json:"part" doc:"1, or more for the further parts of a sum that is above what one payout may be."`
	Attempt     int            `json:"attempt" doc:"1, or more when it makes another one again."`
	Method      string         `json:"method" enum:"stripe_standard,stripe_instant,paypal"`
	Gross       money.Amount   `json:"gross" doc:"What it takes from the balance."`
	Fee         money.Amount   `json:"fee"`
	Net         money.Amount   `json:"net" doc:"What the payee gets: gross less fee."`
	PeriodEnd   string         `json:"period_end" format:"date" doc:"It covers earnings through this date."`
	DueDate     string         `json:"due_date" format:"date" doc:"The date of the cycle that it pays."`
	Status      string         `json:"status" enum:"planned,sending,in_transit,unclaimed,held,paid,failed,canceled,returned"`
	StatusSince time.Time      `json:"status_since"`
	Ending      string         `json:"ending,omitempty" enum:"failed,canceled,returned" doc:"How it ends once the money is back."`
	Provider    PayoutProvider `json:"provider"`
	Failure     *PayoutFailure `json:"failure,omitempty"`
	History     []PayoutChange `json:"history" doc:"Every change of status, oldest first."`
	CreatedAt   time.Time      `json:"created_at"`
}

// PayoutProvider is what is known of a payout at its provider.
type PayoutProvider struct {
	AccountID   string `json:"account_id,omitempty" doc:"The connected account at Stripe."`
	TransferID  string `json:"transfer_id,omitempty"`
	PayoutID    string `json:"payout_id,omitempty" doc:"Of Stripe's payout on the connected account."`
	ReversalID  string `json:"reversal_id,omitempty" doc:"What brought the transfer's money back."`
	BatchID     string `json:"batch_id,omitempty" doc:"PayPal's payout_batch_id, once it has the batch."`
	ItemID      string `json:"item_id,omitempty" doc:"PayPal's payout_item_id, once it has taken the payout."`
	ArrivalDate string `json:"arrival_date,omitempty" format:"date" doc:"When the bank should have it."`
}

// PayoutFailure is why a payout was not paid.
type PayoutFailure struct {
	Class   string `json:"class"`
	Code    string `json:"code" doc:"The provider's own."`
	Message string `json:"message"`
}

// PayoutChange is a change of a payout's status.
type PayoutChange struct {
	From   string    `json:"from,omitempty" doc:"Missing when it was planned."`
	To     string    `json:"to"`
	Reason string    `json:"reason,omitempty"`
	Actor  string    `json:"actor,omitempty" doc:"The name of the key, when a person did it."`
	At     time.Time `json:"at"`
}

type payoutAnswer struct {
	Body Payout
}

type payoutsPage struct {
	Body struct {
		Items      []Payout `json:"items" doc:"The newest first."`
		NextCursor string   `json:"next_cursor,omitempty" doc:"Give it as cursor for the next page; missing on the last."`
	}
}

// InPayout names a payout in the path.
type InPayout struct {
	ID string `path:"id" maxLength:"128" doc:"The payout's id, po_…"`
}

func (a *API) routePayouts() {
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "list-payouts", Method: http.MethodGet, Path: "/v1/payees/{id}/payouts", Tags: []string{tagPayouts},
		Summary: "A payee's payouts, the newest first", Errors: []int{404, 422, 503},
	}, config.ScopePayouts, config.ScopeOps), a.listPayouts)
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "get-payout", Method: http.MethodGet, Path: "/v1/payouts/{id}", Tags: []string{tagPayouts},
		Summary: "Read a payout, with every change of its status", Errors: []int{404, 503},
	}, config.ScopePayouts, config.ScopeOps), a.getPayout)
}

func (a *API) getPayout(ctx context.Context, in *InPayout) (*payoutAnswer, error) {
	return a.answerPayout(ctx, in.ID)
}

// answerPayout shows a payout with its history.
func (a *API) answerPayout(ctx context.Context, id string) (*payoutAnswer, error) {
	found, err := a.findPayout(ctx, id)
	if err != nil {
		return nil, a.failPayout(ctx, err)
	}
	shown, err := a.showPayouts(ctx, []payout.Payout{found})
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &payoutAnswer{Body: shown[0]}, nil
}

// findPayout reads a payout. What cannot be an id is no payout's.
func (a *API) findPayout(ctx context.Context, id string) (payout.Payout, error) {
	if !payout.ValidID(id) {
		return payout.Payout{}, payout.ErrNoPayout
	}
	return payout.GetPayout(ctx, a.deps.Pool, id)
}

func (a *API) listPayouts(ctx context.Context, in *struct {
	InPayee

	Cursor string `query:"cursor" maxLength:"256" doc:"next_cursor of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
},
) (*payoutsPage, error) {
	after, err := decodeCursor[payout.Cursor](in.Cursor)
	if err != nil {
		return nil, err
	}
	if _, err := a.findPayee(ctx, in.ID); err != nil {
		return nil, a.failPayee(ctx, err)
	}
	found, err := payout.ListPayouts(ctx, a.deps.Pool, in.ID, after, in.Limit)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	page := &payoutsPage{}
	if page.Body.Items, err = a.showPayouts(ctx, found); err != nil {
		return nil, a.fail(ctx, err)
	}
	if len(found) == in.Limit {
		page.Body.NextCursor = encodeCursor(found[len(found)-1].Cursor())
	}
	return page, nil
}

// showPayouts shows payouts, each with its history.
func (a *API) showPayouts(ctx context.Context, payouts []payout.Payout) ([]Payout, error) {
	ids := make([]string, len(payouts))
	for i, p := range payouts {
		ids[i] = p.ID
	}
	histories, err := payout.ListTransitions(ctx, a.deps.Pool, ids...)
	if err != nil {
		return nil, err
	}
	shown := make([]Payout, len(payouts))
	for i, p := range payouts {
		shown[i] = showPayout(p, histories[p.ID])
	}
	return shown, nil
}

func showPayout(p payout.Payout, history []payout.Transition) Payout {
	shown := Payout{
		ID: p.ID, PayeeID: p.PayeeID, Kind: string(p.Kind), RunDate: p.RunDate.String(), RequestID: p.ManualID, RetryOf: p.RetryOf,
		Part: p.Part, Attempt: p.Attempt, Method: string(p.Method), Gross: p.Gross, Fee: p.Fee, Net: p.Net,
		PeriodEnd: p.PeriodEnd.String(), DueDate: p.DueDate.String(), Status: string(p.State), StatusSince: p.StateSince,
		Ending: endingOf(p), CreatedAt: p.CreatedAt, History: make([]PayoutChange, len(history)),
		Provider: PayoutProvider{
			AccountID: p.StripeAccountID, TransferID: p.TransferID, PayoutID: p.ProviderPayoutID, ReversalID: p.ReversalID,
			BatchID: p.PayPalBatchID, ArrivalDate: p.ArrivalDate.String(),
		},
	}
	if p.Method.Rail() == payout.RailPayPal {
		shown.Provider.PayoutID, shown.Provider.ItemID = "", p.ProviderPayoutID
	}
	if p.Failure.Class != "" {
		shown.Failure = &PayoutFailure{Class: p.Failure.Class, Code: p.Failure.Code, Message: p.Failure.Message}
	}
	for i, t := range history {
		shown.History[i] = PayoutChange{From: string(t.From), To: string(t.To), Reason: t.Reason, Actor: t.Actor, At: t.At}
	}
	return shown
}

// endingOf is how a payout is going to end whose money is on its way back.
func endingOf(p payout.Payout) string {
	if p.State.Releases() {
		return ""
	}
	return string(p.Ending)
}

// failPayout turns an error about a payout into a problem.
func (a *API) failPayout(ctx context.Context, err error) error {
	var skipped *payout.SkipError
	switch {
	case errors.Is(err, payout.ErrNoPayout):
		return huma.Error404NotFound("there is no such payout", &huma.ErrorDetail{Location: "path.id", Message: "no payout has this id"})
	case errors.Is(err, payout.ErrState):
		return huma.Error409Conflict(sentence(err), &huma.ErrorDetail{Location: "path.id", Message: "is in a state that does not allow it"})
	case errors.As(err, &skipped):
		problem := payoutProblem(http.StatusUnprocessableEntity, skipped.Reason.Sentence(), "", "")
		problem.Reason = string(skipped.Reason)
		return problem
	}
	return a.failPayee(ctx, err)
}
