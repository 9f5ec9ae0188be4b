package simulator_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"

	"github.com/holdfast/holdfast/internal/simulator"
)

func keyed(key string) stripe.Params { return stripe.Params{IdempotencyKey: &key} }

func TestCustomers_CreateAndRetrieve(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	created, err := b.stripe().Customers.New(&stripe.CustomerParams{
		Params:      keyed("k_1"),
		Email:       stripe.String("ada+1@example.com"),
		Name:        stripe.String("Ada & Söhne"),
		Description: stripe.String("first"),
		Phone:       stripe.String("+15550100"),
		Address:     &stripe.AddressParams{Country: stripe.String("GB"), City: stripe.String("London")},
		Metadata:    map[string]string{"holdfast_customer_id": "u_1", "plan": "a=b&c"},
	})
	require.NoError(t, err)

	got, err := b.stripe().Customers.Get(created.ID, nil)
	require.NoError(t, err)
	require.Regexp(t, `^cus_\w{14,}$`, got.ID)
	require.Equal(t, "customer", got.Object)
	require.Equal(t, "ada+1@example.com", got.Email)
	require.Equal(t, "Ada & Söhne", got.Name)
	require.Equal(t, "first", got.Description)
	require.Equal(t, "+15550100", got.Phone)
	require.Equal(t, "GB", got.Address.Country)
	require.Equal(t, "London", got.Address.City)
	require.Equal(t, map[string]string{"holdfast_customer_id": "u_1", "plan": "a=b&c"}, got.Metadata)
	require.WithinDuration(t, time.Now(), time.Unix(got.Created, 0), time.Hour)
	require.Nil(t, got.Discount)
	require.False(t, got.Livemode)
	require.Equal(t, []simulator.Customer{{
		ID: got.ID, Email: "ada+1@example.com", Name: "Ada & Söhne", Country: "GB",
		Metadata: map[string]string{"holdfast_customer_id": "u_1", "plan": "a=b&c"}, Created: time.Unix(got.Created, 0).UTC(),
	}}, b.Stripe().Customers())
}

func TestCustomers_HaveStripesShape(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	c, err := b.create(t.Context(), "u_1", "k_1")
	require.NoError(t, err)

	var fields []string
	for name := range decodeJSON[map[string]any](t, string(c.LastResponse.RawJSON)) {
		fields = append(fields, name)
	}
	require.ElementsMatch(t, []string{
		"id", "object", "address", "balance", "created", "currency", "default_source", "delinquent", "description",
		"discount", "email", "invoice_prefix", "invoice_settings", "livemode", "metadata", "name", "next_invoice_sequence",
		"phone", "preferred_locales", "shipping", "tax_exempt", "test_clock",
	}, fields)
	require.Contains(t, string(c.LastResponse.RawJSON), `"name":null`)
}

func TestCustomers_Update(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	c, err := b.stripe().Customers.New(&stripe.CustomerParams{
		Params: keyed("k_1"), Email: stripe.String("ada@example.com"), Name: stripe.String("Ada"),
		Metadata: map[string]string{"keep": "1", "change": "1", "drop": "1"},
	})
	require.NoError(t, err)

	c, err = b.stripe().Customers.Update(c.ID, &stripe.CustomerParams{
		Params: keyed("k_2"), Email: stripe.String("ada@example.org"),
		Metadata: map[string]string{"change": "2", "drop": "", "add": "1"},
	})
	require.NoError(t, err)
	require.Equal(t, "ada@example.org", c.Email)
	require.Equal(t, "Ada", c.Name, "what is not given stays")
	require.Equal(t, map[string]string{"keep": "1", "change": "2", "add": "1"}, c.Metadata)

	c, err = b.stripe().Customers.Update(c.ID, &stripe.CustomerParams{
		Params: keyed("k_3"), Name: stripe.String(""),
	})
	require.NoError(t, err)
	require.Empty(t, c.Name, "empty unsets")

	cleared := b.send(t, "POST", "/v1/customers/"+c.ID, map[string][]string{"metadata": {""}}, nil)
	require.Equal(t, http.StatusOK, cleared.status)
	require.Empty(t, b.Stripe().Customers()[0].Metadata)

	_, err = b.stripe().Customers.Update("cus_none", &stripe.CustomerParams{Params: keyed("k_4")})
	require.Equal(t, stripe.ErrorCodeResourceMissing, stripeErr(t, err).Code)
	require.Equal(t, http.StatusNotFound, stripeErr(t, err).HTTPStatusCode)
}

