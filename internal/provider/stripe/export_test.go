package stripe

import "context"

// Codes gives the codes that the table names.
func Codes() []string {
	var codes []string
	for _, r := range rules {
		if r.code != "" {
			codes = append(codes, string(r.code))
		}
	}
	return codes
}

// ListExternalAccounts is what GetAccount does for an account with many of them.
func (c *Client) ListExternalAccounts(ctx context.Context, id string) ([]ExternalAccount, error) {
	return c.allExternalAccounts(ctx, id)
}

// ReadPagesAtOnce lifts the rate at which further pages are read.
func (c *Client) ReadPagesAtOnce() { c.pages.SetLimit(1e6) }
