package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/holdfast/holdfast/internal/apiclient"
)

// history is a customer, and what the app was told of it.
type history struct {
	apiclient.Customer

	Changes []apiclient.Change `json:"changes"`
}

// shownChanges is how much of a history is shown in words; JSON has all of it.
const shownChanges = 20

// describeChanges tells what the app was told of a customer, and when.
func describeChanges(w io.Writer, changes []apiclient.Change) {
	if len(changes) == 0 {
		fmt.Fprintln(w, "\nThe app was told of no change.")
		return
	}
	fmt.Fprintln(w, "\nTHE APP WAS TOLD\tCHANGE\tTYPE\tDATA")
	if older := len(changes) - shownChanges; older > 0 {
		fmt.Fprintf(w, "… %d older (--json)\t\t\t\n", older)
		changes = changes[older:]
	}
	for _, c := range changes {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", c.At.UTC().Format(time.RFC3339), c.Seq, c.Type, c.Data)
	}
}

type redeliverCommand struct {
	api

	Seqs []int64 `arg:"" optional:"" name:"change" help:"The changes' numbers."`
	All  bool    `help:"Every change that the app's webhook did not take."`
	Note string  `help:"Why; it is recorded with your key's name."`
}

// Validate is called by the parser.
func (c *redeliverCommand) Validate() error {
	if c.All == (len(c.Seqs) > 0) {
		return errors.New("name the changes by their numbers, or give --all")
	}
	return nil
}

// Run has changes sent to the app's webhook again.
func (c *redeliverCommand) Run(ctx context.Context) error {
	seqs := c.Seqs
	if c.All {
		waiting, err := c.client().Attention(ctx)
		if err != nil {
			return err
		}
		for _, w := range waiting {
			if w.ChangeSeq != 0 {
				seqs = append(seqs, w.ChangeSeq)
			}
		}
	}
	for _, seq := range seqs {
		if err := c.client().Redeliver(ctx, seq, c.Note); err != nil {
			return fmt.Errorf("change %d: %w", seq, err)
		}
	}
	return c.print(map[string][]int64{"redelivered": seqs}, func(w io.Writer) {
		fmt.Fprintf(w, "%d sent again: see starter ops attention for what is not taken\n", len(seqs))
	})
}
