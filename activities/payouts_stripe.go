package activities

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/activity"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/workflows"
)

// Operations of a payout at Stripe. Each is a write that happens once.
const (
	opTransfer = "transfer"
	opPayout   = "payout"
	opReversal = "reversal"
)

// How long a payout waits, and for what.
const (
	hindranceWait   = 15 * time.Minute   // for the kill switch, a pause or an approval
	fundingWait     = 15 * time.Minute   // for the platform's balance to be filled up,
	fundingPatience = 3 * 24 * time.Hour // and when it ends without
	fundsWait       = 30 * time.Second   // for what was transferred to be available on the account,
	fundsPatience   = 10 * time.Minute   // and when it is taken back
	moneyBackWait   = time.Hour          // for what did not arrive to be back on the account
	// freshCheck is how long a look at the destination is good for.
	freshCheck = 10 * time.Minute
)

// Codes of what ends payouts, beside Stripe's own.
const (
	codeFundsNotAvailable = "funds_not_available"
	codeMismatch          = "payout_is_not_as_it_was_sent"
	codeCanceled          = "canceled"
)

// StripePayouts makes the moves of payouts at Stripe. Each changes one thing there at most, records
// what came of it, and says what the next move is.
type StripePayouts struct {
	pool     *pgxpool.Pool
	payouts  *payout.Store
	client   *stripe.Client
	attempts *attempts
	writer   *writer
	turns    waiter
}

// NewStripePayouts makes the activities. A nil client is a Stripe that is not configured; turns is the
// limiter of this process for all calls of moves, since most make two and their queue's rate counts one.
func NewStripePayouts(
	pool *pgxpool.Pool, payouts *payout.Store, client *stripe.Client, breaker *provider.Breaker, turns waiter, log *slog.Logger,
) *StripePayouts {
	return &StripePayouts{
		pool: pool, payouts: payouts, client: client, turns: turns,
		attempts: newAttempts(pool, provider.Stripe, breaker, client != nil, log),
		writer:   &writer{pool: pool, requests: provider.NewRequests()},
	}
}

// instead is what is to be done instead of what follows from the payout's state, and when. The zero
// value changes nothing.
type instead struct {
	do    string
	after time.Duration
}

// errOvertaken means that a move is no longer what the payout needs: another attempt at it, or a
// person, has brought the payout further.
var errOvertaken = errors.New("the payout has gone on meanwhile")

// errUncovered means that the payee's balance became negative before anything of the payout was sent.
var errUncovered = errors.New("the payee's balance does not bear the payout any more")

// move makes one attempt at a move of a payout as it stands, and says what the next one is. A move
// that the payout does not need, since it was canceled or has gone on, is not made. What nobody can
// tell is held for a person.
func (s *StripePayouts) move(
	ctx context.Context, in workflows.PayoutStepInput, activity string, do func(context.Context, payout.Payout) (instead, error),
) (next workflows.PayoutMove, err error) {
	began := time.Now()
	p, err := payout.GetPayout(ctx, s.pool, in.PayoutID)
	if err != nil {
		return next, err
	}
	if !needs(p, activity) { // which does not wait for Stripe
		return s.next(ctx, in, began, instead{})
	}
	err = s.attempts.try(ctx, in.Step, func(ctx context.Context) error {
		if err := s.turns.Wait(ctx); err != nil {
			return err
		}
		other, err := do(ctx, p)
		if err = s.hold(ctx, p, err); err != nil && !errors.Is(err, errOvertaken) {
			return err
		}
		next, err = s.next(ctx, in, began, other)
		return err
	})
	return next, err
}

// needs says that a move is one that the payout as it stands can need.
func needs(p payout.Payout, activity string) bool {
	switch activity {
	case workflows.ActivityCheckDestination: // again, when the transfer has to wait
		return nextMove(p).Do == activity || nextMove(p).Do == workflows.ActivitySendTransfer
	case workflows.ActivityReadPayout: // it may have come back since it was paid, or gone on since it is held
		return nextMove(p).Do == activity || p.State == payout.Paid && p.Ending == "" || p.State == payout.Held
	}
	return nextMove(p).Do == activity
}

// admit lets a movement of money out only while the payout needs it, and holds the payout until the
// sending is recorded.
func admit(id, activity string) func(context.Context, pgx.Tx) error {
	return func(ctx context.Context, tx pgx.Tx) error {
		p, err := payout.LockPayout(ctx, tx, id)
		if err == nil && !needs(p, activity) {
			err = errOvertaken
		}
		return err
	}
}

