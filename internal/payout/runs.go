package payout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/postgres"
)

// ErrNoRun says that nobody has begun the run of a date.
var ErrNoRun = errors.New("there is no run of this date")

// RunState is how far a run is.
type RunState string

// The states of a run, in their order. Any of them may be paused, and goes on where it was.
const (
	RunComputing        RunState = "computing" // payouts are worked out and claimed
	RunAwaitingApproval RunState = "awaiting_approval"
	RunPaying           RunState = "paying" // payouts are handed to their workflows
	RunPaused           RunState = "paused"
	RunEnded            RunState = "ended" // all of them are handed over
)

// Run is the payouts of one business date.
type Run struct {
	Date       date.Date
	State      RunState
	ResumesTo  RunState // of a paused run: where it goes on
	Cause      string
	Actor      string // the name of the key that began it; empty for the schedule
	ApprovedBy string
	Note       string // of the last decision about it
	Looked     int    // payees who were looked at
	LookedAt   *time.Time
	StartedAt  time.Time
	ComputedAt *time.Time
	EndedAt    *time.Time
}

// RunTotal is what a run's payouts of one state and currency come to.
type RunTotal struct {
	State    State
	Currency money.Currency
	Payouts  int
	Gross    int64 // in minor units, as the others
	Fee      int64
	Net      int64
}

const runColumns = `date, state, coalesce(resumes_to, '') AS resumes_to, cause, actor, approved_by, note, looked, looked_at, started_at,
	computed_at, ended_at`

// BeginRun begins the run of a date, or gives the one that there is. A date to come is a
// customer.FieldError. The actor is the key's name of the person who began it; empty for the schedule.
func (s *Store) BeginRun(ctx context.Context, on date.Date, cause, actor string) (run Run, created bool, err error) {
	if on.IsZero() || on.After(today()) {
		return Run{}, false, &customer.FieldError{Field: "date", Reason: "must be today or earlier, in UTC"}
	}
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `INSERT INTO payout_runs (date, cause, actor) VALUES ($1, $2, $3) ON CONFLICT (date) DO NOTHING`, on, cause, actor)
		if err != nil {
			return fmt.Errorf("run of %s: begin: %w", on, err)
		}
		if created = tag.RowsAffected() == 1; created && actor != "" {
			if err := recordAct(ctx, tx, actor, "begin_payout_run", on.String(), ""); err != nil {
				return err
			}
		}
		run, err = GetRun(ctx, tx, on)
		return err
	})
	return run, created, err
}

// GetRun reads a run, or gives ErrNoRun.
func GetRun(ctx context.Context, db postgres.DB, on date.Date) (Run, error) {
	return readRun(ctx, db, on, "")
}

func lockRun(ctx context.Context, tx pgx.Tx, on date.Date) (Run, error) {
	return readRun(ctx, tx, on, " FOR UPDATE")
}

func readRun(ctx context.Context, db postgres.DB, on date.Date, lock string) (Run, error) {
	rows, err := db.Query(ctx, `SELECT `+runColumns+` FROM payout_runs WHERE date = $1`+lock, on)
	if err != nil {
		return Run{}, fmt.Errorf("run of %s: read: %w", on, err)
	}
	run, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Run])
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Run{}, fmt.Errorf("run of %s: %w", on, ErrNoRun)
	case err != nil:
		return Run{}, fmt.Errorf("run of %s: read: %w", on, err)
	}
	return run, nil
}

// RunTotals adds up a run's payouts by state and currency.
func RunTotals(ctx context.Context, db postgres.DB, on date.Date) ([]RunTotal, error) {
	rows, err := db.Query(ctx, `SELECT state, currency, count(*)::int AS payouts, sum(gross)::bigint AS gross, sum(fee)::bigint AS fee, sum(net)::bigint AS net
		FROM payouts WHERE run_date = $1 GROUP BY state, currency ORDER BY currency, state`, on)
	return collect[RunTotal](rows, err, "what the run of "+on.String()+" comes to")
}

// RunShortfalls is what a run could not pay for want of funds.
func RunShortfalls(ctx context.Context, db postgres.DB, on date.Date) ([]Shortfall, error) {
	rows, err := db.Query(ctx, `SELECT run_date || '/' || rail || '/' || currency AS id, run_date, '' AS batch_id, rail, currency, missing, payouts, known,
			started_at AS since
		FROM payout_shortfalls s JOIN payout_runs r ON r.date = s.run_date WHERE run_date = $1 ORDER BY rail, currency`, on)
	return collect[Shortfall](rows, err, "what the run of "+on.String()+" lacks")
}

