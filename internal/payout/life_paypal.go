package payout

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
)

// The life of a payout at PayPal is what PayPal says of its item. What it says may be read twice, or by a
// slow reader after a newer answer: an answer that is older than the one that is known changes nothing.

// What PayPal says of an item, in transaction_status.
const (
	ItemPending   = "PENDING"
	ItemOnHold    = "ONHOLD"
	ItemUnclaimed = "UNCLAIMED" // nobody has the account yet
	ItemSuccess   = "SUCCESS"
	ItemFailed    = "FAILED"
	ItemDenied    = "DENIED"
	ItemBlocked   = "BLOCKED"
	ItemReturned  = "RETURNED" // nobody claimed it, or it was canceled
	ItemCanceled  = "CANCELED"
	ItemReversed  = "REVERSED"
	ItemRefunded  = "REFUNDED"
)

// Reasons for which a single payout is held: a person looks into it, whatever PayPal says meanwhile.
const (
	reasonMismatch      = "item_mismatch"         // the item is of another amount or currency
	reasonOtherItem     = "other_item"            // PayPal has two items of it
	reasonNoItem        = "item_without_id"       // PayPal lists it, and no item that it could be known by
	reasonReversedParts = "reversed_after_a_part" // the whole came back after parts of it had
)

// ItemSeen is what PayPal says of a batch's item.
type ItemSeen struct {
	PayoutID      string // its sender_item_id
	ItemID        string
	TransactionID string
	Status        string // its transaction_status
	Net           money.Amount
	Fee           money.Amount // PayPal's own; the zero value while it is not known
	Failure       Failure      // of one that failed

	// fundsBack says of a blocked item that the platform has its money again.
	fundsBack bool
}

// means is the state in which a payout is whose item has a status. A status that we do not know is one
// of an item on its way.
func (i ItemSeen) means() State {
	switch i.Status {
	case ItemSuccess:
		return Paid
	case ItemUnclaimed:
		return Unclaimed
	case ItemFailed, ItemDenied, ItemReversed, ItemRefunded:
		return Failed
	case ItemReturned:
		return Returned
	case ItemCanceled:
		return Canceled
	case ItemBlocked:
		if i.fundsBack {
			return Failed
		}
	}
	return InTransit
}

// age orders what PayPal says of an item: no answer follows one of a later age. A claimed item is never
// unclaimed again, and what has come back stays so. What nobody has claimed may be blocked, or the reverse.
func (i ItemSeen) age() int {
	switch to := i.means(); {
	case to == Unclaimed, to == InTransit && i.Status == ItemBlocked:
		return 2
	case to == InTransit:
		return 1
	case to == Paid:
		return 3
	default:
		return 4
	}
}

// ItemFundsBack records that PayPal has given the money of a blocked item back, which the next look at the
// item takes into account.
func (s *Store) ItemFundsBack(ctx context.Context, tx pgx.Tx, batchID, payoutID string) error {
	if _, err := LockBatch(ctx, tx, batchID); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `UPDATE paypal_batch_items SET funds_back = true WHERE batch_id = $1 AND payout_id = $2`, batchID, payoutID)
	if err != nil {
		return fmt.Errorf("payout %s: record that its money is back: %w", payoutID, err)
	}
	return nil
}

// frozenItem is an item as it was sent, and what PayPal said of it last.
type frozenItem struct {
	net       money.Amount
	status    string
	itemID    string
	fundsBack bool
}

// ItemsSeen takes on what PayPal says of a batch's items: each that is listed is accepted and then goes
// where its status says. What is not as it was sent is held. Second items of a payout are kept apart. Items
// that are not ours are left alone: then one of ours is missing, which ItemsComplete finds.
func (s *Store) ItemsSeen(ctx context.Context, tx pgx.Tx, batchID string, items []ItemSeen) error {
	b, err := LockBatch(ctx, tx, batchID)
	switch {
	case err != nil:
		return err
	case b.PayPalBatchID == "":
		return b.refuse("have items: PayPal does not have it")
	}
	seen := make(map[string][]ItemSeen, len(items))
	var named, sources []string
	for _, i := range items {
		seen[i.PayoutID] = append(seen[i.PayoutID], i)
		named, sources = append(named, i.PayoutID), append(sources, i.duplicateSource())
	}
	members, err := lockMembers(ctx, tx, batchID, named, States()...)
	if err != nil {
		return err
	}
	frozen, err := frozenItems(ctx, tx, batchID, named)
	if err != nil {
		return err
	}
	l := listing{store: s, tx: tx}
	if l.posted, err = ledger.Posted(ctx, tx, sources); err != nil {
		return err
	}
	if l.charged, err = ledger.ProviderFees(ctx, tx, named); err != nil {
		return err
	}
	if err := l.seeAll(ctx, members, frozen, seen); err != nil {
		return err
	}
	if err := l.keep(ctx, b); err != nil {
		return err
	}
	if err := settle(ctx, tx, batchID, ""); err != nil {
		return err
	}
	return s.say(ctx, tx, &l.after)
}

