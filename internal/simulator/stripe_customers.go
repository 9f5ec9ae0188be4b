package simulator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"
)

// accountIDKey is the metadata that names the app's account on a Stripe customer.
const accountIDKey = "holdfast_customer_id"

// Customer is a Stripe customer as tests and the control endpoint see it.
type Customer struct {
	ID            string            `json:"id,omitempty"` // "cus_…"; one is made if it is empty
	Email         string            `json:"email,omitempty"`
	Name          string            `json:"name,omitempty"`
	Country       string            `json:"country,omitempty"`
	Metadata      map[string]string `json:"metadata,omitempty"`
	PromotionCode string            `json:"promotion_code,omitempty"` // id of the promotion code of its discount
	Created       time.Time         `json:"created,omitzero"`         // whole seconds; zero means now
	Deleted       bool              `json:"deleted,omitempty"`
}

type stripeCustomer struct {
	ID              string          `json:"id"`
	Object          string          `json:"object"`
	Address         *stripeAddress  `json:"address"`
	Balance         int64           `json:"balance"`
	Created         int64           `json:"created"`
	Currency        nullable        `json:"currency"`
	DefaultSource   nullable        `json:"default_source"`
	Delinquent      bool            `json:"delinquent"`
	Description     nullable        `json:"description"`
	Discount        *stripeDiscount `json:"discount"`
	Email           nullable        `json:"email"`
	InvoicePrefix   string          `json:"invoice_prefix"`
	InvoiceSettings struct {
		CustomFields         []string   `json:"custom_fields"`
		DefaultPaymentMethod expandable `json:"default_payment_method"`
		Footer               nullable   `json:"footer"`
		RenderingOptions     nullable   `json:"rendering_options"`
	} `json:"invoice_settings"`
	Livemode            bool              `json:"livemode"`
	Metadata            map[string]string `json:"metadata"`
	Name                nullable          `json:"name"`
	NextInvoiceSequence int64             `json:"next_invoice_sequence"`
	Phone               nullable          `json:"phone"`
	PreferredLocales    []string          `json:"preferred_locales"`
	Shipping            nullable          `json:"shipping"`
	TaxExempt           string            `json:"tax_exempt"`
	TestClock           nullable          `json:"test_clock"`

	deleted bool
}

type stripeDeleted struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Deleted bool   `json:"deleted"`
}

type stripeAddress struct {
	City       nullable `json:"city"`
	Country    nullable `json:"country"`
	Line1      nullable `json:"line1"`
	Line2      nullable `json:"line2"`
	PostalCode nullable `json:"postal_code"`
	State      nullable `json:"state"`
}

// nullable is a text that is null in JSON when it is empty.
type nullable string

// MarshalJSON writes null for the empty text.
func (n nullable) MarshalJSON() ([]byte, error) {
	if n == "" {
		return []byte("null"), nil
	}
	return json.Marshal(string(n))
}

func (c *stripeCustomer) objectID() string  { return c.ID }
func (c *stripeCustomer) createdAt() int64  { return c.Created }
func (c *stripeCustomer) accountID() string { return c.Metadata[accountIDKey] }

func (s *Stripe) serveCustomers() {
	s.handle("POST /v1/customers", s.createCustomer)
	s.handle("GET /v1/customers", s.listCustomers)
	s.handle("GET /v1/customers/{id}", s.retrieveCustomer)
	s.handle("POST /v1/customers/{id}", s.updateCustomer)
	s.handle("DELETE /v1/customers/{id}", s.deleteCustomer)
}

func (s *Stripe) createCustomer(r stripeRequest) (stripeWork, *stripeError) {
	if problem := checkCustomerParams(r.params); problem != nil {
		return nil, problem
	}
	return func() (any, *stripeError) {
		c := newCustomer(newID("cus_"), unixNow())
		if problem := s.applyCustomerParams(c, r.params); problem != nil {
			return nil, problem
		}
		s.customers.add(c)
		return c, nil
	}, nil
}

func (s *Stripe) updateCustomer(r stripeRequest) (stripeWork, *stripeError) {
	if problem := checkCustomerParams(r.params); problem != nil {
		return nil, problem
	}
	return func() (any, *stripeError) {
		c, problem := s.liveCustomer(r.id)
		if problem != nil {
			return nil, problem
		}
		if problem := s.applyCustomerParams(c, r.params); problem != nil {
			return nil, problem
		}
		return c, nil
	}, nil
}

