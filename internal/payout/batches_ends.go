package payout

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
)

// What becomes of a frozen batch as a whole. Each function works in the caller's transaction, holds the
// batch and those of its members that it changes, and does nothing when it is repeated.

// Reasons of the states of batches and their members.
const (
	reasonRefused = "batch_refused"
	reasonRenewed = "batch_renewed"
	reasonMissing = "item_missing"
)

// BatchAccepted records that PayPal has the batch, which moves no money yet: its items tell. A batch that
// was held is held no longer; its members are until their items are seen.
func (s *Store) BatchAccepted(ctx context.Context, tx pgx.Tx, id, payPalBatchID string) error {
	b, err := LockBatch(ctx, tx, id)
	switch {
	case err != nil:
		return err
	case payPalBatchID == "":
		return b.refuse("be taken by PayPal under no id")
	case b.PayPalBatchID == payPalBatchID:
		return nil
	case b.PayPalBatchID != "":
		return fmt.Errorf("batch %s: %s at PayPal, beside %s: %w", id, payPalBatchID, b.PayPalBatchID, ErrOtherObject)
	case b.State == BatchSplit:
		return fmt.Errorf("batch %s: %s at PayPal, although it was refused and its members are in others: %w", id, payPalBatchID, ErrOtherObject)
	case b.State == BatchOpen:
		return b.refuse("be at PayPal: it was never sent")
	}
	// Who ended it may have been wrong: its items will tell, and are read because it is known.
	tag, err := tx.Exec(ctx, `UPDATE paypal_batches SET paypal_batch_id = $2, state = CASE state WHEN 'ended' THEN 'ended' ELSE 'sent' END,
			reason = '', sent_at = coalesce(sent_at, now())
		WHERE id = $1 AND NOT $2 = ANY (denied_ids)`, id, payPalBatchID)
	if violation, ok := errors.AsType[*pgconn.PgError](err); ok && violation.ConstraintName == "paypal_batches_paypal_batch_id_key" {
		return fmt.Errorf("batch %s: %s at PayPal is another batch of ours: %w", id, payPalBatchID, ErrOtherObject)
	}
	if err == nil && tag.RowsAffected() == 0 {
		return b.refuse("be " + payPalBatchID + ", which PayPal denied")
	}
	if err != nil {
		return fmt.Errorf("batch %s: record that PayPal has it: %w", id, err)
	}
	return nil
}

// BatchRefused records that PayPal refused to take the batch, for good: nothing of it has moved. The bad
// ones, by their payouts' ids, failed and are released. The others go on in a new batch, or in two halves
// when none is named. The only member of a batch is what it was refused for, named or not.
func (s *Store) BatchRefused(ctx context.Context, tx pgx.Tx, id string, bad map[string]Failure) error {
	b, err := LockBatch(ctx, tx, id)
	switch {
	case err != nil:
		return err
	case b.State == BatchSplit, b.State == BatchEnded && b.Reason == reasonRefused:
		return nil
	case b.State != BatchSending:
		return b.refuse("be refused")
	}
	members, err := lockMembers(ctx, tx, id, nil, Sending)
	if err != nil {
		return err
	}
	if len(members) == 1 {
		bad = map[string]Failure{members[0].ID: only(members[0], bad)}
	}
	good := goodOf(members, bad)
	ending := BatchSplit
	if len(good) == 0 {
		ending = BatchEnded
	}
	if err := b.end(ctx, tx, ending, reasonRefused); err != nil {
		return err
	}
	var after aftermath
	if err := s.failBad(ctx, tx, members, bad, &after); err != nil {
		return err
	}
	for part := range slices.Chunk(good, partSize(len(good), len(members))) {
		if err := s.formBatch(ctx, tx, batchKind{b.RunDate, b.Currency}, id, part); err != nil {
			return err
		}
	}
	return s.say(ctx, tx, &after)
}

// failBad ends those members that a batch was refused for.
func (s *Store) failBad(ctx context.Context, tx pgx.Tx, members []Payout, bad map[string]Failure, after *aftermath) error {
	for _, p := range members {
		f, isBad := bad[p.ID]
		if !isBad {
			continue
		}
		if err := s.fail(ctx, tx, p, Failed, f, after); err != nil {
			return err
		}
	}
	return nil
}

// only is why the only member of a batch was refused.
func only(p Payout, bad map[string]Failure) Failure {
	if f, named := bad[p.ID]; named {
		return f
	}
	return Failure{Class: "rejected", Code: reasonRefused, Message: "PayPal refused the payout."}
}

