// Package config is how Holdfast's programs are told what to do: environment variables first, and
// a flag for each. Everything is checked at start; what is wrong is one sentence that names the
// variable, never a value that may be secret.
package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/jackc/pgx/v5/pgconn"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"google.golang.org/grpc"

	"github.com/holdfast/holdfast/internal/provider"
	"github.com/holdfast/holdfast/internal/provider/stripe"
)

// Exit codes: of a program that was told something wrong, and of one that could not do its work.
const (
	ExitUsage  = 2
	ExitFailed = 1
)

// Parse reads the environment and the arguments into settings, or explains what is wrong and ends
// the program. Settings check themselves by a Validate method.
func Parse(settings any, name, description string) *kong.Context {
	parser, err := kong.New(settings, kong.Name(name), kong.Description(description), kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		panic(fmt.Sprintf("%s: settings: %v", name, err)) // a mistake in the program
	}
	parsed, err := parser.Parse(os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(ExitUsage)
	}
	return parsed
}

// UsageError is a setting that turned out to be wrong after parsing.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *UsageError) Unwrap() error { return e.Err }

// Exit says why the program ends, and gives the code for it. Being told to stop is no failure.
func Exit(name string, err error) int {
	if err == nil || errors.Is(err, context.Canceled) {
		return 0
	}
	fmt.Fprintf(os.Stderr, "%s: %s\n", name, oneLine(err))
	if _, ok := errors.AsType[*UsageError](err); ok {
		return ExitUsage
	}
	return ExitFailed
}

// oneLine is an error's text for people and logs; some libraries put every address that they tried on
// a line of its own.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\t' }), " ")
}

// Database names Postgres.
type Database struct {
	URL string `name:"database-url" env:"DATABASE_URL" help:"Postgres, as in postgres://user:password@host:5432/name."`
}

// Validate is called by the parser.
func (d Database) Validate() error {
	if d.URL == "" {
		return errors.New("DATABASE_URL is not set: it names the database, as in postgres://user:password@host:5432/name")
	}
	if _, err := pgconn.ParseConfig(d.URL); err != nil { // which quotes what may be a password
		return errors.New("DATABASE_URL cannot be read: it must be like postgres://user:password@host:5432/name, " +
			"with special characters in the password percent-encoded")
	}
	return nil
}

// Log says what is logged and how.
type Log struct {
	Level  slog.Level `name:"log-level" env:"HOLDFAST_LOG_LEVEL" default:"info" help:"debug, info, warn or error."`
	Format string     `name:"log-format" env:"HOLDFAST_LOG_FORMAT" default:"json" help:"json or text."`
}

// Validate is called by the parser.
func (l Log) Validate() error {
	if l.Format != "json" && l.Format != "text" {
		return errors.New("HOLDFAST_LOG_FORMAT must be json or text")
	}
	return nil
}

// CheckAddress says what is wrong with the address to listen on that a variable gives.
func CheckAddress(variable, address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%s must be host:port, as in 127.0.0.1:8080", variable)
	}
	return nil
}

// CheckPlans says what is wrong with the prices and plans that count. One with a space in it would be
// nobody's, and so hide what it was to name.
func CheckPlans(plans []string) error {
	if slices.ContainsFunc(plans, func(plan string) bool { return plan == "" || strings.ContainsAny(plan, " \t\r\n") }) {
		return errors.New("HOLDFAST_PLANS must be ids of prices and plans with commas between them, and without spaces, as in price_1,P-2")
	}
	return nil
}

// Stripe says how to reach Stripe, and how fast.
type Stripe struct {
	SecretKey string  `name:"stripe-secret-key" env:"STRIPE_SECRET_KEY" help:"Stripe's secret key. Without one Stripe's steps wait, and everything else works."`
	APIBase   string  `name:"stripe-api-base" env:"STRIPE_API_BASE" help:"Base URL of Stripe's API, if it is not Stripe's own."`
	RateLimit float64 `name:"stripe-rate-limit" env:"STRIPE_RATE_LIMIT" default:"25" help:"Calls a second to Stripe, of all workers together."`
}

// Validate is called by the parser.
func (s Stripe) Validate() error {
	if !(s.RateLimit > 0) || math.IsInf(s.RateLimit, 1) { // which also refuses what is not a number
		return errors.New("STRIPE_RATE_LIMIT must be a number above 0, in calls a second")
	}
	if s.SecretKey == "" {
		return nil
	}
	if _, err := stripe.New(stripe.Config{SecretKey: s.SecretKey, APIBase: s.APIBase}); err != nil {
		return fmt.Errorf("STRIPE_SECRET_KEY or STRIPE_API_BASE: %w", err)
	}
	return nil
}

// Client makes the calls to Stripe; nil when no key is set.
func (s Stripe) Client(breaker *provider.Breaker, observer provider.Observer) (*stripe.Client, error) {
	if s.SecretKey == "" {
		return nil, nil //nolint:nilnil // not configured is a state of its own, and no error
	}
	return stripe.New(stripe.Config{SecretKey: s.SecretKey, APIBase: s.APIBase, Breaker: breaker, Observer: observer})
}

// TemporalOptions reads Temporal's own client configuration: TEMPORAL_ADDRESS and the rest, or its
// configuration file.
func TemporalOptions(dial ...grpc.DialOption) (client.Options, error) {
	options, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return client.Options{}, &UsageError{fmt.Errorf("TEMPORAL_* cannot be read: %w", err)}
	}
	options.HostPort = cmp.Or(options.HostPort, client.DefaultHostPort) // errors name it
	options.Namespace = cmp.Or(options.Namespace, client.DefaultNamespace)
	options.ConnectionOptions.DialOptions = append(options.ConnectionOptions.DialOptions, dial...)
	return options, nil
}