// admitTransfer is admit for a payout's first movement: what was never sent goes only while the payee's
// balance bears it. What may have been sent is sent again in any case: only so it is known what came of it.
func (s *StripePayouts) admitTransfer(p payout.Payout) func(context.Context, pgx.Tx) error {
	return func(ctx context.Context, tx pgx.Tx) error {
		covered, err := payout.LockCovered(ctx, tx, p.ID)
		if err != nil {
			return err
		}
		if err := admit(p.ID, workflows.ActivitySendTransfer)(ctx, tx); err != nil || covered {
			return err
		}
		sent, err := s.sent(ctx, tx, s.transfer(p))
		if err == nil && !sent {
			err = errUncovered
		}
		return err
	}
}

// unlessSent ends a payout, or begins to, for want of a movement. It is undone when another attempt,
// one that was taken for lost, has sent the movement after all.
func (s *StripePayouts) unlessSent(ctx context.Context, what write, end func(pgx.Tx) error) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		if err := end(tx); err != nil { // it holds the payout, without which nothing is sent
			return err
		}
		sent, err := s.sent(ctx, tx, what)
		if err == nil && sent {
			err = errOvertaken
		}
		return err
	})
}

// hold leaves a payout to a person when money may have moved and nothing tells whether it did, and
// gives every other failure on. What is paid stays so: a person sees to its step.
func (s *StripePayouts) hold(ctx context.Context, p payout.Payout, err error) error {
	failure, _ := errors.AsType[*provider.Failure](err)
	switch {
	case p.State == payout.Paid && p.Ending == "":
	case failure != nil && failure.Class == provider.Held:
		return s.inTx(ctx, func(tx pgx.Tx) error { return s.payouts.HoldFound(ctx, tx, p.ID, failure.Code) })
	case errors.Is(err, payout.ErrOtherObject):
		return s.inTx(ctx, func(tx pgx.Tx) error { return s.payouts.Hold(ctx, tx, p.ID, err.Error()) })
	}
	return err
}

// next says what is to be done next, and ends the step when that is nothing. Otherwise the provider's
// gate learns that the step got through, for more may wait behind it.
func (s *StripePayouts) next(ctx context.Context, in workflows.PayoutStepInput, began time.Time, other instead) (workflows.PayoutMove, error) {
	now, err := payout.GetPayout(ctx, s.pool, in.PayoutID)
	if err != nil {
		return workflows.PayoutMove{}, err
	}
	workflowID := activity.GetInfo(ctx).WorkflowExecution.ID
	move := nextMove(now)
	if move.Do == "" && other.do == "" {
		return move, step.Finish(ctx, s.pool, workflowID, in.Step, step.Done)
	}
	if err := step.Advance(ctx, s.pool, workflowID, in.Step, began); err != nil {
		return move, err
	}
	if other.do != "" {
		move.Do, move.At = other.do, nil
	}
	if other.after > 0 {
		at := time.Now().Add(other.after)
		move.At = &at
	}
	return move, nil
}

func (s *StripePayouts) inTx(ctx context.Context, do func(pgx.Tx) error) error {
	return postgres.InTx(ctx, s.pool, do)
}

// CheckDestination looks at where the money is to go, right before it goes there, and lets it be sent
// if nothing speaks against that.
func (s *StripePayouts) CheckDestination(ctx context.Context, in workflows.PayoutStepInput) (workflows.PayoutMove, error) {
	return s.move(ctx, in, workflows.ActivityCheckDestination, func(ctx context.Context, p payout.Payout) (instead, error) {
		if done, err := s.takeOver(ctx, p, s.transfer(p)); err != nil || done {
			return instead{}, err
		}
		asOf := time.Now()
		seen, err := s.look(ctx, p.PayeeID, p.StripeAccountID)
		if failure, ok := refusalOf(err); ok { // the account is connected to us no more
			if err := s.keepDisconnected(ctx, p, asOf); err != nil {
				return instead{}, err
			}
			return instead{}, s.endBefore(ctx, p, payout.BecauseNoDestination, failure)
		}
		if err != nil {
			return instead{}, err
		}
		return s.judge(ctx, p, seen)
	})
}

