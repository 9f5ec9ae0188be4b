package activities_test

import (
	"context"
	"testing"
)

// found lets nobody count what a sweep finds.
type found struct{ t *testing.T }

func (f found) Found(_ context.Context, kind string, n int) {
	if n <= 0 {
		f.t.Errorf("%s was found %d times", kind, n)
	}
}
