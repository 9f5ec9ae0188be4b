package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
)

// Payouts are what the platform has decided about payouts. Sums are decimal numbers by currency, as
// in usd=10.00,eur=10.00.
type Payouts struct {
	Minimums          map[string]string `name:"payout-minimums" env:"HOLDFAST_PAYOUT_MINIMUMS" mapsep:"," default:"usd=10.00" help:"The least that is paid, before fees, by currency; a currency without one is not paid out."`
	InstantMinimums   map[string]string `name:"payout-instant-minimums" env:"HOLDFAST_PAYOUT_INSTANT_MINIMUMS" mapsep:"," default:"usd=1.00" help:"The least that is paid instantly, after the fee."`
	InstantCaps       map[string]string `name:"payout-instant-caps" env:"HOLDFAST_PAYOUT_INSTANT_CAPS" mapsep:"," default:"usd=9999.00" help:"The most that one instant payout pays, after the fee; a currency without one has none."`
	PayPalCaps        map[string]string `name:"payout-paypal-caps" env:"HOLDFAST_PAYOUT_PAYPAL_CAPS" mapsep:"," default:"usd=20000.00" help:"The most that one payout by PayPal pays, after the fee; a currency without one has none."`
	InstantFeePercent int64             `name:"payout-instant-fee-percent" env:"HOLDFAST_PAYOUT_INSTANT_FEE_PERCENT" default:"3" help:"The fee for an instant payout, in percent of what is paid."`
	PayPalFeePercent  int64             `name:"payout-paypal-fee-percent" env:"HOLDFAST_PAYOUT_PAYPAL_FEE_PERCENT" default:"2" help:"The fee for a payout by PayPal, in percent of the amount."`
	PayPalFeeWaived   []string          `name:"payout-paypal-fee-waived" env:"HOLDFAST_PAYOUT_PAYPAL_FEE_WAIVED" default:"BR,IN" help:"Countries whose payees pay no fee for PayPal."`
	PayPalCostPercent int64             `name:"payout-paypal-cost-percent" env:"HOLDFAST_PAYOUT_PAYPAL_COST_PERCENT" default:"2" help:"What PayPal takes of the platform on top of each payout, in percent."`
	PayPalBatchSize   int               `name:"payout-paypal-batch-size" env:"HOLDFAST_PAYOUT_PAYPAL_BATCH_SIZE" default:"500" help:"How many payouts go to PayPal in one batch at most, up to 15000."`
	DestinationWait   time.Duration     `name:"payout-destination-wait" env:"HOLDFAST_PAYOUT_DESTINATION_WAIT" default:"72h" help:"How long after a change of destination nothing is paid instantly."`
	RefusalWait       time.Duration     `name:"payout-refusal-wait" env:"HOLDFAST_PAYOUT_REFUSAL_WAIT" default:"168h" help:"The same after an instant payout was refused."`
	LookWithin        time.Duration     `name:"payout-look-within" env:"HOLDFAST_PAYOUT_LOOK_WITHIN" default:"24h" help:"For how long a payout that is under way stays unlooked-at at most."`
	AccountAge        time.Duration     `name:"payout-account-age" env:"HOLDFAST_PAYOUT_ACCOUNT_AGE" default:"168h" help:"After how long the connected account of a payee with money here is looked at again."`
	ApprovalAbove     map[string]string `name:"payout-approval-above" env:"HOLDFAST_PAYOUT_APPROVAL_ABOVE" mapsep:"," help:"A run that pays more than this waits for an operator's approval, by currency; a currency without one needs none."`
	DefaultSchedule   string            `name:"payout-default-schedule" env:"HOLDFAST_PAYOUT_DEFAULT_SCHEDULE" default:"weekly" help:"For payees who chose none: daily, weekly, monthly or quarterly."`
}

// Validate is called by the parser.
func (p Payouts) Validate() error {
	_, err := p.Policy()
	return err
}

// Policy is what the rules of payouts work with.
func (p Payouts) Policy() (payout.Policy, error) {
	policy := payout.Policy{
		Currencies:        map[money.Currency]payout.Limits{},
		InstantFeePercent: p.InstantFeePercent, PayPalFeePercent: p.PayPalFeePercent,
		PayPalFeeWaived: p.PayPalFeeWaived, PayPalCostPercent: p.PayPalCostPercent, PayPalBatchSize: p.PayPalBatchSize,
		DestinationWait: p.DestinationWait, RefusalWait: p.RefusalWait, LookWithin: p.LookWithin, AccountAge: p.AccountAge,
		ApprovalAbove: map[money.Currency]int64{}, DefaultSchedule: payout.Frequency(p.DefaultSchedule),
	}
	if err := cmp.Or(p.checkWaits(), p.checkBatchSize(), p.checkSchedule(), p.checkWaived(), p.readLimits(policy)); err != nil {
		return payout.Policy{}, err
	}
	if err := policy.Validate(); err != nil {
		return payout.Policy{}, fmt.Errorf("HOLDFAST_PAYOUT_*: %w", err)
	}
	return policy, nil
}

