package step

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
)

const columns = `workflow_id, name, coalesce(customer_id, '') AS customer_id, provider, status, attempts, error_class,
	last_error, coalesce(waits_for, '') AS waits_for, blocked_at, next_attempt_at, updated_at`

// Queue adds a pending step to a batch. A step that is there already is left as it is.
func Queue(batch *pgx.Batch, s Step) {
	batch.Queue(`INSERT INTO steps (workflow_id, name, customer_id, provider, status)
		VALUES ($1, $2, nullif($3, ''), $4, 'pending') ON CONFLICT (workflow_id, name) DO NOTHING`,
		s.WorkflowID, s.Name, s.CustomerID, s.Provider)
}

// Reopen makes a step pending again, or for the first time: there is something new to do.
func Reopen(ctx context.Context, db postgres.DB, s Step) error {
	_, err := db.Exec(ctx, `INSERT INTO steps (workflow_id, name, customer_id, provider, status)
		VALUES ($1, $2, nullif($3, ''), $4, 'pending')
		ON CONFLICT (workflow_id, name) DO UPDATE SET status = 'pending', attempts = 0, error_class = '', last_error = '',
			waits_for = NULL, blocked_at = NULL, woken_at = NULL, next_attempt_at = NULL, updated_at = now()`,
		s.WorkflowID, s.Name, s.CustomerID, s.Provider)
	if err != nil {
		return fmt.Errorf("step %s of %s: reopen: %w", s.Name, s.WorkflowID, err)
	}
	return nil
}

// Open makes a step pending, unless it is there and not over: then it stays as it is.
func Open(ctx context.Context, db postgres.DB, s Step) error {
	_, err := db.Exec(ctx, `INSERT INTO steps (workflow_id, name, customer_id, provider, status)
		VALUES ($1, $2, nullif($3, ''), $4, 'pending')
		ON CONFLICT (workflow_id, name) DO UPDATE SET status = 'pending', attempts = 0, error_class = '', last_error = '',
			waits_for = NULL, blocked_at = NULL, woken_at = NULL, next_attempt_at = NULL, updated_at = now()
		WHERE steps.status IN ('done', 'skipped')`, s.WorkflowID, s.Name, s.CustomerID, s.Provider)
	if err != nil {
		return fmt.Errorf("step %s of %s: open: %w", s.Name, s.WorkflowID, err)
	}
	return nil
}

// Failed records an attempt that failed and is followed by another at the given time. A step that
// has parked since the attempt began stays parked: its workflow gave the attempt up and waits, and
// whoever is to wake it finds it by this row.
func Failed(ctx context.Context, db postgres.DB, s Step, began time.Time) error {
	_, err := db.Exec(ctx, `UPDATE steps SET status = 'retrying', attempts = attempts + 1, error_class = $3, last_error = $4,
			waits_for = NULL, blocked_at = NULL, next_attempt_at = $5, updated_at = now()
		WHERE workflow_id = $1 AND name = $2 AND status NOT IN ('done', 'skipped') AND (blocked_at IS NULL OR blocked_at < $6)`,
		s.WorkflowID, s.Name, s.ErrorClass, s.LastError, s.NextAttemptAt, began)
	if err != nil {
		return fmt.Errorf("step %s of %s: record a failed attempt: %w", s.Name, s.WorkflowID, err)
	}
	return nil
}

// ErrOver means that a step is done or skipped, and stays so.
var ErrOver = errors.New("the step is over")

// Park records that a step waits, for what, and when it tries again by itself (nil: never). One
// that waits for a person already has waited since then; one that is done or skipped is ErrOver.
func Park(ctx context.Context, db postgres.DB, s Step) error {
	tag, err := db.Exec(ctx, `UPDATE steps SET status = 'blocked', error_class = $3, last_error = $4, waits_for = $5,
			blocked_at = CASE WHEN waits_for = 'person' AND $5 = 'person' THEN blocked_at ELSE clock_timestamp() END, next_attempt_at = $6, updated_at = now()
		WHERE workflow_id = $1 AND name = $2 AND status NOT IN ('done', 'skipped')`,
		s.WorkflowID, s.Name, s.ErrorClass, s.LastError, s.WaitsFor, s.NextAttemptAt)
	if err != nil {
		return fmt.Errorf("step %s of %s: park: %w", s.Name, s.WorkflowID, err)
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("step %s of %s: park: %w", s.Name, s.WorkflowID, notOpen(ctx, db, s))
	}
	return nil
}

