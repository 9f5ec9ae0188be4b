package activities

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

// Probe makes the one cheap read by which a gate sees whether its provider answers. It is
// registered on the provider's queue, beside the calls that it speaks for.
type Probe struct {
	health *provider.HealthStore
	read   func(context.Context) error
}

// NewProbe makes the activity. A nil read is a provider that is not configured.
func NewProbe(pool *pgxpool.Pool, read func(context.Context) error) *Probe {
	return &Probe{health: provider.NewHealthStore(pool), read: read}
}

// ProbeProvider reads once, stores what that says of the provider, and returns when the provider
// answers or is in another state than the gate knew. Otherwise it fails, and is retried: that is
// how the gate polls.
func (p *Probe) ProbeProvider(ctx context.Context, in workflows.ProbeInput) (workflows.ProbeResult, error) {
	var failure *provider.Failure
	_ = whileBeating(ctx, func(ctx context.Context) error {
		failure = p.look(ctx, in.Provider)
		return nil
	})
	state, text := provider.StateDegraded, ""
	if failure != nil {
		state, text = provider.StateDown, failure.Error()
		if failure.Class == provider.Misconfigured {
			state = provider.StateMisconfigured
		}
	}
	health, err := p.health.Set(ctx, in.Provider, state, text)
	if err != nil {
		return workflows.ProbeResult{}, err
	}
	if failure != nil && state == in.Known {
		return workflows.ProbeResult{}, temporal.NewApplicationErrorWithOptions(text, string(failure.Class),
			temporal.ApplicationErrorOptions{Category: temporal.ApplicationErrorCategoryBenign})
	}
	return workflows.ProbeResult{State: health.State, Since: health.Since}, nil
}

// look gives nil when the provider answers: being asked to call less is an answer.
func (p *Probe) look(ctx context.Context, name provider.Name) *provider.Failure {
	if p.read == nil {
		return &provider.Failure{Provider: name, Class: provider.Misconfigured, Code: provider.CodeNotConfigured}
	}
	err := p.read(ctx)
	var failure *provider.Failure
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &failure):
		return &provider.Failure{Provider: name, Class: provider.Transient, Code: provider.CodeNetwork}
	case failure.Class == provider.RateLimited:
		return nil
	}
	return failure
}

// Signaler sends a signal to a workflow; Temporal's client is one.
type Signaler interface {
	SignalWorkflow(ctx context.Context, workflowID, runID, signalName string, arg any) error
}

// Wake wakes what is parked on a provider that is back.
type Wake struct {
	pool   *pgxpool.Pool
	health *provider.HealthStore
	signal Signaler
	// rates is how many steps a second each provider can take.
	rates map[provider.Name]float64
	log   *slog.Logger
}

// NewWake makes the activity; the rates are those of the providers' task queues, calls per second.
func NewWake(pool *pgxpool.Pool, signal Signaler, rates map[provider.Name]float64, log *slog.Logger) *Wake {
	return &Wake{pool: pool, health: provider.NewHealthStore(pool), signal: signal, rates: rates, log: log}
}

const (
	// scouts are woken first. If none of them gets through, nobody else is sent after them.
	scouts = 5
	// patience is how long woken steps may take without any of them being decided.
	patience = time.Minute
	// wakeEvery is how often a slice is woken.
	wakeEvery = 500 * time.Millisecond
	// headroom wakes a little faster than the provider's rate, so that its queue is never empty;
	// the queue itself holds the rate.
	headroom = 1.25
)

// WakeParked sends a few scouts and, when one of them gets through, wakes the rest at the
// provider's rate. When nothing is parked any more the provider is up. It gives up, with
// Recovered false, when those who were woken meet the same trouble again.
func (w *Wake) WakeParked(ctx context.Context, in workflows.WakeInput) (workflows.WakeResult, error) {
	round, err := step.Round(ctx, w.pool)
	if err != nil {
		return workflows.WakeResult{}, err
	}
	r := wakeRound{Wake: w, provider: in.Provider, began: round}
	err = r.run(ctx)
	return r.result, err
}

// wakeRound is one round of waking.
type wakeRound struct {
	*Wake
	provider provider.Name
	began    time.Time
	result   workflows.WakeResult
}

func (r *wakeRound) run(ctx context.Context) error {
	sent, err := r.sendScouts(ctx)
	if err != nil {
		return err
	}
	through, err := r.anyThrough(ctx, sent)
	if err != nil || !through {
		return err
	}
	for {
		if err := r.wakeRest(ctx); err != nil {
			return err
		}
		left, err := r.awaitWoken(ctx)
		if err != nil {
			return err
		}
		if left.Ahead == 0 || left.Again > 0 {
			return r.conclude(ctx)
		}
		// Somebody came to wait late, of whom it is not the provider that refused them.
	}
}

