package subscription_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
)

func TestWhatWasReadIsWhatIsKnown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	full := atStripe("sub_a", subscription.Active, priced("price_pro", "price_storage"), paying)
	full.CancelAtPeriodEnd = true
	bare := subscription.Subscription{
		Provider: provider.Stripe, ID: "sub_b", Status: subscription.Incomplete, ProviderStatus: "incomplete", PriceIDs: []string{}, CreatedAt: noon,
	}

	stored := b.sync(t, ada, provider.Stripe, bare, full)

	require.Equal(t, subscription.Stored{}, stored)
	full.PaidUntil = full.CurrentPeriodEnd
	require.Equal(t, []subscription.Subscription{full, bare}, b.list(t, ada))
	require.Equal(t, subscription.Plans(nil).Choose([]subscription.Subscription{full}), b.state(t))
	require.Equal(t, []subscription.State{b.state(t)}, b.told(t))
}

func TestAReadReplacesWhatWasKnownAtItsProviderAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada, grace)
	b.sync(t, ada, provider.Stripe, atStripe("sub_a", subscription.Active), atStripe("sub_b", subscription.Canceled))
	b.sync(t, ada, provider.PayPal, atPayPal("I-A", subscription.Canceled))
	b.sync(t, grace, provider.Stripe, atStripe("sub_g", subscription.Active))

	b.sync(t, ada, provider.Stripe, atStripe("sub_b", subscription.Canceled))

	require.ElementsMatch(t, []string{"I-A", "sub_b"}, ids(b.list(t, ada)), "what vanished at Stripe is gone, PayPal was not asked")
	require.Equal(t, []string{"sub_g"}, ids(b.list(t, grace)))

	b.sync(t, ada, provider.Stripe)
	b.sync(t, ada, provider.PayPal)

	require.Empty(t, b.list(t, ada))
	require.Equal(t, subscription.State{Status: subscription.None}, b.state(t))
	told := b.told(t)
	require.Equal(t, subscription.None, told[len(told)-1].Status)
}

// B7: reads are in the order in which they began.
func TestAnOlderReadIsDropped(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	b.mark(t, provider.Stripe, subscription.ByEvent, ada)
	older := b.begin(t, ada, provider.Stripe)
	newer := b.begin(t, ada, provider.Stripe)
	require.Less(t, older.Number, newer.Number)

	require.False(t, b.keep(t, newer, atStripe("sub_a", subscription.Active, until(noon.Add(2*time.Hour)))).Superseded)
	known, synced := b.list(t, ada), b.get(t, ada).SyncedAt

	for range 2 {
		stored := b.keep(t, older, atStripe("sub_a", subscription.Canceled), atStripe("sub_b", subscription.Active))
		require.Equal(t, subscription.Stored{Superseded: true}, stored)
		require.Equal(t, known, b.list(t, ada))
		require.Equal(t, synced, b.get(t, ada).SyncedAt, "what is known is as old as the read that told it")
		require.Len(t, b.told(t), 1)
	}
	require.True(t, b.keep(t, newer).Superseded, "a read is stored once")
	require.Equal(t, known, b.list(t, ada))
}

// Reads at one provider say nothing of those at another.
func TestProvidersAreNumberedApart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	paypals := b.begin(t, ada, provider.PayPal)
	for range 3 {
		b.sync(t, ada, provider.Stripe, atStripe("sub_a", subscription.Canceled))
	}
	require.False(t, b.keep(t, paypals, atPayPal("I-A", subscription.Active)).Superseded)
	require.Equal(t, "I-A", b.state(t).SubscriptionID)
}

