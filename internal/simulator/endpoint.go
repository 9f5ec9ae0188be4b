package simulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const headerTimeout = 10 * time.Second

// endpoint is a listening address with an HTTP server behind it. It can stop listening for a
// while, so that connections are refused, and comes back on the same port.
type endpoint struct {
	handler http.Handler
	logger  *slog.Logger

	mu     sync.Mutex
	addr   string        // as first bound; fixed from then on
	server *http.Server  // nil while refusing
	served chan struct{} // closed when server has let go of its listener
	hold   io.Closer     // keeps the port ours while refusing
	closed bool
}

func newEndpoint(handler http.Handler, logger *slog.Logger) *endpoint {
	return &endpoint{handler: handler, logger: logger}
}

// open starts to listen on addr; port 0 picks a free one, which is kept for good.
func (e *endpoint) open(ctx context.Context, addr string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.listen(ctx, addr)
}

func (e *endpoint) url() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return "http://" + e.addr
}

// refuse closes the listener and every connection, or opens the listener again.
func (e *endpoint) refuse(refusing bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed, refusing == (e.server == nil):
		return nil
	case refusing:
		return e.goDeaf()
	default:
		return e.listenAgain()
	}
}

func (e *endpoint) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	return errors.Join(e.stop(), e.release())
}

func (e *endpoint) listen(ctx context.Context, addr string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen on %s (choose another address, or port 0 for a free one): %w", addr, err)
	}
	e.addr = listener.Addr().String()
	e.server = &http.Server{
		Handler:           e.handler,
		ReadHeaderTimeout: headerTimeout,
		ErrorLog:          slog.NewLogLogger(e.logger.Handler(), slog.LevelWarn),
	}
	e.served = make(chan struct{})
	go e.serve(e.server, listener, e.served)
	return nil
}

func (e *endpoint) serve(server *http.Server, listener net.Listener, served chan<- struct{}) {
	defer close(served)
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		e.logger.Error("the simulator stopped listening", "addr", listener.Addr().String(), "error", err)
	}
}

// stop closes the listener and every connection. A server that is only just starting may close
// its listener later than its Close returns, hence the wait.
func (e *endpoint) stop() error {
	if e.server == nil {
		return nil
	}
	err := e.server.Close()
	<-e.served
	e.server = nil
	if err != nil {
		return fmt.Errorf("close the listener on %s: %w", e.addr, err)
	}
	return nil
}

func (e *endpoint) goDeaf() error {
	if err := e.stop(); err != nil {
		return err
	}
	var err error
	e.hold, err = holdPort(e.addr)
	return err
}

func (e *endpoint) listenAgain() error {
	if err := e.release(); err != nil {
		return err
	}
	// Background: the listener outlives the call that switched it on again.
	return e.listen(context.Background(), e.addr)
}

func (e *endpoint) release() error {
	if e.hold == nil {
		return nil
	}
	err := e.hold.Close()
	e.hold = nil
	if err != nil {
		return fmt.Errorf("release the port of %s: %w", e.addr, err)
	}
	return nil
}
