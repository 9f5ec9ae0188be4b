package simulator

import (
	"errors"
	"net/http"
)

func (s *Simulator) payPalControlCalls() []controlCall {
	return []controlCall{
		{"GET /paypal/subscriptions", "PayPal's subscriptions", s.getPayPalSubscriptions},
		{"POST /paypal/subscriptions", `make one that waits for approval: {"plan_id": "P-…", "custom_id": "u_1"}`, s.postPayPalSubscription},
		{"PUT /paypal/subscriptions", `add or replace one, without an event: {"id": "I-…", "status": "ACTIVE", "plan_id": "P-…", ` +
			`"custom_id": "u_1", "next_billing_time": "RFC3339", …}, as GET shows them`, s.putPayPalSubscription},
		{"POST /paypal/subscriptions/{id}/approve", "the buyer approves: active, and paid", s.changePayPal((*PayPal).Approve)},
		{"POST /paypal/subscriptions/{id}/suspend", "suspend it", s.changePayPal((*PayPal).Suspend)},
		{"POST /paypal/subscriptions/{id}/reactivate", "end its suspension", s.changePayPal((*PayPal).Reactivate)},
		{"POST /paypal/subscriptions/{id}/cancel", "cancel it", s.changePayPal((*PayPal).Cancel)},
		{"POST /paypal/subscriptions/{id}/expire", "end its term", s.changePayPal((*PayPal).Expire)},
		{"POST /paypal/subscriptions/{id}/renew", "pay its next month", s.changePayPal((*PayPal).RenewPayment)},
		{"PUT /paypal/subscriptions/{id}/status", `any status: {"status": "ON_VACATION"}`, s.putPayPalStatus},
		{"PUT /paypal/credentials", `what gets a token: {"client_id": "…", "client_secret": "…"}`, s.putPayPalCredentials},
		{"DELETE /paypal/tokens", "make every token worthless that was given so far", s.deletePayPalTokens},
		{"PUT /paypal/rate-limit", `calls a second before 429: {"calls_per_second": 25}, 0 for no limit`, s.putPayPalRateLimit},
		{"GET /paypal/webhook", "how its webhooks are verified: webhook id, certificate host, certificate authority", s.getPayPalWebhook},
	}
}

func (s *Simulator) getPayPalSubscriptions(*http.Request) (any, error) {
	return s.paypal.Subscriptions(), nil
}

func (s *Simulator) postPayPalSubscription(r *http.Request) (any, error) {
	asked, err := decode[struct {
		PlanID   string `json:"plan_id"`
		CustomID string `json:"custom_id"`
	}](r)
	switch {
	case err != nil:
		return nil, err
	case asked.PlanID == "":
		return nil, badRequestError{errors.New("plan_id is empty")}
	}
	return s.paypal.CreateSubscription(asked.PlanID, asked.CustomID), nil
}

func (s *Simulator) putPayPalSubscription(r *http.Request) (any, error) {
	seed, err := decode[PayPalSubscription](r)
	if err != nil {
		return nil, err
	}
	return orBadRequest(s.paypal.PutSubscription(seed))
}

func (s *Simulator) changePayPal(change func(*PayPal, string) (PayPalSubscription, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		return orBadRequest(change(s.paypal, r.PathValue("id")))
	}
}

func (s *Simulator) putPayPalStatus(r *http.Request) (any, error) {
	asked, err := decode[struct {
		Status string `json:"status"`
	}](r)
	if err != nil {
		return nil, err
	}
	return orBadRequest(s.paypal.SetStatus(r.PathValue("id"), asked.Status))
}

func (s *Simulator) putPayPalCredentials(r *http.Request) (any, error) {
	given, err := decode[struct {
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
	}](r)
	if err != nil {
		return nil, err
	}
	s.paypal.SetCredentials(given.ClientID, given.ClientSecret)
	return map[string]string{"client_id": given.ClientID}, nil
}

func (s *Simulator) deletePayPalTokens(*http.Request) (any, error) {
	return map[string]int{"expired": s.paypal.ExpireTokens()}, nil
}

func (s *Simulator) putPayPalRateLimit(r *http.Request) (any, error) {
	limit, err := decode[rateLimitBody](r)
	if err != nil {
		return nil, err
	}
	s.paypal.SetRateLimit(limit.CallsPerSecond)
	return limit, nil
}

func (s *Simulator) getPayPalWebhook(*http.Request) (any, error) {
	ca, err := s.paypal.CertificateAuthority()
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"webhook_id": s.paypal.WebhookID(), "certificate_host": s.paypal.CertificateHost(), "certificate_authority": string(ca),
	}, nil
}
