// Package customer is an app's customer as Holdfast keeps it: what the app told us, which
// provider objects belong to it, and how far it is on its way to being billed.
package customer

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/holdfast/holdfast/internal/step"
)

// The steps of onboarding.
const (
	StepStripeCustomer = "stripe_customer" // one Stripe customer, made, adopted or brought by the app
	StepPromoCode      = "promo_code"      // what signup promised, applied however late
	StepStripeProfile  = "stripe_profile"  // a later change of e-mail or name
)

// Status is how far a customer is.
type Status string

// A customer is onboarding until it can be billed; attention means that a person has to act.
const (
	Onboarding Status = "onboarding"
	Ready      Status = "ready"
	Attention  Status = "attention"
)

// workflowPrefix is how the ids of onboarding workflows begin.
const workflowPrefix = "onboarding/"

// WorkflowID is the id of the onboarding workflow of a customer.
func WorkflowID(customerID string) string { return workflowPrefix + customerID }

// Profile is what an app says of a customer when it creates one.
type Profile struct {
	ID               string            `json:"id"`
	Email            string            `json:"email"`
	Name             string            `json:"name,omitempty"`
	Country          string            `json:"country,omitempty"` // ISO 3166-1 alpha-2
	PromoCode        string            `json:"promo_code,omitempty"`
	StripeCustomerID string            `json:"stripe_customer_id,omitempty"` // when the app has one already
	Metadata         map[string]string `json:"metadata,omitempty"`
}

// Customer is a customer with everything that people ask of it.
type Customer struct {
	Profile
	// StripeConfirmed says that the Stripe customer exists and is this customer's.
	StripeConfirmed bool
	// ProfileVersion is raised by every change of e-mail or name; Stripe has StripeProfileVersion.
	ProfileVersion       int
	StripeProfileVersion int
	Steps                []step.Step
	CreatedAt            time.Time
	UpdatedAt            time.Time
}

// Status derives how far the customer is from its steps.
func (c Customer) Status() Status {
	status := Ready
	for _, s := range c.Steps {
		switch {
		case s.Status == step.Blocked && s.WaitsFor == step.ForPerson:
			return Attention
		case !s.Status.Settled():
			status = Onboarding
		}
	}
	if len(c.Steps) == 0 {
		return Onboarding
	}
	return status
}

// BillingReady says that the customer may be billed: its Stripe customer is confirmed and
// nothing that signup promised is still on its way. A promo code that Stripe refuses waits for
// a person and holds up no billing.
func (c Customer) BillingReady() bool {
	if !c.StripeConfirmed {
		return false
	}
	for _, s := range c.Steps {
		if s.Name == StepPromoCode && !s.Status.Settled() && s.WaitsFor != step.ForPerson {
			return false
		}
	}
	return true
}

// Limits of what an app may say of a customer.
const (
	maxEmail         = 254
	maxName          = 256
	maxPromoCode     = 64
	maxMetadata      = 20
	maxMetadataKey   = 40
	maxMetadataValue = 500
)

// reservedMetadata is how our own keys at the providers begin.
const reservedMetadata = "holdfast_"

