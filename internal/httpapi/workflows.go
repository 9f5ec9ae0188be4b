package httpapi

import (
	"context"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/workflows"
)

// Waiting for Temporal in a request: a little longer than the caller wants to wait, so that the
// workflow's own answer comes first.
const waitGrace = 2 * time.Second

// asked is a workflow that can be asked, and how it is started if it does not run.
type asked struct {
	workflowID string
	workflow   string
	input      any
	summary    string
	customerID string // whose it is; empty for a payout's, which is found by its id
}

func onboardingOf(customerID string) asked {
	return asked{
		workflowID: workflows.OnboardingID(customerID), workflow: workflows.NameCustomerOnboarding,
		input: workflows.OnboardingInput{CustomerID: customerID}, summary: "onboarding of " + customerID, customerID: customerID,
	}
}

func syncOf(customerID string) asked {
	return asked{
		workflowID: workflows.SyncID(customerID), workflow: workflows.NameSubscriptionSync,
		input: workflows.SyncInput{CustomerID: customerID}, summary: "subscriptions of " + customerID, customerID: customerID,
	}
}

func payingOut(payoutID string) asked {
	return asked{
		workflowID: workflows.PayoutID(payoutID), workflow: workflows.NamePayout,
		input: workflows.PayoutInput{PayoutID: payoutID}, summary: "payout " + payoutID,
	}
}

func payPalBatchOf(batchID string) asked {
	return asked{
		workflowID: workflows.PayPalBatchID(batchID), workflow: workflows.NamePayPalPayoutBatch,
		input: workflows.PayPalBatchInput{BatchID: batchID}, summary: "PayPal payouts " + batchID,
	}
}

// workOn is the workflow that works on a payout: that of its batch, when it is in one.
func workOn(p payout.Payout) asked {
	if p.BatchID != "" {
		return payPalBatchOf(p.BatchID)
	}
	return payingOut(p.ID)
}

func accountCheckOf(payeeID string) asked {
	return asked{
		workflowID: workflows.AccountCheckID(payeeID), workflow: workflows.NameAccountCheck,
		input: workflows.AccountCheckInput{PayeeID: payeeID}, summary: "connected account of " + payeeID, customerID: payeeID,
	}
}

func payoutRunOf(on date.Date) asked {
	return asked{
		workflowID: workflows.PayoutRunID(on), workflow: workflows.NamePayoutRun,
		input: workflows.PayoutRunInput{Date: on}, summary: "payouts of " + on.String(),
	}
}

// searchAttributes are those with which the workflow is started.
func (w asked) searchAttributes() temporal.SearchAttributes {
	if w.customerID == "" {
		return temporal.NewSearchAttributes()
	}
	return temporal.NewSearchAttributes(temporal.NewSearchAttributeKeyKeyword(workflows.SearchCustomer).ValueSet(w.customerID))
}

// ask sends an update to a workflow, starting it if it does not run, waits for the answer
// as long as the caller wants to wait, and reads it into result, which may be nil.
func (a *API) ask(ctx context.Context, whom asked, update string, input any, wait time.Duration, result any) error {
	ctx, cancel := context.WithTimeout(ctx, wait+waitGrace)
	defer cancel()
	start := a.deps.Temporal.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
		ID: whom.workflowID, TaskQueue: workflows.TaskQueue,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary:            whom.summary,
		TypedSearchAttributes:    whom.searchAttributes(),
	}, whom.workflow, whom.input)
	handle, err := a.deps.Temporal.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: start,
		UpdateOptions: client.UpdateWorkflowOptions{
			UpdateName: update, Args: []any{input}, WaitForStage: client.WorkflowUpdateStageCompleted,
		},
	})
	if err != nil {
		return err
	}
	return handle.Get(ctx, result)
}

func milliseconds(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
