package payout

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// TransferFound is TransferConfirmed, also for a payout of which nothing here says that it was begun, as
// after a restored backup: with its transfer it was.
func (s *Store) TransferFound(ctx context.Context, tx pgx.Tx, id, transferID string) error {
	p, err := LockPayout(ctx, tx, id)
	if err != nil {
		return err
	}
	if p.State == Planned {
		if err := s.move(ctx, tx, p, Sending, "", ""); err != nil {
			return err
		}
	}
	return s.TransferConfirmed(ctx, tx, id, transferID)
}
