package stripe

import (
	"cmp"
	"context"
	"time"

	stripego "github.com/stripe/stripe-go/v76"
)

// The metadata under which transfers, reversals and payouts at Stripe carry our ids. It serves to
// find what was not answered, and for nothing else: anybody with access to an account can copy it.
const (
	MetadataPayoutID = "holdfast_payout_id"
	MetadataPayeeID  = "holdfast_payee_id"
)

const (
	transfersRoute = "/v1/transfers"
	transferRoute  = "/v1/transfers/{id}"
	reversalsRoute = "/v1/transfers/{id}/reversals"
)

// TransferRequest moves money from the platform to a connected account. It is stored as it is sent:
// its JSON names must not change.
type TransferRequest struct {
	Amount        int64  `json:"amount"`      // minor units
	Currency      string `json:"currency"`    // lower case
	Destination   string `json:"destination"` // "acct_…"
	TransferGroup string `json:"transfer_group"`
	PayoutID      string `json:"payout_id"` // ours
	PayeeID       string `json:"payee_id"`
	Description   string `json:"description,omitempty"`
}

// Transfer is money that went from the platform to a connected account.
type Transfer struct {
	ID             string // "tr_…"
	Amount         int64  // minor units
	AmountReversed int64
	Currency       string
	Destination    string // "acct_…"
	TransferGroup  string
	Metadata       map[string]string
	Created        time.Time
}

// HoldfastPayoutID is the payout that it claims to belong to; empty when it claims none.
func (t Transfer) HoldfastPayoutID() string { return t.Metadata[MetadataPayoutID] }

// Reversal is money of a transfer that came back to the platform.
type Reversal struct {
	ID       string // "trr_…"
	Transfer string // "tr_…"
	Amount   int64  // minor units
	Currency string
	Metadata map[string]string
	Created  time.Time
}

// HoldfastPayoutID is the payout that it claims to belong to; empty when it claims none.
func (r Reversal) HoldfastPayoutID() string { return r.Metadata[MetadataPayoutID] }

// CreateTransfer moves money to a connected account under an idempotency key.
func (c *Client) CreateTransfer(ctx context.Context, t TransferRequest, key string) (Transfer, error) {
	if err := cmp.Or(checkIdempotencyKey(key), checkID(t.Destination, "destination", accountID)); err != nil {
		return Transfer{}, err
	}
	params := &stripego.TransferParams{
		Amount: new(t.Amount), Currency: new(t.Currency), Destination: new(t.Destination),
		TransferGroup: unlessEmpty(t.TransferGroup), Description: unlessEmpty(t.Description),
		Metadata: ourIDs(t.PayoutID, t.PayeeID),
	}
	params.SetIdempotencyKey(key)
	return c.oneTransfer(ctx, request{route: transfersRoute, write: true}, params, c.transfers.New)
}

// GetTransfer reads a transfer. One that does not exist is NotFound.
func (c *Client) GetTransfer(ctx context.Context, id string) (Transfer, error) {
	if err := checkID(id, "transfer", transferID); err != nil {
		return Transfer{}, err
	}
	return c.oneTransfer(ctx, request{route: transferRoute}, &stripego.TransferParams{},
		func(p *stripego.TransferParams) (*stripego.Transfer, error) { return c.transfers.Get(id, p) })
}

// ListTransfersParams says which transfers are looked for; what is zero does not matter.
type ListTransfersParams struct {
	Destination   string // "acct_…"
	TransferGroup string
	CreatedFrom   time.Time // inclusive, to the second
}

// ListTransfers reads all transfers that match, newest first. An error that is no Failure means that
// the context ended while it waited its turn for a further page.
func (c *Client) ListTransfers(ctx context.Context, p ListTransfersParams) ([]Transfer, error) {
	return all(ctx, c, "transfers", func(t Transfer) string { return t.ID }, func(after *string) ([]Transfer, bool, error) {
		page, err := one(ctx, c, request{route: transfersRoute}, func(ctx context.Context) (*stripego.TransferList, error) {
			list := c.transfers.List(&stripego.TransferListParams{
				ListParams: onePage(ctx, "", after), Destination: unlessEmpty(p.Destination), TransferGroup: unlessEmpty(p.TransferGroup),
				CreatedRange: createdFrom(p.CreatedFrom),
			})
			return list.TransferList(), list.Err()
		}, func(l *stripego.TransferList) bool { return isPage(l.ListMeta, len(l.Data)) })
		if err != nil {
			return nil, false, err
		}
		return each(page.Data, transferFrom), page.HasMore, nil
	})
}