func frozenItems(ctx context.Context, tx pgx.Tx, batchID string, named []string) (map[string]frozenItem, error) {
	rows, err := tx.Query(ctx, `SELECT payout_id, amount, currency, transaction_status, coalesce(item_id, ''), funds_back FROM paypal_batch_items
		WHERE batch_id = $1 AND payout_id = ANY ($2)`, batchID, named)
	if err != nil {
		return nil, fmt.Errorf("batch %s: read what was sent: %w", batchID, err)
	}
	var (
		id  string
		i   frozenItem
		all = make(map[string]frozenItem, len(named))
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &i.net.Minor, &i.net.Currency, &i.status, &i.itemID, &i.fundsBack}, func() error {
		all[id] = i
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("batch %s: read what was sent: %w", batchID, err)
	}
	return all, nil
}

// listing is what PayPal lists of a batch, within the transaction that takes it on.
type listing struct {
	store   *Store
	tx      pgx.Tx
	posted  map[string]bool           // the items' sources from which something was posted before
	charged map[string]ledger.Charged // by payout, what PayPal took for its item before
	kept    []ItemSeen
	others  []ItemSeen // that are not the ones by which their payouts were sent
	after   aftermath
}

// seeAll takes on what PayPal says of each of the batch's payouts. What it lists of others, which are in other
// batches, is kept apart.
func (l *listing) seeAll(ctx context.Context, members []Payout, frozen map[string]frozenItem, seen map[string][]ItemSeen) error {
	for _, p := range members {
		if err := l.see(ctx, p, frozen[p.ID], seen[p.ID]); err != nil {
			return err
		}
		delete(seen, p.ID)
	}
	for _, items := range seen {
		l.others = append(l.others, items...)
	}
	return nil
}

// see takes on what PayPal says of one payout.
func (l *listing) see(ctx context.Context, p Payout, sent frozenItem, items []ItemSeen) error {
	newest := items[0]
	for _, i := range items[1:] {
		if i.ItemID == newest.ItemID && i.age() > newest.age() {
			newest = i
		}
	}
	newest.fundsBack = sent.fundsBack
	if wrong := differs(p, sent, items); wrong != "" {
		l.kept = append(l.kept, newest)
		if wrong == reasonOtherItem {
			l.others = append(l.others, items...)
		}
		return l.hold(ctx, p, wrong)
	}
	if newest.age() < (ItemSeen{Status: sent.status}).age() && sent.status != "" {
		return nil
	}
	l.kept = append(l.kept, newest)
	if err := l.charge(ctx, p, newest); err != nil {
		return err
	}
	switch {
	case p.State.Releases():
		return l.compare(ctx, p, newest)
	case p.waitsForPerson():
		return nil
	}
	return l.follow(ctx, p, newest)
}

// compare posts it when PayPal has paid what was released, which nobody but a person can have brought
// about: the payee has the money, and has it in their balance.
func (l *listing) compare(ctx context.Context, p Payout, i ItemSeen) error {
	if i.means() != Paid || l.posted[i.duplicateSource()] {
		return nil
	}
	return ledger.Duplicate(ctx, l.tx, p.posted(), i.Net, today(), i.duplicateSource())
}

// differs says what about the items that PayPal has of a payout is not as it was sent.
func differs(p Payout, sent frozenItem, items []ItemSeen) string {
	known := cmp.Or(p.ProviderPayoutID, sent.itemID, items[0].ItemID)
	for _, i := range items {
		switch {
		case i.ItemID == "":
			return reasonNoItem
		case i.ItemID != known:
			return reasonOtherItem
		case i.Net != sent.net:
			return reasonMismatch
		}
	}
	return ""
}

// waitsForPerson says that a held payout is not taken further by what PayPal says of its item.
func (p Payout) waitsForPerson() bool {
	return p.State == Held && slices.Contains([]string{reasonMismatch, reasonOtherItem, reasonNoItem, reasonReversedParts}, p.Reason)
}

