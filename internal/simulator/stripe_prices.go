package simulator

import (
	"strconv"
	"strings"
)

// DefaultStripePrice is the price of a subscription that names none.
const DefaultStripePrice = "price_simulator"

const (
	stripeUnitAmount = 1000 // minor units a month, whatever the price
	stripeCurrency   = "usd"
)

type stripePrice struct {
	ID                string            `json:"id"`
	Object            string            `json:"object"`
	Active            bool              `json:"active"`
	BillingScheme     string            `json:"billing_scheme"`
	Created           int64             `json:"created"`
	Currency          string            `json:"currency"`
	CustomUnitAmount  any               `json:"custom_unit_amount"`
	Livemode          bool              `json:"livemode"`
	LookupKey         nullable          `json:"lookup_key"`
	Metadata          map[string]string `json:"metadata"`
	Nickname          nullable          `json:"nickname"`
	Product           string            `json:"product"`
	Recurring         stripeRecurring   `json:"recurring"`
	TaxBehavior       string            `json:"tax_behavior"`
	TiersMode         nullable          `json:"tiers_mode"`
	TransformQuantity any               `json:"transform_quantity"`
	Type              string            `json:"type"`
	UnitAmount        int64             `json:"unit_amount"`
	UnitAmountDecimal string            `json:"unit_amount_decimal"`
}

type stripeRecurring struct {
	AggregateUsage nullable `json:"aggregate_usage"`
	Interval       string   `json:"interval"`
	IntervalCount  int      `json:"interval_count"`
	UsageType      string   `json:"usage_type"`
}

func (p *stripePrice) objectID() string { return p.ID }
func (p *stripePrice) createdAt() int64 { return p.Created }

func (s *Stripe) servePrices() {
	s.handle("GET /v1/prices", s.listPrices)
	s.handle("GET /v1/prices/{id}", retrieve("price", &s.prices))
}

func (s *Stripe) listPrices(r stripeRequest) (stripeWork, *stripeError) {
	if problem := r.params.only(withListParams(map[string]paramKind{"product": aText})); problem != nil {
		return nil, problem
	}
	query, problem := readListQuery(r.params)
	if problem != nil {
		return nil, problem
	}
	product := r.params.text("product")
	return func() (any, *stripeError) {
		return s.prices.page(query, "/v1/prices", "price", func(p *stripePrice) bool {
			return product == "" || p.Product == product
		})
	}, nil
}

// price is the price with that id. It is made when it is named for the first time.
func (s *Stripe) price(id string) *stripePrice {
	if known, ok := s.prices.get(id); ok {
		return known
	}
	made := &stripePrice{
		ID: id, Object: "price", Active: true, BillingScheme: "per_unit", Created: unixNow(), Currency: stripeCurrency,
		Metadata: map[string]string{}, Product: "prod_" + strings.TrimPrefix(id, "price_"),
		Recurring:   stripeRecurring{Interval: "month", IntervalCount: 1, UsageType: "licensed"},
		TaxBehavior: "unspecified", Type: "recurring",
		UnitAmount: stripeUnitAmount, UnitAmountDecimal: strconv.Itoa(stripeUnitAmount),
	}
	s.prices.add(made)
	return made
}
