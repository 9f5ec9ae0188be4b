package simulator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast/holdfast/internal/simulator"
)

// payPalLedger is a model of the money: what each act does to what we have.
type payPalLedger struct {
	available, withheld, putIn int64
	batches                    map[string]*modelBatch
	items                      map[string]*modelItem
}

type modelBatch struct {
	status string
	items  []*modelItem
}

func (b *modelBatch) total() (sum int64) {
	for _, i := range b.items {
		sum += i.amount + i.fee
	}
	return sum
}

type modelItem struct {
	receiver, status      string
	amount, fee, reversed int64
}

// payPalTrial is a random sequence of calls to the simulator and to the model.
type payPalTrial struct {
	payPalCaller
	payPalLedger

	random *rand.Rand
	calls  int
	done   map[string]int // acts that happened, by what they led to
}

var modelPrefixes = []string{"", "", "unclaimed-", "onhold-", "blocked-", "failed-", "returned-", "refunded-", "reversed-"}

func (r *payPalTrial) step() {
	r.calls++
	switch r.random.IntN(12) {
	case 0:
		r.fund()
	case 1, 2, 3:
		r.tryBatch()
	case 4, 5, 6:
		r.advance()
	default:
		r.act()
	}
}

func (r *payPalTrial) fund() {
	amount := r.random.Int64N(25_000) - 2_000
	require.NoError(r.t, r.PayPal().SetPayPalBalance("USD", amount))
	r.putIn += amount - r.available
	r.available = amount
	r.done["fund"]++
}

func (r *payPalTrial) tryBatch() {
	made, sent := &modelBatch{status: "PENDING"}, []string{}
	for n := range r.random.IntN(4) + 1 {
		amount := r.random.Int64N(8_000) + 1
		i := &modelItem{
			receiver: modelPrefixes[r.random.IntN(len(modelPrefixes))] + "ada@example.com", status: "PENDING",
			amount: amount, fee: min((amount*2+99)/100, 100),
		}
		made.items = append(made.items, i)
		sent = append(sent, usd(i.receiver, fmt.Sprintf("po_%d_%d", r.calls, n), fmt.Sprintf("%d.%02d", amount/100, amount%100)))
	}
	body := batchOf(fmt.Sprint("b_", r.calls), sent...)
	first := r.post(payPalPayouts, body, "")
	require.Equal(r.t, http.StatusCreated, first.Status)
	require.Equal(r.t, http.StatusBadRequest, r.post(payPalPayouts, body, "").Status)
	id := readBack[payPalItems](r.t, first.Body).Header.ID
	r.batches[id] = made
	for _, b := range r.PayPal().PayPalBatches() {
		for n, i := range b.Items {
			if b.ID == id {
				r.items[i.ID] = made.items[n]
			}
		}
	}
	r.done["batch"]++
}

func (r *payPalTrial) advance() {
	all := r.PayPal().PayPalBatches()
	if len(all) == 0 {
		return
	}
	id := all[r.random.IntN(len(all))].ID
	if r.random.IntN(4) > 0 {
		for _, b := range all { // the oldest that is not over
			if b.Status == "PENDING" || b.Status == "PROCESSING" {
				id = b.ID
				break
			}
		}
	}
	b := r.batches[id]
	_, err := r.PayPal().AdvancePayPalBatch(id)
	require.Equal(r.t, b.status == "PENDING" || b.status == "PROCESSING", err == nil, "%s: %v", b.status, err)
	if err == nil {
		r.advanced(b)
	}
}

func (r *payPalTrial) advanced(b *modelBatch) {
	switch total := b.total(); {
	case b.status == "PROCESSING":
		b.status = "SUCCESS"
		r.withheld -= total
		for _, i := range b.items {
			r.execute(i)
		}
	case total > r.available:
		b.status = "DENIED"
		for _, i := range b.items {
			i.status, i.fee = "FAILED", 0
		}
	default:
		b.status = "PROCESSING"
		r.available, r.withheld = r.available-total, r.withheld+total
	}
	r.done["batch "+b.status]++
}

func (r *payPalTrial) execute(i *modelItem) {
	prefix, _, _ := strings.Cut(i.receiver, "ada@")
	i.status = map[string]string{
		"": "SUCCESS", "unclaimed-": "UNCLAIMED", "onhold-": "ONHOLD", "blocked-": "BLOCKED", "failed-": "FAILED", "returned-": "RETURNED",
		"refunded-": "REFUNDED", "reversed-": "REVERSED",
	}[prefix]
	r.comeBack(i)
}

