package payout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/postgres"
)

// Payouts by PayPal go there in batches. Until a batch is frozen its members may still leave it; from
// then on its items are what is sent, whatever happens, and it is sent again and again as the same batch
// until it is known what came of it. Whoever needs several rows holds the batch first, then payees in
// the order of their ids, then their payouts.

// ErrNoBatch says that there is no such batch.
var ErrNoBatch = errors.New("there is no such batch")

// BatchState is how far a batch is.
type BatchState string

// The states of a batch.
const (
	BatchOpen    BatchState = "open"    // its members may still leave it
	BatchSending BatchState = "sending" // frozen; it may have been sent
	BatchSent    BatchState = "sent"    // PayPal has it
	BatchSplit   BatchState = "split"   // PayPal refused it, or it waited too long; its members are in other batches
	BatchHeld    BatchState = "held"    // what became of it is not known; a person decides
	BatchEnded   BatchState = "ended"   // nothing of it is under way any more
)

// Batch is payouts that go to PayPal together. It names no one who is paid.
type Batch struct {
	ID            string
	RunDate       date.Date
	Currency      money.Currency
	State         BatchState
	StateSince    time.Time
	Reason        string // why it is in this state: a code
	PayPalBatchID string // the payout_batch_id; empty until PayPal has it
	HintedID      string // what a webhook said that it is
	Heard         bool   // PayPal has told of something new since it was read last
	Size          int    // its items; of an open one, the members that it was formed of
	SplitFrom     string // the batch that PayPal refused
	UnfundedSince *time.Time
	SentAt        *time.Time
	CheckedAt     *time.Time
	CreatedAt     time.Time
	Open          int // members that are sending or in transit
}

// BatchItem is one payout of a frozen batch, as it is sent, and what PayPal said of it last.
type BatchItem struct {
	Position      int // from zero
	PayoutID      string
	PayeeID       string
	Receiver      string // an e-mail address: never in a log, an error or a history
	Net           money.Amount
	State         State // of the payout
	ItemID        string
	TransactionID string
	Status        string
}

const batchColumns = `id, run_date, currency, state, state_since, reason, coalesce(paypal_batch_id, '') AS paypal_batch_id,
	coalesce(hinted_id, '') AS hinted_id, heard, size, coalesce(split_from, '') AS split_from, unfunded_since, sent_at, checked_at, created_at,
	(SELECT count(*) FROM payouts p WHERE p.batch_id = b.id AND p.state IN ('sending', 'in_transit'))::int AS open`

// GetBatch reads a batch, or gives ErrNoBatch.
func GetBatch(ctx context.Context, db postgres.DB, id string) (Batch, error) {
	rows, err := db.Query(ctx, `SELECT `+batchColumns+` FROM paypal_batches b WHERE id = $1`, id)
	if err != nil {
		return Batch{}, fmt.Errorf("batch %s: read: %w", id, err)
	}
	b, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Batch])
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Batch{}, fmt.Errorf("batch %s: %w", id, ErrNoBatch)
	case err != nil:
		return Batch{}, fmt.Errorf("batch %s: read: %w", id, err)
	}
	return b, nil
}

// LockBatch reads a batch and holds it until the transaction ends.
func LockBatch(ctx context.Context, tx pgx.Tx, id string) (Batch, error) {
	// Held before it is read, so that its members are counted as they are now.
	if _, err := tx.Exec(ctx, `SELECT FROM paypal_batches WHERE id = $1 FOR UPDATE`, id); err != nil {
		return Batch{}, fmt.Errorf("batch %s: lock: %w", id, err)
	}
	return GetBatch(ctx, tx, id)
}

// ListBatchItems lists the items of a frozen batch in their order; an open one has none yet.
func ListBatchItems(ctx context.Context, db postgres.DB, batchID string) ([]BatchItem, error) {
	rows, err := db.Query(ctx, `SELECT i.position, i.payout_id, p.payee_id, i.receiver, i.amount, i.currency, p.state,
			coalesce(i.item_id, ''), coalesce(i.transaction_id, ''), i.transaction_status
		FROM paypal_batch_items i JOIN payouts p ON p.id = i.payout_id WHERE i.batch_id = $1 ORDER BY i.position`, batchID)
	if err != nil {
		return nil, fmt.Errorf("batch %s: list its items: %w", batchID, err)
	}
	items, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (i BatchItem, err error) {
		err = row.Scan(&i.Position, &i.PayoutID, &i.PayeeID, &i.Receiver, &i.Net.Minor, &i.Net.Currency, &i.State,
			&i.ItemID, &i.TransactionID, &i.Status)
		return i, err
	})
	if err != nil {
		return nil, fmt.Errorf("batch %s: list its items: %w", batchID, err)
	}
	return items, nil
}

