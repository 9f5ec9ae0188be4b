package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
)

// Payee is a payee as the API shows it.
type Payee struct {
	ID              string           `json:"id" doc:"The customer's id."`
	Email           string           `json:"email"`
	Country         string           `json:"country" doc:"ISO 3166-1, two letters."`
	Currency        string           `json:"currency" doc:"ISO 4217, three small letters: of the balance and of every payout."`
	Rail            string           `json:"rail" enum:"stripe,paypal"`
	StripeAccountID string           `json:"stripe_account_id,omitempty"`
	PayPalEmail     string           `json:"paypal_email,omitempty"`
	Schedule        string           `json:"schedule" enum:"daily,weekly,monthly,quarterly"`
	Minimum         int64            `json:"minimum,omitempty" doc:"The payee's own threshold, in minor units."`
	Balance         Balance          `json:"balance"`
	NextPayout      NextPayout       `json:"next_payout"`
	ProviderAccount *ProviderAccount `json:"provider_account,omitempty" doc:"The connected account as it was seen last; missing until it was."`
	Pauses          []Pause          `json:"pauses" doc:"What stops the payee's payouts; none, and they go on."`
	Notes           []Note           `json:"notes" doc:"Why there was no payout, newest first."`
	CreatedAt       time.Time        `json:"created_at"`
	UpdatedAt       time.Time        `json:"updated_at"`
}

// Balance is what became of everything that a payee earned; together it is all of it.
type Balance struct {
	Pending   money.Amount `json:"pending" doc:"Of today; it is available tomorrow."`
	Available money.Amount `json:"available" doc:"Payable of what was earned through yesterday, less every refund; below zero for a debt."`
	InPayout  money.Amount `json:"in_payout" doc:"On its way."`
	Paid      money.Amount `json:"paid" doc:"With the fees."`
}

// NextPayout is what comes next if nothing more is earned or taken back.
type NextPayout struct {
	Date   string       `json:"date" format:"date"`
	Method string       `json:"method,omitempty" enum:"stripe_standard,stripe_instant,paypal"`
	Gross  money.Amount `json:"gross"`
	Fee    money.Amount `json:"fee"`
	Net    money.Amount `json:"net"`
	Reason string       `json:"reason,omitempty" doc:"A code: why nothing would be paid."`
	Detail string       `json:"detail,omitempty" doc:"The reason for people."`
}

// ProviderAccount is a connected account as it was seen last.
type ProviderAccount struct {
	ID                string    `json:"id"`
	Country           string    `json:"country,omitempty"`
	Currency          string    `json:"currency,omitempty"`
	PayoutSchedule    string    `json:"payout_schedule,omitempty" doc:"How Stripe itself pays it out: it must be manual."`
	PayoutsEnabled    bool      `json:"payouts_enabled"`
	ExternalAccountID string    `json:"external_account_id,omitempty" doc:"The bank account or card."`
	ExternalCurrency  string    `json:"external_currency,omitempty"`
	ExternalErrored   bool      `json:"external_errored" doc:"A payout to it failed; it has to be replaced."`
	InstantOffered    bool      `json:"instant_offered"`
	BalanceNegative   bool      `json:"balance_negative"`
	AsOf              time.Time `json:"as_of"`
	Stale             bool      `json:"stale" doc:"It was seen more than 15 minutes ago."`
}

// Pause is what stops a payee's payouts.
type Pause struct {
	Source string    `json:"source" enum:"payee,operator,provider,system" doc:"Who stopped them, and alone can let them go on."`
	Reason string    `json:"reason,omitempty" doc:"A code."`
	Note   string    `json:"note,omitempty"`
	Actor  string    `json:"actor,omitempty" doc:"The name of the key that asked for it."`
	Since  time.Time `json:"since"`
}

// Note is why there was no payout. Repeats are one.
type Note struct {
	Code      string `json:"code"`
	Detail    string `json:"detail,omitempty" doc:"As it was said last."`
	FirstDate string `json:"first_date" format:"date"`
	LastDate  string `json:"last_date" format:"date"`
	Times     int    `json:"times" doc:"On how many days."`
}

// PayoutOption is a schedule that a payee may choose.
type PayoutOption struct {
	Schedule string        `json:"schedule" enum:"daily,weekly,monthly,quarterly"`
	Method   string        `json:"method" enum:"stripe_standard,stripe_instant,paypal"`
	NextDate string        `json:"next_date" format:"date" doc:"The first day on which it would pay."`
	Eligible bool          `json:"eligible"`
	Reason   string        `json:"reason,omitempty" doc:"A code: why the payee cannot have it now."`
	Detail   string        `json:"detail,omitempty" doc:"The reason for people."`
	Fee      string        `json:"fee" doc:"In words; none when there is none."`
	Example  *PayoutAmount `json:"example,omitempty" doc:"On the present available balance; missing when that is nothing."`
}

