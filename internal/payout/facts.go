package payout

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/postgres"
)

// runHour is when the run of a date begins, after the day's own beginning in UTC.
const runHour = 8 * time.Hour

// LoadFacts reads what is known of payees for the run of a date, in two statements whatever their
// number. Who is no payee is left out. What is payable is known through every date that a run can ask
// for; of cutoffs before the newest cycle's it is taken to be nothing.
func LoadFacts(ctx context.Context, db postgres.DB, ids []string, runDate date.Date) (map[string]Facts, error) {
	return loadFacts(ctx, db, ids, runDate.Time().Add(runHour), func(f Frequency) date.Date {
		oldest := newest(f, runDate)[0].CoversThrough
		if friday := newest(Weekly, runDate)[0].CoversThrough; friday.Before(oldest) { // what a daily payee falls back on
			return friday
		}
		return oldest
	})
}

// LoadFactsOf reads what is known of one payee at a moment. What is payable is known through every
// date. Without such a payee it is ErrNoPayee.
func LoadFactsOf(ctx context.Context, db postgres.DB, id string, at time.Time) (Facts, error) {
	all, err := loadFacts(ctx, db, []string{id}, at, func(Frequency) date.Date { return date.New(1, time.January, 1) })
	if err != nil {
		return Facts{}, err
	}
	facts, ok := all[id]
	if !ok {
		return Facts{}, fmt.Errorf("payee %s: %w", id, ErrNoPayee)
	}
	return facts, nil
}

// loadFacts reads what is known of payees. Credits through the date that exact gives for a payee's
// frequency are read as one sum, so that a payee of many years costs no more than a new one.
func loadFacts(ctx context.Context, db postgres.DB, ids []string, at time.Time, exact func(Frequency) date.Date) (map[string]Facts, error) {
	funds, err := loadFunds(ctx, db, ids, exact)
	if err != nil {
		return nil, err
	}
	rows, err := db.Query(ctx, `SELECT p.id, p.schedule, p.currency, p.country, p.rail, coalesce(p.minimum, 0),
			coalesce(p.last_cycle, (p.created_at AT TIME ZONE 'UTC')::date - 1),
			coalesce(p.paypal_email, ''),
			ARRAY(SELECT s.source FROM payee_pauses s WHERE s.payee_id = p.id ORDER BY s.source),
			EXISTS (SELECT FROM payouts o WHERE o.payee_id = p.id AND o.blocks
				AND o.state IN ('planned', 'sending', 'in_transit', 'unclaimed', 'held')),
			p.stripe_account_id IS NOT NULL, a.as_of IS NOT NULL,
			coalesce(a.external_account_id, '') <> '', coalesce(a.external_errored, false),
			coalesce(a.schedule_interval, '') = 'manual', coalesce(a.payouts_enabled, false), coalesce(a.negative, false),
			coalesce(a.currency, ''), coalesce(a.external_currency, ''), coalesce(a.instant_offered, false),
			EXISTS (SELECT FROM payouts o WHERE o.payee_id = p.id AND o.state = 'paid' AND o.method <> 'paypal'
				AND o.stripe_account_id = p.stripe_account_id AND o.destination_id = p.destination_id),
			p.destination_changed_at, coalesce(p.instant_refused_until, '0001-01-01')
		FROM payees p LEFT JOIN payee_accounts a ON a.stripe_account_id = p.stripe_account_id AND a.payee_id = p.id
			AND a.external_account_id = p.destination_id -- else it was seen before it was linked again
		WHERE p.id = ANY ($1)`, ids)
	if err != nil {
		return nil, fmt.Errorf("load what is known of %d payees: %w", len(ids), err)
	}
	all := make(map[string]Facts, len(ids))
	var id string
	f := Facts{}
	d := &f.Stripe
	_, err = pgx.ForEachRow(rows, []any{
		&id, &f.Frequency, &f.Currency, &f.Country, &f.Rail, &f.Minimum.Minor, &f.LastCycle, &f.PayPalEmail, &f.Pauses, &f.OpenPayout,
		&d.Linked, &d.Checked, &d.External, &d.ExternalErrored, &d.ManualSchedule, &d.PayoutsEnabled, &d.BalanceNegative,
		&d.Currency, &d.ExternalCurrency, &d.OffersInstant, &d.PaidBefore, &d.ChangedAt, &d.InstantRefusedUntil,
	}, func() error {
		known := f
		known.AsOf, known.Compliant = at, true // what the provider lacks of an account shows in the destination
		known.Minimum.Currency = f.Currency
		known.Pauses = append([]Source(nil), f.Pauses...)
		known.Payable = funds[id].payable(f.Currency)
		all[id] = known
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load what is known of %d payees: %w", len(ids), err)
	}
	return all, nil
}

// funds are what a payee's balance is made of. Nil is a balance that nothing was posted to.
type funds struct {
	anyDate int64 // all debits, and the releases of claims
	credits []credit
}

// credit is what was earned on a date, or through the first date that is asked for.
type credit struct {
	on     date.Date
	amount int64
}

// loadFunds reads what payees' balances are made of, as ledger.Payable has it for one cutoff. A release
// takes a claim back whenever it is made: it is nothing that was earned on a date.
func loadFunds(ctx context.Context, db postgres.DB, ids []string, exact func(Frequency) date.Date) (map[string]*funds, error) {
	frequencies, since := make([]string, 0, len(Frequencies())), make([]date.Date, 0, len(Frequencies()))
	for _, f := range Frequencies() {
		frequencies, since = append(frequencies, string(f)), append(since, exact(f))
	}
	rows, err := db.Query(ctx, `SELECT p.id, CASE WHEN e.amount < 0 AND e.event <> 'release' THEN greatest(e.dated, x.since) END,
			sum(-e.amount)::bigint
		FROM payees p JOIN unnest($2::text[], $3::date[]) AS x (frequency, since) ON x.frequency = p.schedule
			JOIN ledger_entries e ON e.account = 'payee' AND e.owner = p.id AND e.currency = p.currency
		WHERE p.id = ANY ($1) GROUP BY 1, 2`, ids, frequencies, since)
	if err != nil {
		return nil, fmt.Errorf("load the balances of %d payees: %w", len(ids), err)
	}
	all := make(map[string]*funds, len(ids))
	var (
		id string
		c  credit
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &c.on, &c.amount}, func() error {
		f := all[id]
		if f == nil {
			f = &funds{}
			all[id] = f
		}
		if c.on.IsZero() {
			f.anyDate = c.amount
		} else {
			f.credits = append(f.credits, c)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load the balances of %d payees: %w", len(ids), err)
	}
	return all, nil
}

// payable gives Facts.Payable.
func (f *funds) payable(currency money.Currency) func(date.Date) money.Amount {
	return func(through date.Date) money.Amount {
		total := money.Zero(currency)
		if f == nil {
			return total
		}
		total.Minor = f.anyDate
		for _, c := range f.credits {
			if !c.on.After(through) {
				total.Minor += c.amount
			}
		}
		return total
	}
}