// sendScouts wakes the first in line whose workflows are there to go: those that are gone would
// never come back, and be the first in line in every round.
func (r *wakeRound) sendScouts(ctx context.Context) ([]step.Step, error) {
	for {
		sent, last, err := r.wake(ctx, scouts)
		if err != nil || last || len(sent) > 0 {
			return sent, err
		}
	}
}

// wake signals the next steps in line, gives those that heard it, and tells whether they were the
// last in line. A workflow that is gone is left to the sweep.
func (r *wakeRound) wake(ctx context.Context, limit int) (sent []step.Step, last bool, err error) {
	woken, err := step.Wake(ctx, r.pool, r.provider, r.began, limit)
	if err != nil {
		return nil, false, err
	}
	for _, s := range woken {
		err := r.signal.SignalWorkflow(ctx, s.WorkflowID, "", workflows.SignalProviderUp, r.provider)
		var gone *serviceerror.NotFound
		switch {
		case errors.As(err, &gone):
			r.log.WarnContext(ctx, "a parked step's workflow is gone; the sweep starts it again", "workflow_id", s.WorkflowID, "step", s.Name)
		case err != nil:
			return nil, false, err
		default:
			sent = append(sent, s)
		}
	}
	r.result.Woken += len(woken)
	activity.RecordHeartbeat(ctx, r.result.Woken)
	return sent, len(woken) < limit, nil
}

// anyThrough waits until one of the scouts got through, or all have failed or take too long. With
// nobody to send there is nothing to wait for.
func (r *wakeRound) anyThrough(ctx context.Context, sent []step.Step) (bool, error) {
	if len(sent) == 0 {
		return true, nil
	}
	through := false
	err := r.watch(ctx, func() (over bool, undecided int, err error) {
		v, err := step.Judge(ctx, r.pool, sent)
		through = v.Through > 0
		return through || v.Failed == len(sent), len(sent) - v.Failed, err
	})
	return through, err
}

// wakeRest wakes slices at the provider's rate, until none is left or too many have met the
// trouble again.
func (r *wakeRound) wakeRest(ctx context.Context) error {
	size := max(1, int(r.rates[r.provider]*headroom*wakeEvery.Seconds()))
	ticker := time.NewTicker(wakeEvery)
	defer ticker.Stop()
	for {
		_, last, err := r.wake(ctx, size)
		if err != nil || last {
			return err
		}
		left, err := step.CountRemaining(ctx, r.pool, r.provider, r.began)
		if err != nil || left.Again >= scouts {
			return err
		}
		if err := tick(ctx, ticker); err != nil {
			return err
		}
	}
}

// awaitWoken waits for those who are under way, and tells who is left then.
func (r *wakeRound) awaitWoken(ctx context.Context) (left step.Remaining, err error) {
	err = r.watch(ctx, func() (over bool, undecided int, err error) {
		left, err = step.CountRemaining(ctx, r.pool, r.provider, r.began)
		return left.Underway == 0 || left.Again > 0, left.Underway, err
	})
	return left, err
}

// conclude declares the provider up if nobody waits for it any more.
func (r *wakeRound) conclude(ctx context.Context) error {
	err := postgres.InTx(ctx, r.pool, r.declareUp(ctx))
	if errors.Is(err, errStillParked) {
		return nil
	}
	return err
}

var errStillParked = errors.New("steps wait for the provider")

// declareUp stores that the provider is up, unless somebody waits for it. Writing the state waits
// for every transaction that parks a step under the state before, so none is missed here; whoever
// parks later sees the new state and reports trouble anew.
func (r *wakeRound) declareUp(ctx context.Context) func(pgx.Tx) error {
	return func(tx pgx.Tx) error {
		health, err := provider.NewHealthStore(tx).Set(ctx, r.provider, provider.StateUp, "")
		if err != nil {
			return err
		}
		left, err := step.CountRemaining(ctx, tx, r.provider, r.began)
		if err != nil {
			return err
		}
		if left.Ahead+left.Again > 0 {
			return errStillParked
		}
		r.result.Recovered, r.result.Since = true, health.Since
		return nil
	}
}

// watchEvery is how often the database is asked how woken steps fare.
const watchEvery = 200 * time.Millisecond

// watch looks until it is over, or until nothing has moved for as long as patience lasts.
func (r *wakeRound) watch(ctx context.Context, look func() (over bool, undecided int, err error)) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	before, moved := -1, time.Now()
	for {
		over, undecided, err := look()
		if err != nil || over {
			return err
		}
		if undecided != before {
			before, moved = undecided, time.Now()
		}
		if time.Since(moved) > patience {
			return nil
		}
		activity.RecordHeartbeat(ctx, r.result.Woken)
		if err := tick(ctx, ticker); err != nil {
			return err
		}
	}
}

// tick waits for the ticker, or for the end of the activity.
func tick(ctx context.Context, ticker *time.Ticker) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-ticker.C:
		return nil
	}
}
