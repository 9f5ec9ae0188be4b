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
		"to arrive today":                   {state: payout.InTransit, since: 20 * hour},
		"not arrived on its day":            {state: payout.InTransit, since: 2 * day, arrival: -1, unseen: true},
		"not arrived, and just looked at":   {state: payout.InTransit, since: 2 * day, arrival: -1, checked: 5 * hour},
		"not arrived, looked at before":     {state: payout.InTransit, since: 2 * day, arrival: -1, checked: 7 * hour, unseen: true},
		"on its way, unseen for a day":      {state: payout.InTransit, since: 25 * hour, arrival: 1, unseen: true},
		"on its way, and seen today":        {state: payout.InTransit, since: 2 * day, arrival: 1, checked: 23 * hour},
		"seen as planned, and on its way":   {state: payout.InTransit, since: 5 * hour, checked: 30 * hour},
		"on its way for long":               {state: payout.InTransit, since: 3*day + hour, arrival: 5, unseen: true},
		"to be taken back":                  {state: payout.InTransit, since: day, arrival: 2, checked: 7 * hour, ending: payout.Failed, unseen: true},
		"just begun to be taken back":       {state: payout.InTransit, since: day, arrival: 2, checked: hour, ending: payout.Failed},
		"paid today":                        {state: payout.Paid, since: 23 * hour, arrival: -1},
		"paid yesterday":                    {state: payout.Paid, since: 25 * hour, arrival: -1, unseen: true},
		"paid, and looked at today":         {state: payout.Paid, since: 5 * day, arrival: -1, checked: 23 * hour},
		"paid, and looked at yesterday":     {state: payout.Paid, since: 5 * day, arrival: -1, checked: 25 * hour, unseen: true},
		"paid ten days ago":                 {state: payout.Paid, since: 10*day + hour, arrival: -1, checked: 2 * day},
		"came back, and not yet taken back": {state: payout.Paid, since: 20 * day, arrival: -1, checked: 25 * hour, ending: payout.Returned, unseen: true},
		"held today":                        {state: payout.Held, since: 23 * hour},
		"held, and looked at today":         {state: payout.Held, since: 20 * day, checked: 23 * hour},
		"held, and looked at yesterday":     {state: payout.Held, since: 20 * day, checked: 25 * hour, unseen: true},
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
		page, err := b.store.ListUnseen(t.Context(), after, 2)
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		for _, u := range page {
			require.Equal(t, cases[nameOf[u.ID]].state, u.State)
			found = append(found, nameOf[u.ID])
		}
		after = page[len(page)-1].ID
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

	dates, err := b.store.ListUnfinishedRuns(t.Context())

	require.NoError(t, err)
	require.Equal(t, []date.Date{civil(t, "2026-03-01"), civil(t, "2026-03-03")}, dates)

	b.exec(t, `UPDATE payout_runs SET started_at = now() - interval '25 hours' WHERE state = 'awaiting_approval'`)
	dates, err = b.store.ListUnfinishedRuns(t.Context())
	require.NoError(t, err)
	require.Contains(t, dates, civil(t, "2026-03-02"), "nothing stays unlooked-at for longer than a day")
}

// batched is a payout of ada's in a batch at PayPal, as it stands.
func (b bundle) batched(t *testing.T) (payoutID, batchID string) {
	t.Helper()
	b.byPayPal(t, ada)
	b.earn(t, ada, "sale", payout.Sale, 10_000, covered)
	b.fundPayPal(t, plenty, 0)
	payoutID = b.plan(t, friday)[0].ID
	_, err := b.store.HandOver(t.Context(), civil(t, friday), 10)
	require.NoError(t, err)
	batchID, err = payout.BatchOf(t.Context(), b.pool, payoutID)
	require.NoError(t, err)
	require.NotEmpty(t, batchID)
	b.exec(t, `ALTER TABLE payouts DISABLE TRIGGER USER; ALTER TABLE paypal_batches DISABLE TRIGGER USER`)
	return payoutID, batchID
}

