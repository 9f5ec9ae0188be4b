package activities

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/activity"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/workflows"
)

// Stripe calls Stripe for the steps of customers. Each activity is one call.
type Stripe struct {
	pool          *pgxpool.Pool
	customers     *customer.Store
	subscriptions *subscription.Store
	client        *stripe.Client
	attempts      *attempts
	writer        *writer
}

// NewStripe makes the activities. A nil client is a Stripe that is not configured: its steps wait.
func NewStripe(
	pool *pgxpool.Pool, customers *customer.Store, subscriptions *subscription.Store, client *stripe.Client, breaker *provider.Breaker, log *slog.Logger,
) *Stripe {
	attempts := newAttempts(pool, provider.Stripe, breaker, client != nil, log)
	attempts.changeSteps = customers.ChangeSteps
	return &Stripe{
		pool:          pool,
		customers:     customers,
		subscriptions: subscriptions,
		client:        client,
		attempts:      attempts,
		writer:        &writer{pool: pool, requests: provider.NewRequests()},
	}
}

// newCustomer is what the creation of a Stripe customer is frozen as.
type newCustomer struct {
	Params         stripe.CustomerParams `json:"params"`
	ProfileVersion int                   `json:"profile_version"`
}

// restored is the age from which an account without any stored request is not a new one: its
// Stripe customer may have been made before a backup was restored, under a key that has expired.
const restored = 23 * time.Hour

// lookBack is how far before the first request a look-up begins, for clocks that differ.
const lookBack = 5 * time.Minute

// CreateStripeCustomer makes the account's one Stripe customer and binds it, or finds and adopts
// the one that an earlier attempt made.
func (s *Stripe) CreateStripeCustomer(ctx context.Context, in workflows.CallInput) error {
	return s.try(ctx, in, func(ctx context.Context, c customer.Customer) error {
		if c.StripeConfirmed {
			return s.finishAlone(ctx, in)
		}
		return s.writer.do(ctx, write{
			operation: operation("create_customer", c.ID),
			mayExist:  time.Since(c.CreatedAt) > restored,
			params: newCustomer{
				Params: stripe.CustomerParams{
					Email: c.Email, Name: c.Name, Country: c.Country, HoldfastCustomerID: c.ID, Metadata: c.Metadata,
				},
				ProfileVersion: c.ProfileVersion,
			},
			send: func(ctx context.Context, request provider.Request) (string, error) {
				var frozen newCustomer
				if err := request.Decode(&frozen); err != nil {
					return "", err
				}
				created, err := s.client.CreateCustomer(ctx, request.Key, frozen.Params)
				return created.ID, err
			},
			find: func(ctx context.Context, request provider.Request) (string, bool, error) {
				return s.findCustomer(ctx, c, request)
			},
			record: func(ctx context.Context, tx pgx.Tx, request provider.Request, objectID string) error {
				var frozen newCustomer
				if err := request.Decode(&frozen); err != nil {
					return err
				}
				return s.bind(ctx, tx, in, objectID, frozen.ProfileVersion)
			},
		})
	})
}

// findCustomer looks for the customer that a request may have made.
func (s *Stripe) findCustomer(ctx context.Context, c customer.Customer, request provider.Request) (string, bool, error) {
	var frozen newCustomer
	if err := request.Decode(&frozen); err != nil {
		return "", false, err
	}
	since := c.CreatedAt
	if request.FirstSentAt != nil {
		since = *request.FirstSentAt
	}
	found, ok, err := s.client.FindCustomer(ctx, stripe.FindCustomerParams{
		Email: frozen.Params.Email, CreatedFrom: since.Add(-lookBack), HoldfastCustomerID: c.ID,
	})
	return found.ID, ok, err
}

// Codes of a Stripe customer that is not the account's.
const codeForeignCustomer = "belongs_to_another_account"

// VerifyStripeCustomer reads the Stripe customer that the app brought: it must exist and carry
// nobody else's id.
func (s *Stripe) VerifyStripeCustomer(ctx context.Context, in workflows.CallInput) error {
	return s.try(ctx, in, func(ctx context.Context, c customer.Customer) error {
		if c.StripeConfirmed {
			return nil
		}
		brought, err := s.client.GetCustomer(ctx, c.StripeCustomerID)
		if err != nil {
			return err
		}
		if owner := brought.HoldfastCustomerID(); owner != "" && owner != c.ID {
			return rejected(codeForeignCustomer)
		}
		return nil
	})
}

// asBrought is the profile that a Stripe customer of the app's own has: the first one. Claiming it
// carries no e-mail and no name, so a change since then is still to be carried.
const asBrought = 1

// ClaimStripeCustomer puts our metadata on the Stripe customer that the app brought, and binds it.
func (s *Stripe) ClaimStripeCustomer(ctx context.Context, in workflows.CallInput) error {
	return s.try(ctx, in, func(ctx context.Context, c customer.Customer) error {
		if c.StripeConfirmed {
			return s.finishAlone(ctx, in)
		}
		return s.update(ctx, c, update{
			operation: operation("claim_customer", c.ID),
			change:    stripe.CustomerUpdate{HoldfastCustomerID: c.ID},
			took:      func(now stripe.Customer) bool { return now.HoldfastCustomerID() == c.ID },
			record: func(ctx context.Context, tx pgx.Tx) error {
				if err := s.subscriptions.Mark(ctx, tx, provider.Stripe, subscription.ByBinding, c.ID); err != nil {
					return err // it may have subscriptions already
				}
				return s.bind(ctx, tx, in, c.StripeCustomerID, asBrought)
			},
		})
	})
}

