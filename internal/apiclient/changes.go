package apiclient

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Change is something that the app was told of a customer.
type Change struct {
	Seq        int64           `json:"seq"`
	At         time.Time       `json:"at"`
	Type       string          `json:"type"`
	CustomerID string          `json:"customer_id"`
	Data       json.RawMessage `json:"data"`
}

// Status is the status that the app was told, of the subscription or of the customer.
func (c Change) Status() string {
	var data struct {
		Status string `json:"status"`
	}
	_ = json.Unmarshal(c.Data, &data) // a change without one has none
	return data.Status
}

// Changes lists what the app is told after the change with that number, and waits for it if there is
// nothing yet.
func (c *Client) Changes(ctx context.Context, after int64, wait time.Duration) (_ []Change, nextAfter int64, err error) {
	return c.changes(ctx, "/v1/changes", after, wait)
}

// CustomerChanges lists everything that the app was told of a customer, oldest first.
func (c *Client) CustomerChanges(ctx context.Context, id string) ([]Change, error) {
	var all []Change
	for after := int64(0); ; {
		page, next, err := c.changes(ctx, "/v1/customers/"+url.PathEscape(id)+"/changes", after, 0)
		if err != nil || len(page) == 0 {
			return all, err
		}
		all, after = append(all, page...), next
	}
}

func (c *Client) changes(ctx context.Context, path string, after int64, wait time.Duration) ([]Change, int64, error) {
	var page struct {
		Data      []Change `json:"data"`
		NextAfter int64    `json:"next_after"`
	}
	query := url.Values{"after": {strconv.FormatInt(after, 10)}}
	if wait > 0 {
		query.Set("wait_ms", strconv.FormatInt(wait.Milliseconds(), 10))
	}
	_, err := c.do(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &page)
	return page.Data, page.NextAfter, err
}

// Redeliver has a change sent to the app's webhook again.
func (c *Client) Redeliver(ctx context.Context, seq int64, note string) error {
	path := "/v1/ops/changes/" + strconv.FormatInt(seq, 10) + "/redeliver"
	_, err := c.do(ctx, http.MethodPost, path, map[string]string{"note": note}, nil)
	return err
}
