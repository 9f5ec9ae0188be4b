package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast/holdfast/internal/apiclient"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/simulator"
)

// payeeCount is how many payees the day has, and platformFunds what the platform has to pay them.
const (
	payeeCount    = 200
	platformFunds = 5_000_000 // cents
	minimum       = 1_000     // cents; what fleets have by default
)

// payee is somebody who is to be paid, and what the demo itself expects of the day.
type payee struct {
	id       string
	special  string // what is special; empty for most
	account  simulator.Account
	earnings []apiclient.Earning
	// unpaid says that nothing is to arrive whatever was earned.
	unpaid bool
}

// payday is a Friday whose payouts are made, and what was earned through its cutoff.
type payday struct{ date, cutoff date.Date }

// lastPayday is the last Friday until now. It pays what was earned until the Friday before.
func lastPayday(now time.Time) payday {
	const week = 7
	today := date.Of(now)
	friday := today.AddDays(-(int(today.Weekday()-time.Friday+week) % week))
	return payday{date: friday, cutoff: friday.AddDays(-week)}
}

// paidOut is a day of payouts.
func (s *story) paidOut(ctx context.Context) error {
	s.chapter("A day of payouts; Stripe goes down in the middle, and the worker is killed meanwhile")
	s.payday = lastPayday(time.Now())
	s.payees = s.payday.payees()
	stripe := s.fleet.Simulator.Stripe()
	if err := stripe.SetPlatformBalance("usd", platformFunds); err != nil {
		return err
	}
	if err := s.enrollAll(ctx); err != nil {
		return err
	}
	if err := s.startRun(ctx); err != nil {
		return err
	}
	if err := s.outageAmidPayouts(ctx); err != nil {
		return err
	}
	if err := s.awaitPayouts(ctx, "every payout to be on its way", "planned", "sending"); err != nil {
		return err
	}
	if err := s.banksAnswer(ctx); err != nil {
		return err
	}
	if err := s.awaitPayouts(ctx, "every payout to end", "planned", "sending", "in_transit"); err != nil {
		return err
	}
	return s.showPayees(ctx)
}

// payees are everybody who is to be paid: most of them are ordinary, and some are not.
func (d payday) payees() []*payee {
	all := d.specialPayees()
	for i := len(all); i < payeeCount; i++ {
		p := &payee{id: fmt.Sprintf("payee_%03d", i+1)}
		p.earn(d.sale(2_000+int64(i)*137, -1), d.sale(1_234+int64(i), -3))
		if i%3 == 0 {
			p.earn(d.sale(777, 2)) // after the cutoff: next Friday pays it
		}
		if i%7 == 0 {
			p.earn(d.refund(555, 3)) // after the cutoff: it counts at once
		}
		all = append(all, p)
	}
	return all
}

func (d payday) specialPayees() []*payee {
	refunded := &payee{id: "payee_refunded", special: "refunded after the cutoff"}
	refunded.earn(d.sale(10_000, -1), d.refund(2_501, 4))
	small := &payee{id: "payee_small", special: "below the minimum of 10.00"}
	small.earn(d.sale(999, -1))
	indebted := &payee{id: "payee_indebted", special: "a chargeback above all earnings"}
	indebted.earn(d.sale(5_000, -1), d.chargeback(8_000, 1))
	paused := &payee{id: "payee_paused", special: "paused by the payee", unpaid: true}
	paused.earn(d.sale(6_000, -1))
	ownSchedule := &payee{
		id: "payee_automatic", special: "account pays out by its own schedule", unpaid: true,
		account: simulator.Account{PayoutSchedule: "daily"},
	}
	ownSchedule.earn(d.sale(7_000, -1))
	disabled := &payee{
		id: "payee_disabled", special: "Stripe wants documents first", unpaid: true,
		account: simulator.Account{PayoutsDisabled: true},
	}
	disabled.earn(d.sale(7_500, -1))
	closed := &payee{
		id: "payee_closed", special: "bank account closed: refused at once", unpaid: true,
		account: simulator.Account{ExternalAccounts: []simulator.ExternalAccount{{Refusal: "account_closed"}}},
	}
	closed.earn(d.sale(8_000, -1))
	bounced := &payee{id: bouncedPayee, special: "the bank sends it back", unpaid: true}
	bounced.earn(d.sale(9_000, -1))
	return []*payee{refunded, small, indebted, paused, ownSchedule, disabled, closed, bounced}
}

// bouncedPayee is whose bank takes the payout and then sends it back.
const bouncedPayee = "payee_bounced"

func (p *payee) earn(earnings ...apiclient.Earning) {
	for i, e := range earnings {
		e.ID = fmt.Sprintf("%s_%d", e.Kind, len(p.earnings)+i+1)
		earnings[i] = e
	}
	p.earnings = append(p.earnings, earnings...)
}

