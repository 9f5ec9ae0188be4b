package ledger

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/postgres"
)

// The postings, with their numbers in RULES.md; G is a payout's gross, F its fee and N its net. Each
// posts once: the same again is no error and posts nothing, whoever does so at the same time. Who
// posts for a payout holds a lock on it.

// Earning (1): a payee earned something. Debit app, credit payee.
func Earning(ctx context.Context, tx pgx.Tx, payeeID string, a money.Amount, dated date.Date, source string) error {
	_, err := post(ctx, tx, from(source, EventEarning, dated).positive(a).debit(AppAccount(), a).credit(PayeeAccount(payeeID), a))
	return err
}

// Refund (2): what a payee earned was refunded or charged back, at any time; the balance may go below
// zero. Debit payee, credit app.
func Refund(ctx context.Context, tx pgx.Tx, payeeID string, a money.Amount, dated date.Date, source string) error {
	_, err := post(ctx, tx, from(source, EventRefund, dated).positive(a).debit(PayeeAccount(payeeID), a).credit(AppAccount(), a))
	return err
}

// Claim (3): payouts were planned, any number of them in one round trip. Debit payee G, credit
// in_payout G. A payout is claimed once, under whatever epoch.
func Claim(ctx context.Context, tx pgx.Tx, dated date.Date, payouts ...Payout) error {
	if len(payouts) == 0 {
		return nil
	}
	postings := make([]*posting, len(payouts))
	for i, p := range payouts {
		if err := p.check(); err != nil {
			return err
		}
		p.Epoch = 0
		postings[i] = p.of(EventClaim, dated).debit(PayeeAccount(p.PayeeID), p.Gross).credit(InPayoutAccount(p.PayeeID), p.Gross)
	}
	_, err := post(ctx, tx, postings...)
	return err
}

// Release (4, 12): a payout ended without being paid, and nothing of it is under way. Debit in_payout
// G, credit payee G. A payout is released once, under whatever epoch; it tells whether this was it.
func Release(ctx context.Context, tx pgx.Tx, p Payout, dated date.Date) (released bool, err error) {
	return p.post(ctx, tx, p.release(dated))
}

func (p Payout) release(dated date.Date) *posting {
	p.Epoch = 0
	return p.of(EventRelease, dated).debit(InPayoutAccount(p.PayeeID), p.Gross).credit(PayeeAccount(p.PayeeID), p.Gross)
}

// TransferConfirmed (5): Stripe has moved the net to the connected account. Debit acct N, credit
// platform N.
func TransferConfirmed(ctx context.Context, tx pgx.Tx, p Payout, dated date.Date) error {
	_, err := p.post(ctx, tx, p.transfer(dated))
	return err
}

func (p Payout) transfer(dated date.Date) *posting {
	return p.of(EventTransfer, dated).debit(AcctAccount(p.AccountID), p.net()).credit(PlatformAccount(Stripe), p.net())
}

// PayoutConfirmed (6): Stripe has made the payout on the connected account. Debit transit N, credit
// acct N.
func PayoutConfirmed(ctx context.Context, tx pgx.Tx, p Payout, dated date.Date) error {
	_, err := p.post(ctx, tx, p.confirm(dated))
	return err
}

func (p Payout) confirm(dated date.Date) *posting {
	return p.of(EventPayout, dated).debit(TransitAccount(Stripe), p.net()).credit(AcctAccount(p.AccountID), p.net())
}

// Paid (7 of Stripe, 15 of PayPal): the payee has the money. Debit in_payout G, credit transit N and
// fees F.
func Paid(ctx context.Context, tx pgx.Tx, p Payout, dated date.Date) error {
	_, err := p.post(ctx, tx, p.paid(dated))
	return err
}

func (p Payout) paid(dated date.Date) *posting {
	return p.of(EventPaid, dated).debit(InPayoutAccount(p.PayeeID), p.Gross).
		credit(TransitAccount(p.Rail), p.net()).credit(FeesAccount(), p.Fee)
}

// PayoutFailed (8): Stripe's payout failed or was canceled, and the money is back on the connected
// account. Debit acct N, credit transit N. ReversalConfirmed follows.
func PayoutFailed(ctx context.Context, tx pgx.Tx, p Payout, dated date.Date) error {
	_, err := p.post(ctx, tx, p.fail(dated))
	return err
}

func (p Payout) fail(dated date.Date) *posting {
	return p.of(EventPayoutFailed, dated).debit(AcctAccount(p.AccountID), p.net()).credit(TransitAccount(Stripe), p.net())
}

// ReversalConfirmed (9, then 4; after 11 too): the transfer was reversed, and we have received so much
// of it; the rest, or what is more, is exchange. Debit platform r and fx N − r, credit acct N. The
// money is released with it.
func ReversalConfirmed(ctx context.Context, tx pgx.Tx, p Payout, received money.Amount, dated date.Date) (released bool, err error) {
	reversal, err := p.reverse(received, dated)
	if err != nil {
		return false, err
	}
	return p.post(ctx, tx, reversal, p.release(dated))
}

