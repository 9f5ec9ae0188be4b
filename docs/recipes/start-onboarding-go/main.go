// Start-onboarding shows how a Go back end uses Holdfast through Temporal alone, with JSON and
// without Holdfast's packages: it starts the onboarding of one customer, waits a while until
// billing is ready, and prints the status.
//
//	TEMPORAL_ADDRESS=127.0.0.1:7233 go run ./docs/recipes/start-onboarding-go u_1 ada@example.com
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: start-onboarding-go CUSTOMER_ID EMAIL")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, customerID, email string) error {
	options, err := envconfig.LoadDefaultClientOptions() // TEMPORAL_ADDRESS and the rest
	if err != nil {
		return fmt.Errorf("read Temporal's configuration: %w", err)
	}
	temporal, err := client.Dial(options)
	if err != nil {
		return fmt.Errorf("connect to Temporal: %w", err)
	}
	defer temporal.Close()

	// The profile is the body of POST /v1/customers. It is stored under the same rules, and this is
	// the one place where personal data enters a history: see README.md beside this folder.
	input := map[string]any{
		"customer_id": customerID,
		"profile":     map[string]any{"id": customerID, "email": email},
	}
	start := temporal.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
		ID:                       "onboarding/" + customerID,
		TaskQueue:                "holdfast",
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            "onboarding of " + customerID,
	}, "CustomerOnboarding", input)

	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	// The update starts the workflow if need be, and returns when billing is ready or after wait_ms.
	ensure, err := temporal.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: start,
		UpdateOptions: client.UpdateWorkflowOptions{
			UpdateName:   "ensure",
			Args:         []any{map[string]any{"wait_ms": 10_000}},
			WaitForStage: client.WorkflowUpdateStageCompleted,
		},
	})
	if err != nil {
		return fmt.Errorf("ask for billing to be ready: %w", err)
	}
	var status map[string]any
	if err := ensure.Get(ctx, &status); err != nil {
		return fmt.Errorf("wait for billing to be ready: %w", err)
	}
	return json.NewEncoder(os.Stdout).Encode(status)
}
