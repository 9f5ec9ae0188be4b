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
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/workflows"
)

// SubscriptionState is the subscription that counts, as far as it is known.
type SubscriptionState struct {
	Status             string     `json:"status" enum:"none,incomplete,trialing,active,past_due,unpaid,paused,canceled"`
	Provider           string     `json:"provider,omitempty" enum:"stripe,paypal"`
	SubscriptionID     string     `json:"subscription_id,omitempty"`
	ProviderStatus     string     `json:"provider_status,omitempty" doc:"The provider's own word."`
	PriceID            string     `json:"price_id,omitempty" doc:"Stripe's price, or PayPal's plan."`
	CurrentPeriodStart *time.Time `json:"current_period_start,omitempty"`
	CurrentPeriodEnd   *time.Time `json:"current_period_end,omitempty"`
	PaidUntil          *time.Time `json:"paid_until,omitempty" doc:"The end of what was paid for, also once it is canceled."`
	CancelAtPeriodEnd  bool       `json:"cancel_at_period_end"`
	PaymentMethod      *Card      `json:"payment_method,omitempty"`
	SyncedAt           *time.Time `json:"synced_at,omitempty" doc:"What is known is no older than this."`
	Stale              bool       `json:"stale" doc:"Something is known to have happened since, and is being read."`
	Sync               *Sync      `json:"sync,omitempty" doc:"While something is to be read: how far that is."`
}

// Card is what may be shown of a payment card.
type Card struct {
	Brand string `json:"brand"`
	Last4 string `json:"last4"`
}

// Sync is how far the reading of a customer's subscriptions is.
type Sync struct {
	WorkflowID string `json:"workflow_id" doc:"In Temporal."`
	Steps      []Step `json:"steps" doc:"stripe_subscriptions, paypal_subscriptions: those that are not over."`
}

// Subscription is one of a customer's subscriptions.
type Subscription struct {
	Provider           string     `json:"provider" enum:"stripe,paypal"`
	ID                 string     `json:"id"`
	Status             string     `json:"status" enum:"incomplete,trialing,active,past_due,unpaid,paused,canceled"`
	ProviderStatus     string     `json:"provider_status" doc:"The provider's own word."`
	PriceIDs           []string   `json:"price_ids" doc:"Stripe's prices, or PayPal's plan."`
	CreatedAt          time.Time  `json:"created_at"`
	CurrentPeriodStart *time.Time `json:"current_period_start,omitempty"`
	CurrentPeriodEnd   *time.Time `json:"current_period_end,omitempty"`
	PaidUntil          *time.Time `json:"paid_until,omitempty"`
	CancelAtPeriodEnd  bool       `json:"cancel_at_period_end"`
	PaymentMethod      *Card      `json:"payment_method,omitempty"`
}

type subscriptionsAnswer struct {
	Body struct {
		Items    []Subscription `json:"items" doc:"The one that counts is first."`
		SyncedAt *time.Time     `json:"synced_at,omitempty"`
		Stale    bool           `json:"stale"`
	}
}

type newBinding struct {
	SubscriptionID string `json:"subscription_id" doc:"PayPal's id, I-…. Its custom_id must be the customer's id."`
}

type bindingInPath struct {
	InCustomer

	WaitMS int64 `query:"wait_ms" minimum:"0" maximum:"30000" default:"10000" doc:"How long to wait until PayPal was read, in milliseconds."`
	Body   newBinding
}