// standing is the state that the run has when it is not paused.
func (r Run) standing() RunState {
	if r.State == RunPaused {
		return r.ResumesTo
	}
	return r.State
}

// goOn brings a locked run, paused or not, to its next state.
func (r Run) goOn(ctx context.Context, tx pgx.Tx, to RunState) error {
	_, err := tx.Exec(ctx, `UPDATE payout_runs SET state = CASE state WHEN 'paused' THEN state ELSE $2 END,
			resumes_to = CASE state WHEN 'paused' THEN $2 END,
			computed_at = coalesce(computed_at, now()), ended_at = CASE $2 WHEN 'ended' THEN now() END
		WHERE date = $1`, r.Date, string(to))
	if err != nil {
		return fmt.Errorf("run of %s: bring it from %s to %s: %w", r.Date, r.State, to, err)
	}
	return nil
}

func (r Run) refuse(what string) error {
	return fmt.Errorf("the run of %s is %s and cannot be %s: %w", r.Date, r.State, what, ErrState)
}

// Approve lets a run pay what it computed, and wakes what waits for that already, such as a payout that
// was made again. One that was approved stays as it is.
func (s *Store) Approve(ctx context.Context, on date.Date, actor, note string) error {
	return s.decide(ctx, on, actor, "approve_payout_run", note, func(tx pgx.Tx, run Run) (changed bool, err error) {
		switch {
		case run.ApprovedBy != "" && run.State != RunPaused:
			return false, nil
		case run.State != RunAwaitingApproval:
			return false, run.refuse("approved")
		}
		if err := run.goOn(ctx, tx, RunPaying); err != nil {
			return false, err
		}
		if _, err = tx.Exec(ctx, `UPDATE payout_runs SET approved_by = $2 WHERE date = $1`, on, actor); err != nil {
			return false, err
		}
		return true, s.wake(ctx, tx, on, "run/"+on.String())
	})
}

// PauseRun stops a run: it claims no more, hands nothing over, and what is planned is not sent. It may
// be paused when it has ended too, for the payouts that were not sent yet.
func (s *Store) PauseRun(ctx context.Context, on date.Date, actor, note string) error {
	return s.decide(ctx, on, actor, "pause_payout_run", note, func(tx pgx.Tx, run Run) (changed bool, err error) {
		if run.State == RunPaused {
			return false, nil
		}
		_, err = tx.Exec(ctx, `UPDATE payout_runs SET resumes_to = state, state = 'paused' WHERE date = $1`, on)
		return true, err
	})
}

// ResumeRun has a paused run go on where it was, and wakes its payouts that wait.
func (s *Store) ResumeRun(ctx context.Context, on date.Date, actor, note string) error {
	return s.decide(ctx, on, actor, "resume_payout_run", note, func(tx pgx.Tx, run Run) (changed bool, err error) {
		if run.State != RunPaused {
			return false, nil
		}
		if _, err = tx.Exec(ctx, `UPDATE payout_runs SET state = resumes_to, resumes_to = NULL WHERE date = $1`, on); err != nil {
			return false, err
		}
		return true, s.wake(ctx, tx, on, "run/"+on.String())
	})
}

