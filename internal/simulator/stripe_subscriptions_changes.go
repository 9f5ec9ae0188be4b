package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// happening is the moment at which something happens, the request that led to it, and the connected
// account that it happens on, empty for our own. All events of it have the same second, as Stripe's
// have.
type happening struct {
	at      int64
	cause   stripeCause
	account string
}

// news is an event that is to be published, about an object as it is then.
type news struct {
	eventType string
	object    any
}

func (s *Stripe) tell(now happening, eventType string, object any) {
	s.tellChange(now, eventType, object, nil)
}

func (s *Stripe) tellChange(now happening, eventType string, object any, previous json.RawMessage) {
	e := s.newEvent(eventType, stripeEventData{Object: rendered(object), PreviousAttributes: previous})
	e.Created, e.Request, e.Account = now.at, now.cause, now.account
	s.publish(e)
}

// change changes a subscription and publishes what that leads to: that it was deleted when it was
// canceled, or else updated when anything is different, and whatever else the change tells of.
func (s *Stripe) change(sub *stripeSubscription, now happening, change func() []news) {
	before, status := rendered(sub), sub.Status
	further := change()
	previous := previousAttributes(before, rendered(sub))
	switch {
	case sub.Status == subscriptionCanceled && status != subscriptionCanceled:
		s.tell(now, "customer.subscription.deleted", sub)
	case previous != nil:
		s.tellChange(now, "customer.subscription.updated", sub, previous)
	}
	for _, n := range further {
		s.tell(now, n.eventType, n.object)
	}
}

// previousAttributes are those of an object that a change has replaced, as they were; of a hash,
// only those within it that were replaced. It is nil if there are none.
func previousAttributes(before, after []byte) json.RawMessage {
	replaced := replacedIn(asHash(before), asHash(after))
	if len(replaced) == 0 {
		return nil
	}
	return rendered(replaced)
}

func replacedIn(before, after map[string]json.RawMessage) map[string]any {
	replaced := map[string]any{}
	for name, now := range after {
		was := before[name] // null for a key that metadata did not have
		switch {
		case bytes.Equal(was, now):
		case isHash(was) && isHash(now):
			replaced[name] = replacedIn(asHash(was), asHash(now))
		default:
			replaced[name] = was
		}
	}
	for name, was := range before {
		if _, kept := after[name]; !kept {
			replaced[name] = was
		}
	}
	return replaced
}

func isHash(value json.RawMessage) bool { return bytes.HasPrefix(value, []byte("{")) }

func asHash(object []byte) map[string]json.RawMessage {
	var hash map[string]json.RawMessage
	if err := json.Unmarshal(object, &hash); err != nil {
		panic(err) // it was just rendered
	}
	return hash
}

// subscriptionChange is a change of a subscription: it says what is in its way, or makes it and
// gives the news beside that of the subscription itself.
type subscriptionChange func(s *Stripe, sub *stripeSubscription, at int64) ([]news, error)

// changeByID makes a change that nobody asked the API for.
func (s *Stripe) changeByID(id, doing string, change subscriptionChange) (Subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, ok := s.subscriptions.get(id)
	if !ok {
		return Subscription{}, fmt.Errorf("simulator: %s Stripe subscription %s: there is none", doing, id)
	}
	if err := s.changeNow(sub, happening{at: unixNow()}, change); err != nil {
		return Subscription{}, fmt.Errorf("simulator: %s Stripe subscription %s: %w", doing, id, err)
	}
	return s.snapshotOf(sub), nil
}

func (s *Stripe) changeNow(sub *stripeSubscription, now happening, change subscriptionChange) (err error) {
	s.change(sub, now, func() (further []news) {
		further, err = change(s, sub, now.at)
		return further
	})
	return err
}

// inNoState is what is in the way of a change.
func inNoState(sub *stripeSubscription) error { return fmt.Errorf("its status is %s", sub.Status) }

// ChangePrice moves the subscription to another price, without a proration.
func (s *Stripe) ChangePrice(id, priceID string) (Subscription, error) {
	return s.changeByID(id, "change the price of", func(s *Stripe, sub *stripeSubscription, _ int64) ([]news, error) {
		switch {
		case priceID == "":
			return nil, errors.New("the id of the price is empty")
		case sub.hasEnded():
			return nil, inNoState(sub)
		}
		sub.Items.all[0].Price = s.price(priceID)
		return nil, nil
	})
}

// CancelNow ends the subscription.
func (s *Stripe) CancelNow(id string) (Subscription, error) {
	return s.changeByID(id, "cancel", cancelNow)
}

func cancelNow(_ *Stripe, sub *stripeSubscription, at int64) ([]news, error) {
	if sub.hasEnded() {
		return nil, inNoState(sub)
	}
	sub.end(subscriptionCanceled, at)
	return nil, nil
}

// cancelAll ends whatever a customer is subscribed to, as the customer's deletion does.
func (s *Stripe) cancelAll(customerID string, now happening) {
	for _, sub := range s.allOf(customerID).oldestFirst {
		if !sub.hasEnded() {
			_ = s.changeNow(sub, now, cancelNow) // which fails only for one that has ended
		}
	}
}

// end is for good. When it was canceled before, for the end of the period, that stays on record.
func (sub *stripeSubscription) end(status string, at int64) {
	sub.Status, sub.EndedAt = status, &at
	if sub.CanceledAt == nil {
		sub.CanceledAt = &at
	}
	sub.CancellationDetails.Reason = "cancellation_requested"
}

