package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
)

// usd is the currency of all examples.
const usd money.Currency = "usd"

// runHour is when the run of a date begins.
const runHour = 8 * time.Hour

func workCycles(example row) (row, error) {
	lastRun, err := dateOf(example["last cycle"])
	if err != nil {
		return nil, err
	}
	runDate, err := date.Parse(example["run of"])
	if err != nil {
		return nil, err
	}
	worked := row{}
	var due []string
	for _, c := range payout.DueCycles(payout.Frequency(example["schedule"]), lastRun, runDate) {
		due = append(due, c.Date.String())
		worked["covers through"] = c.CoversThrough.String()
	}
	worked["due"] = strings.Join(due, ", ")
	return worked, nil
}

func workFee(example row) (row, error) {
	gross, err := money.Parse(example["gross"], usd)
	if err != nil {
		return nil, err
	}
	method := payout.Method(example["method"])
	terms := payout.DefaultPolicy().Terms(method, example["country"], gross)
	how := "no fee"
	switch {
	case method == payout.MethodInstant:
		how = fmt.Sprintf("%d × 100 ÷ 103 = %s: %d cents are paid", gross.Minor, quotient(gross.Minor*100, 103), terms.Net.Minor)
	case !terms.Fee.IsZero():
		how = fmt.Sprintf("%d × 2 ÷ 100 = %s: %d cents are the fee", gross.Minor, quotient(gross.Minor*2, 100), terms.Fee.Minor)
	}
	return row{"fee": terms.Fee.Decimal(), "net": terms.Net.Decimal(), "how": how}, nil
}

// quotient is a ÷ b with two decimals, the rest cut off.
func quotient(a, b int64) string { return fmt.Sprintf("%d.%02d", a/b, a%b*100/b) }

func workRun(example row) (row, error) {
	f, err := payee(example["facts"])
	if err != nil {
		return nil, err
	}
	if f.LastCycle, err = date.Parse(example["last cycle"]); err != nil {
		return nil, err
	}
	if f.Payable, err = balance(example["earned"], example["went out"]); err != nil {
		return nil, err
	}
	runDate, err := date.Parse(example["run of"])
	if err != nil {
		return nil, err
	}
	f.Frequency, f.AsOf = payout.Frequency(example["schedule"]), runDate.Time().Add(runHour)
	decision := payout.Decide(f, runDate, payout.DefaultPolicy())
	worked := resultOf(decision)
	if decision.CycleRun.IsZero() {
		decision.CycleRun = f.LastCycle
	}
	worked["last cycle after"] = decision.CycleRun.String()
	return worked, nil
}

func workRequest(example row) (row, error) {
	f, err := payee(example["facts"])
	if err != nil {
		return nil, err
	}
	today := date.New(2026, time.November, 18)
	f.AsOf = today.Time().Add(runHour)
	available, err := money.Parse(example["balance"], usd)
	if err != nil {
		return nil, err
	}
	f.Payable = func(date.Date) money.Amount { return available }
	var amount *money.Amount
	if example["amount"] != "" {
		parsed, err := money.Parse(example["amount"], usd)
		if err != nil {
			return nil, err
		}
		amount = &parsed
	}
	return resultOf(payout.Quote(f, today, amount, payout.DefaultPolicy())), nil
}

func workFunds(example row) (row, error) {
	available, err := money.Parse(example["available"], usd)
	if err != nil {
		return nil, err
	}
	var needs []payout.Need
	for _, text := range list(example["needs"]) {
		words := strings.Fields(text)
		if len(words) != 3 {
			return nil, fmt.Errorf("%q is not a payee, a date and an amount", text)
		}
		due, err := date.Parse(words[1])
		if err != nil {
			return nil, err
		}
		amount, err := money.Parse(words[2], usd)
		if err != nil {
			return nil, err
		}
		needs = append(needs, payout.Need{PayeeID: words[0], DueDate: due, Amount: amount})
	}
	slices.SortFunc(needs, payout.CompareNeeds)
	served, missing, err := payout.WithinFunds(needs, available)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, need := range needs {
		ids = append(ids, need.PayeeID)
	}
	return row{"paid": strings.Join(ids[:served], ", "), "wait": strings.Join(ids[served:], ", "), "missing": missing.Decimal()}, nil
}

// resultOf is a decision as the tables have it, a sum's parts one after the other.
func resultOf(d payout.Decision) row {
	worked := row{"reason": string(d.Skip), "why": d.Skip.Sentence()}
	var gross, fee, net []string
	for _, plan := range d.Payouts {
		gross, fee, net = append(gross, plan.Gross.Decimal()), append(fee, plan.Fee.Decimal()), append(net, plan.Net.Decimal())
		worked["method"], worked["covers through"] = string(plan.Method), plan.PeriodEnd.String()
	}
	worked["gross"], worked["fee"], worked["net"] = strings.Join(gross, " + "), strings.Join(fee, " + "), strings.Join(net, " + ")
	if d.Skip == "" && d.NotInstant != "" {
		worked["why"] = "Not instantly: " + d.NotInstant.Sentence()
	}
	return worked
}

// balance gives what is payable of dated earnings, less what went out.
func balance(earned, out string) (func(date.Date) money.Amount, error) {
	debit := money.Zero(usd)
	if out != "" {
		var err error
		if debit, err = money.Parse(out, usd); err != nil {
			return nil, err
		}
	}
	credits := map[date.Date]int64{}
	for _, text := range list(earned) {
		day, amount, _ := strings.Cut(text, " ")
		on, err := date.Parse(day)
		if err != nil {
			return nil, err
		}
		credit, err := money.Parse(amount, usd)
		if err != nil {
			return nil, err
		}
		credits[on] += credit.Minor
	}
	return func(through date.Date) money.Amount {
		sum := -debit.Minor
		for on, credit := range credits {
			if !on.After(through) {
				sum += credit
			}
		}
		return money.New(sum, usd)
	}, nil
}

// list are the parts of a cell.
func list(cell string) []string {
	if cell == "" {
		return nil
	}
	return strings.Split(cell, ", ")
}

func dateOf(cell string) (date.Date, error) {
	if cell == "" {
		return date.Date{}, nil
	}
	return date.Parse(cell)
}
