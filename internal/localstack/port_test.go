package localstack

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPortsDifferAndAreOutsideOfThoseOfClients(t *testing.T) {
	t.Parallel()

	ports, err := freePorts(50)

	require.NoError(t, err)
	seen := map[int]bool{}
	for _, port := range ports {
		require.False(t, seen[port])
		seen[port] = true
		require.GreaterOrEqual(t, port, firstPort)
		require.LessOrEqual(t, port, lastPort)
	}
}

func TestPortsTakenMeanwhileAreReplaced(t *testing.T) {
	t.Parallel()
	var tried [][]int

	err := retryPorts(2, func(ports []int) error {
		tried = append(tried, ports)
		if len(tried) == 1 {
			return &ExitError{Tail: "could not bind IPv4 address: Address already in use"}
		}
		return nil
	})

	require.NoError(t, err)
	require.Len(t, tried, 2)
	require.NotEqual(t, tried[0], tried[1])
}

func TestOtherFailuresAreNotTriedAgain(t *testing.T) {
	t.Parallel()
	failure := errors.New("no such program")
	tries := 0

	err := retryPorts(1, func([]int) error { tries++; return failure })

	require.ErrorIs(t, err, failure)
	require.Equal(t, 1, tries)
}