// sale is one so many days after the cutoff, or before it.
func (d payday) sale(cents int64, days int) apiclient.Earning { return d.earning("sale", cents, days) }

func (d payday) refund(cents int64, days int) apiclient.Earning {
	return d.earning("refund", cents, days)
}

func (d payday) chargeback(cents int64, days int) apiclient.Earning {
	return d.earning("chargeback", cents, days)
}

func (d payday) earning(kind string, cents int64, days int) apiclient.Earning {
	const noon = 12 * time.Hour
	return apiclient.Earning{Kind: kind, Amount: cents, Currency: "usd", OccurredAt: d.cutoff.AddDays(days).Time().Add(noon)}
}

// expected is what is to arrive, added up without Holdfast: sales through the cutoff, less all that was
// taken back since, unless that is too little.
func (p *payee) expected(d payday) int64 {
	total := int64(0)
	for _, e := range p.earnings {
		switch {
		case e.Kind != "sale":
			total -= e.Amount
		case !date.Of(e.OccurredAt).After(d.cutoff):
			total += e.Amount
		}
	}
	if p.unpaid || total < minimum {
		return 0
	}
	return total
}

// enrollAll signs everybody up, as an app does, and waits until all is known of them.
func (s *story) enrollAll(ctx context.Context) error {
	began := time.Now()
	const atATime = 8
	group, enrolling := errgroup.WithContext(ctx)
	group.SetLimit(atATime)
	earnings := 0
	for _, p := range s.payees {
		earnings += len(p.earnings)
		group.Go(func() error { return s.enroll(enrolling, p) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, p := range s.payees {
		s.customers = append(s.customers, p.id)
	}
	s.sayf("%d payees sign up, each with a connected account at Stripe; the app reports %d sales, refunds and chargebacks: %s.",
		len(s.payees), earnings, time.Since(began).Round(100*time.Millisecond))
	if _, err := s.app.PausePayee(ctx, "payee_paused", "on holiday"); err != nil {
		return err
	}
	err := await(ctx, "every account to be looked at", func() (bool, error) {
		unknown, err := s.count(`SELECT count(*) FROM payees p LEFT JOIN payee_accounts a ON a.payee_id = p.id WHERE a.payee_id IS NULL`)(ctx)
		return unknown == 0, err
	})
	if err != nil {
		return err
	}
	s.sayf("Holdfast has looked at every account after %s: whoever cannot be paid is known before the run.", time.Since(began).Round(100*time.Millisecond))
	// A payee is paid the cycles since the day of joining. For the story they joined before this one.
	_, err = s.fleet.Pool.Exec(ctx, `UPDATE payees SET last_cycle = $1`, s.payday.cutoff)
	return err
}

func (s *story) enroll(ctx context.Context, p *payee) (err error) {
	if _, _, err := s.app.CreateCustomer(ctx, profile(p.id)); err != nil {
		return fmt.Errorf("sign %s up: %w", p.id, err)
	}
	if p.account, err = s.fleet.Simulator.Stripe().PutAccount(p.account); err != nil {
		return err
	}
	_, _, err = s.app.PutPayee(ctx, p.id, apiclient.PayeeProfile{
		Email: p.id + "@example.com", Country: "US", Currency: "usd", Rail: "stripe", StripeAccountID: p.account.ID, Schedule: "weekly",
	})
	if err != nil {
		return fmt.Errorf("make %s a payee: %w", p.id, err)
	}
	for _, e := range p.earnings {
		if _, _, err := s.app.Earn(ctx, p.id, e); err != nil {
			return fmt.Errorf("report %s of %s: %w", e.ID, p.id, err)
		}
	}
	return nil
}

// startRun starts the run twice, as a schedule and an impatient operator do.
func (s *story) startRun(ctx context.Context) error {
	on := s.payday.date.String()
	created, _, err := s.operator.StartPayoutRun(ctx, on)
	if err != nil {
		return err
	}
	again, _, err := s.operator.StartPayoutRun(ctx, on)
	if err != nil {
		return err
	}
	if !created || again {
		return fmt.Errorf("demo: the run of %s was started %t, and again %t", on, created, again)
	}
	s.sayf("The payouts of Friday %s are started (starter payouts run %s), and once more by mistake: it stays one run.", on, on)
	return nil
}

// outageAmidPayouts takes Stripe away when a part of the money has moved, and then the worker.
func (s *story) outageAmidPayouts(ctx context.Context) error {
	const moved = 30
	err := await(ctx, "some payouts to be on their way", func() (bool, error) {
		n, err := s.count(`SELECT count(*) FROM payouts WHERE state = 'in_transit'`)(ctx)
		return n >= moved, err
	})
	if err != nil {
		return err
	}
	if err := s.fleet.Simulator.SetFaults(simulator.Fault{Kind: simulator.Refuse, Provider: "stripe"}); err != nil {
		return err
	}
	if err := s.awaitProvider(ctx, "down"); err != nil {
		return err
	}
	if err := s.showRun(ctx, "Stripe is down:"); err != nil {
		return err
	}
	if err := s.fleet.KillWorkers(); err != nil {
		return err
	}
	if err := s.fleet.StartWorker(ctx); err != nil {
		return err
	}
	if err := s.showRun(ctx, "The worker was killed, a new one runs:"); err != nil {
		return err
	}
	s.sayf("Stripe comes back.")
	return s.fleet.Simulator.ClearFaults()
}

// awaitPayouts waits until no payout is in any of these states, and tells now and then how far they are.
func (s *story) awaitPayouts(ctx context.Context, what string, none ...string) error {
	const tellEvery = 5 * time.Second
	began := time.Now()
	told := began
	return await(ctx, what, func() (bool, error) {
		var open int
		err := s.fleet.Pool.QueryRow(ctx, `SELECT count(*) FROM payouts WHERE state = ANY ($1)`, none).Scan(&open)
		if err != nil || open > 0 && time.Since(told) < tellEvery {
			return false, err
		}
		told = time.Now()
		return open == 0, s.showRun(ctx, fmt.Sprintf("After %s:", time.Since(began).Round(100*time.Millisecond)))
	})
}

// showRun tells how many of the run's payouts are in which state, and what they come to.
func (s *story) showRun(ctx context.Context, when string) error {
	run, err := s.operator.PayoutRun(ctx, s.payday.date.String())
	if err != nil {
		return err
	}
	parts := make([]string, 0, len(run.Totals))
	for _, t := range run.Totals {
		parts = append(parts, fmt.Sprintf("%d %s (%s)", t.Count, strings.ReplaceAll(t.Status, "_", " "), t.Net))
	}
	s.sayf("  %-40s %s", when, strings.Join(parts, ", "))
	return nil
}

// banksAnswer lets what is on its way arrive, as banks do in a day or two, and one send it back.
func (s *story) banksAnswer(ctx context.Context) error {
	s.sayf("The banks book the payouts; the one of %s sends it back. Stripe tells by webhook.", bouncedPayee)
	stripe := s.fleet.Simulator.Stripe()
	rows, err := s.fleet.Pool.Query(ctx, `SELECT payee_id, provider_payout_id FROM payouts WHERE state = 'in_transit'`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var payeeID, id string
		if err := rows.Scan(&payeeID, &id); err != nil {
			return err
		}
		if payeeID == bouncedPayee {
			_, err = stripe.FailPayout(id, "no_account")
		} else {
			_, err = stripe.SettlePayout(id)
		}
		if err != nil {
			return err
		}
	}
	return rows.Err()
}

// books is what three independent places say was paid, by payee, in cents.
type books struct{ ledger, api, stripe map[string]int64 }

func (s *story) readBooks(ctx context.Context) (b books, err error) {
	b = books{ledger: map[string]int64{}, api: map[string]int64{}, stripe: map[string]int64{}}
	rows, err := s.fleet.Pool.Query(ctx, `SELECT owner, sum(amount)::bigint FROM ledger_entries
		WHERE account = 'in_payout' AND event IN ('paid', 'returned') GROUP BY owner`)
	if err != nil {
		return b, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var cents int64
		if err := rows.Scan(&id, &cents); err != nil {
			return b, err
		}
		b.ledger[id] = cents
	}
	if err := rows.Err(); err != nil {
		return b, err
	}
	for id, received := range s.fleet.Simulator.Stripe().MoneyAudit().Received {
		b.stripe[id] = received["usd"]
	}
	for _, p := range s.payees {
		shown, err := s.app.Payee(ctx, p.id)
		if err != nil {
			return b, err
		}
		b.api[p.id] = shown.Balance.Paid.Minor
	}
	return b, nil
}

// showPayees is the table of those who are special and of a few who are not, and the sums of all.
func (s *story) showPayees(ctx context.Context) error {
	b, err := s.readBooks(ctx)
	if err != nil {
		return err
	}
	s.sayf("")
	s.sayf("What should have arrived, added up by the demo itself, and what Stripe has paid out:")
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "   PAYEE\tEXPECTED\tRECEIVED\tWHAT HOLDFAST SAYS\t")
	const ordinary = 3
	total := int64(0)
	shown := len(s.payday.specialPayees()) + ordinary
	for i, p := range s.payees {
		total += p.expected(s.payday)
		if i >= shown {
			continue
		}
		says, err := s.saysOf(ctx, p.id)
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "   %s\t%s\t%s\t%s\t\n", p.named(), usd(p.expected(s.payday)), usd(b.stripe[p.id]), says)
	}
	fmt.Fprintf(table, "   … and %d more\t\t\t\t\n", len(s.payees)-shown)
	fmt.Fprintf(table, "   all %d\t%s\t%s\t\t\n", len(s.payees), usd(total), usd(sumOf(b.stripe)))
	if err := table.Flush(); err != nil {
		return err
	}
	s.sayf("The same sum: ledger %s, Stripe %s, API %s.", usd(sumOf(b.ledger)), usd(sumOf(b.stripe)), usd(sumOf(b.api)))
	return nil
}

func (p *payee) named() string {
	if p.special == "" {
		return p.id
	}
	return p.id + " (" + p.special + ")"
}

// saysOf is how the payee's payout ended, or why there was none.
func (s *story) saysOf(ctx context.Context, id string) (string, error) {
	payouts, err := s.app.Payouts(ctx, id)
	if err != nil {
		return "", err
	}
	if len(payouts) > 0 {
		last := payouts[0]
		if last.Failure != nil {
			return last.Status + ": " + last.Failure.Code, nil
		}
		return last.Status, nil
	}
	shown, err := s.app.Payee(ctx, id)
	if err != nil {
		return "", err
	}
	if len(shown.Notes) == 0 {
		return "", errors.New("demo: nothing says why " + id + " was not paid")
	}
	return "not paid: " + shown.Notes[0].Code, nil
}

func usd(cents int64) string { return money.New(cents, "usd").String() }

func sumOf(cents map[string]int64) (total int64) {
	for _, c := range cents {
		total += c
	}
	return total
}

// differing is how many cents two books differ, payee by payee.
func differing(one, other map[string]int64) (cents int) {
	ids := slices.AppendSeq(slices.Collect(maps.Keys(one)), maps.Keys(other))
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		difference := one[id] - other[id]
		cents += int(max(difference, -difference))
	}
	return cents
}

