package localstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// ProcessOptions says how a process is run.
type ProcessOptions struct {
	// Name is what errors call the process.
	Name string
	// Path and Args are the program and its arguments, without the program's name.
	Path string
	Args []string
	// Env is the whole environment; nil gives the process that of its parent.
	Env []string
	// Dir is the working directory; empty is the parent's.
	Dir string
	// LogFile takes standard output and standard error, after what it already holds.
	LogFile string
	// Ready is called until it returns nil; StartProcess returns then. Nil: ready at once.
	Ready func(context.Context) error
	// ReadyWithin bounds the wait for Ready. Default 2 min: a busy machine starts nothing in seconds.
	ReadyWithin time.Duration
	// StopSignal asks the process to end. Default SIGTERM.
	StopSignal syscall.Signal
	// StopWithin is how long the process may take to end before it is killed. Default 1 min, in
	// which a worker lets calls end that are under way.
	StopWithin time.Duration

	runAs account
}

func (o ProcessOptions) withDefaults() ProcessOptions {
	if o.Ready == nil {
		o.Ready = func(context.Context) error { return nil }
	}
	if o.ReadyWithin == 0 {
		o.ReadyWithin = 2 * time.Minute
	}
	if o.StopSignal == 0 {
		o.StopSignal = syscall.SIGTERM
	}
	if o.StopWithin == 0 {
		o.StopWithin = time.Minute
	}
	return o
}

// Process is a running program in a process group of its own. It ends with Stop, with Kill, with
// the context that it was started under and, on Linux, with the process that started it.
type Process struct {
	options  ProcessOptions
	cmd      *exec.Cmd
	logStart int64 // where in the log file this run begins
	stop     context.CancelFunc
	killed   atomic.Bool // by Kill, on purpose
	done     chan struct{}
}

// ExitError is the end of a process that was to go on running.
type ExitError struct {
	Name    string
	State   string // such as "exit status 1"
	LogFile string
	Tail    string // the last lines of the log of this run
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("%s ended by itself (%s); the end of %s:\n%s", e.Name, e.State, e.LogFile, indent(e.Tail))
}

// StartProcess runs a program and waits until it is ready. ctx is the life of the process: when it
// ends, the process is stopped. A process that ends before it is ready gives an ExitError.
func StartProcess(ctx context.Context, options ProcessOptions) (*Process, error) {
	options = options.withDefaults()
	if err := os.MkdirAll(filepath.Dir(options.LogFile), 0o755); err != nil {
		return nil, fmt.Errorf("start %s: %w", options.Name, err)
	}
	log, err := os.OpenFile(options.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", options.Name, err)
	}
	defer func() { _ = log.Close() }() // the process has a handle of its own
	logStart, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", options.Name, err)
	}

	life, stop := context.WithCancel(ctx)
	p := &Process{options: options, logStart: logStart, stop: stop, done: make(chan struct{})}
	p.cmd = exec.CommandContext(life, options.Path, options.Args...)
	p.cmd.Env, p.cmd.Dir = options.Env, options.Dir
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = options.runAs.attributes(options.StopSignal)
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(options.StopSignal) }
	p.cmd.WaitDelay = options.StopWithin // then killed

	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		stop()
		return nil, fmt.Errorf("start %s: %w", options.Name, err)
	}
	if err := p.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// run keeps the thread that forks: Linux sends the parent-death signal when that thread ends, and
// Go is otherwise free to end it.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.cmd.Start(); err != nil {
		started <- err
		return
	}
	started <- nil
	_ = p.cmd.Wait() // how it ended is in cmd.ProcessState
	killGroup(p.cmd.Process.Pid)
	p.stop()
	close(p.done)
}

func (p *Process) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.options.ReadyWithin)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := p.options.Ready(ctx)
		if err == nil {
			return p.Err() // whoever answered, a process that has ended is not ready
		}
		select {
		case <-p.done:
			return p.Err()
		case <-ctx.Done():
			return fmt.Errorf("wait at most %s for %s to be ready: %w: %w; the end of %s:\n%s",
				p.options.ReadyWithin, p.options.Name, ctx.Err(), err, p.options.LogFile, indent(p.tail()))
		case <-again.C:
		}
	}
}

// Pid is the id of the process and of its group.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is nil while the process runs, and an ExitError once it has ended.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return &ExitError{
			Name:    p.options.Name,
			State:   p.cmd.ProcessState.String(),
			LogFile: p.options.LogFile,
			Tail:    p.tail(),
		}
	default:
		return nil
	}
}

// Stop asks the process to end and waits until it has; after StopWithin it is killed, which is an
// error. Stopping a process that has ended is no error.
func (p *Process) Stop() error {
	p.stop()
	<-p.done
	//nolint:forcetypeassert // what Unix gives, always
	if p.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL && !p.killed.Load() {
		return fmt.Errorf("%s did not stop within %s of %s and was killed", p.options.Name, p.options.StopWithin, p.options.StopSignal)
	}
	return nil
}

// Kill ends the process at once, as a crash would, and waits until it has ended.
func (p *Process) Kill() error {
	p.killed.Store(true)
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.options.Name, err)
	}
	<-p.done
	return nil
}

// tail is the last lines that this run logged. What cannot be read is not worth a second error.
func (p *Process) tail() string {
	const maxBytes, maxLines = 8 << 10, 20
	file, err := os.Open(p.options.LogFile)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = file.Close() }()
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err.Error()
	}
	from := max(p.logStart, end-maxBytes)
	text, err := io.ReadAll(io.NewSectionReader(file, from, end-from))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-maxLines):], "\n")
}

func indent(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }

// killGroup ends what a process left behind in its group. An empty group is no error.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
