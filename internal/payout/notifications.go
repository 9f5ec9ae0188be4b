package payout

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/money"
)

// Notifications are changes of the feed that somebody acts on, or wants to be told by the app. Each is
// written once, however often what it tells of is done again: its row in payout_notifications is
// written in the same transaction, and Postgres takes no second one.

// notice is a notification to be. Subject and occasion are what it is once for.
type notice struct {
	payeeID  string // empty when it is about none
	subject  string
	occasion string
	data     any
}

// notify tells the app of what it was not told before, in one type of change. It comes last in a
// transaction, as all that is told.
func (s *Store) notify(ctx context.Context, tx pgx.Tx, kind string, all ...notice) error {
	if len(all) == 0 {
		return nil
	}
	subjects, occasions := make([]string, len(all)), make([]string, len(all))
	for i, n := range all {
		subjects[i], occasions[i] = n.subject, n.occasion
	}
	rows, err := tx.Query(ctx, `INSERT INTO payout_notifications (type, subject, occasion)
		SELECT $1, subject, occasion FROM unnest($2::text[], $3::text[]) AS told (subject, occasion) ORDER BY subject, occasion
		ON CONFLICT DO NOTHING RETURNING subject || '/' || occasion`, kind, subjects, occasions)
	if err != nil {
		return fmt.Errorf("notify of %d %s: %w", len(all), kind, err)
	}
	fresh, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("notify of %d %s: %w", len(all), kind, err)
	}
	isFresh := make(map[string]bool, len(fresh))
	for _, key := range fresh {
		isFresh[key] = true
	}
	var told []feed.Told
	for _, n := range all {
		if isFresh[n.subject+"/"+n.occasion] {
			told = append(told, feed.Told{CustomerID: n.payeeID, Data: n.data})
		}
	}
	if len(told) == 0 {
		return nil
	}
	return s.changes.AppendAll(ctx, tx, kind, told)
}

// EndNotice tells of a payout that was paid, or that came back.
type EndNotice struct {
	PayoutID string       `json:"payout_id"`
	Method   Method       `json:"method"`
	Gross    money.Amount `json:"gross"`
	Fee      money.Amount `json:"fee"`
	Net      money.Amount `json:"net"`
	Code     string       `json:"code,omitempty"` // why it came back
	Sentence string       `json:"sentence"`
}

// notifyEnds tells of those payouts that were paid or came back, of each once.
func (s *Store) notifyEnds(ctx context.Context, tx pgx.Tx, all ...Payout) error {
	var paid, returned []notice
	for _, p := range all {
		told := EndNotice{PayoutID: p.ID, Method: p.Method, Gross: p.Gross, Fee: p.Fee, Net: p.Net}
		if p.State == Paid {
			told.Sentence = fmt.Sprintf("%s was paid.", p.Net)
			paid = append(paid, notice{payeeID: p.PayeeID, subject: p.ID, data: told})
		}
		if p.State == Returned {
			told.Code = p.Failure.Code
			told.Sentence = fmt.Sprintf("%s came back; %s is in the balance again.", p.Net, p.Gross)
			returned = append(returned, notice{payeeID: p.PayeeID, subject: p.ID, data: told})
		}
	}
	if err := s.notify(ctx, tx, feed.PayoutPaid, paid...); err != nil {
		return err
	}
	return s.notify(ctx, tx, feed.PayoutReturned, returned...)
}

// PauseNotice tells that a payee's payouts were paused, or that nothing pauses them any more.
type PauseNotice struct {
	Source   Source `json:"source"` // whose pause it is, or was
	Code     Reason `json:"code,omitempty"`
	Sentence string `json:"sentence"`
}

// notifyPaused tells of a pause, which its id tells from others of the same source.
func (s *Store) notifyPaused(ctx context.Context, tx pgx.Tx, p Pause, id int64) error {
	code := pausedBy(p.Source)
	return s.notify(ctx, tx, feed.PayoutsPaused, notice{
		payeeID: p.PayeeID, subject: p.PayeeID, occasion: strconv.FormatInt(id, 10),
		data: PauseNotice{Source: p.Source, Code: code, Sentence: code.Sentence()},
	})
}

// notifyResumed tells that payouts go on since a pause was lifted, unless there is another.
func (s *Store) notifyResumed(ctx context.Context, tx pgx.Tx, payeeID string, source Source, id int64) error {
	pauses, err := ListPauses(ctx, tx, payeeID)
	if err != nil || len(pauses) > 0 {
		return err
	}
	return s.notify(ctx, tx, feed.PayoutsResumed, notice{
		payeeID: payeeID, subject: payeeID, occasion: strconv.FormatInt(id, 10),
		data: PauseNotice{Source: source, Sentence: "Payouts go on."},
	})
}

// UnpaidNotice tells that a run could not pay a payee, for a reason that does not pass by itself.
type UnpaidNotice struct {
	RunDate  date.Date `json:"run_date"`
	Code     Reason    `json:"code"`
	Sentence string    `json:"sentence"`
}

