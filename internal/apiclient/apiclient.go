// Package apiclient calls Holdfast's HTTP API: for starter's own commands, the demo, the
// benchmarks and the tests.
package apiclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast/holdfast/internal/customer"
)

// Client makes calls with one key.
type Client struct {
	base string
	key  string
	http *http.Client
}

// New makes a client of the API at the base URL.
func New(base, key string) *Client {
	return &Client{base: strings.TrimRight(base, "/"), key: key, http: &http.Client{
		Timeout:   time.Minute,
		Transport: &http.Transport{MaxIdleConnsPerHost: 256},
	}}
}

// Customer is a customer as the API shows it.
type Customer struct {
	ID         string `json:"id"`
	Email      string `json:"email"`
	Name       string `json:"name"`
	Status     string `json:"status"`
	Onboarding struct {
		WorkflowID string `json:"workflow_id"`
		Steps      []Step `json:"steps"`
	} `json:"onboarding"`
	Providers struct {
		Stripe struct {
			CustomerID string `json:"customer_id"`
		} `json:"stripe"`
		PayPal struct {
			SubscriptionIDs []string `json:"subscription_ids"`
		} `json:"paypal"`
	} `json:"providers"`
	Subscription Subscription `json:"subscription"`
	CreatedAt    time.Time    `json:"created_at"`
}

// Subscription is the subscription that counts, as far as it is known.
type Subscription struct {
	Status            string     `json:"status"`
	Provider          string     `json:"provider"`
	SubscriptionID    string     `json:"subscription_id"`
	ProviderStatus    string     `json:"provider_status"`
	PriceID           string     `json:"price_id"`
	CurrentPeriodEnd  *time.Time `json:"current_period_end"`
	PaidUntil         *time.Time `json:"paid_until"`
	CancelAtPeriodEnd bool       `json:"cancel_at_period_end"`
	SyncedAt          *time.Time `json:"synced_at"`
	Stale             bool       `json:"stale"`
	Sync              *struct {
		WorkflowID string `json:"workflow_id"`
		Steps      []Step `json:"steps"`
	} `json:"sync"`
}

// Step is one step of a customer's onboarding.
type Step struct {
	Name          string     `json:"name"`
	Status        string     `json:"status"`
	WaitsFor      string     `json:"waits_for"`
	Attempts      int        `json:"attempts"`
	LastError     string     `json:"last_error"`
	NextAttemptAt *time.Time `json:"next_attempt_at"`
	UpdatedAt     time.Time  `json:"updated_at"`
}

// Attention is one thing that waits for a person.
type Attention struct {
	Kind       string    `json:"kind"`
	Subject    string    `json:"subject"`
	Detail     string    `json:"detail"`
	CustomerID string    `json:"customer_id"`
	WorkflowID string    `json:"workflow_id"`
	Step       string    `json:"step"`
	Provider   string    `json:"provider"`
	ChangeSeq  int64     `json:"change_seq"`
	PayoutID   string    `json:"payout_id"`
	RunDate    string    `json:"run_date"`
	LastError  string    `json:"last_error"`
	Since      time.Time `json:"since"`
}

// Provider is a provider's health and what waits for it.
type Provider struct {
	Provider      string     `json:"provider"`
	State         string     `json:"state"`
	Since         time.Time  `json:"since"`
	LastError     string     `json:"last_error"`
	CheckedAt     *time.Time `json:"checked_at"`
	Waiting       int64      `json:"waiting"`
	OldestWaiting *time.Time `json:"oldest_waiting"`
}

// Problem is an error answer (RFC 9457).
type Problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Errors []struct {
		Message  string `json:"message"`
		Location string `json:"location"`
	} `json:"errors"`
}

func (p *Problem) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "HTTP %d: %s", p.Status, p.Detail)
	for _, e := range p.Errors {
		fmt.Fprintf(&text, "; %s: %s", e.Location, e.Message)
	}
	return text.String()
}

// StatusOf is the HTTP status of a Problem, or zero.
func StatusOf(err error) int {
	if problem, ok := errors.AsType[*Problem](err); ok {
		return problem.Status
	}
	return 0
}

// CreateCustomer creates a customer and tells whether it was new.
func (c *Client) CreateCustomer(ctx context.Context, p customer.Profile) (created bool, _ Customer, err error) {
	var answer Customer
	status, err := c.do(ctx, http.MethodPost, "/v1/customers", p, &answer)
	return status == http.StatusCreated, answer, err
}

