// Package step keeps the steps of workflows as people see them: where each stands, how often it
// was tried, what went wrong last, and what it waits for. Workflows park steps through it, the
// provider gate wakes them from it, and the API and the operators read it.
package step

import (
	"time"

	"github.com/holdfast/holdfast/internal/provider"
)

// Status is where a step stands.
type Status string

// The life of a step: pending, perhaps retrying and blocked, then done or skipped.
const (
	Pending  Status = "pending"
	Retrying Status = "retrying" // failed, and Temporal tries again by itself within a minute or so
	Blocked  Status = "blocked"  // parked: see WaitsFor
	Done     Status = "done"
	Skipped  Status = "skipped" // a person decided to go on without it
)

// Settled says that nothing more will be done.
func (s Status) Settled() bool { return s == Done || s == Skipped }

// WaitsFor is what a blocked step is waiting for.
type WaitsFor string

// A blocked step waits for its provider to come back or for a person to act.
const (
	ForProvider WaitsFor = "provider"
	ForPerson   WaitsFor = "person"
)

// Step is one step of one workflow.
type Step struct {
	WorkflowID    string
	Name          string
	CustomerID    string
	Provider      provider.Name
	Status        Status
	Attempts      int
	ErrorClass    provider.Class
	LastError     string // codes and ids, never personal data
	WaitsFor      WaitsFor
	BlockedAt     *time.Time
	NextAttemptAt *time.Time
	UpdatedAt     time.Time
}