// needsSomebody says that the payee or the platform has to do something before the payee is paid. Who
// has too little, is not due or waits for a payout under way, has nothing to do; a look at an account is
// ours; and of pauses the app is told when they begin.
func (r Reason) needsSomebody() bool {
	switch r {
	case BecauseNotCompliant, BecauseCurrencyNotPaidOut, BecauseCurrencyMismatch, BecauseNoDestination, BecauseScheduleNotManual,
		BecausePayoutsDisabled, BecauseExternalErrored, BecauseAccountNegative, BecauseEmailNotASCII, BecausePayPalNotInCurrency, BecauseFunding:
		return true
	default:
		return false
	}
}

// notifyUnpaid tells why a run could not pay payees. A reason is told when it is new, not at every run:
// it stands until a run finds what is looked for only when it is over, or pays.
func (s *Store) notifyUnpaid(ctx context.Context, tx pgx.Tx, run date.Date, decisions map[string]Decision) error {
	ids := slices.Sorted(maps.Keys(decisions))
	reached := make([]int, len(ids))
	var all []notice
	for i, id := range ids {
		reason := decisions[id].Skip
		reached[i] = place(reason)
		if reason.needsSomebody() {
			all = append(all, notice{
				payeeID: id, subject: id, occasion: string(reason), data: UnpaidNotice{RunDate: run, Code: reason, Sentence: reason.Sentence()},
			})
		}
	}
	if err := forgetUnpaid(ctx, tx, ids, reached); err != nil {
		return err
	}
	return s.notify(ctx, tx, feed.PayeeCannotBePaid, all...)
}

// place is when a reason is looked for, among the others; no reason comes behind all.
func place(r Reason) int {
	all := Reasons()
	if i := slices.Index(all, r); i >= 0 {
		return i
	}
	return len(all)
}

// forgetUnpaid forgets the reasons that are over: those that are looked for before what each payee's
// decision reached.
func forgetUnpaid(ctx context.Context, tx pgx.Tx, payees []string, reached []int) error {
	var (
		reasons []string
		places  []int
	)
	for i, r := range Reasons() {
		if r.needsSomebody() {
			reasons, places = append(reasons, string(r)), append(places, i)
		}
	}
	_, err := tx.Exec(ctx, `WITH past AS (
			SELECT n.subject, n.occasion
			FROM unnest($2::text[], $3::int[]) AS decided (payee, reached)
				JOIN payout_notifications n ON n.type = $1 AND n.subject = decided.payee
				JOIN unnest($4::text[], $5::int[]) AS looked (reason, place) ON looked.reason = n.occasion AND looked.place < decided.reached
			ORDER BY n.subject, n.occasion FOR UPDATE OF n)
		DELETE FROM payout_notifications n USING past WHERE n.type = $1 AND n.subject = past.subject AND n.occasion = past.occasion`,
		feed.PayeeCannotBePaid, payees, reached, reasons, places)
	if err != nil {
		return fmt.Errorf("forget why %d payees could not be paid: %w", len(payees), err)
	}
	return nil
}

// forgetUnpaidOf forgets why a payee could not be paid: they can, or it is to be seen anew.
func forgetUnpaidOf(ctx context.Context, tx pgx.Tx, payeeID string) error {
	return forgetUnpaid(ctx, tx, []string{payeeID}, []int{place("")})
}

// ApprovalNotice tells that a run waits for a person's approval.
type ApprovalNotice struct {
	RunDate  date.Date     `json:"run_date"`
	Totals   []ApprovalSum `json:"totals"`
	Sentence string        `json:"sentence"`
}

// ApprovalSum is what a run is to pay in one currency.
type ApprovalSum struct {
	Payouts int          `json:"payouts"`
	Gross   money.Amount `json:"gross"`
	Fee     money.Amount `json:"fee"`
	Net     money.Amount `json:"net"`
}

// notifyNeedsApproval tells that a run waits for an approval. It is about no customer.
func (s *Store) notifyNeedsApproval(ctx context.Context, tx pgx.Tx, on date.Date) error {
	totals, err := RunTotals(ctx, tx, on)
	if err != nil {
		return err
	}
	told := ApprovalNotice{RunDate: on}
	var sums []string
	for _, t := range totals {
		if t.State != Planned {
			continue
		}
		sum := ApprovalSum{
			Payouts: t.Payouts, Gross: money.New(t.Gross, t.Currency), Fee: money.New(t.Fee, t.Currency), Net: money.New(t.Net, t.Currency),
		}
		told.Totals, sums = append(told.Totals, sum), append(sums, sum.Gross.String())
	}
	told.Sentence = fmt.Sprintf("The run of %s is to pay %s, and waits for an approval.", on, strings.Join(sums, ", "))
	return s.notify(ctx, tx, feed.RunNeedsApproval, notice{subject: on.String(), data: told})
}
