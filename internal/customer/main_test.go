package customer_test

import (
	"testing"

	"github.com/holdfast/holdfast/internal/postgres/postgrestest"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }
