package payout

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/postgres"
)

// The life of one payout. Each function works in the caller's transaction, holds the payout meanwhile,
// and does nothing when it is repeated. It should be the last thing that the transaction does, since
// the app is told of it.

// rejectionsInARow are so many that the payee is paused.
const rejectionsInARow = 3

// ErrOtherObject means that another object at the provider is known for the payout already: money may
// have moved twice.
var ErrOtherObject = errors.New("another object is known for it already")

// Failure is why a payout was not paid: codes and ids, never personal data.
type Failure struct {
	Class   string // of the failure, as in RULES.md
	Code    string // the provider's own, or one of ours
	Message string // what it means, for people

	// Ending is the state in which the payout ends; empty is failed.
	Ending State
	// Destination says that the code is one of the destination's: three in a row pause the payee.
	Destination bool
	// InstantRefused says that no instant payout is tried for a while.
	InstantRefused bool
}

// Hindrance is why something that is stored is not sent yet: a code.
type Hindrance string

// The hindrances.
const (
	WaitsForSwitch   Hindrance = "switched_off"     // payouts are switched off
	WaitsForRun      Hindrance = "run_paused"       // an operator paused the run
	WaitsForApproval Hindrance = "run_not_approved" // the run is not to pay yet
	WaitsForPayee    Hindrance = "payee_paused"
)

// Started is what became of a payout that was to be sent.
type Started struct {
	Payout Payout
	// Waits is why it stays planned for now; empty when it was started or ended.
	Waits Hindrance
}

// Sends says that the payout is to be sent now.
func (s Started) Sends() bool { return s.Payout.State == Sending }

// Start takes up a planned payout. What is hindered stays planned, and one for which there is no money
// any more, since it was refunded meanwhile, is canceled and released.
func (s *Store) Start(ctx context.Context, tx pgx.Tx, id string) (Started, error) {
	p, err := lockBoth(ctx, tx, id)
	switch {
	case err != nil || p.State != Planned:
		return Started{Payout: p}, err
	case p.Method.Rail() == RailPayPal:
		return Started{}, p.refuse("be started by itself: it goes with its batch")
	}
	hindrance, err := p.hindrance(ctx, tx)
	if err != nil || hindrance != "" {
		return Started{Payout: p, Waits: hindrance}, err
	}
	covered, err := p.covered(ctx, tx)
	if err != nil {
		return Started{}, err
	}
	if !covered {
		err = s.cancelPlanned(ctx, tx, p, BecauseBalanceNegative, "")
	} else {
		err = s.move(ctx, tx, p, Sending, "", "")
	}
	if err != nil {
		return Started{}, err
	}
	p, err = GetPayout(ctx, tx, id)
	return Started{Payout: p}, err
}

// LockCovered holds a payout and its payee, and says whether the payee's balance still bears what was
// claimed for it: after a refund it may not. It is asked right before the first movement.
func LockCovered(ctx context.Context, tx pgx.Tx, id string) (covered bool, err error) {
	p, err := lockBoth(ctx, tx, id)
	if err != nil {
		return false, err
	}
	return p.covered(ctx, tx)
}

func (p Payout) covered(ctx context.Context, tx pgx.Tx) (bool, error) {
	payable, err := ledger.Payable(ctx, tx, p.PayeeID, p.Gross.Currency, p.PeriodEnd)
	return payable.Sign() >= 0, err
}

