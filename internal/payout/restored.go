package payout

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// A payout of which nothing here says that it was begun may have been, as after a restored backup: what is
// found of it at the provider says so.

// TransferFound is TransferConfirmed, also for a payout that is planned.
func (s *Store) TransferFound(ctx context.Context, tx pgx.Tx, id, transferID string) error {
	if err := s.begin(ctx, tx, id); err != nil {
		return err
	}
	return s.TransferConfirmed(ctx, tx, id, transferID)
}

// HoldFound is Hold, also for a payout that is planned.
func (s *Store) HoldFound(ctx context.Context, tx pgx.Tx, id, why string) error {
	if err := s.begin(ctx, tx, id); err != nil {
		return err
	}
	return s.Hold(ctx, tx, id, why)
}

// begin has a payout that is planned be on its way.
func (s *Store) begin(ctx context.Context, tx pgx.Tx, id string) error {
	p, err := LockPayout(ctx, tx, id)
	if err != nil || p.State != Planned {
		return err
	}
	return s.move(ctx, tx, p, Sending, "", "")
}
