package webhook

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/subscription"
)

// patience is how long a subject may be nobody's before people are told: apps make a provider's
// customer a moment before they tell us whose it is.
const patience = 10 * time.Minute

// Stranger is somebody at a provider of whom we get events, and who is nobody's here.
type Stranger struct {
	Provider provider.Name
	Subject  string
	Since    time.Time
	Events   int
	PayeeID  string // on whose connected account it is; empty when it is on nobody's
}

// ID names a stranger among all of them.
func (s Stranger) ID() string { return string(s.Provider) + "/" + s.Subject }

// ListStrangers lists who stays unknown, longest first and then by id: those since the moment or later,
// and at that very moment those behind the id.
func ListStrangers(ctx context.Context, db postgres.DB, since time.Time, id string, limit int) ([]Stranger, error) {
	rows, err := db.Query(ctx, `SELECT provider, subject, min(received_at) AS since, count(*) AS events,
			coalesce((SELECT p.id FROM payees p WHERE p.stripe_account_id = max(account)), '') AS payee_id FROM webhook_events
		WHERE effect = 'unknown' GROUP BY provider, subject
		HAVING min(received_at) < now() - $4::interval AND (min(received_at), (provider || '/' || subject) COLLATE "C") > ($1, $2)
		ORDER BY min(received_at), (provider || '/' || subject) COLLATE "C" LIMIT $3`, since, id, limit, patience)
	if err != nil {
		return nil, fmt.Errorf("list who is unknown: %w", err)
	}
	strangers, err := pgx.CollectRows(rows, pgx.RowToStructByName[Stranger])
	if err != nil {
		return nil, fmt.Errorf("list who is unknown: %w", err)
	}
	return strangers, nil
}

// Dismiss says that a subject is nobody's here and shall be, now and when more is heard of it. It
// records who said so and why, and tells whether there was anything to dismiss.
func Dismiss(ctx context.Context, tx pgx.Tx, p provider.Name, subject, operator, note string) (bool, error) {
	if err := subscription.LockSubjects(ctx, tx, p, subject); err != nil {
		return false, err
	}
	tag, err := tx.Exec(ctx, `UPDATE webhook_events SET effect = 'dismissed' WHERE provider = $1 AND subject = $2 AND effect = 'unknown'`, p, subject)
	if err != nil {
		return false, fmt.Errorf("dismiss %s of %s: %w", subject, p, err)
	}
	if tag.RowsAffected() == 0 {
		return false, nil
	}
	_, err = tx.Exec(ctx, `INSERT INTO operator_actions (actor, action, subject, note) VALUES ($1, 'dismiss_unknown_subject', $2, $3)`,
		operator, string(p)+"/"+subject, note)
	if err != nil {
		return false, fmt.Errorf("record that %s of %s was dismissed: %w", subject, p, err)
	}
	return true, nil
}
