package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/holdfast/holdfast/internal/apiclient"
	"github.com/holdfast/holdfast/internal/date"
)

// payoutsCommand groups what is done with payouts.
type payoutsCommand struct {
	Run     runPayoutsCommand    `cmd:"" help:"Start the run of a date, or show it if there is one."`
	Approve approveRunCommand    `cmd:"" help:"Let the run of a date pay what it computed."`
	Pause   pauseRunCommand      `cmd:"" help:"Stop the run of a date from paying; what was sent goes on."`
	Resume  resumeRunCommand     `cmd:"" help:"Have a paused run go on."`
	Show    showPayoutCommand    `cmd:"" help:"Show a payout with its history, or the run of a date."`
	List    listPayoutsCommand   `cmd:"" help:"List a payee's payouts, the newest first."`
	Retry   retryPayoutCommand   `cmd:"" help:"Pay what a payout that failed, was canceled or came back did not."`
	Cancel  cancelPayoutCommand  `cmd:"" help:"Have a payout not be paid."`
	Resolve resolvePayoutCommand `cmd:"" help:"Say what became of a held payout; the provider is asked first."`

	Duplicate duplicatePayoutCommand `cmd:"" help:"Take a second movement of a payout's money into the books."`
}

// runArg names a run.
type runArg struct {
	api

	Date string `arg:"" help:"The run's date in UTC, as in 2026-11-20."`
}

// Validate is called by the parser.
func (r *runArg) Validate() error {
	if _, err := date.Parse(r.Date); err != nil {
		return fmt.Errorf("DATE: %w", err)
	}
	return nil
}

func (r *runArg) show(run apiclient.PayoutRun) error {
	return r.print(run, func(w io.Writer) { describeRun(w, run) })
}

type runPayoutsCommand struct{ runArg }

// Run starts the run of a date.
func (c *runPayoutsCommand) Run(ctx context.Context) error {
	created, run, err := c.client().StartPayoutRun(ctx, c.Date)
	if err != nil {
		return err
	}
	return c.print(run, func(w io.Writer) {
		describeRun(w, run)
		if created {
			fmt.Fprintf(w, "\nIt goes on by itself. Look again with: starter payouts show %s\n", run.Date)
		}
	})
}

// runVerdictArgs name a run and say why.
type runVerdictArgs struct {
	runArg

	Note string `help:"Why; it is recorded with your key's name."`
}

type approveRunCommand struct{ runVerdictArgs }

// Run lets a run pay.
func (c *approveRunCommand) Run(ctx context.Context) error {
	run, err := c.client().ApprovePayoutRun(ctx, c.Date, c.Note)
	if err != nil {
		return err
	}
	return c.show(run)
}

type pauseRunCommand struct{ runVerdictArgs }

// Run stops a run from paying.
func (c *pauseRunCommand) Run(ctx context.Context) error {
	run, err := c.client().PausePayoutRun(ctx, c.Date, c.Note)
	if err != nil {
		return err
	}
	return c.show(run)
}

type resumeRunCommand struct{ runVerdictArgs }

// Run has a paused run go on.
func (c *resumeRunCommand) Run(ctx context.Context) error {
	run, err := c.client().ResumePayoutRun(ctx, c.Date, c.Note)
	if err != nil {
		return err
	}
	return c.show(run)
}

// payoutArg names a payout.
type payoutArg struct {
	api

	ID string `arg:"" help:"The payout's id, po_…"`
}

func (p *payoutArg) show(payout apiclient.Payout) error {
	return p.print(payout, func(w io.Writer) { describePayout(w, payout) })
}

type showPayoutCommand struct {
	api

	What string `arg:"" name:"id" help:"The payout's id, po_…, or the date of a run."`
}

// Run shows a payout, or a run.
func (c *showPayoutCommand) Run(ctx context.Context) error {
	if _, err := date.Parse(c.What); err == nil {
		run, err := c.client().PayoutRun(ctx, c.What)
		if err != nil {
			return err
		}
		return c.print(run, func(w io.Writer) { describeRun(w, run) })
	}
	payout, err := c.client().Payout(ctx, c.What)
	if err != nil {
		return err
	}
	return c.print(payout, func(w io.Writer) { describePayout(w, payout) })
}

type listPayoutsCommand struct {
	api

	Payee string `arg:"" help:"The payee's id, which is the customer's."`
}

