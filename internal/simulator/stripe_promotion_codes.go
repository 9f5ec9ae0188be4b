package simulator

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

const defaultPercentOff = 10

// PromotionCode is a code that customers enter, as it is seeded. Codes are not told apart by case.
type PromotionCode struct {
	Code       string  `json:"code"`
	ID         string  `json:"id,omitempty"`          // empty: one is made
	CouponID   string  `json:"coupon,omitempty"`      // empty: the code
	PercentOff float64 `json:"percent_off,omitempty"` // zero: 10
	Inactive   bool    `json:"inactive,omitempty"`
}

type stripePromotionCode struct {
	ID             string            `json:"id"`
	Object         string            `json:"object"`
	Active         bool              `json:"active"`
	Code           string            `json:"code"`
	Coupon         stripeCoupon      `json:"coupon"`
	Created        int64             `json:"created"`
	Customer       nullable          `json:"customer"`
	ExpiresAt      *int64            `json:"expires_at"`
	Livemode       bool              `json:"livemode"`
	MaxRedemptions *int64            `json:"max_redemptions"`
	Metadata       map[string]string `json:"metadata"`
	Restrictions   struct {
		FirstTimeTransaction  bool     `json:"first_time_transaction"`
		MinimumAmount         *int64   `json:"minimum_amount"`
		MinimumAmountCurrency nullable `json:"minimum_amount_currency"`
	} `json:"restrictions"`
	TimesRedeemed int `json:"times_redeemed"`
}

type stripeCoupon struct {
	ID               string            `json:"id"`
	Object           string            `json:"object"`
	AmountOff        *int64            `json:"amount_off"`
	Created          int64             `json:"created"`
	Currency         nullable          `json:"currency"`
	Duration         string            `json:"duration"`
	DurationInMonths *int64            `json:"duration_in_months"`
	Livemode         bool              `json:"livemode"`
	MaxRedemptions   *int64            `json:"max_redemptions"`
	Metadata         map[string]string `json:"metadata"`
	Name             nullable          `json:"name"`
	PercentOff       float64           `json:"percent_off"`
	RedeemBy         *int64            `json:"redeem_by"`
	TimesRedeemed    int               `json:"times_redeemed"`
	Valid            bool              `json:"valid"`
}

type stripeDiscount struct {
	ID               string       `json:"id"`
	Object           string       `json:"object"`
	CheckoutSession  nullable     `json:"checkout_session"`
	Coupon           stripeCoupon `json:"coupon"`
	Customer         string       `json:"customer"`
	End              *int64       `json:"end"`
	Invoice          nullable     `json:"invoice"`
	InvoiceItem      nullable     `json:"invoice_item"`
	PromotionCode    nullable     `json:"promotion_code"`
	Start            int64        `json:"start"`
	Subscription     nullable     `json:"subscription"`
	SubscriptionItem nullable     `json:"subscription_item"`
}

func (p *stripePromotionCode) objectID() string { return p.ID }
func (p *stripePromotionCode) createdAt() int64 { return p.Created }

// SetPromotionCodes replaces the promotion codes. Discounts that customers have stay with them.
// It fails, changing nothing, on an empty code or when two active ones are the same.
func (s *Stripe) SetPromotionCodes(codes ...PromotionCode) error {
	var replaced collection[*stripePromotionCode]
	active := map[string]bool{}
	for i, code := range codes {
		if code.Code == "" {
			return fmt.Errorf("simulator: promotion code %d: %w", i, errors.New("code is empty"))
		}
		folded := strings.ToLower(code.Code)
		if !code.Inactive && active[folded] {
			return fmt.Errorf("simulator: promotion code %q is active twice", code.Code)
		}
		active[folded] = active[folded] || !code.Inactive
		replaced.add(code.object())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.promotionCodes = replaced
	return nil
}

func (c PromotionCode) object() *stripePromotionCode {
	now := unixNow()
	return &stripePromotionCode{
		ID: cmp.Or(c.ID, newID("promo_")), Object: "promotion_code", Active: !c.Inactive, Code: c.Code, Created: now,
		Coupon: stripeCoupon{
			ID: cmp.Or(c.CouponID, c.Code), Object: "coupon", Created: now, Duration: "forever",
			Metadata: map[string]string{}, PercentOff: cmp.Or(c.PercentOff, defaultPercentOff), Valid: true,
		},
		Metadata: map[string]string{},
	}
}

func (s *Stripe) servePromotionCodes() {
	s.handle("GET /v1/promotion_codes", s.listPromotionCodes)
	s.handle("GET /v1/promotion_codes/{id}", s.retrievePromotionCode)
}

func (s *Stripe) listPromotionCodes(r stripeRequest) (stripeWork, *stripeError) {
	allowed := withListParams(map[string]paramKind{"code": aText, "active": aText, "coupon": aText})
	if problem := r.params.only(allowed); problem != nil {
		return nil, problem
	}
	active := r.params.text("active")
	if r.params.has("active") && active != "true" && active != "false" {
		return nil, invalidRequest("", "active", "Invalid boolean: "+active)
	}
	query, problem := readListQuery(r.params)
	if problem != nil {
		return nil, problem
	}
	return func() (any, *stripeError) {
		return s.promotionCodes.page(query, "/v1/promotion_codes", "promotion code", func(p *stripePromotionCode) bool {
			return p.matches(r.params.text("code"), r.params.text("coupon"), active)
		})
	}, nil
}

// matches compares with the filters of a list call; an empty one filters nothing.
func (p *stripePromotionCode) matches(code, coupon, active string) bool {
	return (code == "" || strings.EqualFold(p.Code, code)) &&
		(coupon == "" || p.Coupon.ID == coupon) &&
		(active == "" || p.Active == (active == "true"))
}

func (s *Stripe) retrievePromotionCode(r stripeRequest) (stripeWork, *stripeError) {
	if problem := r.params.only(nil); problem != nil {
		return nil, problem
	}
	return func() (any, *stripeError) {
		p, ok := s.promotionCodes.get(r.id)
		if !ok {
			return nil, missing("promotion code", r.id)
		}
		return p, nil
	}, nil
}

// findDiscount is the discount that the parameters ask for on a customer, or nil if they ask for
// none. Nothing is redeemed yet: the request may still fail.
func (s *Stripe) findDiscount(p params, customerID string) (*stripeDiscount, *stripePromotionCode, *stripeError) {
	promotionCode, coupon := p.text("promotion_code"), p.text("coupon")
	switch {
	case promotionCode != "":
		found, ok := s.promotionCodes.get(promotionCode)
		if !ok || !found.Active {
			return nil, nil, missingParam("promotion_code", "promotion code", promotionCode)
		}
		discount := newDiscount(found.Coupon, customerID)
		discount.PromotionCode = nullable(found.ID)
		return discount, found, nil
	case coupon != "":
		for _, found := range s.promotionCodes.oldestFirst {
			if found.Coupon.ID == coupon {
				return newDiscount(found.Coupon, customerID), nil, nil
			}
		}
		return nil, nil, missingParam("coupon", "coupon", coupon)
	}
	return nil, nil, nil
}

func newDiscount(coupon stripeCoupon, customerID string) *stripeDiscount {
	return &stripeDiscount{
		ID: newID("di_"), Object: "discount", Coupon: coupon, Customer: customerID, Start: unixNow(),
	}
}
