package payout

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/ledger"
)

// FreezeBatch takes an open batch up, right before it is sent for the first time. Members that cannot go
// leave it: for whom there is no money any more, and whose destination was changed since, are canceled
// and released; those of a paused payee stay planned without a batch. Who was taken up before, by a
// batch that PayPal refused, stays although their payee is paused by now. From then on members and items
// do not change; without any the batch has ended. While all are stopped nothing is done and the hindrance
// says why. Frozen before, it is given as it is.
func (s *Store) FreezeBatch(ctx context.Context, tx pgx.Tx, id string) (Batch, Hindrance, error) {
	b, err := LockBatch(ctx, tx, id)
	if err != nil || b.State != BatchOpen {
		return b, "", err
	}
	hindrance, err := BatchMaySend(ctx, tx, id)
	if err != nil || hindrance != "" {
		return b, hindrance, err
	}
	members, err := lockMembers(ctx, tx, id, nil, Planned, Sending)
	if err != nil {
		return Batch{}, "", err
	}
	f := freezing{store: s, tx: tx, batch: b}
	if err := f.sort(ctx, members); err != nil {
		return Batch{}, "", err
	}
	if err := f.carryOut(ctx); err != nil {
		return Batch{}, "", err
	}
	b, err = GetBatch(ctx, tx, id)
	return b, "", err
}

// RenewBatch looks again at the payouts of a frozen batch that has waited, and of which the caller knows that
// nothing is at PayPal. When one of them may not go any more, all go on in a new batch, which they leave or
// go with as if it were the first; otherwise nothing changes.
func (s *Store) RenewBatch(ctx context.Context, tx pgx.Tx, id string) (renewed bool, err error) {
	b, err := LockBatch(ctx, tx, id)
	if err != nil || b.State != BatchSending {
		return false, err
	}
	members, err := lockMembers(ctx, tx, id, nil, Sending)
	if err != nil {
		return false, err
	}
	f := freezing{store: s, tx: tx, batch: b}
	if err := f.sort(ctx, members); err != nil || len(f.canceled) == 0 {
		return false, err
	}
	if err := b.end(ctx, tx, BatchSplit, reasonRenewed); err != nil {
		return false, err
	}
	return true, s.formBatch(ctx, tx, batchKind{b.RunDate, b.Currency}, id, goodOf(members, nil))
}

// freezing is one batch's, within its transaction.
type freezing struct {
	store *Store
	tx    pgx.Tx
	batch Batch

	taken    []Payout
	left     []string // that stay planned, since their payee is paused
	canceled []canceling
}

// canceling is a payout that is not sent any more, and why.
type canceling struct {
	payout  Payout
	because Reason
}

// receiver is what is true of a payee right before their payout is sent.
type receiver struct {
	email  string // empty when they are not to be paid by PayPal any more
	paused bool
}

// sort decides of each member what becomes of it.
func (f *freezing) sort(ctx context.Context, members []Payout) error {
	receivers, err := f.receivers(ctx, members)
	if err != nil {
		return err
	}
	asked := make([]ledger.Cutoff, len(members))
	for i, p := range members {
		asked[i] = ledger.Cutoff{PayeeID: p.PayeeID, Currency: p.Gross.Currency, Date: p.PeriodEnd}
	}
	payable, err := ledger.Payables(ctx, f.tx, asked)
	if err != nil {
		return fmt.Errorf("batch %s: %w", f.batch.ID, err)
	}
	released := map[string]int64{} // by this batch: the rest of a payee's parts may be covered again
	for i, p := range members {
		to := receivers[p.PayeeID]
		var because Reason
		switch {
		case payable[i].Minor+released[p.PayeeID] < 0:
			because = BecauseBalanceNegative
		case to.email != p.DestinationID:
			because = BecauseDestinationChanged
		case p.State == Sending:
			continue
		case to.paused:
			f.left = append(f.left, p.ID)
			continue
		default:
			f.taken = append(f.taken, p)
			continue
		}
		released[p.PayeeID] += p.Gross.Minor
		f.canceled = append(f.canceled, canceling{p, because})
	}
	return nil
}

func (f *freezing) receivers(ctx context.Context, members []Payout) (map[string]receiver, error) {
	ids := make([]string, len(members))
	for i, p := range members {
		ids[i] = p.PayeeID
	}
	rows, err := f.tx.Query(ctx, `SELECT id, CASE rail WHEN 'paypal' THEN paypal_email ELSE '' END,
			EXISTS (SELECT FROM payee_pauses s WHERE s.payee_id = p.id)
		FROM payees p WHERE id = ANY ($1)`, ids)
	if err != nil {
		return nil, fmt.Errorf("batch %s: read whom it pays: %w", f.batch.ID, err)
	}
	var (
		id  string
		to  receiver
		all = make(map[string]receiver, len(ids))
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &to.email, &to.paused}, func() error {
		all[id] = to
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("batch %s: read whom it pays: %w", f.batch.ID, err)
	}
	return all, nil
}

// carryOut does what was decided, freezes the items and has the app told.
func (f *freezing) carryOut(ctx context.Context) error {
	var after aftermath
	for _, c := range f.canceled {
		if _, err := ledger.Release(ctx, f.tx, c.payout.posted(), today()); err != nil {
			return err
		}
		c.payout.State, c.payout.Reason, c.payout.Actor = Canceled, string(c.because), ""
		if err := c.payout.save(ctx, f.tx); err != nil {
			return err
		}
		after.said = append(after.said, Said{PayeeID: c.payout.PayeeID, Code: string(c.because), Detail: c.because.Sentence(), Date: today()})
		after.told = append(after.told, c.payout)
	}
	taken := make([]string, len(f.taken))
	for i, p := range f.taken {
		taken[i], p.State = p.ID, Sending
		after.told = append(after.told, p)
	}
	// The items come before the state: afterwards the database takes no more of them.
	statements := &pgx.Batch{}
	statements.Queue(`UPDATE payouts SET batch_id = NULL WHERE id = ANY ($1)`, f.left)
	statements.Queue(`UPDATE payouts SET state = 'sending', reason = '', actor = '' WHERE id = ANY ($1)`, taken)
	statements.Queue(`INSERT INTO paypal_batch_items (batch_id, position, payout_id, receiver, amount, currency)
		SELECT batch_id, row_number() OVER (ORDER BY id) - 1, id, destination_id, net, currency
		FROM payouts WHERE batch_id = $1 AND state = 'sending'`, f.batch.ID)
	statements.Queue(`UPDATE paypal_batches b SET size = i.n, state = CASE i.n WHEN 0 THEN 'ended' ELSE 'sending' END,
			reason = CASE i.n WHEN 0 THEN 'empty' ELSE '' END
		FROM (SELECT count(*) AS n FROM paypal_batch_items WHERE batch_id = $1) i WHERE b.id = $1`, f.batch.ID)
	if err := f.tx.SendBatch(ctx, statements).Close(); err != nil {
		return fmt.Errorf("batch %s: freeze: %w", f.batch.ID, err)
	}
	return f.store.say(ctx, f.tx, &after)
}
