package stripe

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

// Pages lets further pages be read at once.
func (c *Client) Pages() { c.pages.SetLimit(1e6) }
