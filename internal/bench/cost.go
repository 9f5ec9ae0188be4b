package bench

import (
	"context"
	"fmt"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"

	"github.com/holdfast/holdfast/workflows"
)

// cost counts what a straight onboarding costs, from real histories.
func (r *run) cost(ctx context.Context) error {
	const onboardings = 50
	r.notef("%d straight onboardings …", onboardings)
	if _, err := r.signUp(ctx, "straight", onboardings, 4); err != nil {
		return err
	}
	if err := r.awaitQuiet(ctx); err != nil {
		return err
	}
	worst := tally{}
	for i := range onboardings {
		t, err := r.tally(ctx, workflows.OnboardingID(fmt.Sprintf("straight_%d", i)))
		if err != nil {
			return err
		}
		worst.actions, worst.events = max(worst.actions, t.actions), max(worst.events, t.events)
	}
	const aimActions, aimEvents = 4, 25
	r.add("Temporal actions of a straight onboarding, at most", worst.actions <= aimActions, "4", "%d", worst.actions)
	r.add("history events of a straight onboarding, at most", worst.events <= aimEvents, "25", "%d", worst.events)
	return nil
}

// tally is what a workflow cost.
type tally struct{ actions, events int }

// tally reads the history of a workflow, once it has ended.
func (r *run) tally(ctx context.Context, workflowID string) (tally, error) {
	if err := r.fleet.Temporal.GetWorkflow(ctx, workflowID, "").Get(ctx, nil); err != nil {
		return tally{}, err
	}
	var t tally
	events := r.fleet.Temporal.GetWorkflowHistory(ctx, workflowID, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			return tally{}, err
		}
		t.events++
		t.actions += actions(event)
	}
	return t, nil
}

// actions is how many billable actions an event stands for in Temporal Cloud's price list: starts,
// activities and each of their retries, timers, signals, updates, search attributes and markers.
func actions(event *history.HistoryEvent) int {
	switch event.GetEventType() {
	case enums.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
		enums.EVENT_TYPE_TIMER_STARTED,
		enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
		enums.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
		enums.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
		enums.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,
		enums.EVENT_TYPE_MARKER_RECORDED:
		return 1
	case enums.EVENT_TYPE_ACTIVITY_TASK_STARTED:
		return int(event.GetActivityTaskStartedEventAttributes().GetAttempt())
	default:
		return 0
	}
}