// hold holds a payout whose item is not what was sent. What has ended, or waits to be claimed, stays
// where it is: nothing leads from there to held.
func (l *listing) hold(ctx context.Context, p Payout, why string) error {
	if p.State != Sending && p.State != InTransit {
		return nil
	}
	return l.move(ctx, p, Held, why)
}

// charge posts what PayPal took for an item, or has given back of it since.
func (l *listing) charge(ctx context.Context, p Payout, i ItemSeen) error {
	if i.Fee.Currency != p.Gross.Currency { // it is not known
		return nil
	}
	before := l.charged[p.ID]
	more, err := i.Fee.Sub(money.New(before.Minor, p.Gross.Currency))
	if err != nil {
		return fmt.Errorf("payout %s: PayPal's fee: %w", p.ID, err)
	}
	source := fmt.Sprintf("paypal-item/%s/fee/%d", i.ItemID, before.Times+1)
	return ledger.ProviderFee(ctx, l.tx, p.posted(), more, today(), source)
}

func (i ItemSeen) duplicateSource() string { return "duplicate/" + i.ItemID }

// follow brings a payout to where its item is.
func (l *listing) follow(ctx context.Context, p Payout, i ItemSeen) error {
	if p.ProviderPayoutID == "" {
		p.ProviderPayoutID = i.ItemID
		if err := ledger.ItemAccepted(ctx, l.tx, p.posted(), today()); err != nil {
			return err
		}
	}
	switch to := i.means(); to {
	case InTransit, Unclaimed:
		// It is not on its way again once it waits to be claimed, and neither once it is paid.
		if p.State == to || !CanGo(p.State, to) {
			return nil
		}
		return l.move(ctx, p, to, "")
	case Paid:
		if p.State == Paid {
			return nil
		}
		return l.pay(ctx, p)
	default:
		return l.giveBack(ctx, p, to, i.Failure)
	}
}

func (l *listing) pay(ctx context.Context, p Payout) error {
	if err := ledger.Paid(ctx, l.tx, p.posted(), today()); err != nil {
		return err
	}
	if err := p.countNoRejections(ctx, l.tx); err != nil {
		return err
	}
	p.Ending = "" // that somebody wanted it canceled came too late
	return l.move(ctx, p, Paid, "")
}

// giveBack releases what PayPal did not pay, or took back.
func (l *listing) giveBack(ctx context.Context, p Payout, to State, f Failure) error {
	if p.State == Paid {
		parts, err := ledger.PartsReversed(ctx, l.tx, p.posted())
		if err != nil {
			return err
		}
		if !parts.IsZero() {
			return l.holdReversed(ctx, p)
		}
		to = Returned
	}
	if to == Returned && p.Ending == Canceled {
		to = Canceled
	}
	if !CanGo(p.State, to) { // it was accepted just now
		if err := p.saveAs(ctx, l.tx, InTransit, ""); err != nil {
			return err
		}
		p.State = InTransit
	}
	return l.store.fail(ctx, l.tx, p, to, f, &l.after)
}

// holdReversed holds a paid payout of which the whole has come back after parts of it had.
func (l *listing) holdReversed(ctx context.Context, p Payout) error {
	if err := ledger.ItemTakenBack(ctx, l.tx, p.posted(), today()); err != nil {
		return err
	}
	return l.move(ctx, p, Held, reasonReversedParts)
}

func (l *listing) move(ctx context.Context, p Payout, to State, reason string) error {
	if err := p.saveAs(ctx, l.tx, to, reason); err != nil {
		return err
	}
	p.State = to
	l.after.told = append(l.after.told, p)
	return nil
}

func (p Payout) saveAs(ctx context.Context, tx pgx.Tx, to State, reason string) error {
	p.State, p.Reason, p.Actor = to, reason, ""
	return p.save(ctx, tx)
}

