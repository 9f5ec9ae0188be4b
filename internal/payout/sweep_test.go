package payout_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/payout"
)

// in is a payout as it stands, and how long ago that and the last look at it were.
type in struct {
	state     payout.State
	since     time.Duration
	checked   time.Duration // zero: never
	arrival   int           // days from today; set for those on their way
	ending    payout.State
	notHanded bool
	unseen    bool
}

const (
	hour = time.Hour
	day  = 24 * time.Hour
)

// Of payouts that nothing was heard of the sweep finds each in its time, and no other.
func TestTheSweepFindsWhatNothingWasHeardOf(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cases := map[string]in{
		"planned and just handed over":      {state: payout.Planned, since: 30 * time.Minute},
		"planned and handed over long ago":  {state: payout.Planned, since: 2 * hour, unseen: true},
		"planned by a run that is to pay":   {state: payout.Planned, since: 2 * hour, notHanded: true},
		"just begun":                        {state: payout.Sending, since: 59 * time.Minute},
		"begun an hour ago":                 {state: payout.Sending, since: 61 * time.Minute, unseen: true},
		"on its way":                        {state: payout.InTransit, since: 7 * hour, arrival: 1},
		"to arrive today":                   {state: payout.InTransit, since: 2 * day},
		"not arrived on its day":            {state: payout.InTransit, since: 2 * day, arrival: -1, unseen: true},
		"not arrived, and just looked at":   {state: payout.InTransit, since: 2 * day, arrival: -1, checked: 5 * hour},
		"not arrived, looked at before":     {state: payout.InTransit, since: 2 * day, arrival: -1, checked: 7 * hour, unseen: true},
		"on its way for long":               {state: payout.InTransit, since: 3*day + hour, arrival: 5, unseen: true},
		"to be taken back":                  {state: payout.InTransit, since: day, arrival: 2, checked: 7 * hour, ending: payout.Failed, unseen: true},
		"just begun to be taken back":       {state: payout.InTransit, since: day, arrival: 2, checked: hour, ending: payout.Failed},
		"paid today":                        {state: payout.Paid, since: 23 * hour, arrival: -1},
		"paid yesterday":                    {state: payout.Paid, since: 25 * hour, arrival: -1, unseen: true},
		"paid, and looked at today":         {state: payout.Paid, since: 5 * day, arrival: -1, checked: 23 * hour},
		"paid, and looked at yesterday":     {state: payout.Paid, since: 5 * day, arrival: -1, checked: 25 * hour, unseen: true},
		"paid ten days ago":                 {state: payout.Paid, since: 10*day + hour, arrival: -1, checked: 2 * day},
		"came back, and not yet taken back": {state: payout.Paid, since: 20 * day, arrival: -1, checked: 25 * hour, ending: payout.Returned, unseen: true},
		"held for a person":                 {state: payout.Held, since: 20 * day},
		"ended":                             {state: payout.Canceled, since: 20 * day},
	}
	payees, payeeOf := make([]string, 0, len(cases)), map[string]string{}
	for name := range cases {
		payeeOf[name] = fmt.Sprintf("u_%d", len(payees))
		payees = append(payees, payeeOf[name])
	}
	b.ready(t, payees...)
	for _, payee := range payees {
		b.earn(t, payee, "sale", payout.Sale, 10_000, covered)
	}
	b.fund(t, plenty)
	payoutOf := map[string]string{}
	for _, p := range b.plan(t, friday) {
		payoutOf[p.PayeeID] = p.ID
	}
	// The states are put there without what led to them: what the sweep finds depends on nothing else.
	b.exec(t, `ALTER TABLE payouts DISABLE TRIGGER USER`)
	var want []string
	nameOf := map[string]string{}
	for name, c := range cases {
		id := payoutOf[payeeOf[name]]
		nameOf[id] = name
		b.exec(t, `UPDATE payouts SET state = $2, state_since = now() - $3::interval,
				checked_at = now() - nullif($4::interval, '0'), arrival_date = (now() AT TIME ZONE 'UTC')::date + $5::int, ending = nullif($6, ''),
				handed_at = CASE WHEN $7 THEN NULL ELSE now() - $3::interval END, released = $2 = 'canceled',
				transfer_id = CASE WHEN $2 IN ('in_transit', 'paid') THEN 'tr_' || id END,
				provider_payout_id = CASE WHEN $2 IN ('in_transit', 'paid') THEN 'po_' || id END
			WHERE id = $1`, id, string(c.state), c.since, c.checked, c.arrival, string(c.ending), c.notHanded)
		if c.unseen {
			want = append(want, name)
		}
	}

	var found []string
	for after := ""; ; {
		page, err := payout.ListUnseen(t.Context(), b.pool, after, 2)
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		for _, id := range page {
			found = append(found, nameOf[id])
		}
		after = page[len(page)-1]
	}
	require.ElementsMatch(t, want, found)
}

