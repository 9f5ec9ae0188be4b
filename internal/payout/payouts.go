package payout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/postgres"
)

// Errors that callers tell apart.
var (
	ErrNoPayout = errors.New("there is no such payout")
	// ErrState means that a payout, or a run, is in a state that does not allow what was asked.
	ErrState = errors.New("the state does not allow it")
)

// Kind says why there is a payout.
type Kind string

// The kinds.
const (
	Scheduled Kind = "scheduled" // a run planned it
	Manual    Kind = "manual"    // the payee asked for it
	Retried   Kind = "retry"     // an operator had another one made again
)

// Payout is money on its way to a payee. Its plan never changes.
type Payout struct {
	Plan

	ID       string
	PayeeID  string
	Kind     Kind
	RunDate  date.Date // of the run that planned it, also for one that makes it again
	ManualID string    // the payee's request
	RetryOf  string    // the payout that it makes again
	Attempt  int

	State      State
	StateSince time.Time
	Reason     string // why it is in this state: a code or a sentence
	Actor      string // the key's name of the person who brought it there

	StripeAccountID  string
	DestinationID    string // the bank or card to which it goes; at PayPal the e-mail address, which is personal data
	TransferID       string
	ProviderPayoutID string // at PayPal the payout_item_id
	BatchID          string // the batch with which it goes to PayPal
	PayPalBatchID    string // PayPal's payout_batch_id of it
	ReversalID       string
	ArrivalDate      date.Date // when the bank should have it

	// Ending is the state in which it will end once the money is back; empty when nothing failed.
	Ending    State
	Failure   Failure    // what the provider said; the zero value when nothing failed
	Epoch     int        // raised whenever what was sent came back
	MovedAt   *time.Time // when its money was first known to have left the platform
	CheckedAt *time.Time
	CreatedAt time.Time
}

// Transition is a change of a payout's state.
type Transition struct {
	From   State // empty when it was made
	To     State
	Reason string
	Actor  string
	At     time.Time
}

// Shown is what the app is told of a payout.
type Shown struct {
	PayoutID    string        `json:"payout_id"`
	Status      State         `json:"status"`
	Method      Method        `json:"method"`
	Gross       money.Amount  `json:"gross"`
	Fee         money.Amount  `json:"fee"`
	Net         money.Amount  `json:"net"`
	ArrivalDate *date.Date    `json:"arrival_date,omitempty"`
	Failure     *FailureShown `json:"failure,omitempty"`
}

// FailureShown is what the app is told of a failure.
type FailureShown struct {
	Class string `json:"class"`
	Code  string `json:"code"`
}

func (p Payout) shown() Shown {
	shown := Shown{PayoutID: p.ID, Status: p.State, Method: p.Method, Gross: p.Gross, Fee: p.Fee, Net: p.Net}
	if !p.ArrivalDate.IsZero() {
		shown.ArrivalDate = &p.ArrivalDate
	}
	if p.Failure != (Failure{}) {
		shown.Failure = &FailureShown{Class: p.Failure.Class, Code: p.Failure.Code}
	}
	return shown
}

func (s *Store) tell(ctx context.Context, tx pgx.Tx, p Payout) error {
	if err := s.changes.Append(ctx, tx, feed.PayoutChanged, p.PayeeID, p.shown()); err != nil {
		return err
	}
	return s.notifyEnds(ctx, tx, p)
}

// posted is the payout as the ledger knows it.
func (p Payout) posted() ledger.Payout {
	return ledger.Payout{
		ID: p.ID, PayeeID: p.PayeeID, Rail: ledger.Rail(p.Method.Rail()), AccountID: p.StripeAccountID,
		Gross: p.Gross, Fee: p.Fee, Epoch: p.Epoch,
	}
}

const payoutColumns = `id, payee_id, kind, run_date, coalesce(manual_id, ''), coalesce(retry_of, ''), part, attempt, method, currency,
	gross, fee, net, period_end, due_date, state, state_since, reason, actor, coalesce(stripe_account_id, ''), destination_id,
	coalesce(transfer_id, ''), coalesce(provider_payout_id, ''), coalesce(batch_id, ''),
	coalesce((SELECT paypal_batch_id FROM paypal_batches WHERE paypal_batches.id = batch_id), ''), coalesce(reversal_id, ''), arrival_date, coalesce(ending, ''),
	failure_class, failure_code, failure_message, epoch, moved_at, checked_at, created_at`

func scanPayout(row pgx.CollectableRow) (p Payout, err error) {
	var currency money.Currency
	err = row.Scan(&p.ID, &p.PayeeID, &p.Kind, &p.RunDate, &p.ManualID, &p.RetryOf, &p.Part, &p.Attempt, &p.Method, &currency,
		&p.Gross.Minor, &p.Fee.Minor, &p.Net.Minor, &p.PeriodEnd, &p.DueDate, &p.State, &p.StateSince, &p.Reason, &p.Actor,
		&p.StripeAccountID, &p.DestinationID, &p.TransferID, &p.ProviderPayoutID, &p.BatchID, &p.PayPalBatchID, &p.ReversalID, &p.ArrivalDate, &p.Ending,
		&p.Failure.Class, &p.Failure.Code, &p.Failure.Message, &p.Epoch, &p.MovedAt, &p.CheckedAt, &p.CreatedAt)
	p.Gross.Currency, p.Fee.Currency, p.Net.Currency = currency, currency, currency
	return p, err
}