// keepDisconnected keeps that a payout's account is connected to us no more, so that nothing is planned for it.
func (s *StripePayouts) keepDisconnected(ctx context.Context, p payout.Payout, asOf time.Time) error {
	seen, err := s.disconnected(ctx, p.PayeeID, p.StripeAccountID, asOf)
	if err != nil {
		return err
	}
	return s.inTx(ctx, func(tx pgx.Tx) error { return s.payouts.PutAccountSnapshot(ctx, tx, seen) })
}

// look reads a connected account, and what it has.
func (s *StripePayouts) look(ctx context.Context, payeeID, accountID string) (payout.Account, error) {
	asOf := time.Now()
	found, err := s.client.GetAccount(ctx, accountID)
	if err != nil {
		return payout.Account{}, err
	}
	if err := s.turns.Wait(ctx); err != nil {
		return payout.Account{}, err
	}
	has, err := s.client.GetBalance(ctx, accountID)
	return accountSeen(payeeID, found, has, asOf), err
}

// accountSeen puts together how an account was seen: with the bank or card that its payouts go to.
func accountSeen(payeeID string, a stripe.Account, has stripe.Balance, asOf time.Time) payout.Account {
	seen := payout.Account{
		StripeAccountID: a.ID, PayeeID: payeeID, Country: a.Country, Currency: a.DefaultCurrency,
		ScheduleInterval: a.ScheduleInterval, PayoutsEnabled: a.PayoutsEnabled && a.TransfersActive, AsOf: asOf,
	}
	for _, e := range a.ExternalAccounts {
		if e.Default && (seen.ExternalAccountID == "" || e.Currency == a.DefaultCurrency) {
			seen.ExternalAccountID, seen.ExternalCurrency = e.ID, e.Currency
			seen.ExternalErrored, seen.InstantOffered = e.Status == "errored", e.InstantAvailable
		}
	}
	for _, funds := range has {
		seen.Negative = seen.Negative || funds.Available+funds.Pending < 0
	}
	return seen
}

// judge keeps how the account was seen, and starts the payout or ends it.
func (s *StripePayouts) judge(ctx context.Context, p payout.Payout, seen payout.Account) (other instead, err error) {
	var problem payout.Reason
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		if err := s.payouts.PutAccountSnapshot(ctx, tx, seen); err != nil {
			return err
		}
		if problem, err = s.problem(ctx, tx, p, seen); err != nil || problem != "" {
			return err
		}
		if err := payout.MarkChecked(ctx, tx, p.ID); err != nil {
			return err
		}
		started, err := s.payouts.Start(ctx, tx, p.ID)
		if started.Waits != "" {
			other = instead{after: hindranceWait}
		}
		return err
	})
	if err != nil || problem == "" {
		return other, err
	}
	return instead{}, s.endBefore(ctx, p, problem, nil)
}

// problem is why the payout cannot go where it was planned to go.
func (s *StripePayouts) problem(ctx context.Context, tx pgx.Tx, p payout.Payout, seen payout.Account) (payout.Reason, error) {
	payee, err := payout.GetPayee(ctx, tx, p.PayeeID)
	if err != nil {
		return "", err
	}
	if payee.StripeAccountID != p.StripeAccountID { // what is known is of another account by now
		return payout.BecauseDestinationChanged, nil
	}
	facts, err := payout.LoadFactsOf(ctx, tx, p.PayeeID, time.Now())
	if err != nil {
		return "", err
	}
	if problem := facts.Stripe.Problem(p.Net.Currency); problem != "" {
		return problem, nil
	}
	if facts.Payable(p.PeriodEnd).Sign() < 0 {
		return payout.BecauseBalanceNegative, nil
	}
	if seen.ExternalAccountID != p.DestinationID {
		return payout.BecauseDestinationChanged, nil
	}
	if p.Method == payout.MethodInstant {
		return facts.NotInstant(s.payouts.Policy()), nil
	}
	return "", nil
}

// endBefore ends a payout before anything of it was transferred. What may have been, without a trace here,
// is looked for first, whatever the payout's age: nothing asks the key of it any more.
func (s *StripePayouts) endBefore(ctx context.Context, p payout.Payout, because payout.Reason, refused *provider.Failure) error {
	if done, err := s.takeOverNow(ctx, s.transfer(p)); err != nil || done {
		return err
	}
	return s.unlessSent(ctx, s.transfer(p), func(tx pgx.Tx) error {
		if p.State == payout.Planned {
			return s.payouts.CancelPlanned(ctx, tx, p.ID, because)
		}
		failure := payout.Failure{Class: string(provider.Rejected), Code: string(because), Message: because.Sentence(), Ending: payout.Canceled}
		failure.Destination = refused != nil && refused.Matter == provider.MatterPayee
		return s.payouts.TransferRefused(ctx, tx, p.ID, failure)
	})
}

