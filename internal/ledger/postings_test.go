package ledger_test

import (
	"context"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/ledger"
)

// example is what happened before, what happens now, and the entries that it makes: debits before
// credits, which are negative.
type example struct {
	before []act
	acts   []act
	want   []string
}

var (
	p, byPayPal, standard = instant(), itemOf(instant()), withoutFee(instant())

	paidByStripe = []act{claim(p), on(p, ledger.TransferConfirmed), on(p, ledger.PayoutConfirmed), on(p, ledger.Paid)}
	paidByPayPal = []act{claim(byPayPal), on(byPayPal, ledger.ItemAccepted), on(byPayPal, ledger.Paid)}
)

// The postings of RULES.md by their numbers: 100.00 by instant payout is a gross of 100.00, a net of
// 97.08 and a fee of 2.92.
var examples = map[string]example{
	"1 earning": {
		acts: []act{earning(ada, usd(10000), friday, "sale")},
		want: []string{"earning: app 100.00", "earning: payee u_ada -100.00"},
	},
	"2 refund": {
		acts: []act{refund(ada, usd(10000), friday, "back")},
		want: []string{"refund: payee u_ada 100.00", "refund: app -100.00"},
	},
	"3 claim": {
		acts: []act{claim(p)},
		want: []string{"claim: payee u_ada 100.00", "claim: in_payout u_ada -100.00"},
	},
	"4 release": {
		before: []act{claim(p)},
		acts:   []act{ending(p, ledger.Release)},
		want:   []string{"release: in_payout u_ada 100.00", "release: payee u_ada -100.00"},
	},
	"5 transfer confirmed": {
		before: []act{claim(p)},
		acts:   []act{on(p, ledger.TransferConfirmed)},
		want:   []string{"transfer: acct acct_ada 97.08", "transfer: platform stripe -97.08"},
	},
	"6 payout object confirmed": {
		before: []act{claim(p), on(p, ledger.TransferConfirmed)},
		acts:   []act{on(p, ledger.PayoutConfirmed)},
		want:   []string{"payout: transit stripe 97.08", "payout: acct acct_ada -97.08"},
	},
	"7 paid by Stripe": {
		before: []act{claim(p), on(p, ledger.TransferConfirmed), on(p, ledger.PayoutConfirmed)},
		acts:   []act{on(p, ledger.Paid)},
		want:   []string{"paid: in_payout u_ada 100.00", "paid: fees -2.92", "paid: transit stripe -97.08"},
	},
	"7 paid by Stripe, without a fee": {
		before: []act{claim(standard), on(standard, ledger.TransferConfirmed), on(standard, ledger.PayoutConfirmed)},
		acts:   []act{on(standard, ledger.Paid)},
		want:   []string{"paid: in_payout u_ada 100.00", "paid: transit stripe -100.00"},
	},
	"8 payout failed or canceled": {
		before: []act{claim(p), on(p, ledger.TransferConfirmed), on(p, ledger.PayoutConfirmed)},
		acts:   []act{on(p, ledger.PayoutFailed)},
		want:   []string{"payout_failed: acct acct_ada 97.08", "payout_failed: transit stripe -97.08"},
	},
	"8, then 9 and 4": {
		before: []act{claim(p), on(p, ledger.TransferConfirmed), on(p, ledger.PayoutConfirmed), on(p, ledger.PayoutFailed)},
		acts:   []act{reversed(p, usd(9708))},
		want: []string{
			"reversal: platform stripe 97.08", "reversal: acct acct_ada -97.08",
			"release: in_payout u_ada 100.00", "release: payee u_ada -100.00",
		},
	},
	"9 reversal with a loss by exchange": {
		before: []act{claim(p), on(p, ledger.TransferConfirmed)},
		acts:   []act{reversed(p, usd(9600))},
		want: []string{
			"reversal: fx 1.08", "reversal: platform stripe 96.00", "reversal: acct acct_ada -97.08",
			"release: in_payout u_ada 100.00", "release: payee u_ada -100.00",
		},
	},
	"9 reversal with a gain by exchange": {
		before: []act{claim(p), on(p, ledger.TransferConfirmed)},
		acts:   []act{reversed(p, usd(9800))},
		want: []string{
			"reversal: platform stripe 98.00", "reversal: acct acct_ada -97.08", "reversal: fx -0.92",
			"release: in_payout u_ada 100.00", "release: payee u_ada -100.00",
		},
	},
	"10 returned after paid": {
		before: paidByStripe,
		acts:   []act{on(p, ledger.Returned)},
		want:   []string{"returned: acct acct_ada 97.08", "returned: fees 2.92", "returned: in_payout u_ada -100.00"},
	},
	"10, then 9 and 4": {
		before: slices.Concat(paidByStripe, []act{on(p, ledger.Returned)}),
		acts:   []act{reversed(p, usd(9708))},
		want: []string{
			"reversal: platform stripe 97.08", "reversal: acct acct_ada -97.08",
			"release: in_payout u_ada 100.00", "release: payee u_ada -100.00",
		},
	},
	"11 payout refused after the transfer, then 9 and 4": { // the refusal itself posts nothing
		before: []act{claim(p), on(p, ledger.TransferConfirmed)},
		acts:   []act{reversed(p, usd(9708))},
		want: []string{
			"reversal: platform stripe 97.08", "reversal: acct acct_ada -97.08",
			"release: in_payout u_ada 100.00", "release: payee u_ada -100.00",
		},
	},
	"12 batch refused, then 4": { // the refusal itself posts nothing
		before: []act{claim(byPayPal)},
		acts:   []act{ending(byPayPal, ledger.Release)},
		want:   []string{"release: in_payout u_ada 100.00", "release: payee u_ada -100.00"},
	},
	"13 accepted by PayPal": {
		before: []act{claim(byPayPal)},
		acts:   []act{on(byPayPal, ledger.ItemAccepted)},
		want:   []string{"accepted: transit paypal 97.08", "accepted: platform paypal -97.08"},
	},
	"14 the provider's own fee": {
		before: []act{claim(byPayPal)},
		acts:   []act{providerFee(byPayPal, 25, "item/1")},
		want:   []string{"provider_fee: provider_fee 0.25", "provider_fee: platform paypal -0.25"},
	},
	"14 the same, given back": {
		before: []act{claim(byPayPal)},
		acts:   []act{providerFee(byPayPal, -25, "item/1/refund")},
		want:   []string{"provider_fee: platform paypal 0.25", "provider_fee: provider_fee -0.25"},
	},
	"14 none": {
		before: []act{claim(byPayPal)},
		acts:   []act{providerFee(byPayPal, 0, "item/1")},
		want:   []string{},
	},
	"15 SUCCESS at PayPal": {
		before: []act{claim(byPayPal), on(byPayPal, ledger.ItemAccepted)},
		acts:   []act{on(byPayPal, ledger.Paid)},
		want:   []string{"paid: in_payout u_ada 100.00", "paid: fees -2.92", "paid: transit paypal -97.08"},
	},
	// 16: what is unclaimed, on hold or held posts nothing.
	"17 failed, returned, canceled or denied at PayPal, then 4": {
		before: []act{claim(byPayPal), on(byPayPal, ledger.ItemAccepted)},
		acts:   []act{ending(byPayPal, ledger.ItemFailed)},
		want: []string{
			"item_failed: platform paypal 97.08", "item_failed: transit paypal -97.08",
			"release: in_payout u_ada 100.00", "release: payee u_ada -100.00",
		},
	},
	"18 reversed or refunded after paid, whole, then 4": {
		before: paidByPayPal,
		acts:   []act{ending(byPayPal, ledger.ItemReversed)},
		want: []string{
			"item_reversed: fees 2.92", "item_reversed: platform paypal 97.08", "item_reversed: in_payout u_ada -100.00",
			"release: in_payout u_ada 100.00", "release: payee u_ada -100.00",
		},
	},
	"19 the same, a part": {
		before: paidByPayPal,
		acts: []act{func(ctx context.Context, tx pgx.Tx) error {
			return ledger.ItemPartlyReversed(ctx, tx, byPayPal, usd(4000), friday, "paypal/T-1")
		}},
		want: []string{"partly_reversed: platform paypal 40.00", "partly_reversed: payee u_ada -40.00"},
	},
	"18 after a part, without its 4": {
		before: append(slices.Clone(paidByPayPal), func(ctx context.Context, tx pgx.Tx) error {
			return ledger.ItemPartlyReversed(ctx, tx, byPayPal, usd(4000), friday, "paypal/T-1")
		}),
		acts: []act{on(byPayPal, ledger.ItemTakenBack)},
		want: []string{
			"partly_reversed: payee u_ada 40.00", "partly_reversed: platform paypal -40.00",
			"item_reversed: fees 2.92", "item_reversed: platform paypal 97.08", "item_reversed: in_payout u_ada -100.00",
		},
	},
	"20 resolved paid, of which 5 was known": {
		before: []act{claim(p), on(p, ledger.TransferConfirmed)},
		acts:   []act{on(p, ledger.ResolvedPaid)},
		want: []string{
			"payout: transit stripe 97.08", "payout: acct acct_ada -97.08",
			"paid: in_payout u_ada 100.00", "paid: fees -2.92", "paid: transit stripe -97.08",
		},
	},
	"20 resolved failed, of which 6 was known": {
		before: []act{claim(p), on(p, ledger.TransferConfirmed), on(p, ledger.PayoutConfirmed)},
		acts:   []act{resolvedFailed(p, usd(9708))},
		want: []string{
			"payout_failed: acct acct_ada 97.08", "payout_failed: transit stripe -97.08",
			"reversal: platform stripe 97.08", "reversal: acct acct_ada -97.08",
			"release: in_payout u_ada 100.00", "release: payee u_ada -100.00",
		},
	},
	"21 duplicate movement": {
		before: paidByStripe,
		acts: []act{func(ctx context.Context, tx pgx.Tx) error {
			return ledger.Duplicate(ctx, tx, p, usd(9708), friday, "stripe/tr_2")
		}},
		want: []string{"duplicate: writeoff 97.08", "duplicate: platform stripe -97.08"},
	},
	"21 recovered": {
		acts: []act{adjustment(ada, -9708, "correction/u_ada/1")},
		want: []string{"adjustment: payee u_ada 97.08", "adjustment: writeoff -97.08"},
	},
	"22 write-off of a negative balance": {
		acts: []act{func(ctx context.Context, tx pgx.Tx) error {
			return ledger.WriteOff(ctx, tx, ada, usd(500), friday, "correction/u_ada/1")
		}},
		want: []string{"write_off: writeoff 5.00", "write_off: payee u_ada -5.00"},
	},
	"22 adjustment": {
		acts: []act{adjustment(ada, 500, "correction/u_ada/1")},
		want: []string{"adjustment: writeoff 5.00", "adjustment: payee u_ada -5.00"},
	},
}

func TestPostingsByExample(t *testing.T) {
	t.Parallel()
	for name, e := range examples {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.do(t, e.before...)
			before := b.entries(t)

			b.do(t, e.acts...)
			require.Equal(t, e.want, b.entries(t)[len(before):])

			b.do(t, e.acts...) // once more
			require.Len(t, b.entries(t), len(before)+len(e.want), "the same again posts nothing")
		})
	}
}

func providerFee(p ledger.Payout, minor int64, source string) act {
	return func(ctx context.Context, tx pgx.Tx) error {
		return ledger.ProviderFee(ctx, tx, p, usd(minor), friday, source)
	}
}

func adjustment(payeeID string, minor int64, source string) act {
	return func(ctx context.Context, tx pgx.Tx) error {
		return ledger.Adjustment(ctx, tx, payeeID, usd(minor), friday, source)
	}
}
