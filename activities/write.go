package activities

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
)

// write is a change at a provider that must happen once. Params are what to send should this be
// the first time; what was stored by an earlier attempt wins.
type write struct {
	operation provider.Operation
	params    any
	// money says that it moves money. Then one look-up that finds nothing proves nothing: a second one,
	// ten minutes later, has to find nothing too. (RULES 3, When a provider fails.)
	money bool
	// mayExist says that it may have been done without a trace here, as after a restored backup: the
	// first thing to do is to look.
	mayExist bool
	// keyLife is how long after its first sending the request may be sent again under its key; zero is
	// for as long as providers keep keys.
	keyLife time.Duration
	// patience, if given, is how long a look-up that finds nothing is repeated. Then it is left to a
	// person: nothing proves that what was sent was not done, and nothing is sent again.
	patience time.Duration
	// proves, if there is one, says whether a refusal is one of everything that was sent under the key.
	// Without, every refusal is: the provider answers the same to the same key. Any other refusal ends
	// the request only when it was sent once.
	proves func(*provider.Failure) bool
	// again says after which refusals that prove nothing it may be sent again under its key: what was
	// lacking may be there then. After any other one only a look-up can tell.
	again func(*provider.Failure) bool
	// admit, if there is one, is asked in the transaction that records the sending: what it holds cannot
	// change in between, and its error keeps the request from being sent.
	admit func(ctx context.Context, tx pgx.Tx) error
	// send makes the stored request under its key and gives the object's id.
	send func(ctx context.Context, request provider.Request) (objectID string, err error)
	// find looks for what an earlier request did, when its key can tell no more.
	find func(ctx context.Context, request provider.Request) (objectID string, found bool, err error)
	// record writes what success means here, in the transaction that ends the request.
	record func(ctx context.Context, tx pgx.Tx, request provider.Request, objectID string) error
}

// writer makes writes. Each attempt is one provider call, chosen by what is stored of the ones
// before: the identical request under the same key while the key can tell its outcome, a look-up
// when it cannot (it has expired, or replays a stored server error). Only a definite refusal or a
// proven absence leads to a new key.
type writer struct {
	pool     *pgxpool.Pool
	requests *provider.Requests
}

// now is the time by the clock by which sendings and look-ups are recorded, which is not this machine's: a
// difference of minutes between the two would prove an absence that is none.
func (w *writer) now(ctx context.Context) (time.Time, error) { return postgres.Now(ctx, w.pool) }

// Codes of failures that come from here.
const (
	codeAbsent         = "proven_absent"     // a look-up found nothing; the next attempt uses a new key
	codeNotYetAbsent   = "not_found_yet"     // a look-up found nothing, but the last request is too young to tell
	codeIdempotency    = "idempotency_error" // the key was used with other parameters
	codeNotFound       = "not_found"         // look-ups found nothing for as long as they were to be repeated
	codeBoundElsewhere = "bound_elsewhere"
)

// settling is how long after the last request a look-up that finds nothing proves nothing, unless
// the provider showed that the request's execution is over and no money is at stake.
const settling = 10 * time.Minute

func (w *writer) do(ctx context.Context, what write) error {
	request, err := w.requests.Freeze(ctx, w.pool, what.operation, what.params)
	if err != nil {
		return err
	}
	now, err := w.now(ctx)
	switch {
	case err != nil:
		return err
	case request.Outcome == provider.OutcomeSucceeded:
		return w.settle(ctx, what, request, request.ObjectID)
	case request.Replayed || what.expired(request, now) || what.mayExist && request.Epoch == 1 && request.FirstSentAt == nil:
		return w.lookUp(ctx, what, request, now)
	}
	if err := w.markSent(ctx, what, request); err != nil {
		return err
	}
	objectID, err := what.send(ctx, request)
	if err != nil {
		return w.learn(ctx, what, request, err)
	}
	return w.settle(ctx, what, request, objectID)
}

// expired says that the key can tell no more.
func (what write) expired(request provider.Request, now time.Time) bool {
	if what.keyLife > 0 {
		return request.Outlived(what.keyLife, now)
	}
	return request.Expired(now)
}

// seek looks for what an earlier request did, and records it if it is there. That nothing is found
// proves nothing.
func (w *writer) seek(ctx context.Context, what write) (found bool, err error) {
	request, err := w.requests.Latest(ctx, w.pool, what.operation)
	if err != nil || request.Outcome != provider.OutcomeOpen || request.FirstSentAt == nil {
		return false, err
	}
	objectID, found, err := what.find(ctx, request)
	if err != nil || !found {
		return false, err
	}
	return true, w.settle(ctx, what, request, objectID)
}

// markSent records that the request is about to be sent, if it may be.
func (w *writer) markSent(ctx context.Context, what write, request provider.Request) error {
	if what.admit == nil {
		return w.requests.MarkSent(ctx, w.pool, request.Key)
	}
	return postgres.InTx(ctx, w.pool, func(tx pgx.Tx) error {
		if err := what.admit(ctx, tx); err != nil {
			return err
		}
		return w.requests.MarkSent(ctx, tx, request.Key)
	})
}

// settle records the success and what it means in one transaction.
func (w *writer) settle(ctx context.Context, what write, request provider.Request, objectID string) error {
	return postgres.InTx(ctx, w.pool, func(tx pgx.Tx) error {
		if request.Outcome == provider.OutcomeOpen {
			if err := w.requests.Succeed(ctx, tx, request.Key, objectID); err != nil {
				return err
			}
		}
		return what.record(ctx, tx, request, objectID)
	})
}

