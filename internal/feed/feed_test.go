package feed_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/postgres"
)

var errChangedItsMind = errors.New("roll back")

// Readers that go on from the last change that they got miss none, whatever the writers' transactions
// do: they commit in any order, and some of them not at all.
func TestNobodyMissesAChange(t *testing.T) {
	t.Parallel()
	const writers, each, readers = 50, 8, 4
	b := setup(t)
	var written atomic.Int64
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for range each {
				err := postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
					if err := b.writer.Append(t.Context(), tx, feed.SubscriptionChanged, fmt.Sprintf("u_%d", w), map[string]int{"n": w}); err != nil {
						return err
					}
					if rand.IntN(3) == 0 {
						return errChangedItsMind
					}
					return nil
				})
				if !errors.Is(err, errChangedItsMind) && assert.NoError(t, err) {
					written.Add(1)
				}
			}
		})
	}
	over := make(chan struct{})
	read := make([][]feed.Change, readers)
	var reading sync.WaitGroup
	for r := range readers {
		reading.Go(func() { read[r] = b.follow(t, over) })
	}
	writing.Wait()
	close(over)
	reading.Wait()

	for _, changes := range read {
		require.Len(t, changes, int(written.Load()))
		for i, c := range changes {
			require.Equal(t, int64(i+1), c.Seq)
		}
	}
}

// follow reads the feed from the start until it is over and read to its end.
func (b bundle) follow(t *testing.T, over <-chan struct{}) (all []feed.Change) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		select {
		case <-over:
			cancel() // whoever waits now may wait for nothing
		case <-ctx.Done():
		}
	}()
	for after := int64(0); ; {
		last := ctx.Err() != nil // what is read from now on is the end of it
		changes, err := feed.List(t.Context(), b.pool, after, 7)
		if err != nil {
			t.Error(err)
			return nil
		}
		if len(changes) == 0 && last {
			return all
		}
		if len(changes) == 0 {
			b.watcher.Wait(ctx, after)
			continue
		}
		all = append(all, changes...)
		after = changes[len(changes)-1].Seq
	}
}

func TestWhoWaitsIsWokenByAChange(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.write(t, "u_1")
	require.True(t, b.watcher.Wait(t.Context(), 0), "it is there already")
	woken := make(chan bool)
	go func() { woken <- b.watcher.Wait(t.Context(), 1) }()
	b.awaitLook(t) // it waits, and has found nothing

	b.write(t, "u_2")
	require.True(t, <-woken)
}

// awaitLook waits until a look for the newest number has begun and ended from now on.
func (b bundle) awaitLook(t *testing.T) {
	t.Helper()
	before := b.looks.Load()
	require.Eventually(t, func() bool { return b.looks.Load() >= before+2 }, time.Minute, time.Millisecond)
}

// A thousand who wait cost as many queries as one, and nobody who waits costs none.
func TestManyWhoWaitCostOneStreamOfQueries(t *testing.T) {
	t.Parallel()
	const waiting, looks = 1000, 5
	b := setup(t)
	var all sync.WaitGroup
	for range waiting {
		all.Go(func() { assert.True(t, b.watcher.Wait(t.Context(), 0)) })
	}
	for range looks {
		b.awaitLook(t)
	}
	b.write(t, "u_1")
	all.Wait()
	require.Less(t, b.looks.Load(), int64(waiting), "looks do not grow with the number of those who wait")
}

func TestWaitingEndsWithTheReaderAndWithTheWatcher(t *testing.T) {
	t.Parallel()
	b := setup(t)
	impatient, leave := context.WithCancel(t.Context())
	left, stayed := make(chan bool), make(chan bool)
	go func() { left <- b.watcher.Wait(impatient, 0) }()
	go func() { stayed <- b.watcher.Wait(t.Context(), 0) }()
	b.awaitLook(t)

	leave()
	require.False(t, <-left)
	b.stop()
	require.False(t, <-stayed)
	require.False(t, b.watcher.Wait(t.Context(), 0), "nobody looks any more")
}

func TestAFeedThatWasRestoredIsReadOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.write(t, "u_1")
	b.write(t, "u_1")
	require.True(t, b.watcher.Wait(t.Context(), 1))
	_, err := b.pool.Exec(t.Context(), `UPDATE change_counter SET last = 0; DELETE FROM changes`)
	require.NoError(t, err)
	for range 2 { // what was seen before the restore is forgotten
		go b.watcher.Wait(t.Context(), 5)
		b.awaitLook(t)
	}
	woken := make(chan bool)
	go func() { woken <- b.watcher.Wait(t.Context(), 0) }()
	b.write(t, "u_2")
	require.True(t, <-woken)
}

func TestHistoryOfACustomer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, customerID := range []string{"u_1", "u_2", "u_1", "u_1"} {
		b.write(t, customerID)
	}
	changes, err := feed.OfCustomer(t.Context(), b.pool, "u_1", 1, 1)
	require.NoError(t, err)
	require.Len(t, changes, 1)
	require.Equal(t, int64(3), changes[0].Seq)
	require.Equal(t, feed.SubscriptionChanged, changes[0].Type)
	require.JSONEq(t, `{"status":"active"}`, string(changes[0].Data))
	require.WithinDuration(t, time.Now(), changes[0].At, time.Hour)
}

// A change and the message that has it delivered are written together or not at all.
func TestAChangeIsHandedOverForDelivery(t *testing.T) {
	t.Parallel()
	b := setup(t)
	writer := feed.NewWriter(func(c feed.Change) outbox.Message {
		return outbox.Message{Key: fmt.Sprint(c.Seq), Workflow: "Deliver", WorkflowID: fmt.Sprint(c.Seq), TaskQueue: "queue"}
	})
	appendTo := func(end error) error {
		return postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
			if err := writer.Append(t.Context(), tx, feed.OnboardingChanged, "u_1", nil); err != nil {
				return err
			}
			return end
		})
	}
	require.ErrorIs(t, appendTo(errChangedItsMind), errChangedItsMind)
	require.NoError(t, appendTo(nil))

	var keys []string
	rows, err := b.pool.Query(t.Context(), `SELECT key FROM outbox`)
	require.NoError(t, err)
	keys, err = pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, keys)
}
