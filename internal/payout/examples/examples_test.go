package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// RULES.md §3: the examples that people have worked out are what the rules give.
func TestTheExamplesHold(t *testing.T) {
	t.Parallel()
	_, err := work(written)
	require.NoError(t, err)
}

func TestTheDocumentIsUpToDate(t *testing.T) {
	t.Parallel()
	document, err := work(written)
	require.NoError(t, err)
	kept, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "payout-examples.md"))
	require.NoError(t, err)
	require.Equal(t, string(kept), document, "run make generate")
}

// A result that is not what the rules give is named, and so is what cannot be worked out.
func TestWrongExamplesAreFound(t *testing.T) {
	t.Parallel()
	for old, c := range map[string]struct{ instead, says string }{
		"| US | 100.00 | 2.92 | 97.08 |":                 {"| US | 100.00 | 2.93 | 97.07 |", `fee is "2.92" by the rules, not "2.93"`},
		"| 2026-11-20 | 2026-11-20 | 2026-11-13 |":       {"| 2026-11-20 | 2026-11-20 | 2026-11-19 |", `covers through is "2026-11-13" by the rules`},
		"| everything | 100.00 |":                        {"| everything | 100.001 |", "more decimals"},
		"| paused by payee |":                            {"| on holiday |", `nobody knows the fact "on holiday"`},
		"u_1 2026-11-20 100.00, u_2 2026-11-13 100.00 |": {"u_1 100.00 |", "is not a payee, a date and an amount"},
		"## Fees":                               {"## Charges", `"Charges" is no kind of examples`},
		"| paypal | DE | 10.00 | 0.20 | 9.80 |": {"| paypal | DE | 10.00 | 0.20 |", "has 4 cells, and the table 5 columns"},
		"| the day before | weekly | 2026-11-13 | 2026-11-": {"| the day before | weekly | 2026-11-13 | 2026-13-", "is not a date"},
	} {
		require.Contains(t, written, old)
		_, err := work(strings.Replace(written, old, c.instead, 1))
		require.ErrorContains(t, err, c.says)
	}
	_, err := work("")
	require.ErrorContains(t, err, "there are no examples of Requests")
}