// After five days on its way a payout no longer keeps the payee's next one back.
func TestABlockIsLiftedAfterFiveDays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	b.earn(t, ada, "later", payout.Sale, 2_000, friday)
	b.live(t, id, "start", "transfer", "payout")
	lift := func(days int) int64 {
		t.Helper()
		b.exec(t, `UPDATE payouts SET state_since = now() - make_interval(days => $1)`, days)
		lifted, err := payout.LiftBlocks(t.Context(), b.pool)
		require.NoError(t, err)
		return lifted
	}
	require.Zero(t, lift(4))
	require.Empty(t, b.plan(t, nextFriday))

	require.Equal(t, int64(1), lift(6))
	require.Zero(t, lift(6), "it is lifted once")
	require.Len(t, b.plan(t, "2026-03-20"), 1)
}

// A run that should have ended by now goes on by the sweep, unless it waits for a person.
func TestRunsThatHaveNotEndedAreFound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for on, state := range map[string]string{
		"2026-03-01": "computing", "2026-03-02": "awaiting_approval", "2026-03-03": "paying", "2026-03-04": "paused", "2026-03-05": "ended",
	} {
		b.exec(t, `INSERT INTO payout_runs (date, cause, state, resumes_to, computed_at, ended_at, started_at)
			VALUES ($1, 'test', $2, CASE $2 WHEN 'paused' THEN 'computing' END, CASE WHEN $2 NOT IN ('computing', 'paused') THEN now() END,
				CASE $2 WHEN 'ended' THEN now() END, now() - interval '61 minutes')`, on, state)
	}
	b.exec(t, `INSERT INTO payout_runs (date, cause) VALUES ('2026-03-06', 'test')`)

	dates, err := payout.ListUnfinishedRuns(t.Context(), b.pool)

	require.NoError(t, err)
	require.Equal(t, []date.Date{civil(t, "2026-03-01"), civil(t, "2026-03-03")}, dates)
}

// What the platform has at Stripe is asked for once everybody was looked at, and only to pay somebody.
func TestARunLacksFundsOnlyToPaySomebody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ready(t, ada)
	b.earn(t, ada, "sale", payout.Sale, 10_000, covered)
	lacks := func(on string) bool {
		t.Helper()
		run, err := payout.GetRun(t.Context(), b.pool, civil(t, on))
		require.NoError(t, err)
		require.NotNil(t, run.LookedAt)
		lacks, err := payout.LacksStripeFunds(t.Context(), b.pool, run)
		require.NoError(t, err)
		return lacks
	}
	look := func(on string) {
		t.Helper()
		_, err := b.store.PlanSlice(t.Context(), b.begin(t, on), 2)
		require.NoError(t, err)
	}

	b.fund(t, plenty) // too early: it may have been spent since
	look("2026-03-05")
	require.False(t, lacks("2026-03-05"), "nobody is due on a Thursday")
	look(friday)
	require.True(t, lacks(friday))
	b.fund(t, plenty)
	require.False(t, lacks(friday))
}
