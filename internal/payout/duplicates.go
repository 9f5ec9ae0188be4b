package payout

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/postgres"
)

// Duplicate is money of a payout that has left the platform a second time, as it is at the provider.
type Duplicate struct {
	ProviderID string
	Moved      money.Amount
	Actor      string // the name of the key
}

// recordDuplicate is what an operator did who recorded one. Its subject names the payout and the object.
const recordDuplicate = "record_duplicate_of_payout"

// RecordDuplicate takes a second movement of a payout's money into the books, which the platform bears.
// What the payee gives back of it is an adjustment. The same object again changes nothing.
func (s *Store) RecordDuplicate(ctx context.Context, tx pgx.Tx, id string, d Duplicate) error {
	p, err := LockPayout(ctx, tx, id)
	switch {
	case err != nil:
		return err
	case d.ProviderID == p.TransferID, d.ProviderID == p.ProviderPayoutID && !p.State.Releases():
		return p.refuse("have its own movement as a second one")
	}
	recorded, err := ListDuplicates(ctx, tx, id)
	if err != nil || recorded[d.ProviderID] {
		return err
	}
	source := "duplicate/" + d.ProviderID
	posted, err := ledger.Posted(ctx, tx, []string{source})
	if err != nil {
		return err
	}
	if !posted[source] { // what PayPal paid beside its release was, as soon as it was seen
		if err := ledger.Duplicate(ctx, tx, p.posted(), d.Moved, today(), source); err != nil {
			return err
		}
	}
	return recordAct(ctx, tx, d.Actor, recordDuplicate, id+"/"+d.ProviderID, d.Moved.String())
}

// ListDuplicates gives the objects at the provider that were recorded as second movements of a payout.
func ListDuplicates(ctx context.Context, db postgres.DB, id string) (map[string]bool, error) {
	rows, err := db.Query(ctx, `SELECT split_part(subject, '/', 2) FROM operator_actions WHERE action = $1 AND subject LIKE $2 || '/%'`, recordDuplicate, id)
	if err != nil {
		return nil, fmt.Errorf("payout %s: list its second movements: %w", id, err)
	}
	objects, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("payout %s: list its second movements: %w", id, err)
	}
	recorded := make(map[string]bool, len(objects))
	for _, object := range objects {
		recorded[object] = true
	}
	return recorded, nil
}
