package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/workflows"
)

// syncCommand is starter sync: of one customer over the API, of everybody over Temporal.
type syncCommand struct {
	URL  string `env:"HOLDFAST_URL" default:"http://127.0.0.1:8080" help:"Base URL of the API, for one customer."`
	Key  string `env:"HOLDFAST_KEY" help:"Your API key, for one customer."`
	JSON bool   `help:"Print JSON, for one customer."`

	CustomerID string        `arg:"" optional:"" name:"customer" help:"The customer's id."`
	Wait       time.Duration `default:"10s" help:"How long to wait for one customer, at most 30s."`
	All        bool          `help:"Everybody: hold what is known against the providers, and read who differs or was never read. Reached over TEMPORAL_*."`
	Provider   string        `enum:"stripe,paypal," default:"" help:"With --all: at this provider alone, stripe or paypal."`
}

// Validate is called by the parser.
func (c *syncCommand) Validate() error {
	switch {
	case c.All == (c.CustomerID != ""):
		return errors.New("name a customer, or give --all for everybody")
	case c.Provider != "" && !c.All:
		return errors.New("--provider: goes with --all; one customer is read at every provider")
	case c.CustomerID != "" && c.Key == "":
		return errors.New("HOLDFAST_KEY (--key) is not set: the API reads one customer for whoever has a key")
	}
	return nil
}

// Run has one customer's subscriptions read, or everybody's.
func (c *syncCommand) Run(ctx context.Context) error {
	if c.All {
		return c.everybody(ctx)
	}
	api := api{URL: c.URL, Key: c.Key, JSON: c.JSON}
	synced, now, err := api.client().Sync(ctx, c.CustomerID, c.Wait)
	if err != nil {
		return err
	}
	return api.print(now, func(w io.Writer) {
		describe(w, now)
		if !synced {
			fmt.Fprintf(w, "\nIt is not read yet, and will be. Look again with: starter status %s\n", now.ID)
		}
	})
}

func (c *syncCommand) everybody(ctx context.Context) error {
	options, err := config.TemporalOptions()
	if err != nil {
		return err
	}
	temporal, err := client.DialContext(ctx, options)
	if err != nil {
		return fmt.Errorf("reach Temporal at %s (TEMPORAL_ADDRESS): %w", options.HostPort, err)
	}
	defer temporal.Close()
	providers := []provider.Name{provider.Stripe, provider.PayPal}
	if c.Provider != "" {
		providers = []provider.Name{provider.Name(c.Provider)}
	}
	var passes []pass
	for _, p := range providers {
		started, err := startPass(ctx, temporal, p, os.Stdout)
		if err != nil {
			return err
		}
		passes = append(passes, started)
	}
	for _, p := range passes {
		if err := p.watch(ctx); err != nil {
			return err
		}
	}
	return nil
}

// pass is a SubscriptionBackfill that somebody watches.
type pass struct {
	temporal client.Client
	provider provider.Name
	run      client.WorkflowRun
	out      io.Writer
	every    time.Duration // how often it is looked at
}

// startPass starts a pass over everybody at the provider, or finds the one that is under way.
func startPass(ctx context.Context, temporal client.Client, p provider.Name, out io.Writer) (pass, error) {
	id := workflows.BackfillID(p)
	before, err := temporal.DescribeWorkflowExecution(ctx, id, "")
	running := err == nil && before.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING
	run, err := temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: id, TaskQueue: workflows.TaskQueue, WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		StaticSummary: workflows.BackfillSummary(p),
	}, workflows.NameSubscriptionBackfill, workflows.BackfillInput{Provider: p, Everyone: true})
	if err != nil {
		return pass{}, fmt.Errorf("%s: start the pass %s: %w", p, id, err)
	}
	if running {
		fmt.Fprintf(out, "%s: a pass is under way since %s; this one is watched, and no other is started\n",
			p, before.GetWorkflowExecutionInfo().GetStartTime().AsTime().Format(time.RFC3339))
	}
	const every = 2 * time.Second
	return pass{temporal: temporal, provider: p, run: run, out: out, every: every}, nil
}

// watch tells how far the pass is until it ends, or until nobody wants to know any more: it goes on
// without anybody.
func (p pass) watch(ctx context.Context) error {
	var (
		end  workflows.BackfillProgress
		over = make(chan error, 1)
	)
	go func() { over <- p.run.Get(ctx, &end) }()
	ticker := time.NewTicker(p.every)
	defer ticker.Stop()
	shown := ""
	for {
		select {
		case <-ctx.Done():
			fmt.Fprintf(p.out, "%s: it goes on. Look again with: starter sync --all --provider %s\n", p.provider, p.provider)
			return nil
		case err := <-over:
			if ctx.Err() != nil {
				continue // nobody waits for it any more
			}
			return p.conclude(end, err)
		case <-ticker.C:
			if now := p.ask(ctx); now != shown {
				fmt.Fprintf(p.out, "%s: %s\n", p.provider, now)
				shown = now
			}
		}
	}
}

// ask gives the pass in a sentence.
func (p pass) ask(ctx context.Context) string {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var now workflows.BackfillProgress
	value, err := p.temporal.QueryWorkflow(ctx, p.run.GetID(), "", workflows.QueryProgress)
	if err == nil {
		err = value.Get(&now)
	}
	if err != nil {
		return "how far it is cannot be asked at the moment; does a worker run?"
	}
	told := []string{now.String()}
	for _, s := range now.Steps {
		if s.WaitsFor != "" {
			told = append(told, fmt.Sprintf("waits for the %s: %s", s.WaitsFor, s.LastError))
		}
	}
	return strings.Join(told, "; ")
}

// conclude tells what came of the pass.
func (p pass) conclude(end workflows.BackfillProgress, err error) error {
	if err != nil {
		return fmt.Errorf("%s: the pass %s did not end as it should: %w", p.provider, p.run.GetID(), err)
	}
	fmt.Fprintf(p.out, "%s: %s\n", p.provider, end)
	if end.Unread > 0 {
		fmt.Fprintf(p.out, "%s: %d customers are still to be read; they will be, without this pass\n", p.provider, end.Unread)
	}
	return nil
}