// BatchOf is the batch that a payout is in; empty when it is in none.
func BatchOf(ctx context.Context, db postgres.DB, payoutID string) (batchID string, err error) {
	err = db.QueryRow(ctx, `SELECT coalesce(batch_id, '') FROM payouts WHERE id = $1`, payoutID).Scan(&batchID)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", fmt.Errorf("payout %s: %w", payoutID, ErrNoPayout)
	case err != nil:
		return "", fmt.Errorf("payout %s: read which batch it is in: %w", payoutID, err)
	}
	return batchID, nil
}

// FormBatches puts planned payouts by PayPal that are in no batch into new ones, in the order of their
// ids, and hands each batch over. Others among the given ones are left alone.
func (s *Store) FormBatches(ctx context.Context, tx pgx.Tx, payoutIDs []string) error {
	rows, err := tx.Query(ctx, `SELECT id, run_date, currency FROM payouts
		WHERE id = ANY ($1) AND method = 'paypal' AND state = 'planned' AND batch_id IS NULL ORDER BY id FOR UPDATE`, payoutIDs)
	if err != nil {
		return fmt.Errorf("hold %d payouts to put them into batches: %w", len(payoutIDs), err)
	}
	var (
		id     string
		kind   batchKind
		kinds  []batchKind
		byKind = map[batchKind][]string{}
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &kind.runDate, &kind.currency}, func() error {
		if _, known := byKind[kind]; !known {
			kinds = append(kinds, kind)
		}
		byKind[kind] = append(byKind[kind], id)
		return nil
	})
	if err != nil {
		return fmt.Errorf("hold %d payouts to put them into batches: %w", len(payoutIDs), err)
	}
	for _, kind := range kinds {
		for members := range slices.Chunk(byKind[kind], s.policy.PayPalBatchSize) {
			if err := s.formBatch(ctx, tx, kind, "", members); err != nil {
				return err
			}
		}
	}
	return nil
}

// batchKind is what the payouts of one batch have in common: what may stop them, and their currency.
type batchKind struct {
	runDate  date.Date
	currency money.Currency
}

// formBatch makes an open batch of payouts that the caller holds, and hands it over.
func (s *Store) formBatch(ctx context.Context, tx pgx.Tx, kind batchKind, splitFrom string, members []string) error {
	slices.Sort(members)
	id, made := "", false
	for turn := 1; !made; turn++ {
		id = batchID(kind, splitFrom, members, turn)
		tag, err := tx.Exec(ctx, `INSERT INTO paypal_batches (id, run_date, currency, size, split_from) VALUES ($1, $2, $3, $4, nullif($5, ''))
			ON CONFLICT (id) DO NOTHING`, id, kind.runDate, string(kind.currency), len(members), splitFrom)
		if err != nil {
			return fmt.Errorf("store a batch of %d payouts: %w", len(members), err)
		}
		made = tag.RowsAffected() == 1
	}
	if _, err := tx.Exec(ctx, `UPDATE payouts SET batch_id = $1 WHERE id = ANY ($2)`, id, members); err != nil {
		return fmt.Errorf("batch %s: put %d payouts into it: %w", id, len(members), err)
	}
	if err := outbox.Add(ctx, tx, s.work.PayBatch(id)); err != nil {
		return fmt.Errorf("batch %s: hand over: %w", id, err)
	}
	return nil
}

// BatchMaySend is MaySend for a batch, and asked before it is sent.
func BatchMaySend(ctx context.Context, db postgres.DB, id string) (Hindrance, error) {
	var (
		enabled bool
		run     RunState
	)
	err := db.QueryRow(ctx, `SELECT (SELECT enabled FROM payout_switch), coalesce(r.state, '')
		FROM paypal_batches b LEFT JOIN payout_runs r ON r.date = b.run_date WHERE b.id = $1`, id).Scan(&enabled, &run)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", fmt.Errorf("batch %s: %w", id, ErrNoBatch)
	case err != nil:
		return "", fmt.Errorf("batch %s: see whether it may be sent: %w", id, err)
	}
	return stopOf(enabled, run), nil
}

// BatchChecked records that a read of the batch begins. What is heard from now on asks for another.
func BatchChecked(ctx context.Context, db postgres.DB, id string) error {
	if _, err := db.Exec(ctx, `UPDATE paypal_batches SET checked_at = now(), heard = false WHERE id = $1`, id); err != nil {
		return fmt.Errorf("batch %s: record that it is read: %w", id, err)
	}
	return nil
}