// SendTransfer moves the net from the platform to the connected account.
func (s *StripePayouts) SendTransfer(ctx context.Context, in workflows.PayoutStepInput) (workflows.PayoutMove, error) {
	return s.move(ctx, in, workflows.ActivitySendTransfer, func(ctx context.Context, p payout.Payout) (instead, error) {
		what := s.transfer(p)
		if done, err := s.takeOver(ctx, p, what); err != nil || done {
			return instead{}, err
		}
		sent, err := s.sent(ctx, s.pool, what)
		if err != nil {
			return instead{}, err
		}
		if !sent {
			if fresh, err := s.freshlyChecked(ctx, p); err != nil || !fresh {
				return instead{do: workflows.ActivityCheckDestination}, err
			}
		}
		if stopped, other, err := s.hindered(ctx, p, what); err != nil || stopped {
			return other, err
		}
		err = s.writer.do(ctx, what)
		if errors.Is(err, errUncovered) {
			return instead{}, s.endBefore(ctx, p, payout.BecauseBalanceNegative, nil)
		}
		if failure, refused := refusalOf(err); refused {
			return s.cannotTransfer(ctx, p, what, failure)
		}
		return instead{}, err
	})
}

// freshlyChecked says that the destination was looked at a moment ago, by the clock by which that was recorded.
func (s *StripePayouts) freshlyChecked(ctx context.Context, p payout.Payout) (bool, error) {
	now, err := postgres.Now(ctx, s.pool)
	return err == nil && p.CheckedAt != nil && now.Sub(*p.CheckedAt) <= freshCheck, err
}

// cannotTransfer ends a payout whose transfer was refused. For want of our own funds it waits for them first.
func (s *StripePayouts) cannotTransfer(ctx context.Context, p payout.Payout, what write, refused *provider.Failure) (instead, error) {
	ended := failureOf(refused)
	if refused.Matter == provider.MatterOurs {
		if time.Since(p.StateSince) < fundingPatience {
			return instead{after: fundingWait}, s.note(ctx, p, payout.BecauseFunding)
		}
		ended.Code, ended.Ending = string(payout.BecauseFunding), payout.Canceled
	}
	return instead{}, s.unlessSent(ctx, what, func(tx pgx.Tx) error { return s.payouts.TransferRefused(ctx, tx, p.ID, ended) })
}

// note tells the payee why a payout waits.
func (s *StripePayouts) note(ctx context.Context, p payout.Payout, because payout.Reason) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		return s.payouts.Note(ctx, tx, p.PayeeID, date.Of(time.Now()), string(because), because.Sentence())
	})
}

func (s *StripePayouts) transfer(p payout.Payout) write {
	return write{
		operation: operation(opTransfer, p.ID),
		money:     true,
		admit:     s.admitTransfer(p),
		params: stripe.TransferRequest{
			Amount: p.Net.Minor, Currency: string(p.Net.Currency), Destination: p.StripeAccountID,
			TransferGroup: p.ID, PayoutID: p.ID, PayeeID: p.PayeeID,
		},
		send: func(ctx context.Context, request provider.Request) (string, error) {
			var frozen stripe.TransferRequest
			if err := request.Decode(&frozen); err != nil {
				return "", err
			}
			made, err := s.client.CreateTransfer(ctx, frozen, request.Key)
			return made.ID, err
		},
		find: func(ctx context.Context, request provider.Request) (string, bool, error) {
			return s.findTransfer(ctx, p, request)
		},
		record: func(ctx context.Context, tx pgx.Tx, _ provider.Request, transferID string) error {
			return s.payouts.TransferFound(ctx, tx, p.ID, transferID)
		},
	}
}

