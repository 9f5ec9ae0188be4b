package simulator

import (
	"cmp"
	"maps"
	"math"
	"slices"
)

const (
	subscriptionsPath = "/v1/subscriptions"
	customerCard      = "customer.invoice_settings.default_payment_method"
)

func (s *Stripe) serveSubscriptions() {
	s.handle("GET "+subscriptionsPath, s.listSubscriptions)
	s.handle("POST "+subscriptionsPath, s.createSubscription)
	s.handle("GET "+subscriptionsPath+"/{id}", s.retrieveSubscription)
	s.handle("POST "+subscriptionsPath+"/{id}", s.updateSubscription)
	s.handle("DELETE "+subscriptionsPath+"/{id}", s.cancelSubscription)
	s.handle("POST "+subscriptionsPath+"/{id}/resume", s.resumeSubscription)
	s.handle("GET /v1/subscription_items", s.listSubscriptionItems)
}

func (s *Stripe) listSubscriptions(r stripeRequest) (stripeWork, *stripeError) {
	allowed := withListParams(map[string]paramKind{"customer": aText, "status": aText, "price": aText, "expand": aHash})
	if problem := r.params.only(allowed); problem != nil {
		return nil, problem
	}
	status, problem := readStatusFilter(r.params)
	if problem != nil {
		return nil, problem
	}
	expand, problem := readSubscriptionExpand(r.params, "data.")
	if problem != nil {
		return nil, problem
	}
	query, problem := readListQuery(r.params)
	if problem != nil {
		return nil, problem
	}
	return func() (any, *stripeError) {
		if problem := s.checkCustomerFilter(r.params); problem != nil {
			return nil, problem
		}
		among := &s.subscriptions
		if customer := r.params.text("customer"); customer != "" {
			among = s.allOf(customer)
		}
		page, problem := among.page(query, subscriptionsPath, "subscription", func(sub *stripeSubscription) bool {
			return status(sub) && sub.hasPrice(r.params.text("price"))
		})
		for i, sub := range page.Data {
			page.Data[i] = s.expanded(sub, expand)
		}
		return page, problem
	}, nil
}

// readStatusFilter is the filter of a list by status. Without one, those that were canceled do not
// show.
func readStatusFilter(p params) (func(*stripeSubscription) bool, *stripeError) {
	wanted := p.text("status")
	switch wanted {
	case "":
		return func(sub *stripeSubscription) bool { return sub.Status != subscriptionCanceled }, nil
	case "all":
		return func(*stripeSubscription) bool { return true }, nil
	case "ended":
		return (*stripeSubscription).hasEnded, nil
	case subscriptionIncomplete, subscriptionIncompleteExpired, subscriptionTrialing, subscriptionActive,
		subscriptionPastDue, subscriptionUnpaid, subscriptionPaused, subscriptionCanceled:
		return func(sub *stripeSubscription) bool { return sub.Status == wanted }, nil
	}
	return nil, invalidRequest("", "status", "Invalid status: must be one of active, past_due, unpaid, canceled, "+
		"incomplete, incomplete_expired, trialing, paused, all, or ended")
}

// checkCustomerFilter refuses to list what belongs to a customer that there never was.
func (s *Stripe) checkCustomerFilter(p params) *stripeError {
	if _, ok := s.customers.get(p.text("customer")); !ok && p.text("customer") != "" {
		return missingParam("customer", "customer", p.text("customer"))
	}
	return nil
}

func (sub *stripeSubscription) hasPrice(id string) bool {
	return id == "" || slices.ContainsFunc(sub.Items.all, func(i *stripeSubscriptionItem) bool { return i.Price.ID == id })
}

func readSubscriptionExpand(p params, prefix string) (expansion, *stripeError) {
	return readExpand(p, prefix, "customer", customerCard, "default_payment_method", "latest_invoice")
}

// expanded is the subscription with the objects that are wanted.
func (s *Stripe) expanded(sub *stripeSubscription, expand expansion) *stripeSubscription {
	if len(expand) == 0 {
		return sub
	}
	shown := *sub
	if method, ok := s.paymentMethods.get(sub.DefaultPaymentMethod.id); ok && expand.includes("default_payment_method") {
		shown.DefaultPaymentMethod.object = method
	}
	if invoice, ok := s.invoices.get(sub.LatestInvoice.id); ok && expand.includes("latest_invoice") {
		shown.LatestInvoice.object = invoice
	}
	if expand.includes("customer") {
		shown.Customer.object = s.expandedCustomer(sub.Customer.id, expand)
	}
	return &shown
}

func (s *Stripe) expandedCustomer(id string, expand expansion) any {
	c, ok := s.customers.get(id)
	switch {
	case !ok:
		return nil
	case c.deleted:
		return deletedCustomer(id)
	}
	method, ok := s.paymentMethods.get(c.InvoiceSettings.DefaultPaymentMethod.id)
	if !ok || !expand.includes(customerCard) {
		return c
	}
	shown := *c
	shown.InvoiceSettings.DefaultPaymentMethod.object = method
	return &shown
}