func (s *Stripe) retrieveCustomer(r stripeRequest) (stripeWork, *stripeError) {
	if problem := r.params.only(nil); problem != nil {
		return nil, problem
	}
	return func() (any, *stripeError) {
		c, ok := s.customers.get(r.id)
		switch {
		case !ok:
			return nil, missing("customer", r.id)
		case c.deleted:
			return deletedCustomer(c.ID), nil
		}
		return c, nil
	}, nil
}

func (s *Stripe) deleteCustomer(r stripeRequest) (stripeWork, *stripeError) {
	if problem := r.params.only(nil); problem != nil {
		return nil, problem
	}
	return func() (any, *stripeError) {
		c, problem := s.liveCustomer(r.id)
		if problem != nil {
			return nil, problem
		}
		c.deleted = true
		s.cancelAll(c.ID, happening{at: unixNow(), cause: r.cause})
		return deletedCustomer(c.ID), nil
	}, nil
}

func (s *Stripe) listCustomers(r stripeRequest) (stripeWork, *stripeError) {
	if problem := r.params.only(withListParams(map[string]paramKind{"email": aText})); problem != nil {
		return nil, problem
	}
	query, problem := readListQuery(r.params)
	if problem != nil {
		return nil, problem
	}
	return func() (any, *stripeError) {
		return s.customers.page(query, "/v1/customers", "customer", func(c *stripeCustomer) bool {
			// The filter tells upper from lower case.
			return !c.deleted && (!r.params.has("email") || string(c.Email) == r.params.text("email"))
		})
	}, nil
}

func checkCustomerParams(p params) *stripeError {
	problem := p.only(map[string]paramKind{
		"email": aText, "name": aText, "phone": aText, "description": aText,
		"promotion_code": aText, "coupon": aText, "address": aHash, "metadata": aHash,
	})
	if problem != nil {
		return problem
	}
	problem = p.hash("address").only(map[string]paramKind{
		"city": aText, "country": aText, "line1": aText, "line2": aText, "postal_code": aText, "state": aText,
	})
	if problem != nil {
		problem.Param = "address[" + problem.Param + "]"
		return problem
	}
	if p.text("promotion_code") != "" && p.text("coupon") != "" {
		return invalidRequest("parameters_exclusive", "promotion_code",
			"You may only specify one of these parameters: coupon, promotion_code.")
	}
	if email := p.text("email"); email != "" && !strings.Contains(email, "@") {
		return invalidRequest("email_invalid", "email", "Invalid email address: "+email)
	}
	return p.checkMetadata()
}

// applyCustomerParams changes the customer as the parameters say, or not at all.
func (s *Stripe) applyCustomerParams(c *stripeCustomer, p params) *stripeError {
	if code, rejected := s.rejectedEmails[p.text("email")]; rejected {
		return invalidRequest(code, "email", "This email address was rejected.")
	}
	discount, promotionCode, problem := s.findDiscount(p, c.ID)
	if problem != nil {
		return problem
	}
	if discount != nil {
		c.Discount = discount
	} else if p.has("coupon") || p.has("promotion_code") {
		c.Discount = nil // given, and empty
	}
	if promotionCode != nil {
		promotionCode.TimesRedeemed++
	}
	for name, field := range map[string]*nullable{
		"email": &c.Email, "name": &c.Name, "phone": &c.Phone, "description": &c.Description,
	} {
		if p.has(name) {
			*field = nullable(p.text(name))
		}
	}
	if p.has("address") {
		c.Address = addressFrom(p.hash("address"))
	}
	p.mergeMetadata(c.Metadata)
	return nil
}

// addressFrom is the whole new address, or nil to unset it.
func addressFrom(p params) *stripeAddress {
	if p == nil {
		return nil
	}
	return &stripeAddress{
		City: nullable(p.text("city")), Country: nullable(p.text("country")),
		Line1: nullable(p.text("line1")), Line2: nullable(p.text("line2")),
		PostalCode: nullable(p.text("postal_code")), State: nullable(p.text("state")),
	}
}

func newCustomer(id string, created int64) *stripeCustomer {
	return &stripeCustomer{
		ID: id, Object: "customer", Created: created, InvoicePrefix: id[len(id)-8:], Metadata: map[string]string{},
		NextInvoiceSequence: 1, PreferredLocales: []string{}, TaxExempt: "none",
	}
}

