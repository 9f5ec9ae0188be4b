package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/holdfast/holdfast/internal/localstack/temporaltest"
	"github.com/holdfast/holdfast/workflows"
)

func TestSchedulesAreMadeAndBroughtUpToDate(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	temporal := temporaltest.Client(t, temporaltest.Start(t)).ScheduleClient()
	sweep := schedules()[0]
	// Given: what an earlier build made, which an operator has paused.
	earlier := sweep
	earlier.Spec = client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: 24 * time.Hour}}}
	earlier.Overlap, earlier.CatchupWindow = enums.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL, 24*time.Hour
	require.NoError(t, applySchedule(ctx, temporal, earlier))
	require.NoError(t, temporal.GetHandle(ctx, sweep.ID).Pause(ctx, client.SchedulePauseOptions{Note: "while we look into something"}))

	// When it is applied, twice.
	for range 2 {
		require.NoError(t, applySchedule(ctx, temporal, sweep))
	}

	is, err := temporal.GetHandle(ctx, "repair-sweep").Describe(ctx)
	require.NoError(t, err)
	require.Equal(t, []client.ScheduleIntervalSpec{{Every: time.Hour}}, is.Schedule.Spec.Intervals)
	require.Equal(t, enums.SCHEDULE_OVERLAP_POLICY_SKIP, is.Schedule.Policy.Overlap)
	require.Equal(t, time.Hour, is.Schedule.Policy.CatchupWindow)
	require.True(t, is.Schedule.State.Paused, "that is the operators' matter")
	action, ok := is.Schedule.Action.(*client.ScheduleWorkflowAction)
	require.True(t, ok)
	require.Equal(t, workflows.NameRepairSweep, action.Workflow)
	require.Equal(t, workflows.TaskQueue, action.TaskQueue)
}
