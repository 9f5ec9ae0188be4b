package activities

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/workflows"
)

// PayPalFunds reads what the platform has at PayPal.
type PayPalFunds struct{ funds }

// NewPayPalFunds makes the activity. A nil client is a PayPal that is not configured.
func NewPayPalFunds(pool *pgxpool.Pool, payouts *payout.Store, client *paypal.Client, breaker *provider.Breaker, log *slog.Logger) *PayPalFunds {
	return &PayPalFunds{funds{
		pool: pool, payouts: payouts, rail: payout.RailPayPal,
		attempts: newAttempts(pool, provider.PayPal, breaker, client != nil, log),
		read: func(ctx context.Context) ([]money.Amount, error) {
			has, err := client.ListBalances(ctx)
			if err != nil {
				return nil, err
			}
			return fromPayPalBalances(has, payouts.Policy())
		},
	}}
}

// ReadPayPalFunds reads what the platform has available at PayPal. What PayPal says may be three hours
// old: what moved since then counts as not yet taken from it.
func (f *PayPalFunds) ReadPayPalFunds(ctx context.Context, in workflows.FundsInput) error {
	return f.refresh(ctx, in)
}

// fromPayPalBalances is what there is of every currency that PayPal pays out, also when that is nothing.
func fromPayPalBalances(has paypal.Balances, policy payout.Policy) ([]money.Amount, error) {
	var all []money.Amount
	for currency, limits := range policy.Currencies {
		if limits.PayPalCap == 0 {
			continue
		}
		available := money.Zero(currency)
		for _, balance := range has.Available {
			if strings.ToLower(balance.Currency) != string(currency) {
				continue
			}
			var err error
			if available, err = money.Parse(balance.Value, currency); err != nil {
				return nil, fmt.Errorf("read PayPal's balance: %w", err)
			}
		}
		all = append(all, available)
	}
	return all, nil
}