// findTransfer looks for the transfer of a payout among all that the account got in its name.
func (s *StripePayouts) findTransfer(ctx context.Context, p payout.Payout, request provider.Request) (string, bool, error) {
	transfers, err := s.client.ListTransfers(ctx, stripe.ListTransfersParams{
		Destination: p.StripeAccountID, TransferGroup: p.ID, CreatedFrom: since(p, request),
	})
	if err != nil {
		return "", false, err
	}
	ours := slices.DeleteFunc(transfers, func(t stripe.Transfer) bool { return t.HoldfastPayoutID() != p.ID })
	made, found, err := theOne(ours, func(t stripe.Transfer) bool {
		return t.Amount == p.Net.Minor && t.Currency == string(p.Net.Currency)
	})
	return made.ID, found, err
}

// theOne is what a lost request made, among all that claims to be it. When that is several, or one that
// is not as it was sent, nothing tells what moved: a person looks.
func theOne[Object any](claiming []Object, asSent func(Object) bool) (made Object, found bool, err error) {
	switch {
	case len(claiming) == 0:
		return made, false, nil
	case len(claiming) == 1 && asSent(claiming[0]):
		return claiming[0], true, nil
	}
	return made, false, &provider.Failure{Provider: provider.Stripe, Class: provider.Held, Code: codeMismatch}
}

// since is from when on what a request of a payout's did can have been made.
func since(p payout.Payout, request provider.Request) time.Time {
	if request.FirstSentAt == nil {
		return madeSince(p).Add(-lookBack)
	}
	return request.FirstSentAt.Add(-lookBack)
}

// madeSince is from when on something of a payout can have been made. A run that is done again after a
// restored backup plans what it planned on its date.
func madeSince(p payout.Payout) time.Time {
	if day := p.RunDate.Time(); !p.RunDate.IsZero() && day.Before(p.CreatedAt) {
		return day
	}
	return p.CreatedAt
}

// mayBeForgotten says that a payout, or the one that it is again after a restored backup, is so old that
// Stripe may have forgotten the keys of what was sent of it. Those of a run's own date live until the next.
func mayBeForgotten(p payout.Payout, now time.Time) bool {
	return (provider.Request{FirstSentAt: &p.CreatedAt}).Expired(now) || !p.RunDate.IsZero() && p.RunDate.Before(date.Of(now))
}

// takeOver takes over what a write has done without a trace here, as after a restored backup. It looks
// only when the payout is so old that the key may no longer keep what was sent then from being done again.
// One look is enough: what was sent since then, and does not show yet, the same key still answers.
func (s *StripePayouts) takeOver(ctx context.Context, p payout.Payout, what write) (done bool, err error) {
	if !mayBeForgotten(p, time.Now()) {
		return false, nil
	}
	return s.takeOverNow(ctx, what)
}

// takeOverNow is takeOver for a payout of any age.
func (s *StripePayouts) takeOverNow(ctx context.Context, what write) (done bool, err error) {
	request, err := s.writer.requests.Freeze(ctx, s.pool, what.operation, what.params)
	if err != nil || request.Outcome != provider.OutcomeOpen {
		return false, err
	}
	untraced := request
	untraced.FirstSentAt = nil // what is recorded may not have been the first
	if err := s.turns.Wait(ctx); err != nil {
		return false, err
	}
	objectID, found, err := what.find(ctx, untraced)
	if failure, refused := refusalOf(err); refused {
		return false, as(provider.Held, failure)
	}
	if err != nil || !found {
		return false, err
	}
	return true, s.writer.settle(ctx, what, request, objectID)
}

// sent says whether a write was ever sent, so that something may come of it.
func (s *StripePayouts) sent(ctx context.Context, db postgres.DB, what write) (bool, error) {
	request, err := s.writer.requests.Freeze(ctx, db, what.operation, what.params)
	return request.FirstSentAt != nil, err
}

// hindered says that nothing is to be sent at present. Nothing is sent again either, since that may be what
// moves the money: it is looked for.
func (s *StripePayouts) hindered(ctx context.Context, p payout.Payout, what write) (stopped bool, other instead, err error) {
	hindrance, err := payout.MaySend(ctx, s.pool, p.ID)
	if err != nil || hindrance == "" {
		return false, instead{}, err
	}
	found, err := s.writer.seek(ctx, what)
	if err != nil || found {
		return true, instead{}, err
	}
	return true, instead{after: hindranceWait}, nil
}

