package activities

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/workflows"
)

// opBatch is the sending of a batch, a write that happens once.
const opBatch = "payout_batch"

func batchOperation(batchID string) provider.Operation {
	return provider.Operation{Provider: provider.PayPal, Operation: opBatch, Subject: batchID}
}

const (
	// batchKeyLife is how long an identical batch may be sent again: PayPal keeps its id for 30 days.
	batchKeyLife = 29 * 24 * time.Hour
	// searchPatience is how long PayPal is searched for a batch: it finds nothing for up to three hours.
	searchPatience = 4 * time.Hour
	searchWait     = 15 * time.Minute
	// searchSpan is what one search reaches over; searches of less than the least are not cut further.
	searchSpan      = 31 * 24 * time.Hour
	leastSearchSpan = time.Minute
)

// codeItemsChanged means that what would be sent is not what was stored.
const codeItemsChanged = "items_changed"

// errHindered means that nothing new may be sent at present.
var errHindered = errors.New("nothing is to be sent at present")

// batchRequest is what a batch is stored as: its JSON names must not change. The items are stored once,
// with the batch, since they name who is paid; here is what they have to come to.
type batchRequest struct {
	BatchID     string `json:"batch_id"`
	Items       int    `json:"items"`
	ItemsSHA256 string `json:"items_sha256"`
}

// SendPayPalBatch freezes a batch and sends it, finds out what became of a sending, or waits for what
// keeps it from being sent.
func (p *PayPalPayouts) SendPayPalBatch(ctx context.Context, in workflows.PayPalBatchStepInput) (workflows.PayPalBatchMove, error) {
	return p.move(ctx, in, func(ctx context.Context, b payout.Batch) (instead, error) {
		b, hindrance, err := p.freeze(ctx, b)
		switch {
		case err != nil:
			return instead{}, err
		case hindrance != "":
			return instead{after: hindranceWait}, nil
		case b.State != payout.BatchSending:
			return instead{}, nil
		}
		items, err := payout.ListBatchItems(ctx, p.pool, b.ID)
		if err != nil {
			return instead{}, err
		}
		return p.send(ctx, b, items)
	})
}

func (p *PayPalPayouts) freeze(ctx context.Context, b payout.Batch) (frozen payout.Batch, hindrance payout.Hindrance, err error) {
	if b.State != payout.BatchOpen {
		return b, "", nil
	}
	if hindrance, err = payout.BatchMaySend(ctx, p.pool, b.ID); err != nil || hindrance != "" {
		return b, hindrance, err
	}
	if err := p.lookBefore(ctx, b); err != nil {
		return b, "", err
	}
	err = p.inTx(ctx, func(tx pgx.Tx) error {
		frozen, hindrance, err = p.payouts.FreezeBatch(ctx, tx, b.ID)
		return err
	})
	return frozen, hindrance, err
}

// send makes one attempt to have PayPal take a frozen batch.
func (p *PayPalPayouts) send(ctx context.Context, b payout.Batch, items []payout.BatchItem) (instead, error) {
	what := p.sending(b, items)
	ready, other, err := p.ready(ctx, b, items, what)
	if err != nil || !ready {
		return other, err
	}
	if err := p.turns.Wait(ctx); err != nil {
		return instead{}, err
	}
	err = p.writer.do(ctx, what)
	failure, _ := errors.AsType[*provider.Failure](err)
	switch {
	case errors.Is(err, errHindered):
		return instead{after: hindranceWait}, nil
	case failure == nil:
		return instead{}, err
	case failure.Code == codeNotYetAbsent:
		return instead{after: searchWait}, nil
	case failure.Code == paypal.CodeInsufficientFunds:
		return p.lacksFunds(ctx, b, what)
	case definite(failure):
		return instead{}, p.refused(ctx, b, items, what, failure)
	}
	return instead{}, err
}

