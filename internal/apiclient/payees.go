package apiclient

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/holdfast/holdfast/internal/money"
)

// PayeeProfile is what the app says of a payee.
type PayeeProfile struct {
	Email           string `json:"email"`
	Country         string `json:"country"`
	Currency        string `json:"currency"`
	Rail            string `json:"rail"`
	StripeAccountID string `json:"stripe_account_id,omitempty"`
	PayPalEmail     string `json:"paypal_email,omitempty"`
	Schedule        string `json:"schedule,omitempty"`
	Minimum         int64  `json:"minimum,omitempty"`
}

// Payee is a payee as the API shows it.
type Payee struct {
	PayeeProfile

	ID      string `json:"id"`
	Balance struct {
		Pending   money.Amount `json:"pending"`
		Available money.Amount `json:"available"`
		InPayout  money.Amount `json:"in_payout"`
		Paid      money.Amount `json:"paid"`
	} `json:"balance"`
	NextPayout struct {
		Date   string       `json:"date"`
		Method string       `json:"method"`
		Gross  money.Amount `json:"gross"`
		Fee    money.Amount `json:"fee"`
		Net    money.Amount `json:"net"`
		Reason string       `json:"reason"`
	} `json:"next_payout"`
	ProviderAccount *ProviderAccount `json:"provider_account"`
	Pauses          []Pause          `json:"pauses"`
	Notes           []Note           `json:"notes"`
}

// ProviderAccount is a payee's connected account as it was seen last.
type ProviderAccount struct {
	ID                string    `json:"id"`
	PayoutsEnabled    bool      `json:"payouts_enabled"`
	ExternalAccountID string    `json:"external_account_id"`
	AsOf              time.Time `json:"as_of"`
	Stale             bool      `json:"stale"`
}

// Pause is what stops a payee's payouts.
type Pause struct {
	Source string    `json:"source"`
	Reason string    `json:"reason"`
	Note   string    `json:"note"`
	Actor  string    `json:"actor"`
	Since  time.Time `json:"since"`
}

// Note is why there was no payout.
type Note struct {
	Code      string `json:"code"`
	Detail    string `json:"detail"`
	FirstDate string `json:"first_date"`
	LastDate  string `json:"last_date"`
	Times     int    `json:"times"`
}

// PayoutOption is a schedule that a payee may choose.
type PayoutOption struct {
	Schedule string `json:"schedule"`
	Method   string `json:"method"`
	NextDate string `json:"next_date"`
	Eligible bool   `json:"eligible"`
	Reason   string `json:"reason"`
	Fee      string `json:"fee"`
	Example  *struct {
		Gross money.Amount `json:"gross"`
		Fee   money.Amount `json:"fee"`
		Net   money.Amount `json:"net"`
	} `json:"example"`
}

// Earning is something that a payee earned, or that was taken back.
type Earning struct {
	ID          string    `json:"id"`
	Kind        string    `json:"kind"`
	Amount      int64     `json:"amount"` // minor units
	Currency    string    `json:"currency"`
	OccurredAt  time.Time `json:"occurred_at"`
	Description string    `json:"description,omitempty"`
}

// Correction is what an operator puts right in a payee's balance.
type Correction struct {
	ID       string `json:"id"`
	Amount   int64  `json:"amount,omitempty"` // minor units; of an adjustment
	Currency string `json:"currency,omitempty"`
	Note     string `json:"note"`
}

// PutPayee makes a customer a payee or changes one, and tells whether it was none before.
func (c *Client) PutPayee(ctx context.Context, id string, profile PayeeProfile) (created bool, _ Payee, err error) {
	var answer Payee
	status, err := c.do(ctx, http.MethodPut, payeePath(id, ""), profile, &answer)
	return status == http.StatusCreated, answer, err
}

// Payee reads a payee.
func (c *Client) Payee(ctx context.Context, id string) (Payee, error) {
	var answer Payee
	_, err := c.do(ctx, http.MethodGet, payeePath(id, ""), nil, &answer)
	return answer, err
}

// PayoutOptions lists the schedules that a payee may choose.
func (c *Client) PayoutOptions(ctx context.Context, id string) ([]PayoutOption, error) {
	var answer struct {
		Items []PayoutOption `json:"items"`
	}
	_, err := c.do(ctx, http.MethodGet, payeePath(id, "/payout-options"), nil, &answer)
	return answer.Items, err
}

// Earn credits a payee or takes back, as the kind says, and tells whether it was new.
func (c *Client) Earn(ctx context.Context, id string, e Earning) (created bool, _ Earning, err error) {
	var answer Earning
	status, err := c.do(ctx, http.MethodPost, payeePath(id, "/earnings"), e, &answer)
	return status == http.StatusCreated, answer, err
}

// Earnings lists what a payee earned and what was taken back, the latest first.
func (c *Client) Earnings(ctx context.Context, id string) ([]Earning, error) {
	var all []Earning
	for cursor := ""; ; {
		var page struct {
			Items      []Earning `json:"items"`
			NextCursor string    `json:"next_cursor"`
		}
		if _, err := c.do(ctx, http.MethodGet, payeePath(id, "/earnings?cursor="+url.QueryEscape(cursor)), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if cursor = page.NextCursor; cursor == "" {
			return all, nil
		}
	}
}

// PausePayee stops a payee's payouts, for the payee.
func (c *Client) PausePayee(ctx context.Context, id, note string) (Payee, error) {
	return c.tellPayee(ctx, payeePath(id, "/pause"), map[string]string{"note": note})
}

// ResumePayee lets a payee's payouts go on, as far as the payee had stopped them.
func (c *Client) ResumePayee(ctx context.Context, id, note string) (Payee, error) {
	return c.tellPayee(ctx, payeePath(id, "/resume"), map[string]string{"note": note})
}

// PausePayeeByOperator stops a payee's payouts, for the operators.
func (c *Client) PausePayeeByOperator(ctx context.Context, id, note string) (Payee, error) {
	return c.tellPayee(ctx, operatorsPayeePath(id, "/pause"), map[string]string{"note": note})
}

// ResumePayeeByOperator lets a payee's payouts go on, as far as an operator had stopped them.
func (c *Client) ResumePayeeByOperator(ctx context.Context, id, note string) (Payee, error) {
	return c.tellPayee(ctx, operatorsPayeePath(id, "/resume"), map[string]string{"note": note})
}

// AdjustPayee gives an amount to a payee, or takes it when it is below zero.
func (c *Client) AdjustPayee(ctx context.Context, id string, correction Correction) (Payee, error) {
	return c.tellPayee(ctx, operatorsPayeePath(id, "/adjust"), correction)
}

// WriteOffPayee gives up a payee's negative balance.
func (c *Client) WriteOffPayee(ctx context.Context, id string, correction Correction) (Payee, error) {
	return c.tellPayee(ctx, operatorsPayeePath(id, "/write-off"), correction)
}

func (c *Client) tellPayee(ctx context.Context, path string, body any) (Payee, error) {
	var answer Payee
	_, err := c.do(ctx, http.MethodPost, path, body, &answer)
	return answer, err
}

func payeePath(id, rest string) string { return "/v1/payees/" + url.PathEscape(id) + rest }

func operatorsPayeePath(id, rest string) string { return "/v1/ops/payees/" + url.PathEscape(id) + rest }
