// Package httpserver runs the HTTP servers of Holdfast's programs: with bounds on everything that a
// client could stretch, and an end that cuts nobody off.
package httpserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Bounds of the HTTP servers. A request may wait half a minute for a workflow.
const (
	readTimeout  = 15 * time.Second
	writeTimeout = 45 * time.Second
	idleTimeout  = 2 * time.Minute
	drainTimeout = 40 * time.Second
	maxHeader    = 64 << 10
)

// Run serves on the address that the variable names until ctx ends, and then lets the requests
// under way end.
func Run(ctx context.Context, variable, address string, handler http.Handler) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen on %s (%s): %w", address, variable, err)
	}
	server := &http.Server{
		Handler: handler, ReadTimeout: readTimeout, ReadHeaderTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve on %s: %w", address, err)
	case <-ctx.Done():
		draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		if err := server.Shutdown(draining); err != nil {
			return errors.Join(fmt.Errorf("stop serving on %s: requests were still under way after %s: %w", address, drainTimeout, err), server.Close())
		}
		return nil
	}
}
