// Command examples works out the examples of testdata/examples.md by the rules of payouts and writes
// them as docs/payout-examples.md. It writes nothing where a rule gives something else than what
// stands there.
package main

import (
	_ "embed"
	"fmt"
	"os"
)

//go:embed testdata/examples.md
var written string

func main() {
	document, err := work(written)
	if err != nil {
		fmt.Fprintln(os.Stderr, "examples:", err)
		os.Exit(1)
	}
	fmt.Fprint(os.Stdout, document)
}
