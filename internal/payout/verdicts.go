package payout

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
)

// What operators decide about single payouts. Each is kept with who decided and why; what is repeated
// changes nothing and is not kept again.

// Reasons of the states that a person's decisions bring. Their notes are for operators alone.
const (
	canceledByOperator = "canceled_by_operator"
	resolved           = "resolved"
)

// resolvedByForce is what an operator did who ended a payout although the provider does not bear it out.
const resolvedByForce = "resolve_payout_by_force"

// Retry makes a payout that ended without being paid again, as a new one: for no more than it was for,
// and with no minimum. Repeated, it gives the one that it made. It is a SkipError when the payee cannot
// be paid now.
func (s *Store) Retry(ctx context.Context, tx pgx.Tx, id, actor, note string) (again Payout, created bool, err error) {
	p, err := lockBoth(ctx, tx, id)
	if err != nil {
		return Payout{}, false, err
	}
	if !p.State.Releases() {
		return Payout{}, false, p.refuse("be made again")
	}
	made, err := collectPayouts(ctx, tx, `retry_of = $1`, id)
	if err != nil {
		return Payout{}, false, fmt.Errorf("payout %s: look for the one that makes it again: %w", id, err)
	}
	if len(made) > 0 {
		return made[0], false, nil
	}
	if again, err = s.makeAgain(ctx, tx, p, actor); err != nil {
		return Payout{}, false, err
	}
	if err := recordAct(ctx, tx, actor, "retry_payout", id, note); err != nil {
		return Payout{}, false, err
	}
	again, err = GetPayout(ctx, tx, again.ID)
	return again, true, err
}

func (s *Store) makeAgain(ctx context.Context, tx pgx.Tx, p Payout, actor string) (Payout, error) {
	facts, err := LoadFactsOf(ctx, tx, p.PayeeID, time.Now())
	if err != nil {
		return Payout{}, err
	}
	decision := Retry(facts, p.Plan, s.policy)
	if decision.Skip != "" {
		return Payout{}, fmt.Errorf("payout %s: make it again: %w", p.ID, &SkipError{decision.Skip})
	}
	again := Payout{
		Plan: decision.Payouts[0], PayeeID: p.PayeeID, Kind: Retried, RunDate: p.RunDate, RetryOf: p.ID,
		Attempt: p.Attempt + 1, State: Planned, Epoch: 1, Actor: actor,
	}.identified()
	return again, s.sendOff(ctx, tx, []Payout{again})
}

// Cancel ends a payout that has not gone to the bank. What is planned ends at once. When the transfer
// is known, the money has to come back first: the payout ends as canceled with the reversal. What waits
// at PayPal to be claimed ends as canceled once PayPal has canceled it. The caller sees to it that
// nothing is being sent meanwhile.
func (s *Store) Cancel(ctx context.Context, tx pgx.Tx, id, actor, note string) error {
	p, err := lockBoth(ctx, tx, id)
	switch {
	case err != nil:
		return err
	case p.State == Canceled || p.Ending == Canceled:
		return nil
	}
	mayCancel, err := p.mayCancel(ctx, tx)
	switch {
	case err != nil:
		return err
	case !mayCancel:
		return p.refuse("be canceled")
	}
	if err := recordAct(ctx, tx, actor, "cancel_payout", id, note); err != nil {
		return err
	}
	if p.State == Unclaimed { // it is still PayPal that has to cancel it
		p.Ending = Canceled
		return p.save(ctx, tx)
	}
	p.Failure = canceledByPerson()
	if p.TransferID != "" {
		p.Ending = Canceled
		return p.save(ctx, tx)
	}
	if _, err := ledger.Release(ctx, tx, p.posted(), today()); err != nil {
		return err
	}
	return s.move(ctx, tx, p, Canceled, canceledByOperator, actor)
}

