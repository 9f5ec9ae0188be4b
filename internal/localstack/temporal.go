package localstack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/log"
)

// TemporalVariable names the environment variable with the Temporal server to use. The other
// TEMPORAL_ variables of Temporal's own client configuration count with it.
const TemporalVariable = "TEMPORAL_ADDRESS"

const namespace = "default"

// TemporalOptions says which Temporal server to start.
type TemporalOptions struct {
	// Dir holds the server's log and, when Durable, its state. Empty is a temporary folder that
	// Close removes.
	Dir string
	// Durable keeps the state in a file of Dir, for the next start. Otherwise it is in memory and
	// gone with the process.
	Durable bool
	// UI serves Temporal's web interface too.
	UI bool
	// SearchAttributes are the names of the custom search attributes, all Keyword. Nil are
	// Holdfast's.
	SearchAttributes []string
	// DynamicConfig are further settings of the server, as KEY=VALUE.
	DynamicConfig []string
	// Private starts a server even if TEMPORAL_ADDRESS names one.
	Private bool
	// Log takes a line for what takes long, in the manner of fmt.Printf. Nil is silent.
	Log func(format string, args ...any)
}

// SearchAttributes are the custom search attributes that Holdfast's workflows set, all Keyword.
func SearchAttributes() []string {
	return []string{"HoldfastStatus", "HoldfastBlockedOn", "HoldfastCustomer", "HoldfastPayee"}
}

// Temporal is a dev server on the loopback interface, or the server that TEMPORAL_ADDRESS names.
// Its methods are not for concurrent use.
type Temporal struct {
	client  client.Options
	server  *devServer // nil when TEMPORAL_ADDRESS named the server
	process *Process
}

// devServer is what stays the same when the server is started again.
type devServer struct {
	program    string
	dir        string
	durable    bool
	ui         bool
	attributes []string
	config     []string
	ports      devPorts
	scratch    bool // dir is temporary
}

type devPorts struct{ frontend, http, metrics, ui int }

// StartTemporal gives a server with a namespace and the search attributes: the one that
// TEMPORAL_ADDRESS names, or a dev server of the Temporal CLI, which is taken from PATH or built
// once. ctx is the life of the server.
func StartTemporal(ctx context.Context, options TemporalOptions) (*Temporal, error) {
	if options.SearchAttributes == nil {
		options.SearchAttributes = SearchAttributes()
	}
	if os.Getenv(TemporalVariable) != "" && !options.Private {
		return namedTemporal(ctx, options.SearchAttributes)
	}
	program, err := temporalProgram(ctx, options.Log)
	if err != nil {
		return nil, fmt.Errorf("find or build the Temporal CLI (or name a server in %s): %w", TemporalVariable, err)
	}
	dir, temporary, err := keptOrTemporary(options.Dir, "", "temporal")
	if err != nil {
		return nil, fmt.Errorf("make a folder for Temporal: %w", err)
	}
	t := &Temporal{server: &devServer{
		program:    program,
		dir:        dir,
		durable:    options.Durable,
		ui:         options.UI,
		attributes: options.SearchAttributes,
		config:     options.DynamicConfig,
		scratch:    temporary,
	}}
	err = retryPorts(4, func(ports []int) error {
		t.server.ports = devPorts{ports[0], ports[1], ports[2], ports[3]}
		t.client = client.Options{HostPort: loopback(ports[0]), Namespace: namespace}
		return t.Start(ctx)
	})
	if err != nil {
		return nil, errors.Join(err, t.server.removeScratch())
	}
	return t, nil
}

func temporalProgram(ctx context.Context, log printer) (string, error) {
	tool := TemporalCLI()
	if path, err := exec.LookPath(tool.Name()); err == nil {
		return path, nil
	}
	return tool.Install(ctx, log)
}

// namedTemporal uses a server as it is. Managed servers do not tell their search attributes to
// everyone; one that does must have ours, or workflows would hang on the first upsert.
func namedTemporal(ctx context.Context, attributes []string) (*Temporal, error) {
	options, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return nil, fmt.Errorf("read Temporal's client configuration: %w", err)
	}
	options.Namespace = cmp.Or(options.Namespace, namespace)
	t := &Temporal{client: options}
	c, err := dialTemporal(ctx, t.ClientOptions())
	if err != nil {
		return nil, fmt.Errorf("reach the server that %s names (unset it to have one started): %w", TemporalVariable, err)
	}
	defer c.Close()
	missing, err := missingAttributes(ctx, c, options.Namespace, attributes)
	if err != nil || len(missing) == 0 {
		return t, nil
	}
	return nil, fmt.Errorf("the Temporal server at %s lacks search attributes; make them with: temporal operator search-attribute create --type Keyword --name %s",
		options.HostPort, strings.Join(missing, " --type Keyword --name "))
}

// Address is the host and port of the gRPC front end.
func (t *Temporal) Address() string { return t.client.HostPort }

// UIURL is the address of the web interface, empty if this server was started without or was not
// started here.
func (t *Temporal) UIURL() string {
	if t.server == nil || !t.server.ui {
		return ""
	}
	return "http://" + loopback(t.server.ports.ui)
}