// PayoutAmount is what a payout takes from the balance, what of it is the fee, and what is paid.
type PayoutAmount struct {
	Gross money.Amount `json:"gross"`
	Fee   money.Amount `json:"fee"`
	Net   money.Amount `json:"net"`
}

// payeeAnswer is a payee and the status that says what became of the request.
type payeeAnswer struct {
	Status int
	Body   Payee
}

type payoutOptionsAnswer struct {
	Body struct {
		Schedule string         `json:"schedule" doc:"The present one."`
		Items    []PayoutOption `json:"items"`
	}
}

// InPayee names a payee in the path.
type InPayee struct {
	ID string `path:"id" maxLength:"128" doc:"The payee's id, which is the customer's."`
}

type newPayee struct {
	Email           string `json:"email"`
	Country         string `json:"country" doc:"ISO 3166-1, two capital letters. Changes only while there is no balance and no open payout."`
	Currency        string `json:"currency" doc:"ISO 4217, three small letters. Changes only while there is no balance and no open payout."`
	Rail            string `json:"rail" enum:"stripe,paypal"`
	StripeAccountID string `json:"stripe_account_id,omitempty" doc:"The connected account, acct_…: one payee's alone. May come later."`
	PayPalEmail     string `json:"paypal_email,omitempty" doc:"Needed for paypal; ASCII alone."`
	Schedule        string `json:"schedule,omitempty" enum:"daily,weekly,monthly,quarterly" doc:"Left away: HOLDFAST_PAYOUT_DEFAULT_SCHEDULE."`
	Minimum         int64  `json:"minimum,omitempty" minimum:"1" doc:"Pay out no less than this, in minor units, if it is above the platform's own minimum."`
}

// notedPayee is a pause of a payee or its end, and why.
type notedPayee struct {
	InPayee
	Noted
}

func (a *API) routePayees() {
	huma.Register(a.huma, alsoAnswers[Payee](a, keyed(huma.Operation{
		OperationID: "put-payee", Method: http.MethodPut, Path: "/v1/payees/{id}", Tags: []string{tagPayouts},
		Summary: "Make a customer a payee, or change one",
		Description: "The whole of it each time; the same again changes nothing. Another destination begins the waits for " +
			"instant payouts anew.",
		DefaultStatus: http.StatusOK, Errors: []int{400, 404, 409, 413, 415, 422, 503},
	}, config.ScopePayouts), http.StatusCreated, "The customer was no payee before."), a.putPayee)
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "get-payee", Method: http.MethodGet, Path: "/v1/payees/{id}", Tags: []string{tagPayouts},
		Summary: "Read a payee: balance, next payout, account, pauses and notes", Errors: []int{404, 503},
		Description: "Asks no provider: the account is as it was seen last.",
	}, config.ScopePayouts, config.ScopeOps), a.getPayee)
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "get-payout-options", Method: http.MethodGet, Path: "/v1/payees/{id}/payout-options", Tags: []string{tagPayouts},
		Summary: "The schedules that a payee may choose, with their fees", Errors: []int{404, 503},
	}, config.ScopePayouts, config.ScopeOps), a.getPayoutOptions)
	pause := func(id, path, summary, description string, scope config.Scope, tag string, do func(context.Context, *notedPayee) error) {
		huma.Register(a.huma, keyed(huma.Operation{
			OperationID: id, Method: http.MethodPost, Path: path, Tags: []string{tag},
			Summary: summary, Description: description, Errors: []int{400, 404, 413, 415, 422, 503},
		}, scope), func(ctx context.Context, in *notedPayee) (*payeeAnswer, error) { return a.pausePayee(ctx, in, do) })
	}
	pause("pause-payee", "/v1/payees/{id}/pause", "Stop a payee's payouts, for the payee",
		"What is under way goes on.", config.ScopePayouts, tagPayouts, a.pauseForPayee)
	pause("resume-payee", "/v1/payees/{id}/resume", "Let a payee's payouts go on, as far as the payee had stopped them",
		"Pauses of others stay.", config.ScopePayouts, tagPayouts, a.resumeForPayee)
	pause("operators-pause-payee", "/v1/ops/payees/{id}/pause", "Stop a payee's payouts, for the operators",
		"What is under way goes on. Recorded with your key's name.", config.ScopeOps, tagOperators, a.pauseForOperator)
	pause("operators-resume-payee", "/v1/ops/payees/{id}/resume", "Let a payee's payouts go on, as far as an operator had stopped them",
		"Pauses of others stay. Recorded with your key's name.", config.ScopeOps, tagOperators, a.resumeForOperator)
	a.routeCorrections()
}