// ready says whether the batch is to be sent now, or again, or what is to be done instead. While nothing
// may be sent, and while there are no funds, only a look tells what became of an earlier sending.
func (p *PayPalPayouts) ready(ctx context.Context, b payout.Batch, items []payout.BatchItem, what write) (ready bool, other instead, err error) {
	if err := p.asStored(ctx, what); err != nil {
		return false, instead{}, err
	}
	hindrance, err := payout.BatchMaySend(ctx, p.pool, b.ID)
	if err != nil {
		return false, instead{}, err
	}
	if hindrance == "" && b.UnfundedSince == nil {
		ready, err = p.stillGoes(ctx, b, what)
		return ready, instead{}, err
	}
	found, err := p.writer.seek(ctx, what)
	switch {
	case err != nil || found:
		return false, instead{}, err
	case hindrance != "":
		return false, instead{after: hindranceWait}, nil
	case untilNextTry(b) > 0:
		return false, instead{after: untilNextTry(b)}, nil
	}
	covered, err := p.covered(ctx, b, items)
	if covered {
		covered, err = p.stillGoes(ctx, b, what)
		return covered, instead{}, err
	}
	if err != nil {
		return false, instead{}, err
	}
	other, err = p.lacksFunds(ctx, b, what)
	return false, other, err
}

// stillGoes says whether a batch is to be sent as it was frozen. When it has waited since, and nothing of it
// was sent, those of its payouts that may not go any more leave it: the others go on in a new one.
func (p *PayPalPayouts) stillGoes(ctx context.Context, b payout.Batch, what write) (goes bool, err error) {
	waited := b.UnfundedSince != nil || time.Since(b.StateSince) >= settling
	sent, err := p.maybeSent(ctx, p.pool, what.operation)
	if err != nil || sent || !waited {
		return err == nil, err
	}
	renewed := false
	err = p.unlessSent(ctx, what, func(tx pgx.Tx) (err error) {
		renewed, err = p.payouts.RenewBatch(ctx, tx, b.ID)
		return err
	})
	return err == nil && !renewed, err
}

// untilNextTry is how long a batch waits that was sent although PayPal had denied it for want of funds, and
// that was denied again: PayPal's balance, by which it was sent, is up to three hours old.
func untilNextTry(b payout.Batch) time.Duration {
	if !b.StateSince.After(*b.UnfundedSince) {
		return 0
	}
	return time.Until(b.StateSince.Add(fundingWait))
}

// asStored sees that what would be sent is what was stored.
func (p *PayPalPayouts) asStored(ctx context.Context, what write) error {
	request, err := p.writer.requests.Freeze(ctx, p.pool, what.operation, what.params)
	if err != nil {
		return err
	}
	var stored batchRequest
	if err := request.Decode(&stored); err != nil {
		return err
	}
	if stored != what.params {
		return &provider.Failure{Provider: provider.PayPal, Class: provider.Held, Code: codeItemsChanged}
	}
	return nil
}

// sending is the sending of a frozen batch. PayPal takes a batch under one id once, and compares nothing
// else: only what it refuses for items that it names it has refused whenever they were sent. Another
// complaint may be about the id itself, used up by an earlier sending, in words that we do not know.
func (p *PayPalPayouts) sending(b payout.Batch, items []payout.BatchItem) write {
	request, invalid := batchAsSent(items)
	return write{
		operation: batchOperation(b.ID),
		money:     true,
		keyLife:   batchKeyLife,
		patience:  searchPatience,
		params:    batchRequest{BatchID: b.ID, Items: len(items), ItemsSHA256: request.ItemsDigest()},
		proves:    func(f *provider.Failure) bool { return f.Code == paypal.CodeValidation && len(paypal.BadItems(f)) > 0 },
		again: func(f *provider.Failure) bool {
			return f.Code != paypal.CodeValidation && f.Matter == provider.MatterOurs
		},
		admit: func(ctx context.Context, tx pgx.Tx) error {
			if invalid != nil {
				return invalid
			}
			return admitBatch(ctx, tx, b.ID)
		},
		send: func(ctx context.Context, stored provider.Request) (string, error) {
			request.SenderBatchID = stored.Key
			made, err := p.client.CreatePayoutBatch(ctx, request)
			if err != nil || !made.Duplicate {
				return made.ID, err
			}
			return p.adopt(ctx, made.ID, stored, items)
		},
		find: func(ctx context.Context, stored provider.Request) (string, bool, error) {
			return p.find(ctx, b, stored, items)
		},
		record: func(ctx context.Context, tx pgx.Tx, _ provider.Request, payPalBatchID string) error {
			return p.payouts.BatchAccepted(ctx, tx, b.ID, payPalBatchID)
		},
	}
}

