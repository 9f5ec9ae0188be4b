package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/date"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/step"
	"github.com/holdfast/holdfast/internal/subscription"
)

// Activity names, as registered. Workflows call them through the typed functions below.
const (
	ActivityPlanOnboarding       = "PlanOnboarding"
	ActivityCreateStripeCustomer = "CreateStripeCustomer"
	ActivityVerifyStripeCustomer = "VerifyStripeCustomer"
	ActivityClaimStripeCustomer  = "ClaimStripeCustomer"
	ActivityFindPromotionCode    = "FindPromotionCode"
	ActivityApplyPromotionCode   = "ApplyPromotionCode"
	ActivityUpdateStripeProfile  = "UpdateStripeProfile"
	ActivityParkStep             = "ParkStep"
	ActivitySkipStep             = "SkipStep"
	ActivityProbeProvider        = "ProbeProvider"
	ActivityWakeParked           = "WakeParked"
	ActivityRepairNeglected      = "RepairNeglected"

	ActivityDeliverChange = "DeliverChange"
	ActivityGiveUpChange  = "GiveUpChange"

	ActivityPlanSync                = "PlanSync"
	ActivityReadStripeSubscriptions = "ReadStripeSubscriptions"
	ActivityReadPayPalSubscriptions = "ReadPayPalSubscriptions"

	ActivityBeginBackfill     = "BeginBackfill"
	ActivityCompareStripePage = "CompareStripePage"
	ActivityMarkUnread        = "MarkUnread"
	ActivityCountHealed       = "CountHealed"

	ActivityAdvancePayoutRun  = "AdvancePayoutRun"
	ActivityDecidePayoutRun   = "DecidePayoutRun"
	ActivityReadPlatformFunds = "ReadPlatformFunds"
	ActivityReadPayPalFunds   = "ReadPayPalFunds"
	ActivitySearchPayPal      = "SearchPayPalTransactions"
	ActivitySweepPayouts      = "SweepPayouts"
	ActivityCheckAccount      = "CheckAccount"
	ActivityWakePayouts       = "WakePayouts"

	ActivityPlanPayout       = "PlanPayout"
	ActivityCheckDestination = "CheckDestination"
	ActivitySendTransfer     = "SendTransfer"
	ActivitySendPayout       = "SendPayout"
	ActivityReadPayout       = "ReadPayout"
	ActivityReverseTransfer  = "ReverseTransfer"
	ActivityCancelPayout     = "CancelPayout"
	ActivityResolvePayout    = "ResolvePayout"
	ActivityRecordDuplicate  = "RecordDuplicate"

	ActivityPlanPayPalBatch   = "PlanPayPalBatch"
	ActivitySendPayPalBatch   = "SendPayPalBatch"
	ActivityReadPayPalBatch   = "ReadPayPalBatch"
	ActivityCancelPayPalItem  = "CancelPayPalItem"
	ActivityResolvePayPalItem = "ResolvePayPalItem"

	ActivityRecordPayPalDuplicate = "RecordPayPalDuplicate"
)

// PlanInput asks what a customer's onboarding has to do, after storing the profile if one is given.
type PlanInput struct {
	CustomerID string            `json:"customer_id"`
	Profile    *customer.Profile `json:"profile,omitempty"`
}

// Plan is what there is to do, in Postgres' view.
type Plan struct {
	Steps []PlannedStep `json:"steps"`
	// BringsStripeCustomer says that the app named its own Stripe customer, to be verified and claimed.
	BringsStripeCustomer bool `json:"brings_stripe_customer,omitempty"`
}

// PlannedStep is a step as it stood when the plan was made.
type PlannedStep struct {
	Name     string        `json:"name"`
	Provider provider.Name `json:"provider"`
	Status   step.Status   `json:"status"`
	// WaitsFor a person: the step was refused and stays parked until somebody acts.
	WaitsFor   step.WaitsFor  `json:"waits_for,omitempty"`
	ErrorClass provider.Class `json:"error_class,omitempty"`
	LastError  string         `json:"last_error,omitempty"`
	// Refused says that the provider is known to be down: the step parks without an attempt.
	Refused bool `json:"refused,omitempty"`
}

// CallInput is the input of every activity that calls a provider for a step of a customer.
type CallInput struct {
	CustomerID string `json:"customer_id"`
	Step       string `json:"step"`
	// PromotionCodeID is Stripe's id of the code to apply, promo_….
	PromotionCodeID string `json:"promotion_code_id,omitempty"`
}

// FindResult is the outcome of a look-up; empty when there is no such object.
type FindResult struct {
	ID string `json:"id,omitempty"`
}

