package activities

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/activity"

	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/workflows"
)

// attempts makes tries of steps that call one provider: it refuses when the provider is known to
// be down, keeps Temporal informed while a call is slow, and writes down what went wrong.
type attempts struct {
	pool       *pgxpool.Pool
	provider   provider.Name
	health     *provider.HealthStore
	breaker    *provider.Breaker
	configured bool
	log        *slog.Logger
	// changeSteps changes steps and does what follows from it. Nothing does, except in onboarding.
	changeSteps func(ctx context.Context, tx pgx.Tx, workflowID string, do func() error) error
}

func newAttempts(pool *pgxpool.Pool, name provider.Name, breaker *provider.Breaker, configured bool, log *slog.Logger) *attempts {
	return &attempts{
		pool: pool, provider: name, health: provider.NewHealthStore(pool), breaker: breaker, configured: configured, log: log,
		changeSteps: func(_ context.Context, _ pgx.Tx, _ string, do func() error) error { return do() },
	}
}

// try makes one attempt at a step and gives the error that Temporal acts on.
func (a *attempts) try(ctx context.Context, stepName string, do func(context.Context) error) error {
	began := time.Now()
	err := a.refuse(ctx)
	if err == nil {
		err = whileBeating(ctx, do)
	}
	if err == nil {
		return nil
	}
	if recordErr := a.record(ctx, stepName, began, err); recordErr != nil {
		// The attempt failed all the same; Temporal goes on, and people see it one attempt late.
		a.log.ErrorContext(ctx, "a failed attempt could not be recorded", "step", stepName,
			"workflow_id", activity.GetInfo(ctx).WorkflowExecution.ID, "error", recordErr)
	}
	return asTemporal(err)
}

// refuse gives the failure of a provider that is known not to answer or not to accept us.
func (a *attempts) refuse(ctx context.Context) error {
	if !a.configured {
		return &provider.Failure{Provider: a.provider, Class: provider.Misconfigured, Code: provider.CodeNotConfigured}
	}
	health, err := a.health.Get(ctx, a.provider)
	if err != nil {
		return err
	}
	return refusal(health)
}

// refusal is the failure of a provider whose health forbids calls, or nil.
func refusal(health provider.Health) error {
	switch health.State {
	case provider.StateDown:
		return &provider.Failure{Provider: health.Provider, Class: provider.Transient, Code: provider.CodeProviderDown}
	case provider.StateMisconfigured:
		return &provider.Failure{Provider: health.Provider, Class: provider.Misconfigured, Code: provider.CodeProviderDown}
	default:
		return nil
	}
}

// beat is how often a slow call says that its process is alive.
const beat = 3 * time.Second

// whileBeating runs the call and heartbeats while it is slow, so that a process that dies in the
// middle is noticed within seconds. Calls that answer at once send no heartbeat. The call runs on
// the activity's own goroutine, where Temporal turns a panic into a failed attempt; on another one
// it would end the process, and with it everybody's calls.
func whileBeating(ctx context.Context, do func(context.Context) error) error {
	var beating sync.WaitGroup
	over := make(chan struct{})
	beating.Go(func() { heartbeat(ctx, over) })
	defer beating.Wait()
	defer close(over)
	return do(ctx)
}

// heartbeat beats until the call is over.
func heartbeat(ctx context.Context, over <-chan struct{}) {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		select {
		case <-over:
			return
		case <-ticker.C:
			activity.RecordHeartbeat(ctx)
		}
	}
}

// recordTimeout bounds the writing down of a failure when the attempt's own time is over.
const recordTimeout = 5 * time.Second

// record writes the failed attempt into the step's row and, when it shows trouble with the
// provider itself, reports that to the gate in the same transaction.
func (a *attempts) record(ctx context.Context, stepName string, began time.Time, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	info := activity.GetInfo(ctx)
	failed := step.Step{WorkflowID: info.WorkflowExecution.ID, Name: stepName, ErrorClass: provider.Transient, LastError: "the attempt could not be made; the worker's log says why"}
	var failure *provider.Failure
	if errors.As(cause, &failure) {
		failed.ErrorClass, failed.LastError = failure.Class, failure.Error()
	} else {
		a.log.ErrorContext(ctx, "an attempt failed on our side", "step", stepName, "workflow_id", failed.WorkflowID, "error", cause)
	}
	failed.NextAttemptAt = nextAttempt(failure, int(info.Attempt))
	return postgres.InTx(ctx, a.pool, func(tx pgx.Tx) error {
		return a.changeSteps(ctx, tx, failed.WorkflowID, func() error {
			if err := step.Failed(ctx, tx, failed, began); err != nil || !a.troubled(failure) {
				return err
			}
			return reportTrouble(ctx, tx, a.provider)
		})
	})
}

// troubled says that the failure is about the provider and not about this one request.
func (a *attempts) troubled(failure *provider.Failure) bool {
	return a.breaker.Open() || failure != nil && failure.Class == provider.Misconfigured
}

// reportTrouble hands the gate a signal, once in each epoch of the provider's health. When the
// gate knows already there is nothing to report. The shared lock orders this transaction before
// the gate's next change of state, so that the gate sees what is parked here.
func reportTrouble(ctx context.Context, tx pgx.Tx, name provider.Name) error {
	health, err := provider.NewHealthStore(tx).LockShared(ctx, name)
	if err != nil || watched(health) {
		return err
	}
	return outbox.Add(ctx, tx, workflows.ReportTrouble(health))
}

// unwatched is how long a gate that is at work never leaves a provider in trouble unprobed.
const unwatched = 5 * time.Minute

// watched says that the gate knows of the trouble and probes. A state that refuses calls and that
// nobody renews is one that no gate is behind, as after a restored backup or a terminated gate: it
// would refuse for ever.
func watched(health provider.Health) bool {
	return health.State.Refuses() && health.CheckedAt != nil && time.Since(*health.CheckedAt) < unwatched
}

// nextAttempt is when Temporal tries again by itself; nil when it does not.
func nextAttempt(failure *provider.Failure, attempt int) *time.Time {
	delay, again := workflows.BlipBackoff(attempt)
	if failure != nil {
		retry, wish := retryOf(failure)
		again = again && retry
		if wish > 0 {
			delay = wish
		}
	}
	if !again {
		return nil
	}
	at := time.Now().Add(delay)
	return &at
}
