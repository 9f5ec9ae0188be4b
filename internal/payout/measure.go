package payout

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/money"
)

// Measured is what is to be seen of all payouts together at a moment.
type Measured struct {
	At      time.Time // by the database's clock
	Open    []Open
	Missing []Lack
	Enabled bool      // the kill switch lets payouts be sent
	LastRun date.Date // of the newest run; zero when there was none
	Runs    map[RunState]int
	Forced  int // that were resolved by force within a day
	// PartReversed are the parts of paid payouts that PayPal was found, within a day, to have taken back.
	PartReversed int
	// PaidTwice are the payouts that were found, within a day, to have been paid twice or beside their release.
	PaidTwice int
	// Unlooked is how long the open payout has not been looked at that has not been for longest.
	Unlooked time.Duration
}

// Open are the payouts of one state and currency that have not ended.
type Open struct {
	State    State
	Currency money.Currency
	Payouts  int
	Oldest   time.Time // since when the one has been in this state that has been longest
	Late     int       // of them, those that should have arrived by now
}

// Lack is what the last run that was worked out could not pay in one currency for want of funds.
type Lack struct {
	Rail     Rail
	Currency money.Currency
	Missing  int64
}

// Measure reads what is to be seen of payouts. States without a payout and currencies without a lack
// are there as well, as far as they are paid out, so that a graph falls to zero rather than ending.
func (s *Store) Measure(ctx context.Context) (m Measured, err error) {
	m.Runs = map[RunState]int{RunComputing: 0, RunAwaitingApproval: 0, RunPaying: 0, RunPaused: 0}
	for _, read := range []func(context.Context, *Measured) error{s.measureOpen, s.measureMissing, s.measureRuns, s.measureRest} {
		if err := read(ctx, &m); err != nil {
			return Measured{}, err
		}
	}
	return m, nil
}

// currencies are those that are paid out.
func (s *Store) currencies() []string {
	var codes []string
	for _, c := range slices.Sorted(maps.Keys(s.policy.Currencies)) {
		codes = append(codes, string(c))
	}
	return codes
}

func (s *Store) measureOpen(ctx context.Context, m *Measured) error {
	rows, err := s.pool.Query(ctx, `SELECT state, currency, coalesce(payouts, 0) AS payouts, coalesce(oldest, now()) AS oldest, coalesce(late, 0) AS late
		FROM (SELECT state, currency, count(*)::int AS payouts, min(state_since) AS oldest,
				(count(*) FILTER (WHERE state = 'in_transit' AND CASE WHEN arrival_date IS NULL THEN state_since < now() - interval '3 days'
					ELSE arrival_date < (now() AT TIME ZONE 'UTC')::date END))::int AS late
			FROM payouts WHERE state IN ('planned', 'sending', 'in_transit', 'unclaimed', 'held') GROUP BY state, currency) AS open
		FULL JOIN (SELECT state, currency FROM unnest(ARRAY['planned', 'sending', 'in_transit', 'unclaimed', 'held']) AS state,
				unnest($1::text[]) AS currency) AS wanted USING (state, currency)
		ORDER BY state, currency`, s.currencies())
	m.Open, err = collect[Open](rows, err, "payouts that have not ended")
	return err
}

func (s *Store) measureMissing(ctx context.Context, m *Measured) error {
	rows, err := s.pool.Query(ctx, `SELECT rail, currency, coalesce(missing, 0) AS missing
		FROM (SELECT rail, currency, sum(missing)::bigint AS missing FROM (
				SELECT rail, currency, missing FROM payout_shortfalls WHERE run_date = (SELECT max(date) FROM payout_runs WHERE computed_at IS NOT NULL)
				UNION ALL SELECT 'paypal', currency, missing FROM paypal_batches WHERE state = 'sending' AND unfunded_since IS NOT NULL) AS each
			GROUP BY rail, currency) AS lacked
		FULL JOIN (SELECT rail, currency FROM unnest($1::text[]) AS currency, unnest(ARRAY['stripe', 'paypal']) AS rail
			WHERE rail = 'stripe' OR currency = 'usd') AS wanted USING (rail, currency)
		ORDER BY rail, currency`, s.currencies())
	m.Missing, err = collect[Lack](rows, err, "what runs and batches lack")
	return err
}

func (s *Store) measureRuns(ctx context.Context, m *Measured) error {
	rows, err := s.pool.Query(ctx, `SELECT state, count(*)::int FROM payout_runs WHERE state <> 'ended' GROUP BY state`)
	if err != nil {
		return fmt.Errorf("count runs that have not ended: %w", err)
	}
	var (
		state RunState
		runs  int
	)
	_, err = pgx.ForEachRow(rows, []any{&state, &runs}, func() error {
		m.Runs[state] = runs
		return nil
	})
	if err != nil {
		return fmt.Errorf("count runs that have not ended: %w", err)
	}
	return nil
}

func (s *Store) measureRest(ctx context.Context, m *Measured) error {
	err := s.pool.QueryRow(ctx, `SELECT now(), (SELECT enabled FROM payout_switch), (SELECT max(date) FROM payout_runs),
			(SELECT count(*) FROM operator_actions WHERE action = $1 AND at > now() - interval '1 day'),
			(SELECT count(*) FROM (`+reversals+`) AS back WHERE since > now() - interval '1 day'),
			(SELECT count(*) FROM (`+paidTwice+`) AS twice WHERE since > now() - interval '1 day'),
			-- What waits for its run is seen with the run.
			(SELECT coalesce(max(now() - greatest(p.state_since, p.checked_at, b.checked_at)), '0') FROM payouts p LEFT JOIN paypal_batches b ON b.id = p.batch_id
				WHERE p.state IN ('sending', 'in_transit', 'unclaimed', 'held') OR p.state = 'planned' AND p.handed_at IS NOT NULL)`, resolvedByForce).
		Scan(&m.At, &m.Enabled, &m.LastRun, &m.Forced, &m.PartReversed, &m.PaidTwice, &m.Unlooked)
	if err != nil {
		return fmt.Errorf("read the payouts' switch, the newest run and what wants a look: %w", err)
	}
	return nil
}
