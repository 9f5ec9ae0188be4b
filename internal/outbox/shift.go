package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/serviceerror"
)

const (
	maxProbeTime = 2 * time.Second // for Temporal to say that it is there
	probePause   = time.Second     // between two looks for it
	maxStoreTime = 5 * time.Second // for a statement
	minRowDelay  = time.Second     // after a message's first failure
	maxRowDelay  = 5 * time.Minute // between two attempts of a message
)

// shift is one Run of a dispatcher. A single goroutine owns it; only the calls to Temporal have
// goroutines of their own, which tell it their outcomes.
type shift struct {
	*Dispatcher

	due      bool             // there may be rows to take
	away     bool             // Temporal cannot be reached
	lookAt   time.Time        // when to look for rows, or for Temporal, in any case
	taken    int              // rows that are leased and not yet recorded
	lanes    map[string][]job // by workflow: what waits behind the job that is ready or under way
	ready    []job
	underway int
	outcomes chan outcome
	ended    []outcome // not yet recorded
	store    backoff   // while Postgres fails
}

// job is a taken row, and until when its delivery may begin: it must end within the lease.
type job struct {
	row   row
	until time.Time
}

func (d *Dispatcher) newShift() *shift {
	return &shift{
		Dispatcher: d,
		due:        true,
		lanes:      map[string][]job{},
		outcomes:   make(chan outcome, d.options.Concurrency),
		store:      backoff{first: 100 * time.Millisecond, most: 2 * time.Second},
	}
}

func (s *shift) work(ctx context.Context) error {
	if err := s.lookForTemporal(ctx); err != nil {
		return err
	}
	idle := time.NewTimer(0)
	defer idle.Stop()
	for ctx.Err() == nil {
		if err := s.look(ctx); err != nil {
			return err
		}
		s.record(ctx)
		s.takeMore(ctx)
		s.begin(ctx)
		idle.Reset(s.idleTime())
		select {
		case <-ctx.Done():
		case <-idle.C:
		case <-s.wake:
			s.due = true
		case o := <-s.outcomes:
			s.collect(o)
			if err := s.judge(ctx); err != nil {
				return err
			}
		}
	}
	return s.finish(context.WithoutCancel(ctx))
}

// look looks, when it is time, for rows that nobody announced, and for Temporal if it was away.
func (s *shift) look(ctx context.Context) error {
	if time.Now().Before(s.lookAt) {
		return nil
	}
	s.due = true
	s.lookAt = time.Now().Add(s.options.Poll)
	if s.away {
		return s.lookForTemporal(ctx)
	}
	return nil
}

// idleTime is when to go on if nothing happens before.
func (s *shift) idleTime() time.Duration {
	if s.store.failing() || len(s.ended) > 0 {
		return s.store.pause
	}
	return time.Until(s.lookAt)
}

// takeMore leases as many rows as can be under way, and as many again so that the next are at hand.
func (s *shift) takeMore(ctx context.Context) {
	room := 2*s.options.Concurrency - s.taken
	if !s.due || s.away || len(s.ended) > 0 || room < s.options.Concurrency {
		return
	}
	until := time.Now().Add(s.options.Lease - s.callTime())
	ctx, cancel := context.WithTimeout(ctx, maxStoreTime)
	defer cancel()
	rows, err := take(ctx, s.pool, room, s.options.Lease)
	if !s.stored(ctx, err) {
		return
	}
	s.due = len(rows) == room
	s.taken += len(rows)
	for _, r := range rows {
		s.line(job{row: r, until: until})
	}
}

// callTime is what the calls of one delivery may take together.
func (s *shift) callTime() time.Duration { return s.options.Lease / 3 }

// line puts a job behind those of the same workflow.
func (s *shift) line(j job) {
	waiting, busy := s.lanes[j.row.WorkflowID]
	if busy {
		s.lanes[j.row.WorkflowID] = append(waiting, j)
		return
	}
	s.lanes[j.row.WorkflowID] = nil
	s.ready = append(s.ready, j)
}

// begin starts deliveries, up to the allowed number at once.
func (s *shift) begin(ctx context.Context) {
	for len(s.ready) > 0 && s.underway < s.options.Concurrency {
		j := s.ready[0]
		s.ready = s.ready[1:]
		if s.away || time.Now().After(j.until) {
			s.conclude(outcome{row: j.row})
			continue
		}
		s.underway++
		go s.deliver(ctx, j.row)
	}
}

// deliver is not cut short by the end of Run: the call may be taking effect at this moment.
func (s *shift) deliver(ctx context.Context, r row) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.callTime())
	defer cancel()
	err := s.handover.deliver(ctx, r)
	s.outcomes <- outcome{row: r, tried: true, err: err, delay: rowDelay(r.Attempts)}
}

