package stripe

import (
	"cmp"
	"context"
	"maps"
	"regexp"
	"slices"
	"time"

	stripego "github.com/stripe/stripe-go/v76"
)

// MetadataCustomerID is the metadata under which a Stripe customer carries the id of its account
// here. It is how a customer whose creation was not answered is found again.
const MetadataCustomerID = "holdfast_customer_id"

// Codes of refusals that we give in Stripe's stead.
const (
	CodeCustomerDeleted       = "customer_deleted"
	CodeCustomerIDInvalid     = "customer_id_invalid"
	CodePromotionCodeNotFound = "promotion_code_not_found"
)

const (
	customersRoute = "/v1/customers"
	customerRoute  = "/v1/customers/{id}"
	pageSize       = 100 // Stripe's largest
)

// CustomerParams is a customer to be made. It is stored as it is sent: its JSON names must not
// change.
type CustomerParams struct {
	Email              string            `json:"email"` // exactly as it will be looked for: Stripe tells case apart
	Name               string            `json:"name,omitempty"`
	Country            string            `json:"country,omitempty"` // two letters, into the address
	HoldfastCustomerID string            `json:"holdfast_customer_id"`
	Metadata           map[string]string `json:"metadata,omitempty"` // the app's own
}

// CustomerUpdate is a change of a customer. What is nil or empty stays as it is, but a pointer to
// an empty text clears the field. It is stored as it is sent: its JSON names must not change.
type CustomerUpdate struct {
	Email              *string           `json:"email,omitempty"`
	Name               *string           `json:"name,omitempty"`
	HoldfastCustomerID string            `json:"holdfast_customer_id,omitempty"`
	PromotionCodeID    string            `json:"promotion_code_id,omitempty"` // "promo_…"
	Metadata           map[string]string `json:"metadata,omitempty"`          // merged; an empty value removes its key
}

// Customer is a Stripe customer.
type Customer struct {
	ID              string // "cus_…"
	Email           string
	Name            string
	Country         string
	Metadata        map[string]string
	PromotionCodeID string // of the discount that the customer has; empty without one
	Created         time.Time
}

// HoldfastCustomerID is the account whose customer it is; empty when nobody has claimed it.
func (c Customer) HoldfastCustomerID() string { return c.Metadata[MetadataCustomerID] }

// CreateCustomer makes a customer under an idempotency key.
func (c *Client) CreateCustomer(ctx context.Context, key string, p CustomerParams) (Customer, error) {
	params := &stripego.CustomerParams{
		Email:    new(p.Email),
		Name:     unlessEmpty(p.Name),
		Metadata: withCustomerID(p.Metadata, p.HoldfastCustomerID),
	}
	if p.Country != "" {
		params.Address = &stripego.AddressParams{Country: new(p.Country)}
	}
	return c.writeCustomer(ctx, customersRoute, key, params, c.customers.New)
}

// UpdateCustomer changes a customer under an idempotency key.
func (c *Client) UpdateCustomer(ctx context.Context, key, id string, u CustomerUpdate) (Customer, error) {
	if err := checkCustomerID(id); err != nil {
		return Customer{}, err
	}
	params := &stripego.CustomerParams{
		Email:         u.Email,
		Name:          u.Name,
		PromotionCode: unlessEmpty(u.PromotionCodeID),
		Metadata:      withCustomerID(u.Metadata, u.HoldfastCustomerID),
	}
	return c.writeCustomer(ctx, customerRoute, key, params, func(p *stripego.CustomerParams) (*stripego.Customer, error) {
		return c.customers.Update(id, p)
	})
}

// GetCustomer reads a customer. One that does not exist is NotFound; one that was deleted is
// Rejected, code CodeCustomerDeleted.
func (c *Client) GetCustomer(ctx context.Context, id string) (Customer, error) {
	if err := checkCustomerID(id); err != nil {
		return Customer{}, err
	}
	return c.oneCustomer(ctx, request{route: customerRoute}, &stripego.CustomerParams{},
		func(p *stripego.CustomerParams) (*stripego.Customer, error) { return c.customers.Get(id, p) })
}

// FindCustomerParams is what is known of a customer whose creation was not answered.
type FindCustomerParams struct {
	Email              string    // exactly as it was sent
	CreatedFrom        time.Time // inclusive, to the second; zero looks at all times
	HoldfastCustomerID string
}

