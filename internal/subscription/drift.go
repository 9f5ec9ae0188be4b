package subscription

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
)

// Listed is a subscription as a provider lists it.
type Listed struct {
	Subscription

	Owner string // the provider's id of its customer
	// MorePrices says that the list leaves prices out.
	MorePrices bool
}

// Page is a stretch of a provider's list of everybody's subscriptions, the newest first.
type Page struct {
	Provider provider.Name
	// ReadAt is when the page was asked for, by the database's clock. Who was read since is known
	// better than the page tells.
	ReadAt time.Time
	Listed []Listed
	// The page is all that there is of what was created from Newest back to Oldest, which itself is
	// not in the stretch; nil is without end.
	Newest, Oldest *time.Time
	// Before are the ids that earlier pages had of the stretch.
	Before []string
}

// Comparison is how a page stands against what is known.
type Comparison struct {
	Compared  int      // customers of ours on the page
	Differing []string // those, and others, of whom something else is known than the page tells
}

// maxGone bounds how many customers one page finds whose subscriptions are gone. The others are found
// when these have been read, by the next pass.
const maxGone = 500

// Compare holds a page against what is known, in one round trip. It finds customers with a
// subscription that is not known, or known otherwise, and those with one that should be on the page
// and is not. Whoever is about to be read, or was read since the page was asked for, does not count.
func Compare(ctx context.Context, db postgres.DB, p Page) (Comparison, error) {
	known, err := lookUp(ctx, db, p)
	if err != nil {
		return Comparison{}, err
	}
	differing := map[string]bool{}
	for _, customerID := range known.gone {
		differing[customerID] = true
	}
	for _, l := range p.Listed {
		owner, ours := known.owners[l.Owner]
		k, there := known.subscriptions[l.ID]
		if ours && (!there || k.CustomerID != owner || !k.agrees(l)) {
			differing[owner] = true
		}
		if there && k.CustomerID != owner {
			differing[k.CustomerID] = true
		}
	}
	ids, err := withoutFresh(ctx, db, p, slices.Sorted(maps.Keys(differing)))
	return Comparison{Compared: len(known.owners), Differing: ids}, err
}

// onPage is what is known of a page.
type onPage struct {
	owners        map[string]string // customers of ours, by the provider's id
	subscriptions map[string]owned
	gone          []string
}

type owned struct {
	CustomerID string

	Subscription
}

// agrees says that the list tells what is known. What was paid for is no part of any list.
func (k owned) agrees(l Listed) bool {
	read := l.Subscription
	if l.MorePrices && len(k.PriceIDs) > len(read.PriceIDs) && slices.Equal(k.PriceIDs[:len(read.PriceIDs)], read.PriceIDs) {
		read.PriceIDs = k.PriceIDs
	}
	return same(k.Subscription, keepPaid(read, &k.Subscription))
}