// Of two reads that overlap nobody knows which saw the provider later: the one that began first may
// have been answered last. So the first to be stored counts, and what the other was to answer is still
// to be read.
func TestOfReadsThatOverlapTheFirstToBeStoredCounts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	b.mark(t, provider.Stripe, subscription.ByEvent, ada)
	first := b.begin(t, ada, provider.Stripe)
	b.mark(t, provider.Stripe, subscription.ByEvent, ada)
	second := b.begin(t, ada, provider.Stripe)

	require.Equal(t, subscription.Stored{Dirty: true}, b.keep(t, first, atStripe("sub_a", subscription.Canceled)))
	require.Equal(t, subscription.Stored{Superseded: true, Dirty: true}, b.keep(t, second, atStripe("sub_a", subscription.Active)))
	require.Equal(t, subscription.Canceled, b.state(t).Status)

	require.Equal(t, subscription.Stored{}, b.sync(t, ada, provider.Stripe, atStripe("sub_a", subscription.Canceled)))
	require.Len(t, b.told(t), 1)
}

func TestAReadThatCouldNotBeStoredLeavesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	b.mark(t, provider.Stripe, subscription.ByEvent, ada)
	read := b.begin(t, ada, provider.Stripe)
	crash := errors.New("the process dies")
	err := postgres.InTx(t.Context(), b.pool, func(tx pgx.Tx) error {
		_, err := b.store.Store(t.Context(), tx, read, []subscription.Subscription{atStripe("sub_a", subscription.Active)})
		require.NoError(t, err)
		return crash
	})
	require.ErrorIs(t, err, crash)
	require.Empty(t, b.list(t, ada))
	require.Empty(t, b.told(t))
	require.Equal(t, []provider.Name{provider.Stripe}, b.dirty(t, ada))
	require.Zero(t, b.count(t, `SELECT last FROM change_counter`), "its number was given back")

	require.False(t, b.keep(t, read, atStripe("sub_a", subscription.Active)).Superseded)
	require.Equal(t, subscription.Active, b.state(t).Status)
}

func TestAMarkWhileAReadIsUnderwayAsksForOneMore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	b.mark(t, provider.Stripe, subscription.ByEvent, ada)
	read := b.begin(t, ada, provider.Stripe)
	require.Equal(t, []provider.Name{provider.Stripe}, b.dirty(t, ada), "a read that began has answered nothing")
	b.mark(t, provider.Stripe, subscription.ByEvent, ada)

	require.True(t, b.keep(t, read, atStripe("sub_a", subscription.Active)).Dirty)
	require.Equal(t, []provider.Name{provider.Stripe}, b.dirty(t, ada))
	require.True(t, b.get(t, ada).Stale)

	require.False(t, b.sync(t, ada, provider.Stripe, atStripe("sub_a", subscription.Active)).Dirty)
	require.Empty(t, b.dirty(t, ada))
	require.False(t, b.get(t, ada).Stale)
}

func TestAReadTellsOfMarksAtAnyProvider(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada, grace)
	b.mark(t, provider.PayPal, subscription.ByEvent, ada, grace)
	require.True(t, b.sync(t, ada, provider.Stripe).Dirty)
	require.False(t, b.sync(t, ada, provider.PayPal).Dirty)
	require.Equal(t, []provider.Name{provider.PayPal}, b.dirty(t, grace), "others are none of its business")
	b.mark(t, provider.PayPal, subscription.ByEvent, ada)
	b.mark(t, provider.Stripe, subscription.ByEvent, ada)
	require.Equal(t, []provider.Name{provider.Stripe, provider.PayPal}, b.dirty(t, ada))
}

// A read that was superseded answers nothing, and says what is still asked.
func TestASupersededReadLeavesTheMarksAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	older, newer := b.begin(t, ada, provider.Stripe), b.begin(t, ada, provider.Stripe)
	b.keep(t, newer)
	b.mark(t, provider.Stripe, subscription.ByEvent, ada)
	require.Equal(t, subscription.Stored{Superseded: true, Dirty: true}, b.keep(t, older))
	require.Equal(t, []provider.Name{provider.Stripe}, b.dirty(t, ada))
}

