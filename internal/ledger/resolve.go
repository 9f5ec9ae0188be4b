package ledger

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
)

// ResolvedPaid (20): a person, or a look-up, found the payout paid. It posts what is missing of 5–7 at
// Stripe and of 13 and 15 at PayPal.
func ResolvedPaid(ctx context.Context, tx pgx.Tx, p Payout, dated date.Date) error {
	now, err := p.standing(ctx, tx)
	if err != nil {
		return err
	}
	var missing []*posting
	switch {
	case now.is(paid):
		return nil
	case now.is(released):
		return fmt.Errorf("ledger: payout %s: its money was released, so it cannot become paid", p.ID)
	case now.is(claimed) && p.Rail == Stripe:
		missing = []*posting{p.transfer(dated), p.confirm(dated), p.paid(dated)}
	case now.is(claimed):
		missing = []*posting{p.accept(dated), p.paid(dated)}
	case now.is(transferred):
		missing = []*posting{p.confirm(dated), p.paid(dated)}
	case now.is(underway):
		missing = []*posting{p.paid(dated)}
	}
	_, err = p.post(ctx, tx, now.again(missing)...)
	return err
}

// ResolvedFailed (20): a person, or a look-up, found that the payee does not have the money. It posts
// what is missing of 8–9 at Stripe, of 17 or 18 at PayPal, and of 4. What we have received counts where
// a transfer has to be reversed; where there was none, nothing is received.
func ResolvedFailed(ctx context.Context, tx pgx.Tx, p Payout, received money.Amount, dated date.Date) (releasedNow bool, err error) {
	now, err := p.standing(ctx, tx)
	if err != nil {
		return false, err
	}
	reversal, err := p.reverse(received, dated)
	if err != nil {
		return false, err
	}
	var missing []*posting
	switch stripe := p.Rail == Stripe; {
	case now.is(released):
		return false, nil
	case now.is(claimed):
	case now.is(transferred):
		missing = []*posting{reversal}
	case now.is(underway) && stripe:
		missing = []*posting{p.fail(dated), reversal}
	case now.is(underway):
		missing = []*posting{p.failItem(dated)}
	case now.is(paid) && stripe:
		missing = []*posting{p.giveBack(dated), reversal}
	case now.is(paid):
		missing = []*posting{p.reverseItem(dated)}
	}
	return p.post(ctx, tx, append(now.again(missing), p.release(dated))...)
}

// stage is how far a payout's money is.
type stage int

const (
	claimed     stage = iota // nothing of it has moved
	transferred              // on the connected account
	underway                 // to the bank, or at PayPal
	paid
	released
)

// standing is what the ledger knows of a payout.
type standing struct {
	stage stage
	last  map[Event]int // the highest epoch of each event
}

func (s standing) is(at stage) bool { return s.stage == at }

// again gives each posting the epoch behind those that are there.
func (s standing) again(postings []*posting) []*posting {
	for _, p := range postings {
		if last, before := s.last[p.event]; before {
			p.epoch = max(p.epoch, last+1)
		}
	}
	return postings
}

// standing reads how far the payout's money is.
func (p Payout) standing(ctx context.Context, tx pgx.Tx) (standing, error) {
	if err := p.check(); err != nil {
		return standing{}, err
	}
	rows, err := tx.Query(ctx, `SELECT t.event, t.epoch, e.account, e.amount FROM ledger_transactions t
		JOIN ledger_entries e ON e.transaction_id = t.id WHERE t.payout_id = $1 AND t.payout_id <> '' AND t.source = ''`, p.ID)
	if err != nil {
		return standing{}, fmt.Errorf("ledger: payout %s: read: %w", p.ID, err)
	}
	var (
		found  = standing{last: map[Event]int{}}
		sums   = map[Kind]int64{}
		event  Event
		epoch  int
		kind   Kind
		amount int64
	)
	_, err = pgx.ForEachRow(rows, []any{&event, &epoch, &kind, &amount}, func() error {
		found.last[event] = max(found.last[event], epoch)
		sums[kind] += amount
		return nil
	})
	if err != nil {
		return standing{}, fmt.Errorf("ledger: payout %s: read: %w", p.ID, err)
	}
	found.stage, err = p.stage(found.last, sums)
	return found, err
}

func (p Payout) stage(events map[Event]int, sums map[Kind]int64) (stage, error) {
	_, wasClaimed := events[EventClaim]
	_, wasReleased := events[EventRelease]
	type place struct{ inPayout, acct, transit int64 }
	gross, net := p.Gross.Minor, p.net().Minor
	switch at := (place{-sums[KindInPayout], sums[KindAcct], sums[KindTransit]}); {
	case !wasClaimed:
		return 0, fmt.Errorf("ledger: payout %s: it was never claimed", p.ID)
	case at == place{} && wasReleased:
		return released, nil
	case at == place{}:
		return paid, nil
	case at == place{inPayout: gross}:
		return claimed, nil
	case at == place{inPayout: gross, acct: net}:
		return transferred, nil
	case at == place{inPayout: gross, transit: net}:
		return underway, nil
	default:
		return 0, fmt.Errorf("ledger: payout %s: %s gross and %s net are not what was posted for it", p.ID, p.Gross, p.net())
	}
}