func (a *API) routeSubscriptions() {
	huma.Register(a.huma, alsoAnswers[Customer](a, keyed(huma.Operation{
		OperationID: "sync-customer", Method: http.MethodPost, Path: "/v1/customers/{id}/sync", Tags: []string{tagCustomers},
		Summary:     "Read the customer's subscriptions at the providers now",
		Description: "For the page to which a checkout returns. 200 with what was read; 202 with what was known before, when that takes longer than you wait.",
		Errors:      []int{404, 422, 503},
	}, config.ScopeCustomers, config.ScopeOps), http.StatusAccepted, "Not yet: what was known before. It goes on by itself."), a.syncCustomer)
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "list-subscriptions", Method: http.MethodGet, Path: "/v1/customers/{id}/subscriptions", Tags: []string{tagCustomers},
		Summary: "Every subscription of the customer, the one that counts first", Errors: []int{404, 503},
	}, config.ScopeCustomers, config.ScopeOps), a.listSubscriptions)
	bind := func(o huma.Operation, scope config.Scope) huma.Operation {
		o.Method, o.DefaultStatus, o.Errors = http.MethodPost, http.StatusCreated, []int{400, 404, 409, 413, 415, 422, 503}
		o = alsoAnswers[Customer](a, keyed(o, scope), http.StatusOK, "It was the customer's already.")
		return alsoAnswers[Customer](a, o, http.StatusAccepted, "PayPal was not read yet; it goes on by itself.")
	}
	huma.Register(a.huma, bind(huma.Operation{
		OperationID: "bind-paypal-subscription", Path: "/v1/customers/{id}/paypal-subscriptions", Tags: []string{tagCustomers},
		Summary:     "Say that a PayPal subscription is the customer's",
		Description: "It is theirs when PayPal's custom_id is the customer's id. 201 when that was seen, 422 when it is not so.",
	}, config.ScopeCustomers), func(ctx context.Context, in *bindingInPath) (*customerAnswer, error) {
		return a.bindPayPal(ctx, in, "", "")
	})
	huma.Register(a.huma, bind(huma.Operation{
		OperationID: "vouch-for-paypal-subscription", Path: "/v1/ops/customers/{id}/paypal-subscriptions", Tags: []string{tagOperators},
		Summary:     "Bind a PayPal subscription to a customer, whatever its custom_id says",
		Description: "Recorded with your key's name.",
	}, config.ScopeOps), func(ctx context.Context, in *struct {
		InCustomer

		WaitMS int64 `query:"wait_ms" minimum:"0" maximum:"30000" default:"10000" doc:"How long to wait until PayPal was read, in milliseconds."`
		Body   struct {
			SubscriptionID string `json:"subscription_id" doc:"PayPal's id, I-…."`

			Note string `json:"note,omitempty" maxLength:"1000" doc:"Why."`
		}
	},
	) (*customerAnswer, error) {
		return a.bindPayPal(ctx, &bindingInPath{InCustomer: in.InCustomer, WaitMS: in.WaitMS, Body: newBinding{in.Body.SubscriptionID}}, actor(ctx), in.Body.Note)
	})
}

