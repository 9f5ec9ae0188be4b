package subscription

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
)

// BindingStatus is how far a PayPal subscription is on its way to belong to a customer.
type BindingStatus string

// A binding is asked for by the app, and decided by what PayPal's custom_id says.
const (
	Asked   BindingStatus = "asked"
	Bound   BindingStatus = "bound"
	Refused BindingStatus = "refused"
)

// Why a binding was refused.
const (
	RefusedCustomID = "custom_id_is_not_the_customer" // it was made for somebody else, or without our id
	RefusedNotFound = "no_such_subscription"
	RefusedTaken    = "belongs_to_another_customer"
)

// Binding is a PayPal subscription and the customer who is said to have it.
type Binding struct {
	SubscriptionID string
	CustomerID     string
	Status         BindingStatus
	Reason         string
	Operator       string // who bound it, whatever custom_id says
	AskedAt        time.Time
}

var payPalID = regexp.MustCompile(`^I-[A-Z0-9]{1,48}$`)

// ValidPayPalID says whether the text can be the id of a PayPal subscription.
func ValidPayPalID(id string) bool { return payPalID.MatchString(id) }

// ErrTaken means that a PayPal subscription is bound to another customer.
var ErrTaken = errors.New("the PayPal subscription belongs to another customer")

// Bind asks for a PayPal subscription to be the customer's, and has it read. One that is theirs
// already stays so; one that was refused is asked for again. An operator, if named, vouches for it
// whatever PayPal's custom_id says. A subscription that is bound to somebody else is ErrTaken.
func (s *Store) Bind(ctx context.Context, tx pgx.Tx, customerID, subscriptionID, operator string) (Binding, error) {
	var taken bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM paypal_bindings WHERE subscription_id = $1 AND status = 'bound' AND customer_id <> $2)`,
		subscriptionID, customerID).Scan(&taken)
	if err != nil {
		return Binding{}, fmt.Errorf("customer %s: bind %s: %w", customerID, subscriptionID, err)
	}
	if taken {
		return Binding{}, fmt.Errorf("customer %s: bind %s: %w", customerID, subscriptionID, ErrTaken)
	}
	_, err = tx.Exec(ctx, `INSERT INTO paypal_bindings AS b (customer_id, subscription_id, operator) VALUES ($1, $2, $3)
		ON CONFLICT (customer_id, subscription_id) DO UPDATE SET
			status = CASE WHEN b.status = 'bound' THEN b.status ELSE 'asked' END, reason = '',
			asked_at = CASE WHEN b.status = 'bound' THEN b.asked_at ELSE clock_timestamp() END,
			operator = coalesce(nullif(excluded.operator, ''), b.operator)`, customerID, subscriptionID, operator)
	if err != nil {
		return Binding{}, fmt.Errorf("customer %s: bind %s: %w", customerID, subscriptionID, err)
	}
	if err := s.Mark(ctx, tx, provider.PayPal, ByBinding, customerID); err != nil {
		return Binding{}, err
	}
	return GetBinding(ctx, tx, customerID, subscriptionID)
}

// GetBinding reads a binding that was asked for.
func GetBinding(ctx context.Context, db postgres.DB, customerID, subscriptionID string) (Binding, error) {
	rows, err := db.Query(ctx, `SELECT `+bindingColumns+` FROM paypal_bindings WHERE customer_id = $1 AND subscription_id = $2`, customerID, subscriptionID)
	if err != nil {
		return Binding{}, fmt.Errorf("customer %s: read the binding of %s: %w", customerID, subscriptionID, err)
	}
	b, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Binding])
	if err != nil {
		return Binding{}, fmt.Errorf("customer %s: read the binding of %s: %w", customerID, subscriptionID, err)
	}
	return b, nil
}

const bindingColumns = `subscription_id, customer_id, status, reason, operator, asked_at`

// ToRead are the PayPal subscriptions that a read of the customer walks: those that are theirs, and
// those that may become so.
func ToRead(ctx context.Context, db postgres.DB, customerID string) ([]Binding, error) {
	rows, err := db.Query(ctx, `SELECT `+bindingColumns+` FROM paypal_bindings
		WHERE customer_id = $1 AND status <> 'refused' ORDER BY asked_at, subscription_id`, customerID)
	if err != nil {
		return nil, fmt.Errorf("customer %s: list its PayPal subscriptions: %w", customerID, err)
	}
	bindings, err := pgx.CollectRows(rows, pgx.RowToStructByName[Binding])
	if err != nil {
		return nil, fmt.Errorf("customer %s: list its PayPal subscriptions: %w", customerID, err)
	}
	return bindings, nil
}

// Confirm makes a PayPal subscription the customer's, if it is nobody else's. What it hears of the
// subscription from webhooks before is the customer's from now on.
func Confirm(ctx context.Context, tx pgx.Tx, b Binding) (bound bool, err error) {
	var violation *pgconn.PgError
	tag, err := tx.Exec(ctx, `UPDATE paypal_bindings b SET status = 'bound', reason = '', decided_at = coalesce(decided_at, now())
		WHERE customer_id = $1 AND subscription_id = $2 AND NOT EXISTS (
			SELECT FROM paypal_bindings o WHERE o.subscription_id = $2 AND o.status = 'bound' AND o.customer_id <> $1)`,
		b.CustomerID, b.SubscriptionID)
	switch {
	case errors.As(err, &violation) && violation.ConstraintName == "paypal_bindings_one_owner":
		return false, fmt.Errorf("customer %s: bind %s: somebody else was bound at this moment: %w", b.CustomerID, b.SubscriptionID, err)
	case err != nil:
		return false, fmt.Errorf("customer %s: bind %s: %w", b.CustomerID, b.SubscriptionID, err)
	case tag.RowsAffected() == 0:
		return false, nil
	}
	_, err = Adopt(ctx, tx, b.CustomerID, provider.PayPal, b.SubscriptionID)
	return true, err
}

// Refuse ends a binding that was asked for. One that was asked for again since it was looked at stays:
// what made it wrong may be over, or an operator may vouch for it by now.
func Refuse(ctx context.Context, tx pgx.Tx, b Binding, reason string) error {
	_, err := tx.Exec(ctx, `UPDATE paypal_bindings SET status = 'refused', reason = $3, decided_at = now()
		WHERE customer_id = $1 AND subscription_id = $2 AND status = 'asked' AND asked_at = $4`, b.CustomerID, b.SubscriptionID, reason, b.AskedAt)
	if err != nil {
		return fmt.Errorf("customer %s: refuse to bind %s: %w", b.CustomerID, b.SubscriptionID, err)
	}
	return nil
}

// Adopt gives a customer the webhook events that came before their subject was known here. It tells
// how many there were: the customer is to be marked if there were any.
func Adopt(ctx context.Context, tx pgx.Tx, customerID string, p provider.Name, subject string) (int64, error) {
	if err := LockSubjects(ctx, tx, p, subject); err != nil {
		return 0, err
	}
	tag, err := tx.Exec(ctx, `UPDATE webhook_events SET effect = 'sync', customer_id = $1
		WHERE provider = $2 AND subject = $3 AND effect IN ('unknown', 'dismissed')`, customerID, p, subject)
	if err != nil {
		return 0, fmt.Errorf("customer %s: take over the events of %s: %w", customerID, subject, err)
	}
	return tag.RowsAffected(), nil
}

// LockSubjects keeps others, until the transaction ends, from storing an event of these subjects as
// nobody's and from making them somebody's: with both at once, neither would see the other. The
// subjects must be sorted.
func LockSubjects(ctx context.Context, tx pgx.Tx, p provider.Name, subjects ...string) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1 || '/' || subject, 0))
		FROM unnest($2::text[]) WITH ORDINALITY AS s (subject, place) ORDER BY place`, string(p), subjects)
	if err != nil {
		return fmt.Errorf("lock %d subjects at %s: %w", len(subjects), p, err)
	}
	return nil
}

// RecordVouching keeps which operator bound a PayPal subscription to a customer, and why.
func RecordVouching(ctx context.Context, db postgres.DB, operator, customerID, subscriptionID, note string) error {
	_, err := db.Exec(ctx, `INSERT INTO operator_actions (actor, action, subject, note) VALUES ($1, 'bind_paypal_subscription', $2, $3)`,
		operator, customerID+"/"+subscriptionID, note)
	if err != nil {
		return fmt.Errorf("customer %s: record that %s was bound by %s: %w", customerID, subscriptionID, operator, err)
	}
	return nil
}
