package httpapi

import (
	"context"
	"errors"
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

// Bounds of the two questions. A probe of a load balancer often waits one second, and a Temporal
// that hangs must not make us look unready.
const (
	askPostgresTimeout = 2 * time.Second
	askTemporalTimeout = 500 * time.Millisecond
)

// Patterns of the probes.
const (
	routeHealthz = "GET /healthz"
	routeReadyz  = "GET /readyz"
)

func (a *API) routeHealth() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "healthz", Method: http.MethodGet, Path: "/healthz", Tags: []string{tagHealth}, Summary: "The process is alive",
	}, func(context.Context, *struct{}) (*aliveAnswer, error) {
		alive := &aliveAnswer{}
		alive.Body.Status = "ok"
		return alive, nil
	})
	huma.Register(a.huma, alsoAnswers[Readiness](a, huma.Operation{
		OperationID: "readyz", Method: http.MethodGet, Path: "/readyz", Tags: []string{tagHealth},
		Summary: "Requests can be taken: Postgres answers and is migrated",
	}, http.StatusServiceUnavailable, "Requests cannot be taken."), a.readiness)
}

func (a *API) readiness(ctx context.Context, _ *struct{}) (*readinessAnswer, error) {
	answer := &readinessAnswer{Status: http.StatusOK, Body: Readiness{Postgres: a.postgresState(ctx), Temporal: a.temporalState(ctx)}}
	if answer.Body.Postgres != stateOK {
		answer.Status = http.StatusServiceUnavailable
	}
	return answer, nil
}

// States of what we depend on.
const (
	stateOK          = "ok"
	stateUnreachable = "unreachable"
	stateNotMigrated = "not_migrated"
)

func (a *API) postgresState(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, askPostgresTimeout)
	defer cancel()
	err := postgres.RequireMigrated(ctx, a.deps.Pool)
	switch {
	case errors.Is(err, postgres.ErrNotMigrated):
		return stateNotMigrated
	case err != nil:
		return stateUnreachable
	default:
		return stateOK
	}
}

func (a *API) temporalState(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, askTemporalTimeout)
	defer cancel()
	if _, err := a.deps.Temporal.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		return stateUnreachable
	}
	return stateOK
}
