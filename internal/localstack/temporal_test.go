package localstack_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/internal/localstack"
	"github.com/holdfast/holdfast/internal/localstack/temporaltest"
)

func TestTemporalKeepsItsStateAndAddressOverAStop(t *testing.T) {
	t.Parallel()
	server := temporaltest.StartDurable(t)
	address := server.Address()
	status := temporal.NewSearchAttributeKeyKeyword("HoldfastStatus")
	run, err := temporaltest.Client(t, server).ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: "waits-for-a-worker", TaskQueue: "nobody",
		TypedSearchAttributes: temporal.NewSearchAttributes(status.ValueSet("blocked")),
	}, "Anything")
	require.NoError(t, err)

	require.NoError(t, server.Stop())
	require.NoError(t, server.Start(context.WithoutCancel(t.Context())))

	require.Equal(t, address, server.Address())
	found, err := temporaltest.Client(t, server).DescribeWorkflow(t.Context(), run.GetID(), run.GetRunID())
	require.NoError(t, err)
	require.Equal(t, enums.WORKFLOW_EXECUTION_STATUS_RUNNING, found.Status)
	value, ok := found.TypedSearchAttributes.GetKeyword(status)
	require.True(t, ok)
	require.Equal(t, "blocked", value)
}

func TestTemporalHasTheSearchAttributes(t *testing.T) {
	t.Parallel()
	server := temporaltest.Start(t)

	require.Subset(t, attributes(t, server), localstack.SearchAttributes())
}

func TestTemporalCompletesAnOlderStateFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start := func(attributes ...string) *localstack.Temporal {
		server, err := localstack.StartTemporal(context.WithoutCancel(t.Context()), localstack.TemporalOptions{
			Dir: dir, Durable: true, Private: true, SearchAttributes: attributes, Log: t.Logf,
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, server.Close()) })
		return server
	}
	older := start("HoldfastStatus")
	require.NoError(t, older.Close())

	newer := start("HoldfastStatus", "HoldfastPayee")

	require.Subset(t, attributes(t, newer), []string{"HoldfastStatus", "HoldfastPayee"})
	payee := temporal.NewSearchAttributeKeyKeyword("HoldfastPayee")
	_, err := temporaltest.Client(t, newer).ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		TaskQueue: "nobody", TypedSearchAttributes: temporal.NewSearchAttributes(payee.ValueSet("u_1")),
	}, "Anything")
	require.NoError(t, err, "the attribute can be set at once")
}

func attributes(t *testing.T, server *localstack.Temporal) []string {
	t.Helper()
	known, err := temporaltest.Client(t, server).OperatorService().
		ListSearchAttributes(t.Context(), &operatorservice.ListSearchAttributesRequest{Namespace: "default"})
	require.NoError(t, err)
	var names []string
	for name, kind := range known.GetCustomAttributes() {
		require.Equal(t, enums.INDEXED_VALUE_TYPE_KEYWORD, kind)
		names = append(names, name)
	}
	return names
}

func TestTemporalOfTheEnvironmentIsUsedAndLeftAlone(t *testing.T) {
	owned := temporaltest.Start(t)
	t.Setenv(localstack.TemporalVariable, owned.Address())
	t.Setenv("TEMPORAL_CONFIG_FILE", t.TempDir()+"/none.toml")

	named, err := localstack.StartTemporal(t.Context(), localstack.TemporalOptions{})
	require.NoError(t, err)

	require.Equal(t, owned.Address(), named.Address())
	require.ErrorIs(t, named.Stop(), localstack.ErrNotOurs)
	require.NoError(t, named.Close())
	temporaltest.Client(t, owned)

	_, err = localstack.StartTemporal(t.Context(), localstack.TemporalOptions{SearchAttributes: []string{"Unheard", "Unseen"}})
	require.ErrorContains(t, err, "temporal operator search-attribute create --type Keyword --name Unheard --type Keyword --name Unseen")
}

func TestStackComesUpAndGoesDown(t *testing.T) {
	t.Setenv(localstack.DatabaseVariable, "")
	t.Setenv(localstack.TemporalVariable, "")
	stack, err := localstack.Start(context.WithoutCancel(t.Context()), localstack.Options{UI: true, Log: t.Logf})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, stack.Stop()) })

	require.Equal(t, 1, query[int](t, stack.Postgres.URL(), "SELECT 1"))
	temporaltest.Client(t, stack.Temporal)
	page, err := http.Get(stack.Temporal.UIURL())
	require.NoError(t, err)
	require.NoError(t, page.Body.Close())
	require.Equal(t, http.StatusOK, page.StatusCode)
	require.Equal(t, []string{
		"DATABASE_URL=" + stack.Postgres.URL(), "TEMPORAL_ADDRESS=" + stack.Temporal.Address(),
	}, stack.Env())

	require.NoError(t, stack.Stop())
	for _, process := range stack.Processes() {
		<-process.Done()
	}
}

func TestStackComesUpWholeOrNotAtAll(t *testing.T) {
	owned := startPostgres(t, localstack.PostgresOptions{Private: true})
	t.Setenv(localstack.DatabaseVariable, owned.URL())
	t.Setenv(localstack.TemporalVariable, "127.0.0.1:1")

	_, err := localstack.Start(t.Context(), localstack.Options{})

	require.ErrorContains(t, err, "reach the server that TEMPORAL_ADDRESS names")
	require.Equal(t, 1, query[int](t, owned.URL(), "SELECT 1"), "what was not started here goes on")
}