func (a *API) putPayee(ctx context.Context, in *struct {
	InPayee

	Body newPayee
},
) (*payeeAnswer, error) {
	if !customer.ValidID(in.ID) {
		return nil, a.fail(ctx, customer.ErrNotFound)
	}
	payee, created, err := a.deps.Payouts.PutPayee(ctx, payout.Profile{
		ID: in.ID, Email: in.Body.Email, Country: in.Body.Country, Currency: money.Currency(in.Body.Currency), Rail: payout.Rail(in.Body.Rail),
		StripeAccountID: in.Body.StripeAccountID, PayPalEmail: in.Body.PayPalEmail,
		Schedule: payout.Frequency(in.Body.Schedule), Minimum: in.Body.Minimum,
	})
	if err != nil {
		return nil, a.failPayee(ctx, err)
	}
	a.deps.Notify() // a new destination may have ended a pause, of which the app is told
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return a.answerPayee(ctx, status, payee)
}

// findPayee reads a payee. What cannot be an id is nobody's.
func (a *API) findPayee(ctx context.Context, id string) (payout.Payee, error) {
	if !customer.ValidID(id) {
		return payout.Payee{}, payout.ErrNoPayee
	}
	return payout.GetPayee(ctx, a.deps.Pool, id)
}

func (a *API) getPayee(ctx context.Context, in *InPayee) (*payeeAnswer, error) {
	payee, err := a.findPayee(ctx, in.ID)
	if err != nil {
		return nil, a.failPayee(ctx, err)
	}
	return a.answerPayee(ctx, http.StatusOK, payee)
}

func (a *API) getPayoutOptions(ctx context.Context, in *InPayee) (*payoutOptionsAnswer, error) {
	payee, err := a.findPayee(ctx, in.ID)
	if err != nil {
		return nil, a.failPayee(ctx, err)
	}
	now := time.Now().UTC()
	facts, err := payout.LoadFactsOf(ctx, a.deps.Pool, payee.ID, now)
	if err != nil {
		return nil, a.failPayee(ctx, err)
	}
	answer := &payoutOptionsAnswer{}
	answer.Body.Schedule = string(payee.Schedule)
	for _, o := range payout.Options(facts, date.Of(now), a.deps.Payouts.Policy()) {
		answer.Body.Items = append(answer.Body.Items, showOption(o))
	}
	return answer, nil
}

func showOption(o payout.Option) PayoutOption {
	shown := PayoutOption{
		Schedule: string(o.Frequency), Method: string(o.Method), NextDate: o.Next.Date.String(),
		Eligible: o.Eligible(), Reason: string(o.Reason), Detail: o.Reason.Sentence(), Fee: o.FeeRule,
	}
	if o.Example != nil {
		shown.Example = &PayoutAmount{Gross: o.Example.Gross, Fee: o.Example.Fee, Net: o.Example.Net}
	}
	return shown
}

// pausePayee stops a payee's payouts, or lets them go on, as do says.
func (a *API) pausePayee(ctx context.Context, in *notedPayee, do func(context.Context, *notedPayee) error) (*payeeAnswer, error) {
	if err := checkNote(in.note()); err != nil {
		return nil, a.fail(ctx, err)
	}
	if _, err := a.findPayee(ctx, in.ID); err != nil {
		return nil, a.failPayee(ctx, err)
	}
	if err := do(ctx, in); err != nil {
		return nil, a.failPayee(ctx, err)
	}
	a.deps.Notify()
	return a.getPayee(ctx, &in.InPayee)
}

func (a *API) pauseForPayee(ctx context.Context, in *notedPayee) error {
	return postgres.InTx(ctx, a.deps.Pool, func(tx pgx.Tx) error {
		return a.deps.Payouts.Pause(ctx, tx, payout.Pause{PayeeID: in.ID, Source: payout.SourcePayee, Note: in.note(), Actor: actor(ctx)})
	})
}

func (a *API) resumeForPayee(ctx context.Context, in *notedPayee) error {
	return postgres.InTx(ctx, a.deps.Pool, func(tx pgx.Tx) error {
		return a.deps.Payouts.Resume(ctx, tx, in.ID, payout.SourcePayee)
	})
}

func (a *API) pauseForOperator(ctx context.Context, in *notedPayee) error {
	return a.deps.Payouts.PauseByOperator(ctx, in.ID, actor(ctx), in.note())
}

func (a *API) resumeForOperator(ctx context.Context, in *notedPayee) error {
	return a.deps.Payouts.ResumeByOperator(ctx, in.ID, actor(ctx), in.note())
}