func TestWhatAPassFindsIsHealedOnlyIfItDiffers(t *testing.T) {
	t.Parallel()
	known := atStripe("sub_a", subscription.Active)
	cases := map[string]struct {
		causes []subscription.Cause
		found  []subscription.Subscription
		healed bool
	}{
		"the same":                      {[]subscription.Cause{subscription.ByDrift}, []subscription.Subscription{known}, false},
		"a change":                      {[]subscription.Cause{subscription.ByDrift}, []subscription.Subscription{atStripe("sub_a", subscription.PastDue)}, true},
		"a card":                        {[]subscription.Cause{subscription.ByDrift}, []subscription.Subscription{atStripe("sub_a", subscription.Active, paying)}, true},
		"one more":                      {[]subscription.Cause{subscription.ByDrift}, []subscription.Subscription{known, atStripe("sub_b", subscription.Canceled)}, true},
		"one that is gone":              {[]subscription.Cause{subscription.ByDrift}, nil, true},
		"what an event had told before": {[]subscription.Cause{subscription.ByEvent, subscription.ByDrift}, nil, false},
		"what was asked for before":     {[]subscription.Cause{subscription.ByRequest, subscription.ByDrift}, nil, false},
		"what an event told":            {[]subscription.Cause{subscription.ByEvent}, nil, false},
		"what a poll found":             {[]subscription.Cause{subscription.ByPoll}, nil, false},
		"what came with a binding":      {[]subscription.Cause{subscription.ByBinding}, nil, false},
		"what two passes found":         {[]subscription.Cause{subscription.ByDrift, subscription.ByDrift}, nil, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.signUp(t, ada)
			b.mark(t, provider.Stripe, subscription.ByEvent, ada)
			b.sync(t, ada, provider.Stripe, known)
			for _, cause := range c.causes {
				b.mark(t, provider.Stripe, cause, ada)
			}
			require.Equal(t, c.healed, b.sync(t, ada, provider.Stripe, c.found...).Healed)
		})
	}
}

// A pass's read that an event overtook was told of in time: the next read is the event's.
func TestWhatFollowsAPassIsNotHealedByIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	b.mark(t, provider.Stripe, subscription.ByDrift, ada)
	read := b.begin(t, ada, provider.Stripe)
	b.mark(t, provider.Stripe, subscription.ByEvent, ada)
	require.False(t, b.keep(t, read).Healed)
	require.False(t, b.sync(t, ada, provider.Stripe, atStripe("sub_a", subscription.Active)).Healed)
}

func TestTheAppIsToldOnlyWhatIsNew(t *testing.T) {
	t.Parallel()
	b := setup(t, "price_pro")
	b.signUp(t, ada)
	plan, addOn := atStripe("sub_a", subscription.Active), priced("price_storage")

	b.sync(t, ada, provider.Stripe)
	require.Empty(t, b.told(t), "that there is nothing is no news")
	b.sync(t, ada, provider.Stripe, atStripe("sub_add", subscription.Active, addOn))
	require.Empty(t, b.told(t), "an add-on is no plan")
	for range 3 {
		b.sync(t, ada, provider.Stripe, plan)
	}
	b.sync(t, ada, provider.Stripe, plan, atStripe("sub_add", subscription.Active, addOn))
	b.sync(t, ada, provider.Stripe, plan, atStripe("sub_old", subscription.Canceled))
	require.Len(t, b.told(t), 1)

	b.sync(t, ada, provider.Stripe, atStripe("sub_a", subscription.Active, paying))
	b.sync(t, ada, provider.Stripe, atStripe("sub_a", subscription.Canceled, paying))
	b.sync(t, ada, provider.Stripe)
	told := b.told(t)
	require.Len(t, told, 4)
	require.Equal(t, &subscription.Card{Brand: "visa", Last4: "4242"}, told[1].PaymentMethod)
	require.Equal(t, subscription.Canceled, told[2].Status)
	require.Equal(t, subscription.None, told[3].Status)
	require.Equal(t, 4, b.count(t, `SELECT max(seq) FROM changes`))
	require.Equal(t, 4, b.count(t, `SELECT last FROM change_counter`))
}

