package paypal

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
)

// Names gives the names that the table knows on every route.
func Names() []string { return namesOn(func(route string) bool { return route == "" }) }

// RouteNames gives the names and issues that the table knows on one route alone.
func RouteNames() []string { return namesOn(func(route string) bool { return route != "" }) }

func namesOn(applies func(route string) bool) []string {
	var names []string
	for _, r := range rules {
		if name := cmp.Or(r.name, r.says); name != "" && applies(r.route) {
			names = append(names, name)
		}
	}
	return names
}

// ItemCodes gives the item error codes that the table knows.
func ItemCodes() []string { return slices.Sorted(maps.Keys(itemMatters)) }

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
