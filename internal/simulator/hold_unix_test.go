//go:build unix

package simulator_test

import (
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/simulator"
)

// While connections are refused, the port must not go to another test or program.
func TestFaults_RefuseHoldsThePort(t *testing.T) {
	t.Parallel()
	b := setup(t, simulator.Config{})
	address := strings.TrimPrefix(b.StripeURL(), "http://")
	require.NoError(t, b.SetFaults(simulator.Fault{Kind: simulator.Refuse}))

	require.ErrorIs(t, listenAlone(t, address), syscall.EADDRINUSE)

	require.NoError(t, b.Close())
	require.NoError(t, listenAlone(t, address), "closing frees it")
}

// listenAlone listens for a moment, and only if nobody else has anything to do with the address.
func listenAlone(t *testing.T, address string) error {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		var failed error
		err := conn.Control(func(fd uintptr) {
			failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 0)
		})
		require.NoError(t, err)
		return failed
	}}
	listener, err := config.Listen(t.Context(), "tcp", address)
	if err != nil {
		return err
	}
	return listener.Close()
}
