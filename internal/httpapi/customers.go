package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/workflows"
)

// Customer is a customer as the API shows it.
type Customer struct {
	ID         string            `json:"id" doc:"The app's own id."`
	Email      string            `json:"email"`
	Name       string            `json:"name,omitempty"`
	Country    string            `json:"country,omitempty" doc:"ISO 3166-1, two letters."`
	PromoCode  string            `json:"promo_code,omitempty"`
	Metadata   map[string]string `json:"metadata,omitempty"`
	CreatedAt  time.Time         `json:"created_at"`
	Status     string            `json:"status" enum:"onboarding,ready,attention" doc:"attention: a person has to act."`
	Onboarding Onboarding        `json:"onboarding"`
	Providers  Providers         `json:"providers"`

	Subscription SubscriptionState `json:"subscription"`
}

// Onboarding is how far a customer is.
type Onboarding struct {
	WorkflowID string `json:"workflow_id" doc:"In Temporal."`
	Steps      []Step `json:"steps"`
}

// Step is one step of onboarding.
type Step struct {
	Name          string     `json:"name" doc:"stripe_customer, promo_code or stripe_profile."`
	Status        string     `json:"status" enum:"pending,retrying,blocked,done,skipped"`
	WaitsFor      string     `json:"waits_for,omitempty" enum:"provider,person" doc:"While blocked: provider goes on by itself, person needs a retry or skip."`
	Attempts      int        `json:"attempts"`
	LastError     string     `json:"last_error,omitempty" doc:"The provider's codes; no personal data."`
	NextAttemptAt *time.Time `json:"next_attempt_at,omitempty"`
	UpdatedAt     time.Time  `json:"updated_at"`
}

// Providers are the customer's ids at the providers.
type Providers struct {
	Stripe StripeIDs `json:"stripe"`
	PayPal PayPalIDs `json:"paypal"`
}

// StripeIDs are a customer's ids at Stripe.
type StripeIDs struct {
	CustomerID string `json:"customer_id,omitempty" doc:"Only once it is confirmed at Stripe."`
}

// PayPalIDs are a customer's ids at PayPal.
type PayPalIDs struct {
	SubscriptionIDs []string `json:"subscription_ids" doc:"The PayPal subscriptions that are the customer's."`
}

func show(c customer.Customer, o subscription.Overview, reads []step.Step) Customer {
	shown := Customer{
		ID: c.ID, Email: c.Email, Name: c.Name, Country: c.Country, PromoCode: c.PromoCode, Metadata: c.Metadata,
		CreatedAt: c.CreatedAt, Status: string(c.Status()),
		Onboarding:   Onboarding{WorkflowID: customer.WorkflowID(c.ID), Steps: make([]Step, len(c.Steps))},
		Subscription: showState(o, reads),
	}
	shown.Providers.PayPal.SubscriptionIDs = append([]string{}, o.PayPalIDs...)
	for i, s := range c.Steps {
		shown.Onboarding.Steps[i] = showStep(s)
	}
	if c.StripeConfirmed {
		shown.Providers.Stripe.CustomerID = c.StripeCustomerID
	}
	return shown
}

func showStep(s step.Step) Step {
	return Step{
		Name: s.Name, Status: string(s.Status), WaitsFor: string(s.WaitsFor), Attempts: s.Attempts,
		LastError: s.LastError, NextAttemptAt: s.NextAttemptAt, UpdatedAt: s.UpdatedAt,
	}
}

// customerAnswer is a customer and the status that says what became of the request.
type customerAnswer struct {
	Status int
	Body   Customer
}

