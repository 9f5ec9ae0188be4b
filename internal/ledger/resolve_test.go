package ledger_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/ledger"
)

// Wherever a payout's money is, saying that it is paid, or that it failed, brings the books to where
// they would be had everything been known at its time.
func TestResolveFromWherever(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		payout ledger.Payout
		before []act
	}{
		"Stripe: claimed":         {p, []act{claim(p)}},
		"Stripe: transferred":     {p, paidByStripe[:2]},
		"Stripe: under way":       {p, paidByStripe[:3]},
		"Stripe: paid":            {p, paidByStripe},
		"Stripe: failed":          {p, slices.Concat(paidByStripe[:3], []act{on(p, ledger.PayoutFailed)})},
		"Stripe: returned":        {p, slices.Concat(paidByStripe, []act{on(p, ledger.Returned)})},
		"Stripe: without a fee":   {standard, []act{claim(standard), on(standard, ledger.TransferConfirmed)}},
		"PayPal: claimed":         {byPayPal, []act{claim(byPayPal)}},
		"PayPal: accepted":        {byPayPal, paidByPayPal[:2]},
		"PayPal: paid":            {byPayPal, paidByPayPal},
		"PayPal: paid, and a fee": {byPayPal, slices.Concat(paidByPayPal, []act{providerFee(byPayPal, 25, "item/1")})},
	} {
		net := c.payout.Gross.Minor - c.payout.Fee.Minor
		for outcome, resolve := range map[string]struct {
			do                    act
			platform, fees, payee int64
		}{
			"paid":   {on(c.payout, ledger.ResolvedPaid), -net, c.payout.Fee.Minor, -10000},
			"failed": {resolvedFailed(c.payout, usd(net)), 0, 0, 0},
		} {
			t.Run(name+", resolved "+outcome, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				b.do(t, c.before...)
				b.do(t, resolve.do)
				after := b.entries(t)
				b.do(t, resolve.do)
				require.Equal(t, after, b.entries(t), "nothing is missing any more")

				charged := b.balance(t, ledger.ProviderFeeAccount())
				require.Equal(t, resolve.platform-charged, b.balance(t, ledger.PlatformAccount(c.payout.Rail)))
				require.Equal(t, resolve.fees, b.balance(t, ledger.FeesAccount()))
				require.Equal(t, resolve.payee, b.balance(t, ledger.PayeeAccount(ada)))
				for _, empty := range []ledger.Account{
					ledger.InPayoutAccount(ada), ledger.AcctAccount(account), ledger.TransitAccount(c.payout.Rail), ledger.FXAccount(),
				} {
					require.Zero(t, b.balance(t, empty), empty)
				}
			})
		}
	}
}

func TestWhatIsReceivedCountsOnlyWhereATransferIsReversed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.do(t, claim(p), resolvedFailed(p, usd(0)))
	require.Equal(t, []string{"release: in_payout u_ada 100.00", "release: payee u_ada -100.00"}, b.entries(t)[2:])
}

func TestResolveRefusesWhatTheLedgerCannotTell(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.ErrorContains(t, b.try(t, on(p, ledger.ResolvedPaid)), "never claimed")
	require.ErrorContains(t, b.try(t, resolvedFailed(p, usd(0))), "never claimed")

	b.do(t, claim(p), on(p, ledger.TransferConfirmed))
	other := p
	other.Fee = usd(100)
	require.ErrorContains(t, b.try(t, on(other, ledger.ResolvedPaid)), "not what was posted")

	b.do(t, reversed(p, usd(9708)))
	require.ErrorContains(t, b.try(t, on(p, ledger.ResolvedPaid)), "released")
}