// Of batches that nothing was heard of the sweep finds each in its time, and no other.
func TestTheSweepFindsBatchesThatNothingWasHeardOf(t *testing.T) {
	t.Parallel()
	b := setup(t)
	payoutID, batchID := b.batched(t)
	for name, c := range map[string]struct {
		batch   payout.BatchState
		member  payout.State
		since   time.Duration
		checked time.Duration
		heard   bool
		kind    string // empty: it is not found
	}{
		"just formed":                       {batch: payout.BatchOpen, member: payout.Planned, since: 59 * time.Minute},
		"formed an hour ago":                {batch: payout.BatchOpen, member: payout.Planned, since: 61 * time.Minute, kind: "planned"},
		"just frozen":                       {batch: payout.BatchSending, member: payout.Sending, since: 59 * time.Minute},
		"frozen an hour ago":                {batch: payout.BatchSending, member: payout.Sending, since: 61 * time.Minute, kind: "sending"},
		"on its way":                        {batch: payout.BatchSent, member: payout.InTransit, since: 23 * hour},
		"on its way for a day, unseen":      {batch: payout.BatchSent, member: payout.InTransit, since: 25 * hour, kind: "in_transit"},
		"on its way for two days, and seen": {batch: payout.BatchSent, member: payout.InTransit, since: 2 * day, checked: 20 * hour},
		"on its way for long, and seen":     {batch: payout.BatchSent, member: payout.InTransit, since: 4 * day, checked: 5 * hour},
		"on its way for long, seen before":  {batch: payout.BatchSent, member: payout.InTransit, since: 4 * day, checked: 7 * hour, kind: "in_transit"},
		"listed by nobody for a day":        {batch: payout.BatchSent, member: payout.Sending, since: 25 * hour, kind: "in_transit"},
		"unclaimed, and seen today":         {batch: payout.BatchSent, member: payout.Unclaimed, since: 9 * day, checked: 23 * hour},
		"unclaimed, and seen yesterday":     {batch: payout.BatchSent, member: payout.Unclaimed, since: 9 * day, checked: 25 * hour, kind: "unclaimed"},
		"held, and seen today":              {batch: payout.BatchHeld, member: payout.Held, since: 9 * day, checked: 23 * hour},
		"held, and seen yesterday":          {batch: payout.BatchHeld, member: payout.Held, since: 9 * day, checked: 25 * hour, kind: "held"},
		"heard of just now":                 {batch: payout.BatchEnded, member: payout.Paid, since: 9 * day, checked: 59 * time.Minute, heard: true},
		"heard of, and nobody looked":       {batch: payout.BatchEnded, member: payout.Paid, since: 9 * day, checked: 61 * time.Minute, heard: true, kind: "heard"},
		"ended":                             {batch: payout.BatchEnded, member: payout.Paid, since: 9 * day},
		"split":                             {batch: payout.BatchSplit, member: payout.Failed, since: 9 * day},
	} {
		b.exec(t, `UPDATE paypal_batches SET state = $2, state_since = now() - $3::interval, checked_at = now() - nullif($4::interval, '0'), heard = $5,
				paypal_batch_id = CASE WHEN $2 IN ('sent', 'ended') THEN 'THEIRS' END WHERE id = $1`, batchID, string(c.batch), c.since, c.checked, c.heard)
		b.exec(t, `UPDATE payouts SET state = $2, released = $2 = 'failed', provider_payout_id = 'ITEM' WHERE id = $1 AND $2 <> 'planned'`, payoutID, string(c.member))
		b.exec(t, `UPDATE payouts SET state = $2, released = false, provider_payout_id = NULL WHERE id = $1 AND $2 = 'planned'`, payoutID, string(c.member))

		found, err := b.store.ListUnseenBatches(t.Context(), "", 10)

		require.NoError(t, err)
		if c.kind == "" {
			require.Empty(t, found, name)
			continue
		}
		require.Equal(t, []payout.UnseenBatch{{ID: batchID, Kind: c.kind}}, found, name)
		behind, err := b.store.ListUnseenBatches(t.Context(), batchID, 10)
		require.NoError(t, err)
		require.Empty(t, behind)
	}
}

// What is handed over and in no batch is put into one, but for payees who are paused.
func TestLeftoversArePutIntoBatches(t *testing.T) {
	t.Parallel()
	b := setup(t)
	payoutID, _ := b.batched(t)
	b.exec(t, `UPDATE payouts SET batch_id = NULL`)
	b.exec(t, `INSERT INTO payee_pauses (payee_id, source) VALUES ($1, 'operator')`, ada)
	form := func() int {
		t.Helper()
		formed, err := b.store.FormLeftovers(t.Context(), 10)
		require.NoError(t, err)
		return formed
	}
	require.Zero(t, form())
	b.exec(t, `DELETE FROM payee_pauses`)
	b.exec(t, `UPDATE payouts SET handed_at = NULL`)
	require.Zero(t, form(), "its run hands it over")
	b.exec(t, `UPDATE payouts SET handed_at = now()`)

	require.Equal(t, 1, form())

	require.Zero(t, form(), "once")
	batchID, err := payout.BatchOf(t.Context(), b.pool, payoutID)
	require.NoError(t, err)
	require.Equal(t, "2", b.read(t, `SELECT count(*) FROM outbox WHERE message ->> 'workflow_id' LIKE '%' || 'pb_' || '%'`))
	batch, err := payout.GetBatch(t.Context(), b.pool, batchID)
	require.NoError(t, err)
	require.Equal(t, payout.BatchOpen, batch.State)
}

