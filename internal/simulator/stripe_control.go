package simulator

import (
	"errors"
	"net/http"
)

func (s *Simulator) stripeControlCalls() []controlCall {
	return []controlCall{
		{"GET /stripe/subscriptions", "Stripe's subscriptions; ?customer=cus_… for one customer's", s.getSubscriptions},
		{"POST /stripe/subscriptions", `a Checkout: active, and paid: {"customer": "cus_…", "price": "price_…", "add_ons": ["price_…"], ` +
			`"quantity": 1, "trial_days": 0, "card": {"brand": "visa", "last4": "4242"}}, all but customer optional`, s.postSubscription},
		{"PUT /stripe/subscriptions", `add or replace one, without an event: {"id": "sub_…", "customer": "cus_…", "status": "active", ` +
			`"price": "price_…", "card": {"last4": "4242"}, "current_period_end": "RFC3339", …}, as GET shows them`, s.putSubscription},
		{"POST /stripe/subscriptions/{id}/renew", "end its period: the next one is paid", s.changeStripe((*Stripe).Renew)},
		{"POST /stripe/subscriptions/{id}/fail-payment", "the card refuses: past due", s.changeStripe((*Stripe).FailPayment)},
		{"POST /stripe/subscriptions/{id}/pay", "pay what it owes", s.changeStripe((*Stripe).PayNow)},
		{"POST /stripe/subscriptions/{id}/pause", "pause it", s.changeStripe((*Stripe).Pause)},
		{"POST /stripe/subscriptions/{id}/resume", "end its pause", s.changeStripe((*Stripe).Resume)},
		{"POST /stripe/subscriptions/{id}/cancel", "cancel it now", s.changeStripe((*Stripe).CancelNow)},
		{
			"PUT /stripe/subscriptions/{id}/cancel-at-period-end", `let it end with its period: {"cancel": true}, or no longer: false`,
			s.putCancelAtPeriodEnd,
		},
		{"PUT /stripe/subscriptions/{id}/price", `change its price: {"price": "price_…"}`, s.putSubscriptionPrice},
		{"PUT /stripe/subscriptions/{id}/status", `any status: {"status": "on_vacation"}`, s.putSubscriptionStatus},
		{
			"PUT /stripe/customers/{id}/card", `the card that pays where a subscription has none: {"brand": "visa", "last4": "4242"}`,
			s.putDefaultCard,
		},
	}
}

func (s *Simulator) getSubscriptions(r *http.Request) (any, error) {
	if customer := r.URL.Query().Get("customer"); customer != "" {
		return s.stripe.SubscriptionsOf(customer), nil
	}
	return s.stripe.Subscriptions(), nil
}

func (s *Simulator) postSubscription(r *http.Request) (any, error) {
	asked, err := decode[struct {
		SubscriptionSpec

		Customer string `json:"customer"`
	}](r)
	if err != nil {
		return nil, err
	}
	return orBadRequest(s.stripe.Subscribe(asked.Customer, asked.SubscriptionSpec))
}

func (s *Simulator) putSubscription(r *http.Request) (any, error) {
	seed, err := decode[Subscription](r)
	if err != nil {
		return nil, err
	}
	return orBadRequest(s.stripe.PutSubscription(seed))
}

func (s *Simulator) changeStripe(change func(*Stripe, string) (Subscription, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) { return orBadRequest(change(s.stripe, r.PathValue("id"))) }
}

func (s *Simulator) putCancelAtPeriodEnd(r *http.Request) (any, error) {
	asked, err := decode[struct {
		Cancel *bool `json:"cancel"`
	}](r)
	switch {
	case err != nil:
		return nil, err
	case asked.Cancel == nil:
		return nil, badRequestError{errors.New("cancel must be true or false")}
	}
	return orBadRequest(s.stripe.CancelAtPeriodEnd(r.PathValue("id"), *asked.Cancel))
}

func (s *Simulator) putSubscriptionPrice(r *http.Request) (any, error) {
	asked, err := decode[struct {
		Price string `json:"price"`
	}](r)
	if err != nil {
		return nil, err
	}
	return orBadRequest(s.stripe.ChangePrice(r.PathValue("id"), asked.Price))
}

func (s *Simulator) putSubscriptionStatus(r *http.Request) (any, error) {
	asked, err := decode[struct {
		Status string `json:"status"`
	}](r)
	if err != nil {
		return nil, err
	}
	return orBadRequest(s.stripe.SetStatus(r.PathValue("id"), asked.Status))
}

func (s *Simulator) putDefaultCard(r *http.Request) (any, error) {
	card, err := decode[Card](r)
	if err != nil {
		return nil, err
	}
	method, err := s.stripe.SetDefaultCard(r.PathValue("id"), card)
	return orBadRequest(map[string]string{"payment_method": method}, err)
}

// orBadRequest answers with what is there now; that it cannot be changed so is the caller's mistake.
func orBadRequest[T any](changed T, err error) (any, error) {
	if err != nil {
		return nil, badRequestError{err}
	}
	return changed, nil
}