// answer shows the customer with what is known of its subscription.
func (a *API) answer(ctx context.Context, status int, c customer.Customer) (*customerAnswer, error) {
	known, reads, err := a.deps.Subscriptions.Get(ctx, c.ID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &customerAnswer{Status: status, Body: show(c, known, reads)}, nil
}

// InCustomer names a customer in the path.
type InCustomer struct {
	ID string `path:"id" maxLength:"128" doc:"The customer's id."`
}

type newCustomer struct {
	ID               string            `json:"id" doc:"The app's own id: 1 to 128 letters, digits or _ . : -. It is no place for personal data."`
	Email            string            `json:"email"`
	Name             string            `json:"name,omitempty"`
	Country          string            `json:"country,omitempty" doc:"ISO 3166-1, two capital letters."`
	PromoCode        string            `json:"promo_code,omitempty" doc:"Applied at Stripe, however late the Stripe customer is made."`
	StripeCustomerID string            `json:"stripe_customer_id,omitempty" doc:"A Stripe customer that the app has already: verified, claimed, never doubled."`
	Metadata         map[string]string `json:"metadata,omitempty" doc:"At most 20 keys; put on the Stripe customer."`
}

func (a *API) routeCustomers() {
	huma.Register(a.huma, alsoAnswers[Customer](a, keyed(huma.Operation{
		OperationID: "create-customer", Method: http.MethodPost, Path: "/v1/customers", Tags: []string{tagCustomers},
		Summary:       "Create a customer",
		Description:   "Works with every provider and Temporal down. The same id and content again answers 200, other content 409.",
		DefaultStatus: http.StatusCreated, Errors: []int{400, 409, 413, 415, 422, 503},
	}, config.ScopeCustomers), http.StatusOK, "It was there already, with this content."), a.createCustomer)
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "get-customer", Method: http.MethodGet, Path: "/v1/customers/{id}", Tags: []string{tagCustomers},
		Summary:     "Read a customer",
		Description: "Also repairs, in the background, what nothing works on.",
		Errors:      []int{404, 503},
	}, config.ScopeCustomers, config.ScopeOps), a.getCustomer)
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "change-customer", Method: http.MethodPatch, Path: "/v1/customers/{id}", Tags: []string{tagCustomers},
		Summary:     "Change e-mail or name",
		Description: "Carried to the provider durably.",
		Errors:      []int{400, 404, 413, 415, 422, 503},
	}, config.ScopeCustomers), a.changeCustomer)
	huma.Register(a.huma, alsoAnswers[Customer](a, keyed(huma.Operation{
		OperationID: "ensure-billing", Method: http.MethodPost, Path: "/v1/customers/{id}/ensure-billing", Tags: []string{tagCustomers},
		Summary:     "Make sure that the customer can be billed",
		Description: "200 when the Stripe customer is there; 202 while it waits on the provider, and goes on by itself.",
		Errors:      []int{404, 422, 503},
	}, config.ScopeCustomers), http.StatusAccepted, "Not yet: it goes on by itself."), a.ensureBilling)
}

func (a *API) createCustomer(ctx context.Context, in *struct{ Body newCustomer }) (*customerAnswer, error) {
	profile := customer.Profile(in.Body)
	c, created, err := a.deps.Customers.Create(ctx, profile, workflows.StartOnboarding(profile.ID))
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	if !created {
		return a.answer(ctx, http.StatusOK, c)
	}
	a.deps.Notify()
	return &customerAnswer{Status: http.StatusCreated, Body: show(c, subscription.Unknown(), nil)}, nil
}

// find reads a customer. What cannot be an id is nobody's, and Postgres would not even take some of it.
func (a *API) find(ctx context.Context, id string) (customer.Customer, error) {
	if !customer.ValidID(id) {
		return customer.Customer{}, customer.ErrNotFound
	}
	return a.deps.Customers.Get(ctx, id)
}

func (a *API) getCustomer(ctx context.Context, in *InCustomer) (*customerAnswer, error) {
	c, err := a.find(ctx, in.ID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	known, reads, err := a.deps.Subscriptions.Get(ctx, c.ID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	a.repairLater(c, known.Overdue)
	return &customerAnswer{Status: http.StatusOK, Body: show(c, known, reads)}, nil
}

func (a *API) changeCustomer(ctx context.Context, in *struct {
	InCustomer

	Body customer.Change
},
) (*customerAnswer, error) {
	if !customer.ValidID(in.ID) {
		return nil, a.fail(ctx, customer.ErrNotFound)
	}
	c, err := a.deps.Customers.Change(ctx, in.ID, in.Body, func(version int) outbox.Message { return workflows.ChangeProfile(in.ID, version) })
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	a.deps.Notify()
	return a.answer(ctx, http.StatusOK, c)
}

func (a *API) ensureBilling(ctx context.Context, in *struct {
	InCustomer

	WaitMS int64 `query:"wait_ms" minimum:"0" maximum:"30000" default:"0" doc:"How long to wait, in milliseconds."`
},
) (*customerAnswer, error) {
	c, err := a.find(ctx, in.ID)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	if c.BillingReady() {
		return a.answer(ctx, http.StatusOK, c)
	}
	err = a.ask(ctx, onboardingOf(in.ID), workflows.UpdateEnsure, workflows.EnsureInput{WaitMS: in.WaitMS}, milliseconds(in.WaitMS), nil)
	if err != nil {
		// Temporal is away, or has no room for another update: the outbox starts the work.
		a.log(ctx).WarnContext(ctx, "ensure-billing goes by the outbox", "customer_id", in.ID, "error", err)
		if err := a.startLater(ctx, in.ID); err != nil {
			return nil, a.fail(ctx, err)
		}
	}
	if c, err = a.deps.Customers.Get(ctx, in.ID); err != nil {
		return nil, a.fail(ctx, err)
	}
	if c.BillingReady() {
		return a.answer(ctx, http.StatusOK, c)
	}
	return a.answer(ctx, http.StatusAccepted, c)
}

func (a *API) startLater(ctx context.Context, customerID string) error {
	err := postgres.InTx(ctx, a.deps.Pool, func(tx pgx.Tx) error {
		return outbox.Add(ctx, tx, workflows.RepairOnboarding(customerID, time.Now()))
	})
	if err == nil {
		a.deps.Notify()
	}
	return err
}
