package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/feed"
)

// The app is told what a customer's status is whenever it has become another one.
func TestTheAppIsToldHowOnboardingGoes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	playRejectedThenRetried(t, b)

	changes, err := feed.OfCustomer(t.Context(), b.pool, "u_1", 0, 100)
	require.NoError(t, err)
	told := make([]string, len(changes))
	for i, c := range changes {
		require.Equal(t, feed.OnboardingChanged, c.Type)
		told[i] = string(c.Data)
	}
	require.Equal(t, []string{`{"status": "attention", "billing_ready": false}`, `{"status": "ready", "billing_ready": true}`}, told)
}
