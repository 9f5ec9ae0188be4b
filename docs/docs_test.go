// Package docs_test holds what the documents say against what is there.
package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/holdfast/holdfast/internal/simulator"
)

// read reads a file of the repository.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", path))
	require.NoError(t, err)
	return string(text)
}

// files are those of the repository that match a pattern, tests left out.
func files(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("..", pattern))
	require.NoError(t, err)
	require.NotEmpty(t, found, pattern)
	for i, path := range found {
		found[i] = strings.TrimPrefix(filepath.ToSlash(path), "../")
	}
	return slices.DeleteFunc(found, func(path string) bool { return strings.HasSuffix(path, "_test.go") })
}

// sorted puts texts in order, each once.
func sorted(texts []string) []string {
	slices.Sort(texts)
	return slices.Compact(texts)
}

// all are the first groups of every match.
func all(pattern *regexp.Regexp, text string) []string {
	var found []string
	for _, match := range pattern.FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	return found
}

// chapter is the part of a document under a heading.
func chapter(t *testing.T, text, heading string) string {
	t.Helper()
	_, part, ok := strings.Cut(text, "\n## "+heading+"\n")
	require.True(t, ok, heading)
	part, _, _ = strings.Cut(part, "\n## ")
	return part
}

var (
	settingInCode  = regexp.MustCompile(`env:"([A-Z_]+)"`)
	variableInText = regexp.MustCompile("`([A-Z][A-Z_]+)(?:_\\*)?`")
)

// settings are the variables that our programs read.
func settings(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"starter/*.go", "worker/*.go", "internal/config/*.go"} {
		for _, path := range files(t, pattern) {
			found = append(found, all(settingInCode, read(t, path))...)
		}
	}
	return sorted(found)
}

// told are the variables in the README's table, and whom each is for; those that Temporal's and
// OpenTelemetry's libraries read are left out.
func told(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for line := range strings.Lines(chapter(t, read(t, "README.md"), "In production")) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for _, variable := range all(variableInText, cells[1]) {
			if !ofLibraries(variable) {
				found[variable] = strings.TrimSpace(cells[2])
			}
		}
	}
	require.NotEmpty(t, found)
	return found
}

func ofLibraries(variable string) bool {
	return strings.HasPrefix(variable, "TEMPORAL_") || strings.HasPrefix(variable, "OTEL_") || strings.HasPrefix(variable, "PG")
}

// That each setting is in the table is tested with the programs, which know theirs.
func TestEverySettingInTheReadmeExists(t *testing.T) {
	t.Parallel()
	known := settings(t)
	for variable := range told(t) {
		require.Contains(t, known, variable)
	}
}

// environments are the variables that docker-compose.yml gives a service, with their values.
func environments(t *testing.T, service string) map[string]string {
	t.Helper()
	var file struct {
		Services map[string]struct {
			Environment map[string]string `yaml:"environment"`
		} `yaml:"services"`
	}
	require.NoError(t, yaml.Unmarshal([]byte(read(t, "docker-compose.yml")), &file))
	return file.Services[service].Environment
}

// notInCompose are settings that its containers have from the image, or that are for tests.
var notInCompose = regexp.MustCompile(`^HOLDFAST_(LISTEN|METRICS_LISTEN|LOG_LEVEL|LOG_FORMAT)$|^PAYPAL_CERT_`)

func TestComposeGivesEverySetting(t *testing.T) {
	t.Parallel()
	known := settings(t)
	for program, service := range map[string]string{"serve": "starter", "worker": "worker"} {
		given := environments(t, service)
		for variable, whose := range told(t) {
			if (whose == program || strings.HasPrefix(whose, "both")) && !notInCompose.MatchString(variable) {
				require.Contains(t, given, variable, service)
			}
		}
		for variable := range given {
			require.True(t, ofLibraries(variable) || slices.Contains(known, variable), "%s is given %s, which nobody reads", service, variable)
		}
	}
}

var assignment = regexp.MustCompile(`(?m)^([A-Z_]+)=`)

// What a trial is told must reach the containers, and be what the simulator accepts.
func TestTheTrialsSettingsAreUsed(t *testing.T) {
	t.Parallel()
	compose, trial := read(t, "docker-compose.yml"), read(t, "deploy/demo.env")
	for _, variable := range all(assignment, trial) {
		if variable != "COMPOSE_PROFILES" {
			require.Contains(t, compose, "${"+variable+":-", variable)
		}
	}
	for _, line := range []string{
		"STRIPE_SECRET_KEY=" + simulator.DefaultStripeKey,
		"STRIPE_WEBHOOK_SECRET=" + simulator.DefaultStripeWebhookSecret,
		"STRIPE_CONNECT_WEBHOOK_SECRET=" + simulator.DefaultStripeConnectSecret,
		"PAYPAL_CLIENT_ID=" + simulator.DefaultPayPalClientID,
		"PAYPAL_CLIENT_SECRET=" + simulator.DefaultPayPalClientSecret,
	} {
		require.Contains(t, trial, line+"\n")
	}
}

var (
	eventInText = regexp.MustCompile("`([a-z_]+\\.[a-z_.]+[a-z])`")
	eventInCode = regexp.MustCompile(`"([a-z_]+\.[a-z_.]+[a-z])"[,:]`)

	connectedEvent  = regexp.MustCompile(`(?:e\.Type|eventType) == "([a-z_.]+)"`)
	connectedEvents = regexp.MustCompile(`HasPrefix\((?:e\.Type|eventType), "([a-z_.]+)"\)`)
	eventsInText    = regexp.MustCompile("`([a-z_]+\\.[a-z_.*]+)`")
)

