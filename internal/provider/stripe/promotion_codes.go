package stripe

import (
	"context"

	stripego "github.com/stripe/stripe-go/v76"
)

// FindPromotionCode gives the id ("promo_…") of the active promotion code that customers know
// under this name, whatever its case. None is Rejected, code CodePromotionCodeNotFound. Codes that
// are reserved for one Stripe customer are not considered: nobody here has earned them.
func (c *Client) FindPromotionCode(ctx context.Context, code string) (id string, err error) {
	if code == "" { // would list every code
		return "", rejected(CodePromotionCodeNotFound, "code")
	}
	params := &stripego.PromotionCodeListParams{Code: new(code), Active: new(true)}
	params.Limit, params.Single = new(int64(pageSize)), true
	err = c.run(ctx, request{route: "/v1/promotion_codes"}, func(ctx context.Context) error {
		params.Context = ctx
		list := c.promotionCodes.List(params)
		if err := list.Err(); err != nil {
			return err
		}
		page := list.PromotionCodeList()
		for _, found := range page.Data {
			if found.Customer == nil {
				id = found.ID
				return nil
			}
		}
		return checkPage(page.ListMeta, len(page.Data))
	})
	if err == nil && id == "" {
		return "", rejected(CodePromotionCodeNotFound, "code")
	}
	return id, err
}
