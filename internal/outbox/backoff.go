package outbox

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"
)

// backoff is a pause that doubles while something keeps failing.
type backoff struct {
	first, most time.Duration
	pause       time.Duration // zero while nothing fails
}

func (b *backoff) failing() bool { return b.pause > 0 }

func (b *backoff) reset() { b.pause = 0 }

func (b *backoff) grow() { b.pause = min(max(2*b.pause, b.first), b.most) }

// rowDelay is how long a message waits after so many attempts: a second, then twice as long each
// time, at most five minutes, each a quarter less or more.
func rowDelay(attempts int) time.Duration {
	delay := minRowDelay
	for range attempts - 1 {
		if delay *= 2; delay >= maxRowDelay {
			return jittered(maxRowDelay)
		}
	}
	return jittered(delay)
}

// jittered keeps replicas from doing things at the same moment.
func jittered(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2+1) //nolint:gosec // spreading load needs no secrecy
}

// sleep pauses, and says whether ctx still goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// maxErrorText is how much of an error is kept in a row, in bytes.
const maxErrorText = 300

// errorText is an error as Postgres and a log can take it. Temporal's errors name ids and limits,
// and quote no input.
func errorText(err error) string {
	text := strings.ReplaceAll(err.Error(), "\x00", "")
	if len(text) > maxErrorText {
		text = text[:maxErrorText] + "…"
	}
	return strings.ToValidUTF8(text, "")
}