// keep writes what PayPal said of the items. Once it has taken one, the batch waits for funds no more.
func (l *listing) keep(ctx context.Context, b Batch) error {
	var payouts, items, transactions, statuses, codes []string
	for _, i := range l.kept {
		payouts, items, transactions = append(payouts, i.PayoutID), append(items, i.ItemID), append(transactions, i.TransactionID)
		statuses, codes = append(statuses, i.Status), append(codes, i.Failure.Code)
	}
	_, err := l.tx.Exec(ctx, `UPDATE paypal_batch_items i SET item_id = coalesce(i.item_id, nullif(s.item, '')),
			transaction_id = coalesce(nullif(s.transaction, ''), i.transaction_id), transaction_status = s.status, error_code = s.code, seen_at = now()
		FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[]) AS s (payout, item, transaction, status, code)
		WHERE i.batch_id = $1 AND i.payout_id = s.payout`, b.ID, payouts, items, transactions, statuses, codes)
	if err != nil {
		return fmt.Errorf("batch %s: keep what PayPal says of %d items: %w", b.ID, len(l.kept), err)
	}
	_, err = l.tx.Exec(ctx, `UPDATE paypal_batches SET unfunded_since = NULL, missing = 0 WHERE id = $1 AND unfunded_since IS NOT NULL`, b.ID)
	if err != nil {
		return fmt.Errorf("batch %s: record that it has its funds: %w", b.ID, err)
	}
	return keepOthers(ctx, l.tx, b.PayPalBatchID, l.others)
}

// ItemCanceled records that PayPal has canceled what nobody had claimed. It is released.
func (s *Store) ItemCanceled(ctx context.Context, tx pgx.Tx, payoutID, actor string) error {
	p, err := lockMember(ctx, tx, payoutID)
	switch {
	case err != nil:
		return err
	case p.State.Releases():
		return nil
	case p.ProviderPayoutID == "" || p.State != Unclaimed && p.State != InTransit:
		return p.refuse("be canceled at PayPal")
	}
	if _, err := ledger.ItemFailed(ctx, tx, p.posted(), today()); err != nil {
		return err
	}
	p.Failure, p.Ending = canceledByPerson(), ""
	p.State, p.Reason, p.Actor = Canceled, canceledByOperator, actor
	if err := p.save(ctx, tx); err != nil {
		return err
	}
	// An answer from before the cancellation tells nothing new any more.
	_, err = tx.Exec(ctx, `UPDATE paypal_batch_items SET transaction_status = $3 WHERE batch_id = $1 AND payout_id = $2`, p.BatchID, p.ID, ItemReturned)
	if err != nil {
		return fmt.Errorf("payout %s: record that its item was canceled: %w", p.ID, err)
	}
	if err := settle(ctx, tx, p.BatchID, ""); err != nil {
		return err
	}
	return s.tell(ctx, tx, p)
}

// PartlyReversed records that PayPal has taken a part of a paid payout back, which stays paid; the part is
// the payee's again. The whole at once is a return. When parts come to the whole, the payout is held: it
// is not sure that they are parts of the same.
func (s *Store) PartlyReversed(ctx context.Context, tx pgx.Tx, payoutID string, part money.Amount, transactionID string) error {
	p, err := lockMember(ctx, tx, payoutID)
	switch {
	case err != nil:
		return err
	case p.State.Releases(), p.waitsForPerson():
		return nil
	case p.State != Paid || p.Method.Rail() != RailPayPal:
		return p.refuse("be reversed in part")
	case part.Sign() <= 0 || part.Currency != p.Net.Currency:
		return fmt.Errorf("payout %s: %s is no part of %s", p.ID, part, p.Net)
	}
	return s.takePart(ctx, tx, p, part, "paypal-transaction/"+transactionID+"/reversed")
}

// takePart posts a part that was taken back of a paid payout, once for its source.
func (s *Store) takePart(ctx context.Context, tx pgx.Tx, p Payout, part money.Amount, source string) error {
	posted, err := ledger.Posted(ctx, tx, []string{source})
	if err != nil || posted[source] {
		return err
	}
	before, err := ledger.PartsReversed(ctx, tx, p.posted())
	if err != nil {
		return err
	}
	l := listing{store: s, tx: tx}
	switch {
	case before.Minor+part.Minor < p.Net.Minor:
		return ledger.ItemPartlyReversed(ctx, tx, p.posted(), part, today(), source)
	case before.IsZero() && part == p.Net:
		err = l.giveBack(ctx, p, Returned, Failure{Class: "rejected", Code: "reversed", Message: "PayPal has taken the payout back."})
	default:
		err = l.holdReversed(ctx, p)
	}
	if err != nil {
		return err
	}
	return s.say(ctx, tx, &l.after)
}

// lockMember holds a payout, and before it its batch and its payee. It is for payouts whose batch does
// not change any more.
func lockMember(ctx context.Context, tx pgx.Tx, id string) (Payout, error) {
	batchID, err := BatchOf(ctx, tx, id)
	if err != nil {
		return Payout{}, err
	}
	if batchID != "" {
		if _, err := LockBatch(ctx, tx, batchID); err != nil {
			return Payout{}, err
		}
	}
	return lockBoth(ctx, tx, id)
}
