package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/postgres"
)

// Outcome is what is known of a request.
type Outcome string

// A request is open until it is known to have been done, to have been refused, or to have left
// nothing behind. Only the last two allow another one.
const (
	OutcomeOpen      Outcome = "open"
	OutcomeSucceeded Outcome = "succeeded"
	OutcomeRejected  Outcome = "rejected"
	OutcomeAbsent    Outcome = "absent"
)

// Operation is a write that must happen once: what is done, such as "create_customer", to which
// of our objects.
type Operation struct {
	Provider  Name
	Operation string
	Subject   string
}

func (o Operation) String() string {
	return fmt.Sprintf("%s of %s at %s", o.Operation, o.Subject, o.Provider)
}

// A slash in the first parts would make keys of two operations equal.
var operationPart = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func (o Operation) check() error {
	if !operationPart.MatchString(string(o.Provider)) || !operationPart.MatchString(o.Operation) || o.Subject == "" {
		return errors.New("provider and operation must be lower-case words, and the subject must not be empty")
	}
	return nil
}

// headerText is what an idempotency key may look like to pass every provider and proxy unchanged.
var headerText = regexp.MustCompile(`^[!-~]{1,255}$`)

// key names an epoch of the operation to the provider: always the same one, and no other's.
func (o Operation) key(epoch int) string {
	key := fmt.Sprintf("holdfast/%s/%s/%s/%d", o.Provider, o.Operation, o.Subject, epoch)
	if headerText.MatchString(key) {
		return key
	}
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(key)).String()
}

// Request is one epoch of an operation: the key under which it is sent, exactly what is sent, and
// what is known of it.
type Request struct {
	Key          string `db:"idempotency_key"`
	Provider     Name
	Operation    string
	Subject      string
	Epoch        int             // from 1
	Params       json.RawMessage // as frozen; see Decode
	FirstSentAt  *time.Time      // nil: never sent
	LastSentAt   *time.Time
	Replayed     bool       // an answer was a stored one: the first execution is over
	MissingSince *time.Time // when a look-up after the last sending first found nothing
	Outcome      Outcome
	ObjectID     string // at the provider, once it succeeded
	Error        string // why it was rejected: codes and ids
}

const requestColumns = `idempotency_key, provider, operation, subject, epoch, params, first_sent_at, last_sent_at,
	replayed, missing_since, outcome, object_id, error`

// keyLife is how long after its first use a key is safe: providers may forget it after 24 hours,
// and then the same key is a new request.
const keyLife = 23 * time.Hour

// Expired says that the key must not be sent again, since it might be a new request.
func (r Request) Expired(now time.Time) bool { return r.Outlived(keyLife, now) }

// Outlived is Expired for a key that is good for another time.
func (r Request) Outlived(life time.Duration, now time.Time) bool {
	return r.FirstSentAt != nil && now.Sub(*r.FirstSentAt) >= life
}

// SentSince says that the request was sent at the moment or later.
func (r Request) SentSince(moment time.Time) bool {
	return r.LastSentAt != nil && !r.LastSentAt.Before(moment)
}

// Decode gives the frozen parameters back, into a pointer to what was frozen.
func (r Request) Decode(params any) error {
	if err := json.Unmarshal(r.Params, params); err != nil {
		return fmt.Errorf("request %s: read its frozen parameters: %w", r.Key, err)
	}
	return nil
}

// allowsNext says that the epoch is known to have done nothing, so that another may follow. The
// zero Request stands for "none yet".
func (r Request) allowsNext() bool {
	return r.Epoch == 0 || r.Outcome == OutcomeRejected || r.Outcome == OutcomeAbsent
}

// ErrNotOpen means that a request has ended, or was never frozen: what is true now is seen by
// freezing the operation again.
var ErrNotOpen = errors.New("the request is not open")

// Requests keeps the writes to the providers in Postgres: frozen before they are sent, so that
// every repetition is the identical request under the same key.
type Requests struct{}