// FindPromotionCode gives Stripe's id of the promo code that signup promised.
func (s *Stripe) FindPromotionCode(ctx context.Context, in workflows.CallInput) (workflows.FindResult, error) {
	var found workflows.FindResult
	err := s.try(ctx, in, func(ctx context.Context, c customer.Customer) (err error) {
		found.ID, err = s.client.FindPromotionCode(ctx, c.PromoCode)
		return err
	})
	return found, err
}

// ApplyPromotionCode gives the customer the discount of a promotion code.
func (s *Stripe) ApplyPromotionCode(ctx context.Context, in workflows.CallInput) error {
	return s.try(ctx, in, func(ctx context.Context, c customer.Customer) error {
		return s.update(ctx, c, update{
			operation: operation("apply_promotion_code", c.ID),
			change:    stripe.CustomerUpdate{PromotionCodeID: in.PromotionCodeID},
			took:      func(now stripe.Customer) bool { return now.PromotionCodeID == in.PromotionCodeID },
			record:    func(ctx context.Context, tx pgx.Tx) error { return s.finish(ctx, tx, in) },
		})
	})
}

// UpdateStripeProfile carries the newest e-mail and name to Stripe, and tells whether a newer one
// came meanwhile.
func (s *Stripe) UpdateStripeProfile(ctx context.Context, in workflows.CallInput) (workflows.UpdateResult, error) {
	var result workflows.UpdateResult
	err := s.try(ctx, in, func(ctx context.Context, c customer.Customer) error {
		if c.StripeProfileVersion >= c.ProfileVersion {
			return s.finishAlone(ctx, in)
		}
		return s.update(ctx, c, update{
			operation: operation("update_profile", c.ID+"/"+versionOf(c)),
			change:    stripe.CustomerUpdate{Email: &c.Email, Name: &c.Name},
			took:      func(now stripe.Customer) bool { return now.Email == c.Email && now.Name == c.Name },
			record: func(ctx context.Context, tx pgx.Tx) (err error) {
				if result.Newer, err = customer.ProfileCarried(ctx, tx, c.ID, c.ProfileVersion); err != nil || result.Newer {
					return err
				}
				return s.finish(ctx, tx, in)
			},
		})
	})
	return result, err
}

// update is a change of the account's Stripe customer.
type update struct {
	operation provider.Operation
	change    stripe.CustomerUpdate
	// took says whether the Stripe customer shows the change.
	took   func(stripe.Customer) bool
	record func(context.Context, pgx.Tx) error
}

func (s *Stripe) update(ctx context.Context, c customer.Customer, u update) error {
	return s.writer.do(ctx, write{
		operation: u.operation,
		params:    u.change,
		send: func(ctx context.Context, request provider.Request) (string, error) {
			var frozen stripe.CustomerUpdate
			if err := request.Decode(&frozen); err != nil {
				return "", err
			}
			updated, err := s.client.UpdateCustomer(ctx, request.Key, c.StripeCustomerID, frozen)
			return updated.ID, err
		},
		find: func(ctx context.Context, _ provider.Request) (string, bool, error) {
			now, err := s.client.GetCustomer(ctx, c.StripeCustomerID)
			return now.ID, err == nil && u.took(now), err
		},
		record: func(ctx context.Context, tx pgx.Tx, _ provider.Request, _ string) error { return u.record(ctx, tx) },
	})
}

// try makes one attempt at a customer's step, with the customer as it is now.
func (s *Stripe) try(ctx context.Context, in workflows.CallInput, do func(context.Context, customer.Customer) error) error {
	return s.attempts.try(ctx, in.Step, func(ctx context.Context) error {
		c, err := customer.Get(ctx, s.pool, in.CustomerID)
		if err != nil {
			return err
		}
		return do(ctx, c)
	})
}

// bind records the account's one Stripe customer and that the step is done. What webhooks told of it
// before is the account's from now on.
func (s *Stripe) bind(ctx context.Context, tx pgx.Tx, in workflows.CallInput, stripeCustomerID string, profileVersion int) error {
	err := customer.BindStripe(ctx, tx, in.CustomerID, stripeCustomerID, profileVersion)
	if errors.Is(err, customer.ErrBoundElsewhere) {
		return rejected(codeBoundElsewhere)
	}
	if err != nil {
		return err
	}
	missed, err := subscription.Adopt(ctx, tx, in.CustomerID, provider.Stripe, stripeCustomerID)
	if err != nil {
		return err
	}
	if missed > 0 {
		if err := s.subscriptions.Mark(ctx, tx, provider.Stripe, subscription.ByBinding, in.CustomerID); err != nil {
			return err
		}
	}
	return s.finish(ctx, tx, in)
}

// finish records that the step is done, as the last act of a transaction.
func (s *Stripe) finish(ctx context.Context, tx pgx.Tx, in workflows.CallInput) error {
	workflowID := activity.GetInfo(ctx).WorkflowExecution.ID
	return s.customers.ChangeSteps(ctx, tx, workflowID, func() error { return step.Finish(ctx, tx, workflowID, in.Step, step.Done) })
}

// finishAlone is finish where there is nothing else to record.
func (s *Stripe) finishAlone(ctx context.Context, in workflows.CallInput) error {
	return postgres.InTx(ctx, s.pool, func(tx pgx.Tx) error { return s.finish(ctx, tx, in) })
}

func operation(name, subject string) provider.Operation {
	return provider.Operation{Provider: provider.Stripe, Operation: name, Subject: subject}
}

// rejected is a refusal that we, not Stripe, give.
func rejected(code string) error {
	return &provider.Failure{Provider: provider.Stripe, Class: provider.Rejected, Code: code}
}

func versionOf(c customer.Customer) string { return strconv.Itoa(c.ProfileVersion) }
