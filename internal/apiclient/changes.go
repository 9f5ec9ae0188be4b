package apiclient

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Change is something that the app was told of a customer.
type Change struct {
	Seq        int64     `json:"seq"`
	At         time.Time `json:"at"`
	Type       string    `json:"type"`
	CustomerID string    `json:"customer_id"`
	Data       struct {
		Status         string `json:"status"`
		Provider       string `json:"provider"`
		PriceID        string `json:"price_id"`
		ProviderStatus string `json:"provider_status"`
	} `json:"data"`
}

// CustomerChanges reads what the app was told of a customer: the first hundred changes.
func (c *Client) CustomerChanges(ctx context.Context, id string) ([]Change, error) {
	var answer struct {
		Data []Change `json:"data"`
	}
	_, err := c.do(ctx, http.MethodGet, "/v1/customers/"+url.PathEscape(id)+"/changes", nil, &answer)
	return answer.Data, err
}
