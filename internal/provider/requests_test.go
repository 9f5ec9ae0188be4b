package provider_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
	"github.com/holdfast/holdfast/internal/provider"
)

type params struct {
	Email string            `json:"email"`
	Meta  map[string]string `json:"meta,omitempty"`
}

type requestBundle struct {
	*provider.Requests

	pool *pgxpool.Pool
}

func setupRequests(t *testing.T) requestBundle {
	t.Helper()
	return requestBundle{provider.NewRequests(), postgrestest.New(t)}
}

func creation(subject string) provider.Operation {
	return provider.Operation{Provider: provider.Stripe, Operation: "create_customer", Subject: subject}
}

func (b requestBundle) freeze(t require.TestingT, o provider.Operation, p params) provider.Request {
	request, err := b.Freeze(contextOf(t), b.pool, o, p)
	require.NoError(t, err)
	return request
}

func TestFreezeKeepsWhatWasFirst(t *testing.T) {
	t.Parallel()
	b := setupRequests(t)
	first := params{Email: "ada@example.com", Meta: map[string]string{"b": "2", "a": "1"}}

	frozen := b.freeze(t, creation("u_1"), first)
	require.Equal(t, "holdfast/stripe/create_customer/u_1/1", frozen.Key)
	require.Equal(t, 1, frozen.Epoch)
	require.Equal(t, provider.OutcomeOpen, frozen.Outcome)
	require.Nil(t, frozen.FirstSentAt)
	require.False(t, frozen.Expired(time.Now().AddDate(1, 0, 0)), "what was never sent cannot expire")
	require.False(t, frozen.SentSince(time.Time{}))

	again := b.freeze(t, creation("u_1"), params{Email: "other@example.com"})
	require.Equal(t, frozen, again)
	var got params
	require.NoError(t, again.Decode(&got))
	require.Equal(t, first, got)
	require.ErrorContains(t, again.Decode(&[]string{}), again.Key)
}

func TestWhatNeverArrivedWasNotSent(t *testing.T) {
	t.Parallel()
	b := setupRequests(t)
	key := b.freeze(t, creation("u_1"), params{}).Key
	require.NoError(t, b.MarkSent(t.Context(), b.pool, key))
	require.NoError(t, b.MarkUnsent(t.Context(), b.pool, key))
	unsent := b.freeze(t, creation("u_1"), params{})
	require.Nil(t, unsent.FirstSentAt)
	require.Nil(t, unsent.LastSentAt)

	require.NoError(t, b.MarkSent(t.Context(), b.pool, key))
	require.NoError(t, b.MarkSent(t.Context(), b.pool, key))
	twice := b.freeze(t, creation("u_1"), params{})
	require.NoError(t, b.MarkUnsent(t.Context(), b.pool, key))
	require.Equal(t, twice, b.freeze(t, creation("u_1"), params{}), "another attempt may have arrived")
}

func TestMarkSentRemembersTheFirstTimeAndTheLast(t *testing.T) {
	t.Parallel()
	b := setupRequests(t)
	key := b.freeze(t, creation("u_1"), params{}).Key

	require.NoError(t, b.MarkSent(t.Context(), b.pool, key))
	once := b.freeze(t, creation("u_1"), params{})
	require.Equal(t, once.FirstSentAt, once.LastSentAt)
	require.NoError(t, b.MarkSent(t.Context(), b.pool, key))
	twice := b.freeze(t, creation("u_1"), params{})

	first := *once.FirstSentAt
	require.Equal(t, first, *twice.FirstSentAt)
	require.True(t, twice.LastSentAt.After(first))
	require.True(t, twice.SentSince(first))
	require.True(t, twice.SentSince(*twice.LastSentAt))
	require.False(t, twice.SentSince(twice.LastSentAt.Add(time.Nanosecond)))
	require.False(t, twice.Expired(first.Add(23*time.Hour-time.Nanosecond)))
	require.True(t, twice.Expired(first.Add(23*time.Hour)))
}

