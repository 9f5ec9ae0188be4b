package simulator_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast/holdfast/internal/simulator"
)

// holder is what one should have in one currency, by what was done.
type holder struct{ available, pending int64 }

// ledger is a model of the money: what each movement does to whom.
type ledger struct {
	holders map[string]map[string]*holder // by account, empty for our own, and currency
	putIn   map[string]int64
	away    map[string]int64  // on the way out or paid
	lots    map[string]*lot   // by transfer
	payouts map[string]*leave // by payout
}

type lot struct {
	account, currency  string
	left, notAvailable int64
}

type leave struct {
	account, currency, status string
	amount                    int64
}

func (l *ledger) of(account, currency string) *holder {
	if l.holders[account] == nil {
		l.holders[account] = map[string]*holder{}
	}
	if l.holders[account][currency] == nil {
		l.holders[account][currency] = &holder{}
	}
	return l.holders[account][currency]
}

// trial is a random sequence of calls to the simulator and to the model.
type trial struct {
	bundle

	*ledger

	random   *rand.Rand
	accounts []string
	calls    int
	done     map[string]int // calls that moved money, by kind
}

func (r *trial) account() string  { return r.accounts[r.random.IntN(len(r.accounts))] }
func (r *trial) currency() string { return []string{"usd", "eur", "jpy"}[r.random.IntN(3)] }
func (r *trial) amount() int64    { return r.random.Int64N(1000) + 1 }

func (r *trial) step(t *testing.T) {
	t.Helper()
	r.calls++
	switch r.random.IntN(14) {
	case 0:
		r.set(t, "", r.currency(), r.amount()*3)
	case 1:
		r.set(t, r.account(), r.currency(), r.amount()-300)
	case 2, 3, 4:
		r.tryTransfer(t)
	case 5, 6:
		r.tryReversal(t)
	case 7, 8, 9:
		r.tryPayout(t)
	case 10, 11, 12:
		r.movePayout(t)
	case 13:
		account := r.account()
		require.NoError(t, r.Stripe().ReleaseFunds(account))
		for _, l := range r.lots {
			if l.account == account {
				h := r.of(account, l.currency)
				h.available, h.pending, l.notAvailable = h.available+l.notAvailable, h.pending-l.notAvailable, 0
			}
		}
	}
}

func (r *trial) set(t *testing.T, account, currency string, amount int64) {
	t.Helper()
	if account == "" {
		require.NoError(t, r.Stripe().SetPlatformBalance(currency, amount))
	} else {
		require.NoError(t, r.Stripe().SetAccountBalance(account, currency, amount))
	}
	h := r.of(account, currency)
	r.putIn[currency] += amount - h.available
	h.available = amount
	r.done["set"]++
}

func (r *trial) tryTransfer(t *testing.T) {
	t.Helper()
	account, currency, amount, later := r.account(), r.currency(), r.amount(), r.random.IntN(2) == 0
	delay := simulator.TransferDelay{}
	if later {
		delay.AvailableMS = 3_600_000
	}
	require.NoError(t, r.Stripe().SetTransferDelay(delay))
	params := transferParams(account, amount, fmt.Sprint("po_", r.calls))
	params.Currency = &currency
	tr, err := r.stripe().Transfers.New(params)
	platform := r.of("", currency)
	require.Equal(t, amount <= platform.available, err == nil, "%v", err)
	if err != nil {
		return
	}
	again, err := r.stripe().Transfers.New(params)
	require.NoError(t, err)
	require.Equal(t, tr.ID, again.ID)
	platform.available -= amount
	l := &lot{account: account, currency: currency, left: amount}
	if later {
		l.notAvailable = amount
	}
	r.of(account, currency).pending += l.notAvailable
	r.of(account, currency).available += amount - l.notAvailable
	r.lots[tr.ID] = l
	r.done["transfer"]++
}

func (r *trial) tryReversal(t *testing.T) {
	t.Helper()
	if len(r.lots) == 0 {
		return
	}
	transfers := r.Stripe().Transfers()
	id := transfers[r.random.IntN(len(transfers))].ID
	l, amount := r.lots[id], r.amount()
	_, err := r.reverse(id, amount)
	h, waiting := r.of(l.account, l.currency), min(amount, l.notAvailable)
	require.Equal(t, amount <= l.left && amount-waiting <= max(0, h.available), err == nil, "%v", err)
	if err != nil {
		return
	}
	l.left, l.notAvailable = l.left-amount, l.notAvailable-waiting
	h.pending, h.available = h.pending-waiting, h.available-(amount-waiting)
	r.of("", l.currency).available += amount
	r.done["reversal"]++
}

func (r *trial) tryPayout(t *testing.T) {
	t.Helper()
	account, currency, amount := r.account(), r.currency(), r.amount()/4+1
	id := ""
	var err error
	if r.random.IntN(3) == 0 {
		var p simulator.Payout
		p, err = r.Stripe().PutPayout(simulator.Payout{Account: account, Currency: currency, Amount: amount, Automatic: true})
		id = p.ID
	} else {
		params := payoutParams(account, amount, fmt.Sprint("po_", r.calls))
		params.Currency = &currency
		var p *stripe.Payout
		p, err = r.stripe().Payouts.New(params)
		if err == nil {
			id = p.ID
		}
	}
	h := r.of(account, currency)
	require.Equal(t, amount <= h.available, err == nil, "%v", err)
	if err != nil {
		return
	}
	h.available -= amount
	r.away[currency] += amount
	r.payouts[id] = &leave{account: account, currency: currency, status: "pending", amount: amount}
	r.done["payout"]++
}