// comeBack puts back what an item's new status gives back.
func (r *payPalTrial) comeBack(i *modelItem) {
	switch i.status {
	case "FAILED", "DENIED", "RETURNED":
		r.available += i.amount + i.fee
		i.fee = 0
	case "REFUNDED", "REVERSED":
		r.available += i.amount - i.reversed
	}
	r.done["item "+i.status]++
}

// someItem is any item, but mostly one that has not come to its end.
func (r *payPalTrial) someItem() string {
	var all, open []string
	for _, b := range r.PayPal().PayPalBatches() {
		for _, i := range b.Items {
			all = append(all, i.ID)
			if b.Status == "SUCCESS" && slices.Contains([]string{"SUCCESS", "UNCLAIMED", "ONHOLD", "BLOCKED"}, i.Status) {
				open = append(open, i.ID)
			}
		}
	}
	from := open
	if len(open) == 0 || r.random.IntN(4) == 0 {
		from = all
	}
	if len(from) == 0 {
		return ""
	}
	return from[r.random.IntN(len(from))]
}

// payPalAct is something that may become of an item, and from which statuses.
type payPalAct struct {
	do   func(id string) error
	from []string
	to   string
}

func (r *payPalTrial) someAct() payPalAct {
	done := func(_ simulator.PayPalItem, err error) error { return err }
	p, waiting := r.PayPal(), []string{"UNCLAIMED", "ONHOLD", "BLOCKED"}
	acts := []payPalAct{
		{func(id string) error { return done(p.SettlePayPalItem(id)) }, []string{"ONHOLD"}, "SUCCESS"},
		{func(id string) error { return done(p.ClaimPayPalItem(id)) }, []string{"UNCLAIMED"}, "SUCCESS"},
		{func(id string) error { return done(p.UnblockPayPalItem(id)) }, []string{"BLOCKED"}, "SUCCESS"},
		{func(id string) error { return done(p.BlockPayPalItem(id)) }, []string{"ONHOLD", "UNCLAIMED"}, "BLOCKED"},
		{func(id string) error { return done(p.ReturnPayPalItem(id)) }, waiting, "RETURNED"},
		{func(id string) error { return done(p.FailPayPalItem(id, "RISK_DECLINE")) }, waiting, "FAILED"},
		{func(id string) error { return done(p.DenyPayPalItem(id, "RISK_DECLINE")) }, waiting, "DENIED"},
		{func(id string) error { return done(p.RefundPayPalItem(id)) }, []string{"SUCCESS"}, "REFUNDED"},
		{r.cancel, []string{"UNCLAIMED"}, "RETURNED"},
	}
	return acts[r.random.IntN(len(acts))]
}

func (r *payPalTrial) cancel(id string) error {
	if answer := r.post("/v1/payments/payouts-item/"+id+"/cancel", "", ""); answer.Status != http.StatusOK {
		return errors.New(answer.Name)
	}
	return nil
}

// act tries one of the acts on an item, whether it is possible or not.
func (r *payPalTrial) act() {
	id := r.someItem()
	if id == "" {
		return
	}
	i := r.items[id]
	if r.random.IntN(4) == 0 {
		r.reverse(id, i)
		return
	}
	act := r.someAct()
	err := act.do(id)
	require.Equal(r.t, slices.Contains(act.from, i.status), err == nil, "%s to %s: %v", i.status, act.to, err)
	if err == nil {
		i.status = act.to
		r.comeBack(i)
	}
}

func (r *payPalTrial) reverse(id string, i *modelItem) {
	part := r.random.Int64N(2_000)
	left := i.amount - i.reversed
	_, err := r.PayPal().ReversePayPalItem(id, part)
	require.Equal(r.t, i.status == "SUCCESS" && part <= left, err == nil, "%s: %v", i.status, err)
	switch {
	case err != nil:
	case part == 0 || part == left:
		i.status = "REVERSED"
		r.comeBack(i)
	default:
		i.reversed += part
		r.available += part
		r.done["reversed in part"]++
	}
}

func (r *payPalTrial) requireBooks() {
	a := r.PayPal().PayPalMoneyAudit()
	require.NoError(r.t, a.Err())
	require.Equal(r.t, simulator.PayPalFunds{Available: r.available, Withheld: r.withheld}, r.PayPal().PayPalBalances()["USD"])
	require.Equal(r.t, r.putIn, a.Totals["USD"].PutIn)
	for _, b := range r.PayPal().PayPalBatches() {
		require.Equal(r.t, r.batches[b.ID].status, b.Status)
		for _, shown := range b.Items {
			i := r.items[shown.ID]
			require.Equal(r.t, []any{i.status, i.fee}, []any{shown.Status, shown.Fee}, i.receiver)
		}
	}
}