func (a *API) syncCustomer(ctx context.Context, in *struct {
	InCustomer

	WaitMS int64 `query:"wait_ms" minimum:"0" maximum:"30000" default:"5000" doc:"How long to wait, in milliseconds."`
},
) (*customerAnswer, error) {
	c, err := a.find(ctx, in.ID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	synced, err := a.syncNow(ctx, in.ID, milliseconds(in.WaitMS))
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	status := http.StatusAccepted
	if synced {
		status = http.StatusOK
	}
	return a.answer(ctx, status, c)
}

// syncNow has the customer read and waits for it as long as asked. It tells whether everything was
// read by a read that began after the call.
func (a *API) syncNow(ctx context.Context, customerID string, wait time.Duration) (bool, error) {
	var result workflows.SyncResult
	err := a.ask(ctx, syncOf(customerID), workflows.UpdateSyncNow, workflows.SyncNowInput{WaitMS: wait.Milliseconds()}, wait, &result)
	if err == nil {
		return result.Synced, nil
	}
	// Temporal is away, or has no room for another update: the outbox starts the work.
	a.log(ctx).WarnContext(ctx, "a sync goes by the outbox", "customer_id", customerID, "error", err)
	return false, a.markLater(ctx, customerID, subscription.ByRequest)
}

// markLater has the customer read through the outbox.
func (a *API) markLater(ctx context.Context, customerID string, cause subscription.Cause) error {
	err := postgres.InTx(ctx, a.deps.Pool, func(tx pgx.Tx) error {
		return a.deps.Subscriptions.MarkAll(ctx, tx, customerID, cause)
	})
	if err == nil {
		a.deps.Notify()
	}
	return err
}

func (a *API) listSubscriptions(ctx context.Context, in *InCustomer) (*subscriptionsAnswer, error) {
	if _, err := a.find(ctx, in.ID); err != nil {
		return nil, a.fail(ctx, err)
	}
	known, _, err := a.deps.Subscriptions.Get(ctx, in.ID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	all, err := a.deps.Subscriptions.List(ctx, in.ID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	answer := &subscriptionsAnswer{}
	answer.Body.SyncedAt, answer.Body.Stale = known.SyncedAt, known.Stale
	answer.Body.Items = make([]Subscription, len(all))
	for i, s := range all {
		answer.Body.Items[i] = showSubscription(s)
	}
	return answer, nil
}

// bindPayPal says that a PayPal subscription is the customer's, and waits for PayPal's word on it.
// An operator, if named, vouches for it.
func (a *API) bindPayPal(ctx context.Context, in *bindingInPath, operator, note string) (*customerAnswer, error) {
	c, err := a.find(ctx, in.ID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	id := in.Body.SubscriptionID
	if !subscription.ValidPayPalID(id) {
		return nil, a.fail(ctx, &customer.FieldError{Field: "subscription_id", Reason: "must be a PayPal subscription id such as I-BW452GLLEP1G"})
	}
	if err := checkNote(note); err != nil {
		return nil, a.fail(ctx, err)
	}
	before, err := a.bind(ctx, in.ID, id, operator, note)
	if err != nil {
		return nil, a.failBinding(ctx, err)
	}
	if before.Status == subscription.Bound {
		return a.answer(ctx, http.StatusOK, c)
	}
	if _, err := a.syncNow(ctx, in.ID, milliseconds(in.WaitMS)); err != nil {
		return nil, a.fail(ctx, err)
	}
	now, err := subscription.GetBinding(ctx, a.deps.Pool, in.ID, id)
	switch {
	case err != nil:
		return nil, a.fail(ctx, err)
	case now.Status == subscription.Refused:
		return nil, refusedBinding(now.Reason)
	case now.Status == subscription.Bound:
		return a.answer(ctx, http.StatusCreated, c)
	}
	return a.answer(ctx, http.StatusAccepted, c)
}

func (a *API) bind(ctx context.Context, customerID, id, operator, note string) (b subscription.Binding, err error) {
	err = postgres.InTx(ctx, a.deps.Pool, func(tx pgx.Tx) (err error) {
		if b, err = a.deps.Subscriptions.Bind(ctx, tx, customerID, id, operator); err != nil || operator == "" {
			return err
		}
		return subscription.RecordVouching(ctx, tx, operator, customerID, id, note)
	})
	if err == nil {
		a.deps.Notify()
	}
	return b, err
}

func (a *API) failBinding(ctx context.Context, err error) error {
	if errors.Is(err, subscription.ErrTaken) {
		return huma.Error409Conflict("this PayPal subscription belongs to another customer",
			&huma.ErrorDetail{Location: "body.subscription_id", Message: "belongs to another customer"})
	}
	return a.fail(ctx, err)
}

func refusedBinding(reason string) error {
	messages := map[string]string{
		subscription.RefusedCustomID: "has another custom_id at PayPal: it must be the customer's id; an operator may bind it all the same",
		subscription.RefusedNotFound: "is not known to PayPal",
		subscription.RefusedTaken:    "belongs to another customer",
	}
	return huma.Error422UnprocessableEntity("the PayPal subscription is not this customer's",
		&huma.ErrorDetail{Location: "body.subscription_id", Message: messages[reason]})
}

// showState shows what is known of the subscription that counts.
func showState(o subscription.Overview, reads []step.Step) SubscriptionState {
	shown := SubscriptionState{
		Status: string(o.Status), Provider: string(o.Provider), SubscriptionID: o.SubscriptionID, ProviderStatus: o.ProviderStatus,
		PriceID: o.PriceID, CurrentPeriodStart: o.CurrentPeriodStart, CurrentPeriodEnd: o.CurrentPeriodEnd, PaidUntil: o.PaidUntil,
		CancelAtPeriodEnd: o.CancelAtPeriodEnd, SyncedAt: o.SyncedAt, Stale: o.Stale,
	}
	if o.PaymentMethod != nil {
		shown.PaymentMethod = &Card{Brand: o.PaymentMethod.Brand, Last4: o.PaymentMethod.Last4}
	}
	for _, r := range reads {
		if r.Status.Settled() {
			continue
		}
		if shown.Sync == nil {
			shown.Sync = &Sync{WorkflowID: r.WorkflowID}
		}
		shown.Sync.Steps = append(shown.Sync.Steps, showStep(r))
	}
	return shown
}

func showSubscription(s subscription.Subscription) Subscription {
	shown := Subscription{
		Provider: string(s.Provider), ID: s.ID, Status: string(s.Status), ProviderStatus: s.ProviderStatus, PriceIDs: s.PriceIDs,
		CreatedAt: s.CreatedAt, CurrentPeriodStart: s.CurrentPeriodStart, CurrentPeriodEnd: s.CurrentPeriodEnd,
		PaidUntil: s.PaidUntil, CancelAtPeriodEnd: s.CancelAtPeriodEnd,
	}
	if s.CardLast4 != "" {
		shown.PaymentMethod = &Card{Brand: s.CardBrand, Last4: s.CardLast4}
	}
	return shown
}
