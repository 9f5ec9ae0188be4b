package fleet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/holdfast/holdfast/internal/apiclient"
	"github.com/holdfast/holdfast/internal/customer"
	"github.com/holdfast/holdfast/internal/fleet"
	"github.com/holdfast/holdfast/internal/simulator"
	"github.com/holdfast/holdfast/workflows"
)

// bundle is a running Holdfast and those who use it.
type bundle struct {
	*fleet.Fleet

	app, operator *apiclient.Client
}

func setup(t *testing.T, workers int) bundle {
	t.Helper()
	return setupWith(t, workers, fleet.Options{StripeRate: 100})
}

// setupWith is setup with options of one's own.
func setupWith(t *testing.T, workers int, options fleet.Options) bundle {
	t.Helper()
	ctx := context.WithoutCancel(t.Context()) // the fleet outlives the test's own context, until it is closed
	options.Dir, options.Starter, options.Worker, options.Durable = t.TempDir(), programs.starter, programs.worker, true
	f, err := fleet.Start(ctx, workers, options)
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			showLogs(t, f.LogDir())
		}
		require.NoError(t, f.Close())
	})
	return bundle{Fleet: f, app: apiclient.New(f.URL(), fleet.AppKey), operator: apiclient.New(f.URL(), fleet.OperatorKey)}
}

func showLogs(t *testing.T, dir string) {
	t.Helper()
	logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	for _, name := range logs {
		text, _ := os.ReadFile(name)
		const tail = 6000
		t.Logf("%s:\n%s", filepath.Base(name), text[max(0, len(text)-tail):])
	}
}

func profile(id string) customer.Profile {
	return customer.Profile{ID: id, Email: id + "@example.com", Name: "Customer " + id, Country: "US"}
}

func (b bundle) signUp(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		created, _, err := b.app.CreateCustomer(t.Context(), profile(id))
		require.NoError(t, err)
		require.True(t, created)
	}
}

func ids(prefix string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%s_%d", prefix, i)
	}
	return all
}

// await looks until it is so. It fails the test after two minutes, which no wait here comes near.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	require.Eventually(t, so, 2*time.Minute, 100*time.Millisecond, "waited in vain for %s", what)
}

func (b bundle) awaitReady(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		await(t, id+" to be ready", func() bool {
			c, err := b.app.Customer(t.Context(), id)
			return err == nil && c.Status == "ready" && c.Providers.Stripe.CustomerID != ""
		})
	}
}

// requireOneStripeCustomerEach holds Postgres and Stripe against each other.
func (b bundle) requireOneStripeCustomerEach(t *testing.T, ids ...string) {
	t.Helper()
	audit := b.Simulator.Stripe().Audit()
	require.Empty(t, audit.Duplicates)
	require.Equal(t, len(ids), audit.Accounts)
	require.Zero(t, b.Simulator.PostsWithoutKey())
	bound := map[string]string{}
	for _, c := range b.Simulator.Stripe().Customers() {
		bound[c.Metadata["holdfast_customer_id"]] = c.ID
	}
	for _, id := range ids {
		c, err := b.app.Customer(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, bound[id], c.Providers.Stripe.CustomerID)
	}
}

func (b bundle) step(t *testing.T, id, name string) apiclient.Step {
	t.Helper()
	c, err := b.app.Customer(t.Context(), id)
	require.NoError(t, err)
	for _, s := range c.Onboarding.Steps {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("%s has no step %s", id, name)
	return apiclient.Step{}
}

func (b bundle) awaitParked(t *testing.T, waitsFor string, ids ...string) {
	t.Helper()
	for _, id := range ids {
		await(t, id+" to wait for "+waitsFor, func() bool {
			s := b.step(t, id, customer.StepStripeCustomer)
			return s.Status == "blocked" && s.WaitsFor == waitsFor
		})
	}
}

// S1, S2, S7: whatever Stripe does, signups are answered 201, and everybody is ready after it.
func TestSignupsOutliveTheirProvider(t *testing.T) {
	t.Parallel()
	wrongKey := func(b bundle) error {
		b.Simulator.Stripe().SetKeys([]string{"sk_test_another"}, nil)
		return nil
	}
	fault := func(kind simulator.FaultKind) func(bundle) error {
		return func(b bundle) error { return b.Simulator.SetFaults(simulator.Fault{Kind: kind}) }
	}
	cases := map[string]func(bundle) error{
		"Stripe refuses connections": fault(simulator.Refuse),
		"Stripe hangs":               fault(simulator.Hang),
		"Stripe answers 500":         fault(simulator.ServerError),
		"Stripe rejects the key":     wrongKey,
	}
	for name, arrange := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, 1)
			require.NoError(t, arrange(b))
			all := ids("u", 8)

			b.signUp(t, all...)
			b.awaitParked(t, "provider", all...)
			require.NoError(t, b.Simulator.ClearFaults())
			b.Simulator.Stripe().SetKeys([]string{fleet.StripeKey}, nil)

			b.awaitReady(t, all...)
			b.requireOneStripeCustomerEach(t, all...)
		})
	}
}

