package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.temporal.io/sdk/client"

	"github.com/holdfast/holdfast/internal/postgres"
)

// Readiness is what the API needs, and what it can do without for a while.
type Readiness struct {
	Postgres string `json:"postgres" enum:"ok,unreachable,not_migrated"`
	Temporal string `json:"temporal" enum:"ok,unreachable" doc:"Not needed to take requests: work is handed over when it is back."`
}

type readinessAnswer struct {
	Status int
	Body   Readiness
}

type aliveAnswer struct {
	Body struct {
		Status string `json:"status" enum:"ok"`
	}
}

// askTimeout bounds each of the two questions.
const askTimeout = 2 * time.Second

func (a *API) routeHealth() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "healthz", Method: http.MethodGet, Path: "/healthz", Tags: []string{tagHealth}, Summary: "The process is alive",
	}, func(context.Context, *struct{}) (*aliveAnswer, error) {
		alive := &aliveAnswer{}
		alive.Body.Status = "ok"
		return alive, nil
	})
	huma.Register(a.huma, huma.Operation{
		OperationID: "readyz", Method: http.MethodGet, Path: "/readyz", Tags: []string{tagHealth},
		Summary: "Requests can be taken: Postgres answers and is migrated", Errors: []int{503},
	}, a.readiness)
}

func (a *API) readiness(ctx context.Context, _ *struct{}) (*readinessAnswer, error) {
	answer := &readinessAnswer{Status: http.StatusOK, Body: Readiness{Postgres: "ok", Temporal: a.temporalState(ctx)}}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := a.deps.Pool.Ping(ctx); err != nil {
		answer.Status, answer.Body.Postgres = http.StatusServiceUnavailable, "unreachable"
		return answer, nil
	}
	if err := postgres.RequireMigrated(ctx, a.deps.Pool); err != nil {
		answer.Status, answer.Body.Postgres = http.StatusServiceUnavailable, "not_migrated"
	}
	return answer, nil
}

func (a *API) temporalState(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if _, err := a.deps.Temporal.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		return "unreachable"
	}
	return "ok"
}