func (p Payouts) checkWaits() error {
	for variable, wait := range map[string]time.Duration{
		"HOLDFAST_PAYOUT_DESTINATION_WAIT": p.DestinationWait, "HOLDFAST_PAYOUT_REFUSAL_WAIT": p.RefusalWait,
	} {
		if wait < 0 {
			return fmt.Errorf("%s must not be below zero", variable)
		}
	}
	for variable, age := range map[string]time.Duration{
		"HOLDFAST_PAYOUT_LOOK_WITHIN": p.LookWithin, "HOLDFAST_PAYOUT_ACCOUNT_AGE": p.AccountAge,
	} {
		if age < time.Hour { // the sweep comes every hour
			return fmt.Errorf("%s must be one hour or more", variable)
		}
	}
	return nil
}

func (p Payouts) checkBatchSize() error {
	const most = 15_000 // PayPal takes no more
	if p.PayPalBatchSize < 1 || p.PayPalBatchSize > most {
		return fmt.Errorf("HOLDFAST_PAYOUT_PAYPAL_BATCH_SIZE must be from 1 to %d", most)
	}
	return nil
}

func (p Payouts) checkSchedule() error {
	if !slices.Contains(payout.Frequencies(), payout.Frequency(p.DefaultSchedule)) {
		return errors.New("HOLDFAST_PAYOUT_DEFAULT_SCHEDULE must be daily, weekly, monthly or quarterly")
	}
	return nil
}

func (p Payouts) checkWaived() error {
	for _, country := range p.PayPalFeeWaived {
		if err := customer.CheckCountry("country", country); err != nil {
			return fmt.Errorf("HOLDFAST_PAYOUT_PAYPAL_FEE_WAIVED: each %s", err.Reason)
		}
	}
	return nil
}

// readLimits fills in what the policy says of each currency.
func (p Payouts) readLimits(policy payout.Policy) error {
	type limit = func(*payout.Limits) *int64
	for _, table := range []struct {
		variable string
		sums     map[string]string
		limit    limit
	}{
		{"HOLDFAST_PAYOUT_MINIMUMS", p.Minimums, func(l *payout.Limits) *int64 { return &l.Minimum }},
		{"HOLDFAST_PAYOUT_INSTANT_MINIMUMS", p.InstantMinimums, func(l *payout.Limits) *int64 { return &l.InstantMinimum }},
		{"HOLDFAST_PAYOUT_INSTANT_CAPS", p.InstantCaps, func(l *payout.Limits) *int64 { return &l.InstantCap }},
		{"HOLDFAST_PAYOUT_PAYPAL_CAPS", p.PayPalCaps, func(l *payout.Limits) *int64 { return &l.PayPalCap }},
	} {
		sums, err := readSums(table.variable, table.sums)
		if err != nil {
			return err
		}
		for currency, minor := range sums {
			limits := policy.Currencies[currency]
			*table.limit(&limits) = minor
			policy.Currencies[currency] = limits
		}
	}
	for _, currency := range slices.Sorted(maps.Keys(policy.Currencies)) {
		if policy.Currencies[currency].Minimum == 0 {
			return fmt.Errorf("HOLDFAST_PAYOUT_MINIMUMS has nothing for %s, and the other limits have", string(currency))
		}
	}
	sums, err := readSums("HOLDFAST_PAYOUT_APPROVAL_ABOVE", p.ApprovalAbove)
	maps.Copy(policy.ApprovalAbove, sums)
	return err
}

// readSums reads what a variable says, in minor units.
func readSums(variable string, texts map[string]string) (map[money.Currency]int64, error) {
	sums := map[money.Currency]int64{}
	for code, text := range texts {
		currency, err := money.ParseCurrency(strings.TrimSpace(code))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", variable, err)
		}
		sum, err := money.Parse(strings.TrimSpace(text), currency)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", variable, err)
		}
		if sum.Sign() < 0 || sum.IsZero() && variable != "HOLDFAST_PAYOUT_APPROVAL_ABOVE" {
			return nil, fmt.Errorf("%s must be more than zero for %s", variable, string(currency))
		}
		sums[currency] = sum.Minor
	}
	return sums, nil
}
