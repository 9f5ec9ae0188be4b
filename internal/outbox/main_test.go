package outbox_test

import (
	"os"
	"testing"

	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
)

func TestMain(m *testing.M) {
	if os.Getenv(mortalVariable) != "" {
		os.Exit(runMortal())
	}
	postgrestest.Main(m)
}
