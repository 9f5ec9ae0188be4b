package payout

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/postgres"
)

// A run is planned in two passes over slices of payees. The first looks at everybody, in the order of
// their ids, and finds who is a candidate. The second claims, in the order in which the platform's funds
// are to serve them: who has been due longest first, then by id. It decides again, since between the
// two somebody may have been paid otherwise; what it claims, it claims while it holds the payees.

// Slice is what PlanSlice did.
type Slice struct {
	Looked  int  // payees who were looked at for the first time
	Planned int  // payouts that were claimed
	Paused  bool // the run is paused: nothing was done
	Done    bool // everybody was looked at and claimed for
}

// PlanSlice works out the next slice of a run, for up to limit payees, in one transaction: when it is
// done again after a failure nothing of it happened, and at the same time by another, one waits.
func (s *Store) PlanSlice(ctx context.Context, on date.Date, limit int) (slice Slice, err error) {
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		// Postgres keeps plans that it made while tables were small, those of foreign keys too. In the first
		// run they grow from nothing: a plan that reads the whole of one would be used for all the others. Where there is no
		// other, its price would have the statement compiled.
		if _, err := tx.Exec(ctx, `SET LOCAL enable_seqscan = off; SET LOCAL jit = off`); err != nil {
			return err
		}
		run, err := lockRun(ctx, tx, on)
		if err != nil {
			return err
		}
		p := planning{store: s, tx: tx, run: run, limit: limit}
		switch {
		case run.standing() != RunComputing:
			slice = Slice{Done: true}
		case run.State == RunPaused:
			slice = Slice{Paused: true}
		case run.LookedAt == nil:
			slice, err = p.look(ctx)
		default:
			slice, err = p.claim(ctx)
		}
		return err
	})
	if err != nil {
		return Slice{}, fmt.Errorf("plan a slice of the run of %s: %w", on, err)
	}
	return slice, nil
}

// isPlanned says whether everybody was looked at and every candidate was decided upon.
func (r Run) isPlanned(ctx context.Context, tx pgx.Tx) (done bool, err error) {
	if r.LookedAt == nil {
		return false, nil
	}
	err = tx.QueryRow(ctx, `SELECT NOT EXISTS (SELECT FROM payout_candidates WHERE run_date = $1)`, r.Date).Scan(&done)
	return done, err
}

// planning is one slice of a run, within its transaction.
type planning struct {
	store *Store
	tx    pgx.Tx
	run   Run
	limit int
}

// look finds out who of the next payees is to be paid, and says of the others why not.
func (p planning) look(ctx context.Context) (Slice, error) {
	ids, err := p.advance(ctx)
	if err != nil {
		return Slice{}, err
	}
	decisions, err := p.decide(ctx, ids)
	if err != nil {
		return Slice{}, err
	}
	var payees, rails []string
	var due []date.Date
	for id, d := range decisions {
		if len(d.Payouts) > 0 {
			first := d.Payouts[0]
			payees, rails, due = append(payees, id), append(rails, string(first.Method.Rail())), append(due, first.DueDate)
			delete(decisions, id)
		}
	}
	_, err = p.tx.Exec(ctx, `INSERT INTO payout_candidates (run_date, due_date, payee_id, rail)
		SELECT $1, due, payee, rail FROM unnest($2::date[], $3::text[], $4::text[]) AS candidates (due, payee, rail)`, p.run.Date, due, payees, rails)
	if err != nil {
		return Slice{}, fmt.Errorf("keep the candidates: %w", err)
	}
	return Slice{Looked: len(ids)}, p.conclude(ctx, decisions)
}

