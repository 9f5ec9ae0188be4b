// Package workflows holds Holdfast's durable work: deterministic code that decides what happens
// next. This file is its contract with the outside: queues, names, ids, inputs and results. A
// back end in any language needs nothing else.
package workflows

import (
	"strconv"
	"time"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
)

// TaskQueue is where workflows run, and the activities that touch Postgres and Temporal alone.
const TaskQueue = "holdfast"

// ProviderTaskQueue is where the calls to a provider run. Its server-side rate is the provider's
// limit for the whole fleet, and a dead provider occupies nobody else's slots.
func ProviderTaskQueue(p provider.Name) string { return TaskQueue + "-" + string(p) }

// Workflow names, as registered.
const (
	NameCustomerOnboarding = "CustomerOnboarding"
	NameProviderGate       = "ProviderGate"
	NameRepairSweep        = "RepairSweep"
	NameSubscriptionSync   = "SubscriptionSync"
	NameChangeDelivery     = "ChangeDelivery"

	NameSubscriptionBackfill = "SubscriptionBackfill"
	NameSubscriptionDrift    = "SubscriptionDrift"

	NamePayoutLauncher = "PayoutLauncher"
	NamePayoutRun      = "PayoutRun"
	NamePayout         = "Payout"
	NamePayoutSweep    = "PayoutSweep"
	NamePayoutWake     = "PayoutWake"
	NameAccountCheck   = "AccountCheck"

	NamePayPalPayoutBatch = "PayPalPayoutBatch"
)

// OnboardingID is the id of a customer's CustomerOnboarding.
func OnboardingID(customerID string) string { return customer.WorkflowID(customerID) }

// SyncID is the id of a customer's SubscriptionSync.
func SyncID(customerID string) string { return subscription.WorkflowID(customerID) }

// BackfillID is the id of a provider's SubscriptionBackfill.
func BackfillID(p provider.Name) string { return "subscription-backfill/" + string(p) }

// PayoutRunID is the id of a date's PayoutRun.
func PayoutRunID(on date.Date) string { return "payout-run/" + on.String() }

// AccountCheckID is the id of the AccountCheck of a payee.
func AccountCheckID(payeeID string) string { return "account-check/" + payeeID }

// PayoutID is the id of the Payout of a payout.
func PayoutID(payoutID string) string { return "payout/" + payoutID }

// PayoutWakeID is the id of the PayoutWake that follows a cause.
func PayoutWakeID(cause string) string { return "payout-wake/" + cause }

// PayPalBatchID is the id of the PayPalPayoutBatch of a batch.
func PayPalBatchID(batchID string) string { return "paypal-batch/" + batchID }

// DeliveryID is the id of the ChangeDelivery of a change.
func DeliveryID(seq int64) string { return "change-delivery/" + strconv.FormatInt(seq, 10) }

// GateID is the id of a provider's ProviderGate.
func GateID(p provider.Name) string { return "provider-gate/" + string(p) }