// move tries one of the ways that a payout may go, and says whether it may and where that leads.
func (r *trial) move(id string, p *leave) (allowed bool, status string, err error) {
	pending, live := p.status == "pending", p.status == "pending" || p.status == "in_transit"
	allowed, status = live, "failed"
	switch r.random.IntN(5) {
	case 0:
		_, err = r.Stripe().SendPayout(id)
		allowed, status = pending, "in_transit"
	case 1:
		_, err = r.Stripe().SettlePayout(id)
		status = "paid"
	case 2:
		_, err = r.Stripe().FailPayout(id, "declined")
	case 3:
		_, err = r.Stripe().ReturnPayout(id, "declined")
		allowed = live || p.status == "paid"
	case 4:
		err = r.cancel(p.account, id)
		allowed, status = pending, "canceled"
	}
	return allowed, status, err
}

func (r *trial) movePayout(t *testing.T) {
	t.Helper()
	if len(r.payouts) == 0 {
		return
	}
	var order []string
	for _, p := range r.Stripe().Payouts("") {
		order = append(order, p.ID)
	}
	id := order[r.random.IntN(len(order))]
	p := r.payouts[id]
	allowed, status, err := r.move(id, p)
	require.Equal(t, allowed, err == nil, "%s to %s: %v", p.status, status, err)
	if err != nil {
		return
	}
	p.status = status
	if status == "failed" || status == "canceled" {
		r.of(p.account, p.currency).available += p.amount
		r.away[p.currency] -= p.amount
	}
	r.done[status]++
}

// Whatever is called in whatever order, all money is where the calls have put it, and none is made or
// lost; what is refused moves nothing.
func TestRandomMovements_ConserveMoney(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			const steps = 400
			r := &trial{
				bundle: setup(t, simulator.Config{Seed: seed}), random: rand.New(rand.NewPCG(seed, seed)), done: map[string]int{},
				ledger: &ledger{
					holders: map[string]map[string]*holder{}, putIn: map[string]int64{}, away: map[string]int64{},
					lots: map[string]*lot{}, payouts: map[string]*leave{},
				},
			}
			for range 3 {
				a, err := r.Stripe().PutAccount(simulator.Account{ExternalAccounts: []simulator.ExternalAccount{
					{}, {Currency: "eur"}, {Currency: "jpy"},
				}})
				require.NoError(t, err)
				r.accounts = append(r.accounts, a.ID)
			}
			for range steps {
				r.step(t)
				r.requireBooks(t)
			}
			for _, kind := range []string{"set", "transfer", "reversal", "payout", "in_transit", "paid", "failed", "canceled"} {
				require.Positive(t, r.done[kind], "no %s, or the property is empty: %v", kind, r.done)
			}
		})
	}
}

func (r *trial) requireBooks(t *testing.T) {
	t.Helper()
	a := r.Stripe().MoneyAudit()
	require.NoError(t, a.Err())
	for account, currencies := range r.holders {
		funds, err := r.Stripe().Balance(account)
		require.NoError(t, err)
		for currency, h := range currencies {
			held := holder{funds[currency].Available, funds[currency].Pending}
			require.Equal(t, *h, held, "%q %s", account, currency)
		}
	}
	for currency, totals := range a.Totals {
		require.Equal(t, r.putIn[currency], totals.PutIn, currency)
		require.Equal(t, r.away[currency], totals.UnderWay+totals.PaidOut, currency)
	}
}

// Whatever goes wrong, a client that keeps its key until the outcome is known, and looks up what a
// stored 500 hides, pays every payee exactly once, or takes back what the bank would not have.
func TestRandomFaults_EveryPayeeIsPaidOnceOrNotAtAll(t *testing.T) {
	t.Parallel()
	const payees, atOnce, amount = 60, 8, 1000
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			b := setup(t, simulator.Config{Seed: seed})
			require.NoError(t, b.Stripe().SetPlatformBalance("usd", payees*amount))
			require.NoError(t, b.Stripe().SetPayoutSettlement(simulator.PayoutSettlement{Automatic: true, DelayMS: 1, FailShare: 0.2}))
			accounts := make([]string, payees)
			for i := range accounts {
				accounts[i] = b.account(t)
			}
			var active []simulator.Fault
			for _, kind := range []simulator.FaultKind{
				simulator.Reset, simulator.ServerError, simulator.TooManyRequests, simulator.ExecuteThenDrop,
				simulator.ExecuteThen500, simulator.Stored500, simulator.Truncate,
			} {
				active = append(active, simulator.Fault{Kind: kind, Probability: 0.1})
			}
			require.NoError(t, b.SetFaults(active...))

			group, ctx := errgroup.WithContext(t.Context())
			group.SetLimit(atOnce)
			for i, account := range accounts {
				group.Go(func() error { return b.payUntilKnown(ctx, account, amount, fmt.Sprint("po_", i)) })
			}
			require.NoError(t, group.Wait())

			a := b.Stripe().MoneyAudit()
			require.NoError(t, a.Err())
			require.Empty(t, a.Unbalanced)
			require.Len(t, a.Payouts, payees)
			require.Zero(t, b.PostsWithoutKey())
			received := int64(0)
			for _, currencies := range a.Received {
				require.Equal(t, map[string]int64{"usd": amount}, currencies)
				received += amount
			}
			require.Less(t, received, int64(payees*amount), "no payout failed, or the property is empty")
			require.Equal(t, simulator.MoneyTotals{PutIn: payees * amount, Platform: payees*amount - received, PaidOut: received}, a.Totals["usd"])
		})
	}
}