// SendPayout pays out from the connected account, once what was transferred is available there.
func (s *StripePayouts) SendPayout(ctx context.Context, in workflows.PayoutStepInput) (workflows.PayoutMove, error) {
	return s.move(ctx, in, workflows.ActivitySendPayout, func(ctx context.Context, p payout.Payout) (instead, error) {
		what := s.payOut(p)
		if done, err := s.takeOver(ctx, p, what); err != nil || done {
			return instead{}, err
		}
		if stopped, other, err := s.hindered(ctx, p, what); err != nil || stopped {
			return other, err
		}
		sent, err := s.sent(ctx, s.pool, what)
		if err != nil {
			return instead{}, err
		}
		if !sent {
			if ready, other, err := s.readyToPayOut(ctx, p); err != nil || !ready {
				return other, err
			}
		}
		err = s.writer.do(ctx, what)
		failure, refused := refusalOf(err)
		switch {
		case !refused:
			return instead{}, err
		case failure.Code == "balance_insufficient" || failure.Code == "insufficient_funds":
			return s.lacks(ctx, p)
		}
		return instead{}, s.cannotPayOut(ctx, p, failureOf(failure))
	})
}

// readyToPayOut says whether nothing speaks against paying out now, or what is to be done instead.
func (s *StripePayouts) readyToPayOut(ctx context.Context, p payout.Payout) (ready bool, other instead, err error) {
	covered, err := s.covered(ctx, p)
	failure, refused := refusalOf(err)
	switch {
	case refused: // the account is connected to us no more
		return false, instead{}, s.cannotPayOut(ctx, p, failureOf(failure))
	case err != nil:
		return false, instead{}, err
	case !covered:
		other, err = s.lacks(ctx, p)
		return false, other, err
	}
	return true, instead{}, s.turns.Wait(ctx)
}

// cannotPayOut begins to take back what was transferred for a payout that was refused or never sent.
func (s *StripePayouts) cannotPayOut(ctx context.Context, p payout.Payout, failure payout.Failure) error {
	return s.unlessSent(ctx, s.payOut(p), func(tx pgx.Tx) error { return s.payouts.PayoutFailed(ctx, tx, p.ID, failure) })
}

// covered says whether the connected account has what the payout takes.
func (s *StripePayouts) covered(ctx context.Context, p payout.Payout) (bool, error) {
	has, err := s.client.GetBalance(ctx, p.StripeAccountID)
	funds := has[string(p.Net.Currency)]
	if p.Method == payout.MethodInstant {
		return funds.InstantAvailable >= p.Net.Minor, err
	}
	return funds.Available >= p.Net.Minor, err
}

// lacks waits for what was transferred to become available, and takes it back when it does not.
func (s *StripePayouts) lacks(ctx context.Context, p payout.Payout) (instead, error) {
	now, err := postgres.Now(ctx, s.pool)
	if err != nil {
		return instead{}, err
	}
	if p.MovedAt == nil || now.Sub(*p.MovedAt) < fundsPatience {
		return instead{after: fundsWait}, nil
	}
	// It may lack what was paid out already, if a restored backup knows nothing of that.
	if done, err := s.takeOverNow(ctx, s.payOut(p)); err != nil || done {
		return instead{}, err
	}
	failure := payout.Failure{
		Class: string(provider.Transient), Code: codeFundsNotAvailable, Ending: payout.Canceled,
		Message: "What was transferred did not become available in time; it was taken back.",
	}
	return instead{}, s.cannotPayOut(ctx, p, failure)
}

func (s *StripePayouts) payOut(p payout.Payout) write {
	var arrival date.Date
	return write{
		operation: operation(opPayout, p.ID),
		money:     true,
		admit:     admit(p.ID, workflows.ActivitySendPayout),
		params: stripe.PayoutRequest{
			Amount: p.Net.Minor, Currency: string(p.Net.Currency), Method: method(p), Destination: p.DestinationID,
			PayoutID: p.ID, PayeeID: p.PayeeID,
		},
		send: func(ctx context.Context, request provider.Request) (string, error) {
			var frozen stripe.PayoutRequest
			if err := request.Decode(&frozen); err != nil {
				return "", err
			}
			made, err := s.client.CreatePayout(ctx, p.StripeAccountID, frozen, request.Key)
			arrival = arrivalOf(made)
			return made.ID, err
		},
		find: func(ctx context.Context, request provider.Request) (string, bool, error) {
			made, found, err := s.findPayout(ctx, p, request)
			arrival = arrivalOf(made)
			return made.ID, found, err
		},
		record: func(ctx context.Context, tx pgx.Tx, _ provider.Request, id string) error {
			// What webhooks told of it before its id was known was about nobody: now it is to be looked at.
			missed, err := subscription.Adopt(ctx, tx, p.PayeeID, provider.Stripe, id)
			if err != nil {
				return err
			}
			if missed > 0 {
				if err := outbox.Add(ctx, tx, workflows.LookAtPayout(p.ID, "adopted/"+id)); err != nil {
					return err
				}
			}
			return s.payouts.PayoutConfirmed(ctx, tx, p.ID, id, arrival)
		},
	}
}