// Run lists a payee's payouts.
func (c *listPayoutsCommand) Run(ctx context.Context) error {
	payouts, err := c.client().Payouts(ctx, c.Payee)
	if err != nil {
		return err
	}
	return c.print(payouts, func(w io.Writer) { listPayouts(w, payouts) })
}

// payoutVerdictArgs name a payout and say why.
type payoutVerdictArgs struct {
	payoutArg

	Note string `help:"Why; it is recorded with your key's name."`
}

type retryPayoutCommand struct{ payoutVerdictArgs }

// Run pays what a payout did not, by a new one.
func (c *retryPayoutCommand) Run(ctx context.Context) error {
	payout, err := c.client().RetryPayout(ctx, c.ID, c.Note)
	if err != nil {
		return err
	}
	return c.show(payout)
}

type cancelPayoutCommand struct{ payoutVerdictArgs }

// Run has a payout not be paid.
func (c *cancelPayoutCommand) Run(ctx context.Context) error {
	payout, err := c.client().CancelPayout(ctx, c.ID, c.Note)
	if err != nil {
		return err
	}
	return c.show(payout)
}

type resolvePayoutCommand struct {
	payoutArg

	Outcome    string `arg:"" enum:"paid,failed" help:"What became of it: paid or failed."`
	ProviderID string `help:"With paid: the id of the payout at the provider, which is verified there; at PayPal of the payout item, or of the payout batch, with which all of it goes on."`
	Force      bool   `help:"With failed: also against the provider's word, or without it. It is recorded and alerted."`
	Note       string `required:"" help:"Why; it is recorded with your key's name."`
}

// Validate is called by the parser.
func (c *resolvePayoutCommand) Validate() error {
	switch {
	case c.Outcome == "paid" && c.ProviderID == "":
		return errors.New("--provider-id: paid needs the id of the payout at the provider")
	case c.Outcome == "paid" && c.Force:
		return errors.New("--force: goes with failed; paid is verified at the provider")
	case c.Outcome == "failed" && c.ProviderID != "":
		return errors.New("--provider-id: goes with paid")
	}
	return nil
}

// Run says what became of a payout.
func (c *resolvePayoutCommand) Run(ctx context.Context) error {
	payout, err := c.client().ResolvePayout(ctx, c.ID, apiclient.Resolution{
		Outcome: c.Outcome, ProviderID: c.ProviderID, Force: c.Force, Note: c.Note,
	})
	if err != nil {
		return err
	}
	return c.show(payout)
}

type duplicatePayoutCommand struct {
	payoutArg

	ProviderID string `arg:"" help:"The second transfer or payout item at the provider, which is read there."`
	Note       string `required:"" help:"Why; it is recorded with your key's name."`
}

// Run takes a second movement of a payout's money into the books.
func (c *duplicatePayoutCommand) Run(ctx context.Context) error {
	payout, err := c.client().RecordDuplicate(ctx, c.ID, c.ProviderID, c.Note)
	if err != nil {
		return err
	}
	return c.show(payout)
}

// payoutsSwitchCommand is starter ops payouts-switch.
type payoutsSwitchCommand struct {
	api

	To     string `arg:"" optional:"" enum:"on,off," default:"" help:"on or off; nothing shows how it stands."`
	Reason string `help:"Why; it is recorded with your key's name."`
}

// Validate is called by the parser.
func (c *payoutsSwitchCommand) Validate() error {
	switch {
	case c.To != "" && strings.TrimSpace(c.Reason) == "":
		return errors.New("--reason: say why; it is recorded with your key's name")
	case c.To == "" && c.Reason != "":
		return errors.New("--reason: goes with on or off")
	}
	return nil
}

// Run shows the kill switch, or turns it.
func (c *payoutsSwitchCommand) Run(ctx context.Context) error {
	stands, err := c.turn(ctx)
	if err != nil {
		return err
	}
	return c.print(stands, func(w io.Writer) { describeSwitch(w, stands) })
}

func (c *payoutsSwitchCommand) turn(ctx context.Context) (apiclient.PayoutsSwitch, error) {
	if c.To == "" {
		return c.client().PayoutsSwitch(ctx)
	}
	return c.client().SwitchPayouts(ctx, c.To == "on", c.Reason)
}

