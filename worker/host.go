package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"golang.org/x/time/rate"

	"github.com/holdfast/holdfast/activities"
	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/feed"
	"github.com/holdfast/holdfast/internal/payout"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/paypal"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/internal/subscription"
	"github.com/holdfast/holdfast/workflows"
)

// stopTimeout lets calls that are under way end: longer than the longest of them.
const stopTimeout = workflows.ProviderCallTimeout + 5*time.Second

// host is what the hosted workflows and activities need.
type host struct {
	pool          *pgxpool.Pool
	temporal      client.Client
	customers     *customer.Store
	subscriptions *subscription.Store
	payouts       *payout.Store
	stripe        *stripe.Client // nil: not configured
	paypal        *paypal.Client // nil: not configured
	webhook       *feed.Webhook  // nil: not configured
	breakers      map[provider.Name]*provider.Breaker
	rates         map[provider.Name]float64 // calls a second
	meter         meter
	log           *slog.Logger
	onFatal       func(error) // called when a worker cannot go on
}

// meter counts reads of subscriptions, and what passes over all of them and sweeps over payouts find.
type meter interface {
	activities.SyncMeter
	activities.DriftMeter
	activities.SweepMeter
}

// workers makes a worker for each of the named queues.
func (h host) workers(queues []string) []worker.Worker {
	makers := map[string]func(queue string) worker.Worker{
		workflows.TaskQueue:                          h.holdfastWorker,
		workflows.ProviderTaskQueue(provider.Stripe): h.stripeWorker,
		workflows.ProviderTaskQueue(provider.PayPal): h.payPalWorker,
	}
	hosted := make([]worker.Worker, 0, len(queues))
	for _, queue := range queues {
		hosted = append(hosted, makers[queue](queue))
	}
	return hosted
}

// queueNames are the queues that a worker serves unless it is told otherwise.
func queueNames() []string {
	return []string{workflows.TaskQueue, workflows.ProviderTaskQueue(provider.Stripe), workflows.ProviderTaskQueue(provider.PayPal)}
}

func validateQueues(queues []string) error {
	if len(queues) == 0 {
		return fmt.Errorf("--queues: name at least one of %s", strings.Join(queueNames(), ", "))
	}
	for _, queue := range queues {
		if !slices.Contains(queueNames(), queue) {
			return fmt.Errorf("--queues: there is no queue %q; there are %s", queue, strings.Join(queueNames(), " and "))
		}
	}
	return nil
}

