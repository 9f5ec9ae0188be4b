package activities

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/workflows"
)

// PayPalSearch searches PayPal's movements for payouts that were taken back after they were paid, and for
// batches that PayPal has although none of ours is known to be there.
type PayPalSearch struct {
	pool     *pgxpool.Pool
	payouts  *payout.Store
	client   *paypal.Client
	attempts *attempts
	pages    waiter
	moves    *PayPalPayouts
}

// NewPayPalSearch makes the activity. A nil client is a PayPal that is not configured; pages is the
// limiter of this process for all pages but the first.
func NewPayPalSearch(pool *pgxpool.Pool, payouts *payout.Store, client *paypal.Client, breaker *provider.Breaker, pages waiter, log *slog.Logger) *PayPalSearch {
	return &PayPalSearch{
		pool: pool, payouts: payouts, client: client, pages: pages,
		attempts: newAttempts(pool, provider.PayPal, breaker, client != nil, log),
		moves:    NewPayPalPayouts(pool, payouts, client, breaker, pages, log),
	}
}

const (
	searchWindow = 31 * 24 * time.Hour // the most that PayPal searches at once
	leastWindow  = time.Minute         // shorter ones would not end
)

// SearchPayPalTransactions searches from where the last search ended, less a few days, up to now, and
// keeps after each stretch of time how far it is.
func (s *PayPalSearch) SearchPayPalTransactions(ctx context.Context) (result workflows.SearchResult, err error) {
	err = s.attempts.try(ctx, "", func(ctx context.Context) error {
		from, err := payout.SearchFrom(ctx, s.pool)
		if err != nil || from.IsZero() {
			return err
		}
		now, err := postgres.Now(ctx, s.pool)
		if err != nil {
			return err
		}
		return s.searchAll(ctx, from, now, &result)
	})
	return result, err
}

// searchAll searches a time in stretches as long as PayPal allows. Behind a movement that is still to come
// nothing counts as searched, whatever later stretches have found.
func (s *PayPalSearch) searchAll(ctx context.Context, from, now time.Time, result *workflows.SearchResult) error {
	until := now
	for length := searchWindow; from.Before(now); {
		to := earlier(from.Add(length), now)
		found, err := s.search(ctx, from, to)
		if failure, ok := errors.AsType[*provider.Failure](err); ok && failure.Code == paypal.CodeSearchTooLarge && length > leastWindow {
			length /= 2
			continue
		}
		if err != nil {
			return err
		}
		if err := s.take(ctx, found, result); err != nil {
			return err
		}
		if found.until.Before(to) {
			until = earlier(until, found.until)
		}
		if err := payout.Searched(ctx, s.pool, earlier(until, to), to.Equal(now)); err != nil {
			return err
		}
		from = to
	}
	return nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// searched is what a stretch of time holds.
type searched struct {
	movements int
	taken     []payout.TakenBack
	mentions  []payout.Mention
	// until is up to when nothing can come to it any more, as far as PayPal tells.
	until time.Time
}

func (s *PayPalSearch) search(ctx context.Context, from, to time.Time) (searched, error) {
	found := searched{until: to}
	for page, pages := 1, 1; page <= pages; page++ {
		if err := s.pages.Wait(ctx); err != nil {
			return found, err
		}
		listed, err := s.client.SearchTransactions(ctx, from, to, page)
		if err != nil {
			return found, err
		}
		pages = listed.TotalPages
		found.movements += len(listed.Transactions)
		if at := listed.RefreshedAt; !at.IsZero() && at.Before(found.until) {
			found.until = at
		}
		for _, t := range listed.Transactions {
			found.add(t)
			if leftUs(t) && payout.ValidID(t.CustomField) {
				found.mentions = append(found.mentions, payout.Mention{PayoutID: t.CustomField, PayPalBatchID: t.ReferenceID})
			}
		}
	}
	return found, nil
}

// pending and succeeded are how PayPal says that a movement is to come, and that it has.
const (
	pending   = "P"
	succeeded = "S"
)

// takesBack says that a movement's event is that a payment, or a payout of many, was reversed or refunded.
// Others may name the same payout, such as one that gives its fee back.
func takesBack(event string) bool {
	return slices.Contains([]string{"T1106", "T1107", "T1114", "T1115"}, event)
}

// add keeps a movement that brings money back. One that is still to come is looked for again.
func (f *searched) add(t paypal.Transaction) {
	amount, err := money.Parse(t.Value, money.Currency(strings.ToLower(t.Currency)))
	if err != nil || amount.Sign() <= 0 || t.ReferenceID == "" || !takesBack(t.EventCode) {
		return
	}
	switch t.Status {
	case pending:
		if !t.InitiatedAt.IsZero() && t.InitiatedAt.Before(f.until) {
			f.until = t.InitiatedAt
		}
	case succeeded:
		f.taken = append(f.taken, payout.TakenBack{TransactionID: t.ID, Of: t.ReferenceID, Amount: amount})
	}
}

// take has payouts looked at that came back whole, and records of the others what was taken back.
func (s *PayPalSearch) take(ctx context.Context, found searched, result *workflows.SearchResult) error {
	result.Searched += found.movements
	if err := s.takeOver(ctx, found.mentions, result); err != nil {
		return err
	}
	reversals, err := payout.FindReversals(ctx, s.pool, found.taken)
	if err != nil {
		return err
	}
	for _, r := range reversals {
		if r.Whole {
			result.Whole++
			if err := s.haveRead(ctx, r); err != nil {
				return err
			}
			continue
		}
		isNew, err := s.payouts.TakePartBack(ctx, r)
		if err != nil {
			return err
		}
		if isNew {
			result.Parts++
		}
	}
	return nil
}

// takeOver takes over what PayPal has of our payouts in batches that none of ours is known to be.
func (s *PayPalSearch) takeOver(ctx context.Context, mentions []payout.Mention, result *workflows.SearchResult) error {
	unknown, err := payout.UnknownBatches(ctx, s.pool, mentions)
	if err != nil {
		return err
	}
	for _, payPalBatchID := range unknown {
		there, err := s.moves.takeOver(ctx, payPalBatchID)
		if err != nil {
			return err
		}
		if there {
			result.Found++
		}
	}
	return nil
}

// haveRead has the item of a payout read that came back whole, again on every day on which it is found. That
// of a blocked one need not tell; when that of a paid one does not, people see it.
func (s *PayPalSearch) haveRead(ctx context.Context, r payout.Reversal) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		if r.Blocked {
			if err := s.payouts.ItemFundsBack(ctx, tx, r.BatchID, r.PayoutID); err != nil {
				return err
			}
		} else if err := s.payouts.KeepWhole(ctx, tx, r); err != nil {
			return err
		}
		cause := "reversed/" + r.TransactionID + "/" + time.Now().UTC().Format(time.DateOnly)
		return outbox.Add(ctx, tx, workflows.LookAtPayPalBatch(r.BatchID, cause))
	})
}