func lookUp(ctx context.Context, db postgres.DB, p Page) (onPage, error) {
	known := onPage{owners: map[string]string{}, subscriptions: map[string]owned{}}
	ids, owners := make([]string, 0, len(p.Listed)), make([]string, 0, len(p.Listed))
	for _, l := range p.Listed {
		ids, owners = append(ids, l.ID), append(owners, l.Owner)
	}
	var batch pgx.Batch
	batch.Queue(`SELECT stripe_customer_id, id FROM customers WHERE stripe_customer_id = ANY($1) AND stripe_bound_at IS NOT NULL`, owners).
		Query(func(rows pgx.Rows) error {
			var theirs, ours string
			_, err := pgx.ForEachRow(rows, []any{&theirs, &ours}, func() error { known.owners[theirs] = ours; return nil })
			return err
		})
	batch.Queue(`SELECT customer_id, `+columns+` FROM subscriptions WHERE provider = $1 AND id = ANY($2)`, p.Provider, ids).
		Query(func(rows pgx.Rows) error {
			all, err := pgx.CollectRows(rows, pgx.RowToStructByName[owned])
			for _, k := range all {
				known.subscriptions[k.ID] = k
			}
			return err
		})
	batch.Queue(`SELECT DISTINCT customer_id FROM subscriptions WHERE provider = $1 AND id <> ALL($2)
			AND created_at <= coalesce($3::timestamptz, 'infinity') AND created_at > coalesce($4::timestamptz, '-infinity') LIMIT $5`,
		p.Provider, append(ids, p.Before...), p.Newest, p.Oldest, maxGone).
		Query(func(rows pgx.Rows) (err error) {
			known.gone, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
	if err := db.SendBatch(ctx, &batch).Close(); err != nil {
		return known, fmt.Errorf("subscriptions: hold a page of %s against what is known: %w", p.Provider, err)
	}
	return known, nil
}

// withoutFresh leaves out whom the next read answers for anyway, or a read did that began after the
// page was asked for.
func withoutFresh(ctx context.Context, db postgres.DB, p Page, ids []string) ([]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := db.Query(ctx, `SELECT c.id FROM unnest($1::text[]) AS c (id)
		LEFT JOIN subscription_syncs y ON y.customer_id = c.id AND y.provider = $2
		WHERE coalesce(y.fresh, 0) = 0 AND (y.synced_at IS NULL OR y.synced_at < $3) ORDER BY c.id`, ids, p.Provider, p.ReadAt)
	if err != nil {
		return nil, fmt.Errorf("subscriptions: see who was read meanwhile: %w", err)
	}
	ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("subscriptions: see who was read meanwhile: %w", err)
	}
	return ids, nil
}

// Unread says which customers a pass is to have read.
type Unread struct {
	Provider provider.Name
	// Before is the moment since which a customer should have been read; zero is ever.
	Before time.Time
	// Ended includes those whose PayPal subscriptions have all ended, which is for good.
	Ended bool
}

// List lists, in order and after the given one, who was not read and is not about to be.
func (u Unread) List(ctx context.Context, db postgres.DB, after string, limit int) ([]string, error) {
	candidates := map[provider.Name]string{
		provider.Stripe: `SELECT id AS customer_id FROM customers WHERE stripe_bound_at IS NOT NULL AND (true OR $5)`,
		provider.PayPal: `SELECT DISTINCT b.customer_id FROM paypal_bindings b
			LEFT JOIN subscriptions s ON s.provider = 'paypal' AND s.id = b.subscription_id
			WHERE b.status <> 'refused' AND ($5 OR s.status IS DISTINCT FROM 'canceled')`,
	}
	rows, err := db.Query(ctx, `SELECT c.customer_id FROM (`+candidates[u.Provider]+`) c
		LEFT JOIN subscription_syncs y ON y.customer_id = c.customer_id AND y.provider = $1
		WHERE c.customer_id > $2 AND coalesce(y.marks = y.covered, true) AND (y.synced_at IS NULL OR y.synced_at < $3)
		ORDER BY c.customer_id LIMIT $4`, u.Provider, after, u.Before, limit, u.Ended)
	if err != nil {
		return nil, fmt.Errorf("subscriptions: look for who was not read at %s: %w", u.Provider, err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("subscriptions: look for who was not read at %s: %w", u.Provider, err)
	}
	return ids, nil
}

// Work is what there is to read at a provider at a moment of the database's clock, and how much a pass
// has healed.
type Work struct {
	Now     time.Time
	Waiting int // customers who wait to be read, at most as many as were asked for
	Healed  int // customers healed since the given moment
}

// notForPerson leaves out reads that a person has to see to first, who may take for ever.
const notForPerson = ` NOT EXISTS (SELECT FROM steps s WHERE s.workflow_id = '` + workflowPrefix + `' || y.customer_id
	AND s.name = y.provider || '` + stepSuffix + `' AND s.waits_for = 'person')`

// Weigh measures the work at a provider. It counts no further than the limit.
func Weigh(ctx context.Context, db postgres.DB, p provider.Name, since time.Time, limit int) (Work, error) {
	var w Work
	err := db.QueryRow(ctx, `SELECT clock_timestamp(),
			(SELECT count(*) FROM (SELECT FROM subscription_syncs y WHERE y.provider = $1 AND y.marks > y.covered AND`+notForPerson+` LIMIT $3) w),
			(SELECT count(*) FROM subscription_syncs WHERE provider = $1 AND healed_at >= $2)`,
		p, since, limit).Scan(&w.Now, &w.Waiting, &w.Healed)
	if err != nil {
		return w, fmt.Errorf("subscriptions: weigh what is to be read at %s: %w", p, err)
	}
	return w, nil
}

// CountDrift counts who was marked by a pass and is not read yet.
func CountDrift(ctx context.Context, db postgres.DB, p provider.Name) (customers int, err error) {
	err = db.QueryRow(ctx, `SELECT count(*) FROM subscription_syncs y
		WHERE y.provider = $1 AND y.marks > y.covered AND y.cause = $2 AND`+notForPerson, p, ByDrift).Scan(&customers)
	if err != nil {
		return 0, fmt.Errorf("subscriptions: count those marked by a pass at %s: %w", p, err)
	}
	return customers, nil
}

// CountBound counts the customers who may have subscriptions at the provider.
func CountBound(ctx context.Context, db postgres.DB, p provider.Name) (customers int, err error) {
	counts := map[provider.Name]string{
		provider.Stripe: `SELECT count(*) FROM customers WHERE stripe_bound_at IS NOT NULL`,
		provider.PayPal: `SELECT count(DISTINCT customer_id) FROM paypal_bindings WHERE status <> 'refused'`,
	}
	if err := db.QueryRow(ctx, counts[p]).Scan(&customers); err != nil {
		return 0, fmt.Errorf("subscriptions: count the customers at %s: %w", p, err)
	}
	return customers, nil
}

// recordHealed notes that a pass found what no event had told.
func recordHealed(ctx context.Context, tx pgx.Tx, r Read) error {
	_, err := tx.Exec(ctx, `UPDATE subscription_syncs SET healed_at = clock_timestamp() WHERE customer_id = $1 AND provider = $2`, r.CustomerID, r.Provider)
	if err != nil {
		return fmt.Errorf("subscriptions of %s at %s: record that they were healed: %w", r.CustomerID, r.Provider, err)
	}
	return nil
}
