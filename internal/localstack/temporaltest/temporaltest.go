// Package temporaltest gives tests a real Temporal server.
package temporaltest

import (
	"context"
	"testing"

	"go.temporal.io/sdk/client"

	"github.com/holdfast/holdfast/internal/localstack"
)

// Start starts a dev server for one test, whatever TEMPORAL_ADDRESS says: in memory, quiet, and
// gone with the test.
func Start(t testing.TB) *localstack.Temporal {
	t.Helper()
	return start(t, localstack.TemporalOptions{})
}

// StartDurable starts a dev server for one test that keeps its state over Stop and Start.
func StartDurable(t testing.TB) *localstack.Temporal {
	t.Helper()
	return start(t, localstack.TemporalOptions{Durable: true})
}

// StartWith is Start with further settings of the server, as KEY=VALUE of its dynamic configuration.
func StartWith(t testing.TB, settings ...string) *localstack.Temporal {
	t.Helper()
	return start(t, localstack.TemporalOptions{DynamicConfig: settings})
}

func start(t testing.TB, options localstack.TemporalOptions) *localstack.Temporal {
	t.Helper()
	options.Private = true
	options.Log = t.Logf
	// The test's context ends before its cleanups, which may still want to stop workers.
	server, err := localstack.StartTemporal(context.WithoutCancel(t.Context()), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("close Temporal: %v", err)
		}
	})
	return server
}

// Client connects to the server until the test ends.
func Client(t testing.TB, server *localstack.Temporal) client.Client {
	t.Helper()
	c, err := client.DialContext(t.Context(), server.ClientOptions())
	if err != nil {
		t.Fatalf("connect to Temporal at %s: %v", server.Address(), err)
	}
	t.Cleanup(c.Close)
	return c
}