// notOpen tells why a step is not open.
func notOpen(ctx context.Context, db postgres.DB, s Step) error {
	var planned bool
	err := db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM steps WHERE workflow_id = $1 AND name = $2)`, s.WorkflowID, s.Name).Scan(&planned)
	switch {
	case err != nil:
		return err
	case !planned:
		return errors.New("it was never planned")
	}
	return ErrOver
}

// Finish records the end of a step, done or skipped. A step that ended stays as it ended.
func Finish(ctx context.Context, db postgres.DB, workflowID, name string, end Status) error {
	_, err := db.Exec(ctx, `UPDATE steps SET status = $3, attempts = attempts + CASE WHEN $3 = 'done' THEN 1 ELSE 0 END,
			waits_for = NULL, blocked_at = NULL, next_attempt_at = NULL, updated_at = now()
		WHERE workflow_id = $1 AND name = $2 AND status NOT IN ('done', 'skipped')`, workflowID, name, end)
	if err != nil {
		return fmt.Errorf("step %s of %s: record that it is %s: %w", name, workflowID, end, err)
	}
	return nil
}

// Advance records that a step of several calls got through with one, and goes on: it is pending, and
// waits for nobody. As with Failed, a step that has parked since the attempt began stays parked.
func Advance(ctx context.Context, db postgres.DB, workflowID, name string, began time.Time) error {
	_, err := db.Exec(ctx, `UPDATE steps SET status = 'pending', error_class = '', last_error = '',
			waits_for = NULL, blocked_at = NULL, next_attempt_at = NULL, updated_at = now()
		WHERE workflow_id = $1 AND name = $2 AND status IN ('retrying', 'blocked') AND (blocked_at IS NULL OR blocked_at < $3)`,
		workflowID, name, began)
	if err != nil {
		return fmt.Errorf("step %s of %s: record that it goes on: %w", name, workflowID, err)
	}
	return nil
}

// ByWorkflow lists the steps of a workflow in the order in which they were planned.
func ByWorkflow(ctx context.Context, db postgres.DB, workflowID string) ([]Step, error) {
	rows, err := db.Query(ctx, `SELECT `+columns+` FROM steps WHERE workflow_id = $1 ORDER BY planned_at`, workflowID)
	return collect(rows, err)
}

// QueueByWorkflow is ByWorkflow as part of a batch.
func QueueByWorkflow(batch *pgx.Batch, workflowID string, into *[]Step) {
	batch.Queue(`SELECT `+columns+` FROM steps WHERE workflow_id = $1 ORDER BY planned_at`, workflowID).
		Query(func(rows pgx.Rows) (err error) {
			*into, err = collect(rows, nil)
			return err
		})
}

// Attention is what waits for a person, oldest first.
func Attention(ctx context.Context, db postgres.DB, after Cursor, limit int) ([]Step, error) {
	rows, err := db.Query(ctx, `SELECT `+columns+` FROM steps
		WHERE status = 'blocked' AND waits_for = 'person' AND (blocked_at, workflow_id COLLATE "C", name COLLATE "C") > ($1, $2, $3)
		ORDER BY blocked_at, workflow_id COLLATE "C", name COLLATE "C" LIMIT $4`, after.BlockedAt, after.WorkflowID, after.Name, limit)
	return collect(rows, err)
}

// Cursor is a place in the list of blocked steps; the zero value is its beginning.
type Cursor struct {
	BlockedAt  time.Time `json:"blocked_at"`
	WorkflowID string    `json:"workflow_id"`
	Name       string    `json:"name"`
}

// Cursor is the place right after the step.
func (s Step) Cursor() Cursor {
	c := Cursor{WorkflowID: s.WorkflowID, Name: s.Name}
	if s.BlockedAt != nil {
		c.BlockedAt = *s.BlockedAt
	}
	return c
}

// Waiting counts the open steps of a provider.
type Waiting struct {
	Provider provider.Name
	Status   Status
	WaitsFor WaitsFor
	Count    int64
	Oldest   time.Time
}

// CountOpen counts what is not over, by provider, status and what it waits for.
func CountOpen(ctx context.Context, db postgres.DB) ([]Waiting, error) {
	rows, err := db.Query(ctx, `SELECT provider, status, coalesce(waits_for, '') AS waits_for, count(*) AS count,
			min(coalesce(blocked_at, updated_at)) AS oldest
		FROM steps WHERE status NOT IN ('done', 'skipped') GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`)
	if err != nil {
		return nil, fmt.Errorf("steps: count the open ones: %w", err)
	}
	counts, err := pgx.CollectRows(rows, pgx.RowToStructByName[Waiting])
	if err != nil {
		return nil, fmt.Errorf("steps: count the open ones: %w", err)
	}
	return counts, nil
}

// Round begins a round of waking: the database's time, by which Wake and Remaining tell what parked
// before it from what parked again.
func Round(ctx context.Context, db postgres.DB) (time.Time, error) {
	var now time.Time
	if err := db.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now); err != nil {
		return now, fmt.Errorf("steps: begin to wake: %w", err)
	}
	return now, nil
}

// ahead says in SQL which steps are still to be woken in the round that began at $2: those that waited
// by then, and those that we ourselves refused before, without asking the provider, and that come to
// wait only now. The latter say nothing of how the provider is.
const ahead = `((woken_at IS NULL OR woken_at <= $2) AND (blocked_at <= $2 OR last_error LIKE '%: ` + provider.CodeProviderDown + `'))`

// Wake marks the longest waiting steps of a provider as woken and returns them. Each is woken once
// in a round, and one that parks again has to wait for the next.
func Wake(ctx context.Context, db postgres.DB, p provider.Name, round time.Time, limit int) ([]Step, error) {
	rows, err := db.Query(ctx, `WITH due AS (
			SELECT workflow_id AS id, name AS step FROM steps
			WHERE status = 'blocked' AND waits_for = 'provider' AND provider = $1 AND `+ahead+`
			ORDER BY blocked_at LIMIT $3 FOR UPDATE SKIP LOCKED)
		UPDATE steps SET woken_at = clock_timestamp() FROM due WHERE workflow_id = id AND name = step
		RETURNING `+columns, p, round, limit)
	return collect(rows, err)
}

// Remaining is what waits for a provider in a round of waking.
type Remaining struct {
	Ahead    int // still to be woken in it
	Underway int // woken, and not yet decided
	Again    int // asked the provider after the round began, and wait: the trouble is not over
}

// CountRemaining counts what waits for a provider in the round.
func CountRemaining(ctx context.Context, db postgres.DB, p provider.Name, round time.Time) (Remaining, error) {
	var r Remaining
	err := db.QueryRow(ctx, `SELECT count(*) FILTER (WHERE `+ahead+`),
			count(*) FILTER (WHERE woken_at > $2 AND blocked_at <= woken_at),
			count(*) FILTER (WHERE blocked_at > $2 AND NOT `+ahead+` AND (woken_at IS NULL OR blocked_at > woken_at))
		FROM steps WHERE status = 'blocked' AND waits_for = 'provider' AND provider = $1`, p, round).
		Scan(&r.Ahead, &r.Underway, &r.Again)
	if err != nil {
		return r, fmt.Errorf("steps: count those that wait for %s: %w", p, err)
	}
	return r, nil
}

// Verdict is how woken steps fared.
type Verdict struct {
	Through int // ended or went on, or the provider gave a definite answer
	Failed  int // met a failure of the provider again
}

// Judge tells how the steps fared since each was woken.
func Judge(ctx context.Context, db postgres.DB, woken []Step) (Verdict, error) {
	ids, names := make([]string, len(woken)), make([]string, len(woken))
	for i, s := range woken {
		ids[i], names[i] = s.WorkflowID, s.Name
	}
	var v Verdict
	err := db.QueryRow(ctx, `SELECT count(*) FILTER (WHERE status IN ('done', 'skipped', 'pending') OR waits_for = 'person'),
			count(*) FILTER (WHERE status = 'retrying' OR waits_for = 'provider' AND blocked_at > woken_at)
		FROM steps JOIN unnest($1::text[], $2::text[]) AS w (workflow_id, name) USING (workflow_id, name)`, ids, names).
		Scan(&v.Through, &v.Failed)
	if err != nil {
		return v, fmt.Errorf("steps: see how the woken ones fared: %w", err)
	}
	return v, nil
}

func collect(rows pgx.Rows, err error) ([]Step, error) {
	if err != nil {
		return nil, fmt.Errorf("steps: read: %w", err)
	}
	steps, err := pgx.CollectRows(rows, pgx.RowToStructByName[Step])
	if err != nil {
		return nil, fmt.Errorf("steps: read: %w", err)
	}
	return steps, nil
}

// What operators decide on a waiting step, as it is recorded.
const (
	VerdictRetry = "retry"
	VerdictSkip  = "skip"
)

// RecordVerdict keeps who decided what on a step, and why.
func RecordVerdict(ctx context.Context, db postgres.DB, actor, verdict, workflowID, name, note string) error {
	_, err := db.Exec(ctx, `INSERT INTO operator_actions (actor, action, subject, note) VALUES ($1, $2, $3, $4)`,
		actor, verdict, workflowID+"/"+name, note)
	if err != nil {
		return fmt.Errorf("step %s of %s: record the %s by %s: %w", name, workflowID, verdict, actor, err)
	}
	return nil
}