// What waits to be claimed at an address that is not the payee's any more keeps nothing back.
func TestABlockIsLiftedWhenTheAddressChanged(t *testing.T) {
	t.Parallel()
	b := setup(t)
	payoutID, _ := b.batched(t)
	b.exec(t, `UPDATE payouts SET state = 'unclaimed', provider_payout_id = 'ITEM', state_since = now() - interval '9 days'`)
	lift := func() int64 {
		t.Helper()
		lifted, err := payout.LiftBlocks(t.Context(), b.pool)
		require.NoError(t, err)
		return lifted
	}
	require.Zero(t, lift(), "it is still theirs")
	b.exec(t, `UPDATE payees SET paypal_email = 'new@example.com'`)
	require.Equal(t, int64(1), lift())
	require.Zero(t, lift())
	require.Equal(t, "false", b.read(t, `SELECT blocks FROM payouts WHERE id = $1`, payoutID))
}

// Whose payout takes longer than usual is told so, once a day; after some days people are.
func TestDelaysAreToldToPayeesAndThenToPeople(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ready(t, ada)
	b.earn(t, ada, "sale", payout.Sale, 10_000, covered)
	b.fund(t, plenty)
	id := b.plan(t, friday)[0].ID
	b.exec(t, `ALTER TABLE payouts DISABLE TRIGGER USER`)
	for name, c := range map[string]struct {
		set           string
		delayed, late bool
	}{
		"sent today":                    {set: `state = 'sending', state_since = now() - interval '23 hours'`},
		"sent yesterday":                {set: `state = 'sending', state_since = now() - interval '25 hours'`, delayed: true},
		"sent four days ago":            {set: `state = 'sending', state_since = now() - interval '97 hours'`, delayed: true, late: true},
		"to arrive today":               {set: `state = 'in_transit', state_since = now() - interval '9 days', arrival_date = (now() AT TIME ZONE 'UTC')::date`},
		"to have arrived":               {set: `state = 'in_transit', state_since = now() - interval '9 days', arrival_date = (now() AT TIME ZONE 'UTC')::date - 1`, delayed: true},
		"to have arrived days ago":      {set: `state = 'in_transit', state_since = now() - interval '9 days', arrival_date = (now() AT TIME ZONE 'UTC')::date - 5`, delayed: true, late: true},
		"on its way, nobody says until": {set: `state = 'in_transit', state_since = now() - interval '73 hours', arrival_date = NULL`, delayed: true},
		"on its way for a week":         {set: `state = 'in_transit', state_since = now() - interval '7 days', arrival_date = NULL`, delayed: true, late: true},
		"held for long":                 {set: `state = 'held', state_since = now() - interval '9 days'`, delayed: true},
		"to be claimed":                 {set: `state = 'unclaimed', state_since = now() - interval '9 days'`},
		"to be sent by its run":         {set: `state = 'planned', handed_at = NULL, transfer_id = NULL, provider_payout_id = NULL, created_at = now() - interval '9 days'`},
		"handed over days ago":          {set: `state = 'planned', handed_at = now() - interval '5 days', transfer_id = NULL, provider_payout_id = NULL`, delayed: true, late: true},
	} {
		b.exec(t, `DELETE FROM payee_notes`)
		b.exec(t, `UPDATE payouts SET state = 'sending', transfer_id = 'tr', provider_payout_id = 'po'`)
		b.exec(t, `UPDATE payouts SET `+c.set)
		want := map[bool]int{true: 1}[c.delayed]
		for _, times := range []int{want, 0} { // it is said once a day
			told, err := b.store.NoteDelays(t.Context(), 10)
			require.NoError(t, err)
			require.Equal(t, times, told, name)
		}
		require.Equal(t, fmt.Sprint(want), b.read(t, `SELECT count(*) FROM payee_notes WHERE code = 'payout_delayed'`), name)
		late, err := payout.ListLate(t.Context(), b.pool, time.Time{}, "", 10)
		require.NoError(t, err)
		require.Len(t, late, map[bool]int{true: 1}[c.late], name)
		if c.late {
			require.Equal(t, id, late[0].ID)
			again, err := payout.ListLate(t.Context(), b.pool, late[0].Since, late[0].ID, 10)
			require.NoError(t, err)
			require.Empty(t, again)
		}
	}
}

// How long nobody has looked is measured of what could be looked at, and ends with a look.
func TestMeasureSaysHowLongNobodyHasLooked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, batchID := b.batched(t)
	unlooked := func() time.Duration { return b.measure(t).Unlooked.Round(time.Hour) }
	b.exec(t, `UPDATE payouts SET state_since = now() - interval '30 hours'`)
	b.exec(t, `UPDATE paypal_batches SET state_since = now() - interval '30 hours'`)
	require.Equal(t, 30*hour, unlooked())
	require.NoError(t, payout.MarkPlanned(t.Context(), b.pool, nil, []string{batchID}))
	require.Zero(t, unlooked())

	b.exec(t, `UPDATE payouts SET state = 'in_transit', provider_payout_id = 'ITEM', checked_at = NULL`)
	require.Equal(t, 30*hour, unlooked())
	require.NoError(t, payout.BatchChecked(t.Context(), b.pool, batchID))
	require.Zero(t, unlooked())
	b.exec(t, `UPDATE payouts SET state = 'paid', checked_at = NULL; UPDATE paypal_batches SET checked_at = NULL`)
	require.Zero(t, unlooked(), "it is under way no more")
}
