// Package demo shows Holdfast's main job on a running fleet, in words, and checks at the end that
// what it told is true in Postgres, in Temporal and at the provider.
package demo

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/holdfast/holdfast/internal/apiclient"
	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/fleet"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

// Rate is the provider limit that the fleet is to be started with, in calls a second: that of a live
// account at Stripe, so that the story is not a long one.
const Rate = 100

// Run tells the story. Its error says which expectation did not hold.
func Run(ctx context.Context, out io.Writer, f *fleet.Fleet) error {
	s := &story{
		fleet: f, out: out,
		app: apiclient.New(f.URL(), fleet.AppKey), operator: apiclient.New(f.URL(), fleet.OperatorKey),
	}
	chapters := []func(context.Context) error{
		s.signUpWhileStripeIsDown, s.stripeComesBack, s.wrongKey, s.lostAnswers, s.workerDies, s.rejectedStep, s.broughtAndPromised,
		s.checkout, s.changesDuringAnOutage, s.canceledInTheSameSecond, s.approvedLate,
		s.paidOut,
	}
	for _, chapter := range chapters {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	return s.conclude(ctx)
}

type story struct {
	fleet         *fleet.Fleet
	out           io.Writer
	app, operator *apiclient.Client
	chapters      int
	customers     []string // everybody who signed up
	subscribers   []string // those of them who have a subscription, or asked for one
	payees        []*payee // those of them who are paid
	payday        payday
}

func (s *story) chapter(title string) {
	s.chapters++
	fmt.Fprintf(s.out, "\n%d. %s\n", s.chapters, title)
}

func (s *story) sayf(format string, args ...any) { fmt.Fprintf(s.out, "   "+format+"\n", args...) }

func (s *story) signUpWhileStripeIsDown(ctx context.Context) error {
	s.chapter("Stripe goes down, and customers sign up all the same")
	if err := s.fleet.Simulator.SetFaults(simulator.Fault{Kind: simulator.Refuse}); err != nil {
		return err
	}
	const signups = 12
	for i := range signups {
		if err := s.signUp(ctx, profile(fmt.Sprintf("down_%02d", i+1))); err != nil {
			return err
		}
	}
	if err := s.awaitProvider(ctx, "down"); err != nil {
		return err
	}
	if err := s.awaitWaiting(ctx, signups); err != nil {
		return err
	}
	s.sayf("")
	s.sayf("What an operator sees (starter ops providers):")
	if err := s.showProviders(ctx); err != nil {
		return err
	}
	s.sayf("")
	s.sayf("One of them in Temporal's UI:      %s", s.workflowLink("down_01"))
	s.sayf("All that wait for Stripe there:    %s", s.queryLink(workflows.SearchBlockedOn+"='stripe'"))
	return nil
}

func (s *story) stripeComesBack(ctx context.Context) error {
	s.chapter("Stripe comes back, and everybody becomes ready by itself")
	back := time.Now()
	if err := s.fleet.Simulator.ClearFaults(); err != nil {
		return err
	}
	return s.awaitAllReady(ctx, back)
}

func (s *story) wrongKey(ctx context.Context) error {
	s.chapter("Somebody rotates the API key too early")
	s.fleet.Simulator.Stripe().SetKeys([]string{"sk_test_the_next_key"}, []string{fleet.StripeKey})
	for _, id := range []string{"key_1", "key_2", "key_3"} {
		if err := s.signUp(ctx, profile(id)); err != nil {
			return err
		}
	}
	if err := s.awaitProvider(ctx, "misconfigured"); err != nil {
		return err
	}
	s.sayf("No customer failed. There is one alert, for the provider:")
	if err := s.showProviders(ctx); err != nil {
		return err
	}
	s.sayf("The key is put right at Stripe; nobody touches Holdfast.")
	right := time.Now()
	s.fleet.Simulator.Stripe().SetKeys([]string{fleet.StripeKey}, nil)
	return s.awaitAllReady(ctx, right)
}

func (s *story) lostAnswers(ctx context.Context) error {
	s.chapter("Stripe does the work and its answer is lost")
	began := time.Now()
	err := s.fleet.Simulator.SetFaults(
		simulator.Fault{Kind: simulator.ExecuteThenDrop, Method: "POST", PathPrefix: "/v1/customers", Times: 1})
	if err != nil {
		return err
	}
	if err := s.signUpAndAwait(ctx, profile("lost_1")); err != nil {
		return err
	}
	posts := s.fleet.Simulator.Calls().Since(began).To("POST", "/v1/customers")
	s.sayf("The connection broke after the work: Stripe saw %d requests under one key, and made one customer.", len(posts))

	began = time.Now()
	err = s.fleet.Simulator.SetFaults(
		simulator.Fault{Kind: simulator.ExecuteThen500, Method: "POST", PathPrefix: "/v1/customers", Times: 1})
	if err != nil {
		return err
	}
	if err := s.signUpAndAwait(ctx, profile("lost_2")); err != nil {
		return err
	}
	s.sayf("Stripe answered 500 after the work, and keeps answering so under that key. What it was asked:")
	for _, c := range s.fleet.Simulator.Calls().Since(began) {
		s.sayf("  %-4s %-14s → %d", c.Method, c.Route, c.Status)
	}
	s.sayf("The customer was looked up and adopted, not made again.")
	return s.fleet.Simulator.ClearFaults()
}

func (s *story) workerDies(ctx context.Context) error {
	s.chapter("The worker is killed in the middle of a call")
	err := s.fleet.Simulator.SetFaults(
		simulator.Fault{Kind: simulator.Stall, Method: "POST", PathPrefix: "/v1/customers", Times: 1})
	if err != nil {
		return err
	}
	began := time.Now()
	if err := s.signUp(ctx, profile("crash_1")); err != nil {
		return err
	}
	err = await(ctx, "the call to reach Stripe", func() (bool, error) {
		return len(s.fleet.Simulator.Calls().Since(began).To("POST", "/v1/customers")) > 0, nil
	})
	if err != nil {
		return err
	}
	if err := s.fleet.KillWorkers(); err != nil {
		return err
	}
	s.sayf("kill -9. Stripe goes on with what it was asked; nobody hears the answer.")
	if err := s.fleet.Simulator.ClearFaults(); err != nil {
		return err
	}
	if err := s.fleet.StartWorker(ctx); err != nil {
		return err
	}
	s.sayf("A new worker starts. Temporal misses the old one's heartbeat and gives the step to the new one.")
	return s.awaitReady(ctx, "crash_1")
}

func (s *story) rejectedStep(ctx context.Context) error {
	s.chapter("Stripe refuses one customer, and an operator unblocks the step")
	refused := profile("refused_1")
	s.fleet.Simulator.Stripe().RejectEmail(refused.Email, "email_invalid")
	if err := s.signUp(ctx, refused); err != nil {
		return err
	}
	var waiting []apiclient.Attention
	err := await(ctx, "the step to wait for a person", func() (_ bool, err error) {
		waiting, err = s.operator.Attention(ctx)
		return len(waiting) > 0, err
	})
	if err != nil {
		return err
	}
	for _, w := range waiting {
		s.sayf("attention: %s of %s since %s: %s", w.Step, w.CustomerID, w.Since.UTC().Format(time.TimeOnly), w.LastError)
	}
	s.sayf("The cause is mended at Stripe, and the operator says: starter ops retry %s %s", refused.ID, customer.StepStripeCustomer)
	s.fleet.Simulator.Stripe().AllowEmail(refused.Email)
	if err := s.operator.RetryStep(ctx, refused.ID, customer.StepStripeCustomer, "mended at Stripe"); err != nil {
		return err
	}
	return s.awaitReady(ctx, refused.ID)
}

func (s *story) broughtAndPromised(ctx context.Context) error {
	s.chapter("An app brings its own Stripe customer; a promo code is applied late")
	brought, err := s.fleet.Simulator.Stripe().PutCustomer(simulator.Customer{Email: "brought_1@example.com"})
	if err != nil {
		return err
	}
	if err := s.fleet.Simulator.Stripe().SetPromotionCodes(simulator.PromotionCode{Code: "SPRING"}); err != nil {
		return err
	}
	with := profile("brought_1")
	with.StripeCustomerID, with.PromoCode = brought.ID, "SPRING"
	if err := s.signUpAndAwait(ctx, with); err != nil {
		return err
	}
	for _, c := range s.fleet.Simulator.Stripe().Customers() {
		if c.ID == brought.ID {
			s.sayf("%s now carries %s = %s and the discount of %s", c.ID, "holdfast_customer_id", c.Metadata["holdfast_customer_id"], c.PromotionCode)
		}
	}
	return nil
}

func profile(id string) customer.Profile {
	return customer.Profile{ID: id, Email: id + "@example.com", Name: "Customer " + id, Country: "US"}
}

// signUp creates a customer as an app does, and tells how long that took.
func (s *story) signUp(ctx context.Context, p customer.Profile) error {
	began := time.Now()
	status, err := s.create(ctx, p)
	if err == nil {
		s.sayf("POST /v1/customers %-10s 201 in %s, status %s", p.ID, time.Since(began).Round(100*time.Microsecond), status)
	}
	return err
}

func (s *story) create(ctx context.Context, p customer.Profile) (status string, err error) {
	created, c, err := s.app.CreateCustomer(ctx, p)
	if err != nil {
		return "", fmt.Errorf("sign %s up: %w", p.ID, err)
	}
	if !created {
		return "", fmt.Errorf("sign %s up: it was there already", p.ID)
	}
	s.customers = append(s.customers, p.ID)
	return c.Status, nil
}

func (s *story) signUpAndAwait(ctx context.Context, p customer.Profile) error {
	if err := s.signUp(ctx, p); err != nil {
		return err
	}
	return s.awaitReady(ctx, p.ID)
}

func (s *story) showProviders(ctx context.Context) error {
	providers, err := s.operator.Providers(ctx)
	if err != nil {
		return err
	}
	for _, p := range providers {
		s.sayf("  %-7s %-14s since %s, %d waiting  %s", p.Provider, p.State, p.Since.UTC().Format(time.TimeOnly), p.Waiting, p.LastError)
	}
	return nil
}

func (s *story) workflowLink(customerID string) string {
	return fmt.Sprintf("%s/namespaces/default/workflows/%s", s.fleet.Stack.Temporal.UIURL(), url.PathEscape(workflows.OnboardingID(customerID)))
}

func (s *story) queryLink(query string) string {
	return fmt.Sprintf("%s/namespaces/default/workflows?query=%s", s.fleet.Stack.Temporal.UIURL(), url.QueryEscape(query))
}
