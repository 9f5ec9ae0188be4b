package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/holdfast/holdfast/internal/apiclient"
	"github.com/holdfast/holdfast/internal/customer"
)

// api is how the commands for people reach Holdfast: over its HTTP API, under the key of whoever
// calls, so that what they do is recorded under their name.
type api struct {
	URL  string `env:"HOLDFAST_URL" default:"http://127.0.0.1:8080" help:"Base URL of the API."`
	Key  string `env:"HOLDFAST_KEY" required:"" help:"Your API key; ops commands need an operator's."`
	JSON bool   `help:"Print JSON."`
}

func (a api) client() *apiclient.Client { return apiclient.New(a.URL, a.Key) }

// print shows the value as JSON, or in words.
func (a api) print(value any, inWords func(io.Writer)) error {
	if a.JSON {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(value)
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	inWords(table)
	return table.Flush()
}

// onboardCommand is starter onboard.
type onboardCommand struct {
	api

	ID               string        `arg:"" help:"The customer's id, the app's own."`
	Email            string        `required:"" help:"The customer's e-mail address."`
	Name             string        `help:"The customer's name."`
	Country          string        `help:"Two-letter ISO 3166-1 code."`
	PromoCode        string        `help:"A promo code to apply."`
	StripeCustomerID string        `help:"The Stripe customer that the app has already."`
	Wait             time.Duration `default:"10s" help:"How long to wait until billing is ready, at most 30s."`
}

// Run creates a customer and waits a while until it can be billed.
func (c *onboardCommand) Run(ctx context.Context) error {
	_, created, err := c.client().CreateCustomer(ctx, customer.Profile{
		ID: c.ID, Email: c.Email, Name: c.Name, Country: c.Country, PromoCode: c.PromoCode, StripeCustomerID: c.StripeCustomerID,
	})
	if err != nil {
		return err
	}
	ready, now, err := c.client().EnsureBilling(ctx, created.ID, c.Wait)
	if err != nil {
		return err
	}
	return c.print(now, func(w io.Writer) {
		describe(w, now)
		if !ready {
			fmt.Fprintf(w, "\nIt goes on by itself. Look again with: starter status %s\n", now.ID)
		}
	})
}

// statusCommand is starter status.
type statusCommand struct {
	api

	ID string `arg:"" help:"The customer's id."`
}

// Run shows how far a customer is, and what the app was told of it.
func (c *statusCommand) Run(ctx context.Context) error {
	found, err := c.client().Customer(ctx, c.ID)
	if err != nil {
		return err
	}
	changes, err := c.client().CustomerChanges(ctx, c.ID)
	if err != nil {
		return err
	}
	return c.print(history{found, changes}, func(w io.Writer) {
		describe(w, found)
		describeChanges(w, changes)
	})
}

func describe(w io.Writer, c apiclient.Customer) {
	fmt.Fprintf(w, "customer\t%s\nstatus\t%s\nStripe customer\t%s\nPayPal subscriptions\t%s\nworkflow\t%s\ncreated\t%s\n",
		c.ID, c.Status, orNone(c.Providers.Stripe.CustomerID), orNone(strings.Join(c.Providers.PayPal.SubscriptionIDs, " ")),
		c.Onboarding.WorkflowID, c.CreatedAt.UTC().Format(time.RFC3339))
	describeSubscription(w, c.Subscription)
	steps := c.Onboarding.Steps
	if c.Subscription.Sync != nil {
		steps = slices.Concat(steps, c.Subscription.Sync.Steps)
	}
	describeSteps(w, steps)
}

func describeSteps(w io.Writer, steps []apiclient.Step) {
	fmt.Fprintln(w, "\nSTEP\tSTATUS\tWAITS FOR\tATTEMPTS\tNEXT ATTEMPT\tLAST ERROR")
	for _, s := range steps {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n",
			s.Name, s.Status, orNone(s.WaitsFor), s.Attempts, moment(s.NextAttemptAt), orNone(s.LastError))
	}
}

// describeSubscription tells what is known of the subscription that counts, and how old that is.
func describeSubscription(w io.Writer, s apiclient.Subscription) {
	known := moment(s.SyncedAt)
	if s.Stale {
		known += ", and something has happened since"
	}
	fmt.Fprintf(w, "subscription\t%s\n", s.Status)
	if s.SubscriptionID != "" {
		fmt.Fprintf(w, "\t%s %s, %s there, price %s\npaid until\t%s\n", s.Provider, s.SubscriptionID, s.ProviderStatus, orNone(s.PriceID), moment(s.PaidUntil))
	}
	fmt.Fprintf(w, "as of\t%s\n", known)
}

