package paypal

import (
	"context"
	"net/http"
)

// Names gives the names that the table knows.
func Names() []string {
	var names []string
	for _, r := range rules {
		if r.name != "" {
			names = append(names, r.name)
		}
	}
	return names
}

// Write sends a write as later adapters of this package will: under a request id.
func (c *Client) Write(ctx context.Context, requestID string, body any) error {
	const path = "/v1/billing/subscriptions"
	return c.run(ctx, request{route: path, write: true, id: requestID}, func(ctx context.Context) error {
		r, err := c.api.NewRequest(ctx, http.MethodPost, c.base+path, body)
		if err != nil {
			return err
		}
		var created struct {
			ID string `json:"id"`
		}
		if err := c.api.SendWithAuth(r, &created); err != nil {
			return err
		}
		if created.ID == "" {
			return errNotPayPal
		}
		return nil
	})
}