// Whoever makes the endpoints at Stripe asks for what the README says.
func TestStripesEventsAreInTheReadme(t *testing.T) {
	t.Parallel()
	code := read(t, "internal/webhook/stripe.go")
	_, ofAccount, ok := strings.Cut(code, "func changesSubscriptions(")
	require.True(t, ok)
	ofAccount, ofConnected, ok := strings.Cut(ofAccount, "\n}\n")
	require.True(t, ok)
	own, connected := paragraphsAbout(t, "second endpoint at Stripe")

	require.Equal(t, sorted(all(eventInCode, ofAccount)), sorted(all(eventInText, own)))
	wanted := all(connectedEvent, ofConnected)
	for _, family := range all(connectedEvents, ofConnected) {
		wanted = append(wanted, family+"*")
	}
	require.NotEmpty(t, wanted)
	require.Equal(t, sorted(wanted), sorted(all(eventsInText, connected)))
}

var (
	payPalFamilyInCode = regexp.MustCompile(`= "([A-Z-]+\.[A-Z-]+\.)"`)
	payPalFamilyInText = regexp.MustCompile("`([A-Z-]+\\.[A-Z-]+\\.)\\*`")
)

// Whoever makes the webhook at PayPal asks for what the README says.
func TestPayPalsEventsAreInTheReadme(t *testing.T) {
	t.Parallel()
	wanted := all(payPalFamilyInCode, read(t, "internal/webhook/paypal_event.go"))
	require.NotEmpty(t, wanted)
	require.Equal(t, sorted(wanted), sorted(all(payPalFamilyInText, chapter(t, read(t, "README.md"), "The providers' webhooks"))))
}

// paragraphsAbout parts the chapter on webhooks where a paragraph speaks of something else.
func paragraphsAbout(t *testing.T, what string) (before, after string) {
	t.Helper()
	text := chapter(t, read(t, "README.md"), "The providers' webhooks")
	before, after, ok := strings.Cut(text, what)
	require.True(t, ok, what)
	return before, after
}

func TestEveryDecisionIsListed(t *testing.T) {
	t.Parallel()
	list := read(t, "docs/decisions/README.md")
	for _, path := range files(t, "docs/decisions/0*.md") {
		number, _, _ := strings.Cut(filepath.Base(path), "-")
		title, _, _ := strings.Cut(strings.TrimPrefix(read(t, path), "# "), "\n")
		require.True(t, strings.HasPrefix(title, number+". "), "%s is headed %q", path, title)
		require.Contains(t, list, "- ["+title+"]("+filepath.Base(path)+")")
	}
}

var direct = regexp.MustCompile(`(?m)^\t(\S+) (v\S+)$`) // without // indirect

func TestEveryDependencyIsExplained(t *testing.T) {
	t.Parallel()
	versions := map[string]string{}
	for line := range strings.Lines(read(t, "docs/dependencies.md")) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 {
			continue
		}
		first := ""
		for _, name := range all(regexp.MustCompile("`([^`]+)`"), cells[1]) {
			if short, ok := strings.CutPrefix(name, "…"); ok {
				name = first + short
			} else {
				first = name
			}
			versions[name] = strings.TrimSpace(cells[2])
		}
	}
	modules := direct.FindAllStringSubmatch(read(t, "go.mod"), -1)
	require.NotEmpty(t, modules)
	for _, module := range modules {
		require.Equal(t, module[2], versions[module[1]], module[1])
	}
}

var imageWithTag = regexp.MustCompile(`(?m)^\s*(?:image: |FROM (?:--\S+ )?|COPY --from=)([a-z][a-z./0-9-]+):(\S+)`)

func TestEveryImageIsExplained(t *testing.T) {
	t.Parallel()
	told := chapter(t, read(t, "docs/dependencies.md"), "Images")
	images := imageWithTag.FindAllStringSubmatch(read(t, "docker-compose.yml")+read(t, "Dockerfile"), -1)
	require.NotEmpty(t, images)
	for _, image := range images {
		version, _, _ := strings.Cut(image[2], "-bookworm")
		require.Regexp(t, "(?m)^.*`"+regexp.QuoteMeta(image[1])+"`.*"+regexp.QuoteMeta(version), told)
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	noSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are what may follow # in a link to the document.
func anchors(text string) []string {
	var found []string
	for _, title := range all(heading, text) {
		found = append(found, strings.ReplaceAll(noSlug.ReplaceAllString(strings.ToLower(title), ""), " ", "-"))
	}
	return found
}

func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	for _, path := range slices.Concat([]string{"README.md"}, files(t, "docs/*.md"), files(t, "docs/*/*.md")) {
		for _, target := range all(link, read(t, path)) {
			if strings.Contains(target, "://") {
				continue
			}
			file, anchor, _ := strings.Cut(target, "#")
			to := path
			if file != "" {
				to = filepath.ToSlash(filepath.Join(filepath.Dir(path), file))
				_, err := os.Stat(filepath.Join("..", to))
				require.NoError(t, err, "%s: %s", path, target)
			}
			if anchor != "" {
				require.Contains(t, anchors(read(t, to)), anchor, "%s: %s", path, target)
			}
		}
	}
}
