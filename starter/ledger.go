package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/holdfast/holdfast/internal/config"
	"github.com/holdfast/holdfast/internal/ledger"
	"github.com/holdfast/holdfast/internal/money"
	"github.com/holdfast/holdfast/internal/postgres"
)

// ledgerCommand groups what operators do with the ledger.
type ledgerCommand struct {
	Verify verifyLedgerCommand `cmd:"" help:"Prove that no cent is lost, and print the trial balance. Reads the database."`
}

type verifyLedgerCommand struct {
	Database config.Database `embed:""`
	JSON     bool            `help:"Print JSON."`
}

// Run adds up the ledger, holds every invariant against it, and fails when one does not hold.
func (c *verifyLedgerCommand) Run(ctx context.Context) error { return c.verify(ctx, os.Stdout) }

func (c *verifyLedgerCommand) verify(ctx context.Context, out io.Writer) error {
	pool, err := postgres.Open(ctx, c.Database.URL)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := postgres.RequireMigrated(ctx, pool); err != nil {
		return err
	}
	report, err := ledger.Verify(ctx, pool)
	if err != nil {
		return err
	}
	if err := c.print(out, report); err != nil {
		return err
	}
	return report.Err()
}

func (c *verifyLedgerCommand) print(out io.Writer, r ledger.Report) error {
	if c.JSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "CURRENCY\tACCOUNT\tRAIL\tDEBITS\tCREDITS\tBALANCE")
	for _, l := range r.Trial {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Currency, l.Account, orNone(string(l.Rail)),
			decimal(l.Debits, l.Currency), decimal(l.Credits, l.Currency), decimal(l.Balance, l.Currency))
	}
	fmt.Fprintln(table)
	for _, check := range r.Checks {
		fmt.Fprintln(table, check)
	}
	return table.Flush()
}

func decimal(minor int64, currency money.Currency) string {
	return money.New(minor, currency).Decimal()
}