// FindCustomer looks for the account's customer in the list of those with its address, which shows
// a new one at once, as Stripe's search does not. Of several it gives the oldest. An error that is
// no Failure means that the context ended while it waited its turn for a further page.
func (c *Client) FindCustomer(ctx context.Context, p FindCustomerParams) (Customer, bool, error) {
	listed, err := c.listCustomers(ctx, p.Email, p.CreatedFrom)
	if err != nil {
		return Customer{}, false, err
	}
	ours := slices.DeleteFunc(listed, func(found Customer) bool { return found.HoldfastCustomerID() != p.HoldfastCustomerID })
	if len(ours) == 0 {
		return Customer{}, false, nil
	}
	return slices.MinFunc(ours, func(a, b Customer) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	}), true, nil
}

// listCustomers reads all pages; half a list would prove an absence that is none.
func (c *Client) listCustomers(ctx context.Context, email string, createdFrom time.Time) ([]Customer, error) {
	params := &stripego.CustomerListParams{Email: new(email)}
	params.Limit, params.Single = new(int64(pageSize)), true
	if !createdFrom.IsZero() {
		params.CreatedRange = &stripego.RangeQueryParams{GreaterThanOrEqual: createdFrom.Unix()}
	}
	var all []Customer
	for {
		page, err := c.customerPage(ctx, params)
		if err != nil {
			return nil, err
		}
		for _, found := range page.Data {
			all = append(all, customerFrom(found))
		}
		if !page.HasMore {
			return all, nil
		}
		params.StartingAfter = new(all[len(all)-1].ID)
		if err := c.waitForPage(ctx, "customers"); err != nil {
			return nil, err
		}
	}
}

func (c *Client) customerPage(ctx context.Context, params *stripego.CustomerListParams) (page *stripego.CustomerList, err error) {
	err = c.run(ctx, request{route: customersRoute}, func(ctx context.Context) error {
		params.Context = ctx
		list := c.customers.List(params)
		if err := list.Err(); err != nil {
			return err
		}
		page = list.CustomerList()
		return checkPage(page.ListMeta, len(page.Data))
	})
	return page, err
}

// writeCustomer sends a write under its key.
func (c *Client) writeCustomer(
	ctx context.Context, route, key string, params *stripego.CustomerParams,
	send func(*stripego.CustomerParams) (*stripego.Customer, error),
) (Customer, error) {
	if err := checkIdempotencyKey(key); err != nil {
		return Customer{}, err
	}
	params.SetIdempotencyKey(key)
	return c.oneCustomer(ctx, request{route: route, write: true}, params, send)
}

func (c *Client) oneCustomer(
	ctx context.Context, r request, params *stripego.CustomerParams,
	send func(*stripego.CustomerParams) (*stripego.Customer, error),
) (Customer, error) {
	var answer *stripego.Customer
	err := c.run(ctx, r, func(ctx context.Context) (err error) {
		params.Context = ctx
		if answer, err = send(params); err == nil && answer.ID == "" {
			return errNotStripe
		}
		return err
	})
	switch {
	case err != nil:
		return Customer{}, err
	case answer.Deleted:
		return Customer{}, rejected(CodeCustomerDeleted, "")
	}
	return customerFrom(answer), nil
}

func customerFrom(c *stripego.Customer) Customer {
	customer := Customer{
		ID: c.ID, Email: c.Email, Name: c.Name, Metadata: c.Metadata, Created: moment(c.Created),
	}
	if c.Address != nil {
		customer.Country = c.Address.Country
	}
	if c.Discount != nil && c.Discount.PromotionCode != nil {
		customer.PromotionCodeID = c.Discount.PromotionCode.ID
	}
	return customer
}

var customerID = regexp.MustCompile(`^cus_[A-Za-z0-9_]{1,250}$`)

// checkCustomerID keeps anything but an id out of a request's path.
func checkCustomerID(id string) error {
	if !customerID.MatchString(id) {
		return rejected(CodeCustomerIDInvalid, "customer")
	}
	return nil
}

// withCustomerID is the app's metadata and ours, which wins.
func withCustomerID(metadata map[string]string, id string) map[string]string {
	all := make(map[string]string, len(metadata)+1)
	maps.Copy(all, metadata)
	if id != "" {
		all[MetadataCustomerID] = id
	}
	return all
}

func unlessEmpty(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