// batchAsSent is the batch as PayPal gets it, but for the key; whatever sends it makes the same of the
// same items.
func batchAsSent(items []payout.BatchItem) (paypal.PayoutBatchRequest, error) {
	request := paypal.PayoutBatchRequest{EmailSubject: "You have a payout", Items: make([]paypal.PayoutItemRequest, len(items))}
	for i, item := range items {
		value, err := money.PayPalDecimal(item.Net)
		if err != nil {
			return request, err
		}
		request.Items[i] = paypal.PayoutItemRequest{
			Receiver: item.Receiver, Value: value, Currency: item.Net.Currency.String(), SenderItemID: item.PayoutID,
		}
	}
	return request, nil
}

// admitBatch lets a batch out only while it is to be sent and nothing stops that, and holds it until the
// sending is recorded.
func admitBatch(ctx context.Context, tx pgx.Tx, id string) error {
	b, err := payout.LockBatch(ctx, tx, id)
	switch {
	case err != nil:
		return err
	case b.State != payout.BatchSending:
		return errOvertaken
	}
	hindrance, err := payout.BatchMaySend(ctx, tx, id)
	switch {
	case err != nil:
		return err
	case hindrance != "":
		return errHindered
	}
	elsewhere, err := payout.IsElsewhere(ctx, tx, id)
	if err == nil && elsewhere {
		err = &provider.Failure{Provider: provider.PayPal, Class: provider.Held, Code: payout.ReasonElsewhere}
	}
	return err
}

// adopt takes the batch for ours that PayPal says was sent under the key first, once it was read. What
// was sent is done, whatever reading it meets.
func (p *PayPalPayouts) adopt(ctx context.Context, payPalBatchID string, stored provider.Request, items []payout.BatchItem) (string, error) {
	ours, err := p.isOurs(ctx, payPalBatchID, stored, items)
	failure, _ := errors.AsType[*provider.Failure](err)
	switch {
	case failure != nil && failure.Class != provider.Held:
		return "", as(provider.OutcomeUnknown, failure)
	case err != nil:
		return "", err
	case !ours:
		return "", &provider.Failure{Provider: provider.PayPal, Class: provider.OutcomeUnknown, Code: paypal.CodeDuplicateBatch, Replayed: true}
	}
	return payPalBatchID, nil
}

// isOurs says whether a batch at PayPal is the one that was sent under the key. One with our key and
// other items is for a person.
func (p *PayPalPayouts) isOurs(ctx context.Context, payPalBatchID string, stored provider.Request, items []payout.BatchItem) (bool, error) {
	listed, err := p.list(ctx, payPalBatchID)
	if _, refused := refusalOf(err); refused { // there is none
		return false, nil
	}
	switch {
	case err != nil || listed.batch.SenderBatchID != stored.Key:
		return false, err
	case !listed.isOurs(items):
		return false, &provider.Failure{Provider: provider.PayPal, Class: provider.Held, Code: codeMismatch}
	}
	return true, nil
}

