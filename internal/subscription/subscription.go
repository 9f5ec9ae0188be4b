// Package subscription is what a customer is subscribed to, at any provider, in one vocabulary. What
// is known comes from reads of the provider's whole state alone; everything else that one hears
// (webhooks, return pages, operators) only says that what is known may be old.
package subscription

import (
	"cmp"
	"slices"
	"time"

	"github.com/holdfast/holdfast/internal/provider"
)

// Status is how a subscription stands.
type Status string

// The statuses, in the order in which they win when a customer has several subscriptions.
const (
	Active     Status = "active"
	Trialing   Status = "trialing"
	PastDue    Status = "past_due"
	Unpaid     Status = "unpaid"
	Paused     Status = "paused"
	Incomplete Status = "incomplete"
	Canceled   Status = "canceled"
	None       Status = "none" // there is no subscription
)

// rank orders the statuses, the winning one first.
func (s Status) rank() int {
	return slices.Index([]Status{Active, Trialing, PastDue, Unpaid, Paused, Incomplete, Canceled}, s)
}

// live says that the customer is being charged, or is about to be.
func (s Status) live() bool { return s == Active || s == Trialing || s == PastDue }

// paid says that the present period is paid for, or need not be.
func (s Status) paid() bool { return s == Active || s == Trialing }

// Subscription is one subscription at a provider, as a read of it shows.
type Subscription struct {
	Provider       provider.Name `json:"provider"`
	ID             string        `json:"id"`
	Status         Status        `json:"status"`
	ProviderStatus string        `json:"provider_status"` // the provider's own word, shown beside ours
	PriceIDs       []string      `json:"price_ids"`       // Stripe's prices, or PayPal's plan
	CreatedAt      time.Time     `json:"created_at"`

	CurrentPeriodStart *time.Time `json:"current_period_start,omitempty"`
	CurrentPeriodEnd   *time.Time `json:"current_period_end,omitempty"`
	// PaidUntil is the end of what the last active read had paid for; a read itself leaves it nil.
	PaidUntil         *time.Time `json:"paid_until,omitempty"`
	CancelAtPeriodEnd bool       `json:"cancel_at_period_end"`
	CardBrand         string     `json:"card_brand,omitempty"` // such as visa; empty when it is paid otherwise
	CardLast4         string     `json:"card_last4,omitempty"`
}

// Plans are the prices and plans that make a subscription count (HOLDFAST_PLANS). Empty: all do.
type Plans []string

// compete says whether the subscription is one of the plans, and not an add-on beside them.
func (p Plans) compete(s Subscription) bool {
	return len(p) == 0 || slices.ContainsFunc(s.PriceIDs, p.names)
}

func (p Plans) names(priceID string) bool { return slices.Contains(p, priceID) }

// price is the price by which the subscription counts.
func (p Plans) price(s Subscription) string {
	if i := slices.IndexFunc(s.PriceIDs, p.names); i >= 0 {
		return s.PriceIDs[i]
	}
	if len(s.PriceIDs) > 0 {
		return s.PriceIDs[0]
	}
	return ""
}

// Sort puts the subscription that counts first: those of the plans, by status, then the newest,
// then by id.
func (p Plans) Sort(all []Subscription) {
	addOn := func(s Subscription) int {
		if p.compete(s) {
			return 0
		}
		return 1
	}
	slices.SortFunc(all, func(a, b Subscription) int {
		return cmp.Or(
			cmp.Compare(addOn(a), addOn(b)), cmp.Compare(a.Status.rank(), b.Status.rank()),
			b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
}

// Choose gives the state of a customer with these subscriptions: the one that counts.
func (p Plans) Choose(all []Subscription) State {
	sorted := slices.Clone(all)
	p.Sort(sorted)
	if len(sorted) == 0 || !p.compete(sorted[0]) {
		return State{Status: None}
	}
	return stateOf(sorted[0], p.price(sorted[0]))
}

// Doubled says that the customer is charged at two providers at once.
func (p Plans) Doubled(all []Subscription) bool {
	charging := map[provider.Name]bool{}
	for _, s := range all {
		if s.Status.live() && p.compete(s) {
			charging[s.Provider] = true
		}
	}
	return len(charging) > 1
}

// State is what the app is told of a customer: the subscription that counts, or status none.
type State struct {
	Status             Status        `json:"status"`
	Provider           provider.Name `json:"provider,omitempty"`
	SubscriptionID     string        `json:"subscription_id,omitempty"`
	ProviderStatus     string        `json:"provider_status,omitempty"`
	PriceID            string        `json:"price_id,omitempty"`
	CurrentPeriodStart *time.Time    `json:"current_period_start,omitempty"`
	CurrentPeriodEnd   *time.Time    `json:"current_period_end,omitempty"`
	PaidUntil          *time.Time    `json:"paid_until,omitempty"`
	CancelAtPeriodEnd  bool          `json:"cancel_at_period_end"`
	PaymentMethod      *Card         `json:"payment_method,omitempty"`
}

// Card is what may be shown of a payment card.
type Card struct {
	Brand string `json:"brand"`
	Last4 string `json:"last4"`
}

func stateOf(s Subscription, priceID string) State {
	state := State{
		Status: s.Status, Provider: s.Provider, SubscriptionID: s.ID, ProviderStatus: s.ProviderStatus, PriceID: priceID,
		CurrentPeriodStart: s.CurrentPeriodStart, CurrentPeriodEnd: s.CurrentPeriodEnd, PaidUntil: s.PaidUntil,
		CancelAtPeriodEnd: s.CancelAtPeriodEnd,
	}
	if s.CardLast4 != "" {
		state.PaymentMethod = &Card{Brand: s.CardBrand, Last4: s.CardLast4}
	}
	return state
}

// keepPaid carries over what was paid for: a read of an active subscription tells it, and later
// reads of a canceled or unpaid one do not take it away.
func keepPaid(read Subscription, before *Subscription) Subscription {
	switch {
	case read.Status.paid() && read.CurrentPeriodEnd != nil:
		read.PaidUntil = read.CurrentPeriodEnd
	case before != nil:
		read.PaidUntil = before.PaidUntil
	}
	return read
}
