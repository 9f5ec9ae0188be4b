package httpapi

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
)

// RequestedPayout is what came of a request for an instant payout.
type RequestedPayout struct {
	PayoutAmount

	ID      string   `json:"id" doc:"The request's."`
	Payouts []Payout `json:"payouts" doc:"More than one when the sum is above what one payout may be."`
}

// PayoutError is why a payout is not made.
type PayoutError struct {
	huma.ErrorModel

	Reason string        `json:"reason,omitempty" doc:"A stable code, such as below_minimum."`
	Quote  *PayoutAmount `json:"quote,omitempty" doc:"What the request would pay now; ask again with its net as quoted_net."`
}

type requestedAnswer struct {
	Status int
	Body   RequestedPayout
}

type newPayout struct {
	ID        string     `json:"id" doc:"The app's own id of the request: 1 to 128 letters, digits or _ . : -. The same id and content again pays nothing more."`
	Amount    *newAmount `json:"amount,omitempty" doc:"What is taken from the balance, fee included; all that is available when it is left out."`
	QuotedNet newAmount  `json:"quoted_net" doc:"What the payee was told they would get."`
}

// newAmount is a sum that somebody asks for.
type newAmount struct {
	Amount   int64  `json:"amount" minimum:"1" maximum:"1000000000000000" doc:"In minor units."`
	Currency string `json:"currency" doc:"ISO 4217, three small letters: the payee's own."`
}

// read gives the amount, or says what is wrong with that of a field.
func (n newAmount) read(field string) (money.Amount, error) {
	currency, err := money.ParseCurrency(n.Currency)
	if err != nil || string(currency) != n.Currency {
		return money.Amount{}, &customer.FieldError{Field: field + ".currency", Reason: "must be an ISO 4217 code in small letters, such as usd"}
	}
	return money.New(n.Amount, currency), nil
}

func (a *API) routePayoutRequests() {
	request := alsoAnswers[RequestedPayout](a, keyed(huma.Operation{
		OperationID: "request-payout", Method: http.MethodPost, Path: "/v1/payees/{id}/payouts", Tags: []string{tagPayouts},
		Summary: "Pay a payee now, instantly, for the fee",
		Description: "Covers what was earned through yesterday. The same id and content again answers 200, and pays nothing more. " +
			"When quoted_net is not what would be paid, the answer is 409 with the quote that holds now.",
		DefaultStatus: http.StatusCreated, Errors: []int{400, 404, 413, 415, 503},
	}, config.ScopePayouts), http.StatusOK, "It was requested already.")
	request = a.alsoRefuses(request, http.StatusConflict, "The quote no longer holds, or the id was used for another request.")
	request = a.alsoRefuses(request, http.StatusUnprocessableEntity, "It cannot be paid: the reason says why.")
	huma.Register(a.huma, request, a.requestPayout)
}

// alsoRefuses adds to an operation's description a refusal that says why a payout is not made.
func (a *API) alsoRefuses(o huma.Operation, status int, description string) huma.Operation {
	schema := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[PayoutError](), true, "")
	o.Responses[strconv.Itoa(status)] = &huma.Response{
		Description: description, Content: map[string]*huma.MediaType{"application/problem+json": {Schema: schema}},
	}
	return o
}

func (a *API) requestPayout(ctx context.Context, in *struct {
	InPayee

	Body newPayout
},
) (*requestedAnswer, error) {
	if _, err := a.findPayee(ctx, in.ID); err != nil {
		return nil, a.failPayee(ctx, err)
	}
	amount, quoted, err := in.Body.read()
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	made, created, err := a.deps.Payouts.RequestInstant(ctx, in.ID, in.Body.ID, amount, quoted)
	if err != nil {
		return nil, a.failRequest(ctx, err)
	}
	a.deps.Notify()
	return a.answerRequest(ctx, in.Body.ID, made, created)
}

// read gives the amounts of a request; no amount is all that is available.
func (n newPayout) read() (amount *money.Amount, quoted money.Amount, err error) {
	if quoted, err = n.QuotedNet.read("quoted_net"); err != nil || n.Amount == nil {
		return nil, quoted, err
	}
	asked, err := n.Amount.read("amount")
	return &asked, quoted, err
}

func (a *API) answerRequest(ctx context.Context, id string, made []payout.Payout, created bool) (*requestedAnswer, error) {
	shown, err := a.showPayouts(ctx, made)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	answer := &requestedAnswer{Status: http.StatusOK, Body: RequestedPayout{ID: id, PayoutAmount: total(made), Payouts: shown}}
	if created {
		answer.Status = http.StatusCreated
	}
	return answer, nil
}

// total is what the parts of a request come to: what was divided does not overflow.
func total(parts []payout.Payout) (sum PayoutAmount) {
	for _, p := range parts {
		sum.Gross = money.New(sum.Gross.Minor+p.Gross.Minor, p.Gross.Currency)
		sum.Fee = money.New(sum.Fee.Minor+p.Fee.Minor, p.Fee.Currency)
		sum.Net = money.New(sum.Net.Minor+p.Net.Minor, p.Net.Currency)
	}
	return sum
}

// failRequest turns an error about a request into a problem: with the quote that holds, or the reason.
func (a *API) failRequest(ctx context.Context, err error) error {
	var (
		stale   *payout.QuoteError
		skipped *payout.SkipError
	)
	switch {
	case errors.As(err, &stale):
		problem := payoutProblem(http.StatusConflict, "the quote no longer holds", "quoted_net", "is not what would be paid; ask again with the net of the quote")
		problem.Quote = &PayoutAmount{Gross: stale.Quote.Gross, Fee: stale.Quote.Fee, Net: stale.Quote.Net}
		return problem
	case errors.As(err, &skipped):
		problem := payoutProblem(http.StatusUnprocessableEntity, skipped.Reason.Sentence(), fieldOf(skipped.Reason), skipped.Reason.Sentence())
		problem.Reason = string(skipped.Reason)
		return problem
	case errors.Is(err, payout.ErrRequestConflict):
		return payoutProblem(http.StatusConflict, "a request with this id and other content exists", "id", "is taken; what was requested does not change")
	}
	return a.failPayout(ctx, err)
}

// payoutProblem is a refusal that names the field that is wrong, if one is.
func payoutProblem(status int, detail, field, message string) *PayoutError {
	problem := &PayoutError{ErrorModel: huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail}}
	if field != "" {
		problem.Add(&huma.ErrorDetail{Location: "body." + field, Message: message})
	}
	return problem
}

// fieldOf is the field of a request that a reason is about; none when it is about the payee.
func fieldOf(r payout.Reason) string {
	switch r {
	case payout.BecauseCurrencyMismatch, payout.BecauseAmountNotPositive, payout.BecauseAboveAvailable, payout.BecauseBelowMinimum,
		payout.BecauseAboveLimit, payout.BecauseNotAStep, payout.BecauseNothingToPay, payout.BecauseBalanceNegative:
		return "amount"
	default:
		return ""
	}
}