func (p Payout) reverse(received money.Amount, dated date.Date) (*posting, error) {
	lost, err := p.net().Sub(received)
	if err == nil && received.Sign() < 0 {
		err = fmt.Errorf("what is received cannot be %s", received)
	}
	if err != nil {
		return nil, fmt.Errorf("ledger: reversal of payout %s: %w", p.ID, err)
	}
	return p.of(EventReversal, dated).debit(PlatformAccount(Stripe), received).debit(FXAccount(), lost).credit(AcctAccount(p.AccountID), p.net()), nil
}

// Returned (10): the bank has returned what was paid, to the connected account. Debit acct N and fees
// F, credit in_payout G. ReversalConfirmed follows.
func Returned(ctx context.Context, tx pgx.Tx, p Payout, dated date.Date) error {
	_, err := p.post(ctx, tx, p.giveBack(dated))
	return err
}

func (p Payout) giveBack(dated date.Date) *posting {
	return p.of(EventReturned, dated).debit(AcctAccount(p.AccountID), p.net()).debit(FeesAccount(), p.Fee).
		credit(InPayoutAccount(p.PayeeID), p.Gross)
}

// ItemAccepted (13): PayPal has taken the payout. Debit transit N, credit platform N.
func ItemAccepted(ctx context.Context, tx pgx.Tx, p Payout, dated date.Date) error {
	_, err := p.post(ctx, tx, p.accept(dated))
	return err
}

func (p Payout) accept(dated date.Date) *posting {
	return p.of(EventAccepted, dated).debit(TransitAccount(PayPal), p.net()).credit(PlatformAccount(PayPal), p.net())
}

// ProviderFee (14): what the provider has charged us, as it reports it. Debit provider_fee, credit
// platform; the reverse when it is below zero, a fee that was given back; nothing when there is none.
// The source is the provider's own object.
func ProviderFee(ctx context.Context, tx pgx.Tx, p Payout, fee money.Amount, dated date.Date, source string) error {
	if fee.IsZero() {
		return nil
	}
	charged := from(source, EventProviderFee, dated).debit(ProviderFeeAccount(), fee).credit(PlatformAccount(p.Rail), fee)
	charged.payoutID = p.ID
	_, err := post(ctx, tx, charged)
	return err
}

// ItemFailed (17, then 4): what PayPal had taken failed, came back unclaimed, or was canceled or
// denied. Debit platform N, credit transit N. The money is released with it.
func ItemFailed(ctx context.Context, tx pgx.Tx, p Payout, dated date.Date) (released bool, err error) {
	return p.post(ctx, tx, p.failItem(dated), p.release(dated))
}

func (p Payout) failItem(dated date.Date) *posting {
	return p.of(EventItemFailed, dated).debit(PlatformAccount(PayPal), p.net()).credit(TransitAccount(PayPal), p.net())
}

// ItemReversed (18, then 4): PayPal has taken the whole of a paid payout back. Debit platform N and
// fees F, credit in_payout G. The money is released with it.
func ItemReversed(ctx context.Context, tx pgx.Tx, p Payout, dated date.Date) (released bool, err error) {
	return p.post(ctx, tx, p.reverseItem(dated), p.release(dated))
}

func (p Payout) reverseItem(dated date.Date) *posting {
	return p.of(EventItemReversed, dated).debit(PlatformAccount(PayPal), p.net()).debit(FeesAccount(), p.Fee).
		credit(InPayoutAccount(p.PayeeID), p.Gross)
}

// ItemPartlyReversed (19): PayPal has taken a part of a paid payout back, and it stays paid. Debit
// platform, credit payee. The source is PayPal's own transaction.
func ItemPartlyReversed(ctx context.Context, tx pgx.Tx, p Payout, part money.Amount, dated date.Date, source string) error {
	reversed := from(source, EventPartlyReversed, dated).positive(part).
		debit(PlatformAccount(PayPal), part).credit(PayeeAccount(p.PayeeID), part)
	reversed.payoutID = p.ID
	_, err := post(ctx, tx, reversed)
	return err
}

// ItemTakenBack (18, without its 4): PayPal has taken the whole of a paid payout back after parts of it
// were reversed. What the payee was given for the parts is taken again, since the whole goes back into
// the payout, where it is held.
func ItemTakenBack(ctx context.Context, tx pgx.Tx, p Payout, dated date.Date) error {
	parts, err := PartsReversed(ctx, tx, p)
	if err != nil {
		return err
	}
	postings := []*posting{p.reverseItem(dated)}
	if !parts.IsZero() {
		undone := from(fmt.Sprintf("payout/%s/parts_undone/%d", p.ID, p.Epoch), EventPartlyReversed, dated).positive(parts).
			debit(PayeeAccount(p.PayeeID), parts).credit(PlatformAccount(PayPal), parts)
		undone.payoutID = p.ID
		postings = append([]*posting{undone}, postings...)
	}
	_, err = p.post(ctx, tx, postings...)
	return err
}

