package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"

	"github.com/holdfast/holdfast/internal/attention"
	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/postgres"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/webhook"
)

// Webhooks are what takes in the events of providers.
type Webhooks struct {
	// Stripe and PayPal read events; nil while the provider's webhooks are not configured.
	Stripe, PayPal WebhookReader
	Inbox          *webhook.Inbox
	Meter          WebhookMeter // may be nil
}

// WebhookReader tells a provider's webhooks from everybody else's, and reads whom they are about.
type WebhookReader interface {
	Read(ctx context.Context, header http.Header, body []byte) (webhook.Event, error)
}

// WebhookMeter sees what became of every webhook, for metrics: an Effect, or "refused", or
// "unavailable" when the provider has to send it again.
type WebhookMeter interface {
	Webhook(ctx context.Context, p provider.Name, outcome string)
}

const (
	routeWebhooks = "POST /webhooks/"

	maxWebhookBody = 1 << 20 // providers send some kilobytes
	// maxWebhooks bounds how many bodies are held at once; the others wait to be read.
	maxWebhooks = 256
	// webhookTimeout is below the time that providers wait for an answer.
	webhookTimeout = 10 * time.Second
)

// routeWebhooks is plain HTTP: the calls are the providers', their signature is over the bytes, and
// they come in bursts.
func (a *API) routeWebhooks() {
	reading := make(chan struct{}, maxWebhooks)
	for _, in := range []inlet{
		{provider.Stripe, a.deps.Webhooks.Stripe, "STRIPE_WEBHOOK_SECRET"},
		{provider.PayPal, a.deps.Webhooks.PayPal, "PAYPAL_WEBHOOK_ID"},
	} {
		a.mux.HandleFunc(routeWebhooks+string(in.provider), func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), webhookTimeout)
			defer cancel()
			select {
			case reading <- struct{}{}:
				defer func() { <-reading }()
				a.answerWebhook(ctx, w, in.provider, a.receive(ctx, w, r, in))
			case <-ctx.Done():
				a.answerWebhook(ctx, w, in.provider, ctx.Err())
			}
		})
	}
	huma.Register(a.huma, keyed(huma.Operation{
		OperationID: "dismiss-unknown-subject", Method: http.MethodPost, Path: "/v1/ops/unknown-subjects/{provider}/{subject}/dismiss",
		Tags: []string{tagOperators}, DefaultStatus: http.StatusNoContent, Errors: []int{404, 422},
		Summary: "Say that somebody at a provider is no customer here, and shall be none",
	}, config.ScopeOps), a.dismiss)
}

// inlet is where the webhooks of one provider come in.
type inlet struct {
	provider provider.Name
	reader   WebhookReader
	setting  string // the variable that configures it
}

// notConfiguredError names the variable.
type notConfiguredError string

func (e notConfiguredError) Error() string {
	return string(e) + " is not set, so that webhooks of this provider cannot be verified"
}

// receive stores an event, durably.
func (a *API) receive(ctx context.Context, w http.ResponseWriter, r *http.Request, in inlet) error {
	if in.reader == nil {
		return notConfiguredError(in.setting)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxWebhookBody))
	if err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	event, err := in.reader.Read(ctx, r.Header, body)
	if err != nil {
		return err
	}
	effect, err := a.deps.Webhooks.Inbox.Put(ctx, event)
	if err == nil {
		a.countWebhook(ctx, in.provider, string(effect))
	}
	return err
}

// answerWebhook answers 200 to what is stored, and to nothing else; 400 and 413 to what never could
// be; and 503 to what cannot be now, after which providers send it again.
func (a *API) answerWebhook(ctx context.Context, w http.ResponseWriter, p provider.Name, err error) {
	var tooLarge *http.MaxBytesError
	var missing notConfiguredError
	switch {
	case err == nil:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"received":true}`+"\n") // who does not hear it sends the event again
		return
	case errors.As(err, &tooLarge):
		a.refuseWebhook(ctx, w, p, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit))
	case errors.Is(err, webhook.ErrSignature), errors.Is(err, webhook.ErrMode), errors.Is(err, webhook.ErrMalformed):
		a.refuseWebhook(ctx, w, p, http.StatusBadRequest, err.Error())
	case errors.Is(err, webhook.ErrUnavailable), errors.As(err, &missing):
		a.refuseWebhook(ctx, w, p, http.StatusServiceUnavailable, err.Error())
	default:
		a.log(ctx).ErrorContext(ctx, "a webhook was not stored; its provider sends it again", "provider", p, "error", err)
		a.refuseWebhook(ctx, w, p, http.StatusServiceUnavailable, "the event was not stored; send it again")
	}
}

func (a *API) refuseWebhook(ctx context.Context, w http.ResponseWriter, p provider.Name, status int, reason string) {
	outcome := "refused"
	if status == http.StatusServiceUnavailable {
		outcome = "unavailable"
	}
	a.countWebhook(ctx, p, outcome)
	a.log(ctx).WarnContext(ctx, "a webhook was not taken", "provider", p, "status", status, "reason", reason)
	writeProblem(w, status, reason)
}

func (a *API) countWebhook(ctx context.Context, p provider.Name, outcome string) {
	if a.deps.Webhooks.Meter != nil {
		a.deps.Webhooks.Meter.Webhook(ctx, p, outcome)
	}
}

// strangersInAttention are those of whom we get events, and who stay nobody's.
func strangersInAttention(ctx context.Context, db postgres.DB, after attention.Cursor, limit int) ([]attention.Item, error) {
	since, id := after.After(attention.UnknownSubject)
	strangers, err := webhook.ListStrangers(ctx, db, since, id, limit)
	if err != nil {
		return nil, err
	}
	items := make([]attention.Item, len(strangers))
	for i, s := range strangers {
		items[i] = attention.Item{
			Kind: attention.UnknownSubject, ID: s.ID(), Since: s.Since, Provider: string(s.Provider), Subject: s.Subject, CustomerID: s.PayeeID,
			Detail: fmt.Sprintf("%d webhooks told of this subject, which is no customer's here. Create the customer with it "+
				"(stripe_customer_id) or bind it (paypal-subscriptions), and they count; or dismiss it.", s.Events),
		}
		if s.Provider == provider.Stripe && strings.HasPrefix(s.Subject, "po_") {
			items[i].Detail = "Somebody else made this payout on a payee's connected account: the payee, or a payout schedule that is not manual. " +
				"See at Stripe that it took nothing of ours and that the schedule is manual; then dismiss it."
		}
	}
	return items, nil
}

type subjectInPath struct {
	Noted

	Provider string `path:"provider" enum:"stripe,paypal"`
	Subject  string `path:"subject" minLength:"1" maxLength:"255" doc:"At the provider: cus_…, acct_…, po_… or I-…."`
}

func (a *API) dismiss(ctx context.Context, in *subjectInPath) (*struct{}, error) {
	if err := checkNote(in.note()); err != nil {
		return nil, a.fail(ctx, err)
	}
	dismissed := false
	if !unstorable(in.Subject) {
		err := postgres.InTx(ctx, a.deps.Pool, func(tx pgx.Tx) (err error) {
			dismissed, err = webhook.Dismiss(ctx, tx, provider.Name(in.Provider), in.Subject, actor(ctx), in.note())
			return err
		})
		if err != nil {
			return nil, a.fail(ctx, err)
		}
	}
	if !dismissed {
		return nil, huma.Error404NotFound("nobody unknown has this name", &huma.ErrorDetail{Location: "path.subject", Message: "no webhook told of it, or it is known or dismissed"})
	}
	return &struct{}{}, nil
}