func TestWhatIsMissingIsSoSinceTheLastSending(t *testing.T) {
	t.Parallel()
	b := setupRequests(t)
	key := b.freeze(t, creation("u_1"), params{}).Key
	require.NoError(t, b.MarkSent(t.Context(), b.pool, key))
	require.Nil(t, b.freeze(t, creation("u_1"), params{}).MissingSince)

	require.NoError(t, b.MarkMissing(t.Context(), b.pool, key))
	first := b.freeze(t, creation("u_1"), params{}).MissingSince
	require.NotNil(t, first)
	require.NoError(t, b.MarkMissing(t.Context(), b.pool, key))
	require.Equal(t, first, b.freeze(t, creation("u_1"), params{}).MissingSince, "the first time counts")

	require.NoError(t, b.MarkSent(t.Context(), b.pool, key))
	require.Nil(t, b.freeze(t, creation("u_1"), params{}).MissingSince, "what was sent since may be there")
}

// A refusal that says nothing of another sending ends the request only when there was none.
func TestARefusalOfTheOnlySending(t *testing.T) {
	t.Parallel()
	b := setupRequests(t)
	key := b.freeze(t, creation("u_1"), params{}).Key
	require.NoError(t, b.MarkSent(t.Context(), b.pool, key))
	require.NoError(t, b.MarkSent(t.Context(), b.pool, key))
	alone, err := b.RejectAlone(t.Context(), b.pool, key, "paypal: rejected: x")
	require.NoError(t, err)
	require.False(t, alone)
	require.Equal(t, provider.OutcomeOpen, b.freeze(t, creation("u_1"), params{}).Outcome)

	once := b.freeze(t, creation("u_2"), params{}).Key
	require.NoError(t, b.MarkSent(t.Context(), b.pool, once))
	alone, err = b.RejectAlone(t.Context(), b.pool, once, "paypal: rejected: x")
	require.NoError(t, err)
	require.True(t, alone)
	require.ErrorIs(t, b.MarkSent(t.Context(), b.pool, once), provider.ErrNotOpen, "who comes later sends nothing")
	require.Equal(t, 2, b.freeze(t, creation("u_2"), params{}).Epoch)
}

// What the provider took and then refused as a whole may be sent again, once it is known of that object.
func TestWhatWasTakenIsRevoked(t *testing.T) {
	t.Parallel()
	b := setupRequests(t)
	key := b.freeze(t, creation("u_1"), params{}).Key
	require.NoError(t, b.Succeed(t.Context(), b.pool, key, "batch_1"))

	for object, want := range map[string]bool{"batch_2": false, "batch_1": true} {
		revoked, err := b.Revoke(t.Context(), b.pool, creation("u_1"), object, "denied")
		require.NoError(t, err)
		require.Equal(t, want, revoked)
	}

	last, err := b.Latest(t.Context(), b.pool, creation("u_1"))
	require.NoError(t, err)
	require.Equal(t, provider.OutcomeRejected, last.Outcome)
	require.Equal(t, 2, b.freeze(t, creation("u_1"), params{}).Epoch)
	none, err := b.Latest(t.Context(), b.pool, creation("u_2"))
	require.NoError(t, err)
	require.Zero(t, none)
}

func TestAKeyThatIsGoodForLonger(t *testing.T) {
	t.Parallel()
	sent := time.Now()
	r := provider.Request{FirstSentAt: &sent}
	require.True(t, r.Expired(sent.Add(24*time.Hour)))
	require.False(t, r.Outlived(29*24*time.Hour, sent.Add(28*24*time.Hour)))
	require.True(t, r.Outlived(29*24*time.Hour, sent.Add(29*24*time.Hour)))
	require.False(t, provider.Request{}.Outlived(time.Hour, sent))
}

func TestASuccessIsTheLastEpoch(t *testing.T) {
	t.Parallel()
	b := setupRequests(t)
	key := b.freeze(t, creation("u_1"), params{}).Key
	require.NoError(t, b.Succeed(t.Context(), b.pool, key, "cus_1"))

	again := b.freeze(t, creation("u_1"), params{Email: "new@example.com"})

	require.Equal(t, key, again.Key)
	require.Equal(t, provider.OutcomeSucceeded, again.Outcome)
	require.Equal(t, "cus_1", again.ObjectID)
}

