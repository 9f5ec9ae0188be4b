package localstack

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shell runs a script and waits until it has printed "ready".
func shell(t *testing.T, script string) ProcessOptions {
	t.Helper()
	log := filepath.Join(t.TempDir(), "out.log")
	return ProcessOptions{
		Name:    "script",
		Path:    "/bin/sh",
		Args:    []string{"-c", script},
		LogFile: log,
		Ready: func(context.Context) error {
			out, err := os.ReadFile(log)
			if err == nil && !strings.Contains(string(out), "ready") {
				err = errors.New("not a word yet")
			}
			return err
		},
	}
}

func TestProcessStopsInOrder(t *testing.T) {
	t.Parallel()
	options := shell(t, `trap 'echo goodbye; exit 0' TERM; echo ready; while :; do sleep 0.02; done`)
	p, err := StartProcess(t.Context(), options)
	require.NoError(t, err)
	require.NoError(t, p.Err())

	require.NoError(t, p.Stop())

	require.ErrorContains(t, p.Err(), "goodbye")
	require.NoError(t, p.Stop(), "again")
}

func TestProcessThatIgnoresTheSignalIsKilled(t *testing.T) {
	t.Parallel()
	options := shell(t, `trap '' TERM; echo ready; while :; do sleep 0.02; done`)
	options.StopWithin = 50 * time.Millisecond
	p, err := StartProcess(t.Context(), options)
	require.NoError(t, err)

	require.ErrorContains(t, p.Stop(), "was killed")
}

func TestProcessKill(t *testing.T) {
	t.Parallel()
	p, err := StartProcess(t.Context(), shell(t, `echo ready; exec sleep 60`))
	require.NoError(t, err)

	require.NoError(t, p.Kill())

	require.ErrorContains(t, p.Err(), "killed")
	require.NoError(t, p.Stop(), "it was killed on purpose")
}

func TestProcessEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	p, err := StartProcess(ctx, shell(t, `echo ready; exec sleep 60`))
	require.NoError(t, err)

	cancel()

	<-p.Done()
}

func TestProcessTakesItsChildrenWithIt(t *testing.T) {
	t.Parallel()
	options := shell(t, `sleep 60 & echo child $!; echo ready; wait`)
	p, err := StartProcess(t.Context(), options)
	require.NoError(t, err)
	out, err := os.ReadFile(options.LogFile)
	require.NoError(t, err)
	child, err := strconv.Atoi(strings.Fields(string(out))[1])
	require.NoError(t, err)

	require.NoError(t, p.Kill())

	require.Eventually(t, func() bool { return gone(child) }, time.Minute, 10*time.Millisecond)
}

// gone says whether a process has ended; one that nobody has reaped yet has.
func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && strings.Contains(string(stat), ") Z ")
}

func TestProcessThatDiesEarlyIsQuoted(t *testing.T) {
	t.Parallel()
	options := shell(t, `echo "cannot open the shop" >&2; exit 3`)
	require.NoError(t, os.WriteFile(options.LogFile, []byte("an earlier run\n"), 0o600))

	_, err := StartProcess(t.Context(), options)

	var exit *ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, "exit status 3", exit.State)
	require.Equal(t, "cannot open the shop", exit.Tail)
	require.ErrorContains(t, err, options.LogFile)
}

func TestProcessThatIsNeverReadyIsStopped(t *testing.T) {
	t.Parallel()
	options := shell(t, `echo thinking; exec sleep 60`)
	options.ReadyWithin = 100 * time.Millisecond

	_, err := StartProcess(t.Context(), options)

	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "not a word yet")
}

func TestProcessThatIsNotThere(t *testing.T) {
	t.Parallel()
	options := shell(t, "")
	options.Path = filepath.Join(t.TempDir(), "nothing")

	_, err := StartProcess(t.Context(), options)

	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "start script")
}