var (
	idPattern      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$`)
	countryPattern = regexp.MustCompile(`^[A-Z]{2}$`)
	stripePattern  = regexp.MustCompile(`^cus_[A-Za-z0-9]{1,64}$`)
	promoPattern   = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
)

// FieldError names the field that is wrong and says what it must be. It does not repeat the value.
type FieldError struct {
	Field  string
	Reason string
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }

// ValidID says whether the text can be a customer's id. Ids stand in workflow histories, so one
// that looks like an e-mail address is refused.
func ValidID(id string) bool { return idPattern.MatchString(id) }

// Validate checks every field and returns a FieldError for the first that is wrong.
func (p Profile) Validate() error {
	checks := []func() *FieldError{
		p.checkID, p.checkEmail, p.checkName, p.checkCountry, p.checkPromoCode, p.checkStripeID, p.checkMetadata,
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (p Profile) checkID() *FieldError {
	if !ValidID(p.ID) {
		return &FieldError{"id", "must be 1 to 128 letters, digits or _ . : - and begin with a letter or digit; it is not a place for personal data"}
	}
	return nil
}

func (p Profile) checkEmail() *FieldError { return checkEmail(p.Email) }

func checkEmail(email string) *FieldError { return CheckEmail("email", email) }

// CheckEmail says what is wrong with the e-mail address that a field gives.
func CheckEmail(field, email string) *FieldError {
	parsed, err := mail.ParseAddress(email)
	if err != nil || parsed.Address != email || len(email) > maxEmail {
		return &FieldError{field, fmt.Sprintf("must be one e-mail address of at most %d characters, without a display name", maxEmail)}
	}
	return nil
}

// CheckCountry says what is wrong with the country that a field gives.
func CheckCountry(field, country string) *FieldError {
	if !countryPattern.MatchString(country) {
		return &FieldError{field, "must be a two-letter ISO 3166-1 code in capitals, such as US"}
	}
	return nil
}

func (p Profile) checkName() *FieldError { return checkName(p.Name) }

func checkName(name string) *FieldError {
	if len(name) > maxName || strings.ContainsFunc(name, isControl) {
		return &FieldError{"name", fmt.Sprintf("must be at most %d bytes without control characters", maxName)}
	}
	return nil
}

func (p Profile) checkCountry() *FieldError {
	if p.Country == "" {
		return nil
	}
	return CheckCountry("country", p.Country)
}

func (p Profile) checkPromoCode() *FieldError {
	if p.PromoCode != "" && (len(p.PromoCode) > maxPromoCode || !promoPattern.MatchString(p.PromoCode)) {
		return &FieldError{"promo_code", fmt.Sprintf("must be at most %d letters, digits, _ or -", maxPromoCode)}
	}
	return nil
}

func (p Profile) checkStripeID() *FieldError {
	if p.StripeCustomerID != "" && !stripePattern.MatchString(p.StripeCustomerID) {
		return &FieldError{"stripe_customer_id", "must be a Stripe customer id such as cus_NffrFeUfNV2Hib"}
	}
	return nil
}

func (p Profile) checkMetadata() *FieldError {
	if len(p.Metadata) > maxMetadata {
		return &FieldError{"metadata", fmt.Sprintf("must have at most %d keys", maxMetadata)}
	}
	for _, key := range slices.Sorted(maps.Keys(p.Metadata)) {
		switch {
		case key == "" || len(key) > maxMetadataKey || strings.ContainsAny(key, "[]\x00"):
			return &FieldError{"metadata", fmt.Sprintf("keys must be 1 to %d characters without square brackets", maxMetadataKey)}
		case strings.HasPrefix(key, reservedMetadata):
			return &FieldError{"metadata", "keys that begin with " + reservedMetadata + " are reserved"}
		case len(p.Metadata[key]) > maxMetadataValue || strings.ContainsRune(p.Metadata[key], 0):
			return &FieldError{"metadata", fmt.Sprintf("values must be at most %d characters, none of them NUL", maxMetadataValue)}
		}
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// contentHash tells a repeated creation from one with other content. Map keys are encoded in
// order, so equal profiles have equal hashes.
func (p Profile) contentHash() ([]byte, error) {
	encoded, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("customer %s: encode the profile: %w", p.ID, err)
	}
	sum := sha256.Sum256(encoded)
	return sum[:], nil
}

// Change is what an app may change of a customer. Nil leaves the field alone.
type Change struct {
	Email *string `json:"email,omitempty"`
	Name  *string `json:"name,omitempty"`
}

// Validate checks the fields that are given; at least one must be.
func (c Change) Validate() error {
	if c.Email == nil && c.Name == nil {
		return &FieldError{"email", "give email or name to change"}
	}
	if c.Email != nil {
		if err := checkEmail(*c.Email); err != nil {
			return err
		}
	}
	if c.Name != nil {
		if err := checkName(*c.Name); err != nil {
			return err
		}
	}
	return nil
}