// NewRequests makes the store. Each method takes the pool or the transaction that it works in.
func NewRequests() *Requests { return &Requests{} }

// freezeTries bounds how often others may end an epoch under our hands.
const freezeTries = 10

// Freeze gives the operation's request to go on with. While one is open or has succeeded it is
// that one, as it was stored; when there is none, or the last was rejected or proved absent, the
// given parameters are stored as the next epoch. Two callers at once get the same request.
func (*Requests) Freeze(ctx context.Context, db postgres.DB, o Operation, params any) (Request, error) {
	request, err := freeze(ctx, db, o, params)
	if err != nil {
		return Request{}, fmt.Errorf("%s: freeze the request: %w", o, err)
	}
	return request, nil
}

func freeze(ctx context.Context, db postgres.DB, o Operation, params any) (Request, error) {
	if err := o.check(); err != nil {
		return Request{}, err
	}
	frozen, err := json.Marshal(params)
	if err != nil {
		return Request{}, err
	}
	for range freezeTries {
		latest, err := latestRequest(ctx, db, o)
		if err != nil || !latest.allowsNext() {
			return latest, err
		}
		next, inserted, err := insertRequest(ctx, db, o, latest.Epoch+1, frozen)
		if err != nil || inserted {
			return next, err
		}
	}
	return Request{}, errors.New("others keep changing it; try again")
}

// latestRequest gives the zero Request when there is none.
func latestRequest(ctx context.Context, db postgres.DB, o Operation) (Request, error) {
	rows, err := db.Query(ctx, `SELECT `+requestColumns+` FROM provider_requests
		WHERE provider = $1 AND operation = $2 AND subject = $3 ORDER BY epoch DESC LIMIT 1`,
		o.Provider, o.Operation, o.Subject)
	request, _, err := oneRequest(rows, err)
	return request, err
}

// Latest gives the operation's last request, or the zero Request when there is none.
func (*Requests) Latest(ctx context.Context, db postgres.DB, o Operation) (Request, error) {
	latest, err := latestRequest(ctx, db, o)
	if err != nil {
		return Request{}, fmt.Errorf("%s: read its last request: %w", o, err)
	}
	return latest, nil
}

// IsUnknown says whether a request of the operation was sent, at the moment or later, of which it is not
// known what came of it.
func (*Requests) IsUnknown(ctx context.Context, db postgres.DB, o Operation, since time.Time) (bool, error) {
	latest, err := latestRequest(ctx, db, o)
	if err != nil {
		return false, fmt.Errorf("%s: see whether its outcome is known: %w", o, err)
	}
	return latest.Outcome == OutcomeOpen && latest.SentSince(since), nil
}

// insertRequest stores an epoch, unless somebody else has just stored one.
func insertRequest(ctx context.Context, db postgres.DB, o Operation, epoch int, params []byte) (_ Request, inserted bool, _ error) {
	rows, err := db.Query(ctx, `INSERT INTO provider_requests (idempotency_key, provider, operation, subject, epoch, params)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING `+requestColumns,
		o.key(epoch), o.Provider, o.Operation, o.Subject, epoch, params)
	return oneRequest(rows, err)
}

func oneRequest(rows pgx.Rows, err error) (request Request, found bool, _ error) {
	if err != nil {
		return Request{}, false, err
	}
	request, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Request])
	if errors.Is(err, pgx.ErrNoRows) {
		return Request{}, false, nil
	}
	return request, err == nil, err
}

// MarkSent records that the request is about to be sent. It must be committed before the call, so
// that a crash in between leaves a request that may have been sent.
func (*Requests) MarkSent(ctx context.Context, db postgres.DB, key string) error {
	return change(ctx, db, key, "mark as sent",
		`first_sent_at = coalesce(first_sent_at, statement_timestamp()), last_sent_at = statement_timestamp(), missing_since = NULL`)
}