// CancelAtPeriodEnd has the subscription end with the period, at Renew; or no longer, with false.
func (s *Stripe) CancelAtPeriodEnd(id string, cancel bool) (Subscription, error) {
	return s.changeByID(id, "cancel at the end of the period", func(_ *Stripe, sub *stripeSubscription, at int64) ([]news, error) {
		if sub.hasEnded() {
			return nil, inNoState(sub)
		}
		sub.cancelAtPeriodEnd(cancel, at)
		return nil, nil
	})
}

func (sub *stripeSubscription) cancelAtPeriodEnd(cancel bool, at int64) {
	if sub.CancelAtPeriodEnd == cancel {
		return
	}
	sub.CancelAtPeriodEnd = cancel
	sub.CancelAt, sub.CanceledAt, sub.CancellationDetails.Reason = nil, nil, ""
	if cancel {
		end := sub.CurrentPeriodEnd
		sub.CancelAt, sub.CanceledAt, sub.CancellationDetails.Reason = &end, &at, "cancellation_requested"
	}
}

// Renew is the end of the current period, whenever that may be: the next one begins and is paid, or
// the subscription ends if that was asked for.
func (s *Stripe) Renew(id string) (Subscription, error) {
	return s.changeByID(id, "renew", func(s *Stripe, sub *stripeSubscription, at int64) ([]news, error) {
		switch sub.Status {
		case subscriptionActive, subscriptionTrialing, subscriptionPastDue:
		default:
			return nil, inNoState(sub)
		}
		if sub.CancelAtPeriodEnd {
			sub.end(subscriptionCanceled, at)
			return nil, nil
		}
		return s.nextPeriod(sub, at).paid(sub, at), nil
	})
}

// nextPeriod begins the next period and bills it.
func (s *Stripe) nextPeriod(sub *stripeSubscription, at int64) *stripeInvoice {
	sub.CurrentPeriodStart = sub.CurrentPeriodEnd
	sub.CurrentPeriodEnd = monthAfter(sub.CurrentPeriodStart)
	sub.Status = subscriptionActive // before the bill: a trial is free
	return s.bill(sub, "subscription_cycle", at)
}

// paid is the payment of what is due, which makes the subscription active.
func (i *stripeInvoice) paid(sub *stripeSubscription, at int64) []news {
	i.settle(at)
	sub.Status = subscriptionActive
	return []news{{"invoice.paid", i}}
}

// FailPayment is a payment that the card refuses. Of an active subscription it is the payment for the
// next period, which begins past due; of one with an open invoice it is one more attempt to pay that.
func (s *Stripe) FailPayment(id string) (Subscription, error) {
	return s.changeByID(id, "fail the payment of", func(s *Stripe, sub *stripeSubscription, at int64) ([]news, error) {
		due, isDue := s.due(sub)
		switch {
		case sub.hasEnded():
			return nil, inNoState(sub)
		case !isDue:
			due = s.nextPeriod(sub, at)
			sub.Status = subscriptionPastDue
		}
		due.fail(at)
		return []news{{"invoice.payment_failed", due}}, nil
	})
}

// PayNow pays what a subscription that is incomplete, past due or unpaid owes, which makes it active.
func (s *Stripe) PayNow(id string) (Subscription, error) {
	return s.changeByID(id, "pay", func(s *Stripe, sub *stripeSubscription, at int64) ([]news, error) {
		switch sub.Status {
		case subscriptionIncomplete, subscriptionPastDue, subscriptionUnpaid:
		default:
			return nil, inNoState(sub)
		}
		due, isDue := s.due(sub)
		if !isDue {
			due = s.bill(sub, "subscription_cycle", at)
		}
		return due.paid(sub, at), nil
	})
}

// Pause is what Stripe does with a subscription whose trial ends without a payment method.
func (s *Stripe) Pause(id string) (Subscription, error) {
	return s.changeByID(id, "pause", func(_ *Stripe, sub *stripeSubscription, _ int64) ([]news, error) {
		switch sub.Status {
		case subscriptionActive, subscriptionTrialing:
		default:
			return nil, inNoState(sub)
		}
		sub.Status = subscriptionPaused
		return []news{{"customer.subscription.paused", sub}}, nil
	})
}

// Resume ends a pause: a new period begins now, and is paid.
func (s *Stripe) Resume(id string) (Subscription, error) {
	return s.changeByID(id, "resume", resume)
}

func resume(s *Stripe, sub *stripeSubscription, at int64) ([]news, error) {
	if sub.Status != subscriptionPaused {
		return nil, inNoState(sub)
	}
	sub.CurrentPeriodEnd, sub.BillingCycleAnchor = at, at
	return append([]news{{"customer.subscription.resumed", sub}}, s.nextPeriod(sub, at).paid(sub, at)...), nil
}

// SetStatus gives the subscription any status, such as one that Stripe might think of next year.
func (s *Stripe) SetStatus(id, status string) (Subscription, error) {
	return s.changeByID(id, "set the status of", func(_ *Stripe, sub *stripeSubscription, at int64) ([]news, error) {
		if status == "" {
			return nil, errors.New("the status is empty")
		}
		wasOver := sub.hasEnded()
		sub.Status = status
		switch {
		case sub.hasEnded() && !wasOver:
			sub.end(status, at)
		case !sub.hasEnded():
			sub.EndedAt = nil
		}
		return nil, nil
	})
}