func (s *Stripe) retrieveSubscription(r stripeRequest) (stripeWork, *stripeError) {
	return s.onSubscription(r, nil, func(*stripeSubscription, happening) *stripeError { return nil })
}

// onSubscription is the work on the subscription in the path, which is shown afterwards.
func (s *Stripe) onSubscription(
	r stripeRequest, own map[string]paramKind, work func(*stripeSubscription, happening) *stripeError,
) (stripeWork, *stripeError) {
	allowed := map[string]paramKind{"expand": aHash}
	maps.Copy(allowed, own)
	if problem := r.params.only(allowed); problem != nil {
		return nil, problem
	}
	expand, problem := readSubscriptionExpand(r.params, "")
	if problem != nil {
		return nil, problem
	}
	return func() (any, *stripeError) {
		sub, ok := s.subscriptions.get(r.id)
		if !ok {
			return nil, missing("subscription", r.id)
		}
		if problem := work(sub, happening{at: unixNow(), cause: r.cause}); problem != nil {
			return nil, problem
		}
		return s.expanded(sub, expand), nil
	}, nil
}

func (s *Stripe) cancelSubscription(r stripeRequest) (stripeWork, *stripeError) {
	own := map[string]paramKind{"invoice_now": aText, "prorate": aText}
	return s.onSubscription(r, own, func(sub *stripeSubscription, now happening) *stripeError {
		if s.changeNow(sub, now, cancelNow) != nil {
			return missing("subscription", sub.ID) // Stripe no longer knows one that has ended
		}
		return nil
	})
}

func (s *Stripe) resumeSubscription(r stripeRequest) (stripeWork, *stripeError) {
	own := map[string]paramKind{"billing_cycle_anchor": aText, "proration_behavior": aText}
	return s.onSubscription(r, own, func(sub *stripeSubscription, now happening) *stripeError {
		if err := s.changeNow(sub, now, resume); err != nil {
			return invalidRequest("", "", "This subscription cannot be resumed: "+err.Error()+".")
		}
		return nil
	})
}

func (s *Stripe) createSubscription(r stripeRequest) (stripeWork, *stripeError) {
	problem := r.params.only(map[string]paramKind{
		"customer": aText, "items": aHash, "default_payment_method": aText, "cancel_at_period_end": aText,
		"trial_period_days": aText, "payment_behavior": aText, "metadata": aHash, "expand": aHash,
	})
	if problem != nil {
		return nil, problem
	}
	for _, required := range []string{"customer", "items"} {
		if r.params.text(required) == "" && r.params.hash(required) == nil {
			return nil, invalidRequest("parameter_missing", required, "Missing required param: "+required+".")
		}
	}
	changes, problem := readSubscriptionChanges(r.params)
	if problem != nil {
		return nil, problem
	}
	const longestTrial = 730
	trialDays, problem := r.params.integer("trial_period_days", 1, longestTrial, 0)
	if problem != nil {
		return nil, problem
	}
	expand, problem := readSubscriptionExpand(r.params, "")
	if problem != nil {
		return nil, problem
	}
	return func() (any, *stripeError) {
		now := happening{at: unixNow(), cause: r.cause}
		sub, problem := s.newSubscription(r.params, changes, int(trialDays), now)
		if problem != nil {
			return nil, problem
		}
		return s.expanded(sub, expand), nil
	}, nil
}

// newSubscription makes what the parameters ask for. It is active when a card can pay for it.
func (s *Stripe) newSubscription(p params, changes subscriptionChanges, trialDays int, now happening) (*stripeSubscription, *stripeError) {
	customer, problem := s.liveCustomer(p.text("customer"))
	if problem != nil {
		return nil, missingParam("customer", "customer", p.text("customer"))
	}
	sub := newStripeSubscription(newID("sub_"), customer.ID, now.at)
	if problem := s.applyChanges(sub, changes, now.at); problem != nil {
		return nil, problem
	}
	card := sub.DefaultPaymentMethod.id
	if card == "" && s.payer(sub) == "" && p.text("payment_behavior") != "default_incomplete" && trialDays == 0 {
		return nil, invalidRequest("resource_missing", "", "This customer has no attached payment source or default payment method.")
	}
	if trialDays > 0 {
		sub.startTrial(trialDays, now.at)
	}
	s.begin(sub, card, now)
	return sub, nil
}

func (s *Stripe) updateSubscription(r stripeRequest) (stripeWork, *stripeError) {
	own := map[string]paramKind{
		"items": aHash, "default_payment_method": aText, "cancel_at_period_end": aText, "metadata": aHash,
		"proration_behavior": aText, "payment_behavior": aText,
	}
	changes, problem := readSubscriptionChanges(r.params)
	if problem != nil {
		return nil, problem
	}
	return s.onSubscription(r, own, func(sub *stripeSubscription, now happening) (problem *stripeError) {
		if sub.hasEnded() {
			return invalidRequest("", "", "A canceled subscription can only update its cancellation_details and metadata.")
		}
		s.change(sub, now, func() []news {
			problem = s.applyChanges(sub, changes, now.at)
			return nil
		})
		return problem
	})
}

