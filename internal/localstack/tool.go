package localstack

import (
	"bufio"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Tool is a program that is built from source at a pinned version.
type Tool struct {
	Package string // its import path; the last element is the program's name
	Version string
}

// TemporalCLI is the newest Temporal CLI that "go install" can build (later ones replace modules).
func TemporalCLI() Tool {
	return Tool{Package: "github.com/temporalio/cli/cmd/temporal", Version: "v1.5.1"}
}

// StripeMock is Stripe's own validator of requests.
func StripeMock() Tool {
	return Tool{Package: "github.com/stripe/stripe-mock", Version: "v0.203.0"}
}

// Name is the program's name.
func (t Tool) Name() string { return filepath.Base(t.Package) }

func (t Tool) String() string { return t.Package + "@" + t.Version }

// Install gives the path of the program in the bin folder of Dir, and builds it with "go install"
// if it is not there at this version. Processes that ask at the same time build it once. log takes
// a line of progress every few seconds, in the manner of fmt.Printf; nil is silent.
func (t Tool) Install(ctx context.Context, log func(format string, args ...any)) (string, error) {
	dir, err := Dir()
	if err != nil {
		return "", fmt.Errorf("install %s: %w", t.Name(), err)
	}
	bin := filepath.Join(dir, "bin")
	path := filepath.Join(bin, t.Name())
	if t.isAt(path) {
		return path, nil
	}
	say := logTo(log)
	err = underLock(ctx, path+".lock",
		func() { say("waiting for another process that builds %s", t.Name()) },
		func() error {
			if t.isAt(path) {
				return nil
			}
			return t.build(ctx, bin, say)
		})
	if err != nil {
		return "", fmt.Errorf("install %s: %w", t.Name(), err)
	}
	return path, nil
}

// isAt says whether the file is the program, whole, and at the pinned version.
func (t Tool) isAt(path string) bool {
	info, err := buildinfo.ReadFile(path)
	return err == nil && info.Path == t.Package && info.Main.Version == t.Version
}

func (t Tool) build(ctx context.Context, bin string, log printer) (err error) {
	command, err := exec.LookPath("go")
	if err != nil {
		return fmt.Errorf("it is built with Go, which is not on PATH (install Go, or put %s itself on PATH): %w", t.Name(), err)
	}
	staging, err := os.MkdirTemp(bin, "building-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staging)) }()

	log("building %s, once; the first time takes minutes", t)
	cmd := exec.CommandContext(ctx, command, "install", "-v", t.String())
	// The settings of the module that we happen to be in are not the tool's.
	cmd.Env = append(os.Environ(), "GOBIN="+staging, "GOFLAGS=", "GOWORK=off")
	cmd.SysProcAttr = account{}.attributes(syscall.SIGTERM)
	cmd.Cancel = func() error { killGroup(cmd.Process.Pid); return nil } // the compilers too
	progress := buildProgress{name: t.Name(), log: log, began: time.Now(), latest: "reading modules"}
	if err := progress.run(cmd); ctx.Err() != nil {
		return ctx.Err()
	} else if err != nil {
		return fmt.Errorf("run go install %s (try it by hand, or put %s itself on PATH): %w:\n%s",
			t, t.Name(), err, indent(progress.complaints()))
	}
	log("built %s in %s", t.Name(), progress.elapsed())
	return os.Rename(filepath.Join(staging, t.Name()), filepath.Join(bin, t.Name()))
}

// buildProgress reads what "go install -v" prints: a line for each package it compiles and each
// module it downloads, and between them the errors.
type buildProgress struct {
	name  string
	log   printer
	began time.Time

	mu       sync.Mutex
	packages int
	latest   string
	other    []string
}

func (b *buildProgress) run(cmd *exec.Cmd) error {
	output, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	var reporting sync.WaitGroup
	reporting.Go(func() { b.report(ended) })
	b.read(output)
	err = cmd.Wait()
	close(ended)
	reporting.Wait()
	return err
}

func (b *buildProgress) read(output io.Reader) {
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		b.note(lines.Text())
	}
	_, _ = io.Copy(io.Discard, output) // after a line too long to scan: never block the build
}

func (b *buildProgress) note(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case strings.HasPrefix(line, "go: downloading "):
		b.latest = strings.TrimPrefix(line, "go: ")
	case !strings.ContainsAny(line, " \t:#"):
		b.packages++
		b.latest = "compiling " + line
	default:
		b.other = append(b.other, line)
	}
}

func (b *buildProgress) report(ended <-chan struct{}) {
	every := time.NewTicker(5 * time.Second)
	defer every.Stop()
	for {
		select {
		case <-ended:
			return
		case <-every.C:
			b.mu.Lock()
			packages, latest := b.packages, b.latest
			b.mu.Unlock()
			b.log("building %s: %s, %d packages so far, %s", b.name, b.elapsed(), packages, latest)
		}
	}
}

func (b *buildProgress) elapsed() time.Duration { return time.Since(b.began).Round(time.Second) }

// complaints are the last lines that were not progress.
func (b *buildProgress) complaints() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.other[max(0, len(b.other)-20):], "\n")
}

// printer takes a line in the manner of fmt.Printf.
type printer func(format string, args ...any)

func logTo(log func(format string, args ...any)) printer {
	if log == nil {
		return func(string, ...any) {}
	}
	return log
}