// UpdateResult is the outcome of UpdateStripeProfile.
type UpdateResult struct {
	// Newer says that the profile changed again meanwhile.
	Newer bool `json:"newer,omitempty"`
}

// PlanSyncInput asks what of a customer is to be read.
type PlanSyncInput struct {
	CustomerID string `json:"customer_id"`
	// Mark, if given, says why everything is to be read, whatever is known.
	Mark subscription.Cause `json:"mark,omitempty"`
}

// SyncPlan is what of a customer is to be read.
type SyncPlan struct {
	Steps []PlannedStep `json:"steps"`
	// AwaitsApproval is since when a person has had a PayPal subscription to approve.
	AwaitsApproval *time.Time `json:"awaits_approval,omitempty"`
}

// ReadResult is what a read of a customer's subscriptions at one provider has shown. The
// subscriptions themselves are in Postgres.
type ReadResult struct {
	// Dirty says that the customer was marked again meanwhile.
	Dirty bool `json:"dirty,omitempty"`
	// AwaitsApproval is since when a person has had a PayPal subscription to approve.
	AwaitsApproval *time.Time `json:"awaits_approval,omitempty"`
}

// BeginBackfillInput names the provider of a pass, and the step that is shown when it has to wait;
// empty when there is none.
type BeginBackfillInput struct {
	Provider provider.Name `json:"provider"`
	Step     string        `json:"step,omitempty"`
}

// BeginBackfillResult is the beginning of a pass, by Postgres' clock, and how much there is to do.
type BeginBackfillResult struct {
	StartedAt time.Time `json:"started_at"`
	Customers int       `json:"customers"`
}

// ComparePageInput asks for one page of Stripe's list.
type ComparePageInput struct {
	Step      string         `json:"step"`
	Cursor    BackfillCursor `json:"cursor"`
	StartedAt time.Time      `json:"started_at"`
}

// ComparePageResult is what became of a page.
type ComparePageResult struct {
	// Busy says that too much is to be read as it is: nothing was done.
	Busy bool `json:"busy,omitempty"`
	// Lost says that Stripe no longer knows the subscription behind which the page was to begin.
	Lost bool `json:"lost,omitempty"`
	// Next is where the next page begins; nil when this was the last.
	Next      *BackfillCursor `json:"next,omitempty"`
	Compared  int             `json:"compared,omitempty"`
	Differing int             `json:"differing,omitempty"`
	Healed    int             `json:"healed,omitempty"` // since the pass began
}

// MarkUnreadInput asks for the next customers to be marked who were not read since a moment.
type MarkUnreadInput struct {
	Provider  provider.Name `json:"provider"`
	After     string        `json:"after,omitempty"`
	Before    time.Time     `json:"before,omitzero"` // zero: who was never read
	Everyone  bool          `json:"everyone,omitempty"`
	StartedAt time.Time     `json:"started_at"`
}

// MarkUnreadResult is what became of that.
type MarkUnreadResult struct {
	Busy   bool   `json:"busy,omitempty"`
	Next   string `json:"next,omitempty"` // the last one marked; empty when there are no more
	Marked int    `json:"marked,omitempty"`
	Healed int    `json:"healed,omitempty"`
}

// CountHealedInput asks what the marks of a pass have led to.
type CountHealedInput struct {
	Provider  provider.Name `json:"provider"`
	StartedAt time.Time     `json:"started_at"`
}

// CountHealedResult tells how many were healed, and how many are still to be read.
type CountHealedResult struct {
	Healed int `json:"healed"`
	Unread int `json:"unread"`
}

// GiveUpInput records that a change was not delivered, and the code of what the last attempt met.
type GiveUpInput struct {
	Seq       int64  `json:"seq"`
	LastError string `json:"last_error"`
}

// ParkInput records that a step waits, since when, and until when at most.
type ParkInput struct {
	Step          string         `json:"step"`
	Provider      provider.Name  `json:"provider"`
	ErrorClass    provider.Class `json:"error_class"`
	LastError     string         `json:"last_error"`
	WaitsFor      step.WaitsFor  `json:"waits_for"`
	NextAttemptAt *time.Time     `json:"next_attempt_at,omitempty"` // nil: only a person goes on
}

// ProbeInput asks for one cheap read, again and again, until the provider's state is another than Known.
type ProbeInput struct {
	Provider provider.Name  `json:"provider"`
	Known    provider.State `json:"known"`
}

// ProbeResult is the state that the probe found and stored.
type ProbeResult struct {
	State provider.State `json:"state"`
	Since time.Time      `json:"since"`
}