func describeSwitch(w io.Writer, s apiclient.PayoutsSwitch) {
	stands := "off: no new payment is made; look-ups and reversals go on"
	if s.Enabled {
		stands = "on"
	}
	fmt.Fprintf(w, "payouts\t%s\nreason\t%s\nturned by\t%s\nat\t%s\n", stands, orNone(s.Reason), orNone(s.Actor), s.At.UTC().Format(time.RFC3339))
}

// describeRun tells how far a run is and what its payouts come to.
func describeRun(w io.Writer, r apiclient.PayoutRun) {
	fmt.Fprintf(w, "run\t%s\nstate\t%s\nstarted\t%s by %s\n", r.Date, runState(r), r.StartedAt.UTC().Format(time.RFC3339), startedBy(r))
	fmt.Fprintf(w, "computed\t%s\nended\t%s\napproved by\t%s\nnote\t%s\nworkflow\t%s\n",
		moment(r.ComputedAt), moment(r.EndedAt), orNone(r.ApprovedBy), orNone(r.Note), r.WorkflowID)
	describeTotals(w, r.Totals)
	for _, m := range r.Missing {
		fmt.Fprintf(w, "\nThe platform lacks %s at %s: %d payouts wait for the next run.\n", m.Amount, m.Provider, m.Payouts)
	}
	if r.State == "awaiting_approval" {
		fmt.Fprintf(w, "\nIt waits for approval: starter payouts approve %s\n", r.Date)
	}
}

func describeTotals(w io.Writer, totals []apiclient.PayoutTotal) {
	if len(totals) == 0 {
		fmt.Fprintln(w, "\nIt has no payouts.")
		return
	}
	fmt.Fprintln(w, "\nSTATUS\tPAYOUTS\tGROSS\tFEE\tNET")
	for _, t := range totals {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", t.Status, t.Count, t.Gross, t.Fee, t.Net)
	}
}

func runState(r apiclient.PayoutRun) string {
	if r.ResumesTo == "" {
		return r.State
	}
	return r.State + " while " + r.ResumesTo
}

func startedBy(r apiclient.PayoutRun) string {
	if r.Actor == "" {
		return r.Cause
	}
	return r.Actor
}

// describePayout tells what is known of a payout, and how it came there.
func describePayout(w io.Writer, p apiclient.Payout) {
	fmt.Fprintf(w, "payout\t%s\npayee\t%s\nstatus\t%s since %s\nkind\t%s\n", p.ID, p.PayeeID, p.Status, p.StatusSince.UTC().Format(time.RFC3339), kindOf(p))
	if p.Ending != "" {
		fmt.Fprintf(w, "ends as\t%s, once the money is back\n", p.Ending)
	}
	fmt.Fprintf(w, "method\t%s\namount\t%s, fee %s, paid out %s\ncovers earnings through\t%s\n", p.Method, p.Gross, p.Fee, p.Net, p.PeriodEnd)
	fmt.Fprintf(w, "transfer\t%s\nbatch there\t%s\npayout there\t%s\narrives\t%s\n", orNone(p.Provider.TransferID),
		orNone(p.Provider.BatchID), orNone(cmp.Or(p.Provider.PayoutID, p.Provider.ItemID)), orNone(p.Provider.ArrivalDate))
	if p.Failure != nil {
		fmt.Fprintf(w, "failure\t%s %s: %s\n", p.Failure.Class, orNone(p.Failure.Code), p.Failure.Message)
	}
	fmt.Fprintln(w, "\nAT\tFROM\tTO\tBY\tREASON")
	for _, t := range p.History {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", t.At.UTC().Format(time.RFC3339), orNone(t.From), t.To, orNone(t.Actor), orNone(t.Reason))
	}
}

func kindOf(p apiclient.Payout) string {
	switch {
	case p.RetryOf != "":
		return p.Kind + " of " + p.RetryOf
	case p.RequestID != "":
		return p.Kind + ", request " + p.RequestID
	case p.RunDate != "":
		return p.Kind + ", run of " + p.RunDate
	default:
		return p.Kind
	}
}

func listPayouts(w io.Writer, payouts []apiclient.Payout) {
	if len(payouts) == 0 {
		fmt.Fprintln(w, "There are no payouts.")
		return
	}
	fmt.Fprintln(w, "PAYOUT\tSTATUS\tSINCE\tKIND\tMETHOD\tGROSS\tFEE\tNET")
	for _, p := range payouts {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			p.ID, p.Status, p.StatusSince.UTC().Format(time.RFC3339), kindOf(p), p.Method, p.Gross, p.Fee, p.Net)
	}
}