// Updates, signals and queries.
const (
	UpdateRetry  = "retry"  // CustomerOnboarding, StepInput → StatusResult: try a waiting step now
	UpdateSkip   = "skip"   // CustomerOnboarding, StepInput → StatusResult: go on without a waiting step
	UpdateEnsure = "ensure" // CustomerOnboarding, EnsureInput → StatusResult: returns when billing is ready or the wait ends

	UpdateApprove = "approve" // PayoutRun, RunDecisionInput → PayoutRunResult: pay what was worked out
	UpdatePause   = "pause"   // PayoutRun, the same: hand no more payouts over
	UpdateResume  = "resume"  // PayoutRun, the same: go on
	UpdateCancel  = "cancel"  // Payout, DecisionInput → PayoutResult: end it, if its money can still be kept back; PayPalPayoutBatch, ItemDecisionInput → PayPalBatchResult
	UpdateResolve = "resolve" // Payout, DecisionInput → PayoutResult: end it as a person found out; PayPalPayoutBatch, ItemDecisionInput → PayPalBatchResult

	UpdateRecordDuplicate = "record_duplicate" // Payout, DecisionInput → PayoutResult: its money has moved a second time; PayPalPayoutBatch, ItemDecisionInput → PayPalBatchResult

	UpdateSyncNow = "sync_now" // SubscriptionSync, SyncNowInput → SyncResult: reads now; returns when all is read or the wait ends

	SignalChanged        = "changed"         // SubscriptionSync and AccountCheck, no payload: what is known of the customer may be old
	SignalProviderUp     = "provider_up"     // any workflow with parked steps, the provider's name
	SignalProfileChanged = "profile_changed" // CustomerOnboarding, no payload: Postgres has something new to carry
	SignalRedeliver      = "redeliver"       // ChangeDelivery, no payload: send the change again
	SignalProviderEvent  = "provider_event"  // Payout and PayPalPayoutBatch, no payload: the provider has something new to tell
	SignalDecided        = "decided"         // PayoutRun, no payload: a person has decided something, which is in Postgres
	SignalTrouble        = "trouble"         // ProviderGate, no payload: a step met trouble with the provider

	QueryStatus   = "status"   // CustomerOnboarding → StatusResult
	QueryState    = "state"    // ProviderGate → GateState
	QueryProgress = "progress" // SubscriptionBackfill → BackfillProgress
)

// OnboardingInput names the customer. A profile is given only by a back end that starts the
// workflow straight through Temporal: it is stored by the first activity under the rules of
// POST /v1/customers. It is the one place where personal data can enter a history; see
// docs/recipes for Temporal's payload codec.
type OnboardingInput struct {
	CustomerID string            `json:"customer_id"`
	Profile    *customer.Profile `json:"profile,omitempty"`
}

// StatusResult is a customer's onboarding: the answer of the status query, of every update, and
// the workflow's own result.
type StatusResult struct {
	CustomerID string `json:"customer_id"`
	// BillingReady says that the Stripe customer is confirmed and nothing that signup promised is
	// still on its way.
	BillingReady bool         `json:"billing_ready"`
	Steps        []StepStatus `json:"steps"`
}

// StepStatus is one step as the workflow sees it. Attempts and times are in Postgres.
type StepStatus struct {
	Name      string        `json:"name"`
	Status    step.Status   `json:"status"`
	WaitsFor  step.WaitsFor `json:"waits_for,omitempty"`
	LastError string        `json:"last_error,omitempty"`
	Since     *time.Time    `json:"since,omitempty"`
}

// StepInput names the step that an operator retries or skips.
type StepInput struct {
	Step string `json:"step"`
}

// EnsureInput bounds the wait of an ensure update, in milliseconds, at most 30,000.
type EnsureInput struct {
	WaitMS int64 `json:"wait_ms"`
}

// SyncInput names the customer whose subscriptions are to be read.
type SyncInput struct {
	CustomerID string `json:"customer_id"`
	// Provider, if known, is where something is known to have changed: it is read at once, without
	// asking Postgres first.
	Provider provider.Name `json:"provider,omitempty"`
}

// SyncNowInput bounds the wait of a sync_now update, in milliseconds, at most 30,000.
type SyncNowInput struct {
	WaitMS int64 `json:"wait_ms"`
}

// SyncResult tells how a customer's sync stands. What was read is in Postgres.
type SyncResult struct {
	CustomerID string `json:"customer_id"`
	// Synced says that nothing is known to be old.
	Synced bool         `json:"synced"`
	Steps  []StepStatus `json:"steps"`
}

// BackfillInput names the provider at which everybody's subscriptions are held against what is known.
type BackfillInput struct {
	Provider provider.Name `json:"provider"`
	// Everyone has those read too of whom nothing seems to be missing: at Stripe who was never read, at
	// PayPal, which lists nothing, everybody.
	Everyone bool `json:"everyone,omitempty"`
	// Progress is what the run before had come to.
	Progress *BackfillProgress `json:"progress,omitempty"`
}