// moment shows a time, if there is one.
func moment(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func orNone(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// opsCommand groups what operators do.
type opsCommand struct {
	Attention attentionCommand `cmd:"" help:"List what waits for a person, oldest first."`
	Providers providersCommand `cmd:"" help:"Show the health of the providers and what waits for them."`
	Retry     retryCommand     `cmd:"" help:"Try a waiting step now."`
	Skip      skipCommand      `cmd:"" help:"Go on without a waiting step."`
	Redeliver redeliverCommand `cmd:"" help:"Send changes to the app's webhook again."`
	Ledger    ledgerCommand    `cmd:"" help:"Prove the ledger."`

	PayoutsSwitch payoutsSwitchCommand `cmd:"" help:"Stop new payouts, let them be made again, or show how it stands."`
}

type attentionCommand struct{ api }

// Run lists everything that waits for a person.
func (c *attentionCommand) Run(ctx context.Context) error {
	items, err := c.client().Attention(ctx)
	if err != nil {
		return err
	}
	return c.print(items, func(w io.Writer) {
		if len(items) == 0 {
			fmt.Fprintln(w, "Nothing waits for a person.")
			return
		}
		fmt.Fprintln(w, "SINCE\tKIND\tABOUT\tSTEP\tLAST ERROR\tTO RESOLVE")
		for _, i := range items {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", i.Since.UTC().Format(time.RFC3339), i.Kind,
				cmp.Or(i.PayoutID, i.CustomerID, i.Subject, i.WorkflowID), orNone(i.Step), orNone(i.LastError), toResolve(i))
		}
	})
}

// toResolve says what ends a wait.
func toResolve(i apiclient.Attention) string {
	switch {
	case i.ChangeSeq != 0:
		return fmt.Sprintf("starter ops redeliver %d", i.ChangeSeq)
	case i.Kind == "held_payout":
		return fmt.Sprintf("starter payouts resolve %s paid|failed", i.PayoutID)
	case i.Kind == "unapproved_payout_run":
		return "starter payouts approve " + i.RunDate
	case i.Step != "" && slices.ContainsFunc([]string{ofPayout, ofRun, ofPayPalBatch}, func(of string) bool { return strings.HasPrefix(i.WorkflowID, of) }):
		return fmt.Sprintf("starter ops retry %s %s", i.WorkflowID, i.Step)
	case i.Step != "" && i.CustomerID != "":
		return fmt.Sprintf("starter ops retry|skip %s %s", i.CustomerID, i.Step)
	default:
		return i.Detail
	}
}

type providersCommand struct{ api }

// Run shows every provider's health.
func (c *providersCommand) Run(ctx context.Context) error {
	items, err := c.client().Providers(ctx)
	if err != nil {
		return err
	}
	return c.print(items, func(w io.Writer) {
		fmt.Fprintln(w, "PROVIDER\tSTATE\tSINCE\tWAITING\tOLDEST\tLAST ERROR")
		for _, p := range items {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n",
				p.Provider, p.State, p.Since.UTC().Format(time.RFC3339), p.Waiting, moment(p.OldestWaiting), orNone(p.LastError))
		}
	})
}

// How the steps of payouts, runs and batches are told from customers', whose ids have no slash.
const (
	ofPayout      = "payout/"
	ofRun         = "payout-run/"
	ofPayPalBatch = "paypal-batch/"
)

// verdictArgs name a waiting step.
type verdictArgs struct {
	api

	CustomerID string `arg:"" help:"The customer's id."`
	Step       string `arg:"" help:"The step, such as stripe_customer."`
	Note       string `help:"Why; it is recorded with your key's name."`
}

// retryCommand is starter ops retry.
type retryCommand struct {
	api

	CustomerID string `arg:"" name:"whose" help:"The customer's id, or payout/po_…, payout-run/DATE or paypal-batch/pb_…, as starter ops attention shows it."`
	Step       string `arg:"" help:"The step, such as stripe_customer."`
	Note       string `help:"Why; it is recorded with your key's name."`
}

// Run tries a waiting step now.
func (c *retryCommand) Run(ctx context.Context) error {
	if id, ok := strings.CutPrefix(c.CustomerID, ofPayout); ok {
		payout, err := c.client().RetryPayoutStep(ctx, id, c.Step, c.Note)
		if err != nil {
			return err
		}
		return (&payoutArg{c.api, id}).show(payout)
	}
	if date, ok := strings.CutPrefix(c.CustomerID, ofRun); ok {
		run, err := c.client().RetryPayoutRunStep(ctx, date, c.Step, c.Note)
		if err != nil {
			return err
		}
		return (&runArg{c.api, date}).show(run)
	}
	if id, ok := strings.CutPrefix(c.CustomerID, ofPayPalBatch); ok {
		batch, err := c.client().RetryPayPalBatchStep(ctx, id, c.Step, c.Note)
		if err != nil {
			return err
		}
		return c.print(batch, func(w io.Writer) { describeBatch(w, batch) })
	}
	if err := c.client().RetryStep(ctx, c.CustomerID, c.Step, c.Note); err != nil {
		return err
	}
	return (&statusCommand{c.api, c.CustomerID}).Run(ctx)
}

// describeBatch tells how far a batch at PayPal is.
func describeBatch(w io.Writer, b apiclient.PayPalBatch) {
	fmt.Fprintf(w, "batch\t%s\nstatus\t%s since %s\nreason\t%s\npayouts\t%d, of which %d are under way\nat PayPal\t%s\nlooked at\t%s\n",
		b.ID, b.Status, b.StatusSince.UTC().Format(time.RFC3339), orNone(b.Reason), b.Payouts, b.UnderWay, orNone(b.PayPalBatchID), moment(b.CheckedAt))
	describeSteps(w, b.Steps)
}

type skipCommand struct{ verdictArgs }

// Run goes on without a waiting step.
func (c *skipCommand) Run(ctx context.Context) error {
	if err := c.client().SkipStep(ctx, c.CustomerID, c.Step, c.Note); err != nil {
		return err
	}
	return (&statusCommand{c.api, c.CustomerID}).Run(ctx)
}