// Whatever is done in whatever order, all money is where the acts have put it, and none is made or
// lost; what is refused moves nothing.
func TestPayPalRandomActs_ConserveMoney(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			const steps = 400
			b := setup(t, simulator.Config{Seed: seed})
			require.NoError(t, b.PayPal().SetPayPalBalance("USD", 15_000))
			require.NoError(t, b.PayPal().SetPayouts(simulator.PayPalPayoutSettings{Manual: true}))
			r := &payPalTrial{
				payPalCaller: b.payPal(t), random: rand.New(rand.NewPCG(seed, seed)), done: map[string]int{},
				payPalLedger: payPalLedger{available: 15_000, putIn: 15_000, batches: map[string]*modelBatch{}, items: map[string]*modelItem{}},
			}
			for range steps {
				r.step()
				r.requireBooks()
			}
			for _, what := range []string{
				"fund", "batch", "batch PROCESSING", "batch SUCCESS", "batch DENIED", "item SUCCESS", "item UNCLAIMED", "item ONHOLD",
				"item BLOCKED", "item FAILED", "item DENIED", "item RETURNED", "item REFUNDED", "item REVERSED", "reversed in part",
			} {
				require.Positive(t, r.done[what], "no %s, or the property is empty: %v", what, r.done)
			}
		})
	}
}

// Whatever goes wrong, and however many post the same batch at once, a client that keeps its
// sender_batch_id until the outcome is known pays every receiver exactly once.
func TestPayPalRandomFaults_EveryReceiverIsPaidOnce(t *testing.T) {
	t.Parallel()
	const batches, size, atOnce = 30, 3, 8
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			b := setup(t, simulator.Config{Seed: seed})
			call := b.payPal(t)
			require.NoError(t, b.PayPal().SetPayPalBalance("USD", batches*size*1020))
			require.NoError(t, b.PayPal().SetPayouts(simulator.PayPalPayoutSettings{ProcessingMS: 1}))
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
			for n := range batches * 2 { // each batch twice
				group.Go(func() error { return call.payUntilKnown(ctx, n/2, size) })
			}
			require.NoError(t, group.Wait())

			a := b.PayPal().PayPalMoneyAudit()
			require.NoError(t, a.Err())
			require.Len(t, a.Payouts, batches*size)
			require.Len(t, a.Received, batches*size)
			for receiver, currencies := range a.Received {
				require.Equal(t, map[string]int64{"USD": 1000}, currencies, receiver)
			}
			require.Equal(t, simulator.PayPalFunds{}, b.PayPal().PayPalBalances()["USD"])
			require.Zero(t, b.PostsWithoutKey())
			require.NotEmpty(t, b.Calls().To(http.MethodPost, payPalPayouts).WithStatus(http.StatusBadRequest), "no duplicate, or the property is empty")
		})
	}
}

// payUntilKnown posts the same batch until PayPal has it, and then reads it until it is over.
func (c payPalCaller) payUntilKnown(ctx context.Context, batch, size int) error {
	var items []string
	for n := range size {
		items = append(items, usd(fmt.Sprintf("u%d_%d@example.com", batch, n), fmt.Sprintf("po_%d_%d", batch, n)))
	}
	body := batchOf(fmt.Sprint("b_", batch), items...)
	path := ""
	for path == "" && ctx.Err() == nil {
		status, answer := c.try(ctx, http.MethodPost, c.PayPalURL()+payPalPayouts, body)
		if (status == http.StatusCreated || status == http.StatusBadRequest) && len(answer.Links) == 1 {
			path = answer.Links[0].Href
		}
	}
	for ctx.Err() == nil {
		if status, answer := c.try(ctx, http.MethodGet, path, ""); status == http.StatusOK && answer.Header.Status == "SUCCESS" {
			return nil
		}
	}
	return ctx.Err()
}

// try gives an answer that could be read, or nothing.
func (c payPalCaller) try(ctx context.Context, method, url, body string) (int, payPalItems) {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, payPalItems{}
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	response, err := c.http.Do(r)
	if err != nil {
		return 0, payPalItems{}
	}
	defer func() { _ = response.Body.Close() }()
	var answer payPalItems
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return 0, payPalItems{}
	}
	return response.StatusCode, answer
}
