package provider_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

// contextOf is the context of a test or of a run of a property.
func contextOf(t require.TestingT) context.Context {
	if with, ok := t.(interface{ Context() context.Context }); ok {
		return with.Context()
	}
	return context.Background()
}
