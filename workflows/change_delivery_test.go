package workflows_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/holdfast/holdfast/workflows"
)

// delivery is what ChangeDelivery sees of the rest of Holdfast: an app that answers as the test says.
type delivery struct {
	env   *testsuite.TestWorkflowEnvironment
	posts int
	given []workflows.GiveUpInput
}

func setupDelivery(t *testing.T, post func(n int) error) *delivery {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	d := &delivery{env: suite.NewTestWorkflowEnvironment()}
	d.env.SetTestTimeout(time.Minute)
	d.env.RegisterActivityWithOptions(func(_ context.Context, in workflows.DeliveryInput) error {
		require.Equal(t, int64(7), in.Seq)
		d.posts++
		return post(d.posts)
	}, activity.RegisterOptions{Name: workflows.ActivityDeliverChange})
	d.env.RegisterActivityWithOptions(func(_ context.Context, in workflows.GiveUpInput) error {
		d.given = append(d.given, in)
		return nil
	}, activity.RegisterOptions{Name: workflows.ActivityGiveUpChange})
	return d
}

func (d *delivery) run(t *testing.T) workflows.DeliveryResult {
	t.Helper()
	d.env.ExecuteWorkflow(workflows.ChangeDelivery, workflows.DeliveryInput{Seq: 7})
	return resultOf[workflows.DeliveryResult](t, d.env)
}

func notTaken() error { return temporal.NewApplicationError("not taken", "http_503") }

func TestADeliveryThatIsTakenIsOneActivity(t *testing.T) {
	t.Parallel()
	d := setupDelivery(t, func(int) error { return nil })
	require.Equal(t, workflows.DeliveryResult{Delivered: true}, d.run(t))
	require.Equal(t, 1, d.posts)
	require.Empty(t, d.given)
}

func TestADeliveryIsTriedForThreeDaysAndThenGivenUp(t *testing.T) {
	t.Parallel()
	d := setupDelivery(t, func(int) error { return notTaken() })
	began := d.env.Now()
	require.Equal(t, workflows.DeliveryResult{LastError: "http_503"}, d.run(t))
	require.Equal(t, []workflows.GiveUpInput{{Seq: 7, LastError: "http_503"}}, d.given)
	took := d.env.Now().Sub(began)
	require.Greater(t, took, workflows.DeliveryTime-5*time.Hour)
	require.LessOrEqual(t, took, workflows.DeliveryTime)
	require.Greater(t, d.posts, 15)
	require.Less(t, d.posts, 30)
	require.Equal(t, []time.Duration{5 * time.Second, 20 * time.Second, 4 * time.Hour},
		[]time.Duration{workflows.DeliveryBackoff(1), workflows.DeliveryBackoff(2), workflows.DeliveryBackoff(100)})
}

func TestADeliveryThatTheAppWantsNoMoreOf(t *testing.T) {
	t.Parallel()
	d := setupDelivery(t, func(int) error { return temporal.NewNonRetryableApplicationError("not taken", "http_410", nil) })
	require.Equal(t, workflows.DeliveryResult{LastError: "http_410"}, d.run(t))
	require.Equal(t, 1, d.posts)
	require.Equal(t, []workflows.GiveUpInput{{Seq: 7, LastError: "http_410"}}, d.given)
}

// A redelivery that is asked for as the workflow starts is the delivery that it starts with.
func TestARedeliveryOfADeliveryThatIsOverIsOne(t *testing.T) {
	t.Parallel()
	d := setupDelivery(t, func(int) error { return nil })
	d.env.RegisterDelayedCallback(func() { d.env.SignalWorkflow(workflows.SignalRedeliver, nil) }, 0)
	require.True(t, d.run(t).Delivered)
	require.Equal(t, 1, d.posts)
}

// One that is asked for while the change is being tried is made after that, and none is lost.
func TestARedeliveryWhileAnotherIsTried(t *testing.T) {
	t.Parallel()
	d := setupDelivery(t, func(n int) error {
		if n == 1 {
			return temporal.NewNonRetryableApplicationError("not taken", "http_410", errors.New("gone"))
		}
		return nil
	})
	d.env.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
		if info.ActivityType.Name == workflows.ActivityGiveUpChange {
			d.env.SignalWorkflow(workflows.SignalRedeliver, nil)
		}
	})
	require.True(t, d.run(t).Delivered)
	require.Equal(t, 2, d.posts)
}
