package workflows_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfast/holdfast/workflows"
)

const histories = "testdata/histories"

// scenarios are the recorded histories. Records are never deleted: a change that one of them does
// not replay under is versioned. New scenarios are recorded by make histories.
func scenarios() []string {
	return []string{
		"straight", "outage", "wrong-key", "rejected-then-retried", "skipped", "changed-profile", "brought-with-promo", "gate-day",
		"backfill", "backfill-outage", "backfill-paypal", "drift",
		"sync-straight", "sync-marked-again", "sync-both", "sync-outage", "sync-retried", "sync-skipped", "sync-now", "sync-approval",
		"sync-continued",
		"delivery", "delivery-given-up", "delivery-asked-for",
		"payout-straight", "payout-outage", "payout-failed", "payout-returned", "payout-canceled", "payout-held", "payout-held-seen", "payout-continued", "payout-parked-canceled",
		"paypal-straight", "paypal-outage", "paypal-unfunded", "paypal-split", "paypal-stopped", "paypal-held", "paypal-found", "paypal-canceled", "paypal-continued",
		"run-straight", "run-outage", "run-approved", "run-paused", "launcher", "launcher-again",
		"run-both-rails", "run-without-stripe", "run-without-paypal", "run-never-known", "payout-sweep-both-rails",
		"account-check", "account-check-outage", "account-check-again", "account-check-old", "payout-sweep", "payout-wake",
	}
}

func TestRecordedHistoriesReplay(t *testing.T) {
	t.Parallel()
	for _, scenario := range scenarios() {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			replayer := worker.NewWorkflowReplayer()
			replayer.RegisterWorkflowWithOptions(workflows.CustomerOnboarding, workflow.RegisterOptions{Name: workflows.NameCustomerOnboarding})
			replayer.RegisterWorkflowWithOptions(workflows.SubscriptionSync, workflow.RegisterOptions{Name: workflows.NameSubscriptionSync})
			replayer.RegisterWorkflowWithOptions(workflows.ProviderGate, workflow.RegisterOptions{Name: workflows.NameProviderGate})
			replayer.RegisterWorkflowWithOptions(workflows.RepairSweep, workflow.RegisterOptions{Name: workflows.NameRepairSweep})
			replayer.RegisterWorkflowWithOptions(workflows.SubscriptionBackfill, workflow.RegisterOptions{Name: workflows.NameSubscriptionBackfill})
			replayer.RegisterWorkflowWithOptions(workflows.SubscriptionDrift, workflow.RegisterOptions{Name: workflows.NameSubscriptionDrift})
			replayer.RegisterWorkflowWithOptions(workflows.ChangeDelivery, workflow.RegisterOptions{Name: workflows.NameChangeDelivery})
			replayer.RegisterWorkflowWithOptions(workflows.Payout, workflow.RegisterOptions{Name: workflows.NamePayout})
			replayer.RegisterWorkflowWithOptions(workflows.PayPalPayoutBatch, workflow.RegisterOptions{Name: workflows.NamePayPalPayoutBatch})
			replayer.RegisterWorkflowWithOptions(workflows.PayoutLauncher, workflow.RegisterOptions{Name: workflows.NamePayoutLauncher})
			replayer.RegisterWorkflowWithOptions(workflows.PayoutRun, workflow.RegisterOptions{Name: workflows.NamePayoutRun})
			replayer.RegisterWorkflowWithOptions(workflows.AccountCheck, workflow.RegisterOptions{Name: workflows.NameAccountCheck})
			replayer.RegisterWorkflowWithOptions(workflows.PayoutWake, workflow.RegisterOptions{Name: workflows.NamePayoutWake})
			replayer.RegisterWorkflowWithOptions(workflows.PayoutSweep, workflow.RegisterOptions{Name: workflows.NamePayoutSweep})
			require.NoError(t, replayer.ReplayWorkflowHistoryFromJSONFile(nil, filepath.Join(histories, scenario+".json")))
		})
	}
}

func TestEveryRecordedHistoryIsListed(t *testing.T) {
	t.Parallel()
	files, err := os.ReadDir(histories)
	require.NoError(t, err)
	var recorded []string
	for _, f := range files {
		recorded = append(recorded, strings.TrimSuffix(f.Name(), ".json"))
	}
	require.ElementsMatch(t, scenarios(), recorded)
}

// No personal data is in a history of ours: what the scenarios' customers are called is not there.
func TestRecordedHistoriesHoldNoPersonalData(t *testing.T) {
	t.Parallel()
	for _, scenario := range scenarios() {
		recorded, err := os.ReadFile(filepath.Join(histories, scenario+".json"))
		require.NoError(t, err)
		require.NotContains(t, string(recorded), "example.com")
		require.NotContains(t, string(recorded), "ZXhhbXBsZS5jb2") // the same in base64, as payloads are
	}
}
