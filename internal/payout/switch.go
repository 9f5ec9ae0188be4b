package payout

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/postgres"
)

// Switch stops all payouts at once: while it is off nothing new is sent, whatever is planned. Look-ups
// and reversals go on.
type Switch struct {
	Enabled bool
	Reason  string
	Actor   string // the name of the key that turned it last; empty while nobody has
	At      time.Time
}

// ReadSwitch says whether payouts are sent.
func ReadSwitch(ctx context.Context, db postgres.DB) (sw Switch, err error) {
	err = db.QueryRow(ctx, `SELECT enabled, reason, actor, at FROM payout_switch`).Scan(&sw.Enabled, &sw.Reason, &sw.Actor, &sw.At)
	if err != nil {
		return Switch{}, fmt.Errorf("read the payouts' switch: %w", err)
	}
	return sw, nil
}

// SetSwitch turns payouts on or off, and keeps who did so and why. Turned on, it wakes what waits for it.
func (s *Store) SetSwitch(ctx context.Context, enabled bool, actor, reason string) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE payout_switch SET enabled = $1, reason = $2, actor = $3, at = now()`, enabled, reason, actor)
		if err != nil {
			return fmt.Errorf("turn the payouts' switch: %w", err)
		}
		if !enabled {
			return recordAct(ctx, tx, actor, "switch_payouts_off", "payouts", reason)
		}
		if err := recordAct(ctx, tx, actor, "switch_payouts_on", "payouts", reason); err != nil {
			return err
		}
		return s.wake(ctx, tx, date.Date{}, "switch")
	})
}