// GetPayout reads a payout, or gives ErrNoPayout.
func GetPayout(ctx context.Context, db postgres.DB, id string) (Payout, error) {
	return readPayout(ctx, db, id, "")
}

// LockPayout reads a payout and holds it until the transaction ends.
func LockPayout(ctx context.Context, tx pgx.Tx, id string) (Payout, error) {
	return readPayout(ctx, tx, id, " FOR UPDATE")
}

// lockBoth holds a payout and, before it, its payee: the order in which everybody holds them.
func lockBoth(ctx context.Context, tx pgx.Tx, id string) (Payout, error) {
	var payeeID string
	err := tx.QueryRow(ctx, `SELECT payee_id FROM payouts WHERE id = $1`, id).Scan(&payeeID)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Payout{}, fmt.Errorf("payout %s: %w", id, ErrNoPayout)
	case err != nil:
		return Payout{}, fmt.Errorf("payout %s: read: %w", id, err)
	}
	if err := lockPayee(ctx, tx, payeeID); err != nil {
		return Payout{}, err
	}
	return LockPayout(ctx, tx, id)
}

func readPayout(ctx context.Context, db postgres.DB, id, lock string) (Payout, error) {
	rows, err := db.Query(ctx, `SELECT `+payoutColumns+` FROM payouts WHERE id = $1`+lock, id)
	if err != nil {
		return Payout{}, fmt.Errorf("payout %s: read: %w", id, err)
	}
	p, err := pgx.CollectExactlyOneRow(rows, scanPayout)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Payout{}, fmt.Errorf("payout %s: %w", id, ErrNoPayout)
	case err != nil:
		return Payout{}, fmt.Errorf("payout %s: read: %w", id, err)
	}
	return p, nil
}

// collectPayouts reads payouts by a condition that follows WHERE.
func collectPayouts(ctx context.Context, db postgres.DB, condition string, args ...any) ([]Payout, error) {
	rows, err := db.Query(ctx, `SELECT `+payoutColumns+` FROM payouts WHERE `+condition, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanPayout)
}

// Cursor is a place in the list of a payee's payouts; the zero value is its beginning.
type Cursor struct {
	CreatedAt time.Time `json:"at"`
	ID        string    `json:"id"`
}

// Cursor is the place right after the payout.
func (p Payout) Cursor() Cursor { return Cursor{CreatedAt: p.CreatedAt, ID: p.ID} }

// ListPayouts lists a payee's payouts behind the cursor, the newest first.
func ListPayouts(ctx context.Context, db postgres.DB, payeeID string, after Cursor, limit int) ([]Payout, error) {
	payouts, err := collectPayouts(ctx, db, `payee_id = $1 AND ($2 = '' OR (created_at, id) < ($3, $2))
		ORDER BY created_at DESC, id DESC LIMIT $4`, payeeID, after.ID, after.CreatedAt, limit)
	if err != nil {
		return nil, fmt.Errorf("payee %s: list its payouts: %w", payeeID, err)
	}
	return payouts, nil
}

// ListTransitions lists every change of state of the given payouts, oldest first, by payout.
func ListTransitions(ctx context.Context, db postgres.DB, ids ...string) (map[string][]Transition, error) {
	rows, err := db.Query(ctx, `SELECT payout_id, from_state, to_state, reason, actor, at FROM payout_transitions
		WHERE payout_id = ANY ($1) ORDER BY payout_id, seq`, ids)
	if err != nil {
		return nil, fmt.Errorf("list the transitions of %d payouts: %w", len(ids), err)
	}
	var (
		id  string
		t   Transition
		all = make(map[string][]Transition, len(ids))
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &t.From, &t.To, &t.Reason, &t.Actor, &t.At}, func() error {
		all[id] = append(all[id], t)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the transitions of %d payouts: %w", len(ids), err)
	}
	return all, nil
}

// save writes what may change of a payout. The database refuses a change of state that is not in the
// table of states, and notes each that is.
func (p Payout) save(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `UPDATE payouts SET state = $2, reason = $3, actor = $4, transfer_id = nullif($5, ''),
			provider_payout_id = nullif($6, ''), reversal_id = nullif($7, ''), arrival_date = $8, ending = nullif($9, ''),
			failure_class = $10, failure_code = $11, failure_message = $12, epoch = $13, released = $14,
			blocks = blocks AND NOT (state = 'paid' AND $2 = 'held'),
			moved_at = coalesce(moved_at, CASE WHEN $5 <> '' OR method = 'paypal' AND $6 <> '' THEN now() END)
		WHERE id = $1`,
		p.ID, string(p.State), p.Reason, p.Actor, p.TransferID, p.ProviderPayoutID, p.ReversalID, p.ArrivalDate, string(p.Ending),
		p.Failure.Class, p.Failure.Code, p.Failure.Message, p.Epoch, p.State.Releases())
	if err != nil {
		return fmt.Errorf("payout %s: store it as %s: %w", p.ID, p.State, err)
	}
	return nil
}

// move brings a locked payout to another state and has the app told, which comes last.
func (s *Store) move(ctx context.Context, tx pgx.Tx, p Payout, to State, reason, actor string) error {
	p.State, p.Reason, p.Actor = to, reason, actor
	if err := p.save(ctx, tx); err != nil {
		return err
	}
	return s.tell(ctx, tx, p)
}

// refuse says that a payout's state does not allow something.
func (p Payout) refuse(what string) error {
	return fmt.Errorf("payout %s is %s and cannot %s: %w", p.ID, p.State, what, ErrState)
}

// today is the business date of what happens now.
func today() date.Date { return date.Of(time.Now()) }
