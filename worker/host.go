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

	"github.com/holdfast/holdfast/activities"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/stripe"
	"github.com/holdfast/holdfast/workflows"
)

// stopTimeout lets calls that are under way end: longer than the longest of them.
const stopTimeout = workflows.ProviderCallTimeout + 5*time.Second

// host is what the hosted workflows and activities need.
type host struct {
	pool     *pgxpool.Pool
	temporal client.Client
	stripe   *stripe.Client // nil: not configured
	breaker  *provider.Breaker
	rates    map[provider.Name]float64 // calls a second
	log      *slog.Logger
	onFatal  func(error) // called when a worker cannot go on
}

// workers makes a worker for each of the named queues.
func (h host) workers(queues []string) []worker.Worker {
	hosted := make([]worker.Worker, 0, len(queues))
	for _, queue := range queues {
		if queue == workflows.TaskQueue {
			hosted = append(hosted, h.holdfastWorker())
		} else {
			hosted = append(hosted, h.stripeWorker(queue))
		}
	}
	return hosted
}

// queueNames are the queues that a worker serves unless it is told otherwise.
func queueNames() []string {
	return []string{workflows.TaskQueue, workflows.ProviderTaskQueue(provider.Stripe)}
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
func (h host) holdfastWorker() worker.Worker {
	w := worker.New(h.temporal, workflows.TaskQueue, h.options())
	w.RegisterWorkflowWithOptions(workflows.CustomerOnboarding, workflow.RegisterOptions{Name: workflows.NameCustomerOnboarding})
	w.RegisterWorkflowWithOptions(workflows.ProviderGate, workflow.RegisterOptions{Name: workflows.NameProviderGate})
	w.RegisterWorkflowWithOptions(workflows.RepairSweep, workflow.RegisterOptions{Name: workflows.NameRepairSweep})
	onboarding := activities.NewOnboarding(h.pool)
	register(w, workflows.ActivityPlanOnboarding, onboarding.PlanOnboarding)
	register(w, workflows.ActivityParkStep, onboarding.ParkStep)
	register(w, workflows.ActivitySkipStep, onboarding.SkipStep)
	register(w, workflows.ActivityWakeParked, activities.NewWake(h.pool, h.temporal, h.rates, h.log).WakeParked)
	register(w, workflows.ActivityRepairNeglected, activities.NewRepair(h.pool).RepairNeglected)
	return w
}

// stripeWorker makes the calls to Stripe. The server holds the rate for the whole fleet.
func (h host) stripeWorker(queue string) worker.Worker {
	options := h.options()
	options.TaskQueueActivitiesPerSecond = h.rates[provider.Stripe]
	options.DisableWorkflowWorker = true
	w := worker.New(h.temporal, queue, options)
	calls := activities.NewStripe(h.pool, h.stripe, h.breaker, h.log)
	register(w, workflows.ActivityCreateStripeCustomer, calls.CreateStripeCustomer)
	register(w, workflows.ActivityVerifyStripeCustomer, calls.VerifyStripeCustomer)
	register(w, workflows.ActivityClaimStripeCustomer, calls.ClaimStripeCustomer)
	register(w, workflows.ActivityFindPromotionCode, calls.FindPromotionCode)
	register(w, workflows.ActivityApplyPromotionCode, calls.ApplyPromotionCode)
	register(w, workflows.ActivityUpdateStripeProfile, calls.UpdateStripeProfile)
	register(w, workflows.ActivityProbeProvider, activities.NewProbe(h.pool, h.probe()).ProbeProvider)
	return w
}

// probe is the read by which Stripe's gate sees whether Stripe answers; nil when it is not configured.
func (h host) probe() func(context.Context) error {
	if h.stripe == nil {
		return nil
	}
	return h.stripe.Probe
}

func (h host) options() worker.Options {
	return worker.Options{WorkerStopTimeout: stopTimeout, OnFatalError: h.onFatal}
}

func register(w worker.Worker, name string, do any) {
	w.RegisterActivityWithOptions(do, activity.RegisterOptions{Name: name})
}
