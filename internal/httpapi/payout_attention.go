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
		if h.Finding != "" {
			items[i].Detail += " Stripe was last found to have: " + h.Finding + "."
		}
		if h.BatchID != "" {
			items[i].WorkflowID = workflows.PayPalBatchID(h.BatchID)
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
			Provider: string(m.Rail), Detail: lack(m),
		}
		if m.BatchID != "" {
			items[i].WorkflowID = workflows.PayPalBatchID(m.BatchID)
		}
	}
	return items, nil
}

// lack says what a person can do about missing funds.
func lack(m payout.Shortfall) string {
	if !m.Known {
		return fmt.Sprintf("It was never known what the platform has at this provider, so %d payouts that take %s wait. "+
			"See that it is configured, answers, and lets us read the balance; the next run pays them.", m.Payouts, m.Amount())
	}
	if m.BatchID != "" {
		return fmt.Sprintf("PayPal has less than the %s that a batch of %d payouts needs. Add it there; then the batch is sent by itself, "+
			"and after three days of waiting its payouts are canceled.", m.Amount(), m.Payouts)
	}
	return fmt.Sprintf("The platform lacks %s to pay %d payouts. Add it at the provider; the next run pays them.", m.Amount(), m.Payouts)
}

// latePayouts are the payouts that should have gone on days ago.
func latePayouts(ctx context.Context, db postgres.DB, after attention.Cursor, limit int) ([]attention.Item, error) {
	since, id := after.After(attention.LatePayout)
	late, err := payout.ListLate(ctx, db, since, id, limit)
	if err != nil {
		return nil, err
	}
	items := make([]attention.Item, len(late))
	for i, l := range late {
		items[i] = attention.Item{
			Kind: attention.LatePayout, ID: l.ID, Since: l.Since, CustomerID: l.PayeeID, WorkflowID: workflows.PayoutID(l.ID),
			PayoutID: l.ID, Provider: string(l.Method.Rail()),
			Detail: fmt.Sprintf("This payout is %s for days longer than it should be. See at the provider what it waits for.", l.State),
		}
		if l.BatchID != "" {
			items[i].WorkflowID = workflows.PayPalBatchID(l.BatchID)
		}
	}
	return items, nil
}

// partReversals are the parts of paid payouts that PayPal took back lately.
func partReversals(ctx context.Context, db postgres.DB, after attention.Cursor, limit int) ([]attention.Item, error) {
	since, id := after.After(attention.PartReversal)
	parts, err := payout.ListPartReversals(ctx, db, since, id, limit)
	if err != nil {
		return nil, err
	}
	items := make([]attention.Item, len(parts))
	for i, p := range parts {
		items[i] = attention.Item{
			Kind: attention.PartReversal, ID: p.ID, Since: p.Since, CustomerID: p.PayeeID, PayoutID: p.PayoutID,
			Provider: string(payout.RailPayPal), Subject: p.ID,
			Detail: tookBack(p),
		}
	}
	return items, nil
}

// tookBack says what a person can do about money that PayPal took back.
func tookBack(p payout.PartReversal) string {
	if p.Whole {
		return fmt.Sprintf("PayPal took this paid payout back as a whole, %s, and its item does not say so: the payee has it neither there nor in their "+
			"balance. See at PayPal what is true. If it came back, give it to them by an adjustment; this is shown for two weeks, or until the payout is returned.", p.Part())
	}
	return fmt.Sprintf("PayPal took %s of this paid payout back, which is the payee's again and goes out with the next one. See at PayPal why; this is shown for two weeks.", p.Part())
}

// paidTwice are the payouts that PayPal paid twice, or lately although their money had been released.
func paidTwice(ctx context.Context, db postgres.DB, after attention.Cursor, limit int) ([]attention.Item, error) {
	since, id := after.After(attention.PaidTwice)
	twice, err := payout.ListPaidTwice(ctx, db, since, id, limit)
	if err != nil {
		return nil, err
	}
	items := make([]attention.Item, len(twice))
	for i, p := range twice {
		items[i] = attention.Item{
			Kind: attention.PaidTwice, ID: p.ID, Since: p.Since, CustomerID: p.PayeeID, PayoutID: p.PayoutID,
			Provider: string(payout.RailPayPal), Subject: p.ID, Detail: paidTooMuch(p),
		}
	}
	return items, nil
}

// paidTooMuch says what a person can do about money that a payee has received twice.
func paidTooMuch(p payout.PaidTwice) string {
	if !p.Posted {
		return fmt.Sprintf("PayPal has paid a second item for this payout: the payee has another %s. Have it recorded as a duplicate, which takes it "+
			"into the books as the platform's loss. Then have it back, or take it from their balance by an adjustment below zero.", p.Paid())
	}
	return fmt.Sprintf("PayPal paid this payout after its money had been released: the payee has %s, and has it in their balance. "+
		"It is in the books as the platform's loss. Have it back, or take it from their balance by an adjustment below zero; this is shown for two weeks, "+
		"or until it is recorded as a duplicate.", p.Paid())
}
