package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfast/holdfast/internal/provider"
)

// ProviderGate watches over one provider for the whole fleet. While there is trouble it asks the
// provider for one cheap read every few seconds, whatever the backlog, and keeps what it learns
// in Postgres, where every step looks before it calls. When the provider is back, the gate wakes
// what is parked at the provider's rate. It runs for ever.
func ProviderGate(ctx workflow.Context, in GateInput) error {
	g := gate{provider: in.Provider}
	if err := g.setup(ctx, in.State); err != nil {
		return err
	}
	return g.run(ctx)
}

type gate struct {
	provider provider.Name
	state    GateState
	trouble  workflow.ReceiveChannel
}

// The pauses of holdBack, and how long after one trouble the next is still the same story.
const (
	firstPause = 30 * time.Second
	maxPause   = 15 * time.Minute
	calm       = 10 * time.Minute
)

func (g *gate) setup(ctx workflow.Context, before *GateState) error {
	if g.provider == "" {
		return temporal.NewNonRetryableApplicationError("provider: is missing", ErrInvalidInput, nil)
	}
	g.state = GateState{State: provider.StateUp, Since: workflow.Now(ctx)}
	if before != nil {
		g.state = *before
	}
	g.trouble = workflow.GetSignalChannel(ctx, SignalTrouble)
	g.show(ctx)
	return workflow.SetQueryHandler(ctx, QueryState, func() (GateState, error) { return g.state, nil })
}

func (g *gate) run(ctx workflow.Context) error {
	for !g.shouldContinueAsNew(ctx) {
		if err := workflow.Await(ctx, func() bool { return g.state.State != provider.StateUp || g.trouble.Len() > 0 }); err != nil {
			return err
		}
		drain(g.trouble)
		if err := g.recover(ctx); err != nil {
			return err
		}
	}
	return workflow.NewContinueAsNewError(ctx, ProviderGate, GateInput{Provider: g.provider, State: &g.state})
}

// shouldContinueAsNew says that the history has grown long and that the next run will know all that
// there is to know: trouble that is not over goes along with the state, an unread signal does not.
func (g *gate) shouldContinueAsNew(ctx workflow.Context) bool {
	return workflow.GetInfo(ctx).GetContinueAsNewSuggested() && (g.state.State != provider.StateUp || g.trouble.Len() == 0)
}

// recover goes from trouble to a provider that is up with nothing parked on it, or, when those
// who were woken met the same trouble again, to a longer pause.
func (g *gate) recover(ctx workflow.Context) error {
	wasDown, err := g.untilReachable(ctx)
	if err != nil {
		return err
	}
	if err := g.holdBack(ctx, wasDown); err != nil {
		return err
	}
	woken, err := call[WakeResult](waking(ctx, g.provider), ActivityWakeParked, WakeInput{Provider: g.provider})
	if err != nil {
		return err
	}
	if woken.Recovered {
		g.state.State, g.state.Since = provider.StateUp, woken.Since
	}
	g.show(ctx)
	return nil
}

// untilReachable probes until the provider answers, and tells whether it had to wait for that.
// Each probe activity ends when the state changes, so the history grows with the changes and not
// with the outage's length.
func (g *gate) untilReachable(ctx workflow.Context) (wasDown bool, err error) {
	for {
		found, err := call[ProbeResult](probing(ctx, g.provider), ActivityProbeProvider,
			ProbeInput{Provider: g.provider, Known: g.state.State})
		if err != nil {
			return false, err
		}
		g.state.State, g.state.Since = found.State, found.Since
		g.show(ctx)
		if !found.State.Refuses() {
			return wasDown, nil
		}
		wasDown = true
	}
}

// holdBack waits when the provider answers the probe and yet steps met trouble: longer each time
// that happens again soon, so that a provider that is well in nothing but its probe is not
// stormed. After an outage that the probe saw there is nothing to hold back for.
func (g *gate) holdBack(ctx workflow.Context, wasDown bool) error {
	now := workflow.Now(ctx)
	if wasDown || now.Sub(g.state.LastTrouble) > calm {
		g.state.Pause = 0
	}
	pause := g.state.Pause
	g.state.LastTrouble = now.Add(pause)
	g.state.Pause = min(max(2*pause, firstPause), maxPause)
	if pause == 0 {
		return nil
	}
	return workflow.NewTimerWithOptions(ctx, pause, workflow.TimerOptions{
		Summary: fmt.Sprintf("before what waits for %s is tried again", g.provider),
	}).Get(ctx, nil)
}

// show puts the provider's state into the workflow's details, for Temporal's UI.
func (g *gate) show(ctx workflow.Context) {
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("**%s** is **%s** since %s", g.provider, g.state.State, g.state.Since.UTC().Format(time.RFC3339)))
}