// payoutExpectations are what was promised of the day of payouts.
func (s *story) payoutExpectations() []expectation {
	paid := 0
	for _, p := range s.payees {
		if p.expected(s.payday) > 0 {
			paid++
		}
	}
	differ := func(what string, one, other func(books) map[string]int64) expectation {
		return expectation{what, "cents of payouts that differ", 0, func(ctx context.Context) (int, error) {
			b, err := s.readBooks(ctx)
			return differing(one(b), other(b)), err
		}}
	}
	atStripe := func(b books) map[string]int64 { return b.stripe }
	return []expectation{
		{"Postgres", "payouts paid", paid, s.count(`SELECT count(*) FROM payouts WHERE state = 'paid'`)},
		{"Postgres", "payouts that ended without being paid, and were released", 2, s.count(`SELECT count(*) FROM payouts WHERE released`)},
		{"Postgres", "payouts that are not over", 0, s.count(`SELECT count(*) FROM payouts WHERE state <> 'paid' AND NOT released`)},
		{"Postgres", "ledger transactions that do not sum to zero", 0, s.count(`SELECT count(*) FROM (
			SELECT FROM ledger_entries GROUP BY transaction_id HAVING sum(amount) <> 0) unbalanced`)},
		{"Postgres", "violations of the ledger's invariants", 0, s.ledgerViolations},
		{"Stripe", "payees paid twice", 0, s.paidTwice},
		{"Stripe", "money lost or moved twice", 0, s.moneyProblems},
		differ("expected = Stripe", func(books) map[string]int64 { return s.expectedCents() }, atStripe),
		differ("ledger = Stripe", func(b books) map[string]int64 { return b.ledger }, atStripe),
		differ("API = Stripe", func(b books) map[string]int64 { return b.api }, atStripe),
	}
}

func (s *story) expectedCents() map[string]int64 {
	expected := map[string]int64{}
	for _, p := range s.payees {
		expected[p.id] = p.expected(s.payday)
	}
	return expected
}

func (s *story) ledgerViolations(ctx context.Context) (n int, err error) {
	report, err := ledger.Verify(ctx, s.fleet.Pool)
	for _, c := range report.Checks {
		n += int(c.Violations)
	}
	return n, err
}

// paidTwice counts the payees with more than one payout that Stripe made and that did not fail.
func (s *story) paidTwice(context.Context) (n int, err error) {
	live := map[string]int{}
	for _, m := range s.fleet.Simulator.Stripe().MoneyAudit().Payouts {
		live[m.PayeeID] += m.LivePayouts
	}
	for _, payouts := range live {
		if payouts > 1 {
			n++
		}
	}
	return n, nil
}

func (s *story) moneyProblems(context.Context) (int, error) {
	audit := s.fleet.Simulator.Stripe().MoneyAudit()
	return len(audit.Duplicates) + len(audit.Mismatched) + len(audit.Unbalanced) + len(audit.Lost), audit.Err()
}