// B9: the story of a plan that is paid, renewed, unpaid and canceled, as the app sees it.
func TestPaidUntilIsKeptThroughTheEnd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	first, second := noon.AddDate(0, 1, 0), noon.AddDate(0, 2, 0)
	nothingDue := func(s *subscription.Subscription) { s.CurrentPeriodEnd = nil }
	for _, chapter := range []struct {
		read subscription.Subscription
		want *time.Time
	}{
		{atPayPal("I-A", subscription.Incomplete, nothingDue), nil},
		{atPayPal("I-A", subscription.Active, until(first)), &first},
		{atPayPal("I-A", subscription.Active, until(second)), &second},
		{atPayPal("I-A", subscription.Paused, until(noon.AddDate(0, 3, 0))), &second},
		{atPayPal("I-A", subscription.Canceled, nothingDue), &second},
		{atPayPal("I-A", subscription.Canceled, nothingDue), &second},
	} {
		b.sync(t, ada, provider.PayPal, chapter.read)
		require.Equal(t, chapter.want, b.state(t).PaidUntil, "%s", chapter.read.Status)
		require.Equal(t, chapter.want, b.list(t, ada)[0].PaidUntil)
	}
}

func TestWhoIsChargedTwiceIsForAPerson(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada, grace, "u_solo")
	for _, id := range []string{ada, grace} {
		b.sync(t, id, provider.Stripe, atStripe("sub_"+id, subscription.Active))
	}
	b.sync(t, "u_solo", provider.Stripe, atStripe("sub_s1", subscription.Active), atStripe("sub_s2", subscription.Active))
	require.Empty(t, b.doubled(t, time.Time{}, "", 10))
	for _, id := range []string{grace, ada} {
		b.sync(t, id, provider.PayPal, atPayPal("I-"+id[2:3], subscription.PastDue))
	}

	doubled := b.doubled(t, time.Time{}, "", 10)

	require.Len(t, doubled, 2)
	require.Equal(t, []string{grace, ada}, []string{doubled[0].CustomerID, doubled[1].CustomerID}, "longest first")
	require.Equal(t, doubled[:1], b.doubled(t, time.Time{}, "", 1))
	require.Equal(t, doubled[1:], b.doubled(t, doubled[0].Since, doubled[0].CustomerID, 1))

	b.sync(t, grace, provider.PayPal, atPayPal("I-g", subscription.Active))
	require.Equal(t, doubled, b.doubled(t, time.Time{}, "", 10), "it is doubled since it was")

	b.sync(t, grace, provider.Stripe, atStripe("sub_"+grace, subscription.Canceled))
	require.Equal(t, doubled[1:], b.doubled(t, time.Time{}, "", 10))
}

func TestThoseDoubledAtOneMomentAreTakenInTurn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, "u_a", "u_B", "u_c")
	b.exec(t, `INSERT INTO subscription_states (customer_id, state, doubled_at) SELECT id, '{}', '2026-03-01Z' FROM customers`)
	var seen []string
	var since time.Time
	for id := ""; len(seen) < 3; {
		page := b.doubled(t, since, id, 1)
		require.Len(t, page, 1)
		since, id = page[0].Since, page[0].CustomerID
		seen = append(seen, id)
	}
	require.Equal(t, []string{"u_B", "u_a", "u_c"}, seen)
}

func (b bundle) doubled(t *testing.T, since time.Time, id string, limit int) []subscription.Doubled {
	t.Helper()
	all, err := subscription.ListDoubled(t.Context(), b.pool, since, id, limit)
	require.NoError(t, err)
	return all
}

func TestNothingIsKnownOfANewCustomer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	o, reads, err := b.store.Get(t.Context(), ada)
	require.NoError(t, err)
	require.Equal(t, subscription.Unknown(), withoutIDs(o))
	require.Empty(t, o.PayPalIDs)
	require.Empty(t, reads)
	require.Empty(t, b.list(t, ada))
}