func TestADefiniteFailureMakesRoomForANewKey(t *testing.T) {
	t.Parallel()
	b := setupRequests(t)
	first := b.freeze(t, creation("u_1"), params{Email: "wrong"})
	require.NoError(t, b.Reject(t.Context(), b.pool, first.Key, "stripe: rejected: email_invalid"))

	second := b.freeze(t, creation("u_1"), params{Email: "right@example.com"})
	require.Equal(t, 2, second.Epoch)
	require.Equal(t, "holdfast/stripe/create_customer/u_1/2", second.Key)
	var got params
	require.NoError(t, second.Decode(&got))
	require.Equal(t, "right@example.com", got.Email)
	require.NoError(t, b.MarkReplayed(t.Context(), b.pool, second.Key))
	require.True(t, b.freeze(t, creation("u_1"), params{}).Replayed)
	require.NoError(t, b.Absent(t.Context(), b.pool, second.Key))

	third := b.freeze(t, creation("u_1"), params{})
	require.Equal(t, 3, third.Epoch)
	require.False(t, third.Replayed)
}

func TestWhatEndedStaysAsItEnded(t *testing.T) {
	t.Parallel()
	b := setupRequests(t)
	change := map[string]func(key string) error{
		"sent":     func(key string) error { return b.MarkSent(t.Context(), b.pool, key) },
		"replayed": func(key string) error { return b.MarkReplayed(t.Context(), b.pool, key) },
		"missing":  func(key string) error { return b.MarkMissing(t.Context(), b.pool, key) },
		"succeed":  func(key string) error { return b.Succeed(t.Context(), b.pool, key, "cus_2") },
		"reject":   func(key string) error { return b.Reject(t.Context(), b.pool, key, "x") },
		"absent":   func(key string) error { return b.Absent(t.Context(), b.pool, key) },
	}
	for _, end := range []string{"succeed", "reject", "absent"} {
		key := b.freeze(t, creation(end), params{}).Key
		require.NoError(t, change[end](key))
		for name, change := range change {
			err := change(key)
			require.ErrorIs(t, err, provider.ErrNotOpen, "%s after %s", name, end)
			require.ErrorContains(t, err, key)
		}
	}
	require.ErrorIs(t, change["sent"]("holdfast/never"), provider.ErrNotOpen)
}

func TestKeysAreFitForAHeader(t *testing.T) {
	t.Parallel()
	b := setupRequests(t)
	keys := map[string]bool{}
	for _, subject := range []string{
		strings.Repeat("a", 300), strings.Repeat("a", 301), "ü", "u 1", "u\n1", "u/1", "u",
	} {
		key := b.freeze(t, creation(subject), params{}).Key
		require.Regexp(t, `^[!-~]{1,255}$`, key)
		require.False(t, keys[key], "%q has a key of its own", subject)
		keys[key] = true
	}
	require.Len(t, b.freeze(t, creation(strings.Repeat("a", 300)), params{}).Key, 36)

	for _, wrong := range []provider.Operation{
		{Provider: provider.Stripe, Operation: "create_customer"},
		{Provider: provider.Stripe, Operation: "create/customer", Subject: "u_1"},
		{Provider: provider.Stripe, Subject: "u_1"},
		{Operation: "create_customer", Subject: "u_1"},
	} {
		_, err := b.Freeze(t.Context(), b.pool, wrong, params{})
		require.Error(t, err, "%+v", wrong)
	}
}

func TestManyFreezeOneRequest(t *testing.T) {
	t.Parallel()
	b := setupRequests(t)
	for _, epoch := range []int{1, 2} {
		requests := make([]provider.Request, 16)
		errs := make([]error, len(requests))
		var all sync.WaitGroup
		for i := range requests {
			all.Go(func() {
				requests[i], errs[i] = b.Freeze(t.Context(), b.pool, creation("u_1"), params{Email: strconv.Itoa(i)})
			})
		}
		all.Wait()
		for i := range requests {
			require.NoError(t, errs[i])
			require.Equal(t, requests[0], requests[i])
		}
		require.Equal(t, epoch, requests[0].Epoch)
		require.NoError(t, b.Absent(t.Context(), b.pool, requests[0].Key))
	}
}

