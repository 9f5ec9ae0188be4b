package provider_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
	"github.com/holdfast/holdfast/internal/provider"
)

func setupHealth(t *testing.T) (*provider.HealthStore, *pgxpool.Pool) {
	t.Helper()
	pool := postgrestest.New(t)
	return provider.NewHealthStore(pool), pool
}

func TestHealthBeginsUp(t *testing.T) {
	t.Parallel()
	store, _ := setupHealth(t)

	all, err := store.List(t.Context())

	require.NoError(t, err)
	require.Len(t, all, 2)
	for i, name := range []provider.Name{provider.PayPal, provider.Stripe} {
		require.Equal(t, name, all[i].Provider)
		require.Equal(t, provider.StateUp, all[i].State)
		require.Nil(t, all[i].CheckedAt)
	}
}

func TestHealthOfANewStateBeginsAnEpoch(t *testing.T) {
	t.Parallel()
	store, _ := setupHealth(t)
	before, err := store.Get(t.Context(), provider.Stripe)
	require.NoError(t, err)

	down, err := store.Set(t.Context(), provider.Stripe, provider.StateDown, "stripe: transient: network")
	require.NoError(t, err)
	require.Equal(t, before.Epoch+1, down.Epoch)
	require.True(t, down.Since.After(before.Since))
	require.Equal(t, "stripe: transient: network", down.LastError)
	require.NotNil(t, down.CheckedAt)

	still, err := store.Set(t.Context(), provider.Stripe, provider.StateDown, "stripe: transient: unreadable")
	require.NoError(t, err)
	require.Equal(t, down.Epoch, still.Epoch)
	require.Equal(t, down.Since, still.Since)
	require.Equal(t, "stripe: transient: unreadable", still.LastError)
	require.True(t, still.CheckedAt.After(*down.CheckedAt))

	up, err := store.Set(t.Context(), provider.Stripe, provider.StateUp, "")
	require.NoError(t, err)
	require.Equal(t, still.Epoch+1, up.Epoch)
	require.Empty(t, up.LastError)

	stored, err := store.Get(t.Context(), provider.Stripe)
	require.NoError(t, err)
	require.Equal(t, up, stored)
	other, err := store.Get(t.Context(), provider.PayPal)
	require.NoError(t, err)
	require.Equal(t, provider.StateUp, other.State)
	require.Equal(t, before.Epoch, other.Epoch)
}

func TestHealthOfAnUnknownProvider(t *testing.T) {
	t.Parallel()
	store, _ := setupHealth(t)

	_, err := store.Get(t.Context(), "adyen")
	require.ErrorContains(t, err, "health of adyen: read: no such provider")
	_, err = store.Set(t.Context(), "adyen", provider.StateDown, "")
	require.ErrorContains(t, err, "health of adyen: write: no such provider")
	_, err = store.Set(t.Context(), provider.Stripe, "broken", "")
	require.Error(t, err)
}

func TestTheGateWaitsForThoseWhoParkUnderTheStateBefore(t *testing.T) {
	t.Parallel()
	store, pool := setupHealth(t)
	changed := make(chan error, 1)

	err := postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		parking := provider.NewHealthStore(tx)
		if _, err := parking.LockShared(t.Context(), provider.Stripe); err != nil {
			return err
		}
		go func() {
			_, err := store.Set(context.WithoutCancel(t.Context()), provider.Stripe, provider.StateDown, "")
			changed <- err
		}()
		awaitBlocked(t, pool)
		seen, err := store.Get(t.Context(), provider.Stripe)
		require.Equal(t, provider.StateUp, seen.State, "the change is not there before the parking is")
		return err
	})

	require.NoError(t, err)
	require.NoError(t, <-changed)
	now, err := store.Get(t.Context(), provider.Stripe)
	require.NoError(t, err)
	require.Equal(t, provider.StateDown, now.State)
}

// awaitBlocked returns when a session of the test's database waits for a lock.
func awaitBlocked(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	require.Eventually(t, func() bool {
		var waiting bool
		err := pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock')`).Scan(&waiting)
		return err == nil && waiting
	}, 20*time.Second, 5*time.Millisecond)
}

func TestStatesThatRefuse(t *testing.T) {
	t.Parallel()
	for state, refuses := range map[provider.State]bool{
		provider.StateUp: false, provider.StateDegraded: false, provider.StateDown: true, provider.StateMisconfigured: true,
	} {
		require.Equal(t, refuses, state.Refuses(), state)
	}
}
