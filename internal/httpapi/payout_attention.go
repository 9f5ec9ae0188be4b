package httpapi

import (
	"context"
	"fmt"

	"github.com/holdfast/holdfast/internal/attention"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/workflows"
)

// heldPayouts are the payouts of which nobody knows what became.
func heldPayouts(ctx context.Context, db postgres.DB, after attention.Cursor, limit int) ([]attention.Item, error) {
	since, id := after.After(attention.HeldPayout)
	held, err := payout.ListHeld(ctx, db, since, id, limit)
	if err != nil {
		return nil, err
	}
	items := make([]attention.Item, len(held))
	for i, h := range held {
		items[i] = attention.Item{
			Kind: attention.HeldPayout, ID: h.ID, Since: h.Since, CustomerID: h.PayeeID, WorkflowID: workflows.PayoutID(h.ID),
			PayoutID: h.ID, Provider: string(h.Method.Rail()), LastError: h.Reason,
			Detail: "What became of this payout is not known. Look for it at the provider, and resolve it as paid or failed.",
		}
	}
	return items, nil
}

// unapprovedRuns are the runs that wait until somebody approves what they pay.
func unapprovedRuns(ctx context.Context, db postgres.DB, after attention.Cursor, limit int) ([]attention.Item, error) {
	since, id := after.After(attention.UnapprovedRun)
	runs, err := payout.ListUnapproved(ctx, db, since, id, limit)
	if err != nil {
		return nil, err
	}
	items := make([]attention.Item, len(runs))
	for i, r := range runs {
		items[i] = attention.Item{
			Kind: attention.UnapprovedRun, ID: r.Date.String(), Since: r.Since, WorkflowID: workflows.PayoutRunID(r.Date), RunDate: r.Date.String(),
			Detail: "This run pays more than it may without an approval. Look at its sums, and approve it.",
		}
	}
	return items, nil
}

// missingFunds is what the platform lacks to pay everybody.
func missingFunds(ctx context.Context, db postgres.DB, after attention.Cursor, limit int) ([]attention.Item, error) {
	since, id := after.After(attention.PayoutFunds)
	missing, err := payout.ListShortfalls(ctx, db, since, id, limit)
	if err != nil {
		return nil, err
	}
	items := make([]attention.Item, len(missing))
	for i, m := range missing {
		items[i] = attention.Item{
			Kind: attention.PayoutFunds, ID: m.ID, Since: m.Since, WorkflowID: workflows.PayoutRunID(m.RunDate), RunDate: m.RunDate.String(),
			Provider: string(m.Rail),
			Detail:   fmt.Sprintf("The platform lacks %s to pay %d payouts. Add it at the provider; the next run pays them.", m.Amount(), m.Payouts),
		}
	}
	return items, nil
}