// Customer reads a customer.
func (c *Client) Customer(ctx context.Context, id string) (Customer, error) {
	var answer Customer
	_, err := c.do(ctx, http.MethodGet, "/v1/customers/"+url.PathEscape(id), nil, &answer)
	return answer, err
}

// ChangeCustomer changes e-mail or name.
func (c *Client) ChangeCustomer(ctx context.Context, id string, change customer.Change) (Customer, error) {
	var answer Customer
	_, err := c.do(ctx, http.MethodPatch, "/v1/customers/"+url.PathEscape(id), change, &answer)
	return answer, err
}

// EnsureBilling waits until the customer may be billed, or for as long as it is told to.
func (c *Client) EnsureBilling(ctx context.Context, id string, wait time.Duration) (ready bool, _ Customer, err error) {
	var answer Customer
	path := "/v1/customers/" + url.PathEscape(id) + "/ensure-billing?wait_ms=" + strconv.FormatInt(wait.Milliseconds(), 10)
	status, err := c.do(ctx, http.MethodPost, path, nil, &answer)
	return status == http.StatusOK, answer, err
}

// Sync has the customer's subscriptions read now, and tells whether they were within the wait.
func (c *Client) Sync(ctx context.Context, id string, wait time.Duration) (synced bool, _ Customer, err error) {
	var answer Customer
	path := "/v1/customers/" + url.PathEscape(id) + "/sync?wait_ms=" + strconv.FormatInt(wait.Milliseconds(), 10)
	status, err := c.do(ctx, http.MethodPost, path, nil, &answer)
	return status == http.StatusOK, answer, err
}

// BindPayPal says that a PayPal subscription is the customer's, and tells whether PayPal said so
// within the wait.
func (c *Client) BindPayPal(ctx context.Context, id, subscriptionID string, wait time.Duration) (bound bool, _ Customer, err error) {
	var answer Customer
	path := "/v1/customers/" + url.PathEscape(id) + "/paypal-subscriptions?wait_ms=" + strconv.FormatInt(wait.Milliseconds(), 10)
	status, err := c.do(ctx, http.MethodPost, path, map[string]string{"subscription_id": subscriptionID}, &answer)
	return status == http.StatusCreated || status == http.StatusOK, answer, err
}

// RetryStep tries a waiting step now.
func (c *Client) RetryStep(ctx context.Context, customerID, step, note string) error {
	return c.verdict(ctx, customerID, step, "retry", note)
}

// SkipStep goes on without a waiting step.
func (c *Client) SkipStep(ctx context.Context, customerID, step, note string) error {
	return c.verdict(ctx, customerID, step, "skip", note)
}

func (c *Client) verdict(ctx context.Context, customerID, step, verdict, note string) error {
	path := fmt.Sprintf("/v1/ops/customers/%s/steps/%s/%s", url.PathEscape(customerID), url.PathEscape(step), verdict)
	_, err := c.do(ctx, http.MethodPost, path, map[string]string{"note": note}, nil)
	return err
}

// Attention lists everything that waits for a person, oldest first.
func (c *Client) Attention(ctx context.Context) ([]Attention, error) {
	var all []Attention
	for cursor := ""; ; {
		var page struct {
			Items      []Attention `json:"items"`
			NextCursor string      `json:"next_cursor"`
		}
		if _, err := c.do(ctx, http.MethodGet, "/v1/ops/attention?cursor="+url.QueryEscape(cursor), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if cursor = page.NextCursor; cursor == "" {
			return all, nil
		}
	}
}

// Providers lists the health of the providers.
func (c *Client) Providers(ctx context.Context) ([]Provider, error) {
	var answer struct {
		Items []Provider `json:"items"`
	}
	_, err := c.do(ctx, http.MethodGet, "/v1/ops/providers", nil, &answer)
	return answer.Items, err
}

func (c *Client) do(ctx context.Context, method, path string, body, into any) (status int, err error) {
	var reader io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return 0, fmt.Errorf("%s %s: encode the body: %w", method, path, err)
		}
		reader = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w", method, path, err)
	}
	request.Header.Set("Authorization", "Bearer "+c.key)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return 0, fmt.Errorf("reach Holdfast's API: %w", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return response.StatusCode, fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		return response.StatusCode, problem(response.StatusCode, answer)
	}
	if into == nil {
		return response.StatusCode, nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return response.StatusCode, fmt.Errorf("%s %s: decode the answer: %w", method, path, err)
	}
	return response.StatusCode, nil
}

func problem(status int, body []byte) error {
	p := &Problem{Status: status, Detail: http.StatusText(status)}
	_ = json.Unmarshal(body, p) // a proxy's page is no problem document; the status says enough
	p.Status = status
	return p
}