// goodOf gives the ids of those that are not bad, in their order.
func goodOf(members []Payout, bad map[string]Failure) []string {
	var good []string
	for _, p := range members {
		if _, isBad := bad[p.ID]; !isBad {
			good = append(good, p.ID)
		}
	}
	slices.Sort(good)
	return good
}

// partSize is the size of the batches in which the good of a refused batch go on: when all are good, of
// its halves.
func partSize(good, members int) int {
	if good == members {
		return max((good+1)/2, 1)
	}
	return max(good, 1)
}

// BatchUnfunded records that PayPal did not take the batch, or denied it, since the platform's balance
// there does not reach for it. Nothing has moved: it waits to be sent again. The payees have a note, and
// what the batch needs is among the shortfalls until it is sent or ends. When anything else is known of a
// member, the same batch cannot go again: what of it is under way is canceled and released.
func (s *Store) BatchUnfunded(ctx context.Context, tx pgx.Tx, id, because string) error {
	b, err := LockBatch(ctx, tx, id)
	switch {
	case err != nil:
		return err
	case b.State == BatchEnded || b.State == BatchSending && b.UnfundedSince != nil:
		return nil
	case b.State != BatchSending && b.PayPalBatchID == "":
		return b.refuse("wait for funds")
	}
	members, err := lockMembers(ctx, tx, id, nil, Sending, InTransit, Unclaimed, Held)
	if err != nil {
		return err
	}
	sending := slices.DeleteFunc(slices.Clone(members), func(p Payout) bool { return p.State != Sending })
	if len(sending) < b.Size { // as many as there are items
		return s.giveUp(ctx, tx, b, members, Canceled, unfunded())
	}
	var (
		after aftermath
		plans []Plan
	)
	for _, p := range members {
		plans = append(plans, p.Plan)
		after.said = append(after.said, Said{PayeeID: p.PayeeID, Code: string(BecauseFunding), Detail: BecauseFunding.Sentence(), Date: today()})
	}
	need, err := NeedFor(plans, b.Currency, s.policy)
	if err != nil {
		return fmt.Errorf("batch %s: %w", id, err)
	}
	_, err = tx.Exec(ctx, `UPDATE paypal_batches SET state = 'sending', reason = $2, unfunded_since = coalesce(unfunded_since, now()), missing = $3,
			denied_ids = CASE WHEN paypal_batch_id IS NULL THEN denied_ids ELSE denied_ids || paypal_batch_id END, paypal_batch_id = NULL,
			hinted_id = CASE WHEN hinted_id = paypal_batch_id THEN NULL ELSE hinted_id END
		WHERE id = $1`, id, because, need.Minor)
	if err != nil {
		return fmt.Errorf("batch %s: have it wait for funds: %w", id, err)
	}
	return s.say(ctx, tx, &after)
}

// BatchEndsUnfunded gives up waiting: nothing of the batch was sent, and its members are canceled and
// released.
func (s *Store) BatchEndsUnfunded(ctx context.Context, tx pgx.Tx, id string) error {
	b, err := LockBatch(ctx, tx, id)
	switch {
	case err != nil:
		return err
	case b.State == BatchEnded:
		return nil
	case b.State != BatchSending || b.UnfundedSince == nil:
		return b.refuse("end for want of funds")
	}
	members, err := lockMembers(ctx, tx, id, nil, Sending)
	if err != nil {
		return err
	}
	if err := b.end(ctx, tx, BatchEnded, string(BecauseFunding)); err != nil {
		return err
	}
	return s.giveUp(ctx, tx, b, members, Canceled, unfunded())
}

func unfunded() Failure {
	return Failure{Class: "rejected", Code: string(BecauseFunding), Message: BecauseFunding.Sentence()}
}

// giveUp ends those members of a batch that are under way, of which PayPal is known to send nothing. What
// a person is to look into stays held.
func (s *Store) giveUp(ctx context.Context, tx pgx.Tx, b Batch, members []Payout, to State, f Failure) error {
	var (
		after aftermath
		ended []string
	)
	for _, p := range members {
		if !slices.Contains([]State{Sending, InTransit, Unclaimed, Held}, p.State) || p.waitsForPerson() {
			continue
		}
		if err := s.fail(ctx, tx, p, to, f, &after); err != nil {
			return err
		}
		ended = append(ended, p.ID)
	}
	// An answer from before tells nothing new any more. Of what was never seen any answer is news.
	_, err := tx.Exec(ctx, `UPDATE paypal_batch_items SET transaction_status = $3
		WHERE batch_id = $1 AND payout_id = ANY ($2) AND transaction_status <> ''`, b.ID, ended, ItemDenied)
	if err != nil {
		return fmt.Errorf("batch %s: record that nothing of it is sent: %w", b.ID, err)
	}
	if err := settle(ctx, tx, b.ID, f.Code); err != nil {
		return err
	}
	return s.say(ctx, tx, &after)
}