// method is how a payout travels, in Stripe's words.
func method(p payout.Payout) string {
	if p.Method == payout.MethodInstant {
		return stripe.MethodInstant
	}
	return stripe.MethodStandard
}

func arrivalOf(p stripe.Payout) date.Date {
	if p.ArrivalDate.IsZero() {
		return date.Date{}
	}
	return date.Of(p.ArrivalDate)
}

// findPayout looks for a payout among all that the connected account made since it was first sent.
func (s *StripePayouts) findPayout(ctx context.Context, p payout.Payout, request provider.Request) (stripe.Payout, bool, error) {
	made, err := s.client.ListPayouts(ctx, p.StripeAccountID, since(p, request))
	if err != nil {
		return stripe.Payout{}, false, err
	}
	ours := slices.DeleteFunc(made, func(m stripe.Payout) bool { return m.HoldfastPayoutID() != p.ID })
	return theOne(ours, func(m stripe.Payout) bool {
		return same(p, m) && m.Destination == p.DestinationID && m.Method == method(p)
	})
}

// same says that a payout at Stripe is as ours was sent. Its metadata alone proves nothing: whoever has
// access to the account can copy it.
func same(p payout.Payout, at stripe.Payout) bool {
	return !at.Automatic && at.Amount == p.Net.Minor && at.Currency == string(p.Net.Currency)
}

// ReadPayout looks how a payout on its way, or one that arrived, is. Webhooks are hints to do so.
func (s *StripePayouts) ReadPayout(ctx context.Context, in workflows.PayoutStepInput) (workflows.PayoutMove, error) {
	return s.move(ctx, in, workflows.ActivityReadPayout, func(ctx context.Context, p payout.Payout) (instead, error) {
		if p.State == payout.Held {
			return s.readHeld(ctx, p)
		}
		at, err := s.client.GetPayout(ctx, p.StripeAccountID, p.ProviderPayoutID)
		if failure, ok := refusalOf(err); ok { // the account is connected to us no more
			return instead{}, s.unreadable(ctx, p, failure)
		}
		if err != nil {
			return instead{}, err
		}
		if !same(p, at) {
			return instead{}, &provider.Failure{Provider: provider.Stripe, Class: provider.Held, Code: codeMismatch}
		}
		err = s.inTx(ctx, func(tx pgx.Tx) error {
			if err := payout.MarkChecked(ctx, tx, p.ID); err != nil {
				return err
			}
			return s.settle(ctx, tx, p, at)
		})
		if ended(at) && at.FailureBalanceTransaction == "" {
			return instead{do: workflows.ActivityReadPayout, after: moneyBackWait}, err
		}
		return instead{}, err
	})
}

// unreadable leaves a payout to a person that Stripe does not let us look at any more. One that was
// paid stays so, as far as anybody knows.
func (s *StripePayouts) unreadable(ctx context.Context, p payout.Payout, failure *provider.Failure) error {
	if p.State == payout.Paid {
		return payout.MarkChecked(ctx, s.pool, p.ID)
	}
	return s.inTx(ctx, func(tx pgx.Tx) error { return s.payouts.Hold(ctx, tx, p.ID, prefixUnreadable+failure.Code) })
}

// ended says that Stripe's payout did not arrive, or came back.
func ended(at stripe.Payout) bool {
	return at.Status == stripe.PayoutFailed || at.Status == stripe.PayoutCanceled
}