func TestCustomers_Deleted(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	c, err := b.create(t.Context(), "u_1", "k_1")
	require.NoError(t, err)

	_, err = b.stripe().Customers.Del(c.ID, nil)
	require.NoError(t, err)

	got := b.send(t, "GET", "/v1/customers/"+c.ID, nil, nil)
	require.Equal(t, http.StatusOK, got.status)
	require.JSONEq(t, `{"id":"`+c.ID+`","object":"customer","deleted":true}`, got.body)
	_, err = b.stripe().Customers.Update(c.ID, &stripe.CustomerParams{Params: keyed("k_2")})
	require.Equal(t, stripe.ErrorCodeResourceMissing, stripeErr(t, err).Code)
	require.Empty(t, listed(t, b, &stripe.CustomerListParams{}))
	require.True(t, b.Stripe().Customers()[0].Deleted)
	require.Equal(t, simulator.Audit{Duplicates: map[string][]string{}}, b.Stripe().Audit())

	_, err = b.stripe().Customers.Get("cus_none", nil)
	require.Equal(t, stripe.ErrorCodeResourceMissing, stripeErr(t, err).Code)
	require.Equal(t, http.StatusNotFound, stripeErr(t, err).HTTPStatusCode)
}

func listed(t *testing.T, b bundle, params *stripe.CustomerListParams) []string {
	t.Helper()
	var ids []string
	it := b.stripe().Customers.List(params)
	for it.Next() {
		ids = append(ids, it.Customer().ID)
	}
	require.NoError(t, it.Err())
	return ids
}

func TestCustomers_List(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	const day = 86400
	for i, email := range []string{"a@x.com", "A@x.com", "b@x.com", "a@x.com"} {
		_, err := b.Stripe().PutCustomer(simulator.Customer{
			// The third is put in last, and still has its place by time.
			ID: fmt.Sprintf("cus_seed%d", i), Email: email, Created: time.Unix(int64([]int{1, 2, 4, 3}[i])*day, 0),
		})
		require.NoError(t, err)
	}
	between := func(r stripe.RangeQueryParams) *stripe.CustomerListParams {
		return &stripe.CustomerListParams{CreatedRange: &r}
	}

	require.Equal(t, []string{"cus_seed2", "cus_seed3", "cus_seed1", "cus_seed0"},
		listed(t, b, &stripe.CustomerListParams{}), "newest first")
	require.Equal(t, []string{"cus_seed3", "cus_seed0"},
		listed(t, b, &stripe.CustomerListParams{Email: stripe.String("a@x.com")}), "the case counts")
	require.Equal(t, []string{"cus_seed2", "cus_seed3", "cus_seed1"}, listed(t, b, between(stripe.RangeQueryParams{GreaterThanOrEqual: 2 * day})))
	require.Equal(t, []string{"cus_seed2", "cus_seed3"}, listed(t, b, between(stripe.RangeQueryParams{GreaterThan: 2 * day})))
	require.Equal(t, []string{"cus_seed1", "cus_seed0"}, listed(t, b, between(stripe.RangeQueryParams{LesserThanOrEqual: 2 * day})))
	require.Equal(t, []string{"cus_seed0"}, listed(t, b, between(stripe.RangeQueryParams{LesserThan: 2 * day})))
	require.Equal(t, []string{"cus_seed1"}, listed(t, b, between(stripe.RangeQueryParams{GreaterThan: day, LesserThan: 3 * day})))
	require.Empty(t, listed(t, b, &stripe.CustomerListParams{Email: stripe.String("c@x.com")}))

	for query, param := range map[string]string{
		"limit=0": "limit", "limit=101": "limit", "limit=x": "limit", "created[gte]=x": "created[gte]",
		"created[eq]=1": "eq", "starting_after=cus_none": "starting_after", "colour=red": "colour",
	} {
		got := b.send(t, "GET", "/v1/customers?"+query, nil, nil)
		require.Equal(t, http.StatusBadRequest, got.status, query)
		require.Equal(t, param, errorOf(t, got).Param, query)
	}
}

