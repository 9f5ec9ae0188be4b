package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
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

// payee is somebody who is to be paid, on an account at Stripe or to an address at PayPal, and what the
// demo itself expects of the day.
type payee struct {
	id       string
	special  string // what is special; empty for most
	account  simulator.Account
	payPal   string // the address; empty: paid by Stripe
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
	s.chapter("A day of payouts by Stripe and PayPal; an answer of PayPal's is lost, Stripe goes down, and the worker is killed meanwhile")
	s.payday = lastPayday(time.Now())
	s.payees = s.payday.payees()
	stripe := s.fleet.Simulator.Stripe()
	if err := stripe.SetPlatformBalance("usd", platformFunds); err != nil {
		return err
	}
	if err := s.fleet.Simulator.PayPal().SetPayouts(simulator.PayPalPayoutSettings{ProcessingMS: 200}); err != nil {
		return err
	}
	if err := s.enrollAll(ctx); err != nil {
		return err
	}
	lost := simulator.Fault{Kind: simulator.ExecuteThenDrop, Method: http.MethodPost, PathPrefix: payPalPayouts, Times: 1}
	if err := s.fleet.Simulator.SetFaults(lost); err != nil {
		return err
	}
	if err := s.startRun(ctx); err != nil {
		return err
	}
	if err := s.batchWithoutAnswer(ctx); err != nil {
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
	if err := s.payToNewAddress(ctx); err != nil {
		return err
	}
	return s.showPayees(ctx)
}

// payees are everybody who is to be paid: most of them are ordinary, and some are not.
func (d payday) payees() []*payee {
	all := d.specialPayees()
	for i := len(all); i < payeeCount; i++ {
		p := &payee{id: fmt.Sprintf("payee_%03d", i+1)}
		if i%5 == 0 {
			p.payPal = p.id + "@example.com"
		}
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
	locked := &payee{id: "payee_locked", special: "PayPal: the account is locked", payPal: "failed-locked@example.com", unpaid: true}
	locked.earn(d.sale(9_500, -1))
	unclaimed := &payee{id: unclaimedPayee, special: "PayPal: nobody has the address; a new one later", payPal: "unclaimed-typo@example.com"}
	unclaimed.earn(d.sale(9_900, -1))
	return []*payee{refunded, small, indebted, paused, ownSchedule, disabled, closed, bounced, locked, unclaimed}
}

const (
	// bouncedPayee is whose bank takes the payout and then sends it back.
	bouncedPayee = "payee_bounced"
	// unclaimedPayee gave an address at PayPal that nobody has.
	unclaimedPayee = "payee_unclaimed"
	// payPalPayouts is where batches are sent.
	payPalPayouts = "/v1/payments/payouts"
)

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
// taken back since, unless that is too little, and at PayPal less a fee of 2 %, rounded up.
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
	if p.payPal != "" {
		const percent, whole = 2, 100
		total -= (total*percent + whole - 1) / whole
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
	s.sayf("%d payees sign up, %d with an address at PayPal and the others with a connected account at Stripe; the app reports %d sales, refunds and chargebacks: %s.",
		len(s.payees), s.atPayPal(), earnings, time.Since(began).Round(100*time.Millisecond))
	if _, err := s.app.PausePayee(ctx, "payee_paused", "on holiday"); err != nil {
		return err
	}
	err := await(ctx, "every account to be looked at", func() (bool, error) {
		unknown, err := s.count(`SELECT count(*) FROM payees p LEFT JOIN payee_accounts a ON a.payee_id = p.id WHERE a.payee_id IS NULL AND p.rail = 'stripe'`)(ctx)
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
	if p.payPal == "" {
		if p.account, err = s.fleet.Simulator.Stripe().PutAccount(p.account); err != nil {
			return err
		}
	}
	if err := s.putPayee(ctx, p); err != nil {
		return err
	}
	for _, e := range p.earnings {
		if _, _, err := s.app.Earn(ctx, p.id, e); err != nil {
			return fmt.Errorf("report %s of %s: %w", e.ID, p.id, err)
		}
	}
	return nil
}

// putPayee tells Holdfast where somebody is to be paid.
func (s *story) putPayee(ctx context.Context, p *payee) error {
	is := apiclient.PayeeProfile{
		Email: p.id + "@example.com", Country: "US", Currency: "usd", Rail: "stripe", StripeAccountID: p.account.ID, Schedule: "weekly",
	}
	if p.payPal != "" {
		is.Rail, is.PayPalEmail = "paypal", p.payPal
	}
	if _, _, err := s.app.PutPayee(ctx, p.id, is); err != nil {
		return fmt.Errorf("make %s a payee: %w", p.id, err)
	}
	return nil
}

// atPayPal is how many are paid by PayPal.
func (s *story) atPayPal() (n int) {
	for _, p := range s.payees {
		if p.payPal != "" {
			n++
		}
	}
	return n
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

// batchWithoutAnswer waits until a batch was sent again of which PayPal's first answer was lost.
func (s *story) batchWithoutAnswer(ctx context.Context) error {
	posts := func() simulator.Calls { return s.fleet.Simulator.Calls().To(http.MethodPost, payPalPayouts) }
	err := await(ctx, "the batch to be known at PayPal", func() (bool, error) {
		known, err := s.count(`SELECT count(*) FROM paypal_batches WHERE paypal_batch_id IS NOT NULL`)(ctx)
		return known > 0 && len(posts()) > 1, err
	})
	if err != nil {
		return err
	}
	batches := s.fleet.Simulator.PayPal().PayPalBatches()
	s.sayf("PayPal took the batch of %d payouts, and its answer was lost. The same batch was sent again under the same", len(batches[0].Items))
	s.sayf("sender_batch_id: PayPal saw %d requests, said that the last was a duplicate, and has %d batch. It was adopted.", len(posts()), len(batches))
	return nil
}

// payToNewAddress cancels the payout that nobody claims, and pays it again to an address that somebody has.
func (s *story) payToNewAddress(ctx context.Context) error {
	payouts, err := s.app.Payouts(ctx, unclaimedPayee)
	if err != nil {
		return err
	}
	if len(payouts) != 1 || payouts[0].Status != "unclaimed" {
		return fmt.Errorf("demo: the payouts of %s are %+v, and not one that is unclaimed", unclaimedPayee, payouts)
	}
	s.sayf("Nobody claims the payout of %s: the address was wrong. The payee gives another; an operator cancels the", unclaimedPayee)
	s.sayf("payout (starter payouts cancel) and has it made again (starter payouts retry).")
	if _, err := s.operator.CancelPayout(ctx, payouts[0].ID, "the address was wrong"); err != nil {
		return err
	}
	if err := s.awaitPayouts(ctx, "PayPal to give the money back", "unclaimed"); err != nil {
		return err
	}
	for _, p := range s.payees {
		if p.id == unclaimedPayee {
			p.payPal = "right@example.com"
			if err := s.putPayee(ctx, p); err != nil {
				return err
			}
		}
	}
	if _, err := s.operator.RetryPayout(ctx, payouts[0].ID, "to the new address"); err != nil {
		return err
	}
	return s.awaitPayouts(ctx, "the payout to the new address", "planned", "sending", "in_transit", "unclaimed")
}

// outageAmidPayouts takes Stripe away when a part of the money has moved, and then the worker.
func (s *story) outageAmidPayouts(ctx context.Context) error {
	const moved = 30
	err := await(ctx, "some payouts to be on their way", func() (bool, error) {
		n, err := s.count(`SELECT count(*) FROM payouts WHERE state = 'in_transit' AND method <> 'paypal'`)(ctx)
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
	rows, err := s.fleet.Pool.Query(ctx, `SELECT payee_id, provider_payout_id FROM payouts WHERE state = 'in_transit' AND method <> 'paypal'`)
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

// books is what three independent places say that payees have received, in cents.
type books struct{ ledger, api, providers map[string]int64 }

func (s *story) readBooks(ctx context.Context) (b books, err error) {
	b = books{ledger: map[string]int64{}, api: map[string]int64{}, providers: map[string]int64{}}
	// What payouts took from payees, less our fee.
	rows, err := s.fleet.Pool.Query(ctx, `SELECT p.payee_id, sum(e.amount)::bigint FROM ledger_entries e
		JOIN ledger_transactions t ON t.id = e.transaction_id JOIN payouts p ON p.id = t.payout_id
		WHERE e.account IN ('in_payout', 'fees') AND e.event IN ('paid', 'returned', 'item_reversed') GROUP BY p.payee_id`)
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
	atStripe, atPayPal := s.fleet.Simulator.Stripe().MoneyAudit(), s.fleet.Simulator.PayPal().PayPalMoneyAudit()
	for _, p := range s.payees {
		b.providers[p.id] = atStripe.Received[p.id]["usd"] + atPayPal.Received[p.payPal]["USD"]
		payouts, err := s.app.Payouts(ctx, p.id)
		if err != nil {
			return b, err
		}
		for _, made := range payouts {
			if made.Status == "paid" {
				b.api[p.id] += made.Net.Minor
			}
		}
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
	s.sayf("What should have arrived, added up by the demo itself, and what Stripe and PayPal have paid out:")
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
		fmt.Fprintf(table, "   %s\t%s\t%s\t%s\t\n", p.named(), usd(p.expected(s.payday)), usd(b.providers[p.id]), says)
	}
	fmt.Fprintf(table, "   … and %d more\t\t\t\t\n", len(s.payees)-shown)
	fmt.Fprintf(table, "   all %d\t%s\t%s\t\t\n", len(s.payees), usd(total), usd(sumOf(b.providers)))
	if err := table.Flush(); err != nil {
		return err
	}
	s.sayf("The same sum: ledger %s, Stripe and PayPal %s, API %s.", usd(sumOf(b.ledger)), usd(sumOf(b.providers)), usd(sumOf(b.api)))
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
	atProviders := func(b books) map[string]int64 { return b.providers }
	return []expectation{
		{"Postgres", "payouts paid", paid, s.count(`SELECT count(*) FROM payouts WHERE state = 'paid'`)},
		{"Postgres", "payouts that ended without being paid, and were released", 4, s.count(`SELECT count(*) FROM payouts WHERE released`)},
		{"Postgres", "payouts that are not over", 0, s.count(`SELECT count(*) FROM payouts WHERE state <> 'paid' AND NOT released`)},
		{"Postgres", "ledger transactions that do not sum to zero", 0, s.count(`SELECT count(*) FROM (
			SELECT FROM ledger_entries GROUP BY transaction_id HAVING sum(amount) <> 0) unbalanced`)},
		{"Postgres", "violations of the ledger's invariants", 0, s.ledgerViolations},
		{"Stripe, PayPal", "payees paid twice", 0, s.paidTwice},
		{"Stripe, PayPal", "money lost or moved twice", 0, s.moneyProblems},
		{"PayPal", "batches made, one of them again after its answer was lost, one for the new address", 2, func(context.Context) (int, error) {
			return len(s.fleet.Simulator.PayPal().PayPalBatches()), nil
		}},
		differ("expected = providers", func(books) map[string]int64 { return s.expectedCents() }, atProviders),
		differ("ledger = providers", func(b books) map[string]int64 { return b.ledger }, atProviders),
		differ("API = providers", func(b books) map[string]int64 { return b.api }, atProviders),
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

// paidTwice counts the payees with more than one payout that was made at a provider and did not fail.
func (s *story) paidTwice(context.Context) (n int, err error) {
	live := map[string]int{}
	for _, m := range s.fleet.Simulator.Stripe().MoneyAudit().Payouts {
		live[m.PayeeID] += m.LivePayouts
	}
	for _, m := range s.fleet.Simulator.PayPal().PayPalMoneyAudit().Payouts {
		live[m.Receiver] += m.LiveItems
	}
	for _, payouts := range live {
		if payouts > 1 {
			n++
		}
	}
	return n, nil
}

func (s *story) moneyProblems(context.Context) (int, error) {
	atStripe, atPayPal := s.fleet.Simulator.Stripe().MoneyAudit(), s.fleet.Simulator.PayPal().PayPalMoneyAudit()
	problems := slices.Concat(atStripe.Duplicates, atStripe.Mismatched, atStripe.Unbalanced, atPayPal.Duplicates, atPayPal.Mismatched)
	return len(problems) + len(atStripe.Lost) + len(atPayPal.Lost), errors.Join(atStripe.Err(), atPayPal.Err())
}
