package localstack

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// DatabaseVariable names the environment variable with the Postgres server to use.
const DatabaseVariable = "DATABASE_URL"

// ErrNotOurs is the answer to stopping or starting a server that the environment named.
var ErrNotOurs = errors.New("this server was not started here: its owner starts and stops it")

// PostgresOptions says which Postgres to start.
type PostgresOptions struct {
	// Dir holds the cluster, its log and its password, and is used again by the next start. Empty
	// is a temporary folder that Close removes.
	Dir string
	// Durable keeps Postgres' own defaults. Otherwise nothing is flushed to disk: faster, and fit
	// for data that may be lost with the machine, though not with the process.
	Durable bool
	// Private starts a cluster even if DATABASE_URL names one.
	Private bool
	// Log takes a line for what takes long, in the manner of fmt.Printf. Nil is silent.
	Log func(format string, args ...any)
}

// Postgres is a server on the loopback interface, or the one that DATABASE_URL names. Its methods
// are not for concurrent use.
type Postgres struct {
	url     string
	cluster *cluster // nil when DATABASE_URL named the server
	process *Process
}

// cluster is what stays the same when its server is started again.
type cluster struct {
	bin      string // the folder of the programs
	dir      string
	port     int
	password string
	durable  bool
	runAs    account
	scratch  []string // temporary folders
}

// StartPostgres gives a server that takes connections: the one that DATABASE_URL names, or a
// cluster of its own, run by an unprivileged user when this process is root. The programs are
// found on the machine, or fetched once. ctx is the life of the server.
func StartPostgres(ctx context.Context, options PostgresOptions) (*Postgres, error) {
	if named := os.Getenv(DatabaseVariable); named != "" && !options.Private {
		return namedPostgres(ctx, named)
	}
	c, err := newCluster(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("start Postgres: %w", errors.Join(err, c.removeScratch()))
	}
	p := &Postgres{cluster: c}
	err = retryPorts(1, func(ports []int) error {
		c.port = ports[0]
		p.url = c.url()
		return p.Start(ctx)
	})
	if err != nil {
		return nil, errors.Join(err, c.removeScratch())
	}
	return p, nil
}

func namedPostgres(ctx context.Context, url string) (*Postgres, error) {
	if err := ping(ctx, url); err != nil {
		return nil, fmt.Errorf("reach the server that %s names (unset it to have one started): %w", DatabaseVariable, err)
	}
	return &Postgres{url: url}, nil
}

// URL is the connection string, password included, of a superuser's own database.
func (p *Postgres) URL() string { return p.url }

// Ours says whether the server was started here.
func (p *Postgres) Ours() bool { return p.cluster != nil }

// Start starts the server again on the same address and data, after Stop or Kill.
func (p *Postgres) Start(ctx context.Context) error {
	if p.cluster == nil {
		return fmt.Errorf("start Postgres: %w", ErrNotOurs)
	}
	process, err := p.cluster.start(ctx)
	if err != nil {
		return fmt.Errorf("start Postgres with the data in %s: %w", p.cluster.dir, err)
	}
	p.process = process
	return nil
}

// Stop ends every connection and the server, in order; the data stays for Start.
func (p *Postgres) Stop() error {
	if p.cluster == nil {
		return fmt.Errorf("stop Postgres: %w", ErrNotOurs)
	}
	return p.process.Stop()
}

// Kill ends the server as a crash would; the data stays for Start.
func (p *Postgres) Kill() error {
	if p.cluster == nil {
		return fmt.Errorf("kill Postgres: %w", ErrNotOurs)
	}
	return p.process.Kill()
}

// Close stops the server, if it was started here, and removes what was temporary.
func (p *Postgres) Close() error {
	if p.cluster == nil {
		return nil
	}
	return errors.Join(p.process.Stop(), p.cluster.removeScratch())
}

// newCluster finds the programs and makes or finds the data. The cluster it gives beside an error
// has scratch folders to remove, nothing else.
func newCluster(ctx context.Context, options PostgresOptions) (*cluster, error) {
	c := &cluster{durable: options.Durable}
	log := logTo(options.Log)
	runAs, err := unprivileged()
	if err != nil {
		return c, err
	}
	c.runAs = runAs
	if err := c.choosePlace(options.Dir, log); err != nil {
		return c, err
	}
	bin, scratch, err := c.runAs.postgres(ctx, log)
	if scratch != "" {
		c.scratch = append(c.scratch, scratch)
	}
	if err != nil {
		return c, err
	}
	c.bin = bin
	return c, c.initialize(ctx)
}

