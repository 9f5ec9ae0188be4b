package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"
)

// settingsInReadme are the variables of its table, and whom each is for.
func settingsInReadme(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	found := map[string]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for _, match := range regexp.MustCompile("`([A-Z][A-Z_]+)`").FindAllStringSubmatch(cells[1], -1) {
			found[match[1]] = strings.TrimSpace(cells[2])
		}
	}
	return found
}

func TestEverySettingIsInTheReadme(t *testing.T) {
	t.Parallel()
	parser, err := kong.New(&commands{})
	require.NoError(t, err)
	whose := settingsInReadme(t)
	require.NoError(t, kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			for _, variable := range flag.Envs {
				require.Contains(t, whose, variable)
			}
		}
		return next(nil)
	}))
	serve := parser.Model.Children[0]
	require.Equal(t, "serve", serve.Name)
	for _, flag := range serve.Flags {
		for _, variable := range flag.Envs {
			require.Regexp(t, "^(serve|both)", whose[variable], variable)
		}
	}
}
