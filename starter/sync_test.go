package main

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfast/holdfast/internal/localstack/temporaltest"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/workflows"
)

func TestSyncIsOfOneCustomerOrOfEverybody(t *testing.T) {
	t.Setenv("HOLDFAST_KEY", "")
	cases := map[string]struct {
		args []string
		says string
	}{
		"nobody":                  {nil, "--all"},
		"one and everybody":       {[]string{"u_1", "--all"}, "--all"},
		"one without a key":       {[]string{"u_1"}, "HOLDFAST_KEY"},
		"one at one provider":     {[]string{"u_1", "--key=k", "--provider=stripe"}, "--provider"},
		"at a provider not known": {[]string{"--all", "--provider=paddle"}, "--provider"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			require.ErrorContains(t, told(t, append([]string{"sync"}, c.args...)...), c.says)
		})
	}
	require.NoError(t, told(t, "sync", "u_1", "--key=k"))
	require.NoError(t, told(t, "sync", "--all"))
	require.NoError(t, told(t, "sync", "--all", "--provider=paypal"))
}

// printed is what a command has printed so far.
type printed struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// hostPass runs passes at PayPal that find seven customers and end when they are told to.
func hostPass(t *testing.T, temporal client.Client) (end func()) {
	t.Helper()
	var (
		once sync.Once
		over = make(chan struct{})
	)
	end = func() { once.Do(func() { close(over) }) }
	w := worker.New(temporal, workflows.TaskQueue, worker.Options{})
	w.RegisterWorkflowWithOptions(workflows.SubscriptionBackfill, workflow.RegisterOptions{Name: workflows.NameSubscriptionBackfill})
	register := func(name string, do any) { w.RegisterActivityWithOptions(do, activity.RegisterOptions{Name: name}) }
	register(workflows.ActivityBeginBackfill, func(context.Context, workflows.BeginBackfillInput) (workflows.BeginBackfillResult, error) {
		return workflows.BeginBackfillResult{StartedAt: time.Now(), Customers: 9}, nil
	})
	register(workflows.ActivityMarkUnread, func(_ context.Context, in workflows.MarkUnreadInput) (workflows.MarkUnreadResult, error) {
		if in.After == "" {
			return workflows.MarkUnreadResult{Marked: 7, Next: "u_7"}, nil
		}
		return workflows.MarkUnreadResult{}, nil
	})
	register(workflows.ActivityCountHealed, func(ctx context.Context, _ workflows.CountHealedInput) (workflows.CountHealedResult, error) {
		select {
		case <-over:
			return workflows.CountHealedResult{Healed: 3}, nil
		case <-time.After(100 * time.Millisecond):
			return workflows.CountHealedResult{Healed: 1, Unread: 6}, nil
		case <-ctx.Done():
			return workflows.CountHealedResult{}, ctx.Err()
		}
	})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	t.Cleanup(end)
	return end
}

func TestSyncAllShowsAPassUntilItEnds(t *testing.T) {
	t.Parallel()
	temporal := temporaltest.Client(t, temporaltest.Start(t))
	end := hostPass(t, temporal)
	var first printed
	pass, err := startPass(t.Context(), temporal, provider.PayPal, &first)
	require.NoError(t, err)
	pass.every = 50 * time.Millisecond
	watching, look := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- pass.watch(watching) }()
	require.Eventually(t, func() bool { return strings.Contains(first.String(), "7 marked") }, time.Minute, 20*time.Millisecond)

	// Whoever leaves it is told how to come back, and comes back to the same one.
	look()
	require.NoError(t, <-left)
	require.Contains(t, first.String(), "starter sync --all --provider paypal")
	var second printed
	again, err := startPass(t.Context(), temporal, provider.PayPal, &second)
	require.NoError(t, err)
	require.Equal(t, pass.run.GetRunID(), again.run.GetRunID())
	require.Contains(t, second.String(), "is under way")

	end()
	require.NoError(t, again.watch(t.Context()))
	require.Contains(t, second.String(), "done: 0 pages, 0 customers compared, 0 differ, 7 marked, 3 healed")
}

func TestDriftIsLookedForDailyAtTwo(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	temporal := temporaltest.Client(t, temporaltest.Start(t)).ScheduleClient()
	for range 2 {
		for _, s := range schedules() {
			require.NoError(t, applySchedule(ctx, temporal, s))
		}
	}
	is, err := temporal.GetHandle(ctx, "subscription-drift").Describe(ctx)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(is.Info.NextActionTimes), 2)
	first := is.Info.NextActionTimes[0].UTC()
	require.Equal(t, []int{2, 0, 0}, []int{first.Hour(), first.Minute(), first.Second()})
	require.Equal(t, 24*time.Hour, is.Info.NextActionTimes[1].Sub(first))
	action, ok := is.Schedule.Action.(*client.ScheduleWorkflowAction)
	require.True(t, ok)
	require.Equal(t, workflows.NameSubscriptionDrift, action.Workflow)
}