// mayCancel says whether a payout's money can still be kept back. At PayPal it is with its batch until
// nobody claims it.
func (p Payout) mayCancel(ctx context.Context, tx pgx.Tx) (bool, error) {
	switch {
	case p.Ending != "":
		return false, nil
	case p.Method.Rail() == RailPayPal && p.State == Sending:
		// A batch is frozen by who holds its payouts, so this one stays open meanwhile.
		b, err := GetBatch(ctx, tx, p.BatchID)
		return b.State == BatchOpen, err
	case p.Method.Rail() == RailPayPal && p.State == Unclaimed:
		return true, nil
	}
	return (p.State == Planned || p.State == Sending) && p.ProviderPayoutID == "", nil
}

func canceledByPerson() Failure {
	return Failure{Class: "operator", Code: canceledByOperator, Message: "The payout was canceled by an operator."}
}

// Resolution is what a person found out of a held payout.
type Resolution struct {
	Outcome State // Paid or Failed
	// TransferID and ProviderPayoutID are what paid it at the provider, the latter an item at PayPal; those
	// that are known already may be left out.
	TransferID       string
	ProviderPayoutID string
	// Received is what the platform has got back of the transfer; zero when there was none, or when the
	// money is given up.
	Received money.Amount
	Force    bool // although the provider does not bear it out
	Actor    string
	Note     string
}

// Resolve ends a held payout as a person found out, with what the ledger lacks. The caller has asked
// the provider, or was forced not to. Repeated with the same outcome it does nothing.
func (s *Store) Resolve(ctx context.Context, tx pgx.Tx, id string, r Resolution) error {
	if r.Outcome != Paid && r.Outcome != Failed {
		return &customer.FieldError{Field: "outcome", Reason: "must be paid or failed"}
	}
	p, err := lockMember(ctx, tx, id)
	switch {
	case err != nil:
		return err
	case p.State == r.Outcome && p.Reason == resolved:
		return nil
	case p.State != Held:
		return p.refuse("be resolved: it is not held")
	}
	action := "resolve_payout"
	if r.Force {
		action = resolvedByForce
	}
	if err := recordAct(ctx, tx, r.Actor, action, id, string(r.Outcome)+": "+r.Note); err != nil {
		return err
	}
	resolve := s.resolveFailed
	if r.Outcome == Paid {
		resolve = s.resolvePaid
	}
	if err := resolve(ctx, tx, p, r); err != nil || p.BatchID == "" {
		return err
	}
	return settle(ctx, tx, p.BatchID, "")
}

func (s *Store) resolvePaid(ctx context.Context, tx pgx.Tx, p Payout, r Resolution) error {
	for _, known := range []struct {
		id    *string
		found string
	}{{&p.TransferID, r.TransferID}, {&p.ProviderPayoutID, r.ProviderPayoutID}} {
		switch {
		case *known.id == "":
			*known.id = known.found
		case known.found != "" && known.found != *known.id:
			return fmt.Errorf("payout %s: %s, beside %s: %w", p.ID, known.found, *known.id, ErrOtherObject)
		}
	}
	if p.ProviderPayoutID == "" || p.Method.Rail() == RailStripe && p.TransferID == "" {
		return &customer.FieldError{Field: "provider_id", Reason: "must be the provider's id of what paid it"}
	}
	if err := ledger.ResolvedPaid(ctx, tx, p.posted(), today()); err != nil {
		return err
	}
	// It may come back once more, which the ledger has to tell from what happened until now.
	p.Epoch++
	p.Ending, p.Failure = "", Failure{}
	if err := p.countNoRejections(ctx, tx); err != nil {
		return err
	}
	return s.move(ctx, tx, p, Paid, resolved, r.Actor)
}

func (s *Store) resolveFailed(ctx context.Context, tx pgx.Tx, p Payout, r Resolution) error {
	received := r.Received
	if received.Currency == "" {
		received = money.Zero(p.Gross.Currency)
	}
	if _, err := ledger.ResolvedFailed(ctx, tx, p.posted(), received, today()); err != nil {
		return err
	}
	return s.move(ctx, tx, p, Failed, resolved, r.Actor)
}