// BackfillStage is what a pass does at present.
type BackfillStage string

// The stages of a pass, in order.
const (
	BackfillStarting  BackfillStage = "starting"
	BackfillComparing BackfillStage = "comparing" // Stripe's list with what is known
	BackfillMarking   BackfillStage = "marking"   // who was not read for long, or never
	BackfillReading   BackfillStage = "reading"   // waits for the last who were marked
	BackfillDone      BackfillStage = "done"
)

// BackfillProgress is how far a pass has come: the answer of the progress query, and its result.
type BackfillProgress struct {
	Provider  provider.Name  `json:"provider"`
	Everyone  bool           `json:"everyone,omitempty"`
	Stage     BackfillStage  `json:"stage"`
	StartedAt time.Time      `json:"started_at,omitzero"`
	StageAt   time.Time      `json:"stage_at,omitzero"` // since when it is at this stage
	Cursor    BackfillCursor `json:"cursor,omitzero"`

	Customers int `json:"customers"` // who may have subscriptions there
	Pages     int `json:"pages"`     // of the provider's list
	Compared  int `json:"compared"`  // customers on the pages; one on two pages counts twice
	Differing int `json:"differing"` // customers of whom something else was known than a page told
	Marked    int `json:"marked"`    // customers who are read because of this pass
	Healed    int `json:"healed"`    // customers whose read found a difference
	Unread    int `json:"unread"`    // marked customers who were not read when the pass ended

	// Busy says that the pass waits until less is to be read at the provider.
	Busy  bool         `json:"busy,omitempty"`
	Steps []StepStatus `json:"steps,omitempty"`
}

// BackfillCursor is where a pass goes on.
type BackfillCursor struct {
	// After is the subscription, or the customer, behind which it goes on; empty is the beginning.
	After string `json:"after,omitempty"`
	// Edge is when that subscription was created, and Seen are those of the same moment that pages had.
	Edge *time.Time `json:"edge,omitempty"`
	Seen []string   `json:"seen,omitempty"`
}

// DeliveryInput names the change that is sent to the app's webhook.
type DeliveryInput struct {
	Seq int64 `json:"seq"`
}

// DeliveryResult tells what became of a delivery. What was not delivered waits for an operator.
type DeliveryResult struct {
	Delivered bool   `json:"delivered"`
	LastError string `json:"last_error,omitempty"`
}

// GateInput is a gate's provider and, from the run before, what it knows.
type GateInput struct {
	Provider provider.Name `json:"provider"`
	State    *GateState    `json:"state,omitempty"`
}

// GateState is what a gate knows of its provider.
type GateState struct {
	State provider.State `json:"state"`
	Since time.Time      `json:"since"`
	// Pause is how long the gate holds back should trouble come again soon after LastTrouble.
	Pause       time.Duration `json:"pause,omitempty"`
	LastTrouble time.Time     `json:"last_trouble,omitzero"`
}

// PayoutRunInput names the date whose payouts are to be made.
type PayoutRunInput struct {
	Date date.Date `json:"date"`
	// Progress is what the run before had come to.
	Progress *PayoutRunResult `json:"progress,omitempty"`
}

// PayoutRunResult is how far a date's run is: the answer of its query and its updates, and its result.
// What becomes of the payouts is in Postgres.
type PayoutRunResult struct {
	Date       date.Date `json:"date"`
	State      string    `json:"state"`
	Looked     int       `json:"looked"`      // payees that were looked at
	Planned    int       `json:"planned"`     // payouts that were frozen
	HandedOver int       `json:"handed_over"` // payouts that have a workflow of their own
}

// RunDecisionInput is a person's decision on a run. Why is kept in Postgres.
type RunDecisionInput struct {
	Actor string `json:"actor"` // the name of the key
}

// AccountCheckInput names the payee whose connected account is to be looked at.
type AccountCheckInput struct {
	PayeeID string `json:"payee_id"`
	// Background says that nobody waits for the look.
	Background bool `json:"background,omitempty"`
}