func TestSignupsOutliveTemporal(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	require.NoError(t, b.Stack.Temporal.Stop())
	all := ids("u", 8)

	b.signUp(t, all...)
	require.Equal(t, "onboarding", mustCustomer(t, b, "u_0").Status)
	require.NoError(t, b.Stack.Temporal.Start(context.WithoutCancel(t.Context())))

	b.awaitReady(t, all...)
	b.requireOneStripeCustomerEach(t, all...)
}

func TestSignupsOutliveTheWorkers(t *testing.T) {
	t.Parallel()
	b := setup(t, 0)
	all := ids("u", 8)

	b.signUp(t, all...)
	require.NoError(t, b.StartWorker(context.WithoutCancel(t.Context())))

	b.awaitReady(t, all...)
	b.requireOneStripeCustomerEach(t, all...)
}

// S4: the worker dies between what Stripe did and the recording of it, again and again.
func TestKilledWorkersMakeOneStripeCustomer(t *testing.T) {
	t.Parallel()
	b := setup(t, 0)
	posts := func() int { return len(b.Simulator.Calls().To(http.MethodPost, "/v1/customers")) }
	b.signUp(t, "u_0")
	// The first request is held up in its execution, the repeated ones with their answers.
	faults := []simulator.Fault{
		{Kind: simulator.Stall, Method: http.MethodPost},
		{Kind: simulator.Latency, Method: http.MethodPost, DelayMS: 60_000},
		{Kind: simulator.Latency, Method: http.MethodPost, DelayMS: 60_000},
	}
	for _, fault := range faults {
		before := posts()
		require.NoError(t, b.Simulator.SetFaults(fault))
		require.NoError(t, b.StartWorker(context.WithoutCancel(t.Context())))
		await(t, "the call to reach Stripe", func() bool { return posts() > before })

		require.NoError(t, b.KillWorkers())
		require.NoError(t, b.Simulator.ClearFaults()) // Stripe does the work; nobody is there to hear of it
		await(t, "Stripe to have done the work", func() bool { return b.Simulator.Stripe().Audit().Customers == 1 })
	}
	require.NoError(t, b.StartWorker(context.WithoutCancel(t.Context())))
	b.awaitReady(t, "u_0")
	b.requireOneStripeCustomerEach(t, "u_0")
	sent := b.Simulator.Calls().To(http.MethodPost, "/v1/customers")
	require.NotEmpty(t, sent[0].IdempotencyKey)
	for _, call := range sent {
		require.Equal(t, sent[0].IdempotencyKey, call.IdempotencyKey, "whoever sends it again sends the same")
	}
}