// ClientOptions are what a client needs to reach the server, with a logger that says nothing.
func (t *Temporal) ClientOptions() client.Options {
	options := t.client
	options.Logger = log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	return options
}

// Ours says whether the server was started here.
func (t *Temporal) Ours() bool { return t.server != nil }

// Start starts the server again on the same addresses, after Stop. What it knows is what it knew
// if it is Durable, else nothing.
func (t *Temporal) Start(ctx context.Context) error {
	if t.server == nil {
		return fmt.Errorf("start Temporal: %w", ErrNotOurs)
	}
	process, err := StartProcess(ctx, ProcessOptions{
		Name:    "temporal",
		Path:    t.server.program,
		Args:    t.server.args(),
		LogFile: filepath.Join(t.server.dir, "temporal.log"),
		Ready:   t.ready,
	})
	if err != nil {
		return fmt.Errorf("start Temporal: %w", err)
	}
	t.process = process
	return nil
}

// Stop ends the server in order.
func (t *Temporal) Stop() error {
	if t.server == nil {
		return fmt.Errorf("stop Temporal: %w", ErrNotOurs)
	}
	return t.process.Stop()
}

// Close stops the server, if it was started here, and removes what was temporary.
func (t *Temporal) Close() error {
	if t.server == nil {
		return nil
	}
	if t.server.scratch {
		return errors.Join(t.process.Kill(), t.server.removeScratch()) // there is nothing to save
	}
	return t.process.Stop()
}

// args raise the limits that keep one tenant of a cluster from the others: here there is one, and
// it is load-tested.
func (s *devServer) args() []string {
	args := []string{
		"server", "start-dev",
		"--ip", "127.0.0.1",
		"--port", strconv.Itoa(s.ports.frontend),
		"--http-port", strconv.Itoa(s.ports.http),
		"--metrics-port", strconv.Itoa(s.ports.metrics),
		"--log-level", "error",
		"--dynamic-config-value", "frontend.rps=100000",
		"--dynamic-config-value", "frontend.namespaceRPS=100000",
		"--dynamic-config-value", "frontend.namespaceRPS.visibility=1000",
		"--dynamic-config-value", "history.rps=100000",
		"--dynamic-config-value", "matching.rps=100000",
	}
	for _, name := range s.attributes {
		args = append(args, "--search-attribute", name+"=Keyword")
	}
	for _, setting := range s.config {
		args = append(args, "--dynamic-config-value", setting)
	}
	if s.ui {
		args = append(args, "--ui-port", strconv.Itoa(s.ports.ui))
	} else {
		args = append(args, "--headless")
	}
	if s.durable {
		// SQLite's defaults flush to disk several times per transaction: 4 workflows a second.
		args = append(args, "--db-filename", filepath.Join(s.dir, "temporal.db"),
			"--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=normal")
	}
	return args
}

func (s *devServer) removeScratch() error {
	if !s.scratch {
		return nil
	}
	return os.RemoveAll(s.dir)
}

// ready also wants the lesser ports to be open: if another server was faster to take the front
// end's, ours has given up and serves none of them.
func (t *Temporal) ready(ctx context.Context) error {
	for _, port := range []int{t.server.ports.frontend, t.server.ports.http, t.server.ports.metrics} {
		if err := listens(ctx, port); err != nil {
			return err // sooner than a client's own attempts would end
		}
	}
	c, err := dialTemporal(ctx, t.ClientOptions())
	if err != nil {
		return err
	}
	defer c.Close()
	return t.addMissingAttributes(ctx, c)
}

// addMissingAttributes completes a state file from before an attribute was introduced: the dev
// server registers its flags only in a new one.
func (t *Temporal) addMissingAttributes(ctx context.Context, c client.Client) error {
	missing, err := missingAttributes(ctx, c, namespace, t.server.attributes)
	if err != nil || len(missing) == 0 {
		return err
	}
	types := make(map[string]enums.IndexedValueType, len(missing))
	for _, name := range missing {
		types[name] = enums.INDEXED_VALUE_TYPE_KEYWORD
	}
	_, err = c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace:        namespace,
		SearchAttributes: types,
	})
	if err != nil {
		return fmt.Errorf("add search attributes: %w", err)
	}
	return fmt.Errorf("the search attributes %s are being added", strings.Join(missing, ", "))
}

func missingAttributes(ctx context.Context, c client.Client, namespace string, want []string) ([]string, error) {
	known, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return nil, fmt.Errorf("list search attributes: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(want), func(name string) bool {
		_, ok := known.GetCustomAttributes()[name]
		return ok
	}), nil
}

// dialTemporal connects to a server that is healthy and has the namespace.
func dialTemporal(ctx context.Context, options client.Options) (client.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := client.DialContext(ctx, options)
	if err != nil {
		return nil, err
	}
	if _, err := c.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		c.Close()
		return nil, fmt.Errorf("check its health: %w", err)
	}
	_, err = c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: options.Namespace})
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("look for its namespace %q: %w", options.Namespace, err)
	}
	return c, nil
}