// WakeInput names the provider whose parked steps are to be woken.
type WakeInput struct {
	Provider provider.Name `json:"provider"`
}

// WakeResult tells how waking went.
type WakeResult struct {
	Woken int `json:"woken"`
	// Recovered says that nothing waits for the provider any more and that its state is up.
	Recovered bool      `json:"recovered"`
	Since     time.Time `json:"since"`
}

// RepairResult counts the customers whose onboarding or reading was started again.
type RepairResult struct {
	Repaired int `json:"repaired"`
}

// providerHeartbeat is how soon a call in a process that died is tried again. Calls that answer
// within a few seconds send no heartbeat.
const providerHeartbeat = 10 * time.Second

// onStripe is onProvider for Stripe.
func onStripe(ctx workflow.Context, summary string) workflow.Context {
	return onProvider(ctx, provider.Stripe, summary)
}

// onProvider calls a provider: the first tries ride out a blip, about five within a minute. What
// remains after them is parked, so a longer policy would only hide it.
func onProvider(ctx workflow.Context, p provider.Name, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           ProviderTaskQueue(p),
		StartToCloseTimeout: ProviderCallTimeout,
		HeartbeatTimeout:    providerHeartbeat,
		Summary:             summary,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval:    time.Second,
			BackoffCoefficient: blipBackoff,
			MaximumInterval:    time.Minute,
			MaximumAttempts:    BlipAttempts,
		},
	})
}

// The ride through a blip: attempts after 1, 3, 9 and 27 seconds. ProviderCallTimeout bounds one
// attempt and is longer than any HTTP timeout inside it.
const (
	BlipAttempts        = 5
	ProviderCallTimeout = 30 * time.Second
	blipBackoff         = 3
)

// BlipBackoff is the delay after a failed attempt, counted from 1; ok is false after the last one.
func BlipBackoff(attempt int) (delay time.Duration, ok bool) {
	if attempt >= BlipAttempts {
		return 0, false
	}
	delay = time.Second
	for range attempt - 1 {
		delay *= blipBackoff
	}
	return delay, true
}

// urgent goes before what waits at normal priority: a person is looking.
func urgent(ctx workflow.Context) workflow.Context {
	options := workflow.GetActivityOptions(ctx)
	options.Priority = temporal.Priority{PriorityKey: 2}
	return workflow.WithActivityOptions(ctx, options)
}

// inBackground lets live work go first.
func inBackground(ctx workflow.Context) workflow.Context {
	options := workflow.GetActivityOptions(ctx)
	options.Priority = temporal.Priority{PriorityKey: 5}
	return workflow.WithActivityOptions(ctx, options)
}

// onPostgres does work that needs our own database alone and is tried until it succeeds.
func onPostgres(ctx workflow.Context, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           TaskQueue,
		StartToCloseTimeout: 10 * time.Second,
		Summary:             summary,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: 30 * time.Second},
	})
}

// probing polls by being retried, which costs no history and shows its last failure in the UI. It
// goes before the backlog of its queue.
func probing(ctx workflow.Context, p provider.Name) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           ProviderTaskQueue(p),
		StartToCloseTimeout: ProviderCallTimeout,
		HeartbeatTimeout:    providerHeartbeat, // or a worker that is killed while it probes would hold everybody up
		Summary:             "probe " + string(p),
		Priority:            temporal.Priority{PriorityKey: 1},
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: ProbeInterval, BackoffCoefficient: 1},
	})
}

// ProbeInterval is how often a gate reads from a provider that is in trouble.
const ProbeInterval = 3 * time.Second

// waking runs as long as the backlog takes at the provider's rate, and goes on elsewhere when its
// worker dies.
func waking(ctx workflow.Context, p provider.Name) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           TaskQueue,
		StartToCloseTimeout: 24 * time.Hour,
		HeartbeatTimeout:    30 * time.Second,
		Summary:             "wake what waits for " + string(p),
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: 30 * time.Second},
	})
}

// call runs an activity and waits for its result.
func call[Result any](ctx workflow.Context, activity string, input any) (Result, error) {
	var result Result
	err := workflow.ExecuteActivity(ctx, activity, input).Get(ctx, &result)
	return result, err
}

// PayoutRunNext is what a run does next.
type PayoutRunNext string

// What a run does next; empty: it goes on with the next slice.
const (
	RunWantsFunds     PayoutRunNext = "read_funds"      // it has to know what the platform has
	RunWaitsForPerson PayoutRunNext = "wait_for_person" // it needs an approval, or is paused
	RunOver           PayoutRunNext = "over"            // every payout has a workflow of its own
)