// payUntilKnown transfers, pays out, and takes the transfer back if the payout failed.
func (b bundle) payUntilKnown(ctx context.Context, account string, amount int64, payout string) error {
	transfer, err := untilKnown(ctx, payout+"/transfer", func(key string) (string, error) {
		params := transferParams(account, amount, payout)
		params.Context = ctx
		params.SetIdempotencyKey(key)
		tr, err := b.stripe().Transfers.New(params)
		return idOf(tr, err)
	}, func() (string, error) {
		it := b.stripe().Transfers.List(&stripe.TransferListParams{ListParams: stripe.ListParams{Context: ctx}, TransferGroup: &payout})
		if it.Next() {
			return it.Transfer().ID, nil
		}
		return "", it.Err()
	})
	if err != nil {
		return err
	}
	id, err := untilKnown(ctx, payout+"/payout", func(key string) (string, error) {
		params := payoutParams(account, amount, payout)
		params.Context = ctx
		params.SetIdempotencyKey(key)
		p, err := b.stripe().Payouts.New(params)
		return idOf(p, err)
	}, func() (string, error) { return b.findPayout(ctx, account, payout) })
	if err != nil {
		return err
	}
	status, err := b.awaitPayout(ctx, account, id)
	if err != nil || status == stripe.PayoutStatusPaid {
		return err
	}
	_, err = untilKnown(ctx, payout+"/reversal", func(key string) (string, error) {
		params := &stripe.TransferReversalParams{Params: stripe.Params{Context: ctx}, ID: &transfer}
		params.SetIdempotencyKey(key)
		r, err := b.stripe().TransferReversals.New(params)
		return idOf(r, err)
	}, func() (string, error) {
		it := b.stripe().TransferReversals.List(&stripe.TransferReversalListParams{ListParams: stripe.ListParams{Context: ctx}, ID: &transfer})
		if it.Next() {
			return it.TransferReversal().ID, nil
		}
		return "", it.Err()
	})
	return err
}

func idOf(made any, err error) (string, error) {
	switch object := made.(type) {
	case *stripe.Transfer:
		return object.ID, err
	case *stripe.Payout:
		return object.ID, err
	case *stripe.TransferReversal:
		return object.ID, err
	}
	return "", fmt.Errorf("a %T has no id", made)
}

// untilKnown sends under the same key until there is an answer. What a stored 500 hides is looked for;
// if it is not there, it is sent under the next key.
func untilKnown(ctx context.Context, key string, send func(key string) (string, error), find func() (string, error)) (string, error) {
	for epoch := 0; ; {
		id, err := send(fmt.Sprint(key, "/", epoch))
		var problem *stripe.Error
		switch {
		case err == nil:
			return id, nil
		case ctx.Err() != nil:
			return "", ctx.Err()
		case errors.As(err, &problem) && problem.HTTPStatusCode == http.StatusBadRequest:
			return "", err
		case errors.As(err, &problem) && problem.LastResponse.Header.Get("Idempotent-Replayed") == "true":
			id, err := find()
			if id != "" {
				return id, nil
			}
			if err == nil {
				epoch++
			}
		}
	}
}

// findPayout looks for the payout by its metadata, as there is no filter for it.
func (b bundle) findPayout(ctx context.Context, account, payout string) (string, error) {
	params := &stripe.PayoutListParams{ListParams: stripe.ListParams{Context: ctx}}
	params.SetStripeAccount(account)
	it := b.stripe().Payouts.List(params)
	for it.Next() {
		if it.Payout().Metadata["holdfast_payout_id"] == payout {
			return it.Payout().ID, nil
		}
	}
	return "", it.Err()
}

// awaitPayout asks until the payout has ended.
func (b bundle) awaitPayout(ctx context.Context, account, id string) (stripe.PayoutStatus, error) {
	for ctx.Err() == nil {
		params := &stripe.PayoutParams{Params: stripe.Params{Context: ctx}}
		params.SetStripeAccount(account)
		p, err := b.stripe().Payouts.Get(id, params)
		if err == nil && (p.Status == stripe.PayoutStatusPaid || p.Status == stripe.PayoutStatusFailed) {
			return p.Status, nil
		}
	}
	return "", ctx.Err()
}
