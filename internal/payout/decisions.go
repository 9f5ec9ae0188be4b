package payout

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/postgres"
)

// CancelUnsent is Cancel for a payout of which nothing was sent. Of any other only its workflow knows
// whether something is being sent: it is ErrState.
func (s *Store) CancelUnsent(ctx context.Context, id, actor, note string) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		p, err := lockBoth(ctx, tx, id)
		switch {
		case err != nil:
			return err
		case p.State != Planned:
			return p.refuse("be canceled as if nothing was sent")
		}
		if p.Method.Rail() == RailStripe { // its workflow has nothing to wait for any more; at PayPal it has none
			if err := s.lookAt(ctx, tx, id, "canceled"); err != nil {
				return err
			}
		}
		return s.Cancel(ctx, tx, id, actor, note)
	})
}

// RecordAsked keeps what an operator asks a payout's workflow to do, and why. Whether it is done the
// provider may decide; the reason is for people, and so it is kept here and not in the workflow.
func (s *Store) RecordAsked(ctx context.Context, actor, action, id, note string) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error { return recordAct(ctx, tx, actor, "ask_to_"+action, id, note) })
}