func deletedCustomer(id string) stripeDeleted {
	return stripeDeleted{ID: id, Object: "customer", Deleted: true}
}

func (s *Stripe) liveCustomer(id string) (*stripeCustomer, *stripeError) {
	c, ok := s.customers.get(id)
	if !ok || c.deleted {
		return nil, missing("customer", id)
	}
	return c, nil
}

// RejectEmail makes the creation or change of a customer with this address fail with 400 and the
// code, until AllowEmail. The refusal is a result of execution: it is stored for the key.
func (s *Stripe) RejectEmail(address, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejectedEmails[address] = code
}

// AllowEmail takes back RejectEmail. Answers that are stored for a key stay refusals.
func (s *Stripe) AllowEmail(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.rejectedEmails, address)
}

// PutCustomer adds a customer that exists already, without a call, or replaces the one with that
// id, and returns what is there now. It fails on an id, e-mail or promotion code that cannot be.
func (s *Stripe) PutCustomer(seed Customer) (Customer, error) {
	id := cmp.Or(seed.ID, newID("cus_"))
	if bare, ok := strings.CutPrefix(id, "cus_"); !ok || len(bare) < 4 {
		return Customer{}, fmt.Errorf("simulator: customer %q: the id must be cus_ and at least four characters", id)
	}
	created := unixNow()
	if !seed.Created.IsZero() {
		created = seed.Created.Unix()
	}
	p := seed.params()
	if problem := checkCustomerParams(p); problem != nil {
		return Customer{}, fmt.Errorf("simulator: customer %s: %s: %s", id, problem.Param, problem.Message)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := newCustomer(id, created)
	if problem := s.applyCustomerParams(c, p); problem != nil {
		return Customer{}, fmt.Errorf("simulator: customer %s: %s: %s", id, problem.Param, problem.Message)
	}
	c.deleted = seed.Deleted
	s.customers.add(c)
	return c.snapshot(), nil
}

// params are the parameters of a request that would create the customer.
func (c Customer) params() params {
	p := params{"email": c.Email, "name": c.Name, "promotion_code": c.PromotionCode}
	if c.Country != "" {
		p["address"] = params{"country": c.Country}
	}
	metadata := params{}
	for key, value := range c.Metadata {
		metadata[key] = value
	}
	p["metadata"] = metadata
	return p
}

// Customers returns every customer there ever was, deleted ones too, oldest first.
func (s *Stripe) Customers() []Customer {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Customer, 0, len(s.customers.oldestFirst))
	for _, c := range s.customers.oldestFirst {
		out = append(out, c.snapshot())
	}
	return out
}

func (c *stripeCustomer) snapshot() Customer {
	out := Customer{
		ID: c.ID, Email: string(c.Email), Name: string(c.Name), Metadata: maps.Clone(c.Metadata),
		Created: time.Unix(c.Created, 0).UTC(), Deleted: c.deleted,
	}
	if c.Address != nil {
		out.Country = string(c.Address.Country)
	}
	if c.Discount != nil {
		out.PromotionCode = string(c.Discount.PromotionCode)
	}
	return out
}

// Audit is what must hold at the provider whatever went wrong: one customer for each account.
type Audit struct {
	Customers        int                 `json:"customers"` // that are not deleted
	Accounts         int                 `json:"accounts"`  // that have at least one customer
	WithoutAccountID int                 `json:"without_account_id"`
	Duplicates       map[string][]string `json:"duplicates"` // account to customer ids, if there are several
}

// Audit counts the live customers by metadata.holdfast_customer_id.
func (s *Stripe) Audit() Audit {
	s.mu.Lock()
	defer s.mu.Unlock()
	byAccount := map[string][]string{}
	a := Audit{}
	for _, c := range s.customers.oldestFirst {
		if c.deleted {
			continue
		}
		a.Customers++
		if c.accountID() == "" {
			a.WithoutAccountID++
		} else {
			byAccount[c.accountID()] = append(byAccount[c.accountID()], c.ID)
		}
	}
	a.Accounts = len(byAccount)
	maps.DeleteFunc(byAccount, func(_ string, ids []string) bool { return len(ids) == 1 })
	a.Duplicates = byAccount
	return a
}

func (s *Stripe) setRejectedEmails(codes map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejectedEmails = maps.Clone(codes)
}