// find looks for the batch that a lost request made. Where we may not search, nothing is found.
func (p *PayPalPayouts) find(ctx context.Context, b payout.Batch, stored provider.Request, items []payout.BatchItem) (string, bool, error) {
	s, err := p.searchFor(ctx, b, stored, items)
	failure, _ := errors.AsType[*provider.Failure](err)
	if failure != nil && failure.Status == http.StatusForbidden {
		return "", false, nil
	}
	return s.found, s.found != "", err
}

// searchFor searches for the batch that a lost request made: the one that a webhook told of, or else the
// one to which a movement of ours seems to belong. What is found is read before it is believed.
func (p *PayPalPayouts) searchFor(ctx context.Context, b payout.Batch, stored provider.Request, items []payout.BatchItem) (search, error) {
	if b.HintedID != "" {
		if ours, err := p.isOurs(ctx, b.HintedID, stored, items); err != nil || ours {
			return search{found: b.HintedID}, err
		}
	}
	from, to := stored.FirstSentAt.Add(-lookBack), time.Now()
	if to.Sub(from) > searchSpan {
		to = from.Add(searchSpan)
	}
	s := search{
		paypal: p, stored: stored, items: items, payouts: make(map[string]bool, len(items)),
		read: map[string]bool{b.HintedID: true, "": true}, moved: map[string]string{},
	}
	for _, i := range items {
		s.payouts[i.PayoutID] = true
	}
	_, err := p.movements(ctx, from, to, func(ctx context.Context, t paypal.Transaction) (bool, error) {
		err := s.follow(ctx, t)
		return s.found == "", err
	})
	return s, err
}

// search is a search of PayPal's books for a batch.
type search struct {
	paypal  *PayPalPayouts
	stored  provider.Request
	items   []payout.BatchItem
	payouts map[string]bool
	read    map[string]bool   // batches that were looked at
	moved   map[string]string // by payout, a movement that names it
	found   string
}

// movements gives the movements of a time to the function until it wants no more; in two halves when PayPal
// finds too much.
func (p *PayPalPayouts) movements(
	ctx context.Context, from, to time.Time, take func(context.Context, paypal.Transaction) (more bool, err error),
) (more bool, err error) {
	for page, pages := 1, 1; page <= pages; page++ {
		if err := p.turns.Wait(ctx); err != nil {
			return false, err
		}
		got, err := p.client.SearchTransactions(ctx, from, to, page)
		failure, _ := errors.AsType[*provider.Failure](err)
		if half := to.Sub(from) / 2; failure != nil && failure.Code == paypal.CodeSearchTooLarge && half >= leastSearchSpan {
			if more, err := p.movements(ctx, from, from.Add(half), take); err != nil || !more {
				return false, err
			}
			return p.movements(ctx, from.Add(half), to, take)
		}
		if err != nil {
			return false, err
		}
		if more, err := takeEach(ctx, got.Transactions, take); err != nil || !more {
			return false, err
		}
		pages = got.TotalPages
	}
	return true, nil
}