// epochs is what ought to be true of an operation.
type epochs struct {
	b         requestBundle
	operation provider.Operation
	outcomes  []provider.Outcome // of epoch 1, 2, …
	emails    []string           // frozen with each
	keys      []string
	sent      []bool
}

func TestEpochsProperty(t *testing.T) {
	t.Parallel()
	b := setupRequests(t)
	everyKey := map[string]provider.Operation{}
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		m := &epochs{b: b, operation: creation(fmt.Sprint("u_", run))}
		t.Repeat(map[string]func(*rapid.T){
			"freeze":   m.freeze,
			"send":     m.change(func(k string) error { return b.MarkSent(contextOf(t), b.pool, k) }, func(i int) { m.sent[i] = true }),
			"replayed": m.change(func(k string) error { return b.MarkReplayed(contextOf(t), b.pool, k) }, func(int) {}),
			"succeed": m.change(func(k string) error { return b.Succeed(contextOf(t), b.pool, k, "cus_1") },
				func(i int) { m.outcomes[i] = provider.OutcomeSucceeded }),
			"reject": m.change(func(k string) error { return b.Reject(contextOf(t), b.pool, k, "x") },
				func(i int) { m.outcomes[i] = provider.OutcomeRejected }),
			"absent": m.change(func(k string) error { return b.Absent(contextOf(t), b.pool, k) },
				func(i int) { m.outcomes[i] = provider.OutcomeAbsent }),
			"": m.check,
		})
		for _, key := range m.keys {
			owner, used := everyKey[key]
			require.False(t, used, "%s is %s's", key, owner)
			everyKey[key] = m.operation
		}
	})
}

func (m *epochs) freeze(t *rapid.T) {
	email := rapid.StringMatching(`[a-z]{1,8}@example\.com`).Draw(t, "email")
	got := m.b.freeze(t, m.operation, params{Email: email})
	last := len(m.outcomes) - 1
	if last < 0 || m.outcomes[last] == provider.OutcomeRejected || m.outcomes[last] == provider.OutcomeAbsent {
		require.NotContains(t, m.keys, got.Key)
		m.outcomes, m.sent = append(m.outcomes, provider.OutcomeOpen), append(m.sent, false)
		m.emails, m.keys = append(m.emails, email), append(m.keys, got.Key)
		last++
	}
	require.Equal(t, last+1, got.Epoch)
	require.Equal(t, m.keys[last], got.Key)
	require.Equal(t, m.sent[last], got.FirstSentAt != nil)
	var frozen params
	require.NoError(t, got.Decode(&frozen))
	require.Equal(t, m.emails[last], frozen.Email)
}

// change applies a change to any epoch, not only to the last: stragglers come late.
func (m *epochs) change(apply func(key string) error, expect func(i int)) func(*rapid.T) {
	return func(t *rapid.T) {
		if len(m.keys) == 0 {
			t.Skip("nothing is frozen")
		}
		i := rapid.IntRange(0, len(m.keys)-1).Draw(t, "epoch")
		err := apply(m.keys[i])
		if m.outcomes[i] != provider.OutcomeOpen {
			require.ErrorIs(t, err, provider.ErrNotOpen)
			return
		}
		require.NoError(t, err)
		expect(i)
	}
}

func (m *epochs) check(t *rapid.T) {
	rows, err := m.b.pool.Query(contextOf(t), `SELECT outcome FROM provider_requests
		WHERE provider = $1 AND operation = $2 AND subject = $3 ORDER BY epoch`,
		m.operation.Provider, m.operation.Operation, m.operation.Subject)
	require.NoError(t, err)
	defer rows.Close()
	var stored []provider.Outcome
	open := 0
	for rows.Next() {
		var o provider.Outcome
		require.NoError(t, rows.Scan(&o))
		stored = append(stored, o)
		if o == provider.OutcomeOpen {
			open++
		}
	}
	require.NoError(t, rows.Err())
	require.Equal(t, m.outcomes, stored)
	require.LessOrEqual(t, open, 1)
}
