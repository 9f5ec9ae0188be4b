package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast/holdfast/internal/payout"
)

const introduction = `# Payouts by example

What the rules of payouts pay, and when, in numbers to check by hand. Made by ` + "`make generate`" + ` from
internal/payout/examples/testdata/examples.md, whose every result the rules must give, under the
default policy. Amounts are US dollars.
`

// row is an example: its cells by the names of their columns.
type row map[string]string

// section is a table of examples of one kind.
type section struct {
	heading string
	results []string               // the columns that the rules give
	shown   []string               // further columns of the document, for who checks the results
	work    func(row) (row, error) // gives the results and what is shown
}

func sections() []section {
	return []section{
		{heading: "Cycles", results: []string{"due", "covers through"}, work: workCycles},
		{heading: "Fees", results: []string{"fee", "net"}, shown: []string{"how"}, work: workFee},
		{
			heading: "Runs", results: []string{"method", "gross", "fee", "net", "covers through", "reason", "last cycle after"},
			shown: []string{"why"}, work: workRun,
		},
		{heading: "Requests", results: []string{"gross", "fee", "net", "reason"}, shown: []string{"why"}, work: workRequest},
		{heading: "Platform funds", results: []string{"paid", "wait", "missing"}, work: workFunds},
	}
}

// work holds every example against the rules, and gives the document.
func work(text string) (string, error) {
	var document strings.Builder
	document.WriteString(introduction)
	worked, wrong := map[string]bool{}, []error(nil)
	for part := range strings.SplitSeq("\n"+text, "\n## ") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		prose, _, _ := strings.Cut(part, "\n|")
		heading, _, _ := strings.Cut(prose, "\n")
		i := slices.IndexFunc(sections(), func(s section) bool { return s.heading == heading })
		if i < 0 {
			return "", fmt.Errorf("%q is no kind of examples", heading)
		}
		worked[heading] = true
		fmt.Fprintf(&document, "\n## %s\n", strings.TrimSpace(prose))
		wrong = append(wrong, sections()[i].write(&document, part))
	}
	for _, s := range sections() {
		if !worked[s.heading] {
			wrong = append(wrong, fmt.Errorf("there are no examples of %s", s.heading))
		}
	}
	document.WriteString(reasons())
	return document.String(), errors.Join(wrong...)
}

// write works out a section's examples and writes its table. Its error names every result that differs.
func (s section) write(document *strings.Builder, part string) error {
	var columns []string
	var wrong []error
	for line := range strings.Lines(part) {
		cells, ok := cellsOf(line)
		switch {
		case !ok:
		case columns == nil:
			columns = cells
			document.WriteString("\n" + lineOf(append(slices.Clone(columns), s.shown...)))
			document.WriteString(strings.Repeat("|---", len(columns)+len(s.shown)) + "|\n")
		case strings.HasPrefix(line, "|---"):
		case len(cells) != len(columns):
			wrong = append(wrong, fmt.Errorf("%s: %q has %d cells, and the table %d columns", s.heading, line, len(cells), len(columns)))
		default:
			wrong = append(wrong, s.example(document, columns, cells))
		}
	}
	return errors.Join(wrong...)
}

// example works out one row and writes it.
func (s section) example(document *strings.Builder, columns, cells []string) error {
	example := row{}
	for i, column := range columns {
		example[column] = cells[i]
	}
	worked, err := s.work(example)
	if err != nil {
		return fmt.Errorf("%s: %q: %w", s.heading, cells[0], err)
	}
	var wrong []error
	for _, column := range s.results {
		if worked[column] != example[column] {
			wrong = append(wrong, fmt.Errorf("%s: %q: %s is %q by the rules, not %q", s.heading, cells[0], column, worked[column], example[column]))
		}
	}
	for _, column := range s.shown {
		cells = append(cells, worked[column])
	}
	document.WriteString(lineOf(cells))
	return errors.Join(wrong...)
}

// cellsOf are the cells of a line of a table.
func cellsOf(line string) ([]string, bool) {
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, "|") {
		return nil, false
	}
	cells := strings.Split(strings.Trim(line, "|"), "|")
	for i, cell := range cells {
		cells[i] = strings.TrimSpace(cell)
	}
	return cells, true
}

func lineOf(cells []string) string {
	return strings.ReplaceAll("| "+strings.Join(cells, " | ")+" |\n", "  ", " ")
}

// reasons is the table of why a payee is not paid.
func reasons() string {
	var table strings.Builder
	table.WriteString("\n## Reasons\n\nWhy a payee is not paid, or not so, in the order in which it is looked for.\n\n| code | what it means |\n|---|---|\n")
	for _, reason := range payout.Reasons() {
		table.WriteString(lineOf([]string{"`" + string(reason) + "`", reason.Sentence()}))
	}
	return table.String()
}
