package simulator

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"strconv"
)

// PayoutLimits are the limits that all accounts have, in minor units by currency. An amount that is
// missing is no limit.
type PayoutLimits struct {
	Minimum        map[string]int64 `json:"minimum,omitempty"`         // of one payout
	InstantMinimum map[string]int64 `json:"instant_minimum,omitempty"` // of one instant payout
	InstantMaximum map[string]int64 `json:"instant_maximum,omitempty"` // of one instant payout
	// InstantPerDay is for all accounts together on one UTC day.
	InstantPerDay map[string]int64 `json:"instant_per_day,omitempty"`
}

// defaultPayoutLimits are those of instant payouts in the US.
func defaultPayoutLimits() PayoutLimits {
	return PayoutLimits{
		InstantMinimum: map[string]int64{stripeCurrency: 50}, InstantMaximum: map[string]int64{stripeCurrency: 999_900},
	}
}

// SetPayoutLimits replaces the limits; at first an instant payout is between 0.50 and 9,999.00 USD.
func (s *Stripe) SetPayoutLimits(limits PayoutLimits) error {
	for _, amounts := range []map[string]int64{limits.Minimum, limits.InstantMinimum, limits.InstantMaximum, limits.InstantPerDay} {
		for currency, amount := range amounts {
			if !isStripeCurrency(currency) || amount < 0 {
				return fmt.Errorf("simulator: limits of Stripe payouts: %q: %d: it must be a currency (three lower-case letters) and not negative", currency, amount)
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.money.limits = PayoutLimits{
		Minimum: maps.Clone(limits.Minimum), InstantMinimum: maps.Clone(limits.InstantMinimum),
		InstantMaximum: maps.Clone(limits.InstantMaximum), InstantPerDay: maps.Clone(limits.InstantPerDay),
	}
	return nil
}

// check complains about an amount that is too small or too large.
func (l PayoutLimits) check(p *stripePayout) *stripeError {
	least, most := l.Minimum[p.Currency], int64(maxStripeAmount)
	if p.Method == instantMethod {
		least, most = max(least, l.InstantMinimum[p.Currency]), cmp.Or(l.InstantMaximum[p.Currency], most)
	}
	switch {
	case p.Amount < least:
		return invalidRequest("amount_too_small", "amount", "The amount must be at least "+strconv.FormatInt(least, 10)+" "+p.Currency+".")
	case p.Amount > most:
		return invalidRequest("amount_too_large", "amount", "The amount must be at most "+strconv.FormatInt(most, 10)+" "+p.Currency+".")
	}
	return nil
}

// instantUse is what was paid out instantly on one UTC day. A payout counts for the day on which it
// was requested, whatever became of it.
type instantUse struct {
	day     int64 // since 1970
	payouts int
	amounts map[string]int64 // by currency
}

const secondsPerDay = 24 * 60 * 60

func (u *instantUse) count(p *stripePayout) {
	day := p.Created / secondsPerDay
	if day < u.day {
		return // of a day that is over
	}
	if day > u.day {
		*u = instantUse{day: day, amounts: map[string]int64{}}
	}
	u.payouts++
	u.amounts[p.Currency] += p.Amount
}

// before is what was used on the payout's day before it.
func (u *instantUse) before(p *stripePayout) (payouts int, amount int64) {
	if u.day != p.Created/secondsPerDay {
		return 0, 0
	}
	return u.payouts, u.amounts[p.Currency]
}

func (s *Stripe) checkInstant(a *stripeAccount, to ExternalAccount, p *stripePayout) *stripeError {
	payouts, amount := a.instant.before(p)
	_, together := s.money.instant.before(p)
	limit, limited := s.money.limits.InstantPerDay[p.Currency]
	switch {
	case !to.takesInstant():
		return invalidRequest("instant_payouts_unsupported", "destination",
			"The bank account or debit card provided does not support instant payouts.")
	case a.InstantPayoutsPerDay > 0 && payouts >= a.InstantPayoutsPerDay,
		a.InstantPerDay > 0 && amount+p.Amount > a.InstantPerDay, limited && together+p.Amount > limit:
		return invalidRequest("instant_payouts_limit_exceeded", "", "You have reached your daily limit of instant payouts.")
	}
	return nil
}

// PayoutSettlement is what becomes of payouts by themselves. The zero value is nothing: they stay
// pending until SettlePayout or another call moves them.
type PayoutSettlement struct {
	Automatic bool `json:"automatic"`
	// DelayMS passes until a payout is in transit, and again until it is paid, in milliseconds.
	DelayMS int `json:"delay_ms,omitempty"`
	// FailShare of them fail instead of being paid, and ReturnShare are returned, DelayMS after they
	// were paid; which ones is decided by the seed and the order of the payouts.
	FailShare   float64 `json:"fail_share,omitempty"`
	ReturnShare float64 `json:"return_share,omitempty"`
	// FailureCode is what they fail with; empty means could_not_process.
	FailureCode string `json:"failure_code,omitempty"`
}

// SetPayoutSettlement changes what becomes of payouts by themselves. Those that are under way and
// waited for someone to settle them go on as well.
func (s *Stripe) SetPayoutSettlement(settlement PayoutSettlement) error {
	switch {
	case settlement.DelayMS < 0:
		return errors.New("simulator: settlement of Stripe payouts: delay_ms must not be negative")
	case min(settlement.FailShare, settlement.ReturnShare) < 0 || settlement.FailShare+settlement.ReturnShare > 1:
		return errors.New("simulator: settlement of Stripe payouts: fail_share and return_share must not be negative, nor more than 1 together")
	}
	settlement.FailureCode = cmp.Or(settlement.FailureCode, "could_not_process")
	s.mu.Lock()
	defer s.mu.Unlock()
	waited := !s.money.settlement.Automatic
	s.money.settlement = settlement
	if !waited {
		return nil
	}
	for _, p := range s.money.payouts.oldestFirst {
		if p.Status == payoutPending || p.Status == payoutInTransit {
			s.settleByItself(p)
		}
	}
	return nil
}

// settleByItself lets a payout run its course, if payouts do so. Whoever moves it meanwhile goes
// first: what is no longer possible does not happen.
func (s *Stripe) settleByItself(p *stripePayout) {
	course := s.money.settlement
	if !course.Automatic {
		return
	}
	fate := s.money.random.Float64()
	s.later(course.DelayMS, func() {
		if p.Status == payoutPending {
			s.inTransit(p)
		}
		s.later(course.DelayMS, func() {
			if fate < course.FailShare {
				_ = s.failUnderWay(p, course.FailureCode)
				return
			}
			if s.settle(p) != nil || fate >= course.FailShare+course.ReturnShare {
				return
			}
			s.later(course.DelayMS, func() {
				if p.Status == payoutPaid {
					s.giveBack(p, payoutFailed, course.FailureCode, stripeCause{})
				}
			})
		})
	})
}