// withoutIDs lets an empty list be like none.
func withoutIDs(o subscription.Overview) subscription.Overview {
	o.PayPalIDs = nil
	return o
}

// What is known is as old as the oldest read that it rests on.
func TestTheAgeIsThatOfTheOldestRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	stripes := b.begin(t, ada, provider.Stripe)
	b.keep(t, stripes)
	require.WithinDuration(t, stripes.BeganAt, *b.get(t, ada).SyncedAt, 0, "when it began, not when it ended")

	b.mark(t, provider.PayPal, subscription.ByBinding, ada)
	require.Nil(t, b.get(t, ada).SyncedAt, "PayPal was never read")
	require.True(t, b.get(t, ada).Stale)

	b.sync(t, ada, provider.PayPal)
	require.WithinDuration(t, stripes.BeganAt, *b.get(t, ada).SyncedAt, 0)
	newer := b.begin(t, ada, provider.PayPal)
	b.keep(t, newer)
	b.sync(t, ada, provider.Stripe)
	require.WithinDuration(t, newer.BeganAt, *b.get(t, ada).SyncedAt, 0)
	require.False(t, b.get(t, ada).Stale)
}

func TestTheStepsAndPayPalIDsAreShown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	for _, of := range []struct{ workflowID, name string }{
		{subscription.WorkflowID(ada), subscription.StepOf(provider.PayPal)},
		{"onboarding/" + ada, "stripe_customer"},
	} {
		require.NoError(t, step.Open(t.Context(), b.pool, step.Step{WorkflowID: of.workflowID, Name: of.name, CustomerID: ada, Provider: provider.PayPal}))
	}
	b.exec(t, `INSERT INTO paypal_bindings (subscription_id, customer_id, status, decided_at) VALUES
		('I-B', $1, 'bound', '2026-01-02Z'), ('I-A', $1, 'bound', '2026-01-03Z'), ('I-C', $1, 'asked', NULL), ('I-D', $1, 'refused', now())`, ada)
	o, reads, err := b.store.Get(t.Context(), ada)
	require.NoError(t, err)
	require.Equal(t, []string{"I-B", "I-A"}, o.PayPalIDs)
	require.Len(t, reads, 1)
	require.Equal(t, "paypal_subscriptions", reads[0].Name)
}

// A renewal of which nobody told us: nothing is marked, and what is known cannot be the truth.
func TestAPeriodThatEndedUnheardOfIsOverdue(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Second)
	longOver, justOver, running := now.Add(-2*time.Hour), now.Add(-30*time.Minute), now.Add(time.Hour)
	cancels := func(s *subscription.Subscription) { s.CancelAtPeriodEnd = true }
	cases := map[string]struct {
		known   subscription.Subscription
		readAt  time.Time
		overdue bool
	}{
		"an active one, long over":              {atStripe("s", subscription.Active, until(longOver)), longOver.Add(-time.Minute), true},
		"a trial, long over":                    {atStripe("s", subscription.Trialing, until(longOver)), longOver.Add(-time.Minute), true},
		"an unpaid renewal, long over":          {atStripe("s", subscription.PastDue, until(longOver)), longOver.Add(-time.Minute), true},
		"one that ends with its period":         {atStripe("s", subscription.Paused, until(longOver), cancels), longOver.Add(-time.Minute), true},
		"read since":                            {atStripe("s", subscription.Active, until(longOver)), longOver.Add(time.Minute), false},
		"providers may take a while to renew":   {atStripe("s", subscription.Active, until(justOver)), justOver.Add(-time.Minute), false},
		"a period that runs":                    {atStripe("s", subscription.Active, until(running)), longOver, false},
		"a canceled one has nothing to renew":   {atStripe("s", subscription.Canceled, until(longOver), cancels), longOver.Add(-time.Minute), false},
		"a paused one has nothing to renew":     {atStripe("s", subscription.Paused, until(longOver)), longOver.Add(-time.Minute), false},
		"an approval that nobody has given yet": {atPayPal("I-A", subscription.Incomplete, until(longOver)), longOver.Add(-time.Minute), false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.signUp(t, ada)
			b.sync(t, ada, c.known.Provider, c.known)
			b.exec(t, `UPDATE subscription_syncs SET synced_at = $1`, c.readAt)
			o := b.get(t, ada)
			require.Equal(t, c.overdue, o.Overdue)
			require.Equal(t, c.overdue, o.Stale)
			require.Equal(t, c.known.Status, o.Status, "the last known state is shown all the same")
		})
	}
}

