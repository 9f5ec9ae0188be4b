package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
)

// Earning is something that a payee earned, or that was taken back.
type Earning struct {
	ID          string    `json:"id"`
	Kind        string    `json:"kind" enum:"sale,refund,chargeback,adjustment" doc:"It gives the sign."`
	Amount      int64     `json:"amount" doc:"Minor units."`
	Currency    string    `json:"currency"`
	OccurredAt  time.Time `json:"occurred_at"`
	Description string    `json:"description,omitempty"`
	CreatedAt   time.Time `json:"created_at"`
}

func showEarning(e payout.Earning) Earning {
	return Earning{
		ID: e.ID, Kind: string(e.Kind), Amount: e.Amount.Minor, Currency: string(e.Amount.Currency),
		OccurredAt: e.OccurredAt, Description: e.Description, CreatedAt: e.CreatedAt,
	}
}

type newEarning struct {
	ID          string    `json:"id" doc:"The app's own id, unique among the payee's: 1 to 128 letters, digits or _ . : -."`
	Kind        string    `json:"kind" enum:"sale,refund,chargeback,adjustment" doc:"Sales and adjustments are the payee's gain, refunds and chargebacks their loss."`
	Amount      int64     `json:"amount" minimum:"1" maximum:"1000000000000000" doc:"Minor units, always above zero."`
	Currency    string    `json:"currency" doc:"The payee's own."`
	OccurredAt  time.Time `json:"occurred_at" doc:"RFC 3339; its day in UTC is the one on which it counts. At most 5 minutes in the future."`
	Description string    `json:"description,omitempty" maxLength:"500"`
}

type earningAnswer struct {
	Status int
	Body   Earning
}

type earningsPage struct {
	Body struct {
		Items      []Earning `json:"items"`
		NextCursor string    `json:"next_cursor,omitempty" doc:"Give it as cursor for the next page; missing on the last."`
	}
}

type newAdjustment struct {
	ID       string `json:"id" doc:"Your own id for it: the same again is a repeat."`
	Amount   int64  `json:"amount" minimum:"-1000000000000000" maximum:"1000000000000000" doc:"Minor units; below zero takes from the payee."`
	Currency string `json:"currency" doc:"The payee's own."`
	Note     string `json:"note" minLength:"1" maxLength:"1000" doc:"Why; recorded with your key's name."`
}

type newWriteOff struct {
	ID   string `json:"id" doc:"Your own id for it: the same again is a repeat."`
	Note string `json:"note" minLength:"1" maxLength:"1000" doc:"Why; recorded with your key's name."`
}

func (a *API) routeEarnings() {
	huma.Register(a.huma, alsoAnswers[Earning](a, keyed(huma.Operation{
		OperationID: "create-earning", Method: http.MethodPost, Path: "/v1/payees/{id}/earnings", Tags: []string{tagPayouts},
		Summary:       "Credit a payee with what they earned, or take back what was refunded",
		Description:   "The same id and content again answers 200, other content 409. The balance may go below zero.",
		DefaultStatus: http.StatusCreated, Errors: []int{400, 404, 409, 413, 415, 422, 503},
	}, config.ScopePayouts), http.StatusOK, "It was there already, with this content."), a.createEarning)
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "list-earnings", Method: http.MethodGet, Path: "/v1/payees/{id}/earnings", Tags: []string{tagPayouts},
		Summary: "What a payee earned and what was taken back, the latest first", Errors: []int{404, 422, 503},
	}, config.ScopePayouts, config.ScopeOps), a.listEarnings)
}

func (a *API) routeCorrections() {
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "adjust-payee", Method: http.MethodPost, Path: "/v1/ops/payees/{id}/adjust", Tags: []string{tagOperators},
		Summary:     "Put a payee's balance right, at the platform's cost",
		Description: "Recorded with your key's name. The same id and amount again changes nothing, another amount answers 409.",
		Errors:      []int{400, 404, 409, 413, 415, 422, 503},
	}, config.ScopeOps), a.adjustPayee)
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "write-off-payee", Method: http.MethodPost, Path: "/v1/ops/payees/{id}/write-off", Tags: []string{tagOperators},
		Summary:     "Give up a negative balance: the platform bears it",
		Description: "Recorded with your key's name. The same id again changes nothing; 409 when the balance is not negative.",
		Errors:      []int{400, 404, 409, 413, 415, 422, 503},
	}, config.ScopeOps), a.writeOffPayee)
}

func (a *API) createEarning(ctx context.Context, in *struct {
	InPayee

	Body newEarning
},
) (*earningAnswer, error) {
	payee, err := a.findPayee(ctx, in.ID)
	if err != nil {
		return nil, a.failPayee(ctx, err)
	}
	earning, created, err := a.deps.Payouts.PutEarning(ctx, payee.ID, payout.Earning{
		ID: in.Body.ID, Kind: payout.EarningKind(in.Body.Kind), Amount: money.New(in.Body.Amount, money.Currency(in.Body.Currency)),
		OccurredAt: in.Body.OccurredAt, Description: in.Body.Description,
	})
	if err != nil {
		return nil, a.failPayee(ctx, err)
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return &earningAnswer{Status: status, Body: showEarning(earning)}, nil
}

func (a *API) listEarnings(ctx context.Context, in *struct {
	InPayee

	Cursor string `query:"cursor" maxLength:"1024" doc:"next_cursor of the page before."`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
},
) (*earningsPage, error) {
	after, err := decodeCursor[payout.EarningCursor](in.Cursor)
	if err != nil {
		return nil, err
	}
	payee, err := a.findPayee(ctx, in.ID)
	if err != nil {
		return nil, a.failPayee(ctx, err)
	}
	earnings, err := payout.ListEarnings(ctx, a.deps.Pool, payee.ID, after, in.Limit)
	if err != nil {
		return nil, a.failPayee(ctx, err)
	}
	page := &earningsPage{}
	page.Body.Items = make([]Earning, len(earnings))
	for i, e := range earnings {
		page.Body.Items[i] = showEarning(e)
	}
	if len(earnings) == in.Limit {
		page.Body.NextCursor = encodeCursor(earnings[len(earnings)-1].Cursor())
	}
	return page, nil
}

func (a *API) adjustPayee(ctx context.Context, in *struct {
	InPayee

	Body newAdjustment
},
) (*payeeAnswer, error) {
	payee, err := a.findPayee(ctx, in.ID)
	if err != nil {
		return nil, a.failPayee(ctx, err)
	}
	correction := payout.Correction{PayeeID: payee.ID, ID: in.Body.ID, Actor: actor(ctx), Note: in.Body.Note}
	if err := a.deps.Payouts.Adjust(ctx, correction, money.New(in.Body.Amount, money.Currency(in.Body.Currency))); err != nil {
		return nil, a.failPayee(ctx, err)
	}
	return a.answerPayee(ctx, http.StatusOK, payee)
}

func (a *API) writeOffPayee(ctx context.Context, in *struct {
	InPayee

	Body newWriteOff
},
) (*payeeAnswer, error) {
	payee, err := a.findPayee(ctx, in.ID)
	if err != nil {
		return nil, a.failPayee(ctx, err)
	}
	correction := payout.Correction{PayeeID: payee.ID, ID: in.Body.ID, Actor: actor(ctx), Note: in.Body.Note}
	if err := a.deps.Payouts.WriteOff(ctx, correction); err != nil {
		return nil, a.failPayee(ctx, err)
	}
	return a.answerPayee(ctx, http.StatusOK, payee)
}
