package main

import (
	"os"
	"regexp"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"
)

func TestEverySettingIsInTheReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	parser, err := kong.New(&settings{})
	require.NoError(t, err)
	for _, flag := range parser.Model.Flags {
		for _, variable := range flag.Envs {
			row := regexp.MustCompile("(?m)^\\|[^|]*`" + variable + "`[^|]*\\| (both|worker)")
			require.True(t, row.Match(readme), "%s is not in the table, or not as the worker's", variable)
		}
	}
}