func TestWhoseApprovalIsAwaited(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada, grace)
	awaits := func() *time.Time {
		since, err := b.store.AwaitsApproval(t.Context(), ada)
		require.NoError(t, err)
		return since
	}
	pending := func(id, word string, by time.Duration) subscription.Subscription {
		s := atPayPal(id, subscription.FromPayPal(word), later(by))
		s.ProviderStatus = word
		return s
	}
	require.Nil(t, awaits())
	b.sync(t, ada, provider.PayPal, pending("I-A", "ACTIVE", time.Hour), pending("I-B", "APPROVAL_PENDING", time.Minute), pending("I-C", "APPROVED", time.Second))
	require.Equal(t, noon.Add(time.Minute), *awaits(), "the newest that is not approved")
	b.sync(t, ada, provider.PayPal, pending("I-B", "CANCELLED", time.Minute), pending("I-C", "APPROVED", time.Second))
	require.Equal(t, noon.Add(time.Second), *awaits())
	b.sync(t, ada, provider.PayPal, pending("I-C", "ACTIVE", time.Second))
	b.sync(t, grace, provider.PayPal, pending("I-G", "APPROVAL_PENDING", 0))
	require.Nil(t, awaits(), "what others are to approve is theirs")
}

// Both providers may be read at once, by workers that know nothing of each other.
func TestReadsAtTwoProvidersMeetInOneState(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signUp(t, ada)
	const rounds = 20
	ended := make(chan error, 2)
	read := func(p provider.Name, found func(n int) subscription.Subscription) {
		var err error
		for n := 0; n < rounds && err == nil; n++ {
			err = b.syncOnce(t.Context(), ada, p, found(n))
		}
		ended <- err
	}
	go read(provider.Stripe, func(n int) subscription.Subscription {
		return atStripe("sub_a", subscription.PastDue, until(noon.Add(time.Duration(n)*time.Hour)))
	})
	go read(provider.PayPal, func(n int) subscription.Subscription {
		return atPayPal("I-A", []subscription.Status{subscription.Canceled, subscription.Active}[n%2], until(noon.Add(time.Duration(n)*time.Hour)))
	})
	require.NoError(t, errors.Join(<-ended, <-ended))

	require.Equal(t, subscription.Plans(nil).Choose(b.list(t, ada)), b.state(t))
	require.Equal(t, "I-A", b.state(t).SubscriptionID)
	told := b.told(t)
	require.Equal(t, b.state(t), told[len(told)-1])
	require.Len(t, b.doubled(t, time.Time{}, "", 10), 1)
	require.Equal(t, len(told), b.count(t, `SELECT last FROM change_counter`))
}

func (b bundle) syncOnce(ctx context.Context, customerID string, p provider.Name, found ...subscription.Subscription) error {
	r, err := b.store.Begin(ctx, customerID, p)
	if err != nil {
		return err
	}
	return postgres.InTx(ctx, b.pool, func(tx pgx.Tx) error {
		_, err := b.store.Store(ctx, tx, r, found)
		return err
	})
}

func TestAReadOfNobodyCannotBegin(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.store.Begin(t.Context(), "u_nobody", provider.Stripe)
	require.ErrorContains(t, err, "u_nobody at stripe")
}