func TestManyCreationsOfOneID(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	const creations = 200
	var (
		wg       sync.WaitGroup
		mu       sync.Mutex
		created  int
		problems []error
	)
	for range creations {
		wg.Go(func() {
			isNew, _, err := b.app.CreateCustomer(t.Context(), profile("u_0"))
			mu.Lock()
			defer mu.Unlock()
			if isNew {
				created++
			}
			if err != nil {
				problems = append(problems, err)
			}
		})
	}
	wg.Wait()
	require.Empty(t, problems)
	require.Equal(t, 1, created)

	other := profile("u_0")
	other.Name = "somebody else"
	_, _, err := b.app.CreateCustomer(t.Context(), other)
	require.Equal(t, http.StatusConflict, apiclient.StatusOf(err))

	b.awaitReady(t, "u_0")
	b.requireOneStripeCustomerEach(t, "u_0")
	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM customers`))
	require.Len(t, b.runs(t, workflows.OnboardingID("u_0")), 1)
}

// runs lists the runs of a workflow, from Temporal's visibility.
func (b bundle) runs(t *testing.T, workflowID string) []string {
	t.Helper()
	var runs []string
	await(t, "Temporal to list "+workflowID, func() bool {
		runs = nil
		listed, err := b.Temporal.ListWorkflow(t.Context(), listRequest("WorkflowId = '"+workflowID+"'"))
		if err != nil {
			return false
		}
		for _, e := range listed.GetExecutions() {
			runs = append(runs, e.GetExecution().GetRunId())
		}
		return len(runs) > 0
	})
	return runs
}

func listRequest(query string) *workflowservice.ListWorkflowExecutionsRequest {
	return &workflowservice.ListWorkflowExecutionsRequest{Namespace: client.DefaultNamespace, Query: query}
}

func (b bundle) count(t *testing.T, sql string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, b.Pool.QueryRow(t.Context(), sql, args...).Scan(&n))
	return n
}

func mustCustomer(t *testing.T, b bundle, id string) apiclient.Customer {
	t.Helper()
	c, err := b.app.Customer(t.Context(), id)
	require.NoError(t, err)
	return c
}

// S8: what waits is seen in Temporal by search attributes alone.
func TestWhatWaitsIsFoundInTemporal(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	require.NoError(t, b.Simulator.SetFaults(simulator.Fault{Kind: simulator.Refuse}))
	all := ids("u", 3)
	b.signUp(t, all...)
	b.awaitParked(t, "provider", all...)

	query := fmt.Sprintf("%s = 'stripe' AND %s = '%s'", workflows.SearchBlockedOn, workflows.SearchStatus, workflows.StatusWaitingOnProvider)
	await(t, "Temporal to list what waits", func() bool {
		listed, err := b.Temporal.ListWorkflow(t.Context(), listRequest(query))
		return err == nil && len(listed.GetExecutions()) == len(all)
	})

	require.NoError(t, b.Simulator.ClearFaults())
	b.awaitReady(t, all...)
	await(t, "Temporal to list nothing that waits", func() bool {
		listed, err := b.Temporal.ListWorkflow(t.Context(), listRequest(query))
		return err == nil && len(listed.GetExecutions()) == 0
	})
}

func TestOperatorUnblocksRejectedSteps(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	for _, id := range []string{"retried", "skipped"} {
		b.Simulator.Stripe().RejectEmail(profile(id).Email, "email_invalid")
	}
	b.signUp(t, "retried", "skipped", "fine")
	b.awaitParked(t, "person", "retried", "skipped")
	waiting, err := b.operator.Attention(t.Context())
	require.NoError(t, err)
	require.Len(t, waiting, 2)
	require.Equal(t, http.StatusConflict, apiclient.StatusOf(b.operator.RetryStep(t.Context(), "fine", customer.StepStripeCustomer, "")))
	require.Equal(t, http.StatusNotFound, apiclient.StatusOf(b.operator.RetryStep(t.Context(), "fine", "no_such_step", "")))
	require.Equal(t, http.StatusForbidden, apiclient.StatusOf(b.app.RetryStep(t.Context(), "retried", customer.StepStripeCustomer, "")))

	b.Simulator.Stripe().AllowEmail(profile("retried").Email)
	require.NoError(t, b.operator.RetryStep(t.Context(), "retried", customer.StepStripeCustomer, "mended"))
	require.NoError(t, b.operator.SkipStep(t.Context(), "skipped", customer.StepStripeCustomer, "a test account"))

	b.awaitReady(t, "retried", "fine")
	await(t, "the skipped step", func() bool { return b.step(t, "skipped", customer.StepStripeCustomer).Status == "skipped" })
	b.requireOneStripeCustomerEach(t, "retried", "fine")
	require.Equal(t, 2, b.count(t, `SELECT count(*) FROM operator_actions WHERE actor = 'operator'`))
	await(t, "attention to be empty", func() bool {
		waiting, err := b.operator.Attention(t.Context())
		return err == nil && len(waiting) == 0
	})
}

// longestWait is how long a request may wait at most.
const longestWait = 30 * time.Second

func TestEnsureBillingWaitsAndFallsBack(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	b.signUp(t, "before")
	b.awaitReady(t, "before") // the worker is at work
	b.signUp(t, "u_0")
	ready, c, err := b.app.EnsureBilling(t.Context(), "u_0", longestWait)
	require.NoError(t, err)
	require.True(t, ready)
	require.NotEmpty(t, c.Providers.Stripe.CustomerID)

	require.NoError(t, b.Simulator.SetFaults(simulator.Fault{Kind: simulator.Refuse}))
	b.signUp(t, "u_1")
	ready, c, err = b.app.EnsureBilling(t.Context(), "u_1", 500*time.Millisecond)
	require.NoError(t, err)
	require.False(t, ready)
	require.Empty(t, c.Providers.Stripe.CustomerID)

	require.NoError(t, b.Stack.Temporal.Stop())
	ready, _, err = b.app.EnsureBilling(t.Context(), "u_1", 500*time.Millisecond)
	require.NoError(t, err, "Temporal being down fails no request")
	require.False(t, ready)
	require.NoError(t, b.Stack.Temporal.Start(context.WithoutCancel(t.Context())))
	require.NoError(t, b.Simulator.ClearFaults())
	b.awaitReady(t, "u_1")
}

func TestChangedProfileIsCarriedToStripe(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	b.signUp(t, "u_0")
	b.awaitReady(t, "u_0")
	require.NoError(t, b.Simulator.SetFaults(simulator.Fault{Kind: simulator.Refuse}))

	email := "new@example.com"
	_, err := b.app.ChangeCustomer(t.Context(), "u_0", customer.Change{Email: &email})
	require.NoError(t, err)
	require.NoError(t, b.Simulator.ClearFaults())

	await(t, "Stripe to have the new address", func() bool { return b.Simulator.Stripe().Customers()[0].Email == email })
	b.awaitReady(t, "u_0")
}

// B2, S5: the app's own Stripe customer is claimed and never doubled; a promo code is applied late.
func TestBroughtCustomerAndPromoCode(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	brought, err := b.Simulator.Stripe().PutCustomer(simulator.Customer{Email: "u_0@example.com"})
	require.NoError(t, err)
	require.NoError(t, b.Simulator.Stripe().SetPromotionCodes(simulator.PromotionCode{Code: "SPRING"}))
	require.NoError(t, b.Simulator.SetFaults(simulator.Fault{Kind: simulator.Refuse}))
	p := profile("u_0")
	p.StripeCustomerID, p.PromoCode = brought.ID, "SPRING"
	_, _, err = b.app.CreateCustomer(t.Context(), p)
	require.NoError(t, err)
	b.awaitParked(t, "provider", "u_0")

	require.NoError(t, b.Simulator.ClearFaults())

	b.awaitReady(t, "u_0")
	b.requireOneStripeCustomerEach(t, "u_0")
	now := b.Simulator.Stripe().Customers()
	require.Len(t, now, 1)
	require.NotEmpty(t, now[0].PromotionCode)
}

// S6: an account that nothing works on is repaired when it is read.
func TestReadingRepairs(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	b.signUp(t, "u_0")
	b.awaitReady(t, "u_0")
	_, err := b.Pool.Exec(t.Context(), `UPDATE customers SET stripe_customer_id = NULL, stripe_bound_at = NULL,
		created_at = created_at - interval '2 days', updated_at = now() - interval '1 day'`)
	require.NoError(t, err)
	_, err = b.Pool.Exec(t.Context(), `DELETE FROM provider_requests; UPDATE steps SET updated_at = now() - interval '1 day'`)
	require.NoError(t, err)

	_, err = b.app.Customer(t.Context(), "u_0")
	require.NoError(t, err)

	b.awaitReady(t, "u_0")
	b.requireOneStripeCustomerEach(t, "u_0")
}

// A back end in any language: the recipe's own program, which knows nothing of our packages.
func TestStraightFromTemporal(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	recipe := exec.CommandContext(t.Context(), programs.recipe, "u_0", "u_0@example.com")
	recipe.Env = append(os.Environ(), b.Stack.Env()...)

	out, err := recipe.Output()

	require.NoError(t, err)
	var status struct {
		CustomerID   string `json:"customer_id"`
		BillingReady bool   `json:"billing_ready"`
	}
	require.NoError(t, json.Unmarshal(out, &status))
	require.Equal(t, "u_0", status.CustomerID)
	require.True(t, status.BillingReady)
	b.awaitReady(t, "u_0")
	b.requireOneStripeCustomerEach(t, "u_0")
}

func TestBadProfileStraightFromTemporalNamesTheField(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	run, err := b.Temporal.ExecuteWorkflow(t.Context(),
		client.StartWorkflowOptions{ID: "onboarding/u_0", TaskQueue: "holdfast"}, "CustomerOnboarding",
		map[string]any{"customer_id": "u_0", "profile": map[string]any{"id": "u_0", "email": "not an address"}})
	require.NoError(t, err)
	require.ErrorContains(t, run.Get(t.Context(), nil), "profile.email")
	require.Zero(t, b.count(t, `SELECT count(*) FROM customers`))
}

// Stopping a worker in order lets the call that is under way end.
func TestWorkerStopsGracefully(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	began := time.Now()
	require.NoError(t, b.Simulator.SetFaults(simulator.Fault{Kind: simulator.Stall, Method: http.MethodPost, Times: 1, DelayMS: 2000}))
	b.signUp(t, "u_0")
	await(t, "the call to reach Stripe", func() bool {
		return len(b.Simulator.Calls().Since(began).To(http.MethodPost, "/v1/customers")) > 0
	})

	require.NoError(t, b.StopWorkers())

	require.Equal(t, 1, b.count(t, `SELECT count(*) FROM customers WHERE stripe_bound_at IS NOT NULL`))
	require.Len(t, b.Simulator.Calls().Since(began).To(http.MethodPost, "/v1/customers"), 1)
}

func TestPostgresRestartsDuringWork(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	b.signUp(t, ids("before", 4)...)
	require.NoError(t, b.Stack.Postgres.Kill())
	await(t, "signups to be answered with 503", func() bool { // a connection may outlive its server by a moment
		_, _, err := b.app.CreateCustomer(t.Context(), profile("after_0"))
		return apiclient.StatusOf(err) == http.StatusServiceUnavailable
	})
	require.NoError(t, b.Stack.Postgres.Start(context.WithoutCancel(t.Context())))
	await(t, "signups to be taken again", func() bool {
		_, _, err := b.app.CreateCustomer(t.Context(), profile("after_0"))
		return err == nil
	})
	all := append(ids("before", 4), "after_0")
	b.awaitReady(t, all...)
	b.requireOneStripeCustomerEach(t, all...)
}

func TestProcessesSayWhyTheyCannotStart(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		program string
		args    []string
		env     []string
		says    string
	}{
		"serve without a database":      {programs.starter, []string{"serve"}, []string{"HOLDFAST_API_KEYS=app:sixteen-and-more"}, "DATABASE_URL"},
		"serve without keys":            {programs.starter, []string{"serve"}, []string{"DATABASE_URL=postgres://localhost:1/x"}, "HOLDFAST_API_KEYS"},
		"worker without a database":     {programs.worker, nil, nil, "DATABASE_URL"},
		"worker with a publishable key": {programs.worker, nil, []string{"DATABASE_URL=postgres://localhost:1/x", "STRIPE_SECRET_KEY=pk_live_x"}, "STRIPE_SECRET_KEY"},
		"serve with a bad key list":     {programs.starter, []string{"serve"}, []string{"DATABASE_URL=postgres://localhost:1/x", "HOLDFAST_API_KEYS=secret-without-a-name"}, "HOLDFAST_API_KEYS"},
		"worker with an unknown queue":  {programs.worker, []string{"--queues=nonsense"}, []string{"DATABASE_URL=postgres://localhost:1/x"}, "nonsense"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program := exec.CommandContext(t.Context(), c.program, c.args...)
			program.Env = append([]string{"PATH=" + os.Getenv("PATH")}, c.env...)
			out, err := program.CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit)
			require.Equal(t, 2, exit.ExitCode(), "%s", out)
			require.Contains(t, string(out), c.says)
			require.NotContains(t, string(out), "pk_live_x")
			require.NotContains(t, string(out), "secret-without-a-name")
		})
	}
}