// collect takes an outcome, and those that have come in meanwhile, so that they are recorded
// together.
func (s *shift) collect(first outcome) {
	s.underway--
	s.conclude(first)
	for {
		select {
		case o := <-s.outcomes:
			s.underway--
			s.conclude(o)
		default:
			return
		}
	}
}

// conclude ends a job and makes the next one of the same workflow ready.
func (s *shift) conclude(o outcome) {
	s.ended = append(s.ended, o)
	waiting := s.lanes[o.row.WorkflowID]
	if len(waiting) == 0 {
		delete(s.lanes, o.row.WorkflowID)
		return
	}
	s.lanes[o.row.WorkflowID] = waiting[1:]
	s.ready = append(s.ready, waiting[0])
}

// judge tells a message that Temporal does not take from a Temporal that takes none. In
// the latter case the failed messages stay due.
func (s *shift) judge(ctx context.Context) error {
	failed := s.failed()
	if len(failed) == 0 {
		return nil
	}
	s.options.Meter.Failed(ctx, len(failed))
	if s.suspicious(failed) {
		if err := s.lookForTemporal(ctx); err != nil {
			return err
		}
	}
	for _, o := range failed {
		if s.away {
			o.delay = 0
			continue
		}
		s.options.Logger.WarnContext(ctx, "a message could not be delivered to Temporal; it is tried again later",
			"key", o.row.Key, "workflow_id", o.row.WorkflowID, "attempts", o.row.Attempts, "error", errorText(o.err))
	}
	return nil
}

// failed are the deliveries that failed and were not judged yet.
func (s *shift) failed() []*outcome {
	var failed []*outcome
	for i := range s.ended {
		if o := &s.ended[i]; o.err != nil && !o.judged {
			o.judged = true
			failed = append(failed, o)
		}
	}
	return failed
}

// suspicious says that one of the failures may not be the message's own fault.
func (*shift) suspicious(failed []*outcome) bool {
	for _, o := range failed {
		if _, invalid := errors.AsType[*serviceerror.InvalidArgument](o.err); !invalid {
			return true
		}
	}
	return false
}

// lookForTemporal finds out whether Temporal takes work.
func (s *shift) lookForTemporal(ctx context.Context) error {
	probing, cancel := context.WithTimeout(ctx, maxProbeTime)
	defer cancel()
	err := s.handover.probe(probing)
	if errors.Is(err, errNotStamped) {
		return err
	}
	if err != nil {
		s.lookAt = time.Now().Add(jittered(probePause))
	}
	if away := err != nil; away != s.away && ctx.Err() == nil {
		s.away = away
		if away {
			s.options.Logger.WarnContext(ctx, "Temporal does not take work; messages wait in the outbox until it does", "error", errorText(err))
		} else {
			s.options.Logger.InfoContext(ctx, "Temporal takes work again")
		}
	}
	return nil
}

// record writes down what has ended. If that fails nothing more is taken until it succeeds.
func (s *shift) record(ctx context.Context) {
	if len(s.ended) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, maxStoreTime)
	defer cancel()
	if !s.stored(ctx, record(ctx, s.pool, s.ended)) {
		return
	}
	s.options.Meter.Delivered(ctx, countDelivered(s.ended))
	s.taken -= len(s.ended)
	s.ended = s.ended[:0]
}

func countDelivered(ended []outcome) int {
	n := 0
	for _, o := range ended {
		if o.delivered() {
			n++
		}
	}
	return n
}

// stored says whether a statement succeeded, and slows the shift down if not.
func (s *shift) stored(ctx context.Context, err error) bool {
	if err == nil {
		s.store.reset()
		return true
	}
	if !s.store.failing() && ctx.Err() == nil {
		s.options.Logger.WarnContext(ctx, "Postgres does not answer the outbox; trying until it does", "error", err)
	}
	s.store.grow()
	return false
}

// finish waits for what is under way, gives back what is not, and writes both down.
func (s *shift) finish(ctx context.Context) error {
	for s.underway > 0 {
		s.collect(<-s.outcomes)
	}
	for len(s.ready) > 0 {
		j := s.ready[0]
		s.ready = s.ready[1:]
		s.conclude(outcome{row: j.row})
	}
	s.record(ctx)
	if left := len(s.ended); left > 0 {
		return fmt.Errorf("outbox: the outcomes of %d messages could not be written down before the end; "+
			"they are taken again when their lease is over, and those that arrived are recognised", left)
	}
	return nil
}
