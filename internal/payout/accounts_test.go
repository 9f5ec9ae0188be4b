package payout_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/payout"
)

// refreshed are the payees whose accounts are looked at anew, in order, when so many may be.
func (b bundle) refreshed(t *testing.T, cause string, limit int) []string {
	t.Helper()
	asked, err := b.store.RefreshAccounts(t.Context(), cause, limit)
	require.NoError(t, err)
	rows, err := b.pool.Query(t.Context(), `SELECT key FROM outbox WHERE key LIKE 'refresh/%/' || $1`, cause)
	require.NoError(t, err)
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Len(t, keys, asked)
	for i, key := range keys {
		keys[i] = strings.Split(key, "/")[1]
	}
	slices.Sort(keys)
	return keys
}

// Accounts that were not seen for a week are looked at again, for those who have money here.
func TestOldAccountsAreLookedAtAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	week := 7 * day
	cases := map[string]struct {
		seen, asked time.Duration // zero: never
		earned      int64
		set         string
		due         bool
	}{
		"seen a week ago":               {seen: week + hour, earned: 100, due: true},
		"seen this week":                {seen: week - hour, earned: 100},
		"never seen":                    {earned: 100, due: true},
		"asked this week":               {seen: 9 * day, asked: day, earned: 100},
		"asked a week ago":              {seen: 30 * day, asked: week + hour, earned: 100, due: true},
		"with no balance":               {seen: 30 * day},
		"with less than none":           {seen: 30 * day, earned: -100},
		"with no account":               {seen: 30 * day, earned: 100, set: `stripe_account_id = NULL`},
		"of one whose account is new":   {seen: 30 * day, earned: 100, set: `stripe_account_id = 'acct_another'`, due: true},
		"of one who came this week":     {earned: 100, set: `created_at = now() - interval '1 hour'`},
		"of one who wants PayPal first": {seen: 30 * day, earned: 100, set: `rail = 'paypal', paypal_email = 'ok@example.com'`, due: true},
	}
	var due []string
	for i, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range cases {
			if !yield(name) {
				return
			}
		}
	}) {
		c, payee := cases[name], fmt.Sprintf("u_%02d", i)
		b.ready(t, payee)
		if c.earned > 0 {
			b.earn(t, payee, "sale", payout.Sale, c.earned, covered)
		} else if c.earned < 0 {
			b.earn(t, payee, "refund", payout.Refund, -c.earned, covered)
		}
		b.exec(t, `UPDATE payee_accounts SET as_of = now() - $2::interval WHERE payee_id = $1`, payee, c.seen)
		if c.seen == 0 {
			b.exec(t, `DELETE FROM payee_accounts WHERE payee_id = $1`, payee)
		}
		b.exec(t, `UPDATE payees SET account_asked_at = now() - nullif($2::interval, '0') WHERE id = $1`, payee, c.asked)
		if c.set != "" {
			b.exec(t, `UPDATE payees SET `+c.set+` WHERE id = $1`, payee)
		}
		if c.due {
			due = append(due, payee)
		}
	}

	require.Equal(t, due, b.refreshed(t, "now", 100))
	require.Empty(t, b.refreshed(t, "again", 100), "each is asked for once")
	b.exec(t, `UPDATE payees SET account_asked_at = now() - interval '8 days' WHERE account_asked_at IS NOT NULL`)
	require.Len(t, b.refreshed(t, "later", 100), len(due)+1, "they were not seen meanwhile")
}

// Of more than may be looked at in one hour those are that were not seen for longest.
func TestTheOldestAccountsAreLookedAtFirst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for days, payee := range map[int]string{9: "u_b", 30: "u_c", 20: "u_a", 8: "u_d"} {
		b.ready(t, payee)
		b.earn(t, payee, "sale", payout.Sale, 100, covered)
		b.exec(t, `UPDATE payee_accounts SET as_of = now() - make_interval(days => $2) WHERE payee_id = $1`, payee, days)
	}
	require.Equal(t, []string{"u_a", "u_c"}, b.refreshed(t, "first", 2))
	require.Equal(t, []string{"u_b", "u_d"}, b.refreshed(t, "second", 2))
	require.Empty(t, b.refreshed(t, "third", 2))
}

// A payout under way counts as money here, until it has ended.
func TestAnAccountIsLookedAtAgainWhileAPayoutGoesThere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.one(t)
	b.live(t, id, "start", "transfer", "payout")
	age := func() {
		t.Helper()
		b.exec(t, `UPDATE payee_accounts SET as_of = now() - interval '8 days'; UPDATE payees SET account_asked_at = NULL`)
	}
	age()
	require.Zero(t, b.balance(t, ada))
	require.Equal(t, []string{ada}, b.refreshed(t, "in transit", 10))
	b.live(t, id, "paid")
	age()
	require.Empty(t, b.refreshed(t, "paid", 10))
}