// PayoutInput names a payout.
type PayoutInput struct {
	PayoutID string `json:"payout_id"`
}

// PayoutPlanInput asks how a payout stands.
type PayoutPlanInput struct {
	PayoutID string `json:"payout_id"`
	// Heard says that there is news of it: the provider's, or that nobody has looked for long.
	Heard bool `json:"heard,omitempty"`
}

// DecisionInput is a person's decision on a payout. Why is kept in Postgres.
type DecisionInput struct {
	Actor string `json:"actor"` // the name of the key
	// Outcome is paid or failed, to resolve a payout; paid needs the provider's id of what paid it. A
	// second movement has an id and no outcome.
	Outcome    string `json:"outcome,omitempty"`
	ProviderID string `json:"provider_id,omitempty"`
	// Force resolves a payout as failed although the provider does not bear it out.
	Force bool `json:"force,omitempty"`
}

// PayPalBatchInput names a batch of payouts at PayPal.
type PayPalBatchInput struct {
	BatchID string `json:"batch_id"`
}

// ItemDecisionInput is a person's decision on one payout of a batch. What resolves it as paid is the id
// of its payout item; the id of a payout batch has the whole batch taken for ours, if it is.
type ItemDecisionInput struct {
	DecisionInput

	PayoutID string `json:"payout_id"`
}

// PayPalBatchResult is how a batch stands. How its payouts stand is in Postgres.
type PayPalBatchResult struct {
	BatchID string       `json:"batch_id"`
	State   string       `json:"state"`
	Steps   []StepStatus `json:"steps,omitempty"`
}

// ErrConflict is the type of an error that refuses a decision: what is true of the payout does not
// allow it. Its message is a sentence for the person who decided.
const ErrConflict = "conflict"

// PayoutResult is how a payout stands.
type PayoutResult struct {
	PayoutID string       `json:"payout_id"`
	State    payout.State `json:"state"`
	Steps    []StepStatus `json:"steps,omitempty"`
}

// SweepResult is what a sweep over payouts did.
type SweepResult struct {
	Looked int `json:"looked"` // payouts that are looked at again
	Lifted int `json:"lifted"` // payouts on their way for so long that the payee's next one does not wait
	Runs   int `json:"runs"`   // runs that have not ended and go on, should nothing work on them any more

	Batches int `json:"batches,omitempty"` // batches of payouts by PayPal that are looked at again
	Formed  int `json:"formed,omitempty"`  // payouts by PayPal that were in no batch and were put into one
	Delayed int `json:"delayed,omitempty"` // payees who were told that a payout takes longer than usual
	// Accounts are the connected accounts that are looked at since they had not been seen for long.
	Accounts int `json:"accounts,omitempty"`
	// Found counts what was found by its kind: the provider, and how far it was, such as stripe/sending.
	Found map[string]int `json:"found,omitempty"`
	// SearchDue says that PayPal's movements are to be searched for payouts that came back, and
	// Reversed what that has found.
	SearchDue bool          `json:"search_due,omitempty"`
	Reversed  *SearchResult `json:"reversed,omitempty"`
}

// SearchResult is what a search of PayPal's movements has found.
type SearchResult struct {
	Searched int `json:"searched"` // movements
	Whole    int `json:"whole"`    // paid payouts that seem to have come back, and are looked at
	Parts    int `json:"parts"`    // parts of some that were taken back
	// Found are the batches at PayPal that have payouts of ours, and that none of ours was known to be.
	Found int `json:"found,omitempty"`
}

// PayoutWakeInput names the payouts that are told that a stop was lifted, and why they are.
type PayoutWakeInput struct {
	RunDate date.Date `json:"run_date,omitzero"` // zero: all
	Cause   string    `json:"cause"`
}

// PayoutWakeResult tells how many were told: payouts at Stripe, and batches at PayPal.
type PayoutWakeResult struct {
	Woken int `json:"woken"`
}
