package activities

import (
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/holdfast/holdfast/internal/provider"
)

// disposition is what Temporal does with an attempt that failed in a given class.
type disposition struct {
	retry bool
	delay time.Duration // at least this long before the next attempt; zero follows the policy's backoff
}

// dispositions is the one table from a failure's class to its retry behaviour. What is not
// retried, or not with success, is parked by the workflow.
var dispositions = map[provider.Class]disposition{
	provider.Transient:      {retry: true},
	provider.RateLimited:    {retry: true, delay: time.Second},
	provider.OutcomeUnknown: {retry: true},  // under the same key, or by a look-up: see write
	provider.Misconfigured:  {retry: false}, // waits until the provider accepts us again
	provider.Rejected:       {retry: false}, // waits for a person
	provider.NotFound:       {retry: false}, // waits for a person
	provider.Held:           {retry: false}, // waits for a person
}

// asTemporal turns a provider's failure into the error that Temporal acts on. It must stay
// outermost: wrapped, the class and the delay are lost and the attempt is repeated blindly. The
// library's own error stays out of it, because it may quote personal data into the history.
func asTemporal(err error) error {
	var failure *provider.Failure
	if !errors.As(err, &failure) {
		return err
	}
	retry, delay := retryOf(failure)
	return temporal.NewApplicationErrorWithOptions(failure.Error(), string(failure.Class), temporal.ApplicationErrorOptions{
		NonRetryable:   !retry,
		NextRetryDelay: delay,
	})
}

// retryOf is the disposition of one failure: the provider's own wish is honoured, and a provider
// that is known to be down is not asked again before its gate says so.
func retryOf(failure *provider.Failure) (retry bool, delay time.Duration) {
	d := dispositions[failure.Class]
	return d.retry && !failure.KnownDown(), max(d.delay, failure.RetryAfter)
}