// ReverseTransfer takes money of a transfer back from the connected account under an idempotency key.
func (c *Client) ReverseTransfer(ctx context.Context, id string, amount int64, payoutID, key string) (Reversal, error) {
	if err := cmp.Or(checkIdempotencyKey(key), checkID(id, "transfer", transferID)); err != nil {
		return Reversal{}, err
	}
	params := &stripego.TransferReversalParams{ID: new(id), Amount: new(amount), Metadata: ourIDs(payoutID, "")}
	params.SetIdempotencyKey(key)
	made, err := one(ctx, c, request{route: reversalsRoute, write: true}, func(ctx context.Context) (*stripego.TransferReversal, error) {
		params.Context = ctx
		return c.reversals.New(params)
	}, func(r *stripego.TransferReversal) bool { return r.Object == "transfer_reversal" && r.ID != "" })
	if err != nil {
		return Reversal{}, err
	}
	return reversalFrom(made), nil
}

// ListReversals reads all reversals of a transfer, newest first. An error that is no Failure means
// that the context ended while it waited its turn for a further page.
func (c *Client) ListReversals(ctx context.Context, id string) ([]Reversal, error) {
	if err := checkID(id, "transfer", transferID); err != nil {
		return nil, err
	}
	return all(ctx, c, "reversals", func(r Reversal) string { return r.ID }, func(after *string) ([]Reversal, bool, error) {
		page, err := one(ctx, c, request{route: reversalsRoute}, func(ctx context.Context) (*stripego.TransferReversalList, error) {
			list := c.reversals.List(&stripego.TransferReversalListParams{ListParams: onePage(ctx, "", after), ID: new(id)})
			return list.TransferReversalList(), list.Err()
		}, func(l *stripego.TransferReversalList) bool { return isPage(l.ListMeta, len(l.Data)) })
		if err != nil {
			return nil, false, err
		}
		return each(page.Data, reversalFrom), page.HasMore, nil
	})
}

func (c *Client) oneTransfer(
	ctx context.Context, r request, params *stripego.TransferParams,
	send func(*stripego.TransferParams) (*stripego.Transfer, error),
) (Transfer, error) {
	answer, err := one(ctx, c, r, func(ctx context.Context) (*stripego.Transfer, error) {
		params.Context = ctx
		return send(params)
	}, func(t *stripego.Transfer) bool { return t.Object == "transfer" && t.ID != "" })
	if err != nil {
		return Transfer{}, err
	}
	return transferFrom(answer), nil
}

func transferFrom(t *stripego.Transfer) Transfer {
	transfer := Transfer{
		ID: t.ID, Amount: t.Amount, AmountReversed: t.AmountReversed, Currency: string(t.Currency),
		TransferGroup: t.TransferGroup, Metadata: t.Metadata, Created: moment(t.Created),
	}
	if t.Destination != nil {
		transfer.Destination = t.Destination.ID
	}
	return transfer
}

func reversalFrom(r *stripego.TransferReversal) Reversal {
	reversal := Reversal{
		ID: r.ID, Amount: r.Amount, Currency: string(r.Currency), Metadata: r.Metadata, Created: moment(r.Created),
	}
	if r.Transfer != nil {
		reversal.Transfer = r.Transfer.ID
	}
	return reversal
}

// ourIDs is the metadata with our ids; an empty one is left out.
func ourIDs(payoutID, payeeID string) map[string]string {
	ids := map[string]string{}
	for key, id := range map[string]string{MetadataPayoutID: payoutID, MetadataPayeeID: payeeID} {
		if id != "" {
			ids[key] = id
		}
	}
	return ids
}
