package localstack

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
)

// Servers listen below the range from which Linux, macOS and the BSDs take the ports of outgoing
// connections: while a server is down for a moment, no client's connection can sit on its port.
const (
	firstPort = 20000
	lastPort  = 32767
)

// freePorts finds n ports of the loopback interface that are free and differ from each other.
// Another process may still be faster to take one: see retryPorts.
func freePorts(n int) ([]int, error) {
	ports := make([]int, 0, n)
	for range 1000 {
		if len(ports) == n {
			return ports, nil
		}
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		listener, err := net.Listen("tcp", loopback(port)) //nolint:noctx // it answers at once
		if err != nil {
			continue
		}
		defer func() { _ = listener.Close() }() // held until all are found, so that they differ
		ports = append(ports, port)
	}
	return nil, fmt.Errorf("find %d free ports between %d and %d on 127.0.0.1", n, firstPort, lastPort)
}

// OnFreeAddresses has a server of the caller's started on n free addresses of the loopback interface, and
// again on others if another process was faster to take one.
func OnFreeAddresses(n int, start func(addresses []string) error) error {
	return retryPorts(n, func(ports []int) error {
		addresses := make([]string, n)
		for i, port := range ports {
			addresses[i] = loopback(port)
		}
		return start(addresses)
	})
}

// retryPorts calls start with n free ports, and again with others if one was taken meanwhile.
func retryPorts(n int, start func(ports []int) error) error {
	var err error
	for range 5 {
		var ports []int
		if ports, err = freePorts(n); err != nil {
			return err
		}
		if err = start(ports); !portTaken(err) {
			return err
		}
	}
	return err
}

func portTaken(err error) bool {
	var exit *ExitError
	return errors.As(err, &exit) && strings.Contains(strings.ToLower(exit.Tail), "address already in use")
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// listens says whether somebody does, on a port of the loopback interface.
func listens(ctx context.Context, port int) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", loopback(port))
	if err != nil {
		return err
	}
	return conn.Close()
}
