package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/httpapi"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/workflows"
)

// migrateCommand is starter migrate.
type migrateCommand struct {
	Database config.Database `embed:""`
}

// Run brings the database up to date. Replicas may do so at the same time.
func (c *migrateCommand) Run(ctx context.Context) error {
	pool, err := postgres.Open(ctx, c.Database.URL)
	if err != nil {
		return err
	}
	defer pool.Close()
	return postgres.Migrate(ctx, pool, slog.New(slog.NewTextHandler(os.Stderr, nil)))
}

// openAPICommand is starter openapi.
type openAPICommand struct{}

// Run prints the API's description.
func (*openAPICommand) Run() error {
	described, err := httpapi.Describe()
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(described)
	return err
}

// schedulesCommand groups what is done with schedules.
type schedulesCommand struct {
	Apply applySchedulesCommand `cmd:"" help:"Make the schedules, or bring them up to date."`
}

type applySchedulesCommand struct{}

const scheduleTimeout = 30 * time.Second

// Run makes the schedules in Temporal, or brings them up to date.
func (*applySchedulesCommand) Run(ctx context.Context) error {
	options, err := config.TemporalOptions()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, scheduleTimeout)
	defer cancel()
	connected, err := client.DialContext(ctx, options)
	if err != nil {
		return fmt.Errorf("reach Temporal at %s (TEMPORAL_ADDRESS): %w", options.HostPort, err)
	}
	defer connected.Close()
	for _, s := range schedules() {
		if err := applySchedule(ctx, connected.ScheduleClient(), s); err != nil {
			return fmt.Errorf("schedule %s: %w", s.ID, err)
		}
		fmt.Fprintf(os.Stderr, "schedule %s is up to date\n", s.ID)
	}
	return nil
}

// schedules are all of Holdfast's, in UTC.
func schedules() []client.ScheduleOptions {
	return []client.ScheduleOptions{{
		ID:   "repair-sweep",
		Spec: client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: time.Hour}}},
		Action: &client.ScheduleWorkflowAction{
			ID: "repair-sweep", Workflow: workflows.NameRepairSweep, TaskQueue: workflows.TaskQueue,
			StaticSummary: "accounts that nothing works on",
		},
		Overlap:       enums.SCHEDULE_OVERLAP_POLICY_SKIP,
		CatchupWindow: time.Hour, // a sweep that was missed for longer is done by the next one
	}, {
		ID:   "subscription-drift",
		Spec: client.ScheduleSpec{Calendars: []client.ScheduleCalendarSpec{{Hour: []client.ScheduleRange{{Start: 2}}}}},
		Action: &client.ScheduleWorkflowAction{
			ID: "subscription-drift", Workflow: workflows.NameSubscriptionDrift, TaskQueue: workflows.TaskQueue,
			StaticSummary: "subscriptions, compared with the providers",
		},
		Overlap:       enums.SCHEDULE_OVERLAP_POLICY_SKIP,
		CatchupWindow: 12 * time.Hour, // later than that, the next pass is as soon
	}, {
		ID:   "payouts",
		Spec: client.ScheduleSpec{Calendars: []client.ScheduleCalendarSpec{{Hour: []client.ScheduleRange{{Start: 8}}}}},
		Action: &client.ScheduleWorkflowAction{
			ID: "payout-launcher", Workflow: workflows.NamePayoutLauncher, TaskQueue: workflows.TaskQueue,
			StaticSummary: "payouts of the day",
		},
		Overlap:       enums.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL, // each date has a run of its own
		CatchupWindow: 72 * time.Hour,
	}, {
		ID:   "payout-sweep",
		Spec: client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: time.Hour}}},
		Action: &client.ScheduleWorkflowAction{
			ID: "payout-sweep", Workflow: workflows.NamePayoutSweep, TaskQueue: workflows.TaskQueue,
			StaticSummary: "payouts that nothing was heard of",
		},
		Overlap:       enums.SCHEDULE_OVERLAP_POLICY_SKIP,
		CatchupWindow: time.Hour,
	}}
}

// applySchedule makes a schedule, or replaces what an existing one does. Whether it is paused is
// the operators' matter and stays as it is.
func applySchedule(ctx context.Context, schedules client.ScheduleClient, wanted client.ScheduleOptions) error {
	_, err := schedules.Create(ctx, wanted)
	if !errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		return err
	}
	return schedules.GetHandle(ctx, wanted.ID).Update(ctx, client.ScheduleUpdateOptions{
		DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
			updated := in.Description.Schedule
			updated.Spec, updated.Action = &wanted.Spec, wanted.Action
			updated.Policy.Overlap, updated.Policy.CatchupWindow = wanted.Overlap, wanted.CatchupWindow
			return &client.ScheduleUpdate{Schedule: &updated}, nil
		},
	})
}