// decide carries out a person's decision about a run and keeps it. What changes nothing is not kept.
func (s *Store) decide(ctx context.Context, on date.Date, actor, action, note string, change func(pgx.Tx, Run) (bool, error)) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		run, err := lockRun(ctx, tx, on)
		if err != nil {
			return err
		}
		changed, err := change(tx, run)
		if err != nil || !changed {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE payout_runs SET note = $2 WHERE date = $1`, on, note); err != nil {
			return fmt.Errorf("run of %s: note the decision: %w", on, err)
		}
		return recordAct(ctx, tx, actor, action, on.String(), note)
	})
}

// ConfirmComputed ends the computing of a run once PlanSlice is done. When it pays more than the policy
// lets it, it waits for an approval, of which the app is told; needsApproval says so.
func (s *Store) ConfirmComputed(ctx context.Context, on date.Date) (needsApproval bool, err error) {
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		run, err := lockRun(ctx, tx, on)
		if err != nil {
			return err
		}
		if standing := run.standing(); standing != RunComputing {
			needsApproval = standing == RunAwaitingApproval
			return nil
		}
		done, err := run.isPlanned(ctx, tx)
		switch {
		case err != nil:
			return err
		case !done:
			return run.refuse("confirmed before everybody was planned")
		}
		if needsApproval, err = s.needsApproval(ctx, tx, on); err != nil {
			return err
		}
		if needsApproval {
			if err := run.goOn(ctx, tx, RunAwaitingApproval); err != nil {
				return err
			}
			return s.notifyNeedsApproval(ctx, tx, on)
		}
		return run.goOn(ctx, tx, RunPaying)
	})
	return needsApproval, err
}

func (s *Store) needsApproval(ctx context.Context, tx pgx.Tx, on date.Date) (bool, error) {
	totals, err := RunTotals(ctx, tx, on)
	if err != nil {
		return false, err
	}
	for _, total := range totals {
		if above, limited := s.policy.ApprovalAbove[total.Currency]; limited && total.State == Planned && total.Gross > above {
			return true, nil
		}
	}
	return false, nil
}

// Handed is what HandOver did.
type Handed struct {
	Payouts int
	Done    bool // every payout of the run has its workflow, or is in a batch that has one
	Waits   bool // the run is paused, or not to pay yet
}

// HandOver starts the workflows of up to limit planned payouts of a run that pays, and of their batches
// at PayPal. When there is none left the run has ended.
func (s *Store) HandOver(ctx context.Context, on date.Date, limit int) (handed Handed, err error) {
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		run, err := lockRun(ctx, tx, on)
		if err != nil {
			return err
		}
		if run.State != RunPaying {
			handed = Handed{Done: run.standing() == RunEnded, Waits: run.State == RunPaused || run.State == RunAwaitingApproval}
			return nil
		}
		if handed, err = s.handOverNext(ctx, tx, on, limit); err != nil || !handed.Done {
			return err
		}
		return run.goOn(ctx, tx, RunEnded)
	})
	return handed, err
}

// handOverNext hands the next payouts of a run over. Those at PayPal come last, and as many at once as
// fill whole batches.
func (s *Store) handOverNext(ctx context.Context, tx pgx.Tx, on date.Date, limit int) (Handed, error) {
	ids, err := takeForHandOver(ctx, tx, on, RailStripe, limit)
	if err != nil {
		return Handed{}, err
	}
	if err := s.start(ctx, tx, ids); err != nil || len(ids) == limit {
		return Handed{Payouts: len(ids)}, err
	}
	size := s.policy.PayPalBatchSize
	room := max(limit/size, 1) * size
	batched, err := takeForHandOver(ctx, tx, on, RailPayPal, room)
	if err != nil {
		return Handed{}, err
	}
	return Handed{Payouts: len(ids) + len(batched), Done: len(batched) < room}, s.FormBatches(ctx, tx, batched)
}

// takeForHandOver marks a rail's payouts as handed over. One that was canceled before has nothing to be done.
func takeForHandOver(ctx context.Context, tx pgx.Tx, on date.Date, rail Rail, limit int) ([]string, error) {
	rows, err := tx.Query(ctx, `UPDATE payouts SET handed_at = now() WHERE id IN (
			SELECT id FROM payouts WHERE run_date = $1 AND handed_at IS NULL AND state = 'planned' AND (method = 'paypal') = $2
			ORDER BY id LIMIT $3 FOR UPDATE)
		RETURNING id`, on, rail == RailPayPal, limit)
	if err != nil {
		return nil, fmt.Errorf("run of %s: take payouts to hand over: %w", on, err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("run of %s: take payouts to hand over: %w", on, err)
	}
	return ids, nil
}

// start has payouts at Stripe taken up by their workflows.
func (s *Store) start(ctx context.Context, tx pgx.Tx, ids []string) error {
	batch := &pgx.Batch{}
	for _, id := range ids {
		if err := outbox.Queue(batch, s.work.Pay(id)); err != nil {
			return fmt.Errorf("payout %s: hand over: %w", id, err)
		}
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("hand %d payouts over: %w", len(ids), err)
	}
	return nil
}
