// Package httpapi is Holdfast's HTTP API. It answers from Postgres alone; where it asks Temporal,
// Temporal being down delays the work and fails no customer's request.
package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/client"

	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/subscription"
)

// Temporal is what the API asks of Temporal; its client is one.
type Temporal interface {
	NewWithStartWorkflowOperation(options client.StartWorkflowOptions, workflow any, args ...any) client.WithStartWorkflowOperation
	UpdateWithStartWorkflow(ctx context.Context, options client.UpdateWithStartWorkflowOptions) (client.WorkflowUpdateHandle, error)
	CheckHealth(ctx context.Context, request *client.CheckHealthRequest) (*client.CheckHealthResponse, error)
}

// Requests sees every answered request, for metrics.
type Requests interface {
	ObserveRequest(ctx context.Context, method, route string, status int, took time.Duration)
}

// Deps are what the API works with.
type Deps struct {
	Pool      *pgxpool.Pool
	Temporal  Temporal
	Keys      config.Keys
	Customers *customer.Store
	// Subscriptions is what is known of customers' subscriptions.
	Subscriptions *subscription.Store
	// Payouts is payees and what they are paid.
	Payouts  *payout.Store
	Webhooks Webhooks
	// DeliversChanges says that changes are sent to a webhook of the app's.
	DeliversChanges bool
	// Notify is called after messages were committed to the outbox.
	Notify   func()
	Requests Requests // may be nil
	Log      *slog.Logger
}

// API is the HTTP API.
type API struct {
	deps    Deps
	changes *feed.Watcher
	repairs chan repair
	mux     *http.ServeMux
	huma    huma.API
}

// New makes the API. Run must run for repairs to be made and for those who wait for changes to be told.
func New(deps Deps) *API {
	a := &API{
		deps:    deps,
		changes: feed.NewWatcher(deps.Pool, deps.Log),
		repairs: make(chan repair, maxRepairs),
		mux:     http.NewServeMux(),
	}
	a.huma = humago.New(a.mux, humaConfig())
	a.huma.UseMiddleware(a.authorize)
	a.routeCustomers()
	a.routeSubscriptions()
	a.routePayees()
	a.routeEarnings()
	a.routePayouts()
	a.routePayoutRequests()
	a.routeStatements()
	a.routePayoutRuns()
	a.routePayoutActs()
	a.routePayPalBatches()
	a.routeChanges()
	a.routeOperators()
	a.routeAttention()
	a.routeWebhooks()
	a.routeHealth()
	a.routeDocs()
	a.mux.HandleFunc("/", a.unknownRoute)
	return a
}

// Handler answers requests.
func (a *API) Handler() http.Handler { return identified(a.logged(a.recovering(a.mux))) }

// Describe gives the API's description, OpenAPI 3.1 in JSON.
func Describe() ([]byte, error) {
	described, err := New(Deps{}).huma.OpenAPI().MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, described, "", "  "); err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	indented.WriteByte('\n')
	return indented.Bytes(), nil
}

// alsoAnswers adds to an operation's description a second status with a body of type T. huma knows
// of one alone.
func alsoAnswers[T any](a *API, o huma.Operation, status int, description string) huma.Operation {
	schema := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")
	if o.Responses == nil {
		o.Responses = map[string]*huma.Response{}
	}
	o.Responses[strconv.Itoa(status)] = &huma.Response{
		Description: description, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}},
	}
	return o
}

const (
	tagCustomers = "Customers"
	tagPayouts   = "Payouts"
	tagOperators = "Operators"
	tagHealth    = "Health"
)

func humaConfig() huma.Config {
	c := huma.DefaultConfig("Holdfast", "1")
	c.Info.Description = "Durable billing work between an app and its payment providers. Times are RFC 3339 in UTC. " +
		"Errors are RFC 9457 problems that name the field."
	c.Tags = []*huma.Tag{{Name: tagCustomers}, {Name: tagPayouts}, {Name: tagOperators}, {Name: tagHealth}}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		securityScheme: {Type: "http", Scheme: "bearer", Description: "A key of HOLDFAST_API_KEYS, or of HOLDFAST_OPERATOR_KEYS for operators' calls."},
	}
	c.DocsPath = ""     // ours is served without scripts from elsewhere
	c.SchemasPath = ""  // /openapi.json has them
	c.CreateHooks = nil // no $schema in every answer
	c.Transformers = []huma.Transformer{tidyProblem}
	c.RejectUnknownQueryParameters = true
	return c
}
