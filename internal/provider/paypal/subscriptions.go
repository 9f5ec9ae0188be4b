package paypal

import (
	"context"
	"net/http"
	"regexp"
	"time"
)

const (
	subscriptionsPath = "/v1/billing/subscriptions/"
	subscriptionRoute = subscriptionsPath + "{id}"

	// CodeSubscriptionIDInvalid means that what was given is no subscription's id. Nothing was sent.
	CodeSubscriptionIDInvalid = "subscription_id_invalid"
)

// Subscription is a subscription as PayPal has it now. Times are UTC, and zero where PayPal gives
// none.
type Subscription struct {
	ID string // "I-…"
	// Status is PayPal's word: APPROVAL_PENDING, APPROVED, ACTIVE, SUSPENDED, CANCELLED, EXPIRED, or
	// one that PayPal has added since.
	Status   string
	PlanID   string // "P-…"
	CustomID string // whose it is, as given on creation; empty when nothing was
	Quantity string // a decimal, as PayPal writes it; empty when PayPal gives none

	StartTime        time.Time
	CreateTime       time.Time
	UpdateTime       time.Time
	StatusUpdateTime time.Time

	// NextBillingTime is when the next payment is due; zero when none is.
	NextBillingTime time.Time
	// LastPaymentTime is zero when nothing was paid yet, and amount and currency are empty then.
	LastPaymentTime     time.Time
	LastPaymentAmount   string // a decimal, as PayPal writes it: "10.00"
	LastPaymentCurrency string // as PayPal writes it: "USD"
}

// subscriptionAnswer is the part of PayPal's answer that we read. The library's own type loses
// times, and the currency of balances.
type subscriptionAnswer struct {
	ID               string    `json:"id"`
	Status           string    `json:"status"`
	PlanID           string    `json:"plan_id"`
	CustomID         string    `json:"custom_id"`
	Quantity         string    `json:"quantity"`
	StartTime        time.Time `json:"start_time"`
	CreateTime       time.Time `json:"create_time"`
	UpdateTime       time.Time `json:"update_time"`
	StatusUpdateTime time.Time `json:"status_update_time"`
	BillingInfo      struct {
		NextBillingTime time.Time `json:"next_billing_time"`
		LastPayment     struct {
			Time   time.Time `json:"time"`
			Amount struct {
				Value    string `json:"value"`
				Currency string `json:"currency_code"`
			} `json:"amount"`
		} `json:"last_payment"`
	} `json:"billing_info"`
}

// GetSubscription reads a subscription. One that does not exist, or is another merchant's, is
// NotFound; what cannot be an id is Rejected, code CodeSubscriptionIDInvalid.
func (c *Client) GetSubscription(ctx context.Context, id string) (Subscription, error) {
	if err := checkSubscriptionID(id); err != nil {
		return Subscription{}, err
	}
	var answer subscriptionAnswer
	err := c.run(ctx, request{route: subscriptionRoute}, func(ctx context.Context) error {
		answer = subscriptionAnswer{}
		if err := c.exchange(ctx, http.MethodGet, subscriptionsPath+id, nil, &answer); err != nil {
			return err
		}
		if answer.ID != id || answer.Status == "" {
			return errNotPayPal
		}
		return nil
	})
	if err != nil {
		return Subscription{}, err
	}
	return answer.subscription(), nil
}

func (a subscriptionAnswer) subscription() Subscription {
	return Subscription{
		ID: a.ID, Status: a.Status, PlanID: a.PlanID, CustomID: a.CustomID, Quantity: a.Quantity,
		StartTime:           a.StartTime.UTC(),
		CreateTime:          a.CreateTime.UTC(),
		UpdateTime:          a.UpdateTime.UTC(),
		StatusUpdateTime:    a.StatusUpdateTime.UTC(),
		NextBillingTime:     a.BillingInfo.NextBillingTime.UTC(),
		LastPaymentTime:     a.BillingInfo.LastPayment.Time.UTC(),
		LastPaymentAmount:   a.BillingInfo.LastPayment.Amount.Value,
		LastPaymentCurrency: a.BillingInfo.LastPayment.Amount.Currency,
	}
}

var subscriptionID = regexp.MustCompile(`^I-[A-Z0-9]{1,48}$`)

// checkSubscriptionID keeps anything but an id out of a request's path.
func checkSubscriptionID(id string) error {
	if !subscriptionID.MatchString(id) {
		return rejected(CodeSubscriptionIDInvalid, "subscription_id")
	}
	return nil
}