// advance takes the next payees to look at. When there are fewer than were asked for, everybody was.
func (p planning) advance(ctx context.Context) ([]string, error) {
	rows, err := p.tx.Query(ctx, `WITH next AS (
			SELECT id FROM payees WHERE id > (SELECT cursor FROM payout_runs WHERE date = $1) ORDER BY id LIMIT $2),
		moved AS (
			UPDATE payout_runs SET cursor = coalesce((SELECT max(id) FROM next), cursor), looked = looked + (SELECT count(*) FROM next),
				looked_at = CASE WHEN (SELECT count(*) FROM next) < $2 THEN now() END
			WHERE date = $1)
		SELECT id FROM next ORDER BY id`, p.run.Date, p.limit)
	if err != nil {
		return nil, fmt.Errorf("take the next payees: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("take the next payees: %w", err)
	}
	return ids, nil
}

func (p planning) decide(ctx context.Context, ids []string) (map[string]Decision, error) {
	facts, err := LoadFacts(ctx, p.tx, ids, p.run.Date)
	if err != nil {
		return nil, err
	}
	decisions := make(map[string]Decision, len(facts))
	for id, f := range facts {
		decisions[id] = Decide(f, p.run.Date, p.store.policy)
	}
	return decisions, nil
}

// claim plans the payouts of the next candidates.
func (p planning) claim(ctx context.Context) (Slice, error) {
	ids, err := p.takeCandidates(ctx)
	if err != nil || len(ids) == 0 {
		return Slice{Done: err == nil}, err
	}
	if err := lockPayees(ctx, p.tx, ids); err != nil {
		return Slice{}, err
	}
	decisions, err := p.decide(ctx, ids)
	if err != nil {
		return Slice{}, err
	}
	unserved, err := p.bound(ctx, decisions)
	if err != nil {
		return Slice{}, err
	}
	for _, id := range unserved {
		decisions[id] = Decision{Skip: BecauseFunding, NotInstant: decisions[id].NotInstant}
	}
	planned := p.payouts(decisions)
	if err := insertPayouts(ctx, p.tx, planned); err != nil {
		return Slice{}, err
	}
	if err := claimPayouts(ctx, p.tx, p.run.Date, planned); err != nil {
		return Slice{}, err
	}
	if err := p.conclude(ctx, decisions); err != nil {
		return Slice{}, err
	}
	return Slice{Planned: len(planned)}, p.store.tellAll(ctx, p.tx, planned)
}

func (p planning) takeCandidates(ctx context.Context) ([]string, error) {
	// By place, which cannot change while the run is held: joined by the key, a plan that was made while the
	// table was small would compare each of them with all.
	rows, err := p.tx.Query(ctx, `DELETE FROM payout_candidates WHERE ctid = ANY (ARRAY(
			SELECT ctid FROM payout_candidates WHERE run_date = $1 ORDER BY due_date, payee_id LIMIT $2))
		RETURNING payee_id`, p.run.Date, p.limit)
	if err != nil {
		return nil, fmt.Errorf("take the next candidates: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("take the next candidates: %w", err)
	}
	return ids, nil
}

// lockPayees holds payees in the order of their ids, so that of two who want the same none waits in a
// circle.
func lockPayees(ctx context.Context, tx pgx.Tx, ids []string) error {
	_, err := tx.Exec(ctx, `SELECT FROM payees WHERE id = ANY ($1) ORDER BY id FOR UPDATE`, ids)
	if err != nil {
		return fmt.Errorf("hold %d payees: %w", len(ids), err)
	}
	return nil
}

// bound gives the payees whom the platform's funds do not serve, and takes from the funds what the
// others get. Once somebody of a run was not served, nobody behind is.
func (p planning) bound(ctx context.Context, decisions map[string]Decision) (unserved []string, err error) {
	needs, err := p.needs(decisions)
	if err != nil || len(needs) == 0 {
		return nil, err
	}
	left, err := lockFunds(ctx, p.tx)
	if err != nil {
		return nil, err
	}
	for of, wanted := range needs {
		short, err := p.isShort(ctx, of)
		if err != nil {
			return nil, err
		}
		has, known := left[of]
		available := money.New(max(has, 0), of.currency)
		if short {
			available.Minor = 0
		}
		served, missing, err := WithinFunds(wanted, available)
		if err != nil {
			return nil, err
		}
		if err := p.take(ctx, of, wanted[:served]); err != nil {
			return nil, err
		}
		for _, n := range wanted[served:] {
			unserved = append(unserved, n.PayeeID)
		}
		if err := p.keepShortfall(ctx, of, known, missing, len(wanted)-served); err != nil {
			return nil, err
		}
	}
	return unserved, nil
}

// needs are what payees need of each purse, in the order in which they are served.
func (p planning) needs(decisions map[string]Decision) (map[purse][]Need, error) {
	needs := map[purse][]Need{}
	for id, d := range decisions {
		if len(d.Payouts) == 0 {
			continue
		}
		first := d.Payouts[0]
		of := purse{first.Method.Rail(), first.Gross.Currency}
		amount, err := NeedFor(d.Payouts, of.currency, p.store.policy)
		if err != nil {
			return nil, fmt.Errorf("payee %s: %w", id, err)
		}
		needs[of] = append(needs[of], Need{PayeeID: id, DueDate: first.DueDate, Amount: amount})
	}
	for _, wanted := range needs {
		slices.SortFunc(wanted, CompareNeeds)
	}
	return needs, nil
}

func (p planning) isShort(ctx context.Context, of purse) (short bool, err error) {
	err = p.tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM payout_shortfalls WHERE run_date = $1 AND rail = $2 AND currency = $3)`,
		p.run.Date, string(of.rail), string(of.currency)).Scan(&short)
	if err != nil {
		return false, fmt.Errorf("see whether funds are short: %w", err)
	}
	return short, nil
}

func (p planning) take(ctx context.Context, of purse, served []Need) error {
	total := money.Zero(of.currency)
	for _, n := range served {
		var err error
		if total, err = total.Add(n.Amount); err != nil {
			return fmt.Errorf("add up what payouts need: %w", err)
		}
	}
	if total.IsZero() {
		return nil
	}
	return claimFunds(ctx, p.tx, of, total)
}

func (p planning) keepShortfall(ctx context.Context, of purse, known bool, missing money.Amount, payouts int) error {
	if payouts == 0 {
		return nil
	}
	_, err := p.tx.Exec(ctx, `INSERT INTO payout_shortfalls AS s (run_date, rail, currency, missing, payouts, known) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (run_date, rail, currency) DO UPDATE SET missing = s.missing + excluded.missing, payouts = s.payouts + excluded.payouts`,
		p.run.Date, string(of.rail), string(of.currency), missing.Minor, payouts, known)
	if err != nil {
		return fmt.Errorf("keep what is missing: %w", err)
	}
	return nil
}

// payouts are those that were decided upon, by payee.
func (p planning) payouts(decisions map[string]Decision) []Payout {
	var all []Payout
	for _, id := range slices.Sorted(maps.Keys(decisions)) {
		for _, plan := range decisions[id].Payouts {
			all = append(all, Payout{
				Plan: plan, PayeeID: id, Kind: Scheduled, RunDate: p.run.Date, Attempt: 1, State: Planned, Epoch: 1,
			}.identified())
		}
	}
	return all
}

// conclude says of payees why they are not paid, or not instantly, and up to where their cycles are run,
// and tells the app of those who cannot be paid.
func (p planning) conclude(ctx context.Context, decisions map[string]Decision) error {
	var (
		said   []Said
		payees []string
		cycles []date.Date
	)
	for id, d := range decisions {
		for _, reason := range slices.Compact([]Reason{d.NotInstant, d.Skip}) {
			if reason != "" {
				said = append(said, Said{PayeeID: id, Code: string(reason), Detail: reason.Sentence(), Date: p.run.Date})
			}
		}
		if !d.CycleRun.IsZero() {
			payees, cycles = append(payees, id), append(cycles, d.CycleRun)
		}
	}
	if err := p.store.Notes(ctx, p.tx, said); err != nil {
		return err
	}
	if err := p.keepCycles(ctx, payees, cycles); err != nil {
		return err
	}
	return p.store.notifyUnpaid(ctx, p.tx, p.run.Date, decisions)
}

// keepCycles keeps up to where payees' cycles are run.
func (p planning) keepCycles(ctx context.Context, payees []string, cycles []date.Date) error {
	if len(payees) == 0 {
		return nil
	}
	_, err := p.tx.Exec(ctx, `WITH held AS (SELECT id FROM payees WHERE id = ANY ($1) ORDER BY id FOR UPDATE)
		UPDATE payees SET last_cycle = greatest(last_cycle, run.cycle)
		FROM held JOIN unnest($1::text[], $2::date[]) AS run (payee, cycle) ON run.payee = held.id WHERE payees.id = held.id`, payees, cycles)
	if err != nil {
		return fmt.Errorf("keep up to where the cycles are run: %w", err)
	}
	return nil
}

// insertPayouts stores payouts of one origin, each with the destination that its payee has now, in one
// statement.
func insertPayouts(ctx context.Context, tx pgx.Tx, all []Payout) error {
	if len(all) == 0 {
		return nil
	}
	var (
		ids, payees, methods, currencies []string
		parts                            []int
		gross, fees, nets                []int64
		ends, due                        []date.Date
	)
	for _, p := range all {
		ids, payees, methods, currencies = append(ids, p.ID), append(payees, p.PayeeID), append(methods, string(p.Method)), append(currencies, string(p.Gross.Currency))
		parts, ends, due = append(parts, p.Part), append(ends, p.PeriodEnd), append(due, p.DueDate)
		gross, fees, nets = append(gross, p.Gross.Minor), append(fees, p.Fee.Minor), append(nets, p.Net.Minor)
	}
	origin := all[0]
	rows, err := tx.Query(ctx, `INSERT INTO payouts (kind, run_date, manual_id, retry_of, attempt, actor, handed_at,
			id, payee_id, part, method, currency, gross, fee, net, period_end, due_date, stripe_account_id, destination_id)
		SELECT $1, $2, nullif($3, ''), nullif($4, ''), $5, $6, CASE $1 WHEN 'scheduled' THEN NULL ELSE now() END,
			o.id, payee.id, o.part, o.method, o.currency, o.gross, o.fee, o.net, o.period_end, o.due_date,
			CASE o.method WHEN 'paypal' THEN NULL ELSE payee.stripe_account_id END, CASE o.method WHEN 'paypal' THEN coalesce(payee.paypal_email, '') ELSE payee.destination_id END
		FROM unnest($7::text[], $8::text[], $9::int[], $10::text[], $11::text[], $12::bigint[], $13::bigint[], $14::bigint[], $15::date[], $16::date[])
			AS o (id, payee_id, part, method, currency, gross, fee, net, period_end, due_date)
			JOIN payees payee ON payee.id = o.payee_id
		RETURNING id, coalesce(stripe_account_id, '')`,
		string(origin.Kind), origin.RunDate, origin.ManualID, origin.RetryOf, origin.Attempt, origin.Actor,
		ids, payees, parts, methods, currencies, gross, fees, nets, ends, due)
	if err != nil {
		return fmt.Errorf("store %d payouts: %w", len(all), err)
	}
	accounts := make(map[string]string, len(all))
	var id, account string
	_, err = pgx.ForEachRow(rows, []any{&id, &account}, func() error {
		accounts[id] = account
		return nil
	})
	if err != nil {
		return fmt.Errorf("store %d payouts: %w", len(all), err)
	}
	for i := range all {
		all[i].StripeAccountID = accounts[all[i].ID]
	}
	return nil
}

// claimPayouts takes what payouts cost from what their payees have. The payees are held.
func claimPayouts(ctx context.Context, tx pgx.Tx, on date.Date, all []Payout) error {
	claims := make([]ledger.Payout, len(all))
	for i, p := range all {
		claims[i] = p.posted()
	}
	return ledger.Claim(ctx, tx, on, claims...)
}

// tellAll tells the app of many payouts.
func (s *Store) tellAll(ctx context.Context, tx pgx.Tx, all []Payout) error {
	if len(all) == 0 {
		return nil
	}
	told := make([]feed.Told, len(all))
	for i, p := range all {
		told[i] = feed.Told{CustomerID: p.PayeeID, Data: p.shown()}
	}
	if err := s.changes.AppendAll(ctx, tx, feed.PayoutChanged, told); err != nil {
		return err
	}
	return s.notifyEnds(ctx, tx, all...)
}