// subscriptionChanges are what a request sets.
type subscriptionChanges struct {
	items             []itemChange
	paymentMethod     string
	cancelAtPeriodEnd *bool
	params            params // with the metadata
}

// itemChange changes an item, or makes one when it has no id.
type itemChange struct {
	id       string
	price    string
	quantity int64 // zero leaves it
	deleted  bool
}

func readSubscriptionChanges(p params) (subscriptionChanges, *stripeError) {
	c := subscriptionChanges{paymentMethod: p.text("default_payment_method"), params: p}
	for _, position := range p.hash("items").positions() {
		item, problem := readItemChange(p.hash("items").hash(position))
		if problem != nil {
			problem.Param = "items[" + position + "][" + problem.Param + "]"
			return c, problem
		}
		c.items = append(c.items, item)
	}
	var problem *stripeError
	if c.cancelAtPeriodEnd, problem = p.boolean("cancel_at_period_end"); problem != nil {
		return c, problem
	}
	return c, p.checkMetadata()
}

func readItemChange(p params) (itemChange, *stripeError) {
	problem := p.only(map[string]paramKind{"id": aText, "price": aText, "quantity": aText, "deleted": aText})
	if problem != nil {
		return itemChange{}, problem
	}
	quantity, problem := p.integer("quantity", 1, math.MaxInt32, 0)
	if problem != nil {
		return itemChange{}, problem
	}
	if p.text("id")+p.text("price") == "" {
		return itemChange{}, invalidRequest("parameter_missing", "price", "Missing required param: price.")
	}
	deleted, problem := p.boolean("deleted")
	return itemChange{
		id: p.text("id"), price: p.text("price"), quantity: quantity, deleted: deleted != nil && *deleted,
	}, problem
}

// applyChanges changes the subscription as the request says, or not at all.
func (s *Stripe) applyChanges(sub *stripeSubscription, c subscriptionChanges, at int64) *stripeError {
	if method, ok := s.paymentMethods.get(c.paymentMethod); c.paymentMethod != "" && (!ok || method.Customer != sub.Customer.id) {
		return missingParam("default_payment_method", "PaymentMethod", c.paymentMethod)
	}
	kept := len(sub.Items.all)
	for _, item := range c.items {
		switch {
		case item.id == "":
			kept++
		case sub.item(item.id) == nil:
			return missingParam("items", "subscription item", item.id)
		case item.deleted:
			kept-- // the same one twice counts twice: Stripe would refuse that too
		}
	}
	if kept == 0 {
		return invalidRequest("", "items", "A subscription must have at least one item.")
	}
	for _, item := range c.items {
		s.applyItem(sub, item, at)
	}
	if c.paymentMethod != "" {
		sub.DefaultPaymentMethod.id = c.paymentMethod
	}
	if c.cancelAtPeriodEnd != nil {
		sub.cancelAtPeriodEnd(*c.cancelAtPeriodEnd, at)
	}
	c.params.mergeMetadata(sub.Metadata)
	return nil
}

func (s *Stripe) applyItem(sub *stripeSubscription, c itemChange, at int64) {
	if c.id == "" {
		sub.addItem(s.price(c.price), cmp.Or(c.quantity, 1), at)
		return
	}
	if c.deleted {
		sub.Items.all = slices.DeleteFunc(sub.Items.all, func(i *stripeSubscriptionItem) bool { return i.ID == c.id })
		return
	}
	item := sub.item(c.id)
	if c.price != "" {
		item.Price = s.price(c.price)
	}
	item.Quantity = cmp.Or(c.quantity, item.Quantity)
}

// item is the item with that id; nil if there is none.
func (sub *stripeSubscription) item(id string) *stripeSubscriptionItem {
	at := slices.IndexFunc(sub.Items.all, func(i *stripeSubscriptionItem) bool { return i.ID == id })
	if at < 0 {
		return nil
	}
	return sub.Items.all[at]
}

func (s *Stripe) listSubscriptionItems(r stripeRequest) (stripeWork, *stripeError) {
	allowed := withListParams(map[string]paramKind{"subscription": aText})
	delete(allowed, "created")
	if problem := r.params.only(allowed); problem != nil {
		return nil, problem
	}
	id := r.params.text("subscription")
	if id == "" {
		return nil, invalidRequest("parameter_missing", "subscription", "Missing required param: subscription.")
	}
	query, problem := readListQuery(r.params)
	if problem != nil {
		return nil, problem
	}
	return func() (any, *stripeError) {
		sub, ok := s.subscriptions.get(id)
		if !ok {
			return nil, missingParam("subscription", "subscription", id)
		}
		var items collection[*stripeSubscriptionItem]
		for _, item := range slices.Backward(sub.Items.all) {
			items.add(item) // so that the first comes first, where other lists show the last
		}
		return items.page(query, "/v1/subscription_items", "subscription item", func(*stripeSubscriptionItem) bool { return true })
	}, nil
}