// learn stores what a failure says of the request, as it was before this attempt, and gives the
// failure on.
func (w *writer) learn(ctx context.Context, what write, request provider.Request, err error) error {
	var failure *provider.Failure
	if !errors.As(err, &failure) {
		return err
	}
	switch {
	case failure.Code == codeIdempotency:
		return w.usedOtherwise(ctx, what, request, failure)
	case definite(failure) && failure.Status == http.StatusForbidden && request.FirstSentAt != nil:
		// Who is not let in is refused before the key is looked at: what was sent before may be done, and
		// a look-up will be refused as well.
		return as(provider.Held, failure)
	case failure.Unsent() && request.FirstSentAt == nil:
		return errors.Join(failure, w.requests.MarkUnsent(ctx, w.pool, request.Key))
	case failure.Class == provider.OutcomeUnknown && failure.Replayed:
		return errors.Join(failure, w.requests.MarkReplayed(ctx, w.pool, request.Key))
	case definite(failure):
		return w.refused(ctx, what, request, failure)
	}
	return err
}

// refused is the failure of a request that was refused for good. When that proves nothing of another
// sending of it, it may be sent again where it lacked something, as funds which the other may have taken;
// otherwise only a look-up can tell.
func (w *writer) refused(ctx context.Context, what write, request provider.Request, failure *provider.Failure) error {
	if what.proves == nil || what.proves(failure) {
		return errors.Join(failure, w.requests.Reject(ctx, w.pool, request.Key, failure.Error()))
	}
	alone, err := w.requests.RejectAlone(ctx, w.pool, request.Key, failure.Error())
	switch {
	case err != nil || alone:
		return errors.Join(failure, err)
	case what.again != nil && what.again(failure):
		return as(provider.OutcomeUnknown, failure)
	}
	return errors.Join(as(provider.OutcomeUnknown, failure), w.requests.MarkReplayed(ctx, w.pool, request.Key))
}

// usedOtherwise is the failure of a key that was used with other parameters. Something was done under
// it: the look-up tells what, unless money moved.
func (w *writer) usedOtherwise(ctx context.Context, what write, request provider.Request, failure *provider.Failure) error {
	if what.money {
		return as(provider.Held, failure)
	}
	return errors.Join(as(provider.OutcomeUnknown, failure), w.requests.MarkReplayed(ctx, w.pool, request.Key))
}

// definite says that the provider refused something for good.
func definite(failure *provider.Failure) bool {
	return failure.Class == provider.Rejected || failure.Class == provider.NotFound
}

// as gives a failure another class.
func as(class provider.Class, failure *provider.Failure) error {
	other := *failure
	other.Class = class
	return &other
}

// lookUp finds out what became of a request whose key can tell no more. It looks at the moment given, or later.
func (w *writer) lookUp(ctx context.Context, what write, request provider.Request, looked time.Time) error {
	objectID, found, err := what.find(ctx, request)
	failure, failed := errors.AsType[*provider.Failure](err)
	switch {
	case what.money && failed && definite(failure):
		// It is the look-up that was refused, which says nothing of the request.
		return as(provider.Held, failure)
	case err != nil:
		return err
	case found:
		return w.settle(ctx, what, request, objectID)
	case what.patience > 0:
		return w.missed(ctx, request, looked, what.patience)
	case what.money:
		return w.missing(ctx, request, looked)
	case !request.Replayed && request.SentSince(looked.Add(-settling)):
		return notYetAbsent(request, 0)
	}
	return w.absent(ctx, request)
}

// missing decides what it means that money was not found: it is absent once it was not found twice,
// the first time no sooner than ten minutes after the last sending, and again ten minutes after that.
func (w *writer) missing(ctx context.Context, request provider.Request, looked time.Time) error {
	switch {
	case request.SentSince(looked.Add(-settling)):
		return notYetAbsent(request, request.LastSentAt.Add(settling).Sub(looked))
	case request.MissingSince == nil:
		if err := w.requests.MarkMissing(ctx, w.pool, request.Key); err != nil {
			return err
		}
		return notYetAbsent(request, settling)
	case request.MissingSince.After(looked.Add(-settling)):
		return notYetAbsent(request, request.MissingSince.Add(settling).Sub(looked))
	}
	return w.absent(ctx, request)
}

// missed decides what it means that nothing was found where nothing can be proved absent: it is looked
// for again until the patience is over.
func (w *writer) missed(ctx context.Context, request provider.Request, looked time.Time, patience time.Duration) error {
	switch {
	case request.MissingSince == nil:
		if err := w.requests.MarkMissing(ctx, w.pool, request.Key); err != nil {
			return err
		}
		return notYetAbsent(request, settling)
	case request.MissingSince.After(looked.Add(-patience)):
		return notYetAbsent(request, settling)
	}
	return &provider.Failure{Provider: request.Provider, Class: provider.Held, Code: codeNotFound}
}

// notYetAbsent is the failure of a look-up that found nothing and proves nothing; one after that long
// may prove more.
func notYetAbsent(request provider.Request, wait time.Duration) error {
	return &provider.Failure{Provider: request.Provider, Class: provider.OutcomeUnknown, Code: codeNotYetAbsent, RetryAfter: wait}
}

// absent records that nothing was done, so that the next attempt may send under a new key.
func (w *writer) absent(ctx context.Context, request provider.Request) error {
	if err := w.requests.Absent(ctx, w.pool, request.Key); err != nil {
		return err
	}
	return &provider.Failure{Provider: request.Provider, Class: provider.Transient, Code: codeAbsent, RetryAfter: time.Second}
}