// PartsReversed is what PayPal has taken back of a payout that stays paid.
func PartsReversed(ctx context.Context, db postgres.DB, p Payout) (money.Amount, error) {
	parts := money.Zero(p.Gross.Currency)
	err := db.QueryRow(ctx, `SELECT coalesce(-sum(e.amount), 0)::bigint FROM ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id
		WHERE t.payout_id = $1 AND t.payout_id <> '' AND t.event = $2 AND e.account = 'payee'`, p.ID, string(EventPartlyReversed)).Scan(&parts.Minor)
	if err != nil {
		return money.Amount{}, fmt.Errorf("ledger: payout %s: add up what was reversed of it: %w", p.ID, err)
	}
	return parts, nil
}

// Charged is what the provider has charged for a payout, in minor units, by so many postings.
type Charged struct {
	Minor int64
	Times int
}

// ProviderFees gives what the provider has charged for those of the payouts for which it has.
func ProviderFees(ctx context.Context, db postgres.DB, payoutIDs []string) (map[string]Charged, error) {
	rows, err := db.Query(ctx, `SELECT t.payout_id, sum(e.amount)::bigint, count(*)::int FROM ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id
		WHERE t.payout_id = ANY ($1) AND t.payout_id <> '' AND t.event = $2 AND e.account = 'provider_fee' GROUP BY t.payout_id`,
		payoutIDs, string(EventProviderFee))
	if err != nil {
		return nil, fmt.Errorf("ledger: add up what was charged for %d payouts: %w", len(payoutIDs), err)
	}
	var (
		id      string
		one     Charged
		charged = make(map[string]Charged, len(payoutIDs))
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &one.Minor, &one.Times}, func() error {
		charged[id] = one
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ledger: add up what was charged for %d payouts: %w", len(payoutIDs), err)
	}
	return charged, nil
}

// Posted gives those of the sources from which something was posted.
func Posted(ctx context.Context, db postgres.DB, sources []string) (map[string]bool, error) {
	rows, err := db.Query(ctx, `SELECT source FROM ledger_transactions WHERE source = ANY ($1) AND source <> ''`, sources)
	if err != nil {
		return nil, fmt.Errorf("ledger: look for %d sources: %w", len(sources), err)
	}
	posted := make(map[string]bool, len(sources))
	var source string
	_, err = pgx.ForEachRow(rows, []any{&source}, func() error {
		posted[source] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ledger: look for %d sources: %w", len(sources), err)
	}
	return posted, nil
}

// Duplicate (21): money of a payout has left the platform a second time. Debit writeoff, credit
// platform. What a payee gives back of it is an Adjustment below zero. The source is the provider's own
// object.
func Duplicate(ctx context.Context, tx pgx.Tx, p Payout, moved money.Amount, dated date.Date, source string) error {
	duplicate := from(source, EventDuplicate, dated).positive(moved).
		debit(WriteOffAccount(), moved).credit(PlatformAccount(p.Rail), moved)
	duplicate.payoutID = p.ID
	_, err := post(ctx, tx, duplicate)
	return err
}

// WriteOff (22): a balance below zero, or a part of it, is given up. Debit writeoff, credit payee.
func WriteOff(ctx context.Context, tx pgx.Tx, payeeID string, a money.Amount, dated date.Date, source string) error {
	_, err := post(ctx, tx, from(source, EventWriteOff, dated).positive(a).debit(WriteOffAccount(), a).credit(PayeeAccount(payeeID), a))
	return err
}

// Adjustment (22): an operator puts a balance right. Debit writeoff, credit payee; the reverse when it
// is below zero, which takes from the payee.
func Adjustment(ctx context.Context, tx pgx.Tx, payeeID string, a money.Amount, dated date.Date, source string) error {
	_, err := post(ctx, tx, from(source, EventAdjustment, dated).debit(WriteOffAccount(), a).credit(PayeeAccount(payeeID), a))
	return err
}

// post writes what happened to the payout, and tells whether anything of it was not there before.
func (p Payout) post(ctx context.Context, tx pgx.Tx, postings ...*posting) (posted bool, err error) {
	if err := p.check(); err != nil {
		return false, err
	}
	n, err := post(ctx, tx, postings...)
	return n > 0, err
}

// check says what is wrong with the payout.
func (p Payout) check() error {
	net, err := p.Gross.Sub(p.Fee)
	switch {
	case err != nil:
		return fmt.Errorf("ledger: payout %s: gross and fee: %w", p.ID, err)
	case p.Fee.Sign() < 0 || net.Sign() <= 0:
		return fmt.Errorf("ledger: payout %s: a fee of %s does not go with a gross of %s", p.ID, p.Fee, p.Gross)
	case p.ID == "" || p.PayeeID == "":
		return fmt.Errorf("ledger: payout %q of payee %q: an id is empty", p.ID, p.PayeeID)
	case p.Rail == Stripe && p.AccountID == "":
		return fmt.Errorf("ledger: payout %s: it has no connected account", p.ID)
	case p.Rail != Stripe && p.Rail != PayPal:
		return fmt.Errorf("ledger: payout %s: %q is not a rail", p.ID, p.Rail)
	}
	return nil
}