func TestCustomers_ListInPages(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	const customers = 25
	for i := range customers {
		_, err := b.create(t.Context(), fmt.Sprintf("u_%d", i), fmt.Sprintf("k_%d", i))
		require.NoError(t, err)
	}

	page := &stripe.CustomerListParams{ListParams: stripe.ListParams{Limit: stripe.Int64(10)}}
	ids := listed(t, b, page)
	require.Len(t, ids, customers)
	require.Len(t, b.Calls().To("GET", "/v1/customers"), 3, "one call a page")
	for i, c := range b.Stripe().Customers() {
		require.Equal(t, c.ID, ids[customers-1-i], "same-second customers keep their order")
	}

	type list struct {
		Object, URL string
		HasMore     bool `json:"has_more"`
		Data        []struct{ ID string }
	}
	last := decodeJSON[list](t, b.send(t, "GET", "/v1/customers?limit=5&starting_after="+ids[19], nil, nil).body)
	require.Equal(t, "list", last.Object)
	require.Equal(t, "/v1/customers", last.URL)
	require.False(t, last.HasMore)
	require.Len(t, last.Data, 5)
	require.True(t, decodeJSON[list](t, b.send(t, "GET", "/v1/customers?limit=5", nil, nil).body).HasMore)
}

func TestCustomers_RejectedEmail(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	b.Stripe().RejectEmail("u_1@example.com", "email_invalid")

	_, err := b.create(t.Context(), "u_1", "k_1")
	problem := stripeErr(t, err)
	require.Equal(t, http.StatusBadRequest, problem.HTTPStatusCode)
	require.Equal(t, stripe.ErrorCodeEmailInvalid, problem.Code)
	require.Equal(t, "email", problem.Param)
	_, err = b.create(t.Context(), "u_2", "k_2")
	require.NoError(t, err, "others are not concerned")

	b.Stripe().AllowEmail("u_1@example.com")
	_, err = b.create(t.Context(), "u_1", "k_1")
	require.Equal(t, stripe.ErrorCodeEmailInvalid, stripeErr(t, err).Code, "the refusal is stored for the key")
	_, err = b.create(t.Context(), "u_1", "k_1b")
	require.NoError(t, err)
}

func TestPromotionCodes(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	require.NoError(t, b.Stripe().SetPromotionCodes(
		simulator.PromotionCode{Code: "SPRING", ID: "promo_spring", CouponID: "quarter", PercentOff: 25},
		simulator.PromotionCode{Code: "winter", ID: "promo_winter", Inactive: true},
	))
	find := func(params *stripe.PromotionCodeListParams) []string {
		var ids []string
		it := b.stripe().PromotionCodes.List(params)
		for it.Next() {
			ids = append(ids, it.PromotionCode().ID)
		}
		require.NoError(t, it.Err())
		return ids
	}
	require.Equal(t, []string{"promo_spring"}, find(&stripe.PromotionCodeListParams{Code: stripe.String("Spring")}))
	require.Equal(t, []string{"promo_winter"}, find(&stripe.PromotionCodeListParams{Active: stripe.Bool(false)}))
	require.Empty(t, find(&stripe.PromotionCodeListParams{Code: stripe.String("winter"), Active: stripe.Bool(true)}))
	require.Len(t, find(&stripe.PromotionCodeListParams{}), 2)

	create := func(key, promotionCode string) (*stripe.Customer, error) {
		return b.stripe().Customers.New(&stripe.CustomerParams{
			Params: keyed(key), PromotionCode: stripe.String(promotionCode),
		})
	}
	c, err := create("k_1", "promo_spring")
	require.NoError(t, err)
	require.Equal(t, "promo_spring", c.Discount.PromotionCode.ID)
	require.Equal(t, "quarter", c.Discount.Coupon.ID)
	require.InDelta(t, 25, c.Discount.Coupon.PercentOff, 0)
	require.Equal(t, c.ID, c.Discount.Customer.ID)
	require.Equal(t, "promo_spring", b.Stripe().Customers()[0].PromotionCode)
	redeemed, err := b.stripe().PromotionCodes.Get("promo_spring", nil)
	require.NoError(t, err)
	require.EqualValues(t, 1, redeemed.TimesRedeemed)

	for _, invalid := range []string{"promo_none", "promo_winter"} {
		_, err = create("k_"+invalid, invalid)
		problem := stripeErr(t, err)
		require.Equal(t, http.StatusBadRequest, problem.HTTPStatusCode)
		require.Equal(t, stripe.ErrorCodeResourceMissing, problem.Code)
		require.Equal(t, "promotion_code", problem.Param)
	}
	require.Len(t, b.Stripe().Customers(), 1)
}