// BatchDenied records that PayPal denied the batch, for another reason than its funds: nothing of it goes
// anywhere. What was not paid failed and is released, with what PayPal had taken of it already; what a
// person is to look into stays held.
func (s *Store) BatchDenied(ctx context.Context, tx pgx.Tx, id string, f Failure) error {
	b, err := LockBatch(ctx, tx, id)
	switch {
	case err != nil:
		return err
	case b.State == BatchEnded:
		return nil
	case b.PayPalBatchID == "":
		return b.refuse("be denied: PayPal does not have it")
	}
	members, err := lockMembers(ctx, tx, id, nil, Sending, InTransit, Unclaimed, Held)
	if err != nil {
		return err
	}
	return s.giveUp(ctx, tx, b, members, Failed, f)
}

// HoldBatch leaves a batch to a person, with its members that are not over: what became of them is not
// known. Nothing is released. What waits to be claimed is known, and stays.
func (s *Store) HoldBatch(ctx context.Context, tx pgx.Tx, id, why string) error {
	b, err := LockBatch(ctx, tx, id)
	switch {
	case err != nil:
		return err
	case b.State == BatchHeld || b.State == BatchEnded:
		return nil
	case b.State != BatchSending && b.State != BatchSent:
		return b.refuse("be held")
	}
	members, err := lockMembers(ctx, tx, id, nil, Sending, InTransit)
	if err != nil {
		return err
	}
	if err := b.goTo(ctx, tx, BatchHeld, why); err != nil {
		return err
	}
	return s.holdAll(ctx, tx, members, why)
}

// ItemsComplete records that the whole list of a batch was read that PayPal has finished: what it does
// not list is held, since it is not known where its money is.
func (s *Store) ItemsComplete(ctx context.Context, tx pgx.Tx, batchID string) error {
	b, err := LockBatch(ctx, tx, batchID)
	switch {
	case err != nil:
		return err
	case b.PayPalBatchID == "":
		return b.refuse("have its items listed: PayPal does not have it")
	}
	unseen, err := lockMembers(ctx, tx, batchID, nil, Sending)
	if err != nil {
		return err
	}
	return s.holdAll(ctx, tx, unseen, reasonMissing)
}

// holdAll holds payouts that the caller has locked.
func (s *Store) holdAll(ctx context.Context, tx pgx.Tx, all []Payout, why string) error {
	ids := make([]string, len(all))
	for i := range all {
		ids[i] = all[i].ID
		all[i].State, all[i].Reason, all[i].Actor = Held, why, ""
	}
	if _, err := tx.Exec(ctx, `UPDATE payouts SET state = 'held', reason = $2, actor = '' WHERE id = ANY ($1)`, ids, why); err != nil {
		return fmt.Errorf("hold %d payouts: %w", len(all), err)
	}
	return s.tellAll(ctx, tx, all)
}

// fail ends a payout that the caller has locked and that PayPal did not pay, with what the ledger lacks:
// what PayPal had taken is back, and the money is the payee's again.
func (s *Store) fail(ctx context.Context, tx pgx.Tx, p Payout, to State, f Failure, after *aftermath) error {
	if _, err := ledger.ResolvedFailed(ctx, tx, p.posted(), money.Zero(p.Gross.Currency), today()); err != nil {
		return err
	}
	p.State, p.Reason, p.Actor, p.Failure, p.Ending = to, f.Code, "", f.stored(), ""
	if err := p.save(ctx, tx); err != nil {
		return err
	}
	after.told = append(after.told, p)
	return s.draw(ctx, tx, p, f, after)
}

// end brings a locked batch to a state from which nothing follows; nothing of it waits for funds.
func (b Batch) end(ctx context.Context, tx pgx.Tx, to BatchState, reason string) error {
	_, err := tx.Exec(ctx, `UPDATE paypal_batches SET state = $2, reason = $3, unfunded_since = NULL, missing = 0 WHERE id = $1`, b.ID, string(to), reason)
	if err != nil {
		return fmt.Errorf("batch %s: bring it from %s to %s: %w", b.ID, b.State, to, err)
	}
	return nil
}
