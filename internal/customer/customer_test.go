package customer_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/step"
)

func TestValidateNamesTheWrongField(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		damage func(*customer.Profile)
		field  string
	}{
		"no id":                        {func(p *customer.Profile) { p.ID = "" }, "id"},
		"an e-mail address as the id":  {func(p *customer.Profile) { p.ID = "ada@example.com" }, "id"},
		"a path as the id":             {func(p *customer.Profile) { p.ID = "../x" }, "id"},
		"an id that is too long":       {func(p *customer.Profile) { p.ID = strings.Repeat("a", 129) }, "id"},
		"no e-mail":                    {func(p *customer.Profile) { p.Email = "" }, "email"},
		"not an e-mail":                {func(p *customer.Profile) { p.Email = "ada" }, "email"},
		"an e-mail with a name":        {func(p *customer.Profile) { p.Email = "Ada <ada@example.com>" }, "email"},
		"two e-mails":                  {func(p *customer.Profile) { p.Email = "a@example.com, b@example.com" }, "email"},
		"an e-mail that is too long":   {func(p *customer.Profile) { p.Email = strings.Repeat("a", 250) + "@example.com" }, "email"},
		"a name with a line break":     {func(p *customer.Profile) { p.Name = "A\nB" }, "name"},
		"a name that is too long":      {func(p *customer.Profile) { p.Name = strings.Repeat("a", 257) }, "name"},
		"a country in small letters":   {func(p *customer.Profile) { p.Country = "us" }, "country"},
		"a country's name":             {func(p *customer.Profile) { p.Country = "France" }, "country"},
		"a promo code with a space":    {func(p *customer.Profile) { p.PromoCode = "A B" }, "promo_code"},
		"another object's Stripe id":   {func(p *customer.Profile) { p.StripeCustomerID = "sub_1" }, "stripe_customer_id"},
		"reserved metadata":            {func(p *customer.Profile) { p.Metadata = map[string]string{"holdfast_customer_id": "u_2"} }, "metadata"},
		"a metadata key with brackets": {func(p *customer.Profile) { p.Metadata = map[string]string{"a[b]": "c"} }, "metadata"},
		"metadata that is too long":    {func(p *customer.Profile) { p.Metadata = map[string]string{"a": strings.Repeat("x", 501)} }, "metadata"},
		"metadata with NUL":            {func(p *customer.Profile) { p.Metadata = map[string]string{"a": "\x00"} }, "metadata"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := ada()
			c.damage(&p)
			requireField(t, p.Validate(), c.field)
		})
	}
	require.NoError(t, ada().Validate())
}

func TestValidateOfAChange(t *testing.T) {
	t.Parallel()
	requireField(t, customer.Change{}.Validate(), "email")
	requireField(t, customer.Change{Email: new("x")}.Validate(), "email")
	requireField(t, customer.Change{Name: new("a\x00")}.Validate(), "name")
	require.NoError(t, customer.Change{Name: new("")}.Validate(), "a name may be taken away")
}

func TestStatusAndBillingReady(t *testing.T) {
	t.Parallel()
	at := func(name string, status step.Status, waitsFor step.WaitsFor) step.Step {
		return step.Step{Name: name, Status: status, WaitsFor: waitsFor, UpdatedAt: time.Now()}
	}
	bound := at(customer.StepStripeCustomer, step.Done, "")
	cases := map[string]struct {
		steps     []step.Step
		confirmed bool
		status    customer.Status
		ready     bool
	}{
		"new":                         {[]step.Step{at(customer.StepStripeCustomer, step.Pending, "")}, false, customer.Onboarding, false},
		"waits for the provider":      {[]step.Step{at(customer.StepStripeCustomer, step.Blocked, step.ForProvider)}, false, customer.Onboarding, false},
		"waits for a person":          {[]step.Step{at(customer.StepStripeCustomer, step.Blocked, step.ForPerson)}, false, customer.Attention, false},
		"bound":                       {[]step.Step{bound}, true, customer.Ready, true},
		"skipped":                     {[]step.Step{at(customer.StepStripeCustomer, step.Skipped, "")}, false, customer.Ready, false},
		"promo code on its way":       {[]step.Step{bound, at(customer.StepPromoCode, step.Retrying, "")}, true, customer.Onboarding, false},
		"promo code refused":          {[]step.Step{bound, at(customer.StepPromoCode, step.Blocked, step.ForPerson)}, true, customer.Attention, true},
		"promo code applied":          {[]step.Step{bound, at(customer.StepPromoCode, step.Done, "")}, true, customer.Ready, true},
		"a change on its way":         {[]step.Step{bound, at(customer.StepStripeProfile, step.Pending, "")}, true, customer.Onboarding, true},
		"steps lost, yet to be found": {nil, false, customer.Onboarding, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := customer.Customer{Steps: c.steps, StripeConfirmed: c.confirmed}
			require.Equal(t, c.status, got.Status())
			require.Equal(t, c.ready, got.BillingReady())
		})
	}
}
