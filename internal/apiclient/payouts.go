package apiclient

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/holdfast/holdfast/internal/money"
)

// Payout is a payout as the API shows it.
type Payout struct {
	ID          string       `json:"id"`
	PayeeID     string       `json:"payee_id"`
	Kind        string       `json:"kind"`
	RunDate     string       `json:"run_date,omitempty"`
	RequestID   string       `json:"request_id,omitempty"`
	RetryOf     string       `json:"retry_of,omitempty"`
	Part        int          `json:"part"`
	Attempt     int          `json:"attempt"`
	Method      string       `json:"method"`
	Gross       money.Amount `json:"gross"`
	Fee         money.Amount `json:"fee"`
	Net         money.Amount `json:"net"`
	PeriodEnd   string       `json:"period_end"`
	DueDate     string       `json:"due_date"`
	Status      string       `json:"status"`
	StatusSince time.Time    `json:"status_since"`
	Ending      string       `json:"ending,omitempty"`
	Provider    struct {
		AccountID   string `json:"account_id,omitempty"`
		TransferID  string `json:"transfer_id,omitempty"`
		PayoutID    string `json:"payout_id,omitempty"`
		ReversalID  string `json:"reversal_id,omitempty"`
		BatchID     string `json:"batch_id,omitempty"`
		ItemID      string `json:"item_id,omitempty"`
		ArrivalDate string `json:"arrival_date,omitempty"`
	} `json:"provider"`
	Failure *struct {
		Class   string `json:"class"`
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"failure,omitempty"`
	History   []Transition `json:"history"`
	CreatedAt time.Time    `json:"created_at"`
}

// Transition is a payout's step from one state to the next. The first has no From.
type Transition struct {
	From   string    `json:"from,omitempty"`
	To     string    `json:"to"`
	Reason string    `json:"reason,omitempty"`
	Actor  string    `json:"actor,omitempty"`
	At     time.Time `json:"at"`
}

// PayoutRequest asks for an instant payout. Without an Amount it is of everything that is available.
type PayoutRequest struct {
	ID        string        `json:"id"`
	Amount    *money.Amount `json:"amount,omitempty"`
	QuotedNet money.Amount  `json:"quoted_net"`
}

// RequestedPayout is what came of a PayoutRequest: several payouts when the sum is above what one may be.
type RequestedPayout struct {
	ID      string       `json:"id"`
	Gross   money.Amount `json:"gross"`
	Fee     money.Amount `json:"fee"`
	Net     money.Amount `json:"net"`
	Payouts []Payout     `json:"payouts"`
}

// PayoutRun is the run of a date.
type PayoutRun struct {
	Date       string         `json:"date"`
	State      string         `json:"state"`
	ResumesTo  string         `json:"resumes_to,omitempty"`
	Cause      string         `json:"cause"`
	Actor      string         `json:"actor,omitempty"`
	ApprovedBy string         `json:"approved_by,omitempty"`
	Note       string         `json:"note,omitempty"`
	WorkflowID string         `json:"workflow_id"`
	StartedAt  time.Time      `json:"started_at"`
	ComputedAt *time.Time     `json:"computed_at,omitempty"`
	EndedAt    *time.Time     `json:"ended_at,omitempty"`
	Looked     int            `json:"looked"`
	Totals     []PayoutTotal  `json:"totals"`
	Missing    []MissingFunds `json:"missing"`
}

// PayPalBatch is payouts that go to PayPal together.
type PayPalBatch struct {
	ID            string     `json:"id"`
	Status        string     `json:"status"`
	StatusSince   time.Time  `json:"status_since"`
	Reason        string     `json:"reason,omitempty"`
	RunDate       string     `json:"run_date,omitempty"`
	Payouts       int        `json:"payouts"`
	UnderWay      int        `json:"under_way"`
	PayPalBatchID string     `json:"paypal_batch_id,omitempty"`
	SentAt        *time.Time `json:"sent_at,omitempty"`
	CheckedAt     *time.Time `json:"checked_at,omitempty"`
	WorkflowID    string     `json:"workflow_id"`
	Steps         []Step     `json:"steps"`
}

// MissingFunds is what the platform lacked at a provider, so that somebody waits for the next run.
type MissingFunds struct {
	Provider string       `json:"provider"`
	Amount   money.Amount `json:"amount"`
	Payouts  int          `json:"payouts"`
}

// PayoutTotal is what a run's payouts in one state come to, in one currency.
type PayoutTotal struct {
	Status string       `json:"status"`
	Count  int64        `json:"count"`
	Gross  money.Amount `json:"gross"`
	Fee    money.Amount `json:"fee"`
	Net    money.Amount `json:"net"`
}

// PayoutsSwitch is the kill switch of payouts.
type PayoutsSwitch struct {
	Enabled bool      `json:"enabled"`
	Reason  string    `json:"reason,omitempty"`
	Actor   string    `json:"actor,omitempty"`
	At      time.Time `json:"at"`
}

// Resolution is what an operator says became of a payout.
type Resolution struct {
	Outcome    string `json:"outcome"`
	ProviderID string `json:"provider_id,omitempty"`
	Force      bool   `json:"force,omitempty"`
	Note       string `json:"note"`
}

// RequestPayout pays a payee now, and tells whether the request was new.
func (c *Client) RequestPayout(ctx context.Context, payeeID string, request PayoutRequest) (created bool, _ RequestedPayout, err error) {
	var answer RequestedPayout
	status, err := c.do(ctx, http.MethodPost, "/v1/payees/"+url.PathEscape(payeeID)+"/payouts", request, &answer)
	return status == http.StatusCreated, answer, err
}

// Payouts lists a payee's payouts, the newest first.
func (c *Client) Payouts(ctx context.Context, payeeID string) ([]Payout, error) {
	var all []Payout
	for cursor := ""; ; {
		var page struct {
			Items      []Payout `json:"items"`
			NextCursor string   `json:"next_cursor"`
		}
		path := "/v1/payees/" + url.PathEscape(payeeID) + "/payouts?cursor=" + url.QueryEscape(cursor)
		if _, err := c.do(ctx, http.MethodGet, path, nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if cursor = page.NextCursor; cursor == "" {
			return all, nil
		}
	}
}

// Payout reads a payout.
func (c *Client) Payout(ctx context.Context, id string) (Payout, error) {
	var answer Payout
	_, err := c.do(ctx, http.MethodGet, "/v1/payouts/"+url.PathEscape(id), nil, &answer)
	return answer, err
}

// StartPayoutRun starts the run of a date, and tells whether there was none.
func (c *Client) StartPayoutRun(ctx context.Context, date string) (created bool, _ PayoutRun, err error) {
	var answer PayoutRun
	status, err := c.do(ctx, http.MethodPost, "/v1/ops/payout-runs", map[string]string{"date": date}, &answer)
	return status == http.StatusCreated, answer, err
}

// PayoutRun reads the run of a date.
func (c *Client) PayoutRun(ctx context.Context, date string) (PayoutRun, error) {
	var answer PayoutRun
	_, err := c.do(ctx, http.MethodGet, "/v1/ops/payout-runs/"+url.PathEscape(date), nil, &answer)
	return answer, err
}

// ApprovePayoutRun lets a run pay what it computed.
func (c *Client) ApprovePayoutRun(ctx context.Context, date, note string) (PayoutRun, error) {
	return c.tellRun(ctx, date, "approve", note)
}

// PausePayoutRun stops a run from paying.
func (c *Client) PausePayoutRun(ctx context.Context, date, note string) (PayoutRun, error) {
	return c.tellRun(ctx, date, "pause", note)
}

// ResumePayoutRun has a paused run go on.
func (c *Client) ResumePayoutRun(ctx context.Context, date, note string) (PayoutRun, error) {
	return c.tellRun(ctx, date, "resume", note)
}

func (c *Client) tellRun(ctx context.Context, date, act, note string) (PayoutRun, error) {
	var answer PayoutRun
	path := "/v1/ops/payout-runs/" + url.PathEscape(date) + "/" + act
	_, err := c.do(ctx, http.MethodPost, path, map[string]string{"note": note}, &answer)
	return answer, err
}

// RetryPayout pays what an ended payout did not. It gives the new payout.
func (c *Client) RetryPayout(ctx context.Context, id, note string) (Payout, error) {
	return c.tellPayout(ctx, id, "retry", map[string]string{"note": note})
}

// CancelPayout has a payout not be paid.
func (c *Client) CancelPayout(ctx context.Context, id, note string) (Payout, error) {
	return c.tellPayout(ctx, id, "cancel", map[string]string{"note": note})
}

// ResolvePayout says what became of a payout; the provider is asked first.
func (c *Client) ResolvePayout(ctx context.Context, id string, resolution Resolution) (Payout, error) {
	return c.tellPayout(ctx, id, "resolve", resolution)
}

// RecordDuplicate takes a second movement of a payout's money into the books; the provider is asked first.
func (c *Client) RecordDuplicate(ctx context.Context, id, providerID, note string) (Payout, error) {
	return c.tellPayout(ctx, id, "record-duplicate", map[string]string{"provider_id": providerID, "note": note})
}

// RetryPayoutStep has a step of a payout tried again that waits for a person.
func (c *Client) RetryPayoutStep(ctx context.Context, id, step, note string) (Payout, error) {
	return c.tellPayout(ctx, id, "steps/"+url.PathEscape(step)+"/retry", map[string]string{"note": note})
}

// RetryPayoutRunStep has a step of a run tried again that waits for a person.
func (c *Client) RetryPayoutRunStep(ctx context.Context, date, step, note string) (PayoutRun, error) {
	var answer PayoutRun
	path := "/v1/ops/payout-runs/" + url.PathEscape(date) + "/steps/" + url.PathEscape(step) + "/retry"
	_, err := c.do(ctx, http.MethodPost, path, map[string]string{"note": note}, &answer)
	return answer, err
}

// RetryPayPalBatchStep has a step of a batch at PayPal tried again that waits for a person.
func (c *Client) RetryPayPalBatchStep(ctx context.Context, id, step, note string) (PayPalBatch, error) {
	var answer PayPalBatch
	path := "/v1/ops/paypal-batches/" + url.PathEscape(id) + "/steps/" + url.PathEscape(step) + "/retry"
	_, err := c.do(ctx, http.MethodPost, path, map[string]string{"note": note}, &answer)
	return answer, err
}

func (c *Client) tellPayout(ctx context.Context, id, act string, body any) (Payout, error) {
	var answer Payout
	_, err := c.do(ctx, http.MethodPost, "/v1/ops/payouts/"+url.PathEscape(id)+"/"+act, body, &answer)
	return answer, err
}

// PayoutsSwitch reads the kill switch.
func (c *Client) PayoutsSwitch(ctx context.Context) (PayoutsSwitch, error) {
	var answer PayoutsSwitch
	_, err := c.do(ctx, http.MethodGet, "/v1/ops/payouts-switch", nil, &answer)
	return answer, err
}

// SwitchPayouts lets new payments be made, or stops them.
func (c *Client) SwitchPayouts(ctx context.Context, enabled bool, reason string) (PayoutsSwitch, error) {
	var answer PayoutsSwitch
	body := map[string]any{"enabled": enabled, "reason": reason}
	_, err := c.do(ctx, http.MethodPost, "/v1/ops/payouts-switch", body, &answer)
	return answer, err
}