func takeEach(ctx context.Context, all []paypal.Transaction, take func(context.Context, paypal.Transaction) (bool, error)) (more bool, err error) {
	for _, t := range all {
		if more, err := take(ctx, t); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

// follow reads the batch to which a movement for one of the payouts belongs.
func (s *search) follow(ctx context.Context, t paypal.Transaction) error {
	if !s.payouts[t.CustomField] {
		return nil
	}
	s.moved[t.CustomField] = t.ID
	if s.read[t.ReferenceID] {
		return nil
	}
	s.read[t.ReferenceID] = true
	ours, err := s.paypal.isOurs(ctx, t.ReferenceID, s.stored, s.items)
	if ours {
		s.found = t.ReferenceID
	}
	return err
}

// covered says whether the balance at PayPal reaches for a batch. It is up to three hours old.
func (p *PayPalPayouts) covered(ctx context.Context, b payout.Batch, items []payout.BatchItem) (bool, error) {
	plans := make([]payout.Plan, len(items))
	for i, item := range items {
		plans[i] = payout.Plan{Method: payout.MethodPayPal, Terms: payout.Terms{Net: item.Net}}
	}
	need, err := payout.NeedFor(plans, b.Currency, p.payouts.Policy())
	if err != nil {
		return false, err
	}
	if err := p.turns.Wait(ctx); err != nil {
		return false, err
	}
	balances, err := p.client.ListBalances(ctx)
	if err != nil {
		return false, err
	}
	for _, has := range balances.Available {
		if available := amountOf(has.Value, has.Currency); available.Currency == b.Currency && available.Minor >= need.Minor {
			return true, nil
		}
	}
	return false, nil
}

// lacksFunds has a batch wait for funds, and gives up after three days. When an earlier sending may have
// been carried out all the same, giving up is a person's.
func (p *PayPalPayouts) lacksFunds(ctx context.Context, b payout.Batch, what write) (instead, error) {
	if b.UnfundedSince == nil || time.Since(*b.UnfundedSince) < fundingPatience {
		return instead{after: fundingWait}, p.inTx(ctx, func(tx pgx.Tx) error {
			now, err := payout.LockBatch(ctx, tx, b.ID)
			switch {
			case err != nil:
				return err
			case now.State != payout.BatchSending:
				return errOvertaken
			}
			return p.payouts.BatchUnfunded(ctx, tx, b.ID, string(payout.BecauseFunding))
		})
	}
	unknown, err := p.writer.requests.IsUnknown(ctx, p.pool, what.operation, time.Time{})
	if err == nil && unknown {
		err = &provider.Failure{Provider: provider.PayPal, Class: provider.Held, Code: paypal.CodeInsufficientFunds}
	}
	if err != nil {
		return instead{}, err
	}
	return instead{}, p.unlessSent(ctx, what, func(tx pgx.Tx) error { return p.payouts.BatchEndsUnfunded(ctx, tx, b.ID) })
}

// refused takes on that PayPal refused a batch for good: the items that it names fail, and the others go
// on without them. When it is about a payee and names none, the halves find out whom. What is wrong with
// us, or with the batch as such, is for a person to put right: no payee is to hear that theirs failed.
func (p *PayPalPayouts) refused(ctx context.Context, b payout.Batch, items []payout.BatchItem, what write, failure *provider.Failure) error {
	bad := map[string]payout.Failure{}
	refusal := refusedByPayPal(failure.Code, failure.Matter)
	switch {
	case failure.Class == provider.NotFound, failure.Matter == provider.MatterOurs:
		return failure
	case len(items) == 1:
		bad[items[0].PayoutID] = refusal
	case failure.Code != paypal.CodeValidation && failure.Matter != provider.MatterPayee:
		return failure
	default:
		for _, i := range paypal.BadItems(failure) {
			bad[items[i].PayoutID] = refusal
		}
	}
	return p.unlessSent(ctx, what, func(tx pgx.Tx) error { return p.payouts.BatchRefused(ctx, tx, b.ID, bad) })
}

// unlessSent ends a batch for want of a sending. It is undone when another attempt, one that was taken
// for lost, has sent it after all.
func (p *PayPalPayouts) unlessSent(ctx context.Context, what write, end func(pgx.Tx) error) error {
	return p.inTx(ctx, func(tx pgx.Tx) error {
		if err := end(tx); err != nil { // it holds the batch, without which nothing is sent
			return err
		}
		sent, err := p.maybeSent(ctx, tx, what.operation)
		if err == nil && sent {
			err = errOvertaken
		}
		return err
	})
}

// maybeSent says whether something may come of the last request.
func (p *PayPalPayouts) maybeSent(ctx context.Context, db postgres.DB, what provider.Operation) (bool, error) {
	last, err := p.writer.requests.Latest(ctx, db, what)
	return last.Outcome == provider.OutcomeSucceeded || last.Outcome == provider.OutcomeOpen && last.FirstSentAt != nil, err
}