// HintBatch keeps that PayPal has told of something new of a batch, and the payout_batch_id that it said,
// which may be empty and is not believed before it was read. It tells whether this is the first since
// the last read: then, and only then, the batch is to be looked at.
func (s *Store) HintBatch(ctx context.Context, tx pgx.Tx, id, payPalBatchID string) (first bool, err error) {
	var heard bool
	err = tx.QueryRow(ctx, `SELECT heard FROM paypal_batches WHERE id = $1 FOR UPDATE`, id).Scan(&heard)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, fmt.Errorf("batch %s: %w", id, ErrNoBatch)
	case err != nil:
		return false, fmt.Errorf("batch %s: lock: %w", id, err)
	}
	_, err = tx.Exec(ctx, `UPDATE paypal_batches SET heard = true, hinted_id = coalesce(nullif($2, ''), hinted_id) WHERE id = $1`, id, payPalBatchID)
	if err != nil {
		return false, fmt.Errorf("batch %s: keep what was heard: %w", id, err)
	}
	return !heard, nil
}

// refuse says that a batch's state does not allow something.
func (b Batch) refuse(what string) error {
	return fmt.Errorf("batch %s is %s and cannot %s: %w", b.ID, b.State, what, ErrState)
}

// goTo brings a locked batch to another state.
func (b Batch) goTo(ctx context.Context, tx pgx.Tx, to BatchState, reason string) error {
	if _, err := tx.Exec(ctx, `UPDATE paypal_batches SET state = $2, reason = $3 WHERE id = $1`, b.ID, string(to), reason); err != nil {
		return fmt.Errorf("batch %s: bring it from %s to %s: %w", b.ID, b.State, to, err)
	}
	return nil
}

// lockMembers holds what a locked batch is made of, payees first. Its payouts in the given states are
// given by payee and part; if some are named, only those.
func lockMembers(ctx context.Context, tx pgx.Tx, batchID string, named []string, states ...State) ([]Payout, error) {
	wanted := make([]string, len(states))
	for i, state := range states {
		wanted[i] = string(state)
	}
	rows, err := tx.Query(ctx, `SELECT DISTINCT payee_id FROM payouts WHERE batch_id = $1 AND state = ANY ($2) AND ($3::text[] IS NULL OR id = ANY ($3))`,
		batchID, wanted, named)
	if err != nil {
		return nil, fmt.Errorf("batch %s: find its payees: %w", batchID, err)
	}
	payees, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("batch %s: find its payees: %w", batchID, err)
	}
	if err := lockPayees(ctx, tx, payees); err != nil {
		return nil, fmt.Errorf("batch %s: %w", batchID, err)
	}
	members, err := collectPayouts(ctx, tx, `batch_id = $1 AND state = ANY ($2) AND ($3::text[] IS NULL OR id = ANY ($3)) AND payee_id = ANY ($4)
		ORDER BY payee_id, part, id FOR UPDATE`, batchID, wanted, named, payees)
	if err != nil {
		return nil, fmt.Errorf("batch %s: hold its payouts: %w", batchID, err)
	}
	return members, nil
}

// aftermath is what is to be said once payouts have changed: all of it at the end, since the counter of
// the change feed is held until the transaction's end.
type aftermath struct {
	said   []Said
	pauses []Pause
	told   []Payout
}

func (s *Store) say(ctx context.Context, tx pgx.Tx, a *aftermath) error {
	if err := s.Notes(ctx, tx, a.said); err != nil {
		return err
	}
	for _, pause := range a.pauses {
		if err := s.Pause(ctx, tx, pause); err != nil {
			return err
		}
	}
	return s.tellAll(ctx, tx, a.told)
}

// settle brings a locked batch to where its members are: it has ended when nothing of it is under way,
// and is no longer held when none of them is.
func settle(ctx context.Context, tx pgx.Tx, id, reason string) error {
	_, err := tx.Exec(ctx, `UPDATE paypal_batches b SET reason = $2,
			state = CASE WHEN m.under_way > 0 THEN 'sent' ELSE 'ended' END,
			unfunded_since = NULL, missing = 0
		FROM (SELECT count(*) FILTER (WHERE state IN ('planned', 'sending', 'in_transit', 'unclaimed', 'held')) AS under_way,
				count(*) FILTER (WHERE state = 'held') AS held
			FROM payouts WHERE batch_id = $1) m
		WHERE b.id = $1 AND (m.under_way = 0 AND b.state IN ('sending', 'sent', 'held')
			OR b.state = 'held' AND m.held = 0 AND b.paypal_batch_id IS NOT NULL)`, id, reason)
	if err != nil {
		return fmt.Errorf("batch %s: see whether it has ended: %w", id, err)
	}
	return nil
}
