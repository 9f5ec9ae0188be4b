package telemetry_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.yaml.in/yaml/v3"
)

func activityNamed(name string) activity.RegisterOptions { return activity.RegisterOptions{Name: name} }

var ourMetric = regexp.MustCompile(`\bholdfast_[a-z_]+`)

// exported are the names of our metrics as documents use them, a histogram's without its suffix.
func exported(t *testing.T) []string {
	t.Helper()
	tel, _ := setup(t)
	everything(t, tel)
	var names []string
	for line := range series(t, tel) {
		if name := ourMetric.FindString(line); name != "" {
			names = append(names, withoutSuffix(name))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func withoutSuffix(name string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		name = strings.TrimSuffix(name, suffix)
	}
	return name
}

func document(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, path...)...))
	require.NoError(t, err)
	return string(text)
}

func TestEveryMetricIsDocumentedAndExists(t *testing.T) {
	t.Parallel()
	var documented []string
	for line := range strings.Lines(document(t, "docs", "metrics.md")) {
		if strings.HasPrefix(line, "| `holdfast_") {
			documented = append(documented, ourMetric.FindString(line))
		}
	}
	slices.Sort(documented)

	require.Equal(t, exported(t), documented)
}

type alerts struct {
	Groups []struct {
		Rules []struct {
			Alert, Expr, For    string
			Labels, Annotations map[string]string
		}
	}
}

func TestAlertsUseWhatIsExportedAndSayWhatToDo(t *testing.T) {
	t.Parallel()
	var file alerts
	require.NoError(t, yaml.Unmarshal([]byte(document(t, "deploy", "prometheus", "alerts.yml")), &file))
	require.Len(t, file.Groups, 1)
	known := exported(t)
	for _, rule := range file.Groups[0].Rules {
		metrics := ourMetric.FindAllString(rule.Expr, -1)
		require.NotEmpty(t, metrics, rule.Alert)
		for _, name := range metrics {
			require.Contains(t, known, withoutSuffix(name), rule.Alert)
		}
		require.NotEmpty(t, rule.For, rule.Alert)
		require.NotEmpty(t, rule.Labels["severity"], rule.Alert)
		require.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
		requireRunbook(t, rule.Annotations["runbook"])
	}
}

var runbookLink = regexp.MustCompile(`docs/runbook\.md#([a-z-]+)`)

// requireRunbook wants a line that says what to do, and that a chapter it points to is there.
func requireRunbook(t *testing.T, line string) {
	t.Helper()
	require.NotEmpty(t, line)
	link := runbookLink.FindStringSubmatch(line)
	if link == nil {
		return
	}
	var chapters []string
	for heading := range strings.Lines(document(t, "docs", "runbook.md")) {
		if title, ok := strings.CutPrefix(heading, "## "); ok {
			chapters = append(chapters, strings.ReplaceAll(strings.ToLower(strings.TrimSpace(title)), " ", "-"))
		}
	}
	require.Contains(t, chapters, link[1])
}
