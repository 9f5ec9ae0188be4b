package payout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/outbox"
	"github.com/holdfast/holdfast/internal/postgres"
)

// Account is a connected account as it was seen last.
type Account struct {
	StripeAccountID string
	PayeeID         string
	Country         string
	Currency        string // its own; lower case, as Stripe says it
	// ScheduleInterval is how Stripe itself pays it out; it must be manual.
	ScheduleInterval  string
	PayoutsEnabled    bool
	ExternalAccountID string // empty when there is none
	ExternalCurrency  string
	ExternalErrored   bool
	InstantOffered    bool
	Negative          bool // its balance is below zero
	AsOf              time.Time
}

// PutAccountSnapshot keeps how a payee's connected account was seen. One that was seen earlier than
// what is known, or that is no longer the payee's, is left alone. Another external account is a new
// destination.
func (s *Store) PutAccountSnapshot(ctx context.Context, tx pgx.Tx, a Account) error {
	var linked, destination string
	err := tx.QueryRow(ctx, `SELECT coalesce(stripe_account_id, ''), destination_id FROM payees WHERE id = $1 FOR UPDATE`, a.PayeeID).
		Scan(&linked, &destination)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("payee %s: %w", a.PayeeID, ErrNoPayee)
	case err != nil:
		return fmt.Errorf("payee %s: lock: %w", a.PayeeID, err)
	case linked != a.StripeAccountID:
		return nil
	}
	stored, err := storeAccount(ctx, tx, a)
	if err != nil || !stored || destination == a.ExternalAccountID {
		return err
	}
	return s.moveDestination(ctx, tx, a.PayeeID, a.ExternalAccountID)
}

// RefreshAccounts has connected accounts looked at that were not seen for longer than the policy has it, the
// longest unseen first and so many at most: what Stripe tells of them may be lost. Those of payees who have
// neither a balance nor a payout under way cost no call. Each is asked for once in that time, whatever
// becomes of it: a look that does not get through waits for its provider by itself.
func (s *Store) RefreshAccounts(ctx context.Context, cause string, limit int) (asked int, err error) {
	err = postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `UPDATE payees SET account_asked_at = now() WHERE id = ANY (ARRAY(
			SELECT p.id FROM payees p LEFT JOIN payee_accounts a ON a.stripe_account_id = p.stripe_account_id AND a.payee_id = p.id
			WHERE p.stripe_account_id IS NOT NULL AND greatest(a.as_of, p.account_asked_at, p.created_at) < now() - $1::interval
				AND (EXISTS (SELECT FROM payouts o WHERE o.payee_id = p.id AND o.method <> 'paypal'
						AND o.state IN ('planned', 'sending', 'in_transit', 'held'))
					-- What is owed is a credit, below zero.
					OR (SELECT sum(e.amount) FROM ledger_entries e WHERE e.account = 'payee' AND e.owner = p.id AND e.currency = p.currency) < 0)
			ORDER BY greatest(a.as_of, p.account_asked_at, p.created_at), p.id LIMIT $2 FOR UPDATE OF p SKIP LOCKED))
			RETURNING id`, s.policy.AccountAge, limit)
		if err != nil {
			return fmt.Errorf("find accounts that were not seen for long: %w", err)
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("find accounts that were not seen for long: %w", err)
		}
		asked = len(ids)
		return s.refreshAccounts(ctx, tx, ids, cause)
	})
	return asked, err
}

func (s *Store) refreshAccounts(ctx context.Context, tx pgx.Tx, payeeIDs []string, cause string) error {
	batch := &pgx.Batch{}
	for _, id := range payeeIDs {
		if err := outbox.Queue(batch, s.work.RefreshAccount(id, cause)); err != nil {
			return err
		}
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("have %d accounts looked at: %w", len(payeeIDs), err)
	}
	return nil
}

func storeAccount(ctx context.Context, tx pgx.Tx, a Account) (stored bool, err error) {
	tag, err := tx.Exec(ctx, `INSERT INTO payee_accounts AS p (stripe_account_id, payee_id, country, currency, schedule_interval, payouts_enabled,
			external_account_id, external_currency, external_errored, instant_offered, negative, as_of)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (stripe_account_id) DO UPDATE SET payee_id = excluded.payee_id, country = excluded.country, currency = excluded.currency,
			schedule_interval = excluded.schedule_interval, payouts_enabled = excluded.payouts_enabled,
			external_account_id = excluded.external_account_id, external_currency = excluded.external_currency,
			external_errored = excluded.external_errored, instant_offered = excluded.instant_offered,
			negative = excluded.negative, as_of = excluded.as_of
		WHERE p.as_of <= excluded.as_of OR p.payee_id <> excluded.payee_id`,
		a.StripeAccountID, a.PayeeID, a.Country, a.Currency, a.ScheduleInterval, a.PayoutsEnabled,
		a.ExternalAccountID, a.ExternalCurrency, a.ExternalErrored, a.InstantOffered, a.Negative, a.AsOf)
	if err != nil {
		return false, fmt.Errorf("payee %s: store how %s was seen: %w", a.PayeeID, a.StripeAccountID, err)
	}
	return tag.RowsAffected() == 1, nil
}

// GetAccount reads how a payee's connected account was seen last; false when it was not yet.
func GetAccount(ctx context.Context, db postgres.DB, payeeID string) (a Account, known bool, err error) {
	rows, err := db.Query(ctx, `SELECT a.stripe_account_id, a.payee_id, a.country, a.currency, a.schedule_interval, a.payouts_enabled,
			a.external_account_id, a.external_currency, a.external_errored, a.instant_offered, a.negative, a.as_of
		FROM payee_accounts a JOIN payees p ON p.stripe_account_id = a.stripe_account_id AND p.id = a.payee_id
		WHERE p.id = $1`, payeeID)
	if err != nil {
		return Account{}, false, fmt.Errorf("payee %s: read its account: %w", payeeID, err)
	}
	a, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Account])
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Account{}, false, nil
	case err != nil:
		return Account{}, false, fmt.Errorf("payee %s: read its account: %w", payeeID, err)
	}
	return a, true, nil
}