func (c *cluster) choosePlace(dir string, log printer) error {
	root := ""
	if !c.durable {
		root = memoryRoot()
	}
	chosen, temporary, err := keptOrTemporary(dir, root, "postgres")
	if err != nil {
		return err
	}
	if temporary {
		c.scratch = append(c.scratch, chosen)
	}
	c.dir, temporary, err = c.runAs.reachable(chosen)
	if err != nil {
		return err
	}
	if temporary {
		c.scratch = append(c.scratch, c.dir)
		log("Postgres runs as the user %s, who cannot reach %s: its data is in %s, for this run only", c.runAs.name, chosen, c.dir)
	}
	return c.runAs.owns(c.dir)
}

// initialize makes the data folder unless an earlier run has. The superuser has a password because
// whoever can log in as one can run programs as the server's user.
func (c *cluster) initialize(ctx context.Context) error {
	passwordFile := filepath.Join(c.dir, "password")
	if _, err := os.Stat(c.data()); err == nil {
		password, err := os.ReadFile(passwordFile)
		c.password = string(password)
		return err
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c.password = rand.Text()
	if err := os.WriteFile(passwordFile, []byte(c.password), 0o600); err != nil {
		return err
	}
	if err := c.runAs.owns(passwordFile); err != nil {
		return err
	}
	unfinished := c.data() + ".unfinished"
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	if err := c.initdb(ctx, unfinished, passwordFile); err != nil {
		return err
	}
	return os.Rename(unfinished, c.data())
}

func (c *cluster) initdb(ctx context.Context, data, passwordFile string) error {
	args := []string{
		"--pgdata=" + data, "--username=" + superuser, "--pwfile=" + passwordFile,
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C",
	}
	if !c.durable {
		args = append(args, "--no-sync")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, "initdb"), args...)
	cmd.Dir, cmd.Env = c.dir, postgresEnv()
	cmd.SysProcAttr = c.runAs.attributes(syscall.SIGTERM)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run %s: %w:\n%s", cmd, err, indent(strings.TrimSpace(string(out))))
	}
	return nil
}

// start runs the server. After a kill, its orphans hold the data for a moment longer: they end by
// themselves, and until then a new server refuses the data.
func (c *cluster) start(ctx context.Context) (*Process, error) {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	giveUp := time.Now().Add(10 * time.Second)
	for {
		process, err := StartProcess(ctx, ProcessOptions{
			Name:       "postgres",
			Path:       filepath.Join(c.bin, "postgres"),
			Args:       c.settings(),
			Env:        postgresEnv(),
			Dir:        c.dir,
			LogFile:    filepath.Join(c.dir, "postgres.log"),
			Ready:      func(ctx context.Context) error { return ping(ctx, c.url()) },
			StopSignal: syscall.SIGINT, // "fast shutdown": clients are disconnected, not waited for
			runAs:      c.runAs,
		})
		var exit *ExitError
		orphaned := errors.As(err, &exit) && strings.Contains(exit.Tail, "is still in use")
		if !orphaned || time.Now().After(giveUp) {
			return process, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-again.C:
		}
	}
}

func (c *cluster) settings() []string {
	settings := []string{
		"port=" + strconv.Itoa(c.port),
		"listen_addresses=127.0.0.1",
		"unix_socket_directories=", // a socket's path may be too long, and TCP serves every client
		"max_connections=400",
	}
	if !c.durable {
		settings = append(settings, "fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_wal_size=128MB")
	}
	args := []string{"-D", c.data()}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	return args
}

func (c *cluster) url() string {
	return (&url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, c.password),
		Host:     loopback(c.port),
		Path:     "postgres",
		RawQuery: "sslmode=disable",
	}).String()
}

func (c *cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *cluster) removeScratch() error {
	var errs []error
	for _, dir := range c.scratch {
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}

const superuser = "holdfast"

// postgresEnv keeps this process's secrets from a server that may run as another user, and its
// messages in the language that we look for.
func postgresEnv() []string { return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"} }

func ping(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}
