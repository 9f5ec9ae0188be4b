package payout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/postgres"
)

// Errors of operators' corrections.
var (
	ErrCorrectionConflict = errors.New("a correction with this id and other content exists")
	ErrNotNegative        = errors.New("the balance is not negative: there is nothing to write off")
)

const maxNote = 1000

// Correction is what an operator puts right in a payee's balance, at the platform's cost.
type Correction struct {
	PayeeID string
	ID      string // the caller's own, unique among the payee's
	Actor   string // the name of the key
	Note    string // why
}

const (
	adjust   = "adjust"
	writeOff = "write_off"
)

func (c Correction) validate() error {
	if err := checkID(c.ID); err != nil {
		return err
	}
	if strings.TrimSpace(c.Note) == "" || len(c.Note) > maxNote || strings.ContainsRune(c.Note, 0) {
		return &customer.FieldError{Field: "note", Reason: fmt.Sprintf("must say why, in at most %d bytes, none of them NUL", maxNote)}
	}
	return nil
}

// Adjust gives an amount to the payee, or takes it when it is below zero, and records who did so and
// why. The same id and amount again changes nothing; another amount is ErrCorrectionConflict.
func (s *Store) Adjust(ctx context.Context, c Correction, amount money.Amount) error {
	if err := c.validate(); err != nil {
		return err
	}
	if err := checkCurrency(amount.Currency); err != nil {
		return err
	}
	if amount.IsZero() || amount.Minor > maxEarning || amount.Minor < -maxEarning {
		return &customer.FieldError{Field: "amount", Reason: fmt.Sprintf("must be 1 to %d minor units, or below zero to take from the payee", int64(maxEarning))}
	}
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if err := c.mayAdjust(ctx, tx, amount.Currency); err != nil {
			return err
		}
		return correct(ctx, tx, c, adjust, amount)
	})
}

// mayAdjust refuses a currency that is not the payee's own, unless money of it came back after the payee had
// left it, as of a payout that was returned late: nothing else would move that.
func (c Correction) mayAdjust(ctx context.Context, tx pgx.Tx, currency money.Currency) error {
	refused := holdCurrency(ctx, tx, c.PayeeID, currency)
	if _, foreign := errors.AsType[*customer.FieldError](refused); !foreign {
		return refused
	}
	left, err := loadHoldings(ctx, tx, c.PayeeID, currency)
	if err != nil || !left.Balance.IsZero() {
		return err
	}
	if _, _, made, err := findCorrection(ctx, tx, c); err != nil || made {
		return err
	}
	return refused
}

// WriteOff brings a negative balance to zero, and records who did so and why. The same id again
// changes nothing. A balance that is not negative is ErrNotNegative.
func (s *Store) WriteOff(ctx context.Context, c Correction) error {
	if err := c.validate(); err != nil {
		return err
	}
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if err := lockPayee(ctx, tx, c.PayeeID); err != nil {
			return err
		}
		if kind, _, found, err := findCorrection(ctx, tx, c); err != nil || found {
			if err == nil && kind != writeOff {
				return fmt.Errorf("payee %s: correction %s: %w", c.PayeeID, c.ID, ErrCorrectionConflict)
			}
			return err
		}
		payee, err := GetPayee(ctx, tx, c.PayeeID)
		if err != nil {
			return err
		}
		holdings, err := loadHoldings(ctx, tx, c.PayeeID, payee.Currency)
		if err != nil {
			return err
		}
		if holdings.Balance.Sign() >= 0 {
			return fmt.Errorf("payee %s: %w", c.PayeeID, ErrNotNegative)
		}
		missing, err := holdings.Balance.Neg()
		if err != nil {
			return fmt.Errorf("payee %s: write off %s: %w", c.PayeeID, holdings.Balance, err)
		}
		return correct(ctx, tx, c, writeOff, missing)
	})
}

func findCorrection(ctx context.Context, tx pgx.Tx, c Correction) (kind string, amount money.Amount, found bool, err error) {
	err = tx.QueryRow(ctx, `SELECT kind, amount, currency FROM payee_corrections WHERE payee_id = $1 AND id = $2`, c.PayeeID, c.ID).
		Scan(&kind, &amount.Minor, &amount.Currency)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", money.Amount{}, false, nil
	case err != nil:
		return "", money.Amount{}, false, fmt.Errorf("payee %s: read correction %s: %w", c.PayeeID, c.ID, err)
	}
	return kind, amount, true, nil
}

// correct stores a correction, posts it and records who made it, unless it was made already.
func correct(ctx context.Context, tx pgx.Tx, c Correction, kind string, amount money.Amount) error {
	today := date.Of(time.Now())
	tag, err := tx.Exec(ctx, `INSERT INTO payee_corrections (payee_id, id, kind, amount, currency, dated, actor, note)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (payee_id, id) DO NOTHING`,
		c.PayeeID, c.ID, kind, amount.Minor, string(amount.Currency), today, c.Actor, c.Note)
	if err != nil {
		return fmt.Errorf("payee %s: store correction %s: %w", c.PayeeID, c.ID, err)
	}
	if tag.RowsAffected() == 0 {
		before, stored, _, err := findCorrection(ctx, tx, c)
		if err == nil && (before != kind || stored != amount) {
			err = fmt.Errorf("payee %s: correction %s: %w", c.PayeeID, c.ID, ErrCorrectionConflict)
		}
		return err
	}
	post := ledger.Adjustment
	if kind == writeOff {
		post = ledger.WriteOff
	}
	if err := post(ctx, tx, c.PayeeID, amount, today, "correction/"+c.PayeeID+"/"+c.ID); err != nil {
		return err
	}
	return recordAct(ctx, tx, c.Actor, kind+"_payee", c.PayeeID+"/"+c.ID, c.Note)
}

// PauseByOperator stops a payee's payouts for an operator, and records who did so and why.
func (s *Store) PauseByOperator(ctx context.Context, payeeID, actor, note string) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if err := recordAct(ctx, tx, actor, "pause_payee", payeeID, note); err != nil {
			return err
		}
		return s.Pause(ctx, tx, Pause{PayeeID: payeeID, Source: SourceOperator, Note: note, Actor: actor})
	})
}

// ResumeByOperator lifts an operator's pause and no other, and records who did so and why.
func (s *Store) ResumeByOperator(ctx context.Context, payeeID, actor, note string) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if err := recordAct(ctx, tx, actor, "resume_payee", payeeID, note); err != nil {
			return err
		}
		return s.Resume(ctx, tx, payeeID, SourceOperator)
	})
}

// recordAct keeps what an operator did.
func recordAct(ctx context.Context, tx pgx.Tx, actor, action, subject, note string) error {
	_, err := tx.Exec(ctx, `INSERT INTO operator_actions (actor, action, subject, note) VALUES ($1, $2, $3, $4)`, actor, action, subject, note)
	if err != nil {
		return fmt.Errorf("record that %s did %s to %s: %w", actor, action, subject, err)
	}
	return nil
}