// holdfastWorker runs workflows, and the activities that need nothing but our own servers.
func (h host) holdfastWorker(queue string) worker.Worker {
	w := worker.New(h.temporal, queue, h.options())
	w.RegisterWorkflowWithOptions(workflows.CustomerOnboarding, workflow.RegisterOptions{Name: workflows.NameCustomerOnboarding})
	w.RegisterWorkflowWithOptions(workflows.SubscriptionSync, workflow.RegisterOptions{Name: workflows.NameSubscriptionSync})
	w.RegisterWorkflowWithOptions(workflows.ProviderGate, workflow.RegisterOptions{Name: workflows.NameProviderGate})
	w.RegisterWorkflowWithOptions(workflows.RepairSweep, workflow.RegisterOptions{Name: workflows.NameRepairSweep})
	w.RegisterWorkflowWithOptions(workflows.SubscriptionBackfill, workflow.RegisterOptions{Name: workflows.NameSubscriptionBackfill})
	w.RegisterWorkflowWithOptions(workflows.SubscriptionDrift, workflow.RegisterOptions{Name: workflows.NameSubscriptionDrift})
	w.RegisterWorkflowWithOptions(workflows.ChangeDelivery, workflow.RegisterOptions{Name: workflows.NameChangeDelivery})
	w.RegisterWorkflowWithOptions(workflows.PayoutLauncher, workflow.RegisterOptions{Name: workflows.NamePayoutLauncher})
	w.RegisterWorkflowWithOptions(workflows.PayoutRun, workflow.RegisterOptions{Name: workflows.NamePayoutRun})
	w.RegisterWorkflowWithOptions(workflows.Payout, workflow.RegisterOptions{Name: workflows.NamePayout})
	onboarding := activities.NewOnboarding(h.pool, h.customers)
	register(w, workflows.ActivityPlanOnboarding, onboarding.PlanOnboarding)
	register(w, workflows.ActivityParkStep, onboarding.ParkStep)
	register(w, workflows.ActivitySkipStep, onboarding.SkipStep)
	register(w, workflows.ActivityPlanSync, activities.NewSync(h.pool, h.subscriptions).PlanSync)
	register(w, workflows.ActivityWakeParked, activities.NewWake(h.pool, h.temporal, h.rates, h.log).WakeParked)
	register(w, workflows.ActivityRepairNeglected, activities.NewRepair(h.pool).RepairNeglected)
	backfill := activities.NewBackfill(h.pool, h.subscriptions, h.rates)
	register(w, workflows.ActivityBeginBackfill, backfill.BeginBackfill)
	register(w, workflows.ActivityMarkUnread, backfill.MarkUnread)
	register(w, workflows.ActivityCountHealed, backfill.CountHealed)
	w.RegisterWorkflowWithOptions(workflows.AccountCheck, workflow.RegisterOptions{Name: workflows.NameAccountCheck})
	w.RegisterWorkflowWithOptions(workflows.PayoutSweep, workflow.RegisterOptions{Name: workflows.NamePayoutSweep})
	w.RegisterWorkflowWithOptions(workflows.PayPalPayoutBatch, workflow.RegisterOptions{Name: workflows.NamePayPalPayoutBatch})
	runs := activities.NewPayoutRuns(h.pool, h.payouts, h.meter)
	register(w, workflows.ActivityAdvancePayoutRun, runs.AdvancePayoutRun)
	register(w, workflows.ActivityDecidePayoutRun, runs.DecidePayoutRun)
	register(w, workflows.ActivitySweepPayouts, runs.SweepPayouts)
	w.RegisterWorkflowWithOptions(workflows.PayoutWake, workflow.RegisterOptions{Name: workflows.NamePayoutWake})
	register(w, workflows.ActivityWakePayouts, runs.WakePayouts)
	payouts := activities.NewPayouts(h.pool)
	register(w, workflows.ActivityPlanPayout, payouts.PlanPayout)
	register(w, workflows.ActivityPlanPayPalBatch, payouts.PlanPayPalBatch)
	delivery := activities.NewDelivery(h.pool, h.webhook, h.log)
	register(w, workflows.ActivityDeliverChange, delivery.DeliverChange)
	register(w, workflows.ActivityGiveUpChange, delivery.GiveUpChange)
	return w
}

// stripeWorker makes the calls to Stripe.
func (h host) stripeWorker(queue string) worker.Worker {
	w := h.providerWorker(queue, provider.Stripe)
	breaker := h.breakers[provider.Stripe]
	calls := activities.NewStripe(h.pool, h.customers, h.subscriptions, h.stripe, breaker, h.log)
	register(w, workflows.ActivityCreateStripeCustomer, calls.CreateStripeCustomer)
	register(w, workflows.ActivityVerifyStripeCustomer, calls.VerifyStripeCustomer)
	register(w, workflows.ActivityClaimStripeCustomer, calls.ClaimStripeCustomer)
	register(w, workflows.ActivityFindPromotionCode, calls.FindPromotionCode)
	register(w, workflows.ActivityApplyPromotionCode, calls.ApplyPromotionCode)
	register(w, workflows.ActivityUpdateStripeProfile, calls.UpdateStripeProfile)
	reads := activities.NewStripeSubscriptions(h.pool, h.subscriptions, h.stripe, breaker, h.meter, h.log)
	register(w, workflows.ActivityReadStripeSubscriptions, reads.ReadStripeSubscriptions)
	lists := activities.NewStripeBackfill(h.pool, h.subscriptions, h.stripe, breaker, h.rates, h.meter, h.log)
	register(w, workflows.ActivityCompareStripePage, lists.CompareStripePage)
	funds := activities.NewStripeFunds(h.pool, h.payouts, h.stripe, breaker, h.log)
	register(w, workflows.ActivityReadPlatformFunds, funds.ReadPlatformFunds)
	moves := activities.NewStripePayouts(h.pool, h.payouts, h.stripe, breaker, h.turns(provider.Stripe), h.log)
	register(w, workflows.ActivityCheckAccount, moves.CheckAccount)
	register(w, workflows.ActivityCheckDestination, moves.CheckDestination)
	register(w, workflows.ActivitySendTransfer, moves.SendTransfer)
	register(w, workflows.ActivitySendPayout, moves.SendPayout)
	register(w, workflows.ActivityReadPayout, moves.ReadPayout)
	register(w, workflows.ActivityReverseTransfer, moves.ReverseTransfer)
	register(w, workflows.ActivityCancelPayout, moves.CancelPayout)
	register(w, workflows.ActivityResolvePayout, moves.ResolvePayout)
	register(w, workflows.ActivityRecordDuplicate, moves.RecordDuplicate)
	var probe func(context.Context) error
	if h.stripe != nil {
		probe = h.stripe.Probe
	}
	register(w, workflows.ActivityProbeProvider, activities.NewProbe(h.pool, probe).ProbeProvider)
	return w
}