// answerPayee shows a payee with everything that is known of them, all of it from Postgres.
func (a *API) answerPayee(ctx context.Context, status int, payee payout.Payee) (*payeeAnswer, error) {
	now := time.Now().UTC()
	shown := Payee{
		ID: payee.ID, Email: payee.Email, Country: payee.Country, Currency: string(payee.Currency), Rail: string(payee.Rail),
		StripeAccountID: payee.StripeAccountID, PayPalEmail: payee.PayPalEmail, Schedule: string(payee.Schedule), Minimum: payee.Minimum,
		CreatedAt: payee.CreatedAt, UpdatedAt: payee.UpdatedAt,
	}
	for _, show := range []func(context.Context, *Payee, time.Time) error{a.showMoney, a.showAccount, a.showPauses, a.showNotes} {
		if err := show(ctx, &shown, now); err != nil {
			return nil, a.failPayee(ctx, err)
		}
	}
	return &payeeAnswer{Status: status, Body: shown}, nil
}

func (a *API) showMoney(ctx context.Context, shown *Payee, now time.Time) error {
	facts, balances, err := payout.LoadBalances(ctx, a.deps.Pool, shown.ID, now)
	if err != nil {
		return err
	}
	shown.Balance = Balance(balances)
	next := payout.Foretell(facts, date.Of(now), a.deps.Payouts.Policy())
	total := next.Decision.Total(facts.Currency)
	shown.NextPayout = NextPayout{
		Date: next.Date.String(), Gross: total.Gross, Fee: total.Fee, Net: total.Net,
		Reason: string(next.Decision.Skip), Detail: next.Decision.Skip.Sentence(),
	}
	if len(next.Decision.Payouts) > 0 {
		shown.NextPayout.Method = string(next.Decision.Payouts[0].Method)
	}
	return nil
}

// fresh is how long what was seen of an account is taken to be so.
const fresh = 15 * time.Minute

func (a *API) showAccount(ctx context.Context, shown *Payee, now time.Time) error {
	account, known, err := payout.GetAccount(ctx, a.deps.Pool, shown.ID)
	if err != nil || !known {
		return err
	}
	shown.ProviderAccount = &ProviderAccount{
		ID: account.StripeAccountID, Country: account.Country, Currency: account.Currency, PayoutSchedule: account.ScheduleInterval,
		PayoutsEnabled: account.PayoutsEnabled, ExternalAccountID: account.ExternalAccountID, ExternalCurrency: account.ExternalCurrency,
		ExternalErrored: account.ExternalErrored, InstantOffered: account.InstantOffered, BalanceNegative: account.Negative,
		AsOf: account.AsOf, Stale: now.Sub(account.AsOf) > fresh,
	}
	return nil
}

func (a *API) showPauses(ctx context.Context, shown *Payee, _ time.Time) error {
	pauses, err := payout.ListPauses(ctx, a.deps.Pool, shown.ID)
	if err != nil {
		return err
	}
	shown.Pauses = make([]Pause, len(pauses))
	for i, p := range pauses {
		shown.Pauses[i] = Pause{Source: string(p.Source), Reason: p.Reason, Note: p.Note, Actor: p.Actor, Since: p.Since}
	}
	return nil
}

func (a *API) showNotes(ctx context.Context, shown *Payee, _ time.Time) error {
	notes, err := payout.ListNotes(ctx, a.deps.Pool, shown.ID)
	if err != nil {
		return err
	}
	shown.Notes = make([]Note, len(notes))
	for i, n := range notes {
		shown.Notes[i] = Note{Code: n.Code, Detail: n.Detail, FirstDate: n.FirstDate.String(), LastDate: n.LastDate.String(), Times: n.Times}
	}
	return nil
}

// failPayee turns an error about a payee into a problem.
func (a *API) failPayee(ctx context.Context, err error) error {
	var busy *payout.BusyError
	switch {
	case errors.Is(err, payout.ErrNoPayee):
		return huma.Error404NotFound("there is no such payee", &huma.ErrorDetail{Location: "path.id", Message: "no payee has this id; make the customer one with PUT"})
	case errors.As(err, &busy):
		return huma.Error409Conflict("the payee has a balance or an open payout", &huma.ErrorDetail{
			Location: "body." + busy.Field, Message: "can change only while the balance is zero and no payout is open",
		})
	case errors.Is(err, payout.ErrEarningConflict), errors.Is(err, payout.ErrCorrectionConflict):
		return huma.Error409Conflict("something with this id and other content exists", &huma.ErrorDetail{Location: "body.id", Message: "is taken; what is recorded does not change"})
	case errors.Is(err, payout.ErrNotNegative):
		return huma.Error409Conflict("the balance is not negative: there is nothing to write off")
	}
	return a.fail(ctx, err)
}