func TestPromotionCodes_OnUpdate(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	require.NoError(t, b.Stripe().SetPromotionCodes(simulator.PromotionCode{Code: "SPRING", ID: "promo_spring", CouponID: "quarter"}))
	c, err := b.create(t.Context(), "u_1", "k_1")
	require.NoError(t, err)
	update := func(params *stripe.CustomerParams) *stripe.Discount {
		updated, err := b.stripe().Customers.Update(c.ID, params)
		require.NoError(t, err)
		return updated.Discount
	}

	byCode := update(&stripe.CustomerParams{Params: keyed("k_2"), PromotionCode: stripe.String("promo_spring")})
	require.Equal(t, "promo_spring", byCode.PromotionCode.ID)
	byCoupon := update(&stripe.CustomerParams{Params: keyed("k_3"), Coupon: stripe.String("quarter")})
	require.Equal(t, "quarter", byCoupon.Coupon.ID)
	require.Nil(t, byCoupon.PromotionCode)
	require.Nil(t, update(&stripe.CustomerParams{Params: keyed("k_4"), Coupon: stripe.String("")}))
}

func TestSetPromotionCodes_RefusesNonsenseAndChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	require.NoError(t, b.Stripe().SetPromotionCodes(simulator.PromotionCode{Code: "SPRING", ID: "promo_spring"}))

	require.Error(t, b.Stripe().SetPromotionCodes(simulator.PromotionCode{}))
	require.Error(t, b.Stripe().SetPromotionCodes(simulator.PromotionCode{Code: "a"}, simulator.PromotionCode{Code: "A"}))
	_, err := b.stripe().PromotionCodes.Get("promo_spring", nil)
	require.NoError(t, err)
}

func TestAudit_FindsDuplicates(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	first, err := b.create(t.Context(), "u_1", "k_1")
	require.NoError(t, err)
	second, err := b.create(t.Context(), "u_1", "k_2")
	require.NoError(t, err)
	_, err = b.create(t.Context(), "u_2", "k_3")
	require.NoError(t, err)
	_, err = b.Stripe().PutCustomer(simulator.Customer{ID: "cus_theirs", Email: "theirs@example.com"})
	require.NoError(t, err)
	require.Equal(t, simulator.Audit{
		Customers: 4, Accounts: 2, WithoutAccountID: 1, Duplicates: map[string][]string{"u_1": {first.ID, second.ID}},
	}, b.Stripe().Audit())

	_, err = b.stripe().Customers.Del(second.ID, nil)
	require.NoError(t, err)
	require.Empty(t, b.Stripe().Audit().Duplicates)
}

func TestPutCustomer(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	require.NoError(t, b.Stripe().SetPromotionCodes(simulator.PromotionCode{Code: "SPRING", ID: "promo_spring"}))
	seed := simulator.Customer{
		ID: "cus_theirs", Email: "theirs@example.com", Name: "Theirs", Country: "DE", PromotionCode: "promo_spring",
		Metadata: map[string]string{"crm": "7"}, Created: time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	put, err := b.Stripe().PutCustomer(seed)
	require.NoError(t, err)
	require.Equal(t, seed, put)

	seed.Name, seed.Deleted = "Gone", true
	_, err = b.Stripe().PutCustomer(seed)
	require.NoError(t, err)
	require.Equal(t, []simulator.Customer{seed}, b.Stripe().Customers(), "the same id is replaced")

	for _, bad := range []simulator.Customer{{ID: "acct_1234"}, {ID: "cus_"}, {Email: "no"}, {PromotionCode: "promo_none"}} {
		_, err := b.Stripe().PutCustomer(bad)
		require.Error(t, err, "%+v", bad)
	}
	require.Len(t, b.Stripe().Customers(), 1)
}