// MarkUnsent takes back that the request was sent, if it was so once: it never reached the provider, or
// was refused at its door.
func (*Requests) MarkUnsent(ctx context.Context, db postgres.DB, key string) error {
	return change(ctx, db, key, "mark as not sent", `first_sent_at = nullif(first_sent_at, last_sent_at),
		last_sent_at = CASE WHEN first_sent_at <> last_sent_at THEN last_sent_at END`)
}

// MarkReplayed records that an answer was a stored one: the first execution of the request is
// over, and sending it again tells no more.
func (*Requests) MarkReplayed(ctx context.Context, db postgres.DB, key string) error {
	return change(ctx, db, key, "mark as replayed", `replayed = true`)
}

// MarkMissing records that a look-up found nothing, if none has been recorded since the last sending.
func (*Requests) MarkMissing(ctx context.Context, db postgres.DB, key string) error {
	return change(ctx, db, key, "mark as missing", `missing_since = coalesce(missing_since, statement_timestamp())`)
}

// Succeed ends the request: it made or changed the object.
func (*Requests) Succeed(ctx context.Context, db postgres.DB, key, objectID string) error {
	return change(ctx, db, key, "record its success", `outcome = 'succeeded', object_id = $2`, objectID)
}

// Reject ends the request with a definite refusal that has used up the key. Refusals that come
// before the provider's idempotency layer (401, 403, 409 in use, 429) must not be recorded so. The
// failure is a Failure's text: codes and ids.
func (*Requests) Reject(ctx context.Context, db postgres.DB, key, failure string) error {
	return change(ctx, db, key, "record its rejection", `outcome = 'rejected', error = $2`, failure)
}

// RejectAlone is Reject for a refusal that says nothing of other sendings of the same request: it ends
// the request only if it was sent once, and tells whether it did.
func (*Requests) RejectAlone(ctx context.Context, db postgres.DB, key, failure string) (alone bool, err error) {
	tag, err := db.Exec(ctx, `UPDATE provider_requests SET outcome = 'rejected', error = $2, updated_at = statement_timestamp()
		WHERE idempotency_key = $1 AND outcome = 'open' AND first_sent_at = last_sent_at`, key, failure)
	if err != nil {
		return false, fmt.Errorf("request %s: record its rejection: %w", key, err)
	}
	return tag.RowsAffected() == 1, nil
}

// Revoke ends a request that the provider took, and whose object it then refused as a whole: nothing of
// it was carried out, and another may follow. It tells whether it did; a request that ended otherwise
// stays as it is.
func (*Requests) Revoke(ctx context.Context, db postgres.DB, o Operation, objectID, failure string) (revoked bool, err error) {
	tag, err := db.Exec(ctx, `UPDATE provider_requests SET outcome = 'rejected', error = $5, updated_at = statement_timestamp()
		WHERE provider = $1 AND operation = $2 AND subject = $3 AND object_id = $4 AND outcome = 'succeeded'`,
		o.Provider, o.Operation, o.Subject, objectID, failure)
	if err != nil {
		return false, fmt.Errorf("%s: record that %s was refused: %w", o, objectID, err)
	}
	return tag.RowsAffected() == 1, nil
}

// Absent ends a request that is proved to have left nothing behind at the provider.
func (*Requests) Absent(ctx context.Context, db postgres.DB, key string) error {
	return change(ctx, db, key, "record its absence", `outcome = 'absent'`)
}

// change updates a request that is open, and nothing else: what ended stays as it ended.
func change(ctx context.Context, db postgres.DB, key, doing, set string, args ...any) error {
	tag, err := db.Exec(ctx, `UPDATE provider_requests SET `+set+`, updated_at = statement_timestamp()
		WHERE idempotency_key = $1 AND outcome = 'open'`, append([]any{key}, args...)...)
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrNotOpen
	}
	if err != nil {
		return fmt.Errorf("request %s: %s: %w", key, doing, err)
	}
	return nil
}
