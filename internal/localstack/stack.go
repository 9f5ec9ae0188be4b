// Package localstack brings up what Holdfast runs on, Postgres and Temporal, for a laptop, a test
// or CI: what the environment names is used, what the machine has is started, and the rest is
// fetched or built once. Servers listen on the loopback interface alone, on free ports, and end
// with what started them. It runs on Linux, macOS and other Unix systems.
package localstack

import (
	"context"
	"errors"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// Options says which stack to start.
type Options struct {
	// Dir holds the data and logs of both servers, and is used again by the next start. Empty is
	// a temporary folder that Stop removes.
	Dir string
	// Durable keeps what the servers are told through a restart, as in production.
	Durable bool
	// UI serves Temporal's web interface too.
	UI bool
	// Log takes a line for what takes long, in the manner of fmt.Printf. Nil is silent.
	Log func(format string, args ...any)
}

// Stack is a Postgres and a Temporal server, each started here or named by the environment.
type Stack struct {
	Postgres *Postgres
	Temporal *Temporal
}

// Start brings both servers up side by side, or neither. ctx is their life.
func Start(ctx context.Context, options Options) (*Stack, error) {
	s := &Stack{}
	var starts errgroup.Group // not tied to a context: it would end the servers when both are up
	starts.Go(func() (err error) {
		s.Postgres, err = StartPostgres(ctx, PostgresOptions{
			Dir: options.dir("postgres"), Durable: options.Durable, Log: options.Log,
		})
		return err
	})
	starts.Go(func() (err error) {
		s.Temporal, err = StartTemporal(ctx, TemporalOptions{
			Dir: options.dir("temporal"), Durable: options.Durable, UI: options.UI, Log: options.Log,
		})
		return err
	})
	if err := starts.Wait(); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (o Options) dir(name string) string {
	if o.Dir == "" {
		return ""
	}
	return filepath.Join(o.Dir, name)
}

// Env are the variables with which another process finds both servers.
func (s *Stack) Env() []string {
	return []string{
		DatabaseVariable + "=" + s.Postgres.URL(),
		TemporalVariable + "=" + s.Temporal.Address(),
	}
}

// Stop stops what Start started, Temporal first, and removes what was temporary.
func (s *Stack) Stop() error {
	var errs []error
	if s.Temporal != nil {
		errs = append(errs, s.Temporal.Close())
	}
	if s.Postgres != nil {
		errs = append(errs, s.Postgres.Close())
	}
	return errors.Join(errs...)
}

// Prepare finds, fetches or builds everything that Start and the tests run, so that they need not
// wait for it later.
func Prepare(ctx context.Context, log func(format string, args ...any)) error {
	if _, err := temporalProgram(ctx, log); err != nil {
		return err
	}
	if _, err := StripeMock().Install(ctx, log); err != nil {
		return err
	}
	return preparePostgres(ctx, logTo(log))
}
