package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/attention"
	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/workflows"
)

// FeedChange is something that the app is told.
type FeedChange struct {
	Seq        int64           `json:"seq" doc:"Its number: one more than that of the change before."`
	At         time.Time       `json:"at"`
	Type       string          `json:"type" doc:"subscription.changed, onboarding.changed, payout.changed or pause.changed; or a notification, which is told once: payout.paid, payout.returned, payee.cannot_be_paid, payee.payouts_paused, payee.payouts_resumed or payout_run.needs_approval. There may be others later."`
	CustomerID string          `json:"customer_id" doc:"Empty when it is about none, as with payout_run.needs_approval."`
	Data       json.RawMessage `json:"data" doc:"What the customer shows since then. subscription.changed: the subscription that counts. onboarding.changed: status, and billing_ready. payout.changed: the payout. pause.changed: whether payouts are paused, and by whom. Notifications: ids, amounts, a code where there is one, and a sentence for people."`
}

type changesAnswer struct {
	Body struct {
		Data      []FeedChange `json:"data" doc:"In order."`
		NextAfter int64        `json:"next_after" doc:"Give it as after to go on."`
	}
}

// Page is where a reader of changes is, and how much they take.
type Page struct {
	After int64 `query:"after" minimum:"0" default:"0" doc:"next_after of the answer before; 0 from the start."`
	Limit int   `query:"limit" minimum:"1" maximum:"500" default:"100"`
}

func (a *API) routeChanges() {
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "list-changes", Method: http.MethodGet, Path: "/v1/changes", Tags: []string{tagCustomers},
		Summary: "Follow what changes",
		Description: "Every change of every customer, in order and without gaps. Answers at once when there is something, " +
			"else as soon as there is, or with an empty list after wait_ms.",
		Errors: []int{422, 503},
	}, config.ScopeCustomers), a.listChanges)
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "list-customer-changes", Method: http.MethodGet, Path: "/v1/customers/{id}/changes", Tags: []string{tagCustomers},
		Summary: "What the app was told of a customer, and when", Errors: []int{404, 422, 503},
	}, config.ScopeCustomers, config.ScopeOps), a.listCustomerChanges)
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "redeliver-change", Method: http.MethodPost, Path: "/v1/ops/changes/{seq}/redeliver", Tags: []string{tagOperators},
		Summary:     "Send a change to the app's webhook again",
		Description: "Under the webhook-id that it had. One that is still being tried is sent again after that. Recorded with your key's name.",
		Errors:      []int{404, 409, 422, 503},
	}, config.ScopeOps), a.redeliverChange)
}

func (a *API) listChanges(ctx context.Context, in *struct {
	Page

	WaitMS int64 `query:"wait_ms" minimum:"0" maximum:"30000" default:"0" doc:"How long to wait for a change, in milliseconds."`
},
) (*changesAnswer, error) {
	newest, err := feed.Newest(ctx, a.deps.Pool)
	switch {
	case err != nil:
		return nil, a.fail(ctx, err)
	case in.After > newest:
		return nil, aheadOfFeed(newest)
	case in.After == newest && !a.awaitChange(ctx, in.After, milliseconds(in.WaitMS)):
		if err := ctx.Err(); err != nil {
			return nil, a.fail(ctx, err)
		}
		return showChanges(nil, in.After), nil
	}
	changes, err := feed.List(ctx, a.deps.Pool, in.After, in.Limit)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return showChanges(changes, in.After), nil
}

// awaitChange waits for a change after that number, and tells whether there is one.
func (a *API) awaitChange(ctx context.Context, after int64, wait time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return a.changes.Wait(ctx, after)
}

// aheadOfFeed is for a reader who has seen more than there is: they would miss what is written next.
func aheadOfFeed(newest int64) error {
	return huma.Error422UnprocessableEntity("the feed is not that far, as after a database was restored from a backup", &huma.ErrorDetail{
		Location: "query.after", Message: fmt.Sprintf("must be at most %d, the number of the newest change; read every customer again, and go on from there", newest),
	})
}

func (a *API) listCustomerChanges(ctx context.Context, in *struct {
	InCustomer
	Page
},
) (*changesAnswer, error) {
	if _, err := a.find(ctx, in.ID); err != nil {
		return nil, a.fail(ctx, err)
	}
	changes, err := feed.OfCustomer(ctx, a.deps.Pool, in.ID, in.After, in.Limit)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return showChanges(changes, in.After), nil
}

func showChanges(changes []feed.Change, after int64) *changesAnswer {
	answer := &changesAnswer{}
	answer.Body.NextAfter = after
	answer.Body.Data = make([]FeedChange, len(changes))
	for i, c := range changes {
		answer.Body.Data[i] = FeedChange(c)
		answer.Body.NextAfter = c.Seq
	}
	return answer
}

// redeliverChange has a change sent to the app's webhook again.
func (a *API) redeliverChange(ctx context.Context, in *struct {
	Noted

	Seq int64 `path:"seq" minimum:"1" doc:"The change's number."`
},
) (*struct{}, error) {
	if err := checkNote(in.note()); err != nil {
		return nil, a.fail(ctx, err)
	}
	if !a.deps.DeliversChanges {
		return nil, huma.Error409Conflict("the app has no webhook: HOLDFAST_WEBHOOK_URL is not set")
	}
	err := postgres.InTx(ctx, a.deps.Pool, func(tx pgx.Tx) error {
		return feed.Redeliver(ctx, tx, in.Seq, actor(ctx), in.note(), workflows.RedeliverChange)
	})
	if errors.Is(err, feed.ErrNotFound) {
		return nil, huma.Error404NotFound("there is no such change", &huma.ErrorDetail{Location: "path.seq", Message: "no change has this number"})
	}
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	a.deps.Notify()
	return nil, nil //nolint:nilnil // 204: there is nothing to show
}

// undeliveredChanges are the changes that the app's webhook did not take.
func undeliveredChanges(ctx context.Context, db postgres.DB, after attention.Cursor, limit int) ([]attention.Item, error) {
	since, id := after.After(attention.UndeliveredChange)
	undelivered, err := feed.ListUndelivered(ctx, db, since, id, limit)
	if err != nil {
		return nil, err
	}
	items := make([]attention.Item, len(undelivered))
	for i, u := range undelivered {
		items[i] = attention.Item{
			Kind: attention.UndeliveredChange, ID: strconv.FormatInt(u.Seq, 10), Since: u.GivenUpAt,
			CustomerID: u.CustomerID, WorkflowID: workflows.DeliveryID(u.Seq), ChangeSeq: u.Seq, LastError: u.LastError,
			Detail: "The app's webhook did not take this change. Mend it and have the change sent again.",
		}
	}
	return items, nil
}