// PayoutRunStep is what one slice of a run did.
type PayoutRunStep struct {
	State      string        `json:"state"`
	Looked     int           `json:"looked,omitempty"`
	Planned    int           `json:"planned,omitempty"`
	HandedOver int           `json:"handed_over,omitempty"`
	Next       PayoutRunNext `json:"next,omitempty"`
	// Funds are what has to be known before the run goes on.
	Funds []WantedFunds `json:"funds,omitempty"`
}

// WantedFunds is what the platform has at a provider, and the step of the run that reads it.
type WantedFunds struct {
	Provider provider.Name `json:"provider"`
	Step     string        `json:"step"`
	// Known says that something is known of it from before.
	Known bool `json:"known,omitempty"`
	// Forever says that the run waits for it as long as it takes.
	Forever bool `json:"-"`
}

// FundsAt is the reading of what the platform has at a provider.
func FundsAt(p provider.Name) WantedFunds {
	if p == provider.PayPal {
		return WantedFunds{Provider: p, Step: StepPayPalFunds}
	}
	return WantedFunds{Provider: p, Step: StepPlatformFunds}
}

// wantedFunds is what has to be known. An answer that does not say is from before payouts went through
// PayPal: then it is what there is at Stripe, and runs waited for that. So each recorded answer is
// followed as it was when it was given, and a run that began before goes on as one of today.
func (s PayoutRunStep) wantedFunds() []WantedFunds {
	if len(s.Funds) == 0 {
		return []WantedFunds{{Provider: provider.Stripe, Step: StepPlatformFunds, Forever: true}}
	}
	return s.Funds
}

// DecideRunInput carries a person's decision on a run to Postgres.
type DecideRunInput struct {
	Date     date.Date `json:"date"`
	Decision string    `json:"decision"` // the name of the update
	Actor    string    `json:"actor"`
}

// FundsInput asks what the platform has at a provider, for a step of a run.
type FundsInput struct {
	Date date.Date `json:"date"`
	Step string    `json:"step"`
}

// StepPlatformFunds and StepPayPalFunds are the steps of a run that read what the platform has at Stripe
// and at PayPal, StepPayout the one of a payout that carries it out, and StepAccount the one that looks
// at a connected account.
const (
	StepPlatformFunds = "stripe_funds"
	StepPayPalFunds   = "platform_funds_paypal"
	StepPayout        = "stripe_payout"
	StepAccount       = "stripe_account"
)

// fundsActivity reads what the platform has at a provider.
func fundsActivity(p provider.Name) string {
	if p == provider.PayPal {
		return ActivityReadPayPalFunds
	}
	return ActivityReadPlatformFunds
}

// readingFunds is onProvider for what others wait for: a queue that nobody works on, or that is full,
// does not keep them.
func readingFunds(ctx workflow.Context, p provider.Name) workflow.Context {
	options := workflow.GetActivityOptions(urgent(onProvider(ctx, p, "what the platform has")))
	options.ScheduleToCloseTimeout = 2 * time.Minute
	return workflow.WithActivityOptions(ctx, options)
}

// AccountInput names the payee whose connected account is looked at, for a step.
type AccountInput struct {
	PayeeID string `json:"payee_id"`
	Step    string `json:"step"`
}

// PayoutPlan is how a payout stands in Postgres, and what is to be done.
type PayoutPlan struct {
	PayeeID string        `json:"payee_id"`
	Steps   []PlannedStep `json:"steps,omitempty"`
	Next    PayoutMove    `json:"next"`
}

// PayoutMove is what is to be done next with a payout, and when.
type PayoutMove struct {
	State payout.State `json:"state"`
	// Do is the activity that does it; empty: there is nothing to do.
	Do string `json:"do,omitempty"`
	// At is the time to do it, unless there is news before; nil: now.
	At *time.Time `json:"at,omitempty"`
}

// PayoutStepInput is the input of every move.
type PayoutStepInput struct {
	PayoutID string `json:"payout_id"`
	Step     string `json:"step"`
}

// PayoutDecisionInput is a person's decision on a payout.
type PayoutDecisionInput struct {
	PayoutID string        `json:"payout_id"`
	Decision DecisionInput `json:"decision"`
}

// onceOnStripe is for what a person waits for: they try again themselves.
func onceOnStripe(ctx workflow.Context, summary string) workflow.Context {
	options := workflow.GetActivityOptions(urgent(onStripe(ctx, summary)))
	options.RetryPolicy = &temporal.RetryPolicy{MaximumAttempts: 1}
	return workflow.WithActivityOptions(ctx, options)
}