// hindrance is why a planned payout cannot be sent yet.
func (p Payout) hindrance(ctx context.Context, db postgres.DB) (Hindrance, error) {
	hindrance, err := MaySend(ctx, db, p.ID)
	if err != nil || hindrance != "" {
		return hindrance, err
	}
	var paused bool
	err = db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM payee_pauses WHERE payee_id = $1)`, p.PayeeID).Scan(&paused)
	switch {
	case err != nil:
		return "", fmt.Errorf("payout %s: see whether the payee is paused: %w", p.ID, err)
	case paused:
		return WaitsForPayee, nil
	}
	return "", nil
}

// MaySend is asked before every transfer, payout and batch, and says what hinders it. Look-ups and
// reversals are never hindered.
func MaySend(ctx context.Context, db postgres.DB, id string) (Hindrance, error) {
	var (
		enabled bool
		run     RunState
	)
	err := db.QueryRow(ctx, `SELECT (SELECT enabled FROM payout_switch), coalesce(r.state, '')
		FROM payouts p LEFT JOIN payout_runs r ON r.date = p.run_date WHERE p.id = $1`, id).Scan(&enabled, &run)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", fmt.Errorf("payout %s: %w", id, ErrNoPayout)
	case err != nil:
		return "", fmt.Errorf("payout %s: see whether it may be sent: %w", id, err)
	}
	return stopOf(enabled, run), nil
}

// stopOf is what stops everything, or everything of a run in a state; what no run planned has none.
func stopOf(enabled bool, run RunState) Hindrance {
	switch {
	case !enabled:
		return WaitsForSwitch
	case run == RunPaused:
		return WaitsForRun
	case run == RunComputing || run == RunAwaitingApproval:
		return WaitsForApproval
	}
	return ""
}

// TransferConfirmed records the transfer that brings a payout's money to the connected account.
func (s *Store) TransferConfirmed(ctx context.Context, tx pgx.Tx, id, transferID string) error {
	p, err := LockPayout(ctx, tx, id)
	switch {
	case err != nil:
		return err
	case p.TransferID == transferID:
		return nil
	case p.TransferID != "":
		return fmt.Errorf("payout %s: transfer %s, beside %s: %w", id, transferID, p.TransferID, ErrOtherObject)
	case p.State != Sending && p.State != Held:
		return p.refuse("be transferred")
	}
	p.TransferID = transferID
	if err := ledger.TransferConfirmed(ctx, tx, p.posted(), today()); err != nil {
		return err
	}
	return p.save(ctx, tx)
}

// PayoutConfirmed records the payout that Stripe made on the connected account, and when it should
// arrive there. Repeated, it takes on another date of arrival.
func (s *Store) PayoutConfirmed(ctx context.Context, tx pgx.Tx, id, providerPayoutID string, arrival date.Date) error {
	p, err := LockPayout(ctx, tx, id)
	switch {
	case err != nil:
		return err
	case p.ProviderPayoutID != "" && p.ProviderPayoutID != providerPayoutID:
		return fmt.Errorf("payout %s: payout %s, beside %s: %w", id, providerPayoutID, p.ProviderPayoutID, ErrOtherObject)
	case p.ProviderPayoutID == "" && p.Ending != "":
		return fmt.Errorf("payout %s: payout %s was made, although it was to end as %s: %w: %w", id, providerPayoutID, p.Ending, ErrOtherObject, ErrState)
	case p.isOnItsWay():
		return p.arrivesOn(ctx, tx, arrival)
	case p.State != Sending && p.State != Held || p.TransferID == "":
		return p.refuse("be in transit")
	}
	p.ProviderPayoutID, p.ArrivalDate = providerPayoutID, arrival
	if err := ledger.PayoutConfirmed(ctx, tx, p.posted(), today()); err != nil {
		return err
	}
	return s.move(ctx, tx, p, InTransit, "", "")
}

// isOnItsWay says that the provider's payout is known already, and that it is not its being found that
// ends a doubt.
func (p Payout) isOnItsWay() bool {
	return p.ProviderPayoutID != "" && p.State != Held || p.Ending != ""
}

func (p Payout) arrivesOn(ctx context.Context, tx pgx.Tx, arrival date.Date) error {
	if p.ArrivalDate == arrival {
		return nil
	}
	p.ArrivalDate = arrival
	return p.save(ctx, tx)
}

// Paid records that the provider says the payee has the money.
func (s *Store) Paid(ctx context.Context, tx pgx.Tx, id string) error {
	p, err := lockBoth(ctx, tx, id)
	switch {
	case err != nil:
		return err
	case p.State == Paid:
		return nil
	case p.Ending != "" || p.ProviderPayoutID == "" || !CanGo(p.State, Paid):
		return p.refuse("be paid")
	}
	if err := ledger.Paid(ctx, tx, p.posted(), today()); err != nil {
		return err
	}
	if err := p.countNoRejections(ctx, tx); err != nil {
		return err
	}
	return s.move(ctx, tx, p, Paid, "", "")
}

// countNoRejections ends the count of a destination that has taken a payout.
func (p Payout) countNoRejections(ctx context.Context, tx pgx.Tx) error {
	statement := `UPDATE payees SET rejections = 0 WHERE id = $1 AND destination_id = $2 AND rejections > 0`
	if p.Method.Rail() == RailPayPal {
		statement = `UPDATE payees SET paypal_rejections = 0 WHERE id = $1 AND paypal_email = $2 AND paypal_rejections > 0`
	}
	_, err := tx.Exec(ctx, statement, p.PayeeID, p.DestinationID)
	if err != nil {
		return fmt.Errorf("payout %s: end the count of rejections: %w", p.ID, err)
	}
	return nil
}

// PayoutFailed records that the money is not going to reach the payee and lies on the connected
// account: the payout was refused, failed or canceled there, or came back after it was paid. Its state
// changes when the transfer's reversal is confirmed, and the money is not released before.
func (s *Store) PayoutFailed(ctx context.Context, tx pgx.Tx, id string, f Failure) error {
	p, err := lockBoth(ctx, tx, id)
	switch {
	case err != nil:
		return err
	case p.Ending != "" || p.State.Releases():
		return nil
	case p.TransferID == "" || p.State == Planned:
		return p.refuse("fail before anything was transferred")
	}
	p.Ending, p.Failure = f.ending(p.State), f.stored()
	// What was paid stays so in the ledger until the money is back, or held.
	if p.ProviderPayoutID != "" && p.State != Paid {
		if err := ledger.PayoutFailed(ctx, tx, p.posted(), today()); err != nil {
			return err
		}
	}
	if err := p.save(ctx, tx); err != nil {
		return err
	}
	return s.learn(ctx, tx, p, f)
}

// Returned is PayoutFailed for what the bank sent back.
func (s *Store) Returned(ctx context.Context, tx pgx.Tx, id string, f Failure) error {
	f.Ending = Returned
	return s.PayoutFailed(ctx, tx, id, f)
}

// ending is where a payout that failed in a state ends.
func (f Failure) ending(from State) State {
	switch {
	case from == Paid:
		return Returned
	case f.Ending == Canceled, f.Ending == Returned && CanGo(from, Returned):
		return f.Ending
	default:
		return Failed
	}
}

// stored is what a payout keeps of a failure.
func (f Failure) stored() Failure { return Failure{Class: f.Class, Code: f.Code, Message: f.Message} }

// learn draws the consequences of a failure for the payee, whom the caller holds: what they must do is
// noted, an instant payout is not tried again for a while, and a destination that refuses one payout
// after the other is not paid any more.
func (s *Store) learn(ctx context.Context, tx pgx.Tx, p Payout, f Failure) error {
	var after aftermath
	if err := s.draw(ctx, tx, p, f, &after); err != nil {
		return err
	}
	return s.say(ctx, tx, &after)
}

// draw is learn for one of many: what is to be said of it is said later.
func (s *Store) draw(ctx context.Context, tx pgx.Tx, p Payout, f Failure, after *aftermath) error {
	after.said = append(after.said, p.noteOf(f))
	if f.InstantRefused {
		_, err := tx.Exec(ctx, `UPDATE payees SET instant_refused_until = now() + $2::interval WHERE id = $1`, p.PayeeID, s.policy.RefusalWait)
		if err != nil {
			return fmt.Errorf("payout %s: note that instant payouts are refused: %w", p.ID, err)
		}
	}
	if !f.Destination {
		return nil
	}
	rejections, err := p.countRejection(ctx, tx)
	if err == nil && rejections >= rejectionsInARow {
		after.pauses = append(after.pauses, Pause{
			PayeeID: p.PayeeID, Source: SourceSystem, Reason: PauseRejections,
			Note: fmt.Sprintf("%d payouts in a row were refused, the last with %s", rejections, f.Code),
		})
	}
	return err
}

// countRejection counts a rejection against the destination and gives how many there are in a row; none
// when the payee has another destination by now.
func (p Payout) countRejection(ctx context.Context, tx pgx.Tx) (inARow int, err error) {
	statement := `UPDATE payees SET rejections = rejections + 1 WHERE id = $1 AND destination_id = $2 RETURNING rejections`
	if p.Method.Rail() == RailPayPal {
		statement = `UPDATE payees SET paypal_rejections = paypal_rejections + 1 WHERE id = $1 AND paypal_email = $2 RETURNING paypal_rejections`
	}
	err = tx.QueryRow(ctx, statement, p.PayeeID, p.DestinationID).Scan(&inARow)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("payout %s: count the rejection: %w", p.ID, err)
	}
	return inARow, nil
}

func (p Payout) noteOf(f Failure) Said {
	code, detail := "payout_failed", f.Message
	switch {
	case f.InstantRefused:
		code, detail = string(BecauseInstantRefused), BecauseInstantRefused.Sentence()
	case f.Destination:
		code = "destination_refused"
	case Reason(f.Code).Sentence() != "": // it is ours
		code, detail = f.Code, Reason(f.Code).Sentence()
	}
	return Said{PayeeID: p.PayeeID, Code: code, Detail: detail, Date: today()}
}

// ReversalConfirmed records that the transfer was reversed and how much of it the platform has got
// back. The payout ends as its failure said, and the money is the payee's again.
func (s *Store) ReversalConfirmed(ctx context.Context, tx pgx.Tx, id, reversalID string, received money.Amount) error {
	p, err := LockPayout(ctx, tx, id)
	switch {
	case err != nil:
		return err
	case p.ReversalID != "" && p.ReversalID != reversalID:
		return fmt.Errorf("payout %s: reversal %s, beside %s: %w", id, reversalID, p.ReversalID, ErrOtherObject)
	case p.ReversalID != "":
		return nil
	case p.Ending == "" || p.State.Releases():
		return p.refuse("be reversed: nothing failed")
	}
	if p.State == Paid {
		if err := ledger.Returned(ctx, tx, p.posted(), today()); err != nil {
			return err
		}
	}
	if _, err := ledger.ReversalConfirmed(ctx, tx, p.posted(), received, today()); err != nil {
		return err
	}
	p.ReversalID = reversalID
	return s.move(ctx, tx, p, p.Ending, p.Failure.Code, "")
}

// TransferRefused records that nothing was transferred, for good: the payout ends, and the money is
// the payee's again.
func (s *Store) TransferRefused(ctx context.Context, tx pgx.Tx, id string, f Failure) error {
	p, err := lockBoth(ctx, tx, id)
	switch {
	case err != nil:
		return err
	case p.State.Releases():
		return nil
	case p.TransferID != "" || p.State != Sending && p.State != Held:
		return p.refuse("be refused its transfer")
	}
	if _, err := ledger.Release(ctx, tx, p.posted(), today()); err != nil {
		return err
	}
	to := Failed
	if f.Ending == Canceled {
		to = Canceled
	}
	p.Failure = f.stored()
	if err := s.move(ctx, tx, p, to, f.Code, ""); err != nil {
		return err
	}
	return s.learn(ctx, tx, p, f)
}

// Hold leaves a payout to a person, since what became of it is not known or its money does not come
// back. Nothing is released. What was paid is held only when it came back and cannot be reversed.
func (s *Store) Hold(ctx context.Context, tx pgx.Tx, id, why string) error {
	p, err := LockPayout(ctx, tx, id)
	switch {
	case err != nil:
		return err
	case p.State == Held:
		return nil
	case !CanGo(p.State, Held) || p.State == Paid && p.Ending == "":
		return p.refuse("be held")
	}
	if p.State == Paid {
		if err := ledger.Returned(ctx, tx, p.posted(), today()); err != nil {
			return err
		}
	}
	return s.move(ctx, tx, p, Held, why, "")
}

// MarkChecked records that the payout was looked up at the provider.
func MarkChecked(ctx context.Context, db postgres.DB, id string) error {
	if _, err := db.Exec(ctx, `UPDATE payouts SET checked_at = now() WHERE id = $1`, id); err != nil {
		return fmt.Errorf("payout %s: record that it was looked up: %w", id, err)
	}
	return nil
}

// CancelPlanned cancels a payout of which nothing was sent, and releases its money. The payee is told
// why by a note.
func (s *Store) CancelPlanned(ctx context.Context, tx pgx.Tx, id string, because Reason) error {
	p, err := LockPayout(ctx, tx, id)
	switch {
	case err != nil:
		return err
	case p.State == Canceled:
		return nil
	case p.State != Planned:
		return p.refuse("be canceled")
	}
	return s.cancelPlanned(ctx, tx, p, because, "")
}

func (s *Store) cancelPlanned(ctx context.Context, tx pgx.Tx, p Payout, because Reason, actor string) error {
	if _, err := ledger.Release(ctx, tx, p.posted(), today()); err != nil {
		return err
	}
	if err := s.Note(ctx, tx, p.PayeeID, today(), string(because), because.Sentence()); err != nil {
		return err
	}
	return s.move(ctx, tx, p, Canceled, string(because), actor)
}