// payPalWorker makes the calls to PayPal.
func (h host) payPalWorker(queue string) worker.Worker {
	w := h.providerWorker(queue, provider.PayPal)
	reads := activities.NewPayPalSubscriptions(
		h.pool, h.subscriptions, h.paypal, h.breakers[provider.PayPal], h.turns(provider.PayPal), h.meter, h.log)
	register(w, workflows.ActivityReadPayPalSubscriptions, reads.ReadPayPalSubscriptions)
	funds := activities.NewPayPalFunds(h.pool, h.payouts, h.paypal, h.breakers[provider.PayPal], h.log)
	register(w, workflows.ActivityReadPayPalFunds, funds.ReadPayPalFunds)
	search := activities.NewPayPalSearch(h.pool, h.payouts, h.paypal, h.breakers[provider.PayPal], h.turns(provider.PayPal), h.log)
	register(w, workflows.ActivitySearchPayPal, search.SearchPayPalTransactions)
	moves := activities.NewPayPalPayouts(h.pool, h.payouts, h.paypal, h.breakers[provider.PayPal], h.turns(provider.PayPal), h.log)
	register(w, workflows.ActivitySendPayPalBatch, moves.SendPayPalBatch)
	register(w, workflows.ActivityReadPayPalBatch, moves.ReadPayPalBatch)
	register(w, workflows.ActivityCancelPayPalItem, moves.CancelPayPalItem)
	register(w, workflows.ActivityResolvePayPalItem, moves.ResolvePayPalItem)
	register(w, workflows.ActivityRecordPayPalDuplicate, moves.RecordPayPalDuplicate)
	var probe func(context.Context) error
	if h.paypal != nil {
		probe = h.paypal.Probe
	}
	register(w, workflows.ActivityProbeProvider, activities.NewProbe(h.pool, probe).ProbeProvider)
	return w
}

// turns lets calls of this process have their turn where activities make more than one: the queue's rate
// counts activities.
func (h host) turns(p provider.Name) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(h.rates[p]), 1)
}

// providerWorker is a worker for calls to a provider. The server holds the rate for the whole fleet.
func (h host) providerWorker(queue string, p provider.Name) worker.Worker {
	options := h.options()
	options.TaskQueueActivitiesPerSecond = h.rates[p]
	options.MaxConcurrentActivityExecutionSize = slots(h.rates[p])
	options.DisableWorkflowWorker = true
	return worker.New(h.temporal, queue, options)
}

// slots is how many activities of a provider run at once: enough for calls that take seconds, and so few
// that none waits for its turn for long while others could go elsewhere.
func slots(callsPerSecond float64) int {
	const atLeast, atMost, seconds = 50, 1000, 4
	return min(max(atLeast, int(seconds*callsPerSecond)), atMost)
}

func (h host) options() worker.Options {
	return worker.Options{WorkerStopTimeout: stopTimeout, OnFatalError: h.onFatal}
}

func register(w worker.Worker, name string, do any) {
	w.RegisterActivityWithOptions(do, activity.RegisterOptions{Name: name})
}
