package stripe

import (
	"cmp"
	"context"
	"time"

	stripego "github.com/stripe/stripe-go/v76"

	"github.com/holdfast/holdfast/internal/provider"
)

const (
	payoutsRoute      = "/v1/payouts"
	payoutRoute       = "/v1/payouts/{id}"
	cancelPayoutRoute = "/v1/payouts/{id}/cancel"
)

// How a payout travels.
const (
	MethodStandard = "standard"
	MethodInstant  = "instant"
)

// Stripe's words for where a payout stands. One that is paid may still come to fail.
const (
	PayoutPending   = "pending"
	PayoutInTransit = "in_transit"
	PayoutPaid      = "paid"
	PayoutFailed    = "failed"
	PayoutCanceled  = "canceled"
)

// PayoutRequest moves money from a connected account to one of its external accounts. It is stored
// as it is sent: its JSON names must not change.
type PayoutRequest struct {
	Amount      int64  `json:"amount"`      // minor units
	Currency    string `json:"currency"`    // lower case
	Method      string `json:"method"`      // MethodStandard or MethodInstant
	Destination string `json:"destination"` // "ba_…" or "card_…"
	PayoutID    string `json:"payout_id"`   // ours
	PayeeID     string `json:"payee_id"`
}

// Payout is money that goes, or went, from a connected account to one of its external accounts.
type Payout struct {
	ID          string // "po_…", Stripe's and not ours
	Amount      int64  // minor units
	Currency    string
	Method      string
	Status      string
	Destination string // "ba_…" or "card_…"
	Automatic   bool   // made by the account's schedule, and so not by us
	FailureCode string // of one that failed
	// FailureBalanceTransaction shows that the money of one that failed or was canceled is back.
	FailureBalanceTransaction string
	OriginalPayout            string // the payout that this one takes back
	ReversedBy                string // the payout that takes this one back
	Metadata                  map[string]string
	Created                   time.Time
	ArrivalDate               time.Time // midnight UTC of the day on which it should arrive
}

// HoldfastPayoutID is the payout of ours that it claims to be; empty when it claims none.
func (p Payout) HoldfastPayoutID() string { return p.Metadata[MetadataPayoutID] }

// FailureMatter is whose matter it is that it failed, by the table of refusals.
func (p Payout) FailureMatter() provider.Matter {
	if p.FailureCode == "" {
		return ""
	}
	return matterOf(stripego.PayoutFailureCode(p.FailureCode))
}

// CreatePayout pays out from a connected account under an idempotency key.
func (c *Client) CreatePayout(ctx context.Context, account string, p PayoutRequest, key string) (Payout, error) {
	if err := cmp.Or(
		checkIdempotencyKey(key), checkID(account, "account", accountID), checkID(p.Destination, "destination", externalAccountID),
	); err != nil {
		return Payout{}, err
	}
	params := &stripego.PayoutParams{
		Amount: new(p.Amount), Currency: new(p.Currency), Method: new(p.Method), Destination: new(p.Destination),
		Metadata: ourIDs(p.PayoutID, p.PayeeID),
	}
	params.SetIdempotencyKey(key)
	r := request{route: payoutsRoute, write: true, account: true, instant: p.Method == MethodInstant}
	return c.onePayout(ctx, r, account, params, c.payouts.New)
}

// GetPayout reads a payout of a connected account. One that does not exist is NotFound.
func (c *Client) GetPayout(ctx context.Context, account, id string) (Payout, error) {
	if err := cmp.Or(checkID(account, "account", accountID), checkID(id, "payout", payoutID)); err != nil {
		return Payout{}, err
	}
	return c.onePayout(ctx, request{route: payoutRoute, account: true}, account, &stripego.PayoutParams{},
		func(p *stripego.PayoutParams) (*stripego.Payout, error) { return c.payouts.Get(id, p) })
}

// CancelPayout calls back a payout that has not left Stripe yet, under an idempotency key.
func (c *Client) CancelPayout(ctx context.Context, account, id, key string) (Payout, error) {
	if err := cmp.Or(
		checkIdempotencyKey(key), checkID(account, "account", accountID), checkID(id, "payout", payoutID),
	); err != nil {
		return Payout{}, err
	}
	params := &stripego.PayoutParams{}
	params.SetIdempotencyKey(key)
	return c.onePayout(ctx, request{route: cancelPayoutRoute, write: true, account: true}, account, params,
		func(p *stripego.PayoutParams) (*stripego.Payout, error) { return c.payouts.Cancel(id, p) })
}

// ListPayouts reads all payouts that a connected account made since, whoever asked for them, newest
// first; a zero time means from the first on. An error that is no Failure means that the context
// ended while it waited its turn for a further page.
func (c *Client) ListPayouts(ctx context.Context, account string, since time.Time) ([]Payout, error) {
	if err := checkID(account, "account", accountID); err != nil {
		return nil, err
	}
	return all(ctx, c, "payouts", func(p Payout) string { return p.ID }, func(after *string) ([]Payout, bool, error) {
		page, err := one(ctx, c, request{route: payoutsRoute, account: true}, func(ctx context.Context) (*stripego.PayoutList, error) {
			list := c.payouts.List(&stripego.PayoutListParams{
				ListParams: onePage(ctx, account, after), CreatedRange: createdFrom(since),
			})
			return list.PayoutList(), list.Err()
		}, func(l *stripego.PayoutList) bool { return isPage(l.ListMeta, len(l.Data)) })
		if err != nil {
			return nil, false, err
		}
		return each(page.Data, payoutFrom), page.HasMore, nil
	})
}

func (c *Client) onePayout(
	ctx context.Context, r request, account string, params *stripego.PayoutParams,
	send func(*stripego.PayoutParams) (*stripego.Payout, error),
) (Payout, error) {
	params.SetStripeAccount(account)
	answer, err := one(ctx, c, r, func(ctx context.Context) (*stripego.Payout, error) {
		params.Context = ctx
		return send(params)
	}, func(p *stripego.Payout) bool { return p.Object == "payout" && p.ID != "" })
	if err != nil {
		return Payout{}, err
	}
	return payoutFrom(answer), nil
}

func payoutFrom(p *stripego.Payout) Payout {
	payout := Payout{
		ID: p.ID, Amount: p.Amount, Currency: string(p.Currency), Method: string(p.Method), Status: string(p.Status),
		Automatic: p.Automatic, FailureCode: token(string(p.FailureCode)), Metadata: p.Metadata,
		Created: moment(p.Created), ArrivalDate: moment(p.ArrivalDate),
	}
	if p.Destination != nil {
		payout.Destination = p.Destination.ID
	}
	if p.FailureBalanceTransaction != nil {
		payout.FailureBalanceTransaction = p.FailureBalanceTransaction.ID
	}
	if p.OriginalPayout != nil {
		payout.OriginalPayout = p.OriginalPayout.ID
	}
	if p.ReversedBy != nil {
		payout.ReversedBy = p.ReversedBy.ID
	}
	return payout
}
