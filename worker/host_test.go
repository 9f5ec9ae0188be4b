package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/simulator"
)

func TestHostedWorkflowsBringACustomerThroughAnOutage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, "straight")
	b.await(t, "straight", customer.Ready)

	require.NoError(t, b.simulator.SetFaults(simulator.Fault{Kind: simulator.Refuse}))
	for i := range 5 {
		b.signUp(t, fmt.Sprintf("u_%d", i))
	}
	health := provider.NewHealthStore(b.pool)
	require.Eventually(t, func() bool {
		h, err := health.Get(t.Context(), provider.Stripe)
		return err == nil && h.State == provider.StateDown
	}, 2*time.Minute, 50*time.Millisecond)
	require.NoError(t, b.simulator.ClearFaults())

	for i := range 5 {
		b.await(t, fmt.Sprintf("u_%d", i), customer.Ready)
	}
	require.Eventually(t, func() bool {
		h, err := health.Get(t.Context(), provider.Stripe)
		return err == nil && h.State == provider.StateUp
	}, 2*time.Minute, 50*time.Millisecond)
	require.Empty(t, b.simulator.Stripe().Audit().Duplicates)
	require.Zero(t, b.simulator.PostsWithoutKey())
}
