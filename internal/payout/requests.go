package payout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/postgres"
)

// ErrRequestConflict means that the payee has asked for another payout under this id.
var ErrRequestConflict = errors.New("a request with this id and other content exists")

// SkipError says why something is not paid.
type SkipError struct{ Reason Reason }

func (e *SkipError) Error() string { return string(e.Reason) + ": " + e.Reason.Sentence() }

// QuoteError says that the quote with which a payout was asked for does not hold, and which one does.
type QuoteError struct{ Quote Terms }

func (e *QuoteError) Error() string {
	return fmt.Sprintf("quoted_net: the quote no longer holds: %s would be paid of %s; ask again with that", e.Quote.Net, e.Quote.Gross)
}

// RequestInstant pays a payee at their request what was earned through yesterday, or the amount of it,
// instantly and in parts if it is above the cap. The same request again gives the same payouts, with
// created false. It is ErrRequestConflict when the id stands for another request, a SkipError when it
// cannot be paid, a QuoteError when another net would be paid than the payee was told, and a
// customer.FieldError when a field is wrong.
func (s *Store) RequestInstant(ctx context.Context, payeeID, requestID string, amount *money.Amount, quotedNet money.Amount) (payouts []Payout, created bool, err error) {
	if field := checkID(requestID); field != nil {
		return nil, false, field
	}
	r := request{payeeID: payeeID, id: requestID, amount: amount, quotedNet: quotedNet}
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if err := lockPayee(ctx, tx, payeeID); err != nil {
			return err
		}
		there, err := r.isThere(ctx, tx)
		if err != nil {
			return err
		}
		if !there {
			if err := s.carryOut(ctx, tx, r); err != nil {
				return err
			}
		}
		created = !there
		payouts, err = collectPayouts(ctx, tx, `payee_id = $1 AND manual_id = $2 ORDER BY part`, payeeID, requestID)
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("payee %s: request %s: %w", payeeID, requestID, err)
	}
	return payouts, created, nil
}

// request is a payee's request for an instant payout.
type request struct {
	payeeID, id string
	amount      *money.Amount
	quotedNet   money.Amount
}

// isThere says whether the request was carried out before.
func (r request) isThere(ctx context.Context, tx pgx.Tx) (bool, error) {
	var (
		currency  money.Currency
		amount    *int64
		quotedNet int64
	)
	err := tx.QueryRow(ctx, `SELECT currency, amount, quoted_net FROM payout_requests WHERE payee_id = $1 AND id = $2`, r.payeeID, r.id).
		Scan(&currency, &amount, &quotedNet)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	same := r.quotedNet == money.New(quotedNet, currency) && (amount == nil) == (r.amount == nil)
	if same && amount != nil {
		same = *r.amount == money.New(*amount, currency)
	}
	if !same {
		return false, ErrRequestConflict
	}
	return true, nil
}

// carryOut plans what a new request asks for. The payee is held.
func (s *Store) carryOut(ctx context.Context, tx pgx.Tx, r request) error {
	now := time.Now()
	facts, err := LoadFactsOf(ctx, tx, r.payeeID, now)
	if err != nil {
		return err
	}
	if r.quotedNet.Currency != facts.Currency {
		return &customer.FieldError{Field: "quoted_net", Reason: "must be in the payee's own currency, " + string(facts.Currency)}
	}
	decision := Quote(facts, date.Of(now), r.amount, s.policy)
	if decision.Skip != "" {
		return &SkipError{decision.Skip}
	}
	if quote := decision.Total(facts.Currency); quote.Net != r.quotedNet {
		return &QuoteError{quote}
	}
	var amount *int64
	if r.amount != nil {
		amount = &r.amount.Minor
	}
	_, err = tx.Exec(ctx, `INSERT INTO payout_requests (payee_id, id, currency, amount, quoted_net) VALUES ($1, $2, $3, $4, $5)`,
		r.payeeID, r.id, string(facts.Currency), amount, r.quotedNet.Minor)
	if err != nil {
		return fmt.Errorf("store it: %w", err)
	}
	planned := make([]Payout, len(decision.Payouts))
	for i, plan := range decision.Payouts {
		planned[i] = Payout{Plan: plan, PayeeID: r.payeeID, Kind: Manual, ManualID: r.id, Attempt: 1, State: Planned, Epoch: 1}.identified()
	}
	return s.sendOff(ctx, tx, planned)
}

// sendOff stores payouts that no run made, claims for them and has them taken up.
func (s *Store) sendOff(ctx context.Context, tx pgx.Tx, planned []Payout) error {
	if err := insertPayouts(ctx, tx, planned); err != nil {
		return err
	}
	if err := claimPayouts(ctx, tx, today(), planned); err != nil {
		return err
	}
	ids := make([]string, len(planned))
	for i, p := range planned {
		ids[i] = p.ID
		need, err := NeedFor([]Plan{p.Plan}, p.Gross.Currency, s.policy)
		if err != nil {
			return err
		}
		// The runs to come find that much less.
		if err := claimFunds(ctx, tx, purse{p.Method.Rail(), p.Gross.Currency}, need); err != nil {
			return err
		}
	}
	handOver := s.start
	if planned[0].Method.Rail() == RailPayPal {
		handOver = s.FormBatches
	}
	if err := handOver(ctx, tx, ids); err != nil {
		return err
	}
	if err := forgetUnpaidOf(ctx, tx, planned[0].PayeeID); err != nil {
		return err
	}
	return s.tellAll(ctx, tx, planned)
}