// settle takes on what Stripe says of a payout.
func (s *StripePayouts) settle(ctx context.Context, tx pgx.Tx, p payout.Payout, at stripe.Payout) error {
	switch at.Status {
	case stripe.PayoutPaid:
		return s.payouts.Paid(ctx, tx, p.ID)
	case stripe.PayoutFailed, stripe.PayoutCanceled:
		if at.FailureBalanceTransaction == "" {
			return nil // the money is not back on the account yet
		}
		return s.payouts.PayoutFailed(ctx, tx, p.ID, endOf(at))
	case stripe.PayoutPending, stripe.PayoutInTransit:
		return s.payouts.PayoutConfirmed(ctx, tx, p.ID, at.ID, arrivalOf(at))
	}
	return fmt.Errorf("payout %s: Stripe says %q of %s, which this version does not know", p.ID, at.Status, at.ID)
}

// endOf is why a payout that Stripe had taken did not arrive.
func endOf(at stripe.Payout) payout.Failure {
	if at.Status == stripe.PayoutCanceled {
		return payout.Failure{Class: string(provider.Rejected), Code: codeCanceled, Message: "The payout was canceled.", Ending: payout.Canceled}
	}
	return failureOf(&provider.Failure{Class: provider.Rejected, Code: at.FailureCode, Matter: at.FailureMatter()})
}

// ReverseTransfer takes back what was transferred for a payout that failed. The money is the payee's
// again with it, and not before.
func (s *StripePayouts) ReverseTransfer(ctx context.Context, in workflows.PayoutStepInput) (workflows.PayoutMove, error) {
	return s.move(ctx, in, workflows.ActivityReverseTransfer, func(ctx context.Context, p payout.Payout) (instead, error) {
		what := s.reversal(p)
		if done, err := s.takeOver(ctx, p, what); err != nil || done {
			return instead{}, err
		}
		err := s.writer.do(ctx, what)
		if failure, refused := refusalOf(err); refused { // the account has spent it, or is closed
			return instead{}, s.inTx(ctx, func(tx pgx.Tx) error { return s.payouts.Hold(ctx, tx, p.ID, prefixNotReversed+failure.Code) })
		}
		return instead{}, err
	})
}

// reversalRequest is what a reversal is stored as: its JSON names must not change.
type reversalRequest struct {
	Transfer string `json:"transfer"`
	Amount   int64  `json:"amount"`
}

func (s *StripePayouts) reversal(p payout.Payout) write {
	received := p.Net
	return write{
		operation: operation(opReversal, p.ID),
		money:     true,
		admit:     admit(p.ID, workflows.ActivityReverseTransfer),
		params:    reversalRequest{Transfer: p.TransferID, Amount: p.Net.Minor},
		send: func(ctx context.Context, request provider.Request) (string, error) {
			var frozen reversalRequest
			if err := request.Decode(&frozen); err != nil {
				return "", err
			}
			made, err := s.client.ReverseTransfer(ctx, frozen.Transfer, frozen.Amount, p.ID, request.Key)
			received = receivedOf(made, p)
			return made.ID, err
		},
		find: func(ctx context.Context, _ provider.Request) (string, bool, error) {
			made, found, err := s.findReversal(ctx, p)
			received = receivedOf(made, p)
			return made.ID, found, err
		},
		record: func(ctx context.Context, tx pgx.Tx, _ provider.Request, id string) error {
			return s.payouts.ReversalConfirmed(ctx, tx, p.ID, id, received)
		},
	}
}

// findReversal looks for the reversal of a payout's transfer. Those that others made are not ours.
func (s *StripePayouts) findReversal(ctx context.Context, p payout.Payout) (stripe.Reversal, bool, error) {
	all, err := s.client.ListReversals(ctx, p.TransferID)
	if err != nil {
		return stripe.Reversal{}, false, err
	}
	ours := slices.DeleteFunc(all, func(r stripe.Reversal) bool { return r.HoldfastPayoutID() != p.ID })
	return theOne(ours, func(r stripe.Reversal) bool { return r.Amount == p.Net.Minor })
}

func receivedOf(r stripe.Reversal, p payout.Payout) money.Amount {
	return money.New(r.Amount, p.Net.Currency)
}

// refusalOf is the failure by which Stripe refused something for good.
func refusalOf(err error) (*provider.Failure, bool) {
	failure, ok := errors.AsType[*provider.Failure](err)
	return failure, ok && definite(failure)
}

// failureOf is a refusal as the payout keeps it.
func failureOf(f *provider.Failure) payout.Failure {
	return payout.Failure{
		Class: string(f.Class), Code: f.Code, Message: "Stripe refused it: " + f.Code + ".",
		Destination: f.Matter == provider.MatterPayee, InstantRefused: f.Matter == provider.MatterInstant,
	}
}
